/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/plan.h"

#include <errno.h>
#include <inttypes.h>

#include "basic/array.h"
#include "decide/place.h"
#include "plan/maps.h"

const char *plan_sysctl_path(enum plan_sysctl sysctl)
{
    static const char *const paths[SYSCTL_MAX] = {
        [SYSCTL_IPV4_FWMARK_REFLECT] = "net/ipv4/fwmark_reflect",
        [SYSCTL_IPV6_FWMARK_REFLECT] = "net/ipv6/fwmark_reflect",
        [SYSCTL_TCP_FWMARK_ACCEPT] = "net/ipv4/tcp_fwmark_accept",
    };

    return paths[sysctl];
}

static void chunk_unref(struct plan_chunk *c)
{
    if (!c || --c->refs > 0)
        return;
    free(c->source);
    free(c->rules.items);
    free(c);
}
DEFINE_CLEANUP(struct plan_chunk *, chunk_unref)

struct plan *plan_new_empty(void)
{
    struct plan *p = calloc(1, sizeof(*p));

    if (!p)
        return NULL;
    p->refs = 1;
    for (int i = 0; i < SYSCTL_MAX; i++)
        p->sysctls[i] = -1;
    p->routes = route_set_new();
    if (!p->routes) {
        free(p);
        return NULL;
    }
    return p;
}

struct plan *plan_ref(struct plan *p)
{
    p->refs++;
    return p;
}

void plan_unref(struct plan *p)
{
    if (!p || --p->refs > 0)
        return;
    for (int s = 0; s < STREAM_MAX; s++) {
        for (size_t i = 0; i < p->streams[s].n; i++)
            chunk_unref(p->streams[s].items[i]);
        free(p->streams[s].items);
    }
    route_set_unref(p->routes);
    guard_unref(p->guard);
    guard_unref(p->maps);
    targets_unref(p->targets);
    free(p->preferred);
    free(p->legacy);
    route_set_unref(p->rejected);
    free(p);
}

static int push_chunk(struct plan_chunks *chunks, struct plan_chunk *chunk)
{
    int r = ARRAY_PUSH(chunks->items, chunks->n, chunks->cap, chunk);

    if (r < 0)
        chunk_unref(chunk);
    return r;
}

static int new_chunk(const struct targets *t, const struct policy *p,
                     const struct segment *segments, size_t n, struct plan_chunk **ret)
{
    _cleanup_(chunk_unrefp) struct plan_chunk *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->refs = 1;
    if (segments) {
        r = array_copy((void **)&c->source, segments, n, sizeof(*segments));
        c->n_source = n;
        if (r == 0)
            r = rules_for_segments(t, p, segments, n, &c->rules);
    } else
        r = rules_for_networks(t, &c->rules);
    if (r < 0)
        return r;
    if (c->rules.n > 0)
        qsort(c->rules.items, c->rules.n, sizeof(*c->rules.items), plan_rule_compare);
    *ret = TAKE_PTR(c);
    return 0;
}

/* A chunk begins at this segment: one in 256, by a multiplicative hash (Knuth) of its first uid. */
static bool begins_chunk(const struct segment *s)
{
    return (s->uid.lo * 2654435761U) >> 24 == 0;
}

/* The chunk of `old` that was made from these very segments; *cursor only moves forward. */
static struct plan_chunk *find_chunk(const struct plan_chunks *old, size_t *cursor,
                                     const struct segment *segments, size_t n)
{
    struct plan_chunk *c;

    while (*cursor < old->n && old->items[*cursor]->source[0].uid.lo < segments[0].uid.lo)
        (*cursor)++;
    c = *cursor < old->n ? old->items[*cursor] : NULL;
    if (!c || c->n_source != n || !mem_equal(c->source, segments, n * sizeof(*segments)))
        return NULL;
    return c;
}

static int build_stream(const struct targets *t, const struct policy *p,
                        const struct segments *segments, const struct plan_chunks *old,
                        struct plan_chunks *ret)
{
    size_t cursor = 0, n;
    int r = 0;

    for (size_t i = 0; r == 0 && i < segments->n; i += n) {
        const struct segment *first = &segments->items[i];
        struct plan_chunk *chunk;

        for (n = 1; i + n < segments->n && !begins_chunk(first + n); n++)
            ;
        chunk = old ? find_chunk(old, &cursor, first, n) : NULL;
        if (chunk)
            chunk->refs++;
        else
            r = new_chunk(t, p, first, n, &chunk);
        if (r == 0)
            r = push_chunk(ret, chunk);
    }
    return r;
}

/* The rules that marks lead by, in one piece. */
static int build_marks(struct plan *plan, const struct policy *p, const struct plan *old)
{
    struct plan_chunks *ret = &plan->streams[STREAM_MARKS];
    struct segments marks = { 0 };
    struct plan_chunk *chunk = NULL;
    size_t cursor = 0;
    int r = plan->maps ? maps_build_marks(plan->maps, plan->targets, &marks) : 0;

    if (r == 0 && marks.n > 0) {
        chunk = old ? find_chunk(&old->streams[STREAM_MARKS], &cursor, marks.items, marks.n) : NULL;
        if (chunk)
            chunk->refs++;
        else
            r = new_chunk(plan->targets, p, marks.items, marks.n, &chunk);
        if (r == 0)
            r = push_chunk(ret, chunk);
    }
    free(marks.items);
    return r;
}

static int build_rules(struct plan *plan, const struct policy *p, const struct plan *old)
{
    static const struct segments none;
    const struct segments *const streams[STREAM_MAX] = {
        [STREAM_SEGMENTS] = plan->maps ? &none : &p->segments,
        [STREAM_FENCES] = plan->maps ? &none : &p->fences,
        [STREAM_CAPTURES] = &p->captures,
        [STREAM_MARKS] = &none,
    };
    struct plan_chunk *networks;
    int r = 0;

    if (old) {
        networks = old->streams[STREAM_NETWORKS].items[0];
        networks->refs++;
    } else
        r = new_chunk(plan->targets, p, NULL, 0, &networks);
    if (r == 0)
        r = push_chunk(&plan->streams[STREAM_NETWORKS], networks);
    for (int s = STREAM_SEGMENTS; r == 0 && s < STREAM_MAX; s++)
        r = build_stream(plan->targets, p, streams[s], old ? &old->streams[s] : NULL,
                         &plan->streams[s]);
    return r < 0 ? r : build_marks(plan, p, old);
}

/* Entries for the uids that may not go everywhere; used[2 i], used[2 i + 1]: target i has a chain. */
static int build_guard_entries(struct guard *g, const struct targets *t, const struct policy *p,
                               bool *used)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < p->segments.n; i++) {
        const struct segment *s = &p->segments.items[i];
        uint32_t netid = 0;

        if (s->verdict != VERDICT_REQUIRE && s->verdict != VERDICT_REFUSE)
            continue;
        if (s->target >= 0) {
            netid = t->items[s->target].network->netid | (s->exempt ? GUARD_EXEMPT : 0);
            used[2 * s->target + (s->exempt ? 1 : 0)] = true;
        }
        r = guard_add_entry(g, s->uid, netid);
    }
    return r;
}

/* A chain of a network, with all its ports and what is outside. */
static int build_guard_chain(struct guard *g, const struct targets *t,
                             const struct route_set *routes, size_t i, bool exempt)
{
    uint32_t netid = t->items[i].network->netid | (exempt ? GUARD_EXEMPT : 0);
    int r = guard_add_chain(g, netid, exempt);

    for (size_t j = 0; r == 0 && j < t->items[i].n_ports; j++)
        r = guard_add_port(g, netid, target_ports(t, i)[j].ifindex);
    return r < 0 ? r : route_set_outside(routes, t->items[i].network->netid, g);
}

/*
 * The addresses of a VPN's interface, and who else has them. Link-local ones are every link's own; only of an
 * interface that was handed out it counts which it has.
 */
static int add_own_addresses(struct guard *g, const struct kernel *k, int ifindex)
{
    const struct rtnl_link *link = kernel_link(k, ifindex);
    bool handed_out = link && startswith(link->name, VPN_INTERFACE_PREFIX);
    int r = 0;

    for (size_t i = 0; r == 0 && i < k->n_addrs; i++) {
        const struct rtnl_addr *a = &k->addrs[i];

        if (a->ifindex != ifindex || (ip_addr_is_link_local(&a->local) && !handed_out) ||
            ip_addr_is_loopback(&a->local))
            continue;
        for (size_t j = 0; r == 0 && j < k->n_addrs; j++)
            if (ip_addr_equal(&k->addrs[j].local, &a->local))
                r = guard_add_own(g, &a->local, k->addrs[j].ifindex);
    }
    return r;
}

static int add_interfaces(struct guard *g, const struct model *m, const struct targets *t,
                          const struct kernel *k, size_t i)
{
    const struct network *n = t->items[i].network;
    const struct vpn *v = n->type == NETWORK_VPN ? model_vpn(m, n->name) : NULL;
    uint32_t mark = n->netid | MARK_EXPLICIT | MARK_PROTECTED | mark_permission(n->permission);
    int r = 0;

    for (size_t j = 0; r == 0 && j < t->items[i].n_ports; j++) {
        int ifindex = target_ports(t, i)[j].ifindex;

        r = guard_add_incoming(g, ifindex, mark);
        if (r == 0 && n->type == NETWORK_VPN)
            r = add_own_addresses(g, k, ifindex);
        if (r == 0 && v && vpn_may_forward(v))
            r = guard_add_forward(g, ifindex);
    }
    return r;
}

/* `entries`: the apps, too; else only what comes in is marked. */
static int build_guard(const struct plan_input *input, const struct targets *t,
                       const struct policy *p, const struct route_set *routes, bool entries,
                       struct guard **ret)
{
    _cleanup_(guard_unrefp) struct guard *g = guard_new();
    _cleanup_free_ bool *used = calloc(t->n + 1, 2 * sizeof(*used));
    int r;

    if (!g || !used)
        return -ENOMEM;
    r = entries ? ARRAY_RESERVE(g->entries, g->cap_entries, p->segments.n) : 0;
    if (r == 0 && entries)
        r = build_guard_entries(g, t, p, used);
    for (size_t i = 0; r == 0 && i < t->n; i++) {
        for (int exempt = 0; r == 0 && exempt <= 1; exempt++)
            if (used[2 * i + (size_t)exempt])
                r = build_guard_chain(g, t, routes, i, exempt);
        if (r == 0)
            r = add_interfaces(g, input->model, t, input->kernel, i);
    }
    if (r < 0)
        return r;
    guard_sort(g);
    *ret = TAKE_PTR(g);
    return 0;
}

/* True when routes_build() would give what it gave to `old`. */
static bool routes_unchanged(const struct plan *old, const struct plan_input *input,
                             const struct policy *p)
{
    const struct model *m = input->model;

    return old && old->generation == input->generation && old->rejected == input->rejected &&
           old->n_legacy == m->n_legacy &&
           mem_equal(old->legacy, m->legacy, m->n_legacy * sizeof(*m->legacy)) &&
           mem_equal(old->preferred, p->preferred, old->targets->n);
}

static int build_routes(struct plan *plan, const struct plan_input *input, const struct policy *p,
                        const struct plan *old)
{
    struct route_set *routes = NULL;
    int r = 0;

    if (routes_unchanged(old, input, p))
        routes = route_set_ref(old->routes);
    else
        r = routes_build(input->model, input->kernel, plan->targets, p, input->rejected, &routes);
    if (r < 0)
        return r;
    route_set_unref(plan->routes);
    plan->routes = routes;
    plan->generation = input->generation;
    plan->rejected = route_set_ref(input->rejected);
    plan->n_legacy = input->model->n_legacy;
    return array_copy((void **)&plan->legacy, input->model->legacy, plan->n_legacy,
                      sizeof(*plan->legacy));
}

/* Equal guards are one, so that comparing them again costs nothing. */
static void share_guard(struct guard **guard, struct guard *previous)
{
    if (guard_equal(*guard, previous)) {
        guard_unref(*guard);
        *guard = guard_ref(previous);
    }
}

static int build_guard_and_sysctls(struct plan *plan, const struct plan_input *input,
                                   const struct policy *p, const struct plan *previous)
{
    int r;

    for (int i = 0; i < SYSCTL_MAX; i++)
        plan->sysctls[i] = input->guard && input->sysctl[i] ? 1 : -1;
    if (!input->guard)
        return 0;
    r = build_guard(input, plan->targets, p, plan->routes, !input->maps, &plan->guard);
    if (r == 0 && previous)
        share_guard(&plan->guard, previous->guard);
    return r;
}

static int build_maps(struct plan *plan, const struct plan_input *input, const struct policy *p,
                      const struct plan *previous)
{
    int r;

    if (!input->maps)
        return 0;
    r = maps_build_guard(input, plan->targets, p, plan->routes, &plan->maps);
    if (r == 0 && previous)
        share_guard(&plan->maps, previous->maps);
    return r;
}

int plan_build(const struct plan_input *input, const struct plan *previous, struct plan **ret)
{
    _cleanup_(plan_unrefp) struct plan *plan = plan_new_empty();
    _cleanup_policy_ struct policy policy = { 0 };
    const struct plan *old = NULL; /* previous, if its chunks still mean the same */
    int r;

    if (!plan)
        return -ENOMEM;
    r = targets_build(input->model, input->kernel, &plan->targets);
    if (r == 0)
        r = (input->maps ? policy_build_apps : policy_build)(input->model, plan->targets, &policy);
    if (r < 0)
        return r;
    if (previous && previous->targets && targets_equal(previous->targets, plan->targets))
        old = previous;

    if (input->maps) /* no rule leads to on-link tables */
        memset(policy.preferred, 0, plan->targets->n * sizeof(*policy.preferred));
    r = build_routes(plan, input, &policy, old);
    if (r == 0)
        r = build_maps(plan, input, &policy, previous);
    if (r == 0)
        r = build_rules(plan, &policy, old);
    if (r == 0)
        r = build_guard_and_sysctls(plan, input, &policy, previous);
    if (r < 0)
        return r;
    plan->preferred = TAKE_PTR(policy.preferred);
    *ret = TAKE_PTR(plan);
    return 0;
}

/* Joins the two families of each rule; what is there more than once goes to `extra`. */
static int join_families(struct rule_list *rules, struct rule_list *extra)
{
    size_t out = 0;
    int r = 0;

    if (rules->n == 0)
        return 0;
    qsort(rules->items, rules->n, sizeof(*rules->items), plan_rule_compare);
    for (size_t i = 1; r == 0 && i < rules->n; i++) {
        struct plan_rule *last = &rules->items[out], *rule = &rules->items[i];

        if (plan_rule_compare(last, rule) != 0)
            rules->items[++out] = *rule;
        else if (!(last->families & rule->families))
            last->families |= rule->families;
        else if (extra)
            r = ARRAY_PUSH(extra->items, extra->n, extra->cap, *rule);
    }
    rules->n = out + 1;
    return r;
}

int plan_from_kernel(const struct kernel *k, const int sysctls[static SYSCTL_MAX],
                     struct plan **ret, struct rule_list *ret_extra)
{
    _cleanup_(plan_unrefp) struct plan *plan = plan_new_empty();
    _cleanup_(chunk_unrefp) struct plan_chunk *chunk = calloc(1, sizeof(*chunk));
    int r = 0;

    if (!plan || !chunk)
        return -ENOMEM;
    chunk->refs = 1;
    for (unsigned f = 0; f < 2; f++) {
        for (size_t i = 0; r == 0 && i < k->n_rules[f]; i++)
            if (k->rules[f][i].protocol == RTPROT_WAYMARK)
                r = ARRAY_PUSH(chunk->rules.items, chunk->rules.n, chunk->rules.cap,
                               plan_rule_from_rtnl(&k->rules[f][i]));
        for (size_t i = 0; r == 0 && i < k->n_routes[f]; i++)
            if (k->routes[f][i].protocol == RTPROT_WAYMARK) {
                struct rtnl_route route = plan_route_normalize(&k->routes[f][i]);
                r = route_set_add(plan->routes, &route);
            }
    }
    if (r == 0)
        r = join_families(&chunk->rules, ret_extra);
    if (r < 0)
        return r;
    route_set_sort(plan->routes);
    plan->guard = guard_ref(k->guard);
    plan->maps = guard_ref(k->maps);
    memcpy(plan->sysctls, sysctls, sizeof(plan->sysctls));
    r = push_chunk(&plan->streams[STREAM_NETWORKS], TAKE_PTR(chunk));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(plan);
    return 0;
}

size_t plan_count_rules(const struct plan *p)
{
    size_t n = 0;

    for (int s = 0; s < STREAM_MAX; s++)
        for (size_t i = 0; i < p->streams[s].n; i++)
            n += p->streams[s].items[i]->rules.n;
    return n;
}

int plan_rules(const struct plan *p, struct rule_list *ret)
{
    struct rule_list all = { 0 };

    if (ARRAY_RESERVE(all.items, all.cap, plan_count_rules(p)) < 0)
        return -ENOMEM;
    for (int s = 0; s < STREAM_MAX; s++)
        for (size_t i = 0; i < p->streams[s].n; i++) {
            const struct rule_list *rules = &p->streams[s].items[i]->rules;

            if (rules->n > 0)
                memcpy(all.items + all.n, rules->items, rules->n * sizeof(*rules->items));
            all.n += rules->n;
        }
    if (all.n > 0)
        qsort(all.items, all.n, sizeof(*all.items), plan_rule_compare);
    *ret = all;
    return 0;
}

static const char *flags(uint32_t netid)
{
    if (netid & GUARD_PREFER)
        return " prefer";
    return netid & GUARD_EXEMPT ? " exempt protected" : "";
}

/* Of entries, apps and places. */
static const char *lockdown(uint32_t flags)
{
    return flags & GUARD_APP_LOCKDOWN ? " lockdown" : "";
}

static void print_app(const struct guard_app *app, struct strbuf *b)
{
    if (app->kind == GUARD_APP_EXE)
        strbuf_add(b, "exe %" PRIu64 ":%" PRIu64, app->dev, app->id);
    else
        strbuf_add(b, "%s %" PRIu64, app->flags & GUARD_APP_RUN ? "run" : "cgroup", app->id);
}

static void print_place(const struct guard_place *place, struct strbuf *b)
{
    static const char *const kinds[PLACE_KIND_MAX] = {
        [PLACE_DIRECTORY] = "directory", [PLACE_FILE] = "file",
        [PLACE_ROOT] = "root",           [PLACE_WAY] = "way",
        [PLACE_CGROUP] = "cgroup",       [PLACE_UNIT] = "unit",
    };

    strbuf_add(b, "place %s %" PRIu64 ":%" PRIx64 "/%" PRIx64, kinds[place->kind], place->dev,
               place->parent, place->name);
    if (!place_is_passage(place->kind))
        strbuf_add(b, " network %u%s%s", place->netid & MARK_NETID_MASK, flags(place->netid),
                   lockdown(place->flags));
}

/* `name`: "guard" or "maps". */
static void print_guard(const struct guard *g, const char *name, struct strbuf *b)
{
    char text[UID_RANGE_TEXT_MAX];

    for (size_t i = 0; i < g->n_entries; i++)
        strbuf_add(b, "%s uid %s network %u%s%s\n", name,
                   uid_range_format(&g->entries[i].uid, text),
                   g->entries[i].netid & MARK_NETID_MASK, flags(g->entries[i].netid),
                   lockdown(g->entries[i].flags));
    for (size_t i = 0; i < g->n_apps; i++) {
        strbuf_add(b, "%s ", name);
        print_app(&g->apps[i], b);
        strbuf_add(b, " network %u%s%s\n", g->apps[i].netid & MARK_NETID_MASK,
                   flags(g->apps[i].netid), lockdown(g->apps[i].flags));
    }
    for (size_t i = 0; i < g->n_places; i++) {
        strbuf_add(b, "%s ", name);
        print_place(&g->places[i], b);
        strbuf_add(b, "\n");
    }
    for (size_t i = 0; i < g->n_chains; i++)
        strbuf_add(b, "%s network %u%s\n", name, g->chains[i].netid & MARK_NETID_MASK,
                   flags(g->chains[i].netid));
    for (size_t i = 0; i < g->n_ports; i++)
        strbuf_add(b, "%s network %u%s port #%d\n", name, g->ports[i].netid & MARK_NETID_MASK,
                   flags(g->ports[i].netid), g->ports[i].ifindex);
    for (size_t i = 0; i < g->n_outside; i++) {
        char prefix[IP_TEXT_MAX];

        strbuf_add(b, "%s network %u %s %s\n", name, g->outside[i].netid,
                   g->outside[i].outside ? "outside" : "inside",
                   ip_prefix_format(&g->outside[i].prefix, prefix));
    }
}

static void print_own(const struct guard *g, struct strbuf *b)
{
    char text[IP_TEXT_MAX];

    for (size_t i = 0; i < g->n_own; i++)
        strbuf_add(b, "own %s #%d\n", ip_addr_format(&g->own[i].addr, text), g->own[i].ifindex);
    for (size_t i = 0; i < g->n_forward; i++)
        strbuf_add(b, "forward #%d\n", g->forward[i].ifindex);
}

static void print_incoming(const struct guard *g, struct strbuf *b)
{
    for (size_t i = 0; i < g->n_incoming; i++)
        strbuf_add(b, "incoming #%d mark 0x%x\n", g->incoming[i].ifindex, g->incoming[i].mark);
}

/* What the programs know beside whom they hold. */
static void print_world(const struct guard *g, struct strbuf *b)
{
    char text[UID_RANGE_TEXT_MAX];

    strbuf_add(b, "world default %u applications from %u\n", g->default_netid,
               g->first_application_uid);
    for (size_t i = 0; i < g->n_networks; i++)
        strbuf_add(b, "world network %u flags 0x%x permission %u\n", g->networks[i].netid,
                   g->networks[i].flags, g->networks[i].permission);
    for (size_t i = 0; i < g->n_incoming; i++)
        strbuf_add(b, "world interface #%d network %u\n", g->incoming[i].ifindex,
                   g->incoming[i].mark);
    for (size_t i = 0; i < g->n_users; i++)
        strbuf_add(b, "world uid %u flags 0x%x permission %u\n", g->users[i].uid, g->users[i].flags,
                   g->users[i].permission);
    for (size_t i = 0; i < g->n_vpns; i++)
        strbuf_add(b, "world uid %s vpn %u\n", uid_range_format(&g->vpns[i].uid, text),
                   g->vpns[i].netid);
}

int plan_print(const struct plan *p, const struct kernel *k, struct strbuf *b)
{
    struct rule_list rules = { 0 };
    int r = plan_rules(p, &rules);

    if (r < 0)
        return r;
    for (size_t i = 0; i < rules.n; i++) {
        plan_rule_print(&rules.items[i], b);
        strbuf_add(b, "  # %s%s\n", rule_priority_name(rules.items[i].priority),
                   rules.items[i].families == FAMILIES_BOTH ? ""
                   : rules.items[i].families == 1           ? " (IPv4 only)"
                                                            : " (IPv6 only)");
    }
    free(rules.items);
    for (size_t i = 0; i < p->routes->n; i++) {
        plan_route_print(&p->routes->items[i], k, b);
        strbuf_add_char(b, '\n');
    }
    if (p->guard) {
        print_guard(p->guard, "guard", b);
        print_incoming(p->guard, b);
        print_own(p->guard, b);
    }
    if (p->maps) {
        print_guard(p->maps, "maps", b);
        print_world(p->maps, b);
    }
    return 0;
}
