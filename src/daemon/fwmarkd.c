/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fwmarkd.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/linger.h"
#include "basic/log.h"
#include "daemon/backend.h"
#include "daemon/fwmarkd-answer.h"
#include "daemon/fwmarkd-hands.h"
#include "daemon/vpn-service.h"
#include "decide/app.h"
#include "observe/selectors.h"

enum {
    PLACES_MAX = 512,
    PLACES_PER_UID = 64,
    BATCH_MAX = 64,      /* connections per turn of the loop… */
    TURN_USEC = 2000,    /* …and how long a turn may take */
    BACKLOG = 1024,      /* who comes then waits in connect() */
    PATIENCE_SEC = 2,    /* for a request */
    PAUSE_USEC = 100000, /* when no file can be opened any more */
};

/* Who is connected and has sent nothing yet. */
struct place {
    int fd;
    uint32_t uid;
    usec_t deadline;
    TAILQ_ENTRY(place) entry;
};

TAILQ_HEAD(place_list, place);

struct fwmarkd {
    struct manager *m;
    struct sockaddr_un addr;
    int fd;
    int epoll; /* all places */
    sd_event_source *listening, *waiting, *found, *timer;
    usec_t timer_at; /* USEC_INFINITY = it is off */

    struct fwmarkd_hands *hands;
    struct socket_facts facts;
    bool linger_limited;  /* a timer of ours runs */
    bool facts_stale;     /* the model is another one… */
    uint64_t generation;  /* …or what the kernel has is */
    struct app_exe *exes; /* what exe: selectors mean, by facts.assignments… */
    size_t n_exes, cap_exes;
    bool exes_stale; /* …which nobody has asked for yet */

    struct place places[PLACES_MAX];
    struct place_list taken; /* the oldest first: they have the same time to live */
    struct place_list empty;
    struct ratelimit complaints;
};

/* Clients must not be able to fill the log. */
static void complain(struct fwmarkd *f, int error, const char *text)
{
    if (ratelimit_take(&f->complaints, clock_monotonic()))
        log_notice("fwmarkd: %s: %s", text, strerror(-error));
}

static void set_timer(struct fwmarkd *f, usec_t when)
{
    if (f->timer_at <= when)
        return;
    f->timer_at = when;
    if (sd_event_source_set_time(f->timer, when) < 0 ||
        sd_event_source_set_enabled(f->timer, SD_EVENT_ONESHOT) < 0)
        complain(f, -EIO, "cannot set the timer");
}

/* On before the first close() of a turn, off at its end. */
static void set_linger_limit(struct fwmarkd *f, bool on)
{
    if (f->linger_limited == on)
        return;
    f->linger_limited = on;
    if (on)
        linger_begin();
    else
        linger_end();
}

/* Requests. */

/* Who had connected; pid 0: nobody knows. */
static struct ucred cred_of(int client)
{
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (getsockopt(client, SOL_SOCKET, SO_PEERCRED, &cred, &size) < 0)
        cred = (struct ucred){ .uid = UID_INVALID };
    return cred;
}

/*
 * Ends a connection. The answer fits into the socket, for nothing was sent before; who is gone does
 * not want it. With the connection goes what we have not read, and sockets in it.
 */
static void finish(struct fwmarkd *f, int client, int32_t answer)
{
    set_linger_limit(f, true);
    (void)send(client, &answer, sizeof(answer), MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)close(client);
}

static int refresh(struct fwmarkd *f)
{
    int r;

    if (!f->facts_stale && f->generation == f->m->generation)
        return 0;
    f->facts_stale = true;
    r = socket_facts_update(&f->facts, f->m->model, &f->m->kernel);
    if (r < 0)
        return r;
    f->generation = f->m->generation;
    f->facts_stale = false;
    f->exes_stale = true;
    return 0;
}

/*
 * The selectors' own list is of the last plan, which may have failed, and goes with the next one: a
 * copy, then, and of the model's assignments.
 */
static int refresh_exes(struct fwmarkd *f)
{
    const struct plan_app *apps;
    const struct app_exe *exes = NULL;
    size_t n = 0;
    int r;

    if (!f->exes_stale)
        return 0;
    r = backend_apps(f->m, f->m->model, &apps, &n);
    n = 0;
    if (r == 0 && f->m->selectors)
        r = selectors_exes(f->m->selectors, &exes, &n);
    if (r == 0)
        r = ARRAY_RESERVE(f->exes, f->cap_exes, n + 1); /* NULL would be another question */
    if (r < 0)
        return r;
    if (n > 0)
        memcpy(f->exes, exes, n * sizeof(*exes));
    f->n_exes = n;
    f->exes_stale = false;
    return 0;
}

/* Which assignment holds for this process. */
static int identify(struct fwmarkd *f, const struct peer *peer, struct fwmarkd_client *ret)
{
    struct app app = {
        .uid = UID_INVALID,
        .cgroup = peer->cgroup,
        .exe_dev = peer->exe.dev,
        .exe_ino = peer->exe.ino,
        .exe_place = peer->exe_place,
    };
    struct app_verdict verdict = { 0 };
    int r = refresh(f);

    if (r == 0 && peer->known)
        r = refresh_exes(f);
    if (r == 0 && peer->known)
        r = app_decide_process(f->facts.assignments, f->exes, f->n_exes, &app, &verdict);
    if (r < 0)
        return r;
    ret->known = peer->known;
    ret->process = verdict.assignment;
    return 0;
}

/*
 * Gives the answer, or has it given; ends the connection. `peer` is what is known of the process; its
 * cgroup is the caller's.
 */
static void reply(struct fwmarkd *f, int connection, uint32_t uid, const struct peer *peer,
                  struct fwmarkd_message *message)
{
    struct fwmarkd_client client = {
        .uid = uid,
        .is_vpn =
            vpn_service_may_protect(f->m->vpn_service, (uint32_t)cred_of(connection).pid, uid),
    };
    struct fwmarkd_verdict verdict = { .answer = identify(f, peer, &client) };

    if (verdict.answer == 0)
        verdict = fwmarkd_judge(&f->facts, &client, message);
    if (verdict.write || verdict.unknown) {
        struct fwmarkd_job job = {
            .task = verdict.write ? HAND_WRITE : HAND_LOOK,
            .client = connection,
            .uid = uid,
            .message = *message,
            .mark = verdict.mark,
            .wanted = verdict.unknown | peer->known,
        };

        verdict.answer = fwmarkd_hands_take(f->hands, &job);
        if (verdict.answer == 0)
            return;
    }
    set_linger_limit(f, true);
    fwmarkd_message_done(message);
    finish(f, connection, verdict.answer);
}

/* Whom nobody knows might be held: he gets nothing. */
static void refuse(struct fwmarkd *f, struct fwmarkd_found *found)
{
    if (found->error == -EACCES)
        complain(f, found->error,
                 "cannot see what programs clients are, which takes "
                 "CAP_SYS_PTRACE; they are refused");
    set_linger_limit(f, true);
    fwmarkd_message_done(&found->job.message);
    finish(f, found->job.client,
           found->error == -ESRCH || found->error == -EACCES ? -EREMOTEIO : found->error);
}

/* Clients whose process is known now. */
static int on_found(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct fwmarkd *f = userdata;
    usec_t end = clock_monotonic() + TURN_USEC;
    struct fwmarkd_found found;

    (void)source;
    (void)fd;
    (void)revents;
    while (clock_monotonic() < end && fwmarkd_hands_next(f->hands, &found)) {
        if (found.error < 0)
            refuse(f, &found);
        else
            reply(f, found.job.client, found.job.uid, &found.peer, &found.job.message);
        peer_done(&found.peer);
    }
    set_linger_limit(f, false);
    return 0;
}

/* True when the request was there: the connection is somebody else's now, or closed. */
static bool serve(struct fwmarkd *f, int client, uint32_t uid)
{
    const struct peer nobody = { 0 };
    struct fwmarkd_message message;
    int r = fwmarkd_receive(client, &message);

    if (r == -EAGAIN)
        return false;
    if (r == 0)
        reply(f, client, uid, &nobody, &message);
    else
        finish(f, client, r);
    return true;
}

/* Places. */

/*
 * Its connection is the caller's. A child that has been forked, for `verify`, may still have the
 * descriptor: closing that would not be enough to take it out of the epoll instance.
 */
static int place_empty(struct fwmarkd *f, struct place *p)
{
    (void)epoll_ctl(f->epoll, EPOLL_CTL_DEL, p->fd, NULL);
    TAILQ_REMOVE(&f->taken, p, entry);
    TAILQ_INSERT_HEAD(&f->empty, p, entry);
    return TAKE_FD(p->fd);
}

static void place_end(struct fwmarkd *f, struct place *p, int32_t answer)
{
    finish(f, place_empty(f, p), answer);
}

/* The oldest of this user, if he has all the places that he may have. */
static struct place *find_surplus(const struct fwmarkd *f, uint32_t uid)
{
    struct place *p = NULL, *oldest = NULL; /* (cppcheck does not know TAILQ_FOREACH) */
    size_t n = 0;

    TAILQ_FOREACH(p, &f->taken, entry)
    {
        if (p->uid != uid)
            continue;
        if (n++ == 0)
            oldest = p;
    }
    return n < PLACES_PER_UID ? NULL : oldest;
}

static struct place *find_place(struct fwmarkd *f, uint32_t uid)
{
    struct place *surplus = find_surplus(f, uid);

    if (!surplus && TAILQ_EMPTY(&f->empty))
        surplus = TAILQ_FIRST(&f->taken);
    if (surplus)
        place_end(f, surplus, -EBUSY);
    return TAILQ_FIRST(&f->empty);
}

/* Takes the connection over when it succeeds. */
static int place_new(struct fwmarkd *f, int client, uint32_t uid)
{
    struct place *p = find_place(f, uid);
    struct epoll_event event = { .events = EPOLLIN, .data.ptr = p };

    if (epoll_ctl(f->epoll, EPOLL_CTL_ADD, client, &event) < 0)
        return -errno;
    p->fd = client;
    p->uid = uid;
    p->deadline = clock_monotonic() + PATIENCE_SEC * USEC_PER_SEC;
    TAILQ_REMOVE(&f->empty, p, entry);
    TAILQ_INSERT_TAIL(&f->taken, p, entry);
    set_timer(f, p->deadline);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct fwmarkd *f = userdata;
    usec_t now = clock_monotonic();
    struct place *p;

    (void)source;
    (void)usec;
    f->timer_at = USEC_INFINITY;
    while ((p = TAILQ_FIRST(&f->taken)) && p->deadline <= now)
        place_end(f, p, -ETIMEDOUT);
    set_linger_limit(f, false);
    if (p)
        set_timer(f, p->deadline);
    return sd_event_source_set_enabled(f->listening, SD_EVENT_ON);
}

/* Connections. */

static void greet(struct fwmarkd *f, int client, uint32_t uid)
{
    int r;

    if (serve(f, client, uid))
        return;
    r = place_new(f, client, uid);
    if (r < 0)
        finish(f, client, r);
}

/* Somebody who has a place has sent something, or is gone. */
static int on_waiting(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct fwmarkd *f = userdata;
    struct epoll_event events[BATCH_MAX];
    usec_t end = clock_monotonic() + TURN_USEC;
    int n = epoll_wait(fd, events, BATCH_MAX, 0);

    (void)source;
    (void)revents;
    for (int i = 0; i < n && clock_monotonic() < end; i++) {
        struct place *p = events[i].data.ptr;
        uint32_t uid = p->uid;

        if (p->fd >= 0) /* else it had to go for one of those before it */
            greet(f, place_empty(f, p), uid);
    }
    set_linger_limit(f, false);
    return 0;
}

static bool somebody_waits(const struct fwmarkd *f)
{
    struct pollfd listener = { .fd = f->fd, .events = POLLIN };

    return poll(&listener, 1, 0) > 0;
}

/* True when another try may do better. */
static bool accept_failed(struct fwmarkd *f, int error)
{
    struct place *oldest = TAILQ_FIRST(&f->taken);

    if (error == -EAGAIN)
        return false;
    if (error == -EINTR || error == -ECONNABORTED)
        return true;
    /* accept() wants room for a file before it looks whether anybody is there */
    if (!somebody_waits(f))
        return false;
    complain(f, error, "cannot accept a client");
    if (oldest) {
        place_end(f, oldest, -EBUSY);
        return true;
    }
    (void)sd_event_source_set_enabled(f->listening, SD_EVENT_OFF);
    set_timer(f, clock_monotonic() + PAUSE_USEC);
    return false;
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct fwmarkd *f = userdata;
    usec_t end = clock_monotonic() + TURN_USEC;
    bool more = true;

    (void)source;
    (void)revents;
    for (int i = 0; more && i < BATCH_MAX && clock_monotonic() < end; i++) {
        int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

        if (client >= 0)
            greet(f, client, cred_of(client).uid);
        else
            more = accept_failed(f, -errno);
    }
    set_linger_limit(f, false);
    return 0;
}

static void on_commit(void *data, const struct model *old, const struct model *new)
{
    struct fwmarkd *f = data;

    (void)old;
    (void)new;
    f->facts_stale = true;
}

/* The socket. */

static int listen_for_clients(struct fwmarkd *f)
{
    int r;

    f->addr.sun_family = AF_UNIX;
    if ((size_t)snprintf(f->addr.sun_path, sizeof(f->addr.sun_path), "%s/fwmarkd",
                         f->m->options.runtime_dir) >= sizeof(f->addr.sun_path)) {
        f->addr.sun_path[0] = '\0';
        return log_error_errno(-ENAMETOOLONG, "the path of the runtime folder is too long");
    }
    f->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (f->fd < 0)
        return log_error_errno(-errno, "cannot make a socket");
    (void)unlink(f->addr.sun_path);
    if (bind(f->fd, (struct sockaddr *)&f->addr, sizeof(f->addr)) < 0 ||
        chmod(f->addr.sun_path, 0666) < 0 || listen(f->fd, BACKLOG) < 0) {
        r = -errno;
        return log_error_errno(r, "cannot listen on %s", f->addr.sun_path);
    }
    return 0;
}

static int watch(struct fwmarkd *f)
{
    sd_event *event = f->m->event;
    int r = linger_prepare();

    f->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r == 0 && f->epoll < 0)
        r = -errno;
    if (r >= 0)
        r = sd_event_add_time(event, &f->timer, CLOCK_MONOTONIC, 0, 0, on_timer, f);
    if (r >= 0)
        r = sd_event_source_set_enabled(f->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(event, &f->waiting, f->epoll, EPOLLIN, on_waiting, f);
    if (r >= 0)
        r = sd_event_add_io(event, &f->found, fwmarkd_hands_fd(f->hands), EPOLLIN, on_found, f);
    if (r >= 0)
        r = sd_event_add_io(event, &f->listening, f->fd, EPOLLIN, on_connect, f);
    return r < 0 ? log_error_errno(r, "cannot watch %s", f->addr.sun_path) : 0;
}

int fwmarkd_new(struct manager *m, struct fwmarkd **ret)
{
    struct fwmarkd *f = calloc(1, sizeof(*f));
    int r;

    if (!f)
        return log_oom();
    f->m = m;
    f->fd = f->epoll = -1;
    f->timer_at = USEC_INFINITY;
    f->facts_stale = true;
    f->complaints = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 5 };
    TAILQ_INIT(&f->taken);
    TAILQ_INIT(&f->empty);
    for (size_t i = 0; i < PLACES_MAX; i++) {
        f->places[i].fd = -1;
        TAILQ_INSERT_TAIL(&f->empty, &f->places[i], entry);
    }
    r = fwmarkd_hands_new(&f->hands);
    if (r < 0)
        (void)log_error_errno(r, "cannot make a thread");
    if (r == 0)
        r = listen_for_clients(f);
    if (r == 0)
        r = watch(f);
    if (r < 0) {
        fwmarkd_free(f);
        return r;
    }
    manager_listen(m, &(struct listener){ .data = f, .commit = on_commit });
    *ret = f;
    return 0;
}

void fwmarkd_free(struct fwmarkd *f)
{
    struct place *p;

    if (!f)
        return;
    set_linger_limit(f, true);
    while ((p = TAILQ_FIRST(&f->taken)))
        (void)close(place_empty(f, p));
    sd_event_source_disable_unref(f->found);
    fwmarkd_hands_free(f->hands);
    sd_event_source_disable_unref(f->listening);
    sd_event_source_disable_unref(f->waiting);
    sd_event_source_disable_unref(f->timer);
    if (f->epoll >= 0)
        (void)close(f->epoll);
    if (f->fd >= 0)
        (void)close(f->fd);
    set_linger_limit(f, false);
    if (f->addr.sun_path[0])
        (void)unlink(f->addr.sun_path);
    socket_facts_done(&f->facts);
    free(f->exes);
    free(f);
}
