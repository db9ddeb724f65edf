/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A string that grows while it is written.
 *
 * Errors stick: after a failed allocation every further call does nothing, and strbuf_finish()
 * reports -ENOMEM once, at the end. Initialise with STRBUF_INIT, release with strbuf_done().
 */

#include <stdbool.h>
#include <stdint.h>

#include "basic/macro.h"

struct strbuf {
    char *data;  /* NUL-terminated once anything was written, else NULL */
    size_t size; /* without the NUL */
    size_t capacity;
    bool failed;
};

#define STRBUF_INIT ((struct strbuf){ 0 })

void strbuf_add(struct strbuf *b, const char *format, ...) _printf_(2, 3);
void strbuf_add_bytes(struct strbuf *b, const void *data, size_t size);
void strbuf_add_char(struct strbuf *b, char c);
void strbuf_clear(struct strbuf *b);
void strbuf_done(struct strbuf *b);
#define _cleanup_strbuf_ _cleanup_(strbuf_done)

/* The text so far; "" when nothing was written. Valid until the next change. */
const char *strbuf_text(const struct strbuf *b);

/* Hands the text to the caller, who frees it; *b is empty then. 0 or -ENOMEM (*ret untouched). */
int strbuf_finish(struct strbuf *b, char **ret);
