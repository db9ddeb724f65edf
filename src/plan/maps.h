/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The `maps` back-end: apps are carried by BPF programs at the cgroup instead of by rules per uid.
 *
 * The programs give each socket a mark when it is made (decide/socket.h) and judge each packet where
 * it leaves. What they know is a struct guard: who is held to which network, or prefers it, and by
 * which interfaces that network leaves. Rules then lead from marks to tables, once per network that
 * somebody is assigned to, however many are (8500 and 8600 where there is something outside of it):
 *
 *     8000  REQUIRE_NETWORK   mark netId|explicit, not protected → the network's table
 *     9000  PROHIBIT_OTHER    the same mark → prohibit (EACCES)
 *    22000… for networks that somebody prefers: mark netId → the network's table
 *
 * So the kernel's walk over rules, and the number of them, depends on networks alone, and a change of
 * one assignment among 100 000 changes a few map entries and, at most, one network's rules.
 */

#include "plan/plan.h"

/* The guard at the cgroup. 0 and *ret with one reference, or -ENOMEM. */
int maps_build_guard(const struct plan_input *input, const struct targets *t,
                     const struct policy *p, const struct route_set *routes, struct guard **ret);

/*
 * One segment for each network that the guard holds or prefers (VERDICT_MARK_*), over all uids, for
 * rules_for_segments(). Appended in the order of targets. 0 or -ENOMEM.
 */
int maps_build_marks(const struct guard *maps, const struct targets *t, struct segments *ret);
