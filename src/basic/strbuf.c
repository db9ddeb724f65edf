/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/strbuf.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "basic/array.h"

static bool strbuf_grow(struct strbuf *b, size_t more)
{
    if (!b->failed && ARRAY_RESERVE(b->data, b->capacity, b->size + more + 1) < 0)
        b->failed = true;
    return !b->failed;
}

void strbuf_add_bytes(struct strbuf *b, const void *data, size_t size)
{
    if (!strbuf_grow(b, size))
        return;
    if (size > 0)
        memcpy(b->data + b->size, data, size);
    b->size += size;
    b->data[b->size] = '\0';
}

void strbuf_add_char(struct strbuf *b, char c)
{
    strbuf_add_bytes(b, &c, 1);
}

void strbuf_add(struct strbuf *b, const char *format, ...)
{
    va_list ap, again;

    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    va_end(ap);

    if (n < 0)
        b->failed = true;
    else if (strbuf_grow(b, (size_t)n)) {
        vsnprintf(b->data + b->size, (size_t)n + 1, format, again);
        b->size += (size_t)n;
    }
    va_end(again);
}

void strbuf_clear(struct strbuf *b)
{
    b->size = 0;
    b->failed = false;
    if (b->data)
        b->data[0] = '\0';
}

void strbuf_done(struct strbuf *b)
{
    free(b->data);
    *b = STRBUF_INIT;
}

const char *strbuf_text(const struct strbuf *b)
{
    return b->data ? b->data : "";
}

int strbuf_finish(struct strbuf *b, char **ret)
{
    if (!strbuf_grow(b, 0)) {
        strbuf_done(b);
        return -ENOMEM;
    }
    b->data[b->size] = '\0';
    *ret = b->data;
    *b = STRBUF_INIT;
    return 0;
}
