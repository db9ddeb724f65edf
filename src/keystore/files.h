/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The files of the store: whole ones, by name in a folder that is open. What is written or removed is on
 * the disk when the function returns, and at each moment before there is the old one or the new one.
 *
 * What is not a regular file is none of ours: no link is followed, and nothing is waited for.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What is being written. One at a time in each folder; of no use when nobody is writing. */
#define FILES_TEMPORARY ".new"

/* The folders of a store. */
struct folders {
    int top; /* the caller's */
    int values, grants;
};

#define FOLDERS_NONE ((struct folders){ -1, -1, -1 })

/* Makes them if they are not there, and clears what was being written. 0 or -errno. */
int folders_open(int top, struct folders *ret);
void folders_close(struct folders *f);

/*
 * Reads a file of at most `max` bytes into a buffer of max + 1. 0; -EFBIG: it is larger; -EMFILE,
 * -ENOENT, … of open() and read().
 */
int files_read(int folder, const char *name, void *buffer, size_t max, size_t *ret_size);

/*
 * Replaces the file as one step. 0 or -errno. *ret_done says which one is there, whatever is returned: with
 * an error and true it is the new one, but a crash may bring back the old one.
 */
int files_replace(int folder, const char *name, const void *data, size_t size, bool *ret_done);

/* Could a name come and go here? 0 or -errno. It takes no room on the disk, as a rule. */
int files_try(int folder);

/*
 * Removes it; what is not there is removed, and a folder of this name is not: it is none of ours. 0 or
 * -errno, and *ret_done, as above.
 */
int files_remove(int folder, const char *name, bool *ret_done);

/* Calls `each` for every name but those of the folder itself, until it is not 0. That, or -errno. */
typedef int (*files_each)(void *data, const char *name);
int files_list(int folder, files_each each, void *data);
