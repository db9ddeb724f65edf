/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus-explain.h"

#include <errno.h>

#include "daemon/explain-answer.h"
#include "daemon/reconcile.h"
#include "daemon/verifier.h"
#include "decide/socket-reason.h"
#include "plan/socket-facts.h"

static void note_mark(const struct socket_question *q, const struct socket_answer *a, bool idle,
                      struct explain_mark *mark, size_t i)
{
    mark->steps[i].number = idle ? 0 : socket_reason_step(q->command, a->reason);
    mark->steps[i].reason = idle ? "nothing is said of this socket: it is left alone"
                                 : socket_reason_to_string(a->reason);
    mark->steps[i].mark = a->mark;
    mark->reason = idle ? NULL : mark->steps[i].reason;
}

/*
 * With the back-end `maps` a socket's mark decides: the one that connect() leaves it with, unless
 * the question has a mark. The same as the programs at the cgroup do (bpf/socket.bpf.c). 0 or -ENOMEM.
 */
static int decide_mark(struct manager *m, const struct kernel *k, const struct app_match *holds,
                       struct rtnl_flow *flow, struct explain_mark *ret)
{
    static const enum socket_command commands[EXPLAIN_COMMANDS] = { SOCKET_CREATE, SOCKET_CONNECT };
    _cleanup_socket_facts_ struct socket_facts facts = { 0 };
    struct socket_answer answer = { 0 };
    const struct network *network;
    int r;

    if (!k->maps)
        return 0;
    r = socket_facts_update(&facts, m->model, k);
    for (size_t i = 0; r == 0 && i < EXPLAIN_COMMANDS; i++) {
        struct socket_asked asked = { .command = commands[i],
                                      .uid = flow->uid,
                                      .process = holds ? holds->assignment : NULL,
                                      .mark = answer.mark };
        struct socket_question q;
        bool idle;

        socket_facts_ask(&facts, &asked, &q);
        idle = commands[i] == SOCKET_CONNECT && !k->maps->mark_all && socket_is_idle(&q);
        if (!idle)
            answer = socket_decide(&q);
        note_mark(&q, &answer, idle, ret, i);
    }
    if (r < 0)
        return r;
    flow->mark = answer.mark;
    network = model_network(m->model, answer.mark & MARK_NETID_MASK);
    ret->network = network ? network->name : "";
    ret->decided = true;
    return 0;
}

/* Explains one flow on a snapshot, and asks the kernel. Without a destination there is no way. */
static int explain_flow(struct manager *m, const struct kernel *k, const struct rtnl_flow *flow,
                        const struct app_match *holds, struct explanation *ret)
{
    struct kernel_answer answer;

    if (!ip_addr_is_set(&flow->dst)) {
        *ret = (struct explanation){ .flow = *flow,
                                     .assignment = holds ? holds->assignment : NULL,
                                     .step = holds ? holds->step : APP_NONE };
        return 0;
    }
    explain_app(m->model, k, flow, holds, ret);
    if (ret->out_of_memory)
        return -ENOMEM;
    if (observer_getroute(&m->observer, flow, &answer) == 0)
        explain_compare(ret, &answer);
    return 0;
}

static int take_snapshot(struct manager *m, struct kernel *ret, struct why *why)
{
    int r = reconcile_now(m, why);

    if (r == 0) {
        r = observer_snapshot(&m->observer, ret);
        if (r < 0)
            return why_set(why, r, "cannot read the kernel's state: %s", strerror(-r));
        manager_add_guards(m, ret);
    }
    return r;
}

static int find_device(const struct kernel *k, struct question *q, struct why *why)
{
    const struct rtnl_link *link;

    if (!q->device || !*q->device)
        return 0;
    link = kernel_link_by_name(k, q->device);
    if (!link)
        return why_set(why, -ENODEV, "there is no interface '%.32s': see `ip link`", q->device);
    q->flow.oif = link->ifindex;
    return 0;
}

/* The executable of a process is for its user and root to see (ptrace(2), access mode checks). */
static bool may_see_exe(const struct bus_call *call, const struct question *q)
{
    const struct bus_end *end = call->end;

    return !q->pid || (!end->system && (end->cred.uid == 0 || end->cred.uid == q->flow.uid));
}

static int reply_explain(struct bus_call *call, const struct explain_answer *x)
{
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(call->msg, &reply);

    if (r >= 0)
        r = explain_append(reply, x);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

int bus_explain(struct bus_call *call, struct why *why)
{
    _cleanup_explanation_ struct explanation e = { 0 };
    _cleanup_asked_app_ struct asked_app app = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    struct explain_mark mark = { 0 };
    struct question q = { 0 };
    int r = question_read(call->msg, &q, why);

    if (r >= 0)
        r = take_snapshot(call->m, &k, why);
    if (r >= 0)
        r = find_device(&k, &q, why);
    if (r >= 0)
        r = question_find_app(call->m, &q, &app, why);
    if (r >= 0 && !question_has(&q, GIVEN_MARK))
        r = decide_mark(call->m, &k, asked_app_holds(&app), &q.flow, &mark);
    if (r >= 0)
        r = explain_flow(call->m, &k, &q.flow, asked_app_holds(&app), &e);
    if (r < 0)
        return r;
    return reply_explain(call, &(struct explain_answer){ .manager = call->m,
                                                         .k = &k,
                                                         .e = &e,
                                                         .app = &app,
                                                         .mark = &mark,
                                                         .show_exe = may_see_exe(call, &q) });
}

/* Only with a counterexample: it is explained like any other question. */
static int append_counterexample(sd_bus_message *m, struct manager *manager,
                                 const struct verify_result *v)
{
    _cleanup_explanation_ struct explanation e = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    _cleanup_asked_app_ struct asked_app app = { 0 };
    const struct explain_answer x = { .manager = manager, .k = &k, .e = &e, .app = &app };
    struct question q = { .flow = v->flow };
    struct why why = { 0 };
    int r = take_snapshot(manager, &k, &why);

    if (r >= 0)
        r = question_find_app(manager, &q, &app, &why);
    if (r >= 0)
        r = explain_flow(manager, &k, &q.flow, asked_app_holds(&app), &e);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "Interface", "s", explain_link_name(&k, v->oif));
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Counterexample");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a{sv}");
    if (r >= 0)
        r = explain_append(m, &x);
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int reply_verify(struct manager *manager, sd_bus_message *msg, const struct verify_result *v,
                        usec_t took)
{
    sd_bus_message *reply = NULL;
    int r = sd_bus_message_new_method_return(msg, &reply);

    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "{sv}");
    if (r >= 0)
        r = sd_bus_message_append(reply, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "Proved", "b",
                                  !v->leak && !v->gap, "Incomplete", "b", v->gap != VERIFY_NO_GAP,
                                  "Reason", "s", verify_gap_to_string(v->gap), "Segments", "u",
                                  v->n_segments, "Groups", "u", v->n_groups, "Cases", "t",
                                  v->n_cases, "GuardOnly", "t", v->n_guard_only, "Milliseconds",
                                  "t", (uint64_t)(took / USEC_PER_MSEC));
    if (r >= 0 && v->leak)
        r = append_counterexample(reply, manager, v);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

int bus_verify(struct bus_call *call, struct why *why)
{
    int r = reconcile_now(call->m, why);

    return r < 0 ? r : verifier_ask(call->end->bus->verifier, call->msg, reply_verify, why);
}
