/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Routes as users write them: what is accepted is printed so that it is read back the same. */

#include "fuzz/fuzz.h"
#include "wire/routespec.h"

static void check_route(const struct route_spec *route)
{
    MUST(route->kind < ROUTE_KIND_MAX);
    MUST(route->dst.len <= ip_family_bits(route->dst.addr.family));
    MUST(route->dst.addr.family == AF_INET || route->dst.addr.family == AF_INET6);
    MUST(ip_prefix_contains(&route->dst, &route->dst.addr));
    MUST(!ip_addr_is_set(&route->gateway) ||
         (route->gateway.family == route->dst.addr.family && route->kind == ROUTE_UNICAST));
    MUST(strnlen(route->interface, IFNAMSIZ) < IFNAMSIZ);
    MUST(route->mtu == 0 || (route->mtu >= 68 && route->mtu <= 65535));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *text = fuzz_text(data, size);
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct route_spec route, back;
    struct why why = { 0 };

    if (route_spec_parse_line(text, &route, &why) < 0) {
        MUST(why.error < 0 && why.text[0]);
        return 0;
    }
    check_route(&route);
    route_spec_print(&route, &b);
    MUST(route_spec_parse_line(strbuf_text(&b), &back, NULL) == 0);
    MUST(route_spec_compare(&route, &back) == 0);
    MUST(memcmp(&route, &back, sizeof(route)) == 0);
    return 0;
}
