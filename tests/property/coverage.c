/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/coverage.h"

#include <linux/if_addr.h>
#include <stdio.h>

#include "property/obligation.h"

static const char *name_of(enum cover kind)
{
    static const char *const names[COVER_OP] = {
        [COVER_MODEL] = "models",
        [COVER_HOST_NETWORKS] = "of them with host networks",
        [COVER_DEFAULT_NAMED] = "with a named default",
        [COVER_PHYSICAL] = "physical",
        [COVER_RESTRICTED] = "that demand a permission",
        [COVER_SECURE_VPN] = "secure VPN",
        [COVER_BYPASSABLE_VPN] = "bypassable VPN",
        [COVER_LOCAL] = "local",
        [COVER_UNREACHABLE] = "unreachable",
        [COVER_USERS] = "ranges of a VPN's users",
        [COVER_PROTECTABLE] = "protectable uids",
        [COVER_ROUTE_ON_LINK] = "routes on link",
        [COVER_ROUTE_GATEWAY] = "by gateway",
        [COVER_ROUTE_BLOCKING] = "unreachable or throw",
        [COVER_LEGACY_NETWORK] = "legacy network routes",
        [COVER_LEGACY_SYSTEM] = "legacy system routes",
        [COVER_SELECT_UID] = "of a uid",
        [COVER_SELECT_RANGE] = "of a range",
        [COVER_SELECT_USER] = "of a user",
        [COVER_SELECT_GROUP] = "of a group",
        [COVER_SELECT_PARTS] = "of several ranges",
        [COVER_SELECT_UNRESOLVED] = "unresolved",
        [COVER_NONE] = "none",
        [COVER_PREFER] = "prefer",
        [COVER_REQUIRE_PHYSICAL] = "require physical",
        [COVER_REQUIRE_VPN] = "require VPN",
        [COVER_REQUIRE_LOCAL] = "require local",
        [COVER_REQUIRE_UNREACHABLE] = "require unreachable",
        [COVER_REQUIRE_MISSING] = "require one that is missing",
        [COVER_REQUIRE_UNUSABLE] = "require one that is unusable",
        [COVER_HELD_PROTECTABLE] = "protectable uids that require a VPN",
        [COVER_LINK_DOWN] = "links down",
        [COVER_LINK_NO_CARRIER] = "without carrier",
        [COVER_MULTIPATH] = "next hops of multipath routes",
        [COVER_SECONDARY] = "secondary addresses",
        [COVER_SEVERAL_ADDRESSES] = "links with several addresses",
        [COVER_PEER_ADDRESS] = "addresses with a peer",
    };

    return kind >= COVER_OP ? op_kind_to_string((enum op_kind)(kind - COVER_OP)) : names[kind];
}

static void note_network(struct coverage *c, const struct network *n)
{
    static const enum cover types[NETWORK_TYPE_MAX] = {
        [NETWORK_PHYSICAL] = COVER_PHYSICAL,
        [NETWORK_VPN] = COVER_BYPASSABLE_VPN,
        [NETWORK_LOCAL] = COVER_LOCAL,
        [NETWORK_UNREACHABLE] = COVER_UNREACHABLE,
    };

    c->n[n->type == NETWORK_VPN && n->secure ? COVER_SECURE_VPN : types[n->type]]++;
    c->n[COVER_RESTRICTED] += n->permission != PERMISSION_NONE;
    c->n[COVER_USERS] += n->n_users;
    for (size_t i = 0; i < n->n_routes; i++)
        c->n[n->routes[i].kind != ROUTE_UNICAST      ? COVER_ROUTE_BLOCKING
             : ip_addr_is_set(&n->routes[i].gateway) ? COVER_ROUTE_GATEWAY
                                                     : COVER_ROUTE_ON_LINK]++;
}

static void note_selector(struct coverage *c, const struct assignment *a)
{
    static const enum cover kinds[SELECTOR_KIND_MAX] = {
        [SELECTOR_UID] = COVER_SELECT_UID,
        [SELECTOR_USER] = COVER_SELECT_USER,
        [SELECTOR_GROUP] = COVER_SELECT_GROUP,
    };
    bool range = a->selector.kind == SELECTOR_UID && a->selector.uid.lo != a->selector.uid.hi;

    c->n[range ? COVER_SELECT_RANGE : kinds[a->selector.kind]]++;
    c->n[COVER_SELECT_PARTS] += a->uids && a->uids->n > 1;
    c->n[COVER_SELECT_UNRESOLVED] += a->selector.kind != SELECTOR_UID && !a->uids;
}

static void note_target(struct coverage *c, const struct obligations *o, const struct assignment *a)
{
    static const enum cover types[NETWORK_TYPE_MAX] = {
        [NETWORK_PHYSICAL] = COVER_REQUIRE_PHYSICAL,
        [NETWORK_VPN] = COVER_REQUIRE_VPN,
        [NETWORK_LOCAL] = COVER_REQUIRE_LOCAL,
        [NETWORK_UNREACHABLE] = COVER_REQUIRE_UNREACHABLE,
    };
    const struct network *n = a->network ? model_network_by_name(o->model, a->network->s) : NULL;

    if (!a->network)
        c->n[COVER_NONE]++;
    else if (a->strength == STRENGTH_PREFER)
        c->n[COVER_PREFER]++;
    else if (!n)
        c->n[COVER_REQUIRE_MISSING]++;
    else {
        c->n[types[n->type]]++;
        c->n[COVER_REQUIRE_UNUSABLE] += n->type != NETWORK_UNREACHABLE && !has_way_out(o, n);
    }
}

void coverage_note_model(struct coverage *c, const struct model *m, const struct kernel *k)
{
    struct obligations o = { m, k };

    c->n[COVER_MODEL]++;
    c->n[COVER_HOST_NETWORKS] += m->host_networks;
    c->n[COVER_DEFAULT_NAMED] += m->default_network != NULL;
    c->n[COVER_PROTECTABLE] += m->n_protectable;
    for (size_t i = 0; i < m->n_networks; i++)
        note_network(c, m->networks[i]);
    for (size_t i = 0; i < m->n_legacy; i++)
        c->n[m->legacy[i].system ? COVER_LEGACY_SYSTEM : COVER_LEGACY_NETWORK]++;
    for (size_t i = 0; i < m->assignments->n; i++) {
        note_selector(c, &m->assignments->items[i]);
        note_target(c, &o, &m->assignments->items[i]);
    }
    for (size_t i = 0; i < m->n_protectable; i++)
        c->n[COVER_HELD_PROTECTABLE] +=
            is_bound(&o, m->protectable[i], 0) && !is_bound(&o, m->protectable[i], MARK_PROTECTED);
}

static void note_addresses(struct coverage *c, const struct kernel *k, int ifindex)
{
    unsigned n[2] = { 0 };

    for (size_t i = 0; i < k->n_addrs; i++) {
        const struct rtnl_addr *a = &k->addrs[i];

        if (a->ifindex != ifindex || a->scope == RT_SCOPE_LINK)
            continue;
        n[family_index(a->local.family)]++;
        c->n[COVER_SECONDARY] += a->local.family == AF_INET && (a->flags & IFA_F_SECONDARY);
        c->n[COVER_PEER_ADDRESS] += a->prefix_len == ip_family_bits(a->local.family);
    }
    c->n[COVER_SEVERAL_ADDRESSES] += n[0] > 1 || n[1] > 1;
}

void coverage_note_kernel(struct coverage *c, const struct kernel *k)
{
    for (size_t i = 0; i < k->n_links; i++) {
        const struct rtnl_link *link = &k->links[i];

        if (!startswith(link->name, "eth"))
            continue;
        c->n[COVER_LINK_DOWN] += !(link->flags & IFF_UP);
        c->n[COVER_LINK_NO_CARRIER] += (link->flags & (IFF_UP | IFF_RUNNING)) == IFF_UP;
        note_addresses(c, k, link->ifindex);
    }
    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < k->n_routes[f]; i++)
            c->n[COVER_MULTIPATH] += k->routes[f][i].nh_index > 0;
}

void coverage_note_ops(struct coverage *c, const struct ops *ops)
{
    for (size_t i = 0; i < ops->n; i++)
        c->n[COVER_OP + ops->items[i].kind]++;
}

unsigned coverage_print(const struct coverage *c, const char *title, enum cover first,
                        enum cover last)
{
    unsigned never = 0;

    printf("%s:", title);
    for (enum cover i = first; i <= last; i++) {
        printf("%s %lu %s", i == first ? "" : ",", c->n[i], name_of(i));
        never += c->n[i] == 0;
    }
    printf("\n");
    return never;
}

unsigned coverage_print_models(const struct coverage *c)
{
    return coverage_print(c, "models", COVER_MODEL, COVER_DEFAULT_NAMED) +
           coverage_print(c, "networks", COVER_PHYSICAL, COVER_LEGACY_SYSTEM) +
           coverage_print(c, "assignments", COVER_SELECT_UID, COVER_HELD_PROTECTABLE);
}

unsigned coverage_print_ops(const struct coverage *c)
{
    return coverage_print(c, "ops", COVER_OP, COVER_OP + OP_GUARD);
}
