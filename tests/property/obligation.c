/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/obligation.h"

void obligations_build(struct obligations *o, const struct model *m, const struct kernel *k)
{
    if (targets_build(m, k, &o->targets) < 0 || policy_build(m, o->targets, &o->policy) < 0)
        abort();
}

void obligations_done(struct obligations *o)
{
    targets_unref(o->targets);
    policy_done(&o->policy);
}

static const struct network *network_of(const struct obligations *o, const struct segment *s)
{
    return s->target >= 0 ? o->targets->items[s->target].network : NULL;
}

bool is_bound(const struct obligations *o, uint32_t uid, uint32_t mark)
{
    const struct segment *s = segments_find(&o->policy.segments, uid);
    const struct network *n = s ? network_of(o, s) : NULL;

    if (!s || s->verdict == VERDICT_PREFER)
        return false;
    return !(n && n->type == NETWORK_VPN && (mark & MARK_PROTECTED));
}

bool may_leave_by(const struct obligations *o, uint32_t uid, int ifindex)
{
    const struct segment *s = segments_find(&o->policy.segments, uid);

    if (ifindex == 1 || !s || s->verdict == VERDICT_PREFER)
        return true;
    if (s->verdict != VERDICT_REQUIRE)
        return false;
    for (size_t i = 0; i < o->targets->items[s->target].n_ports; i++)
        if (target_ports(o->targets, (size_t)s->target)[i].ifindex == ifindex)
            return true;
    return false;
}
