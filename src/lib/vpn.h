/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Inside of waymark.h's VPNs: what a program has said of one, and how it is said to the daemon.
 *
 * A description is texts and numbers that the daemon judges (docs/dbus.md, Establish). The builder keeps
 * them in the form of the bus, each prefix and address written in one way only, so that twice the same
 * is the same.
 *
 *   vpn-builder.c    the setters: no daemon, no descriptor
 *   vpn-message.c    the description as a{sv}
 *   vpn.c            prepare, establish, and the life after that
 */

#include "basic/ipaddr.h"
#include "lib/client.h"
#include "lib/public.h"

/* In the order in which they are told. */
enum vpn_list {
    VPN_LIST_ADDRESSES,
    VPN_LIST_ROUTES,
    VPN_LIST_EXCLUDED, /* none of them is in ROUTES */
    VPN_LIST_DNS,
    VPN_LIST_DOMAINS,
    VPN_LIST_ALLOWED,
    VPN_LIST_DISALLOWED, /* empty, or ALLOWED is */
    VPN_LIST_FAMILIES,
    VPN_LIST_LAN,
    VPN_LIST_MAX,
};

/* Each text once; a NULL behind them, when there are any. */
struct vpn_strings {
    char **items;
    size_t n, capacity;
};

/* The networks that a VPN goes by. */
struct vpn_underlying {
    bool set; /* else the default network */
    uint32_t *netids;
    size_t n;
};

struct wm_vpn_builder {
    char *name;
    /* the description; NULL and 0: not set */
    char *session, *http_proxy;
    struct vpn_strings lists[VPN_LIST_MAX];
    size_t list_bytes; /* of all lists, on the bus */
    uint32_t mtu, queues;
    bool bypass, blocking, offloads;
    bool metered, metered_set;
    struct vpn_underlying underlying;
    /* wm_vpn_prepare() */
    struct client *client; /* NULL: none yet, or it is the last VPN's */
    unsigned flags;        /* WM_VPN_… */
    struct why why;        /* of the last call */
};

/* "192.0.2.7/24" from both, as it is written on the bus; host bits stay. 0 or -EINVAL. */
int vpn_prefix_text(const char *address, unsigned prefix_length, struct ip_prefix *ret,
                    char text[static IP_TEXT_MAX]);

/* An address that an interface may have: "A/LEN". 0 or -EINVAL. */
int vpn_address_text(const char *address, unsigned prefix_length, char text[static IP_TEXT_MAX]);

/* From handles. *ret is the caller's; -EINVAL: one is none, or of no network. */
int vpn_underlying_new(const wm_network_t *networks, size_t n, struct vpn_underlying *ret);

/* The description as the a{sv} of Establish. `c` is asked what networks are called: -ENONET. */
int vpn_append_description(struct client *c, sd_bus_message *m, const struct wm_vpn_builder *b,
                           struct why *why);

/* The names of networks, as an array of strings. */
int vpn_append_networks(struct client *c, sd_bus_message *m, const struct vpn_underlying *u,
                        struct why *why);
