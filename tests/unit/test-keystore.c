/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The keystore's protocol: who may do what in which state (keystore/policy), one row per action and one
 * cell per class and state; and reading a request that comes in pieces (wire/keystore), cut at each byte.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "keystore/policy.h"
#include "wire/keystore.h"

enum { SYSTEM = 1000, VPN = 1016, WIFI = 1010, OTHER = 10001 };

#define POLICY                                     \
    {                                              \
        .system = SYSTEM, .vpn = VPN, .wifi = WIFI \
    }

static const struct policy policy = POLICY;
static const uid_t uids[POLICY_CLASS_MAX] = { SYSTEM, VPN, WIFI, 0, OTHER };

/* What is answered in the states 1, 2 and 3; '.': it is done. */
/* clang-format off */
static const struct {
    uint8_t code;
    const char *cells[POLICY_CLASS_MAX]; /* system, vpn, wifi, root, other */
} rows[] = {
    { 't', { "...", "666", "666", "666", "..." } },
    { 'g', { "666", ".23", ".23", ".23", ".23" } },
    { 'i', { ".23", "666", "666", "666", ".23" } },
    { 'd', { "...", "666", "666", "666", "..." } },
    { 'e', { "...", "666", "666", "666", "..." } },
    { 's', { "...", "666", "666", "666", "..." } },
    { 'r', { "...", "666", "666", "666", "666" } },
    { 'p', { "...", "666", "666", "666", "666" } },
    { 'l', { ".23", "666", "666", "666", "666" } },
    { 'u', { "1.3", "666", "666", "666", "666" } },
    { 'z', { "...", "666", "666", "666", "666" } },
    { 'x', { "...", "666", "666", "666", "..." } },
    { 'y', { "...", "666", "666", "666", "..." } },
    { 'a', { "999", "999", "999", "999", "999" } },
    { 'G', { "999", "999", "999", "999", "999" } },
    { 0xff, { "999", "999", "999", "999", "999" } },
    { 0, { "999", "999", "999", "999", "999" } },
};
/* clang-format on */

static void test_cells(void **state)
{
    char row[64];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        for (int class = 0; class < POLICY_CLASS_MAX; class ++)
            for (int in = KEYSTORE_NO_ERROR; in <= KEYSTORE_UNINITIALIZED; in++) {
                char cell = rows[i].cells[class][in - 1];
                struct keystore_reader r = { 0 };

                snprintf(row, sizeof(row), "%c by class %d in state %d", rows[i].code, class, in);
                keystore_reader_feed(&r, &rows[i].code, 1);
                CHECK_INT(row, policy_check(&policy, uids[class], &r, (enum keystore_answer)in),
                          cell == '.' ? 0 : cell - '0');
            }
    CHECK_END();
}

static const struct {
    const char *name;
    struct policy policy;
    uid_t uid, owner;
    enum policy_class class;
} classes[] = {
    { "system", POLICY, SYSTEM, SYSTEM, POLICY_SYSTEM },
    { "vpn looks up as system", POLICY, VPN, SYSTEM, POLICY_VPN },
    { "wifi does", POLICY, WIFI, SYSTEM, POLICY_WIFI },
    { "root does", POLICY, 0, SYSTEM, POLICY_ROOT },
    { "other is himself", POLICY, OTHER, OTHER, POLICY_OTHER },
    { "the last uid", POLICY, UINT32_MAX - 1, UINT32_MAX - 1, POLICY_OTHER },
    { "root can be system", { 0, VPN, WIFI }, 0, 0, POLICY_SYSTEM },
    { "the first class counts", { VPN, VPN, VPN }, VPN, VPN, POLICY_SYSTEM },
    { "no vpn", { SYSTEM, POLICY_NOBODY, WIFI }, VPN, VPN, POLICY_OTHER },
    { "no system", { POLICY_NOBODY, VPN, WIFI }, VPN, VPN, POLICY_VPN },
    { "nobody is nothing",
      { POLICY_NOBODY, POLICY_NOBODY, POLICY_NOBODY },
      POLICY_NOBODY,
      POLICY_NOBODY,
      POLICY_OTHER },
};

static void test_classes(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(classes); i++) {
        CHECK_INT(classes[i].name, policy_class_of(&classes[i].policy, classes[i].uid),
                  classes[i].class);
        CHECK_INT(classes[i].name, policy_owner(&classes[i].policy, classes[i].uid),
                  classes[i].owner);
    }
    CHECK_END();
}

#define KEY_119                                                              \
    "0123456789012345678901234567890123456789012345678901234567890123456789" \
    "0123456789012345678901234567890123456789012345678"

/* What a whole request is; `ends` are the other sizes at which it would be one, too. */
static const struct {
    const char *name;
    const char *bytes;
    size_t size;
    uint8_t n;
    const char *first, *second; /* its parameters */
    uint32_t uid;
    size_t also_ends;
    bool is_wrong; /* at its last byte */
} requests[] = {
    { "test", "t", 1, 0, NULL, NULL, 0, 0, false },
    { "test and more", "tx", 2, 0, NULL, NULL, 0, 1, true },
    { "get", "g\0\3key", 6, 1, "key", NULL, 0, 0, false },
    { "get of the empty key", "g\0\0", 3, 1, "", NULL, 0, 0, false },
    { "get and more", "g\0\1k\0", 5, 1, "k", NULL, 0, 4, true },
    { "get, a long one", "g\0w" KEY_119, 122, 1, KEY_119, NULL, 0, 0, false },
    { "get, too long", "g\0\171", 3, 0, NULL, NULL, 0, 0, true },
    { "get, far too long", "g\377\377", 3, 0, NULL, NULL, 0, 0, true },
    { "insert", "i\0\1k\0\3val", 9, 2, "k", "val", 0, 0, false },
    { "insert of nothing", "i\0\0\0\0", 5, 2, "", "", 0, 0, false },
    { "insert and more", "i\0\0\0\0!", 6, 2, "", "", 0, 5, true },
    { "insert, too long", "i\0\1k\200\1", 6, 1, "k", NULL, 0, 0, true },
    { "password", "p\0\3old\0\3new", 11, 2, "old", "new", 0, 6, false },
    { "password of one", "p\0\2pw", 5, 1, "pw", NULL, 0, 0, false },
    { "unlock", "u\0\2pw", 5, 1, "pw", NULL, 0, 0, false },
    { "grant", "x\0\1k\0\0041016", 10, 2, "k", "1016", 1016, 0, false },
    { "ungrant root", "y\0\1k\0\0010", 7, 2, "k", "0", 0, 0, false },
    { "grant, the last uid", "x\0\1k\0\0124294967294", 16, 2, "k", "4294967294", 4294967294, 0,
      false },
    { "grant to nobody", "x\0\1k\0\0124294967295", 16, 1, "k", NULL, 4294967295, 0, true },
    { "grant, beyond uids", "x\0\1k\0\0124294967296", 16, 1, "k", NULL, 0, 0, true },
    { "grant, eleven digits", "x\0\1k\0\013", 6, 1, "k", NULL, 0, 0, true },
    { "grant to no digits", "x\0\1k\0\0", 6, 1, "k", NULL, 0, 0, true },
    { "grant to a sign", "x\0\1k\0\2-", 7, 1, "k", NULL, 0, 0, true },
    { "grant to a name", "x\0\1k\0\0041a", 8, 1, "k", NULL, 0, 0, true },
};

static void check_parameter(const char *row, const char *bytes, const struct keystore_span *span,
                            const char *expected)
{
    CHECK_INT(row, span->size, strlen(expected));
    CHECK(row, memcmp(bytes + span->offset, expected, span->size) == 0);
}

static void check_end_of(size_t i, const char *row, const struct keystore_reader *r)
{
    CHECK_INT(row, r->wrong, requests[i].is_wrong);
    CHECK_INT(row, keystore_reader_may_end(r), !requests[i].is_wrong);
    CHECK_INT(row, r->size, requests[i].size);
    CHECK_INT(row, r->n, requests[i].n);
    if (requests[i].first && r->n > 0)
        check_parameter(row, requests[i].bytes, &r->spans[0], requests[i].first);
    if (requests[i].second && r->n > 1)
        check_parameter(row, requests[i].bytes, &r->spans[1], requests[i].second);
    if (!requests[i].is_wrong)
        CHECK_INT(row, r->uid, requests[i].uid);
}

/* Fed in two pieces, and byte by byte: the same; and every beginning is no request. */
static void test_cut(void **state)
{
    char row[64];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
        const uint8_t *bytes = (const uint8_t *)requests[i].bytes;
        struct keystore_reader single = { 0 };

        for (size_t cut = 0; cut <= requests[i].size; cut++) {
            struct keystore_reader r = { 0 };
            bool ends = cut == requests[i].size ? !requests[i].is_wrong
                                                : cut > 0 && cut == requests[i].also_ends;

            snprintf(row, sizeof(row), "%s, cut at %zu", requests[i].name, cut);
            keystore_reader_feed(&r, bytes, cut);
            CHECK_INT(row, keystore_reader_may_end(&r), ends);
            CHECK_INT(row, r.wrong, requests[i].is_wrong && cut == requests[i].size);
            CHECK(row, keystore_reader_needs(&r) <= requests[i].size || requests[i].is_wrong);
            CHECK(row, keystore_reader_needs(&r) > cut || ends || cut == requests[i].size);
            keystore_reader_feed(&r, bytes + cut, requests[i].size - cut);
            check_end_of(i, row, &r);
        }
        for (size_t at = 0; at < requests[i].size; at++)
            keystore_reader_feed(&single, bytes + at, 1);
        check_end_of(i, requests[i].name, &single);
    }
    CHECK_END();
}

/* The longest that there can be; and nothing is read of what is known to be wrong. */
static void test_limits(void **state)
{
    static uint8_t bytes[KEYSTORE_REQUEST_MAX + 1];
    static const uint8_t value[KEYSTORE_VALUE_MAX];
    const struct keystore_blob longest[] = { { value, sizeof(value) }, { value, sizeof(value) } };
    struct keystore_reader r = { 0 };
    int size = keystore_request_write(KEYSTORE_PASSWORD, longest, 2, bytes, sizeof(bytes));

    (void)state;
    CHECK_INT("the longest", size, KEYSTORE_REQUEST_MAX);
    keystore_reader_feed(&r, bytes, 4);
    CHECK_INT("the longest", keystore_reader_needs(&r), 1 + 2 + KEYSTORE_VALUE_MAX);
    keystore_reader_feed(&r, bytes + 4, (size_t)size - 4);
    CHECK("the longest", keystore_reader_may_end(&r));
    keystore_reader_feed(&r, bytes, 1);
    CHECK("one more", r.wrong);
    keystore_reader_feed(&r, bytes, sizeof(bytes));
    CHECK_INT("all that comes then", r.size, KEYSTORE_REQUEST_MAX + 1);
    r = (struct keystore_reader){ 0 };
    keystore_reader_feed(&r, (const uint8_t *)"qqqq", 4);
    CHECK_INT("an action that is not known", r.size, 1);
    CHECK_END();
}

static void test_longest_key(void **state)
{
    static const uint8_t bytes[KEYSTORE_KEY_MAX + 1];
    const struct keystore_blob key = { bytes, KEYSTORE_KEY_MAX }, longer = { bytes, sizeof(bytes) };
    uint8_t request[sizeof(bytes) + 3];
    struct keystore_reader r = { 0 };
    int size = keystore_request_write(KEYSTORE_GET, &key, 1, request, sizeof(request));

    (void)state;
    CHECK_INT("120", size, 123);
    keystore_reader_feed(&r, request, (size_t)MAX(size, 0));
    CHECK("120", keystore_reader_may_end(&r));
    CHECK_INT("121", keystore_request_write(KEYSTORE_GET, &longer, 1, request, sizeof(request)),
              -EMSGSIZE);
    CHECK_END();
}

static void test_write(void **state)
{
    const struct keystore_blob key = { "k", 1 }, both[] = { { "k", 1 }, { "val", 3 } },
                               uid[] = { { "k", 1 }, { "12345678901", 11 } };
    uint8_t bytes[32];

    (void)state;
    CHECK_INT("get", keystore_request_write(KEYSTORE_GET, &key, 1, bytes, sizeof(bytes)), 4);
    CHECK("get", memcmp(bytes, "g\0\1k", 4) == 0);
    CHECK_INT("insert", keystore_request_write(KEYSTORE_INSERT, both, 2, bytes, 9), 9);
    CHECK("insert", memcmp(bytes, "i\0\1k\0\3val", 9) == 0);
    CHECK_INT("no room", keystore_request_write(KEYSTORE_INSERT, both, 2, bytes, 8), -ENOBUFS);
    CHECK_INT("too few", keystore_request_write(KEYSTORE_INSERT, both, 1, bytes, 32), -EINVAL);
    CHECK_INT("too many", keystore_request_write(KEYSTORE_GET, both, 2, bytes, 32), -EINVAL);
    CHECK_INT("one password", keystore_request_write(KEYSTORE_PASSWORD, both, 1, bytes, 32), 4);
    CHECK_INT("too long", keystore_request_write(KEYSTORE_GRANT, uid, 2, bytes, 32), -EMSGSIZE);
    CHECK_INT("nothing", keystore_request_write(KEYSTORE_TEST, NULL, 0, bytes, 1), 1);
    CHECK_END();
}

static void test_messages(void **state)
{
    const uint8_t answer[] = "\0\3abc\0\0\0\2x", *at = answer;
    size_t left = sizeof(answer) - 1;
    struct keystore_blob message = { 0 };

    (void)state;
    CHECK_INT("first", keystore_message_next(&at, &left, &message), 1);
    CHECK("first", message.size == 3 && memcmp(message.data, "abc", 3) == 0);
    CHECK_INT("empty", keystore_message_next(&at, &left, &message), 1);
    CHECK_INT("empty", message.size, 0);
    CHECK_INT("cut off", keystore_message_next(&at, &left, &message), -EBADMSG);
    CHECK_INT("untouched", left, 3);
    left = 1;
    CHECK_INT("cut in its length", keystore_message_next(&at, &left, &message), -EBADMSG);
    left = 0;
    CHECK_INT("none", keystore_message_next(&at, &left, &message), 0);
    CHECK_END();
}

static void test_words(void **state)
{
    (void)state;
    for (int i = 0; i < KEYSTORE_ACTION_MAX; i++) {
        const struct keystore_action_row *row = keystore_action_row((enum keystore_action)i);

        CHECK_INT(row->name, keystore_action_of((uint8_t)row->code), i);
    }
    CHECK_INT("no action", keystore_action_of('q'), -EINVAL);
    CHECK_TEXT("7", keystore_answer_to_string(7), "key not found");
    CHECK_TEXT("13", keystore_answer_to_string(13), "wrong password, 3 tries are left");
    CHECK_TEXT("0", keystore_answer_to_string(0), "answer");
    CHECK_TEXT("14", keystore_answer_to_string(14), "answer");
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cells),       cmocka_unit_test(test_classes),
        cmocka_unit_test(test_cut),         cmocka_unit_test(test_limits),
        cmocka_unit_test(test_longest_key), cmocka_unit_test(test_write),
        cmocka_unit_test(test_messages),    cmocka_unit_test(test_words),
    };

    return RUN_TESTS(tests);
}
