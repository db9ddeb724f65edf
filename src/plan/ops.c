/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/ops.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"

enum op_phase {
    PHASE_SYSCTL,
    PHASE_GUARD_OVERLAY,
    PHASE_FENCE_ROUTE_CLOSE, /* the steps of plan/outside.h */
    PHASE_FENCE_ADD,
    PHASE_ROUTE_REPLACE,
    PHASE_ROUTE_ADD_BLOCKING, /* unreachable, throw */
    PHASE_ROUTE_ADD_LINK,     /* before gateways: they are looked up through these */
    PHASE_ROUTE_ADD_GATEWAY,
    PHASE_WAY_ADD,
    PHASE_LAST_RESORT_ADD,
    PHASE_LAST_RESORT_DELETE,
    PHASE_WAY_DELETE,
    PHASE_FENCE_ROUTE_OPEN,
    PHASE_ROUTE_DELETE_GATEWAY,
    PHASE_ROUTE_DELETE_LINK,
    PHASE_ROUTE_DELETE_BLOCKING,
    PHASE_FENCE_DELETE,
    PHASE_FENCE_ROUTE_DROP,
    PHASE_GUARD_FINAL,
};

void ops_done(struct ops *ops)
{
    for (size_t i = 0; i < ops->n; i++)
        if (ops->items[i].kind == OP_GUARD) {
            guard_unref(ops->items[i].guard.from);
            guard_unref(ops->items[i].guard.to);
        }
    free(ops->items);
    *ops = (struct ops){ 0 };
}

static int push(struct ops *ops, enum op_phase phase, struct op op)
{
    op.phase = (uint8_t)phase;
    return ARRAY_PUSH(ops->items, ops->n, ops->cap, op);
}

static enum op_phase rule_phase(const struct plan_rule *rule, bool add)
{
    if (rule->action == FR_ACT_TO_TBL && rule->priority != RULE_PRIORITY_OUTSIDE_FENCE)
        return add ? PHASE_WAY_ADD : PHASE_WAY_DELETE;
    if (rule->priority >= RULE_PRIORITY_UID_IMPLICIT_NETWORK)
        return add ? PHASE_LAST_RESORT_ADD : PHASE_LAST_RESORT_DELETE;
    return add ? PHASE_FENCE_ADD : PHASE_FENCE_DELETE;
}

/* One op per family that the bits name. */
static int push_rule(struct ops *ops, const struct plan_rule *rule, unsigned families, bool add)
{
    int r = 0;

    for (unsigned f = 0; r == 0 && f < 2; f++) {
        struct op op = { .kind = add ? OP_RULE_ADD : OP_RULE_DELETE, .rule = *rule };

        if (!(families & (1U << f)))
            continue;
        op.rule.families = (uint8_t)(1U << f);
        r = push(ops, rule_phase(rule, add), op);
    }
    return r;
}

static int compare_pointers(const void *x, const void *y)
{
    const struct plan_chunk *const *a = x, *const *b = y;
    return CMP((uintptr_t)*a, (uintptr_t)*b);
}

/* All chunks of a plan, sorted by address, so that shared ones are found in one pass. */
static int sorted_chunks(const struct plan *p, struct plan_chunks *ret)
{
    struct plan_chunks all = { 0 };
    size_t n = 1;

    for (int s = 0; s < STREAM_MAX; s++)
        n += p->streams[s].n;
    if (ARRAY_RESERVE(all.items, all.cap, n) < 0)
        return -ENOMEM;
    for (int s = 0; s < STREAM_MAX; s++)
        for (size_t i = 0; i < p->streams[s].n; i++)
            all.items[all.n++] = p->streams[s].items[i];
    qsort(all.items, all.n, sizeof(*all.items), compare_pointers);
    *ret = all;
    return 0;
}

/* The rules of the chunks in `mine` that are not in `other`, sorted. */
static int rules_not_shared(const struct plan_chunks *mine, const struct plan_chunks *other,
                            struct rule_list *ret)
{
    struct rule_list out = { 0 };
    int r = 0;

    for (size_t i = 0, j = 0; r == 0 && i < mine->n; i++) {
        const struct rule_list *rules = &mine->items[i]->rules;

        while (j < other->n && (uintptr_t)other->items[j] < (uintptr_t)mine->items[i])
            j++;
        if (rules->n == 0 || (j < other->n && other->items[j] == mine->items[i]))
            continue;
        r = ARRAY_RESERVE(out.items, out.cap, out.n + rules->n);
        if (r == 0) {
            memcpy(out.items + out.n, rules->items, rules->n * sizeof(*rules->items));
            out.n += rules->n;
        }
    }
    if (r < 0) {
        free(out.items);
        return r;
    }
    if (out.n > 0)
        qsort(out.items, out.n, sizeof(*out.items), plan_rule_compare);
    *ret = out;
    return 0;
}

static int merge_rules(const struct rule_list *stands, const struct rule_list *wanted,
                       struct ops *ops)
{
    size_t i = 0, j = 0;
    int r = 0;

    while (r == 0 && (i < stands->n || j < wanted->n)) {
        const struct plan_rule *a = i < stands->n ? &stands->items[i] : NULL;
        const struct plan_rule *b = j < wanted->n ? &wanted->items[j] : NULL;
        int c = !a ? 1 : !b ? -1 : plan_rule_compare(a, b);

        if (c == 0) {
            r = push_rule(ops, a, a->families & ~(unsigned)b->families, false);
            if (r == 0)
                r = push_rule(ops, b, b->families & ~(unsigned)a->families, true);
            i++;
            j++;
        } else if (c < 0) {
            r = push_rule(ops, a, a->families, false);
            i++;
        } else {
            r = push_rule(ops, b, b->families, true);
            j++;
        }
    }
    return r;
}

static int diff_rules(const struct plan *stands, const struct plan *wanted, struct ops *ops)
{
    struct plan_chunks old = { 0 }, new = { 0 };
    struct rule_list old_rules = { 0 }, new_rules = { 0 };
    int r;

    r = sorted_chunks(stands, &old);
    if (r == 0)
        r = sorted_chunks(wanted, &new);
    if (r == 0)
        r = rules_not_shared(&old, &new, &old_rules);
    if (r == 0)
        r = rules_not_shared(&new, &old, &new_rules);
    if (r == 0)
        r = merge_rules(&old_rules, &new_rules, ops);
    free(old.items);
    free(new.items);
    free(old_rules.items);
    free(new_rules.items);
    return r;
}

static enum op_phase route_phase(const struct rtnl_route *route, bool add)
{
    if (route->type != RTN_UNICAST)
        return add ? PHASE_ROUTE_ADD_BLOCKING : PHASE_ROUTE_DELETE_BLOCKING;
    if (ip_addr_is_set(&route->gateway))
        return add ? PHASE_ROUTE_ADD_GATEWAY : PHASE_ROUTE_DELETE_GATEWAY;
    return add ? PHASE_ROUTE_ADD_LINK : PHASE_ROUTE_DELETE_LINK;
}

static int push_route(struct ops *ops, const struct rtnl_route *route, bool add)
{
    struct op op = { .kind = add ? OP_ROUTE_ADD : OP_ROUTE_DELETE, .route = *route };

    return push(ops, route_phase(route, add), op);
}

/* The next route from *i on that is no fence table's, or NULL. */
static const struct rtnl_route *next_route(const struct route_set *s, size_t *i)
{
    while (*i < s->n && route_is_of_fence(&s->items[*i]))
        ++*i;
    return *i < s->n ? &s->items[*i] : NULL;
}

static int diff_routes(const struct route_set *stands, const struct route_set *wanted,
                       struct ops *ops)
{
    const struct rtnl_route *a, *b;
    size_t i = 0, j = 0;
    int r = 0;

    if (stands == wanted)
        return 0;
    while (a = next_route(stands, &i), b = next_route(wanted, &j), r == 0 && (a || b)) {
        int c = !a ? 1 : !b ? -1 : plan_route_compare(a, b);

        if (c == 0 && !plan_route_equal(a, b)) {
            struct op op = { .kind = OP_ROUTE_REPLACE, .replace = { .from = *a, .to = *b } };
            r = push(ops, PHASE_ROUTE_REPLACE, op);
        } else if (c < 0)
            r = push_route(ops, a, false);
        else if (c > 0)
            r = push_route(ops, b, true);
        i += c <= 0;
        j += c >= 0;
    }
    return r;
}

struct fence_ops {
    struct ops *ops;
    enum op_phase phase;
};

static int push_fence_route(void *data, const struct guard_outside *key, int before, int after)
{
    const struct fence_ops *f = data;
    struct op op = { .kind = before < 0  ? OP_ROUTE_ADD
                             : after < 0 ? OP_ROUTE_DELETE
                                         : OP_ROUTE_REPLACE };

    if (op.kind == OP_ROUTE_REPLACE) {
        op.replace.from = route_of_fence(key, before > 0);
        op.replace.to = route_of_fence(key, after > 0);
    } else
        op.route = route_of_fence(key, before > 0 || after > 0);
    return push(f->ops, f->phase, op);
}

static int diff_fences(const struct route_set *stands, const struct route_set *wanted,
                       struct ops *ops)
{
    static const enum op_phase phases[] = {
        [OUTSIDE_CLOSE] = PHASE_FENCE_ROUTE_CLOSE,
        [OUTSIDE_OPEN] = PHASE_FENCE_ROUTE_OPEN,
        [OUTSIDE_DROP] = PHASE_FENCE_ROUTE_DROP,
    };
    struct outside_list from = { 0 }, to = { 0 };
    struct outside_changes changes = { 0 };
    int r = 0;

    if (stands != wanted)
        r = route_set_fences(stands, &from);
    if (r == 0 && stands != wanted)
        r = route_set_fences(wanted, &to);
    if (r == 0)
        r = outside_compare(from.items, from.n, to.items, to.n, &changes);
    for (unsigned s = 0; r == 0 && s < ELEMENTSOF(phases); s++) {
        struct fence_ops f = { .ops = ops, .phase = phases[s] };

        r = outside_walk(&changes, (enum outside_step)s, push_fence_route, &f);
    }
    free(changes.items);
    free(from.items);
    free(to.items);
    return r;
}

static int push_guard_op(struct ops *ops, enum op_phase phase, struct op op)
{
    int r = push(ops, phase, op);

    if (r == 0) {
        (void)guard_ref(op.guard.from);
        (void)guard_ref(op.guard.to);
    }
    return r;
}

static int push_guard(struct ops *ops, enum op_phase phase, bool maps, struct guard *from,
                      struct guard *to)
{
    return push_guard_op(
        ops, phase,
        (struct op){ .kind = OP_GUARD, .guard = { .from = from, .to = to, .maps = maps } });
}

/* unknown → overlay of `last`, which stood when it was known, and wanted → wanted. */
static int replace_guard(bool maps, struct guard *last, struct guard *wanted, struct ops *ops)
{
    _cleanup_(guard_unrefp) struct guard *overlay = wanted ? guard_overlay(last, wanted) : NULL;
    struct op op = { .kind = OP_GUARD,
                     .guard = { .to = overlay, .maps = maps, .from_unknown = true } };
    int r;

    if (wanted && !overlay)
        return -ENOMEM;
    r = push_guard_op(ops, wanted ? PHASE_GUARD_OVERLAY : PHASE_GUARD_FINAL, op);
    if (r < 0 || guard_equal(overlay, wanted))
        return r;
    return push_guard(ops, PHASE_GUARD_FINAL, maps, overlay, wanted);
}

/* stands → overlay → wanted; each step only where it changes something. */
static int diff_guards(bool maps, struct guard *stands, struct guard *wanted, struct ops *ops)
{
    _cleanup_(guard_unrefp) struct guard *overlay = NULL;
    int r;

    if (guard_equal(stands, wanted) || (!stands && !wanted))
        return 0;
    if (!wanted)
        return push_guard(ops, PHASE_GUARD_FINAL, maps, stands, NULL);
    overlay = guard_overlay(stands, wanted);
    if (!overlay)
        return -ENOMEM;
    if (guard_equal(overlay, wanted))
        return push_guard(ops, PHASE_GUARD_OVERLAY, maps, stands, wanted);
    if (stands && guard_equal(overlay, stands))
        return push_guard(ops, PHASE_GUARD_FINAL, maps, stands, wanted);
    r = push_guard(ops, PHASE_GUARD_OVERLAY, maps, stands, overlay);
    return r < 0 ? r : push_guard(ops, PHASE_GUARD_FINAL, maps, overlay, wanted);
}

static int diff_sysctls(const struct plan *stands, const struct plan *wanted, struct ops *ops)
{
    int r = 0;

    for (int i = 0; r == 0 && i < SYSCTL_MAX; i++) {
        struct op op = { .kind = OP_SYSCTL,
                         .sysctl = { (enum plan_sysctl)i, stands->sysctls[i],
                                     wanted->sysctls[i] } };

        if (wanted->sysctls[i] >= 0 && stands->sysctls[i] != wanted->sysctls[i])
            r = push(ops, PHASE_SYSCTL, op);
    }
    return r;
}

/* Stable: within a phase the order of the diff stays. Counting sort over the phases. */
static int sort_phases(struct ops *ops)
{
    size_t start[PHASE_GUARD_FINAL + 2] = { 0 };
    struct op *sorted;

    if (ops->n == 0)
        return 0;
    sorted = reallocarray(NULL, ops->n, sizeof(*sorted));
    if (!sorted)
        return -ENOMEM;
    for (size_t i = 0; i < ops->n; i++)
        start[ops->items[i].phase + 1]++;
    for (size_t p = 1; p < ELEMENTSOF(start); p++)
        start[p] += start[p - 1];
    for (size_t i = 0; i < ops->n; i++)
        sorted[start[ops->items[i].phase]++] = ops->items[i];
    free(ops->items);
    ops->items = sorted;
    ops->cap = ops->n;
    return 0;
}

int plan_diff(const struct plan *stands, const struct plan *wanted, const struct rule_list *extra,
              struct ops *ret)
{
    _cleanup_ops_ struct ops ops = { 0 };
    int r;

    r = diff_sysctls(stands, wanted, &ops);
    if (r == 0)
        r = stands->guard_unknown ? replace_guard(false, stands->guard, wanted->guard, &ops)
                                  : diff_guards(false, stands->guard, wanted->guard, &ops);
    if (r == 0)
        r = stands->maps_unknown ? replace_guard(true, NULL, wanted->maps, &ops)
                                 : diff_guards(true, stands->maps, wanted->maps, &ops);
    if (r == 0)
        r = diff_rules(stands, wanted, &ops);
    for (size_t i = 0; r == 0 && extra && i < extra->n; i++)
        r = push_rule(&ops, &extra->items[i], extra->items[i].families, false);
    if (r == 0)
        r = diff_routes(stands->routes, wanted->routes, &ops);
    if (r == 0)
        r = diff_fences(stands->routes, wanted->routes, &ops);
    if (r == 0)
        r = sort_phases(&ops);
    if (r < 0)
        return r;
    *ret = ops;
    ops = (struct ops){ 0 };
    return 0;
}

bool op_has_inverse(const struct op *op)
{
    return op->kind != OP_GUARD || !op->guard.from_unknown;
}

struct op op_inverse(const struct op *op)
{
    static const enum op_kind kinds[OP_KIND_MAX] = {
        [OP_RULE_ADD] = OP_RULE_DELETE,
        [OP_RULE_DELETE] = OP_RULE_ADD,
        [OP_ROUTE_ADD] = OP_ROUTE_DELETE,
        [OP_ROUTE_DELETE] = OP_ROUTE_ADD,
        [OP_ROUTE_REPLACE] = OP_ROUTE_REPLACE,
        [OP_GUARD] = OP_GUARD,
        [OP_SYSCTL] = OP_SYSCTL,
    };
    struct op inverse = *op;

    inverse.kind = kinds[op->kind];
    if (op->kind == OP_ROUTE_REPLACE) {
        inverse.replace.from = op->replace.to;
        inverse.replace.to = op->replace.from;
    } else if (op->kind == OP_GUARD) {
        inverse.guard.from = op->guard.to;
        inverse.guard.to = op->guard.from;
    } else if (op->kind == OP_SYSCTL) {
        inverse.sysctl.from = op->sysctl.to;
        inverse.sysctl.to = op->sysctl.from;
    }
    return inverse;
}

const char *op_kind_to_string(enum op_kind kind)
{
    static const char *const names[OP_KIND_MAX] = {
        [OP_RULE_ADD] = "rule add",
        [OP_RULE_DELETE] = "rule delete",
        [OP_ROUTE_ADD] = "route add",
        [OP_ROUTE_DELETE] = "route delete",
        [OP_ROUTE_REPLACE] = "route replace",
        [OP_GUARD] = "guard",
        [OP_SYSCTL] = "sysctl",
    };

    return names[kind];
}

void op_print(const struct op *op, const struct kernel *k, struct strbuf *b)
{
    strbuf_add(b, "%s ", op_kind_to_string(op->kind));
    switch (op->kind) {
    case OP_RULE_ADD:
    case OP_RULE_DELETE:
        strbuf_add(b, "%s ", op->rule.families == 1 ? "-4" : "-6");
        plan_rule_print(&op->rule, b);
        break;
    case OP_ROUTE_ADD:
    case OP_ROUTE_DELETE:
        plan_route_print(&op->route, k, b);
        break;
    case OP_ROUTE_REPLACE:
        plan_route_print(&op->replace.from, k, b);
        strbuf_add(b, " by ");
        plan_route_print(&op->replace.to, k, b);
        break;
    case OP_GUARD:
        strbuf_add(b, "%s%zu entries -> %zu", op->guard.maps ? "(maps) " : "",
                   op->guard.from ? op->guard.from->n_entries : 0,
                   op->guard.to ? op->guard.to->n_entries : 0);
        break;
    case OP_SYSCTL:
        strbuf_add(b, "%s = %d", plan_sysctl_path(op->sysctl.which), op->sysctl.to);
        break;
    case OP_KIND_MAX:
        break;
    }
}
