/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* waymark.h: the description of a VPN. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "basic/array.h"
#include "lib/vpn.h"

enum {
    TEXT_MAX = 200 * 1024, /* the daemon takes messages of 256 KiB */
    NETIDS_MAX = 256,      /* with names of 64 bytes */
    PORT_MAX = 65535,
    MTU_MAX = 65535,
    QUEUES_MAX = 16,
};

/* Texts. */

/* What a text takes at most in an array of the bus: its length before it, NUL and padding behind it. */
static size_t bytes_of(const char *text)
{
    return sizeof(uint32_t) + strlen(text) + sizeof(uint32_t);
}

static size_t bytes_of_list(const struct vpn_strings *s)
{
    size_t sum = 0;

    for (size_t i = 0; i < s->n; i++)
        sum += bytes_of(s->items[i]);
    return sum;
}

static void free_list(struct vpn_strings *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->items[i]);
    free(s->items);
    *s = (struct vpn_strings){ 0 };
}

/* The index of that text, or n. */
static size_t find(const struct vpn_strings *s, const char *text)
{
    size_t i = 0;

    while (i < s->n && !streq(s->items[i], text))
        i++;
    return i;
}

/* It is not there yet. */
static int append(struct vpn_strings *s, const char *text)
{
    _cleanup_free_ char *copy = strdup(text);
    int r = copy ? ARRAY_RESERVE(s->items, s->capacity, s->n + 2) : -ENOMEM;

    if (r < 0)
        return r;
    s->items[s->n++] = TAKE_PTR(copy);
    s->items[s->n] = NULL;
    return 0;
}

static int add(struct wm_vpn_builder *b, enum vpn_list list, const char *text)
{
    struct vpn_strings *s = &b->lists[list];
    int r;

    if (find(s, text) < s->n)
        return 0;
    if (bytes_of(text) > TEXT_MAX - b->list_bytes)
        return -E2BIG;
    r = append(s, text);
    if (r == 0)
        b->list_bytes += bytes_of(text);
    return r;
}

/* Keeps the order of the others. */
static void drop(struct wm_vpn_builder *b, enum vpn_list list, const char *text)
{
    struct vpn_strings *s = &b->lists[list];
    size_t i = find(s, text);

    if (i == s->n)
        return;
    b->list_bytes -= bytes_of(text);
    free(s->items[i]);
    memmove(s->items + i, s->items + i + 1, (s->n - i) * sizeof(*s->items)); /* and the NULL */
    s->n--;
}

/* NULL takes it back. */
static int set_text(char **field, const char *text)
{
    char *copy = NULL;

    if (text &&
        strlen(text) > TEXT_MAX / 8) /* not one of the lists, which have the rest of 256 KiB */
        return -E2BIG;
    if (text && !(copy = strdup(text)))
        return -ENOMEM;
    free(*field);
    *field = copy;
    return 0;
}

/* Addresses. */

int vpn_prefix_text(const char *address, unsigned prefix_length, struct ip_prefix *ret,
                    char text[static IP_TEXT_MAX])
{
    struct ip_prefix p = { 0 };

    if (!address || ip_addr_parse(address, &p.addr) < 0 ||
        prefix_length > ip_family_bits(p.addr.family))
        return -EINVAL;
    p.len = (uint8_t)prefix_length;
    (void)ip_prefix_format(&p, text);
    *ret = p;
    return 0;
}

static bool is_nobodys(const struct ip_addr *a)
{
    return ip_addr_is_any(a) || ip_addr_is_loopback(a);
}

int vpn_address_text(const char *address, unsigned prefix_length, char text[static IP_TEXT_MAX])
{
    struct ip_prefix p;
    int r = vpn_prefix_text(address, prefix_length, &p, text);

    return r == 0 && is_nobodys(&p.addr) ? -EINVAL : r;
}

static int add_address(struct wm_vpn_builder *b, const char *address, unsigned prefix_length)
{
    char text[IP_TEXT_MAX];
    int r = vpn_address_text(address, prefix_length, text);

    return r < 0 ? r : add(b, VPN_LIST_ADDRESSES, text);
}

/* Of the same prefix the last call holds. */
static int add_route(struct wm_vpn_builder *b, enum vpn_list to, enum vpn_list from,
                     const char *address, unsigned prefix_length)
{
    struct ip_prefix p, network;
    char text[IP_TEXT_MAX];
    int r = vpn_prefix_text(address, prefix_length, &p, text);

    if (r < 0)
        return r;
    network = ip_prefix_make(&p.addr, p.len);
    if (ip_addr_is_loopback(&p.addr) || ip_prefix_compare(&network, &p) != 0)
        return -EINVAL;
    r = add(b, to, text);
    if (r == 0)
        drop(b, from, text);
    return r;
}

static int add_dns(struct wm_vpn_builder *b, const char *address)
{
    char text[IP_TEXT_MAX];
    struct ip_addr a;

    if (!address || ip_addr_parse(address, &a) < 0 || is_nobodys(&a))
        return -EINVAL;
    return add(b, VPN_LIST_DNS, ip_addr_format(&a, text));
}

static int add_domain(struct wm_vpn_builder *b, const char *domain)
{
    return !domain || !*domain ? -EINVAL : add(b, VPN_LIST_DOMAINS, domain);
}

/* Apps. */

static int add_app(struct wm_vpn_builder *b, enum vpn_list to, enum vpn_list other,
                   const char *selector)
{
    if (!selector || !*selector)
        return -EINVAL;
    return b->lists[other].n > 0 ? -EPERM : add(b, to, selector);
}

static int add_lan(struct vpn_strings *s, const char *what)
{
    char buf[IP_TEXT_MAX];
    const char *text = what;
    struct ip_prefix p;

    if (!streq(what, "link-local")) {
        if (ip_prefix_parse(what, &p) < 0)
            return -EINVAL;
        text = ip_prefix_format(&p, buf);
    }
    return find(s, text) < s->n ? 0 : append(s, text);
}

static int set_lan(struct wm_vpn_builder *b, const char *const *lan)
{
    struct vpn_strings fresh = { 0 }, *s = &b->lists[VPN_LIST_LAN];
    size_t others = b->list_bytes - bytes_of_list(s);
    int r = 0;

    for (; r == 0 && lan && *lan; lan++)
        r = add_lan(&fresh, *lan);
    if (r == 0 && bytes_of_list(&fresh) > TEXT_MAX - others)
        r = -E2BIG;
    if (r < 0) {
        free_list(&fresh);
        return r;
    }
    free_list(s);
    *s = fresh;
    b->list_bytes = others + bytes_of_list(s);
    return 0;
}

/* Others. */

static int set_http_proxy(struct wm_vpn_builder *b, const char *host, unsigned port)
{
    _cleanup_free_ char *text = NULL;

    if (!host)
        return set_text(&b->http_proxy, NULL);
    if (!*host || port == 0 || port > PORT_MAX)
        return -EINVAL;
    if (asprintf(&text, strchr(host, ':') ? "[%s]:%u" : "%s:%u", host, port) < 0) {
        text = NULL;
        return -ENOMEM;
    }
    return set_text(&b->http_proxy, text);
}

int vpn_underlying_new(const wm_network_t *networks, size_t n, struct vpn_underlying *ret)
{
    struct vpn_underlying u = { .set = networks != NULL, .n = networks ? n : 0 };
    _cleanup_free_ uint32_t *netids = NULL;

    if (u.n > NETIDS_MAX)
        return -E2BIG;
    netids = calloc(u.n + 1, sizeof(*netids));
    if (!netids)
        return -ENOMEM;
    for (size_t i = 0; i < u.n; i++)
        if (wm_network_to_netid(networks[i], &netids[i]) < 0 || netids[i] == 0)
            return -EINVAL;
    u.netids = TAKE_PTR(netids);
    *ret = u;
    return 0;
}

static int set_underlying(struct wm_vpn_builder *b, const wm_network_t *networks, size_t n)
{
    struct vpn_underlying u;
    int r = vpn_underlying_new(networks, n, &u);

    if (r < 0)
        return r;
    free(b->underlying.netids);
    b->underlying = u;
    return 0;
}

static int builder_new(const char *name, struct wm_vpn_builder **ret)
{
    struct wm_vpn_builder *b = calloc(1, sizeof(*b));

    if (!b || !(b->name = strdup(name))) {
        free(b);
        return -ENOMEM;
    }
    *ret = b;
    return 0;
}

/* The border. */

WM_PUBLIC int wm_vpn_builder_new(const char *name, struct wm_vpn_builder **ret_builder)
{
    int error = errno;

    return public_result_quiet(error,
                               name && ret_builder ? builder_new(name, ret_builder) : -EINVAL);
}

WM_PUBLIC void wm_vpn_builder_free(struct wm_vpn_builder *builder)
{
    int error = errno;

    if (!builder)
        return;
    client_free(builder->client);
    for (int i = 0; i < VPN_LIST_MAX; i++)
        free_list(&builder->lists[i]);
    free(builder->underlying.netids);
    free(builder->http_proxy);
    free(builder->session);
    free(builder->name);
    free(builder);
    errno = error;
}

WM_PUBLIC const char *wm_vpn_builder_get_error(const struct wm_vpn_builder *builder)
{
    return builder && builder->why.error < 0 ? builder->why.text : "";
}

WM_PUBLIC int wm_vpn_builder_set_session(struct wm_vpn_builder *builder, const char *session)
{
    int error = errno;

    return public_result_quiet(error, builder ? set_text(&builder->session, session) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_set_mtu(struct wm_vpn_builder *builder, unsigned mtu)
{
    if (!builder || mtu == 0 || mtu > MTU_MAX)
        return public_result(-EINVAL);
    builder->mtu = mtu;
    return 0;
}

WM_PUBLIC int wm_vpn_builder_add_address(struct wm_vpn_builder *builder, const char *address,
                                         unsigned prefix_length)
{
    int error = errno;

    return public_result_quiet(error,
                               builder ? add_address(builder, address, prefix_length) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_add_route(struct wm_vpn_builder *builder, const char *address,
                                       unsigned prefix_length)
{
    int error = errno;

    return public_result_quiet(error, builder ? add_route(builder, VPN_LIST_ROUTES,
                                                          VPN_LIST_EXCLUDED, address, prefix_length)
                                              : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_exclude_route(struct wm_vpn_builder *builder, const char *address,
                                           unsigned prefix_length)
{
    int error = errno;

    return public_result_quiet(error, builder ? add_route(builder, VPN_LIST_EXCLUDED,
                                                          VPN_LIST_ROUTES, address, prefix_length)
                                              : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_add_dns_server(struct wm_vpn_builder *builder, const char *address)
{
    int error = errno;

    return public_result_quiet(error, builder ? add_dns(builder, address) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_add_search_domain(struct wm_vpn_builder *builder, const char *domain)
{
    int error = errno;

    return public_result_quiet(error, builder ? add_domain(builder, domain) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_set_http_proxy(struct wm_vpn_builder *builder, const char *host,
                                            unsigned port)
{
    int error = errno;

    return public_result_quiet(error, builder ? set_http_proxy(builder, host, port) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_allow_family(struct wm_vpn_builder *builder, int family)
{
    int error = errno;

    if (!builder || (family != AF_INET && family != AF_INET6))
        return public_result(-EINVAL);
    return public_result_quiet(
        error, add(builder, VPN_LIST_FAMILIES, family == AF_INET ? "inet" : "inet6"));
}

WM_PUBLIC int wm_vpn_builder_allow_bypass(struct wm_vpn_builder *builder)
{
    if (!builder)
        return public_result(-EINVAL);
    builder->bypass = true;
    return 0;
}

WM_PUBLIC int wm_vpn_builder_set_blocking(struct wm_vpn_builder *builder, int blocking)
{
    if (!builder)
        return public_result(-EINVAL);
    builder->blocking = blocking != 0;
    return 0;
}

WM_PUBLIC int wm_vpn_builder_add_allowed_app(struct wm_vpn_builder *builder, const char *selector)
{
    int error = errno;

    return public_result_quiet(
        error,
        builder ? add_app(builder, VPN_LIST_ALLOWED, VPN_LIST_DISALLOWED, selector) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_add_disallowed_app(struct wm_vpn_builder *builder,
                                                const char *selector)
{
    int error = errno;

    return public_result_quiet(
        error,
        builder ? add_app(builder, VPN_LIST_DISALLOWED, VPN_LIST_ALLOWED, selector) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_set_underlying_networks(struct wm_vpn_builder *builder,
                                                     const wm_network_t *networks, size_t n)
{
    int error = errno;

    return public_result_quiet(error, builder ? set_underlying(builder, networks, n) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_set_metered(struct wm_vpn_builder *builder, int metered)
{
    if (!builder)
        return public_result(-EINVAL);
    builder->metered = metered != 0;
    builder->metered_set = true;
    return 0;
}

WM_PUBLIC int wm_vpn_builder_set_lan(struct wm_vpn_builder *builder, const char *const *lan)
{
    int error = errno;

    return public_result_quiet(error, builder ? set_lan(builder, lan) : -EINVAL);
}

WM_PUBLIC int wm_vpn_builder_set_queues(struct wm_vpn_builder *builder, unsigned queues)
{
    if (!builder || queues == 0 || queues > QUEUES_MAX)
        return public_result(-EINVAL);
    builder->queues = queues;
    return 0;
}

WM_PUBLIC int wm_vpn_builder_set_offloads(struct wm_vpn_builder *builder, int offloads)
{
    if (!builder)
        return public_result(-EINVAL);
    builder->offloads = offloads != 0;
    return 0;
}
