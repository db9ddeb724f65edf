/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/vpn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <waymark.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "engine/minivtun/options.h"
#include "engine/minivtun/tun.h"

enum {
    PAUSE_FIRST = 1, /* seconds, between two attempts to reach the daemon */
    PAUSE_MAX = 16,
};

struct vpn {
    struct wm_vpn *vpn;
    bool revoked, gone; /* gone: the daemon, for now */
    usec_t pause, next_attempt;
    enum vpn_report state; /* told last, and to be told again to another daemon */
    char reason[128];
};

struct vpn *vpn_free(struct vpn *v)
{
    if (!v)
        return NULL;
    wm_vpn_free(v->vpn);
    free(v);
    return NULL;
}

static int add_route(struct wm_vpn_builder *b, const struct ip_prefix *p)
{
    char text[IP_TEXT_MAX];

    return wm_vpn_builder_add_route(b, ip_addr_format(&p->addr, text), p->len);
}

static int add_addresses(struct wm_vpn_builder *b, const struct options *o)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < ELEMENTSOF(o->inner); i++) {
        struct ip_prefix all = { .addr.family = (uint8_t)family_at(i) };
        char text[IP_TEXT_MAX];

        if (!ip_addr_is_set(&o->inner[i]))
            continue;
        r = wm_vpn_builder_add_address(b, ip_addr_format(&o->inner[i], text), o->inner_len[i]);
        if (r == 0 && o->routes.n == 0)
            r = add_route(b, &all);
    }
    for (size_t i = 0; r == 0 && i < o->routes.n; i++)
        r = add_route(b, &o->routes.items[i].prefix);
    for (size_t i = 0; r == 0 && i < o->n_dns; i++)
        r = wm_vpn_builder_add_dns_server(b, o->dns[i]);
    return r;
}

static int describe(struct wm_vpn_builder *b, const struct options *o, struct why *why)
{
    char session[300];

    snprintf(session, sizeof(session), "minivtun to %s", o->host);
    if (wm_vpn_builder_set_session(b, session) < 0 || wm_vpn_builder_set_mtu(b, o->mtu) < 0 ||
        wm_vpn_builder_set_offloads(b, o->offload) < 0 || add_addresses(b, o) < 0)
        return why_set(why, -errno, "cannot describe the VPN '%s': %s", o->vpn, strerror(errno));
    return 0;
}

static int failed(const char *what, const struct wm_vpn_builder *b, const char *name,
                  struct why *why)
{
    int r = -errno;
    const char *text = wm_vpn_builder_get_error(b);

    return why_set(why, r, "cannot %s the VPN '%s': %s", what, name, text[0] ? text : strerror(-r));
}

static void on_event(struct wm_vpn *vpn, const struct wm_vpn_event *event, void *data)
{
    struct vpn *v = data;

    (void)vpn;
    if (event->kind != WM_VPN_REVOKED)
        return;
    log_notice("the VPN has been taken away: %s", event->reason);
    v->revoked = true;
}

static int establish(struct vpn *v, struct wm_vpn_builder *b, const struct options *o,
                     struct tun *ret_tun, struct why *why)
{
    int fd, r;

    r = describe(b, o, why);
    if (r < 0)
        return r;
    if (wm_vpn_prepare(b, o->everyone ? WM_VPN_EVERYONE : 0) < 0)
        return failed("be", b, o->vpn, why);
    if (wm_vpn_establish(b, &v->vpn) < 0)
        return failed("establish", b, o->vpn, why);
    (void)wm_vpn_set_callback(v->vpn, on_event, v);
    fd = fcntl(wm_vpn_get_fd(v->vpn), F_DUPFD_CLOEXEC, 3);
    if (fd < 0)
        return why_set(why, -errno, "no descriptor for the TUN: %s", strerror(errno));
    r = tun_take(fd, ret_tun, why);
    if (r < 0)
        (void)close(fd);
    return r;
}

int vpn_new(const struct options *o, struct vpn **ret, struct tun *ret_tun, struct why *why)
{
    _cleanup_(vpn_freep) struct vpn *v = calloc(1, sizeof(*v));
    struct wm_vpn_builder *b = NULL;
    int r;

    if (!v || wm_vpn_builder_new(o->vpn, &b) < 0)
        return why_set(why, -ENOMEM, "out of memory");
    r = establish(v, b, o, ret_tun, why);
    wm_vpn_builder_free(b);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(v);
    return 0;
}

int vpn_event_fd(const struct vpn *v)
{
    return v->gone ? -1 : wm_vpn_get_event_fd(v->vpn);
}

/* The daemon does not answer: as if it had hung up, if that is so. */
static void see_whether_gone(struct vpn *v, const char *what)
{
    int error = errno;

    log_debug("%s: %s", what, strerror(error));
    if (error != ECONNRESET || v->gone)
        return;
    log_notice("waymarkd is gone; the VPN goes on");
    v->gone = true;
    v->pause = 0;
    v->next_attempt = 0;
}

bool vpn_dispatch(struct vpn *v)
{
    if (wm_vpn_dispatch(v->vpn) < 0)
        see_whether_gone(v, "dispatch");
    return !v->revoked;
}

static void tell(struct vpn *v)
{
    static const enum wm_vpn_state states[] = {
        [VPN_REPORT_CONNECTING] = WM_VPN_CONNECTING,
        [VPN_REPORT_CONNECTED] = WM_VPN_CONNECTED,
        [VPN_REPORT_FAILED] = WM_VPN_FAILED,
    };

    if (!v->gone && wm_vpn_report_state(v->vpn, states[v->state], v->reason) < 0)
        see_whether_gone(v, "report");
}

void vpn_report(struct vpn *v, enum vpn_report state, const char *reason)
{
    v->state = state;
    snprintf(v->reason, sizeof(v->reason), "%s", reason);
    tell(v);
}

usec_t vpn_tick(struct vpn *v, usec_t now)
{
    if (!v->gone)
        return USEC_INFINITY;
    if (now < v->next_attempt)
        return v->next_attempt;
    if (wm_vpn_reconnect(v->vpn) == 0) {
        v->gone = false;
        log_notice("waymarkd is back");
        tell(v);
        return USEC_INFINITY;
    }
    log_debug("waymarkd is not back yet: %s", strerror(errno));
    v->pause = MIN(MAX(v->pause * 2, PAUSE_FIRST * USEC_PER_SEC), PAUSE_MAX * USEC_PER_SEC);
    v->next_attempt = now + v->pause;
    return v->next_attempt;
}

int vpn_protect(const struct vpn *v, int fd)
{
    (void)v; /* which VPN's process this is the daemon knows */
    return wm_protect(fd) < 0 ? -errno : 0;
}

void vpn_disconnect(struct vpn *v)
{
    if (wm_vpn_disconnect(v->vpn) < 0)
        log_debug("disconnect: %s", strerror(errno));
}
