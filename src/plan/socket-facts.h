/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is known when a socket's mark is to be decided: fills the question that decide/socket.h
 * answers, from the model and from what the kernel has.
 *
 * Whoever asks may be one of ten thousand a second, and there may be 100 000 assignments. So they
 * are laid out once, for binary search: which assignment has a uid, as the sweep of plan/policy.h
 * finds it, and each network's users. The sweep is the dear part; it is kept while the assignments
 * are the same table.
 *
 * Of the facts, in Android's words (android.md §1.6):
 *
 *   permission   what was said of the user; else SYSTEM, for a uid below 10000 with
 *                --no-host-networks, as on Android, and for root alone on a host, whose other users
 *                below 10000 are no system but people; else NONE
 *   vpn          the first VPN, by netId, among whose users the uid is. One that cannot carry
 *                traffic counts, too. Who prefers a VPN is no user of bypassable ones: rules of both
 *                have one priority (plan/policy.h)
 *   HAS_USER     the uid is among the network's users, or assigned to it
 *   default      the network's netId; 0 when that is `system`, or is not there
 *
 * The assignment is that of the uid, unless who asks has found one for the process (decide/app.h).
 * Whether that is worth finding out is told by `exes` and `cgroups`. VPNs have uids: an assignment of
 * the process does not change which of them has it, as little as it does for the programs at the cgroup.
 */

#include "decide/socket.h"
#include "plan/policy.h"

/* Users of one network: ranges[first … first + n - 1], ascending, disjoint. */
struct socket_users {
    size_t first, n;
};

/* Zeroed = empty. */
struct socket_facts {
    const struct model *m;
    const struct kernel *k;
    struct targets *targets;
    struct assignments *assignments; /* a reference: `owners` is of these */
    struct segments owners;          /* `target` is an index of assignments */
    bool exes, cgroups;              /* some process is known by that: there are such assignments */
    struct socket_users *users;      /* by target */
    struct uid_range *ranges;
    uint32_t *vpns; /* targets that are VPNs and have users, ascending */
    size_t n_vpns;
};

/*
 * Learns everything anew; both must stay as they are until the next update. 0 or -ENOMEM: then the
 * facts are of no use until an update succeeds.
 */
int socket_facts_update(struct socket_facts *f, const struct model *m, const struct kernel *k);
void socket_facts_done(struct socket_facts *f);
#define _cleanup_socket_facts_ _cleanup_(socket_facts_done)

/* What somebody asks for. */
struct socket_asked {
    enum socket_command command;
    uint32_t uid;                     /* who asks; UID_INVALID = it could not be told */
    const struct assignment *process; /* what holds for his process; NULL = nothing but his uid's */
    uint32_t mark;                    /* the socket's */
    uint32_t netid;                   /* SELECT, CREATE: the network; 0 = none */
    uint32_t user;                    /* SELECT_FOR_USER: the uid whose network is wanted */
    uint32_t scope; /* CONNECT: the interface of an IPv6 link-local destination; 0 = it is none */
};

void socket_facts_ask(const struct socket_facts *f, const struct socket_asked *asked,
                      struct socket_question *ret);

/* Users below it have permission SYSTEM unless something else was said of them. */
uint32_t socket_first_application_uid(const struct model *m);

/* SOCKET_NETWORK_*: all that hangs on the network alone (not HAS_USER). */
uint32_t socket_network_flags(const struct targets *t, size_t i);

enum permission socket_facts_permission(const struct socket_facts *f, uint32_t uid);

/* checkUserNetworkAccess: 0, or the error that selecting the network would have. */
int socket_facts_access(const struct socket_facts *f, uint32_t uid, uint32_t netid);
