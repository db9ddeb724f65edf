/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/socket-facts: the questions that decide/socket.h is asked (android.md §1.6), row by row;
 * whose an assignment is, against precedence_decide() for many random ones.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "decide/precedence.h"
#include "plan/socket-facts.h"
#include "property/random.h"
#include "unit/scene.h"

#define VPN         SOCKET_NETWORK_VPN
#define SECURE      SOCKET_NETWORK_SECURE
#define UNREACHABLE SOCKET_NETWORK_UNREACHABLE
#define USABLE      SOCKET_NETWORK_USABLE
#define HAS_USER    SOCKET_NETWORK_HAS_USER

/* Networks of every kind; eth3 carries nothing yet. */
static const char networks[] =
    "host-networks no\n"
    "network home netid 100 interface eth0\n"
    "network office netid 101 permission network interface eth1\n"
    "network down netid 102 permission system\n"
    "network dead netid 52 type unreachable\n"
    "network secure netid 200 type vpn secure interface eth2\n"
    "network bypass netid 201 type vpn bypassable\n"
    "network late netid 202 type vpn secure\n"
    "users secure 20000-20009 20020-20029\nusers bypass 20005-20015 20030 30000-30009\n"
    "users late 20030-20039 30000\n";

static void init(struct scene *s, struct socket_facts *f, const char *more)
{
    scene_machine(s);
    scene_run(s, networks);
    scene_run(s, more);
    *f = (struct socket_facts){ 0 };
    assert_int_equal(socket_facts_update(f, s->m, &s->k), 0);
}

static struct socket_question ask(const struct socket_facts *f, struct socket_asked asked)
{
    struct socket_question q;

    socket_facts_ask(f, &asked, &q);
    return q;
}

static const struct assignment *assignments_get(const struct assignments *all, const char *text)
{
    struct selector selector = { 0 };
    ssize_t i;

    assert_int_equal(selector_parse(text, &selector, NULL), 0);
    i = assignments_find(all, &selector);
    selector_done(&selector);
    return i < 0 ? NULL : &all->items[i];
}

static void test_permissions(void **state)
{
    static const struct {
        const char *name;
        uint32_t uid;
        enum permission android, host;
        bool protectable;
    } rows[] = {
        { "root", 0, PERMISSION_SYSTEM, PERMISSION_SYSTEM, false },
        { "below the apps", 1, PERMISSION_SYSTEM, PERMISSION_NONE, false },
        { "last below the apps", 9999, PERMISSION_SYSTEM, PERMISSION_NONE, false },
        { "first app", 10000, PERMISSION_NONE, PERMISSION_NONE, false },
        { "granted", 10001, PERMISSION_NETWORK, PERMISSION_NETWORK, false },
        { "granted more", 10002, PERMISSION_SYSTEM, PERMISSION_SYSTEM, true },
        { "taken from a system uid", 1000, PERMISSION_NONE, PERMISSION_NONE, false },
        { "may protect", 10003, PERMISSION_NONE, PERMISSION_NONE, true },
        { "next to it", 10004, PERMISSION_NONE, PERMISSION_NONE, false },
        { "second user of the device", 110000, PERMISSION_NONE, PERMISSION_NONE, false },
        { "invalid", UID_INVALID, PERMISSION_NONE, PERMISSION_NONE, false },
    };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;

    (void)state;
    init(&s, &f,
         "permission 10001 network\npermission 10002 system\npermission 1000 none\n"
         "protect 10003 yes\nprotect 10002 yes\n");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        for (int host = 0; host <= 1; host++) {
            struct socket_question q;

            s.m->host_networks = host != 0;
            q = ask(&f, (struct socket_asked){ .uid = rows[i].uid });
            CHECK_INT(rows[i].name, q.permission, host ? rows[i].host : rows[i].android);
            CHECK_INT(rows[i].name, q.protectable, rows[i].protectable);
            CHECK_INT(rows[i].name, socket_facts_permission(&f, rows[i].uid), q.permission);
        }
    CHECK_END();
}

static const char assignments[] =
    "assign uid:10010 home\nassign uid:10011 home prefer\n"
    "assign uid:10012 none\nassign uid:10013 down\n"
    "assign uid:10014 down prefer\n"
    "network gone\nassign uid:10015 gone\nassign uid:10016 gone prefer\n"
    "remove gone\n"
    "assign uid:10017 secure\nassign uid:10018 dead prefer\n"
    "assign uid:10020-10029 office\nassign uid:10025 home\n"
    "assign user:a home prefer uids 10026 10040\n"
    "assign uid:20000 home prefer\n"
    "assign uid:30001 secure prefer\nassign uid:30002 bypass prefer\n";

static const struct {
    const char *name;
    uint32_t uid;
    enum socket_strength strength;
    uint32_t netid, flags, permission; /* of the assigned network */
    uint32_t vpn, user_netid;
} assigned_rows[] = {
    { "nothing", 10000, SOCKET_UNASSIGNED, 0, 0, 0, 0, 100 },
    { "require", 10010, SOCKET_REQUIRE, 100, USABLE | HAS_USER, 0, 0, 100 },
    { "prefer", 10011, SOCKET_PREFER, 100, USABLE | HAS_USER, 0, 0, 100 },
    { "none", 10012, SOCKET_NONE, 0, 0, 0, 0, 52 },
    { "require what is down", 10013, SOCKET_REQUIRE, 102, HAS_USER, 3, 0, 102 },
    { "prefer what is down", 10014, SOCKET_PREFER, 102, HAS_USER, 3, 0, 100 },
    { "require what is gone", 10015, SOCKET_REQUIRE, 0, 0, 0, 0, 52 },
    { "prefer what is gone", 10016, SOCKET_PREFER, 0, 0, 0, 0, 100 },
    { "require a VPN", 10017, SOCKET_REQUIRE, 200, VPN | SECURE | USABLE | HAS_USER, 0, 0, 200 },
    { "prefer 52", 10018, SOCKET_PREFER, 52, UNREACHABLE | USABLE | HAS_USER, 0, 0, 52 },
    { "a range", 10020, SOCKET_REQUIRE, 101, USABLE | HAS_USER, 1, 0, 101 },
    { "one of it", 10025, SOCKET_REQUIRE, 100, USABLE | HAS_USER, 0, 0, 100 },
    { "a user of it", 10026, SOCKET_PREFER, 100, USABLE | HAS_USER, 0, 0, 100 },
    { "the end of it", 10029, SOCKET_REQUIRE, 101, USABLE | HAS_USER, 1, 0, 101 },
    { "beyond it", 10030, SOCKET_UNASSIGNED, 0, 0, 0, 0, 100 },
    { "the user's other uid", 10040, SOCKET_PREFER, 100, USABLE | HAS_USER, 0, 0, 100 },
    { "a VPN before a preference", 20000, SOCKET_PREFER, 100, USABLE | HAS_USER, 0, 200, 200 },
    { "lowest VPN", 20005, SOCKET_UNASSIGNED, 0, 0, 0, 200, 200 },
    { "second VPN", 20010, SOCKET_UNASSIGNED, 0, 0, 0, 201, 201 },
    { "between two", 20016, SOCKET_UNASSIGNED, 0, 0, 0, 0, 100 },
    { "second range", 20029, SOCKET_UNASSIGNED, 0, 0, 0, 200, 200 },
    { "bypassable before secure", 20030, SOCKET_UNASSIGNED, 0, 0, 0, 201, 201 },
    { "a VPN that is down", 20031, SOCKET_UNASSIGNED, 0, 0, 0, 202, 202 },
    { "another VPN preferred", 30001, SOCKET_PREFER, 200, VPN | SECURE | USABLE | HAS_USER, 0, 0,
      200 },
    { "a VPN that is down preferred", 30002, SOCKET_PREFER, 201, VPN | HAS_USER, 0, 201, 201 },
    { "invalid", UID_INVALID, SOCKET_UNASSIGNED, 0, 0, 0, 0, 100 },
};

static void test_assigned(void **state)
{
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;

    (void)state;
    init(&s, &f, assignments);
    scene_run(&s, "default home\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    for (size_t i = 0; i < ELEMENTSOF(assigned_rows); i++) {
        struct socket_question q =
            ask(&f, (struct socket_asked){
                        .command = SOCKET_CONNECT, .uid = assigned_rows[i].uid, .user = 20000 });

        CHECK_INT(assigned_rows[i].name, q.strength, assigned_rows[i].strength);
        CHECK_INT(assigned_rows[i].name, q.assigned.netid, assigned_rows[i].netid);
        CHECK_INT(assigned_rows[i].name, q.assigned.flags, assigned_rows[i].flags);
        CHECK_INT(assigned_rows[i].name, q.assigned.permission, assigned_rows[i].permission);
        CHECK_INT(assigned_rows[i].name, q.vpn.netid, assigned_rows[i].vpn);
        CHECK_INT(assigned_rows[i].name, q.default_netid, 100);
        CHECK_INT(assigned_rows[i].name, q.user_netid, 0);
        q = ask(&f, (struct socket_asked){ .command = SOCKET_SELECT_FOR_USER,
                                           .user = assigned_rows[i].uid });
        CHECK_INT(assigned_rows[i].name, q.user_netid, assigned_rows[i].user_netid);
    }
    CHECK_END();
}

static void test_networks(void **state)
{
    static const struct {
        uint32_t netid, uid, found, flags, permission;
    } rows[] = {
        { 0, 10000, 0, 0, 0 },
        { 1, 10000, 0, 0, 0 },
        { 52, 10000, 52, UNREACHABLE | USABLE, 0 },
        { 52, 10018, 52, UNREACHABLE | USABLE | HAS_USER, 0 },
        { 100, 10000, 100, USABLE, 0 },
        { 100, 10011, 100, USABLE | HAS_USER, 0 },
        { 101, 10000, 101, USABLE, PERMISSION_NETWORK },
        { 102, 10000, 102, 0, PERMISSION_SYSTEM },
        { 102, 10014, 102, HAS_USER, PERMISSION_SYSTEM },
        { 200, 10000, 200, VPN | SECURE | USABLE, 0 },
        { 200, 20029, 200, VPN | SECURE | USABLE | HAS_USER, 0 },
        { 201, 20005, 201, VPN | HAS_USER, 0 }, /* not the VPN that captures it, and yet */
        { 202, 20040, 202, VPN | SECURE, 0 },
        { 203, 10000, 0, 0, 0 },
        { UINT32_MAX, 10000, 0, 0, 0 },
    };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;
    char row[64];

    (void)state;
    init(&s, &f, assignments);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        uint32_t mark = (rows[i].netid & MARK_NETID_MASK) | MARK_EXPLICIT | 0xabe00000;
        struct socket_question q = ask(&f, (struct socket_asked){
                                               .command = SOCKET_SELECT,
                                               .uid = rows[i].uid,
                                               .mark = mark,
                                               .netid = rows[i].netid,
                                           });

        snprintf(row, sizeof(row), "network %u, uid %u", rows[i].netid, rows[i].uid);
        CHECK_INT(row, q.select_netid, rows[i].netid);
        CHECK_INT(row, q.mark, mark);
        CHECK_INT(row, q.selected.netid, rows[i].found);
        CHECK_INT(row, q.selected.flags, rows[i].flags);
        CHECK_INT(row, q.selected.permission, rows[i].permission);
        CHECK(row, memcmp(&q.present, &q.selected, sizeof(q.present)) == 0);
        CHECK_INT(row, q.default_netid, 0); /* `system` */
    }
    CHECK_END();
}

static void test_scopes(void **state)
{
    static const struct {
        uint32_t ifindex, netid;
    } rows[] = { { 2, 100 }, { 3, 101 }, { 4, 200 },       { 5, 0 },
                 { 1, 0 },   { 99, 0 },  { INT32_MAX, 0 }, { UINT32_MAX, 0 } };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;
    char row[32];

    (void)state;
    init(&s, &f, "");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct socket_question q =
            ask(&f, (struct socket_asked){ .command = SOCKET_CONNECT, .scope = rows[i].ifindex });

        snprintf(row, sizeof(row), "interface %u", rows[i].ifindex);
        CHECK_INT(row, q.scoped, 1);
        CHECK_INT(row, q.scope_netid, rows[i].netid);
    }
    CHECK_INT("no scope", ask(&f, (struct socket_asked){ .uid = 10000 }).scoped, 0);
    CHECK_END();
}

/* android.md §1.6 checkUserNetworkAccess, its rows; and what an assignment makes of it. */
static void test_access(void **state)
{
    static const struct {
        int row;
        uint32_t uid, netid;
        int result;
    } rows[] = {
        { 1, 0, 0, -ENONET },
        { 1, 10000, 0, -ENONET },
        { 1, 10000, 999, -ENONET },
        { 1, UID_INVALID, 999, -ENONET },
        { 2, UID_INVALID, 100, -EREMOTEIO },
        { 3, 0, 102, 0 },
        { 3, 9999, 202, 0 },
        { 4, 20000, 200, 0 },
        { 4, 20010, 200, -EPERM },
        { 4, 20005, 201, 0 },
        { 5, 20001, 100, -EPERM },
        { 5, 20002, 100, 0 }, /* may protect */
        { 5, 20010, 100, 0 }, /* its VPN is bypassable */
        { 6, 10014, 102, 0 },
        { 7, 10018, 52, 0 },
        { 7, 10000, 52, -EPERM },
        { 9, 10000, 100, 0 },
        { 9, 10000, 101, -EACCES },
        { 9, 10001, 101, 0 },
        { 9, 10001, 102, -EACCES },
        { 0, 10010, 100, 0 },
        { 0, 10010, 101, -EPERM },
        { 0, 10010, 999, -EPERM },
        { 0, 10020, 101, 0 },
        { 0, 10012, 52, 0 },
        { 0, 10012, 100, -EPERM },
        { 0, 10015, 100, -EPERM },
    };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;
    char row[64];

    (void)state;
    init(&s, &f, assignments);
    scene_run(&s, "permission 10001 network\nprotect 20002 yes\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        snprintf(row, sizeof(row), "row %d: uid %u, network %u", rows[i].row, rows[i].uid,
                 rows[i].netid);
        CHECK_INT(row, socket_facts_access(&f, rows[i].uid, rows[i].netid), rows[i].result);
    }
    CHECK_END();
}

/* What changes in the model or the kernel is known after the next update. */
static void test_updates(void **state)
{
    struct socket_asked app = { .command = SOCKET_CONNECT, .uid = 10011 };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;

    (void)state;
    init(&s, &f, assignments);
    CHECK_INT("at first", ask(&f, app).assigned.flags, USABLE | HAS_USER);

    scene_run(&s, "unlink eth0\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK_INT("its interface goes", ask(&f, app).assigned.flags, HAS_USER);

    scene_run(&s, "remove home\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK_INT("the network goes", ask(&f, app).assigned.netid, 0);
    CHECK_INT("the network goes", ask(&f, app).strength, SOCKET_PREFER);

    scene_run(&s, "assign uid:10011 office\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK_INT("assigned to another", ask(&f, app).assigned.netid, 101);
    CHECK_INT("assigned to another", ask(&f, app).strength, SOCKET_REQUIRE);

    scene_run(&s, "unassign uid:10011\nusers late 10011\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK_INT("assigned to none", ask(&f, app).strength, SOCKET_UNASSIGNED);
    CHECK_INT("captured", ask(&f, app).vpn.netid, 202);
    CHECK_END();
}

/* Processes count where programs at the cgroup carry them, and come before users. */
static void test_processes(void **state)
{
    struct socket_asked app = { .command = SOCKET_CONNECT, .uid = 20005 };
    _cleanup_scene_ struct scene s;
    _cleanup_socket_facts_ struct socket_facts f;

    (void)state;
    init(&s, &f,
         "maps\nassign uid:20005 none\nassign cgroup:/a office prefer\nassign exe:/bin/x home\n");
    CHECK("rules", !f.exes && !f.cgroups);
    s.k.maps = guard_new();
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK("maps", f.exes && f.cgroups);
    CHECK_INT("by its user", ask(&f, app).strength, SOCKET_NONE);

    app.process = assignments_get(f.assignments, "exe:/bin/x");
    CHECK_INT("by its executable", ask(&f, app).strength, SOCKET_REQUIRE);
    CHECK_INT("by its executable", ask(&f, app).assigned.netid, 100);
    CHECK_INT("by its executable", ask(&f, app).assigned.flags, USABLE | HAS_USER);
    app.process = assignments_get(f.assignments, "cgroup:/a");
    CHECK_INT("by its cgroup", ask(&f, app).strength, SOCKET_PREFER);
    CHECK_INT("by its cgroup", ask(&f, app).assigned.netid, 101);
    CHECK_INT("the VPN is its user's", ask(&f, app).vpn.netid, 200);

    scene_run(&s, "unassign exe:/bin/x\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK("no executables", !f.exes && f.cgroups);
    scene_run(&s, "unassign cgroup:/a\nassign exe:/bin/x home\n");
    assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
    CHECK("no cgroups", f.exes && !f.cgroups);
    CHECK_END();
}

enum { SPACE = 40, ROUNDS = 300 };

/* The owner of a uid is whom precedence_decide() names. */
static void test_owners(void **state)
{
    static const char *const names[] = { "home", "office", "down", "none" };
    struct rng g = { 7 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        _cleanup_scene_ struct scene s;
        _cleanup_socket_facts_ struct socket_facts f;
        char line[128];

        init(&s, &f, "");
        for (unsigned i = rng_below(&g, 12); i > 0; i--) {
            unsigned a = rng_below(&g, SPACE), b = rng_one_in(&g, 3) ? a : rng_below(&g, SPACE);

            snprintf(line, sizeof(line), "assign uid:%u-%u %s", MIN(a, b), MAX(a, b),
                     names[rng_below(&g, ELEMENTSOF(names))]);
            scene_run(&s, line);
        }
        assert_int_equal(socket_facts_update(&f, s.m, &s.k), 0);
        for (uint32_t uid = 0; uid < SPACE; uid++) {
            const struct assignment *a = precedence_decide(s.m->assignments, uid);
            const struct network *n =
                a && a->network ? model_network_by_name(s.m, a->network->s) : NULL;
            struct socket_question q = ask(&f, (struct socket_asked){ .uid = uid });

            snprintf(line, sizeof(line), "round %u, uid %u", round, uid);
            CHECK_INT(line, q.strength,
                      !a           ? SOCKET_UNASSIGNED
                      : a->network ? SOCKET_REQUIRE
                                   : SOCKET_NONE);
            CHECK_INT(line, q.assigned.netid, n ? n->netid : 0);
        }
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_permissions), cmocka_unit_test(test_assigned),
        cmocka_unit_test(test_networks),    cmocka_unit_test(test_scopes),
        cmocka_unit_test(test_access),      cmocka_unit_test(test_updates),
        cmocka_unit_test(test_owners),      cmocka_unit_test(test_processes),
    };

    return RUN_TESTS(tests);
}
