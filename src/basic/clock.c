/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/clock.h"

#include <time.h>

#include "basic/macro.h"

usec_t clock_monotonic(void)
{
    struct timespec ts;

    if (clock_gettime(CLOCK_MONOTONIC, &ts) < 0)
        return 0;
    return (usec_t)ts.tv_sec * USEC_PER_SEC + (usec_t)ts.tv_nsec / 1000;
}

usec_t ratelimit_next(const struct ratelimit *limit, usec_t now)
{
    usec_t capacity = limit->interval * limit->burst;
    usec_t debt = limit->full_at > now ? limit->full_at - now : 0;

    /* One more event costs one interval; it fits while the debt then stays within the burst. */
    if (debt + limit->interval <= capacity)
        return now;
    return now + (debt + limit->interval - capacity);
}

bool ratelimit_take(struct ratelimit *limit, usec_t now)
{
    if (ratelimit_next(limit, now) > now)
        return false;
    limit->full_at = MAX(limit->full_at, now) + limit->interval;
    return true;
}
