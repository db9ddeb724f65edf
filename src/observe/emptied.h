/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Cgroups that become empty. The kernel tells of each that is watched when its last process ends, or its
 * first one comes (cgroup.events); what is below counts, too. An event says that it is time to look
 * (cgroups_populated()), not what will be seen.
 */

#include "observe/cgroups.h"

struct emptied {
    int fd; /* readable when there is something to dispatch; -1 = closed */
};

#define EMPTIED_CLOSED ((struct emptied){ .fd = -1 })

/* 0 or -errno. */
int emptied_open(struct emptied *ret);
void emptied_close(struct emptied *e);

/* A number for this cgroup, not negative; -ENOENT, -ENOSPC (too many are watched), -errno. */
int emptied_watch(struct emptied *e, const struct cgroups *c, const char *path);
void emptied_forget(struct emptied *e, int number);

/* Reads what has happened: tells each number that it is time for, -1 = all. 0 or -errno. */
typedef void (*emptied_each)(void *data, int number);
int emptied_dispatch(struct emptied *e, emptied_each each, void *data);
