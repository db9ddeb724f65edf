/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What the doctor needs to know of the machine beside rules and routes; all of it is only read. */

#include <stdbool.h>
#include <sys/utsname.h>

#include "observe/nlsock.h"

/* rp_filter as it works on an interface: the larger of conf/all and conf/IF. -1 = cannot be read. */
int facts_rp_filter(const char *interface);

/* The first line of a file below /proc/sys as a number; -1 = not there. */
int facts_sysctl(const char *path);

/* Where the cgroup2 hierarchy is mounted; false when it is nowhere. */
bool facts_cgroup2(char *buf, size_t size);

/* Is this there at all? For kernel features that show as a file. */
bool facts_exists(const char *path);

/* Has this process the capability (CAP_*) in effect? */
bool facts_has_capability(unsigned capability);

struct facts_networkd {
    bool running;
    bool deletes_rules; /* ManageForeignRoutingPolicyRules= is on, as it is by default */
    char file[256];     /* where that is said; "" = nowhere */
};

void facts_networkd(struct facts_networkd *ret);

/* Does NetworkManager manage an interface that it did not make? */
bool facts_nm_adopted(int ifindex);

/*
 * Calls `found` for every nftables rule (iptables-nft's included) outside table `except` that sets
 * packet marks; `bits` are those that it may change. 0 or -errno.
 */
typedef void (*facts_mark_setter)(void *data, const char *where, uint32_t bits);
int facts_mark_setters(struct nlsock *nft, const char *except, facts_mark_setter found, void *data);
