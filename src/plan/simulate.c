/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/simulate.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "plan/simulate-internal.h"

#define LOOPBACK_NAME "lo"

/* Where such routes lead is not told, or not only. */
#define ROUTES_UNKNOWN (RTNL_ROUTE_INCOMPLETE | RTNL_ROUTE_ENCAP)

static bool port_matches(const uint16_t range[static 2], uint16_t port)
{
    return (range[0] == 0 && range[1] == 0) || (port >= range[0] && port <= range[1]);
}

static bool src_matches(const struct rtnl_rule *rule, const struct rtnl_flow *flow)
{
    const struct ip_prefix *p = &rule->extra.src;
    struct ip_addr any = { .family = rule->family };

    if (p->addr.family == AF_UNSPEC || p->len == 0)
        return true;
    if (ip_addr_is_set(&flow->src))
        return ip_prefix_contains(p, &flow->src);
    /* no source yet: IPv4 compares 0.0.0.0, IPv6 does not match at all */
    return rule->family == AF_INET && ip_prefix_contains(p, &any);
}

/* What is asked of the packet's tos, protocol and ports. */
static enum sim_mismatch match_packet(const struct rtnl_rule_extra *x,
                                      const struct sim_packet *packet)
{
    if (x->tos && x->tos != packet->tos)
        return SIM_OTHER_TOS;
    if (x->ip_proto && x->ip_proto != packet->protocol)
        return SIM_OTHER_PROTOCOL;
    if (!port_matches(x->sport, packet->sport) || !port_matches(x->dport, packet->dport))
        return SIM_OTHER_PORT;
    return SIM_MATCHES;
}

/* fib_rule_match() without the inversion, in its order: the packet comes last. */
static enum sim_mismatch match_straight(const struct sim_walk *w, const struct rtnl_rule *rule)
{
    const struct rtnl_rule_extra *x = &rule->extra;
    const struct rtnl_flow *flow = &w->flow;

    if (rule->iif[0] && !streq(rule->iif, LOOPBACK_NAME))
        return SIM_OTHER_IIF; /* locally generated: iif is lo */
    if (rule->oif[0]) {
        const struct rtnl_link *link = flow->oif ? kernel_link(w->k, flow->oif) : NULL;
        if (!link || !streq(link->name, rule->oif))
            return SIM_OTHER_OIF;
    }
    if ((rule->fwmark ^ flow->mark) & rule->fwmask)
        return SIM_OTHER_MARK;
    if (x->l3mdev)
        return SIM_NO_VRF;
    if (rule->has_uid && !uid_range_contains(&rule->uid, flow->uid))
        return SIM_OTHER_UID;
    if (x->dst.addr.family != AF_UNSPEC && !ip_prefix_contains(&x->dst, &flow->dst))
        return SIM_OTHER_DST;
    if (!src_matches(rule, flow))
        return SIM_OTHER_SRC;
    return match_packet(x, &w->packet);
}

static enum sim_mismatch invert(const struct rtnl_rule *rule, enum sim_mismatch m)
{
    if (!(rule->flags & FIB_RULE_INVERT))
        return m;
    return m == SIM_MATCHES ? SIM_INVERTED : SIM_MATCHES;
}

/* Would another kind of packet turn the rule's answer around? `straight` is that answer. */
static bool is_narrow(const struct rtnl_rule *rule, enum sim_mismatch straight)
{
    const struct rtnl_rule_extra *x = &rule->extra;

    return (x->tos || x->ip_proto || x->sport[1] || x->dport[1]) &&
           (straight == SIM_MATCHES || straight == SIM_OTHER_TOS ||
            straight == SIM_OTHER_PROTOCOL || straight == SIM_OTHER_PORT);
}

int sim_route_error(uint8_t type)
{
    switch (type) {
    case RTN_THROW:
        return -EAGAIN;
    case RTN_UNREACHABLE:
        return -EHOSTUNREACH;
    case RTN_PROHIBIT:
        return -EACCES;
    case RTN_BLACKHOLE:
    case RTN_NAT:
    case RTN_XRESOLVE:
        return -EINVAL;
    default:
        return 0;
    }
}

static bool is_suppressed(const struct rtnl_rule *rule, const struct rtnl_route *route)
{
    int32_t longest = (int32_t)rule->extra.suppress_prefix_len;

    return longest >= 0 && route->dst.len <= longest;
}

/* A rule that matches: what it leads to. Sets the result when that is the end. */
static enum sim_outcome act(const struct sim_walk *w, const struct rtnl_rule *rule,
                            struct sim_result *ret, const struct rtnl_route **ret_route)
{
    struct sim_lookup found;

    switch (rule->action) {
    case FR_ACT_GOTO:
        return SIM_GOTO;
    case FR_ACT_NOP:
        return SIM_NOP;
    case FR_ACT_TO_TBL:
        break;
    default:
        ret->rule = rule;
        ret->error = rule->action == FR_ACT_UNREACHABLE ? -ENETUNREACH
                     : rule->action == FR_ACT_PROHIBIT  ? -EACCES
                                                        : -EINVAL;
        return SIM_ERROR;
    }

    found = w->lookup(w, rule->table);
    *ret_route = found.route;
    ret->uncertain |= found.uncertain;
    if (found.error == -EAGAIN)
        return found.route ? SIM_THROW : SIM_NO_ROUTE;
    if (found.error == 0 && is_suppressed(rule, found.route))
        return SIM_SUPPRESSED; /* what would stand in for it is no longer, so that is, too */
    if (found.error == 0 && rule->extra.suppress_ifgroup != UINT32_MAX)
        ret->uncertain = true; /* groups of interfaces are not read */

    ret->other_ways = found.other_ways || (found.route->flags & ROUTES_UNKNOWN) ||
                      (found.fallback && (int32_t)rule->extra.suppress_prefix_len >= 0);
    ret->uncertain |= (found.route->flags & ROUTES_UNKNOWN) != 0;
    ret->rule = rule;
    ret->route = found.route;
    ret->table = found.route->table;
    ret->type = found.route->type;
    ret->error = found.error;
    return found.error < 0 ? SIM_ERROR : SIM_ROUTE;
}

/* The rule that a goto leads to: the first with that priority. n when there is none. */
static size_t goto_target(const struct rtnl_rule *rules, size_t n, size_t from)
{
    size_t i = from + 1;

    while (i < n && rules[i].priority != rules[from].extra.target)
        i++;
    return i;
}

void sim_walk_rules(const struct sim_walk *w, struct sim_result *ret)
{
    unsigned f = family_index(w->flow.dst.family);
    const struct rtnl_rule *rules = w->k->rules[f];
    size_t n = w->k->n_rules[f], i = 0;

    ret->error = -ENETUNREACH;
    while (i < n) {
        enum sim_mismatch straight = match_straight(w, &rules[i]);
        struct sim_step step = { .rule = &rules[i],
                                 .mismatch = invert(&rules[i], straight),
                                 .narrow = is_narrow(&rules[i], straight) };

        /* a rule we do not fully understand may match less than we think, or more if inverted */
        if (rules[i].extra.other || rules[i].extra.l3mdev)
            ret->uncertain = true;
        if (step.mismatch == SIM_MATCHES)
            step.outcome = act(w, &rules[i], ret, &step.route);
        if (w->trace)
            w->trace(w->data, &step);
        if (step.outcome == SIM_ROUTE || step.outcome == SIM_ERROR)
            return;
        /* a goto whose target is missing is skipped; targets lie ahead, so this ends */
        size_t target = step.outcome == SIM_GOTO ? goto_target(rules, n, i) : n;
        i = target < n ? target : i + 1;
    }
    ret->rule = NULL;
}

struct sim_result simulate(const struct kernel *k, const struct rtnl_flow *flow, sim_trace trace,
                           void *data)
{
    static const struct sim_packet udp = { .protocol = IPPROTO_UDP };

    return simulate_packet(k, flow, &udp, trace, data);
}

struct sim_result simulate_packet(const struct kernel *k, const struct rtnl_flow *flow,
                                  const struct sim_packet *packet, sim_trace trace, void *data)
{
    struct sim_walk w = { .k = k, .flow = *flow, .packet = *packet, .trace = trace, .data = data };

    if (ip_addr_is_any(&flow->src)) /* bound to 0.0.0.0 or :: is not bound */
        w.flow.src = (struct ip_addr){ 0 };
    if (flow->dst.family == AF_INET)
        return simulate4(&w);
    if (flow->dst.family == AF_INET6)
        return simulate6(&w);
    return (struct sim_result){ .error = -EAFNOSUPPORT };
}

size_t sim_hops(const struct kernel *k, const struct sim_result *result,
                const struct rtnl_route **ret)
{
    const struct rtnl_route *first = result->route, *routes, *behind;
    size_t n;

    if (!first || result->error < 0 || result->type == RTN_LOCAL || result->type == RTN_ANYCAST)
        return 0;
    n = kernel_table(k, first->family, first->table, &routes);
    behind = first + 1;
    while (first > routes && first->nh_index > 0 && first[-1].nh_index + 1 == first->nh_index)
        first--;
    while (behind < routes + n && behind->nh_index == behind[-1].nh_index + 1)
        behind++;
    *ret = first;
    return (size_t)(behind - first);
}

const char *sim_mismatch_to_string(enum sim_mismatch mismatch)
{
    static const char *const names[SIM_MISMATCH_MAX] = {
        [SIM_MATCHES] = "matches",
        [SIM_OTHER_IIF] = "not from that interface",
        [SIM_OTHER_OIF] = "not bound to that interface",
        [SIM_OTHER_MARK] = "other mark",
        [SIM_OTHER_UID] = "other uid",
        [SIM_OTHER_SRC] = "other source",
        [SIM_OTHER_DST] = "other destination",
        [SIM_OTHER_TOS] = "other tos",
        [SIM_OTHER_PROTOCOL] = "other protocol",
        [SIM_OTHER_PORT] = "other port",
        [SIM_NO_VRF] = "no VRF",
        [SIM_INVERTED] = "inverted",
    };

    return names[mismatch];
}

const char *sim_outcome_to_string(enum sim_outcome outcome)
{
    static const char *const names[SIM_OUTCOME_MAX] = {
        [SIM_NOT_TRIED] = "not tried", [SIM_ROUTE] = "route", [SIM_ERROR] = "refused",
        [SIM_NO_ROUTE] = "no route",   [SIM_THROW] = "throw", [SIM_SUPPRESSED] = "suppressed",
        [SIM_GOTO] = "goto",           [SIM_NOP] = "nop",
    };

    return names[outcome];
}
