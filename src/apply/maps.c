/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/maps.h"

#include <errno.h>

#include "basic/array.h"
#include "plan/outside.h"

union key {
    uint32_t number;
    uint64_t cgroup;
    struct map_port port;
    struct map_executable executable;
    struct map_place place;
    struct map_path path;
    uint8_t bytes[sizeof(struct map_place)];
};

union value {
    uint8_t one;
    uint32_t number;
    struct socket_policy policy;
    struct map_network network;
    struct map_user user;
    uint8_t bytes[sizeof(struct socket_policy)];
};

struct entry {
    union key key;
    union value value;
};

struct entries {
    struct entry *items;
    size_t n, cap;
};

/* `flags`: GUARD_APP_*. */
static struct socket_policy policy_of(uint32_t netid, uint64_t app, uint32_t flags)
{
    uint32_t number = netid & MARK_NETID_MASK;
    enum socket_strength held = number == NETID_UNSET ? SOCKET_NONE : SOCKET_REQUIRE;
    unsigned first = flags & GUARD_APP_RUN ? SOCKET_POLICY_FIRST : 0;
    unsigned lockdown = flags & GUARD_APP_LOCKDOWN ? SOCKET_POLICY_LOCKDOWN : 0;

    return (struct socket_policy){ .netid = number,
                                   .strength = netid & GUARD_PREFER ? SOCKET_PREFER : held,
                                   .flags = (uint8_t)(first | lockdown),
                                   .app = app };
}

static struct socket_policy policy_of_place(const struct guard_place *place)
{
    const struct socket_policy none = { .strength = SOCKET_UNASSIGNED };

    if (place_is_passage(place->kind))
        return none;
    return policy_of(place->netid, place->app, place->flags);
}

static int add(struct entries *e, struct entry entry)
{
    return ARRAY_PUSH(e->items, e->n, e->cap, entry);
}

static int take_networks(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_networks; i++) {
        const struct guard_network *n = &g->networks[i];

        r = add(e, (struct entry){ .key.number = n->netid,
                                   .value.network = { n->flags, n->permission } });
    }
    return r;
}

static int take_users(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_users; i++) {
        const struct guard_user *u = &g->users[i];

        r = add(e, (struct entry){
                       .key.number = u->uid,
                       .value.user = { .has_permission = !!(u->flags & GUARD_USER_PERMISSION),
                                       .permission = (uint8_t)u->permission,
                                       .protectable = !!(u->flags & GUARD_USER_PROTECT) } });
    }
    return r;
}

static int take_interfaces(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_incoming; i++)
        r = add(e, (struct entry){ .key.number = (uint32_t)g->incoming[i].ifindex,
                                   .value.number = g->incoming[i].mark & MARK_NETID_MASK });
    return r;
}

/* Those of the chain for programs that may protect are the same interfaces. */
static int take_ports(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_ports; i++)
        r = add(e, (struct entry){ .key.port = { .netid = g->ports[i].netid & MARK_NETID_MASK,
                                                 .ifindex = (uint32_t)g->ports[i].ifindex },
                                   .value.one = 1 });
    return r;
}

static int take_executables(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_apps; i++)
        if (g->apps[i].kind == GUARD_APP_EXE)
            r = add(e,
                    (struct entry){ .key.executable = bpf_executable(g->apps[i].dev, g->apps[i].id),
                                    .value.policy = policy_of(g->apps[i].netid, g->apps[i].app,
                                                              g->apps[i].flags) });
    return r;
}

static int take_cgroups(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_apps; i++)
        if (g->apps[i].kind == GUARD_APP_CGROUP)
            r = add(e, (struct entry){ .key.cgroup = g->apps[i].id,
                                       .value.policy = policy_of(g->apps[i].netid, g->apps[i].app,
                                                                 g->apps[i].flags) });
    return r;
}

static bool is_of_executable(const struct guard_place *place)
{
    return place->kind == PLACE_DIRECTORY || place->kind == PLACE_FILE;
}

static int take_places(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_places; i++) {
        const struct guard_place *p = &g->places[i];
        struct map_executable directory = bpf_executable(p->dev, p->parent);

        if (is_of_executable(p))
            r = add(e, (struct entry){ .key.place = { .dev = directory.dev,
                                                      .directory = directory.ino,
                                                      .name = p->name },
                                       .value.policy = policy_of_place(p) });
    }
    return r;
}

static int take_paths(const struct guard *g, struct entries *e)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_places; i++) {
        const struct guard_place *p = &g->places[i];

        if (!is_of_executable(p))
            r = add(e, (struct entry){
                           .key.path = { .parent = p->parent, .name = p->name, .kind = p->kind },
                           .value.policy = policy_of_place(p) });
    }
    return r;
}

static const struct table {
    size_t key_size, value_size;
    int (*take)(const struct guard *g, struct entries *e);
} tables[BPF_TABLE_MAX] = {
    [BPF_CGROUPS] = { sizeof(uint64_t), sizeof(struct socket_policy), take_cgroups },
    [BPF_EXECUTABLES] = { sizeof(struct map_executable), sizeof(struct socket_policy),
                          take_executables },
    [BPF_PLACES] = { sizeof(struct map_place), sizeof(struct socket_policy), take_places },
    [BPF_PATHS] = { sizeof(struct map_path), sizeof(struct socket_policy), take_paths },
    [BPF_NETWORKS] = { sizeof(uint32_t), sizeof(struct map_network), take_networks },
    [BPF_PORTS] = { sizeof(struct map_port), sizeof(uint8_t), take_ports },
    [BPF_INTERFACES] = { sizeof(uint32_t), sizeof(uint32_t), take_interfaces },
    [BPF_USERS] = { sizeof(uint32_t), sizeof(struct map_user), take_users },
};

/* Any order will do; unused bytes are zero. */
static int compare_keys(const void *x, const void *y)
{
    const struct entry *a = x, *b = y;

    static_assert(sizeof(a->key) == sizeof(a->key.bytes), "all of a key is compared");
    return memcmp(a->key.bytes, b->key.bytes, sizeof(a->key.bytes));
}

/* What a guard (NULL: none) has for a table, sorted, each key once. */
static int take(enum bpf_table table, const struct guard *g, struct entries *ret)
{
    struct entries e = { 0 };
    size_t out = 0;
    int r = g ? tables[table].take(g, &e) : 0;

    if (r < 0) {
        free(e.items);
        return r;
    }
    if (e.n > 0)
        qsort(e.items, e.n, sizeof(*e.items), compare_keys);
    for (size_t i = 0; i < e.n; i++)
        if (out == 0 || compare_keys(&e.items[out - 1], &e.items[i]) != 0)
            e.items[out++] = e.items[i];
    e.n = out;
    *ret = e;
    return 0;
}

enum step { STEP_DROP = 1, STEP_PUT = 2 };

static int change(struct bpf *b, enum bpf_table table, const struct entries *from,
                  const struct entries *to, unsigned steps, struct why *why)
{
    size_t i = 0, j = 0;
    int r = 0;

    while (r == 0 && (i < from->n || j < to->n)) {
        const struct entry *old = i < from->n ? &from->items[i] : NULL;
        const struct entry *new = j < to->n ? &to->items[j] : NULL;
        int c = !old ? 1 : !new ? -1 : compare_keys(old, new);

        if (c < 0 && steps & STEP_DROP)
            r = bpf_put(b, table, &old->key, NULL, why);
        if (c >= 0 && steps & STEP_PUT &&
            (c > 0 || memcmp(old->value.bytes, new->value.bytes, sizeof(new->value.bytes)) != 0))
            r = bpf_put(b, table, &new->key, &new->value, why);
        i += c <= 0;
        j += c >= 0;
    }
    return r;
}

/* The table is to hold this and nothing else, whatever it holds; STEP_DROP: nothing but of this. */
static int replace(struct bpf *b, enum bpf_table table, const struct entries *to, unsigned steps,
                   struct why *why)
{
    const struct table *t = &tables[table];
    _cleanup_free_ char *keys = calloc(to->n + 1, t->key_size);
    _cleanup_free_ char *values = calloc(to->n + 1, t->value_size);

    if (!keys || !values)
        return -ENOMEM;
    for (size_t i = 0; i < to->n; i++) {
        memcpy(keys + i * t->key_size, &to->items[i].key, t->key_size);
        memcpy(values + i * t->value_size, &to->items[i].value, t->value_size);
    }
    return steps == STEP_DROP ? bpf_retain(b, table, keys, to->n, why)
                              : bpf_sync(b, table, keys, values, to->n, why);
}

static int apply_table(struct bpf *b, enum bpf_table table, const struct guard *from,
                       const struct guard *to, unsigned steps, struct why *why)
{
    struct entries old = { 0 }, new = { 0 };
    int r = take(table, from, &old);

    if (r == 0)
        r = take(table, to, &new);
    if (r == 0)
        r = from ? change(b, table, &old, &new, steps, why) : replace(b, table, &new, steps, why);
    free(old.items);
    free(new.items);
    return r;
}

struct ranges {
    struct bpf_range *items;
    size_t n, cap;
};

static int add_uids(struct ranges *ranges, const struct guard_entry *e)
{
    return ARRAY_PUSH(
        ranges->items, ranges->n, ranges->cap,
        ((struct bpf_range){ .uid = e->uid, .policy = policy_of(e->netid, e->app, e->flags) }));
}

/* Those entries of either that the other has not. */
static int diff_uids(const struct guard *from, const struct guard *to, struct ranges *before,
                     struct ranges *after)
{
    size_t i = 0, j = 0, n_from = from ? from->n_entries : 0;
    int r = 0;

    while (r == 0 && (i < n_from || j < to->n_entries)) {
        const struct guard_entry *a = i < n_from ? &from->entries[i] : NULL;
        const struct guard_entry *b = j < to->n_entries ? &to->entries[j] : NULL;

        if (a && b && memcmp(a, b, sizeof(*a)) == 0) {
            i++;
            j++;
        } else if (a && (!b || a->uid.lo <= b->uid.lo)) {
            r = add_uids(before, a);
            i++;
        } else {
            r = add_uids(after, b);
            j++;
        }
    }
    return r;
}

static int apply_uids(struct bpf *b, const struct guard *from, const struct guard *to,
                      struct why *why)
{
    struct ranges before = { 0 }, after = { 0 };
    int r;

    if (!bpf_knows_ranges(b, BPF_UIDS))
        from = NULL;
    r = diff_uids(from, to, &before, &after);

    if (r == 0 && (!from || before.n > 0 || after.n > 0))
        r = bpf_change_ranges(b, BPF_UIDS, from && before.n == 0 ? after.items : before.items,
                              before.n, after.items, after.n, why);
    free(before.items);
    free(after.items);
    return r;
}

/* The VPNs' users, all of them: there are few ranges. */
static int take_vpns(const struct guard *g, struct ranges *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < g->n_vpns; i++) {
        uint32_t netid = g->vpns[i].netid;
        const struct guard_network *n = guard_network(g, netid);

        r = ARRAY_PUSH(
            ret->items, ret->n, ret->cap,
            ((struct bpf_range){ .uid = g->vpns[i].uid,
                                 .vpn = { .netid = netid, .flags = n ? n->flags : 0 } }));
    }
    return r;
}

static int apply_vpns(struct bpf *b, const struct guard *to, struct why *why)
{
    struct ranges after = { 0 };
    int r = take_vpns(to, &after);

    if (r == 0)
        r = bpf_change_ranges(b, BPF_VPNS, NULL, 0, after.items, after.n, why);
    free(after.items);
    return r;
}

static bool same_vpns(const struct guard *a, const struct guard *b)
{
    return a && a->n_vpns == b->n_vpns && a->n_networks == b->n_networks &&
           mem_equal(a->vpns, b->vpns, a->n_vpns * sizeof(*a->vpns)) &&
           mem_equal(a->networks, b->networks, a->n_networks * sizeof(*a->networks));
}

/* What is outside of networks, in the steps of plan/outside.h. */

static struct map_outside outside_key(const struct guard_outside *o)
{
    struct map_outside key = { .length = MAP_OUTSIDE_LENGTH + o->prefix.len,
                               .netid = o->netid,
                               .family = o->prefix.addr.family };

    memcpy(key.addr, o->prefix.addr.bytes, sizeof(key.addr));
    return key;
}

struct outside_put {
    struct bpf *b;
    struct why *why;
};

static int put_outside(void *data, const struct guard_outside *o, int before, int after)
{
    const struct outside_put *put = data;
    struct map_outside key = outside_key(o);
    uint32_t value = after > 0;

    (void)before;
    return bpf_put(put->b, BPF_OUTSIDE, &key, after < 0 ? NULL : &value, put->why);
}

static int walk_outside(struct bpf *b, const struct outside_changes *c, enum outside_step step,
                        struct why *why)
{
    struct outside_put put = { .b = b, .why = why };

    return outside_walk(c, step, put_outside, &put);
}

/* From what stands; where that is not known it is read. */
static int compare_outside(struct bpf *b, const struct guard *from, const struct guard *to,
                           struct outside_changes *ret, struct why *why)
{
    _cleanup_(guard_unrefp) struct guard *stands = NULL;
    int r = 0;

    if (!from) {
        from = stands = guard_new();
        r = stands ? bpf_read_table(b, BPF_OUTSIDE, maps_read_outside, stands, why) : -ENOMEM;
    }
    if (r == 0 && stands)
        guard_sort(stands);
    return r < 0 ? r
                 : outside_compare(from->outside, from->n_outside, to->outside, to->n_outside, ret);
}

/* All but what is outside. */
static int apply_rest(struct bpf *b, const struct guard *from, const struct guard *to,
                      struct why *why)
{
    static const struct {
        enum bpf_table table;
        unsigned steps;
    } order[] = {
        { BPF_PORTS, STEP_DROP },
        { BPF_NETWORKS, STEP_PUT | STEP_DROP },
        { BPF_INTERFACES, STEP_PUT | STEP_DROP },
        { BPF_USERS, STEP_PUT | STEP_DROP },
        { BPF_EXECUTABLES, STEP_PUT | STEP_DROP },
        { BPF_CGROUPS, STEP_PUT | STEP_DROP },
        { BPF_PLACES, STEP_PUT | STEP_DROP },
        { BPF_PATHS, STEP_PUT | STEP_DROP },
    };
    const struct bpf_settings settings = {
        .enabled = true,
        .mark_all = to->mark_all,
        .default_netid = to->default_netid,
        .first_application_uid = to->first_application_uid,
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(order); i++)
        r = apply_table(b, order[i].table, from, to, order[i].steps, why);
    if (r == 0 && !same_vpns(from, to))
        r = apply_vpns(b, to, why);
    if (r == 0)
        r = apply_uids(b, from, to, why);
    if (r == 0)
        r = bpf_commit(b, &settings, why);
    return r < 0 ? r : apply_table(b, BPF_PORTS, from, to, STEP_PUT, why);
}

int maps_apply_guard(struct bpf *b, const struct guard *from, const struct guard *to,
                     struct why *why)
{
    struct outside_changes outside = { 0 };
    int r = compare_outside(b, from, to, &outside, why);

    if (r == 0)
        r = walk_outside(b, &outside, OUTSIDE_CLOSE, why);
    if (r == 0)
        r = apply_rest(b, from, to, why);
    if (r == 0)
        r = walk_outside(b, &outside, OUTSIDE_OPEN, why);
    if (r == 0)
        r = walk_outside(b, &outside, OUTSIDE_DROP, why);
    free(outside.items);
    return r;
}
