/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What test-decide-bpf.c and decide.bpf.c pass to each other. */

#include "decide/door.h"

enum { DECIDE_BATCH = 8192 };

struct decide_trial {
    struct socket_question question;
    struct socket_answer answer; /* by BPF */

    struct socket_policy policy;
    uint32_t door_mark;
    uint8_t incoming, loopback, protectable, on_vpn, port, outside;
    uint8_t pad[2];
    uint32_t verdict; /* by BPF */

    struct socket_policy found[4]; /* netid 0: not found */
    struct socket_policy chosen;   /* by BPF */
    uint32_t selector;             /* by BPF */
} __attribute__((aligned(8)));     /* as the elements of a BPF array are */

static inline enum door_verdict decide_door(const struct decide_trial *t)
{
    struct door_question q = {
        .policy = &t->policy,
        .mark = t->door_mark,
        .incoming = t->incoming,
        .loopback = t->loopback,
        .protectable = t->protectable,
        .on_vpn = t->on_vpn,
        .port = t->port,
        .outside = t->outside,
    };

    return door_judge(&q);
}

static inline enum socket_selector decide_policy(const struct decide_trial *t,
                                                 struct socket_policy *ret)
{
    const struct socket_policy *f = t->found;
    struct socket_matches m = {
        .run = f[0].netid ? &f[0] : 0,
        .executable = f[1].netid ? &f[1] : 0,
        .cgroup = f[2].netid ? &f[2] : 0,
        .uid = f[3].netid ? &f[3] : 0,
    };

    return socket_choose_policy(&m, ret);
}
