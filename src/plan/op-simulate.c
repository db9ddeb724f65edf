/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "basic/array.h"
#include "plan/ops.h"

/* The kernel puts a rule behind all others of its priority. */
static int add_rule(struct kernel *k, const struct plan_rule *rule)
{
    unsigned f = rule->families == 1 ? 0 : 1;
    struct rtnl_rule new = plan_rule_to_rtnl(rule, family_at(f));
    size_t i = 0;

    if (ARRAY_RESERVE(k->rules[f], k->cap_rules[f], k->n_rules[f] + 1) < 0)
        return -ENOMEM;
    for (size_t j = 0; j < k->n_rules[f]; j++)
        if (memcmp(&k->rules[f][j], &new, sizeof(new)) == 0)
            return -EEXIST;
    while (i < k->n_rules[f] && k->rules[f][i].priority <= new.priority)
        i++;
    memmove(&k->rules[f][i + 1], &k->rules[f][i], (k->n_rules[f] - i) * sizeof(new));
    k->rules[f][i] = new;
    k->n_rules[f]++;
    return 0;
}

static int delete_rule(struct kernel *k, const struct plan_rule *rule)
{
    unsigned f = rule->families == 1 ? 0 : 1;

    for (size_t i = 0; i < k->n_rules[f]; i++) {
        struct plan_rule other;

        if (k->rules[f][i].protocol != RTPROT_WAYMARK)
            continue;
        other = plan_rule_from_rtnl(&k->rules[f][i]);
        if (plan_rule_compare(&other, rule) != 0)
            continue;
        k->n_rules[f]--;
        memmove(&k->rules[f][i], &k->rules[f][i + 1], (k->n_rules[f] - i) * sizeof(k->rules[f][0]));
        return 0;
    }
    return -ENOENT;
}

static ssize_t find_route(const struct kernel *k, const struct rtnl_route *route)
{
    unsigned f = family_index(route->family);

    for (size_t i = 0; i < k->n_routes[f]; i++) {
        struct rtnl_route other = k->routes[f][i];

        if (other.protocol != RTPROT_WAYMARK || other.table != route->table)
            continue;
        other = plan_route_normalize(&other);
        if (plan_route_compare(&other, route) == 0)
            return (ssize_t)i;
    }
    return -ESRCH;
}

static int add_route(struct kernel *k, const struct rtnl_route *route)
{
    unsigned f = family_index(route->family);
    size_t i = 0;

    if (find_route(k, route) >= 0)
        return -EEXIST;
    if (ARRAY_RESERVE(k->routes[f], k->cap_routes[f], k->n_routes[f] + 1) < 0)
        return -ENOMEM;
    while (i < k->n_routes[f] && k->routes[f][i].table <= route->table)
        i++;
    memmove(&k->routes[f][i + 1], &k->routes[f][i], (k->n_routes[f] - i) * sizeof(*route));
    k->routes[f][i] = *route;
    k->n_routes[f]++;
    return 0;
}

static int delete_route(struct kernel *k, const struct rtnl_route *route)
{
    unsigned f = family_index(route->family);
    ssize_t i = find_route(k, route);

    if (i < 0)
        return (int)i;
    k->n_routes[f]--;
    memmove(&k->routes[f][i], &k->routes[f][i + 1],
            (k->n_routes[f] - (size_t)i) * sizeof(k->routes[f][0]));
    return 0;
}

static int put_guard(struct guard **place, struct guard *guard)
{
    (void)guard_ref(guard);
    guard_unref(*place);
    *place = guard;
    return 0;
}

int op_simulate(const struct op *op, struct kernel *k)
{
    ssize_t i;

    switch (op->kind) {
    case OP_RULE_ADD:
        return add_rule(k, &op->rule);
    case OP_RULE_DELETE:
        return delete_rule(k, &op->rule);
    case OP_ROUTE_ADD:
        return add_route(k, &op->route);
    case OP_ROUTE_DELETE:
        return delete_route(k, &op->route);
    case OP_ROUTE_REPLACE:
        i = find_route(k, &op->replace.from);
        if (i < 0)
            return (int)i;
        k->routes[family_index(op->replace.to.family)][i] = op->replace.to;
        return 0;
    case OP_GUARD:
        return put_guard(op->guard.maps ? &k->maps : &k->guard, op->guard.to);
    case OP_SYSCTL:
    case OP_KIND_MAX:
        return 0;
    }
    return 0;
}
