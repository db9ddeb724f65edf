/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From one plan to another: the ordered list of ops, each with its inverse.
 *
 * The order is what keeps every prefix of the list free of leaks:
 *
 *   fences up, ways open, ways closed, fences down
 *
 * A fence is a rule that blocks (prohibit, unreachable; or leads to a fence table, plan/routes.h) ahead of the
 * ways it guards against, or the guard. First the guard becomes the overlay of old and new (guard_overlay), then new fences are
 * added, routes, the rules that lead to them; then old rules and routes go, old fences, and last
 * the guard loses what only the old state asked for. (A guard that nobody knows is replaced by the
 * overlay of what was last known and the new one.) Two exceptions are no fences but last resorts,
 * behind every way (UID_DEFAULT_UNREACHABLE, UNREACHABLE): they come after the ways and go before
 * them, so that a change of default network has no moment without a network.
 *
 * A fence table (plan/outside.h) is closed before the fences that lead to it come, opened when ways that are no
 * more have gone, and loses what says nothing any more when the fences have.
 *
 * Within the rules of one family, adding comes before deleting, so that ranges which are cut or
 * joined are always covered by the one or the other.
 */

#include "plan/plan.h"

enum op_kind {
    OP_RULE_ADD,
    OP_RULE_DELETE,
    OP_ROUTE_ADD,
    OP_ROUTE_DELETE,
    OP_ROUTE_REPLACE, /* same key, other way: in one step */
    OP_GUARD,         /* from one guard to another: in nftables in one step */
    OP_SYSCTL,
    OP_KIND_MAX,
};

struct op {
    enum op_kind kind;
    uint8_t phase; /* of ops.c; ascending in a list */
    bool skipped;  /* there was nothing to do, so there is nothing to undo (apply/transaction.h) */
    union {
        struct plan_rule rule;   /* OP_RULE_*: one family bit */
        struct rtnl_route route; /* OP_ROUTE_ADD, OP_ROUTE_DELETE */
        struct {
            struct rtnl_route from, to;
        } replace;
        struct {
            struct guard *from, *to; /* references; NULL = no guard */
            bool maps;               /* the one at the cgroup; else that in nftables */
            bool from_unknown; /* `from` is NULL, but any may be there: see op_has_inverse() */
        } guard;
        struct {
            enum plan_sysctl which;
            int from, to; /* from -1 = unknown */
        } sysctl;
    };
};

struct ops {
    struct op *items;
    size_t n, cap;
};

void ops_done(struct ops *ops);
#define _cleanup_ops_ _cleanup_(ops_done)

/*
 * The ops that lead from what stands to what is wanted. `extra` (may be NULL): surplus copies of
 * rules, to be deleted. `ret` must be empty. 0 or -ENOMEM. Costs what differs, plus a pass over the
 * guard's entries; equal plans give no ops.
 */
int plan_diff(const struct plan *stands, const struct plan *wanted, const struct rule_list *extra,
              struct ops *ret);

/*
 * The op that undoes this one. It borrows the guards of `op`. There is none for the op that begins
 * with a guard that nobody knows (after a start, or when somebody touched it): what it put up is at
 * least as strict as old and new together, and stays.
 */
struct op op_inverse(const struct op *op);
bool op_has_inverse(const struct op *op);

const char *op_kind_to_string(enum op_kind kind);

/* Appends one line, for logs and golden tests. `k` names interfaces; may be NULL. */
void op_print(const struct op *op, const struct kernel *k, struct strbuf *b);

/* What the op does to the kernel's state, as data: the applier of the simulations. 0, -ENOMEM,
 * -EEXIST (adding what is there), -ENOENT or -ESRCH (deleting a rule or route that is not). */
int op_simulate(const struct op *op, struct kernel *k);
