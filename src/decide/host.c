/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/host.h"

#include <errno.h>
#include <fnmatch.h>
#include <linux/if_addr.h>

#include "model/edit.h"
#include "model/vpn.h"

const char *host_reason_to_string(enum host_reason reason)
{
    static const char *const names[HOST_REASON_MAX] = {
        [HOST_NETWORK] = "is a network",
        [HOST_NAME] = "its name cannot be a network's",
        [HOST_IGNORED] = "ignored by the configuration",
        [HOST_CLAIMED] = "part of a network that was asked for",
        [HOST_PORT] = "a port of another interface",
        [HOST_DOWN] = "not up",
        [HOST_NO_ADDRESS] = "no global address",
    };

    return names[reason];
}

static bool is_ignored(const struct model *m, const char *name)
{
    /* a VPN's: before it is its network's, and after its program got another one */
    if (startswith(name, VPN_INTERFACE_PREFIX))
        return true;
    for (size_t i = 0; i < m->n_ignored; i++)
        if (fnmatch(m->ignored[i]->s, name, 0) == 0)
            return true;
    return false;
}

static bool has_global_address(const struct kernel *k, int ifindex)
{
    for (size_t i = 0; i < k->n_addrs; i++) {
        const struct rtnl_addr *a = &k->addrs[i];

        if (a->ifindex == ifindex && a->scope < RT_SCOPE_LINK &&
            !(a->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED)))
            return true;
    }
    return false;
}

enum host_reason host_decide(const struct model *m, const struct kernel *k,
                             const struct rtnl_link *link)
{
    const struct network *owner;

    /* 1 */
    if (network_name_check(link->name, NULL) < 0)
        return HOST_NAME;
    /* 2 */
    if ((link->flags & IFF_LOOPBACK) || is_ignored(m, link->name))
        return HOST_IGNORED;
    /* 3 */
    owner = model_network_of(m, link->name);
    if (owner && owner->origin != ORIGIN_HOST)
        return HOST_CLAIMED;
    /* 4 */
    if (link->master != 0)
        return HOST_PORT;
    /* 5 */
    if (!(link->flags & IFF_UP))
        return HOST_DOWN;
    /* 6 */
    return has_global_address(k, link->ifindex) ? HOST_NETWORK : HOST_NO_ADDRESS;
}

static int add_host_network(struct model *m, const struct rtnl_link *link)
{
    _cleanup_(network_unrefp) struct network *n = network_new();
    int r;

    if (!n)
        return -ENOMEM;
    (void)str_set(n->name, sizeof(n->name), link->name);
    n->origin = ORIGIN_HOST;
    n->type = network_type_of_link(link);
    n->secure = n->type == NETWORK_VPN;
    n->netid = model_choose_netid(m, n->name);
    if (n->netid == NETID_UNSET)
        return 0; /* 65 000 networks: the rest stay without */
    r = network_add_interface(n, link->name);
    if (r == 0)
        r = model_know_netid(m, n->name, n->netid);
    return r < 0 ? r : model_put_network(m, TAKE_PTR(n));
}

/* Drops host networks whose interface is no network any more. */
static void drop_stale(struct model *m, const struct kernel *k)
{
    for (size_t i = m->n_networks; i-- > 0;) {
        const struct network *n = m->networks[i];
        const struct rtnl_link *link;

        if (n->origin != ORIGIN_HOST)
            continue;
        link = m->host_networks ? kernel_link_by_name(k, n->name) : NULL;
        if (!link || host_decide(m, k, link) != HOST_NETWORK ||
            network_type_of_link(link) != n->type)
            model_drop_network(m, n->netid);
    }
}

/*
 * A network of the configuration whose type is not said has that of its first interface, which may
 * not have been there when the configuration was read. It keeps it when the interface goes.
 */
static int settle_types(struct model *m, const struct kernel *k)
{
    for (size_t i = 0; i < m->n_networks; i++) {
        const struct network *n = m->networks[i];
        const struct rtnl_link *link =
            n->type_open && n->n_interfaces > 0 ? kernel_link_by_name(k, n->interfaces[0]) : NULL;
        struct network *copy;
        int r;

        if (!link || network_type_of_link(link) == n->type)
            continue;
        copy = network_copy(n);
        if (!copy)
            return -ENOMEM;
        copy->type = network_type_of_link(link);
        copy->secure = copy->type == NETWORK_VPN; /* who says otherwise says that it is a VPN */
        r = model_put_network(m, copy);
        if (r < 0)
            return r;
    }
    return 0;
}

int host_update(struct model *m, const struct kernel *k)
{
    int r = settle_types(m, k);

    drop_stale(m, k);
    for (size_t i = 0; m->host_networks && r == 0 && i < k->n_links; i++)
        if (host_decide(m, k, &k->links[i]) == HOST_NETWORK &&
            !model_network_by_name(m, k->links[i].name))
            r = add_host_network(m, &k->links[i]);
    return r;
}

bool host_interface_usable(const struct model *m, const struct rtnl_link *link)
{
    if (!m->host_networks)
        return true;
    return (link->flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
}
