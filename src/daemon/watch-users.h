/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Follows /etc/passwd and /etc/group: what user: and group: selectors mean changes with them. Users
 * of other databases (LDAP, …) are looked up at reload.
 */

#include "daemon/manager.h"

/* 0 or -errno. */
int watch_users_start(struct manager *m);
