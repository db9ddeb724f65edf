/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/secret.h"

#include <errno.h>
#include <pthread.h>
#include <sodium.h>

enum { STACK_SIZE = 16 << 10 }; /* more than libsodium's functions use */

/*
 * Said once, before there are threads. Where memory is locked anyhow a key is on the heap, too: there
 * sanitizers see what is done to it.
 */
static bool guarded;
static uint8_t *keys; /* SECRET_KEYS of them; as long as the process */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static bool taken[SECRET_KEYS]; /* by the lock */

int secret_init(bool all_memory_is_locked)
{
    if (sodium_init() < 0)
        return -EOPNOTSUPP;
    guarded = !all_memory_is_locked;
    if (guarded && !keys)
        keys = sodium_malloc((size_t)SECRET_KEYS * SECRET_KEY_SIZE);
    return guarded && !keys ? -ENOMEM : 0;
}

static int new_of(enum secret_kind kind, size_t size, struct secret *ret)
{
    size_t room = MAX(size, (size_t)1);
    uint8_t *data = kind == SECRET_PAGES ? sodium_malloc(room) : malloc(room);

    if (!data)
        return -ENOMEM;
    memset(data, 0, room);
    *ret = (struct secret){ data, size, kind };
    return 0;
}

int secret_new(size_t size, struct secret *ret)
{
    return new_of(SECRET_HEAP, size, ret);
}

int secret_new_pages(size_t size, struct secret *ret)
{
    return new_of(guarded ? SECRET_PAGES : SECRET_HEAP, size, ret);
}

static void fill(const struct secret *s, const void *data)
{
    if (s->size > 0)
        memcpy(s->data, data, s->size);
}

int secret_copy(const void *data, size_t size, struct secret *ret)
{
    int r = secret_new(size, ret);

    if (r == 0)
        fill(ret, data);
    return r;
}

int secret_copy_pages(const void *data, size_t size, struct secret *ret)
{
    int r = secret_new_pages(size, ret);

    if (r == 0)
        fill(ret, data);
    return r;
}

/* A place that was free is all zero. */
int secret_new_key(struct secret *ret)
{
    int r = -ENOMEM;

    if (!guarded)
        return secret_new(SECRET_KEY_SIZE, ret);
    (void)pthread_mutex_lock(&lock);
    for (size_t i = 0; r < 0 && i < SECRET_KEYS; i++) {
        if (taken[i])
            continue;
        taken[i] = true;
        *ret = (struct secret){ keys + i * SECRET_KEY_SIZE, SECRET_KEY_SIZE, SECRET_KEY };
        r = 0;
    }
    (void)pthread_mutex_unlock(&lock);
    return r;
}

static void give_back(const struct secret *s)
{
    (void)pthread_mutex_lock(&lock);
    taken[(size_t)(s->data - keys) / SECRET_KEY_SIZE] = false;
    (void)pthread_mutex_unlock(&lock);
}

void secret_truncate(struct secret *s, size_t size)
{
    sodium_memzero(s->data + size, s->size - size);
    s->size = size;
}

void secret_done(struct secret *s)
{
    if (!s->data)
        return;
    sodium_memzero(s->data, s->size);
    switch (s->kind) {
    case SECRET_HEAP:
        free(s->data);
        break;
    case SECRET_PAGES:
        sodium_free(s->data);
        break;
    case SECRET_KEY:
        give_back(s);
        break;
    case SECRET_BORROWED:
        break;
    }
    *s = SECRET_NONE;
}

void secret_wipe(void *data, size_t size)
{
    sodium_memzero(data, size);
}

void secret_wipe_stack(void)
{
    sodium_stackzero(STACK_SIZE);
}
