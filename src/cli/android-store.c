/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/android-store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include "basic/array.h"
#include "basic/fd.h"

DEFINE_CLEANUP(DIR *, closedir)
DEFINE_CLEANUP(EVP_CIPHER_CTX *, EVP_CIPHER_CTX_free)

void android_store_done(struct android_store *s)
{
    secret_done(&s->master);
    for (size_t i = 0; i < s->n; i++)
        secret_done(&s->entries[i].content);
    for (size_t i = 0; i < s->n_ignored; i++)
        free(s->ignored[i]);
    free(s->entries);
    free(s->ignored);
    *s = (struct android_store){ 0 };
}

/* Reading. */

/* -EINVAL: it is no plain file. */
static int read_file(int folder, const char *name, struct secret *ret)
{
    _cleanup_fd_ int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    struct stat st;

    if (fd < 0)
        return errno == ELOOP || errno == ENXIO ? -EINVAL : -errno;
    if (fstat(fd, &st) < 0)
        return -errno;
    return S_ISREG(st.st_mode) ? secret_read(fd, ANDROID_BLOB_MAX, ret) : -EINVAL;
}

static int ignore(struct android_store *s, const char *name)
{
    char *copy = strdup(name);
    int r = copy ? ARRAY_PUSH(s->ignored, s->n_ignored, s->ignored_capacity, copy) : -ENOMEM;

    if (r < 0)
        free(copy);
    return r;
}

static const char *damage_of(int error)
{
    switch (error) {
    case -EMSGSIZE:
        return "larger than any value";
    case -EBADMSG:
        return "torn, or no blob";
    case -EPROTONOSUPPORT:
        return "written by a later Android (Jelly Bean)";
    default:
        return "cannot be read";
    }
}

static int read_entry(struct android_store *s, int folder, const char *name)
{
    struct android_entry entry = { 0 };
    struct android_blob blob = { 0 };
    int r;

    if (android_name_parse(name, &entry.uid, &entry.key) < 0)
        return ignore(s, name);
    r = read_file(folder, name, &entry.content);
    if (r == -EINVAL)
        return ignore(s, name);
    if (r == 0)
        r = android_blob_parse(entry.content.data, entry.content.size, &blob);
    if (r == -ENOMEM)
        return r;
    if (r < 0)
        entry.damage = damage_of(r);
    r = ARRAY_PUSH(s->entries, s->n, s->capacity, entry);
    if (r < 0)
        secret_done(&entry.content);
    return r;
}

static int read_one(struct android_store *s, int folder, const char *name)
{
    if (streq(name, ".") || streq(name, ".."))
        return 0;
    return streq(name, ANDROID_MASTER_KEY_FILE) ? read_file(folder, name, &s->master)
                                                : read_entry(s, folder, name);
}

static int compare(const void *a, const void *b)
{
    const struct android_entry *x = a, *y = b;
    int order = memcmp(x->key.bytes, y->key.bytes, MIN(x->key.size, y->key.size));

    if (x->uid != y->uid)
        return CMP(x->uid, y->uid);
    return order ? order : CMP(x->key.size, y->key.size);
}

int android_store_read(const char *folder, struct android_store *s, struct why *why)
{
    _cleanup_(closedirp) DIR *dir = opendir(folder);
    const struct dirent *entry;
    int r = 0;

    if (!dir)
        return why_set(why, -errno, "cannot read %.200s: %s", folder, strerror(errno));
    while (r == 0 && (errno = 0, entry = readdir(dir))) {
        r = read_one(s, dirfd(dir), entry->d_name);
        if (r < 0)
            return why_set(why, r, "cannot read %.200s/%.100s: %s", folder, entry->d_name,
                           strerror(-r));
    }
    if (errno)
        return why_set(why, -errno, "cannot read %.200s: %s", folder, strerror(errno));
    if (!s->master.data)
        return why_set(why, -ENOENT,
                       "there is no " ANDROID_MASTER_KEY_FILE
                       " in %.200s: name the folder of an Android keystore, a copy of "
                       "/data/misc/keystore",
                       folder);
    if (s->n > 0)
        qsort(s->entries, s->n, sizeof(*s->entries), compare);
    return 0;
}

/* Decrypting. */

static int decrypt_cbc(const struct android_blob *blob, const uint8_t *key, uint8_t *to)
{
    _cleanup_(EVP_CIPHER_CTX_freep) EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    int n = 0, rest = 0;

    if (!ctx)
        return -ENOMEM;
    if (!EVP_DecryptInit_ex(ctx, EVP_aes_128_cbc(), NULL, key, blob->iv) ||
        !EVP_CIPHER_CTX_set_padding(ctx, 0) ||
        !EVP_DecryptUpdate(ctx, to, &n, blob->encrypted, (int)blob->encrypted_size) ||
        !EVP_DecryptFinal_ex(ctx, to + n, &rest))
        return -EOPNOTSUPP;
    return 0;
}

/* Is it what was encrypted? -EBADMSG when it is not: a wrong key, or damage. */
static int check_digest(const struct android_plain *plain)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;

    if (!EVP_Digest(plain->digested, plain->digested_size, digest, &n, EVP_md5(), NULL))
        return -EOPNOTSUPP;
    return n == ANDROID_BLOCK_SIZE && memcmp(digest, plain->digest, n) == 0 ? 0 : -EBADMSG;
}

static int decrypt(const struct secret *file, const uint8_t *key, struct secret *ret)
{
    _cleanup_secret_ struct secret plain = { 0 };
    struct android_blob blob = { 0 };
    struct android_plain parts = { 0 };
    int r = android_blob_parse(file->data, file->size, &blob);

    if (r == 0)
        r = secret_copy(blob.encrypted, blob.encrypted_size, &plain);
    if (r == 0)
        r = decrypt_cbc(&blob, key, plain.data);
    if (r == 0)
        r = android_plain_parse(plain.data, plain.size, &parts);
    if (r == 0)
        r = check_digest(&parts);
    if (r == 0 && parts.value_size > KEYSTORE_VALUE_MAX)
        r = -EMSGSIZE;
    return r < 0 ? r : secret_copy(parts.value, parts.value_size, ret);
}

/* The key of the password, with this salt, opens the master key: 0. -EBADMSG: it does not. */
static int try_password(const struct secret *file, const struct secret *password, const void *salt,
                        int salt_size, int iterations, struct secret *ret)
{
    uint8_t key[ANDROID_BLOCK_SIZE];
    int r = 0;

    if (!PKCS5_PBKDF2_HMAC_SHA1((const char *)password->data, (int)password->size, salt, salt_size,
                                iterations, sizeof(key), key))
        r = -EOPNOTSUPP;
    if (r == 0)
        r = decrypt(file, key, ret);
    explicit_bzero(key, sizeof(key));
    return r;
}

/* Before there was a salt in the file, its place was taken by a word, with the NUL behind it. */
static int decrypt_master(const struct secret *file, const struct secret *password,
                          struct secret *ret)
{
    static const char word[] = "keystore";
    static const int iterations[] = { 8192, 1024 };
    struct android_blob blob = { 0 };
    int r = android_blob_parse(file->data, file->size, &blob);

    if (r == 0 && blob.info_size == ANDROID_BLOCK_SIZE)
        return try_password(file, password, blob.info, ANDROID_BLOCK_SIZE, iterations[0], ret);
    for (size_t i = 0; i < ELEMENTSOF(iterations) && (r == 0 || i > 0); i++) {
        r = try_password(file, password, word, sizeof(word), iterations[i], ret);
        if (r != -EBADMSG)
            return r;
    }
    return r;
}

static int open_master(struct android_store *s, const struct secret *password, struct why *why)
{
    _cleanup_secret_ struct secret key = { 0 };
    struct android_blob blob = { 0 };
    int r = android_blob_parse(s->master.data, s->master.size, &blob);

    if (r < 0)
        return why_set(why, -EBADMSG, "the master key (" ANDROID_MASTER_KEY_FILE ") is damaged: %s",
                       damage_of(r));
    r = decrypt_master(&s->master, password, &key);
    if (r == 0 && key.size != ANDROID_BLOCK_SIZE)
        r = -EBADMSG;
    if (r == -EBADMSG)
        return why_set(
            why, -EKEYREJECTED,
            "the password of the old store is wrong, or its master key is damaged: nothing "
            "was imported");
    if (r < 0)
        return why_set(why, r,
                       "OpenSSL cannot do what the old store needs (AES-128-CBC, MD5, SHA-1)");
    secret_done(&s->master);
    s->master = key;
    key = (struct secret){ 0 };
    return 0;
}

int android_store_decrypt(struct android_store *s, const struct secret *password, struct why *why)
{
    int r = open_master(s, password, why);

    for (size_t i = 0; r == 0 && i < s->n; i++) {
        struct android_entry *entry = &s->entries[i];
        struct secret value = { 0 };

        if (entry->damage)
            continue;
        r = decrypt(&entry->content, s->master.data, &value);
        secret_done(&entry->content);
        entry->content = value;
        if (r == -EBADMSG || r == -EMSGSIZE) {
            entry->damage = r == -EBADMSG ? "not what was encrypted" : damage_of(r);
            r = 0;
        }
    }
    return r;
}
