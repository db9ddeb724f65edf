/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Large packets cut, and packets joined. What must hold, whatever the header says and the packet is:
 *  - a packet is cut into parts that fit, whose payloads are the packet's;
 *  - joined packets are as many as came in, and nothing is lost: their bytes but headers are the same.
 * Input: a byte of flags, a struct virtio_net_hdr, and the packet; to be joined it is taken to pieces by
 * lengths of 16 bits that stand in front of each.
 */

#include "engine/minivtun/coalesce.h"
#include "engine/minivtun/segment.h"
#include "fuzz/fuzz.h"

enum { PACKET_ROOM = 8192 };

static void check_cut(const uint8_t *data, size_t size, bool tap)
{
    struct virtio_net_hdr hdr;
    static uint8_t out[PACKET_ROOM];
    struct segmenter s;
    size_t payload = 0;
    ssize_t n;

    if (size < sizeof(hdr))
        return;
    memcpy(&hdr, data, sizeof(hdr));
    data += sizeof(hdr);
    size -= sizeof(hdr);
    /* in memory of its own size, so that a byte too far is seen */
    uint8_t *packet = malloc(size ? size : 1);
    MUST(packet);
    memcpy(packet, data, size);
    if (!segment_needed(&hdr)) {
        (void)segment_finish(&hdr, packet, size);
    } else if (segment_begin(&s, &hdr, packet, size, tap) == 0) {
        MUST(s.header_size <= size && s.l3 < s.l4 && s.l4 < s.header_size);
        while ((n = segment_next(&s, out, sizeof(out))) > 0) {
            size_t part = (size_t)n - s.header_size;

            MUST((size_t)n >= s.header_size && part <= hdr.gso_size);
            MUST(memcmp(out + s.header_size, packet + s.header_size + payload, part) == 0);
            payload += part;
        }
        MUST(n == 0 ? payload == size - s.header_size
                    : s.header_size + s.segment_size > sizeof(out));
    }
    free(packet);
}

static void check_joined(struct coalescer *c, size_t n_packets, size_t n_bytes)
{
    struct iovec iov[COALESCE_IOV_MAX];
    struct virtio_net_hdr hdr;
    size_t packets = 0, bytes = 0;

    for (size_t i = 0; i < c->n_groups; i++) {
        const struct coalesce_group *g = &c->groups[i];
        size_t n = coalesce_take(c, i, &hdr, iov), size = 0;

        MUST(n == (size_t)g->n + 1 && n <= COALESCE_IOV_MAX);
        for (size_t j = 1; j < n; j++)
            size += iov[j].iov_len;
        MUST(size == g->size && size <= 65535U + g->l3);
        MUST(g->n == 1 || hdr.gso_size == g->segment_size);
        packets += g->n;
        bytes += size + (size_t)(g->n - 1U) * g->header_size;
    }
    MUST(packets == n_packets && bytes == n_bytes);
}

static void check_join(const uint8_t *data, size_t size, uint8_t flags)
{
    static struct coalescer c;
    uint8_t *copy = malloc(size ? size : 1);
    size_t n = 0, bytes = 0;

    MUST(copy);
    memcpy(copy, data, size);
    c = (struct coalescer){ .tcp = flags & 2, .udp = flags & 4, .tap = flags & 1 };
    for (size_t at = 0; at + 2 < size && n < COALESCE_PACKETS_MAX;) {
        size_t wanted = (size_t)(copy[at] << 8 | copy[at + 1]) % PACKET_ROOM + 1;
        size_t length = wanted < size - at - 2 ? wanted : size - at - 2;

        MUST(coalesce_add(&c, copy + at + 2, (uint16_t)length));
        at += 2 + length;
        bytes += length;
        n++;
    }
    check_joined(&c, n, bytes);
    free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    if (data[0] & 8)
        check_join(data + 1, size - 1, data[0]);
    else
        check_cut(data + 1, size - 1, data[0] & 1);
    return 0;
}
