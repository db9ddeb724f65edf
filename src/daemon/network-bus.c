/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The objects /org/waymark1/network/<netId>, interface org.waymark1.Network. */

#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "daemon/bus-end.h"
#include "daemon/network-requests.h"
#include "decide/host.h"

const struct network *network_bus_find(const struct manager *m, const char *path)
{
    size_t n = STRLEN(BUS_NETWORK_PATH "/");
    uint32_t netid;

    /* an object has one path: no leading zeros */
    if (!startswith(path, BUS_NETWORK_PATH "/") || path[n] == '0' ||
        parse_u32(path + n, NETID_MAX, &netid) < 0)
        return NULL;
    return model_network(m->model, netid);
}

char *network_bus_path(uint32_t netid)
{
    char *path;

    return asprintf(&path, BUS_NETWORK_PATH "/%u", netid) < 0 ? NULL : path;
}

int network_bus_object(sd_bus *sd, const char *path, const char *interface, void *userdata,
                       void **ret_found, sd_bus_error *error)
{
    struct bus_end *end = userdata;

    (void)sd;
    (void)interface;
    (void)error;
    if (!network_bus_find(end->bus->m, path))
        return 0;
    *ret_found = end;
    return 1;
}

int network_bus_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                          sd_bus_error *error)
{
    const struct bus_end *end = userdata;
    const struct model *m = end->bus->m->model;
    char **nodes = calloc(m->n_networks + 1, sizeof(*nodes));

    (void)sd;
    (void)prefix;
    (void)error;
    if (!nodes)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_networks; i++) {
        nodes[i] = network_bus_path(m->networks[i]->netid);
        if (!nodes[i]) {
            while (i-- > 0)
                free(nodes[i]);
            free(nodes);
            return -ENOMEM;
        }
    }
    *ret_nodes = nodes;
    return 1;
}

const char *network_bus_state(const struct manager *m, const struct network *n)
{
    bool exists = false;

    if (n->type == NETWORK_UNREACHABLE)
        return "unreachable";
    if (n->n_interfaces == 0)
        return "empty";
    for (size_t i = 0; i < n->n_interfaces; i++) {
        const struct rtnl_link *link = kernel_link_by_name(&m->kernel, n->interfaces[i]);

        if (link && host_interface_usable(m->model, link))
            return "up";
        exists |= link != NULL;
    }
    return exists ? "down" : "absent";
}

/* Properties: one function per name that appends the value. */

static int append_netid(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "u", n->netid);
}

static int append_name(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "s", n->name);
}

static int append_type(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "s", network_type_to_string(n->type));
}

static int append_origin(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "s", origin_to_string(n->origin));
}

static int append_source(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "s", rstr_text(n->source));
}

static int append_state(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    return sd_bus_message_append(reply, "s", network_bus_state(m, n));
}

static int append_permission(sd_bus_message *reply, const struct manager *m,
                             const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "s", permission_to_string(n->permission));
}

static int append_secure(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "b", n->secure);
}

static int append_exclude_local(sd_bus_message *reply, const struct manager *m,
                                const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "b", n->exclude_local);
}

static int append_fall_through(sd_bus_message *reply, const struct manager *m,
                               const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "b", n->fall_through);
}

static int append_lockdown(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    (void)m;
    return sd_bus_message_append(reply, "b", n->lockdown);
}

static int append_outside(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char text[IP_TEXT_MAX];

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_outside; i++)
        r = sd_bus_message_append(reply, "s", ip_prefix_format(&n->outside[i], text));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_default(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    return sd_bus_message_append(reply, "b", model_default(m->model) == n);
}

static int append_interfaces(sd_bus_message *reply, const struct manager *m,
                             const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_interfaces; i++)
        r = sd_bus_message_append(reply, "s", n->interfaces[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_routes(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_routes; i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        route_spec_print(&n->routes[i], &b);
        r = sd_bus_message_append(reply, "s", strbuf_text(&b));
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_dns(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char text[IP_TEXT_MAX];

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_dns; i++)
        r = sd_bus_message_append(reply, "s", ip_addr_format(&n->dns[i], text));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_domains(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_domains; i++)
        r = sd_bus_message_append(reply, "s", n->domains[i]->s);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_users(sd_bus_message *reply, const struct manager *m, const struct network *n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char text[UID_RANGE_TEXT_MAX];

    (void)m;
    for (size_t i = 0; r >= 0 && i < n->n_users; i++)
        r = sd_bus_message_append(reply, "s", uid_range_format(&n->users[i], text));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static const struct {
    const char *name;
    int (*append)(sd_bus_message *reply, const struct manager *m, const struct network *n);
} properties[] = {
    { "NetId", append_netid },
    { "Name", append_name },
    { "Type", append_type },
    { "Origin", append_origin },
    { "Source", append_source },
    { "State", append_state },
    { "Interfaces", append_interfaces },
    { "Routes", append_routes },
    { "Dns", append_dns },
    { "Domains", append_domains },
    { "Permission", append_permission },
    { "Secure", append_secure },
    { "ExcludeLocal", append_exclude_local },
    { "FallThrough", append_fall_through },
    { "Lockdown", append_lockdown },
    { "Outside", append_outside },
    { "Users", append_users },
    { "Default", append_default },
};

static int get_property(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const struct bus_end *end = userdata;
    const struct network *n = network_bus_find(end->bus->m, path);

    (void)sd;
    (void)interface;
    for (size_t i = 0; n && i < ELEMENTSOF(properties); i++)
        if (streq(properties[i].name, property))
            return properties[i].append(reply, end->bus->m, n);
    return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, "there is no such property");
}

/* Methods. */

static int run_set(struct bus_call *call, struct why *why)
{
    return request_set(call, call->network, why);
}

static int run_remove(struct bus_call *call, struct why *why)
{
    return request_remove(call, call->network, why);
}

static int run_attach(struct bus_call *call, struct why *why)
{
    return request_attach(call, call->network, why);
}

static int run_detach(struct bus_call *call, struct why *why)
{
    return request_detach(call, call->network, why);
}

static int run_add_route(struct bus_call *call, struct why *why)
{
    return request_add_route(call, call->network, why);
}

static int run_remove_route(struct bus_call *call, struct why *why)
{
    return request_remove_route(call, call->network, why);
}

const struct bus_method network_bus_methods[] = {
    { BUS_NETWORK, "Set", true, run_set },
    { BUS_NETWORK, "Remove", true, run_remove },
    { BUS_NETWORK, "Attach", true, run_attach },
    { BUS_NETWORK, "Detach", true, run_detach },
    { BUS_NETWORK, "AddRoute", true, run_add_route },
    { BUS_NETWORK, "RemoveRoute", true, run_remove_route },
    { 0 },
};

const sd_bus_vtable network_bus_vtable[] = {
    SD_BUS_VTABLE_START(0),
    PROPERTY("NetId", "u", CONSTANT),
    PROPERTY("Name", "s", CONSTANT),
    PROPERTY("Type", "s", CHANGES),
    PROPERTY("Origin", "s", CHANGES),
    PROPERTY("Source", "s", CHANGES),
    PROPERTY("State", "s", CHANGES),
    PROPERTY("Interfaces", "as", CHANGES),
    PROPERTY("Routes", "as", CHANGES),
    PROPERTY("Dns", "as", CHANGES),
    PROPERTY("Domains", "as", CHANGES),
    PROPERTY("Permission", "s", CHANGES),
    PROPERTY("Secure", "b", CHANGES),
    PROPERTY("ExcludeLocal", "b", CHANGES),
    PROPERTY("FallThrough", "b", CHANGES),
    PROPERTY("Lockdown", "b", CHANGES),
    PROPERTY("Outside", "as", CHANGES),
    PROPERTY("Users", "as", CHANGES),
    PROPERTY("Default", "b", CHANGES),
    METHOD("Set", "a{sv}", ARG(options), "", ""),
    METHOD("Remove", "", "", "", ""),
    METHOD("Attach", "s", ARG(interface), "", ""),
    METHOD("Detach", "s", ARG(interface), "", ""),
    METHOD("AddRoute", "s", ARG(route), "", ""),
    METHOD("RemoveRoute", "s", ARG(route), "", ""),
    SD_BUS_VTABLE_END,
};
