/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The guard: what is enforced beside the rules, by nftables or, with the `maps` back-end, by BPF
 * programs at the cgroup.
 *
 * Rules alone cannot hold an app on its network (docs/rules.md, "What rules cannot do"): with
 * SO_BINDTODEVICE or IP_PKTINFO, IPv4 treats every refused look-up as "on-link" and sends anyway;
 * broadcast and IPv6 multicast are routed by the `local` table, before any rule of ours. So packets
 * are looked at once more where they leave (hook postrouting): by the socket's uid, only the
 * interfaces of the assigned network pass.
 *
 * The other half marks what comes in (android.md §2.6), so that answers go back where the question
 * came from.
 *
 * The `maps` back-end's guard has the same shape: its entries also say on which network sockets begin,
 * and it knows apps by more than their uid (struct guard_app). It marks nothing that comes in; nftables
 * goes on doing that.
 *
 * A value: immutable once built, shared by reference count, all arrays sorted.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/ipaddr.h"
#include "basic/macro.h"
#include "basic/uidrange.h"

/*
 * Beside the chain of a VPN, one for those of its users that may protect sockets from it. It is
 * told apart by this bit of its `netid`, in entries, chains and ports alike.
 */
#define GUARD_EXEMPT 0x80000000U

/*
 * `maps` only: sockets begin on this network, and may leave by any. An entry like this holds nothing;
 * it has no chain.
 */
#define GUARD_PREFER 0x40000000U

/* Packets of these uids may leave only through the ports of chain `netid` (0: through none). */
struct guard_entry {
    struct uid_range uid; /* disjoint from the others */
    uint32_t netid;
    uint32_t flags; /* GUARD_APP_LOCKDOWN, of the `maps` back-end */
    uint64_t app;   /* `maps`: selector_number() of what holds there; nftables counts nobody: 0 */
};

/*
 * `maps` only: an app that is known by its executable or its cgroup, whoever's it is. Comes before
 * the entry of the uid; executables before cgroups, of these the nearest.
 */
enum guard_app_kind { GUARD_APP_EXE, GUARD_APP_CGROUP };

struct guard_app {
    uint32_t kind;
    uint32_t netid; /* as in guard_entry */
    uint64_t id;    /* inode number, or cgroup id */
    uint64_t dev;   /* of the executable, as makedev(3) has it; 0 for a cgroup */
    uint64_t app;   /* selector_number() */
    uint32_t flags; /* GUARD_APP_* */
    uint32_t pad;   /* zero: apps are compared as bytes */
};

enum {
    GUARD_APP_RUN = 1,      /* a cgroup that `waymark run` made: comes before executables, too */
    GUARD_APP_LOCKDOWN = 2, /* what comes in by other interfaces is dropped, too */
};

/*
 * `maps` only: an app by the place of its executable or cgroup, for when that is a new one. Comes where
 * no guard_app is found.
 */
struct guard_place {
    uint32_t kind;              /* enum place_kind (decide/place.h) */
    uint32_t netid;             /* as in guard_entry; 0 where place_is_passage() */
    uint64_t parent, dev, name; /* dev: of a directory, as makedev(3) has it; else 0 */
    uint64_t app;               /* selector_number() */
    uint32_t flags;             /* GUARD_APP_* */
    uint32_t pad;               /* zero: places are compared as bytes */
};

/* A network that entries point to. */
struct guard_chain {
    uint32_t netid;
    bool exempt_protected; /* sockets with the protected bit pass: the VPN's own transport */
    uint8_t pad[3];        /* zero: chains are compared as bytes */
};

/* An interface that a chain lets pass. Loopback passes always. */
struct guard_port {
    uint32_t netid;
    int ifindex;
};

/*
 * What is outside of a network that entries point to (plan/outside.h): packets to there may leave by any
 * interface. Of all prefixes that hold an address the longest counts; each says the opposite of the one that
 * it lies in. For both kinds of the network's chains; `netid` is without GUARD_EXEMPT.
 */
struct guard_outside {
    uint32_t netid;
    uint32_t outside; /* 0 or 1; not a bool, for these are compared as bytes */
    struct ip_prefix prefix;
};

/* Packets arriving here get this mark (within MARK_INCOMING). `maps`: whose interface it is. */
struct guard_incoming {
    int ifindex;
    uint32_t mark;
};

/*
 * An address of a VPN's interface, and an interface that has it. What comes in for that address by others is
 * dropped, but for lo, and ARP is not answered there: whoever is next to the machine is not to find the
 * address, nor the connections that go through the tunnel (CVE-2019-14899). nftables does it, for both
 * back-ends.
 */
struct guard_own {
    struct ip_addr addr;
    int ifindex;
};

/*
 * What comes in by an interface that was handed to a program (VPN_INTERFACE_PREFIX) the program has made up, for
 * all that is known: it is for the addresses of that very interface (guard_own; link-local ones, too), and goes
 * nowhere else. But for these, whose programs are trusted like a network.
 */
struct guard_forward {
    int ifindex;
};

/*
 * `maps` only: what the programs have to know of the world to decide on marks (decide/socket.h). It
 * holds nobody; the entries, apps, chains and ports do.
 */
struct guard_network {
    uint32_t netid;
    uint32_t flags;      /* enum socket_network_flag */
    uint32_t permission; /* enum permission: what it demands */
};

struct guard_user {
    uint32_t uid;
    uint32_t flags;      /* GUARD_USER_* */
    uint32_t permission; /* enum permission */
};

enum { GUARD_USER_PERMISSION = 1, GUARD_USER_PROTECT = 2 }; /* has one of its own; may protect */

/* The first VPN that captures these uids. */
struct guard_vpn {
    struct uid_range uid; /* disjoint from the others */
    uint32_t netid;
};

struct guard {
    unsigned refs;
    struct guard_entry *entries;
    size_t n_entries, cap_entries;
    struct guard_app *apps;
    size_t n_apps, cap_apps;
    struct guard_place *places;
    size_t n_places, cap_places;
    struct guard_chain *chains;
    size_t n_chains, cap_chains;
    struct guard_port *ports;
    size_t n_ports, cap_ports;
    struct guard_outside *outside;
    size_t n_outside, cap_outside;
    struct guard_incoming *incoming;
    size_t n_incoming, cap_incoming;
    struct guard_own *own;
    size_t n_own, cap_own;
    struct guard_forward *forward;
    size_t n_forward, cap_forward;

    struct guard_network *networks;
    size_t n_networks, cap_networks;
    struct guard_user *users;
    size_t n_users, cap_users;
    struct guard_vpn *vpns;
    size_t n_vpns, cap_vpns;
    uint32_t default_netid;         /* 0 = `system`, or not there */
    uint32_t first_application_uid; /* lower ones have permission SYSTEM */
    bool mark_all;                  /* every socket gets a mark, as on Android */
};

/* An empty guard with one reference, or NULL. */
struct guard *guard_new(void);
struct guard *guard_ref(struct guard *g);
void guard_unref(struct guard *g);
DEFINE_CLEANUP(struct guard *, guard_unref)

/* Building, in any order; then guard_sort() once. 0 or -ENOMEM. */
int guard_add_entry(struct guard *g, struct uid_range uid, uint32_t netid);
int guard_add_entry_of(struct guard *g, struct uid_range uid, uint32_t netid, uint64_t app);
int guard_push_entry(struct guard *g, const struct guard_entry *entry);
int guard_add_app(struct guard *g, const struct guard_app *app);
int guard_add_place(struct guard *g, const struct guard_place *place);
int guard_add_chain(struct guard *g, uint32_t netid, bool exempt_protected);
int guard_add_port(struct guard *g, uint32_t netid, int ifindex);
int guard_add_outside(struct guard *g, const struct guard_outside *outside);
int guard_add_incoming(struct guard *g, int ifindex, uint32_t mark);
int guard_add_own(struct guard *g, const struct ip_addr *addr, int ifindex);
int guard_add_forward(struct guard *g, int ifindex);
int guard_add_network(struct guard *g, const struct guard_network *network);
int guard_add_user(struct guard *g, const struct guard_user *user);
int guard_add_vpn(struct guard *g, struct uid_range uid, uint32_t netid);

/*
 * Sorts everything, drops duplicates (the first of two apps or places with one key stays), joins
 * neighbouring entries of one network and app. O(n) when sorted.
 */
void guard_sort(struct guard *g);

bool guard_equal(const struct guard *a, const struct guard *b);

/* The entry that holds uid, or NULL. */
const struct guard_entry *guard_entry(const struct guard *g, uint32_t uid);

/* The app with this kind, id and dev, or NULL. */
const struct guard_app *guard_app(const struct guard *g, const struct guard_app *key);

/* The first app with this selector_number(): all of its kind are held alike. NULL when there is none. */
const struct guard_app *guard_app_numbered(const struct guard *g, uint64_t number);

/* What is known of a network (`maps` only), or NULL. */
const struct guard_network *guard_network(const struct guard *g, uint32_t netid);

/* The chain of a network, or NULL. */
const struct guard_chain *guard_chain(const struct guard *g, uint32_t netid);

/* By netid and prefix, for qsort(). */
int guard_outside_compare(const void *x, const void *y);

/* The prefixes of a network (GUARD_EXEMPT or not): *ret points to the first of the n returned. */
size_t guard_outside_of(const struct guard *g, uint32_t netid, const struct guard_outside **ret);

/* Is the destination outside of a network? `dst` may be NULL: it is none. */
bool guard_is_outside(const struct guard *g, uint32_t netid, const struct ip_addr *dst);

/*
 * What the guard says to a packet of `uid` with `mark` about to leave by `ifindex` to `dst` (NULL: to
 * none that would count). g may be NULL.
 * guard_judge_netid() is the same for who is held to `netid`, an entry's or an app's.
 */
enum guard_verdict {
    GUARD_UNASSIGNED, /* no entry: passes */
    GUARD_LOOPBACK,   /* passes */
    GUARD_PORT,       /* its network's interface: passes */
    GUARD_PROTECTED,  /* exempt by its mark: passes */
    GUARD_OUTSIDE,    /* to where its network does not lead: passes */
    GUARD_DROP,
    GUARD_VERDICT_MAX,
};

enum guard_verdict guard_judge_netid(const struct guard *g, uint32_t netid, uint32_t mark,
                                     int ifindex, const struct ip_addr *dst);
enum guard_verdict guard_judge(const struct guard *g, uint32_t uid, uint32_t mark, int ifindex,
                               const struct ip_addr *dst);
const char *guard_verdict_to_string(enum guard_verdict verdict);

/*
 * The guard for the time while `before` becomes `after`: every entry and app of `after`, and those
 * of `before` where `after` has none; what `after` knows of the world; the chains, ports, marks and
 * what is outside of both, `after` winning. Only an interface that a network exchanges for another one, with the
 * apps that it has, and that is nobody's after, passes until the end: so a VPN's handover drops nothing. Returned with one reference; NULL when out of memory.
 */
struct guard *guard_overlay(const struct guard *before, const struct guard *after);
