/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is said of a VPN on D-Bus, as a{sv} (docs/dbus.md): by its program, and by the administrator. */

#include <systemd/sd-bus.h>

#include "decide/edit-vpn.h"

/* Into an empty configuration. 0, or what the setters of model/vpn.h say. */
int vpn_bus_read_parameters(sd_bus_message *msg, struct vpn_config *c, struct why *why);

/*
 * Into a draft; *ret_fields are VPN_FIELD_*. What of draft->config (NULL = none yet) is not said stays as it
 * is: it must be the draft's own.
 */
int vpn_bus_read_profile(sd_bus_message *msg, struct vpn *draft, unsigned *ret_fields,
                         struct why *why);

/* `as` of networks for Underlying. */
int vpn_bus_read_underlying(sd_bus_message *msg, struct vpn_config *c, struct why *why);
