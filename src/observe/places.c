/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "observe/places.h"

#include "decide/place.h"
#include "observe/exe.h"

void places_done(struct places *p)
{
    free(p->items);
    *p = (struct places){ 0 };
}

static int add(struct places *p, struct plan_place place)
{
    return ARRAY_PUSH(p->items, p->n, p->cap, place);
}

/* Links may lead to one name more than once. */
static bool has(const struct places *p, const struct plan_place *place)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].name == place->name && p->items[i].parent == place->parent &&
            p->items[i].dev == place->dev)
            return true;
    return false;
}

int places_add_file(struct places *p, const char *directory, const char *name, size_t assignment)
{
    struct plan_place place = { .kind = PLACE_DIRECTORY, .assignment = assignment };
    struct exe_id id;
    int r;

    if (exe_identify_directory(directory, 0, &id) < 0)
        return 0;
    place.dev = id.dev;
    place.parent = id.ino;
    r = has(p, &place) ? 0 : add(p, place);
    place.kind = PLACE_FILE;
    place.name = place_name(name, strlen(name));
    return r < 0 || has(p, &place) ? r : add(p, place);
}

int places_add_cgroup(struct places *p, const char *path, size_t assignment)
{
    struct plan_place place = { .parent = PLACE_TOP, .assignment = assignment };
    int r = 0;

    for (size_t n; r == 0 && path[0] == '/' && path[1] != '\0'; path += 1 + n) {
        n = strcspn(path + 1, "/");
        place.kind = path[1 + n] == '\0' ? PLACE_CGROUP : PLACE_WAY;
        place.name = place_name(path + 1, n);
        r = add(p, place);
        place.parent = place_below(place.parent, place.name);
    }
    return r;
}

int places_add_unit(struct places *p, const char *name, size_t assignment)
{
    return add(p, (struct plan_place){ .kind = PLACE_UNIT,
                                       .name = place_name(name, strlen(name)),
                                       .assignment = assignment });
}

int places_add_root(struct places *p, uint64_t id, size_t assignment)
{
    return add(p,
               (struct plan_place){ .kind = PLACE_ROOT, .parent = id, .assignment = assignment });
}

bool places_equal(const struct places *a, const struct places *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++) {
        const struct plan_place *x = &a->items[i], *y = &b->items[i];

        same =
            x->kind == y->kind && x->parent == y->parent && x->dev == y->dev && x->name == y->name;
    }
    return same;
}
