/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/peer.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/pidfd.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "observe/process.h"

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

void peer_done(struct peer *p)
{
    free(p->cgroup);
    *p = (struct peer){ 0 };
}

/* Of the process that had connected, or of who has its number now: see the header. */
static int open_pidfd(int connection, pid_t pid, int *ret)
{
    socklen_t size = sizeof(*ret);
    int fd = -1;

    if (getsockopt(connection, SOL_SOCKET, SO_PEERPIDFD, &fd, &size) < 0) {
        if (errno == ENOPROTOOPT)
            fd = pidfd_open(pid, 0);
        if (fd < 0)
            return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? -errno : -ESRCH;
    }
    *ret = fd;
    return 0;
}

int peer_open_pidfd(int connection, int *ret)
{
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || cred.pid <= 0)
        return -ESRCH;
    return open_pidfd(connection, cred.pid, ret);
}

static bool is_alive(int pidfd)
{
    struct pollfd poll_fd = { .fd = pidfd, .events = POLLIN };

    return poll(&poll_fd, 1, 0) == 0;
}

static int read_exe(uint32_t pid, struct peer *p)
{
    _cleanup_process_ struct process process = { .pid = pid, .patient = true };
    int r = process_read_exe(&process);

    if (r < 0)
        return r;
    p->exe = process.exe_id;
    p->exe_place = process.exe_place;
    return 0;
}

static int read_cgroup(uint32_t pid, char **ret)
{
    int r = cgroups_path_of_pid(pid, ret);

    return r == -ENOENT ? 0 : r;
}

int peer_read(int connection, unsigned wanted, struct peer *ret)
{
    _cleanup_peer_ struct peer p = { .known = wanted };
    _cleanup_fd_ int pidfd = -1;
    struct ucred cred;
    socklen_t size = sizeof(cred);
    int r = 0;

    if (getsockopt(connection, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0 || cred.pid <= 0)
        return -ESRCH;
    r = open_pidfd(connection, cred.pid, &pidfd);
    if (r == 0 && wanted & PEER_EXE)
        r = read_exe((uint32_t)cred.pid, &p);
    if (r == 0 && wanted & PEER_CGROUP)
        r = read_cgroup((uint32_t)cred.pid, &p.cgroup);
    if (r == 0 && !is_alive(pidfd))
        r = -ESRCH;
    if (r < 0)
        return r;
    *ret = p;
    p = (struct peer){ 0 };
    return 0;
}
