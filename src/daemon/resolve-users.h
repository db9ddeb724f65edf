/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which uids the user: and group: selectors of a model mean: those of assignments, the owners of VPNs, and
 * who was consented to; and with that, what follows from the VPNs (decide/vpn.h).
 *
 * The user database may be away: a directory server that cannot be reached, a file that some tool is
 * writing. That unassigns nobody: the uids of last time hold, also across a restart (the state file
 * has them), and the assignment is marked (uids_old), so that the database is asked again.
 */

#include "model/model.h"

/* Asks the user database about all. 0 or -ENOMEM. */
int resolve_users(struct model *m);

/* The same for what is new in a model that was made of `before`. 0 or -ENOMEM. */
int resolve_new_users(struct model *m, const struct model *before);

/* Notes what the selectors mean now, for when the database is away. 0 or -ENOMEM. */
int resolve_users_remember(struct model *m, const struct model *before);

/* Is there something whose uids are those of last time? */
bool resolve_users_is_due(const struct model *m);
