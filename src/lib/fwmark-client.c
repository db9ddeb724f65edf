/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/fwmark-client.h"

#include <errno.h>
#include <pthread.h>
#include <time.h>

#include "basic/fd.h"
#include "lib/unix-socket.h"

enum { ERRNO_MAX = 4095 }; /* as the kernel's MAX_ERRNO */

static_assert(sizeof(struct fwmark_command) == 16, "the wire's layout");
static_assert(sizeof(struct fwmark_connect_info) == 36, "the wire's layout");

static int send_command(int server, const struct fwmark_command *command,
                        const struct fwmark_connect_info *info, int fd, usec_t deadline)
{
    union {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = { 0 };
    struct iovec iov[] = { { (void *)command, sizeof(*command) }, { (void *)info, sizeof(*info) } };
    struct msghdr msg = { .msg_iov = iov, .msg_iovlen = info ? 2 : 1 };

    if (fd >= 0) {
        control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
                                           .cmsg_type = SCM_RIGHTS,
                                           .cmsg_len = CMSG_LEN(sizeof(int)) };
        memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
        msg.msg_control = &control;
        msg.msg_controllen = sizeof(control);
    }
    return unix_socket_send(server, &msg, deadline);
}

static int ask(const char *path, const struct fwmark_command *command,
               const struct fwmark_connect_info *info, int fd, usec_t deadline)
{
    _cleanup_fd_ int server = -1;
    int32_t answer = 0;
    int r = unix_socket_open(path, deadline, &server);

    if (r == 0)
        r = send_command(server, command, info, fd, deadline);
    if (r == 0)
        r = unix_socket_read(server, &answer, sizeof(answer), deadline);
    if (r < 0)
        return r;
    return answer > 0 || answer < -ERRNO_MAX ? -EBADMSG : answer;
}

/* -EBUSY: the user has too many connections that have not sent yet, and ours was one of them. */
static int ask_patiently(const char *path, const struct fwmark_command *command,
                         const struct fwmark_connect_info *info, int fd)
{
    const struct timespec pause = { .tv_nsec = 1000L * 1000 };
    usec_t deadline = clock_monotonic() + FWMARK_PATIENCE;
    int r;

    while ((r = ask(path, command, info, fd, deadline)) == -EBUSY && clock_monotonic() < deadline)
        (void)nanosleep(&pause, NULL);
    return r;
}

int fwmark_client_ask(const char *path, const struct fwmark_command *command,
                      const struct fwmark_connect_info *info, int fd)
{
    int error = errno, state, r;

    (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &state);
    r = ask_patiently(path, command, info, fd);
    (void)pthread_setcancelstate(state, NULL);
    errno = error;
    return r;
}
