/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Passwords and values: from standard input, or from the person at the terminal, who does not see what
 * is typed. Never from the command line, which everybody can read. Wiped when they go.
 */

#include <stdint.h>

#include "basic/why.h"

struct secret {
    uint8_t *data; /* NULL: none; else a NUL stands behind it */
    size_t size;
};

void secret_done(struct secret *s);
#define _cleanup_secret_ _cleanup_(secret_done)

/* A copy. 0 or -ENOMEM. */
int secret_copy(const void *data, size_t size, struct secret *ret);

/* All of a file, byte for byte. 0; -EMSGSIZE: more than `max` bytes; -ENOMEM; -errno of read(2). */
int secret_read(int fd, size_t max, struct secret *ret);

/*
 * The next line, without its end; what is behind stays where it is. 1; 0: there is none; errors of
 * secret_read().
 */
int secret_read_line(int fd, size_t max, struct secret *ret);

/*
 * Asks the person at the terminal: "PROMPT: ". 0; -ECANCELED: nobody answers (end of file); -ENXIO:
 * there is no terminal; errors of secret_read(). All with a sentence.
 */
int secret_ask(const char *prompt, size_t max, struct secret *ret, struct why *why);

/* The same for what is new: twice, "PROMPT: " and "The same again: ". -EINVAL: it was not the same. */
int secret_ask_twice(const char *prompt, size_t max, struct secret *ret, struct why *why);
