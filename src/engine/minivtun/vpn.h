/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The client as a VPN of Waymark's (--waymark NAME): waymarkd(8) makes the TUN, carries the apps, and
 * exempts our own sockets. No privilege is needed, only consent. See <waymark.h>, "Being a VPN".
 *
 * Without -v all of IPv4 and IPv6 goes into the tunnel, as far as it has an inner address of the family.
 * The TUN stays over reconnects: its apps are never without it, and never beside it. Who ends the engine
 * by a signal ends the VPN; when it fails, or dies, a secure VPN's apps stay blocked.
 *
 * When waymarkd is restarted the VPN goes on; we connect to it again.
 */

#include <stdbool.h>

#include "basic/clock.h"
#include "basic/macro.h"
#include "basic/why.h"

struct options;
struct tun;
struct vpn;

enum vpn_report { VPN_REPORT_CONNECTING, VPN_REPORT_CONNECTED, VPN_REPORT_FAILED };

/* Prepares and establishes; *ret_tun is a copy of the descriptor. 0 or -errno with the reason. */
int vpn_new(const struct options *o, struct vpn **ret, struct tun *ret_tun, struct why *why);
struct vpn *vpn_free(struct vpn *v);
DEFINE_CLEANUP(struct vpn *, vpn_free)

/* To be watched for reading; -1: not now, see vpn_tick(). */
int vpn_event_fd(const struct vpn *v);

/* It is readable. False: the VPN has been taken away, and why has been logged. */
bool vpn_dispatch(struct vpn *v);

/* When the daemon is gone: tries to connect to it; returns when to be called again. */
usec_t vpn_tick(struct vpn *v, usec_t now);

/* For a socket, before it is connected. 0 or -errno: then it must not be used. */
int vpn_protect(const struct vpn *v, int fd);

/* Tells how it does; what fails is not worth more than a line for debugging. */
void vpn_report(struct vpn *v, enum vpn_report state, const char *reason);

/* The end, by choice. */
void vpn_disconnect(struct vpn *v);
