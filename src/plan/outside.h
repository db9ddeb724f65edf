/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Outside: where those go who require a VPN, and where that VPN does not lead.
 *
 * Android's secure VPN lets go what it has no route for: to destinations that are *outside* of it its apps
 * use the default network. Which these are must not hang on what stands in the kernel at the moment, or
 * a tunnel that vanishes would let everything go; so it is a function of what was asked for. Of all
 * prefixes that hold an address the longest says it; of equal ones the first of these does:
 *
 *   1  network.outside             outside (a LAN that is to be reached), lockdown or not
 *   2  own routes                  unicast, unreachable: inside
 *   3  own throw routes (excluded) outside if the VPN falls through, else inside
 *   4  routes of its tables        inside, as long as they are there: those copied from the host
 *   5  everything                  outside if the VPN falls through, else inside
 *
 * It falls through if it is said to (network.fall_through) and is not under lockdown. The numbers are those
 * of tests/unit/test-outside.c.
 *
 * The answer is the shortest list of prefixes, by netId and prefix, that says the same by longest match: each
 * says the opposite of the one that it lies in. It begins with both families' default. In this form it is
 * a routing table (the *fence table*, plan/routes.h), the programs' trie and the guard's sets; parts that
 * are disjoint would be dozens for every IPv6 route.
 *
 * Tables and tries are changed entry by entry. So that nobody, whatever network his assignment moves to at
 * the same time, is let out to where neither state lets him, that is done in three steps: everything is
 * *closed* that is not outside in both states; then apps, rules and ports change; then what is outside in
 * the new state is *opened*, and what says nothing any more is *dropped*. Within the first two the longest
 * prefixes come first, in the last the shortest. Then a destination at any moment is where it was at the
 * beginning of a step, or where it is at its end.
 */

#include "model/guard.h"
#include "model/network.h"

struct outside_list {
    struct guard_outside *items;
    size_t n, cap;
};

/* May there be anything outside of this network? What rules are there for it depends on this alone. */
bool outside_possible(const struct network *n);

/*
 * Appends what is outside of a network; `routed`: where its tables lead now. `ret` is the caller's to free,
 * also on failure. 0 or -ENOMEM.
 */
int outside_build(const struct network *n, const struct ip_prefix *routed, size_t n_routed,
                  struct outside_list *ret);

/* What a prefix says before, while apps and rules change, and after: 0 or 1; -1: it is not there. */
struct outside_change {
    struct guard_outside key; /* `outside` does not count */
    int8_t from, between, to;
};

struct outside_changes {
    struct outside_change *items; /* by netid and prefix: those that one lies in come before it */
    size_t n, cap;
};

/*
 * Appends all prefixes of two sorted lists. A network that is in one list only is not closed: nobody is led
 * there before, or after. `ret` is the caller's to free, also on failure. 0 or -ENOMEM.
 */
int outside_compare(const struct guard_outside *from, size_t n_from, const struct guard_outside *to,
                    size_t n_to, struct outside_changes *ret);

/* The three steps, each in its order: tells the next prefix that is to be put (0, 1) or dropped (-1). */
enum outside_step { OUTSIDE_CLOSE, OUTSIDE_OPEN, OUTSIDE_DROP };

typedef int (*outside_each)(void *data, const struct guard_outside *key, int before, int after);
int outside_walk(const struct outside_changes *c, enum outside_step step, outside_each each,
                 void *data);
