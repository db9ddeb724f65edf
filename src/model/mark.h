/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The socket's mark: Android's Fwmark layout (android.md §1.1) and the well-known numbers.
 *
 *   bits  0–15  netId        the network the socket is on
 *   bit     16  explicit     chosen by API, not by a default
 *   bit     17  protected    exempt from a VPN
 *   bits 18–19  permission   what the socket's owner may use: 0, NETWORK = 1, SYSTEM = 3
 *   bit     20  billing      accounting only
 *
 * Only these bits are read or written; the others belong to other software.
 */

#include <stdbool.h>
#include <stdint.h>

enum {
    MARK_NETID_MASK = 0x0000ffff,
    MARK_EXPLICIT = 0x00010000,
    MARK_PROTECTED = 0x00020000,
    MARK_PERMISSION_MASK = 0x000c0000,
    MARK_BILLING = 0x00100000,
    MARK_ALL = 0x001fffff,
    MARK_INCOMING = 0x000fffff, /* what an incoming packet is given: all but billing (§2.6) */
};

enum {
    NETID_UNSET = 0,
    NETID_OEM_MIN = 1,
    NETID_OEM_MAX = 50,
    NETID_DUMMY = 51,
    NETID_UNREACHABLE = 52,
    NETID_LOCAL = 99,
    NETID_MIN = 100,
    NETID_MAX = 65535,
};

/* Routing tables (android.md §2.2). */
enum {
    TABLE_LOCAL_NETWORK = 97,
    TABLE_LEGACY_NETWORK = 98,
    TABLE_LEGACY_SYSTEM = 99,
    TABLE_FROM_IFINDEX = 1000,             /* an interface's own table: ifindex + 1000 */
    TABLE_LOCAL_FROM_IFINDEX = 1000000000, /* its on-link routes, for local-network exclusion */
    TABLE_FENCE_FROM_NETID = 2000000000,   /* what is outside of a network, and what is not */
};

/* A network's required permission, a user's granted one; as mark bits they contain each other. */
enum permission {
    PERMISSION_NONE = 0,
    PERMISSION_NETWORK = 1,
    PERMISSION_SYSTEM = 3,
};

/*
 * Is it what a VPN sends its packets by: protected, and not by the mark that came in with a connection? An
 * accepted socket has that, explicit|protected, whoever accepted it.
 */
static inline bool mark_is_transport(uint32_t mark)
{
    return (mark & (MARK_EXPLICIT | MARK_PROTECTED)) == MARK_PROTECTED;
}

static inline uint32_t mark_permission(enum permission permission)
{
    return (uint32_t)permission << 18;
}
