/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/multimap.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/macro.h"

enum { BUCKETS_FIRST = 64 };

uint32_t multimap_seek(const struct multimap *m, uint32_t hash, uint32_t i)
{
    while (i != MULTIMAP_END && m->nodes[i].hash != hash)
        i = m->nodes[i].next;
    return i;
}

static void link_node(struct multimap *m, uint32_t i)
{
    uint32_t *bucket = &m->buckets[m->nodes[i].hash & (m->n_buckets - 1)];

    m->nodes[i].next = *bucket;
    *bucket = i;
}

/* Twice as many buckets. Those of free nodes do not matter: they are in none. */
static int grow(struct multimap *m)
{
    size_t n = m->n_buckets > 0 ? 2 * m->n_buckets : BUCKETS_FIRST;
    uint32_t *old = m->buckets, *larger = reallocarray(NULL, n, sizeof(*larger));
    size_t n_old = m->n_buckets;

    if (!larger)
        return -ENOMEM;
    memset(larger, 0xff, n * sizeof(*larger));
    m->buckets = larger;
    m->n_buckets = n;
    for (size_t b = 0; b < n_old; b++)
        for (uint32_t i = old[b], next; i != MULTIMAP_END; i = next) {
            next = m->nodes[i].next;
            link_node(m, i);
        }
    free(old);
    return 0;
}

int multimap_add(struct multimap *m, uint32_t hash, uint32_t value)
{
    uint32_t i = m->free - 1;

    if (m->used >= m->n_buckets && grow(m) < 0)
        return -ENOMEM;
    if (m->free == 0) {
        if (ARRAY_RESERVE(m->nodes, m->capacity, m->n + 1) < 0)
            return -ENOMEM;
        i = (uint32_t)m->n++;
    } else {
        m->free = m->nodes[i].next;
    }
    m->nodes[i] = (struct multimap_node){ .hash = hash, .value = value };
    link_node(m, i);
    m->used++;
    return 0;
}

void multimap_remove(struct multimap *m, uint32_t hash, uint32_t value)
{
    if (m->n_buckets == 0)
        return;
    for (uint32_t *at = &m->buckets[hash & (m->n_buckets - 1)]; *at != MULTIMAP_END;
         at = &m->nodes[*at].next) {
        uint32_t i = *at;

        if (m->nodes[i].hash != hash || m->nodes[i].value != value)
            continue;
        *at = m->nodes[i].next;
        m->nodes[i].next = m->free;
        m->free = i + 1;
        m->used--;
        return;
    }
}

void multimap_done(struct multimap *m)
{
    free(m->nodes);
    free(m->buckets);
    *m = (struct multimap){ 0 };
}
