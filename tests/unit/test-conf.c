/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/wire/conf: the ini syntax, line by line. */

#include "unit/check.h"

#include <errno.h>

#include "basic/strbuf.h"
#include "wire/conf.h"

/* What the handler was called with, one line each; it refuses the key `bad`. */
static int note_line(void *data, const struct conf_line *line, struct why *why)
{
    struct strbuf *b = data;

    if (line->key && streq(line->key, "bad"))
        return why_set(why, -EDOM, "that is bad");
    strbuf_add(b, "%u:[%s|%s]", line->line, line->section, line->argument);
    if (line->key)
        strbuf_add(b, "%s=%s", line->key, line->value);
    strbuf_add_char(b, ';');
    return 0;
}

/* clang-format off */
static const struct {
    const char *name, *text;
    const char *calls;
    int error;
    unsigned line; /* of the error */
    const char *why;
} rows[] = {
    { "nothing", "", "", 0, 0, NULL },
    { "empty lines", "\n\n  \n\t\n", "", 0, 0, NULL },
    { "comments", "# a = b\n; [x]\n  # c\n", "", 0, 0, NULL },
    { "section", "[a]\n", "1:[a|];", 0, 0, NULL },
    { "section with an argument", "[network home]", "1:[network|home];", 0, 0, NULL },
    { "blanks in a section", "  [ \t network \t home x \t ]  \r\n", "1:[network|home x];", 0, 0,
      NULL },
    { "a bracket in the argument", "[a b]c]", "1:[a|b]c];", 0, 0, NULL },
    { "key", "[a]\nk=v", "1:[a|];2:[a|]k=v;", 0, 0, NULL },
    { "blanks around", "[a]\n \t k \t = \t v w \t \r\n", "1:[a|];2:[a|]k=v w;", 0, 0, NULL },
    { "no value", "k=\n", "1:[|]k=;", 0, 0, NULL },
    { "before any section", "k=v\n[a]\n", "1:[|]k=v;2:[a|];", 0, 0, NULL },
    { "an equals sign in the value", "k=a=b==\n", "1:[|]k=a=b==;", 0, 0, NULL },
    { "a colon in the value", "assign = uid:1000 home\n", "1:[|]assign=uid:1000 home;", 0, 0,
      NULL },
    { "a comment sign in the value", "k = v # w ; x\n", "1:[|]k=v # w ; x;", 0, 0, NULL },
    { "a space in the key", "a b = c\n", "1:[|]a b=c;", 0, 0, NULL },
    { "a key twice", "k=1\nk=2\n", "1:[|]k=1;2:[|]k=2;", 0, 0, NULL },
    { "a section twice", "[a]\n[a]\nk=v\n", "1:[a|];2:[a|];3:[a|]k=v;", 0, 0, NULL },
    { "the argument ends with its section", "[a x]\n[b]\nk=v", "1:[a|x];2:[b|];3:[b|]k=v;", 0, 0,
      NULL },
    { "bytes above 127", "k=\xc3\xa4\xff\n", "1:[|]k=\xc3\xa4\xff;", 0, 0, NULL },
    { "no newline at the end", "k=v\nl=w", "1:[|]k=v;2:[|]l=w;", 0, 0, NULL },
    { "quotes are text", "k=\"v\"\n", "1:[|]k=\"v\";", 0, 0, NULL },
    { "a backslash joins nothing", "k=v\\\nl=w\n", "1:[|]k=v\\;2:[|]l=w;", 0, 0, NULL },

    { "open section", "\n[a\n", "", -EINVAL, 2, "needs a ']'" },
    { "text behind a section", "[a] b\n", "", -EINVAL, 1, "needs a ']'" },
    { "a comment behind a section", "[a] # b\n", "", -EINVAL, 1, "needs a ']'" },
    { "only a bracket", "[", "", -EINVAL, 1, "needs a ']'" },
    { "section without a name", "[]\n", "", -EINVAL, 1, "no name" },
    { "section of blanks", "[ \t ]\n", "", -EINVAL, 1, "no name" },
    { "a word", "k=v\nword\n", "1:[|]k=v;", -EINVAL, 2, "'word' is neither" },
    { "closing bracket", "]\n", "", -EINVAL, 1, "']' is neither" },
    { "no key", "= v\n", "", -EINVAL, 1, "no key before" },
    { "no key, blanks", " \t =v\n", "", -EINVAL, 1, "no key before" },
    { "a control character", "k=v\n\nk=\x01\n", "1:[|]k=v;", -EINVAL, 3, "(0x01)" },
    { "an escape", "# \x1b[31m\n", "", -EINVAL, 1, "(0x1b)" },
    { "a DEL", "k=\x7f", "", -EINVAL, 1, "(0x7f)" },
    { "a form feed", "k=v\fw", "", -EINVAL, 1, "(0x0c)" },
    { "the handler's error", "[a]\nk=v\nbad=1\nl=w\n", "1:[a|];2:[a|]k=v;", -EDOM, 3,
      "that is bad" },
};
/* clang-format on */

static void check_text_row(const char *name, const char *text, size_t size, const char *calls,
                           int error, unsigned line, const char *reason)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    _cleanup_free_ char *exact = malloc(MAX(size, (size_t)1)); /* no NUL behind it */
    struct why why = { 0 };
    unsigned at = 4711;

    memcpy(exact, text, size);
    CHECK_INT(name, conf_parse(exact, size, note_line, &b, &at, &why), error);
    CHECK_TEXT(name, strbuf_text(&b), calls);
    CHECK_INT(name, at, error ? line : 4711);
    CHECK_CONTAINS(name, why.text, reason);
}

static void test_parse(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        check_text_row(rows[i].name, rows[i].text, strlen(rows[i].text), rows[i].calls,
                       rows[i].error, rows[i].line, rows[i].why);
    check_text_row("a NUL", "k=v\0w", 5, "", -EINVAL, 1, "(0x00)");
    CHECK_END();
}

/* Lines of exactly the largest size, and one more. */
static void test_long_lines(void **state)
{
    char text[CONF_LINE_MAX + 3];
    struct strbuf expected = STRBUF_INIT;

    (void)state;
    memset(text, 'v', sizeof(text));
    memcpy(text, "k=", 2);
    strbuf_add(&expected, "1:[|]k=%.*s;", CONF_LINE_MAX - 2, text + 2);
    check_text_row("4095", text, CONF_LINE_MAX, strbuf_text(&expected), 0, 0, NULL);
    text[CONF_LINE_MAX] = '\n';
    check_text_row("4095 and newline", text, CONF_LINE_MAX + 1, strbuf_text(&expected), 0, 0, NULL);
    text[CONF_LINE_MAX] = 'v';
    check_text_row("4096", text, CONF_LINE_MAX + 1, "", -EINVAL, 1, "longer than 4095 bytes");
    text[0] = '#';
    check_text_row("a comment, too", text, CONF_LINE_MAX + 1, "", -EINVAL, 1, "longer than");
    memset(text, '[', 1);
    text[CONF_LINE_MAX - 1] = ']';
    strbuf_clear(&expected);
    strbuf_add(&expected, "1:[=%.*s|];", CONF_LINE_MAX - 3, text + 2);
    check_text_row("a section of 4095", text, CONF_LINE_MAX, strbuf_text(&expected), 0, 0, NULL);
    strbuf_done(&expected);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parse),
        cmocka_unit_test(test_long_lines),
    };

    return RUN_TESTS(tests);
}
