/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/basic/landlock: what a process can still do that has shut itself in. Where the kernel has none, that is
 * what is said. Each row is a process of its own, for there is no way back.
 */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/fd.h"
#include "basic/landlock.h"

enum { READ = LANDLOCK_ACCESS_FS_READ_FILE, WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE };

enum act { ACT_READ, ACT_WRITE, ACT_MAKE, ACT_LIST, ACT_MOVE, ACT_REMOVE };

/* In the folder there are in/file, in/deep/file, out/file. */
static const struct {
    const char *name;
    uint64_t access; /* to `in` */
    enum act act;
    const char *path;
    int expected; /* errno */
} rows[] = {
    { "nothing is allowed", 0, ACT_READ, "in/file", EACCES },
    { "reading", READ, ACT_READ, "in/file", 0 },
    { "reading, below", READ, ACT_READ, "in/deep/file", 0 },
    { "reading, outside", READ, ACT_READ, "out/file", EACCES },
    { "reading, by the way out", READ, ACT_READ, "in/../out/file", EACCES },
    { "reading does not write", READ, ACT_WRITE, "in/file", EACCES },
    { "reading does not list", READ, ACT_LIST, "in", EACCES },
    { "listing", LANDLOCK_ACCESS_FS_READ_DIR, ACT_LIST, "in", 0 },
    { "writing", WRITE, ACT_WRITE, "in/file", 0 },
    { "writing does not read", WRITE, ACT_READ, "in/file", EACCES },
    { "writing does not make", WRITE, ACT_MAKE, "in/new", EACCES },
    { "making", WRITE | LANDLOCK_ACCESS_FS_MAKE_REG, ACT_MAKE, "in/new", 0 },
    { "writing does not remove", WRITE, ACT_REMOVE, "in/file", EACCES },
    { "removing", LANDLOCK_ACCESS_FS_REMOVE_FILE, ACT_REMOVE, "in/file", 0 },
    { "removing, outside", LANDLOCK_ACCESS_FS_REMOVE_FILE, ACT_REMOVE, "out/file", EACCES },
    { "moving to another folder",
      LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG | READ | WRITE, ACT_MOVE,
      "in/file", EXDEV },
};

static char folder[64];

static int act(enum act act, const char *path)
{
    static const int flags[] = {
        [ACT_READ] = O_RDONLY,
        [ACT_WRITE] = O_WRONLY,
        [ACT_MAKE] = O_WRONLY | O_CREAT | O_EXCL,
        [ACT_LIST] = O_RDONLY | O_DIRECTORY,
    };
    _cleanup_fd_ int fd = -1;

    if (act == ACT_MOVE)
        return rename(path, "in/deep/moved") < 0 ? errno : 0;
    if (act == ACT_REMOVE)
        return unlink(path) < 0 ? errno : 0;
    fd = open(path, flags[act] | O_CLOEXEC, 0600);
    return fd < 0 ? errno : 0;
}

/* In a child: the errno of the row's act; negative where it could not shut itself in. */
static int shut_in_and_act(size_t i)
{
    _cleanup_fd_ int ruleset = landlock_open(), in = open("in", O_PATH | O_CLOEXEC);
    int r = ruleset < 0 ? ruleset : in < 0 ? -errno : 0;

    if (r == 0 && rows[i].access)
        r = landlock_allow(ruleset, in, rows[i].access);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    if (r == 0)
        r = landlock_enter(ruleset);
    return r < 0 ? r : act(rows[i].act, rows[i].path);
}

static int run(size_t i)
{
    int ends[2], result = INT16_MIN, status;
    pid_t pid;

    assert_int_equal(pipe(ends), 0);
    pid = fork();
    if (pid == 0) {
        result = shut_in_and_act(i);
        _exit(write(ends[1], &result, sizeof(result)) == sizeof(result) ? 0 : 1);
    }
    close(ends[1]);
    assert_true(read(ends[0], &result, sizeof(result)) == sizeof(result));
    close(ends[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return result;
}

static void make(const char *path)
{
    assert_int_equal(fd_replace_file(path, "x", 1, 0600), 0);
}

static void test_rows(void **state)
{
    _cleanup_fd_ int there = landlock_open();

    (void)state;
    CHECK("there or not", there >= 0 || there == -ENOSYS || there == -EOPNOTSUPP);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        make("in/file");
        (void)unlink("in/new");
        CHECK_INT(rows[i].name, run(i), there >= 0 ? rows[i].expected : there);
    }
    CHECK_END();
}

/* What it is not to be: the program goes on, not shut in. */
static void test_refused(void **state)
{
    _cleanup_fd_ int ruleset = landlock_open(), in = open("in", O_PATH | O_CLOEXEC);

    (void)state;
    CHECK_INT("no ruleset", landlock_enter(-1) < 0, true);
    CHECK_INT("no folder", landlock_allow(ruleset, -1, READ) < 0, true);
    CHECK_INT("no right", landlock_allow(ruleset, in, (uint64_t)1 << 63) < 0, true);
    CHECK_INT("nothing has changed", act(ACT_READ, "out/file"), 0);
    CHECK_END();
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/waymark-test-landlock-XXXXXX");
    if (!mkdtemp(folder) || chdir(folder) < 0 || mkdir("in", 0700) < 0 || mkdir("out", 0700) < 0 ||
        mkdir("in/deep", 0700) < 0)
        return -1;
    make("in/file");
    make("in/deep/file");
    make("out/file");
    return 0;
}

static int teardown(void **state)
{
    static const char *const files[] = { "in/file", "in/new", "in/deep/file", "in/deep/moved",
                                         "out/file" };
    static const char *const folders[] = { "in/deep", "in", "out" };
    int r = 0;

    for (size_t i = 0; i < ELEMENTSOF(files); i++)
        (void)unlink(files[i]);
    for (size_t i = 0; i < ELEMENTSOF(folders); i++)
        r = rmdir(folders[i]) < 0 ? -1 : r;
    if (r < 0 || chdir("/") < 0 || rmdir(folder) < 0)
        return -1;
    return check_teardown(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
