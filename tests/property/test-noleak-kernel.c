/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * No leak, with the real kernel: for random pairs of models A -> B, after every single op that leads
 * from A to B real programs send all kinds of packets, and a capture on every interface sees what
 * leaves. No packet of a bound uid may leave by an interface that neither A nor B allows, nor, at the
 * end, by one that B forbids. One pair in four goes without the guard: then rules alone must hold
 * everything that does not name an interface, and what does name one shows why there is a guard.
 *
 * The detector is proven first: with nothing applied, every kind of packet in both families must be
 * seen leaving, by every link that it can leave by. Arguments: [pairs [seed]].
 */

#include <stdio.h>

#include "apply/applier.h"
#include "basic/log.h"
#include "property/netns.h"
#include "property/obligation.h"
#include "property/random.h"
#include "property/senders.h"

struct totals {
    unsigned long pairs, ops, rounds, packets, leaks, skipped;
    unsigned long guard_needed; /* packets that left because there was no guard */
};

struct walk {
    struct applier *a;
    struct senders *s;
    struct obligations before, after;
    struct totals *t;
    size_t n_ops, done;
    bool watching, guard;
};

/* What rules can hold: docs/rules.md, "What rules cannot do", has the others. */
static bool rules_suffice(enum send_kind kind)
{
    return kind == SEND_UDP || kind == SEND_UDP_CONNECTED || kind == SEND_TCP ||
           kind == SEND_PING || kind == SEND_MARK;
}

static bool is_leak(const struct walk *w, const struct seen *seen, bool last)
{
    if (!is_bound(&w->after, seen->uid, seen->mark) ||
        may_leave_by(&w->after, seen->uid, seen->ifindex))
        return false;
    return last || (is_bound(&w->before, seen->uid, seen->mark) &&
                    !may_leave_by(&w->before, seen->uid, seen->ifindex));
}

static void look(struct walk *w, bool last)
{
    struct seen seen;

    senders_round(w->s);
    w->t->rounds++;
    while (senders_next(w->s, &seen)) {
        w->t->packets++;
        if (!is_leak(w, &seen, last))
            continue;
        if (!w->guard && !rules_suffice(seen.kind))
            w->t->guard_needed++;
        else if (w->t->leaks++ < 10)
            printf("LEAK: uid %u, %s, IPv%d, mark 0x%x, left by interface %d after op %zu of %zu\n",
                   seen.uid, send_kind_to_string(seen.kind), seen.family == AF_INET ? 4 : 6,
                   seen.mark, seen.ifindex, w->done, w->n_ops);
    }
}

/* The applier, with a look at the wires after each op. */
static int apply_and_look(void *data, const struct op *op, struct why *why)
{
    struct walk *w = data;
    int r = applier_apply(w->a, op, why);

    if (r >= 0 && w->watching) {
        w->done++;
        w->t->ops++;
        look(w, w->done == w->n_ops);
    }
    return r;
}

/* From one plan to another; false when the kernel refuses a route (all is undone then). */
static bool go(struct walk *w, const struct plan *from, const struct plan *to, bool watching)
{
    _cleanup_ops_ struct ops ops = { 0 };
    struct transaction_result result;
    struct why why = { 0 };

    if (plan_diff(from, to, NULL, &ops) < 0)
        abort();
    w->watching = watching;
    w->n_ops = ops.n;
    w->done = 0;
    if (transaction_run(&ops, apply_and_look, w, &result, &why) == 0)
        return true;
    if (ops.items[result.failed].kind != OP_ROUTE_ADD || result.undo_failed) {
        log_error("%s", why.text);
        abort();
    }
    return false;
}

static void one_pair(struct rng *g, struct walk *w, const struct kernel *facts)
{
    _cleanup_(model_freep) struct model *a = random_model(g, facts);
    _cleanup_(model_freep) struct model *b =
        rng_one_in(g, 3) ? random_model(g, facts) : random_neighbour(g, a, facts);
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    bool guard = !rng_one_in(g, 4);
    _cleanup_(plan_unrefp) struct plan *from = plan_of(a, facts, guard, NULL);
    _cleanup_(plan_unrefp) struct plan *to = plan_of(b, facts, guard, from);
    bool arrived;

    w->guard = guard;
    if (!go(w, empty, from, false)) {
        w->t->skipped++;
        return;
    }
    obligations_build(&w->before, a, facts);
    obligations_build(&w->after, b, facts);
    arrived = go(w, from, to, true);
    w->t->pairs += arrived;
    w->t->skipped += !arrived;
    obligations_done(&w->before);
    obligations_done(&w->after);
    if (!go(w, arrived ? to : from, empty, false))
        abort();
}

/* With nothing in the way, what does the capture see? Returns how many kinds it missed. */
static unsigned prove_detector(struct senders *s)
{
    bool seen_kind[SEND_KIND_MAX][2] = { { false } };
    unsigned missed = 0, by_link[LINKS_MAX] = { 0 };
    struct seen seen;

    senders_round(s);
    while (senders_next(s, &seen)) {
        seen_kind[seen.kind][seen.family == AF_INET6] = true;
        for (unsigned i = 0; i < s->n_links; i++)
            by_link[i] += s->links[i] == seen.ifindex;
    }
    for (int kind = 0; kind < SEND_KIND_MAX; kind++)
        for (int six = 0; six < 2; six++)
            if (!seen_kind[kind][six] && !(kind == SEND_BROADCAST && six)) {
                printf("the detector does not see: %s, IPv%d\n",
                       send_kind_to_string((enum send_kind)kind), six ? 6 : 4);
                missed++;
            }
    printf("detector: leaks seen with nothing applied, by link:");
    for (unsigned i = 0; i < s->n_links; i++) {
        printf(" %u", by_link[i]);
        missed += by_link[i] == 0;
    }
    printf("; kinds missed: %u\n", missed);
    return missed;
}

static void quieten(void)
{
    netns_ip("link set eth0 arp off\nlink set eth1 arp off\nlink set eth2 arp off\n", false);
    /* IPv6 multicast that names no interface takes the first that has the route: let it be one of
     * those that are watched */
    netns_ip("-6 route del multicast ff00::/8 dev peer0 table local\n"
             "-6 route del multicast ff00::/8 dev peer1 table local\n"
             "-6 route del multicast ff00::/8 dev peer2 table local\n",
             false);
    FILE *f = fopen("/proc/sys/net/ipv4/ping_group_range", "w");
    if (f) {
        (void)fputs("0 2147483647", f);
        (void)fclose(f);
    }
}

int main(int argc, char **argv)
{
    static const uint32_t uids[] = { 0, 990, 993, 996, 1000, 1005, 1009, 1013 };
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : 200;
    struct rng g = { .state = argc > 2 ? strtoull(argv[2], NULL, 0) : 0xfeed };
    _cleanup_kernel_ struct kernel facts = { 0 };
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    struct senders s;
    struct totals t = { 0 };
    struct walk w = { .a = &a, .s = &s, .t = &t };
    unsigned missed;

    setvbuf(stdout, NULL, _IOLBF, 0);
    netns_enter(3);
    quieten();
    if (observer_open(&o) < 0 || applier_open(&a) < 0 || !a.has_guard)
        return 1;
    netns_snapshot(&o, &facts);
    senders_start(&s, &facts, uids, ELEMENTSOF(uids));
    missed = prove_detector(&s);
    for (unsigned tries = 0; t.pairs < pairs && tries < 3 * pairs; tries++)
        one_pair(&g, &w, &facts);
    printf(
        "no leak, real kernel: %lu pairs (%lu skipped: the kernel refused a route), %lu ops, "
        "%lu rounds, %lu packets captured, %lu leaks; without the guard %lu packets would leak\n",
        t.pairs, t.skipped, t.ops, t.rounds, t.packets, t.leaks, t.guard_needed);
    senders_stop(&s);
    observer_close(&o);
    applier_close(&a);
    return missed == 0 && t.leaks == 0 && t.guard_needed > 0 && t.pairs >= pairs ? 0 : 1;
}
