/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/resolve-users.h"

#include <errno.h>

#include "basic/log.h"
#include "decide/vpn.h"
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

/* Of `before` it is known already; NULL: nothing is. */
static bool is_known(const struct model *before, const struct assignment *a)
{
    return before && (a->uids || a->origin != ORIGIN_VPN ||
                      assignments_find(before->assignments, &a->selector) >= 0);
}

static int resolve_assignments(struct model *m, const struct model *before)
{
    struct assignments *copy = NULL;

    for (size_t i = 0; i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];
        _cleanup_(uid_set_unrefp) struct uid_set *uids = NULL;
        bool old;

        if (!has_name(a) || is_known(before, a))
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

/* Who is that now? Nobody has the name: UID_INVALID. */
static void look_up(const struct selector *who, const char *what, uint32_t *uid, bool *old)
{
    struct why why = { 0 };
    uint32_t found;
    int r = users_uid_of_name(who->text->s, &found, &why);

    if (r == -EIO && !*old)
        log_warning("%s: %s: %s", what, why.text,
                    *uid != UID_INVALID ? "the uid of last time holds" : "it waits");
    if (r == -ENOENT)
        log_warning("%s waits: %s", what, why.text);
    *old = r == -EIO;
    if (r != -EIO)
        *uid = r == 0 ? found : UID_INVALID;
}

static int resolve_owner(struct model *m, const struct vpn *v)
{
    struct vpn *copy;
    uint32_t uid = v->owner_resolved;
    bool old = v->owner_old;

    look_up(&v->owner, "the owner of a VPN", &uid, &old);
    if (uid == v->owner_resolved && old == v->owner_old)
        return 0;
    copy = vpn_copy(v);
    if (!copy)
        return -ENOMEM;
    copy->owner_resolved = uid;
    copy->owner_old = old;
    return model_put_vpn(m, copy);
}

static int resolve_owners(struct model *m, const struct model *before)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < m->n_vpns; i++) {
        const struct vpn *v = m->vpns[i], *was = before ? model_vpn(before, v->name) : NULL;

        if (v->has_owner && v->owner.kind == SELECTOR_USER &&
            !(was && was->has_owner && selector_compare(&was->owner, &v->owner) == 0))
            r = resolve_owner(m, v);
    }
    return r;
}

static bool has_consent(const struct model *m, const struct selector *who)
{
    size_t i = model_find_consent(m, who);

    return i < m->n_consents && selector_compare(&m->consents[i].who, who) == 0;
}

static void resolve_consents(struct model *m, const struct model *before)
{
    for (size_t i = 0; i < m->n_consents; i++) {
        struct vpn_consent *c = &m->consents[i];

        if (c->who.kind == SELECTOR_USER && !(before && has_consent(before, &c->who)))
            look_up(&c->who, "a consent", &c->uid, &c->uid_old);
    }
}

static int resolve_all(struct model *m, const struct model *before)
{
    int r = resolve_owners(m, before);

    resolve_consents(m, before);
    if (r == 0)
        r = vpn_update(m);
    return r < 0 ? r : resolve_assignments(m, before);
}

int resolve_users(struct model *m)
{
    return resolve_all(m, NULL);
}

/* Nothing that matters to VPNs is another than it was. */
static bool is_same(const struct model *a, const struct model *b)
{
    return a->assignments == b->assignments && a->n_vpns == b->n_vpns &&
           a->n_networks == b->n_networks && a->n_consents == b->n_consents &&
           mem_equal(a->vpns, b->vpns, a->n_vpns * sizeof(struct vpn *)) &&
           mem_equal(a->networks, b->networks, a->n_networks * sizeof(struct network *));
}

int resolve_new_users(struct model *m, const struct model *before)
{
    return is_same(m, before) ? 0 : resolve_all(m, before);
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
    for (size_t i = 0; i < m->n_vpns; i++)
        if (m->vpns[i]->owner_old)
            return true;
    for (size_t i = 0; i < m->n_consents; i++)
        if (m->consents[i].uid_old)
            return true;
    return false;
}
