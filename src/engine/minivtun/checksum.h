/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The checksum of IP, TCP and UDP (RFC 1071), in parts: sums of 16-bit words in memory order, which
 * are added, and folded at last. Only the last part may have an odd length. A sum may be as large
 * as 64 bits hold: every packet's is.
 */

#include <stddef.h>
#include <stdint.h>

#include "basic/ipaddr.h"

/* `sum` and what stands in these bytes. */
uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size);

/* The sum of a packet's pseudo header; `ip` is its IPv4 or IPv6 header. */
uint64_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t size);

/* 16 bits, in memory order: to be copied into a packet as they are. */
uint16_t checksum_fold(uint64_t sum);

static inline uint16_t checksum_finish(uint64_t sum)
{
    return (uint16_t)~checksum_fold(sum);
}
