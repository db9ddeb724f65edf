/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What was typed: the options, from one table, wherever they stand, and the words between them.
 */

#include <stdbool.h>
#include <stdint.h>

#include "basic/why.h"

enum option_id {
    /* for every command */
    OPTION_JSON,
    OPTION_RUNTIME_DIR,
    OPTION_TIMEOUT,
    OPTION_COLOR,
    OPTION_HELP,
    OPTION_VERSION,
    OPTIONS_GLOBAL, /* how many those are */
    /* for some */
    OPTION_NETID = OPTIONS_GLOBAL,
    OPTION_TYPE,
    OPTION_INTERFACE,
    OPTION_DNS,
    OPTION_DOMAIN,
    OPTION_PERMISSION,
    OPTION_PREFER,
    OPTION_UID,
    OPTION_USER,
    OPTION_PID,
    OPTION_EXE,
    OPTION_UNIT,
    OPTION_CGROUP,
    OPTION_MARK,
    OPTION_DEV,
    OPTION_FROM,
    OPTION_SCOPE,
    /* of networks that are VPNs, and of VPNs */
    OPTION_LOCKDOWN,
    OPTION_FALL_THROUGH,
    OPTION_FORWARD,
    OPTION_OUTSIDE,
    OPTION_BYPASS,
    OPTION_ALWAYS_ON,
    OPTION_EVERYONE,
    OPTION_APPS,
    OPTION_EXCEPT,
    OPTION_EXEMPT,
    OPTION_LAN,
    OPTION_OWNER,
    OPTION_ENGINE,
    OPTION_ADDRESS,
    OPTION_ROUTE,
    OPTION_EXCLUDE,
    OPTION_NAME,
    OPTION_FORCE,
    OPTION_CONFIG,
    OPTION_WAIT,
    OPTION_REVOKE,
    /* of the keystore */
    OPTION_AS,
    OPTION_MAP,
    OPTION_PARTIAL,
    OPTION_WORDS,
    OPTION_MAX,
};

#define OPTION_BIT(id) (UINT64_C(1) << (OPTION_##id))

/* How an option may be given. */
enum given {
    GIVEN_ONCE,
    GIVEN_MANY, /* more than once is fine */
    GIVEN_BARE, /* once; its value may be left away, and then is "yes", one of its choices */
};

struct option_row {
    const char *name;    /* without "--" */
    const char *value;   /* what its value is called; NULL = it takes none */
    const char *choices; /* the values there are, "a|b|c"; NULL = not a fixed set */
    const char *help;    /* NULL = not shown */
    enum given given;
};

extern const struct option_row option_rows[OPTION_MAX];

struct option_given {
    enum option_id id;
    const char *value; /* "" for one that takes none */
};

struct arguments {
    struct option_given *options;
    size_t n_options;
    const char **words; /* ended by NULL */
    size_t n_words;
    int n_read; /* what is in argv from here on is another program's */
};

/* Does the last of these words begin the command line of another program? */
typedef bool (*arguments_end)(const char *const *words, size_t n);

/*
 * Splits the command line; "--" ends the options, and so does `end`. Values are not looked at. 0;
 * -EINVAL with a sentence; -ENOMEM. Strings in *ret are those of argv; release with arguments_done().
 */
int arguments_parse(int argc, char **argv, arguments_end end, struct arguments *ret,
                    struct why *why);
void arguments_done(struct arguments *a);

/* The last value that was given for an option, or NULL. */
const char *arguments_value(const struct arguments *a, enum option_id id);

static inline bool arguments_have(const struct arguments *a, enum option_id id)
{
    return arguments_value(a, id) != NULL;
}
