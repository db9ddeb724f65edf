/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The folder of an Android keystore, as it was before Jelly Bean: read, and decrypted by its password.
 * wire/android-keystore.h has the format. Nothing in the folder is changed.
 */

#include "basic/why.h"
#include "cli/secret.h"
#include "wire/android-keystore.h"

/* A file whose name is that of a key. */
struct android_entry {
    uint32_t uid; /* Android's, of its owner */
    struct keystore_key key;
    struct secret content; /* the file; once it is decrypted the value */
    const char *damage;    /* why there is no value, in a few words; NULL: there is */
};

struct android_store {
    struct secret master; /* the master key's file; once it is decrypted the key */
    struct android_entry *entries;
    size_t n, capacity; /* by uid, then key */
    char **ignored;     /* names of files that are no key's */
    size_t n_ignored, ignored_capacity;
};

/*
 * Reads the folder. 0; with a sentence: -ENOENT there is no such folder, or no master key in it;
 * -errno of reading it. A file that cannot be read, or is no blob, is an entry with `damage`.
 * Release with android_store_done() in any case.
 */
int android_store_read(const char *folder, struct android_store *s, struct why *why);

/*
 * Decrypts everything. 0, also when entries are damaged; with a sentence: -EKEYREJECTED the password is
 * wrong, or the master key is damaged; -EBADMSG that is no master key, or a later Android's;
 * -EOPNOTSUPP OpenSSL has not the ciphers.
 */
int android_store_decrypt(struct android_store *s, const struct secret *password, struct why *why);

void android_store_done(struct android_store *s);
#define _cleanup_android_store_ _cleanup_(android_store_done)
