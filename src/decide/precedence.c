/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/precedence.h"

enum closeness { CLOSENESS_ONE, CLOSENESS_GROUP, CLOSENESS_RANGE };

static enum closeness closeness(const struct assignment *a)
{
    if (a->selector.kind == SELECTOR_GROUP)
        return CLOSENESS_GROUP;
    if (a->selector.kind == SELECTOR_UID && a->selector.uid.lo != a->selector.uid.hi)
        return CLOSENESS_RANGE;
    return CLOSENESS_ONE;
}

static int leniency(const struct assignment *a)
{
    if (!a->network)
        return 0;
    if (assignment_is_default(a))
        return 3;
    return a->strength == STRENGTH_REQUIRE ? 1 : 2;
}

int precedence_compare(const struct assignment *a, const struct assignment *b)
{
    enum closeness close_a = closeness(a), close_b = closeness(b);
    int c;

    /* 1 */
    c = CMP(close_a, close_b);
    if (c != 0)
        return c;
    /* 2 */
    if (close_a == CLOSENESS_RANGE) {
        c = CMP(a->selector.uid.hi - a->selector.uid.lo, b->selector.uid.hi - b->selector.uid.lo);
        if (c != 0)
            return c;
    }
    /* 3 */
    c = CMP(leniency(a), leniency(b));
    if (c != 0)
        return c;
    /* 4 */
    return selector_compare(&a->selector, &b->selector);
}

const struct assignment *precedence_decide(const struct assignments *all, uint32_t uid)
{
    const struct assignment *best = NULL;

    for (size_t i = 0; i < all->n; i++) {
        const struct assignment *a = &all->items[i];
        const struct uid_range *ranges;
        size_t n = assignment_ranges(a, &ranges);

        for (size_t j = 0; j < n; j++)
            if (uid_range_contains(&ranges[j], uid) && (!best || precedence_compare(a, best) < 0))
                best = a;
    }
    return best;
}
