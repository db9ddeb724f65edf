/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The units that run: directories of cgroup v2 that the system's manager or a user's has made. They
 * are found where decide/app.h says that units are, the upper ones first; below UNITS_DIRS_MAX
 * directories, for a user may make as many slices as he likes.
 */

#include "observe/cgroups.h"
#include "observe/pathwatch.h"

enum { UNITS_DIRS_MAX = 4096 };

/* 0, or a negative errno that ends the search. */
typedef int (*units_found)(void *data, const char *unit, const char *cgroup);

/*
 * Calls `found` for each unit (and for the root, `-.slice`), and has `w` look out under `number` for
 * new ones. 0, -ENOMEM, or what `found` returned.
 */
int units_scan(const struct cgroups *c, struct pathwatch *w, uint32_t number, units_found found,
               void *data);
