/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * rtnetlink messages: all four parsers on the same bytes; rules and routes that come of it are
 * built and parsed again. After an error the result is untouched.
 */

#include <errno.h>
#include <linux/fib_rules.h>

#include "fuzz/fuzz.h"
#include "wire/rtnl.h"

enum { HOPS = 4, ROOM = 1024 };

/* A place for a result that shows when it is touched. */
#define WATCHED(type, name, n)        \
    type name[n], name##_before[n];   \
    memset(name, 0x5a, sizeof(name)); \
    memcpy(name##_before, name, sizeof(name))

#define MUST_BE_UNTOUCHED(name) MUST(memcmp(name, name##_before, sizeof(name)) == 0)

static void check_error(int r)
{
    MUST(r == 0 || r == -EBADMSG || r == -EEXIST || r == -ENODATA || r == -ENOMSG);
}

static void check_link(const struct nlmsghdr *nlh)
{
    WATCHED(struct rtnl_link, link, 1);
    int r = rtnl_link_parse(nlh, link);

    check_error(r);
    if (r < 0)
        MUST_BE_UNTOUCHED(link);
    else
        MUST(link->ifindex > 0 && link->name[0] && strnlen(link->name, IFNAMSIZ) < IFNAMSIZ &&
             strnlen(link->kind, sizeof(link->kind)) < sizeof(link->kind));
}

static void check_addr(const struct nlmsghdr *nlh)
{
    WATCHED(struct rtnl_addr, addr, 1);
    int r = rtnl_addr_parse(nlh, addr);

    check_error(r);
    if (r < 0)
        MUST_BE_UNTOUCHED(addr);
    else
        MUST(ip_addr_is_set(&addr->local) &&
             addr->prefix_len <= ip_family_bits(addr->local.family));
}

/* What the builder does not write: others' selectors, a mark without mask. */
static struct rtnl_rule rule_as_built(const struct rtnl_rule *rule)
{
    struct rtnl_rule r = *rule;

    r.extra = rtnl_rule_empty(r.family).extra;
    r.flags &= FIB_RULE_INVERT;
    if (r.fwmask == 0)
        r.fwmark = 0;
    return r;
}

static void check_rule(const struct nlmsghdr *nlh)
{
    WATCHED(struct rtnl_rule, rule, 1);
    struct rtnl_rule expected, back;
    char buf[ROOM];
    int r = rtnl_rule_parse(nlh, rule);

    check_error(r);
    if (r < 0) {
        MUST_BE_UNTOUCHED(rule);
        return;
    }
    expected = rule_as_built(rule);
    MUST(rtnl_rule_build(buf, sizeof(buf), RTM_NEWRULE, 0, rule) == 0);
    MUST(rtnl_rule_parse((void *)buf, &back) == 0);
    MUST(memcmp(&expected, &back, sizeof(back)) == 0);
}

/* What the builder does not write: which next hop it was, the kernel's own flags. */
static struct rtnl_route route_as_built(const struct rtnl_route *route)
{
    struct rtnl_route r = *route;

    r.nh_index = 0;
    r.nh_flags &= RTNH_F_ONLINK;
    r.flags = 0;
    return r;
}

static void check_route(const struct rtnl_route *route)
{
    struct rtnl_route expected = route_as_built(route), back;
    char buf[ROOM];
    size_t n;

    MUST(route->dst.addr.family == route->family);
    MUST(route->dst.len <= ip_family_bits(route->family));
    MUST(rtnl_route_build(buf, sizeof(buf), RTM_NEWROUTE, 0, route) == 0);
    MUST(rtnl_route_parse((void *)buf, &back, 1, &n) == 0 && n == 1);
    MUST(memcmp(&expected, &back, sizeof(back)) == 0);
}

static void check_routes(const struct nlmsghdr *nlh)
{
    WATCHED(struct rtnl_route, routes, HOPS);
    size_t n = 77;
    int r = rtnl_route_parse(nlh, routes, HOPS, &n);

    check_error(r);
    if (r < 0) {
        MUST_BE_UNTOUCHED(routes);
        MUST(n == 77);
        return;
    }
    MUST(n >= 1 && n <= HOPS);
    for (size_t i = 0; i < n; i++)
        check_route(&routes[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nlmsghdr *nlh;

    if (size < sizeof(*nlh))
        return 0;
    nlh = malloc(size);
    MUST(nlh);
    memcpy(nlh, data, size);
    nlh->nlmsg_len = (uint32_t)size;
    check_link(nlh);
    check_addr(nlh);
    check_rule(nlh);
    check_routes(nlh);
    free(nlh);
    return 0;
}
