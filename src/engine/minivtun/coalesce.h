/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The other way of segment.h: packets of one stream that came in together are given to the TUN as one
 * large packet, as the kernel's GRO would do on a network card.
 *
 * Only what can be cut again without a difference is joined: TCP in sequence, with nothing in the
 * header that changes but sequence number, IPv4 identification and PSH, which ends a group; UDP of one
 * size, the last may be smaller. Both only with a checksum that is right: the large packet's is left to
 * the kernel (NEEDS_CSUM), which would make a wrong one right.
 *
 * Order is kept within a stream: a packet that cannot be joined ends the group, and follows it.
 *
 * Packets are not copied and must stay where they are until they are taken; the header of the first
 * one of a group is rewritten. Pure.
 */

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

enum {
    COALESCE_PACKETS_MAX = 1024, /* in one batch */
    COALESCE_GROUP_MAX = 64,     /* in one group, as UDP_SEGMENT has it, too */
    COALESCE_IOV_MAX = COALESCE_GROUP_MAX + 1,
};

struct coalesce_packet {
    uint8_t *data;
    uint16_t size;
    uint16_t next; /* of its group; its own number: it is the last */
};

struct coalesce_group {
    uint16_t first, last, n;
    uint16_t segment_size; /* payload of the first */
    uint16_t l3, l4, header_size;
    uint8_t protocol; /* 0: neither TCP nor UDP, or nothing that could be told */
    bool ipv4, open;
    uint32_t size; /* of the large packet */
};

struct coalescer {
    bool tcp, udp, tap; /* what the TUN takes */
    uint16_t n_packets, n_groups;
    struct coalesce_packet packets[COALESCE_PACKETS_MAX];
    struct coalesce_group groups[COALESCE_PACKETS_MAX];
};

/* Empties it. */
void coalesce_reset(struct coalescer *c);

/* False: it is full; take out what is in, and reset it. */
bool coalesce_add(struct coalescer *c, uint8_t *packet, uint16_t size);

/*
 * What group `number` is written as: how many of `iov` are used, the first of them *hdr. In the order of
 * their numbers, 0 … n_groups - 1.
 */
size_t coalesce_take(struct coalescer *c, size_t number, struct virtio_net_hdr *hdr,
                     struct iovec iov[static COALESCE_IOV_MAX]);
