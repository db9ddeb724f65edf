/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit/check.h"

#include <stdio.h>

/*
 * Some tests ask for more memory than there is, and want NULL for it, not a report. Read by the
 * address sanitizer, when there is one.
 */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1:detect_leaks=1";
}

static unsigned failed;

/* The file's name without the way there: builds differ in that. */
static const char *base(const char *file)
{
    const char *slash = strrchr(file, '/');

    return slash ? slash + 1 : file;
}

bool check_true(const char *file, int line, const char *row, const char *what, bool holds)
{
    if (holds)
        return true;
    failed++;
    print_error("%s:%d: row '%s': %s does not hold\n", base(file), line, row, what);
    return false;
}

bool check_int(const char *file, int line, const char *row, const char *what, intmax_t actual,
               intmax_t expected)
{
    if (actual == expected)
        return true;
    failed++;
    print_error("%s:%d: row '%s': %s is %jd, expected %jd\n", base(file), line, row, what, actual,
                expected);
    return false;
}

/* The first line in which two texts differ: whole plans would drown it. */
static void print_difference(const char *actual, const char *expected)
{
    unsigned line = 1;
    const char *a = actual, *b = expected;

    for (size_t i = 0; actual[i] == expected[i] && actual[i] != '\0'; i++)
        if (actual[i] == '\n') {
            line++;
            a = actual + i + 1;
            b = expected + i + 1;
        }
    print_error("  line %u is       '%.*s'\n  line %u should be '%.*s'\n", line,
                (int)strcspn(a, "\n"), a, line, (int)strcspn(b, "\n"), b);
}

bool check_text(const char *file, int line, const char *row, const char *what, const char *actual,
                const char *expected)
{
    if (streq(actual, expected))
        return true;
    failed++;
    print_error("%s:%d: row '%s': %s differs\n", base(file), line, row, what);
    print_difference(actual, expected);
    return false;
}

bool check_contains(const char *file, int line, const char *row, const char *what,
                    const char *actual, const char *expected)
{
    if (!expected || strstr(actual, expected))
        return true;
    failed++;
    print_error("%s:%d: row '%s': %s is '%s', which does not contain '%s'\n", base(file), line, row,
                what, actual, expected);
    return false;
}

void check_end(const char *file, int line)
{
    unsigned n = failed;

    failed = 0;
    if (n > 0) {
        print_error("%u checks failed\n", n);
        _fail(file, line);
    }
}

int check_teardown(void **state)
{
    (void)state;
    if (failed > 0)
        print_error("a test did not end in CHECK_END(), and %u of its checks failed\n", failed);
    return failed > 0 ? -1 : 0;
}
