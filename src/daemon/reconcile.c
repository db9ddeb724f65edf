/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/reconcile.h"

#include <errno.h>
#include <linux/netfilter/nfnetlink.h>
#include <sys/epoll.h>

#include "apply/nft.h"
#include "basic/log.h"
#include "daemon/backend.h"
#include "daemon/change.h"
#include "daemon/resolve-users.h"

/*
 * Pace. Events that belong together come together; a dump of everything costs in proportion to what
 * is there. So after one reconciliation the next begins not before four times its duration has
 * passed: at most a fifth of one processor goes into it, however fast the kernel's state changes.
 */
enum { PACE = 4, RETRY_SEC_MAX = 30, RETRY_SEC_SLOW = 60, QUIET_TRIES = 4 };

void reconcile_forget_guard(struct manager *m)
{
    if (m->kernel.guard) {
        guard_unref(m->last_guard);
        m->last_guard = m->kernel.guard;
        m->kernel.guard = NULL;
    }
    m->guard_unknown = true;
    m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
}

void reconcile_forget_maps(struct manager *m)
{
    guard_unref(TAKE_PTR(m->kernel.maps));
    m->maps_unknown = m->maps_unknown || m->applier.has_maps;
    m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
}

void reconcile_forget(struct manager *m)
{
    reconcile_forget_guard(m);
    reconcile_forget_maps(m);
    m->observer.stale = OBSERVE_ALL;
    plan_unref(m->stands);
    m->stands = NULL;
}

/* The interface that an event is about; 0 = none. */
static int event_interface(const struct observe_event *event)
{
    switch (event->part) {
    case OBSERVE_LINKS:
        return event->link.ifindex;
    case OBSERVE_ADDRS:
        return event->addr.ifindex;
    case OBSERVE_ROUTES:
        return event->route.oif;
    case OBSERVE_RULES:
    case OBSERVE_ALL:
        break;
    }
    return 0;
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
    if (!event->own && event_interface(event))
        refusals_retry(&m->refusals, event_interface(event));
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

void reconcile_failed(struct manager *m, int error, const struct why *why)
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

static bool has_work(const struct manager *m)
{
    return m->observer.stale || m->degraded || m->users_due || m->refusals.due;
}

/* A user database that is away, a route for which some condition beside the interface is missing. */
static int retry_slowly(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct manager *m = userdata;

    (void)source;
    (void)usec;
    m->users_due |= m->users_away;
    refusals_retry(&m->refusals, 0);
    backend_scan(m);
    reconcile_follow_up(m);
    return 0;
}

static void schedule_slowly(struct manager *m)
{
    usec_t at = clock_monotonic() + RETRY_SEC_SLOW * USEC_PER_SEC;
    int r, enabled = SD_EVENT_OFF;

    if (!m->slow_timer)
        r = sd_event_add_time(m->event, &m->slow_timer, CLOCK_MONOTONIC, at, USEC_PER_SEC,
                              retry_slowly, m);
    else {
        r = sd_event_source_get_enabled(m->slow_timer, &enabled);
        if (r >= 0 && enabled == SD_EVENT_OFF) {
            (void)sd_event_source_set_time(m->slow_timer, at);
            r = sd_event_source_set_enabled(m->slow_timer, SD_EVENT_ONESHOT);
        }
    }
    if (r < 0)
        log_error_errno(r, "cannot set a timer");
}

void reconcile_follow_up(struct manager *m)
{
    if (has_work(m) && !m->degraded)
        schedule(m, MAX(m->next_reconcile, clock_monotonic()));
    if (m->refusals.n > 0 || m->users_away || backend_wants_scan(m))
        schedule_slowly(m);
}

/*
 * Dumps what is stale. The kernel does not say when a dump of rules was torn by a change; so the
 * events are read behind it, and when they tell of one, it is dumped again, but not for ever.
 */
static int dump_quietly(struct manager *m, unsigned *ret_parts)
{
    int r = 0;

    *ret_parts = 0;
    m->quiet = false;
    for (int i = 0; r == 0 && !m->quiet && i < QUIET_TRIES; i++) {
        /* our own changes are not followed in the dumps: what stands is told by both or neither */
        if (m->observer.stale & (OBSERVE_RULES | OBSERVE_ROUTES))
            m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
        *ret_parts |= m->observer.stale;
        r = observer_refresh(&m->observer, &m->kernel);
        if (r == 0)
            r = observer_dispatch(&m->observer, on_event, m);
        m->quiet = r == 0 && !(m->observer.stale & OBSERVE_RULES);
    }
    return r;
}

static int refresh(struct manager *m, struct why *why)
{
    unsigned parts;
    int r;

    if (m->observer.stale == OBSERVE_ALL)
        refusals_retry(&m->refusals, 0); /* events were lost */
    r = dump_quietly(m, &parts);
    if (r < 0) {
        m->observer.stale |= parts;
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
    }
    if (parts & (OBSERVE_LINKS | OBSERVE_ADDRS | OBSERVE_ROUTES))
        m->generation++;
    if (parts & (OBSERVE_RULES | OBSERVE_ROUTES)) {
        plan_unref(m->stands);
        m->stands = NULL;
    }
    return 0;
}

static int edit_users(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    (void)data;
    (void)why;
    return resolve_users(m);
}

static int read_nft_events(struct manager *m);

int reconcile_look(struct manager *m, struct why *why)
{
    bool work;
    int r;

    r = observer_dispatch(&m->observer, on_event, m);
    if (r == 0)
        r = read_nft_events(m);
    if (r < 0)
        return why_set(why, r, "cannot read kernel events: %s", strerror(-r));
    m->off = manager_is_off(m);
    work = has_work(m);
    if (m->observer.stale)
        r = refresh(m, why);
    return r < 0 ? r : work;
}

bool reconcile_may_wait(const struct manager *m)
{
    return !m->degraded && !m->users_due && !m->refusals.due && m->tampered == 0;
}

void reconcile_settle(struct manager *m)
{
    unsigned tampered = m->tampered;
    struct why why = { 0 };
    bool users = m->users_due;
    int r;

    m->tampered = 0;
    m->users_due = false;
    r = manager_settle(m, users ? edit_users : NULL, NULL, &why);
    if (r < 0) {
        m->users_due |= users;
        reconcile_failed(m, r, &why);
        return;
    }
    m->retries = 0;
    if (tampered > 0 && !m->off)
        manager_notice(
            m, NOTICE_RESTORED,
            "somebody deleted %u of our rules, routes or nftables objects: they are back",
            tampered);
}

int reconcile_now(struct manager *m, struct why *why)
{
    int r = reconcile_look(m, why);

    if (r > 0)
        reconcile_settle(m);
    return MIN(r, 0);
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
        reconcile_failed(m, r, &why);
    m->next_reconcile = clock_monotonic() + PACE * (clock_monotonic() - start);
    reconcile_follow_up(m);
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

/*
 * Every change of nftables names its table; only those of ours by others are of interest. At the end
 * of each commit its generation is told: if the one before was known, so is this one.
 */
static int on_nft_message(void *data, const struct nlmsghdr *nlh)
{
    struct manager *m = data;
    uint32_t generation = nft_event_generation(nlh);

    if (generation != 0 && generation - 1 == m->applier.nft_generation)
        m->applier.nft_generation = generation;
    if (nlh->nlmsg_pid == m->applier.nft.portid || !nft_event_is_ours(nlh))
        return 0;
    if (!m->guard_unknown) /* one `nft flush` says a lot */
        m->tampered++;
    reconcile_forget_guard(m);
    return 0;
}

/*
 * Events were lost, of which a large change of our own is enough, or nobody listened yet. If the last
 * commit was ours, then nobody touched our table since.
 */
static void check_nft_generation(struct manager *m)
{
    uint32_t generation;

    if (nft_generation(&m->applier.nft, &generation) < 0 || generation != m->applier.nft_generation)
        reconcile_forget_guard(m);
}

static int read_nft_events(struct manager *m)
{
    int r = m->nft_events.fd < 0 ? 0 : nlsock_events(&m->nft_events, on_nft_message, m);

    if (r != -ENOBUFS)
        return r;
    check_nft_generation(m);
    return 0;
}

static int on_nft_readable(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct manager *m = userdata;
    int r;

    (void)source;
    (void)fd;
    (void)revents;
    r = read_nft_events(m);
    if (r < 0)
        log_error_errno(r, "cannot read nftables events");
    if (has_work(m))
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
    if (r < 0)
        return r;
    check_nft_generation(m); /* somebody may have been there before we listened */
    reconcile_follow_up(m);
    return 0;
}

int reconcile_start(struct manager *m)
{
    int r = sd_event_add_io(m->event, NULL, m->observer.events.fd, EPOLLIN, on_readable, m);

    return r < 0 ? r : watch_nft(m);
}
