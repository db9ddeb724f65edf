/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/basic: numbers, uid ranges, text buffers, token buckets, reasons, arrays. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/array.h"
#include "basic/clock.h"
#include "basic/hash.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "basic/rstr.h"
#include "basic/strbuf.h"
#include "basic/uidrange.h"
#include "basic/utf8.h"
#include "basic/why.h"

static void test_parse_u32(void **state)
{
    static const struct {
        const char *text;
        uint32_t max;
        int error, error_hex; /* of parse_u32(), of parse_u32_hex() */
        uint32_t value, value_hex;
    } rows[] = {
        { "0", UINT32_MAX, 0, 0, 0, 0 },
        { "00", UINT32_MAX, 0, 0, 0, 0 },
        { "007", UINT32_MAX, 0, 0, 7, 7 },
        { "10", 10, 0, 0, 10, 10 },
        { "11", 10, -ERANGE, -ERANGE, 0, 0 },
        { "4294967295", UINT32_MAX, 0, 0, UINT32_MAX, UINT32_MAX },
        { "4294967296", UINT32_MAX, -ERANGE, -ERANGE, 0, 0 },
        { "18446744073709551615", UINT32_MAX, -ERANGE, -ERANGE, 0, 0 },
        { "18446744073709551616", UINT32_MAX, -ERANGE, -ERANGE, 0, 0 },
        { "", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { " 1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "1 ", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "+1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "-1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "a", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "1a", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0x1f", UINT32_MAX, -EINVAL, 0, 0, 0x1f },
        { "0xFFFFFFFF", UINT32_MAX, -EINVAL, 0, 0, UINT32_MAX },
        { "0x100000000", UINT32_MAX, -EINVAL, -ERANGE, 0, 0 },
        { "0x", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0x0x1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0X1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0x-1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0x 1", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
        { "0xg", UINT32_MAX, -EINVAL, -EINVAL, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const uint32_t untouched = 0xdeadbeef;
        uint32_t v = untouched, hex = untouched;

        CHECK_INT(rows[i].text, parse_u32(rows[i].text, rows[i].max, &v), rows[i].error);
        CHECK_INT(rows[i].text, v, rows[i].error < 0 ? untouched : rows[i].value);
        CHECK_INT(rows[i].text, parse_u32_hex(rows[i].text, rows[i].max, &hex), rows[i].error_hex);
        CHECK_INT(rows[i].text, hex, rows[i].error_hex < 0 ? untouched : rows[i].value_hex);
    }
    CHECK_END();
}

static void test_parse_word(void **state)
{
    static const char *const names[] = { "zero", NULL, "two", "" };
    static const struct {
        const char *text;
        int index;
    } rows[] = {
        { "zero", 0 },      { "two", 2 },         { "", 3 },
        { "zer", -EINVAL }, { "zeros", -EINVAL }, { "Zero", -EINVAL },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        CHECK_INT(rows[i].text, parse_word(names, ELEMENTSOF(names), rows[i].text), rows[i].index);
    CHECK_INT("no names", parse_word(names, 0, "zero"), -EINVAL);
    CHECK_END();
}

/* android.md §7, assertion 19, and what follows from "0xffffffff is in no range". */
static void test_uid_range_parse(void **state)
{
    static const struct {
        const char *text;
        int base, error;
        uint32_t lo, hi;
    } rows[] = {
        { "5", 10, 0, 5, 5 },
        { "1-3", 10, 0, 1, 3 },
        { "0", 10, 0, 0, 0 },
        { "0-4294967294", 10, 0, 0, UID_MAX },
        { "4294967294", 10, 0, UID_MAX, UID_MAX },
        { "7-7", 10, 0, 7, 7 },
        { "", 10, -EINVAL, 0, 0 },
        { "3-1", 10, -EINVAL, 0, 0 },
        { "1-", 10, -EINVAL, 0, 0 },
        { "-1", 10, -EINVAL, 0, 0 },
        { "a", 10, -EINVAL, 0, 0 },
        { "1-a", 10, -EINVAL, 0, 0 },
        { "1-2-3", 10, -EINVAL, 0, 0 },
        { "1--2", 10, -EINVAL, 0, 0 },
        { "1-+2", 10, -EINVAL, 0, 0 },
        { "1 -2", 10, -EINVAL, 0, 0 },
        { "1- 2", 10, -EINVAL, 0, 0 },
        { " 1", 10, -EINVAL, 0, 0 },
        { "1 ", 10, -EINVAL, 0, 0 },
        { "1,2", 10, -EINVAL, 0, 0 },
        { "4294967295", 10, -EINVAL, 0, 0 },
        { "1-4294967295", 10, -EINVAL, 0, 0 },
        { "4294967296", 10, -EINVAL, 0, 0 },
        { "99999999999999999999", 10, -EINVAL, 0, 0 },
        { "0x10", 10, -EINVAL, 0, 0 },
        { "0x10", 0, 0, 16, 16 },
        { "0x10-0x20", 0, 0, 16, 32 },
        { "010", 0, 0, 8, 8 },
        { "010", 10, 0, 10, 10 },
        { "08", 0, -EINVAL, 0, 0 },
        { "0xffffffff", 0, -EINVAL, 0, 0 },
        { "0xfffffffe", 0, 0, UID_MAX, UID_MAX },
        { "0x", 0, -EINVAL, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct uid_range r = { 1, 2 };

        CHECK_INT(rows[i].text, uid_range_parse(rows[i].text, rows[i].base, &r), rows[i].error);
        CHECK_INT(rows[i].text, r.lo, rows[i].error ? 1 : rows[i].lo);
        CHECK_INT(rows[i].text, r.hi, rows[i].error ? 2 : rows[i].hi);
    }
    CHECK_END();
}

static void test_uid_range_format(void **state)
{
    static const struct {
        struct uid_range range;
        const char *text;
    } rows[] = {
        { { 0, 0 }, "0" },
        { { 5, 5 }, "5" },
        { { 1, 3 }, "1-3" },
        { { UID_MAX, UID_MAX }, "4294967294" },
        { { UID_MAX - 1, UID_MAX }, "4294967293-4294967294" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char text[UID_RANGE_TEXT_MAX];
        struct uid_range back;

        CHECK_TEXT(rows[i].text, uid_range_format(&rows[i].range, text), rows[i].text);
        CHECK_INT(rows[i].text, uid_range_parse(text, 10, &back), 0);
        CHECK_INT(rows[i].text, uid_range_compare(&back, &rows[i].range), 0);
    }
    CHECK(" contains", uid_range_contains(&(struct uid_range){ 2, 4 }, 2));
    CHECK(" contains", uid_range_contains(&(struct uid_range){ 2, 4 }, 4));
    CHECK(" contains", !uid_range_contains(&(struct uid_range){ 2, 4 }, 5));
    CHECK(" contains", !uid_range_contains(&(struct uid_range){ 2, 4 }, 1));
    CHECK(" compare",
          uid_range_compare(&(struct uid_range){ 1, 9 }, &(struct uid_range){ 2, 3 }) < 0);
    CHECK(" compare",
          uid_range_compare(&(struct uid_range){ 1, 9 }, &(struct uid_range){ 1, 3 }) > 0);
    CHECK_END();
}

static void test_uid_ranges_coalesce(void **state)
{
    static const struct {
        const char *name;
        struct uid_range in[6];
        size_t n_in;
        struct uid_range out[6];
        size_t n_out;
    } rows[] = {
        { "nothing", { { 0 } }, 0, { { 0 } }, 0 },
        { "one", { { 5, 9 } }, 1, { { 5, 9 } }, 1 },
        { "apart", { { 5, 9 }, { 11, 12 } }, 2, { { 5, 9 }, { 11, 12 } }, 2 },
        { "apart, unsorted", { { 11, 12 }, { 5, 9 } }, 2, { { 5, 9 }, { 11, 12 } }, 2 },
        { "touching", { { 5, 9 }, { 10, 12 } }, 2, { { 5, 12 } }, 1 },
        { "overlapping", { { 5, 9 }, { 7, 12 } }, 2, { { 5, 12 } }, 1 },
        { "equal", { { 5, 9 }, { 5, 9 } }, 2, { { 5, 9 } }, 1 },
        { "inside", { { 5, 90 }, { 7, 12 }, { 91, 91 } }, 3, { { 5, 91 } }, 1 },
        { "inside, then beyond", { { 1, 100 }, { 2, 3 }, { 50, 120 } }, 3, { { 1, 120 } }, 1 },
        { "up to the last uid",
          { { UID_MAX - 1, UID_MAX }, { 0, 0 }, { UID_MAX, UID_MAX } },
          3,
          { { 0, 0 }, { UID_MAX - 1, UID_MAX } },
          2 },
        { "touching at the last uid",
          { { UID_MAX, UID_MAX }, { 7, UID_MAX - 1 } },
          2,
          { { 7, UID_MAX } },
          1 },
        { "all, and behind all",
          { { 0, UID_MAX }, { UID_MAX, UID_MAX }, { 3, 4 } },
          3,
          { { 0, UID_MAX } },
          1 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct uid_range r[6];
        size_t n;

        memcpy(r, rows[i].in, sizeof(r));
        n = uid_ranges_coalesce(r, rows[i].n_in);
        CHECK_INT(rows[i].name, n, rows[i].n_out);
        for (size_t j = 0; j < n && j < rows[i].n_out; j++)
            CHECK_INT(rows[i].name, uid_range_compare(&r[j], &rows[i].out[j]), 0);
    }
    CHECK_END();
}

static void test_strbuf(void **state)
{
    struct strbuf b = STRBUF_INIT;
    char *text = NULL, expected[4001] = "";

    (void)state;
    CHECK_TEXT("empty", strbuf_text(&b), "");
    strbuf_add(&b, "%s", "");
    CHECK_INT("empty text", b.size, 0);
    CHECK_TEXT("empty text", strbuf_text(&b), "");
    strbuf_add_bytes(&b, NULL, 0);
    CHECK_TEXT("no bytes", strbuf_text(&b), "");
    strbuf_add(&b, "%u-%s", 7, "x");
    strbuf_add_char(&b, '!');
    strbuf_add_bytes(&b, "ab\0c", 4);
    CHECK_INT("bytes with a NUL", b.size, 8);
    CHECK("bytes with a NUL", memcmp(b.data, "7-x!ab\0c", 9) == 0);
    strbuf_clear(&b);
    CHECK_TEXT("cleared", strbuf_text(&b), "");
    CHECK_INT("cleared", b.size, 0);

    /* growth: one byte at a time, then more than doubling at once */
    for (size_t i = 0; i < 2000; i++) {
        expected[i] = (char)('a' + i % 26);
        strbuf_add_char(&b, expected[i]);
    }
    CHECK_TEXT("grown by bytes", strbuf_text(&b), expected);
    strbuf_clear(&b);
    strbuf_add(&b, "%s%s", expected, expected);
    CHECK_INT("grown at once", b.size, 4000);
    CHECK("grown at once",
          memcmp(b.data, expected, 2000) == 0 && memcmp(b.data + 2000, expected, 2001) == 0);

    CHECK_INT("finished", strbuf_finish(&b, &text), 0);
    CHECK_INT("finished", strlen(text), 4000);
    CHECK("finished", b.data == NULL && b.size == 0 && b.capacity == 0);
    free(text);
    CHECK_INT("finished while empty", strbuf_finish(&b, &text), 0);
    CHECK_TEXT("finished while empty", text, "");
    free(text);
    strbuf_done(&b);
    strbuf_done(&b);
    CHECK_END();
}

/* After a failed allocation nothing more is written, and the end reports it. */
static void test_strbuf_failure(void **state)
{
    char kept[] = "kept", *text = kept;
    struct strbuf b = STRBUF_INIT;

    (void)state;
    strbuf_add(&b, "before");
    strbuf_add_bytes(&b, "x", SIZE_MAX / 2);
    CHECK("too large", b.failed);
    CHECK_TEXT("too large", strbuf_text(&b), "before");
    strbuf_add(&b, "after");
    strbuf_add_char(&b, 'c');
    CHECK_TEXT("sticks", strbuf_text(&b), "before");
    CHECK_INT("reported", strbuf_finish(&b, &text), -ENOMEM);
    CHECK("untouched", text == kept);
    CHECK("released", b.data == NULL && !b.failed);

    strbuf_add_bytes(&b, "x", SIZE_MAX / 2);
    strbuf_clear(&b);
    strbuf_add(&b, "again");
    CHECK_TEXT("cleared", strbuf_text(&b), "again");
    strbuf_done(&b);
    CHECK_END();
}

static void test_ratelimit(void **state)
{
    /* burst 3, one per 10: at each moment, may an event happen, and when is the next one? */
    static const struct {
        const char *name;
        usec_t now;
        bool may;
        usec_t next; /* after that */
    } rows[] = {
        { "first", 1000, true, 1000 },
        { "second", 1000, true, 1000 },
        { "third", 1000, true, 1010 },
        { "too many", 1000, false, 1010 },
        { "just before", 1009, false, 1010 },
        { "one back", 1010, true, 1020 },
        { "none left", 1010, false, 1020 },
        { "two back", 1030, true, 1030 },
        { "second of two", 1030, true, 1040 },
        { "long after: full again", 9000, true, 9000 },
        { "not more than full", 9000, true, 9000 },
        { "full, third", 9000, true, 9010 },
        { "full, too many", 9000, false, 9010 },
    };
    struct ratelimit limit = { .interval = 10, .burst = 3 };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        CHECK_INT(rows[i].name, ratelimit_take(&limit, rows[i].now), rows[i].may);
        CHECK_INT(rows[i].name, ratelimit_next(&limit, rows[i].now), rows[i].next);
    }
    CHECK("clock", clock_monotonic() > 0);
    CHECK("clock", clock_monotonic() <= clock_monotonic());
    CHECK_END();
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text, *expected;
    } rows[] = {
        { "", "" },
        { "plain", "plain" },
        { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80", "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
        { "cut \xc3", "cut " },
        { "cut \xe2\x82", "cut " },
        { "cut \xf0\x9f\x98", "cut " },
        { "'cut \xe2\x82' in it", "'cut ' in it" },
        { "\x80 begins with none", " begins with none" },
        { "longer than need be: \xc1\x81 \xe0\x81\x81", "longer than need be:  " },
        { "a surrogate \xed\xa0\x80", "a surrogate " },
        { "beyond the last \xf4\x90\x80\x80 \xff", "beyond the last  " },
        { "none \xef\xbf\xbe \xef\xb7\x90", "none  " },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char text[64];

        (void)str_set(text, sizeof(text), rows[i].text);
        utf8_keep_whole(text);
        CHECK_TEXT(rows[i].text, text, rows[i].expected);
    }
    CHECK_END();
}

/* Sentences are replies: D-Bus takes whole characters alone. */
static void test_why_is_utf8(void **state)
{
    struct why why = { 0 };
    char wide[1000] = "";

    (void)state;
    for (size_t i = 0; i + 2 < sizeof(wide); i += 2)
        memcpy(wide + i, "\xc3\xa9", 3);
    (void)why_set(&why, -EINVAL, "%s", wide);
    CHECK_INT("cut", strlen(why.text), sizeof(why.text) - 2);
    (void)why_prefix(&why, "x%s", wide);
    CHECK_CONTAINS("cut prefix", why.text, "\xc3\xa9: \xc3\xa9");
    CHECK_INT("cut prefix", strlen(why.text) % 2, 1);
    (void)why_set(&why, -EINVAL, "'%.3s' is none", wide);
    CHECK_TEXT("cut in it", why.text, "'\xc3\xa9' is none");
    CHECK_END();
}

static void test_why(void **state)
{
    struct why why = { 0 };
    char wide[1000];

    (void)state;
    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';

    CHECK_TEXT("nothing set", why_text(&why, -ENOENT), strerror(ENOENT));
    CHECK_TEXT("no why", why_text(NULL, -ENOENT), strerror(ENOENT));
    CHECK_INT("no why", why_set(NULL, -EINVAL, "x"), -EINVAL);
    CHECK_INT("no why", why_prefix(NULL, "x"), 0);
    CHECK_INT("set", why_set(&why, -EINVAL, "the %s is %d", "answer", 42), -EINVAL);
    CHECK_TEXT("set", why_text(&why, -ENOENT), "the answer is 42");
    CHECK_INT("prefixed", why_prefix(&why, "file:%u", 7), -EINVAL);
    CHECK_TEXT("prefixed", why.text, "file:7: the answer is 42");
    CHECK_INT("prefixed twice", why_prefix(&why, "a"), -EINVAL);
    CHECK_TEXT("prefixed twice", why.text, "a: file:7: the answer is 42");

    CHECK_INT("wrapped", why_set(&why, -EIO, "<%s>", why_text(&why, 0)), -EIO);
    CHECK_TEXT("wrapped", why.text, "<a: file:7: the answer is 42>");

    CHECK_INT("cut", why_set(&why, -EINVAL, "%s", wide), -EINVAL);
    CHECK_INT("cut", strlen(why.text), sizeof(why.text) - 1);
    CHECK_INT("cut with prefix", why_prefix(&why, "%s", wide), -EINVAL);
    CHECK("cut with prefix", strlen(why.text) < sizeof(why.text));
    CHECK_CONTAINS("cut with prefix", why.text, "w: w");
    CHECK_END();
}

static void test_array(void **state)
{
    int *items = NULL, *copy = NULL, *same;
    size_t n = 0, capacity = 0;

    (void)state;
    for (int i = 0; i < 1000; i++)
        CHECK_INT("push", ARRAY_PUSH(items, n, capacity, i * i), 0);
    CHECK_INT("count", n, 1000);
    CHECK("capacity", capacity >= n && capacity < 4 * n);
    CHECK("values", items[0] == 0 && items[31] == 961 && items[999] == 998001);

    same = items;
    CHECK_INT("enough room", ARRAY_RESERVE(items, capacity, 10), 0);
    CHECK("enough room", items == same);
    CHECK_INT("too much", ARRAY_RESERVE(items, capacity, SIZE_MAX / 2), -ENOMEM);
    CHECK("unchanged", items == same && items[999] == 998001);

    CHECK_INT("copy", array_copy((void **)&copy, items, n, sizeof(*items)), 0);
    CHECK("copy", copy != items && memcmp(copy, items, n * sizeof(*items)) == 0);
    free(copy);
    CHECK_INT("copy of nothing", array_copy((void **)&copy, items, 0, sizeof(*items)), 0);
    CHECK("copy of nothing", copy == NULL);
    same = items;
    CHECK_INT("copy too large", array_copy((void **)&same, items, SIZE_MAX / 2, 8), -ENOMEM);
    CHECK("copy too large", same == items);
    free(items);
    CHECK_END();
}

static void test_rstr(void **state)
{
    struct rstr *a = rstr_new("text"), *b = rstr_ref(a);

    (void)state;
    CHECK("shared", a == b && a->refs == 2);
    CHECK_TEXT("text", rstr_text(a), "text");
    rstr_unref(b);
    CHECK_INT("one left", a->refs, 1);
    rstr_unref(a);
    CHECK("NULL", rstr_ref(NULL) == NULL);
    rstr_unref(NULL);
    CHECK_TEXT("NULL", rstr_text(NULL), "");
    CHECK_END();
}

static void test_str_set(void **state)
{
    char text[4];

    (void)state;
    CHECK_INT("fits", str_set(text, sizeof(text), "abc"), 1);
    CHECK_TEXT("fits", text, "abc");
    CHECK_INT("shorter: the rest is zero", str_set(text, sizeof(text), "a"), 1);
    CHECK("shorter: the rest is zero", memcmp(text, "a\0\0\0", 4) == 0);
    CHECK_INT("too long", str_set(text, sizeof(text), "abcd"), 0);
    CHECK_TEXT("too long", text, "");
    CHECK_END();
}

static void test_log_level(void **state)
{
    static const struct {
        const char *text;
        int error, level;
    } rows[] = {
        { "debug", 0, LOG_DEBUG },     { "info", 0, LOG_INFO }, { "notice", 0, LOG_NOTICE },
        { "warning", 0, LOG_WARNING }, { "err", 0, LOG_ERR },   { "emerg", 0, LOG_EMERG },
        { "0", 0, LOG_EMERG },         { "7", 0, LOG_DEBUG },   { "8", -EINVAL, 99 },
        { "", -EINVAL, 99 },           { "07", -EINVAL, 99 },   { "error", -EINVAL, 99 },
        { "Debug", -EINVAL, 99 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        int level = 99;

        CHECK_INT(rows[i].text, log_level_from_string(rows[i].text, &level), rows[i].error);
        CHECK_INT(rows[i].text, level, rows[i].level);
    }
    CHECK_END();
}

/* One line per message, cut rather than spilt over, prefixed for the journal. */
static void test_log_line(void **state)
{
    static const struct {
        const char *name, *journal;
        int level, error;
        const char *text, *expected;
    } rows[] = {
        { "plain", NULL, LOG_INFO, 0, "hello", "hello\n" },
        { "journal", "8:9", LOG_ERR, 0, "hello", "<3>hello\n" },
        { "errno", NULL, LOG_ERR, -ENOENT, "cannot", "cannot: No such file or directory\n" },
        { "below the level", NULL, LOG_DEBUG, 0, "hello", "" },
    };
    int saved = dup(STDERR_FILENO), ends[2];

    (void)state;
    unsetenv("JOURNAL_STREAM"); /* it is there when a service runs the tests */
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        char got[2048] = "";
        ssize_t n;

        assert_int_equal(pipe(ends), 0);
        dup2(ends[1], STDERR_FILENO);
        close(ends[1]);
        if (rows[i].journal)
            setenv("JOURNAL_STREAM", rows[i].journal, 1);
        if (rows[i].error)
            (void)log_full_errno(rows[i].level, rows[i].error, "%s", rows[i].text);
        else
            log_full(rows[i].level, "%s", rows[i].text);
        unsetenv("JOURNAL_STREAM");
        dup2(saved, STDERR_FILENO);
        n = read(ends[0], got, sizeof(got) - 1);
        close(ends[0]);
        CHECK_INT(rows[i].name, n, strlen(rows[i].expected));
        CHECK_TEXT(rows[i].name, got, rows[i].expected);
    }
    close(saved);
    CHECK_END();
}

static void test_log_long(void **state)
{
    char wide[5000], got[6000] = "";
    int saved = dup(STDERR_FILENO), ends[2];
    ssize_t n;

    (void)state;
    memset(wide, 'w', sizeof(wide) - 1);
    wide[sizeof(wide) - 1] = '\0';
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    CHECK_INT("gives the error back", log_full_errno(LOG_ERR, -EPERM, "%s", wide), -EPERM);
    dup2(saved, STDERR_FILENO);
    close(saved);
    n = read(ends[0], got, sizeof(got) - 1);
    close(ends[0]);
    CHECK("one line", n > 500 && n <= 1024 && strchr(got, '\n') == got + n - 1);
    CHECK_CONTAINS("the errno is not what is cut", got, "Operation not permitted");
    CHECK_END();
}

static bool same_text(const void *data, uint32_t a, uint32_t b)
{
    const char(*texts)[8] = data;

    return streq(texts[a], texts[b]);
}

/* Every text is there twice, many have the same hash: the first of each is kept. */
static void test_hash_set(void **state)
{
    enum { N = 2000 };
    static char texts[N][8];
    struct hash_set set = { 0 };
    uint32_t found;

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        snprintf(texts[i], sizeof(texts[i]), "%u", i % (N / 2));
        assert_int_equal(
            hash_set_add(&set, (uint32_t)atoi(texts[i]) / 7, i, same_text, texts, &found), 0);
        CHECK_INT("the first of its kind", found, i % (N / 2));
    }
    CHECK_INT("each once", set.used, N / 2);
    hash_set_done(&set);
    CHECK("done", set.slots == NULL);
    CHECK_END();
}

static void test_hash_bytes(void **state)
{
    static const char text[] = "seventeen letters";

    (void)state;
    CHECK("the same", hash_bytes(text, 17, 3) == hash_bytes(text, 17, 3));
    CHECK("another seed", hash_bytes(text, 17, 3) != hash_bytes(text, 17, 4));
    CHECK("another length", hash_bytes(text, 17, 3) != hash_bytes(text, 16, 3));
    CHECK("the last byte", hash_bytes("12345678a", 9, 0) != hash_bytes("12345678b", 9, 0));
    CHECK("zeros count", hash_bytes("\0\0", 2, 0) != hash_bytes("\0", 1, 0));
    CHECK_INT("nothing", hash_bytes(NULL, 0, 7), hash_bytes(text, 0, 7));
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse_u32),
        cmocka_unit_test(test_parse_word),
        cmocka_unit_test(test_uid_range_parse),
        cmocka_unit_test(test_uid_range_format),
        cmocka_unit_test(test_uid_ranges_coalesce),
        cmocka_unit_test(test_strbuf),
        cmocka_unit_test(test_strbuf_failure),
        cmocka_unit_test(test_ratelimit),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_why_is_utf8),
        cmocka_unit_test(test_array),
        cmocka_unit_test(test_rstr),
        cmocka_unit_test(test_str_set),
        cmocka_unit_test(test_log_level),
        cmocka_unit_test(test_log_line),
        cmocka_unit_test(test_log_long),
        cmocka_unit_test(test_hash_set),
        cmocka_unit_test(test_hash_bytes),
    };

    return RUN_TESTS(tests);
}
