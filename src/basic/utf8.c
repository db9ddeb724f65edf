/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/utf8.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* How many bytes it takes to say `c`. */
static size_t size_of(uint32_t c)
{
    return c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
}

static bool is_taken(uint32_t c)
{
    bool surrogate = (c & ~0x7ffU) == 0xd800;
    bool none = (c >= 0xfdd0 && c <= 0xfdef) || (c & 0xfffe) == 0xfffe;

    return c <= 0x10ffff && !surrogate && !none;
}

/* The bytes of the character that begins here; 0: none does. */
static size_t read_character(const char *text)
{
    const unsigned char *p = (const unsigned char *)text;
    size_t n = p[0] < 0x80             ? 1
               : (p[0] & 0xe0) == 0xc0 ? 2
               : (p[0] & 0xf0) == 0xe0 ? 3
               : (p[0] & 0xf8) == 0xf0 ? 4
                                       : 0;
    uint32_t c = n > 1 ? p[0] & (0x7fU >> n) : p[0];

    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) /* the end is none, either */
            return 0;
        c = c << 6 | (p[i] & 0x3fU);
    }
    return n > 0 && size_of(c) == n && is_taken(c) ? n : 0;
}

void utf8_keep_whole(char *text)
{
    char *out = text;

    for (const char *in = text; *in;) {
        size_t n = read_character(in);

        memmove(out, in, n);
        out += n;
        in += n > 0 ? n : 1;
    }
    *out = '\0';
}
