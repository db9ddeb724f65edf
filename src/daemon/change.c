/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/change.h"

#include <errno.h>

#include "basic/log.h"
#include "daemon/reconcile.h"
#include "decide/host.h"
#include "observe/users.h"

/* A kernel that refuses one route refuses perhaps the next: but not this many in one change. */
enum { REJECTED_MAX = 256 };

int change_resolve_users(struct model *m)
{
    struct assignments *copy = NULL;

    for (size_t i = 0; i < m->assignments->n; i++) {
        const struct assignment *a = &m->assignments->items[i];
        _cleanup_(uid_set_unrefp) struct uid_set *uids = NULL;
        struct why why = { 0 };
        int r;

        if (a->selector.kind != SELECTOR_USER && a->selector.kind != SELECTOR_GROUP)
            continue;
        r = users_resolve(&a->selector, &uids, &why);
        if (r == -ENOMEM)
            return r;
        if (r < 0)
            log_warning("an assignment waits: %s", why.text);
        if (r == -EIO || uid_set_equal(uids, a->uids))
            continue; /* a user database that is away does not unassign anybody */
        if (!copy) {
            copy = assignments_copy(m->assignments);
            if (!copy)
                return -ENOMEM;
            assignments_unref(m->assignments);
            m->assignments = copy;
        }
        uid_set_unref(copy->items[i].uids);
        copy->items[i].uids = TAKE_PTR(uids);
    }
    return 0;
}

static int build_plan(struct manager *m, const struct model *next, struct plan **ret)
{
    struct plan_input input = {
        .model = next,
        .kernel = &m->kernel,
        .generation = m->generation,
        .guard = m->applier.has_guard,
        .rejected = m->rejected,
    };

    if (m->off) {
        *ret = plan_new_empty();
        return *ret ? 0 : -ENOMEM;
    }
    memcpy(input.sysctl, m->applier.has_sysctl, sizeof(input.sysctl));
    return plan_build(&input, m->stands, ret);
}

/* What is in the kernel, from the last dump; surplus copies of our rules go to *ret_extra. */
static int find_what_stands(struct manager *m, struct rule_list *ret_extra)
{
    int sysctls[SYSCTL_MAX];

    if (m->stands)
        return 0;
    applier_read_sysctls(&m->applier, sysctls);
    return plan_from_kernel(&m->kernel, sysctls, &m->stands, ret_extra);
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

/* Leaves a route out from now on. 0, or -EEXIST when it is out already, -ENOMEM, -E2BIG. */
static int reject(struct manager *m, const struct rtnl_route *route, const struct why *why)
{
    _cleanup_(route_set_unrefp) struct route_set *set = route_set_new();
    int r = set ? 0 : -ENOMEM;

    if (route_set_contains(m->rejected, route))
        return -EEXIST;
    for (size_t i = 0; r == 0 && m->rejected && i < m->rejected->n; i++)
        r = route_set_add(set, &m->rejected->items[i]);
    if (r == 0)
        r = route_set_add(set, route);
    if (r < 0)
        return r;
    if (set->n > REJECTED_MAX)
        return -E2BIG;
    route_set_sort(set);
    route_set_unref(m->rejected);
    m->rejected = TAKE_PTR(set);
    manager_notice(m, NOTICE_REJECTED, "a route of the host is left out: %s", why->text);
    return 0;
}

/* One attempt at a model: plan, diff, apply. */
struct attempt {
    struct plan *wanted;
    struct ops ops;            /* those that were done */
    struct rtnl_route refused; /* the route that failed; AF_UNSPEC = it was something else */
};

static void attempt_done(struct attempt *a)
{
    plan_unref(a->wanted);
    ops_done(&a->ops);
    *a = (struct attempt){ 0 };
}

static int attempt(struct manager *m, const struct model *next, struct attempt *a, struct why *why)
{
    struct rule_list extra = { 0 };
    struct transaction_result result = { 0 };
    int r;

    r = find_what_stands(m, &extra);
    if (r == 0)
        r = build_plan(m, next, &a->wanted);
    if (r == 0)
        r = plan_diff(m->stands, a->wanted, &extra, &a->ops);
    free(extra.items);
    if (r < 0)
        return r;

    r = transaction_run(&a->ops, applier_apply, &m->applier, &result, why);
    if (r == 0)
        return 0;
    if (result.failed < a->ops.n && route_of(&a->ops.items[result.failed]))
        a->refused = *route_of(&a->ops.items[result.failed]);
    /* rolled back; but the kernel was not quite what we took it for: look again */
    m->observer.stale |= OBSERVE_RULES | OBSERVE_ROUTES;
    if (result.undo_failed)
        reconcile_forget(m);
    return r;
}

/* Attempts until the kernel takes all of it, leaving out routes of the host that it refuses. */
static int apply_model(struct manager *m, const struct model *next, struct attempt *a,
                       struct why *why)
{
    for (;;) {
        int r = attempt(m, next, a, why);

        if (r == 0 || a->refused.family == AF_UNSPEC || r == -ENOMEM || r == -ENOBUFS ||
            was_asked_for(next, &m->kernel, &a->refused))
            return r;
        if (reject(m, &a->refused, why) < 0)
            return r;
        attempt_done(a);
    }
}

static void note_commit(struct manager *m, struct attempt *a)
{
    if (m->kernel.guard != a->wanted->guard) {
        guard_unref(m->kernel.guard);
        m->kernel.guard = guard_ref(a->wanted->guard);
    }
    plan_unref(m->stands);
    m->stands = TAKE_PTR(a->wanted);
    if (m->degraded) {
        m->degraded = false;
        manager_notice(m, NOTICE_RECOVERED, "everything that is wanted is applied again");
    }
}

int manager_settle(struct manager *m, manager_edit edit, void *data, struct why *why)
{
    _cleanup_(model_freep) struct model *next = model_copy(m->model);
    struct attempt a = { 0 };
    struct model *old;
    int r;

    if (!next)
        return -ENOMEM;
    r = edit ? edit(next, &m->kernel, data, why) : 0;
    if (r == 0)
        r = host_update(next, &m->kernel);
    if (r == 0)
        r = apply_model(m, next, &a, why);
    if (r == 0) {
        r = store_commit(&m->store, m->model, next);
        if (r < 0) {
            (void)why_set(why, r, "cannot write the state file: %s", strerror(-r));
            if (transaction_undo(&a.ops, applier_apply, &m->applier) < 0)
                reconcile_forget(m);
        }
    }
    if (r == 0) {
        note_commit(m, &a);
        old = m->model;
        m->model = TAKE_PTR(next);
        for (size_t i = 0; i < m->n_listeners; i++)
            if (m->listeners[i].commit)
                m->listeners[i].commit(m->listeners[i].data, old, m->model);
        model_free(old);
    }
    attempt_done(&a);
    return r;
}

int manager_change(struct manager *m, manager_edit edit, void *data, struct why *why)
{
    int r = reconcile_now(m, why);

    return r < 0 ? r : manager_settle(m, edit, data, why);
}
