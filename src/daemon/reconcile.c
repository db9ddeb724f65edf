/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/reconcile.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/epoll.h>

#include "apply/nft.h"
#include "basic/log.h"
#include "daemon/change.h"

/*
 * Pace. Events that belong together come together; a dump of everything costs in proportion to what
 * is there. So after one reconciliation the next begins not before four times its duration has
 * passed: at most a fifth of one processor goes into it, however fast the kernel's state changes.
 */
enum { PACE = 4, RETRY_SEC_MAX = 30 };

void reconcile_forget(struct manager *m)
{
    m->observer.stale = OBSERVE_ALL;
    plan_unref(m->stands);
    m->stands = NULL;
    guard_unref(m->kernel.guard);
    m->kernel.guard = NULL;
}

static void on_event(void *data, const struct observe_event *event)
{
    struct manager *m = data;

    /* routes go away by themselves, with their interface; rules only when somebody deletes them */
    if (event->removed && !event->own &&
        ((event->part == OBSERVE_RULES && event->rule.protocol == RTPROT_WAYMARK) ||
         (event->part == OBSERVE_ROUTES && event->route.protocol == RTPROT_WAYMARK &&
          event->portid != 0)))
        m->tampered++;
    for (size_t i = 0; i < m->n_listeners; i++)
        if (m->listeners[i].event)
            m->listeners[i].event(m->listeners[i].data, event);
}

static int retry_later(sd_event_source *source, uint64_t usec, void *userdata);

static void schedule(struct manager *m, usec_t at)
{
    int r;

    if (m->reconcile_timer) {
        (void)sd_event_source_set_time(m->reconcile_timer, at);
        r = sd_event_source_set_enabled(m->reconcile_timer, SD_EVENT_ONESHOT);
    } else
        r = sd_event_add_time(m->event, &m->reconcile_timer, CLOCK_MONOTONIC, at, 1000, retry_later,
                              m);
    if (r < 0)
        log_error_errno(r, "cannot set a timer");
}

/* What was to be applied could not be: noted once, tried again with growing patience. */
static void note_failure(struct manager *m, int error, const struct why *why)
{
    usec_t delay = MIN(1U << MIN(m->retries, 5U), (unsigned)RETRY_SEC_MAX) * USEC_PER_SEC;
    bool news = !m->degraded || !streq(m->degraded_why.text, why_text(why, error));

    m->degraded = true;
    (void)why_set(&m->degraded_why, error, "%s", why_text(why, error));
    if (news)
        manager_notice(m, NOTICE_DEGRADED, "%s", m->degraded_why.text);
    m->retries++;
    schedule(m, clock_monotonic() + delay);
}

static int refresh(struct manager *m, struct why *why)
{
    unsigned stale = m->observer.stale;
    int r;

    /* our own changes are not followed in the dumps: what stands is told by both or by neither */
    if (stale & (OBSERVE_RULES | OBSERVE_ROUTES))
        m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
    r = observer_refresh(&m->observer, &m->kernel);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
    if (stale & (OBSERVE_LINKS | OBSERVE_ADDRS | OBSERVE_ROUTES)) {
        m->generation++;
        route_set_unref(m->rejected); /* the kernel may take now what it refused before */
        m->rejected = NULL;
    }
    if (stale & (OBSERVE_RULES | OBSERVE_ROUTES)) {
        plan_unref(m->stands);
        m->stands = NULL;
    }
    return 0;
}

int reconcile_now(struct manager *m, struct why *why)
{
    unsigned tampered;
    struct why settle_why = { 0 };
    int r;

    r = observer_dispatch(&m->observer, on_event, m);
    if (r < 0)
        return why_set(why, r, "cannot read kernel events: %s", strerror(-r));
    m->off = manager_off_marked(&m->options);
    if (m->observer.stale == 0 && !m->degraded)
        return 0;
    r = refresh(m, why);
    if (r < 0)
        return r;

    tampered = m->tampered;
    m->tampered = 0;
    r = manager_settle(m, NULL, NULL, &settle_why);
    if (r < 0) {
        note_failure(m, r, &settle_why);
        return 0;
    }
    m->retries = 0;
    if (tampered > 0 && !m->off)
        manager_notice(
            m, NOTICE_RESTORED,
            "somebody deleted %u of our rules, routes or nftables objects: they are back",
            tampered);
    return 0;
}

/* Whether now is the time; if not, a timer says when it will be. */
static bool may_reconcile(struct manager *m, usec_t now)
{
    usec_t at = m->next_reconcile;

    if (m->tampered > 0)
        at = MAX(at, ratelimit_next(&m->restoring, now));
    if (at <= now)
        return true;
    schedule(m, at);
    return false;
}

static void reconcile_paced(struct manager *m)
{
    usec_t start = clock_monotonic();
    struct why why = { 0 };
    int r;

    if (!may_reconcile(m, start))
        return;
    if (m->tampered > 0)
        (void)ratelimit_take(&m->restoring, start);
    r = reconcile_now(m, &why);
    if (r < 0)
        note_failure(m, r, &why);
    m->next_reconcile = clock_monotonic() + PACE * (clock_monotonic() - start);
    if (m->observer.stale && !m->degraded)
        schedule(m, m->next_reconcile);
}

static int retry_later(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    reconcile_paced(userdata);
    return 0;
}

static int on_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct manager *m = userdata;
    int r;

    (void)source;
    (void)fd;
    (void)revents;
    /* the events are read even when it is too early to act on them, or the socket would overflow */
    r = observer_dispatch(&m->observer, on_event, m);
    if (r < 0)
        log_error_errno(r, "cannot read kernel events");
    if (m->observer.stale)
        reconcile_paced(m);
    return 0;
}

/* The guard is not known any more: it will be made anew. */
static void forget_guard(struct manager *m)
{
    guard_unref(m->kernel.guard);
    m->kernel.guard = NULL;
    m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
}

/* Every change of nftables names its table; only those of ours by others are of interest. */
static int on_nft_message(void *data, const struct nlmsghdr *nlh)
{
    struct manager *m = data;

    if (nlh->nlmsg_pid == m->applier.nft.portid || !nft_event_is_ours(nlh))
        return 0;
    forget_guard(m);
    m->tampered++;
    return 0;
}

/*
 * Events were lost; a large change of our own is enough for that. If the last commit was ours, then
 * nobody touched our table since.
 */
static void on_nft_overflow(struct manager *m)
{
    uint32_t generation;

    if (nft_generation(&m->applier.nft, &generation) < 0 || generation != m->applier.nft_generation)
        forget_guard(m);
}

static int on_nft_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct manager *m = userdata;
    int r;

    (void)source;
    (void)fd;
    (void)revents;
    r = nlsock_events(&m->nft_events, on_nft_message, m);
    if (r == -ENOBUFS)
        on_nft_overflow(m);
    else if (r < 0)
        log_error_errno(r, "cannot read nftables events");
    if (m->observer.stale)
        reconcile_paced(m);
    return 0;
}

/* Nobody's deleting of our table may go unseen; without nftables there is none. */
static int watch_nft(struct manager *m)
{
    static const unsigned groups[] = { NFNLGRP_NFTABLES };
    int r;

    if (!m->applier.has_guard)
        return 0;
    r = nlsock_open(&m->nft_events, NETLINK_NETFILTER);
    if (r == 0)
        r = nlsock_join(&m->nft_events, groups, ELEMENTSOF(groups));
    if (r == 0)
        r = sd_event_add_io(m->event, NULL, m->nft_events.fd, EPOLLIN, on_nft_readable, m);
    return r;
}

int reconcile_start(struct manager *m)
{
    int r = sd_event_add_io(m->event, NULL, m->observer.events.fd, EPOLLIN, on_readable, m);

    return r < 0 ? r : watch_nft(m);
}
