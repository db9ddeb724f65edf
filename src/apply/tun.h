/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The interface of a VPN: a TUN device whose descriptors go to the program that is the VPN.
 *
 * It is not persistent: it lives as long as somebody has one of its descriptors. So "all undone on failure"
 * is to close them, nobody's death leaves anything behind, and who takes the descriptors over takes the
 * interface with them, also past our own end.
 *
 * Its program may be anybody, and what it asks for must not reach others:
 *
 *  - Addresses are put on it as hosts (/32, /128), whatever length was given. A length means an on-link route,
 *    and for IPv4 a broadcast address; both would hold for the whole machine, not for the VPN's apps.
 *    Which destinations are a VPN's its routes say, in the network's own table.
 *  - No address comes by itself (addrgenmode none), nor does a router on the far side give it any, or a route:
 *    the kernel would put that into the table of the whole machine.
 *  - It belongs to root. /dev/net/tun is open to everybody, and with several queues anybody could
 *    attach one more, and get a share of the packets. (Who holds a descriptor may change that: it is his.)
 *  - A name is not used again soon, so that nobody takes an interface for the one that just went.
 */

#include <net/if.h>

#include "model/vpn.h"
#include "observe/nlsock.h"

/* All of them are called "wmtunN". */
#define TUN_NAME_PREFIX VPN_INTERFACE_PREFIX

struct tun {
    char name[IFNAMSIZ];
    int ifindex;
    int fds[VPN_QUEUES_MAX];
    size_t n_fds;
};

#define TUN_INIT ((struct tun){ 0 })

/* Is a name taken, by something that is not there now? */
typedef bool (*tun_is_taken)(const void *data, const char *name);

/*
 * Makes one and brings it up, with what `c` says of addresses, MTU, queues, offloads and blocking. `*number`
 * is where names are looked for, and then where to go on. Offloads are what the kernel has of checksums,
 * TSO and USO, each packet with a struct virtio_net_hdr of 10 bytes.
 *
 * 0; -EINVAL: the kernel does not like an address or the MTU; -ENODEV: there is no TUN driver; other
 * negative errnos, with the reason. Then there is nothing.
 */
int tun_create(struct nlsock *rtnl, const struct vpn_config *c, unsigned *number,
               tun_is_taken is_taken, const void *data, struct tun *ret, struct why *why);
/* Closes the descriptors that are left: if nobody else has one, the interface goes. */
void tun_done(struct tun *t);
#define _cleanup_tun_ _cleanup_(tun_done)

int tun_add_address(struct nlsock *rtnl, int ifindex, const struct ip_addr *addr, struct why *why);
/* One that is not there is no error. */
int tun_remove_address(struct nlsock *rtnl, int ifindex, const struct ip_addr *addr,
                       struct why *why);

/* Down: nothing comes out of its descriptors any more but what is queued, and nothing goes in. */
int tun_deactivate(struct nlsock *rtnl, int ifindex);

/* For one that was made persistent behind our back, whose program is gone. */
int tun_delete(struct nlsock *rtnl, int ifindex);
