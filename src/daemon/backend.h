/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What carries the apps: `rules`, policy rules per user and a guard in nftables; or `maps`, programs at
 * the cgroup, which know executables, cgroups and units as well (docs/bpf.md).
 *
 * It is chosen once, at start. Where the kernel cannot have the programs, the daemon goes on with
 * rules, and says so. Whatever the other one of an earlier run has left in the kernel goes with the
 * first plan: the new one stands before the old one falls (plan/ops.h).
 */

#include "daemon/manager.h"

/* Chooses, and opens what the choice needs. Never fails: there is always `rules`. */
void backend_open(struct manager *m);
void backend_close(struct manager *m);

/* Follows programs and cgroups as they come and go. 0 or -errno. */
int backend_watch(struct manager *m);

/* What the process selectors of this model mean now. 0 or -ENOMEM. Valid until the next call. */
int backend_apps(struct manager *m, const struct model *model, const struct plan_app **ret,
                 size_t *ret_n);

/* Is there any use in backend_scan()? */
bool backend_wants_scan(const struct manager *m);

/* Forgets programs that were replaced and that nobody runs any more. To be called now and then. */
void backend_scan(struct manager *m);
