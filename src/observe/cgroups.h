/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The cgroup v2 hierarchy: where it is, the ids of its directories. It may be mounted beside the old
 * ones (hybrid); those do not count. Paths are "/" or "/a/b", below its root as we see it.
 */

#include <stdint.h>

#include "basic/why.h"

struct cgroups {
    int fd;     /* of the root directory; -1 = closed */
    char *path; /* where that is mounted */
};

#define CGROUPS_CLOSED ((struct cgroups){ .fd = -1 })

/* 0; -ENOENT: there is no such hierarchy, reason in *why; -ENOMEM; -errno. */
int cgroups_open(struct cgroups *ret, struct why *why);
void cgroups_close(struct cgroups *c);
#define _cleanup_cgroups_ _cleanup_(cgroups_close)

/*
 * The id of a directory, as bpf_get_current_cgroup_id() and bpf_skb_cgroup_id() say it. A directory
 * that is made again has another. 0, -ENOENT, -errno.
 */
int cgroups_id(const struct cgroups *c, const char *path, uint64_t *ret);

/* The path of a process's cgroup; the caller frees it. 0; -ESRCH; -ENOENT: outside of our root. */
int cgroups_path_of_pid(uint32_t pid, char **ret);
