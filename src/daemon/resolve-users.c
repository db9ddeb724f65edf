/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/resolve-users.h"

#include <errno.h>

#include "basic/log.h"
#include "observe/users.h"

static bool has_name(const struct assignment *a)
{
    return a->selector.kind == SELECTOR_USER || a->selector.kind == SELECTOR_GROUP;
}

static struct uid_set *uids_of_last_time(const struct model *m, const struct assignment *a)
{
    ssize_t i = a->uids ? -1 : assignments_find(m->last_uids, &a->selector);

    return uid_set_ref(i < 0 ? a->uids : m->last_uids->items[i].uids);
}

/* 0 and the uids (NULL: nobody has the name) and whether they are those of last time; or -ENOMEM. */
static int resolve(const struct model *m, const struct assignment *a, struct uid_set **ret,
                   bool *ret_old)
{
    struct why why = { 0 };
    int r = users_resolve(&a->selector, ret, &why);

    *ret_old = r == -EIO;
    if (r == -ENOENT)
        log_warning("an assignment waits: %s", why.text);
    if (r == -EIO) {
        *ret = uids_of_last_time(m, a);
        if (!a->uids_old)
            log_warning("%s: %s", why.text, *ret ? "the uids of last time hold" : "it waits");
    }
    return r == -ENOMEM ? r : 0;
}

int resolve_users(struct model *m)
{
    struct assignments *copy = NULL;

    for (size_t i = 0; i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];
        _cleanup_(uid_set_unrefp) struct uid_set *uids = NULL;
        bool old;

        if (!has_name(a))
            continue;
        if (resolve(m, a, &uids, &old) < 0)
            return -ENOMEM;
        if (uid_set_equal(uids, a->uids) && old == a->uids_old)
            continue;
        if (!copy) {
            copy = assignments_copy(m->assignments);
            if (!copy)
                return -ENOMEM;
            assignments_unref(m->assignments);
            m->assignments = copy;
        }
        uid_set_unref(copy->items[i].uids);
        copy->items[i].uids = TAKE_PTR(uids);
        copy->items[i].uids_old = old;
    }
    return 0;
}

static bool same_uids(const struct assignments *a, const struct assignments *b)
{
    bool same = a->n == b->n;

    for (size_t i = 0; same && i < a->n; i++)
        same = selector_compare(&a->items[i].selector, &b->items[i].selector) == 0 &&
               uid_set_equal(a->items[i].uids, b->items[i].uids);
    return same;
}

int resolve_users_remember(struct model *m, const struct model *before)
{
    _cleanup_(assignments_unrefp) struct assignments *now = NULL;
    int r = 0;

    if (m->assignments == before->assignments)
        return 0;
    now = assignments_new();
    if (!now)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];
        struct assignment last = { .selector = a->selector };

        if (!has_name(a) || !a->uids || a->uids->n == 0)
            continue;
        last.selector.text = rstr_ref(a->selector.text);
        last.uids = uid_set_ref(a->uids);
        r = assignments_push(now, &last);
    }
    if (r < 0 || same_uids(now, m->last_uids))
        return r;
    assignments_unref(m->last_uids);
    m->last_uids = TAKE_PTR(now);
    return 0;
}

bool resolve_users_is_due(const struct model *m)
{
    for (size_t i = 0; i < m->assignments->n; i++)
        if (m->assignments->items[i].uids_old)
            return true;
    return false;
}
