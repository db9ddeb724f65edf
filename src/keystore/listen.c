/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/listen.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "basic/fd.h"

enum {
    FILES_MAX = 65536, /* as the unit has it; each client takes one, and memory of the kernel's */
    /* Who comes then waits in connect(). Those in here are served in order: it is what one waits for others. */
    BACKLOG = 128,
};

int listen_raise_limits(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return -errno;
    if (limit.rlim_cur >= MIN(limit.rlim_max, (rlim_t)FILES_MAX))
        return 0;
    limit.rlim_cur = MIN(limit.rlim_max, (rlim_t)FILES_MAX);
    return setrlimit(RLIMIT_NOFILE, &limit) < 0 ? -errno : 0;
}

static int take_from_systemd(int *ret_fd, struct why *why)
{
    int n = sd_listen_fds(true);

    if (n == 0)
        return 0;
    if (n != 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0)
        return why_set(why, -EINVAL,
                       "systemd is to pass one unix stream socket that listens, no more");
    if (fcntl(SD_LISTEN_FDS_START, F_SETFL, O_NONBLOCK) < 0)
        return why_set(why, -errno, "cannot use systemd's socket: %s", strerror(errno));
    *ret_fd = SD_LISTEN_FDS_START;
    return 1;
}

/* Nobody answers there: what has been left by a process that is dead may go. */
static int remove_dead(const struct sockaddr_un *addr, struct why *why)
{
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
    if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EAGAIN)
        return why_set(why, -EADDRINUSE,
                       "another process serves %s: stop that, or use another runtime folder",
                       addr->sun_path);
    if (errno == ECONNREFUSED)
        (void)unlink(addr->sun_path);
    return 0;
}

/* With its mode from the first moment on; and by no path, which may be another file's by then. */
static int bind_for_all(int fd, const struct sockaddr_un *addr)
{
    mode_t before = umask(0111);
    int r = bind(fd, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ? -errno : 0;

    (void)umask(before);
    return r;
}

int listen_open(const char *runtime_dir, int *ret_fd, struct why *why)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    _cleanup_fd_ int fd = -1;
    int r = take_from_systemd(ret_fd, why);

    if (r != 0)
        return MIN(r, 0);
    if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/keystore", runtime_dir) >=
        sizeof(addr.sun_path))
        return why_set(why, -ENAMETOOLONG, "the path of the runtime folder is too long");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
    (void)mkdir(runtime_dir, 0755);
    r = remove_dead(&addr, why);
    if (r < 0)
        return r;
    r = bind_for_all(fd, &addr);
    if (r == 0 && listen(fd, BACKLOG) < 0)
        r = -errno;
    if (r < 0)
        return why_set(why, r, "cannot listen on %s: %s", addr.sun_path, strerror(-r));
    *ret_fd = TAKE_FD(fd);
    return 0;
}
