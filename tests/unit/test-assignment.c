/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/model/assignment: the table, against a list that is searched from end to end. */

#include "unit/check.h"

#include <errno.h>

#include "model/assignment.h"
#include "property/random.h"

/* Selectors uid:0 … uid:39, and what they are assigned to in the slow table: 0 = nothing. */
enum { KEYS = 40, STEPS = 20000 };

static struct assignment make(uint32_t key, uint32_t value)
{
    return (struct assignment){
        .selector = { .kind = SELECTOR_UID, .uid = { key, key } },
        .line = value,
        .network = rstr_new("home"),
    };
}

static void check_table(const struct assignments *a, const uint32_t *slow)
{
    size_t n = 0;

    for (uint32_t key = 0; key < KEYS; key++) {
        struct selector s = { .kind = SELECTOR_UID, .uid = { key, key } };
        ssize_t i = assignments_find(a, &s);

        n += slow[key] != 0;
        CHECK_INT("there", i >= 0, slow[key] != 0);
        if (i >= 0)
            CHECK_INT("the right one", a->items[i].line, slow[key]);
        else
            CHECK_INT("not there", i, -ENOENT);
    }
    CHECK_INT("no others", a->n, n);
    for (size_t i = 1; i < a->n; i++)
        CHECK("sorted", selector_compare(&a->items[i - 1].selector, &a->items[i].selector) < 0);
}

static void test_random(void **state)
{
    struct rng g = { .state = 0xa551 };
    struct assignments *a = assignments_new();
    uint32_t slow[KEYS] = { 0 };

    (void)state;
    for (uint32_t step = 1; step <= STEPS; step++) {
        uint32_t key = rng_below(&g, KEYS);
        struct selector s = { .kind = SELECTOR_UID, .uid = { key, key } };
        ssize_t i = assignments_find(a, &s);
        struct assignment add = make(key, step);

        if (i >= 0 && rng_one_in(&g, 2)) {
            assignments_remove(a, (size_t)i);
            assignment_done(&add);
            slow[key] = 0;
        } else {
            CHECK_INT("put", assignments_put(a, &add), 0);
            CHECK("taken over", add.network == NULL);
            slow[key] = step;
        }
        if (step % 100 == 0)
            check_table(a, slow);
    }
    assignments_unref(a);
    CHECK_END();
}

/* Pushed in any order, sorted once; a selector twice is found, and the later line of it. */
static void test_push_and_sort(void **state)
{
    static const struct {
        const char *name;
        uint32_t keys[6]; /* in the order of their lines, from 1; 99 ends */
        int twice;        /* line of the second one, or 0 */
    } rows[] = {
        { "none", { 99 }, 0 },
        { "one", { 5, 99 }, 0 },
        { "ascending", { 1, 2, 3, 99 }, 0 },
        { "descending", { 3, 2, 1, 99 }, 0 },
        { "twice", { 3, 1, 3, 2, 99 }, 3 },
        { "twice, neighbours", { 4, 4, 99 }, 2 },
        { "thrice: the first repetition", { 7, 1, 7, 7, 99 }, 3 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct assignments *a = assignments_new();
        size_t twice = 77;
        int r;

        for (uint32_t line = 1; rows[i].keys[line - 1] != 99; line++) {
            struct assignment add = make(rows[i].keys[line - 1], line);
            CHECK_INT(rows[i].name, assignments_push(a, &add), 0);
        }
        r = assignments_sort(a, &twice);
        CHECK_INT(rows[i].name, r, rows[i].twice ? -EEXIST : 0);
        if (r < 0)
            CHECK_INT(rows[i].name, a->items[twice].line, rows[i].twice);
        else
            CHECK_INT(rows[i].name, twice, 77);
        assignments_unref(a);
    }
    CHECK_END();
}

/* Random subsets of the selectors on either side; each key comes once, in order. */
static void test_walk(void **state)
{
    struct rng g = { .state = 0x3a1c };

    (void)state;
    for (unsigned round = 0; round < 500; round++) {
        struct assignments *a = assignments_new(), *b = assignments_new();
        bool in_a[KEYS], in_b[KEYS];
        const struct assignment *x = NULL, *y = NULL;

        for (uint32_t key = 0; key < KEYS; key++) {
            struct assignment to_a = make(key, 1), to_b = make(key, 2);

            in_a[key] = rng_one_in(&g, 2);
            in_b[key] = round % 10 != 0 && rng_one_in(&g, 2);
            if (!in_a[key] || assignments_push(a, &to_a) < 0)
                assignment_done(&to_a);
            if (!in_b[key] || assignments_push(b, &to_b) < 0)
                assignment_done(&to_b);
        }

        struct assignments_walk w = { .a = a, .b = b };
        for (uint32_t key = 0; key < KEYS; key++) {
            if (!in_a[key] && !in_b[key])
                continue;
            CHECK("goes on", assignments_next(&w, &x, &y));
            CHECK("sides", (x != NULL) == in_a[key] && (y != NULL) == in_b[key]);
            CHECK("of its side", (!x || x->line == 1) && (!y || y->line == 2));
            CHECK_INT("in order", (x ? x : y)->selector.uid.lo, key);
        }
        CHECK("ends", !assignments_next(&w, &x, &y));
        assignments_unref(a);
        assignments_unref(b);
    }
    CHECK_END();
}

static void test_copy(void **state)
{
    struct assignments *a = assignments_new(), *b;
    struct assignment add = make(1, 1);

    (void)state;
    add.selector = (struct selector){ .kind = SELECTOR_USER, .text = rstr_new("alice") };
    add.uids = uid_set_new(&(struct uid_range){ 3, 4 }, 1);
    add.file = rstr_new("file");
    assert_int_equal(assignments_put(a, &add), 0);
    b = assignments_copy(a);
    CHECK("equal", assignment_equal(&a->items[0], &b->items[0]));
    CHECK("texts are shared", a->items[0].selector.text == b->items[0].selector.text &&
                                  a->items[0].network == b->items[0].network &&
                                  a->items[0].uids == b->items[0].uids &&
                                  a->items[0].file == b->items[0].file);
    CHECK_INT("and counted", a->items[0].uids->refs, 2);
    assignments_unref(a);
    CHECK_TEXT("outlive the first table", b->items[0].network->s, "home");
    CHECK_INT("outlive the first table", b->items[0].uids->refs, 1);
    assignments_unref(b);
    assignments_unref(NULL);
    CHECK_END();
}

/* What makes two assignments unequal: each field by itself. */
static void test_equal(void **state)
{
    struct uid_range range = { 3, 4 };

    (void)state;
    for (int i = 0; i < 9; i++) {
        struct assignment a = make(1, 1), b = make(1, 1);

        a.uids = uid_set_new(&range, 1);
        b.uids = uid_set_new(&range, i == 8 ? 0 : 1);
        if (i == 1)
            b.selector.uid.hi = 2;
        if (i == 2)
            b.strength = STRENGTH_PREFER;
        if (i == 3)
            b.origin = ORIGIN_COMMAND;
        if (i == 4)
            b.line = 2;
        if (i == 5 || i == 6)
            rstr_unref(b.network);
        if (i == 5)
            b.network = NULL;
        if (i == 6)
            b.network = rstr_new("other");
        if (i == 7)
            b.file = rstr_new("file");
        CHECK_INT("one field", assignment_equal(&a, &b), i == 0);
        CHECK_INT("one field", assignment_equal(&b, &a), i == 0);
        assignment_done(&a);
        assignment_done(&b);
    }
    CHECK_END();
}

static void test_ranges(void **state)
{
    static const struct uid_range in[] = { { 9, 9 }, { 1, 3 }, { 4, 5 } };
    struct uid_set *set = uid_set_new(in, 3), *empty = uid_set_new(NULL, 0);
    struct assignment a = { .selector = { .kind = SELECTOR_USER }, .uids = set };
    const struct uid_range *ranges;

    (void)state;
    CHECK_INT("joined and sorted", set->n, 2);
    CHECK("joined and sorted",
          set->ranges[0].lo == 1 && set->ranges[0].hi == 5 && set->ranges[1].lo == 9);
    CHECK_INT("of a set", assignment_ranges(&a, &ranges), 2);
    CHECK("of a set", ranges == set->ranges);
    a.uids = empty;
    CHECK_INT("of an empty set", assignment_ranges(&a, &ranges), 0);
    a.uids = NULL;
    CHECK_INT("not resolved", assignment_ranges(&a, &ranges), 0);
    a.selector = (struct selector){ .kind = SELECTOR_UID, .uid = { 7, 8 } };
    CHECK_INT("of a range", assignment_ranges(&a, &ranges), 1);
    CHECK("of a range", ranges[0].lo == 7 && ranges[0].hi == 8);
    for (int kind = SELECTOR_CGROUP; kind <= SELECTOR_EXE; kind++) {
        a.selector = (struct selector){ .kind = kind };
        CHECK_INT("processes have none", assignment_ranges(&a, &ranges), 0);
    }
    CHECK("equal", uid_set_equal(set, set) && uid_set_equal(NULL, NULL));
    CHECK("unequal",
          !uid_set_equal(set, empty) && !uid_set_equal(set, NULL) && !uid_set_equal(NULL, set));
    uid_set_unref(set);
    uid_set_unref(empty);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random), cmocka_unit_test(test_push_and_sort),
        cmocka_unit_test(test_walk),   cmocka_unit_test(test_copy),
        cmocka_unit_test(test_equal),  cmocka_unit_test(test_ranges),
    };

    return RUN_TESTS(tests);
}
