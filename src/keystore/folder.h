/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is opened while there are privileges: the state folder, and the key file. */

#include "keystore/sandbox.h"
#include "keystore/secret.h"

/*
 * Opens the state folder, made if it is not there: for its owner only (0700). One that is root's becomes
 * the user's. One that has files, and none of a store's, or that others may write to, is refused. Nobody
 * else may have it open so. 0 or -errno with the reason; -EBUSY: another keystore has it.
 */
int folder_open(const char *path, const struct sandbox_user *user, int *ret_fd, struct why *why);

/*
 * Reads what opens the store at start. `path` NULL: systemd's credential "keystore.key", or nothing where
 * there is none. 0 or -errno with the reason.
 */
int folder_read_key(const char *path, struct secret *ret, struct why *why);
