/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Immutable strings with a reference count, for values that many copies of the model share.
 * Not thread-safe. NULL is a valid (absent) string everywhere.
 */

#include <stdint.h>

#include "basic/macro.h"

struct rstr {
    uint32_t refs;
    char s[];
};

/* A new string with one reference, or NULL when out of memory. */
struct rstr *rstr_new(const char *s);

/* Ends a string without references; rstr_unref() is what you want. Out of line: it is the rare case. */
void rstr_free(struct rstr *r);

static inline struct rstr *rstr_ref(struct rstr *r)
{
    if (r)
        r->refs++;
    return r;
}

static inline void rstr_unref(struct rstr *r)
{
    if (r && --r->refs == 0)
        rstr_free(r);
}
DEFINE_CLEANUP(struct rstr *, rstr_unref)

static inline const char *rstr_text(const struct rstr *r)
{
    return r ? r->s : "";
}
