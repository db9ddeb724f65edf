/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/nft-batch.h"

#include <errno.h>
#include <net/if_arp.h>
#include <netinet/if_ether.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <stdio.h> /* libnftnl's headers need it before them */

#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/expr.h>
#include <libnftnl/rule.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>

#include "basic/array.h"

/* A message holds at most one nest of 64 KiB, plus names and headers. */
enum { MESSAGE_MAX = 80 * 1024, ELEMENTS_PER_MESSAGE = 512 };

/* To begin with: a small batch is never moved. */
enum { ROOM = 4 * MESSAGE_MAX };

void nft_batch_init(struct nft_batch *b, const char *table, uint32_t seq)
{
    *b = (struct nft_batch){ .table = table, .family = NFPROTO_INET, .seq = seq };
    if (ARRAY_RESERVE(b->data, b->capacity, (size_t)ROOM) < 0) {
        b->failed = true;
        return;
    }
    struct nlmsghdr *nlh = nftnl_batch_begin(b->data, b->seq++);
    b->size = nlh->nlmsg_len;
}

void nft_batch_done(struct nft_batch *b)
{
    if (b->rule)
        nftnl_rule_free(b->rule);
    free(b->data);
    *b = (struct nft_batch){ 0 };
}

struct nlmsghdr *nft_batch_begin(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    if (b->failed || ARRAY_RESERVE(b->data, b->capacity, b->size + 2 * MESSAGE_MAX) < 0) {
        b->failed = true;
        return NULL;
    }
    b->open = nftnl_nlmsg_build_hdr(b->data + b->size, type, b->family, flags, b->seq++);
    return b->open;
}

void nft_batch_commit(struct nft_batch *b)
{
    if (!b->open)
        return;
    if (b->open->nlmsg_len > MESSAGE_MAX)
        b->failed = true;
    b->size += MNL_ALIGN(b->open->nlmsg_len);
    b->open = NULL;
}

int nft_batch_send(struct nft_batch *b, struct nlsock *s, struct why *why)
{
    uint32_t first = s->seq, last = b->seq - 1;
    size_t at = 0;

    if (b->failed)
        return why_set(why, -ENOMEM, "%s", strerror(ENOMEM));

    /* the last message but one asks for the acknowledgement of all */
    while (at < b->size) {
        struct nlmsghdr *nlh = (void *)(b->data + at);

        if (nlh->nlmsg_seq == last)
            nlh->nlmsg_flags |= NLM_F_ACK;
        at += MNL_ALIGN(nlh->nlmsg_len);
    }
    struct nlmsghdr *end = nftnl_batch_end(b->data + b->size, b->seq++);
    s->seq = b->seq;
    return nlsock_batch(s, b->data, b->size + end->nlmsg_len, first, last, why);
}

void nft_table_put(struct nft_batch *b, uint16_t type)
{
    struct nftnl_table *t = nftnl_table_alloc();

    if (!t) {
        b->failed = true;
        return;
    }
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, b->table);
    struct nlmsghdr *nlh = nft_batch_begin(b, type, type == NFT_MSG_NEWTABLE ? NLM_F_CREATE : 0);
    if (nlh)
        nftnl_table_nlmsg_build_payload(nlh, t);
    nft_batch_commit(b);
    nftnl_table_free(t);
}

void nft_chain_put(struct nft_batch *b, uint16_t type, const char *name, int hook, int priority)
{
    struct nftnl_chain *c = nftnl_chain_alloc();

    if (!c) {
        b->failed = true;
        return;
    }
    nftnl_chain_set_str(c, NFTNL_CHAIN_TABLE, b->table);
    nftnl_chain_set_str(c, NFTNL_CHAIN_NAME, name);
    if (hook >= 0) {
        nftnl_chain_set_str(c, NFTNL_CHAIN_TYPE, "filter");
        nftnl_chain_set_u32(c, NFTNL_CHAIN_HOOKNUM, (uint32_t)hook);
        nftnl_chain_set_s32(c, NFTNL_CHAIN_PRIO, priority);
    }
    struct nlmsghdr *nlh = nft_batch_begin(b, type, type == NFT_MSG_NEWCHAIN ? NLM_F_CREATE : 0);
    if (nlh)
        nftnl_chain_nlmsg_build_payload(nlh, c);
    nft_batch_commit(b);
    nftnl_chain_free(c);
}

void nft_set_put(struct nft_batch *b, uint16_t type, const struct nft_set *set)
{
    /* userdata: the key's byte order, so that nft prints it right (NFTNL_UDATA_SET_KEYBYTEORDER) */
    const uint8_t userdata[] = { 0, 4, set->host_order ? 1 : 2, 0, 0, 0, 1, 4, 0, 0, 0, 0 };
    bool new = type == NFT_MSG_NEWSET;
    struct nftnl_set *s = nftnl_set_alloc();

    if (!s) {
        b->failed = true;
        return;
    }
    nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, set->name);
    if (new) {
        nftnl_set_set_u32(s, NFTNL_SET_ID, set->id);
        nftnl_set_set_u32(s, NFTNL_SET_FLAGS, set->flags);
        nftnl_set_set_u32(s, NFTNL_SET_KEY_TYPE, set->key_type);
        nftnl_set_set_u32(s, NFTNL_SET_KEY_LEN, set->key_size);
        nftnl_set_set_data(s, NFTNL_SET_USERDATA, userdata, sizeof(userdata));
    }
    if (new && set->flags & NFT_SET_MAP) {
        nftnl_set_set_u32(s, NFTNL_SET_DATA_TYPE, NFT_DATA_VERDICT);
        nftnl_set_set_u32(s, NFTNL_SET_DATA_LEN, 0);
    }
    struct nlmsghdr *nlh = nft_batch_begin(b, type, new ? NLM_F_CREATE : 0);
    if (nlh)
        nftnl_set_nlmsg_build_payload(nlh, s);
    nft_batch_commit(b);
    nftnl_set_free(s);
}

static struct nftnl_set *elements_open(struct nft_batch *b, const char *set)
{
    struct nftnl_set *s = nftnl_set_alloc();

    if (!s) {
        b->failed = true;
        return NULL;
    }
    nftnl_set_set_str(s, NFTNL_SET_TABLE, b->table);
    nftnl_set_set_str(s, NFTNL_SET_NAME, set);
    return s;
}

static void elements_send(struct nft_batch *b, uint16_t type, struct nftnl_set *s)
{
    struct nlmsghdr *nlh =
        s ? nft_batch_begin(b, type, type == NFT_MSG_NEWSETELEM ? NLM_F_CREATE : 0) : NULL;

    if (nlh)
        nftnl_set_elems_nlmsg_build_payload(nlh, s);
    nft_batch_commit(b);
    if (s)
        nftnl_set_free(s);
}

void nft_elements_flush(struct nft_elements *e)
{
    if (e->open)
        elements_send(e->b, e->type, e->open);
    e->open = NULL;
    e->n = 0;
}

void nft_elements_add(struct nft_elements *e, const void *key, uint32_t size, uint32_t flags,
                      const char *chain)
{
    struct nftnl_set_elem *elem = nftnl_set_elem_alloc();

    if (e->n >= ELEMENTS_PER_MESSAGE)
        nft_elements_flush(e);
    if (!e->open)
        e->open = elements_open(e->b, e->set);
    if (!elem || !e->open) {
        nftnl_set_elem_free(elem);
        e->b->failed = true;
        return;
    }
    nftnl_set_elem_set(elem, NFTNL_SET_ELEM_KEY, key, size);
    if (flags)
        nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_FLAGS, flags);
    if (chain) {
        nftnl_set_elem_set_u32(elem, NFTNL_SET_ELEM_VERDICT, (uint32_t)NFT_GOTO);
        nftnl_set_elem_set_str(elem, NFTNL_SET_ELEM_CHAIN, chain);
    }
    nftnl_set_elem_add(e->open, elem);
    e->n++;
}

/* A message that names no element. */
void nft_elements_delete_all(struct nft_batch *b, const char *set)
{
    elements_send(b, NFT_MSG_DELSETELEM, elements_open(b, set));
}

void nft_rule_begin(struct nft_batch *b, const char *chain)
{
    b->rule = nftnl_rule_alloc();
    if (!b->rule) {
        b->failed = true;
        return;
    }
    nftnl_rule_set_str(b->rule, NFTNL_RULE_TABLE, b->table);
    nftnl_rule_set_str(b->rule, NFTNL_RULE_CHAIN, chain);
}

static void put_rule(struct nft_batch *b, uint16_t type, uint16_t flags)
{
    struct nlmsghdr *nlh = b->rule ? nft_batch_begin(b, type, flags) : NULL;

    if (nlh)
        nftnl_rule_nlmsg_build_payload(nlh, b->rule);
    nft_batch_commit(b);
    if (b->rule)
        nftnl_rule_free(b->rule);
    b->rule = NULL;
}

void nft_rule_end(struct nft_batch *b)
{
    put_rule(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
}

void nft_rule_delete_all(struct nft_batch *b, const char *chain)
{
    nft_rule_begin(b, chain);
    put_rule(b, NFT_MSG_DELRULE, 0);
}

/* A new expression at the end of the open rule, or NULL once the batch has failed. */
static struct nftnl_expr *add_expr(struct nft_batch *b, const char *name)
{
    struct nftnl_expr *e = b->rule ? nftnl_expr_alloc(name) : NULL;

    if (e)
        nftnl_rule_add_expr(b->rule, e);
    else
        b->failed = true;
    return e;
}

void nft_rule_add_meta(struct nft_batch *b, uint32_t key)
{
    struct nftnl_expr *e = add_expr(b, "meta");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, key);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, NFT_REG_1);
}

void nft_rule_add_set_mark(struct nft_batch *b)
{
    struct nftnl_expr *e = add_expr(b, "meta");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_MARK);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_SREG, NFT_REG_1);
}

void nft_rule_add_hton(struct nft_batch *b)
{
    struct nftnl_expr *e = add_expr(b, "byteorder");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_OP, NFT_BYTEORDER_HTON);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_LEN, sizeof(uint32_t));
    nftnl_expr_set_u32(e, NFTNL_EXPR_BYTEORDER_SIZE, sizeof(uint32_t));
}

void nft_rule_add_bits(struct nft_batch *b, uint32_t mask, uint32_t xor_bits)
{
    struct nftnl_expr *e = add_expr(b, "bitwise");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_DREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_BITWISE_LEN, sizeof(uint32_t));
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_MASK, &mask, sizeof(mask));
    nftnl_expr_set(e, NFTNL_EXPR_BITWISE_XOR, &xor_bits, sizeof(xor_bits));
}

void nft_rule_add_equals(struct nft_batch *b, uint32_t value)
{
    struct nftnl_expr *e = add_expr(b, "cmp");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, &value, sizeof(value));
}

void nft_rule_add_vmap(struct nft_batch *b, const char *map, uint32_t id)
{
    struct nftnl_expr *e = add_expr(b, "lookup");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, map);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, id);
}

void nft_rule_add_counter(struct nft_batch *b)
{
    (void)add_expr(b, "counter");
}

static void add_verdict(struct nft_batch *b, int verdict)
{
    struct nftnl_expr *e = add_expr(b, "immediate");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_DREG, NFT_REG_VERDICT);
    nftnl_expr_set_u32(e, NFTNL_EXPR_IMM_VERDICT, (uint32_t)verdict);
}

void nft_rule_add_drop(struct nft_batch *b)
{
    add_verdict(b, NF_DROP);
}

void nft_rule_return_if_oif(struct nft_batch *b, const char *chain, int ifindex)
{
    nft_rule_begin(b, chain);
    nft_rule_add_meta(b, NFT_META_OIF);
    nft_rule_add_equals(b, (uint32_t)ifindex);
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}

void nft_rule_return_if_mark(struct nft_batch *b, const char *chain, uint32_t mark, uint32_t mask)
{
    nft_rule_begin(b, chain);
    nft_rule_add_meta(b, NFT_META_MARK);
    nft_rule_add_bits(b, mask, 0);
    nft_rule_add_equals(b, mark);
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}

static void add_family(struct nft_batch *b, int family)
{
    const uint8_t protocol = family == AF_INET6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
    struct nftnl_expr *e;

    nft_rule_add_meta(b, NFT_META_NFPROTO);
    e = add_expr(b, "cmp");
    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
    nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, NFT_CMP_EQ);
    nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, &protocol, sizeof(protocol));
}

/* Where in the network header it is; of ARP for IPv4 over Ethernet, the address that is asked for. */
static uint32_t destination_offset(int family)
{
    return family == AF_INET6  ? offsetof(struct ip6_hdr, ip6_dst)
           : family == AF_INET ? offsetof(struct iphdr, daddr)
                               : sizeof(struct arphdr) + 2 * ETH_ALEN + sizeof(struct in_addr);
}

static void add_destination(struct nft_batch *b, int family)
{
    bool six = family == AF_INET6;
    struct nftnl_expr *e = add_expr(b, "payload");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_OFFSET, destination_offset(family));
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_LEN, six ? 16 : 4);
    nftnl_expr_set_u32(e, NFTNL_EXPR_PAYLOAD_DREG, NFT_REG_1);
}

static void add_lookup(struct nft_batch *b, const char *set, uint32_t id, uint32_t flags)
{
    struct nftnl_expr *e = add_expr(b, "lookup");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SREG, NFT_REG_1);
    nftnl_expr_set_str(e, NFTNL_EXPR_LOOKUP_SET, set);
    nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_SET_ID, id);
    if (flags)
        nftnl_expr_set_u32(e, NFTNL_EXPR_LOOKUP_FLAGS, flags);
}

/* Behind the address, which is in register 1 still. */
static void add_iif_and_lookup(struct nft_batch *b, const struct nft_own_rule *rule, uint32_t flags)
{
    bool six = rule->family == AF_INET6;
    struct nftnl_expr *e = add_expr(b, "meta");

    if (!e)
        return;
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_KEY, NFT_META_IIF);
    nftnl_expr_set_u32(e, NFTNL_EXPR_META_DREG, six ? NFT_REG32_04 : NFT_REG32_01);
    add_lookup(b, rule->pairs, rule->pairs_id, flags);
}

void nft_rule_drop_unless_pair(struct nft_batch *b, const char *chain,
                               const struct nft_own_rule *rule)
{
    nft_rule_begin(b, chain);
    if (rule->family != AF_UNSPEC)
        add_family(b, rule->family);
    add_destination(b, rule->family);
    add_lookup(b, rule->own, rule->own_id, 0);
    add_iif_and_lookup(b, rule, NFT_LOOKUP_F_INV);
    nft_rule_add_counter(b);
    nft_rule_add_drop(b);
    nft_rule_end(b);
}

void nft_rule_return_if_pair(struct nft_batch *b, const char *chain,
                             const struct nft_own_rule *rule)
{
    nft_rule_begin(b, chain);
    add_family(b, rule->family);
    add_destination(b, rule->family);
    add_iif_and_lookup(b, rule, 0);
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}

void nft_rule_return_unless_iifname(struct nft_batch *b, const char *chain, const char *prefix)
{
    struct nftnl_expr *e;

    nft_rule_begin(b, chain);
    nft_rule_add_meta(b, NFT_META_IIFNAME);
    e = add_expr(b, "cmp");
    if (e) {
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_SREG, NFT_REG_1);
        nftnl_expr_set_u32(e, NFTNL_EXPR_CMP_OP, NFT_CMP_NEQ);
        nftnl_expr_set(e, NFTNL_EXPR_CMP_DATA, prefix, (uint32_t)strlen(prefix));
    }
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}

void nft_rule_return_if_iif(struct nft_batch *b, const char *chain, const char *set, uint32_t id)
{
    nft_rule_begin(b, chain);
    nft_rule_add_meta(b, NFT_META_IIF);
    add_lookup(b, set, id, 0);
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}

void nft_rule_drop(struct nft_batch *b, const char *chain)
{
    nft_rule_begin(b, chain);
    nft_rule_add_counter(b);
    nft_rule_add_drop(b);
    nft_rule_end(b);
}

void nft_rule_return_if_destination(struct nft_batch *b, const char *chain, int family,
                                    const char *set, uint32_t id)
{
    nft_rule_begin(b, chain);
    add_family(b, family);
    add_destination(b, family);
    add_lookup(b, set, id, 0);
    add_verdict(b, NFT_RETURN);
    nft_rule_end(b);
}
