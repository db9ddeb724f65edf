/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/observe/users: names to uids, by the machine's own user database. */

#include "unit/check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "observe/users.h"

#define NOBODY "no-such-name-here"

static void test_uid_of_name(void **state)
{
    static const struct {
        const char *name;
        int error;
        uint32_t uid;
        const char *why;
    } rows[] = {
        { "root", 0, 0, "" },
        { "0", 0, 0, "" },
        { "4242", 0, 4242, "" }, /* a number needs no account */
        { "4294967294", 0, UID_MAX, "" },
        { "4294967295", -ENOENT, 77, "there is no user '4294967295'" },
        { "5-9", -ENOENT, 77, "there is no user '5-9'" },
        { "-1", -ENOENT, 77, "there is no user '-1'" },
        { "", -ENOENT, 77, "there is no user ''" },
        { NOBODY, -ENOENT, 77, "see `getent passwd`" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct why why = { 0 };
        uint32_t uid = 77;

        CHECK_INT(rows[i].name, users_uid_of_name(rows[i].name, &uid, &why), rows[i].error);
        CHECK_INT(rows[i].name, uid, rows[i].uid);
        CHECK_INT(rows[i].name, why.error, rows[i].error);
        CHECK_CONTAINS(rows[i].name, why.text, rows[i].why);
    }
    CHECK_END();
}

/* The uids that a selector means, or the error. */
static int resolve(const char *text, struct uid_set **ret, struct why *why)
{
    struct selector selector = { 0 };
    int r;

    assert_int_equal(selector_parse(text, &selector, NULL), 0);
    r = users_resolve(&selector, ret, why);
    selector_done(&selector);
    return r;
}

static bool has(const struct uid_set *set, uint32_t uid)
{
    for (size_t i = 0; i < set->n; i++)
        if (uid_range_contains(&set->ranges[i], uid))
            return true;
    return false;
}

static void test_resolve(void **state)
{
    struct why why = { 0 };
    struct uid_set *set = NULL;

    (void)state;
    if (CHECK_INT("user", resolve("user:root", &set, &why), 0)) {
        CHECK("user", set->n == 1 && set->ranges[0].lo == 0 && set->ranges[0].hi == 0);
        uid_set_unref(set);
    }
    if (CHECK_INT("primary group", resolve("group:root", &set, &why), 0)) {
        CHECK("primary group", has(set, 0));
        uid_set_unref(set);
    }
    CHECK_INT("no user", resolve("user:" NOBODY, &set, &why), -ENOENT);
    CHECK_CONTAINS("no user", why.text, "there is no user '" NOBODY "': see `getent passwd`");
    CHECK_INT("no group", resolve("group:" NOBODY, &set, &why), -ENOENT);
    CHECK_CONTAINS("no group", why.text, "there is no group '" NOBODY "': see `getent group`");
    CHECK_END();
}

/* Every group of the machine, counted once more by hand. */
static void test_all_groups(void **state)
{
    const struct group *gr;
    unsigned members = 0;

    (void)state;
    setgrent();
    while ((gr = getgrent())) {
        _cleanup_free_ char *name = strdup(gr->gr_name), *text = NULL;
        gid_t gid = gr->gr_gid;
        struct uid_set *set = NULL;
        const struct passwd *pw;

        assert_true(asprintf(&text, "group:%s", name) > 0);
        if (!CHECK_INT(text, resolve(text, &set, NULL), 0))
            continue;
        setpwent();
        while ((pw = getpwent())) {
            bool in = has(set, pw->pw_uid);

            members += in;
            CHECK_INT(text, in, users_in_group(pw->pw_uid, name));
            CHECK(text, in || pw->pw_gid != gid);
        }
        endpwent();
        uid_set_unref(set);
    }
    endgrent();
    CHECK("somebody is in some group", members > 0);
    CHECK_END();
}

static void test_in_group(void **state)
{
    uint32_t gid = 77;

    (void)state;
    CHECK("root", users_in_group(0, "root"));
    CHECK("no group", !users_in_group(0, NOBODY));
    CHECK("no user", !users_in_group(UID_MAX, "root"));
    CHECK_INT("group", users_gid_of_group("root", &gid), 0);
    CHECK_INT("group", gid, 0);
    CHECK_INT("no group", users_gid_of_group(NOBODY, &gid), -ENOENT);
    CHECK_INT("no group", gid, 0);
    CHECK_END();
}

static void test_uid_of_pid(void **state)
{
    struct why why = { 0 };
    uint32_t uid = 77;
    pid_t child = fork();

    (void)state;
    if (child == 0)
        _exit(0);
    CHECK_INT("ourselves", users_uid_of_pid((uint32_t)getpid(), &uid, &why), 0);
    CHECK_INT("ourselves", uid, geteuid());
    CHECK_INT("init", users_uid_of_pid(1, &uid, &why), 0);
    CHECK_INT("waited for", waitpid(child, NULL, 0), child);
    uid = 77;
    CHECK_INT("gone", users_uid_of_pid((uint32_t)child, &uid, &why), -ESRCH);
    CHECK_CONTAINS("gone", why.text, "there is no process");
    CHECK_INT("none", users_uid_of_pid(UINT32_MAX, &uid, &why), -ESRCH);
    CHECK_INT("none", users_uid_of_pid(0, &uid, &why), -ESRCH);
    CHECK_INT("untouched", uid, 77);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_uid_of_name), cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_all_groups),  cmocka_unit_test(test_in_group),
        cmocka_unit_test(test_uid_of_pid),
    };

    return RUN_TESTS(tests);
}
