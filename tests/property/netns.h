/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A network namespace of the test's own with some veth links: eth0, eth1, … whose peers (peer0, …)
 * are in the same namespace and up. Gone when the process ends.
 */

#include "observe/observer.h"

/* Enters a new namespace and makes n links with IPv4 and IPv6 addresses and main-table routes. */
void netns_enter(unsigned n_links);

/* A line for netns_ip(): makes link i, called `name`, and its peer. */
void netns_add_link(struct strbuf *b, unsigned i, const char *name);

/* Lines for netns_ip(): addresses and main-table routes of link i, which is called `name`. */
void netns_add_settings(struct strbuf *b, unsigned i, const char *name);

/*
 * Runs `ip -batch` on the lines, those that begin with "-6 " as `ip -6`. With force, failing lines
 * are passed over; without, they abort.
 */
void netns_ip(const char *lines, bool force);

/* The state of the kernel; aborts on failure. */
void netns_snapshot(struct observer *o, struct kernel *ret);

/* The same, when the kernel has done what it does later: IPv6 addresses, their routes. */
void netns_settled_snapshot(struct observer *o, struct kernel *ret);
