/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/options.h"

#include <errno.h>
#include <stdlib.h>

#include "cli/words.h"

const struct option_row option_rows[OPTION_MAX] = {
    [OPTION_JSON] = { "json", NULL, NULL, "one JSON document instead of text", false },
    [OPTION_RUNTIME_DIR] = { "runtime-dir", "DIR", NULL,
                             "where the daemon's socket is (default $WAYMARK_RUNTIME_DIR or "
                             "/run/waymark)",
                             false },
    [OPTION_TIMEOUT] = { "timeout", "SECONDS", NULL,
                         "how long to wait for the daemon (default 30; panic-off: 2)", false },
    [OPTION_COLOR] = { "color", "WHEN", "auto|always|never",
                       "auto (on a terminal, unless NO_COLOR is set), always or never", false },
    [OPTION_HELP] = { "help", NULL, NULL, "what a command does and takes", false },
    [OPTION_VERSION] = { "version", NULL, NULL, "the version of this program", false },
    [OPTION_NETID] = { "netid", "N", NULL,
                       "the network's number, 100 to 65535 (default: chosen from the name)",
                       false },
    [OPTION_TYPE] = { "type", "TYPE", "physical|vpn|local|unreachable",
                      "physical, vpn, local or unreachable (default: by its first interface)",
                      false },
    [OPTION_INTERFACE] = { "interface", "IF", NULL, "an interface of the network", true },
    [OPTION_DNS] = { "dns", "ADDRESS", NULL,
                     "a DNS server; with `set`, replaces the list, and \"\" empties it", true },
    [OPTION_DOMAIN] = { "domain", "DOMAIN", NULL, "a search domain; with `set`, as --dns", true },
    [OPTION_PERMISSION] = { "permission", "PERMISSION", "none|network|system",
                            "what an app must hold to choose it: none, network or system", false },
    [OPTION_PREFER] = { "prefer", NULL, NULL,
                        "while it is there, else the default network (default: require, that is "
                        "blocked without it)",
                        false },
    [OPTION_UID] = { "uid", "UID", NULL, "who sends, by user id (default: yourself)", false },
    [OPTION_USER] = { "user", "NAME", NULL, "who sends, by user name", false },
    [OPTION_PID] = { "pid", "PID", NULL,
                     "who sends: a process, with its user, cgroup and executable", false },
    [OPTION_EXE] = { "exe", "PATH", NULL, "the executable of who sends", false },
    [OPTION_UNIT] = { "unit", "NAME", NULL, "the systemd unit of who sends", false },
    [OPTION_CGROUP] = { "cgroup", "PATH", NULL, "the cgroup of who sends", false },
    [OPTION_MARK] = { "mark", "MARK", NULL, "the socket's mark, decimal or 0x… (default 0)",
                      false },
    [OPTION_DEV] = { "dev", "IF", NULL, "the interface that the socket is bound to", false },
    [OPTION_FROM] = { "from", "ADDRESS", NULL, "the address that the socket is bound to", false },
    [OPTION_SCOPE] = { "scope", "WHOSE", "auto|systemd|daemon",
                       "who makes the cgroup: systemd, the daemon, or auto: systemd where it can",
                       false },
    [OPTION_WORDS] = { "words", NULL, NULL, NULL, false },
};

static ssize_t find_option(const char *word, struct why *why)
{
    _cleanup_strbuf_ struct strbuf candidates = STRBUF_INIT;
    const char *names[OPTION_MAX];
    ssize_t i;

    for (size_t o = 0; o < OPTION_MAX; o++)
        names[o] = option_rows[o].name;
    i = words_resolve(word, names, OPTION_MAX, &candidates);
    if (i == -ENOTUNIQ)
        return why_set(why, -EINVAL, "option --%.60s could be one of %s: write more of it", word,
                       strbuf_text(&candidates));
    if (i < 0)
        return why_set(why, -EINVAL, "there is no option --%.60s: see `waymark --help`", word);
    return i;
}

/* An option at argv[0], its value in the same word or in the next: how many words it took. */
static int take_long(char **argv, int left, struct arguments *a, struct why *why)
{
    char word[64];
    const char *value = strchr(argv[0], '=');
    size_t n = value ? (size_t)(value - argv[0]) : strlen(argv[0]);
    const struct option_row *row;
    ssize_t id;

    if (n >= sizeof(word))
        return why_set(why, -EINVAL, "there is no option %.60s…: see `waymark --help`", argv[0]);
    memcpy(word, argv[0], n);
    word[n] = '\0';
    id = find_option(word + STRLEN("--"), why);
    if (id < 0)
        return (int)id;

    row = &option_rows[id];
    if (!row->value && value)
        return why_set(why, -EINVAL, "option --%s takes no value", row->name);
    if (row->value && !value && left < 2)
        return why_set(why, -EINVAL, "option --%s needs a value: --%s %s", row->name, row->name,
                       row->value);
    if (!row->many && arguments_have(a, (enum option_id)id) && row->value)
        return why_set(why, -EINVAL, "option --%s is given twice", row->name);
    a->options[a->n_options++] = (struct option_given){
        .id = (enum option_id)id,
        .value = value        ? value + 1
                 : row->value ? argv[1]
                              : "",
    };
    return row->value && !value ? 2 : 1;
}

static int take_option(char **argv, int left, struct arguments *a, struct why *why)
{
    if (startswith(argv[0], "--"))
        return take_long(argv, left, a, why);
    if (!streq(argv[0], "-h"))
        return why_set(why, -EINVAL, "there is no option %.60s: see `waymark --help`", argv[0]);
    a->options[a->n_options++] = (struct option_given){ OPTION_HELP, "" };
    return 1;
}

int arguments_parse(int argc, char **argv, arguments_end end, struct arguments *ret,
                    struct why *why)
{
    struct arguments a = {
        .options = calloc((size_t)argc + 1, sizeof(*a.options)),
        .words = calloc((size_t)argc + 1, sizeof(*a.words)),
        .n_read = argc,
    };
    bool only_words = false;
    int r = a.options && a.words ? 1 : -ENOMEM;

    for (int i = 1; i < argc && r >= 0; i += r) {
        r = 1;
        if (!only_words && streq(argv[i], "--"))
            only_words = true;
        else if (!only_words && argv[i][0] == '-' && argv[i][1] != '\0')
            r = take_option(argv + i, argc - i, &a, why);
        else
            a.words[a.n_words++] = argv[i];
        if (a.n_read == argc && end(a.words, a.n_words)) {
            only_words = true;
            a.n_read = i;
        }
    }
    if (r < 0) {
        arguments_done(&a);
        return r;
    }
    *ret = a;
    return 0;
}

void arguments_done(struct arguments *a)
{
    free(a->options);
    free(a->words);
    *a = (struct arguments){ 0 };
}

const char *arguments_value(const struct arguments *a, enum option_id id)
{
    for (size_t i = a->n_options; i-- > 0;)
        if (a->options[i].id == id)
            return a->options[i].value;
    return NULL;
}
