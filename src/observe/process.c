/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/process.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <linux/openat2.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "basic/fd.h"
#include "decide/place.h"

#define DELETED " (deleted)"

enum { CACHED_TRIES = 8 };

void process_done(struct process *p)
{
    free(p->cgroup);
    free(p->exe);
    *p = (struct process){ 0 };
}

uint64_t process_start_time(uint32_t pid)
{
    _cleanup_free_ char *text = NULL;
    char path[64], *p;

    (void)snprintf(path, sizeof(path), "/proc/%" PRIu32 "/stat", pid);
    if (fd_read_file(path, 4096, &text, NULL) < 0)
        return 0;
    p = strrchr(text, ')'); /* the command's name may hold anything */
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    return p ? strtoull(p, NULL, 10) : 0;
}

/* The last of the four behind "Uid:": real, effective, saved, file system. */
static int read_uid(struct process *p)
{
    _cleanup_free_ char *text = NULL;
    char path[64];
    char *at;

    (void)snprintf(path, sizeof(path), "/proc/%u/status", p->pid);
    if (fd_read_file(path, 65536, &text, NULL) < 0)
        return -ESRCH;
    at = strstr(text, "\nUid:");
    if (!at)
        return -ESRCH;
    at += STRLEN("\nUid:");
    for (int i = 0; i < 4; i++)
        p->uid = (uint32_t)strtoul(at, &at, 10);
    return 0;
}

/* "/bin/x (deleted)" is the name of what was at /bin/x, unless a file is really called so. */
static void strip_deleted(struct process *p)
{
    size_t n = strlen(p->exe), suffix = STRLEN(DELETED);
    struct exe_id named;

    if (n <= suffix || !streq(p->exe + n - suffix, DELETED))
        return;
    if (exe_identify(p->exe, 0, &named) == 0 && named.dev == p->exe_id.dev &&
        named.ino == p->exe_id.ino)
        return;
    p->exe[n - suffix] = '\0';
    p->exe_deleted = true;
}

static bool has_same_mounts(uint32_t pid, const char *other)
{
    struct stat st, others;
    char link[64];

    (void)snprintf(link, sizeof(link), "/proc/%u/ns/mnt", pid);
    return stat(link, &st) == 0 && stat(other, &others) == 0 && st.st_dev == others.st_dev &&
           st.st_ino == others.st_ino;
}

/*
 * The kernel says paths without links: one that is there was put there since.
 *
 * In a mount namespace of his own anybody can mount what is answered by a program of his (overlayfs on FUSE, which
 * looks with his rights), and that may let one wait for ever. The folders of what is executed are in the kernel's
 * memory, so there nothing else is asked. (A rename anywhere on the way makes it start again: hence the tries.)
 */
static int open_in_root(uint32_t pid, const char *path, bool patient)
{
    bool trusted = patient || has_same_mounts(pid, "/proc/self/ns/mnt") ||
                   has_same_mounts(pid, "/proc/1/ns/mnt");
    const struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
                                  .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS |
                                             (trusted ? 0 : RESOLVE_CACHED) };
    char name[64];
    int fd = -1;

    (void)snprintf(name, sizeof(name), "/proc/%u/root", pid);
    _cleanup_fd_ int root = open(name, O_PATH | O_DIRECTORY | O_CLOEXEC);
    for (int i = 0; root >= 0 && fd < 0 && i < CACHED_TRIES && (i == 0 || errno == EAGAIN); i++)
        fd = (int)syscall(SYS_openat2, root, path, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

/* 0 = unknown */
static uint64_t mount_of(const char *path)
{
    struct statx st;

    return statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) == 0 &&
                   st.stx_mask & STATX_MNT_ID
               ? st.stx_mnt_id
               : 0;
}

/*
 * The directory of what a process runs. In a mount namespace of his own anybody may mount others'
 * directories over those that he runs programs from: it has to be on the mount that the program is on.
 */
static int identify_directory(const char *directory, uint32_t pid, bool patient, struct exe_id *ret)
{
    char exe[64], opened[64];
    uint64_t mount;

    if (pid == 0)
        return exe_identify_directory(directory, pid, ret);

    _cleanup_fd_ int fd = open_in_root(pid, directory, patient);
    if (fd < 0)
        return fd == -EAGAIN ? fd : -ENOENT;
    (void)snprintf(exe, sizeof(exe), "/proc/%u/exe", pid);
    (void)snprintf(opened, sizeof(opened), "/proc/self/fd/%d", fd);
    mount = mount_of(exe);
    if (mount == 0 || mount_of(opened) != mount)
        return -EXDEV;
    return exe_identify_directory(opened, pid, ret);
}

/* -EAGAIN: it cannot be told without waiting. */
static int find_exe_place(const char *path, uint32_t pid, bool patient, struct app_place *ret)
{
    const char *name = strrchr(path, '/') + 1;
    char directory[PATH_MAX];
    struct exe_id id;
    int r;

    *ret = (struct app_place){ 0 };
    if ((size_t)snprintf(directory, sizeof(directory), "%.*s", (int)(name - path), path) >=
        sizeof(directory))
        return 0;
    r = identify_directory(directory, pid, patient, &id);
    if (r == 0)
        *ret = (struct app_place){ .dev = id.dev,
                                   .directory = id.ino,
                                   .name = place_name(name, strlen(name)) };
    return r == -EAGAIN ? r : 0;
}

struct app_place process_exe_place(const char *path)
{
    struct app_place place;

    (void)find_exe_place(path, 0, true, &place);
    return place;
}

int process_identify_exe(uint32_t pid, struct exe_id *ret)
{
    char link[64];

    (void)snprintf(link, sizeof(link), "/proc/%u/exe", pid);
    return exe_identify(link, pid, ret) < 0 ? -ESRCH : 0;
}

int process_identify_file(uint32_t pid, struct exe_id *ret)
{
    struct statx st;
    char link[64];

    (void)snprintf(link, sizeof(link), "/proc/%u/exe", pid);
    if (statx(AT_FDCWD, link, AT_STATX_DONT_SYNC, STATX_INO, &st) < 0)
        return -ESRCH;
    *ret = (struct exe_id){ .dev = makedev(st.stx_dev_major, st.stx_dev_minor), .ino = st.stx_ino };
    return 0;
}

int process_read_exe(struct process *p)
{
    char link[64], path[PATH_MAX];
    ssize_t n;

    (void)snprintf(link, sizeof(link), "/proc/%u/exe", p->pid);
    n = readlink(link, path, sizeof(path) - 1);
    if (n < 0 || exe_identify(link, p->pid, &p->exe_id) < 0)
        return n < 0 && errno == EACCES ? -EACCES : -ESRCH;
    path[n] = '\0';
    p->exe = strdup(path);
    if (!p->exe)
        return -ENOMEM;
    strip_deleted(p);
    return p->exe[0] == '/' ? find_exe_place(p->exe, p->pid, p->patient, &p->exe_place) : 0;
}

static int read_cgroup(const struct cgroups *c, struct process *p)
{
    int r = cgroups_path_of_pid(p->pid, &p->cgroup);

    if (r == 0 && cgroups_id(c, p->cgroup, &p->cgroup_id) < 0)
        p->cgroup_id = 0; /* removed under its feet, or cgroup2 is not mounted */
    return r == -ENOENT ? 0 : r;
}

static bool is_alive(int pidfd)
{
    struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) == 0;
}

int process_read(const struct cgroups *c, uint32_t pid, struct process *ret, struct why *why)
{
    _cleanup_process_ struct process p = { .pid = pid };
    _cleanup_fd_ int pidfd = pid > 0 && pid <= INT_MAX ? pidfd_open((pid_t)pid, 0) : -1;
    int r = pidfd < 0 ? -ESRCH : read_uid(&p);
    int e = r == 0 ? process_read_exe(&p) : 0;

    if (e == -EAGAIN)
        return why_set(why, e,
                       "where the program of process %u is cannot be told without waiting for its "
                       "file system: try again",
                       pid);
    if (e == -ENOMEM) /* else: a kernel thread, or not for us to see */
        r = e;
    if (r == 0)
        r = read_cgroup(c, &p);
    if (r == 0 && !is_alive(pidfd))
        r = -ESRCH;
    if (r == -ESRCH)
        return why_set(why, r, "there is no process %u: see `ps -p %u`", pid, pid);
    if (r < 0)
        return r;
    *ret = p;
    p = (struct process){ 0 };
    return 0;
}
