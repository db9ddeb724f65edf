/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/vpn.h"

#include <errno.h>

#include "basic/array.h"
#include "decide/vpn-conflict.h"

/* Networks. */

/* Is the interface somebody else's, who was there first? */
static bool is_taken(const struct model *m, size_t vpn, const char *interface)
{
    const struct network *n = model_network_of(m, interface);

    if (n && n->origin != ORIGIN_HOST && n->origin != ORIGIN_VPN)
        return true;
    for (size_t i = 0; i < vpn; i++)
        if (vpn_is_active(m->vpns[i]) && vpn_has_interface(m->vpns[i], interface))
            return true;
    return false;
}

static int add_interfaces(const struct model *m, size_t vpn, struct network *n)
{
    const struct vpn *v = m->vpns[vpn];
    int r = 0;

    for (size_t i = 0; r == 0 && i < v->n_interfaces; i++)
        if (!is_taken(m, vpn, v->interfaces[i]))
            r = network_add_interface(n, v->interfaces[i]);
    return r;
}

static int add_prefixes(struct network *n, const struct ip_prefix *prefixes, size_t count)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < count; i++)
        r = network_add_outside(n, &prefixes[i]);
    return r;
}

static int add_link_local(struct network *n)
{
    static const char *const texts[] = { "169.254.0.0/16", "224.0.0.0/24", "fe80::/10",
                                         "ff02::/16" };
    struct ip_prefix prefix;
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(texts); i++)
        if (ip_prefix_parse(texts[i], &prefix) == 0)
            r = network_add_outside(n, &prefix);
    return r;
}

/* The administrator's choice, else the program's, who has none under lockdown. */
static int add_outside(const struct vpn *v, struct network *n)
{
    const struct vpn_config *c = v->config;
    bool own = v->lan != VPN_LAN_NONE || v->lockdown || !c;
    enum vpn_lan lan = own ? v->lan : c->lan;

    if (lan == VPN_LAN_LINK_LOCAL)
        return add_link_local(n);
    if (lan != VPN_LAN_PREFIXES)
        return 0;
    return own ? add_prefixes(n, v->lan_prefixes, v->n_lan_prefixes)
               : add_prefixes(n, c->lan_prefixes, c->n_lan_prefixes);
}

/* Who adopts an interface and says nothing of its routes means those that it has. */
static unsigned blocked_families(const struct vpn *v)
{
    const struct vpn_config *c = v->config;

    if (v->kind == VPN_ADOPTED && c->n_addresses + c->n_routes + c->n_dns == 0)
        return 0;
    return vpn_config_blocked_families(c);
}

static void push_route(struct network *n, enum route_kind kind, struct ip_prefix dst,
                       const char *interface)
{
    struct route_spec *route = &n->routes[n->n_routes++];

    *route = (struct route_spec){ .kind = kind, .dst = dst };
    if (interface)
        (void)str_set(route->interface, sizeof(route->interface), interface);
}

/* Routes, and its own addresses, which are nobody else's also while the interface is away. */
static void push_routes(const struct vpn_config *c, struct network *n, const char *interface)
{
    for (size_t i = 0; i < c->n_routes; i++)
        push_route(n, c->routes[i].kind, c->routes[i].dst, interface);
    for (size_t i = 0; i < c->n_addresses; i++) {
        const struct ip_addr *addr = &c->addresses[i].addr;
        struct ip_prefix host = ip_prefix_make(addr, ip_family_bits(addr->family));

        if (!vpn_config_has_route(c, &host))
            push_route(n, ROUTE_UNICAST, host, interface);
    }
}

/*
 * By each of its interfaces: of those that are there, the first one is used. Then the families that
 * nothing is known of. All at once: there may be thousands.
 */
static int add_routes(const struct vpn *v, struct network *n)
{
    const struct vpn_config *c = v->config;
    /* of several tables, the one that is asked last */
    const char *last = n->n_interfaces > 0 ? n->interfaces[n->n_interfaces - 1] : NULL;
    size_t times = MAX(n->n_interfaces, (size_t)1);
    unsigned blocked = blocked_families(v);

    n->routes = calloc(times * (c->n_routes + c->n_addresses) + 2, sizeof(*n->routes));
    if (!n->routes)
        return -ENOMEM;
    for (size_t i = 0; i < times; i++)
        push_routes(c, n, last ? n->interfaces[i] : NULL);
    for (unsigned i = 0; i < 2; i++) {
        struct ip_prefix all = { .addr.family = (uint8_t)family_at(i) };

        if (blocked & 1U << i && !vpn_config_has_route(c, &all))
            push_route(n, ROUTE_UNREACHABLE, all, last);
    }
    return 0;
}

static int add_dns(const struct vpn_config *c, struct network *n)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->n_dns; i++)
        r = network_add_dns(n, &c->dns[i]);
    for (size_t i = 0; r == 0 && i < c->n_domains; i++)
        r = network_add_domain(n, c->domains[i]->s);
    n->has_dns = c->n_dns > 0;
    return r;
}

/* Steps 1 and 2. */
static int derive(const struct model *m, size_t vpn, struct network *n)
{
    const struct vpn *v = m->vpns[vpn];
    /* its routes say what is its own, also while the interface is lost */
    bool known = vpn_is_active(v) || vpn_is_lost(v);
    bool falls = v->kind == VPN_SERVICE || v->fall_through;
    int r;

    memcpy(n->name, v->name, sizeof(n->name));
    n->origin = ORIGIN_VPN;
    n->type = NETWORK_VPN;
    n->secure = !vpn_is_bypassable(v);
    n->lockdown = v->lockdown;
    n->fall_through = known && falls && !v->lockdown;
    r = add_outside(v, n);
    if (r == 0 && vpn_is_active(v))
        r = add_interfaces(m, vpn, n);
    if (r == 0 && known && v->config)
        r = add_routes(v, n);
    if (r == 0 && vpn_is_active(v) && v->config)
        r = add_dns(v->config, n);
    return r;
}

/* A host network makes room: for one of its name, and for one that has its interface. */
static void make_room(struct model *m, const struct network *n)
{
    for (size_t i = m->n_networks; i-- > 0;) {
        const struct network *other = m->networks[i];
        bool mine = streq(other->name, n->name);

        for (size_t j = 0; !mine && j < n->n_interfaces; j++)
            mine = network_has_interface(other, n->interfaces[j]);
        if (mine && other->origin == ORIGIN_HOST)
            model_drop_network(m, other->netid);
    }
}

static int update_network(struct model *m, size_t vpn)
{
    _cleanup_(network_unrefp) struct network *n = network_new();
    const char *name = m->vpns[vpn]->name;
    const struct network *old = model_network_by_name(m, name);
    int r = n ? derive(m, vpn, n) : -ENOMEM;

    if (r < 0)
        return r;
    if (old && old->origin != ORIGIN_HOST && old->origin != ORIGIN_VPN)
        return 0;
    n->netid = old ? old->netid : model_choose_netid(m, name);
    if (n->netid == NETID_UNSET || (old && network_equal(old, n)))
        return 0;
    make_room(m, n);
    r = model_know_netid(m, n->name, n->netid);
    return r < 0 ? r : model_put_network(m, TAKE_PTR(n));
}

static int update_networks(struct model *m)
{
    int r = 0;

    for (size_t i = m->n_networks; i-- > 0;)
        if (m->networks[i]->origin == ORIGIN_VPN && !model_vpn(m, m->networks[i]->name))
            model_drop_network(m, m->networks[i]->netid);
    for (size_t i = 0; r == 0 && i < m->n_vpns; i++)
        r = update_network(m, i);
    return r;
}

/* Assignments. */

/* What is wanted of one selector. */
struct wish {
    const struct vpn_app *app;
    const struct vpn *vpn;
};

struct wishes {
    struct vpn_apps *apps; /* of each VPN: they own the selectors */
    size_t n_apps;
    struct wish *items;
    size_t n, cap;
    struct rstr *word; /* "default" */
};

static void wishes_done(struct wishes *w)
{
    for (size_t i = 0; i < w->n_apps; i++)
        vpn_apps_done(&w->apps[i]);
    free(w->apps);
    free(w->items);
    rstr_unref(w->word);
}

/*
 * Several VPNs with the same selector, which the edits prevent but a new configuration may bring: who
 * takes the app comes before who leaves it alone, then the configuration before commands, and
 * those before programs.
 */
static int compare_wishes(const void *x, const void *y)
{
    const struct wish *a = x, *b = y;
    int c = selector_compare(a->app->selector, b->app->selector);

    if (c == 0)
        c = CMP(a->app->target == VPN_TO_DEFAULT, b->app->target == VPN_TO_DEFAULT);
    if (c == 0)
        c = CMP(a->vpn->origin, b->vpn->origin);
    return c ? c : strcmp(a->vpn->name, b->vpn->name);
}

/* Steps 3 to 5: all that is wanted, each selector once. */
static int collect(const struct model *m, struct wishes *w)
{
    size_t out = 0;
    int r = 0;

    w->word = rstr_new("default");
    w->apps = calloc(m->n_vpns + 1, sizeof(*w->apps));
    if (!w->word || !w->apps)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < m->n_vpns; i++) {
        struct vpn_apps *apps = &w->apps[w->n_apps++];

        r = vpn_check_apps(m, m->vpns[i], NULL, NULL);
        if (r == -EBUSY && m->vpns[i]->origin == ORIGIN_RUNTIME) {
            r = 0; /* somebody has come to hold its apps since: step 6 */
            continue;
        }
        r = r == -ENOMEM ? r : vpn_apps_make(m->vpns[i], apps);
        for (size_t j = 0; r == 0 && j < apps->n; j++)
            r = ARRAY_PUSH(w->items, w->n, w->cap,
                           ((struct wish){ .app = &apps->items[j], .vpn = m->vpns[i] }));
    }
    if (r < 0 || w->n == 0)
        return r;
    qsort(w->items, w->n, sizeof(*w->items), compare_wishes);
    for (size_t i = 0; i < w->n; i++)
        if (out == 0 ||
            selector_compare(w->items[out - 1].app->selector, w->items[i].app->selector) != 0)
            w->items[out++] = w->items[i];
    w->n = out;
    return 0;
}

static const char *target_of(const struct wish *wish)
{
    static const char *const words[] = { [VPN_TO_NONE] = "none", [VPN_TO_DEFAULT] = "default" };

    return wish->app->target == VPN_TO_NETWORK ? wish->vpn->name : words[wish->app->target];
}

static enum strength strength_of(const struct wish *wish)
{
    bool prefer = wish->app->target == VPN_TO_DEFAULT ||
                  (wish->app->target == VPN_TO_NETWORK && vpn_is_bypassable(wish->vpn));

    return prefer ? STRENGTH_PREFER : STRENGTH_REQUIRE;
}

static bool is_fulfilled(const struct wish *wish, const struct assignment *a)
{
    return a->origin == ORIGIN_VPN && streq(assignment_target(a), target_of(wish)) &&
           a->strength == strength_of(wish);
}

/* What there is, side by side with what is wanted: `a` or `wish` is NULL where there is none. */
struct walk {
    const struct assignments *all;
    const struct wishes *wishes;
    size_t i, j;
};

static bool walk_next(struct walk *w, const struct assignment **ret_a, const struct wish **ret_wish)
{
    const struct assignment *a = w->i < w->all->n ? &w->all->items[w->i] : NULL;
    const struct wish *wish = w->j < w->wishes->n ? &w->wishes->items[w->j] : NULL;
    int c = !a ? 1 : !wish ? -1 : selector_compare(&a->selector, wish->app->selector);

    if (!a && !wish)
        return false;
    *ret_a = c <= 0 ? a : NULL;
    *ret_wish = c >= 0 ? wish : NULL;
    w->i += c <= 0;
    w->j += c >= 0;
    return true;
}

/* Step 6: somebody else's stays as it is. */
static bool is_settled(const struct assignment *a, const struct wish *wish)
{
    if (a && a->origin != ORIGIN_VPN)
        return true;
    return a && wish && is_fulfilled(wish, a);
}

static bool is_all_settled(const struct model *m, const struct wishes *wishes)
{
    struct walk w = { .all = m->assignments, .wishes = wishes };
    const struct assignment *a;
    const struct wish *wish;
    bool settled = true;

    while (settled && walk_next(&w, &a, &wish))
        settled = is_settled(a, wish);
    return settled;
}

static int push_wish(const struct model *m, const struct wishes *wishes, const struct wish *wish,
                     const struct assignment *old, struct assignments *all)
{
    struct assignment a = { .selector = *wish->app->selector,
                            .strength = strength_of(wish),
                            .origin = ORIGIN_VPN };

    (void)rstr_ref(a.selector.text);
    if (wish->app->target == VPN_TO_DEFAULT)
        a.network = rstr_ref(wishes->word);
    else if (assignment_set_target(&a, target_of(wish)) < 0) {
        assignment_done(&a);
        return -ENOMEM;
    }
    a.network = model_intern_name(m, a.network);
    if (old) {
        a.uids = uid_set_ref(old->uids);
        a.uids_old = old->uids_old;
    }
    return assignments_push(all, &a);
}

static int push_old(const struct assignment *old, struct assignments *all)
{
    struct assignment a = *old;

    (void)rstr_ref(a.selector.text);
    (void)rstr_ref(a.network);
    (void)uid_set_ref(a.uids);
    (void)rstr_ref(a.file);
    return assignments_push(all, &a);
}

static int update_assignments(struct model *m)
{
    _cleanup_(assignments_unrefp) struct assignments *all = NULL;
    _cleanup_(wishes_done) struct wishes wishes = { 0 };
    struct walk w = { .all = m->assignments, .wishes = &wishes };
    const struct assignment *a;
    const struct wish *wish;
    int r = collect(m, &wishes);

    if (r < 0 || is_all_settled(m, &wishes))
        return r;
    all = assignments_new();
    if (!all)
        return -ENOMEM;
    while (r == 0 && walk_next(&w, &a, &wish)) {
        if (is_settled(a, wish))
            r = push_old(a, all);
        else if (wish)
            r = push_wish(m, &wishes, wish, a, all);
    }
    if (r < 0)
        return r;
    assignments_unref(m->assignments);
    m->assignments = TAKE_PTR(all);
    return 0;
}

int vpn_update(struct model *m)
{
    int r = update_networks(m);

    return r < 0 ? r : update_assignments(m);
}
