/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/crypto.h"

#include <errno.h>
#include <openssl/evp.h>
#include <openssl/provider.h>

const char crypto_warning[] =
    "minivtun's encryption hides contents from who only listens, and no more: it can be replayed "
    "and "
    "tampered with. Carry nothing that is not protected by itself (TLS, SSH)";
const char crypto_warning_clear[] =
    "without a password (-e) everything is sent in clear, and everybody may take part";

enum {
    KEY_SIZE = 32,
    DIGEST_SIZE = 16,      /* MD5 */
    BLOCK_WITHOUT_IV = 16, /* what messages are padded to where the cipher has no IV */
    IV_SIZE = 16,
};

struct crypto {
    OSSL_PROVIDER *base, *legacy;
    EVP_CIPHER *cipher; /* NULL: in clear */
    EVP_CIPHER_CTX *to, *from;
    size_t block;
    bool has_iv;
    uint8_t key[KEY_SIZE];
};

static const uint8_t iv[IV_SIZE] = { 0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x90,
                                     0xab, 0xcd, 0xef, 0x12, 0x34, 0x56, 0x78, 0x90 };

static const struct cipher_row {
    const char *name, *openssl;
    bool legacy;
} ciphers[] = {
    { "aes-128", "AES-128-CBC", false },
    { "aes-256", "AES-256-CBC", false },
    { "des", "DES-CBC", true },
    { "desx", "DESX-CBC", true },
    { "rc4", "RC4", true },
};

const char *crypto_cipher_names(void)
{
    return "aes-128, aes-256, des, desx, rc4";
}

struct crypto *crypto_free(struct crypto *c)
{
    if (!c)
        return NULL;
    EVP_CIPHER_CTX_free(c->to);
    EVP_CIPHER_CTX_free(c->from);
    EVP_CIPHER_free(c->cipher);
    if (c->legacy)
        (void)OSSL_PROVIDER_unload(c->legacy);
    if (c->base)
        (void)OSSL_PROVIDER_unload(c->base);
    explicit_bzero(c->key, sizeof(c->key));
    free(c);
    return NULL;
}

static int make_key(struct crypto *c, const char *password)
{
    if (EVP_Digest(password, strlen(password), c->key, NULL, EVP_md5(), NULL) != 1)
        return -EOPNOTSUPP; /* where OpenSSL is held to FIPS, there is no MD5 */
    memcpy(c->key + DIGEST_SIZE, c->key, DIGEST_SIZE);
    return 0;
}

static int make_contexts(struct crypto *c)
{
    const uint8_t *first_iv;

    c->has_iv = EVP_CIPHER_get_iv_length(c->cipher) > 0;
    c->block = c->has_iv ? (size_t)EVP_CIPHER_get_iv_length(c->cipher) : BLOCK_WITHOUT_IV;
    first_iv = c->has_iv ? iv : NULL;
    c->to = EVP_CIPHER_CTX_new();
    c->from = EVP_CIPHER_CTX_new();
    if (!c->to || !c->from)
        return -ENOMEM;
    if (EVP_CipherInit_ex2(c->to, c->cipher, c->key, first_iv, 1, NULL) != 1 ||
        EVP_CipherInit_ex2(c->from, c->cipher, c->key, first_iv, 0, NULL) != 1)
        return -EOPNOTSUPP;
    if (EVP_CIPHER_CTX_set_padding(c->to, 0) != 1 || EVP_CIPHER_CTX_set_padding(c->from, 0) != 1)
        return -EOPNOTSUPP;
    return 0;
}

static int fetch(struct crypto *c, const struct cipher_row *row, struct why *why)
{
    c->base = OSSL_PROVIDER_load(NULL, "default");
    if (row->legacy)
        c->legacy = OSSL_PROVIDER_load(NULL, "legacy");
    if (row->legacy && !c->legacy)
        return why_set(why, -EOPNOTSUPP,
                       "the cipher '%s' is obsolete, and this machine's OpenSSL has no legacy "
                       "provider (legacy.so): use aes-128 on both sides",
                       row->name);
    c->cipher = EVP_CIPHER_fetch(NULL, row->openssl, NULL);
    if (!c->cipher)
        return why_set(why, -EOPNOTSUPP,
                       "this machine's OpenSSL has no '%s' (%s): use aes-128 on both sides",
                       row->name, row->openssl);
    return 0;
}

static const struct cipher_row *find(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(ciphers); i++)
        if (streq(ciphers[i].name, name))
            return &ciphers[i];
    return NULL;
}

int crypto_check_name(const char *cipher, struct why *why)
{
    if (find(cipher))
        return 0;
    return why_set(why, -EINVAL, "'%s' is no cipher of minivtun: use one of %s", cipher,
                   crypto_cipher_names());
}

int crypto_new(const char *cipher, const char *password, struct crypto **ret, struct why *why)
{
    _cleanup_crypto_ struct crypto *c = calloc(1, sizeof(*c));
    const struct cipher_row *row = find(cipher);
    int r;

    if (!c)
        return why_set(why, -ENOMEM, "out of memory");
    if (!row)
        return crypto_check_name(cipher, why);
    c->block = 1;
    if (password && password[0] != '\0') {
        r = fetch(c, row, why);
        if (r < 0)
            return r;
        r = make_key(c, password);
        if (r == 0)
            r = make_contexts(c);
        if (r < 0)
            return why_set(why, r, "OpenSSL refuses what '%s' needs", row->name);
    }
    *ret = TAKE_PTR(c);
    return 0;
}

bool crypto_is_clear(const struct crypto *c)
{
    return !c->cipher;
}

const uint8_t *crypto_auth(const struct crypto *c)
{
    return c->key;
}

size_t crypto_padded(const struct crypto *c, size_t size)
{
    return (size + c->block - 1) / c->block * c->block;
}

static int run(const struct crypto *c, EVP_CIPHER_CTX *context, uint8_t *bytes, size_t size)
{
    int written = 0;

    /* the IV is set back; where there is none, the key begins its stream anew */
    if (EVP_CipherInit_ex2(context, NULL, c->has_iv ? NULL : c->key, c->has_iv ? iv : NULL, -1,
                           NULL) != 1 ||
        EVP_CipherUpdate(context, bytes, &written, bytes, (int)size) != 1 || written != (int)size)
        return -EBADMSG;
    return 0;
}

int crypto_encrypt(struct crypto *c, uint8_t *bytes, size_t size)
{
    size_t padded = crypto_padded(c, size);

    memset(bytes + size, 0, padded - size);
    return c->cipher ? run(c, c->to, bytes, padded) : 0;
}

int crypto_decrypt(struct crypto *c, uint8_t *bytes, size_t size)
{
    if (!c->cipher)
        return 0;
    if (size == 0 || size % c->block != 0)
        return -EBADMSG;
    return run(c, c->from, bytes, size);
}
