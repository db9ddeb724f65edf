/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The model: what was asked for. Everything that users, the configuration, the netd socket and the
 * machine's own interfaces want of us, and nothing of how the kernel is to do it.
 *
 * A model is a value. A request or a kernel event makes a copy (cheap: networks and assignments are
 * shared), edits the copy (model/edit.h), has it planned and applied, and then puts it in the old
 * one's place, or drops it. So "all or nothing" needs no undo in here.
 */

#include "model/assignment.h"
#include "model/network.h"
#include "model/vpn.h"

struct user_permission {
    uint32_t uid;
    enum permission permission;
};

/* Android's requestRouteToHost: tables 99 (system uids) and 98 (the rest). */
struct legacy_route {
    struct route_spec route;
    bool system;
};

/*
 * Which netId a name had, so that it gets the same one again. So many are remembered: some programs
 * name each interface anew.
 */
enum { KNOWN_NETIDS_MAX = 4096 };

struct known_netid {
    struct rstr *name;
    uint32_t netid;
};

struct model {
    struct network **networks; /* by netId */
    size_t n_networks, cap_networks;
    struct assignments *assignments;
    struct assignments *last_uids; /* only selector and uids: what user: and group: meant last */
    struct vpn **vpns;             /* by name; what follows from them is decide/vpn.h's */
    size_t n_vpns, cap_vpns;
    struct vpn_consent *consents; /* by selector */
    size_t n_consents, cap_consents;

    struct rstr *default_network; /* a network's name; NULL = `system` */
    struct rstr *default_source;  /* "file:line" when the configuration set it */

    struct user_permission *permissions; /* by uid; explicit ones only (android.md §1.6) */
    size_t n_permissions, cap_permissions;
    uint32_t *protectable; /* uids of which every program may protect sockets, ascending */
    size_t n_protectable, cap_protectable;
    struct legacy_route *legacy;
    size_t n_legacy, cap_legacy;

    struct known_netid *known; /* by name */
    size_t n_known, cap_known;

    bool host_networks; /* interfaces of the machine are networks (not with --no-host-networks) */
    bool
        process_selectors; /* cgroup:, unit: and exe: can be matched: the `maps` back-end is there */
    struct rstr **ignored; /* patterns (fnmatch) of interfaces that are not */
    size_t n_ignored, cap_ignored;
};

/* An empty model: default network `system`, no assignments. NULL when out of memory. */
struct model *model_new(void);
struct model *model_copy(const struct model *m);
void model_free(struct model *m);
DEFINE_CLEANUP(struct model *, model_free)

struct network *model_network(const struct model *m, uint32_t netid);           /* or NULL */
struct network *model_network_by_name(const struct model *m, const char *name); /* or NULL */
/* The network that has the interface, or NULL. */
struct network *model_network_of(const struct model *m, const char *interface);

/* The default network's object; NULL for `system` and for a network that is not there. */
struct network *model_default(const struct model *m);

struct vpn *model_vpn(const struct model *m, const char *name); /* or NULL */
/* Puts a VPN in, in place of the one of that name; takes over the reference (also on failure). 0 or -ENOMEM. */
int model_put_vpn(struct model *m, struct vpn *v);
void model_drop_vpn(struct model *m, const char *name);

/* What was said of a program of this user, the one for everyone first. `exe` may be NULL. Or NULL. */
const struct vpn_consent *model_consent(const struct model *m, uint32_t uid, const char *exe);
/* The index of the first that is not below `who`. */
size_t model_find_consent(const struct model *m, const struct selector *who);
/* Takes over what *consent owns, also on failure. 0 or -ENOMEM. */
int model_put_consent(struct model *m, struct vpn_consent *consent);
void model_drop_consent(struct model *m, size_t i);

/* The index of a legacy route; n_legacy when there is none such. */
size_t model_find_legacy(const struct model *m, const struct route_spec *route, bool system);

/* True when tables 97–99 are in use, so that the rules that lead there are wanted. */
bool model_uses_android_tables(const struct model *m);

/*
 * Puts a network in, in place of the one with the same netId; takes over the reference (also on
 * failure). 0 or -ENOMEM.
 */
int model_put_network(struct model *m, struct network *n);
void model_drop_network(struct model *m, uint32_t netid);

/*
 * The netId for a new network of this name: the one it had, else the lowest free; 0 = none is left.
 */
uint32_t model_choose_netid(const struct model *m, const char *name);
/* True for a name that has, or had, a netId: a network that may come back. */
bool model_knows_name(const struct model *m, const char *name);
/*
 * Gives back one shared string for all uses of a known name: takes the reference passed in and
 * returns one to an equal string. So that many assignments to one network share its name.
 */
struct rstr *model_intern_name(const struct model *m, struct rstr *name);
/*
 * Remembers a choice; beyond KNOWN_NETIDS_MAX the lowest netId without a network is forgotten. 0 or
 * -ENOMEM.
 */
int model_know_netid(struct model *m, const char *name, uint32_t netid);

/* The explicit permission of a user, or -ENOENT. */
int model_user_permission(const struct model *m, uint32_t uid, enum permission *ret);
int model_set_user_permission(struct model *m, uint32_t uid, enum permission permission);
/* May every program of the user protect its sockets? */
bool model_is_protectable(const struct model *m, uint32_t uid);
/*
 * What is planned for: may some program of the user? Those, and users whose VPNs they are. Which of
 * their processes may is for fwmarkd to say.
 */
bool model_can_protect(const struct model *m, uint32_t uid);
/* The lowest such user that is not below uid; UID_INVALID when there is none. */
uint32_t model_next_protectable(const struct model *m, uint32_t uid);
/* Adding one twice or removing a missing one succeeds (android.md §3.1, Android 11). */
int model_set_protectable(struct model *m, uint32_t uid, bool protectable);
