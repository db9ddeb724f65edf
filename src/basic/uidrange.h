/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Ranges of user ids, bounds included. 0xffffffff is no user (INVALID_UID) and never inside one.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UID_INVALID UINT32_MAX
#define UID_MAX     (UINT32_MAX - 1)

/* Room for a range as text, NUL included. */
#define UID_RANGE_TEXT_MAX 24

struct uid_range {
    uint32_t lo, hi; /* lo <= hi <= UID_MAX */
};

static inline bool uid_range_contains(const struct uid_range *r, uint32_t uid)
{
    return uid >= r->lo && uid <= r->hi;
}

/*
 * "N" or "A-B". `base` is strtoul's: 10, or 0 for Android's grammar (hexadecimal and octal too). 0
 * or -EINVAL: empty, junk behind, reversed, or holding 0xffffffff (Android: UidRanges::parseFrom).
 */
int uid_range_parse(const char *s, int base, struct uid_range *ret);

/* "N" or "A-B". */
const char *uid_range_format(const struct uid_range *r, char buf[static UID_RANGE_TEXT_MAX]);

/* By lower, then upper bound; for qsort(). */
int uid_range_compare(const void *a, const void *b);

/* Sorts and joins ranges that touch or overlap, in place; returns how many are left. */
size_t uid_ranges_coalesce(struct uid_range *ranges, size_t n);
