/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/socket.h: which mark a socket gets. Each row has the step that decides, as numbered
 * there; the networks are 100 (the default), 101, 102 and the VPN 200.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "decide/socket-reason.h"
#include "decide/socket.h"

#define MARK_FOREIGN (~(uint32_t)MARK_ALL)

/* clang-format off */
#define NET(id, ...) { .netid = (id), .flags = SOCKET_NETWORK_USABLE, ##__VA_ARGS__ }
#define VPN_FLAGS    (SOCKET_NETWORK_VPN | SOCKET_NETWORK_USABLE)
#define BYPASSABLE   { .netid = 200, .flags = VPN_FLAGS | SOCKET_NETWORK_HAS_USER }
#define SECURE       { .netid = 200, .flags = VPN_FLAGS | SOCKET_NETWORK_HAS_USER | SOCKET_NETWORK_SECURE }
#define FOREIGN_VPN  { .netid = 200, .flags = VPN_FLAGS }
#define NETWORK      PERMISSION_NETWORK
#define SYSTEM       PERMISSION_SYSTEM
#define D            .default_netid = 100
#define SELECT(net)  .select_netid = 100, .selected = net

enum { E = MARK_EXPLICIT, P = MARK_PROTECTED, PN = 1 << 18, PS = 3 << 18 };

/* The command tables of android.md §1.5 and what assignments add. */
static const struct {
    unsigned step;
    const char *name;
    struct socket_question q;
    int error;
    uint32_t mark; /* when there is no error: with one, it is as before */
    uint32_t reason;
} rows[] = {
    { 1, "required: created", { SOCKET_CREATE, .strength = SOCKET_REQUIRE, .assigned = NET(101), D },
      0, E | 101, SOCKET_REASON_HELD },
    { 1, "the network demands more than the app has", { SOCKET_CONNECT, .strength = SOCKET_REQUIRE,
        .assigned = NET(101, .permission = SYSTEM), .permission = NETWORK, D },
      0, E | PN | 101, SOCKET_REASON_HELD },
    { 1, "the process's choice gives way", { SOCKET_CREATE, .strength = SOCKET_REQUIRE,
        .assigned = NET(101), SELECT(NET(100)), D }, 0, E | 101, SOCKET_REASON_HELD },
    { 1, "from a network that it left", { SOCKET_CONNECT, .mark = E | 102, .present = NET(102),
        .strength = SOCKET_REQUIRE, .assigned = NET(101), D }, 0, E | 101, SOCKET_REASON_HELD },
    { 1, "accepted: protected by the packet alone", { SOCKET_ACCEPT, .mark = E | P | 100,
        .present = NET(100), .strength = SOCKET_REQUIRE, .assigned = SECURE, D },
      0, E | 200, SOCKET_REASON_HELD },
    { 1, "root's, too", { SOCKET_ACCEPT, .mark = E | P | 100, .present = NET(100),
        .permission = SYSTEM, .strength = SOCKET_REQUIRE, .assigned = SECURE, D },
      0, E | PS | 200, SOCKET_REASON_HELD },
    { 1, "a VPN's own, protected, elsewhere than on a VPN", { SOCKET_CONNECT, .mark = P | 100,
        .present = NET(100), .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = NET(101), D },
      0, E | 101, SOCKET_REASON_HELD },
    { 1, "a VPN's own, not protected", { SOCKET_CONNECT, .mark = 100, .present = NET(100),
        .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = SECURE, D },
      0, E | 200, SOCKET_REASON_HELD },
    { 1, "a VPN's own, reset", { SOCKET_SELECT, .mark = P | 100, .present = NET(100),
        .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = SECURE, D },
      0, E | 200, SOCKET_REASON_HELD },
    { 1, "a VPN's own, of a VPN that is not there", { SOCKET_CONNECT, .mark = P | 100,
        .present = NET(100), .protectable = 1, .strength = SOCKET_REQUIRE, D },
      0, E | 52, SOCKET_REASON_BLOCKED },
    { 1, "a VPN's own, of `none`", { SOCKET_CONNECT, .mark = P | 100, .present = NET(100),
        .protectable = 1, .strength = SOCKET_NONE, D }, 0, E | 52, SOCKET_REASON_BLOCKED },
    { 1, "secure VPN of others: held all the same", { SOCKET_CONNECT, .vpn = SECURE,
        .strength = SOCKET_REQUIRE, .assigned = NET(101), D }, 0, E | 101, SOCKET_REASON_HELD },
    { 1, "root protects, under a VPN", { SOCKET_PROTECT, .permission = SYSTEM,
        .strength = SOCKET_REQUIRE, .assigned = SECURE, D }, -EPERM, 0, SOCKET_REASON_HELD_PROTECT },
    { 1, "a VPN protects, of a VPN that is not there", { SOCKET_PROTECT, .protectable = 1,
        .strength = SOCKET_REQUIRE, D }, -EPERM, 0, SOCKET_REASON_HELD_PROTECT },
    { 1, "a VPN protects, where it requires another network", { SOCKET_PROTECT, .protectable = 1,
        .strength = SOCKET_REQUIRE, .assigned = NET(101), D }, 0, E | 101, SOCKET_REASON_HELD },

    { 2, "the process's choice", { SOCKET_CREATE, SELECT(NET(100)), D }, 0, E | 100,
      SOCKET_REASON_CHOSEN },
    { 2, "the process's choice, before what is preferred", { SOCKET_CREATE, SELECT(NET(100)),
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, E | 100, SOCKET_REASON_CHOSEN },
    { 2, "the process's choice is gone", { SOCKET_CREATE, .select_netid = 100, D }, -ENONET, 0,
      SOCKET_REASON_NO_ACCESS },
    { 2, "the process's choice is not for it", { SOCKET_CREATE, SELECT(NET(100)), .vpn = SECURE, D },
      -EPERM, 0, SOCKET_REASON_NO_ACCESS },
    { 3, "no choice, nothing preferred", { SOCKET_CREATE, D }, 0, 0, SOCKET_REASON_UNMARKED },
    { 3, "secure VPN", { SOCKET_CREATE, .vpn = SECURE, .strength = SOCKET_PREFER,
        .assigned = NET(101), D }, 0, 0, SOCKET_REASON_UNMARKED },
    { 3, "bypassable VPN", { SOCKET_CREATE, .vpn = BYPASSABLE, .strength = SOCKET_PREFER,
        .assigned = NET(101), D }, 0, 0, SOCKET_REASON_UNMARKED },
    { 3, "root", { SOCKET_CREATE, .permission = SYSTEM, D }, 0, 0, SOCKET_REASON_UNMARKED },
    { 4, "preferred", { SOCKET_CREATE, .strength = SOCKET_PREFER, .assigned = NET(101),
        .permission = NETWORK, D }, 0, PN | 101, SOCKET_REASON_PREFERRED },

    { 5, "ON_ACCEPT: permission added", { SOCKET_ACCEPT, .mark = E | P | PN | 102,
        .present = NET(102), .permission = NETWORK, D }, 0, E | P | PN | 102,
      SOCKET_REASON_INCOMING },
    { 5, "ON_ACCEPT: none taken away", { SOCKET_ACCEPT, .mark = PS | 102, .present = NET(102), D },
      0, PS | 102, SOCKET_REASON_INCOMING },
    { 5, "a VPN's own, protected", { SOCKET_ACCEPT, .mark = E | P | 100, .present = NET(100),
        .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = SECURE, D }, 0, E | P | 100,
      SOCKET_REASON_INCOMING },

    { 6, "ON_CONNECT: E", { SOCKET_CONNECT, .mark = E | PS | 102, .present = NET(102), D },
      0, E | 102, SOCKET_REASON_EXPLICIT },
    { 6, "ON_CONNECT: E, P", { SOCKET_CONNECT, .mark = E | P | 102, .present = NET(102),
        .permission = NETWORK, .vpn = BYPASSABLE, D }, 0, E | P | PN | 102, SOCKET_REASON_EXPLICIT },
    { 6, "ON_CONNECT: E, on a VPN", { SOCKET_CONNECT, .mark = E | P | 200, .present = BYPASSABLE, D },
      0, E | P | 200, SOCKET_REASON_EXPLICIT },
    { 6, "ON_CONNECT: E, to link-local", { SOCKET_CONNECT, .mark = E | 102, .present = NET(102),
        .scoped = 1, .scope_netid = 101, D }, 0, E | 102, SOCKET_REASON_EXPLICIT },
    { 6, "ON_CONNECT: E, network gone", { SOCKET_CONNECT, .mark = E | 102, D }, 0, E | 102,
      SOCKET_REASON_EXPLICIT },
    { 6, "preferring does not matter", { SOCKET_CONNECT, .mark = E | 102, .present = NET(102),
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, E | 102, SOCKET_REASON_EXPLICIT },
    { 7, "ON_CONNECT: link-local", { SOCKET_CONNECT, .mark = 102, .present = NET(102),
        .scoped = 1, .scope_netid = 101, .permission = NETWORK, D }, 0, PN | 101,
      SOCKET_REASON_SCOPE },
    { 7, "ON_CONNECT: link-local, P", { SOCKET_CONNECT, .mark = P | 200, .present = BYPASSABLE,
        .scoped = 1, .scope_netid = 101, D }, 0, P | 101, SOCKET_REASON_SCOPE },
    { 7, "ON_CONNECT: link-local of no network", { SOCKET_CONNECT, .mark = 102,
        .present = NET(102), .scoped = 1, D }, 0, 0, SOCKET_REASON_SCOPE },
    { 7, "ON_CONNECT: link-local, under a VPN", { SOCKET_CONNECT, .vpn = BYPASSABLE, .scoped = 1,
        .scope_netid = 101, .strength = SOCKET_PREFER, .assigned = NET(102), D }, 0, 101,
      SOCKET_REASON_SCOPE },
    { 8, "ON_CONNECT: P, on a VPN", { SOCKET_CONNECT, .mark = P | 200, .present = SECURE,
        .permission = SYSTEM, D }, 0, P | PS | 200, SOCKET_REASON_PROXY },
    { 9, "ON_CONNECT: P, not on a VPN", { SOCKET_CONNECT, .mark = P | 102, .present = NET(102), D },
      0, P | 100, SOCKET_REASON_PROTECTED },
    { 9, "ON_CONNECT: P, N = 0", { SOCKET_CONNECT, .mark = P, .vpn = SECURE, D }, 0, P | 100,
      SOCKET_REASON_PROTECTED },
    { 9, "default `system`", { SOCKET_CONNECT, .mark = P | 102, .present = NET(102) }, 0, P,
      SOCKET_REASON_PROTECTED },
    { 9, "preferring does not matter", { SOCKET_CONNECT, .mark = P, .strength = SOCKET_PREFER,
        .assigned = NET(101), D }, 0, P | 100, SOCKET_REASON_PROTECTED },
    { 9, "a VPN's own, protected", { SOCKET_CONNECT, .mark = P, .protectable = 1,
        .strength = SOCKET_REQUIRE, .assigned = SECURE, D }, 0, P | 100, SOCKET_REASON_PROTECTED },
    { 10, "getNetworkForConnect: bypassable VPN", { SOCKET_CONNECT, .vpn = BYPASSABLE,
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, 200, SOCKET_REASON_VPN },
    { 10, "getNetworkForConnect: secure VPN", { SOCKET_CONNECT, .vpn = SECURE, D }, 0, 100,
      SOCKET_REASON_DEFAULT },
    { 10, "getNetworkForConnect: secure VPN, preferred", { SOCKET_CONNECT, .vpn = SECURE,
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, 101, SOCKET_REASON_PREFERRED },
    { 10, "getNetworkForConnect: preferred", { SOCKET_CONNECT, .strength = SOCKET_PREFER,
        .assigned = NET(101), D }, 0, 101, SOCKET_REASON_PREFERRED },
    { 10, "getNetworkForConnect: D", { SOCKET_CONNECT, .permission = NETWORK, D }, 0, PN | 100,
      SOCKET_REASON_DEFAULT },
    { 10, "connected again, VPN gone", { SOCKET_CONNECT, .mark = 200, D }, 0, 100,
      SOCKET_REASON_DEFAULT },
    { 10, "default `system`", { SOCKET_CONNECT, .mark = 102, .present = NET(102) }, 0, 0,
      SOCKET_REASON_DEFAULT },

    { 11, "SELECT_NETWORK 0", { SOCKET_SELECT, .mark = E | P | PS | 102, .present = NET(102),
        .permission = SYSTEM, D }, 0, 0, SOCKET_REASON_RESET },
    { 11, "SELECT_NETWORK 0, preferring", { SOCKET_SELECT, .mark = E | 102, .present = NET(102),
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, 0, SOCKET_REASON_RESET },
    { 12, "SELECT_NETWORK refused", { SOCKET_SELECT, .mark = E | 102, .present = NET(102),
        SELECT(NET(100, .permission = NETWORK)), D }, -EACCES, 0, SOCKET_REASON_NO_ACCESS },
    { 13, "SELECT_NETWORK", { SOCKET_SELECT, .mark = P | PS | 102, .present = NET(102),
        SELECT(NET(100)), D }, 0, E | 100, SOCKET_REASON_SELECTED },
    { 13, "SELECT_NETWORK, canProtect", { SOCKET_SELECT, SELECT(NET(100)), .vpn = SECURE,
        .protectable = 1, D }, 0, E | P | 100, SOCKET_REASON_SELECTED },
    { 13, "SELECT_NETWORK, preferring another", { SOCKET_SELECT, SELECT(NET(100)),
        .strength = SOCKET_PREFER, .assigned = NET(101), D }, 0, E | 100, SOCKET_REASON_SELECTED },
    { 13, "a VPN's own, protected", { SOCKET_SELECT, .mark = P, SELECT(NET(100)), .protectable = 1,
        .vpn = SECURE, .strength = SOCKET_REQUIRE, .assigned = SECURE, D }, 0, E | P | 100,
      SOCKET_REASON_SELECTED },

    { 14, "PROTECT_FROM_VPN: !canProtect", { SOCKET_PROTECT, .mark = 200, .present = SECURE,
        .permission = NETWORK, D }, -EPERM, 0, SOCKET_REASON_NO_PROTECT },
    { 15, "PROTECT_FROM_VPN: E=0, on a VPN", { SOCKET_PROTECT, .mark = PN | 200,
        .present = BYPASSABLE, .protectable = 1, D }, 0, P | PN | 100, SOCKET_REASON_PROTECTED },
    { 15, "default `system`", { SOCKET_PROTECT, .mark = 200, .present = SECURE, .protectable = 1 },
      0, P, SOCKET_REASON_PROTECTED },
    { 15, "a VPN's own, put there by step 1", { SOCKET_PROTECT, .mark = E | 200, .present = SECURE,
        .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = SECURE, D }, 0, P | 100,
      SOCKET_REASON_PROTECTED },
    { 16, "PROTECT_FROM_VPN: E=1, on a VPN", { SOCKET_PROTECT, .mark = E | 200,
        .present = BYPASSABLE, .protectable = 1, D }, 0, E | P | 200, SOCKET_REASON_PROTECTED },
    { 16, "PROTECT_FROM_VPN: not on a VPN", { SOCKET_PROTECT, .mark = PN | 102,
        .present = NET(102), .permission = SYSTEM, D }, 0, P | PS | 102, SOCKET_REASON_PROTECTED },
    { 16, "PROTECT_FROM_VPN: N = 0", { SOCKET_PROTECT, .protectable = 1, D }, 0, P,
      SOCKET_REASON_PROTECTED },
    { 16, "a VPN's own, on a network of its choice", { SOCKET_PROTECT, .mark = E | 102,
        .present = NET(102), .protectable = 1, .strength = SOCKET_REQUIRE, .assigned = SECURE, D },
      0, E | P | 102, SOCKET_REASON_PROTECTED },

    { 17, "SELECT_FOR_USER: no SYSTEM", { SOCKET_SELECT_FOR_USER, .mark = 102, .user_netid = 200,
        .permission = NETWORK, .protectable = 1, D }, -EPERM, 0, SOCKET_REASON_NO_SYSTEM },
    { 18, "SELECT_FOR_USER", { SOCKET_SELECT_FOR_USER, .mark = PN | 102, .present = NET(102),
        .user_netid = 200, .permission = SYSTEM, D }, 0, P | PS | 200, SOCKET_REASON_FOR_USER },
    { 18, "SELECT_FOR_USER: E stays", { SOCKET_SELECT_FOR_USER, .mark = E | 102,
        .present = NET(102), .user_netid = 200, .permission = SYSTEM, D }, 0, E | P | PS | 200,
      SOCKET_REASON_FOR_USER },

    { 0, "no such command", { SOCKET_COMMAND_MAX, .mark = E | 102, D }, -EPROTO, 0,
      SOCKET_REASON_UNKNOWN },
    { 0, "no such command, held", { UINT32_MAX, .mark = 102, .strength = SOCKET_NONE, D }, -EPROTO, 0,
      SOCKET_REASON_UNKNOWN },
};
/* clang-format on */

/* The answer must be the same whatever others have in the mark, and leave that alone. */
static void check_decision(const char *row, const struct socket_question *question, int error,
                           uint32_t mark, uint32_t reason)
{
    static const uint32_t others[] = { 0, MARK_BILLING, MARK_FOREIGN, MARK_FOREIGN | MARK_BILLING };

    for (size_t i = 0; i < ELEMENTSOF(others); i++) {
        struct socket_question q = *question;
        struct socket_answer a;
        char actual[16], expected[16];

        q.mark |= others[i];
        a = socket_decide(&q);
        snprintf(actual, sizeof(actual), "0x%08x", a.mark);
        snprintf(expected, sizeof(expected), "0x%08x",
                 (error < 0 ? question->mark : mark) | others[i]);
        CHECK_INT(row, a.error, error);
        CHECK_TEXT(row, actual, expected);
        CHECK_INT(row, a.reason, reason);
    }
}

static void test_decide(void **state)
{
    char name[128];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        snprintf(name, sizeof(name), "%u %s", rows[i].step, rows[i].name);
        check_decision(name, &rows[i].q, rows[i].error, rows[i].mark, rows[i].reason);
        CHECK_INT(name, socket_reason_step(rows[i].q.command, rows[i].reason),
                  rows[i].step == 15 ? 16 : rows[i].step);
    }
    CHECK_END();
}

/* Every step is in the table. */
static void test_steps(void **state)
{
    unsigned seen = 0;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        seen |= 1U << rows[i].step;
    CHECK_INT("steps", seen, (1U << 19) - 1);
    CHECK_END();
}

/* clang-format off */
/* The typical marks of android.md §1.1; some take a second command, connect(). */
static const struct {
    const char *name;
    struct socket_question q;
    bool then_connect;
    uint32_t mark;
} typical[] = {
    { "ordinary app, connect(), no VPN", { SOCKET_CONNECT, D }, false, 0x00000064 },
    { "ordinary app, connect(), secure VPN", { SOCKET_CONNECT, .vpn = SECURE, D }, false, 0x00000064 },
    { "ordinary app, connect(), bypassable VPN", { SOCKET_CONNECT, .vpn = BYPASSABLE, D }, false,
      0x000000c8 },
    { "app selects 100", { SOCKET_SELECT, SELECT(NET(100)), D }, true, 0x00010064 },
    { "app with NETWORK selects 100", { SOCKET_SELECT, SELECT(NET(100)), .permission = NETWORK, D },
      true, 0x00050064 },
    { "root selects 100", { SOCKET_SELECT, SELECT(NET(100)), .permission = SYSTEM, D }, true,
      0x000f0064 },
    { "root connect()", { SOCKET_CONNECT, .permission = SYSTEM, D }, false, 0x000c0064 },
    { "VPN's owner protect(), connect()", { SOCKET_PROTECT, .protectable = 1, .vpn = SECURE, D }, true,
      0x00020064 },
    { "DNS query, no VPN", { SOCKET_SELECT, SELECT(NET(100)), .permission = SYSTEM, D }, true,
      0x000f0064 },
    { "DNS query on VPN DNS", { SOCKET_SELECT_FOR_USER, .user_netid = 200, .permission = SYSTEM,
        .present = SECURE, D }, true, 0x000e00c8 },
    { "accepted on 100", { SOCKET_ACCEPT, .mark = 0x00030064, .present = NET(100), D }, false,
      0x00030064 },
};
/* clang-format on */

static void test_typical(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(typical); i++) {
        struct socket_question q = typical[i].q;
        struct socket_answer a = socket_decide(&q);

        CHECK_INT(typical[i].name, a.error, 0);
        if (typical[i].then_connect) {
            q.command = SOCKET_CONNECT;
            q.mark = a.mark;
            a = socket_decide(&q);
            CHECK_INT(typical[i].name, a.error, 0);
        }
        CHECK_INT(typical[i].name, a.mark, typical[i].mark);
    }
    CHECK_END();
}

/* Every strength × every command. The app's network is 101; it has no permission where not said. */
enum {
    MATRIX_CREATE,
    MATRIX_CHOSEN,    /* create, the process chose 100 */
    MATRIX_ACCEPT,    /* from 100 */
    MATRIX_CONNECT,   /* fresh */
    MATRIX_AGAIN,     /* connect, explicitly on 100 */
    MATRIX_SCOPED,    /* connect, to a link-local address on 102 */
    MATRIX_RESET,     /* select 0, explicitly on 100 */
    MATRIX_OTHER,     /* select 100 */
    MATRIX_OWN,       /* select 101 */
    MATRIX_PROTECT,   /* without being allowed to */
    MATRIX_PROTECT_S, /* with SYSTEM */
    MATRIX_USER,      /* for user, without SYSTEM */
    MATRIX_USER_S,    /* with SYSTEM: on 102 */
    MATRIX_MAX,
};

/* clang-format off */
static const struct socket_question columns[MATRIX_MAX] = {
    [MATRIX_CREATE] = { SOCKET_CREATE, D },
    [MATRIX_CHOSEN] = { SOCKET_CREATE, SELECT(NET(100)), D },
    [MATRIX_ACCEPT] = { SOCKET_ACCEPT, .mark = E | P | 100, .present = NET(100), D },
    [MATRIX_CONNECT] = { SOCKET_CONNECT, D },
    [MATRIX_AGAIN] = { SOCKET_CONNECT, .mark = E | 100, .present = NET(100), D },
    [MATRIX_SCOPED] = { SOCKET_CONNECT, .scoped = 1, .scope_netid = 102, D },
    [MATRIX_RESET] = { SOCKET_SELECT, .mark = E | 100, .present = NET(100), D },
    [MATRIX_OTHER] = { SOCKET_SELECT, SELECT(NET(100)), D },
    [MATRIX_OWN] = { SOCKET_SELECT, .select_netid = 101, .selected = NET(101), D },
    [MATRIX_PROTECT] = { SOCKET_PROTECT, .mark = 100, .present = NET(100), D },
    [MATRIX_PROTECT_S] = { SOCKET_PROTECT, .permission = SYSTEM, .mark = 100, .present = NET(100), D },
    [MATRIX_USER] = { SOCKET_SELECT_FOR_USER, .user_netid = 102, D },
    [MATRIX_USER_S] = { SOCKET_SELECT_FOR_USER, .user_netid = 102, .permission = SYSTEM, D },
};

/* In the order of the columns: a mark, or a negative errno. */
#define HELD(n) { E | (n), E | (n), E | (n), E | (n), E | (n), E | (n), E | (n), -EPERM, E | (n), \
                  -EPERM, E | PS | (n), -EPERM, -EPERM }
#define BLOCKED { E | 52, E | 52, E | 52, E | 52, E | 52, E | 52, E | 52, -EPERM, -EPERM, \
                  -EPERM, -EPERM, -EPERM, -EPERM }
#define FREE(created, connected) { \
    (created), E | 100, E | P | 100, (connected), E | 100, 102, 0, E | 100, E | 101, \
    -EPERM, P | PS | 100, -EPERM, P | PS | 102 }

static const struct {
    const char *name;
    uint32_t strength;
    struct socket_network assigned;
    int64_t cells[MATRIX_MAX];
} matrix[] = {
    { "unassigned", SOCKET_UNASSIGNED, { 0 }, FREE(0, 100) },
    { "require, usable", SOCKET_REQUIRE, NET(101), HELD(101) },
    { "require, unusable", SOCKET_REQUIRE, { .netid = 101 }, HELD(101) },
    { "require, missing", SOCKET_REQUIRE, { 0 }, BLOCKED },
    { "none", SOCKET_NONE, { 0 }, BLOCKED },
    { "prefer, usable", SOCKET_PREFER, NET(101), FREE(101, 101) },
    { "prefer, unusable", SOCKET_PREFER, { .netid = 101 }, FREE(0, 100) },
    { "prefer, missing", SOCKET_PREFER, { 0 }, FREE(0, 100) },
};
/* clang-format on */

static void test_strengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(matrix); i++)
        for (size_t j = 0; j < MATRIX_MAX; j++) {
            struct socket_question q = columns[j];
            struct socket_answer a;
            char name[64];

            q.strength = matrix[i].strength;
            q.assigned = matrix[i].assigned;
            q.mark |= MARK_FOREIGN | MARK_BILLING;
            a = socket_decide(&q);
            snprintf(name, sizeof(name), "%s, column %zu", matrix[i].name, j);
            CHECK_INT(name, a.error < 0 ? a.error : (int64_t)(a.mark & MARK_INCOMING),
                      matrix[i].cells[j]);
            CHECK_INT(name, a.mark & ~(uint32_t)MARK_INCOMING, MARK_FOREIGN | MARK_BILLING);
        }
    CHECK_END();
}

/* clang-format off */
/* android.md §1.6 checkUserNetworkAccess, with the numbers of its rows. */
static const struct {
    unsigned row;
    const char *name;
    struct socket_question q;
    struct socket_network network;
    int error;
} access_rows[] = {
    { 1, "no such network", { 0 }, { 0 }, -ENONET },
    { 1, "no such network, caller unknown", { .uid = UINT32_MAX }, { 0 }, -ENONET },
    { 1, "no such network, SYSTEM", { .permission = SYSTEM }, { 0 }, -ENONET },
    { 2, "caller unknown", { .uid = UINT32_MAX }, NET(100), -EREMOTEIO },
    { 2, "caller unknown, SYSTEM", { .uid = UINT32_MAX, .permission = SYSTEM }, NET(100), -EREMOTEIO },
    { 3, "SYSTEM: a VPN of others", { .permission = SYSTEM }, FOREIGN_VPN, 0 },
    { 3, "SYSTEM: under a secure VPN", { .permission = SYSTEM, .vpn = SECURE }, NET(100), 0 },
    { 3, "SYSTEM: demands SYSTEM", { .permission = SYSTEM }, NET(100, .permission = SYSTEM), 0 },
    { 4, "VPN of the app", { .vpn = SECURE }, SECURE, 0 },
    { 4, "VPN of others", { .permission = NETWORK, .protectable = 1 }, FOREIGN_VPN, -EPERM },
    { 5, "under a secure VPN", { .vpn = SECURE }, NET(100), -EPERM },
    { 5, "under a secure VPN, NETWORK", { .vpn = SECURE, .permission = NETWORK }, NET(100), -EPERM },
    { 5, "under a secure VPN, assigned", { .vpn = SECURE },
      { .netid = 100, .flags = SOCKET_NETWORK_HAS_USER }, -EPERM },
    { 5, "under a secure VPN, canProtect", { .vpn = SECURE, .protectable = 1 }, NET(100), 0 },
    { 5, "under a bypassable VPN", { .vpn = BYPASSABLE }, NET(100), 0 },
    { 5, "canProtect, but demands NETWORK", { .vpn = SECURE, .protectable = 1 },
      NET(100, .permission = NETWORK), -EACCES },
    { 6, "assigned, demands SYSTEM", { 0 },
      { .netid = 100, .flags = SOCKET_NETWORK_HAS_USER, .permission = SYSTEM }, 0 },
    { 7, "unreachable, assigned", { 0 },
      { .netid = 52, .flags = SOCKET_NETWORK_UNREACHABLE | SOCKET_NETWORK_HAS_USER }, 0 },
    { 7, "unreachable", { .permission = NETWORK },
      { .netid = 52, .flags = SOCKET_NETWORK_UNREACHABLE }, -EPERM },
    { 9, "demands nothing", { 0 }, NET(100), 0 },
    { 9, "demands NETWORK, has none", { 0 }, NET(100, .permission = NETWORK), -EACCES },
    { 9, "demands NETWORK, has it", { .permission = NETWORK }, NET(100, .permission = NETWORK), 0 },
    { 9, "demands SYSTEM, has NETWORK", { .permission = NETWORK }, NET(100, .permission = SYSTEM),
      -EACCES },
};
/* clang-format on */

static void test_access(void **state)
{
    char name[128];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(access_rows); i++) {
        struct socket_question q = access_rows[i].q;
        struct socket_answer a;

        snprintf(name, sizeof(name), "%u %s", access_rows[i].row, access_rows[i].name);
        CHECK_INT(name, socket_access(&q, &access_rows[i].network), access_rows[i].error);

        /* SELECT asks the same */
        q.command = SOCKET_SELECT;
        q.select_netid = 100;
        q.selected = access_rows[i].network;
        a = socket_decide(&q);
        CHECK_INT(name, a.error, access_rows[i].error);
    }
    CHECK_END();
}

static void test_can_protect(void **state)
{
    static const struct {
        uint32_t permission, protectable;
        bool can;
    } protect_rows[] = {
        { PERMISSION_NONE, 0, false },    { PERMISSION_NONE, 1, true },
        { PERMISSION_NETWORK, 0, false }, { PERMISSION_NETWORK, 1, true },
        { PERMISSION_SYSTEM, 0, true },   { PERMISSION_SYSTEM, 1, true },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(protect_rows); i++) {
        struct socket_question q = { .permission = protect_rows[i].permission,
                                     .protectable = protect_rows[i].protectable };
        char name[32];

        snprintf(name, sizeof(name), "%u, %u", q.permission, q.protectable);
        CHECK_INT(name, socket_can_protect(&q), protect_rows[i].can);
    }
    CHECK_END();
}

/* getNetworkForUser: the first VPN that captures the user, its own network, D. */
static void test_for_user(void **state)
{
    static const struct {
        const char *name;
        struct socket_network vpn;
        uint32_t strength;
        struct socket_network assigned;
        uint32_t default_netid, netid;
    } user_rows[] = {
        { "secure VPN", SECURE, SOCKET_UNASSIGNED, { 0 }, 100, 200 },
        { "bypassable VPN", BYPASSABLE, SOCKET_PREFER, NET(101), 100, 200 },
        { "preferred", { 0 }, SOCKET_PREFER, NET(101), 100, 101 },
        { "preferred, unusable", { 0 }, SOCKET_PREFER, { .netid = 101 }, 100, 100 },
        { "preferred, missing", { 0 }, SOCKET_PREFER, { 0 }, 100, 100 },
        { "default", { 0 }, SOCKET_UNASSIGNED, { 0 }, 100, 100 },
        { "default `system`", { 0 }, SOCKET_UNASSIGNED, { 0 }, 0, 0 },
        { "required", { 0 }, SOCKET_REQUIRE, NET(101), 100, 101 },
        { "required, under a VPN", SECURE, SOCKET_REQUIRE, NET(101), 100, 101 },
        { "required, unusable", { 0 }, SOCKET_REQUIRE, { .netid = 101 }, 100, 101 },
        { "required, missing", { 0 }, SOCKET_REQUIRE, { 0 }, 100, 52 },
        { "none", SECURE, SOCKET_NONE, { 0 }, 100, 52 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(user_rows); i++)
        CHECK_INT(user_rows[i].name,
                  socket_network_for_user(&user_rows[i].vpn, user_rows[i].strength,
                                          &user_rows[i].assigned, user_rows[i].default_netid),
                  user_rows[i].netid);
    CHECK_END();
}

/* xorshift64*: the same numbers in every run */
static uint32_t next(uint64_t *x)
{
    *x ^= *x >> 12;
    *x ^= *x << 25;
    *x ^= *x >> 27;
    return (uint32_t)((*x * 0x2545f4914f6cdd1dU) >> 32);
}

static void scramble(void *bytes, size_t n, uint64_t *x)
{
    uint32_t *words = bytes;

    for (size_t i = 0; i < n / sizeof(*words); i++)
        words[i] = next(x) & (next(x) & 1 ? 0xff : UINT32_MAX);
}

/* What holds whatever it is asked, also for numbers that nobody should ask with. */
static void check_laws(const struct socket_question *q, const struct socket_answer *a)
{
    bool held = q->strength == SOCKET_NONE ||
                (q->strength == SOCKET_REQUIRE &&
                 !(q->protectable && socket_network_is(&q->assigned, SOCKET_NETWORK_VPN)));
    uint32_t netid = a->mark & MARK_NETID_MASK;
    uint32_t granted = q->mark | socket_permission_bits(q->permission);

    CHECK("not ours", ((q->mark ^ a->mark) & ~(uint32_t)MARK_INCOMING) == 0);
    CHECK("an error leaves the mark", a->error == 0 || a->mark == q->mark);
    CHECK("reason", a->reason < SOCKET_REASON_MAX);
    if (a->error < 0)
        return;
    CHECK("permission", (a->mark & MARK_PERMISSION_MASK & ~granted) == 0);
    CHECK("protected",
          !(a->mark & MARK_PROTECTED) || q->mark & MARK_PROTECTED || socket_can_protect(q));
    if (!held)
        return;
    CHECK("held", a->mark & MARK_EXPLICIT && !(a->mark & MARK_PROTECTED));
    CHECK("held to its network",
          netid == NETID_UNREACHABLE ||
              (q->strength == SOCKET_REQUIRE && netid == (q->assigned.netid & MARK_NETID_MASK)));
}

static void test_laws(void **state)
{
    uint64_t x = 88172645463325252U;

    (void)state;
    for (unsigned i = 0; i < 300000; i++) {
        struct socket_question q;
        struct socket_answer a;

        scramble(&q, sizeof(q), &x);
        q.command %= SOCKET_COMMAND_MAX + 1;
        q.strength %= SOCKET_NONE + 1;
        q.protectable &= 1;
        q.select_netid = i % 3 == 0 ? q.select_netid : i % 3 == 1 ? q.selected.netid : 0;
        a = socket_decide(&q);
        check_laws(&q, &a);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decide),   cmocka_unit_test(test_steps),
        cmocka_unit_test(test_typical),  cmocka_unit_test(test_strengths),
        cmocka_unit_test(test_access),   cmocka_unit_test(test_can_protect),
        cmocka_unit_test(test_for_user), cmocka_unit_test(test_laws),
    };

    return RUN_TESTS(tests);
}
