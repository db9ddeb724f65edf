/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/netd.h"

#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/netd-commands.h"
#include "observe/users.h"

enum {
    CLIENTS_MAX = 64,
    QUEUE_MAX = 256 * 1024, /* bytes that a client may leave unread */
    FLUSH_SIZE = 16 * 1024, /* broadcasts are collected up to here, then sent */
    QUEUE_KEPT = 4 * 1024,  /* an empty queue keeps this much memory at most */
    DEAF_READS_MAX = 16,    /* of 1 KiB: what is still read from who is gone */
    BACKLOG = 128,
    ACCEPTS_PER_100_MS = 1000, /* lest the loop spins when no file can be opened any more */
};

/* Who is connected. */
struct client {
    struct netd *netd;
    int fd;
    int seq; /* the last sequence number that it sent */
    struct netdtext_stream in;
    struct strbuf out;
    sd_event_source *io;
    sd_event_source *turn; /* deferred: there is a request in `in`; NULL when there is none */
    bool ended;            /* nothing more is taken from it */
    bool deaf;             /* it takes nothing any more: answers go nowhere */
    unsigned deaf_reads;   /* how often something was read since */
    bool doomed;           /* to be freed when the loop comes to it */
};

/* What clients know of an interface: that it is there, whether it is up, whether it runs. */
struct known_link {
    int ifindex;
    unsigned flags; /* IFF_UP, IFF_RUNNING */
    char name[IFNAMSIZ];
};

struct netd {
    struct manager *m;
    struct sockaddr_un addr;
    int fd;
    sd_event_source *listening;
    struct client *clients[CLIENTS_MAX];
    size_t n_clients;
    struct known_link *links; /* by ifindex */
    size_t n_links, cap_links;
    struct ratelimit complaints;
};

/* Clients must not be able to fill the log. */
static void complain(struct netd *n, int error, const char *text)
{
    if (!ratelimit_take(&n->complaints, clock_monotonic()))
        return;
    if (error < 0)
        log_notice("netd: %s: %s", text, strerror(-error));
    else
        log_notice("netd: %s", text);
}

/* Clients. */

static int on_turn(sd_event_source *source, void *userdata);

static void client_free(struct client *c)
{
    struct netd *n = c->netd;
    size_t i = 0;

    while (i < n->n_clients && n->clients[i] != c)
        i++;
    if (i < n->n_clients)
        n->clients[i] = n->clients[--n->n_clients];
    sd_event_source_disable_unref(c->io);
    sd_event_source_disable_unref(c->turn);
    (void)close(c->fd);
    strbuf_done(&c->out);
    free(c);
}

/*
 * Not freed at once: it may be in the middle of its own request. A socket that is shut down is
 * always ready (EPOLLHUP), so the loop comes back to it.
 */
static void client_doom(struct client *c)
{
    c->doomed = true;
    strbuf_done(&c->out);
    c->turn = sd_event_source_disable_unref(c->turn);
    (void)shutdown(c->fd, SHUT_RDWR);
}

/*
 * Gives it a turn, or not. Each time a new source: sd-event never takes back that a deferred source
 * is pending, so one that is only switched on again counts as waiting since it was made, and goes
 * before everybody who came later.
 */
static int client_set_turn(struct client *c, bool wanted)
{
    if (wanted && !c->turn)
        return sd_event_add_defer(c->netd->m->event, &c->turn, on_turn, c);
    if (!wanted)
        c->turn = sd_event_source_disable_unref(c->turn);
    return 0;
}

/* Sends what the socket takes. */
static void client_flush(struct client *c)
{
    ssize_t sent;

    if (c->out.size == 0 || c->doomed)
        return;
    do
        sent = send(c->fd, c->out.data, c->out.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (sent < 0 && errno == EINTR);
    if (sent < 0 && (errno == EPIPE || errno == ECONNRESET))
        c->deaf = true;
    else if (sent < 0 && errno != EAGAIN)
        client_doom(c);
    if (c->deaf || (size_t)MAX(sent, 0) == c->out.size) {
        strbuf_clear(&c->out);
        if (c->out.capacity > QUEUE_KEPT)
            strbuf_done(&c->out);
    } else if (sent > 0) {
        c->out.size -= (size_t)sent;
        memmove(c->out.data, c->out.data + sent, c->out.size);
    }
}

/* Puts bytes in the queue, or ends a client that lets it overflow. */
static void client_queue(struct client *c, const struct strbuf *text)
{
    if (c->deaf || c->doomed || (text->size == 0 && !text->failed))
        return;
    if (c->out.size + text->size > QUEUE_MAX)
        client_flush(c);
    if (c->out.size + text->size > QUEUE_MAX) {
        complain(c->netd, 0, "a client that does not read what it is sent is dropped");
        client_doom(c);
        return;
    }
    strbuf_add_bytes(&c->out, text->data, text->size);
    if (text->failed || c->out.failed)
        client_doom(c);
}

/*
 * Says what the client waits for now, after whatever happened to it: to be written to; else for its
 * turn; else to be read from.
 */
static void client_settle(struct client *c)
{
    bool full = c->out.size > 0, more = !full && netdtext_pending(&c->in);
    uint32_t events = full ? EPOLLOUT : more || c->ended ? 0 : EPOLLIN;

    if (c->doomed)
        return;
    if ((c->ended && !full && !more) || sd_event_source_set_io_events(c->io, events) < 0 ||
        client_set_turn(c, more) < 0)
        client_doom(c);
}

static void client_read(struct client *c)
{
    size_t room;
    char *to = netdtext_room(&c->in, &room);
    ssize_t n = recv(c->fd, to, room, MSG_DONTWAIT);

    if (n > 0)
        netdtext_filled(&c->in, (size_t)n);
    else if (n == 0 || (errno != EAGAIN && errno != EINTR))
        c->ended = true;
    c->deaf_reads += c->deaf;
    if (c->deaf_reads == DEAF_READS_MAX)
        c->ended = true;
}

/* Runs one request, if all answers to those before are on their way. Reads if none is there. */
static void client_turn(struct client *c)
{
    _cleanup_strbuf_ struct strbuf answer = STRBUF_INIT;
    enum netdtext_found found;
    const char *request;

    if (c->out.size > 0)
        return;
    found = netdtext_next(&c->in, &request);
    if (found == NETDTEXT_NOTHING && !c->ended) {
        client_read(c);
        found = netdtext_next(&c->in, &request);
    }
    switch (found) {
    case NETDTEXT_REQUEST:
        netd_run(c->netd->m, request, &c->seq, &answer);
        break;
    case NETDTEXT_TOO_LARGE:
        netdtext_reply(&answer, NETDTEXT_SYNTAX, c->seq, "Command too large for buffer", 0);
        break;
    case NETDTEXT_NOTHING:
        break;
    }
    client_queue(c, &answer);
    client_flush(c);
}

static int on_turn(sd_event_source *source, void *userdata)
{
    struct client *c = userdata;

    (void)source;
    (void)client_set_turn(c, false);
    client_turn(c);
    client_settle(c);
    return 0;
}

static int on_io(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct client *c = userdata;

    (void)source;
    (void)fd;
    if (c->doomed) {
        client_free(c);
        return 0;
    }
    /* EPOLLHUP and EPOLLERR come without being asked for; reading finds out what they mean */
    client_flush(c);
    if (revents & ~(uint32_t)EPOLLOUT)
        client_turn(c);
    client_settle(c);
    return 0;
}

/* Takes the socket over when it succeeds. */
static int client_new(struct netd *n, int fd)
{
    struct client *c = calloc(1, sizeof(*c));
    int r;

    if (!c)
        return -ENOMEM;
    c->netd = n;
    c->fd = fd;
    r = sd_event_add_io(n->m->event, &c->io, fd, EPOLLIN, on_io, c);
    if (r < 0) {
        free(c);
        return r;
    }
    n->clients[n->n_clients++] = c;
    return 0;
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct netd *n = userdata;
    _cleanup_fd_ int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

    (void)source;
    (void)revents;
    if (peer < 0) {
        if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR)
            complain(n, -errno, "cannot accept a client");
        return 0;
    }
    if (n->n_clients == CLIENTS_MAX) {
        complain(n, 0, "there is no place for another client");
        return 0;
    }
    if (client_new(n, peer) == 0)
        TAKE_FD(peer);
    return 0;
}

/* Broadcasts. */

static void tell(struct netd *n, const struct strbuf *text)
{
    for (size_t i = 0; i < n->n_clients; i++) {
        struct client *c = n->clients[i];

        client_queue(c, text);
        if (c->out.size >= FLUSH_SIZE)
            client_flush(c);
        if (c->out.size > 0)
            client_settle(c); /* the rest goes out when the loop finds it writable */
    }
}

#define TELL(n, code, ...)                                  \
    do {                                                    \
        _cleanup_strbuf_ struct strbuf text_ = STRBUF_INIT; \
        netdtext_broadcast(&text_, (code), __VA_ARGS__);    \
        tell((n), &text_);                                  \
    } while (0)

/* The first known interface whose index is not below this one. */
static size_t link_bound(const struct netd *n, int ifindex)
{
    size_t lo = 0, hi = n->n_links;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;

        if (n->links[mid].ifindex < ifindex)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* NULL when the index is not known. */
static struct known_link *find_link(const struct netd *n, int ifindex)
{
    size_t i = link_bound(n, ifindex);

    return i < n->n_links && n->links[i].ifindex == ifindex ? &n->links[i] : NULL;
}

static void forget_link(struct netd *n, int ifindex)
{
    struct known_link *link = find_link(n, ifindex);

    if (!link)
        return;
    TELL(n, NETDTEXT_INTERFACE_CHANGE, "Iface removed %s", link->name);
    n->n_links--;
    memmove(link, link + 1, (size_t)(n->links + n->n_links - link) * sizeof(*link));
}

/* A new interface counts as down until it is told otherwise. NULL when out of memory. */
static struct known_link *add_link(struct netd *n, int ifindex, const char *name)
{
    struct known_link *link;
    size_t i = link_bound(n, ifindex);

    if (ARRAY_RESERVE(n->links, n->cap_links, n->n_links + 1) < 0)
        return NULL;
    link = n->links + i;
    memmove(link + 1, link, (n->n_links - i) * sizeof(*link));
    n->n_links++;
    *link = (struct known_link){ .ifindex = ifindex };
    (void)str_set(link->name, sizeof(link->name), name);
    TELL(n, NETDTEXT_INTERFACE_CHANGE, "Iface added %s", link->name);
    return link;
}

static void note_link(struct netd *n, const struct rtnl_link *now)
{
    static const struct {
        unsigned flag;
        const char *what;
    } changes[] = { { IFF_UP, "changed" }, { IFF_RUNNING, "linkstate" } };
    struct known_link *link = find_link(n, now->ifindex);

    if (link && !streq(link->name, now->name)) {
        forget_link(n, now->ifindex);
        link = NULL;
    }
    if (!link)
        link = add_link(n, now->ifindex, now->name);
    for (size_t i = 0; link && i < ELEMENTSOF(changes); i++) {
        unsigned flag = now->flags & changes[i].flag;

        if ((link->flags & changes[i].flag) == flag)
            continue;
        link->flags ^= changes[i].flag;
        TELL(n, NETDTEXT_INTERFACE_CHANGE, "Iface %s %s %s", changes[i].what, link->name,
             flag ? "up" : "down");
    }
}

static void tell_address(struct netd *n, const struct observe_event *e)
{
    const struct known_link *link = find_link(n, e->addr.ifindex);
    char text[IP_TEXT_MAX];

    /* netd takes the flags from ifa_flags, which has room for the lower eight */
    if (link)
        TELL(n, NETDTEXT_ADDRESS_CHANGE, "Address %s %s/%u %s %u %u",
             e->removed ? "removed" : "updated", ip_addr_format(&e->addr.local, text),
             e->addr.prefix_len, link->name, e->addr.flags & 0xff, e->addr.scope);
}

static void tell_route(struct netd *n, const struct observe_event *e)
{
    const struct rtnl_route *route = &e->route;
    const struct known_link *link = find_link(n, route->oif);
    char dst[IP_TEXT_MAX], gateway[IP_TEXT_MAX];
    bool via = ip_addr_is_set(&route->gateway);

    if (route->table != RT_TABLE_MAIN || route->type != RTN_UNICAST ||
        route->protocol == RTPROT_WAYMARK || (route->flags & RTM_F_CLONED))
        return;
    TELL(n, NETDTEXT_ROUTE_CHANGE, "Route %s %s%s%s%s%s", e->removed ? "removed" : "updated",
         ip_prefix_format(&route->dst, dst), via ? " via " : "",
         via ? ip_addr_format(&route->gateway, gateway) : "", link ? " dev " : "",
         link ? link->name : "");
}

static void on_event(void *data, const struct observe_event *event)
{
    struct netd *n = data;

    switch (event->part) {
    case OBSERVE_LINKS:
        if (event->removed)
            forget_link(n, event->link.ifindex);
        else
            note_link(n, &event->link);
        break;
    case OBSERVE_ADDRS:
        tell_address(n, event);
        break;
    case OBSERVE_ROUTES:
        tell_route(n, event);
        break;
    case OBSERVE_RULES:
    case OBSERVE_ALL:
        break;
    }
}

/* Makes up for events that were lost: the facts are never older than the events that were read. */
static void compare_links(struct netd *n)
{
    const struct kernel *k = &n->m->kernel;

    if (n->m->observer.stale & OBSERVE_LINKS)
        return;
    for (size_t i = n->n_links; i-- > 0;)
        if (!kernel_link(k, n->links[i].ifindex))
            forget_link(n, n->links[i].ifindex);
    for (size_t i = 0; i < k->n_links; i++)
        note_link(n, &k->links[i]);
}

static void on_commit(void *data, const struct model *old, const struct model *new)
{
    (void)old;
    (void)new;
    compare_links(data);
}

/* The socket. */

/* Only root and the group may connect; without the group, root. */
static void share(const struct netd *n)
{
    uint32_t gid;

    if (users_gid_of_group("waymark", &gid) < 0)
        return;
    if (chown(n->addr.sun_path, (uid_t)-1, gid) < 0)
        log_debug("netd: cannot give %s to the group waymark: %s", n->addr.sun_path,
                  strerror(errno));
}

static int listen_for_clients(struct netd *n)
{
    int r;

    n->addr.sun_family = AF_UNIX;
    if ((size_t)snprintf(n->addr.sun_path, sizeof(n->addr.sun_path), "%s/netd",
                         n->m->options.runtime_dir) >= sizeof(n->addr.sun_path)) {
        n->addr.sun_path[0] = '\0';
        return log_error_errno(-ENAMETOOLONG, "the path of the runtime folder is too long");
    }
    n->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (n->fd < 0)
        return log_error_errno(-errno, "cannot make a socket");
    (void)unlink(n->addr.sun_path);
    /* bind() makes the file with the socket's mode, so that it never has a wider one; the umask
     * narrows it, which chmod() undoes */
    if (fchmod(n->fd, 0660) < 0 || bind(n->fd, (struct sockaddr *)&n->addr, sizeof(n->addr)) < 0 ||
        chmod(n->addr.sun_path, 0660) < 0) {
        r = -errno;
        return log_error_errno(r, "cannot listen on %s", n->addr.sun_path);
    }
    share(n);
    if (listen(n->fd, BACKLOG) < 0)
        return log_error_errno(-errno, "cannot listen on %s", n->addr.sun_path);
    r = sd_event_add_io(n->m->event, &n->listening, n->fd, EPOLLIN, on_connect, n);
    if (r >= 0)
        r = sd_event_source_set_ratelimit(n->listening, 100 * USEC_PER_MSEC, ACCEPTS_PER_100_MS);
    return r < 0 ? log_error_errno(r, "cannot watch %s", n->addr.sun_path) : 0;
}

int netd_new(struct manager *m, struct netd **ret)
{
    struct netd *n = calloc(1, sizeof(*n));
    int r;

    if (!n)
        return log_oom();
    n->m = m;
    n->fd = -1;
    n->complaints = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 5 };
    r = listen_for_clients(n);
    if (r < 0) {
        netd_free(n);
        return r;
    }
    compare_links(n); /* nobody is connected: what is there is known, and told to nobody */
    manager_listen(m, &(struct listener){ .data = n, .commit = on_commit, .event = on_event });
    *ret = n;
    return 0;
}

void netd_free(struct netd *n)
{
    if (!n)
        return;
    while (n->n_clients > 0)
        client_free(n->clients[n->n_clients - 1]);
    sd_event_source_disable_unref(n->listening);
    if (n->fd >= 0) {
        (void)close(n->fd);
        (void)unlink(n->addr.sun_path);
    }
    free(n->links);
    free(n);
}
