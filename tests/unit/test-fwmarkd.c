/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* wire/fwmarkd: which lengths are a request of which command (android.md §1.2, §1.3), and its fields. */

#include "unit/check.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "wire/fwmarkd.h"

enum { LENGTHS_MAX = 64 };

/* clang-format off */
static const struct {
    const char *name;
    int32_t id;
    bool alone, with_destination, needs_socket;
} commands[] = {
    { "ON_ACCEPT",            0, true,  false, true },
    { "ON_CONNECT",           1, true,  true,  true },
    { "SELECT_NETWORK",       2, true,  false, true },
    { "PROTECT_FROM_VPN",     3, true,  false, true },
    { "SELECT_FOR_USER",      4, true,  false, true },
    { "QUERY_USER_ACCESS",    5, true,  false, false },
    { "ON_CONNECT_COMPLETE",  6, false, true,  true },
    { "TAG_SOCKET",           7, true,  false, true },
    { "UNTAG_SOCKET",         8, true,  false, true },
    { "SET_COUNTERSET",       9, true,  false, false },
    { "DELETE_TAGDATA",      10, true,  false, false },
    { "ON_SENDMMSG",         11, true,  true,  true },
    { "ON_SENDMSG",          12, true,  true,  true },
    { "ON_SENDTO",           13, true,  true,  true },
    { "command",             14, true,  false, true },
    { "command",             -1, true,  false, true },
    { "command",      INT32_MAX, true,  false, true },
    { "command",      INT32_MIN, true,  false, true },
};
/* clang-format on */

static void put(unsigned char *bytes, size_t offset, uint32_t value)
{
    memcpy(bytes + offset, &value, sizeof(value));
}

/* A command, and what stands behind it in a message of that length. */
static void make_request(unsigned char *bytes, int32_t id)
{
    memset(bytes, 0x5a, LENGTHS_MAX);
    put(bytes, 0, (uint32_t)id);
    put(bytes, 4, 100);
    put(bytes, 8, 0xfffffffe);
    put(bytes, 12, 7);
}

static void test_lengths(void **state)
{
    unsigned char bytes[LENGTHS_MAX];
    char row[64];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(commands); i++)
        for (size_t size = 0; size < LENGTHS_MAX; size++) {
            bool alone = size == 12 || size == 16, with = size == 48 || size == 52;
            bool good = (commands[i].alone && alone) || (commands[i].with_destination && with);
            struct fwmarkd_request r = { .netid = 1 };

            snprintf(row, sizeof(row), "%s of %zu bytes", commands[i].name, size);
            make_request(bytes, commands[i].id);
            CHECK_INT(row, fwmarkd_parse(bytes, size, &r), good ? 0 : -EBADMSG);
            CHECK_INT(row, r.netid, good ? 100 : 1); /* untouched on failure */
            if (!good)
                continue;
            CHECK_INT(row, r.id, commands[i].id);
            CHECK_INT(row, r.uid, 0xfffffffe);
            CHECK_INT(row, r.traffic_ctrl_info, size == 16 || size == 52 ? 7 : 0);
            CHECK_INT(row, r.scope, 0);
        }
    CHECK_END();
}

static void test_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(commands); i++) {
        CHECK_TEXT(commands[i].name, fwmarkd_id_to_string(commands[i].id), commands[i].name);
        CHECK_INT(commands[i].name, fwmarkd_needs_socket(commands[i].id), commands[i].needs_socket);
    }
    CHECK_END();
}

static const struct {
    const char *addr;
    uint16_t family;
    uint32_t scope_id, expected;
} destinations[] = {
    { "fe80::1", AF_INET6, 3, 3 },
    { "febf:ffff::1", AF_INET6, UINT32_MAX, UINT32_MAX },
    { "fe80::1", AF_INET6, 0, 0 },
    { "fe7f::1", AF_INET6, 3, 0 },
    { "fec0::1", AF_INET6, 3, 0 },
    { "ff02::1", AF_INET6, 3, 0 },
    { "2001:db8::1", AF_INET6, 3, 0 },
    { "::", AF_INET6, 3, 0 },
    { "::ffff:169.254.0.1", AF_INET6, 3, 0 },
    { "fe80::1", AF_INET, 3, 0 },
    { "fe80::1", AF_UNSPEC, 3, 0 },
};

static void test_destinations(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(destinations); i++)
        for (size_t head = 12; head <= 16; head += 4) {
            unsigned char bytes[LENGTHS_MAX];
            struct fwmarkd_request r;

            make_request(bytes, FWMARKD_ON_CONNECT);
            memcpy(bytes + head + 8, &destinations[i].family, sizeof(uint16_t));
            (void)inet_pton(AF_INET6, destinations[i].addr, bytes + head + 16);
            put(bytes, head + 32, destinations[i].scope_id);
            CHECK_INT(destinations[i].addr, fwmarkd_parse(bytes, head + 36, &r), 0);
            CHECK_INT(destinations[i].addr, r.scope, destinations[i].expected);
        }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_destinations),
    };

    return RUN_TESTS(tests);
}
