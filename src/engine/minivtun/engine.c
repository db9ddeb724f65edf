/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/engine.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "engine/minivtun/background.h"
#include "engine/minivtun/datapath.h"
#include "engine/minivtun/sandbox.h"
#include "engine/minivtun/vpn.h"

enum {
    EVENTS = 16,
    LARGE_SIZE = 1 << 17,
    WAIT_MAX_MS = 60000,
    EXIT_REVOKED = 3, /* to be started again is not what is wanted */
};

static void engine_done(struct engine *e)
{
    if (e->state)
        e->role->done(e);
    crypto_free(e->crypto);
    udp_free(e->udp);
    tun_close(&e->tun);
    vpn_free(e->vpn);
    if (e->epoll >= 0)
        (void)close(e->epoll);
    if (e->signals >= 0)
        (void)close(e->signals);
    free(e->coalescer);
    free(e->large);
}
#define _cleanup_engine_ _cleanup_(engine_done)

void engine_stop(struct engine *e, int status)
{
    e->stop = true;
    e->status = status;
}

void engine_is_ready(struct engine *e)
{
    background_ready(e->background);
}

int engine_protect(struct engine *e, int fd)
{
    return e->vpn ? vpn_protect(e->vpn, fd) : 0;
}

void engine_tun_failed(struct engine *e, int error)
{
    /* EIO: it is down; that may change. EBADFD: it has been deleted */
    if (error == EIO)
        return;
    log_error("the interface '%s' is gone: %s", e->tun.name, strerror(error));
    engine_stop(e, EXIT_FAILURE);
}

/* A descriptor that is not watched yet is added; to be ready for nothing is to be removed. */
void engine_watch(struct engine *e, int fd, bool read, bool write)
{
    struct epoll_event event = { .events = (read ? EPOLLIN : 0U) | (write ? EPOLLOUT : 0U),
                                 .data.fd = fd };

    if (!read && !write)
        (void)epoll_ctl(e->epoll, EPOLL_CTL_DEL, fd, NULL);
    else if (epoll_ctl(e->epoll, EPOLL_CTL_MOD, fd, &event) < 0 && errno == ENOENT)
        (void)epoll_ctl(e->epoll, EPOLL_CTL_ADD, fd, &event);
}

int engine_use_socket(struct engine *e, int fd)
{
    udp_use(e->udp, fd); /* closes the old one, which leaves epoll by that */
    engine_watch(e, fd, true, false);
    e->udp_writable_watched = false;
    return 0;
}

/* While datagrams wait for the socket, packets wait in the TUN. Without a socket, too. */
static void balance(struct engine *e)
{
    bool blocked = udp_blocked(e->udp), want_tun = !blocked && udp_fd(e->udp) >= 0;

    if (want_tun != e->tun_watched) {
        engine_watch(e, e->tun.fd, want_tun, false);
        e->tun_watched = want_tun;
    }
    if (udp_fd(e->udp) >= 0 && blocked != e->udp_writable_watched) {
        engine_watch(e, udp_fd(e->udp), true, blocked);
        e->udp_writable_watched = blocked;
    }
}

static void log_counters(const struct engine *e)
{
    const struct counters *c = &e->counters;

    log_info("packets: %" PRIu64 " sent, %" PRIu64 " received, %" PRIu64 " of nobody, %" PRIu64
             " that could not be sent, %" PRIu64 " that the TUN refused; datagrams: %" PRIu64
             " with another key, %" PRIu64 " broken",
             c->sent, c->received, c->nowhere, c->too_large, c->lost, c->wrong_key, c->bad);
}

static void on_signal(struct engine *e)
{
    struct signalfd_siginfo info;

    if (read(e->signals, &info, sizeof(info)) != (ssize_t)sizeof(info))
        return;
    log_counters(e);
    if (info.ssi_signo == SIGUSR1)
        return;
    log_info("ending: %s", strsignal((int)info.ssi_signo));
    if (e->vpn)
        vpn_disconnect(e->vpn);
    engine_stop(e, EXIT_SUCCESS);
}

/* The daemon speaks, or has hung up: then there is nothing to watch until it is back. */
static void on_vpn(struct engine *e, int fd)
{
    if (!vpn_dispatch(e->vpn))
        engine_stop(e, EXIT_REVOKED);
    if (vpn_event_fd(e->vpn) != fd)
        engine_watch(e, fd, false, false);
}

/* Connections to the daemon come and go. */
static usec_t tick_vpn(struct engine *e)
{
    usec_t next;
    int fd;

    if (!e->vpn)
        return USEC_INFINITY;
    next = vpn_tick(e->vpn, e->now);
    fd = vpn_event_fd(e->vpn);
    if (fd >= 0)
        engine_watch(e, fd, true, false);
    return next;
}

static void dispatch(struct engine *e, const struct epoll_event *event)
{
    int fd = event->data.fd;
    bool readable = event->events & (EPOLLIN | EPOLLERR | EPOLLHUP);
    bool writable = event->events & EPOLLOUT;

    if (fd == e->signals) {
        on_signal(e);
    } else if (fd == udp_fd(e->udp)) {
        if (writable)
            (void)udp_flush(e->udp);
        if (readable)
            datapath_from_network(e);
    } else if (fd == e->tun.fd) {
        datapath_from_tun(e);
    } else if (e->vpn && fd == vpn_event_fd(e->vpn)) {
        on_vpn(e, fd);
    } else {
        e->role->ready(e, fd, readable, writable);
    }
}

/* In milliseconds, rounded up: an early wake-up finds nothing to do. */
static int wait_time(const struct engine *e, usec_t next)
{
    usec_t ms;

    if (next == USEC_INFINITY)
        return WAIT_MAX_MS;
    if (next <= e->now)
        return 0;
    ms = (next - e->now + USEC_PER_MSEC - 1) / USEC_PER_MSEC;
    return (int)MIN(ms, (usec_t)WAIT_MAX_MS);
}

static int loop(struct engine *e)
{
    struct epoll_event events[EVENTS];
    usec_t end = e->options->exit_after ? e->started + e->options->exit_after : USEC_INFINITY;

    while (!e->stop) {
        usec_t next;
        int n;

        e->now = clock_monotonic();
        if (e->now >= end) {
            log_info("ending: the time of -x has passed");
            break;
        }
        next = MIN(MIN(e->role->tick(e), tick_vpn(e)), end);
        (void)udp_flush(e->udp);
        balance(e);
        if (e->stop)
            break;
        n = epoll_wait(e->epoll, events, EVENTS, wait_time(e, next));
        if (n < 0 && errno != EINTR)
            return log_error_errno(-errno, "epoll_wait");
        e->now = clock_monotonic();
        for (int i = 0; i < n; i++)
            dispatch(e, &events[i]);
    }
    return 0;
}

static int watch_signals(struct engine *e)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    e->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (e->signals < 0)
        return -errno;
    engine_watch(e, e->signals, true, false);
    return 0;
}

/* Our own, while we are root; or as a VPN, by whom we are to be. */
static int open_tun(struct engine *e, struct why *why)
{
    const struct options *o = e->options;
    int r;

    if (!o->vpn)
        return tun_open(o, &e->tun, why);
    r = o->user && o->sandbox ? sandbox_become(o->user, why) : 0;
    if (r == 0)
        r = vpn_new(o, &e->vpn, &e->tun, why);
    return r;
}

static int enter_sandbox(const struct options *o, struct why *why)
{
    int r = o->vpn ? 0 : sandbox_become(o->user, why);

    return r < 0 ? r : sandbox_enter(why);
}

/* What a role finds ready. */
static int make(struct engine *e, struct why *why)
{
    const struct options *o = e->options;
    int r;

    r = crypto_new(o->cipher, o->password, &e->crypto, why);
    if (r < 0)
        return r;
    e->epoll = epoll_create1(EPOLL_CLOEXEC);
    e->coalescer = malloc(sizeof(*e->coalescer));
    e->large = malloc(LARGE_SIZE);
    if (e->epoll < 0 || !e->coalescer || !e->large || udp_new(o->batch, &e->udp) < 0)
        return why_set(why, -ENOMEM, "out of memory");
    r = watch_signals(e);
    if (r < 0)
        return why_set(why, r, "cannot watch signals: %s", strerror(-r));
    r = open_tun(e, why);
    if (r < 0)
        return r;
    *e->coalescer = (struct coalescer){ .tcp = o->offload && e->tun.tcp,
                                        .udp = o->offload && e->tun.udp,
                                        .tap = o->tap };
    return e->role->start(e, why);
}

int engine_run(const struct options *o, struct background *background)
{
    _cleanup_engine_ struct engine e = {
        .options = o,
        .role = o->mode == MODE_SERVER ? &server_role : &client_role,
        .tun = TUN_NONE,
        .epoll = -1,
        .signals = -1,
        .background = background,
        .started = clock_monotonic(),
    };
    struct why why = { 0 };
    int r;

    e.now = e.started;
    r = make(&e, &why);
    if (r == 0 && o->sandbox)
        r = enter_sandbox(o, &why);
    if (r < 0) {
        log_error("%s", why_text(&why, r));
        return EXIT_FAILURE;
    }
    log_warning("%s", crypto_is_clear(e.crypto) ? crypto_warning_clear : crypto_warning);
    r = loop(&e);
    return r < 0 ? EXIT_FAILURE : e.status;
}
