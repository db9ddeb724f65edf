/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/model/vpn-config: the Builder's setters (android.md §5.2), and what they say to each other. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "decide/edit-vpn.h"
#include "unit/scene.h"

static int lan(struct vpn_config *c, const char *text, struct why *why)
{
    return vpn_lan_add(&c->lan, &c->lan_prefixes, &c->n_lan_prefixes, text, why);
}

static int mtu(struct vpn_config *c, const char *text, struct why *why)
{
    return vpn_config_set_mtu(c, (uint32_t)strtoul(text, NULL, 10), why);
}

static int queues(struct vpn_config *c, const char *text, struct why *why)
{
    return vpn_config_set_queues(c, (uint32_t)strtoul(text, NULL, 10), why);
}

typedef int (*setter)(struct vpn_config *c, const char *text, struct why *why);

/* clang-format off */
static const struct {
    setter set;
    const char *text;
    int result;
    const char *why;
} setters[] = {
    { vpn_config_set_session, "Work", 0, "" },
    { vpn_config_set_session, "", 0, "" },
    { vpn_config_set_session, "a\nb", -EINVAL, "control characters" },

    { mtu, "1400", 0, "" },
    { mtu, "68", 0, "" },
    { mtu, "65535", 0, "" },
    { mtu, "0", -EINVAL, "0 is no MTU: use a number from 68 to 65535" },
    { mtu, "67", -EINVAL, "67 is no MTU" },
    { mtu, "65536", -EINVAL, "65536 is no MTU" },
    { mtu, "4294967295", -EINVAL, "is no MTU" },

    { vpn_config_add_address, "10.0.0.2/24", 0, "" },
    { vpn_config_add_address, "10.0.0.2", 0, "" },
    { vpn_config_add_address, "10.0.0.2/0", 0, "" },
    { vpn_config_add_address, "fd00::2/64", 0, "" },
    { vpn_config_add_address, "fe80::2/128", 0, "" },
    { vpn_config_add_address, "127.0.0.1/8", -EINVAL, "it is a loopback address" },
    { vpn_config_add_address, "127.1.2.3", -EINVAL, "it is a loopback address" },
    { vpn_config_add_address, "::1/128", -EINVAL, "it is a loopback address" },
    { vpn_config_add_address, "0.0.0.0/0", -EINVAL, "it stands for any address" },
    { vpn_config_add_address, "::/64", -EINVAL, "it stands for any address" },
    { vpn_config_add_address, "224.0.0.1/32", -EINVAL, "it is a multicast address" },
    { vpn_config_add_address, "ff02::1", -EINVAL, "it is a multicast address" },
    { vpn_config_add_address, "10.0.0.2/33", -EINVAL, "the prefix length is a number from 0 to 32" },
    { vpn_config_add_address, "fd00::2/129", -EINVAL, "from 0 to 128" },
    { vpn_config_add_address, "10.0.0.2/-1", -EINVAL, "the prefix length" },
    { vpn_config_add_address, "10.0.0.2/", -EINVAL, "the prefix length" },
    { vpn_config_add_address, "10.0.0.2/24/24", -EINVAL, "the prefix length" },
    { vpn_config_add_address, "/24", -EINVAL, "is no address" },
    { vpn_config_add_address, "", -EINVAL, "is no address" },
    { vpn_config_add_address, "vpn.example.org", -EINVAL, "is no address" },
    { vpn_config_add_address, "fe80::2%eth0", -EINVAL, "is no address" },
    { vpn_config_add_address,
      "1111111111111111111111111111111111111111111111111111111111111111111111", -EINVAL,
      "is no address" },

    { vpn_config_add_route, "10.0.0.0/8", 0, "" },
    { vpn_config_add_route, "0.0.0.0/0", 0, "" },
    { vpn_config_add_route, "::/0", 0, "" },
    { vpn_config_add_route, "10.1.2.3", 0, "" },
    { vpn_config_add_route, "224.0.0.0/4", 0, "" },
    { vpn_config_add_route, "10.0.0.1/8", -EINVAL, "has bits set beyond its prefix length" },
    { vpn_config_add_route, "127.0.0.0/8", -EINVAL, "is loopback" },
    { vpn_config_add_route, "127.0.0.0/30", -EINVAL, "is loopback" },
    { vpn_config_add_route, "::1/128", -EINVAL, "is loopback" },
    { vpn_config_add_route, "10.0.0.0/33", -EINVAL, "is no destination" },
    { vpn_config_add_route, "default", -EINVAL, "is no destination" },
    { vpn_config_add_route, "10.0.0.0/8 dev eth0", -EINVAL, "is no destination" },

    { vpn_config_exclude_route, "192.168.0.0/16", 0, "" },
    { vpn_config_exclude_route, "192.168.0.1/16", -EINVAL, "has bits set" },
    { vpn_config_exclude_route, "::1", -EINVAL, "is loopback" },
    { vpn_config_exclude_route, "x", -EINVAL, "is no destination" },

    { vpn_config_add_dns, "10.0.0.53", 0, "" },
    { vpn_config_add_dns, "fd00::53", 0, "" },
    { vpn_config_add_dns, "127.0.0.53", -EINVAL, "it is a loopback address" },
    { vpn_config_add_dns, "::1", -EINVAL, "it is a loopback address" },
    { vpn_config_add_dns, "0.0.0.0", -EINVAL, "it stands for any address" },
    { vpn_config_add_dns, "::", -EINVAL, "it stands for any address" },
    { vpn_config_add_dns, "224.0.0.251", -EINVAL, "multicast" },
    { vpn_config_add_dns, "one", -EINVAL, "is no address of a DNS server" },

    { vpn_config_add_domain, "office.example", 0, "" },
    { vpn_config_add_domain, "a..b", -EINVAL, "is no domain name" },
    { vpn_config_add_domain, "", -EINVAL, "1 to 255" },

    { vpn_config_set_http_proxy, "proxy.example:3128", 0, "" },
    { vpn_config_set_http_proxy, "10.0.0.1:1", 0, "" },
    { vpn_config_set_http_proxy, "[fd00::1]:65535", 0, "" },
    { vpn_config_set_http_proxy, "proxy.example", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "proxy.example:", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "proxy.example:0", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "proxy.example:65536", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, ":80", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "fd00::1:80", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "[10.0.0.1]:80", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "[fd00::1:80", -EINVAL, "is no proxy" },
    { vpn_config_set_http_proxy, "a b:80", -EINVAL, "is no proxy" },

    { vpn_config_allow_family, "inet", 0, "" },
    { vpn_config_allow_family, "inet6", 0, "" },
    { vpn_config_allow_family, "unix", -EINVAL, "is no address family: use inet or inet6" },
    { vpn_config_allow_family, "2", -EINVAL, "is no address family" },

    { vpn_config_allow, "uid:1000", 0, "" },
    { vpn_config_allow, "exe:/usr/bin/firefox", 0, "" },
    { vpn_config_allow, "firefox", -EINVAL, "is no selector" },
    { vpn_config_allow, "exe:firefox", -EINVAL, "is no exe selector" },
    { vpn_config_disallow, "user:alice", 0, "" },
    { vpn_config_disallow, "uid:9-5", -EINVAL, "is no uid or range" },

    { vpn_config_add_underlying, "eth0", 0, "" },
    { vpn_config_add_underlying, "none", -EINVAL, "a word with a meaning" },
    { vpn_config_add_underlying, "", -EINVAL, "1 to 64" },

    { queues, "1", 0, "" },
    { queues, "16", 0, "" },
    { queues, "0", -EINVAL, "0 queues: use a number from 1 to 16" },
    { queues, "17", -EINVAL, "17 queues" },

    { lan, "none", 0, "" },
    { lan, "link-local", 0, "" },
    { lan, "192.168.1.0/24", 0, "" },
    { lan, "0.0.0.0/0", -EINVAL, "is everything, not the LAN" },
    { lan, "::/0", -EINVAL, "is everything" },
    { lan, "192.168.1.1/24", -EINVAL, "is no part of the LAN" },
    { lan, "home", -EINVAL, "is no part of the LAN" },
};
/* clang-format on */

static void test_setters(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(setters); i++) {
        _cleanup_(vpn_config_unrefp) struct vpn_config *c = vpn_config_new(), *copy = NULL;
        _cleanup_(vpn_config_unrefp) struct vpn_config *empty = vpn_config_new();
        struct why why = { 0 };
        bool ok = setters[i].result == 0;
        bool nothing = streq(setters[i].text, "") || streq(setters[i].text, "none") ||
                       (setters[i].set == queues && streq(setters[i].text, "1"));

        CHECK_INT(setters[i].text, setters[i].set(c, setters[i].text, &why), setters[i].result);
        CHECK_CONTAINS(setters[i].text, why.text, setters[i].why);
        CHECK_INT(setters[i].text, vpn_config_equal(c, empty), !ok || nothing);
        copy = vpn_config_copy(c);
        CHECK(setters[i].text, copy && vpn_config_equal(c, copy));
    }
    CHECK_END();
}

/* Each list says when it is full, and takes what it has without a word. */
static void test_limits(void **state)
{
    static const struct {
        const char *format;
        setter set;
        int max;
    } rows[] = {
        { "10.0.0.%d/24", vpn_config_add_address, VPN_ADDRESSES_MAX },
        { "10.0.0.%d", vpn_config_add_dns, NETWORK_DNS_MAX },
        { "d%d.example", vpn_config_add_domain, NETWORK_DOMAINS_MAX },
        { "uid:%d", vpn_config_allow, VPN_APPS_MAX },
        { "uid:%d", vpn_config_disallow, VPN_APPS_MAX },
        { "n%d", vpn_config_add_underlying, VPN_UNDERLYING_MAX },
        { "fd00::%x/128", vpn_config_add_route, VPN_ROUTES_MAX },
        { "fd00::%x/128", vpn_config_exclude_route, VPN_ROUTES_MAX },
        { "fd00::%x/128", lan, NETWORK_OUTSIDE_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_(vpn_config_unrefp) struct vpn_config *c = vpn_config_new();
        struct why why = { 0 };
        char text[64];
        int r = 0, n = 1;

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        for (; r == 0 && n <= rows[i].max + 1; n++) {
            snprintf(text, sizeof(text), rows[i].format, n);
            r = rows[i].set(c, text, &why);
        }
        CHECK_INT(rows[i].format, r, -E2BIG);
        CHECK_INT(rows[i].format, n - 1, rows[i].max + 1);
        CHECK_CONTAINS(rows[i].format, why.text, "more than ");
        snprintf(text, sizeof(text), rows[i].format, 1);
        CHECK_INT(rows[i].format, rows[i].set(c, text, NULL), 0);
#pragma GCC diagnostic pop
    }
    CHECK_END();
}

static struct vpn_config *config_of(struct scene *s, const char *line, struct why *why)
{
    char text[512];
    struct vpn *v;

    snprintf(text, sizeof(text), "establish v 1000 wmtun0 everyone %s", line);
    if (scene_line(s, text, why) < 0)
        return NULL;
    v = model_vpn(s->m, "v");
    return v ? v->config : NULL;
}

/* What setters say to each other. */
static void test_config(void **state)
{
    static const struct {
        const char *line, *why;
        unsigned blocked;
    } rows[] = {
        { "address 10.0.0.2/24", "", VPN_FAMILY_IPV6 },
        { "address fd00::2/64", "", VPN_FAMILY_IPV4 },
        { "address 10.0.0.2/24 address fd00::2/64", "", 0 },
        { "address 10.0.0.2/24 route ::/0", "", 0 },
        { "address 10.0.0.2/24 exclude fd00::/8", "", VPN_FAMILY_IPV6 },
        { "address 10.0.0.2/24 dns fd00::53", "", 0 },
        { "address 10.0.0.2/24 family inet6", "", 0 },
        { "address 10.0.0.2/24 family inet", "", VPN_FAMILY_IPV6 },
        { "route 0.0.0.0/0", "a VPN needs at least one address", 0 },
        { "address fd00::2/64 mtu 1279", "with an IPv6 address the MTU is at least 1280", 0 },
        { "address fd00::2/64 mtu 1280", "", VPN_FAMILY_IPV4 },
        { "address 10.0.0.2/24 mtu 1279", "", VPN_FAMILY_IPV6 },
        { "address 10.0.0.2/24 allow uid:1 disallow uid:2", "'uid:2' cannot be disallowed", 0 },
        { "address 10.0.0.2/24 disallow uid:1 allow uid:2", "'uid:2' cannot be allowed", 0 },
        { "address 10.0.0.2/24 lan link-local lan 10.0.0.0/8", "'link-local' stands alone", 0 },
        { "address 10.0.0.2/24 lan 10.0.0.0/8 lan none", "'none' stands alone", 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_scene_ struct scene s;
        struct why why = { 0 };
        const struct vpn_config *c;

        scene_init(&s);
        c = config_of(&s, rows[i].line, &why);
        CHECK_INT(rows[i].line, c != NULL, *rows[i].why == '\0');
        CHECK_CONTAINS(rows[i].line, why.text, rows[i].why);
        if (c)
            CHECK_INT(rows[i].line, vpn_config_blocked_families(c), rows[i].blocked);
    }
    CHECK_END();
}

static void test_removing_and_last_wins(void **state)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *c = vpn_config_new();
    struct why why = { 0 };

    (void)state;
    CHECK_INT("add", vpn_config_add_address(c, "10.0.0.2/24", NULL), 0);
    CHECK_INT("same, other length", vpn_config_add_address(c, "10.0.0.2/16", NULL), 0);
    CHECK_INT("one", c->n_addresses, 1);
    CHECK_INT("other length", vpn_config_remove_address(c, "10.0.0.2/24", &why), -EADDRNOTAVAIL);
    CHECK_CONTAINS("other length", why.text, "has no address '10.0.0.2/24'");
    CHECK_INT("remove", vpn_config_remove_address(c, "10.0.0.2/16", NULL), 0);
    CHECK_INT("gone", vpn_config_remove_address(c, "10.0.0.2", NULL), -EADDRNOTAVAIL);
    CHECK_INT("no address", vpn_config_remove_address(c, "x", NULL), -EINVAL);

    (void)vpn_config_add_route(c, "10.0.0.0/8", NULL);
    (void)vpn_config_exclude_route(c, "10.0.0.0/8", NULL);
    CHECK("excluded last", c->n_routes == 1 && c->routes[0].kind == ROUTE_THROW);
    (void)vpn_config_add_route(c, "10.0.0.0/8", NULL);
    CHECK("added last", c->n_routes == 1 && c->routes[0].kind == ROUTE_UNICAST);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_setters),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_config),
        cmocka_unit_test(test_removing_and_last_wins),
    };

    return RUN_TESTS(tests);
}
