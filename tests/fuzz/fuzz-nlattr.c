/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Netlink attributes under random policies. The first byte says how many types are known, the next
 * two of each are its limits; the rest are attributes.
 */

#include <errno.h>

#include "fuzz/fuzz.h"
#include "wire/nlattr.h"

enum { TYPES_MAX = 16 };

static void check_attr(const struct nlattr *a, const struct nlattr_policy *policy,
                       const char *start, size_t size)
{
    const char *p = (const char *)a;
    size_t payload = a->nla_len - (size_t)NLA_HDRLEN;
    char text[16];

    MUST(p >= start && p + a->nla_len <= start + size);
    MUST(payload >= policy->min && (policy->max == 0 || payload <= policy->max));
    (void)nlattr_u8(a, 1);
    (void)nlattr_u16(a, 1);
    (void)nlattr_u32(a, 1);
    (void)nlattr_addr(a, AF_INET);
    (void)nlattr_addr(a, AF_INET6);
    nlattr_string(a, text, sizeof(text));
    MUST(strnlen(text, sizeof(text)) < sizeof(text));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct nlattr_policy policy[TYPES_MAX] = { { 0 } };
    const struct nlattr *tb[TYPES_MAX];
    size_t n = size > 0 ? data[0] % (TYPES_MAX + 1) : 0, skip = 1 + 2 * n;
    char *start;
    int r;

    if (size < skip)
        return 0;
    for (size_t i = 0; i < n; i++)
        policy[i] = (struct nlattr_policy){ data[1 + 2 * i], data[2 + 2 * i] };
    size -= skip;
    start = malloc(size + 1); /* aligned, as netlink's buffers are */
    MUST(start);
    memcpy(start, data + skip, size);
    memset(tb, 0xff, sizeof(tb));
    r = nlattr_parse(start, size, policy, n, tb);
    MUST(r == 0 || r == -EBADMSG || r == -EEXIST);
    for (size_t i = 0; r == 0 && i < n; i++)
        if (tb[i])
            check_attr(tb[i], &policy[i], start, size);
    free(start);
    return 0;
}
