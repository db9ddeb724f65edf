/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Words that may be shortened: commands, options, networks' names. As in ip(8), a word that is in
 * the list means itself; any other means the only one that it is a beginning of.
 */

#include <sys/types.h>

#include "basic/strbuf.h"

/*
 * The index of what `word` means among n names (which may repeat: the first counts); -ENOENT when
 * it is none of them; -ENOTUNIQ when it could be several: *candidates then has them ("a, b").
 */
ssize_t words_resolve(const char *word, const char *const *names, size_t n,
                      struct strbuf *candidates);
