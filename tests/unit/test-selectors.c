/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/selectors.h and door.h: which policy holds for a socket, and what the guard at the cgroup
 * says to its packets. The numbers are those of the headers.
 */

#include "unit/check.h"

#include "decide/door.h"
#include "model/guard.h"

static void test_choose(void **state)
{
    static const struct socket_policy run = { .netid = 1 }, executable = { .netid = 2 },
                                      cgroup = { .netid = 3 }, uid = { .netid = 4 };
    static const struct {
        const char *name;
        struct socket_matches found;
        enum socket_selector selector;
        uint32_t netid;
    } rows[] = {
        { "1 all", { &run, &executable, &cgroup, &uid }, SOCKET_SELECTOR_RUN, 1 },
        { "1 run", { &run, NULL, NULL, NULL }, SOCKET_SELECTOR_RUN, 1 },
        { "2 all but run", { NULL, &executable, &cgroup, &uid }, SOCKET_SELECTOR_EXECUTABLE, 2 },
        { "2 exe", { NULL, &executable, NULL, NULL }, SOCKET_SELECTOR_EXECUTABLE, 2 },
        { "3 cgroup, uid", { NULL, NULL, &cgroup, &uid }, SOCKET_SELECTOR_CGROUP, 3 },
        { "4 uid", { NULL, NULL, NULL, &uid }, SOCKET_SELECTOR_UID, 4 },
        { "5 nothing", { NULL, NULL, NULL, NULL }, SOCKET_SELECTOR_NONE, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct socket_policy p = { .netid = 99, .strength = SOCKET_REQUIRE };

        CHECK_INT(rows[i].name, socket_choose_policy(&rows[i].found, &p), rows[i].selector);
        CHECK_INT(rows[i].name, p.netid, rows[i].netid);
        CHECK_INT(rows[i].name, p.strength, SOCKET_UNASSIGNED);
    }
    CHECK_END();
}

static void test_exempt(void **state)
{
    struct socket_policy p = { .netid = 1, .strength = SOCKET_REQUIRE };

    (void)state;
    CHECK_INT("require", socket_policy_strength(&p), SOCKET_REQUIRE);
    p.flags = SOCKET_POLICY_EXEMPT;
    CHECK_INT("exempt", socket_policy_strength(&p), SOCKET_UNASSIGNED);
    CHECK_END();
}

#define LOCKED SOCKET_POLICY_LOCKDOWN

static const struct {
    const char *name;
    struct socket_policy policy;
    struct door_question q;
    enum door_verdict verdict;
} door_rows[] = {
    { "1 none", { 0, SOCKET_NONE, 0, 0, 0 }, { .loopback = true }, DOOR_LOOPBACK },
    { "1 lockdown",
      { 100, SOCKET_REQUIRE, LOCKED, 0, 0 },
      { .loopback = true, .incoming = true },
      DOOR_LOOPBACK },
    { "2 unassigned", { 0, SOCKET_UNASSIGNED, 0, 0, 0 }, { .port = false }, DOOR_UNHELD },
    { "2 prefer", { 100, SOCKET_PREFER, LOCKED, 0, 0 }, { .incoming = true }, DOOR_UNHELD },
    { "2 exempt",
      { 100, SOCKET_REQUIRE, SOCKET_POLICY_EXEMPT, 0, 0 },
      { .port = false },
      DOOR_UNHELD },
    { "3 in", { 100, SOCKET_REQUIRE, 0, 0, 0 }, { .incoming = true }, DOOR_INCOMING },
    { "4 transport",
      { 100, SOCKET_REQUIRE, 0, 0, 0 },
      { .mark = MARK_PROTECTED, .protectable = true, .on_vpn = true },
      DOOR_PROTECTED },
    { "4 transport, in",
      { 100, SOCKET_REQUIRE, LOCKED, 0, 0 },
      { .mark = MARK_PROTECTED, .protectable = true, .on_vpn = true, .incoming = true },
      DOOR_PROTECTED },
    { "4 may not protect",
      { 100, SOCKET_REQUIRE, 0, 0, 0 },
      { .mark = MARK_PROTECTED, .on_vpn = true },
      DOOR_DROP_INTERFACE },
    { "4 no VPN",
      { 100, SOCKET_REQUIRE, 0, 0, 0 },
      { .mark = MARK_PROTECTED, .protectable = true },
      DOOR_DROP_INTERFACE },
    { "4 not protected",
      { 100, SOCKET_REQUIRE, 0, 0, 0 },
      { .protectable = true, .on_vpn = true },
      DOOR_DROP_INTERFACE },
    { "4 none",
      { 0, SOCKET_NONE, 0, 0, 0 },
      { .mark = MARK_PROTECTED, .protectable = true, .on_vpn = true },
      DOOR_DROP_NONE },
    { "5 port", { 100, SOCKET_REQUIRE, 0, 0, 0 }, { .port = true }, DOOR_PORT },
    { "5 port, in",
      { 100, SOCKET_REQUIRE, LOCKED, 0, 0 },
      { .port = true, .incoming = true },
      DOOR_PORT },
    { "6 outside", { 100, SOCKET_REQUIRE, 0, 0, 0 }, { .outside = true }, DOOR_OUTSIDE },
    { "6 from outside, lockdown",
      { 100, SOCKET_REQUIRE, LOCKED, 0, 0 },
      { .incoming = true, .outside = true },
      DOOR_OUTSIDE },
    { "6 of none nothing is", { 0, SOCKET_NONE, 0, 0, 0 }, { .outside = true }, DOOR_DROP_NONE },
    { "6 nor of one that is not there",
      { 0, SOCKET_REQUIRE, 0, 0, 0 },
      { .outside = true },
      DOOR_DROP_NONE },
    { "7 elsewhere", { 100, SOCKET_REQUIRE, 0, 0, 0 }, { .port = false }, DOOR_DROP_INTERFACE },
    { "7 not there", { 0, SOCKET_REQUIRE, 0, 0, 0 }, { .port = true }, DOOR_DROP_NONE },
    { "7 none", { 100, SOCKET_NONE, 0, 0, 0 }, { .port = true }, DOOR_DROP_NONE },
    { "7 in", { 100, SOCKET_REQUIRE, LOCKED, 0, 0 }, { .incoming = true }, DOOR_DROP_INCOMING },
    { "7 in, none", { 0, SOCKET_NONE, LOCKED, 0, 0 }, { .incoming = true }, DOOR_DROP_INCOMING },
};

static void test_door(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(door_rows); i++) {
        struct door_question q = door_rows[i].q;

        q.policy = &door_rows[i].policy;
        CHECK_INT(door_rows[i].name, door_judge(&q), door_rows[i].verdict);
        CHECK_INT(door_rows[i].name, door_drops(door_rows[i].verdict),
                  door_rows[i].verdict >= DOOR_DROP_NONE);
    }
    CHECK_END();
}

/* What nftables lets out, BPF lets out, and nothing else. */
static void test_same_as_guard(void **state)
{
    static const uint8_t bytes[] = { 10, 1, 2, 3 };
    const struct ip_addr dst = ip_addr_make(AF_INET, bytes, sizeof(bytes));

    (void)state;
    for (unsigned bits = 0; bits < 1U << 6; bits++) {
        bool held = bits & 1, exempt = bits & 2, port = bits & 4;
        uint32_t mark = bits & 8 ? MARK_PROTECTED : 0;
        int ifindex = bits & 16 ? 1 : 7;
        uint32_t netid = 100 | (exempt ? GUARD_EXEMPT : 0);
        struct guard *g = guard_new();
        struct socket_policy p = { .netid = 100,
                                   .strength = held ? SOCKET_REQUIRE : SOCKET_UNASSIGNED };
        struct door_question q = { .policy = &p,
                                   .mark = mark,
                                   .loopback = ifindex == 1,
                                   .protectable = exempt,
                                   .on_vpn = true,
                                   .port = port,
                                   .outside = bits & 32 };
        const struct guard_outside outside = { .netid = 100,
                                               .outside = 1,
                                               .prefix = ip_prefix_make(&dst, 8) };

        assert_non_null(g);
        assert_int_equal(guard_add_chain(g, netid, exempt), 0);
        if (held)
            assert_int_equal(guard_add_entry(g, (struct uid_range){ 5, 5 }, netid), 0);
        if (port)
            assert_int_equal(guard_add_port(g, netid, 7), 0);
        if (bits & 32)
            assert_int_equal(guard_add_outside(g, &outside), 0);
        guard_sort(g);
        CHECK_INT("drops", door_drops(door_judge(&q)),
                  guard_judge(g, 5, mark, ifindex, &dst) == GUARD_DROP);
        guard_unref(g);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_exempt),
        cmocka_unit_test(test_door),
        cmocka_unit_test(test_same_as_guard),
    };

    return RUN_TESTS(tests);
}
