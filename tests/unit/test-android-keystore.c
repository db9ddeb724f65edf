/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/android-keystore: names of files, and the frames of blobs. */

#include "unit/check.h"

#include <errno.h>

#include "wire/android-keystore.h"

#define TEN  "aaaaaaaaaa"
#define MANY TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

static void names(void **state)
{
    static const struct {
        const char *name;
        int result;
        uint32_t uid;
        const char *key;
        size_t size;
    } rows[] = {
        { "1000_psk", 0, 1000, "psk", 3 },
        { "0_psk", 0, 0, "psk", 3 },
        { "10023_", 0, 10023, "", 0 },
        { "4294967295_k", 0, UINT32_MAX, "k", 1 },
        { "1000_a+Pb", 0, 1000, "a b", 3 },
        { "1000_.m.i", 0, 1000, "\375\371", 2 },
        { "1000_+0", 0, 1000, "\0", 1 },
        { "1000_,o", 0, 1000, "\177", 1 },
        { "1000_.o", 0, 1000, "\377", 1 },
        { "1000__~0", 0, 1000, "_~0", 3 },
        { "1000_" MANY, 0, 1000, MANY, KEYSTORE_KEY_MAX },
        { "1000_" MANY "a", -EMSGSIZE, 0, NULL, 0 },
        { ".masterkey", -EINVAL, 0, NULL, 0 },
        { "1000", -EINVAL, 0, NULL, 0 },
        { "_psk", -EINVAL, 0, NULL, 0 },
        { "", -EINVAL, 0, NULL, 0 },
        { "01000_psk", -EINVAL, 0, NULL, 0 },
        { "4294967296_k", -EINVAL, 0, NULL, 0 },
        { "99999999999999999999_k", -EINVAL, 0, NULL, 0 },
        { "-1_k", -EINVAL, 0, NULL, 0 },
        { "1000_a b", -EINVAL, 0, NULL, 0 },
        { "1000_a/b", -EINVAL, 0, NULL, 0 }, /* '/' would be two */
        { "1000_+", -EINVAL, 0, NULL, 0 },
        { "1000_+/", -EINVAL, 0, NULL, 0 },
        { "1000_+p", -EINVAL, 0, NULL, 0 },
        { "1000_,0", -EINVAL, 0, NULL, 0 }, /* '@' is written as itself */
        { "1000_\303\244", -EINVAL, 0, NULL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct keystore_key key = { 0 };
        uint32_t uid = 0;

        CHECK_INT(rows[i].name, android_name_parse(rows[i].name, &uid, &key), rows[i].result);
        CHECK_INT(rows[i].name, uid, rows[i].uid);
        CHECK_INT(rows[i].name, key.size, rows[i].size);
        CHECK(rows[i].name, mem_equal(key.bytes, rows[i].key, rows[i].size));
    }
    CHECK_END();
}

static void blobs(void **state)
{
    static const struct {
        const char *row;
        uint8_t header[4];
        size_t size;
        int result;
        size_t encrypted_size;
    } rows[] = {
        { "nothing", { 0 }, 0, -EBADMSG, 0 },
        { "a header", { 0 }, 20, -EBADMSG, 0 },
        { "one block", { 0 }, 36, -EBADMSG, 0 },
        { "two blocks", { 0 }, 52, 0, 32 },
        { "torn", { 0 }, 51, -EBADMSG, 0 },
        { "salted", { 0, 0, 0, 16 }, 20 + 48 + 16, 0, 48 },
        { "info of any size", { 0, 0, 0, 3 }, 20 + 32 + 3, 0, 32 },
        { "less than its info", { 0, 0, 0, 255 }, 52, -EBADMSG, 0 },
        { "Jelly Bean's", { 2, 0, 0, 0 }, 52, -EPROTONOSUPPORT, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct android_blob blob = { 0 };
        uint8_t file[128] = { 0 };

        memcpy(file, rows[i].header, sizeof(rows[i].header));
        CHECK_INT(rows[i].row, android_blob_parse(file, rows[i].size, &blob), rows[i].result);
        CHECK_INT(rows[i].row, blob.encrypted_size, rows[i].encrypted_size);
        CHECK(rows[i].row, rows[i].result < 0 || blob.iv == file + 4);
        CHECK(rows[i].row, rows[i].result < 0 || blob.info + blob.info_size == file + rows[i].size);
    }
    CHECK_END();
}

static void plains(void **state)
{
    static const struct {
        const char *row;
        uint8_t length[4];
        size_t size;
        int result;
        size_t value_size;
    } rows[] = {
        { "nothing", { 0 }, 0, -EBADMSG, 0 },
        { "a digest", { 0 }, 16, -EBADMSG, 0 },
        { "an empty value", { 0 }, 32, 0, 0 },
        { "all of it", { 0, 0, 0, 12 }, 32, 0, 12 },
        { "too much", { 0, 0, 0, 13 }, 32, -EBADMSG, 0 },
        { "negative, as Android would say", { 0xff, 0xff, 0xff, 0xff }, 32, -EBADMSG, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct android_plain plain = { 0 };
        uint8_t bytes[32] = { 0 };

        memcpy(bytes + ANDROID_BLOCK_SIZE, rows[i].length, sizeof(rows[i].length));
        CHECK_INT(rows[i].row, android_plain_parse(bytes, rows[i].size, &plain), rows[i].result);
        CHECK_INT(rows[i].row, plain.value_size, rows[i].value_size);
        CHECK(rows[i].row, rows[i].result < 0 || plain.value == bytes + 20);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),
        cmocka_unit_test(blobs),
        cmocka_unit_test(plains),
    };

    return RUN_TESTS(tests);
}
