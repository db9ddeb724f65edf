/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Lines of words, as the state file has them: words are separated by one space; a space, '%' or
 * control character inside a word is written %XX.
 */

#include "basic/strbuf.h"

/* Appends a word, with a space in front unless a line begins. An empty word is written as "%". */
void words_add(struct strbuf *b, const char *word);

/*
 * Splits a line in place; words[] then point into it. 0 and *ret_n; -EINVAL for a broken %XX, two
 * spaces in a row or a control character; -E2BIG for more than `max` words.
 */
int words_split(char *line, const char **words, size_t max, size_t *ret_n);
