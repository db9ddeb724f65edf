/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/routespec: DST [via GW|unreachable|throw] [dev IF] [mtu N]. */

#include "unit/check.h"

#include <errno.h>

#include "wire/routespec.h"

#define LONG_NAME "exactly15bytes!"

/* clang-format off */
static const struct {
    const char *text;
    const char *printed; /* NULL: refused */
    const char *why;
} rows[] = {
    { "10.0.0.0/8", "10.0.0.0/8", NULL },
    { "10.0.0.1", "10.0.0.1/32", NULL },
    { "fd00::/8", "fd00::/8", NULL },
    { "fd00::1", "fd00::1/128", NULL },
    { "default", "0.0.0.0/0", NULL },
    { "0.0.0.0/0", "0.0.0.0/0", NULL },
    { "::/0", "::/0", NULL },
    { "default via 10.0.0.1", "0.0.0.0/0 via 10.0.0.1", NULL },
    { "default via fe80::1", "::/0 via fe80::1", NULL },
    { "default unreachable", "0.0.0.0/0 unreachable", NULL },
    { "::/0 throw", "::/0 throw", NULL },
    { "10.0.0.0/8 dev eth0", "10.0.0.0/8 dev eth0", NULL },
    { "10.0.0.0/8 dev " LONG_NAME, "10.0.0.0/8 dev " LONG_NAME, NULL },
    { "10.0.0.0/8 dev via", "10.0.0.0/8 dev via", NULL },
    { "10.0.0.0/8 mtu 68", "10.0.0.0/8 mtu 68", NULL },
    { "10.0.0.0/8 mtu 65535", "10.0.0.0/8 mtu 65535", NULL },
    { "fd00::/8 mtu 1280", "fd00::/8 mtu 1280", NULL },
    { "10.0.0.0/8 mtu 1400 dev eth0 via 10.0.0.1", "10.0.0.0/8 via 10.0.0.1 dev eth0 mtu 1400",
      NULL },
    { "10.0.0.0/8 dev eth0 unreachable", "10.0.0.0/8 unreachable dev eth0", NULL },
    { "  10.0.0.0/8 \t dev\teth0  ", "10.0.0.0/8 dev eth0", NULL },
    { "", NULL, "needs a destination" },
    { "   ", NULL, "needs a destination" },
    { "10.0.0.1/8", NULL, "bits set beyond its prefix length" },
    { "::1/0", NULL, "bits set beyond its prefix length" },
    { "10.0.0.0/33", NULL, "is no destination" },
    { "10.0.0.0/8/8", NULL, "is no destination" },
    { "via 10.0.0.1", NULL, "'via' is no destination" },
    { "example.org", NULL, "is no destination" },
    { "Default", NULL, "is no destination" },
    { "10.0.0.0/8 via", NULL, "'via' at the end" },
    { "10.0.0.0/8 dev", NULL, "'dev' at the end" },
    { "10.0.0.0/8 mtu", NULL, "'mtu' at the end" },
    { "10.0.0.0/8 via default", NULL, "is no gateway address" },
    { "10.0.0.0/8 via 10.0.0.1/32", NULL, "is no gateway address" },
    { "10.0.0.0/8 via fe80::1%eth0", NULL, "is no gateway address" },
    { "10.0.0.0/8 via fe80::1", NULL, "different families" },
    { "fd00::/8 via 10.0.0.1", NULL, "different families" },
    { "10.0.0.0/8 via 0.0.0.0", NULL, "the address of a host" },
    { "fd00::/8 via ::", NULL, "the address of a host" },
    { "10.0.0.0/8 via 224.0.0.1", NULL, "the address of a host" },
    { "fd00::/8 via ff02::1", NULL, "the address of a host" },
    { "10.0.0.0/8 via 10.0.0.1 unreachable", NULL, "either via a gateway or unreachable" },
    { "10.0.0.0/8 throw via 10.0.0.1", NULL, "either via a gateway or unreachable" },
    { "10.0.0.0/8 dev " LONG_NAME "!", NULL, "is no interface name" },
    { "10.0.0.0/8 mtu 67", NULL, "is no mtu" },
    { "10.0.0.0/8 mtu 65536", NULL, "is no mtu" },
    { "10.0.0.0/8 mtu 0", NULL, "is no mtu" },
    { "10.0.0.0/8 mtu -1", NULL, "is no mtu" },
    { "10.0.0.0/8 mtu 1400x", NULL, "is no mtu" },
    { "fd00::/8 mtu 1279", NULL, "RFC 8200" },
    { "default mtu 1000 via fe80::1", NULL, "RFC 8200" },
    { "10.0.0.0/8 metric 5", NULL, "'metric' is not part of a route" },
    { "10.0.0.0/8 via 1.1.1.1 dev a mtu 99 dev b mtu 98", NULL, "too many words" },
};

/* Said twice: a slip that must not pass as one of the two. */
static const char *const twice[] = {
    "10.0.0.0/8 via 10.0.0.1 via 10.0.0.2",
    "10.0.0.0/8 dev eth0 dev eth1",
    "10.0.0.0/8 mtu 1400 mtu 1300",
    "10.0.0.0/8 unreachable throw",
};
/* clang-format on */

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct route_spec route = { .mtu = 77 }, back;
        struct why why = { 0 };
        int r = route_spec_parse_line(rows[i].text, &route, &why);

        if (!rows[i].printed) {
            CHECK_INT(rows[i].text, r, -EINVAL);
            CHECK_INT(rows[i].text, route.mtu, 77);
            CHECK_CONTAINS(rows[i].text, why.text, rows[i].why);
            continue;
        }
        if (!CHECK_INT(rows[i].text, r, 0))
            continue;
        route_spec_print(&route, &b);
        CHECK_TEXT(rows[i].text, strbuf_text(&b), rows[i].printed);
        if (CHECK_INT(rows[i].text, route_spec_parse_line(strbuf_text(&b), &back, NULL), 0))
            CHECK_INT(rows[i].text, route_spec_compare(&route, &back), 0);
    }
    CHECK_END();
}

static void test_twice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(twice); i++) {
        struct route_spec route;

        CHECK_INT(twice[i], route_spec_parse_line(twice[i], &route, NULL), -EINVAL);
    }
    CHECK_END();
}

/* Words may hold what a line cannot. */
static void test_words(void **state)
{
    static const char *const empty_name[] = { "10.0.0.0/8", "dev", "" };
    static const char *const spaced_name[] = { "10.0.0.0/8", "dev", "a b" };
    char long_line[400];
    struct route_spec route;

    (void)state;
    CHECK_INT("none", route_spec_parse(NULL, 0, &route, NULL), -EINVAL);
    CHECK_INT("empty name", route_spec_parse(empty_name, 3, &route, NULL), -EINVAL);
    CHECK_INT("name with a space", route_spec_parse(spaced_name, 3, &route, NULL), 0);
    CHECK_TEXT("name with a space", route.interface, "a b");
    memset(long_line, ' ', sizeof(long_line));
    long_line[sizeof(long_line) - 1] = '\0';
    CHECK_INT("long line", route_spec_parse_line(long_line, &route, NULL), -EINVAL);
    CHECK_END();
}

static void test_order(void **state)
{
    static const char *const ascending[] = {
        "0.0.0.0/0",
        "10.0.0.0/8",
        "10.0.0.0/8 dev a",
        "10.0.0.0/8 dev a mtu 99",
        "10.0.0.0/8 dev b",
        "10.0.0.0/8 via 1.1.1.1",
        "10.0.0.0/8 unreachable",
        "10.0.0.0/8 throw",
        "10.0.0.0/9",
        "::/0",
    };
    struct route_spec r[ELEMENTSOF(ascending)];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        assert_int_equal(route_spec_parse_line(ascending[i], &r[i], NULL), 0);
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        for (size_t j = 0; j < ELEMENTSOF(ascending); j++)
            CHECK_INT(ascending[i], CMP(route_spec_compare(&r[i], &r[j]), 0), CMP(i, j));
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_twice),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_order),
    };

    return RUN_TESTS(tests);
}
