/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/outside.h"

#include <errno.h>

#include "basic/array.h"

/* Somebody says of a prefix where it is; `rank`: the steps of outside.h. */
struct claim {
    struct ip_prefix prefix;
    uint8_t rank;
    bool outside;
};

struct claims {
    struct claim *items;
    size_t n, cap;
};

static int add_claim(struct claims *c, const struct ip_prefix *prefix, uint8_t rank, bool outside)
{
    return ARRAY_PUSH(c->items, c->n, c->cap,
                      ((struct claim){ .prefix = *prefix, .rank = rank, .outside = outside }));
}

static bool falls_through(const struct network *n)
{
    return n->type == NETWORK_VPN && n->fall_through && !n->lockdown;
}

bool outside_possible(const struct network *n)
{
    return n->type == NETWORK_VPN && (n->n_outside > 0 || falls_through(n));
}

static int add_claims(struct claims *c, const struct network *n, const struct ip_prefix *routed,
                      size_t n_routed)
{
    bool falls = falls_through(n);
    int r = 0;

    for (size_t i = 0; r == 0 && i < n->n_outside; i++)
        r = add_claim(c, &n->outside[i], 1, true);
    for (size_t i = 0; r == 0 && i < n->n_routes; i++) {
        const struct route_spec *route = &n->routes[i];

        /* a default that is excluded stands behind all other routes (plan/routes.c): it is step 5 */
        if (route->kind != ROUTE_THROW)
            r = add_claim(c, &route->dst, 2, false);
        else if (route->dst.len > 0)
            r = add_claim(c, &route->dst, 3, falls);
    }
    for (size_t i = 0; r == 0 && i < n_routed; i++)
        r = add_claim(c, &routed[i], 4, false);
    for (unsigned f = 0; r == 0 && f < 2; f++) {
        static const uint8_t zeros[16];
        struct ip_addr any = ip_addr_make(family_at(f), zeros, ip_family_bits(family_at(f)) / 8);
        struct ip_prefix all = ip_prefix_make(&any, 0);

        r = add_claim(c, &all, 5, falls);
    }
    return r;
}

static int compare_claims(const void *x, const void *y)
{
    const struct claim *a = x, *b = y;
    int c = ip_prefix_compare(&a->prefix, &b->prefix);

    return c != 0 ? c : CMP(a->rank, b->rank);
}

/*
 * In order of prefixes, those around one come before it: they are a stack, from the default down. What says
 * the same as the one that it lies in is left out.
 */
static int keep_changes(const struct claims *c, uint32_t netid, struct outside_list *ret)
{
    const struct claim *around[129]; /* lengths 0–128, each once */
    size_t depth = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n; i++) {
        const struct claim *claim = &c->items[i];

        if (i > 0 && ip_prefix_compare(&claim[-1].prefix, &claim->prefix) == 0)
            continue;
        while (depth > 0 && !ip_prefix_contains(&around[depth - 1]->prefix, &claim->prefix.addr))
            depth--;
        if (depth > 0 && around[depth - 1]->outside == claim->outside)
            continue;
        around[depth++] = claim;
        r = ARRAY_PUSH(ret->items, ret->n, ret->cap,
                       ((struct guard_outside){
                           .netid = netid, .outside = claim->outside, .prefix = claim->prefix }));
    }
    return r;
}

int outside_build(const struct network *n, const struct ip_prefix *routed, size_t n_routed,
                  struct outside_list *ret)
{
    struct claims claims = { 0 };
    int r = add_claims(&claims, n, routed, n_routed);

    if (r == 0) {
        qsort(claims.items, claims.n, sizeof(*claims.items), compare_claims);
        r = keep_changes(&claims, n->netid, ret);
    }
    free(claims.items);
    return r;
}

/* What a prefix and those around it say in both lists; -1: nothing, the network is not in that list. */
struct said {
    const struct guard_outside *key;
    int8_t from, to;
};

struct comparison {
    struct said around[129]; /* lengths 0–128, each once */
    size_t depth;
    struct outside_changes *ret;
};

/* The next prefix, by either list or both. */
static int compare_one(struct comparison *c, const struct guard_outside *from,
                       const struct guard_outside *to)
{
    struct said said = { .key = from ? from : to, .from = -1, .to = -1 };

    while (c->depth > 0 &&
           (c->around[c->depth - 1].key->netid != said.key->netid ||
            !ip_prefix_contains(&c->around[c->depth - 1].key->prefix, &said.key->prefix.addr)))
        c->depth--;
    if (c->depth > 0) {
        said.from = c->around[c->depth - 1].from;
        said.to = c->around[c->depth - 1].to;
    }
    if (from)
        said.from = (int8_t)from->outside;
    if (to)
        said.to = (int8_t)to->outside;
    c->around[c->depth++] = said;
    return ARRAY_PUSH(c->ret->items, c->ret->n, c->ret->cap,
                      ((struct outside_change){ .key = *said.key,
                                                .from = from ? said.from : -1,
                                                .between = said.from != 0 && said.to != 0,
                                                .to = to ? said.to : -1 }));
}

int outside_compare(const struct guard_outside *from, size_t n_from, const struct guard_outside *to,
                    size_t n_to, struct outside_changes *ret)
{
    struct comparison c = { .ret = ret };
    size_t i = 0, j = 0;
    int r = 0;

    while (r == 0 && (i < n_from || j < n_to)) {
        const struct guard_outside *a = i < n_from ? &from[i] : NULL;
        const struct guard_outside *b = j < n_to ? &to[j] : NULL;
        int cmp = !a ? 1 : !b ? -1 : guard_outside_compare(a, b);

        r = compare_one(&c, cmp <= 0 ? a : NULL, cmp >= 0 ? b : NULL);
        i += cmp <= 0;
        j += cmp >= 0;
    }
    return r;
}

int outside_walk(const struct outside_changes *c, enum outside_step step, outside_each each,
                 void *data)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n; i++) {
        const struct outside_change *x = &c->items[step == OUTSIDE_DROP ? i : c->n - 1 - i];

        if (step == OUTSIDE_CLOSE && x->from != x->between)
            r = each(data, &x->key, x->from, x->between);
        if (step == OUTSIDE_OPEN && x->to >= 0 && x->to != x->between)
            r = each(data, &x->key, x->between, x->to);
        if (step == OUTSIDE_DROP && x->to < 0)
            r = each(data, &x->key, x->between, -1);
    }
    return r;
}
