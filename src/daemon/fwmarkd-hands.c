/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/fwmarkd-hands.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>

#include "basic/clock.h"
#include "basic/fd.h"
#include "basic/linger.h"

enum {
    THREADS_MAX = 64,
    THREADS_PER_UID = 2,
    JOBS_MAX = 512,
    JOBS_PER_UID = 128,
    STALLED_USEC = 100000,
    ROOM_USEC = 20000, /* how long the loop waits for room */
    IDLE_SEC = 5,
    LINGER_NSEC = LINGER_USEC * 1000,
    STACK_SIZE = 256 * 1024,
};

struct slot {
    struct fwmarkd_job job;
    bool promised; /* a thread comes for it */
    TAILQ_ENTRY(slot) entry;
};

TAILQ_HEAD(slot_list, slot);

struct found {
    struct fwmarkd_found found;
    STAILQ_ENTRY(found) entry;
};

STAILQ_HEAD(found_list, found);

/* One thread; what it is at. */
struct hand {
    bool there, busy;
    uint32_t uid;
    usec_t since;
};

/*
 * There are always at least as many idle threads as jobs that could be begun. A job could be when its
 * user has a thread to spare; then it was promised one, or a thread of the user has just come back and
 * looks for the next job itself.
 */
struct fwmarkd_hands {
    pthread_mutex_t lock;  /* of everything below */
    pthread_cond_t work;   /* there is a job, or the end */
    pthread_cond_t change; /* a job was begun, or a thread has ended */
    bool ending;
    unsigned refs; /* the threads, and the owner */
    struct hand hands[THREADS_MAX];
    unsigned n_threads, n_idle, n_promised;
    struct slot slots[JOBS_MAX];
    struct slot_list waiting, empty; /* waiting: the oldest first */
    struct found_list found;         /* for the loop, which takes all of it at every turn */
    int found_fd;                    /* an eventfd: there is some */
};

/* What a thread is given. */
struct start {
    struct fwmarkd_hands *h;
    struct hand *hand;
};

static void unlock_and_unref(struct fwmarkd_hands *h)
{
    bool last = --h->refs == 0;

    (void)pthread_mutex_unlock(&h->lock);
    if (!last)
        return;
    (void)pthread_mutex_destroy(&h->lock);
    (void)pthread_cond_destroy(&h->work);
    (void)pthread_cond_destroy(&h->change);
    if (h->found_fd >= 0)
        (void)close(h->found_fd);
    free(h);
}

/* On the monotonic clock, so many microseconds from now. False: they are over. */
static bool wait_until(struct fwmarkd_hands *h, pthread_cond_t *what, usec_t end)
{
    struct timespec ts = {
        .tv_sec = (time_t)(end / USEC_PER_SEC),
        .tv_nsec = (long)(end % USEC_PER_SEC * 1000),
    };

    return pthread_cond_timedwait(what, &h->lock, &ts) == 0;
}

static void close_job(struct fwmarkd_job *job)
{
    fwmarkd_message_done(&job->message);
    (void)close(job->client);
}

static void answer(const struct fwmarkd_job *job, int32_t text)
{
    (void)send(job->client, &text, sizeof(text), MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* A timer that ends this thread's waits, as basic/linger.h tells. Best effort. */
static bool make_linger_limit(timer_t *ret)
{
    struct sigevent event = { .sigev_notify = SIGEV_THREAD_ID, .sigev_signo = SIGALRM };
    sigset_t set;

    event._sigev_un._tid = gettid();
    sigemptyset(&set);
    sigaddset(&set, SIGALRM);
    return timer_create(CLOCK_MONOTONIC, &event, ret) == 0 &&
           pthread_sigmask(SIG_UNBLOCK, &set, NULL) == 0;
}

static void set_linger_limit(const timer_t *timer, bool on)
{
    struct itimerspec limit = { 0 };

    if (on)
        limit.it_value.tv_nsec = limit.it_interval.tv_nsec = LINGER_NSEC;
    if (timer)
        (void)timer_settime(*timer, 0, &limit, NULL);
}

static bool lingers(int fd)
{
    struct linger linger = { 0 };
    socklen_t size = sizeof(linger);

    return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff;
}

/* More than the request: descriptors, perhaps, that go with the connection. */
static bool has_unread(int client)
{
    int n = 0;

    return ioctl(client, FIONREAD, &n) == 0 && n > 0;
}

/* The answer was given. */
static void end_job(struct fwmarkd_job *job, const timer_t *timer)
{
    if (!lingers(job->message.sockets[0]) && !has_unread(job->client)) {
        close_job(job);
        return;
    }
    set_linger_limit(timer, true);
    close_job(job);
    set_linger_limit(timer, false);
}

static void write_mark(struct fwmarkd_job *job, const timer_t *timer)
{
    int r = setsockopt(job->message.sockets[0], SOL_SOCKET, SO_MARK, &job->mark, sizeof(job->mark));

    answer(job, r < 0 ? -errno : 0);
    end_job(job, timer);
}

/* False: nobody is there to take it. */
static bool give_back(struct fwmarkd_hands *h, struct found *f)
{
    const uint64_t one = 1;
    bool first, ending;

    (void)pthread_mutex_lock(&h->lock);
    ending = h->ending;
    first = STAILQ_EMPTY(&h->found);
    if (!ending)
        STAILQ_INSERT_TAIL(&h->found, f, entry);
    (void)pthread_mutex_unlock(&h->lock);
    if (first && !ending)
        (void)write(h->found_fd, &one, sizeof(one));
    return !ending;
}

static void look(struct fwmarkd_hands *h, struct fwmarkd_job *job, const timer_t *timer)
{
    struct found *f = calloc(1, sizeof(*f));

    if (f) {
        f->found = (struct fwmarkd_found){ .job = *job };
        f->found.error = peer_read(job->client, job->wanted, &f->found.peer);
        if (give_back(h, f))
            return;
        peer_done(&f->found.peer);
        free(f);
    } else
        answer(job, -ENOMEM);
    end_job(job, timer);
}

static void do_job(struct fwmarkd_hands *h, struct fwmarkd_job *job, const timer_t *timer)
{
    if (job->task == HAND_LOOK)
        look(h, job, timer);
    else
        write_mark(job, timer);
}

static unsigned count_busy(const struct fwmarkd_hands *h, uint32_t uid, usec_t since)
{
    unsigned n = 0;

    for (size_t i = 0; i < THREADS_MAX; i++)
        n += h->hands[i].busy && h->hands[i].uid == uid && h->hands[i].since <= since;
    return n;
}

/* The first job whose user has a thread to spare. */
static struct slot *find_job(const struct fwmarkd_hands *h)
{
    struct slot *s;

    TAILQ_FOREACH(s, &h->waiting, entry)
    if (count_busy(h, s->job.uid, USEC_INFINITY) < THREADS_PER_UID)
        return s;
    return NULL;
}

static struct fwmarkd_job take_out(struct fwmarkd_hands *h, struct slot *s)
{
    h->n_promised -= s->promised;
    TAILQ_REMOVE(&h->waiting, s, entry);
    TAILQ_INSERT_HEAD(&h->empty, s, entry);
    return s->job;
}

/* Waits for a job; NULL: it is time to end. */
static struct slot *await_job(struct fwmarkd_hands *h)
{
    usec_t end = clock_monotonic() + IDLE_SEC * USEC_PER_SEC;
    bool waited = true;
    struct slot *s;

    h->n_idle++;
    while (!(s = find_job(h)) && !h->ending && (waited || h->n_idle == 1))
        if (h->n_idle > 1)
            waited = wait_until(h, &h->work, end);
        else
            (void)pthread_cond_wait(&h->work, &h->lock);
    h->n_idle--;
    return h->ending ? NULL : s;
}

static void work(struct fwmarkd_hands *h, struct hand *hand, const timer_t *timer)
{
    struct slot *s;

    while ((s = await_job(h))) {
        struct fwmarkd_job job = take_out(h, s);

        *hand = (struct hand){ true, true, job.uid, clock_monotonic() };
        (void)pthread_cond_signal(&h->change);
        (void)pthread_mutex_unlock(&h->lock);
        do_job(h, &job, timer);
        (void)pthread_mutex_lock(&h->lock);
        hand->busy = false;
    }
}

static void *run_hand(void *data)
{
    struct start start = *(struct start *)data;
    struct fwmarkd_hands *h = start.h;
    timer_t timer;
    bool limited = make_linger_limit(&timer);

    free(data);
    (void)pthread_mutex_lock(&h->lock);
    h->n_idle--; /* who made it has counted it */
    work(h, start.hand, limited ? &timer : NULL);
    start.hand->there = false;
    h->n_threads--;
    (void)pthread_cond_signal(&h->change);
    unlock_and_unref(h);
    if (limited)
        (void)timer_delete(timer);
    return NULL;
}

static int start_thread(struct start *start)
{
    pthread_attr_t attr;
    sigset_t all, before;
    pthread_t thread;
    int r = pthread_attr_init(&attr);

    if (r != 0)
        return -r;
    /* signals are the loop's */
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    (void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    (void)pthread_attr_setstacksize(&attr, STACK_SIZE);
    r = pthread_create(&thread, &attr, run_hand, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attr);
    return -r;
}

static int add_hand(struct fwmarkd_hands *h)
{
    struct start *start = malloc(sizeof(*start));
    size_t i = 0;
    int r;

    while (i < THREADS_MAX && h->hands[i].there)
        i++;
    if (!start || i == THREADS_MAX) {
        free(start);
        return -ENOMEM;
    }
    *start = (struct start){ h, &h->hands[i] };
    r = start_thread(start);
    if (r < 0) {
        free(start);
        return r;
    }
    h->hands[i] = (struct hand){ .there = true };
    h->n_threads++;
    h->n_idle++;
    h->refs++;
    return 0;
}

int fwmarkd_hands_new(struct fwmarkd_hands **ret)
{
    struct fwmarkd_hands *h = calloc(1, sizeof(*h));
    pthread_condattr_t monotonic;
    int r;

    if (!h)
        return -ENOMEM;
    h->found_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (h->found_fd < 0) {
        r = -errno;
        free(h);
        return r;
    }
    (void)pthread_condattr_init(&monotonic);
    (void)pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    (void)pthread_mutex_init(&h->lock, NULL);
    (void)pthread_cond_init(&h->work, &monotonic);
    (void)pthread_cond_init(&h->change, &monotonic);
    (void)pthread_condattr_destroy(&monotonic);
    TAILQ_INIT(&h->waiting);
    TAILQ_INIT(&h->empty);
    STAILQ_INIT(&h->found);
    for (size_t i = 0; i < JOBS_MAX; i++)
        TAILQ_INSERT_TAIL(&h->empty, &h->slots[i], entry);
    h->refs = 1;
    (void)pthread_mutex_lock(&h->lock);
    r = add_hand(h);
    if (r < 0) {
        unlock_and_unref(h);
        return r;
    }
    (void)pthread_mutex_unlock(&h->lock);
    *ret = h;
    return 0;
}

int fwmarkd_hands_fd(const struct fwmarkd_hands *h)
{
    return h->found_fd;
}

bool fwmarkd_hands_next(struct fwmarkd_hands *h, struct fwmarkd_found *ret)
{
    struct found *f;
    uint64_t n;

    (void)pthread_mutex_lock(&h->lock);
    f = STAILQ_FIRST(&h->found);
    if (f)
        STAILQ_REMOVE_HEAD(&h->found, entry);
    else
        (void)read(h->found_fd, &n, sizeof(n)); /* it is readable until there was none */
    (void)pthread_mutex_unlock(&h->lock);
    if (f)
        *ret = f->found;
    free(f);
    return f != NULL;
}

static void drop_found(struct fwmarkd_hands *h)
{
    struct fwmarkd_found f;

    while (fwmarkd_hands_next(h, &f)) {
        peer_done(&f.peer);
        close_job(&f.job);
    }
}

/* Those that are stalled are not waited for. */
void fwmarkd_hands_free(struct fwmarkd_hands *h)
{
    usec_t end = clock_monotonic() + STALLED_USEC;
    struct slot *s;

    if (!h)
        return;
    (void)pthread_mutex_lock(&h->lock);
    while ((s = TAILQ_FIRST(&h->waiting))) {
        struct fwmarkd_job job = take_out(h, s);

        close_job(&job);
    }
    h->ending = true;
    (void)pthread_cond_broadcast(&h->work);
    while (h->n_threads > 0 && wait_until(h, &h->change, end))
        ;
    (void)pthread_mutex_unlock(&h->lock);
    drop_found(h); /* what came before they knew */
    (void)pthread_mutex_lock(&h->lock);
    unlock_and_unref(h);
}

/* All threads that he may have have been at one job for so long. */
static bool is_stalling(const struct fwmarkd_hands *h, uint32_t uid, usec_t how_long)
{
    return count_busy(h, uid, clock_monotonic() - how_long) >= THREADS_PER_UID;
}

static unsigned count_waiting(const struct fwmarkd_hands *h, uint32_t uid)
{
    const struct slot *s;
    unsigned n = 0;

    TAILQ_FOREACH(s, &h->waiting, entry)
    n += s->job.uid == uid;
    return n;
}

static bool has_room(const struct fwmarkd_hands *h, uint32_t uid)
{
    return !TAILQ_EMPTY(&h->empty) && count_waiting(h, uid) < JOBS_PER_UID;
}

/* For a moment; not for somebody who may be stalling. */
static bool await_room(struct fwmarkd_hands *h, uint32_t uid)
{
    usec_t end = clock_monotonic() + ROOM_USEC;
    bool waited = true, room = has_room(h, uid);

    while (!room && waited && !is_stalling(h, uid, ROOM_USEC)) {
        waited = wait_until(h, &h->change, end);
        room = has_room(h, uid);
    }
    return room;
}

/* Who stalls does not get what he has asked for before, either: it must not take others' room. */
static void drop_jobs(struct fwmarkd_hands *h, uint32_t uid)
{
    struct slot *s = TAILQ_FIRST(&h->waiting);

    while (s) {
        struct slot *next = TAILQ_NEXT(s, entry);

        if (s->job.uid == uid) {
            struct fwmarkd_job job = take_out(h, s);

            answer(&job, -EBUSY);
            close_job(&job);
        }
        s = next;
    }
}

/* All threads that there may be are stalled: nobody would come. */
static bool is_deadlocked(const struct fwmarkd_hands *h)
{
    usec_t long_ago = clock_monotonic() - STALLED_USEC;
    size_t i = 0;

    if (h->n_threads < THREADS_MAX)
        return false;
    while (i < THREADS_MAX && h->hands[i].busy && h->hands[i].since <= long_ago)
        i++;
    return i == THREADS_MAX;
}

static void put_in(struct fwmarkd_hands *h, const struct fwmarkd_job *job)
{
    struct slot *s = TAILQ_FIRST(&h->empty);

    s->job = *job;
    s->promised =
        count_busy(h, job->uid, USEC_INFINITY) + count_waiting(h, job->uid) < THREADS_PER_UID;
    TAILQ_REMOVE(&h->empty, s, entry);
    TAILQ_INSERT_TAIL(&h->waiting, s, entry);
    if (!s->promised)
        return;
    /* when no thread can be made, it waits for one that comes back */
    if (++h->n_promised > h->n_idle)
        (void)add_hand(h);
    (void)pthread_cond_signal(&h->work);
}

int fwmarkd_hands_take(struct fwmarkd_hands *h, const struct fwmarkd_job *job)
{
    bool good = false;

    (void)pthread_mutex_lock(&h->lock);
    if (is_stalling(h, job->uid, STALLED_USEC))
        drop_jobs(h, job->uid);
    else if (!is_deadlocked(h))
        good = await_room(h, job->uid);
    if (good)
        put_in(h, job);
    (void)pthread_mutex_unlock(&h->lock);
    return good ? 0 : -EBUSY;
}
