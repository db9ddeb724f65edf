/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/maps.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/app.h"
#include "decide/place.h"
#include "decide/precedence.h"
#include "plan/socket-facts.h"

struct build {
    const struct model *m;
    const struct targets *t;
    const struct route_set *routes;
    struct guard *g;
    bool *used; /* [2 i], [2 i + 1]: target i has a chain, has one for those that may protect */
};

static uint32_t hold(struct build *b, ssize_t target, bool exempt)
{
    if (target < 0)
        return 0;
    b->used[2 * target + (exempt ? 1 : 0)] = true;
    return b->t->items[target].network->netid | (exempt ? GUARD_EXEMPT : 0);
}

/* A preference for a network that cannot be used is one for no network: the default. */
static uint32_t prefer(const struct build *b, ssize_t target)
{
    return GUARD_PREFER |
           (targets_is_usable(b->t, target) ? b->t->items[target].network->netid : 0);
}

/* The flag of those who are held to the target. */
static uint32_t lockdown(const struct build *b, ssize_t target)
{
    return target >= 0 && b->t->items[target].network->lockdown ? GUARD_APP_LOCKDOWN : 0;
}

static int add_entries(struct build *b, const struct segments *segments)
{
    int r = ARRAY_RESERVE(b->g->entries, b->g->cap_entries, segments->n);

    for (size_t i = 0; r == 0 && i < segments->n; i++) {
        const struct segment *s = &segments->items[i];

        r = guard_push_entry(
            b->g, &(struct guard_entry){
                      .uid = s->uid,
                      .netid = s->verdict == VERDICT_PREFER ? prefer(b, s->target)
                                                            : hold(b, s->target, s->exempt),
                      .flags = s->verdict == VERDICT_PREFER ? 0 : lockdown(b, s->target),
                      .app = s->app,
                  });
    }
    return r;
}

static int compare_keys(const struct plan_app *a, const struct plan_app *b)
{
    if (a->kind != b->kind)
        return CMP(a->kind, b->kind);
    return a->id != b->id ? CMP(a->id, b->id) : CMP(a->dev, b->dev);
}

static int compare_apps(const void *x, const void *y, void *assignments)
{
    const struct plan_app *a = x, *b = y;
    const struct assignment *all = assignments;
    int c = compare_keys(a, b);

    return c != 0 ? c : precedence_compare(&all[a->assignment], &all[b->assignment]);
}

struct assigned {
    uint32_t netid, flags;
};

static struct assigned assigned(struct build *b, const struct assignment *a)
{
    ssize_t target = a->network ? targets_find(b->t, a->network->s) : -1;
    uint32_t run = app_is_run(a) ? GUARD_APP_RUN : 0;

    if (a->network && a->strength == STRENGTH_PREFER)
        return (struct assigned){ .netid = prefer(b, target), .flags = run };
    return (struct assigned){ .netid = hold(b, target, false), .flags = run | lockdown(b, target) };
}

static int add_app(struct build *b, const struct plan_app *app)
{
    const struct assignment *a = &b->m->assignments->items[app->assignment];
    const struct assigned to = assigned(b, a);
    const struct guard_app out = {
        .kind = app->kind,
        .netid = to.netid,
        .id = app->id,
        .dev = app->dev,
        .app = selector_number(&a->selector),
        .flags = to.flags,
    };

    return guard_add_app(b->g, &out);
}

/* Of several assignments that mean one executable or cgroup (two paths to it), the first one holds. */
static int add_apps(struct build *b, const struct plan_app *apps, size_t n)
{
    _cleanup_free_ struct plan_app *sorted = NULL;
    int r = array_copy((void **)&sorted, apps, n, sizeof(*apps));

    if (r < 0 || n == 0)
        return r;
    qsort_r(sorted, n, sizeof(*sorted), compare_apps, b->m->assignments->items);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (i == 0 || compare_keys(&sorted[i - 1], &sorted[i]) != 0)
            r = add_app(b, &sorted[i]);
    return r;
}

static int compare_place_keys(const struct plan_place *a, const struct plan_place *b)
{
    if (a->kind != b->kind)
        return CMP(a->kind, b->kind);
    if (a->parent != b->parent)
        return CMP(a->parent, b->parent);
    return a->dev != b->dev ? CMP(a->dev, b->dev) : CMP(a->name, b->name);
}

static int compare_places(const void *x, const void *y, void *assignments)
{
    const struct plan_place *a = x, *b = y;
    const struct assignment *all = assignments;
    int c = compare_place_keys(a, b);

    return c != 0 ? c : precedence_compare(&all[a->assignment], &all[b->assignment]);
}

static int add_place(struct build *b, const struct plan_place *place)
{
    const struct assignment *a = &b->m->assignments->items[place->assignment];
    struct guard_place out = {
        .kind = place->kind, .parent = place->parent, .dev = place->dev, .name = place->name
    };

    if (!place_is_passage(place->kind)) {
        const struct assigned to = assigned(b, a);

        out.netid = to.netid;
        out.app = selector_number(&a->selector);
        out.flags = to.flags;
    }
    return guard_add_place(b->g, &out);
}

static int add_places(struct build *b, const struct plan_place *places, size_t n)
{
    _cleanup_free_ struct plan_place *sorted = NULL;
    int r = array_copy((void **)&sorted, places, n, sizeof(*places));

    if (r < 0 || n == 0)
        return r;
    qsort_r(sorted, n, sizeof(*sorted), compare_places, b->m->assignments->items);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (i == 0 || compare_place_keys(&sorted[i - 1], &sorted[i]) != 0)
            r = add_place(b, &sorted[i]);
    return r;
}

static int add_chain(struct build *b, size_t i, bool exempt)
{
    uint32_t netid = b->t->items[i].network->netid | (exempt ? GUARD_EXEMPT : 0);
    int r = guard_add_chain(b->g, netid, exempt);

    for (size_t j = 0; r == 0 && j < b->t->items[i].n_ports; j++)
        r = guard_add_port(b->g, netid, target_ports(b->t, i)[j].ifindex);
    return r < 0 ? r : route_set_outside(b->routes, b->t->items[i].network->netid, b->g);
}

static int add_networks(struct build *b)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < b->t->n; i++) {
        const struct network *n = b->t->items[i].network;

        r = guard_add_network(b->g, &(struct guard_network){ .netid = n->netid,
                                                             .flags = socket_network_flags(b->t, i),
                                                             .permission = n->permission });
        for (size_t j = 0; r == 0 && j < b->t->items[i].n_ports; j++)
            r = guard_add_incoming(b->g, target_ports(b->t, i)[j].ifindex, n->netid);
    }
    return r;
}

/* Two sorted lists side by side: who has a permission of his own, and who may protect. */
static int add_users(struct build *b)
{
    const struct model *m = b->m;
    uint32_t p = model_next_protectable(m, 0);
    size_t i = 0;
    int r = 0;

    while (r == 0 && (i < m->n_permissions || p != UID_INVALID)) {
        uint32_t a = i < m->n_permissions ? m->permissions[i].uid : UID_INVALID;
        struct guard_user user = { .uid = MIN(a, p) };

        if (a == user.uid) {
            user.flags |= GUARD_USER_PERMISSION;
            user.permission = m->permissions[i++].permission;
        }
        if (p == user.uid) {
            user.flags |= GUARD_USER_PROTECT;
            p = p < UID_MAX ? model_next_protectable(m, p + 1) : UID_INVALID;
        }
        r = guard_add_user(b->g, &user);
    }
    return r;
}

/* Captures of secure VPNs and of others may overlap: the lowest netId has the uid (policy.h). */
static int add_vpns(struct build *b, const struct policy *p)
{
    uint64_t at = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->captures.n;) {
        const struct segment *s = &p->captures.items[i];
        uint64_t lo = MAX((uint64_t)s->uid.lo, at), end = (uint64_t)s->uid.hi + 1;
        int32_t target = s->target;

        for (size_t j = i + 1; j < p->captures.n && p->captures.items[j].uid.lo < end; j++) {
            const struct segment *other = &p->captures.items[j];

            if (other->uid.lo <= lo && other->uid.hi >= lo)
                target = MIN(target, other->target);
            if (other->uid.lo > lo)
                end = other->uid.lo;
            else if (other->uid.hi >= lo)
                end = MIN(end, (uint64_t)other->uid.hi + 1);
        }
        if (lo < end)
            r = guard_add_vpn(b->g, (struct uid_range){ (uint32_t)lo, (uint32_t)(end - 1) },
                              b->t->items[target].network->netid);
        at = MAX(at, end);
        while (i < p->captures.n && p->captures.items[i].uid.hi < at)
            i++;
    }
    return r;
}

int maps_build_guard(const struct plan_input *input, const struct targets *t,
                     const struct policy *p, const struct route_set *routes, struct guard **ret)
{
    _cleanup_(guard_unrefp) struct guard *g = guard_new();
    _cleanup_free_ bool *used = calloc(t->n + 1, 2 * sizeof(*used));
    struct build b = { .m = input->model, .t = t, .routes = routes, .g = g, .used = used };
    int r;

    if (!g || !used)
        return -ENOMEM;
    r = add_entries(&b, &p->segments);
    if (r == 0)
        r = add_apps(&b, input->apps, input->n_apps);
    if (r == 0)
        r = add_places(&b, input->places, input->n_places);
    for (size_t i = 0; r == 0 && i < 2 * t->n; i++)
        if (used[i])
            r = add_chain(&b, i / 2, i % 2 != 0);
    if (r == 0)
        r = add_networks(&b);
    if (r == 0)
        r = add_users(&b);
    if (r == 0)
        r = add_vpns(&b, p);
    if (r < 0)
        return r;
    g->first_application_uid = socket_first_application_uid(input->model);
    g->mark_all = !input->model->host_networks;
    if (t->default_index >= 0)
        g->default_netid = t->items[t->default_index].network->netid;
    guard_sort(g);
    *ret = TAKE_PTR(g);
    return 0;
}

/* What the guard asks of a network, by netId; NETID_UNSET: of none. */
struct wants {
    bool held, preferred;
};

static void want(struct wants *wants, uint32_t netid)
{
    struct wants *w = &wants[netid & MARK_NETID_MASK];

    if (netid & GUARD_PREFER)
        w->preferred = true;
    else
        w->held = true;
}

static int push_mark(struct segments *s, int32_t target, enum verdict verdict)
{
    return ARRAY_PUSH(
        s->items, s->n, s->cap,
        ((struct segment){ .uid = { 0, UINT32_MAX }, .target = target, .verdict = verdict }));
}

int maps_build_marks(const struct guard *maps, const struct targets *t, struct segments *ret)
{
    _cleanup_free_ struct wants *wants = calloc(MARK_NETID_MASK + 1, sizeof(*wants));
    int r = 0;

    if (!wants)
        return -ENOMEM;
    for (size_t i = 0; i < maps->n_entries; i++)
        want(wants, maps->entries[i].netid);
    for (size_t i = 0; i < maps->n_apps; i++)
        want(wants, maps->apps[i].netid);
    for (size_t i = 0; i < maps->n_places; i++)
        if (!place_is_passage(maps->places[i].kind))
            want(wants, maps->places[i].netid);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        const struct wants *w = &wants[t->items[i].network->netid];

        if (w->held)
            r = push_mark(ret, (int32_t)i, VERDICT_MARK_REQUIRE);
        if (r == 0 && w->preferred)
            r = push_mark(ret, (int32_t)i, VERDICT_MARK_PREFER);
    }
    if (r == 0 && wants[NETID_UNSET].held)
        r = push_mark(ret, -1, VERDICT_MARK_NONE);
    return r;
}
