/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

static int max_level = LOG_INFO;

void log_set_max_level(int level)
{
    max_level = level;
}

int log_max_level(void)
{
    return max_level;
}

int log_level_from_string(const char *s, int *ret)
{
    static const char *const names[] = {
        [LOG_EMERG] = "emerg", [LOG_ALERT] = "alert",     [LOG_CRIT] = "crit",
        [LOG_ERR] = "err",     [LOG_WARNING] = "warning", [LOG_NOTICE] = "notice",
        [LOG_INFO] = "info",   [LOG_DEBUG] = "debug",
    };

    for (size_t i = 0; i < ELEMENTSOF(names); i++)
        if (streq(s, names[i]) || (s[0] == (char)('0' + i) && s[1] == '\0')) {
            *ret = (int)i;
            return 0;
        }
    return -EINVAL;
}

/* One write per line, so that lines of two processes never interleave. */
static void log_line(int level, const char *text, const char *suffix)
{
    char line[1024], prefix[8] = "";
    int n;

    if (getenv("JOURNAL_STREAM"))
        snprintf(prefix, sizeof(prefix), "<%d>", level);
    n = snprintf(line, sizeof(line) - 1, "%s%s%s", prefix, text, suffix);
    if (n < 0)
        return;
    if ((size_t)n > sizeof(line) - 2)
        n = (int)sizeof(line) - 2;
    line[n++] = '\n';
    if (write(STDERR_FILENO, line, (size_t)n) < 0)
        return; /* nowhere left to complain */
}

void log_full(int level, const char *format, ...)
{
    char text[960];
    va_list ap;

    if (level > max_level)
        return;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    log_line(level, text, "");
}

int log_full_errno(int level, int error, const char *format, ...)
{
    char text[880], suffix[80];
    va_list ap;

    if (level > max_level)
        return error;
    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    snprintf(suffix, sizeof(suffix), ": %s", strerror(error < 0 ? -error : error));
    log_line(level, text, suffix);
    return error;
}
