/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The store: values by owner and key, sealed, on disk; who else may read which; the master key; tries.
 *
 *   masterkey              the master key, sealed by a password, a key file, or both   wire/keyblob.h
 *   resetting              what was `masterkey`, while a reset goes on
 *   tries                  wrong passwords since the last right one
 *   values/<uid>_<hex>     one value each; the name has its owner and its key
 *   grants/<uid>_<hex>     who else may read it: one uid per line
 *
 * One thread, the loop's, has all state: the master key, what is unlocked, an index of what is there.
 * Reading is done at once, on the loop: a look into the index, one small file, one decryption. What
 * writes waits for the disk, or works long to make a key of a password, and is done by a worker: one
 * after the other, in the order asked; what locks the store passes all of them. Before its turn comes it is checked against the state as it is
 * then; the worker is given what it needs; when it is done, the loop brings the state up to date and
 * answers. So nothing is shared, and no lock is held.
 *
 * Every file is written beside the old one, synced, renamed over it, and its folder synced: at each
 * moment there is the old or the new one, whole. A reset holds from the one rename of `masterkey` to
 * `resetting`; a store that is opened with one there finishes it. Removing a value holds when it is
 * unlinked; grants without a value go when the store is opened.
 *
 * A wrong password is counted on disk before it is looked at, so that nobody gains a try by pulling the
 * plug. After the n-th, the next is looked at only after a delay; others wait for nothing.
 */

#include <sys/types.h>
#include <systemd/sd-event.h>

#include "basic/clock.h"
#include "basic/why.h"
#include "keystore/secret.h"
#include "wire/keystore.h"

struct store_settings {
    int dir_fd; /* the caller's; open as long as the store is. Locked: one store at a time */
    size_t quota_keys, quota_bytes; /* of each owner */
    size_t total_keys, total_bytes; /* of all of them */
    bool wipe;                      /* after the last try */
    usec_t retry_delay; /* after the first wrong password; doubles; 120 times that at most */
    const struct secret *key_file; /* its content, copied; NULL: none */
    size_t argon2_memory;          /* KiB; for passwords that are set from now on */
    unsigned argon2_passes;
};

#define STORE_SETTINGS_DEFAULT                                    \
    ((struct store_settings){ .dir_fd = -1,                       \
                              .quota_keys = 1024,                 \
                              .quota_bytes = 4 << 20,             \
                              .total_keys = 64 << 10,             \
                              .total_bytes = 256 << 20,           \
                              .wipe = true,                       \
                              .retry_delay = 250 * USEC_PER_MSEC, \
                              .argon2_memory = 64 << 10,          \
                              .argon2_passes = 3 })

/* What a key file has, at least and at most, and where Argon2id's limits are. */
enum {
    STORE_KEY_FILE_MIN = 16,
    STORE_KEY_FILE_MAX = 64 << 10,
    STORE_ARGON2_MEMORY_MIN = 8, /* KiB */
    STORE_ARGON2_MEMORY_MAX = 1 << 20,
    STORE_ARGON2_PASSES_MAX = 64,
};

/* What may wait for the worker at most: jobs, those of them that have passwords, and bytes of values. */
enum {
    STORE_WAITING_MAX = 16 << 10,
    STORE_WAITING_PASSWORDS_MAX = 16,
    STORE_WAITING_BYTES_MAX = 64 << 20,
};

struct store;

/*
 * secret_init() was called, and privileges are what they stay: a thread is started. 0 or -errno, with the
 * reason; -EBUSY: another process has this folder.
 */
int store_open(sd_event *event, const struct store_settings *settings, struct store **ret,
               struct why *why);

/*
 * Waits for what the worker is at, wipes all. Whoever still waits for an answer is given one here:
 * KEYSTORE_SYSTEM_ERROR unless it was done. So `data` of all of them has to be there still.
 */
struct store *store_free(struct store *s);
DEFINE_CLEANUP(struct store *, store_free)
#define _cleanup_store_ _cleanup_(store_freep)

enum keystore_answer store_state(const struct store *s); /* 1, 2 or 3 */
unsigned store_tries(const struct store *s);             /* 4 … 0: wrong ones that are left */
usec_t store_password_wait(const struct store *s); /* the next one is looked at then; 0: now */

bool store_exists(const struct store *s, uid_t owner, const struct keystore_key *key);
bool store_is_empty(const struct store *s);

/*
 * The value, into *ret with KEYSTORE_NO_ERROR; untouched with all else: the state when it is not
 * unlocked; KEYSTORE_KEY_NOT_FOUND; KEYSTORE_VALUE_CORRUPTED: what is there is not what was put there
 * under this name; KEYSTORE_SYSTEM_ERROR.
 *
 * Its bytes are the store's, and hold until the next one. The caller's secret_done() wipes them.
 */
enum keystore_answer store_get(struct store *s, uid_t owner, const struct keystore_key *key,
                               struct secret *ret);

/*
 * What a reader was granted and asks for by this name: "<owner's uid>_<key>"; where it is not of that form,
 * the key alone, if just one that was granted to him is called so. False: nothing, or more than one.
 */
bool store_find_granted(const struct store *s, uid_t reader, const struct keystore_key *asked,
                        uid_t *ret_owner, struct keystore_key *ret_key);

/* Calls `each` with what stands behind the prefix, for each key of the owner that begins so. */
typedef void (*store_each)(void *data, const uint8_t *rest, size_t size);
void store_list(const struct store *s, uid_t owner, const struct keystore_key *prefix,
                store_each each, void *data);

/*
 * What writes. 0, and `done` is called exactly once, from the loop and never from within these; or
 * -ENOMEM, or -ENOBUFS when too much waits already, and it is not called. What is passed is copied.
 *
 * Two wait behind nothing that was asked before. store_lock() forgets the keys before it returns: what was
 * put by then, and not yet begun, is answered as of a locked store; a password does not unlock any more.
 * store_reset() is done next; it is always taken, as store_lock() is, but for -ENOMEM.
 */
typedef void (*store_done)(void *data, enum keystore_answer answer);

int store_put(struct store *s, uid_t owner, const struct keystore_key *key,
              const struct secret *value, store_done done, void *data);
int store_delete(struct store *s, uid_t owner, const struct keystore_key *key, store_done done,
                 void *data);
int store_grant(struct store *s, uid_t owner, const struct keystore_key *key, uid_t reader,
                store_done done, void *data);
int store_ungrant(struct store *s, uid_t owner, const struct keystore_key *key, uid_t reader,
                  store_done done, void *data);
int store_password(struct store *s, const struct secret *old, const struct secret *new,
                   store_done done, void *data);
int store_unlock(struct store *s, const struct secret *password, store_done done, void *data);
int store_lock(struct store *s, store_done done, void *data);
int store_reset(struct store *s, store_done done, void *data);
