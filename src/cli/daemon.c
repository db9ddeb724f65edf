/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark doctor`, `monitor`, `reload`, `panic-off`: of the daemon as a whole. */

#include <errno.h>
#include <stdio.h>
#include <time.h>

#include "cli/commands.h"
#include "cli/offline.h"

/* Panic is not the time to wait for a daemon that hangs. */
#define PANIC_TIMEOUT (2 * USEC_PER_SEC)

/* Doctor. */

static bool is_error(const json_t *finding)
{
    return streq(json_text(finding, "level"), "error");
}

static int ask_doctor(struct cli *c)
{
    static const char *const names[] = { "check", "level", "text", "remedy", NULL };
    _cleanup_message_ sd_bus_message *reply = NULL;
    const json_t *findings;
    int r = client_call(c->client, "Doctor", &reply, &c->why, "");

    if (r == 0)
        r = cli_put_answer(c, "findings", reply, "Doctor", "a(ssss)", names);
    if (r < 0)
        return r;
    findings = json_object_get(c->doc, "findings");
    for (size_t i = 0; i < json_array_size(findings); i++)
        if (is_error(json_array_get(findings, i)))
            c->code = EXIT_FAILED;
    return 0;
}

int run_doctor(struct cli *c)
{
    bool healthy;
    int r = cli_connect(c);

    if (r == 0)
        return ask_doctor(c);
    if (r != -ECONNREFUSED)
        return r;
    if (c->json)
        return why_set(&c->why, r,
                       "waymarkd is not running, and only it answers in JSON: start it, or leave "
                       "--json away to have the machine examined without it");
    c->why = (struct why){ 0 };
    cli_no_document(c);
    r = offline_run(c, "--doctor", &healthy);
    if (r == 0 && !healthy)
        c->code = EXIT_FAILED;
    return r;
}

void print_doctor(struct cli *c)
{
    const json_t *findings = json_object_get(c->doc, "findings");

    for (size_t i = 0; i < json_array_size(findings); i++) {
        const json_t *f = json_array_get(findings, i);
        const char *level = json_text(f, "level"), *remedy = json_text(f, "remedy");

        cli_print(c, style_of_word(level), "%-8s", level);
        cli_print(c, STYLE_PLAIN, " %-15s %s\n", json_text(f, "check"), json_text(f, "text"));
        if (*remedy)
            cli_print(c, STYLE_PLAIN, "%-8s %-15s   → %s\n", "", "", remedy);
    }
}

/* Monitor. */

/* RFC 3339, with microseconds, in UTC. */
static void format_now(char buf[static 40])
{
    struct timespec now;
    struct tm tm;
    size_t n;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &tm);
    n = strftime(buf, 40, "%Y-%m-%dT%H:%M:%S", &tm);
    snprintf(buf + n, 40 - n, ".%06ldZ", now.tv_nsec / 1000);
}

static int write_line(struct cli *c)
{
    int r = c->out.failed ? -ENOMEM : 0;

    if (r == 0 && (fputs(strbuf_text(&c->out), stdout) < 0 || fflush(stdout) != 0))
        r = why_set(&c->why, -errno, "cannot write the output: %s", strerror(errno));
    strbuf_clear(&c->out);
    return r;
}

static int print_event(void *data, const char *kind, const char *text)
{
    struct cli *c = data;
    char now[40];

    format_now(now);
    if (c->json) {
        json_auto_t *event = json_pack("{s:s, s:s, s:s}", "time", now, "kind", kind, "text", text);
        _cleanup_free_ char *line = event ? json_dumps(event, JSON_COMPACT) : NULL;

        if (!line)
            return -ENOMEM;
        strbuf_add(&c->out, "%s\n", line);
    } else {
        cli_print(c, STYLE_DIM, "%s ", now);
        cli_print(c, style_of_word(kind), "%-16s", kind);
        cli_print(c, STYLE_PLAIN, " %s\n", text);
    }
    return write_line(c);
}

int run_monitor(struct cli *c)
{
    int r = cli_connect(c);

    if (r < 0)
        return r;
    cli_no_document(c);
    return client_listen(c->client, print_event, c, &c->why);
}

int run_reload(struct cli *c)
{
    return cli_change(c, "Reload", "");
}

/* Panic-off. */

static int panic_off_without_daemon(struct cli *c)
{
    bool done;
    int r;

    c->why = (struct why){ 0 };
    r = offline_run(c, "--panic-off", &done);
    if (r == 0 && !done)
        return why_set(&c->why, -EIO, "panic-off failed: waymarkd says why above");
    if (r == 0 && !c->json)
        cli_no_document(c); /* it has said so already */
    return r;
}

/* Whatever keeps the daemon from answering must not keep us; what it answers is final. */
int run_panic_off(struct cli *c)
{
    int r = cli_connect_within(c, PANIC_TIMEOUT);

    if (r == 0) {
        r = cli_change(c, "PanicOff", "");
        if (r != -ECONNRESET && r != -ETIMEDOUT)
            return r;
    }
    fprintf(stderr, "waymark: %s: panic-off goes on without it\n",
            r == -ECONNREFUSED ? "waymarkd is not running" : "waymarkd does not answer");
    return panic_off_without_daemon(c);
}

void print_panic_off(struct cli *c)
{
    cli_print(c, STYLE_PLAIN,
              "nothing of waymark is left in the kernel; `waymark reload` turns it "
              "on again\n");
}
