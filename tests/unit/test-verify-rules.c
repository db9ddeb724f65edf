/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/verify-rules, verify-groups: what the sweep says matters to a uid decides its packets as
 * all the rules do, for random rules; and uids are one group only if they fare alike.
 */

#include "unit/check.h"

#include <stdio.h>

#include "plan/simulate.h"
#include "plan/verify-groups.h"
#include "property/random.h"
#include "unit/scene.h"

enum { ROUNDS = 1500, RULES = 12, UIDS = 24, MARKS = 4 };

static const char *const actions[] = {
    "lookup 9", "lookup 10", "lookup 11",  "nop",         "prohibit",  "prohibit",
    "goto 104", "goto 107",  "goto 32766", "unreachable", "blackhole", "lookup 9 suppress 0",
};

/* One with a few of all selectors that the sweep has to do with; priorities 100 to 109. */
static void random_rule(struct rng *g, struct scene *s, uint32_t priority)
{
    const char *mark[] = { "", "", "", " fwmark 1/1", " fwmark 0/0x20000" };
    uint32_t lo = rng_below(g, UIDS), hi = lo + rng_below(g, 8);
    char uid[32] = "", line[160];

    if (!rng_one_in(g, 3))
        snprintf(uid, sizeof(uid), " uidrange %u-%u", lo, hi);
    snprintf(line, sizeof(line), "iprule4 %u%s%s%s%s %s", priority, rng_one_in(g, 5) ? " not" : "",
             uid, mark[rng_below(g, ELEMENTSOF(mark))], rng_one_in(g, 8) ? " iif eth0" : "",
             actions[rng_below(g, ELEMENTSOF(actions))]);
    scene_run(s, line);
}

static void random_scene(struct rng *g, struct scene *s)
{
    scene_init(s);
    scene_run(s, "link 2 eth0\nlink 3 eth1\nlink 4 eth2\niproute 0.0.0.0/0 dev eth0\n"
                 "iproute 0.0.0.0/0 dev eth1 table 9\niproute 0.0.0.0/0 dev eth2 table 10\n"
                 "iproute throw 0.0.0.0/0 table 11\n");
    for (uint32_t n = 1 + rng_below(g, RULES), i = 0; i < n; i++)
        random_rule(g, s, 100 + 10 * i / n);
}

/* What becomes of a packet of each mark, as one number. */
static uint64_t outcomes(const struct kernel *k, uint32_t uid, bool exempt)
{
    static const uint32_t marks[MARKS] = { 0, 1, 0x20000, 0x20001 };
    uint64_t all = 0;

    for (unsigned i = 0; i < (exempt ? MARKS / 2 : MARKS); i++) {
        struct rtnl_flow flow = { .uid = uid, .mark = marks[i] };
        struct sim_result r;

        (void)ip_addr_parse("8.8.8.8", &flow.dst);
        r = simulate(k, &flow, NULL, NULL);
        all = all * 256 + (uint64_t)(r.error < 0 ? 128 - r.error : r.oif);
    }
    return all;
}

static void test_views(void **state)
{
    struct rng g = { .state = 0x51ee };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool exempt = rng_one_in(&g, 2);
        struct rule_view view = { 0 };
        struct rule_sweep sweep;
        struct scene s;

        random_scene(&g, &s);
        assert_int_equal(rule_sweep_init(&sweep, &s.k, 0), 0);
        for (uint32_t uid = rng_below(&g, 3); uid < UIDS + 10; uid += 1 + rng_below(&g, 2)) {
            struct kernel seen = s.k;

            rule_sweep_to(&sweep, uid);
            assert_int_equal(rule_sweep_view(&sweep, exempt, &view), 0);
            assert_int_equal(rule_sweep_rules(&sweep, &view, &seen.rules[0], &seen.n_rules[0]), 0);
            CHECK("the view decides as all the rules",
                  outcomes(&seen, uid, exempt) == outcomes(&s.k, uid, exempt));
            free(seen.rules[0]);
        }
        rule_sweep_done(&sweep);
        free(view.ranged);
        scene_done(&s);
    }
    CHECK_END();
}

/* Between two bounds nothing changes; rules of one uid are one bound each way. */
static void test_bounds(void **state)
{
    struct rng g = { .state = 0xb0d };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rule_sweep sweep;
        struct scene s;

        random_scene(&g, &s);
        assert_int_equal(rule_sweep_init(&sweep, &s.k, 0), 0);
        for (uint64_t uid = 0, next; uid <= UIDS + 10; uid = next) {
            rule_sweep_to(&sweep, (uint32_t)uid);
            next = rule_sweep_next(&sweep);
            CHECK("onwards", next > uid);
            for (uint64_t same = uid; same < next && same <= UIDS + 10; same++)
                CHECK("alike up to the next bound", outcomes(&s.k, (uint32_t)same, false) ==
                                                        outcomes(&s.k, (uint32_t)uid, false));
        }
        rule_sweep_done(&sweep);
        scene_done(&s);
    }
    CHECK_END();
}

/* Every outcome that some uid of a segment meets is that of some group's member. */
static void test_groups(void **state)
{
    struct rng g = { .state = 0x96 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct segment items[] = {
            { .uid = { 2, 2 + rng_below(&g, 9) }, .target = -1, .verdict = VERDICT_REFUSE },
            { .uid = { 12, 12 }, .target = -1, .verdict = VERDICT_PREFER },
            { .uid = { 13, 13 + rng_below(&g, 9) }, .target = -1, .verdict = VERDICT_REFUSE },
        };
        struct policy p = { .segments = { .items = items, .n = ELEMENTSOF(items) } };
        struct groups groups;
        struct scene s;

        random_scene(&g, &s);
        if (rng_one_in(&g, 2))
            scene_run(&s, "guard entry 3-4 100\nguard entry 5-15 0\n");
        assert_int_equal(groups_build(&p, &s.k, &groups), 0);
        CHECK_INT("segments", groups.n_segments, 2);
        for (size_t i = 0; i < ELEMENTSOF(items); i += 2)
            for (uint32_t uid = items[i].uid.lo; uid <= items[i].uid.hi; uid++) {
                const struct guard_entry *entry = s.k.guard ? guard_entry(s.k.guard, uid) : NULL;
                bool shown = false;

                for (size_t j = 0; j < groups.n && !shown; j++)
                    shown =
                        groups.items[j].family == 0 &&
                        groups.items[j].guarded == (entry ? (int64_t)entry->netid : -1) &&
                        outcomes(&s.k, groups.items[j].uid, false) == outcomes(&s.k, uid, false);
                CHECK("some group's member fares like it", shown);
            }
        groups_done(&groups);
        scene_done(&s);
    }
    CHECK_END();
}

/* The ends of the uids. */
static void test_ends(void **state)
{
    struct rule_sweep sweep;
    struct scene s;

    (void)state;
    scene_init(&s);
    assert_int_equal(rule_sweep_init(&sweep, &s.k, 0), 0);
    CHECK("no ranges: no bounds", rule_sweep_next(&sweep) > UINT32_MAX);
    rule_sweep_done(&sweep);
    scene_run(&s, "iprule4 100 uidrange 0-4294967294 prohibit\niprule4 101 not uidrange 0 nop\n");
    assert_int_equal(rule_sweep_init(&sweep, &s.k, 0), 0);
    rule_sweep_to(&sweep, 0);
    CHECK_INT("then without the second's range", rule_sweep_next(&sweep), 1);
    rule_sweep_to(&sweep, UID_MAX);
    CHECK_INT("the last", rule_sweep_next(&sweep), UINT32_MAX);
    rule_sweep_to(&sweep, UINT32_MAX);
    CHECK("nothing behind it", rule_sweep_next(&sweep) > UINT32_MAX);
    rule_sweep_done(&sweep);
    scene_done(&s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_views),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_ends),
    };

    return RUN_TESTS(tests);
}
