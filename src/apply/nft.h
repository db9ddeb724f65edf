/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The guard in nftables: table `inet waymark`.
 *
 *   table inet waymark {
 *       map guard    { type uid : verdict; flags interval; }   # 1000-1999 : goto out_100
 *       map incoming { type iface_index : verdict; }           # eth0 : goto in_100
 *       chain out_100 { meta mark & 0x20000 == 0x20000 return  # a VPN's chain only
 *                       oif lo return; oif eth0 return; counter drop; }
 *       chain out_0   { oif lo return; counter drop; }         # `none`, or no network
 *       chain in_100  { meta mark set meta mark & 0xfff00000 | 0x30064; }
 *       chain guard_postrouting { type filter hook postrouting priority 300;
 *                                 meta skuid vmap @guard; }
 *       chain incoming_input { type filter hook input priority mangle; iif vmap @incoming; }
 *   }
 *
 * and what is outside of networks (nft-outside.h), and whose the addresses of VPNs are (nft-own.h).
 *
 * Postrouting, because only there is the output interface final: a `type route` chain of somebody
 * else's that changes a mark has the packet routed again, and an output hook would still see the
 * old interface. A packet that has no socket (forwarded, kernel replies) matches no uid and passes.
 *
 * A change is a batch, and the kernel switches from the old to the new at one instant: but a packet
 * that is under way at that instant sees the rules as they were and the elements as they will be, or
 * of two base chains both at the wrong moment. So chains that are new are committed before what
 * points to them; and while a table is replaced, another one with the same guard, `waymark_next`,
 * stands beside it.
 *
 * Each commit is followed by a grace period of RCU in which the kernel throws the old away, and another
 * one that comes meanwhile may have to wait for it. So what changes a table that stands is two commits
 * at most, the table of ARP included.
 */

#include "model/guard.h"
#include "observe/nlsock.h"

#define NFT_TABLE_NAME      "waymark"
#define NFT_TABLE_NAME_NEXT "waymark_next"

/*
 * Leads from one guard to another. `from` NULL: nothing is known to be there, the table is made
 * anew (one that stands is replaced). `to` NULL: the table is removed, if it is there. `arp`: the kernel has
 * tables of ARP. 0 or a negative errno with the reason; then the guard is as before. Adds to *commits how
 * many there were.
 */
int nft_apply_guard(struct nlsock *s, const struct guard *from, const struct guard *to, bool arp,
                    unsigned *commits, struct why *why);

/* Is this message of the group NFNLGRP_NFTABLES about our table? */
bool nft_event_is_ours(const struct nlmsghdr *nlh);

/* The number of the ruleset's generation: every commit of anybody's makes a new one. 0 or -errno. */
int nft_generation(struct nlsock *s, uint32_t *ret);

/* The generation that a message of the group announces, at the end of a commit; 0: it is no such. */
uint32_t nft_event_generation(const struct nlmsghdr *nlh);

/* Is the table, or what a crash left of it, there? 1, 0, or -errno. */
int nft_table_exists(struct nlsock *s);

/*
 * Does the kernel know all we use; that of ARP, too? Makes a table of another name in a batch that is then
 * given up.
 */
int nft_probe(struct nlsock *s, bool arp);
