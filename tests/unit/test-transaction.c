/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/apply/transaction: whichever op fails, and however, the state is as it was. The kernel is a
 * simulated one; ops fail on demand.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "apply/transaction.h"
#include "property/random.h"
#include "unit/scene.h"

/* What apply() is to do, and what it did. */
struct fake {
    struct kernel *k;
    size_t calls;
    size_t fail_at;   /* number of the call that fails */
    size_t fail_also; /* another one, while undoing */
    int error;
    bool skip_missing; /* deleting what is not there: 1, as the applier says */
};

enum { NEVER = SIZE_MAX };

static int fake_apply(void *data, const struct op *op, struct why *why)
{
    struct fake *f = data;
    size_t call = f->calls++;
    int r;

    if (call == f->fail_at || call == f->fail_also)
        return why_set(why, f->error, "call %zu fails", call);
    r = op_simulate(op, f->k);
    if (f->skip_missing && (r == -ENOENT || r == -ESRCH))
        return 1;
    return r;
}

static const int errors[] = { -ENOBUFS, -EEXIST, -ENODEV, -ENOMEM };

/* From one scene to another; the plan of the first one stands. */
static void check_failures(const char *row, const struct kernel *facts, const struct plan *from,
                           const struct plan *to)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty();
    _cleanup_ops_ struct ops first = { 0 }, ops = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_free_ char *before = NULL;
    struct fake f = { .k = &k, .fail_at = NEVER, .fail_also = NEVER };

    assert_int_equal(kernel_copy(facts, &k), 0);
    assert_int_equal(plan_diff(empty, from, NULL, &first), 0);
    assert_int_equal(plan_diff(from, to, NULL, &ops), 0);
    CHECK_INT(row, transaction_run(&first, fake_apply, &f, NULL, NULL), 0);
    before = dump_kernel_sorted(&k);

    for (size_t i = 0; i < ops.n; i++) {
        _cleanup_free_ char *after = NULL;
        struct transaction_result result = { 0 };
        struct why why = { 0 };

        f.calls = 0;
        f.fail_at = i;
        f.error = errors[i % ELEMENTSOF(errors)];
        CHECK_INT(row, transaction_run(&ops, fake_apply, &f, &result, &why), f.error);
        CHECK_INT(row, result.failed, i);
        CHECK_INT(row, result.undo_failed, false);
        CHECK_INT(row, why.error, f.error);
        CHECK_INT(row, f.calls, 2 * i + 1);
        after = dump_kernel_sorted(&k);
        CHECK_TEXT(row, after, before);
    }
}

/* Every error at every op, between scenes that have all kinds of ops. */
static void test_rows(void **state)
{
    /* clang-format off */
    static const struct {
        const char *name, *from, *to;
    } rows[] = {
        { "from nothing", "",
          "network home interface eth0\nassign uid:5 home\nassign uid:6 none\n" },
        { "to nothing", "network home interface eth0\nassign uid:5 home\n",
          "unassign uid:5\nremove home\n" },
        { "another network",
          "network a interface eth0\nnetwork b interface eth1\nassign uid:5-9 a\n",
            "assign uid:5-9 b\n" },
        { "a split range", "network a interface eth0\nassign uid:5-9 a\n", "assign uid:7 none\n" },
        { "a default", "network a interface eth0\nnetwork b interface eth1\ndefault a\n",
          "default b\n" },
        { "another route, same key",
          "network a interface eth0\nroute a 10.9.0.0/16 via 10.0.0.1\n",
            "route-remove a 10.9.0.0/16 via 10.0.0.1\nroute a 10.9.0.0/16 via 10.0.0.2\n" },
        { "a VPN", "network v type vpn secure interface eth2\nusers v 5-9\n",
          "set v bypassable exclude-local\nusers v 11\n" },
    };
    /* clang-format on */
    static const int sysctls[SYSCTL_MAX];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct plan *from, *to;
        struct scene s;

        scene_machine(&s);
        scene_run(&s, rows[i].from);
        from = scene_plan(&s, true, NULL);
        memcpy(from->sysctls, sysctls, sizeof(sysctls)); /* so that there are ops of that kind */
        scene_run(&s, rows[i].to);
        to = scene_plan(&s, true, from);
        to->sysctls[SYSCTL_IPV4_FWMARK_REFLECT] = 1;
        for (size_t e = 0; e < ELEMENTSOF(errors); e++)
            check_failures(rows[i].name, &s.k, from, to);
        plan_unref(from);
        plan_unref(to);
        scene_done(&s);
    }
    CHECK_END();
}

static void test_random(void **state)
{
    struct rng g = { .state = 0x74a45 };
    struct scene s;

    (void)state;
    scene_machine(&s);
    for (unsigned i = 0; i < 60; i++) {
        struct model *a = random_model(&g, &s.k), *b = random_neighbour(&g, a, &s.k);
        struct plan *from = plan_of(a, &s.k, true, NULL), *to = plan_of(b, &s.k, true, from);

        check_failures("random", &s.k, from, to);
        plan_unref(from);
        plan_unref(to);
        model_free(a);
        model_free(b);
    }
    scene_done(&s);
    CHECK_END();
}

/* Some ops and the kernel that they begin with. */
static void some_ops(struct scene *s, struct ops *ops)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty(), *p = NULL;

    scene_machine(s);
    scene_run(s, "network home interface eth0\nassign uid:5 home\n");
    p = scene_plan(s, true, NULL);
    assert_int_equal(plan_diff(empty, p, NULL, ops), 0);
    assert_true(ops->n > 10);
}

static void test_success(void **state)
{
    struct transaction_result result = { .failed = 1, .undo_failed = true };
    _cleanup_ops_ struct ops ops = { 0 };
    static const struct ops none;
    _cleanup_scene_ struct scene s;
    struct fake f;

    (void)state;
    some_ops(&s, &ops);
    f = (struct fake){ .k = &s.k, .fail_at = NEVER, .fail_also = NEVER };
    CHECK_INT("all done", transaction_run(&ops, fake_apply, &f, &result, NULL), 0);
    CHECK_INT("all done", result.failed, ops.n);
    CHECK_INT("all done", result.undo_failed, false);
    CHECK_INT("each once", f.calls, ops.n);
    CHECK_INT("nothing", transaction_run(&none, fake_apply, &f, &result, NULL), 0);
    CHECK_INT("nothing", result.failed, 0);
    CHECK_INT("undo nothing", transaction_undo(&none, fake_apply, &f), 0);
    CHECK_END();
}

/* An inverse fails, too: reported, and the others are undone all the same. */
static void test_undo_fails(void **state)
{
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;
    _cleanup_free_ char *before = NULL;

    (void)state;
    some_ops(&s, &ops);
    before = dump_kernel_sorted(&s.k);
    for (size_t i = 1; i < ops.n; i++)
        for (size_t also = i + 1; also <= 2 * i; also++) {
            struct fake f = { .k = &s.k, .fail_at = i, .fail_also = also, .error = -ENOMEM };
            struct transaction_result result = { 0 };
            struct op left = ops.items[2 * i - also];
            _cleanup_free_ char *after = NULL;

            CHECK_INT("error", transaction_run(&ops, fake_apply, &f, &result, NULL), -ENOMEM);
            CHECK_INT("reported", result.undo_failed, true);
            CHECK_INT("reported", result.failed, i);
            CHECK_INT("it went on", f.calls, 2 * i + 1);
            left = op_inverse(&left); /* what is left is that one op */
            CHECK_INT("the one that stayed", op_simulate(&left, &s.k), 0);
            after = dump_kernel_sorted(&s.k);
            CHECK_TEXT("the others went", after, before);
        }
    CHECK_END();
}

/* What was not there to be deleted is not put there by undoing. */
static void test_skipped(void **state)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty(), *p = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_free_ char *before = NULL;
    _cleanup_scene_ struct scene s;
    struct transaction_result result = { 0 };
    struct fake f;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "network home interface eth0\nassign uid:5 home\n");
    p = scene_plan(&s, true, NULL);
    scene_apply(&s, p);
    scene_run(&s, "del-rule 8000\ndel-rule 16000\n"); /* somebody took them away */
    before = dump_kernel_sorted(&s.k);
    assert_int_equal(plan_diff(p, empty, NULL, &ops), 0);
    for (size_t i = 0; i < ops.n; i++) {
        _cleanup_free_ char *after = NULL;

        f = (struct fake){
            .k = &s.k, .fail_at = i, .fail_also = NEVER, .error = -EPERM, .skip_missing = true
        };
        CHECK_INT("error", transaction_run(&ops, fake_apply, &f, &result, NULL), -EPERM);
        CHECK_INT("undone", result.undo_failed, false);
        after = dump_kernel_sorted(&s.k);
        CHECK_TEXT("as before", after, before);
    }
    f = (struct fake){ .k = &s.k, .fail_at = NEVER, .fail_also = NEVER, .skip_missing = true };
    CHECK_INT("success", transaction_run(&ops, fake_apply, &f, &result, NULL), 0);
    CHECK_END();
}

static void test_undo(void **state)
{
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_free_ char *before = NULL, *after = NULL;
    _cleanup_scene_ struct scene s;
    struct fake f;

    (void)state;
    some_ops(&s, &ops);
    before = dump_kernel_sorted(&s.k);
    f = (struct fake){ .k = &s.k, .fail_at = NEVER, .fail_also = NEVER };
    CHECK_INT("there", transaction_run(&ops, fake_apply, &f, NULL, NULL), 0);
    CHECK_INT("and back", transaction_undo(&ops, fake_apply, &f), 0);
    after = dump_kernel_sorted(&s.k);
    CHECK_TEXT("and back", after, before);

    CHECK_INT("there", transaction_run(&ops, fake_apply, &f, NULL, NULL), 0);
    f.calls = 0;
    f.fail_at = 2;
    f.error = -EBUSY;
    CHECK_INT("the first error", transaction_undo(&ops, fake_apply, &f), -EBUSY);
    CHECK_INT("it went on", f.calls, ops.n);
    CHECK_END();
}

/*
 * A guard that nobody knows is never taken back: whatever fails, there is one, and it holds all that
 * the old and the new state ask for.
 */
static void test_unknown_guard(void **state)
{
    _cleanup_(plan_unrefp) struct plan *from = NULL, *to = NULL;
    _cleanup_(guard_unrefp) struct guard *both = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;
    struct fake f;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "network home interface eth0\nassign uid:5 home\nassign uid:6 none\n");
    from = scene_plan(&s, true, NULL);
    scene_apply(&s, from);
    scene_run(&s, "unassign uid:6\nassign uid:7 home\n");
    to = scene_plan(&s, true, from);
    both = guard_overlay(from->guard, to->guard);
    from->guard_unknown = true;
    assert_int_equal(plan_diff(from, to, NULL, &ops), 0);
    assert_true(ops.n > 2 && ops.items[0].kind == OP_GUARD && ops.items[0].guard.from_unknown);

    for (size_t i = 0; i < ops.n; i++) {
        f = (struct fake){ .k = &s.k, .fail_at = i, .fail_also = NEVER, .error = -ENOBUFS };
        CHECK_INT("fails", transaction_run(&ops, fake_apply, &f, NULL, NULL), -ENOBUFS);
        CHECK("as it was, or both", guard_equal(s.k.guard, i == 0 ? from->guard : both));
    }
    f = (struct fake){ .k = &s.k, .fail_at = NEVER, .fail_also = NEVER };
    CHECK_INT("done", transaction_run(&ops, fake_apply, &f, NULL, NULL), 0);
    CHECK("done", guard_equal(s.k.guard, to->guard));
    CHECK_INT("undone", transaction_undo(&ops, fake_apply, &f), 0);
    CHECK("undone", guard_equal(s.k.guard, both));
    ops_done(&ops);

    /* nothing was ever known of it; none is wanted: that one is not put back, either */
    guard_unref(from->guard);
    from->guard = NULL;
    guard_unref(to->guard);
    to->guard = NULL;
    assert_int_equal(plan_diff(from, to, NULL, &ops), 0);
    CHECK_INT("none", transaction_run(&ops, fake_apply, &f, NULL, NULL), 0);
    CHECK("none", !s.k.guard && transaction_undo(&ops, fake_apply, &f) == 0 && !s.k.guard);
    CHECK_END();
}

/* An op that was skipped is not undone later, either. */
static void test_skipped_and_undone(void **state)
{
    _cleanup_(plan_unrefp) struct plan *empty = plan_new_empty(), *p = NULL;
    _cleanup_free_ char *before = NULL, *after = NULL;
    _cleanup_ops_ struct ops ops = { 0 };
    _cleanup_scene_ struct scene s;
    struct fake f;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "network home interface eth0\nassign uid:5 home\n");
    p = scene_plan(&s, true, NULL);
    scene_apply(&s, p);
    scene_run(&s, "del-rule 8000\n");
    before = dump_kernel_sorted(&s.k);
    assert_int_equal(plan_diff(p, empty, NULL, &ops), 0);
    f = (struct fake){ .k = &s.k, .fail_at = NEVER, .fail_also = NEVER, .skip_missing = true };
    CHECK_INT("there", transaction_run(&ops, fake_apply, &f, NULL, NULL), 0);
    CHECK_INT("and back", transaction_undo(&ops, fake_apply, &f), 0);
    after = dump_kernel_sorted(&s.k);
    CHECK_TEXT("as before", after, before);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_random),
        cmocka_unit_test(test_success),       cmocka_unit_test(test_undo_fails),
        cmocka_unit_test(test_skipped),       cmocka_unit_test(test_undo),
        cmocka_unit_test(test_unknown_guard), cmocka_unit_test(test_skipped_and_undone),
    };

    return RUN_TESTS(tests);
}
