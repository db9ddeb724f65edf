/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What planning costs, and how it grows: pure, in memory. For each size: a plan from nothing, the
 * same plan with its predecessor at hand, and one changed assignment (copy of the model, plan, diff).
 * Times are medians over several rounds; the last column divides by the first row's.
 *
 * Then what it costs to verify such plans once they stand, guard and local table included.
 */

#include <errno.h>
#include <linux/fib_rules.h>
#include <stdio.h>

#include "basic/clock.h"
#include "decide/host.h"
#include "model/edit.h"
#include "plan/ops.h"
#include "plan/verify.h"

enum { ROUNDS = 9, MIDDLE = ROUNDS / 2 };

struct size {
    unsigned networks, assignments;
};

static void fail(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

/* n links that are up, each with an address and a default route. */
static void make_kernel(struct kernel *k, unsigned n)
{
    struct rtnl_link lo = { .ifindex = 1,
                            .name = "lo",
                            .flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING };

    (void)kernel_add_link(k, &lo);
    for (unsigned i = 0; i < n; i++) {
        uint8_t net[4] = { 10, (uint8_t)(i >> 8), (uint8_t)i, 0 };
        struct ip_addr subnet = ip_addr_make(AF_INET, net, 4);
        struct rtnl_link link = { .ifindex = (int)i + 2, .flags = IFF_UP | IFF_RUNNING };
        struct rtnl_addr addr = { .ifindex = link.ifindex, .prefix_len = 24 };
        struct rtnl_route route = { .family = AF_INET,
                                    .type = RTN_UNICAST,
                                    .table = RT_TABLE_MAIN,
                                    .scope = RT_SCOPE_LINK,
                                    .oif = link.ifindex };

        snprintf(link.name, sizeof(link.name), "up%u", i);
        net[3] = 2;
        addr.local = ip_addr_make(AF_INET, net, 4);
        route.dst = (struct ip_prefix){ .addr = subnet, .len = 24 };
        (void)kernel_add_link(k, &link);
        (void)kernel_add_addr(k, &addr);
        (void)kernel_add_route(k, &route);
        net[3] = 1;
        route.dst = (struct ip_prefix){ .addr = { .family = AF_INET } };
        route.gateway = ip_addr_make(AF_INET, net, 4);
        route.priority = i;
        (void)kernel_add_route(k, &route);
    }
    if (kernel_sort(k) < 0)
        fail("no memory");
}

static struct assignment make_assignment(const struct model *m, uint32_t uid, unsigned network)
{
    char name[32];
    struct assignment a = {
        .selector = { .kind = SELECTOR_UID, .uid = { uid, uid } },
        .strength = STRENGTH_REQUIRE,
        .origin = ORIGIN_COMMAND,
    };

    snprintf(name, sizeof(name), "up%u", network);
    a.network = model_intern_name(m, rstr_new(name));
    return a;
}

/* Every second uid, so that nothing can be joined: the worst case. */
static struct model *make_model(const struct kernel *k, const struct size *size)
{
    struct model *m = model_new();
    size_t twice;

    if (!m)
        fail("no memory");
    m->host_networks = true;
    if (host_update(m, k) < 0 || m->n_networks != size->networks)
        fail("the host networks are not there");
    for (unsigned i = 0; i < size->assignments; i++) {
        struct assignment a = make_assignment(m, 10000 + 2 * i, i % size->networks);
        if (assignments_push(m->assignments, &a) < 0)
            fail("no memory");
    }
    if (assignments_sort(m->assignments, &twice) < 0)
        fail("assignments");
    return m;
}

static struct plan *make_plan(const struct model *m, const struct kernel *k, bool maps,
                              const struct plan *old)
{
    struct plan_input input = {
        .model = m, .kernel = k, .generation = 1, .guard = true, .maps = maps
    };
    struct plan *p;

    if (plan_build(&input, old, &p) < 0)
        fail("cannot plan");
    return p;
}

static int compare_times(const void *x, const void *y)
{
    const usec_t *a = x, *b = y;
    return CMP(*a, *b);
}

static double median_ms(usec_t *times)
{
    qsort(times, ROUNDS, sizeof(*times), compare_times);
    return (double)times[MIDDLE] / 1000.0;
}

struct figures {
    double full, again, change, diff;
    size_t rules, ops;
};

/* One assignment of the middle goes to another network: copy, edit, plan, diff. */
static void measure_change(const struct model *m, const struct kernel *k, const struct plan *p,
                           const struct size *size, bool maps, unsigned round, usec_t *ret_total,
                           usec_t *ret_diff, size_t *ret_ops)
{
    struct assignment a =
        make_assignment(m, 10000 + 2 * (size->assignments / 2), (round + 7) % size->networks);
    usec_t start = clock_monotonic(), planned;
    struct model *next = model_copy(m);
    struct ops ops = { 0 };
    struct plan *wanted;

    if (!next || edit_assign(next, &a, NULL) < 0)
        fail("cannot assign");
    wanted = make_plan(next, k, maps, p);
    planned = clock_monotonic();
    if (plan_diff(p, wanted, NULL, &ops) < 0)
        fail("cannot diff");
    *ret_total = clock_monotonic() - start;
    *ret_diff = clock_monotonic() - planned;
    *ret_ops = MAX(*ret_ops, ops.n);
    ops_done(&ops);
    plan_unref(wanted);
    model_free(next);
}

static struct figures measure(const struct size *size, bool maps)
{
    usec_t full[ROUNDS], again[ROUNDS], change[ROUNDS], diff[ROUNDS];
    struct kernel k = { 0 };
    struct figures f = { 0 };
    struct model *m;

    make_kernel(&k, size->networks);
    m = make_model(&k, size);
    for (unsigned i = 0; i < ROUNDS; i++) {
        usec_t start = clock_monotonic();
        struct plan *p = make_plan(m, &k, maps, NULL), *q;

        full[i] = clock_monotonic() - start;
        start = clock_monotonic();
        q = make_plan(m, &k, maps, p);
        again[i] = clock_monotonic() - start;
        measure_change(m, &k, p, size, maps, i, &change[i], &diff[i], &f.ops);
        f.rules = plan_count_rules(p);
        plan_unref(p);
        plan_unref(q);
    }
    f.full = median_ms(full);
    f.again = median_ms(again);
    f.change = median_ms(change);
    f.diff = median_ms(diff);
    model_free(m);
    kernel_done(&k);
    return f;
}

/* A rule that only looks a table up, as the kernel's own. */
static void add_lookup(struct kernel *k, unsigned f, uint32_t priority, uint32_t table)
{
    struct rtnl_rule rule = rtnl_rule_empty(family_at(f));

    rule.action = FR_ACT_TO_TBL;
    rule.protocol = RTPROT_KERNEL;
    rule.priority = priority;
    rule.table = table;
    if (kernel_add_rule(k, &rule) < 0)
        fail("no memory");
}

/* What the kernel adds for an address of a /24. */
static void add_local_routes(struct kernel *k)
{
    for (size_t i = 0; i < k->n_addrs; i++) {
        struct rtnl_route route = { .family = AF_INET,
                                    .type = RTN_LOCAL,
                                    .table = RT_TABLE_LOCAL,
                                    .scope = RT_SCOPE_HOST,
                                    .oif = k->addrs[i].ifindex };

        route.dst = (struct ip_prefix){ .addr = k->addrs[i].local, .len = 32 };
        (void)kernel_add_route(k, &route);
        route.type = RTN_BROADCAST;
        route.scope = RT_SCOPE_LINK;
        route.dst.addr.bytes[3] = 255;
        (void)kernel_add_route(k, &route);
    }
}

/* The kernel once the plan is applied. */
static void apply(struct kernel *k, const struct plan *p)
{
    struct rule_list rules = { 0 };

    if (plan_rules(p, &rules) < 0)
        fail("no memory");
    for (unsigned f = 0; f < 2; f++) {
        add_lookup(k, f, 0, RT_TABLE_LOCAL);
        for (size_t i = 0; i < rules.n; i++) {
            struct rtnl_rule rule = plan_rule_to_rtnl(&rules.items[i], family_at(f));
            if (kernel_add_rule(k, &rule) < 0)
                fail("no memory");
        }
        add_lookup(k, f, 32766, RT_TABLE_MAIN);
    }
    free(rules.items);
    add_local_routes(k);
    for (size_t i = 0; i < p->routes->n; i++)
        (void)kernel_add_route(k, &p->routes->items[i]);
    if (kernel_sort(k) < 0)
        fail("no memory");
    k->guard = guard_ref(p->guard);
}

static void measure_verify(const struct size *size)
{
    _cleanup_policy_ struct policy policy = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    struct verify_result v;
    struct model *m;
    struct plan *p;
    usec_t start;

    make_kernel(&k, size->networks);
    m = make_model(&k, size);
    p = make_plan(m, &k, false, NULL);
    apply(&k, p);
    start = clock_monotonic();
    if (policy_build(m, p->targets, &policy) < 0 || verify(p->targets, &policy, &k, &v) < 0)
        fail("no memory");
    if (v.leak || v.gap)
        fail("not proved");
    printf("| %u | %u | %zu | %u | %.1f |\n", size->networks, v.n_segments, k.n_rules[0],
           v.n_groups, (double)(clock_monotonic() - start) / 1000.0);
    plan_unref(p);
    model_free(m);
}

static void bench_verify(void)
{
    static const struct size sizes[] = {
        { 2, 1000 },    { 2, 10000 },    { 2, 100000 },    { 100, 1000 },
        { 100, 10000 }, { 100, 100000 }, { 1000, 100000 },
    };

    printf("\n| networks | segments | rules (×2 families) | groups | verify, ms |\n"
           "|---|---|---|---|---|\n");
    for (size_t i = 0; i < ELEMENTSOF(sizes); i++)
        measure_verify(&sizes[i]);
}

static void bench_plan(bool maps)
{
    static const struct size sizes[] = {
        { 10, 10 },      { 100, 200 },    { 100, 2000 },    { 1000, 1000 },
        { 1000, 10000 }, { 1000, 30000 }, { 1000, 100000 },
    };
    double first = 0;

    printf("| networks | assignments | rules (×2 families) | plan, ms | again, ms | one change: "
           "all, ms "
           "| its diff, ms | its ops | plan ÷ first |\n|---|---|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < ELEMENTSOF(sizes); i++) {
        struct figures f = measure(&sizes[i], maps);

        if (i == 0)
            first = f.full;
        printf("| %u | %u | %zu | %.2f | %.2f | %.2f | %.2f | %zu | %.0f |\n", sizes[i].networks,
               sizes[i].assignments, f.rules, f.full, f.again, f.change, f.diff, f.ops,
               f.full / first);
    }
}

int main(void)
{
    bench_plan(false);
    printf("\nBack-end maps:\n\n");
    bench_plan(true);
    bench_verify();
    return 0;
}
