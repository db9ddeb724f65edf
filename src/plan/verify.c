/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/verify.h"

#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"
#include "model/mark.h"
#include "plan/outside.h"
#include "plan/verify-classes.h"
#include "plan/verify-groups.h"

#define LOOPBACK_IFINDEX 1

struct context {
    const struct targets *t;
    const struct kernel *k;
    struct guard *outside; /* of each target: where those who are held to it may go */
    bool has_vrf;
    size_t n_front[2];          /* leading rules that ask for nothing */
    struct rtnl_flow *front[2]; /* packets that they alone send out by some interface */
    size_t n_front_flows[2], cap_front[2];
    bool front_other_ways[2]; /* some of them may go elsewhere, too */
    struct verify_result *result;
};

/* A group and one mark. */
struct subject {
    const struct group *group;
    const struct rtnl_rule *rules; /* those that can match, `front` first */
    size_t n_rules;
    uint32_t mark;
    bool held;         /* the guard drops all that leaves where it must not, whatever the route */
    bool same_outside; /* what the guard lets out may leave */
};

/* Something is not known that a route depends on. Where the guard holds, no route matters. */
static void note_gap(struct context *c, const struct subject *s, enum verify_gap gap)
{
    if (!s->held && c->result->gap == VERIFY_NO_GAP)
        c->result->gap = gap;
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

/* dst NULL: to where it may leave by an interface of its network only. */
static bool is_dropped(const struct context *c, const struct subject *s, int ifindex,
                       const struct ip_addr *dst)
{
    return guard_judge(kernel_guard(c->k), s->group->uid, s->mark, ifindex, dst) == GUARD_DROP;
}

/* Does its network not lead there, so that it may leave by any? */
static bool is_outside(const struct context *c, const struct group *g, const struct ip_addr *dst)
{
    return g->target >= 0 &&
           guard_is_outside(c->outside, c->t->items[g->target].network->netid, dst);
}

/* One packet that leaves by `ifindex`. When that is a leak, the first one is kept. */
static void judge(struct context *c, const struct subject *s, const struct rtnl_flow *flow,
                  int ifindex)
{
    c->result->n_cases++;
    if (is_allowed(c, s->group, ifindex) || is_outside(c, s->group, &flow->dst))
        return;
    if (is_dropped(c, s, ifindex, &flow->dst)) {
        c->result->n_guard_only++;
        return;
    }
    if (!c->result->leak) {
        c->result->leak = true;
        c->result->flow = *flow;
        c->result->flow.uid = s->group->uid;
        c->result->flow.mark = s->mark;
        c->result->oif = ifindex;
    }
}

/* Every interface by which a packet may leave, as the simulator has it. */
static void judge_ways(struct context *c, const struct subject *s, const struct rtnl_flow *flow,
                       const struct sim_result *way)
{
    const struct rtnl_route *hops;
    size_t n = sim_hops(c->k, way, &hops);

    if (way->error < 0) {
        c->result->n_cases++;
        return;
    }
    if (way->other_ways)
        note_gap(c, s, VERIFY_GAP_ROUTES);
    for (size_t i = 0; i < n; i++)
        if (!(hops[i].nh_flags & RTNH_F_DEAD) && hops[i].oif != 0)
            judge(c, s, flow, hops[i].oif);
    if (n == 0)
        judge(c, s, flow, way->oif);
}

/* By what is outside of a network, and by what the guard takes for that. */
static int cut_by_network(const struct context *c, uint32_t netid, unsigned f,
                          struct addr_classes *dsts)
{
    int r = classes_cut_destinations(dsts, family_at(f), c->outside, netid);

    return r < 0 ? r : classes_cut_destinations(dsts, family_at(f), kernel_guard(c->k), netid);
}

static int cut_destinations(const struct context *c, const struct group *g, unsigned f,
                            struct addr_classes *dsts)
{
    return g->target < 0 ? 0 : cut_by_network(c, c->t->items[g->target].network->netid, f, dsts);
}

/*
 * Runs every destination class of these rules; with `oif` set, the flow asked for that interface.
 */
static int run_destinations(struct context *c, const struct subject *s,
                            const struct rule_variant *variant, const struct ip_addr *src, int oif)
{
    unsigned f = s->group->family;
    struct kernel reduced = *c->k; /* borrowed, but for the rules */
    struct addr_classes dsts = { 0 };
    struct tos_classes tos;
    int r = classes_of_destinations(c->k, family_at(f), variant->rules, variant->n, &dsts);

    if (r == 0)
        r = cut_destinations(c, s->group, f, &dsts);
    classes_of_tos(c->k, family_at(f), variant->rules, variant->n, &tos);
    reduced.rules[f] = variant->rules;
    reduced.n_rules[f] = variant->n;
    for (size_t i = 0; r == 0 && !c->result->leak && i < dsts.n; i++) {
        struct rtnl_flow flow = {
            .dst = dsts.items[i], .src = *src, .uid = s->group->uid, .mark = s->mark, .oif = oif
        };

        for (size_t j = 0; j < tos.n; j++) {
            struct sim_packet packet = { .protocol = IPPROTO_UDP, .tos = tos.items[j] };
            struct sim_result way = simulate_packet(&reduced, &flow, &packet, NULL, NULL);

            judge_ways(c, s, &flow, &way);
        }
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
static int run_rules(struct context *c, const struct subject *s, int oif)
{
    unsigned f = s->group->family;
    struct rule_variants variants = { 0 };
    struct addr_classes srcs = { 0 };
    size_t front = oif ? 0 : MIN(c->n_front[f], s->n_rules);
    int r;

    r = classes_of_sources(c->k, family_at(f), s->rules, s->n_rules, &srcs);
    if (r == 0 && oif && srcs.n == 1)
        r = add_any_source(&srcs);
    if (r == 0)
        r = variants_build(s->rules + front, s->n_rules - front, &variants);
    for (size_t v = 0; r == 0 && !c->result->leak && v < variants.n; v++)
        for (size_t i = 0; r == 0 && !c->result->leak && i < srcs.n; i++)
            r = run_destinations(c, s, &variants.items[v], &srcs.items[i], oif);
    variants_done(&variants);
    free(srcs.items);
    return r;
}

/* Does the guard drop such packets at every interface that is not allowed? */
static bool is_held(const struct context *c, const struct subject *s)
{
    if (!s->same_outside)
        return false;
    for (size_t i = 0; i < c->k->n_links; i++)
        if (!is_allowed(c, s->group, c->k->links[i].ifindex) &&
            !is_dropped(c, s, c->k->links[i].ifindex, NULL))
            return false;
    return true;
}

/* One destination, and one of each part of what is outside of the network or not. */
static int run_interface4(struct context *c, const struct subject *s, int ifindex)
{
    static const uint8_t somewhere[4] = { 203, 0, 113, 1 }; /* TEST-NET-3, RFC 5737 */
    struct rtnl_flow flow = { .mark = s->mark, .oif = ifindex, .uid = s->group->uid };
    struct addr_classes dsts = { 0 };
    int r = ARRAY_PUSH(dsts.items, dsts.n, dsts.cap,
                       ip_addr_make(AF_INET, somewhere, sizeof(somewhere)));

    if (r == 0)
        r = cut_destinations(c, s->group, 0, &dsts);
    for (size_t i = 0; r == 0 && i < dsts.n; i++) {
        flow.dst = dsts.items[i];
        if (simulate(c->k, &flow, NULL, NULL).error == 0)
            judge(c, s, &flow, ifindex);
    }
    free(dsts.items);
    return r;
}

/*
 * Flows that ask for an interface: SO_BINDTODEVICE, IP_PKTINFO, and for IPv4 multicast a source
 * address. IPv4 then leaves there whatever the rules say; IPv6 where they lead.
 */
static int run_interface(struct context *c, const struct subject *s, const struct rtnl_link *link)
{
    bool allowed = is_allowed(c, s->group, link->ifindex), four = s->group->family == 0;

    if (!(link->flags & IFF_UP) || link->ifindex == LOOPBACK_IFINDEX ||
        (allowed && (s->held || four)))
        return 0;
    if (s->held || (four && s->same_outside && is_dropped(c, s, link->ifindex, NULL))) {
        c->result->n_cases++;
        c->result->n_guard_only++;
        return 0;
    }
    return four ? run_interface4(c, s, link->ifindex) : run_rules(c, s, link->ifindex);
}

/* The marks that the rules tell apart, and the guard, where it lets protected sockets pass. */
static int subject_marks(const struct context *c, const struct subject *s, struct mark_classes *ret)
{
    const struct group *g = s->group;
    const struct guard_chain *chain =
        g->guarded > 0 ? guard_chain(kernel_guard(c->k), (uint32_t)g->guarded) : NULL;
    _cleanup_free_ struct rtnl_rule *rules = NULL;

    if (g->exempt || !chain || !chain->exempt_protected)
        return classes_of_marks(s->rules, s->n_rules, g->exempt ? MARK_PROTECTED : 0, ret);
    rules = calloc(s->n_rules + 1, sizeof(*rules));
    if (!rules)
        return -ENOMEM;
    if (s->n_rules > 0)
        memcpy(rules, s->rules, s->n_rules * sizeof(*rules));
    rules[s->n_rules].fwmark = rules[s->n_rules].fwmask = MARK_PROTECTED;
    return classes_of_marks(rules, s->n_rules + 1, 0, ret);
}

/* A flow that asks for a VRF, or an interface in one, has that one's table looked up. */
static bool asks_vrf(const struct context *c, const struct subject *s)
{
    for (size_t i = 0; c->has_vrf && i < s->n_rules; i++)
        if (s->rules[i].extra.l3mdev)
            return true;
    return false;
}

static int run_mark(struct context *c, struct subject *s)
{
    unsigned f = s->group->family;
    int r;

    s->held = is_held(c, s);
    if (asks_vrf(c, s))
        note_gap(c, s, VERIFY_GAP_VRF);
    if (c->front_other_ways[f])
        note_gap(c, s, VERIFY_GAP_ROUTES);
    for (size_t i = 0; i < c->n_front_flows[f]; i++) {
        struct rtnl_flow flow = c->front[f][i];
        int oif = flow.oif; /* where the front sends it: it asked for none */

        flow.oif = 0;
        judge(c, s, &flow, oif);
    }
    r = run_rules(c, s, 0);
    for (size_t i = 0; r == 0 && i < c->k->n_links && !c->result->leak; i++)
        r = run_interface(c, s, &c->k->links[i]);
    return r;
}

/*
 * Too many marks to try them all. But the guard looks at one bit of them alone: where it holds by
 * itself, no other matters, nor any route.
 */
static void run_by_guard(struct context *c, struct subject *s)
{
    static const uint32_t marks[] = { 0, MARK_PROTECTED };
    size_t n = s->group->exempt ? 1 : ELEMENTSOF(marks);

    for (size_t i = 0; i < n; i++) {
        s->mark = marks[i];
        if (!is_held(c, s)) {
            s->held = false;
            note_gap(c, s, VERIFY_GAP_CASES);
            return;
        }
    }
    c->result->n_cases += n * c->k->n_links;
    c->result->n_guard_only += n * c->k->n_links;
}

/* Lets the guard out only to where they may go? Both lists are the shortest that say so. */
static bool guard_lets_out_the_same(const struct context *c, const struct group *g)
{
    uint32_t netid = g->target < 0 ? 0 : c->t->items[g->target].network->netid;
    const struct guard_outside *here, *there;
    size_t n_here = guard_outside_of(kernel_guard(c->k), netid, &here);
    size_t n_there = guard_outside_of(c->outside, netid, &there);

    return n_here == 0 || (n_here == n_there && mem_equal(here, there, n_here * sizeof(*here)));
}

static int run_group(struct context *c, const struct groups *groups, size_t i)
{
    struct subject s = { .group = &groups->items[i] };
    _cleanup_free_ struct rtnl_rule *rules = NULL;
    struct mark_classes marks = { 0 };
    int r = groups_rules(groups, i, &rules, &s.n_rules);

    s.rules = rules;
    s.same_outside = guard_lets_out_the_same(c, s.group);
    if (r == 0)
        r = subject_marks(c, &s, &marks);
    for (size_t m = 0; r == 0 && !c->result->leak && m < marks.n; m++) {
        s.mark = marks.items[m];
        r = run_mark(c, &s);
    }
    free(marks.items);
    if (r != -E2BIG)
        return r;
    run_by_guard(c, &s);
    return 0;
}

/* Notes every interface by which the packet may leave. */
static int note_front_flow(struct context *c, unsigned f, const struct rtnl_flow *flow,
                           const struct sim_result *way)
{
    const struct rtnl_route *hops;
    size_t n = sim_hops(c->k, way, &hops);
    struct rtnl_flow note = *flow;
    int r = 0;

    if (way->error < 0)
        return 0;
    c->front_other_ways[f] |= way->other_ways;
    for (size_t i = 0; r == 0 && i < MAX(n, (size_t)1); i++) {
        if (n > 0 && (hops[i].nh_flags & RTNH_F_DEAD))
            continue;
        note.oif = n > 0 ? hops[i].oif : way->oif;
        if (note.oif != LOOPBACK_IFINDEX && note.oif != 0)
            r = ARRAY_PUSH(c->front[f], c->n_front_flows[f], c->cap_front[f], note);
    }
    return r;
}

/* The rules in front that ask for nothing: all of any uid's, so evaluated once. */
static size_t count_front(const struct kernel *k, unsigned f)
{
    size_t n = 0;

    while (n < k->n_rules[f] && k->rules[f][n].action == FR_ACT_TO_TBL &&
           rule_asks_for_nothing(&k->rules[f][n]) && !k->rules[f][n].has_uid &&
           !k->rules[f][n].iif[0])
        n++;
    return n;
}

/* What the front rules alone send out, by source, destination and tos; flow.oif is where. */
static int build_front(struct context *c, unsigned f)
{
    struct kernel reduced = *c->k;
    struct addr_classes dsts = { 0 }, srcs = { 0 };
    struct tos_classes tos;
    size_t n = count_front(c->k, f);
    int r;

    c->n_front[f] = reduced.n_rules[f] = n;
    classes_of_tos(c->k, family_at(f), c->k->rules[f], n, &tos);
    r = classes_of_destinations(c->k, family_at(f), c->k->rules[f], n, &dsts);
    for (size_t i = 0; r == 0 && i < c->t->n; i++)
        if (outside_possible(c->t->items[i].network))
            r = cut_by_network(c, c->t->items[i].network->netid, f, &dsts);
    if (r == 0)
        r = classes_of_sources(c->k, family_at(f), c->k->rules[f], n, &srcs);
    for (size_t i = 0; r == 0 && i < srcs.n * dsts.n * tos.n; i++) {
        struct rtnl_flow flow = { .src = srcs.items[i % srcs.n],
                                  .dst = dsts.items[i / srcs.n % dsts.n] };
        struct sim_packet packet = { .protocol = IPPROTO_UDP,
                                     .tos = tos.items[i / srcs.n / dsts.n] };
        struct sim_result way = simulate_packet(&reduced, &flow, &packet, NULL, NULL);

        r = note_front_flow(c, f, &flow, &way);
    }
    free(dsts.items);
    free(srcs.items);
    return r;
}

static bool has_vrf(const struct kernel *k)
{
    for (size_t i = 0; i < k->n_links; i++)
        if (streq(k->links[i].kind, "vrf"))
            return true;
    return false;
}

/* Where the network's interfaces lead now. */
static int find_routed(const struct context *c, size_t target, struct outside_list *list)
{
    struct ip_prefix *routed = NULL;
    size_t n_routed = 0, cap = 0;
    int r = 0;

    for (size_t p = 0; p < c->t->items[target].n_ports; p++)
        for (unsigned f = 0; r == 0 && f < 2; f++) {
            const struct rtnl_route *routes;
            uint32_t table = (uint32_t)target_ports(c->t, target)[p].ifindex + TABLE_FROM_IFINDEX;
            size_t n = kernel_table(c->k, family_at(f), table, &routes);

            for (size_t i = 0; r == 0 && i < n; i++)
                if (routes[i].type == RTN_UNICAST)
                    r = ARRAY_PUSH(routed, n_routed, cap, routes[i].dst);
        }
    if (r == 0)
        r = outside_build(c->t->items[target].network, routed, n_routed, list);
    free(routed);
    return r;
}

static int build_outside(struct context *c)
{
    struct outside_list list = { 0 };
    int r = c->outside ? 0 : -ENOMEM;

    for (size_t i = 0; r == 0 && i < c->t->n; i++)
        if (outside_possible(c->t->items[i].network))
            r = find_routed(c, i, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = guard_add_outside(c->outside, &list.items[i]);
    free(list.items);
    if (r == 0)
        guard_sort(c->outside);
    return r;
}

int verify(const struct targets *t, const struct policy *p, const struct kernel *k,
           struct verify_result *ret)
{
    struct verify_result result = { 0 };
    _cleanup_(guard_unrefp) struct guard *outside = guard_new();
    struct context c = {
        .t = t, .k = k, .outside = outside, .has_vrf = has_vrf(k), .result = &result
    };
    _cleanup_groups_ struct groups groups = { 0 };
    int r;

    r = build_outside(&c);
    if (r == 0)
        r = build_front(&c, 0);
    if (r == 0)
        r = build_front(&c, 1);
    if (r == 0)
        r = groups_build(p, k, &groups);
    for (size_t i = 0; r == 0 && !result.leak && i < groups.n; i++)
        r = run_group(&c, &groups, i);
    result.n_segments = groups.n_segments;
    result.n_groups = (uint32_t)groups.n;
    free(c.front[0]);
    free(c.front[1]);
    if (r == 0)
        *ret = result;
    return r;
}

const char *verify_gap_to_string(enum verify_gap gap)
{
    static const char *const texts[VERIFY_GAP_MAX] = {
        [VERIFY_NO_GAP] = "",
        [VERIFY_GAP_CASES] = "the rules look at more marks, or have more gotos, than can be tried",
        [VERIFY_GAP_ROUTES] = ("where a route leads is not fully known: more next hops than were "
                               "read, an encapsulation, or a router that may not answer"),
        [VERIFY_GAP_VRF] = "there is a VRF, whose routes apps may ask for",
    };

    return texts[gap];
}
