/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/hash.h"

#include <errno.h>

#include "basic/macro.h"

enum { SIZE_FIRST = 64 };

uint64_t hash_bytes64(const void *bytes, size_t n, uint64_t seed)
{
    const uint8_t *p = bytes;
    uint64_t hash = seed ^ n, word;

    for (; n > 0; p += MIN(n, sizeof(word)), n -= MIN(n, sizeof(word))) {
        word = 0;
        memcpy(&word, p, MIN(n, sizeof(word)));
        hash = (hash ^ word) * 0x9e3779b97f4a7c15U; /* 2^64 / golden ratio (Knuth) */
        hash ^= hash >> 32;
    }
    return hash;
}

uint32_t hash_bytes(const void *bytes, size_t n, uint32_t seed)
{
    return (uint32_t)hash_bytes64(bytes, n, seed);
}

/* The slot with an equal thing, or the free one where it belongs. */
static struct hash_slot *find_slot(const struct hash_set *s, uint32_t hash, uint32_t number,
                                   hash_equal equal, const void *data)
{
    for (size_t i = hash & (s->size - 1);; i = (i + 1) & (s->size - 1)) {
        struct hash_slot *slot = &s->slots[i];

        if (slot->number == 0 ||
            (slot->hash == hash && equal && equal(data, slot->number - 1, number)))
            return slot;
    }
}

/* Twice as many slots. */
static int grow(struct hash_set *s)
{
    struct hash_set larger = { .size = s->size > 0 ? 2 * s->size : SIZE_FIRST, .used = s->used };

    larger.slots = calloc(larger.size, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < s->size; i++)
        if (s->slots[i].number != 0)
            *find_slot(&larger, s->slots[i].hash, 0, NULL, NULL) = s->slots[i];
    free(s->slots);
    *s = larger;
    return 0;
}

int hash_set_add(struct hash_set *s, uint32_t hash, uint32_t number, hash_equal equal,
                 const void *data, uint32_t *ret)
{
    struct hash_slot *slot;

    if (2 * s->used >= s->size && grow(s) < 0)
        return -ENOMEM;
    slot = find_slot(s, hash, number, equal, data);
    if (slot->number == 0) {
        *slot = (struct hash_slot){ .hash = hash, .number = number + 1 };
        s->used++;
    }
    *ret = slot->number - 1;
    return 0;
}

void hash_set_done(struct hash_set *s)
{
    free(s->slots);
    *s = (struct hash_set){ 0 };
}
