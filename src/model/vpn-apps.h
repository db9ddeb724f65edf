/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which apps a VPN has, and where they go: the list that its assignments are made of (decide/vpn.h,
 * steps 4 and 5).
 *
 * Selectors hide each other, the closest one wins. So "all of user 1000 but zoom" is two of them: uid:1000
 * to the network, exe:/usr/bin/zoom to `default`. In the order of the list below, what comes later wins
 * where a selector stands in two of them:
 *
 *   base        all of its user's, or everybody's but root's; only without an allowed list. Under lockdown
 *               also with one that its program gave: whom the program leaves out has nothing, rather
 *               than everything
 *   allowed     to the network
 *   disallowed  to `default`; under lockdown to `none`
 *   exempt      to `default`
 */

#include "model/model.h"

enum vpn_target { VPN_TO_NETWORK, VPN_TO_NONE, VPN_TO_DEFAULT };

struct vpn_app {
    const struct selector *selector; /* the VPN's, or `base` below */
    enum vpn_target target;
};

struct vpn_apps {
    struct selector base;  /* not to be moved: an item may point here */
    struct vpn_app *items; /* by selector, each once */
    size_t n, cap;
    bool programs; /* a program says so, and no administrator: see vpn_check_apps() */
};

/* Nobody, when it does not hold its apps (vpn_holds()). 0 or -ENOMEM. `v` must stay as long as *ret. */
int vpn_apps_make(const struct vpn *v, struct vpn_apps *ret);
void vpn_apps_done(struct vpn_apps *a);
#define _cleanup_vpn_apps_ _cleanup_(vpn_apps_done)

/* What it says of the very selector, or NULL. */
const struct vpn_app *vpn_apps_find(const struct vpn_apps *a, const struct selector *selector);

/*
 * Would `v` take an app that another VPN has, or that somebody assigned himself? 0, or -EBUSY with
 * whose it is; *ret_other (may be NULL) is then the name of the other VPN, NULL when it is none. Between
 * VPNs it is the apps that count, not how they are said: uid:1000 is among uid:1-2000. What somebody assigned
 * is only in the way when it is the same selector: else the closest one holds. A VPN of the same name is
 * not another one.
 *
 * Where a user's program alone says which apps, it may neither take nor free any that another VPN has, or
 * that somebody has assigned with `require` or to `none` by a selector that is less close.
 */
int vpn_check_apps(const struct model *m, const struct vpn *v, const char **ret_other,
                   struct why *why);

/* The VPN whose the assignment of this selector is, or NULL. */
const struct vpn *vpn_of_selector(const struct model *m, const struct selector *selector);

/*
 * Its program's lists name only apps that the consent is for: 0, or -EPERM with which one is not. Who was
 * consented to for himself has his uid, and cgroups of his slice; an executable or a unit is everybody's.
 */
int vpn_check_scope(const struct vpn *v, const struct vpn_config *c, uint32_t uid, struct why *why);
