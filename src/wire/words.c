/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/words.h"

#include <errno.h>

static bool is_plain(unsigned char c)
{
    return c > ' ' && c != '%' && c != 0x7f;
}

void words_add(struct strbuf *b, const char *word)
{
    if (b->size > 0 && b->data[b->size - 1] != '\n')
        strbuf_add_char(b, ' ');
    if (*word == '\0')
        strbuf_add_char(b, '%');
    for (const char *p = word; *p; p++) {
        if (is_plain((unsigned char)*p))
            strbuf_add_char(b, *p);
        else
            strbuf_add(b, "%%%02X", (unsigned char)*p);
    }
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Undoes the escapes of one word in place. */
static int unescape(char *word)
{
    char *out = word;

    if (streq(word, "%")) {
        *word = '\0';
        return 0;
    }
    for (const char *p = word; *p; p++) {
        int high, low;

        if (*p != '%') {
            *out++ = *p;
            continue;
        }
        high = hex_digit(p[1]);
        low = high < 0 ? -1 : hex_digit(p[2]);
        if (low < 0 || (high == 0 && low == 0))
            return -EINVAL;
        *out++ = (char)(high * 16 + low);
        p += 2;
    }
    *out = '\0';
    return 0;
}

int words_split(char *line, const char **words, size_t max, size_t *ret_n)
{
    size_t n = 0;

    while (*line) {
        char *space = strchr(line, ' ');

        if (space)
            *space = '\0';
        if (*line == '\0' || (space && space[1] == '\0'))
            return -EINVAL;
        for (const char *p = line; *p; p++)
            if ((unsigned char)*p < ' ' || *p == 0x7f)
                return -EINVAL;
        if (n == max)
            return -E2BIG;
        if (unescape(line) < 0)
            return -EINVAL;
        words[n++] = line;
        if (!space)
            break;
        line = space + 1;
    }
    *ret_n = n;
    return 0;
}
