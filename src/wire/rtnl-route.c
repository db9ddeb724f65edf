/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>

#include "wire/nlattr.h"
#include "wire/rtnl.h"

static const struct nlattr_policy route_policy[] = {
    [RTA_DST] = NLATTR_ADDR,       [RTA_SRC] = NLATTR_ADDR,
    [RTA_OIF] = NLATTR_U32,        [RTA_GATEWAY] = NLATTR_ADDR,
    [RTA_PRIORITY] = NLATTR_U32,   [RTA_PREFSRC] = NLATTR_ADDR,
    [RTA_METRICS] = NLATTR_NESTED, [RTA_MULTIPATH] = NLATTR_NESTED,
    [RTA_TABLE] = NLATTR_U32,      [RTA_VIA] = { sizeof(struct rtvia), 64 },
    [RTA_PREF] = NLATTR_U8,        [RTA_ENCAP_TYPE] = NLATTR_U16,
    [RTA_NH_ID] = NLATTR_U32,
};

/* The gateway of a next hop: RTA_GATEWAY, or RTA_VIA when it is of the other family. */
static int parse_gateway(const struct nlattr *gateway, const struct nlattr *via, int family,
                         struct ip_addr *ret)
{
    if (gateway || !via)
        return nlattr_addr_strict(gateway, family, ret);

    const struct rtvia *v = mnl_attr_get_payload(via);
    struct ip_addr addr = ip_addr_make(v->rtvia_family, v->rtvia_addr,
                                       mnl_attr_get_payload_len(via) - sizeof(v->rtvia_family));
    if (!ip_addr_is_set(&addr))
        return -EBADMSG;
    *ret = addr;
    return 0;
}

/* One next hop of a multipath route; `hop` holds what they share. */
static int parse_next_hop(const struct rtnexthop *nh, size_t left, struct rtnl_route *hop)
{
    const struct nlattr *tb[ELEMENTSOF(route_policy)];
    int r;

    if (nh->rtnh_len < sizeof(*nh) || nh->rtnh_len > left)
        return -EBADMSG;
    r = nlattr_parse(nh + 1, nh->rtnh_len - sizeof(*nh), route_policy, ELEMENTSOF(route_policy),
                     tb);
    if (r < 0)
        return r;
    hop->oif = nh->rtnh_ifindex;
    hop->nh_flags = nh->rtnh_flags;
    if (tb[RTA_ENCAP_TYPE])
        hop->flags |= RTNL_ROUTE_ENCAP;
    return parse_gateway(tb[RTA_GATEWAY], tb[RTA_VIA], hop->family, &hop->gateway);
}

/*
 * Takes the next hops apart; `route` holds what they share. With `ret` NULL they are only checked:
 * what comes before a broken one is not to be handed out.
 */
static int parse_multipath(const struct nlattr *multipath, const struct rtnl_route *route,
                           struct rtnl_route *ret, size_t max, size_t *ret_n)
{
    const char *p = mnl_attr_get_payload(multipath);
    size_t left = mnl_attr_get_payload_len(multipath), n = 0;

    while (left >= sizeof(struct rtnexthop) && n < max && n < UINT8_MAX) {
        const struct rtnexthop *nh = (const void *)p;
        struct rtnl_route hop = *route;
        int r;

        hop.nh_index = (uint8_t)n;
        r = parse_next_hop(nh, left, &hop);
        if (r < 0)
            return r;
        if (ret)
            ret[n] = hop;
        n++;

        size_t step = MIN((size_t)NLMSG_ALIGN(nh->rtnh_len), left);
        p += step;
        left -= step;
    }
    if (n == 0)
        return -ENODATA;
    for (size_t i = 0; ret && left >= sizeof(struct rtnexthop) && i < n; i++)
        ret[i].flags |= RTNL_ROUTE_INCOMPLETE;
    *ret_n = n;
    return 0;
}

static int parse_metrics(const struct nlattr *metrics, uint32_t *ret_mtu)
{
    static const struct nlattr_policy policy[] = { [RTAX_MTU] = NLATTR_U32 };
    const struct nlattr *tb[ELEMENTSOF(policy)];
    int r;

    if (!metrics)
        return 0;
    r = nlattr_parse(mnl_attr_get_payload(metrics), mnl_attr_get_payload_len(metrics), policy,
                     ELEMENTSOF(policy), tb);
    if (r < 0)
        return r;
    *ret_mtu = nlattr_u32(tb[RTAX_MTU], 0);
    return 0;
}

/* A prefix of `len` bits; the address is absent when it is all zero. */
static int parse_prefix(const struct nlattr *a, int family, unsigned len, struct ip_prefix *ret)
{
    struct ip_addr addr = nlattr_addr(a, family);

    if (len > ip_family_bits(family) || (a && !ip_addr_is_set(&addr)))
        return -EBADMSG;
    addr.family = (uint8_t)family;
    *ret = ip_prefix_make(&addr, len);
    return 0;
}

int rtnl_route_parse(const struct nlmsghdr *nlh, struct rtnl_route *ret, size_t max, size_t *ret_n)
{
    const struct nlattr *tb[ELEMENTSOF(route_policy)];
    int r;

    r = nlattr_parse_message(nlh, sizeof(struct rtmsg), route_policy, ELEMENTSOF(route_policy), tb);
    if (r < 0)
        return r;
    const struct rtmsg *rtm = mnl_nlmsg_get_payload(nlh);
    if ((rtm->rtm_family != AF_INET && rtm->rtm_family != AF_INET6) || max == 0)
        return -ENOMSG;

    struct rtnl_route route = {
        .family = rtm->rtm_family,
        .type = rtm->rtm_type,
        .scope = rtm->rtm_scope,
        .protocol = rtm->rtm_protocol,
        .tos = rtm->rtm_tos,
        .pref = nlattr_u8(tb[RTA_PREF], 0),
        .nh_flags = (uint8_t)(rtm->rtm_flags & 0xff), /* single next hop: RTNH_F_* ride here */
        .flags = (rtm->rtm_flags & ~0xffU) | (tb[RTA_ENCAP_TYPE] ? RTNL_ROUTE_ENCAP : 0),
        .table = nlattr_u32(tb[RTA_TABLE], rtm->rtm_table),
        .priority = nlattr_u32(tb[RTA_PRIORITY], 0),
        .oif = (int)nlattr_u32(tb[RTA_OIF], 0),
    };
    r = parse_gateway(tb[RTA_GATEWAY], tb[RTA_VIA], rtm->rtm_family, &route.gateway);
    if (r == 0)
        r = nlattr_addr_strict(tb[RTA_PREFSRC], rtm->rtm_family, &route.prefsrc);
    if (r == 0)
        r = parse_prefix(tb[RTA_DST], rtm->rtm_family, rtm->rtm_dst_len, &route.dst);
    if (r == 0 && rtm->rtm_src_len > 0)
        r = parse_prefix(tb[RTA_SRC], rtm->rtm_family, rtm->rtm_src_len, &route.src);
    if (r == 0)
        r = parse_metrics(tb[RTA_METRICS], &route.mtu);
    if (r < 0)
        return r;
    if (tb[RTA_MULTIPATH]) {
        size_t n;

        r = parse_multipath(tb[RTA_MULTIPATH], &route, NULL, max, &n);
        return r < 0 ? r : parse_multipath(tb[RTA_MULTIPATH], &route, ret, max, ret_n);
    }

    if (tb[RTA_NH_ID] && route.type == RTN_UNICAST && route.oif == 0)
        route.flags |= RTNL_ROUTE_INCOMPLETE; /* net.ipv4.nexthop_compat_mode = 0 */
    ret[0] = route;
    *ret_n = 1;
    return 0;
}

static bool put_addr(struct nlmsghdr *nlh, size_t size, uint16_t type, const struct ip_addr *a)
{
    return !ip_addr_is_set(a) ||
           mnl_attr_put_check(nlh, size, type, ip_family_bits(a->family) / 8, a->bytes);
}

static bool put_gateway(struct nlmsghdr *nlh, size_t size, const struct rtnl_route *route)
{
    char buf[sizeof(struct rtvia) + 16] = { 0 };
    uint16_t family = route->gateway.family;

    if (family == AF_UNSPEC || family == route->family)
        return put_addr(nlh, size, RTA_GATEWAY, &route->gateway);
    memcpy(buf, &family, sizeof(family));
    memcpy(buf + sizeof(struct rtvia), route->gateway.bytes, ip_family_bits(family) / 8);
    return mnl_attr_put_check(nlh, size, RTA_VIA, sizeof(struct rtvia) + ip_family_bits(family) / 8,
                              buf);
}

static bool put_mtu(struct nlmsghdr *nlh, size_t size, uint32_t mtu)
{
    if (mtu == 0)
        return true;
    struct nlattr *nest = mnl_attr_nest_start_check(nlh, size, RTA_METRICS);
    if (!nest || !mnl_attr_put_u32_check(nlh, size, RTAX_MTU, mtu))
        return false;
    mnl_attr_nest_end(nlh, nest);
    return true;
}

int rtnl_route_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                     const struct rtnl_route *route)
{
    if (size < NLMSG_HDRLEN + sizeof(struct rtmsg))
        return -EMSGSIZE;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
    rtm->rtm_family = route->family;
    rtm->rtm_dst_len = route->dst.len;
    rtm->rtm_src_len = ip_addr_is_set(&route->src.addr) ? route->src.len : 0;
    rtm->rtm_tos = route->tos;
    rtm->rtm_table = route->table < 256 ? (unsigned char)route->table : RT_TABLE_UNSPEC;
    rtm->rtm_protocol = route->protocol;
    rtm->rtm_scope = route->scope;
    rtm->rtm_type = route->type;
    rtm->rtm_flags = route->nh_flags & RTNH_F_ONLINK;

    bool ok =
        mnl_attr_put_u32_check(nlh, size, RTA_TABLE, route->table) &&
        (route->dst.len == 0 || put_addr(nlh, size, RTA_DST, &route->dst.addr)) &&
        put_addr(nlh, size, RTA_SRC, &route->src.addr) &&
        (route->oif == 0 || mnl_attr_put_u32_check(nlh, size, RTA_OIF, (uint32_t)route->oif)) &&
        put_gateway(nlh, size, route) && put_addr(nlh, size, RTA_PREFSRC, &route->prefsrc) &&
        (route->priority == 0 ||
         mnl_attr_put_u32_check(nlh, size, RTA_PRIORITY, route->priority)) &&
        (route->pref == 0 || mnl_attr_put_u8_check(nlh, size, RTA_PREF, route->pref)) &&
        put_mtu(nlh, size, route->mtu);
    return ok ? 0 : -EMSGSIZE;
}

int rtnl_getroute_build(void *buf, size_t size, const struct rtnl_flow *flow)
{
    if (size < NLMSG_HDRLEN + sizeof(struct rtmsg))
        return -EMSGSIZE;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = RTM_GETROUTE;
    nlh->nlmsg_flags = NLM_F_REQUEST;
    struct rtmsg *rtm = mnl_nlmsg_put_extra_header(nlh, sizeof(*rtm));
    rtm->rtm_family = flow->dst.family;
    rtm->rtm_dst_len = (unsigned char)ip_family_bits(flow->dst.family);
    rtm->rtm_flags = RTM_F_LOOKUP_TABLE;
    if (ip_addr_is_set(&flow->src))
        rtm->rtm_src_len = (unsigned char)ip_family_bits(flow->src.family);

    bool ok = put_addr(nlh, size, RTA_DST, &flow->dst) &&
              put_addr(nlh, size, RTA_SRC, &flow->src) &&
              mnl_attr_put_u32_check(nlh, size, RTA_UID, flow->uid) &&
              (flow->mark == 0 || mnl_attr_put_u32_check(nlh, size, RTA_MARK, flow->mark)) &&
              (flow->oif == 0 || mnl_attr_put_u32_check(nlh, size, RTA_OIF, (uint32_t)flow->oif));
    return ok ? 0 : -EMSGSIZE;
}
