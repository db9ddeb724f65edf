/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/sweep.h"

#include <errno.h>

#include "apply/bpf.h"
#include "apply/sockets.h"
#include "basic/array.h"
#include "basic/log.h"
#include "observe/cgroups.h"
#include "observe/selectors.h"
#include "plan/old-sockets.h"

enum { LOOKS = 3, AGAIN_MSEC = 500 };

struct sweeper {
    struct sockets sockets;
    struct targets *targets; /* of what was in force last; NULL = that is not known, or… */
    bool off;                /* …nothing was */
    struct guard *stood;     /* what the programs had at the start; NULL = not known */
    bool left;               /* there were some then, whatever they had */
    struct plan_app *apps;   /* what process selectors meant last */
    size_t n_apps;
    struct cgroups cgroups;
    struct cgroup_tree tree;  /* while it is looked: which is in which */
    struct map_socket *known; /* the same: sockets whose executable is known, by cookie */
    size_t n_known, cap_known;
    bool want_known;
    struct old_sockets *again; /* the last change, when it is to be looked again */
    struct sockets_done done;  /* by it */
    sd_event_source *timer;
};

struct sweeper *sweeper_new(const struct manager *m)
{
    struct sweeper *s = calloc(1, sizeof(*s));
    int r;

    if (!s)
        return NULL;
    s->sockets = SOCKETS_INIT;
    s->cgroups = CGROUPS_CLOSED;
    s->left = m->maps_left;
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
    guard_unref(s->stood);
    free(s->apps);
    sockets_close(&s->sockets);
    cgroups_close(&s->cgroups);
    free(s);
}

static int compare_cookies(const void *x, const void *y)
{
    const struct map_socket *a = x, *b = y;
    return CMP(a->cookie, b->cookie);
}

static bool judge(void *data, const struct inetdiag_socket *socket)
{
    struct sweeper *s = ((struct manager *)data)->sweeper;
    const struct map_socket key = { .cookie = socket->cookie }, *known = NULL;
    uint64_t cgroups[CGROUPS_DEPTH_MAX];
    struct old_socket_app app = { .cgroups = cgroups };

    if (s->n_known > 0)
        known = bsearch(&key, s->known, s->n_known, sizeof(key), compare_cookies);
    if (known) {
        app.exe_dev = bpf_executable_device(&known->executable);
        app.exe_ino = known->executable.ino;
    }
    if (s->tree.n > 0)
        app.n_cgroups = cgroup_tree_ancestors(&s->tree, socket->cgroup_id, cgroups);
    return old_socket_dies(old_sockets_judge(s->again, socket, &app));
}

/* Behind the list, or it would lack the executables of what was made meanwhile. */
static int find_known(void *data)
{
    struct manager *m = data;
    struct sweeper *s = m->sweeper;
    struct why why = { 0 };
    int r = 0;

    if (s->want_known)
        r = bpf_read_sockets(m->applier.bpf, &s->known, &s->n_known, &s->cap_known, &why);
    if (r < 0)
        log_warning("old sockets: %s", why_text(&why, r));
    return r;
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

/* Which cgroup is in which, where that is asked for. */
static void begin_looking(struct manager *m)
{
    struct sweeper *s = m->sweeper;
    int r = 0;

    s->want_known = m->applier.bpf && old_sockets_want_apps(s->again);
    if (!s->want_known)
        return;
    if (s->cgroups.fd < 0)
        r = cgroups_open(&s->cgroups, NULL);
    if (r == 0)
        r = cgroups_read_tree(&s->cgroups, &s->tree);
    if (r < 0)
        log_warning_errno(r, "old sockets: those of cgroups are not known");
}

/* Sockets are made while others are destroyed: until there are none, but not for ever. */
static void sweep(struct manager *m)
{
    const struct sockets_judge asked = { .judge = judge, .listed = find_known, .data = m };
    struct sweeper *s = m->sweeper;
    int r = 1;

    begin_looking(m);
    for (int i = 0; r > 0 && i < LOOKS; i++) {
        r = sockets_destroy(&s->sockets, &asked, &s->done);
        old_sockets_look_again(s->again);
    }
    cgroup_tree_done(&s->tree);
    free(s->known);
    s->known = NULL;
    s->n_known = s->cap_known = 0;
    report(&s->done);
    if (r < 0 && r != -EOPNOTSUPP)
        log_warning_errno(r, "old sockets: not all were looked at");
}

static void look_again(struct manager *m)
{
    if (!m->sweeper->again)
        return;
    sweep(m);
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

void sweep_note_maps(struct manager *m, struct guard *maps)
{
    struct sweeper *s = m->sweeper;

    if (!s->targets && !s->off && !s->stood)
        s->stood = guard_ref(maps);
}

static const struct plan_app *apps_now(const struct manager *m, size_t *ret_n)
{
    *ret_n = 0;
    return m->selectors ? selectors_apps(m->selectors, ret_n) : NULL;
}

/* What changed since the last commit, or since the daemon before this one. */
static struct old_sockets *find_changes(struct manager *m, const struct model *after)
{
    const struct sweeper *s = m->sweeper;
    struct old_sockets_input input = {
        .before = m->model,
        .after = after,
        .targets_before = s->targets,
        .targets_after = m->stands->targets,
        .kernel = &m->kernel,
        .apps_before = s->apps,
        .n_apps_before = s->n_apps,
        .stood = s->stood,
    };
    struct old_sockets *found = NULL;
    int r;

    /* programs held apps, and nobody can tell where: nothing is known, not even by rules */
    if (!input.targets_after || (!s->targets && !s->off && !s->stood && s->left))
        return NULL;
    input.apps_after = apps_now(m, &input.n_apps_after);
    r = old_sockets_build(&input, &found);
    if (r < 0)
        log_warning_errno(r, "old sockets: not all were looked at");
    return found;
}

/* Without memory for them, the next change finds that all of them are new. */
static void keep_apps(const struct manager *m)
{
    struct sweeper *s = m->sweeper;
    size_t n;
    const struct plan_app *now = apps_now(m, &n);

    if (n == s->n_apps && mem_equal(now, s->apps, n * sizeof(*now)))
        return;
    free(s->apps);
    s->apps = NULL;
    s->n_apps = array_copy((void **)&s->apps, now, n, sizeof(*now)) < 0 ? 0 : n;
}

void sweep_after_change(struct manager *m, const struct model *after)
{
    struct sweeper *s = m->sweeper;
    struct old_sockets *found = s->sockets.can_destroy ? find_changes(m, after) : NULL;
    int r;

    keep_apps(m);
    guard_unref(TAKE_PTR(s->stood));
    targets_unref(s->targets);
    s->targets = m->stands->targets ? targets_ref(m->stands->targets) : NULL;
    s->off = !s->targets;
    if (!found)
        return;
    forget(s);
    s->again = found;
    sweep(m);
    r = sd_event_add_time_relative(m->event, &s->timer, CLOCK_MONOTONIC, AGAIN_MSEC * USEC_PER_MSEC,
                                   0, on_again, m);
    if (r < 0)
        log_warning_errno(r, "cannot set a timer");
}
