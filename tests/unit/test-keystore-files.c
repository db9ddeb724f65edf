/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/keystore/store: files that are not what was written. Each is answered by itself, and stops no other;
 * a disk that is full, and a reset that was cut off.
 */

#include "unit/check.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "unit/keystore-scene.h"

enum { FILE_SIZE_MAX = 4096 };

#define A "values/1_61" /* of uid 1, "a" */
#define B "values/1_62"
#define C "values/2_61"

static const char *path(const struct keystore_scene *s, const char *name)
{
    static char text[256];

    snprintf(text, sizeof(text), "%s/%s", s->folder, name);
    return text;
}

static void read_file(const struct keystore_scene *s, const char *name, char **ret, size_t *size)
{
    assert_int_equal(fd_read_file(path(s, name), FILE_SIZE_MAX, ret, size), 0);
}

static void write_file(const struct keystore_scene *s, const char *name, const void *data,
                       size_t size)
{
    _cleanup_fd_ int fd = open(path(s, name), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, data, size), 0);
}

static void move(const struct keystore_scene *s, const char *from, const char *to)
{
    _cleanup_free_ char *old = strdup(path(s, from));

    assert_int_equal(rename(old, path(s, to)), 0);
}

static bool is_there(const struct keystore_scene *s, const char *name)
{
    struct stat st;

    return lstat(path(s, name), &st) == 0;
}

static void begin(struct keystore_scene *s)
{
    keystore_scene_init(s);
    keystore_scene_run(s, "begin", "p - pw\ni 1 a one\ni 1 b two\ni 2 a three\nx 1 a 9\n");
}

static void test_cut_value(void **state)
{
    _cleanup_free_ char *file = NULL;
    struct keystore_scene s;
    size_t size;

    (void)state;
    begin(&s);
    read_file(&s, A, &file, &size);
    for (size_t i = 0; i < size; i++) {
        write_file(&s, A, file, i);
        keystore_scene_run(&s, "cut off", "g 1 a -> 8\ng 1 b -> 1 two\n");
        file[i] ^= 1;
        write_file(&s, A, file, size);
        keystore_scene_run(&s, "a bit", "g 1 a -> 8\n");
        file[i] ^= 1;
    }
    write_file(&s, A, file, 0);
    keystore_scene_run(&s, "at the start",
                       "restart\nu pw\ne 1 a -> 1\ng 1 a -> 8\ng 1 b -> 1 two\ns 1 - -> a,b\n");
    write_file(&s, A, file, size);
    keystore_scene_run(&s, "whole again", "g 1 a -> 1 one\n");
    write_file(&s, A, file, 3);
    keystore_scene_run(&s, "written over", "i 1 a new -> 1\ng 1 a -> 1 new\n");
    write_file(&s, A, file, 3);
    keystore_scene_run(&s, "deleted", "d 1 a -> 1\ng 1 a -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* What was sealed for another owner, another key, or by another master key. */
static void test_swapped(void **state)
{
    struct keystore_scene s;

    (void)state;
    begin(&s);
    move(&s, A, "values/x");
    move(&s, B, A);
    move(&s, "values/x", B);
    keystore_scene_run(&s, "keys", "g 1 a -> 8\ng 1 b -> 8\ng 2 a -> 1 three\n");
    move(&s, C, A);
    keystore_scene_run(&s, "owners", "g 1 a -> 8\ng 2 a -> 7\n");
    move(&s, A, "values/3_61");
    keystore_scene_run(&s, "an owner of his own",
                       "g 3 a -> 7\nrestart\nu pw\ng 3 a -> 8\ne 3 a -> 1\ng 1 a -> 7\n");
    move(&s, "values/3_61", C);
    move(&s, B, A);
    keystore_scene_run(&s, "back", "restart\nu pw\ng 1 a -> 1 one\ng 2 a -> 1 three\n");
    assert_int_equal(unlink(path(&s, "masterkey")), 0);
    keystore_scene_run(&s, "another master key",
                       "restart\nt -> 3\ne 1 a -> 1\np - pw -> 1\ng 1 a -> 8\ng 2 a -> 8\n"
                       "i 1 a new -> 1\ng 1 a -> 1 new\nd 2 a -> 1\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* Under names that are ours, but no files; and under others. */
static void test_foreign(void **state)
{
    static const char *const others[] = { "values/README", "values/01_61", "values/1_6A",
                                          "grants/README", "lost+found" };
    struct keystore_scene s;

    (void)state;
    begin(&s);
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        write_file(&s, others[i], "text\n", 5);
    assert_int_equal(mkdir(path(&s, "values/5_61"), 0700), 0);
    assert_int_equal(symlink("1_61", path(&s, "values/5_62")), 0);
    assert_int_equal(mkfifo(path(&s, "values/5_63"), 0600), 0);
    assert_int_equal(symlink("/dev/zero", path(&s, "values/5_64")), 0);
    write_file(&s, "values/5_65", "text", 4);
    keystore_scene_run(
        &s, "foreign",
        "restart\nu pw -> 1\ng 1 a -> 1 one\ng 5 a -> 7\ng 5 b -> 8\ng 5 c -> 8\ng 5 d -> 8\n"
        "g 5 e -> 8\ns 5 - -> b,c,d,e\ni 5 b x -> 1\ng 5 b -> 1 x\ng 1 a -> 1 one\ni 5 a x -> 4\n"
        "d 5 c -> 1\nd 5 a -> 1\n");
    keystore_scene_run(&s, "reset", "r -> 1\nrestart\nz -> 7\n");
    for (size_t i = 0; i < ELEMENTSOF(others); i++)
        CHECK(others[i], is_there(&s, others[i]));
    CHECK("a folder", is_there(&s, "values/5_61"));
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_grants(void **state)
{
    struct keystore_scene s;

    (void)state;
    begin(&s);
    write_file(&s, "grants/1_61", "9\n1", 3);
    write_file(&s, "grants/1_62", "9\n", 2);
    write_file(&s, "grants/7_61", "9\n", 2);
    keystore_scene_run(&s, "damaged",
                       "restart\nf 9 a -> 7\nf 9 b -> 1 b\nx 1 a 9 -> 1\nf 9 a -> 1 a\n");
    CHECK("of no value", !is_there(&s, "grants/7_61"));
    write_file(&s, "grants/7_61", "9\n", 2); /* could not be removed with its value */
    keystore_scene_run(&s, "a new one",
                       "u pw\ni 7 a x -> 1\nf 9 7_a -> 7\nrestart\nf 9 7_a -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_temporary(void **state)
{
    static const char *const names[] = { ".new", "values/.new", "grants/.new" };
    struct keystore_scene s;

    (void)state;
    begin(&s);
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        write_file(&s, names[i], "half a fi", 9);
    keystore_scene_run(&s, "in the way", "i 1 a new -> 1\nx 1 a 8 -> 1\np pw two -> 1\n");
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        write_file(&s, names[i], "half a fi", 9);
    keystore_scene_run(&s, "cleared", "restart\nu two -> 1\ng 1 a -> 1 new\nf 8 a -> 1 a\n");
    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        CHECK(names[i], !is_there(&s, names[i]));
    keystore_scene_done(&s);
    CHECK_END();
}

/* It is no wrong password where the file is the one that is wrong. */
static void test_cut_master(void **state)
{
    _cleanup_free_ char *file = NULL;
    struct keystore_scene s;
    size_t size;

    (void)state;
    begin(&s);
    read_file(&s, "masterkey", &file, &size);
    for (size_t i = 0; i < size; i++) {
        write_file(&s, "masterkey", file, i);
        keystore_scene_run(&s, "cut off",
                           "restart\nt -> 2\nu pw -> 8\np pw x -> 8\nn -> 4\nl -> 2\n");
        file[i] ^= 1;
        write_file(&s, "masterkey", file, size);
        keystore_scene_run(&s, "a bit", "restart\nt -> 2\nu pw -> 8\nn -> 4\n");
        file[i] ^= 1;
    }
    write_file(&s, "masterkey", file, size);
    keystore_scene_run(&s, "whole again", "restart\nu pw -> 1\ng 1 a -> 1 one\n");
    write_file(&s, "masterkey", file, 10);
    keystore_scene_run(&s, "reset", "restart\nr -> 1\nt -> 3\nz -> 7\np - x -> 1\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_damaged_master_and_key_file(void **state)
{
    struct keystore_scene s;

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_run(&s, "begin", "key-file 0123456789abcdef\nrestart\ni 1 a x -> 1\n");
    write_file(&s, "masterkey", "WMKEYS1\n", 8);
    keystore_scene_run(&s, "damaged", "restart\nt -> 2\nu pw -> 8\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void test_tries_file(void **state)
{
    static const struct {
        const char *text;
        unsigned left;
    } rows[] = {
        { "wrong passwords: 2\n", 2 },
        { "wrong passwords: 4\n", 0 },
        { "wrong passwords: 5\n", 4 },
        { "wrong passwords: 2", 4 },
        { "", 4 },
    };
    struct keystore_scene s;

    (void)state;
    begin(&s);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        write_file(&s, "tries", rows[i].text, strlen(rows[i].text));
        keystore_scene_restart(&s);
        CHECK_INT(rows[i].text, store_tries(s.store), rows[i].left);
        keystore_scene_run(&s, rows[i].text,
                           "u pw -> 1\nn -> 4\nl\nu wrong -> 13\nrestart\nn -> 3\nu pw -> 1\n");
    }
    assert_int_equal(unlink(path(&s, "tries")), 0);
    keystore_scene_run(&s, "removed", "l\nu wrong -> 13\nrestart\nn -> 3\n");
    assert_int_equal(unlink(path(&s, "tries")), 0);
    keystore_scene_run(&s, "and at the start", "restart\nn -> 4\nu wrong -> 13\nrestart\nn -> 3\n");
    /* where it cannot be counted, nothing is looked at */
    assert_int_equal(unlink(path(&s, "tries")), 0);
    assert_int_equal(mkdir(path(&s, "tries"), 0700), 0);
    keystore_scene_run(&s, "a folder", "restart\nu pw -> 4\nu wrong -> 4\nn -> 4\n");
    assert_int_equal(rmdir(path(&s, "tries")), 0);
    keystore_scene_run(&s, "and none", "u pw -> 1\n");
    keystore_scene_done(&s);
    CHECK_END();
}

/* Stages of a reset, as they are on disk when it is cut off behind each step. */
static void test_reset_resumed(void **state)
{
    static const char *const removed[] = { "values/1_61", "values/1_62", "values/2_61",
                                           "grants/1_61", "tries" };
    struct keystore_scene s;

    (void)state;
    for (size_t stage = 0; stage <= ELEMENTSOF(removed); stage++) {
        begin(&s);
        keystore_scene_run(&s, "tries", "p wrong x -> 13\n");
        keystore_scene_close(&s);
        move(&s, "masterkey", "resetting");
        for (size_t i = 0; i < stage; i++)
            assert_int_equal(unlink(path(&s, removed[i])), 0);
        assert_int_equal(keystore_scene_open(&s, NULL), 0);
        keystore_scene_run(
            &s, "resumed",
            "t -> 3\nz -> 7\nn -> 4\nf 9 a -> 7\np - x -> 1\nrestart\nt -> 2\nu x -> 1\n");
        CHECK("done", !is_there(&s, "resetting"));
        keystore_scene_done(&s);
    }
    CHECK_END();
}

static void write_proc(const char *name, const char *text)
{
    _cleanup_fd_ int fd = open(name, O_WRONLY | O_CLOEXEC);

    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Mounts are our own then; without root, in a user namespace. */
static void own_mounts(void)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    char text[32];

    assert_int_equal(unshare(CLONE_NEWNS | (uid == 0 ? 0 : CLONE_NEWUSER)), 0);
    if (uid != 0) {
        write_proc("/proc/self/setgroups", "deny");
        snprintf(text, sizeof(text), "0 %u 1", gid);
        write_proc("/proc/self/gid_map", text);
        snprintf(text, sizeof(text), "0 %u 1", uid);
        write_proc("/proc/self/uid_map", text);
    }
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
}

static void mount_small_disk(const char *folder)
{
    own_mounts();
    assert_int_equal(mount("none", folder, "tmpfs", 0, "size=128k"), 0);
}

/* A value that cannot be removed, for a while. */
static void obstruct(const struct keystore_scene *s)
{
    write_file(s, A, "text", 4);
    assert_int_equal(mount(path(s, A), path(s, A), NULL, MS_BIND, NULL), 0);
}

static void make_way(const struct keystore_scene *s)
{
    assert_int_equal(umount2(path(s, A), 0), 0);
}

/* It cannot be finished for now: the store is gone all the same, and a new one is not mixed up with it. */
static void test_reset_stuck(void **state)
{
    struct keystore_scene s;
    struct why why = { 0 };

    (void)state;
    own_mounts();
    begin(&s);
    obstruct(&s);
    keystore_scene_run(&s, "stuck", "r -> 4\nt -> 3\nz -> 7\ne 1 b -> 7\np - x -> 4\nt -> 3\n");
    CHECK("still", is_there(&s, "resetting") && !is_there(&s, "masterkey"));
    keystore_scene_close(&s);
    CHECK("not at the start", keystore_scene_open(&s, &why) < 0);
    CHECK_CONTAINS("not at the start", why.text, "cannot finish the reset");
    make_way(&s);
    assert_int_equal(keystore_scene_open(&s, &why), 0);
    keystore_scene_run(&s, "free", "t -> 3\nz -> 7\np - x -> 1\nrestart\nt -> 2\n");

    keystore_scene_run(&s, "again", "u x\ni 1 b x\n");
    obstruct(&s);
    keystore_scene_run(&s, "again", "r -> 4\np - x -> 4\n");
    make_way(&s);
    keystore_scene_run(&s, "by a password",
                       "p - y -> 1\ni 1 c x -> 1\nrestart\nu y -> 1\ng 1 c -> 1 x\ne 1 b -> 7\n");
    keystore_scene_done(&s);
    CHECK_END();
}

static void fill(const struct keystore_scene *s, off_t *size)
{
    static const char zero[4096];
    _cleanup_fd_ int fd = open(path(s, "ballast"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);

    while (write(fd, zero, sizeof(zero)) > 0)
        *size += sizeof(zero);
    assert_int_equal(errno, ENOSPC);
}

/* What is there stays, tries are counted, and what makes room is done. */
static void test_full_disk(void **state)
{
    struct keystore_scene s;
    off_t size = 0;

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_close(&s);
    mount_small_disk(s.folder);
    assert_int_equal(keystore_scene_open(&s, NULL), 0);
    keystore_scene_run(&s, "begin", "p - pw\ni 1 a one\ni 1 b two\nx 1 b 9\n");
    fill(&s, &size);
    assert_true(size > 0);
    keystore_scene_run(
        &s, "full",
        "i 1 a new -> 4\ng 1 a -> 1 one\ni 1 c new -> 4\ne 1 c -> 7\ns 1 - -> a,b\nx 1 a 9 -> 4\n"
        "f 9 a -> 7\np wrong two -> 13\np pw two -> 4\nl\nu two -> 13\nrestart\nn -> 3\nu x -> 12\n"
        "u pw -> 1\ng 1 a -> 1 one\nf 9 b -> 1 b\n");
    CHECK("no remains",
          !is_there(&s, ".new") && !is_there(&s, "values/.new") && !is_there(&s, "grants/.new"));
    keystore_scene_run(&s, "room", "d 1 b -> 1\nf 9 b -> 7\ni 1 a new -> 1\ng 1 a -> 1 new\n");
    fill(&s, &size);
    keystore_scene_run(&s, "reset", "r -> 1\nrestart\nt -> 3\nz -> 7\np - pw\ni 1 a one\n");
    fill(&s, &size);
    keystore_scene_run(&s, "wiped",
                       "p a x\np a x\np a x\np a x -> 10\np a x -> 3\nt -> 3\nz -> 7\n");
    keystore_scene_close(&s);
    assert_int_equal(umount2(s.folder, MNT_DETACH), 0);
    keystore_scene_done(&s);
    CHECK_END();
}

/* What is read only is read; a disk that cannot be written at the start says so. */
static void test_read_only(void **state)
{
    struct keystore_scene s;
    struct why why = { 0 };

    (void)state;
    keystore_scene_init(&s);
    keystore_scene_close(&s);
    mount_small_disk(s.folder);
    assert_int_equal(keystore_scene_open(&s, NULL), 0);
    keystore_scene_run(&s, "begin", "p - pw\ni 1 a one\n");
    assert_int_equal(mount("none", s.folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    keystore_scene_run(
        &s, "read only",
        "g 1 a -> 1 one\ni 1 a two -> 4\nd 1 a -> 4\ng 1 a -> 1 one\nr -> 4\nt -> 1\n"
        "p wrong x -> 4\np pw two -> 4\nn -> 4\nl\nu pw -> 4\n");

    /* where the wipe would fail no password is looked at: as many could be tried as one likes */
    assert_int_equal(mount("none", s.folder, NULL, MS_REMOUNT, NULL), 0);
    keystore_scene_run(&s, "read only", "u a\nu b\nu c\nu d -> 10\n");
    assert_int_equal(mount("none", s.folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);
    keystore_scene_run(&s, "read only", "u e -> 4\nu pw -> 4\nt -> 2\nn -> 0\n");
    assert_int_equal(mount("none", s.folder, NULL, MS_REMOUNT, NULL), 0);
    keystore_scene_run(&s, "writable", "u pw -> 1\nn -> 4\ng 1 a -> 1 one\n");
    assert_int_equal(mount("none", s.folder, NULL, MS_REMOUNT | MS_RDONLY, NULL), 0);

    keystore_scene_close(&s);
    CHECK_INT("at the start", keystore_scene_open(&s, &why), -EROFS);
    CHECK_CONTAINS("at the start", why.text, "cannot open the state folder");
    assert_int_equal(umount2(s.folder, MNT_DETACH), 0);
    keystore_scene_done(&s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cut_value),
        cmocka_unit_test(test_swapped),
        cmocka_unit_test(test_foreign),
        cmocka_unit_test(test_grants),
        cmocka_unit_test(test_temporary),
        cmocka_unit_test(test_cut_master),
        cmocka_unit_test(test_damaged_master_and_key_file),
        cmocka_unit_test(test_tries_file),
        cmocka_unit_test(test_reset_resumed),
        cmocka_unit_test(test_reset_stuck),
        cmocka_unit_test(test_full_disk),
        cmocka_unit_test(test_read_only),
    };

    return RUN_TESTS(tests);
}
