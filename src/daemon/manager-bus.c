/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The object /org/waymark1, interface org.waymark1.Manager. */

#include <errno.h>

#include "daemon/apps.h"
#include "daemon/bus-end.h"
#include "daemon/bus-explain.h"
#include "daemon/doctor.h"
#include "daemon/network-requests.h"
#include "daemon/reconcile.h"
#include "observe/selectors.h"
#include "observe/users.h"
#include "plan/policy.h"

/* Networks, by name. */

static int with_name(struct bus_call *call, struct why *why,
                     int (*request)(struct bus_call *, const char *, struct why *))
{
    const char *name;
    int r = sd_bus_message_read(call->msg, "s", &name);

    return r < 0 ? r : request(call, name, why);
}

static int run_set_network(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_set);
}

static int run_remove_network(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_remove);
}

static int run_attach(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_attach);
}

static int run_detach(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_detach);
}

static int run_add_route(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_add_route);
}

static int run_remove_route(struct bus_call *call, struct why *why)
{
    return with_name(call, why, request_remove_route);
}

static int run_get_network(struct bus_call *call, struct why *why)
{
    _cleanup_free_ char *path = NULL;
    const struct network *n;
    const char *name;
    int r = sd_bus_message_read(call->msg, "s", &name);

    if (r < 0)
        return r;
    n = model_network_by_name(call->m->model, name);
    if (!n)
        return why_set(why, -ENONET, "there is no network '%.64s': see `waymark network list`",
                       name);
    path = network_bus_path(n->netid);
    return path ? sd_bus_reply_method_return(call->msg, "o", path) : -ENOMEM;
}

/* The default network. */

static int edit_default(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const char *name = data;

    (void)k;
    return edit_set_default(m, streq(name, "system") ? NULL : name, why);
}

static int run_set_default(struct bus_call *call, struct why *why)
{
    const char *name;
    int r = sd_bus_message_read(call->msg, "s", &name);

    if (r >= 0)
        r = manager_change(call->m, edit_default, (void *)name, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

/* Assignments. */

static int edit_put_assignment(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    (void)k;
    return edit_assign(m, data, why);
}

static int read_assignment(sd_bus_message *msg, struct assignment *a, struct why *why)
{
    const char *selector, *network, *strength;
    int r = sd_bus_message_read(msg, "sss", &selector, &network, &strength), s;

    if (r >= 0)
        r = selector_parse(selector, &a->selector, why);
    if (r < 0)
        return r;
    s = strength_from_string(strength);
    if (s < 0)
        return why_set(why, -EINVAL, "'%.60s' is no strength: use require or prefer", strength);
    a->strength = (enum strength)s;
    a->origin = ORIGIN_COMMAND;
    if (assignment_set_target(a, network) < 0)
        return -ENOMEM;
    if (a->selector.kind == SELECTOR_USER || a->selector.kind == SELECTOR_GROUP)
        return users_resolve(&a->selector, &a->uids, why);
    return 0;
}

static int run_assign(struct bus_call *call, struct why *why)
{
    struct assignment a = { 0 };
    int r = read_assignment(call->msg, &a, why);

    if (r < 0) {
        assignment_done(&a);
        return r;
    }
    r = manager_change(call->m, edit_put_assignment, &a, why);
    assignment_done(&a); /* empty by now, unless the edit was not reached */
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int edit_drop_assignment(struct model *m, const struct kernel *k, void *data,
                                struct why *why)
{
    (void)k;
    return edit_unassign(m, data, why);
}

static int run_unassign(struct bus_call *call, struct why *why)
{
    struct selector selector = { 0 };
    const char *text;
    int r = sd_bus_message_read(call->msg, "s", &text);

    if (r >= 0)
        r = selector_parse(text, &selector, why);
    if (r >= 0)
        r = manager_change(call->m, edit_drop_assignment, &selector, why);
    selector_done(&selector);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

/* Is there anybody, or anything, that the i-th assignment means? */
static bool means_anything(const struct manager *m, size_t i)
{
    const struct assignment *a = &m->model->assignments->items[i];
    const struct uid_range *ranges;
    size_t n = 0;

    if (a->selector.kind < SELECTOR_CGROUP)
        return assignment_ranges(a, &ranges) > 0;
    if (m->selectors)
        (void)selectors_of(m->selectors, i, &n);
    return n > 0;
}

/* What the i-th assignment does at the moment. */
static const char *assignment_state(const struct manager *m, size_t i, const struct targets *t,
                                    bool holds)
{
    const struct assignment *a = &m->model->assignments->items[i];
    ssize_t target = a->network ? targets_find(t, a->network->s) : -1;

    if (m->off)
        return "off"; /* until a reload ends the panic-off */
    if (!means_anything(m, i))
        return "waiting"; /* no such user, program or cgroup now */
    if (!holds && a->selector.kind < SELECTOR_CGROUP)
        return "shadowed"; /* closer ones hold for all of its uids */
    if (!a->network)
        return "blocked";
    if (targets_is_usable(t, target) || assignment_is_default(a))
        return "active";
    return a->strength == STRENGTH_REQUIRE ? "blocked" : "fallback";
}

static int append_assignment(sd_bus_message *m, const struct assignment *a, const char *state)
{
    _cleanup_strbuf_ struct strbuf selector = STRBUF_INIT, source = STRBUF_INIT;
    const struct uid_range *ranges;
    size_t n = assignment_ranges(a, &ranges);
    char text[UID_RANGE_TEXT_MAX];
    int r;

    selector_print(&a->selector, &selector);
    if (a->file)
        strbuf_add(&source, "%s:%u", a->file->s, a->line);
    r = sd_bus_message_open_container(m, 'r', "ssssssas");
    if (r >= 0)
        r = sd_bus_message_append(m, "ssssss", strbuf_text(&selector), assignment_target(a),
                                  strength_to_string(a->strength), state,
                                  origin_to_string(a->origin), strbuf_text(&source));
    if (r >= 0)
        r = sd_bus_message_open_container(m, 'a', "s");
    for (size_t i = 0; r >= 0 && i < n; i++)
        r = sd_bus_message_append(m, "s", uid_range_format(&ranges[i], text));
    if (r >= 0)
        r = sd_bus_message_close_container(m);
    return r < 0 ? r : sd_bus_message_close_container(m);
}

static int run_list_assignments(struct bus_call *call, struct why *why)
{
    const struct assignments *all = call->m->model->assignments;
    _cleanup_free_ bool *holds = calloc(all->n + 1, sizeof(bool));
    _cleanup_(targets_unrefp) struct targets *t = NULL;
    sd_bus_message *reply = NULL;
    int r = holds ? targets_build(call->m->model, &call->m->kernel, &t) : -ENOMEM;

    (void)why;
    if (r >= 0 && call->m->selectors)
        r = selectors_update(call->m->selectors, all);
    if (r >= 0)
        r = policy_holds(all, holds);
    if (r >= 0)
        r = sd_bus_message_new_method_return(call->msg, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(ssssssas)");
    for (size_t i = 0; r >= 0 && i < all->n; i++)
        r = append_assignment(reply, &all->items[i], assignment_state(call->m, i, t, holds[i]));
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

/* The rest. */

static int run_doctor(struct bus_call *call, struct why *why)
{
    _cleanup_findings_ struct findings f = { 0 };
    struct manager *m = call->m;
    sd_bus_message *reply = NULL;
    int r = reconcile_now(m, why);

    if (r >= 0)
        r = doctor_run(&m->options, m, &m->observer, &m->applier, &f);
    if (r >= 0)
        r = sd_bus_message_new_method_return(call->msg, &reply);
    if (r >= 0)
        r = sd_bus_message_open_container(reply, 'a', "(ssss)");
    for (size_t i = 0; r >= 0 && i < f.n; i++)
        r = sd_bus_message_append(reply, "(ssss)", f.items[i].check,
                                  finding_level_to_string(f.items[i].level), f.items[i].text,
                                  f.items[i].remedy);
    if (r >= 0)
        r = sd_bus_message_close_container(reply);
    if (r >= 0)
        r = sd_bus_send(NULL, reply, NULL);
    sd_bus_message_unref(reply);
    return r;
}

static int run_reload(struct bus_call *call, struct why *why)
{
    int r = manager_reload(call->m, why);

    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

static int run_panic_off(struct bus_call *call, struct why *why)
{
    int r = manager_panic_off(call->m, why);

    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

const struct bus_method manager_bus_methods[] = {
    { BUS_MANAGER, "AddNetwork", true, request_add },
    { BUS_MANAGER, "SetNetwork", true, run_set_network },
    { BUS_MANAGER, "RemoveNetwork", true, run_remove_network },
    { BUS_MANAGER, "GetNetwork", false, run_get_network },
    { BUS_MANAGER, "Attach", true, run_attach },
    { BUS_MANAGER, "Detach", true, run_detach },
    { BUS_MANAGER, "AddRoute", true, run_add_route },
    { BUS_MANAGER, "RemoveRoute", true, run_remove_route },
    { BUS_MANAGER, "SetDefault", true, run_set_default },
    { BUS_MANAGER, "Assign", true, run_assign },
    { BUS_MANAGER, "Unassign", true, run_unassign },
    { BUS_MANAGER, "ListAssignments", false, run_list_assignments },
    { BUS_MANAGER, "ListApps", false, bus_list_apps },
    { BUS_MANAGER, "Explain", false, bus_explain },
    { BUS_MANAGER, "Verify", false, bus_verify },
    { BUS_MANAGER, "Doctor", false, run_doctor },
    { BUS_MANAGER, "Run", false, bus_run_program }, /* asks by itself whether that is allowed */
    { BUS_MANAGER, "Reload", true, run_reload },
    { BUS_MANAGER, "PanicOff", true, run_panic_off },
    { 0 },
};

/* Properties. */

static int append_version(sd_bus_message *reply, const struct manager *m)
{
    (void)m;
    return sd_bus_message_append(reply, "s", WAYMARK_VERSION);
}

static int append_default(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(
        reply, "s", m->model->default_network ? m->model->default_network->s : "system");
}

static int append_off(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "b", m->off);
}

static int append_degraded(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "s", m->degraded ? m->degraded_why.text : "");
}

static int append_backend(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "s", m->applier.has_maps ? "maps" : "rules");
}

static int append_guard(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "b", m->applier.has_guard);
}

static int append_host_networks(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "b", m->model->host_networks);
}

static int append_assignment_count(sd_bus_message *reply, const struct manager *m)
{
    return sd_bus_message_append(reply, "u", (uint32_t)m->model->assignments->n);
}

static const struct {
    const char *name;
    int (*append)(sd_bus_message *reply, const struct manager *m);
} properties[] = {
    { "Version", append_version },
    { "DefaultNetwork", append_default },
    { "Off", append_off },
    { "Degraded", append_degraded },
    { "Backend", append_backend },
    { "Guard", append_guard },
    { "HostNetworks", append_host_networks },
    { "AssignmentCount", append_assignment_count },
};

static int get_property(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const struct bus_end *end = userdata;

    (void)sd;
    (void)path;
    (void)interface;
    for (size_t i = 0; i < ELEMENTSOF(properties); i++)
        if (streq(properties[i].name, property))
            return properties[i].append(reply, end->bus->m);
    return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, "there is no such property");
}

const sd_bus_vtable manager_bus_vtable[] = {
    SD_BUS_VTABLE_START(0),
    PROPERTY("Version", "s", CONSTANT),
    PROPERTY("DefaultNetwork", "s", CHANGES),
    PROPERTY("Off", "b", CHANGES),
    PROPERTY("Degraded", "s", CHANGES),
    PROPERTY("Backend", "s", CONSTANT),
    PROPERTY("Guard", "b", CONSTANT),
    PROPERTY("HostNetworks", "b", CONSTANT),
    PROPERTY("AssignmentCount", "u", CHANGES),
    METHOD("AddNetwork", "sa{sv}", ARG(name) ARG(options), "o", ARG(network)),
    METHOD("SetNetwork", "sa{sv}", ARG(name) ARG(options), "", ""),
    METHOD("RemoveNetwork", "s", ARG(name), "", ""),
    METHOD("GetNetwork", "s", ARG(name), "o", ARG(network)),
    METHOD("Attach", "ss", ARG(name) ARG(interface), "", ""),
    METHOD("Detach", "ss", ARG(name) ARG(interface), "", ""),
    METHOD("AddRoute", "ss", ARG(name) ARG(route), "", ""),
    METHOD("RemoveRoute", "ss", ARG(name) ARG(route), "", ""),
    METHOD("SetDefault", "s", ARG(name), "", ""),
    METHOD("Assign", "sss", ARG(selector) ARG(network) ARG(strength), "", ""),
    METHOD("Unassign", "s", ARG(selector), "", ""),
    METHOD("ListAssignments", "", "", "a(ssssssas)", ARG(assignments)),
    METHOD("ListApps", "", "", "saa{sv}", ARG(uncounted) ARG(apps)),
    METHOD("Explain", "a{sv}", ARG(question), "a{sv}", ARG(answer)),
    METHOD("Verify", "", "", "a{sv}", ARG(result)),
    METHOD("Doctor", "", "", "a(ssss)", ARG(findings)),
    METHOD("Run", "sb", ARG(network) ARG(make), "s", ARG(cgroup)),
    METHOD("Reload", "", "", "", ""),
    METHOD("PanicOff", "", "", "", ""),
    SD_BUS_SIGNAL_WITH_ARGS("Event", SD_BUS_ARGS("s", kind, "s", text), 0),
    SD_BUS_VTABLE_END,
};
