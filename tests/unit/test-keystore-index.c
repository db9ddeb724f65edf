/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/keystore/index: whatever is done in whatever order, it tells the same as a plain table would. */

#include "unit/check.h"

#include <sodium.h>

#include "keystore/index.h"

enum { OWNERS = 3, KEYS = 5, READERS = 4, STEPS = 20000 };

struct plain {
    bool present;
    uint32_t size;
    bool readers[READERS];
};

struct scene {
    struct index x;
    struct plain table[OWNERS][KEYS];
    uint32_t random;
};

static unsigned pick(struct scene *s, unsigned n)
{
    s->random = s->random * 1664525 + 1013904223; /* Numerical Recipes */
    return (s->random >> 16) % n;
}

static struct keystore_key key_of(unsigned i)
{
    return (struct keystore_key){ .size = (uint8_t)i, .bytes = "aaaa" }; /* each begins the next */
}

static size_t n_readers(const struct plain *p)
{
    size_t n = 0;

    for (unsigned r = 0; r < READERS; r++)
        n += p->readers[r];
    return n;
}

static void set_reader(struct scene *s, unsigned owner, unsigned k, unsigned reader, bool on)
{
    struct plain *p = &s->table[owner][k];
    struct keystore_key key = key_of(k);
    struct index_entry *e = index_find(&s->x, owner, &key);
    uint32_t *readers;
    size_t n = 0;

    assert_int_equal(index_reserve_reader(&s->x, e, reader), 0);
    if (pick(s, 4) == 0)
        return; /* the disk was full */
    p->readers[reader] = on;
    readers = calloc(READERS, sizeof(*readers));
    for (unsigned r = 0; r < READERS; r++)
        if (p->readers[r])
            readers[n++] = r;
    index_set_readers(&s->x, e, readers, n);
}

static void step(struct scene *s)
{
    unsigned owner = pick(s, OWNERS), k = pick(s, KEYS), what = pick(s, 8);
    struct plain *p = &s->table[owner][k];
    struct keystore_key key = key_of(k);
    struct index_entry *e;

    if (what < 3) {
        assert_int_equal(index_reserve(&s->x, owner, &key, &e), 0);
        CHECK_INT("present", e->present, p->present);
        if (what == 0 && !e->present) {
            index_drop(&s->x, e);
            return;
        }
        p->present = true;
        p->size = pick(s, 100);
        index_set(&s->x, e, p->size);
    } else if (what < 5 && p->present) {
        index_drop(&s->x, index_find(&s->x, owner, &key));
        *p = (struct plain){ .present = false };
    } else if (p->present)
        set_reader(s, owner, k, pick(s, READERS), what != 5);
}

static void check_owner(struct scene *s, unsigned owner, size_t *total)
{
    size_t keys = 0, bytes = 0, found_keys, found_bytes, listed = 0;
    const struct index_entry *e = NULL;

    for (unsigned k = 0; k < KEYS; k++) {
        struct keystore_key key = key_of(k);

        keys += s->table[owner][k].present;
        bytes += s->table[owner][k].size;
        CHECK_INT("found", index_find(&s->x, owner, &key) != NULL, s->table[owner][k].present);
    }
    index_count(&s->x, owner, &found_keys, &found_bytes);
    CHECK_INT("keys", found_keys, keys);
    CHECK_INT("bytes", found_bytes, bytes);
    while ((e = index_next(&s->x, owner, e))) {
        CHECK("listed", e->owner == owner && s->table[owner][e->key.size].present);
        CHECK_INT("readers", e->n_readers, n_readers(&s->table[owner][e->key.size]));
        listed++;
    }
    CHECK_INT("listed", listed, keys);
    *total += keys;
}

static void check_granted(struct scene *s, unsigned reader, unsigned k)
{
    struct keystore_key key = key_of(k);
    const struct index_entry *e = index_granted(&s->x, reader, &key);
    unsigned n = 0, owner = 0;

    for (unsigned i = 0; i < OWNERS; i++)
        if (s->table[i][k].readers[reader]) {
            owner = i;
            n++;
        }
    CHECK_INT("granted", e != NULL, n == 1);
    if (e)
        CHECK("granted", e->owner == owner && keystore_key_equal(&e->key, &key));
}

static void test_random(void **state)
{
    static struct scene s = { .random = 7 };

    (void)state;
    assert_true(sodium_init() >= 0);
    index_init(&s.x);
    for (unsigned i = 0; i < STEPS; i++) {
        size_t total = 0;

        step(&s);
        if (i % 16 != 0)
            continue;
        for (unsigned owner = 0; owner < OWNERS; owner++)
            check_owner(&s, owner, &total);
        CHECK_INT("present", s.x.present, total);
        for (unsigned reader = 0; reader < READERS; reader++)
            check_granted(&s, reader, pick(&s, KEYS));
    }
    CHECK("entries are used again", s.x.n <= OWNERS * KEYS);
    CHECK("nodes are used again", s.x.by_reader.used <= (size_t)OWNERS * KEYS * READERS * KEYS);
    index_clear(&s.x);
    CHECK_INT("cleared", s.x.present, 0);
    index_done(&s.x);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_random) };

    return RUN_TESTS(tests);
}
