/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/explain.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"
#include "decide/precedence.h"

static void note_step(void *data, const struct sim_step *step)
{
    struct explanation *e = data;
    struct explain_step note = {
        .rule = *step->rule,
        .mismatch = step->mismatch,
        .outcome = step->outcome,
        .has_route = step->route != NULL,
    };

    if (step->route)
        note.route = *step->route;
    if (ARRAY_PUSH(e->steps, e->n_steps, e->cap_steps, note) < 0)
        e->out_of_memory = true;
}

static const struct network *network_of_ifindex(const struct model *m, const struct kernel *k,
                                                int ifindex)
{
    const struct rtnl_link *link = kernel_link(k, ifindex);

    return link ? model_network_of(m, link->name) : NULL;
}

void explain(const struct model *m, const struct kernel *k, const struct rtnl_flow *flow,
             struct explanation *ret)
{
    struct explanation e = { .flow = *flow };

    e.assignment = precedence_decide(m->assignments, flow->uid);
    e.result = simulate(k, flow, note_step, &e);
    e.error = e.result.error;
    e.guard = GUARD_UNASSIGNED;
    if (e.error == 0) {
        e.guard = guard_judge(k->guard, flow->uid, flow->mark, e.result.oif);
        if (e.guard == GUARD_DROP)
            e.error = -EPERM;
        e.network = network_of_ifindex(m, k, e.result.oif);
    }
    e.result.rule = NULL;
    e.result.route = NULL;
    *ret = e;
}

/*
 * The kernel caches an IPv4 result per next hop, and routes with equal next hops share them: one
 * that was first used for a multicast destination answers "multicast" for unicast ones, and the
 * other way round.
 */
static uint8_t comparable_type(const struct rtnl_flow *flow, uint8_t type)
{
    return flow->dst.family == AF_INET && type == RTN_MULTICAST ? RTN_UNICAST : type;
}

bool sim_agrees(const struct rtnl_flow *flow, const struct sim_result *result,
                const struct kernel_answer *answer)
{
    if (result->error != answer->error)
        return false;
    if (result->error < 0)
        return true;
    if (comparable_type(flow, result->type) != comparable_type(flow, answer->type) ||
        result->oif != answer->oif || result->table != answer->table ||
        !ip_addr_equal(&result->gateway, &answer->gateway))
        return false;
    /* IPv6 chooses a source by RFC 6724, which is not the routing's business */
    return flow->dst.family != AF_INET || ip_addr_is_set(&flow->src) ||
           ip_addr_equal(&result->src, &answer->src);
}

void explain_compare(struct explanation *e, const struct kernel_answer *answer)
{
    e->asked = true;
    e->answer = *answer;
    e->agrees = sim_agrees(&e->flow, &e->result, answer);
}

void explanation_done(struct explanation *e)
{
    free(e->steps);
    *e = (struct explanation){ 0 };
}

static void print_ports(const char *word, const uint16_t range[static 2], struct strbuf *b)
{
    if (range[0] || range[1])
        strbuf_add(b, range[0] == range[1] ? " %s %u" : " %s %u-%u", word, range[0], range[1]);
}

static void print_action(const struct rtnl_rule *rule, struct strbuf *b)
{
    switch (rule->action) {
    case FR_ACT_TO_TBL:
        if (rule->table == RT_TABLE_LOCAL || rule->table == RT_TABLE_MAIN)
            strbuf_add(b, " lookup %s", rule->table == RT_TABLE_MAIN ? "main" : "local");
        else if (rule->table == RT_TABLE_DEFAULT)
            strbuf_add(b, " lookup default");
        else
            strbuf_add(b, " lookup %u", rule->table);
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
