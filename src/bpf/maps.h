/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The maps through which user space and the BPF programs speak: keys, values, limits.
 *
 * They stay pinned when the daemon goes, and the next one, perhaps a newer one, adopts them. So a
 * change of any struct here, or of struct socket_policy, wants a new MAPS_ABI. Fixed-width
 * types, no holes (a hash map compares keys as bytes); host byte order, but where it says big endian.
 *
 *   map          kind              key                      value
 *   config       ARRAY of 1        0                        struct map_config
 *   uids         LPM_TRIE          struct map_uid_prefix    struct socket_policy
 *   vpns         LPM_TRIE          struct map_uid_prefix    struct map_vpn: of the first VPN that
 *                                                           captures the uid
 *   cgroups      HASH              u64 cgroup id            struct socket_policy
 *   executables  HASH              struct map_executable    struct socket_policy
 *   places       HASH              struct map_place         struct socket_policy: of executables
 *   paths        HASH              struct map_path          struct socket_policy: of cgroups
 *   chains       PERCPU_ARRAY      of a cgroup's id         struct map_chain; the programs' own
 *   networks     HASH              u32 netId                struct map_network
 *   ports        HASH              struct map_port          u8, 1: the network's apps may use it
 *   outside      LPM_TRIE          struct map_outside       u32, 1: outside of the network; 0: not
 *   interfaces   HASH              u32 ifindex              u32 netId: whose interface it is
 *   users        HASH              u32 uid                  struct map_user: what it may, where that
 *                                                           is not what its number says
 *   sockets      SK_STORAGE        a socket                 struct map_record
 *   stats        LRU_PERCPU_HASH   struct map_stats_key     struct map_stats
 */

#include "decide/door.h"
#include "decide/place.h"
#include "decide/selectors.h"

enum {
    MAPS_ABI = 4,
    MAPS_CGROUP_LEVELS = 32, /* deeper ancestors are not looked at */
    MAPS_UIDS_MAX = 4 << 20, /* prefixes; a range has at most 62 */
    MAPS_CGROUPS_MAX = 65536,
    MAPS_EXECUTABLES_MAX = 65536,
    MAPS_PLACES_MAX = 131072, /* an assignment may need more than one: links, directories */
    MAPS_PATHS_MAX = 262144,
    MAPS_CHAINS_MAX = 2048, /* of two cgroups with one slot the latest has it */
    MAPS_NETWORKS_MAX = 65536,
    MAPS_PORTS_MAX = 65536,
    MAPS_OUTSIDE_MAX = 1 << 20,
    MAPS_USERS_MAX = 65536,
    MAPS_STATS_MAX = 8192, /* the least recently used goes */
};

/* What there is to look up. User space sets them as the maps fill, so that empty ones cost nothing. */
enum map_config_flag {
    MAP_CONFIG_UIDS = 1 << 0,
    MAP_CONFIG_CGROUPS = 1 << 1,
    MAP_CONFIG_EXECUTABLES = 1 << 2,
    MAP_CONFIG_VPNS = 1 << 3,
    MAP_CONFIG_USERS = 1 << 4,
    /*
     * Sockets that nothing is assigned to, and no VPN captures, are marked when they connect while
     * the default is `system`: with their permission, as on Android. Without it their marks are left alone.
     */
    MAP_CONFIG_MARK_ALL = 1 << 5,
    MAP_CONFIG_PLACES = 1 << 6,
    MAP_CONFIG_PATHS = 1 << 7,
    MAP_CONFIG_OUTSIDE = 1 << 8,
};

struct map_config {
    uint32_t abi;     /* MAPS_ABI */
    uint32_t enabled; /* 0: every program looks away */
    uint64_t netns;   /* the cookie of the namespace whose sockets are ours */
    uint32_t flags;   /* enum map_config_flag */
    uint32_t default_netid;
    uint32_t first_application_uid; /* lower ones have permission SYSTEM */
    uint32_t pad;
    /*
     * Grows with each change of policy; a record of another generation is resolved anew. Programs read it
     * before they look anything up, user space writes it after all else has been written.
     */
    uint64_t generation;
};

struct map_uid_prefix {
    uint32_t length; /* 0–32 */
    uint8_t uid[4];  /* big endian */
};

/*
 * The file that a process runs. dev is the superblock's (s_dev: major << 20 | minor) and ino the
 * inode's, which is what stat(2) says except on overlayfs and btrfs: observe/exe.h finds out.
 */
struct map_executable {
    uint64_t dev, ino;
};

/* An executable by its place (decide/place.h). */
struct map_place {
    uint64_t dev, directory; /* as of an executable */
    uint64_t name;           /* 0: PLACE_DIRECTORY; else PLACE_FILE */
};

/* A cgroup by its place. */
struct map_path {
    uint64_t parent;
    uint64_t name;
    uint32_t kind; /* enum place_kind */
    uint32_t pad;
};

/* What the cgroups above a socket say (bpf/chain.h). */
enum map_chain_flag { MAP_CHAIN_RUN = 1 << 0, MAP_CHAIN_NEAREST = 1 << 1 };

struct map_chain {
    uint32_t busy, version; /* whoever writes says so */
    uint32_t found;         /* enum map_chain_flag */
    uint32_t pad;
    uint64_t cgroup; /* id of the lowest */
    uint64_t generation;
    struct socket_policy run, nearest;
};

struct map_vpn {
    uint32_t netid;
    uint32_t flags; /* enum socket_network_flag */
};

struct map_network {
    uint32_t flags;      /* enum socket_network_flag */
    uint32_t permission; /* enum permission */
};

struct map_port {
    uint32_t netid;
    uint32_t ifindex;
};

/* A network's prefix: all but the address is to match whole. */
enum { MAP_OUTSIDE_LENGTH = 64 };

struct map_outside {
    uint32_t length; /* MAP_OUTSIDE_LENGTH and that of the prefix */
    uint32_t netid;
    uint32_t family;  /* AF_INET, AF_INET6 */
    uint8_t addr[16]; /* in network order, zeros behind */
};

struct map_user {
    uint8_t has_permission; /* 0: by its number */
    uint8_t permission;     /* enum permission */
    uint8_t protectable;
    uint8_t pad;
};

enum map_record_flag {
    MAP_RECORD_BORN = 1 << 0,   /* seen by sock_create; else found later, perhaps in other hands */
    MAP_RECORD_KERNEL = 1 << 1, /* the kernel's own socket: nobody's */
};

/* What is known of a socket, inherited by those that it accepts. */
struct map_record {
    uint64_t generation; /* of the policy */
    struct map_executable executable;
    uint64_t directory, name; /* its place, where executables are assigned by that; else 0 */
    uint64_t cgroup;          /* its id, where cgroups are assigned; else 0 */
    struct socket_policy policy;
    uint32_t uid;
    uint8_t selector; /* enum socket_selector */
    uint8_t flags;    /* enum map_record_flag */
    uint8_t reason;   /* enum socket_reason: of its latest mark */
    uint8_t pad;
};

struct map_stats_key {
    uint64_t app;   /* of struct socket_policy */
    uint32_t netid; /* of the interface; 0: of none that we know */
    uint32_t pad;
};

/* lo is not counted. */
struct map_stats {
    uint64_t packets_out, bytes_out;
    uint64_t packets_in, bytes_in;
    uint64_t drops[DOOR_VERDICT_MAX - DOOR_DROP_NONE]; /* from DOOR_DROP_NONE on */
};

/* What the program records writes for each socket whose executable is known. */
struct map_socket {
    uint64_t cookie; /* as NETLINK_SOCK_DIAG tells it */
    struct map_executable executable;
};

/* What the program own_files writes for each open file. */
struct map_own_file {
    uint32_t fd;
    uint32_t pad;
    struct map_executable executable;
};
