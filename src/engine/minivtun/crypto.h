/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * minivtun's ciphers, by OpenSSL.
 *
 * The key is MD5(password), repeated; the IV is a constant. Every message is enciphered by itself, padded
 * with zeros to whole blocks. That is no protection against who can send: messages can be replayed, bits
 * changed after the first blocks, and equal beginnings seen. It is what the protocol has, and
 * `crypto_warning` says so.
 *
 * One context per direction is made once; per message only its IV is set back (RC4 has none: its
 * key). The old ciphers live in OpenSSL's legacy provider, which may not be installed.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/macro.h"
#include "basic/why.h"
#include "wire/minivtun.h"

struct crypto;

/* To be logged once, at the start. */
extern const char crypto_warning[];
extern const char crypto_warning_clear[];

/*
 * `password` NULL or "": in clear; else `cipher` is a name of crypto_cipher_names().
 * 0; -EINVAL: crypto_check_name(); -EOPNOTSUPP: OpenSSL has not got it; -ENOMEM. With the reason.
 */
int crypto_new(const char *cipher, const char *password, struct crypto **ret, struct why *why);
struct crypto *crypto_free(struct crypto *c);
DEFINE_CLEANUP(struct crypto *, crypto_free)
#define _cleanup_crypto_ _cleanup_(crypto_freep)

/* "aes-128, aes-256, …" */
const char *crypto_cipher_names(void);

/* 0, or -EINVAL with the reason. */
int crypto_check_name(const char *cipher, struct why *why);

bool crypto_is_clear(const struct crypto *c);

/* The first bytes of the key, which stand in every message. */
const uint8_t *crypto_auth(const struct crypto *c);

/* What a message of this size has on the wire. */
size_t crypto_padded(const struct crypto *c, size_t size);

/*
 * Both in place, `size` bytes; what is enciphered must have room for crypto_padded() ones, which the
 * datagram has then. 0; -EBADMSG: no whole blocks, or OpenSSL fails.
 */
int crypto_encrypt(struct crypto *c, uint8_t *bytes, size_t size);
int crypto_decrypt(struct crypto *c, uint8_t *bytes, size_t size);
