/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/basic/ipaddr: literals, and prefix arithmetic at the bits where it goes wrong. */

#include "unit/check.h"

#include <errno.h>

#include "basic/ipaddr.h"

static struct ip_addr addr(const char *text)
{
    struct ip_addr a = { 0 };

    assert_int_equal(ip_addr_parse(text, &a), 0);
    return a;
}

static struct ip_prefix prefix(const char *text)
{
    struct ip_prefix p = { 0 };

    assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

static void test_addr_parse(void **state)
{
    static const struct {
        const char *text;
        int error, family;
        const char *printed;
    } rows[] = {
        { "0.0.0.0", 0, AF_INET, "0.0.0.0" },
        { "255.255.255.255", 0, AF_INET, "255.255.255.255" },
        { "10.0.0.1", 0, AF_INET, "10.0.0.1" },
        { "::", 0, AF_INET6, "::" },
        { "::1", 0, AF_INET6, "::1" },
        { "FE80::ABCD", 0, AF_INET6, "fe80::abcd" },
        { "2001:db8:0:0:0:0:0:1", 0, AF_INET6, "2001:db8::1" },
        { "::ffff:1.2.3.4", 0, AF_INET6, "::ffff:1.2.3.4" },
        { "", -EINVAL, 0, NULL },
        { ":", -EINVAL, 0, NULL },
        { "1.2.3", -EINVAL, 0, NULL },
        { "1.2.3.4.5", -EINVAL, 0, NULL },
        { "256.0.0.1", -EINVAL, 0, NULL },
        { " 1.2.3.4", -EINVAL, 0, NULL },
        { "1.2.3.4 ", -EINVAL, 0, NULL },
        { "0x1.2.3.4", -EINVAL, 0, NULL },
        { "fe80::1%eth0", -EINVAL, 0, NULL },
        { ":::", -EINVAL, 0, NULL },
        { "1:2:3:4:5:6:7:8:9", -EINVAL, 0, NULL },
        { "default", -EINVAL, 0, NULL },
    };
    static const struct ip_addr none;
    char text[IP_TEXT_MAX];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a = { .family = 99 };

        CHECK_INT(rows[i].text, ip_addr_parse(rows[i].text, &a), rows[i].error);
        CHECK_INT(rows[i].text, a.family, rows[i].error ? 99 : rows[i].family);
        if (rows[i].error == 0)
            CHECK_TEXT(rows[i].text, ip_addr_format(&a, text), rows[i].printed);
    }
    CHECK_TEXT("none", ip_addr_format(&none, text), "none");
    CHECK_END();
}

static void test_addr_make(void **state)
{
    static const uint8_t bytes[16] = { 1, 2, 3, 4, 5 };
    static const struct {
        const char *name;
        int family;
        size_t size;
        bool set;
    } rows[] = {
        { "IPv4", AF_INET, 4, true },
        { "IPv6", AF_INET6, 16, true },
        { "IPv4, 16 bytes", AF_INET, 16, false },
        { "IPv6, 4 bytes", AF_INET6, 4, false },
        { "no bytes", AF_INET, 0, false },
        { "no family", AF_UNSPEC, 4, false },
        { "no family, nothing", AF_UNSPEC, 0, false },
        { "odd family", AF_UNIX, 4, false },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a = ip_addr_make(rows[i].family, bytes, rows[i].size);

        CHECK_INT(rows[i].name, ip_addr_is_set(&a), rows[i].set);
        if (rows[i].set)
            CHECK(rows[i].name, memcmp(a.bytes, bytes, rows[i].size) == 0);
    }
    CHECK("unused bytes are zero", ip_addr_make(AF_INET, bytes, 4).bytes[4] == 0);
    CHECK_INT("bits", ip_family_bits(AF_INET), 32);
    CHECK_INT("bits", ip_family_bits(AF_INET6), 128);
    CHECK_INT("bits", ip_family_bits(AF_UNSPEC), 0);
    CHECK_INT("index", family_index(AF_INET), 0);
    CHECK_INT("index", family_index(AF_INET6), 1);
    CHECK_INT("index", family_at(0), AF_INET);
    CHECK_INT("index", family_at(1), AF_INET6);
    CHECK_END();
}

static void test_addr_kinds(void **state)
{
    static const struct {
        const char *text;
        bool any, loopback, multicast, link_local;
    } rows[] = {
        { "0.0.0.0", true, false, false, false },
        { "0.0.0.1", false, false, false, false },
        { "126.255.255.255", false, false, false, false },
        { "127.0.0.0", false, true, false, false },
        { "127.255.255.255", false, true, false, false },
        { "128.0.0.0", false, false, false, false },
        { "169.253.255.255", false, false, false, false },
        { "169.254.0.0", false, false, false, true },
        { "169.254.255.255", false, false, false, true },
        { "169.255.0.0", false, false, false, false },
        { "223.255.255.255", false, false, false, false },
        { "224.0.0.0", false, false, true, false },
        { "239.255.255.255", false, false, true, false },
        { "240.0.0.0", false, false, false, false },
        { "::", true, false, false, false },
        { "::1", false, true, false, false },
        { "::2", false, false, false, false },
        { "::ffff:127.0.0.1", false, false, false, false },
        { "fe7f:ffff::1", false, false, false, false },
        { "fe80::", false, false, false, true },
        { "febf:ffff::1", false, false, false, true },
        { "fec0::", false, false, false, false },
        { "feff::", false, false, false, false },
        { "ff00::", false, false, true, false },
        { "ffff::", false, false, true, false },
    };
    static const struct ip_addr none;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a = addr(rows[i].text);

        CHECK_INT(rows[i].text, ip_addr_is_any(&a), rows[i].any);
        CHECK_INT(rows[i].text, ip_addr_is_loopback(&a), rows[i].loopback);
        CHECK_INT(rows[i].text, ip_addr_is_multicast(&a), rows[i].multicast);
        CHECK_INT(rows[i].text, ip_addr_is_link_local(&a), rows[i].link_local);
    }
    CHECK("none", !ip_addr_is_any(&none) && !ip_addr_is_loopback(&none) &&
                      !ip_addr_is_multicast(&none) && !ip_addr_is_link_local(&none));
    CHECK_END();
}

static void test_addr_next(void **state)
{
    static const struct {
        const char *text, *next; /* NULL: it is the last */
    } rows[] = {
        { "0.0.0.0", "0.0.0.1" },
        { "0.0.0.255", "0.0.1.0" },
        { "9.255.255.255", "10.0.0.0" },
        { "127.255.255.255", "128.0.0.0" },
        { "255.255.255.254", "255.255.255.255" },
        { "255.255.255.255", NULL },
        { "::", "::1" },
        { "::ffff", "::1:0" },
        { "::ffff:ffff:ffff:ffff", "0:0:0:1::" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff" },
        { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", NULL },
    };
    static const struct ip_addr none;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a = addr(rows[i].text), next = none, want;

        CHECK_INT(rows[i].text, ip_addr_next(&a, &next), rows[i].next != NULL);
        want = rows[i].next ? addr(rows[i].next) : none;
        CHECK(rows[i].text, ip_addr_equal(&next, &want));
    }
    CHECK("none", !ip_addr_next(&none, &(struct ip_addr){ 0 }));
    CHECK_END();
}

static void test_compare(void **state)
{
    static const char *const ascending[] = {
        "0.0.0.0/0",   "0.0.0.0/1",       "0.0.0.0/32", "0.0.0.1", "127.255.255.255",
        "128.0.0.0/1", "255.255.255.255", "::/0",       "::/128",  "::1",
        "7fff::",      "8000::/1",        "ffff::/16",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        for (size_t j = 0; j < ELEMENTSOF(ascending); j++) {
            struct ip_prefix a = prefix(ascending[i]), b = prefix(ascending[j]);
            int c = ip_prefix_compare(&a, &b);

            CHECK_INT(ascending[i], CMP(c, 0), CMP(i, j));
        }
    CHECK_END();
}

static void test_prefix_parse(void **state)
{
    static const struct {
        const char *text;
        int error;
        const char *printed;
    } rows[] = {
        { "0.0.0.0/0", 0, "0.0.0.0/0" },
        { "10.0.0.0/8", 0, "10.0.0.0/8" },
        { "10.0.0.1", 0, "10.0.0.1/32" },
        { "10.0.0.1/32", 0, "10.0.0.1/32" },
        { "10.0.0.0/31", 0, "10.0.0.0/31" },
        { "10.0.0.1/31", -EDOM, NULL },
        { "128.0.0.0/1", 0, "128.0.0.0/1" },
        { "128.0.0.0/0", -EDOM, NULL },
        { "10.0.0.0/33", -EINVAL, NULL },
        { "10.0.0.0/-1", -EINVAL, NULL },
        { "10.0.0.0/", -EINVAL, NULL },
        { "10.0.0.0/ 8", -EINVAL, NULL },
        { "10.0.0.0/8 ", -EINVAL, NULL },
        { "10.0.0.0/8/8", -EINVAL, NULL },
        { "10/8", -EINVAL, NULL },
        { "/8", -EINVAL, NULL },
        { "", -EINVAL, NULL },
        { "default", -EINVAL, NULL },
        { "::/0", 0, "::/0" },
        { "::1", 0, "::1/128" },
        { "8000::/1", 0, "8000::/1" },
        { "8000::/0", -EDOM, NULL },
        { "::2/127", 0, "::2/127" },
        { "::1/127", -EDOM, NULL },
        { "::1/128", 0, "::1/128" },
        { "::1/129", -EINVAL, NULL },
        { "fe80::1/10", -EDOM, NULL },
        { "1111:2222:3333:4444:5555:6666:123.123.123.123/128", 0,
          "1111:2222:3333:4444:5555:6666:7b7b:7b7b/128" },
        { "1111:2222:3333:4444:5555:6666:123.123.123.123/1280000000", -EINVAL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_prefix p = { .len = 99 };
        char text[IP_TEXT_MAX];

        CHECK_INT(rows[i].text, ip_prefix_parse(rows[i].text, &p), rows[i].error);
        if (rows[i].error)
            CHECK_INT(rows[i].text, p.len, 99);
        else
            CHECK_TEXT(rows[i].text, ip_prefix_format(&p, text), rows[i].printed);
    }
    CHECK_END();
}

static bool bit(const struct ip_addr *a, unsigned i)
{
    return a->bytes[i / 8] & (0x80 >> (i % 8));
}

/* Bit by bit, as the definition has it. */
static bool contains_slowly(const struct ip_prefix *p, const struct ip_addr *a)
{
    if (p->addr.family != a->family)
        return false;
    for (unsigned i = 0; i < p->len; i++)
        if (bit(&p->addr, i) != bit(a, i))
            return false;
    return true;
}

/* One address, one length: make, contains, last against their definitions. */
static void check_arithmetic(const char *row, const struct ip_addr *a, unsigned len)
{
    struct ip_prefix p = ip_prefix_make(a, len);
    struct ip_addr last = ip_prefix_last(&p), behind;
    unsigned bits = ip_family_bits(a->family);

    CHECK_INT(row, p.len, len);
    for (unsigned i = 0; i < bits; i++) {
        CHECK_INT(row, bit(&p.addr, i), i < len && bit(a, i));
        CHECK_INT(row, bit(&last, i), i >= len || bit(a, i));
    }
    CHECK(row, ip_prefix_contains(&p, a));
    CHECK(row, ip_prefix_contains(&p, &p.addr));
    CHECK(row, ip_prefix_contains(&p, &last));
    if (ip_addr_next(&last, &behind))
        CHECK(row, !ip_prefix_contains(&p, &behind));
    for (unsigned i = 0; i < bits; i++) {
        struct ip_addr other = *a; /* one bit turned over */

        other.bytes[i / 8] ^= (uint8_t)(0x80 >> (i % 8));
        CHECK_INT(row, ip_prefix_contains(&p, &other), contains_slowly(&p, &other));
    }
}

static void test_prefix_arithmetic(void **state)
{
    static const char *const addrs[] = {
        "0.0.0.0",
        "255.255.255.255",
        "10.1.2.3",
        "170.85.170.85",
        "::",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8:aa55:55aa::5a5a:a5a5",
    };
    static const unsigned lens[] = { 0,  1,  7,  8,  9,  15, 16,  17,  24, 30,
                                     31, 32, 33, 63, 64, 65, 126, 127, 128 };
    struct ip_prefix all4 = prefix("0.0.0.0/0"), all6 = prefix("::/0");
    struct ip_addr a4 = addr("10.0.0.1"), a6 = addr("::1");

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(addrs); i++)
        for (size_t j = 0; j < ELEMENTSOF(lens); j++) {
            struct ip_addr a = addr(addrs[i]);

            if (lens[j] <= ip_family_bits(a.family))
                check_arithmetic(addrs[i], &a, lens[j]);
        }
    CHECK("other family", !ip_prefix_contains(&all4, &a6) && !ip_prefix_contains(&all6, &a4));
    CHECK("same family", ip_prefix_contains(&all4, &a4) && ip_prefix_contains(&all6, &a6));
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addr_parse),        cmocka_unit_test(test_addr_make),
        cmocka_unit_test(test_addr_kinds),        cmocka_unit_test(test_addr_next),
        cmocka_unit_test(test_compare),           cmocka_unit_test(test_prefix_parse),
        cmocka_unit_test(test_prefix_arithmetic),
    };

    return RUN_TESTS(tests);
}
