/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/app.h"

#include <errno.h>

#include "basic/parse.h"
#include "decide/precedence.h"

#define RUN_PREFIX "waymark-run-"
static const char *const step_names[APP_STEP_MAX] = {
    [APP_NONE] = "none",     [APP_RUN] = "run", [APP_EXE] = "exe",
    [APP_CGROUP] = "cgroup", [APP_UID] = "uid",
};

const char *app_step_to_string(enum app_step step)
{
    return step_names[step];
}

static bool endswith(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);

    return n > k && streq(s + n - k, suffix);
}

bool app_holds_units(const char *name)
{
    return endswith(name, ".slice") || (startswith(name, "user@") && endswith(name, ".service"));
}

const char *app_unit_name(const char *name)
{
    return name[0] == '_' ? name + 1 : name;
}

static const char *last_name(const struct assignment *a)
{
    const char *text = rstr_text(a->selector.text), *slash = strrchr(text, '/');

    return slash ? slash + 1 : text;
}

bool app_is_run(const struct assignment *a)
{
    if (a->selector.kind != SELECTOR_CGROUP && a->selector.kind != SELECTOR_UNIT)
        return false;
    return startswith(last_name(a), RUN_PREFIX);
}

bool app_run_uid(const char *name, uint32_t *ret)
{
    char digits[sizeof("4294967295")];
    const char *end;

    if (!startswith(name, RUN_PREFIX))
        return false;
    name += STRLEN(RUN_PREFIX);
    end = strchr(name, '-');
    if (!end || (size_t)(end - name) >= sizeof(digits))
        return false;
    memcpy(digits, name, (size_t)(end - name));
    digits[end - name] = '\0';
    return parse_u32(digits, UINT32_MAX - 1, ret) == 0;
}

/* Has the app this assignment from itself, and is that not what is asked for? */
static bool is_own_choice(const struct assignment *a, const struct app *app)
{
    uint32_t uid;

    return app->chooses && a->origin == ORIGIN_RUN && app_run_uid(last_name(a), &uid) &&
           uid == app->uid;
}

int app_exe_compare(const void *a, const void *b)
{
    const struct app_exe *x = a, *y = b;

    if (x->dev != y->dev)
        return CMP(x->dev, y->dev);
    return x->ino != y->ino ? CMP(x->ino, y->ino) : CMP(x->name, y->name);
}

static const struct assignment *stricter(const struct assignment *a, const struct assignment *b)
{
    if (!a || !b)
        return a ? a : b;
    return precedence_compare(a, b) <= 0 ? a : b;
}

static const struct assignment *find(const struct assignments *all, enum selector_kind kind,
                                     struct rstr *text)
{
    ssize_t i = assignments_find(all, &(struct selector){ .kind = kind, .text = text });

    return i < 0 ? NULL : &all->items[i];
}

static size_t find_first(const struct app_exe *exes, size_t n, const struct app_exe *key)
{
    size_t lo = 0, hi = n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (app_exe_compare(&exes[mid], key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct app_exe file_of(const struct app *app)
{
    return (struct app_exe){ .dev = app->exe_dev, .ino = app->exe_ino };
}

static struct app_exe place_of(const struct app *app)
{
    const struct app_place *place = &app->exe_place;

    return (struct app_exe){ .dev = place->dev, .ino = place->directory, .name = place->name };
}

bool app_runs(const struct app *app, const struct app_exe *exe)
{
    const struct app_exe own = exe->name ? place_of(app) : file_of(app);

    return own.ino != 0 && app_exe_compare(&own, exe) == 0;
}

static const struct assignment *find_exe(const struct assignments *all, const struct app_exe *exes,
                                         size_t n, const struct app_exe *key)
{
    const struct assignment *best = NULL;

    for (size_t i = find_first(exes, n, key); i < n && app_exe_compare(&exes[i], key) == 0; i++)
        best = stricter(best, &all->items[exes[i].assignment]);
    return best;
}

/* 2 */
static int decide_exe(const struct assignments *all, const struct app_exe *exes, size_t n,
                      const struct app *app, const struct assignment **ret)
{
    const struct app_exe file = file_of(app), place = place_of(app);

    if (!exes) {
        _cleanup_(rstr_unrefp) struct rstr *path = rstr_new(app->exe ? app->exe : "");

        if (!path)
            return -ENOMEM;
        *ret = find(all, SELECTOR_EXE, path);
        return 0;
    }
    *ret =
        stricter(find_exe(all, exes, n, &file), place.name ? find_exe(all, exes, n, &place) : NULL);
    return 0;
}

/* Do all directories above the last one of this path hold units? */
static bool is_unit(char *path, size_t end)
{
    bool is = true;

    for (size_t start = 1, i = 1; is && i < end; i++)
        if (path[i] == '/') {
            path[i] = '\0';
            is = app_holds_units(path + start);
            path[i] = '/';
            start = i + 1;
        }
    return is;
}

struct place {
    const struct assignment *run, *nearest;
};

static void consider(struct place *p, const struct app *app, const struct assignment *a,
                     const struct assignment *b)
{
    if (a && is_own_choice(a, app))
        a = NULL;
    if (!p->nearest)
        p->nearest = stricter(a, b);
    if (!p->run)
        p->run = stricter(a && app_is_run(a) ? a : NULL, b && app_is_run(b) ? b : NULL);
}

/* 1, 3: from the directory itself up to the root. `path` is cut on the way, `unit` has its size. */
static void walk(const struct assignments *all, const struct app *app, struct rstr *path,
                 struct rstr *unit, struct place *p)
{
    size_t end = strlen(path->s);

    while (end > 1) {
        const char *name = strrchr(path->s, '/') + 1;
        const struct assignment *by_name = NULL;

        if (is_unit(path->s, end)) {
            const char *unit_name = app_unit_name(name);

            memcpy(unit->s, unit_name, strlen(unit_name) + 1); /* a part of what fits in there */
            by_name = find(all, SELECTOR_UNIT, unit);
        }
        consider(p, app, find(all, SELECTOR_CGROUP, path), by_name);
        end = (size_t)(name - path->s) - 1;
        path->s[end] = '\0';
    }
}

static int decide_cgroup(const struct assignments *all, const struct app *app, struct place *p)
{
    _cleanup_(rstr_unrefp) struct rstr *path = rstr_new(app->cgroup ? app->cgroup : "");
    _cleanup_(rstr_unrefp) struct rstr *unit = rstr_new(app->cgroup ? app->cgroup : "");
    _cleanup_(rstr_unrefp) struct rstr *root = rstr_new("/");
    _cleanup_(rstr_unrefp) struct rstr *root_slice = rstr_new("-.slice");

    if (!path || !unit || !root || !root_slice)
        return -ENOMEM;
    if (path->s[0] != '/')
        return 0;
    walk(all, app, path, unit, p);
    consider(p, app, find(all, SELECTOR_CGROUP, root), find(all, SELECTOR_UNIT, root_slice));
    return 0;
}

int app_decide_process(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
                       const struct app *app, struct app_verdict *ret)
{
    const struct assignment *by_exe = NULL;
    struct place place = { 0 };
    int r = decide_cgroup(all, app, &place);

    if (r == 0)
        r = decide_exe(all, exes, n_exes, app, &by_exe);
    if (r < 0)
        return r;
    if (place.run)
        *ret = (struct app_verdict){ place.run, APP_RUN }; /* 1 */
    else if (by_exe)
        *ret = (struct app_verdict){ by_exe, APP_EXE }; /* 2 */
    else if (place.nearest)
        *ret = (struct app_verdict){ place.nearest, APP_CGROUP }; /* 3 */
    else
        *ret = (struct app_verdict){ NULL, APP_NONE };
    return 0;
}

int app_decide(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
               const struct app *app, struct app_verdict *ret)
{
    int r = app_decide_process(all, exes, n_exes, app, ret);

    if (r < 0 || ret->step != APP_NONE)
        return r;
    ret->assignment = precedence_decide(all, app->uid);
    if (ret->assignment)
        ret->step = APP_UID; /* 4 */
    return 0;
}
