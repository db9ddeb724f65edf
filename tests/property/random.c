/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/random.h"

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

static void add_random_route(struct rng *g, struct model *m, const struct kernel *k,
                             const struct network *n)
{
    static const char *const dsts[] = {
        "10.50.0.0/16", "10.0.1.0/24", "0.0.0.0/0", "198.51.100.7",
        "fd50::/16",    "fd00:1::/64", "::/0",      "2001:db8::/32"
    };
    struct route_spec route = { 0 };
    const char *dst = dsts[rng_below(g, ELEMENTSOF(dsts))];

    if (ip_prefix_parse(dst, &route.dst) < 0)
        return;
    route.kind = rng_one_in(g, 4)   ? ROUTE_UNREACHABLE
                 : rng_one_in(g, 4) ? ROUTE_THROW
                                    : ROUTE_UNICAST;
    if (rng_one_in(g, 5))
        route.mtu = 1400;
    (void)str_set(route.interface, IFNAMSIZ,
                  n->interfaces[rng_below(g, (uint32_t)n->n_interfaces)]);
    (void)edit_add_route(m, k, n->name, ORIGIN_COMMAND, &route, NULL);
}

static void add_random_network(struct rng *g, struct model *m, const struct kernel *k)
{
    static const enum permission permissions[] = { PERMISSION_NONE, PERMISSION_NONE,
                                                   PERMISSION_NETWORK, PERMISSION_SYSTEM };
    struct network *draft = network_new();
    unsigned fields = FIELD_TYPE | FIELD_PERMISSION | FIELD_SECURE | FIELD_EXCLUDE_LOCAL;
    const struct network *n;

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
    for (uint32_t i = rng_below(g, 3); i > 0 && draft->type != NETWORK_UNREACHABLE; i--)
        (void)network_add_interface(draft, random_link(g, k)->name);
    if (edit_add_network(m, k, draft, fields, NULL, NULL) == 0) {
        n = model_network_by_name(m, draft->name);
        for (uint32_t i = rng_below(g, 4); i > 0 && n->n_interfaces > 0; i--) {
            add_random_route(g, m, k, n);
            n = model_network_by_name(m, draft->name);
        }
        for (uint32_t i = rng_below(g, 3); i > 0 && draft->type == NETWORK_VPN; i--) {
            struct uid_range range = random_uid_range(g);
            (void)edit_add_users(m, draft->name, ORIGIN_COMMAND, &range, 1, NULL);
        }
    }
    network_unref(draft);
}

static void add_random_assignment(struct rng *g, struct model *m)
{
    struct assignment a = {
        .selector = { .kind = SELECTOR_UID, .uid = random_uid_range(g) },
        .strength = rng_one_in(g, 3) ? STRENGTH_PREFER : STRENGTH_REQUIRE,
        .origin = ORIGIN_COMMAND,
    };

    if (m->n_networks > 0 && !rng_one_in(g, 6))
        a.network = rstr_new(m->networks[rng_below(g, (uint32_t)m->n_networks)]->name);
    else
        a.strength = STRENGTH_REQUIRE;
    (void)edit_assign(m, &a, NULL);
}

static void set_random_default(struct rng *g, struct model *m)
{
    const char *name = NULL;

    if (m->n_networks > 0 && rng_one_in(g, 2))
        name = m->networks[rng_below(g, (uint32_t)m->n_networks)]->name;
    (void)edit_set_default(m, name, NULL);
}

struct model *random_model(struct rng *g, const struct kernel *k)
{
    struct model *m = model_new();

    m->host_networks = rng_one_in(g, 2);
    for (uint32_t i = rng_below(g, 6); i > 0; i--)
        add_random_network(g, m, k);
    (void)host_update(m, k);
    for (uint32_t i = rng_below(g, 9); i > 0; i--)
        add_random_assignment(g, m);
    set_random_default(g, m);
    return m;
}

struct model *random_neighbour(struct rng *g, const struct model *m, const struct kernel *k)
{
    struct model *c = model_copy(m);

    for (uint32_t i = 1 + rng_below(g, 3); i > 0; i--)
        switch (rng_below(g, 5)) {
        case 0:
            add_random_network(g, c, k);
            break;
        case 1:
            if (c->n_networks > 0)
                (void)edit_remove_network(
                    c, c->networks[rng_below(g, (uint32_t)c->n_networks)]->name, NULL);
            break;
        case 2:
            add_random_assignment(g, c);
            break;
        case 3:
            if (c->assignments->n > 0)
                (void)edit_unassign(
                    c, &c->assignments->items[rng_below(g, (uint32_t)c->assignments->n)].selector,
                    NULL);
            break;
        default:
            set_random_default(g, c);
        }
    (void)host_update(c, k);
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
        mark = m->networks[rng_below(g, (uint32_t)m->n_networks)]->netid;
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

struct plan *plan_of(const struct model *m, const struct kernel *k, bool guard,
                     const struct plan *previous)
{
    struct plan_input input = { .model = m, .kernel = k, .generation = 1, .guard = guard };
    struct plan *p = NULL;

    if (plan_build(&input, previous, &p) < 0)
        abort();
    return p;
}
