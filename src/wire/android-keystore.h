/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Android's keystore as it lies on disk, before Jelly Bean (2.x, 3.x, 4.0): names of files, and the frames
 * of what is in them. No I/O and no ciphers: whoever has those decrypts between the two steps.
 *
 *   <uid>_<key>   a value. In the key bytes '0' to '~' stand for themselves, others are two: '+' + the
 *                 upper two bits, '0' + the lower six
 *   .masterkey    the 16 bytes by which values are encrypted, itself encrypted by the password
 *
 *   blob     3 reserved bytes, u8 size of the info, 16 bytes of IV; AES-128-CBC; the info, in the clear
 *   plain    16 bytes: MD5 of what follows; u32 size (big endian); as many bytes of value; padding
 *
 * The master key's blob has the salt of its password as the info; before there was one, none.
 * Jelly Bean gave the reserved bytes a meaning, the version, so a blob that has any is no such blob.
 */

#include <stddef.h>
#include <stdint.h>

#include "wire/keystore.h"

#define ANDROID_MASTER_KEY_FILE ".masterkey"

enum {
    ANDROID_BLOCK_SIZE = 16, /* AES; also of keys, digests and the salt */
    ANDROID_BLOB_HEADER = 20,
    ANDROID_INFO_MAX = 255,
    /* the largest file that can be right: a digest, a length and a value in whole blocks */
    ANDROID_BLOB_MAX =
        ANDROID_BLOB_HEADER + 2 * ANDROID_BLOCK_SIZE + KEYSTORE_VALUE_MAX + ANDROID_INFO_MAX,
};

/*
 * What a file's name says. 0; -EINVAL: it is no key's, or not as Android writes it; -EMSGSIZE: the key is
 * longer than keys may be.
 */
int android_name_parse(const char *name, uint32_t *ret_uid, struct keystore_key *ret_key);

/* Pointers into the file. */
struct android_blob {
    const uint8_t *iv; /* ANDROID_BLOCK_SIZE */
    const uint8_t *encrypted;
    size_t encrypted_size; /* whole blocks, at least two */
    const uint8_t *info;
    size_t info_size;
};

/* 0; -EBADMSG: torn, or no blob; -EPROTONOSUPPORT: a later Android's. */
int android_blob_parse(const void *file, size_t size, struct android_blob *ret);

/* Pointers into what was decrypted. */
struct android_plain {
    const uint8_t *digest; /* ANDROID_BLOCK_SIZE: to be compared with the MD5 of … */
    const uint8_t *digested;
    size_t digested_size;
    const uint8_t *value;
    size_t value_size;
};

/* 0; -EBADMSG: the size that it gives is more than there is. Only the digest says whether it is right. */
int android_plain_parse(const void *plain, size_t size, struct android_plain *ret);
