/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/exe.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "basic/fd.h"

/* Of ours, and of a mount namespace of anybody's, who may mount what he likes there. */
enum { MOUNTINFO_MAX = 64 << 20, MOUNTINFO_OTHERS_MAX = 4 << 20 };

/* The device of a mount's superblock: third word of its line in mountinfo (proc(5)). */
static int mount_device(uint32_t pid, uint64_t mount, uint64_t *ret)
{
    _cleanup_free_ char *text = NULL;
    char path[64] = "/proc/self/mountinfo";
    int r;

    if (pid != 0)
        (void)snprintf(path, sizeof(path), "/proc/%u/mountinfo", pid);
    r = fd_read_file(path, pid != 0 ? MOUNTINFO_OTHERS_MAX : MOUNTINFO_MAX, &text, NULL);
    if (r < 0)
        return r;
    for (char *save = NULL, *line = strtok_r(text, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        char *end;

        if (strtoull(line, &end, 10) != mount)
            continue;
        (void)strtoul(end, &end, 10); /* the parent */

        unsigned major = (unsigned)strtoul(end, &end, 10);
        if (*end != ':')
            return -EPROTO;
        *ret = makedev(major, (unsigned)strtoul(end + 1, NULL, 10));
        return 0;
    }
    return -ENOENT;
}

static int identify(const char *path, uint32_t pid, mode_t type, struct exe_id *ret)
{
    struct statx st;
    struct exe_id id;

    /* a file server that is away is no reason to wait */
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE | STATX_INO | STATX_MNT_ID, &st) < 0)
        return -errno;
    if ((st.stx_mode & S_IFMT) != type)
        return type == S_IFDIR ? -ENOTDIR : -ENOEXEC;
    id = (struct exe_id){ .dev = makedev(st.stx_dev_major, st.stx_dev_minor), .ino = st.stx_ino };
    /* Without a disk of its own it may be a made-up one. Not found: what stat(2) says must do. */
    if (st.stx_dev_major == 0 && st.stx_mask & STATX_MNT_ID)
        (void)mount_device(pid, st.stx_mnt_id, &id.dev);
    *ret = id;
    return 0;
}

int exe_identify(const char *path, uint32_t pid, struct exe_id *ret)
{
    return identify(path, pid, S_IFREG, ret);
}

int exe_identify_directory(const char *path, uint32_t pid, struct exe_id *ret)
{
    return identify(path, pid, S_IFDIR, ret);
}
