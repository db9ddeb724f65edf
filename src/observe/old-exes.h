/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Replaced executables that are still running. Each is held open, as long as a process runs it: a free
 * inode's number would go to another file.
 */

#include "basic/macro.h"
#include "observe/exe.h"

enum { OLD_EXES_MAX = 256 };

struct old_exe {
    uint32_t slot; /* whose it is */
    int fd;        /* of the file; -1 = not looked for yet */
    bool seen;
    struct exe_id id;
};

struct old_exes {
    struct old_exe *items;
    size_t n, capacity;
};

/* Of too many the oldest goes. 0 or -ENOMEM. */
int old_exes_add(struct old_exes *o, uint32_t slot, const struct exe_id *id);
/* Drops all of a slot. */
void old_exes_forget(struct old_exes *o, uint32_t slot);
/* Drops those of which `which` says true. O(n) questions. */
void old_exes_drop(struct old_exes *o, bool (*which)(const void *data, const struct exe_id *id),
                   const void *data);
void old_exes_done(struct old_exes *o);

/* Those of a slot one by one; NULL at the end. */
const struct old_exe *old_exes_next(const struct old_exes *o, uint32_t slot,
                                    const struct old_exe *after);

/* Has one been added that was not looked for yet? */
bool old_exes_has_new(const struct old_exes *o);

/* Looks at all processes and drops what none of them runs. 0 or -errno: then all stay. */
int old_exes_scan(struct old_exes *o);
