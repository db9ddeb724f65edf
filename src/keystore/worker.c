/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/worker.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>

#include "basic/fd.h"

/* Where all memory is locked, all of a stack is there, too; and Argon2id's is elsewhere. */
enum { STACK_SIZE = 256 << 10 };

struct worker {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* of what follows, up to `end` */
    pthread_cond_t changed;
    void (*work)(void *data); /* NULL: nothing to do */
    void *work_data;
    bool end;
    int ready; /* an eventfd: the work is done */
    sd_event_source *source;
    worker_done done;
    void *data;
};

static void tell(const struct worker *w)
{
    static const uint64_t one = 1;

    while (write(w->ready, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static void *run(void *userdata)
{
    struct worker *w = userdata;

    (void)pthread_setname_np(pthread_self(), "keystore-writer");
    (void)pthread_mutex_lock(&w->lock);
    for (;;) {
        while (!w->work && !w->end)
            (void)pthread_cond_wait(&w->changed, &w->lock);
        if (!w->work)
            break; /* what was started is done first */
        (void)pthread_mutex_unlock(&w->lock);
        w->work(w->work_data);
        (void)pthread_mutex_lock(&w->lock);
        w->work = NULL;
        tell(w);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

static int on_ready(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct worker *w = userdata;
    uint64_t count;

    (void)source;
    (void)revents;
    if (read(fd, &count, sizeof(count)) != (ssize_t)sizeof(count))
        return 0;
    /* the thread told it with the lock held, and lets go of it next: what it wrote is seen here */
    (void)pthread_mutex_lock(&w->lock);
    (void)pthread_mutex_unlock(&w->lock);
    w->done(w->data);
    return 0;
}

static int start_thread(struct worker *w)
{
    pthread_attr_t attributes;
    sigset_t all, before;
    int r;

    r = pthread_attr_init(&attributes);
    if (r != 0)
        return -r;
    r = pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    if (r == 0)
        r = pthread_sigmask(SIG_BLOCK, &all, &before); /* signals are the loop's */
    if (r == 0) {
        r = pthread_create(&w->thread, &attributes, run, w);
        (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    }
    (void)pthread_attr_destroy(&attributes);
    w->started = r == 0;
    return -r;
}

int worker_new(sd_event *event, worker_done done, void *data, struct worker **ret)
{
    _cleanup_(worker_freep) struct worker *w = calloc(1, sizeof(*w));
    int r;

    if (!w)
        return -ENOMEM;
    w->done = done;
    w->data = data;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_cond_init(&w->changed, NULL);
    w->ready = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w->ready < 0)
        return -errno;
    r = sd_event_add_io(event, &w->source, w->ready, EPOLLIN, on_ready, w);
    if (r >= 0)
        r = start_thread(w);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(w);
    return 0;
}

struct worker *worker_free(struct worker *w)
{
    if (!w)
        return NULL;
    if (w->started) {
        (void)pthread_mutex_lock(&w->lock);
        w->end = true;
        (void)pthread_cond_signal(&w->changed);
        (void)pthread_mutex_unlock(&w->lock);
        (void)pthread_join(w->thread, NULL);
    }
    sd_event_source_disable_unref(w->source);
    fd_closep(&w->ready);
    (void)pthread_cond_destroy(&w->changed);
    (void)pthread_mutex_destroy(&w->lock);
    free(w);
    return NULL;
}

void worker_start(struct worker *w, void (*work)(void *data), void *data)
{
    (void)pthread_mutex_lock(&w->lock);
    assert(!w->work);
    w->work = work;
    w->work_data = data;
    (void)pthread_cond_signal(&w->changed);
    (void)pthread_mutex_unlock(&w->lock);
}
