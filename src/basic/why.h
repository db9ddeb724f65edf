/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Why a request was refused.
 *
 * The pure layers neither log nor print. Where a bare errno would leave the user guessing, they
 * fill a `struct why`: what was asked, what was wrong, what to do. The daemon carries it unchanged
 * to the D-Bus error, the CLI prints it. A caller that does not care passes NULL.
 */

#include "basic/macro.h"

struct why {
    int error;      /* negative errno; 0 while nothing was refused */
    char text[480]; /* one sentence or two, no trailing newline; UTF-8; cut when longer */
};

/*
 * Records the reason and is worth `error`, so that a refusal is one line:
 * return why_set(why, -E…, "…"). A macro, so that the compiler sees that it is the error. The text
 * that is there already may be among the arguments.
 */
#define why_set(why, error, ...)              \
    ({                                        \
        const int error_ = (error);           \
        why_record(why, error_, __VA_ARGS__); \
        error_;                               \
    })

void why_record(struct why *why, int error, const char *format, ...) _printf_(3, 4);

/* Puts `"<format>: "` in front of a reason that is already set; returns why->error. */
int why_prefix(struct why *why, const char *format, ...) _printf_(2, 3);

/* The reason, or strerror(error) where no sentence was given. Never NULL. */
const char *why_text(const struct why *why, int error);
