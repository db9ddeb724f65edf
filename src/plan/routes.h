/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The routes of the networks' tables.
 *
 * On a host, an interface's table is a copy of all routes that lead out by it, connected routes
 * included: main's, and those of other tables (wg-quick's, a VPN client's own) to destinations that
 * main has no route to by this interface. The routes that the network was given come on top. With
 * --no-host-networks it is only the latter.
 *
 * A copy keeps destination, gateway, source, metric, type of service, mtu and preference, and has
 * RTPROT_WAYMARK. Other metrics (initcwnd, advmss, …) are not kept; routes that encapsulate are not
 * copied, because a copy without the encapsulation would send in the open what the host hides. Where
 * two routes would have the same key in the kernel (same destination, source, tos and metric in one
 * table: two routers, a multipath route), the later one gets the next free metric, so that it stands
 * in when the first goes away.
 *
 * Unicast routes are planned only for interfaces that are up: the kernel would refuse others, and
 * drops them itself when an interface goes down.
 *
 * What is outside of a VPN (plan/outside.h) is thrown in its interfaces' tables, so that the walk over the rules
 * goes on, and so it is in its fence table, which prohibits the rest. That one is there as long as the VPN
 * is, with an interface or without.
 */

#include "plan/outside.h"
#include "plan/policy.h"

struct route_set {
    unsigned refs;
    struct rtnl_route *items; /* by plan_route_compare(), keys unique */
    size_t n, cap;
};

struct route_set *route_set_new(void);
struct route_set *route_set_ref(struct route_set *s);
void route_set_unref(struct route_set *s);
DEFINE_CLEANUP(struct route_set *, route_set_unref)

/*
 * 0 and *ret with one reference, or -ENOMEM. `rejected` (may be NULL): routes that the kernel would
 * not take; they are left out.
 */
int routes_build(const struct model *m, const struct kernel *k, const struct targets *t,
                 const struct policy *p, const struct route_set *rejected, struct route_set **ret);

/* Is it a route of the machine that a network by its interface has a copy of? */
bool routes_is_copied(const struct rtnl_route *route);

/* What is left of a route for comparing what was asked with what the kernel shows. */
struct rtnl_route plan_route_normalize(const struct rtnl_route *route);

/* By the kernel's key: family, table, destination, source, tos, metric. */
int plan_route_compare(const void *x, const void *y);
/* Every byte. */
bool plan_route_equal(const struct rtnl_route *a, const struct rtnl_route *b);

/* Sorts by key and drops all but the first of each. */
void route_set_sort(struct route_set *s);
int route_set_add(struct route_set *s, const struct rtnl_route *route);
/* What the network's fence table says, added to the guard. 0 or -ENOMEM. */
int route_set_outside(const struct route_set *s, uint32_t netid, struct guard *ret);

/* Is it a route of a fence table, as we make them; and such a route. */
bool route_is_of_fence(const struct rtnl_route *route);
struct rtnl_route route_of_fence(const struct guard_outside *key, bool outside);
/* What all fence tables say, sorted. `ret` is the caller's to free, also on failure. 0 or -ENOMEM. */
int route_set_fences(const struct route_set *s, struct outside_list *ret);
bool route_set_contains(const struct route_set *s, const struct rtnl_route *route);

/*
 * Appends the route as `ip route` would show it, with its table. `k` names interfaces; may be NULL.
 */
void plan_route_print(const struct rtnl_route *route, const struct kernel *k, struct strbuf *b);
