/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/verify-rules.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"
#include "basic/hash.h"
#include "model/mark.h"
#include "plan/verify-classes.h"

bool rule_asks_for_nothing(const struct rtnl_rule *rule)
{
    const struct rtnl_rule_extra *x = &rule->extra;

    return !(rule->flags & FIB_RULE_INVERT) && !rule->fwmask && !rule->oif[0] && !x->l3mdev &&
           !x->other && !x->tos && !x->ip_proto && !x->sport[1] && !x->dport[1] &&
           !x->src.addr.family && !x->dst.addr.family && (int32_t)x->suppress_prefix_len < 0 &&
           x->suppress_ifgroup == UINT32_MAX;
}

/* Does nothing that has an obligation get past this rule, if its range holds the uid? */
static bool refuses_all(const struct rtnl_rule *rule, bool exempt)
{
    struct rtnl_rule bare;

    if (rule->action != FR_ACT_PROHIBIT && rule->action != FR_ACT_UNREACHABLE &&
        rule->action != FR_ACT_BLACKHOLE)
        return false;
    bare = *rule;
    if (exempt && bare.fwmask == MARK_PROTECTED && bare.fwmark == 0)
        bare.fwmask = 0;
    return rule_asks_for_nothing(&bare);
}

/* Can it match a packet that was made here, whoever sends it? Inverted ones are always taken in. */
static bool is_for_output(const struct rtnl_rule *rule)
{
    return (rule->flags & FIB_RULE_INVERT) || !rule->iif[0] || streq(rule->iif, "lo");
}

static const struct rtnl_rule *rule_of(const struct rule_sweep *s, const struct ranged_rule *r)
{
    return &s->k->rules[s->family][r->rule];
}

/* The rule as it is for a uid of that part, without the range: so like ones compare equal. */
static struct rtnl_rule settle(const struct rule_sweep *s, const struct ranged_rule *r)
{
    struct rtnl_rule settled = *rule_of(s, r);

    if (r->outside) /* one condition fails, so `not` matches */
        return classes_unconditional_rule(&settled);
    settled.has_uid = false;
    settled.uid = (struct uid_range){ 0 };
    return settled;
}

/* Splitting. */

static int add_ranged(struct rule_sweep *s, size_t rule, uint32_t lo, uint32_t hi, bool outside)
{
    struct ranged_rule r = { .uid = { lo, hi },
                             .rule = (uint32_t)rule,
                             .before = (uint32_t)s->n_shared,
                             .outside = outside };

    return ARRAY_PUSH(s->ranged, s->n_ranged, s->cap_ranged, r);
}

static int add_rule(struct rule_sweep *s, size_t i)
{
    const struct rtnl_rule *rule = &s->k->rules[s->family][i];
    struct uid_range uid = rule->uid;
    int r;

    if (!is_for_output(rule))
        return 0;
    if (!rule->has_uid)
        return ARRAY_PUSH(s->shared, s->n_shared, s->cap_shared, *rule);
    r = add_ranged(s, i, uid.lo, uid.hi, false);
    if (!(rule->flags & FIB_RULE_INVERT))
        return r;
    if (r == 0 && uid.lo > 0)
        r = add_ranged(s, i, 0, uid.lo - 1, true);
    if (r == 0 && uid.hi < UINT32_MAX)
        r = add_ranged(s, i, uid.hi + 1, UINT32_MAX, true);
    return r;
}

static int goto_targets(const struct rule_sweep *s, uint32_t **ret, size_t *ret_n)
{
    const struct rtnl_rule *rules = s->k->rules[s->family];
    uint32_t *targets = NULL;
    size_t n = 0, cap = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->k->n_rules[s->family]; i++)
        if (rules[i].action == FR_ACT_GOTO)
            r = ARRAY_PUSH(targets, n, cap, rules[i].extra.target);
    *ret_n = classes_sort_u32(targets, n);
    *ret = targets;
    return r;
}

/*
 * A goto leads to the first rule of a priority, also when that one is for other uids: such places
 * are shared rules that do nothing.
 */
static int split_rules(struct rule_sweep *s)
{
    const struct rtnl_rule *rules = s->k->rules[s->family];
    _cleanup_free_ uint32_t *targets = NULL;
    size_t n_targets = 0, t = 0;
    int r = goto_targets(s, &targets, &n_targets);

    for (size_t i = 0; r == 0 && i < s->k->n_rules[s->family]; i++) {
        while (t < n_targets && targets[t] < rules[i].priority)
            t++;
        if (t < n_targets && targets[t] == rules[i].priority) {
            t++;
            r = ARRAY_PUSH(s->shared, s->n_shared, s->cap_shared, classes_idle_rule(&rules[i]));
        }
        if (r == 0)
            r = add_rule(s, i);
    }
    return r;
}

/* How far gotos lead, and which shared rules end a view whatever ranged ones there are. */
static int find_stops(struct rule_sweep *s)
{
    uint32_t reach = 0;

    s->reach = calloc(s->n_shared + 1, sizeof(*s->reach));
    for (int exempt = 0; exempt < 2; exempt++)
        s->stops[exempt] = calloc(s->n_shared + 1, sizeof(*s->stops[exempt]));
    if (!s->reach || !s->stops[0] || !s->stops[1])
        return -ENOMEM;
    for (size_t i = 0; i < s->n_shared; i++) {
        const struct rtnl_rule *rule = &s->shared[i];

        s->reach[i] = reach;
        for (int exempt = 0; exempt < 2; exempt++)
            if (reach <= rule->priority && refuses_all(rule, exempt))
                s->stops[exempt][s->n_stops[exempt]++] = (uint32_t)i;
        if (rule->action == FR_ACT_GOTO)
            reach = MAX(reach, rule->extra.target);
    }
    s->reach[s->n_shared] = reach;
    return 0;
}

/* Likeness. */

static bool are_alike(const void *data, uint32_t a, uint32_t b)
{
    const struct rule_sweep *s = data;
    struct rtnl_rule x = settle(s, &s->ranged[a]), y = settle(s, &s->ranged[b]);

    return s->ranged[a].before == s->ranged[b].before && memcmp(&x, &y, sizeof(x)) == 0;
}

static int find_alike(struct rule_sweep *s)
{
    _cleanup_hash_set_ struct hash_set set = { 0 };
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n_ranged; i++) {
        struct rtnl_rule rule = settle(s, &s->ranged[i]);
        uint32_t hash = hash_bytes(&rule, sizeof(rule), s->ranged[i].before);

        r = hash_set_add(&set, hash, (uint32_t)i, are_alike, s, &s->ranged[i].alike);
    }
    return r;
}

/* Bounds. */

static int compare_lo(const void *x, const void *y, void *data)
{
    const struct ranged_rule *ranged = data;
    const uint32_t *a = x, *b = y;

    return CMP(ranged[*a].uid.lo, ranged[*b].uid.lo);
}

static int compare_hi(const void *x, const void *y, void *data)
{
    const struct ranged_rule *ranged = data;
    const uint32_t *a = x, *b = y;

    return CMP(ranged[*a].uid.hi, ranged[*b].uid.hi);
}

static int sort_bounds(struct rule_sweep *s)
{
    s->by_lo = calloc(s->n_ranged + 1, sizeof(*s->by_lo));
    s->by_hi = calloc(s->n_ranged + 1, sizeof(*s->by_hi));
    s->active = calloc(s->n_ranged + 1, sizeof(*s->active));
    if (!s->by_lo || !s->by_hi || !s->active)
        return -ENOMEM;
    for (size_t i = 0; i < s->n_ranged; i++)
        s->by_lo[i] = s->by_hi[i] = (uint32_t)i;
    qsort_r(s->by_lo, s->n_ranged, sizeof(*s->by_lo), compare_lo, s->ranged);
    qsort_r(s->by_hi, s->n_ranged, sizeof(*s->by_hi), compare_hi, s->ranged);
    return 0;
}

int rule_sweep_init(struct rule_sweep *s, const struct kernel *k, unsigned family)
{
    int r;

    *s = (struct rule_sweep){ .k = k, .family = family };
    r = split_rules(s);
    if (r == 0)
        r = find_stops(s);
    if (r == 0)
        r = find_alike(s);
    return r < 0 ? r : sort_bounds(s);
}

void rule_sweep_done(struct rule_sweep *s)
{
    free(s->shared);
    free(s->reach);
    free(s->stops[0]);
    free(s->stops[1]);
    free(s->ranged);
    free(s->by_lo);
    free(s->by_hi);
    free(s->active);
    *s = (struct rule_sweep){ 0 };
}

/* Sweeping. */

/* Where a ranged rule is, or belongs, among the active ones. */
static size_t active_place(const struct rule_sweep *s, uint32_t ranged)
{
    size_t lo = 0, hi = s->n_active;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->active[mid] < ranged)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void take_up(struct rule_sweep *s, uint32_t ranged)
{
    size_t i = active_place(s, ranged);

    memmove(&s->active[i + 1], &s->active[i], (s->n_active - i) * sizeof(*s->active));
    s->active[i] = ranged;
    s->n_active++;
}

static void drop(struct rule_sweep *s, uint32_t ranged)
{
    size_t i = active_place(s, ranged);

    s->n_active--;
    memmove(&s->active[i], &s->active[i + 1], (s->n_active - i) * sizeof(*s->active));
}

void rule_sweep_to(struct rule_sweep *s, uint32_t uid)
{
    while (s->next_lo < s->n_ranged && s->ranged[s->by_lo[s->next_lo]].uid.lo <= uid)
        take_up(s, s->by_lo[s->next_lo++]);
    while (s->next_hi < s->n_ranged && s->ranged[s->by_hi[s->next_hi]].uid.hi < uid)
        drop(s, s->by_hi[s->next_hi++]);
}

uint64_t rule_sweep_next(const struct rule_sweep *s)
{
    uint64_t next = UINT64_MAX;

    if (s->next_lo < s->n_ranged)
        next = s->ranged[s->by_lo[s->next_lo]].uid.lo;
    if (s->next_hi < s->n_ranged)
        next = MIN(next, (uint64_t)s->ranged[s->by_hi[s->next_hi]].uid.hi + 1);
    return next;
}

/* The first of the stops from *j on that lies before shared rule `end` and is not jumped over. */
static bool find_stop(const struct rule_sweep *s, bool exempt, uint32_t end, uint32_t reach,
                      size_t *j)
{
    for (; *j < s->n_stops[exempt] && s->stops[exempt][*j] < end; (*j)++)
        if (s->shared[s->stops[exempt][*j]].priority >= reach)
            return true;
    return false;
}

int rule_sweep_view(const struct rule_sweep *s, bool exempt, struct rule_view *ret)
{
    uint32_t reach = 0; /* of the ranged gotos */
    size_t stop = 0;

    ret->n_ranged = 0;
    for (size_t i = 0; i < s->n_active; i++) {
        const struct ranged_rule *ranged = &s->ranged[s->active[i]];
        struct rtnl_rule rule = settle(s, ranged);

        if (find_stop(s, exempt, ranged->before, reach, &stop))
            break;
        if (ARRAY_PUSH(ret->ranged, ret->n_ranged, ret->cap_ranged, ranged->alike) < 0)
            return -ENOMEM;
        if (rule.action == FR_ACT_GOTO)
            reach = MAX(reach, rule.extra.target);
        if (MAX(reach, s->reach[ranged->before]) <= rule.priority && refuses_all(&rule, exempt)) {
            ret->n_shared = ranged->before;
            return 0;
        }
    }
    ret->n_shared = find_stop(s, exempt, UINT32_MAX, reach, &stop) ? s->stops[exempt][stop] + 1
                                                                   : (uint32_t)s->n_shared;
    return 0;
}

int rule_sweep_rules(const struct rule_sweep *s, const struct rule_view *view,
                     struct rtnl_rule **ret, size_t *ret_n)
{
    struct rtnl_rule *rules = calloc(view->n_shared + view->n_ranged + 1, sizeof(*rules));
    size_t n = 0, shared = 0;

    if (!rules)
        return -ENOMEM;
    for (size_t i = 0; i < view->n_ranged; i++) {
        const struct ranged_rule *ranged = &s->ranged[view->ranged[i]];

        while (shared < ranged->before)
            rules[n++] = s->shared[shared++];
        rules[n++] = settle(s, ranged);
    }
    while (shared < view->n_shared)
        rules[n++] = s->shared[shared++];
    *ret = rules;
    *ret_n = n;
    return 0;
}
