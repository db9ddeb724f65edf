/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What the cgroups above a socket say, from the root down to its own: by their ids, and by their names
 * (decide/place.h).
 *
 * That takes a look at each of them, and is kept, per processor, for as long as the generation lasts:
 * a cgroup's place among the others never changes, and its id goes to no other. So the names of a
 * cgroup are read once, and a socket of a cgroup that is known costs one look at an array, however deep
 * that is. Where a slot is just being written, by who was interrupted, it is as if nothing were known.
 */

#include "bpf/place.h"

/* On its way down. */
struct chain_walk {
    __u64 way;         /* the path so far, while there are longer ones; else 0 */
    __u64 holds_units; /* what is below is a unit */
};

static __always_inline const struct socket_policy *chain_named(__u64 parent, __u64 name, __u32 kind)
{
    const struct map_path key = { .parent = parent, .name = name, .kind = kind };

    return bpf_map_lookup_elem(&paths, &key);
}

/* As the daemon chooses among the assignments of one thing (decide/app.h); of two alike, the first. */
static __always_inline const struct socket_policy *chain_stricter(const struct socket_policy *a,
                                                                  const struct socket_policy *b)
{
    if (!a || !b)
        return a ?: b;
    return b->strength > a->strength ? b : a;
}

/* By name; the daemon has not told of the id. */
static __always_inline const struct socket_policy *chain_step(struct chain_walk *w, __u64 id,
                                                              __u64 name)
{
    const struct socket_policy *path = NULL, *unit = NULL;
    struct place_cgroup cgroup = { 0 };

    if (chain_named(id, 0, PLACE_ROOT)) {
        *w = (struct chain_walk){ .way = PLACE_TOP, .holds_units = 1 };
        return NULL;
    }
    if (!w->way && !w->holds_units)
        return NULL;
    (void)place_read_cgroup(&cgroup, name);
    if (w->way) {
        path = chain_named(w->way, cgroup.name, PLACE_CGROUP);
        w->way = chain_named(w->way, cgroup.name, PLACE_WAY) ? place_below(w->way, cgroup.name) : 0;
    }
    if (w->holds_units) {
        unit = chain_named(0, cgroup.unit, PLACE_UNIT);
        w->holds_units = cgroup.holds_units;
    }
    return chain_stricter(path, unit);
}

/* `address` is that of a struct cgroup. */
__attribute__((noinline)) int chain_walk(struct map_chain *ret, __u64 address)
{
    struct cgroup *cgroup = (struct cgroup *)address;
    int depth = BPF_CORE_READ(cgroup, level);
    struct chain_walk w = { 0 };

    if (!ret)
        return 0;
    for (int level = 0; level < MAPS_CGROUP_LEVELS && level <= depth; level++) {
        const struct socket_policy *by_id, *by_name;
        __u64 name = 0, id = facts_ancestor(cgroup, level, &name);

        by_id = bpf_map_lookup_elem(&cgroups, &id);
        by_name = name ? chain_step(&w, id, name) : NULL;
        if (by_id)
            by_name = by_id;
        if (by_name && by_name->flags & SOCKET_POLICY_FIRST) {
            ret->run = *by_name;
            ret->found |= MAP_CHAIN_RUN;
        } else if (by_name) {
            ret->nearest = *by_name;
            ret->found |= MAP_CHAIN_NEAREST;
        }
    }
    return 0;
}

static __always_inline struct map_chain *chain_slot(__u64 id)
{
    __u32 slot = (__u32)(id ^ (id >> 32)) % MAPS_CHAINS_MAX;

    return bpf_map_lookup_elem(&chains, &slot);
}

/* True: *ret is what is known of it in this generation. */
static __always_inline bool chain_recall(__u64 id, __u64 generation, struct map_chain *ret)
{
    struct map_chain *slot = chain_slot(id);
    __u32 version;

    if (!slot)
        return false;
    version = *(volatile __u32 *)&slot->version;
    barrier();
    if (*(volatile __u32 *)&slot->busy) /* who writes may be done before we are */
        return false;
    if (slot->cgroup != id || slot->generation != generation)
        return false;
    *ret = *slot;
    barrier();
    return ret->cgroup == id && ret->generation == generation && !*(volatile __u32 *)&slot->busy &&
           *(volatile __u32 *)&slot->version == version;
}

static __always_inline void chain_keep(const struct map_chain *c)
{
    struct map_chain *slot = chain_slot(c->cgroup);

    if (!slot || __sync_lock_test_and_set(&slot->busy, 1))
        return;
    slot->version++;
    barrier();
    slot->found = c->found;
    slot->cgroup = c->cgroup;
    slot->generation = c->generation;
    slot->run = c->run;
    slot->nearest = c->nearest;
    barrier();
    *(volatile __u32 *)&slot->busy = 0;
}

/* `cgroup` NULL: the current process's. */
static __always_inline void chain_find(struct cgroup *cgroup, __u64 generation,
                                       struct map_chain *ret)
{
    __u64 id = cgroup ? BPF_CORE_READ(cgroup, kn, id) : bpf_get_current_cgroup_id();

    if (chain_recall(id, generation, ret))
        return;
    *ret = (struct map_chain){ .cgroup = id, .generation = generation };
    if (!cgroup)
        cgroup = facts_current_cgroup();
    (void)chain_walk(ret, (__u64)cgroup);
    chain_keep(ret);
}
