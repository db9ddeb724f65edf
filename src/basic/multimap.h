/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * From a hash to all numbers that were put in under it. For things that come and go one by one, by
 * keys that the owner compares or, where a false hit does no harm, does not.
 *
 *     MULTIMAP_FOREACH(m, hash, i)
 *         use(m->nodes[i].value);
 *
 * Neither add nor remove in the body.
 */

#include <stddef.h>
#include <stdint.h>

#define MULTIMAP_END UINT32_MAX

struct multimap_node {
    uint32_t hash, value;
    uint32_t next; /* of the same bucket, or of the free ones */
};

struct multimap {
    struct multimap_node *nodes;
    size_t n, capacity;
    uint32_t *buckets;
    size_t n_buckets; /* a power of two, or 0 */
    size_t used;
    uint32_t free; /* + 1; 0 = none */
};

/* 0 or -ENOMEM. The same pair may be in twice. */
int multimap_add(struct multimap *m, uint32_t hash, uint32_t value);
/* Takes one such pair out; nothing when there is none. */
void multimap_remove(struct multimap *m, uint32_t hash, uint32_t value);
void multimap_done(struct multimap *m);

/* The next node under this hash from node i on; MULTIMAP_END. */
uint32_t multimap_seek(const struct multimap *m, uint32_t hash, uint32_t i);

static inline uint32_t multimap_first(const struct multimap *m, uint32_t hash)
{
    return m->n_buckets == 0 ? MULTIMAP_END
                             : multimap_seek(m, hash, m->buckets[hash & (m->n_buckets - 1)]);
}

#define MULTIMAP_FOREACH(m, hash, i)                                \
    for (uint32_t i = multimap_first(m, hash); (i) != MULTIMAP_END; \
         (i) = multimap_seek(m, hash, (m)->nodes[i].next))
