/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/explain-answer.h"

#include <errno.h>

#include "decide/socket-reason.h"
#include "plan/routes.h"
#include "plan/rules.h"

/* Opens the value of a key that is an array of structs; close_array() closes all of it. */
static int open_array(sd_bus_message *m, const char *key, const char *array)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", key);
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', array);
    return r < 0 ? r : sd_bus_message_open_container(m, 'a', array + 1);
}

static int close_array(sd_bus_message *m, int r)
{
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static int append_steps(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    int r = open_array(m, "Steps", "a(usssss)");

    for (size_t i = 0; r >= 0 && i < e->n_steps; i++) {
        _cleanup_strbuf_ struct strbuf rule = STRBUF_INIT, route = STRBUF_INIT;
        const struct explain_step *s = &e->steps[i];
        const char *name =
            s->rule.protocol == RTPROT_WAYMARK ? rule_priority_name(s->rule.priority) : NULL;

        rtnl_rule_print(&s->rule, &rule);
        if (s->has_route)
            plan_route_print(&s->route, k, &route);
        r = sd_bus_message_append(m, "(usssss)", s->rule.priority, name ? name : "",
                                  strbuf_text(&rule), sim_mismatch_to_string(s->mismatch),
                                  s->mismatch == SIM_MATCHES ? sim_outcome_to_string(s->outcome)
                                                             : "",
                                  strbuf_text(&route));
    }
    return close_array(m, r);
}

const char *explain_link_name(const struct kernel *k, int ifindex)
{
    const struct rtnl_link *link = ifindex ? kernel_link(k, ifindex) : NULL;

    return link ? link->name : "";
}

static int append_other(sd_bus_message *m, const struct explain_step *s, const struct kernel *k)
{
    _cleanup_strbuf_ struct strbuf packets = STRBUF_INIT;
    const struct explain_other *o = &s->other;

    strbuf_add(&packets, "%s", o->all_but ? "all but " : "");
    rtnl_rule_print_packet(&s->rule, &packets);
    return sd_bus_message_append(m, "(usbss)", s->rule.priority, strbuf_text(&packets), o->differs,
                                 o->error ? strerror(-o->error) : "",
                                 o->error ? "" : explain_link_name(k, o->oif));
}

/* Rules that ask for a protocol, port or tos: what becomes of other packets than UDP. */
static int append_otherwise(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    int r = open_array(m, "Otherwise", "a(usbss)");

    for (size_t i = 0; r >= 0 && i < e->n_steps; i++)
        if (e->steps[i].narrow)
            r = append_other(m, &e->steps[i], k);
    return close_array(m, r);
}

static const char *addr_text(const struct ip_addr *a, char buf[static IP_TEXT_MAX])
{
    return ip_addr_is_set(a) ? ip_addr_format(a, buf) : "";
}

static const char *route_type(uint8_t type)
{
    static const char *const names[] = {
        [RTN_UNICAST] = "unicast", [RTN_LOCAL] = "local",         [RTN_BROADCAST] = "broadcast",
        [RTN_ANYCAST] = "anycast", [RTN_MULTICAST] = "multicast",
    };

    return type < ELEMENTSOF(names) && names[type] ? names[type] : "other";
}

/* Whether the network of the assignment can be used: most often that is the answer. */
static const char *assigned_state(const struct manager *manager, const struct assignment *a)
{
    const struct network *n;

    if (!a || !a->network || assignment_is_default(a))
        return "";
    n = model_network_by_name(manager->model, a->network->s);
    return n ? network_bus_state(manager, n) : "absent";
}

static int append_question(sd_bus_message *m, const struct explain_answer *x)
{
    const struct explanation *e = x->e;
    char dst[IP_TEXT_MAX], src[IP_TEXT_MAX];

    return sd_bus_message_append(
        m, "{sv}{sv}{sv}{sv}{sv}{sv}", "Uid", "u", e->flow.uid, "Mark", "u", e->flow.mark, "Device",
        "s", explain_link_name(x->k, e->flow.oif), "Destination", "s", addr_text(&e->flow.dst, dst),
        "From", "s", addr_text(&e->flow.src, src), "Backend", "s", x->k->maps ? "maps" : "rules");
}

/* What is known of the process, or of what would be one. */
static int append_process(sd_bus_message *m, const struct explain_answer *x)
{
    const struct asked_app *app = x->app;
    const struct process *p = app ? &app->process : NULL;
    int r = 0;

    if (p && p->pid)
        r = sd_bus_message_append(m, "{sv}", "Pid", "u", p->pid);
    if (r >= 0 && p && p->cgroup)
        r = sd_bus_message_append(m, "{sv}", "Cgroup", "s", p->cgroup);
    if (r >= 0 && p && p->exe && x->show_exe)
        r = sd_bus_message_append(m, "{sv}", "Exe", "s", p->exe);
    if (r >= 0 && app && app->absent)
        r = sd_bus_message_append(m, "{sv}", "Absent", "b", true);
    return r;
}

static int append_assignment(sd_bus_message *m, const struct explain_answer *x)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;
    const struct assignment *a = x->e->assignment;

    if (a)
        selector_print(&a->selector, &selector);
    return sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "Selector", "s", strbuf_text(&selector),
                                 "Assigned", "s", a ? assignment_target(a) : "", "Strength", "s",
                                 a ? strength_to_string(a->strength) : "", "AssignedState", "s",
                                 assigned_state(x->manager, a), "Step", "s",
                                 app_step_to_string(x->e->step));
}

static int append_match(sd_bus_message *m, const struct app_match *match)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;
    const struct assignment *a = match->assignment;

    selector_print(&a->selector, &selector);
    return sd_bus_message_append(m, "(sssss)", strbuf_text(&selector), assignment_target(a),
                                 strength_to_string(a->strength), app_step_to_string(match->step),
                                 app_loss_to_string(match->loss));
}

/* The assignments that match and do not hold. */
static int append_others(sd_bus_message *m, const struct explain_answer *x)
{
    size_t n = x->app ? x->app->n_matches : 0;
    int r = open_array(m, "Others", "a(sssss)");

    for (size_t i = 0; r >= 0 && i < n; i++)
        if (x->app->matches[i].loss != APP_LOSS_NONE)
            r = append_match(m, &x->app->matches[i]);
    return close_array(m, r);
}

/* Back-end maps: what socket_decide() says to each call that a socket sees. */
static int append_decision(sd_bus_message *m, const struct explain_answer *x)
{
    static const char *const commands[EXPLAIN_COMMANDS] = { "socket", "connect" };
    const struct explain_mark *mark = x->mark;
    int r;

    r = sd_bus_message_append(m, "{sv}", "MarkReason", "s",
                              mark && mark->reason ? mark->reason : "");
    if (r < 0 || !mark || !mark->decided)
        return r;
    r = sd_bus_message_append(m, "{sv}", "MarkNetwork", "s", mark->network);
    if (r >= 0)
        r = open_array(m, "Decision", "a(susu)");
    for (int i = 0; r >= 0 && i < EXPLAIN_COMMANDS; i++)
        r = sd_bus_message_append(m, "(susu)", commands[i], mark->steps[i].number,
                                  mark->steps[i].reason, mark->steps[i].mark);
    return close_array(m, r);
}

/* Without a destination: the interfaces by which the guard lets the app out. */
static int append_ports(sd_bus_message *m, const struct explain_answer *x)
{
    const struct app_match *holds = x->app ? asked_app_holds(x->app) : NULL;
    const struct kernel *k = x->k;
    bool held = false;
    int r = open_array(m, "Ports", "as");

    for (size_t i = 0; r >= 0 && i < k->n_links; i++) {
        enum guard_verdict verdict =
            explain_guard(x->manager->model, k, &x->e->flow, holds, k->links[i].ifindex);

        held |= verdict != GUARD_UNASSIGNED;
        if (verdict == GUARD_PORT || verdict == GUARD_PROTECTED)
            r = sd_bus_message_append(m, "s", k->links[i].name);
    }
    r = close_array(m, r);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "Guard", "s",
                                  !kernel_guard(k) ? "absent"
                                  : held           ? "held"
                                                   : guard_verdict_to_string(GUARD_UNASSIGNED));
    return r;
}

static int append_result(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    const struct sim_result *s = &e->result;
    char gateway[IP_TEXT_MAX], src[IP_TEXT_MAX];
    int r;

    r = sd_bus_message_append(m, "{sv}{sv}{sv}{sv}{sv}", "Error", "i", -e->error, "ErrorText", "s",
                              e->error ? strerror(-e->error) : "", "Guard", "s",
                              kernel_guard(k) ? guard_verdict_to_string(e->guard) : "absent",
                              "Shortcut", "b", s->shortcut, "Uncertain", "b", s->uncertain);
    if (r < 0 || s->error < 0)
        return r;
    return sd_bus_message_append(
        m, "{sv}{sv}{sv}{sv}{sv}{sv}", "Interface", "s", explain_link_name(k, s->oif), "Network",
        "s", e->network ? e->network->name : "", "Table", "u", s->table, "Type", "s",
        route_type(s->type), "Gateway", "s", addr_text(&s->gateway, gateway), "Source", "s",
        addr_text(ip_addr_is_set(&s->src) ? &s->src : &e->answer.src, src));
}

static int append_kernel(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    char text[IP_TEXT_MAX];

    if (!e->asked)
        return 0;
    if (e->answer.error < 0)
        strbuf_add(&b, "%s", strerror(-e->answer.error));
    else {
        strbuf_add(&b, "%s", route_type(e->answer.type));
        if (ip_addr_is_set(&e->answer.gateway))
            strbuf_add(&b, " via %s", ip_addr_format(&e->answer.gateway, text));
        strbuf_add(&b, " dev %s table ", explain_link_name(k, e->answer.oif));
        rtnl_table_print(e->answer.table, &b);
        if (ip_addr_is_set(&e->answer.src))
            strbuf_add(&b, " src %s", ip_addr_format(&e->answer.src, text));
    }
    return sd_bus_message_append(m, "{sv}{sv}", "Kernel", "s", strbuf_text(&b), "KernelAgrees", "b",
                                 e->agrees);
}

static int append_way(sd_bus_message *m, const struct explain_answer *x)
{
    int r = append_result(m, x->e, x->k);

    if (r >= 0)
        r = append_kernel(m, x->e, x->k);
    if (r >= 0)
        r = append_steps(m, x->e, x->k);
    return r < 0 ? r : append_otherwise(m, x->e, x->k);
}

int explain_append(sd_bus_message *m, const struct explain_answer *x)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    if (r >= 0)
        r = append_question(m, x);
    if (r >= 0)
        r = append_process(m, x);
    if (r >= 0)
        r = append_assignment(m, x);
    if (r >= 0)
        r = append_others(m, x);
    if (r >= 0)
        r = append_decision(m, x);
    if (r >= 0)
        r = ip_addr_is_set(&x->e->flow.dst) ? append_way(m, x) : append_ports(m, x);
    return r < 0 ? r : sd_bus_message_close_container(m);
}
