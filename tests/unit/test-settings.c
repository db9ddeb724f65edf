/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/basic/settings: each setter, by option and by key; in which order all is set; --help as it is printed.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "basic/clock.h"
#include "basic/log.h"
#include "basic/settings.h"
#include "unit/capture.h"

enum { WORDS_MAX = 10, TEXT_MAX = 4096 };

enum color { RED, GREEN, BLUE };
static const char *const colors[] = { [RED] = "red", [GREEN] = "green", [BLUE] = "blue" };

struct told {
    const char *borrowed;
    char *owned, *secret;
    bool on, off;
    enum color color;
    unsigned number, top;
    size_t large;
    usec_t wait;
    int log_level;
    char own[8];
    unsigned settings;
};

/* The program's own: a field, all of it, a file. */

static int set_own(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    if (!str_set(field, to->size, value))
        return why_set(why, -EINVAL, "'%s' is longer than %zu", value, to->size - 1);
    return 0;
}

static int set_whole(const struct setting_to *to, void *told, const char *value, struct why *why)
{
    struct told *t = told;

    (void)to, (void)value, (void)why;
    t->settings++;
    return 0;
}

static int set_silently(const struct setting_to *to, void *told, const char *value, struct why *why)
{
    (void)to, (void)told, (void)value, (void)why;
    return -ENOENT;
}

static int read_file(const struct setting_to *to, void *told, const char *path, struct why *why);

/* clang-format off */
static const struct setting settings_rows[] = {
    { 'b', "borrowed", NULL, "WORD", "a string of argv's", SETTING_STRING(struct told, borrowed) },
    { 'o', "owned", "owned", "WORD", "a string of our own", SETTING_STRING(struct told, owned) },
    { 's', "secret", "secret", "WORD", "a string that is wiped", SETTING_SECRET(struct told, secret) },
    { 'f', "flag", NULL, NULL, "a flag", SETTING_FLAG(struct told, on, true) },
    { 0, "no-flag", NULL, NULL, "one that is on by default", SETTING_FLAG(struct told, off, false) },
    { 0, "green", NULL, NULL, "a flag that is a word", SETTING_FLAG(struct told, color, GREEN) },
    { 0, "color", "color", "COLOR", "a word:\nred, green\nor blue", SETTING_WORD(struct told, color, colors, "color") },
    { 'n', "number", "number", "NUMBER", "a number, to a hundred", SETTING_NUMBER(struct told, number, 3, 100, 1, "number of things") },
    { 0, "top", "top", "NUMBER", "a number that fills its field", SETTING_NUMBER(struct told, top, 0, UINT32_MAX, 1, "top") },
    { 0, "large", NULL, "NUMBER", "a number of another size", SETTING_NUMBER(struct told, large, 0, UINT32_MAX, 1, "size") },
    { 'w', "wait", "wait", "SECONDS", "a time", SETTING_NUMBER(struct told, wait, 0, UINT32_MAX, USEC_PER_SEC, "wait") },
    { 0, NULL, "on", "yes|no", NULL, SETTING_BOOL(struct told, on) },
    { 0, "log-level", "log-level", "LEVEL", "how much is said", SETTING_LOG_LEVEL(struct told, log_level) },
    { 0, "file", NULL, "FILE", "that is read first", SETTING_FILE(read_file) },
    { 0, "own", "own", "WORD", "the program's own", SETTING(struct told, own, set_own) },
    { 'i', "increment", NULL, NULL, NULL, SETTING_WHOLE(set_whole) },
    { 0, "silent", NULL, NULL, "fails without a sentence", SETTING_WHOLE(set_silently) },
};
/* clang-format on */

static int check_told(void *told, struct why *why)
{
    const struct told *t = told;

    if (t->number == 99)
        return why_set(why, -ERANGE, "99 is nothing for anybody");
    return 0;
}

static const struct settings settings = {
    .program = "told",
    .usage = "Usage: told\n\n",
    .end = "\nThat was it.\n",
    .no_arguments = "options only, please",
    .rows = settings_rows,
    .n = ELEMENTSOF(settings_rows),
    .check = check_told,
};

/* "key=value": that line. NULL: what is there by default. */
static int read_file(const struct setting_to *to, void *told, const char *path, struct why *why)
{
    char text[64];
    char *value;
    int r;

    (void)to;
    (void)str_set(text, sizeof(text), path ? path : "own=default");
    value = strchr(text, '=');
    if (!value)
        return why_set(why, -ENOENT, "cannot read %s", path);
    *value++ = '\0';
    r = settings_set_key(&settings, told, text, value, why);
    if (r == 0)
        return why_set(why, -EINVAL, "no key '%s'", text);
    return MIN(r, 0);
}

static void say(const struct told *t, char text[static TEXT_MAX])
{
    snprintf(text, TEXT_MAX, "%s %s %s %d%d %s %u %u %zu %llu %d %s %u", t->borrowed,
             t->owned ? t->owned : "-", t->secret ? t->secret : "-", t->on, t->off,
             colors[t->color], t->number, t->top, t->large, (unsigned long long)t->wait,
             t->log_level, t->own, t->settings);
}

static void told_done(struct told *t)
{
    free(t->owned);
    free(t->secret);
}
#define _cleanup_told_ _cleanup_(told_done)

#define TOLD ((struct told){ .borrowed = "-", .off = true, .number = 5, .log_level = -1 })

/* What is otherwise as by default: before and behind the part that a row is about. */
#define TAIL0 " 5 0 0 0 -1 default 0"
#define ALL   "- - - 01 red"

/* clang-format off */
static const struct {
    const char *name;
    const char *words[WORDS_MAX];
    int result;
    const char *expected; /* 1: what is set; 0: a part of what is printed; else all of it, or a part */
} lines[] = {
    { "nothing", { NULL }, 1, ALL TAIL0 },
    { "borrowed", { "--borrowed", "x" }, 1, "x - - 01 red" TAIL0 },
    { "borrowed, short", { "-b", "x" }, 1, "x - - 01 red" TAIL0 },
    { "borrowed, in one word", { "-bx" }, 1, "x - - 01 red" TAIL0 },
    { "borrowed, empty", { "--borrowed=" }, 1, " - - 01 red" TAIL0 },
    { "owned", { "-o", "x" }, 1, "- x - 01 red" TAIL0 },
    { "owned, twice", { "--owned=x", "-oy" }, 1, "- y - 01 red" TAIL0 },
    { "secret", { "-s", "x" }, 1, "- - x 01 red" TAIL0 },
    { "secret, twice", { "-s", "x", "--secret", "y" }, 1, "- - y 01 red" TAIL0 },
    { "flag", { "-f" }, 1, "- - - 11 red" TAIL0 },
    { "flag that is off", { "--no-flag" }, 1, "- - - 00 red" TAIL0 },
    { "flag that is a word", { "--green" }, 1, "- - - 01 green" TAIL0 },
    { "word", { "--color", "blue" }, 1, "- - - 01 blue" TAIL0 },
    { "the last counts, of two options", { "--color", "blue", "--green" }, 1, "- - - 01 green" TAIL0 },
    { "in the other order", { "--green", "--color", "blue" }, 1, "- - - 01 blue" TAIL0 },
    { "least", { "-n3" }, 1, ALL " 3 0 0 0 -1 default 0" },
    { "most", { "-n", "100" }, 1, ALL " 100 0 0 0 -1 default 0" },
    { "top", { "--top", "4294967295" }, 1, ALL " 5 4294967295 0 0 -1 default 0" },
    { "large", { "--large", "4294967295" }, 1, ALL " 5 0 4294967295 0 -1 default 0" },
    { "unit", { "-w", "2" }, 1, ALL " 5 0 0 2000000 -1 default 0" },
    { "unit, beyond 32 bits", { "-w4294967295" }, 1, ALL " 5 0 0 4294967295000000 -1 default 0" },
    { "log level", { "--log-level", "debug" }, 1, ALL " 5 0 0 0 7 default 0" },
    { "own", { "--own", "1234567" }, 1, ALL " 5 0 0 0 -1 1234567 0" },
    { "whole, three times", { "-ii", "--increment" }, 1, ALL " 5 0 0 0 -1 default 3" },
    { "letters in one word", { "-ifn7" }, 1, "- - - 11 red 7 0 0 0 -1 default 1" },
    { "shortened", { "--num=7", "--bor", "x" }, 1, "x - - 01 red 7 0 0 0 -1 default 0" },
    { "looks like an option", { "-b", "--flag" }, 1, "--flag - - 01 red" TAIL0 },
    { "the end of options", { "-f", "--" }, 1, "- - - 11 red" TAIL0 },

    { "a file", { "--file", "owned=x" }, 1, "- x - 01 red 5 0 0 0 -1  0" },
    { "the line wins", { "-oline", "--file", "owned=file" }, 1, "- line - 01 red 5 0 0 0 -1  0" },
    { "by another option, too", { "--green", "--file", "color=blue" }, 1, "- - - 01 green 5 0 0 0 -1  0" },
    { "the last file", { "--file", "nowhere", "--file", "owned=x" }, 1, "- x - 01 red 5 0 0 0 -1  0" },
    { "a file that cannot be read", { "--file", "nowhere" }, -EINVAL, "cannot read nowhere\n" },
    { "a file with a wrong value", { "--file", "number=2", "-n", "9" }, -EINVAL,
      "'2' is no number of things, that is 3 to 100\n" },
    { "a file with another key", { "--file", "borrowed=x" }, -EINVAL, "no key 'borrowed'\n" },

    { "no word", { "--color", "pink" }, -EINVAL, "'pink' is no color: use red, green or blue\n" },
    { "too few", { "-n", "2" }, -EINVAL, "'2' is no number of things, that is 3 to 100\n" },
    { "too many", { "-n", "101" }, -EINVAL, "'101' is no number of things, that is 3 to 100\n" },
    { "beyond 32 bits", { "--top", "4294967296" }, -EINVAL, "'4294967296' is no top, that is 0 to 4294967295\n" },
    { "beyond 64 bits", { "-w", "18446744073709551617" }, -EINVAL,
      "'18446744073709551617' is no wait, that is 0 to 4294967295\n" },
    { "no number", { "-n", "0x10" }, -EINVAL, "'0x10' is no number of things, that is 3 to 100\n" },
    { "negative", { "-n-3" }, -EINVAL, "'-3' is no number of things, that is 3 to 100\n" },
    { "empty", { "--number=" }, -EINVAL, "'' is no number of things, that is 3 to 100\n" },
    { "no log level", { "--log-level", "loud" }, -EINVAL,
      "'loud' is no log level: use err, warning, notice, info or debug\n" },
    { "own, wrong", { "--own", "12345678" }, -EINVAL, "'12345678' is longer than 7\n" },
    { "the first that is wrong", { "-n0", "-n1" }, -EINVAL, "'0' is no number of things, that is 3 to 100\n" },
    { "wrong, though not the last", { "-n0", "-n9" }, -EINVAL, "'0' is no number of things, that is 3 to 100\n" },
    { "without a sentence", { "--silent" }, -EINVAL, "No such file or directory\n" },
    { "all of it is wrong", { "-n99" }, -EINVAL, "99 is nothing for anybody\n" },

    { "unknown", { "--nonsense" }, -EINVAL, "'--nonsense'" },
    { "unknown, short", { "-fx" }, -EINVAL, "'x'" },
    { "in the file only", { "--on=yes" }, -EINVAL, "'--on=yes'" },
    { "one of two", { "--o", "x" }, -EINVAL, "'--o' is ambiguous" },
    { "a value is missing", { "-b" }, -EINVAL, "'b'" },
    { "a value too many", { "--flag=yes" }, -EINVAL, "'--flag'" },
    { "an argument", { "-f", "x", "y" }, -EINVAL, "options only, please: 'x'\n" },
    { "an argument, then an option", { "x", "-f" }, -EINVAL, "options only, please: 'x'\n" },
    { "an argument behind --", { "--", "-f" }, -EINVAL, "options only, please: '-f'\n" },
    { "unknown before wrong", { "-n0", "--nonsense" }, -EINVAL, "'--nonsense'" },

    { "version", { "--version" }, 0, "told " WAYMARK_VERSION "\n" },
    { "help", { "--help" }, 0, "Usage: told\n\n" },
    { "help, short", { "-h" }, 0, "\nThat was it.\n" },
    { "the first of both", { "--version", "--help" }, 0, "told " WAYMARK_VERSION "\n" },
    { "help, though all is wrong", { "-n0", "--file", "nowhere", "x", "-h", "--nonsense" }, 0, "Usage: told\n" },
};
/* clang-format on */

static int take(const struct settings *s, const char *const *words, struct told *t,
                char text[static TEXT_MAX])
{
    char *argv[CAPTURE_ARGV_MAX + 1];
    int argc = capture_argv("told", words, argv), r;
    struct capture c;

    capture_begin(&c);
    r = settings_take(s, argc, argv, t);
    capture_end(&c, text, TEXT_MAX);
    return r;
}

static void test_command_line(void **state)
{
    (void)state;
    unsetenv("JOURNAL_STREAM");
    for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
        _cleanup_told_ struct told t = TOLD;
        char printed[TEXT_MAX], got[TEXT_MAX];

        CHECK_INT(lines[i].name, take(&settings, lines[i].words, &t, printed), lines[i].result);
        if (lines[i].result <= 0) {
            CHECK_CONTAINS(lines[i].name, printed, lines[i].expected);
            CHECK_INT(lines[i].name, t.settings, 0);
            continue;
        }
        say(&t, got);
        CHECK_TEXT(lines[i].name, printed, "");
        CHECK_TEXT(lines[i].name, got, lines[i].expected);
    }
    CHECK_END();
}

/* What is refused, or only asked, sets nothing: not even what stands before it. */
static void test_nothing_is_set(void **state)
{
    static const char *const rows[][4] = {
        { "-i", "--nonsense" }, { "-i", "x" }, { "-i", "--help" }, { "-i", "--version" }
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_told_ struct told t = TOLD;
        char printed[TEXT_MAX];

        CHECK(rows[i][1], take(&settings, rows[i], &t, printed) <= 0);
        CHECK_INT(rows[i][1], t.settings, 0);
        CHECK_TEXT(rows[i][1], t.own, "");
    }
    CHECK_END();
}

static void test_secrets_are_wiped(void **state)
{
    static const char *const words[] = { "-s",       "first", "-bother", "--secret=second",
                                         "-fsthird", NULL };
    _cleanup_told_ struct told t = TOLD;
    char *argv[CAPTURE_ARGV_MAX + 1];
    int argc = capture_argv("told", words, argv);

    (void)state;
    CHECK_INT("secrets", settings_take(&settings, argc, argv, &t), 1);
    CHECK_TEXT("the last", t.secret, "third");
    CHECK_TEXT("-s", argv[2], "");
    CHECK("-s", memcmp(argv[2], "\0\0\0\0\0", 6) == 0);
    CHECK_TEXT("no secret", argv[3], "-bother");
    CHECK_TEXT("--secret=", argv[4], "--secret=");
    CHECK_TEXT("-fs", argv[5], "-fs");
    CHECK_END();
}

/* clang-format off */
static const struct {
    const char *key, *value;
    int result;
    const char *expected; /* 1: what is set; negative: why not */
} keys[] = {
    { "owned", "x", 1, "- x - 01 red 5 0 0 0 -1  0" },
    { "owned", "", 1, "-  - 01 red 5 0 0 0 -1  0" },
    { "secret", "x", 1, "- - x 01 red 5 0 0 0 -1  0" },
    { "on", "yes", 1, "- - - 11 red 5 0 0 0 -1  0" },
    { "on", "no", 1, "- - - 01 red 5 0 0 0 -1  0" },
    { "on", "Yes", -EINVAL, "'Yes' is neither yes nor no" },
    { "on", "", -EINVAL, "'' is neither yes nor no" },
    { "color", "green", 1, "- - - 01 green 5 0 0 0 -1  0" },
    { "color", "", -EINVAL, "'' is no color: use red, green or blue" },
    { "color", "re", -EINVAL, "'re' is no color: use red, green or blue" },
    { "number", "7", 1, "- - - 01 red 7 0 0 0 -1  0" },
    { "number", "7 ", -EINVAL, "'7 ' is no number of things, that is 3 to 100" },
    { "wait", "1", 1, "- - - 01 red 5 0 0 1000000 -1  0" },
    { "log-level", "err", 1, "- - - 01 red 5 0 0 0 3  0" },
    { "own", "x", 1, "- - - 01 red 5 0 0 0 -1 x 0" },
    { "own", "12345678", -EINVAL, "'12345678' is longer than 7" },
    { "borrowed", "x", 0, NULL }, /* on the command line only */
    { "flag", "yes", 0, NULL },
    { "num", "7", 0, NULL }, /* not shortened */
    { "version", "1", 0, NULL },
    { "", "1", 0, NULL },
};
/* clang-format on */

static void test_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(keys); i++) {
        _cleanup_told_ struct told t = TOLD;
        char value[32], got[TEXT_MAX];
        struct why why = { 0 };

        (void)str_set(value, sizeof(value), keys[i].value);
        CHECK_INT(keys[i].key, settings_set_key(&settings, &t, keys[i].key, value, &why),
                  keys[i].result);
        memset(value, 'X', sizeof(value)); /* the line is gone, what is set is not */
        say(&t, got);
        if (keys[i].result > 0)
            CHECK_TEXT(keys[i].key, got, keys[i].expected);
        else
            CHECK_TEXT(keys[i].key, why.text, keys[i].expected ? keys[i].expected : "");
    }
    CHECK_END();
}

static const char help[] = "Usage: told\n\n"
                           "  -b, --borrowed WORD      a string of argv's\n"
                           "  -o, --owned WORD         a string of our own\n"
                           "  -s, --secret WORD        a string that is wiped\n"
                           "  -f, --flag               a flag\n"
                           "      --no-flag            one that is on by default\n"
                           "      --green              a flag that is a word\n"
                           "      --color COLOR        a word:\n"
                           "                           red, green\n"
                           "                           or blue\n"
                           "  -n, --number NUMBER      a number, to a hundred\n"
                           "      --top NUMBER         a number that fills its field\n"
                           "      --large NUMBER       a number of another size\n"
                           "  -w, --wait SECONDS       a time\n"
                           "      --log-level LEVEL    how much is said\n"
                           "      --file FILE          that is read first\n"
                           "      --own WORD           the program's own\n"
                           "  -i, --increment\n"
                           "      --silent             fails without a sentence\n"
                           "      --version\n"
                           "  -h, --help\n"
                           "\nThat was it.\n";

static const char help_without_letters[] = "Usage: told\n\n"
                                           "  --top NUMBER     a number that fills its field\n"
                                           "  --large NUMBER   a number of another size\n"
                                           "  --version\n"
                                           "  --help\n"
                                           "\nThat was it.\n";

static void test_help(void **state)
{
    static const char *const words[] = { "-h", NULL };
    struct settings two = settings;
    struct told t = TOLD;
    char printed[TEXT_MAX];

    (void)state;
    CHECK_INT("all", take(&settings, words, &t, printed), 0);
    CHECK_TEXT("all", printed, help);
    two.rows = &settings_rows[8];
    two.n = 2;
    CHECK_INT("two", take(&two, words, &t, printed), 0);
    CHECK_TEXT("two", printed, help_without_letters);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_command_line),
        cmocka_unit_test(test_nothing_is_set),
        cmocka_unit_test(test_secrets_are_wiped),
        cmocka_unit_test(test_keys),
        cmocka_unit_test(test_help),
    };

    return RUN_TESTS(tests);
}
