/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The routes of -v: networks behind the tunnel. Each becomes a route to the TUN; with a gateway (a
 * virtual address) the server knows by it which client has the network.
 *
 * The first one in the list that fits wins, not the longest; what was added last is first.
 */

#include <stdbool.h>
#include <stddef.h>

#include "basic/ipaddr.h"
#include "basic/why.h"

struct route {
    struct ip_prefix prefix;
    struct ip_addr gateway; /* AF_UNSPEC: none */
};

struct routes {
    struct route *items; /* in the order of the command line: the last is the first to be asked */
    size_t n, capacity;
};

/* "ADDR/LEN", or "ADDR" alone (LEN is all of it); host bits are kept. 0 or -EINVAL. */
int routes_split(const char *text, struct ip_addr *ret_addr, uint8_t *ret_len);

/* "net/len", "net/len=gateway". 0, -ENOMEM, or -EINVAL with the reason. */
int routes_add(struct routes *r, const char *text, struct why *why);
void routes_done(struct routes *r);

/* The gateway behind which this address is, or NULL. */
const struct ip_addr *routes_find(const struct routes *r, const struct ip_addr *to);
