/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Verify: proof, by cases, that no assigned app can leave by a network it must not use.
 *
 * The obligation. For every uid that an assignment holds with `require` or `none`: whatever mark,
 * output interface, source and destination, the packet is delivered locally, refused, dropped by
 * the guard, or leaves by an interface of its network, or to where that does not lead (plan/outside.h).
 * (Sockets protected from a VPN are exempt when the network is one.)
 *
 * The cases. What the kernel distinguishes is finite: bounds of uid ranges, (mark, mask) pairs,
 * named interfaces, prefixes, tos of routes. So each of these is cut into classes within which every
 * rule, route and guard entry behaves alike, and the simulator (plan/simulate.h), which is itself
 * checked against the kernel, is run for one member of every combination. Three observations keep
 * that small:
 *
 *   - only rules that can match the uid matter, and only up to the first that refuses everything:
 *     for an app of ours that is its PROHIBIT_OTHER. Uids whose remaining rules are alike but for
 *     the range are one case (verify-groups.h).
 *   - rules in front that ask for nothing (the `local` table) are the same for all uids and are
 *     evaluated once.
 *   - an IPv4 flow that asked for an interface leaves by that one or not at all: one destination
 *     stands for all, but for what is outside of the network. Where the guard drops all that leaves by interfaces that are not allowed, no
 *     flow that asked for one needs to be looked at.
 *
 * Rules of others that match on protocol, ports, tos or attributes unknown to us are taken to match
 * and not to match, each alone, gotos among them in every combination; so the proof holds whatever
 * they say. Of a multipath route every next hop is judged. Where the simulator says that there may
 * be other ways still, or apps may ask for a VRF's, there is no proof (`gap`), unless the guard
 * drops such packets at every interface that is not allowed: then no route matters.
 *
 * What a proof rests on. Rules, routes, links and addresses are what the kernel says at that moment.
 * The guard is what the daemon remembers to have installed: observe/ has no dump of it. That memory
 * is checked, not trusted: every change of our table by others is told by nftables and makes the
 * daemon forget it and install it anew; when such events were lost, the ruleset's generation decides
 * (daemon/reconcile.c). Where the guard is relied on, so are its bounds: it judges by the uid of the
 * packet's socket (`meta skuid`) where IP packets leave (postrouting). It does not see AF_PACKET
 * sockets, which need CAP_NET_RAW; it has no uid for what the kernel sends by itself (IGMP, MLD,
 * resets, ICMP errors) or for what is left of a socket that was closed (last segments, TIME_WAIT).
 *
 * With the `maps` back-end the guard is the one at the cgroup (kernel_guard()), whose maps nobody tells
 * changes of: root alone can write them. Its bounds are in docs/bpf.md ("Limits"). What is assigned to
 * executables and cgroups has no obligation here: no rule is for them, and that guard alone holds
 * them, by the interface, whatever the route.
 *
 * Cost. With s segments, r rules and e guard entries, (s + r + e) log (s + r + e) to find the
 * groups, and some 100 bytes for each; then marks × sources × destinations × routes for each group.
 * 100 000 segments of 1000 networks with 200 000 rules: 0.4 s, 2000 groups (bench/bench-plan).
 */

#include "plan/policy.h"
#include "plan/simulate.h"

/* What could not be looked at. Routes and VRFs do not matter where the guard holds by itself. */
enum verify_gap {
    VERIFY_NO_GAP,
    VERIFY_GAP_CASES,  /* as they, too many marks or gotos to try them all (verify-classes.h) */
    VERIFY_GAP_ROUTES, /* sim_result.other_ways */
    VERIFY_GAP_VRF,
    VERIFY_GAP_MAX,
};

const char *verify_gap_to_string(enum verify_gap gap);

struct verify_result {
    bool leak;             /* a counterexample was found: */
    struct rtnl_flow flow; /* the packet */
    int oif;               /* where it leaves */
    enum verify_gap gap;   /* not VERIFY_NO_GAP: there is no proof, even if there is no leak */
    uint32_t n_segments;   /* uid segments with an obligation */
    uint32_t n_groups;     /* of those, how many differ */
    uint64_t n_cases;      /* combinations that were simulated or judged by the guard */
    uint64_t n_guard_only; /* refused by the guard alone: the rules would have let them out */
};

/* 0 and *ret, or -ENOMEM. Pure; takes time: the daemon runs it in a child (daemon/verifier.c). */
int verify(const struct targets *t, const struct policy *p, const struct kernel *k,
           struct verify_result *ret);
