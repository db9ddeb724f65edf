/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Explanations as D-Bus dictionaries: see docs/dbus.md, Explain and Verify. */

#include <systemd/sd-bus.h>

#include "daemon/bus-end.h"

/* Methods of the manager. */
int bus_explain(struct bus_call *call, struct why *why);
int bus_verify(struct bus_call *call, struct why *why);
