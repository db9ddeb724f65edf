/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/network-requests.h"

#include <errno.h>

/* Everything that an edit of a network may need. */
struct request {
    const char *network;
    struct network *draft;
    unsigned fields;
    const char *interface;
    struct route_spec route;
    uint32_t netid; /* out: of the network that was added */
};

static int edit_add(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    struct request *q = data;

    return edit_add_network(m, k, q->draft, q->fields, &q->netid, why);
}

static int edit_set(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;

    (void)k;
    return edit_set_network(m, q->network, ORIGIN_COMMAND, q->draft, q->fields, why);
}

static int edit_remove(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;

    (void)k;
    return edit_remove_network(m, q->network, why);
}

static int edit_do_attach(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;

    return edit_attach(m, k, q->network, ORIGIN_COMMAND, q->interface, why);
}

static int edit_do_detach(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;

    (void)k;
    return edit_detach(m, q->network, ORIGIN_COMMAND, q->interface, why);
}

static int edit_do_add_route(struct model *m, const struct kernel *k, void *data, struct why *why)
{
    const struct request *q = data;

    return edit_add_route(m, k, q->network, ORIGIN_COMMAND, &q->route, why);
}

static int edit_do_remove_route(struct model *m, const struct kernel *k, void *data,
                                struct why *why)
{
    const struct request *q = data;

    return edit_remove_route(m, k, q->network, ORIGIN_COMMAND, &q->route, why);
}

/*
 * The name is copied: it may be that of a network object, which the change replaces. Replies with
 * nothing when the change was made.
 */
static int change(struct bus_call *call, manager_edit edit, struct request *q, struct why *why)
{
    char name[NETWORK_NAME_MAX + 1];
    int r;

    if (!str_set(name, sizeof(name), q->network))
        return why_set(why, -ENONET, "there is no network '%.64s…'", q->network);
    q->network = name;
    r = manager_change(call->m, edit, q, why);
    return r < 0 ? r : sd_bus_reply_method_return(call->msg, NULL);
}

int request_add(struct bus_call *call, struct why *why)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    _cleanup_free_ char *path = NULL;
    struct request q = { .draft = draft };
    const char *name;
    int r = draft ? sd_bus_message_read(call->msg, "s", &name) : -ENOMEM;

    if (r >= 0)
        r = network_name_check(name, why);
    if (r >= 0) {
        (void)str_set(draft->name, sizeof(draft->name), name);
        draft->origin = ORIGIN_COMMAND;
        r = network_bus_read_options(call->msg, draft, &q.fields, why);
    }
    if (r >= 0)
        r = manager_change(call->m, edit_add, &q, why);
    if (r < 0)
        return r;
    path = network_bus_path(q.netid);
    return path ? sd_bus_reply_method_return(call->msg, "o", path) : -ENOMEM;
}

int request_set(struct bus_call *call, const char *network, struct why *why)
{
    _cleanup_(network_unrefp) struct network *draft = network_new();
    struct request q = { .network = network, .draft = draft };
    int r = draft ? network_bus_read_options(call->msg, draft, &q.fields, why) : -ENOMEM;

    return r < 0 ? r : change(call, edit_set, &q, why);
}

int request_remove(struct bus_call *call, const char *network, struct why *why)
{
    struct request q = { .network = network };

    return change(call, edit_remove, &q, why);
}

int request_attach(struct bus_call *call, const char *network, struct why *why)
{
    struct request q = { .network = network };
    int r = sd_bus_message_read(call->msg, "s", &q.interface);

    return r < 0 ? r : change(call, edit_do_attach, &q, why);
}

int request_detach(struct bus_call *call, const char *network, struct why *why)
{
    struct request q = { .network = network };
    int r = sd_bus_message_read(call->msg, "s", &q.interface);

    return r < 0 ? r : change(call, edit_do_detach, &q, why);
}

static int read_route(struct bus_call *call, struct request *q, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(call->msg, "s", &text);

    return r < 0 ? r : route_spec_parse_line(text, &q->route, why);
}

int request_add_route(struct bus_call *call, const char *network, struct why *why)
{
    struct request q = { .network = network };
    int r = read_route(call, &q, why);

    return r < 0 ? r : change(call, edit_do_add_route, &q, why);
}

int request_remove_route(struct bus_call *call, const char *network, struct why *why)
{
    struct request q = { .network = network };
    int r = read_route(call, &q, why);

    return r < 0 ? r : change(call, edit_do_remove_route, &q, why);
}

/* Options: one row per key of the a{sv}. */

static int read_netid(sd_bus_message *msg, struct network *n, struct why *why)
{
    (void)why;
    return sd_bus_message_read(msg, "v", "u", &n->netid);
}

static int read_type(sd_bus_message *msg, struct network *n, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text), type;

    if (r < 0)
        return r;
    type = network_type_from_string(text);
    if (type < 0)
        return why_set(why, -EINVAL, "'%.60s' is no type: use physical, vpn, local or unreachable",
                       text);
    n->type = (enum network_type)type;
    return 0;
}

static int read_permission(sd_bus_message *msg, struct network *n, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text), permission;

    if (r < 0)
        return r;
    permission = permission_from_string(text);
    if (permission < 0)
        return why_set(why, -EINVAL, "'%.60s' is no permission: use none, network or system", text);
    n->permission = (enum permission)permission;
    return 0;
}

static int read_secure(sd_bus_message *msg, struct network *n, struct why *why)
{
    int value, r = sd_bus_message_read(msg, "v", "b", &value);

    (void)why;
    n->secure = r >= 0 && value;
    return r;
}

static int read_exclude_local(sd_bus_message *msg, struct network *n, struct why *why)
{
    int value, r = sd_bus_message_read(msg, "v", "b", &value);

    (void)why;
    n->exclude_local = r >= 0 && value;
    return r;
}

static int read_fall_through(sd_bus_message *msg, struct network *n, struct why *why)
{
    int value, r = sd_bus_message_read(msg, "v", "b", &value);

    (void)why;
    n->fall_through = r >= 0 && value;
    return r;
}

static int read_lockdown(sd_bus_message *msg, struct network *n, struct why *why)
{
    int value, r = sd_bus_message_read(msg, "v", "b", &value);

    (void)why;
    n->lockdown = r >= 0 && value;
    return r;
}

static int read_strings(sd_bus_message *msg, struct network *n,
                        int (*add)(struct network *n, const char *text, struct why *why),
                        struct why *why)
{
    const char *text;
    int r = sd_bus_message_enter_container(msg, 'v', "as");

    if (r >= 0)
        r = sd_bus_message_enter_container(msg, 'a', "s");
    while (r >= 0 && (r = sd_bus_message_read(msg, "s", &text)) > 0)
        r = add(n, text, why);
    if (r >= 0)
        r = sd_bus_message_exit_container(msg);
    return r < 0 ? r : sd_bus_message_exit_container(msg);
}

static int read_interfaces(sd_bus_message *msg, struct network *n, struct why *why)
{
    return read_strings(msg, n, network_read_interface, why);
}

static int read_dns(sd_bus_message *msg, struct network *n, struct why *why)
{
    return read_strings(msg, n, network_read_dns, why);
}

static int read_domains(sd_bus_message *msg, struct network *n, struct why *why)
{
    return read_strings(msg, n, network_read_domain, why);
}

static int read_outside(sd_bus_message *msg, struct network *n, struct why *why)
{
    return read_strings(msg, n, network_read_outside, why);
}

static const struct {
    const char *key;
    enum network_field field;
    int (*read)(sd_bus_message *msg, struct network *n, struct why *why);
} options[] = {
    { "NetId", FIELD_NETID, read_netid },
    { "Type", FIELD_TYPE, read_type },
    { "Interfaces", FIELD_INTERFACES, read_interfaces },
    { "Dns", FIELD_DNS, read_dns },
    { "Domains", FIELD_DOMAINS, read_domains },
    { "Permission", FIELD_PERMISSION, read_permission },
    { "Secure", FIELD_SECURE, read_secure },
    { "ExcludeLocal", FIELD_EXCLUDE_LOCAL, read_exclude_local },
    { "FallThrough", FIELD_FALL_THROUGH, read_fall_through },
    { "Lockdown", FIELD_LOCKDOWN, read_lockdown },
    { "Outside", FIELD_OUTSIDE, read_outside },
};

static int read_option(sd_bus_message *msg, struct network *draft, unsigned *fields,
                       struct why *why)
{
    const char *key;
    int r = sd_bus_message_read(msg, "s", &key);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(options); i++) {
        if (!streq(options[i].key, key))
            continue;
        if (*fields & options[i].field)
            return why_set(why, -EINVAL, "option '%s' is given twice", key);
        *fields |= options[i].field;
        r = options[i].read(msg, draft, why);
        return r == -ENXIO || r == -EBADMSG
                   ? why_set(why, -EINVAL, "option '%s' is of another type: see docs/dbus.md", key)
                   : r;
    }
    return why_set(why, -EINVAL, "a network has no option '%.60s'", key);
}

int network_bus_read_options(sd_bus_message *msg, struct network *draft, unsigned *ret_fields,
                             struct why *why)
{
    unsigned fields = 0;
    int r = sd_bus_message_enter_container(msg, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = read_option(msg, draft, &fields, why);
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    if (r < 0)
        return r;
    *ret_fields = fields;
    return sd_bus_message_exit_container(msg);
}
