/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/index.h"

#include <errno.h>
#include <sodium.h>

#include "basic/array.h"

static_assert(sizeof(((struct index *)0)->seed) == crypto_shorthash_KEYBYTES, "seed");

/* Of a uid, and a key or nothing. */
static uint32_t hash(const struct index *x, uint32_t uid, const struct keystore_key *key)
{
    uint8_t bytes[sizeof(uid) + KEYSTORE_KEY_MAX], out[crypto_shorthash_BYTES];
    size_t size = sizeof(uid);
    uint32_t result;

    memcpy(bytes, &uid, sizeof(uid));
    if (key) {
        memcpy(bytes + size, key->bytes, key->size);
        size += key->size;
    }
    (void)crypto_shorthash(out, bytes, size, x->seed);
    memcpy(&result, out, sizeof(result));
    return result;
}

static uint32_t number_of(const struct index *x, const struct index_entry *e)
{
    return (uint32_t)(e - x->entries);
}

void index_init(struct index *x)
{
    *x = (struct index){ 0 };
    randombytes_buf(x->seed, sizeof(x->seed));
}

void index_done(struct index *x)
{
    for (size_t i = 0; i < x->n; i++)
        free(x->entries[i].readers);
    free(x->entries);
    free(x->owners);
    multimap_done(&x->by_name);
    multimap_done(&x->by_reader);
    multimap_done(&x->by_owner);
    *x = (struct index){ 0 };
}

void index_clear(struct index *x)
{
    index_done(x);
    index_init(x);
}

/* Present or not. */
static struct index_entry *find_any(const struct index *x, uid_t owner,
                                    const struct keystore_key *key)
{
    MULTIMAP_FOREACH (&x->by_name, hash(x, owner, key), i) {
        struct index_entry *e = &x->entries[x->by_name.nodes[i].value];

        if (e->owner == owner && keystore_key_equal(&e->key, key))
            return e;
    }
    return NULL;
}

struct index_entry *index_find(const struct index *x, uid_t owner, const struct keystore_key *key)
{
    struct index_entry *e = find_any(x, owner, key);

    return e && e->present ? e : NULL;
}

static struct index_owner *find_owner(const struct index *x, uid_t uid)
{
    MULTIMAP_FOREACH (&x->by_owner, hash(x, uid, NULL), i) {
        struct index_owner *o = &x->owners[x->by_owner.nodes[i].value];

        if (o->uid == uid)
            return o;
    }
    return NULL;
}

static int reserve_owner(struct index *x, uid_t uid)
{
    int r;

    if (find_owner(x, uid))
        return 0;
    r = ARRAY_RESERVE(x->owners, x->owners_capacity, x->n_owners + 1);
    if (r == 0)
        r = multimap_add(&x->by_owner, hash(x, uid, NULL), (uint32_t)x->n_owners);
    if (r == 0)
        x->owners[x->n_owners++] = (struct index_owner){ .uid = uid };
    return r;
}

int index_reserve(struct index *x, uid_t owner, const struct keystore_key *key,
                  struct index_entry **ret)
{
    struct index_entry *e = find_any(x, owner, key);
    uint32_t number = x->free > 0 ? x->free - 1 : (uint32_t)x->n;
    int r = 0;

    if (e) {
        *ret = e;
        return 0;
    }
    r = reserve_owner(x, owner);
    if (r == 0 && x->free == 0)
        r = ARRAY_RESERVE(x->entries, x->capacity, x->n + 1);
    if (r == 0)
        r = multimap_add(&x->by_name, hash(x, owner, key), number);
    if (r < 0)
        return r;
    e = &x->entries[number];
    if (number == x->n)
        x->n++;
    else
        x->free = e->next;
    *e = (struct index_entry){ .owner = owner, .key = *key };
    *ret = e;
    return 0;
}

void index_set(struct index *x, struct index_entry *e, uint32_t size)
{
    struct index_owner *o = find_owner(x, e->owner);
    uint32_t number = number_of(x, e);

    o->bytes += size;
    x->bytes += size;
    if (e->present) {
        o->bytes -= e->size;
        x->bytes -= e->size;
        e->size = size;
        return;
    }
    e->present = true;
    e->size = size;
    e->previous = 0;
    e->next = o->first;
    if (e->next > 0)
        x->entries[e->next - 1].previous = number + 1;
    o->first = number + 1;
    o->keys++;
    x->present++;
}

static void unlink_present(struct index *x, const struct index_entry *e)
{
    struct index_owner *o = find_owner(x, e->owner);

    if (e->previous > 0)
        x->entries[e->previous - 1].next = e->next;
    else
        o->first = e->next;
    if (e->next > 0)
        x->entries[e->next - 1].previous = e->previous;
    o->keys--;
    o->bytes -= e->size;
    x->bytes -= e->size;
    x->present--;
}

void index_drop(struct index *x, struct index_entry *e)
{
    uint32_t number = number_of(x, e);

    index_set_readers(x, e, NULL, 0);
    if (e->present)
        unlink_present(x, e);
    multimap_remove(&x->by_name, hash(x, e->owner, &e->key), number);
    *e = (struct index_entry){ .next = x->free };
    x->free = number + 1;
}

void index_count(const struct index *x, uid_t owner, size_t *ret_keys, size_t *ret_bytes)
{
    const struct index_owner *o = find_owner(x, owner);

    *ret_keys = o ? o->keys : 0;
    *ret_bytes = o ? o->bytes : 0;
}

static int compare_uid(const void *a, const void *b)
{
    return CMP(*(const uint32_t *)a, *(const uint32_t *)b);
}

static bool has(const uint32_t *readers, size_t n, uint32_t reader)
{
    return n > 0 && bsearch(&reader, readers, n, sizeof(reader), compare_uid);
}

bool index_has_reader(const struct index_entry *e, uint32_t reader)
{
    return has(e->readers, e->n_readers, reader);
}

int index_reserve_reader(struct index *x, const struct index_entry *e, uint32_t reader)
{
    uint32_t h = hash(x, reader, &e->key), number = number_of(x, e);

    MULTIMAP_FOREACH (&x->by_reader, h, i) {
        if (x->by_reader.nodes[i].value == number)
            return 0;
    }
    return multimap_add(&x->by_reader, h, number);
}

void index_set_readers(struct index *x, struct index_entry *e, uint32_t *readers, size_t n)
{
    for (size_t i = 0; i < e->n_readers; i++)
        if (!has(readers, n, e->readers[i]))
            multimap_remove(&x->by_reader, hash(x, e->readers[i], &e->key), number_of(x, e));
    free(e->readers);
    e->readers = readers;
    e->n_readers = n;
}

const struct index_entry *index_granted(const struct index *x, uint32_t reader,
                                        const struct keystore_key *key)
{
    const struct index_entry *found = NULL;

    MULTIMAP_FOREACH (&x->by_reader, hash(x, reader, key), i) {
        const struct index_entry *e = &x->entries[x->by_reader.nodes[i].value];

        if (!e->present || !keystore_key_equal(&e->key, key) || !index_has_reader(e, reader))
            continue;
        if (found)
            return NULL;
        found = e;
    }
    return found;
}

const struct index_entry *index_next(const struct index *x, uid_t owner,
                                     const struct index_entry *after)
{
    const struct index_owner *o = after ? NULL : find_owner(x, owner);
    uint32_t next = after ? after->next : o ? o->first : 0;

    return next > 0 ? &x->entries[next - 1] : NULL;
}
