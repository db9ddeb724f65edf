/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/engine/minivtun: ciphers, tables of the server, routes, health; src/wire/minivtun. */

#include "unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "engine/minivtun/crypto.h"
#include "engine/minivtun/health.h"
#include "engine/minivtun/peers.h"
#include "engine/minivtun/routes.h"

static struct ip_addr address(const char *text)
{
    struct ip_addr a = { 0 };

    assert_int_equal(ip_addr_parse(text, &a), 0);
    return a;
}

static struct endpoint endpoint(const char *text, uint16_t port)
{
    struct endpoint e;

    assert_int_equal(endpoint_parse(text, port, &e), 0);
    return e;
}

/* The first bytes of "0123…" as each cipher has them with the password "secret": from openssl enc. */
/* clang-format off */
static const struct {
    const char *name;
    size_t padded; /* of 20 bytes */
    uint8_t first[8];
} ciphers[] = {
    { "aes-128", 32, { 0x5c, 0x15, 0xe4, 0x6a, 0x96, 0x52, 0x38, 0xa2 } },
    { "aes-256", 32, { 0x9a, 0x6c, 0x97, 0x9e, 0x41, 0x15, 0x43, 0x14 } },
    { "des", 24, { 0xe2, 0x31, 0xda, 0x96, 0xd4, 0x90, 0xea, 0xed } },
    { "desx", 24, { 0xf9, 0x25, 0xe2, 0xb5, 0x70, 0x2b, 0x35, 0x75 } },
    { "rc4", 32, { 0xa6, 0x2d, 0xca, 0xec, 0x8f, 0x4a, 0x99, 0xb1 } },
};
/* clang-format on */

static void test_ciphers(void **state)
{
    static const uint8_t md5[] = { 0x5e, 0xbe, 0x22, 0x94, 0xec, 0xd0, 0xe0, 0xf0,
                                   0x8e, 0xab, 0x76, 0x90, 0xd2, 0xa6, 0xee, 0x69 };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(ciphers); i++) {
        _cleanup_crypto_ struct crypto *c = NULL;
        uint8_t bytes[64] = "01234567890123456789";
        struct why why = { 0 };

        if (!CHECK_INT(ciphers[i].name, crypto_new(ciphers[i].name, "secret", &c, &why), 0))
            continue;
        CHECK(ciphers[i].name, memcmp(crypto_auth(c), md5, sizeof(md5)) == 0);
        CHECK_INT(ciphers[i].name, crypto_padded(c, 20), ciphers[i].padded);
        /* twice: every message begins anew */
        for (unsigned j = 0; j < 2; j++) {
            memset(bytes + 20, 0x77, sizeof(bytes) - 20);
            CHECK_INT(ciphers[i].name, crypto_encrypt(c, bytes, 20), 0);
            CHECK(ciphers[i].name, memcmp(bytes, ciphers[i].first, 8) == 0);
            CHECK_INT(ciphers[i].name, bytes[ciphers[i].padded], 0x77);
            CHECK_INT(ciphers[i].name, crypto_decrypt(c, bytes, ciphers[i].padded), 0);
            CHECK(ciphers[i].name, memcmp(bytes, "01234567890123456789\0\0\0", 24) == 0);
        }
        CHECK_INT(ciphers[i].name, crypto_decrypt(c, bytes, 0), -EBADMSG);
        CHECK_INT(ciphers[i].name, crypto_decrypt(c, bytes, ciphers[i].padded - 1), -EBADMSG);
    }
    CHECK_END();
}

static void test_clear(void **state)
{
    static const uint8_t zero[MINIVTUN_AUTH_SIZE];
    _cleanup_crypto_ struct crypto *c = NULL, *none = NULL;
    uint8_t bytes[] = "in clear";
    struct why why = { 0 };

    (void)state;
    CHECK_INT("clear", crypto_new("aes-128", NULL, &c, NULL), 0);
    CHECK("clear", crypto_is_clear(c) && memcmp(crypto_auth(c), zero, sizeof(zero)) == 0);
    CHECK_INT("clear", crypto_padded(c, 21), 21);
    CHECK_INT("clear", crypto_encrypt(c, bytes, 8), 0);
    CHECK_TEXT("clear", (const char *)bytes, "in clear");
    CHECK_INT("no such cipher", crypto_new("aes-192", "x", &none, &why), -EINVAL);
    CHECK_CONTAINS("no such cipher", why.text, "aes-128, aes-256, des, desx, rc4");
    CHECK_END();
}

static void test_peers(void **state)
{
    _cleanup_(peers_freep) struct peers *p = NULL;
    struct endpoint a = endpoint("192.0.2.1", 1000), b = endpoint("2001:db8::1", 1000);
    struct ip_addr x = address("10.7.0.2"), y = address("fd00::2");
    struct peer *pa, *pb;
    bool is_new;

    (void)state;
    assert_int_equal(peers_new(&p), 0);
    pa = peers_heard(p, &a, 10, &is_new);
    CHECK("new", pa && is_new);
    CHECK("not new", peers_heard(p, &a, 20, &is_new) == pa && !is_new);
    pb = peers_heard(p, &b, 20, &is_new);
    CHECK("another", pb && is_new && pb != pa);
    CHECK("nobody's", !peers_find(p, &x));
    CHECK_INT("bind", peers_bind(p, pa, &x, 20), 0);
    CHECK_INT("bind", peers_bind(p, pa, &y, 30), 0);
    CHECK("bound", peers_find(p, &x) == pa && peers_find(p, &y) == pa);
    CHECK_INT("roams", peers_bind(p, pb, &x, 40), 0);
    CHECK("roams", peers_find(p, &x) == pb && peers_find(p, &y) == pa);
    CHECK_INT("addresses", pa->n_addresses, 1);
    peers_expire(p, 20);
    CHECK_INT("heard at 20", peers_count(p), 2);
    CHECK_INT("heard at 20", peers_count_addresses(p), 2);
    (void)peers_heard(p, &a, 50, &is_new);
    peers_expire(p, 35);
    CHECK_INT("b was silent, its address with it; a's address, too", peers_count(p), 1);
    CHECK_INT("b was silent, its address with it; a's address, too", peers_count_addresses(p), 0);
    CHECK("forgotten", !peers_find(p, &x) && !peers_find(p, &y));
    CHECK_END();
}

/* Many clients, and one that has more addresses than it may. */
static void test_many_peers(void **state)
{
    enum { MANY = 5000 };
    _cleanup_(peers_freep) struct peers *p = NULL;
    struct endpoint e = endpoint("192.0.2.1", 1);
    struct ip_addr first = address("10.0.0.1"), a = first, kept = address("10.255.0.1");
    struct peer *greedy;
    bool is_new;

    (void)state;
    assert_int_equal(peers_new(&p), 0);
    for (unsigned i = 0; i < MANY; i++) {
        e.in.sin_port = htons((uint16_t)(i + 1));
        struct peer *peer = peers_heard(p, &e, i, &is_new);

        assert_true(peer && is_new);
        assert_int_equal(peers_bind(p, peer, &a, i), 0);
        (void)ip_addr_next(&a, &a);
    }
    CHECK_INT("clients", peers_count(p), MANY);
    CHECK("the first", peers_find(p, &first)->real.in.sin_port == htons(1));
    peers_expire(p, MANY / 2);
    CHECK_INT("half of them", peers_count(p), MANY / 2);
    CHECK_INT("half of them", peers_count_addresses(p), MANY / 2);
    greedy = peers_heard(p, &e, MANY, &is_new);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_equal(peers_bind(p, greedy, &a, MANY + i), 0);
        assert_int_equal(peers_bind(p, greedy, &kept, MANY + i), 0);
        (void)ip_addr_next(&a, &a);
    }
    CHECK_INT("greedy", greedy->n_addresses, PEERS_ADDRESSES_EACH);
    CHECK("what is used stays", peers_find(p, &kept) == greedy);
    CHECK_END();
}

static void test_routes(void **state)
{
    struct routes r = { 0 };
    struct why why = { 0 };
    struct ip_addr in = address("10.1.2.3"), out = address("10.2.0.1"), v6 = address("fd00::9");
    char text[IP_TEXT_MAX];

    (void)state;
    CHECK_INT("net", routes_add(&r, "10.0.0.0/8", &why), 0);
    CHECK_INT("host bits", routes_add(&r, "10.1.9.9/16=10.7.0.2", &why), 0);
    CHECK_TEXT("host bits", ip_prefix_format(&r.items[1].prefix, text), "10.1.0.0/16");
    CHECK_TEXT("gateway", ip_addr_format(routes_find(&r, &in), text), "10.7.0.2");
    CHECK("no gateway", !routes_find(&r, &out));
    CHECK_INT("shorter", routes_add(&r, "10.0.0.0/8=10.7.0.3", &why), 0);
    CHECK_TEXT("last added first", ip_addr_format(routes_find(&r, &in), text), "10.7.0.3");
    CHECK_INT("IPv6", routes_add(&r, "::/0=fd00::2", &why), 0);
    CHECK_TEXT("IPv6", ip_addr_format(routes_find(&r, &v6), text), "fd00::2");
    CHECK_INT("no net", routes_add(&r, "10.0.0.0/33", &why), -EINVAL);
    CHECK_CONTAINS("no net", why.text, "'10.0.0.0/33' is no network");
    CHECK_INT("no gateway", routes_add(&r, "10.0.0.0/8=", &why), -EINVAL);
    CHECK_INT("no host", routes_add(&r, "10.0.0.0/8=224.0.0.1", &why), -EINVAL);
    CHECK_INT("four", r.n, 4);
    routes_done(&r);
    CHECK_END();
}

static void test_health(void **state)
{
    struct health h;
    struct health_sum s;

    (void)state;
    assert_int_equal(health_init(&h, 3), 0);
    s = health_sum(&h);
    CHECK("nothing", s.sent == 0 && s.drop == 0 && s.rtt == 0 && !health_is_bad(&s, 0, 1));
    health_answered(&h, 10);
    health_roll(&h);
    health_answered(&h, 30);
    health_lost(&h);
    s = health_sum(&h);
    CHECK_INT("one of three", s.drop, 33);
    CHECK_INT("mean", s.rtt, 20);
    CHECK("limits are allowed", !health_is_bad(&s, 33, 20));
    CHECK("too many are lost", health_is_bad(&s, 32, 0));
    CHECK("too slow", health_is_bad(&s, 100, 19));
    health_roll(&h);
    health_roll(&h); /* the first bucket is forgotten */
    s = health_sum(&h);
    CHECK("one of two", s.sent == 2 && s.drop == 50 && s.rtt == 30);
    health_reset(&h);
    CHECK_INT("reset", health_sum(&h).sent, 0);
    health_done(&h);
    CHECK_END();
}

static void test_endpoints(void **state)
{
    struct endpoint v4 = endpoint("192.0.2.1", 1414), v6 = endpoint("2001:db8::1", 1414);
    struct endpoint mapped = endpoint("::ffff:192.0.2.1", 1414), e;
    char text[ENDPOINT_TEXT_MAX];

    (void)state;
    CHECK_TEXT("IPv4", endpoint_format(&v4, text), "192.0.2.1:1414");
    CHECK_TEXT("IPv6", endpoint_format(&v6, text), "[2001:db8::1]:1414");
    CHECK_TEXT("mapped", endpoint_format(&mapped, text), "192.0.2.1:1414");
    CHECK_INT("a name", endpoint_parse("localhost", 1, &e), -EINVAL);
    CHECK("equal", endpoint_equal(&v4, &v4) && !endpoint_equal(&v4, &v6));
    e = v4;
    e.in.sin_port = 0;
    CHECK("another port", !endpoint_equal(&v4, &e));
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ciphers),   cmocka_unit_test(test_clear),
        cmocka_unit_test(test_peers),     cmocka_unit_test(test_many_peers),
        cmocka_unit_test(test_routes),    cmocka_unit_test(test_health),
        cmocka_unit_test(test_endpoints),
    };

    return RUN_TESTS(tests);
}
