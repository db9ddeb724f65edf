/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Microseconds. */
typedef uint64_t usec_t;

#define USEC_PER_MSEC 1000ULL
#define USEC_PER_SEC  1000000ULL
#define USEC_INFINITY UINT64_MAX

/* CLOCK_MONOTONIC now. */
usec_t clock_monotonic(void);

/*
 * A token bucket: `burst` events at once, then one per `interval`. The state is the caller's, time
 * is passed in, so that tests need no real clock.
 */
struct ratelimit {
    usec_t interval;
    unsigned burst;
    usec_t full_at; /* when the bucket is full again */
};

/* True when an event may happen now (and counts it). */
bool ratelimit_take(struct ratelimit *limit, usec_t now);

/* When the next event may happen: `now` or later. */
usec_t ratelimit_next(const struct ratelimit *limit, usec_t now);
