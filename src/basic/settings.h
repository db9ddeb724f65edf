/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What a program is told: by its command line and, where it has one, by its file. One table has both.
 *
 * A row is an option, a key of the file, or both; --help is made of the rows, too. Its last part, `to`, says
 * which field of the program's struct it sets, and how; the macros below make it, and do not compile where
 * setter and field, or range and field, do not fit. What a program has of its own is a setter of the same
 * shape, named with SETTING() or SETTING_WHOLE(); it may check, and leave the rest to one of those here.
 *
 * First all options are looked at: what is none is refused, --help (-h) and --version, which each program
 * has, are answered. Then the file is read, and then the command line sets, in its order. So it wins, and of
 * what is said twice the last counts.
 *
 * As basic/log.h, this is for programs only: settings_take() prints, and says what is wrong on standard error.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/why.h"

enum { SETTINGS_MAX = 64 }; /* rows of a table */

struct setting_to;

/* `value` is NULL for an option that takes none. 0, or a negative errno with the reason. */
typedef int (*setting_setter)(const struct setting_to *to, void *field, const char *value,
                              struct why *why);

struct setting_to {
    setting_setter set;
    size_t offset, size;      /* the field's */
    uint32_t min, max;        /* a number: its range; a flag: max is what the field becomes */
    uint64_t scale;           /* a number: is multiplied by it */
    const char *what;         /* a number, a word: "'5' is no …" */
    const char *const *words; /* n of them, by what the field becomes */
    size_t n_words;
    bool secret; /* is wiped from the command line, which others see (ps) */
    bool file;   /* is set before all others, also where it is not given: then the value is NULL */
};

struct setting {
    char letter;       /* "-x"; 0: none */
    const char *name;  /* "--name"; NULL: in the file only */
    const char *key;   /* in the file; NULL: on the command line only */
    const char *value; /* what its value is called; NULL: on the command line it takes none */
    const char *help;  /* in lines, without the last one's end */
    struct setting_to to;
};

struct settings {
    const char *program;
    const char *usage, *end;  /* of --help: what stands above the options, and below */
    const char *no_arguments; /* what is said to a word that is no option */
    const struct setting *rows;
    size_t n;
    int (*check)(void *data, struct why *why); /* what no row can see alone; NULL: nothing */
};

/*
 * Sets in *data what was said. 1: go on; 0: all is done (help, version); or -EINVAL, what is wrong has been
 * said. *data may be half set unless it is 1. Strings that are `const char *` there are argv's.
 */
int settings_take(const struct settings *s, int argc, char **argv, void *data);

/*
 * One line of a file. 1; 0: there is no such key; or a negative errno with the reason. What sets it must not
 * keep `value`: fields of keys are owned strings, or no strings.
 */
int settings_set_key(const struct settings *s, void *data, const char *key, const char *value,
                     struct why *why);

/* The setters. */
int setting_borrowed(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_owned(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_secret(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_flag(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_bool(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_number(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_word(const struct setting_to *to, void *field, const char *value, struct why *why);
int setting_log_level(const struct setting_to *to, void *field, const char *value, struct why *why);

/* Laid out by hand, for clang-format does not know _Generic(). */
/* clang-format off */

/* A field of a struct that is not there: for its type only. */
#define SETTING_FIELD_(type, member) (((type *)NULL)->member)
#define SETTING_AT_(type, member) \
    .offset = offsetof(type, member), .size = sizeof(SETTING_FIELD_(type, member))

#define SETTING_MAX_OF_(type, member) ((__typeof__(SETTING_FIELD_(type, member)))-1)

/* 0; or it does not compile. */
#define SETTING_SURE_(condition, text)                                                     \
    (0 * sizeof(struct { _Static_assert(condition, text); char one; }))

/* By a setter of the program's own: a field; all of the struct. */
#define SETTING(type, member, setter) { .set = (setter), SETTING_AT_(type, member) }
#define SETTING_WHOLE(setter) { .set = (setter) }

/* The same for the path of the file: reads it, by settings_set_key(). */
#define SETTING_FILE(setter) { .set = (setter), .file = true }

/* As it is: a `char *` becomes a copy of its own, a `const char *` does not. */
#define SETTING_STRING(type, member) {                                                     \
    SETTING_AT_(type, member),                                                             \
    .set = _Generic(&SETTING_FIELD_(type, member), /* an array is none of them */          \
                    char **: setting_owned, const char **: setting_borrowed) }

/* The same, a copy always. What is replaced is wiped, too; the program wipes the last. */
#define SETTING_SECRET(type, member) {                                                     \
    SETTING_AT_(type, member), .secret = true,                                             \
    .set = _Generic(&SETTING_FIELD_(type, member), char **: setting_secret) }

/* Takes no value: the field, a bool or an enum, becomes `constant`. Not for keys. */
#define SETTING_FLAG(type, member, constant) {                                             \
    SETTING_AT_(type, member), .max = (constant),                                          \
    .set = _Generic(SETTING_FIELD_(type, member),                                          \
                    bool: setting_flag, int: setting_flag, unsigned: setting_flag) }

/* "yes" or "no". */
#define SETTING_BOOL(type, member) {                                                       \
    SETTING_AT_(type, member),                                                             \
    .set = _Generic(SETTING_FIELD_(type, member), bool: setting_bool) }

/* least … most; the field, of an unsigned type, becomes that many times `unit`. */
#define SETTING_NUMBER(type, member, least, most, unit, name) {                            \
    SETTING_AT_(type, member), .scale = (unit), .what = (name),                            \
    .min = (least) + SETTING_SURE_((int64_t)(least) <= (int64_t)(most), "a number is in range"), \
    .max = (most) + SETTING_SURE_((uint64_t)(most) * (unit) <= SETTING_MAX_OF_(type, member), \
                                  "the field holds the range"),                            \
    .set = _Generic(SETTING_FIELD_(type, member), unsigned: setting_number,                \
                    unsigned long: setting_number, unsigned long long: setting_number) }

/* A word of the array `list`, which has no gaps: the field, an enum, becomes its index. */
#define SETTING_WORD(type, member, list, name) {                                           \
    SETTING_AT_(type, member), .words = (list), .n_words = ELEMENTSOF(list), .what = (name), \
    .set = _Generic(SETTING_FIELD_(type, member), int: setting_word, unsigned: setting_word) }

/* For log_set_max_level(). */
#define SETTING_LOG_LEVEL(type, member) {                                                  \
    SETTING_AT_(type, member),                                                             \
    .set = _Generic(SETTING_FIELD_(type, member), int: setting_log_level) }

/* clang-format on */
