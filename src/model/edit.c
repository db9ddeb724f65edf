/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/edit.h"

#include <errno.h>
#include <linux/if_arp.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "model/vpn-apps.h"

enum network_type network_type_of_link(const struct rtnl_link *link)
{
    static const char *const tunnels[] = { "wireguard", "tun", "ppp",  "ipip", "ip6tnl", "sit",
                                           "gre",       "vti", "vti6", "xfrm", "ovpn",   "ip6gre" };

    /*
     * A tap (kind "tun", but Ethernet) is somebody's machine. ARPHRD_NONE alone tells nothing: modems
     * have it, too.
     */
    if (link->arphrd == ARPHRD_ETHER)
        return NETWORK_PHYSICAL;
    if (parse_word(tunnels, ELEMENTSOF(tunnels), link->kind) >= 0 || link->arphrd == ARPHRD_PPP)
        return NETWORK_VPN;
    return NETWORK_PHYSICAL;
}

static int no_such_network(const char *name, struct why *why)
{
    return why_set(why, -ENONET, "there is no network '%.64s': see `waymark network list`", name);
}

static int in_configuration(const char *what, const char *name, const struct rstr *source,
                            struct why *why)
{
    return why_set(why, -EPERM, "%s '%.64s' stands in %s: change it there, then `waymark reload`",
                   what, name, rstr_text(source));
}

/* What follows from a VPN is changed with it. */
static int of_vpn(const char *what, const char *name, const char *vpn, struct why *why)
{
    return why_set(why, -EBUSY, "%s%.120s belongs to VPN '%s': see `waymark vpn`", what, name, vpn);
}

/* The network, if commands may change it. */
static int find_editable(const struct model *m, const char *name, struct network **ret,
                         struct why *why)
{
    struct network *n = model_network_by_name(m, name);

    if (!n)
        return no_such_network(name, why);
    if (n->origin == ORIGIN_CONFIG)
        return in_configuration("network", name, n->source, why);
    if (n->origin == ORIGIN_VPN)
        return of_vpn("network ", name, name, why);
    *ret = n;
    return 0;
}

/*
 * Replaces the network by a copy that may be edited. A host network, once touched, belongs to who
 * touched it: it no longer goes away with its interface.
 */
static int begin_edit(struct model *m, const char *name, enum origin by, struct network **ret,
                      struct why *why)
{
    struct network *old, *copy;
    int r;

    r = find_editable(m, name, &old, why);
    if (r < 0)
        return r;
    copy = network_copy(old);
    if (!copy)
        return -ENOMEM;
    if (copy->origin == ORIGIN_HOST)
        copy->origin = by;
    *ret = copy;
    return model_put_network(m, copy);
}

static int check_netid(uint32_t netid, enum network_type type, struct why *why)
{
    static const struct {
        uint32_t lo, hi;
        const char *text;
    } ranges[NETWORK_TYPE_MAX] = {
        [NETWORK_PHYSICAL] = { NETID_MIN, NETID_MAX, "1 to 50 or 100 to 65535" },
        [NETWORK_VPN] = { NETID_MIN, NETID_MAX, "100 to 65535" },
        [NETWORK_LOCAL] = { NETID_LOCAL, NETID_LOCAL, "99" },
        [NETWORK_UNREACHABLE] = { NETID_UNREACHABLE, NETID_UNREACHABLE, "52" },
    };

    if (netid >= ranges[type].lo && netid <= ranges[type].hi)
        return 0;
    if (type == NETWORK_PHYSICAL && netid >= NETID_OEM_MIN && netid <= NETID_OEM_MAX)
        return 0;
    return why_set(why, -EINVAL, "netId %u is out of range: a %s network's is %s", netid,
                   network_type_to_string(type), ranges[type].text);
}

static int choose_netid(const struct model *m, struct network *n, struct why *why)
{
    switch (n->type) {
    case NETWORK_LOCAL:
        n->netid = NETID_LOCAL;
        return 0;
    case NETWORK_UNREACHABLE:
        n->netid = NETID_UNREACHABLE;
        return 0;
    case NETWORK_PHYSICAL:
    case NETWORK_VPN:
    case NETWORK_TYPE_MAX:
        break;
    }
    n->netid = model_choose_netid(m, n->name);
    if (n->netid == NETID_UNSET)
        return why_set(why, -ENONET, "all netIds from %d to %d are in use", NETID_MIN, NETID_MAX);
    return 0;
}

/* May `interface` become part of network n? */
static int check_interface(const struct model *m, const struct kernel *k, const struct network *n,
                           const char *interface, struct why *why)
{
    const struct network *owner = model_network_of(m, interface);

    if (n->type == NETWORK_UNREACHABLE || n->netid == NETID_DUMMY)
        return why_set(why, -EINVAL, "network '%s' is of type %s: it has no interfaces", n->name,
                       network_type_to_string(n->type));
    if (owner && owner->netid != n->netid && owner->origin == ORIGIN_CONFIG &&
        n->origin != ORIGIN_CONFIG)
        return why_set(
            why, -EBUSY,
            "interface '%s' is in network '%s', which stands in %s: change it there, then "
            "`waymark reload`",
            interface, owner->name, rstr_text(owner->source));
    if (owner && owner->netid != n->netid && owner->origin == ORIGIN_VPN)
        return of_vpn("interface ", interface, owner->name, why);
    if (owner && owner->netid != n->netid && owner->origin != ORIGIN_HOST)
        return why_set(why, -EBUSY,
                       "interface '%s' is in network '%s': `waymark network detach %s %s` first",
                       interface, owner->name, owner->name, interface);
    if (!kernel_link_by_name(k, interface) && n->origin != ORIGIN_CONFIG)
        return why_set(why, -ESRCH, "there is no interface '%.32s': see `ip link`", interface);
    return 0;
}

/* An interface that somebody asks for is no host network any more. */
static void take_over(struct model *m, const char *interface)
{
    const struct network *owner = model_network_of(m, interface);

    if (owner && owner->origin == ORIGIN_HOST)
        model_drop_network(m, owner->netid);
}

/* Only physical networks can be the default, also when they become something else. */
static int check_default(const struct model *m, const struct network *n, struct why *why)
{
    if (n->type == NETWORK_PHYSICAL || !m->default_network ||
        !streq(m->default_network->s, n->name))
        return 0;
    return why_set(why, -EINVAL,
                   "network '%s' is the default, which only a physical network can be, not a %s: "
                   "`waymark default system` first",
                   n->name, network_type_to_string(n->type));
}

static int check_vpn_options(const struct network *n, struct why *why)
{
    if (n->type == NETWORK_VPN || n->type_open ||
        !(n->fall_through || n->lockdown || n->n_outside > 0))
        return 0;
    return why_set(why, -EINVAL,
                   "network '%s' is of type %s: only a VPN falls through, has a lockdown or "
                   "destinations outside",
                   n->name, network_type_to_string(n->type));
}

static int check_type(const struct model *m, const struct kernel *k, const struct network *draft,
                      unsigned fields, struct network *n, struct why *why)
{
    if (!(fields & FIELD_TYPE)) {
        const struct rtnl_link *link =
            draft->n_interfaces > 0 ? kernel_link_by_name(k, draft->interfaces[0]) : NULL;
        n->type = link ? network_type_of_link(link) : NETWORK_PHYSICAL;
        n->type_open = n->origin == ORIGIN_CONFIG;
    }
    if (!(fields & FIELD_SECURE)) /* a VPN holds its users unless it is said to be bypassable */
        n->secure = n->type == NETWORK_VPN;
    if (n->permission != PERMISSION_NONE && n->type != NETWORK_PHYSICAL)
        return why_set(why, -EINVAL, "only a physical network can demand a permission, not a %s",
                       network_type_to_string(n->type));
    if (check_vpn_options(n, why) < 0)
        return -EINVAL;
    return (fields & FIELD_NETID) ? check_netid(n->netid, n->type, why) : choose_netid(m, n, why);
}

int edit_add_network(struct model *m, const struct kernel *k, const struct network *draft,
                     unsigned fields, uint32_t *ret_netid, struct why *why)
{
    _cleanup_(network_unrefp) struct network *n = network_copy(draft);
    const struct network *other;
    int r;

    if (!n)
        return -ENOMEM;
    r = network_name_check(n->name, why);
    if (r == 0)
        r = check_type(m, k, draft, fields, n, why);
    if (r == 0 && n->origin != ORIGIN_CONFIG) /* which may change the default, too */
        r = check_default(m, n, why);
    if (r < 0)
        return r;

    /*
     * A host network of that name makes room; its netId goes with the name. One that only has the
     * netId does not: sockets carry it in their marks and would find themselves elsewhere.
     */
    other = model_network_by_name(m, n->name);
    if (other && other->origin == ORIGIN_HOST) {
        if (!(fields & FIELD_NETID) && n->netid >= NETID_MIN)
            n->netid = other->netid;
        model_drop_network(m, other->netid);
    } else if (other)
        return why_set(why, -EEXIST, "there is a network '%s' already: netId %u", n->name,
                       other->netid);
    other = model_network(m, n->netid);
    if (other)
        return why_set(why, -EEXIST, "netId %u is that of network '%s'", n->netid, other->name);

    for (size_t i = 0; r == 0 && i < n->n_interfaces; i++) {
        r = check_interface(m, k, n, n->interfaces[i], why);
        take_over(m, n->interfaces[i]);
    }
    if (r == 0 && n->netid >= NETID_MIN)
        r = model_know_netid(m, n->name, n->netid);
    if (r < 0)
        return r;
    if (ret_netid)
        *ret_netid = n->netid;
    return model_put_network(m, TAKE_PTR(n));
}

static int set_lists(struct network *n, const struct network *draft, unsigned fields)
{
    int r = 0;

    if (fields & FIELD_DNS) {
        network_clear_dns(n);
        for (size_t i = 0; r == 0 && i < draft->n_dns; i++)
            r = network_add_dns(n, &draft->dns[i]);
    }
    if (fields & FIELD_DOMAINS) {
        network_clear_domains(n);
        for (size_t i = 0; r == 0 && i < draft->n_domains; i++)
            r = network_add_domain(n, draft->domains[i]->s);
    }
    if (fields & FIELD_OUTSIDE) {
        network_clear_outside(n);
        for (size_t i = 0; r == 0 && i < draft->n_outside; i++)
            r = network_add_outside(n, &draft->outside[i]);
    }
    return r;
}

int edit_set_network(struct model *m, const char *name, enum origin by, const struct network *draft,
                     unsigned fields, struct why *why)
{
    struct network *n;
    int r;

    r = find_editable(m, name, &n, why);
    if (r < 0)
        return r;
    if ((fields & FIELD_NETID) && draft->netid != n->netid)
        return why_set(why, -EINVAL, "the netId of '%s' is %u and stays so: remove and add it",
                       name, n->netid);
    if (fields & FIELD_INTERFACES)
        return why_set(why, -EINVAL,
                       "interfaces come and go singly: use `waymark network attach|detach %s IF`",
                       name);

    r = begin_edit(m, name, by, &n, why);
    if (r < 0)
        return r;
    if (fields & FIELD_TYPE)
        n->type = draft->type;
    if (fields & FIELD_PERMISSION)
        n->permission = draft->permission;
    if (fields & FIELD_SECURE)
        n->secure = draft->secure;
    if (fields & FIELD_EXCLUDE_LOCAL)
        n->exclude_local = draft->exclude_local;
    if (fields & FIELD_RESOLVER)
        n->resolver = draft->resolver;
    if (fields & FIELD_FALL_THROUGH)
        n->fall_through = draft->fall_through;
    if (fields & FIELD_LOCKDOWN)
        n->lockdown = draft->lockdown;
    if (n->permission != PERMISSION_NONE && n->type != NETWORK_PHYSICAL)
        return why_set(why, -EINVAL,
                       "network '%s' is of type %s: only a physical one can demand a "
                       "permission",
                       name, network_type_to_string(n->type));
    r = check_netid(n->netid, n->type, why);
    if (r == 0)
        r = check_default(m, n, why);
    if (r == 0)
        r = set_lists(n, draft, fields);
    return r < 0 ? r : check_vpn_options(n, why);
}

int edit_remove_network(struct model *m, const char *name, struct why *why)
{
    struct network *n;
    int r;

    r = find_editable(m, name, &n, why);
    if (r < 0)
        return r;
    if (n->origin == ORIGIN_HOST)
        return why_set(why, -EBUSY,
                       "network '%s' is interface %s of this machine: to leave it out, add it to "
                       "`ignore =` in waymark.conf",
                       name, n->interfaces[0]);
    if (!m->host_networks && (n->netid == NETID_LOCAL || n->netid == NETID_UNREACHABLE))
        return why_set(why, -EINVAL, "network '%s' is built in", name);
    model_drop_network(m, n->netid);
    return 0;
}

int edit_attach(struct model *m, const struct kernel *k, const char *network, enum origin by,
                const char *interface, struct why *why)
{
    struct network *n;
    int r;

    r = find_editable(m, network, &n, why);
    if (r < 0)
        return r;
    if (network_has_interface(n, interface))
        return 0;
    r = check_interface(m, k, n, interface, why);
    if (r < 0)
        return r;

    take_over(m, interface);
    r = begin_edit(m, network, by, &n, why);
    return r < 0 ? r : network_add_interface(n, interface);
}

int edit_detach(struct model *m, const char *network, enum origin by, const char *interface,
                struct why *why)
{
    struct network *n;
    int r;

    r = find_editable(m, network, &n, why);
    if (r < 0)
        return r;
    if (!network_has_interface(n, interface))
        return 0;
    if (n->origin == ORIGIN_HOST)
        return why_set(why, -EBUSY,
                       "network '%s' is interface %s of this machine: attach the interface to "
                       "another network, or add it to `ignore =` in waymark.conf",
                       network, interface);
    r = begin_edit(m, network, by, &n, why);
    if (r < 0)
        return r;
    /* android.md §2.3: the interface's table is flushed; attached again, it begins empty */
    for (size_t i = n->n_routes; r == 0 && i-- > 0;)
        if (streq(n->routes[i].interface, interface))
            r = network_remove_route(n, &n->routes[i]);
    return r < 0 ? r : network_remove_interface(n, interface);
}

/* Settles which interface a route means, and that it is the network's. */
static int check_route(const struct model *m, const struct network *n, const struct kernel *k,
                       struct route_spec *route, struct why *why)
{
    const struct network *owner;

    if (route->interface[0] == '\0') {
        if (n->n_interfaces != 1)
            return why_set(why, -ENODEV, "network '%s' has %zu interfaces: say which with `dev IF`",
                           n->name, n->n_interfaces);
        (void)str_set(route->interface, IFNAMSIZ, n->interfaces[0]);
    }
    owner = model_network_of(m, route->interface);
    if (!owner)
        return why_set(why, -ENODEV, "interface '%s' is in no network", route->interface);
    if (owner->netid != n->netid)
        return why_set(why, -ENOENT, "interface '%s' is in network '%s', not in '%s'",
                       route->interface, owner->name, n->name);
    if (k && !kernel_link_by_name(k, route->interface))
        return why_set(why, -ENODEV, "interface '%s' is gone", route->interface);
    return 0;
}

static int edit_route(struct model *m, const struct kernel *k, const char *network, enum origin by,
                      const struct route_spec *route, bool add, struct why *why)
{
    struct route_spec settled = *route;
    struct network *n;
    int r;

    r = find_editable(m, network, &n, why);
    if (r == 0)
        r = check_route(m, n, k, &settled, why);
    if (r == 0)
        r = begin_edit(m, network, by, &n, why);
    if (r < 0)
        return r;

    if (add) {
        r = network_add_route(n, &settled);
        return r == -EEXIST ? 0 : r;
    }
    r = network_remove_route(n, &settled);
    if (r == -ESRCH)
        return why_set(why, -ESRCH,
                       "network '%s' has no such route of its own: see `waymark network show %s`",
                       network, network);
    return r;
}

int edit_add_route(struct model *m, const struct kernel *k, const char *network, enum origin by,
                   const struct route_spec *route, struct why *why)
{
    return edit_route(m, k, network, by, route, true, why);
}

int edit_remove_route(struct model *m, const struct kernel *k, const char *network, enum origin by,
                      const struct route_spec *route, struct why *why)
{
    return edit_route(m, k, network, by, route, false, why);
}

int edit_set_default(struct model *m, const char *name, struct why *why)
{
    const struct network *n = name ? model_network_by_name(m, name) : NULL;
    _cleanup_(rstr_unrefp) struct rstr *s = NULL;

    if (m->default_source)
        return in_configuration("default network",
                                m->default_network ? m->default_network->s : "system",
                                m->default_source, why);
    if (name && !n)
        return no_such_network(name, why);
    if (n && n->type != NETWORK_PHYSICAL)
        return why_set(why, -EINVAL,
                       "network '%s' is of type %s: only a physical network can be the default. "
                       "To send apps there, use `waymark assign`",
                       name, network_type_to_string(n->type));
    if (name) {
        s = rstr_new(name);
        if (!s)
            return -ENOMEM;
    }
    rstr_unref(m->default_network);
    m->default_network = TAKE_PTR(s);
    return 0;
}

/* Makes the assignments editable: a copy of our own. */
static int begin_assignments(struct model *m)
{
    struct assignments *copy = assignments_copy(m->assignments);

    if (!copy)
        return -ENOMEM;
    assignments_unref(m->assignments);
    m->assignments = copy;
    return 0;
}

/* The selector is a VPN's: nobody takes its app from it behind its back. */
static int assigned_by_vpn(const struct model *m, const struct selector *selector, struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    const struct vpn *v = vpn_of_selector(m, selector);

    selector_print(selector, &text);
    return of_vpn("", strbuf_text(&text), v ? v->name : "?", why);
}

static bool is_of_program(const struct vpn *v)
{
    return v && v->kind == VPN_SERVICE && v->origin == ORIGIN_RUNTIME;
}

static int check_assignment(const struct model *m, const struct assignment *a, struct why *why)
{
    ssize_t i = assignments_find(m->assignments, &a->selector);
    const struct assignment *old = i >= 0 ? &m->assignments->items[i] : NULL;

    if (old && old->origin == ORIGIN_CONFIG)
        return why_set(why, -EPERM,
                       "that selector is assigned in %s:%u: change it there, then `waymark reload`",
                       rstr_text(old->file), old->line);
    if (old && old->origin == ORIGIN_VPN)
        return assigned_by_vpn(m, &a->selector, why);
    if (a->network && !assignment_is_default(a) && a->origin != ORIGIN_CONFIG &&
        !model_knows_name(m, a->network->s))
        return no_such_network(a->network->s, why);
    if (a->network && is_of_program(model_vpn(m, a->network->s)))
        return why_set(
            why, -EPERM,
            "VPN '%s' was made by a program of uid %u, and goes with it: nobody else is put "
            "on it; `waymark vpn add` makes one that is the administrator's",
            a->network->s, model_vpn(m, a->network->s)->owner_uid);
    if (!a->network && a->strength == STRENGTH_PREFER)
        return why_set(why, -EINVAL, "`none` blocks the app: it cannot be a preference");
    return 0;
}

int edit_assign(struct model *m, struct assignment *assignment, struct why *why)
{
    int r;

    r = selector_check_supported(&assignment->selector, m->process_selectors, why);
    if (r == 0)
        r = check_assignment(m, assignment, why);
    if (r == 0)
        r = begin_assignments(m);
    if (r < 0) {
        assignment_done(assignment);
        return r;
    }
    assignment->network = model_intern_name(m, assignment->network);
    return assignments_put(m->assignments, assignment);
}

static int refuse_to_unassign(const struct selector *selector, const struct assignment *old,
                              struct why *why)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;

    selector_print(selector, &text);
    if (!old)
        return why_set(why, -ENOENT, "nothing is assigned to %s: see `waymark assignments`",
                       strbuf_text(&text));
    return why_set(why, -EPERM,
                   "the assignment of %s stands in %s:%u: change it there, then "
                   "`waymark reload`",
                   strbuf_text(&text), rstr_text(old->file), old->line);
}

int edit_unassign(struct model *m, const struct selector *selector, struct why *why)
{
    ssize_t i = assignments_find(m->assignments, selector);
    const struct assignment *old = i >= 0 ? &m->assignments->items[i] : NULL;
    int r;

    if (!old || old->origin == ORIGIN_CONFIG)
        return refuse_to_unassign(selector, old, why);
    if (old->origin == ORIGIN_VPN)
        return assigned_by_vpn(m, selector, why);
    r = begin_assignments(m);
    if (r < 0)
        return r;
    assignments_remove(m->assignments, (size_t)i);
    return 0;
}

int edit_unassign_those(struct model *m, edit_drop drop, void *data)
{
    struct assignments *all;
    size_t out = 0;
    int r = begin_assignments(m);

    if (r < 0)
        return r;
    all = m->assignments;
    for (size_t i = 0; i < all->n; i++) {
        if (drop(&all->items[i], data))
            assignment_done(&all->items[i]);
        else
            all->items[out++] = all->items[i];
    }
    all->n = out;
    return 0;
}

static int begin_users(struct model *m, const char *network, enum origin by, struct network **ret,
                       struct why *why)
{
    struct network *n;
    int r;

    r = find_editable(m, network, &n, why);
    if (r < 0)
        return r;
    if (n->type != NETWORK_VPN)
        return why_set(why, -EINVAL,
                       "network '%s' is of type %s: only a VPN captures users. To send apps there, "
                       "use `waymark assign`",
                       network, network_type_to_string(n->type));
    return begin_edit(m, network, by, ret, why);
}

int edit_add_users(struct model *m, const char *network, enum origin by,
                   const struct uid_range *ranges, size_t n_ranges, struct why *why)
{
    struct network *n;
    int r;

    r = begin_users(m, network, by, &n, why);
    for (size_t i = 0; r == 0 && i < n_ranges; i++)
        r = network_add_user(n, ranges[i]);
    return r;
}

int edit_remove_users(struct model *m, const char *network, enum origin by,
                      const struct uid_range *ranges, size_t n_ranges, struct why *why)
{
    char text[UID_RANGE_TEXT_MAX];
    struct network *n;
    int r;

    r = begin_users(m, network, by, &n, why);
    for (size_t i = 0; r == 0 && i < n_ranges; i++) {
        r = network_remove_user(n, ranges[i]);
        if (r == -ENOENT)
            return why_set(why, -ENOENT, "network '%s' has no user range %s", network,
                           uid_range_format(&ranges[i], text));
    }
    return r;
}

int edit_add_legacy_route(struct model *m, const struct kernel *k, const struct route_spec *route,
                          bool system, struct why *why)
{
    if (!model_network_of(m, route->interface))
        return why_set(why, -ENODEV, "interface '%s' is in no network", route->interface);
    if (!kernel_link_by_name(k, route->interface))
        return why_set(why, -ENODEV, "interface '%s' is gone", route->interface);
    if (model_find_legacy(m, route, system) < m->n_legacy)
        return 0;
    return ARRAY_PUSH(m->legacy, m->n_legacy, m->cap_legacy,
                      ((struct legacy_route){ .route = *route, .system = system }));
}

int edit_remove_legacy_route(struct model *m, const struct route_spec *route, bool system,
                             struct why *why)
{
    size_t i = model_find_legacy(m, route, system);

    if (i == m->n_legacy)
        return why_set(why, -ESRCH, "there is no such legacy route");
    m->n_legacy--;
    memmove(m->legacy + i, m->legacy + i + 1, (m->n_legacy - i) * sizeof(*m->legacy));
    return 0;
}
