/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/commands.h"

#include "cli/command.h"
#include <limits.h>

#define NETWORK_OPTIONS                                                               \
    (OPTION_BIT(NETID) | OPTION_BIT(TYPE) | OPTION_BIT(INTERFACE) | OPTION_BIT(DNS) | \
     OPTION_BIT(DOMAIN) | OPTION_BIT(PERMISSION))
#define SENDER_OPTIONS                                                                           \
    (OPTION_BIT(UID) | OPTION_BIT(USER) | OPTION_BIT(PID) | OPTION_BIT(EXE) | OPTION_BIT(UNIT) | \
     OPTION_BIT(CGROUP))
#define SOCKET_OPTIONS (OPTION_BIT(MARK) | OPTION_BIT(DEV) | OPTION_BIT(FROM))
#define ROUTE_ARGS     "NAME DST [via GW|unreachable|throw] [dev IF] [mtu N]"

/* clang-format off */
const struct command commands[] = {
    { .noun = "status",
      .run = run_status, .print = print_status,
      .help = "networks, default network, assignments and health, at a glance" },
    { .noun = "network", .verb = "list",
      .implied = true, .run = run_network_list, .print = print_networks,
      .help = "list the networks" },
    { .noun = "network", .verb = "show", .args = "NAME", .min = 1, .max = 1,
      .network = 1, .run = run_network_show, .print = print_network,
      .help = "show all about a network" },
    { .noun = "network", .verb = "add", .args = "NAME", .min = 1, .max = 1,
      .options = NETWORK_OPTIONS, .run = run_network_add, .print = print_added_network,
      .help = "add a network" },
    { .noun = "network", .verb = "set", .args = "NAME", .min = 1, .max = 1,
      .options = NETWORK_OPTIONS, .network = 1, .run = run_network_set,
      .help = "change a network; what is not mentioned stays" },
    { .noun = "network", .verb = "remove", .args = "NAME", .min = 1, .max = 1,
      .network = 1, .run = run_network_remove,
      .help = "remove a network" },
    { .noun = "network", .verb = "attach", .args = "NAME IF", .min = 2, .max = 2,
      .network = 1, .run = run_network_attach,
      .help = "give a network an interface" },
    { .noun = "network", .verb = "detach", .args = "NAME IF", .min = 2, .max = 2,
      .network = 1, .run = run_network_detach,
      .help = "take an interface from a network" },
    { .noun = "route", .verb = "add", .args = ROUTE_ARGS, .min = 2, .max = WORDS_ANY,
      .network = 1, .run = run_route_add,
      .help = "add a route to a network; DST is a prefix, an address or `default`" },
    { .noun = "route", .verb = "remove", .args = ROUTE_ARGS, .min = 2, .max = WORDS_ANY,
      .network = 1, .run = run_route_remove,
      .help = "remove a route that was added" },
    { .noun = "default", .args = "[NAME|system]", .max = 1,
      .network = 1, .run = run_default, .print = print_default,
      .help = "show or set where the unassigned go; system leaves it to the main routing table" },
    { .noun = "assign", .args = "SELECTOR NAME|none", .min = 2, .max = 2,
      .options = OPTION_BIT(PREFER), .run = run_assign,
      .help = "send apps to a network, or block them" },
    { .noun = "unassign", .args = "SELECTOR", .min = 1, .max = 1,
      .run = run_unassign,
      .help = "undo an assignment" },
    { .noun = "assignments",
      .run = run_assignments, .print = print_assignments,
      .help = "list the assignments" },
    { .noun = "apps",
      .run = run_apps, .print = print_apps,
      .help = "what each app has sent and got, by network, and what was dropped" },
    { .noun = "run", .args = "NAME|none [[--] PROGRAM …]", .min = 1, .max = UINT_MAX,
      .options = OPTION_BIT(SCOPE), .network = 1, .program = 2, .run = run_run,
      .help = "run a program, or $SHELL, on a network, or offline" },
    { .noun = "explain", .args = "[DEST]", .max = 1,
      .options = SENDER_OPTIONS | SOCKET_OPTIONS, .run = run_explain, .print = print_explain,
      .help = "say what holds for an app, where its packet to an address goes, and why" },
    { .noun = "verify",
      .run = run_verify, .print = print_verify,
      .help = "prove that no user can leave by a network he must not use" },
    { .noun = "doctor",
      .run = run_doctor, .print = print_doctor,
      .help = "look for what is missing or in the way, and say what to do" },
    { .noun = "monitor",
      .run = run_monitor,
      .help = "show what happens, as it happens" },
    { .noun = "reload",
      .run = run_reload,
      .help = "read configuration and users again; ends panic-off" },
    { .noun = "panic-off",
      .run = run_panic_off, .print = print_panic_off,
      .help = "take everything of waymark out of the kernel, whatever state it is in" },
    { .noun = "help", .args = "[COMMAND]", .max = 2,
      .options = OPTION_BIT(WORDS), .run = run_help,
      .help = "what a command does and takes" },
    { 0 },
};
/* clang-format on */
