/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/tun-holder.h"

#include <errno.h>
#include <fcntl.h>

#include "basic/fd.h"

enum { DESCRIPTORS_MAX = 16384 };

DEFINE_CLEANUP(DIR *, closedir)

/* Of a descriptor's fdinfo: is there a line `iff:` with nothing behind it? */
static bool is_orphan(uint32_t pid, const char *fd)
{
    _cleanup_free_ char *text = NULL;
    char path[64 + 256];
    const char *line;

    snprintf(path, sizeof(path), "/proc/%u/fdinfo/%s", pid, fd);
    if (fd_read_file(path, 4096, &text, NULL) < 0)
        return false; /* it was closed this moment */
    line = strstr(text, "iff:");
    return line && line[4 + strspn(line + 4, " \t")] == '\n';
}

/* Wherever its root is, the device is called so, or by the path that the process has it at. */
static bool is_tun(int dir, const char *fd)
{
    char target[256];
    ssize_t n = readlinkat(dir, fd, target, sizeof(target));
    size_t size = n < 0 ? 0 : (size_t)n;

    return size >= STRLEN("/tun") && memcmp(target + size - STRLEN("/tun"), "/tun", 4) == 0;
}

int tun_holder_has_orphan(uint32_t pid)
{
    _cleanup_(closedirp) DIR *dir = NULL;
    size_t n = 0;
    char path[64];

    snprintf(path, sizeof(path), "/proc/%u/fd", pid);
    dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? -ESRCH : -errno;
    for (struct dirent *e; (e = readdir(dir));) {
        if (e->d_name[0] == '.')
            continue;
        if (n++ == DESCRIPTORS_MAX)
            return -E2BIG;
        if (is_tun(dirfd(dir), e->d_name) && is_orphan(pid, e->d_name))
            return 1;
    }
    return 0;
}
