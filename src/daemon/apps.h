/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Apps and their counters. An app is an assignment; the programs at the cgroup count its packets under the
 * number of its selector (wire/selector.h), by the network of the interface. The counters are the
 * kernel's: they go on while no daemon runs, and the next one finds them. They go when the
 * assignment does, and whatever is assigned anew begins at nothing.
 */

#include "daemon/bus-end.h"

/*
 * Drops what earlier runs have left of apps that are assigned no more, and from then on those of
 * each assignment that goes. To be called once, when the first model stands.
 */
void apps_start(struct manager *m);

/* The method ListApps of the manager. */
int bus_list_apps(struct bus_call *call, struct why *why);
