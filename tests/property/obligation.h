/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What a model demands of one packet: shared by the no-leak tests, independent of plan/verify.c. */

#include "plan/plan.h"

struct obligations {
    struct targets *targets;
    struct policy policy;
};

void obligations_build(struct obligations *o, const struct model *m, const struct kernel *k);
void obligations_done(struct obligations *o);

/* Is a packet of this uid and mark bound to anything at all? */
bool is_bound(const struct obligations *o, uint32_t uid, uint32_t mark);

/* May a packet of a bound uid leave by this interface? Loopback always. */
bool may_leave_by(const struct obligations *o, uint32_t uid, int ifindex);
