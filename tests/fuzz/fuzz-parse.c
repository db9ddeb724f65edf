/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Numbers and words. Written a second time, digit by digit: what is a number, and which. The first
 * four bytes are the largest one that is allowed.
 */

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "basic/parse.h"
#include "fuzz/fuzz.h"

/* -1: not a number; else its value, at most 2^32. */
static int64_t value_of(const char *s, unsigned base)
{
    int64_t value = *s ? 0 : -1;

    for (; *s && value >= 0; s++) {
        int c = tolower((unsigned char)*s);
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10
                                                : base;

        if (digit >= base)
            return -1;
        value = MIN(value * base + digit, (int64_t)UINT32_MAX + 1);
    }
    return value;
}

static void check(int r, uint32_t got, uint32_t untouched, int64_t expected, uint32_t max)
{
    if (expected < 0)
        MUST(r == -EINVAL && got == untouched);
    else if (expected > max)
        MUST(r == -ERANGE && got == untouched);
    else
        MUST(r == 0 && got == expected);
}

static void check_numbers(const char *s, uint32_t max)
{
    uint32_t plain = 77, hex = 78;
    int r = parse_u32(s, max, &plain);

    check(r, plain, 77, value_of(s, 10), max);
    r = parse_u32_hex(s, max, &hex);
    check(r, hex, 78, startswith(s, "0x") ? value_of(s + 2, 16) : value_of(s, 10), max);
}

static void check_written(uint32_t number)
{
    uint32_t back;
    char text[16];

    snprintf(text, sizeof(text), "%u", number);
    MUST(parse_u32(text, number, &back) == 0 && back == number);
    snprintf(text, sizeof(text), "0x%x", number);
    MUST(parse_u32_hex(text, number, &back) == 0 && back == number);
    MUST(number == 0 || parse_u32_hex(text, number - 1, &back) == -ERANGE);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = { "zero", NULL, "two", "", "four" };
    _cleanup_free_ char *s = NULL;
    uint32_t max;
    int word;

    if (size < sizeof(max))
        return 0;
    memcpy(&max, data, sizeof(max));
    s = fuzz_text(data + sizeof(max), size - sizeof(max));
    check_numbers(s, max);
    check_written(max);
    word = parse_word(names, ELEMENTSOF(names), s);
    MUST(word == -EINVAL || (names[word] && streq(names[word], s)));
    return 0;
}
