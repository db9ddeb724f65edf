/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Assignments: selector → network, with a strength.
 *
 * In a network's place may stand `none`: blocked; or `default`: as if nothing were assigned. The latter
 * is a preference for a network that nobody can make, so that it hides what less close selectors say.
 *
 * They are kept in one immutable table that models share. A change copies the table: 64 bytes and a
 * few reference counts for each of them (docs/performance.md, "Planning").
 */

#include "model/network.h"
#include "wire/selector.h"

enum strength {
    STRENGTH_REQUIRE, /* only this network; without it the app is blocked */
    STRENGTH_PREFER,  /* this network while it is there, else the default; the app may bypass */
    STRENGTH_MAX,
};

const char *strength_to_string(enum strength strength);
int strength_from_string(const char *s); /* or -EINVAL */

/* The uids that a user or group selector means at the moment; shared, immutable. */
struct uid_set {
    unsigned refs;
    size_t n;
    struct uid_range ranges[]; /* sorted, apart from each other */
};

/* A set out of n ranges (sorted and joined here), with one reference; NULL when out of memory. */
struct uid_set *uid_set_new(const struct uid_range *ranges, size_t n);
struct uid_set *uid_set_ref(struct uid_set *s);
void uid_set_unref(struct uid_set *s);
DEFINE_CLEANUP(struct uid_set *, uid_set_unref)
bool uid_set_equal(const struct uid_set *a, const struct uid_set *b);

struct assignment {
    struct selector selector;
    struct rstr *network; /* a network's name, which need not exist, or "default"; NULL = `none` */
    enum strength strength;
    enum origin origin;
    struct uid_set *uids; /* user: and group: selectors; NULL = could not be resolved (yet) */
    struct rstr *file;    /* ORIGIN_CONFIG: where it stands */
    uint32_t line;
    bool uids_old; /* the user database is away: `uids` are those of last time, if there are any */
};

void assignment_done(struct assignment *a);

/* To `default`; always with STRENGTH_PREFER. */
bool assignment_is_default(const struct assignment *a);

/* The network's name, or the word that stands for it: `none`, `default`. */
const char *assignment_target(const struct assignment *a);

/*
 * Where it leads, from such a word or a name, which is not checked; `strength` is set before. 0 or -ENOMEM.
 */
int assignment_set_target(struct assignment *a, const char *target);

bool assignment_equal(const struct assignment *a, const struct assignment *b);

/* The uids it means: *ret_ranges points into the assignment. Zero for cgroup, unit and exe. */
size_t assignment_ranges(const struct assignment *a, const struct uid_range **ret_ranges);

/* Sorted by selector_compare(), each selector once. */
struct assignments {
    unsigned refs;
    size_t n, capacity;
    struct assignment *items;
};

struct assignments *assignments_new(void);
struct assignments *assignments_copy(const struct assignments *a);
struct assignments *assignments_ref(struct assignments *a);
void assignments_unref(struct assignments *a);
DEFINE_CLEANUP(struct assignments *, assignments_unref)

/* Index of the selector's assignment, or -ENOENT. */
ssize_t assignments_find(const struct assignments *a, const struct selector *selector);

/*
 * Puts an assignment in, in place of the one with the same selector. Takes over what *assignment
 * owns (also on failure). 0 or -ENOMEM. Only on a table that nobody shares. Amortised O(n) moves.
 */
int assignments_put(struct assignments *a, struct assignment *assignment);

/*
 * Loading many: push them in any order, then sort once. assignments_push() takes over what
 * *assignment owns, also on failure (-ENOMEM). assignments_sort(): 0, or -EEXIST when a selector is
 * there twice; *ret_twice is then the index of the second one (by line).
 */
int assignments_push(struct assignments *a, struct assignment *assignment);
int assignments_sort(struct assignments *a, size_t *ret_twice);

/*
 * Two tables side by side, in order: each selector once, with what either says of it; NULL where it
 * says nothing. False at the end.
 *
 *     struct assignments_walk w = { .a = old, .b = new };
 *
 *     while (assignments_next(&w, &o, &n))
 */
struct assignments_walk {
    const struct assignments *a, *b;
    size_t i, j; /* what comes next */
};

bool assignments_next(struct assignments_walk *w, const struct assignment **ret_a,
                      const struct assignment **ret_b);

/* Takes entry i out. */
void assignments_remove(struct assignments *a, size_t i);
