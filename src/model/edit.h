/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Requests, as edits of a model: the preconditions and errors of android.md §3.1, in one place for
 * the CLI, D-Bus, the netd socket and the configuration.
 *
 * Every function returns 0 or a negative errno with the reason in *why. After a failure the model
 * is to be dropped: it may be half edited. All errnos, besides -ENOMEM:
 *
 *   -EINVAL   a value that can never be right, or a type that has no such thing
 *   -ENONET   no such network
 *   -EEXIST   the netId or the name is taken
 *   -EBUSY    the interface is in another network; the thing belongs to the host, or to a VPN
 *   -ESRCH    no such interface; no such route
 *   -ENODEV   the interface of a route is in no network, or gone
 *   -ENOENT   the interface of a route is in another network; no such assignment or range
 *   -EPERM    it stands in the configuration, where it has to be changed
 *   -E2BIG    too many DNS servers or domains
 *   -EOPNOTSUPP  a selector that the back-end cannot match
 */

#include "model/kernel.h"
#include "model/model.h"

/* Which fields of a draft network are given. */
enum network_field {
    FIELD_NETID = 1 << 0,
    FIELD_TYPE = 1 << 1,
    FIELD_INTERFACES = 1 << 2,
    FIELD_DNS = 1 << 3,
    FIELD_DOMAINS = 1 << 4,
    FIELD_PERMISSION = 1 << 5,
    FIELD_SECURE = 1 << 6,
    FIELD_EXCLUDE_LOCAL = 1 << 7,
    FIELD_RESOLVER = 1 << 8,
    FIELD_FALL_THROUGH = 1 << 9,
    FIELD_LOCKDOWN = 1 << 10,
    FIELD_OUTSIDE = 1 << 11,
};

/*
 * Adds a network; `draft` carries name, origin and the given fields. Without FIELD_NETID the netId
 * is chosen by name; without FIELD_TYPE it is that of the first interface's kind. ORIGIN_CONFIG may
 * name interfaces that are not there yet; all others get -ESRCH. *ret_netid may be NULL.
 */
int edit_add_network(struct model *m, const struct kernel *k, const struct network *draft,
                     unsigned fields, uint32_t *ret_netid, struct why *why);

/*
 * Changes the given fields of a network. NetId and interfaces cannot be changed this way. A host
 * network that is changed becomes one of `by`, so that it keeps what was set; a change that changes
 * nothing succeeds.
 */
int edit_set_network(struct model *m, const char *name, enum origin by, const struct network *draft,
                     unsigned fields, struct why *why);

/* netIds 52 and 99 made by --no-host-networks cannot be removed: -EINVAL. */
int edit_remove_network(struct model *m, const char *name, struct why *why);

/* Already a member: success. Takes the interface over from a host network. */
int edit_attach(struct model *m, const struct kernel *k, const char *network, enum origin by,
                const char *interface, struct why *why);
/* Not a member: success. */
int edit_detach(struct model *m, const char *network, enum origin by, const char *interface,
                struct why *why);

/* Adding a route that is there: success. Removing one that is not: -ESRCH. */
int edit_add_route(struct model *m, const struct kernel *k, const char *network, enum origin by,
                   const struct route_spec *route, struct why *why);
int edit_remove_route(struct model *m, const struct kernel *k, const char *network, enum origin by,
                      const struct route_spec *route, struct why *why);

/* `name` NULL = `system`. Only physical networks can be the default. */
int edit_set_default(struct model *m, const char *name, struct why *why);

/*
 * Takes over what *assignment owns, also on failure. Replaces the one with the same selector. The
 * network must be there or have been there (a VPN that is down): -ENONET. -EOPNOTSUPP: a kind of
 * selector that the back-end does not know.
 */
int edit_assign(struct model *m, struct assignment *assignment, struct why *why);
int edit_unassign(struct model *m, const struct selector *selector, struct why *why);

/* Drops all assignments that `drop` says so of. 0 or -ENOMEM. */
typedef bool (*edit_drop)(const struct assignment *a, void *data);
int edit_unassign_those(struct model *m, edit_drop drop, void *data);

/* VPN only. Removing needs the very ranges that were added: -ENOENT. */
int edit_add_users(struct model *m, const char *network, enum origin by,
                   const struct uid_range *ranges, size_t n, struct why *why);
int edit_remove_users(struct model *m, const char *network, enum origin by,
                      const struct uid_range *ranges, size_t n, struct why *why);

/* Android's requestRouteToHost (`network route legacy`). */
int edit_add_legacy_route(struct model *m, const struct kernel *k, const struct route_spec *route,
                          bool system, struct why *why);
int edit_remove_legacy_route(struct model *m, const struct route_spec *route, bool system,
                             struct why *why);

/* The type that an interface of this kind suggests: vpn for tunnels, else physical. */
enum network_type network_type_of_link(const struct rtnl_link *link);
