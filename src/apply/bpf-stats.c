/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs have counted.
 *
 * The table is read key by key while they go on counting. When the key behind which the kernel is asked
 * for the next one was pushed out meanwhile, it starts over: so no more steps are made than there is
 * room in the table, twice, and what was seen twice counts once.
 */
#include "apply/bpf.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>

#include "apply/bpf-internal.h"
#include "basic/array.h"

enum { STEPS_MAX = 2 * MAPS_STATS_MAX };

struct keys {
    struct map_stats_key *items;
    size_t n, cap;
};

static int compare_keys(const void *x, const void *y)
{
    const struct map_stats_key *a = x, *b = y;

    return a->app != b->app ? CMP(a->app, b->app) : CMP(a->netid, b->netid);
}

/* All keys, each once, ascending. */
static int read_keys(int fd, struct keys *ret)
{
    struct keys k = { 0 };
    struct map_stats_key key;
    size_t out = 0;
    int r = bpf_map_get_next_key(fd, NULL, &key);

    for (size_t i = 0; r == 0 && i < STEPS_MAX; i++) {
        r = ARRAY_PUSH(k.items, k.n, k.cap, key);
        if (r == 0)
            r = bpf_map_get_next_key(fd, &key, &key);
    }
    if (r < 0 && r != -ENOENT) {
        free(k.items);
        return r;
    }
    if (k.n > 0)
        qsort(k.items, k.n, sizeof(*k.items), compare_keys);
    for (size_t i = 0; i < k.n; i++)
        if (out == 0 || compare_keys(&k.items[out - 1], &k.items[i]) != 0)
            k.items[out++] = k.items[i];
    k.n = out;
    *ret = k;
    return 0;
}

static int cannot_read(int r, struct why *why)
{
    return r == -ENOMEM ? r : why_set(why, r, "cannot read the BPF map stats: %s", strerror(-r));
}

static void add_stats(struct map_stats *sum, const struct map_stats *one)
{
    sum->packets_out += one->packets_out;
    sum->bytes_out += one->bytes_out;
    sum->packets_in += one->packets_in;
    sum->bytes_in += one->bytes_in;
    for (size_t i = 0; i < ELEMENTSOF(sum->drops); i++)
        sum->drops[i] += one->drops[i];
}

int bpf_read_stats(struct bpf *b, struct bpf_stats **ret, size_t *ret_n, struct why *why)
{
    int fd = b->maps[BPF_MAP_STATS], cpus = libbpf_num_possible_cpus();
    _cleanup_free_ struct map_stats *each = cpus > 0 ? calloc((size_t)cpus, sizeof(*each)) : NULL;
    struct bpf_stats *all = NULL;
    struct keys keys = { 0 };
    size_t n = 0;
    int r = each ? read_keys(fd, &keys) : -ENOMEM;

    if (r == 0)
        all = calloc(keys.n + 1, sizeof(*all));
    for (size_t i = 0; all && i < keys.n; i++) {
        if (bpf_map_lookup_elem(fd, &keys.items[i], each) < 0)
            continue; /* pushed out just now */
        all[n].key = keys.items[i];
        for (int c = 0; c < cpus; c++)
            add_stats(&all[n].sum, &each[c]);
        n++;
    }
    free(keys.items);
    if (r < 0 || !all)
        return cannot_read(r < 0 ? r : -ENOMEM, why);
    *ret = all;
    *ret_n = n;
    return 0;
}

static bool has_app(const uint64_t *apps, size_t n, uint64_t app)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (apps[mid] < app)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < n && apps[lo] == app;
}

int bpf_drop_stats(struct bpf *b, const uint64_t *apps, size_t n, bool others, struct why *why)
{
    int fd = b->maps[BPF_MAP_STATS], r;
    struct keys keys = { 0 };

    r = read_keys(fd, &keys);
    if (r < 0)
        return cannot_read(r, why);
    for (size_t i = 0; i < keys.n && (r == 0 || r == -ENOENT); i++)
        if (has_app(apps, n, keys.items[i].app) != others)
            r = bpf_map_delete_elem(fd, &keys.items[i]);
    free(keys.items);
    if (r < 0 && r != -ENOENT)
        return why_set(why, r, "cannot drop counters from the BPF map stats: %s", strerror(-r));
    return 0;
}
