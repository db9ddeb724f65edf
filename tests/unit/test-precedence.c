/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/precedence: which assignment holds. Each row has the step that decides, as numbered in
 * decide/precedence.h.
 */

#include "unit/check.h"

#include "decide/precedence.h"
#include "unit/scene.h"

/* An assignment as a line of a scene, without the verb. */
static struct assignment parse(struct scene *s, const char *text)
{
    struct assignment a = { 0 };
    char line[256];

    (void)strcpy(line, "assign ");
    (void)strncat(line, text, sizeof(line) - strlen(line) - 1);
    scene_run(s, line);
    /* the table has it; take it out again, so that the next one is alone, too */
    a = s->m->assignments->items[0];
    s->m->assignments->n = 0;
    return a;
}

/* clang-format off */
static const struct {
    int step;
    const char *wins, *loses;
} rows[] = {
    { 1, "uid:5 home prefer", "group:g none uids 5" },
    { 1, "uid:5 home prefer", "uid:5-6 none" },
    { 1, "user:a home prefer uids 5", "group:g none uids 5" },
    { 1, "user:a home prefer uids 5", "uid:5-6 none" },
    { 1, "user:z home prefer", "uid:5-6 none" }, /* not resolved: still one user */
    { 1, "group:g home prefer uids 5", "uid:5-6 none" },
    { 1, "group:g home prefer uids 0-4294967294", "uid:5-6 none" },
    { 2, "uid:5-6 home prefer", "uid:5-7 none" },
    { 2, "uid:900-901 home prefer", "uid:5-7 none" },
    { 2, "uid:1-4294967294 home prefer", "uid:0-4294967294 none" },
    { 3, "uid:5 none", "user:a home uids 5" },
    { 3, "user:a none uids 5", "uid:5 home" },
    { 3, "uid:5 none", "user:a home prefer uids 5" },
    { 3, "user:a home uids 5", "uid:5 home prefer" },
    { 3, "group:z none uids 5", "group:a home uids 5" },
    { 3, "group:z home uids 5", "group:a other prefer uids 5" },
    { 3, "uid:6-7 none", "uid:5-6 home" },
    { 3, "uid:6-7 home", "uid:5-6 home prefer" },
    { 3, "user:a home prefer uids 5", "uid:5 default" },
    { 3, "user:a none uids 5", "uid:5 default" },
    { 1, "uid:5 default", "uid:5-6 none" },
    { 2, "uid:5-6 default", "uid:5-7 none" },
    { 4, "uid:5 home", "uid:6 home" },
    { 4, "uid:5 home", "user:a home uids 5" },
    { 4, "user:a home uids 5", "user:b other uids 5" },
    { 4, "group:a none uids 5", "group:b none uids 5" },
    { 4, "uid:5-6 home", "uid:6-7 other" },
};
/* clang-format on */

static void test_compare(void **state)
{
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(&s, "network home\nnetwork other\n");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct assignment a = parse(&s, rows[i].wins), b = parse(&s, rows[i].loses);

        CHECK(rows[i].wins, precedence_compare(&a, &b) < 0);
        CHECK(rows[i].wins, precedence_compare(&b, &a) > 0);
        CHECK_INT(rows[i].wins, precedence_compare(&a, &a), 0);
        assignment_done(&a);
        assignment_done(&b);
    }
    CHECK_END();
}

/* The order is total and has no circles: the winner of all beats each, and so on. */
static void test_total(void **state)
{
    enum { N = 2 * ELEMENTSOF(rows) };
    struct assignment a[N];
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(&s, "network home\nnetwork other\n");
    for (size_t i = 0; i < N; i++)
        a[i] = parse(&s, i % 2 ? rows[i / 2].loses : rows[i / 2].wins);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++)
                if (precedence_compare(&a[i], &a[j]) <= 0 && precedence_compare(&a[j], &a[k]) <= 0)
                    CHECK(i % 2 ? rows[i / 2].loses : rows[i / 2].wins,
                          precedence_compare(&a[i], &a[k]) <= 0);
    for (size_t i = 0; i < N; i++)
        assignment_done(&a[i]);
    CHECK_END();
}

static void test_decide(void **state)
{
    static const struct {
        uint32_t uid;
        const char *selector; /* NULL: none */
    } decisions[] = {
        { 0, NULL },
        { 9, NULL },
        { 10, "uid:10-99" },
        { 19, "uid:10-99" },
        { 20, "uid:20-29" },
        { 25, "uid:25" },
        { 26, "group:g" },
        { 27, "group:g" },
        { 28, "user:a" },
        { 29, "uid:20-29" },
        { 99, "uid:10-99" },
        { 100, NULL },
        { UID_MAX, "uid:4294967294" },
    };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    scene_run(&s, "network home\n"
                  "assign uid:10-99 home\nassign uid:20-29 home prefer\nassign uid:25 none\n"
                  "assign group:g none uids 25-28\nassign user:a home uids 28\n"
                  "assign user:unresolved none\nassign uid:4294967294 home\n");
    for (size_t i = 0; i < ELEMENTSOF(decisions); i++) {
        const struct assignment *a = precedence_decide(s.m->assignments, decisions[i].uid);
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        if (a)
            selector_print(&a->selector, &b);
        CHECK_TEXT(decisions[i].selector ? decisions[i].selector : "none", strbuf_text(&b),
                   decisions[i].selector ? decisions[i].selector : "");
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_compare),
        cmocka_unit_test(test_total),
        cmocka_unit_test(test_decide),
    };

    return RUN_TESTS(tests);
}
