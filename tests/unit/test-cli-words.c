/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/cli/words, src/cli/json: words that may be shortened, D-Bus values as JSON and as text. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cli/json.h"
#include "cli/words.h"

static void test_resolve(void **state)
{
    static const char *const names[] = { "network", "net", "route", "network", "none", "é" };
    static const struct {
        const char *word;
        ssize_t index;
        const char *candidates;
    } rows[] = {
        { "network", 0, "" },
        { "net", 1, "" }, /* exact, though it begins another */
        { "netw", 0, "network" },
        { "r", 2, "route" },
        { "route", 2, "" },
        { "no", 4, "none" },
        { "é", 5, "" },
        { "ne", -ENOTUNIQ, "network, net" },
        { "n", -ENOTUNIQ, "network, net, none" },
        { "routes", -ENOENT, "" },
        { "Route", -ENOENT, "" },
        { "", -ENOENT, "" },
        { " ", -ENOENT, "" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

        CHECK_INT(rows[i].word, words_resolve(rows[i].word, names, ELEMENTSOF(names), &b),
                  rows[i].index);
        CHECK_TEXT(rows[i].word, strbuf_text(&b), rows[i].candidates);
    }
    CHECK_END();
}

/* More candidates than anybody reads are cut off; it is not unique all the same. */
static void test_many_candidates(void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    char texts[200][8];
    const char *names[200];

    (void)state;
    for (unsigned i = 0; i < 200; i++) {
        snprintf(texts[i], sizeof(texts[i]), "eth%u", i);
        names[i] = texts[i];
    }
    CHECK_INT("many", words_resolve("eth", names, 200, &b), -ENOTUNIQ);
    CHECK("many", b.size > 200 && b.size < 240);
    CHECK_CONTAINS("many", strbuf_text(&b), ", …");
    CHECK_END();
}

/* A bus to make messages with: nobody is at the other end. */
struct bus {
    sd_bus *bus;
    int other;
};

static int setup(void **state)
{
    static struct bus b;
    int fds[2];

    *state = &b;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || sd_bus_new(&b.bus) < 0 ||
        sd_bus_set_fd(b.bus, fds[0], fds[0]) < 0 || sd_bus_start(b.bus) < 0)
        return -1;
    b.other = fds[1];
    return 0;
}

static int teardown(void **state)
{
    struct bus *b = *state;

    sd_bus_close(b->bus);
    sd_bus_unref(b->bus);
    close(b->other);
    return 0;
}

static sd_bus_message *new_message(void **state)
{
    struct bus *b = *state;
    sd_bus_message *m = NULL;

    assert_true(sd_bus_message_new_signal(b->bus, &m, "/", "a.b", "C") >= 0);
    return m;
}

/* The first value of a message, as compact JSON; the message is over then. */
static void check_json(const char *row, sd_bus_message *m, const char *const *names, int error,
                       const char *expected)
{
    json_t *value = NULL;
    char *text;

    assert_true(sd_bus_message_seal(m, 1, 0) >= 0);
    assert_true(sd_bus_message_rewind(m, true) >= 0);
    CHECK_INT(row, json_from_message(m, names, &value), error);
    text = value ? json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    CHECK_TEXT(row, text ? text : "", expected);
    free(text);
    json_decref(value);
    sd_bus_message_unref(m);
}

#define CHECK_JSON(row, names, error, expected, ...)              \
    do {                                                          \
        sd_bus_message *m_ = new_message(state);                  \
        assert_true(sd_bus_message_append(m_, __VA_ARGS__) >= 0); \
        check_json(row, m_, names, error, expected);              \
    } while (0)

static void test_json(void **state)
{
    static const char *const pair[] = { "first", "second", NULL };

    CHECK_JSON("byte", NULL, 0, "255", "y", 255);
    CHECK_JSON("boolean", NULL, 0, "true", "b", 1);
    CHECK_JSON("int16", NULL, 0, "-5", "n", -5);
    CHECK_JSON("uint16", NULL, 0, "65535", "q", 65535);
    CHECK_JSON("int32", NULL, 0, "-2147483648", "i", INT32_MIN);
    CHECK_JSON("uint32", NULL, 0, "4294967295", "u", UINT32_MAX);
    CHECK_JSON("int64", NULL, 0, "-9223372036854775808", "x", INT64_MIN);
    CHECK_JSON("uint64", NULL, 0, "7", "t", (uint64_t)7);
    CHECK_JSON("uint64, too large", NULL, 0, "9223372036854775807", "t", UINT64_MAX);
    CHECK_JSON("double", NULL, 0, "0.5", "d", 0.5);
    CHECK_JSON("string", NULL, 0, "\"a \\\"b\\\" \\u0001\"", "s", "a \"b\" \x01");
    CHECK_JSON("object path", NULL, 0, "\"/a/b\"", "o", "/a/b");
    CHECK_JSON("signature", NULL, 0, "\"a{sv}\"", "g", "a{sv}");
    CHECK_JSON("array", NULL, 0, "[1,2]", "au", 2, 1, 2);
    CHECK_JSON("empty array", NULL, 0, "[]", "as", 0);
    CHECK_JSON("variant", NULL, 0, "\"x\"", "v", "s", "x");
    CHECK_JSON("array of variants", NULL, 0, "[1,\"x\"]", "av", 2, "u", 1, "s", "x");
    CHECK_JSON("struct", NULL, 0, "[1,\"x\"]", "(us)", 1, "x");
    CHECK_JSON("struct with names", pair, 0, "{\"first\":1,\"second\":\"x\"}", "(us)", 1, "x");
    CHECK_JSON("structs with names", pair, 0, "[{\"first\":1,\"second\":\"x\"}]", "a(us)", 1, 1,
               "x");
    CHECK_JSON("fewer members than names", pair, 0, "{\"first\":1}", "(u)", 1);
    CHECK_JSON("more members than names", pair, -EBADMSG, "", "(uuu)", 1, 2, 3);
    CHECK_JSON("dictionary: the keys' case", NULL, 0,
               "{\"exclude_local\":true,\"netid\":100,\"dns\":[\"::1\"]}", "a{sv}", 3,
               "ExcludeLocal", "b", 1, "NetId", "u", 100, "Dns", "as", 1, "::1");
    CHECK_JSON("dictionary in a dictionary", NULL, 0, "{\"a\":{\"b\":1}}", "a{sv}", 1, "A", "a{sv}",
               1, "B", "u", 1);
    CHECK_JSON("empty dictionary", NULL, 0, "{}", "a{sv}", 0);
    CHECK_JSON("the steps of explain", NULL, 0,
               "{\"steps\":[{\"priority\":1,\"name\":\"n\",\"rule\":\"r\"}]}", "a{sv}", 1, "Steps",
               "a(uss)", 1, 1, "n", "r");
    check_json("nothing", new_message(state), NULL, -EBADMSG, "");
    CHECK_JSON("a file descriptor", NULL, -EBADMSG, "", "h", 0);
    CHECK_END();
}

static void test_plain(void **state)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        { "[]", "-" },
        { "[\"a\"]", "a" },
        { "[\"a\",\"b\"]", "a,b" },
        { "[1,true,false,\"\",null]", "1,yes,no,-,-" },
        { "\"\"", "-" },
        { "null", "-" },
        { "\"x y\"", "x y" },
        { "-7", "-7" },
        { "true", "yes" },
        { "false", "no" },
        { "{}", "-" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        json_t *value = json_loads(rows[i].json, JSON_DECODE_ANY, NULL);

        assert_non_null(value);
        json_print_plain(value, ",", &b);
        CHECK_TEXT(rows[i].json, strbuf_text(&b), rows[i].text);
        json_decref(value);
    }
    CHECK_END();
}

static void test_members(void **state)
{
    json_t *object = json_loads("{\"s\":\"x\",\"n\":7,\"b\":true,\"z\":null}", 0, NULL);

    (void)state;
    assert_non_null(object);
    CHECK_TEXT("text", json_text(object, "s"), "x");
    CHECK_TEXT("not there", json_text(object, "nothing"), "");
    CHECK_TEXT("another type", json_text(object, "n"), "");
    CHECK_TEXT("no object", json_text(NULL, "s"), "");
    CHECK_INT("number", json_number(object, "n"), 7);
    CHECK_INT("another type", json_number(object, "s"), 0);
    CHECK("flag", json_flag(object, "b") && !json_flag(object, "n") && !json_flag(NULL, "b"));
    CHECK_INT("put", json_put(object, "new", json_integer(1)), 0);
    CHECK_INT("put", json_number(object, "new"), 1);
    CHECK_INT("put nothing", json_put(object, "bad", NULL), -ENOMEM);
    json_decref(object);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_resolve),
        cmocka_unit_test(test_many_candidates),
        cmocka_unit_test_setup_teardown(test_json, setup, teardown),
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_members),
    };

    return RUN_TESTS(tests);
}
