/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/vpn-parameters.h"

#include <errno.h>

#include "daemon/engines.h"

/* What is filled in: a program's configuration, or a draft of the administrator's. */
struct filled {
    struct vpn_config *config;
    struct vpn *draft; /* NULL: a program speaks */
    unsigned fields;   /* VPN_FIELD_*, so far */
};

/* One key. What it says takes the place of what was there. */
typedef int (*read_value)(sd_bus_message *msg, struct filled *t, struct why *why);
typedef int (*add_text)(struct filled *t, const char *text, struct why *why);

static int read_array(sd_bus_message *msg, struct filled *t, add_text add, struct why *why)
{
    const char *text;
    int r = sd_bus_message_enter_container(msg, 'a', "s");

    while (r >= 0 && (r = sd_bus_message_read(msg, "s", &text)) > 0)
        r = add(t, text, why);
    return r < 0 ? r : sd_bus_message_exit_container(msg);
}

static int read_texts(sd_bus_message *msg, struct filled *t, add_text add, struct why *why)
{
    int r = sd_bus_message_enter_container(msg, 'v', "as");

    if (r >= 0)
        r = read_array(msg, t, add, why);
    return r < 0 ? r : sd_bus_message_exit_container(msg);
}

static int read_flag(sd_bus_message *msg, bool *ret)
{
    int value, r = sd_bus_message_read(msg, "v", "b", &value);

    if (r >= 0)
        *ret = value;
    return r;
}

/* A program's. */

static int read_session(sd_bus_message *msg, struct filled *t, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    return r < 0 ? r : vpn_config_set_session(t->config, text, why);
}

static int read_mtu(sd_bus_message *msg, struct filled *t, struct why *why)
{
    uint32_t mtu;
    int r = sd_bus_message_read(msg, "v", "u", &mtu);

    return r < 0 ? r : vpn_config_set_mtu(t->config, mtu, why);
}

static int add_address(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_add_address(t->config, text, why);
}

static int read_addresses(sd_bus_message *msg, struct filled *t, struct why *why)
{
    t->config->n_addresses = 0;
    return read_texts(msg, t, add_address, why);
}

/* Drops the routes that are excluded, or those that are not. */
static void clear_routes(struct vpn_config *c, bool excluded)
{
    size_t out = 0;

    for (size_t i = 0; i < c->n_routes; i++)
        if ((c->routes[i].kind == ROUTE_THROW) != excluded)
            c->routes[out++] = c->routes[i];
    c->n_routes = out;
}

static int add_route(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_add_route(t->config, text, why);
}

static int read_routes(sd_bus_message *msg, struct filled *t, struct why *why)
{
    clear_routes(t->config, false);
    return read_texts(msg, t, add_route, why);
}

static int exclude_route(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_exclude_route(t->config, text, why);
}

static int read_exclude_routes(sd_bus_message *msg, struct filled *t, struct why *why)
{
    clear_routes(t->config, true);
    return read_texts(msg, t, exclude_route, why);
}

static int add_dns(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_add_dns(t->config, text, why);
}

static int read_dns(sd_bus_message *msg, struct filled *t, struct why *why)
{
    t->config->n_dns = 0;
    return read_texts(msg, t, add_dns, why);
}

static int add_domain(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_add_domain(t->config, text, why);
}

static int read_domains(sd_bus_message *msg, struct filled *t, struct why *why)
{
    while (t->config->n_domains > 0)
        rstr_unref(t->config->domains[--t->config->n_domains]);
    return read_texts(msg, t, add_domain, why);
}

static int allow(struct filled *t, const char *text, struct why *why)
{
    return t->draft ? selector_list_add(&t->draft->allowed, text, why)
                    : vpn_config_allow(t->config, text, why);
}

static int read_allowed(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, allow, why);
}

static int disallow(struct filled *t, const char *text, struct why *why)
{
    return t->draft ? selector_list_add(&t->draft->disallowed, text, why)
                    : vpn_config_disallow(t->config, text, why);
}

static int read_disallowed(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, disallow, why);
}

static int read_bypass(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, t->draft ? &t->draft->bypass : &t->config->bypassable);
}

static int allow_family(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_allow_family(t->config, text, why);
}

static int read_families(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, allow_family, why);
}

static int read_blocking(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->config->blocking);
}

static int add_underlying(struct filled *t, const char *text, struct why *why)
{
    return vpn_config_add_underlying(t->config, text, why);
}

static int read_underlying(sd_bus_message *msg, struct filled *t, struct why *why)
{
    t->config->underlying_set = true;
    return read_texts(msg, t, add_underlying, why);
}

static int read_metered(sd_bus_message *msg, struct filled *t, struct why *why)
{
    bool metered = false;
    int r = read_flag(msg, &metered);

    (void)why;
    t->config->metered = metered ? VPN_METERED_YES : VPN_METERED_NO;
    return r;
}

static int read_http_proxy(sd_bus_message *msg, struct filled *t, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    return r < 0 ? r : vpn_config_set_http_proxy(t->config, text, why);
}

static int add_lan(struct filled *t, const char *text, struct why *why)
{
    if (t->draft)
        return vpn_lan_add(&t->draft->lan, &t->draft->lan_prefixes, &t->draft->n_lan_prefixes, text,
                           why);
    return vpn_lan_add(&t->config->lan, &t->config->lan_prefixes, &t->config->n_lan_prefixes, text,
                       why);
}

static int read_lan(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, add_lan, why);
}

static int read_queues(sd_bus_message *msg, struct filled *t, struct why *why)
{
    uint32_t queues;
    int r = sd_bus_message_read(msg, "v", "u", &queues);

    return r < 0 ? r : vpn_config_set_queues(t->config, queues, why);
}

static int read_offloads(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->config->offloads);
}

/* The administrator's. */

static int read_kind(sd_bus_message *msg, struct filled *t, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text), kind;

    if (r < 0)
        return r;
    kind = vpn_kind_from_string(text);
    if (kind < 0)
        return why_set(why, -EINVAL, "'%.60s' is no kind of VPN: use service or adopted", text);
    t->draft->kind = (enum vpn_kind)kind;
    return 0;
}

/* "": nobody's in particular. */
static int read_owner(sd_bus_message *msg, struct filled *t, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    if (r < 0 || !text[0])
        return r;
    r = selector_parse(text, &t->draft->owner, why);
    if (r < 0)
        return r;
    t->draft->has_owner = true;
    switch (t->draft->owner.kind) {
    case SELECTOR_UID:
        if (t->draft->owner.uid.lo == t->draft->owner.uid.hi)
            return 0;
        break;
    case SELECTOR_USER:
    case SELECTOR_EXE:
        return 0;
    default:
        break;
    }
    return why_set(
        why, -EINVAL,
        "'%.60s' cannot own a VPN: its owner is one user (uid:, user:) or a program (exe:)", text);
}

static int add_exempt(struct filled *t, const char *text, struct why *why)
{
    return selector_list_add(&t->draft->exempt, text, why);
}

static int read_exempt(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, add_exempt, why);
}

static int read_lockdown(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->draft->lockdown);
}

static int read_always_on(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->draft->always_on);
}

static int read_everyone(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->draft->everyone);
}

static int read_fall_through(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->draft->fall_through);
}

static int read_forward(sd_bus_message *msg, struct filled *t, struct why *why)
{
    (void)why;
    return read_flag(msg, &t->draft->forward);
}

/* "": none. */
static int read_engine(sd_bus_message *msg, struct filled *t, struct why *why)
{
    const char *text;
    int r = sd_bus_message_read(msg, "v", "s", &text);

    if (r < 0 || !text[0])
        return r;
    r = engine_check(text, why);
    if (r < 0)
        return r;
    t->draft->engine = rstr_new(text);
    return t->draft->engine ? 0 : -ENOMEM;
}

static int add_interface(struct filled *t, const char *text, struct why *why)
{
    struct vpn *v = t->draft;
    char(*grown)[IFNAMSIZ];

    if (!text[0] || strlen(text) >= IFNAMSIZ || strpbrk(text, "/ \t\n"))
        return why_set(why, -EINVAL, "'%.60s' cannot be an interface's name", text);
    grown = reallocarray(v->interfaces, v->n_interfaces + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    v->interfaces = grown;
    (void)str_set(v->interfaces[v->n_interfaces++], IFNAMSIZ, text);
    return 0;
}

static int read_interfaces(sd_bus_message *msg, struct filled *t, struct why *why)
{
    return read_texts(msg, t, add_interface, why);
}

enum who { PROGRAM = 1 << 0, ADMINISTRATOR = 1 << 1 };

static const struct {
    const char *key;
    unsigned who;
    unsigned field; /* VPN_FIELD_*: the administrator's */
    read_value read;
} keys[] = {
    { "Session", PROGRAM, 0, read_session },
    { "Mtu", PROGRAM, 0, read_mtu },
    { "Addresses", PROGRAM | ADMINISTRATOR, VPN_FIELD_CONFIG, read_addresses },
    { "Routes", PROGRAM | ADMINISTRATOR, VPN_FIELD_CONFIG, read_routes },
    { "ExcludeRoutes", PROGRAM | ADMINISTRATOR, VPN_FIELD_CONFIG, read_exclude_routes },
    { "Dns", PROGRAM | ADMINISTRATOR, VPN_FIELD_CONFIG, read_dns },
    { "Domains", PROGRAM | ADMINISTRATOR, VPN_FIELD_CONFIG, read_domains },
    { "Allowed", PROGRAM | ADMINISTRATOR, VPN_FIELD_APPS, read_allowed },
    { "Disallowed", PROGRAM | ADMINISTRATOR, VPN_FIELD_APPS, read_disallowed },
    { "AllowBypass", PROGRAM, 0, read_bypass },
    { "AllowFamilies", PROGRAM, 0, read_families },
    { "Blocking", PROGRAM, 0, read_blocking },
    { "Underlying", PROGRAM, 0, read_underlying },
    { "Metered", PROGRAM, 0, read_metered },
    { "HttpProxy", PROGRAM, 0, read_http_proxy },
    { "Lan", PROGRAM | ADMINISTRATOR, VPN_FIELD_LAN, read_lan },
    { "Queues", PROGRAM, 0, read_queues },
    { "Offloads", PROGRAM, 0, read_offloads },
    { "Kind", ADMINISTRATOR, VPN_FIELD_KIND, read_kind },
    { "Owner", ADMINISTRATOR, VPN_FIELD_OWNER, read_owner },
    { "Exempt", ADMINISTRATOR, VPN_FIELD_EXEMPT, read_exempt },
    { "Lockdown", ADMINISTRATOR, VPN_FIELD_LOCKDOWN, read_lockdown },
    { "AlwaysOn", ADMINISTRATOR, VPN_FIELD_ALWAYS_ON, read_always_on },
    { "Bypass", ADMINISTRATOR, VPN_FIELD_BYPASS, read_bypass },
    { "Everyone", ADMINISTRATOR, VPN_FIELD_EVERYONE, read_everyone },
    { "FallThrough", ADMINISTRATOR, VPN_FIELD_FALL_THROUGH, read_fall_through },
    { "Forward", ADMINISTRATOR, VPN_FIELD_FORWARD, read_forward },
    { "Engine", ADMINISTRATOR, VPN_FIELD_ENGINE, read_engine },
    { "Interfaces", ADMINISTRATOR, VPN_FIELD_INTERFACES, read_interfaces },
};

static int read_one(sd_bus_message *msg, struct filled *t, uint64_t *seen, struct why *why)
{
    unsigned who = t->draft ? ADMINISTRATOR : PROGRAM;
    const char *key;
    int r = sd_bus_message_read(msg, "s", &key);

    if (r < 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        if (!streq(keys[i].key, key) || !(keys[i].who & who))
            continue;
        if (*seen & UINT64_C(1) << i)
            return why_set(why, -EINVAL, "'%s' is given twice", key);
        *seen |= UINT64_C(1) << i;
        t->fields |= keys[i].field;
        r = keys[i].read(msg, t, why);
        return r == -ENXIO || r == -EBADMSG
                   ? why_set(why, -EINVAL, "'%s' is of another type: see docs/dbus.md", key)
                   : r;
    }
    return why_set(why, -EINVAL, "a VPN has no %s '%.60s'", t->draft ? "option" : "parameter", key);
}

static int read_all(sd_bus_message *msg, struct filled *t, struct why *why)
{
    uint64_t seen = 0;
    int r = sd_bus_message_enter_container(msg, 'a', "{sv}");

    while (r >= 0 && (r = sd_bus_message_enter_container(msg, 'e', "sv")) > 0) {
        r = read_one(msg, t, &seen, why);
        if (r >= 0)
            r = sd_bus_message_exit_container(msg);
    }
    return r < 0 ? r : sd_bus_message_exit_container(msg);
}

int vpn_bus_read_parameters(sd_bus_message *msg, struct vpn_config *c, struct why *why)
{
    struct filled t = { .config = c };

    return read_all(msg, &t, why);
}

int vpn_bus_read_profile(sd_bus_message *msg, struct vpn *draft, unsigned *ret_fields,
                         struct why *why)
{
    struct filled t = { .draft = draft };
    int r;

    if (!draft->config)
        draft->config = vpn_config_new();
    if (!draft->config)
        return -ENOMEM;
    t.config = draft->config;
    r = read_all(msg, &t, why);
    if (r >= 0)
        *ret_fields = t.fields;
    return r;
}

int vpn_bus_read_underlying(sd_bus_message *msg, struct vpn_config *c, struct why *why)
{
    struct filled t = { .config = c };

    return read_array(msg, &t, add_underlying, why);
}
