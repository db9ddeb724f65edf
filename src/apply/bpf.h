/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The BPF programs at the cgroup (src/bpf/, docs/bpf.md): loaded, pinned, adopted, removed, and their
 * maps written.
 *
 * Everything lives under <bpffs>/waymark/<netns cookie>/, so it outlives us:
 *
 *   <set>/link_create, link_egress, …   the programs, attached to the cgroup
 *   <set>/prog_fill, prog_own_files, …  iterators
 *   <set>/uids, cgroups, …              maps
 *   <set>/config                        pinned last: a set without it was never finished
 *
 * A set is named after what its programs are compiled from. bpf_open() takes over, in this order: a set
 * of ours that is attached where we want it, whole; the maps of one with the same layout (MAPS_ABI),
 * with programs of our own; nothing. What it replaces goes when ours enforces: at once, if maps were
 * taken over; else with the first bpf_commit() that enables. So there is no gap.
 *
 * Needs CAP_BPF (maps, programs), CAP_PERFMON (reading kernel memory), CAP_NET_ADMIN (programs
 * of this kind, attaching), and to be the owner of the folder. Locked memory counts by cgroup since 5.11;
 * before, libbpf lifts RLIMIT_MEMLOCK, for which CAP_SYS_RESOURCE is needed.
 *
 * Errors: negative errno with the sentence in `why`. A change that fails in its midst stays half done:
 * every entry is the old one or the new one, and doing it again, or the other way round, is right.
 */

#include <sys/types.h>

#include "basic/uidrange.h"
#include "basic/why.h"
#include "bpf/maps.h"

#define BPF_FS_DEFAULT "/sys/fs/bpf"

struct bpf;

/*
 * Can this kernel do it, for this cgroup and with pins at `fs`? 0, or -EOPNOTSUPP with all that is
 * missing. Loads the programs to see, and attaches nothing.
 */
int bpf_probe(const char *cgroup, const char *fs, struct why *why);

/* Mounts a bpffs at `path`, made if need be; nothing to do where one is. */
int bpf_mount_fs(const char *path, struct why *why);

/* The namespace of the calling thread. 0 or -errno. */
int bpf_netns_cookie(uint64_t *ret);

/*
 * For the sockets of the calling thread's network namespace, made in `cgroup` (a folder of cgroup2) and
 * below. On return the programs are attached; new maps are empty and say "look away".
 */
int bpf_open(const char *cgroup, const char *fs, struct bpf **ret, struct why *why);

/* What was open stays in force. NULL is nothing to do. */
void bpf_close(struct bpf *b);
DEFINE_CLEANUP(struct bpf *, bpf_close)
#define _cleanup_bpf_ _cleanup_(bpf_closep)

/*
 * True: the maps hold what an earlier run put into them (change tables with `before` NULL, or bpf_sync()).
 */
bool bpf_has_past(const struct bpf *b);

/*
 * Detaches and unpins all that stands for that namespace, whoever made it. Needs no struct bpf, nor
 * that anybody runs. 0 also when there is nothing.
 */
int bpf_remove(const char *fs, uint64_t netns, struct why *why);

/* Tables of ranges of uids. Kept as prefixes, of which the longest that fits counts. */
enum bpf_range_table { BPF_UIDS, BPF_VPNS, BPF_RANGE_TABLE_MAX };

struct bpf_range {
    struct uid_range uid;
    union {
        struct socket_policy policy; /* BPF_UIDS */
        struct map_vpn vpn;          /* BPF_VPNS */
    };
};

/*
 * Replaces the ranges `before` by `after`. Both are ascending and disjoint, and what is not among
 * `before` is not touched by `after`. At every instant, a uid that is in both has the one value or
 * the other. `before` NULL: what the table holds is not known, and `after` is to be all of it.
 */
int bpf_change_ranges(struct bpf *b, enum bpf_range_table table, const struct bpf_range *before,
                      size_t n_before, const struct bpf_range *after, size_t n_after,
                      struct why *why);

/*
 * Has the table just the prefixes that the ranges written last are made of? Only then may `before` be
 * other than NULL. After a start bpf_read_ranges() finds out: who was killed in its midst may have left
 * others, which come to the same.
 */
bool bpf_knows_ranges(const struct bpf *b, enum bpf_range_table table);

/* Tables with single keys. Types of keys and values: bpf/maps.h. */
enum bpf_table {
    BPF_CGROUPS,
    BPF_EXECUTABLES,
    BPF_PLACES,
    BPF_PATHS,
    BPF_NETWORKS,
    BPF_PORTS,
    BPF_OUTSIDE,
    BPF_INTERFACES,
    BPF_USERS,
    BPF_TABLE_MAX,
};

/* Sets one entry; with value NULL it is dropped, if it is there. */
int bpf_put(struct bpf *b, enum bpf_table table, const void *key, const void *value,
            struct why *why);

/* Makes these n entries all that the table has: first they are put, then the others are dropped. */
int bpf_sync(struct bpf *b, enum bpf_table table, const void *keys, const void *values, size_t n,
             struct why *why);

/* Drops what is not among these n keys, and puts nothing. */
int bpf_retain(struct bpf *b, enum bpf_table table, const void *keys, size_t n, struct why *why);

/* Reading a whole table, in no order. Nobody else must write it meanwhile. What `each` returns ends it. */
typedef int (*bpf_each)(void *data, const void *key, const void *value);
int bpf_read_table(struct bpf *b, enum bpf_table table, bpf_each each, void *data, struct why *why);

/* The ranges that the prefixes come to: ascending, disjoint, neighbours that say the same joined. */
typedef int (*bpf_each_range)(void *data, const struct bpf_range *range);
int bpf_read_ranges(struct bpf *b, enum bpf_range_table table, bpf_each_range each, void *data,
                    struct why *why);

struct bpf_settings {
    bool enabled;
    bool mark_all; /* MAP_CONFIG_MARK_ALL */
    uint32_t default_netid;
    uint32_t first_application_uid;
};

/*
 * Begins a new generation: sockets that exist are judged anew by what the tables now hold. To be
 * called after each change of policies; entries in a table that was empty count from here on.
 */
int bpf_commit(struct bpf *b, const struct bpf_settings *settings, struct why *why);

/*
 * The same with what an earlier run has left, as it left it: tables that it had no time to commit
 * count. *ret is how it stands. -ENODATA, and nothing done: no run has enabled these maps.
 */
int bpf_commit_again(struct bpf *b, struct bpf_settings *ret, struct why *why);

/*
 * Makes records of the sockets that there are, with the executable of the process that holds them: for
 * those that are older than the programs. bpf_commit() does it by itself when executables are
 * assigned that were not. Does nothing to sockets whose executable is known.
 */
int bpf_fill(struct bpf *b, struct why *why);

/* The id of a cgroup, for BPF_CGROUPS. */
int bpf_cgroup_id(const char *path, uint64_t *ret, struct why *why);

/* How the kernel knows the open file `wanted`, for BPF_EXECUTABLES; right on every file system. */
int bpf_identify(struct bpf *b, int wanted, struct map_executable *ret, struct why *why);

/* The same from stat(2): not right on overlayfs and btrfs. */
struct map_executable bpf_executable(dev_t dev, ino_t ino);

/* The other way round: the device as makedev(3) has it. */
dev_t bpf_executable_device(const struct map_executable *executable);

/*
 * The sockets whose executable the programs know, by cookie. Added to *ret, which has room for *cap and
 * whose first *n are dropped; the caller frees it. 0, -ENOMEM, -errno: then it is cut short.
 */
int bpf_read_sockets(struct bpf *b, struct map_socket **ret, size_t *n, size_t *cap,
                     struct why *why);

struct bpf_stats {
    struct map_stats_key key;
    struct map_stats sum; /* over all processors */
};

/*
 * All counters, by app and then netId; *ret is the caller's to free. They only grow, until one is pushed
 * out or dropped.
 */
int bpf_read_stats(struct bpf *b, struct bpf_stats **ret, size_t *ret_n, struct why *why);

/*
 * Drops the counters of these apps (ascending); with `others`, of all apps but these. To be called
 * behind the commit that has made them nobody's: what was on its way then may be counted still.
 */
int bpf_drop_stats(struct bpf *b, const uint64_t *apps, size_t n, bool others, struct why *why);
