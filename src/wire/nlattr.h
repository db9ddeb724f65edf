/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Netlink attributes as records: one table per message type says which attributes are read and how
 * long they are; unknown ones are skipped, as the protocol asks (linux/netlink.h).
 */

#include <libmnl/libmnl.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/ipaddr.h"

struct nlattr_policy {
    uint16_t min; /* payload bytes at least; attributes with min == max == 0 are not read */
    uint16_t max; /* payload bytes at most; 0 = no limit */
};

/* Limits of the common types. */
#define NLATTR_U8 \
    {             \
        1, 1      \
    }
#define NLATTR_U16 \
    {              \
        2, 2       \
    }
#define NLATTR_U32 \
    {              \
        4, 4       \
    }
#define NLATTR_U64 \
    {              \
        8, 8       \
    }
#define NLATTR_STRING \
    {                 \
        1, 0          \
    }
#define NLATTR_ADDR \
    {               \
        4, 16       \
    }
#define NLATTR_NESTED \
    {                 \
        0, UINT16_MAX \
    }

/*
 * Fills tb[0 … n-1] (indexed by attribute type, NULL when absent) from the attributes in
 * [start, start+size). 0; -EBADMSG: an attribute is cut off or outside its limits; -EEXIST: twice.
 */
int nlattr_parse(const void *start, size_t size, const struct nlattr_policy *policy, size_t n,
                 const struct nlattr **tb);

/*
 * The same for the attributes behind a fixed header of `header` bytes; -EBADMSG when it is cut off.
 */
int nlattr_parse_message(const struct nlmsghdr *nlh, size_t header,
                         const struct nlattr_policy *policy, size_t n, const struct nlattr **tb);

/* The value, or `missing` when the attribute is absent. Host byte order, as netlink carries it. */
uint8_t nlattr_u8(const struct nlattr *a, uint8_t missing);
uint16_t nlattr_u16(const struct nlattr *a, uint16_t missing);
uint32_t nlattr_u32(const struct nlattr *a, uint32_t missing);

/* Copies a string attribute; an absent, unterminated-and-too-long or empty one gives "". */
void nlattr_string(const struct nlattr *a, char *dst, size_t size);

/* An address of `family`; "no address" when absent or of another size. */
struct ip_addr nlattr_addr(const struct nlattr *a, int family);

/* The same, but 0 or -EBADMSG when it is there and of another size (*ret untouched). */
int nlattr_addr_strict(const struct nlattr *a, int family, struct ip_addr *ret);
