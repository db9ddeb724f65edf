/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/verifier.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "basic/array.h"
#include "basic/fd.h"
#include "basic/log.h"
#include "daemon/reconcile.h"

enum { TIMEOUT_SEC = 300, ASKERS_MAX = 512, NICE = 10 };

struct asker {
    sd_bus_message *msg;
    verifier_reply reply;
    unsigned run; /* the run that answers */
};

struct verifier {
    struct manager *m;
    struct asker *askers;
    size_t n_askers, cap_askers;
    unsigned run; /* the number of the run that goes on, or went on last */
    pid_t child;  /* 0 = none */
    int fd;       /* its result */
    usec_t since;
    sd_event_source *readable, *timeout;
};

int verifier_new(struct manager *m, struct verifier **ret)
{
    struct verifier *v = calloc(1, sizeof(*v));

    if (!v)
        return log_oom();
    v->m = m;
    v->fd = -1;
    *ret = v;
    return 0;
}

static void remove_asker(struct verifier *v, size_t i)
{
    sd_bus_message_unref(v->askers[i].msg);
    v->askers[i] = v->askers[--v->n_askers];
}

void verifier_forget(struct verifier *v, sd_bus *sd)
{
    for (size_t i = v->n_askers; i-- > 0;)
        if (sd_bus_message_get_bus(v->askers[i].msg) == sd)
            remove_asker(v, i);
}

/* The child is gone or is made so. */
static void end_child(struct verifier *v)
{
    v->readable = sd_event_source_unref(v->readable);
    v->timeout = sd_event_source_unref(v->timeout);
    if (v->fd >= 0)
        (void)close(v->fd);
    v->fd = -1;
    if (v->child > 0) {
        (void)kill(v->child, SIGKILL);
        (void)waitpid(v->child, NULL, 0);
    }
    v->child = 0;
}

void verifier_free(struct verifier *v)
{
    if (!v)
        return;
    end_child(v);
    while (v->n_askers > 0)
        remove_asker(v, 0);
    free(v->askers);
    free(v);
}

static int start_child(struct verifier *v, struct why *why);

/* Takes one who waits for this run off the list: while it is answered, the list may change. */
static bool take_asker(struct verifier *v, unsigned run, struct asker *ret)
{
    for (size_t i = 0; i < v->n_askers; i++)
        if (v->askers[i].run == run) {
            *ret = v->askers[i];
            v->askers[i] = v->askers[--v->n_askers];
            return true;
        }
    return false;
}

/* Answers those of this run; starts the next one if somebody waits for it. */
static void finish(struct verifier *v, const struct verify_result *result)
{
    struct why why = { 0 };
    usec_t took = clock_monotonic() - v->since;
    unsigned run = v->run;
    struct asker a;

    end_child(v);
    while (take_asker(v, run, &a)) {
        if (result)
            (void)a.reply(v->m, a.msg, result, took);
        else
            (void)sd_bus_reply_method_errnof(a.msg, EIO, "the verification ended without a result");
        sd_bus_message_unref(a.msg);
    }
    if (v->n_askers > 0)
        (void)reconcile_now(v->m,
                            NULL); /* reads what nftables tells of the guard (plan/verify.h) */
    while (v->n_askers > 0 && start_child(v, &why) < 0 && take_asker(v, v->askers[0].run, &a)) {
        (void)sd_bus_reply_method_errnof(a.msg, -why.error, "%s", why.text);
        sd_bus_message_unref(a.msg);
    }
}

static int on_result(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
    struct verifier *v = userdata;
    struct verify_result result;
    ssize_t n;

    (void)source;
    (void)revents;
    n = read(fd, &result, sizeof(result));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return 0;
    finish(v, n == (ssize_t)sizeof(result) ? &result : NULL);
    return 0;
}

static int on_timeout(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    finish(userdata, NULL);
    return 0;
}

/*
 * The child must not keep anything alive: not the name that lets one daemon run per namespace, not
 * the connections that the parent closes; nor must it outlive the parent.
 */
static int let_go(int fd, pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        return -ECHILD;
    (void)setpriority(PRIO_PROCESS, 0, NICE);
    (void)close_range(STDERR_FILENO + 1, (unsigned)fd - 1, 0);
    (void)close_range((unsigned)fd + 1, UINT_MAX, 0);
    return 0;
}

/* What the child does. It has a copy of everything. */
static void child_main(struct manager *m, const struct kernel *k, int fd, pid_t parent)
{
    struct verify_result result;
    struct policy policy = { 0 };
    struct targets *t = NULL;
    int r = let_go(fd, parent);

    if (r == 0)
        r = targets_build(m->model, k, &t);
    if (r == 0)
        r = policy_build(m->model, t, &policy);
    if (r == 0)
        r = verify(t, &policy, k, &result);
    if (r == 0)
        r = fd_write_all(fd, &result, sizeof(result));
    _exit(r < 0 ? 1 : 0);
}

static int watch_child(struct verifier *v)
{
    int r = sd_event_add_io(v->m->event, &v->readable, v->fd, EPOLLIN, on_result, v);

    if (r >= 0)
        r = sd_event_add_time_relative(v->m->event, &v->timeout, CLOCK_MONOTONIC,
                                       TIMEOUT_SEC * USEC_PER_SEC, USEC_PER_SEC, on_timeout, v);
    return MIN(r, 0);
}

static int start_child(struct verifier *v, struct why *why)
{
    _cleanup_kernel_ struct kernel k = { 0 };
    pid_t self = getpid();
    int fds[2], r;

    r = observer_snapshot(&v->m->observer, &k);
    if (r < 0)
        return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
    manager_add_guards(v->m, &k);
    if (pipe2(fds, O_CLOEXEC) < 0)
        return why_set(why, -errno, "cannot make a pipe: %s", strerror(errno));

    v->run++;
    v->since = clock_monotonic();
    v->child = fork();
    if (v->child == 0)
        child_main(v->m, &k, fds[1], self);
    (void)close(fds[1]);
    v->fd = fds[0];
    r = v->child < 0 ? -errno : watch_child(v);
    if (r < 0) {
        end_child(v);
        return why_set(why, r, "cannot start the verification: %s", strerror(-r));
    }
    return 0;
}

/* One question per client at a time: none of them can fill the queue. */
static bool asks_already(const struct verifier *v, sd_bus_message *msg)
{
    const char *sender = sd_bus_message_get_sender(msg); /* NULL without a broker */

    for (size_t i = 0; i < v->n_askers; i++) {
        const char *other = sd_bus_message_get_sender(v->askers[i].msg);

        if (sd_bus_message_get_bus(v->askers[i].msg) == sd_bus_message_get_bus(msg) &&
            (!sender || !other || streq(sender, other)))
            return true;
    }
    return false;
}

int verifier_ask(struct verifier *v, sd_bus_message *msg, verifier_reply reply, struct why *why)
{
    struct asker asker = { .msg = msg, .reply = reply };
    int r;

    if (asks_already(v, msg))
        return why_set(why, -EBUSY, "you wait for a verification already: one at a time");
    if (v->n_askers >= ASKERS_MAX)
        return why_set(why, -EBUSY, "%d verifications wait already: try again later", ASKERS_MAX);
    r = v->child == 0 ? start_child(v, why) : 0;
    if (r < 0)
        return r;
    /* a run that has only just begun for this very caller answers; one that goes on does not */
    asker.run = v->n_askers == 0 ? v->run : v->run + 1;
    r = ARRAY_PUSH(v->askers, v->n_askers, v->cap_askers, asker);
    if (r == 0)
        (void)sd_bus_message_ref(msg);
    return r;
}
