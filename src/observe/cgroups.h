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

struct cgroup_parent {
    uint64_t id, parent; /* parent 0: it is the root */
};

/* Which cgroup is in which. Zeroed = empty. */
struct cgroup_tree {
    struct cgroup_parent *items; /* by id */
    size_t n, cap;
};

enum { CGROUPS_DEPTH_MAX = 64 };

/*
 * Reads all of the hierarchy, some 20 µs for each directory; what comes or goes meanwhile is there or
 * not. (To go up from an id by open_by_handle_at(2) would be shorter, and wants CAP_DAC_READ_SEARCH.)
 * 0, -ENOMEM, -errno.
 */
int cgroups_read_tree(const struct cgroups *c, struct cgroup_tree *ret);
void cgroup_tree_done(struct cgroup_tree *t);

/* Itself, then what it is in, up to the root. How many: at least the first, at most CGROUPS_DEPTH_MAX. */
size_t cgroup_tree_ancestors(const struct cgroup_tree *t, uint64_t id,
                             uint64_t ret[static CGROUPS_DEPTH_MAX]);

/* Is any process in it, or below? 0, -ENOENT (also of the root), -errno. */
int cgroups_populated(const struct cgroups *c, const char *path, bool *ret);

/* Whose it is. 0, -ENOENT, -errno. */
int cgroups_owner(const struct cgroups *c, const char *path, uint32_t *ret_uid);

/*
 * The path, below our root, of a directory that is given as one of the file system; the caller frees it.
 * 0; -EXDEV: it is none of cgroup2; -ENOMEM, -errno.
 */
int cgroups_path_of_directory(const struct cgroups *c, const char *directory, char **ret);

/* The path of a process's cgroup; the caller frees it. 0; -ESRCH; -ENOENT: outside of our root. */
int cgroups_path_of_pid(uint32_t pid, char **ret);
