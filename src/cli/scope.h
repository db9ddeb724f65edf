/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A cgroup of one's own, from systemd: a transient scope, of the system's manager for root, else of the
 * user's.
 */

#include "basic/clock.h"
#include "basic/why.h"

/*
 * Moves the calling process into a new scope, and returns when it is there. `name` ends in ".scope";
 * until `deadline` (of clock_monotonic()) at most. 0; -EOPNOTSUPP: no systemd answers here that could;
 * -ETIMEDOUT; -EREMOTEIO: it would not. The reason is in *why.
 */
int scope_enter(const char *name, const char *description, usec_t deadline, struct why *why);
