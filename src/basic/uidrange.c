/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/uidrange.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/macro.h"

static int parse_uid(const char *s, int base, const char **ret_end, uint32_t *ret)
{
    char *end;

    /* strtoul() would take a sign or white space */
    if (!isdigit((unsigned char)*s))
        return -EINVAL;
    errno = 0;
    unsigned long long v = strtoull(s, &end, base);
    if (errno != 0 || v > UID_MAX)
        return -EINVAL;
    *ret = (uint32_t)v;
    *ret_end = end;
    return 0;
}

int uid_range_parse(const char *s, int base, struct uid_range *ret)
{
    struct uid_range range;
    const char *end;

    if (parse_uid(s, base, &end, &range.lo) < 0)
        return -EINVAL;
    range.hi = range.lo;
    if (*end == '-' && parse_uid(end + 1, base, &end, &range.hi) < 0)
        return -EINVAL;
    if (*end != '\0' || range.lo > range.hi)
        return -EINVAL;

    *ret = range;
    return 0;
}

const char *uid_range_format(const struct uid_range *r, char buf[static UID_RANGE_TEXT_MAX])
{
    if (r->lo == r->hi)
        snprintf(buf, UID_RANGE_TEXT_MAX, "%u", r->lo);
    else
        snprintf(buf, UID_RANGE_TEXT_MAX, "%u-%u", r->lo, r->hi);
    return buf;
}

int uid_range_compare(const void *a, const void *b)
{
    const struct uid_range *x = a, *y = b;

    return x->lo != y->lo ? CMP(x->lo, y->lo) : CMP(x->hi, y->hi);
}

size_t uid_ranges_coalesce(struct uid_range *ranges, size_t n)
{
    size_t out = 0;

    if (n == 0)
        return 0;
    qsort(ranges, n, sizeof(*ranges), uid_range_compare);
    for (size_t i = 1; i < n; i++) {
        /* hi <= UID_MAX, so hi + 1 cannot wrap */
        if (ranges[i].lo <= ranges[out].hi + 1)
            ranges[out].hi = MAX(ranges[out].hi, ranges[i].hi);
        else
            ranges[++out] = ranges[i];
    }
    return out + 1;
}
