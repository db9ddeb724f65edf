/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Table tests on top of cmocka. A row that fails is named, and the rows behind it are run all the
 * same; CHECK_END() at the end of every test function turns failed rows into a failed test, and
 * check_teardown (a group teardown) catches a test that forgot it.
 */

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "basic/macro.h"

/* True when it holds; otherwise the failure is printed and counted. */
bool check_true(const char *file, int line, const char *row, const char *what, bool holds);
bool check_int(const char *file, int line, const char *row, const char *what, intmax_t actual,
               intmax_t expected);
bool check_text(const char *file, int line, const char *row, const char *what, const char *actual,
                const char *expected);
/* `expected` NULL: anything will do. */
bool check_contains(const char *file, int line, const char *row, const char *what,
                    const char *actual, const char *expected);
void check_end(const char *file, int line);
int check_teardown(void **state);

#define CHECK(row, condition) check_true(__FILE__, __LINE__, row, #condition, condition)
#define CHECK_INT(row, actual, expected) \
    check_int(__FILE__, __LINE__, row, #actual, (intmax_t)(actual), (intmax_t)(expected))
#define CHECK_TEXT(row, actual, expected) \
    check_text(__FILE__, __LINE__, row, #actual, actual, expected)
#define CHECK_CONTAINS(row, actual, expected) \
    check_contains(__FILE__, __LINE__, row, #actual, actual, expected)
#define CHECK_END() check_end(__FILE__, __LINE__)

#define RUN_TESTS(tests) cmocka_run_group_tests(tests, NULL, check_teardown)
