/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/coalesce.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "basic/macro.h"
#include "engine/minivtun/checksum.h"
#include "engine/minivtun/offload.h"

enum {
    LOOK_BACK = 32, /* groups; streams that come in at the same time are fewer */
    LARGEST = 65535,
    IPV4_DONT_FRAGMENT = 0x4000,
};

void coalesce_reset(struct coalescer *c)
{
    c->n_packets = c->n_groups = 0;
}

/* The length in the IP header must be the packet's, with nothing in between: no options, no fragments. */
static bool read_ip(struct coalesce_group *g, const uint8_t *packet, size_t size)
{
    const uint8_t *ip = packet + g->l3;

    if (size < (size_t)g->l3 + IPV4_HEADER_MIN)
        return false;
    g->ipv4 = ip[0] >> 4 == 4;
    if (g->ipv4) {
        g->l4 = (uint16_t)(g->l3 + IPV4_HEADER_MIN);
        g->protocol = ip[IPV4_PROTOCOL];
        return ip[0] == 0x45 && load_be16(ip + IPV4_TOTAL) == size - g->l3 &&
               (load_be16(ip + IPV4_FRAGMENT) & ~IPV4_DONT_FRAGMENT) == 0;
    }
    if (ip[0] >> 4 != 6 || size < (size_t)g->l3 + IPV6_HEADER)
        return false;
    g->l4 = (uint16_t)(g->l3 + IPV6_HEADER);
    g->protocol = ip[IPV6_NEXT];
    return load_be16(ip + IPV6_PAYLOAD) == size - g->l4;
}

static bool read_l4(struct coalesce_group *g, const uint8_t *packet, size_t size)
{
    if (g->protocol == IPPROTO_UDP) {
        g->header_size = (uint16_t)(g->l4 + UDP_HEADER);
        return size >= g->header_size && load_be16(packet + g->l4 + UDP_LEN) == size - g->l4;
    }
    if (g->protocol != IPPROTO_TCP || size < (size_t)g->l4 + TCP_HEADER_MIN)
        return false;
    g->header_size = (uint16_t)(g->l4 + (packet[g->l4 + TCP_DOFF] >> 4) * 4);
    return g->header_size >= g->l4 + TCP_HEADER_MIN && size >= g->header_size;
}

/* Which stream this is of; protocol 0: of none. */
static void read_stream(const struct coalescer *c, struct coalesce_group *g, const uint8_t *packet,
                        size_t size)
{
    uint16_t type;

    g->l3 = c->tap ? ETH_HLEN : 0;
    if (c->tap && size >= ETH_HLEN) {
        type = load_be16(packet + ETH_HLEN - 2);
        if (type != ETH_P_IP && type != ETH_P_IPV6)
            return;
    }
    if (!read_ip(g, packet, size) || !read_l4(g, packet, size))
        g->protocol = 0;
}

/* May it be one of several? Looked at last: the checksum costs. */
static bool may_join(const struct coalescer *c, const struct coalesce_group *g,
                     const uint8_t *packet, size_t size)
{
    const uint8_t *l4 = packet + g->l4;
    int flags = 0;
    uint64_t sum;

    if (size == g->header_size)
        return false;
    if (g->protocol == IPPROTO_TCP)
        flags = l4[TCP_FLAGS] & ~(TCP_FLAG_PSH_BIT | TCP_FLAG_ECE_BIT);
    if (g->protocol == IPPROTO_UDP ? !c->udp || load_be16(l4 + UDP_CHECK) == 0
                                   : !c->tcp || flags != TCP_FLAG_ACK_BIT)
        return false;
    if (g->ipv4 && checksum_fold(checksum_add(0, packet + g->l3, IPV4_HEADER_MIN)) != 0xffff)
        return false;
    sum = checksum_pseudo(packet + g->l3, g->protocol, size - g->l4);
    return checksum_fold(checksum_add(sum, l4, size - g->l4)) == 0xffff;
}

static bool same_stream(const struct coalesce_group *a, const uint8_t *pa,
                        const struct coalesce_group *b, const uint8_t *pb)
{
    size_t addresses = a->ipv4 ? 12 : 8;

    return a->protocol == b->protocol && a->ipv4 == b->ipv4 && memcmp(pa, pb, a->l3) == 0 &&
           mem_equal(pa + a->l3 + addresses, pb + a->l3 + addresses, a->l4 - a->l3 - addresses) &&
           memcmp(pa + a->l4, pb + a->l4, 4) == 0;
}

/* All of the IP header but length, identification and checksum. */
static bool same_ip(const struct coalesce_group *g, const uint8_t *a, const uint8_t *b)
{
    uint16_t id_a, id_b;

    a += g->l3;
    b += g->l3;
    if (!g->ipv4)
        return memcmp(a, b, IPV6_PAYLOAD) == 0 && a[IPV6_HOP_LIMIT] == b[IPV6_HOP_LIMIT];
    id_a = load_be16(a + IPV4_ID);
    id_b = load_be16(b + IPV4_ID);
    /* one that counts, as cutting will; or none, which is allowed where nothing may fragment */
    if (id_b != (uint16_t)(id_a + g->n) &&
        (id_a != id_b || !(load_be16(a + IPV4_FRAGMENT) & IPV4_DONT_FRAGMENT)))
        return false;
    return a[1] == b[1] && memcmp(a + IPV4_FRAGMENT, b + IPV4_FRAGMENT, 4) == 0;
}

/* All of the TCP header but sequence number, PSH and checksum; and it is the next one. */
static bool next_of_tcp(const struct coalesce_group *g, const uint8_t *a, const uint8_t *b)
{
    uint32_t sent = g->size - g->header_size;

    a += g->l4;
    b += g->l4;
    return load_be32(b + TCP_SEQ) == load_be32(a + TCP_SEQ) + sent &&
           memcmp(a + TCP_ACK, b + TCP_ACK, 5) == 0 &&
           ((a[TCP_FLAGS] ^ b[TCP_FLAGS]) & ~TCP_FLAG_PSH_BIT) == 0 &&
           memcmp(a + TCP_WINDOW, b + TCP_WINDOW, 2) == 0 &&
           mem_equal(a + TCP_HEADER_MIN, b + TCP_HEADER_MIN,
                     g->header_size - g->l4 - TCP_HEADER_MIN);
}

static bool fits(const struct coalesce_group *g, const uint8_t *first,
                 const struct coalesce_group *made, const uint8_t *packet)
{
    uint32_t payload = made->size - made->header_size;

    if (!g->open || g->header_size != made->header_size || payload > g->segment_size ||
        g->n == COALESCE_GROUP_MAX || g->size - g->l3 + payload > LARGEST)
        return false;
    return same_ip(g, first, packet) &&
           (g->protocol == IPPROTO_UDP || next_of_tcp(g, first, packet));
}

static void join(struct coalescer *c, struct coalesce_group *g, uint16_t number)
{
    const struct coalesce_packet *p = &c->packets[number];
    uint8_t *first = c->packets[g->first].data;
    uint16_t payload = (uint16_t)(p->size - g->header_size);
    uint8_t push = 0;

    if (g->protocol == IPPROTO_TCP) {
        push = p->data[g->l4 + TCP_FLAGS] & TCP_FLAG_PSH_BIT;
        first[g->l4 + TCP_FLAGS] |= push;
    }
    c->packets[g->last].next = number;
    g->last = number;
    g->n++;
    g->size += payload;
    g->open = payload == g->segment_size && !push;
}

bool coalesce_add(struct coalescer *c, uint8_t *packet, uint16_t size)
{
    uint16_t number = c->n_packets;
    struct coalesce_group made = { .first = number, .last = number, .n = 1, .size = size };

    if (number == COALESCE_PACKETS_MAX)
        return false;
    c->packets[c->n_packets++] = (struct coalesce_packet){ packet, size, number };
    if (c->tcp || c->udp)
        read_stream(c, &made, packet, size);
    if (made.protocol && may_join(c, &made, packet, size)) {
        made.segment_size = (uint16_t)(size - made.header_size);
        made.open =
            made.protocol == IPPROTO_UDP || !(packet[made.l4 + TCP_FLAGS] & TCP_FLAG_PSH_BIT);
    }
    for (size_t i = 0; made.segment_size && i < MIN(c->n_groups, LOOK_BACK); i++) {
        struct coalesce_group *g = &c->groups[c->n_groups - 1 - i];
        const uint8_t *first = c->packets[g->first].data;

        if (g->protocol != made.protocol || !same_stream(g, first, &made, packet))
            continue;
        if (!fits(g, first, &made, packet))
            break;
        join(c, g, number);
        return true;
    }
    c->groups[c->n_groups++] = made;
    return true;
}

/* The header of the large packet: the kernel finds lengths and the pseudo header's sum in it. */
static void rewrite(const struct coalesce_group *g, uint8_t *first, struct virtio_net_hdr *hdr)
{
    uint8_t *ip = first + g->l3, *l4 = first + g->l4;
    size_t size = g->size - g->l3;
    uint16_t sum = 0, check = g->protocol == IPPROTO_UDP ? UDP_CHECK : TCP_CHECK;

    if (g->ipv4) {
        store_be16(ip + IPV4_TOTAL, (uint16_t)size);
        memcpy(ip + IPV4_CHECK, &sum, sizeof(sum));
        sum = checksum_finish(checksum_add(0, ip, IPV4_HEADER_MIN));
        memcpy(ip + IPV4_CHECK, &sum, sizeof(sum));
    } else {
        store_be16(ip + IPV6_PAYLOAD, (uint16_t)(size - IPV6_HEADER));
    }
    if (g->protocol == IPPROTO_UDP)
        store_be16(l4 + UDP_LEN, (uint16_t)(g->size - g->l4));
    sum = checksum_fold(checksum_pseudo(ip, g->protocol, g->size - g->l4));
    memcpy(l4 + check, &sum, sizeof(sum));
    *hdr = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = g->protocol == IPPROTO_UDP ? VIRTIO_NET_HDR_GSO_UDP_L4
                    : g->ipv4                  ? VIRTIO_NET_HDR_GSO_TCPV4
                                               : VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = g->header_size,
        .gso_size = g->segment_size,
        .csum_start = g->l4,
        .csum_offset = check,
    };
}

size_t coalesce_take(struct coalescer *c, size_t number, struct virtio_net_hdr *hdr,
                     struct iovec iov[static COALESCE_IOV_MAX])
{
    const struct coalesce_group *g = &c->groups[number];
    const struct coalesce_packet *p = &c->packets[g->first];
    size_t n = 0;

    *hdr = (struct virtio_net_hdr){ 0 };
    iov[n++] = (struct iovec){ hdr, sizeof(*hdr) };
    iov[n++] = (struct iovec){ p->data, p->size };
    if (g->n == 1)
        return n;
    rewrite(g, p->data, hdr);
    while (p->next != (uint16_t)(p - c->packets)) {
        p = &c->packets[p->next];
        iov[n++] = (struct iovec){ p->data + g->header_size, p->size - g->header_size };
    }
    return n;
}
