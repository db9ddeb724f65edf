/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which of the assignments that match a socket holds for it.
 *
 * A socket is made by a process, and a process is several things at once: it has a cgroup, which is
 * inside others, it runs an executable, and it has a uid. Each may be assigned. What says most about
 * what the user meant wins; the numbers are those of socket_choose_policy(), of the table in
 * docs/bpf.md and of tests/unit/test-selectors.c:
 *
 *   1  run         a cgroup that `waymark run` made, the nearest one: somebody chose the network
 *                  for this very process and what it starts
 *   2  executable  exe:
 *   3  cgroup      cgroup:, unit:, the nearest assigned ancestor of the process's cgroup
 *   4  uid         uid:, user:, group:; which of those, decide/precedence.h has said before
 *   5  none
 *
 * Like decide/socket.h this is compiled for BPF, too: no libc, no loops.
 */

#include <stdint.h>

#include "decide/socket.h"

enum socket_policy_flag {
    SOCKET_POLICY_FIRST = 1 << 0,    /* of a cgroup: step 1 */
    SOCKET_POLICY_EXEMPT = 1 << 1,   /* as if nothing were assigned: it hides the lower steps */
    SOCKET_POLICY_LOCKDOWN = 1 << 2, /* what comes in by another interface is dropped, too */
    /*
     * The app may protect its sockets from the VPN that it requires: it is that VPN. The same can be said
     * of its uid (struct map_user).
     */
    SOCKET_POLICY_PROTECTABLE = 1 << 3,
};

/* What an assignment says of the sockets that it holds for. */
struct socket_policy {
    uint32_t netid;   /* 0: the network is not there */
    uint8_t strength; /* enum socket_strength */
    uint8_t flags;    /* enum socket_policy_flag */
    uint16_t pad;     /* zero */
    uint64_t app;     /* under which its packets are counted; 0 = under none */
};

enum socket_selector {
    SOCKET_SELECTOR_RUN,
    SOCKET_SELECTOR_EXECUTABLE,
    SOCKET_SELECTOR_CGROUP,
    SOCKET_SELECTOR_UID,
    SOCKET_SELECTOR_NONE,
    SOCKET_SELECTOR_MAX,
};

/* What the look-ups found; NULL where there is nothing. */
struct socket_matches {
    const struct socket_policy *run; /* of the cgroups with FIRST, the nearest */
    const struct socket_policy *executable;
    const struct socket_policy *cgroup; /* of the others, the nearest */
    const struct socket_policy *uid;
};

/* Copies the policy that holds; with SOCKET_SELECTOR_NONE it is an empty one (SOCKET_UNASSIGNED). */
static inline enum socket_selector socket_choose_policy(const struct socket_matches *m,
                                                        struct socket_policy *ret)
{
    if (m->run) {
        *ret = *m->run; /* 1 */
        return SOCKET_SELECTOR_RUN;
    }
    if (m->executable) {
        *ret = *m->executable; /* 2 */
        return SOCKET_SELECTOR_EXECUTABLE;
    }
    if (m->cgroup) {
        *ret = *m->cgroup; /* 3 */
        return SOCKET_SELECTOR_CGROUP;
    }
    if (m->uid) {
        *ret = *m->uid; /* 4 */
        return SOCKET_SELECTOR_UID;
    }
    *ret = (struct socket_policy){ .strength = SOCKET_UNASSIGNED }; /* 5 */
    return SOCKET_SELECTOR_NONE;
}

/* The strength that counts. */
static inline uint32_t socket_policy_strength(const struct socket_policy *p)
{
    return p->flags & SOCKET_POLICY_EXEMPT ? SOCKET_UNASSIGNED : p->strength;
}
