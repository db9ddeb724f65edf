/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

static int max_level = LOG_INFO;
static bool never_wait;
static atomic_uint dropped;

void log_set_max_level(int level)
{
    max_level = level;
}

int log_max_level(void)
{
    return max_level;
}

void log_never_wait(void)
{
    never_wait = true;
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

/*
 * Not O_NONBLOCK: that would be the terminal's or the pipe's, for all who have it open. A pipe or socket
 * with room has it for a line, which is less than PIPE_BUF.
 */
static bool has_room(void)
{
    struct pollfd log = { .fd = STDERR_FILENO, .events = POLLOUT };

    return poll(&log, 1, 0) != 0;
}

/* Tells first what is missing. */
static bool may_write(const char *prefix)
{
    char line[80];
    unsigned n;
    int size;

    if (!has_room())
        return false;
    n = atomic_exchange(&dropped, 0);
    if (n == 0)
        return true;
    size = snprintf(line, sizeof(line), "%s%u lines of the log were dropped here\n", prefix, n);
    return write(STDERR_FILENO, line, (size_t)size) >= 0 && has_room();
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
    if (never_wait && !may_write(prefix)) {
        atomic_fetch_add(&dropped, 1);
        return;
    }
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
