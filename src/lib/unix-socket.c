/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/unix-socket.h"

#include <errno.h>
#include <sys/time.h>
#include <sys/un.h>

#include "basic/fd.h"

/* The kernel waits no longer than until the deadline; a timeout of 0 would be "for ever". */
static int set_timeout(int fd, int option, usec_t deadline)
{
    usec_t now = clock_monotonic(), left = deadline > now ? deadline - now : 0;
    struct timeval limit = { (time_t)(left / USEC_PER_SEC), (suseconds_t)(left % USEC_PER_SEC) };

    if (left == 0)
        return -ETIMEDOUT;
    return setsockopt(fd, SOL_SOCKET, option, &limit, sizeof(limit)) < 0 ? -errno : 0;
}

static int plain_error(int error)
{
    switch (error) {
    case EAGAIN:
        return -ETIMEDOUT;
    case EPIPE:
        return -ECONNRESET;
    case ENOENT:
    case ENOTDIR:
        return -ECONNREFUSED;
    default:
        return -error;
    }
}

int unix_socket_open(const char *path, usec_t deadline, int *ret_fd)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    if (fd < 0)
        return -errno;
    if (!str_set(addr.sun_path, sizeof(addr.sun_path), path))
        return -ENAMETOOLONG;
    do {
        r = set_timeout(fd, SO_SNDTIMEO, deadline);
        if (r == 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0)
            r = plain_error(errno);
    } while (r == -EINTR);
    if (r < 0)
        return r;
    *ret_fd = TAKE_FD(fd);
    return 0;
}

/* Descriptors go with the first byte: they are not to be sent again. */
static void move_on(struct msghdr *msg, size_t n)
{
    msg->msg_control = NULL;
    msg->msg_controllen = 0;
    while (msg->msg_iovlen > 0 && n >= msg->msg_iov->iov_len) {
        n -= msg->msg_iov->iov_len;
        msg->msg_iov++;
        msg->msg_iovlen--;
    }
    if (msg->msg_iovlen > 0) {
        msg->msg_iov->iov_base = (char *)msg->msg_iov->iov_base + n;
        msg->msg_iov->iov_len -= n;
    }
}

int unix_socket_send(int fd, struct msghdr *msg, usec_t deadline)
{
    while (msg->msg_iovlen > 0) {
        int r = set_timeout(fd, SO_SNDTIMEO, deadline);
        ssize_t n = r < 0 ? -1 : sendmsg(fd, msg, MSG_NOSIGNAL);

        if (r < 0)
            return r;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return plain_error(errno);
        move_on(msg, (size_t)n);
    }
    return 0;
}

int unix_socket_read_some(int fd, void *data, size_t size, usec_t deadline, size_t *ret_n)
{
    ssize_t n;
    int r;

    do {
        r = set_timeout(fd, SO_RCVTIMEO, deadline);
        n = r < 0 ? 0 : recv(fd, data, size, 0);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        r = plain_error(errno);
    if (r < 0)
        return r;
    *ret_n = (size_t)n;
    return 0;
}

int unix_socket_read(int fd, void *data, size_t size, usec_t deadline)
{
    char *p = data;

    while (size > 0) {
        size_t n = 0;
        int r = unix_socket_read_some(fd, p, size, deadline, &n);

        if (r < 0)
            return r;
        if (n == 0)
            return -ECONNRESET;
        p += n;
        size -= n;
    }
    return 0;
}
