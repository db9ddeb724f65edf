/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The addresses of VPNs' interfaces (struct guard_own), in nftables.
 *
 *   table inet waymark {                                  table arp waymark {
 *       set own4 { type ipv4_addr; }                          set own4   { … }
 *       set pairs4 { type ipv4_addr . iface_index; }          set pairs4 { … }
 *       chain own_input { type filter hook input …;           chain own_input { type filter hook input …;
 *           ip daddr @own4                                        arp daddr ip @own4
 *           ip daddr . iif != @pairs4 counter drop; …}            arp daddr ip . iif != @pairs4 counter drop; }
 *   }                                                     }
 *
 * and own6, pairs6. lo is among the pairs; so are link-local addresses, where they count, which are not among
 * the own. Linux takes a packet for any of its addresses by any interface,
 * and answers ARP for them there; IPv6 answers neighbours only for the addresses of the interface that
 * is asked. The table of ARP is there where the kernel can have one, also while it is empty: to make it
 * with the first VPN would be one more commit (nft.h).
 *
 * And what the programs of VPNs write into their tunnels (struct guard_forward), in table inet:
 *
 *   set forward { type iface_index; }
 *   chain handed_prerouting { type filter hook prerouting priority -310;
 *       iifname != "wmtun*" return
 *       iif @forward return
 *       ip daddr . iif @pairs4 return; ip6 daddr . iif @pairs6 return
 *       counter drop }
 *   chain handed_forward { type filter hook forward priority -310;
 *       iifname != "wmtun*" return; iif @forward return; counter drop }
 *
 * By the name, so that it holds for an interface that is not in the model yet, or not any more. Before
 * connection tracking (-200), whose connections and addresses are others'; the second chain is for what somebody's
 * DNAT turned from the VPN's address to another machine's.
 */

#include "apply/nft-batch.h"
#include "model/guard.h"

/* Sets, chains and rules, all empty; of the table of ARP if b->arp. The tables themselves are there. */
void nft_own_put_skeleton(struct nft_batch *b);
/* What is in the sets; `from` NULL: they are empty. */
void nft_own_put_change(struct nft_batch *b, const struct guard *from, const struct guard *to);
