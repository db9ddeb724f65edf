/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/parse.h"

#include <ctype.h>
#include <errno.h>

static int parse_base(const char *s, int base, uint32_t max, uint32_t *ret)
{
    char *end;

    if (!isxdigit((unsigned char)s[0]))
        return -EINVAL;

    errno = 0;
    unsigned long long v = strtoull(s, &end, base);
    if (*end != '\0' || (base == 16 && (s[1] == 'x' || s[1] == 'X')))
        return -EINVAL;
    if (errno == ERANGE || v > max)
        return -ERANGE;

    *ret = (uint32_t)v;
    return 0;
}

int parse_u32(const char *s, uint32_t max, uint32_t *ret)
{
    return parse_base(s, 10, max, ret);
}

int parse_u32_hex(const char *s, uint32_t max, uint32_t *ret)
{
    if (startswith(s, "0x"))
        return parse_base(s + 2, 16, max, ret);
    return parse_base(s, 10, max, ret);
}

int parse_word(const char *const *names, size_t n, const char *s)
{
    for (size_t i = 0; i < n; i++)
        if (names[i] && streq(names[i], s))
            return (int)i;
    return -EINVAL;
}
