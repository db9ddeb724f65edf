/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/plan, src/plan/ops: plans of thousands of random models, one after the other. A plan
 * that takes over chunks of its predecessor is the plan that is built from nothing; the ops between
 * two plans lead from the one to the other, and their inverses back; they cost what differs.
 */

#include "unit/check.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <stdio.h>

#include "plan/ops.h"
#include "property/random.h"
#include "unit/scene.h"

enum { ROUNDS = 3000, MANY = 20000 };

static struct plan *build(const struct scene *s, const struct model *m, uint64_t generation,
                          bool guard, const struct plan *previous)
{
    struct plan_input input = { .model = m,
                                .kernel = &s->k,
                                .generation = generation,
                                .guard = guard,
                                .sysctl = { true, true, false } };
    struct plan *p = NULL;

    assert_int_equal(plan_build(&input, previous, &p), 0);
    return p;
}

/* Byte by byte: more than the printed form, which leaves things out. */
static void check_same(const char *row, const struct plan *a, const struct plan *b)
{
    _cleanup_strbuf_ struct strbuf text_a = STRBUF_INIT, text_b = STRBUF_INIT;
    struct rule_list rules_a = { 0 }, rules_b = { 0 };

    assert_int_equal(plan_print(a, NULL, &text_a), 0);
    assert_int_equal(plan_print(b, NULL, &text_b), 0);
    CHECK_TEXT(row, strbuf_text(&text_a), strbuf_text(&text_b));
    assert_int_equal(plan_rules(a, &rules_a), 0);
    assert_int_equal(plan_rules(b, &rules_b), 0);
    if (CHECK_INT(row, rules_a.n, rules_b.n) && rules_a.n > 0)
        CHECK(row, memcmp(rules_a.items, rules_b.items, rules_a.n * sizeof(*rules_a.items)) == 0);
    if (CHECK_INT(row, a->routes->n, b->routes->n))
        for (size_t i = 0; i < a->routes->n; i++)
            CHECK(row, plan_route_equal(&a->routes->items[i], &b->routes->items[i]));
    CHECK(row, guard_equal(a->guard, b->guard));
    CHECK(row, memcmp(a->sysctls, b->sysctls, sizeof(a->sysctls)) == 0);
    free(rules_a.items);
    free(rules_b.items);
}

static void check_no_duplicates(const struct plan *p)
{
    struct rule_list rules = { 0 };

    assert_int_equal(plan_rules(p, &rules), 0);
    CHECK_INT("count", rules.n, plan_count_rules(p));
    for (size_t i = 1; i < rules.n; i++)
        CHECK("no rule twice", plan_rule_compare(&rules.items[i - 1], &rules.items[i]) < 0);
    for (size_t i = 1; i < p->routes->n; i++)
        CHECK("no key twice",
              plan_route_compare(&p->routes->items[i - 1], &p->routes->items[i]) < 0);
    free(rules.items);
}

static void check_no_ops(const char *row, const struct plan *a, const struct plan *b)
{
    _cleanup_ops_ struct ops ops = { 0 };

    assert_int_equal(plan_diff(a, b, NULL, &ops), 0);
    CHECK_INT(row, ops.n, 0);
}

/* The kernel's facts change now and then: an interface goes down, one gets another route. */
static void change_facts(struct rng *g, struct scene *s)
{
    char line[96];

    if (rng_one_in(g, 2)) {
        s->k.links[1 + rng_below(g, 4)].flags ^= rng_one_in(g, 2) ? IFF_RUNNING : IFF_UP;
        return;
    }
    snprintf(line, sizeof(line), "iproute 10.%u.0.0/16 via 10.0.0.%u dev eth%u metric %u",
             rng_below(g, 4), 1 + rng_below(g, 9), rng_below(g, 4), rng_below(g, 3));
    scene_run(s, line);
}

static void test_successive(void **state)
{
    struct rng g = { .state = 0x91a4 };
    struct plan *previous = NULL;
    struct model *m = NULL;
    uint64_t generation = 1;
    struct scene s;

    (void)state;
    scene_machine(&s);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct model *next =
            m && !rng_one_in(&g, 10) ? random_neighbour(&g, m, &s.k) : random_model(&g, &s.k);
        bool guard = !rng_one_in(&g, 5);
        struct plan *fresh, *quick;

        if (rng_one_in(&g, 8)) {
            change_facts(&g, &s);
            generation++;
        }
        if (i % 500 == 0) { /* routes would only ever become more */
            scene_done(&s);
            scene_machine(&s);
            generation++;
        }
        fresh = build(&s, next, generation, guard, NULL);
        quick = build(&s, next, generation, guard, previous);
        check_same("with and without predecessor", quick, fresh);
        check_no_duplicates(fresh);
        check_no_ops("with and without predecessor", quick, fresh);
        check_no_ops("the same plan", quick, quick);
        plan_unref(fresh);
        plan_unref(previous);
        model_free(m);
        previous = quick;
        m = next;
    }
    plan_unref(previous);
    model_free(m);
    scene_done(&s);
    CHECK_END();
}

/* Ops. */

static void check_order(const struct ops *ops)
{
    for (size_t i = 1; i < ops->n; i++)
        CHECK("phases ascend", ops->items[i - 1].phase <= ops->items[i].phase);
    for (size_t i = 0; i < ops->n; i++) {
        const struct op *op = &ops->items[i];
        struct op inverse = op_inverse(op), twice = op_inverse(&inverse);

        CHECK("the inverse of the inverse", memcmp(op, &twice, sizeof(*op)) == 0);
        CHECK("the inverse is another", inverse.kind != op->kind || op->kind == OP_ROUTE_REPLACE ||
                                            op->kind == OP_GUARD || op->kind == OP_SYSCTL);
        CHECK("one family", (op->kind != OP_RULE_ADD && op->kind != OP_RULE_DELETE) ||
                                op->rule.families == 1 || op->rule.families == 2);
    }
}

static bool do_op(struct kernel *k, const struct op *op)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    int r = op_simulate(op, k);

    if (r < 0)
        op_print(op, k, &b);
    return CHECK_INT(strbuf_text(&b), r, 0);
}

/* There, and back again. */
static void check_walk(struct kernel *k, const struct plan *from, const struct plan *to)
{
    _cleanup_free_ char *before = dump_kernel_sorted(k), *back = NULL;
    _cleanup_(plan_unrefp) struct plan *stands = NULL;
    _cleanup_ops_ struct ops ops = { 0 };

    assert_int_equal(plan_diff(from, to, NULL, &ops), 0);
    check_order(&ops);
    for (size_t i = 0; i < ops.n; i++)
        (void)do_op(k, &ops.items[i]);
    assert_int_equal(plan_from_kernel(k, to->sysctls, &stands, NULL), 0);
    check_no_ops("what stands is what was wanted", stands, to);
    check_no_ops("and the other way round", to, stands);

    for (size_t i = ops.n; i-- > 0;) {
        struct op inverse = op_inverse(&ops.items[i]);
        (void)do_op(k, &inverse);
    }
    back = dump_kernel_sorted(k);
    CHECK_TEXT("the way back", back, before);
    for (size_t i = 0; i < ops.n; i++)
        (void)do_op(k, &ops.items[i]);
}

static void test_walks(void **state)
{
    struct rng g = { .state = 0x0b5 };
    struct plan *stands = plan_new_empty();
    struct kernel k = { 0 };
    struct model *m = NULL;
    struct scene s;

    (void)state;
    scene_machine(&s);
    assert_int_equal(kernel_copy(&s.k, &k), 0);
    for (unsigned i = 0; i < ROUNDS / 3; i++) {
        struct model *next =
            m && !rng_one_in(&g, 4) ? random_neighbour(&g, m, &s.k) : random_model(&g, &s.k);
        struct plan *wanted = build(&s, next, 1, !rng_one_in(&g, 5), stands);

        check_walk(&k, stands, wanted);
        plan_unref(stands);
        model_free(m);
        stands = wanted;
        m = next;
    }
    plan_unref(stands);
    model_free(m);
    kernel_done(&k);
    scene_done(&s);
    CHECK_END();
}

/* Errors of op_simulate(), which tests of rollback rely on. */
static void test_simulate_errors(void **state)
{
    struct op rule = {
        .kind = OP_RULE_ADD,
        .rule = { .priority = 9, .families = 1, .action = FR_ACT_PROHIBIT, .uid = { 1, 1 } }
    };
    struct op route = { .kind = OP_ROUTE_ADD,
                        .route = { .family = AF_INET,
                                   .type = RTN_UNREACHABLE,
                                   .table = 9,
                                   .protocol = RTPROT_WAYMARK,
                                   .dst = { .addr = { .family = AF_INET } } } };
    struct op replace = { .kind = OP_ROUTE_REPLACE, .replace = { route.route, route.route } };
    struct op inverse;
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    CHECK_INT("replace what is not there", op_simulate(&replace, &s.k), -ESRCH);
    CHECK_INT("add", op_simulate(&rule, &s.k), 0);
    CHECK_INT("add again", op_simulate(&rule, &s.k), -EEXIST);
    CHECK_INT("add", op_simulate(&route, &s.k), 0);
    CHECK_INT("add again", op_simulate(&route, &s.k), -EEXIST);
    CHECK_INT("replace", op_simulate(&replace, &s.k), 0);
    inverse = op_inverse(&rule);
    CHECK_INT("delete", op_simulate(&inverse, &s.k), 0);
    CHECK_INT("delete again", op_simulate(&inverse, &s.k), -ENOENT);
    inverse = op_inverse(&route);
    CHECK_INT("delete", op_simulate(&inverse, &s.k), 0);
    CHECK_INT("delete again", op_simulate(&inverse, &s.k), -ESRCH);
    CHECK_END();
}

/* Surplus copies of our rules: counted, and deleted one by one. */
static void test_surplus(void **state)
{
    static const int sysctls[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL;
    struct rule_list extra = { 0 };
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(&s, "iprule4 9000 proto 119 uidrange 5 prohibit\n"
                  "iprule4 9000 proto 119 uidrange 5 prohibit\n"
                  "iprule4 9000 proto 119 uidrange 5 prohibit\n"
                  "iprule6 9000 proto 119 uidrange 5 prohibit\n"
                  "iprule4 8000 proto 119 uidrange 5 lookup 1002\n"
                  "iprule 9000 uidrange 5 prohibit\n");
    assert_int_equal(plan_from_kernel(&s.k, sysctls, &stands, &extra), 0);
    CHECK_INT("ours", plan_count_rules(stands), 2);
    CHECK_INT("surplus", extra.n, 2);
    assert_int_equal(plan_diff(stands, stands, &extra, &ops), 0);
    CHECK_INT("deleted", ops.n, 2);
    for (size_t i = 0; i < ops.n; i++) {
        CHECK_INT("deleted", ops.items[i].kind, OP_RULE_DELETE);
        CHECK_INT("of IPv4", ops.items[i].rule.families, 1);
        (void)do_op(&s.k, &ops.items[i]);
    }
    CHECK_INT("what is left: ours, foreign, the kernel's", s.k.n_rules[0], 2 + 1 + 3);
    free(extra.items);
    CHECK_END();
}

/* Only what is half there is added. */
static void test_one_family(void **state)
{
    static const int sysctls[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *wanted = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(&s, "assign uid:5 none\n");
    wanted = scene_plan(&s, false, NULL);
    scene_run(&s, "iprule6 9000 proto 119 iif lo uidrange 5 prohibit\n"
                  "iprule 32000 proto 119 iif lo fwmark 0x10000/0x30000 unreachable\n"
                  "iprule6 32000 proto 119 iif lo fwmark 0x10000/0x30000 unreachable\n");
    assert_int_equal(plan_from_kernel(&s.k, sysctls, &stands, NULL), 0);
    assert_int_equal(plan_diff(stands, wanted, NULL, &ops), 0);
    CHECK_INT("one op", ops.n, 1);
    CHECK("of IPv4",
          ops.n == 1 && ops.items[0].kind == OP_RULE_ADD && ops.items[0].rule.families == 1);
    CHECK_END();
}

/* Many assignments, one change: as many ops as the change is large, and few new chunks. */
static void fill(struct scene *s)
{
    for (uint32_t i = 0; i < MANY; i++) {
        struct assignment a = {
            .selector = { .kind = SELECTOR_UID, .uid = { 10000 + 2 * i, 10000 + 2 * i } },
            .strength = i % 3 ? STRENGTH_REQUIRE : STRENGTH_PREFER,
            .origin = ORIGIN_COMMAND,
        };

        a.network = model_intern_name(s->m, rstr_new(i % 2 ? "home" : "work"));
        assert_int_equal(assignments_push(s->m->assignments, &a), 0);
    }
}

static size_t count_new_chunks(const struct plan *a, const struct plan *b)
{
    size_t n = 0;

    for (int stream = 0; stream < STREAM_MAX; stream++)
        for (size_t i = 0; i < b->streams[stream].n; i++) {
            bool shared = false;

            for (size_t j = 0; j < a->streams[stream].n && !shared; j++)
                shared = a->streams[stream].items[j] == b->streams[stream].items[i];
            n += !shared;
        }
    return n;
}

static void test_cost(void **state)
{
    enum { FEW = 20 }; /* two families, at most two segments cut and two made, the guard */
    static const char *const changes[] = {
        "assign uid:10001 home",      "assign uid:10003 home prefer", "unassign uid:20002",
        "assign uid:30000 none",      "assign uid:10001 work",        "assign uid:5-9999 none",
        "assign uid:4294967294 none", "assign uid:60000-60001 home",  "unassign uid:60000-60001",
    };
    struct plan *stands;
    struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(
        &s, "link 2 eth0\nlink 3 eth1\nnetwork home interface eth0\nnetwork work interface eth1\n");
    fill(&s);
    stands = scene_plan(&s, true, NULL);
    CHECK("many", plan_count_rules(stands) > MANY);
    for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
        _cleanup_ops_ struct ops ops = { 0 };
        struct plan *wanted;

        scene_run(&s, changes[i]);
        wanted = scene_plan(&s, true, stands);
        assert_int_equal(plan_diff(stands, wanted, NULL, &ops), 0);
        CHECK(changes[i], ops.n > 0 && ops.n <= FEW);
        CHECK(changes[i], count_new_chunks(stands, wanted) <= 6);
        plan_unref(stands);
        stands = wanted;
    }
    plan_unref(stands);
    scene_done(&s);
    CHECK_END();
}

/* Rejected routes stay out; sysctls are wanted only where guard and kernel have them. */
static void test_rejected_and_sysctls(void **state)
{
    struct route_set *rejected = route_set_new();
    struct plan_input input = { .generation = 1, .guard = true, .sysctl = { true, false, true } };
    _cleanup_(plan_unrefp) struct plan *all = NULL, *less = NULL, *again = NULL, *empty = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "network home interface eth0\nnetwork work interface eth1\n");
    input.model = s.m;
    input.kernel = &s.k;
    assert_int_equal(plan_build(&input, NULL, &all), 0);
    for (size_t i = 0; i < all->routes->n; i += 2)
        assert_int_equal(route_set_add(rejected, &all->routes->items[i]), 0);
    route_set_sort(rejected);
    input.rejected = rejected;
    assert_int_equal(plan_build(&input, all, &less), 0);
    CHECK_INT("left out", less->routes->n, all->routes->n - rejected->n);
    for (size_t i = 0; i < less->routes->n; i++)
        CHECK("left out", !route_set_contains(rejected, &less->routes->items[i]));
    input.rejected = NULL;
    assert_int_equal(plan_build(&input, less, &again), 0);
    check_same("back in", again, all);

    CHECK_INT("wanted", all->sysctls[SYSCTL_IPV4_FWMARK_REFLECT], 1);
    CHECK_INT("not there", all->sysctls[SYSCTL_IPV6_FWMARK_REFLECT], -1);
    empty = plan_new_empty();
    assert_int_equal(plan_diff(empty, all, NULL, &ops), 0);
    CHECK("first of all", ops.n > 2 && ops.items[0].kind == OP_SYSCTL &&
                              ops.items[1].kind == OP_SYSCTL && ops.items[2].kind != OP_SYSCTL);
    for (int i = 0; i < SYSCTL_MAX; i++)
        CHECK("paths", plan_sysctl_path(i)[0] == 'n');
    route_set_unref(rejected);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_successive),           cmocka_unit_test(test_walks),
        cmocka_unit_test(test_simulate_errors),      cmocka_unit_test(test_surplus),
        cmocka_unit_test(test_one_family),           cmocka_unit_test(test_cost),
        cmocka_unit_test(test_rejected_and_sysctls),
    };

    return RUN_TESTS(tests);
}
