/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include <ctype.h>
#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "model/vpn.h"

struct vpn_config *vpn_config_new(void)
{
    struct vpn_config *c = calloc(1, sizeof(*c));

    if (!c)
        return NULL;
    c->refs = 1;
    c->queues = 1;
    return c;
}

struct vpn_config *vpn_config_ref(struct vpn_config *c)
{
    if (c)
        c->refs++;
    return c;
}

void vpn_config_unref(struct vpn_config *c)
{
    if (!c || --c->refs > 0)
        return;
    for (size_t i = 0; i < c->n_domains; i++)
        rstr_unref(c->domains[i]);
    for (size_t i = 0; i < c->n_underlying; i++)
        rstr_unref(c->underlying[i]);
    selector_list_done(&c->allowed);
    selector_list_done(&c->disallowed);
    rstr_unref(c->session);
    rstr_unref(c->http_proxy);
    free(c->addresses);
    free(c->routes);
    free(c->dns);
    free(c->domains);
    free(c->underlying);
    free(c->lan_prefixes);
    free(c);
}

/* Copies n strings, each with a reference. 0 or -ENOMEM. */
static int copy_strings(struct rstr ***ret, struct rstr *const *src, size_t n)
{
    int r = array_copy((void **)ret, src, n, sizeof(struct rstr *));

    for (size_t i = 0; r == 0 && i < n; i++)
        (void)rstr_ref((*ret)[i]);
    return r;
}

struct vpn_config *vpn_config_copy(const struct vpn_config *c)
{
    _cleanup_(vpn_config_unrefp) struct vpn_config *n = vpn_config_new();

    if (!n)
        return NULL;
    n->session = rstr_ref(c->session);
    n->http_proxy = rstr_ref(c->http_proxy);
    n->mtu = c->mtu;
    n->families = c->families;
    n->bypassable = c->bypassable;
    n->blocking = c->blocking;
    n->offloads = c->offloads;
    n->queues = c->queues;
    n->metered = c->metered;
    n->underlying_set = c->underlying_set;
    n->lan = c->lan;

#define COPY(what)                                                                   \
    if (array_copy((void **)&n->what, c->what, c->n_##what, sizeof(c->what[0])) < 0) \
        return NULL;                                                                 \
    n->n_##what = c->n_##what
    COPY(addresses);
    COPY(routes);
    COPY(dns);
    COPY(lan_prefixes);
#undef COPY
    n->cap_addresses = n->n_addresses;
    n->cap_routes = n->n_routes;
    if (copy_strings(&n->domains, c->domains, c->n_domains) < 0)
        return NULL;
    n->n_domains = c->n_domains;
    if (copy_strings(&n->underlying, c->underlying, c->n_underlying) < 0)
        return NULL;
    n->n_underlying = c->n_underlying;
    if (selector_list_copy(&n->allowed, &c->allowed) < 0 ||
        selector_list_copy(&n->disallowed, &c->disallowed) < 0)
        return NULL;
    return TAKE_PTR(n);
}

static bool strings_equal(struct rstr *const *a, struct rstr *const *b, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!streq(a[i]->s, b[i]->s))
            return false;
    return true;
}

static bool rstr_equal(const struct rstr *a, const struct rstr *b)
{
    return !a == !b && streq(rstr_text(a), rstr_text(b));
}

static bool routes_equal(const struct vpn_config *a, const struct vpn_config *b)
{
    for (size_t i = 0; i < a->n_routes; i++)
        if (route_spec_compare(&a->routes[i], &b->routes[i]) != 0)
            return false;
    return true;
}

static bool addresses_equal(const struct vpn_config *a, const struct vpn_config *b)
{
    for (size_t i = 0; i < a->n_addresses; i++)
        if (!ip_addr_equal(&a->addresses[i].addr, &b->addresses[i].addr) ||
            a->addresses[i].len != b->addresses[i].len)
            return false;
    return true;
}

static bool lists_equal(const struct vpn_config *a, const struct vpn_config *b)
{
    return a->n_addresses == b->n_addresses && a->n_routes == b->n_routes && a->n_dns == b->n_dns &&
           a->n_domains == b->n_domains && a->n_underlying == b->n_underlying &&
           a->n_lan_prefixes == b->n_lan_prefixes && addresses_equal(a, b) && routes_equal(a, b) &&
           mem_equal(a->dns, b->dns, a->n_dns * sizeof(*a->dns)) &&
           mem_equal(a->lan_prefixes, b->lan_prefixes,
                     a->n_lan_prefixes * sizeof(*a->lan_prefixes)) &&
           strings_equal(a->domains, b->domains, a->n_domains) &&
           strings_equal(a->underlying, b->underlying, a->n_underlying) &&
           selector_list_equal(&a->allowed, &b->allowed) &&
           selector_list_equal(&a->disallowed, &b->disallowed);
}

bool vpn_config_equal(const struct vpn_config *a, const struct vpn_config *b)
{
    if (a == b)
        return true;
    return a && b && rstr_equal(a->session, b->session) &&
           rstr_equal(a->http_proxy, b->http_proxy) && a->mtu == b->mtu &&
           a->families == b->families && a->bypassable == b->bypassable &&
           a->blocking == b->blocking && a->offloads == b->offloads && a->queues == b->queues &&
           a->metered == b->metered && a->underlying_set == b->underlying_set && a->lan == b->lan &&
           lists_equal(a, b);
}

/* What no host has: it can be neither the interface's address nor a server's. */
static const char *wrong_host(const struct ip_addr *a)
{
    if (ip_addr_is_loopback(a))
        return "it is a loopback address";
    if (ip_addr_is_any(a))
        return "it stands for any address";
    return ip_addr_is_multicast(a) ? "it is a multicast address" : NULL;
}

/* "A/LEN" or "A", then *ret_len is that of a host. Host bits may be set. */
static int parse_address(const char *text, struct ip_addr *ret, uint8_t *ret_len, struct why *why)
{
    const char *slash = strchr(text, '/');
    struct ip_addr addr;
    char host[IP_TEXT_MAX];
    uint32_t len;

    if (!slash)
        slash = text + strlen(text);
    if ((size_t)(slash - text) >= sizeof(host))
        return why_set(why, -EINVAL, "'%.60s' is no address: use ADDRESS/LENGTH", text);
    memcpy(host, text, (size_t)(slash - text));
    host[slash - text] = '\0';
    if (ip_addr_parse(host, &addr) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address: use ADDRESS/LENGTH", text);
    len = ip_family_bits(addr.family);
    if (*slash && parse_u32(slash + 1, len, &len) < 0)
        return why_set(why, -EINVAL, "'%.60s': the prefix length is a number from 0 to %u", text,
                       ip_family_bits(addr.family));
    *ret = addr;
    *ret_len = (uint8_t)len;
    return 0;
}

static size_t find_address(const struct vpn_config *c, const struct ip_addr *addr)
{
    size_t i = 0;

    while (i < c->n_addresses && !ip_addr_equal(&c->addresses[i].addr, addr))
        i++;
    return i;
}

int vpn_config_add_address(struct vpn_config *c, const char *text, struct why *why)
{
    struct vpn_address a = { 0 };
    const char *wrong;
    int r = parse_address(text, &a.addr, &a.len, why);
    size_t i;

    if (r < 0)
        return r;
    wrong = wrong_host(&a.addr);
    if (wrong)
        return why_set(why, -EINVAL, "'%.60s' cannot be an address of the VPN: %s", text, wrong);
    i = find_address(c, &a.addr);
    if (i < c->n_addresses) {
        c->addresses[i] = a;
        return 0;
    }
    if (c->n_addresses == VPN_ADDRESSES_MAX)
        return why_set(why, -E2BIG, "more than %d addresses", VPN_ADDRESSES_MAX);
    return ARRAY_PUSH(c->addresses, c->n_addresses, c->cap_addresses, a);
}

int vpn_config_remove_address(struct vpn_config *c, const char *text, struct why *why)
{
    struct ip_addr addr;
    uint8_t len;
    int r = parse_address(text, &addr, &len, why);
    size_t i;

    if (r < 0)
        return r;
    i = find_address(c, &addr);
    if (i == c->n_addresses || (strchr(text, '/') && c->addresses[i].len != len))
        return why_set(why, -EADDRNOTAVAIL, "the VPN has no address '%.60s'", text);
    c->n_addresses--;
    memmove(c->addresses + i, c->addresses + i + 1, (c->n_addresses - i) * sizeof(*c->addresses));
    return 0;
}

/* The first route whose destination is not below this one: routes are sorted by it. */
static size_t route_bound(const struct vpn_config *c, const struct ip_prefix *dst)
{
    size_t lo = 0, hi = c->n_routes;

    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (ip_prefix_compare(&c->routes[mid].dst, dst) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

bool vpn_config_has_route(const struct vpn_config *c, const struct ip_prefix *dst)
{
    size_t i = route_bound(c, dst);

    return i < c->n_routes && ip_prefix_compare(&c->routes[i].dst, dst) == 0;
}

/* Added and excluded: what was said last holds. */
static int put_route(struct vpn_config *c, const char *text, enum route_kind kind, struct why *why)
{
    struct route_spec route = { .kind = kind };
    int r = ip_prefix_parse(text, &route.dst);
    size_t i;

    if (r == -EDOM)
        return why_set(why, -EINVAL,
                       "'%.60s' has bits set beyond its prefix length: give the prefix itself, "
                       "such as 10.1.0.0/16",
                       text);
    if (r < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no destination: use ADDRESS/LENGTH, such as 0.0.0.0/0 or ::/0",
                       text);
    if (ip_addr_is_loopback(&route.dst.addr))
        return why_set(why, -EINVAL, "'%.60s' is loopback, which never leaves the machine", text);

    i = route_bound(c, &route.dst);
    if (i < c->n_routes && ip_prefix_compare(&c->routes[i].dst, &route.dst) == 0) {
        c->routes[i] = route;
        return 0;
    }
    if (c->n_routes == VPN_ROUTES_MAX)
        return why_set(why, -E2BIG, "more than %d routes", VPN_ROUTES_MAX);
    if (ARRAY_RESERVE(c->routes, c->cap_routes, c->n_routes + 1) < 0)
        return -ENOMEM;
    memmove(c->routes + i + 1, c->routes + i, (c->n_routes - i) * sizeof(*c->routes));
    c->routes[i] = route;
    c->n_routes++;
    return 0;
}

int vpn_config_add_route(struct vpn_config *c, const char *text, struct why *why)
{
    return put_route(c, text, ROUTE_UNICAST, why);
}

int vpn_config_exclude_route(struct vpn_config *c, const char *text, struct why *why)
{
    return put_route(c, text, ROUTE_THROW, why);
}

int vpn_config_add_dns(struct vpn_config *c, const char *text, struct why *why)
{
    struct ip_addr addr, *grown;
    const char *wrong;

    if (ip_addr_parse(text, &addr) < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address of a DNS server", text);
    wrong = wrong_host(&addr);
    if (wrong)
        return why_set(why, -EINVAL, "'%.60s' cannot be a DNS server: %s", text, wrong);
    for (size_t i = 0; i < c->n_dns; i++)
        if (ip_addr_equal(&c->dns[i], &addr))
            return 0;
    if (c->n_dns == NETWORK_DNS_MAX)
        return why_set(why, -E2BIG, "more than %d DNS servers", NETWORK_DNS_MAX);
    grown = reallocarray(c->dns, c->n_dns + 1, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    c->dns = grown;
    c->dns[c->n_dns++] = addr;
    return 0;
}

/* Appends a string that is not there yet. 0, -ENOMEM, -E2BIG beyond `max`. */
static int append_string(struct rstr ***list, size_t *n, size_t max, const char *text)
{
    _cleanup_(rstr_unrefp) struct rstr *s = NULL;
    struct rstr **grown;

    for (size_t i = 0; i < *n; i++)
        if (streq((*list)[i]->s, text))
            return 0;
    if (*n == max)
        return -E2BIG;
    s = rstr_new(text);
    grown = s ? reallocarray(*list, *n + 1, sizeof(struct rstr *)) : NULL;
    if (!grown)
        return -ENOMEM;
    *list = grown;
    grown[(*n)++] = TAKE_PTR(s);
    return 0;
}

int vpn_config_add_domain(struct vpn_config *c, const char *text, struct why *why)
{
    int r = network_domain_check(text, why);

    if (r == 0)
        r = append_string(&c->domains, &c->n_domains, NETWORK_DOMAINS_MAX, text);
    return r == -E2BIG ? why_set(why, r, "more than %d domains", NETWORK_DOMAINS_MAX) : r;
}

int vpn_config_add_underlying(struct vpn_config *c, const char *network, struct why *why)
{
    int r = network_name_check(network, why);

    if (r == 0)
        r = append_string(&c->underlying, &c->n_underlying, VPN_UNDERLYING_MAX, network);
    if (r == 0)
        c->underlying_set = true;
    return r == -E2BIG ? why_set(why, r, "more than %d underlying networks", VPN_UNDERLYING_MAX)
                       : r;
}

int vpn_config_allow(struct vpn_config *c, const char *selector, struct why *why)
{
    if (c->disallowed.n > 0)
        return why_set(why, -EPERM,
                       "apps are either allowed or disallowed: '%.60s' cannot be allowed, others "
                       "are disallowed already",
                       selector);
    return selector_list_add(&c->allowed, selector, why);
}

int vpn_config_disallow(struct vpn_config *c, const char *selector, struct why *why)
{
    if (c->allowed.n > 0)
        return why_set(
            why, -EPERM,
            "apps are either allowed or disallowed: '%.60s' cannot be disallowed, others "
            "are allowed already",
            selector);
    return selector_list_add(&c->disallowed, selector, why);
}

int vpn_config_allow_family(struct vpn_config *c, const char *text, struct why *why)
{
    static const char *const names[] = { "inet", "inet6" };
    int i = parse_word(names, ELEMENTSOF(names), text);

    if (i < 0)
        return why_set(why, -EINVAL, "'%.60s' is no address family: use inet or inet6", text);
    c->families |= 1U << i;
    return 0;
}

int vpn_config_set_mtu(struct vpn_config *c, uint32_t mtu, struct why *why)
{
    if (mtu < VPN_MTU_MIN || mtu > VPN_MTU_MAX)
        return why_set(why, -EINVAL, "%u is no MTU: use a number from %d to %d", mtu, VPN_MTU_MIN,
                       VPN_MTU_MAX);
    c->mtu = mtu;
    return 0;
}

/* It is shown to people and stands in logs. */
static bool has_control(const char *text)
{
    for (const char *p = text; *p; p++)
        if (iscntrl((unsigned char)*p))
            return true;
    return false;
}

int vpn_config_set_session(struct vpn_config *c, const char *text, struct why *why)
{
    struct rstr *s = NULL;

    if (strlen(text) > VPN_SESSION_MAX)
        return why_set(why, -EINVAL, "the session's name is longer than %d bytes", VPN_SESSION_MAX);
    if (has_control(text))
        return why_set(why, -EINVAL, "the session's name has control characters in it");
    if (*text) {
        s = rstr_new(text);
        if (!s)
            return -ENOMEM;
    }
    rstr_unref(c->session);
    c->session = s;
    return 0;
}

/* A name, an IPv4 address, or "[IPv6]". */
static bool is_proxy_host(const char *host, size_t n)
{
    char text[NETWORK_DOMAIN_LEN_MAX + 1];
    struct ip_addr addr;

    if (n == 0 || n >= sizeof(text))
        return false;
    memcpy(text, host, n);
    text[n] = '\0';
    if (text[0] != '[')
        return network_domain_check(text, NULL) == 0;
    if (text[n - 1] != ']')
        return false;
    text[n - 1] = '\0';
    return ip_addr_parse(text + 1, &addr) == 0 && addr.family == AF_INET6;
}

int vpn_config_set_http_proxy(struct vpn_config *c, const char *text, struct why *why)
{
    const char *colon = strrchr(text, ':');
    struct rstr *s;
    uint32_t port;

    if (!colon || !is_proxy_host(text, (size_t)(colon - text)) ||
        parse_u32(colon + 1, UINT16_MAX, &port) < 0 || port == 0)
        return why_set(why, -EINVAL, "'%.80s' is no proxy: use HOST:PORT or [IPV6]:PORT", text);
    s = rstr_new(text);
    if (!s)
        return -ENOMEM;
    rstr_unref(c->http_proxy);
    c->http_proxy = s;
    return 0;
}

int vpn_config_set_queues(struct vpn_config *c, uint32_t queues, struct why *why)
{
    if (queues < 1 || queues > VPN_QUEUES_MAX)
        return why_set(why, -EINVAL, "%u queues: use a number from 1 to %d", queues,
                       VPN_QUEUES_MAX);
    c->queues = queues;
    return 0;
}

int vpn_config_check(const struct vpn_config *c, struct why *why)
{
    if (c->n_addresses == 0)
        return why_set(why, -EINVAL, "a VPN needs at least one address");
    if (c->allowed.n > 0 && c->disallowed.n > 0)
        return why_set(why, -EPERM, "apps are either allowed or disallowed, not both");
    for (size_t i = 0; i < c->n_addresses; i++)
        if (c->addresses[i].addr.family == AF_INET6 && c->mtu > 0 && c->mtu < VPN_MTU_MIN_IPV6)
            return why_set(why, -EINVAL,
                           "with an IPv6 address the MTU is at least %d (RFC 8200), not %u",
                           VPN_MTU_MIN_IPV6, c->mtu);
    return 0;
}

unsigned vpn_config_blocked_families(const struct vpn_config *c)
{
    unsigned known = c->families;

    for (size_t i = 0; i < c->n_addresses; i++)
        known |= 1U << family_index(c->addresses[i].addr.family);
    for (size_t i = 0; i < c->n_routes; i++)
        if (c->routes[i].kind == ROUTE_UNICAST)
            known |= 1U << family_index(c->routes[i].dst.addr.family);
    for (size_t i = 0; i < c->n_dns; i++)
        known |= 1U << family_index(c->dns[i].family);
    return ~known & (VPN_FAMILY_IPV4 | VPN_FAMILY_IPV6);
}
