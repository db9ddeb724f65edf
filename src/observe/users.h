/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The system's users and processes: which uids a name means now. Asks NSS, which may take long when
 * the directory is on a network; so it is asked when something changes, never per packet.
 */

#include "model/assignment.h"

/*
 * The uids of a user: or group: selector. A group's are its members' and those of the users whose
 * primary group it is. 0 and *ret with one reference; -ENOENT: no such user or group (reason in
 * *why); -ENOMEM; -EIO: the user database cannot be read.
 */
int users_resolve(const struct selector *selector, struct uid_set **ret, struct why *why);

/* The uid of a user name or number. 0, -ENOENT, -EIO. */
int users_uid_of_name(const char *name, uint32_t *ret, struct why *why);

/* Is the user in the group, by primary group or membership? False when either does not exist. */
bool users_in_group(uint32_t uid, const char *group);

/* The primary group of a user; -ENOENT. */
int users_gid_of_uid(uint32_t uid, uint32_t *ret);

/* The gid of a group; -ENOENT. */
int users_gid_of_group(const char *group, uint32_t *ret);

/* The effective uid of a process; -ESRCH with the reason. */
int users_uid_of_pid(uint32_t pid, uint32_t *ret, struct why *why);
