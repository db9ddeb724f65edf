/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The keystore's files. There is one way to write each: what is read is, written again, the same bytes; and
 * what is told of it lies within them. The first byte chooses which file it is.
 */

#include <errno.h>

#include "basic/uidrange.h"
#include "fuzz/fuzz.h"
#include "wire/keyblob.h"

static void check_value(const uint8_t *data, size_t size)
{
    uint8_t header[KEYBLOB_VALUE_HEADER];
    struct keyblob_value value;
    int r = keyblob_value_parse(data, size, &value);

    if (r < 0) {
        MUST(r == -EBADMSG);
        return;
    }
    MUST(value.nonce == data + KEYBLOB_MAGIC_SIZE);
    MUST(value.sealed == value.nonce + KEYBLOB_NONCE_SIZE);
    MUST(value.sealed + value.sealed_size == data + size);
    MUST(value.sealed_size >= KEYBLOB_TAG_SIZE);
    MUST(value.sealed_size <= KEYBLOB_TAG_SIZE + KEYSTORE_VALUE_MAX);
    keyblob_value_header(header, value.nonce);
    MUST(memcmp(header, data, sizeof(header)) == 0);
}

static void check_master(const uint8_t *data, size_t size)
{
    uint8_t written[KEYBLOB_MASTER_FILE_MAX], about[KEYBLOB_SLOT_ABOUT_SIZE];
    struct keyblob_master m = { 0 };
    int r = keyblob_master_parse(data, size, &m);
    size_t n = size - KEYBLOB_DIGEST_SIZE;

    if (r < 0) {
        MUST(r == -EBADMSG && !m.slots[0].used && !m.slots[1].used);
        return;
    }
    MUST(m.slots[KEYBLOB_PASSWORD].used || m.slots[KEYBLOB_KEY_FILE].used);
    MUST(keyblob_master_write(written, &m) == n);
    MUST(memcmp(written, data, n) == 0);
    if (m.slots[KEYBLOB_PASSWORD].used) {
        MUST(m.slots[KEYBLOB_PASSWORD].passes >= 1);
        MUST(m.slots[KEYBLOB_PASSWORD].memory <= KEYBLOB_MEMORY_MAX);
        keyblob_slot_about(about, KEYBLOB_PASSWORD, &m.slots[KEYBLOB_PASSWORD]);
        MUST(memcmp(about, data, KEYBLOB_MAGIC_SIZE) == 0);
        MUST(memcmp(about + KEYBLOB_MAGIC_SIZE, data + KEYBLOB_MASTER_HEADER,
                    KEYBLOB_SLOT_HEADER) == 0);
    }
}

static void check_name(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *name = fuzz_text(data, size);
    char written[KEYBLOB_NAME_SIZE];
    struct keystore_key key;
    uint32_t owner;
    int r = keyblob_name_parse(name, &owner, &key);

    if (r < 0) {
        MUST(r == -EBADMSG);
        return;
    }
    MUST(owner <= UID_MAX && key.size <= KEYSTORE_KEY_MAX);
    keyblob_name_write(written, owner, &key);
    MUST(streq(written, name));
}

static void check_grants(const uint8_t *data, size_t size)
{
    uint32_t uids[KEYBLOB_GRANTS_MAX];
    char written[KEYBLOB_GRANTS_FILE_MAX];
    size_t n = 0;
    int r = keyblob_grants_parse((const char *)data, size, uids, &n);

    if (r < 0) {
        MUST(r == -EBADMSG && n == 0);
        return;
    }
    MUST(n >= 1 && n <= KEYBLOB_GRANTS_MAX && size <= sizeof(written));
    MUST(keyblob_grants_write(written, uids, n) == size);
    MUST(memcmp(written, data, size) == 0);
}

static void check_tries(const uint8_t *data, size_t size)
{
    char written[KEYBLOB_TRIES_SIZE];
    unsigned wrong;
    int r = keyblob_tries_parse((const char *)data, size, &wrong);

    if (r < 0) {
        MUST(r == -EBADMSG);
        return;
    }
    MUST(wrong <= KEYSTORE_TRIES && size == sizeof(written));
    keyblob_tries_write(written, wrong);
    MUST(memcmp(written, data, size) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static void (*const files[])(const uint8_t *data, size_t size) = {
        check_value, check_master, check_name, check_grants, check_tries,
    };

    if (size > 0)
        files[data[0] % ELEMENTSOF(files)](data + 1, size - 1);
    return 0;
}
