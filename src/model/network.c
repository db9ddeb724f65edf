/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "model/network.h"

#include <ctype.h>
#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"

static const char *const type_names[NETWORK_TYPE_MAX] = {
    [NETWORK_PHYSICAL] = "physical",
    [NETWORK_VPN] = "vpn",
    [NETWORK_LOCAL] = "local",
    [NETWORK_UNREACHABLE] = "unreachable",
};

static const char *const origin_names[ORIGIN_MAX] = {
    [ORIGIN_HOST] = "host",       [ORIGIN_CONFIG] = "config", [ORIGIN_COMMAND] = "command",
    [ORIGIN_RUNTIME] = "runtime", [ORIGIN_RUN] = "run",       [ORIGIN_VPN] = "vpn",
};

static const char *const permission_names[] = {
    [PERMISSION_NONE] = "none",
    [PERMISSION_NETWORK] = "network",
    [PERMISSION_SYSTEM] = "system",
};

const char *network_type_to_string(enum network_type type)
{
    return type_names[type];
}

int network_type_from_string(const char *s)
{
    return parse_word(type_names, ELEMENTSOF(type_names), s);
}

const char *origin_to_string(enum origin origin)
{
    return origin_names[origin];
}

int origin_from_string(const char *s)
{
    return parse_word(origin_names, ELEMENTSOF(origin_names), s);
}

const char *permission_to_string(enum permission permission)
{
    return permission_names[permission];
}

int permission_from_string(const char *s)
{
    return parse_word(permission_names, ELEMENTSOF(permission_names), s);
}

int network_name_check(const char *name, struct why *why)
{
    static const char *const reserved[] = { "none", "system", "default", "all" };

    if (name[0] == '\0' || strlen(name) > NETWORK_NAME_MAX)
        return why_set(why, -EINVAL, "a network's name has 1 to %d characters", NETWORK_NAME_MAX);
    if (parse_word(reserved, ELEMENTSOF(reserved), name) >= 0)
        return why_set(why, -EINVAL, "'%s' is a word with a meaning, not a network's name", name);
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && (!strchr("_.:@+-", *p) || (p == name && *p == '-')))
            return why_set(why, -EINVAL,
                           "'%.64s' is no network name: use letters, digits and _ . : @ + -", name);
    return 0;
}

int network_domain_check(const char *domain, struct why *why)
{
    size_t label = 0, n = strlen(domain);

    if (n == 0 || n > NETWORK_DOMAIN_LEN_MAX)
        return why_set(why, -EINVAL, "a domain has 1 to %d characters", NETWORK_DOMAIN_LEN_MAX);
    for (const char *p = domain; *p; p++) {
        label = *p == '.' ? 0 : label + 1;
        if ((!isalnum((unsigned char)*p) && !strchr("-_.", *p)) || label > 63 ||
            (*p == '.' && (p == domain || p[-1] == '.')))
            return why_set(why, -EINVAL, "'%.80s' is no domain name", domain);
    }
    return 0;
}

struct network *network_new(void)
{
    struct network *n = calloc(1, sizeof(*n));

    if (n)
        n->refs = 1;
    return n;
}

struct network *network_ref(struct network *n)
{
    n->refs++;
    return n;
}

void network_unref(struct network *n)
{
    if (!n || --n->refs > 0)
        return;
    network_clear_domains(n);
    free(n->domains);
    free(n->interfaces);
    free(n->routes);
    free(n->users);
    free(n->outside);
    free(n->dns);
    rstr_unref(n->source);
    free(n);
}

struct network *network_copy(const struct network *n)
{
    _cleanup_(network_unrefp) struct network *c = network_new();
    int r = 0;

    if (!c)
        return NULL;
    *c = *n;
    c->refs = 1;
    c->interfaces = NULL;
    c->routes = NULL;
    c->users = NULL;
    c->outside = NULL;
    c->dns = NULL;
    c->domains = NULL;
    c->n_domains = 0;
    c->source = rstr_ref(n->source);

    r |=
        array_copy((void **)&c->interfaces, n->interfaces, n->n_interfaces, sizeof(*n->interfaces));
    r |= array_copy((void **)&c->routes, n->routes, n->n_routes, sizeof(*n->routes));
    r |= array_copy((void **)&c->users, n->users, n->n_users, sizeof(*n->users));
    r |= array_copy((void **)&c->outside, n->outside, n->n_outside, sizeof(*n->outside));
    r |= array_copy((void **)&c->dns, n->dns, n->n_dns, sizeof(*n->dns));
    r |= array_copy((void **)&c->domains, n->domains, n->n_domains, sizeof(struct rstr *));
    if (r < 0)
        return NULL;
    for (size_t i = 0; i < n->n_domains; i++)
        (void)rstr_ref(c->domains[i]);
    c->n_domains = n->n_domains;
    return TAKE_PTR(c);
}

static bool bytes_equal(const void *a, const void *b, size_t n, size_t size)
{
    return mem_equal(a, b, n * size);
}

static bool lists_equal(const struct network *a, const struct network *b)
{
    if (a->n_interfaces != b->n_interfaces || a->n_routes != b->n_routes ||
        a->n_users != b->n_users || a->n_outside != b->n_outside || a->n_dns != b->n_dns ||
        a->n_domains != b->n_domains)
        return false;
    for (size_t i = 0; i < a->n_routes; i++)
        if (route_spec_compare(&a->routes[i], &b->routes[i]) != 0)
            return false;
    for (size_t i = 0; i < a->n_domains; i++)
        if (!streq(a->domains[i]->s, b->domains[i]->s))
            return false;
    return bytes_equal(a->interfaces, b->interfaces, a->n_interfaces, sizeof(*a->interfaces)) &&
           bytes_equal(a->users, b->users, a->n_users, sizeof(*a->users)) &&
           bytes_equal(a->outside, b->outside, a->n_outside, sizeof(*a->outside)) &&
           bytes_equal(a->dns, b->dns, a->n_dns, sizeof(*a->dns));
}

bool network_equal(const struct network *a, const struct network *b)
{
    if (a == b)
        return true;
    return a->netid == b->netid && streq(a->name, b->name) && a->type == b->type &&
           a->type_open == b->type_open && a->origin == b->origin &&
           a->permission == b->permission && a->secure == b->secure && a->has_dns == b->has_dns &&
           a->exclude_local == b->exclude_local && a->fall_through == b->fall_through &&
           a->lockdown == b->lockdown &&
           memcmp(&a->resolver, &b->resolver, sizeof(a->resolver)) == 0 &&
           streq(rstr_text(a->source), rstr_text(b->source)) && lists_equal(a, b);
}

static size_t find_interface(const struct network *n, const char *name)
{
    size_t i = 0;

    while (i < n->n_interfaces && !streq(n->interfaces[i], name))
        i++;
    return i;
}

bool network_has_interface(const struct network *n, const char *name)
{
    return find_interface(n, name) < n->n_interfaces;
}

/* Appends one element to an exact-size array. */
static int append(void **array, size_t *n, const void *element, size_t size)
{
    void *grown = reallocarray(*array, *n + 1, size);

    if (!grown)
        return -ENOMEM;
    memcpy((char *)grown + *n * size, element, size);
    *array = grown;
    (*n)++;
    return 0;
}

static void erase(void *array, size_t *n, size_t i, size_t size)
{
    char *p = (char *)array + i * size;

    memmove(p, p + size, (*n - i - 1) * size);
    (*n)--;
}

int network_add_interface(struct network *n, const char *name)
{
    char interface[IFNAMSIZ];

    if (name[0] == '\0' || !str_set(interface, sizeof(interface), name))
        return -ENAMETOOLONG;
    if (network_has_interface(n, name))
        return -EEXIST;
    return append((void **)&n->interfaces, &n->n_interfaces, interface, sizeof(interface));
}

int network_remove_interface(struct network *n, const char *name)
{
    size_t i = find_interface(n, name);

    if (i == n->n_interfaces)
        return -ENOENT;
    erase(n->interfaces, &n->n_interfaces, i, sizeof(*n->interfaces));
    return 0;
}

static size_t find_route(const struct network *n, const struct route_spec *route)
{
    size_t i = 0;

    while (i < n->n_routes && route_spec_compare(&n->routes[i], route) != 0)
        i++;
    return i;
}

int network_add_route(struct network *n, const struct route_spec *route)
{
    if (find_route(n, route) < n->n_routes)
        return -EEXIST;
    return append((void **)&n->routes, &n->n_routes, route, sizeof(*route));
}

int network_remove_route(struct network *n, const struct route_spec *route)
{
    size_t i = find_route(n, route);

    if (i == n->n_routes)
        return -ESRCH;
    erase(n->routes, &n->n_routes, i, sizeof(*n->routes));
    return 0;
}

int network_add_user(struct network *n, struct uid_range range)
{
    return append((void **)&n->users, &n->n_users, &range, sizeof(range));
}

int network_remove_user(struct network *n, struct uid_range range)
{
    for (size_t i = 0; i < n->n_users; i++)
        if (uid_range_compare(&n->users[i], &range) == 0) {
            erase(n->users, &n->n_users, i, sizeof(range));
            return 0;
        }
    return -ENOENT;
}

int network_add_outside(struct network *n, const struct ip_prefix *prefix)
{
    for (size_t i = 0; i < n->n_outside; i++)
        if (ip_prefix_compare(&n->outside[i], prefix) == 0)
            return 0;
    if (n->n_outside == NETWORK_OUTSIDE_MAX)
        return -E2BIG;
    return append((void **)&n->outside, &n->n_outside, prefix, sizeof(*prefix));
}

int network_add_dns(struct network *n, const struct ip_addr *addr)
{
    for (size_t i = 0; i < n->n_dns; i++)
        if (ip_addr_equal(&n->dns[i], addr))
            return 0;
    if (n->n_dns == NETWORK_DNS_MAX)
        return -E2BIG;
    return append((void **)&n->dns, &n->n_dns, addr, sizeof(*addr));
}

int network_add_domain(struct network *n, const char *domain)
{
    for (size_t i = 0; i < n->n_domains; i++)
        if (streq(n->domains[i]->s, domain))
            return 0;
    if (n->n_domains == NETWORK_DOMAINS_MAX)
        return -E2BIG;

    _cleanup_(rstr_unrefp) struct rstr *s = rstr_new(domain);
    if (!s || append((void **)&n->domains, &n->n_domains, &s, sizeof(s)) < 0)
        return -ENOMEM;
    TAKE_PTR(s);
    return 0;
}

void network_clear_outside(struct network *n)
{
    n->n_outside = 0;
}

void network_clear_dns(struct network *n)
{
    n->n_dns = 0;
}

void network_clear_domains(struct network *n)
{
    for (size_t i = 0; i < n->n_domains; i++)
        rstr_unref(n->domains[i]);
    n->n_domains = 0;
}

int network_read_interface(struct network *n, const char *text, struct why *why)
{
    int r = network_add_interface(n, text);

    if (r == -ENAMETOOLONG)
        return why_set(why, -EINVAL, "'%.60s' is no interface name (1 to 15 bytes)", text);
    return r == -EEXIST ? 0 : r;
}

int network_read_outside(struct network *n, const char *text, struct why *why)
{
    struct ip_prefix prefix;
    int r = ip_prefix_parse(text, &prefix);

    if (r == -EDOM)
        return why_set(why, -EINVAL, "'%.60s' has bits set beyond the length of the prefix", text);
    if (r < 0)
        return why_set(why, -EINVAL, "'%.60s' is no prefix", text);
    r = network_add_outside(n, &prefix);
    return r == -E2BIG ? why_set(why, r, "more than %d prefixes outside", NETWORK_OUTSIDE_MAX) : r;
}

int network_read_dns(struct network *n, const char *text, struct why *why)
{
    struct ip_addr addr;
    int r;

    if (ip_addr_parse(text, &addr) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address of a DNS server", text);
    r = network_add_dns(n, &addr);
    return r == -E2BIG ? why_set(why, r, "more than %d DNS servers", NETWORK_DNS_MAX) : r;
}

int network_read_domain(struct network *n, const char *text, struct why *why)
{
    int r = network_domain_check(text, why);

    if (r == 0)
        r = network_add_domain(n, text);
    return r == -E2BIG ? why_set(why, r, "more than %d domains", NETWORK_DOMAINS_MAX) : r;
}
