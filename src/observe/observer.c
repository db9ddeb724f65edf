/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/observer.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"

enum { REQUEST_SIZE = 256, DUMP_TRIES = 8, NEXTHOPS_MAX = 64 };

int observer_open(struct observer *o)
{
    static const unsigned groups[] = {
        RTNLGRP_LINK,       RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE,
        RTNLGRP_IPV6_ROUTE, RTNLGRP_IPV4_RULE,   RTNLGRP_IPV6_RULE,   RTNLGRP_NEXTHOP,
    };
    int r;

    r = nlsock_open(&o->requests, NETLINK_ROUTE);
    if (r == 0)
        r = nlsock_open(&o->events, NETLINK_ROUTE);
    if (r == 0)
        r = nlsock_join(&o->events, groups, ELEMENTSOF(groups));
    if (r < 0)
        observer_close(o);
    o->stale = OBSERVE_ALL;
    return r;
}

void observer_close(struct observer *o)
{
    nlsock_close(&o->requests);
    nlsock_close(&o->events);
}

struct event_context {
    struct observer *o;
    observe_handler handler;
    void *data;
};

/*
 * Which parts a message makes stale. A link that goes down takes IPv4 routes with it without a
 * word, and so does an address; a link that is renamed changes what rules with its name match.
 */
static unsigned parts_touched(const struct observe_event *event)
{
    switch (event->part) {
    case OBSERVE_LINKS:
        return OBSERVE_LINKS | OBSERVE_ROUTES | OBSERVE_RULES;
    case OBSERVE_ADDRS:
        return OBSERVE_ADDRS | OBSERVE_ROUTES;
    case OBSERVE_RULES:
    case OBSERVE_ROUTES:
    case OBSERVE_ALL:
        return event->part;
    }
    return OBSERVE_ALL;
}

static int parse_event(const struct nlmsghdr *nlh, struct observe_event *event)
{
    struct rtnl_route routes[NEXTHOPS_MAX];
    size_t n;
    int r;

    switch (nlh->nlmsg_type) {
    case RTM_NEWLINK:
    case RTM_DELLINK:
        event->part = OBSERVE_LINKS;
        return rtnl_link_parse(nlh, &event->link);
    case RTM_NEWADDR:
    case RTM_DELADDR:
        event->part = OBSERVE_ADDRS;
        return rtnl_addr_parse(nlh, &event->addr);
    case RTM_NEWRULE:
    case RTM_DELRULE:
        event->part = OBSERVE_RULES;
        return rtnl_rule_parse(nlh, &event->rule);
    case RTM_NEWROUTE:
    case RTM_DELROUTE:
        event->part = OBSERVE_ROUTES;
        r = rtnl_route_parse(nlh, routes, ELEMENTSOF(routes), &n);
        if (r == 0)
            event->route = routes[0];
        return r == 0 && (event->route.flags & RTM_F_CLONED) ? -ENOMSG : r;
    default:
        return -ENOMSG;
    }
}

static int handle_event(void *data, const struct nlmsghdr *nlh)
{
    struct event_context *c = data;
    struct observe_event event = {
        .removed = nlh->nlmsg_type == RTM_DELLINK || nlh->nlmsg_type == RTM_DELADDR ||
                   nlh->nlmsg_type == RTM_DELRULE || nlh->nlmsg_type == RTM_DELROUTE,
        .own = c->o->own_portid != 0 && nlh->nlmsg_pid == c->o->own_portid,
        .portid = nlh->nlmsg_pid,
    };

    /* routes by an object change with it, and the kernel does not tell of them */
    if (nlh->nlmsg_type == RTM_NEWNEXTHOP || nlh->nlmsg_type == RTM_DELNEXTHOP) {
        c->o->stale |= OBSERVE_ROUTES;
        return 0;
    }
    if (parse_event(nlh, &event) < 0)
        return 0; /* of a kind that does not concern us */
    if (!event.own)
        c->o->stale |= parts_touched(&event);
    if (c->handler)
        c->handler(c->data, &event);
    return 0;
}

int observer_dispatch(struct observer *o, observe_handler handler, void *data)
{
    struct event_context c = { .o = o, .handler = handler, .data = data };
    int r = nlsock_events(&o->events, handle_event, &c);

    if (r == -ENOBUFS) {
        o->stale = OBSERVE_ALL;
        return 0;
    }
    return r;
}

static int add_link(void *data, const struct nlmsghdr *nlh)
{
    struct rtnl_link link;
    int r = rtnl_link_parse(nlh, &link);

    return r == -ENOMSG ? 0 : r < 0 ? r : kernel_add_link(data, &link);
}

static int add_addr(void *data, const struct nlmsghdr *nlh)
{
    struct rtnl_addr addr;
    int r = rtnl_addr_parse(nlh, &addr);

    return r == -ENOMSG ? 0 : r < 0 ? r : kernel_add_addr(data, &addr);
}

static int add_rule(void *data, const struct nlmsghdr *nlh)
{
    struct rtnl_rule rule;
    int r = rtnl_rule_parse(nlh, &rule);

    return r == -ENOMSG ? 0 : r < 0 ? r : kernel_add_rule(data, &rule);
}

static int add_route(void *data, const struct nlmsghdr *nlh)
{
    struct rtnl_route routes[NEXTHOPS_MAX];
    size_t n = 0;
    int r = rtnl_route_parse(nlh, routes, ELEMENTSOF(routes), &n);

    if (r == -ENOMSG)
        return 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        if (!(routes[i].flags & RTM_F_CLONED))
            r = kernel_add_route(data, &routes[i]);
    return r;
}

static int dump(struct observer *o, uint16_t type, int family, nlsock_message add, struct kernel *k)
{
    char buf[REQUEST_SIZE];
    int r = rtnl_dump_build(buf, sizeof(buf), type, family);

    if (r == 0)
        r = nlsock_dump(&o->requests, (void *)buf, add, k);
    /* a kernel without IPv6 has nothing to tell */
    return family == AF_INET6 && (r == -EOPNOTSUPP || r == -EAFNOSUPPORT) ? 0 : r;
}

/* One try at all the parts, into an empty state. -EINTR: it is all that was told, but not at once. */
static int dump_parts(struct observer *o, unsigned parts, struct kernel *k)
{
    static const struct {
        enum observe_part part;
        uint16_t type;
        nlsock_message add;
    } rows[] = {
        { OBSERVE_LINKS, RTM_GETLINK, add_link },
        { OBSERVE_ADDRS, RTM_GETADDR, add_addr },
        { OBSERVE_RULES, RTM_GETRULE, add_rule },
        { OBSERVE_ROUTES, RTM_GETROUTE, add_route },
    };
    int r, torn = 0;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        unsigned families = rows[i].part == OBSERVE_LINKS ? 1 : 2;

        if (!(parts & rows[i].part))
            continue;
        for (unsigned f = 0; f < families; f++) {
            r = dump(o, rows[i].type, families == 1 ? AF_UNSPEC : family_at(f), rows[i].add, k);
            if (r < 0 && r != -EINTR)
                return r;
            torn = MIN(torn, r);
        }
    }
    r = kernel_sort(k);
    return r < 0 ? r : torn;
}

static int dump_patiently(struct observer *o, unsigned parts, struct kernel *ret)
{
    for (int i = 0; i < DUMP_TRIES; i++) {
        _cleanup_kernel_ struct kernel k = { 0 };
        int r = dump_parts(o, parts, &k);

        if (r == 0) {
            *ret = k;
            k = (struct kernel){ 0 };
            return 0;
        }
        if (r != -EINTR)
            return r;
    }
    return -EBUSY;
}

#define SWAP(a, b)                 \
    do {                           \
        __typeof__(a) swap_ = (a); \
        (a) = (b);                 \
        (b) = swap_;               \
    } while (0)

int observer_refresh(struct observer *o, struct kernel *k)
{
    _cleanup_kernel_ struct kernel fresh = { 0 };
    int r;

    if (o->stale == 0)
        return 0;
    r = dump_patiently(o, o->stale, &fresh);
    if (r < 0)
        return r;

    if (o->stale & OBSERVE_LINKS) {
        SWAP(k->links, fresh.links);
        SWAP(k->n_links, fresh.n_links);
        SWAP(k->cap_links, fresh.cap_links);
    }
    if (o->stale & OBSERVE_ADDRS) {
        SWAP(k->addrs, fresh.addrs);
        SWAP(k->n_addrs, fresh.n_addrs);
        SWAP(k->cap_addrs, fresh.cap_addrs);
    }
    for (unsigned f = 0; f < 2; f++) {
        if (o->stale & OBSERVE_RULES) {
            SWAP(k->rules[f], fresh.rules[f]);
            SWAP(k->n_rules[f], fresh.n_rules[f]);
            SWAP(k->cap_rules[f], fresh.cap_rules[f]);
        }
        if (o->stale & OBSERVE_ROUTES) {
            SWAP(k->routes[f], fresh.routes[f]);
            SWAP(k->n_routes[f], fresh.n_routes[f]);
            SWAP(k->cap_routes[f], fresh.cap_routes[f]);
        }
    }
    o->stale = 0;
    return 0;
}

int observer_snapshot(struct observer *o, struct kernel *k)
{
    return dump_patiently(o, OBSERVE_ALL, k);
}

int observer_glimpse(struct observer *o, struct kernel *k)
{
    return dump_parts(o, OBSERVE_ALL, k);
}

static int take_route(void *data, const struct nlmsghdr *nlh)
{
    struct rtnl_route routes[NEXTHOPS_MAX];
    size_t n;
    int r = rtnl_route_parse(nlh, routes, ELEMENTSOF(routes), &n);

    if (r == 0)
        *(struct rtnl_route *)data = routes[0];
    return r;
}

int observer_getroute(struct observer *o, const struct rtnl_flow *flow, struct kernel_answer *ret)
{
    struct rtnl_route route = { 0 };
    char buf[REQUEST_SIZE];
    int r;

    r = rtnl_getroute_build(buf, sizeof(buf), flow);
    if (r < 0)
        return r;
    r = nlsock_request(&o->requests, (void *)buf, take_route, &route, NULL);
    if (r == -ETIMEDOUT || r == -EBADMSG)
        return r;

    *ret = (struct kernel_answer){
        .error = r,
        .type = route.type,
        .table = route.table,
        .oif = route.oif,
        .gateway = route.gateway,
        .src = route.prefsrc,
    };
    return 0;
}
