/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/minivtun.h"

#include <errno.h>
#include <linux/if_ether.h>

enum {
    IPV4_HEADER_MIN = 20,
    IPV6_HEADER = 40,
};

static uint16_t get_be16(const uint8_t *p)
{
    return (uint16_t)(p[0] << 8 | p[1]);
}

static void put_be16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static uint32_t get_be32(const uint8_t *p)
{
    return (uint32_t)get_be16(p) << 16 | get_be16(p + 2);
}

static void put_be32(uint8_t *p, uint32_t value)
{
    put_be16(p, (uint16_t)(value >> 16));
    put_be16(p + 2, (uint16_t)value);
}

int minivtun_proto_of(const uint8_t *packet, size_t size, bool tap, uint16_t *ret)
{
    uint16_t proto = 0;
    size_t least = MINIVTUN_FRAME_HEADER_SIZE;

    if (!tap && size == 0)
        return -EBADMSG;
    if (!tap && packet[0] >> 4 == 4) {
        proto = ETH_P_IP;
        least = IPV4_HEADER_MIN;
    } else if (!tap && packet[0] >> 4 == 6) {
        proto = ETH_P_IPV6;
        least = IPV6_HEADER;
    } else if (!tap) {
        return -EBADMSG;
    }
    if (size < least)
        return -EBADMSG;
    *ret = proto;
    return 0;
}

static int parse_data(const uint8_t *body, size_t size, bool tap, struct minivtun_message *m)
{
    uint16_t found;
    int r;

    if (size < MINIVTUN_DATA_HEADER_SIZE - MINIVTUN_HEADER_SIZE)
        return -EBADMSG;
    m->proto = get_be16(body);
    m->packet = body + 4;
    m->packet_size = get_be16(body + 2);
    if (!tap && m->proto != ETH_P_IP && m->proto != ETH_P_IPV6)
        return -EOPNOTSUPP;
    if (m->packet_size > size - 4)
        return -EBADMSG;
    r = minivtun_proto_of(m->packet, m->packet_size, tap, &found);
    if (r < 0)
        return r;
    /* what the kernel would take for IPv6 must not come in under IPv4's name; TAP: `proto` is free */
    return tap || found == m->proto ? 0 : -EBADMSG;
}

int minivtun_parse(const uint8_t *bytes, size_t size, const uint8_t auth[static MINIVTUN_AUTH_SIZE],
                   bool tap, struct minivtun_message *ret)
{
    struct minivtun_message m = { 0 };
    int r;

    if (size < MINIVTUN_HEADER_SIZE)
        return -EBADMSG;
    if (memcmp(bytes + 4, auth, MINIVTUN_AUTH_SIZE) != 0)
        return -EACCES;
    m.opcode = bytes[0];
    m.seq = get_be16(bytes + 2);
    switch (m.opcode) {
    case MINIVTUN_IPDATA:
        r = parse_data(bytes + MINIVTUN_HEADER_SIZE, size - MINIVTUN_HEADER_SIZE, tap, &m);
        if (r < 0)
            return r;
        break;
    case MINIVTUN_ECHO_REQ:
    case MINIVTUN_ECHO_ACK:
        if (size < MINIVTUN_ECHO_MESSAGE_SIZE)
            return -EBADMSG;
        m.echo = bytes + MINIVTUN_HEADER_SIZE;
        break;
    case MINIVTUN_DISCONNECT:
        break;
    default:
        return -EOPNOTSUPP;
    }
    *ret = m;
    return 0;
}

static struct ip_addr mac_make(const uint8_t *bytes)
{
    struct ip_addr a = { .family = AF_PACKET };

    memcpy(a.bytes, bytes, MINIVTUN_MAC_SIZE);
    return a;
}

bool minivtun_addr_is_host(const struct ip_addr *a)
{
    static const uint8_t zero[16];

    switch (a->family) {
    case AF_INET:
        /* 0/8, 127/8, 224/4 and 240/4 are not */
        return a->bytes[0] != 0 && a->bytes[0] < 224 && !ip_addr_is_loopback(a);
    case AF_INET6:
        return !ip_addr_is_any(a) && !ip_addr_is_multicast(a) && !ip_addr_is_loopback(a);
    case AF_PACKET:
        return (a->bytes[0] & 1) == 0 && memcmp(a->bytes, zero, MINIVTUN_MAC_SIZE) != 0;
    default:
        return false;
    }
}

void minivtun_echo_parse(const uint8_t body[static MINIVTUN_ECHO_SIZE], bool tap,
                         struct minivtun_echo *ret)
{
    struct minivtun_echo echo = { .id = get_be32(body + 20) };

    if (tap) {
        echo.inner[0] = mac_make(body);
    } else {
        echo.inner[0] = ip_addr_make(AF_INET, body, 4);
        echo.inner[1] = ip_addr_make(AF_INET6, body + 4, 16);
    }
    for (unsigned i = 0; i < ELEMENTSOF(echo.inner); i++)
        if (!minivtun_addr_is_host(&echo.inner[i]))
            echo.inner[i] = (struct ip_addr){ 0 };
    *ret = echo;
}

void minivtun_echo_body(uint8_t out[static MINIVTUN_ECHO_SIZE], const struct minivtun_echo *echo)
{
    memset(out, 0, MINIVTUN_ECHO_SIZE);
    for (unsigned i = 0; i < ELEMENTSOF(echo->inner); i++) {
        const struct ip_addr *a = &echo->inner[i];

        if (a->family == AF_PACKET)
            memcpy(out, a->bytes, MINIVTUN_MAC_SIZE);
        else if (a->family == AF_INET)
            memcpy(out, a->bytes, 4);
        else if (a->family == AF_INET6)
            memcpy(out + 4, a->bytes, 16);
    }
    put_be32(out + 20, echo->id);
}

static void header_build(uint8_t *out, enum minivtun_opcode opcode, uint16_t seq,
                         const uint8_t *auth)
{
    out[0] = (uint8_t)opcode;
    out[1] = 0;
    put_be16(out + 2, seq);
    memcpy(out + 4, auth, MINIVTUN_AUTH_SIZE);
}

void minivtun_data_build(uint8_t out[static MINIVTUN_DATA_HEADER_SIZE], uint16_t seq,
                         const uint8_t auth[static MINIVTUN_AUTH_SIZE], uint16_t proto,
                         uint16_t len)
{
    header_build(out, MINIVTUN_IPDATA, seq, auth);
    put_be16(out + 20, proto);
    put_be16(out + 22, len);
}

void minivtun_echo_build(uint8_t out[static MINIVTUN_ECHO_MESSAGE_SIZE],
                         enum minivtun_opcode opcode, uint16_t seq,
                         const uint8_t auth[static MINIVTUN_AUTH_SIZE],
                         const uint8_t body[static MINIVTUN_ECHO_SIZE])
{
    header_build(out, opcode, seq, auth);
    memcpy(out + MINIVTUN_HEADER_SIZE, body, MINIVTUN_ECHO_SIZE);
}

struct ip_addr minivtun_source(const uint8_t *packet, bool tap)
{
    if (tap)
        return mac_make(packet + MINIVTUN_MAC_SIZE);
    return packet[0] >> 4 == 4 ? ip_addr_make(AF_INET, packet + 12, 4)
                               : ip_addr_make(AF_INET6, packet + 8, 16);
}

struct ip_addr minivtun_destination(const uint8_t *packet, bool tap)
{
    if (tap)
        return mac_make(packet);
    return packet[0] >> 4 == 4 ? ip_addr_make(AF_INET, packet + 16, 4)
                               : ip_addr_make(AF_INET6, packet + 24, 16);
}
