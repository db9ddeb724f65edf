/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/verify-groups.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/hash.h"

/* The guard's entries, as the uids go up. */
struct entry_sweep {
    const struct guard *guard; /* may be NULL */
    size_t next;               /* the first entry that does not end below the present uid */
};

static const struct guard_entry *entry_at(struct entry_sweep *s, uint32_t uid)
{
    while (s->guard && s->next < s->guard->n_entries && s->guard->entries[s->next].uid.hi < uid)
        s->next++;
    return s->guard && s->next < s->guard->n_entries ? &s->guard->entries[s->next] : NULL;
}

/* The next uid with another entry than `uid`, which `entry` holds or lies behind. */
static uint64_t entry_next(const struct guard_entry *entry, uint32_t uid)
{
    if (!entry)
        return UINT64_MAX;
    return entry->uid.lo > uid ? entry->uid.lo : (uint64_t)entry->uid.hi + 1;
}

struct build {
    struct groups *groups;
    struct hash_set set;
    struct rule_view view;
};

static bool same_group(const void *data, uint32_t x, uint32_t y)
{
    const struct groups *groups = data;
    const struct group *a = &groups->items[x], *b = &groups->items[y];

    return a->target == b->target && a->exempt == b->exempt && a->family == b->family &&
           a->guarded == b->guarded && a->n_shared == b->n_shared && a->n_ranged == b->n_ranged &&
           mem_equal(groups->ranged + a->first_ranged, groups->ranged + b->first_ranged,
                     a->n_ranged * sizeof(*groups->ranged));
}

static uint32_t hash_group(const struct group *g, const uint32_t *ranged)
{
    int64_t key[] = { g->target, g->exempt, g->guarded, g->n_shared };

    return hash_bytes(ranged, g->n_ranged * sizeof(*ranged),
                      hash_bytes(key, sizeof(key), g->family));
}

/* Adds the group of this uid unless there is one like it. */
static int add_group(struct build *b, struct group group)
{
    struct groups *groups = b->groups;
    uint32_t number;
    int r;

    group.n_shared = b->view.n_shared;
    group.n_ranged = (uint32_t)b->view.n_ranged;
    group.first_ranged = groups->n_ranged;
    r = ARRAY_RESERVE(groups->ranged, groups->cap_ranged, groups->n_ranged + b->view.n_ranged);
    if (r == 0)
        r = ARRAY_PUSH(groups->items, groups->n, groups->cap, group);
    if (r < 0)
        return r;
    if (group.n_ranged > 0)
        memcpy(groups->ranged + groups->n_ranged, b->view.ranged,
               group.n_ranged * sizeof(*groups->ranged));
    r = hash_set_add(&b->set, hash_group(&group, groups->ranged + group.first_ranged),
                     (uint32_t)(groups->n - 1), same_group, groups, &number);
    if (r == 0 && number == groups->n - 1)
        groups->n_ranged += group.n_ranged;
    else
        groups->n--;
    return r;
}

/* All parts of a segment within which the same rules and the same entry hold. */
static int add_segment(struct build *b, const struct segment *s, unsigned family,
                       struct entry_sweep *entries)
{
    struct rule_sweep *rules = &b->groups->sweeps[family];
    uint64_t uid = s->uid.lo;
    int r = 0;

    while (r == 0 && uid <= s->uid.hi) {
        const struct guard_entry *entry = entry_at(entries, (uint32_t)uid);
        struct group group = {
            .uid = (uint32_t)uid,
            .target = s->target, /* one that is not usable has no port */
            .exempt = s->exempt,
            .family = (uint8_t)family,
            .guarded = entry && entry->uid.lo <= uid ? (int64_t)entry->netid : -1,
        };

        rule_sweep_to(rules, (uint32_t)uid);
        r = rule_sweep_view(rules, group.exempt, &b->view);
        if (r == 0)
            r = add_group(b, group);
        uid = MIN(rule_sweep_next(rules), entry_next(entry, (uint32_t)uid));
    }
    return r;
}

static int add_family(struct build *b, const struct policy *p, const struct kernel *k,
                      unsigned family)
{
    struct entry_sweep entries = { .guard = kernel_guard(k) };
    int r = rule_sweep_init(&b->groups->sweeps[family], k, family);

    for (size_t i = 0; r == 0 && i < p->segments.n; i++) {
        const struct segment *s = &p->segments.items[i];

        if (s->verdict == VERDICT_REQUIRE || s->verdict == VERDICT_REFUSE)
            r = add_segment(b, s, family, &entries);
    }
    return r;
}

int groups_build(const struct policy *p, const struct kernel *k, struct groups *g)
{
    struct build b = { .groups = g };
    int r = 0;

    *g = (struct groups){ 0 };
    for (unsigned family = 0; r == 0 && family < 2; family++)
        r = add_family(&b, p, k, family);
    for (size_t i = 0; i < p->segments.n; i++)
        g->n_segments += p->segments.items[i].verdict == VERDICT_REQUIRE ||
                         p->segments.items[i].verdict == VERDICT_REFUSE;
    hash_set_done(&b.set);
    free(b.view.ranged);
    return r;
}

void groups_done(struct groups *g)
{
    rule_sweep_done(&g->sweeps[0]);
    rule_sweep_done(&g->sweeps[1]);
    free(g->items);
    free(g->ranged);
    *g = (struct groups){ 0 };
}

int groups_rules(const struct groups *g, size_t i, struct rtnl_rule **ret, size_t *ret_n)
{
    const struct group *group = &g->items[i];
    struct rule_view view = {
        .n_shared = group->n_shared,
        .ranged = g->ranged + group->first_ranged,
        .n_ranged = group->n_ranged,
    };

    return rule_sweep_rules(&g->sweeps[group->family], &view, ret, ret_n);
}
