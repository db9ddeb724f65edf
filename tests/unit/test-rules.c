/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Golden plans: tests/golden/plan/NAME.txt is a scene (unit/scene.h), a line `----`, and the plan
 * that comes of it, as plan_print() writes it. GOLDEN_UPDATE=1 in the environment rewrites the
 * second half; then read the difference against docs/rules.md and android.md §2.5.
 */

#include "unit/check.h"

#include <dirent.h>
#include <linux/fib_rules.h>
#include <stdio.h>

#include "basic/fd.h"
#include "unit/scene.h"

#define FOLDER    TESTS_DIR "/golden/plan"
#define SEPARATOR "----\n"

static int is_case(const struct dirent *entry)
{
    const char *dot = strrchr(entry->d_name, '.');

    return dot && streq(dot, ".txt");
}

/* The two families of a rule, and no rule twice: in every golden plan. */
static void check_rules(const char *row, const struct plan *p)
{
    struct rule_list rules = { 0 };

    assert_int_equal(plan_rules(p, &rules), 0);
    CHECK_INT(row, rules.n, plan_count_rules(p));
    for (size_t i = 0; i < rules.n; i++) {
        CHECK_INT(row, rules.items[i].families, FAMILIES_BOTH);
        CHECK(row, rule_priority_name(rules.items[i].priority) != NULL);
        CHECK(row, i == 0 || plan_rule_compare(&rules.items[i - 1], &rules.items[i]) < 0);
    }
    free(rules.items);
}

static void check_case(const char *name, bool update)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    _cleanup_(plan_unrefp) struct plan *p = NULL;
    _cleanup_free_ char *text = NULL;
    _cleanup_scene_ struct scene s;
    char path[512], *separator;

    snprintf(path, sizeof(path), "%s/%s", FOLDER, name);
    assert_int_equal(fd_read_file(path, 1 << 20, &text, NULL), 0);
    separator = strstr(text, "\n" SEPARATOR);
    if (!CHECK(name, separator != NULL))
        return;
    separator[1] = '\0';
    scene_init(&s);
    scene_run(&s, text);
    p = scene_plan(&s, true, NULL);
    check_rules(name, p);
    assert_int_equal(plan_print(p, &s.k, &b), 0);
    if (update) {
        _cleanup_strbuf_ struct strbuf file = STRBUF_INIT;

        strbuf_add(&file, "%s%s%s", text, SEPARATOR, strbuf_text(&b));
        assert_int_equal(fd_replace_file(path, file.data, file.size, 0644), 0);
        return;
    }
    CHECK_TEXT(name, strbuf_text(&b), separator + 1 + strlen(SEPARATOR));
}

static void test_golden(void **state)
{
    const char *update = getenv("GOLDEN_UPDATE");
    struct dirent **entries = NULL;
    int n = scandir(FOLDER, &entries, is_case, alphasort);

    (void)state;
    assert_true(n > 40);
    for (int i = 0; i < n; i++) {
        check_case(entries[i]->d_name, update && streq(update, "1"));
        free(entries[i]);
    }
    free(entries);
    CHECK_END();
}

/* A rule is the same after the way to rtnetlink and back, one family each. */
static void test_rtnl(void **state)
{
    /* clang-format off */
    static const struct plan_rule rows[] = {
        { .priority = 13000, .fwmask = 0x20000, .uid = { 1, 2 }, .table = 1009,
          .action = FR_ACT_TO_TBL, .iif = "lo" },
        { .priority = 16000, .fwmark = 0x10064, .fwmask = 0x1ffff, .uid = { 0, UINT32_MAX },
          .table = 97, .action = FR_ACT_TO_TBL, .iif = "lo", .oif = "eth0" },
        { .priority = 9000, .uid = { 0, UID_MAX }, .action = FR_ACT_PROHIBIT },
        { .priority = 32000, .uid = { 0, UINT32_MAX }, .action = FR_ACT_UNREACHABLE },
        { .priority = 11000, .uid = { 0, 0 }, .table = 1, .action = FR_ACT_TO_TBL },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < 2 * ELEMENTSOF(rows); i++) {
        struct plan_rule in = rows[i / 2], out;
        struct rtnl_rule rule = plan_rule_to_rtnl(&in, family_at(i % 2));
        const char *row = rule_priority_name(in.priority);

        CHECK_INT(row, rule.protocol, RTPROT_WAYMARK);
        CHECK_INT(row, rule.has_uid, in.uid.hi != UINT32_MAX);
        out = plan_rule_from_rtnl(&rule);
        CHECK_INT(row, out.families, 1 << (i % 2));
        in.families = out.families;
        CHECK(row, memcmp(&in, &out, sizeof(in)) == 0);
        CHECK_INT(row, plan_rule_compare(&in, &out), 0);
    }
    CHECK("foreign numbers have no name", rule_priority_name(1) == NULL);
    CHECK_END();
}

/* Rules that differ in anything but the families are others; the order is one. */
static void test_compare(void **state)
{
    /* clang-format off */
    static const struct plan_rule ascending[] = {
        { .priority = 1, .uid = { 0, 9 } },
        { .priority = 2, .uid = { 0, UINT32_MAX }, .fwmark = 1, .fwmask = 1 },
        { .priority = 2, .uid = { 1, 1 } },
        { .priority = 2, .uid = { 2, 2 } },
        { .priority = 2, .uid = { 2, 2 }, .table = 5 },
        { .priority = 2, .uid = { 2, 2 }, .table = 5, .iif = "lo" },
        { .priority = 2, .uid = { 2, 2 }, .table = 5, .iif = "lo", .oif = "a" },
        { .priority = 2, .uid = { 2, 2 }, .table = 5, .iif = "lo", .oif = "a", .action = 1 },
        { .priority = 3 },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(ascending); i++)
        for (size_t j = 0; j < ELEMENTSOF(ascending); j++) {
            struct plan_rule a = ascending[i], b = ascending[j];

            b.families = 1;
            CHECK_INT("order", CMP(plan_rule_compare(&a, &b), 0), CMP(i, j));
        }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden),
        cmocka_unit_test(test_rtnl),
        cmocka_unit_test(test_compare),
    };

    return RUN_TESTS(tests);
}
