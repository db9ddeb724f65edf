/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Real senders and a capture, for the no-leak test with the real kernel.
 *
 * A sender is a process with a uid of its own. Told to, it sends one round: every kind of packet that
 * a program can send, to addresses that only it uses, so that the capture can tell whose a packet is.
 * The links have ARP and neighbour discovery off: what is routed out is seen at once, as itself.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "model/kernel.h"

/* How a packet is sent: one bit of a capture's evidence each. */
enum send_kind {
    SEND_UDP, /* unconnected */
    SEND_UDP_CONNECTED,
    SEND_TCP,        /* a SYN */
    SEND_PING,       /* ICMP datagram socket */
    SEND_DEVICE_UDP, /* SO_BINDTODEVICE, each link */
    SEND_DEVICE_TCP,
    SEND_PKTINFO,   /* IP_PKTINFO / IPV6_PKTINFO with an interface, each link */
    SEND_DONTROUTE, /* MSG_DONTROUTE to an on-link address of each link */
    SEND_MULTICAST, /* by IP_MULTICAST_IF / scope id, each link; and by none */
    SEND_SOURCE,    /* multicast from a bound source address, each link */
    SEND_BROADCAST, /* IPv4: the subnet's and the limited one */
    SEND_MARK,      /* root only: explicit, permission and protect bits */
    SEND_KIND_MAX,
};

enum { SENDERS_MAX = 16, LINKS_MAX = 8 };

struct sender {
    pid_t pid;
    uint32_t uid;
    int to, from; /* pipes */
};

struct senders {
    struct sender items[SENDERS_MAX];
    unsigned n;
    int links[LINKS_MAX]; /* ifindex of eth0, eth1, … */
    unsigned n_links;
    int capture; /* packet socket on all interfaces */
};

/* Starts a process per uid. Aborts on failure. */
void senders_start(struct senders *s, const struct kernel *k, const uint32_t *uids, unsigned n);
void senders_stop(struct senders *s);

/* Lets all of them send one round, and waits until they have. */
void senders_round(struct senders *s);

/* A packet that was seen leaving. */
struct seen {
    uint32_t uid;
    int ifindex;
    int family;
    enum send_kind kind;
    uint32_t mark; /* that the sender had set */
};

/* The next packet of ours that left by an eth link; false when there is none left. */
bool senders_next(struct senders *s, struct seen *ret);

const char *send_kind_to_string(enum send_kind kind);
