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
    bool programs; /* a program says so, and no administrator: decide/vpn-conflict.h */
};

/* Nobody, when it does not hold its apps (vpn_holds()). 0 or -ENOMEM. `v` must stay as long as *ret. */
int vpn_apps_make(const struct vpn *v, struct vpn_apps *ret);
void vpn_apps_done(struct vpn_apps *a);
#define _cleanup_vpn_apps_ _cleanup_(vpn_apps_done)

/* What it says of the very selector, or NULL. */
const struct vpn_app *vpn_apps_find(const struct vpn_apps *a, const struct selector *selector);

/* The VPN whose the assignment of this selector is, or NULL. */
const struct vpn *vpn_of_selector(const struct model *m, const struct selector *selector);

/* Has the administrator said which apps? Then it is not its program's to say. */
bool vpn_has_own_lists(const struct vpn *v);
