/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "property/world.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "basic/log.h"
#include "basic/strbuf.h"

enum { SETTLE_TRIES = 2000, SETTLE_USEC = 1000 };

const char *event_to_string(enum event e)
{
    static const char *const names[EVENT_MAX] = {
        [EVENT_NONE] = "nothing",
        [EVENT_DOWN] = "link down",
        [EVENT_NO_CARRIER] = "carrier lost",
        [EVENT_RENAMED] = "link renamed",
        [EVENT_RECREATED] = "link made anew",
        [EVENT_SWAPPED] = "links change names",
    };

    return names[e];
}

static void go_to(int netns)
{
    if (setns(netns, CLONE_NEWNET) < 0) {
        log_error_errno(-errno, "cannot enter a network namespace");
        abort();
    }
}

void world_at_far_end(const struct world *w, void (*function)(void *data), void *data)
{
    if (w->far >= 0)
        go_to(w->far);
    function(data);
    if (w->far >= 0)
        go_to(w->near);
}

static void run_ip(void *data)
{
    netns_ip(data, false);
}

static int open_netns(void)
{
    int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        abort();
    return fd;
}

/*
 * The far end of a link: it has the router's addresses, and takes in what goes to the senders'
 * (property/senders.c). Both ends have one hardware address and do without ARP, so that everything
 * that is sent arrives without a question before.
 */
static void add_far_lines(struct strbuf *b, unsigned i)
{
    strbuf_add(b, "link set peer%u address 02:00:00:00:00:%02x arp off up\n", i, i);
    strbuf_add(b, "addr replace 10.0.%u.1/24 dev peer%u\n", i, i);
    strbuf_add(b, "-6 addr replace fd00:%u::1/64 dev peer%u nodad\n", i, i);
    strbuf_add(b, "route replace local 10.0.%u.96/27 dev lo table local\n", i);
    strbuf_add(b, "-6 route replace local fd00:%u::60/123 dev lo table local\n", i);
}

/* What is set up again after a link was down, or is new. */
static void set_up(const struct world *w, unsigned i)
{
    struct strbuf near = STRBUF_INIT, far = STRBUF_INIT;

    if (w->far >= 0)
        strbuf_add(&near, "link set %s address 02:00:00:00:00:%02x arp off\n", w->names[i], i);
    strbuf_add(&near, "link set %s up\n", w->names[i]);
    netns_add_settings(&near, i, w->names[i]);
    if (w->far >= 0)
        add_far_lines(&far, i);
    else
        strbuf_add(&far, "link set peer%u up\n", i);
    world_at_far_end(w, run_ip, (void *)strbuf_text(&far));
    /* where rules bind root, the kernel takes no gateway that they do not let root reach */
    netns_ip(strbuf_text(&near), true);
    strbuf_done(&near);
    strbuf_done(&far);
}

static void make_far_end(struct world *w)
{
    struct strbuf lines = STRBUF_INIT;

    w->near = open_netns();
    if (unshare(CLONE_NEWNET) < 0)
        abort();
    w->far = open_netns();
    netns_ip("link set lo up\n"
             "route add local 198.18.0.0/16 dev lo table local\n"
             "-6 route add local 2001:db8::/32 dev lo table local\n",
             false);
    go_to(w->near);
    for (unsigned i = 0; i < w->n_links; i++)
        strbuf_add(&lines, "link set peer%u netns /proc/%d/fd/%d\n", i, (int)getpid(), w->far);
    netns_ip(strbuf_text(&lines), false);
    strbuf_done(&lines);
}

/* Waits until the link has, or has not, what says that it can carry packets. */
static void settle(const char *name, bool running)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = { 0 };

    if (fd < 0)
        abort();
    memcpy(request.ifr_name, name, IFNAMSIZ);
    for (int i = 0; i < SETTLE_TRIES; i++) {
        if (ioctl(fd, SIOCGIFFLAGS, &request) == 0 &&
            ((request.ifr_flags & IFF_RUNNING) != 0) == running) {
            (void)close(fd);
            return;
        }
        (void)usleep(SETTLE_USEC);
    }
    log_error("%s does not %s", name, running ? "come up" : "go down");
    abort();
}

void world_enter(struct world *w, unsigned n_links, bool far)
{
    *w = (struct world){ .n_links = n_links, .near = -1, .far = -1 };
    netns_enter(n_links);
    for (unsigned i = 0; i < n_links; i++)
        snprintf(w->names[i], IFNAMSIZ, "eth%u", i);
    if (!far)
        return;
    make_far_end(w);
    for (unsigned i = 0; i < n_links; i++) {
        set_up(w, i);
        settle(w->names[i], true);
    }
}

static void take_down(const struct world *w, unsigned i)
{
    char line[64];

    snprintf(line, sizeof(line), "link set %s down\n", w->names[i]);
    netns_ip(line, false);
}

static void set_carrier(const struct world *w, unsigned i, bool on)
{
    char line[64];

    snprintf(line, sizeof(line), "link set peer%u %s\n", i, on ? "up" : "down");
    world_at_far_end(w, run_ip, line);
}

static void recreate(const struct world *w, unsigned i)
{
    struct strbuf lines = STRBUF_INIT;

    strbuf_add(&lines, "link del %s\n", w->names[i]);
    netns_add_link(&lines, i, w->names[i]);
    if (w->far >= 0)
        strbuf_add(&lines, "link set peer%u netns /proc/%d/fd/%d\n", i, (int)getpid(), w->far);
    netns_ip(strbuf_text(&lines), false);
    strbuf_done(&lines);
}

/* Links that are renamed go down for it: before Linux 6.2 they have to. */
static void rename_link(struct world *w, unsigned i, const char *name)
{
    char line[64];

    take_down(w, i);
    snprintf(line, sizeof(line), "link set %s name %s\n", w->names[i], name);
    netns_ip(line, false);
    snprintf(w->names[i], IFNAMSIZ, "%s", name);
}

static void swap_names(struct world *w, unsigned i)
{
    unsigned j = (i + 1) % w->n_links;
    char first[IFNAMSIZ], second[IFNAMSIZ];

    memcpy(first, w->names[i], IFNAMSIZ);
    memcpy(second, w->names[j], IFNAMSIZ);
    rename_link(w, i, "swap");
    rename_link(w, j, first);
    rename_link(w, i, second);
    set_up(w, j);
    settle(w->names[j], true);
}

void world_do(struct world *w, enum event e, unsigned i)
{
    bool up = true;

    w->event = e;
    w->event_link = i;
    switch (e) {
    case EVENT_DOWN:
        take_down(w, i);
        up = false;
        break;
    case EVENT_NO_CARRIER:
        set_carrier(w, i, false);
        up = false;
        break;
    case EVENT_RENAMED:
        rename_link(w, i, "ethnew");
        break;
    case EVENT_RECREATED:
        recreate(w, i);
        break;
    case EVENT_SWAPPED:
        swap_names(w, i);
        break;
    case EVENT_NONE:
    case EVENT_MAX:
        return;
    }
    if (up)
        set_up(w, i);
    settle(w->names[i], up);
}

void world_undo(struct world *w)
{
    unsigned i = w->event_link;
    char name[IFNAMSIZ];

    snprintf(name, sizeof(name), "eth%u", i);
    if (w->event == EVENT_RENAMED)
        rename_link(w, i, name);
    if (w->event == EVENT_SWAPPED)
        swap_names(w, i);
    if (w->event != EVENT_NONE) {
        set_up(w, i);
        settle(w->names[i], true);
    }
    w->event = EVENT_NONE;
}

void world_set_up(const struct world *w)
{
    struct strbuf lines = STRBUF_INIT;

    for (unsigned i = 0; i < w->n_links; i++)
        netns_add_settings(&lines, i, w->names[i]);
    netns_ip(strbuf_text(&lines), false);
    strbuf_done(&lines);
}

int world_ifindex(const struct world *w, const struct kernel *k, unsigned i)
{
    const struct rtnl_link *link = kernel_link_by_name(k, w->names[i]);

    return link ? link->ifindex : 0;
}
