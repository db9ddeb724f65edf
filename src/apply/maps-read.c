/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The other way round: from the maps of the BPF programs to a struct guard. */

#include <errno.h>

#include "apply/maps.h"

/* As maps.c makes them. Anything else was not made by us, and is not to be taken for what it is not. */
static int read_policy(const struct socket_policy *p, uint32_t *ret_netid, uint32_t *ret_flags)
{
    const unsigned known = SOCKET_POLICY_FIRST | SOCKET_POLICY_LOCKDOWN;
    uint32_t netid = p->netid;

    if (p->pad != 0 || p->flags & ~known || netid & ~(uint32_t)MARK_NETID_MASK)
        return -EPROTO;
    if (p->strength == SOCKET_PREFER)
        netid |= GUARD_PREFER;
    else if (p->strength != (netid == NETID_UNSET ? SOCKET_NONE : SOCKET_REQUIRE))
        return -EPROTO;
    *ret_netid = netid;
    *ret_flags = (p->flags & SOCKET_POLICY_FIRST ? (uint32_t)GUARD_APP_RUN : 0) |
                 (p->flags & SOCKET_POLICY_LOCKDOWN ? (uint32_t)GUARD_APP_LOCKDOWN : 0);
    return 0;
}

static int add_app(struct guard *g, struct guard_app app, const struct socket_policy *p)
{
    int r = read_policy(p, &app.netid, &app.flags);

    app.app = p->app;
    return r < 0 ? r : guard_add_app(g, &app);
}

static int on_executable(void *data, const void *key, const void *value)
{
    const struct map_executable *executable = key;

    return add_app(data,
                   (struct guard_app){ .kind = GUARD_APP_EXE,
                                       .id = executable->ino,
                                       .dev = bpf_executable_device(executable) },
                   value);
}

static int on_cgroup(void *data, const void *key, const void *value)
{
    return add_app(
        data, (struct guard_app){ .kind = GUARD_APP_CGROUP, .id = *(const uint64_t *)key }, value);
}

static int add_place(struct guard *g, struct guard_place place, const struct socket_policy *p)
{
    int r = 0;

    if (place_is_passage(place.kind))
        return guard_add_place(g, &place);
    r = read_policy(p, &place.netid, &place.flags);
    place.app = p->app;
    return r < 0 ? r : guard_add_place(g, &place);
}

static int on_place(void *data, const void *key, const void *value)
{
    const struct map_place *place = key;
    const struct map_executable directory = { .dev = place->dev, .ino = place->directory };

    return add_place(data,
                     (struct guard_place){ .kind = place->name ? PLACE_FILE : PLACE_DIRECTORY,
                                           .parent = place->directory,
                                           .dev = bpf_executable_device(&directory),
                                           .name = place->name },
                     value);
}

static int on_path(void *data, const void *key, const void *value)
{
    const struct map_path *path = key;

    if (path->kind >= PLACE_KIND_MAX)
        return -EPROTO;
    return add_place(
        data,
        (struct guard_place){ .kind = path->kind, .parent = path->parent, .name = path->name },
        value);
}

static int on_network(void *data, const void *key, const void *value)
{
    const struct map_network *n = value;

    return guard_add_network(data, &(struct guard_network){ .netid = *(const uint32_t *)key,
                                                            .flags = n->flags,
                                                            .permission = n->permission });
}

/* The chain is there for those who require the network; it needs no more than its ports. */
static int on_port(void *data, const void *key, const void *value)
{
    const struct map_port *port = key;
    int r = guard_add_chain(data, port->netid, false);

    (void)value;
    return r < 0 ? r : guard_add_port(data, port->netid, (int)port->ifindex);
}

int maps_read_outside(void *data, const void *key, const void *value)
{
    const struct map_outside *outside = key;
    int family = outside->family == AF_INET6 ? AF_INET6 : AF_INET;
    unsigned bits = ip_family_bits(family), length = outside->length - MAP_OUTSIDE_LENGTH;
    struct ip_addr addr = ip_addr_make(family, outside->addr, bits / 8);

    if (outside->family != (uint32_t)family || outside->length < MAP_OUTSIDE_LENGTH ||
        length > bits)
        return -EPROTO;
    return guard_add_outside(data,
                             &(struct guard_outside){ .netid = outside->netid,
                                                      .outside = *(const uint32_t *)value != 0,
                                                      .prefix = ip_prefix_make(&addr, length) });
}

static int on_interface(void *data, const void *key, const void *value)
{
    return guard_add_incoming(data, (int)*(const uint32_t *)key, *(const uint32_t *)value);
}

static int on_user(void *data, const void *key, const void *value)
{
    const struct map_user *user = value;

    return guard_add_user(
        data, &(struct guard_user){ .uid = *(const uint32_t *)key,
                                    .flags = (user->has_permission ? GUARD_USER_PERMISSION : 0U) |
                                             (user->protectable ? GUARD_USER_PROTECT : 0U),
                                    .permission = user->permission });
}

static const bpf_each readers[BPF_TABLE_MAX] = {
    [BPF_CGROUPS] = on_cgroup,         [BPF_EXECUTABLES] = on_executable,
    [BPF_NETWORKS] = on_network,       [BPF_PORTS] = on_port,
    [BPF_INTERFACES] = on_interface,   [BPF_USERS] = on_user,
    [BPF_PLACES] = on_place,           [BPF_PATHS] = on_path,
    [BPF_OUTSIDE] = maps_read_outside,
};

static int on_uids(void *data, const struct bpf_range *range)
{
    struct guard_entry entry = { .uid = range->uid, .app = range->policy.app };
    int r = read_policy(&range->policy, &entry.netid, &entry.flags);

    if (r == 0 && entry.flags & GUARD_APP_RUN)
        r = -EPROTO;
    return r < 0 ? r : guard_push_entry(data, &entry);
}

static int on_vpn(void *data, const struct bpf_range *range)
{
    return guard_add_vpn(data, range->uid, range->vpn.netid);
}

int maps_read_guard(struct bpf *b, struct guard **ret, struct why *why)
{
    _cleanup_(guard_unrefp) struct guard *g = guard_new();
    struct bpf_settings settings;
    int r = g ? bpf_commit_again(b, &settings, why) : -ENOMEM;

    for (int i = 0; r == 0 && i < BPF_TABLE_MAX; i++)
        r = bpf_read_table(b, (enum bpf_table)i, readers[i], g, why);
    if (r == 0)
        r = bpf_read_ranges(b, BPF_UIDS, on_uids, g, why);
    if (r == 0)
        r = bpf_read_ranges(b, BPF_VPNS, on_vpn, g, why);
    if (r == -EPROTO)
        return why_set(why, r, "the BPF maps hold what waymarkd does not write");
    if (r < 0)
        return r;
    g->mark_all = settings.mark_all;
    g->default_netid = settings.default_netid;
    g->first_application_uid = settings.first_application_uid;
    guard_sort(g);
    *ret = TAKE_PTR(g);
    return 0;
}
