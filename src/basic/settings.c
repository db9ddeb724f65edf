/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/settings.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

#include "basic/log.h"
#include "basic/parse.h"
#include "basic/strbuf.h"

enum {
    LEFT_MAX = 64,      /* what stands to the left of an option's help */
    FIRST_OPTION = 256, /* + number of the row */
};

/* What each program has, behind its own rows. */
enum { ROW_VERSION, ROW_HELP, ROW_MAX };

static const struct setting own_rows[ROW_MAX] = {
    [ROW_VERSION] = { .name = "version" },
    [ROW_HELP] = { .letter = 'h', .name = "help" },
};

static const struct setting *row_at(const struct settings *s, size_t i)
{
    return i < s->n ? &s->rows[i] : &own_rows[i - s->n];
}

/* The setters. */

int setting_borrowed(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    (void)to, (void)why;
    *(const char **)field = value;
    return 0;
}

int setting_owned(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    char **string = field, *copy = strdup(value);

    (void)to;
    if (!copy)
        return why_set(why, -ENOMEM, "out of memory");
    free(*string);
    *string = copy;
    return 0;
}

int setting_secret(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    char *const *string = field;

    if (*string)
        explicit_bzero(*string, strlen(*string));
    return setting_owned(to, field, value, why);
}

static int store(const struct setting_to *to, void *field, uint64_t value)
{
    const uint32_t word = (uint32_t)value;
    const bool truth = value;

    if (to->size == sizeof(value))
        memcpy(field, &value, sizeof(value));
    else if (to->size == sizeof(word))
        memcpy(field, &word, sizeof(word));
    else
        memcpy(field, &truth, sizeof(truth));
    return 0;
}

int setting_flag(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    (void)value, (void)why;
    return store(to, field, to->max);
}

int setting_bool(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    static const char *const words[] = { "no", "yes" };
    int word = parse_word(words, ELEMENTSOF(words), value);

    if (word < 0)
        return why_set(why, -EINVAL, "'%s' is neither yes nor no", value);
    return store(to, field, (uint64_t)word);
}

int setting_number(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    uint32_t n;

    if (parse_u32(value, to->max, &n) < 0 || n < to->min)
        return why_set(why, -EINVAL, "'%s' is no %s, that is %u to %u", value, to->what, to->min,
                       to->max);
    return store(to, field, n * to->scale);
}

int setting_word(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    int word = parse_word(to->words, to->n_words, value);
    _cleanup_strbuf_ struct strbuf all = STRBUF_INIT;

    if (word >= 0)
        return store(to, field, (uint64_t)word);
    for (size_t i = 0; i < to->n_words; i++)
        strbuf_add(&all, "%s%s", i == 0 ? "" : i + 1 < to->n_words ? ", " : " or ", to->words[i]);
    return why_set(why, -EINVAL, "'%s' is no %s: use %s", value, to->what, strbuf_text(&all));
}

int setting_log_level(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    (void)to;
    if (log_level_from_string(value, field) < 0)
        return why_set(why, -EINVAL,
                       "'%s' is no log level: use err, warning, notice, info or debug", value);
    return 0;
}

static int set(const struct setting *row, void *data, const char *value, struct why *why)
{
    return row->to.set(&row->to, (char *)data + row->to.offset, value, why);
}

int settings_set_key(const struct settings *s, void *data, const char *key, const char *value,
                     struct why *why)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct setting *row = &s->rows[i];
        int r;

        if (!row->key || !streq(row->key, key))
            continue;
        assert(row->to.set != setting_borrowed && row->to.set != setting_flag);
        r = set(row, data, value, why);
        return r < 0 ? r : 1;
    }
    return 0;
}

/* --help */

static bool has_letters(const struct settings *s)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->rows[i].letter)
            return true;
    return false;
}

/* "-p, --port NUMBER"; where no option has a letter: "--port NUMBER". How long it is. */
static int left_of(const struct settings *s, const struct setting *row, char left[static LEFT_MAX])
{
    char letter[8] = "";

    if (has_letters(s))
        snprintf(letter, sizeof(letter), row->letter ? "-%c, " : "    ", row->letter);
    return snprintf(left, LEFT_MAX, "%s--%s%s%s", letter, row->name, row->value ? " " : "",
                    row->value ? row->value : "");
}

/* Where all help begins: behind the longest, with some space. */
static int column_of(const struct settings *s)
{
    char left[LEFT_MAX];
    int longest = 0;

    for (size_t i = 0; i < s->n; i++)
        if (s->rows[i].name)
            longest = MAX(longest, left_of(s, &s->rows[i], left));
    return (longest + 2 + 3) / 4 * 4;
}

static void print_row(const struct settings *s, const struct setting *row, int column)
{
    const char *help = row->help;
    char left[LEFT_MAX];
    int n;

    left_of(s, row, left);
    if (!help)
        printf("  %s\n", left);
    for (; help; help = help[n] ? help + n + 1 : NULL) {
        n = (int)strcspn(help, "\n");
        printf("  %-*s %.*s\n", column, left, n, help);
        left[0] = '\0';
    }
}

static int print_help(const struct settings *s)
{
    const int column = column_of(s);

    printf("%s", s->usage);
    for (size_t i = 0; i < s->n + ROW_MAX; i++)
        if (row_at(s, i)->name)
            print_row(s, row_at(s, i), column);
    printf("%s", s->end);
    return 0;
}

/* The command line. */

struct command_line {
    const struct settings *settings;
    int argc;
    char **argv;
    char letters[2 * (SETTINGS_MAX + ROW_MAX) + 1]; /* these two are what getopt_long(3) wants */
    struct option longs[SETTINGS_MAX + ROW_MAX + 1];
    const char *last[SETTINGS_MAX]; /* value of each row */
};

static void prepare(struct command_line *c)
{
    size_t n_letters = 0, n_longs = 0;

    assert(c->settings->n <= SETTINGS_MAX);
    for (size_t i = 0; i < c->settings->n + ROW_MAX; i++) {
        const struct setting *row = row_at(c->settings, i);

        if (row->letter)
            c->letters[n_letters++] = row->letter;
        if (row->letter && row->value)
            c->letters[n_letters++] = ':';
        if (row->name)
            c->longs[n_longs++] =
                (struct option){ row->name, row->value ? required_argument : no_argument, NULL,
                                 (int)(FIRST_OPTION + i) };
    }
}

/* The next option, its value in `optarg`. 1; 0: that was all; -EINVAL: getopt_long(3) has said why. */
static int next(const struct command_line *c, size_t *ret)
{
    const int got = getopt_long(c->argc, c->argv, c->letters, c->longs, NULL);
    size_t i;

    if (got < 0)
        return 0;
    for (i = 0; i < c->settings->n + ROW_MAX; i++)
        if (got == FIRST_OPTION + (int)i || got == row_at(c->settings, i)->letter)
            break;
    if (i == c->settings->n + ROW_MAX)
        return -EINVAL;
    *ret = i;
    return 1;
}

/* Whatever can be refused before anything is set. As settings_take(). */
static int look(struct command_line *c)
{
    const struct settings *s = c->settings;
    size_t i;
    int r;

    optind = 0; /* getopt_long(3): begin anew */
    while ((r = next(c, &i)) > 0) {
        if (row_at(s, i) == &own_rows[ROW_HELP])
            return print_help(s);
        if (row_at(s, i) == &own_rows[ROW_VERSION])
            return printf("%s %s\n", s->program, WAYMARK_VERSION), 0;
        c->last[i] = optarg;
    }
    if (r == 0 && optind < c->argc) {
        log_error("%s: '%s'", s->no_arguments, c->argv[optind]);
        r = -EINVAL;
    }
    return r < 0 ? r : 1;
}

static int set_files(const struct command_line *c, void *data, struct why *why)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->settings->n; i++)
        if (c->settings->rows[i].to.file)
            r = set(&c->settings->rows[i], data, c->last[i], why);
    return r;
}

static int set_options(const struct command_line *c, void *data, struct why *why)
{
    size_t i;
    int r = 0;

    optind = 0;
    while (r == 0 && next(c, &i) > 0) {
        const struct setting *row = &c->settings->rows[i];

        if (!row->to.file)
            r = set(row, data, optarg, why);
        if (row->to.secret)
            explicit_bzero(optarg, strlen(optarg));
    }
    return r;
}

int settings_take(const struct settings *s, int argc, char **argv, void *data)
{
    struct command_line c = { .settings = s, .argc = argc, .argv = argv };
    struct why why = { 0 };
    int r;

    prepare(&c);
    r = look(&c);
    if (r <= 0)
        return r;
    r = set_files(&c, data, &why);
    if (r == 0)
        r = set_options(&c, data, &why);
    if (r == 0 && s->check)
        r = s->check(data, &why);
    if (r == 0)
        return 1;
    log_error("%s", why_text(&why, r));
    return -EINVAL;
}
