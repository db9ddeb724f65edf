/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/udp.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netinet/udp.h>
#include <stdio.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "basic/parse.h"
#include "wire/minivtun.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    OUT_SIZE = 1 << 20,
    OUT_GROUPS = 64,
    GROUP_MAX = 64,      /* UDP_MAX_SEGMENTS of Linux 4.18 to 6.5 */
    GROUP_BYTES = 65000, /* what fits into an IP packet, headers and all */
    IN_SIZE = 1 << 20,
    IN_DATAGRAMS = 128,      /* per recvmmsg(2) */
    IN_LARGE = 65536,        /* what UDP_GRO may hand out */
    SOCKET_BUFFER = 4 << 20, /* bursts are large: a TCP window per stream */
};

/* Messages that lie behind each other and are one datagram to the kernel. */
struct group {
    struct endpoint to;
    uint32_t start, size;
    uint16_t segment, n;
    bool open; /* more may follow */
};

/* The size of segments, and our address. */
struct control {
    _Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(int)) +
                                        CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

struct udp {
    int fd;
    bool batch, gso, gro, blocked;
    bool pktinfo;         /* bound to no address of its own */
    uint16_t gso_largest; /* segments above this size the path does not take */
    uint8_t *out, *in;
    uint32_t out_used;
    uint16_t n_groups, n_sent;
    struct group groups[OUT_GROUPS];
    struct mmsghdr messages[IN_DATAGRAMS];
    struct iovec iovs[IN_DATAGRAMS];
    struct control controls[IN_DATAGRAMS];
    struct endpoint from[IN_DATAGRAMS];
};

const char *endpoint_format(const struct endpoint *e, char buf[static ENDPOINT_TEXT_MAX])
{
    char address[INET6_ADDRSTRLEN] = "?";

    if (e->sa.sa_family == AF_INET) {
        inet_ntop(AF_INET, &e->in.sin_addr, address, sizeof(address));
        snprintf(buf, ENDPOINT_TEXT_MAX, "%s:%u", address, ntohs(e->in.sin_port));
    } else if (IN6_IS_ADDR_V4MAPPED(&e->in6.sin6_addr)) {
        inet_ntop(AF_INET, &e->in6.sin6_addr.s6_addr[12], address, sizeof(address));
        snprintf(buf, ENDPOINT_TEXT_MAX, "%s:%u", address, ntohs(e->in6.sin6_port));
    } else {
        inet_ntop(AF_INET6, &e->in6.sin6_addr, address, sizeof(address));
        snprintf(buf, ENDPOINT_TEXT_MAX, "[%s]:%u", address, ntohs(e->in6.sin6_port));
    }
    return buf;
}

bool endpoint_equal(const struct endpoint *a, const struct endpoint *b)
{
    if (a->sa.sa_family != b->sa.sa_family)
        return false;
    if (a->sa.sa_family == AF_INET)
        return a->in.sin_port == b->in.sin_port && a->in.sin_addr.s_addr == b->in.sin_addr.s_addr;
    return a->in6.sin6_port == b->in6.sin6_port && a->in6.sin6_scope_id == b->in6.sin6_scope_id &&
           memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof(a->in6.sin6_addr)) == 0;
}

static int parse_scope(const char *scope, uint32_t *ret)
{
    if (parse_u32(scope, UINT32_MAX, ret) == 0)
        return 0;
    *ret = if_nametoindex(scope);
    return *ret ? 0 : -ENODEV;
}

int endpoint_parse(const char *address, uint16_t port, struct endpoint *ret)
{
    struct endpoint e = { 0 };
    char plain[INET6_ADDRSTRLEN];
    const char *percent = strchr(address, '%');
    int r;

    if (percent) {
        if ((size_t)(percent - address) >= sizeof(plain))
            return -EINVAL;
        memcpy(plain, address, (size_t)(percent - address));
        plain[percent - address] = '\0';
        r = endpoint_parse(plain, port, &e);
        if (r < 0 || e.sa.sa_family != AF_INET6)
            return -EINVAL;
        r = parse_scope(percent + 1, &e.in6.sin6_scope_id);
        if (r < 0)
            return r;
    } else if (inet_pton(AF_INET, address, &e.in.sin_addr) == 1) {
        e.in.sin_family = AF_INET;
        e.in.sin_port = htons(port);
        e.len = sizeof(e.in);
    } else if (inet_pton(AF_INET6, address, &e.in6.sin6_addr) == 1) {
        e.in6.sin6_family = AF_INET6;
        e.in6.sin6_port = htons(port);
        e.len = sizeof(e.in6);
    } else {
        return -EINVAL;
    }
    *ret = e;
    return 0;
}

int udp_new(bool batch, struct udp **ret)
{
    _cleanup_(udp_freep) struct udp *u = calloc(1, sizeof(*u));

    if (!u)
        return -ENOMEM;
    u->fd = -1;
    u->batch = batch;
    u->out = malloc(OUT_SIZE);
    u->in = malloc(IN_SIZE);
    if (!u->out || !u->in)
        return -ENOMEM;
    *ret = TAKE_PTR(u);
    return 0;
}

struct udp *udp_free(struct udp *u)
{
    if (!u)
        return NULL;
    if (u->fd >= 0)
        (void)close(u->fd);
    free(u->out);
    free(u->in);
    free(u);
    return NULL;
}

int udp_socket(int family)
{
    const int off = 0, size = SOCKET_BUFFER;
    int fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    /* "[::]" hears IPv4, too. */
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
    /* the second is for who may not exceed the limit of the system: as much as that is */
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    return fd;
}

static void outbox_clear(struct udp *u)
{
    u->out_used = 0;
    u->n_groups = u->n_sent = 0;
    u->blocked = false;
}

static void ask_for_local(struct udp *u)
{
    const int on = 1;
    struct endpoint own = { .len = sizeof(own.in6) };
    struct ip_addr a = { 0 };

    u->pktinfo = false;
    if (getsockname(u->fd, &own.sa, &own.len) < 0)
        return;
    if (own.sa.sa_family == AF_INET)
        a = ip_addr_make(AF_INET, &own.in.sin_addr, 4);
    else
        a = ip_addr_make(AF_INET6, &own.in6.sin6_addr, 16);
    if (!ip_addr_is_any(&a))
        return;
    if (a.family == AF_INET)
        u->pktinfo = setsockopt(u->fd, IPPROTO_IP, IP_PKTINFO, &on, sizeof(on)) == 0;
    else
        u->pktinfo = setsockopt(u->fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) == 0;
}

void udp_use(struct udp *u, int fd)
{
    const int on = 1;
    int zero = 0;

    if (u->fd >= 0)
        (void)close(u->fd);
    u->fd = fd;
    outbox_clear(u);
    if (fd < 0)
        return;
    /* a kernel that does not know one of them does without */
    u->gro = u->batch && setsockopt(fd, SOL_UDP, UDP_GRO, &on, sizeof(on)) == 0;
    u->gso = u->batch && setsockopt(fd, SOL_UDP, UDP_SEGMENT, &zero, sizeof(zero)) == 0;
    u->gso_largest = UINT16_MAX;
    ask_for_local(u);
}

int udp_fd(const struct udp *u)
{
    return u->fd;
}

bool udp_blocked(const struct udp *u)
{
    return u->blocked;
}

uint8_t *udp_room(struct udp *u, size_t size)
{
    /* early, so that there is room for the rest of a large packet when the socket does not take it */
    if (!u->blocked && (u->n_groups > OUT_GROUPS / 2 || u->out_used > OUT_SIZE / 2))
        (void)udp_flush(u);
    if (u->n_groups == OUT_GROUPS || u->out_used + size > OUT_SIZE)
        return NULL;
    return u->out + u->out_used;
}

void udp_push(struct udp *u, const struct endpoint *to, size_t size)
{
    struct group *g = u->n_groups > u->n_sent ? &u->groups[u->n_groups - 1] : NULL;
    static const struct endpoint connected;

    if (!to)
        to = &connected;
    if (u->gso && g && g->open && size <= g->segment && g->segment <= u->gso_largest &&
        g->n < GROUP_MAX && g->size + size <= GROUP_BYTES && g->to.len == to->len &&
        (to->len == 0 || (endpoint_equal(&g->to, to) && ip_addr_equal(&g->to.local, &to->local)))) {
        g->n++;
        g->size += (uint32_t)size;
        g->open = size == g->segment;
    } else {
        u->groups[u->n_groups++] =
            (struct group){ *to, u->out_used, (uint32_t)size, (uint16_t)size, 1, true };
    }
    u->out_used += (uint32_t)size;
    if (!u->batch)
        (void)udp_flush(u);
}

/* Behind those that are there. */
static void add_control(struct msghdr *m, struct control *control, int level, int type,
                        const void *data, size_t size)
{
    struct cmsghdr *c = (struct cmsghdr *)(control->bytes + m->msg_controllen);

    memset(c, 0, CMSG_SPACE(size));
    c->cmsg_level = level;
    c->cmsg_type = type;
    c->cmsg_len = CMSG_LEN(size);
    memcpy(CMSG_DATA(c), data, size);
    m->msg_control = control->bytes;
    m->msg_controllen += CMSG_SPACE(size);
}

static void group_message(struct udp *u, struct group *g, unsigned i)
{
    struct msghdr *m = &u->messages[i].msg_hdr;
    struct in_pktinfo info4 = { 0 };
    struct in6_pktinfo info6 = { 0 };

    u->iovs[i] = (struct iovec){ u->out + g->start, g->size };
    *m = (struct msghdr){
        .msg_iov = &u->iovs[i],
        .msg_iovlen = 1,
        .msg_name = g->to.len ? &g->to : NULL,
        .msg_namelen = g->to.len,
    };
    if (g->n > 1)
        add_control(m, &u->controls[i], SOL_UDP, UDP_SEGMENT, &g->segment, sizeof(g->segment));
    if (g->to.local.family == AF_INET) {
        memcpy(&info4.ipi_spec_dst, g->to.local.bytes, sizeof(info4.ipi_spec_dst));
        add_control(m, &u->controls[i], IPPROTO_IP, IP_PKTINFO, &info4, sizeof(info4));
    } else if (g->to.local.family == AF_INET6) {
        memcpy(&info6.ipi6_addr, g->to.local.bytes, sizeof(info6.ipi6_addr));
        add_control(m, &u->controls[i], IPPROTO_IPV6, IPV6_PKTINFO, &info6, sizeof(info6));
    }
}

/* A path that does not take segments of this size gets its datagrams one by one. */
static void send_singly(struct udp *u, const struct group *g)
{
    for (uint32_t at = 0; at < g->size; at += g->segment) {
        struct group one = *g;

        one.n = 1;
        one.start += at;
        one.size = MIN(g->segment, g->size - at);
        group_message(u, &one, 0);
        (void)sendmsg(u->fd, &u->messages[0].msg_hdr, 0);
    }
}

/* The first group that was not sent, and why. True: go on behind it. */
static bool skip_failed(struct udp *u, int error)
{
    const struct group *g = &u->groups[u->n_sent];

    if (error == EINTR)
        return true;
    if (error == EAGAIN) {
        u->blocked = true;
        return false;
    }
    if (g->n > 1 && (error == EINVAL || error == EMSGSIZE))
        u->gso_largest = MIN(u->gso_largest, (uint16_t)(g->segment - 1));
    if (g->n > 1 && error == EIO)
        u->gso = false; /* the device has no checksums */
    if (g->n > 1 && (error == EINVAL || error == EMSGSIZE || error == EIO))
        send_singly(u, g);
    u->n_sent++; /* else it is lost: no route, refused, … as on any link */
    return true;
}

int udp_flush(struct udp *u)
{
    u->blocked = false;
    while (u->fd >= 0 && u->n_sent < u->n_groups) {
        unsigned n = u->n_groups - u->n_sent;
        int sent;

        for (unsigned i = 0; i < n; i++)
            group_message(u, &u->groups[u->n_sent + i], i);
        sent = sendmmsg(u->fd, u->messages, n, 0);
        if (sent < 0 && !skip_failed(u, errno))
            return -EAGAIN;
        if (sent > 0)
            u->n_sent += (uint16_t)sent;
    }
    outbox_clear(u);
    return 0;
}

/* To which of our addresses it came: one that we can answer from. */
static void read_local(struct cmsghdr *c, struct endpoint *from)
{
    struct in_pktinfo info4;
    struct in6_pktinfo info6;

    if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
        memcpy(&info4, CMSG_DATA(c), sizeof(info4));
        from->local = ip_addr_make(AF_INET, &info4.ipi_spec_dst, 4);
    } else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
        memcpy(&info6, CMSG_DATA(c), sizeof(info6));
        from->local = ip_addr_make(AF_INET6, &info6.ipi6_addr, 16);
        if (ip_addr_is_multicast(&from->local))
            from->local = (struct ip_addr){ 0 };
    }
}

static uint16_t read_control(struct msghdr *m, size_t size, struct endpoint *from)
{
    int segment = 0;

    from->local = (struct ip_addr){ 0 };
    for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO)
            memcpy(&segment, CMSG_DATA(c), sizeof(segment));
        else
            read_local(c, from);
    }
    return segment > 0 ? (uint16_t)segment : (uint16_t)MIN(size, UINT16_MAX);
}

static void deliver(struct udp *u, unsigned i, udp_receiver receiver, void *data)
{
    struct msghdr *m = &u->messages[i].msg_hdr;
    size_t size = u->messages[i].msg_len;
    uint16_t segment = read_control(m, size, &u->from[i]);
    uint8_t *bytes = m->msg_iov->iov_base;

    /* not handled: what is larger than any message; what is cut off is broken */
    if ((m->msg_flags & MSG_TRUNC) || size == 0 || segment > MINIVTUN_MESSAGE_MAX)
        return;
    u->from[i].len = m->msg_namelen;
    for (size_t at = 0; at < size; at += segment)
        receiver(data, &u->from[i], bytes + at, MIN(segment, size - at));
}

int udp_receive(struct udp *u, udp_receiver receiver, void *data)
{
    size_t each = u->gro ? IN_LARGE : MINIVTUN_MESSAGE_MAX;
    unsigned wanted = u->batch ? MIN((unsigned)(IN_SIZE / each), (unsigned)IN_DATAGRAMS) : 1;
    int n;

    for (unsigned i = 0; i < wanted; i++) {
        u->iovs[i] = (struct iovec){ u->in + i * each, each };
        u->messages[i].msg_hdr = (struct msghdr){
            .msg_name = &u->from[i],
            .msg_namelen = sizeof(struct sockaddr_in6),
            .msg_iov = &u->iovs[i],
            .msg_iovlen = 1,
            .msg_control = u->controls[i].bytes,
            .msg_controllen = u->gro || u->pktinfo ? sizeof(u->controls[i].bytes) : 0,
        };
    }
    n = recvmmsg(u->fd, u->messages, wanted, MSG_DONTWAIT, NULL);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    for (int i = 0; i < n; i++)
        deliver(u, (unsigned)i, receiver, data);
    return 0;
}
