/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/checksum.h"

#include <arpa/inet.h>

/*
 * 32 bits at a time: carries gather in the upper half, so that nothing need be folded on the way
 * and the compiler may use vectors. Copied, not cast: a packet stands where it stands.
 */
uint64_t checksum_add(uint64_t sum, const void *bytes, size_t size)
{
    const uint8_t *p = bytes;
    uint64_t lanes[4] = { sum, 0, 0, 0 };
    uint32_t words[4];

    for (; size >= sizeof(words); size -= sizeof(words), p += sizeof(words)) {
        memcpy(words, p, sizeof(words));
        for (unsigned i = 0; i < ELEMENTSOF(words); i++)
            lanes[i] += words[i];
    }
    memset(words, 0, sizeof(words));
    memcpy(words, p, size);
    for (unsigned i = 0; i < ELEMENTSOF(words); i++)
        lanes[i] += words[i];
    return lanes[0] + lanes[1] + lanes[2] + lanes[3];
}

uint64_t checksum_pseudo(const uint8_t *ip, uint8_t protocol, size_t size)
{
    bool ipv4 = ip[0] >> 4 == 4;
    uint64_t sum = checksum_add(0, ipv4 ? ip + 12 : ip + 8, ipv4 ? 8 : 32);

    return sum + htonl((uint32_t)size) + htons(protocol);
}

uint16_t checksum_fold(uint64_t sum)
{
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)sum;
}
