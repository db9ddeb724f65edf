/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/ipaddr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "basic/parse.h"

unsigned ip_family_bits(int family)
{
    return family == AF_INET ? 32 : family == AF_INET6 ? 128 : 0;
}

struct ip_addr ip_addr_make(int family, const void *bytes, size_t size)
{
    struct ip_addr a = { 0 };

    if (ip_family_bits(family) == 0 || size != ip_family_bits(family) / 8)
        return a;
    a.family = (uint8_t)family;
    memcpy(a.bytes, bytes, size);
    return a;
}

int ip_addr_parse(const char *s, struct ip_addr *ret)
{
    int family = strchr(s, ':') ? AF_INET6 : AF_INET;
    struct ip_addr a = { .family = (uint8_t)family };

    if (inet_pton(family, s, a.bytes) != 1)
        return -EINVAL;
    *ret = a;
    return 0;
}

const char *ip_addr_format(const struct ip_addr *a, char buf[static IP_TEXT_MAX])
{
    if (!ip_addr_is_set(a) || !inet_ntop(a->family, a->bytes, buf, IP_TEXT_MAX))
        (void)str_set(buf, IP_TEXT_MAX, "none");
    return buf;
}

int ip_addr_compare(const struct ip_addr *a, const struct ip_addr *b)
{
    if (a->family != b->family)
        return CMP(a->family, b->family);
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

bool ip_addr_is_any(const struct ip_addr *a)
{
    static const uint8_t zero[16];

    return ip_addr_is_set(a) && memcmp(a->bytes, zero, sizeof(zero)) == 0;
}

bool ip_addr_is_loopback(const struct ip_addr *a)
{
    if (a->family == AF_INET)
        return a->bytes[0] == 127;
    return a->family == AF_INET6 && memcmp(a->bytes, &in6addr_loopback, 16) == 0;
}

bool ip_addr_is_multicast(const struct ip_addr *a)
{
    if (a->family == AF_INET)
        return (a->bytes[0] & 0xf0) == 0xe0;
    return a->family == AF_INET6 && a->bytes[0] == 0xff;
}

bool ip_addr_is_link_local(const struct ip_addr *a)
{
    if (a->family == AF_INET)
        return a->bytes[0] == 169 && a->bytes[1] == 254;
    return a->family == AF_INET6 && a->bytes[0] == 0xfe && (a->bytes[1] & 0xc0) == 0x80;
}

bool ip_addr_next(const struct ip_addr *a, struct ip_addr *ret)
{
    struct ip_addr next = *a;

    for (unsigned i = ip_family_bits(a->family) / 8; i-- > 0;)
        if (++next.bytes[i] != 0) {
            *ret = next;
            return true;
        }
    return false;
}

struct ip_prefix ip_prefix_make(const struct ip_addr *a, unsigned len)
{
    struct ip_prefix p = { .addr = *a, .len = (uint8_t)len };
    unsigned bytes = ip_family_bits(a->family) / 8;

    for (unsigned i = 0; i < bytes; i++) {
        unsigned keep = len > i * 8 ? MIN(len - i * 8, 8U) : 0;
        p.addr.bytes[i] &= (uint8_t)(0xff00U >> keep);
    }
    return p;
}

int ip_prefix_parse(const char *s, struct ip_prefix *ret)
{
    char text[IP_TEXT_MAX];
    struct ip_addr a;
    uint32_t len;
    int r;

    if (!str_set(text, sizeof(text), s))
        return -EINVAL;
    char *slash = strchr(text, '/');
    if (slash)
        *slash++ = '\0';

    r = ip_addr_parse(text, &a);
    if (r < 0)
        return r;
    len = ip_family_bits(a.family);
    if (slash && parse_u32(slash, len, &len) < 0)
        return -EINVAL;

    struct ip_prefix p = ip_prefix_make(&a, len);
    if (!ip_addr_equal(&p.addr, &a))
        return -EDOM;
    *ret = p;
    return 0;
}

const char *ip_prefix_format(const struct ip_prefix *p, char buf[static IP_TEXT_MAX])
{
    char addr[IP_TEXT_MAX];

    (void)ip_addr_format(&p->addr, addr);
    if ((size_t)snprintf(buf, IP_TEXT_MAX, "%s/%u", addr, p->len) >= IP_TEXT_MAX)
        buf[0] = '\0';
    return buf;
}

bool ip_prefix_contains(const struct ip_prefix *p, const struct ip_addr *a)
{
    if (p->addr.family != a->family)
        return false;
    unsigned whole = p->len / 8, rest = p->len % 8;

    if (memcmp(p->addr.bytes, a->bytes, whole) != 0)
        return false;
    return rest == 0 ||
           ((p->addr.bytes[whole] ^ a->bytes[whole]) & (uint8_t)(0xff00U >> rest)) == 0;
}

int ip_prefix_compare(const struct ip_prefix *a, const struct ip_prefix *b)
{
    int c = ip_addr_compare(&a->addr, &b->addr);
    return c ? c : CMP(a->len, b->len);
}

struct ip_addr ip_prefix_last(const struct ip_prefix *p)
{
    struct ip_addr a = p->addr;
    unsigned bytes = ip_family_bits(a.family) / 8;

    for (unsigned i = 0; i < bytes; i++) {
        unsigned keep = p->len > i * 8 ? MIN(p->len - i * 8, 8U) : 0;
        a.bytes[i] |= (uint8_t)(0xffU >> keep);
    }
    return a;
}
