/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fib_rules.h>

#include "wire/nlattr.h"
#include "wire/rtnl.h"

/* Linux 6.11–6.15; newer than Debian 12's headers. */
enum {
    FRA_DSCP_ = 25,
    FRA_FLOWLABEL_ = 26,
    FRA_FLOWLABEL_MASK_ = 27,
    FRA_SPORT_MASK_ = 28,
    FRA_DPORT_MASK_ = 29,
    FRA_DSCP_MASK_ = 30,
};

struct rtnl_rule rtnl_rule_empty(int family)
{
    return (struct rtnl_rule){
        .family = (uint8_t)family,
        .extra = { .suppress_ifgroup = UINT32_MAX, .suppress_prefix_len = UINT32_MAX },
    };
}

static const struct nlattr_policy rule_policy[] = {
    [FRA_DST] = NLATTR_ADDR,
    [FRA_SRC] = NLATTR_ADDR,
    [FRA_IIFNAME] = NLATTR_STRING,
    [FRA_GOTO] = NLATTR_U32,
    [FRA_PRIORITY] = NLATTR_U32,
    [FRA_FWMARK] = NLATTR_U32,
    [FRA_TUN_ID] = NLATTR_U64,
    [FRA_SUPPRESS_IFGROUP] = NLATTR_U32,
    [FRA_SUPPRESS_PREFIXLEN] = NLATTR_U32,
    [FRA_TABLE] = NLATTR_U32,
    [FRA_FWMASK] = NLATTR_U32,
    [FRA_OIFNAME] = NLATTR_STRING,
    [FRA_L3MDEV] = NLATTR_U8,
    [FRA_UID_RANGE] = { sizeof(struct fib_rule_uid_range), sizeof(struct fib_rule_uid_range) },
    [FRA_PROTOCOL] = NLATTR_U8,
    [FRA_IP_PROTO] = NLATTR_U8,
    [FRA_SPORT_RANGE] = { sizeof(struct fib_rule_port_range), sizeof(struct fib_rule_port_range) },
    [FRA_DPORT_RANGE] = { sizeof(struct fib_rule_port_range), sizeof(struct fib_rule_port_range) },
    [FRA_DSCP_] = NLATTR_U8,
    [FRA_FLOWLABEL_] = NLATTR_U32,
    [FRA_FLOWLABEL_MASK_] = NLATTR_U32,
    [FRA_SPORT_MASK_] = NLATTR_U16,
    [FRA_DPORT_MASK_] = NLATTR_U16,
    [FRA_DSCP_MASK_] = NLATTR_U8,
};

static void parse_ports(const struct nlattr *a, uint16_t range[static 2])
{
    struct fib_rule_port_range ports;

    if (!a)
        return;
    memcpy(&ports, mnl_attr_get_payload(a), sizeof(ports));
    range[0] = ports.start;
    range[1] = ports.end;
}

static int parse_prefix(const struct nlattr *a, int family, unsigned len, struct ip_prefix *ret)
{
    struct ip_addr addr = nlattr_addr(a, family);

    if (!a)
        return 0;
    if (!ip_addr_is_set(&addr) || len > ip_family_bits(family))
        return -EBADMSG;
    *ret = ip_prefix_make(&addr, len);
    return 0;
}

static int parse_extra(const struct fib_rule_hdr *frh, const struct nlattr *const *tb,
                       struct rtnl_rule_extra *extra)
{
    int r;

    r = parse_prefix(tb[FRA_SRC], frh->family, frh->src_len, &extra->src);
    if (r == 0)
        r = parse_prefix(tb[FRA_DST], frh->family, frh->dst_len, &extra->dst);
    if (r < 0)
        return r;

    extra->tos = tb[FRA_DSCP_] ? (uint8_t)(nlattr_u8(tb[FRA_DSCP_], 0) << 2) : frh->tos;
    extra->target = nlattr_u32(tb[FRA_GOTO], 0);
    extra->suppress_ifgroup = nlattr_u32(tb[FRA_SUPPRESS_IFGROUP], UINT32_MAX);
    extra->suppress_prefix_len = nlattr_u32(tb[FRA_SUPPRESS_PREFIXLEN], UINT32_MAX);
    extra->ip_proto = nlattr_u8(tb[FRA_IP_PROTO], 0);
    extra->l3mdev = nlattr_u8(tb[FRA_L3MDEV], 0) != 0;
    parse_ports(tb[FRA_SPORT_RANGE], extra->sport);
    parse_ports(tb[FRA_DPORT_RANGE], extra->dport);
    /* masks of all ones say nothing new; `dscp 0` matches less than no tos does */
    extra->other = tb[FRA_TUN_ID] || tb[FRA_FLOWLABEL_] || tb[FRA_FLOWLABEL_MASK_] ||
                   (tb[FRA_DSCP_] && extra->tos == 0) ||
                   nlattr_u16(tb[FRA_SPORT_MASK_], 0xffff) != 0xffff ||
                   nlattr_u16(tb[FRA_DPORT_MASK_], 0xffff) != 0xffff ||
                   nlattr_u8(tb[FRA_DSCP_MASK_], 0x3f) != 0x3f;
    return 0;
}

int rtnl_rule_parse(const struct nlmsghdr *nlh, struct rtnl_rule *ret)
{
    const struct nlattr *tb[ELEMENTSOF(rule_policy)];
    int r;

    r = nlattr_parse_message(nlh, sizeof(struct fib_rule_hdr), rule_policy, ELEMENTSOF(rule_policy),
                             tb);
    if (r < 0)
        return r;
    const struct fib_rule_hdr *frh = mnl_nlmsg_get_payload(nlh);
    if (frh->family != AF_INET && frh->family != AF_INET6)
        return -ENOMSG; /* multicast routing has rules of its own */

    struct rtnl_rule rule = rtnl_rule_empty(frh->family);
    rule.action = frh->action;
    rule.flags = frh->flags;
    rule.protocol = nlattr_u8(tb[FRA_PROTOCOL], RTPROT_UNSPEC);
    rule.priority = nlattr_u32(tb[FRA_PRIORITY], 0);
    if (rule.action == FR_ACT_TO_TBL)
        rule.table = nlattr_u32(tb[FRA_TABLE], frh->table);
    rule.fwmark = nlattr_u32(tb[FRA_FWMARK], 0);
    /*
     * the kernel omits the mask only when mark and mask are 0, or on old kernels when it is all
     * ones
     */
    rule.fwmask = nlattr_u32(tb[FRA_FWMASK], tb[FRA_FWMARK] ? UINT32_MAX : 0);
    nlattr_string(tb[FRA_IIFNAME], rule.iif, sizeof(rule.iif));
    nlattr_string(tb[FRA_OIFNAME], rule.oif, sizeof(rule.oif));
    if (tb[FRA_UID_RANGE]) {
        struct fib_rule_uid_range range;

        memcpy(&range, mnl_attr_get_payload(tb[FRA_UID_RANGE]), sizeof(range));
        rule.has_uid = true;
        rule.uid = (struct uid_range){ range.start, range.end };
    }
    r = parse_extra(frh, tb, &rule.extra);
    if (r < 0)
        return r;

    *ret = rule;
    return 0;
}

int rtnl_rule_build(void *buf, size_t size, uint16_t type, uint16_t flags,
                    const struct rtnl_rule *rule)
{
    if (size < NLMSG_HDRLEN + sizeof(struct fib_rule_hdr))
        return -EMSGSIZE;

    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    nlh->nlmsg_type = type;
    nlh->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
    struct fib_rule_hdr *frh = mnl_nlmsg_put_extra_header(nlh, sizeof(*frh));
    frh->family = rule->family;
    frh->action = rule->action;
    frh->flags = rule->flags & FIB_RULE_INVERT;

    bool ok = mnl_attr_put_u32_check(nlh, size, FRA_PRIORITY, rule->priority) &&
              mnl_attr_put_u8_check(nlh, size, FRA_PROTOCOL, rule->protocol);
    if (rule->action == FR_ACT_TO_TBL)
        ok = ok && mnl_attr_put_u32_check(nlh, size, FRA_TABLE, rule->table);
    if (rule->fwmask != 0)
        ok = ok && mnl_attr_put_u32_check(nlh, size, FRA_FWMARK, rule->fwmark) &&
             mnl_attr_put_u32_check(nlh, size, FRA_FWMASK, rule->fwmask);
    if (rule->iif[0])
        ok = ok && mnl_attr_put_strz_check(nlh, size, FRA_IIFNAME, rule->iif);
    if (rule->oif[0])
        ok = ok && mnl_attr_put_strz_check(nlh, size, FRA_OIFNAME, rule->oif);
    if (rule->has_uid) {
        struct fib_rule_uid_range range = { rule->uid.lo, rule->uid.hi };
        ok = ok && mnl_attr_put_check(nlh, size, FRA_UID_RANGE, sizeof(range), &range);
    }
    return ok ? 0 : -EMSGSIZE;
}
