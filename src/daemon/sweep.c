/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/sweep.h"

#include <errno.h>

#include "apply/sockets.h"
#include "basic/log.h"
#include "plan/old-sockets.h"

enum { LOOKS = 3, AGAIN_MSEC = 500 };

struct sweeper {
    struct sockets sockets;
    struct targets *targets;   /* of what was in force last; NULL = that is not known, or… */
    bool off;                  /* …nothing was */
    struct old_sockets *again; /* the last change, when it is to be looked again */
    struct sockets_done done;  /* by it */
    sd_event_source *timer;
};

struct sweeper *sweeper_new(void)
{
    struct sweeper *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return NULL;
    s->sockets = SOCKETS_INIT;
    r = sockets_open(&s->sockets);
    if (r < 0)
        log_warning_errno(r, "cannot open a socket to list sockets");
    else if (!s->sockets.can_destroy)
        log_warning("this kernel cannot destroy sockets: connections that are open when an "
                    "assignment changes hang until they time out, see `waymark doctor`");
    return s;
}

static void forget(struct sweeper *s)
{
    old_sockets_free(s->again);
    s->again = NULL;
    sockets_done_free(&s->done);
    s->timer = sd_event_source_unref(s->timer);
}

void sweeper_free(struct sweeper *s)
{
    if (!s)
        return;
    forget(s);
    targets_unref(s->targets);
    sockets_close(&s->sockets);
    free(s);
}

static bool judge(void *data, const struct inetdiag_socket *socket)
{
    return old_socket_dies(old_sockets_judge(data, socket));
}

/* One line of what was done since the last one. */
static void report(struct sockets_done *done)
{
    _cleanup_strbuf_ struct strbuf users = STRBUF_INIT;
    size_t told = 0;

    for (size_t i = 0; i < done->n_users; i++) {
        strbuf_add(&users, "%suid %u: %zu", i > 0 ? ", " : "", done->users[i].uid,
                   done->users[i].n);
        told += done->users[i].n;
    }
    if (told < done->tcp + done->udp)
        strbuf_add(&users, ", others: %zu", done->tcp + done->udp - told);
    if (told > 0)
        log_info("old sockets: %zu TCP and %zu UDP destroyed, for their network changed (%s)",
                 done->tcp, done->udp, strbuf_text(&users));
    if (done->refused > 0)
        log_warning_errno(done->error, "old sockets: %zu could not be destroyed", done->refused);
    done->tcp = done->udp = done->refused = done->n_users = 0;
    memset(done->users, 0, sizeof(done->users));
}

/* Sockets are made while others are destroyed: until there are none, but not for ever. */
static void sweep(struct sweeper *s)
{
    int r = 1;

    for (int i = 0; r > 0 && i < LOOKS; i++) {
        r = sockets_destroy(&s->sockets, judge, s->again, &s->done);
        old_sockets_look_again(s->again);
    }
    report(&s->done);
    if (r < 0 && r != -EOPNOTSUPP)
        log_warning_errno(r, "old sockets: not all were looked at");
}

static void look_again(struct manager *m)
{
    if (!m->sweeper->again)
        return;
    sweep(m->sweeper);
    forget(m->sweeper);
}

/*
 * Where nobody moved (a network was removed), nobody is late either: such changes may come by the
 * hundred, and listing all sockets twice for each would be most of what they cost.
 */
void sweep_before_change(struct manager *m)
{
    if (m->sweeper->again && old_sockets_moved(m->sweeper->again))
        look_again(m);
}

static int on_again(sd_event_source *source, uint64_t usec, void *userdata)
{
    (void)source;
    (void)usec;
    look_again(userdata);
    return 0;
}

/* What changed since the last commit, or since the daemon before this one. */
static struct old_sockets *find_changes(struct manager *m, const struct model *after)
{
    const struct sweeper *s = m->sweeper;
    const struct old_sockets_input input = {
        .before = m->model,
        .after = after,
        .targets_before = s->targets,
        .targets_after = m->stands->targets,
        .kernel = &m->kernel,
    };
    struct old_sockets *found = NULL;
    int r;

    /* at the start, only rules tell who was held, and with maps there are none */
    if (!input.targets_after || (!s->targets && !s->off && (m->stands->maps || m->kernel.maps)))
        return NULL;
    r = old_sockets_build(&input, &found);
    if (r < 0)
        log_warning_errno(r, "old sockets: not all were looked at");
    return found;
}

void sweep_after_change(struct manager *m, const struct model *after)
{
    struct sweeper *s = m->sweeper;
    struct old_sockets *found = s->sockets.can_destroy ? find_changes(m, after) : NULL;
    int r;

    targets_unref(s->targets);
    s->targets = m->stands->targets ? targets_ref(m->stands->targets) : NULL;
    s->off = !s->targets;
    if (!found)
        return;
    forget(s);
    s->again = found;
    sweep(s);
    r = sd_event_add_time_relative(m->event, &s->timer, CLOCK_MONOTONIC, AGAIN_MSEC * USEC_PER_MSEC,
                                   0, on_again, m);
    if (r < 0)
        log_warning_errno(r, "cannot set a timer");
}
