/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which uids are one case to verify: those that must keep to the same, and for whom the same rules
 * and the same entry of the guard hold. Segments, rules and entries are swept together, so 100 000
 * segments with a rule each become as many groups as there are different rules, in n log n.
 */

#include "plan/policy.h"
#include "plan/verify-rules.h"

struct group {
    uint32_t uid;      /* one of them */
    int32_t target;    /* into targets; -1 = no interface is allowed */
    bool exempt;       /* sockets protected from VPNs have no obligation */
    uint8_t family;    /* index */
    int64_t guarded;   /* netId of the guard's entry; -1 = none */
    uint32_t n_shared; /* its rule_view: `ranged` is in groups->ranged */
    uint32_t n_ranged;
    size_t first_ranged;
};

struct groups {
    struct group *items;
    size_t n, cap;
    uint32_t *ranged;
    size_t n_ranged, cap_ranged;
    struct rule_sweep sweeps[2]; /* by family index */
    uint32_t n_segments;         /* with an obligation */
};

/* 0 or -ENOMEM; `g` is to be released with groups_done() also on failure. */
int groups_build(const struct policy *p, const struct kernel *k, struct groups *g);
void groups_done(struct groups *g);
#define _cleanup_groups_ _cleanup_(groups_done)

/* Its rules, as rule_sweep_rules(). */
int groups_rules(const struct groups *g, size_t i, struct rtnl_rule **ret, size_t *ret_n);
