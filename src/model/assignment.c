/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/assignment.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"

static const char *const strength_names[STRENGTH_MAX] = {
    [STRENGTH_REQUIRE] = "require",
    [STRENGTH_PREFER] = "prefer",
};

const char *strength_to_string(enum strength strength)
{
    return strength_names[strength];
}

int strength_from_string(const char *s)
{
    return parse_word(strength_names, ELEMENTSOF(strength_names), s);
}

struct uid_set *uid_set_new(const struct uid_range *ranges, size_t n)
{
    struct uid_set *s = malloc(sizeof(*s) + n * sizeof(*ranges));

    if (!s)
        return NULL;
    s->refs = 1;
    if (n > 0)
        memcpy(s->ranges, ranges, n * sizeof(*ranges));
    s->n = uid_ranges_coalesce(s->ranges, n);
    return s;
}

struct uid_set *uid_set_ref(struct uid_set *s)
{
    if (s)
        s->refs++;
    return s;
}

void uid_set_unref(struct uid_set *s)
{
    if (s && --s->refs == 0)
        free(s);
}

bool uid_set_equal(const struct uid_set *a, const struct uid_set *b)
{
    if (a == b)
        return true;
    return a && b && a->n == b->n && mem_equal(a->ranges, b->ranges, a->n * sizeof(a->ranges[0]));
}

void assignment_done(struct assignment *a)
{
    selector_done(&a->selector);
    rstr_unref(a->network);
    uid_set_unref(a->uids);
    rstr_unref(a->file);
    *a = (struct assignment){ 0 };
}

bool assignment_is_default(const struct assignment *a)
{
    return a->network && streq(a->network->s, "default");
}

const char *assignment_target(const struct assignment *a)
{
    return a->network ? a->network->s : "none";
}

int assignment_set_target(struct assignment *a, const char *target)
{
    if (streq(target, "none"))
        return 0;
    a->network = rstr_new(target);
    if (!a->network)
        return -ENOMEM;
    if (assignment_is_default(a))
        a->strength = STRENGTH_PREFER;
    return 0;
}

bool assignment_equal(const struct assignment *a, const struct assignment *b)
{
    return selector_compare(&a->selector, &b->selector) == 0 && a->strength == b->strength &&
           a->origin == b->origin && a->line == b->line && (!a->network == !b->network) &&
           (a->network == b->network || streq(rstr_text(a->network), rstr_text(b->network))) &&
           (a->file == b->file || streq(rstr_text(a->file), rstr_text(b->file))) &&
           uid_set_equal(a->uids, b->uids) && a->uids_old == b->uids_old;
}

size_t assignment_ranges(const struct assignment *a, const struct uid_range **ret_ranges)
{
    switch (a->selector.kind) {
    case SELECTOR_UID:
        *ret_ranges = &a->selector.uid;
        return 1;
    case SELECTOR_USER:
    case SELECTOR_GROUP:
        *ret_ranges = a->uids ? a->uids->ranges : NULL;
        return a->uids ? a->uids->n : 0;
    case SELECTOR_CGROUP:
    case SELECTOR_UNIT:
    case SELECTOR_EXE:
    case SELECTOR_KIND_MAX:
        break;
    }
    *ret_ranges = NULL;
    return 0;
}

struct assignments *assignments_new(void)
{
    struct assignments *a = calloc(1, sizeof(*a));

    if (a)
        a->refs = 1;
    return a;
}

struct assignments *assignments_ref(struct assignments *a)
{
    a->refs++;
    return a;
}

void assignments_unref(struct assignments *a)
{
    if (!a || --a->refs > 0)
        return;
    for (size_t i = 0; i < a->n; i++)
        assignment_done(&a->items[i]);
    free(a->items);
    free(a);
}

struct assignments *assignments_copy(const struct assignments *a)
{
    _cleanup_(assignments_unrefp) struct assignments *c = assignments_new();

    /* room for one more: the usual reason for a copy */
    if (!c || ARRAY_RESERVE(c->items, c->capacity, a->n + 1) < 0)
        return NULL;
    if (a->n > 0)
        memcpy(c->items, a->items, a->n * sizeof(*a->items));
    c->n = a->n;
    for (size_t i = 0; i < c->n; i++) {
        (void)rstr_ref(c->items[i].selector.text);
        (void)rstr_ref(c->items[i].network);
        (void)uid_set_ref(c->items[i].uids);
        (void)rstr_ref(c->items[i].file);
    }
    return TAKE_PTR(c);
}

/* The first entry that is not below the selector. */
static size_t lower_bound(const struct assignments *a, const struct selector *selector)
{
    size_t lo = 0, hi = a->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (selector_compare(&a->items[mid].selector, selector) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

ssize_t assignments_find(const struct assignments *a, const struct selector *selector)
{
    size_t i = lower_bound(a, selector);

    if (i < a->n && selector_compare(&a->items[i].selector, selector) == 0)
        return (ssize_t)i;
    return -ENOENT;
}

int assignments_put(struct assignments *a, struct assignment *assignment)
{
    size_t i = lower_bound(a, &assignment->selector);

    if (i < a->n && selector_compare(&a->items[i].selector, &assignment->selector) == 0) {
        assignment_done(&a->items[i]);
    } else {
        if (ARRAY_RESERVE(a->items, a->capacity, a->n + 1) < 0) {
            assignment_done(assignment);
            return -ENOMEM;
        }
        memmove(a->items + i + 1, a->items + i, (a->n - i) * sizeof(*a->items));
        a->n++;
    }
    a->items[i] = *assignment;
    *assignment = (struct assignment){ 0 };
    return 0;
}

int assignments_push(struct assignments *a, struct assignment *assignment)
{
    if (ARRAY_RESERVE(a->items, a->capacity, a->n + 1) < 0) {
        assignment_done(assignment);
        return -ENOMEM;
    }
    a->items[a->n++] = *assignment;
    *assignment = (struct assignment){ 0 };
    return 0;
}

static int compare_items(const void *x, const void *y)
{
    const struct assignment *a = x, *b = y;
    int c = selector_compare(&a->selector, &b->selector);

    return c ? c : CMP(a->line, b->line);
}

int assignments_sort(struct assignments *a, size_t *ret_twice)
{
    if (a->n > 0)
        qsort(a->items, a->n, sizeof(*a->items), compare_items);
    for (size_t i = 1; i < a->n; i++)
        if (selector_compare(&a->items[i - 1].selector, &a->items[i].selector) == 0) {
            *ret_twice = i;
            return -EEXIST;
        }
    return 0;
}

bool assignments_next(struct assignments_walk *w, const struct assignment **ret_a,
                      const struct assignment **ret_b)
{
    const struct assignment *a = w->i < w->a->n ? &w->a->items[w->i] : NULL;
    const struct assignment *b = w->j < w->b->n ? &w->b->items[w->j] : NULL;
    int c = !a ? 1 : !b ? -1 : selector_compare(&a->selector, &b->selector);

    if (!a && !b)
        return false;
    *ret_a = c <= 0 ? a : NULL;
    *ret_b = c >= 0 ? b : NULL;
    w->i += c <= 0;
    w->j += c >= 0;
    return true;
}

void assignments_remove(struct assignments *a, size_t i)
{
    assignment_done(&a->items[i]);
    a->n--;
    memmove(a->items + i, a->items + i + 1, (a->n - i) * sizeof(*a->items));
}
