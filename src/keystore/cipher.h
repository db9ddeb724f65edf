/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What libsodium does for the store: keys out of passwords and key files, and sealing by them.
 *
 * A value is sealed by the master key, which is random and never changes; the master key is sealed by a
 * key made of a password or a key file (wire/keyblob.h has the bytes). A new password so costs one
 * small file. Nonces are random: with 24 bytes none comes twice.
 *
 * All keys are secrets of KEYBLOB_KEY_SIZE bytes. Nothing is left on the stack.
 */

#include "keystore/secret.h"
#include "wire/keyblob.h"

/* 0 or -ENOMEM. */
int cipher_random_key(struct secret *ret);

/*
 * The key of a slot, made of a password or the content of a key file, and of the slot's salt and cost.
 * 0; -ENOMEM: also where Argon2id cannot have the memory that the slot says.
 */
int cipher_slot_key(enum keyblob_kind kind, const struct keyblob_slot *slot,
                    const struct secret *from, struct secret *ret);

/* Salt for a new slot. */
void cipher_slot_salt(struct keyblob_slot *slot);

/* Sets nonce and sealed. */
void cipher_seal_key(enum keyblob_kind kind, struct keyblob_slot *slot, const struct secret *key,
                     const struct secret *master);

/* 0; -EKEYREJECTED: not this key; -ENOMEM. */
int cipher_open_key(enum keyblob_kind kind, const struct keyblob_slot *slot,
                    const struct secret *key, struct secret *ret_master);

/* Writes the value's file of KEYBLOB_VALUE_OVERHEAD + value->size bytes. */
void cipher_seal_value(const struct secret *master, uint32_t owner, const struct keystore_key *key,
                       const struct secret *value, uint8_t *out);

/*
 * Into room for KEYSTORE_VALUE_MAX bytes. 0; -EBADMSG, and *ret_size is untouched: not what was sealed for
 * this owner and key by this master key.
 */
int cipher_open_value(const struct secret *master, uint32_t owner, const struct keystore_key *key,
                      const uint8_t *bytes, size_t size, uint8_t *room, size_t *ret_size);

void cipher_digest(const uint8_t *bytes, size_t size, uint8_t out[static KEYBLOB_DIGEST_SIZE]);
