/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From facts to the policy that holds, kept in the socket's record.
 *
 * A record is made with the socket where it must be (resolve_keeps()), else with its first packet that
 * is not for lo. It is resolved anew when its generation is not that of the configuration. Two
 * processors may want to do that at once, one of them for the generation before: who comes first claims
 * the record, and the other one judges by a copy. Who reads a policy while it is written gets parts
 * of the one before and the one after, which allows no more than the laxer of the two does.
 */

#include "bpf/chain.h"

/* The configuration, if it is on and of our layout. */
static __always_inline const struct map_config *resolve_config(void)
{
    __u32 zero = 0;
    const struct map_config *c = bpf_map_lookup_elem(&config, &zero);

    return c && c->enabled && c->abi == MAPS_ABI ? c : NULL;
}

static __always_inline struct map_uid_prefix resolve_uid_key(__u32 uid)
{
    return (struct map_uid_prefix){
        .length = 32, .uid = { uid >> 24, (uid >> 16) & 0xff, (uid >> 8) & 0xff, uid & 0xff }
    };
}

/*
 * By what it is, and by where it is. Mostly that says the same. A file that was moved to another one's
 * place may be what it was or what lies there, until the daemon says which: then the stricter holds.
 */
static __always_inline const struct socket_policy *resolve_executable(const struct map_record *r,
                                                                      const struct map_config *c)
{
    const struct map_place place = { r->executable.dev, r->directory, r->name };
    const struct socket_policy *file = NULL, *lies_there = NULL;

    if (c->flags & MAP_CONFIG_EXECUTABLES)
        file = bpf_map_lookup_elem(&executables, &r->executable);
    if (r->name && c->flags & MAP_CONFIG_PLACES)
        lies_there = bpf_map_lookup_elem(&places, &place);
    return chain_stricter(file, lies_there);
}

/* r: executable and uid are known. `cgroup` NULL: the current process's. */
static __always_inline void resolve_policy(struct map_record *r, const struct map_config *c,
                                           __u64 generation, struct cgroup *cgroup)
{
    struct socket_matches m = { 0 };
    struct socket_policy policy;
    struct map_chain chain;

    if (c->flags & (MAP_CONFIG_CGROUPS | MAP_CONFIG_PATHS)) {
        chain_find(cgroup, generation, &chain);
        r->cgroup = chain.cgroup;
        m.run = chain.found & MAP_CHAIN_RUN ? &chain.run : NULL;
        m.cgroup = chain.found & MAP_CHAIN_NEAREST ? &chain.nearest : NULL;
    }
    m.executable = resolve_executable(r, c);
    if (c->flags & MAP_CONFIG_UIDS) {
        struct map_uid_prefix key = resolve_uid_key(r->uid);

        m.uid = bpf_map_lookup_elem(&uids, &key);
    }
    r->selector = socket_choose_policy(&m, &policy);
    r->policy = policy;
    barrier();
    r->generation = generation;
}

/* Volatile: it is to be read before all else is. */
static __always_inline __u64 resolve_generation(const struct map_config *c)
{
    return *(const volatile __u64 *)&c->generation;
}

/* The generation of a record that somebody resolves; none gets as far. */
#define RESOLVE_CLAIMED (~0ULL)

/* The record as it is to be now: itself, or the copy in *spare. */
static __always_inline struct map_record *resolve_again(struct map_record *r,
                                                        const struct map_config *c, void *socket,
                                                        struct map_record *spare)
{
    __u64 generation = resolve_generation(c), before = *(volatile __u64 *)&r->generation;
    struct sock *sk;

    if (before == generation || r->flags & MAP_RECORD_KERNEL)
        return r;
    if (before == RESOLVE_CLAIMED ||
        __sync_val_compare_and_swap(&r->generation, before, RESOLVE_CLAIMED) != before) {
        *spare = *r;
        r = spare;
    }
    sk = facts_address(socket);
    r->uid = facts_uid(sk); /* fchown(2) may have changed it */
    resolve_policy(r, c, generation, facts_cgroup(sk));
    return r;
}

/*
 * The executable, and its place, if that can matter: somebody has assigned one in that directory, or,
 * with `any`, may do so later.
 */
static __always_inline void resolve_task(struct map_record *r, const struct map_config *c,
                                         struct task_struct *task, bool any)
{
    struct map_place directory;
    struct dentry *dentry;
    __u64 length = 0;

    facts_executable(task, &r->executable);
    if (!any && !(c->flags & MAP_CONFIG_PLACES))
        return;
    dentry = facts_place(task, &directory);
    if (!dentry || (!any && !bpf_map_lookup_elem(&places, &directory)))
        return;
    r->directory = directory.directory;
    r->name = place_hash((__u64)BPF_CORE_READ(dentry, d_name.name), &length);
}

/* The same for a socket that the current process makes or uses. `cgroup` NULL: made now. */
static __always_inline void resolve_current(struct map_record *r, const struct map_config *c,
                                            struct cgroup *cgroup)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (c->flags & (MAP_CONFIG_EXECUTABLES | MAP_CONFIG_PLACES))
        resolve_task(r, c, task, false);
    if (cgroup == task->cgroups->dfl_cgrp)
        cgroup = NULL; /* mostly so, and the quicker way */
    resolve_policy(r, c, resolve_generation(c), cgroup);
}

/*
 * Is this a record that must be kept? What a socket's cgroup and uid say can be found out again; its
 * executable cannot. Keeping one costs as much as all the rest at socket() together.
 */
static __always_inline bool resolve_keeps(const struct map_record *r)
{
    return r->selector == SOCKET_SELECTOR_EXECUTABLE;
}
