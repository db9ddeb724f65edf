/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The server. Who is heard with the key is a client, with the virtual addresses that it names (ECHO_REQ)
 * or sends from (IPDATA). What comes from the TUN goes to whose address it is for, else to the gateway
 * of the first route that fits (routes.h); else it is dropped.
 */

#include <errno.h>

#include "basic/log.h"
#include "engine/minivtun/engine.h"
#include "engine/minivtun/peers.h"

enum { EXAMINE_EVERY = 3 }; /* seconds */

struct server {
    struct peers *peers;
    usec_t next_examination;
    struct ratelimit complaints;
    /* a frame for all while it is sent */
    const uint8_t *frame;
    size_t frame_size;
};

static void server_done(struct engine *e)
{
    struct server *s = e->state;

    peers_free(s->peers);
    free(s);
    e->state = NULL;
}

static int listen_at(const struct options *o, struct endpoint *at, int *ret_fd, struct why *why)
{
    const char *host = o->host[0] ? o->host : "::";
    int fd;

    if (endpoint_parse(host, o->port, at) < 0)
        return why_set(why, -EINVAL,
                       "'%s' is no address to listen on: write it as 0.0.0.0:PORT or [::]:PORT",
                       host);
    fd = udp_socket(at->sa.sa_family);
    /* a machine without IPv6 */
    if (fd == -EAFNOSUPPORT && !o->host[0] && endpoint_parse("0.0.0.0", o->port, at) == 0)
        fd = udp_socket(at->sa.sa_family);
    if (fd < 0)
        return why_set(why, fd, "cannot make a socket: %s", strerror(-fd));
    *ret_fd = fd;
    return 0;
}

static int server_start(struct engine *e, struct why *why)
{
    struct server *s = calloc(1, sizeof(*s));
    char text[ENDPOINT_TEXT_MAX];
    struct endpoint at;
    int fd = -1, r;

    if (!s || peers_new(&s->peers) < 0) {
        free(s);
        return why_set(why, -ENOMEM, "out of memory");
    }
    e->state = s;
    s->complaints = (struct ratelimit){ .interval = 60 * USEC_PER_SEC, .burst = 3 };
    r = listen_at(e->options, &at, &fd, why);
    if (r < 0)
        return r;
    if (bind(fd, &at.sa, at.len) < 0)
        r = why_set(why, -errno, "cannot listen on %s: %s", endpoint_format(&at, text),
                    strerror(errno));
    (void)engine_use_socket(e, fd);
    if (r < 0)
        return r;
    log_info("server on %s, interface %s", endpoint_format(&at, text), e->tun.name);
    engine_is_ready(e);
    return 0;
}

static void bind_inner(struct engine *e, struct peer *peer, const struct ip_addr *inner)
{
    struct server *s = e->state;

    if (!minivtun_addr_is_host(inner))
        return;
    if (peers_bind(s->peers, peer, inner, e->now) < 0 && ratelimit_take(&s->complaints, e->now))
        log_warning("%zu virtual addresses: no room for more", peers_count_addresses(s->peers));
}

static void server_received(struct engine *e, const struct endpoint *from,
                            const struct minivtun_message *m)
{
    struct server *s = e->state;
    char text[ENDPOINT_TEXT_MAX];
    struct ip_addr inner;
    struct peer *peer;
    bool is_new;

    if (m->opcode != MINIVTUN_ECHO_REQ && m->opcode != MINIVTUN_IPDATA)
        return;
    peer = peers_heard(s->peers, from, e->now, &is_new);
    if (!peer) {
        if (ratelimit_take(&s->complaints, e->now))
            log_warning("%zu clients: no room for more", peers_count(s->peers));
        return;
    }
    if (is_new)
        log_debug("client at %s", endpoint_format(from, text));
    if (m->opcode == MINIVTUN_IPDATA) {
        inner = minivtun_source(m->packet, e->options->tap);
        bind_inner(e, peer, &inner);
        engine_to_tun(e, m);
        return;
    }
    struct minivtun_echo echo;
    minivtun_echo_parse(m->echo, e->options->tap, &echo);
    for (unsigned i = 0; i < ELEMENTSOF(echo.inner); i++)
        bind_inner(e, peer, &echo.inner[i]);
    engine_send_echo(e, MINIVTUN_ECHO_ACK, &(struct target){ &peer->real, &peer->seq }, m->echo);
}

static bool server_route(struct engine *e, const uint8_t *packet, struct target *ret)
{
    struct server *s = e->state;
    struct ip_addr to = minivtun_destination(packet, e->options->tap);
    struct peer *peer = peers_find(s->peers, &to);
    const struct ip_addr *gateway = NULL;

    if (!peer && !e->options->tap)
        gateway = routes_find(&e->options->routes, &to);
    if (gateway)
        peer = peers_find(s->peers, gateway);
    if (!peer)
        return false;
    *ret = (struct target){ &peer->real, &peer->seq };
    return true;
}

static void send_frame(void *data, struct peer *peer)
{
    struct engine *e = data;
    const struct server *s = e->state;

    engine_send(e, &(struct target){ &peer->real, &peer->seq }, s->frame, s->frame_size);
}

/* Like a switch: broadcast and multicast go to all ports. */
static void server_spread(struct engine *e, const uint8_t *packet, size_t size)
{
    struct server *s = e->state;

    s->frame = packet;
    s->frame_size = size;
    peers_each(s->peers, send_frame, e);
    s->frame = NULL;
}

static usec_t server_tick(struct engine *e)
{
    struct server *s = e->state;
    size_t before = peers_count(s->peers);

    if (e->now < s->next_examination)
        return s->next_examination;
    s->next_examination = e->now + EXAMINE_EVERY * USEC_PER_SEC;
    if (e->now > e->options->reconnect)
        peers_expire(s->peers, e->now - e->options->reconnect);
    if (peers_count(s->peers) != before)
        log_debug("%zu clients, %zu virtual addresses", peers_count(s->peers),
                  peers_count_addresses(s->peers));
    return s->next_examination;
}

static void server_ready(struct engine *e, int fd, bool readable, bool writable)
{
    (void)e, (void)fd, (void)readable, (void)writable; /* it watches nothing */
}

const struct role server_role = {
    .start = server_start,
    .received = server_received,
    .route = server_route,
    .spread = server_spread,
    .tick = server_tick,
    .ready = server_ready,
    .done = server_done,
};
