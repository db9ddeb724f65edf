/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/engine/minivtun: segment, coalesce, checksum. What is cut must be what a network card would send,
 * judged by a second implementation of the checksum; what is joined must be cut again to the same bytes.
 */

#include "unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

#include "engine/minivtun/checksum.h"
#include "engine/minivtun/coalesce.h"
#include "engine/minivtun/offload.h"
#include "engine/minivtun/segment.h"

enum { ROOM = 70000, PARTS = 80, PART_ROOM = 9000 };

/* A large packet, as the kernel hands it out: its checksum is the sum of the pseudo header. */
struct shape {
    const char *name;
    bool ipv4, tap, udp;
    uint8_t options;       /* bytes of TCP options */
    uint8_t flags;         /* of TCP */
    uint32_t payload, mss; /* bytes */
};

struct large {
    struct virtio_net_hdr hdr;
    size_t size, l3, l4, header;
    uint8_t bytes[ROOM];
};

struct parts {
    size_t n, sizes[PARTS];
    uint8_t bytes[PARTS][PART_ROOM];
};

/* clang-format off */
static const struct shape shapes[] = {
    { "IPv4 TCP", true, false, false, 12, 0x10, 30000, 1248 },
    { "IPv6 TCP", false, false, false, 12, 0x10, 30000, 1228 },
    { "IPv4 TCP with PSH, FIN", true, false, false, 0, 0x19, 5000, 1000 },
    { "IPv4 TCP with CWR, ECE", true, false, false, 0, 0xd0, 5000, 1000 },
    { "IPv4 TCP, nothing is left over", true, false, false, 12, 0x18, 4000, 1000 },
    { "IPv4 TCP, odd", true, false, false, 12, 0x10, 4001, 999 },
    { "IPv6 TCP, one byte is left over", false, false, false, 20, 0x10, 3001, 1000 },
    { "IPv4 TCP, one part", true, false, false, 12, 0x18, 100, 1000 },
    { "IPv4 TCP, the largest", true, false, false, 40, 0x10, 65535 - 80, 1448 },
    { "frame, IPv4 TCP", true, true, false, 12, 0x10, 20000, 1248 },
    { "frame, IPv6 TCP", false, true, false, 12, 0x18, 20000, 1228 },
    { "IPv4 UDP", true, false, true, 0, 0, 9001, 1000 },
    { "IPv6 UDP", false, false, true, 0, 0, 9001, 1001 },
};
/* clang-format on */

/* RFC 1071 word by word, big endian, in another way than checksum.c: the folded sum. */
static uint16_t slow_sum(const uint8_t *p, size_t size, uint32_t sum)
{
    for (size_t i = 0; i < size; i++)
        sum += i % 2 ? p[i] : (uint32_t)p[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}

static uint16_t slow_pseudo(const uint8_t *ip, bool ipv4, uint8_t protocol, size_t size)
{
    uint32_t sum = slow_sum(ipv4 ? ip + 12 : ip + 8, ipv4 ? 8 : 32, 0);

    return slow_sum(NULL, 0, sum + protocol + (uint32_t)size);
}

static bool checksums_are_right(const struct large *l, const uint8_t *p, size_t size, bool ipv4,
                                uint8_t protocol)
{
    const uint8_t *ip = p + l->l3;

    if (ipv4 && slow_sum(ip, IPV4_HEADER_MIN, 0) != 0xffff)
        return false;
    return slow_sum(p + l->l4, size - l->l4, slow_pseudo(ip, ipv4, protocol, size - l->l4)) ==
           0xffff;
}

static void put_ip(struct large *l, const struct shape *s, uint8_t protocol)
{
    uint8_t *ip = l->bytes + l->l3;

    for (size_t i = 0; i < 32; i++)
        ip[8 + i] = (uint8_t)(i * 7 + 1); /* addresses */
    if (!s->ipv4) {
        store_be32(ip, 0x60012345);
        store_be16(ip + IPV6_PAYLOAD, (uint16_t)(l->size - l->l4));
        ip[IPV6_NEXT] = protocol;
        ip[IPV6_HOP_LIMIT] = 64;
        return;
    }
    store_be16(ip, 0x4510);
    store_be16(ip + IPV4_TOTAL, (uint16_t)(l->size - l->l3));
    store_be16(ip + IPV4_ID, 0xfff0); /* wraps */
    store_be16(ip + IPV4_FRAGMENT, 0x4000);
    ip[IPV4_TTL] = 63;
    ip[IPV4_PROTOCOL] = protocol;
    store_be16(ip + IPV4_CHECK, 0);
    store_be16(ip + IPV4_CHECK, (uint16_t)~slow_sum(ip, IPV4_HEADER_MIN, 0));
}

static void make_large(struct large *l, const struct shape *s)
{
    uint8_t protocol = s->udp ? IPPROTO_UDP : IPPROTO_TCP, *l4;
    size_t check = s->udp ? UDP_CHECK : TCP_CHECK;

    memset(l, 0, sizeof(*l));
    l->l3 = s->tap ? 14 : 0;
    l->l4 = l->l3 + (s->ipv4 ? IPV4_HEADER_MIN : IPV6_HEADER);
    l->header = l->l4 + (s->udp ? UDP_HEADER : TCP_HEADER_MIN + s->options);
    l->size = l->header + s->payload;
    for (size_t i = 0; i < l->size; i++)
        l->bytes[i] = (uint8_t)(i * 31 + i / 251);
    if (s->tap)
        store_be16(l->bytes + 12, s->ipv4 ? 0x0800 : 0x86dd);
    put_ip(l, s, protocol);
    l4 = l->bytes + l->l4;
    if (s->udp) {
        store_be16(l4 + UDP_LEN, (uint16_t)(l->size - l->l4));
    } else {
        store_be32(l4 + TCP_SEQ, 0xfffffc00); /* wraps */
        l4[TCP_DOFF] = (uint8_t)((TCP_HEADER_MIN + s->options) / 4 << 4);
        l4[TCP_FLAGS] = s->flags;
    }
    store_be16(l4 + check, slow_pseudo(l->bytes + l->l3, s->ipv4, protocol, l->size - l->l4));
    l->hdr = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = s->udp    ? VIRTIO_NET_HDR_GSO_UDP_L4
                    : s->ipv4 ? VIRTIO_NET_HDR_GSO_TCPV4
                              : VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = (uint16_t)l->header,
        .gso_size = (uint16_t)s->mss,
        .csum_start = (uint16_t)l->l4,
        .csum_offset = (uint16_t)check,
    };
}

static int cut(const struct large *l, bool tap, struct parts *p)
{
    struct segmenter s;
    ssize_t n;
    int r = segment_begin(&s, &l->hdr, l->bytes, l->size, tap);

    p->n = 0;
    if (r < 0)
        return r;
    while (p->n < PARTS && (n = segment_next(&s, p->bytes[p->n], PART_ROOM)) > 0)
        p->sizes[p->n++] = (size_t)n;
    return 0;
}

static void check_part(const struct shape *s, const struct large *l, const struct parts *p,
                       size_t i, size_t offset)
{
    const uint8_t *part = p->bytes[i], *l4 = part + l->l4;
    size_t payload = p->sizes[i] - l->header;
    bool last = i + 1 == p->n;

    CHECK(s->name,
          checksums_are_right(l, part, p->sizes[i], s->ipv4, s->udp ? IPPROTO_UDP : IPPROTO_TCP));
    CHECK(s->name, last ? payload <= s->mss : payload == s->mss);
    CHECK(s->name, memcmp(part + l->header, l->bytes + l->header + offset, payload) == 0);
    if (s->ipv4) {
        CHECK_INT(s->name, load_be16(part + l->l3 + IPV4_TOTAL), p->sizes[i] - l->l3);
        CHECK_INT(s->name, load_be16(part + l->l3 + IPV4_ID), (0xfff0 + i) & 0xffff);
    } else {
        CHECK_INT(s->name, load_be16(part + l->l3 + IPV6_PAYLOAD), p->sizes[i] - l->l4);
    }
    if (s->udp) {
        CHECK_INT(s->name, load_be16(l4 + UDP_LEN), p->sizes[i] - l->l4);
        return;
    }
    CHECK_INT(s->name, load_be32(l4 + TCP_SEQ), (uint32_t)(0xfffffc00 + offset));
    CHECK_INT(s->name, l4[TCP_FLAGS],
              s->flags & ~(last ? 0 : TCP_FLAG_FIN_BIT | TCP_FLAG_PSH_BIT) &
                  ~(i == 0 ? 0 : TCP_FLAG_CWR_BIT));
}

static void test_segment(void **state)
{
    static struct large l;
    static struct parts p;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(shapes); i++) {
        const struct shape *s = &shapes[i];
        size_t offset = 0;

        make_large(&l, s);
        CHECK(s->name, segment_needed(&l.hdr));
        if (!CHECK_INT(s->name, cut(&l, s->tap, &p), 0))
            continue;
        CHECK_INT(s->name, p.n, (s->payload + s->mss - 1) / s->mss);
        for (size_t j = 0; j < p.n; j++) {
            check_part(s, &l, &p, j, offset);
            offset += p.sizes[j] - l.header;
        }
        CHECK_INT(s->name, offset, s->payload);
    }
    CHECK_END();
}

/* Writes group `i` out as the TUN would get it. */
static size_t flatten(struct coalescer *c, size_t i, struct virtio_net_hdr *hdr, uint8_t *out)
{
    struct iovec iov[COALESCE_IOV_MAX];
    size_t n = coalesce_take(c, i, hdr, iov), size = 0;

    for (size_t j = 1; j < n; j++) {
        memcpy(out + size, iov[j].iov_base, iov[j].iov_len);
        size += iov[j].iov_len;
    }
    return size;
}

static void test_join(void **state)
{
    static struct coalescer c;
    static struct large l;
    static struct parts p;
    static uint8_t out[ROOM];
    struct virtio_net_hdr hdr;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(shapes); i++) {
        const struct shape *s = &shapes[i];

        make_large(&l, s);
        (void)cut(&l, s->tap, &p);
        c = (struct coalescer){ .tcp = true, .udp = true, .tap = s->tap };
        for (size_t j = 0; j < p.n; j++)
            CHECK(s->name, coalesce_add(&c, p.bytes[j], (uint16_t)p.sizes[j]));
        if (s->flags & (TCP_FLAG_FIN_BIT | TCP_FLAG_CWR_BIT))
            continue; /* never joined: test_not_joined() */
        if (!CHECK_INT(s->name, c.n_groups, 1))
            continue;
        if (!CHECK_INT(s->name, flatten(&c, 0, &hdr, out), l.size))
            continue;
        if (p.n > 1) {
            CHECK(s->name, memcmp(&hdr, &l.hdr, sizeof(hdr)) == 0);
            CHECK(s->name, memcmp(out, l.bytes, l.size) == 0);
        } else {
            CHECK_INT(s->name, hdr.gso_type | hdr.flags, 0);
        }
    }
    CHECK_END();
}

/* The second of two packets, made different. `fix`: its checksums are right again then. */
static const struct {
    const char *name;
    size_t at; /* from the beginning of the IP header */
    uint8_t flip;
    bool fix;
} changes[] = {
    { "wrong TCP checksum", 20 + TCP_CHECK, 1, false },
    { "wrong IP checksum", IPV4_CHECK, 1, false },
    { "damaged payload", 60, 1, false },
    { "not the next one", 20 + TCP_SEQ + 3, 1, true },
    { "acknowledges more", 20 + TCP_ACK + 3, 1, true },
    { "another window", 20 + TCP_WINDOW, 1, true },
    { "another option", 20 + TCP_HEADER_MIN + 1, 1, true },
    { "SYN", 20 + TCP_FLAGS, 0x02, true },
    { "RST", 20 + TCP_FLAGS, 0x04, true },
    { "FIN", 20 + TCP_FLAGS, 0x01, true },
    { "URG", 20 + TCP_FLAGS, 0x20, true },
    { "ECE", 20 + TCP_FLAGS, 0x40, true },
    { "CWR", 20 + TCP_FLAGS, 0x80, true },
    { "no ACK", 20 + TCP_FLAGS, 0x10, true },
    { "another class", 1, 1, true },
    { "more fragments", IPV4_FRAGMENT, 0x20, true },
    { "a fragment", IPV4_FRAGMENT + 1, 1, true },
    { "may be fragmented", IPV4_FRAGMENT, 0x40, true },
    { "another TTL", IPV4_TTL, 1, true },
    { "another sender", 15, 1, true },
    { "another receiver", 19, 1, true },
    { "another port", 20, 1, true },
    { "another identification", IPV4_ID, 1, true },
};

static void fix_checksums(uint8_t *p, size_t size)
{
    store_be16(p + IPV4_CHECK, 0);
    store_be16(p + IPV4_CHECK, (uint16_t)~slow_sum(p, IPV4_HEADER_MIN, 0));
    store_be16(p + 20 + TCP_CHECK, 0);
    store_be16(
        p + 20 + TCP_CHECK,
        (uint16_t)~slow_sum(p + 20, size - 20, slow_pseudo(p, true, IPPROTO_TCP, size - 20)));
}

static void test_not_joined(void **state)
{
    static const struct shape shape = { "two", true, false, false, 12, 0x10, 2000, 1000 };
    static struct coalescer c;
    static struct large l;
    static struct parts p;
    static uint8_t out[ROOM], before[2][PART_ROOM];
    struct virtio_net_hdr hdr;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
        make_large(&l, &shape);
        (void)cut(&l, false, &p);
        p.bytes[1][changes[i].at] ^= changes[i].flip;
        if (changes[i].fix)
            fix_checksums(p.bytes[1], p.sizes[1]);
        memcpy(before, p.bytes, sizeof(before));
        c = (struct coalescer){ .tcp = true, .udp = true };
        for (size_t j = 0; j < 2; j++)
            CHECK(changes[i].name, coalesce_add(&c, p.bytes[j], (uint16_t)p.sizes[j]));
        CHECK_INT(changes[i].name, c.n_groups, 2);
        for (size_t j = 0; j < c.n_groups; j++) {
            CHECK_INT(changes[i].name, flatten(&c, j, &hdr, out), p.sizes[j]);
            CHECK(changes[i].name, memcmp(out, before[j], p.sizes[j]) == 0);
        }
    }
    CHECK_END();
}

/* Streams that come in at the same time are joined each by itself; PSH ends a group. */
static void test_streams(void **state)
{
    enum { STREAMS = 8 };
    static const struct shape shape = { "streams", true, false, false, 12, 0x18, 10000, 1000 };
    static struct coalescer c;
    static struct large l;
    static struct parts p[STREAMS];
    static uint8_t out[ROOM];
    struct virtio_net_hdr hdr;

    (void)state;
    c = (struct coalescer){ .tcp = true };
    for (size_t i = 0; i < STREAMS; i++) {
        make_large(&l, &shape);
        (void)cut(&l, false, &p[i]);
        for (size_t j = 0; j < p[i].n; j++) {
            p[i].bytes[j][21] = (uint8_t)i; /* the sender's port */
            fix_checksums(p[i].bytes[j], p[i].sizes[j]);
        }
    }
    for (size_t j = 0; j < p[0].n; j++)
        for (size_t i = 0; i < STREAMS; i++)
            CHECK("add", coalesce_add(&c, p[i].bytes[j], (uint16_t)p[i].sizes[j]));
    CHECK_INT("groups", c.n_groups, STREAMS);
    for (size_t i = 0; i < c.n_groups; i++) {
        CHECK_INT("size", flatten(&c, i, &hdr, out), l.size);
        CHECK("payload", memcmp(out + l.header, l.bytes + l.header, shape.payload) == 0);
        CHECK("PSH", out[20 + TCP_FLAGS] & TCP_FLAG_PSH_BIT);
        CHECK("ended", !c.groups[i].open);
    }
    CHECK_END();
}

/* No more than an IP packet holds, than a group takes, and than a batch takes. */
static void test_limits(void **state)
{
    static const struct shape small = { "small", true, false, false, 12, 0x10, 7000, 100 };
    static const struct shape large = { "large", true, false, false, 12, 0x10, 64800, 8100 };
    static struct coalescer c;
    static struct large l;
    static struct parts p, q;
    size_t n;

    (void)state;
    make_large(&l, &small);
    (void)cut(&l, false, &p);
    c = (struct coalescer){ .tcp = true };
    for (size_t j = 0; j < p.n; j++)
        (void)coalesce_add(&c, p.bytes[j], (uint16_t)p.sizes[j]);
    CHECK_INT("70 packets", c.n_groups, 2);
    CHECK_INT("70 packets", c.groups[0].n, COALESCE_GROUP_MAX);
    make_large(&l, &large);
    (void)cut(&l, false, &q);
    coalesce_reset(&c);
    for (size_t j = 0; j < q.n; j++)
        (void)coalesce_add(&c, q.bytes[j], (uint16_t)q.sizes[j]);
    CHECK_INT("just fits", c.n_groups, 1);
    memcpy(q.bytes[9], q.bytes[7], PART_ROOM); /* one more of the same size, next in sequence */
    store_be32(q.bytes[9] + 20 + TCP_SEQ, (uint32_t)(0xfffffc00 + 64800));
    store_be16(q.bytes[9] + IPV4_ID, (uint16_t)(0xfff0 + 8));
    fix_checksums(q.bytes[9], q.sizes[7]);
    (void)coalesce_add(&c, q.bytes[9], (uint16_t)q.sizes[7]);
    CHECK_INT("does not fit", c.n_groups, 2);
    coalesce_reset(&c);
    c.tcp = false;
    for (n = 0; coalesce_add(&c, p.bytes[1], (uint16_t)p.sizes[1]); n++)
        ;
    CHECK_INT("a batch", n, COALESCE_PACKETS_MAX);
    CHECK_INT("without offload", c.n_groups, COALESCE_PACKETS_MAX);
    CHECK_END();
}

/* Whatever the kernel says must agree with what stands in the packet. */
static void test_refused(void **state)
{
    static const struct shape shape = { "refused", true, false, false, 12, 0x10, 3000, 1000 };
    static struct large good, l;
    static struct parts p;

    (void)state;
    make_large(&good, &shape);
#define REFUSED(name, change, error)                \
    do {                                            \
        l = good;                                   \
        change;                                     \
        CHECK_INT(name, cut(&l, false, &p), error); \
    } while (0)
    REFUSED("UFO", l.hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP, -EOPNOTSUPP);
    REFUSED("no such kind", l.hdr.gso_type = 77, -EOPNOTSUPP);
    REFUSED("the other family", l.hdr.gso_type = VIRTIO_NET_HDR_GSO_TCPV6, -EBADMSG);
    REFUSED("the other protocol", l.hdr.gso_type = VIRTIO_NET_HDR_GSO_UDP_L4, -EBADMSG);
    REFUSED("no size", l.hdr.gso_size = 0, -EBADMSG);
    REFUSED("checksum is done", l.hdr.flags = 0, -EBADMSG);
    REFUSED("checksum elsewhere", l.hdr.csum_offset = 6, -EBADMSG);
    REFUSED("header elsewhere", l.hdr.csum_start = 24, -EBADMSG);
    REFUSED("header behind the end", l.hdr.csum_start = 65000, -EBADMSG);
    REFUSED("no version", l.bytes[0] = 0x15, -EBADMSG);
    REFUSED("short IP header", l.bytes[0] = 0x41, -EBADMSG);
    REFUSED("short TCP header", l.bytes[20 + TCP_DOFF] = 0x40, -EBADMSG);
    REFUSED("no TCP header", l.bytes[20 + TCP_DOFF] = 0x00, -EBADMSG);
    REFUSED("TCP header behind the end", (l.size = 60, l.bytes[20 + TCP_DOFF] = 0xf0), -EBADMSG);
    REFUSED("cut off", l.size = 30, -EBADMSG);
    REFUSED("nothing", l.size = 0, -EBADMSG);
#undef REFUSED
    l = good;
    CHECK_INT("too short a frame",
              segment_begin(&(struct segmenter){ 0 }, &l.hdr, l.bytes, 13, true), -EBADMSG);
    CHECK_END();
}

/* A packet that is whole, but for its checksum. */
static void test_finish(void **state)
{
    static const struct shape tcp = { "TCP", true, false, false, 0, 0x10, 101, 0 };
    static const struct shape udp = { "UDP", false, false, true, 0, 0, 100, 0 };
    static struct large l;

    (void)state;
    make_large(&l, &tcp);
    l.hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    CHECK("TCP", !segment_needed(&l.hdr));
    CHECK_INT("TCP", segment_finish(&l.hdr, l.bytes, l.size), 0);
    CHECK("TCP", checksums_are_right(&l, l.bytes, l.size, true, IPPROTO_TCP));
    make_large(&l, &udp);
    l.hdr.gso_type = VIRTIO_NET_HDR_GSO_NONE;
    CHECK_INT("UDP", segment_finish(&l.hdr, l.bytes, l.size), 0);
    CHECK("UDP", checksums_are_right(&l, l.bytes, l.size, false, IPPROTO_UDP));
    l.hdr.csum_start = (uint16_t)(l.size - 2);
    CHECK_INT("behind the end", segment_finish(&l.hdr, l.bytes, l.size), -EBADMSG);
    l.hdr.csum_start = 65535;
    l.hdr.csum_offset = 65535;
    CHECK_INT("far behind the end", segment_finish(&l.hdr, l.bytes, l.size), -EBADMSG);
    CHECK_END();
}

/* Every length and alignment. */
static void test_checksum(void **state)
{
    uint8_t bytes[300];
    char row[32];

    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 83 + 200);
    for (size_t at = 0; at < 8; at++)
        for (size_t size = 0; at + size <= sizeof(bytes); size++) {
            uint16_t sum = checksum_fold(checksum_add(0, bytes + at, size));

            snprintf(row, sizeof(row), "%zu bytes at %zu", size, at);
            CHECK_INT(row, ntohs(sum), slow_sum(bytes + at, size, 0));
        }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checksum), cmocka_unit_test(test_segment),
        cmocka_unit_test(test_finish),   cmocka_unit_test(test_refused),
        cmocka_unit_test(test_join),     cmocka_unit_test(test_not_joined),
        cmocka_unit_test(test_streams),  cmocka_unit_test(test_limits),
    };

    return RUN_TESTS(tests);
}
