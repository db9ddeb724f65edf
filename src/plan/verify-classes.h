/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Equivalence classes for verify: for each dimension of a packet, one member of every class that a
 * list of rules (and the routes of the tables they lead to) can tell apart.
 */

#include "model/kernel.h"

struct addr_classes {
    struct ip_addr *items;
    size_t n, cap;
};

struct mark_classes {
    uint32_t *items;
    size_t n, cap;
};

enum { MARK_CLASSES_MAX = 4096 };

/*
 * Destinations: the bounds of every prefix in the rules, in the tables they lead to, and of the
 * ranges that the kernel itself treats apart (multicast, broadcast, link-local, loopback). Within
 * two neighbouring bounds all addresses match the same prefixes, so the lower bound stands for all.
 */
int classes_of_destinations(const struct kernel *k, int family, const struct rtnl_rule *rules,
                            size_t n, struct addr_classes *ret);

/* The same cut further: by what is outside of a network. 0 or -ENOMEM. */
int classes_cut_destinations(struct addr_classes *c, int family, const struct guard *outside,
                             uint32_t netid);

/*
 * Sources: none yet (AF_UNSPEC); and when there are source prefixes in the rules or their tables,
 * one for each part into which their bounds cut the addresses: for IPv4 an address of this machine,
 * since the kernel takes no other.
 */
int classes_of_sources(const struct kernel *k, int family, const struct rtnl_rule *rules, size_t n,
                       struct addr_classes *ret);

/* The values of a packet's tos that IPv4 routes of the tables ask for, and 0. */
struct tos_classes {
    uint8_t items[256];
    size_t n;
};

void classes_of_tos(const struct kernel *k, int family, const struct rtnl_rule *rules, size_t n,
                    struct tos_classes *ret);

/*
 * Marks: one for every combination of matching and not matching the rules' (mark, mask) pairs that
 * some mark can have, with the bits `never` clear. -E2BIG when there are more than
 * MARK_CLASSES_MAX.
 */
int classes_of_marks(const struct rtnl_rule *rules, size_t n, uint32_t never,
                     struct mark_classes *ret);

/*
 * Rules that match on what the classes do not cover (protocol, ports, tos, groups of interfaces,
 * unknown attributes): variants in which none of them matches, and each alone does, whatever the
 * packet. A goto among them makes the others matter again: each of that with every set of gotos.
 */
struct rule_variant {
    struct rtnl_rule *rules;
    size_t n;
};

struct rule_variants {
    struct rule_variant *items;
    size_t n, cap;
};

enum { VARIANT_GOTOS_MAX = 6 };

/* 0, -ENOMEM, or -E2BIG: more than VARIANT_GOTOS_MAX gotos that may match. */
int variants_build(const struct rtnl_rule *rules, size_t n, struct rule_variants *ret);
void variants_done(struct rule_variants *v);

/* The rule without its selectors: it matches every packet. */
struct rtnl_rule classes_unconditional_rule(const struct rtnl_rule *rule);

/* A rule that does nothing, in its place: gotos may lead there. */
struct rtnl_rule classes_idle_rule(const struct rtnl_rule *rule);

/* Sorts, drops duplicates, returns how many are left. */
size_t classes_sort_u32(uint32_t *items, size_t n);
