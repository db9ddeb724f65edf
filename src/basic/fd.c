/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>

int fd_read_file(const char *path, size_t max, char **ret_data, size_t *ret_size)
{
    _cleanup_fd_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    _cleanup_free_ char *data = NULL;
    size_t size = 0, capacity = 0;

    if (fd < 0)
        return -errno;

    for (;;) {
        if (size + 1 >= capacity) {
            size_t want = capacity ? capacity * 2 : 4096;
            char *grown = realloc(data, want);
            if (!grown)
                return -ENOMEM;
            data = grown;
            capacity = want;
        }
        ssize_t n = read(fd, data + size, capacity - size - 1);
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

    data[size] = '\0';
    *ret_data = TAKE_PTR(data);
    if (ret_size)
        *ret_size = size;
    return 0;
}

int fd_is_drop_in(const struct dirent *entry)
{
    size_t n = strlen(entry->d_name);

    return entry->d_name[0] != '.' && n > STRLEN(".conf") &&
           streq(entry->d_name + n - STRLEN(".conf"), ".conf");
}

int fd_write_all(int fd, const void *data, size_t size)
{
    const char *p = data;

    while (size > 0) {
        ssize_t n = write(fd, p, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        p += n;
        size -= (size_t)n;
    }
    return 0;
}

int fd_sync_folder_of(const char *path)
{
    char folder[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;

    if (n >= sizeof(folder))
        return -ENAMETOOLONG;
    memcpy(folder, path, n);
    folder[n] = '\0';

    _cleanup_fd_ int fd =
        open(n ? folder : (slash ? "/" : "."), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    return fsync(fd) < 0 ? -errno : 0;
}

int fd_replace_and_open(const char *path, const void *data, size_t size, unsigned mode, int *ret_fd)
{
    char temporary[PATH_MAX];
    int r;

    *ret_fd = -1;
    if ((size_t)snprintf(temporary, sizeof(temporary), "%s.new", path) >= sizeof(temporary))
        return -ENAMETOOLONG;

    _cleanup_fd_ int fd =
        open(temporary, O_WRONLY | O_APPEND | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
    if (fd < 0)
        return -errno;

    r = fd_write_all(fd, data, size);
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && rename(temporary, path) < 0)
        r = -errno;
    if (r < 0) {
        (void)unlink(temporary);
        return r;
    }
    *ret_fd = TAKE_FD(fd);
    return fd_sync_folder_of(path);
}

int fd_replace_file(const char *path, const void *data, size_t size, unsigned mode)
{
    _cleanup_fd_ int fd = -1;

    return fd_replace_and_open(path, data, size, mode, &fd);
}
