/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/daemon/config*: every key, every error with its place, precedence over what was made by
 * command, and what a reload leaves alone.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/config.h"
#include "unit/scene.h"

/* Parses a file's text and finishes; NULL with the reason when refused. */
static struct config *parse(const char *text, struct why *why)
{
    struct config *c = config_new();
    int r = config_parse(c, "w.conf", text, strlen(text), why);

    if (r == 0)
        r = config_finish(c, why);
    if (r == 0)
        return c;
    CHECK_INT(text, why->error, r);
    config_free(c);
    return NULL;
}

#define LINKS \
    "link 2 eth0\nlink 3 eth1\nlink 4 wg0 kind wireguard arphrd 65534\naddr eth0 10.0.0.2/24\n"

/* clang-format off */
static const struct {
    const char *name, *text;
    const char *model; /* a part of the dump after it was applied to an empty model */
} good_rows[] = {
    { "nothing", "", "host-networks 1 default '' from ''\n" },
    { "default", "[waymark]\ndefault = home\n", "default 'home' from 'w.conf:2'" },
    { "default = system", "[waymark]\ndefault = system\n", "default '' from 'w.conf:2'" },
    { "default twice: the last one", "[waymark]\ndefault = a\ndefault = b\n",
      "default 'b' from 'w.conf:3'" },
    { "default of a network", "[waymark]\ndefault = eth0\n[network eth0]\n",
      "default 'eth0' from" },
    { "ignore", "[waymark]\nignore = docker*, br-* veth*\n",
      "ignore 'docker*'\nignore 'br-*'\nignore 'veth*'\n" },
    { "ignore, added to", "[waymark]\nignore = a\nignore = b\n", "ignore 'a'\nignore 'b'\n" },
    { "ignore nothing", "[waymark]\nignore =\n", "ignore 'lo'\n" },
    { "network", "[network home]\n",
      "network 100 'home' physical config permission none resolver 0,0,0,0 source 'w.conf'\n"
      "  interface 'home'\n" "known 'home' 100\n" },
    { "network with a long name: no interface of that name", "[network home-of-the-brave]\n",
      "source 'w.conf'\nknown" },
    { "type by interface", "[network wg0]\n", "'wg0' vpn config" },
    { "netid", "[network home]\nnetid = 500\n", "network 500 'home'" },
    { "netid of OEM", "[network home]\nnetid = 7\n", "network 7 'home'" },
    { "type", "[network home]\ntype = vpn\n", "'home' vpn config" },
    { "type local", "[network lan]\ntype = local\ninterface = eth1\n",
      "network 99 'lan' local config" },
    { "type unreachable: no interface", "[network no]\ntype = unreachable\n",
      "network 52 'no' unreachable config permission none resolver 0,0,0,0 source 'w.conf'\n" },
    { "interface", "[network home]\ninterface = eth0\n", "'w.conf'\n  interface 'eth0'\nknown" },
    { "interfaces", "[network home]\ninterface = eth0, eth1\tnot-there\n", "  interface 'eth0'\n"
      "  interface 'eth1'\n" "  interface 'not-there'\n" },
    { "interfaces, added to", "[network home]\ninterface = eth0\ninterface = eth1\n",
      "  interface 'eth0'\n  interface 'eth1'\nknown" },
    { "an interface twice", "[network home]\ninterface = eth0 eth0\n",
      "  interface 'eth0'\nknown" },
    { "dns", "[network home]\ndns = 1.1.1.1, fd00::1\ndns = 9.9.9.9\n",
      "  dns 1.1.1.1\n  dns fd00::1\n  dns 9.9.9.9\n" },
    { "domain", "[network home]\ndomain = a.b c\n", "  domain 'a.b'\n  domain 'c'\n" },
    { "permission none", "[network home]\npermission = none\n", "permission none" },
    { "permission network", "[network home]\npermission = network\n", "permission network" },
    { "permission system", "[network home]\npermission = system\n", "permission system" },
    { "route", "[network home]\n" "interface = eth0\n"
      "route = 10.9.0.0/16 via 10.0.0.1 mtu 1400\n" "route = ::/0 unreachable\n",
      "  route 10.9.0.0/16 via 10.0.0.1 dev eth0 mtu 1400\n"
      "  route ::/0 unreachable dev eth0\n" },
    { "route with dev", "[network home]\n" "interface = eth0 eth1\n"
      "route = 10.9.0.0/16 dev eth1\n", "  route 10.9.0.0/16 dev eth1\n" },
    { "route before interface", "[network home]\nroute = 10.9.0.0/16\ninterface = eth1\n",
      "  route 10.9.0.0/16 dev eth1\n" },
    { "secure", "[network v]\ntype = vpn\nsecure = yes\n", "permission none secure resolver" },
    { "secure, no", "[network v]\ntype = vpn\nsecure = yes\nsecure = no\n",
      "permission none resolver" },
    { "exclude-local", "[network v]\ntype = vpn\nexclude-local = on\n",
      "permission none secure exclude-local resolver" },
    { "fall-through", "[network v]\ntype = vpn\nfall-through = yes\n",
      "permission none secure fall-through resolver" },
    { "lockdown", "[network v]\ntype = vpn\nlockdown = yes\n",
      "permission none secure lockdown resolver" },
    { "outside", "[network v]\ntype = vpn\noutside = 192.168.0.0/16, fe80::/10\noutside = 10.1.2.3\n",
      "  outside 192.168.0.0/16\n  outside fe80::/10\n  outside 10.1.2.3/32\n" },
    { "booleans", "[network v]\n" "type = vpn\n" "secure = 1\n" "exclude-local = true\n",
      "secure exclude-local" },
    { "assign", "[assignments]\nassign = uid:1000 home\n",
      "assign uid:1000 home require config at 'w.conf':2\n" },
    { "assign require", "[assignments]\nassign = user:alice home require\n",
      "assign user:alice home require config" },
    { "assign prefer", "[assignments]\nassign = uid:5-9 home --prefer\n",
      "assign uid:5-9 home prefer config" },
    { "assign default", "[assignments]\nassign = uid:5 default\n",
      "assign uid:5 default prefer config" },
    { "assign none", "[assignments]\nassign = group:kids none\n",
      "assign group:kids - require config" },
    { "assignments are sorted", "[assignments]\nassign = uid:9 a\nassign = uid:1 b\n",
      "assign uid:1 b require config at 'w.conf':3\n" "assign uid:9 a" },
    { "sections again", "[waymark]\n" "[assignments]\n" "assign = uid:1 a\n" "[network home]\n"
      "[assignments]\n" "assign = uid:2 a\n", "assign uid:2 a" },
    { "netIds given go first", "[network a]\n[network b]\nnetid = 100\n", "network 100 'b'" },
    { "vpn, adopted", "[vpn work]\ninterface = wg0\napps = uid:1000, user:bob\n"
      "address = 10.0.0.2/24\nroute = 10.0.0.0/8\nexclude = 10.1.0.0/16\ndns = 10.0.0.53\n"
      "domain = x.y\nlockdown = yes\nexempt = uid:5\nlan = 192.168.0.0/16 172.16.0.0/12\n"
      "bypass = yes\nfall-through = yes\neveryone = no\n",
      "vpn 'work' adopted config owner '' is -1 uid -1 engine '' lockdown bypass fall-through\n"
      "  interface 'wg0'\n  app uid:1000\n  app user:bob\n  exempt uid:5\n  lan prefixes\n"
      "  lan 192.168.0.0/16\n  lan 172.16.0.0/12\n"
      "  config '' mtu 0 families 0 queues 1 metered 0 proxy ''\n  address 10.0.0.2/24\n"
      "  route 10.0.0.0/8\n  route 10.1.0.0/16 throw\n  dns 10.0.0.53\n  domain x.y\n" },
    { "vpn, its network", "[vpn work]\ninterface = wg0\napps = uid:1000\n",
      "network 100 'work' vpn vpn permission none secure resolver 0,0,0,0 source ''\n"
      "  interface 'wg0'\nassign uid:1000 work require vpn at '':0\n" },
    { "vpn, service", "[vpn work]\nowner = user:alice\nengine = waymark-minivtun@work.service\n"
      "always-on = yes\neveryone = yes\nexcept = uid:7\nlan = link-local\n",
      "vpn 'work' service config owner 'user:alice' is -1 uid -1 engine "
      "'waymark-minivtun@work.service' everyone always-on\n  except uid:7\n  lan link-local\n" },
    { "vpn, service: held before it comes", "[vpn work]\nowner = uid:1000\nlockdown = yes\n",
      "assign uid:1000 work require vpn" },
    { "vpn, not in the way of a netId", "[vpn a]\nowner = uid:1\n[network b]\nnetid = 100\n",
      "network 100 'b'" },
    { "interfaces change hands in any order", "[network eth1]\n" "interface = eth0\n"
      "[network eth0]\n" "interface = eth1\n", "'eth0' physical" },
};

static const struct {
    const char *text, *why; /* the whole reason */
} bad_rows[] = {
    { "default = x\n", "w.conf:1: 'default' stands before any [section]" },
    { "[waymark\n", "w.conf:1: a section needs a ']' at its end: [network NAME]" },
    { "\n\n[nonsense]\n",
      "w.conf:3: there is no section [nonsense]: use [waymark], [network NAME], [vpn "
      "NAME] or [assignments]" },
    { "[Network x]\n",
      "w.conf:1: there is no section [Network]: use [waymark], [network NAME], [vpn "
      "NAME] or [assignments]" },
    { "[waymark x]\n", "w.conf:1: section [waymark] takes no name" },
    { "[assignments x]\n", "w.conf:1: section [assignments] takes no name" },
    { "[network]\n", "w.conf:1: a network's name has 1 to 64 characters" },
    { "[network a b]\n", "w.conf:1: 'a b' is no network name: use letters, "
      "digits and _ . : @ + -" },
    { "[network default]\n", "w.conf:1: 'default' is a word with a meaning, not a network's name" },
    { "[waymark]\nnetid = 5\n",
      "w.conf:2: section [waymark] has no key 'netid': see waymark.conf(5)" },
    { "[network x]\n# c\nassign = uid:1 x\n",
      "w.conf:3: section [network] has no key 'assign': see waymark.conf(5)" },
    { "[assignments]\nuid:1 = x\n",
      "w.conf:2: section [assignments] has no key 'uid:1': see waymark.conf(5)" },
    { "[waymark]\nDefault = x\n",
      "w.conf:2: section [waymark] has no key 'Default': see waymark.conf(5)" },
    { "[waymark]\nword\n", "w.conf:2: 'word' is neither a [section] nor a key = value" },
    { "[waymark]\n= x\n", "w.conf:2: there is no key before the '='" },
    { "[waymark]\nx = \x01\n", "w.conf:2: the line has a control character (0x01)" },
    { "[waymark]\ndefault =\n", "w.conf:2: a network's name has 1 to 64 characters" },
    { "[waymark]\ndefault = none\n",
      "w.conf:2: 'none' is a word with a meaning, not a network's name" },
    { "[waymark]\ndefault = a b\n",
      "w.conf:2: 'a b' is no network name: use letters, digits and _ . : @ + -" },
    { "[waymark]\n" "ignore = 12345678901234567890123456789012345678901234567890123456789012345\n",
      "w.conf:2: '12345678901234567890123456789012…' is longer than any interface's name" },
    { "[waymark]\nlog-level = loud\n",
      "w.conf:2: 'loud' is no log level: use err, warning, notice, info or debug" },
    { "[waymark]\nlog-level =\n",
      "w.conf:2: '' is no log level: use err, warning, notice, info or debug" },
    { "[network x]\nnetid = 65536\n",
      "w.conf:2: '65536' is no netId: use a number from 100 to 65535" },
    { "[network x]\nnetid = 0x64\n",
      "w.conf:2: '0x64' is no netId: use a number from 100 to 65535" },
    { "[network x]\nnetid =\n", "w.conf:2: '' is no netId: use a number from 100 to 65535" },
    { "[network x]\ntype = virtual\n",
      "w.conf:2: 'virtual' is no type: use physical, vpn, local or unreachable" },
    { "[network x]\ninterface = 0123456789abcdef\n",
      "w.conf:2: '0123456789abcdef' is no interface name (1 to 15 bytes)" },
    { "[network x]\ndns = 1.1.1\n", "w.conf:2: '1.1.1' is no address of a DNS server" },
    { "[network x]\n" "dns = 1.1.1.1 1.1.1.2 1.1.1.3\n" "dns = 1.1.1.4 1.1.1.5\n",
      "w.conf:3: more than 4 DNS servers" },
    { "[network x]\ndomain = a..b\n", "w.conf:2: 'a..b' is no domain name" },
    { "[network x]\ndomain = a b c d e f g\n", "w.conf:2: more than 6 domains" },
    { "[network x]\npermission = root\n",
      "w.conf:2: 'root' is no permission: use none, network or system" },
    { "[network x]\nroute = 10.0.0.1/8\n",
      "w.conf:2: '10.0.0.1/8' has bits set beyond its prefix length: give the prefix itself, "
        "such as 10.1.0.0/16" },
    { "[network x]\nroute =\n", "w.conf:2: a route needs a destination" },
    { "[network x]\nroute = 10.0.0.0/8\nroute = 10.0.0.0/8\n",
      "w.conf:3: the route stands here twice" },
    { "[network x]\nsecure = maybe\n", "w.conf:2: 'maybe' is neither yes nor no" },
    { "[network x]\nexclude-local =\n", "w.conf:2: '' is neither yes nor no" },
    { "[network x]\nlockdown = 2\n", "w.conf:2: '2' is neither yes nor no" },
    { "[network x]\noutside = lan\n", "w.conf:2: 'lan' is no prefix" },
    { "[network x]\noutside = 10.0.0.1/8\n",
      "w.conf:2: '10.0.0.1/8' has bits set beyond the length of the prefix" },
    { "[network x]\n" "interface = eth0\n" "route = 10.0.0.0/8 dev eth1\n",
      "w.conf:1: route: interface 'eth1' is not one of network 'x'" },
    { "[network x]\ninterface = eth0 eth1\nroute = 10.0.0.0/8\n",
      "w.conf:1: route: network 'x' has 2 interfaces: say which with dev IF" },
    { "[network x]\n[network y]\n[network x]\n",
      "w.conf:3: network 'x' stands already in w.conf:1" },
    { "[vpn]\n", "w.conf:1: a network's name has 1 to 64 characters" },
    { "[vpn default]\n", "w.conf:1: 'default' is a word with a meaning, not a network's name" },
    { "[vpn v]\nnetid = 100\n", "w.conf:2: section [vpn] has no key 'netid': see waymark.conf(5)" },
    { "[vpn v]\nowner = uid:1-2\n", "w.conf:1: the owner of a VPN is a uid:N, a user:NAME or an "
      "exe:/PATH" },
    { "[vpn v]\nowner = alice\n", "w.conf:2: 'alice' is no selector: use uid:N, uid:N-M, "
      "user:NAME, group:NAME, cgroup:/PATH, unit:NAME or exe:/PATH" },
    { "[vpn v]\napps = uid:1 x\n", "w.conf:2: 'x' is no selector: use uid:N, uid:N-M, "
      "user:NAME, group:NAME, cgroup:/PATH, unit:NAME or exe:/PATH" },
    { "[vpn v]\ninterface = 0123456789abcdef\n",
      "w.conf:2: '0123456789abcdef' is no interface name (1 to 15 bytes)" },
    { "[vpn v]\naddress = 127.0.0.1\n",
      "w.conf:2: '127.0.0.1' cannot be an address of the VPN: it is a loopback address" },
    { "[vpn v]\nroute = 10.0.0.0/8 dev wg0\n", "w.conf:2: 'dev' is no destination: use "
      "ADDRESS/LENGTH, such as 0.0.0.0/0 or ::/0" },
    { "[vpn v]\nlan = home\n", "w.conf:2: 'home' is no part of the LAN: use none, link-local or "
      "prefixes such as 192.168.1.0/24" },
    { "[vpn v]\nlockdown = maybe\n", "w.conf:2: 'maybe' is neither yes nor no" },
    { "[vpn v]\n", "w.conf:1: VPN 'v': say `interface =` if somebody else makes its interface, "
      "`owner =` if its program asks us for one" },
    { "[vpn v]\nowner = uid:1\ndns = 10.0.0.1\n", "w.conf:1: VPN 'v' is a service: interface, "
      "addresses, routes and DNS are its program's to say" },
    { "[vpn v]\nowner = uid:1\ninterface = wg0\n", "w.conf:1: VPN 'v' is adopted: nobody "
      "establishes it, so it has no owner and no engine" },
    { "[vpn v]\ninterface = wg0\nlockdown = yes\n", "w.conf:1: VPN 'v': to hold apps while it is "
      "down takes to know whose: say which apps, everyone, or a user as its owner" },
    { "[vpn v]\nowner = uid:1\n[vpn v]\n", "w.conf:3: VPN 'v': say `interface =` if somebody else "
      "makes its interface, `owner =` if its program asks us for one" },
    { "[vpn v]\nowner = uid:1\n[vpn v]\nowner = uid:2\n",
      "w.conf:3: VPN 'v' stands already in w.conf:1" },
    { "[network v]\n[vpn v]\nowner = uid:1\n",
      "w.conf:2: network 'v' stands already in w.conf:1: a VPN has one of its name" },
    { "[network x]\ninterface = wg0\n[vpn v]\ninterface = wg0\n",
      "w.conf:3: interface 'wg0' is in 'x' already" },
    { "[vpn a]\ninterface = wg0\n[vpn b]\ninterface = wg0\n",
      "w.conf:3: interface 'wg0' is in 'a' already" },
    { "[vpn a]\ninterface = wg0\napps = uid:5-9\n[vpn b]\ninterface = wg1\napps = uid:7\n",
      "w.conf:4: VPN 'b' and VPN 'a' are to have the same apps" },
    { "[assignments]\nassign =\n",
      "w.conf:2: use: assign = SELECTOR NETWORK|none|default [require|prefer]" },
    { "[assignments]\nassign = uid:1\n",
      "w.conf:2: use: assign = SELECTOR NETWORK|none|default [require|prefer]" },
    { "[assignments]\nassign = uid:1 a require b\n",
      "w.conf:2: use: assign = SELECTOR NETWORK|none|default [require|prefer]" },
    { "[assignments]\nassign = uid:1 a must\n",
      "w.conf:2: 'must' is no strength: use require or prefer" },
    { "[assignments]\nassign = uid:1 a/b\n",
      "w.conf:2: 'a/b' is no network name: use letters, digits and _ . : @ + -" },
    { "[assignments]\nassign = uid:1 system\n",
      "w.conf:2: 'system' is a word with a meaning, not a network's name" },
    { "[assignments]\nassign = uid:1 none prefer\n",
      "w.conf:2: `none` blocks the app: it cannot be a preference" },
    { "[assignments]\nassign = alice a\n",
      "w.conf:2: 'alice' is no selector: use uid:N, uid:N-M, user:NAME, group:NAME, cgroup:/PATH, "
        "unit:NAME or exe:/PATH" },
    { "[assignments]\n" "assign = uid:5 a\n" "assign = uid:6 a\n" "assign = uid:5 b\n",
      "w.conf:4: this selector is assigned already, in w.conf:2" },
};

/* What only shows when it is applied: `scene` is there before. */
static const struct {
    const char *name, *scene, *text, *why; /* a part of the reason */
} apply_rows[] = {
    { "netid out of range", "", "[network x]\nnetid = 52\n", "w.conf:1: netId 52 is out of range" },
    { "netid 0", "", "[network x]\nnetid = 0\n", "w.conf:1: netId 0 is out of range" },
    { "netid twice", "", "[network x]\nnetid = 100\n\n[network y]\nnetid = 100\n",
      "w.conf:4: netId 100 is that of network 'x'" },
    { "netid of a host network: marks carry it", "host-update\n",
      "[network home]\nnetid = 100\ninterface = eth1\n",
      "w.conf:1: netId 100 is that of network 'eth0'" },
    { "netid of one by command", "network home\n", "[network x]\nnetid = 100\n",
      "w.conf:1: netId 100 is that of network 'home'" },
    { "interface twice", "", "[network x]\n" "interface = eth0\n" "[network y]\n"
      "interface = eth0\n", "w.conf:3: interface 'eth0' is in network 'x'" },
    { "interface of one by command", "network home interface eth0\n",
      "[network x]\ninterface = eth0\n", "w.conf:1: interface 'eth0' is in network 'home'" },
    { "permission of a VPN", "", "[network x]\ntype = vpn\npermission = system\n",
      "w.conf:1: only a physical network can demand" },
    { "unreachable with an interface", "", "[network x]\ntype = unreachable\ninterface = eth0\n",
      "w.conf:1: network 'x' is of type unreachable" },
    { "two local networks", "", "[network x]\ntype = local\n[network y]\ntype = local\n",
      "w.conf:3: netId 99 is that of network 'x'" },
    { "the default is a VPN", "", "[waymark]\ndefault = wg0\n[network wg0]\n",
      "w.conf:2: the default network must be physical, 'wg0' is of type vpn" },
    { "the default by command becomes a VPN", "network home\ndefault home\n",
      "\n[network home]\ntype = vpn\n",
      "w.conf:2: network 'home' is the default, which must be physical, not a vpn" },
    { "a VPN's interface is one by command", "network home interface wg0\n",
      "\n[vpn v]\ninterface = wg0\n", "w.conf:2: interface 'wg0' is in network 'home'" },
    { "a VPN's interface by command", "vpn v adopted interface wg0\nvpn-update\n",
      "\n[network x]\ninterface = wg0\n", "w.conf:2: interface wg0 belongs to VPN 'v'" },
    { "the default by command becomes a VPN's", "network home\ndefault home\n",
      "\n[vpn home]\nowner = uid:1\n", "w.conf:2: network 'home' is the default, which a VPN" },
    { "the default is a VPN's", "", "[waymark]\ndefault = v\n[vpn v]\nowner = uid:1\n",
      "w.conf:2: the default network must be physical, 'v' is of type vpn" },
    { "the default is a VPN by command", "network v type vpn\n", "[waymark]\n\ndefault = v\n",
      "w.conf:3: the default network must be physical" },
};
/* clang-format on */

static void scene_with_links(struct scene *s)
{
    scene_init(s);
    scene_run(s, LINKS);
}

static void test_good(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(good_rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct why why = { 0 };
        struct config *c = parse(good_rows[i].text, &why);
        struct scene s;

        scene_with_links(&s);
        CHECK_TEXT(good_rows[i].name, why.text, "");
        if (c) {
            CHECK_INT(good_rows[i].name, config_apply(c, s.m, &s.k, &why), 0);
            CHECK_TEXT(good_rows[i].name, why.text, "");
        }
        dump_model(s.m, &b);
        CHECK_CONTAINS(good_rows[i].name, strbuf_text(&b), good_rows[i].model);
        config_free(c);
        scene_done(&s);
    }
    CHECK_END();
}

static void test_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad_rows); i++) {
        struct why why = { 0 };
        struct config *c = parse(bad_rows[i].text, &why);

        CHECK(bad_rows[i].text, c == NULL);
        CHECK_TEXT(bad_rows[i].text, why.text, bad_rows[i].why);
        config_free(c);
    }
    CHECK_END();
}

static void test_apply_errors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(apply_rows); i++) {
        struct why why = { 0 };
        struct config *c = parse(apply_rows[i].text, &why);
        struct scene s;

        scene_with_links(&s);
        scene_run(&s, apply_rows[i].scene);
        CHECK(apply_rows[i].name, c && config_apply(c, s.m, &s.k, &why) < 0);
        CHECK_CONTAINS(apply_rows[i].name, why.text, apply_rows[i].why);
        config_free(c);
        scene_done(&s);
    }
    CHECK_END();
}

static void test_log_level(void **state)
{
    struct why why = { 0 };
    struct config *c = parse("[waymark]\nlog-level = debug\n", &why);

    (void)state;
    CHECK_INT("set", c ? c->log_level : -2, LOG_DEBUG);
    config_free(c);
    c = parse("", &why);
    CHECK_INT("not set", c ? c->log_level : -2, -1);
    config_free(c);
    CHECK_END();
}

/* What was made by command, or is the host's, and then the configuration; the model of both. */
/* clang-format off */
static const struct {
    const char *name, *scene, *text, *model;
} precedence_rows[] = {
    { "a network of the same name", "network home type vpn interface wg0 dns 1.1.1.1\n",
      "[network home]\ninterface = eth0\n",
      "network 100 'home' physical config permission none resolver 0,0,0,0 source 'w.conf'\n"
      "  interface 'eth0'\n" "known" },
    { "a network of the same name, netId given", "network home netid 700\n",
      "[network home]\nnetid = 500\n", "network 500 'home' physical config" },
    { "a network of another name stays", "network work interface eth1\n",
      "[network home]\ninterface = eth0\n", "network 100 'work' physical command" },
    { "a network of the host", "host-update\n", "[network eth0]\n",
      "network 100 'eth0' physical config" },
    { "the interface of a host network", "host-update\n", "[network home]\ninterface = eth0\n",
      "from ''\nnetwork 101 'home' physical config" },
    { "a selector that is assigned", "network home\nassign uid:5 home prefer\n",
      "[assignments]\nassign = uid:5 none\n", "assign uid:5 - require config at 'w.conf':2\n" },
    { "other selectors stay", "network home\n" "assign uid:4 home\n" "assign uid:6 home prefer\n",
      "[assignments]\nassign = uid:5 none\n", "assign uid:4 home require command at '':0\n"
      "assign uid:5 - require config at 'w.conf':2\n"
      "assign uid:6 home prefer command at '':0\n" },
    { "the default", "network home\ndefault home\n", "[waymark]\ndefault = other\n",
      "default 'other' from 'w.conf:2'" },
    { "the default, to system", "network home\ndefault home\n", "[waymark]\ndefault = system\n",
      "default '' from 'w.conf:2'" },
    { "the default, and what it was becomes a VPN", "network home\ndefault home\n",
      "[waymark]\ndefault = other\n[network home]\ntype = vpn\n",
      "default 'other' from 'w.conf:2'" },
    { "a VPN of the same name", "vpn v adopted interface wg0 app uid:5 dns 10.0.0.1\nvpn-update\n",
      "[vpn v]\ninterface = eth1\n", "network 100 'v' vpn vpn permission none secure resolver "
      "0,0,0,0 source ''\n  interface 'eth1'\nknown" },
    { "how it is stays", "vpn v service owner uid:5\nestablish v 5 wmtun0 address 10.0.0.2\n"
      "vpn-update\n", "[vpn v]\nowner = uid:5\nlockdown = yes\n",
      "vpn 'v' service config owner 'uid:5' is 5 uid 5 engine '' lockdown established\n"
      "  interface 'wmtun0'\n" },
    { "down stays, too", "vpn v adopted interface wg0\nvpn-down v\n", "[vpn v]\ninterface = wg0\n",
      "config owner '' is -1 uid -1 engine '' down\n" },
    { "another owner's is not kept", "establish v 6 wmtun0 address 10.0.0.2\nvpn-update\n",
      "[vpn v]\nowner = uid:5\n", "vpn 'v' service config owner 'uid:5' is 5 uid -1 engine ''\n" },
    { "another kind's is not kept", "establish v 6 wmtun0 address 10.0.0.2\nvpn-update\n",
      "[vpn v]\ninterface = wg0\n", "vpn 'v' adopted config owner '' is -1 uid -1 engine ''\n" },
    { "a VPN whose name is a network's", "establish v 6 wmtun0 address 10.0.0.2\nvpn-update\n",
      "[network v]\ninterface = eth1\n", "'v' physical config permission none resolver 0,0,0,0 "
      "source 'w.conf'\n  interface 'eth1'\nknown" },
    { "a network whose name is a VPN's", "network v interface eth1\n", "[vpn v]\nowner = uid:5\n",
      "network 100 'v' vpn vpn" },
    { "a program's VPN that has the same apps",
      "establish p 6 wmtun0 address 10.0.0.2\nestablish q 7 wmtun1 address 10.0.0.2\nvpn-update\n",
      "[vpn v]\ninterface = wg0\napps = uid:6\n",
      "assign uid:6 v require vpn at '':0\nassign uid:7 q require vpn" },
    { "an assignment of a VPN's selector", "vpn v adopted interface wg0 app uid:5\nvpn-update\n",
      "[assignments]\nassign = uid:5 none\n", "assign uid:5 - require config" },
    { "the default stays when nothing is said", "network home\ndefault home\n",
      "[network other]\n", "default 'home' from ''" },
};
/* clang-format on */

static void test_precedence(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(precedence_rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct why why = { 0 };
        struct config *c = parse(precedence_rows[i].text, &why);
        struct scene s;

        scene_with_links(&s);
        scene_run(&s, precedence_rows[i].scene);
        CHECK_INT(precedence_rows[i].name, config_apply(c, s.m, &s.k, &why), 0);
        CHECK_TEXT(precedence_rows[i].name, why.text, "");
        dump_model(s.m, &b);
        CHECK_CONTAINS(precedence_rows[i].name, strbuf_text(&b), precedence_rows[i].model);
        config_free(c);
        scene_done(&s);
    }
    CHECK_END();
}

static const struct network *by_name(const struct scene *s, const char *name)
{
    return model_network_by_name(s->m, name);
}

static void apply(struct scene *s, const char *text)
{
    struct why why = { 0 };
    struct config *c = parse(text, &why);

    if (!CHECK("parses", c != NULL) || !CHECK_INT(text, config_apply(c, s->m, &s->k, &why), 0))
        print_error("  %s\n", why.text);
    config_free(c);
}

/* A reload: what did not change stays the same object; what went is gone; netIds stay. */
static void test_reload(void **state)
{
    const struct network *same, *changed, *command, *moved;
    struct scene s;

    (void)state;
    scene_with_links(&s);
    scene_run(&s, "network mine interface wg0\nassign uid:7 mine\n");
    apply(&s, "[waymark]\ndefault = same\nignore = a*\n"
              "[network same]\ninterface = eth0\ndns = 1.1.1.1\nroute = 10.9.0.0/16\n"
              "[network changed]\ninterface = eth1\n[network gone]\n[network moved]\nnetid = 300\n"
              "[assignments]\nassign = uid:5 same\nassign = uid:6 gone\n");
    same = by_name(&s, "same");
    changed = by_name(&s, "changed");
    command = by_name(&s, "mine");
    moved = by_name(&s, "moved");
    CHECK("all there", same && changed && command && moved && by_name(&s, "gone"));

    /* other lines, other comments, other order */
    apply(&s, "# new\n[network changed]\ninterface = eth1\ndns = 9.9.9.9\n"
              "[network moved]\nnetid = 400\n[network fresh]\n"
              "[network same]\ndns = 1.1.1.1\nroute = 10.9.0.0/16\ninterface = eth0\n"
              "[assignments]\nassign = uid:6 same prefer\n");
    CHECK("same", by_name(&s, "same") == same);
    CHECK_INT("same: held once by the model", same->refs, 1);
    CHECK("changed", by_name(&s, "changed") && by_name(&s, "changed") != changed);
    CHECK_INT("changed: the netId stays", by_name(&s, "changed")->netid, 102);
    CHECK_INT("moved", by_name(&s, "moved")->netid, 400);
    CHECK("gone", by_name(&s, "gone") == NULL);
    CHECK_INT("fresh: nobody's old netId", by_name(&s, "fresh")->netid, 104);
    CHECK("by command: untouched", by_name(&s, "mine") == command);
    CHECK("default: nothing is said any more", !s.m->default_network && !s.m->default_source);
    CHECK_INT("ignore: nothing is said any more", s.m->n_ignored, 0);
    CHECK_INT("assignments", s.m->assignments->n, 2);
    CHECK_INT("assignments", s.m->assignments->items[0].strength, STRENGTH_PREFER);
    CHECK_INT("assignments: by command", s.m->assignments->items[1].origin, ORIGIN_COMMAND);

    apply(&s, "[network gone]\n");
    CHECK_INT("it comes back", by_name(&s, "gone")->netid, 103);
    apply(&s, "");
    CHECK_INT("nothing is left but what was made by command", s.m->n_networks, 1);
    CHECK_INT("nothing is left but what was made by command", s.m->assignments->n, 1);
    scene_done(&s);
    CHECK_END();
}

/* The same file twice beside the machine's own networks: what worked at start works at a reload. */
static void test_reload_beside_host(void **state)
{
    static const char text[] = "[network home]\nnetid = 100\ninterface = eth1\n";
    struct scene s;

    (void)state;
    scene_with_links(&s);
    scene_run(&s, "known eth0 100\n"); /* from an earlier run */
    apply(&s, text);
    scene_run(&s, "host-update\n");
    CHECK("eth0 made room", by_name(&s, "eth0") && by_name(&s, "eth0")->netid != 100);
    apply(&s, text);
    CHECK_INT("again", by_name(&s, "home")->netid, 100);
    apply(&s, "");
    scene_run(&s, "host-update\nunlink eth0\nhost-update\nlink 2 eth0\naddr eth0 10.0.0.2/24\n"
                  "host-update\n");
    apply(&s, text);
    CHECK_INT("after eth0 had its old netId again", by_name(&s, "home")->netid, 100);
    scene_done(&s);
    CHECK_END();
}

/* Files. */

static char folder[64];

static void put(const char *name, const char *text)
{
    char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(fd_replace_file(path, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
    char path[128];

    (void)state;
    (void)strcpy(folder, "/tmp/waymark-test-config-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/conf.d", folder);
    return mkdir(path, 0755);
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void test_files(void **state)
{
    static const char *const defaults[] = { "docker*", "br-*", "veth*", "virbr*", "lo" };
    struct config *c = NULL;
    struct why why = { 0 };
    char path[128];

    (void)state;
    CHECK_INT("nothing there", config_load("/nonexistent/waymark", &c, &why), 0);
    CHECK_INT("nothing there", c->n_networks, 0);
    CHECK_INT("default patterns", c->n_ignored, ELEMENTSOF(defaults));
    for (size_t i = 0; i < c->n_ignored && i < ELEMENTSOF(defaults); i++)
        CHECK_TEXT("default patterns", c->ignored[i]->s, defaults[i]);
    config_free(c);

    put("waymark.conf", "[network a]\n");
    put("conf.d/20-b.conf", "[network b]\n");
    put("conf.d/10-c.conf", "[network c]\n[waymark]\nignore = x\n");
    put("conf.d/.hidden.conf", "nonsense\n");
    put("conf.d/30-d.conf.bak", "nonsense\n");
    put("conf.d/.conf", "nonsense\n");
    CHECK_INT("a folder", config_load(folder, &c, &why), 0);
    CHECK_TEXT("a folder", why.text, "");
    CHECK_INT("a folder", c->n_networks, 3);
    CHECK_TEXT("first waymark.conf", c->networks[0].draft->name, "a");
    CHECK_TEXT("then by name", c->networks[1].draft->name, "c");
    CHECK_TEXT("then by name", c->networks[2].draft->name, "b");
    CHECK_INT("own patterns, not the default ones", c->n_ignored, 1);
    config_free(c);

    snprintf(path, sizeof(path), "%s/conf.d/20-b.conf", folder);
    CHECK_INT("one file", config_load(path, &c, &why), 0);
    CHECK_INT("one file", c->n_networks, 1);
    config_free(c);
    CHECK_END();
}

static void test_file_errors(void **state)
{
    struct config *c = NULL;
    struct why why = { 0 };
    char expected[512];

    (void)state;
    put("waymark.conf", "[network a]\n");
    put("conf.d/x.conf", "# more\n\n[network a]\n");
    CHECK_INT("twice, in two files", config_load(folder, &c, &why), -EEXIST);
    snprintf(expected, sizeof(expected),
             "%s/conf.d/x.conf:3: network 'a' stands already in "
             "%s/waymark.conf:1",
             folder, folder);
    CHECK_TEXT("twice, in two files", why.text, expected);

    put("waymark.conf", "[assignments]\nassign = uid:1 a\n");
    put("conf.d/x.conf", "[assignments]\n\nassign = uid:1 b\n");
    CHECK_INT("a selector, in two files", config_load(folder, &c, &why), -EEXIST);
    CHECK_CONTAINS("a selector, in two files", why.text, "this selector is assigned already, in");

    put("conf.d/x.conf", "key = value\n");
    CHECK_INT("a section does not reach into the next file", config_load(folder, &c, &why),
              -EINVAL);
    CHECK_CONTAINS("a section does not reach into the next file", why.text,
                   "conf.d/x.conf:1: 'key' stands before any [section]");
    snprintf(expected, sizeof(expected), "%s/waymark.conf", folder);
    assert_int_equal(unlink(expected), 0);
    assert_int_equal(mkdir(expected, 0755), 0);
    CHECK_INT("a folder in its place", config_load(folder, &c, &why), -EISDIR);
    CHECK_CONTAINS("a folder in its place", why.text, "cannot read");
    CHECK("nothing was handed out", c == NULL);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_apply_errors),
        cmocka_unit_test(test_log_level),
        cmocka_unit_test(test_precedence),
        cmocka_unit_test(test_reload),
        cmocka_unit_test(test_reload_beside_host),
        cmocka_unit_test_setup_teardown(test_files, setup, teardown),
        cmocka_unit_test_setup_teardown(test_file_errors, setup, teardown),
    };

    log_set_max_level(LOG_ERR); /* that a command's network was replaced is no news here */
    return RUN_TESTS(tests);
}
