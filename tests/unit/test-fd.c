/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/basic/fd: reading whole files, writing whole buffers, replacing a file in one step. */

#include "unit/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "basic/fd.h"

static char folder[64];

static const char *in_folder(const char *name)
{
    static char path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *data, size_t size)
{
    _cleanup_fd_ int fd = open(in_folder(name), O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, size), 0);
}

/* What is in the folder, to find temporary files that stayed. */
static size_t count_files(void)
{
    DIR *d = opendir(folder);
    size_t n = 0;

    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

static int setup(void **state)
{
    (void)state;
    (void)strcpy(folder, "/tmp/waymark-test-fd-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    char command[128];

    (void)state;
    snprintf(command, sizeof(command), "rm -rf %s", folder);
    return system(command);
}

static void test_read_file(void **state)
{
    static const struct {
        const char *name;
        size_t size, max;
        int error;
    } rows[] = {
        { "empty", 0, 0, 0 },
        { "exactly max", 10, 10, 0 },
        { "one too many", 11, 10, -EFBIG },
        { "a block less one", 4094, 1 << 20, 0 },
        { "a block", 4095, 1 << 20, 0 },
        { "a block and one", 4096, 1 << 20, 0 },
        { "large", 100000, 1 << 20, 0 },
        { "large, too large", 100000, 50000, -EFBIG },
        { "nothing may be in it", 1, 0, -EFBIG },
    };
    char *kept = (char *)"kept";

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_free_ char *data = calloc(1, rows[i].size + 1), *got = NULL;
        size_t size = 77;

        for (size_t j = 0; j < rows[i].size; j++)
            data[j] = (char)(j % 251); /* NUL bytes, too */
        put("in", data, rows[i].size);
        CHECK_INT(rows[i].name, fd_read_file(in_folder("in"), rows[i].max, &got, &size),
                  rows[i].error);
        if (rows[i].error) {
            CHECK(rows[i].name, got == NULL && size == 77);
            continue;
        }
        CHECK_INT(rows[i].name, size, rows[i].size);
        CHECK(rows[i].name, memcmp(got, data, size) == 0 && got[size] == '\0');
    }
    CHECK_INT("missing", fd_read_file(in_folder("missing"), 10, &kept, NULL), -ENOENT);
    CHECK_INT("a folder", fd_read_file(folder, 10, &kept, NULL), -EISDIR);
    CHECK_TEXT("untouched", kept, "kept");
    put("in", "x", 1);
    CHECK_INT("size not asked for", fd_read_file(in_folder("in"), 10, &kept, NULL), 0);
    CHECK_TEXT("size not asked for", kept, "x");
    free(kept);
    CHECK_END();
}

/* A pipe takes less than was offered: the rest has to follow. */
static void test_write_all(void **state)
{
    enum { SIZE = 1 << 20 };
    static char data[SIZE], got[SIZE];
    size_t n = 0;
    int ends[2];
    pid_t pid;

    (void)state;
    for (size_t i = 0; i < SIZE; i++)
        data[i] = (char)(i * 7);
    assert_int_equal(pipe(ends), 0);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(fd_write_all(ends[1], data, SIZE) < 0);
    close(ends[1]);
    for (ssize_t r = 1; r > 0 && n < SIZE; n += (size_t)r)
        r = read(ends[0], got + n, 1000);
    close(ends[0]);
    waitpid(pid, NULL, 0);
    CHECK_INT("all came", n, SIZE);
    CHECK("as it was", memcmp(got, data, SIZE) == 0);
    CHECK_INT("nothing", fd_write_all(-1, data, 0), 0);
    CHECK_INT("no file", fd_write_all(-1, data, 1), -EBADF);
    CHECK_END();
}

static void check_content(const char *row, const char *name, const char *expected)
{
    _cleanup_free_ char *got = NULL;

    if (CHECK_INT(row, fd_read_file(in_folder(name), 1 << 20, &got, NULL), 0))
        CHECK_TEXT(row, got, expected);
}

static void test_replace_file(void **state)
{
    struct stat st;

    (void)state;
    CHECK_INT("new", fd_replace_file(in_folder("f"), "one", 3, 0640), 0);
    check_content("new", "f", "one");
    CHECK_INT("mode", stat(in_folder("f"), &st), 0);
    CHECK_INT("mode", st.st_mode & 0777, 0640 & ~022);
    CHECK_INT("over", fd_replace_file(in_folder("f"), "three", 5, 0600), 0);
    check_content("over", "f", "three");
    CHECK_INT("empty", fd_replace_file(in_folder("f"), "", 0, 0600), 0);
    check_content("empty", "f", "");
    CHECK_INT("a leftover is no obstacle", fd_replace_file(in_folder("f.new"), "junk", 4, 0600), 0);
    CHECK_INT("a leftover is no obstacle", fd_replace_file(in_folder("f"), "x", 1, 0600), 0);
    check_content("a leftover is no obstacle", "f", "x");
    CHECK_INT("no temporary stays", count_files(), 1);

    CHECK_INT("no folder", fd_replace_file(in_folder("no/f"), "x", 1, 0600), -ENOENT);
    (void)mkdir(in_folder("d"), 0700);
    CHECK_INT("a folder of that name", fd_replace_file(in_folder("d"), "x", 1, 0600), -EISDIR);
    CHECK_INT("a folder of that name leaves nothing", count_files(), 2);
    (void)rmdir(in_folder("d"));
    CHECK_END();
}

static void test_replace_in_cwd(void **state)
{
    char long_path[5000];
    int cwd = open(".", O_RDONLY | O_DIRECTORY);

    (void)state;
    assert_int_equal(chdir(folder), 0);
    CHECK_INT("no slash", fd_replace_file("plain", "x", 1, 0600), 0);
    check_content("no slash", "plain", "x");
    assert_int_equal(fchdir(cwd), 0);
    close(cwd);
    (void)unlink(in_folder("plain"));
    memset(long_path, 'a', sizeof(long_path));
    long_path[sizeof(long_path) - 1] = '\0';
    CHECK_INT("too long", fd_replace_file(long_path, "x", 1, 0600), -ENAMETOOLONG);
    CHECK_END();
}

/* Runs as an ordinary user: root writes to read-only folders, too. */
static int replace_as_nobody(const char *path)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        if (geteuid() == 0 && (setgid(65534) < 0 || setuid(65534) < 0))
            _exit(99);
        _exit(-fd_replace_file(path, "new", 3, 0600));
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? -WEXITSTATUS(status)
                                                                           : -999;
}

static void test_replace_read_only_folder(void **state)
{
    (void)state;
    CHECK_INT("before", fd_replace_file(in_folder("f"), "old", 3, 0644), 0);
    assert_int_equal(chmod(folder, 0555), 0);
    CHECK_INT("refused", replace_as_nobody(in_folder("f")), -EACCES);
    assert_int_equal(chmod(folder, 0755), 0);
    check_content("as before", "f", "old");
    CHECK_INT("no temporary stays", count_files(), 1);
    CHECK_END();
}

/* A write that fails half way leaves the old file. */
static void test_replace_no_room(void **state)
{
    static char large[100000];
    struct rlimit limit, low = { .rlim_cur = 5000, .rlim_max = RLIM_INFINITY };

    (void)state;
    memset(large, 'x', sizeof(large));
    CHECK_INT("before", fd_replace_file(in_folder("f"), "old", 3, 0644), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    low.rlim_max = limit.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    CHECK_INT("no room", fd_replace_file(in_folder("f"), large, sizeof(large), 0600), -EFBIG);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    check_content("as before", "f", "old");
    CHECK_INT("no temporary stays", count_files(), 1);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_read_file, setup, teardown),
        cmocka_unit_test(test_write_all),
        cmocka_unit_test_setup_teardown(test_replace_file, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace_in_cwd, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace_read_only_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_replace_no_room, setup, teardown),
    };

    return RUN_TESTS(tests);
}
