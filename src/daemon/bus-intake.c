/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus-intake.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>

#include "basic/fd.h"
#include "basic/linger.h"

enum {
    CHUNK = 4096,                       /* an empty socket always takes as much */
    MESSAGE_MAX = 256 * 1024,           /* no call of ours needs more than a hundredth of it */
    MESSAGE_MAX_PRIVILEGED = 128 << 20, /* D-Bus's own */
    AUTH_MAX = 1024,                    /* bytes, and… */
    AUTH_LINES_MAX = 16, /* …lines: the answers to them fit into the socket's buffer */
    HEAD_SIZE = 16,      /* the fixed part: up to the length of the array of fields */
};

struct bus_intake {
    struct bus_end *end;
    int from, to; /* the peer's socket, our end of the pair */
    int end_fd;   /* sd-bus's end of it */
    sd_event_source *source;
    bool running; /* authenticated: messages from here on */
    size_t auth_bytes, auth_lines;
    uint8_t head[HEAD_SIZE];
    size_t n_head;
    size_t left; /* of the message whose head is whole */
};

/* Nothing more comes: sd-bus sees the end when it has read the rest. */
static void end_intake(struct bus_intake *in)
{
    in->source = sd_event_source_disable_unref(in->source);
    if (in->to >= 0)
        (void)close(in->to);
    in->to = -1;
}

static uint32_t read_u32(const struct bus_intake *in, size_t at)
{
    uint32_t value;

    memcpy(&value, in->head + at, sizeof(value));
    return in->head[0] == 'B' ? be32toh(value) : le32toh(value);
}

static uint64_t max_message(const struct bus_intake *in)
{
    return in->end->privileged ? MESSAGE_MAX_PRIVILEGED : MESSAGE_MAX;
}

/* The size of what follows the head: fields, padded to 8, and body. -EMSGSIZE, -EBADMSG. */
static ssize_t rest_of_message(const struct bus_intake *in)
{
    uint64_t body = read_u32(in, 4), fields = read_u32(in, 12);

    if (in->head[0] != 'l' && in->head[0] != 'B')
        return -EBADMSG;
    fields = (fields + 7) / 8 * 8;
    return body + fields > max_message(in) ? -EMSGSIZE : (ssize_t)(body + fields);
}

/* How many of these bytes sd-bus may have now. They are of one message, or of its head. */
static ssize_t admit_message(struct bus_intake *in, const uint8_t *data, size_t size)
{
    size_t n = MIN(size, in->left);
    ssize_t rest;

    if (in->left == 0) {
        n = MIN(size, HEAD_SIZE - in->n_head);
        memcpy(in->head + in->n_head, data, n);
        in->n_head += n;
        if (in->n_head < HEAD_SIZE)
            return (ssize_t)n;
        in->n_head = 0;
        rest = rest_of_message(in);
        if (rest < 0)
            return rest;
        in->left = (size_t)rest;
        return (ssize_t)n;
    }
    in->left -= n;
    return (ssize_t)n;
}

/* One line at a time: only sd-bus knows whether messages follow it. */
static ssize_t admit_auth(struct bus_intake *in, const uint8_t *data, size_t size)
{
    const uint8_t *newline = memchr(data, '\n', size);
    size_t n = newline ? (size_t)(newline - data) + 1 : size;

    in->auth_bytes += n;
    in->auth_lines += newline != NULL;
    return in->auth_bytes > AUTH_MAX || in->auth_lines > AUTH_LINES_MAX ? -EMSGSIZE : (ssize_t)n;
}

/* Who wrote them: bytes of two processes do not come at once (SO_PASSCRED, unix(7)). */
static void note_writer(const struct bus_intake *in, struct msghdr *msg)
{
    struct ucred cred = { .pid = 0 };

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_CREDENTIALS)
            memcpy(&cred, CMSG_DATA(c), sizeof(cred));
    if (cred.pid != in->end->cred.pid)
        in->end->shared = true;
}

/*
 * Takes bytes that were looked at. Descriptors that came with them are dropped, whatever they are: there is no
 * room for them.
 */
static bool take(const struct bus_intake *in, uint8_t *data, size_t size)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(sizeof(struct ucred))];
    } control;
    struct iovec io = { .iov_base = data, .iov_len = size };
    struct msghdr msg = {
        .msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    ssize_t n;

    linger_begin();
    n = recvmsg(in->from, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    linger_end();
    if (n != (ssize_t)size)
        return false;
    note_writer(in, &msg);
    return true;
}

/* Moves some bytes, when sd-bus has read those before. Negative: that was all of this peer. */
static int move(struct bus_intake *in)
{
    uint8_t data[CHUNK];
    int waiting = 0;
    ssize_t n;

    if (ioctl(in->end_fd, FIONREAD, &waiting) < 0)
        return -errno;
    if (waiting > 0)
        return 0;
    in->running = in->running || sd_bus_is_ready(in->end->sd) > 0;
    n = recv(in->from, data, sizeof(data), MSG_PEEK | MSG_DONTWAIT);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    n = in->running ? admit_message(in, data, (size_t)n) : admit_auth(in, data, (size_t)n);
    if (n < 0)
        return (int)n;
    if (!take(in, data, (size_t)n) || write(in->to, data, (size_t)n) != n)
        return -EIO;
    return 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct bus_intake *in = userdata;

    (void)source;
    (void)fd;
    (void)revents;
    if (in->end->doomed || move(in) < 0)
        end_intake(in);
    return 0;
}

int bus_intake_new(struct bus_end *end, struct bus_intake **ret, int *ret_fd)
{
    _cleanup_(bus_intake_freep) struct bus_intake *in = calloc(1, sizeof(*in));
    int fds[2], r;

    if (!in)
        return -ENOMEM;
    in->end = end;
    in->from = in->to = -1;
    /* sd-bus watches the socket, too, to write: one descriptor cannot be watched twice */
    in->from = fcntl(end->fd, F_DUPFD_CLOEXEC, 0);
    if (in->from < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds) < 0)
        return -errno;
    in->to = fds[1];
    in->end_fd = fds[0];
    r = sd_event_add_io(end->bus->m->event, &in->source, in->from, EPOLLIN, on_readable, in);
    if (r < 0) {
        (void)close(fds[0]);
        return r;
    }
    *ret_fd = fds[0];
    *ret = TAKE_PTR(in);
    return 0;
}

void bus_intake_free(struct bus_intake *in)
{
    if (!in)
        return;
    end_intake(in);
    if (in->from >= 0)
        (void)close(in->from);
    free(in);
}
