/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the files apply/bpf*.c share; nobody else includes it. */

#include "apply/bpf.h"

struct socket_bpf;

/* Every map that is pinned; `config` comes last, when all else is there. */
enum bpf_map_id {
    BPF_MAP_UIDS,
    BPF_MAP_VPNS,
    BPF_MAP_CGROUPS,
    BPF_MAP_EXECUTABLES,
    BPF_MAP_PLACES,
    BPF_MAP_PATHS,
    BPF_MAP_NETWORKS,
    BPF_MAP_PORTS,
    BPF_MAP_OUTSIDE,
    BPF_MAP_INTERFACES,
    BPF_MAP_USERS,
    BPF_MAP_SOCKETS,
    BPF_MAP_STATS,
    BPF_MAP_CONFIG,
    BPF_MAP_ID_MAX,
};

/* Room for a key of any table. */
union bpf_key {
    struct map_executable executable;
    struct map_place place;
    struct map_path path;
    struct map_uid_prefix prefix;
    struct map_outside outside;
    uint8_t bytes[sizeof(struct map_outside)];
};

enum bpf_iterator {
    BPF_ITERATOR_FILL,
    BPF_ITERATOR_OWN_FILES,
    BPF_ITERATOR_RECORDS,
    BPF_ITERATOR_MAX
};

struct bpf {
    char *folder; /* <fs>/waymark/<cookie> */
    char *set;    /* our folder in it */
    uint64_t netns;
    int maps[BPF_MAP_ID_MAX];
    int iterators[BPF_ITERATOR_MAX];
    bool has_past;
    bool others; /* sets that ours replaces still stand */
    bool prefixes_known[BPF_RANGE_TABLE_MAX];
    bool empty[BPF_MAP_ID_MAX]; /* it was, and nothing was put into it since; else it may be */
    bool new_executables;       /* some are assigned that were not when the last generation began */
};

/* By enum bpf_map_id. */
const char *bpf_map_name(enum bpf_map_id id);

/* Detaches and removes one set, or what there is of it. */
int bpf_remove_set(const char *folder, const char *set, struct why *why);

/* Detaches and removes the sets in `folder`, but for the one called `keep` (may be NULL). */
int bpf_remove_sets(const char *folder, const char *keep, struct why *why);

/* Programs in memory, not loaded. NULL with the reason. */
struct socket_bpf *bpf_load_open(struct why *why);

/* Loads them; what the verifier said last is in `why`. */
int bpf_load(struct socket_bpf *skel, struct why *why);
