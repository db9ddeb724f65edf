/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Building one nftables batch: messages one behind the other in one buffer, rules out of the few
 * expressions that the guard needs. Errors (no memory, message too large) stick and come out of
 * nft_batch_send().
 */

#include <libmnl/libmnl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "observe/nlsock.h"

struct nftnl_rule;
struct nftnl_set;

struct nft_batch {
    const char *table;
    uint8_t family; /* of the next message: NFPROTO_INET, until something else is set */
    bool arp;       /* there is a table of that name for ARP, too */
    char *data;
    size_t size, capacity;
    uint32_t seq;          /* of the next message */
    struct nlmsghdr *open; /* between begin and commit */
    struct nftnl_rule *rule;
    bool failed;
};

void nft_batch_init(struct nft_batch *b, const char *table, uint32_t seq);
void nft_batch_done(struct nft_batch *b);
#define _cleanup_nft_batch_ _cleanup_(nft_batch_done)

/* Opens a message (NFT_MSG_*) for libnftnl to fill; NULL once the batch has failed. */
struct nlmsghdr *nft_batch_begin(struct nft_batch *b, uint16_t type, uint16_t flags);
void nft_batch_commit(struct nft_batch *b);

/* Closes the batch and sends it. 0, -ENOMEM, or the kernel's error with its reason. */
int nft_batch_send(struct nft_batch *b, struct nlsock *s, struct why *why);

/* The batch's table: NFT_MSG_NEWTABLE, NFT_MSG_DELTABLE. */
void nft_table_put(struct nft_batch *b, uint16_t type);
/* A chain; with a hook (>= 0) a base chain. */
void nft_chain_put(struct nft_batch *b, uint16_t type, const char *name, int hook, int priority);

/* A set, or a map to verdicts (flags: NFT_SET_MAP). */
struct nft_set {
    const char *name;
    uint32_t id; /* its own in the batch */
    uint32_t flags;
    uint32_t key_type; /* what `nft list` calls it (nftables: enum datatypes) */
    uint32_t key_size;
    bool host_order; /* of the key; else network order */
};

/* Makes it (NFT_MSG_NEWSET), or deletes it (NFT_MSG_DELSET). */
void nft_set_put(struct nft_batch *b, uint16_t type, const struct nft_set *set);

/* Elements of one set, gathered until a message is full; to be ended by nft_elements_flush(). */
struct nft_elements {
    struct nft_batch *b;
    const char *set;
    uint16_t type; /* NFT_MSG_NEWSETELEM or NFT_MSG_DELSETELEM */
    struct nftnl_set *open;
    size_t n;
};

/* `chain`, of a map: where it leads; else NULL. */
void nft_elements_add(struct nft_elements *e, const void *key, uint32_t size, uint32_t flags,
                      const char *chain);
void nft_elements_flush(struct nft_elements *e);
void nft_elements_delete_all(struct nft_batch *b, const char *set);

/* A rule at the end of `chain`: begin, expressions in order, end. They use register 1. */
void nft_rule_begin(struct nft_batch *b, const char *chain);
void nft_rule_end(struct nft_batch *b);
void nft_rule_add_meta(struct nft_batch *b, uint32_t key); /* load NFT_META_* */
void nft_rule_add_set_mark(struct nft_batch *b);           /* store as packet mark */
void nft_rule_add_hton(struct nft_batch *b);               /* 4 bytes to network order */
void nft_rule_add_bits(struct nft_batch *b, uint32_t mask, uint32_t xor_bits); /* & mask ^ xor */
void nft_rule_add_equals(struct nft_batch *b, uint32_t value);                 /* else: next rule */
void nft_rule_add_vmap(struct nft_batch *b, const char *map, uint32_t id);
void nft_rule_add_counter(struct nft_batch *b);
void nft_rule_add_drop(struct nft_batch *b);

/* Whole rules. */
void nft_rule_return_if_oif(struct nft_batch *b, const char *chain, int ifindex);
void nft_rule_return_if_mark(struct nft_batch *b, const char *chain, uint32_t mark, uint32_t mask);
/*
 * Drops, and counts, what is for an address in the set `own` and comes in by an interface with which the address
 * is not in the set `pairs`. family: AF_INET or AF_INET6 of a table inet; AF_UNSPEC: ARP, which asks for it.
 */
struct nft_own_rule {
    int family;
    const char *own, *pairs;
    uint32_t own_id, pairs_id;
};

void nft_rule_drop_unless_pair(struct nft_batch *b, const char *chain,
                               const struct nft_own_rule *rule);
/* By the interface that a packet comes in by: its name does not begin so; it is in a set. */
void nft_rule_return_unless_iifname(struct nft_batch *b, const char *chain, const char *prefix);
void nft_rule_return_if_iif(struct nft_batch *b, const char *chain, const char *set, uint32_t id);
/* The destination and that interface are in rule->pairs. */
void nft_rule_return_if_pair(struct nft_batch *b, const char *chain,
                             const struct nft_own_rule *rule);
void nft_rule_drop(struct nft_batch *b, const char *chain); /* all, and counts */
/* The destination is in a set. */
void nft_rule_return_if_destination(struct nft_batch *b, const char *chain, int family,
                                    const char *set, uint32_t id);
void nft_rule_delete_all(struct nft_batch *b, const char *chain);
