/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/wgquick: what a file of wg-quick says, in one line; and what is refused, without its secrets. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "basic/strbuf.h"
#include "wire/wgquick.h"

#define KEY "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="

static void print_addresses(const struct wgquick *w, struct strbuf *b)
{
    char text[IP_TEXT_MAX];

    for (size_t i = 0; i < w->n_addresses; i++)
        strbuf_add(b, "address %s/%u;", ip_addr_format(&w->addresses[i].addr, text),
                   w->addresses[i].len);
    for (size_t i = 0; i < w->n_dns; i++)
        strbuf_add(b, "dns %s;", ip_addr_format(&w->dns[i], text));
    for (size_t i = 0; i < w->n_domains; i++)
        strbuf_add(b, "domain %s;", w->domains[i]);
    for (size_t i = 0; i < w->n_allowed; i++)
        strbuf_add(b, "allowed %s;", ip_prefix_format(&w->allowed[i], text));
}

static void print_number(struct strbuf *b, const char *name, uint32_t value)
{
    if (value)
        strbuf_add(b, "%s %u;", name, value);
}

static void print(const struct wgquick *w, struct strbuf *b)
{
    print_addresses(w, b);
    print_number(b, "mtu", w->mtu);
    print_number(b, "port", w->listen_port);
    print_number(b, "fwmark", w->fwmark);
    print_number(b, "table", w->table);
    print_number(b, "hooks", w->hooks);
    strbuf_add(b, "%s%s", w->has_private_key ? "key;" : "", w->save_config ? "save;" : "");
    for (size_t i = 0; i < w->n_peers; i++)
        strbuf_add(b, "peer %s%s%s;", w->peers[i].has_public_key ? "public " : "",
                   w->peers[i].has_preshared_key ? "preshared " : "", w->peers[i].endpoint);
}

#define I "[Interface]\n"
#define P "[Peer]\n"

/* clang-format off */
static const struct {
    const char *name, *text, *printed;
} good[] = {
    { "the least", I, "" },
    { "the usual",
      I "PrivateKey = " KEY "\nAddress = 10.0.0.2/24\nDNS = 10.0.0.1\n"
      P "PublicKey = " KEY "\nAllowedIPs = 0.0.0.0/0, ::/0\nEndpoint = vpn.example:51820\n",
      "address 10.0.0.2/24;dns 10.0.0.1;allowed 0.0.0.0/0;allowed ::/0;key;"
      "peer public vpn.example:51820;" },
    { "an address without its length", I "Address = 10.0.0.2, fd00::2\n",
      "address 10.0.0.2/32;address fd00::2/128;" },
    { "an address on link", I "Address = fd00::2/64\n", "address fd00::2/64;" },
    { "a list in two lines", I "Address = 10.0.0.2\naddress = 10.0.0.3\n",
      "address 10.0.0.2/32;address 10.0.0.3/32;" },
    { "commas, blanks and both", I "DNS = 10.0.0.1,10.0.0.2 10.0.0.3 ,\t10.0.0.4,,\n",
      "dns 10.0.0.1;dns 10.0.0.2;dns 10.0.0.3;dns 10.0.0.4;" },
    { "DNS and domains", I "DNS = fd00::53, corp.example, lab-2.example, 10.0.0.1\n",
      "dns fd00::53;dns 10.0.0.1;domain corp.example;domain lab-2.example;" },
    { "domains of systemd's resolvconf", I "DNS = ~., ~corp.example\n", "domain corp.example;" },
    { "keys in any case", "[INTERFACE]\nADDRESS=10.0.0.2\nPrIvAtEkEy=x\n[peer]\nallowedips=::/0\n",
      "address 10.0.0.2/32;allowed ::/0;key;peer ;" },
    { "comments", "# a\n" I "# Address = 10.0.0.9\nAddress = 10.0.0.2 # 10.0.0.3\n#\n",
      "address 10.0.0.2/32;" },
    { "a comment is a comment also in a hook", I "PostUp = a # b\n", "hooks 2;" },
    { "hooks", I "PreUp = a\nPostUp = b = c\nPostUp = d\nPreDown = e, f\nPostDown = g\n",
      "hooks 15;" },
    { "blanks around all", " \t [Interface] \t\n \t Address \t = \t 10.0.0.2 \t\n",
      "address 10.0.0.2/32;" },
    { "carriage returns", "[Interface]\r\nAddress = 10.0.0.2\r\n\r\n", "address 10.0.0.2/32;" },
    { "no newline at the end", I "MTU = 1420", "mtu 1420;" },
    { "table off", I "Table = off\n", "table 1;" },
    { "table auto", I "Table = auto\n", "" },
    { "a table's number", I "Table = 1234\n", "table 2;" },
    { "numbers", I "MTU = 1280\nListenPort = 51820\nFwMark = 0xca6c\n",
      "mtu 1280;port 51820;fwmark 51820;" },
    { "the last number counts", I "MTU = 1280\nMTU = 1400\n", "mtu 1400;" },
    { "nothing", I "Address =\nDNS =\nMTU =\nTable =\nFwMark = off\n" P "AllowedIPs =\n", "peer ;" },
    { "saved", I "SaveConfig = true\n", "save;" },
    { "not saved", I "SaveConfig = false\n", "" },
    { "peers", I P "PublicKey = " KEY "\nPresharedKey = " KEY "\nAllowedIPs = 10.1.0.0/16\n"
      P "Endpoint = [2001:db8::1]:5\nAllowedIPs = 10.0.0.0/16\nPersistentKeepalive = 25\n",
      "allowed 10.0.0.0/16;allowed 10.1.0.0/16;peer public preshared ;peer [2001:db8::1]:5;" },
    { "a prefix of two peers", I P "AllowedIPs = 10.0.0.0/8\n" P "AllowedIPs = 10.0.0.0/8\n",
      "allowed 10.0.0.0/8;peer ;peer ;" },
    { "AllowedIPs lose their host bits", I P "AllowedIPs = 10.9.8.7/8, fd00::1/8, 10.1.1.1\n",
      "allowed 10.0.0.0/8;allowed 10.1.1.1/32;allowed fd00::/8;peer ;" },
    { "the interface behind the peer", P "AllowedIPs = ::/0\n" I "Address = fd00::2\n",
      "address fd00::2/128;allowed ::/0;peer ;" },
    { "text of other alphabets in a comment", I "# \xc3\xa4\xff\n", "" },
};

/* Where there is a key in the text, the sentence has none. */
static const struct {
    const char *name, *text;
    unsigned line;
    const char *why;
} bad[] = {
    { "nothing at all", "", 0, "no section [Interface]" },
    { "peers alone", P, 0, "no section [Interface]" },
    { "something else", "remote vpn.example\n", 1, "neither a [section] nor a Key" },
    { "another section", I "[Wire]\n", 2, "no sections but" },
    { "an open section", "[Interface\n", 1, "no sections but" },
    { "behind a section", "[Interface] x\n", 1, "no sections but" },
    { "before the first section", "Address = 10.0.0.1\n" I, 1, "Address belongs into a section [Interface]" },
    { "a peer's key", I "AllowedIPs = ::/0\n", 2, "AllowedIPs belongs into a section [Peer]" },
    { "an interface's key", I P "dns = ::1\n", 3, "DNS belongs into a section [Interface]" },
    { "a misspelt key", I P "AllowedIP = ::/0\n", 3, "wg-quick(8) has no key 'AllowedIP'" },
    { "no key", I "= 5\n", 2, "no such key" },
    { "a key of two words", I "Private Key = x\n", 2, "no such key" },
    { "a secret alone", I KEY "\n", 2, "no such key" },
    { "a secret without its =", I "PrivateKey " KEY "\n", 2, "no such key" },
    { "a secret after a colon", I "PrivateKey: " KEY "\n", 2, "no such key" },
    { "no =", I "PrivateKey\n", 2, "neither a [section] nor a Key" },
    { "an address", I "Address = 10.0.0.256\n", 2, "'10.0.0.256' is no address" },
    { "a name for an address", I "Address = vpn.example\n", 2, "is no address" },
    { "an address that is long",
      I "Address = 1111111111111111111111111111111111111111111111111111111\n", 2, "is no address" },
    { "a prefix", I "Address = 10.0.0.1/33\n", 2, "prefix length from 0 to 32" },
    { "a prefix of IPv6", I P "AllowedIPs = ::/129\n", 3, "prefix length from 0 to 128" },
    { "no length", I P "AllowedIPs = ::/\n", 3, "prefix length" },
    { "a mask", I "Address = 10.0.0.1/255.0.0.0\n", 2, "prefix length" },
    { "a sign", I P "AllowedIPs = +10.0.0.0/8\n", 3, "is no address" },
    { "a DNS server", I "DNS = 10.0.0\n", 2, "no address of a DNS server" },
    { "a DNS server with a port", I "DNS = [::1]:53\n", 2, "no address of a DNS server" },
    { "a domain", I "DNS = corp/example\n", 2, "neither an address of a DNS server nor a domain" },
    { "a domain of one tilde", I "DNS = ~\n", 2, "nor a domain" },
    { "an mtu", I "MTU = large\n", 2, "'large' is no number from 0 to 65535" },
    { "an mtu too large", I "MTU = 65536\n", 2, "is no number" },
    { "a port", I "ListenPort = -1\n", 2, "is no number" },
    { "a mark", I "FwMark = 0x100000000\n", 2, "is no number" },
    { "keepalive", I P "PersistentKeepalive = never\n", 3, "is no number" },
    { "SaveConfig", I "SaveConfig = yes\n", 2, "true or false" },
    { "an endpoint", I P "Endpoint = vpn.example\n", 3, "HOST:PORT" },
    { "an endpoint without a host", I P "Endpoint = :5\n", 3, "HOST:PORT" },
    { "an endpoint without a port", I P "Endpoint = [::1]:\n", 3, "HOST:PORT" },
    { "a control character", I "# \x1b[31m\n", 2, "(0x1b)" },
    { "a DEL", I "MTU = \x7f\n", 2, "(0x7f)" },
};
/* clang-format on */

static int parse(const char *text, size_t size, struct strbuf *b, unsigned *ret_line,
                 struct why *why)
{
    struct wgquick w = { 0 };
    int r = wgquick_parse(text, size, &w, ret_line, why);

    strbuf_clear(b);
    if (r == 0)
        print(&w, b);
    wgquick_done(&w);
    return r;
}

static void test_good(void **state)
{
    struct strbuf b = STRBUF_INIT;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good); i++) {
        struct why why = { 0 };
        unsigned line = 77;

        CHECK_INT(good[i].name, parse(good[i].text, strlen(good[i].text), &b, &line, &why), 0);
        CHECK_TEXT(good[i].name, strbuf_text(&b), good[i].printed);
        CHECK_TEXT(good[i].name, why.text, "");
        CHECK_INT(good[i].name, line, 77);
    }
    strbuf_done(&b);
    CHECK_END();
}

static void test_bad(void **state)
{
    struct strbuf b = STRBUF_INIT;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad); i++) {
        struct why why = { 0 };
        unsigned line = 77;

        CHECK_INT(bad[i].name, parse(bad[i].text, strlen(bad[i].text), &b, &line, &why), -EINVAL);
        CHECK_INT(bad[i].name, line, bad[i].line);
        CHECK_CONTAINS(bad[i].name, why.text, bad[i].why);
        CHECK(bad[i].name, !strstr(why.text, "yAnz"));
    }
    strbuf_done(&b);
    CHECK_END();
}

static void test_a_nul(void **state)
{
    struct strbuf b = STRBUF_INIT;
    struct why why = { 0 };
    unsigned line = 0;

    (void)state;
    CHECK_INT("NUL", parse("[Interface]\nMTU = 1\0002\n", 22, &b, &line, &why), -EINVAL);
    CHECK_CONTAINS("NUL", why.text, "(0x00)");
    CHECK_INT("NUL", line, 2);
    strbuf_done(&b);
    CHECK_END();
}

/* As many as there may be of something, and one more. */
static void check_limit(const char *name, const char *head, const char *item, size_t max)
{
    struct strbuf text = STRBUF_INIT, b = STRBUF_INIT;
    struct why why = { 0 };
    unsigned line = 0;

    strbuf_add(&text, "%s", head);
    for (size_t i = 0; i < max; i++)
        strbuf_add(&text, "%s", item);
    CHECK_INT(name, parse(strbuf_text(&text), text.size, &b, &line, &why), 0);
    strbuf_add(&text, "%s", item);
    CHECK_INT(name, parse(strbuf_text(&text), text.size, &b, &line, &why), -E2BIG);
    CHECK_CONTAINS(name, why.text, "more than");
    strbuf_done(&text);
    strbuf_done(&b);
}

static void test_limits(void **state)
{
    (void)state;
    check_limit("addresses", I "Address =", " ::1", WGQUICK_ADDRESSES_MAX);
    check_limit("servers", I "DNS =", " ::1", WGQUICK_DNS_MAX);
    check_limit("domains", I "DNS =", " a", WGQUICK_DNS_MAX);
    check_limit("AllowedIPs", I P "AllowedIPs =", " ::1", WGQUICK_ALLOWED_MAX);
    check_limit("peers", I, P, WGQUICK_PEERS_MAX);
    CHECK_END();
}

static void test_default_route(void **state)
{
    static const char text[] = I P "AllowedIPs = 10.0.0.0/8, ::/0";
    struct wgquick w = { 0 };
    unsigned line;

    (void)state;
    CHECK_INT("parsed", wgquick_parse(text, sizeof(text) - 1, &w, &line, NULL), 0);
    CHECK("any", wgquick_has_default(&w, AF_UNSPEC));
    CHECK("IPv4", !wgquick_has_default(&w, AF_INET));
    CHECK("IPv6", wgquick_has_default(&w, AF_INET6));
    wgquick_done(&w);
    CHECK_END();
}

static const struct {
    const char *path, *interface; /* NULL: refused */
} paths[] = {
    { "wg0.conf", "wg0" },
    { "/etc/wireguard/wg0.conf", "wg0" },
    { "./a_b=c+d.e-f.conf", "a_b=c+d.e-f" },
    { "a.conf.conf", "a.conf" },
    { "123456789012345.conf", "123456789012345" },
    { "1234567890123456.conf", NULL },
    { "wg0", NULL },
    { ".conf", NULL },
    { "..conf", NULL },
    { "...conf", NULL },
    { "wg0.conf/", NULL },
    { "my vpn.conf", NULL },
    { "wg0\n.conf", NULL },
    { "", NULL },
};

static void test_interface(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(paths); i++) {
        char name[IFNAMSIZ] = "";
        struct why why = { 0 };
        int r = wgquick_interface(paths[i].path, name, &why);

        CHECK_INT(paths[i].path, r, paths[i].interface ? 0 : -EINVAL);
        CHECK_TEXT(paths[i].path, name, paths[i].interface ? paths[i].interface : "");
        CHECK(paths[i].path, (r == 0) == (why.text[0] == '\0'));
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),          cmocka_unit_test(test_bad),
        cmocka_unit_test(test_a_nul),         cmocka_unit_test(test_limits),
        cmocka_unit_test(test_default_route), cmocka_unit_test(test_interface),
    };

    return RUN_TESTS(tests);
}
