/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* Android's keystore: names that are accepted can be written, in that one way; frames stay within bounds. */

#include <errno.h>
#include <stdio.h>

#include "fuzz/fuzz.h"
#include "wire/android-keystore.h"

/* As Android's keystore.c does. */
static void write_name(uint32_t uid, const struct keystore_key *key, char *to)
{
    to += sprintf(to, "%u_", uid);
    for (size_t i = 0; i < key->size; i++) {
        uint8_t byte = key->bytes[i];

        if (byte >= '0' && byte <= '~') {
            *to++ = (char)byte;
            continue;
        }
        *to++ = (char)('+' + (byte >> 6));
        *to++ = (char)('0' + (byte & 0x3f));
    }
    *to = '\0';
}

static void check_name(const uint8_t *data, size_t size)
{
    char written[16 + 2 * KEYSTORE_KEY_MAX], *name = fuzz_text(data, size);
    struct keystore_key key;
    uint32_t uid;
    int r = android_name_parse(name, &uid, &key);

    MUST(r == 0 || r == -EINVAL || r == -EMSGSIZE);
    if (r == 0) {
        MUST(key.size <= KEYSTORE_KEY_MAX);
        write_name(uid, &key, written);
        MUST(strcmp(written, name) == 0);
    }
    free(name);
}

static void check_blob(const uint8_t *data, size_t size)
{
    struct android_blob blob;
    int r = android_blob_parse(data, size, &blob);

    MUST(r == 0 || r == -EBADMSG || r == -EPROTONOSUPPORT);
    if (r < 0)
        return;
    MUST(blob.iv + ANDROID_BLOCK_SIZE == blob.encrypted);
    MUST(blob.encrypted + blob.encrypted_size == blob.info);
    MUST(blob.info + blob.info_size == data + size);
    MUST(blob.encrypted_size % ANDROID_BLOCK_SIZE == 0 && blob.encrypted_size > 0);
}

static void check_plain(const uint8_t *data, size_t size)
{
    struct android_plain plain;
    int r = android_plain_parse(data, size, &plain);

    MUST(r == 0 || r == -EBADMSG);
    if (r < 0)
        return;
    MUST(plain.digest == data && plain.digested + plain.digested_size == data + size);
    MUST(plain.value >= plain.digested && plain.value + plain.value_size <= data + size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    check_name(data, size);
    check_blob(data, size);
    check_plain(data, size);
    return 0;
}
