/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/health.h"

#include <errno.h>

#include "basic/macro.h"

int health_init(struct health *h, size_t n_buckets)
{
    struct health_bucket *buckets = calloc(n_buckets, sizeof(*buckets));

    if (!buckets)
        return -ENOMEM;
    *h = (struct health){ .buckets = buckets, .n = n_buckets };
    return 0;
}

void health_done(struct health *h)
{
    free(h->buckets);
    *h = (struct health){ 0 };
}

void health_lost(struct health *h)
{
    h->buckets[h->at].sent++;
}

void health_answered(struct health *h, usec_t rtt)
{
    h->buckets[h->at].sent++;
    h->buckets[h->at].received++;
    h->buckets[h->at].rtt_sum += rtt;
}

void health_roll(struct health *h)
{
    h->at = (h->at + 1) % h->n;
    h->buckets[h->at] = (struct health_bucket){ 0 };
}

void health_reset(struct health *h)
{
    memset(h->buckets, 0, h->n * sizeof(*h->buckets));
}

struct health_sum health_sum(const struct health *h)
{
    struct health_sum s = { 0 };
    usec_t rtt_sum = 0;

    for (size_t i = 0; i < h->n; i++) {
        s.sent += h->buckets[i].sent;
        s.received += h->buckets[i].received;
        rtt_sum += h->buckets[i].rtt_sum;
    }
    if (s.sent > 0)
        s.drop = (uint32_t)((uint64_t)(s.sent - s.received) * 100 / s.sent);
    if (s.received > 0)
        s.rtt = rtt_sum / s.received;
    return s;
}

bool health_is_bad(const struct health_sum *s, uint32_t max_drop, usec_t max_rtt)
{
    return s->drop > max_drop || (max_rtt > 0 && s->rtt > max_rtt);
}
