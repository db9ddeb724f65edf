/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * waymark.h: being a VPN.
 *
 * A VPN has one connection to the daemon for as long as it lives: by it come the descriptors and the word
 * that it is over. It is made by wm_vpn_prepare(), kept in the builder, and handed to the VPN that is
 * established.
 *
 * Nothing may fail between the daemon's answer, which has the descriptors, and the program that gets
 * them: a descriptor that is lost there is a tunnel that is lost, with the one that it was to replace. So all
 * that can be had beforehand is, and the descriptors stay the answer's.
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/parse.h"
#include "lib/bus-client.h"
#include "lib/vpn.h"

#define SERVICE_PATH "/org/waymark1"
#define VPN_PATH     "/org/waymark1/vpn/"

enum { KNOWN_FLAGS = WM_VPN_INTERACTIVE | WM_VPN_EVERYONE };

/* Somebody has to find the password. */
#define PATIENCE_WITH_PEOPLE (300 * USEC_PER_SEC)

struct wm_vpn {
    char *name;
    unsigned flags; /* of its prepare */
    struct client *client;
    int event_fd;          /* epoll: of the connection, and of `wake` */
    int wake;              /* eventfd: something came while an answer was waited for */
    sd_bus_message *reply; /* the answer of Establish: owns the descriptors and the texts */
    int *fds;
    size_t n_fds, capacity_fds;
    const char *path, *interface;
    uint32_t netid;
    wm_vpn_callback callback;
    void *data;
    bool revoked; /* to be told */
    char *reason;
    struct why why; /* of the last call */
};

/* Errors that sd-bus has its own idea of. */
static int plain_error(int r)
{
    switch (r) {
    case -EBADR: /* UnknownInterface, UnknownMethod: a daemon without VPNs */
        return -EOPNOTSUPP;
    case -EXFULL: /* there was no room for the descriptors */
        return -EMFILE;
    default:
        return r;
    }
}

/* A call of the service with a fresh deadline. */
static int new_call(struct client *c, const char *method, const char *name, usec_t patience,
                    sd_bus_message **ret, struct why *why)
{
    int r;

    client_set_deadline(c, clock_monotonic() + patience);
    r = client_new_call_to(c, CLIENT_VPN_SERVICE, method, ret, why);
    if (r < 0)
        return r;
    r = sd_bus_message_append(*ret, "s", name);
    return r < 0 ? client_bad_argument(r, method, why) : 0;
}

/* Prepare. */

static int ask_prepare(struct client *c, const char *name, unsigned flags, struct why *why)
{
    usec_t patience = flags & WM_VPN_INTERACTIVE ? PATIENCE_WITH_PEOPLE : FWMARK_PATIENCE;
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int ready, r = new_call(c, "Prepare", name, patience, &m, why);

    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "a{sv}", 2, "Interactive", "b", (flags & WM_VPN_INTERACTIVE) != 0,
                              "Everyone", "b", (flags & WM_VPN_EVERYONE) != 0);
    if (r < 0)
        return client_bad_argument(r, "Prepare", why);
    r = client_send(c, m, &reply, why);
    if (r < 0)
        return plain_error(r);
    r = sd_bus_message_read(reply, "b", &ready);
    if (r < 0)
        return client_bad_answer(r, "Prepare", why);
    if (!ready)
        return why_set(why, -EACCES,
                       "nobody has consented to the VPN '%s': an administrator does with `waymark "
                       "vpn consent`",
                       name);
    return 0;
}

/* A new connection that the daemon has said yes to. */
static int connect_prepared(const char *name, unsigned flags, struct client **ret, struct why *why)
{
    _cleanup_(client_freep) struct client *c = NULL;
    int r = bus_client_open(&c, why);

    if (r == 0)
        r = ask_prepare(c, name, flags, why);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(c);
    return 0;
}

/*
 * A connection that lay idle may have ended with its daemon. What it has heard is of no interest: nothing
 * is established.
 */
static int drop_dead_connection(struct wm_vpn_builder *b)
{
    int r = b->client ? client_dispatch(b->client, NULL) : 0;

    if (r == 0 || r == -ECHILD)
        return r;
    client_free(b->client);
    b->client = NULL;
    return 0;
}

static int prepare(struct wm_vpn_builder *b, unsigned flags)
{
    int r = drop_dead_connection(b);

    b->why = (struct why){ 0 };
    if (flags & ~(unsigned)KNOWN_FLAGS)
        return -EINVAL;
    if (r < 0)
        return r;
    b->flags = flags & WM_VPN_EVERYONE;
    if (!b->client)
        return connect_prepared(b->name, flags, &b->client, &b->why);
    r = ask_prepare(b->client, b->name, flags, &b->why);
    if (r < 0) { /* no longer prepared: the next one begins from the beginning */
        client_free(b->client);
        b->client = NULL;
    }
    return r;
}

WM_PUBLIC int wm_vpn_prepare(struct wm_vpn_builder *builder, unsigned flags)
{
    int error = errno;

    return public_result_quiet(error, builder ? prepare(builder, flags) : -EINVAL);
}

/* Events. */

/* What came while an answer was waited for lies in memory, where no poll(2) sees it. */
static void wake_for_pending(const struct wm_vpn *v)
{
    if (v->client && client_has_pending(v->client))
        (void)eventfd_write(v->wake, 1);
}

static void set_revoked(struct wm_vpn *v, const char *reason)
{
    free(v->reason);
    v->reason = strdup(reason); /* without memory it is told without a reason */
    v->revoked = true;
}

static int on_revoked(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct wm_vpn *v = userdata;
    const char *name, *reason;
    int r = sd_bus_message_read(m, "ss", &name, &reason);

    (void)error;
    if (r >= 0 && streq(name, v->name))
        set_revoked(v, reason);
    return MIN(r, 0);
}

static int watch(const struct wm_vpn *v, int op, int fd)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };

    return epoll_ctl(v->event_fd, op, fd, &event) < 0 ? -errno : 0;
}

/* From now on it is heard what the connection brings, and has brought since it was last dispatched. */
static int listen_to(struct wm_vpn *v, struct client *c)
{
    return client_watch(c, SERVICE_PATH, CLIENT_VPN_SERVICE, "Revoked", on_revoked, v, &v->why);
}

static int dispatch(struct wm_vpn *v)
{
    struct wm_vpn_event event = { .size = sizeof(event), .kind = WM_VPN_REVOKED };
    _cleanup_free_ char *reason = NULL;
    eventfd_t n;
    int r;

    v->why = (struct why){ 0 };
    (void)eventfd_read(v->wake, &n);
    r = client_dispatch(v->client, &v->why);
    if (!v->revoked)
        return r;
    v->revoked = false;
    reason = TAKE_PTR(v->reason);
    event.reason = reason ? reason : "";
    if (v->callback)
        v->callback(v, &event, v->data); /* *v may be no more */
    return 0;
}

WM_PUBLIC int wm_vpn_dispatch(struct wm_vpn *vpn)
{
    int error = errno;

    return public_result_quiet(error, vpn ? dispatch(vpn) : -EINVAL);
}

WM_PUBLIC int wm_vpn_set_callback(struct wm_vpn *vpn, wm_vpn_callback callback, void *data)
{
    if (!vpn)
        return public_result(-EINVAL);
    vpn->callback = callback;
    vpn->data = data;
    return 0;
}

WM_PUBLIC int wm_vpn_get_event_fd(const struct wm_vpn *vpn)
{
    return vpn ? vpn->event_fd : public_result(-EINVAL);
}

/* Establish. */

WM_PUBLIC void wm_vpn_free(struct wm_vpn *vpn)
{
    int error = errno;

    if (!vpn)
        return;
    client_unref_messagep(&vpn->reply); /* closes the descriptors */
    client_free(vpn->client);
    if (vpn->event_fd >= 0)
        (void)close(vpn->event_fd);
    if (vpn->wake >= 0)
        (void)close(vpn->wake);
    free(vpn->fds);
    free(vpn->reason);
    free(vpn->name);
    free(vpn);
    errno = error;
}
DEFINE_CLEANUP(struct wm_vpn *, wm_vpn_free)

/* As many descriptors will come: are there as many left? */
static int make_room(int fd, uint32_t n)
{
    int r = 0, room[16];
    size_t have = 0;

    while (r == 0 && have < MIN(n, ELEMENTSOF(room))) {
        room[have] = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        if (room[have] < 0)
            r = -errno;
        else
            have++;
    }
    while (have > 0)
        (void)close(room[--have]);
    return r;
}

/* All of it but what the daemon gives. */
static int vpn_new(const struct wm_vpn_builder *b, struct wm_vpn **ret)
{
    _cleanup_(wm_vpn_freep) struct wm_vpn *v = calloc(1, sizeof(*v));
    int r;

    if (!v)
        return -ENOMEM;
    v->event_fd = v->wake = -1;
    v->flags = b->flags;
    v->name = strdup(b->name);
    r = v->name ? ARRAY_RESERVE(v->fds, v->capacity_fds, MAX(b->queues, 1U)) : -ENOMEM;
    if (r < 0)
        return r;
    v->event_fd = epoll_create1(EPOLL_CLOEXEC);
    v->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (v->event_fd < 0 || v->wake < 0)
        return -errno;
    r = watch(v, EPOLL_CTL_ADD, v->wake);
    if (r == 0)
        r = make_room(v->wake, MAX(b->queues, 1U));
    if (r < 0)
        return r;
    *ret = TAKE_PTR(v);
    return 0;
}

/* osah: the object, the interface, the descriptors. */
static int read_reply(struct wm_vpn *v)
{
    int fd, r = sd_bus_message_read(v->reply, "os", &v->path, &v->interface);

    if (r >= 0)
        r = sd_bus_message_enter_container(v->reply, 'a', "h");
    while (r >= 0 && (r = sd_bus_message_read_basic(v->reply, 'h', &fd)) > 0)
        r = ARRAY_PUSH(v->fds, v->n_fds, v->capacity_fds, fd);
    if (r < 0)
        return r;
    if (v->n_fds == 0 || !startswith(v->path, VPN_PATH) ||
        parse_u32(v->path + STRLEN(VPN_PATH), FWMARK_NETID_MAX, &v->netid) < 0)
        return -EBADMSG;
    return 0;
}

static int ask_establish(struct wm_vpn_builder *b, struct wm_vpn *v)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = new_call(b->client, "Establish", b->name, FWMARK_PATIENCE, &m, &b->why);

    if (r == 0)
        r = vpn_append_description(b->client, m, b, &b->why);
    if (r < 0)
        return b->why.error < 0 ? r : client_bad_argument(r, "Establish", &b->why);
    r = client_send(b->client, m, &v->reply, &b->why);
    if (r < 0)
        return plain_error(r);
    r = read_reply(v);
    return r < 0 ? client_bad_answer(r, "Establish", &b->why) : 0;
}

static bool is_broken(int error)
{
    return error == -ECONNRESET || error == -ETIMEDOUT || error == -EMFILE;
}

static int establish(struct wm_vpn_builder *b, struct wm_vpn **ret)
{
    _cleanup_(wm_vpn_freep) struct wm_vpn *v = NULL;
    int r = drop_dead_connection(b);

    b->why = (struct why){ 0 };
    if (r == 0 && !b->client)
        r = connect_prepared(b->name, b->flags, &b->client, &b->why);
    if (r == 0)
        r = vpn_new(b, &v);
    if (r == 0)
        r = watch(v, EPOLL_CTL_ADD, client_fd(b->client));
    if (r < 0)
        return r;
    r = ask_establish(b, v);
    if (r == 0)
        r = listen_to(v, b->client);
    if (r < 0) {
        if (is_broken(r) || v->reply) {
            client_free(b->client);
            b->client = NULL;
        }
        return r;
    }
    v->client = TAKE_PTR(b->client);
    wake_for_pending(v);
    *ret = TAKE_PTR(v);
    return 0;
}

WM_PUBLIC int wm_vpn_establish(struct wm_vpn_builder *builder, struct wm_vpn **ret_vpn)
{
    int error = errno;

    return public_result_quiet(error, builder && ret_vpn ? establish(builder, ret_vpn) : -EINVAL);
}

/* What it is. */

WM_PUBLIC int wm_vpn_get_fd(const struct wm_vpn *vpn)
{
    return vpn ? vpn->fds[0] : public_result(-EINVAL);
}

WM_PUBLIC int wm_vpn_get_fds(const struct wm_vpn *vpn, const int **ret_fds, size_t *ret_n)
{
    if (!vpn || !ret_fds || !ret_n)
        return public_result(-EINVAL);
    *ret_fds = vpn->fds;
    *ret_n = vpn->n_fds;
    return 0;
}

WM_PUBLIC const char *wm_vpn_get_interface(const struct wm_vpn *vpn)
{
    return vpn ? vpn->interface : NULL;
}

WM_PUBLIC wm_network_t wm_vpn_get_network(const struct wm_vpn *vpn)
{
    return vpn ? wm_network_from_netid(vpn->netid) : WM_NETWORK_UNSPECIFIED;
}

WM_PUBLIC const char *wm_vpn_get_error(const struct wm_vpn *vpn)
{
    return vpn && vpn->why.error < 0 ? vpn->why.text : "";
}

/* What it may ask for. */

/* Sends a call that was begun with new_call(). */
static int send_call(struct wm_vpn *v, sd_bus_message *m)
{
    int r = client_send(v->client, m, NULL, &v->why);

    wake_for_pending(v);
    return r == -ENONET ? -ENOTCONN : plain_error(r); /* one without a profile is gone altogether */
}

static int begin_call(struct wm_vpn *v, const char *method, sd_bus_message **ret)
{
    v->why = (struct why){ 0 };
    return new_call(v->client, method, v->name, FWMARK_PATIENCE, ret, &v->why);
}

static int change_address(struct wm_vpn *v, const char *method, const char *address,
                          unsigned prefix_length)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    char text[IP_TEXT_MAX];
    int r = vpn_address_text(address, prefix_length, text);

    if (r == 0)
        r = begin_call(v, method, &m);
    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "s", text);
    return r < 0 ? client_bad_argument(r, method, &v->why) : send_call(v, m);
}

WM_PUBLIC int wm_vpn_add_address(struct wm_vpn *vpn, const char *address, unsigned prefix_length)
{
    int error = errno;

    return public_result_quiet(
        error, vpn ? change_address(vpn, "AddAddress", address, prefix_length) : -EINVAL);
}

WM_PUBLIC int wm_vpn_remove_address(struct wm_vpn *vpn, const char *address, unsigned prefix_length)
{
    int error = errno;

    return public_result_quiet(
        error, vpn ? change_address(vpn, "RemoveAddress", address, prefix_length) : -EINVAL);
}

static int set_underlying(struct wm_vpn *v, const wm_network_t *networks, size_t n)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    struct vpn_underlying u = { 0 };
    int r = vpn_underlying_new(networks, n, &u);

    if (r == 0)
        r = begin_call(v, "SetUnderlying", &m);
    if (r >= 0)
        r = sd_bus_message_append(m, "b", !u.set);
    if (r >= 0)
        r = vpn_append_networks(v->client, m, &u, &v->why);
    free(u.netids);
    return r < 0 ? r : send_call(v, m);
}

WM_PUBLIC int wm_vpn_set_underlying_networks(struct wm_vpn *vpn, const wm_network_t *networks,
                                             size_t n)
{
    int error = errno;

    return public_result_quiet(error, vpn ? set_underlying(vpn, networks, n) : -EINVAL);
}

static int report(struct wm_vpn *v, enum wm_vpn_state state, const char *reason)
{
    static const char *const states[] = { [WM_VPN_CONNECTING] = "connecting",
                                          [WM_VPN_CONNECTED] = "connected",
                                          [WM_VPN_FAILED] = "failed" };
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = (size_t)state < ELEMENTSOF(states) ? begin_call(v, "ReportState", &m) : -EINVAL;

    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "ss", states[state], reason ? reason : "");
    return r < 0 ? client_bad_argument(r, "ReportState", &v->why) : send_call(v, m);
}

WM_PUBLIC int wm_vpn_report_state(struct wm_vpn *vpn, enum wm_vpn_state state, const char *reason)
{
    int error = errno;

    return public_result_quiet(error, vpn ? report(vpn, state, reason) : -EINVAL);
}

static int disconnect(struct wm_vpn *v)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = begin_call(v, "Disconnect", &m);

    return r < 0 ? r : send_call(v, m);
}

WM_PUBLIC int wm_vpn_disconnect(struct wm_vpn *vpn)
{
    int error = errno;

    return public_result_quiet(error, vpn ? disconnect(vpn) : -EINVAL);
}

/* A daemon that was restarted. */

/* Does the daemon still say that this interface is the VPN's? 1, 0 or an error. */
static int is_ours(const struct wm_vpn *v, struct client *c, struct why *why)
{
    _cleanup_message_ sd_bus_message *reply = NULL;
    const char *interface;
    int found = 0, r = client_get_property_of(c, v->path, CLIENT_VPN, "Interfaces", &reply, why);

    if (r < 0)
        return r == -ENONET ? 0 : r;
    r = sd_bus_message_enter_container(reply, 'v', "as");
    if (r >= 0)
        r = sd_bus_message_enter_container(reply, 'a', "s");
    while (r >= 0 && (r = sd_bus_message_read(reply, "s", &interface)) > 0)
        found |= streq(interface, v->interface);
    return r < 0 ? client_bad_answer(r, "Interfaces", why) : found;
}

static int reconnect(struct wm_vpn *v)
{
    _cleanup_(client_freep) struct client *c = NULL;
    int ours = 0, r;

    v->why = (struct why){ 0 };
    r = connect_prepared(v->name, v->flags, &c, &v->why);
    if (r == 0)
        ours = r = is_ours(v, c, &v->why);
    if (r >= 0)
        r = listen_to(v, c);
    if (r >= 0)
        r = watch(v, EPOLL_CTL_ADD, client_fd(c));
    if (r < 0)
        return r;
    (void)watch(v, EPOLL_CTL_DEL, client_fd(v->client));
    client_free(v->client);
    v->client = TAKE_PTR(c);
    if (ours)
        wake_for_pending(v);
    else {
        set_revoked(v, "it ended while waymarkd was away");
        (void)eventfd_write(v->wake, 1);
    }
    return 0;
}

WM_PUBLIC int wm_vpn_reconnect(struct wm_vpn *vpn)
{
    int error = errno;

    return public_result_quiet(error, vpn ? reconnect(vpn) : -EINVAL);
}
