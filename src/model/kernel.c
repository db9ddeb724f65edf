/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/kernel.h"

#include <errno.h>

#include "basic/array.h"

void kernel_done(struct kernel *k)
{
    free(k->links);
    free(k->addrs);
    for (unsigned f = 0; f < 2; f++) {
        free(k->rules[f]);
        free(k->routes[f]);
    }
    guard_unref(k->guard);
    guard_unref(k->maps);
    *k = (struct kernel){ 0 };
}

int kernel_copy(const struct kernel *k, struct kernel *ret)
{
    _cleanup_kernel_ struct kernel c = { 0 };
    int r = 0;

    r |= array_copy((void **)&c.links, k->links, k->n_links, sizeof(*k->links));
    r |= array_copy((void **)&c.addrs, k->addrs, k->n_addrs, sizeof(*k->addrs));
    for (unsigned f = 0; f < 2; f++) {
        r |= array_copy((void **)&c.rules[f], k->rules[f], k->n_rules[f], sizeof(*k->rules[f]));
        r |= array_copy((void **)&c.routes[f], k->routes[f], k->n_routes[f], sizeof(*k->routes[f]));
        c.n_rules[f] = c.cap_rules[f] = k->n_rules[f];
        c.n_routes[f] = c.cap_routes[f] = k->n_routes[f];
    }
    if (r < 0)
        return -ENOMEM;
    c.n_links = c.cap_links = k->n_links;
    c.n_addrs = c.cap_addrs = k->n_addrs;
    c.guard = guard_ref(k->guard);
    c.maps = guard_ref(k->maps);

    *ret = c;
    c = (struct kernel){ 0 };
    return 0;
}

int kernel_add_link(struct kernel *k, const struct rtnl_link *link)
{
    return ARRAY_PUSH(k->links, k->n_links, k->cap_links, *link);
}

int kernel_add_addr(struct kernel *k, const struct rtnl_addr *addr)
{
    return ARRAY_PUSH(k->addrs, k->n_addrs, k->cap_addrs, *addr);
}

int kernel_add_rule(struct kernel *k, const struct rtnl_rule *rule)
{
    unsigned f = family_index(rule->family);

    return ARRAY_PUSH(k->rules[f], k->n_rules[f], k->cap_rules[f], *rule);
}

int kernel_add_route(struct kernel *k, const struct rtnl_route *route)
{
    unsigned f = family_index(route->family);

    return ARRAY_PUSH(k->routes[f], k->n_routes[f], k->cap_routes[f], *route);
}

static int compare_links(const void *x, const void *y)
{
    const struct rtnl_link *a = x, *b = y;
    return CMP(a->ifindex, b->ifindex);
}

/*
 * Sorts by table and keeps the order within one: merge sort, bottom up, O(n) when sorted already.
 */
static int sort_routes(struct rtnl_route *routes, size_t n)
{
    size_t ordered = 1;

    while (ordered < n && routes[ordered - 1].table <= routes[ordered].table)
        ordered++;
    if (ordered >= n)
        return 0;

    _cleanup_free_ struct rtnl_route *other = calloc(n, sizeof(*other));
    struct rtnl_route *from = routes, *to = other;
    if (!other)
        return -ENOMEM;
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t start = 0, out = 0; start < n; start += 2 * width) {
            size_t i = start, j = MIN(start + width, n);
            size_t mid = j, end = MIN(start + 2 * width, n);

            while (i < mid || j < end)
                to[out++] =
                    j == end || (i < mid && from[i].table <= from[j].table) ? from[i++] : from[j++];
        }
        struct rtnl_route *swap = from;
        from = to;
        to = swap;
    }
    if (from != routes)
        memcpy(routes, from, n * sizeof(*routes));
    return 0;
}

int kernel_sort(struct kernel *k)
{
    int r;

    if (k->n_links > 0)
        qsort(k->links, k->n_links, sizeof(*k->links), compare_links);
    r = sort_routes(k->routes[0], k->n_routes[0]);
    return r < 0 ? r : sort_routes(k->routes[1], k->n_routes[1]);
}

const struct rtnl_link *kernel_link(const struct kernel *k, int ifindex)
{
    struct rtnl_link key = { .ifindex = ifindex };

    if (k->n_links == 0)
        return NULL;
    return bsearch(&key, k->links, k->n_links, sizeof(key), compare_links);
}

const struct rtnl_link *kernel_link_by_name(const struct kernel *k, const char *name)
{
    for (size_t i = 0; i < k->n_links; i++)
        if (streq(k->links[i].name, name))
            return &k->links[i];
    return NULL;
}

/* The first route whose table is not below `table`. */
static size_t table_bound(const struct rtnl_route *routes, size_t n, uint64_t table)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (routes[mid].table < table)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t kernel_table(const struct kernel *k, int family, uint32_t table,
                    const struct rtnl_route **ret)
{
    unsigned f = family_index(family);
    size_t first = table_bound(k->routes[f], k->n_routes[f], table);
    size_t end = table_bound(k->routes[f], k->n_routes[f], (uint64_t)table + 1);

    *ret = k->routes[f] ? k->routes[f] + first : NULL;
    return end - first;
}

const struct guard *kernel_guard(const struct kernel *k)
{
    return k->maps ? k->maps : k->guard;
}

bool kernel_has_addr(const struct kernel *k, const struct ip_addr *addr)
{
    const struct rtnl_route *routes;
    size_t n = kernel_table(k, addr->family, RT_TABLE_LOCAL, &routes);

    for (size_t i = 0; i < n; i++)
        if (routes[i].type == RTN_LOCAL && ip_prefix_contains(&routes[i].dst, addr))
            return true;
    return false;
}
