/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/change.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/log.h"
#include "daemon/backend.h"
#include "daemon/reconcile.h"
#include "daemon/resolve-users.h"
#include "daemon/sweep.h"
#include "decide/host.h"

/* So many refused routes are told one by one; of the others only how many there are. */
enum { TOLD_MAX = 8 };

static int build_plan(struct manager *m, const struct model *next, struct plan **ret)
{
    struct plan_input input = {
        .model = next,
        .kernel = &m->kernel,
        .generation = m->generation,
        .guard = m->applier.has_guard,
        .maps = m->applier.has_maps,
        .rejected = m->refusals.left_out,
    };
    int r;

    if (m->off) {
        *ret = plan_new_empty();
        return *ret ? 0 : -ENOMEM;
    }
    memcpy(input.sysctl, m->applier.has_sysctl, sizeof(input.sysctl));
    r = backend_apps(m, next, &input.apps, &input.n_apps);
    input.places = backend_places(m, &input.n_places);
    return r < 0 ? r : plan_build(&input, m->stands, ret);
}

/* The rules of `a` that are in `b`, too; both are sorted. Into `a`. */
static void keep_common(struct rule_list *a, const struct rule_list *b)
{
    size_t out = 0;

    for (size_t i = 0, j = 0; i < a->n; i++) {
        while (j < b->n && plan_rule_compare(&b->items[j], &a->items[i]) < 0)
            j++;
        if (j < b->n && plan_rule_compare(&b->items[j], &a->items[i]) == 0 &&
            b->items[j].families == a->items[i].families)
            a->items[out++] = a->items[i];
    }
    a->n = out;
}

/*
 * Which copies of our rules are too many. A dump shows a rule twice, or not at all, when somebody
 * adds or deletes another one meanwhile, and deleting a copy that is none would delete the rule. So
 * it takes two dumps that say the same, both without anything having happened; and another look.
 */
static int find_surplus(struct manager *m, struct rule_list *found)
{
    struct rule_list seen = { 0 };
    int r = m->quiet ? array_copy((void **)&seen.items, found->items, found->n, sizeof(*seen.items))
                     : 0;

    if (r < 0)
        return r;
    seen.n = seen.cap = m->quiet ? found->n : 0;
    if (found->n > 0)
        m->observer.stale |= OBSERVE_RULES;
    keep_common(found, m->quiet ? &m->surplus : &seen);
    free(m->surplus.items);
    m->surplus = seen;
    return 0;
}

/*
 * What the programs' maps hold after a start, or a change that broke off in its midst. They are read
 * rather than replaced: then what changes by it is known, and whose sockets have to end.
 */
static void read_maps(struct manager *m)
{
    struct why why = { 0 };
    struct guard *maps = NULL;
    int r = m->maps_unknown ? applier_read_maps(&m->applier, &maps, &why) : -ENODATA;

    if (r == 0) {
        guard_unref(m->kernel.maps);
        m->kernel.maps = maps;
        m->maps_unknown = false;
        sweep_note_maps(m, maps);
    } else if (r != -ENODATA)
        log_warning("what the programs at the cgroup hold is not known, and replaced: %s",
                    why_text(&why, r));
}

/* What is in the kernel, from the last dump; surplus copies of our rules go to *ret_extra. */
static int find_what_stands(struct manager *m, struct rule_list *ret_extra)
{
    int sysctls[SYSCTL_MAX], r;

    if (m->stands)
        return 0;
    applier_read_sysctls(&m->applier, sysctls);
    read_maps(m);
    r = plan_from_kernel(&m->kernel, sysctls, &m->stands, ret_extra);
    if (r < 0)
        return r;
    m->stands->guard_unknown = m->guard_unknown;
    m->stands->maps_unknown = m->maps_unknown;
    if (m->guard_unknown)
        m->stands->guard = guard_ref(m->last_guard);
    return find_surplus(m, ret_extra);
}

static bool is_route_of(const struct rtnl_route *route, const struct route_spec *spec,
                        const struct kernel *k)
{
    const struct rtnl_link *link = kernel_link_by_name(k, spec->interface);

    return link && ip_prefix_compare(&spec->dst, &route->dst) == 0 &&
           ip_addr_equal(&spec->gateway, &route->gateway) &&
           (route->oif == 0 || route->oif == link->ifindex);
}

/* Did somebody ask for this route? Then it failing is an error of the request, else a fact of life. */
static bool was_asked_for(const struct model *m, const struct kernel *k,
                          const struct rtnl_route *route)
{
    for (size_t i = 0; i < m->n_networks; i++)
        for (size_t j = 0; j < m->networks[i]->n_routes; j++)
            if (is_route_of(route, &m->networks[i]->routes[j], k))
                return true;
    for (size_t i = 0; i < m->n_legacy; i++)
        if (is_route_of(route, &m->legacy[i].route, k))
            return true;
    return false;
}

static const struct rtnl_route *route_of(const struct op *op)
{
    if (op->kind == OP_ROUTE_ADD)
        return &op->route;
    return op->kind == OP_ROUTE_REPLACE ? &op->replace.to : NULL;
}

/* One attempt at a model: plan, diff, apply. */
struct attempt {
    struct manager *m;
    const struct model *next;
    bool request; /* what it asks for anew must be had */
    struct plan *wanted;
    struct ops ops;          /* those that were done */
    struct refusal *refused; /* routes that were left out */
    size_t n_refused, cap_refused;
    size_t n_news; /* of them, those that were not known to be refused */
    bool applied;  /* all ops were done: to be undone when anything fails behind them */
};

static void attempt_done(struct attempt *a)
{
    plan_unref(a->wanted);
    ops_done(&a->ops);
    free(a->refused);
    *a = (struct attempt){ 0 };
}

/* Does this request ask for the route, and nobody did before? Then it fails with it. */
static bool must_be_had(const struct attempt *a, const struct rtnl_route *route)
{
    const struct kernel *k = &a->m->kernel;

    return a->request && was_asked_for(a->next, k, route) && !was_asked_for(a->m->model, k, route);
}

/*
 * An apply_function. Rules, fences and the guard never depend on a route: one that the kernel
 * refuses is left out. Whether it answers at all is another matter.
 */
static int apply_or_leave_out(void *data, const struct op *op, struct why *why)
{
    struct attempt *a = data;
    struct why kernel = { 0 };
    int r = applier_apply(&a->m->applier, op, &kernel);
    const struct rtnl_route *route = r < 0 && r != -ETIMEDOUT ? route_of(op) : NULL;

    if (r >= 0)
        return r;
    if (!route || must_be_had(a, route))
        return why_set(why, r, "%s", why_text(&kernel, r));
    if (ARRAY_PUSH(a->refused, a->n_refused, a->cap_refused,
                   ((struct refusal){ .route = *route, .error = r })) < 0)
        return -ENOMEM;
    if (!refusals_know(&a->m->refusals, route, r) && a->n_news++ < TOLD_MAX)
        manager_notice(a->m, NOTICE_REJECTED, "a route is left out until it can be had: %s",
                       why_text(&kernel, r));
    return 1;
}

/* The plan as it was applied: without the routes that were refused, with those they should replace. */
static int leave_out_refused(struct attempt *a)
{
    const struct route_set *all = a->wanted->routes;
    _cleanup_(route_set_unrefp) struct route_set *set = route_set_new();
    struct refusals refused = { .items = a->refused, .n = a->n_refused };
    int r = set ? 0 : -ENOMEM;

    if (a->n_refused == 0)
        return 0;
    refusals_sort(&refused);
    for (size_t i = 0; r == 0 && i < all->n; i++)
        if (!refusals_has(&refused, &all->items[i]))
            r = route_set_add(set, &all->items[i]);
    for (size_t i = 0; r == 0 && i < a->ops.n; i++)
        if (a->ops.items[i].kind == OP_ROUTE_REPLACE && a->ops.items[i].skipped)
            r = route_set_add(set, &a->ops.items[i].replace.from);
    if (r < 0)
        return r;
    route_set_sort(set);
    route_set_unref(a->wanted->routes);
    a->wanted->routes = TAKE_PTR(set);
    return 0;
}

/* What was refused stays known, whatever becomes of the rest. */
static int note_refused(struct attempt *a)
{
    struct manager *m = a->m;
    int r = refusals_note(&m->refusals, a->refused, a->n_refused);

    if (r > 0)
        m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
    if (a->n_news > TOLD_MAX)
        manager_notice(m, NOTICE_REJECTED, "and %zu routes more: see `waymark doctor`",
                       a->n_news - TOLD_MAX);
    return MIN(r, 0);
}

/* It was rolled back; but the kernel was not quite what we took it for: all is looked at again. */
static void note_rollback(struct manager *m, const struct attempt *a,
                          const struct transaction_result *result)
{
    m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
    if (result->undo_failed)
        reconcile_forget(m);
    else if (a->ops.items[result->failed].kind == OP_GUARD) {
        if (a->ops.items[result->failed].guard.maps)
            reconcile_forget_maps(m);
        else
            reconcile_forget_guard(m);
    }
}

static int attempt(struct attempt *a, struct why *why)
{
    struct rule_list extra = { 0 };
    struct transaction_result result = { 0 };
    struct manager *m = a->m;
    int r, noted;

    for (size_t i = 0; i < m->refusals.n; i++)
        if (must_be_had(a, &m->refusals.items[i].route))
            refusals_retry_one(&m->refusals, i);
    r = find_what_stands(m, &extra);
    if (r == 0)
        r = refusals_update(&m->refusals);
    if (r == 0)
        r = build_plan(m, a->next, &a->wanted);
    if (r == 0)
        r = plan_diff(m->stands, a->wanted, &extra, &a->ops);
    free(extra.items);
    if (r < 0)
        return r;

    r = transaction_run(&a->ops, apply_or_leave_out, a, &result, why);
    a->applied = r == 0;
    if (r < 0)
        note_rollback(m, a, &result);
    else
        r = leave_out_refused(a);
    noted = note_refused(a);
    return r < 0 ? r : noted;
}

static void note_commit(struct manager *m, struct attempt *a)
{
    if (m->kernel.guard != a->wanted->guard) {
        guard_unref(m->kernel.guard);
        m->kernel.guard = guard_ref(a->wanted->guard);
    }
    if (m->kernel.maps != a->wanted->maps) {
        guard_unref(m->kernel.maps);
        m->kernel.maps = guard_ref(a->wanted->maps);
    }
    guard_unref(m->last_guard);
    m->last_guard = NULL;
    m->guard_unknown = m->maps_unknown = false;
    plan_unref(m->stands);
    m->stands = TAKE_PTR(a->wanted);
    refusals_commit(&m->refusals);
    if (m->degraded) {
        m->degraded = false;
        manager_notice(m, NOTICE_RECOVERED, "%s",
                       m->off ? "nothing is wanted any more: off"
                              : "everything that is wanted is applied again");
    }
}

/* Edits a copy of the model, and fills in what follows from the facts. */
static int make_next(struct manager *m, manager_edit edit, void *data, struct model *next,
                     struct why *why)
{
    int r = edit ? edit(next, &m->kernel, data, why) : 0;

    if (r == 0)
        r = resolve_new_users(next, m->model);
    if (r == 0)
        r = host_update(next, &m->kernel);
    return r < 0 ? r : resolve_users_remember(next, m->model);
}

/* Puts the new model in the old one's place, and tells everybody. */
static void commit_model(struct manager *m, struct model *next)
{
    struct model *old = m->model;

    m->model = next;
    if (old->assignments != next->assignments || next->n_vpns + next->n_consents > 0)
        m->users_away = resolve_users_is_due(next);
    for (size_t i = 0; i < m->n_listeners; i++)
        if (m->listeners[i].commit)
            m->listeners[i].commit(m->listeners[i].data, old, m->model);
    model_free(old);
}

static int settle(struct manager *m, manager_edit edit, void *data, bool request, struct why *why)
{
    _cleanup_(model_freep) struct model *next = model_copy(m->model);
    struct attempt a = { .m = m, .next = next, .request = request };
    int r;

    if (!next)
        return -ENOMEM;
    sweep_before_change(m);
    r = make_next(m, edit, data, next, why);
    if (r == 0)
        r = attempt(&a, why);
    if (r == 0) {
        r = store_commit(&m->store, m->model, next);
        if (r < 0)
            (void)why_set(why, r, "cannot write the state file: %s", strerror(-r));
    }
    if (r < 0 && a.applied && transaction_undo(&a.ops, applier_apply, &m->applier) < 0)
        reconcile_forget(m);
    if (r == 0) {
        note_commit(m, &a);
        sweep_after_change(m, next);
        commit_model(m, TAKE_PTR(next));
    }
    attempt_done(&a);
    reconcile_follow_up(m);
    return r;
}

int manager_settle(struct manager *m, manager_edit edit, void *data, struct why *why)
{
    return settle(m, edit, data, false, why);
}

struct request {
    manager_edit edit;
    void *data;
};

/* What is asked for is judged by the world as it is now. */
static int edit_as_of_now(struct model *next, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;
    int r = host_update(next, k);

    return r == 0 && q->edit ? q->edit(next, k, q->data, why) : r;
}

/*
 * New facts and the request are one change: who makes an interface and then asks for something, as
 * the VPN service does, would have it planned and applied twice. When that fails, it is as it would
 * have been one after the other: the facts are followed, the request is not.
 */
int manager_change(struct manager *m, manager_edit edit, void *data, struct why *why)
{
    struct request q = { .edit = edit, .data = data };
    int r, work = reconcile_look(m, why);

    if (work < 0)
        return work;
    if (work > 0 && !reconcile_may_wait(m)) {
        reconcile_settle(m);
        work = 0;
    }
    r = settle(m, edit_as_of_now, &q, true, why);
    if (r < 0 && work > 0)
        reconcile_settle(m);
    return r;
}
