/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No leak, with the real kernel: for random pairs of models A -> B, after every single op that leads
 * from A to B real programs send all kinds of packets, from new sockets and from such as they hold
 * open since before A or before B, and a capture on every interface sees what leaves. No packet of
 * a bound uid may leave by an interface that neither A nor B allows, nor, at the end, by one that B
 * forbids. One pair in four goes without the guard: then rules alone must hold everything that does
 * not name an interface and has no route of its own, and the rest shows why there is a guard.
 *
 * In half of the pairs something happens to a link between A and B, or is mended between them.
 *
 * The detector is proven first: with nothing applied, every kind of packet in both families must be
 * seen leaving, by every link that it can leave by. Arguments: [pairs [seed]].
 */

#include <stdio.h>

#include "apply/applier.h"
#include "basic/log.h"
#include "property/coverage.h"
#include "property/obligation.h"
#include "property/random.h"
#include "property/senders.h"

enum { PAIRS = 200, LINKS = 3 };

struct totals {
    unsigned long pairs, ops, rounds, packets, leaks, skipped;
    unsigned long guard_needed; /* packets that left because there was no guard */
    unsigned long established[HOLD_MAX], by_kind[SEND_KIND_MAX], bound_by_kind[SEND_KIND_MAX];
    unsigned long lost[EVENT_MAX], mended[EVENT_MAX];
    struct coverage coverage;
};

struct test {
    struct world world;
    struct observer observer;
    struct applier applier;
    struct senders senders;
    struct totals totals;
};

struct walk {
    struct test *test;
    struct obligations before, after;
    size_t n_ops, done;
    usec_t since,
        arrived; /* when the first obligation began to hold, and when the last op was done */
    bool watching, guard;
};

/* What rules can hold: docs/rules.md, "What rules cannot do", has the others. */
static bool rules_suffice(const struct walk *w, const struct seen *seen)
{
    enum send_kind kind = seen->kind;

    if (seen->when < w->arrived && !rules_hold_meanwhile(&w->before, &w->after, seen->uid))
        return false;
    return kind == SEND_UDP || kind == SEND_UDP_CONNECTED || kind == SEND_TCP ||
           kind == SEND_PING || kind == SEND_MARK;
}

static bool is_leak(const struct walk *w, const struct seen *seen)
{
    if (!is_bound(&w->after, seen->uid, seen->mark) ||
        may_leave_by(&w->after, seen->uid, seen->ifindex, &seen->dst))
        return false;
    /* what a connection sends again by itself may have left before the last op */
    return seen->when >= w->arrived ||
           (is_bound(&w->before, seen->uid, seen->mark) &&
            !may_leave_by(&w->before, seen->uid, seen->ifindex, &seen->dst));
}

static void judge(struct walk *w, const struct seen *seen)
{
    struct totals *t = &w->test->totals;

    t->packets++;
    t->by_kind[seen->kind]++;
    t->bound_by_kind[seen->kind] += is_bound(&w->after, seen->uid, seen->mark);
    if (!is_leak(w, seen))
        return;
    if (!w->guard && !rules_suffice(w, seen))
        t->guard_needed++;
    else if (t->leaks++ < 10)
        printf("LEAK: uid %u, %s, IPv%d, mark 0x%x, left by link %u (interface %d) after op %zu of "
               "%zu%s\n",
               seen->uid, send_kind_to_string(seen->kind), seen->family == AF_INET ? 4 : 6,
               seen->mark, seen->link, seen->ifindex, w->done, w->n_ops,
               w->guard ? "" : ", no guard");
}

static void look(struct walk *w)
{
    struct seen seen;

    senders_round(&w->test->senders);
    w->test->totals.rounds++;
    while (senders_next(&w->test->senders, &seen))
        if (seen.when >= w->since)
            judge(w, &seen);
}

/* The applier, with a look at the wires after each op. */
static int apply_and_look(void *data, const struct op *op, struct why *why)
{
    struct walk *w = data;
    int r = applier_apply(&w->test->applier, op, why);

    if (r >= 0 && w->watching) {
        w->done++;
        w->test->totals.ops++;
        if (w->done == w->n_ops)
            w->arrived = senders_now();
        look(w);
    }
    return r;
}

/* Runs the ops; false when the kernel refuses a route (all is undone then). */
static bool run(struct walk *w, const struct ops *ops, bool watching)
{
    struct transaction_result result;
    struct why why = { 0 };

    w->watching = watching;
    w->n_ops = ops->n;
    w->done = 0;
    if (transaction_run(ops, apply_and_look, w, &result, &why) == 0)
        return true;
    if (result.undo_failed || (ops->items[result.failed].kind != OP_ROUTE_ADD &&
                               ops->items[result.failed].kind != OP_ROUTE_REPLACE)) {
        log_error("%s", why.text);
        abort();
    }
    return false;
}

/* From what the kernel shows (and the guard that is known to stand) to a plan. */
static void diff_from_kernel(const struct kernel *k, const struct plan *to,
                             struct plan **ret_stands, struct ops *ret)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    struct rule_list extra = { 0 };

    if (plan_from_kernel(k, unknown, ret_stands, &extra) < 0 ||
        (to && plan_diff(*ret_stands, to, &extra, ret) < 0))
        abort();
    free(extra.items);
}

static void take_away(struct walk *w, struct guard *guard)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty(), *stands = NULL;
    _cleanup_kernel_ struct kernel now = { 0 };
    _cleanup_ops_ struct ops ops = { 0 };

    netns_snapshot(&w->test->observer, &now);
    now.guard = guard_ref(guard);
    diff_from_kernel(&now, empty, &stands, &ops);
    if (!run(w, &ops, false))
        abort();
}

/* A holds: nothing of what was there before may get past it. */
static void watch_a(struct walk *w, const struct model *a, const struct kernel *facts)
{
    struct senders *s = &w->test->senders;

    w->before = w->after = (struct obligations){ a, facts };
    w->n_ops = w->done = 0;
    w->since = w->arrived = senders_now();
    w->test->totals.established[HOLD_BEFORE_CHANGE] += senders_hold(s, HOLD_BEFORE_CHANGE);
    look(w);
}

/* From A to B; false when the kernel refused a route of B's. */
static bool walk_to_b(struct rng *g, struct walk *w, const struct model *a, struct plan *from,
                      const struct kernel *facts_a, const struct kernel *facts_b)
{
    bool happened = facts_b != facts_a;
    _cleanup_(model_freep) struct model *b =
        rng_one_in(g, 3) ? random_model(g, facts_b) : random_neighbour(g, a, facts_b);
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *to = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    bool arrived;

    if (happened)
        diff_from_kernel(facts_b, NULL, &stands, NULL);
    else
        stands = plan_ref(from);
    to = plan_of(b, facts_b, w->guard ? CARRIER_GUARD : CARRIER_RULES, stands);
    if (plan_diff(stands, to, NULL, &ops) < 0)
        abort();
    coverage_note_model(&w->test->totals.coverage, b, facts_b);
    coverage_note_kernel(&w->test->totals.coverage, facts_b);
    coverage_note_ops(&w->test->totals.coverage, &ops);

    w->before = (struct obligations){ a, facts_a };
    w->after = (struct obligations){ b, facts_b };
    w->arrived = ops.n == 0 ? senders_now() : USEC_INFINITY;
    w->n_ops = ops.n;
    w->done = 0;
    look(w);
    arrived = run(w, &ops, true);
    take_away(w, arrived ? to->guard : stands->guard);
    return arrived;
}

/* With the world as it is, then as it is after the event (or with it mended). */
static void one_pair(struct rng *g, struct walk *w, enum event e, unsigned link, bool mend)
{
    struct test *test = w->test;
    _cleanup_kernel_ struct kernel facts_a = { 0 }, facts_b = { 0 };
    _cleanup_(model_freep) struct model *a = NULL;
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty(), *from = NULL;
    _cleanup_ops_ struct ops first = { 0 };
    bool arrived;

    netns_settled_snapshot(&test->observer, &facts_a);
    senders_see_links(&test->senders, &test->world, &facts_a);
    a = random_model(g, &facts_a);
    from = plan_of(a, &facts_a, w->guard ? CARRIER_GUARD : CARRIER_RULES, NULL);
    test->totals.established[HOLD_BEFORE_ALL] += senders_hold(&test->senders, HOLD_BEFORE_ALL);
    if (plan_diff(empty, from, NULL, &first) < 0)
        abort();
    if (!run(w, &first, false)) {
        test->totals.skipped++;
        return;
    }
    watch_a(w, a, &facts_a);
    if (e != EVENT_NONE) {
        if (mend)
            world_undo(&test->world);
        else
            world_do(&test->world, e, link);
        netns_settled_snapshot(&test->observer, &facts_b);
        senders_see_links(&test->senders, &test->world, &facts_b);
        facts_b.guard = guard_ref(from->guard);
        (mend ? test->totals.mended : test->totals.lost)[e]++;
    }
    arrived = walk_to_b(g, w, a, from, &facts_a, e == EVENT_NONE ? &facts_a : &facts_b);
    test->totals.pairs += arrived;
    test->totals.skipped += !arrived;
}

static void one_try(struct rng *g, struct test *test)
{
    struct walk w = { .test = test, .guard = !rng_one_in(g, 4) };
    enum event e = rng_one_in(g, 2) ? EVENT_NONE : (enum event)(1 + rng_below(g, EVENT_MAX - 1));
    unsigned link = rng_below(g, LINKS);
    bool mend = rng_one_in(g, 3);

    if (mend)
        world_do(&test->world, e, link);
    one_pair(g, &w, e, link, mend);
    world_undo(&test->world);
    if (e != EVENT_NONE)
        world_set_up(&test->world);
    senders_release(&test->senders);
}

/* With nothing in the way, what does the capture see? Returns how many kinds it missed. */
static unsigned prove_detector(struct senders *s)
{
    bool seen_kind[SEND_KIND_MAX][2] = { { false } };
    unsigned missed = 0, by_link[LINKS] = { 0 }, held = senders_hold(s, HOLD_BEFORE_ALL);
    struct seen seen;

    senders_round(s);
    while (senders_next(s, &seen)) {
        seen_kind[seen.kind][seen.family == AF_INET6] = true;
        by_link[seen.link]++;
    }
    senders_release(s);
    for (int kind = 0; kind < SEND_KIND_MAX; kind++)
        for (int six = 0; six < 2; six++)
            if (!seen_kind[kind][six] && !(kind == SEND_BROADCAST && six)) {
                printf("the detector does not see: %s, IPv%d\n",
                       send_kind_to_string((enum send_kind)kind), six ? 6 : 4);
                missed++;
            }
    printf("detector: %u connections held; leaks seen with nothing applied, by link:", held);
    for (unsigned i = 0; i < LINKS; i++) {
        printf(" %u", by_link[i]);
        missed += by_link[i] == 0;
    }
    printf("; kinds missed: %u\n", missed);
    return missed;
}

static void allow_ping(void)
{
    FILE *f = fopen("/proc/sys/net/ipv4/ping_group_range", "w");

    if (f) {
        (void)fputs("0 2147483647", f);
        (void)fclose(f);
    }
}

static unsigned report(const struct totals *t)
{
    unsigned never = coverage_print_models(&t->coverage) + coverage_print_ops(&t->coverage) +
                     coverage_print(&t->coverage, "links", COVER_LINK_DOWN, COVER_LINK_NO_CARRIER);

    printf("events:");
    for (enum event e = EVENT_NONE + 1; e < EVENT_MAX; e++) {
        printf("%s %s %lu, mended %lu", e > 1 ? "," : "", event_to_string(e), t->lost[e],
               t->mended[e]);
        never += t->lost[e] == 0 || t->mended[e] == 0;
    }
    printf("\npackets (of them of bound apps):");
    for (int kind = 0; kind < SEND_KIND_MAX; kind++) {
        printf("%s %s %lu (%lu)", kind ? "," : "", send_kind_to_string((enum send_kind)kind),
               t->by_kind[kind], t->bound_by_kind[kind]);
        never += t->by_kind[kind] == 0;
    }
    printf("\nconnections: %lu from before all, %lu from before the change\n",
           t->established[HOLD_BEFORE_ALL], t->established[HOLD_BEFORE_CHANGE]);
    never += t->established[HOLD_BEFORE_ALL] == 0 || t->established[HOLD_BEFORE_CHANGE] == 0;
    printf(
        "no leak, real kernel: %lu pairs (%lu skipped: the kernel refused a route), %lu ops, "
        "%lu rounds, %lu packets captured, %lu leaks; without the guard %lu packets would leak%s\n",
        t->pairs, t->skipped, t->ops, t->rounds, t->packets, t->leaks, t->guard_needed,
        never ? "; a kind was never seen" : "");
    return never;
}

int main(int argc, char **argv)
{
    static const uint32_t uids[] = { 0, 990, 993, 996, 1000, 1005, 1009, 1013 };
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : PAIRS;
    struct rng g = { .state = argc > 2 ? strtoull(argv[2], NULL, 0) : 0xfeed };
    struct test test = { .observer = OBSERVER_INIT, .applier = APPLIER_INIT };
    struct totals *t = &test.totals;
    _cleanup_kernel_ struct kernel facts = { 0 };
    unsigned missed, never;

    setvbuf(stdout, NULL, _IOLBF, 0);
    world_enter(&test.world, LINKS, true);
    allow_ping();
    if (observer_open(&test.observer) < 0 || applier_open(&test.applier) < 0 ||
        !test.applier.has_guard)
        return 1;
    netns_snapshot(&test.observer, &facts);
    senders_start(&test.senders, &test.world, &facts, uids, ELEMENTSOF(uids));
    missed = prove_detector(&test.senders);
    for (unsigned tries = 0; t->pairs < pairs && tries < 3 * pairs; tries++)
        one_try(&g, &test);
    never = report(t);
    senders_stop(&test.senders);
    observer_close(&test.observer);
    applier_close(&test.applier);
    return missed == 0 && t->leaks == 0 && t->guard_needed > 0 && t->pairs >= pairs &&
                   (never == 0 || pairs < PAIRS)
               ? 0
               : 1;
}
