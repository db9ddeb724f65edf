/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What carries the apps: `rules`, policy rules per user and a guard in nftables; or `maps`, programs at
 * the cgroup, which know executables, cgroups and units as well (docs/bpf.md).
 *
 * It is chosen once, at start: maps, unless rules are asked for. Where the kernel cannot have the
 * programs, or the daemon may not load them, it goes on with rules, and says so. Whatever the other
 * one of an earlier run has left in the kernel goes with the first plan: the new one stands before the
 * old one falls (plan/ops.h).
 */

#include "daemon/manager.h"

/* The root of cgroup2, where it had to be found. */
struct backend_root {
    char path[256];
};

/*
 * Where the programs go, and whether we may load any: *ret points into the options or to `root`. 0;
 * -EPERM without the capabilities, -ENOENT without cgroup2.
 */
int backend_find_cgroup(const struct manager_options *options, struct backend_root *root,
                        const char **ret, struct why *why);

/* Chooses, and opens what the choice needs. Never fails: there are always rules. */
void backend_open(struct manager *m);
void backend_close(struct manager *m);

/* Follows programs and cgroups as they come and go. 0 or -errno. */
int backend_watch(struct manager *m);

/* How many assignments only programs at the cgroup can hold. */
size_t backend_count_unsupported(const struct model *model);

/* What the process selectors of this model mean now. 0 or -ENOMEM. Valid until the next call. */
int backend_apps(struct manager *m, const struct model *model, const struct plan_app **ret,
                 size_t *ret_n);

/* The same by place. Valid as that. */
const struct plan_place *backend_places(const struct manager *m, size_t *ret_n);

/* Is there any use in backend_scan()? */
bool backend_wants_scan(const struct manager *m);

/* Forgets programs that were replaced and that nobody runs any more. To be called now and then. */
void backend_scan(struct manager *m);
