/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The keystore's files: bytes <-> structs. No I/O and no cryptography; all numbers are big endian.
 *
 *   values/NAME            u8[8] "WMVALUE1"  u8[24] nonce  u8[] the value, sealed (16 bytes longer)
 *   masterkey              u8[8] "WMKEYS1\n"  u8 slots  u8[7] 0  slots  u8[32] digest of all before
 *     slot                 u8 kind  u8[3] 0  u32 passes  u32 memory (KiB)
 *                          u8[16] salt  u8[24] nonce  u8[48] the master key, sealed
 *   tries                  "wrong passwords: 0\n": one byte of it ever changes
 *   grants/NAME            a uid per line, ascending
 *   NAME                   the owner's uid, '_', the key in hexadecimal: 251 characters at most
 *
 * Sealed is XChaCha20-Poly1305, which has a nonce of its own for each, and takes in what the bytes are
 * about (the "additional data"): a value's owner and key, so that files cannot be swapped or renamed; a
 * slot's kind, salt and how its key is made. The digest of `masterkey` keeps no secret: it tells a file
 * that was damaged from a password that is wrong.
 *
 * There is one way to write each, and no other is read.
 */

#include <stdbool.h>

#include "wire/keystore.h"

enum {
    KEYBLOB_KEY_SIZE = 32,
    KEYBLOB_NONCE_SIZE = 24,
    KEYBLOB_TAG_SIZE = 16,
    KEYBLOB_SALT_SIZE = 16,
    KEYBLOB_DIGEST_SIZE = 32,
    KEYBLOB_MAGIC_SIZE = 8,

    KEYBLOB_VALUE_HEADER = KEYBLOB_MAGIC_SIZE + KEYBLOB_NONCE_SIZE,
    KEYBLOB_VALUE_OVERHEAD = KEYBLOB_VALUE_HEADER + KEYBLOB_TAG_SIZE,
    KEYBLOB_VALUE_FILE_MAX = KEYBLOB_VALUE_OVERHEAD + KEYSTORE_VALUE_MAX,
    KEYBLOB_VALUE_ABOUT_MAX = KEYBLOB_MAGIC_SIZE + 4 + 1 + KEYSTORE_KEY_MAX,

    KEYBLOB_SEALED_KEY_SIZE = KEYBLOB_KEY_SIZE + KEYBLOB_TAG_SIZE,
    KEYBLOB_SLOT_HEADER = 12 + KEYBLOB_SALT_SIZE,
    KEYBLOB_SLOT_SIZE = KEYBLOB_SLOT_HEADER + KEYBLOB_NONCE_SIZE + KEYBLOB_SEALED_KEY_SIZE,
    KEYBLOB_SLOT_ABOUT_SIZE = KEYBLOB_MAGIC_SIZE + KEYBLOB_SLOT_HEADER,
    KEYBLOB_MASTER_HEADER = 16,

    KEYBLOB_PASSES_MAX = 64,
    KEYBLOB_MEMORY_MIN = 8, /* KiB */
    KEYBLOB_MEMORY_MAX = 1 << 20,

    KEYBLOB_NAME_SIZE = 10 + 1 + 2 * KEYSTORE_KEY_MAX + 1, /* with its NUL */
    KEYBLOB_GRANTS_MAX = 256,                              /* of a key */
    KEYBLOB_GRANTS_FILE_MAX = KEYBLOB_GRANTS_MAX * 11,
    KEYBLOB_TRIES_SIZE = 19,
    KEYBLOB_TRIES_DIGIT = 17, /* where the byte is that changes */
};

/* What a slot's key is made of; in a file they stand in this order. */
enum keyblob_kind {
    KEYBLOB_PASSWORD, /* Argon2id of it and the salt */
    KEYBLOB_KEY_FILE, /* BLAKE2b of it and the salt; passes and memory are 0 */
    KEYBLOB_KIND_MAX,
};

enum {
    KEYBLOB_MASTER_FILE_MAX =
        KEYBLOB_MASTER_HEADER + KEYBLOB_KIND_MAX * KEYBLOB_SLOT_SIZE + KEYBLOB_DIGEST_SIZE
};

struct keyblob_slot {
    bool used;
    uint32_t passes, memory; /* memory in KiB */
    uint8_t salt[KEYBLOB_SALT_SIZE];
    uint8_t nonce[KEYBLOB_NONCE_SIZE];
    uint8_t sealed[KEYBLOB_SEALED_KEY_SIZE];
};

struct keyblob_master {
    struct keyblob_slot slots[KEYBLOB_KIND_MAX]; /* by kind; one at least is used */
};

/* A value's file; the pointers lead into the bytes that were parsed. */
struct keyblob_value {
    const uint8_t *nonce, *sealed;
    size_t sealed_size; /* KEYBLOB_TAG_SIZE more than the value's */
};

/* 0, or -EBADMSG: it is none, or is cut off. *ret is untouched then; the same with all below. */
int keyblob_value_parse(const uint8_t *bytes, size_t size, struct keyblob_value *ret);

/* What stands before the sealed value. */
void keyblob_value_header(uint8_t out[static KEYBLOB_VALUE_HEADER],
                          const uint8_t nonce[static KEYBLOB_NONCE_SIZE]);

/* What a sealed value is about; returns its size. */
size_t keyblob_value_about(uint8_t out[static KEYBLOB_VALUE_ABOUT_MAX], uint32_t owner,
                           const struct keystore_key *key);

/* The digest is the last KEYBLOB_DIGEST_SIZE bytes; that it is right is for others to see. */
int keyblob_master_parse(const uint8_t *bytes, size_t size, struct keyblob_master *ret);

/* All but the digest, behind which there is room for it; returns the size without it. */
size_t keyblob_master_write(uint8_t out[static KEYBLOB_MASTER_FILE_MAX],
                            const struct keyblob_master *m);
void keyblob_slot_about(uint8_t out[static KEYBLOB_SLOT_ABOUT_SIZE], enum keyblob_kind kind,
                        const struct keyblob_slot *slot);

int keyblob_name_parse(const char *name, uint32_t *ret_owner, struct keystore_key *ret_key);
void keyblob_name_write(char out[static KEYBLOB_NAME_SIZE], uint32_t owner,
                        const struct keystore_key *key);

/* KEYBLOB_GRANTS_MAX uids at most, and one at least. */
int keyblob_grants_parse(const char *text, size_t size, uint32_t uids[static KEYBLOB_GRANTS_MAX],
                         size_t *ret_n);
/* No NUL behind it; returns its size. */
size_t keyblob_grants_write(char out[static KEYBLOB_GRANTS_FILE_MAX], const uint32_t *uids,
                            size_t n);

/* 0 … KEYSTORE_TRIES */
int keyblob_tries_parse(const char *text, size_t size, unsigned *ret);
void keyblob_tries_write(char out[static KEYBLOB_TRIES_SIZE], unsigned wrong);
