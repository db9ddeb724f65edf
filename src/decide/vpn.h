/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What follows from the VPNs of a model: their networks, and which apps are on them.
 *
 * The steps for one VPN, numbered as in tests/unit/test-vpn.c:
 *
 *   1  its network is there, whatever its state: of type vpn, secure unless it may be bypassed
 *   2  it has the interface and the routes while it is active; a family of which it knows nothing is
 *      unreachable, so that it is blocked rather than leaked (android.md §5.3)
 *   3  its apps are assigned while it is active, and beyond that while it holds them (lockdown,
 *      always-on, or its program died)
 *   4  which apps: the administrator's list, else the program's; without an `allowed` one all of its
 *      owner's, or everybody's but root's, less those that are disallowed
 *   5  disallowed apps go by the default network, as do exempt ones; under lockdown only the latter
 *   6  what somebody else has assigned is left alone
 *
 * Both are of ORIGIN_VPN and made anew from the VPNs each time, so they are never stored.
 */

#include "model/model.h"
#include "model/vpn-apps.h"

/*
 * Makes networks and assignments of ORIGIN_VPN those that follow. What stays is not touched. Where a
 * network of another origin has the name, or an interface, it keeps it. 0 or -ENOMEM.
 */
int vpn_update(struct model *m);
