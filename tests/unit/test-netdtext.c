/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* android.md §4.1, row by row: framing, sequence numbers, arguments, answers; then §4.3 values. */

#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#include "basic/uidrange.h"
#include "wire/netdtext.h"

/* Row "sequence" and rows "tokenising" to "other syntax errors": one request each. */

#define ARGS_1_TO_25 "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25"

struct parse_row {
    const char *name;
    const char *request;
    int before, after; /* the sequence number */
    enum netdtext_fault fault;
    const char *argv[5]; /* those that are not NULL are looked at, and must be all if below 5 */
    size_t argc;         /* 0 = as many as argv has */
};

static const struct parse_row parse_rows[] = {
    /* request: <seq> <command> <args…> */
    { "plain", "12 network create 100", 7, 12, NETDTEXT_FINE, { "network", "create", "100" }, 0 },
    { "command alone", "0 network", 7, 0, NETDTEXT_FINE, { "network" }, 0 },
    { "no arguments", "3 ", 7, 3, NETDTEXT_FINE, { "" }, 0 },

    /* sequence: base 0 integer; unparsable carries the previous number */
    { "hexadecimal", "0x1f a", 7, 31, NETDTEXT_FINE, { "a" }, 0 },
    { "octal", "010 a", 7, 8, NETDTEXT_FINE, { "a" }, 0 },
    { "negative", "-5 a", 7, -5, NETDTEXT_FINE, { "a" }, 0 },
    { "plus", "+5 a", 7, 5, NETDTEXT_FINE, { "a" }, 0 },
    { "white space that is no space", "\t5 a", 7, 5, NETDTEXT_FINE, { "a" }, 0 },
    { "empty is zero", " a b", 7, 0, NETDTEXT_FINE, { "a", "b" }, 0 },
    { "quoted", "\"5\" a", 7, 5, NETDTEXT_FINE, { "a" }, 0 },
    { "largest", "2147483647 a", 7, INT_MAX, NETDTEXT_FINE, { "a" }, 0 },
    { "a word", "network create", 7, 7, NETDTEXT_BAD_SEQUENCE, { NULL }, 0 },
    { "junk behind", "5x a", 7, 7, NETDTEXT_BAD_SEQUENCE, { NULL }, 0 },
    { "not octal", "09 a", 7, 7, NETDTEXT_BAD_SEQUENCE, { NULL }, 0 },
    { "quoted space", "\"5 6\" a", 7, 7, NETDTEXT_BAD_SEQUENCE, { NULL }, 0 },
    { "escaped quote", "\\\"5 a", 7, 7, NETDTEXT_BAD_SEQUENCE, { NULL }, 0 },
    { "no space, no number", "5", 7, 7, NETDTEXT_FINE, { "5" }, 0 },
    { "nothing", "", 7, 7, NETDTEXT_FINE, { "" }, 0 },
    { "space in quotes only", "\"a b\"", 7, 7, NETDTEXT_FINE, { "a b" }, 0 },

    /* tokenising */
    { "two spaces", "1 a  b", 7, 1, NETDTEXT_FINE, { "a", "", "b" }, 0 },
    { "three spaces", "1 a   b", 7, 1, NETDTEXT_FINE, { "a", "", "", "b" }, 0 },
    { "space behind", "1 a ", 7, 1, NETDTEXT_FINE, { "a", "" }, 0 },
    { "two spaces after the number", "1  a", 7, 1, NETDTEXT_FINE, { "", "a" }, 0 },
    { "only space separates", "1 a\tb\nc d", 7, 1, NETDTEXT_FINE, { "a\tb\nc", "d" }, 0 },
    { "quotes", "1 \"a b\" c", 7, 1, NETDTEXT_FINE, { "a b", "c" }, 0 },
    { "quotes around nothing", "1 \"\" c", 7, 1, NETDTEXT_FINE, { "", "c" }, 0 },
    { "quotes at the end", "1 a \"\"", 7, 1, NETDTEXT_FINE, { "a", "" }, 0 },
    { "quotes in the middle", "1 a\"b c\"d e", 7, 1, NETDTEXT_FINE, { "ab cd", "e" }, 0 },
    { "quotes side by side", "1 \"a \"\" b\"", 7, 1, NETDTEXT_FINE, { "a  b" }, 0 },
    { "two spaces in quotes", "1 \"a  b\"", 7, 1, NETDTEXT_FINE, { "a  b" }, 0 },
    { "apostrophes do not quote", "1 'a b'", 7, 1, NETDTEXT_FINE, { "'a", "b'" }, 0 },
    { "bytes above 127", "1 \xc3\xbc\xff b", 7, 1, NETDTEXT_FINE, { "\xc3\xbc\xff", "b" }, 0 },

    /* escapes */
    { "escaped quote", "1 a\\\"b", 7, 1, NETDTEXT_FINE, { "a\"b" }, 0 },
    { "escaped backslash", "1 a\\\\b", 7, 1, NETDTEXT_FINE, { "a\\b" }, 0 },
    { "escaped quote in quotes", "1 \"a \\\" b\" c", 7, 1, NETDTEXT_FINE, { "a \" b", "c" }, 0 },
    { "escaped backslash in quotes", "1 \"a\\\\\" c", 7, 1, NETDTEXT_FINE, { "a\\", "c" }, 0 },
    { "backslash at the end", "1 a\\", 7, 1, NETDTEXT_FINE, { "a" }, 0 },
    { "escaped letter", "1 a\\n", 7, 1, NETDTEXT_BAD_ESCAPE, { NULL }, 0 },
    { "escaped space", "1 a\\ b", 7, 1, NETDTEXT_BAD_ESCAPE, { NULL }, 0 },
    { "escaped letter in quotes", "1 \"\\t\"", 7, 1, NETDTEXT_BAD_ESCAPE, { NULL }, 0 },
    { "before the number is known", "\\n1 a", 7, 7, NETDTEXT_BAD_ESCAPE, { NULL }, 0 },

    /* other syntax errors */
    { "open quote", "1 \"a b", 7, 1, NETDTEXT_BAD_QUOTES, { NULL }, 0 },
    { "open quote at the end", "1 a\"", 7, 1, NETDTEXT_BAD_QUOTES, { NULL }, 0 },
    { "open quote and backslash", "1 \"a\\", 7, 1, NETDTEXT_BAD_QUOTES, { NULL }, 0 },
    { "open quote, no number", "\"1 a", 7, 7, NETDTEXT_BAD_QUOTES, { NULL }, 0 },
    { "26 arguments", "1 a " ARGS_1_TO_25, 7, 1, NETDTEXT_FINE, { "a", "1", "2", "3", "4" }, 26 },
    { "27 arguments", "1 a " ARGS_1_TO_25 " 26", 7, 1, NETDTEXT_TOO_LONG, { NULL }, 0 },
    { "27 arguments, last empty", "1 a " ARGS_1_TO_25 " ", 7, 1, NETDTEXT_TOO_LONG, { NULL }, 0 },
    { "27 arguments before the quote",
      "1 a " ARGS_1_TO_25 " \"",
      7,
      1,
      NETDTEXT_TOO_LONG,
      { NULL },
      0 },
    { "escape before 27 arguments",
      "1 a " ARGS_1_TO_25 " \\x",
      7,
      1,
      NETDTEXT_BAD_ESCAPE,
      { NULL },
      0 },
};

static void check_parse(const struct parse_row *row)
{
    struct netdtext_command command;
    size_t argc = row->argc;
    int seq = row->before;
    enum netdtext_fault fault = netdtext_parse(row->request, &seq, &command);

    if (fault != row->fault || seq != row->after)
        fail_msg("%s: fault %d, sequence number %d", row->name, fault, seq);
    if (fault != NETDTEXT_FINE)
        return;
    for (size_t i = 0; i < 5 && row->argv[i]; i++) {
        argc += row->argc == 0;
        if (i >= command.argc || strcmp(command.argv[i], row->argv[i]) != 0)
            fail_msg("%s: argument %zu", row->name, i);
    }
    if (command.argc != argc)
        fail_msg("%s: %zu arguments", row->name, command.argc);
}

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(parse_rows); i++)
        check_parse(&parse_rows[i]);
}

/* One token of n bytes. */
static enum netdtext_fault parse_long(size_t n, size_t *ret_length)
{
    static const char head[] = "1 ";
    char *request = calloc(1, n + sizeof(head));
    struct netdtext_command command;
    enum netdtext_fault fault;
    int seq = 0;

    assert_non_null(request);
    memcpy(request, head, 2);
    memset(request + 2, 'x', n);
    fault = netdtext_parse(request, &seq, &command);
    if (fault == NETDTEXT_FINE)
        *ret_length = strlen(command.argv[0]);
    free(request);
    return fault;
}

static void test_token_overflow(void **state)
{
    size_t length = 0;

    (void)state;
    assert_int_equal(parse_long(NETDTEXT_REQUEST_MAX - 1, &length), NETDTEXT_FINE);
    assert_int_equal(length, NETDTEXT_REQUEST_MAX - 1);
    assert_int_equal(parse_long(NETDTEXT_REQUEST_MAX, &length), NETDTEXT_TOO_LONG);
    assert_int_equal(parse_long(100000, &length), NETDTEXT_TOO_LONG);
}

static void test_fault_texts(void **state)
{
    static const struct {
        enum netdtext_fault fault;
        const char *text;
    } rows[] = {
        { NETDTEXT_BAD_SEQUENCE, "Invalid sequence number" },
        { NETDTEXT_BAD_ESCAPE, "Unsupported escape sequence" },
        { NETDTEXT_BAD_QUOTES, "Unclosed quotes error" },
        { NETDTEXT_TOO_LONG, "Command too long" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        assert_string_equal(netdtext_fault_text(rows[i].fault), rows[i].text);
}

/* Rows "request", "read buffer", "oversize": a stream in pieces. "!" stands for "too large". */

struct stream_row {
    const char *name;
    const char *pieces[4]; /* a '|' is a NUL */
    const char *found;     /* the requests, a '|' behind each */
};

static const struct stream_row stream_rows[] = {
    { "one", { "1 a|" }, "1 a|" },
    { "several in one read", { "1 a|2 b|3 c|" }, "1 a|2 b|3 c|" },
    { "in two pieces", { "1 a b", " c|" }, "1 a b c|" },
    { "byte by byte", { "1", " ", "a", "|" }, "1 a|" },
    { "NUL alone", { "1 a", "|" }, "1 a|" },
    { "one and a half", { "1 a|2 ", "b|" }, "1 a|2 b|" },
    { "empty ones", { "|||" }, "|||" },
    { "empty between", { "1 a||2 b|" }, "1 a||2 b|" },
    { "without an end", { "1 a" }, "" },
};

/* Hands out what is there, with '|' for NUL. */
static void take_all(struct netdtext_stream *s, struct strbuf *found)
{
    enum netdtext_found kind;
    const char *request;

    do {
        bool pending = netdtext_pending(s);

        kind = netdtext_next(s, &request);
        assert_int_equal(pending, kind != NETDTEXT_NOTHING);
        if (kind == NETDTEXT_REQUEST)
            strbuf_add(found, "%s|", request);
        if (kind == NETDTEXT_TOO_LARGE)
            strbuf_add(found, "!");
    } while (kind != NETDTEXT_NOTHING);
}

/* As a server does: what fits goes in, what can be taken is taken. */
static void feed(struct netdtext_stream *s, const char *piece, size_t size, struct strbuf *found)
{
    while (size > 0) {
        size_t room, n;
        char *to = netdtext_room(s, &room);

        assert_true(room > 0);
        n = MIN(room, size);
        for (size_t i = 0; i < n; i++)
            to[i] = piece[i] == '|' ? '\0' : piece[i];
        netdtext_filled(s, n);
        piece += n;
        size -= n;
        take_all(s, found);
    }
}

static void test_stream(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(stream_rows); i++) {
        const struct stream_row *row = &stream_rows[i];
        _cleanup_strbuf_ struct strbuf found = STRBUF_INIT;
        struct netdtext_stream s = { 0 };

        for (size_t p = 0; p < ELEMENTSOF(row->pieces) && row->pieces[p]; p++)
            feed(&s, row->pieces[p], strlen(row->pieces[p]), &found);
        if (strcmp(strbuf_text(&found), row->found) != 0)
            fail_msg("%s: found '%s'", row->name, strbuf_text(&found));
    }
}

/* A request of `size` bytes, NUL not counted, and "1 b" behind it, in pieces of `piece` bytes. */
static void check_size(size_t size, size_t piece, const char *expected)
{
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT, found = STRBUF_INIT;
    struct netdtext_stream s = { 0 };

    for (size_t i = 0; i < size; i++)
        strbuf_add_char(&text, 'x');
    strbuf_add(&text, "|1 b|");
    for (size_t at = 0; at < text.size; at += piece)
        feed(&s, text.data + at, MIN(piece, text.size - at), &found);
    if (expected)
        assert_string_equal(strbuf_text(&found), expected);
    else
        assert_memory_equal(strbuf_text(&found), text.data, text.size);
}

static void test_oversize(void **state)
{
    static const size_t pieces[] = { 1, 7, 1023, 1024, 1025, 100000 };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(pieces); i++) {
        check_size(NETDTEXT_REQUEST_MAX - 1, pieces[i], NULL);
        check_size(NETDTEXT_REQUEST_MAX, pieces[i], "!1 b|");
        check_size(NETDTEXT_REQUEST_MAX + 1, pieces[i], "!1 b|");
        check_size(2 * NETDTEXT_REQUEST_MAX, pieces[i], "!1 b|");
        check_size(50000, pieces[i], "!1 b|");
    }
}

/* Rows "reply", "multi-line" and "broadcast". */
static void test_answers(void **state)
{
    static const char expected[] =
        "110 12 lo\0"
        "200 12 Interface list completed\0"
        "400 -1 destroyNetwork() failed (Machine is not on the network)\0"
        "500 0 Command not recognized\0"
        "600 Iface added eth0\0"
        "400 3 addRoute() failed (No such process)";
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    (void)state;
    netdtext_reply(&b, NETDTEXT_INTERFACE_LIST, 12, "lo", 0);
    netdtext_reply(&b, NETDTEXT_OKAY, 12, "Interface list completed", 0);
    netdtext_reply(&b, NETDTEXT_FAILED, -1, "destroyNetwork() failed", -ENONET);
    netdtext_reply(&b, NETDTEXT_SYNTAX, 0, "Command not recognized", 0);
    netdtext_broadcast(&b, NETDTEXT_INTERFACE_CHANGE, "Iface added %s", "eth0");
    netdtext_reply(&b, NETDTEXT_FAILED, 3, "addRoute() failed", -ESRCH);
    assert_int_equal(b.size, sizeof(expected));
    assert_memory_equal(b.data, expected, sizeof(expected));
}

/* §4.3, first paragraph. */
static void test_netids(void **state)
{
    static const struct {
        const char *word;
        uint32_t netid;
    } rows[] = {
        { "100", 100 },
        { "0x64", 100 },
        { "0144", 100 },
        { "100x", 100 },
        { "", 0 },
        { "x", 0 },
        { "wlan0", 0 },
        { "local", 99 },
        { "localx", 0 },
        { "Local", 0 },
        { "oem1", 2 },
        { "oem50", 51 },
        { "oem0", 0 },
        { "oem51", 0 },
        { "oem", 0 },
        { "oem7x", 8 },
        { "oem0x10", 17 },
        { "65535", 65535 },
        { "65536", 65536 },
        { "4294967295", UINT32_MAX },
        { "-1", UINT32_MAX },
        { "4294967396", UINT32_MAX },
        { "99999999999999999999", UINT32_MAX },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (netdtext_netid(rows[i].word) != rows[i].netid)
            fail_msg("%s: %u", rows[i].word, netdtext_netid(rows[i].word));
}

static void test_uids(void **state)
{
    static const struct {
        const char *word;
        int result;
        uint32_t uid;
    } rows[] = {
        { "0", 0, 0 },        { "10000", 0, 10000 },        { "0x10", 0, 16 },
        { "010", 0, 8 },      { "4294967294", 0, UID_MAX }, { "", -EINVAL, 0 },
        { "x", -EINVAL, 0 },  { "1x", -EINVAL, 0 },         { "1-2", -EINVAL, 0 },
        { "-1", -EINVAL, 0 }, { "4294967295", -EINVAL, 0 }, { "4294967296", -EINVAL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        uint32_t uid = 0;

        if (netdtext_uid(rows[i].word, &uid) != rows[i].result || uid != rows[i].uid)
            fail_msg("%s: %u", rows[i].word, uid);
    }
}

static void test_routes(void **state)
{
    static const struct {
        const char *interface, *destination, *nexthop;
        const char *text; /* as route_spec_print() has it; NULL = -EINVAL */
    } rows[] = {
        { "eth0", "10.0.0.0/8", NULL, "10.0.0.0/8 dev eth0" },
        { "eth0", "0.0.0.0/0", "10.0.0.1", "0.0.0.0/0 via 10.0.0.1 dev eth0" },
        { "eth0", "::/0", "fe80::1", "::/0 via fe80::1 dev eth0" },
        { "eth0", "10.1.0.0/16", "unreachable", "10.1.0.0/16 unreachable dev eth0" },
        { "eth0", "::/0", "throw", "::/0 throw dev eth0" },
        { "eth0", "192.0.2.1/32", NULL, "192.0.2.1/32 dev eth0" },
        { "eth0", "2001:db8::1/32", NULL, "2001:db8::/32 dev eth0" }, /* the kernel clears bits */
        { "eth0", "10.0.0.1/8", NULL, NULL },                         /* and refuses them */
        { "eth0", "10.0.0.0", NULL, NULL },
        { "eth0", "10.0.0.0/", NULL, NULL },
        { "eth0", "10.0.0.0/33", NULL, NULL },
        { "eth0", "10.0.0.0/x", NULL, NULL },
        { "eth0", "::/129", NULL, NULL },
        { "eth0", "default", NULL, NULL },
        { "eth0", "", NULL, NULL },
        { "eth0", "/8", NULL, NULL },
        { "eth0", "host.example/32", NULL, NULL },
        { "eth0", "10.0.0.0/8", "", NULL },
        { "eth0", "10.0.0.0/8", "fe80::1", NULL },
        { "eth0", "::/0", "10.0.0.1", NULL },
        { "eth0", "10.0.0.0/8", "10.0.0.1/32", NULL },
        { "eth0", "10.0.0.0/8", "prohibit", NULL },
        { "eth0", "10.0.0.0/8", "dev", NULL },
        { "", "10.0.0.0/8", NULL, NULL },
        { "sixteen-letters-", "10.0.0.0/8", NULL, NULL },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct route_spec route;
        int r = netdtext_route(rows[i].interface, rows[i].destination, rows[i].nexthop, &route);

        if (r == 0)
            route_spec_print(&route, &b);
        if (r != (rows[i].text ? 0 : -EINVAL) ||
            strcmp(strbuf_text(&b), rows[i].text ? rows[i].text : "") != 0)
            fail_msg("row %zu: %d '%s'", i, r, strbuf_text(&b));
    }
}

static void test_params(void **state)
{
    static const struct {
        const char *word;
        bool good;
        struct netdtext_params params;
    } rows[] = {
        { "1800 25 8 64", true, { 1800, 25, 8, 64 } },
        { "0 0 0 0", true, { 0, 0, 0, 0 } },
        { "65535 255 255 255", true, { 65535, 255, 255, 255 } },
        { " 1  2\t3 4 ", true, { 1, 2, 3, 4 } },
        { "65536 25 8 64", false, { 0 } },
        { "1800 256 8 64", false, { 0 } },
        { "1800 25 256 64", false, { 0 } },
        { "1800 25 8 256", false, { 0 } },
        { "1800 25 8", false, { 0 } },
        { "1800 25 8 64 1", false, { 0 } },
        { "1800 25 8 x", false, { 0 } },
        { "1800 25 8 -1", false, { 0 } },
        { "", false, { 0 } },
        { "00000000000000000001800 25 8 64 0", false, { 0 } },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct netdtext_params p = { 0 };

        if ((netdtext_params(rows[i].word, &p) == 0) != rows[i].good ||
            memcmp(&p, &rows[i].params, sizeof(p)) != 0)
            fail_msg("'%s'", rows[i].word);
    }
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),       cmocka_unit_test(test_token_overflow),
        cmocka_unit_test(test_fault_texts), cmocka_unit_test(test_stream),
        cmocka_unit_test(test_oversize),    cmocka_unit_test(test_answers),
        cmocka_unit_test(test_netids),      cmocka_unit_test(test_uids),
        cmocka_unit_test(test_routes),      cmocka_unit_test(test_params),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
