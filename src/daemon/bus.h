/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * D-Bus: the objects of org.waymark1 (docs/dbus.md), for everybody who wants to talk to the daemon.
 *
 * The same objects are offered at two kinds of ends:
 *
 *   - one connection to the system bus, under the name org.waymark1, when there is a broker. When
 *     there is none yet, or it goes away, it is tried again every few seconds.
 *   - any number of peers on <runtime-dir>/bus, without a broker. This is what the CLI uses: it works
 *     in every network namespace, early at boot, and on machines without D-Bus.
 *
 * Reading is for all. Changing is for root and the members of group `waymark`, by the credentials of
 * the connection (SO_PEERCRED; for the system bus, those that the broker vouches for); for others
 * polkit is asked, where it runs (bus-auth.c). Nobody waits while they are looked up or asked.
 *
 * One connection cannot starve another: sd-bus handles one message per turn of the loop and
 * connection. Connections are limited in number, messages of unprivileged users in size
 * (bus-intake.h), a peer that says nothing for 25 s before it has
 * authenticated is dropped by sd-bus, one that does not read what it is sent is dropped by us.
 */

#include "daemon/manager.h"

struct bus;

/* Listens and registers with the manager. Logs what is wrong; 0 or a negative errno. */
int bus_new(struct manager *m, struct bus **ret);
void bus_free(struct bus *bus);
