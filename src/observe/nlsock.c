/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/nlsock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "wire/nlattr.h"

enum { RECEIVE_SIZE = 32768, RECEIVE_BUFFER = 4 << 20, TIMEOUT_SEC = 5 };

int nlsock_open(struct nlsock *s, int protocol)
{
    const struct timeval timeout = { .tv_sec = TIMEOUT_SEC };
    const int on = 1, buffer = RECEIVE_BUFFER;
    struct sockaddr_nl addr = { .nl_family = AF_NETLINK };
    socklen_t size = sizeof(addr);
    int fd, r = 0;

    fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -errno;
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 ||
        getsockname(fd, (struct sockaddr *)&addr, &size) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)) < 0)
        r = -errno;
    if (r < 0) {
        close(fd);
        return r;
    }
    /* both are improvements, not needs */
    (void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &buffer, sizeof(buffer));

    *s = (struct nlsock){ .fd = fd, .portid = addr.nl_pid, .seq = 1 };
    return 0;
}

void nlsock_close(struct nlsock *s)
{
    if (s->fd >= 0)
        (void)close(s->fd);
    *s = NLSOCK_INIT;
}

int nlsock_join(struct nlsock *s, const unsigned *groups, size_t n)
{
    int flags = fcntl(s->fd, F_GETFL);

    if (flags < 0 || fcntl(s->fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return -errno;
    for (size_t i = 0; i < n; i++)
        if (setsockopt(s->fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(groups[i])) <
            0)
            return -errno;
    return 0;
}

static int send_all(struct nlsock *s, const void *data, size_t size)
{
    ssize_t n;

    do
        n = send(s->fd, data, size, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    return (size_t)n == size ? 0 : -EIO;
}

/* One datagram from the kernel; what others send to us is dropped. Returns its size, or -errno. */
static ssize_t receive(struct nlsock *s, void *buf, size_t size)
{
    for (;;) {
        struct sockaddr_nl from = { 0 };
        struct iovec iov = { .iov_base = buf, .iov_len = size };
        struct msghdr msg = {
            .msg_name = &from,
            .msg_namelen = sizeof(from),
            .msg_iov = &iov,
            .msg_iovlen = 1,
        };
        ssize_t n = recvmsg(s->fd, &msg, 0);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? -ETIMEDOUT : -errno;
        if (from.nl_pid != 0)
            continue;
        if (msg.msg_flags & MSG_TRUNC)
            return -EMSGSIZE;
        return n;
    }
}

/* The errno of an NLMSG_ERROR message; its words, if any, go to *why. */
static int parse_error(const struct nlmsghdr *nlh, struct why *why)
{
    static const struct nlattr_policy policy[] = { [NLMSGERR_ATTR_MSG] = NLATTR_STRING };
    const struct nlattr *tb[ELEMENTSOF(policy)] = { NULL };
    const struct nlmsgerr *err = mnl_nlmsg_get_payload(nlh);
    size_t skip;

    if (mnl_nlmsg_get_payload_len(nlh) < sizeof(*err))
        return -EBADMSG;
    if (err->error == 0)
        return 0;
    skip = sizeof(*err);
    if (!(nlh->nlmsg_flags & NLM_F_CAPPED) && err->msg.nlmsg_len >= sizeof(err->msg))
        skip += MNL_ALIGN(err->msg.nlmsg_len - sizeof(err->msg));
    if ((nlh->nlmsg_flags & NLM_F_ACK_TLVS) && mnl_nlmsg_get_payload_len(nlh) > skip)
        (void)nlattr_parse((const char *)err + skip, mnl_nlmsg_get_payload_len(nlh) - skip, policy,
                           ELEMENTSOF(policy), tb);
    if (tb[NLMSGERR_ATTR_MSG]) {
        char text[160];

        nlattr_string(tb[NLMSGERR_ATTR_MSG], text, sizeof(text));
        return why_set(why, err->error, "%s (%s)", strerror(-err->error), text);
    }
    return why_set(why, err->error, "%s", strerror(-err->error));
}

int nlsock_request(struct nlsock *s, struct nlmsghdr *nlh, nlsock_message answer, void *data,
                   struct why *why)
{
    uint32_t seq = s->seq++;
    char buf[RECEIVE_SIZE];
    int r;

    nlh->nlmsg_seq = seq;
    r = send_all(s, nlh, nlh->nlmsg_len);
    while (r == 0) {
        ssize_t n = receive(s, buf, sizeof(buf));
        int left = (int)n;

        if (n < 0)
            return (int)n;
        for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != seq)
                continue; /* of a request that was given up */
            if (h->nlmsg_type == NLMSG_ERROR)
                return parse_error(h, why);
            r = answer ? answer(data, h) : 0;
            /* a request without NLM_F_ACK is answered by the one message */
            if (r < 0 || !(nlh->nlmsg_flags & NLM_F_ACK))
                return r;
        }
    }
    return r;
}

/* What NLMSG_DONE says of the dump that it ends: 0, or the errno that cut it off. */
static int done_error(const struct nlmsghdr *nlh)
{
    int error = 0;

    if (mnl_nlmsg_get_payload_len(nlh) >= sizeof(error))
        memcpy(&error, mnl_nlmsg_get_payload(nlh), sizeof(error));
    return MIN(error, 0);
}

/* How a dump went: the caller's own failure first, then the kernel's, then whether it is torn. */
static int dump_result(const struct nlmsghdr *done, int failed, bool interrupted)
{
    int r = failed < 0 ? failed : done_error(done);

    return r < 0 ? r : interrupted ? -EINTR : 0;
}

int nlsock_dump(struct nlsock *s, struct nlmsghdr *nlh, nlsock_message message, void *data)
{
    uint32_t seq = s->seq++;
    bool interrupted = false;
    char buf[RECEIVE_SIZE];
    int r, failed = 0;

    nlh->nlmsg_seq = seq;
    r = send_all(s, nlh, nlh->nlmsg_len);
    while (r == 0) {
        ssize_t n = receive(s, buf, sizeof(buf));
        int left = (int)n;

        if (n < 0)
            return (int)n;
        for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            if (h->nlmsg_seq != seq)
                continue;
            if (h->nlmsg_flags & NLM_F_DUMP_INTR)
                interrupted = true;
            if (h->nlmsg_type == NLMSG_DONE)
                return dump_result(h, failed, interrupted);
            if (h->nlmsg_type == NLMSG_ERROR)
                return parse_error(h, NULL);
            /*
             * after an error the dump is still read to its end, or the socket would be in its way
             */
            if (failed == 0)
                failed = message(data, h);
        }
    }
    return r;
}

int nlsock_batch(struct nlsock *s, const void *messages, size_t size, uint32_t first, uint32_t last,
                 struct why *why)
{
    int buffer = (int)MIN(size + 65536, (size_t)1 << 30);
    char buf[RECEIVE_SIZE];
    int r, first_error = 0;

    (void)setsockopt(s->fd, SOL_SOCKET, SO_SNDBUFFORCE, &buffer, sizeof(buffer));
    r = send_all(s, messages, size);
    while (r == 0) {
        ssize_t n = receive(s, buf, sizeof(buf));
        int left = (int)n;

        if (n < 0)
            return first_error < 0 ? first_error : (int)n;
        for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            /* of a batch that was given up: its answers may come late (sequence numbers wrap) */
            if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_seq - first > last - first)
                continue;
            r = parse_error(h, first_error < 0 ? NULL : why);
            if (r < 0 && first_error == 0)
                first_error = r;
            if (h->nlmsg_seq == last || h->nlmsg_seq == first)
                return first_error;
            r = 0;
        }
    }
    return r;
}

int nlsock_events(struct nlsock *s, nlsock_message message, void *data)
{
    char buf[RECEIVE_SIZE];

    for (;;) {
        ssize_t n = receive(s, buf, sizeof(buf));
        int left = (int)n, r;

        if (n == -ETIMEDOUT)
            return 0; /* nothing (more) there */
        if (n < 0)
            return (int)n;
        for (struct nlmsghdr *h = (void *)buf; mnl_nlmsg_ok(h, left);
             h = mnl_nlmsg_next(h, &left)) {
            r = message(data, h);
            if (r < 0)
                return r;
        }
    }
}
