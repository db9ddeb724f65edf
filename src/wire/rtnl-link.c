/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fib_rules.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>

#include "wire/nlattr.h"
#include "wire/rtnl.h"

int rtnl_link_parse(const struct nlmsghdr *nlh, struct rtnl_link *ret)
{
    static const struct nlattr_policy policy[] = {
        [IFLA_ADDRESS] = { 0, 32 }, [IFLA_IFNAME] = NLATTR_STRING,   [IFLA_MTU] = NLATTR_U32,
        [IFLA_MASTER] = NLATTR_U32, [IFLA_LINKINFO] = NLATTR_NESTED,
    };
    static const struct nlattr_policy info_policy[] = { [IFLA_INFO_KIND] = NLATTR_STRING };
    const struct nlattr *tb[ELEMENTSOF(policy)], *info[ELEMENTSOF(info_policy)] = { NULL };
    int r;

    r = nlattr_parse_message(nlh, sizeof(struct ifinfomsg), policy, ELEMENTSOF(policy), tb);
    if (r < 0)
        return r;
    /* AF_BRIDGE messages on the same group speak of bridge ports, not of links */
    const struct ifinfomsg *ifi = mnl_nlmsg_get_payload(nlh);
    if (ifi->ifi_family != AF_UNSPEC)
        return -ENOMSG;
    if (!tb[IFLA_IFNAME] || ifi->ifi_index <= 0)
        return -ENODATA;
    if (tb[IFLA_LINKINFO]) {
        r = nlattr_parse(mnl_attr_get_payload(tb[IFLA_LINKINFO]),
                         mnl_attr_get_payload_len(tb[IFLA_LINKINFO]), info_policy,
                         ELEMENTSOF(info_policy), info);
        if (r < 0)
            return r;
    }

    struct rtnl_link link = {
        .ifindex = ifi->ifi_index,
        .flags = ifi->ifi_flags,
        .arphrd = ifi->ifi_type,
        .master = (int)nlattr_u32(tb[IFLA_MASTER], 0),
        .mtu = nlattr_u32(tb[IFLA_MTU], 0),
    };
    nlattr_string(tb[IFLA_IFNAME], link.name, sizeof(link.name));
    nlattr_string(info[IFLA_INFO_KIND], link.kind, sizeof(link.kind));
    if (tb[IFLA_ADDRESS] && mnl_attr_get_payload_len(tb[IFLA_ADDRESS]) == sizeof(link.hwaddr))
        memcpy(link.hwaddr, mnl_attr_get_payload(tb[IFLA_ADDRESS]), sizeof(link.hwaddr));
    if (link.name[0] == '\0')
        return -EBADMSG;

    *ret = link;
    return 0;
}

int rtnl_addr_parse(const struct nlmsghdr *nlh, struct rtnl_addr *ret)
{
    static const struct nlattr_policy policy[] = {
        [IFA_ADDRESS] = NLATTR_ADDR,
        [IFA_LOCAL] = NLATTR_ADDR,
        [IFA_FLAGS] = NLATTR_U32,
    };
    const struct nlattr *tb[ELEMENTSOF(policy)];
    int r;

    r = nlattr_parse_message(nlh, sizeof(struct ifaddrmsg), policy, ELEMENTSOF(policy), tb);
    if (r < 0)
        return r;
    const struct ifaddrmsg *ifa = mnl_nlmsg_get_payload(nlh);
    if (ifa->ifa_family != AF_INET && ifa->ifa_family != AF_INET6)
        return -ENOMSG;

    /* point-to-point IPv4: IFA_LOCAL is ours, IFA_ADDRESS the peer's; IPv6 has only IFA_ADDRESS */
    struct rtnl_addr addr = {
        .ifindex = (int)ifa->ifa_index,
        .prefix_len = ifa->ifa_prefixlen,
        .scope = ifa->ifa_scope,
        .flags = nlattr_u32(tb[IFA_FLAGS], ifa->ifa_flags),
    };
    r = nlattr_addr_strict(tb[IFA_LOCAL] ? tb[IFA_LOCAL] : tb[IFA_ADDRESS], ifa->ifa_family,
                           &addr.local);
    if (r < 0)
        return r;
    if (!ip_addr_is_set(&addr.local))
        return -ENODATA;
    if (addr.prefix_len > ip_family_bits(ifa->ifa_family))
        return -EBADMSG;

    *ret = addr;
    return 0;
}

int rtnl_dump_build(void *buf, size_t size, uint16_t type, int family)
{
    size_t header = type == RTM_GETLINK    ? sizeof(struct ifinfomsg)
                    : type == RTM_GETADDR  ? sizeof(struct ifaddrmsg)
                    : type == RTM_GETROUTE ? sizeof(struct rtmsg)
                                           : sizeof(struct fib_rule_hdr);
    if (size < MNL_ALIGN(NLMSG_HDRLEN + header))
        return -EMSGSIZE;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
    struct rtgenmsg *gen = mnl_nlmsg_put_extra_header(nlh, header);
    gen->rtgen_family = (unsigned char)family;
    return 0;
}
