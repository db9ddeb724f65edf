/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/nft-own.h"

#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_arp.h>

#include "model/vpn.h"

/* What `nft list` calls the keys (nftables: enum datatypes; a concatenation has six bits for each). */
enum { TYPE_IPADDR = 7, TYPE_IP6ADDR = 8, TYPE_IFINDEX = 20, TYPE_BITS = 6 };

/* Between those of nft.c and of nft-outside.c. */
enum {
    SET_ID_OWN4 = 4,
    SET_ID_PAIRS4,
    SET_ID_OWN6,
    SET_ID_PAIRS6,
    SET_ID_FORWARD,
    SET_ID_ARP_OWN,
    SET_ID_ARP_PAIRS
};

enum {
    LOOPBACK = 1,
    PRIORITY_OWN = -160,    /* before marks are set */
    PRIORITY_HANDED = -310, /* before connection tracking, and who else is at "raw" */
};

#define CHAIN         "own_input"
#define CHAIN_HANDED  "handed_prerouting"
#define CHAIN_FORWARD "handed_forward"
#define SET_FORWARD   "forward"

static const struct nft_own_rule rules[2] = {
    { AF_INET, "own4", "pairs4", SET_ID_OWN4, SET_ID_PAIRS4 },
    { AF_INET6, "own6", "pairs6", SET_ID_OWN6, SET_ID_PAIRS6 },
};

/* In the table of ARP; the rule itself has another family, by which it knows where the address is. */
static const struct nft_own_rule arp = { AF_INET, "own4", "pairs4", SET_ID_ARP_OWN,
                                         SET_ID_ARP_PAIRS };

static uint32_t address_size(const struct nft_own_rule *rule)
{
    return ip_family_bits(rule->family) / 8;
}

static void put_sets(struct nft_batch *b, const struct nft_own_rule *rule)
{
    uint32_t type = rule->family == AF_INET6 ? TYPE_IP6ADDR : TYPE_IPADDR;

    nft_set_put(b, NFT_MSG_NEWSET,
                &(struct nft_set){ .name = rule->own,
                                   .id = rule->own_id,
                                   .key_type = type,
                                   .key_size = address_size(rule) });
    nft_set_put(b, NFT_MSG_NEWSET,
                &(struct nft_set){ .name = rule->pairs,
                                   .id = rule->pairs_id,
                                   .key_type = type << TYPE_BITS | TYPE_IFINDEX,
                                   .key_size = address_size(rule) + (uint32_t)sizeof(int) });
}

static void put_pair(struct nft_elements *e, const struct nft_own_rule *rule,
                     const struct guard_own *own, int ifindex)
{
    uint8_t key[sizeof(own->addr.bytes) + sizeof(ifindex)];

    memcpy(key, own->addr.bytes, address_size(rule));
    memcpy(key + address_size(rule), &ifindex, sizeof(ifindex));
    nft_elements_add(e, key, address_size(rule) + (uint32_t)sizeof(ifindex), 0, NULL);
}

/* One address stands several times in the guard, sorted: once for each interface that has it. */
static void put_elements(struct nft_batch *b, const struct guard *g,
                         const struct nft_own_rule *rule)
{
    struct nft_elements own = { .b = b, .set = rule->own, .type = NFT_MSG_NEWSETELEM };
    struct nft_elements pairs = { .b = b, .set = rule->pairs, .type = NFT_MSG_NEWSETELEM };
    const struct guard_own *last = NULL;

    for (size_t i = 0; g && i < g->n_own; i++) {
        const struct guard_own *o = &g->own[i];

        if (o->addr.family != rule->family)
            continue;
        if (ip_addr_is_link_local(&o->addr)) {
            put_pair(&pairs, rule, o, o->ifindex);
            continue;
        }
        if (!last || !ip_addr_equal(&last->addr, &o->addr)) {
            nft_elements_add(&own, o->addr.bytes, address_size(rule), 0, NULL);
            put_pair(&pairs, rule, o, LOOPBACK);
        }
        if (o->ifindex != LOOPBACK)
            put_pair(&pairs, rule, o, o->ifindex);
        last = o;
    }
    nft_elements_flush(&own);
    nft_elements_flush(&pairs);
}

static void put_handed(struct nft_batch *b, const char *chain, uint32_t hook)
{
    nft_chain_put(b, NFT_MSG_NEWCHAIN, chain, (int)hook, PRIORITY_HANDED);
    nft_rule_return_unless_iifname(b, chain, VPN_INTERFACE_PREFIX);
    nft_rule_return_if_iif(b, chain, SET_FORWARD, SET_ID_FORWARD);
    for (size_t i = 0; hook == NF_INET_PRE_ROUTING && i < ELEMENTSOF(rules); i++)
        nft_rule_return_if_pair(b, chain, &rules[i]);
    nft_rule_drop(b, chain);
}

static void put_forward(struct nft_batch *b, const struct guard *from, const struct guard *to)
{
    struct nft_elements e = { .b = b, .set = SET_FORWARD, .type = NFT_MSG_NEWSETELEM };

    if (from)
        nft_elements_delete_all(b, SET_FORWARD);
    for (size_t i = 0; i < to->n_forward; i++)
        nft_elements_add(&e, &to->forward[i].ifindex, sizeof(to->forward[i].ifindex), 0, NULL);
    nft_elements_flush(&e);
}

static void put_arp_skeleton(struct nft_batch *b)
{
    struct nft_own_rule rule = arp;

    rule.family = AF_UNSPEC;
    nft_chain_put(b, NFT_MSG_NEWCHAIN, CHAIN, NF_ARP_IN, PRIORITY_OWN);
    put_sets(b, &arp);
    nft_rule_drop_unless_pair(b, CHAIN, &rule);
}

void nft_own_put_skeleton(struct nft_batch *b)
{
    nft_chain_put(b, NFT_MSG_NEWCHAIN, CHAIN, NF_INET_LOCAL_IN, PRIORITY_OWN);
    for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
        put_sets(b, &rules[i]);
        nft_rule_drop_unless_pair(b, CHAIN, &rules[i]);
    }
    nft_set_put(b, NFT_MSG_NEWSET,
                &(struct nft_set){ .name = SET_FORWARD,
                                   .id = SET_ID_FORWARD,
                                   .key_type = TYPE_IFINDEX,
                                   .key_size = sizeof(int),
                                   .host_order = true });
    put_handed(b, CHAIN_HANDED, NF_INET_PRE_ROUTING);
    put_handed(b, CHAIN_FORWARD, NF_INET_FORWARD);
    if (!b->arp)
        return;
    b->family = NFPROTO_ARP;
    put_arp_skeleton(b);
    b->family = NFPROTO_INET;
}

static bool own_differs(const struct guard *a, const struct guard *b)
{
    size_t n = a ? a->n_own : 0, m = b ? b->n_own : 0;

    return n != m || (n > 0 && !mem_equal(a->own, b->own, n * sizeof(*a->own)));
}

static void put_change(struct nft_batch *b, const struct guard *from, const struct guard *to,
                       const struct nft_own_rule *rule)
{
    if (from) {
        nft_elements_delete_all(b, rule->own);
        nft_elements_delete_all(b, rule->pairs);
    }
    put_elements(b, to, rule);
}

void nft_own_put_change(struct nft_batch *b, const struct guard *from, const struct guard *to)
{
    bool differs = own_differs(from, to);

    for (size_t i = 0; differs && i < ELEMENTSOF(rules); i++)
        put_change(b, from, to, &rules[i]);
    if (differs && b->arp) {
        b->family = NFPROTO_ARP;
        put_change(b, from, to, &arp);
        b->family = NFPROTO_INET;
    }
    if (!from || from->n_forward != to->n_forward ||
        !mem_equal(from->forward, to->forward, to->n_forward * sizeof(*to->forward)))
        put_forward(b, from, to);
}
