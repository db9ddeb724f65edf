/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/vpn.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"

static const char *const kind_names[VPN_KIND_MAX] = {
    [VPN_SERVICE] = "service",
    [VPN_ADOPTED] = "adopted",
};

static const char *const lan_names[VPN_LAN_MAX] = {
    [VPN_LAN_NONE] = "none",
    [VPN_LAN_LINK_LOCAL] = "link-local",
    [VPN_LAN_PREFIXES] = "prefixes",
};

const char *vpn_kind_to_string(enum vpn_kind kind)
{
    return kind_names[kind];
}

int vpn_kind_from_string(const char *s)
{
    return parse_word(kind_names, ELEMENTSOF(kind_names), s);
}

const char *vpn_lan_to_string(enum vpn_lan lan)
{
    return lan_names[lan];
}

/* The first one that is not below the selector. */
static size_t list_bound(const struct selector_list *s, const struct selector *selector)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (selector_compare(&s->items[mid], selector) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool selector_list_has(const struct selector_list *s, const struct selector *selector)
{
    size_t i = list_bound(s, selector);

    return i < s->n && selector_compare(&s->items[i], selector) == 0;
}

int selector_list_add(struct selector_list *s, const char *text, struct why *why)
{
    struct selector selector;
    int r = selector_parse(text, &selector, why);
    size_t i;

    if (r < 0)
        return r;
    if (selector_list_has(s, &selector))
        r = 0;
    else if (s->n == VPN_APPS_MAX)
        r = why_set(why, -E2BIG, "more than %d apps", VPN_APPS_MAX);
    else if (ARRAY_RESERVE(s->items, s->cap, s->n + 1) < 0)
        r = -ENOMEM;
    else {
        i = list_bound(s, &selector);
        memmove(s->items + i + 1, s->items + i, (s->n - i) * sizeof(*s->items));
        s->items[i] = selector;
        s->n++;
        return 0;
    }
    selector_done(&selector);
    return r;
}

int selector_list_copy(struct selector_list *ret, const struct selector_list *s)
{
    struct selector_list c = { 0 };

    if (array_copy((void **)&c.items, s->items, s->n, sizeof(*s->items)) < 0)
        return -ENOMEM;
    c.n = c.cap = s->n;
    for (size_t i = 0; i < c.n; i++)
        (void)rstr_ref(c.items[i].text);
    *ret = c;
    return 0;
}

bool selector_list_equal(const struct selector_list *a, const struct selector_list *b)
{
    if (a->n != b->n)
        return false;
    for (size_t i = 0; i < a->n; i++)
        if (selector_compare(&a->items[i], &b->items[i]) != 0)
            return false;
    return true;
}

void selector_list_done(struct selector_list *s)
{
    for (size_t i = 0; i < s->n; i++)
        selector_done(&s->items[i]);
    free(s->items);
    *s = (struct selector_list){ 0 };
}

static int add_lan_prefix(struct ip_prefix **prefixes, size_t *n, const char *text, struct why *why)
{
    struct ip_prefix prefix, *grown;

    if (ip_prefix_parse(text, &prefix) < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no part of the LAN: use none, link-local or prefixes such as "
                       "192.168.1.0/24",
                       text);
    if (prefix.len == 0)
        return why_set(why, -EINVAL, "'%.60s' is everything, not the LAN", text);
    for (size_t i = 0; i < *n; i++)
        if (ip_prefix_compare(&(*prefixes)[i], &prefix) == 0)
            return 0;
    if (*n == NETWORK_OUTSIDE_MAX)
        return why_set(why, -E2BIG, "more than %d prefixes of the LAN", NETWORK_OUTSIDE_MAX);
    grown = reallocarray(*prefixes, *n + 1, sizeof(prefix));
    if (!grown)
        return -ENOMEM;
    *prefixes = grown;
    grown[(*n)++] = prefix;
    return 0;
}

int vpn_lan_add(enum vpn_lan *lan, struct ip_prefix **prefixes, size_t *n, const char *text,
                struct why *why)
{
    int r;

    if (streq(text, "none") || streq(text, "link-local")) {
        if (*n > 0)
            return why_set(why, -EINVAL, "'%s' stands alone, without prefixes", text);
        *lan = text[0] == 'n' ? VPN_LAN_NONE : VPN_LAN_LINK_LOCAL;
        return 0;
    }
    if (*lan == VPN_LAN_LINK_LOCAL)
        return why_set(why, -EINVAL, "'link-local' stands alone, without prefixes");
    r = add_lan_prefix(prefixes, n, text, why);
    if (r == 0)
        *lan = VPN_LAN_PREFIXES;
    return r;
}

struct vpn *vpn_new(void)
{
    struct vpn *v = calloc(1, sizeof(*v));

    if (!v)
        return NULL;
    v->refs = 1;
    v->owner_resolved = v->owner_uid = UID_INVALID;
    return v;
}

struct vpn *vpn_ref(struct vpn *v)
{
    v->refs++;
    return v;
}

void vpn_unref(struct vpn *v)
{
    if (!v || --v->refs > 0)
        return;
    rstr_unref(v->source);
    selector_done(&v->owner);
    selector_list_done(&v->allowed);
    selector_list_done(&v->disallowed);
    selector_list_done(&v->exempt);
    rstr_unref(v->engine);
    vpn_config_unref(v->config);
    free(v->lan_prefixes);
    free(v->interfaces);
    free(v);
}

struct vpn *vpn_copy(const struct vpn *v)
{
    _cleanup_(vpn_unrefp) struct vpn *c = vpn_new();
    int r = 0;

    if (!c)
        return NULL;
    *c = *v;
    c->refs = 1;
    c->allowed = c->disallowed = c->exempt = (struct selector_list){ 0 };
    c->lan_prefixes = NULL;
    c->interfaces = NULL;
    c->source = rstr_ref(v->source);
    c->owner.text = rstr_ref(v->owner.text);
    c->engine = rstr_ref(v->engine);
    c->config = vpn_config_ref(v->config);

    r |= selector_list_copy(&c->allowed, &v->allowed);
    r |= selector_list_copy(&c->disallowed, &v->disallowed);
    r |= selector_list_copy(&c->exempt, &v->exempt);
    r |= array_copy((void **)&c->lan_prefixes, v->lan_prefixes, v->n_lan_prefixes,
                    sizeof(*v->lan_prefixes));
    r |=
        array_copy((void **)&c->interfaces, v->interfaces, v->n_interfaces, sizeof(*v->interfaces));
    return r < 0 ? NULL : TAKE_PTR(c);
}

/* The administrator's half. */
static bool profile_equal(const struct vpn *a, const struct vpn *b)
{
    return streq(a->name, b->name) && a->kind == b->kind && a->origin == b->origin &&
           streq(rstr_text(a->source), rstr_text(b->source)) && a->has_owner == b->has_owner &&
           selector_compare(&a->owner, &b->owner) == 0 && a->owner_resolved == b->owner_resolved &&
           a->owner_old == b->owner_old && a->everyone == b->everyone &&
           selector_list_equal(&a->allowed, &b->allowed) &&
           selector_list_equal(&a->disallowed, &b->disallowed) &&
           selector_list_equal(&a->exempt, &b->exempt) && a->lockdown == b->lockdown &&
           a->always_on == b->always_on && a->bypass == b->bypass &&
           a->fall_through == b->fall_through && a->forward == b->forward && a->lan == b->lan &&
           a->n_lan_prefixes == b->n_lan_prefixes &&
           mem_equal(a->lan_prefixes, b->lan_prefixes,
                     a->n_lan_prefixes * sizeof(*a->lan_prefixes)) &&
           streq(rstr_text(a->engine), rstr_text(b->engine));
}

bool vpn_equal(const struct vpn *a, const struct vpn *b)
{
    if (a == b)
        return true;
    return profile_equal(a, b) && a->down == b->down && a->established == b->established &&
           a->owner_uid == b->owner_uid && a->n_interfaces == b->n_interfaces &&
           mem_equal(a->interfaces, b->interfaces, a->n_interfaces * sizeof(*a->interfaces)) &&
           vpn_config_equal(a->config, b->config);
}

bool vpn_has_interface(const struct vpn *v, const char *name)
{
    for (size_t i = 0; i < v->n_interfaces; i++)
        if (streq(v->interfaces[i], name))
            return true;
    return false;
}

int vpn_add_interface(struct vpn *v, const char *name, struct why *why)
{
    char interface[IFNAMSIZ], (*grown)[IFNAMSIZ];

    if (name[0] == '\0' || !str_set(interface, sizeof(interface), name))
        return why_set(why, -EINVAL, "'%.60s' is no interface name (1 to 15 bytes)", name);
    if (vpn_has_interface(v, name))
        return 0;
    grown = reallocarray(v->interfaces, v->n_interfaces + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    v->interfaces = grown;
    memcpy(grown[v->n_interfaces++], interface, sizeof(interface));
    return 0;
}

void vpn_clear_interfaces(struct vpn *v)
{
    v->n_interfaces = 0;
}

bool vpn_is_active(const struct vpn *v)
{
    if (v->kind == VPN_ADOPTED)
        return !v->down;
    return v->established && v->n_interfaces > 0;
}

bool vpn_is_lost(const struct vpn *v)
{
    return v->kind == VPN_SERVICE && v->established && v->n_interfaces == 0;
}

bool vpn_holds(const struct vpn *v)
{
    return vpn_is_active(v) || vpn_is_lost(v) || v->lockdown || v->always_on;
}

bool vpn_begins_down(const struct vpn *v)
{
    return v->engine && !v->always_on;
}

bool vpn_may_forward(const struct vpn *v)
{
    return v->kind == VPN_SERVICE && v->established && (v->forward || v->owner_uid == 0);
}

bool vpn_is_bypassable(const struct vpn *v)
{
    if (v->lockdown || (v->always_on && !vpn_is_active(v)))
        return false;
    return v->bypass && (v->kind == VPN_ADOPTED || (v->config && v->config->bypassable));
}

uint32_t vpn_user(const struct vpn *v)
{
    return v->owner_uid != UID_INVALID ? v->owner_uid : v->owner_resolved;
}
