/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between simulate.c (rules) and simulate4.c, simulate6.c (tables). */

#include "plan/simulate.h"

/* The answer of one table: -EAGAIN = go on with the next rule (`route` is then a throw route, or
 * NULL), else 0 or the error of the route. */
struct sim_lookup {
    int error;
    const struct rtnl_route *route;
    bool uncertain;
    bool other_ways; /* as in sim_result */
    bool fallback;   /* IPv6: there is another route for when the router does not answer */
};

struct sim_walk {
    const struct kernel *k;
    struct rtnl_flow flow; /* IPv4: with the source that was chosen before the rules */
    struct sim_packet packet;
    bool strict; /* IPv6: RT6_LOOKUP_F_IFACE, the output interface must be that of the route */
    struct sim_lookup (*lookup)(const struct sim_walk *w, uint32_t table);
    sim_trace trace;
    void *data;
};

/* fib_rules_lookup(): fills rule, route, table, error, uncertain and other_ways of *ret. */
void sim_walk_rules(const struct sim_walk *w, struct sim_result *ret);

/* What a route of this type does to the sender: 0, -EHOSTUNREACH, …, -EAGAIN for throw. */
int sim_route_error(uint8_t type);

struct sim_result simulate4(struct sim_walk *w);
struct sim_result simulate6(struct sim_walk *w);
