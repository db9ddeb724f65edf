/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/keystore/store: what can be asked of a store, in a folder on disk. */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "basic/fd.h"
#include "unit/keystore-scene.h"

#define KEY_FILE "0123456789abcdef"

/* clang-format off */
static const struct {
    const char *name;
    const char *script;
} rows[] = {
    { "a new one",
        "t -> 3\nz -> 7\nn -> 4\ng 1 a -> 3\ni 1 a b -> 3\nu x -> 3\nl -> 3\nd 1 a -> 1\ne 1 a -> 7\ns 1 - ->\n"
        "x 1 a 2 -> 7\ny 1 a 2 -> 7\nr -> 1\nt -> 3\n" },
    { "a value",
        "p old pw -> 1\nt -> 1\nz -> 7\ni 1 a one -> 1\nz -> 1\ng 1 a -> 1 one\ne 1 a -> 1\ni 1 a two -> 1\ng 1 a -> 1 two\n"
        "g 2 a -> 7\ne 2 a -> 7\nd 2 a -> 1\ng 1 a -> 1 two\nd 1 a -> 1\ng 1 a -> 7\ne 1 a -> 7\nz -> 7\n" },
    { "it is there again",
        "p - pw\ni 1 a one\ni 2 a two\nd 1 b\nrestart\nt -> 2\nz -> 1\ne 1 a -> 1\ng 1 a -> 2\ni 1 a x -> 2\ns 1 - -> a\n"
        "u pw -> 1\ng 1 a -> 1 one\ng 2 a -> 1 two\nd 1 a\nrestart\ne 1 a -> 7\nu pw -> 1\ng 1 a -> 7\ng 2 a -> 1 two\n" },
    { "lock and unlock",
        "p - pw\ni 1 a one\nu pw -> 1\nl -> 1\nt -> 2\nl -> 2\ng 1 a -> 2\ni 1 b x -> 2\ne 1 a -> 1\nd 1 c -> 1\nu pw -> 1\n"
        "g 1 a -> 1 one\n" },
    { "delete while it is locked", "p - pw\ni 1 a one\nl\nd 1 a -> 1\ne 1 a -> 7\nu pw\ng 1 a -> 7\n" },
    { "all bytes",
        "p - -\ni 1 - - -> 1\ng 1 - -> 1\ne 1 - -> 1\ni 1 \\xFDasterkey x -> 1\ni 1 \\x00 zero -> 1\ni 1 / slash -> 1\n"
        "i 1 .. dots -> 1\ni 1 masterkey y -> 1\ng 1 \\x00 -> 1 zero\ng 1 / -> 1 slash\ng 1 .. -> 1 dots\nrestart\nu - -> 1\n"
        "g 1 \\xFDasterkey -> 1 x\ng 1 masterkey -> 1 y\ng 1 - -> 1\n" },
    { "list",
        "p - pw\ni 1 aa x\ni 1 ab x\ni 1 b x\ni 2 ac x\ns 1 - -> aa,ab,b\ns 1 a -> a,b\ns 1 ab ->\ns 1 abc ->\ns 3 - ->\n"
        "d 1 aa\ns 1 - -> ab,b\nd 1 b\ns 1 - -> ab\nd 1 ab\ns 1 - ->\ni 1 c x\ns 1 - -> c\n" },
    { "a password is changed",
        "p - one\ni 1 a x\np wrong two -> 13\np one two -> 1\nn -> 4\nl\nu one -> 13\nu two -> 1\ng 1 a -> 1 x\n"
        "restart\nu one -> 13\nu two -> 1\n" },
    { "and unlocks", "p - one\ni 1 a x\nl\np wrong two -> 13\nt -> 2\np one two -> 1\nt -> 1\ng 1 a -> 1 x\nrestart\nu two -> 1\n" },
    { "the same again", "p - one\np one one -> 1\nrestart\np one one -> 1\nt -> 1\n" },
    { "wrong passwords",
        "p - pw\ni 1 a x\nl\nn -> 4\nu a -> 13\nn -> 3\nu b -> 12\nu c -> 11\nu - -> 10\nn -> 0\nt -> 2\nu pw -> 1\nn -> 4\n"
        "g 1 a -> 1 x\nl\nu a -> 13\n" },
    { "the last one wipes",
        "p - pw\ni 1 a x\nx 1 a 9\nl\nu a\nu b\nu c\nu d -> 10\nu e -> 3\nt -> 3\nn -> 4\nz -> 7\ne 1 a -> 7\nf 9 a -> 7\n"
        "restart\nt -> 3\nz -> 7\np - new -> 1\ni 1 a y -> 1\nf 9 a -> 7\n" },
    { "while it is unlocked, too",
        "p - pw\ni 1 a x\np a b -> 13\np a b -> 12\np a b -> 11\np a b -> 10\ng 1 a -> 1 x\np a b -> 3\ng 1 a -> 3\n" },
    { "tries last", "p - pw\nl\nu a -> 13\nrestart\nn -> 3\nu b -> 12\nrestart\nu c -> 11\nu d -> 10\nrestart\nn -> 0\nu pw -> 1\nn -> 4\n"
        "restart\nn -> 4\n" },
    { "and the last one after a restart", "p - pw\nl\nu a\nu b\nu c\nu d -> 10\nrestart\nu e -> 3\nt -> 3\n" },
    { "reset",
        "p - pw\ni 1 a x\nx 1 a 9\nr -> 1\nt -> 3\nz -> 7\nf 9 a -> 7\ne 1 a -> 7\nrestart\nt -> 3\nz -> 7\np - two -> 1\n"
        "g 1 a -> 7\nrestart\nu pw -> 13\nu two -> 1\n" },
    { "reset while it is locked", "p - pw\ni 1 a x\nl\nu a -> 13\nr -> 1\nt -> 3\nn -> 4\n" },
    { "grants",
        "p - pw\ni 1 a x\nf 9 a -> 7\nx 1 a 9 -> 1\nf 9 a -> 1 a\nf 9 1_a -> 1 a\nf 8 a -> 7\nf 8 1_a -> 7\nf 9 2_a -> 7\nx 1 a 9 -> 1\n"
        "y 1 a 8 -> 7\ny 1 a 9 -> 1\nf 9 a -> 7\nf 9 1_a -> 7\ny 1 a 9 -> 7\nx 1 b 9 -> 7\n" },
    { "several readers",
        "p - pw\ni 1 a x\nx 1 a 9\nx 1 a 7\nx 1 a 8\nf 7 a -> 1 a\nf 8 a -> 1 a\nf 9 a -> 1 a\nrestart\nf 8 a -> 1 a\ny 1 a 8 -> 1\n"
        "f 7 a -> 1 a\nf 8 a -> 7\nf 9 a -> 1 a\nrestart\nf 7 a -> 1 a\nf 8 a -> 7\nf 9 a -> 1 a\n" },
    { "several that are called so",
        "p - pw\ni 1 a x\ni 2 a x\nx 1 a 9\nx 2 a 9\nf 9 a -> 7\nf 9 1_a -> 1 a\nf 9 2_a -> 2 a\ny 1 a 9\nf 9 a -> 2 a\n" },
    { "a name that looks like an owner's",
        "p - pw\ni 1 2_a x\ni 2 a x\nx 1 2_a 9\nf 9 2_a -> 7\nf 9 1_2_a -> 1 2_a\nx 2 a 9\nf 9 2_a -> 2 a\nf 9 _a -> 7\nf 9 02_a -> 7\n"
        "f 9 4294967295_a -> 7\nf 9 \\x00_a -> 7\ni 3 -\nx 3 - 9\nf 9 3_ -> 3 \nf 9 - -> 3 \n" },
    { "grants stay where a value is replaced", "p - pw\ni 1 a x\nx 1 a 9\ni 1 a y\nf 9 a -> 1 a\nrestart\nf 9 a -> 1 a\n" },
    { "and go with it", "p - pw\ni 1 a x\nx 1 a 9\nd 1 a\nf 9 a -> 7\ni 1 a y\nf 9 a -> 7\nrestart\nf 9 a -> 7\n" },
    { "grants while it is locked", "p - pw\ni 1 a x\nl\nx 1 a 9 -> 1\nf 9 a -> 1 a\ny 1 a 9 -> 1\n" },
    { "a key file",
        "key-file " KEY_FILE "\nrestart\nt -> 1\ni 1 a x -> 1\nrestart\nt -> 1\ng 1 a -> 1 x\nl -> 1\nt -> 2\nu pw -> 4\nn -> 4\np a b -> 4\n"
        "restart\nt -> 1\n" },
    { "a key file, and a password then",
        "key-file " KEY_FILE "\nrestart\ni 1 a x\np ignored pw -> 1\np wrong x -> 13\nl\nu wrong -> 12\nu pw -> 1\ng 1 a -> 1 x\nrestart\nt -> 1\n"
        "g 1 a -> 1 x\nkey-file -\nrestart\nt -> 2\nu pw -> 1\ng 1 a -> 1 x\n" },
    { "a password, and a key file then",
        "p - pw\ni 1 a x\nkey-file " KEY_FILE "\nrestart\nt -> 2\nu wrong -> 13\nrestart\nt -> 2\nu pw -> 1\nrestart\nt -> 1\ng 1 a -> 1 x\n"
        "l\nu pw -> 1\n" },
    { "by a new password, too",
        "p - pw\nkey-file " KEY_FILE "\nrestart\np pw two -> 1\nrestart\nt -> 1\nkey-file -\nrestart\nt -> 2\nu two -> 1\n" },
    { "another key file",
        "key-file " KEY_FILE "\nrestart\np - pw\nkey-file fedcba9876543210\nrestart\nt -> 2\nu pw -> 1\nrestart\nt -> 1\n"
        "key-file " KEY_FILE "\nrestart\nt -> 2\n" },
    { "another, and no password",
        "key-file " KEY_FILE "\nrestart\ni 1 a x\nkey-file fedcba9876543210\nrestart\nt -> 2\nu - -> 4\np - x -> 4\nn -> 4\nkey-file "
        KEY_FILE "\nrestart\ng 1 a -> 1 x\n" },
    { "a reset, with a key file",
        "key-file " KEY_FILE "\nrestart\ni 1 a x\nr -> 1\nt -> 3\np - pw -> 1\nrestart\nt -> 1\nr\nrestart\nt -> 1\nz -> 7\n" },
    { "locked, it is not given to a new one", "key-file " KEY_FILE "\nrestart\nl\nr\np - pw\nrestart\nt -> 2\nu pw -> 1\n" },
};
/* clang-format on */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct keystore_scene s;

        keystore_scene_init(&s);
        keystore_scene_run(&s, rows[i].name, rows[i].script);
        keystore_scene_done(&s);
    }
    CHECK_END();
}

/* With secrets in pages of their own. */
static void test_guarded(void **state)
{
    struct keystore_scene s;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        keystore_scene_init(&s);
        keystore_scene_close(&s);
        assert_int_equal(secret_init(false), 0);
        keystore_scene_restart(&s);
        keystore_scene_run(&s, rows[i].name, rows[i].script);
        keystore_scene_done(&s);
    }
    CHECK_END();
}

static void test_no_wipe(void **state)
{
    struct keystore_scene s;

    (void)state;
    keystore_scene_init(&s);
    s.settings.wipe = false;
    keystore_scene_restart(&s);
    keystore_scene_run(
        &s, "no wipe",
        "p - pw\ni 1 a x\nl\nu a -> 13\nu b -> 12\nu c -> 11\nu d -> 10\nu e -> 10\nu f -> 10\n"
        "n -> 0\nrestart\nn -> 0\nu g -> 10\nu pw -> 1\nn -> 4\ng 1 a -> 1 x\n");
    keystore_scene_done(&s);
    CHECK_END();
}

struct heard {
    unsigned n;
    struct {
        int who;
        enum keystore_answer answer;
    } each[16];
};

struct asker {
    struct heard *heard;
    int who;
};

static void hear(void *data, enum keystore_answer answer)
{
    const struct asker *a = data;

    a->heard->each[a->heard->n].who = a->who;
    a->heard->each[a->heard->n++].answer = answer;
}

static void count(void *data, enum keystore_answer answer)
{
    unsigned *n = data;

    (void)answer;
    ++*n;
}

#define PUT(scene, key_text, value_text, who_)                                                 \
    do {                                                                                       \
        struct keystore_key key_ = keystore_scene_key(key_text);                               \
        struct secret value_ = keystore_scene_secret(value_text);                              \
        assert_int_equal(store_put((scene).store, 1, &key_, &value_, hear, &askers[who_]), 0); \
        secret_done(&value_);                                                                  \
    } while (0)

/* Asked at once, answered in order; each is seen by those behind it. */
static void test_order(void **state)
{
    struct heard heard = { 0 };
    struct asker askers[8];
    struct keystore_scene s;
    struct keystore_key a = keystore_scene_key("a");

    (void)state;
    for (int i = 0; i < 8; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    keystore_scene_run(&s, "order", "p - pw\n");
    PUT(s, "a", "one", 0);
    PUT(s, "a", "two", 1);
    assert_int_equal(store_grant(s.store, 1, &a, 9, hear, &askers[2]), 0);
    assert_int_equal(store_delete(s.store, 1, &a, hear, &askers[3]), 0);
    assert_int_equal(store_ungrant(s.store, 1, &a, 9, hear, &askers[4]), 0);
    PUT(s, "b", "three", 5);
    PUT(s, "b", "four", 6);
    CHECK_INT("nothing yet", heard.n, 0);
    keystore_scene_wait(&s, &heard.n, 7);
    for (int i = 0; i < 7; i++)
        CHECK_INT("order", heard.each[i].who, i);
    for (int i = 0; i < 7; i++)
        CHECK_INT("answer", heard.each[i].answer, i == 4 ? 7 : 1);
    keystore_scene_run(&s, "order", "e 1 a -> 7\ng 1 b -> 1 four\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* At once: what is under way ends, what is not is too late. */
static void test_lock_passes_all(void **state)
{
    struct heard heard = { 0 };
    struct asker askers[4];
    struct keystore_scene s;

    (void)state;
    for (int i = 0; i < 4; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    keystore_scene_run(&s, "lock", "p - pw\n");
    PUT(s, "a", "one", 0);
    assert_true(sd_event_run(s.event, UINT64_MAX) >= 0); /* it is under way */
    PUT(s, "b", "two", 1);
    assert_int_equal(store_lock(s.store, hear, &askers[2]), 0);
    CHECK_INT("not from within", heard.n, 0);
    CHECK_INT("locked", store_state(s.store), 2);
    PUT(s, "c", "three", 3);
    keystore_scene_wait(&s, &heard.n, 4);
    for (unsigned i = 0; i < 4; i++)
        CHECK_INT("answer", heard.each[i].answer, heard.each[i].who % 2 == 0 ? 1 : 2);
    keystore_scene_run(&s, "lock", "e 1 b -> 7\nu pw\ng 1 a -> 1 one\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* It is answered while the worker still computes, and a password that was asked before it unlocks nothing. */
static void test_lock_passes_passwords(void **state)
{
    _cleanup_secret_ struct secret old = keystore_scene_secret("pw"),
                                   new = keystore_scene_secret("new"),
                                   wrong = keystore_scene_secret("wrong");
    struct heard heard = { 0 };
    struct asker askers[4];
    struct keystore_scene s;

    (void)state;
    for (int i = 0; i < 4; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    s.settings.argon2_passes = 64; /* for long enough */
    s.settings.argon2_memory = 32 << 10;
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "lock", "p - pw\ni 1 a x\n");
    assert_int_equal(store_password(s.store, &old, &new, hear, &askers[0]), 0);
    assert_true(sd_event_run(s.event, UINT64_MAX) >= 0);
    assert_int_equal(store_password(s.store, &new, &old, hear, &askers[1]), 0);
    assert_int_equal(store_unlock(s.store, &wrong, hear, &askers[2]), 0);
    assert_int_equal(store_lock(s.store, hear, &askers[3]), 0);
    keystore_scene_wait(&s, &heard.n, 1);
    CHECK_INT("first", heard.each[0].who, 3);
    CHECK_INT("locked", heard.each[0].answer, 1);
    keystore_scene_wait(&s, &heard.n, 4);
    CHECK_INT("the one under way", heard.each[1].answer, 1);
    CHECK_INT("the one that waited", heard.each[2].answer, 1);
    CHECK_INT("the wrong one", heard.each[3].answer, 13);
    keystore_scene_run(&s, "lock", "t -> 2\ng 1 a -> 2\nu new -> 12\nu pw -> 1\ng 1 a -> 1 x\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* The loop turns meanwhile: others have theirs. */
static void test_turns(void **state)
{
    enum { MANY = 1000 };
    struct keystore_key key = keystore_scene_key("nothing");
    struct keystore_scene s;
    unsigned answers = 0, turns = 0;

    (void)state;
    keystore_scene_init(&s);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(store_delete(s.store, 1, &key, count, &answers), 0);
    for (; answers < MANY; turns++)
        assert_true(sd_event_run(s.event, UINT64_MAX) >= 0);
    CHECK("turns", turns >= MANY / 64);
    keystore_scene_done(&s);
    CHECK_END();
}

/* What waits has an end; locking and a reset do not count. */
static void test_too_much(void **state)
{
    _cleanup_secret_ struct secret value = SECRET_NONE;
    struct keystore_key key = keystore_scene_key("k");
    unsigned answers = 0, taken = 0;
    struct keystore_scene s;
    int r;

    (void)state;
    keystore_scene_init(&s);
    assert_int_equal(secret_new(KEYSTORE_VALUE_MAX, &value), 0);
    while ((r = store_put(s.store, 1, &key, &value, count, &answers)) == 0)
        taken++;
    CHECK_INT("bytes", r, -ENOBUFS);
    CHECK_INT("how many", taken, STORE_WAITING_BYTES_MAX / KEYSTORE_VALUE_MAX);
    for (int i = 0; i < STORE_WAITING_PASSWORDS_MAX; i++, taken++)
        assert_int_equal(store_unlock(s.store, &value, count, &answers), 0);
    CHECK_INT("passwords", store_unlock(s.store, &value, count, &answers), -ENOBUFS);
    assert_int_equal(store_lock(s.store, count, &answers), 0);
    assert_int_equal(store_reset(s.store, count, &answers), 0);
    keystore_scene_wait(&s, &answers, taken + 2);
    for (r = 0, taken = 0; r == 0 && taken <= STORE_WAITING_MAX; taken += r == 0)
        r = store_delete(s.store, 1, &key, count, &answers);
    CHECK_INT("jobs", r, -ENOBUFS);
    CHECK_INT("how many", taken, STORE_WAITING_MAX);
    keystore_scene_done(&s);
    CHECK_END();
}

/* It passes what was not begun, and that is over with it. */
static void test_reset_between(void **state)
{
    struct heard heard = { 0 };
    struct asker askers[3];
    struct keystore_scene s;

    (void)state;
    for (int i = 0; i < 3; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    keystore_scene_run(&s, "reset", "p - pw\n");
    PUT(s, "a", "one", 0);
    assert_true(sd_event_run(s.event, UINT64_MAX) >= 0); /* it is under way */
    PUT(s, "b", "two", 2);
    assert_int_equal(store_reset(s.store, hear, &askers[1]), 0);
    keystore_scene_wait(&s, &heard.n, 3);
    for (int i = 0; i < 3; i++)
        CHECK_INT("order", heard.each[i].who, i);
    CHECK_INT("before", heard.each[0].answer, 1);
    CHECK_INT("reset", heard.each[1].answer, 1);
    CHECK_INT("behind", heard.each[2].answer, 3);
    keystore_scene_run(&s, "reset", "z -> 7\nt -> 3\nrestart\nz -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* Whoever waits is answered once. */
static void test_end(void **state)
{
    _cleanup_secret_ struct secret password = keystore_scene_secret("pw");
    struct heard heard = { 0 };
    struct asker askers[4];
    struct keystore_scene s;

    (void)state;
    for (int i = 0; i < 4; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    keystore_scene_run(&s, "free", "p - pw\n");
    PUT(s, "a", "one", 0);
    PUT(s, "b", "two", 1);
    assert_true(sd_event_run(s.event, UINT64_MAX) >= 0); /* the first is under way */
    PUT(s, "c", "three", 2);
    assert_int_equal(store_unlock(s.store, &password, hear, &askers[3]), 0);
    CHECK_INT("before", heard.n, 0);
    keystore_scene_close(&s);
    CHECK_INT("answers", heard.n, 4);
    CHECK_INT("the one under way", heard.each[0].answer, 1);
    for (int i = 1; i < 4; i++)
        CHECK_INT("the others", heard.each[i].answer, 4);
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "free", "e 1 a -> 1\ne 1 b -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* The next password waits, others do not. */
static void test_delay(void **state)
{
    enum { DELAY = 300 * USEC_PER_MSEC };
    _cleanup_secret_ struct secret right = keystore_scene_secret("pw");
    struct heard heard = { 0 };
    struct asker askers[3];
    struct keystore_scene s;
    usec_t since;

    (void)state;
    for (int i = 0; i < 3; i++)
        askers[i] = (struct asker){ &heard, i };
    keystore_scene_init(&s);
    s.settings.retry_delay = DELAY;
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "delay", "p - pw\np wrong x -> 13\n");
    since = clock_monotonic();
    assert_int_equal(store_password(s.store, &right, &right, hear, &askers[0]), 0);
    assert_int_equal(store_password(s.store, &right, &right, hear, &askers[1]), 0);
    PUT(s, "a", "one", 2);
    keystore_scene_wait(&s, &heard.n, 3);
    CHECK("in time", clock_monotonic() - since >= DELAY - 50 * USEC_PER_MSEC);
    CHECK_INT("first", heard.each[0].who, 2);
    CHECK_INT("second", heard.each[1].who, 0);
    for (int i = 0; i < 3; i++)
        CHECK_INT("answer", heard.each[i].answer, 1);

    /* a restart does not shorten it, and the second is twice as long */
    keystore_scene_run(&s, "delay", "p wrong x -> 13\np wrong x -> 12\n");
    since = clock_monotonic();
    keystore_scene_run(&s, "delay", "restart\nu pw -> 1\n");
    CHECK("twice", clock_monotonic() - since >= 2 * DELAY);
    keystore_scene_done(&s);
    CHECK_END();
}

/* Once the tries are used up, nor does it shorten the longest. */
static void test_longest_delay(void **state)
{
    enum { DELAY = 10 * USEC_PER_MSEC };
    struct keystore_scene s;
    usec_t since;

    (void)state;
    keystore_scene_init(&s);
    s.settings.wipe = false;
    keystore_scene_run(&s, "longest delay", "p - pw\n");
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "longest delay", "u a\nu b\nu c\nu d -> 10\nu e -> 10\n");
    s.settings.retry_delay = DELAY;
    since = clock_monotonic();
    keystore_scene_run(&s, "longest delay", "restart\nu pw -> 1\n");
    CHECK("longest", clock_monotonic() - since >= 120 * DELAY);
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_total_quota(void **state)
{
    struct keystore_scene s;

    (void)state;
    keystore_scene_init(&s);
    s.settings.total_keys = 3;
    s.settings.total_bytes = 10;
    keystore_scene_restart(&s);
    keystore_scene_run(
        &s, "all users",
        "p - pw\ni 1 a x -> 1\ni 2 a x -> 1\ni 3 a x -> 1\ni 4 a - -> 4\ni 3 b - -> 4\nd 2 a\n"
        "i 4 a 12345678 -> 1\ni 1 a xy -> 4\ni 1 a y -> 1\ni 4 a 1 -> 1\ni 1 a xy -> 1\n"
        "restart\nu pw\ni 5 a - -> 4\ni 3 a 1234567 -> 1\ni 3 a 12345678 -> 4\nr\np - pw\n"
        "i 5 a 1234567890 -> 1\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* What somebody has made in the folder stops nothing. */
static void test_strange_folders(void **state)
{
    struct keystore_scene s;
    char command[256];

    (void)state;
    keystore_scene_init(&s);
    snprintf(command, sizeof(command), "mkdir %s/values/5_6b %s/grants/5_6b %s/grants/6_6b",
             s.folder, s.folder, s.folder);
    assert_int_equal(system(command), 0);
    keystore_scene_run(
        &s, "folders",
        "restart\np - pw -> 1\ne 5 k -> 7\ni 6 k x -> 1\ni 5 k x -> 4\ni 5 j x -> 1\n"
        "restart\nu pw\ng 6 k -> 1 x\nd 6 k -> 1\nr -> 1\nt -> 3\nz -> 7\nrestart\nt -> 3\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* A key file makes no new master key where values want the old one. */
static void test_lost_master_key(void **state)
{
    struct keystore_scene s;
    char command[192];

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_run(&s, "lost", "key-file " KEY_FILE "\nrestart\ni 1 a x -> 1\n");
    keystore_scene_close(&s);
    snprintf(command, sizeof(command), "mv %s/masterkey %s/backup", s.folder, s.folder);
    assert_int_equal(system(command), 0);
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "lost", "t -> 3\ne 1 a -> 1\ng 1 a -> 3\n");
    snprintf(command, sizeof(command), "mv %s/backup %s/masterkey", s.folder, s.folder);
    assert_int_equal(system(command), 0);
    keystore_scene_run(&s, "lost", "restart\ng 1 a -> 1 x\n");
    keystore_scene_close(&s);
    snprintf(command, sizeof(command), "rm %s/masterkey", s.folder);
    assert_int_equal(system(command), 0);
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "lost", "t -> 3\nr -> 1\nrestart\nt -> 1\nz -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* Whatever strangers have sent: there is room for keys, and it is locked; a value is wiped by its reader. */
static void test_locked_keys(void **state)
{
    struct secret keys[SECRET_KEYS], one_more, value = SECRET_NONE;
    struct keystore_key key = keystore_scene_key("a");
    struct keystore_scene s;
    const uint8_t *bytes;

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_close(&s);
    assert_int_equal(secret_init(false), 0);
    for (int i = 0; i < SECRET_KEYS; i++)
        assert_int_equal(secret_new_key(&keys[i]), 0);
    CHECK_INT("no more", secret_new_key(&one_more), -ENOMEM);
    memset(keys[3].data, 1, keys[3].size);
    bytes = keys[3].data;
    secret_done(&keys[3]);
    assert_int_equal(secret_new_key(&keys[3]), 0);
    CHECK("the place again", keys[3].data == bytes);
    CHECK_INT("zero", keys[3].data[31], 0);
    for (int i = 0; i < SECRET_KEYS; i++)
        secret_done(&keys[i]);
    keystore_scene_restart(&s);
    keystore_scene_run(&s, "keys", "p - pw\ni 1 a x\n");
    CHECK_INT("get", store_get(s.store, 1, &key, &value), 1);
    bytes = value.data;
    CHECK_INT("value", bytes[0], 'x');
    secret_done(&value);
    CHECK_INT("wiped", bytes[0], 0);
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_quota(void **state)
{
    struct keystore_scene s;

    (void)state;
    keystore_scene_init(&s);
    s.settings.quota_keys = 3;
    s.settings.quota_bytes = 10;
    keystore_scene_restart(&s);
    keystore_scene_run(
        &s, "keys",
        "p - pw\ni 1 a x -> 1\ni 1 b x -> 1\ni 1 c x -> 1\ni 1 d x -> 4\ne 1 d -> 7\n"
        "i 1 a y -> 1\ni 2 d x -> 1\nd 1 b\ni 1 d x -> 1\ni 1 b x -> 4\n");
    keystore_scene_run(
        &s, "bytes",
        "i 1 a 12345678 -> 1\ni 1 a 123456789 -> 4\ng 1 a -> 1 12345678\ni 1 c - -> 1\n"
        "i 1 a 123456789 -> 1\ni 2 a 123456789 -> 1\nrestart\nu pw\ni 1 c x -> 4\ni 1 d - -> 1\n"
        "i 1 c x -> 1\n");
    s.settings.quota_keys = 1;
    s.settings.quota_bytes = 5;
    keystore_scene_run(
        &s, "smaller now",
        "restart\nu pw\ng 1 a -> 1 123456789\ni 1 a 12345678 -> 1\ni 1 a 123456789 -> 4\n"
        "i 1 e - -> 4\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_largest(void **state)
{
    _cleanup_secret_ struct secret value = SECRET_NONE, found = SECRET_NONE;
    struct keystore_key key = { .size = KEYSTORE_KEY_MAX };
    struct heard heard = { 0 };
    struct asker asker = { &heard, 0 };
    struct keystore_scene s;

    (void)state;
    memset(key.bytes, 0xff, sizeof(key.bytes));
    keystore_scene_init(&s);
    keystore_scene_run(&s, "largest", "p - pw\n");
    assert_int_equal(secret_new(KEYSTORE_VALUE_MAX, &value), 0);
    memset(value.data, 0xa5, value.size);
    assert_int_equal(store_put(s.store, UINT32_MAX - 1, &key, &value, hear, &asker), 0);
    keystore_scene_wait(&s, &heard.n, 1);
    CHECK_INT("put", heard.each[0].answer, 1);
    keystore_scene_run(&s, "largest", "restart\nu pw -> 1\n");
    CHECK_INT("get", store_get(s.store, UINT32_MAX - 1, &key, &found), 1);
    CHECK("value", found.size == value.size && mem_equal(found.data, value.data, value.size));
    secret_done(&found);
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_most_readers(void **state)
{
    struct keystore_scene s;
    char line[64];

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_run(&s, "readers", "p - pw\ni 1 a x\n");
    for (unsigned i = 0; i <= 256; i++) {
        snprintf(line, sizeof(line), "x 1 a %u -> %d\n", 1000 - i * 3, i < 256 ? 1 : 4);
        keystore_scene_run(&s, "readers", line);
    }
    keystore_scene_run(
        &s, "readers",
        "f 1000 a -> 1 a\nf 235 a -> 1 a\nf 232 a -> 7\ny 1 a 700 -> 1\nx 1 a 232 -> 1\nrestart\n"
        "f 232 a -> 1 a\nf 700 a -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_settings(void **state)
{
    struct keystore_scene s, other;
    struct why why = { 0 };

    (void)state;
    keystore_scene_init(&s);
    other = s;
    other.store = NULL;
    CHECK_INT("one at a time", keystore_scene_open(&other, &why), -EBUSY);
    CHECK_CONTAINS("one at a time", why.text, "another waymark-keystored");
    keystore_scene_close(&s);
    s.key_file = keystore_scene_secret("0123456789abcde");
    CHECK_INT("a short key file", keystore_scene_open(&s, &why), -EINVAL);
    CHECK_CONTAINS("a short key file", why.text, "15 bytes");
    secret_done(&s.key_file);
    s.settings.argon2_memory = 7;
    CHECK_INT("memory", keystore_scene_open(&s, &why), -ERANGE);
    s.settings.argon2_memory = 8;
    s.settings.argon2_passes = 0;
    CHECK_INT("passes", keystore_scene_open(&s, &why), -ERANGE);
    keystore_scene_done(&s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_guarded),
        cmocka_unit_test(test_no_wipe),       cmocka_unit_test(test_order),
        cmocka_unit_test(test_reset_between), cmocka_unit_test(test_end),
        cmocka_unit_test(test_delay),         cmocka_unit_test(test_quota),
        cmocka_unit_test(test_largest),       cmocka_unit_test(test_most_readers),
        cmocka_unit_test(test_settings),      cmocka_unit_test(test_lock_passes_all),
        cmocka_unit_test(test_turns),         cmocka_unit_test(test_lock_passes_passwords),
        cmocka_unit_test(test_too_much),      cmocka_unit_test(test_longest_delay),
        cmocka_unit_test(test_total_quota),   cmocka_unit_test(test_strange_folders),
        cmocka_unit_test(test_locked_keys),   cmocka_unit_test(test_lost_master_key),
    };

    return RUN_TESTS(tests);
}
