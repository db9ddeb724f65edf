/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "daemon/config-keys.h"

#include <errno.h>
#include <stdio.h>

#include "basic/array.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "daemon/config-vpn.h"

enum { VALUE_MAX = CONF_LINE_MAX + 1 };

int config_for_each_word(const char *value, void *data,
                         int (*each)(void *data, const char *word, struct why *why),
                         struct why *why)
{
    char text[VALUE_MAX], *save = NULL;
    int r = 0;

    (void)str_set(text, sizeof(text), value);
    for (char *w = strtok_r(text, ", \t", &save); r == 0 && w; w = strtok_r(NULL, ", \t", &save))
        r = each(data, w, why);
    return r;
}

/* The same into the network that is open. */
struct network_words {
    struct network *network;
    int (*read)(struct network *n, const char *word, struct why *why);
};

static int read_network_word(void *data, const char *word, struct why *why)
{
    const struct network_words *words = data;

    return words->read(words->network, word, why);
}

static int for_each_network_word(struct config_reader *r, const struct conf_line *line,
                                 int (*read)(struct network *n, const char *word, struct why *why),
                                 struct why *why)
{
    struct network_words words = { .network = r->network->draft, .read = read };

    return config_for_each_word(line->value, &words, read_network_word, why);
}

/* [waymark] */

static int set_default(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct config *c = r->config;
    char source[512];

    if (!streq(line->value, "system") && network_name_check(line->value, why) < 0)
        return -EINVAL;
    rstr_unref(c->default_network);
    rstr_unref(c->default_source);
    snprintf(source, sizeof(source), "%.400s:%u", r->file->s, line->line);
    c->default_source = rstr_new(source);
    c->default_network = streq(line->value, "system") ? NULL : rstr_new(line->value);
    if (!c->default_source || (!c->default_network && !streq(line->value, "system")))
        return -ENOMEM;
    return 0;
}

static int add_ignored(void *data, const char *word, struct why *why)
{
    struct config *c = data;
    struct rstr *pattern;
    int r;

    if (strlen(word) > 64)
        return why_set(why, -EINVAL, "'%.32s…' is longer than any interface's name", word);
    pattern = rstr_new(word);
    r = pattern ? ARRAY_PUSH(c->ignored, c->n_ignored, c->cap_ignored, pattern) : -ENOMEM;
    if (r < 0)
        rstr_unref(pattern);
    return r;
}

static int set_ignored(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    /* an empty value: ignore nothing but loopback */
    return config_for_each_word(*line->value ? line->value : "lo", r->config, add_ignored, why);
}

static int set_log_level(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    if (log_level_from_string(line->value, &r->config->log_level) < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no log level: use err, warning, notice, info or debug",
                       line->value);
    return 0;
}

/* [network NAME] */

static int open_network(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct config *c = r->config;
    struct config_network cn = { .line = line->line };
    int e;

    if (network_name_check(line->argument, why) < 0)
        return -EINVAL;
    cn.draft = network_new();
    if (!cn.draft)
        return -ENOMEM;
    (void)str_set(cn.draft->name, sizeof(cn.draft->name), line->argument);
    cn.draft->origin = ORIGIN_CONFIG;
    cn.draft->source = rstr_ref(r->file);
    cn.file = rstr_ref(r->file);
    e = ARRAY_PUSH(c->networks, c->n_networks, c->cap_networks, cn);
    if (e < 0) {
        network_unref(cn.draft);
        rstr_unref(cn.file);
        return e;
    }
    r->network = &c->networks[c->n_networks - 1];
    return 0;
}

static int set_netid(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    if (parse_u32(line->value, NETID_MAX, &r->network->draft->netid) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no netId: use a number from 100 to %d",
                       line->value, NETID_MAX);
    r->network->fields |= FIELD_NETID;
    return 0;
}

static int set_type(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    int type = network_type_from_string(line->value);

    if (type < 0)
        return why_set(why, -EINVAL, "'%.60s' is no type: use physical, vpn, local or unreachable",
                       line->value);
    r->network->draft->type = (enum network_type)type;
    r->network->fields |= FIELD_TYPE;
    return 0;
}

static int set_interface(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_INTERFACES;
    return for_each_network_word(r, line, network_read_interface, why);
}

static int set_dns(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_DNS;
    return for_each_network_word(r, line, network_read_dns, why);
}

static int set_domain(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_DOMAINS;
    return for_each_network_word(r, line, network_read_domain, why);
}

static int set_permission(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    int permission = permission_from_string(line->value);

    if (permission < 0)
        return why_set(why, -EINVAL, "'%.60s' is no permission: use none, network or system",
                       line->value);
    r->network->draft->permission = (enum permission)permission;
    r->network->fields |= FIELD_PERMISSION;
    return 0;
}

static int set_route(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct route_spec route;
    int e = route_spec_parse_line(line->value, &route, why);

    if (e == 0)
        e = network_add_route(r->network->draft, &route);
    return e == -EEXIST ? why_set(why, -EINVAL, "the route stands here twice") : e;
}

int config_parse_bool(const char *value, bool *ret, struct why *why)
{
    static const char *const words[] = { "no", "yes", "false", "true", "off", "on", "0", "1" };
    int i = parse_word(words, ELEMENTSOF(words), value);

    if (i < 0)
        return why_set(why, -EINVAL, "'%.60s' is neither yes nor no", value);
    *ret = i % 2 == 1;
    return 0;
}

static int set_secure(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_SECURE;
    return config_parse_bool(line->value, &r->network->draft->secure, why);
}

static int set_exclude_local(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_EXCLUDE_LOCAL;
    return config_parse_bool(line->value, &r->network->draft->exclude_local, why);
}

static int set_fall_through(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_FALL_THROUGH;
    return config_parse_bool(line->value, &r->network->draft->fall_through, why);
}

static int set_lockdown(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_LOCKDOWN;
    return config_parse_bool(line->value, &r->network->draft->lockdown, why);
}

static int set_outside(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    r->network->fields |= FIELD_OUTSIDE;
    return for_each_network_word(r, line, network_read_outside, why);
}

/* [assignments] */

static int parse_target(struct assignment *a, char **words, size_t n, struct why *why)
{
    const char *strength = n > 2 ? words[2] : "require";

    if (n < 2 || n > 3)
        return why_set(why, -EINVAL,
                       "use: assign = SELECTOR NETWORK|none|default [require|prefer]");
    if (startswith(strength, "--"))
        strength += 2;
    if (strength_from_string(strength) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no strength: use require or prefer", strength);
    a->strength = (enum strength)strength_from_string(strength);
    if (streq(words[1], "none") && a->strength == STRENGTH_PREFER)
        return why_set(why, -EINVAL, "`none` blocks the app: it cannot be a preference");
    if (!streq(words[1], "none") && !streq(words[1], "default") &&
        network_name_check(words[1], why) < 0)
        return -EINVAL;
    return assignment_set_target(a, words[1]);
}

static int add_assignment(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    struct assignment a = { .origin = ORIGIN_CONFIG, .line = line->line };
    char text[VALUE_MAX], *words[4], *save = NULL;
    size_t n = 0;
    int e;

    (void)str_set(text, sizeof(text), line->value);
    for (char *w = strtok_r(text, " \t", &save); w && n < ELEMENTSOF(words);
         w = strtok_r(NULL, " \t", &save))
        words[n++] = w;
    if (n == 0)
        return why_set(why, -EINVAL,
                       "use: assign = SELECTOR NETWORK|none|default [require|prefer]");

    e = selector_parse(words[0], &a.selector, why);
    if (e == 0)
        e = parse_target(&a, words, n, why);
    if (e < 0) {
        assignment_done(&a);
        return e;
    }
    a.file = rstr_ref(r->file);
    return assignments_push(r->config->assignments, &a);
}

/* The table. A section with an `open` needs an argument, the others have none. */
typedef int (*key_setter)(struct config_reader *r, const struct conf_line *line, struct why *why);

static const struct {
    const char *section, *key;
    key_setter set;
} keys[] = {
    { "waymark", "default", set_default },
    { "waymark", "ignore", set_ignored },
    { "waymark", "log-level", set_log_level },
    { "network", "netid", set_netid },
    { "network", "type", set_type },
    { "network", "interface", set_interface },
    { "network", "dns", set_dns },
    { "network", "domain", set_domain },
    { "network", "permission", set_permission },
    { "network", "route", set_route },
    { "network", "secure", set_secure },
    { "network", "exclude-local", set_exclude_local },
    { "network", "fall-through", set_fall_through },
    { "network", "lockdown", set_lockdown },
    { "network", "outside", set_outside },
    { "assignments", "assign", add_assignment },
};

static const struct {
    const char *section;
    key_setter open;
} sections[] = { { "waymark", NULL },
                 { "network", open_network },
                 { "vpn", config_open_vpn },
                 { "assignments", NULL } };

static int handle_section(struct config_reader *r, const struct conf_line *line, struct why *why)
{
    for (size_t i = 0; i < ELEMENTSOF(sections); i++) {
        if (!streq(sections[i].section, line->section))
            continue;
        if (sections[i].open)
            return sections[i].open(r, line, why);
        return *line->argument ? why_set(why, -EINVAL, "section [%s] takes no name", line->section)
                               : 0;
    }
    return why_set(why, -EINVAL,
                   "there is no section [%.60s]: use [waymark], [network NAME], [vpn NAME] or "
                   "[assignments]",
                   line->section);
}

int config_handle_line(void *data, const struct conf_line *line, struct why *why)
{
    struct config_reader *r = data;

    if (!line->key)
        return handle_section(r, line, why);
    for (size_t i = 0; i < ELEMENTSOF(keys); i++)
        if (streq(keys[i].section, line->section) && streq(keys[i].key, line->key))
            return keys[i].set(r, line, why);
    if (streq(line->section, "vpn")) {
        int e = config_set_vpn(r, line, why);

        if (e != -ENOENT)
            return e;
    }
    if (*line->section == '\0')
        return why_set(why, -EINVAL, "'%.60s' stands before any [section]", line->key);
    return why_set(why, -EINVAL, "section [%s] has no key '%.60s': see waymark.conf(5)",
                   line->section, line->key);
}

static int settle_route(const struct network *n, struct route_spec *route, struct why *why)
{
    if (route->interface[0])
        return network_has_interface(n, route->interface)
                   ? 0
                   : why_set(why, -EINVAL, "route: interface '%s' is not one of network '%s'",
                             route->interface, n->name);
    if (n->n_interfaces != 1)
        return why_set(why, -EINVAL,
                       "route: network '%s' has %zu interfaces: say which with dev IF", n->name,
                       n->n_interfaces);
    (void)str_set(route->interface, IFNAMSIZ, n->interfaces[0]);
    return 0;
}

/* Some keys say the type, too. */
static void imply_type(struct config_network *cn)
{
    bool vpn = cn->fields & (FIELD_SECURE | FIELD_EXCLUDE_LOCAL);
    bool physical = cn->draft->permission != PERMISSION_NONE ||
                    ((cn->fields & FIELD_NETID) && cn->draft->netid <= NETID_OEM_MAX);

    if ((cn->fields & FIELD_TYPE) || (!vpn && !physical))
        return;
    cn->draft->type = vpn ? NETWORK_VPN : NETWORK_PHYSICAL;
    cn->fields |= FIELD_TYPE;
}

int config_settle_network(struct config_network *cn, struct why *why)
{
    bool routed = cn->draft->type != NETWORK_UNREACHABLE;
    int r = 0;

    imply_type(cn);

    if (cn->draft->n_interfaces == 0 && routed && strlen(cn->draft->name) < IFNAMSIZ)
        r = network_add_interface(cn->draft, cn->draft->name);
    for (size_t i = 0; r == 0 && i < cn->draft->n_routes; i++)
        r = settle_route(cn->draft, &cn->draft->routes[i], why);
    if (r < 0)
        (void)why_prefix(why, "%s:%u", rstr_text(cn->file), cn->line);
    return r;
}
