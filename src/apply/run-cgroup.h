/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cgroups that we make for what `waymark run` runs, where no systemd makes them: directories in a
 * folder of ours, which is there as long as one of them is.
 *
 * Paths are as in observe/cgroups.h. Errors: negative errno with the sentence in `why`.
 */

#include "observe/cgroups.h"

/* Makes the directory at `path`, and the one above it where need be. */
int run_cgroup_make(const struct cgroups *c, const char *path, struct why *why);

/* Moves a process there, with all its threads. */
int run_cgroup_enter(const struct cgroups *c, const char *path, uint32_t pid, struct why *why);

/*
 * Removes an empty one, with those that were made below it, and the folder above it if that was the
 * last one. 0 also when it is gone already; -EBUSY: there are processes in it.
 */
int run_cgroup_remove(const struct cgroups *c, const char *path);
