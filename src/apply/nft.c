/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libnftnl/chain.h>
#include <libnftnl/common.h>
#include <libnftnl/set.h>
#include <libnftnl/table.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <stdio.h>

#include "apply/nft-batch.h"
#include "apply/nft-outside.h"
#include "apply/nft-own.h"
#include "model/mark.h"
#include "wire/nlattr.h"

#define PROBE_TABLE_NAME "waymark_probe"

/* What `nft list` needs to know to print keys (nftables: enum datatypes). */
enum { TYPE_IFINDEX = 20, TYPE_UID = 24 };
enum { SET_ID_GUARD = 1, SET_ID_INCOMING = 2 };
enum { PRIORITY_INCOMING = -150 /* mangle */, PRIORITY_GUARD = 300 };

static void chain_name(char name[static 24], const char *prefix, uint32_t netid)
{
    snprintf(name, 24, "%s_%u%s", prefix, netid & MARK_NETID_MASK,
             netid & GUARD_EXEMPT ? "_exempt" : "");
}

static void put_map(struct nft_batch *b, const char *name, uint32_t id, uint32_t flags,
                    uint32_t key_type)
{
    nft_set_put(b, NFT_MSG_NEWSET,
                &(struct nft_set){ .name = name,
                                   .id = id,
                                   .flags = NFT_SET_MAP | flags,
                                   .key_type = key_type,
                                   .key_size = sizeof(uint32_t),
                                   .host_order = true });
}

/* Deletes it, whether it is there or not. */
static void put_no_table(struct nft_batch *b)
{
    nft_table_put(b, NFT_MSG_NEWTABLE); /* so that there is one to delete */
    nft_table_put(b, NFT_MSG_DELTABLE);
}

static void put_new_table(struct nft_batch *b)
{
    put_no_table(b);
    nft_table_put(b, NFT_MSG_NEWTABLE);
}

static void put_tables(struct nft_batch *b, void (*put)(struct nft_batch *b))
{
    put(b);
    if (!b->arp)
        return;
    b->family = NFPROTO_ARP;
    put(b);
    b->family = NFPROTO_INET;
}

/* The tables with their maps and base chains; chains of networks and elements come on top. */
static void put_skeleton(struct nft_batch *b)
{
    put_tables(b, put_new_table);
    put_map(b, "guard", SET_ID_GUARD, NFT_SET_INTERVAL, TYPE_UID);
    put_map(b, "incoming", SET_ID_INCOMING, 0, TYPE_IFINDEX);
    nft_chain_put(b, NFT_MSG_NEWCHAIN, "guard_postrouting", NF_INET_POST_ROUTING, PRIORITY_GUARD);
    nft_chain_put(b, NFT_MSG_NEWCHAIN, "incoming_input", NF_INET_LOCAL_IN, PRIORITY_INCOMING);

    nft_own_put_skeleton(b);

    nft_rule_begin(b, "guard_postrouting");
    nft_rule_add_meta(b, NFT_META_SKUID);
    nft_rule_add_hton(b);
    nft_rule_add_vmap(b, "guard", SET_ID_GUARD);
    nft_rule_end(b);

    nft_rule_begin(b, "incoming_input");
    nft_rule_add_meta(b, NFT_META_IIF);
    nft_rule_add_vmap(b, "incoming", SET_ID_INCOMING);
    nft_rule_end(b);
}

/* An interval is two elements: where it begins, and where it is over. Keys in network order. */
static void put_entry(struct nft_elements *e, const struct guard_entry *entry)
{
    uint32_t from = htonl(entry->uid.lo), over = htonl(entry->uid.hi + 1);
    char chain[24];

    chain_name(chain, "out", entry->netid);
    nft_elements_add(e, &from, sizeof(from), 0, chain);
    nft_elements_add(e, &over, sizeof(over), NFT_SET_ELEM_INTERVAL_END, NULL);
}

static void put_incoming(struct nft_elements *e, const struct guard_incoming *in)
{
    uint32_t ifindex = (uint32_t)in->ifindex;
    char chain[24];

    chain_name(chain, "in", in->mark & MARK_NETID_MASK);
    nft_elements_add(e, &ifindex, sizeof(ifindex), 0, chain);
}

/* A chain of a network is named and told apart by netId; these are the rules it should have. */
static void put_out_rules(struct nft_batch *b, const struct guard *g, uint32_t netid)
{
    const struct guard_chain *chain = guard_chain(g, netid);
    char name[24];

    chain_name(name, "out", netid);
    if (chain && chain->exempt_protected)
        nft_rule_return_if_mark(b, name, MARK_PROTECTED, MARK_EXPLICIT | MARK_PROTECTED);
    nft_rule_return_if_oif(b, name, 1);
    for (size_t i = 0; g && i < g->n_ports; i++)
        if (g->ports[i].netid == netid)
            nft_rule_return_if_oif(b, name, g->ports[i].ifindex);
    nft_outside_put_rules(b, name, g, netid);
    nft_rule_begin(b, name);
    nft_rule_add_counter(b);
    nft_rule_add_drop(b);
    nft_rule_end(b);
}

static void put_in_rules(struct nft_batch *b, uint32_t mark)
{
    char name[24];

    chain_name(name, "in", mark & MARK_NETID_MASK);
    nft_rule_begin(b, name);
    nft_rule_add_meta(b, NFT_META_MARK);
    nft_rule_add_bits(b, ~(uint32_t)MARK_INCOMING, mark);
    nft_rule_add_set_mark(b);
    nft_rule_end(b);
}

/* Flushes a chain: a delete of rules that names no rule. */
static void flush_chain(struct nft_batch *b, const char *name)
{
    nft_rule_delete_all(b, name);
}

static bool same_ports(const struct guard *a, const struct guard *b, uint32_t netid)
{
    size_t i = 0, j = 0;

    for (;;) {
        while (i < a->n_ports && a->ports[i].netid != netid)
            i++;
        while (j < b->n_ports && b->ports[j].netid != netid)
            j++;
        if (i == a->n_ports || j == b->n_ports)
            return i == a->n_ports && j == b->n_ports;
        if (a->ports[i++].ifindex != b->ports[j++].ifindex)
            return false;
    }
}

/* Chains that `from` has not. out_0 belongs to the skeleton of entries: always there. */
static size_t put_new_out_chains(struct nft_batch *b, const struct guard *from,
                                 const struct guard *to)
{
    size_t n = 0;

    for (size_t i = 0; i < to->n_chains; i++) {
        uint32_t netid = to->chains[i].netid;
        char name[24];

        if (guard_chain(from, netid))
            continue;
        chain_name(name, "out", netid);
        nft_chain_put(b, NFT_MSG_NEWCHAIN, name, -1, 0);
        nft_outside_put(b, to, netid);
        put_out_rules(b, to, netid);
        n++;
    }
    return n;
}

/* Those whose rules change. */
static void put_changed_out_chains(struct nft_batch *b, const struct guard *from,
                                   const struct guard *to)
{
    for (size_t i = 0; i < to->n_chains; i++) {
        const struct guard_chain *chain = &to->chains[i], *old = guard_chain(from, chain->netid);
        char name[24];

        if (!old)
            continue;
        nft_outside_change(b, from, to, chain->netid);
        if (old->exempt_protected == chain->exempt_protected &&
            same_ports(from, to, chain->netid) && !nft_outside_rules_differ(from, to, chain->netid))
            continue;
        chain_name(name, "out", chain->netid);
        flush_chain(b, name);
        put_out_rules(b, to, chain->netid);
        nft_outside_delete(b, from, to, chain->netid);
    }
}

/*
 * The mark of a network's chain of incoming packets, or 0: the first interface that has it tells.
 */
static uint32_t incoming_mark(const struct guard *g, uint32_t netid)
{
    for (size_t i = 0; g && i < g->n_incoming; i++)
        if ((g->incoming[i].mark & MARK_NETID_MASK) == netid)
            return g->incoming[i].mark;
    return 0;
}

/* Is entry i of the list the first with its netId? So that each chain is put once. */
static bool is_first(const struct guard *g, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (((g->incoming[j].mark ^ g->incoming[i].mark) & MARK_NETID_MASK) == 0)
            return false;
    return true;
}

static void put_in_chains(struct nft_batch *b, const struct guard *from, const struct guard *to)
{
    for (size_t i = 0; i < to->n_incoming; i++) {
        uint32_t mark = to->incoming[i].mark, old = incoming_mark(from, mark & MARK_NETID_MASK);
        char name[24];

        if (old == mark || !is_first(to, i))
            continue;
        chain_name(name, "in", mark & MARK_NETID_MASK);
        if (old)
            flush_chain(b, name);
        else
            nft_chain_put(b, NFT_MSG_NEWCHAIN, name, -1, 0);
        put_in_rules(b, mark);
    }
}

static bool entry_equal(const struct guard_entry *a, const struct guard_entry *b)
{
    return a->uid.lo == b->uid.lo && a->uid.hi == b->uid.hi && a->netid == b->netid;
}

/* Entries of `a` that are not in `b`; both are sorted. */
static void put_entries_only_in(struct nft_batch *batch, uint16_t type, const struct guard *a,
                                const struct guard *b)
{
    struct nft_elements e = { .b = batch, .set = "guard", .type = type };

    for (size_t i = 0, j = 0; a && i < a->n_entries; i++) {
        while (b && j < b->n_entries && b->entries[j].uid.lo < a->entries[i].uid.lo)
            j++;
        if (!b || j == b->n_entries || !entry_equal(&a->entries[i], &b->entries[j]))
            put_entry(&e, &a->entries[i]);
    }
    nft_elements_flush(&e);
}

static void put_incoming_only_in(struct nft_batch *batch, uint16_t type, const struct guard *a,
                                 const struct guard *b)
{
    struct nft_elements e = { .b = batch, .set = "incoming", .type = type };

    for (size_t i = 0, j = 0; a && i < a->n_incoming; i++) {
        const struct guard_incoming *in = &a->incoming[i];

        while (b && j < b->n_incoming && b->incoming[j].ifindex < in->ifindex)
            j++;
        /* the element names the chain, so only another netId makes another element */
        if (!b || j == b->n_incoming || b->incoming[j].ifindex != in->ifindex ||
            ((b->incoming[j].mark ^ in->mark) & MARK_NETID_MASK))
            put_incoming(&e, in);
    }
    nft_elements_flush(&e);
}

static void delete_old_chains(struct nft_batch *b, const struct guard *from, const struct guard *to)
{
    char name[24];

    for (size_t i = 0; i < from->n_chains; i++)
        if (!guard_chain(to, from->chains[i].netid)) {
            chain_name(name, "out", from->chains[i].netid);
            flush_chain(b, name);
            nft_chain_put(b, NFT_MSG_DELCHAIN, name, -1, 0);
            nft_outside_delete(b, from, to, from->chains[i].netid);
        }
    for (size_t i = 0; i < from->n_incoming; i++) {
        uint32_t netid = from->incoming[i].mark & MARK_NETID_MASK;

        if (incoming_mark(to, netid) || !is_first(from, i))
            continue;
        chain_name(name, "in", netid);
        flush_chain(b, name);
        nft_chain_put(b, NFT_MSG_DELCHAIN, name, -1, 0);
    }
}

static void put_change(struct nft_batch *b, const struct guard *from, const struct guard *to)
{
    if (!from) {
        put_skeleton(b);
        nft_chain_put(b, NFT_MSG_NEWCHAIN, "out_0", -1, 0);
        put_out_rules(b, NULL, 0);
        (void)put_new_out_chains(b, NULL, to);
    } else
        put_changed_out_chains(b, from, to); /* the new ones are there already */
    nft_own_put_change(b, from, to);
    put_in_chains(b, from, to);
    put_entries_only_in(b, NFT_MSG_DELSETELEM, from, to);
    put_entries_only_in(b, NFT_MSG_NEWSETELEM, to, from);
    put_incoming_only_in(b, NFT_MSG_DELSETELEM, from, to);
    put_incoming_only_in(b, NFT_MSG_NEWSETELEM, to, from);
    if (from)
        delete_old_chains(b, from, to);
}

static int send_batch(struct nlsock *s, struct nft_batch *b, unsigned *commits, struct why *why)
{
    int r = nft_batch_send(b, s, why);

    if (r < 0)
        return why_set(why, r, "nftables: %s", why_text(why, r));
    ++*commits;
    return 0;
}

static int make_table(struct nlsock *s, const char *name, const struct guard *g, bool arp,
                      unsigned *commits, struct why *why)
{
    _cleanup_nft_batch_ struct nft_batch b = { 0 };

    nft_batch_init(&b, name, s->seq);
    b.arp = arp;
    put_change(&b, NULL, g);
    return send_batch(s, &b, commits, why);
}

static int table_of_family_exists(struct nlsock *s, const char *name, uint8_t family)
{
    struct nftnl_table *t = nftnl_table_alloc();
    char buf[512];
    int r;

    if (!t)
        return -ENOMEM;
    nftnl_table_set_str(t, NFTNL_TABLE_NAME, name);
    struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETTABLE, family, 0, 0);
    nftnl_table_nlmsg_build_payload(nlh, t);
    nftnl_table_free(t);
    r = nlsock_request(s, nlh, NULL, NULL, NULL);
    return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

static int table_exists(struct nlsock *s, const char *name)
{
    return table_of_family_exists(s, name, NFPROTO_INET);
}

/* And that of ARP, whoever made it. */
static int remove_table(struct nlsock *s, const char *name, unsigned *commits, struct why *why)
{
    _cleanup_nft_batch_ struct nft_batch b = { 0 };

    nft_batch_init(&b, name, s->seq);
    b.arp = table_of_family_exists(s, name, NFPROTO_ARP) > 0;
    put_tables(&b, put_no_table);
    return send_batch(s, &b, commits, why);
}

/* Makes the table anew; what stands guards on, by a table beside it, until it is there. */
static int replace_table(struct nlsock *s, const struct guard *to, bool arp, unsigned *commits,
                         struct why *why)
{
    bool stands = table_exists(s, NFT_TABLE_NAME) != 0;
    bool beside = stands || table_exists(s, NFT_TABLE_NAME_NEXT) != 0;
    int r = stands ? make_table(s, NFT_TABLE_NAME_NEXT, to, false, commits, why) : 0;
    int removed = 0;

    if (r == 0)
        r = make_table(s, NFT_TABLE_NAME, to, arp, commits, why);
    if (beside)
        removed = remove_table(s, NFT_TABLE_NAME_NEXT, commits, r < 0 ? NULL : why);
    return r < 0 ? r : removed;
}

static int change_table(struct nlsock *s, const struct guard *from, const struct guard *to,
                        bool arp, unsigned *commits, struct why *why)
{
    _cleanup_nft_batch_ struct nft_batch chains = { 0 }, rest = { 0 };
    int r = 0;

    nft_batch_init(&chains, NFT_TABLE_NAME, s->seq);
    if (put_new_out_chains(&chains, from, to) > 0)
        r = send_batch(s, &chains, commits, why);
    if (r < 0)
        return r;
    nft_batch_init(&rest, NFT_TABLE_NAME, s->seq);
    rest.arp = arp;
    put_change(&rest, from, to);
    return send_batch(s, &rest, commits, why);
}

static int remove_tables(struct nlsock *s, unsigned *commits, struct why *why)
{
    int r = remove_table(s, NFT_TABLE_NAME, commits, why);

    if (r == 0 && table_exists(s, NFT_TABLE_NAME_NEXT) != 0)
        r = remove_table(s, NFT_TABLE_NAME_NEXT, commits, why);
    return r;
}

int nft_apply_guard(struct nlsock *s, const struct guard *from, const struct guard *to, bool arp,
                    unsigned *commits, struct why *why)
{
    return !to    ? remove_tables(s, commits, why)
           : from ? change_table(s, from, to, arp, commits, why)
                  : replace_table(s, to, arp, commits, why);
}

int nft_probe(struct nlsock *s, bool arp)
{
    _cleanup_nft_batch_ struct nft_batch b = { 0 };
    _cleanup_(guard_unrefp) struct guard *g = guard_new();

    const struct guard_outside outside = { .netid = 1,
                                           .outside = 1,
                                           .prefix = { .addr.family = AF_INET } };

    if (!g || guard_add_outside(g, &outside) < 0 || guard_add_chain(g, 1, true) < 0 ||
        guard_add_port(g, 1, 1) < 0 || guard_add_entry(g, (struct uid_range){ 1, 2 }, 1) < 0 ||
        guard_add_incoming(g, 1, 1) < 0)
        return -ENOMEM;
    nft_batch_init(&b, PROBE_TABLE_NAME, s->seq);
    b.arp = arp;
    put_change(&b, NULL, g);
    put_tables(&b, put_no_table);
    return nft_batch_send(&b, s, NULL);
}

int nft_table_exists(struct nlsock *s)
{
    int r = table_exists(s, NFT_TABLE_NAME);

    if (r == 0)
        r = table_exists(s, NFT_TABLE_NAME_NEXT);
    return r == 0 ? table_of_family_exists(s, NFT_TABLE_NAME, NFPROTO_ARP) > 0 : r;
}

bool nft_event_is_ours(const struct nlmsghdr *nlh)
{
    /* the table's name is attribute 1 of tables, chains, rules, sets and elements alike */
    static const struct nlattr_policy policy[] = { [NFTA_TABLE_NAME] = { 1, 0 } };
    const struct nlattr *tb[ELEMENTSOF(policy)];
    char name[NFT_TABLE_MAXNAMELEN];

    if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
        NFNL_MSG_TYPE(nlh->nlmsg_type) == NFT_MSG_NEWGEN ||
        nlattr_parse_message(nlh, sizeof(struct nfgenmsg), policy, ELEMENTSOF(policy), tb) < 0)
        return false;
    nlattr_string(tb[NFTA_TABLE_NAME], name, sizeof(name));
    return streq(name, NFT_TABLE_NAME);
}

static int take_generation(void *data, const struct nlmsghdr *nlh)
{
    static const struct nlattr_policy policy[] = { [NFTA_GEN_ID] = NLATTR_U32 };
    const struct nlattr *tb[ELEMENTSOF(policy)];
    int r = nlattr_parse_message(nlh, sizeof(struct nfgenmsg), policy, ELEMENTSOF(policy), tb);

    if (r == 0)
        *(uint32_t *)data = ntohl(nlattr_u32(tb[NFTA_GEN_ID], 0));
    return r;
}

uint32_t nft_event_generation(const struct nlmsghdr *nlh)
{
    uint32_t generation = 0;

    if (NFNL_SUBSYS_ID(nlh->nlmsg_type) != NFNL_SUBSYS_NFTABLES ||
        NFNL_MSG_TYPE(nlh->nlmsg_type) != NFT_MSG_NEWGEN || take_generation(&generation, nlh) < 0)
        return 0;
    return generation;
}

int nft_generation(struct nlsock *s, uint32_t *ret)
{
    char buf[64];
    struct nlmsghdr *nlh = nftnl_nlmsg_build_hdr(buf, NFT_MSG_GETGEN, AF_UNSPEC, 0, 0);

    return nlsock_request(s, nlh, take_generation, ret, NULL);
}
