/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark explain`, `waymark verify`: asking. print-explain.c says what came of it. */

#include <errno.h>
#include <unistd.h>

#include "basic/parse.h"
#include "basic/uidrange.h"
#include "cli/commands.h"

/* One row per option: what the daemon calls it, and how a number is read; NULL = it is a text. */
static const struct {
    enum option_id id;
    uint32_t max;
    const char *key;
    int (*parse)(const char *s, uint32_t max, uint32_t *ret);
    const char *what;
} question_options[] = {
    { OPTION_UID, UID_MAX, "Uid", parse_u32, "uid: use a number" },
    { OPTION_USER, 0, "User", NULL, NULL },
    { OPTION_PID, INT32_MAX, "Pid", parse_u32, "process id: use a number" },
    { OPTION_UNIT, 0, "Unit", NULL, NULL },
    { OPTION_CGROUP, 0, "Cgroup", NULL, NULL },
    { OPTION_MARK, UINT32_MAX, "Mark", parse_u32_hex, "mark: use a number, decimal or 0x…" },
    { OPTION_DEV, 0, "Device", NULL, NULL },
    { OPTION_FROM, 0, "Source", NULL, NULL },
};

static int append_given(struct cli *c, sd_bus_message *m, size_t i)
{
    const char *text = arguments_value(&c->args, question_options[i].id);
    const char *key = question_options[i].key;
    uint32_t number;

    if (!question_options[i].parse)
        return sd_bus_message_append(m, "{sv}", key, "s", text);
    if (question_options[i].parse(text, question_options[i].max, &number) < 0)
        return cli_usage(c, "'%.40s' is no %s", text, question_options[i].what);
    return sd_bus_message_append(m, "{sv}", key, "u", number);
}

static bool has(const struct cli *c, enum option_id id)
{
    return arguments_have(&c->args, id);
}

/* One of three says who sends, or it is the caller; a process is all that the others could say. */
static int append_sender(struct cli *c, sd_bus_message *m)
{
    bool exe = has(c, OPTION_EXE), unit = has(c, OPTION_UNIT), cgroup = has(c, OPTION_CGROUP);
    bool user = has(c, OPTION_UID) || has(c, OPTION_USER), pid = has(c, OPTION_PID);

    if (has(c, OPTION_UID) + has(c, OPTION_USER) + pid > 1)
        return cli_usage(c, "only one of --uid, --user and --pid can say who sends");
    if (pid && (exe || unit || cgroup))
        return cli_usage(c, "--pid says by itself what --exe, --unit and --cgroup would say");
    if (unit && cgroup)
        return cli_usage(c, "only one of --unit and --cgroup can say where the app stands");
    if (!cli_word(c, 0) && !(user || pid || exe || unit || cgroup))
        return cli_usage(c,
                         "explain what? Name a destination, or an app: see `waymark help explain`");
    if (!cli_word(c, 0) && (has(c, OPTION_MARK) || has(c, OPTION_DEV) || has(c, OPTION_FROM)))
        return cli_usage(c, "--mark, --dev and --from are of a packet: name its destination");
    if (user || pid)
        return 0;
    return sd_bus_message_append(m, "{sv}", "Uid", "u", (uint32_t)getuid());
}

/* Relative to where we are; links are the daemon's business, which knows programs by their files. */
static int append_exe(struct cli *c, sd_bus_message *m)
{
    const char *path = arguments_value(&c->args, OPTION_EXE);
    _cleanup_free_ char *here = path && path[0] != '/' ? getcwd(NULL, 0) : NULL;
    _cleanup_strbuf_ struct strbuf full = STRBUF_INIT;

    if (!path)
        return 0;
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return why_set(&c->why, -ENOENT, "there is no program '%.200s'", path);
    strbuf_add(&full, "%s%s%s", here ? here : "", here ? "/" : "", path);
    return sd_bus_message_append(m, "{sv}", "Exe", "s", strbuf_text(&full));
}

static int append_question(struct cli *c, sd_bus_message *m)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    if (r >= 0)
        r = append_sender(c, m);
    if (r >= 0 && cli_word(c, 0))
        r = sd_bus_message_append(m, "{sv}", "Destination", "s", cli_word(c, 0));
    if (r >= 0)
        r = append_exe(c, m);
    for (size_t i = 0; r >= 0 && i < ELEMENTSOF(question_options); i++)
        if (arguments_have(&c->args, question_options[i].id))
            r = append_given(c, m, i);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

int run_explain(struct cli *c)
{
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_new_call(c->client, "Explain", &m, &c->why);
    if (r < 0)
        return r;
    r = append_question(c, m);
    if (r < 0)
        return c->why.error ? r : client_bad_argument(r, "Explain", &c->why);
    r = client_send(c->client, m, &reply, &c->why);
    return r < 0 ? r : cli_put_answer(c, "explanation", reply, "Explain", "a{sv}", NULL);
}

int run_verify(struct cli *c)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_call(c->client, "Verify", &reply, &c->why, "");
    if (r == 0)
        r = cli_put_answer(c, "verification", reply, "Verify", "a{sv}", NULL);
    if (r == 0 && !json_flag(json_object_get(c->doc, "verification"), "proved"))
        c->code = EXIT_FAILED;
    return r;
}
