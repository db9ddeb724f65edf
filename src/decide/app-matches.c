/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/app-matches.h"

#include "basic/array.h"
#include "decide/precedence.h"

const char *app_loss_to_string(enum app_loss loss)
{
    static const char *const sentences[APP_LOSS_MAX] = {
        [APP_LOSS_NONE] = "",
        [APP_LOSS_STEP] = "the order is: run, executable, cgroup or unit, user",
        [APP_LOSS_DISTANCE] = "a cgroup nearer to the process is assigned",
        [APP_LOSS_STRICTER] = "another one for the same thing is stricter, or sorts first",
        [APP_LOSS_CLOSER] = "another one for the same user is closer, or stricter",
        [APP_LOSS_BACKEND] = "this takes the back-end maps, which is not in use",
    };

    return sentences[loss];
}

struct search {
    const struct app_exe *exes; /* those that are the app's; NULL = not known */
    size_t n_exes;
    const struct app *app;
    const char *cgroup; /* "" = unknown */
};

static bool matches_uid(const struct search *s, const struct assignment *a)
{
    const struct uid_range *ranges;
    size_t n = assignment_ranges(a, &ranges);

    for (size_t i = 0; i < n; i++)
        if (uid_range_contains(&ranges[i], s->app->uid))
            return true;
    return false;
}

static bool matches_exe(const struct search *s, const struct assignment *a, size_t index)
{
    for (size_t i = 0; s->exes && i < s->n_exes; i++)
        if (s->exes[i].assignment == index)
            return true;
    if (s->exes && s->app->exe_ino != 0)
        return false;
    return s->app->exe && streq(s->app->exe, rstr_text(a->selector.text));
}

static unsigned count_directories(const char *path)
{
    unsigned n = 0;

    for (const char *p = path; *p; p++)
        n += *p == '/' && p[1] != '\0';
    return n;
}

static bool matches_cgroup(const struct search *s, const char *text, unsigned *ret_distance)
{
    size_t n = streq(text, "/") ? 0 : strlen(text);

    if (s->cgroup[0] != '/' || strncmp(s->cgroup, text, n) != 0 ||
        (s->cgroup[n] != '\0' && s->cgroup[n] != '/'))
        return false;
    *ret_distance = count_directories(s->cgroup + n);
    return true;
}

/* A directory is a unit when all above it hold units. */
static bool matches_unit(const struct search *s, const char *text, unsigned *ret_distance)
{
    bool found = s->cgroup[0] == '/' && streq(text, "-.slice"), holds = true;
    const char *p = s->cgroup, *end;

    if (found)
        *ret_distance = count_directories(s->cgroup);
    for (; holds && p[0] == '/' && p[1] != '\0'; p = end) {
        size_t n = strcspn(p + 1, "/");
        char name[256]; /* NAME_MAX */

        if (n >= sizeof(name))
            break;
        memcpy(name, p + 1, n);
        name[n] = '\0';
        end = p + 1 + n;
        if (streq(app_unit_name(name), text)) {
            found = true;
            *ret_distance = count_directories(end);
        }
        holds = app_holds_units(name);
    }
    return found;
}

/* APP_NONE: it does not match. */
static enum app_step match(const struct search *s, const struct assignment *a, size_t index,
                           unsigned *ret_distance)
{
    const char *text = rstr_text(a->selector.text);
    bool found = false;

    switch (a->selector.kind) {
    case SELECTOR_UID:
    case SELECTOR_USER:
    case SELECTOR_GROUP:
        return matches_uid(s, a) ? APP_UID : APP_NONE;
    case SELECTOR_EXE:
        return matches_exe(s, a, index) ? APP_EXE : APP_NONE;
    case SELECTOR_CGROUP:
        found = matches_cgroup(s, text, ret_distance);
        break;
    case SELECTOR_UNIT:
        found = matches_unit(s, text, ret_distance);
        break;
    case SELECTOR_KIND_MAX:
        break;
    }
    if (!found)
        return APP_NONE;
    return app_is_run(a) ? APP_RUN : APP_CGROUP;
}

static int compare_matches(const void *x, const void *y)
{
    const struct app_match *a = x, *b = y;

    if ((a->loss == APP_LOSS_BACKEND) != (b->loss == APP_LOSS_BACKEND))
        return CMP(a->loss, b->loss);
    if (a->step != b->step)
        return CMP(a->step, b->step);
    if (a->distance != b->distance)
        return CMP(a->distance, b->distance);
    return precedence_compare(a->assignment, b->assignment);
}

static enum app_loss loss(const struct app_match *winner, const struct app_match *loser)
{
    if (loser->loss != APP_LOSS_NONE)
        return loser->loss;
    if (winner->step != loser->step)
        return APP_LOSS_STEP;
    if (winner->distance != loser->distance)
        return APP_LOSS_DISTANCE;
    return loser->step == APP_UID ? APP_LOSS_CLOSER : APP_LOSS_STRICTER;
}

/* Of a hundred thousand a few: each assignment is compared with these. */
static int find_own(const struct app_exe *exes, size_t n, const struct app *app,
                    struct app_exe **ret, size_t *ret_n)
{
    struct app_exe *own = NULL;
    size_t n_own = 0, cap = 0;
    int r = exes ? ARRAY_RESERVE(own, cap, 1) : 0; /* known to be none is not unknown */

    for (size_t i = 0; r == 0 && i < n; i++)
        if (app_runs(app, &exes[i]))
            r = ARRAY_PUSH(own, n_own, cap, exes[i]);
    if (r < 0) {
        free(own);
        return r;
    }
    *ret = own;
    *ret_n = n_own;
    return 0;
}

int app_matches(const struct assignments *all, const struct app_exe *exes, size_t n_exes,
                const struct app *app, bool processes, struct app_match **ret, size_t *ret_n)
{
    _cleanup_free_ struct app_exe *own = NULL;
    struct search s = { .app = app, .cgroup = app->cgroup ? app->cgroup : "" };
    struct app_match *found = NULL;
    size_t n = 0, cap = 0;
    int r = find_own(exes, n_exes, app, &own, &s.n_exes);

    s.exes = own;

    for (size_t i = 0; r == 0 && i < all->n; i++) {
        struct app_match m = { .assignment = &all->items[i] };

        m.step = match(&s, m.assignment, i, &m.distance);
        if (!processes && m.step != APP_UID)
            m.loss = APP_LOSS_BACKEND;
        if (m.step != APP_NONE)
            r = ARRAY_PUSH(found, n, cap, m);
    }
    if (r < 0) {
        free(found);
        return r;
    }
    if (n > 0)
        qsort(found, n, sizeof(*found), compare_matches);
    for (size_t i = 1; i < n; i++)
        found[i].loss = loss(&found[0], &found[i]);
    *ret = found;
    *ret_n = n;
    return 0;
}
