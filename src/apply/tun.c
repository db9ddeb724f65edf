/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/tun.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "observe/facts.h"
#include "wire/rtnl.h"

/* Linux 6.2; Debian 12's headers are of 6.1. */
#ifndef TUN_F_USO4
#define TUN_F_USO4 0x20
#define TUN_F_USO6 0x40
#endif

#define DEVICE "/dev/net/tun"

enum {
    REQUEST_SIZE = 256,
    NUMBERS = 100000, /* "wmtun99999" */
    NAME_TRIES = 1000,
    RP_FILTER_STRICT = 1,
    RP_FILTER_LOOSE = 2,
};

void tun_done(struct tun *t)
{
    while (t->n_fds > 0)
        (void)close(t->fds[--t->n_fds]);
}

static int open_device(const struct vpn_config *c, struct why *why)
{
    int fd = open(DEVICE, O_RDWR | O_CLOEXEC | (c->blocking ? 0 : O_NONBLOCK));

    if (fd >= 0)
        return fd;
    if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
        return why_set(why, -ENODEV,
                       "there is no " DEVICE ": this kernel has no TUN driver, or `modprobe tun` "
                       "was not run");
    return why_set(why, -errno, "cannot open " DEVICE ": %s", strerror(errno));
}

/* One more queue of the interface t->name; the first one makes it. */
static int add_queue(const struct vpn_config *c, struct tun *t, struct why *why)
{
    int flags = IFF_TUN | IFF_NO_PI | (t->n_fds == 0 ? IFF_TUN_EXCL : 0) |
                (c->queues > 1 ? IFF_MULTI_QUEUE : 0) | (c->offloads ? IFF_VNET_HDR : 0);
    struct ifreq request = { .ifr_flags = (short)flags };
    _cleanup_fd_ int fd = open_device(c, why);

    if (fd < 0)
        return fd;
    (void)str_set(request.ifr_name, sizeof(request.ifr_name), t->name);
    if (ioctl(fd, TUNSETIFF, &request) < 0)
        return why_set(why, -errno, "the kernel refuses the interface %s: %s", t->name,
                       strerror(errno));
    t->fds[t->n_fds++] = TAKE_FD(fd);
    return 0;
}

/* The first free name from *number on. */
static int make_interface(const struct vpn_config *c, unsigned *number, tun_is_taken is_taken,
                          const void *data, struct tun *t, struct why *why)
{
    int r = -EBUSY;

    for (unsigned i = 0; (r == -EBUSY || r == -EEXIST) && i < NAME_TRIES; i++) {
        snprintf(t->name, sizeof(t->name), TUN_NAME_PREFIX "%u", *number % NUMBERS);
        *number = (*number + 1) % NUMBERS;
        if (!is_taken(data, t->name))
            r = add_queue(c, t, why);
    }
    return r;
}

/* The most of what the kernel has. None at all is no error: packets then are whole and have checksums. */
static void set_offloads(int fd)
{
    static const unsigned wishes[] = {
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | TUN_F_USO4 | TUN_F_USO6,
        TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6,
        TUN_F_CSUM,
    };

    for (size_t i = 0; i < ELEMENTSOF(wishes); i++)
        if (ioctl(fd, TUNSETOFFLOAD, wishes[i]) == 0)
            return;
}

static int write_sysctl(const char *name, const char *which, const char *value)
{
    _cleanup_fd_ int fd = -1;
    char path[64 + IFNAMSIZ];

    snprintf(path, sizeof(path), "/proc/sys/net/%.4s/conf/%s/%s", which, name, which + 5);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd_write_all(fd, value, strlen(value));
}

/* Routes by it are in its network's table, and are said by its program: not by packets. */
static int ignore_routers(const char *name, struct why *why)
{
    static const char *const sysctls[] = { "ipv6/accept_ra", "ipv6/accept_redirects",
                                           "ipv4/accept_redirects" };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(sysctls); i++) {
        r = write_sysctl(name, sysctls[i], "0\n");
        r = r == -ENOENT ? 0 : r; /* there is no IPv6 */
        if (r < 0)
            (void)why_set(why, r, "cannot write net.%s of %s: %s", sysctls[i], name, strerror(-r));
    }
    return r;
}

/*
 * Answers that come out of the tunnel have sources that, for whoever is on no VPN, are behind another
 * interface: a strict reverse path filter (of `all`, perhaps) would drop them. The larger value holds.
 * Where there is none, none is wanted: also a loose one drops what no route of `main` leads back to.
 */
static void loosen_reverse_path(const char *name)
{
    const char text[] = { '0' + RP_FILTER_LOOSE, '\n', '\0' };

    if (facts_rp_filter(name) == RP_FILTER_STRICT && write_sysctl(name, "ipv4/rp_filter", text) < 0)
        log_debug("cannot write rp_filter of %s", name);
}

static int change_link(struct nlsock *rtnl, const struct rtnl_link_change *change, struct why *why)
{
    char buf[REQUEST_SIZE];
    int r = rtnl_link_change_build(buf, sizeof(buf), change);

    return r < 0 ? r : nlsock_request(rtnl, (void *)buf, NULL, NULL, why);
}

static int set_up(struct nlsock *rtnl, const struct vpn_config *c, const struct tun *t,
                  struct why *why)
{
    const struct rtnl_link_change settings = { .ifindex = t->ifindex,
                                               .mtu = c->mtu,
                                               .no_addresses = true };
    const struct rtnl_link_change up = { .ifindex = t->ifindex,
                                         .flags = IFF_UP,
                                         .flags_mask = IFF_UP };
    struct why kernel = { 0 };
    int r = change_link(rtnl, &settings, &kernel);

    if (r == -EAFNOSUPPORT ||
        r == -EOPNOTSUPP) { /* there is no IPv6, so no such addresses either */
        const struct rtnl_link_change mtu = { .ifindex = t->ifindex, .mtu = c->mtu };

        r = change_link(rtnl, &mtu, &kernel);
    }
    if (r < 0)
        return why_set(why, r, "the kernel refuses the interface's MTU of %u: %s", c->mtu,
                       why_text(&kernel, r));
    for (size_t i = 0; r == 0 && i < c->n_addresses; i++)
        r = tun_add_address(rtnl, t->ifindex, &c->addresses[i].addr, why);
    if (r < 0)
        return r;
    loosen_reverse_path(t->name);
    r = ignore_routers(t->name, why);
    if (r < 0)
        return r;
    r = change_link(rtnl, &up, &kernel);
    return r < 0 ? why_set(why, r, "cannot bring %s up: %s", t->name, why_text(&kernel, r)) : 0;
}

int tun_create(struct nlsock *rtnl, const struct vpn_config *c, unsigned *number,
               tun_is_taken is_taken, const void *data, struct tun *ret, struct why *why)
{
    _cleanup_tun_ struct tun t = TUN_INIT;
    int r = make_interface(c, number, is_taken, data, &t, why);

    while (r == 0 && t.n_fds < MIN(c->queues, (uint32_t)VPN_QUEUES_MAX))
        r = add_queue(c, &t, why);
    if (r < 0)
        return r;
    if (ioctl(t.fds[0], TUNSETOWNER, 0UL) < 0)
        return why_set(why, -errno, "cannot keep %s to its program: %s", t.name, strerror(errno));
    if (c->offloads)
        set_offloads(t.fds[0]);
    t.ifindex = (int)if_nametoindex(t.name);
    if (t.ifindex == 0)
        return why_set(why, -errno, "%s is gone: %s", t.name, strerror(errno));
    r = set_up(rtnl, c, &t, why);
    if (r < 0)
        return r;
    *ret = t;
    t = TUN_INIT;
    return 0;
}

static int change_address(struct nlsock *rtnl, uint16_t type, uint16_t flags, int ifindex,
                          const struct ip_addr *addr, struct why *why)
{
    struct rtnl_addr wire = {
        .ifindex = ifindex,
        .local = *addr,
        .prefix_len = (uint8_t)ip_family_bits(addr->family),
        .scope = RT_SCOPE_UNIVERSE,
        /* nobody is asked whether he has it, too, and no route but the address's own */
        .flags = IFA_F_PERMANENT | IFA_F_NODAD | IFA_F_NOPREFIXROUTE,
    };
    char buf[REQUEST_SIZE];
    int r = rtnl_addr_build(buf, sizeof(buf), type, flags, &wire);

    return r < 0 ? r : nlsock_request(rtnl, (void *)buf, NULL, NULL, why);
}

int tun_add_address(struct nlsock *rtnl, int ifindex, const struct ip_addr *addr, struct why *why)
{
    struct why kernel = { 0 };
    int r = change_address(rtnl, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, ifindex, addr, &kernel);
    char text[IP_TEXT_MAX];

    if (r == 0 || r == -EEXIST)
        return 0;
    return why_set(why, r, "the kernel refuses the address %s: %s", ip_addr_format(addr, text),
                   why_text(&kernel, r));
}

int tun_remove_address(struct nlsock *rtnl, int ifindex, const struct ip_addr *addr,
                       struct why *why)
{
    struct why kernel = { 0 };
    int r = change_address(rtnl, RTM_DELADDR, 0, ifindex, addr, &kernel);
    char text[IP_TEXT_MAX];

    if (r == 0 || r == -EADDRNOTAVAIL || r == -ENODEV)
        return 0;
    return why_set(why, r, "the kernel does not take the address %s away: %s",
                   ip_addr_format(addr, text), why_text(&kernel, r));
}

int tun_deactivate(struct nlsock *rtnl, int ifindex)
{
    const struct rtnl_link_change down = { .ifindex = ifindex, .flags_mask = IFF_UP };
    int r = change_link(rtnl, &down, NULL);

    return r == -ENODEV ? 0 : r;
}

int tun_delete(struct nlsock *rtnl, int ifindex)
{
    char buf[REQUEST_SIZE];
    int r = rtnl_link_delete_build(buf, sizeof(buf), ifindex);

    if (r == 0)
        r = nlsock_request(rtnl, (void *)buf, NULL, NULL, NULL);
    return r == -ENODEV ? 0 : r;
}
