/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/refusals.h"

#include <errno.h>

#include "basic/array.h"

void refusals_done(struct refusals *r)
{
    free(r->items);
    route_set_unref(r->left_out);
    *r = (struct refusals){ 0 };
}

static int compare(const void *x, const void *y)
{
    const struct refusal *a = x, *b = y;
    return plan_route_compare(&a->route, &b->route);
}

/* Among the first n, which are sorted. */
static struct refusal *find(const struct refusals *r, size_t n, const struct rtnl_route *route)
{
    struct refusal key = { .route = *route };

    return n > 0 ? bsearch(&key, r->items, n, sizeof(key), compare) : NULL;
}

void refusals_sort(struct refusals *r)
{
    if (r->n > 0)
        qsort(r->items, r->n, sizeof(*r->items), compare);
}

bool refusals_has(const struct refusals *r, const struct rtnl_route *route)
{
    return find(r, r->n, route) != NULL;
}

static bool is_same(const struct refusal *item, const struct rtnl_route *route, int error)
{
    return item && item->error == error && plan_route_equal(&item->route, route);
}

bool refusals_know(const struct refusals *r, const struct rtnl_route *route, int error)
{
    return is_same(find(r, r->n, route), route, error);
}

/* What stood was not what was known to stand, or there was no room at that moment. */
static bool may_pass(int error)
{
    return error == -EEXIST || error == -ENOENT || error == -ESRCH || error == -ENOMEM ||
           error == -ENOBUFS;
}

int refusals_note(struct refusals *r, struct refusal *news, size_t n)
{
    size_t known = r->n;
    int again = 0;

    if (n == 0)
        return 0;
    if (ARRAY_RESERVE(r->items, r->cap, r->n + n) < 0)
        return -ENOMEM;
    for (size_t i = 0; i < n; i++) {
        struct refusal *item = find(r, known, &news[i].route);
        bool due = may_pass(news[i].error) && !is_same(item, &news[i].route, news[i].error);

        news[i].state = due ? REFUSAL_DUE : REFUSAL_LEFT_OUT;
        again |= due;
        if (item)
            *item = news[i];
        else
            r->items[r->n++] = news[i];
    }
    refusals_sort(r);
    r->due = true;
    return again;
}

void refusals_retry_one(struct refusals *r, size_t i)
{
    r->items[i].state = REFUSAL_DUE;
    r->due = true;
}

void refusals_retry(struct refusals *r, int ifindex)
{
    for (size_t i = 0; i < r->n; i++) {
        int oif = r->items[i].route.oif;

        if (ifindex == 0 || oif == 0 || oif == ifindex)
            refusals_retry_one(r, i);
    }
}

int refusals_update(struct refusals *r)
{
    _cleanup_(route_set_unrefp) struct route_set *set = NULL;
    int e = 0;

    if (!r->due)
        return 0;
    set = route_set_new();
    if (!set)
        return -ENOMEM;
    for (size_t i = 0; e == 0 && i < r->n; i++)
        if (r->items[i].state == REFUSAL_LEFT_OUT)
            e = route_set_add(set, &r->items[i].route);
        else
            r->items[i].state = REFUSAL_TRIED;
    if (e < 0)
        return e;
    route_set_unref(r->left_out);
    r->left_out = TAKE_PTR(set);
    r->due = false;
    return 0;
}

void refusals_commit(struct refusals *r)
{
    size_t out = 0;

    for (size_t i = 0; i < r->n; i++)
        if (r->items[i].state != REFUSAL_TRIED)
            r->items[out++] = r->items[i];
    r->n = out;
}
