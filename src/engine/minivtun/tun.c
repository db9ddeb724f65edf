/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "basic/fd.h"
#include "engine/minivtun/offload.h"
#include "engine/minivtun/options.h"
#include "wire/rtnl.h"

enum { MESSAGE_MAX = 1024 };

void tun_close(struct tun *t)
{
    if (t->fd >= 0)
        (void)close(t->fd);
    *t = TUN_NONE;
}

/* As much as this kernel has: UDP segments came with 6.2. */
static void set_offloads(struct tun *t)
{
    static const unsigned tcp = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_TSO_ECN;

    t->udp = ioctl(t->fd, TUNSETOFFLOAD, tcp | TUN_F_USO4 | TUN_F_USO6) == 0;
    t->tcp = t->udp || ioctl(t->fd, TUNSETOFFLOAD, tcp) == 0;
}

int tun_take(int fd, struct tun *ret, struct why *why)
{
    struct tun t = { .fd = fd };
    struct ifreq ifr = { 0 };

    if (ioctl(fd, TUNGETIFF, &ifr) < 0)
        return why_set(why, -errno, "this descriptor is no TUN: %s", strerror(errno));
    memcpy(t.name, ifr.ifr_name, sizeof(t.name));
    t.vnet = ifr.ifr_flags & IFF_VNET_HDR;
    if (t.vnet)
        set_offloads(&t);
    *ret = t;
    return 0;
}

static int create(const struct options *o, struct tun *t, struct why *why)
{
    struct ifreq ifr = {
        .ifr_flags =
            (short)((o->tap ? IFF_TAP : IFF_TUN) | IFF_NO_PI | (o->offload ? IFF_VNET_HDR : 0)),
    };

    memcpy(ifr.ifr_name, o->ifname, sizeof(o->ifname));
    t->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (t->fd < 0)
        return why_set(why, -errno, "cannot open /dev/net/tun: %s", strerror(errno));
    if (ioctl(t->fd, TUNSETIFF, &ifr) < 0)
        return why_set(why, -errno, "cannot make the interface '%s': %s%s", o->ifname,
                       strerror(errno),
                       errno == EPERM ? " (it needs CAP_NET_ADMIN; --waymark does not)" : "");
    return tun_take(TAKE_FD(t->fd), t, why);
}

static int set_link(const struct options *o, struct tun *t, int fd, struct why *why)
{
    struct ifreq ifr = { 0 };

    memcpy(ifr.ifr_name, t->name, sizeof(t->name));
    ifr.ifr_mtu = (int)o->mtu;
    if (ioctl(fd, SIOCSIFMTU, &ifr) < 0)
        return why_set(why, -errno, "cannot set the MTU %u of '%s': %s", o->mtu, t->name,
                       strerror(errno));
    ifr.ifr_qlen = (int)o->queue_length;
    if (ioctl(fd, SIOCSIFTXQLEN, &ifr) < 0)
        return why_set(why, -errno, "cannot set the queue length of '%s': %s", t->name,
                       strerror(errno));
    if (o->tap && ioctl(fd, SIOCGIFHWADDR, &ifr) == 0)
        memcpy(t->mac, ifr.ifr_hwaddr.sa_data, sizeof(t->mac));
    return 0;
}

static int set_up(const struct tun *t, int fd, struct why *why)
{
    struct ifreq ifr = { 0 };

    memcpy(ifr.ifr_name, t->name, sizeof(t->name));
    if (ioctl(fd, SIOCGIFFLAGS, &ifr) < 0)
        return why_set(why, -errno, "cannot look at '%s': %s", t->name, strerror(errno));
    ifr.ifr_flags |= IFF_UP;
    if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
        return why_set(why, -errno, "cannot bring '%s' up: %s", t->name, strerror(errno));
    return 0;
}

/*
 * A link-local address of the kernel's own making would be told to the server with the first
 * multicast packet; nobody asked for it. A kernel without IPv6 has nothing to write to.
 */
static void no_link_local(const struct tun *t)
{
    char path[64];

    snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/addr_gen_mode", t->name);
    _cleanup_fd_ int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd >= 0)
        (void)fd_write_all(fd, "1", 1);
}

/* One request, and the kernel's word on it. */
static int ask(struct mnl_socket *nl, struct nlmsghdr *nlh)
{
    char answer[MESSAGE_MAX * 4];
    ssize_t n;

    nlh->nlmsg_seq = 1;
    if (mnl_socket_sendto(nl, nlh, nlh->nlmsg_len) < 0)
        return -errno;
    n = mnl_socket_recvfrom(nl, answer, sizeof(answer));
    if (n < 0)
        return -errno;
    return mnl_cb_run(answer, (size_t)n, 1, mnl_socket_get_portid(nl), NULL, NULL) < 0 ? -errno : 0;
}

static int add_address(const struct options *o, const struct tun *t, unsigned which,
                       struct mnl_socket *nl, struct why *why)
{
    char buf[MESSAGE_MAX], text[IP_TEXT_MAX];
    struct nlmsghdr *nlh = mnl_nlmsg_put_header(buf);
    struct ifaddrmsg *ifa = mnl_nlmsg_put_extra_header(nlh, sizeof(*ifa));
    const struct ip_addr *a = &o->inner[which], *peer = a;
    size_t size = ip_family_bits(a->family) / 8;
    int r;

    if (which == 0 && ip_addr_is_set(&o->inner_peer))
        peer = &o->inner_peer;
    nlh->nlmsg_type = RTM_NEWADDR;
    nlh->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    ifa->ifa_family = a->family;
    ifa->ifa_prefixlen = o->inner_len[which];
    ifa->ifa_flags = a->family == AF_INET6 ? IFA_F_NODAD : 0;
    ifa->ifa_index = if_nametoindex(t->name);
    mnl_attr_put(nlh, IFA_LOCAL, size, a->bytes);
    mnl_attr_put(nlh, IFA_ADDRESS, size, peer->bytes);
    r = ask(nl, nlh);
    if (r < 0)
        return why_set(why, r, "cannot give '%s' the address %s: %s", t->name,
                       ip_addr_format(a, text), strerror(-r));
    return 0;
}

/* A route that is there already is left as it is: another one's, or the address's own. */
static int add_route(const struct tun *t, const struct ip_prefix *prefix, struct mnl_socket *nl,
                     struct why *why)
{
    struct rtnl_route route = {
        .family = prefix->addr.family,
        .type = RTN_UNICAST,
        .scope = prefix->addr.family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE,
        .protocol = RTPROT_STATIC,
        .table = RT_TABLE_MAIN,
        .oif = (int)if_nametoindex(t->name),
        .dst = *prefix,
    };
    char buf[MESSAGE_MAX], text[IP_TEXT_MAX];
    int r;

    r = rtnl_route_build(buf, sizeof(buf), RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &route);
    if (r == 0)
        r = ask(nl, (struct nlmsghdr *)buf);
    if (r < 0 && r != -EEXIST)
        return why_set(why, r, "cannot add the route to %s: %s", ip_prefix_format(prefix, text),
                       strerror(-r));
    return 0;
}

static int add_all(const struct options *o, const struct tun *t, struct mnl_socket *nl,
                   struct why *why)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < ELEMENTSOF(o->inner); i++)
        if (ip_addr_is_set(&o->inner[i]))
            r = add_address(o, t, i, nl, why);
    for (size_t i = 0; r == 0 && i < o->routes.n; i++)
        r = add_route(t, &o->routes.items[i].prefix, nl, why);
    return r;
}

static int configure(const struct options *o, struct tun *t, struct why *why)
{
    _cleanup_fd_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct mnl_socket *nl;
    int r;

    if (fd < 0)
        return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
    r = set_link(o, t, fd, why);
    if (r < 0)
        return r;
    if (!o->tap)
        no_link_local(t);
    r = set_up(t, fd, why);
    if (r < 0)
        return r;
    nl = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC);
    if (!nl)
        return why_set(why, -errno, "cannot talk to the kernel: %s", strerror(errno));
    r = mnl_socket_bind(nl, 0, MNL_SOCKET_AUTOPID) < 0 ? -errno : add_all(o, t, nl, why);
    (void)mnl_socket_close(nl);
    return r;
}

int tun_open(const struct options *o, struct tun *ret, struct why *why)
{
    _cleanup_tun_ struct tun t = TUN_NONE;
    int r = create(o, &t, why);

    if (r == 0)
        r = configure(o, &t, why);
    if (r < 0)
        return r;
    *ret = t;
    t = TUN_NONE;
    return 0;
}
