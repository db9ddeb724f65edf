/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* VPNs on the bus: interface org.waymark1.VpnService (vpn-bus.c), objects of VPNs (vpn-object-bus.c). */

#include <systemd/sd-bus.h>

#include "model/model.h"

#define BUS_VPN_SERVICE "org.waymark1.VpnService"
#define BUS_VPN_PATH    "/org/waymark1/vpn"
#define BUS_VPN         "org.waymark1.Vpn"

struct bus;

extern const sd_bus_vtable vpn_service_bus_vtable[];
extern const sd_bus_vtable vpn_bus_vtable[];

/* The path of a VPN's object; free with free(). NULL: it has no network, or no memory. */
char *vpn_bus_path(const struct model *m, const char *name);
/* sd-bus callbacks for the folder of them. */
int vpn_bus_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                      sd_bus_error *error);
int vpn_bus_object(sd_bus *sd, const char *path, const char *interface, void *userdata,
                   void **ret_found, sd_bus_error *error);

/* Tells all ends what changed. */
void vpn_bus_tell_commit(struct bus *bus, const struct model *old, const struct model *new);
void vpn_bus_tell_state(struct bus *bus, const char *name);
/* A vpn_revoked; `data` is the struct bus. */
void vpn_bus_tell_revoked(void *data, uint32_t pid, const char *name, const char *reason);
