/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* What was seen leaving: whose is it, and how was it sent? */

#include <arpa/inet.h>
#include <linux/if_packet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <time.h>

#include "property/senders-internal.h"

/* An IP packet in parts. */
struct packet {
    int family;
    uint8_t protocol;
    const uint8_t *dst; /* address */
    const uint8_t *payload;
    size_t size; /* of the payload */
};

/* By far_address() and near_address(). */
static unsigned sender_of_address(const struct packet *p)
{
    if (p->family == AF_INET)
        return p->dst[0] == 198 ? p->dst[2] - 1U : p->dst[3] - 100U;
    return p->dst[0] == 0x20 ? (p->dst[4] << 8U | p->dst[5]) - 1U : p->dst[15] - 100U;
}

static bool parse_tcp(const struct packet *p, struct seen *ret, unsigned *ret_sender)
{
    const struct tcphdr *tcp = (const void *)p->payload;
    unsigned port;

    if (p->size < sizeof(*tcp))
        return false;
    ret->mark = 0;
    port = ntohs(tcp->dest);
    if (port >= PORT_HELD && port < PORT_HELD + SEND_KIND_MAX) {
        *ret_sender = sender_of_address(p);
        ret->kind = (enum send_kind)(port - PORT_HELD);
        return true;
    }
    if (port < PORT_REFUSED || port >= PORT_REFUSED + SENDERS_MAX * PORTS_PER_SENDER)
        return false;
    *ret_sender = (port - PORT_REFUSED) / PORTS_PER_SENDER;
    ret->kind = (enum send_kind)((port - PORT_REFUSED) % PORTS_PER_SENDER);
    return true;
}

static bool parse_datagram(const struct packet *p, struct seen *ret, unsigned *ret_sender)
{
    const size_t skip = 8; /* the header of UDP and of ICMP echo */
    struct tag tag;

    if (p->size < skip + sizeof(tag))
        return false;
    memcpy(&tag, p->payload + skip, sizeof(tag));
    if (tag.magic != SENDER_MAGIC || tag.kind >= SEND_KIND_MAX)
        return false;
    *ret_sender = tag.sender;
    ret->kind = (enum send_kind)tag.kind;
    ret->mark = tag.mark;
    return true;
}

static bool parse_ip(const uint8_t *bytes, size_t size, struct packet *ret)
{
    const struct iphdr *ip = (const void *)bytes;
    const struct ip6_hdr *ip6 = (const void *)bytes;
    size_t header;

    if (size >= sizeof(*ip) && ip->version == 4 && size >= ip->ihl * 4U) {
        header = ip->ihl * 4U;
        *ret = (struct packet){ AF_INET, ip->protocol, (const void *)&ip->daddr, bytes + header,
                                size - header };
        return true;
    }
    if (size >= sizeof(*ip6) && ip->version == 6) {
        header = sizeof(*ip6);
        *ret = (struct packet){ AF_INET6, ip6->ip6_nxt, ip6->ip6_dst.s6_addr, bytes + header,
                                size - header };
        return true;
    }
    return false;
}

static bool parse_packet(const uint8_t *bytes, size_t size, struct seen *ret, unsigned *ret_sender)
{
    struct packet p;

    if (!parse_ip(bytes, size, &p))
        return false;
    ret->family = p.family;
    ret->dst = ip_addr_make(p.family, p.dst, ip_family_bits(p.family) / 8);
    switch (p.protocol) {
    case IPPROTO_TCP:
        return parse_tcp(&p, ret, ret_sender);
    case IPPROTO_UDP:
    case IPPROTO_ICMP:
    case IPPROTO_ICMPV6:
        return parse_datagram(&p, ret, ret_sender);
    default:
        return false;
    }
}

static usec_t usec_of(const struct timespec *t)
{
    return (usec_t)t->tv_sec * USEC_PER_SEC + (usec_t)t->tv_nsec / 1000;
}

usec_t senders_now(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return usec_of(&now);
}

/* SO_TIMESTAMPNS: when the packet passed the capture, not when it was read. */
static usec_t time_of(struct msghdr *msg)
{
    struct timespec t = { 0 };

    for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c))
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SO_TIMESTAMPNS)
            memcpy(&t, CMSG_DATA(c), sizeof(t));
    return usec_of(&t);
}

static bool find_link(const struct senders *s, int ifindex, unsigned *ret)
{
    for (unsigned i = 0; i < s->n_links; i++)
        if (ifindex != 0 && s->links[i] == ifindex) {
            *ret = i;
            return true;
        }
    return false;
}

bool senders_next(struct senders *s, struct seen *ret)
{
    uint8_t bytes[2048] __attribute__((aligned(8)));
    union {
        char buf[CMSG_SPACE(sizeof(struct timespec))];
        struct cmsghdr align;
    } control;

    for (;;) {
        struct sockaddr_ll from = { 0 };
        struct iovec iov = { bytes, sizeof(bytes) };
        struct msghdr msg = {
            .msg_name = &from,
            .msg_namelen = sizeof(from),
            .msg_iov = &iov,
            .msg_iovlen = 1,
            .msg_control = control.buf,
            .msg_controllen = sizeof(control.buf),
        };
        ssize_t n = recvmsg(s->capture, &msg, 0);
        unsigned sender;

        if (n < 0)
            return false;
        if (from.sll_pkttype != PACKET_OUTGOING || !find_link(s, from.sll_ifindex, &ret->link) ||
            !parse_packet(bytes, (size_t)n, ret, &sender) || sender >= s->n)
            continue;
        ret->uid = s->items[sender].uid;
        ret->ifindex = from.sll_ifindex;
        ret->when = time_of(&msg);
        return true;
    }
}
