/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Logging, for the daemon and the programs only: the layers below return errors and stay silent.
 *
 * Lines go to standard error. When that is the journal (JOURNAL_STREAM is set) each carries its
 * level as the "<N>" prefix of sd-daemon(3). What is set here, and what was dropped, is the only
 * mutable state of this room.
 */

#include <syslog.h>

#include "basic/macro.h"

void log_set_max_level(int level);
int log_max_level(void);

/*
 * From now on a line that nobody has room for is dropped, and the next one that goes is led by how many
 * were: for a program that has to go on when its log stalls. Not for one that speaks to a terminal.
 */
void log_never_wait(void);

/* Parses "debug", "info", "notice", "warning", "err", or 0-7. 0 or -EINVAL. */
int log_level_from_string(const char *s, int *ret);

void log_full(int level, const char *format, ...) _printf_(2, 3);

/* Logs `<text>: <strerror(-error)>` and returns `error`. */
int log_full_errno(int level, int error, const char *format, ...) _printf_(3, 4);

#define log_debug(...)            log_full(LOG_DEBUG, __VA_ARGS__)
#define log_info(...)             log_full(LOG_INFO, __VA_ARGS__)
#define log_notice(...)           log_full(LOG_NOTICE, __VA_ARGS__)
#define log_warning(...)          log_full(LOG_WARNING, __VA_ARGS__)
#define log_error(...)            log_full(LOG_ERR, __VA_ARGS__)
#define log_warning_errno(e, ...) log_full_errno(LOG_WARNING, e, __VA_ARGS__)
#define log_error_errno(e, ...)   log_full_errno(LOG_ERR, e, __VA_ARGS__)
#define log_oom()                 log_full_errno(LOG_ERR, -ENOMEM, "out of memory")
