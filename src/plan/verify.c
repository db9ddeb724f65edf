/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/verify.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"
#include "model/mark.h"
#include "plan/verify-classes.h"

#define LOOPBACK_IFINDEX 1

/*
 * Uids that are alike to the kernel: one of them, what it must keep to, and the rules that matter.
 */
struct group {
    uint32_t uid;
    int32_t target;          /* into targets; -1 = no interface is allowed */
    bool exempt;             /* sockets protected from VPNs have no obligation */
    unsigned family;         /* index */
    int64_t guarded;         /* netId of the guard's entry for the uid; -1 = none */
    struct rtnl_rule *rules; /* those that can match, `front` first */
    size_t n_rules;
};

struct groups {
    struct group *items;
    size_t n, cap;
};

struct context {
    const struct targets *t;
    const struct kernel *k;
    size_t n_front[2];          /* leading rules that ask for nothing */
    struct rtnl_flow *front[2]; /* packets that they alone send out by some interface */
    size_t n_front_flows[2], cap_front[2];
    struct verify_result *result;
};

static bool asks_for_nothing(const struct rtnl_rule *rule)
{
    const struct rtnl_rule_extra *x = &rule->extra;

    return !(rule->flags & FIB_RULE_INVERT) && !rule->fwmask && !rule->oif[0] && !x->l3mdev &&
           !x->other && !x->tos && !x->ip_proto && !x->sport[1] && !x->dport[1] &&
           !x->src.addr.family && !x->dst.addr.family && (int32_t)x->suppress_prefix_len < 0 &&
           x->suppress_ifgroup == UINT32_MAX;
}

/* Can this rule match a packet of uid that was made here? Inverted ones are always taken in. */
static bool can_match(const struct rtnl_rule *rule, uint32_t uid)
{
    if (rule->flags & FIB_RULE_INVERT)
        return true;
    return (!rule->iif[0] || streq(rule->iif, "lo")) &&
           (!rule->has_uid || uid_range_contains(&rule->uid, uid));
}

/* Does nothing that has an obligation get past this rule? */
static bool refuses_all(const struct rtnl_rule *rule, bool exempt)
{
    struct rtnl_rule bare = *rule;

    if (rule->action != FR_ACT_PROHIBIT && rule->action != FR_ACT_UNREACHABLE &&
        rule->action != FR_ACT_BLACKHOLE)
        return false;
    if (exempt && bare.fwmask == MARK_PROTECTED && bare.fwmark == 0)
        bare.fwmask = 0;
    return asks_for_nothing(&bare);
}

/* The rule as it is for this uid, without the range: so rules of two uids compare equal. */
static struct rtnl_rule settle_uid(const struct rtnl_rule *rule, uint32_t uid)
{
    bool within = !rule->has_uid || uid_range_contains(&rule->uid, uid);
    struct rtnl_rule settled = *rule;

    if (!within) /* inverted, or it would not matter: one condition fails, so it matches */
        return classes_unconditional_rule(rule);
    settled.has_uid = false;
    settled.uid = (struct uid_range){ 0 };
    return settled;
}

static bool is_goto_target(const struct group *g, uint32_t priority)
{
    for (size_t i = 0; i < g->n_rules; i++)
        if (g->rules[i].action == FR_ACT_GOTO && g->rules[i].extra.target == priority)
            return true;
    return false;
}

/* Those up to the first that refuses everything and that no goto leads over. */
static int relevant_rules(const struct kernel *k, struct group *g)
{
    uint32_t farthest = 0; /* target of a goto */
    size_t cap = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < k->n_rules[g->family]; i++) {
        struct rtnl_rule rule = k->rules[g->family][i];

        if (can_match(&rule, g->uid))
            rule = settle_uid(&rule, g->uid);
        else if (rule.priority <= farthest && is_goto_target(g, rule.priority))
            rule = classes_idle_rule(&rule);
        else
            continue;
        r = ARRAY_PUSH(g->rules, g->n_rules, cap, rule);
        if (rule.action == FR_ACT_GOTO)
            farthest = MAX(farthest, rule.extra.target);
        if (refuses_all(&rule, g->exempt) && farthest <= rule.priority)
            break;
    }
    return r;
}

static bool same_group(const struct group *a, const struct group *b)
{
    return a->target == b->target && a->exempt == b->exempt && a->family == b->family &&
           a->guarded == b->guarded && a->n_rules == b->n_rules &&
           mem_equal(a->rules, b->rules, a->n_rules * sizeof(*a->rules));
}

/* Adds the group of this uid unless there is one like it. */
static int add_group(struct context *c, struct groups *groups, const struct segment *s,
                     uint32_t uid, unsigned family)
{
    const struct guard_entry *entry = c->k->guard ? guard_entry(c->k->guard, uid) : NULL;
    struct group g = {
        .uid = uid,
        .guarded = entry ? (int64_t)entry->netid : -1,
        .target = s->verdict == VERDICT_REQUIRE ? s->target : -1,
        .exempt = s->exempt,
        .family = family,
    };
    int r = relevant_rules(c->k, &g);

    for (size_t i = groups->n; r == 0 && i-- > 0;)
        if (same_group(&groups->items[i], &g)) {
            free(g.rules);
            return 0;
        }
    if (r == 0)
        r = ARRAY_PUSH(groups->items, groups->n, groups->cap, g);
    if (r < 0)
        free(g.rules);
    return r;
}

static int add_groups(struct context *c, struct groups *groups, const struct segment *s,
                      uint32_t uid)
{
    int r = add_group(c, groups, s, uid, 0);

    return r < 0 ? r : add_group(c, groups, s, uid, 1);
}

struct bounds {
    uint32_t *items;
    size_t n, cap;
};

static int add_bounds(struct bounds *b, struct uid_range uid)
{
    int r = ARRAY_PUSH(b->items, b->n, b->cap, uid.lo);

    if (r == 0 && uid.hi < UID_MAX)
        r = ARRAY_PUSH(b->items, b->n, b->cap, uid.hi + 1);
    return r;
}

/* The uids at which some rule or guard entry begins or stops to match, ascending. */
static int uid_bounds(const struct kernel *k, uint32_t **ret, size_t *ret_n)
{
    struct bounds b = { 0 };
    int r = 0;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; r == 0 && i < k->n_rules[f]; i++)
            if (k->rules[f][i].has_uid)
                r = add_bounds(&b, k->rules[f][i].uid);
    for (size_t i = 0; r == 0 && k->guard && i < k->guard->n_entries; i++)
        r = add_bounds(&b, k->guard->entries[i].uid);
    if (r < 0) {
        free(b.items);
        return r;
    }
    *ret_n = classes_sort_u32(b.items, b.n);
    *ret = b.items;
    return 0;
}

static int build_groups(struct context *c, const struct policy *p, struct groups *groups)
{
    _cleanup_free_ uint32_t *bounds = NULL;
    size_t n_bounds, b = 0;
    int r = uid_bounds(c->k, &bounds, &n_bounds);

    for (size_t i = 0; r == 0 && i < p->segments.n; i++) {
        const struct segment *s = &p->segments.items[i];

        if (s->verdict != VERDICT_REQUIRE && s->verdict != VERDICT_REFUSE)
            continue;
        c->result->n_segments++;
        while (b < n_bounds && bounds[b] <= s->uid.lo)
            b++;
        r = add_groups(c, groups, s, s->uid.lo);
        for (size_t j = b; r == 0 && j < n_bounds && bounds[j] <= s->uid.hi; j++)
            r = add_groups(c, groups, s, bounds[j]);
    }
    c->result->n_groups = (uint32_t)groups->n;
    return r;
}

static bool is_allowed(const struct context *c, const struct group *g, int ifindex)
{
    if (ifindex == LOOPBACK_IFINDEX)
        return true;
    for (size_t i = 0; g->target >= 0 && i < c->t->items[g->target].n_ports; i++)
        if (target_ports(c->t, (size_t)g->target)[i].ifindex == ifindex)
            return true;
    return false;
}

/* One packet that leaves by `ifindex`. True when that is a leak; the first one is kept. */
static bool judge(struct context *c, const struct group *g, const struct rtnl_flow *flow,
                  int ifindex)
{
    c->result->n_cases++;
    if (is_allowed(c, g, ifindex))
        return false;
    if (guard_judge(c->k->guard, g->uid, flow->mark, ifindex) == GUARD_DROP) {
        c->result->n_guard_only++;
        return false;
    }
    if (!c->result->leak) {
        c->result->leak = true;
        c->result->flow = *flow;
        c->result->flow.uid = g->uid;
        c->result->oif = ifindex;
    }
    return true;
}

/*
 * Runs every destination class of these rules; with `oif` set, the flow asked for that interface.
 */
static int run_destinations(struct context *c, const struct group *g, const struct rtnl_rule *rules,
                            size_t n_rules, uint32_t mark, const struct ip_addr *src, int oif)
{
    struct kernel reduced = *c->k; /* borrowed, but for the rules */
    struct addr_classes dsts = { 0 };
    int r = classes_of_destinations(c->k, family_at(g->family), rules, n_rules, &dsts);

    reduced.rules[g->family] = (struct rtnl_rule *)rules;
    reduced.n_rules[g->family] = n_rules;
    for (size_t i = 0; r == 0 && !c->result->leak && i < dsts.n; i++) {
        struct rtnl_flow flow = {
            .dst = dsts.items[i], .src = *src, .uid = g->uid, .mark = mark, .oif = oif
        };
        struct sim_result out = simulate(&reduced, &flow, NULL, NULL);

        if (out.error < 0)
            c->result->n_cases++;
        else
            (void)judge(c, g, &flow, out.oif);
    }
    free(dsts.items);
    return r;
}

/* To IPv6, a flow with a source may leave by another interface than the one that it asked for. */
static int add_any_source(struct addr_classes *srcs)
{
    static const uint8_t somewhere[16] = { 0x20, 0x01, 0x0d, 0xb8, [15] = 1 }; /* RFC 3849 */

    return ARRAY_PUSH(srcs->items, srcs->n, srcs->cap, ip_addr_make(AF_INET6, somewhere, 16));
}

/*
 * Every source class; rules that may match are tried both ways. Flows that ask for no interface
 * meet the rules behind the front only.
 */
static int run_rules(struct context *c, const struct group *g, uint32_t mark, int oif)
{
    struct rule_variants variants = { 0 };
    struct addr_classes srcs = { 0 };
    size_t front = oif ? 0 : MIN(c->n_front[g->family], g->n_rules);
    int r;

    r = classes_of_sources(c->k, family_at(g->family), g->rules, g->n_rules, &srcs);
    if (r == 0 && oif && srcs.n == 1)
        r = add_any_source(&srcs);
    if (r == 0)
        r = variants_build(g->rules + front, g->n_rules - front, &variants);
    for (size_t v = 0; r == 0 && !c->result->leak && v < variants.n; v++) {
        for (size_t s = 0; r == 0 && !c->result->leak && s < srcs.n; s++)
            r = run_destinations(c, g, variants.items[v].rules, variants.items[v].n, mark,
                                 &srcs.items[s], oif);
    }
    variants_done(&variants);
    free(srcs.items);
    return r;
}

/* Does the guard drop such packets at every interface that is not allowed? */
static bool is_held(const struct context *c, const struct group *g, uint32_t mark)
{
    for (size_t i = 0; i < c->k->n_links; i++)
        if (!is_allowed(c, g, c->k->links[i].ifindex) &&
            guard_judge(c->k->guard, g->uid, mark, c->k->links[i].ifindex) != GUARD_DROP)
            return false;
    return true;
}

/*
 * Flows that ask for an interface: SO_BINDTODEVICE, IP_PKTINFO, and for IPv4 multicast a source
 * address. IPv4 then leaves there whatever the rules say; IPv6 where they lead.
 */
static int run_interface(struct context *c, const struct group *g, uint32_t mark,
                         const struct rtnl_link *link, bool held)
{
    static const uint8_t somewhere[4] = { 203, 0, 113, 1 }; /* TEST-NET-3, RFC 5737 */
    struct rtnl_flow flow = { .mark = mark, .oif = link->ifindex, .uid = g->uid };
    bool allowed = is_allowed(c, g, link->ifindex);

    if (!(link->flags & IFF_UP) || link->ifindex == LOOPBACK_IFINDEX ||
        (allowed && (held || g->family == 0)))
        return 0;
    if (held ||
        (g->family == 0 && guard_judge(c->k->guard, g->uid, mark, link->ifindex) == GUARD_DROP)) {
        c->result->n_cases++;
        c->result->n_guard_only++;
        return 0;
    }
    if (g->family == 1)
        return run_rules(c, g, mark, link->ifindex);
    flow.dst = ip_addr_make(AF_INET, somewhere, sizeof(somewhere));
    if (simulate(c->k, &flow, NULL, NULL).error == 0)
        (void)judge(c, g, &flow, link->ifindex);
    return 0;
}

/* The marks that the rules tell apart, and the guard, where it lets protected sockets pass. */
static int group_marks(const struct context *c, const struct group *g, struct mark_classes *ret)
{
    const struct guard_chain *chain =
        c->k->guard && g->guarded > 0 ? guard_chain(c->k->guard, (uint32_t)g->guarded) : NULL;
    _cleanup_free_ struct rtnl_rule *rules = NULL;

    if (g->exempt || !chain || !chain->exempt_protected)
        return classes_of_marks(g->rules, g->n_rules, g->exempt ? MARK_PROTECTED : 0, ret);
    rules = calloc(g->n_rules + 1, sizeof(*rules));
    if (!rules)
        return -ENOMEM;
    if (g->n_rules > 0)
        memcpy(rules, g->rules, g->n_rules * sizeof(*rules));
    rules[g->n_rules].fwmark = rules[g->n_rules].fwmask = MARK_PROTECTED;
    return classes_of_marks(rules, g->n_rules + 1, 0, ret);
}

static int run_mark(struct context *c, const struct group *g, uint32_t mark)
{
    bool held = is_held(c, g, mark);
    int r;

    for (size_t i = 0; i < c->n_front_flows[g->family]; i++) {
        struct rtnl_flow flow = c->front[g->family][i];
        int oif = flow.oif; /* where the front sends it: it asked for none */

        flow.oif = 0;
        flow.mark = mark;
        (void)judge(c, g, &flow, oif);
    }
    r = run_rules(c, g, mark, 0);
    for (size_t i = 0; r == 0 && i < c->k->n_links && !c->result->leak; i++)
        r = run_interface(c, g, mark, &c->k->links[i], held);
    return r;
}

static int run_group(struct context *c, const struct group *g)
{
    struct mark_classes marks = { 0 };
    int r = group_marks(c, g, &marks);

    for (size_t m = 0; r == 0 && !c->result->leak && m < marks.n; m++)
        r = run_mark(c, g, marks.items[m]);
    free(marks.items);
    if (r == -E2BIG) {
        c->result->incomplete = true;
        return 0;
    }
    return r;
}

static int note_front_flow(struct context *c, unsigned f, const struct kernel *front,
                           const struct ip_addr *src, const struct ip_addr *dst)
{
    struct rtnl_flow flow = { .dst = *dst, .src = *src };
    struct sim_result out = simulate(front, &flow, NULL, NULL);

    flow.oif = out.oif;
    if (out.error < 0 || out.oif == LOOPBACK_IFINDEX)
        return 0;
    return ARRAY_PUSH(c->front[f], c->n_front_flows[f], c->cap_front[f], flow);
}

/* What the front rules alone send out, by source and destination class; flow.oif is where. */
static int build_front(struct context *c, unsigned f)
{
    struct kernel reduced = *c->k;
    struct addr_classes dsts = { 0 }, srcs = { 0 };
    size_t n = 0;
    int r;

    while (n < c->k->n_rules[f] && c->k->rules[f][n].action == FR_ACT_TO_TBL &&
           asks_for_nothing(&c->k->rules[f][n]) && !c->k->rules[f][n].has_uid &&
           !c->k->rules[f][n].iif[0])
        n++;
    c->n_front[f] = n;
    reduced.n_rules[f] = n;

    r = classes_of_destinations(c->k, family_at(f), c->k->rules[f], n, &dsts);
    if (r == 0)
        r = classes_of_sources(c->k, family_at(f), c->k->rules[f], n, &srcs);
    for (size_t s = 0; r == 0 && s < srcs.n; s++)
        for (size_t i = 0; r == 0 && i < dsts.n; i++)
            r = note_front_flow(c, f, &reduced, &srcs.items[s], &dsts.items[i]);
    free(dsts.items);
    free(srcs.items);
    return r;
}

int verify(const struct targets *t, const struct policy *p, const struct kernel *k,
           struct verify_result *ret)
{
    struct verify_result result = { 0 };
    struct context c = { .t = t, .k = k, .result = &result };
    struct groups groups = { 0 };
    int r;

    r = build_front(&c, 0);
    if (r == 0)
        r = build_front(&c, 1);
    if (r == 0)
        r = build_groups(&c, p, &groups);
    for (size_t i = 0; r == 0 && !result.leak && i < groups.n; i++)
        r = run_group(&c, &groups.items[i]);

    for (size_t i = 0; i < groups.n; i++)
        free(groups.items[i].rules);
    free(groups.items);
    free(c.front[0]);
    free(c.front[1]);
    if (r == 0)
        *ret = result;
    return r;
}
