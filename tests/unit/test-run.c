/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/run: who may run a program on a network. Each row has the step that decides, as numbered in
 * decide/run.h. And, of decide/app.h, what is one's own choice: it holds nobody who chooses anew.
 */

#include "unit/check.h"

#include <stdio.h>

#include "decide/app.h"
#include "decide/run.h"

enum { UID = 5 };

/* clang-format off */
#define NET(id, ...) { .netid = (id), .flags = SOCKET_NETWORK_USABLE, ##__VA_ARGS__ }
#define VPN_FLAGS    (SOCKET_NETWORK_VPN | SOCKET_NETWORK_USABLE)
#define BYPASSABLE   { .netid = 200, .flags = VPN_FLAGS | SOCKET_NETWORK_HAS_USER }
#define SECURE       { .netid = 200, .flags = VPN_FLAGS | SOCKET_NETWORK_HAS_USER | SOCKET_NETWORK_SECURE }
#define FOREIGN_VPN  { .netid = 200, .flags = VPN_FLAGS }

static const struct {
    unsigned step;
    const char *network, *holds, *strength; /* holds: the network; "none"; NULL = nothing does */
    struct socket_question q;
    enum run_access access;
} rows[] = {
    { 1, NULL, NULL, NULL, { 0 }, RUN_ALLOWED },
    { 1, NULL, "none", "require", { 0 }, RUN_ALLOWED },
    { 1, NULL, "wg0", "require", { .vpn = SECURE }, RUN_ALLOWED },
    { 2, "home", "home", "require", { .selected = NET(100) }, RUN_ALLOWED },
    { 2, "home", "home", "require", { .selected = NET(100, .permission = PERMISSION_SYSTEM) }, RUN_ALLOWED },
    { 2, "home", "home", "require", { .selected = NET(100), .vpn = SECURE }, RUN_ALLOWED },
    { 2, "home", "wg0", "require", { .selected = NET(100) }, RUN_HELD },
    { 2, "home", "wg0", "require", { .selected = NET(100), .permission = PERMISSION_SYSTEM }, RUN_HELD },
    { 2, "home", "wg0", "require", { .selected = NET(100), .protectable = 1 }, RUN_HELD },
    { 2, "home", "none", "require", { .selected = NET(100) }, RUN_HELD },
    { 2, "home", "hom", "require", { .selected = NET(100) }, RUN_HELD },
    { 3, "home", NULL, NULL, { .selected = NET(100), .vpn = SECURE }, RUN_HELD },
    { 3, "home", "home", "prefer", { .selected = NET(100), .vpn = SECURE }, RUN_HELD },
    { 3, "wg0", NULL, NULL, { .selected = SECURE, .vpn = SECURE }, RUN_ALLOWED },
    { 4, "home", "home", "prefer", { .selected = NET(100, .permission = PERMISSION_SYSTEM) }, RUN_ALLOWED },
    { 4, "wg0", "wg0", "prefer", { .selected = FOREIGN_VPN }, RUN_ALLOWED },
    { 5, "home", NULL, NULL, { .selected = NET(100) }, RUN_ALLOWED },
    { 5, "home", "other", "prefer", { .selected = NET(100) }, RUN_ALLOWED },
    { 5, "home", NULL, NULL, { .selected = NET(100), .vpn = BYPASSABLE }, RUN_ALLOWED },
    { 5, "home", NULL, NULL, { .selected = NET(100), .vpn = SECURE, .protectable = 1 }, RUN_ALLOWED },
    { 5, "home", NULL, NULL, { .selected = NET(100), .vpn = SECURE, .permission = PERMISSION_SYSTEM }, RUN_ALLOWED },
    { 5, "home", NULL, NULL, { .selected = NET(100, .permission = PERMISSION_NETWORK),
      .permission = PERMISSION_NETWORK }, RUN_ALLOWED },
    { 5, "wg0", NULL, NULL, { .selected = BYPASSABLE }, RUN_ALLOWED },
    { 6, "home", NULL, NULL, { .selected = NET(100, .permission = PERMISSION_NETWORK) }, RUN_ASK },
    { 6, "home", "other", "prefer", { .selected = NET(100, .permission = PERMISSION_SYSTEM),
      .permission = PERMISSION_NETWORK }, RUN_ASK },
    { 6, "wg0", NULL, NULL, { .selected = FOREIGN_VPN }, RUN_ASK },
};

static const struct {
    const char *name;
    uint32_t uid; /* UINT32_MAX: it says nothing of that */
} names[] = {
    { "waymark-run-0-1", 0 }, { "waymark-run-1000-0123abcd.scope", 1000 }, { "waymark-run-7-", 7 },
    { "waymark-run-4294967294-1", UINT32_MAX - 1 }, { "waymark-run-4294967295-1", UINT32_MAX },
    { "waymark-run-42949672960-1", UINT32_MAX }, { "waymark-run-7", UINT32_MAX },
    { "waymark-run--7", UINT32_MAX }, { "waymark-run-x-7", UINT32_MAX }, { "waymark-run-7x-7", UINT32_MAX },
    { "waymark-run-+7-7", UINT32_MAX }, { "waymark-run- 7-7", UINT32_MAX },
    { "a-waymark-run-7-7", UINT32_MAX }, { "Waymark-run-7-7", UINT32_MAX }, { "", UINT32_MAX },
};

/* Who is in the cgroup /a/waymark-run-5-1/b, where uid 5 has another assignment. */
static const struct {
    const char *selector;
    enum origin origin;
    bool chooses;
    enum app_step step;
} choices[] = {
    { "cgroup:/a/waymark-run-5-1", ORIGIN_RUN, false, APP_RUN },
    { "cgroup:/a/waymark-run-5-1", ORIGIN_RUN, true, APP_UID },
    { "cgroup:/a/waymark-run-5-1", ORIGIN_COMMAND, true, APP_RUN },
    { "cgroup:/a/waymark-run-6-1", ORIGIN_RUN, true, APP_UID },
    { "cgroup:/a", ORIGIN_COMMAND, true, APP_CGROUP },
};
/* clang-format on */

static void test_access(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        bool none = rows[i].holds && streq(rows[i].holds, "none");
        struct assignment a = { .network =
                                    rows[i].holds && !none ? rstr_new(rows[i].holds) : NULL };
        struct run_question q = {
            .network = rows[i].network,
            .holds = rows[i].holds ? &a : NULL,
            .socket = rows[i].q,
        };
        char row[80];

        if (rows[i].strength)
            a.strength = (enum strength)strength_from_string(rows[i].strength);
        (void)snprintf(row, sizeof(row), "row %zu, step %u", i, rows[i].step);
        q.socket.uid = UID;
        CHECK_INT(row, run_decide(&q), rows[i].access);
        assignment_done(&a);
    }
    CHECK_END();
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        uint32_t uid = UINT32_MAX;

        CHECK_INT(names[i].name, app_run_uid(names[i].name, &uid), names[i].uid != UINT32_MAX);
        CHECK_INT(names[i].name, uid, names[i].uid);
    }
    CHECK_END();
}

static void put(struct assignments *all, const char *selector, enum origin origin)
{
    struct assignment a = { .origin = origin };

    assert_int_equal(selector_parse(selector, &a.selector, NULL), 0);
    assert_int_equal(assignments_put(all, &a), 0);
}

static void test_own_choice(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(choices); i++) {
        _cleanup_(assignments_unrefp) struct assignments *all = assignments_new();
        const struct app app = { .uid = UID,
                                 .cgroup = "/a/waymark-run-5-1/b",
                                 .chooses = choices[i].chooses };
        struct app_verdict v = { 0 };

        assert_non_null(all);
        put(all, "uid:5", ORIGIN_COMMAND);
        put(all, choices[i].selector, choices[i].origin);
        CHECK_INT(choices[i].selector, app_decide(all, NULL, 0, &app, &v), 0);
        CHECK_TEXT(choices[i].selector, app_step_to_string(v.step),
                   app_step_to_string(choices[i].step));
    }
    CHECK_END();
}

/* What somebody else ran, root for instance, holds as any other assignment does. */
static void test_choice_of_another(void **state)
{
    _cleanup_(assignments_unrefp) struct assignments *all = assignments_new();
    const struct app app = { .uid = UID,
                             .cgroup = "/waymark-run-0-1/waymark-run-5-1",
                             .chooses = true };
    struct app_verdict v = { 0 };

    (void)state;
    assert_non_null(all);
    put(all, "cgroup:/waymark-run-0-1", ORIGIN_RUN);
    put(all, "cgroup:/waymark-run-0-1/waymark-run-5-1", ORIGIN_RUN);
    CHECK_INT("nested", app_decide(all, NULL, 0, &app, &v), 0);
    CHECK_INT("nested", v.step, APP_RUN);
    CHECK_TEXT("nested", v.assignment ? rstr_text(v.assignment->selector.text) : "",
               "/waymark-run-0-1");
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_access),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_own_choice),
        cmocka_unit_test(test_choice_of_another),
    };

    return RUN_TESTS(tests);
}
