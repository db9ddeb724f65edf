/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The planner: model + facts → the kernel state that is wanted of us.
 *
 * A plan is a value: our rules, our routes, our guard, the sysctls. It says nothing of what is
 * there already; plan_diff() (plan/ops.h) compares two plans, the wanted one and the one that
 * stands.
 *
 * Cost. Rules come in chunks of some 256 segments, cut where a hash of a segment's first uid says
 * so: an insertion moves no other boundary. A plan built with its predecessor at hand takes over
 * every chunk whose segments did not change, and plan_diff() skips chunks that both plans share. So
 * one changed assignment among 100 000 costs the linear passes over the assignments (a few ns each)
 * and one chunk's rules, not 200 000 rules. plan_build(x, NULL) and plan_build(x, previous) are
 * equal; tests/property checks that.
 */

#include "plan/routes.h"
#include "plan/rules.h"

/* A run of segments and the rules that they become. Immutable, shared. */
struct plan_chunk {
    unsigned refs;
    struct segment *source; /* NULL for the chunk of the networks' own rules */
    size_t n_source;
    struct rule_list rules;
};

enum plan_stream {
    STREAM_NETWORKS,
    STREAM_SEGMENTS,
    STREAM_FENCES,
    STREAM_CAPTURES,
    STREAM_MARKS,
    STREAM_MAX
};

struct plan_chunks {
    struct plan_chunk **items;
    size_t n, cap;
};

/* The sysctls that incoming marks need (android.md §2.6); all are 1 when wanted. */
enum plan_sysctl {
    SYSCTL_IPV4_FWMARK_REFLECT,
    SYSCTL_IPV6_FWMARK_REFLECT,
    SYSCTL_TCP_FWMARK_ACCEPT,
    SYSCTL_MAX,
};

/* "net/ipv4/fwmark_reflect", …: the path below /proc/sys. */
const char *plan_sysctl_path(enum plan_sysctl sysctl);

struct plan {
    unsigned refs;
    struct plan_chunks streams[STREAM_MAX];
    struct route_set *routes;
    struct guard *guard;     /* NULL = none wanted, or none there */
    bool guard_unknown;      /* what stands may be any, or none; `guard` is what stood last */
    struct guard *maps;      /* the guard at the cgroup; NULL = no programs there */
    bool maps_unknown;       /* what stands there may be any, or none */
    int sysctls[SYSCTL_MAX]; /* the value; -1 = leave it alone, or unknown */

    /* What it was built from, for its successor. */
    struct targets *targets;
    bool *preferred; /* policy->preferred */
    uint64_t generation;
    struct legacy_route *legacy;
    size_t n_legacy;
    struct route_set *rejected;
};

/* An executable or a cgroup that an assignment means at the moment (observe/selectors.h). */
struct plan_app {
    enum guard_app_kind kind;
    uint64_t id, dev;  /* as in struct guard_app */
    size_t assignment; /* index into the model's assignments */
};

/* A place where there may be one. */
struct plan_place {
    uint32_t kind; /* enum place_kind */
    uint64_t parent, dev, name;
    size_t assignment; /* as above; where place_is_passage(), any that has it */
};

struct plan_input {
    const struct model *model;
    const struct kernel *kernel; /* facts: links, addresses, routes of others */
    uint64_t generation;         /* changes whenever the facts do */
    bool guard;                  /* nftables is there */
    bool maps;                   /* the `maps` back-end carries the apps: see plan/rules.h */
    const struct plan_app *apps; /* `maps`: apps by executable or cgroup; may overlap */
    size_t n_apps;
    const struct plan_place *places; /* the same by place */
    size_t n_places;
    bool sysctl[SYSCTL_MAX];    /* the kernel has it */
    struct route_set *rejected; /* routes that the kernel would not take; may be NULL */
};

/* 0 and *ret with one reference, or -ENOMEM. `previous` may be NULL. */
int plan_build(const struct plan_input *input, const struct plan *previous, struct plan **ret);

/* Nothing at all: what panic-off wants, and what stands before the first plan. NULL: no memory. */
struct plan *plan_new_empty(void);

/*
 * What stands: our rules and routes out of what the kernel shows, and the guard. Copies of a rule
 * beyond the first are counted in *ret_extra (may be NULL) and appear there, one family each.
 */
int plan_from_kernel(const struct kernel *k, const int sysctls[static SYSCTL_MAX],
                     struct plan **ret, struct rule_list *ret_extra);

struct plan *plan_ref(struct plan *p);
void plan_unref(struct plan *p);
DEFINE_CLEANUP(struct plan *, plan_unref)

/* All rules as one sorted list, for printing, golden tests and counting. 0 or -ENOMEM. */
int plan_rules(const struct plan *p, struct rule_list *ret);
size_t plan_count_rules(const struct plan *p);

/* Appends rules, routes and guard as text, sorted: the golden form. */
int plan_print(const struct plan *p, const struct kernel *k, struct strbuf *b);
