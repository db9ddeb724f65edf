/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The programs of VPNs: started for those that have an engine, and that nobody took down.
 *
 * An engine is a unit (`waymark-minivtun@work.service`), which systemd is asked to start, or a command line
 * that begins with a '/', which we start, as the VPN's owner. A unit is the better one wherever systemd
 * runs: it has a sandbox and a user of its own, and it outlives us when we are restarted.
 *
 * It is started again whenever its VPN is not established: at once, then after 1, 2, 4, … 60 s, and from
 * the beginning when it has held for a minute. Meanwhile an always-on VPN's apps are blocked by what is in
 * the kernel; nothing here has a part in that. Of a command there is never more than one: it is known to
 * the next daemon by <runtime-dir>/engines/NAME, a line of words:
 *
 *     engine PID START-TIME
 *
 * Taking the VPN down ends it: SIGTERM, and a unit is stopped.
 */

#include "daemon/manager.h"

struct engines;

/* Listens to the manager, and starts what is wanted. 0 or -errno. */
int engines_new(struct manager *m, struct engines **ret);
/* What runs goes on. */
void engines_free(struct engines *all);

/* What is wrong with it as an engine? 0, or -EINVAL with the reason. */
int engine_check(const char *text, struct why *why);
