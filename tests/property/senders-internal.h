/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Between senders.c (processes), senders-round.c, senders-held.c (what they send), senders-capture.c. */

#include <netinet/in.h>

#include "property/senders.h"

#define SENDER_MAGIC 0x57617921U /* what our datagrams begin with */

/*
 * TCP: a SYN has no payload, and a far end's port is open or not. So the port says sender and kind
 * of those that are to be refused, and kind of those that are held; there the address says who.
 */
enum { PORT_HELD = 19000, PORT_REFUSED = 20000, PORTS_PER_SENDER = 64 };

/* In every datagram and segment. */
struct tag {
    uint32_t magic;
    uint32_t sender; /* index */
    uint32_t kind;
    uint32_t mark;
};

/* What one process needs to know while it sends. */
struct self {
    const struct senders *s;
    unsigned index;
};

union address {
    struct sockaddr sa;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

enum { ADDRESS_TEXT_MAX = 64 };

socklen_t make_address(union address *a, const char *text, uint16_t port);

/* Far away, and on the subnet of a link: addresses that only this sender uses. */
void far_address(const struct self *me, int family, char buf[static ADDRESS_TEXT_MAX]);
void near_address(const struct self *me, int family, unsigned link,
                  char buf[static ADDRESS_TEXT_MAX]);

struct tag tag_of(const struct self *me, enum send_kind kind, uint32_t mark);

/* SO_BINDTODEVICE; 0 = none. */
void set_device(int fd, int ifindex);

/* One packet of each kind; errors do not matter, what leaves does. */
void send_round(const struct self *me);

/* Sockets that stay open: each is told by its kind and family. */
struct held {
    int fd;
    enum send_kind kind;
};

enum { HELD_MAX = 2 * (2 + 3 * WORLD_LINKS_MAX) };

struct held_set {
    struct held items[HELD_MAX];
    unsigned n;
};

/* Opens all kinds; returns how many connections were established within that time. */
unsigned held_open(struct held_set *set, const struct self *me, int timeout_msec);
void held_send(const struct held_set *set, const struct self *me);
void held_close(struct held_set *set);

/* The far end's part: accepts what is held, reads it, for ever. */
_noreturn_ void held_accept(void);
