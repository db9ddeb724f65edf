/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Addresses and prefixes: what is accepted is printed so that it is read back the same; a prefix
 * holds its first and its last address and not the one behind; all of it agrees with inet_pton().
 */

#include <arpa/inet.h>
#include <errno.h>

#include "basic/ipaddr.h"
#include "fuzz/fuzz.h"

static void check_addr(const char *s)
{
    struct ip_addr a, back, before;
    char text[IP_TEXT_MAX];
    uint8_t bytes[16] = { 0 };

    memset(&a, 0x5a, sizeof(a));
    before = a;
    if (ip_addr_parse(s, &a) < 0) {
        MUST(memcmp(&a, &before, sizeof(a)) == 0);
        MUST(inet_pton(AF_INET, s, bytes) != 1 && inet_pton(AF_INET6, s, bytes) != 1);
        return;
    }
    MUST(inet_pton(a.family, s, bytes) == 1 && memcmp(bytes, a.bytes, sizeof(bytes)) == 0);
    MUST(ip_addr_parse(ip_addr_format(&a, text), &back) == 0);
    MUST(memcmp(&a, &back, sizeof(a)) == 0 && ip_addr_equal(&a, &back));
    MUST(ip_addr_is_any(&a) + ip_addr_is_loopback(&a) + ip_addr_is_multicast(&a) +
             ip_addr_is_link_local(&a) <=
         1);
    if (ip_addr_next(&a, &back))
        MUST(ip_addr_compare(&a, &back) < 0);
}

static void check_bounds(const struct ip_prefix *p)
{
    struct ip_addr last = ip_prefix_last(p), behind;
    struct ip_prefix again = ip_prefix_make(&last, p->len);

    MUST(ip_prefix_contains(p, &p->addr) && ip_prefix_contains(p, &last));
    MUST(ip_addr_compare(&p->addr, &last) <= 0);
    MUST((p->len == ip_family_bits(p->addr.family)) == ip_addr_equal(&p->addr, &last));
    MUST(ip_prefix_compare(p, &again) == 0);
    if (ip_addr_next(&last, &behind))
        MUST(!ip_prefix_contains(p, &behind));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *s = fuzz_text(data, size);
    struct ip_prefix p, back;
    char text[IP_TEXT_MAX];
    int r;

    check_addr(s);
    memset(&p, 0x5a, sizeof(p));
    back = p;
    r = ip_prefix_parse(s, &p);
    MUST(r == 0 || r == -EINVAL || r == -EDOM);
    if (r < 0) {
        MUST(memcmp(&p, &back, sizeof(p)) == 0);
        return 0;
    }
    MUST(p.len <= ip_family_bits(p.addr.family));
    MUST(ip_prefix_parse(ip_prefix_format(&p, text), &back) == 0);
    MUST(memcmp(&p, &back, sizeof(p)) == 0);
    check_bounds(&p);
    return 0;
}
