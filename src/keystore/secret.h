/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Bytes that nobody else is to see: wiped when they go.
 *
 * Where all memory of the process is locked (mlockall()), all of them are. Where it is not, a limit says
 * how much may be, and strangers must not be able to use that up: what they send is ordinary memory
 * (SECRET_HEAP), and so may be swapped. Keys, and what is made at the start, are locked always.
 *
 * A copy on the stack, in registers that were saved, in what a function left behind: that is what
 * secret_wipe_stack() is for, after the last use.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/macro.h"

enum secret_kind {
    SECRET_HEAP,
    SECRET_PAGES,    /* its own: locked, not dumped, between pages that nobody may touch */
    SECRET_KEY,      /* a place in pages that are locked since the start */
    SECRET_BORROWED, /* another's, who frees it: to be wiped only */
};

struct secret {
    uint8_t *data; /* NULL: none */
    size_t size;
    enum secret_kind kind;
};

#define SECRET_NONE ((struct secret){ 0 })

/*
 * To be called once, before the first secret and before there are threads: readies libsodium, says how
 * secrets are kept, and makes the places of keys. 0; -EOPNOTSUPP: libsodium cannot be had; -ENOMEM.
 */
int secret_init(bool all_memory_is_locked);

/* `size` bytes of zero; of none, too, there is one (data is not NULL). 0 or -ENOMEM. */
int secret_new(size_t size, struct secret *ret);
int secret_copy(const void *data, size_t size, struct secret *ret);

/* The same, but locked. For what is made at the start: it costs some system calls. */
int secret_new_pages(size_t size, struct secret *ret);
int secret_copy_pages(const void *data, size_t size, struct secret *ret);

/* SECRET_KEY_SIZE bytes, locked, and nothing is asked of the kernel. -ENOMEM: there are SECRET_KEYS. */
enum { SECRET_KEY_SIZE = 32, SECRET_KEYS = 16 };
int secret_new_key(struct secret *ret);

/* Makes it smaller: what is behind is wiped. */
void secret_truncate(struct secret *s, size_t size);

/* Wiped, freed, and SECRET_NONE. Needs no memory. */
void secret_done(struct secret *s);
#define _cleanup_secret_ _cleanup_(secret_done)

static inline bool secret_is_set(const struct secret *s)
{
    return s->data != NULL;
}

/* Hands it over and leaves SECRET_NONE. */
static inline struct secret secret_take(struct secret *s)
{
    struct secret taken = *s;

    *s = SECRET_NONE;
    return taken;
}

/* Bytes of the caller's own; not optimised away. */
void secret_wipe(void *data, size_t size);

/* What functions that have returned left on the stack. */
void secret_wipe_stack(void);
