/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Lists of uid ranges, separated by blanks, in both grammars: what is accepted is printed so that
 * it is read back the same, what one grammar accepts as decimal the other one does, too, and ranges
 * that were joined hold the uids that they held before, no more.
 */

#include <errno.h>

#include "basic/macro.h"
#include "basic/uidrange.h"
#include "fuzz/fuzz.h"

enum { RANGES_MAX = 16 };

/* True when the word is one. */
static bool parse(const char *word, struct uid_range *ret)
{
    struct uid_range before, android, back;
    char text[UID_RANGE_TEXT_MAX];
    int r;

    memset(ret, 0x5a, sizeof(*ret));
    before = *ret;
    r = uid_range_parse(word, 10, ret);
    MUST(r == 0 || r == -EINVAL);
    if (uid_range_parse(word, 0, &android) == 0)
        MUST(android.lo <= android.hi && android.hi <= UID_MAX);
    if (r < 0) {
        MUST(memcmp(ret, &before, sizeof(before)) == 0);
        return false;
    }
    MUST(ret->lo <= ret->hi && ret->hi <= UID_MAX);
    MUST(uid_range_parse(uid_range_format(ret, text), 10, &back) == 0);
    MUST(uid_range_compare(ret, &back) == 0);
    /* without leading zeros both grammars mean the same */
    MUST(uid_range_parse(text, 0, &android) == 0 && uid_range_compare(ret, &android) == 0);
    return true;
}

static bool holds(const struct uid_range *ranges, size_t n, uint32_t uid)
{
    for (size_t i = 0; i < n; i++)
        if (uid_range_contains(&ranges[i], uid))
            return true;
    return false;
}

/* The uids at which something may change: every bound, and its neighbours. */
static void check_joined(const struct uid_range *before, size_t n, const struct uid_range *after,
                         size_t m)
{
    MUST(m <= n && (m > 0) == (n > 0));
    for (size_t i = 1; i < m; i++)
        MUST(after[i - 1].hi + 1 < after[i].lo);
    for (size_t i = 0; i < n; i++)
        for (int step = -1; step <= 1; step++) {
            uint32_t lo = before[i].lo + (uint32_t)step, hi = before[i].hi + (uint32_t)step;

            MUST(holds(before, n, lo) == holds(after, m, lo));
            MUST(holds(before, n, hi) == holds(after, m, hi));
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);
    struct uid_range ranges[RANGES_MAX] = { { 0 } }, joined[RANGES_MAX];
    char *save = NULL;
    size_t n = 0;

    for (char *word = strtok_r(text, " ", &save); word && n < RANGES_MAX;
         word = strtok_r(NULL, " ", &save))
        n += parse(word, &ranges[n]);
    memcpy(joined, ranges, n * sizeof(*ranges));
    check_joined(ranges, n, joined, uid_ranges_coalesce(joined, n));
    return 0;
}
