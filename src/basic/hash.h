/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Finding equals among many things: a set of their numbers, by content. The things stay where the
 * owner has them; the set keeps a number and a hash of each.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct hash_slot {
    uint32_t hash;
    uint32_t number; /* + 1; 0 = free */
};

struct hash_set {
    struct hash_slot *slots;
    size_t size, used; /* size is a power of two, or 0 */
};

/* Are the things with these numbers equal? */
typedef bool (*hash_equal)(const void *data, uint32_t a, uint32_t b);

/*
 * Puts a number in unless there is one of an equal thing; *ret is the one that is in then. 0 or
 * -ENOMEM.
 */
int hash_set_add(struct hash_set *s, uint32_t hash, uint32_t number, hash_equal equal,
                 const void *data, uint32_t *ret);

void hash_set_done(struct hash_set *s);
#define _cleanup_hash_set_ _cleanup_(hash_set_done)

/*
 * A hash of n bytes; `seed` is that of what stands before them, 0 at first. Not for hostile data. Eight
 * bytes that differ have hashes of 64 bits that differ.
 */
uint32_t hash_bytes(const void *bytes, size_t n, uint32_t seed);
uint64_t hash_bytes64(const void *bytes, size_t n, uint64_t seed);
