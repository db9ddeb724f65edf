/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What D-Bus methods on networks do, whether called on the manager (with a name) or on the network's
 * own object. Each reads the rest of the arguments from the call, changes, and replies.
 */

#include "daemon/bus-end.h"

int request_add(struct bus_call *call, struct why *why); /* s name, a{sv} options → o */
int request_set(struct bus_call *call, const char *network, struct why *why); /* a{sv} options */
int request_remove(struct bus_call *call, const char *network, struct why *why);
int request_attach(struct bus_call *call, const char *network, struct why *why); /* s interface */
int request_detach(struct bus_call *call, const char *network, struct why *why); /* s interface */
int request_add_route(struct bus_call *call, const char *network, struct why *why); /* s route */
int request_remove_route(struct bus_call *call, const char *network, struct why *why);
