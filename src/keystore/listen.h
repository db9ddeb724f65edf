/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The socket, and how many may come by it. It is everybody's to connect to (mode 0666). */

#include "basic/why.h"

/* As many descriptors as we may have, and can be of use. 0 or -errno. */
int listen_raise_limits(void);

/*
 * Makes <runtime_dir>/keystore, and takes a dead process's place, not a living one's. 0 or -errno, with the
 * reason. One that systemd has made takes precedence.
 */
int listen_open(const char *runtime_dir, int *ret_fd, struct why *why);
