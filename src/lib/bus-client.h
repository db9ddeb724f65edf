/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The daemon that the environment names, by D-Bus, with libwaymark's errors. */

#include <errno.h>

#include "lib/client.h"
#include "lib/process.h"

/* As client_open(); answers may take as long as those of fwmarkd. */
static inline int bus_client_open(struct client **ret, struct why *why)
{
    char path[PROCESS_PATH_MAX];
    int r = process_path("bus", path);

    return r < 0 ? r : client_open(path, clock_monotonic() + FWMARK_PATIENCE, ret, why);
}

/* sd-bus has more words for an answer that makes no sense, and for a daemon that went away. */
static inline int bus_client_error(int r)
{
    return r == -ENXIO || r == -EINVAL ? -EBADMSG : r;
}
