/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <linux/fib_rules.h>

#include "wire/rtnl.h"

void rtnl_table_print(uint32_t table, struct strbuf *b)
{
    static const char *const names[] = {
        [RT_TABLE_DEFAULT] = "default",
        [RT_TABLE_MAIN] = "main",
        [RT_TABLE_LOCAL] = "local",
    };

    if (table < ELEMENTSOF(names) && names[table])
        strbuf_add(b, "%s", names[table]);
    else
        strbuf_add(b, "%u", table);
}

static void print_ports(const char *word, const uint16_t range[static 2], struct strbuf *b)
{
    if (range[0] || range[1])
        strbuf_add(b, range[0] == range[1] ? " %s %u" : " %s %u-%u", word, range[0], range[1]);
}

static void print_protocol(uint8_t protocol, struct strbuf *b)
{
    static const char *const names[] = {
        [IPPROTO_ICMP] = "icmp",        [IPPROTO_TCP] = "tcp",   [IPPROTO_UDP] = "udp",
        [IPPROTO_ICMPV6] = "ipv6-icmp", [IPPROTO_SCTP] = "sctp",
    };

    if (protocol < ELEMENTSOF(names) && names[protocol])
        strbuf_add(b, " ipproto %s", names[protocol]);
    else
        strbuf_add(b, " ipproto %u", protocol);
}

static void print_action(const struct rtnl_rule *rule, struct strbuf *b)
{
    switch (rule->action) {
    case FR_ACT_TO_TBL:
        strbuf_add(b, " lookup ");
        rtnl_table_print(rule->table, b);
        break;
    case FR_ACT_GOTO:
        strbuf_add(b, " goto %u", rule->extra.target);
        break;
    case FR_ACT_NOP:
        strbuf_add(b, " nop");
        break;
    case FR_ACT_BLACKHOLE:
        strbuf_add(b, " blackhole");
        break;
    case FR_ACT_UNREACHABLE:
        strbuf_add(b, " unreachable");
        break;
    case FR_ACT_PROHIBIT:
        strbuf_add(b, " prohibit");
        break;
    default:
        strbuf_add(b, " action %u", rule->action);
    }
}

void rtnl_rule_print_packet(const struct rtnl_rule *rule, struct strbuf *b)
{
    const struct rtnl_rule_extra *x = &rule->extra;
    _cleanup_strbuf_ struct strbuf words = STRBUF_INIT;

    if (x->tos)
        strbuf_add(&words, " tos 0x%x", x->tos);
    if (x->ip_proto)
        print_protocol(x->ip_proto, &words);
    print_ports("sport", x->sport, &words);
    print_ports("dport", x->dport, &words);
    if (words.size > 0)
        strbuf_add(b, "%s", strbuf_text(&words) + 1); /* each word has a space before it */
}

void rtnl_rule_print(const struct rtnl_rule *rule, struct strbuf *b)
{
    const struct rtnl_rule_extra *x = &rule->extra;
    char text[IP_TEXT_MAX];

    if (rule->flags & FIB_RULE_INVERT)
        strbuf_add(b, "not ");
    strbuf_add(b, "from %s", x->src.addr.family ? ip_prefix_format(&x->src, text) : "all");
    if (x->dst.addr.family)
        strbuf_add(b, " to %s", ip_prefix_format(&x->dst, text));
    if (x->tos)
        strbuf_add(b, " tos 0x%x", x->tos);
    if (rule->fwmask == UINT32_MAX)
        strbuf_add(b, " fwmark 0x%x", rule->fwmark);
    else if (rule->fwmask)
        strbuf_add(b, " fwmark 0x%x/0x%x", rule->fwmark, rule->fwmask);
    if (rule->iif[0])
        strbuf_add(b, " iif %s", rule->iif);
    if (rule->oif[0])
        strbuf_add(b, " oif %s", rule->oif);
    if (x->l3mdev)
        strbuf_add(b, " l3mdev");
    if (rule->has_uid)
        strbuf_add(b, " uidrange %u-%u", rule->uid.lo, rule->uid.hi);
    if (x->ip_proto)
        strbuf_add(b, " ipproto %u", x->ip_proto);
    print_ports("sport", x->sport, b);
    print_ports("dport", x->dport, b);
    if (x->other)
        strbuf_add(b, " (more)");
    print_action(rule, b);
    if ((int32_t)x->suppress_prefix_len >= 0)
        strbuf_add(b, " suppress_prefixlength %u", x->suppress_prefix_len);
}
