/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/obligation.h"

#define LOOPBACK_IFINDEX 1

static bool means(const struct assignment *a, uint32_t uid)
{
    if (a->selector.kind == SELECTOR_UID)
        return uid >= a->selector.uid.lo && uid <= a->selector.uid.hi;
    for (size_t i = 0; a->uids && i < a->uids->n; i++)
        if (uid >= a->uids->ranges[i].lo && uid <= a->uids->ranges[i].hi)
            return true;
    return false;
}

/*
 * "One user before group before a range; of two ranges the narrower; then `none` before `require`
 * before `prefer` before `default`": as one number, of which the lowest wins.
 */
static uint64_t rank(const struct assignment *a)
{
    bool range = a->selector.kind == SELECTOR_UID && a->selector.uid.lo != a->selector.uid.hi;
    uint64_t kind = range ? 2 : a->selector.kind == SELECTOR_GROUP ? 1 : 0;
    uint64_t width = range ? a->selector.uid.hi - a->selector.uid.lo : 0;
    uint64_t strength = !a->network                        ? 0
                        : a->strength == STRENGTH_REQUIRE  ? 1
                        : !streq(a->network->s, "default") ? 2
                                                           : 3;

    return kind << 40 | width << 2 | strength;
}

const struct assignment *assignment_of(const struct model *m, uint32_t uid)
{
    const struct assignment *best = NULL;

    /* of two that rank alike the one whose selector sorts first, and so is the table sorted */
    for (size_t i = 0; i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];

        if (means(a, uid) && (!best || rank(a) < rank(best)))
            best = a;
    }
    return best;
}

static bool binds(const struct assignment *a)
{
    return a && (!a->network || a->strength == STRENGTH_REQUIRE);
}

static const struct network *network_of(const struct model *m, const struct assignment *a)
{
    for (size_t i = 0; a->network && i < m->n_networks; i++)
        if (streq(m->networks[i]->name, a->network->s))
            return m->networks[i];
    return NULL;
}

/* The transport of a VPN program gets out beside the VPN, and no other socket, whatever its mark. */
static bool is_exempt(const struct model *m, const struct network *n, uint32_t uid, uint32_t mark)
{
    bool protectable = false;

    for (size_t i = 0; i < m->n_protectable; i++)
        protectable |= m->protectable[i] == uid;
    return n && n->type == NETWORK_VPN && protectable && (mark & MARK_PROTECTED);
}

bool is_bound(const struct obligations *o, uint32_t uid, uint32_t mark)
{
    const struct assignment *a = assignment_of(o->model, uid);

    return binds(a) && !is_exempt(o->model, network_of(o->model, a), uid, mark);
}

/*
 * "An interface without carrier is not usable: who requires its network is blocked. With
 * --no-host-networks an interface only has to exist."
 */
static bool is_way_out(const struct model *m, const struct network *n, const struct rtnl_link *link)
{
    if (n->type == NETWORK_UNREACHABLE || !network_has_interface(n, link->name))
        return false;
    return !m->host_networks || ((link->flags & IFF_UP) && (link->flags & IFF_RUNNING));
}

bool has_way_out(const struct obligations *o, const struct network *n)
{
    for (size_t i = 0; i < o->kernel->n_links; i++)
        if (is_way_out(o->model, n, &o->kernel->links[i]))
            return true;
    return false;
}

/* Who says of an address where it is: the longest prefix, and of two that are as long the first. */
struct saying {
    int len;
    bool outside;
};

static void say(struct saying *s, const struct ip_prefix *p, const struct ip_addr *dst,
                bool outside)
{
    if (ip_prefix_contains(p, dst) && (int)p->len > s->len)
        *s = (struct saying){ .len = p->len, .outside = outside };
}

/* "The routes of an interface's table are copies of those of the host that lead out by it." */
static void say_routes_of_host(const struct obligations *o, const struct network *n,
                               const struct ip_addr *dst, struct saying *s)
{
    unsigned f = family_index(dst->family);

    for (size_t i = 0; o->model->host_networks && i < o->kernel->n_routes[f]; i++) {
        const struct rtnl_route *r = &o->kernel->routes[f][i];
        const struct rtnl_link *link = kernel_link(o->kernel, r->oif);

        if (link && is_way_out(o->model, n, link) && r->type == RTN_UNICAST &&
            r->table != RT_TABLE_LOCAL && r->protocol != RTPROT_WAYMARK &&
            r->protocol != RTPROT_REDIRECT && !(r->nh_flags & RTNH_F_DEAD) &&
            !(r->flags & (RTM_F_CLONED | RTNL_ROUTE_ENCAP)))
            say(s, &r->dst, dst, false);
    }
}

/* "Outside of a VPN." */
static bool is_outside(const struct obligations *o, const struct network *n,
                       const struct ip_addr *dst)
{
    bool falls = n->fall_through && !n->lockdown;
    struct saying s = { .len = -1 };

    if (n->type != NETWORK_VPN)
        return false;
    for (size_t i = 0; i < n->n_outside; i++)
        say(&s, &n->outside[i], dst, true);
    for (size_t i = 0; i < n->n_routes; i++)
        if (n->routes[i].kind != ROUTE_THROW)
            say(&s, &n->routes[i].dst, dst, false);
    for (size_t i = 0; i < n->n_routes; i++)
        if (n->routes[i].kind == ROUTE_THROW && n->routes[i].dst.len > 0)
            say(&s, &n->routes[i].dst, dst, falls);
    say_routes_of_host(o, n, dst, &s);
    return s.len < 0 ? falls : s.outside;
}

bool may_leave_by(const struct obligations *o, uint32_t uid, int ifindex, const struct ip_addr *dst)
{
    const struct assignment *a = assignment_of(o->model, uid);
    const struct network *n;

    if (ifindex == LOOPBACK_IFINDEX || !binds(a))
        return true;
    n = network_of(o->model, a);
    if (n && is_outside(o, n, dst))
        return true;
    for (size_t i = 0; n && i < o->kernel->n_links; i++)
        if (o->kernel->links[i].ifindex == ifindex)
            return is_way_out(o->model, n, &o->kernel->links[i]);
    return false;
}

static bool is_bound_to_local(const struct obligations *o, uint32_t uid)
{
    const struct assignment *a = assignment_of(o->model, uid);
    const struct network *n = binds(a) ? network_of(o->model, a) : NULL;

    return n && n->type == NETWORK_LOCAL;
}

bool rules_hold_meanwhile(const struct obligations *before, const struct obligations *after,
                          uint32_t uid)
{
    return !is_bound_to_local(before, uid) && !is_bound_to_local(after, uid);
}
