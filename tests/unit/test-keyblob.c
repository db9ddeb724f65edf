/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/keyblob: what the keystore's files look like, and what is none of them. */

#include "unit/check.h"

#include <errno.h>

#include "wire/keyblob.h"

static struct keystore_key key_of(const char *bytes, size_t size)
{
    struct keystore_key key = { .size = (uint8_t)size };

    memcpy(key.bytes, bytes, size);
    return key;
}

/* clang-format off */
static const struct {
    const char *name;
    uint32_t owner;
    const char *key;
    size_t size;
    bool is_name;
} names[] = {
    { "1000_6b6579", 1000, "key", 3, true },
    { "0_", 0, "", 0, true },
    { "4294967294_00ff2f", 4294967294, "\0\xff/", 3, true },
    { "1016_fd61737465726b6579", 1016, "\xfd" "asterkey", 9, true },
    { "4294967295_6b", 0, NULL, 0, false }, /* no uid */
    { "42949672940_6b", 0, NULL, 0, false },
    { "01_6b", 0, NULL, 0, false }, /* written otherwise */
    { "1_6B", 0, NULL, 0, false },
    { "1_6", 0, NULL, 0, false },
    { "1_6g", 0, NULL, 0, false },
    { "+1_6b", 0, NULL, 0, false },
    { " 1_6b", 0, NULL, 0, false },
    { "1_6b~", 0, NULL, 0, false },
    { "_6b", 0, NULL, 0, false },
    { "1", 0, NULL, 0, false },
    { "", 0, NULL, 0, false },
    { ".new", 0, NULL, 0, false },
    { "masterkey", 0, NULL, 0, false },
};
/* clang-format on */

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        char written[KEYBLOB_NAME_SIZE];
        struct keystore_key key = { 0 }, expected;
        uint32_t owner = 77;
        int r = keyblob_name_parse(names[i].name, &owner, &key);

        CHECK_INT(names[i].name, r, names[i].is_name ? 0 : -EBADMSG);
        if (!names[i].is_name) {
            CHECK_INT(names[i].name, owner, 77);
            continue;
        }
        expected = key_of(names[i].key, names[i].size);
        CHECK_INT(names[i].name, owner, names[i].owner);
        CHECK(names[i].name, keystore_key_equal(&key, &expected));
        keyblob_name_write(written, names[i].owner, &expected);
        CHECK_TEXT(names[i].name, written, names[i].name);
    }
    CHECK_END();
}

static void test_longest_name(void **state)
{
    struct keystore_key key = { .size = KEYSTORE_KEY_MAX }, found;
    char name[KEYBLOB_NAME_SIZE + 4];
    uint32_t owner;

    (void)state;
    memset(key.bytes, 0xff, sizeof(key.bytes));
    keyblob_name_write(name, UINT32_MAX - 1, &key);
    CHECK_INT("NAME_MAX", strlen(name), 251);
    CHECK_INT("parsed", keyblob_name_parse(name, &owner, &found), 0);
    CHECK("parsed", keystore_key_equal(&key, &found));
    strcpy(name + strlen(name), "ff");
    CHECK_INT("one more", keyblob_name_parse(name, &owner, &found), -EBADMSG);
    CHECK_INT("with a short uid", keyblob_name_parse(name + 9, &owner, &found), -EBADMSG);
    CHECK_END();
}

/* clang-format off */
static const struct {
    const char *text;
    size_t n; /* 0: no grants */
    uint32_t uids[3];
} grants[] = {
    { "0\n", 1, { 0 } },
    { "1\n1016\n4294967294\n", 3, { 1, 1016, 4294967294 } },
    { "", 0, { 0 } },
    { "\n", 0, { 0 } },
    { "1", 0, { 0 } },
    { "1\n2", 0, { 0 } },
    { "2\n1\n", 0, { 0 } },
    { "1\n1\n", 0, { 0 } },
    { "1\n\n2\n", 0, { 0 } },
    { "1 \n", 0, { 0 } },
    { "-1\n", 0, { 0 } },
    { "01\n", 0, { 0 } },
    { "4294967295\n", 0, { 0 } },
    { "99999999999999999999\n", 0, { 0 } },
};
/* clang-format on */

static void test_grants(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(grants); i++) {
        uint32_t uids[KEYBLOB_GRANTS_MAX];
        char written[KEYBLOB_GRANTS_FILE_MAX];
        size_t n = 0, size = strlen(grants[i].text);
        int r = keyblob_grants_parse(grants[i].text, size, uids, &n);

        CHECK_INT(grants[i].text, r, grants[i].n > 0 ? 0 : -EBADMSG);
        CHECK_INT(grants[i].text, n, grants[i].n);
        CHECK(grants[i].text, mem_equal(uids, grants[i].uids, n * sizeof(uids[0])));
        if (grants[i].n > 0) {
            CHECK_INT(grants[i].text, keyblob_grants_write(written, uids, n), size);
            CHECK(grants[i].text, memcmp(written, grants[i].text, size) == 0);
        }
    }
    CHECK_END();
}

static void test_most_grants(void **state)
{
    uint32_t uids[KEYBLOB_GRANTS_MAX + 1], found[KEYBLOB_GRANTS_MAX];
    char text[KEYBLOB_GRANTS_FILE_MAX + 11];
    size_t n = 0, size;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(uids); i++)
        uids[i] = (uint32_t)(UINT32_MAX - 1 - ELEMENTSOF(uids) + i);
    size = keyblob_grants_write(text, uids, KEYBLOB_GRANTS_MAX);
    CHECK_INT("most", size, KEYBLOB_GRANTS_FILE_MAX);
    CHECK_INT("most", keyblob_grants_parse(text, size, found, &n), 0);
    CHECK_INT("most", n, KEYBLOB_GRANTS_MAX);
    size += keyblob_grants_write(text + size, &uids[KEYBLOB_GRANTS_MAX], 1);
    CHECK_INT("one more", keyblob_grants_parse(text, size, found, &n), -EBADMSG);
    CHECK_END();
}

static void test_tries(void **state)
{
    char text[KEYBLOB_TRIES_SIZE];
    unsigned wrong;

    (void)state;
    for (unsigned i = 0; i <= KEYSTORE_TRIES; i++) {
        keyblob_tries_write(text, i);
        CHECK_INT("tries", keyblob_tries_parse(text, sizeof(text), &wrong), 0);
        CHECK_INT("tries", wrong, i);
    }
    for (size_t i = 0; i < sizeof(text); i++)
        CHECK_INT("cut off", keyblob_tries_parse(text, i, &wrong), -EBADMSG);
    text[KEYBLOB_TRIES_DIGIT]++;
    CHECK_INT("too many", keyblob_tries_parse(text, sizeof(text), &wrong), -EBADMSG);
    text[KEYBLOB_TRIES_DIGIT] = '/';
    CHECK_INT("no digit", keyblob_tries_parse(text, sizeof(text), &wrong), -EBADMSG);
    CHECK_END();
}

static void test_values(void **state)
{
    static const uint8_t nonce[KEYBLOB_NONCE_SIZE] = { 1, 2, 3 };
    uint8_t *file = calloc(1, KEYBLOB_VALUE_FILE_MAX + 1);
    struct keyblob_value value;

    (void)state;
    keyblob_value_header(file, nonce);
    CHECK("header", memcmp(file, "WMVALUE1\1\2\3", 11) == 0);
    for (size_t i = 0; i < KEYBLOB_VALUE_OVERHEAD; i++)
        CHECK_INT("cut off", keyblob_value_parse(file, i, &value), -EBADMSG);
    CHECK_INT("empty", keyblob_value_parse(file, KEYBLOB_VALUE_OVERHEAD, &value), 0);
    CHECK("empty", value.nonce == file + 8 && value.sealed == file + 32 && value.sealed_size == 16);
    CHECK_INT("most", keyblob_value_parse(file, KEYBLOB_VALUE_FILE_MAX, &value), 0);
    CHECK_INT("most", value.sealed_size, KEYSTORE_VALUE_MAX + 16);
    CHECK_INT("more", keyblob_value_parse(file, KEYBLOB_VALUE_FILE_MAX + 1, &value), -EBADMSG);
    file[7] = '2';
    CHECK_INT("version", keyblob_value_parse(file, KEYBLOB_VALUE_OVERHEAD, &value), -EBADMSG);
    free(file);
    CHECK_END();
}

/* A key's end cannot be taken for another's: its length is in it. */
static void test_about(void **state)
{
    static const uint8_t expected[] = { 'W', 'M', 'V', 'A',  'L', 'U', 'E', '1',
                                        0,   0,   3,   0xf8, 3,   'k', 'e', 'y' };
    uint8_t about[KEYBLOB_VALUE_ABOUT_MAX];
    struct keystore_key key = key_of("key", 3);

    (void)state;
    CHECK_INT("size", keyblob_value_about(about, 1016, &key), sizeof(expected));
    CHECK("bytes", memcmp(about, expected, sizeof(expected)) == 0);
    CHECK_END();
}

static struct keyblob_master both(void)
{
    struct keyblob_master m = { .slots = {
                                    [KEYBLOB_PASSWORD] = { .used = true,
                                                           .passes = 3,
                                                           .memory = 65536 },
                                    [KEYBLOB_KEY_FILE] = { .used = true },
                                } };

    for (size_t i = 0; i < ELEMENTSOF(m.slots); i++) {
        memset(m.slots[i].salt, 0x10 + (int)i, sizeof(m.slots[i].salt));
        memset(m.slots[i].nonce, 0x20 + (int)i, sizeof(m.slots[i].nonce));
        memset(m.slots[i].sealed, 0x30 + (int)i, sizeof(m.slots[i].sealed));
    }
    return m;
}

static void test_master(void **state)
{
    struct keyblob_master m = both(), found;
    uint8_t file[KEYBLOB_MASTER_FILE_MAX];

    (void)state;
    for (unsigned used = 1; used < 4; used++) {
        size_t size;

        m.slots[KEYBLOB_PASSWORD].used = used & 1;
        m.slots[KEYBLOB_KEY_FILE].used = used & 2;
        memset(file, 0xee, sizeof(file));
        size = keyblob_master_write(file, &m);
        CHECK_INT("size", size, 16 + (used == 3 ? 2 : 1) * 100);
        size += KEYBLOB_DIGEST_SIZE;
        memset(&found, 0, sizeof(found));
        CHECK_INT("parsed", keyblob_master_parse(file, size, &found), 0);
        for (size_t i = 0; i < ELEMENTSOF(m.slots); i++) {
            CHECK_INT("used", found.slots[i].used, m.slots[i].used);
            if (m.slots[i].used)
                CHECK("slot", memcmp(&found.slots[i], &m.slots[i], sizeof(m.slots[i])) == 0);
        }
        for (size_t i = 0; i < size; i++)
            CHECK_INT("cut off", keyblob_master_parse(file, i, &found), -EBADMSG);
    }
    CHECK_END();
}

/* clang-format off */
static const struct {
    const char *name;
    size_t offset; /* of a file with both slots */
    uint8_t byte;
} not_masters[] = {
    { "magic", 0, 'X' },
    { "no slot", 8, 0 },
    { "fewer slots", 8, 1 },
    { "more slots", 8, 3 },
    { "reserved", 9, 1 },
    { "reserved", 15, 1 },
    { "kind 0", 16, 0 },
    { "the same kind twice", 16, 2 },
    { "reserved of a slot", 17, 1 },
    { "no passes", 23, 0 },
    { "too many passes", 23, 65 },
    { "passes without end", 20, 1 },
    { "too little memory", 25, 0 },
    { "too much memory", 24, 1 },
    { "a key file's passes", 123, 1 },
    { "a key file's memory", 127, 1 },
    { "a kind of later", 116, 3 },
};
/* clang-format on */

static void test_not_masters(void **state)
{
    struct keyblob_master m = both(), found;
    uint8_t file[KEYBLOB_MASTER_FILE_MAX];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(not_masters); i++) {
        size_t size = keyblob_master_write(file, &m) + KEYBLOB_DIGEST_SIZE;

        CHECK_INT("before", keyblob_master_parse(file, size, &found), 0);
        file[not_masters[i].offset] = not_masters[i].byte;
        CHECK_INT(not_masters[i].name, keyblob_master_parse(file, size, &found), -EBADMSG);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),       cmocka_unit_test(test_longest_name),
        cmocka_unit_test(test_grants),      cmocka_unit_test(test_most_grants),
        cmocka_unit_test(test_tries),       cmocka_unit_test(test_values),
        cmocka_unit_test(test_about),       cmocka_unit_test(test_master),
        cmocka_unit_test(test_not_masters),
    };

    return RUN_TESTS(tests);
}
