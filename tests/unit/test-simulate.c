/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/simulate*: the kernel's output routing, quirk by quirk. Each row is a machine, a packet
 * and the answer; the property test asks a real kernel the same kind of question.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "plan/simulate.h"
#include "unit/scene.h"

/* eth0 and eth1 with a subnet each, a default route out of eth0. */
static const char machine[] = "link 2 eth0\nlink 3 eth1\nlink 4 eth2 down\n"
                              "addr eth0 10.0.0.2/24\naddr eth1 10.0.1.2/24\n"
                              "addr eth0 fd00::2/64\naddr eth1 fd00:1::2/64\n"
                              "iproute fe80::/64 dev eth0 metric 256\n"
                              "iproute fe80::/64 dev eth1 metric 256\n"
                              "iproute 0.0.0.0/0 via 10.0.0.1 dev eth0\n"
                              "iproute ::/0 via fd00::1 dev eth0\n";

#define T9(line) "iprule 100 lookup 9\n" line
#define DEFAULT9                                                                                  \
    "iproute 0.0.0.0/0 via 10.0.1.1 dev eth1 table 9\niproute ::/0 via fd00:1::1 dev eth1 table " \
    "9\n"
#define MULTIPATH                                       \
    "iproute 0.0.0.0/0 via 10.0.0.1 dev eth0 table 9\n" \
    "iproute 0.0.0.0/0 via 10.0.1.1 dev eth1 table 9 nexthop 1\n"
#define VIA_ETH0  "unicast eth0 table 254 gw 10.0.0.1 src 10.0.0.2"
#define VIA_9     "unicast eth1 table 9 gw 10.0.1.1 src 10.0.1.2"
#define VIA6_ETH0 "unicast eth0 table 254 gw fd00::1"
#define VIA6_9    "unicast eth1 table 9 gw fd00:1::1"

/* clang-format off */
static const struct {
    const char *name, *scene;
    const char *packet; /* DST [from SRC] [uid N] [mark N] [oif IF] */
    const char *answer;
} rows[] = {
    /* rules: each selector, matching and not */
    { "main", "", "8.8.8.8", VIA_ETH0 },
    { "main, IPv6", "", "2001:db8::1", VIA6_ETH0 },
    { "subnet", "", "10.0.1.9", "unicast eth1 table 254 gw none src 10.0.1.2" },
    { "no selector", T9(DEFAULT9), "8.8.8.8", VIA_9 },
    { "from", "iprule4 100 from 10.0.1.0/24 lookup 9\n" DEFAULT9, "8.8.8.8 from 10.0.1.2", VIA_9 },
    { "from, another", "iprule4 100 from 10.0.1.0/24 lookup 9\n" DEFAULT9,
      "8.8.8.8 from 10.0.0.2", VIA_ETH0 },
    { "from, none yet", "iprule4 100 from 10.0.1.0/24 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "from 0.0.0.0/1, none yet: IPv4 compares 0.0.0.0",
      "iprule4 100 from 0.0.0.0/1 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },
    { "from ::/1, none yet: IPv6 does not match", "iprule6 100 from ::/1 lookup 9\n" DEFAULT9,
      "2001:db8::1", VIA6_ETH0 },
    { "from ::/1", "iprule6 100 from ::/1 lookup 9\n" DEFAULT9, "2001:db8::1 from ::1",
      VIA6_9 " src ::1" },
    { "to", "iprule4 100 to 8.0.0.0/8 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },
    { "to, another", "iprule4 100 to 8.0.0.0/8 lookup 9\n" DEFAULT9, "9.8.8.8", VIA_ETH0 },
    { "mark, a bit is missing", "iprule4 100 fwmark 0x10064/0x1ffff lookup 9\n" DEFAULT9,
      "8.8.8.8 mark 0x20064", VIA_ETH0 },
    { "mark, masked", "iprule4 100 fwmark 0x10064/0x1ffff lookup 9\n" DEFAULT9,
      "8.8.8.8 mark 0x90010064", VIA_9 },
    { "mark, another", "iprule4 100 fwmark 0x10064/0x1ffff lookup 9\n" DEFAULT9,
      "8.8.8.8 mark 0x64", VIA_ETH0 },
    { "mark with bits outside its mask: they do not count",
      "iprule4 100 fwmark 0x3/0x1 lookup 9\n" DEFAULT9, "8.8.8.8 mark 0x1", VIA_9 },
    { "uid, lower bound", "iprule4 100 uidrange 5-9 lookup 9\n" DEFAULT9, "8.8.8.8 uid 5", VIA_9 },
    { "uid, upper bound", "iprule4 100 uidrange 5-9 lookup 9\n" DEFAULT9, "8.8.8.8 uid 9", VIA_9 },
    { "uid, beyond", "iprule4 100 uidrange 5-9 lookup 9\n" DEFAULT9, "8.8.8.8 uid 10", VIA_ETH0 },
    { "uid, root", "iprule4 100 uidrange 0-0 lookup 9\n" DEFAULT9, "8.8.8.8 uid 0", VIA_9 },
    { "iif lo: made here", "iprule4 100 iif lo lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },
    { "another iif", "iprule4 100 iif eth0 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "oif", "iprule4 100 oif eth1 lookup 9\n" DEFAULT9, "8.8.8.8 oif eth1", VIA_9 },
    { "oif, not bound", "iprule4 100 oif eth1 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "oif, bound to another", "iprule4 100 oif eth1 lookup 9\n" DEFAULT9, "8.8.8.8 oif eth0",
      VIA_ETH0 },
    { "oif that is gone", "iprule4 100 oif eth9 lookup 9\n" DEFAULT9, "8.8.8.8 oif eth1",
      "unicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "protocol: UDP", "iprule4 100 ipproto 17 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },
    { "protocol: another", "iprule4 100 ipproto 6 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "ports: a packet without", "iprule4 100 dport 53 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "source ports: a packet without", "iprule4 100 sport 1-65535 lookup 9\n" DEFAULT9,
      "8.8.8.8", VIA_ETH0 },
    { "tos: a packet without", "iprule4 100 tos 0x10 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "VRF", "iprule4 100 l3mdev lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 " uncertain" },
    { "an unknown attribute", "iprule4 100 other lookup 9\n" DEFAULT9, "8.8.8.8",
      VIA_9 " uncertain" },
    { "not, matching", "iprule4 100 not uidrange 5-9 lookup 9\n" DEFAULT9, "8.8.8.8 uid 5",
      VIA_ETH0 },
    { "not, not matching", "iprule4 100 not uidrange 5-9 lookup 9\n" DEFAULT9, "8.8.8.8 uid 4",
      VIA_9 },
    { "not a and b: one fails", "iprule4 100 not uidrange 5-9 fwmark 7 lookup 9\n" DEFAULT9,
      "8.8.8.8 uid 5", VIA_9 },
    { "not all", "iprule4 100 not lookup 9\n" DEFAULT9, "8.8.8.8", VIA_ETH0 },
    { "not another iif", "iprule4 100 not iif eth0 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },

    /* actions */
    { "prohibit", "iprule 100 prohibit\n", "8.8.8.8", "error EACCES rule 100" },
    { "prohibit, IPv6", "iprule 100 prohibit\n", "2001:db8::1", "error EACCES rule 100" },
    { "unreachable", "iprule 100 unreachable\n", "8.8.8.8", "error ENETUNREACH rule 100" },
    { "blackhole", "iprule 100 blackhole\n", "8.8.8.8", "error EINVAL rule 100" },
    { "the local table comes first", "iprule 100 prohibit\n", "10.0.0.2",
      "local lo table 255 gw none src 10.0.0.2" },
    { "nop", "iprule 100 nop\n", "8.8.8.8", VIA_ETH0 },
    { "goto, over a prohibit", "iprule 100 goto 300\niprule 200 prohibit\niprule 300 nop\n",
      "8.8.8.8", VIA_ETH0 },
    { "goto, to the first of its priority",
      "iprule 100 goto 300\niprule 300 nop\niprule 300 prohibit\n", "8.8.8.8",
        "error EACCES rule 300" },
    { "goto that does not match",
      "iprule 100 uidrange 7 goto 300\niprule 200 prohibit\niprule 300 nop\n", "8.8.8.8",
        "error EACCES rule 200" },
    { "goto without a target is passed over", "iprule 100 goto 300\niprule 200 prohibit\n",
      "8.8.8.8", "error EACCES rule 200" },
    { "an empty table", "iprule 100 lookup 9\n", "8.8.8.8", VIA_ETH0 },
    { "no rules at all", "iprule 1 goto 40000\niprule 40000 nop\n", "8.8.8.8",
      "error ENETUNREACH" },
    { "suppressed: the default of main",
      "iprule 100 lookup main suppress 0\niprule 200 lookup 9\n" DEFAULT9, "8.8.8.8", VIA_9 },
    { "not suppressed: longer",
      "iprule 100 lookup main suppress 0\niprule 200 lookup 9\n" DEFAULT9, "10.0.0.9",
        "unicast eth0 table 254 gw none src 10.0.0.2" },
    { "suppressed: up to that length",
      "iprule 100 lookup main suppress 24\niprule 200 lookup 9\n" DEFAULT9, "10.0.0.9", VIA_9 },
    { "an error is not suppressed",
      "iprule 100 lookup 9 suppress 32\niproute unreach 8.0.0.0/8 table 9\n", "8.8.8.8",
        "error EHOSTUNREACH rule 100" },

    /* types of routes */
    { "unreachable route", T9("iproute unreach 8.0.0.0/8 table 9\n"), "8.8.8.8",
      "error EHOSTUNREACH rule 100" },
    { "prohibit route", T9("iproute prohibit 8.0.0.0/8 table 9\n"), "8.8.8.8",
      "error EACCES rule 100" },
    { "blackhole route", T9("iproute blackhole 8.0.0.0/8 table 9\n"), "8.8.8.8",
      "error EINVAL rule 100" },
    { "throw: on to the next rule", T9(DEFAULT9 "iproute throw 8.0.0.0/8 table 9\n"), "8.8.8.8",
      VIA_ETH0 },
    { "throw elsewhere", T9(DEFAULT9 "iproute throw 8.0.0.0/8 table 9\n"), "9.8.8.8", VIA_9 },
    { "throw, IPv6", T9(DEFAULT9 "iproute throw 2001::/16 table 9\n"), "2001:db8::1", VIA6_ETH0 },
    { "unreachable, IPv6", T9("iproute unreach 2001::/16 table 9\n"), "2001:db8::1",
      "error EHOSTUNREACH rule 100" },

    /* tables of IPv4 */
    { "longest prefix", T9(DEFAULT9 "iproute 8.8.0.0/16 dev eth0 table 9\n"), "8.8.8.8",
      "unicast eth0 table 9 gw none src 10.0.0.2" },
    { "lowest metric", T9(DEFAULT9 "iproute 0.0.0.0/0 dev eth0 table 9 metric 5\n"), "8.8.8.8",
      VIA_9 },
    { "a route with a tos is not for us",
      T9(DEFAULT9 "iproute 8.8.8.8/32 dev eth0 table 9 tos 0x10\n"), "8.8.8.8", VIA_9 },
    { "a dead next hop", T9(DEFAULT9 "iproute 8.8.8.8/32 dev eth0 table 9 dead\n"), "8.8.8.8",
      VIA_9 },
    { "a cached copy", T9(DEFAULT9 "iproute 8.8.8.8/32 dev eth0 table 9 cloned\n"), "8.8.8.8",
      VIA_9 },
    { "multipath: which, is not known",
      T9(MULTIPATH), "8.8.8.8", "unicast eth0 table 9 gw 10.0.0.1 src 10.0.0.2 uncertain" },
    { "multipath, interface asked for",
      T9(MULTIPATH), "8.8.8.8 oif eth1", VIA_9 },
    { "preferred source", T9("iproute 0.0.0.0/0 dev eth1 table 9 src 10.0.0.2\n"), "8.8.8.8",
      "unicast eth1 table 9 gw none src 10.0.0.2" },
    { "source in the gateway's subnet",
      "addr eth1 10.0.7.2/24\n" T9("iproute 0.0.0.0/0 via 10.0.7.1 dev eth1 table 9\n"),
        "8.8.8.8", "unicast eth1 table 9 gw 10.0.7.1 src 10.0.7.2" },
    { "source of another interface",
      "link 7 bare0\n" T9("iproute 0.0.0.0/0 dev bare0 table 9\n"), "8.8.8.8",
        "unicast bare0 table 9 gw none src 10.0.0.2" },

    /* an interface that was asked for */
    { "oif, a route out of it", "", "8.8.8.8 oif eth0", VIA_ETH0 },
    { "oif, no route: on link, IPv4", "", "8.8.8.8 oif eth1",
      "unicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "oif, prohibited: on link all the same, IPv4", "iprule 100 prohibit\n", "8.8.8.8 oif eth1",
      "unicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "oif, an unreachable route, IPv4", "iproute unreach 8.0.0.0/8\n", "8.8.8.8 oif eth1",
      "unicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "oif, prohibited, IPv6", "iprule 100 prohibit\n", "2001:db8::1 oif eth1",
      "error EACCES rule 100" },
    { "oif, no route, IPv6", "", "2001:db8::1 oif eth1", "error ENETUNREACH" },
    { "oif, down", "", "8.8.8.8 oif eth2", "error ENETUNREACH" },
    { "oif, IPv6, source known: not strict", "", "2001:db8::1 from fd00::2 oif eth1",
      VIA6_ETH0 " src fd00::2" },
    { "oif, IPv6, source known: the better one", "iproute ::/0 via fd00:1::1 dev eth1\n",
      "2001:db8::1 from fd00::2 oif eth1", "unicast eth1 table 254 gw fd00:1::1 src fd00::2" },

    /* the shortcuts around IPv4's rules */
    { "multicast", "", "224.0.0.5", "multicast eth0 table 254 gw none src 10.0.0.2" },
    { "multicast has a route", "iproute 224.0.0.0/4 via 10.0.1.1 dev eth1\n", "239.1.1.1",
      "multicast eth1 table 254 gw 10.0.1.1 src 10.0.1.2" },
    { "multicast, prohibited", "iprule 100 prohibit\n", "239.1.1.1", "error EACCES rule 100" },
    { "local multicast by interface: no rule is asked", "iprule 100 prohibit\n",
      "224.0.0.5 oif eth1", "multicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "multicast by interface: refused, and on link", "iprule 100 prohibit\n",
      "239.1.1.1 oif eth1", "multicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "multicast by interface: the rules see the source",
      "iprule4 100 from 10.0.1.2 lookup 9\n" DEFAULT9, "239.1.1.1 oif eth1",
        "multicast eth1 table 9 gw none src 10.0.1.2" },
    { "multicast by source address: no rule is asked", "iprule 100 prohibit\n",
      "239.1.1.1 from 10.0.1.2", "multicast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "broadcast", "", "255.255.255.255", "broadcast eth0 table 254 gw none src 10.0.0.2" },
    { "broadcast by source address", "iprule 100 prohibit\n", "255.255.255.255 from 10.0.1.2",
      "broadcast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "broadcast by interface", "iprule 100 prohibit\n", "255.255.255.255 oif eth1",
      "broadcast eth1 table 0 gw none src 10.0.1.2 shortcut" },
    { "broadcast of a subnet: the local table", "iprule 100 prohibit\n", "10.0.1.255",
      "broadcast eth1 table 255 gw none src 10.0.1.2" },
    { "0.0.0.0 is this machine", "iprule 100 prohibit\n", "0.0.0.0",
      "local lo table 0 gw none src 127.0.0.1 shortcut" },
    { "0.0.0.0 by interface", "", "0.0.0.0 oif eth1",
      "local lo table 0 gw none src 10.0.1.2 shortcut" },
    { "0.0.0.0 from an address", "", "0.0.0.0 from 10.0.1.2",
      "local lo table 0 gw none src 10.0.1.2 shortcut" },

    /* sources that cannot be */
    { "source of somebody else", "", "8.8.8.8 from 9.9.9.9", "error ENETUNREACH" },
    { "source is multicast", "", "8.8.8.8 from 224.0.0.1", "error EINVAL" },
    { "source is broadcast", "", "8.8.8.8 from 255.255.255.255", "error EINVAL" },
    { "source is 0.0.0.0: as good as none", "", "8.8.8.8 from 0.0.0.0", VIA_ETH0 },
    { "source is in 0/8", "", "8.8.8.8 from 0.1.2.3", "error ENETUNREACH" },
    { "source is in 240/4", "", "8.8.8.8 from 250.1.2.3", "error ENETUNREACH" },
    { "source is a subnet's broadcast", "", "8.8.8.8 from 10.0.0.255", "error ENETUNREACH" },
    { "source is loopback, leaving the machine", "", "8.8.8.8 from 127.0.0.1",
      "error EINVAL rule 32766" },
    { "source is loopback, staying", "", "10.0.0.2 from 127.0.0.1",
      "local lo table 255 gw none src 127.0.0.1" },
    { "source in a local prefix", "iproute local 10.7.0.0/16 dev lo table local\n",
      "8.8.8.8 from 10.7.1.1", "unicast eth0 table 254 gw 10.0.0.1 src 10.7.1.1" },

    /* tables of IPv6 */
    { "IPv6, longest prefix", T9(DEFAULT9 "iproute 2001:db8::/32 dev eth0 table 9\n"),
      "2001:db8::1", "unicast eth0 table 9 gw none" },
    { "IPv6, lowest metric", T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 metric 9\n"),
      "2001:db8::1", "unicast eth0 table 9 gw none" },
    { "IPv6, the preference within a metric",
      T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 pref high\n"), "2001:db8::1",
        "unicast eth0 table 9 gw none" },
    { "IPv6, a low preference", T9("iproute ::/0 dev eth0 table 9 pref low\n" DEFAULT9),
      "2001:db8::1", VIA6_9 },
    { "IPv6, equal: the first", T9(DEFAULT9 "iproute ::/0 dev eth0 table 9\n"), "2001:db8::1",
      VIA6_9 },
    { "IPv6, multipath", T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 nexthop 1\n"), "2001:db8::1",
      VIA6_9 " uncertain" },
    { "IPv6, dead", T9("iproute ::/0 dev eth0 table 9 dead metric 1\n" DEFAULT9), "2001:db8::1",
      VIA6_9 },
    { "source-specific, no source", T9("iproute ::/0 from fd00:1::/64 dev eth1 table 9\n"),
      "2001:db8::1", VIA6_ETH0 },
    { "source-specific, its source", T9("iproute ::/0 from fd00:1::/64 dev eth1 table 9\n"),
      "2001:db8::1 from fd00:1::2", "unicast eth1 table 9 gw none src fd00:1::2" },
    { "source-specific, another source", T9("iproute ::/0 from fd00:1::/64 dev eth1 table 9\n"),
      "2001:db8::1 from fd00::2", VIA6_ETH0 " src fd00::2" },
    { "source-specific: the destination counts first",
      T9("iproute ::/0 from fd00:1::/64 dev eth1 table 9\n"
         "iproute 2001:db8::/32 dev eth0 table 9\n"),
      "2001:db8::1 from fd00:1::2",
      "unicast eth0 table 9 gw none src fd00:1::2" },
    { "source-specific: then the longer source",
      T9("iproute ::/0 dev eth0 table 9\niproute ::/0 from fd00:1::/64 dev eth1 table 9\n"),
        "2001:db8::1 from fd00:1::2", "unicast eth1 table 9 gw none src fd00:1::2" },
    { "IPv6, multipath, an interface asked for: a hash chooses all the same",
      T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 nexthop 1\n"), "2001:db8::1 from fd00::2 oif eth1",
        VIA6_9 " src fd00::2 uncertain" },
    { "IPv6, multipath, an interface asked for, strict",
      T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 nexthop 1\n"), "2001:db8::1 oif eth1", VIA6_9 },
    { "multicast is strict, IPv6", "", "ff02::1 oif eth1", "multicast eth1 table 255 gw none" },
    { "multicast, no interface, IPv6: the local table's first", "", "ff0e::1",
      "multicast eth0 table 255 gw none" },
    { "multicast passes a prohibit, IPv6", "iprule 100 prohibit\n", "ff0e::1",
      "multicast eth0 table 255 gw none" },
    { "link-local is strict", "", "fe80::9 oif eth1", "unicast eth1 table 254 gw none" },
    { "link-local, source known: strict all the same", "", "fe80::9 from fd00::2 oif eth1",
      "unicast eth1 table 254 gw none src fd00::2" },
    { "loopback, IPv6", "", "::1", "local lo table 255 gw none" },
    { "an address of our own, IPv6", "iprule 100 prohibit\n", "fd00::2",
      "local lo table 255 gw none" },
    { "the node is searched again without the interface",
      T9("iproute 2001:db8::/32 dev eth0 table 9\niproute 2001::/16 dev eth1 table 9\n"),
        "2001:db8::1 oif eth1", "unicast eth1 table 9 gw none" },
};
/* clang-format on */

static const char *const types[] = {
    [RTN_UNICAST] = "unicast",
    [RTN_LOCAL] = "local",
    [RTN_BROADCAST] = "broadcast",
    [RTN_MULTICAST] = "multicast",
};

static const char *error_name(int error)
{
    static const struct {
        int error;
        const char *name;
    } names[] = {
        { -EACCES, "EACCES" }, { -ENETUNREACH, "ENETUNREACH" }, { -EHOSTUNREACH, "EHOSTUNREACH" },
        { -EINVAL, "EINVAL" }, { -ENODEV, "ENODEV" },
    };

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (names[i].error == error)
            return names[i].name;
    return "?";
}

static void print_answer(const struct scene *s, const struct sim_result *r, struct strbuf *b)
{
    const struct rtnl_link *link = kernel_link(&s->k, r->oif);
    char text[IP_TEXT_MAX];

    if (r->error < 0) {
        strbuf_add(b, "error %s", error_name(r->error));
        if (r->rule)
            strbuf_add(b, " rule %u", r->rule->priority);
        return;
    }
    strbuf_add(b, "%s %s table %u gw %s", types[r->type], link ? link->name : "?", r->table,
               ip_addr_format(&r->gateway, text));
    if (ip_addr_is_set(&r->src))
        strbuf_add(b, " src %s", ip_addr_format(&r->src, text));
    strbuf_add(b, "%s%s", r->shortcut ? " shortcut" : "", r->uncertain ? " uncertain" : "");
}

static void test_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_scene_ struct scene s;
        struct sim_result r;
        struct rtnl_flow flow;

        scene_init(&s);
        scene_run(&s, machine);
        scene_run(&s, rows[i].scene);
        flow = scene_packet(&s, rows[i].packet);
        r = simulate(&s.k, &flow, NULL, NULL);
        print_answer(&s, &r, &b);
        CHECK_TEXT(rows[i].name, strbuf_text(&b), rows[i].answer);
    }
    CHECK_END();
}

/* The trace names every rule that was looked at, why it did not match, and what came of it. */
static void note(void *data, const struct sim_step *step)
{
    struct strbuf *b = data;

    strbuf_add(b, "%u %s, %s; ", step->rule->priority, sim_mismatch_to_string(step->mismatch),
               sim_outcome_to_string(step->outcome));
}

static void note_narrow(void *data, const struct sim_step *step)
{
    *(bool *)data |= step->narrow;
}

static void test_trace(void **state)
{
    /* clang-format off */
    static const struct {
        const char *rule, *steps;
    } traces[] = {
        { "iif eth0 nop", "100 not from that interface, not tried; " },
        { "oif eth1 nop", "100 not bound to that interface, not tried; " },
        { "fwmark 7 nop", "100 other mark, not tried; " },
        { "uidrange 7 nop", "100 other uid, not tried; " },
        { "from 10.0.1.2 nop", "100 other source, not tried; " },
        { "to 9.0.0.0/8 nop", "100 other destination, not tried; " },
        { "tos 0x10 nop", "100 other tos, not tried; " },
        { "ipproto 6 nop", "100 other protocol, not tried; " },
        { "dport 53 nop", "100 other port, not tried; " },
        { "l3mdev nop", "100 no VRF, not tried; " },
        { "not nop", "100 inverted, not tried; " },
        { "nop", "100 matches, nop; " },
        { "goto 32766", "100 matches, goto; " },
        { "lookup 9", "100 matches, no route; " },
        { "lookup 10", "100 matches, throw; " },
        { "lookup main suppress 0", "100 matches, suppressed; " },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(traces); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, expected = STRBUF_INIT;
        _cleanup_scene_ struct scene s;
        struct rtnl_flow flow;
        char line[128];

        scene_init(&s);
        scene_run(&s, machine);
        scene_run(&s, "iproute throw 0.0.0.0/0 table 10\n");
        snprintf(line, sizeof(line), "iprule4 100 %s", traces[i].rule);
        scene_run(&s, line);
        flow = scene_packet(&s, "8.8.8.8");
        (void)simulate(&s.k, &flow, note, &b);
        strbuf_add(&expected, "0 matches, no route; %s32766 matches, route; ", traces[i].steps);
        CHECK_TEXT(traces[i].rule, strbuf_text(&b), strbuf_text(&expected));
    }
    CHECK_END();
}

/* Rules and routes that ask for a protocol, port or tos: who asks for UDP alone is told so. */
static void test_packets(void **state)
{
    static const struct {
        const char *rule, *packet;
        struct sim_packet kind;
        const char *answer;
        bool narrow;
    } packets[] = {
        { "nop", "8.8.8.8", { .protocol = 6 }, VIA_ETH0, false },
        { "ipproto 6 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_ETH0, true },
        { "ipproto 6 lookup 9", "8.8.8.8", { .protocol = 6 }, VIA_9, true },
        { "ipproto 17 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_9, true },
        { "ipproto 17 lookup 9", "8.8.8.8", { .protocol = 6 }, VIA_ETH0, true },
        { "not ipproto 6 lookup 9", "8.8.8.8", { .protocol = 6 }, VIA_ETH0, true },
        { "not ipproto 6 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_9, true },
        { "sport 5-7 lookup 9", "8.8.8.8", { .sport = 5 }, VIA_9, true },
        { "sport 5-7 lookup 9", "8.8.8.8", { .sport = 7 }, VIA_9, true },
        { "sport 5-7 lookup 9", "8.8.8.8", { .sport = 8, .dport = 6 }, VIA_ETH0, true },
        { "dport 5-7 lookup 9", "8.8.8.8", { .dport = 6 }, VIA_9, true },
        { "dport 5-7 lookup 9", "8.8.8.8", { .sport = 6, .dport = 4 }, VIA_ETH0, true },
        { "tos 0x10 lookup 9", "8.8.8.8", { .tos = 0x10 }, VIA_9, true },
        { "tos 0x10 lookup 9", "8.8.8.8", { .tos = 0x8 }, VIA_ETH0, true },
        { "ipproto 6 uidrange 7 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_ETH0, false },
        { "ipproto 6 to 9.0.0.0/8 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_ETH0, false },
        { "dport 5 fwmark 1 lookup 9", "8.8.8.8", { .protocol = 17 }, VIA_ETH0, false },
        { "ipproto 6 uidrange 7 lookup 9", "8.8.8.8 uid 7", { .protocol = 17 }, VIA_ETH0, true },
        { "lookup 10",
          "8.8.8.8",
          { .tos = 0x10 },
          "unicast eth1 table 10 gw none src 10.0.1.2",
          false },
        { "lookup 10", "8.8.8.8", { .tos = 0x8 }, VIA_ETH0, false },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(packets); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_scene_ struct scene s;
        struct rtnl_flow flow;
        struct sim_result r;
        bool narrow = false;
        char line[128];

        scene_init(&s);
        scene_run(&s, machine);
        scene_run(&s, DEFAULT9 "iproute 8.0.0.0/8 dev eth1 table 10 tos 0x10\n");
        snprintf(line, sizeof(line), "iprule4 100 %s", packets[i].rule);
        scene_run(&s, line);
        flow = scene_packet(&s, packets[i].packet);
        r = simulate_packet(&s.k, &flow, &packets[i].kind, note_narrow, &narrow);
        print_answer(&s, &r, &b);
        CHECK_TEXT(packets[i].rule, strbuf_text(&b), packets[i].answer);
        CHECK_INT(packets[i].rule, narrow, packets[i].narrow);
    }
    CHECK_END();
}

/* All the next hops of the route that decides, and whether there may be more ways. */
static void test_hops(void **state)
{
    static const struct {
        const char *scene, *packet;
        size_t n;
        bool other_ways;
    } routes[] = {
        { "", "8.8.8.8", 1, false },
        { "", "10.0.0.2", 0, false },
        { "iprule 100 prohibit\n", "8.8.8.8", 0, false },
        { "", "8.8.8.8 oif eth1", 0, false },
        { T9(MULTIPATH), "8.8.8.8", 2, false },
        { T9(MULTIPATH "iproute 0.0.0.0/0 dev lo table 9 nexthop 2\n"), "8.8.8.8", 3, false },
        { T9(MULTIPATH "iproute 0.0.0.0/0 dev eth1 table 9 metric 5\n"), "8.8.8.8", 2, false },
        { T9(MULTIPATH "iproute 0.0.0.0/0 dev eth1 table 10\n"), "8.8.8.8", 2, false },
        { T9("iproute 9.0.0.0/8 dev eth1 table 9\n" MULTIPATH), "8.8.8.8", 2, false },
        { T9(MULTIPATH), "8.8.8.8 oif eth1", 2, false },
        { T9("iproute 0.0.0.0/0 dev eth0 table 9 incomplete\n"), "8.8.8.8", 1, true },
        { T9(DEFAULT9 "iproute 0.0.0.0/0 dev eth0 table 9\n"), "8.8.8.8", 1, true },
        { T9(DEFAULT9 "iproute 0.0.0.0/0 dev eth0 table 9\n"), "8.8.8.8 oif eth1", 1, false },
        { T9(DEFAULT9 "iproute ::/0 via fd00::9 dev eth0 table 9 nexthop 1\n"), "2001:db8::1", 2,
          false },
        { T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 metric 2000\n"), "2001:db8::1", 1, true },
        { T9(DEFAULT9 "iproute ::/0 dev eth1 table 9 metric 2000\n"), "2001:db8::1", 1, false },
        { T9(DEFAULT9 "iproute ::/0 dev eth0 table 9 metric 2000 dead\n"), "2001:db8::1", 1,
          false },
        { T9(DEFAULT9 "iproute 2001:db8::/32 dev eth0 table 9\n"), "2001:db8::1", 1, false },
        { T9(DEFAULT9 "iproute 2001:db8::/32 via fd00::9 dev eth0 table 9\n"), "2001:db8::1", 1,
          true },
        { T9("iproute unreach ::/0 table 9\niproute 2001:db8::/32 via fd00::9 dev eth0 table 9\n"),
          "2001:db8::1", 1, false },
        { T9("iproute throw ::/0 table 9\niproute 2001:db8::/32 via fd00::9 dev eth0 table 9\n"),
          "2001:db8::1", 1, true },
        { "iprule 100 lookup 9 suppress 0\niproute ::/0 via fd00::8 dev eth0 table 9\n"
          "iproute 2001:db8::/32 via fd00::9 dev eth0 table 9\n",
          "2001:db8::1", 1, true },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
        const struct rtnl_route *hops;
        _cleanup_scene_ struct scene s;
        struct rtnl_flow flow;
        struct sim_result r;

        scene_init(&s);
        scene_run(&s, machine);
        scene_run(&s, routes[i].scene);
        flow = scene_packet(&s, routes[i].packet);
        r = simulate(&s.k, &flow, NULL, NULL);
        CHECK_INT(routes[i].scene, sim_hops(&s.k, &r, &hops), routes[i].n);
        CHECK_INT(routes[i].scene, r.other_ways, routes[i].other_ways);
    }
    CHECK_END();
}

/* What is parsed but not followed must be said to be uncertain. */
static void test_uncertain(void **state)
{
    _cleanup_scene_ struct scene s;
    struct rtnl_flow flow;

    (void)state;
    scene_init(&s);
    scene_run(&s, machine);
    scene_run(&s, "iprule4 100 lookup main suppress-group 0\n");
    flow = scene_packet(&s, "8.8.8.8");
    CHECK("suppress_ifgroup", simulate(&s.k, &flow, NULL, NULL).uncertain);
    flow.dst = (struct ip_addr){ 0 };
    CHECK_INT("no family", simulate(&s.k, &flow, NULL, NULL).error, -EAFNOSUPPORT);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),   cmocka_unit_test(test_trace),
        cmocka_unit_test(test_packets),   cmocka_unit_test(test_hops),
        cmocka_unit_test(test_uncertain),
    };

    return RUN_TESTS(tests);
}
