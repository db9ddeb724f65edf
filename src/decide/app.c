/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/app.h"

#include <errno.h>

#include "decide/precedence.h"

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

bool app_is_run(const struct assignment *a)
{
    const char *text = rstr_text(a->selector.text), *slash = strrchr(text, '/');

    if (a->selector.kind != SELECTOR_CGROUP && a->selector.kind != SELECTOR_UNIT)
        return false;
    return startswith(slash ? slash + 1 : text, "waymark-run-");
}

int app_exe_compare(const void *a, const void *b)
{
    const struct app_exe *x = a, *y = b;

    return x->dev != y->dev ? CMP(x->dev, y->dev) : CMP(x->ino, y->ino);
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

/* 2 */
static int decide_exe(const struct assignments *all, const struct app_exe *exes, size_t n,
                      const struct app *app, const struct assignment **ret)
{
    const struct app_exe key = { .dev = app->exe_dev, .ino = app->exe_ino };
    const struct assignment *best = NULL;
    size_t lo = 0, hi = n;

    if (!exes) {
        _cleanup_(rstr_unrefp) struct rstr *path = rstr_new(app->exe ? app->exe : "");

        if (!path)
            return -ENOMEM;
        *ret = find(all, SELECTOR_EXE, path);
        return 0;
    }
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (app_exe_compare(&exes[mid], &key) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (; lo < n && app_exe_compare(&exes[lo], &key) == 0; lo++)
        best = stricter(best, &all->items[exes[lo].assignment]);
    *ret = best;
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

static void consider(struct place *p, const struct assignment *a, const struct assignment *b)
{
    if (!p->nearest)
        p->nearest = stricter(a, b);
    if (!p->run)
        p->run = stricter(a && app_is_run(a) ? a : NULL, b && app_is_run(b) ? b : NULL);
}

/* 1, 3: from the directory itself up to the root. `path` is cut on the way, `unit` has its size. */
static void walk(const struct assignments *all, struct rstr *path, struct rstr *unit,
                 struct place *p)
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
        consider(p, find(all, SELECTOR_CGROUP, path), by_name);
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
    walk(all, path, unit, p);
    consider(p, find(all, SELECTOR_CGROUP, root), find(all, SELECTOR_UNIT, root_slice));
    return 0;
}

int app_decide(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
               const struct app *app, struct app_verdict *ret)
{
    const struct assignment *by_exe = NULL, *by_uid;
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
    else if ((by_uid = precedence_decide(all, app->uid)))
        *ret = (struct app_verdict){ by_uid, APP_UID }; /* 4 */
    else
        *ret = (struct app_verdict){ NULL, APP_NONE };
    return 0;
}
