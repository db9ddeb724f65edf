/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/why.h"

#include <stdarg.h>
#include <stdio.h>

#include "basic/utf8.h"

void why_record(struct why *why, int error, const char *format, ...)
{
    char text[sizeof(why->text)]; /* an argument may be the text of before */
    va_list ap;

    if (!why)
        return;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    utf8_keep_whole(text);
    why->error = error;
    memcpy(why->text, text, strlen(text) + 1);
}

int why_prefix(struct why *why, const char *format, ...)
{
    char prefix[sizeof(why->text) / 2];
    char old[sizeof(why->text) / 2];
    va_list ap;

    if (!why)
        return 0;

    va_start(ap, format);
    vsnprintf(prefix, sizeof(prefix), format, ap);
    va_end(ap);
    snprintf(old, sizeof(old), "%.*s", (int)sizeof(old) - 1, why->text);
    snprintf(why->text, sizeof(why->text), "%.*s: %s", (int)sizeof(prefix) - 3, prefix, old);
    utf8_keep_whole(why->text);
    return why->error;
}

const char *why_text(const struct why *why, int error)
{
    if (why && why->error != 0 && why->text[0] != '\0')
        return why->text;
    return strerror(error < 0 ? -error : error);
}
