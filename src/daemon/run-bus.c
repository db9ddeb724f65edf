/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The method Run: on return, all that the calling process opens is on a network, and all that its
 * children open.
 *
 * It is the caller itself who is run, so that nobody has to prove whose process that is: the kernel says
 * who connected to our socket. The broker of the system bus knows only numbers, which may be others'
 * by now; so there is no Run there.
 *
 * A caller is judged where he was when he connected, as well as where he is: whoever is held in a
 * cgroup has had systemd move him out of it by the time he asks.
 */

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>

#include "apply/bpf.h"
#include "apply/run-cgroup.h"
#include "daemon/bus-end.h"
#include "daemon/runs.h"
#include "decide/app.h"
#include "decide/run.h"
#include "observe/process.h"
#include "observe/selectors.h"

struct request {
    struct manager *m;
    const struct bus_end *end;
    const char *network; /* NULL = none */
    int make;            /* a cgroup is to be made; else systemd has made one */
    struct process caller;
};

static void request_done(struct request *q)
{
    process_done(&q->caller);
}

static int read_arguments(struct bus_call *call, struct request *q)
{
    int r = sd_bus_message_read(call->msg, "sb", &q->network, &q->make);

    if (r >= 0 && streq(q->network, "none"))
        q->network = NULL;
    return MIN(r, 0);
}

/* The programs look at sockets of our own network namespace, and nobody else's. */
static int check_namespace(const struct request *q, struct why *why)
{
    uint64_t ours, theirs;
    socklen_t size = sizeof(theirs);

    /* an accepted socket is in the namespace of who connected */
    if (bpf_netns_cookie(&ours) == 0 &&
        getsockopt(q->end->fd, SOL_SOCKET, SO_NETNS_COOKIE, &theirs, &size) == 0 && ours == theirs)
        return 0;
    return why_set(why, -EXDEV,
                   "you are in another network namespace than this waymarkd, which would not see "
                   "what you run: run a waymarkd there");
}

static int read_caller(struct request *q, struct why *why)
{
    uint32_t pid = (uint32_t)q->end->cred.pid;
    int r = check_namespace(q, why);

    if (r == 0)
        r = process_read(runs_cgroups(q->m->runs), pid, &q->caller, why);
    if (r < 0)
        return r;
    if (!bus_auth_is_same(q->end) || q->caller.uid != q->end->cred.uid)
        return why_set(
            why, -EPERM,
            "the process that asks is not the one that connected, or not of the same user "
            "any more");
    return 0;
}

/* May he? */

static int refuse_held(const struct request *q, const struct assignment *holds, struct why *why)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;

    if (!holds)
        return why_set(why, -EPERM,
                       "a VPN that may not be bypassed holds user %u: `waymark run` is no way out",
                       q->caller.uid);
    selector_print(&holds->selector, &selector);
    return why_set(why, -EPERM,
                   "%s is assigned to %s, and that means you: `waymark run` is no way out (see "
                   "`waymark assignments`)",
                   strbuf_text(&selector), assignment_target(holds));
}

static int ask_facts(const struct request *q, struct socket_question *ret, struct why *why)
{
    const struct network *n = model_network_by_name(q->m->model, q->network);
    const struct socket_facts *facts;
    int r;

    if (!n)
        return why_set(why, -ENONET, "there is no network '%.64s': see `waymark network list`",
                       q->network);
    r = runs_facts(q->m->runs, &facts);
    if (r == 0)
        socket_facts_ask(facts,
                         &(struct socket_asked){
                             .command = SOCKET_SELECT, .uid = q->caller.uid, .netid = n->netid },
                         ret);
    return r;
}

/* What the caller is, but for the runs that he is in by his own choice. */
static int find_holding(const struct request *q, const char *cgroup,
                        const struct assignment **ret_holds)
{
    const struct assignments *all = q->m->model->assignments;
    const struct app app = {
        .uid = q->caller.uid,
        .cgroup = cgroup,
        .exe = q->caller.exe,
        .exe_dev = q->caller.exe_id.dev,
        .exe_ino = q->caller.exe_id.ino,
        .exe_place = q->caller.exe_place,
        .chooses = true,
    };
    const struct app_exe *exes;
    struct app_verdict verdict;
    size_t n;
    int r = selectors_update(q->m->selectors, all);

    if (r == 0)
        r = selectors_exes(q->m->selectors, &exes, &n);
    if (r == 0)
        r = app_decide(all, exes, n, &app, &verdict);
    if (r == 0)
        *ret_holds = verdict.assignment;
    return r;
}

/*
 * A cgroup of ours is elsewhere. Who is held by where he is would be held no more by the time that
 * somebody in there asks for the next run; so he gets none, not even of less.
 */
static int check_stays_held(const struct request *q, const struct assignment *holds,
                            struct why *why)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;
    const struct assignment *there = NULL;
    int r;

    if (!q->make || !holds || (holds->network && holds->strength != STRENGTH_REQUIRE))
        return 0;
    r = find_holding(q, runs_folder(q->m->runs), &there);
    if (r < 0 || there == holds)
        return r;
    selector_print(&holds->selector, &selector);
    return why_set(why, -EPERM,
                   "%s is assigned to %s, and that means you: `waymark run` would take you out of "
                   "there (see `waymark assignments`)",
                   strbuf_text(&selector), assignment_target(holds));
}

/* 1: he may. 0: it is to be asked who may say so. -EPERM, with the reason. */
static int judge(const struct request *q, struct why *why)
{
    const char *cgroups[] = { q->caller.cgroup, q->end->cgroup };
    struct run_question question = { .network = q->network };
    int r = q->network ? ask_facts(q, &question.socket, why) : 0, may = 1;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(cgroups); i++) {
        enum run_access access;

        if (i > 0 && !cgroups[i])
            continue; /* it could not be told, as for who is outside of our root */
        r = find_holding(q, cgroups[i], &question.holds);
        if (r < 0)
            continue;
        access = run_decide(&question);
        if (access == RUN_HELD)
            r = refuse_held(q, question.holds, why);
        else
            r = check_stays_held(q, question.holds, why);
        if (access == RUN_ASK)
            may = 0;
    }
    return r < 0 ? r : may;
}

/* Doing it. */

/* The cgroup that systemd made for the caller: of the right name, and his. */
static int check_own_cgroup(const struct request *q, struct why *why)
{
    const struct cgroups *c = runs_cgroups(q->m->runs);
    const char *path = q->caller.cgroup ? q->caller.cgroup : "/?"; /* outside of our root */
    uint32_t uid, owner;

    if (!app_run_uid(strrchr(path, '/') + 1, &uid) || uid != q->caller.uid)
        return why_set(why, -EINVAL,
                       "process %u is in the cgroup %s, which is none for a run: that is called "
                       "waymark-run-%u-…",
                       q->caller.pid, path, q->caller.uid);
    if (cgroups_owner(c, path, &owner) < 0 || (owner != uid && owner != 0))
        return why_set(why, -EPERM, "the cgroup %s is not yours", path);
    if (!runs_sees(q->m->runs, path))
        return why_set(why, -EXDEV,
                       "the programs do not see the cgroup %s: see waymarkd's option --cgroup",
                       path);
    return 0;
}

static int run_there(const struct request *q, struct why *why)
{
    int r = check_own_cgroup(q, why);

    if (r == 0)
        r = runs_add(q->m->runs, q->caller.cgroup, q->network, why);
    return r < 0 ? r : runs_confirm(q->m->runs, q->caller.cgroup);
}

static int enter(const struct request *q, const char *path, struct why *why)
{
    const struct cgroups *c = runs_cgroups(q->m->runs);
    int r = -ESRCH;

    if (bus_auth_is_same(q->end))
        r = run_cgroup_enter(c, path, q->caller.pid, why);
    if (r < 0) {
        runs_cancel(q->m->runs, path);
        return r;
    }
    /* Had its number gone to another by then, that one is in it now, and what had held it may not hold
     * it there: so the run goes on, for as long as anybody is in it. */
    r = runs_confirm(q->m->runs, path);
    return r == 0 && !bus_auth_is_same(q->end) ? -ESRCH : r;
}

/* The network is the new cgroup's before there is anybody in it. */
static int run_in_new(const struct request *q, char **ret_path, struct why *why)
{
    const struct cgroups *c = runs_cgroups(q->m->runs);
    _cleanup_free_ char *path = runs_new_path(q->m->runs, q->caller.uid);
    int r = path ? run_cgroup_make(c, path, why) : -ENOMEM;

    if (r < 0)
        return r;
    r = runs_add(q->m->runs, path, q->network, why);
    if (r == 0)
        r = enter(q, path, why);
    if (r < 0) {
        (void)run_cgroup_remove(c, path); /* unless that is done */
        return r;
    }
    *ret_path = TAKE_PTR(path);
    return 0;
}

static int carry_out(struct bus_call *call, const struct request *q, struct why *why)
{
    _cleanup_free_ char *made = NULL;
    int r = q->make ? run_in_new(q, &made, why) : run_there(q, why);

    if (r < 0)
        return r;
    return sd_bus_reply_method_return(call->msg, "s", made ? made : q->caller.cgroup);
}

static int prepare(struct bus_call *call, struct request *q, struct why *why)
{
    int r = read_arguments(call, q);

    if (r == 0 && call->end->system)
        r = why_set(why, -EOPNOTSUPP,
                    "Run is not for the system bus: call it on %s/bus, where the kernel says who "
                    "calls",
                    call->m->options.runtime_dir);
    if (r == 0)
        r = runs_check(call->m->runs, why);
    return r < 0 ? r : read_caller(q, why);
}

/* Somebody has allowed it. Meanwhile the world went on: what holds him now, holds him. */
static int run_allowed(struct bus_call *call, struct why *why)
{
    _cleanup_(request_done) struct request q = { .m = call->m, .end = call->end };
    int r = sd_bus_message_rewind(call->msg, true);

    if (r >= 0)
        r = prepare(call, &q, why);
    if (r == 0)
        r = judge(&q, why);
    return r < 0 ? r : carry_out(call, &q, why);
}

int bus_run_program(struct bus_call *call, struct why *why)
{
    static const struct bus_method allowed = { BUS_MANAGER, "Run", true, run_allowed };
    _cleanup_(request_done) struct request q = { .m = call->m, .end = call->end };
    int r = prepare(call, &q, why);

    if (r == 0)
        r = judge(&q, why);
    if (r == 0) {
        r = bus_authorize(call->end, call->msg, &allowed, BUS_RIGHT_RUN, why);
        if (r == 0)
            return 1; /* run_allowed() answers */
    }
    return r < 0 ? r : carry_out(call, &q, why);
}
