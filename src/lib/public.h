/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* The border: inside errors are negative errnos, outside they are -1 and errno, as in multinetwork.h. */

#include <errno.h>
#include <waymark.h>

/* Everything else is hidden; libwaymark.map gives it its version. */
#define WM_PUBLIC __attribute__((visibility("default")))

static inline int public_result(int r)
{
    if (r >= 0)
        return 0;
    errno = -r;
    return -1;
}

/* The same of what may change errno on its way, though all went well: `error` is what it was. */
static inline int public_result_quiet(int error, int r)
{
    if (r >= 0)
        errno = error;
    return public_result(r);
}
