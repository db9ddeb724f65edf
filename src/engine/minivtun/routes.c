/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/routes.h"

#include <errno.h>

#include "basic/array.h"
#include "basic/parse.h"
#include "wire/minivtun.h"

int routes_split(const char *text, struct ip_addr *ret_addr, uint8_t *ret_len)
{
    char address[IP_TEXT_MAX];
    struct ip_addr a;
    uint32_t len;
    char *slash;

    if (!str_set(address, sizeof(address), text))
        return -EINVAL;
    slash = strchr(address, '/');
    if (slash)
        *slash++ = '\0';
    if (ip_addr_parse(address, &a) < 0)
        return -EINVAL;
    len = ip_family_bits(a.family);
    if (slash && parse_u32(slash, len, &len) < 0)
        return -EINVAL;
    *ret_addr = a;
    *ret_len = (uint8_t)len;
    return 0;
}

int routes_add(struct routes *r, const char *text, struct why *why)
{
    const char *equals = strchr(text, '=');
    _cleanup_free_ char *net = equals ? strndup(text, (size_t)(equals - text)) : strdup(text);
    struct route made = { 0 };
    struct ip_addr address;
    uint8_t len;

    if (!net)
        return why_set(why, -ENOMEM, "out of memory");
    if (routes_split(net, &address, &len) < 0)
        return why_set(why, -EINVAL, "'%s' is no network: write it as 10.1.0.0/16 or fd00::/64",
                       net);
    made.prefix = ip_prefix_make(&address, len); /* the original takes 10.1.2.3/8, too */
    if (equals &&
        (ip_addr_parse(equals + 1, &made.gateway) < 0 || !minivtun_addr_is_host(&made.gateway)))
        return why_set(why, -EINVAL, "'%s' is no gateway: it is the inner address of a client",
                       equals + 1);
    if (ARRAY_PUSH(r->items, r->n, r->capacity, made) < 0)
        return why_set(why, -ENOMEM, "out of memory");
    return 0;
}

void routes_done(struct routes *r)
{
    free(r->items);
    *r = (struct routes){ 0 };
}

const struct ip_addr *routes_find(const struct routes *r, const struct ip_addr *to)
{
    for (size_t i = r->n; i > 0; i--) {
        const struct route *route = &r->items[i - 1];

        if (ip_addr_is_set(&route->gateway) && route->prefix.addr.family == to->family &&
            ip_prefix_contains(&route->prefix, to))
            return &route->gateway;
    }
    return NULL;
}
