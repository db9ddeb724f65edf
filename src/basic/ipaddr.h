/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Addresses and prefixes of both families as plain values. Bytes are in network order; unused
 * bytes are zero, so that two equal values are equal byte for byte.
 */

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "basic/macro.h"

struct ip_addr {
    uint8_t family; /* AF_INET, AF_INET6, or AF_UNSPEC for "no address" */
    uint8_t pad[3];
    uint8_t bytes[16];
};

struct ip_prefix {
    struct ip_addr addr;
    uint8_t len; /* bits, 0–32 or 0–128 */
    uint8_t pad[3];
};

/* Room for any address or prefix as text, NUL included. */
#define IP_TEXT_MAX (INET6_ADDRSTRLEN + 4)

/* 0 for AF_INET, 1 for AF_INET6: the index of per-family arrays. */
static inline unsigned family_index(int family)
{
    return family == AF_INET6 ? 1 : 0;
}

static inline int family_at(unsigned index)
{
    return index ? AF_INET6 : AF_INET;
}

/* Bits in an address of this family: 32, 128; 0 for AF_UNSPEC. */
unsigned ip_family_bits(int family);

/* Takes 4 or 16 bytes in network order; any other size gives "no address". */
struct ip_addr ip_addr_make(int family, const void *bytes, size_t size);

/* A literal of either family, no scope id. 0 or -EINVAL. */
int ip_addr_parse(const char *s, struct ip_addr *ret);

/* Writes the literal into buf and returns it; "none" for AF_UNSPEC. */
const char *ip_addr_format(const struct ip_addr *a, char buf[static IP_TEXT_MAX]);

int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b);

static inline bool ip_addr_equal(const struct ip_addr *a, const struct ip_addr *b)
{
    return ip_addr_compare(a, b) == 0;
}

static inline bool ip_addr_is_set(const struct ip_addr *a)
{
    return a->family != AF_UNSPEC;
}

bool ip_addr_is_any(const struct ip_addr *a);        /* 0.0.0.0 or :: */
bool ip_addr_is_loopback(const struct ip_addr *a);   /* 127/8 or ::1 */
bool ip_addr_is_multicast(const struct ip_addr *a);  /* 224/4 or ff00::/8 */
bool ip_addr_is_link_local(const struct ip_addr *a); /* 169.254/16 or fe80::/10 */

/* The address after a, or false when a is the last one of its family. */
bool ip_addr_next(const struct ip_addr *a, struct ip_addr *ret);

/*
 * "ADDR/LEN" or "ADDR" (then a host prefix); "default" is refused here because it has no family.
 * 0; -EINVAL when it is not a prefix; -EDOM when bits are set beyond the length.
 */
int ip_prefix_parse(const char *s, struct ip_prefix *ret);

const char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_TEXT_MAX]);

/* The prefix of this address, host bits cleared. */
struct ip_prefix ip_prefix_make(const struct ip_addr *a, unsigned len);

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a);
int ip_prefix_compare(const struct ip_prefix *a, const struct ip_prefix *b);

/* The last address of the prefix. */
struct ip_addr ip_prefix_last(const struct ip_prefix *p);
