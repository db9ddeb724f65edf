/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The server's two tables: by real address (IP and port of a client's socket) and by virtual address
 * (inner IPv4, IPv6, or MAC). A client has any number of virtual addresses; one of them belongs to
 * one client, the one that spoke last with it: a client that roams takes its addresses along.
 *
 * What was not heard of for a while is forgotten. Both tables have a limit, so that who has the key
 * (everybody, without a password) cannot fill the memory: at the limit who is there stays, and who
 * comes is not let in. Of one client's own addresses the one that was silent for longest makes room. Hashes are keyed (SipHash): nobody can choose addresses that collide.
 *
 * Pure but for the key, which the kernel gives.
 */

#include "basic/clock.h"
#include "basic/ipaddr.h"
#include "engine/minivtun/udp.h"

enum {
    PEERS_MAX = 65536,
    PEERS_ADDRESSES_MAX = 262144,
    PEERS_ADDRESSES_EACH = 1024,
};

struct peers;
struct virtual_address;

struct peer {
    struct endpoint real;
    usec_t heard;
    uint16_t seq; /* of the next message to it */
    /* the table's */
    struct peer *next_in_bucket;
    struct virtual_address *addresses; /* a ring; the one heard last is first */
    unsigned n_addresses;
};

/* 0, -ENOMEM, or that of getrandom(2). */
int peers_new(struct peers **ret);
struct peers *peers_free(struct peers *p);
DEFINE_CLEANUP(struct peers *, peers_free)

/*
 * The client at this real address, which was heard just now; made when it is new (*ret_new).
 * NULL: no memory, or there are as many as there may be.
 */
struct peer *peers_heard(struct peers *p, const struct endpoint *real, usec_t now, bool *ret_new);

/* The virtual address is this client's. 0; -ENOMEM; -ENOSPC: there are too many. */
int peers_bind(struct peers *p, struct peer *peer, const struct ip_addr *inner, usec_t now);

/* Whose virtual address this is; NULL: nobody's. */
struct peer *peers_find(const struct peers *p, const struct ip_addr *inner);

/* Forgets what was heard last before `before`. */
void peers_expire(struct peers *p, usec_t before);

size_t peers_count(const struct peers *p);
size_t peers_count_addresses(const struct peers *p);

/* Calls it for each; it must not change the table. */
void peers_each(const struct peers *p, void (*f)(void *data, struct peer *peer), void *data);
