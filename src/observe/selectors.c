/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/selectors.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "basic/array.h"
#include "decide/place.h"
#include "observe/cgroups.h"
#include "observe/old-exes.h"
#include "observe/pathwatch.h"
#include "observe/places.h"
#include "observe/units.h"

/* The number under which new units are looked out for; the others are those of slots. */
enum { UNITS = 0 };

/* A selector, for as long as it is assigned. */
struct slot {
    struct selector selector; /* .text NULL = free */
    struct exe_id exe;        /* SELECTOR_EXE */
    struct places places;     /* the same; those of the others are in their text */
    uint64_t *ids;            /* the others */
    size_t n_ids, cap_ids;
    size_t n_ids_before; /* while units are scanned: how many of ids[] are of last time */
    uint32_t next_free;  /* + 1 */
};

struct selectors {
    struct cgroups cgroups;
    struct pathwatch watch;
    struct slot *slots; /* by number; the first one is none */
    size_t n_slots, cap_slots;
    uint32_t free_slots; /* + 1 */
    uint32_t *order;     /* slots in the order of the assignments */
    size_t n_order;
    size_t first;              /* the assignment of order[0] */
    size_t first_unit, n_unit; /* in order[] */
    struct old_exes old;
    struct plan_app *apps;
    size_t n_apps, cap_apps;
    struct places places;
    struct app_exe *exes; /* made when asked for: a hundred thousand take a while to sort */
    size_t n_exes, cap_exes;
    bool exes_stale, units_stale;
    bool stale; /* everything is to be looked up again */
};

int selectors_open(struct selectors **ret)
{
    _cleanup_(selectors_closep) struct selectors *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return -ENOMEM;
    s->cgroups = CGROUPS_CLOSED;
    s->watch = PATHWATCH_CLOSED;
    r = cgroups_open(&s->cgroups, NULL);
    if (r == -ENOMEM)
        return r;
    if (ARRAY_PUSH(s->slots, s->n_slots, s->cap_slots, ((struct slot){ 0 })) < 0)
        return -ENOMEM;
    r = pathwatch_open(&s->watch, SELECTORS_WATCHES_MAX);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(s);
    return 0;
}

void selectors_close(struct selectors *s)
{
    if (!s)
        return;
    for (size_t i = 0; i < s->n_slots; i++) {
        selector_done(&s->slots[i].selector);
        free(s->slots[i].ids);
        places_done(&s->slots[i].places);
    }
    free(s->slots);
    free(s->order);
    free(s->apps);
    places_done(&s->places);
    free(s->exes);
    old_exes_done(&s->old);
    if (s->watch.fd >= 0)
        pathwatch_close(&s->watch);
    cgroups_close(&s->cgroups);
    free(s);
}

int selectors_fd(const struct selectors *s)
{
    return s->watch.fd;
}

size_t selectors_n_old(const struct selectors *s)
{
    return s->old.n;
}

size_t selectors_n_unwatched(const struct selectors *s)
{
    return s->watch.n_unwatched;
}

static int new_slot(struct selectors *s, const struct selector *selector, uint32_t *ret)
{
    uint32_t number = s->free_slots - 1;

    if (s->free_slots > 0) {
        s->free_slots = s->slots[number].next_free;
    } else {
        if (ARRAY_PUSH(s->slots, s->n_slots, s->cap_slots, ((struct slot){ 0 })) < 0)
            return -ENOMEM;
        number = (uint32_t)s->n_slots - 1;
    }
    s->slots[number].selector =
        (struct selector){ .kind = selector->kind, .text = rstr_ref(selector->text) };
    *ret = number;
    return 0;
}

static void free_slot(struct selectors *s, uint32_t number)
{
    struct slot *slot = &s->slots[number];

    pathwatch_forget(&s->watch, number);
    old_exes_forget(&s->old, number);
    selector_done(&slot->selector);
    free(slot->ids);
    places_done(&slot->places);
    *slot = (struct slot){ .next_free = s->free_slots };
    s->free_slots = number + 1;
}

static int on_name(void *data, const char *directory, const char *name)
{
    return places_add_file(data, directory, name, 0);
}

/* 1 when its places are others now, 0, -ENOMEM. */
static int follow_exe(struct selectors *s, uint32_t number, const char *path)
{
    struct slot *slot = &s->slots[number];
    struct places now = { 0 };
    int r = pathwatch_follow_named(&s->watch, number, path, on_name, &now);

    if (r == -ENOMEM) {
        places_done(&now);
        return r;
    }
    r = !places_equal(&now, &slot->places);
    places_done(&slot->places);
    slot->places = now;
    return r;
}

/* 1 when it means another file or place now, 0, -ENOMEM. */
static int resolve_exe(struct selectors *s, uint32_t number)
{
    struct slot *slot = &s->slots[number];
    const char *path = rstr_text(slot->selector.text);
    struct exe_id now = { 0 };
    int r = follow_exe(s, number, path);

    if (r < 0)
        return r;
    if (exe_identify(path, 0, &now) < 0)
        now = (struct exe_id){ 0 };
    if (now.dev == slot->exe.dev && now.ino == slot->exe.ino)
        return r;
    if (slot->exe.ino != 0)
        r = old_exes_add(&s->old, number, &slot->exe);
    slot->exe = now;
    return r == -ENOMEM ? r : 1;
}

static int resolve_cgroup(struct selectors *s, uint32_t number)
{
    struct slot *slot = &s->slots[number];
    const char *text = rstr_text(slot->selector.text);
    uint64_t id = 0, before = slot->n_ids > 0 ? slot->ids[0] : 0;
    char path[PATH_MAX];

    if (s->cgroups.fd < 0 ||
        (size_t)snprintf(path, sizeof(path), "%s%s", s->cgroups.path, text) >= sizeof(path))
        return 0;
    if (pathwatch_follow(&s->watch, number, path) == -ENOMEM ||
        ARRAY_RESERVE(slot->ids, slot->cap_ids, 1) < 0)
        return -ENOMEM;
    slot->n_ids = cgroups_id(&s->cgroups, text, &id) == 0;
    slot->ids[0] = id;
    return id != before;
}

/* The slot of a unit:, or NULL. order[] is sorted by kind and name. */
static struct slot *find_unit(const struct selectors *s, const char *name)
{
    size_t lo = s->first_unit, hi = s->first_unit + s->n_unit;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        struct slot *slot = &s->slots[s->order[mid]];
        int c = strcmp(rstr_text(slot->selector.text), name);

        if (c == 0)
            return slot;
        if (c < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return NULL;
}

static bool is_wanted(void *data, const char *name)
{
    return app_holds_units(name) || find_unit(data, app_unit_name(name));
}

static int on_unit(void *data, const char *unit, const char *cgroup)
{
    struct selectors *s = data;
    struct slot *slot = find_unit(s, unit);
    uint64_t id;

    if (!slot || cgroups_id(&s->cgroups, cgroup, &id) < 0)
        return 0;
    return ARRAY_PUSH(slot->ids, slot->n_ids, slot->cap_ids, id);
}

static int compare_ids(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return CMP(*x, *y);
}

/* ids[] has those of last time and then those of now. Leaves the latter; true when they differ. */
static bool keep_new_ids(struct slot *slot)
{
    size_t before = slot->n_ids_before, n = slot->n_ids - before;
    bool same;

    if (n > 0)
        qsort(slot->ids + before, n, sizeof(*slot->ids), compare_ids);
    same = n == before && mem_equal(slot->ids, slot->ids + before, n * sizeof(*slot->ids));
    if (n > 0)
        memmove(slot->ids, slot->ids + before, n * sizeof(*slot->ids));
    slot->n_ids = n;
    return !same;
}

/* 1 when a unit came or went, 0, -ENOMEM: then what was known stays. */
static int resolve_units(struct selectors *s)
{
    bool changed = false;
    int r = 0;

    pathwatch_forget(&s->watch, UNITS);
    if (s->cgroups.fd < 0 || s->n_unit == 0)
        return 0;
    for (size_t i = 0; i < s->n_unit; i++) {
        struct slot *slot = &s->slots[s->order[s->first_unit + i]];

        slot->n_ids_before = slot->n_ids;
    }
    r = units_scan(&s->cgroups, &s->watch, UNITS, on_unit, s);
    for (size_t i = 0; i < s->n_unit; i++) {
        struct slot *slot = &s->slots[s->order[s->first_unit + i]];

        if (r < 0)
            slot->n_ids = slot->n_ids_before;
        else if (keep_new_ids(slot))
            changed = true;
    }
    return r < 0 ? r : changed;
}

static int resolve(struct selectors *s, uint32_t number)
{
    switch (s->slots[number].selector.kind) {
    case SELECTOR_EXE:
        return resolve_exe(s, number);
    case SELECTOR_CGROUP:
        return resolve_cgroup(s, number);
    case SELECTOR_UNIT:
        s->units_stale = true;
        return 0;
    case SELECTOR_UID:
    case SELECTOR_USER:
    case SELECTOR_GROUP:
    case SELECTOR_KIND_MAX:
        break;
    }
    return 0;
}

static int add_app(struct selectors *s, enum guard_app_kind kind, uint64_t id, uint64_t dev,
                   size_t assignment)
{
    return ARRAY_PUSH(
        s->apps, s->n_apps, s->cap_apps,
        ((struct plan_app){ .kind = kind, .id = id, .dev = dev, .assignment = assignment }));
}

static int add_apps_of(struct selectors *s, uint32_t number, size_t assignment)
{
    const struct slot *slot = &s->slots[number];
    const struct old_exe *old = NULL;
    int r = 0;

    if (slot->exe.ino != 0)
        r = add_app(s, GUARD_APP_EXE, slot->exe.ino, slot->exe.dev, assignment);
    while (r == 0 && slot->selector.kind == SELECTOR_EXE &&
           (old = old_exes_next(&s->old, number, old)))
        r = add_app(s, GUARD_APP_EXE, old->id.ino, old->id.dev, assignment);
    for (size_t i = 0; r == 0 && i < slot->n_ids; i++)
        r = add_app(s, GUARD_APP_CGROUP, slot->ids[i], 0, assignment);
    return r;
}

/*
 * A run is of one directory, which is there. Names on the way to it are the choice of who runs
 * something, who can find some with another path's hash (decide/place.h).
 */
static bool is_run(const char *cgroup)
{
    uint32_t uid;

    return app_run_uid(strrchr(cgroup, '/') + 1, &uid);
}

static int add_places_of(struct selectors *s, uint32_t number, size_t assignment)
{
    const struct slot *slot = &s->slots[number];
    const char *text = rstr_text(slot->selector.text);
    int r = 0;

    if (slot->selector.kind == SELECTOR_CGROUP)
        return is_run(text) ? 0 : places_add_cgroup(&s->places, text, assignment);
    if (slot->selector.kind == SELECTOR_UNIT)
        return places_add_unit(&s->places, text, assignment);
    for (size_t i = 0; r == 0 && i < slot->places.n; i++) {
        struct plan_place place = slot->places.items[i];

        place.assignment = assignment;
        r = ARRAY_PUSH(s->places.items, s->places.n, s->places.cap, place);
    }
    return r;
}

/* cgroup: and unit: sort before exe:. */
static int add_root(struct selectors *s)
{
    uint64_t id;

    if (s->n_order == 0 || s->slots[s->order[0]].selector.kind == SELECTOR_EXE ||
        cgroups_id(&s->cgroups, "/", &id) < 0)
        return 0;
    return places_add_root(&s->places, id, s->first);
}

static int list_apps(struct selectors *s)
{
    int r;

    s->n_apps = s->places.n = 0;
    s->exes_stale = true;
    r = add_root(s);
    for (size_t i = 0; r == 0 && i < s->n_order; i++) {
        r = add_apps_of(s, s->order[i], s->first + i);
        if (r == 0)
            r = add_places_of(s, s->order[i], s->first + i);
    }
    return r;
}

/* Does an exe: selector mean this file now? */
static bool is_current(const void *data, const struct exe_id *id)
{
    const struct selectors *s = data;

    for (size_t i = 0; i < s->n_order; i++) {
        const struct exe_id *exe = &s->slots[s->order[i]].exe;

        if (exe->ino == id->ino && exe->dev == id->dev)
            return true;
    }
    return false;
}

/* A file that was moved from one assigned place to another is the latter's, whoever runs it. */
static void forget_moved(struct selectors *s)
{
    old_exes_drop(&s->old, is_current, s);
}

/*
 * What comes behind every look at the file system: `r` is what came of that. 1, 0, -errno: then all
 * is to be looked up again.
 */
static int finish(struct selectors *s, int r, bool list)
{
    bool changed = r > 0 || list;

    if (r >= 0 && s->units_stale) {
        s->units_stale = false;
        r = resolve_units(s);
        changed |= r > 0;
    }
    if (r >= 0 && old_exes_has_new(&s->old))
        r = old_exes_scan(&s->old);
    if (r >= 0 && changed)
        forget_moved(s);
    if (r >= 0 && changed)
        r = list_apps(s);
    if (r < 0) {
        s->stale = true;
        return r;
    }
    return changed;
}

/* The first assignment that is of a process. */
static size_t first_of_processes(const struct assignments *a)
{
    size_t lo = 0, hi = a->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (a->items[mid].selector.kind < SELECTOR_CGROUP)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

struct numbers {
    uint32_t *items;
    size_t n, capacity;
};

/* From one table of assignments to the next. */
struct change {
    struct numbers order; /* all slots */
    struct numbers fresh; /* those that were not there before */
    struct numbers gone;  /* those that are not in order */
    size_t first_unit, n_unit;
};

static void change_done(struct change *c)
{
    free(c->order.items);
    free(c->fresh.items);
    free(c->gone.items);
}

static int push(struct numbers *l, uint32_t number)
{
    return ARRAY_PUSH(l->items, l->n, l->capacity, number);
}

static int compare(const struct slot *slot, const struct selector *selector)
{
    /* most are what they were: then there is no need to look at their texts */
    if (slot->selector.text == selector->text && slot->selector.kind == selector->kind)
        return 0;
    return selector_compare(&slot->selector, selector);
}

static int add_fresh(struct selectors *s, const struct selector *selector, struct change *c)
{
    uint32_t number;
    int r = new_slot(s, selector, &number);

    if (r < 0)
        return r;
    if (push(&c->fresh, number) < 0) {
        free_slot(s, number);
        return -ENOMEM;
    }
    return push(&c->order, number);
}

/* Old and new ones are sorted, both. */
static int find_change(struct selectors *s, const struct assignments *a, size_t first,
                       struct change *c)
{
    size_t i = 0;
    int r = ARRAY_RESERVE(c->order.items, c->order.capacity, a->n - first);

    for (size_t j = first; r == 0 && j < a->n; j++) {
        const struct selector *selector = &a->items[j].selector;
        int order = 1;

        while (r == 0 && i < s->n_order && (order = compare(&s->slots[s->order[i]], selector)) < 0)
            r = push(&c->gone, s->order[i++]);
        if (selector->kind == SELECTOR_UNIT && c->n_unit++ == 0)
            c->first_unit = j - first;
        if (r == 0 && order == 0)
            r = push(&c->order, s->order[i++]);
        else if (r == 0)
            r = add_fresh(s, selector, c);
    }
    for (; r == 0 && i < s->n_order; i++)
        r = push(&c->gone, s->order[i]);
    return r;
}

static void free_slots(struct selectors *s, const struct numbers *l)
{
    for (size_t i = 0; i < l->n; i++) {
        s->units_stale |= s->slots[l->items[i]].selector.kind == SELECTOR_UNIT;
        free_slot(s, l->items[i]);
    }
}

int selectors_update(struct selectors *s, const struct assignments *assignments)
{
    size_t first = first_of_processes(assignments);
    struct change c = { 0 };
    int r = find_change(s, assignments, first, &c);

    if (r < 0) {
        free_slots(s, &c.fresh);
        change_done(&c);
        return r;
    }
    free_slots(s, &c.gone);
    free(s->order);
    s->order = TAKE_PTR(c.order.items);
    s->n_order = c.order.n;
    s->first = first;
    s->first_unit = c.first_unit;
    s->n_unit = c.n_unit;
    for (size_t i = 0; r >= 0 && i < c.fresh.n; i++)
        r = resolve(s, c.fresh.items[i]);
    change_done(&c);
    r = finish(s, r, true);
    return r < 0 ? r : 0;
}

/* What may have changed: 1 when something has, 0, -errno. */
static int resolve_changed(struct selectors *s)
{
    bool changed = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < s->watch.n_changed; i++) {
        uint32_t number = s->watch.changed[i];

        if (number == UNITS)
            s->units_stale = true;
        else
            r = resolve(s, number);
        changed |= r > 0;
    }
    return r < 0 ? r : changed;
}

static int resolve_all(struct selectors *s)
{
    bool changed = false;
    int r = 0;

    for (size_t i = 0; r >= 0 && i < s->n_order; i++) {
        r = resolve(s, s->order[i]);
        changed |= r > 0;
    }
    s->stale = r < 0;
    return r < 0 ? r : changed;
}

int selectors_dispatch(struct selectors *s)
{
    bool stale = s->stale;
    int r;

    if (stale)
        pathwatch_lose_all(&s->watch);
    r = pathwatch_dispatch(&s->watch, is_wanted, s);
    if (r == 0)
        r = stale ? resolve_all(s) : resolve_changed(s);
    return finish(s, r, stale);
}

int selectors_refresh(struct selectors *s)
{
    s->stale = true;
    return selectors_dispatch(s);
}

int selectors_scan(struct selectors *s)
{
    size_t before = s->old.n;
    int r = old_exes_scan(&s->old);

    return r < 0 ? r : finish(s, s->old.n != before, false);
}

const struct plan_app *selectors_apps(const struct selectors *s, size_t *ret_n)
{
    *ret_n = s->n_apps;
    return s->apps;
}

const struct plan_place *selectors_places(const struct selectors *s, size_t *ret_n)
{
    *ret_n = s->places.n;
    return s->places.items;
}

const struct plan_app *selectors_of(const struct selectors *s, size_t assignment, size_t *ret_n)
{
    size_t lo = 0, hi = s->n_apps, n = 0;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (s->apps[mid].assignment < assignment)
            lo = mid + 1;
        else
            hi = mid;
    }
    while (lo + n < s->n_apps && s->apps[lo + n].assignment == assignment)
        n++;
    *ret_n = n;
    return n > 0 ? s->apps + lo : NULL;
}

static int list_exes(struct selectors *s)
{
    s->n_exes = 0;
    for (size_t i = 0; i < s->n_apps; i++) {
        const struct plan_app *app = &s->apps[i];
        struct app_exe exe = { .dev = app->dev, .ino = app->id, .assignment = app->assignment };

        if (app->kind == GUARD_APP_EXE && ARRAY_PUSH(s->exes, s->n_exes, s->cap_exes, exe) < 0)
            return -ENOMEM;
    }
    for (size_t i = 0; i < s->places.n; i++) {
        const struct plan_place *p = &s->places.items[i];
        struct app_exe place = {
            .dev = p->dev, .ino = p->parent, .name = p->name, .assignment = p->assignment
        };

        if (p->kind == PLACE_FILE && ARRAY_PUSH(s->exes, s->n_exes, s->cap_exes, place) < 0)
            return -ENOMEM;
    }
    if (s->n_exes > 0)
        qsort(s->exes, s->n_exes, sizeof(*s->exes), app_exe_compare);
    s->exes_stale = false;
    return 0;
}

int selectors_exes(struct selectors *s, const struct app_exe **ret, size_t *ret_n)
{
    /* room also for none: without it app_decide() would go by path */
    if (ARRAY_RESERVE(s->exes, s->cap_exes, 1) < 0 || (s->exes_stale && list_exes(s) < 0))
        return -ENOMEM;
    *ret = s->exes;
    *ret_n = s->n_exes;
    return 0;
}
