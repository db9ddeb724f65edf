/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The kernel's network state as data: what observe/ reads, what the simulator walks through, what
 * an op changes in a test. Links, addresses, rules and routes of one network namespace, foreign
 * ones included, and our guards: the one in nftables, the one at the cgroup.
 */

#include "model/guard.h"
#include "wire/rtnl.h"

struct kernel {
    struct rtnl_link *links; /* by ifindex */
    size_t n_links, cap_links;
    struct rtnl_addr
        *addrs; /* in the kernel's order: the first of an interface is its primary one */
    size_t n_addrs, cap_addrs;
    struct rtnl_rule *rules[2]; /* by family_index(), in the order in which the kernel walks them */
    size_t n_rules[2], cap_rules[2];
    struct rtnl_route *routes[2]; /* by table; within one, in the kernel's order */
    size_t n_routes[2], cap_routes[2];
    struct guard *guard; /* in nftables; NULL = none installed */
    struct guard *maps;  /* at the cgroup; NULL = no programs are attached */
};

void kernel_done(struct kernel *k);
#define _cleanup_kernel_ _cleanup_(kernel_done)

/* A deep copy (the guard is shared). 0 or -ENOMEM; *ret must be empty or zeroed. */
int kernel_copy(const struct kernel *k, struct kernel *ret);

/* Appending, as a dump does; then kernel_sort() once. 0 or -ENOMEM. */
int kernel_add_link(struct kernel *k, const struct rtnl_link *link);
int kernel_add_addr(struct kernel *k, const struct rtnl_addr *addr);
int kernel_add_rule(struct kernel *k, const struct rtnl_rule *rule);
int kernel_add_route(struct kernel *k, const struct rtnl_route *route);
/* 0 or -ENOMEM (the order is then undefined). */
int kernel_sort(struct kernel *k);

/* Look-ups; NULL when there is none. Valid until the next change. */
const struct rtnl_link *kernel_link(const struct kernel *k, int ifindex);
const struct rtnl_link *kernel_link_by_name(const struct kernel *k, const char *name);

/* The routes of one table: *ret points to the first of the n returned. */
size_t kernel_table(const struct kernel *k, int family, uint32_t table,
                    const struct rtnl_route **ret);

/* The guard that judges apps: at the cgroup, else in nftables, else NULL. Borrowed. */
const struct guard *kernel_guard(const struct kernel *k);

/* True when the address is one of this machine's own (RTN_LOCAL), on whatever link. */
bool kernel_has_addr(const struct kernel *k, const struct ip_addr *addr);
