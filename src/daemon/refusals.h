/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Routes that the kernel refused.
 *
 * A route depends on what comes and goes: its gateway must be reachable, its interface up, its key
 * free. So a route that was not asked for by this very request is left out when the kernel will not
 * have it, and all the rest is done. It is told once, and tried again when something changes about
 * its interface, and every minute.
 */

#include "plan/routes.h"

enum refusal_state {
    REFUSAL_LEFT_OUT,
    REFUSAL_DUE,   /* the next plan has it again */
    REFUSAL_TRIED, /* the present plan has it */
};

struct refusal {
    struct rtnl_route route;
    int error;
    enum refusal_state state;
};

struct refusals {
    struct refusal *items; /* by plan_route_compare(), keys unique */
    size_t n, cap;
    struct route_set *left_out; /* for plans; NULL = none */
    bool due;                   /* the next plan leaves out others than the present one */
};

void refusals_done(struct refusals *r);

/* For a list of one's own: sorts it; is a route in it? */
void refusals_sort(struct refusals *r);
bool refusals_has(const struct refusals *r, const struct rtnl_route *route);

/* Was this very route refused before, for this reason? */
bool refusals_know(const struct refusals *r, const struct rtnl_route *route, int error);

/*
 * Notes what an attempt was refused, n routes. One that met what nobody knew of, or that may just
 * have had bad luck, is due once more: 1 is returned then. 0, or -ENOMEM.
 */
int refusals_note(struct refusals *r, struct refusal *news, size_t n);

/* Something changed about an interface; 0 = about all of them. */
void refusals_retry(struct refusals *r, int ifindex);
/* The one of these that is asked for anew. */
void refusals_retry_one(struct refusals *r, size_t i);

/* To be called before a plan is built: settles what it leaves out. 0 or -ENOMEM. */
int refusals_update(struct refusals *r);

/* All was applied: what was tried and not refused again is forgotten. */
void refusals_commit(struct refusals *r);
