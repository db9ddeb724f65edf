/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No leak, simulated: for random pairs of models A -> B, after every prefix of the ops that lead
 * from A to B, no packet of an app that is bound in both leaves by an interface that neither
 * allows; after the last op, by none that B forbids. With the guard, for all packets; without, for
 * those that the rules can hold (no output interface asked for).
 *
 * The detector is proven first: the same ops in reverse order must leak.
 * Arguments: [pairs [packets per prefix [seed]]].
 */

#include <stdio.h>

#include "basic/log.h"
#include "plan/ops.h"
#include "plan/verify.h"
#include "property/netns.h"
#include "property/obligation.h"
#include "property/random.h"

struct totals {
    unsigned long pairs, ops, packets, leaks, verified;
};

struct pair {
    struct model *a, *b;
    struct obligations before, after;
    const struct kernel *facts;
    bool guard;
};

/* Where a packet leaves, or 0 when it does not. */
static int leaves_by(const struct kernel *k, const struct rtnl_flow *flow)
{
    struct sim_result sim = simulate(k, flow, NULL, NULL);

    if (sim.error < 0 || guard_judge(k->guard, flow->uid, flow->mark, sim.oif) == GUARD_DROP)
        return 0;
    return sim.oif;
}

static bool leaks(const struct pair *p, const struct rtnl_flow *flow, int oif, bool last)
{
    if (oif == 0 || !is_bound(&p->after, flow->uid, flow->mark))
        return false;
    if (last)
        return !may_leave_by(&p->after, flow->uid, oif);
    return is_bound(&p->before, flow->uid, flow->mark) &&
           !may_leave_by(&p->before, flow->uid, oif) && !may_leave_by(&p->after, flow->uid, oif);
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
        if (leaks(p, &flow, oif, last)) {
            char dst[IP_TEXT_MAX];

            if (found++ == 0)
                log_debug("uid %u mark 0x%x -> %s leaves by %d", flow.uid, flow.mark,
                          ip_addr_format(&flow.dst, dst), oif);
        }
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

static void apply_all(struct kernel *k, const struct ops *ops)
{
    for (size_t i = 0; i < ops->n; i++)
        do_op(k, &ops->items[i]);
}

/* Walks from A to B op by op (backwards with `reversed`); returns how many leaks it saw. */
static unsigned long walk(struct rng *g, const struct pair *p, bool reversed, unsigned packets,
                          struct totals *t)
{
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    _cleanup_(plan_unrefp) struct plan *from = plan_of(p->a, p->facts, p->guard, NULL);
    _cleanup_(plan_unrefp) struct plan *to = plan_of(p->b, p->facts, p->guard, from);
    _cleanup_ops_ struct ops first = { 0 }, ops = { 0 };
    unsigned long found = 0;

    if (kernel_copy(p->facts, &k) < 0 || plan_diff(empty, from, NULL, &first) < 0 ||
        plan_diff(from, to, NULL, &ops) < 0)
        abort();
    apply_all(&k, &first);
    t->ops += ops.n;
    for (size_t i = 0; i < ops.n; i++) {
        const struct op *op = &ops.items[reversed ? ops.n - 1 - i : i];

        if (reversed)
            (void)op_simulate(op, &k); /* deleting what comes later is no harm here */
        else
            do_op(&k, op);
        found += check_prefix(g, p, &k, i + 1 == ops.n, packets, t);
    }
    if (!reversed && p->guard) {
        struct verify_result v;

        if (verify(p->after.targets, &p->after.policy, &k, &v) < 0)
            abort();
        t->verified++;
        if (v.leak) {
            log_error("verify found a leak that random packets did not (uid %u, interface %d)",
                      v.flow.uid, v.oif);
            found++;
        }
    }
    return found;
}

static unsigned long one_pair(struct rng *g, const struct kernel *facts, bool reversed,
                              unsigned packets, struct totals *t)
{
    struct pair p = { .facts = facts, .guard = !rng_one_in(g, 4) };
    unsigned long found;

    p.a = random_model(g, facts);
    p.b = rng_one_in(g, 3) ? random_model(g, facts) : random_neighbour(g, p.a, facts);
    obligations_build(&p.before, p.a, facts);
    obligations_build(&p.after, p.b, facts);
    found = walk(g, &p, reversed, packets, t);
    obligations_done(&p.before);
    obligations_done(&p.after);
    model_free(p.a);
    model_free(p.b);
    t->pairs++;
    t->leaks += found;
    return found;
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
    unsigned packets = argc > 2 ? (unsigned)atoi(argv[2]) : 20;
    struct rng g = { .state = argc > 3 ? strtoull(argv[3], NULL, 0) : 0x1eaf };
    _cleanup_kernel_ struct kernel facts = { 0 };
    struct observer o = OBSERVER_INIT;
    struct totals proof = { 0 }, t = { 0 };

    netns_enter(4);
    if (observer_open(&o) < 0)
        return 1;
    netns_snapshot(&o, &facts);
    observer_close(&o);

    for (unsigned i = 0; i < 300; i++)
        (void)one_pair(&g, &facts, true, packets, &proof);
    printf("detector: %lu pairs in reverse order, %lu leaks seen\n", proof.pairs, proof.leaks);
    for (unsigned i = 0; i < pairs; i++)
        if (one_pair(&g, &facts, false, packets, &t) > 0 && t.leaks < 20)
            printf("LEAK in pair %u\n", i);
    printf("no leak: %lu pairs, %lu ops, %lu packets, %lu end states verified, %lu leaks\n",
           t.pairs, t.ops, t.packets, t.verified, t.leaks);
    return proof.leaks > 0 && t.leaks == 0 ? 0 : 1;
}
