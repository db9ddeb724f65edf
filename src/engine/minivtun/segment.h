/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Large packets from a TUN with offloads, cut into those that go over the wire.
 *
 * With IFF_VNET_HDR the kernel hands out what TCP wants to send as one packet of up to 64 KB, and
 * says beside it (struct virtio_net_hdr) how large the parts are to be: gso_size, which follows from
 * the TUN's MTU. It leaves checksums to us, too. That saves a system call per packet, and the way
 * through the stack; here is what a network card with TSO would do then:
 *
 *   IPv4     total length, identification + 1 per part, header checksum
 *   IPv6     payload length
 *   TCP      sequence number; FIN and PSH on the last part only, CWR on the first; checksum
 *   UDP      length and checksum (Linux 6.2 on: VIRTIO_NET_HDR_GSO_UDP_L4)
 *
 * Pure: bytes in, bytes out. Header and packet are the kernel's, and believed only as far as they
 * agree with each other. Fields of struct virtio_net_hdr are in the host's byte order.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct virtio_net_hdr;

/* A packet while it is cut; the fields are segment.c's. */
struct segmenter {
    const uint8_t *packet;
    size_t size;
    size_t l3, l4;       /* where the IP header and that of TCP or UDP begin */
    size_t header_size;  /* all that is repeated in every part */
    size_t segment_size; /* payload of every part but the last */
    size_t offset;       /* of the next part's payload */
    uint32_t number;     /* of the next part */
    uint8_t protocol;
    bool ipv4, done;
};

/* Is this packet more than one? */
bool segment_needed(const struct virtio_net_hdr *hdr);

/*
 * A packet that is whole: fills in the checksum that the kernel left to us, if it did.
 * 0, or -EBADMSG: it is to stand where there is no packet.
 */
int segment_finish(const struct virtio_net_hdr *hdr, uint8_t *packet, size_t size);

/*
 * Begins to cut a packet that begins with an IP header, in a frame (`tap`) behind an Ethernet header. It
 * must stay as it is until the end. 0; -EBADMSG: header and packet do not agree; -EOPNOTSUPP: a
 * kind that was not asked for.
 */
int segment_begin(struct segmenter *s, const struct virtio_net_hdr *hdr, const uint8_t *packet,
                  size_t size, bool tap);

/*
 * Writes the next part into `out`. Its size; 0: there is no other; -EMSGSIZE: `room` is too small
 * for it (and nothing was done).
 */
ssize_t segment_next(struct segmenter *s, uint8_t *out, size_t room);
