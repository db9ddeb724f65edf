/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The command line: the original's options mean what they meant, ours have long names only.
 */

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/clock.h"
#include "basic/ipaddr.h"
#include "engine/minivtun/routes.h"

enum { OPTIONS_DNS_MAX = 8 };

enum options_mode { MODE_CLIENT, MODE_SERVER };

struct options {
    enum options_mode mode;
    char *host;                /* client: the server's name or address; server: where to listen */
    uint16_t port, port_last;  /* client: one of them is chosen each time */
    char ifname[IFNAMSIZ];     /* may be "": the kernel chooses; may have %d */
    struct ip_addr inner[2];   /* IPv4, IPv6; AF_UNSPEC: none */
    struct ip_addr inner_peer; /* IPv4: point to point */
    uint8_t inner_len[2];
    unsigned mtu, queue_length;
    char *password;
    const char *cipher;
    struct routes routes;
    bool wait_dns, daemon, tap;
    const char *pidfile, *health_file;
    usec_t keepalive, reconnect, health_interval, exit_after; /* exit_after 0: never */
    unsigned buckets, max_drop;                               /* max_drop in percent */
    usec_t max_rtt;                                           /* 0: unlimited */
    /* ours */
    const char *vpn; /* --waymark: the name of the VPN; NULL: a TUN of our own */
    const char *dns[OPTIONS_DNS_MAX];
    size_t n_dns;
    bool everyone;
    const char *user;
    bool offload, batch, sandbox;
    int log_level;
};

/* 1: go on; 0: all is done (help, version); or -EINVAL, what is wrong has been said. */
int options_parse(int argc, char **argv, struct options *ret);
void options_done(struct options *o);
#define _cleanup_options_ _cleanup_(options_done)
