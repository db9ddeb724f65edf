/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h> /* libnftnl's headers need it before them */

#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "observe/facts.h"

struct scan {
    const char *except;
    facts_mark_setter found;
    void *data;
};

/* What the next `meta mark set` of a rule would change, as far as the expressions before it tell. */
struct mark_scan {
    uint32_t bits;    /* of the value in the register */
    uint32_t changed; /* by the rule so far */
};

static const char *family_name(uint32_t family)
{
    return family == NFPROTO_IPV4   ? "ip"
           : family == NFPROTO_IPV6 ? "ip6"
           : family == NFPROTO_INET ? "inet"
                                    : "other";
}

static uint32_t expr_u32(const struct nftnl_expr *e, uint16_t attr)
{
    uint32_t size = 0, value = 0;
    const void *data = nftnl_expr_get(e, attr, &size);

    if (data && size == sizeof(value))
        memcpy(&value, data, sizeof(value));
    return value;
}

/* iptables' MARK target, as iptables-nft puts it into nftables: struct xt_mark_tginfo2. */
static uint32_t target_bits(const struct nftnl_expr *e)
{
    struct {
        uint32_t mark, mask;
    } info;
    const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_TG_NAME);
    uint32_t size = 0;
    const void *data = nftnl_expr_get(e, NFTNL_EXPR_TG_INFO, &size);

    if (!name || !streq(name, "MARK") || !data || size < sizeof(info))
        return 0;
    memcpy(&info, data, sizeof(info));
    return info.mask | info.mark;
}

static int scan_expr(struct nftnl_expr *e, void *data)
{
    const char *name = nftnl_expr_get_str(e, NFTNL_EXPR_NAME);
    struct mark_scan *s = data;

    if (!name)
        return 0;
    if (streq(name, "meta") && nftnl_expr_is_set(e, NFTNL_EXPR_META_SREG) &&
        nftnl_expr_get_u32(e, NFTNL_EXPR_META_KEY) == NFT_META_MARK)
        s->changed |= s->bits;
    else if (streq(name, "bitwise"))
        s->bits = ~expr_u32(e, NFTNL_EXPR_BITWISE_MASK) | expr_u32(e, NFTNL_EXPR_BITWISE_XOR);
    else if (streq(name, "target"))
        s->changed |= target_bits(e);
    else
        s->bits = UINT32_MAX; /* a constant, a map's value, …: all of the mark */
    return 0;
}

static int scan_rule(void *data, const struct nlmsghdr *nlh)
{
    struct scan *scan = data;
    struct nftnl_rule *rule = nftnl_rule_alloc();
    struct mark_scan s = { .bits = UINT32_MAX };
    const char *table, *chain;
    char where[256];

    if (!rule)
        return -ENOMEM;
    if (nftnl_rule_nlmsg_parse(nlh, rule) == 0) {
        table = nftnl_rule_get_str(rule, NFTNL_RULE_TABLE);
        chain = nftnl_rule_get_str(rule, NFTNL_RULE_CHAIN);
        if (table && chain && !streq(table, scan->except)) {
            (void)nftnl_expr_foreach(rule, scan_expr, &s);
            snprintf(where, sizeof(where), "%s %s, chain %s",
                     family_name(nftnl_rule_get_u32(rule, NFTNL_RULE_FAMILY)), table, chain);
            if (s.changed)
                scan->found(scan->data, where, s.changed);
        }
    }
    nftnl_rule_free(rule);
    return 0;
}

int facts_mark_setters(struct nlsock *nft, const char *except, facts_mark_setter found, void *data)
{
    struct scan scan = { .except = except, .found = found, .data = data };
    char buf[256];
    struct nlmsghdr *nlh =
        nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETRULE, NFPROTO_UNSPEC, NLM_F_DUMP, 0);

    return nlsock_dump(nft, nlh, scan_rule, &scan);
}
