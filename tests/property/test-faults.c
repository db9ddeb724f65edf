/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * All or nothing, with the real kernel: on the way from a random model A to a random B, every op is
 * made to fail in turn, with each of the errors that netlink is known to give; afterwards rules,
 * routes and nftables must be what they were, those of others byte for byte. Then the same way is
 * gone without a fault, and back. Arguments: [pairs [seed]].
 */

#include <errno.h>
#include <stdio.h>

#include "apply/applier.h"
#include "basic/log.h"
#include "property/coverage.h"
#include "property/netns.h"
#include "property/random.h"

enum { PAIRS = 40 };

struct faulty {
    struct applier *a;
    size_t fail_at; /* number of the call that fails; SIZE_MAX = none */
    int error;
    size_t calls;
};

static int faulty_apply(void *data, const struct op *op, struct why *why)
{
    struct faulty *f = data;

    if (f->calls++ == f->fail_at)
        return why_set(why, f->error, "made to fail");
    return applier_apply(f->a, op, why);
}

/* The kernel's state as one text, in the kernel's own order for others, sorted for ours. */
struct picture {
    struct strbuf foreign;
    struct strbuf ours;
    struct strbuf nft;
};

static void picture_done(struct picture *p)
{
    strbuf_done(&p->foreign);
    strbuf_done(&p->ours);
    strbuf_done(&p->nft);
}

enum { NFT_BLOCKS_MAX = 64 };

static int compare_blocks(const void *x, const void *y)
{
    const struct strbuf *a = x, *b = y;
    return strcmp(strbuf_text((struct strbuf *)a), strbuf_text((struct strbuf *)b));
}

/*
 * The chains and maps of a table one by one: a chain that goes and comes again stands behind the
 * others, which means nothing. `line` is what begins the first of them.
 */
static void add_sorted_blocks(FILE *f, char *line, int size, struct strbuf *b)
{
    struct strbuf blocks[NFT_BLOCKS_MAX] = { STRBUF_INIT };
    size_t n = 0;

    do {
        if (line[0] == '\t' && line[1] != '\t' && line[1] != '}' && n + 1 < NFT_BLOCKS_MAX)
            blocks[n++] = (struct strbuf)STRBUF_INIT;
        if (line[0] != '\n' && n > 0)
            strbuf_add(&blocks[n - 1], "%s", line);
    } while (fgets(line, size, f) && line[0] != '}');
    qsort(blocks, n, sizeof(blocks[0]), compare_blocks);
    for (size_t i = 0; i < n; i++) {
        strbuf_add(b, "%s", strbuf_text(&blocks[i]));
        strbuf_done(&blocks[i]);
    }
    strbuf_add(b, "%s", line);
}

static void add_nft(struct strbuf *b)
{
    FILE *f = popen("nft list ruleset 2>/dev/null", "r");
    char line[8192];
    bool ours = false;

    while (f && fgets(line, sizeof(line), f)) {
        ours |= startswith(line, "table inet waymark ");
        if (ours && line[0] == '\t')
            add_sorted_blocks(f, line, sizeof(line), b);
        else
            strbuf_add(b, "%s", line);
        ours &= line[0] != '}';
    }
    if (f)
        (void)pclose(f);
}

static void picture_take(struct observer *o, struct picture *p)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_(plan_unrefp) struct plan *ours = NULL;
    struct rule_list extra = { 0 };

    netns_snapshot(o, &k);
    for (unsigned f = 0; f < 2; f++) {
        for (size_t i = 0; i < k.n_rules[f]; i++)
            if (k.rules[f][i].protocol != RTPROT_WAYMARK)
                strbuf_add_bytes(&p->foreign, &k.rules[f][i], sizeof(k.rules[f][i]));
        for (size_t i = 0; i < k.n_routes[f]; i++)
            if (k.routes[f][i].protocol != RTPROT_WAYMARK)
                strbuf_add_bytes(&p->foreign, &k.routes[f][i], sizeof(k.routes[f][i]));
    }
    if (plan_from_kernel(&k, unknown, &ours, &extra) < 0 || plan_print(ours, &k, &p->ours) < 0)
        abort();
    strbuf_add(&p->ours, "%zu surplus copies\n", extra.n);
    free(extra.items);
    add_nft(&p->nft);
}

static bool same_text(const struct strbuf *a, const struct strbuf *b, const char *what)
{
    if (a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0))
        return true;
    printf("DIFFERENT: %s\n--- before\n%s\n--- after\n%s\n", what,
           streq(what, "foreign") ? "(binary)" : strbuf_text(a),
           streq(what, "foreign") ? "(binary)" : strbuf_text(b));
    return false;
}

static bool same_picture(const struct picture *a, const struct picture *b)
{
    return same_text(&a->foreign, &b->foreign, "foreign") &&
           same_text(&a->ours, &b->ours, "ours") && same_text(&a->nft, &b->nft, "nft");
}

struct totals {
    unsigned long pairs, ops, faults, bad, skipped;
    struct coverage coverage;
};

static int run(struct faulty *f, const struct ops *ops, size_t fail_at, int error)
{
    struct why why = { 0 };

    f->fail_at = fail_at;
    f->error = error;
    f->calls = 0;
    return transaction_run(ops, faulty_apply, f, NULL, &why);
}

static void fail_everywhere(struct faulty *f, struct observer *o, const struct ops *ops,
                            struct totals *t)
{
    static const int errors[] = { -ENOBUFS, -EEXIST, -ENODEV, -ENOMEM };
    struct picture before = { 0 };

    picture_take(o, &before);
    for (size_t i = 0; i < ops->n; i++)
        for (size_t e = 0; e < ELEMENTSOF(errors); e++) {
            struct picture after = { 0 };
            int r = run(f, ops, i, errors[e]);

            picture_take(o, &after);
            t->faults++;
            if (r != errors[e] || !same_picture(&before, &after)) {
                _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

                op_print(&ops->items[i], NULL, &b);
                if (t->bad++ < 3)
                    printf("op %zu of %zu (%s) failing with %s: returned %d\n", i, ops->n,
                           strbuf_text(&b), strerror(-errors[e]), r);
            }
            picture_done(&after);
        }
    picture_done(&before);
}

/* Can this way be gone at all? The kernel may refuse a route. There and back again, if so. */
static bool can_go(struct faulty *f, struct observer *o, const struct ops *ops, struct totals *t)
{
    struct picture before = { 0 }, after = { 0 };
    bool went;

    picture_take(o, &before);
    went = run(f, ops, SIZE_MAX, 0) == 0;
    if (went && transaction_undo(ops, applier_apply, f->a) < 0)
        abort();
    picture_take(o, &after);
    t->bad += !same_picture(&before, &after);
    picture_done(&before);
    picture_done(&after);
    return went;
}

static void diff(const struct plan *from, const struct plan *to, struct ops *ops)
{
    if (plan_diff(from, to, NULL, ops) < 0)
        abort();
}

static void one_pair(struct rng *g, struct faulty *f, struct observer *o,
                     const struct kernel *facts, struct totals *t)
{
    _cleanup_(model_freep) struct model *a = random_model(g, facts);
    _cleanup_(model_freep) struct model *b = random_neighbour(g, a, facts);
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    _cleanup_(plan_unrefp) struct plan *from = plan_of(a, facts, CARRIER_GUARD, NULL);
    _cleanup_(plan_unrefp) struct plan *to = plan_of(b, facts, CARRIER_GUARD, from);
    _cleanup_ops_ struct ops there = { 0 }, on = { 0 }, back = { 0 }, from_b = { 0 };

    diff(empty, from, &there);
    diff(from, to, &on);
    diff(from, empty, &back);
    diff(to, empty, &from_b);
    if (on.n == 0)
        return;
    if (run(f, &there, SIZE_MAX, 0) < 0) {
        t->skipped++;
        return;
    }
    if (!can_go(f, o, &on, t)) {
        t->skipped++;
        if (run(f, &back, SIZE_MAX, 0) < 0)
            abort();
        return;
    }
    coverage_note_model(&t->coverage, b, facts);
    coverage_note_ops(&t->coverage, &on);
    fail_everywhere(f, o, &on, t);
    t->pairs++;
    t->ops += on.n;
    /* after all those faults the way is as open as before */
    if (run(f, &on, SIZE_MAX, 0) < 0 || run(f, &from_b, SIZE_MAX, 0) < 0)
        abort();
}

/* Rules, tables and nftables of others, which nothing of this may touch. */
static void add_others(void)
{
    netns_ip("rule add prio 5210 fwmark 0x80000/0xff0000 lookup main\n"
             "rule add prio 9000 from 10.0.9.0/24 lookup 52\n"
             "rule add prio 32764 uidrange 1000-1010 lookup 52\n"
             "route add 10.9.0.0/16 dev eth1 table 52\n"
             "route add 10.9.9.0/24 via 10.0.1.1 table 1003\n"
             "-6 rule add prio 5210 fwmark 0x80000/0xff0000 lookup main\n"
             "-6 route add fd09::/16 dev eth1 table 52\n",
             false);
    if (system("nft 'table inet other { chain c { type filter hook output priority 0; "
               "meta mark 0x1 counter; }; }'") != 0)
        abort();
}

int main(int argc, char **argv)
{
    unsigned pairs = argc > 1 ? (unsigned)atoi(argv[1]) : PAIRS;
    struct rng g = { .state = argc > 2 ? strtoull(argv[2], NULL, 0) : 0xfa17 };
    _cleanup_kernel_ struct kernel facts = { 0 };
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    struct faulty f = { .a = &a };
    struct totals t = { 0 };
    unsigned never;

    netns_enter(3);
    add_others();
    if (observer_open(&o) < 0 || applier_open(&a) < 0)
        return 1;
    netns_snapshot(&o, &facts);
    for (unsigned tries = 0; t.pairs < pairs && tries < 4 * pairs; tries++)
        one_pair(&g, &f, &o, &facts, &t);
    (void)coverage_print_models(&t.coverage);
    never = coverage_print_ops(&t.coverage);
    printf("faults: %lu pairs (%lu skipped: the kernel refused a route), %lu ops, %lu faults, %lu "
           "times the state was not as before%s\n",
           t.pairs, t.skipped, t.ops, t.faults, t.bad,
           never ? "; a kind of op was never seen" : "");
    observer_close(&o);
    applier_close(&a);
    return t.bad == 0 && t.pairs >= pairs && (never == 0 || pairs < PAIRS) ? 0 : 1;
}
