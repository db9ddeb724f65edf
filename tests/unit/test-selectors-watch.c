/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/observe/selectors and pathwatch: what exe: selectors mean, while files come and go in a real
 * folder. cgroup: and unit: need root to make cgroups: tests/e2e/test_selectors.py.
 */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/fd.h"
#include "decide/place.h"
#include "observe/exe.h"
#include "observe/pathwatch.h"
#include "observe/selectors.h"

/* A folder, which is the current one, and what some selectors in it mean. */
struct folder {
    char path[64];
    struct selectors *s;
    struct assignments *assignments;
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    return remove(path);
}

static void folder_open(struct folder *f)
{
    *f = (struct folder){ .path = "/tmp/test-selectors-XXXXXX" };
    assert_non_null(mkdtemp(f->path));
    assert_int_equal(chdir(f->path), 0);
    assert_int_equal(selectors_open(&f->s), 0);
}

static void folder_close(struct folder *f)
{
    selectors_close(f->s);
    assignments_unref(f->assignments);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(nftw(f->path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Assigns exe:FOLDER/… for each of the names. */
static void folder_assign(struct folder *f, const char *const *names, size_t n)
{
    struct assignments *all = assignments_new();
    size_t twice;

    assert_non_null(all);
    for (size_t i = 0; i < n; i++) {
        struct assignment a = { 0 };
        char text[PATH_MAX];

        (void)snprintf(text, sizeof(text), "exe:%s/%s", f->path, names[i]);
        assert_int_equal(selector_parse(text, &a.selector, NULL), 0);
        assert_int_equal(assignments_push(all, &a), 0);
    }
    assert_int_equal(assignments_sort(all, &twice), 0);
    assert_int_equal(selectors_update(f->s, all), 0);
    assignments_unref(f->assignments);
    f->assignments = all;
}

/* Is this what the assignment means: the file, or nothing (NULL)? */
static bool means(const struct folder *f, size_t assignment, const char *path)
{
    struct exe_id id = { 0 };
    size_t n;
    const struct plan_app *app = selectors_of(f->s, assignment, &n);

    if (!path || exe_identify(path, 0, &id) < 0)
        return n == 0;
    return n == 1 && app->kind == GUARD_APP_EXE && app->id == id.ino && app->dev == id.dev &&
           app->assignment == assignment;
}

static void put_file(const char *path)
{
    FILE *f = fopen(path, "we");

    assert_non_null(f);
    assert_int_equal(fchmod(fileno(f), 0755), 0);
    assert_int_equal(fclose(f), 0);
}

enum verb { WRITE, RENAME, UNLINK, MKDIR, RMDIR, SYMLINK, LINK };

static int act(enum verb verb, const char *a, const char *b)
{
    switch (verb) {
    case WRITE:
        put_file(a);
        return 0;
    case RENAME:
        return rename(a, b);
    case UNLINK:
        return unlink(a);
    case MKDIR:
        return mkdir(a, 0755);
    case RMDIR:
        return rmdir(a);
    case SYMLINK:
        return symlink(a, b);
    case LINK:
        return link(a, b);
    }
    return -1;
}

/* clang-format off */
/*
 * One after the other. What bin/x means afterwards, or NULL; has that changed, or where it may come to
 * be; -1 = it may have.
 */
static const struct {
    const char *name;
    enum verb verb;
    const char *a, *b;
    const char *means;
    int changed;
} steps[] = {
    { "the folder comes", MKDIR, "bin", NULL, NULL, 1 },
    { "the file comes", WRITE, "bin/x", NULL, "bin/x", 1 },
    { "another comes", WRITE, "bin/x.new", NULL, "bin/x", 0 },
    { "an upgrade", RENAME, "bin/x.new", "bin/x", "bin/x", 1 },
    { "written in place", WRITE, "bin/x", NULL, "bin/x", 0 },
    { "a link to it", LINK, "bin/x", "bin/y", "bin/x", 0 },
    { "it goes", UNLINK, "bin/x", NULL, NULL, 1 },
    { "it comes back", RENAME, "bin/y", "bin/x", "bin/x", 1 },
    { "it goes again", UNLINK, "bin/x", NULL, NULL, 1 },
    { "a dangling link", SYMLINK, "../lib/y", "bin/x", NULL, 0 },
    { "half of its way", MKDIR, "lib", NULL, NULL, 1 },
    { "its end", WRITE, "lib/y", NULL, "lib/y", 1 },
    { "an upgrade behind the link (1)", WRITE, "lib/z", NULL, "lib/y", 0 },
    { "an upgrade behind the link (2)", RENAME, "lib/z", "lib/y", "lib/y", 1 },
    { "the way is renamed", RENAME, "lib", "lib2", NULL, 1 },
    { "a link instead", SYMLINK, "lib2", "lib", "lib2/y", 1 },
    { "an upgrade behind both (1)", WRITE, "lib2/z", NULL, "lib2/y", 0 },
    { "an upgrade behind both (2)", RENAME, "lib2/z", "lib2/y", "lib2/y", 1 },
    { "that link goes", UNLINK, "lib", NULL, NULL, 1 },
    { "the way comes back", RENAME, "lib2", "lib", "lib/y", 1 },
    { "the folder goes away", RENAME, "bin", "bin2", NULL, 1 },
    { "the folder comes back", RENAME, "bin2", "bin", "lib/y", 1 },
    { "the first link goes", UNLINK, "bin/x", NULL, NULL, 1 },
    { "a link to itself", SYMLINK, "x", "bin/x", NULL, 0 },
    { "that goes", UNLINK, "bin/x", NULL, NULL, 0 },
    { "a folder in its place", MKDIR, "bin/x", NULL, NULL, 0 },
    { "that goes, too", RMDIR, "bin/x", NULL, NULL, 0 },
    { "the folder goes", RMDIR, "bin", NULL, NULL, 1 },
    { "a file in the folder's place", WRITE, "bin", NULL, NULL, 0 },
    { "that goes", UNLINK, "bin", NULL, NULL, 0 },
    { "a linked folder", SYMLINK, "lib", "bin", NULL, 1 },
    { "a file in that", WRITE, "lib/x", NULL, "lib/x", 1 },
};
/* clang-format on */

static void test_steps(void **state)
{
    static const char *const names[] = { "bin/x" };
    struct folder f;

    (void)state;
    folder_open(&f);
    folder_assign(&f, names, 1);
    CHECK("at first", means(&f, 0, NULL));
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        int r = act(steps[i].verb, steps[i].a, steps[i].b);

        CHECK_INT(steps[i].name, r, 0);
        r = selectors_dispatch(f.s);
        if (steps[i].changed >= 0)
            CHECK_INT(steps[i].name, r, steps[i].changed);
        CHECK(steps[i].name, means(&f, 0, steps[i].means));
    }
    folder_close(&f);
    CHECK_END();
}

/* xorshift64*: the same numbers in every run */
static unsigned dice(uint64_t *x, unsigned n)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return (unsigned)((*x * 0x2545f4914f6cdd1dU) >> 40) % n;
}

/* Paths that are files, folders and links in turn; all selectors mean what is there, always. */
static void test_random(void **state)
{
    static const char *const names[] = { "a",   "a/a",   "a/b", "a/b/a", "b",
                                         "b/a", "b/a/b", "b/b", "c/a",   "c" };
    static const char *const folders[] = { "a", "b", "a/b", "b/a" };
    static const char *const targets[] = { "a",   "b",   "../a",   "../b",
                                           "a/b", "b/a", "b/../a", "nowhere" };
    uint64_t x = 88172645463325252U;
    struct folder f;

    (void)state;
    folder_open(&f);
    folder_assign(&f, names, ELEMENTSOF(names));
    for (unsigned i = 0; i < 20000; i++) {
        enum verb verb = (enum verb)dice(&x, LINK + 1);
        const char *a = names[dice(&x, ELEMENTSOF(names))];
        const char *b = names[dice(&x, ELEMENTSOF(names))];
        char row[64];

        if (verb == SYMLINK)
            a = targets[dice(&x, ELEMENTSOF(targets))];
        if (verb == MKDIR)
            a = folders[dice(&x, ELEMENTSOF(folders))];
        if (verb == UNLINK && dice(&x, 2) == 0)
            continue;        /* else there is never much */
        if (verb == WRITE) { /* not through links: some lead out of here */
            int fd = open(a, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0755);

            fd_closep(&fd);
        } else {
            (void)act(verb, a, b); /* many make no sense */
        }
        if (dice(&x, 3) == 0)
            continue; /* several at once */
        CHECK("dispatch", selectors_dispatch(f.s) >= 0);
        for (size_t j = 0; j < f.assignments->n; j++) {
            const char *path = rstr_text(f.assignments->items[j].selector.text);

            (void)snprintf(row, sizeof(row), "%u: %s", i, path + strlen(f.path));
            CHECK(row, means(&f, j, path));
        }
    }
    folder_close(&f);
    CHECK_END();
}

/* More than the kernel's queue takes. */
static void test_overflow(void **state)
{
    static const char *const names[] = { "bin/x", "bin/y" };
    _cleanup_free_ char *text = NULL;
    struct folder f;
    unsigned long n;

    (void)state;
    assert_int_equal(fd_read_file("/proc/sys/fs/inotify/max_queued_events", 64, &text, NULL), 0);
    n = strtoul(text, NULL, 10);
    folder_open(&f);
    assert_int_equal(mkdir("bin", 0755), 0);
    folder_assign(&f, names, 2);
    for (unsigned long i = 0; i < n / 2 + 2; i++) {
        assert_int_equal(symlink("nowhere", "bin/z"), 0);
        assert_int_equal(unlink("bin/z"), 0);
    }
    put_file("bin/x");
    put_file("bin/y");
    for (int i = 0; i < 1000 && !means(&f, 0, "bin/x"); i++)
        CHECK("dispatch", selectors_dispatch(f.s) >= 0);
    CHECK("x", means(&f, 0, "bin/x"));
    CHECK("y", means(&f, 1, "bin/y"));
    /* and it goes on */
    assert_int_equal(rename("bin/x", "bin/y"), 0);
    CHECK_INT("afterwards", selectors_dispatch(f.s), 1);
    CHECK("x", means(&f, 0, NULL));
    CHECK("y", means(&f, 1, "bin/y"));
    folder_close(&f);
    CHECK_END();
}

/* Runs a copy of sleep(1). */
static pid_t start(const char *path)
{
    int fds[2];
    pid_t pid;
    char c;

    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        execl(path, path, "1000", (char *)NULL);
        _exit(1);
    }
    (void)close(fds[1]);
    assert_int_equal(read(fds[0], &c, 1), 0); /* the other end is closed by exec */
    (void)close(fds[0]);
    return pid;
}

static void stop(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static size_t n_apps(const struct folder *f, size_t assignment)
{
    size_t n;

    (void)selectors_of(f->s, assignment, &n);
    return n;
}

static bool has_app(const struct folder *f, size_t assignment, const struct exe_id *id)
{
    size_t n;
    const struct plan_app *apps = selectors_of(f->s, assignment, &n);

    for (size_t i = 0; i < n; i++)
        if (apps[i].id == id->ino && apps[i].dev == id->dev)
            return true;
    return false;
}

/* A program goes on running after an upgrade; and after the next one. */
static void test_old(void **state)
{
    static const char *const names[] = { "x", "y" };
    struct exe_id id[3];
    struct folder f;
    pid_t pid[2];

    (void)state;
    folder_open(&f);
    for (size_t i = 0; i < ELEMENTSOF(id); i++) {
        char copy[64], number[16];

        (void)snprintf(number, sizeof(number), "%zu", i);
        (void)snprintf(copy, sizeof(copy), "cp /bin/sleep %zu", i);
        assert_int_equal(system(copy), 0);
        assert_int_equal(exe_identify(number, 0, &id[i]), 0);
    }
    folder_assign(&f, names, 2);
    for (size_t i = 0; i < ELEMENTSOF(id); i++) {
        char number[16];

        (void)snprintf(number, sizeof(number), "%zu", i);
        assert_int_equal(rename(number, "x"), 0);
        CHECK_INT(number, selectors_dispatch(f.s), 1);
        CHECK_INT(number, n_apps(&f, 0), i + 1);
        CHECK_INT(number, selectors_n_old(f.s), i);
        if (i < ELEMENTSOF(pid))
            pid[i] = start("./x");
    }
    for (size_t i = 0; i < ELEMENTSOF(id); i++)
        CHECK("all three", has_app(&f, 0, &id[i]));
    CHECK_INT("they still run", selectors_scan(f.s), 0);
    stop(pid[0]);
    CHECK_INT("one has ended", selectors_scan(f.s), 1);
    CHECK("one has ended", n_apps(&f, 0) == 2 && !has_app(&f, 0, &id[0]) && has_app(&f, 0, &id[1]));
    stop(pid[1]);
    CHECK_INT("both have ended", selectors_scan(f.s), 1);
    CHECK("both have ended", means(&f, 0, "x"));
    CHECK_INT("nothing to do", selectors_scan(f.s), 0);

    pid[0] = start("./x");
    assert_int_equal(unlink("x"), 0);
    CHECK_INT("removed", selectors_dispatch(f.s), 1);
    CHECK("removed", n_apps(&f, 0) == 1 && has_app(&f, 0, &id[2]));
    folder_assign(&f, names + 1, 1);
    CHECK_INT("no longer assigned", selectors_n_old(f.s), 0);
    stop(pid[0]);
    folder_close(&f);
    CHECK_END();
}

/* A replaced file that nobody runs is dropped at once. */
static void test_not_running(void **state)
{
    static const char *const names[] = { "x" };
    struct folder f;

    (void)state;
    folder_open(&f);
    put_file("x");
    put_file("y");
    folder_assign(&f, names, 1);
    assert_int_equal(rename("y", "x"), 0);
    CHECK_INT("replaced", selectors_dispatch(f.s), 1);
    CHECK_INT("replaced", selectors_n_old(f.s), 0);
    CHECK("replaced", means(&f, 0, "x"));
    folder_close(&f);
    CHECK_END();
}

/* Assignments come and go: numbers follow the table, the others stay. */
static void test_update(void **state)
{
    static const char *const names[] = { "a", "b", "c", "d" };
    struct folder f;

    (void)state;
    folder_open(&f);
    for (size_t i = 0; i < ELEMENTSOF(names); i += 2)
        put_file(names[i]);
    for (unsigned set = 0; set < 64; set++) {
        const char *chosen[ELEMENTSOF(names)];
        size_t n = 0;

        for (size_t i = 0; i < ELEMENTSOF(names); i++)
            if ((set ^ (set >> 1)) >> i & 1)
                chosen[n++] = names[i];
        folder_assign(&f, chosen, n);
        put_file("d");
        CHECK("dispatch", selectors_dispatch(f.s) >= 0);
        for (size_t i = 0; i < n; i++)
            CHECK(chosen[i], means(&f, i, chosen[i]));
        assert_int_equal(unlink("d"), 0);
        CHECK("dispatch", selectors_dispatch(f.s) >= 0);
        for (size_t i = 0; i < n; i++)
            CHECK(chosen[i], means(&f, i, chosen[i]));
    }
    CHECK_INT("again", selectors_refresh(f.s) >= 0, true);
    folder_close(&f);
    CHECK_END();
}

/* app_decide() knows a process by what is found here, whatever the link is called. */
static void test_exes(void **state)
{
    static const char *const names[] = { "file", "hard", "soft", "other", "missing" };
    const struct app_exe *exes;
    struct app_verdict v = { 0 };
    struct folder f;
    struct exe_id id;
    size_t n;

    (void)state;
    folder_open(&f);
    folder_assign(&f, names, 0);
    CHECK_INT("none", selectors_exes(f.s, &exes, &n), 0);
    CHECK("none", exes && n == 0);
    put_file("file");
    put_file("other");
    assert_int_equal(link("file", "hard"), 0);
    assert_int_equal(symlink("hard", "soft"), 0);
    folder_assign(&f, names, ELEMENTSOF(names));
    assert_int_equal(exe_identify("soft", 0, &id), 0);
    CHECK_INT("exes", selectors_exes(f.s, &exes, &n), 0);
    CHECK_INT("files and places", n, 4 + 6); /* a link has two */
    for (size_t i = 1; i < n; i++)
        CHECK("sorted", app_exe_compare(&exes[i - 1], &exes[i]) <= 0);

    struct app app = { .uid = UINT32_MAX, .exe_dev = id.dev, .exe_ino = id.ino };
    CHECK_INT("decide", app_decide(f.assignments, exes, n, &app, &v), 0);
    CHECK("decide", v.step == APP_EXE && v.assignment == &f.assignments->items[0]);
    folder_close(&f);
    CHECK_END();
}

/* What is not watched is found, and said not to be watched. */
static void test_limit(void **state)
{
    struct pathwatch w;

    (void)state;
    assert_int_equal(pathwatch_open(&w, 2), 0);
    CHECK_INT("found", pathwatch_follow(&w, 0, "/proc/self/fd/0"), 0);
    CHECK_INT("watches", w.n_watches, 2);
    CHECK("unwatched", w.n_unwatched > 0);
    pathwatch_forget(&w, 0);
    CHECK_INT("forgotten", w.n_watches, 1);
    CHECK_INT("forgotten", w.n_unwatched, 0);
    CHECK_INT("missing", pathwatch_follow(&w, 0, "/no such folder/x"), -ENOENT);
    CHECK_INT("not a folder", pathwatch_follow(&w, 1, "/proc/self/exe/x"), -ENOTDIR);
    CHECK_INT("the root", pathwatch_follow(&w, 2, "/"), 0);
    pathwatch_close(&w);
    CHECK_END();
}

/* A hundred thousand of them: one watch for all, and one more or less is no matter. */
static void test_many(void **state)
{
    enum { N = 100000 };
    struct assignments *all = assignments_new();
    struct selectors *s = NULL;

    (void)state;
    assert_int_equal(selectors_open(&s), 0);
    for (unsigned i = 0; i < N; i++) {
        struct assignment a = { 0 };
        char text[64];

        (void)snprintf(text, sizeof(text), "exe:/usr/bin/none-%06u", i);
        assert_int_equal(selector_parse(text, &a.selector, NULL), 0);
        assert_int_equal(assignments_push(all, &a), 0);
    }
    assert_int_equal(selectors_update(s, all), 0);
    for (unsigned i = 0; i < 10; i++) {
        assignments_remove(all, all->n / 2);
        assert_int_equal(selectors_update(s, all), 0);
    }
    selectors_close(s);
    assignments_unref(all);
    CHECK_END();
}

/*
 * Who runs something may have chosen the names above it, so that their numbers are those of other
 * cgroups' paths (decide/place.h). These two are of one: /user.slice/user-0.slice.
 */
static void test_runs(void **state)
{
    static const char *const selectors[] = {
        "cgroup:/user.slice/user-0.slice",
        "cgroup:/user.slice/user-1000.slice/user@1000.service/evil----zjiaaaaa\"hEbxk*n/"
        "waymark-run-1000--------idjaaaaaUAb.zxq(",
    };
    static const size_t n_places[] = { 2, 0 }; /* a WAY and the CGROUP */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(selectors); i++) {
        struct assignments *all = assignments_new();
        struct assignment a = { 0 };
        const struct plan_place *places;
        struct folder f;
        size_t n, found = 0;

        folder_open(&f);
        assert_int_equal(selector_parse(selectors[i], &a.selector, NULL), 0);
        assert_int_equal(assignments_push(all, &a), 0);
        assert_int_equal(selectors_update(f.s, all), 0);
        places = selectors_places(f.s, &n);
        for (size_t j = 0; j < n; j++)
            found += places[j].kind != PLACE_ROOT;
        CHECK_INT(selectors[i], found, n_places[i]);
        f.assignments = all;
        folder_close(&f);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),       cmocka_unit_test(test_random),
        cmocka_unit_test(test_overflow),    cmocka_unit_test(test_old),
        cmocka_unit_test(test_not_running), cmocka_unit_test(test_update),
        cmocka_unit_test(test_exes),        cmocka_unit_test(test_limit),
        cmocka_unit_test(test_many),        cmocka_unit_test(test_runs),
    };

    return RUN_TESTS(tests);
}
