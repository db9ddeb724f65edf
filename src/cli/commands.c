/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/commands.h"

#include "cli/command.h"
#include <limits.h>

#define NETWORK_OPTIONS                                                               \
    (OPTION_BIT(NETID) | OPTION_BIT(TYPE) | OPTION_BIT(INTERFACE) | OPTION_BIT(DNS) | \
     OPTION_BIT(DOMAIN) | OPTION_BIT(PERMISSION) | OPTION_BIT(FALL_THROUGH) |         \
     OPTION_BIT(LOCKDOWN) | OPTION_BIT(OUTSIDE))
#define SENDER_OPTIONS                                                                           \
    (OPTION_BIT(UID) | OPTION_BIT(USER) | OPTION_BIT(PID) | OPTION_BIT(EXE) | OPTION_BIT(UNIT) | \
     OPTION_BIT(CGROUP))
#define SOCKET_OPTIONS (OPTION_BIT(MARK) | OPTION_BIT(DEV) | OPTION_BIT(FROM))
#define VPN_OPTIONS                                                                      \
    (OPTION_BIT(EVERYONE) | OPTION_BIT(APPS) | OPTION_BIT(EXCEPT) | OPTION_BIT(EXEMPT) | \
     OPTION_BIT(LOCKDOWN) | OPTION_BIT(BYPASS) | OPTION_BIT(LAN))
#define SERVICE_OPTIONS \
    (OPTION_BIT(OWNER) | OPTION_BIT(ALWAYS_ON) | OPTION_BIT(FORWARD) | OPTION_BIT(ENGINE))
#define ADOPTED_OPTIONS                                                                         \
    (OPTION_BIT(FALL_THROUGH) | OPTION_BIT(ADDRESS) | OPTION_BIT(ROUTE) | OPTION_BIT(EXCLUDE) | \
     OPTION_BIT(DNS) | OPTION_BIT(DOMAIN))
#define ROUTE_ARGS "NAME DST [via GW|unreachable|throw] [dev IF] [mtu N]"

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
    { .noun = "assign", .args = "SELECTOR NAME|none|default", .min = 2, .max = 2,
      .options = OPTION_BIT(PREFER), .run = run_assign,
      .help = "send apps to a network, block them, or except them" },
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
    { .noun = "vpn", .verb = "list",
      .implied = true, .run = run_vpn_list, .print = print_vpns,
      .help = "list the VPNs" },
    { .noun = "vpn", .verb = "show", .args = "NAME", .min = 1, .max = 1,
      .vpn = 1, .run = run_vpn_show, .print = print_vpn,
      .help = "show all about a VPN" },
    { .noun = "vpn", .verb = "add", .args = "NAME", .min = 1, .max = 1,
      .options = VPN_OPTIONS | SERVICE_OPTIONS, .run = run_vpn_add, .print = print_added_vpn,
      .help = "add a VPN that a program makes" },
    { .noun = "vpn", .verb = "adopt", .args = "IF", .min = 1, .max = 1,
      .options = VPN_OPTIONS | ADOPTED_OPTIONS | OPTION_BIT(NAME), .run = run_vpn_adopt,
      .print = print_added_vpn,
      .help = "make a VPN of an interface that somebody else makes: wg0, ppp0, tun0" },
    { .noun = "vpn", .verb = "import", .args = "FILE", .min = 1, .max = 1,
      .options = VPN_OPTIONS | OPTION_BIT(FALL_THROUGH) | OPTION_BIT(INTERFACE) |
          OPTION_BIT(NAME) | OPTION_BIT(FORCE) | OPTION_BIT(CONFIG),
      .run = run_vpn_import, .print = print_vpn_import,
      .help = "write a profile for the interface of a file of wg-quick" },
    { .noun = "vpn", .verb = "set", .args = "NAME", .min = 1, .max = 1,
      .options = VPN_OPTIONS | SERVICE_OPTIONS | ADOPTED_OPTIONS | OPTION_BIT(INTERFACE),
      .vpn = 1, .run = run_vpn_set,
      .help = "change a VPN; what is not mentioned stays" },
    { .noun = "vpn", .verb = "remove", .args = "NAME", .min = 1, .max = 1,
      .vpn = 1, .run = run_vpn_remove,
      .help = "remove a VPN" },
    { .noun = "vpn", .verb = "up", .args = "NAME", .min = 1, .max = 1,
      .options = OPTION_BIT(WAIT), .vpn = 1, .run = run_vpn_up, .print = print_vpn_up,
      .help = "bring a VPN up, and wait until it carries traffic" },
    { .noun = "vpn", .verb = "down", .args = "NAME", .min = 1, .max = 1,
      .vpn = 1, .run = run_vpn_down,
      .help = "take a VPN down; what it holds under lockdown stays blocked" },
    { .noun = "vpn", .verb = "consent", .args = "[USER|EXE]", .max = 1,
      .options = OPTION_BIT(EVERYONE) | OPTION_BIT(REVOKE), .run = run_vpn_consent,
      .print = print_consents,
      .help = "list who may be a VPN, allow it to a user or a program, or take that back" },
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
