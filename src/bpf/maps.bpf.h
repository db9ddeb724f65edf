/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The maps themselves, for the programs; what is in them is said in maps.h. */

#include "bpf/kernel.h"

#include <bpf/bpf_helpers.h>

#include "bpf/maps.h"

#define MAP(name, kind, key_type, value_type, n, flags) \
    struct {                                            \
        __uint(type, kind);                             \
        __type(key, key_type);                          \
        __type(value, value_type);                      \
        __uint(max_entries, n);                         \
        __uint(map_flags, flags);                       \
    } name SEC(".maps")

/* Tables that are mostly small are not allocated in advance. */
#define TABLE(name, key_type, value_type, n) \
    MAP(name, BPF_MAP_TYPE_HASH, key_type, value_type, n, BPF_F_NO_PREALLOC)
#define UID_TABLE(name, value_type)                                                    \
    MAP(name, BPF_MAP_TYPE_LPM_TRIE, struct map_uid_prefix, value_type, MAPS_UIDS_MAX, \
        BPF_F_NO_PREALLOC)

MAP(config, BPF_MAP_TYPE_ARRAY, __u32, struct map_config, 1, 0);
UID_TABLE(uids, struct socket_policy);
UID_TABLE(vpns, struct map_vpn);
TABLE(cgroups, __u64, struct socket_policy, MAPS_CGROUPS_MAX);
TABLE(executables, struct map_executable, struct socket_policy, MAPS_EXECUTABLES_MAX);
TABLE(places, struct map_place, struct socket_policy, MAPS_PLACES_MAX);
TABLE(paths, struct map_path, struct socket_policy, MAPS_PATHS_MAX);
MAP(chains, BPF_MAP_TYPE_PERCPU_ARRAY, __u32, struct map_chain, MAPS_CHAINS_MAX, 0);
TABLE(networks, __u32, struct map_network, MAPS_NETWORKS_MAX);
TABLE(ports, struct map_port, __u8, MAPS_PORTS_MAX);
MAP(outside, BPF_MAP_TYPE_LPM_TRIE, struct map_outside, __u32, MAPS_OUTSIDE_MAX, BPF_F_NO_PREALLOC);
TABLE(interfaces, __u32, __u32, MAPS_PORTS_MAX);
TABLE(users, __u32, struct map_user, MAPS_USERS_MAX);
MAP(stats, BPF_MAP_TYPE_LRU_PERCPU_HASH, struct map_stats_key, struct map_stats, MAPS_STATS_MAX, 0);

struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __type(key, int);
    __type(value, struct map_record);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
} sockets SEC(".maps");
