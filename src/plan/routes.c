/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/routes.h"

#include <errno.h>
#include <linux/icmpv6.h>

#include "basic/array.h"
#include "plan/rules.h"

/* What the kernel gives an IPv6 route without a metric (net/ipv6: IP6_RT_PRIO_USER). */
#define IP6_RT_PRIO_USER 1024

struct route_set *route_set_new(void)
{
    struct route_set *s = calloc(1, sizeof(*s));

    if (s)
        s->refs = 1;
    return s;
}

struct route_set *route_set_ref(struct route_set *s)
{
    if (s)
        s->refs++;
    return s;
}

void route_set_unref(struct route_set *s)
{
    if (!s || --s->refs > 0)
        return;
    free(s->items);
    free(s);
}

int route_set_add(struct route_set *s, const struct rtnl_route *route)
{
    return ARRAY_PUSH(s->items, s->n, s->cap, *route);
}

int plan_route_compare(const void *x, const void *y)
{
    const struct rtnl_route *a = x, *b = y;
    int c = CMP(a->family, b->family);

    if (c == 0)
        c = CMP(a->table, b->table);
    if (c == 0)
        c = ip_prefix_compare(&a->dst, &b->dst);
    if (c == 0)
        c = ip_prefix_compare(&a->src, &b->src);
    if (c == 0)
        c = CMP(a->tos, b->tos);
    return c ? c : CMP(a->priority, b->priority);
}

bool plan_route_equal(const struct rtnl_route *a, const struct rtnl_route *b)
{
    return memcmp(a, b, sizeof(*a)) == 0;
}

void route_set_sort(struct route_set *s)
{
    size_t out = 0;

    if (s->n == 0)
        return;
    qsort(s->items, s->n, sizeof(*s->items), plan_route_compare);
    for (size_t i = 1; i < s->n; i++)
        if (plan_route_compare(&s->items[out], &s->items[i]) != 0)
            s->items[++out] = s->items[i];
    s->n = out + 1;
}

bool route_set_contains(const struct route_set *s, const struct rtnl_route *route)
{
    const struct rtnl_route *found;

    if (!s || s->n == 0)
        return false;
    found = bsearch(route, s->items, s->n, sizeof(*s->items), plan_route_compare);
    return found && plan_route_equal(found, route);
}

struct rtnl_route plan_route_normalize(const struct rtnl_route *route)
{
    struct rtnl_route n = *route;

    n.protocol = RTPROT_WAYMARK;
    n.nh_index = 0;
    n.nh_flags &= RTNH_F_ONLINK;
    n.flags = 0;
    if (n.type != RTN_UNICAST)
        n.oif = 0; /* IPv6 shows `dev lo` on unreachable and throw routes */
    if (n.family == AF_INET6) {
        n.tos = 0;
        n.scope = RT_SCOPE_UNIVERSE;
        if (n.priority == 0)
            n.priority = IP6_RT_PRIO_USER;
    }
    return n;
}

/* A route that leads nowhere. */
static struct rtnl_route make_verdict(uint8_t type, const struct ip_prefix *dst, uint32_t table)
{
    const struct rtnl_route route = {
        .family = dst->addr.family,
        .type = type,
        .scope = RT_SCOPE_UNIVERSE,
        .table = table,
        .dst = *dst,
    };

    return plan_route_normalize(&route);
}

struct rtnl_route route_of_fence(const struct guard_outside *key, bool outside)
{
    return make_verdict(outside ? RTN_THROW : RTN_PROHIBIT, &key->prefix,
                        key->netid + TABLE_FENCE_FROM_NETID);
}

static struct guard_outside key_of_fence(const struct rtnl_route *route)
{
    return (struct guard_outside){ .netid = route->table - TABLE_FENCE_FROM_NETID,
                                   .outside = route->type == RTN_THROW,
                                   .prefix = route->dst };
}

bool route_is_of_fence(const struct rtnl_route *route)
{
    struct guard_outside key;
    struct rtnl_route made;

    if (route->table <= TABLE_FENCE_FROM_NETID)
        return false;
    key = key_of_fence(route);
    made = route_of_fence(&key, key.outside);
    return plan_route_equal(&made, route);
}

/* The first route of a table. */
static size_t find_table(const struct route_set *s, int family, uint32_t table)
{
    size_t lo = 0, hi = s->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct rtnl_route *r = &s->items[mid];

        if (r->family != family ? r->family < family : r->table < table)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

int route_set_outside(const struct route_set *s, uint32_t netid, struct guard *ret)
{
    uint32_t table = netid + TABLE_FENCE_FROM_NETID;
    int r = 0;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = find_table(s, family_at(f), table);
             r == 0 && i < s->n && s->items[i].table == table && s->items[i].family == family_at(f);
             i++) {
            struct guard_outside key = key_of_fence(&s->items[i]);

            r = guard_add_outside(ret, &key);
        }
    return r;
}

int route_set_fences(const struct route_set *s, struct outside_list *ret)
{
    int r = 0;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = find_table(s, family_at(f), TABLE_FENCE_FROM_NETID);
             r == 0 && i < s->n && s->items[i].family == family_at(f); i++)
            if (route_is_of_fence(&s->items[i]))
                r = ARRAY_PUSH(ret->items, ret->n, ret->cap, key_of_fence(&s->items[i]));
    if (r == 0 && ret->n > 0)
        qsort(ret->items, ret->n, sizeof(*ret->items), guard_outside_compare);
    return r;
}

/*
 * One table while it is put together: items[first …] of `out`. Until it is settled, `flags` of a
 * route holds its turn: earlier ones keep their metric.
 */
struct table_build {
    struct route_set *out;
    size_t first;
    const struct route_set *rejected;
};

static int add_route(struct table_build *b, struct rtnl_route route)
{
    route.flags = (uint32_t)(b->out->n - b->first);
    return route_set_add(b->out, &route);
}

static int compare_turns(const void *x, const void *y)
{
    const struct rtnl_route *a = x, *b = y;
    int c = plan_route_compare(x, y);

    return c ? c : CMP(a->flags, b->flags);
}

/* Equal but for the metric. */
static bool same_key_but_metric(const struct rtnl_route *a, const struct rtnl_route *b)
{
    struct rtnl_route c = *b;

    c.priority = a->priority;
    return plan_route_compare(a, &c) == 0;
}

static bool same_but_metric(const struct rtnl_route *a, const struct rtnl_route *b)
{
    struct rtnl_route c = *b;

    c.priority = a->priority;
    return plan_route_equal(a, &c);
}

/*
 * Makes the keys unique: of routes with one key the first keeps it, later ones that lead another
 * way get the next free metric, later ones that lead the same way are dropped. Then drops rejects.
 */
static void settle_table(struct table_build *b)
{
    size_t n = b->out->n - b->first, out = 0, group = 0;
    struct rtnl_route *items;

    if (n == 0)
        return;
    items = b->out->items + b->first;
    qsort(items, n, sizeof(*items), compare_turns);
    for (size_t i = 0; i < n; i++) {
        struct rtnl_route route = items[i];
        bool again = false;

        route.flags = 0;
        if (out == 0 || !same_key_but_metric(&items[out - 1], &route))
            group = out; /* the first with this destination */
        for (size_t j = group; j < out && !again; j++)
            again = same_but_metric(&items[j], &route) && items[j].priority >= route.priority;
        if (again || (out > group && items[out - 1].priority == UINT32_MAX))
            continue;
        if (out > group && route.priority <= items[out - 1].priority)
            route.priority = items[out - 1].priority + 1;
        items[out++] = route;
    }

    b->out->n = b->first;
    for (size_t i = 0; i < out; i++)
        if (!route_set_contains(b->rejected, &items[i]))
            b->out->items[b->out->n++] = items[i];
}

static int add_spec(struct table_build *b, const struct route_spec *spec, uint32_t table,
                    const struct rtnl_link *link)
{
    static const uint8_t types[ROUTE_KIND_MAX] = {
        [ROUTE_UNICAST] = RTN_UNICAST,
        [ROUTE_UNREACHABLE] = RTN_UNREACHABLE,
        [ROUTE_THROW] = RTN_THROW,
    };
    bool unicast = spec->kind == ROUTE_UNICAST;

    if (unicast && !(link->flags & IFF_UP))
        return 0;

    struct rtnl_route route = {
        .family = spec->dst.addr.family,
        .type = types[spec->kind],
        .scope = unicast && !ip_addr_is_set(&spec->gateway) ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
        .table = table,
        .dst = spec->dst,
        .gateway = spec->gateway,
        .oif = unicast ? link->ifindex : 0,
        .mtu = spec->mtu,
        /* android.md §3.1: a default throw route stands behind all others */
        .priority = spec->kind == ROUTE_THROW && spec->dst.len == 0 ? 100000 : 0,
    };
    route = plan_route_normalize(&route);
    return add_route(b, route);
}

/* Routes of the machine by output interface, then by destination, of one destination main's first. */
struct host_routes {
    const struct rtnl_route **items;
    size_t n;
};

/* Whatever the table and the metric. */
static int compare_destinations(const struct rtnl_route *a, const struct rtnl_route *b)
{
    struct rtnl_route c = *b;

    c.table = a->table;
    c.priority = a->priority;
    return plan_route_compare(a, &c);
}

static int compare_host_routes(const void *x, const void *y)
{
    const struct rtnl_route *a = *(const struct rtnl_route *const *)x;
    const struct rtnl_route *b = *(const struct rtnl_route *const *)y;
    int c = CMP(a->oif, b->oif);

    if (c == 0)
        c = compare_destinations(a, b);
    if (c == 0)
        c = CMP(a->table != RT_TABLE_MAIN, b->table != RT_TABLE_MAIN);
    return c ? c : CMP((uintptr_t)a, (uintptr_t)b); /* as the kernel has them */
}

bool routes_is_copied(const struct rtnl_route *route)
{
    return route->type == RTN_UNICAST && route->oif > 0 && route->protocol != RTPROT_WAYMARK &&
           route->protocol != RTPROT_REDIRECT && route->table != RT_TABLE_LOCAL &&
           !(route->flags & (RTM_F_CLONED | RTNL_ROUTE_ENCAP)) && !(route->nh_flags & RTNH_F_DEAD);
}

static int host_routes_build(const struct kernel *k, struct host_routes *ret)
{
    ret->items = reallocarray(NULL, k->n_routes[0] + k->n_routes[1] + 1, sizeof(*ret->items));
    if (!ret->items)
        return -ENOMEM;
    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < k->n_routes[f]; i++)
            if (routes_is_copied(&k->routes[f][i]))
                ret->items[ret->n++] = &k->routes[f][i];
    qsort(ret->items, ret->n, sizeof(*ret->items), compare_host_routes);
    return 0;
}

/*
 * Copies to an interface's table. Where main has a route, those of other tables to the same
 * destination are left out: they are for whom their rules name, and would win by a lower metric.
 */
static int add_host_copies(struct table_build *b, const struct host_routes *host, int ifindex,
                           uint32_t table)
{
    const struct rtnl_route *main = NULL;
    size_t lo = 0, hi = host->n;
    int r = 0;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (host->items[mid]->oif < ifindex)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (size_t i = lo; r == 0 && i < host->n && host->items[i]->oif == ifindex; i++) {
        const struct rtnl_route *route = host->items[i];
        struct rtnl_route copy;

        if (route->table == RT_TABLE_MAIN)
            main = route;
        else if (main && compare_destinations(main, route) == 0)
            continue;
        copy = plan_route_normalize(route);
        copy.table = table;
        r = add_route(b, copy);
    }
    return r;
}

/* android.md §2.5, local-network exclusion: which on-link routes count as the LAN. */
static bool is_local_route(const struct rtnl_route *route)
{
    static const struct {
        uint8_t net[4];
        uint8_t len;
    } lan[] = {
        { { 169, 254 }, 16 }, { { 100, 64 }, 10 },  { { 10 }, 8 },
        { { 172, 16 }, 12 },  { { 192, 168 }, 16 },
    };

    if (route->type != RTN_UNICAST || ip_addr_is_set(&route->gateway))
        return false;
    if (route->family == AF_INET6)
        return route->dst.len > 0;
    for (size_t i = 0; i < ELEMENTSOF(lan); i++) {
        struct ip_addr addr = ip_addr_make(AF_INET, lan[i].net, 4);
        struct ip_prefix prefix = { .addr = addr, .len = lan[i].len };

        if (route->dst.len >= prefix.len && ip_prefix_contains(&prefix, &route->dst.addr))
            return true;
    }
    return false;
}

/*
 * The on-link table of an interface, out of its table, which is items[from …]. The kernel takes no
 * unicast route on an interface that is down: there is none in that table, either.
 */
static int add_local_table(const struct table_build *b, size_t from, const struct rtnl_link *link)
{
    static const uint8_t multicast[4] = { 224 };
    struct rtnl_route fixed = {
        .family = AF_INET,
        .type = RTN_UNICAST,
        .scope = RT_SCOPE_LINK,
        .protocol = RTPROT_WAYMARK,
        .oif = link->ifindex,
        .table = (uint32_t)link->ifindex + TABLE_LOCAL_FROM_IFINDEX,
        .dst = { .addr = ip_addr_make(AF_INET, multicast, 4), .len = 24 },
    };
    size_t to = b->out->n;
    int r = 0;

    if ((link->flags & IFF_UP) && !route_set_contains(b->rejected, &fixed))
        r = route_set_add(b->out, &fixed);
    for (size_t i = from; r == 0 && i < to; i++) {
        struct rtnl_route copy = b->out->items[i];

        copy.table = fixed.table;
        if (is_local_route(&copy) && copy.oif == link->ifindex &&
            !route_set_contains(b->rejected, &copy))
            r = route_set_add(b->out, &copy);
    }
    return r;
}

struct routes_context {
    const struct model *m;
    const struct kernel *k;
    const struct targets *t;
    const struct policy *p;
    struct host_routes host;
    struct table_build table;
};

static int add_port_routes(struct routes_context *c, size_t target, const struct port *port)
{
    const struct network *n = c->t->items[target].network;
    bool local = n->type == NETWORK_LOCAL;
    const struct rtnl_link *link = kernel_link(c->k, port->ifindex);
    uint32_t table = local ? TABLE_LOCAL_NETWORK : (uint32_t)port->ifindex + TABLE_FROM_IFINDEX;
    int r = 0;

    if (!link)
        return 0;
    if (!local)
        c->table.first = c->table.out->n; /* all ports of a local network share table 97 */
    for (size_t i = 0; r == 0 && n->type == NETWORK_VPN && i < n->n_outside; i++)
        r = add_route(&c->table, make_verdict(RTN_THROW, &n->outside[i], table));
    for (size_t i = 0; r == 0 && i < n->n_routes; i++)
        if (streq(n->routes[i].interface, port->name))
            r = add_spec(&c->table, &n->routes[i], table, link);
    if (r == 0 && c->m->host_networks && (link->flags & IFF_UP))
        r = add_host_copies(&c->table, &c->host, port->ifindex, table);
    settle_table(&c->table);
    if (r == 0 && rules_use_local_table(c->t, c->p, target))
        r = add_local_table(&c->table, c->table.first, link);
    return r;
}

/* `from`: where the routes of its interfaces begin. */
static int add_fence(struct routes_context *c, size_t target, size_t from)
{
    const struct network *n = c->t->items[target].network;
    struct outside_list list = { 0 };
    struct ip_prefix *routed = NULL;
    size_t n_routed = 0, cap = 0;
    int r = 0;

    if (!outside_possible(n))
        return 0;
    for (size_t i = from; r == 0 && i < c->table.out->n; i++)
        if (c->table.out->items[i].type == RTN_UNICAST)
            r = ARRAY_PUSH(routed, n_routed, cap, c->table.out->items[i].dst);
    if (r == 0)
        r = outside_build(n, routed, n_routed, &list);
    c->table.first = c->table.out->n;
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = add_route(&c->table, route_of_fence(&list.items[i], list.items[i].outside));
    settle_table(&c->table);
    free(list.items);
    free(routed);
    return r;
}

static int add_network_routes(struct routes_context *c, size_t target)
{
    size_t from = c->table.out->n;
    int r = 0;

    for (size_t j = 0; r == 0 && j < c->t->items[target].n_ports; j++)
        r = add_port_routes(c, target, target_ports(c->t, target) + j);
    return r < 0 ? r : add_fence(c, target, from);
}

static int add_legacy_routes(struct routes_context *c)
{
    int r = 0;

    c->table.first = c->table.out->n;
    for (size_t i = 0; r == 0 && i < c->m->n_legacy; i++) {
        const struct legacy_route *l = &c->m->legacy[i];
        const struct rtnl_link *link = kernel_link_by_name(c->k, l->route.interface);

        if (link)
            r = add_spec(&c->table, &l->route,
                         l->system ? TABLE_LEGACY_SYSTEM : TABLE_LEGACY_NETWORK, link);
    }
    settle_table(&c->table);
    return r;
}

int routes_build(const struct model *m, const struct kernel *k, const struct targets *t,
                 const struct policy *p, const struct route_set *rejected, struct route_set **ret)
{
    _cleanup_(route_set_unrefp) struct route_set *out = route_set_new();
    struct routes_context c = {
        .m = m,
        .k = k,
        .t = t,
        .p = p,
        .table = { .out = out, .rejected = rejected },
    };
    int r;

    if (!out)
        return -ENOMEM;
    r = host_routes_build(k, &c.host);
    for (size_t i = 0; r == 0 && i < t->n; i++)
        r = add_network_routes(&c, i);
    if (r == 0)
        r = add_legacy_routes(&c);
    free(c.host.items);
    if (r < 0)
        return r;

    route_set_sort(out);
    *ret = TAKE_PTR(out);
    return 0;
}

void plan_route_print(const struct rtnl_route *route, const struct kernel *k, struct strbuf *b)
{
    static const char *const types[] = {
        [RTN_LOCAL] = "local ",         [RTN_BROADCAST] = "broadcast ",
        [RTN_ANYCAST] = "anycast ",     [RTN_MULTICAST] = "multicast ",
        [RTN_BLACKHOLE] = "blackhole ", [RTN_UNREACHABLE] = "unreachable ",
        [RTN_PROHIBIT] = "prohibit ",   [RTN_THROW] = "throw ",
    };
    const struct rtnl_link *link = k && route->oif ? kernel_link(k, route->oif) : NULL;
    char text[IP_TEXT_MAX];

    if (route->type < ELEMENTSOF(types) && types[route->type])
        strbuf_add(b, "%s", types[route->type]);
    strbuf_add(b, "%s", ip_prefix_format(&route->dst, text));
    if (ip_addr_is_set(&route->src.addr))
        strbuf_add(b, " from %s", ip_prefix_format(&route->src, text));
    if (route->tos)
        strbuf_add(b, " tos 0x%02x", route->tos);
    if (ip_addr_is_set(&route->gateway))
        strbuf_add(b, " via %s", ip_addr_format(&route->gateway, text));
    if (link)
        strbuf_add(b, " dev %s", link->name);
    else if (route->oif)
        strbuf_add(b, " dev #%d", route->oif);
    strbuf_add(b, " table ");
    rtnl_table_print(route->table, b);
    if (ip_addr_is_set(&route->prefsrc))
        strbuf_add(b, " src %s", ip_addr_format(&route->prefsrc, text));
    if (route->priority)
        strbuf_add(b, " metric %u", route->priority);
    if (route->mtu)
        strbuf_add(b, " mtu %u", route->mtu);
    if (route->nh_flags & RTNH_F_ONLINK)
        strbuf_add(b, " onlink");
    if (route->pref == ICMPV6_ROUTER_PREF_HIGH || route->pref == ICMPV6_ROUTER_PREF_LOW)
        strbuf_add(b, " pref %s", route->pref == ICMPV6_ROUTER_PREF_HIGH ? "high" : "low");
}
