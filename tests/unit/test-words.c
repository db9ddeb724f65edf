/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/words: the lines of the state file. */

#include "unit/check.h"

#include <errno.h>

#include "wire/words.h"

enum { WORDS_MAX = 4 };

/* clang-format off */
static const struct {
    const char *name;
    const char *words[WORDS_MAX]; /* up to the first NULL */
    const char *line;
} rows[] = {
    { "nothing", { NULL }, "" },
    { "one", { "a" }, "a" },
    { "three", { "a", "bc", "d" }, "a bc d" },
    { "an empty word", { "" }, "%" },
    { "empty words", { "", "a", "" }, "% a %" },
    { "a space", { "a b" }, "a%20b" },
    { "only a space", { " " }, "%20" },
    { "a percent sign", { "%" }, "%25" },
    { "what looks like an escape", { "%20" }, "%2520" },
    { "a newline", { "a\nb" }, "a%0Ab" },
    { "control characters", { "\x01\x1f\x7f" }, "%01%1F%7F" },
    { "bytes above 127", { "\x80\xc3\xa4\xff" }, "\x80\xc3\xa4\xff" },
    { "punctuation", { "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~" }, "!\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~" },
};

static const struct {
    const char *line;
    int error; /* or how many words there are */
    const char *words; /* joined by '|' */
} split_rows[] = {
    { "", 0, "" },
    { "a", 1, "a" },
    { "a b c d", 4, "a|b|c|d" },
    { "a b c d e", -E2BIG, NULL },
    { "%", 1, "" },
    { "% %", 2, "|" },
    { "%41%62", 1, "Ab" },
    { "%C3%A4", 1, "\xc3\xa4" },
    { "%20", 1, " " },
    { "%25", 1, "%" },
    { " a", -EINVAL, NULL },
    { "a ", -EINVAL, NULL },
    { " ", -EINVAL, NULL },
    { "a  b", -EINVAL, NULL },
    { "%%", -EINVAL, NULL },
    { "a%", -EINVAL, NULL },
    { "%a", -EINVAL, NULL },
    { "%4", -EINVAL, NULL },
    { "%4g", -EINVAL, NULL },
    { "%g4", -EINVAL, NULL },
    { "%c3", -EINVAL, NULL },
    { "%00", -EINVAL, NULL },
    { "%4 1", -EINVAL, NULL },
    { "% 41", 2, "|41" },
    { "a\tb", -EINVAL, NULL },
    { "a\r", -EINVAL, NULL },
    { "a\nb", -EINVAL, NULL },
    { "\x7f", -EINVAL, NULL },
    { "\xff\x80", 1, "\xff\x80" },
};
/* clang-format on */

static void test_add(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        const char *words[WORDS_MAX];
        size_t n = 0, got = 77;

        while (n < WORDS_MAX && rows[i].words[n])
            words_add(&b, rows[i].words[n++]);
        CHECK_TEXT(rows[i].name, strbuf_text(&b), rows[i].line);
        strbuf_add_bytes(&b, "", 0);
        CHECK_INT(rows[i].name, words_split(b.data, words, WORDS_MAX, &got), 0);
        if (!CHECK_INT(rows[i].name, got, n))
            continue;
        for (size_t j = 0; j < n; j++)
            CHECK_TEXT(rows[i].name, words[j], rows[i].words[j]);
    }
    CHECK_END();
}

/* A word at the beginning of a line has no space in front, also of a later line. */
static void test_lines(void **state)
{
    struct strbuf b = STRBUF_INIT;

    (void)state;
    words_add(&b, "a");
    words_add(&b, "b");
    strbuf_add_char(&b, '\n');
    words_add(&b, "c");
    words_add(&b, "");
    strbuf_add_char(&b, '\n');
    words_add(&b, "");
    CHECK_TEXT("lines", strbuf_text(&b), "a b\nc %\n%");
    strbuf_done(&b);
    CHECK_END();
}

static void test_split(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(split_rows); i++) {
        const char *row = split_rows[i].line, *words[WORDS_MAX];
        _cleanup_strbuf_ struct strbuf joined = STRBUF_INIT;
        _cleanup_free_ char *line = strdup(row);
        size_t n = 77;
        int r = words_split(line, words, WORDS_MAX, &n);

        CHECK_INT(row, r, MIN(split_rows[i].error, 0));
        CHECK_INT(row, n, split_rows[i].error < 0 ? 77 : split_rows[i].error);
        for (size_t j = 0; r == 0 && j < n; j++)
            strbuf_add(&joined, "%s%s", j ? "|" : "", words[j]);
        if (r == 0)
            CHECK_TEXT(row, strbuf_text(&joined), split_rows[i].words);
    }
    CHECK_END();
}

/* Every byte but NUL comes back. */
static void test_all_bytes(void **state)
{
    struct strbuf b = STRBUF_INIT;
    const char *words[2];
    char all[256];
    size_t n = 0;

    (void)state;
    for (int i = 1; i < 256; i++)
        all[i - 1] = (char)i;
    all[255] = '\0';
    words_add(&b, all);
    CHECK_INT("all bytes", words_split(b.data, words, 2, &n), 0);
    CHECK_INT("all bytes", n, 1);
    CHECK("all bytes", memcmp(words[0], all, sizeof(all)) == 0);
    strbuf_done(&b);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_all_bytes),
    };

    return RUN_TESTS(tests);
}
