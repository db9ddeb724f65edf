/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/nlattr.h"

#include <errno.h>

static const void *payload(const struct nlattr *a)
{
    return (const char *)a + NLA_HDRLEN;
}

static size_t payload_size(const struct nlattr *a)
{
    return (size_t)a->nla_len - NLA_HDRLEN;
}

int nlattr_parse(const void *start, size_t size, const struct nlattr_policy *policy, size_t n,
                 const struct nlattr **tb)
{
    const char *p = start;

    for (size_t i = 0; i < n; i++)
        tb[i] = NULL;

    while (size >= sizeof(struct nlattr)) {
        const struct nlattr *a = (const void *)p;
        size_t type = a->nla_type & NLA_TYPE_MASK, len = a->nla_len;

        if (len < NLA_HDRLEN || len > size)
            return -EBADMSG;
        if (type < n && (policy[type].min | policy[type].max) != 0) {
            size_t payload_len = len - NLA_HDRLEN;

            if (tb[type])
                return -EEXIST;
            if (payload_len < policy[type].min ||
                (policy[type].max != 0 && payload_len > policy[type].max))
                return -EBADMSG;
            tb[type] = a;
        }
        len = MIN(NLA_ALIGN(len), size);
        p += len;
        size -= len;
    }
    return 0;
}

int nlattr_parse_message(const struct nlmsghdr *nlh, size_t header,
                         const struct nlattr_policy *policy, size_t n, const struct nlattr **tb)
{
    size_t skip = NLMSG_HDRLEN + NLMSG_ALIGN(header);

    if (nlh->nlmsg_len < skip)
        return -EBADMSG;
    return nlattr_parse((const char *)nlh + skip, nlh->nlmsg_len - skip, policy, n, tb);
}

/* The payload is 4-byte aligned in the message but not for the compiler: hence memcpy. */
#define DEFINE_NLATTR_UINT(type, name)              \
    type name(const struct nlattr *a, type missing) \
    {                                               \
        type v = missing;                           \
        if (a && payload_size(a) >= sizeof(v))      \
            memcpy(&v, payload(a), sizeof(v));      \
        return v;                                   \
    }

DEFINE_NLATTR_UINT(uint8_t, nlattr_u8)
DEFINE_NLATTR_UINT(uint16_t, nlattr_u16)
DEFINE_NLATTR_UINT(uint32_t, nlattr_u32)

void nlattr_string(const struct nlattr *a, char *dst, size_t size)
{
    size_t n = a ? strnlen(payload(a), payload_size(a)) : 0;

    memset(dst, 0, size);
    if (n > 0 && n < size)
        memcpy(dst, payload(a), n);
}

struct ip_addr nlattr_addr(const struct nlattr *a, int family)
{
    if (!a)
        return (struct ip_addr){ 0 };
    return ip_addr_make(family, payload(a), payload_size(a));
}

int nlattr_addr_strict(const struct nlattr *a, int family, struct ip_addr *ret)
{
    struct ip_addr addr = nlattr_addr(a, family);

    if (a && !ip_addr_is_set(&addr))
        return -EBADMSG;
    *ret = addr;
    return 0;
}
