/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Numbers and words out of text, strictly: no white space, no sign, no trailing junk. */

#include <stdint.h>

#include "basic/macro.h"

/* Decimal, 0 … max. 0, -EINVAL (not a number), -ERANGE (too large). *ret untouched on failure. */
int parse_u32(const char *s, uint32_t max, uint32_t *ret);

/* Decimal, or hexadecimal after "0x". Errors as parse_u32(). */
int parse_u32_hex(const char *s, uint32_t max, uint32_t *ret);

/*
 * Index of `s` in a table of n names (NULL entries are skipped). -EINVAL when it is none of them.
 */
int parse_word(const char *const *names, size_t n, const char *s);
