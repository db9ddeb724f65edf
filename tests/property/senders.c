/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/senders.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/log.h"
#include "model/mark.h"

#define MAGIC 0x57617921U /* what our datagrams begin with */

/* In every datagram; a SYN has no payload, its ports say the same. */
struct tag {
    uint32_t magic;
    uint32_t sender; /* index */
    uint32_t kind;
    uint32_t mark;
};

const char *send_kind_to_string(enum send_kind kind)
{
    static const char *const names[SEND_KIND_MAX] = {
        [SEND_UDP] = "udp",
        [SEND_UDP_CONNECTED] = "udp connected",
        [SEND_TCP] = "tcp",
        [SEND_PING] = "ping",
        [SEND_DEVICE_UDP] = "SO_BINDTODEVICE udp",
        [SEND_DEVICE_TCP] = "SO_BINDTODEVICE tcp",
        [SEND_PKTINFO] = "PKTINFO",
        [SEND_DONTROUTE] = "MSG_DONTROUTE",
        [SEND_MULTICAST] = "multicast",
        [SEND_SOURCE] = "multicast by source",
        [SEND_BROADCAST] = "broadcast",
        [SEND_MARK] = "SO_MARK",
    };

    return names[kind];
}

/* What one process needs to know while it sends. */
struct self {
    const struct senders *s;
    unsigned index;
};

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

static socklen_t make_address(union address *a, const char *text, uint16_t port, int scope)
{
    memset(a, 0, sizeof(*a));
    if (strchr(text, ':')) {
        a->in6.sin6_family = AF_INET6;
        a->in6.sin6_port = htons(port);
        a->in6.sin6_scope_id = (uint32_t)scope;
        (void)inet_pton(AF_INET6, text, &a->in6.sin6_addr);
        return sizeof(a->in6);
    }
    a->in.sin_family = AF_INET;
    a->in.sin_port = htons(port);
    (void)inet_pton(AF_INET, text, &a->in.sin_addr);
    return sizeof(a->in);
}

/* Far away, and on the subnet of link i: addresses that only this sender uses. */
static void far_address(const struct self *me, int family, char buf[static 64])
{
    snprintf(buf, 64, family == AF_INET ? "198.18.%u.7" : "2001:db8:%x::7", me->index + 1);
}

static void near_address(const struct self *me, int family, unsigned link, char buf[static 64])
{
    snprintf(buf, 64, family == AF_INET ? "10.0.%u.%u" : "fd00:%u::%x", link, 100 + me->index);
}

static struct tag tag_of(const struct self *me, enum send_kind kind, uint32_t mark)
{
    return (struct tag){ MAGIC, me->index, kind, mark };
}

static void set_device(int fd, int ifindex)
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
    socklen_t size = make_address(&a, to, 9000, 0);
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
    socklen_t size = make_address(&a, to, (uint16_t)(20000 + me->index * 64 + kind), 0);
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
    socklen_t size = make_address(&a, to, 0, 0);
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
    socklen_t size = make_address(&a, to, 9000, 0);
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
    socklen_t size = make_address(&a, family == AF_INET ? "239.1.2.3" : "ff0e::1:3", 9000, 0);
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    if (source)
        (void)bind(fd, &from.sa, make_address(&from, source, 0, 0));
    else if (ifindex && family == AF_INET)
        (void)setsockopt(fd, IPPROTO_IP, IP_MULTICAST_IF, &mreq, sizeof(mreq));
    else if (ifindex)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_MULTICAST_IF, &ifindex, sizeof(ifindex));
    (void)sendto(fd, &tag, sizeof(tag), 0, &a.sa, size);
    (void)close(fd);
}

static void send_by_links(const struct self *me, int family)
{
    char far_to[64], near_to[64], own[64];

    far_address(me, family, far_to);
    for (unsigned i = 0; i < me->s->n_links; i++) {
        int link = me->s->links[i];

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
    char to[64];

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

static void send_round(const struct self *me)
{
    static const int families[] = { AF_INET, AF_INET6 };
    char to[64];

    for (size_t f = 0; f < ELEMENTSOF(families); f++) {
        far_address(me, families[f], to);
        send_udp(me, SEND_UDP, to, 0, false, 0, 0);
        send_udp(me, SEND_UDP_CONNECTED, to, 0, true, 0, 0);
        send_tcp(me, SEND_TCP, to, 0);
        send_ping(me, families[f], to);
        send_by_links(me, families[f]);
        send_multicast(me, families[f], 0, NULL);
        if (me->s->items[me->index].uid == 0)
            send_marked(me, to);
    }
    send_broadcasts(me);
}

_noreturn_ static void sender_main(const struct self *me, int in, int out)
{
    uint32_t uid = me->s->items[me->index].uid;
    char c;

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (setgroups(0, NULL) < 0 || setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0)
        _exit(1);
    while (read(in, &c, 1) == 1) {
        send_round(me);
        if (write(out, &c, 1) != 1)
            break;
    }
    _exit(0);
}

static void start_one(struct senders *s, unsigned index)
{
    struct self me = { .s = s, .index = index };
    int to[2], from[2];

    if (pipe2(to, O_CLOEXEC) < 0 || pipe2(from, O_CLOEXEC) < 0)
        abort();
    s->items[index].pid = fork();
    if (s->items[index].pid < 0)
        abort();
    if (s->items[index].pid == 0) {
        (void)close(to[1]); /* or it would never see the end of its input */
        sender_main(&me, to[0], from[1]);
    }
    (void)close(to[0]);
    (void)close(from[1]);
    s->items[index].to = to[1];
    s->items[index].from = from[0];
}

void senders_start(struct senders *s, const struct kernel *k, const uint32_t *uids, unsigned n)
{
    int size = 32 << 20;

    memset(s, 0, sizeof(*s));
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        char name[IFNAMSIZ];
        const struct rtnl_link *link;

        snprintf(name, sizeof(name), "eth%u", i);
        link = kernel_link_by_name(k, name);
        if (link)
            s->links[s->n_links++] = link->ifindex;
    }
    s->capture = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_ALL));
    if (s->capture < 0)
        abort();
    (void)setsockopt(s->capture, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    s->n = n;
    for (unsigned i = 0; i < n; i++)
        s->items[i].uid = uids[i];
    for (unsigned i = 0; i < n; i++)
        start_one(s, i);
}

void senders_stop(struct senders *s)
{
    /* a later process holds copies of the pipes of earlier ones: all are closed before any is waited for */
    for (unsigned i = 0; i < s->n; i++) {
        (void)close(s->items[i].to);
        (void)close(s->items[i].from);
    }
    for (unsigned i = 0; i < s->n; i++)
        (void)waitpid(s->items[i].pid, NULL, 0);
    (void)close(s->capture);
}

void senders_round(struct senders *s)
{
    char c = 0;

    for (unsigned i = 0; i < s->n; i++)
        if (write(s->items[i].to, &c, 1) != 1)
            abort();
    for (unsigned i = 0; i < s->n; i++)
        if (read(s->items[i].from, &c, 1) != 1)
            abort();
}

/* Whose SYN is this? By its destination port. */
static bool parse_syn(const uint8_t *p, size_t size, struct seen *ret, unsigned *ret_sender)
{
    const struct tcphdr *tcp = (const void *)p;
    unsigned port;

    if (size < sizeof(*tcp) || !tcp->syn)
        return false;
    port = ntohs(tcp->dest);
    if (port < 20000 || port >= 20000 + SENDERS_MAX * 64)
        return false;
    *ret_sender = (port - 20000) / 64;
    ret->kind = (enum send_kind)((port - 20000) % 64);
    ret->mark = 0;
    return true;
}

static bool parse_payload(const uint8_t *p, size_t size, size_t skip, struct seen *ret,
                          unsigned *ret_sender)
{
    struct tag tag;

    if (size < skip + sizeof(tag))
        return false;
    memcpy(&tag, p + skip, sizeof(tag));
    if (tag.magic != MAGIC || tag.kind >= SEND_KIND_MAX)
        return false;
    *ret_sender = tag.sender;
    ret->kind = (enum send_kind)tag.kind;
    ret->mark = tag.mark;
    return true;
}

static bool parse_transport(uint8_t protocol, const uint8_t *p, size_t size, struct seen *ret,
                            unsigned *ret_sender)
{
    switch (protocol) {
    case IPPROTO_TCP:
        return parse_syn(p, size, ret, ret_sender);
    case IPPROTO_UDP:
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return parse_payload(p, size, 8, ret, ret_sender);
    default:
        return false;
    }
}

static bool parse_packet(const uint8_t *p, size_t size, struct seen *ret, unsigned *ret_sender)
{
    const struct iphdr *ip = (const void *)p;
    const struct ip6_hdr *ip6 = (const void *)p;

    if (size >= sizeof(*ip) && ip->version == 4 && size >= ip->ihl * 4U) {
        ret->family = AF_INET;
        return parse_transport(ip->protocol, p + ip->ihl * 4U, size - ip->ihl * 4U, ret,
                               ret_sender);
    }
    if (size >= sizeof(*ip6) && ip->version == 6) {
        ret->family = AF_INET6;
        return parse_transport(ip6->ip6_nxt, p + sizeof(*ip6), size - sizeof(*ip6), ret,
                               ret_sender);
    }
    return false;
}

bool senders_next(struct senders *s, struct seen *ret)
{
    uint8_t buf[2048] __attribute__((aligned(8)));

    for (;;) {
        struct sockaddr_ll from = { 0 };
        socklen_t size = sizeof(from);
        ssize_t n = recvfrom(s->capture, buf, sizeof(buf), 0, (struct sockaddr *)&from, &size);
        unsigned sender;
        bool ours = false;

        if (n < 0)
            return false;
        for (unsigned i = 0; i < s->n_links; i++)
            ours |= s->links[i] == from.sll_ifindex;
        if (!ours || from.sll_pkttype != PACKET_OUTGOING ||
            !parse_packet(buf, (size_t)n, ret, &sender) || sender >= s->n)
            continue;
        ret->uid = s->items[sender].uid;
        ret->ifindex = from.sll_ifindex;
        return true;
    }
}
