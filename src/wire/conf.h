/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The configuration's syntax: ini.
 *
 *   # comment (also ;), on a line of its own
 *   [section argument]
 *   key = value
 *
 * White space around names and values does not count; there are no quotes, escapes or continuation
 * lines. Keys may repeat. Lines are at most 4095 bytes and have no control characters but tabs.
 *
 * Not inih: it cuts section names at 50 and lines at 200 characters without a word, takes ':' for
 * '=' (uid:1000 = …), and does not tell the handler the line number that our messages need.
 */

#include "basic/why.h"

enum { CONF_LINE_MAX = 4095 };

/* One meaningful line. The strings live until the handler returns. */
struct conf_line {
    unsigned line;        /* from 1 */
    const char *section;  /* "" before the first section */
    const char *argument; /* what stands behind the section's name, or "" */
    const char *key;      /* NULL: the section's own line */
    const char *value;    /* may be "" */
};

/* 0 to go on, or a negative errno with the reason. */
typedef int (*conf_handler)(void *data, const struct conf_line *line, struct why *why);

/*
 * Parses `size` bytes. 0, or the first error: -EINVAL for what is no ini, or the handler's own;
 * *ret_line says in which line (untouched on success).
 */
int conf_parse(const char *text, size_t size, conf_handler handler, void *data, unsigned *ret_line,
               struct why *why);
