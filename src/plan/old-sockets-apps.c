/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Whose a socket is on either side of a change, by what its process is besides its user. */

#include <errno.h>

#include "basic/array.h"
#include "decide/app.h"
#include "decide/precedence.h"
#include "plan/old-sockets-internal.h"

static int compare_keys(const struct side_app *a, const struct side_app *b)
{
    if (a->kind != b->kind)
        return CMP(a->kind, b->kind);
    return a->id != b->id ? CMP(a->id, b->id) : CMP(a->dev, b->dev);
}

static int compare_apps(const void *x, const void *y, void *assignments)
{
    const struct side_app *a = x, *b = y;
    const struct assignment *all = assignments;
    int c = compare_keys(a, b);

    return c != 0 ? c : precedence_compare(&all[a->value], &all[b->value]);
}

/* Of several assignments that mean one executable or cgroup the first one holds, as in plan/maps.c. */
static void sort_apps(struct side *s)
{
    size_t out = 0;

    if (s->n_apps > 0)
        qsort_r(s->apps, s->n_apps, sizeof(*s->apps), compare_apps, s->model->assignments->items);
    for (size_t i = 0; i < s->n_apps; i++)
        if (out == 0 || compare_keys(&s->apps[out - 1], &s->apps[i]) != 0)
            s->apps[out++] = s->apps[i];
    s->n_apps = out;
}

int side_take_apps(struct side *s, const struct plan_app *apps, size_t n)
{
    int r = ARRAY_RESERVE(s->apps, s->cap_apps, n);

    for (size_t i = 0; r == 0 && i < n; i++)
        s->apps[s->n_apps++] = (struct side_app){
            .kind = apps[i].kind,
            .run = app_is_run(&s->model->assignments->items[apps[i].assignment]),
            .id = apps[i].id,
            .dev = apps[i].dev,
            .value = (uint32_t)apps[i].assignment,
        };
    if (r == 0)
        sort_apps(s);
    return r;
}

/* Sorted already, each key once. */
int side_take_guard(struct side *s, const struct guard *g)
{
    int r = ARRAY_RESERVE(s->apps, s->cap_apps, g->n_apps);

    s->codes = true;
    if (r == 0)
        r = ARRAY_RESERVE(s->holders, s->cap_holders, g->n_entries);
    if (r < 0)
        return r;
    for (size_t i = 0; i < g->n_apps; i++)
        s->apps[s->n_apps++] = (struct side_app){ .kind = g->apps[i].kind,
                                                  .run = g->apps[i].flags & GUARD_APP_RUN,
                                                  .id = g->apps[i].id,
                                                  .dev = g->apps[i].dev,
                                                  .value = g->apps[i].netid & ~GUARD_EXEMPT };
    for (size_t i = 0; i < g->n_entries; i++)
        s->holders[s->n_holders++] =
            (struct holder){ .uid = g->entries[i].uid,
                             .value = g->entries[i].netid & ~GUARD_EXEMPT };
    return 0;
}

bool old_sockets_same_apps(const struct plan_app *a, size_t n_a, const struct plan_app *b,
                           size_t n_b)
{
    if (n_a != n_b)
        return false;
    for (size_t i = 0; i < n_a; i++)
        if (a[i].kind != b[i].kind || a[i].id != b[i].id || a[i].dev != b[i].dev)
            return false;
    return true;
}

static const struct side_app *find_app(const struct side *s, enum guard_app_kind kind, uint64_t id,
                                       uint64_t dev)
{
    const struct side_app key = { .kind = kind, .id = id, .dev = dev };
    size_t lo = 0, hi = s->n_apps;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (compare_keys(&s->apps[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n_apps && compare_keys(&s->apps[lo], &key) == 0 ? &s->apps[lo] : NULL;
}

uint32_t side_find_app(const struct side *s, const struct old_socket_app *app)
{
    const struct side_app *run = NULL, *exe = NULL, *nearest = NULL;

    if (!app || s->n_apps == 0)
        return SIDE_NOBODY;
    for (size_t i = 0; i < app->n_cgroups && !run; i++) {
        const struct side_app *found = find_app(s, GUARD_APP_CGROUP, app->cgroups[i], 0);

        if (found && found->run)
            run = found;
        if (!nearest)
            nearest = found;
    }
    if (app->exe_ino != 0)
        exe = find_app(s, GUARD_APP_EXE, app->exe_ino, app->exe_dev);
    if (run)
        return run->value;
    if (exe)
        return exe->value;
    return nearest ? nearest->value : SIDE_NOBODY;
}

uint32_t side_find_user(const struct side *s, uint32_t uid)
{
    size_t lo = 0, hi = s->n_holders;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (s->holders[mid].uid.hi < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < s->n_holders && s->holders[lo].uid.lo <= uid ? s->holders[lo].value : SIDE_NOBODY;
}

/* A network that is no more has a name that none has. */
static struct claim claim_of_code(const struct side *s, uint32_t code)
{
    uint32_t netid = code & MARK_NETID_MASK;
    const struct network *n = netid != NETID_UNSET ? model_network(s->model, netid) : NULL;

    return (struct claim){
        .any = true,
        .prefers = code & GUARD_PREFER,
        .name = n                      ? n->name
                : netid != NETID_UNSET ? ""
                                       : NULL,
        .network = n,
    };
}

struct claim side_claim(const struct side *s, uint32_t value)
{
    const struct assignment *a;

    if (value == SIDE_NOBODY)
        return (struct claim){ 0 };
    if (s->codes)
        return claim_of_code(s, value);
    a = &s->model->assignments->items[value];
    return (struct claim){
        .any = true,
        .prefers = a->network && a->strength == STRENGTH_PREFER,
        .name = a->network ? a->network->s : NULL,
        .network = a->network ? model_network_by_name(s->model, a->network->s) : NULL,
    };
}

uint32_t side_code(const struct side *s, uint32_t value)
{
    struct claim c = side_claim(s, value);
    uint32_t netid = c.network ? c.network->netid : NETID_UNSET;

    if (s->codes || value == SIDE_NOBODY)
        return value;
    if (!c.prefers)
        return netid;
    return GUARD_PREFER |
           (c.network && targets_is_usable(s->targets, targets_find(s->targets, c.name)) ? netid
                                                                                         : 0U);
}
