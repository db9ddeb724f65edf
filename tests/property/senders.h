/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Real senders and a capture, for the no-leak test with the real kernel.
 *
 * A sender is a process with a uid of its own. Told to, it sends one round: every kind of packet that
 * a program can send, to addresses that only it uses, so that the capture can tell whose a packet is;
 * and once more through each socket that it holds open, from before the change or earlier. The links
 * do without ARP and neighbour discovery: what is routed out is seen at once, as itself.
 *
 * Left out, because nobody can be held to account for them: packet sockets (AF_PACKET), which need
 * CAP_NET_RAW and pass below routing and nftables; raw sockets, which need it, too, so that who has
 * one is root in the end, whatever uid the socket was made with; what the kernel says by itself
 * (IGMP and MLD reports, answers to packets without a socket) or for a program that has closed its
 * socket; and sockets that were given to another uid with fchown().
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "basic/clock.h"
#include "property/world.h"

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
    SEND_MARK,      /* explicit, permission and protect bits, set by a helper's privilege */
    SEND_HELD_UDP,  /* connected before */
    SEND_HELD_TCP,  /* established before, by each link */
    SEND_HELD_DEVICE_UDP,
    SEND_HELD_DEVICE_TCP,
    SEND_KIND_MAX,
};

enum { SENDERS_MAX = 16 };

/* When a held socket was made. */
enum hold { HOLD_BEFORE_ALL, HOLD_BEFORE_CHANGE, HOLD_MAX };

struct sender {
    pid_t pid;
    uint32_t uid;
    int to, from; /* pipes */
};

struct senders {
    struct sender items[SENDERS_MAX];
    unsigned n, n_links;
    int *links;  /* by number: ifindex, 0 = gone; shared with the processes */
    int capture; /* packet socket on all interfaces */
    pid_t far;   /* what accepts connections at the far end */
};

/* Starts a process per uid, and the far end. Aborts on failure. */
void senders_start(struct senders *s, const struct world *w, const struct kernel *k,
                   const uint32_t *uids, unsigned n);
void senders_stop(struct senders *s);

/* After an event: which links there are now. */
void senders_see_links(struct senders *s, const struct world *w, const struct kernel *k);

/* Lets all of them send one round, and waits until they have. */
void senders_round(struct senders *s);

/* Lets all of them open sockets and hold them; returns how many connections were established. */
unsigned senders_hold(struct senders *s, enum hold hold);
/* Lets all of them close what they hold. */
void senders_release(struct senders *s);

/* A packet that was seen leaving. */
struct seen {
    uint32_t uid;
    unsigned link; /* number */
    int ifindex;
    int family;
    struct ip_addr dst;
    enum send_kind kind;
    uint32_t mark; /* that the sender had set */
    usec_t when;   /* by senders_now() */
};

/* The next packet of ours that left by one of the links; false when there is none left. */
bool senders_next(struct senders *s, struct seen *ret);

/* The capture's clock. */
usec_t senders_now(void);

const char *send_kind_to_string(enum send_kind kind);
