/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "plan/simulate-internal.h"

#define LOOPBACK_IFINDEX 1

/*
 * A node of the kernel's tree: the routes with this destination and source length around the flow.
 */
struct node {
    int dst_len, src_len;
};

static bool covers(const struct rtnl_route *route, const struct rtnl_flow *flow)
{
    struct ip_addr any = { .family = AF_INET6 };

    if (!ip_prefix_contains(&route->dst, &flow->dst) || (route->flags & RTM_F_CLONED))
        return false;
    if (route->src.addr.family == AF_UNSPEC || route->src.len == 0)
        return true;
    return ip_prefix_contains(&route->src, ip_addr_is_set(&flow->src) ? &flow->src : &any);
}

static int node_compare(struct node a, struct node b)
{
    return a.dst_len != b.dst_len ? CMP(a.dst_len, b.dst_len) : CMP(a.src_len, b.src_len);
}

static struct node node_of(const struct rtnl_route *route)
{
    return (struct node){
        .dst_len = route->dst.len,
        .src_len = route->src.addr.family == AF_UNSPEC ? 0 : route->src.len,
    };
}

/* rt6_score_route(): -1 = cannot be used. */
static int score(const struct sim_walk *w, const struct rtnl_route *route)
{
    int oif = sim_route_error(route->type) < 0 ? LOOPBACK_IFINDEX : route->oif;
    int points = 0;

    if (route->nh_flags & RTNH_F_DEAD)
        return -1;
    if (w->flow.oif == 0 || w->flow.oif == oif)
        points = 2;
    else if (w->strict)
        return -1;
    return points | ((route->pref ^ 2) << 2); /* IPV6_DECODE_PREF */
}

/* Another next hop of the same route: a hash chooses, and sim_hops() tells them. */
static bool is_sibling(const struct rtnl_route *a, const struct rtnl_route *b)
{
    return a->nh_index != b->nh_index && a->priority == b->priority &&
           node_compare(node_of(a), node_of(b)) == 0;
}

/*
 * fib6_select_path(): among the next hops of the route that was chosen, a hash of the flow chooses
 * once more, also one that leads out by another interface than was asked for, unless it must not.
 */
static bool is_multipath(const struct sim_walk *w, const struct rtnl_route *routes, size_t n,
                         const struct rtnl_route *chosen)
{
    for (size_t i = 0; i < n; i++)
        if (covers(&routes[i], &w->flow) && is_sibling(&routes[i], chosen) &&
            score(w, &routes[i]) >= 0)
            return true;
    return false;
}

/*
 * find_rr_leaf(): the best of the lowest metric; if that metric has none, the best of all others.
 * Ties go to the one that the kernel lists first.
 */
static const struct rtnl_route *select_in_node(const struct sim_walk *w,
                                               const struct rtnl_route *routes, size_t n,
                                               struct node node)
{
    const struct rtnl_route *best = NULL;
    uint32_t lowest = UINT32_MAX;
    int best_score = -1;

    for (size_t i = 0; i < n; i++)
        if (covers(&routes[i], &w->flow) && node_compare(node_of(&routes[i]), node) == 0)
            lowest = MIN(lowest, routes[i].priority);

    for (int pass = 0; pass < 2 && !best; pass++)
        for (size_t i = 0; i < n; i++) {
            int points = score(w, &routes[i]);

            if (!covers(&routes[i], &w->flow) || node_compare(node_of(&routes[i]), node) != 0 ||
                (routes[i].priority == lowest) != (pass == 0) || points < 0)
                continue;
            if (points <= best_score)
                continue;
            best = &routes[i];
            best_score = points;
        }
    return best;
}

/*
 * A route by a router that is known not to answer is passed over for others of the table, deepest
 * node first (RT6_LOOKUP_F_REACHABLE). Are there others that do not refuse?
 */
static void note_fallbacks(const struct sim_walk *w, const struct rtnl_route *routes, size_t n,
                           struct sim_lookup *found)
{
    const struct rtnl_route *chosen = found->route;

    if (!ip_addr_is_set(&chosen->gateway))
        return;
    for (size_t i = 0; i < n; i++) {
        int error = sim_route_error(routes[i].type);

        if (&routes[i] == chosen || is_sibling(&routes[i], chosen) ||
            !covers(&routes[i], &w->flow) || score(w, &routes[i]) < 0 ||
            node_compare(node_of(&routes[i]), node_of(chosen)) > 0 ||
            (error < 0 && error != -EAGAIN))
            continue;
        found->fallback = true;
        found->other_ways |= error < 0 || routes[i].oif != chosen->oif;
    }
}

/* fib6_table_lookup(): the deepest node first, then backtracking. */
static struct sim_lookup lookup6(const struct sim_walk *w, uint32_t table)
{
    const struct rtnl_route *routes;
    size_t n = kernel_table(w->k, AF_INET6, table, &routes);
    struct node below = { .dst_len = 129 };
    struct sim_lookup found = { .error = -EAGAIN };

    for (;;) {
        struct node deepest = { .dst_len = -1 };

        for (size_t i = 0; i < n; i++) {
            struct node node = node_of(&routes[i]);
            if (covers(&routes[i], &w->flow) && node_compare(node, below) < 0 &&
                node_compare(node, deepest) > 0)
                deepest = node;
        }
        if (deepest.dst_len < 0)
            return found;
        found.route = select_in_node(w, routes, n, deepest);
        if (found.route) {
            found.error = sim_route_error(found.route->type);
            found.uncertain = is_multipath(w, routes, n, found.route);
            note_fallbacks(w, routes, n, &found);
            return found;
        }
        below = deepest;
    }
}

struct sim_result simulate6(struct sim_walk *w)
{
    const struct rtnl_flow *flow = &w->flow;
    const struct ip_addr *dst = &flow->dst;
    struct sim_result ret = { 0 };

    w->lookup = lookup6;
    /* ip6_route_output_flags(): rt6_need_strict(), or an interface without a source address */
    w->strict = ip_addr_is_multicast(dst) || ip_addr_is_link_local(dst) ||
                ip_addr_is_loopback(dst) || (flow->oif != 0 && !ip_addr_is_set(&flow->src));

    sim_walk_rules(w, &ret);
    if (ret.error < 0)
        return ret;
    ret.oif = ret.type == RTN_LOCAL || ret.type == RTN_ANYCAST ? LOOPBACK_IFINDEX : ret.route->oif;
    ret.gateway = ret.route->gateway;
    ret.src = ip_addr_is_set(&flow->src) ? flow->src : ret.route->prefsrc;
    return ret;
}
