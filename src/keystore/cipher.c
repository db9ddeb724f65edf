/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/cipher.h"

#include <errno.h>
#include <sodium.h>

static_assert((int)KEYBLOB_KEY_SIZE == (int)SECRET_KEY_SIZE, "key");
static_assert(KEYBLOB_KEY_SIZE == crypto_aead_xchacha20poly1305_ietf_KEYBYTES, "key");
static_assert(KEYBLOB_NONCE_SIZE == crypto_aead_xchacha20poly1305_ietf_NPUBBYTES, "nonce");
static_assert(KEYBLOB_TAG_SIZE == crypto_aead_xchacha20poly1305_ietf_ABYTES, "tag");
static_assert(KEYBLOB_SALT_SIZE == crypto_pwhash_argon2id_SALTBYTES, "salt");
static_assert(KEYBLOB_MEMORY_MIN << 10 == crypto_pwhash_argon2id_MEMLIMIT_MIN, "memory");
static_assert(KEYBLOB_DIGEST_SIZE == crypto_generichash_BYTES, "digest");

int cipher_random_key(struct secret *ret)
{
    int r = secret_new_key(ret);

    if (r == 0)
        randombytes_buf(ret->data, ret->size);
    return r;
}

/* BLAKE2b, with what it is for and the salt before the content. */
static int hash_key_file(const struct keyblob_slot *slot, const struct secret *content,
                         uint8_t out[static KEYBLOB_KEY_SIZE])
{
    static const uint8_t purpose[16] = "waymark keyfile";
    crypto_generichash_state state;

    (void)crypto_generichash_init(&state, NULL, 0, KEYBLOB_KEY_SIZE);
    (void)crypto_generichash_update(&state, purpose, sizeof(purpose));
    (void)crypto_generichash_update(&state, slot->salt, sizeof(slot->salt));
    (void)crypto_generichash_update(&state, content->data, content->size);
    (void)crypto_generichash_final(&state, out, KEYBLOB_KEY_SIZE);
    sodium_memzero(&state, sizeof(state));
    return 0;
}

static int hash_password(const struct keyblob_slot *slot, const struct secret *password,
                         uint8_t out[static KEYBLOB_KEY_SIZE])
{
    return crypto_pwhash(out, KEYBLOB_KEY_SIZE, (const char *)password->data, password->size,
                         slot->salt, slot->passes, (size_t)slot->memory << 10,
                         crypto_pwhash_ALG_ARGON2ID13) < 0
               ? -ENOMEM
               : 0;
}

int cipher_slot_key(enum keyblob_kind kind, const struct keyblob_slot *slot,
                    const struct secret *from, struct secret *ret)
{
    _cleanup_secret_ struct secret key = SECRET_NONE;
    int r = secret_new_key(&key);

    if (r == 0)
        r = kind == KEYBLOB_PASSWORD ? hash_password(slot, from, key.data)
                                     : hash_key_file(slot, from, key.data);
    secret_wipe_stack();
    if (r == 0)
        *ret = secret_take(&key);
    return r;
}

void cipher_slot_salt(struct keyblob_slot *slot)
{
    randombytes_buf(slot->salt, sizeof(slot->salt));
}

void cipher_seal_key(enum keyblob_kind kind, struct keyblob_slot *slot, const struct secret *key,
                     const struct secret *master)
{
    uint8_t about[KEYBLOB_SLOT_ABOUT_SIZE];

    keyblob_slot_about(about, kind, slot);
    randombytes_buf(slot->nonce, sizeof(slot->nonce));
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(slot->sealed, NULL, master->data, master->size,
                                                     about, sizeof(about), NULL, slot->nonce,
                                                     key->data);
    secret_wipe_stack();
}

int cipher_open_key(enum keyblob_kind kind, const struct keyblob_slot *slot,
                    const struct secret *key, struct secret *ret_master)
{
    _cleanup_secret_ struct secret master = SECRET_NONE;
    uint8_t about[KEYBLOB_SLOT_ABOUT_SIZE];
    int r = secret_new_key(&master);

    if (r < 0)
        return r;
    keyblob_slot_about(about, kind, slot);
    r = crypto_aead_xchacha20poly1305_ietf_decrypt(master.data, NULL, NULL, slot->sealed,
                                                   sizeof(slot->sealed), about, sizeof(about),
                                                   slot->nonce, key->data);
    secret_wipe_stack();
    if (r < 0)
        return -EKEYREJECTED;
    *ret_master = secret_take(&master);
    return 0;
}

void cipher_seal_value(const struct secret *master, uint32_t owner, const struct keystore_key *key,
                       const struct secret *value, uint8_t *out)
{
    uint8_t about[KEYBLOB_VALUE_ABOUT_MAX], nonce[KEYBLOB_NONCE_SIZE];
    size_t size = keyblob_value_about(about, owner, key);

    randombytes_buf(nonce, sizeof(nonce));
    keyblob_value_header(out, nonce);
    (void)crypto_aead_xchacha20poly1305_ietf_encrypt(out + KEYBLOB_VALUE_HEADER, NULL, value->data,
                                                     value->size, about, size, NULL, nonce,
                                                     master->data);
    secret_wipe_stack();
}

int cipher_open_value(const struct secret *master, uint32_t owner, const struct keystore_key *key,
                      const uint8_t *bytes, size_t size, uint8_t *room, size_t *ret_size)
{
    uint8_t about[KEYBLOB_VALUE_ABOUT_MAX];
    struct keyblob_value blob;
    int r = keyblob_value_parse(bytes, size, &blob);

    if (r < 0)
        return r;
    size = keyblob_value_about(about, owner, key);
    r = crypto_aead_xchacha20poly1305_ietf_decrypt(room, NULL, NULL, blob.sealed, blob.sealed_size,
                                                   about, size, blob.nonce, master->data);
    secret_wipe_stack();
    if (r < 0)
        return -EBADMSG;
    *ret_size = blob.sealed_size - KEYBLOB_TAG_SIZE;
    return 0;
}

void cipher_digest(const uint8_t *bytes, size_t size, uint8_t out[static KEYBLOB_DIGEST_SIZE])
{
    (void)crypto_generichash(out, KEYBLOB_DIGEST_SIZE, bytes, size, NULL, 0);
}
