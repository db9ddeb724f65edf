/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Verify: proof, by cases, that no assigned app can leave by a network it must not use.
 *
 * The obligation. For every uid that an assignment holds with `require` or `none`: whatever mark,
 * output interface, source and destination, the packet is delivered locally, refused, dropped by
 * the guard, or leaves by an interface of its network. (Sockets protected from a VPN are exempt
 * when the network is one.)
 *
 * The cases. What the kernel distinguishes is finite: bounds of uid ranges, (mark, mask) pairs,
 * named interfaces, prefixes. So each of these is cut into classes within which every rule, route
 * and guard entry behaves alike, and the simulator (plan/simulate.h), which is itself checked
 * against the kernel, is run for one member of every combination. Three observations keep that
 * small:
 *
 *   - only rules that can match the uid matter, and only up to the first that refuses everything:
 *     for an app of ours that is its PROHIBIT_OTHER. Uids whose remaining rules are alike but for
 *     the range are one case.
 *   - rules in front that ask for nothing (the `local` table) are the same for all uids and are
 *     evaluated once.
 *   - an IPv4 flow that asked for an interface leaves by that one or not at all: one destination
 *     stands for all. Where the guard drops all that leaves by interfaces that are not allowed, no
 *     flow that asked for one needs to be looked at.
 *
 * Rules of others that match on protocol, ports, tos or attributes unknown to us are taken to match
 * and not to match, each alone, gotos among them in every combination; so the proof holds whatever
 * they say.
 */

#include "plan/policy.h"
#include "plan/simulate.h"

struct verify_result {
    bool leak;             /* a counterexample was found: */
    struct rtnl_flow flow; /* the packet */
    int oif;               /* where it leaves */
    bool incomplete;     /* too many marks or gotos to try them all (verify-classes.h): no proof */
    uint32_t n_segments; /* uid segments with an obligation */
    uint32_t n_groups;   /* of those, how many differ */
    uint64_t n_cases;    /* combinations that were simulated or judged by the guard */
    uint64_t n_guard_only; /* refused by the guard alone: the rules would have let them out */
};

/* 0 and *ret, or -ENOMEM. Pure; takes time: the daemon runs it in a child (daemon/verifier.c). */
int verify(const struct targets *t, const struct policy *p, const struct kernel *k,
           struct verify_result *ret);
