/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Random models and flows for the property tests; repeatable by seed. */

#include "model/edit.h"
#include "plan/plan.h"

struct rng {
    uint64_t state;
};

uint32_t rng_u32(struct rng *g);
/* 0 … n-1 */
uint32_t rng_below(struct rng *g, uint32_t n);
/* true with chance 1/n */
bool rng_one_in(struct rng *g, uint32_t n);

/* The uids that random assignments and flows are about: few, so that they meet. */
enum { RANDOM_UID_FIRST = 990, RANDOM_UID_COUNT = 24 };
uint32_t random_uid(struct rng *g);
struct uid_range random_uid_range(struct rng *g);

/*
 * A model over the links of `k` whose names start with "eth": up to 6 networks of all types, some
 * with routes of their own (by gateways, too), users, permissions; up to 8 overlapping assignments
 * of users, groups and ranges; uids that may protect sockets; legacy routes; any default.
 */
struct model *random_model(struct rng *g, const struct kernel *k);

/* A few changes to a copy of a model: so that pairs are near each other, as in life. */
struct model *random_neighbour(struct rng *g, const struct model *m, const struct kernel *k);

/* A packet that has something to do with this state: its addresses, prefixes, marks, interfaces. */
struct rtnl_flow random_flow(struct rng *g, const struct kernel *k, const struct model *m);

/* What carries the apps: rules alone (no nftables), rules and the guard, or the cgroup's programs. */
enum carrier { CARRIER_RULES, CARRIER_GUARD, CARRIER_MAPS };

/*
 * The plan of a model on these facts. Aborts when out of memory. Facts that differ are to lie in
 * different objects.
 */
struct plan *plan_of(const struct model *m, const struct kernel *k, enum carrier carrier,
                     const struct plan *previous);
