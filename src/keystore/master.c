/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/master.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "keystore/cipher.h"

static const char master_file[] = "masterkey", resetting_file[] = "resetting",
                  tries_file[] = "tries";

static bool is_sound(const uint8_t *bytes, size_t size)
{
    uint8_t digest[KEYBLOB_DIGEST_SIZE];

    cipher_digest(bytes, size - sizeof(digest), digest);
    return memcmp(digest, bytes + size - sizeof(digest), sizeof(digest)) == 0;
}

int master_read(const struct folders *f, enum master_presence *ret_presence,
                struct keyblob_master *ret)
{
    uint8_t bytes[KEYBLOB_MASTER_FILE_MAX + 1];
    struct keyblob_master m;
    size_t size;
    int r = files_read(f->top, master_file, bytes, sizeof(bytes) - 1, &size);

    if (r == -ENOENT) {
        *ret_presence = MASTER_NONE;
        return 0;
    }
    if (r < 0 && r != -EFBIG && r != -EISDIR && r != -ELOOP)
        return r;
    *ret_presence = MASTER_DAMAGED;
    if (r < 0 || keyblob_master_parse(bytes, size, &m) < 0 || !is_sound(bytes, size))
        return 0;
    *ret_presence = MASTER_THERE;
    *ret = m;
    return 0;
}

int master_write(const struct folders *f, const struct keyblob_master *m, bool *ret_done)
{
    uint8_t bytes[KEYBLOB_MASTER_FILE_MAX];
    size_t size = keyblob_master_write(bytes, m);

    cipher_digest(bytes, size, bytes + size);
    return files_replace(f->top, master_file, bytes, size + KEYBLOB_DIGEST_SIZE, ret_done);
}

int master_seal(struct keyblob_master *m, enum keyblob_kind kind, const struct secret *from,
                const struct master_cost *cost, const struct secret *key)
{
    _cleanup_secret_ struct secret slot_key = SECRET_NONE;
    struct keyblob_slot slot = { .used = true };
    int r;

    if (kind == KEYBLOB_PASSWORD) {
        slot.passes = cost->passes;
        slot.memory = (uint32_t)cost->memory;
    }
    cipher_slot_salt(&slot);
    r = cipher_slot_key(kind, &slot, from, &slot_key);
    if (r < 0)
        return r;
    cipher_seal_key(kind, &slot, &slot_key, key);
    m->slots[kind] = slot;
    return 0;
}

int master_open(const struct keyblob_master *m, enum keyblob_kind kind, const struct secret *from,
                struct secret *ret_key)
{
    _cleanup_secret_ struct secret slot_key = SECRET_NONE;
    const struct keyblob_slot *slot = &m->slots[kind];
    int r;

    if (!slot->used)
        return -ENOENT;
    r = cipher_slot_key(kind, slot, from, &slot_key);
    return r < 0 ? r : cipher_open_key(kind, slot, &slot_key, ret_key);
}

int master_read_tries(const struct folders *f, unsigned *ret)
{
    char text[KEYBLOB_TRIES_SIZE + 1];
    size_t size;
    int r = files_read(f->top, tries_file, text, sizeof(text) - 1, &size);

    if (r == -EFBIG || r == -EISDIR || r == -ELOOP)
        return -EBADMSG;
    return r < 0 ? r : keyblob_tries_parse(text, size, ret);
}

int master_make_tries(const struct folders *f)
{
    char text[KEYBLOB_TRIES_SIZE];
    bool done;

    keyblob_tries_write(text, 0);
    return files_replace(f->top, tries_file, text, sizeof(text), &done);
}

int master_write_tries(const struct folders *f, unsigned wrong)
{
    _cleanup_fd_ int fd =
        openat(f->top, tries_file, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    char text[KEYBLOB_TRIES_SIZE];
    ssize_t n;

    if (fd < 0)
        return -errno;
    keyblob_tries_write(text, wrong);
    n = pwrite(fd, &text[KEYBLOB_TRIES_DIGIT], 1, KEYBLOB_TRIES_DIGIT);
    if (n != 1)
        return n < 0 ? -errno : -EIO;
    return fdatasync(fd) < 0 ? -errno : 0;
}

int master_is_resetting(const struct folders *f)
{
    struct stat st;

    if (fstatat(f->top, resetting_file, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return 1;
    return errno == ENOENT ? 0 : -errno;
}

/* Where there is no master key there may be values all the same: then the mark alone is made. */
static int commit_reset(const struct folders *f, bool *ret_done)
{
    int r = master_is_resetting(f);

    if (r < 0)
        return r;
    *ret_done = r > 0;
    if (renameat(f->top, master_file, f->top, resetting_file) == 0)
        *ret_done = true;
    else if (errno != ENOENT)
        return -errno;
    else if (r == 0)
        return files_replace(f->top, resetting_file, "", 0, ret_done);
    return fsync(f->top) < 0 ? -errno : 0;
}

int master_may_reset(const struct folders *f)
{
    return files_try(f->top);
}

/* What is not ours stays. */
static int remove_ours(void *data, const char *name)
{
    const int *folder = data;
    struct keystore_key key;
    uint32_t owner;

    if (keyblob_name_parse(name, &owner, &key) < 0)
        return 0;
    return unlinkat(*folder, name, 0) < 0 && errno != ENOENT && errno != EISDIR ? -errno : 0;
}

static int empty_folder(int folder)
{
    int r = files_list(folder, remove_ours, &folder);

    if (r < 0)
        return r;
    return fsync(folder) < 0 ? -errno : 0;
}

int master_reset(const struct folders *f, bool *ret_done)
{
    bool done;
    int r;

    *ret_done = false;
    r = commit_reset(f, ret_done);
    if (r == 0)
        r = empty_folder(f->values);
    if (r == 0)
        r = empty_folder(f->grants);
    if (r == 0)
        r = files_remove(f->top, tries_file, &done);
    if (r == 0)
        r = files_remove(f->top, resetting_file, &done);
    return r;
}
