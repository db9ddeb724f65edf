/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The maps, from our side: single entries, whole tables, ranges of uids.
 *
 * Many entries are written by one system call (batches, since 5.6; tries since 5.15), where
 * the kernel has that.
 */
#include "apply/bpf.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>

#include "apply/bpf-internal.h"
#include "basic/array.h"

#define ENOTSUPP_KERNEL 524 /* the kernel's own, which it lets out here */

struct table {
    enum bpf_map_id map;
    size_t key_size, value_size;
};

static const struct table tables[BPF_TABLE_MAX] = {
    [BPF_CGROUPS] = { BPF_MAP_CGROUPS, sizeof(uint64_t), sizeof(struct socket_policy) },
    [BPF_EXECUTABLES] = { BPF_MAP_EXECUTABLES, sizeof(struct map_executable),
                          sizeof(struct socket_policy) },
    [BPF_PLACES] = { BPF_MAP_PLACES, sizeof(struct map_place), sizeof(struct socket_policy) },
    [BPF_PATHS] = { BPF_MAP_PATHS, sizeof(struct map_path), sizeof(struct socket_policy) },
    [BPF_NETWORKS] = { BPF_MAP_NETWORKS, sizeof(uint32_t), sizeof(struct map_network) },
    [BPF_PORTS] = { BPF_MAP_PORTS, sizeof(struct map_port), sizeof(uint8_t) },
    [BPF_OUTSIDE] = { BPF_MAP_OUTSIDE, sizeof(struct map_outside), sizeof(uint32_t) },
    [BPF_INTERFACES] = { BPF_MAP_INTERFACES, sizeof(uint32_t), sizeof(uint32_t) },
    [BPF_USERS] = { BPF_MAP_USERS, sizeof(uint32_t), sizeof(struct map_user) },
};

static const struct table range_tables[BPF_RANGE_TABLE_MAX] = {
    [BPF_UIDS] = { BPF_MAP_UIDS, sizeof(struct map_uid_prefix), sizeof(struct socket_policy) },
    [BPF_VPNS] = { BPF_MAP_VPNS, sizeof(struct map_uid_prefix), sizeof(struct map_vpn) },
};

/* Keys and their values, side by side. */
struct entries {
    const struct table *table;
    uint8_t *keys, *values;
    size_t n, cap_keys, cap_values;
};

static void entries_done(struct entries *e)
{
    free(e->keys);
    free(e->values);
}
#define _cleanup_entries_ _cleanup_(entries_done)

static int entries_add(struct entries *e, const void *key, const void *value)
{
    size_t key_size = e->table->key_size, value_size = e->table->value_size;

    if (array_reserve((void **)&e->keys, &e->cap_keys, e->n + 1, key_size) < 0 ||
        array_reserve((void **)&e->values, &e->cap_values, e->n + 1, value_size) < 0)
        return -ENOMEM;
    memcpy(e->keys + e->n * key_size, key, key_size);
    memcpy(e->values + e->n * value_size, value, value_size);
    e->n++;
    return 0;
}

static const uint8_t *entries_key(const struct entries *e, size_t i)
{
    return e->keys + i * e->table->key_size;
}

static const uint8_t *entries_value(const struct entries *e, size_t i)
{
    return e->values + i * e->table->value_size;
}

static bool no_batches(int r)
{
    return r == -EINVAL || r == -ENOTSUPP_KERNEL || r == -EOPNOTSUPP;
}

static int fail(const struct table *t, int r, const char *what, struct why *why)
{
    if (r == -E2BIG || r == -ENOSPC)
        return why_set(why, -ENOSPC, "the BPF map %s is full", bpf_map_name(t->map));
    return why_set(why, r, "cannot %s the BPF map %s: %s", what, bpf_map_name(t->map),
                   strerror(-r));
}

static int put_all(struct bpf *b, const struct entries *e, struct why *why)
{
    int fd = b->maps[e->table->map];
    uint32_t n = (uint32_t)e->n;
    int r = 0;

    if (e->n > 0)
        b->empty[e->table->map] = false;
    if (e->n > 1) {
        const struct bpf_map_batch_opts options = { .sz = sizeof(options) };

        r = bpf_map_update_batch(fd, e->keys, e->values, &n, &options);
        if (r == 0)
            return 0;
        if (!no_batches(r))
            return fail(e->table, r, "write", why);
    }
    for (size_t i = 0; i < e->n; i++) {
        r = bpf_map_update_elem(fd, entries_key(e, i), entries_value(e, i), BPF_ANY);
        if (r < 0)
            return fail(e->table, r, "write", why);
    }
    return 0;
}

/* What is not there is dropped already. */
static int drop_all(struct bpf *b, const struct entries *e, struct why *why)
{
    int fd = b->maps[e->table->map], r = 0;
    bool batches = e->n > 1;

    for (size_t i = 0; i < e->n;) {
        uint32_t n = (uint32_t)(e->n - i);

        if (batches) {
            const struct bpf_map_batch_opts options = { .sz = sizeof(options) };

            r = bpf_map_delete_batch(fd, entries_key(e, i), &n, &options);
        } else {
            r = bpf_map_delete_elem(fd, entries_key(e, i));
            n = r == 0 ? 1 : 0;
        }
        if (r < 0 && batches && no_batches(r)) {
            batches = false;
            continue;
        }
        if (r < 0 && r != -ENOENT)
            return fail(e->table, r, "shrink", why);
        i += n + (r < 0 ? 1 : 0); /* n are gone, the one behind was missing */
    }
    return 0;
}

int bpf_put(struct bpf *b, enum bpf_table table, const void *key, const void *value,
            struct why *why)
{
    const struct table *t = &tables[table];
    int fd = b->maps[t->map], r;
    uint8_t old[sizeof(struct socket_policy)];

    if (table == BPF_EXECUTABLES && value && bpf_map_lookup_elem(fd, key, old) < 0)
        b->new_executables = true;
    if (value)
        b->empty[t->map] = false;
    r = value ? bpf_map_update_elem(fd, key, value, BPF_ANY) : bpf_map_delete_elem(fd, key);

    if (r < 0 && !(r == -ENOENT && !value))
        return fail(t, r, "write", why);
    return 0;
}

/* Keys as pointers, for qsort() and bsearch(). */
static int compare_keys(const void *a, const void *b, void *size)
{
    return memcmp(*(const uint8_t *const *)a, *(const uint8_t *const *)b, *(size_t *)size);
}

static const uint8_t **sorted_keys(const struct entries *e)
{
    const uint8_t **keys = calloc(e->n + 1, sizeof(*keys));
    size_t size = e->table->key_size;

    for (size_t i = 0; keys && i < e->n; i++)
        keys[i] = entries_key(e, i);
    if (keys)
        qsort_r(keys, e->n, sizeof(*keys), compare_keys, &size);
    return keys;
}

static bool has_key(const uint8_t *const *keys, size_t n, const uint8_t *key, size_t size)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        int c = memcmp(keys[mid], key, size);

        if (c == 0)
            return true;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return false;
}

/* Keys of the kernel's table that are not among these n sorted ones. */
static int find_superfluous(int fd, const uint8_t *const *keys, size_t n, struct entries *ret)
{
    uint8_t key[sizeof(union bpf_key)], previous[sizeof(key)];
    static const uint8_t nothing[sizeof(struct socket_policy)];
    int r = bpf_map_get_next_key(fd, NULL, key);

    while (r == 0) {
        if (!has_key(keys, n, key, ret->table->key_size) && entries_add(ret, key, nothing) < 0)
            return -ENOMEM;
        memcpy(previous, key, sizeof(key));
        r = bpf_map_get_next_key(fd, previous, key);
    }
    return r == -ENOENT ? 0 : r;
}

static int retain_all(struct bpf *b, const struct entries *wanted, struct why *why)
{
    _cleanup_entries_ struct entries others = { .table = wanted->table };
    _cleanup_free_ const uint8_t **keys = sorted_keys(wanted);
    int r;

    if (!keys)
        return -ENOMEM;
    r = find_superfluous(b->maps[wanted->table->map], keys, wanted->n, &others);
    if (r < 0)
        return fail(wanted->table, r, "read", why);
    return drop_all(b, &others, why);
}

static int sync_all(struct bpf *b, const struct entries *wanted, struct why *why)
{
    int r = put_all(b, wanted, why);

    return r < 0 ? r : retain_all(b, wanted, why);
}

int bpf_sync(struct bpf *b, enum bpf_table table, const void *keys, const void *values, size_t n,
             struct why *why)
{
    _cleanup_entries_ struct entries wanted = { .table = &tables[table] };
    const uint8_t *key = keys, *value = values;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = entries_add(&wanted, key + i * wanted.table->key_size,
                        value + i * wanted.table->value_size);
    if (table == BPF_EXECUTABLES && n > 0)
        b->new_executables = true;
    return r < 0 ? r : sync_all(b, &wanted, why);
}

int bpf_retain(struct bpf *b, enum bpf_table table, const void *keys, size_t n, struct why *why)
{
    _cleanup_entries_ struct entries wanted = { .table = &tables[table] };
    static const uint8_t nothing[sizeof(struct socket_policy)];
    const uint8_t *key = keys;
    int r = 0;

    for (size_t i = 0; i < n && r == 0; i++)
        r = entries_add(&wanted, key + i * wanted.table->key_size, nothing);
    return r < 0 ? r : retain_all(b, &wanted, why);
}

static int read_all(struct bpf *b, struct entries *ret, struct why *why)
{
    int fd = b->maps[ret->table->map];
    uint8_t key[sizeof(union bpf_key)], value[sizeof(struct socket_policy)];
    int r = bpf_map_get_next_key(fd, NULL, key);

    while (r == 0) {
        r = bpf_map_lookup_elem(fd, key, value);
        if (r == 0)
            r = entries_add(ret, key, value);
        if (r == 0)
            r = bpf_map_get_next_key(fd, entries_key(ret, ret->n - 1), key);
    }
    if (r == -ENOMEM)
        return r;
    return r == -ENOENT ? 0 : fail(ret->table, r, "read", why);
}

int bpf_read_table(struct bpf *b, enum bpf_table table, bpf_each each, void *data, struct why *why)
{
    _cleanup_entries_ struct entries all = { .table = &tables[table] };
    int r = read_all(b, &all, why);

    for (size_t i = 0; r == 0 && i < all.n; i++)
        r = each(data, entries_key(&all, i), entries_value(&all, i));
    return r;
}

/* The fewest prefixes that make up the range, ascending. At most 62. */
static int add_prefixes(struct entries *e, const struct bpf_range *range)
{
    uint64_t lo = range->uid.lo, end = (uint64_t)range->uid.hi + 1;
    int r = 0;

    while (lo < end && r == 0) {
        uint32_t bits = lo ? (uint32_t)__builtin_ctzll(lo) : 32;
        struct map_uid_prefix key;
        uint32_t uid = htonl((uint32_t)lo);

        while ((UINT64_C(1) << bits) > end - lo)
            bits--;
        key.length = 32 - bits;
        memcpy(key.uid, &uid, sizeof(key.uid));
        r = entries_add(e, &key, &range->policy);
        lo += UINT64_C(1) << bits;
    }
    return r;
}

static int make_prefixes(struct entries *e, const struct bpf_range *ranges, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int r = add_prefixes(e, &ranges[i]);

        if (r < 0)
            return r;
        if (ranges[i].uid.lo > ranges[i].uid.hi ||
            (i > 0 && ranges[i - 1].uid.hi >= ranges[i].uid.lo))
            return -EINVAL;
    }
    return 0;
}

/* By where they begin, the shorter prefix first. */
static int compare_prefixes(const struct entries *a, size_t i, const struct entries *b, size_t j)
{
    const struct map_uid_prefix *x = (const void *)entries_key(a, i);
    const struct map_uid_prefix *y = (const void *)entries_key(b, j);
    int c = memcmp(x->uid, y->uid, sizeof(x->uid));

    return c ? c : CMP(x->length, y->length);
}

/* Entries of `a` that `b` has not; with values, also those that it has with another value. */
static int subtract(const struct entries *a, const struct entries *b, bool values,
                    struct entries *ret)
{
    int r = 0;

    for (size_t i = 0, j = 0; i < a->n && r == 0; i++) {
        while (j < b->n && compare_prefixes(b, j, a, i) < 0)
            j++;
        if (j == b->n || compare_prefixes(b, j, a, i) != 0 ||
            (values && memcmp(entries_value(a, i), entries_value(b, j), a->table->value_size) != 0))
            r = entries_add(ret, entries_key(a, i), entries_value(a, i));
    }
    return r;
}

bool bpf_knows_ranges(const struct bpf *b, enum bpf_range_table table)
{
    return b->prefixes_known[table];
}

int bpf_change_ranges(struct bpf *b, enum bpf_range_table table, const struct bpf_range *before,
                      size_t n_before, const struct bpf_range *after, size_t n_after,
                      struct why *why)
{
    const struct table *t = &range_tables[table];
    _cleanup_entries_ struct entries from = { .table = t }, to = { .table = t };
    _cleanup_entries_ struct entries put = { .table = t }, drop = { .table = t };
    int r = make_prefixes(&to, after, n_after);

    if (r == 0)
        r = make_prefixes(&from, before, before ? n_before : 0);
    if (r == -EINVAL)
        return why_set(why, r, "ranges of uids for the BPF map %s overlap or are not in order",
                       bpf_map_name(t->map));
    if (r == 0 && !before) {
        r = sync_all(b, &to, why);
        b->prefixes_known[table] = r == 0;
        return r;
    }
    if (r == 0)
        r = subtract(&to, &from, true, &put);
    if (r == 0)
        r = subtract(&from, &to, false, &drop);
    if (r < 0)
        return r;
    /* first what is new: of two prefixes of a uid the longer one counts, and none is missing */
    r = put_all(b, &put, why);
    return r < 0 ? r : drop_all(b, &drop, why);
}

/* Prefixes that are inside of each other, from the widest to the one that counts, and how far it went. */
struct nest {
    const struct table *table;
    struct bpf_range open[33];
    size_t n;
    uint64_t at;              /* all below has been told */
    struct bpf_range *ranges; /* neighbours that say the same joined */
    size_t n_ranges, cap_ranges;
};

/* What the innermost has up to here, unless it was told already. */
static int tell_until(struct nest *nest, uint64_t end)
{
    struct bpf_range range = nest->open[nest->n - 1];

    if (nest->at >= end)
        return 0;
    range.uid = (struct uid_range){ (uint32_t)nest->at, (uint32_t)(end - 1) };
    nest->at = end;
    if (nest->n_ranges > 0) {
        struct bpf_range *last = &nest->ranges[nest->n_ranges - 1];

        if ((uint64_t)last->uid.hi + 1 == range.uid.lo &&
            memcmp(&last->policy, &range.policy, nest->table->value_size) == 0) {
            last->uid.hi = range.uid.hi;
            return 0;
        }
    }
    return ARRAY_PUSH(nest->ranges, nest->n_ranges, nest->cap_ranges, range);
}

/* Ends those that lie below `lo`, and tells what the next one out has before that. */
static int leave(struct nest *nest, uint64_t lo)
{
    int r = 0;

    while (r == 0 && nest->n > 0 && nest->open[nest->n - 1].uid.hi < lo) {
        r = tell_until(nest, (uint64_t)nest->open[nest->n - 1].uid.hi + 1);
        nest->n--;
    }
    if (r == 0 && nest->n > 0)
        r = tell_until(nest, lo);
    return r;
}

static int enter(struct nest *nest, const uint8_t *key, const uint8_t *value)
{
    const struct map_uid_prefix *prefix = (const void *)key;
    struct bpf_range *range;
    uint32_t lo, hosts = (uint32_t)(UINT64_C(0xffffffff) >> prefix->length);
    int r;

    memcpy(&lo, prefix->uid, sizeof(lo));
    lo = ntohl(lo);
    r = leave(nest, lo);
    if (r < 0)
        return r;
    if (nest->n == ELEMENTSOF(nest->open))
        return -EPROTO;
    range = &nest->open[nest->n++];
    *range = (struct bpf_range){ .uid = { lo, lo | hosts } };
    memcpy(&range->policy, value, nest->table->value_size);
    nest->at = lo;
    return 0;
}

static int compare_entries(const void *x, const void *y, void *all)
{
    const size_t *i = x, *j = y;

    return compare_prefixes(all, *i, all, *j);
}

/* The ranges that these entries, in this order, come to. */
static int find_ranges(struct nest *nest, const struct entries *all, const size_t *order)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < all->n; i++)
        r = enter(nest, entries_key(all, order[i]), entries_value(all, order[i]));
    return r < 0 ? r : leave(nest, UINT64_MAX);
}

/* Would we make these ranges of just these prefixes? */
static bool are_ours(const struct nest *nest, const struct entries *all, const size_t *order)
{
    _cleanup_entries_ struct entries ours = { .table = nest->table };

    if (make_prefixes(&ours, nest->ranges, nest->n_ranges) < 0 || ours.n != all->n)
        return false;
    for (size_t i = 0; i < ours.n; i++)
        if (compare_prefixes(&ours, i, all, order[i]) != 0)
            return false;
    return true;
}

int bpf_read_ranges(struct bpf *b, enum bpf_range_table table, bpf_each_range each, void *data,
                    struct why *why)
{
    _cleanup_entries_ struct entries all = { .table = &range_tables[table] };
    struct nest nest = { .table = all.table };
    size_t *order = NULL;
    int r = read_all(b, &all, why);

    order = calloc(all.n + 1, sizeof(*order));
    if (r == 0 && !order)
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < all.n; i++)
        order[i] = i;
    if (r == 0) {
        qsort_r(order, all.n, sizeof(*order), compare_entries, &all);
        r = find_ranges(&nest, &all, order);
    }
    b->prefixes_known[table] = r == 0 && are_ours(&nest, &all, order);
    for (size_t i = 0; r == 0 && i < nest.n_ranges; i++)
        r = each(data, &nest.ranges[i]);
    free(nest.ranges);
    free(order);
    return r;
}
