/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark status`: the whole on one screen. */

#include "cli/commands.h"

enum { ASSIGNMENTS_SHOWN = 20 };

int run_status(struct cli *c)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    int r = cli_connect(c);

    if (r == 0)
        r = client_get_properties(c->client, &reply, &c->why);
    if (r == 0)
        r = cli_put_answer(c, "status", reply, "GetAll", "a{sv}", NULL);
    if (r == 0)
        r = cli_put_networks(c);
    return r < 0 ? r : cli_put_assignments(c);
}

static void print_health(struct cli *c, const json_t *status)
{
    const char *degraded = json_text(status, "degraded");

    cli_print(c, STYLE_BOLD, "waymarkd %s: ", json_text(status, "version"));
    if (json_flag(status, "off"))
        cli_print(c, STYLE_WARN,
                  "off: nothing of ours is in the kernel; `waymark reload` ends that");
    else if (*degraded)
        cli_print(c, STYLE_BAD, "degraded: %s", degraded);
    else
        cli_print(c, STYLE_GOOD, "ok");
    if (!json_flag(status, "guard"))
        cli_print(c, STYLE_WARN, ", no guard at the interfaces: see `waymark doctor`");
    cli_print(c, STYLE_PLAIN, "\n");
}

static void print_default_line(struct cli *c, const char *name)
{
    const json_t *network = cli_find(c->networks, name);
    const char *state = network ? json_text(network, "state") : "absent";

    cli_print(c, STYLE_PLAIN, "default network: %s (", name);
    if (streq(name, "system"))
        cli_print(c, STYLE_PLAIN, "the main routing table decides");
    else
        cli_print(c, style_of_word(state), "%s", state);
    cli_print(c, STYLE_PLAIN, ")\n");
}

void print_status(struct cli *c)
{
    const json_t *status = json_object_get(c->doc, "status");
    const json_t *assignments = json_object_get(c->doc, "assignments");
    size_t n = json_array_size(assignments);

    print_health(c, status);
    print_default_line(c, json_text(status, "default_network"));
    cli_print(c, STYLE_PLAIN, "\n");
    print_networks(c);
    cli_print(c, STYLE_PLAIN, "\n");
    if (n == 0)
        cli_print(c, STYLE_PLAIN, "no assignments\n");
    else
        cli_print_table(c, &assignments_table, assignments, ASSIGNMENTS_SHOWN);
    if (n > ASSIGNMENTS_SHOWN)
        cli_print(c, STYLE_PLAIN, "… and %zu more: waymark assignments\n", n - ASSIGNMENTS_SHOWN);
}
