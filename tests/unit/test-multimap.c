/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/basic/multimap, against an array that is searched from end to end. */

#include "unit/check.h"

#include "basic/multimap.h"

enum { PAIRS_MAX = 3000, HASHES = 64, VALUES = 200 };

struct pair {
    uint32_t hash, value;
};

/* xorshift64*: the same numbers in every run */
static uint32_t dice(uint64_t *x, uint32_t n)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return (uint32_t)((*x * 0x2545f4914f6cdd1dU) >> 40) % n;
}

/* Some share a bucket without being equal. */
static uint32_t hash_of(uint32_t n)
{
    return n % 2 ? n * 4096 : n;
}

static void check_hash(const struct multimap *m, const struct pair *pairs, size_t n, uint32_t hash)
{
    size_t there = 0, expected = 0;
    uint64_t sum = 0, expected_sum = 0;

    MULTIMAP_FOREACH (m, hash, i) {
        CHECK_INT("hash", m->nodes[i].hash, hash);
        there++;
        sum += m->nodes[i].value;
    }
    for (size_t i = 0; i < n; i++)
        if (pairs[i].hash == hash) {
            expected++;
            expected_sum += pairs[i].value;
        }
    CHECK_INT("how many", there, expected);
    CHECK_INT("which", sum, expected_sum);
}

static void test_random(void **state)
{
    static struct pair pairs[PAIRS_MAX];
    struct multimap m = { 0 };
    uint64_t x = 88172645463325252U;
    size_t n = 0;

    (void)state;
    for (unsigned i = 0; i < 40000; i++) {
        bool growing = i / 5000 % 2 == 0;

        if (n < PAIRS_MAX && (n == 0 || dice(&x, 4) < (growing ? 3 : 1))) {
            pairs[n] = (struct pair){ hash_of(dice(&x, HASHES)), dice(&x, VALUES) };
            assert_int_equal(multimap_add(&m, pairs[n].hash, pairs[n].value), 0);
            n++;
        } else {
            size_t k = dice(&x, (uint32_t)n);

            multimap_remove(&m, pairs[k].hash, pairs[k].value);
            pairs[k] = pairs[--n];
        }
        CHECK_INT("used", m.used, n);
        if (i % 64 == 0)
            check_hash(&m, pairs, n, hash_of(dice(&x, HASHES)));
    }
    multimap_done(&m);
    CHECK_END();
}

static void test_none(void **state)
{
    struct multimap m = { 0 };

    (void)state;
    multimap_remove(&m, 1, 2);
    CHECK_INT("empty", multimap_first(&m, 1), MULTIMAP_END);
    assert_int_equal(multimap_add(&m, 1, 2), 0);
    multimap_remove(&m, 1, 3);
    multimap_remove(&m, 65, 2);
    CHECK_INT("another", m.used, 1);
    CHECK("found", multimap_first(&m, 1) != MULTIMAP_END);
    CHECK_INT("not found", multimap_first(&m, 65), MULTIMAP_END);
    multimap_done(&m);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_none),
    };

    return RUN_TESTS(tests);
}
