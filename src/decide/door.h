/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the guard at the cgroup says to a packet: the same as guard_judge() of model/guard.h, which
 * nftables enforces, for every selector and in both directions.
 *
 *   1  lo                          passes, whoever it is
 *   2  nobody holds the socket     passes (unassigned, `prefer`, exempt)
 *   3  in, no lockdown             passes: only what leaves is held
 *   4  a VPN's own transport       passes: the app may protect sockets, requires a VPN, and the
 *                                  packet has the protected bit
 *   5  a port of its network       passes
 *   6  outside of its network      passes: to, or from, where that does not lead (plan/outside.h)
 *   7  anything else               is dropped
 *
 * Compiled for BPF, too: no libc, no loops.
 */

#include "decide/selectors.h"

/* Reasons are counted by their number: only append. */
enum door_verdict {
    DOOR_LOOPBACK,
    DOOR_UNHELD,
    DOOR_INCOMING,
    DOOR_PROTECTED,
    DOOR_PORT,
    DOOR_OUTSIDE,
    DOOR_DROP_NONE,      /* `none`, or its network is not there */
    DOOR_DROP_INTERFACE, /* not by this interface */
    DOOR_DROP_INCOMING,  /* lockdown: came in by this interface */
    DOOR_VERDICT_MAX,
};

struct door_question {
    const struct socket_policy *policy;
    uint32_t mark;
    bool incoming;
    bool loopback;
    bool protectable; /* the uid may */
    bool on_vpn;      /* the policy's network is a VPN */
    bool port;        /* apps of the policy's network may use this interface */
    bool outside;     /* asked only where the rest says that it is dropped */
};

static inline bool door_drops(enum door_verdict verdict)
{
    return verdict >= DOOR_DROP_NONE;
}

static inline enum door_verdict door_judge(const struct door_question *q)
{
    uint32_t strength = socket_policy_strength(q->policy);

    if (q->loopback)
        return DOOR_LOOPBACK; /* 1 */
    if (strength != SOCKET_REQUIRE && strength != SOCKET_NONE)
        return DOOR_UNHELD; /* 2 */
    if (q->incoming && !(q->policy->flags & SOCKET_POLICY_LOCKDOWN))
        return DOOR_INCOMING; /* 3 */
    if (strength == SOCKET_REQUIRE && q->policy->netid != NETID_UNSET) {
        if (q->protectable && q->on_vpn && mark_is_transport(q->mark))
            return DOOR_PROTECTED; /* 4 */
        if (q->port)
            return DOOR_PORT; /* 5 */
        if (q->outside)
            return DOOR_OUTSIDE; /* 6 */
    }
    if (q->incoming)
        return DOOR_DROP_INCOMING; /* 7 */
    return strength == SOCKET_NONE || q->policy->netid == NETID_UNSET ? DOOR_DROP_NONE
                                                                      : DOOR_DROP_INTERFACE;
}
