/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is in the store, in memory: which owner has which keys of what size, and who was granted what. It
 * is found by hash (keyed: keys are of anybody's choosing), whatever others have stored.
 *
 * An entry that is not `present` is room for one that is being written: it is not found, counted or
 * listed. Pointers to entries hold until the next index_reserve().
 */

#include <stdbool.h>
#include <sys/types.h>

#include "basic/multimap.h"
#include "wire/keystore.h"

struct index_entry {
    uid_t owner;
    struct keystore_key key;
    bool present;
    uint32_t size;     /* of the value */
    uint32_t *readers; /* ascending */
    size_t n_readers;
    uint32_t next, previous; /* present ones of the same owner; + 1, 0 = none; of free ones: next */
};

struct index_owner {
    uid_t uid;
    uint32_t first; /* + 1 */
    size_t keys, bytes;
};

struct index {
    uint8_t seed[16];
    struct index_entry *entries;
    size_t n, capacity;
    uint32_t free; /* + 1 */
    struct index_owner *owners;
    size_t n_owners, owners_capacity;
    struct multimap by_name;   /* owner and key → entry */
    struct multimap by_reader; /* reader and key → entry, and entries that are no more his */
    struct multimap by_owner;  /* uid → owner */
    size_t present, bytes;     /* of all owners */
};

void index_init(struct index *x);
void index_done(struct index *x);

/* Forgets all. */
void index_clear(struct index *x);

/* The entry that is present, or NULL. */
struct index_entry *index_find(const struct index *x, uid_t owner, const struct keystore_key *key);

/* Makes room for one, present or not; it may have been there. 0 or -ENOMEM. */
int index_reserve(struct index *x, uid_t owner, const struct keystore_key *key,
                  struct index_entry **ret);

/* It is there from now on, or is so with another size. */
void index_set(struct index *x, struct index_entry *e, uint32_t size);

/* It is not, and nor are its readers. */
void index_drop(struct index *x, struct index_entry *e);

/* Keys and bytes of an owner. */
void index_count(const struct index *x, uid_t owner, size_t *ret_keys, size_t *ret_bytes);

/*
 * Room for a reader to be found by; harmless as long as he is none. 0 or -ENOMEM. Then
 * index_set_readers() cannot fail: it takes the array over.
 */
int index_reserve_reader(struct index *x, const struct index_entry *e, uint32_t reader);
void index_set_readers(struct index *x, struct index_entry *e, uint32_t *readers, size_t n);

bool index_has_reader(const struct index_entry *e, uint32_t reader);

/* The only entry of this key that the reader was granted; NULL: none, or several. */
const struct index_entry *index_granted(const struct index *x, uint32_t reader,
                                        const struct keystore_key *key);

/* The owner's entries that are present, in no order: NULL begins, and is behind the last. */
const struct index_entry *index_next(const struct index *x, uid_t owner,
                                     const struct index_entry *after);
