/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Configurations of wg-quick(8): what they say of the network that the tunnel leads to.
 *
 *   [Interface]                     [Peer]
 *   PrivateKey = …                  PublicKey = …
 *   Address = 10.0.0.2/24           AllowedIPs = 0.0.0.0/0, ::/0
 *   DNS = 10.0.0.1, corp.example    Endpoint = vpn.example:51820
 *
 * Read as wg-quick and wg read them: keys and sections in any case, `#` ends a line wherever it stands,
 * lists have commas or blanks and go on in the next line of that key, AllowedIPs lose their host bits.
 * Unlike them we refuse a key that neither knows: a misspelt AllowedIPs would be a hole.
 *
 * The files hold keys. Those are never kept, only that they are there, and no sentence of ours quotes a
 * line that could be one.
 */

#include <net/if.h>
#include <stdint.h>

#include "basic/ipaddr.h"
#include "basic/why.h"

/* Beyond these a file is refused. */
enum {
    WGQUICK_ADDRESSES_MAX = 64,
    WGQUICK_DNS_MAX = 64,
    WGQUICK_ALLOWED_MAX = 65536, /* of all peers */
    WGQUICK_PEERS_MAX = 4096,
    WGQUICK_DOMAIN_MAX = 253,
    WGQUICK_ENDPOINT_MAX = 263, /* a host, a colon, a port */
};

/* What wg-quick runs: one bit each. */
enum wgquick_hook {
    WGQUICK_PRE_UP = 1 << 0,
    WGQUICK_POST_UP = 1 << 1,
    WGQUICK_PRE_DOWN = 1 << 2,
    WGQUICK_POST_DOWN = 1 << 3,
};

enum wgquick_table {
    WGQUICK_TABLE_AUTO,  /* routes for all AllowedIPs; for a default route also rules */
    WGQUICK_TABLE_OFF,   /* no routes */
    WGQUICK_TABLE_GIVEN, /* routes in a table of that name or number */
};

/* An address of the interface, with the length of its prefix. */
struct wgquick_address {
    struct ip_addr addr;
    uint8_t len;
};

struct wgquick_peer {
    bool has_public_key, has_preshared_key;
    char endpoint[WGQUICK_ENDPOINT_MAX + 1]; /* as written; "" = none */
};

struct wgquick {
    struct wgquick_address *addresses;
    size_t n_addresses, cap_addresses;
    struct ip_addr *dns;
    size_t n_dns, cap_dns;
    char (*domains)[WGQUICK_DOMAIN_MAX + 1]; /* to search in */
    size_t n_domains, cap_domains;
    struct ip_prefix *allowed; /* of all peers; in order, each once */
    size_t n_allowed, cap_allowed;
    struct wgquick_peer *peers;
    size_t n_peers, cap_peers;
    uint32_t mtu, listen_port, fwmark; /* 0 = not set */
    enum wgquick_table table;
    unsigned hooks; /* enum wgquick_hook: there is such a line. Nothing is run here */
    bool has_private_key, save_config;
};

/*
 * Parses `size` bytes. 0, and *ret to be released with wgquick_done(); or -EINVAL, -E2BIG, -ENOMEM with
 * the reason, and *ret_line is the line, from 1; 0 = the file as a whole.
 */
int wgquick_parse(const char *text, size_t size, struct wgquick *ret, unsigned *ret_line,
                  struct why *why);
void wgquick_done(struct wgquick *w);

/* Is there a route for everything, of this family or (AF_UNSPEC) any? */
bool wgquick_has_default(const struct wgquick *w, int family);

/*
 * The interface that wg-quick makes of a file: its name without the folder and `.conf`. 0, or -EINVAL
 * with the reason where wg-quick would take none for it.
 */
int wgquick_interface(const char *path, char ret[static IFNAMSIZ], struct why *why);
