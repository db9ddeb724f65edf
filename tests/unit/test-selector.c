/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/selector: KIND:VALUE. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "wire/selector.h"

#define A16   "aaaaaaaaaaaaaaaa"
#define A64   A16 A16 A16 A16
#define A256  A64 A64 A64 A64
#define A1024 A256 A256 A256 A256
#define A4096 A1024 A1024 A1024 A1024

/* clang-format off */
static const struct {
    const char *text;
    int kind; /* negative: refused */
    const char *says; /* the printed form, or a part of the reason */
} rows[] = {
    { "uid:0", SELECTOR_UID, "uid:0" },
    { "uid:1000", SELECTOR_UID, "uid:1000" },
    { "uid:1000-1999", SELECTOR_UID, "uid:1000-1999" },
    { "uid:7-7", SELECTOR_UID, "uid:7" },
    { "uid:007", SELECTOR_UID, "uid:7" },
    { "uid:0-4294967294", SELECTOR_UID, "uid:0-4294967294" },
    { "uid:4294967295", -EINVAL, "0 <= N <= M <= 4294967294" },
    { "uid:5-4294967295", -EINVAL, "no uid or range" },
    { "uid:9-8", -EINVAL, "no uid or range" },
    { "uid:", -EINVAL, "no uid or range" },
    { "uid: 1", -EINVAL, "no uid or range" },
    { "uid:0x10", -EINVAL, "no uid or range" },
    { "uid:alice", -EINVAL, "no uid or range" },
    { "user:alice", SELECTOR_USER, "user:alice" },
    { "user:1000", SELECTOR_USER, "user:1000" },
    { "user:a.b-c_d$", SELECTOR_USER, "user:a.b-c_d$" },
    { "user:\xc3\xa9milie", SELECTOR_USER, "user:\xc3\xa9milie" },
    { "user:", -EINVAL, "the value is empty" },
    { "user:a b", -EINVAL, "a space, ':' or '/'" },
    { "user:a:b", -EINVAL, "a space, ':' or '/'" },
    { "user:a/b", -EINVAL, "a space, ':' or '/'" },
    { "user:a\tb", -EINVAL, "a control character" },
    { "user:a\nb", -EINVAL, "a control character" },
    { "user:a\x7f", -EINVAL, "a control character" },
    { "user:" A64 A64 A64 A16 A16 A16 "123456789012345", SELECTOR_USER, NULL },
    { "user:" A256, -EINVAL, "longer than 255 bytes" },
    { "group:staff", SELECTOR_GROUP, "group:staff" },
    { "group:", -EINVAL, "the value is empty" },
    { "group:a:b", -EINVAL, "a space, ':' or '/'" },
    { "cgroup:/", SELECTOR_CGROUP, "cgroup:/" },
    { "cgroup:/app.slice/x.scope", SELECTOR_CGROUP, "cgroup:/app.slice/x.scope" },
    { "cgroup:/a b:c", SELECTOR_CGROUP, "cgroup:/a b:c" },
    { "cgroup:/a/..b/c..", SELECTOR_CGROUP, "cgroup:/a/..b/c.." },
    { "cgroup:/a/", SELECTOR_CGROUP, "cgroup:/a" }, /* one directory has one text */
    { "cgroup:/a//b/./.c/.", SELECTOR_CGROUP, "cgroup:/a/b/.c" },
    { "cgroup://", SELECTOR_CGROUP, "cgroup:/" },
    { "cgroup:/./", SELECTOR_CGROUP, "cgroup:/" },
    { "cgroup:app.slice", -EINVAL, "does not start with '/'" },
    { "cgroup:", -EINVAL, "the value is empty" },
    { "cgroup:/..", -EINVAL, "a '..' in it" },
    { "cgroup:/a/../b", -EINVAL, "a '..' in it" },
    { "cgroup:/a/..", -EINVAL, "a '..' in it" },
    { "cgroup:/" A4096, -EINVAL, "longer than 4096 bytes" },
    { "unit:firefox.service", SELECTOR_UNIT, "unit:firefox.service" },
    { "unit:a@b:c.scope", SELECTOR_UNIT, "unit:a@b:c.scope" },
    { "unit:user.slice", SELECTOR_UNIT, "unit:user.slice" },
    { "unit:firefox", -EINVAL, "needs its suffix" },
    { "unit:.service", -EINVAL, "needs its suffix" },
    { "unit:firefox.device", -EINVAL, "needs its suffix" },
    { "unit:firefox.service.", -EINVAL, "needs its suffix" },
    { "unit:a b.service", -EINVAL, "a space or '/'" },
    { "unit:a/b.service", -EINVAL, "a space or '/'" },
    { "unit:", -EINVAL, "the value is empty" },
    { "exe:/usr/bin/firefox", SELECTOR_EXE, "exe:/usr/bin/firefox" },
    { "exe:/usr/lib/my app", SELECTOR_EXE, "exe:/usr/lib/my app" },
    { "exe://usr/./bin//x", SELECTOR_EXE, "exe:/usr/bin/x" },
    { "exe:/", -EINVAL, "ends with '/'" },
    { "exe:/usr/bin/", -EINVAL, "ends with '/'" },
    { "exe:/.", -EINVAL, "ends with '/'" },
    { "exe:firefox", -EINVAL, "does not start with '/'" },
    { "exe:/usr/../bin/x", -EINVAL, "a '..' in it" },
    { "exe:", -EINVAL, "the value is empty" },
    { "", -EINVAL, "is no selector" },
    { ":", -EINVAL, "is no selector" },
    { "uid", -EINVAL, "is no selector" },
    { ":1000", -EINVAL, "is no selector" },
    { "1000", -EINVAL, "is no selector" },
    { "UID:1000", -EINVAL, "is no selector" },
    { " uid:1000", -EINVAL, "is no selector" },
    { "app:x", -EINVAL, "use uid:N, uid:N-M, user:NAME" },
    { A64 ":x", -EINVAL, "is no selector" },
    { A4096, -EINVAL, "is no selector" },
};
/* clang-format on */

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct selector s = { .kind = SELECTOR_KIND_MAX }, back;
        struct why why = { 0 };
        int r = selector_parse(rows[i].text, &s, &why);

        if (rows[i].kind < 0) {
            CHECK_INT(rows[i].text, r, rows[i].kind);
            CHECK_INT(rows[i].text, s.kind, SELECTOR_KIND_MAX);
            CHECK_INT(rows[i].text, why.error, r);
            CHECK_CONTAINS(rows[i].text, why.text, rows[i].says);
            continue;
        }
        if (!CHECK_INT(rows[i].text, r, 0))
            continue;
        CHECK_INT(rows[i].text, s.kind, rows[i].kind);
        CHECK_INT(rows[i].text, s.text == NULL, s.kind == SELECTOR_UID);
        selector_print(&s, &b);
        CHECK_TEXT(rows[i].text, strbuf_text(&b), rows[i].says ? rows[i].says : rows[i].text);
        if (CHECK_INT(rows[i].text, selector_parse(strbuf_text(&b), &back, NULL), 0)) {
            CHECK_INT(rows[i].text, selector_compare(&s, &back), 0);
            selector_done(&back);
        }
        selector_done(&s);
        CHECK(rows[i].text, s.text == NULL);
    }
    CHECK_END();
}

/* Numbers of apps: never 0, of equal selectors equal, and no two of many alike. */
static int compare_numbers(const void *x, const void *y)
{
    const uint64_t *a = x, *b = y;

    return CMP(*a, *b);
}

static void test_number(void **state)
{
    enum { KINDS = 6, EACH = 20000, ALL = KINDS * EACH };
    static const char *const kinds[KINDS][2] = {
        { "uid:", "" },    { "uid:", "-4294967294" },  { "user:u", "" },
        { "group:u", "" }, { "cgroup:/a.slice/", "" }, { "exe:/usr/bin/program-", "" },
    };
    _cleanup_free_ uint64_t *numbers = calloc(ALL, sizeof(*numbers));
    size_t twice = 0;

    (void)state;
    assert_non_null(numbers);
    for (unsigned i = 0; i < ALL; i++) {
        struct selector s = { 0 }, again = { 0 };
        char text[64];

        (void)snprintf(text, sizeof(text), "%s%u%s", kinds[i % KINDS][0], i / KINDS,
                       kinds[i % KINDS][1]);
        assert_int_equal(selector_parse(text, &s, NULL) | selector_parse(text, &again, NULL), 0);
        numbers[i] = selector_number(&s);
        CHECK("the same again", numbers[i] == selector_number(&again) && numbers[i] != 0);
        selector_done(&s);
        selector_done(&again);
    }
    qsort(numbers, ALL, sizeof(*numbers), compare_numbers);
    for (size_t i = 1; i < ALL; i++)
        twice += numbers[i] == numbers[i - 1];
    CHECK_INT("alike", twice, 0);
    CHECK_END();
}

static void test_order(void **state)
{
    static const char *const ascending[] = {
        "uid:0-9", "uid:1",   "uid:1-4294967294", "uid:2",     "user:a",         "user:b",
        "user:ba", "group:a", "cgroup:/",         "cgroup:/a", "unit:a.service", "exe:/a",
    };
    struct selector s[ELEMENTSOF(ascending)];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        assert_int_equal(selector_parse(ascending[i], &s[i], NULL), 0);
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        for (size_t j = 0; j < ELEMENTSOF(ascending); j++)
            CHECK_INT(ascending[i], CMP(selector_compare(&s[i], &s[j]), 0), CMP(i, j));
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        selector_done(&s[i]);
    CHECK_END();
}

static void test_supported(void **state)
{
    static const struct {
        const char *text;
        int error;
    } supported[] = {
        { "uid:1", 0 },
        { "user:a", 0 },
        { "group:a", 0 },
        { "cgroup:/a", -EOPNOTSUPP },
        { "unit:a.scope", -EOPNOTSUPP },
        { "exe:/a", -EOPNOTSUPP },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(supported); i++) {
        struct why why = { 0 };
        struct selector s;

        assert_int_equal(selector_parse(supported[i].text, &s, NULL), 0);
        CHECK_INT(supported[i].text, selector_check_supported(&s, false, &why), supported[i].error);
        CHECK_INT(supported[i].text, selector_check_supported(&s, true, NULL), 0);
        if (supported[i].error)
            CHECK_CONTAINS(supported[i].text, why.text, selector_kind_to_string(s.kind));
        selector_done(&s);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_number),
        cmocka_unit_test(test_supported),
    };

    return RUN_TESTS(tests);
}
