/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <linux/fib_rules.h>

#include "basic/array.h"
#include "plan/old-sockets-internal.h"
#include "plan/outside.h"
#include "plan/routes.h"
#include "plan/rules.h"

static int touch(struct old_sockets *o, const struct uid_range *ranges, size_t n)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < n; i++)
        r = ARRAY_PUSH(o->touched, o->n_touched, o->cap_touched, ranges[i]);
    return r;
}

static int touch_assignment(struct old_sockets *o, const struct assignment *a)
{
    const struct uid_range *ranges;
    size_t n = a ? assignment_ranges(a, &ranges) : 0;

    o->apps_touched |= a && a->selector.kind >= SELECTOR_CGROUP;
    return n > 0 ? touch(o, ranges, n) : 0;
}

/* The same uids to the same network; where it stands does not matter. */
static bool means_the_same(const struct assignment *a, const struct assignment *b)
{
    return a && b && a->strength == b->strength && !a->network == !b->network &&
           (a->network == b->network || streq(a->network->s, b->network->s)) &&
           (a->uids == b->uids || (a->uids && b->uids && uid_set_equal(a->uids, b->uids)));
}

static int touch_assignments(struct old_sockets *o)
{
    struct assignments_walk w = { .a = o->before.model->assignments,
                                  .b = o->after.model->assignments };
    const struct assignment *a, *b;
    int r = 0;

    while (r == 0 && w.a != w.b && assignments_next(&w, &a, &b)) {
        if (means_the_same(a, b))
            continue;
        r = touch_assignment(o, a);
        if (r == 0)
            r = touch_assignment(o, b);
    }
    return r;
}

static bool is_usable(const struct side *s, const struct network *n)
{
    return n && targets_is_usable(s->targets, targets_find(s->targets, n->name));
}

/* By which interface they lead does not matter: at a handover it is another one. */
static bool covers_as_before(const struct network *a, const struct network *b)
{
    for (size_t i = 0; i < a->n_routes; i++)
        if (a->routes[i].kind != b->routes[i].kind ||
            ip_prefix_compare(&a->routes[i].dst, &b->routes[i].dst) != 0)
            return false;
    return true;
}

/* Is the same outside of it, as far as it was asked for? */
static bool leads_as_before(const struct network *a, const struct network *b)
{
    if (!outside_possible(a) && !outside_possible(b))
        return true;
    return a->fall_through == b->fall_through && a->lockdown == b->lockdown &&
           a->n_outside == b->n_outside && a->n_routes == b->n_routes &&
           mem_equal(a->outside, b->outside, a->n_outside * sizeof(*a->outside)) &&
           covers_as_before(a, b);
}

/* Does the network lead to the same places, for those who are on it? */
static bool is_as_before(const struct old_sockets *o, const struct network *a,
                         const struct network *b)
{
    if (!a || !b || is_usable(&o->before, a) != is_usable(&o->after, b))
        return false;
    return a == b || (a->secure == b->secure && a->type == b->type && streq(a->name, b->name) &&
                      a->n_users == b->n_users && leads_as_before(a, b) &&
                      mem_equal(a->users, b->users, a->n_users * sizeof(*a->users)));
}

static int note_mark(struct old_sockets *o, const struct network *a, const struct network *b)
{
    struct mark_change change = { .netid = a->netid, .removed = !b };

    if (b)
        change.permission = b->permission;
    if (b ? b->permission == a->permission || b->permission == PERMISSION_NONE
          : a->origin == ORIGIN_HOST)
        return 0;
    return ARRAY_PUSH(o->marks, o->n_marks, o->cap_marks, change);
}

struct names {
    const char **items;
    size_t n, cap;
};

static int compare_names(const void *x, const void *y)
{
    const char *const *a = x, *const *b = y;
    return strcmp(*a, *b);
}

static int touch_network(struct old_sockets *o, const struct network *a, const struct network *b,
                         struct names *changed)
{
    int r = a ? note_mark(o, a, b) : 0;

    if (r < 0 || is_as_before(o, a, b))
        return r;
    if (a)
        r = touch(o, a->users, a->n_users);
    if (r == 0 && b)
        r = touch(o, b->users, b->n_users);
    if (r == 0 && a)
        r = ARRAY_PUSH(changed->items, changed->n, changed->cap, a->name);
    if (r == 0 && b)
        r = ARRAY_PUSH(changed->items, changed->n, changed->cap, b->name);
    return r;
}

/* Both models' networks side by side, by netId. */
static int touch_networks(struct old_sockets *o, struct names *changed)
{
    const struct model *before = o->before.model, *after = o->after.model;
    size_t i = 0, j = 0;
    int r = 0;

    while (r == 0 && (i < before->n_networks || j < after->n_networks)) {
        struct network *a = i < before->n_networks ? before->networks[i] : NULL;
        struct network *b = j < after->n_networks ? after->networks[j] : NULL;

        if (a && b && a->netid != b->netid) {
            if (a->netid < b->netid)
                b = NULL;
            else
                a = NULL;
        }
        i += a != NULL;
        j += b != NULL;
        r = touch_network(o, a, b, changed);
    }
    return r;
}

/* Those who are assigned to a network that changed. */
static int touch_by_name(struct old_sockets *o, struct names *changed)
{
    const struct assignments *all = o->after.model->assignments;
    int r = 0;

    if (changed->n == 0)
        return 0;
    qsort(changed->items, changed->n, sizeof(*changed->items), compare_names);
    for (size_t i = 0; r == 0 && i < all->n; i++) {
        const char *name = all->items[i].network ? all->items[i].network->s : NULL;

        if (name &&
            bsearch(&name, changed->items, changed->n, sizeof(*changed->items), compare_names))
            r = touch_assignment(o, &all->items[i]);
    }
    return r;
}

static int touch_changes(struct old_sockets *o)
{
    struct names changed = { 0 };
    int r = touch_assignments(o);

    if (r == 0)
        r = touch_networks(o, &changed);
    if (r == 0)
        r = touch_by_name(o, &changed);
    free(changed.items);
    return r;
}

/* What the kernel's rules said of a range of uids: ways to tables, or fences. */
struct stood {
    struct uid_range uid;
    uint32_t table;
};

struct stoods {
    struct stood *items;
    size_t n, cap;
};

static int compare_stood(const void *x, const void *y)
{
    const struct stood *a = x, *b = y;
    return CMP(a->uid.lo, b->uid.lo);
}

/* The rules of ours with this priority and uids, sorted; both families have the same. */
static int read_rules(const struct kernel *k, uint32_t priority, struct stoods *ret)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < k->n_rules[0]; i++) {
        const struct rtnl_rule *rule = &k->rules[0][i];

        if (rule->protocol == RTPROT_WAYMARK && rule->priority == priority && rule->has_uid)
            r = ARRAY_PUSH(ret->items, ret->n, ret->cap,
                           ((struct stood){ .uid = rule->uid, .table = rule->table }));
    }
    if (ret->n > 0)
        qsort(ret->items, ret->n, sizeof(*ret->items), compare_stood);
    return r;
}

/* Touches what is in `range` and in none of the sorted ranges. */
static int touch_gaps(struct old_sockets *o, struct uid_range range, const struct uid_range *in,
                      size_t n)
{
    uint64_t at = range.lo;
    int r = 0;

    for (size_t i = 0; r == 0 && i < n && in[i].lo <= range.hi; i++) {
        if (in[i].hi < at)
            continue;
        if (in[i].lo > at)
            r = touch(o, &(struct uid_range){ (uint32_t)at, in[i].lo - 1 }, 1);
        at = (uint64_t)in[i].hi + 1;
    }
    if (r == 0 && at <= range.hi)
        r = touch(o, &(struct uid_range){ (uint32_t)at, range.hi }, 1);
    return r;
}

struct ranges {
    struct uid_range *items;
    size_t n, cap;
};

/* Touches what of one list is not in the other; both are coalesced. */
static int touch_difference(struct old_sockets *o, const struct ranges *a, const struct ranges *b)
{
    size_t from = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < a->n; i++) {
        while (from < b->n && b->items[from].hi < a->items[i].lo)
            from++;
        r = touch_gaps(o, a->items[i], b->items + from, b->n - from);
    }
    return r;
}

static bool is_held(const struct assignment *a)
{
    return !a->network || a->strength == STRENGTH_REQUIRE;
}

/* Is this table that of an interface of the network? A network without any is none's to judge. */
static bool leads_to(const struct targets *t, const struct assignment *a, uint32_t table)
{
    ssize_t target = a->network ? targets_find(t, a->network->s) : -1;

    if (!a->network)
        return false;
    if (!targets_is_usable(t, target))
        return true;
    if (t->items[target].network->type == NETWORK_LOCAL)
        return table == TABLE_LOCAL_NETWORK;
    for (size_t i = 0; i < t->items[target].n_ports; i++)
        if ((uint32_t)target_ports(t, (size_t)target)[i].ifindex + TABLE_FROM_IFINDEX == table)
            return true;
    return t->items[target].n_ports == 0;
}

/* Those who are held by another network than the rules led them to. */
static int touch_other_ways(struct old_sockets *o, const struct stoods *ways)
{
    const struct side *s = &o->after;
    size_t from = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < s->n_holders; i++) {
        const struct holder *h = &s->holders[i];
        const struct assignment *a = &s->model->assignments->items[h->value];

        while (from < ways->n && ways->items[from].uid.hi < h->uid.lo)
            from++;
        for (size_t j = from; r == 0 && j < ways->n && ways->items[j].uid.lo <= h->uid.hi; j++)
            if (is_held(a) && !leads_to(s->targets, a, ways->items[j].table))
                r = touch(o, &h->uid, 1);
    }
    return r;
}

/* At the start: the uids that the kernel's rules do not hold where the model does. */
static int touch_by_rules(struct old_sockets *o, const struct kernel *k)
{
    struct stoods fences = { 0 }, ways = { 0 };
    struct ranges fenced = { 0 }, held = { 0 };
    const struct side *s = &o->after;
    int r = read_rules(k, RULE_PRIORITY_PROHIBIT_OTHER, &fences);

    if (r == 0)
        r = read_rules(k, RULE_PRIORITY_REQUIRE_NETWORK, &ways);
    for (size_t i = 0; r == 0 && i < fences.n; i++)
        r = ARRAY_PUSH(fenced.items, fenced.n, fenced.cap, fences.items[i].uid);
    for (size_t i = 0; r == 0 && i < s->n_holders; i++)
        if (is_held(&s->model->assignments->items[s->holders[i].value]))
            r = ARRAY_PUSH(held.items, held.n, held.cap, s->holders[i].uid);
    fenced.n = uid_ranges_coalesce(fenced.items, fenced.n);
    held.n = uid_ranges_coalesce(held.items, held.n);
    if (r == 0)
        r = touch_difference(o, &held, &fenced);
    if (r == 0)
        r = touch_difference(o, &fenced, &held);
    if (r == 0)
        r = touch_other_ways(o, &ways);
    free(fences.items);
    free(ways.items);
    free(fenced.items);
    free(held.items);
    return r;
}

static int add_holder(void *data, struct uid_range uid, uint32_t index)
{
    struct side *s = data;

    return ARRAY_PUSH(s->holders, s->n_holders, s->cap_holders,
                      ((struct holder){ .uid = uid, .value = index }));
}

/* Who holds whom on this side, of the uids that are touched; of all when `within` is NULL. */
static int find_holders(struct side *s, const struct uid_range *within, size_t n)
{
    return policy_sweep(s->model->assignments, within, n, add_holder, s);
}

static int compare_own(const void *x, const void *y)
{
    const struct own_addr *a = x, *b = y;
    return ip_addr_compare(&a->addr, &b->addr);
}

static int read_kernel(struct old_sockets *o, const struct kernel *k)
{
    const struct model *m = o->after.model;
    int r = 0;

    for (size_t i = 0; r == 0 && i < k->n_addrs; i++)
        r = ARRAY_PUSH(
            o->own, o->n_own, o->cap_own,
            ((struct own_addr){ .addr = k->addrs[i].local, .ifindex = k->addrs[i].ifindex }));
    if (o->n_own > 0)
        qsort(o->own, o->n_own, sizeof(*o->own), compare_own);
    for (size_t i = 0; r == 0 && i < m->n_networks; i++)
        for (size_t j = 0; r == 0 && j < m->networks[i]->n_interfaces; j++) {
            const struct rtnl_link *link = kernel_link_by_name(k, m->networks[i]->interfaces[j]);

            if (link)
                r = ARRAY_PUSH(
                    o->ports, o->n_ports, o->cap_ports,
                    ((struct own_port){ .ifindex = link->ifindex, .network = m->networks[i] }));
        }
    return r;
}

/* Where the machine's own routes lead by the interfaces of a network. */
static int add_outside(struct guard *g, const struct network *n, const struct kernel *k)
{
    struct outside_list list = { 0 };
    struct ip_prefix *routed = NULL;
    size_t n_routed = 0, cap = 0;
    int r = 0;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; r == 0 && i < k->n_routes[f]; i++) {
            const struct rtnl_route *route = &k->routes[f][i];
            const struct rtnl_link *link =
                routes_is_copied(route) ? kernel_link(k, route->oif) : NULL;

            if (link && network_has_interface(n, link->name))
                r = ARRAY_PUSH(routed, n_routed, cap, route->dst);
        }
    if (r == 0)
        r = outside_build(n, routed, n_routed, &list);
    for (size_t i = 0; r == 0 && i < list.n; i++)
        r = guard_add_outside(g, &list.items[i]);
    free(routed);
    free(list.items);
    return r;
}

static int find_outside(struct side *s, const struct kernel *k)
{
    int r = 0;

    if (!s->model)
        return 0;
    s->outside = guard_new();
    if (!s->outside)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < s->model->n_networks; i++)
        if (outside_possible(s->model->networks[i]))
            r = add_outside(s->outside, s->model->networks[i], k);
    if (r == 0)
        guard_sort(s->outside);
    return r;
}

static int copy_side(struct side *s, const struct model *m, struct targets *t)
{
    s->model = model_copy(m);
    s->targets = targets_ref(t);
    return s->model ? 0 : -ENOMEM;
}

/* What changed, as far as who is touched by it. At a start with programs every socket is asked. */
static int find_touched(struct old_sockets *o, const struct old_sockets_input *input)
{
    int r;

    o->apps_touched = o->before.codes || (o->by_rules && o->after.n_apps > 0);
    if (o->by_rules) {
        r = find_holders(&o->after, NULL, 0);
        return r < 0 ? r : touch_by_rules(o, input->kernel);
    }
    if (o->before.codes)
        return 0;
    r = touch_changes(o);
    if (old_sockets_same_apps(input->apps_before, input->n_apps_before, input->apps_after,
                              input->n_apps_after))
        return r;
    /* a program or a unit has come: what its sockets are not on proven ways is most likely new */
    o->again = !old_sockets_moved(o);
    o->apps_touched = true;
    return r;
}

/* Who holds the users that may have moved. */
static int find_all_holders(struct old_sockets *o)
{
    const struct uid_range *within = o->apps_touched ? NULL : o->touched;
    int r = 0;

    if (o->by_rules || !old_sockets_moved(o))
        return 0;
    if (!o->before.codes)
        r = find_holders(&o->before, within, o->n_touched);
    return r < 0 ? r : find_holders(&o->after, within, o->n_touched);
}

static int fill_sides(struct old_sockets *o, const struct old_sockets_input *input)
{
    bool start = !input->targets_before;
    int r;

    o->by_rules = start && !input->stood;
    r = copy_side(&o->after, input->after, input->targets_after);
    if (r == 0)
        r = side_take_apps(&o->after, input->apps_after, input->n_apps_after);
    if (r < 0 || o->by_rules)
        return r;
    /* at a start nothing but the guard is known of what was; the rest is taken to be as it is */
    r = start ? copy_side(&o->before, input->after, input->targets_after)
              : copy_side(&o->before, input->before, input->targets_before);
    if (r < 0)
        return r;
    return start ? side_take_guard(&o->before, input->stood)
                 : side_take_apps(&o->before, input->apps_before, input->n_apps_before);
}

int old_sockets_build(const struct old_sockets_input *input, struct old_sockets **ret)
{
    _cleanup_(old_sockets_freep) struct old_sockets *o = calloc(1, sizeof(*o));
    int r;

    if (!o)
        return -ENOMEM;
    r = fill_sides(o, input);
    if (r == 0)
        r = find_touched(o, input);
    if (r < 0)
        return r;
    *ret = NULL;
    if (!old_sockets_moved(o) && o->n_marks == 0)
        return 0;
    o->n_touched = uid_ranges_coalesce(o->touched, o->n_touched);
    r = find_all_holders(o);
    if (r == 0)
        r = read_kernel(o, input->kernel);
    if (r == 0)
        r = find_outside(&o->before, input->kernel);
    if (r == 0)
        r = find_outside(&o->after, input->kernel);
    if (r == 0)
        *ret = TAKE_PTR(o);
    return r;
}

static void side_done(struct side *s)
{
    model_free(s->model);
    targets_unref(s->targets);
    guard_unref(s->outside);
    free(s->holders);
    free(s->apps);
}

void old_sockets_free(struct old_sockets *o)
{
    if (!o)
        return;
    side_done(&o->before);
    side_done(&o->after);
    free(o->touched);
    free(o->marks);
    free(o->own);
    free(o->ports);
    free(o->half_open);
    free(o);
}
