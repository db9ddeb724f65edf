/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/daemon/refusals: which routes are left out, and when they are tried again. */

#include "unit/check.h"

#include <errno.h>

#include "daemon/refusals.h"

static struct rtnl_route route(uint32_t table, int oif, uint8_t host)
{
    const uint8_t to[4] = { 10, 9 }, via[4] = { 10, 0, 0, host };

    return (struct rtnl_route){
        .family = AF_INET,
        .table = table,
        .oif = oif,
        .dst = { .addr = ip_addr_make(AF_INET, to, 4), .len = 16 },
        .gateway = ip_addr_make(AF_INET, via, 4),
    };
}

static int note(struct refusals *r, struct rtnl_route what, int error)
{
    struct refusal one = { .route = what, .error = error };

    return refusals_note(r, &one, 1);
}

/* One attempt: what is left out of its plan. */
static size_t plan(struct refusals *r)
{
    assert_int_equal(refusals_update(r), 0);
    assert_false(r->due);
    return r->left_out ? r->left_out->n : 0;
}

static void test_life(void **state)
{
    struct rtnl_route a = route(1002, 2, 1), b = route(1003, 3, 1), c = route(1003, 3, 2);
    struct refusals r = { 0 };

    (void)state;
    CHECK_INT("nothing", refusals_note(&r, NULL, 0), 0);
    CHECK_INT("nothing", plan(&r), 0);
    CHECK_INT("b", note(&r, b, -ENETUNREACH), 0);
    CHECK_INT("a", note(&r, a, -ENETUNREACH), 0);
    CHECK("another plan", r.due);
    CHECK_INT("both", plan(&r), 2);
    CHECK("known", refusals_know(&r, &a, -ENETUNREACH) && refusals_know(&r, &b, -ENETUNREACH));
    CHECK("not so", !refusals_know(&r, &a, -EINVAL) && !refusals_know(&r, &c, -ENETUNREACH));
    refusals_commit(&r);
    CHECK_INT("they stay", r.n, 2);

    refusals_retry(&r, 7);
    CHECK("another's interface", !r.due);
    refusals_retry(&r, 3);
    CHECK_INT("without b", plan(&r), 1);
    CHECK_INT("refused again", note(&r, b, -ENETUNREACH), 0);
    refusals_commit(&r);
    CHECK_INT("both", plan(&r), 2);

    refusals_retry(&r, 3);
    CHECK_INT("without b", plan(&r), 1);
    CHECK_INT("rolled back: tried once more", plan(&r), 1);
    refusals_retry(&r, 2);
    CHECK_INT("without any", plan(&r), 0);
    CHECK_INT("another way, same key", note(&r, c, -EINVAL), 0);
    refusals_commit(&r);
    CHECK_INT("a was taken", r.n, 1);
    CHECK("c", refusals_know(&r, &c, -EINVAL) && !refusals_know(&r, &b, -ENETUNREACH));
    refusals_retry(&r, 0);
    CHECK_INT("all", plan(&r), 0);
    refusals_commit(&r);
    CHECK_INT("all were taken", r.n, 0);
    refusals_done(&r);
    CHECK_END();
}

/* What may have been an accident is tried once more at once, but only once. */
static void test_again(void **state)
{
    static const int errors[] = { -EEXIST, -ENOENT, -ESRCH, -ENOMEM, -ENOBUFS };
    struct rtnl_route a = route(1002, 2, 1);

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(errors); i++) {
        struct refusals r = { 0 };

        CHECK_INT("once", note(&r, a, errors[i]), 1);
        refusals_commit(&r);
        CHECK_INT("stays", r.n, 1);
        CHECK_INT("tried", plan(&r), 0);
        CHECK_INT("twice", note(&r, a, errors[i]), 0);
        CHECK_INT("left out", plan(&r), 1);
        refusals_done(&r);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_life), cmocka_unit_test(test_again) };

    return RUN_TESTS(tests);
}
