/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/linger.h"
#include "basic/log.h"
#include "daemon/bus-intake.h"
#include "daemon/verifier.h"
#include "daemon/vpn-bus.h"
#include "daemon/vpn-service.h"

enum {
    PEERS_MAX = 256,
    PEERS_PER_UID_MAX = 32, /* of those that are not privileged */
    PEERS_RESERVED = 32,    /* places that only the privileged get */
    QUEUE_MAX = 4096,       /* messages that a peer may leave unread */
    UNREAD_CALLS_MAX = 64,  /* calls that it may make meanwhile: their answers may be large */
    UNREAD_CALLS_MAX_PRIVILEGED = 1024,
    SEND_BUFFER = 128 * 1024, /* of a peer's socket; sd-bus would take 8 MiB of the kernel's */
    FDS_MAX = 512,            /* descriptors on their way to one user */
    MESSAGE_COST = 768,       /* of the kernel's memory, at least */
    ACCEPT_PER_TURN = 8,
    PROCESS_AT_START = 8,
    ACCEPTS_PER_100_MS = 1000, /* lest the loop spins when no file can be opened any more */
    RETRY_SEC = 5,
};

static const struct bus_method *find_method(const char *interface, const char *member)
{
    const struct bus_method *tables[] = { manager_bus_methods, network_bus_methods,
                                          vpn_service_bus_methods };

    for (size_t t = 0; t < ELEMENTSOF(tables); t++)
        for (const struct bus_method *m = tables[t]; m->member; m++)
            if (streq(m->interface, interface) && streq(m->member, member))
                return m;
    return NULL;
}

/*
 * An errno goes by its own name. Three have a well-known one that says the same; the others that sd-bus
 * has are of files and processes, which ours are not about.
 */
static int reply_error(sd_bus_message *msg, int error, struct why *why)
{
    static const struct {
        int error;
        const char *name;
    } well_known[] = {
        { -EINVAL, SD_BUS_ERROR_INVALID_ARGS },
        { -EACCES, SD_BUS_ERROR_ACCESS_DENIED },
        { -ENOMEM, SD_BUS_ERROR_NO_MEMORY },
    };
    const char *errno_name;
    char name[64];

    if (error == -EBADMSG) /* sd-bus cannot read an argument */
        error = why_set(why, -EINVAL, "an argument is malformed: text is UTF-8 without NUL bytes");
    errno_name = strerrorname_np(-error);
    snprintf(name, sizeof(name), "System.Error.%s", errno_name ? errno_name : "EIO");
    for (size_t i = 0; i < ELEMENTSOF(well_known); i++)
        if (well_known[i].error == error)
            (void)str_set(name, sizeof(name), well_known[i].name);
    return sd_bus_reply_method_errorf(msg, name, "%s", why_text(why, error));
}

int bus_run(struct bus_end *end, sd_bus_message *msg, const struct bus_method *method)
{
    struct bus_call call = { .end = end, .m = end->bus->m, .msg = msg };
    struct why why = { 0 };
    int r;

    if (method->interface[0] && streq(method->interface, BUS_NETWORK)) {
        const struct network *n = network_bus_find(call.m, sd_bus_message_get_path(msg));

        if (!n)
            return reply_error(msg, -ENONET, NULL);
        call.network = n->name;
    }
    r = method->run(&call, &why);
    return r < 0 ? reply_error(msg, r, &why) : 1;
}

int bus_dispatch(sd_bus_message *msg, void *userdata, sd_bus_error *error)
{
    struct bus_end *end = userdata;
    const struct bus_method *method =
        find_method(sd_bus_message_get_interface(msg), sd_bus_message_get_member(msg));
    struct why why = { 0 };
    int r;

    (void)error;
    assert(method); /* the vtables list nothing else */
    r = method->change ? bus_authorize(end, msg, method, BUS_RIGHT_CHANGE, &why) : 1;
    if (r < 0)
        return reply_error(msg, r, &why);
    return r == 0 ? 1 : bus_run(end, msg, method);
}

/* Without sd_bus_flush(), which waits for who says nothing. What was not read may have descriptors. */
static void close_end(struct bus_end *end)
{
    linger_begin();
    sd_bus_close(end->sd);
    linger_end();
}

static void close_intake(struct bus_end *end)
{
    linger_begin();
    bus_intake_free(end->intake);
    linger_end();
}

static void end_free(struct bus_end *end)
{
    if (!end)
        return;
    close_intake(end);
    bus_auth_forget(end->bus, end);
    verifier_forget(end->bus->verifier, end->sd);
    close_end(end);
    sd_bus_unref(end->sd);
    free(end->cgroup);
    free(end);
}

/*
 * Not freed at once: it may be in the middle of its own call, or of what is told to all. It is closed
 * and says and hears nothing more; on_post() comes for it.
 */
static void doom(struct bus_end *end)
{
    struct bus *bus = end->bus;

    end->doomed = true;
    if (bus->system == end)
        bus->system = NULL;
    close_end(end);
}

static void free_doomed(struct bus *bus)
{
    for (size_t i = bus->n_ends; i-- > 0;) {
        struct bus_end *end = bus->ends[i];

        if (!end->doomed)
            continue;
        bus->ends[i] = bus->ends[--bus->n_ends];
        end_free(end);
    }
}

static int connect_system(struct bus *bus);

static int on_system_retry(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    return connect_system(userdata);
}

static void retry_system_later(struct bus *bus)
{
    usec_t at = clock_monotonic() + RETRY_SEC * USEC_PER_SEC;
    int r;

    if (bus->system_retry) {
        (void)sd_event_source_set_time(bus->system_retry, at);
        r = sd_event_source_set_enabled(bus->system_retry, SD_EVENT_ONESHOT);
    } else
        r = sd_event_add_time(bus->m->event, &bus->system_retry, CLOCK_MONOTONIC, at, USEC_PER_SEC,
                              on_system_retry, bus);
    if (r < 0)
        log_error_errno(r, "cannot set a timer");
}

static int on_disconnected(sd_bus_message *msg, void *userdata, sd_bus_error *error)
{
    struct bus_end *end = userdata;

    (void)msg;
    (void)error;
    if (end->system) {
        log_notice("the system bus went away");
        retry_system_later(end->bus);
    }
    doom(end);
    return 0;
}

/* How many of the descriptors that it was sent can be unread still: messages are read in order. */
static size_t count_unread_fds(struct bus_end *end)
{
    uint64_t queued = 0;
    int unread = 0;

    if (end->system || end->unread_fds == 0)
        return 0;
    if (sd_bus_get_n_queued_write(end->sd, &queued) < 0 || ioctl(end->fd, SIOCOUTQ, &unread) < 0)
        return end->unread_fds;
    queued += (uint64_t)unread / MESSAGE_COST;
    if (queued == 0)
        end->unread_fds = 0;
    return MIN(end->unread_fds, (size_t)queued * VPN_QUEUES_MAX);
}

int bus_send_fds(struct bus_end *end, size_t n, struct why *why)
{
    const struct bus *bus = end->bus;
    size_t unread = 0;

    for (size_t i = 0; i < bus->n_ends; i++)
        if (bus->ends[i]->cred.uid == end->cred.uid)
            unread += count_unread_fds(bus->ends[i]);
    if (unread + n > FDS_MAX)
        return why_set(why, -EAGAIN,
                       "user %u has not read the answers of before, in which are %zu descriptors: "
                       "read them first",
                       end->cred.uid, unread);
    end->unread_fds += n;
    return 0;
}

/* Every message of an end comes by here first. Who asks on and on, but reads no answer, is dropped. */
static int on_message(sd_bus_message *msg, void *userdata, sd_bus_error *error)
{
    struct bus_end *end = userdata;
    uint64_t queued = 0;
    unsigned max;

    (void)msg;
    (void)error;
    if (end->system || sd_bus_get_n_queued_write(end->sd, &queued) < 0 || queued == 0) {
        end->unread_calls = 0;
        return 0;
    }
    max = end->privileged ? UNREAD_CALLS_MAX_PRIVILEGED : UNREAD_CALLS_MAX;
    if (++end->unread_calls <= max)
        return 0;
    doom(end);
    return 1;
}

/* Puts our objects on a connection and the connection on the loop. */
static int offer(struct bus_end *end)
{
    sd_bus *sd = end->sd;
    int r;

    r = sd_bus_add_object_manager(sd, NULL, BUS_PATH);
    if (r >= 0)
        r = sd_bus_add_object_vtable(sd, NULL, BUS_PATH, BUS_MANAGER, manager_bus_vtable, end);
    if (r >= 0)
        r = sd_bus_add_fallback_vtable(sd, NULL, BUS_NETWORK_PATH, BUS_NETWORK, network_bus_vtable,
                                       network_bus_object, end);
    if (r >= 0)
        r = sd_bus_add_node_enumerator(sd, NULL, BUS_NETWORK_PATH, network_bus_enumerate, end);
    if (r >= 0)
        r = sd_bus_add_object_vtable(sd, NULL, BUS_PATH, BUS_VPN_SERVICE, vpn_service_bus_vtable,
                                     end);
    if (r >= 0)
        r = sd_bus_add_fallback_vtable(sd, NULL, BUS_VPN_PATH, BUS_VPN, vpn_bus_vtable,
                                       vpn_bus_object, end);
    if (r >= 0)
        r = sd_bus_add_node_enumerator(sd, NULL, BUS_VPN_PATH, vpn_bus_enumerate, end);
    if (r >= 0)
        r = sd_bus_add_filter(sd, NULL, on_message, end);
    if (r >= 0)
        r = sd_bus_match_signal(sd, NULL, "org.freedesktop.DBus.Local", NULL,
                                "org.freedesktop.DBus.Local", "Disconnected", on_disconnected, end);
    if (r >= 0)
        r = sd_bus_attach_event(sd, end->bus->m->event, SD_EVENT_PRIORITY_NORMAL);
    return MIN(r, 0);
}

static int add_end(struct bus *bus, struct bus_end *end)
{
    int r = offer(end);

    if (r == 0)
        r = ARRAY_PUSH(bus->ends, bus->n_ends, bus->cap_ends, end);
    if (r < 0)
        end_free(end);
    return r;
}

static struct bus_end *end_new(struct bus *bus)
{
    struct bus_end *end = calloc(1, sizeof(*end));

    if (end && sd_bus_new(&end->sd) < 0) {
        free(end);
        return NULL;
    }
    if (end)
        end->bus = bus;
    return end;
}

/* Unprivileged users cannot take all the places, neither one of them nor many together. */
static bool has_room(const struct bus *bus, const struct bus_end *new)
{
    size_t same = 0;

    if (new->privileged)
        return bus->n_ends < PEERS_MAX;
    for (size_t i = 0; i < bus->n_ends; i++)
        same += !bus->ends[i]->system && bus->ends[i]->cred.uid == new->cred.uid;
    return bus->n_ends < PEERS_MAX - PEERS_RESERVED && same < PEERS_PER_UID_MAX;
}

/* Begins to talk to a peer. The fd belongs to the end already. */
static int start_peer(struct bus_end *end, int fd)
{
    const int size = SEND_BUFFER;
    sd_id128_t id;
    int r = sd_id128_randomize(&id);

    if (r >= 0)
        r = sd_bus_set_server(end->sd, true, id);
    if (r >= 0)
        r = sd_bus_set_anonymous(end->sd, true);
    /* to send some; no method takes any, and the intake lets none come in */
    if (r >= 0)
        r = sd_bus_negotiate_fds(end->sd, true);
    if (r >= 0)
        r = sd_bus_start(end->sd);
    if (r >= 0 && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size)) < 0)
        r = -errno;
    return r;
}

static int set_fds(struct bus_end *end, int fd)
{
    int in, r = bus_intake_new(end, &end->intake, &in);

    if (r < 0)
        return r;
    r = sd_bus_set_fd(end->sd, in, fd);
    if (r < 0)
        (void)close(in);
    return r;
}

/* 1: the fd has been taken over, even if the end did not come about. */
static int accept_peer(struct bus *bus, int fd)
{
    socklen_t size = sizeof(struct ucred);
    struct bus_end *end = end_new(bus);
    int r;

    if (!end)
        return -ENOMEM;
    end->fd = fd;
    r = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &end->cred, &size) < 0 ? -errno : 0;
    if (r == 0) {
        bus_auth_meet(end);
        r = has_room(bus, end) ? set_fds(end, fd) : -EBUSY;
    }
    if (r < 0) {
        end_free(end);
        return r;
    }
    if (start_peer(end, fd) < 0)
        end_free(end);
    else
        (void)add_end(bus, end);
    return 1;
}

static void close_strange(int fd)
{
    linger_begin();
    (void)close(fd);
    linger_end();
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct bus *bus = userdata;

    (void)source;
    (void)revents;
    for (int i = 0; i < ACCEPT_PER_TURN; i++) {
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (peer < 0)
            break;
        if (accept_peer(bus, peer) < 0)
            close_strange(peer);
    }
    return 0;
}

/*
 * A client may send its first call together with the end of the authentication. sd-bus (252) reads
 * both at once, but looks at the call only when more arrives: so a connection that has just become
 * ready is processed once by hand.
 */
static int on_post(sd_event_source *source, void *userdata)
{
    struct bus *bus = userdata;

    (void)source;
    for (size_t i = 0; i < bus->n_ends; i++) {
        struct bus_end *end = bus->ends[i];

        if (end->settled || sd_bus_is_ready(end->sd) <= 0)
            continue;
        end->settled = true;
        for (int n = 0; n < PROCESS_AT_START && sd_bus_process(end->sd, NULL) > 0; n++)
            ;
    }
    free_doomed(bus);
    return 0;
}

static void drop_all(struct bus *bus)
{
    while (bus->n_ends > 0)
        end_free(bus->ends[--bus->n_ends]);
    bus->system = NULL;
}

/* Before sd-bus's own exit handler, which waits for every connection, also for silent ones. */
static int on_exit_loop(sd_event_source *source, void *userdata)
{
    (void)source;
    bus_tell_now(userdata);
    drop_all(userdata);
    return 0;
}

static int listen_for_peers(struct bus *bus)
{
    struct sockaddr_un addr = { .sun_family = AF_UNIX };
    int fd, r;

    if ((size_t)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/bus",
                         bus->m->options.runtime_dir) >= sizeof(addr.sun_path))
        return log_error_errno(-ENAMETOOLONG, "the path of the runtime folder is too long");
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return log_error_errno(-errno, "cannot make a socket");
    bus->listen_fd = fd;
    /* here, so that it holds from the first byte on */
    if (setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &(int){ 1 }, sizeof(int)) < 0)
        return log_error_errno(-errno, "cannot have a socket tell who writes");
    (void)unlink(addr.sun_path);
    if (bind(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0 || chmod(addr.sun_path, 0666) < 0 ||
        listen(fd, 128) < 0)
        return log_error_errno(-errno, "cannot listen on %s", addr.sun_path);
    r = sd_event_add_post(bus->m->event, &bus->post_source, on_post, bus);
    if (r >= 0) /* next: what is doomed costs memory, and who waits for it to go should not wait */
        r = sd_event_source_set_priority(bus->post_source, SD_EVENT_PRIORITY_IMPORTANT);
    if (r >= 0)
        r = sd_event_add_io(bus->m->event, &bus->listen_source, fd, EPOLLIN, on_connect, bus);
    if (r >= 0)
        r = sd_event_source_set_ratelimit(bus->listen_source, 100 * USEC_PER_MSEC,
                                          ACCEPTS_PER_100_MS);
    return r < 0 ? log_error_errno(r, "cannot watch a socket") : 0;
}

static int on_name(sd_bus_message *msg, void *userdata, sd_bus_error *error)
{
    enum { PRIMARY_OWNER = 1 }; /* as in the D-Bus specification */
    uint32_t answer = 0;

    (void)userdata;
    (void)error;
    if (sd_bus_message_is_method_error(msg, NULL))
        log_notice("the system bus does not give us the name " BUS_NAME ": %s",
                   sd_bus_message_get_error(msg)->message);
    else if (sd_bus_message_read(msg, "u", &answer) < 0 || answer != PRIMARY_OWNER)
        log_notice("another program has the name " BUS_NAME " on the system bus: it will be ours "
                   "when that one gives it up");
    return 0;
}

/*
 * sd_bus_open_system(), but that no descriptors are agreed upon: no method takes any, and the broker then
 * refuses messages that have some, which anybody could leave to us to close (linger.h).
 */
static int open_system(sd_bus **ret)
{
    const char *address = secure_getenv("DBUS_SYSTEM_BUS_ADDRESS");
    sd_bus *sd = NULL;
    int r = sd_bus_new(&sd);

    if (r >= 0)
        r = sd_bus_set_address(sd, address ? address : "unix:path=/run/dbus/system_bus_socket");
    if (r >= 0)
        r = sd_bus_set_bus_client(sd, true);
    if (r >= 0)
        r = sd_bus_negotiate_fds(sd, false);
    if (r >= 0)
        r = sd_bus_start(sd);
    if (r < 0) {
        sd_bus_unref(sd);
        return r;
    }
    *ret = sd;
    return 0;
}

/* Never fatal: whoever has no broker has the peers' socket. */
static int connect_system(struct bus *bus)
{
    struct bus_end *end = calloc(1, sizeof(*end));
    int r;

    if (!end)
        return 0;
    end->bus = bus;
    end->system = true;
    r = open_system(&end->sd);
    if (r < 0) {
        log_debug("no system bus (yet): %s", strerror(-r));
        free(end);
        retry_system_later(bus);
        return 0;
    }
    if (add_end(bus, end) < 0) {
        retry_system_later(bus);
        return 0;
    }
    bus->system = end;
    r = sd_bus_request_name_async(end->sd, NULL, BUS_NAME, SD_BUS_NAME_QUEUE, on_name, bus);
    if (r < 0)
        log_warning_errno(r, "cannot ask the system bus for the name " BUS_NAME);
    return 0;
}

/* Peers that let their messages pile up are dropped before they cost us memory. */
static void drop_slow_peers(struct bus *bus)
{
    for (size_t i = 0; i < bus->n_ends; i++) {
        struct bus_end *end = bus->ends[i];
        uint64_t queued = 0;

        if (!end->system && !end->doomed && sd_bus_get_n_queued_write(end->sd, &queued) >= 0 &&
            queued > QUEUE_MAX)
            doom(end);
    }
}

void bus_tell(struct bus *bus, const char *kind, const char *text)
{
    bus_tell_events(bus); /* what happened before is told before */
    for (size_t i = 0; i < bus->n_ends; i++)
        (void)sd_bus_emit_signal(bus->ends[i]->sd, BUS_PATH, BUS_MANAGER, "Event", "ss", kind,
                                 text);
    drop_slow_peers(bus);
}

int bus_new(struct manager *m, struct bus **ret)
{
    struct bus *bus = calloc(1, sizeof(*bus));
    int r;

    if (!bus)
        return log_oom();
    bus->m = m;
    bus->listen_fd = -1;
    bus_auth_look_up_group(bus);
    r = linger_prepare();
    if (r >= 0)
        r = verifier_new(m, &bus->verifier);
    if (r >= 0)
        r = sd_event_add_exit(m->event, &bus->exit_source, on_exit_loop, bus);
    if (r >= 0)
        r = sd_event_source_set_priority(bus->exit_source, SD_EVENT_PRIORITY_IMPORTANT);
    if (r >= 0)
        r = bus_telling_start(bus);
    if (r >= 0)
        r = listen_for_peers(bus);
    if (r < 0) {
        bus_free(bus);
        return r;
    }
    (void)connect_system(bus);
    bus_tell_commit(bus, m->model, m->model); /* learns the states of the networks */
    vpn_service_on_revoked(m->vpn_service, vpn_bus_tell_revoked, bus);
    manager_listen(m, &(struct listener){
                          .data = bus,
                          .commit = bus_tell_commit,
                          .event = bus_tell_event,
                          .notice = bus_tell_notice,
                      });
    *ret = bus;
    return 0;
}

void bus_free(struct bus *bus)
{
    char path[512];

    if (!bus)
        return;
    drop_all(bus);
    if (bus->listen_fd >= 0) {
        close_strange(bus->listen_fd);
        if (snprintf(path, sizeof(path), "%s/bus", bus->m->options.runtime_dir) > 0)
            (void)unlink(path);
    }
    verifier_free(bus->verifier);
    sd_event_source_unref(bus->listen_source);
    sd_event_source_unref(bus->post_source);
    sd_event_source_unref(bus->exit_source);
    sd_event_source_unref(bus->system_retry);
    sd_event_source_unref(bus->telling);
    model_free(bus->before);
    free(bus->events);
    free(bus->ends);
    free(bus->told);
    free(bus->told_vpns);
    free(bus);
}
