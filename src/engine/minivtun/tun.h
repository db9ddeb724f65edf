/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A TUN (or TAP) of our own: made, addressed and brought up as the command line says, which needs
 * CAP_NET_ADMIN. It goes when its descriptor is closed. With offloads (IFF_VNET_HDR) every packet has
 * a struct virtio_net_hdr in front of it: see segment.h and coalesce.h.
 */

#include <net/if.h>
#include <stdbool.h>

#include "basic/macro.h"
#include "basic/why.h"
#include "wire/minivtun.h"

struct options;

struct tun {
    int fd;
    char name[IFNAMSIZ];
    bool vnet, tcp, udp;            /* it has headers; it takes large packets of TCP, of UDP */
    uint8_t mac[MINIVTUN_MAC_SIZE]; /* TAP */
};

#define TUN_NONE ((struct tun){ .fd = -1 })

/* 0 or -errno with the reason. */
int tun_open(const struct options *o, struct tun *ret, struct why *why);

/* A descriptor that is open already (and *ret's then); looks what it can do. */
int tun_take(int fd, struct tun *ret, struct why *why);

void tun_close(struct tun *t);
#define _cleanup_tun_ _cleanup_(tun_close)
