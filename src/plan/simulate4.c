/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/if_addr.h>

#include "plan/simulate-internal.h"

#define LOOPBACK_IFINDEX 1

static const uint8_t broadcast_bytes[4] = { 255, 255, 255, 255 };

static bool is_lbcast(const struct ip_addr *a)
{
    return memcmp(a->bytes, broadcast_bytes, 4) == 0;
}

/* 224.0.0.0/24 */
static bool is_local_multicast(const struct ip_addr *a)
{
    return a->bytes[0] == 224 && a->bytes[1] == 0 && a->bytes[2] == 0;
}

/* fib_table_lookup(): longest prefix, then tos, then metric; what cannot be used is passed over. */
static bool is_better(const struct rtnl_route *a, const struct rtnl_route *b)
{
    if (a->dst.len != b->dst.len)
        return a->dst.len > b->dst.len;
    if (a->tos != b->tos)
        return a->tos > b->tos;
    return a->priority < b->priority;
}

static bool is_candidate(const struct sim_walk *w, const struct rtnl_route *route)
{
    const struct rtnl_flow *flow = &w->flow;

    if (!ip_prefix_contains(&route->dst, &flow->dst) || (route->flags & RTM_F_CLONED) ||
        (route->tos && route->tos != w->packet.tos))
        return false;
    if (sim_route_error(route->type) < 0)
        return true; /* refuses whatever the interface */
    return !(route->nh_flags & RTNH_F_DEAD) && (flow->oif == 0 || flow->oif == route->oif);
}

/*
 * One that is no worse than the best: another next hop of it, among which a hash of the flow
 * chooses; or another default route, among which fib_select_default() does.
 */
static void note_equal(const struct sim_walk *w, const struct rtnl_route *route,
                       struct sim_lookup *found)
{
    if (route->nh_index > 0)
        found->uncertain = true;
    else if (route->dst.len == 0 && w->flow.oif == 0)
        found->uncertain = found->other_ways = true;
}

static struct sim_lookup lookup4(const struct sim_walk *w, uint32_t table)
{
    const struct rtnl_route *routes, *best = NULL;
    size_t n = kernel_table(w->k, AF_INET, table, &routes);
    struct sim_lookup found = { .error = -EAGAIN };

    for (size_t i = 0; i < n; i++) {
        if (!is_candidate(w, &routes[i]))
            continue;
        if (best && !is_better(&routes[i], best)) {
            if (!is_better(best, &routes[i]))
                note_equal(w, &routes[i], &found);
            continue;
        }
        best = &routes[i];
        found.uncertain = found.other_ways = false;
    }
    found.route = best;
    if (best)
        found.error = sim_route_error(best->type);
    return found;
}

static bool is_primary(const struct rtnl_addr *a, unsigned scope)
{
    return a->local.family == AF_INET && a->scope <= scope && !(a->flags & IFA_F_SECONDARY);
}

/*
 * inet_select_addr(): the device's first primary address in scope, or the one whose subnet holds
 * `dst`; failing that the first of any device that is not only link-local. Unset when there is
 * none.
 */
static struct ip_addr select_addr(const struct kernel *k, int ifindex, const struct ip_addr *dst,
                                  unsigned scope)
{
    struct ip_addr chosen = { 0 };

    for (size_t i = 0; i < k->n_addrs; i++) {
        const struct rtnl_addr *a = &k->addrs[i];
        struct ip_prefix subnet = ip_prefix_make(&a->local, a->prefix_len);

        if (a->ifindex != ifindex || !is_primary(a, scope))
            continue;
        if (!dst || ip_prefix_contains(&subnet, dst))
            return a->local;
        if (!ip_addr_is_set(&chosen))
            chosen = a->local;
    }
    for (size_t i = 0; i < k->n_addrs && !ip_addr_is_set(&chosen); i++)
        if (is_primary(&k->addrs[i], scope) && k->addrs[i].scope != RT_SCOPE_LINK)
            chosen = k->addrs[i].local;
    return chosen;
}

/* The interface that has this very address, or 0: __ip_dev_find(). */
static int dev_of_addr(const struct kernel *k, const struct ip_addr *addr)
{
    for (size_t i = 0; i < k->n_addrs; i++)
        if (ip_addr_equal(&k->addrs[i].local, addr))
            return k->addrs[i].ifindex;
    return kernel_has_addr(k, addr) ? LOOPBACK_IFINDEX : 0;
}

/* make_route: what is left to check once the interface is known. */
static void finish(const struct sim_walk *w, struct sim_result *ret)
{
    const struct ip_addr *dst = &w->flow.dst;

    if (is_lbcast(dst))
        ret->type = RTN_BROADCAST;
    else if (ip_addr_is_multicast(dst))
        ret->type = RTN_MULTICAST;
    /* "If multicast route do not exist use default one, but do not gateway in this case." */
    if (is_lbcast(dst) || (ip_addr_is_multicast(dst) && ret->route && ret->route->dst.len < 4))
        ret->gateway = (struct ip_addr){ 0 };
    if (ip_addr_is_set(&ret->src) && ip_addr_is_loopback(&ret->src) && ret->oif != LOOPBACK_IFINDEX)
        ret->error = -EINVAL;
}

static struct sim_result by_interface(const struct sim_walk *w, struct sim_result ret, int ifindex,
                                      unsigned scope)
{
    ret.error = 0;
    ret.type = RTN_UNICAST;
    ret.oif = ifindex;
    ret.route = NULL;
    ret.table = 0;
    ret.gateway = (struct ip_addr){ 0 };
    ret.shortcut = true;
    ret.src = ip_addr_is_set(&w->flow.src) ? w->flow.src : select_addr(w->k, ifindex, NULL, scope);
    finish(w, &ret);
    return ret;
}

/*
 * 0.0.0.0 is this machine: the socket's own address, the interface's that was asked for, 127.0.0.1.
 */
static void to_myself(const struct sim_walk *w, struct sim_result *ret)
{
    static const uint8_t loopback[4] = { 127, 0, 0, 1 };

    *ret = (struct sim_result){ .type = RTN_LOCAL, .oif = LOOPBACK_IFINDEX, .shortcut = true };
    ret->src = w->flow.src;
    if (!ip_addr_is_set(&ret->src) && w->flow.oif)
        ret->src = select_addr(w->k, w->flow.oif, NULL, RT_SCOPE_HOST);
    if (!ip_addr_is_set(&ret->src))
        ret->src = ip_addr_make(AF_INET, loopback, 4);
}

/* The shortcuts around the rules. True when *ret is the answer. */
static bool before_rules(const struct sim_walk *w, struct sim_result *ret)
{
    const struct rtnl_flow *flow = &w->flow;
    const struct ip_addr *dst = &flow->dst, *src = &flow->src;
    const struct rtnl_link *link;

    if (ip_addr_is_set(src)) {
        int dev = dev_of_addr(w->k, src);

        ret->error = -EINVAL;
        if (ip_addr_is_multicast(src) || is_lbcast(src))
            return true;
        ret->error = -ENETUNREACH;
        if (dev == 0)
            return true;
        if (flow->oif == 0 && (ip_addr_is_multicast(dst) || is_lbcast(dst))) {
            *ret = by_interface(w, *ret, dev, RT_SCOPE_LINK);
            return true;
        }
    }
    link = flow->oif ? kernel_link(w->k, flow->oif) : NULL;
    if (flow->oif && (!link || !(link->flags & IFF_UP)))
        ret->error = link ? -ENETUNREACH : -ENODEV;
    else if (ip_addr_is_any(dst))
        to_myself(w, ret);
    else if (flow->oif && (is_local_multicast(dst) || is_lbcast(dst)))
        *ret = by_interface(w, *ret, flow->oif, RT_SCOPE_LINK);
    else
        return false;
    return true;
}

static struct ip_addr route_source(const struct sim_walk *w, const struct rtnl_route *route)
{
    if (ip_addr_is_set(&w->flow.src))
        return w->flow.src;
    if (ip_addr_is_set(&route->prefsrc))
        return route->prefsrc;
    if (route->type == RTN_LOCAL)
        return w->flow.dst;
    return select_addr(w->k, route->oif, route->gateway.family == AF_INET ? &route->gateway : NULL,
                       route->scope);
}

struct sim_result simulate4(struct sim_walk *w)
{
    struct rtnl_flow *flow = &w->flow;
    struct sim_result ret = { 0 };

    w->lookup = lookup4;
    if (before_rules(w, &ret))
        return ret;
    /* for multicast by an interface, the source is chosen before the rules and seen by them */
    if (flow->oif != 0 && !ip_addr_is_set(&flow->src) && ip_addr_is_multicast(&flow->dst))
        flow->src = select_addr(w->k, flow->oif, NULL, RT_SCOPE_UNIVERSE);

    sim_walk_rules(w, &ret);
    if (ret.error < 0) {
        /*
         * "Apparently, routing tables are wrong. Assume, that the destination is on link."
         * (ip_route_output_key_hash_rcu) — also when a rule of ours prohibits it. This is why there
         * is a guard.
         */
        if (flow->oif != 0)
            return by_interface(w, ret, flow->oif, RT_SCOPE_LINK);
        return ret;
    }
    ret.oif = ret.type == RTN_LOCAL ? LOOPBACK_IFINDEX : ret.route->oif;
    ret.gateway = ret.route->gateway;
    ret.src = route_source(w, ret.route);
    finish(w, &ret);
    return ret;
}
