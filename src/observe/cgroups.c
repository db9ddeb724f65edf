/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/cgroups.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "basic/fd.h"
#include "observe/facts.h"

int cgroups_open(struct cgroups *ret, struct why *why)
{
    char path[PATH_MAX];
    struct statfs fs;

    if (!facts_cgroup2(path, sizeof(path)))
        return why_set(why, -ENOENT, "cgroup2 is not mounted: `mount -t cgroup2 none DIR`");

    _cleanup_fd_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fstatfs(fd, &fs) < 0)
        return why_set(why, -errno, "cannot open %s: %s", path, strerror(errno));
    if ((uint64_t)fs.f_type != CGROUP2_SUPER_MAGIC)
        return why_set(why, -ENOENT, "something is mounted over cgroup2 at %s", path);

    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    *ret = (struct cgroups){ .fd = TAKE_FD(fd), .path = copy };
    return 0;
}

void cgroups_close(struct cgroups *c)
{
    fd_closep(&c->fd);
    free(c->path);
    *c = CGROUPS_CLOSED;
}

int cgroups_id(const struct cgroups *c, const char *path, uint64_t *ret)
{
    union {
        struct file_handle handle;
        char room[sizeof(struct file_handle) + sizeof(uint64_t)];
    } h = { .handle.handle_bytes = sizeof(uint64_t) };
    const char *below = path[1] != '\0' ? path + 1 : ".";
    int mount;

    if (c->fd < 0)
        return -ENOENT;
    /* the handle is the id (kernfs); the inode number is, too, where that has 64 bits */
    if (name_to_handle_at(c->fd, below, &h.handle, &mount, 0) < 0)
        return -errno;
    if (h.handle.handle_bytes != sizeof(*ret))
        return -EPROTO;
    memcpy(ret, h.handle.f_handle, sizeof(*ret));
    return 0;
}

int cgroups_path_of_pid(uint32_t pid, char **ret)
{
    _cleanup_free_ char *text = NULL;
    char file[64], *line, *path;

    (void)snprintf(file, sizeof(file), "/proc/%u/cgroup", pid);
    if (fd_read_file(file, 1 << 20, &text, NULL) < 0)
        return -ESRCH;
    line = startswith(text, "0::") ? text : strstr(text, "\n0::");
    if (!line)
        return -ENOENT;
    path = strstr(line, "0::") + STRLEN("0::");
    path[strcspn(path, "\n")] = '\0';
    if (path[0] != '/' || startswith(path, "/.."))
        return -ENOENT;
    *ret = strdup(path);
    return *ret ? 0 : -ENOMEM;
}
