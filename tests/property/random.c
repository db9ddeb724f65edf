/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/random.h"

#include <errno.h>
#include <stdio.h>

#include "decide/host.h"

uint32_t rng_u32(struct rng *g)
{
    /* xorshift64*, Vigna 2016 */
    g->state ^= g->state >> 12;
    g->state ^= g->state << 25;
    g->state ^= g->state >> 27;
    return (uint32_t)((g->state * 0x2545f4914f6cdd1dULL) >> 32);
}

uint32_t rng_below(struct rng *g, uint32_t n)
{
    return rng_u32(g) % n;
}

bool rng_one_in(struct rng *g, uint32_t n)
{
    return rng_below(g, n) == 0;
}

uint32_t random_uid(struct rng *g)
{
    if (rng_one_in(g, 12))
        return 0;
    if (rng_one_in(g, 20))
        return rng_one_in(g, 2) ? UID_MAX : rng_u32(g) % UID_MAX;
    return RANDOM_UID_FIRST + rng_below(g, RANDOM_UID_COUNT);
}

struct uid_range random_uid_range(struct rng *g)
{
    uint32_t a = random_uid(g), b = rng_one_in(g, 2) ? a : random_uid(g);

    return (struct uid_range){ MIN(a, b), MAX(a, b) };
}

/* Links that the test made, by name. */
static const struct rtnl_link *random_link(struct rng *g, const struct kernel *k)
{
    for (int i = 0; i < 64; i++) {
        const struct rtnl_link *link = &k->links[rng_below(g, (uint32_t)k->n_links)];
        if (startswith(link->name, "eth"))
            return link;
    }
    return NULL;
}

static struct ip_addr random_addr_in(struct rng *g, const struct ip_prefix *p)
{
    struct ip_addr a = p->addr;
    unsigned bits = ip_family_bits(a.family);

    switch (rng_below(g, 4)) {
    case 0:
        return p->addr;
    case 1:
        return ip_prefix_last(p);
    default:
        for (unsigned i = p->len; i < bits; i++)
            if (rng_one_in(g, 2))
                a.bytes[i / 8] ^= (uint8_t)(0x80 >> (i % 8));
        return a;
    }
}

static struct ip_addr random_addr(struct rng *g, int family, const struct kernel *k)
{
    static const char *const special[2][6] = {
        { "224.0.0.5", "239.1.2.3", "255.255.255.255", "127.0.0.1", "0.0.0.1", "8.8.8.8" },
        { "ff02::1", "ff0e::5", "::1", "fe80::1234", "2001:db8::5", "fd99::1" },
    };
    unsigned f = family_index(family);
    struct ip_addr a = { 0 };

    if (rng_one_in(g, 5)) {
        (void)ip_addr_parse(special[f][rng_below(g, 6)], &a);
        return a;
    }
    if (k->n_routes[f] == 0)
        return a;
    return random_addr_in(g, &k->routes[f][rng_below(g, (uint32_t)k->n_routes[f])].dst);
}

/* A neighbour on the interface's subnet, as a router would be; now and then one that is not. */
static struct ip_addr random_gateway(struct rng *g, const struct kernel *k, const char *interface,
                                     int family)
{
    const struct rtnl_link *link = kernel_link_by_name(k, interface);
    struct ip_addr gateway = { 0 };

    if (rng_one_in(g, 40)) {
        (void)ip_addr_parse(family == AF_INET ? "192.0.2.1" : "2001:db8:ffff::1", &gateway);
        return gateway;
    }
    for (size_t i = 0; link && i < k->n_addrs; i++)
        if (k->addrs[i].ifindex == link->ifindex && k->addrs[i].local.family == family &&
            !ip_addr_is_link_local(&k->addrs[i].local)) {
            gateway = k->addrs[i].local;
            gateway.bytes[ip_family_bits(family) / 8 - 1] = (uint8_t)(3 + 6 * rng_below(g, 2));
        }
    return gateway;
}

static bool random_route(struct rng *g, const struct kernel *k, const char *interface,
                         struct route_spec *ret)
{
    static const char *const dsts[] = {
        "10.50.0.0/16", "10.0.1.0/24", "0.0.0.0/0", "198.51.100.7",
        "fd50::/16",    "fd00:1::/64", "::/0",      "2001:db8::/32"
    };
    const char *dst = dsts[rng_below(g, ELEMENTSOF(dsts))];

    *ret = (struct route_spec){ 0 };
    if (ip_prefix_parse(dst, &ret->dst) < 0)
        return false;
    ret->kind = rng_one_in(g, 4)   ? ROUTE_UNREACHABLE
                : rng_one_in(g, 4) ? ROUTE_THROW
                                   : ROUTE_UNICAST;
    if (ret->kind == ROUTE_UNICAST && rng_one_in(g, 3))
        ret->gateway = random_gateway(g, k, interface, ret->dst.addr.family);
    if (rng_one_in(g, 5))
        ret->mtu = 1400;
    return str_set(ret->interface, IFNAMSIZ, interface);
}

static struct network *random_network(struct rng *g, const struct model *m)
{
    return m->n_networks > 0 ? m->networks[rng_below(g, (uint32_t)m->n_networks)] : NULL;
}

/* A change of a model: 0, or the error of the edit, and the model is to be dropped (model/edit.h). */
typedef int (*change_function)(struct rng *g, struct model *m, const struct kernel *k);

/* Makes the change, or leaves the model as it was: false. */
static bool try_change(struct rng *g, struct model **m, const struct kernel *k,
                       change_function change)
{
    struct model *copy = model_copy(*m);

    if (change(g, copy, k) < 0) {
        model_free(copy);
        return false;
    }
    model_free(*m);
    *m = copy;
    return true;
}

static int add_route(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);
    struct route_spec route;

    if (!n || n->n_interfaces == 0 ||
        !random_route(g, k, n->interfaces[rng_below(g, (uint32_t)n->n_interfaces)], &route))
        return -ENODEV;
    return edit_add_route(m, k, n->name, ORIGIN_COMMAND, &route, NULL);
}

static int remove_route(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);

    if (!n || n->n_routes == 0)
        return -ESRCH;
    return edit_remove_route(m, k, n->name, ORIGIN_COMMAND,
                             &n->routes[rng_below(g, (uint32_t)n->n_routes)], NULL);
}

/* The same destination by the same interface, another way. */
static int replace_route(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);
    struct route_spec route;
    int r;

    if (!n || n->n_routes == 0)
        return -ESRCH;
    route = n->routes[rng_below(g, (uint32_t)n->n_routes)];
    r = edit_remove_route(m, k, n->name, ORIGIN_COMMAND, &route, NULL);
    if (r < 0)
        return r;
    route.mtu = route.mtu ? 0 : 1400;
    return edit_add_route(m, k, n->name, ORIGIN_COMMAND, &route, NULL);
}

static int add_legacy_route(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct rtnl_link *link = random_link(g, k);
    struct route_spec route;

    if (!link || !random_route(g, k, link->name, &route))
        return -ENODEV;
    return edit_add_legacy_route(m, k, &route, rng_one_in(g, 2), NULL);
}

static int remove_legacy_route(struct rng *g, struct model *m, const struct kernel *k)
{
    struct legacy_route legacy;

    (void)k;
    if (m->n_legacy == 0)
        return -ESRCH;
    legacy = m->legacy[rng_below(g, (uint32_t)m->n_legacy)];
    return edit_remove_legacy_route(m, &legacy.route, legacy.system, NULL);
}

static int add_users(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);
    struct uid_range range = random_uid_range(g);

    (void)k;
    return n ? edit_add_users(m, n->name, ORIGIN_COMMAND, &range, 1, NULL) : -ENONET;
}

static int remove_users(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);
    struct uid_range range;

    (void)k;
    if (!n || n->n_users == 0)
        return -ENOENT;
    range = n->users[rng_below(g, (uint32_t)n->n_users)];
    return edit_remove_users(m, n->name, ORIGIN_COMMAND, &range, 1, NULL);
}

static int change_protectable(struct rng *g, struct model *m, const struct kernel *k)
{
    (void)k;
    return model_set_protectable(m, random_uid(g), !rng_one_in(g, 4));
}

/* What is outside of a VPN: prefixes that lie in and around those of the routes. */
static void choose_outside(struct rng *g, struct network *draft)
{
    static const char *const prefixes[] = {
        "10.0.0.0/8", "10.50.0.0/16", "10.50.128.0/17", "198.51.100.0/24", "224.0.0.0/24",
        "0.0.0.0/0",  "fd50::/17",    "fd00:1::/48",    "fe80::/10",       "::/0",
    };

    draft->fall_through = rng_one_in(g, 2);
    draft->lockdown = rng_one_in(g, 4);
    for (uint32_t i = rng_one_in(g, 2) ? rng_below(g, 4) : 0; i > 0; i--)
        (void)network_read_outside(draft, prefixes[rng_below(g, ELEMENTSOF(prefixes))], NULL);
}

static int add_network(struct rng *g, struct model *m, const struct kernel *k)
{
    static const enum permission permissions[] = { PERMISSION_NONE, PERMISSION_NONE,
                                                   PERMISSION_NETWORK, PERMISSION_SYSTEM };
    _cleanup_(network_unrefp) struct network *draft = network_new();

    snprintf(draft->name, sizeof(draft->name), "net%u", rng_below(g, 7));
    draft->type = rng_one_in(g, 8)   ? NETWORK_UNREACHABLE
                  : rng_one_in(g, 8) ? NETWORK_LOCAL
                  : rng_one_in(g, 3) ? NETWORK_VPN
                                     : NETWORK_PHYSICAL;
    draft->origin = ORIGIN_COMMAND;
    if (draft->type == NETWORK_PHYSICAL)
        draft->permission = permissions[rng_below(g, 4)];
    draft->secure = rng_one_in(g, 2);
    draft->exclude_local = rng_one_in(g, 3);
    if (draft->type == NETWORK_VPN)
        choose_outside(g, draft);
    for (uint32_t i = rng_below(g, 3); i > 0 && draft->type != NETWORK_UNREACHABLE; i--) {
        const struct rtnl_link *link = random_link(g, k);

        if (link)
            (void)network_add_interface(draft, link->name);
    }
    return edit_add_network(m, k, draft,
                            FIELD_TYPE | FIELD_PERMISSION | FIELD_SECURE | FIELD_EXCLUDE_LOCAL,
                            NULL, NULL);
}

static int remove_network(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);

    (void)k;
    return n ? edit_remove_network(m, n->name, NULL) : -ENONET;
}

static int change_network(struct rng *g, struct model *m, const struct kernel *k)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    const struct network *n = random_network(g, m);
    unsigned fields = FIELD_SECURE | FIELD_EXCLUDE_LOCAL;

    (void)k;
    draft->secure = rng_one_in(g, 2);
    draft->exclude_local = rng_one_in(g, 2);
    if (n && n->type == NETWORK_VPN) {
        choose_outside(g, draft);
        fields |= FIELD_FALL_THROUGH | FIELD_LOCKDOWN | FIELD_OUTSIDE;
    }
    return n ? edit_set_network(m, n->name, ORIGIN_COMMAND, draft, fields, NULL) : -ENONET;
}

static int attach(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);
    const struct rtnl_link *link = random_link(g, k);

    return n && link ? edit_attach(m, k, n->name, ORIGIN_COMMAND, link->name, NULL) : -ENODEV;
}

static int detach(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);

    (void)k;
    return n && n->n_interfaces > 0
               ? edit_detach(m, n->name, ORIGIN_COMMAND,
                             n->interfaces[rng_below(g, (uint32_t)n->n_interfaces)], NULL)
               : -ENODEV;
}

/* What the user database says at the moment; NULL: nothing. */
static struct uid_set *random_uid_set(struct rng *g)
{
    struct uid_range ranges[4];
    size_t n = rng_below(g, ELEMENTSOF(ranges) + 1);

    for (size_t i = 0; i < n; i++)
        ranges[i] = random_uid_range(g);
    return rng_one_in(g, 8) ? NULL : uid_set_new(ranges, n);
}

static void set_random_selector(struct rng *g, struct assignment *a)
{
    static const enum selector_kind kinds[] = { SELECTOR_UID, SELECTOR_UID, SELECTOR_UID,
                                                SELECTOR_USER, SELECTOR_GROUP };
    char name[8];

    a->selector.kind = kinds[rng_below(g, ELEMENTSOF(kinds))];
    if (a->selector.kind == SELECTOR_UID) {
        a->selector.uid = random_uid_range(g);
        return;
    }
    snprintf(name, sizeof(name), "%c%u", a->selector.kind == SELECTOR_USER ? 'u' : 'g',
             rng_below(g, 4));
    a->selector.text = rstr_new(name);
    a->uids = random_uid_set(g);
}

static int assign(struct rng *g, struct model *m, const struct kernel *k)
{
    struct assignment a = {
        .strength = rng_one_in(g, 3) ? STRENGTH_PREFER : STRENGTH_REQUIRE,
        .origin = ORIGIN_COMMAND,
    };
    const struct network *n = random_network(g, m);

    (void)k;
    set_random_selector(g, &a);
    if (rng_one_in(g, 10))
        (void)assignment_set_target(&a, "default");
    else if (n && !rng_one_in(g, 6))
        a.network = rstr_new(n->name);
    else
        a.strength = STRENGTH_REQUIRE;
    return edit_assign(m, &a, NULL);
}

static int unassign(struct rng *g, struct model *m, const struct kernel *k)
{
    struct assignments *all = m->assignments;

    (void)k;
    return all->n > 0 ? edit_unassign(m, &all->items[rng_below(g, (uint32_t)all->n)].selector, NULL)
                      : -ENOENT;
}

static int change_default(struct rng *g, struct model *m, const struct kernel *k)
{
    const struct network *n = random_network(g, m);

    (void)k;
    return edit_set_default(m, n && rng_one_in(g, 2) ? n->name : NULL, NULL);
}

struct model *random_model(struct rng *g, const struct kernel *k)
{
    static const struct {
        change_function change;
        uint32_t below; /* that many times at most, less one */
    } rows[] = {
        { add_network, 6 },        { add_route, 10 },     { add_users, 8 },      { assign, 9 },
        { change_protectable, 5 }, { change_default, 4 }, { remove_network, 2 },
    };
    struct model *m = model_new();

    m->host_networks = rng_one_in(g, 2);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        for (uint32_t n = rng_below(g, rows[i].below); n > 0; n--)
            (void)try_change(g, &m, k, rows[i].change);
        if (host_update(m, k) < 0)
            abort();
    }
    for (uint32_t n = rng_one_in(g, 4) ? 2 : 0; n > 0; n--)
        (void)try_change(g, &m, k, add_legacy_route);
    return m;
}

struct model *random_neighbour(struct rng *g, const struct model *m, const struct kernel *k)
{
    static const change_function changes[] = {
        add_network,
        remove_network,
        change_network,
        change_network,
        attach,
        detach,
        assign,
        assign,
        assign,
        unassign,
        unassign,
        change_default,
        change_default,
        add_route,
        replace_route,
        replace_route,
        remove_route,
        add_legacy_route,
        remove_legacy_route,
        change_protectable,
        add_users,
        remove_users,
    };
    struct model *c = model_copy(m);

    for (uint32_t wanted = 1 + rng_below(g, 3), tries = 0; wanted > 0 && tries < 24; tries++)
        wanted -= try_change(g, &c, k, changes[rng_below(g, ELEMENTSOF(changes))]);
    if (host_update(c, k) < 0)
        abort();
    return c;
}

static uint32_t random_mark(struct rng *g, const struct model *m)
{
    static const uint32_t bits[] = { MARK_EXPLICIT, MARK_PROTECTED, 0x40000,
                                     0xc0000,       0x100000,       0x80000000 };
    uint32_t mark = 0;

    if (rng_one_in(g, 3))
        return 0;
    if (m->n_networks > 0 && !rng_one_in(g, 4))
        mark = random_network(g, m)->netid;
    for (size_t i = 0; i < ELEMENTSOF(bits); i++)
        if (rng_one_in(g, 3))
            mark |= bits[i];
    return mark;
}

struct rtnl_flow random_flow(struct rng *g, const struct kernel *k, const struct model *m)
{
    int family = rng_one_in(g, 2) ? AF_INET : AF_INET6;
    struct rtnl_flow flow = {
        .dst = random_addr(g, family, k),
        .uid = random_uid(g),
        .mark = random_mark(g, m),
    };

    if (rng_one_in(g, 3))
        flow.oif = k->links[rng_below(g, (uint32_t)k->n_links)].ifindex;
    if (rng_one_in(g, 4)) {
        const struct rtnl_addr *a = &k->addrs[rng_below(g, (uint32_t)k->n_addrs)];
        if (a->local.family == family)
            flow.src = a->local;
    }
    return flow;
}

struct plan *plan_of(const struct model *m, const struct kernel *k, enum carrier carrier,
                     const struct plan *previous)
{
    struct plan_input input = {
        .model = m,
        .kernel = k,
        .generation = (uintptr_t)k, /* other facts are another object */
        .guard = carrier != CARRIER_RULES,
        .maps = carrier == CARRIER_MAPS,
    };
    struct plan *p = NULL;

    if (plan_build(&input, previous, &p) < 0)
        abort();
    return p;
}
