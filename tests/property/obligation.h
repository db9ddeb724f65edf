/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a model demands of one packet, said once more for the no-leak tests: from docs/rules.md
 * alone, out of the model and the kernel's links, with nothing of plan/ or decide/, so that a
 * mistake there cannot excuse itself.
 */

#include "model/kernel.h"
#include "model/model.h"

struct obligations {
    const struct model *model;
    const struct kernel *kernel; /* its links matter, and the routes of others */
};

/* The assignment that holds for a user id, or NULL. */
const struct assignment *assignment_of(const struct model *m, uint32_t uid);

/* Is a packet of this uid and mark bound to anything at all? */
bool is_bound(const struct obligations *o, uint32_t uid, uint32_t mark);

/* Has the network an interface that its apps may leave by? */
bool has_way_out(const struct obligations *o, const struct network *n);

/* May a packet of this uid leave by this interface to there, if it is bound? Loopback always. */
bool may_leave_by(const struct obligations *o, uint32_t uid, int ifindex,
                  const struct ip_addr *dst);

/*
 * Can rules alone hold a packet of this uid while one model becomes the other? Not one that is bound
 * to a local network, before or after: these share table 97, and while one takes the place of the
 * other, its routes are there for the apps of both. The guard holds them.
 */
bool rules_hold_meanwhile(const struct obligations *before, const struct obligations *after,
                          uint32_t uid);
