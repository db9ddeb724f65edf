/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What is pinned, and its removal. This is all that `waymark panic-off` needs.
 */
#include "apply/bpf.h"

#include <bpf/bpf.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include "apply/bpf-internal.h"
#include "basic/fd.h"

DEFINE_CLEANUP(DIR *, closedir)
#define _cleanup_dir_ _cleanup_(closedirp)

int bpf_netns_cookie(uint64_t *ret)
{
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    uint64_t cookie;
    socklen_t size = sizeof(cookie);

    if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &size) < 0)
        return -errno;
    *ret = cookie;
    return 0;
}

int bpf_mount_fs(const char *path, struct why *why)
{
    struct statfs fs;

    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return why_set(why, -errno, "cannot make the folder %s: %m", path);
    if (statfs(path, &fs) == 0 && (uint64_t)fs.f_type == BPF_FS_MAGIC)
        return 0;
    if (mount("bpf", path, "bpf", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0700") < 0)
        return why_set(why, -errno, "cannot mount a bpffs at %s: %m", path);
    return 0;
}

/*
 * Closing the last fd of a link detaches it; detaching first is for the case that somebody holds another.
 */
static int remove_pin(int dir, const char *folder, const char *name)
{
    _cleanup_free_ char *path = NULL;

    if (startswith(name, "link_") && asprintf(&path, "%s/%s", folder, name) >= 0) {
        _cleanup_fd_ int link = bpf_obj_get(path);

        if (link >= 0)
            (void)bpf_link_detach(link);
    }
    return unlinkat(dir, name, 0) < 0 ? -errno : 0;
}

static bool is_dots(const char *name)
{
    return streq(name, ".") || streq(name, "..");
}

int bpf_remove_set(const char *folder, const char *set, struct why *why)
{
    _cleanup_free_ char *path = NULL;
    _cleanup_dir_ DIR *d = NULL;
    int r = 0;

    if (asprintf(&path, "%s/%s", folder, set) < 0)
        return -ENOMEM;
    d = opendir(path);
    if (!d)
        return why_set(why, -errno, "cannot open %s: %m", path);
    for (struct dirent *e = readdir(d); e && r == 0; e = readdir(d))
        if (!is_dots(e->d_name))
            r = remove_pin(dirfd(d), path, e->d_name);
    if (r == 0 && rmdir(path) < 0)
        r = -errno;
    return r < 0 ? why_set(why, r, "cannot remove %s: %s", path, strerror(-r)) : 0;
}

int bpf_remove_sets(const char *folder, const char *keep, struct why *why)
{
    _cleanup_dir_ DIR *d = opendir(folder);
    int r = 0;

    if (!d)
        return errno == ENOENT ? 0 : why_set(why, -errno, "cannot open %s: %m", folder);
    for (struct dirent *e = readdir(d); e; e = readdir(d)) {
        int one = 0;

        if (!is_dots(e->d_name) && (!keep || !streq(e->d_name, keep)))
            one = bpf_remove_set(folder, e->d_name, why);
        r = r < 0 ? r : one; /* one that stays does not keep the others */
    }
    return r;
}

int bpf_remove(const char *fs, uint64_t netns, struct why *why)
{
    _cleanup_free_ char *top = NULL, *folder = NULL;
    int r;

    if (asprintf(&top, "%s/waymark", fs) < 0 ||
        asprintf(&folder, "%s/%llu", top, (unsigned long long)netns) < 0)
        return -ENOMEM;
    r = bpf_remove_sets(folder, NULL, why);
    if (r < 0)
        return r;
    if (rmdir(folder) < 0 && errno != ENOENT)
        return why_set(why, -errno, "cannot remove %s: %m", folder);
    (void)rmdir(top); /* unless there is another namespace's */
    return 0;
}
