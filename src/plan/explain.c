/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/explain.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/precedence.h"
#include "model/mark.h"

#define LOOPBACK_IFINDEX 1

static void note_step(void *data, const struct sim_step *step)
{
    struct explanation *e = data;
    struct explain_step note = {
        .rule = *step->rule,
        .mismatch = step->mismatch,
        .outcome = step->outcome,
        .has_route = step->route != NULL,
        .narrow = step->narrow,
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

/* A packet that differs from UDP without ports in what the rule asks for. */
static struct sim_packet other_packet(const struct rtnl_rule *rule, bool all_but)
{
    const struct rtnl_rule_extra *x = &rule->extra;

    if (all_but)
        return (struct sim_packet){ .protocol = IPPROTO_TCP };
    return (struct sim_packet){
        .protocol = x->ip_proto ? x->ip_proto : IPPROTO_UDP,
        .tos = x->tos,
        .sport = x->sport[0],
        .dport = x->dport[0],
    };
}

/* By the fence table, which is there without anybody who is held, too. */
static bool is_outside(const struct kernel *k, const struct network *n, const struct ip_addr *dst)
{
    const struct rtnl_route *routes, *best = NULL;
    size_t count = kernel_table(k, dst->family, n->netid + TABLE_FENCE_FROM_NETID, &routes);

    for (size_t i = 0; i < count; i++)
        if (ip_prefix_contains(&routes[i].dst, dst) && (!best || routes[i].dst.len > best->dst.len))
            best = &routes[i];
    return best && best->type == RTN_THROW;
}

/* The guard holds no such cgroup or executable yet: what it will say when there is one. */
static enum guard_verdict foresee_guard(const struct model *m, const struct kernel *k,
                                        const struct assignment *a, const struct ip_addr *dst,
                                        int oif)
{
    const struct network *network = network_of_ifindex(m, k, oif);
    const struct network *wanted = a->network ? model_network_by_name(m, a->network->s) : NULL;

    if (a->network && a->strength == STRENGTH_PREFER)
        return GUARD_UNASSIGNED;
    if (oif == LOOPBACK_IFINDEX)
        return GUARD_LOOPBACK;
    if (wanted && wanted == network)
        return GUARD_PORT;
    return wanted && ip_addr_is_set(dst) && is_outside(k, wanted, dst) ? GUARD_OUTSIDE : GUARD_DROP;
}

/* As door_judge(), step 4: programs know their uid's right to protect sockets, too. */
static bool is_transport(const struct model *m, const struct rtnl_flow *flow,
                         const struct assignment *a)
{
    const struct network *n = a->network ? model_network_by_name(m, a->network->s) : NULL;

    return flow->mark & MARK_PROTECTED && n && n->type == NETWORK_VPN &&
           model_can_protect(m, flow->uid);
}

enum guard_verdict explain_guard(const struct model *m, const struct kernel *k,
                                 const struct rtnl_flow *flow, const struct app_match *holds,
                                 int oif)
{
    const struct guard *g = kernel_guard(k);
    const struct guard_app *app;
    enum guard_verdict verdict;

    if (!holds || holds->step == APP_UID)
        return guard_judge(g, flow->uid, flow->mark, oif, &flow->dst);
    app = guard_app_numbered(g, selector_number(&holds->assignment->selector));
    verdict = app ? guard_judge_netid(g, app->netid, 0, oif, &flow->dst)
                  : foresee_guard(m, k, holds->assignment, &flow->dst, oif);
    return verdict == GUARD_DROP && is_transport(m, flow, holds->assignment) ? GUARD_PROTECTED
                                                                             : verdict;
}

static void explain_narrow(struct explanation *e, const struct model *m, const struct kernel *k,
                           const struct app_match *holds, struct explain_step *step)
{
    const struct rtnl_rule_extra *x = &step->rule.extra;
    struct explain_other *other = &step->other;
    struct sim_packet packet;
    struct sim_result r;

    other->all_but = x->ip_proto == IPPROTO_UDP && !x->tos && !x->sport[1] && !x->dport[1];
    packet = other_packet(&step->rule, other->all_but);
    r = simulate_packet(k, &e->flow, &packet, NULL, NULL);
    other->error = r.error;
    other->oif = r.oif;
    if (r.error == 0 && explain_guard(m, k, &e->flow, holds, r.oif) == GUARD_DROP)
        other->error = -EPERM;
    other->differs = other->error != e->error ||
                     (r.error == 0 &&
                      (r.oif != e->result.oif || !ip_addr_equal(&r.gateway, &e->result.gateway)));
}

void explain_app(const struct model *m, const struct kernel *k, const struct rtnl_flow *flow,
                 const struct app_match *holds, struct explanation *ret)
{
    struct explanation e = { .flow = *flow };

    if (holds) {
        e.assignment = holds->assignment;
        e.step = holds->step;
    }
    e.result = simulate(k, flow, note_step, &e);
    e.error = e.result.error;
    e.guard = GUARD_UNASSIGNED;
    if (e.error == 0) {
        e.guard = explain_guard(m, k, flow, holds, e.result.oif);
        if (e.guard == GUARD_DROP)
            e.error = -EPERM;
        e.network = network_of_ifindex(m, k, e.result.oif);
    }
    for (size_t i = 0; i < e.n_steps; i++)
        if (e.steps[i].narrow)
            explain_narrow(&e, m, k, holds, &e.steps[i]);
    e.result.rule = NULL;
    e.result.route = NULL;
    *ret = e;
}

void explain(const struct model *m, const struct kernel *k, const struct rtnl_flow *flow,
             struct explanation *ret)
{
    const struct app_match holds = {
        .assignment = precedence_decide(m->assignments, flow->uid),
        .step = APP_UID,
    };

    explain_app(m, k, flow, holds.assignment ? &holds : NULL, ret);
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
