/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The applier: the only code of the project that changes the kernel.
 *
 * One op at a time, each one netlink request (or one nftables batch, or one write to /proc/sys)
 * that the kernel does whole or not at all; but for the guard at the cgroup, which is many writes to
 * maps in an order that is safe (apply/maps.h). Its port id marks our changes, so that the observer
 * tells them from those of others. Beside it, for what is no part of a plan: sockets.h, run-cgroup.h.
 */

#include "apply/transaction.h"
#include "observe/nlsock.h"

struct applier {
    struct nlsock rtnl;
    struct nlsock nft; /* closed when the kernel has no nftables */
    /*
     * The last generation of the ruleset in which our table is known to be as we made it. 0 = none:
     * somebody else's commit came so close to ours that nobody can tell which was first.
     */
    uint32_t nft_generation;
    bool has_guard; /* nftables has all that the guard needs; probed at open */
    bool has_arp;   /* and tables of ARP */
    bool has_sysctl[SYSCTL_MAX];
    bool has_maps;              /* the programs at the cgroup carry the apps */
    char cgroup[256];           /* where they are attached */
    const char *bpffs;          /* where they, or those of an earlier run, are pinned */
    struct bpf *bpf;            /* while they are there */
    bool maps_probed;           /* what applier_probe_maps() found: it costs a second */
    struct why maps_missing;    /* error 0 = nothing */
    const struct kernel *names; /* interfaces, for error messages; may be NULL */
};

#define APPLIER_INIT ((struct applier){ .rtnl = NLSOCK_INIT, .nft = NLSOCK_INIT })

/* Opens the sockets and probes what the kernel can. 0 or -errno; no nftables is no error,
 * not being allowed to change the network is one (-EPERM). */
int applier_open(struct applier *a);
void applier_close(struct applier *a);

/*
 * From now on there are programs at `cgroup`, pinned at `bpffs`, which must outlive `a`. 0, or a
 * negative errno: then there are none, and has_maps is false.
 */
int applier_open_maps(struct applier *a, const char *cgroup, const char *bpffs, struct why *why);

/* Could there be programs? 0, or why not. The kernel is asked once; it does not change. */
int applier_probe_maps(struct applier *a, const char *cgroup, const char *bpffs, struct why *why);

/*
 * What the programs have now, from their maps (maps_read_guard() in apply/maps.h). -ENODATA: there are
 * none, or nothing is in force.
 */
int applier_read_maps(struct applier *a, struct guard **ret, struct why *why);

/* Has some run left programs for this network namespace? */
bool applier_has_left_maps(const char *bpffs);

/* Takes the programs of this network namespace out of the kernel, whoever put them there. */
int applier_remove_maps(struct applier *a, struct why *why);

/* An apply_function; `data` is the struct applier. */
int applier_apply(void *data, const struct op *op, struct why *why);

/* Reads our sysctls; -1 where the kernel has none. */
void applier_read_sysctls(struct applier *a, int ret[static SYSCTL_MAX]);
