/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/guard.h"

#include <errno.h>

#include "basic/array.h"
#include "model/mark.h"

#define LOOPBACK_IFINDEX 1

struct guard *guard_new(void)
{
    struct guard *g = calloc(1, sizeof(*g));

    if (g)
        g->refs = 1;
    return g;
}

struct guard *guard_ref(struct guard *g)
{
    if (g)
        g->refs++;
    return g;
}

void guard_unref(struct guard *g)
{
    if (!g || --g->refs > 0)
        return;
    free(g->entries);
    free(g->apps);
    free(g->places);
    free(g->chains);
    free(g->ports);
    free(g->outside);
    free(g->own);
    free(g->forward);
    free(g->incoming);
    free(g->networks);
    free(g->users);
    free(g->vpns);
    free(g);
}

int guard_push_entry(struct guard *g, const struct guard_entry *entry)
{
    return ARRAY_PUSH(g->entries, g->n_entries, g->cap_entries, *entry);
}

int guard_add_entry_of(struct guard *g, struct uid_range uid, uint32_t netid, uint64_t app)
{
    return guard_push_entry(g, &(struct guard_entry){ .uid = uid, .netid = netid, .app = app });
}

int guard_add_entry(struct guard *g, struct uid_range uid, uint32_t netid)
{
    return guard_add_entry_of(g, uid, netid, 0);
}

int guard_add_app(struct guard *g, const struct guard_app *app)
{
    return ARRAY_PUSH(g->apps, g->n_apps, g->cap_apps, *app);
}

int guard_add_place(struct guard *g, const struct guard_place *place)
{
    return ARRAY_PUSH(g->places, g->n_places, g->cap_places, *place);
}

int guard_add_chain(struct guard *g, uint32_t netid, bool exempt_protected)
{
    return ARRAY_PUSH(
        g->chains, g->n_chains, g->cap_chains,
        ((struct guard_chain){ .netid = netid, .exempt_protected = exempt_protected }));
}

int guard_add_port(struct guard *g, uint32_t netid, int ifindex)
{
    return ARRAY_PUSH(g->ports, g->n_ports, g->cap_ports,
                      ((struct guard_port){ .netid = netid, .ifindex = ifindex }));
}

int guard_add_outside(struct guard *g, const struct guard_outside *outside)
{
    return ARRAY_PUSH(g->outside, g->n_outside, g->cap_outside, *outside);
}

int guard_add_own(struct guard *g, const struct ip_addr *addr, int ifindex)
{
    return ARRAY_PUSH(g->own, g->n_own, g->cap_own,
                      ((struct guard_own){ .addr = *addr, .ifindex = ifindex }));
}

int guard_add_forward(struct guard *g, int ifindex)
{
    return ARRAY_PUSH(g->forward, g->n_forward, g->cap_forward,
                      ((struct guard_forward){ .ifindex = ifindex }));
}

int guard_add_incoming(struct guard *g, int ifindex, uint32_t mark)
{
    return ARRAY_PUSH(g->incoming, g->n_incoming, g->cap_incoming,
                      ((struct guard_incoming){ .ifindex = ifindex, .mark = mark }));
}

int guard_add_network(struct guard *g, const struct guard_network *network)
{
    return ARRAY_PUSH(g->networks, g->n_networks, g->cap_networks, *network);
}

int guard_add_user(struct guard *g, const struct guard_user *user)
{
    return ARRAY_PUSH(g->users, g->n_users, g->cap_users, *user);
}

int guard_add_vpn(struct guard *g, struct uid_range uid, uint32_t netid)
{
    return ARRAY_PUSH(g->vpns, g->n_vpns, g->cap_vpns,
                      ((struct guard_vpn){ .uid = uid, .netid = netid }));
}

static int compare_entries(const void *x, const void *y)
{
    const struct guard_entry *a = x, *b = y;
    return CMP(a->uid.lo, b->uid.lo);
}

static int compare_apps(const void *x, const void *y)
{
    const struct guard_app *a = x, *b = y;

    if (a->kind != b->kind)
        return CMP(a->kind, b->kind);
    return a->id != b->id ? CMP(a->id, b->id) : CMP(a->dev, b->dev);
}

static int compare_places(const void *x, const void *y)
{
    const struct guard_place *a = x, *b = y;

    if (a->kind != b->kind)
        return CMP(a->kind, b->kind);
    if (a->parent != b->parent)
        return CMP(a->parent, b->parent);
    return a->dev != b->dev ? CMP(a->dev, b->dev) : CMP(a->name, b->name);
}

static int compare_chains(const void *x, const void *y)
{
    const struct guard_chain *a = x, *b = y;
    return CMP(a->netid, b->netid);
}

static int compare_ports(const void *x, const void *y)
{
    const struct guard_port *a = x, *b = y;
    return a->netid != b->netid ? CMP(a->netid, b->netid) : CMP(a->ifindex, b->ifindex);
}

int guard_outside_compare(const void *x, const void *y)
{
    const struct guard_outside *a = x, *b = y;
    return a->netid != b->netid ? CMP(a->netid, b->netid)
                                : ip_prefix_compare(&a->prefix, &b->prefix);
}

static int compare_incoming(const void *x, const void *y)
{
    const struct guard_incoming *a = x, *b = y;
    return CMP(a->ifindex, b->ifindex);
}

static int compare_own(const void *x, const void *y)
{
    const struct guard_own *a = x, *b = y;
    int r = ip_addr_compare(&a->addr, &b->addr);

    return r != 0 ? r : CMP(a->ifindex, b->ifindex);
}

static int compare_forward(const void *x, const void *y)
{
    const struct guard_forward *a = x, *b = y;
    return CMP(a->ifindex, b->ifindex);
}

static int compare_networks(const void *x, const void *y)
{
    const struct guard_network *a = x, *b = y;
    return CMP(a->netid, b->netid);
}

static int compare_users(const void *x, const void *y)
{
    const struct guard_user *a = x, *b = y;
    return CMP(a->uid, b->uid);
}

static int compare_vpns(const void *x, const void *y)
{
    const struct guard_vpn *a = x, *b = y;
    return CMP(a->uid.lo, b->uid.lo);
}

/* Sorts, then keeps the first of equal keys. */
static void sort_unique(void *array, size_t *n, size_t size,
                        int (*compare)(const void *, const void *))
{
    char *p = array;
    size_t out = 0, ordered = 1;

    while (ordered < *n && compare(p + (ordered - 1) * size, p + ordered * size) < 0)
        ordered++;
    if (ordered >= *n)
        return; /* strictly ascending already: the usual case */

    qsort(array, *n, size, compare);
    for (size_t i = 1; i < *n; i++)
        if (compare(p + out * size, p + i * size) != 0)
            memmove(p + ++out * size, p + i * size, size);
    *n = out + 1;
}

void guard_sort(struct guard *g)
{
    size_t out = 0;

    sort_unique(g->entries, &g->n_entries, sizeof(*g->entries), compare_entries);
    sort_unique(g->apps, &g->n_apps, sizeof(*g->apps), compare_apps);
    sort_unique(g->places, &g->n_places, sizeof(*g->places), compare_places);
    sort_unique(g->chains, &g->n_chains, sizeof(*g->chains), compare_chains);
    sort_unique(g->ports, &g->n_ports, sizeof(*g->ports), compare_ports);
    sort_unique(g->outside, &g->n_outside, sizeof(*g->outside), guard_outside_compare);
    sort_unique(g->incoming, &g->n_incoming, sizeof(*g->incoming), compare_incoming);
    sort_unique(g->own, &g->n_own, sizeof(*g->own), compare_own);
    sort_unique(g->forward, &g->n_forward, sizeof(*g->forward), compare_forward);
    sort_unique(g->networks, &g->n_networks, sizeof(*g->networks), compare_networks);
    sort_unique(g->users, &g->n_users, sizeof(*g->users), compare_users);
    sort_unique(g->vpns, &g->n_vpns, sizeof(*g->vpns), compare_vpns);

    for (size_t i = 1; i < g->n_entries; i++) {
        struct guard_entry *last = &g->entries[out];

        if (g->entries[i].netid == last->netid && g->entries[i].app == last->app &&
            g->entries[i].flags == last->flags && g->entries[i].uid.lo == last->uid.hi + 1)
            last->uid.hi = g->entries[i].uid.hi;
        else
            g->entries[++out] = g->entries[i];
    }
    if (g->n_entries > 0)
        g->n_entries = out + 1;
}

static bool same(const void *a, size_t n_a, const void *b, size_t n_b, size_t size)
{
    return n_a == n_b && mem_equal(a, b, n_a * size);
}

bool guard_equal(const struct guard *a, const struct guard *b)
{
    if (a == b)
        return true;
    return a && b &&
           same(a->entries, a->n_entries, b->entries, b->n_entries, sizeof(*a->entries)) &&
           same(a->apps, a->n_apps, b->apps, b->n_apps, sizeof(*a->apps)) &&
           same(a->places, a->n_places, b->places, b->n_places, sizeof(*a->places)) &&
           same(a->chains, a->n_chains, b->chains, b->n_chains, sizeof(*a->chains)) &&
           same(a->ports, a->n_ports, b->ports, b->n_ports, sizeof(*a->ports)) &&
           same(a->outside, a->n_outside, b->outside, b->n_outside, sizeof(*a->outside)) &&
           same(a->incoming, a->n_incoming, b->incoming, b->n_incoming, sizeof(*a->incoming)) &&
           same(a->own, a->n_own, b->own, b->n_own, sizeof(*a->own)) &&
           same(a->forward, a->n_forward, b->forward, b->n_forward, sizeof(*a->forward)) &&
           same(a->networks, a->n_networks, b->networks, b->n_networks, sizeof(*a->networks)) &&
           same(a->users, a->n_users, b->users, b->n_users, sizeof(*a->users)) &&
           same(a->vpns, a->n_vpns, b->vpns, b->n_vpns, sizeof(*a->vpns)) &&
           a->default_netid == b->default_netid &&
           a->first_application_uid == b->first_application_uid && a->mark_all == b->mark_all;
}

const struct guard_app *guard_app(const struct guard *g, const struct guard_app *key)
{
    if (!g || g->n_apps == 0)
        return NULL;
    return bsearch(key, g->apps, g->n_apps, sizeof(*key), compare_apps);
}

const struct guard_app *guard_app_numbered(const struct guard *g, uint64_t number)
{
    for (size_t i = 0; g && i < g->n_apps; i++)
        if (g->apps[i].app == number)
            return &g->apps[i];
    return NULL;
}

const struct guard_network *guard_network(const struct guard *g, uint32_t netid)
{
    struct guard_network key = { .netid = netid };

    if (g->n_networks == 0)
        return NULL;
    return bsearch(&key, g->networks, g->n_networks, sizeof(key), compare_networks);
}

const struct guard_chain *guard_chain(const struct guard *g, uint32_t netid)
{
    struct guard_chain key = { .netid = netid };

    if (!g || g->n_chains == 0)
        return NULL;
    return bsearch(&key, g->chains, g->n_chains, sizeof(key), compare_chains);
}

const struct guard_entry *guard_entry(const struct guard *g, uint32_t uid)
{
    size_t lo = 0, hi = g->n_entries;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (g->entries[mid].uid.hi < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < g->n_entries && g->entries[lo].uid.lo <= uid ? &g->entries[lo] : NULL;
}

/* The first entry that is behind this one, for the network and prefix. */
static size_t outside_behind(const struct guard *g, const struct guard_outside *key)
{
    size_t lo = 0, hi = g->n_outside;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (guard_outside_compare(&g->outside[mid], key) <= 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t guard_outside_of(const struct guard *g, uint32_t netid, const struct guard_outside **ret)
{
    struct guard_outside key = { .netid = netid & ~GUARD_EXEMPT };
    size_t first, n = 0;

    if (!g || g->n_outside == 0)
        return 0;
    first = outside_behind(g, &key); /* a prefix of no family comes before all */
    while (first + n < g->n_outside && g->outside[first + n].netid == key.netid)
        n++;
    *ret = g->outside + first;
    return n;
}

/* Prefixes that hold an address come before it, the longest last, but others may lie between. */
bool guard_is_outside(const struct guard *g, uint32_t netid, const struct ip_addr *dst)
{
    struct guard_outside key = { .netid = netid & ~GUARD_EXEMPT };

    if (!g || g->n_outside == 0 || !dst || !ip_addr_is_set(dst))
        return false;
    key.prefix = ip_prefix_make(dst, ip_family_bits(dst->family));
    for (size_t i = outside_behind(g, &key); i-- > 0 && g->outside[i].netid == key.netid;)
        if (ip_prefix_contains(&g->outside[i].prefix, dst))
            return g->outside[i].outside;
    return false;
}

static bool has_port(const struct guard *g, uint32_t netid, int ifindex)
{
    struct guard_port port = { .netid = netid, .ifindex = ifindex };

    return g->n_ports > 0 && bsearch(&port, g->ports, g->n_ports, sizeof(port), compare_ports);
}

enum guard_verdict guard_judge(const struct guard *g, uint32_t uid, uint32_t mark, int ifindex,
                               const struct ip_addr *dst)
{
    const struct guard_entry *entry = g ? guard_entry(g, uid) : NULL;

    return entry ? guard_judge_netid(g, entry->netid, mark, ifindex, dst) : GUARD_UNASSIGNED;
}

enum guard_verdict guard_judge_netid(const struct guard *g, uint32_t netid, uint32_t mark,
                                     int ifindex, const struct ip_addr *dst)
{
    if (netid & GUARD_PREFER)
        return GUARD_UNASSIGNED;
    if (ifindex == LOOPBACK_IFINDEX)
        return GUARD_LOOPBACK;

    const struct guard_chain *chain = guard_chain(g, netid);
    if (chain && chain->exempt_protected && mark_is_transport(mark))
        return GUARD_PROTECTED;
    if (has_port(g, netid, ifindex))
        return GUARD_PORT;
    return guard_is_outside(g, netid, dst) ? GUARD_OUTSIDE : GUARD_DROP;
}

const char *guard_verdict_to_string(enum guard_verdict verdict)
{
    static const char *const names[GUARD_VERDICT_MAX] = {
        [GUARD_UNASSIGNED] = "unassigned", [GUARD_LOOPBACK] = "loopback", [GUARD_PORT] = "allowed",
        [GUARD_PROTECTED] = "protected",   [GUARD_OUTSIDE] = "outside",   [GUARD_DROP] = "drop",
    };

    return names[verdict];
}

/* Adds to g what is left of `entry` when the entries of `over` are cut out of it. */
static int add_uncovered(struct guard *g, const struct guard_entry *entry, const struct guard *over,
                         size_t *cursor)
{
    struct guard_entry left = *entry;
    int r;

    while (*cursor < over->n_entries && over->entries[*cursor].uid.hi < left.uid.lo)
        (*cursor)++;
    for (size_t i = *cursor; i < over->n_entries && over->entries[i].uid.lo <= entry->uid.hi; i++) {
        const struct uid_range *cut = &over->entries[i].uid;

        if (cut->lo > left.uid.lo) {
            left.uid.hi = cut->lo - 1;
            r = guard_push_entry(g, &left);
            if (r < 0)
                return r;
        }
        if (cut->hi >= entry->uid.hi)
            return 0;
        left.uid = (struct uid_range){ cut->hi + 1, entry->uid.hi };
    }
    return guard_push_entry(g, &left);
}

/* g's entries := the ordered union of two ordered, disjoint lists. */
static int merge_entries(struct guard *g, const struct guard *a, const struct guard *b)
{
    size_t i = 0, j = 0;

    if (ARRAY_RESERVE(g->entries, g->cap_entries, a->n_entries + b->n_entries) < 0)
        return -ENOMEM;
    while (i < a->n_entries || j < b->n_entries) {
        bool take_a =
            j == b->n_entries || (i < a->n_entries && a->entries[i].uid.lo < b->entries[j].uid.lo);
        g->entries[g->n_entries++] = take_a ? a->entries[i++] : b->entries[j++];
    }
    return 0;
}

static bool has_place(const struct guard *g, const struct guard_place *key)
{
    return g && g->n_places > 0 &&
           bsearch(key, g->places, g->n_places, sizeof(*key), compare_places);
}

static bool has_incoming(const struct guard *g, int ifindex)
{
    struct guard_incoming key = { .ifindex = ifindex };

    return g && g->n_incoming > 0 &&
           bsearch(&key, g->incoming, g->n_incoming, sizeof(key), compare_incoming);
}

static bool has_network(const struct guard *g, uint32_t netid)
{
    return guard_chain(g, netid) || guard_chain(g, netid | GUARD_EXEMPT);
}

/* Whose it is, held or not, exempt or not. */
static uint32_t network_of(uint32_t netid)
{
    return netid & ~(uint32_t)(GUARD_EXEMPT | GUARD_PREFER);
}

/* Does a user come to the network who was held to another one? */
static bool has_new_users(const struct guard *before, const struct guard *after, uint32_t netid)
{
    for (size_t i = 0, j = 0; i < after->n_entries; i++) {
        const struct guard_entry *e = &after->entries[i];

        while (j < before->n_entries && before->entries[j].uid.hi < e->uid.lo)
            j++;
        if (network_of(e->netid) != netid)
            continue;
        for (size_t k = j; k < before->n_entries && before->entries[k].uid.lo <= e->uid.hi; k++)
            if (network_of(before->entries[k].netid) != netid &&
                !(before->entries[k].netid & GUARD_PREFER))
                return true;
    }
    return false;
}

/* Or a program, of which nothing else says where it was? */
static bool has_new_apps(const struct guard *before, const struct guard *after, uint32_t netid)
{
    for (size_t i = 0; i < after->n_apps; i++) {
        const struct guard_app *was = guard_app(before, &after->apps[i]);

        if (network_of(after->apps[i].netid) == netid && !(was && network_of(was->netid) == netid))
            return true;
    }
    for (size_t i = 0; i < after->n_places; i++) {
        const struct guard_place *key = &after->places[i];
        const struct guard_place *was =
            before->n_places == 0
                ? NULL
                : bsearch(key, before->places, before->n_places, sizeof(*key), compare_places);

        if (network_of(key->netid) == netid && !(was && network_of(was->netid) == netid))
            return true;
    }
    return false;
}

/*
 * A VPN's handover: the network goes on by another interface, with the same apps, and the one it had is
 * nobody's. Until its ways have gone over it is the network's, so that nothing is dropped in between.
 */
static bool is_handed_over(const struct guard *before, const struct guard *after,
                           const struct guard_port *port)
{
    bool gains = false;

    for (size_t i = 0; i < after->n_ports; i++) {
        if (after->ports[i].ifindex == port->ifindex)
            return false;
        gains |= after->ports[i].netid == port->netid &&
                 !has_port(before, port->netid, after->ports[i].ifindex);
    }
    return gains && !has_new_users(before, after, network_of(port->netid)) &&
           !has_new_apps(before, after, network_of(port->netid));
}

/*
 * Apps, places, chains, ports, marks and what is outside, of `from`, that `other` does not speak of. A
 * network that `other` knows gets no ports from here: one that loses an interface loses it at once, unless
 * it is handed over. The same goes for what is outside of it no more.
 */
static int add_unless_known(struct guard *g, const struct guard *from, const struct guard *other)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < from->n_apps; i++)
        if (!guard_app(other, &from->apps[i]))
            r = guard_add_app(g, &from->apps[i]);
    for (size_t i = 0; r == 0 && i < from->n_places; i++)
        if (!has_place(other, &from->places[i]))
            r = guard_add_place(g, &from->places[i]);
    for (size_t i = 0; r == 0 && i < from->n_chains; i++)
        if (!guard_chain(other, from->chains[i].netid))
            r = guard_add_chain(g, from->chains[i].netid, from->chains[i].exempt_protected);
    for (size_t i = 0; r == 0 && i < from->n_ports; i++)
        if (!guard_chain(other, from->ports[i].netid) ||
            (other && is_handed_over(from, other, &from->ports[i])))
            r = guard_add_port(g, from->ports[i].netid, from->ports[i].ifindex);
    for (size_t i = 0; r == 0 && i < from->n_outside; i++)
        if (!has_network(other, from->outside[i].netid))
            r = guard_add_outside(g, &from->outside[i]);
    for (size_t i = 0; r == 0 && i < from->n_incoming; i++)
        if (!has_incoming(other, from->incoming[i].ifindex))
            r = guard_add_incoming(g, from->incoming[i].ifindex, from->incoming[i].mark);
    /* an address that changes its interface is let in by both */
    for (size_t i = 0; r == 0 && i < from->n_own; i++)
        r = guard_add_own(g, &from->own[i].addr, from->own[i].ifindex);
    for (size_t i = 0; r == 0 && i < from->n_forward; i++)
        r = guard_add_forward(g, from->forward[i].ifindex);
    return r;
}

static int copy_world(struct guard *g, const struct guard *from)
{
    int r =
        array_copy((void **)&g->networks, from->networks, from->n_networks, sizeof(*g->networks));

    if (r == 0)
        r = array_copy((void **)&g->users, from->users, from->n_users, sizeof(*g->users));
    if (r == 0)
        r = array_copy((void **)&g->vpns, from->vpns, from->n_vpns, sizeof(*g->vpns));
    if (r < 0)
        return r;
    g->n_networks = g->cap_networks = from->n_networks;
    g->n_users = g->cap_users = from->n_users;
    g->n_vpns = g->cap_vpns = from->n_vpns;
    g->default_netid = from->default_netid;
    g->first_application_uid = from->first_application_uid;
    g->mark_all = from->mark_all;
    return 0;
}

struct guard *guard_overlay(const struct guard *before, const struct guard *after)
{
    _cleanup_(guard_unrefp) struct guard *g = guard_new(), *left = guard_new();
    size_t cursor = 0;
    int r = 0;

    if (!g || !left)
        return NULL;
    for (size_t i = 0; r == 0 && before && i < before->n_entries; i++)
        r = add_uncovered(left, &before->entries[i], after, &cursor);
    if (r == 0)
        r = merge_entries(g, after, left);
    if (r == 0)
        r = add_unless_known(g, after, NULL);
    if (r == 0 && before)
        r = add_unless_known(g, before, after);
    if (r == 0)
        r = copy_world(g, after);
    if (r < 0)
        return NULL;
    guard_sort(g);
    return TAKE_PTR(g);
}
