/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What linux/virtio_net.h and linux/if_tun.h of Debian 12 do not have yet: UDP segments (Linux 6.2).
 * And the headers of TCP, as offsets: what is cut and joined here stands at any address.
 */

#include <linux/virtio_net.h>
#include <stdbool.h>
#include <stdint.h>

#ifndef VIRTIO_NET_HDR_GSO_UDP_L4
#define VIRTIO_NET_HDR_GSO_UDP_L4 5
#endif
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

enum {
    TCP_SEQ = 4,
    TCP_ACK = 8,
    TCP_DOFF = 12,
    TCP_FLAGS = 13,
    TCP_WINDOW = 14,
    TCP_CHECK = 16,
    TCP_HEADER_MIN = 20,
    UDP_LEN = 4,
    UDP_CHECK = 6,
    UDP_HEADER = 8,
    IPV4_TOTAL = 2,
    IPV4_ID = 4,
    IPV4_FRAGMENT = 6,
    IPV4_TTL = 8,
    IPV4_PROTOCOL = 9,
    IPV4_CHECK = 10,
    IPV4_HEADER_MIN = 20,
    IPV6_PAYLOAD = 4,
    IPV6_NEXT = 6,
    IPV6_HOP_LIMIT = 7,
    IPV6_HEADER = 40,
};

/* The flags of TCP: linux/tcp.h has them as bit fields only. */
enum {
    TCP_FLAG_FIN_BIT = 0x01,
    TCP_FLAG_PSH_BIT = 0x08,
    TCP_FLAG_ACK_BIT = 0x10,
    TCP_FLAG_ECE_BIT = 0x40,
    TCP_FLAG_CWR_BIT = 0x80,
};

static inline uint16_t load_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static inline uint32_t load_be32(const uint8_t *p)
{
    return (uint32_t)load_be16(p) << 16 | load_be16(p + 2);
}

static inline void store_be16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void store_be32(uint8_t *p, uint32_t value)
{
    store_be16(p, (uint16_t)(value >> 16));
    store_be16(p + 2, (uint16_t)value);
}
