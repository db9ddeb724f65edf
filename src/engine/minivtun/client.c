/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The client.
 *
 *   RESOLVING   the server's name is asked for; after a failure again, with a pause that grows. What
 *               the TUN has to send goes by the old socket, if there is one
 *   CONNECTING  a new socket, a new random sequence; an echo was sent, none has come back
 *   UP          one has come back
 *
 * Every keepalive interval an echo is sent. When none has come back for the reconnect timeout, or
 * the link's health is too bad, it begins anew: with the name's next address if it has several.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/random.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "engine/minivtun/engine.h"
#include "engine/minivtun/health.h"
#include "engine/minivtun/resolve.h"
#include "engine/minivtun/vpn.h"

enum client_state {
    CLIENT_RESOLVING,
    CLIENT_CONNECTING,
    CLIENT_UP,
    CLIENT_STATE_MAX,
};

enum {
    PAUSE_FIRST = 1, /* seconds, after a failed resolution */
    PAUSE_MAX = 16,
    HEALTH_MAX = 256, /* bytes of the file */
};

struct client {
    enum client_state state;
    bool ever; /* it has had a server's address: from now on it never gives up */
    bool bad;  /* its health was too bad at the last look */
    struct resolver *resolver;
    struct endpoint server;
    unsigned attempt; /* which of several addresses is tried */
    usec_t pause, next_attempt;
    uint16_t seq;
    bool pending; /* an echo is on its way */
    uint32_t pending_id;
    usec_t pending_since, next_echo, heard, next_bucket;
    struct health health;
    int health_fd, health_size;
};

static const char *const state_names[] = {
    [CLIENT_RESOLVING] = "resolving",
    [CLIENT_CONNECTING] = "connecting",
    [CLIENT_UP] = "up",
};
_Static_assert(ELEMENTSOF(state_names) == CLIENT_STATE_MAX, "a name for each state");

/* In one write, with lines that are empty over the rest of the old one: a reader sees no mixture. */
static void write_health(struct client *c)
{
    struct health_sum sum = health_sum(&c->health);
    char text[HEALTH_MAX], rtt[32] = "", server[ENDPOINT_TEXT_MAX] = "";
    int n;

    if (c->health_fd < 0)
        return;
    if (sum.received > 0)
        snprintf(rtt, sizeof(rtt), "%llu.%03u", sum.rtt / USEC_PER_MSEC,
                 (unsigned)(sum.rtt % USEC_PER_MSEC));
    if (c->server.len > 0)
        endpoint_format(&c->server, server);
    n = snprintf(text, sizeof(text), "state=%s\nsent=%u\nreceived=%u\ndrop=%u\nrtt=%s\nserver=%s\n",
                 c->bad ? "down" : state_names[c->state], sum.sent, sum.received, sum.drop, rtt,
                 server);
    if (c->health_size > n)
        memset(text + n, '\n', (size_t)(c->health_size - n));
    if (pwrite(c->health_fd, text, (size_t)MAX(n, c->health_size), 0) < 0)
        return; /* a full disk: the old one stays */
    c->health_size = n;
    (void)!ftruncate(c->health_fd, n);
}

/* To be resolving is to fail when it has worked, or when the server should answer. */
static enum vpn_report report_of(const struct client *c)
{
    if (c->state == CLIENT_UP)
        return VPN_REPORT_CONNECTED;
    return c->state == CLIENT_RESOLVING && c->ever ? VPN_REPORT_FAILED : VPN_REPORT_CONNECTING;
}

/* The only place where it changes. */
static void set_state(struct engine *e, enum client_state state, const char *reason)
{
    struct client *c = e->state;

    if (c->state != state)
        log_info("%s -> %s: %s", state_names[c->state], state_names[state], reason);
    c->state = state;
    write_health(c);
    if (e->vpn)
        vpn_report(e->vpn, report_of(c), reason);
}

static void start_resolving(struct engine *e, const char *reason)
{
    const struct options *o = e->options;
    struct client *c = e->state;
    uint32_t random = 0;

    set_state(e, CLIENT_RESOLVING, reason);
    (void)getrandom(&random, sizeof(random), 0);
    c->next_attempt = USEC_INFINITY; /* until the answer is there */
    resolver_start(c->resolver, o->host,
                   (uint16_t)(o->port + random % (unsigned)(o->port_last - o->port + 1)));
}

static void retry_later(struct engine *e, const char *reason)
{
    struct client *c = e->state;

    if (!c->ever && !e->options->wait_dns) {
        log_error("cannot resolve '%s': %s (-w waits until it can be)", e->options->host, reason);
        engine_stop(e, EXIT_FAILURE);
        return;
    }
    c->pause = MIN(MAX(c->pause * 2, PAUSE_FIRST * USEC_PER_SEC), PAUSE_MAX * USEC_PER_SEC);
    c->next_attempt = e->now + c->pause;
    log_warning("no way to '%s': %s; again in %llu s", e->options->host, reason,
                c->pause / USEC_PER_SEC);
    if (e->vpn)
        vpn_report(e->vpn, VPN_REPORT_FAILED, reason);
}

static int connect_socket(struct engine *e, const struct endpoint *server)
{
    _cleanup_fd_ int fd = udp_socket(server->sa.sa_family);
    int r = fd < 0 ? fd : engine_protect(e, fd);

    if (r < 0)
        return r;
    if (connect(fd, &server->sa, server->len) < 0)
        return -errno;
    return TAKE_FD(fd);
}

static void send_echo(struct engine *e)
{
    const struct options *o = e->options;
    struct client *c = e->state;
    struct minivtun_echo echo = { .inner = { o->inner[0], o->inner[1] } };
    uint8_t body[MINIVTUN_ECHO_SIZE];

    if (c->pending)
        health_lost(&c->health);
    if (o->tap) {
        echo = (struct minivtun_echo){ .inner[0].family = AF_PACKET };
        memcpy(echo.inner[0].bytes, e->tun.mac, sizeof(e->tun.mac));
    }
    (void)getrandom(&echo.id, sizeof(echo.id), 0);
    minivtun_echo_body(body, &echo);
    engine_send_echo(e, MINIVTUN_ECHO_REQ, &(struct target){ NULL, &c->seq }, body);
    c->pending = true;
    c->pending_id = echo.id;
    c->pending_since = e->now;
    c->next_echo = e->now + e->options->keepalive;
}

static void use_server(struct engine *e, const struct endpoint *server, int fd)
{
    struct client *c = e->state;
    char text[ENDPOINT_TEXT_MAX];

    c->server = *server;
    c->ever = true;
    c->pause = 0;
    c->next_attempt = USEC_INFINITY;
    (void)engine_use_socket(e, fd);
    (void)getrandom(&c->seq, sizeof(c->seq), 0);
    health_reset(&c->health);
    c->pending = false;
    c->heard = e->now;
    c->next_bucket = e->now + e->options->health_interval;
    set_state(e, CLIENT_CONNECTING, endpoint_format(server, text));
    send_echo(e);
    engine_is_ready(e);
}

static void on_answer(void *data, int status, const struct endpoint *addresses, size_t n,
                      const char *reason)
{
    struct engine *e = data;
    struct client *c = e->state;
    int fd = -ENETUNREACH;

    if (status < 0) {
        retry_later(e, reason);
        return;
    }
    /* the first that has a route, from the one whose turn it is */
    for (size_t i = 0; i < n && fd < 0; i++) {
        const struct endpoint *server = &addresses[(c->attempt + i) % n];

        fd = connect_socket(e, server);
        if (fd >= 0)
            use_server(e, server, fd);
    }
    if (fd >= 0)
        return;
    c->ever = c->ever || e->options->wait_dns; /* a name it has: a way may come */
    retry_later(e, strerror(-fd));
}

static void on_watch(void *data, int fd, bool read, bool write)
{
    engine_watch(data, fd, read, write);
}

static int on_protect(void *data, int fd)
{
    return engine_protect(data, fd);
}

static int open_health(struct client *c, const struct options *o, struct why *why)
{
    c->health_fd = -1;
    if (!o->health_file)
        return 0;
    /* kept open: after the sandbox there is no way to it */
    c->health_fd = open(o->health_file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (c->health_fd < 0)
        return why_set(why, -errno, "cannot write the health file '%s': %s", o->health_file,
                       strerror(errno));
    return 0;
}

static int client_start(struct engine *e, struct why *why)
{
    struct client *c = calloc(1, sizeof(*c));
    const struct resolver_hooks hooks = {
        .watch = on_watch, .protect = on_protect, .answer = on_answer, .data = e
    };
    int r;

    if (!c)
        return why_set(why, -ENOMEM, "out of memory");
    e->state = c;
    r = open_health(c, e->options, why);
    if (r < 0)
        return r;
    if (health_init(&c->health, e->options->buckets) < 0 || resolver_new(&hooks, &c->resolver) < 0)
        return why_set(why, -ENOMEM, "out of memory");
    c->next_bucket = c->next_echo = USEC_INFINITY;
    log_info("client of %s, interface %s", e->options->host, e->tun.name);
    if (e->options->wait_dns)
        engine_is_ready(e); /* waiting is what it was told */
    return 0;               /* the name is asked for in the sandbox */
}

static void client_done(struct engine *e)
{
    struct client *c = e->state;

    resolver_free(c->resolver);
    health_done(&c->health);
    if (c->health_fd >= 0)
        (void)close(c->health_fd);
    free(c);
    e->state = NULL;
}

static void client_received(struct engine *e, const struct endpoint *from,
                            const struct minivtun_message *m)
{
    struct client *c = e->state;
    struct minivtun_echo echo;

    (void)from;
    if (m->opcode == MINIVTUN_IPDATA)
        engine_to_tun(e, m);
    if (m->opcode != MINIVTUN_ECHO_ACK)
        return;
    minivtun_echo_parse(m->echo, e->options->tap, &echo);
    if (!c->pending || echo.id != c->pending_id)
        return;
    c->pending = false;
    c->heard = e->now;
    c->bad = false;
    health_answered(&c->health, e->now - c->pending_since);
    if (c->state == CLIENT_CONNECTING)
        set_state(e, CLIENT_UP, "the server answers");
}

static bool client_route(struct engine *e, const uint8_t *packet, struct target *ret)
{
    struct client *c = e->state;

    (void)packet;
    *ret = (struct target){ NULL, &c->seq };
    return true;
}

/* At the end of a bucket. False: the link is too bad, and it begins anew. */
static bool assess(struct engine *e)
{
    const struct options *o = e->options;
    struct client *c = e->state;
    struct health_sum sum = health_sum(&c->health);
    char reason[96];

    c->next_bucket = e->now + o->health_interval;
    c->bad = health_is_bad(&sum, o->max_drop, o->max_rtt);
    write_health(c);
    health_roll(&c->health);
    if (!c->bad)
        return true;
    snprintf(reason, sizeof(reason), "%u%% of echoes lost, mean round trip %llu ms", sum.drop,
             sum.rtt / USEC_PER_MSEC);
    c->attempt++;
    start_resolving(e, reason);
    return false;
}

static usec_t client_tick(struct engine *e)
{
    struct client *c = e->state;
    usec_t deadline;

    resolver_step(c->resolver, -1, false, false);
    if (c->state == CLIENT_RESOLVING) {
        if (e->now >= c->next_attempt)
            start_resolving(e, "");
        if (c->state == CLIENT_RESOLVING) {
            usec_t timeout = resolver_timeout(c->resolver);

            return MIN(c->next_attempt, timeout == USEC_INFINITY ? timeout : e->now + timeout);
        }
    }
    deadline = c->heard + e->options->reconnect;
    if (e->now >= deadline) {
        c->attempt++;
        start_resolving(e, "the server does not answer");
        return e->now;
    }
    if (e->now >= c->next_bucket && !assess(e))
        return e->now;
    if (e->now >= c->next_echo)
        send_echo(e);
    return MIN(MIN(c->next_echo, c->next_bucket), deadline);
}

static void client_ready(struct engine *e, int fd, bool readable, bool writable)
{
    struct client *c = e->state;

    resolver_step(c->resolver, fd, readable, writable);
}

const struct role client_role = {
    .start = client_start,
    .received = client_received,
    .route = client_route,
    .tick = client_tick,
    .ready = client_ready,
    .done = client_done,
};
