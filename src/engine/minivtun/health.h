/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How good a link is, told by its echoes: in buckets of some time, of which the last few are looked
 * at together. An echo counts when its fate is known: answered, or given up for the next one; one
 * that is on its way is neither.
 *
 * The file has lines of NAME=VALUE, as a shell reads them:
 *
 *   state=up         resolving, connecting, up, or down (its health is too bad)
 *   sent=25          echoes in the last buckets whose fate is known
 *   received=24
 *   drop=4           percent, rounded down
 *   rtt=12.345       mean round trip in ms; empty when none came back
 *   server=192.0.2.1:1414
 *
 * Pure.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/clock.h"

struct health_bucket {
    uint32_t sent, received;
    usec_t rtt_sum;
};

struct health {
    struct health_bucket *buckets; /* a ring */
    size_t n, at;                  /* `at` is filled now */
};

struct health_sum {
    uint32_t sent, received, drop; /* drop in percent; 0 when nothing was sent */
    usec_t rtt;                    /* mean; 0 when nothing was received */
};

/* 0 or -ENOMEM. */
int health_init(struct health *h, size_t n_buckets);
void health_done(struct health *h);

void health_lost(struct health *h);
void health_answered(struct health *h, usec_t rtt);

/* The next bucket; the oldest is forgotten. */
void health_roll(struct health *h);

/* Forgets all: another link. */
void health_reset(struct health *h);

struct health_sum health_sum(const struct health *h);

/* max_rtt 0: any. */
bool health_is_bad(const struct health_sum *s, uint32_t max_drop, usec_t max_rtt);
