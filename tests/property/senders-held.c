/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Sockets that are held open while rules change: their routes were looked up before. */

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "property/senders-internal.h"

static void hold(struct held_set *set, int fd, enum send_kind kind)
{
    set->items[set->n++] = (struct held){ .fd = fd, .kind = kind };
}

static void hold_udp(struct held_set *set, enum send_kind kind, const char *to, int device)
{
    union address a;
    socklen_t size = make_address(&a, to, 9000);
    int fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    set_device(fd, device);
    if (connect(fd, &a.sa, size) == 0)
        hold(set, fd, kind);
    else
        (void)close(fd);
}

/* Closing is a reset: it leaves nothing behind that would speak without a program. */
static void hold_tcp(struct held_set *set, enum send_kind kind, const char *to, int device)
{
    union address a;
    socklen_t size = make_address(&a, to, (uint16_t)(PORT_HELD + kind));
    int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), on = 1;
    struct linger reset = { .l_onoff = 1 };

    set_device(fd, device);
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    (void)connect(fd, &a.sa, size);
    hold(set, fd, kind);
}

static bool is_tcp(enum send_kind kind)
{
    return kind == SEND_HELD_TCP || kind == SEND_HELD_DEVICE_TCP;
}

static bool is_established(int fd)
{
    struct sockaddr_in6 peer;
    socklen_t size = sizeof(peer);

    return getpeername(fd, (struct sockaddr *)&peer, &size) == 0;
}

/* Waits until every connection is there or refused, or the time is over. */
static void wait_for_all(const struct held_set *set, int timeout_msec)
{
    usec_t until = clock_monotonic() + (usec_t)timeout_msec * 1000;

    for (;;) {
        struct pollfd fds[HELD_MAX];
        nfds_t n = 0;
        usec_t now = clock_monotonic();

        for (unsigned i = 0; i < set->n; i++) {
            struct pollfd fd = { .fd = set->items[i].fd, .events = POLLOUT };

            if (is_tcp(set->items[i].kind) && poll(&fd, 1, 0) == 0)
                fds[n++] = fd;
        }
        if (n == 0 || now >= until)
            return;
        (void)poll(fds, n, (int)((until - now) / 1000 + 1));
    }
}

/* Keeps the connections that were established. */
static unsigned drop_others(struct held_set *set)
{
    unsigned n = 0, established = 0;

    for (unsigned i = 0; i < set->n; i++) {
        struct held held = set->items[i];

        if (is_tcp(held.kind) && !is_established(held.fd)) {
            (void)close(held.fd);
            continue;
        }
        established += is_tcp(held.kind);
        set->items[n++] = held;
    }
    set->n = n;
    return established;
}

unsigned held_open(struct held_set *set, const struct self *me, int timeout_msec)
{
    char far_to[ADDRESS_TEXT_MAX], near_to[ADDRESS_TEXT_MAX];

    for (unsigned f = 0; f < 2; f++) {
        int family = family_at(f);

        far_address(me, family, far_to);
        hold_udp(set, SEND_HELD_UDP, far_to, 0);
        hold_tcp(set, SEND_HELD_TCP, far_to, 0);
        for (unsigned i = 0; i < me->s->n_links; i++) {
            near_address(me, family, i, near_to);
            hold_tcp(set, SEND_HELD_TCP, near_to, 0);
            if (me->s->links[i] == 0)
                continue;
            hold_tcp(set, SEND_HELD_DEVICE_TCP, near_to, me->s->links[i]);
            hold_udp(set, SEND_HELD_DEVICE_UDP, far_to, me->s->links[i]);
        }
    }
    wait_for_all(set, timeout_msec);
    return drop_others(set);
}

void held_send(const struct held_set *set, const struct self *me)
{
    for (unsigned i = 0; i < set->n; i++) {
        struct tag tag = tag_of(me, set->items[i].kind, 0);

        (void)send(set->items[i].fd, &tag, sizeof(tag), MSG_NOSIGNAL | MSG_DONTWAIT);
    }
}

void held_close(struct held_set *set)
{
    for (unsigned i = 0; i < set->n; i++)
        (void)close(set->items[i].fd);
    set->n = 0;
}

static void watch(int epoll, int fd, bool listener)
{
    struct epoll_event event = { .events = EPOLLIN, .data.u64 = (uint64_t)listener << 32 | fd };

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        _exit(1);
}

static void listen_at(int epoll, uint16_t port)
{
    struct sockaddr_in6 any = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), off = 0;

    if (setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off)) < 0 ||
        bind(fd, (struct sockaddr *)&any, sizeof(any)) < 0 || listen(fd, SOMAXCONN) < 0)
        _exit(1);
    watch(epoll, fd, true);
}

void held_accept(void)
{
    struct rlimit many = { 1 << 16, 1 << 16 };
    int epoll = epoll_create1(EPOLL_CLOEXEC);

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)setrlimit(RLIMIT_NOFILE, &many);
    listen_at(epoll, PORT_HELD + SEND_HELD_TCP);
    listen_at(epoll, PORT_HELD + SEND_HELD_DEVICE_TCP);
    for (;;) {
        struct epoll_event event;
        char buf[4096];

        if (epoll_wait(epoll, &event, 1, -1) != 1)
            continue;
        int fd = (int)(event.data.u64 & UINT32_MAX);
        if (event.data.u64 >> 32) {
            fd = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (fd >= 0)
                watch(epoll, fd, false);
        } else if (read(fd, buf, sizeof(buf)) <= 0)
            (void)close(fd);
    }
}
