/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/netns.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/log.h"
#include "basic/strbuf.h"

enum { SETTLE_TRIES = 2000, SETTLE_USEC = 1000 };

/* Those lines that begin with "-6 " (without it), or the others. */
static void run_family(const char *lines, bool six, bool force)
{
    char command[64];
    FILE *f;

    snprintf(command, sizeof(command), "ip %s %s -batch - >/dev/null %s", six ? "-6" : "",
             force ? "-force" : "", force ? "2>&1" : "");
    f = popen(command, "w");
    for (const char *line = lines; f && *line; line += strcspn(line, "\n") + 1) {
        bool line_six = startswith(line, "-6 ");
        const char *text = line_six || startswith(line, "-4 ") ? line + 3 : line;

        if (line_six == six)
            (void)fprintf(f, "%.*s\n", (int)strcspn(text, "\n"), text);
        if (line[strcspn(line, "\n")] == '\0')
            break;
    }
    if (!f || (pclose(f) != 0 && !force)) {
        log_error("ip -batch failed on:\n%s", lines);
        abort();
    }
}

void netns_ip(const char *lines, bool force)
{
    run_family(lines, false, force);
    run_family(lines, true, force);
}

static void write_file(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");

    if (f) {
        (void)fputs(text, f);
        (void)fclose(f);
    }
}

void netns_add_link(struct strbuf *b, unsigned i, const char *name)
{
    strbuf_add(b, "link add %s address 02:00:00:00:01:%02x type veth peer name peer%u ", name, i,
               i);
    strbuf_add(b, "address 02:00:00:00:02:%02x\n", i);
}

void netns_add_settings(struct strbuf *b, unsigned i, const char *name)
{
    strbuf_add(b, "addr replace 10.0.%u.2/24 dev %s\n", i, name);
    strbuf_add(b, "-6 addr replace fd00:%u::2/64 dev %s nodad\n", i, name);
    if (i == 0)
        strbuf_add(b, "route replace default via 10.0.0.1\n"
                      "-6 route replace default via fd00:0::1\n");
    if (i == 1)
        strbuf_add(b, "route replace default via 10.0.1.1 metric 50\n"
                      "route replace 172.16.0.0/12 via 10.0.1.9 mtu 1300\n"
                      "-6 route replace default via fd00:1::1 metric 90\n");
}

void netns_enter(unsigned n_links)
{
    struct strbuf b = STRBUF_INIT;

    if (unshare(CLONE_NEWNET) < 0) {
        log_error_errno(-errno, "cannot make a network namespace (are you root?)");
        abort();
    }
    write_file("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
    write_file("/proc/sys/net/ipv6/conf/all/accept_dad", "0");
    strbuf_add(&b, "link set lo up\n");
    for (unsigned i = 0; i < n_links; i++) {
        char name[IFNAMSIZ];

        snprintf(name, sizeof(name), "eth%u", i);
        netns_add_link(&b, i, name);
        strbuf_add(&b, "link set %s up\nlink set peer%u up\n", name, i);
        netns_add_settings(&b, i, name);
    }
    netns_ip(strbuf_text(&b), false);
    strbuf_done(&b);
}

void netns_snapshot(struct observer *o, struct kernel *ret)
{
    int r = observer_snapshot(o, ret);

    if (r < 0) {
        log_error_errno(r, "cannot read the kernel's state");
        abort();
    }
}

/* Has the link, if it can carry packets, an IPv6 address of its own? */
static bool has_link_local(const struct kernel *k, const struct rtnl_link *link)
{
    bool found = !(link->flags & IFF_RUNNING) || !startswith(link->name, "eth");

    for (size_t i = 0; i < k->n_addrs && !found; i++)
        found = k->addrs[i].ifindex == link->ifindex && k->addrs[i].local.family == AF_INET6 &&
                ip_addr_is_link_local(&k->addrs[i].local);
    return found;
}

static bool has_local_route(const struct kernel *k, const struct rtnl_addr *a)
{
    const struct rtnl_link *link = kernel_link(k, a->ifindex);
    bool found = a->local.family != AF_INET6 || !link || !(link->flags & IFF_RUNNING);
    const struct rtnl_route *routes;
    size_t n = kernel_table(k, AF_INET6, RT_TABLE_LOCAL, &routes);

    for (size_t i = 0; i < n && !found; i++)
        found = routes[i].type == RTN_LOCAL && ip_addr_equal(&routes[i].dst.addr, &a->local);
    return found;
}

static bool is_settled(const struct kernel *k)
{
    for (size_t i = 0; i < k->n_links; i++)
        if (!has_link_local(k, &k->links[i]))
            return false;
    for (size_t i = 0; i < k->n_addrs; i++)
        if (!has_local_route(k, &k->addrs[i]))
            return false;
    return true;
}

void netns_settled_snapshot(struct observer *o, struct kernel *ret)
{
    for (int i = 0; i < SETTLE_TRIES; i++) {
        netns_snapshot(o, ret);
        if (is_settled(ret))
            return;
        kernel_done(ret);
        *ret = (struct kernel){ 0 };
        (void)usleep(SETTLE_USEC);
    }
    log_error("the kernel does not settle");
    abort();
}
