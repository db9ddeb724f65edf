/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/app: which assignment holds for a process. Each row has the step that decides, as
 * numbered in decide/app.h.
 */

#include "unit/check.h"

#include "basic/array.h"
#include "decide/app.h"
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
    { "exe:/bin/x", { 8, 1, 0 } }, { "exe:/bin/hard-link", { 8, 1, 0 } }, { "exe:/bin/y", { 8, 2, 0 } },
    { "exe:/bin/other-disk", { 9, 1, 0 } },
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
        cmocka_unit_test(test_by_path),
        cmocka_unit_test(test_many),
    };

    return RUN_TESTS(tests);
}
