/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The messages of minivtun, a small UDP tunnel: bytes <-> structs. No I/O and no cryptography: what
 * is read here has been deciphered, what is written here is enciphered later.
 *
 * One datagram is one message; all numbers are big endian:
 *
 *    0  u8    opcode
 *    1  u8    0
 *    2  u16   seq    +1 per message and direction; whoever receives it does not look
 *    4  u8[16] auth  the first 16 bytes of the key; who has another key has nothing to say
 *   20        IPDATA: u16 proto, u16 len, packet          ECHO: 24 bytes, which an ACK returns
 *             proto is an EtherType, 0 in TAP mode        0  u8[4]  the sender's inner IPv4, or 0
 *             (the packet is a frame then)                4  u8[16] its inner IPv6, or 0
 *                                                         20 u32    id
 *                                                         TAP mode: 0  u8[6] the sender's MAC
 *
 * A cipher wants whole blocks: what stands behind the end of a message is padding.
 */

#include <stdbool.h>

#include "basic/ipaddr.h"

enum {
    MINIVTUN_AUTH_SIZE = 16,
    MINIVTUN_HEADER_SIZE = 20,
    MINIVTUN_DATA_HEADER_SIZE = 24,
    MINIVTUN_ECHO_SIZE = 24,
    MINIVTUN_ECHO_MESSAGE_SIZE = MINIVTUN_HEADER_SIZE + MINIVTUN_ECHO_SIZE,
    MINIVTUN_MESSAGE_MAX = 8192, /* a datagram that is larger is not handled */
    MINIVTUN_MAC_SIZE = 6,
    MINIVTUN_FRAME_HEADER_SIZE = 14,
};

enum minivtun_opcode {
    MINIVTUN_ECHO_REQ,
    MINIVTUN_IPDATA,
    MINIVTUN_DISCONNECT, /* never sent, ignored */
    MINIVTUN_ECHO_ACK,
    MINIVTUN_OPCODE_MAX,
};

/* A message; the pointers lead into the bytes that were parsed. */
struct minivtun_message {
    uint8_t opcode; /* enum minivtun_opcode */
    uint16_t seq;
    uint16_t proto;        /* IPDATA */
    const uint8_t *packet; /* IPDATA: the inner packet, without padding */
    size_t packet_size;
    const uint8_t *echo; /* ECHO_*: MINIVTUN_ECHO_SIZE bytes */
};

struct minivtun_echo {
    /* IPv4, IPv6; of the family AF_UNSPEC where it says none. TAP: the MAC, and nothing */
    struct ip_addr inner[2];
    uint32_t id;
};

/*
 * 0, or -EACCES: another key; -EBADMSG: cut off, or an inner packet that is none; -EOPNOTSUPP: no
 * such opcode, or a protocol that is not carried. *ret is untouched on failure.
 */
int minivtun_parse(const uint8_t *bytes, size_t size, const uint8_t auth[static MINIVTUN_AUTH_SIZE],
                   bool tap, struct minivtun_message *ret);

/* What an ECHO_REQ tells of its sender: only addresses that a host can have. */
void minivtun_echo_parse(const uint8_t body[static MINIVTUN_ECHO_SIZE], bool tap,
                         struct minivtun_echo *ret);

/* Both write into `out`; *_HEADER_SIZE bytes, the packet's place is behind them. */
void minivtun_data_build(uint8_t out[static MINIVTUN_DATA_HEADER_SIZE], uint16_t seq,
                         const uint8_t auth[static MINIVTUN_AUTH_SIZE], uint16_t proto,
                         uint16_t len);
void minivtun_echo_build(uint8_t out[static MINIVTUN_ECHO_MESSAGE_SIZE],
                         enum minivtun_opcode opcode, uint16_t seq,
                         const uint8_t auth[static MINIVTUN_AUTH_SIZE],
                         const uint8_t body[static MINIVTUN_ECHO_SIZE]);

void minivtun_echo_body(uint8_t out[static MINIVTUN_ECHO_SIZE], const struct minivtun_echo *echo);

/*
 * What a packet from the TUN (a frame from the TAP) is to be sent as: its EtherType, 0 for a frame.
 * 0, or -EBADMSG: it is none.
 */
int minivtun_proto_of(const uint8_t *packet, size_t size, bool tap, uint16_t *ret);

/*
 * Where an inner packet comes from and goes to. A frame has MACs: of the family AF_PACKET, 6 bytes.
 * The packet is one that minivtun_parse() or minivtun_proto_of() found good.
 */
struct ip_addr minivtun_source(const uint8_t *packet, bool tap);
struct ip_addr minivtun_destination(const uint8_t *packet, bool tap);

/* May a host have this inner address: not zero, broadcast, multicast or loopback? */
bool minivtun_addr_is_host(const struct ip_addr *a);
