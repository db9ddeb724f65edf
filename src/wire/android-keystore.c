/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/android-keystore.h"

#include <errno.h>

enum {
    UID_DIGITS_MAX = 10,
    LENGTH_SIZE = 4,
    IV_OFFSET = 4,
    INFO_OFFSET = 3,
};

static bool is_plain(uint8_t byte)
{
    return byte >= '0' && byte <= '~';
}

/* "10023_": as "%u_" writes it. What stands behind, or NULL. */
static const char *parse_uid(const char *name, uint32_t *ret)
{
    uint64_t uid = 0;
    size_t n = 0;

    for (; n <= UID_DIGITS_MAX && name[n] >= '0' && name[n] <= '9'; n++)
        uid = uid * 10 + (uint64_t)(name[n] - '0');
    if (n == 0 || uid > UINT32_MAX || (n > 1 && name[0] == '0') || name[n] != '_')
        return NULL;
    *ret = (uint32_t)uid;
    return name + n + 1;
}

/* One byte of a key. How many characters it took, or -EINVAL: each byte is written in one way only. */
static int parse_byte(const char *name, uint8_t *ret)
{
    uint8_t first = (uint8_t)name[0], second;
    unsigned byte;

    if (is_plain(first)) {
        *ret = first;
        return 1;
    }
    if (first < '+' || first > '+' + 3)
        return -EINVAL;
    second = (uint8_t)name[1];
    if (second < '0' || second > '0' + 0x3f)
        return -EINVAL;
    byte = (unsigned)(first - '+') << 6 | (unsigned)(second - '0');
    if (is_plain((uint8_t)byte))
        return -EINVAL;
    *ret = (uint8_t)byte;
    return 2;
}

int android_name_parse(const char *name, uint32_t *ret_uid, struct keystore_key *ret_key)
{
    struct keystore_key key = { 0 };
    uint32_t uid = 0;
    const char *at = parse_uid(name, &uid);

    if (!at)
        return -EINVAL;
    while (*at) {
        uint8_t byte = 0;
        int n = parse_byte(at, &byte);

        if (n < 0)
            return n;
        if (key.size == KEYSTORE_KEY_MAX)
            return -EMSGSIZE;
        key.bytes[key.size++] = byte;
        at += n;
    }
    *ret_uid = uid;
    *ret_key = key;
    return 0;
}

int android_blob_parse(const void *file, size_t size, struct android_blob *ret)
{
    static const uint8_t none[INFO_OFFSET];
    const uint8_t *bytes = file;
    size_t info_size, encrypted_size;

    if (size < ANDROID_BLOB_HEADER)
        return -EBADMSG;
    if (memcmp(bytes, none, sizeof(none)) != 0)
        return -EPROTONOSUPPORT;
    info_size = bytes[INFO_OFFSET];
    if (size - ANDROID_BLOB_HEADER < info_size)
        return -EBADMSG;
    encrypted_size = size - ANDROID_BLOB_HEADER - info_size;
    if (encrypted_size < 2 * (size_t)ANDROID_BLOCK_SIZE || encrypted_size % ANDROID_BLOCK_SIZE != 0)
        return -EBADMSG;
    *ret = (struct android_blob){
        .iv = bytes + IV_OFFSET,
        .encrypted = bytes + ANDROID_BLOB_HEADER,
        .encrypted_size = encrypted_size,
        .info = bytes + ANDROID_BLOB_HEADER + encrypted_size,
        .info_size = info_size,
    };
    return 0;
}

int android_plain_parse(const void *plain, size_t size, struct android_plain *ret)
{
    const uint8_t *bytes = plain, *length;
    uint32_t value_size;

    if (size < ANDROID_BLOCK_SIZE + LENGTH_SIZE)
        return -EBADMSG;
    length = bytes + ANDROID_BLOCK_SIZE;
    value_size = (uint32_t)length[0] << 24 | (uint32_t)length[1] << 16 | (uint32_t)length[2] << 8 |
                 length[3];
    if (value_size > size - ANDROID_BLOCK_SIZE - LENGTH_SIZE)
        return -EBADMSG;
    *ret = (struct android_plain){
        .digest = bytes,
        .digested = length,
        .digested_size = size - ANDROID_BLOCK_SIZE,
        .value = length + LENGTH_SIZE,
        .value_size = value_size,
    };
    return 0;
}
