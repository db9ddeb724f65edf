/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Where what a selector means is, or will be (decide/place.h): programs in the kernel know by that what
 * has come since we looked last.
 *
 *   exe:/a/b        DIRECTORY and FILE for each name that ends the path: that of the link, and that of
 *                   what it leads to. Numbers of the directory as in exe.h; it has to be there
 *   cgroup:/a/b/c   ROOT, WAY a, WAY b, CGROUP c: by names alone, whatever there is of them
 *                   (not what `waymark run` runs: decide/place.h)
 *   unit:NAME       UNIT
 *
 * The list is made anew whenever something that a selector means has changed (selectors.h), and goes
 * into the plan, so that a place comes and goes with its assignment.
 */

#include "basic/array.h"
#include "plan/plan.h"

struct places {
    struct plan_place *items;
    size_t n, cap;
};

void places_done(struct places *p);

/* Adding, for that assignment. 0 or -ENOMEM. */

/* An executable: a name in a directory. One that cannot be seen has no place. */
int places_add_file(struct places *p, const char *directory, const char *name, size_t assignment);
/* cgroup:/a/b, and all that leads there, below places_add_root(). */
int places_add_cgroup(struct places *p, const char *path, size_t assignment);
int places_add_unit(struct places *p, const char *name, size_t assignment);
/* The root cgroup, as we see it. */
int places_add_root(struct places *p, uint64_t id, size_t assignment);

/* The same places, whatever assignments they are of. */
bool places_equal(const struct places *a, const struct places *b);
