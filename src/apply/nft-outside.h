/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is outside of a network, in nftables: for each chain of a network two sets of intervals, `outside4_NETID` and
 * `outside6_NETID`, whose destinations the chain lets pass. There are none where nothing is outside.
 *
 * A guard has prefixes by longest match (model/guard.h); here are the intervals in which that says
 * `outside`, of which there are at most as many as prefixes.
 */

#include "apply/nft-batch.h"
#include "model/guard.h"

/* Makes the sets of a new chain; before its rules. `netid` as the chain has it, with its GUARD_EXEMPT. */
void nft_outside_put(struct nft_batch *b, const struct guard *g, uint32_t netid);

/* The rules at the end of the chain `name`. */
void nft_outside_put_rules(struct nft_batch *b, const char *name, const struct guard *g,
                           uint32_t netid);

/* Do the rules of a chain, but not what is in its sets, have to change? */
bool nft_outside_rules_differ(const struct guard *a, const struct guard *b, uint32_t netid);

/* Sets of a chain that stays; before its rules, when these are to change. */
void nft_outside_change(struct nft_batch *b, const struct guard *from, const struct guard *to,
                        uint32_t netid);

/* The sets that `from` has and `to` has not; behind the rules. */
void nft_outside_delete(struct nft_batch *b, const struct guard *from, const struct guard *to,
                        uint32_t netid);
