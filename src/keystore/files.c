/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "basic/fd.h"

enum {
    FOLDER_FLAGS = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
    /* a FIFO is not waited for, a terminal not taken */
    READ_FLAGS = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
    WRITE_FLAGS = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
};

static int sync_folder(int folder)
{
    return fsync(folder) < 0 ? -errno : 0;
}

static int clear_temporary(int folder)
{
    return unlinkat(folder, FILES_TEMPORARY, 0) < 0 && errno != ENOENT ? -errno : 0;
}

static int open_folder(int top, const char *name, int *ret)
{
    _cleanup_fd_ int fd = -1;
    int r;

    if (mkdirat(top, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(top, name, FOLDER_FLAGS);
    if (fd < 0)
        return -errno;
    r = clear_temporary(fd);
    if (r == 0)
        *ret = TAKE_FD(fd);
    return r;
}

int folders_open(int top, struct folders *ret)
{
    struct folders f = { top, -1, -1 };
    int r = clear_temporary(top);

    if (r == 0)
        r = open_folder(top, "values", &f.values);
    if (r == 0)
        r = open_folder(top, "grants", &f.grants);
    if (r == 0)
        r = sync_folder(top);
    if (r < 0)
        folders_close(&f);
    else
        *ret = f;
    return r;
}

void folders_close(struct folders *f)
{
    fd_closep(&f->values);
    fd_closep(&f->grants);
    *f = FOLDERS_NONE;
}

int files_read(int folder, const char *name, void *buffer, size_t max, size_t *ret_size)
{
    _cleanup_fd_ int fd = openat(folder, name, READ_FLAGS);
    uint8_t *p = buffer;
    size_t size = 0;

    if (fd < 0)
        return -errno;
    for (;;) {
        ssize_t n = read(fd, p + size, max + 1 - size);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        size += (size_t)n;
        if (size > max)
            return -EFBIG;
    }
    *ret_size = size;
    return 0;
}

static int write_temporary(int folder, const void *data, size_t size)
{
    _cleanup_fd_ int fd = -1;
    int r = clear_temporary(folder); /* one that could not be cleared when it failed */

    if (r < 0)
        return r;
    fd = openat(folder, FILES_TEMPORARY, WRITE_FLAGS, 0600);
    if (fd < 0)
        return -errno;
    r = fd_write_all(fd, data, size);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    return r;
}

int files_replace(int folder, const char *name, const void *data, size_t size, bool *ret_done)
{
    int r = write_temporary(folder, data, size);

    *ret_done = false;
    if (r == 0 && renameat(folder, FILES_TEMPORARY, folder, name) < 0)
        r = -errno;
    if (r < 0) {
        (void)clear_temporary(folder);
        return r;
    }
    *ret_done = true;
    return sync_folder(folder);
}

int files_try(int folder)
{
    int r = write_temporary(folder, "", 0), cleared = clear_temporary(folder);

    return r < 0 ? r : cleared < 0 ? cleared : sync_folder(folder);
}

int files_remove(int folder, const char *name, bool *ret_done)
{
    *ret_done = false;
    if (unlinkat(folder, name, 0) < 0 && errno != ENOENT && errno != EISDIR)
        return -errno;
    *ret_done = true;
    return sync_folder(folder);
}

DEFINE_CLEANUP(DIR *, closedir)

int files_list(int folder, files_each each, void *data)
{
    _cleanup_fd_ int fd = openat(folder, ".", FOLDER_FLAGS);
    _cleanup_(closedirp) DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    int r = 0;

    if (!dir)
        return -errno;
    fd = -1; /* the DIR's */
    while (r == 0) {
        const struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry)
            return -errno;
        if (!streq(entry->d_name, ".") && !streq(entry->d_name, ".."))
            r = each(data, entry->d_name);
    }
    return r;
}
