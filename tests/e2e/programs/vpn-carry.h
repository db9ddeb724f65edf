/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Carrying packets of a VPN, and handing it over meanwhile without one of them being late or lost.
 *
 * wm_vpn_establish() takes a millisecond or two, and wm_vpn_free() some ten more: the kernel does not let go of
 * an interface before no processor uses it. Whoever does either in the thread that carries packets lets them
 * wait for as long. So both are another thread's:
 *
 *   the one that carries                     the one that hands over
 *   packets of the old interface ←──────┐    wm_vpn_establish()
 *   …                                   │    "there is a new one" ──┐
 *   what is left in the old one, then   │                           │
 *   those of the new one           ←────┼───────────────────────────┘
 *   "the old one is yours" ─────────────┼──→ wm_vpn_free()
 *
 * What the old interface still has goes first, or it would be out of order.
 */

#include <stdbool.h>
#include <stdint.h>
#include <waymark.h>

struct carrying {
    struct wm_vpn_builder *builder;
    struct wm_vpn *vpn; /* the one that stands; the last one in the end */
    int transport;
    unsigned handovers; /* that are left */
    int64_t pause;      /* µs from one to the next */
    bool tell;          /* a line for each of them: when it began and ended, in µs */
};

/* A protected UDP socket to there; a datagram is a packet, as in examples/toyvpn.c. -1 and errno. */
int transport_open(const char *server, unsigned port);

/*
 * Until a line comes on standard input. When all handovers are over it prints how many went well, how many
 * failed, and how long the slowest took, in µs.
 */
void carry(struct carrying *c);
