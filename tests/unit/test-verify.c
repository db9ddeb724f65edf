/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/verify: states that leak must be found, states that do not must be proved. A row is a
 * machine whose plan is applied,
   and what somebody then did to the kernel. Of a leaky state it names
 * a packet, which is sent through the simulator first: that it is a leak is not only claimed.
 *
 * Three machines, all with a default route of the main table and a table 9 that lead out by eth1:
 *
 *   ONE   uids 1000-1021 are held to `home` (eth0). No guard; eth1 is down.
 *   VPN   the same with a secure VPN (wg0).
 *   MANY  1000-1009 to `home` (eth0), 1010-1019 to the VPN (wg0), 1020 to `none`,
   1021 to a VPN that
 *         is down. All interfaces are up, eth1 has addresses. The guard is there.
 *
 * Without a guard, IPv4 leaves by every interface that a socket asks for and that is up; so in ONE
 * and VPN there is only the allowed one, and it is the rules that count.
 */

#include "unit/check.h"

#include <stdio.h>

#include "plan/verify.h"
#include "unit/scene.h"

enum machine { ONE, VPN, MANY };

#define ADDRESSES(name)                     \
    "addr " name " 10.0.0.2/24\n"           \
    "addr " name " 10.0.0.3/24 secondary\n" \
    "addr " name " fd00::2/64\n"
#define LEAKY                              \
    "iproute 0.0.0.0/0 dev eth1\n"         \
    "iproute ::/0 dev eth1\n"              \
    "iproute 0.0.0.0/0 dev eth1 table 9\n" \
    "iproute ::/0 dev eth1 table 9\n"

static const char *const machines[] = {
    [ONE] = "link 2 eth0\nlink 3 eth1 down\n" ADDRESSES("eth0") LEAKY
    "network home interface eth0\nassign uid:1000-1021 home\n",
    [VPN] = "link 2 wg0 kind wireguard arphrd 65534\nlink 3 eth1 down\n" ADDRESSES("wg0") LEAKY
    "network vpn type vpn secure interface wg0\nassign uid:1000-1021 vpn\nprotect 1021 yes\n",
    [MANY] = "link 2 eth0\nlink 3 eth1\nlink 4 wg0 kind wireguard arphrd 65534\n"
             "addr eth1 10.0.1.2/24\naddr eth1 fd00:1::2/64\n" ADDRESSES("eth0") LEAKY
    "network home interface eth0\nnetwork vpn type vpn secure interface wg0\n"
    "network down type vpn\nnetwork other interface eth1\n"
    "assign uid:1000-1009 home\nassign uid:1010-1019 vpn\n"
    "assign uid:1020 none\nassign uid:1021 down\nassign uid:1030 other prefer\n",
};

/* Guards as they should be, but for what a row leaves out. */
#define GUARD_HOME "guard entry 1000-1009 100\nguard chain 100\nguard port 100 eth0\n"
#define GUARD_VPN  "guard entry 1010-1019 101\nguard chain 101\nguard port 101 wg0\n"
#define GUARD_NONE "guard entry 1020-1020 0\n"
#define GUARD_DOWN "guard entry 1021-1021 102\nguard chain 102\n"

/* A route by eth0 and eth1. */
#define HOPS4                               \
    "iproute 0.0.0.0/0 dev eth0 table 10\n" \
    "iproute 0.0.0.0/0 dev eth1 table 10 nexthop 1\n"
#define HOPS6                          \
    "iproute ::/0 dev eth0 table 10\n" \
    "iproute ::/0 dev eth1 table 10 nexthop 1\n"

/* clang-format off */
static const struct {
    const char *name;
    enum machine machine;
    const char *tampering; /* after the plan was applied */
    const char *leaks; /* a packet; NULL: there is none */
} rows[] = {
    { "clean", ONE, "", NULL },
    { "clean, a VPN", VPN, "", NULL },
    { "clean, with the guard", MANY, "", NULL },
    { "without the guard: an interface that is asked for", MANY, "guard none\n",
      "8.8.8.8 oif eth1" },
    { "without the guard: broadcast", MANY, "guard none\n", "10.0.1.255 uid 1020" },
    { "without the guard: IPv6 multicast", MANY, "guard none\n", "ff0e::1 uid 1020 oif eth1" },
    { "without the guard: IPv4 multicast by source", MANY, "guard none\n",
      "239.1.1.1 from 10.0.1.2" },

    /* a foreign rule before ours, for each kind of selector */
    { "no selector", ONE, "iprule 100 lookup 9\n", "8.8.8.8" },
    { "no selector, IPv6 only", ONE, "iprule6 100 lookup 9\n", "2001:db8::1" },
    { "iif lo", ONE, "iprule 100 iif lo lookup 9\n", "8.8.8.8" },
    { "from, an address", ONE, "iprule4 100 from 10.0.0.3 lookup 9\n", "8.8.8.8 from 10.0.0.3" },
    { "from, a prefix", ONE, "iprule4 100 from 10.0.0.0/8 lookup 9\n", "8.8.8.8 from 10.0.0.2" },
    { "from, IPv6", ONE, "iprule6 100 from fd00::/64 lookup 9\n", "2001:db8::1 from fd00::2" },
    { "from, IPv6, no address of ours (IPV6_FREEBIND)", ONE,
      "iprule6 100 from fd77::/64 lookup 9\n", "2001:db8::1 from fd77::1" },
    { "from, none yet", ONE, "iprule4 100 from 0.0.0.0/8 lookup 9\n", "8.8.8.8" },
    { "from, an address in a local prefix", ONE,
      "iproute local 10.7.0.0/16 dev lo table local\niprule4 100 from 10.7.0.0/16 lookup 9\n",
        "8.8.8.8 from 10.7.0.1" },
    { "from, behind one that refuses a part", ONE,
      "iprule4 100 from 10.0.0.2 prohibit\niprule4 101 from 10.0.0.0/24 lookup 9\n",
        "8.8.8.8 from 10.0.0.3" },
    { "from, IPv6, behind one that refuses a part", ONE,
      "iprule6 100 from fd00::/64 prohibit\niprule6 101 from fd00::/16 lookup 9\n",
        "2001:db8::1 from fd00:7::1" },
    { "to", ONE, "iprule4 100 to 8.8.8.8 lookup 9\n", "8.8.8.8" },
    { "to, IPv6", ONE, "iprule6 100 to 2001:db8::/32 lookup 9\n", "2001:db8::1" },
    { "to, behind one that refuses a part", ONE,
      "iprule4 100 to 8.8.8.8 prohibit\niprule4 101 to 8.8.8.8/31 lookup 9\n", "8.8.8.9" },
    { "mark", ONE, "iprule 100 fwmark 0xca6c lookup 9\n", "8.8.8.8 mark 0xca6c" },
    { "mark, masked", ONE, "iprule 100 fwmark 0x40000000/0xc0000000 lookup 9\n",
      "8.8.8.8 mark 0x40000000" },
    { "mark 0, masked", ONE, "iprule 100 fwmark 0/0x8 lookup 9\n", "8.8.8.8" },
    { "mark with bits outside its mask", ONE, "iprule 100 fwmark 0x3/0x1 lookup 9\n",
      "8.8.8.8 mark 1" },
    { "mark, behind one that refuses a part", ONE,
      "iprule 100 fwmark 3/3 prohibit\niprule 101 fwmark 1/1 lookup 9\n", "8.8.8.8 mark 1" },
    { "two marks", ONE, "iprule 100 fwmark 1/1 nop\niprule 101 fwmark 2/2 lookup 9\n",
      "8.8.8.8 mark 3" },
    { "protected, which only a VPN's own program may be", ONE,
      "iprule 100 fwmark 0x20000/0x20000 lookup 9\n", "8.8.8.8 mark 0x20000" },
    { "protected, and not the VPN's own program", VPN,
      "iprule 100 fwmark 0x20000/0x20000 lookup 9\n", "8.8.8.8 mark 0x20000" },
    { "protected, and the VPN's own program", VPN,
      "iprule 100 fwmark 0x20000/0x20000 uidrange 1021 lookup 9\n", NULL },
    { "uid", ONE, "iprule 100 uidrange 1005 lookup 9\n", "8.8.8.8 uid 1005" },
    { "uid, the end of a range", ONE, "iprule 100 uidrange 1021-5000 lookup 9\n",
      "8.8.8.8 uid 1021" },
    { "oif, the allowed one, IPv6", ONE, "iprule6 100 oif eth0 lookup 9\n",
      "2001:db8::1 from fd00::2 oif eth0" },
    { "not", ONE, "iprule 100 not fwmark 0xca6c lookup 9\n", "8.8.8.8" },
    { "not, an iif", ONE, "iprule 100 not iif eth0 lookup 9\n", "8.8.8.8" },
    { "not, a uid", ONE, "iprule 100 not uidrange 1000-1020 lookup 9\n", "8.8.8.8 uid 1021" },
    { "not, a destination", ONE, "iprule4 100 not to 8.0.0.0/8 lookup 9\n", "9.9.9.9" },
    { "not, anything: never", ONE, "iprule 100 not lookup 9\n", NULL },
    { "protocol", ONE, "iprule 100 ipproto 17 lookup 9\n", "8.8.8.8" },
    { "unknown attribute", ONE, "iprule 100 other lookup 9\n", "8.8.8.8" },
    { "suppressed for the default only", ONE,
      "iproute 8.0.0.0/8 dev eth1 table 9\niprule 100 lookup 9 suppress 0\n", "8.8.8.8" },
    { "goto, over our fence", ONE, "iprule 100 goto 32766\n", "8.8.8.8" },
    { "goto, to a rule behind our fence", ONE, "iprule 100 goto 9500\niprule 9500 nop\n",
      "8.8.8.8" },
    { "goto, to a rule for others", ONE,
      "iprule 100 goto 9500\niprule 9500 uidrange 7 prohibit\n", "8.8.8.8" },
    { "goto, to a rule that may match", ONE,
      "iprule 100 goto 9500\niprule 9500 ipproto 6 prohibit\n", "8.8.8.8" },
    { "goto, within what comes before ours", ONE,
      "iprule 100 goto 102\niprule 101 prohibit\niprule 102 lookup 9\n", "8.8.8.8" },
    { "between our way and our fence", ONE, "del-rule 8000\niprule 8500 lookup 9\n", "8.8.8.8" },
    { "of our own protocol number", ONE, "iprule 100 proto 119 lookup 9\n", "8.8.8.8" },

    /* the simulator's packets have neither ports nor tos: nothing can be sent through it here */
    { "destination port", ONE, "iprule 100 dport 53 lookup 9\n", "?" },
    { "source port", ONE, "iprule 100 sport 53-99 lookup 9\n", "?" },
    { "tos", ONE, "iprule 100 tos 0x10 lookup 9\n", "?" },
    { "protocol, another", ONE, "iprule 100 ipproto 6 lookup 9\n", "?" },
    { "a port, behind a goto that is not taken", ONE, "iprule 100 dport 53 goto 32766\n", "?" },
    { "a port, a goto over our fence, and a way for it there", ONE,
      "del-rule 32766\niprule 100 dport 53 goto 9500\niprule 9500 dport 53 lookup 9\n", "?" },
    { "an interface and a port, IPv6", ONE, "iprule6 100 oif eth0 dport 53 lookup 9\n", "?" },
    { "suppressed for a group of interfaces, perhaps", ONE,
      "iprule 100 lookup 9 suppress-group 7\n", "8.8.8.8" },
    { "in front, suppressed for a group of interfaces, perhaps", ONE,
      "del-rule 9000\ndel-rule 32766\niprule 9000 lookup 77 suppress-group 7\n"
      "iprule 9001 lookup 9\n", "8.8.8.8" },
    { "not a port", ONE, "iprule 100 not dport 53 lookup 9\n", "8.8.8.8" },

    /* more than one way for a route */
    { "the second next hop, in front", ONE, "iprule 100 lookup 10\n" HOPS4, "?" },
    { "the second next hop, in front, IPv6", ONE, "iprule 100 lookup 10\n" HOPS6, "?" },
    { "the second next hop, for the uid", ONE, "iprule 100 uidrange 1021 lookup 10\n" HOPS4, "?" },
    { "the second next hop, for the uid, IPv6", ONE,
      "iprule 100 uidrange 1021 lookup 10\n" HOPS6, "?" },
    { "the second next hop, in our table", ONE,
      "iproute 9.0.0.0/8 dev eth0 table 1002\niproute 9.0.0.0/8 dev eth1 table 1002 nexthop 1\n",
        "?" },
    { "the second next hop, which is dead", ONE,
      "iprule 100 lookup 10\niproute 0.0.0.0/0 dev eth0 table 10\n"
      "iproute 0.0.0.0/0 dev eth1 table 10 nexthop 1 dead\n", NULL },
    { "two next hops, both allowed", ONE,
      "iprule 100 lookup 10\niproute 0.0.0.0/0 via 10.0.0.1 dev eth0 table 10\n"
      "iproute 0.0.0.0/0 via 10.0.0.9 dev eth0 table 10 nexthop 1\n", NULL },
    { "the second next hop, held by the guard", MANY, "iprule 100 lookup 10\n" HOPS4 HOPS6, NULL },
    { "next hops that were not read, held by the guard", MANY,
      "iprule 100 lookup 10\niproute 0.0.0.0/0 dev eth0 table 10 incomplete\n", NULL },
    { "a router that may not answer, and another way that is allowed, IPv6", ONE,
      "iprule6 100 lookup 10\niproute ::/0 via fd00::9 dev eth0 table 10 metric 1\n"
      "iproute ::/0 dev eth0 table 10 metric 2\n", NULL },
    { "no router: the route before holds, IPv6", ONE,
      "iprule6 100 lookup 10\niproute ::/0 dev eth0 table 10 metric 1\n"
      "iproute ::/0 dev eth1 table 10 metric 2\n", NULL },
    { "a tos", ONE, "iproute 9.0.0.0/8 dev eth1 table 1002 tos 0x10\n", "?" },
    { "a tos, in front", ONE,
      "iprule 100 lookup 10\niproute 9.0.0.0/8 dev eth1 table 10 tos 0x10\n", "?" },
    { "VRFs could be, but there is none", ONE, "iprule 1000 l3mdev lookup 0\n", NULL },
    { "a VRF, held by the guard", MANY, "iprule 1000 l3mdev lookup 0\nlink 9 red kind vrf\n",
      NULL },

    /* foreign rules that do no harm */
    { "behind ours", ONE, "iprule 9001 lookup 9\niprule 31000 lookup 9\n", NULL },
    { "for other uids", ONE,
      "iprule 100 uidrange 0-999 lookup 9\niprule 100 uidrange 1022-9999 lookup 9\n", NULL },
    { "for what comes in", ONE, "iprule 100 iif eth0 lookup 9\n", NULL },
    { "for those who ask for eth1, which is down", ONE, "iprule4 100 oif eth1 lookup 9\n", NULL },
    { "that refuse", ONE, "iprule 100 prohibit\niprule 101 blackhole\niprule 102 unreachable\n",
      NULL },
    { "that find nothing", ONE, "iprule 100 lookup 77\n", NULL },
    { "that are suppressed", ONE, "iprule 100 lookup 9 suppress 128\n", NULL },
    { "that lead to the same interface", ONE,
      "iproute 0.0.0.0/0 dev eth0 table 10\niprule 100 lookup 10\n", NULL },
    { "nop", ONE, "iprule 100 nop\n", NULL },
    { "goto, to before ours", ONE, "iprule 100 goto 200\niprule 200 nop\n", NULL },
    { "goto, without a target", ONE, "iprule 100 goto 200\n", NULL },
    { "refused sources, then a way for them", ONE,
      "iprule4 100 from 10.0.0.0/24 prohibit\niprule4 101 from 10.0.0.0/28 lookup 9\n", NULL },

    /* tables in front of ours that distinguish sources */
    { "a source-specific route in front", ONE,
      "iprule6 100 lookup 10\niproute ::/0 from fd00::/64 dev eth1 table 10\n",
        "2001:db8::1 from fd00::2" },
    { "a source-specific route in the local table", ONE,
      "iproute ::/0 from fd00::/64 dev eth1 table local\n", "2001:db8::1 from fd00::2" },

    /* our own tables and rules */
    { "a foreign route in our table", ONE, "iproute 9.0.0.0/8 dev eth1 table 1002\n", "9.9.9.9" },
    { "a foreign route in our table, IPv6", ONE, "iproute 2001:db8::/32 dev eth1 table 1002\n",
      "2001:db8::1" },
    { "a foreign source-specific route in our table", ONE,
      "iproute ::/0 from fd00::/64 dev eth1 table 1002 metric 1\n", "2001:db8::1 from fd00::2" },
    { "a throw route in our table", ONE, "iproute throw 9.0.0.0/8 table 1002\n", NULL },
    { "an unreachable route in our table", ONE, "iproute unreach 9.0.0.0/8 table 1002\n", NULL },
    { "our ways are gone", ONE, "del-rule 8000\n", NULL },
    { "our fences are gone", ONE, "del-rule 9000\n", "8.8.8.8" },
    { "our fences are gone, and main", ONE, "del-rule 9000\ndel-rule 32766\n", NULL },
    { "our fences of IPv4 are gone", ONE, "del-rule4 9000\n", "8.8.8.8" },
    { "our fences of IPv6 are gone", ONE, "del-rule6 9000\n", "2001:db8::1" },
    { "a fence is too short", ONE, "del-rule 9000\niprule 9000 uidrange 1000-1020 prohibit\n",
      "8.8.8.8 uid 1021" },
    { "one fence for all", ONE, "del-rule 9000\niprule 9000 prohibit\n", NULL },
    { "a fence of others is as good", ONE,
      "del-rule 9000\niprule 9000 uidrange 1000-1021 blackhole\n", NULL },
    { "a fence that asks for a mark", ONE, "del-rule 9000\niprule 9000 fwmark 0/1 prohibit\n",
      "8.8.8.8 mark 1" },
    { "a fence that protected sockets pass", ONE,
      "del-rule 9000\niprule 9000 fwmark 0/0x20000 prohibit\n", "8.8.8.8 mark 0x20000" },
    { "a VPN's fence, that protected sockets pass", VPN,
      "del-rule 9000\niprule 9000 fwmark 0/0x20000 prohibit\n", "8.8.8.8 mark 0x20000" },
    { "a VPN's fence, that those of its own program pass", VPN,
      "del-rule 9000\niprule 9000 uidrange 1000-1020 prohibit\n"
      "iprule 9000 fwmark 0/0x20000 uidrange 1021 prohibit\n", NULL },
    { "a VPN's fence, that others pass", VPN,
      "del-rule 9000\niprule 9000 fwmark 0/0x60000 prohibit\n", "8.8.8.8 mark 0x40000" },
    { "a fence for one port only", ONE, "del-rule 9000\niprule 9000 dport 53 prohibit\n",
      "8.8.8.8" },
    { "a fence for all but a uid", ONE,
      "del-rule 9000\niprule 9000 not uidrange 1020-1020 prohibit\n", "8.8.8.8 uid 1020" },

    /* the guard */
    { "as it should be", MANY, "guard none\n" GUARD_HOME GUARD_VPN GUARD_NONE GUARD_DOWN, NULL },
    { "an entry is missing", MANY, "guard none\n" GUARD_HOME GUARD_VPN GUARD_DOWN,
      "8.8.8.8 uid 1020 oif eth1" },
    { "a uid is missing", MANY,
      "guard none\nguard entry 1000-1008 100\nguard chain 100\n"
      "guard port 100 eth0\n" GUARD_VPN GUARD_NONE GUARD_DOWN, "8.8.8.8 uid 1009 oif eth1" },
    { "an entry of another network", MANY,
      "guard none\nguard entry 1000-1021 103\nguard chain 103\nguard port 103 eth1\n",
        "8.8.8.8 uid 1000 oif eth1" },
    { "a port too many", MANY,
      "guard none\nguard port 100 eth1\n" GUARD_HOME GUARD_VPN GUARD_NONE GUARD_DOWN,
        "8.8.8.8 oif eth1" },
    { "protected sockets are exempt though none may protect", MANY,
      "guard none\nguard entry 1000-1009 100\nguard chain 100 exempt\n"
      "guard port 100 eth0\n" GUARD_VPN GUARD_NONE GUARD_DOWN, "8.8.8.8 oif eth1 mark 0x20000" },
    { "stricter than need be", MANY, "guard none\nguard entry 1000-1021 0\n", NULL },
    { "it holds where the rules do not", MANY, "del-rule 9000\niprule 100 lookup 9\n", NULL },
};

/* What cannot be known: neither a leak nor a proof. */
static const struct {
    const char *name;
    enum machine machine;
    const char *tampering;
    enum verify_gap gap;
} gaps[] = {
    { "next hops that were not read, in front", ONE,
      "iprule 100 lookup 10\niproute 0.0.0.0/0 dev eth0 table 10 incomplete\n",
      VERIFY_GAP_ROUTES },
    { "next hops that were not read", ONE,
      "iprule 100 uidrange 1021 lookup 10\niproute 0.0.0.0/0 dev eth0 table 10 incomplete\n",
      VERIFY_GAP_ROUTES },
    { "a nexthop object's number", ONE,
      "iprule6 100 uidrange 1021 lookup 10\niproute ::/0 table 10 incomplete\n",
      VERIFY_GAP_ROUTES },
    { "equal default routes, of which the kernel takes one that works", ONE,
      "iprule 100 lookup 10\niproute 0.0.0.0/0 dev eth0 table 10\n"
      "iproute 0.0.0.0/0 dev eth1 table 10\n", VERIFY_GAP_ROUTES },
    { "a router that may not answer, and another way, IPv6", ONE,
      "iprule6 100 lookup 10\niproute ::/0 via fd00::9 dev eth0 table 10 metric 1\n"
      "iproute ::/0 dev eth1 table 10 metric 2\n", VERIFY_GAP_ROUTES },
    { "a VRF", ONE, "iprule 1000 l3mdev lookup 0\nlink 9 red kind vrf down\n", VERIFY_GAP_VRF },
};
/* clang-format on */

static void build(struct scene *s, enum machine machine, const char *tampering)
{
    struct plan *p;

    scene_init(s);
    scene_run(s, machines[machine]);
    p = scene_plan(s, machine == MANY, NULL);
    scene_apply(s, p);
    plan_unref(p);
    scene_run(s, tampering);
}

/* The interface by which a packet leaves; 0 when it stays. */
static int leaves_by(const struct scene *s, const struct rtnl_flow *flow)
{
    struct sim_result r = simulate(&s->k, flow, NULL, NULL);

    if (r.error < 0 || r.oif == 1 ||
        guard_judge(s->k.guard, flow->uid, flow->mark, r.oif, &flow->dst) == GUARD_DROP)
        return 0;
    return r.oif;
}

/* Must a packet of this uid not leave by the interface? Said once more, not asked of verify.c. */
static bool is_forbidden(const struct scene *s, enum machine machine, const struct rtnl_flow *flow,
                         int oif)
{
    bool home = machine == ONE || (machine == MANY && flow->uid < 1010);
    bool none = machine == MANY && flow->uid == 1020;

    if (oif == 0 || flow->uid < 1000 || flow->uid > 1021)
        return false;
    if (home || none)
        return none || oif != scene_link(s, "eth0")->ifindex;
    if (machine == MANY)
        return flow->uid == 1021 || oif != scene_link(s, "wg0")->ifindex;
    return !(flow->uid == 1021 && (flow->mark & MARK_PROTECTED)) &&
           oif != scene_link(s, "wg0")->ifindex;
}

static void run(const struct scene *s, struct verify_result *v)
{
    _cleanup_(targets_unrefp) struct targets *t = NULL;
    _cleanup_policy_ struct policy p = { 0 };

    assert_int_equal(targets_build(s->m, &s->k, &t), 0);
    assert_int_equal(policy_build(s->m, t, &p), 0);
    assert_int_equal(verify(t, &p, &s->k, v), 0);
}

static void check_row(size_t i)
{
    const char *row = rows[i].name, *leaks = rows[i].leaks;
    bool unsendable = leaks && streq(leaks, "?");
    struct verify_result v;
    _cleanup_scene_ struct scene s;

    build(&s, rows[i].machine, rows[i].tampering);
    if (leaks && !unsendable) {
        struct rtnl_flow flow = scene_packet(&s, leaks);
        CHECK(row, is_forbidden(&s, rows[i].machine, &flow, leaves_by(&s, &flow)));
    }
    run(&s, &v);
    CHECK_INT(row, v.leak, leaks != NULL);
    CHECK_INT(row, v.gap, VERIFY_NO_GAP);
    CHECK(row, v.n_segments > 0 && v.n_groups > 0 && v.n_cases > 0);
    if (v.leak)
        CHECK(row, is_forbidden(&s, rows[i].machine, &v.flow, v.oif));
    if (v.leak && !unsendable)
        CHECK_INT(row, leaves_by(&s, &v.flow), v.oif);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        check_row(i);
    CHECK_END();
}

static void test_gaps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(gaps); i++) {
        struct verify_result v;
        _cleanup_scene_ struct scene s;

        build(&s, gaps[i].machine, gaps[i].tampering);
        run(&s, &v);
        CHECK(gaps[i].name, !v.leak);
        CHECK_TEXT(gaps[i].name, verify_gap_to_string(v.gap), verify_gap_to_string(gaps[i].gap));
    }
    CHECK_END();
}

/* Nobody is bound: nothing to prove. */
static void test_nothing(void **state)
{
    struct verify_result v;
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "network home interface eth0\nassign uid:5 home prefer\n");
    run(&s, &v);
    CHECK("nothing", !v.leak && !v.gap && v.n_segments == 0 && v.n_groups == 0);
    CHECK_END();
}

/* What the guard alone holds is counted; uids that are alike are one case. */
static void test_counts(void **state)
{
    struct verify_result clean, held;
    _cleanup_scene_ struct scene a, b;

    (void)state;
    build(&a, MANY, "");
    build(&b, MANY, "iprule 100 lookup 9\n");
    run(&a, &clean);
    run(&b, &held);
    CHECK("held by the guard", !held.leak && held.n_guard_only > clean.n_guard_only);
    CHECK_INT("home, VPN, none, down", clean.n_segments, 4);
    CHECK_INT("both families of each", clean.n_groups, 2 * 4);
    CHECK_END();
}

/* A thousand uids with a rule each that is alike for all: still one case per family. */
static void test_groups(void **state)
{
    struct verify_result v;
    _cleanup_scene_ struct scene s;
    struct plan *p;
    char line[64];

    (void)state;
    scene_init(&s);
    scene_run(&s, machines[ONE]);
    scene_run(&s, "unassign uid:1000-1021\n");
    for (unsigned i = 0; i < 1000; i++) {
        snprintf(line, sizeof(line), "assign uid:%u home", 1000 + 2 * i);
        scene_run(&s, line);
    }
    p = scene_plan(&s, false, NULL);
    scene_apply(&s, p);
    plan_unref(p);
    run(&s, &v);
    CHECK("proved", !v.leak && !v.gap);
    CHECK_INT("segments", v.n_segments, 1000);
    CHECK_INT("groups", v.n_groups, 2);
    CHECK_END();
}

/* More gotos that may be taken or not than can be tried: said, not passed over. */
static void test_many_gotos(void **state)
{
    char line[64];

    (void)state;
    for (unsigned n = 6; n <= 7; n++) {
        struct verify_result v;
        _cleanup_scene_ struct scene s;

        build(&s, ONE, "iprule 200 nop\n");
        for (unsigned i = 0; i < n; i++) {
            snprintf(line, sizeof(line), "iprule %u dport %u goto 200", 100 + i, i + 1);
            scene_run(&s, line);
        }
        run(&s, &v);
        CHECK_INT("2^6 sets of gotos can be tried", v.gap, n > 6 ? VERIFY_GAP_CASES : 0);
        CHECK("nothing leaks", !v.leak);
    }
    CHECK_END();
}

/* More marks than can be tried: said, not passed over; but where the guard holds, they do not matter. */
static void test_incomplete(void **state)
{
    static const struct {
        const char *name, *tampering;
        enum machine machine;
        enum verify_gap gap;
    } cases[] = {
        { "no guard", "", ONE, VERIFY_GAP_CASES },
        { "a guard for everybody", "", MANY, VERIFY_NO_GAP },
        { "none for one of them", "guard none\n" GUARD_VPN GUARD_NONE GUARD_DOWN, MANY,
          VERIFY_GAP_CASES },
        { "a door too many", "guard port 100 eth1\n", MANY, VERIFY_GAP_CASES },
    };
    char line[64];

    (void)state;
    for (size_t c = 0; c < ELEMENTSOF(cases); c++) {
        struct verify_result v;
        _cleanup_scene_ struct scene s;

        build(&s, cases[c].machine, cases[c].tampering);
        for (unsigned i = 0; i < 13; i++) {
            snprintf(line, sizeof(line), "iprule 100 fwmark 0x%x/0x%x nop", 1U << i, 1U << i);
            scene_run(&s, line);
        }
        run(&s, &v);
        CHECK(cases[c].name, v.gap == cases[c].gap && !v.leak);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),       cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_gaps),       cmocka_unit_test(test_counts),
        cmocka_unit_test(test_groups),     cmocka_unit_test(test_incomplete),
        cmocka_unit_test(test_many_gotos),
    };

    return RUN_TESTS(tests);
}
