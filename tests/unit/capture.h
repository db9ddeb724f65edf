/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What is said on standard output and standard error, up to what a pipe holds. */

#include <stddef.h>

#include "basic/macro.h"

struct capture {
    int saved[2], end;
};

void capture_begin(struct capture *ret);

/* Both are again what they were; `text` has what was said since then, cut where it is longer. */
void capture_end(struct capture *c, char *text, size_t size);

enum { CAPTURE_ARGV_MAX = 16 };

/*
 * "program" and then the words, up to NULL, as main() is given them: in memory that may be written to,
 * which holds until the next call. How many there are.
 */
int capture_argv(const char *program, const char *const *words,
                 char *argv[static CAPTURE_ARGV_MAX + 1]);
