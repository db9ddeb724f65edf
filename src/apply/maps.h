/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The guard at the cgroup: from a struct guard to the maps of the BPF programs (apply/bpf.h).
 *
 * Changes are entries, not the whole: of two guards that are known only the difference is written.
 * There is no transaction over maps, so the order is what keeps it tight:
 *
 *   1  ports that are no more go, and what  nobody gains by it
 *      is no more outside of a network
 *   2  what the programs know of the world  no packet passes by it alone
 *   3  policies, then the new generation    from here on sockets that exist are judged anew
 *   4  ports that are new come, and what is outside now
 *
 * The order is the same when it is not known what they hold; then each table is replaced, but for what is
 * outside of networks, which is read.
 *
 * So between two steps an app may be blocked that is not to be, for some microseconds, but none passes
 * that neither guard lets pass.
 */

#include "apply/bpf.h"
#include "model/guard.h"

/*
 * `from` NULL: what the maps hold is not known, and all of it is replaced. 0, or a negative errno; then
 * the maps hold some of both.
 */
int maps_apply_guard(struct bpf *b, const struct guard *from, const struct guard *to,
                     struct why *why);

/* For bpf_read_table(BPF_OUTSIDE): adds the entry to the struct guard `data`. */
int maps_read_outside(void *data, const void *key, const void *value);

/*
 * What the maps hold, after a start or a change that broke off in its midst: as a guard, from which the
 * usual difference leads on. It is made to count first (bpf_commit_again()): who was killed between the
 * tables and the generation has left entries that no socket of before knows of.
 *
 * What has no meaning to the programs is not told apart: chains without ports, GUARD_EXEMPT, which is in
 * the users' table.
 *
 * 0 and *ret with one reference; -ENODATA: nothing is in force in them; -EPROTO: they hold something that
 * maps_apply_guard() does not write; -ENOMEM, -errno.
 */
int maps_read_guard(struct bpf *b, struct guard **ret, struct why *why);
