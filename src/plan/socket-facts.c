/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "plan/socket-facts.h"

#include <errno.h>

#include "basic/array.h"

/* As on Android where commands alone make networks; on a host only root has it by its number. */
enum { FIRST_APPLICATION_UID = 10000, FIRST_APPLICATION_UID_HOST = 1 };

uint32_t socket_first_application_uid(const struct model *m)
{
    return m->host_networks ? FIRST_APPLICATION_UID_HOST : FIRST_APPLICATION_UID;
}

uint32_t socket_network_flags(const struct targets *t, size_t i)
{
    const struct network *n = t->items[i].network;

    return (n->type == NETWORK_VPN ? SOCKET_NETWORK_VPN : 0U) |
           (n->type == NETWORK_VPN && n->secure ? SOCKET_NETWORK_SECURE : 0U) |
           (n->type == NETWORK_UNREACHABLE ? SOCKET_NETWORK_UNREACHABLE : 0U) |
           (targets_is_usable(t, (ssize_t)i) ? SOCKET_NETWORK_USABLE : 0U);
}

static void forget_owners(struct socket_facts *f)
{
    free(f->owners.items);
    f->owners = (struct segments){ 0 };
    assignments_unref(f->assignments);
    f->assignments = NULL;
}

static void forget_networks(struct socket_facts *f)
{
    targets_unref(f->targets);
    free(f->users);
    free(f->ranges);
    free(f->vpns);
    f->targets = NULL;
    f->users = NULL;
    f->ranges = NULL;
    f->vpns = NULL;
    f->n_vpns = 0;
}

void socket_facts_done(struct socket_facts *f)
{
    forget_owners(f);
    forget_networks(f);
}

static int add_owner(void *data, struct uid_range uid, uint32_t index)
{
    struct segments *owners = data;

    return ARRAY_PUSH(owners->items, owners->n, owners->cap,
                      ((struct segment){ .uid = uid, .target = (int32_t)index }));
}

static int learn_owners(struct socket_facts *f, struct assignments *all)
{
    int r;

    if (f->assignments == all)
        return 0;
    forget_owners(f);
    r = policy_sweep(all, NULL, 0, add_owner, &f->owners);
    if (r < 0)
        return r;
    f->assignments = assignments_ref(all);
    return 0;
}

/* Are there assignments of a kind from `first` up to, without, `end`? They are sorted by kind. */
static bool has_kind(const struct assignments *all, enum selector_kind first,
                     enum selector_kind end)
{
    size_t lo = 0, hi = all->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (all->items[mid].selector.kind < first)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < all->n && all->items[lo].selector.kind < end;
}

/* Those of processes hold nobody unless programs at the cgroup carry them. */
static void learn_processes(struct socket_facts *f)
{
    f->cgroups = f->k->maps && has_kind(f->assignments, SELECTOR_CGROUP, SELECTOR_EXE);
    f->exes = f->k->maps && has_kind(f->assignments, SELECTOR_EXE, SELECTOR_KIND_MAX);
}

static int learn_users(struct socket_facts *f)
{
    const struct targets *t = f->targets;
    size_t n = 0;

    for (size_t i = 0; i < t->n; i++)
        n += t->items[i].network->n_users;
    f->users = calloc(t->n + 1, sizeof(*f->users));
    f->vpns = calloc(t->n + 1, sizeof(*f->vpns));
    f->ranges = calloc(n + 1, sizeof(*f->ranges));
    if (!f->users || !f->vpns || !f->ranges)
        return -ENOMEM;

    n = 0;
    for (uint32_t i = 0; i < t->n; i++) {
        const struct network *network = t->items[i].network;

        if (network->n_users == 0)
            continue;
        memcpy(f->ranges + n, network->users, network->n_users * sizeof(*network->users));
        f->users[i].first = n;
        f->users[i].n = uid_ranges_coalesce(f->ranges + n, network->n_users);
        n += f->users[i].n;
        if (network->type == NETWORK_VPN)
            f->vpns[f->n_vpns++] = i;
    }
    return 0;
}

int socket_facts_update(struct socket_facts *f, const struct model *m, const struct kernel *k)
{
    int r;

    f->m = m;
    f->k = k;
    forget_networks(f);
    r = targets_build(m, k, &f->targets);
    if (r == 0)
        r = learn_users(f);
    if (r == 0)
        r = learn_owners(f, m->assignments);
    if (r == 0)
        learn_processes(f);
    return r;
}

static bool has_user(const struct socket_facts *f, size_t target, uint32_t uid)
{
    const struct uid_range *ranges = f->ranges + f->users[target].first;
    size_t lo = 0, hi = f->users[target].n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (ranges[mid].hi < uid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->users[target].n && uid_range_contains(&ranges[lo], uid);
}

static ssize_t find_netid(const struct socket_facts *f, uint32_t netid)
{
    size_t lo = 0, hi = f->targets->n;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (f->targets->items[mid].network->netid < netid)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < f->targets->n && f->targets->items[lo].network->netid == netid ? (ssize_t)lo
                                                                               : -ENOENT;
}

/* Who somebody is, as far as networks go. */
struct user {
    uint32_t uid;
    enum socket_strength strength;
    ssize_t assigned; /* target, or negative */
    ssize_t vpn;      /* target, or negative */
};

static struct socket_network describe(const struct socket_facts *f, const struct user *user,
                                      ssize_t target)
{
    const struct network *network;
    uint32_t flags;

    if (target < 0)
        return (struct socket_network){ .netid = NETID_UNSET };
    network = f->targets->items[target].network;
    flags = socket_network_flags(f->targets, (size_t)target);
    if (target == user->assigned || has_user(f, (size_t)target, user->uid))
        flags |= SOCKET_NETWORK_HAS_USER;
    return (struct socket_network){
        .netid = network->netid,
        .flags = flags,
        .permission = network->permission,
    };
}

static enum socket_strength strength_of(const struct assignment *a)
{
    if (!a->network)
        return SOCKET_NONE;
    return a->strength == STRENGTH_REQUIRE ? SOCKET_REQUIRE : SOCKET_PREFER;
}

static bool prefers_vpn(const struct socket_facts *f, const struct user *user)
{
    return user->strength == SOCKET_PREFER && targets_is_usable(f->targets, user->assigned) &&
           f->targets->items[user->assigned].network->type == NETWORK_VPN;
}

static ssize_t find_vpn(const struct socket_facts *f, const struct user *user)
{
    bool only_secure = prefers_vpn(f, user);

    for (size_t i = 0; i < f->n_vpns; i++)
        if (has_user(f, f->vpns[i], user->uid) &&
            (!only_secure || f->targets->items[f->vpns[i]].network->secure))
            return f->vpns[i];
    return -ENOENT;
}

static void assign(const struct socket_facts *f, const struct assignment *a, struct user *user)
{
    user->strength = strength_of(a);
    user->assigned = a->network ? targets_find(f->targets, a->network->s) : -ENOENT;
}

/* `process`: the assignment that holds for his process, or NULL. */
static struct user find_user(const struct socket_facts *f, uint32_t uid,
                             const struct assignment *process)
{
    const struct segment *owner = segments_find(&f->owners, uid);
    struct user user = { .uid = uid, .assigned = -ENOENT };

    if (owner)
        assign(f, &f->assignments->items[owner->target], &user);
    user.vpn = find_vpn(f, &user);
    if (process)
        assign(f, process, &user);
    return user;
}

static uint32_t default_netid(const struct socket_facts *f)
{
    ssize_t target = f->targets->default_index;

    return target >= 0 ? f->targets->items[target].network->netid : (uint32_t)NETID_UNSET;
}

static uint32_t netid_of_interface(const struct socket_facts *f, uint32_t ifindex)
{
    const struct rtnl_link *link = ifindex <= INT32_MAX ? kernel_link(f->k, (int)ifindex) : NULL;
    const struct network *network = link ? model_network_of(f->m, link->name) : NULL;

    return network ? network->netid : (uint32_t)NETID_UNSET;
}

static uint32_t netid_for_user(const struct socket_facts *f, uint32_t uid)
{
    struct user user = find_user(f, uid, NULL);
    struct socket_network vpn = describe(f, &user, user.vpn),
                          assigned = describe(f, &user, user.assigned);

    return socket_network_for_user(&vpn, user.strength, &assigned, default_netid(f));
}

enum permission socket_facts_permission(const struct socket_facts *f, uint32_t uid)
{
    uint32_t systems = socket_first_application_uid(f->m);
    enum permission permission;

    if (model_user_permission(f->m, uid, &permission) == 0)
        return permission;
    return uid < systems ? PERMISSION_SYSTEM : PERMISSION_NONE;
}

void socket_facts_ask(const struct socket_facts *f, const struct socket_asked *asked,
                      struct socket_question *ret)
{
    struct user user = find_user(f, asked->uid, asked->process);

    *ret = (struct socket_question){
        .command = asked->command,
        .uid = asked->uid,
        .permission = socket_facts_permission(f, asked->uid),
        .protectable = model_can_protect(f->m, asked->uid),
        .mark = asked->mark,
        .strength = user.strength,
        .assigned = describe(f, &user, user.assigned),
        .present = describe(f, &user, find_netid(f, asked->mark & MARK_NETID_MASK)),
        .vpn = describe(f, &user, user.vpn),
        .selected = describe(f, &user, find_netid(f, asked->netid)),
        .select_netid = asked->netid,
        .default_netid = default_netid(f),
        .scoped = asked->scope != 0,
    };
    if (asked->scope != 0)
        ret->scope_netid = netid_of_interface(f, asked->scope);
    if (asked->command == SOCKET_SELECT_FOR_USER)
        ret->user_netid = netid_for_user(f, asked->user);
}

int socket_facts_access(const struct socket_facts *f, uint32_t uid, uint32_t netid)
{
    struct socket_asked asked = { .command = SOCKET_SELECT, .uid = uid, .netid = netid };
    struct socket_question q;

    socket_facts_ask(f, &asked, &q);
    /* selecting no network is a reset, which everybody may; but there is no such network */
    return netid == NETID_UNSET ? socket_access(&q, &q.selected) : socket_decide(&q).error;
}
