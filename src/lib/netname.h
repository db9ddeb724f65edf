/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From a network's name to its netId.
 *
 * A D-Bus question (Manager.GetNetwork, docs/dbus.md) written and read by hand: the preload library
 * lives in every program and must not bring libsystemd along, and all that is needed is one string
 * each way. lib/client.h is for everything larger.
 */

#include <stdint.h>

/*
 * Asks the daemon that listens on `path` (…/bus). 0; -ENONET no network has that name; -EBADMSG an
 * answer that cannot be understood; the errors of unix-socket.h. errno stays as it is.
 */
int netname_resolve(const char *path, const char *name, uint32_t *ret_netid);
