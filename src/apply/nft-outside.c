/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/nft-outside.h"

#include <linux/netfilter/nf_tables.h>
#include <stdio.h>

#include "basic/array.h"
#include "model/mark.h"

/* What `nft list` calls the keys (nftables: enum datatypes). */
enum { TYPE_IPADDR = 7, TYPE_IP6ADDR = 8 };

/* Above those of nft.c; two for each chain. */
enum { SET_ID_FIRST = 16 };

struct set {
    char name[32];
    uint32_t id;
};

static struct set set_of(uint32_t netid, unsigned f)
{
    bool exempt = netid & GUARD_EXEMPT;
    struct set s = { .id = SET_ID_FIRST + 4 * (netid & MARK_NETID_MASK) + (exempt ? 2 : 0) + f };

    snprintf(s.name, sizeof(s.name), "outside%c_%u%s", f ? '6' : '4', netid & MARK_NETID_MASK,
             exempt ? "_exempt" : "");
    return s;
}

/* The network's prefixes in a guard. */
struct span {
    const struct guard_outside *items;
    size_t n;
};

static struct span span_of(const struct guard *g, uint32_t netid)
{
    struct span s = { 0 };

    s.n = guard_outside_of(g, netid, &s.items);
    return s;
}

static bool same(const struct span *a, const struct span *b)
{
    return a->n == b->n && mem_equal(a->items, b->items, a->n * sizeof(*a->items));
}

/* From this address on, until the next point. */
struct point {
    struct ip_addr addr;
    bool outside;
};

struct points {
    struct point *items;
    size_t n, cap;
};

/* Of two points with one address the later counts. */
static int add_point(struct points *p, const struct ip_addr *addr, bool outside)
{
    struct point *last = p->n > 0 ? &p->items[p->n - 1] : NULL;

    if (last && ip_addr_equal(&last->addr, addr)) {
        last->outside = outside;
        return 0;
    }
    return ARRAY_PUSH(p->items, p->n, p->cap, ((struct point){ *addr, outside }));
}

/* Behind the end of a prefix what is around it counts again. */
static int add_end(struct points *p, const struct guard_outside *inner,
                   const struct guard_outside *around)
{
    struct ip_addr last = ip_prefix_last(&inner->prefix), next;

    return ip_addr_next(&last, &next) ? add_point(p, &next, around && around->outside) : 0;
}

static int find_points(const struct span *s, int family, struct points *ret)
{
    const struct guard_outside *around[129]; /* lengths 0–128, each once */
    size_t depth = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n; i++) {
        const struct guard_outside *o = &s->items[i];

        if (o->prefix.addr.family != family)
            continue;
        while (r == 0 && depth > 0 &&
               !ip_prefix_contains(&around[depth - 1]->prefix, &o->prefix.addr)) {
            depth--;
            r = add_end(ret, around[depth], depth > 0 ? around[depth - 1] : NULL);
        }
        around[depth++] = o;
        if (r == 0)
            r = add_point(ret, &o->prefix.addr, o->outside);
    }
    while (r == 0 && depth > 0) {
        depth--;
        r = add_end(ret, around[depth], depth > 0 ? around[depth - 1] : NULL);
    }
    return r;
}

/* An interval is two elements: where it begins, and where it is over, if that is anywhere. */
static void put_elements(struct nft_batch *b, const struct span *s, uint32_t netid, unsigned f)
{
    struct set set = set_of(netid, f);
    struct nft_elements e = { .b = b, .set = set.name, .type = NFT_MSG_NEWSETELEM };
    struct points points = { 0 };
    bool outside = false;

    if (find_points(s, family_at(f), &points) < 0)
        b->failed = true;
    for (size_t i = 0; i < points.n && !b->failed; i++) {
        const struct point *p = &points.items[i];

        if (p->outside != outside)
            nft_elements_add(&e, p->addr.bytes, ip_family_bits(family_at(f)) / 8,
                             p->outside ? 0 : NFT_SET_ELEM_INTERVAL_END, NULL);
        outside = p->outside;
    }
    nft_elements_flush(&e);
    free(points.items);
}

static void put_set(struct nft_batch *b, uint16_t type, uint32_t netid, unsigned f)
{
    struct set set = set_of(netid, f);

    nft_set_put(b, type,
                &(struct nft_set){ .name = set.name,
                                   .id = set.id,
                                   .flags = NFT_SET_INTERVAL,
                                   .key_type = f ? TYPE_IP6ADDR : TYPE_IPADDR,
                                   .key_size = ip_family_bits(family_at(f)) / 8 });
}

void nft_outside_put(struct nft_batch *b, const struct guard *g, uint32_t netid)
{
    struct span s = span_of(g, netid);

    for (unsigned f = 0; s.n > 0 && f < 2; f++) {
        put_set(b, NFT_MSG_NEWSET, netid, f);
        put_elements(b, &s, netid, f);
    }
}

void nft_outside_put_rules(struct nft_batch *b, const char *name, const struct guard *g,
                           uint32_t netid)
{
    struct span s = span_of(g, netid);

    for (unsigned f = 0; s.n > 0 && f < 2; f++) {
        struct set set = set_of(netid, f);

        nft_rule_return_if_destination(b, name, family_at(f), set.name, set.id);
    }
}

bool nft_outside_rules_differ(const struct guard *a, const struct guard *b, uint32_t netid)
{
    return (span_of(a, netid).n > 0) != (span_of(b, netid).n > 0);
}

void nft_outside_change(struct nft_batch *b, const struct guard *from, const struct guard *to,
                        uint32_t netid)
{
    struct span old = span_of(from, netid), new = span_of(to, netid);

    if (old.n == 0)
        nft_outside_put(b, to, netid);
    for (unsigned f = 0; old.n > 0 && new.n > 0 && !same(&old, &new) && f < 2; f++) {
        struct set set = set_of(netid, f);

        nft_elements_delete_all(b, set.name);
        put_elements(b, &new, netid, f);
    }
}

void nft_outside_delete(struct nft_batch *b, const struct guard *from, const struct guard *to,
                        uint32_t netid)
{
    if (span_of(from, netid).n == 0 || (guard_chain(to, netid) && span_of(to, netid).n > 0))
        return;
    for (unsigned f = 0; f < 2; f++)
        put_set(b, NFT_MSG_DELSET, netid, f);
}
