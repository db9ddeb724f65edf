/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Routes as users write them: DST [via GW|unreachable|throw] [dev IF] [mtu N].
 *
 * DST is a prefix, an address (a host route) or `default`. The words come as an array, so that the
 * same grammar serves the command line, the configuration, the state file and Android's text
 * socket.
 */

#include <net/if.h>

#include "basic/ipaddr.h"
#include "basic/strbuf.h"
#include "basic/why.h"

enum route_kind {
    ROUTE_UNICAST,
    ROUTE_UNREACHABLE, /* EHOSTUNREACH to the sender */
    ROUTE_THROW,       /* the search goes on with the next rule */
    ROUTE_KIND_MAX,
};

/* A route that was asked for, before it is known which interface index it means. */
struct route_spec {
    enum route_kind kind;
    struct ip_prefix dst;
    struct ip_addr gateway;   /* AF_UNSPEC = on-link */
    char interface[IFNAMSIZ]; /* "" = the network's only interface */
    uint32_t mtu; /* 0 = unset; else 68 (RFC 791) … 65535, IPv6 from 1280 (RFC 8200) */
};

/*
 * 0; -EINVAL with the reason. `default` takes its family from the gateway and is IPv4 without one:
 * write ::/0 for IPv6.
 */
int route_spec_parse(const char *const *words, size_t n, struct route_spec *ret, struct why *why);

/* The same for one string, words separated by white space. */
int route_spec_parse_line(const char *line, struct route_spec *ret, struct why *why);

/* Appends the text form; what route_spec_parse_line() reads back to an equal value. */
void route_spec_print(const struct route_spec *route, struct strbuf *b);

int route_spec_compare(const struct route_spec *a, const struct route_spec *b);
