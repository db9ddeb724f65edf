/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/bus-explain.h"

#include <errno.h>

#include "daemon/reconcile.h"
#include "daemon/verifier.h"
#include "decide/socket-reason.h"
#include "observe/users.h"
#include "plan/explain.h"
#include "plan/routes.h"
#include "plan/rules.h"
#include "plan/socket-facts.h"

/* The question. */

static int read_uid(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "u", &flow->uid);
}

static int read_user(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    const char *name;
    int r = sd_bus_message_read(msg, "v", "s", &name);

    return r < 0 ? r : users_uid_of_name(name, &flow->uid, why);
}

static int read_pid(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    uint32_t pid;
    int r = sd_bus_message_read(msg, "v", "u", &pid);

    return r < 0 ? r : users_uid_of_pid(pid, &flow->uid, why);
}

static int read_mark(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "u", &flow->mark);
}

/* An IPv6 socket that is used with ::ffff:a.b.c.d sends IPv4. */
static void unmap(struct ip_addr *a)
{
    static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

    if (a->family == AF_INET6 && mem_equal(a->bytes, mapped, sizeof(mapped)))
        *a = ip_addr_make(AF_INET, a->bytes + sizeof(mapped), 4);
}

static int read_address(sd_bus_message *msg, struct ip_addr *ret, const char *what, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    if (r >= 0 && ip_addr_parse(text, ret) < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no %s address: use a literal, names are not looked up", text,
                       what);
    if (r >= 0)
        unmap(ret);
    return r;
}

static int read_source(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    return read_address(msg, &flow->src, "source", why);
}

static int read_destination(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why)
{
    return read_address(msg, &flow->dst, "destination", why);
}

/* The device's name becomes an index once the facts are fresh: it is kept in the caller's frame. */
struct question {
    struct rtnl_flow flow;
    const char *device;
    unsigned given; /* 1 << GIVEN_* */
};

static int read_device(sd_bus_message *msg, struct question *q)
{
    return sd_bus_message_read(msg, "v", "s", &q->device);
}

/* What a key answers: nothing is answered twice. */
enum given { GIVEN_SENDER, GIVEN_MARK, GIVEN_DEVICE, GIVEN_SOURCE, GIVEN_DESTINATION };

static const struct {
    const char *key;
    enum given given;
    int (*read)(sd_bus_message *msg, struct rtnl_flow *flow, struct why *why); /* NULL = device */
} question_keys[] = {
    { "Uid", GIVEN_SENDER, read_uid },
    { "User", GIVEN_SENDER, read_user },
    { "Pid", GIVEN_SENDER, read_pid },
    { "Mark", GIVEN_MARK, read_mark },
    { "Device", GIVEN_DEVICE, NULL },
    { "Source", GIVEN_SOURCE, read_source },
    { "Destination", GIVEN_DESTINATION, read_destination },
};

static int read_question_key(sd_bus_message *msg, struct question *q, struct why *why)
{
    const char *key;
    size_t i = 0;
    int r = sd_bus_message_read(msg, "s", &key);

    if (r < 0)
        return r;
    while (i < ELEMENTSOF(question_keys) && !streq(question_keys[i].key, key))
        i++;
    if (i == ELEMENTSOF(question_keys))
        return why_set(why, -EINVAL, "Explain has no key '%.60s'", key);
    if (q->given & 1U << question_keys[i].given)
        return question_keys[i].given == GIVEN_SENDER
                   ? why_set(why, -EINVAL, "only one of Uid, User and Pid can say who sends")
                   : why_set(why, -EINVAL, "key '%s' is given twice", key);
    q->given |= 1U << question_keys[i].given;
    return question_keys[i].read ? question_keys[i].read(msg, &q->flow, why) : read_device(msg, q);
}

static int read_question(sd_bus_message *msg, struct question *q, struct why *why)
{
    int r = sd_bus_message_enter_container(msg, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = read_question_key(msg, q, why);
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    if (r == -ENXIO || r == -EBADMSG)
        return why_set(why, -EINVAL, "a value is not of the type that docs/dbus.md gives");
    if (r < 0)
        return r;
    if (!ip_addr_is_set(&q->flow.dst))
        return why_set(why, -EINVAL, "Explain needs a Destination");
    if (ip_addr_is_set(&q->flow.src) && q->flow.src.family != q->flow.dst.family)
        return why_set(why, -EINVAL, "source and destination are of different families");
    if (q->flow.uid > UID_MAX)
        return why_set(why, -EINVAL, "%u is no uid", q->flow.uid);
    return 0;
}

/* The answer. */

static int append_steps(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Steps");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a(usssss)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(usssss)");
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
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
}

static const char *link_name(const struct kernel *k, int ifindex)
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
                                 o->error ? "" : link_name(k, o->oif));
}

/* Rules that ask for a protocol, port or tos: what becomes of other packets than UDP. */
static int append_otherwise(sd_bus_message *m, const struct explanation *e, const struct kernel *k)
{
    int r = sd_bus_message_open_container(m, 'e', "sv");

    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Otherwise");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a(usbss)");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "(usbss)");
    for (size_t i = 0; r >= 0 && i < e->n_steps; i++)
        if (e->steps[i].narrow)
            r = append_other(m, &e->steps[i], k);
    for (int i = 0; r >= 0 && i < 3; i++)
        r = sd_bus_message_close_container(m);
    return r;
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

    if (!a || !a->network)
        return "";
    n = model_network_by_name(manager->model, a->network->s);
    return n ? network_bus_state(manager, n) : "absent";
}

static int append_question(sd_bus_message *m, const struct manager *manager,
                           const struct explanation *e, const struct kernel *k)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT;
    const struct assignment *a = e->assignment;
    const char *assigned = a && a->network ? a->network->s : "none";
    char dst[IP_TEXT_MAX], src[IP_TEXT_MAX];

    if (a)
        selector_print(&a->selector, &selector);
    return sd_bus_message_append(
        m, "{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}{sv}", "Uid", "u", e->flow.uid, "Mark", "u",
        e->flow.mark, "Device", "s", link_name(k, e->flow.oif), "Destination", "s",
        addr_text(&e->flow.dst, dst), "From", "s", addr_text(&e->flow.src, src), "Selector", "s",
        strbuf_text(&selector), "Assigned", "s", a ? assigned : "", "Strength", "s",
        a ? strength_to_string(a->strength) : "", "AssignedState", "s", assigned_state(manager, a));
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
        m, "{sv}{sv}{sv}{sv}{sv}{sv}", "Interface", "s", link_name(k, s->oif), "Network", "s",
        e->network ? e->network->name : "", "Table", "u", s->table, "Type", "s",
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
        strbuf_add(&b, " dev %s table ", link_name(k, e->answer.oif));
        rtnl_table_print(e->answer.table, &b);
        if (ip_addr_is_set(&e->answer.src))
            strbuf_add(&b, " src %s", ip_addr_format(&e->answer.src, text));
    }
    return sd_bus_message_append(m, "{sv}{sv}", "Kernel", "s", strbuf_text(&b), "KernelAgrees", "b",
                                 e->agrees);
}

static int append_explanation(sd_bus_message *m, const struct manager *manager,
                              const struct explanation *e, const struct kernel *k)
{
    int r = sd_bus_message_open_container(m, 'a', "{sv}");

    if (r >= 0)
        r = append_question(m, manager, e, k);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "MarkReason", "s",
                                  e->mark_reason ? e->mark_reason : "");
    if (r >= 0)
        r = append_result(m, e, k);
    if (r >= 0)
        r = append_kernel(m, e, k);
    if (r >= 0)
        r = append_steps(m, e, k);
    if (r >= 0)
        r = append_otherwise(m, e, k);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

/*
 * With the back-end `maps` a socket's mark decides: the one that connect() leaves it with, unless
 * the question has a mark. 0 or -ENOMEM; *ret_reason stays NULL where nobody marks sockets.
 */
static int decide_mark(struct manager *m, const struct kernel *k, struct rtnl_flow *flow,
                       const char **ret_reason)
{
    static const enum socket_command commands[] = { SOCKET_CREATE, SOCKET_CONNECT };
    _cleanup_socket_facts_ struct socket_facts facts = { 0 };
    struct socket_answer answer = { 0 };
    int r;

    if (!k->maps)
        return 0;
    r = socket_facts_update(&facts, m->model, k);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(commands); i++) {
        struct socket_asked asked = { .command = commands[i],
                                      .uid = flow->uid,
                                      .mark = answer.mark };
        struct socket_question question;

        socket_facts_ask(&facts, &asked, &question);
        answer = socket_decide(&question);
    }
    if (r < 0)
        return r;
    if (answer.reason == SOCKET_REASON_DEFAULT && !(answer.mark & MARK_NETID_MASK))
        return 0; /* such sockets are left alone */
    flow->mark = answer.mark;
    *ret_reason = socket_reason_to_string(answer.reason);
    return 0;
}

/* Explains one flow on a snapshot, and asks the kernel. */
static int explain_flow(struct manager *m, const struct kernel *k, const struct rtnl_flow *flow,
                        struct explanation *ret)
{
    struct kernel_answer answer;

    explain(m->model, k, flow, ret);
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

int bus_explain(struct bus_call *call, struct why *why)
{
    _cleanup_explanation_ struct explanation e = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    struct question q = { 0 };
    const char *reason = NULL;
    sd_bus_message *reply = NULL;
    int r = read_question(call->msg, &q, why);

    if (r >= 0)
        r = take_snapshot(call->m, &k, why);
    if (r < 0)
        return r;
    if (q.device && *q.device) {
        const struct rtnl_link *link = kernel_link_by_name(&k, q.device);

        if (!link)
            return why_set(why, -ENODEV, "there is no interface '%.32s': see `ip link`", q.device);
        q.flow.oif = link->ifindex;
    }
    if (!(q.given & 1U << GIVEN_MARK))
        r = decide_mark(call->m, &k, &q.flow, &reason);
    if (r >= 0)
        r = explain_flow(call->m, &k, &q.flow, &e);
    e.mark_reason = reason;
    if (r >= 0)
        r = sd_bus_message_new_method_return(call->msg, &reply);
    if (r >= 0)
        r = append_explanation(reply, call->m, &e, &k);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

/* Only with a counterexample: it is explained like any other question. */
static int append_counterexample(sd_bus_message *m, struct manager *manager,
                                 const struct verify_result *v)
{
    _cleanup_explanation_ struct explanation e = { 0 };
    _cleanup_kernel_ struct kernel k = { 0 };
    int r = take_snapshot(manager, &k, NULL);

    if (r >= 0)
        r = explain_flow(manager, &k, &v->flow, &e);
    if (r >= 0)
        r = sd_bus_message_append(m, "{sv}", "Interface", "s", link_name(&k, v->oif));
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'e', "sv");
    if (r >= 0)
        r = sd_bus_message_append(m, "s", "Counterexample");
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'v', "a{sv}");
    if (r >= 0)
        r = append_explanation(m, manager, &e, &k);
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
