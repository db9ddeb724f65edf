/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the selectors of processes mean now: numbers, by which the kernel's programs know an app.
 *
 *   exe:/path      the file there, links followed: device and inode (observe/exe.h)
 *   cgroup:/path   the directory's id (observe/cgroups.h)
 *   unit:NAME      the ids of all directories that are units of that name (observe/units.h)
 *
 * And following that as it changes: a program is replaced by an upgrade, a service starts.
 *
 * A program that was replaced goes on running. Its old file means the same app as long as a process
 * runs it: it is kept open meanwhile, so that its inode's number does not go to another file, and
 * dropped by a later selectors_scan(). At most OLD_EXES_MAX of them.
 *
 * A program or a unit that has just come is not known before its event is read. Programs in the kernel
 * know it by its place meanwhile (selectors_places()): paths of cgroups and names of units whatever there
 * is of them yet; executables, where there is the directory that they are to be in.
 */

#include "decide/app.h"
#include "plan/plan.h"

enum { SELECTORS_WATCHES_MAX = 65536 };

struct selectors;

/*
 * 0 or -errno. Without cgroup2 it works, too, and cgroup: and unit: mean nothing.
 */
int selectors_open(struct selectors **ret);
void selectors_close(struct selectors *s);
DEFINE_CLEANUP(struct selectors *, selectors_close)

/* Readable when selectors_dispatch() is due. */
int selectors_fd(const struct selectors *s);

/*
 * Goes over to these assignments; only what is new in them is looked up. 0; -ENOMEM: what could not be
 * looked up means nothing yet, the next selectors_dispatch() tries again.
 */
int selectors_update(struct selectors *s, const struct assignments *assignments);

/* Reads what happened. 1: numbers have changed; 0: they have not; -errno (it is tried again). */
int selectors_dispatch(struct selectors *s);

/* Looks everything up again: after a mount, for that is no event. As selectors_dispatch(). */
int selectors_refresh(struct selectors *s);

/* Drops replaced programs that nobody runs any more. 1: there were some; 0; -errno. */
int selectors_scan(struct selectors *s);
/* Is there any use in that? */
size_t selectors_n_old(const struct selectors *s);

/* Everything, in the order of the assignments of the last update. Valid until the next call. */
const struct plan_app *selectors_apps(const struct selectors *s, size_t *ret_n);
/* Where all of that is, or may come to be. Valid as above. */
const struct plan_place *selectors_places(const struct selectors *s, size_t *ret_n);
/* The same of one assignment; *ret_n is 0 when it means nothing now. */
const struct plan_app *selectors_of(const struct selectors *s, size_t assignment, size_t *ret_n);

/* The executables, in the order that app_decide() wants. 0 or -ENOMEM. Valid as above. */
int selectors_exes(struct selectors *s, const struct app_exe **ret, size_t *ret_n);

/* How many directories are not watched, because of the limit or for want of permission. */
size_t selectors_n_unwatched(const struct selectors *s);
