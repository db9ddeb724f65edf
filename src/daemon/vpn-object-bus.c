/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* The objects /org/waymark1/vpn/<netId>, interface org.waymark1.Vpn; what ends are told of them. */

#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "daemon/bus-end.h"
#include "daemon/vpn-bus.h"
#include "daemon/vpn-service.h"

static const struct vpn *find_vpn(const struct manager *m, const char *path)
{
    size_t n = STRLEN(BUS_VPN_PATH "/");
    const struct network *network;
    uint32_t netid;

    /* an object has one path: no leading zeros */
    if (!startswith(path, BUS_VPN_PATH "/") || path[n] == '0' ||
        parse_u32(path + n, NETID_MAX, &netid) < 0)
        return NULL;
    network = model_network(m->model, netid);
    return network && network->origin == ORIGIN_VPN ? model_vpn(m->model, network->name) : NULL;
}

char *vpn_bus_path(const struct model *m, const char *name)
{
    const struct network *n = model_network_by_name(m, name);
    char *path;

    return !n || n->origin != ORIGIN_VPN || asprintf(&path, BUS_VPN_PATH "/%u", n->netid) < 0
               ? NULL
               : path;
}

int vpn_bus_object(sd_bus *sd, const char *path, const char *interface, void *userdata,
                   void **ret_found, sd_bus_error *error)
{
    struct bus_end *end = userdata;

    (void)sd;
    (void)interface;
    (void)error;
    if (!find_vpn(end->bus->m, path))
        return 0;
    *ret_found = end;
    return 1;
}

int vpn_bus_enumerate(sd_bus *sd, const char *prefix, void *userdata, char ***ret_nodes,
                      sd_bus_error *error)
{
    const struct bus_end *end = userdata;
    const struct model *m = end->bus->m->model;
    char **nodes = calloc(m->n_vpns + 1, sizeof(*nodes));
    size_t n = 0;

    (void)sd;
    (void)prefix;
    (void)error;
    if (!nodes)
        return -ENOMEM;
    for (size_t i = 0; i < m->n_vpns; i++) {
        nodes[n] = vpn_bus_path(m, m->vpns[i]->name);
        n += nodes[n] != NULL;
    }
    *ret_nodes = nodes;
    return 1;
}

/* Properties: one function per name that appends the value. */

typedef int (*append_value)(sd_bus_message *reply, const struct manager *m, const struct vpn *v);

static int append_name(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", v->name);
}

static int append_kind(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", vpn_kind_to_string(v->kind));
}

static int append_origin(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", origin_to_string(v->origin));
}

static int append_source(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", rstr_text(v->source));
}

static int append_owner(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    (void)m;
    if (v->has_owner)
        selector_print(&v->owner, &b);
    return sd_bus_message_append(reply, "s", strbuf_text(&b));
}

static int append_owner_uid(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "u", v->owner_uid);
}

static int append_state(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    const char *reason;

    return sd_bus_message_append(reply, "s", vpn_service_state(m->vpn_service, v, &reason));
}

static int append_reason(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    const char *reason;

    (void)vpn_service_state(m->vpn_service, v, &reason);
    return sd_bus_message_append(reply, "s", reason);
}

static int append_interfaces(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    (void)m;
    for (size_t i = 0; r >= 0 && i < v->n_interfaces; i++)
        r = sd_bus_message_append(reply, "s", v->interfaces[i]);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_session(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", v->config ? rstr_text(v->config->session) : "");
}

static int append_addresses(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char addr[IP_TEXT_MAX], text[IP_TEXT_MAX + 8];

    (void)m;
    for (size_t i = 0; r >= 0 && v->config && i < v->config->n_addresses; i++) {
        const struct vpn_address *a = &v->config->addresses[i];

        snprintf(text, sizeof(text), "%s/%u", ip_addr_format(&a->addr, addr), a->len);
        r = sd_bus_message_append(reply, "s", text);
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_some_routes(sd_bus_message *reply, const struct vpn *v, bool excluded)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char text[IP_TEXT_MAX];

    for (size_t i = 0; r >= 0 && v->config && i < v->config->n_routes; i++)
        if ((v->config->routes[i].kind == ROUTE_THROW) == excluded)
            r = sd_bus_message_append(reply, "s",
                                      ip_prefix_format(&v->config->routes[i].dst, text));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_routes(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return append_some_routes(reply, v, false);
}

static int append_exclude_routes(sd_bus_message *reply, const struct manager *m,
                                 const struct vpn *v)
{
    (void)m;
    return append_some_routes(reply, v, true);
}

static int append_dns(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");
    char text[IP_TEXT_MAX];

    (void)m;
    for (size_t i = 0; r >= 0 && v->config && i < v->config->n_dns; i++)
        r = sd_bus_message_append(reply, "s", ip_addr_format(&v->config->dns[i], text));
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_rstrs(sd_bus_message *reply, struct rstr *const *items, size_t n)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = sd_bus_message_append(reply, "s", items[i]->s);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_domains(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return append_rstrs(reply, v->config ? v->config->domains : NULL,
                        v->config ? v->config->n_domains : 0);
}

static int append_mtu(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "u", v->config ? v->config->mtu : 0);
}

static int append_selectors(sd_bus_message *reply, const struct selector_list *list)
{
    int r = sd_bus_message_open_container(reply, 'a', "s");

    for (size_t i = 0; r >= 0 && i < list->n; i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        selector_print(&list->items[i], &b);
        r = sd_bus_message_append(reply, "s", strbuf_text(&b));
    }
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

/* The administrator's lists, when there are any, count more than the program's. */
static bool program_chooses(const struct vpn *v)
{
    return v->config && v->allowed.n == 0 && v->disallowed.n == 0;
}

static int append_allowed(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return append_selectors(reply, program_chooses(v) ? &v->config->allowed : &v->allowed);
}

static int append_disallowed(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return append_selectors(reply, program_chooses(v) ? &v->config->disallowed : &v->disallowed);
}

static int append_exempt(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return append_selectors(reply, &v->exempt);
}

static int append_lockdown(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", v->lockdown);
}

static int append_always_on(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", v->always_on);
}

static int append_bypass(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", vpn_is_bypassable(v));
}

static int append_fall_through(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", v->fall_through);
}

static int append_forward(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", v->forward);
}

static int append_prefixes(sd_bus_message *reply, const struct ip_prefix *prefixes, size_t n)
{
    char text[IP_TEXT_MAX];
    int r = 0;

    for (size_t i = 0; r >= 0 && i < n; i++)
        r = sd_bus_message_append(reply, "s", ip_prefix_format(&prefixes[i], text));
    return r;
}

static int append_lan(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    bool program = v->lan == VPN_LAN_NONE && v->config;
    enum vpn_lan lan = program ? v->config->lan : v->lan;
    int r = sd_bus_message_open_container(reply, 'a', "s");

    (void)m;
    if (r >= 0 && lan == VPN_LAN_LINK_LOCAL)
        r = sd_bus_message_append(reply, "s", vpn_lan_to_string(lan));
    if (r >= 0 && lan == VPN_LAN_PREFIXES)
        r = program ? append_prefixes(reply, v->config->lan_prefixes, v->config->n_lan_prefixes)
                    : append_prefixes(reply, v->lan_prefixes, v->n_lan_prefixes);
    return r < 0 ? r : sd_bus_message_close_container(reply);
}

static int append_everyone(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "b", v->everyone);
}

static int append_engine(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", rstr_text(v->engine));
}

static int append_underlying(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    if (!v->config || !v->config->underlying_set)
        return sd_bus_message_append(reply, "as", 1, "default");
    return append_rstrs(reply, v->config->underlying, v->config->n_underlying);
}

static int append_metered(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    static const char *const words[] = {
        [VPN_METERED_DEFAULT] = "default",
        [VPN_METERED_YES] = "yes",
        [VPN_METERED_NO] = "no",
    };

    (void)m;
    return sd_bus_message_append(reply, "s",
                                 words[v->config ? v->config->metered : VPN_METERED_DEFAULT]);
}

static int append_http_proxy(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    (void)m;
    return sd_bus_message_append(reply, "s", v->config ? rstr_text(v->config->http_proxy) : "");
}

static int append_since(sd_bus_message *reply, const struct manager *m, const struct vpn *v)
{
    return sd_bus_message_append(reply, "t", vpn_service_since(m->vpn_service, v->name));
}

static const struct {
    const char *name;
    append_value append;
} properties[] = {
    { "Name", append_name },
    { "Kind", append_kind },
    { "Origin", append_origin },
    { "Source", append_source },
    { "Owner", append_owner },
    { "OwnerUid", append_owner_uid },
    { "State", append_state },
    { "Reason", append_reason },
    { "Interfaces", append_interfaces },
    { "Session", append_session },
    { "Addresses", append_addresses },
    { "Routes", append_routes },
    { "ExcludeRoutes", append_exclude_routes },
    { "Dns", append_dns },
    { "Domains", append_domains },
    { "Mtu", append_mtu },
    { "Allowed", append_allowed },
    { "Disallowed", append_disallowed },
    { "Exempt", append_exempt },
    { "Lockdown", append_lockdown },
    { "AlwaysOn", append_always_on },
    { "Bypass", append_bypass },
    { "FallThrough", append_fall_through },
    { "Forward", append_forward },
    { "Lan", append_lan },
    { "Everyone", append_everyone },
    { "Engine", append_engine },
    { "Underlying", append_underlying },
    { "Metered", append_metered },
    { "HttpProxy", append_http_proxy },
    { "Since", append_since },
};

static int get_property(sd_bus *sd, const char *path, const char *interface, const char *property,
                        sd_bus_message *reply, void *userdata, sd_bus_error *error)
{
    const struct bus_end *end = userdata;
    const struct vpn *v = find_vpn(end->bus->m, path);

    (void)sd;
    (void)interface;
    for (size_t i = 0; v && i < ELEMENTSOF(properties); i++)
        if (streq(properties[i].name, property))
            return properties[i].append(reply, end->bus->m, v);
    return sd_bus_error_set(error, SD_BUS_ERROR_UNKNOWN_PROPERTY, "there is no such property");
}

const sd_bus_vtable vpn_bus_vtable[] = {
    SD_BUS_VTABLE_START(0),
    PROPERTY("Name", "s", CONSTANT),
    PROPERTY("Kind", "s", CONSTANT),
    PROPERTY("Origin", "s", CHANGES),
    PROPERTY("Source", "s", CHANGES),
    PROPERTY("Owner", "s", CHANGES),
    PROPERTY("OwnerUid", "u", CHANGES),
    PROPERTY("State", "s", CHANGES),
    PROPERTY("Reason", "s", CHANGES),
    PROPERTY("Interfaces", "as", CHANGES),
    PROPERTY("Session", "s", CHANGES),
    PROPERTY("Addresses", "as", CHANGES),
    PROPERTY("Routes", "as", CHANGES),
    PROPERTY("ExcludeRoutes", "as", CHANGES),
    PROPERTY("Dns", "as", CHANGES),
    PROPERTY("Domains", "as", CHANGES),
    PROPERTY("Mtu", "u", CHANGES),
    PROPERTY("Allowed", "as", CHANGES),
    PROPERTY("Disallowed", "as", CHANGES),
    PROPERTY("Exempt", "as", CHANGES),
    PROPERTY("Lockdown", "b", CHANGES),
    PROPERTY("AlwaysOn", "b", CHANGES),
    PROPERTY("Bypass", "b", CHANGES),
    PROPERTY("FallThrough", "b", CHANGES),
    PROPERTY("Forward", "b", CHANGES),
    PROPERTY("Lan", "as", CHANGES),
    PROPERTY("Everyone", "b", CHANGES),
    PROPERTY("Engine", "s", CHANGES),
    PROPERTY("Underlying", "as", CHANGES),
    PROPERTY("Metered", "s", CHANGES),
    PROPERTY("HttpProxy", "s", CHANGES),
    PROPERTY("Since", "t", CHANGES),
    SD_BUS_VTABLE_END,
};

/* Signals. A VPN has many properties, and changes seldom: all of them are told anew. */

static const char *const telling[] = {
    "Origin",     "Source",  "Owner",       "OwnerUid",   "State",         "Reason",
    "Interfaces", "Session", "Addresses",   "Routes",     "ExcludeRoutes", "Dns",
    "Domains",    "Mtu",     "Allowed",     "Disallowed", "Exempt",        "Lockdown",
    "AlwaysOn",   "Bypass",  "FallThrough", "Lan",        "Everyone",      "Engine",
    "Underlying", "Metered", "HttpProxy",   "Since",      "Forward",       NULL,
};

static void tell_appeared(struct bus *bus, const struct model *m, const char *name, bool appeared)
{
    _cleanup_free_ char *path = vpn_bus_path(m, name);

    for (size_t i = 0; path && i < bus->n_ends; i++) {
        if (appeared)
            (void)sd_bus_emit_interfaces_added(bus->ends[i]->sd, path, BUS_VPN, NULL);
        else
            (void)sd_bus_emit_interfaces_removed(bus->ends[i]->sd, path, BUS_VPN, NULL);
    }
}

static void tell_changed(struct bus *bus, const struct vpn *v)
{
    _cleanup_free_ char *path = vpn_bus_path(bus->m->model, v->name);

    for (size_t i = 0; path && i < bus->n_ends; i++)
        (void)sd_bus_emit_properties_changed_strv(bus->ends[i]->sd, path, BUS_VPN,
                                                  (char **)telling);
}

static struct told_vpn *find_told(struct bus *bus, const char *name)
{
    for (size_t i = 0; i < bus->n_told_vpns; i++)
        if (streq(bus->told_vpns[i].name, name))
            return &bus->told_vpns[i];
    return NULL;
}

/* Its state may be another although nothing was said of it: its interface came, or went. */
static void tell_one(struct bus *bus, const struct vpn *v, const struct vpn *old)
{
    struct told_vpn *told = find_told(bus, v->name);
    const char *reason, *state = vpn_service_state(bus->m->vpn_service, v, &reason);
    bool news = !told || !streq(told->state, state) || !streq(told->reason, reason);
    char text[NETWORK_NAME_MAX + 200];

    if (!told) {
        if (ARRAY_PUSH(bus->told_vpns, bus->n_told_vpns, bus->cap_told_vpns,
                       (struct told_vpn){ .state = "" }) < 0)
            return;
        told = &bus->told_vpns[bus->n_told_vpns - 1];
        (void)str_set(told->name, sizeof(told->name), v->name);
    }
    if (news) {
        snprintf(text, sizeof(text), "%s is %s%s%s", v->name, state, reason[0] ? ": " : "", reason);
        bus_tell(bus, "vpn-state", text);
        told->state = state;
        (void)str_set(told->reason, sizeof(told->reason), reason);
    }
    if (old && (news || old != v))
        tell_changed(bus, v);
}

static void forget_gone(struct bus *bus, const struct model *new)
{
    for (size_t i = bus->n_told_vpns; i-- > 0;)
        if (!model_vpn(new, bus->told_vpns[i].name))
            bus->told_vpns[i] = bus->told_vpns[--bus->n_told_vpns];
}

void vpn_bus_tell_commit(struct bus *bus, const struct model *old, const struct model *new)
{
    for (size_t i = 0; i < old->n_vpns; i++)
        if (!model_vpn(new, old->vpns[i]->name))
            tell_appeared(bus, old, old->vpns[i]->name, false);
    forget_gone(bus, new);
    for (size_t i = 0; i < new->n_vpns; i++) {
        const struct vpn *o = model_vpn(old, new->vpns[i]->name);

        if (!o)
            tell_appeared(bus, new, new->vpns[i]->name, true);
        tell_one(bus, new->vpns[i], o);
    }
}

void vpn_bus_tell_state(struct bus *bus, const char *name)
{
    const struct vpn *v = model_vpn(bus->m->model, name);

    if (v)
        tell_one(bus, v, v);
}
