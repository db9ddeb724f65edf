/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* One round of new sockets: every kind of packet that a program can send. */

#include <arpa/inet.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <stdio.h>
#include <unistd.h>

#include "model/mark.h"
#include "property/senders-internal.h"

socklen_t make_address(union address *a, const char *text, uint16_t port)
{
    memset(a, 0, sizeof(*a));
    if (strchr(text, ':')) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons(port);
        (void)inet_pton(AF_INET6, text, &a->in6.sin6_addr);
        return sizeof(a->in6);
    }
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons(port);
    (void)inet_pton(AF_INET, text, &a->in.sin_addr);
    return sizeof(a->in);
}

void far_address(const struct self *me, int family, char buf[static ADDRESS_TEXT_MAX])
{
    snprintf(buf, ADDRESS_TEXT_MAX, family == AF_INET ? "198.18.%u.7" : "2001:db8:%x::7",
             me->index + 1);
}

void near_address(const struct self *me, int family, unsigned link,
                  char buf[static ADDRESS_TEXT_MAX])
{
    snprintf(buf, ADDRESS_TEXT_MAX, family == AF_INET ? "10.0.%u.%u" : "fd00:%u::%x", link,
             100 + me->index);
}

struct tag tag_of(const struct self *me, enum send_kind kind, uint32_t mark)
{
    return (struct tag){ SENDER_MAGIC, me->index, kind, mark };
}

void set_device(int fd, int ifindex)
{
    char name[IFNAMSIZ];

    if (ifindex && if_indextoname((unsigned)ifindex, name))
        (void)setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, (socklen_t)strlen(name) + 1);
}

/* A datagram; errors do not matter, what leaves does. */
static void send_udp(const struct self *me, enum send_kind kind, const char *to, int device,
                     bool connected, uint32_t mark, int flags)
{
    struct tag tag = tag_of(me, kind, mark);
    union address a;
    socklen_t size = make_address(&a, to, 9000);
    int fd = socket(a.sa.sa_family, SOCK_DGRAM | SOCK_NONBLOCK, 0), on = 1;

    set_device(fd, device);
    (void)setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
    if (mark)
        (void)setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
    if (connected) {
        if (connect(fd, &a.sa, size) == 0)
            (void)send(fd, &tag, sizeof(tag), flags);
    } else
        (void)sendto(fd, &tag, sizeof(tag), flags, &a.sa, size);
    (void)close(fd);
}

/* Ports say who and how: a SYN carries no payload. */
static void send_tcp(const struct self *me, enum send_kind kind, const char *to, int device)
{
    union address a;
    socklen_t size =
        make_address(&a, to, (uint16_t)(PORT_REFUSED + me->index * PORTS_PER_SENDER + kind));
    int fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK, 0);

    set_device(fd, device);
    (void)connect(fd, &a.sa, size);
    (void)close(fd);
}

static void send_ping(const struct self *me, int family, const char *to)
{
    struct {
        uint8_t type, code;
        uint16_t sum, id, seq;
        struct tag tag;
    } echo = { .type = family == AF_INET ? ICMP_ECHO : ICMP6_ECHO_REQUEST };
    union address a;
    socklen_t size = make_address(&a, to, 0);
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK,
                    family == AF_INET ? IPPROTO_ICMP : IPPROTO_ICMPV6);

    echo.tag = tag_of(me, SEND_PING, 0);
    (void)sendto(fd, &echo, sizeof(echo), 0, &a.sa, size);
    (void)close(fd);
}

static void send_pktinfo(const struct self *me, int family, const char *to, int ifindex)
{
    struct tag tag = tag_of(me, SEND_PKTINFO, 0);
    struct in_pktinfo info4 = { .ipi_ifindex = ifindex };
    struct in6_pktinfo info6 = { .ipi6_ifindex = (unsigned)ifindex };
    size_t info_size = family == AF_INET ? sizeof(info4) : sizeof(info6);
    union {
        char buf[CMSG_SPACE(sizeof(struct in6_pktinfo))];
        struct cmsghdr align;
    } control = { 0 };
    union address a;
    socklen_t size = make_address(&a, to, 9000);
    struct iovec iov = { &tag, sizeof(tag) };
    struct msghdr msg = {
        .msg_name = &a.sa,
        .msg_namelen = size,
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = control.buf,
        .msg_controllen = CMSG_SPACE(info_size),
    };
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    c->cmsg_level = family == AF_INET ? IPPROTO_IP : IPPROTO_IPV6;
    c->cmsg_type = family == AF_INET ? IP_PKTINFO : IPV6_PKTINFO;
    c->cmsg_len = CMSG_LEN(info_size);
    memcpy(CMSG_DATA(c), family == AF_INET ? (void *)&info4 : (void *)&info6, info_size);
    (void)sendmsg(fd, &msg, 0);
    (void)close(fd);
}

/* By an interface that is named (0: none), or from a source address. */
static void send_multicast(const struct self *me, int family, int ifindex, const char *source)
{
    struct tag tag = tag_of(me, source ? SEND_SOURCE : SEND_MULTICAST, 0);
    struct ip_mreqn mreq = { .imr_ifindex = ifindex };
    union address a, from;
    socklen_t size = make_address(&a, family == AF_INET ? "239.1.2.3" : "ff0e::1:3", 9000);
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    if (source)
        (void)bind(fd, &from.sa, make_address(&from, source, 0));
    else if (ifindex && family == AF_INET)
        (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &mreq, sizeof(mreq));
    else if (ifindex)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof(ifindex));
    (void)sendto(fd, &tag, sizeof(tag), 0, &a.sa, size);
    (void)close(fd);
}

static void send_by_links(const struct self *me, int family)
{
    char far_to[ADDRESS_TEXT_MAX], near_to[ADDRESS_TEXT_MAX], own[ADDRESS_TEXT_MAX];

    far_address(me, family, far_to);
    for (unsigned i = 0; i < me->s->n_links; i++) {
        int link = me->s->links[i];

        if (link == 0)
            continue;
        near_address(me, family, i, near_to);
        snprintf(own, sizeof(own), family == AF_INET ? "10.0.%u.2" : "fd00:%u::2", i);
        send_udp(me, SEND_UDP, near_to, 0, false, 0, 0);
        send_udp(me, SEND_DEVICE_UDP, far_to, link, false, 0, 0);
        send_udp(me, SEND_DEVICE_UDP, near_to, link, true, 0, 0);
        send_tcp(me, SEND_DEVICE_TCP, far_to, link);
        send_pktinfo(me, family, far_to, link);
        send_udp(me, SEND_DONTROUTE, near_to, 0, false, 0, MSG_DONTROUTE);
        send_multicast(me, family, link, NULL);
        send_multicast(me, family, 0, own);
    }
}

static void send_broadcasts(const struct self *me)
{
    char to[ADDRESS_TEXT_MAX];

    send_udp(me, SEND_BROADCAST, "255.255.255.255", 0, false, 0, 0);
    for (unsigned i = 0; i < me->s->n_links; i++) {
        snprintf(to, sizeof(to), "10.0.%u.255", i);
        send_udp(me, SEND_BROADCAST, to, 0, false, 0, 0);
    }
}

static void send_marked(const struct self *me, const char *to)
{
    static const uint32_t marks[] = {
        MARK_EXPLICIT | 100, MARK_EXPLICIT | 101, 100, 0xc0000, 0xc0065, 0xd0064, MARK_PROTECTED,
    };

    for (size_t i = 0; i < ELEMENTSOF(marks); i++)
        send_udp(me, SEND_MARK, to, 0, false, marks[i], 0);
}

void send_round(const struct self *me)
{
    static const int families[] = { AF_INET, AF_INET6 };
    char to[ADDRESS_TEXT_MAX];

    for (size_t f = 0; f < ELEMENTSOF(families); f++) {
        far_address(me, families[f], to);
        send_udp(me, SEND_UDP, to, 0, false, 0, 0);
        send_udp(me, SEND_UDP_CONNECTED, to, 0, true, 0, 0);
        send_tcp(me, SEND_TCP, to, 0);
        send_ping(me, families[f], to);
        send_by_links(me, families[f]);
        send_multicast(me, families[f], 0, NULL);
        send_marked(me, to);
    }
    send_broadcasts(me);
}
