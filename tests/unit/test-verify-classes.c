/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/verify-classes: whatever random rules can tell apart, some member of the classes shows.
 * The oracle tries every mark of a few bits, every address of a small space.
 */

#include "unit/check.h"

#include <errno.h>
#include <linux/fib_rules.h>
#include <stdio.h>

#include "plan/simulate.h"
#include "plan/verify-classes.h"
#include "property/random.h"
#include "unit/scene.h"

enum { ROUNDS = 2000, BITS = 6, RULES = 5 };

struct matching {
    const struct rtnl_rule *first;
    uint32_t bits;
};

static void note_match(void *data, const struct sim_step *step)
{
    struct matching *m = data;

    if (step->mismatch == SIM_MATCHES)
        m->bits |= 1U << (step->rule - m->first);
}

/* Which of the rules match, as bits: they are walked, but made to do nothing. */
static uint32_t signature(const struct kernel *k, const struct rtnl_rule *rules, size_t n,
                          const struct rtnl_flow *flow)
{
    unsigned f = family_index(flow->dst.family);
    struct kernel idle = *k;
    struct rtnl_rule copies[32];
    struct matching m = { .first = copies };

    assert_true(n <= ELEMENTSOF(copies));
    for (size_t i = 0; i < n; i++) {
        copies[i] = rules[i];
        copies[i].action = FR_ACT_NOP;
    }
    idle.rules[f] = copies;
    idle.n_rules[f] = n;
    (void)simulate(&idle, flow, note_match, &m);
    return m.bits;
}

static struct ip_addr addr_at(int family, unsigned i)
{
    struct ip_addr a = { 0 };
    char text[32];

    snprintf(text, sizeof(text), family == AF_INET ? "10.0.0.%u" : "fd00::%x", i);
    assert_int_equal(ip_addr_parse(text, &a), 0);
    return a;
}

static void test_marks(void **state)
{
    struct rng g = { .state = 0x3a4c };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct rtnl_rule rules[RULES];
        size_t n = rng_below(&g, RULES + 1);
        uint32_t never = rng_one_in(&g, 3) ? 1U << rng_below(&g, BITS) : 0;
        bool possible[1 << RULES] = { false }, shown[1 << RULES] = { false };
        struct mark_classes c = { 0 };
        struct rtnl_flow flow = { .dst = addr_at(AF_INET, 77) };

        for (size_t i = 0; i < n; i++) {
            rules[i] = rtnl_rule_empty(AF_INET);
            rules[i].fwmask = rng_below(&g, 1 << BITS);
            rules[i].fwmark = rng_below(&g, 1 << BITS);
            if (!rng_one_in(&g, 4))
                rules[i].fwmark &= rules[i].fwmask;
        }
        for (flow.mark = 0; flow.mark < 1 << BITS; flow.mark++)
            if (!(flow.mark & never))
                possible[signature(&s.k, rules, n, &flow)] = true;
        assert_int_equal(classes_of_marks(rules, n, never, &c), 0);
        for (size_t i = 0; i < c.n; i++) {
            flow.mark = c.items[i];
            CHECK("never", !(flow.mark & never));
            shown[signature(&s.k, rules, n, &flow)] = true;
        }
        CHECK("shown is what is possible", memcmp(possible, shown, sizeof(shown)) == 0);
        CHECK("no more than need be", c.n <= 1U << RULES);
        free(c.items);
    }
    CHECK_END();
}

static void test_many_marks(void **state)
{
    struct rtnl_rule rules[65];
    struct mark_classes c = { 0 };

    (void)state;
    for (uint32_t i = 0; i < 65; i++) {
        rules[i] = rtnl_rule_empty(AF_INET);
        rules[i].fwmark = i;
        rules[i].fwmask = UINT32_MAX;
    }
    CHECK_INT("64 marks", classes_of_marks(rules, 64, 0, &c), 0);
    CHECK_INT("64 marks: each, and none", c.n, 65);
    free(c.items);
    CHECK_INT("65 marks", classes_of_marks(rules, 65, 0, &c), -E2BIG);
    for (uint32_t i = 0; i < 13; i++)
        rules[i].fwmark = rules[i].fwmask = 1U << i;
    CHECK_INT("2^12 classes", classes_of_marks(rules, 12, 0, &c), 0);
    CHECK_INT("2^12 classes", c.n, MARK_CLASSES_MAX);
    free(c.items);
    CHECK_INT("2^13 classes", classes_of_marks(rules, 13, 0, &c), -E2BIG);
    CHECK_INT("no rules", classes_of_marks(NULL, 0, 0, &c), 0);
    CHECK_INT("no rules: one for all", c.n, 1);
    free(c.items);
    CHECK_END();
}

/* A prefix of 10.0.0.0/28 or fd00::/124, as text. */
static void random_prefix(struct rng *g, int family, char *text, size_t size)
{
    unsigned len = rng_below(g, 5), host = rng_below(g, 16) & (0xfU << (4 - len));

    if (family == AF_INET)
        snprintf(text, size, "10.0.0.%u/%u", host, 28 + len);
    else
        snprintf(text, size, "fd00::%x/%u", host, 124 + len);
}

/* Rules by `from` or `to`, and table 9 with routes (by source for IPv6, if `sources`). */
static void random_rules(struct rng *g, struct scene *s, int family, bool sources)
{
    char prefix[32], other[32], line[160];

    for (uint32_t i = 1 + rng_below(g, RULES - 1); i > 0; i--) {
        random_prefix(g, family, prefix, sizeof(prefix));
        snprintf(line, sizeof(line), "iprule%d 100 %s %s lookup 9", family == AF_INET ? 4 : 6,
                 sources ? "from" : "to", prefix);
        scene_run(s, line);
    }
    for (uint32_t i = rng_below(g, 4); i > 0; i--) {
        random_prefix(g, family, prefix, sizeof(prefix));
        random_prefix(g, family, other, sizeof(other));
        if (sources && family == AF_INET6)
            snprintf(line, sizeof(line), "iproute ::/0 from %s dev lo table 9", other);
        else
            snprintf(line, sizeof(line), "iproute %s dev lo table 9", prefix);
        scene_run(s, line);
    }
}

/* The rules that match, and the route that is found in table 9. */
static uint64_t answer(const struct scene *s, int family, const struct rtnl_flow *flow)
{
    unsigned f = family_index(family);
    struct sim_result r = simulate(&s->k, flow, NULL, NULL);
    uint64_t route = r.route && r.table == 9 ? (uint64_t)(r.route - s->k.routes[f]) + 1 : 0;

    return route << 32 | signature(&s->k, s->k.rules[f], s->k.n_rules[f], flow);
}

static void check_shown(const char *row, const struct scene *s, int family,
                        const struct rtnl_flow *flow, const struct addr_classes *c, bool sources)
{
    uint64_t wanted = answer(s, family, flow);

    for (size_t i = 0; i < c->n; i++) {
        struct rtnl_flow other = *flow;

        if (sources)
            other.src = c->items[i];
        else
            other.dst = c->items[i];
        if (answer(s, family, &other) == wanted)
            return;
    }
    CHECK(row, !"some class shows what this address does");
}

static void test_destinations(void **state)
{
    struct rng g = { .state = 0xde57 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int family = family_at(round % 2);
        unsigned f = family_index(family);
        struct addr_classes c = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        random_rules(&g, &s, family, false);
        assert_int_equal(classes_of_destinations(&s.k, family, s.k.rules[f], s.k.n_rules[f], &c),
                         0);
        for (unsigned i = 0; i < 20; i++) {
            struct rtnl_flow flow = { .dst = addr_at(family, i) };
            check_shown("destinations", &s, family, &flow, &c, false);
        }
        free(c.items);
    }
    CHECK_END();
}

/* Sources: for IPv4 those that the machine has, for IPv6 any. */
static void test_sources(void **state)
{
    struct rng g = { .state = 0x5fc };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        int family = family_at(round % 2);
        unsigned f = family_index(family);
        struct addr_classes c = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        for (unsigned i = 0; i < 16; i += 1 + rng_below(&g, 4)) {
            char line[64];

            snprintf(line, sizeof(line),
                     family == AF_INET ? "addr lo 10.0.0.%u/32" : "addr lo fd00::%x/128", i);
            scene_run(&s, line);
        }
        random_rules(&g, &s, family, true);
        assert_int_equal(classes_of_sources(&s.k, family, s.k.rules[f], s.k.n_rules[f], &c), 0);
        for (unsigned i = 0; i < 20; i++) {
            struct rtnl_flow flow = { .dst = addr_at(family, 77), .src = addr_at(family, i) };

            if (family == AF_INET6 || kernel_has_addr(&s.k, &flow.src))
                check_shown("sources", &s, family, &flow, &c, true);
        }
        CHECK("none yet", c.n > 0 && !ip_addr_is_set(&c.items[0]));
        free(c.items);
    }
    CHECK_END();
}

static void test_sort(void **state)
{
    uint32_t items[] = { 7, UINT32_MAX, 0, 7, 7, 1, UINT32_MAX, 0 };

    (void)state;
    CHECK_INT("sorted, each once", classes_sort_u32(items, ELEMENTSOF(items)), 4);
    CHECK("sorted", items[0] == 0 && items[1] == 1 && items[2] == 7 && items[3] == UINT32_MAX);
    CHECK_INT("none", classes_sort_u32(items, 0), 0);
    CHECK_END();
}

/* Rules that may match: one variant without all of them, and one for each alone. */
static void test_variants(void **state)
{
    static const struct {
        const char *rules;
        size_t n; /* variants */
    } rows[] = {
        { "", 1 },
        { "iprule4 100 uidrange 7 from 10.0.0.1 to 10.0.0.2 fwmark 7 oif lo lookup 9\n", 1 },
        { "iprule4 100 dport 53 lookup 9\n", 2 },
        { "iprule4 100 sport 53 lookup 9\n", 2 },
        { "iprule4 100 tos 0x10 lookup 9\n", 2 },
        { "iprule4 100 ipproto 6 lookup 9\n", 2 },
        { "iprule4 100 l3mdev lookup 9\n", 2 },
        { "iprule4 100 other lookup 9\n", 2 },
        { "iprule4 100 dport 53 lookup 9\niprule4 101 tos 8 lookup 9\niprule4 102 lookup 9\n", 3 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct rtnl_flow flow = { .dst = addr_at(AF_INET, 2), .mark = 7, .uid = 7 };
        struct rule_variants v = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, rows[i].rules);
        assert_int_equal(variants_build(s.k.rules[0], s.k.n_rules[0], &v), 0);
        CHECK_INT(rows[i].rules, v.n, rows[i].n);
        for (size_t j = 1; j < v.n; j++) {
            uint32_t bits = signature(&s.k, v.items[j].rules, v.items[j].n, &flow);

            for (size_t r = 0; r < v.items[j].n; r++)
                if (v.items[j].rules[r].priority == 99 + j)
                    CHECK(rows[i].rules, bits >> r & 1);
        }
        variants_done(&v);
        CHECK("done", v.n == 0 && v.items == NULL);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_marks),        cmocka_unit_test(test_many_marks),
        cmocka_unit_test(test_destinations), cmocka_unit_test(test_sources),
        cmocka_unit_test(test_sort),         cmocka_unit_test(test_variants),
    };

    return RUN_TESTS(tests);
}
