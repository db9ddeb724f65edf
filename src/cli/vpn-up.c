/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark vpn up`: until it carries traffic, or why it does not. */

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#include "basic/parse.h"
#include "cli/commands.h"
#include "cli/vpn.h"

enum { WAIT_DEFAULT_SEC = 30, WAIT_MAX_SEC = 86400 };

#define ANSWER_TIMEOUT (30 * USEC_PER_SEC)
/* A signal says when to look again; that none was lost is not relied upon. */
#define LOOK_AGAIN USEC_PER_SEC

static int read_wait(struct cli *c, uint32_t *ret)
{
    const char *value = arguments_value(&c->args, OPTION_WAIT);

    *ret = WAIT_DEFAULT_SEC;
    if (value && parse_u32(value, WAIT_MAX_SEC, ret) < 0)
        return cli_usage(c, "'%.40s' is no time to wait: use whole seconds, 0 to %d", value,
                         WAIT_MAX_SEC);
    return 0;
}

static int on_changed(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    bool *changed = userdata;

    (void)m;
    (void)error;
    *changed = true;
    return 0;
}

/* Until something has changed, it is time to look again, or `end`. */
static int wait_for_change(struct cli *c, bool *changed, usec_t end)
{
    usec_t again = MIN(clock_monotonic() + LOOK_AGAIN, end);
    int r = client_dispatch(c->client, &c->why);

    while (r == 0 && !*changed) {
        struct pollfd p = { .fd = client_fd(c->client), .events = POLLIN };
        usec_t now = clock_monotonic();

        if (now >= again)
            return 0;
        if (poll(&p, 1, (int)((again - now) / 1000) + 1) < 0 && errno != EINTR)
            return -errno;
        r = client_dispatch(c->client, &c->why);
    }
    return r;
}

/* In its program's words; where nobody has said anything there is nobody yet. */
static void print_reason(const json_t *vpn, struct strbuf *b)
{
    const char *reason = json_text(vpn, "reason");

    if (*reason)
        strbuf_add(b, "%s", reason);
    else if (streq(json_text(vpn, "kind"), "adopted")) {
        strbuf_add(b, "its interface is not there, or not up: ");
        json_print_plain(json_object_get(vpn, "interfaces"), ", ", b);
    } else if (*json_text(vpn, "engine"))
        strbuf_add(b, "its engine has not established it");
    else
        strbuf_add(b, "no program has established it");
}

/* "it is blocked: its interface is not there, or not up: wg0" */
static int say_why_not(struct cli *c, int error, const char *start)
{
    const json_t *vpn = json_object_get(c->doc, "vpn");
    _cleanup_strbuf_ struct strbuf reason = STRBUF_INIT;
    const char *name = json_text(vpn, "name");

    print_reason(vpn, &reason);
    return why_set(&c->why, error, "VPN '%.64s' %s: it is %s: %s; see `waymark vpn show %.64s`",
                   name, start, json_text(vpn, "state"), strbuf_text(&reason), name);
}

/* What becomes of it within the time; doc["vpn"] is what was seen last. */
static int wait_until_up(struct cli *c, const char *name, uint32_t seconds, bool *changed)
{
    usec_t end = clock_monotonic() + seconds * USEC_PER_SEC;
    char start[64];
    int r = 0;

    snprintf(start, sizeof(start), "is not up after %u s", seconds);
    while (r == 0) {
        const char *state;

        *changed = false;
        client_set_deadline(c->client,
                            clock_monotonic() + (c->timeout ? c->timeout : ANSWER_TIMEOUT));
        r = vpn_put(c, name);
        if (r < 0)
            return r;
        state = json_text(json_object_get(c->doc, "vpn"), "state");
        if (streq(state, "up"))
            return 0;
        if (streq(state, "failed"))
            return say_why_not(c, -EIO, "could not be brought up");
        if (clock_monotonic() >= end)
            return say_why_not(c, -ETIMEDOUT, start);
        r = wait_for_change(c, changed, end);
    }
    return r;
}

int run_vpn_up(struct cli *c)
{
    const char *name = cli_word(c, 0);
    uint32_t seconds = 0;
    bool changed = false;
    int r = read_wait(c, &seconds);

    if (r == 0)
        r = cli_connect(c);
    if (r == 0 && seconds > 0)
        r = client_watch(c->client, NULL, "org.freedesktop.DBus.Properties", "PropertiesChanged",
                         on_changed, &changed, &c->why);
    if (r == 0)
        r = cli_change_vpn(c, "Up", "s", name);
    if (r == 0 && seconds > 0)
        r = wait_until_up(c, name, seconds, &changed);
    return r < 0 || seconds > 0 ? r : vpn_put(c, name);
}

void print_vpn_up(struct cli *c)
{
    const json_t *vpn = json_object_get(c->doc, "vpn");
    const char *state = json_text(vpn, "state"), *reason = json_text(vpn, "reason");

    cli_print(c, STYLE_PLAIN, "%s: ", json_text(vpn, "name"));
    cli_print(c, style_of_word(state), "%s", state);
    cli_print(c, STYLE_PLAIN, "%s%s\n", *reason ? ": " : "", reason);
}
