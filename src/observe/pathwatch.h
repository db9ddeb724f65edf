/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Following many paths: tells when what is at a path may be something else than before.
 *
 * A path is followed as open(2) would walk it. Each directory on the way is watched (inotify), by its
 * path without links, and in it the name by which the way goes on: so that it is noticed when the
 * file is replaced, removed or made, a link turned, a directory renamed away or made at last. Paths
 * share directories: a hundred thousand programs in /usr/bin take one watch for that.
 *
 * Directories beyond the limit, and those that cannot be read, are not watched; what is in them is
 * still found, but not noticed. What is mounted over a directory is no event of it: whoever watches
 * mountinfo then calls pathwatch_lose_all().
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/multimap.h"

struct pathwatch_dir;
struct pathwatch_path;

struct pathwatch {
    int fd; /* readable when there is something to dispatch; -1 = closed */
    size_t limit, n_watches, n_unwatched;
    bool lost_all; /* what happened is not known */
    bool lost_dirs;
    struct pathwatch_dir *dirs;
    size_t n_dirs, cap_dirs;
    uint32_t free_dirs; /* + 1 */
    struct pathwatch_path *paths;
    size_t n_paths, cap_paths;
    struct multimap by_path, by_wd; /* to directories */
    struct multimap by_name;        /* directory and name, to who asked for it */
    uint32_t *changed;
    size_t n_changed, cap_changed;
};

#define PATHWATCH_CLOSED ((struct pathwatch){ .fd = -1 })

/* At most `limit` directories. 0 or -errno. */
int pathwatch_open(struct pathwatch *w, size_t limit);
void pathwatch_close(struct pathwatch *w);

/*
 * Follows an absolute path under a number of the caller's (small ones: they are an index), in place of
 * what it had followed under that. 0: there is something; -ENOENT, -ENOTDIR, -ELOOP, -EACCES,
 * -ENAMETOOLONG: there is not, and it is noticed when that changes; -ENOMEM.
 */
int pathwatch_follow(struct pathwatch *w, uint32_t number, const char *path);

/*
 * The same, and tells each name that ends the path: what it says and, where that is a link, the name
 * that the link leads to; also when there is nothing of that name yet. `directory` is without links.
 * What `named` returns ends it, if that is not 0.
 */
typedef int (*pathwatch_named)(void *data, const char *directory, const char *name);
int pathwatch_follow_named(struct pathwatch *w, uint32_t number, const char *path,
                           pathwatch_named named, void *data);

/* In addition: all names in the directory at this path. 0, or as above. */
int pathwatch_list(struct pathwatch *w, uint32_t number, const char *path);

void pathwatch_forget(struct pathwatch *w, uint32_t number);

/*
 * Reads what has happened. Numbers whose path may lead elsewhere now are in changed[], each once; they
 * are forgotten, and the caller follows them again. `wanted` says which names matter to those who
 * listed a directory. 0 or -errno.
 */
typedef bool (*pathwatch_wanted)(void *data, const char *name);
int pathwatch_dispatch(struct pathwatch *w, pathwatch_wanted wanted, void *data);

/* The next pathwatch_dispatch() has all numbers in changed[]. */
void pathwatch_lose_all(struct pathwatch *w);
