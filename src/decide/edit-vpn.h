/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Requests about VPNs, as edits of a model; conventions of model/edit.h. Networks and assignments follow
 * by themselves (decide/vpn.h).
 *
 *   -ENONET   no such VPN
 *   -EEXIST   the name is a network's or a VPN's
 *   -EBUSY    an app is assigned by somebody else, or is another VPN's; so is an interface
 *   -EPERM    it stands in the configuration; it is another owner's; apps that are not its owner's
 *   -EINVAL   what cannot be, or does not go together
 *   -ENOTCONN it is not established
 *   -ESRCH    nobody was consented to
 *   -EOPNOTSUPP  a selector that the back-end cannot match
 */

#include "model/edit.h"
#include "model/vpn.h"

enum vpn_field {
    VPN_FIELD_OWNER = 1 << 0,
    VPN_FIELD_EVERYONE = 1 << 1,
    VPN_FIELD_APPS = 1 << 2, /* allowed and disallowed */
    VPN_FIELD_EXEMPT = 1 << 3,
    VPN_FIELD_LOCKDOWN = 1 << 4,
    VPN_FIELD_ALWAYS_ON = 1 << 5,
    VPN_FIELD_BYPASS = 1 << 6,
    VPN_FIELD_FALL_THROUGH = 1 << 7,
    VPN_FIELD_LAN = 1 << 8,
    VPN_FIELD_ENGINE = 1 << 9,
    VPN_FIELD_INTERFACES = 1 << 10,
    VPN_FIELD_CONFIG = 1 << 11, /* adopted: addresses, routes, DNS, … */
    VPN_FIELD_KIND = 1 << 12,
    VPN_FIELD_FORWARD = 1 << 13,
};

/*
 * What must hold of a profile by itself, whoever made it; for the configuration, too. 0, -EINVAL,
 * -E2BIG with the reason.
 */
int vpn_check_profile(const struct vpn *v, struct why *why);

/*
 * `draft` carries name, kind, origin and what else it is to be; nothing of how it is. Who a `user:` owner
 * is (owner_resolved) is looked up behind the edit, unless the caller has done so.
 */
int edit_add_vpn(struct model *m, const struct vpn *draft, struct why *why);
/* Changes the given fields; kind and name stay. One that its program made becomes one made by command. */
int edit_set_vpn(struct model *m, const char *name, const struct vpn *draft, unsigned fields,
                 struct why *why);
int edit_remove_vpn(struct model *m, const char *name, struct why *why);

/*
 * A program of `uid` is about to establish it: what it sends to reach its server may leave past it
 * (model_can_protect()). One that is not there: nothing to be done. -EPERM: another owner's.
 */
int edit_prepare_vpn(struct model *m, const char *name, uint32_t uid, struct why *why);

/*
 * The program of `uid` has made `interface` for it. A VPN of that name that is another owner's: -EPERM
 * (that of an `exe:` owner it is the caller who looks at); that is not there: it is made
 * (ORIGIN_RUNTIME), `everyone` as given. Replaces configuration and interface of one that is
 * established (handover). Keeps a reference to the configuration.
 */
int edit_establish_vpn(struct model *m, const char *name, uint32_t uid, bool everyone,
                       struct vpn_config *config, const char *interface, struct why *why);
/* The same interface with another configuration: addresses, underlying networks. */
int edit_configure_vpn(struct model *m, const char *name, struct vpn_config *config,
                       struct why *why);

/* By choice. Its apps are free, unless lockdown or always-on hold them. ORIGIN_RUNTIME: it is removed. */
int edit_down_vpn(struct model *m, const char *name, struct why *why);
/* Its program gives it up: the same, but one that is always on is to come again. */
int edit_leave_vpn(struct model *m, const char *name, struct why *why);
int edit_up_vpn(struct model *m, const char *name, struct why *why);
/*
 * Its interface is gone, and nobody wanted that. A secure one holds its apps as before, until it is
 * established anew or taken down; a bypassable one frees them.
 */
int edit_lost_vpn(struct model *m, const char *name, struct why *why);

/* Replaces what was said of that owner. */
int edit_consent(struct model *m, const struct selector *who, bool everyone, struct why *why);
int edit_revoke_consent(struct model *m, const struct selector *who, struct why *why);
