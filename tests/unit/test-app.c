/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/app: which assignment holds for a process. Each row has the step that decides, as
 * numbered in decide/app.h.
 */

#include "unit/check.h"

#include "basic/array.h"
#include "decide/app-matches.h"
#include "unit/scene.h"

#define SERVICE "/system.slice/a.service"
#define USER    "/user.slice/user-5.slice/user@5.service"
#define RUN     USER "/app.slice/waymark-run-7.scope"

enum { UID = 5 };

/* clang-format off */
/* Executables are known by numbers here: inode 1 is /bin/x, and so on. */
static const struct {
    const char *text;
    struct app_exe exe;
} files[] = {
    { "exe:/bin/x", { .dev = 8, .ino = 1 } }, { "exe:/bin/hard-link", { .dev = 8, .ino = 1 } },
    { "exe:/bin/y", { .dev = 8, .ino = 2 } }, { "exe:/bin/other-disk", { .dev = 9, .ino = 1 } },
    { "exe:/opt/later", { .dev = 8, .ino = 100, .name = 7 } },
};

static const struct {
    enum app_step step;
    const char *assignments; /* separated by ';' */
    const char *cgroup;
    uint64_t inode; /* of device 8 */
    const char *holds;
} rows[] = {
    { APP_RUN, "cgroup:" RUN " home;exe:/bin/x none;uid:5 none", RUN, 1, "cgroup:" RUN },
    { APP_RUN, "unit:waymark-run-7.scope home;exe:/bin/x none", RUN, 1, "unit:waymark-run-7.scope" },
    { APP_RUN, "cgroup:" RUN " home prefer;cgroup:" RUN "/sub none", RUN "/sub", 2, "cgroup:" RUN },
    { APP_RUN, "cgroup:" RUN " none;cgroup:" RUN "/waymark-run-8 home", RUN "/waymark-run-8", 1,
      "cgroup:" RUN "/waymark-run-8" },
    { APP_RUN, "cgroup:" RUN " home;unit:waymark-run-7.scope none", RUN, 1, "unit:waymark-run-7.scope" },
    { APP_EXE, "cgroup:" RUN " none;exe:/bin/x home", USER "/app.slice", 1, "exe:/bin/x" },

    { APP_EXE, "exe:/bin/x home prefer;cgroup:" SERVICE " none;uid:5 none", SERVICE, 1, "exe:/bin/x" },
    { APP_EXE, "exe:/bin/x home;exe:/bin/y none", NULL, 1, "exe:/bin/x" },
    { APP_EXE, "exe:/bin/x home;exe:/bin/hard-link none", NULL, 1, "exe:/bin/hard-link" },
    { APP_EXE, "exe:/bin/x home prefer;exe:/bin/hard-link home", NULL, 1, "exe:/bin/hard-link" },
    { APP_EXE, "exe:/bin/x home;exe:/bin/hard-link other", NULL, 1, "exe:/bin/hard-link" },
    { APP_NONE, "exe:/bin/other-disk none", NULL, 1, NULL },
    { APP_NONE, "exe:/bin/y none", NULL, 1, NULL },
    { APP_NONE, "exe:/bin/y none", NULL, 0, NULL },

    { APP_CGROUP, "cgroup:" SERVICE " home prefer;uid:5 none", SERVICE, 1, "cgroup:" SERVICE },
    { APP_CGROUP, "cgroup:" SERVICE " none;cgroup:" SERVICE "/b home", SERVICE "/b/c", 1,
      "cgroup:" SERVICE "/b" },
    { APP_CGROUP, "cgroup:/ none;uid:5 home", SERVICE, 1, "cgroup:/" },
    { APP_CGROUP, "cgroup:/ none", "/", 1, "cgroup:/" },
    { APP_CGROUP, "unit:-.slice home;uid:5 none", "/x", 1, "unit:-.slice" },
    { APP_CGROUP, "unit:a.service home;cgroup:/system.slice none", SERVICE, 1, "unit:a.service" },
    { APP_CGROUP, "unit:a.service none;cgroup:" SERVICE "/b home", SERVICE "/b", 1, "cgroup:" SERVICE "/b" },
    { APP_CGROUP, "unit:a.service none;cgroup:" SERVICE " home", SERVICE, 1, "unit:a.service" },
    { APP_CGROUP, "unit:a.service home prefer;cgroup:" SERVICE " home", SERVICE, 1, "cgroup:" SERVICE },
    { APP_CGROUP, "unit:a.service home;cgroup:" SERVICE " home", SERVICE, 1, "cgroup:" SERVICE },
    { APP_CGROUP, "unit:system.slice none;uid:5 home", SERVICE, 1, "unit:system.slice" },
    { APP_CGROUP, "unit:a.service home", USER "/app.slice/a.service", 1, "unit:a.service" },
    { APP_CGROUP, "unit:a.service home", USER "/a.service", 1, "unit:a.service" },
    { APP_CGROUP, "unit:a-b.slice home", "/a.slice/a-b.slice/c@1.service/d", 1, "unit:a-b.slice" },
    { APP_CGROUP, "unit:c@1.service home", "/a.slice/a-b.slice/c@1.service/d", 1, "unit:c@1.service" },
    { APP_CGROUP, "unit:user@5.service home;unit:user.slice none", USER "/app.slice/a.service", 1,
      "unit:user@5.service" },
    { APP_CGROUP, "unit:cpu.service home", "/system.slice/_cpu.service", 1, "unit:cpu.service" },
    { APP_CGROUP, "unit:a.service none;cgroup:/machine.slice home",
      "/machine.slice/box.scope/system.slice/a.service", 1, "cgroup:/machine.slice" },
    { APP_NONE, "unit:a.service none", "/box/a.service", 1, NULL },
    { APP_NONE, "unit:a.service none", SERVICE "s", 1, NULL },
    { APP_NONE, "cgroup:" SERVICE " none", "/system.slice", 1, NULL },
    { APP_NONE, "cgroup:" SERVICE " none", SERVICE "2", 1, NULL },
    { APP_NONE, "cgroup:/ none;unit:-.slice none", NULL, 1, NULL },

    { APP_UID, "uid:5 home;exe:/bin/y none;cgroup:/x none", SERVICE, 1, "uid:5" },
    { APP_UID, "uid:5 home;uid:0-9 none", SERVICE, 1, "uid:5" },
    { APP_UID, "user:a home uids 5;group:g none uids 5", NULL, 1, "user:a" },
    { APP_NONE, "uid:6 none", SERVICE, 1, NULL },
    { APP_NONE, "", SERVICE, 1, NULL },
};
/* clang-format on */

static void assign(struct scene *s, const char *assignments)
{
    _cleanup_free_ char *text = strdup(assignments);

    scene_run(s, "maps\nnetwork home\nnetwork other\n");
    for (char *save = NULL, *one = strtok_r(text, ";", &save); one;
         one = strtok_r(NULL, ";", &save)) {
        char line[256];

        (void)snprintf(line, sizeof(line), "assign %s", one);
        scene_run(s, line);
    }
}

static size_t index_of(const struct assignments *all, const char *text)
{
    struct selector selector = { 0 };
    ssize_t i;

    assert_int_equal(selector_parse(text, &selector, NULL), 0);
    i = assignments_find(all, &selector);
    selector_done(&selector);
    return i < 0 ? SIZE_MAX : (size_t)i;
}

static size_t resolve(const struct assignments *all, struct app_exe exes[ELEMENTSOF(files)])
{
    size_t n = 0;

    for (size_t i = 0; i < ELEMENTSOF(files); i++) {
        size_t assignment = index_of(all, files[i].text);

        if (assignment == SIZE_MAX)
            continue;
        exes[n] = files[i].exe;
        exes[n++].assignment = assignment;
    }
    qsort(exes, n, sizeof(*exes), app_exe_compare);
    return n;
}

static void check_verdict(const char *row, const struct app_verdict *v, enum app_step step,
                          const char *holds)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    if (v->assignment)
        selector_print(&v->assignment->selector, &b);
    CHECK_TEXT(row, app_step_to_string(v->step), app_step_to_string(step));
    CHECK_TEXT(row, strbuf_text(&b), holds ? holds : "");
}

/* The first of all that match is the one that holds; of each other it is said why not. */
static void check_matches(const char *row, const struct assignments *all,
                          const struct app_exe *exes, size_t n_exes, const struct app *app,
                          const struct app_verdict *v)
{
    _cleanup_free_ struct app_match *matches = NULL;
    size_t n = 0;

    CHECK_INT(row, app_matches(all, exes, n_exes, app, true, &matches, &n), 0);
    CHECK(row, n == 0 ? !v->assignment : matches[0].assignment == v->assignment);
    CHECK_INT(row, n == 0 ? APP_NONE : matches[0].step, v->step);
    for (size_t i = 0; i < n; i++)
        CHECK_INT(row, matches[i].loss == APP_LOSS_NONE, i == 0);
}

/* A file is what it is, and what lies there: the stricter holds, as of other things. */
static void test_place_of_executable(void **state)
{
    static const struct {
        const char *name;
        struct app app;
        const char *holds;
    } cases[] = {
        { "a new file",
          { .exe_dev = 8, .exe_ino = 50, .exe_place = { 8, 100, 7 } },
          "exe:/opt/later" },
        { "no file", { .exe_place = { 8, 100, 7 } }, "exe:/opt/later" },
        { "another name", { .exe_dev = 8, .exe_ino = 50, .exe_place = { 8, 100, 8 } }, NULL },
        { "another directory", { .exe_dev = 8, .exe_ino = 50, .exe_place = { 8, 101, 7 } }, NULL },
        { "another disk", { .exe_dev = 9, .exe_ino = 50, .exe_place = { 9, 100, 7 } }, NULL },
        { "the directory itself", { .exe_dev = 8, .exe_ino = 100 }, NULL },
        { "a known file",
          { .exe_dev = 8, .exe_ino = 1, .exe_place = { 8, 100, 7 } },
          "exe:/bin/x" },
    };
    struct app_exe exes[ELEMENTSOF(files)];
    const struct assignments *all;
    _cleanup_scene_ struct scene s;
    size_t n;

    (void)state;
    scene_init(&s);
    assign(&s, "exe:/bin/x none;exe:/opt/later home");
    all = s.m->assignments;
    n = resolve(all, exes);
    for (size_t i = 0; i < ELEMENTSOF(cases); i++) {
        struct app_verdict v = { 0 };

        CHECK_INT(cases[i].name, app_decide(all, exes, n, &cases[i].app, &v), 0);
        check_verdict(cases[i].name, &v, cases[i].holds ? APP_EXE : APP_NONE, cases[i].holds);
        check_matches(cases[i].name, all, exes, n, &cases[i].app, &v);
    }
    CHECK_END();
}

/* In the order of their places: who matches, by which step, and why it does not hold. */
static void test_matches(void **state)
{
    static const struct {
        const char *selector;
        enum app_step step;
        enum app_loss loss, loss_of_users_alone;
    } expected[] = {
        { "cgroup:" RUN "/sub/waymark-run-8", APP_RUN, APP_LOSS_NONE, APP_LOSS_BACKEND },
        { "cgroup:" RUN, APP_RUN, APP_LOSS_DISTANCE, APP_LOSS_BACKEND },
        { "exe:/bin/hard-link", APP_EXE, APP_LOSS_STEP, APP_LOSS_BACKEND },
        { "exe:/bin/x", APP_EXE, APP_LOSS_STEP, APP_LOSS_BACKEND },
        { "cgroup:" USER, APP_CGROUP, APP_LOSS_STEP, APP_LOSS_BACKEND },
        { "unit:user@5.service", APP_CGROUP, APP_LOSS_STEP, APP_LOSS_BACKEND },
        { "unit:-.slice", APP_CGROUP, APP_LOSS_STEP, APP_LOSS_BACKEND },
        { "uid:5", APP_UID, APP_LOSS_STEP, APP_LOSS_NONE },
        { "uid:0-9", APP_UID, APP_LOSS_STEP, APP_LOSS_CLOSER },
    };
    const struct app app = {
        .uid = UID, .cgroup = RUN "/sub/waymark-run-8/deep", .exe_dev = 8, .exe_ino = 1
    };
    struct app_exe exes[ELEMENTSOF(files)];
    _cleanup_scene_ struct scene s;
    const struct assignments *all;
    size_t n_exes;

    (void)state;
    scene_init(&s);
    assign(&s,
           "uid:0-9 home;uid:5 home prefer;uid:6 none;unit:-.slice none;unit:user@5.service home;"
           "cgroup:" USER " none;cgroup:" USER "/ap none;unit:a.service none;exe:/bin/x home;"
           "exe:/bin/y none;exe:/bin/hard-link none;cgroup:" RUN " none;"
           "cgroup:" RUN "/sub/waymark-run-8 home");
    all = s.m->assignments;
    n_exes = resolve(all, exes);
    for (int processes = 0; processes <= 1; processes++) {
        _cleanup_free_ struct app_match *m = NULL;
        size_t n = 0, first_user = ELEMENTSOF(expected) - 2;

        CHECK_INT("matches", app_matches(all, exes, n_exes, &app, processes, &m, &n), 0);
        assert_int_equal(n, ELEMENTSOF(expected));
        for (size_t i = 0; i < n; i++) {
            /* without processes, users come first */
            size_t j = processes ? i : (i + first_user) % n;

            CHECK_INT(expected[j].selector, m[i].assignment - all->items,
                      index_of(all, expected[j].selector));
            CHECK_INT(expected[j].selector, m[i].step, expected[j].step);
            CHECK_INT(expected[j].selector, m[i].loss,
                      processes ? expected[j].loss : expected[j].loss_of_users_alone);
            CHECK(expected[j].selector,
                  !*app_loss_to_string(m[i].loss) == (m[i].loss == APP_LOSS_NONE));
        }
    }
    CHECK_END();
}

static void test_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct app app = {
            .uid = UID, .cgroup = rows[i].cgroup, .exe_dev = 8, .exe_ino = rows[i].inode
        };
        struct app_exe exes[ELEMENTSOF(files)];
        struct app_verdict v = { 0 };
        _cleanup_scene_ struct scene s;
        size_t n;

        scene_init(&s);
        assign(&s, rows[i].assignments);
        n = resolve(s.m->assignments, exes);
        CHECK_INT(rows[i].assignments, app_decide(s.m->assignments, exes, n, &app, &v), 0);
        check_verdict(rows[i].assignments, &v, rows[i].step, rows[i].holds);
        check_matches(rows[i].assignments, s.m->assignments, exes, n, &app, &v);
    }
    CHECK_END();
}

/* Before anything is resolved, and for programs that are not there: by path. */
static void test_by_path(void **state)
{
    struct app app = { .uid = UID, .exe = "/bin/x" };
    struct app_verdict v = { 0 };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    assign(&s, "exe:/bin/x none;uid:5 home");
    CHECK_INT("path", app_decide(s.m->assignments, NULL, 0, &app, &v), 0);
    check_verdict("path", &v, APP_EXE, "exe:/bin/x");
    check_matches("path", s.m->assignments, NULL, 0, &app, &v);
    check_matches("not there", s.m->assignments, &(struct app_exe){ .ino = 7 }, 1, &app, &v);
    app.exe = "/bin/y";
    CHECK_INT("another", app_decide(s.m->assignments, NULL, 0, &app, &v), 0);
    check_verdict("another", &v, APP_UID, "uid:5");
    app = (struct app){ .uid = UINT32_MAX };
    CHECK_INT("nothing", app_decide(s.m->assignments, NULL, 0, &app, &v), 0);
    check_verdict("nothing", &v, APP_NONE, NULL);
    CHECK_END();
}

/* A hundred thousand of them: the one that is meant is found, and not by looking at each. */
static void test_many(void **state)
{
    enum { N = 100000, ASKED = 20000 };
    _cleanup_(assignments_unrefp) struct assignments *all = assignments_new();
    _cleanup_free_ struct app_exe *exes = calloc(N / 2, sizeof(*exes));
    size_t twice;

    (void)state;
    assert_true(all && exes);
    for (unsigned i = 0; i < N; i++) {
        struct assignment a = { 0 };
        char text[64];

        (void)snprintf(text, sizeof(text), i % 2 ? "exe:/opt/%06u" : "cgroup:/a.slice/%06u", i / 2);
        assert_int_equal(selector_parse(text, &a.selector, NULL), 0);
        assert_int_equal(assignments_push(all, &a), 0);
    }
    assert_int_equal(assignments_sort(all, &twice), 0);
    for (unsigned i = 0; i < N / 2; i++)
        exes[i] = (struct app_exe){ .dev = 8, .ino = i, .assignment = N / 2 + i };
    for (unsigned i = 0; i < ASKED; i++) {
        char cgroup[64];
        struct app app = { .uid = UID, .cgroup = cgroup, .exe_dev = 8 };
        struct app_verdict v = { 0 };

        (void)snprintf(cgroup, sizeof(cgroup), "/a.slice/%06u/below/it", i);
        app.exe_ino = i % 2 ? i : N;
        assert_int_equal(app_decide(all, exes, N / 2, &app, &v), 0);
        assert_ptr_equal(v.assignment, &all->items[i % 2 ? N / 2 + i : i]);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_matches),
        cmocka_unit_test(test_place_of_executable),
        cmocka_unit_test(test_by_path),
        cmocka_unit_test(test_many),
    };

    return RUN_TESTS(tests);
}
