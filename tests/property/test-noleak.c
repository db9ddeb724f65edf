/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No leak, simulated: for random pairs of models A -> B, after every prefix of the ops that lead
 * from A to B, no packet of an app that is bound in both leaves by an interface that neither
 * allows; after the last op, by none that B forbids. With the guard, for all packets; without, for
 * those that the rules can hold (no output interface asked for).
 *
 * The guard is that of nftables or that at the cgroup (the `maps` back-end), and in some pairs A has
 * the one and B the other.
 *
 * In half of the pairs something happens to the links between A and B: both sides are states that
 * a real kernel was in, and of our routes those are left that it would have left.
 *
 * The detector is proven first: the same ops in reverse order must leak.
 * Arguments: [pairs [packets per prefix [seed]]].
 */

#include <stdio.h>

#include "basic/log.h"
#include "plan/verify.h"
#include "property/coverage.h"
#include "property/obligation.h"
#include "property/random.h"
#include "property/world.h"

enum { PAIRS = 2000, REPORTS_MAX = 10, LINKS = 4, STATES_MAX = 1 + LINKS * EVENT_MAX };

/* The kernel without us, after something happened to its links. */
struct state {
    enum event event;
    struct kernel facts;
};

struct states {
    struct state items[STATES_MAX];
    unsigned n;
};

struct totals {
    unsigned long pairs, ops, packets, leaks, verified;
    unsigned long went;         /* routes that the kernel took */
    unsigned long guard_needed; /* packets that the guard would have held */
    unsigned long from[EVENT_MAX], to[EVENT_MAX];
    unsigned reported;
    bool complain; /* leaks are not what is wanted */
    struct coverage coverage;
};

struct pair {
    const struct state *before_state, *after_state;
    struct model *a, *b;
    struct obligations before, after;
    bool guard; /* of whatever kind: the carriers are not rules alone */
    enum carrier carrier_before, carrier_after;
    unsigned long number;
    size_t n_ops, done;
};

/* Where a packet leaves, or 0 when it does not. */
static int leaves_by(const struct kernel *k, const struct rtnl_flow *flow)
{
    struct sim_result sim = simulate(k, flow, NULL, NULL);

    if (sim.error < 0 ||
        guard_judge(k->guard, flow->uid, flow->mark, sim.oif, &flow->dst) == GUARD_DROP ||
        guard_judge(k->maps, flow->uid, flow->mark, sim.oif, &flow->dst) == GUARD_DROP)
        return 0;
    return sim.oif;
}

static bool leaks(const struct pair *p, const struct rtnl_flow *flow, int oif, bool last)
{
    if (oif == 0 || !is_bound(&p->after, flow->uid, flow->mark))
        return false;
    if (last)
        return !may_leave_by(&p->after, flow->uid, oif, &flow->dst);
    return is_bound(&p->before, flow->uid, flow->mark) &&
           !may_leave_by(&p->before, flow->uid, oif, &flow->dst) &&
           !may_leave_by(&p->after, flow->uid, oif, &flow->dst);
}

/* " uid:990 requires net1 (vpn)" */
static void print_obligation(const struct obligations *o, uint32_t uid)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    const struct assignment *a = assignment_of(o->model, uid);
    const struct network *n =
        a && a->network ? model_network_by_name(o->model, a->network->s) : NULL;

    if (a)
        selector_print(&a->selector, &b);
    printf(" %s %s %s (%s)", strbuf_text(&b), a ? strength_to_string(a->strength) : "nothing",
           a && a->network ? a->network->s : "none",
           n ? network_type_to_string(n->type) : "not there");
}

static void print_leak(const struct pair *p, const struct rtnl_flow *flow, int oif)
{
    char dst[IP_TEXT_MAX], src[IP_TEXT_MAX];

    printf(
        "LEAK in pair %lu, %zu of %zu ops done%s: uid %u mark 0x%x oif %d src %s dst %s leaves by "
        "%d; before (%s):",
        p->number, p->done, p->n_ops, p->guard ? "" : ", no guard", flow->uid, flow->mark,
        flow->oif, ip_addr_format(&flow->src, src), ip_addr_format(&flow->dst, dst), oif,
        event_to_string(p->before_state->event));
    print_obligation(&p->before, flow->uid);
    printf("; after (%s):", event_to_string(p->after_state->event));
    print_obligation(&p->after, flow->uid);
    printf("\n");
}

static unsigned long check_prefix(struct rng *g, const struct pair *p, const struct kernel *k,
                                  bool last, unsigned packets, struct totals *t)
{
    unsigned long found = 0;

    for (unsigned i = 0; i < packets; i++) {
        struct rtnl_flow flow = random_flow(g, k, p->b);
        int oif;

        if (!p->guard)
            flow.oif = 0;
        /* without the guard, rule 0 (table local) sends broadcast and IPv6 multicast out; and a
         * bound source address directs IPv4 multicast: docs/rules.md, "What rules cannot do" */
        if (!p->guard && (ip_addr_is_multicast(&flow.dst) || flow.dst.bytes[3] == 255))
            continue;
        oif = leaves_by(k, &flow);
        t->packets++;
        if (!leaks(p, &flow, oif, last))
            continue;
        if (!p->guard && !last && !rules_hold_meanwhile(&p->before, &p->after, flow.uid)) {
            t->guard_needed++;
            continue;
        }
        found++;
        if (t->complain && t->reported++ < REPORTS_MAX)
            print_leak(p, &flow, oif);
    }
    return found;
}

static void do_op(struct kernel *k, const struct op *op)
{
    struct strbuf b = STRBUF_INIT;
    int r = op_simulate(op, k);

    if (r == 0)
        return;
    op_print(op, k, &b);
    log_error_errno(r, "%s", strbuf_text(&b));
    abort();
}

static bool has_up(const struct kernel *k, int ifindex)
{
    const struct rtnl_link *link = kernel_link(k, ifindex);

    return link && (link->flags & IFF_UP);
}

/* Under the same name as before? If not, it may have been down for that, or not (Linux 6.2). */
static bool kept_name(const struct pair *p, int ifindex)
{
    const struct rtnl_link *a = kernel_link(&p->before_state->facts, ifindex);
    const struct rtnl_link *b = kernel_link(&p->after_state->facts, ifindex);

    return a && b && streq(a->name, b->name);
}

/*
 * What the links' change leaves of us: all rules, the guard, and the routes by links that are there
 * and up. Everything else is as the kernel had it afterwards.
 */
static void happen(struct rng *g, const struct pair *p, struct kernel *k, struct totals *t)
{
    _cleanup_kernel_ struct kernel now = { 0 };
    bool stayed_up = rng_one_in(g, 2);
    int r = kernel_copy(&p->after_state->facts, &now);

    now.guard = guard_ref(k->guard);
    now.maps = guard_ref(k->maps);
    for (unsigned f = 0; r == 0 && f < 2; f++) {
        now.n_rules[f] = 0;
        for (size_t i = 0; r == 0 && i < k->n_rules[f]; i++)
            r = kernel_add_rule(&now, &k->rules[f][i]);
        for (size_t i = 0; r == 0 && i < k->n_routes[f]; i++) {
            const struct rtnl_route *route = &k->routes[f][i];
            bool lives = route->oif == 0 ||
                         (has_up(&now, route->oif) && (stayed_up || kept_name(p, route->oif)));

            if (route->protocol == RTPROT_WAYMARK && lives)
                r = kernel_add_route(&now, route);
            else if (route->protocol == RTPROT_WAYMARK)
                t->went++;
        }
    }
    if (r < 0 || kernel_sort(&now) < 0)
        abort();
    kernel_done(k);
    *k = now;
    now = (struct kernel){ 0 };
}

/* What the daemon takes to stand: its own plan; after events, what the kernel shows. */
static struct plan *find_what_stands(const struct pair *p, const struct kernel *k,
                                     struct plan *from, struct rule_list *extra)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    struct plan *stands = NULL;

    if (p->before_state == p->after_state)
        return plan_ref(from);
    if (plan_from_kernel(k, unknown, &stands, extra) < 0)
        abort();
    return stands;
}

/* The proof by cases says the same of the end; it has its own idea of the obligation. */
static unsigned long check_end(const struct pair *p, const struct plan *to, const struct kernel *k,
                               struct totals *t)
{
    _cleanup_policy_ struct policy policy = { 0 };
    struct verify_result v;

    if (policy_build(p->b, to->targets, &policy) < 0 || verify(to->targets, &policy, k, &v) < 0)
        abort();
    t->verified++;
    if (v.leak)
        log_error("verify found a leak (uid %u, interface %d)", v.flow.uid, v.oif);
    return v.leak;
}

/* From nothing to A. */
static struct plan *begin(const struct pair *p, struct kernel *k)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    struct plan *from = plan_of(p->a, &p->before_state->facts, p->carrier_before, NULL);
    _cleanup_ops_ struct ops ops = { 0 };

    if (kernel_copy(&p->before_state->facts, k) < 0 || plan_diff(empty, from, NULL, &ops) < 0)
        abort();
    for (size_t i = 0; i < ops.n; i++)
        do_op(k, &ops.items[i]);
    return from;
}

/* Walks from A to B op by op (backwards with `reversed`); returns how many leaks it saw. */
static unsigned long walk(struct rng *g, struct pair *p, bool reversed, unsigned packets,
                          struct totals *t)
{
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_(plan_unrefp) struct plan *from = begin(p, &k), *stands = NULL, *to = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    struct rule_list extra = { 0 };
    unsigned long found = 0;

    if (p->before_state != p->after_state)
        happen(g, p, &k, t);
    stands = find_what_stands(p, &k, from, &extra);
    to = plan_of(p->b, &p->after_state->facts, p->carrier_after, stands);
    if (plan_diff(stands, to, &extra, &ops) < 0)
        abort();
    free(extra.items);
    t->ops += ops.n;
    p->n_ops = ops.n;
    coverage_note_ops(&t->coverage, &ops);
    found += check_prefix(g, p, &k, ops.n == 0, packets, t);
    for (size_t i = 0; i < ops.n; i++) {
        const struct op *op = &ops.items[reversed ? ops.n - 1 - i : i];

        if (reversed)
            (void)op_simulate(op, &k); /* deleting what comes later is no harm here */
        else
            do_op(&k, op);
        p->done = i + 1;
        found += check_prefix(g, p, &k, i + 1 == ops.n, packets, t);
    }
    if (!reversed && p->guard)
        found += check_end(p, to, &k, t);
    return found;
}

/* One pair in four goes by rules alone; one in four changes from one kind of guard to the other. */
static void choose_carriers(struct rng *g, struct pair *p)
{
    p->guard = !rng_one_in(g, 4);
    p->carrier_before = p->carrier_after = CARRIER_RULES;
    if (!p->guard)
        return;
    p->carrier_before = rng_one_in(g, 2) ? CARRIER_GUARD : CARRIER_MAPS;
    p->carrier_after = rng_one_in(g, 3) ? CARRIER_GUARD : CARRIER_MAPS;
}

static unsigned long one_pair(struct rng *g, const struct states *s, bool reversed,
                              unsigned packets, struct totals *t)
{
    struct pair p = { .number = t->pairs };
    const struct kernel *facts;
    unsigned long found;

    p.before_state = &s->items[rng_one_in(g, 2) ? 0 : rng_below(g, s->n)];
    p.after_state = rng_one_in(g, 2) ? p.before_state : &s->items[rng_below(g, s->n)];
    facts = &p.after_state->facts;
    choose_carriers(g, &p);
    p.a = random_model(g, &p.before_state->facts);
    p.b = rng_one_in(g, 3) ? random_model(g, facts) : random_neighbour(g, p.a, facts);
    p.before = (struct obligations){ p.a, &p.before_state->facts };
    p.after = (struct obligations){ p.b, facts };
    coverage_note_model(&t->coverage, p.b, facts);
    coverage_note_kernel(&t->coverage, facts);
    t->from[p.before_state->event]++;
    t->to[p.after_state->event]++;
    found = walk(g, &p, reversed, packets, t);
    model_free(p.a);
    model_free(p.b);
    t->pairs++;
    t->leaks += found;
    return found;
}

/* Every event of every link, made to happen to a real kernel. */
static void make_states(struct states *s)
{
    struct observer o = OBSERVER_INIT;
    struct world w;

    world_enter(&w, LINKS, false);
    if (observer_open(&o) < 0)
        abort();
    netns_settled_snapshot(&o, &s->items[s->n++].facts);
    for (unsigned i = 0; i < LINKS; i++)
        for (enum event e = EVENT_NONE + 1; e < EVENT_MAX; e++) {
            struct state *state = &s->items[s->n++];

            state->event = e;
            world_do(&w, e, i);
            netns_settled_snapshot(&o, &state->facts);
            world_undo(&w);
        }
    observer_close(&o);
}

static unsigned report(const struct totals *t)
{
    unsigned never = coverage_print_models(&t->coverage) + coverage_print_ops(&t->coverage) +
                     coverage_print(&t->coverage, "links", COVER_LINK_DOWN, COVER_LINK_NO_CARRIER);

    printf("links before -> after:");
    for (enum event e = EVENT_NONE; e < EVENT_MAX; e++) {
        printf("%s %s %lu -> %lu", e ? "," : "", event_to_string(e), t->from[e], t->to[e]);
        never += t->from[e] == 0 || t->to[e] == 0;
    }
    printf("; %lu of our routes went with their link\n", t->went);
    printf("no leak: %lu pairs, %lu ops, %lu packets, %lu end states verified, %lu leaks; "
           "without the guard %lu packets would leak%s\n",
           t->pairs, t->ops, t->packets, t->verified, t->leaks, t->guard_needed,
           never ? "; a kind was never seen" : "");
    return never;
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : PAIRS;
    unsigned packets = argc > 2 ? (unsigned)atoi(argv[2]) : 20;
    struct rng g = { .state = argc > 3 ? strtoull(argv[3], NULL, 0) : 0x1eaf };
    static struct states s;
    struct totals proof = { 0 }, t = { .complain = true };
    unsigned never;

    make_states(&s);
    for (unsigned i = 0; i < 300; i++)
        (void)one_pair(&g, &s, true, packets, &proof);
    printf("detector: %lu pairs in reverse order, %lu leaks seen\n", proof.pairs, proof.leaks);
    for (unsigned i = 0; i < pairs; i++)
        (void)one_pair(&g, &s, false, packets, &t);
    never = report(&t);
    for (unsigned i = 0; i < s.n; i++)
        kernel_done(&s.items[i].facts);
    return proof.leaks > 0 && t.leaks == 0 && (never == 0 || pairs < PAIRS) ? 0 : 1;
}
