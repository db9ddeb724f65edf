/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/server.h"

#include <errno.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "basic/linger.h"
#include "basic/log.h"
#include "keystore/crowd.h"
#include "keystore/request.h"

enum {
    BATCH_MAX = 64,       /* connections per turn of the loop… */
    TURN_USEC = 2000,     /* …and how long a turn may take */
    TIMER_USEC = 10000,   /* later than asked for, at most */
    PAUSE_USEC = 100000,  /* when no file can be opened any more */
    FILES_RESERVED = 64,  /* for the store, the loop, the log */
    CONNECTIONS_MIN = 16, /* fewer descriptors are of no use */
    RUNNING_MAX = 16,     /* requests of one user that the store has… */
    RUNNING_ALL_MAX = 64, /* …and of all: 4 MiB of its memory, and who comes waits for no more */
    GUESSES_MAX = 8,      /* passwords of one user that wait or are looked at */
    BYTES_MAX = 64 << 20, /* of requests and answers that are kept */
};

struct server {
    struct service service;
    usec_t timeout;
    int fd, epoll;
    sd_event *event;
    sd_event_source *listening, *watched, *timer, *turns;
    usec_t timer_at;                    /* USEC_INFINITY = it is off */
    struct connection_list by_deadline; /* those that read or write; the same time for each */
    struct connection_list guesses;     /* passwords that wait, of all users */
    struct user_list ready;             /* who may have something that waits for the store */
    struct crowd crowd;
    size_t max;               /* connections */
    size_t running, guessing; /* by the store, now */
    size_t to_sweep;
    enum keystore_answer state; /* at the end of the last turn */
    bool stopping;
    struct ratelimit complaints;
};

/* Clients must not be able to fill the log with what is not a request's line. */
static void complain(struct server *s, int error, const char *text)
{
    if (ratelimit_take(&s->complaints, clock_monotonic()))
        log_notice("%s: %s", text, strerror(-error));
}

static void set_timer(struct server *s, usec_t when)
{
    if (s->timer_at <= when || !s->timer)
        return;
    s->timer_at = when;
    if (sd_event_source_set_time(s->timer, when) < 0 ||
        sd_event_source_set_enabled(s->timer, SD_EVENT_ONESHOT) < 0)
        complain(s, -EIO, "cannot set the timer");
}

/* Turns of what writes. */

static bool has_room(const struct server *s, const struct user *u)
{
    return u->running < RUNNING_MAX && s->running < RUNNING_ALL_MAX;
}

static void call_turns(struct server *s)
{
    if (!s->stopping && sd_event_source_set_enabled(s->turns, SD_EVENT_ONESHOT) < 0)
        complain(s, -EIO, "cannot have what waits done");
}

/* He has something that waits, perhaps. */
static void make_ready(struct server *s, struct user *u)
{
    if (!u || u->ready || TAILQ_EMPTY(&u->waiting))
        return;
    u->ready = true;
    TAILQ_INSERT_TAIL(&s->ready, u, turn);
    call_turns(s);
}

static void make_unready(struct server *s, struct user *u)
{
    if (u->ready)
        TAILQ_REMOVE(&s->ready, u, turn);
    u->ready = false;
}

static enum connection_turn turn_of(struct connection *c)
{
    struct server *s = c->service->server;
    enum request_kind kind = request_kind(c->request.action);

    if (kind == REQUEST_GUESSES && c->user->guesses < GUESSES_MAX)
        return CONNECTION_LATER;
    if (kind == REQUEST_GUESSES) {
        complain(s, -EBUSY, "too many passwords wait to be looked at");
        return CONNECTION_NEVER;
    }
    if (kind != REQUEST_WRITES || (has_room(s, c->user) && TAILQ_EMPTY(&c->user->waiting)))
        return CONNECTION_NOW;
    return CONNECTION_LATER;
}

/* Stages. */

static bool has_deadline(enum connection_next stage)
{
    return stage == CONNECTION_READS || stage == CONNECTION_WRITES;
}

static int watch(struct server *s, struct connection *c, uint32_t events)
{
    struct epoll_event event = { .events = events, .data.ptr = c };
    int op = events == 0 ? EPOLL_CTL_DEL : c->events == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;

    if (events == c->events)
        return 0;
    if (epoll_ctl(s->epoll, op, c->fd, &event) < 0)
        return -errno;
    c->events = events;
    return 0;
}

static bool guesses(const struct connection *c)
{
    return request_kind(c->request.action) == REQUEST_GUESSES;
}

/* +1 or -1 of those that wait or run: as has to be counted of its kind. */
static void count(struct server *s, struct connection *c, enum connection_next stage, size_t n)
{
    enum request_kind kind = request_kind(c->request.action);

    if (kind == REQUEST_GUESSES)
        c->user->guesses += n;
    if (stage != CONNECTION_RUNS)
        return;
    if (kind == REQUEST_GUESSES)
        s->guessing += n;
    if (kind == REQUEST_WRITES) {
        c->user->running += n;
        s->running += n;
    }
}

/* Takes it off the lists on which its stage has put it. */
static void leave_stage(struct server *s, struct connection *c)
{
    enum connection_next stage = c->stage;

    if (has_deadline(stage))
        TAILQ_REMOVE(&s->by_deadline, c, queued);
    if (stage == CONNECTION_WAITS)
        TAILQ_REMOVE(guesses(c) ? &s->guesses : &c->user->waiting, c, queued);
    if (stage == CONNECTION_WAITS || stage == CONNECTION_RUNS)
        count(s, c, stage, (size_t)-1);
    if (stage != CONNECTION_RUNS && stage != CONNECTION_ENDS) {
        crowd_keeps(&s->crowd, c, 0);
        crowd_busy(&s->crowd, c);
    }
    c->stage = CONNECTION_ENDS;
}

static void enter_stage(struct server *s, struct connection *c, enum connection_next stage)
{
    c->stage = stage;
    if (has_deadline(stage)) {
        c->deadline = clock_monotonic() + s->timeout;
        TAILQ_INSERT_TAIL(&s->by_deadline, c, queued);
        set_timer(s, c->deadline);
    }
    if (stage == CONNECTION_WAITS || stage == CONNECTION_RUNS)
        count(s, c, stage, 1);
    if (stage != CONNECTION_RUNS)
        crowd_idle(&s->crowd, c);
    if (stage != CONNECTION_WAITS)
        return;
    TAILQ_INSERT_TAIL(guesses(c) ? &s->guesses : &c->user->waiting, c, queued);
    make_ready(s, c->user);
    if (guesses(c))
        call_turns(s);
}

/* It is over. Frees the user, too, who has no other. */
static void drop(struct server *s, struct connection *c)
{
    leave_stage(s, c);
    if (c->user->n == 1)
        make_unready(s, c->user);
    crowd_leave(&s->crowd, c);
    connection_done(c); /* closed: epoll forgets it */
    free(c);
}

static const uint32_t events_of[] = {
    [CONNECTION_READS] = EPOLLIN, [CONNECTION_WRITES] = EPOLLOUT, [CONNECTION_WAITS] = 0,
    [CONNECTION_RUNS] = 0,        [CONNECTION_ENDS] = 0,
};

/* Goes where the last step leads. To RUNS it always comes: taking it out of the epoll instance cannot fail. */
static void settle(struct server *s, struct connection *c, enum connection_next next)
{
    if (next == CONNECTION_ENDS || watch(s, c, events_of[next]) < 0) {
        drop(s, c);
        return;
    }
    if (next != c->stage) {
        leave_stage(s, c);
        enter_stage(s, c, next);
    } else if (c->stage != CONNECTION_RUNS) {
        crowd_used(c);
    }
    if (c->stage != CONNECTION_RUNS)
        crowd_keeps(&s->crowd, c, c->bytes.size);
}

/* Too many. */

static bool make_room(struct server *s, enum crowd_measure measure)
{
    struct connection *victim = crowd_victim(&s->crowd, measure);

    if (!victim)
        return false;
    if (!victim->answered)
        (void)connection_answer(victim, KEYSTORE_SYSTEM_ERROR);
    drop(s, victim);
    return true;
}

/*
 * After the store was closed. Nobody is to find a secret in memory then, so what waits for more bytes, or for
 * its turn, is looked through: as much as a turn may take, the oldest first, and no more than there were.
 */
static void sweep(struct server *s, usec_t end)
{
    struct connection *c;

    for (int i = 0; i < BATCH_MAX && s->to_sweep > 0 && (c = TAILQ_FIRST(&s->crowd.held)) &&
                    clock_monotonic() < end;
         i++) {
        enum connection_next next = connection_store_closed(c);

        s->to_sweep--;
        TAILQ_REMOVE(&s->crowd.held, c, held);
        TAILQ_INSERT_TAIL(&s->crowd.held, c, held);
        if (next != c->stage || c->answered)
            settle(s, c, next);
    }
    if (TAILQ_EMPTY(&s->crowd.held))
        s->to_sweep = 0;
    if (s->to_sweep > 0)
        call_turns(s);
}

static void look_at_state(struct server *s, usec_t end)
{
    enum keystore_answer state = store_state(s->service.store);

    if (state > s->state) { /* locked; or wiped, which is 3 */
        s->to_sweep = s->crowd.n_held;
        sweep(s, end);
    }
    s->state = state;
}

/* A step must not free other connections than its own: that is for here. */
static void end_turn(struct server *s, usec_t end)
{
    look_at_state(s, end);
    while (s->crowd.bytes > BYTES_MAX && make_room(s, CROWD_BYTES))
        ;
    linger_end();
    secret_wipe_stack(); /* signals have saved registers there, and these what was copied last */
}

/* Turns. */

static void on_done(void *data, enum keystore_answer answer)
{
    struct connection *c = data;
    struct server *s = c->service->server;
    uid_t uid = c->uid;

    linger_begin();
    settle(s, c, connection_answer(c, answer));
    make_ready(s, crowd_find(&s->crowd, uid));
    if (!TAILQ_EMPTY(&s->ready) || !TAILQ_EMPTY(&s->guesses))
        call_turns(s);
    end_turn(s, clock_monotonic() + TURN_USEC);
}

/*
 * The passwords that wait for one that is looked at, and for the delay after it. Whoever has gone meanwhile
 * has not asked: else a program that is killed while it waits would have used up a try.
 */
static void run_guess(struct server *s)
{
    struct connection *c = TAILQ_FIRST(&s->guesses);
    usec_t when = store_password_wait(s->service.store);

    if (!c || s->guessing > 0)
        return;
    if (connection_is_abandoned(c)) {
        drop(s, c);
    } else if (when > clock_monotonic()) {
        set_timer(s, when);
        return;
    } else {
        settle(s, c, connection_run(c));
    }
    if (s->guessing == 0 && !TAILQ_EMPTY(&s->guesses))
        call_turns(s);
}

/* One of each user's, in turn. False: the store has enough, or nobody waits. */
static bool run_one(struct server *s)
{
    struct user *u = TAILQ_FIRST(&s->ready);
    struct connection *c;
    uid_t uid;

    if (!u || s->running >= RUNNING_ALL_MAX)
        return false;
    uid = u->uid;
    make_unready(s, u);
    c = TAILQ_FIRST(&u->waiting);
    if (!c || u->running >= RUNNING_MAX)
        return true; /* made ready by the next of his that is done */
    settle(s, c, connection_run(c));
    make_ready(s, crowd_find(&s->crowd, uid));
    return true;
}

static int on_turns(sd_event_source *source, void *userdata)
{
    struct server *s = userdata;
    usec_t end = clock_monotonic() + TURN_USEC;

    (void)source;
    linger_begin();
    sweep(s, end);
    run_guess(s);
    for (int i = 0; i < BATCH_MAX && clock_monotonic() < end; i++)
        if (!run_one(s))
            break;
    if (!TAILQ_EMPTY(&s->ready) && s->running < RUNNING_ALL_MAX)
        call_turns(s);
    end_turn(s, end);
    return 0;
}

/* Somebody has sent something, has read, or is gone. */
static int on_watched(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct server *s = userdata;
    struct epoll_event events[BATCH_MAX];
    usec_t end = clock_monotonic() + TURN_USEC;
    int n = epoll_wait(fd, events, BATCH_MAX, 0);

    (void)source;
    (void)revents;
    linger_begin();
    for (int i = 0; i < n && clock_monotonic() < end; i++) {
        struct connection *c = events[i].data.ptr;

        settle(s, c, c->stage == CONNECTION_WRITES ? connection_write(c) : connection_read(c));
    }
    end_turn(s, end);
    return 0;
}

static int on_timer(sd_event_source *source, uint64_t usec, void *userdata)
{
    struct server *s = userdata;
    usec_t now = clock_monotonic(), end = now + TURN_USEC;
    struct connection *c;

    (void)source;
    (void)usec;
    s->timer_at = USEC_INFINITY;
    linger_begin();
    while ((c = TAILQ_FIRST(&s->by_deadline)) && c->deadline <= now && clock_monotonic() < end) {
        if (!c->answered)
            (void)connection_answer(c, KEYSTORE_PROTOCOL_ERROR);
        drop(s, c);
    }
    end_turn(s, end);
    c = TAILQ_FIRST(&s->by_deadline); /* may have gone, at the turn's end */
    if (c)
        set_timer(s, c->deadline);
    if (!TAILQ_EMPTY(&s->guesses))
        call_turns(s);
    return sd_event_source_set_enabled(s->listening, SD_EVENT_ON);
}

static void greet(struct server *s, int fd)
{
    struct connection *c = calloc(1, sizeof(*c));
    struct ucred cred;
    socklen_t size = sizeof(cred);

    if (c && getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &size) == 0)
        *c = (struct connection){
            .service = &s->service,
            .fd = fd,
            .uid = cred.uid,
            .stage = CONNECTION_ENDS,
        };
    if (!c || !c->service || crowd_join(&s->crowd, c) < 0) {
        (void)close(fd);
        free(c);
        return;
    }
    settle(s, c, connection_read(c));
}

static bool somebody_waits(const struct server *s)
{
    struct pollfd listener = { .fd = s->fd, .events = POLLIN };

    return poll(&listener, 1, 0) > 0;
}

/* True when another try may do better. */
static bool accept_failed(struct server *s, int error)
{
    if (error == -EAGAIN)
        return false;
    if (error == -EINTR || error == -ECONNABORTED)
        return true;
    /* accept() wants room for a file before it looks whether anybody is there */
    if (!somebody_waits(s))
        return false;
    complain(s, error, "cannot accept a client");
    if (make_room(s, CROWD_CONNECTIONS))
        return true;
    (void)sd_event_source_set_enabled(s->listening, SD_EVENT_OFF);
    set_timer(s, clock_monotonic() + PAUSE_USEC);
    return false;
}

static int on_connect(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct server *s = userdata;
    usec_t end = clock_monotonic() + TURN_USEC;
    bool more = true;

    (void)source;
    (void)revents;
    linger_begin();
    for (int i = 0; more && i < BATCH_MAX && clock_monotonic() < end; i++) {
        int client;

        if (s->crowd.n >= s->max && !make_room(s, CROWD_CONNECTIONS))
            more = accept_failed(s, -EMFILE);
        client = more ? accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK) : -1;
        if (client >= 0)
            greet(s, client);
        else if (more)
            more = accept_failed(s, -errno);
    }
    end_turn(s, end);
    return 0;
}

/* Start and end. */

static size_t connections_max(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur < FILES_RESERVED + CONNECTIONS_MIN)
        return CONNECTIONS_MIN;
    return MIN(limit.rlim_cur, (rlim_t)INT32_MAX) - FILES_RESERVED;
}

static int start(struct server *s)
{
    int r = linger_prepare();

    if (r == 0)
        r = secret_new_pages(SERVICE_SCRATCH, &s->service.scratch);
    s->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (r == 0 && s->epoll < 0)
        r = -errno;
    if (r >= 0)
        r = sd_event_add_time(s->event, &s->timer, CLOCK_MONOTONIC, 0, TIMER_USEC, on_timer, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->timer, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_defer(s->event, &s->turns, on_turns, s);
    if (r >= 0)
        r = sd_event_source_set_enabled(s->turns, SD_EVENT_OFF);
    if (r >= 0)
        r = sd_event_add_io(s->event, &s->watched, s->epoll, EPOLLIN, on_watched, s);
    if (r >= 0)
        r = sd_event_add_io(s->event, &s->listening, s->fd, EPOLLIN, on_connect, s);
    return r;
}

int server_new(sd_event *event, struct store *store, int fd, const struct server_settings *settings,
               struct server **ret, struct why *why)
{
    struct server *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return why_set(why, -ENOMEM, "out of memory");
    s->service = (struct service){
        .store = store,
        .policy = settings->policy,
        .done = on_done,
        .turn = turn_of,
        .server = s,
    };
    s->event = event;
    s->timeout = settings->timeout;
    s->fd = fd;
    s->epoll = -1;
    s->max = connections_max();
    s->timer_at = USEC_INFINITY;
    s->complaints = (struct ratelimit){ .interval = USEC_PER_SEC, .burst = 5 };
    s->state = store_state(store);
    TAILQ_INIT(&s->by_deadline);
    TAILQ_INIT(&s->guesses);
    TAILQ_INIT(&s->ready);
    crowd_init(&s->crowd);
    r = start(s);
    if (r < 0) {
        server_free(s);
        return why_set(why, r, "cannot watch the socket: %s", strerror(-r));
    }
    *ret = s;
    return 0;
}

/* Those that run remain. */
static void drop_all(struct server *s)
{
    linger_begin();
    while (make_room(s, CROWD_CONNECTIONS))
        ;
    linger_end();
}

void server_stop(struct server *s)
{
    s->stopping = true;
    s->listening = sd_event_source_disable_unref(s->listening);
    s->watched = sd_event_source_disable_unref(s->watched);
    s->timer = sd_event_source_disable_unref(s->timer);
    s->turns = sd_event_source_disable_unref(s->turns);
    drop_all(s);
}

struct server *server_free(struct server *s)
{
    if (!s)
        return NULL;
    if (!s->stopping)
        server_stop(s);
    drop_all(s);
    if (s->epoll >= 0)
        (void)close(s->epoll);
    secret_done(&s->service.scratch);
    free(s);
    return NULL;
}
