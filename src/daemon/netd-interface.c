/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <errno.h>
#include <stdio.h>

#include "daemon/netd-commands.h"
#include "daemon/reconcile.h"

/* interface list */
static struct netd_answer run_list(struct netd_call *call)
{
    const struct kernel *k = &call->manager->kernel;
    int r = reconcile_now(call->manager, &call->why);

    if (r < 0)
        return netd_failed("Interface list failed", r);
    for (size_t i = 0; i < k->n_links; i++)
        netdtext_reply(call->out, NETDTEXT_INTERFACE_LIST, call->seq, k->links[i].name, 0);
    return netd_okay("Interface list completed");
}

/* The interface's first IPv4 address, which is what SIOCGIFADDR tells; 0.0.0.0/0 without one. */
static struct rtnl_addr first_address(const struct kernel *k, int ifindex)
{
    struct rtnl_addr none = { .local = { .family = AF_INET } };

    for (size_t i = 0; i < k->n_addrs; i++)
        if (k->addrs[i].ifindex == ifindex && k->addrs[i].local.family == AF_INET)
            return k->addrs[i];
    return none;
}

/* "up broadcast running": the words of the original in its order */
static void print_flags(uint32_t flags, struct strbuf *b)
{
    static const struct {
        uint32_t flag;
        const char *word;
    } words[] = {
        { IFF_BROADCAST, " broadcast" },        { IFF_LOOPBACK, " loopback" },
        { IFF_POINTOPOINT, " point-to-point" }, { IFF_RUNNING, " running" },
        { IFF_MULTICAST, " multicast" },
    };

    strbuf_add(b, "%s", flags & IFF_UP ? "up" : "down");
    for (size_t i = 0; i < ELEMENTSOF(words); i++)
        if (flags & words[i].flag)
            strbuf_add(b, "%s", words[i].word);
}

/* interface getcfg <interface> */
static struct netd_answer run_getcfg(struct netd_call *call)
{
    static const char not_found[] = "Interface not found";
    const struct kernel *k = &call->manager->kernel;
    _cleanup_strbuf_ struct strbuf flags = STRBUF_INIT;
    const struct rtnl_link *link;
    struct rtnl_addr addr;
    char text[IP_TEXT_MAX];
    int r = reconcile_now(call->manager, &call->why);

    if (r < 0)
        return netd_failed(not_found, r);
    link = kernel_link_by_name(k, call->argv[2]);
    if (!link)
        return netd_failed(not_found, -ENODEV);
    addr = first_address(k, link->ifindex);
    print_flags(link->flags, &flags);
    (void)snprintf(call->line, sizeof(call->line), "%02x:%02x:%02x:%02x:%02x:%02x %s %u %s",
                   link->hwaddr[0], link->hwaddr[1], link->hwaddr[2], link->hwaddr[3],
                   link->hwaddr[4], link->hwaddr[5], ip_addr_format(&addr.local, text),
                   addr.prefix_len, strbuf_text(&flags));
    return (struct netd_answer){ .code = NETDTEXT_INTERFACE_GETCFG, .text = call->line };
}

static struct netd_answer run_unknown(struct netd_call *call)
{
    (void)call;
    return netd_syntax_error("Unknown interface cmd");
}

struct netd_answer netd_interface(struct netd_call *call)
{
    static const struct netd_verb verbs[] = {
        { "list", 2, SIZE_MAX, "", run_list },
        { "getcfg", 3, SIZE_MAX, "Missing argument", run_getcfg },
        { NULL, 3, SIZE_MAX, "Missing argument", run_unknown },
    };

    return netd_dispatch(call, verbs, 1);
}
