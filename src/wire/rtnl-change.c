/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>

#include "wire/rtnl.h"

static struct nlmsghdr *put_link_header(void *buf, size_t size, uint16_t type,
                                        const struct rtnl_link_change *change)
{
    if (size < NLMSG_HDRLEN + sizeof(struct ifinfomsg))
        return NULL;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    struct ifinfomsg *ifi = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifi));
    ifi->ifi_family = AF_UNSPEC;
    ifi->ifi_index = change->ifindex;
    ifi->ifi_flags = change->flags;
    ifi->ifi_change = change->flags_mask;
    return nlh;
}

static bool put_no_addresses(struct nlmsghdr *nlh, size_t size)
{
    struct nlattr *spec = mnl_attr_nest_start_check(nlh, size, IFLA_AF_SPEC);
    struct nlattr *six = spec ? mnl_attr_nest_start_check(nlh, size, AF_INET6) : NULL;

    if (!six || !mnl_attr_put_u8_check(nlh, size, IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE))
        return false;
    mnl_attr_nest_end(nlh, six);
    mnl_attr_nest_end(nlh, spec);
    return true;
}

int rtnl_link_change_build(void *buf, size_t size, const struct rtnl_link_change *change)
{
    struct nlmsghdr *nlh = put_link_header(buf, size, RTM_NEWLINK, change);
    bool ok = nlh != NULL;

    if (change->mtu != 0)
        ok = ok && mnl_attr_put_u32_check(nlh, size, IFLA_MTU, change->mtu);
    if (change->no_addresses)
        ok = ok && put_no_addresses(nlh, size);
    return ok ? 0 : -EMSGSIZE;
}

int rtnl_link_delete_build(void *buf, size_t size, int ifindex)
{
    struct rtnl_link_change which = { .ifindex = ifindex };

    return put_link_header(buf, size, RTM_DELLINK, &which) ? 0 : -EMSGSIZE;
}

int rtnl_addr_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                    const struct rtnl_addr *addr)
{
    size_t n = ip_family_bits(addr->local.family) / 8;

    if (size < NLMSG_HDRLEN + sizeof(struct ifaddrmsg))
        return -EMSGSIZE;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
    ifa->ifa_family = addr->local.family;
    ifa->ifa_prefixlen = addr->prefix_len;
    ifa->ifa_scope = addr->scope;
    ifa->ifa_index = (uint32_t)addr->ifindex;

    bool ok = mnl_attr_put_check(nlh, size, IFA_LOCAL, n, addr->local.bytes) &&
              mnl_attr_put_check(nlh, size, IFA_ADDRESS, n, addr->local.bytes) &&
              mnl_attr_put_u32_check(nlh, size, IFA_FLAGS, addr->flags);
    return ok ? 0 : -EMSGSIZE;
}
