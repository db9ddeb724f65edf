/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark assign`, `waymark unassign`, `waymark assignments`. */

#include <errno.h>
#include <stdint.h>

#include "cli/command.h"
#include "cli/commands.h"

static const struct column assignment_columns[] = {
    { .title = "SELECTOR", .key = "selector" },
    { .title = "NETWORK", .key = "network" },
    { .title = "STRENGTH", .key = "strength" },
    { .title = "STATE", .key = "state", .colored = true },
};

const struct table assignments_table = TABLE_OF(assignment_columns);

/* Where it comes from: the configuration's file and line, or the word for the rest. */
static void print_origin(const json_t *row, struct strbuf *b)
{
    const char *source = json_text(row, "source");

    strbuf_add(b, "%s", *source ? source : json_text(row, "origin"));
}

static const struct column full_columns[] = {
    { .title = "SELECTOR", .key = "selector" },
    { .title = "NETWORK", .key = "network" },
    { .title = "STRENGTH", .key = "strength" },
    { .title = "STATE", .key = "state", .colored = true },
    { .title = "UIDS", .key = "uids" },
    { .title = "ORIGIN", .text = print_origin },
};

static const struct table full_table = TABLE_OF(full_columns);

static int assign(struct cli *c)
{
    const char *strength = arguments_have(&c->args, OPTION_PREFER) ? "prefer" : "require";

    return cli_change(c, "Assign", "sss", cli_word(c, 0), cli_word(c, 1), strength);
}

/*
 * An app may be sent to a network that is not there now, and which only the daemon knows. So the
 * name counts as it is written first, lest `wg0` be taken for `wg01` while wg0 is away.
 */
int run_assign(struct cli *c)
{
    const char *network = cli_word(c, 1);
    int r = assign(c);

    if (r != -ENONET)
        return r;
    r = command_resolve_network(c, 1);
    if (r < 0)
        return r;
    if (cli_word(c, 1) == network)
        return -ENONET; /* it says why already */
    c->why = (struct why){ 0 };
    return assign(c);
}

int run_unassign(struct cli *c)
{
    return cli_change(c, "Unassign", "s", cli_word(c, 0));
}

int run_assignments(struct cli *c)
{
    return cli_put_assignments(c);
}

void print_assignments(struct cli *c)
{
    const json_t *assignments = json_object_get(c->doc, "assignments");

    if (json_array_size(assignments) == 0)
        cli_print(c, STYLE_PLAIN, "no assignments\n");
    else
        cli_print_table(c, &full_table, assignments, SIZE_MAX);
}
