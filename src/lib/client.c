/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "lib/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>

#include "basic/fd.h"

#define MANAGER_PATH   "/org/waymark1"
#define PROPERTIES     "org.freedesktop.DBus.Properties"
#define OBJECT_MANAGER "org.freedesktop.DBus.ObjectManager"

struct client {
    sd_bus *bus;
    char *socket; /* for sentences */
    usec_t deadline;

    client_event event; /* while client_listen() runs */
    void *event_data;
    int event_result;
};

/* How long may be waited still; never 0, which sd-bus takes for "the default". */
static usec_t time_left(const struct client *c)
{
    usec_t now = clock_monotonic();

    if (c->deadline == USEC_INFINITY)
        return USEC_INFINITY;
    return c->deadline > now ? c->deadline - now : 1;
}

static int no_answer(const struct client *c, struct why *why)
{
    return why_set(why, -ETIMEDOUT,
                   "waymarkd did not answer in time (%s): see `systemctl status waymark`, or wait "
                   "longer with --timeout",
                   c->socket);
}

static int hung_up(const struct client *c, struct why *why)
{
    return why_set(why, -ECONNRESET,
                   "waymarkd closed the connection (%s): it stopped, or has too many clients; see "
                   "`systemctl status waymark`",
                   c->socket);
}

/* Every way in which sd-bus says that the other end went away. */
static bool is_hang_up(int error)
{
    static const int errors[] = { -ECONNRESET, -ENOTCONN, -EPIPE, -ESHUTDOWN };

    for (size_t i = 0; i < ELEMENTSOF(errors); i++)
        if (errors[i] == error)
            return true;
    return false;
}

/* An error of the connection itself, in words. */
static int transport_error(const struct client *c, int error, struct why *why)
{
    if (error == -ETIMEDOUT)
        return no_answer(c, why);
    if (is_hang_up(error))
        return hung_up(c, why);
    return why_set(why, error, "cannot talk to waymarkd (%s): %s", c->socket, strerror(-error));
}

/* connect(2), but not for longer than the deadline: a full backlog makes it wait. */
static int connect_socket(struct client *c, int fd, struct why *why)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    usec_t left = time_left(c);
    struct timeval limit = { (time_t)(left / USEC_PER_SEC), (suseconds_t)(left % USEC_PER_SEC) };

    if (!str_set(addr.sun_path, sizeof(addr.sun_path), c->socket))
        return why_set(why, -ENAMETOOLONG, "%s: longer than a socket's name may be (%zu bytes)",
                       c->socket, sizeof(addr.sun_path) - 1);
    if (left != USEC_INFINITY)
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
        int error = errno;

        if (error == EAGAIN)
            return no_answer(c, why);
        if (error == ENOENT || error == ENOTDIR || error == ECONNREFUSED)
            return why_set(why, -ECONNREFUSED,
                           "waymarkd is not running (%s %s): start it with `systemctl start "
                           "waymark` or `sudo waymarkd`",
                           error == ECONNREFUSED ? "nobody listens on" : "no", c->socket);
        return why_set(why, -error, "cannot connect to waymarkd at %s: %s", c->socket,
                       strerror(error));
    }
    limit = (struct timeval){ 0 };
    (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    return 0;
}

static int set_up_bus(struct client *c, int *fd)
{
    int r = sd_bus_new(&c->bus);

    if (r >= 0)
        r = sd_bus_set_fd(c->bus, *fd, *fd);
    if (r < 0)
        return r;
    TAKE_FD(*fd); /* the bus closes it */
    r = sd_bus_set_bus_client(c->bus, false);
    if (r >= 0)
        r = sd_bus_negotiate_fds(c->bus, true); /* those of VPNs */
    if (r >= 0)
        r = sd_bus_set_allow_interactive_authorization(c->bus, true);
    return r < 0 ? r : sd_bus_start(c->bus);
}

/*
 * Authentication. sd-bus would wait for it within the first call, but by a clock of its own, which
 * knows nothing of our deadline.
 */
static int wait_ready(struct client *c)
{
    int r;

    while ((r = sd_bus_is_ready(c->bus)) == 0) {
        r = sd_bus_process(c->bus, NULL);
        if (r < 0)
            return r;
        if (r > 0)
            continue;
        if (c->deadline <= clock_monotonic())
            return -ETIMEDOUT;
        r = sd_bus_wait(c->bus, time_left(c));
        if (r < 0 && r != -EINTR)
            return r;
    }
    return MIN(r, 0);
}

int client_open(const char *socket_path, usec_t deadline, struct client **ret, struct why *why)
{
    _cleanup_(client_freep) struct client *c = calloc(1, sizeof(*c));
    _cleanup_fd_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int r;

    if (!c || !(c->socket = strdup(socket_path)))
        return -ENOMEM;
    if (fd < 0)
        return why_set(why, -errno, "cannot make a socket: %s", strerror(errno));
    c->deadline = deadline;
    r = connect_socket(c, fd, why);
    if (r < 0)
        return r;
    r = set_up_bus(c, &fd);
    if (r >= 0)
        r = wait_ready(c);
    if (r < 0)
        return transport_error(c, r, why);
    *ret = TAKE_PTR(c);
    return 0;
}

void client_free(struct client *c)
{
    if (!c)
        return;
    (void)sd_bus_close_unref(c->bus);
    free(c->socket);
    free(c);
}

int client_new_call_to(struct client *c, const char *interface, const char *method,
                       sd_bus_message **ret, struct why *why)
{
    int r = sd_bus_message_new_method_call(c->bus, ret, NULL, MANAGER_PATH, interface, method);

    return r < 0 ? transport_error(c, r, why) : 0;
}

int client_new_call(struct client *c, const char *method, sd_bus_message **ret, struct why *why)
{
    return client_new_call_to(c, CLIENT_MANAGER, method, ret, why);
}

/* What the daemon answered, or what kept it from answering, as errno and sentence. */
static int call_error(const struct client *c, int error, const sd_bus_error *e, struct why *why)
{
    if (error == -ETIMEDOUT || is_hang_up(error))
        return transport_error(c, error, why);
    return why_set(why, error, "%s", e->message && *e->message ? e->message : strerror(-error));
}

int client_send(struct client *c, sd_bus_message *m, sd_bus_message **ret_reply, struct why *why)
{
    _cleanup_(sd_bus_error_free) sd_bus_error e = SD_BUS_ERROR_NULL;
    int r = sd_bus_call(c->bus, m, time_left(c), &e, ret_reply);

    return r < 0 ? call_error(c, r, &e, why) : 0;
}

int client_call(struct client *c, const char *method, sd_bus_message **ret_reply, struct why *why,
                const char *types, ...)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = client_new_call(c, method, &m, why);
    va_list ap;

    if (r < 0)
        return r;
    va_start(ap, types);
    r = sd_bus_message_appendv(m, types, ap);
    va_end(ap);
    if (r < 0)
        return client_bad_argument(r, method, why);
    return client_send(c, m, ret_reply, why);
}

void client_set_deadline(struct client *c, usec_t deadline)
{
    c->deadline = deadline;
}

int client_get_property_of(struct client *c, const char *path, const char *interface,
                           const char *name, sd_bus_message **ret_reply, struct why *why)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = sd_bus_message_new_method_call(c->bus, &m, NULL, path, PROPERTIES, "Get");

    if (r >= 0)
        r = sd_bus_message_append(m, "ss", interface, name);
    if (r < 0)
        return transport_error(c, r, why);
    r = client_send(c, m, ret_reply, why);
    return r == -EBADR ? -ENONET : r; /* UnknownObject, UnknownInterface */
}

int client_get_property(struct client *c, const char *name, sd_bus_message **ret_reply,
                        struct why *why)
{
    return client_get_property_of(c, MANAGER_PATH, CLIENT_MANAGER, name, ret_reply, why);
}

int client_get_properties(struct client *c, sd_bus_message **ret_reply, struct why *why)
{
    _cleanup_message_ sd_bus_message *m = NULL;
    int r = client_new_call_to(c, PROPERTIES, "GetAll", &m, why);

    if (r < 0)
        return r;
    r = sd_bus_message_append(m, "s", CLIENT_MANAGER);
    return r < 0 ? transport_error(c, r, why) : client_send(c, m, ret_reply, why);
}

/* What is looked for among the objects, and who is told. */
struct search {
    const char *interface;
    client_object each;
    void *data;
};

/* One {sa{sv}} of an object: an interface and its properties. */
static int read_interface(sd_bus_message *m, const char *path, const struct search *s)
{
    const char *interface;
    int r = sd_bus_message_enter_container(m, 'e', "sa{sv}");

    if (r <= 0)
        return r;
    r = sd_bus_message_read(m, "s", &interface);
    if (r >= 0)
        r = streq(interface, s->interface) ? s->each(s->data, path, m)
                                           : sd_bus_message_skip(m, "a{sv}");
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

/* One {oa{sa{sv}}}. 1: there was one. */
static int read_object(sd_bus_message *m, const struct search *s)
{
    const char *path;
    int r = sd_bus_message_enter_container(m, 'e', "oa{sa{sv}}");

    if (r <= 0)
        return r;
    r = sd_bus_message_read(m, "o", &path);
    if (r >= 0)
        r = sd_bus_message_enter_container(m, 'a', "{sa{sv}}");
    while (r >= 0 && (r = read_interface(m, path, s)) > 0)
        ;
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    if (r >= 0)
        r = sd_bus_message_exit_container(m);
    return r < 0 ? r : 1;
}

int client_get_objects(struct client *c, const char *interface, client_object each, void *data,
                       struct why *why)
{
    const struct search s = { interface, each, data };
    _cleanup_message_ sd_bus_message *m = NULL, *reply = NULL;
    int r = client_new_call_to(c, OBJECT_MANAGER, "GetManagedObjects", &m, why);

    if (r == 0)
        r = client_send(c, m, &reply, why);
    if (r < 0)
        return r;
    r = sd_bus_message_enter_container(reply, 'a', "{oa{sa{sv}}}");
    while (r >= 0 && (r = read_object(reply, &s)) > 0)
        ;
    return r < 0 ? client_bad_answer(r, "GetManagedObjects", why) : 0;
}

static int on_event(sd_bus_message *m, void *userdata, sd_bus_error *error)
{
    struct client *c = userdata;
    const char *kind, *text;
    int r = sd_bus_message_read(m, "ss", &kind, &text);

    (void)error;
    if (r >= 0)
        r = c->event(c->event_data, kind, text);
    if (r < 0)
        c->event_result = r;
    return 0;
}

int client_listen(struct client *c, client_event event, void *data, struct why *why)
{
    sd_bus_slot *slot = NULL;
    int r;

    c->event = event;
    c->event_data = data;
    c->event_result = 0;
    r = sd_bus_match_signal(c->bus, &slot, NULL, MANAGER_PATH, CLIENT_MANAGER, "Event", on_event,
                            c);
    while (r >= 0 && c->event_result == 0) {
        r = sd_bus_process(c->bus, NULL);
        if (r == 0)
            r = sd_bus_wait(c->bus, UINT64_MAX);
        if (r == -EINTR)
            r = 0;
    }
    (void)sd_bus_slot_unref(slot);
    if (c->event_result < 0)
        return client_bad_answer(c->event_result, "Event", why);
    return transport_error(c, r, why);
}

int client_watch(struct client *c, const char *path, const char *interface, const char *member,
                 sd_bus_message_handler_t handler, void *data, struct why *why)
{
    int r = sd_bus_match_signal(c->bus, NULL, NULL, path, interface, member, handler, data);

    return r < 0 ? transport_error(c, r, why) : 0;
}

int client_fd(const struct client *c)
{
    return sd_bus_get_fd(c->bus);
}

bool client_has_pending(const struct client *c)
{
    uint64_t n = 0;

    return sd_bus_get_n_queued_read(c->bus, &n) >= 0 && n > 0;
}

int client_dispatch(struct client *c, struct why *why)
{
    int r;

    while ((r = sd_bus_process(c->bus, NULL)) > 0)
        ;
    return r < 0 ? transport_error(c, r, why) : 0;
}

int client_bad_argument(int error, const char *method, struct why *why)
{
    return why_set(why, error, "cannot ask waymarkd for %s: %s", method,
                   error == -EINVAL ? "an argument is no UTF-8 text" : strerror(-error));
}

int client_bad_answer(int error, const char *method, struct why *why)
{
    if (error != -EBADMSG && error != -ENXIO)
        return error;
    return why_set(why, -EBADMSG,
                   "cannot understand the answer of waymarkd to %s: is it of another version? See "
                   "`waymark --version` and `waymarkd --version`",
                   method);
}
