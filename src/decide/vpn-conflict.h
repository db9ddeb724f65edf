/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * May a VPN have the apps that it says it has (model/vpn-apps.h)? Not those that are another's, and of a
 * program's word not those that somebody holds elsewhere, nor those of users who did not consent.
 */

#include "model/model.h"

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

/*
 * Its program's lists name only apps that the consent is for: 0, or -EPERM with which one is not. Who was
 * consented to for himself has his uid, and may leave out cgroups of his slice, in which others' processes are,
 * too; an executable or a unit is everybody's.
 */
int vpn_check_scope(const struct vpn *v, const struct vpn_config *c, uint32_t uid, struct why *why);
