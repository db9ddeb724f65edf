/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/run-cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "basic/fd.h"

/* Who runs a container, or a manager of his own, makes some below; nobody needs as many levels. */
enum { DEPTH_MAX = 32 };

static char *folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return strndup(path, (size_t)(slash - path));
}

static int make(const struct cgroups *c, const char *path, struct why *why)
{
    if (mkdirat(c->fd, path + 1, 0755) == 0)
        return 0;
    if (errno == EROFS)
        return why_set(
            why, -EROFS,
            "waymarkd may not make cgroups here (%s is read-only to it): let systemd make "
            "one, with --scope systemd, which needs a session, or `systemctl start "
            "user@UID`",
            c->path);
    return why_set(why, -errno, "cannot make the cgroup %s%s: %s", c->path, path, strerror(errno));
}

int run_cgroup_make(const struct cgroups *c, const char *path, struct why *why)
{
    _cleanup_free_ char *folder = folder_of(path);
    int r;

    if (!folder)
        return -ENOMEM;
    r = make(c, folder, why);
    return r == 0 || r == -EEXIST ? make(c, path, why) : r;
}

int run_cgroup_enter(const struct cgroups *c, const char *path, uint32_t pid, struct why *why)
{
    char name[PATH_MAX], text[16];
    int r, n = snprintf(text, sizeof(text), "%u", pid);

    if ((size_t)snprintf(name, sizeof(name), "%s/cgroup.procs", path + 1) >= sizeof(name))
        return -ENAMETOOLONG;
    _cleanup_fd_ int fd = openat(c->fd, name, O_WRONLY | O_CLOEXEC);
    r = fd < 0 ? -errno : fd_write_all(fd, text, (size_t)n);
    return r < 0 ? why_set(why, r, "cannot move process %u to the cgroup %s%s: %s", pid, c->path,
                           path, strerror(-r))
                 : 0;
}

static int remove_below(int folder, const char *name, int depth);

/* 0 or the first error; all are tried. */
static int remove_all_in(int fd, int depth)
{
    DIR *d = fdopendir(fd);
    int r = 0;

    if (!d) {
        (void)close(fd);
        return -ENOMEM;
    }
    for (struct dirent *e; (e = readdir(d));) {
        if (e->d_type != DT_DIR || e->d_name[0] == '.')
            continue;
        int one = remove_below(dirfd(d), e->d_name, depth - 1);

        r = r < 0 ? r : one;
    }
    (void)closedir(d);
    return r;
}

static int remove_below(int folder, const char *name, int depth)
{
    int fd, r;

    if (unlinkat(folder, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (depth == 0 || (errno != ENOTEMPTY && errno != EBUSY))
        return -errno;
    fd = openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    r = fd < 0 ? -errno : remove_all_in(fd, depth);
    if (r < 0)
        return r;
    return unlinkat(folder, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

int run_cgroup_remove(const struct cgroups *c, const char *path)
{
    _cleanup_free_ char *folder = folder_of(path);
    int r = remove_below(c->fd, path + 1, DEPTH_MAX);

    if (r == 0 && folder)
        (void)unlinkat(c->fd, folder + 1, AT_REMOVEDIR); /* another run may be in it */
    return r;
}
