/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* File descriptors and whole files: closing on the way out, reading, replacing in one step. */

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/macro.h"

static inline void fd_closep(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
}
#define _cleanup_fd_ _cleanup_(fd_closep)

DEFINE_CLEANUP(FILE *, fclose)
#define _cleanup_file_ _cleanup_(fclosep)

/*
 * Reads a whole file of at most `max` bytes; *ret_data is NUL-terminated and the caller's to free,
 * *ret_size (may be NULL) counts without that NUL. Errors: -errno of open/read, -EFBIG, -ENOMEM.
 */
int fd_read_file(const char *path, size_t max, char **ret_data, size_t *ret_size);

/* For scandir(3): the files of a conf.d folder that count, *.conf but no hidden ones. */
int fd_is_drop_in(const struct dirent *entry);

/* Writes all of `data`, retrying on EINTR and short writes. 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t size);

/*
 * Replaces `path` by `data` as one step: temporary file in the same folder, fsync, rename.
 * A reader or a crash sees the old file or the new one. 0 or -errno.
 */
int fd_replace_file(const char *path, const void *data, size_t size, unsigned mode);

/*
 * The same, and *ret_fd is the new file, open for appending; -1 while `path` is still the old one.
 * With both an error and an fd, `path` is the new file, but a crash may bring back the old one, until
 * fd_sync_folder_of() has succeeded.
 */
int fd_replace_and_open(const char *path, const void *data, size_t size, unsigned mode,
                        int *ret_fd);
int fd_sync_folder_of(const char *path);
