/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/vpn-conflict.h"

#include <errno.h>
#include <stdio.h>

#include "basic/array.h"
#include "decide/precedence.h"
#include "model/vpn-apps.h"

/* Uids, sorted and apart from each other after ranges_settle(). */
struct ranges {
    struct uid_range *items;
    size_t n, cap;
};

static void ranges_done(struct ranges *r)
{
    free(r->items);
}

/* What a user: or group: selector means, as far as somebody has asked. */
static const struct uid_set *known_uids(const struct model *m, const struct selector *s)
{
    ssize_t i = assignments_find(m->assignments, s);

    if (i >= 0 && m->assignments->items[i].uids)
        return m->assignments->items[i].uids;
    i = assignments_find(m->last_uids, s);
    return i >= 0 ? m->last_uids->items[i].uids : NULL;
}

static int add_uids(const struct model *m, const struct selector *s, struct ranges *r)
{
    const struct uid_set *set;
    int e = 0;

    if (s->kind == SELECTOR_UID)
        return ARRAY_PUSH(r->items, r->n, r->cap, s->uid);
    if (s->kind != SELECTOR_USER && s->kind != SELECTOR_GROUP)
        return 0;
    set = known_uids(m, s);
    for (size_t i = 0; set && e == 0 && i < set->n; i++)
        e = ARRAY_PUSH(r->items, r->n, r->cap, set->ranges[i]);
    return e;
}

/* What is in `all` and not in `less`; both coalesced. */
static int subtract(const struct ranges *all, const struct ranges *less, struct ranges *ret)
{
    int e = 0;

    for (size_t i = 0, j = 0; e == 0 && i < all->n; i++) {
        uint64_t lo = all->items[i].lo, hi = all->items[i].hi;

        while (j < less->n && less->items[j].hi < lo)
            j++;
        for (size_t k = j; e == 0 && k < less->n && less->items[k].lo <= hi; k++) {
            if (less->items[k].lo > lo)
                e = ARRAY_PUSH(ret->items, ret->n, ret->cap,
                               ((struct uid_range){ (uint32_t)lo, less->items[k].lo - 1 }));
            lo = (uint64_t)less->items[k].hi + 1;
        }
        if (e == 0 && lo <= hi)
            e = ARRAY_PUSH(ret->items, ret->n, ret->cap,
                           ((struct uid_range){ (uint32_t)lo, (uint32_t)hi }));
    }
    return e;
}

/* The uids that it takes. Those that `a` frees are taken, too, from who holds them, where it may not. */
static int uids_of(const struct model *m, const struct vpn_apps *a, struct ranges *ret)
{
    _cleanup_(ranges_done) struct ranges taken = { 0 }, left = { 0 };
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->n; i++)
        r = add_uids(m, a->items[i].selector,
                     a->items[i].target == VPN_TO_DEFAULT && !a->programs ? &left : &taken);
    if (r < 0)
        return r;
    taken.n = uid_ranges_coalesce(taken.items, taken.n);
    left.n = uid_ranges_coalesce(left.items, left.n);
    return subtract(&taken, &left, ret);
}

/* 1 and the first uid that is in both, 0 when there is none; or -ENOMEM. */
static int common_uid(const struct model *m, const struct vpn_apps *a, const struct vpn_apps *b,
                      uint32_t *ret)
{
    _cleanup_(ranges_done) struct ranges x = { 0 }, y = { 0 };
    int r = uids_of(m, a, &x);

    if (r == 0)
        r = uids_of(m, b, &y);
    for (size_t i = 0, j = 0; r == 0 && i < x.n && j < y.n;) {
        if (x.items[i].hi < y.items[j].lo)
            i++;
        else if (y.items[j].hi < x.items[i].lo)
            j++;
        else {
            *ret = MAX(x.items[i].lo, y.items[j].lo);
            r = 1;
        }
    }
    return r;
}

static bool takes(const struct vpn_apps *a, enum selector_kind kind, struct rstr *text)
{
    const struct selector selector = { .kind = kind, .text = text };
    const struct vpn_app *app = vpn_apps_find(a, &selector);

    return app && app->target != VPN_TO_DEFAULT;
}

/* Has it the cgroup, or one above it? 1, 0 or -ENOMEM. */
static int takes_cgroup(const struct vpn_apps *a, const struct selector *s)
{
    _cleanup_(rstr_unrefp) struct rstr *path = rstr_new(s->text->s);

    if (!path)
        return -ENOMEM;
    while (!takes(a, SELECTOR_CGROUP, path)) {
        char *slash = strrchr(path->s, '/');

        if (!slash || path->s[1] == '\0')
            return 0;
        slash[slash == path->s ? 1 : 0] = '\0';
    }
    return 1;
}

/* Processes that `a` takes, and `b` does, too. 1 and which, 0 or -ENOMEM. */
static int common_process(const struct vpn_apps *a, const struct vpn_apps *b,
                          const struct selector **ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->n; i++) {
        const struct selector *s = a->items[i].selector;

        if ((a->items[i].target == VPN_TO_DEFAULT && !a->programs) || s->kind == SELECTOR_UID)
            continue;
        r = s->kind == SELECTOR_CGROUP ? takes_cgroup(b, s) : takes(b, s->kind, s->text);
        if (r > 0)
            *ret = s;
    }
    return r;
}

static int check_other(const struct model *m, const struct vpn_apps *apps, const struct vpn *other,
                       struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    _cleanup_vpn_apps_ struct vpn_apps theirs = { 0 };
    const struct selector *found = NULL;
    uint32_t uid = UID_INVALID;
    int r = vpn_apps_make(other, &theirs);

    if (r == 0)
        r = common_process(apps, &theirs, &found);
    if (r == 0)
        r = common_process(&theirs, apps, &found);
    if (r > 0)
        selector_print(found, &text);
    if (r == 0) {
        r = common_uid(m, apps, &theirs, &uid);
        if (r > 0)
            strbuf_add(&text, "uid:%u", uid);
    }
    if (r <= 0)
        return r;
    return other->lockdown || other->always_on
               ? why_set(why, -EBUSY,
                         "%.120s is VPN '%s''s, also while that is down: remove that, or give it "
                         "other apps, first",
                         strbuf_text(&text), other->name)
               : why_set(why, -EBUSY, "%.120s is VPN '%s''s: `waymark vpn down %s` first",
                         strbuf_text(&text), other->name, other->name);
}

/* Somebody assigned the very selector himself. */
static int check_assigned(const struct model *m, const struct vpn_apps *apps, struct why *why)
{
    for (size_t i = 0; i < apps->n; i++) {
        _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
        const struct selector *s = apps->items[i].selector;
        ssize_t at = assignments_find(m->assignments, s);
        const struct assignment *a = at >= 0 ? &m->assignments->items[at] : NULL;

        if (!a || a->origin == ORIGIN_VPN ||
            (apps->items[i].target == VPN_TO_DEFAULT && !apps->programs))
            continue;
        selector_print(s, &text);
        return why_set(why, -EBUSY,
                       "%.120s is assigned to %s: a VPN gets it once that is undone, see `waymark "
                       "assignments`",
                       strbuf_text(&text), assignment_target(a));
    }
    return 0;
}

/* Is what its program says of apps all there is, and is that no more than a user's word? */
static bool is_programs(const struct vpn *v)
{
    bool lists = v->config && v->config->allowed.n + v->config->disallowed.n > 0;

    return v->kind == VPN_SERVICE && v->owner_uid != 0 &&
           (v->origin == ORIGIN_RUNTIME || (lists && !vpn_has_own_lists(v)));
}

/* Is this cgroup that one, or below it? */
static bool is_below(const char *path, const char *top)
{
    size_t n = strlen(top);

    return startswith(path, top) && (path[n] == '/' || path[n] == '\0' || n == 1);
}

/* Is it in a directory of that name? */
static bool is_in_unit(const char *path, const char *unit)
{
    size_t n = strlen(unit);

    for (const char *at = strstr(path, unit); at; at = strstr(at + 1, unit))
        if (at > path && at[-1] == '/' && (at[n] == '/' || at[n] == '\0'))
            return true;
    return false;
}

static bool have_common_uid(const struct ranges *own, const struct assignment *a)
{
    const struct uid_range *held;
    size_t n = assignment_ranges(a, &held);

    for (size_t i = 0; i < own->n; i++)
        for (size_t j = 0; j < n; j++)
            if (own->items[i].lo <= held[j].hi && held[j].lo <= own->items[i].hi)
                return true;
    return false;
}

/*
 * Would the selector, of uids `own`, come before the assignment for apps that both mean, were it as
 * strict? (decide/app.h, steps 3 and 4)
 */
static bool shadows(const struct selector *s, const struct ranges *own, const struct assignment *a)
{
    const struct assignment same = { .selector = *s,
                                     .network = a->network,
                                     .strength = a->strength };

    if (s->kind == SELECTOR_CGROUP && a->selector.kind == SELECTOR_CGROUP)
        return is_below(s->text->s, a->selector.text->s);
    if (s->kind == SELECTOR_CGROUP && a->selector.kind == SELECTOR_UNIT)
        return is_in_unit(s->text->s, a->selector.text->s);
    return have_common_uid(own, a) &&
           (s->kind == SELECTOR_CGROUP || precedence_compare(&same, a) < 0);
}

/*
 * A program's word does not take apps from where somebody holds them (`require`, `none`) by a selector that
 * is less close than its own: whoever may have a VPN for himself would be free by it.
 */
static int check_held(const struct model *m, const struct vpn *v, const struct vpn_apps *apps,
                      struct why *why)
{
    uint32_t user = vpn_user(v);

    for (size_t i = 0; i < apps->n; i++) {
        const struct selector *s = apps->items[i].selector;
        _cleanup_(ranges_done) struct ranges own = { 0 };
        int r = s->kind == SELECTOR_CGROUP && user != UID_INVALID
                    ? ARRAY_PUSH(own.items, own.n, own.cap, ((struct uid_range){ user, user }))
                    : add_uids(m, s, &own);

        if (r < 0)
            return r;
        for (size_t j = 0; j < m->assignments->n; j++) {
            const struct assignment *a = &m->assignments->items[j];
            _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

            if (a->origin == ORIGIN_VPN || (a->network && a->strength != STRENGTH_REQUIRE) ||
                !shadows(s, &own, a))
                continue;
            selector_print(&a->selector, &text);
            return why_set(
                why, -EBUSY,
                "%.120s is assigned to %s: a program's VPN does not take apps from there, "
                "see `waymark assignments`",
                strbuf_text(&text), assignment_target(a));
        }
    }
    return 0;
}

int vpn_check_apps(const struct model *m, const struct vpn *v, const char **ret_other,
                   struct why *why)
{
    _cleanup_vpn_apps_ struct vpn_apps apps = { 0 };
    int r = vpn_apps_make(v, &apps);

    apps.programs = is_programs(v);
    if (ret_other)
        *ret_other = NULL;
    for (size_t i = 0; r == 0 && i < m->n_vpns; i++) {
        if (streq(m->vpns[i]->name, v->name))
            continue;
        r = check_other(m, &apps, m->vpns[i], why);
        if (r == -EBUSY && ret_other)
            *ret_other = m->vpns[i]->name;
    }
    if (r == 0)
        r = check_assigned(m, &apps, why);
    return r < 0 || !apps.programs ? r : check_held(m, v, &apps, why);
}

/*
 * Below the slice that systemd gives a user: what his session started, as himself or (sudo, setuid programs) as
 * somebody else. That may be left out of a VPN of his, not drawn in: what root asks the network is root's.
 */
static bool is_own_cgroup(const char *path, uint32_t uid)
{
    char slice[64];
    int n = snprintf(slice, sizeof(slice), "/user.slice/user-%u.slice", uid);

    return startswith(path, slice) && (path[n] == '/' || path[n] == '\0');
}

static bool is_own(const struct vpn *v, const struct selector *s, uint32_t uid, bool taken)
{
    switch (s->kind) {
    case SELECTOR_UID:
        return s->uid.lo == uid && s->uid.hi == uid;
    case SELECTOR_USER:
        return v->has_owner && selector_compare(&v->owner, s) == 0 && v->owner_resolved == uid;
    case SELECTOR_CGROUP:
        return (!taken || uid == 0) && is_own_cgroup(s->text->s, uid);
    case SELECTOR_GROUP:
    case SELECTOR_UNIT:
    case SELECTOR_EXE:
    case SELECTOR_KIND_MAX:
        break;
    }
    return false;
}

/* Everyone is everyone but root. */
static int check_root(const struct selector_list *list, struct why *why)
{
    for (size_t i = 0; i < list->n; i++)
        if (list->items[i].kind == SELECTOR_UID && list->items[i].uid.lo == 0)
            return why_set(why, -EPERM,
                           "uid:0 is root, and no part of everyone: only the administrator can put "
                           "it on a VPN (`waymark vpn set`)");
    return 0;
}

int vpn_check_scope(const struct vpn *v, const struct vpn_config *c, uint32_t uid, struct why *why)
{
    const struct selector_list *lists[] = { &c->allowed, &c->disallowed };
    int r;

    if (vpn_has_own_lists(v))
        return 0;
    if (v->everyone) {
        r = uid == 0 ? 0 : check_root(&c->allowed, why);
        return r < 0 || uid == 0 ? r : check_root(&c->disallowed, why);
    }
    for (size_t i = 0; i < ELEMENTSOF(lists); i++)
        for (size_t j = 0; j < lists[i]->n; j++) {
            _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

            if (is_own(v, &lists[i]->items[j], uid, lists[i] == &c->allowed))
                continue;
            selector_print(&lists[i]->items[j], &text);
            return why_set(
                why, -EPERM,
                "%.120s may be others' apps: without consent for everyone, use uid:%u, or leave "
                "out cgroups below /user.slice/user-%u.slice",
                strbuf_text(&text), uid, uid);
        }
    return 0;
}
