/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/routespec.h"

#include <errno.h>
#include <stdbool.h>

#include "basic/parse.h"

enum { WORDS_MAX = 9 };

static int parse_dst(const char *word, struct route_spec *route, struct why *why)
{
    int r;

    if (streq(word, "default"))
        return 0; /* AF_UNSPEC for now: the gateway tells the family */

    r = ip_prefix_parse(word, &route->dst);
    if (r == -EDOM)
        return why_set(why, -EINVAL,
                       "'%.60s' has bits set beyond its prefix length: give the prefix itself, "
                       "such as 10.1.0.0/16",
                       word);
    if (r < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is no destination: use ADDRESS, ADDRESS/LENGTH or default", word);
    return 0;
}

static int parse_mtu(const char *word, struct route_spec *route, struct why *why)
{
    if (parse_u32(word, 65535, &route->mtu) < 0 || route->mtu < 68)
        return why_set(why, -EINVAL, "'%.60s' is no mtu: use a number from 68 to 65535", word);
    return 0;
}

enum option { OPTION_UNREACHABLE, OPTION_THROW, OPTION_VIA, OPTION_DEV, OPTION_MTU, OPTION_MAX };

static bool is_given(const struct route_spec *route, enum option option)
{
    switch (option) {
    case OPTION_VIA:
        return ip_addr_is_set(&route->gateway);
    case OPTION_DEV:
        return route->interface[0] != '\0';
    case OPTION_MTU:
        return route->mtu != 0;
    case OPTION_UNREACHABLE:
    case OPTION_THROW:
    case OPTION_MAX:
        break;
    }
    return route->kind != ROUTE_UNICAST;
}

static int set_option(struct route_spec *route, enum option option, const char *value,
                      struct why *why)
{
    if (option == OPTION_MTU)
        return parse_mtu(value, route, why);
    if (option == OPTION_VIA)
        return ip_addr_parse(value, &route->gateway) < 0
                   ? why_set(why, -EINVAL, "'%.60s' is no gateway address", value)
                   : 0;
    if (value[0] == '\0' || !str_set(route->interface, IFNAMSIZ, value))
        return why_set(why, -EINVAL, "'%.60s' is no interface name (1 to 15 bytes)", value);
    return 0;
}

/* One option at words[0]; returns how many words it took, or -EINVAL. */
static int parse_option(const char *const *words, size_t left, struct route_spec *route,
                        struct why *why)
{
    static const char *const options[OPTION_MAX] = {
        [OPTION_UNREACHABLE] = "unreachable",
        [OPTION_THROW] = "throw",
        [OPTION_VIA] = "via",
        [OPTION_DEV] = "dev",
        [OPTION_MTU] = "mtu",
    };
    int option = parse_word(options, OPTION_MAX, words[0]);

    if (option < 0)
        return why_set(why, -EINVAL,
                       "'%.60s' is not part of a route: use DST [via GATEWAY|unreachable|throw] "
                       "[dev INTERFACE] [mtu N]",
                       words[0]);
    if (is_given(route, (enum option)option))
        return why_set(why, -EINVAL, "'%s' is one too many: a route has one of each", words[0]);
    if (option == OPTION_UNREACHABLE || option == OPTION_THROW) {
        route->kind = option == OPTION_THROW ? ROUTE_THROW : ROUTE_UNREACHABLE;
        return 1;
    }
    if (left < 2)
        return why_set(why, -EINVAL, "'%s' at the end of a route needs a value behind it",
                       words[0]);
    return set_option(route, (enum option)option, words[1], why) < 0 ? -EINVAL : 2;
}

/* What only the whole route can tell. */
static int check_route(struct route_spec *route, struct why *why)
{
    if (!ip_addr_is_set(&route->dst.addr))
        route->dst.addr.family = route->gateway.family == AF_INET6 ? AF_INET6 : AF_INET;
    if (ip_addr_is_set(&route->gateway) && route->kind != ROUTE_UNICAST)
        return why_set(why, -EINVAL, "a route is either via a gateway or unreachable or throw");
    if (ip_addr_is_set(&route->gateway) && route->gateway.family != route->dst.addr.family)
        return why_set(why, -EINVAL, "destination and gateway are of different families");
    if (ip_addr_is_any(&route->gateway) || ip_addr_is_multicast(&route->gateway))
        return why_set(why, -EINVAL, "the gateway must be the address of a host");
    if (route->mtu != 0 && route->mtu < 1280 && route->dst.addr.family == AF_INET6)
        return why_set(why, -EINVAL, "an IPv6 route needs an mtu of at least 1280 (RFC 8200)");
    return 0;
}

int route_spec_parse(const char *const *words, size_t n, struct route_spec *ret, struct why *why)
{
    struct route_spec route = { 0 };
    int r;

    if (n == 0)
        return why_set(why, -EINVAL, "a route needs a destination");

    r = parse_dst(words[0], &route, why);
    for (size_t i = 1; r >= 0 && i < n; i += (size_t)r)
        r = parse_option(words + i, n - i, &route, why);
    if (r >= 0)
        r = check_route(&route, why);
    if (r < 0)
        return r;

    *ret = route;
    return 0;
}

int route_spec_parse_line(const char *line, struct route_spec *ret, struct why *why)
{
    char text[256], *save = NULL;
    const char *words[WORDS_MAX + 1];
    size_t n = 0;

    if (!str_set(text, sizeof(text), line))
        return why_set(why, -EINVAL, "the route is longer than %zu bytes", sizeof(text) - 1);
    for (char *w = strtok_r(text, " \t", &save); w; w = strtok_r(NULL, " \t", &save)) {
        if (n == WORDS_MAX)
            return why_set(why, -EINVAL, "the route has too many words");
        words[n++] = w;
    }
    return route_spec_parse(words, n, ret, why);
}

void route_spec_print(const struct route_spec *route, struct strbuf *b)
{
    char text[IP_TEXT_MAX];

    strbuf_add(b, "%s", ip_prefix_format(&route->dst, text));
    if (route->kind == ROUTE_UNREACHABLE)
        strbuf_add(b, " unreachable");
    if (route->kind == ROUTE_THROW)
        strbuf_add(b, " throw");
    if (ip_addr_is_set(&route->gateway))
        strbuf_add(b, " via %s", ip_addr_format(&route->gateway, text));
    if (route->interface[0])
        strbuf_add(b, " dev %s", route->interface);
    if (route->mtu)
        strbuf_add(b, " mtu %u", route->mtu);
}

int route_spec_compare(const struct route_spec *a, const struct route_spec *b)
{
    int c = ip_prefix_compare(&a->dst, &b->dst);

    if (c == 0)
        c = CMP(a->kind, b->kind);
    if (c == 0)
        c = ip_addr_compare(&a->gateway, &b->gateway);
    if (c == 0)
        c = strcmp(a->interface, b->interface);
    return c ? c : CMP(a->mtu, b->mtu);
}
