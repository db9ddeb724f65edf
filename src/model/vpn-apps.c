/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/vpn-apps.h"

#include <errno.h>

#include "basic/array.h"

static size_t bound(const struct vpn_apps *a, const struct selector *selector)
{
    size_t lo = 0, hi = a->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (selector_compare(a->items[mid].selector, selector) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

const struct vpn_app *vpn_apps_find(const struct vpn_apps *a, const struct selector *selector)
{
    size_t i = bound(a, selector);

    return i < a->n && selector_compare(a->items[i].selector, selector) == 0 ? &a->items[i] : NULL;
}

static int put(struct vpn_apps *a, const struct selector *selector, enum vpn_target target)
{
    size_t i = bound(a, selector);

    if (i == a->n || selector_compare(a->items[i].selector, selector) != 0) {
        if (ARRAY_RESERVE(a->items, a->cap, a->n + 1) < 0)
            return -ENOMEM;
        memmove(a->items + i + 1, a->items + i, (a->n - i) * sizeof(*a->items));
        a->n++;
    }
    a->items[i] = (struct vpn_app){ .selector = selector, .target = target };
    return 0;
}

static int put_list(struct vpn_apps *a, const struct selector_list *list, enum vpn_target target)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < list->n; i++)
        r = put(a, &list->items[i], target);
    return r;
}

bool vpn_has_own_lists(const struct vpn *v)
{
    return v->allowed.n > 0 || v->disallowed.n > 0;
}

/* All that it may be for. A user who is not known has no apps. */
static int put_base(struct vpn_apps *a, const struct vpn *v, enum vpn_target target)
{
    uint32_t user = vpn_user(v);

    if (!v->everyone && user == UID_INVALID)
        return 0;
    a->base.uid = v->everyone ? (struct uid_range){ 1, UID_MAX } : (struct uid_range){ user, user };
    return put(a, &a->base, target);
}

int vpn_apps_make(const struct vpn *v, struct vpn_apps *ret)
{
    static const struct selector_list none;
    bool own = vpn_has_own_lists(v) || !v->config;
    const struct selector_list *allowed = own ? &v->allowed : &v->config->allowed;
    const struct selector_list *disallowed = own ? &v->disallowed : &v->config->disallowed;
    bool strict = v->lockdown && !own && allowed->n > 0;
    int r = 0;

    *ret = (struct vpn_apps){ .base = { .kind = SELECTOR_UID } };
    if (!vpn_holds(v))
        return 0;
    if (v->kind == VPN_ADOPTED && !own)
        allowed = disallowed = &none; /* there is no program that could say */
    if (allowed->n == 0 || strict)
        r = put_base(ret, v, strict ? VPN_TO_NONE : VPN_TO_NETWORK);
    if (r == 0)
        r = put_list(ret, allowed, VPN_TO_NETWORK);
    if (r == 0)
        r = put_list(ret, disallowed, v->lockdown ? VPN_TO_NONE : VPN_TO_DEFAULT);
    if (r == 0)
        r = put_list(ret, &v->exempt, VPN_TO_DEFAULT);
    if (r < 0)
        vpn_apps_done(ret);
    return r;
}

void vpn_apps_done(struct vpn_apps *a)
{
    free(a->items);
    *a = (struct vpn_apps){ 0 };
}

const struct vpn *vpn_of_selector(const struct model *m, const struct selector *selector)
{
    const struct vpn *found = NULL;

    for (size_t i = 0; !found && i < m->n_vpns; i++) {
        _cleanup_vpn_apps_ struct vpn_apps apps = { 0 };

        if (vpn_apps_make(m->vpns[i], &apps) == 0 && vpn_apps_find(&apps, selector))
            found = m->vpns[i];
    }
    return found;
}
