/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From facts to the policy that holds, kept in the socket's record.
 *
 * A record is made with the socket where it must be (resolve_keeps()), else with its first packet that
 * is not for lo. It is resolved anew when its generation is not that of the configuration. Two processors may do that at once: they write the same, and the generation
 * last. Who reads a policy while it is written gets parts of the one before and the one after,
 * which allows no more than the laxer of the two does.
 */

#include "bpf/facts.h"

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
 * From the root down, so that the nearest is the last that is found. `cgroup` NULL: the current
 * process's, for which there is a helper.
 */
static __always_inline __u64 resolve_cgroups(struct cgroup *cgroup, struct socket_matches *m)
{
    __u64 id = 0, nearest = 0;
    int depth = cgroup ? BPF_CORE_READ(cgroup, level) : MAPS_CGROUP_LEVELS;

    for (int level = 1; level < MAPS_CGROUP_LEVELS && level <= depth; level++) {
        const struct socket_policy *p;

        id = cgroup ? facts_ancestor(cgroup, level) : bpf_get_current_ancestor_cgroup_id(level);
        if (!id)
            break;
        nearest = id;
        p = bpf_map_lookup_elem(&cgroups, &id);
        if (p && p->flags & SOCKET_POLICY_FIRST)
            m->run = p;
        else if (p)
            m->cgroup = p;
    }
    return nearest;
}

/* r: executable and uid are known. `cgroup` as above. */
static __always_inline void resolve_policy(struct map_record *r, const struct map_config *c,
                                           __u64 generation, struct cgroup *cgroup)
{
    struct socket_matches m = { 0 };
    struct socket_policy policy;

    if (c->flags & MAP_CONFIG_CGROUPS)
        r->cgroup = resolve_cgroups(cgroup, &m);
    if (c->flags & MAP_CONFIG_EXECUTABLES)
        m.executable = bpf_map_lookup_elem(&executables, &r->executable);
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

static __always_inline void resolve_again(struct map_record *r, const struct map_config *c,
                                          void *socket)
{
    __u64 generation = resolve_generation(c);
    struct sock *sk;

    if (r->generation == generation || r->flags & MAP_RECORD_KERNEL)
        return;
    sk = facts_address(socket);
    r->uid = facts_uid(sk); /* fchown(2) may have changed it */
    resolve_policy(r, c, generation, facts_cgroup(sk));
}

/* The same for a socket that the current process makes or uses. `cgroup` NULL: made now. */
static __always_inline void resolve_current(struct map_record *r, const struct map_config *c,
                                            struct cgroup *cgroup)
{
    struct task_struct *task = bpf_get_current_task_btf();

    if (c->flags & (MAP_CONFIG_EXECUTABLES | MAP_CONFIG_RECORD_ALL))
        facts_executable(task, &r->executable);
    if (cgroup == task->cgroups->dfl_cgrp)
        cgroup = NULL; /* mostly so, and the quicker way */
    resolve_policy(r, c, resolve_generation(c), cgroup);
}

/*
 * Is this a record that must be kept? What a socket's cgroup and uid say can be found out again; its
 * executable cannot. Keeping one costs as much as all the rest at socket() together.
 */
static __always_inline bool resolve_keeps(const struct map_record *r, const struct map_config *c)
{
    return r->selector == SOCKET_SELECTOR_EXECUTABLE || c->flags & MAP_CONFIG_RECORD_ALL;
}
