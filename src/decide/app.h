/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which assignment holds for an app: a process, or what one would be.
 *
 * Selectors of all kinds may match one process. What was said of this very run of it comes first,
 * then what it is, then where it stands, then who it is. The numbers are those of tests/unit/test-app.c
 * (BPF, which has no names, must come to the same):
 *
 *   1  run     the nearest cgroup that `waymark run` made
 *   2  exe     its executable, by device and inode (links to it, hard and symbolic, are the same) or
 *              by its place
 *   3  cgroup  the nearest directory above it that a cgroup: or unit: selector means, whichever
 *   4  uid     its user: decide/precedence.h
 *
 * Several selectors may mean one executable or one directory. Then the strictest holds: `none` before
 * `require` before `prefer`, then the one that sorts first (steps 3 and 4 of decide/precedence.h).
 *
 * A unit is the directory with its name, of the system's manager or of a user's: below slices and
 * user@N.service only. A container may name its own directories as it likes; they are no units here.
 * `-.slice` is the root.
 */

#include "model/assignment.h"

enum app_step { APP_NONE, APP_RUN, APP_EXE, APP_CGROUP, APP_UID, APP_STEP_MAX };

/* "run", "exe", …; "none". */
const char *app_step_to_string(enum app_step step);

/* Where an executable is (decide/place.h). */
struct app_place {
    uint64_t dev, directory; /* as of an executable */
    uint64_t name;           /* place_name(); 0 = unknown */
};

struct app {
    uint32_t uid;       /* UINT32_MAX: nobody's */
    const char *cgroup; /* path in cgroup v2, "/" or "/a/b"; NULL = unknown */
    const char *exe;    /* path of the executable; NULL = unknown */
    uint64_t exe_dev, exe_ino;
    struct app_place exe_place; /* for a file that is a new one */
    bool chooses; /* what it chose itself is not to count: assignments of runs that its uid made */
};

/* An executable that an assignment means at the moment, or a place for one. */
struct app_exe {
    uint64_t dev, ino; /* of the file; of a place, the directory's */
    uint64_t name;     /* of a place; else 0 */
    size_t assignment; /* index into the assignments */
};

/* By dev, ino, then name: the order that app_decide() wants them in. For qsort(3). */
int app_exe_compare(const void *a, const void *b);

struct app_verdict {
    const struct assignment *assignment; /* NULL = none holds */
    enum app_step step;
};

/*
 * Decides. `exes` is what exe: selectors mean, sorted; NULL when that is not known, and then the path
 * of the executable is compared with theirs. 0 or -ENOMEM. O(depth × log n) for all kinds but users,
 * which are looked at one by one.
 */
int app_decide(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
               const struct app *app, struct app_verdict *ret);

/*
 * Steps 1 to 3 alone, for who knows step 4 by another way: what is assigned to the process, whatever
 * its user. APP_NONE: nothing is.
 */
int app_decide_process(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
                       const struct app *app, struct app_verdict *ret);

/* Is this the app's executable, or its place? */
bool app_runs(const struct app *app, const struct app_exe *exe);

/* Is it for a cgroup that `waymark run` made? They have a name of their own: waymark-run-… */
bool app_is_run(const struct assignment *a);

/* Who made the run whose cgroup has this name: waymark-run-UID-…; false when it says nothing of that. */
bool app_run_uid(const char *name, uint32_t *ret);

/* Are directories below a cgroup of this name units? */
bool app_holds_units(const char *name);

/* The unit whose cgroup has this name: systemd puts a '_' before some. */
const char *app_unit_name(const char *name);
