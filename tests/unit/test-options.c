/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/daemon/options: waymarkd's command line. What is wrong is said; help and version are printed.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "basic/log.h"
#include "daemon/options.h"
#include "unit/capture.h"

enum { WORDS_MAX = 8, TEXT_MAX = 4096 };

#define DEFAULTS "/run/waymark /var/lib/waymark /etc/waymark host-networks"

/* clang-format off */
static const struct {
    const char *name;
    const char *words[WORDS_MAX]; /* behind the program's name */
    int result;
    const char *expected; /* 1: the arguments; else a part of what is printed */
} rows[] = {
    { "nothing", { NULL }, 1, DEFAULTS " run" },
    { "all folders", { "--runtime-dir", "/r", "--state-dir", "/s", "--config", "/c" }, 1,
      "/r /s /c host-networks run" },
    { "with =", { "--runtime-dir=/r", "--state-dir=", "--config=c.conf" }, 1,
      "/r  c.conf host-networks run" },
    { "the last one counts", { "--config", "/a", "--config", "/b" }, 1,
      "/run/waymark /var/lib/waymark /b host-networks run" },
    { "shortened", { "--runtime", "/r", "--panic" }, 1,
      "/r /var/lib/waymark /etc/waymark host-networks panic-off" },
    { "a value that looks like an option", { "--config", "--doctor" }, 1,
      "/run/waymark /var/lib/waymark --doctor host-networks run" },
    { "no host networks", { "--no-host-networks" }, 1,
      "/run/waymark /var/lib/waymark /etc/waymark - run" },
    { "log level", { "--log-level", "debug" }, 1, DEFAULTS " run" },
    { "panic-off", { "--panic-off" }, 1, DEFAULTS " panic-off" },
    { "doctor", { "--doctor" }, 1, DEFAULTS " doctor" },
    { "the end of options", { "--doctor", "--" }, 1, DEFAULTS " doctor" },

    { "help", { "--help" }, 0, "Usage: waymarkd [OPTION]" },
    { "help, short", { "-h" }, 0, "Usage: waymarkd [OPTION]" },
    { "help ends it", { "--help", "--nonsense" }, 0, "--panic-off" },
    { "version", { "--version" }, 0, "waymarkd " WAYMARK_VERSION "\n" },

    { "unknown", { "--nonsense" }, -EINVAL, "'--nonsense'" },
    { "unknown, short", { "-x" }, -EINVAL, "'x'" },
    { "a value is missing", { "--config" }, -EINVAL, "'--config'" },
    { "a value too many", { "--doctor=yes" }, -EINVAL, "'--doctor'" },
    { "no log level", { "--log-level", "loud" }, -EINVAL,
      "'loud' is no log level: use err, warning" },
    { "an argument", { "--doctor", "eth0" }, -EINVAL, "only options: 'eth0'" },
    { "an argument before an option", { "eth0", "--doctor" }, -EINVAL, "only options: 'eth0'" },
    { "an option behind --", { "--", "--doctor" }, -EINVAL, "only options: '--doctor'" },
};
/* clang-format on */

/* Runs options_parse() with what it prints, on both channels, in `text`. */
static int parse(const char *const *words, struct arguments *ret, char text[static TEXT_MAX])
{
    char *argv[CAPTURE_ARGV_MAX + 1];
    int argc = capture_argv("waymarkd", words, argv), r;
    struct capture c;

    capture_begin(&c);
    r = options_parse(argc, argv, ret);
    capture_end(&c, text, TEXT_MAX);
    return r;
}

static void test_rows(void **state)
{
    static const char *const modes[] = { "run", "panic-off", "doctor" };

    (void)state;
    unsetenv("JOURNAL_STREAM");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct arguments a = { .options = { .runtime_dir = "untouched" } };
        char printed[TEXT_MAX], got[512];

        CHECK_INT(rows[i].name, parse(rows[i].words, &a, printed), rows[i].result);
        if (rows[i].result <= 0) {
            CHECK_CONTAINS(rows[i].name, printed, rows[i].expected);
            CHECK_TEXT(rows[i].name, a.options.runtime_dir, "untouched");
            continue;
        }
        snprintf(got, sizeof(got), "%s %s %s %s %s", a.options.runtime_dir, a.options.state_dir,
                 a.options.config, a.options.host_networks ? "host-networks" : "-", modes[a.mode]);
        CHECK_TEXT(rows[i].name, printed, "");
        CHECK_TEXT(rows[i].name, got, rows[i].expected);
    }
    CHECK_END();
}

/* A level that is none leaves the old one. */
static void test_log_level(void **state)
{
    static const char *const debug[] = { "--log-level", "debug", NULL };
    static const char *const loud[] = { "--log-level=loud", NULL };
    struct arguments a;
    char printed[TEXT_MAX];

    (void)state;
    log_set_max_level(LOG_WARNING);
    CHECK_INT("loud", parse(loud, &a, printed), -EINVAL);
    CHECK_INT("loud", log_max_level(), LOG_WARNING);
    CHECK_INT("debug", parse(debug, &a, printed), 1);
    CHECK_INT("debug", log_max_level(), LOG_DEBUG);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_log_level),
    };

    return RUN_TESTS(tests);
}
