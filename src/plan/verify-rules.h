/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which rules matter to a uid, for all uids in one ascending sweep over one family.
 *
 * Almost all rules of ours have a range of uids, and a uid is in few of the ranges. So the rules are
 * split. Those without a range are one list that all uids share. Those with one are `ranged`: the
 * sweep takes each up at its lower bound and drops it behind its upper one. What matters to a uid,
 * its `view`, is then the beginning of the shared list and the few ranged rules it is in; the rest
 * of the rules is not looked at. Rules that say the same but for the range are `alike`, so that the
 * views of two uids can be compared, and hashed, as numbers.
 *
 * Cost: n log n for n rules, once; per uid the ranged rules that it is in.
 */

#include "model/kernel.h"

struct ranged_rule {
    struct uid_range uid; /* hi may be UINT32_MAX */
    uint32_t rule;        /* index into the kernel's rules */
    uint32_t before;      /* how many of the shared rules come before it */
    uint32_t alike;       /* the first of the ranged rules that are like it, place included */
    bool outside; /* an inverted rule, for a uid that its range does not hold: it matches all */
};

struct rule_sweep {
    const struct kernel *k;
    unsigned family; /* index */
    struct rtnl_rule *shared;
    size_t n_shared, cap_shared;
    uint32_t *reach;    /* by shared rule: how far gotos among those before it lead */
    uint32_t *stops[2]; /* shared rules that refuse everything, ascending; [1]: but protected */
    size_t n_stops[2];
    struct ranged_rule *ranged; /* in the kernel's order */
    size_t n_ranged, cap_ranged;
    uint32_t *by_lo, *by_hi; /* ranged rules by their bounds */
    size_t next_lo, next_hi;
    uint32_t *active; /* ranged rules that hold the present uid, ascending */
    size_t n_active;
};

/* What can match a packet that a uid sends, up to the first rule that refuses everything. */
struct rule_view {
    uint32_t n_shared;
    uint32_t *ranged; /* numbers of ranged rules, each the first of its like */
    size_t n_ranged, cap_ranged;
};

/* 0 or -ENOMEM; `s` is to be released with rule_sweep_done() also on failure. */
int rule_sweep_init(struct rule_sweep *s, const struct kernel *k, unsigned family);
void rule_sweep_done(struct rule_sweep *s);

/* Goes on to a uid, not below the present one. */
void rule_sweep_to(struct rule_sweep *s, uint32_t uid);

/* The next uid to which other rules apply than to the present one; > UINT32_MAX: there is none. */
uint64_t rule_sweep_next(const struct rule_sweep *s);

/*
 * The view of the present uid; `exempt`: its protected sockets have no obligation. Reuses what *ret
 * holds. 0 or -ENOMEM.
 */
int rule_sweep_view(const struct rule_sweep *s, bool exempt, struct rule_view *ret);

/*
 * The rules of a view in order, without their ranges; the caller frees them. Only `n_shared`,
 * `ranged` and `n_ranged` count. 0 or -ENOMEM.
 */
int rule_sweep_rules(const struct rule_sweep *s, const struct rule_view *view,
                     struct rtnl_rule **ret, size_t *ret_n);

/* Does the rule look at nothing but who sends and that it is from here? */
bool rule_asks_for_nothing(const struct rtnl_rule *rule);
