/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/keystore/options: which option and which key of keystore.conf sets what, what is wrong, who wins.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "keystore/options.h"
#include "unit/capture.h"

enum { WORDS_MAX = 10, TEXT_MAX = 4096 };

#define FILE_PATH "keystore.conf" /* in a folder of the test's own */

/* clang-format off */
static const struct {
    const char *name, *file; /* NULL: there is none */
    const char *words[WORDS_MAX];
    int result;
    const char *expected; /* 1: what is not as by default; else what is said */
} rows[] = {
    { "nothing", "", { NULL }, 1, "" },
    { "folders", "", { "--runtime-dir", "/r", "--state-dir=/s" }, 1, " runtime-dir=/r state-dir=/s" },
    { "users", "", { "--system-uid", "1000", "--vpn-uid", "alice", "--wifi-uid", "none" }, 1,
      " system=1000 vpn=alice wifi=none" },
    { "the greatest uid", "", { "--vpn-uid", "4294967294" }, 1, " vpn=4294967294" },
    { "key file", "", { "--key-file", "/k" }, 1, " key-file=/k" },
    { "no wipe", "", { "--no-wipe" }, 1, " wipe=no" },
    { "delay", "", { "--retry-delay", "3600000" }, 1, " retry-delay=3600000000" },
    { "quota", "", { "--quota-keys", "0", "--quota-bytes", "4294967295" }, 1,
      " quota-keys=0 quota-bytes=4294967295" },
    { "total", "", { "--total-keys", "4294967295", "--total-bytes", "0" }, 1,
      " total-keys=4294967295 total-bytes=0" },
    { "argon2, least", "", { "--argon2-memory", "8", "--argon2-passes", "1" }, 1,
      " argon2-memory=8 argon2-passes=1" },
    { "argon2, most", "", { "--argon2-memory", "1048576", "--argon2-passes", "64" }, 1,
      " argon2-memory=1048576 argon2-passes=64" },
    { "timeout", "", { "--timeout", "3600" }, 1, " timeout=3600000000" },
    { "user, sandbox", "", { "--user", "bob", "--no-sandbox" }, 1, " user=bob sandbox=no" },
    { "log level", "", { "--log-level", "debug" }, 1, " log-level=7" },
    { "said twice", "", { "--timeout", "1", "--timeout", "2", "--key-file", "/a", "--key-file", "/b" }, 1,
      " key-file=/b timeout=2000000" },

    { "a file", "# all of it\n[keystore]\nsystem = 1\nvpn = 2\nwifi = 3\nkey-file = /k\nwipe = no\n"
      "retry-delay = 1\nquota-keys = 2\nquota-bytes = 3\ntotal-keys = 4\ntotal-bytes = 5\n"
      "argon2-memory = 16\nargon2-passes = 6\ntimeout = 7\nlog-level = err\n", { NULL }, 1,
      " system=1 vpn=2 wifi=3 key-file=/k wipe=no retry-delay=1000 quota-keys=2 quota-bytes=3 total-keys=4"
      " total-bytes=5 argon2-memory=16 argon2-passes=6 timeout=7000000 log-level=3" },
    { "nobody", "[keystore]\nvpn =\n", { NULL }, 1, " vpn=" },
    { "the line wins", "[keystore]\ntimeout = 7\nvpn = x\nquota-keys = 9\n", { "--vpn-uid=y", "--timeout", "8" }, 1,
      " vpn=y quota-keys=9 timeout=8000000" },
    { "the line wins, by another option", "[keystore]\nwipe = yes\n", { "--no-wipe" }, 1, " wipe=no" },
    { "said twice in the file", "[keystore]\ntimeout = 7\ntimeout = 8\n", { NULL }, 1, " timeout=8000000" },

    { "no file", NULL, { NULL }, -EINVAL, "cannot read " FILE_PATH ": No such file or directory\n" },
    { "no section", "timeout = 7\n", { NULL }, -EINVAL, FILE_PATH ":1: " },
    { "another section", "\n[vpn]\n", { NULL }, -EINVAL,
      FILE_PATH ":2: there is no section [vpn] here: use [keystore]\n" },
    { "a section's argument", "[keystore x]\n", { NULL }, -EINVAL,
      FILE_PATH ":1: there is no section [keystore x] here: use [keystore]\n" },
    { "no such key", "[keystore]\nuser = x\n", { NULL }, -EINVAL,
      FILE_PATH ":2: section [keystore] has no key 'user'\n" },
    { "an option's name", "[keystore]\nvpn-uid = 1\n", { NULL }, -EINVAL,
      FILE_PATH ":2: section [keystore] has no key 'vpn-uid'\n" },
    { "an option without a value", "[keystore]\nno-wipe = yes\n", { NULL }, -EINVAL,
      FILE_PATH ":2: section [keystore] has no key 'no-wipe'\n" },
    { "neither yes nor no", "[keystore]\nwipe = 1\n", { NULL }, -EINVAL,
      FILE_PATH ":2: '1' is neither yes nor no\n" },
    { "no number in the file", "[keystore]\nretry-delay = 1s\n", { NULL }, -EINVAL,
      FILE_PATH ":2: '1s' is no delay in milliseconds, that is 0 to 3600000\n" },
    { "no uid in the file", "[keystore]\nsystem = 4294967295\n", { NULL }, -EINVAL,
      FILE_PATH ":2: '4294967295' is no uid, that is 0 to 4294967294\n" },

    { "a key only", "", { "--wipe" }, -EINVAL, "--wipe" },
    { "no uid", "", { "--wifi-uid", "7up" }, -EINVAL, "'7up' is no uid, that is 0 to 4294967294\n" },
    { "no delay", "", { "--retry-delay", "3600001" }, -EINVAL,
      "'3600001' is no delay in milliseconds, that is 0 to 3600000\n" },
    { "no number of keys", "", { "--quota-keys", "-1" }, -EINVAL,
      "'-1' is no number of keys, that is 0 to 4294967295\n" },
    { "no number of bytes", "", { "--total-bytes", "4294967296" }, -EINVAL,
      "'4294967296' is no number of bytes, that is 0 to 4294967295\n" },
    { "no memory", "", { "--argon2-memory", "7" }, -EINVAL, "'7' is no memory in KiB, that is 8 to 1048576\n" },
    { "no passes", "", { "--argon2-passes", "65" }, -EINVAL, "'65' is no number of passes, that is 1 to 64\n" },
    { "no timeout", "", { "--timeout", "0" }, -EINVAL, "'0' is no number of seconds, that is 1 to 3600\n" },
    { "an argument", "", { "x" }, -EINVAL, "it takes options only: 'x'\n" },
    { "help", "[", { "--help" }, 0, "Usage: waymark-keystored [OPTION]" },
    { "version", NULL, { "--version" }, 0, "waymark-keystored " WAYMARK_VERSION "\n" },
};
/* clang-format on */

static void say_text(char *text, const char *key, const char *value, const char *usual)
{
    size_t n = strlen(text);

    if (value && (!usual || !streq(value, usual)))
        snprintf(text + n, TEXT_MAX - n, " %s=%s", key, value);
}

static void say_number(char *text, const char *key, uint64_t value, uint64_t usual)
{
    size_t n = strlen(text);

    if (value != usual)
        snprintf(text + n, TEXT_MAX - n, " %s=%llu", key, (unsigned long long)value);
}

static void say(const struct options *o, char text[static TEXT_MAX])
{
    const struct store_settings usual = STORE_SETTINGS_DEFAULT;

    text[0] = '\0';
    say_text(text, "runtime-dir", o->runtime_dir, "/run/waymark");
    say_text(text, "state-dir", o->state_dir, "/var/lib/waymark-keystore");
    say_text(text, "system", o->names[0], "waymark");
    say_text(text, "vpn", o->names[1], "waymark-vpn");
    say_text(text, "wifi", o->names[2], NULL);
    say_text(text, "key-file", o->key_file, NULL);
    say_text(text, "wipe", o->store.wipe ? NULL : "no", NULL);
    say_number(text, "retry-delay", o->store.retry_delay, usual.retry_delay);
    say_number(text, "quota-keys", o->store.quota_keys, usual.quota_keys);
    say_number(text, "quota-bytes", o->store.quota_bytes, usual.quota_bytes);
    say_number(text, "total-keys", o->store.total_keys, usual.total_keys);
    say_number(text, "total-bytes", o->store.total_bytes, usual.total_bytes);
    say_number(text, "argon2-memory", o->store.argon2_memory, usual.argon2_memory);
    say_number(text, "argon2-passes", o->store.argon2_passes, usual.argon2_passes);
    say_number(text, "timeout", o->timeout, 30 * USEC_PER_SEC);
    say_text(text, "user", o->user, NULL);
    say_text(text, "sandbox", o->sandbox ? NULL : "no", NULL);
    say_number(text, "log-level", (uint64_t)o->log_level, LOG_INFO);
}

static int parse(const char *const *words, struct options *ret, char text[static TEXT_MAX])
{
    const char *all[WORDS_MAX + 3] = { "--config", FILE_PATH };
    char *argv[CAPTURE_ARGV_MAX + 1];
    struct capture c;
    int argc, r;

    memcpy(all + 2, words, WORDS_MAX * sizeof(*words));
    argc = capture_argv("waymark-keystored", all, argv);
    capture_begin(&c);
    r = options_parse(argc, argv, ret);
    capture_end(&c, text, TEXT_MAX);
    return r;
}

static void test_rows(void **state)
{
    char folder[] = "/tmp/waymark-test-options-XXXXXX";

    (void)state;
    assert_non_null(mkdtemp(folder));
    assert_int_equal(chdir(folder), 0);
    unsetenv("JOURNAL_STREAM");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_options_ struct options o = { .runtime_dir = "untouched" };
        char printed[TEXT_MAX], got[TEXT_MAX];

        unlink(FILE_PATH);
        if (rows[i].file)
            assert_int_equal(fd_replace_file(FILE_PATH, rows[i].file, strlen(rows[i].file), 0600),
                             0);
        CHECK_INT(rows[i].name, parse(rows[i].words, &o, printed), rows[i].result);
        if (rows[i].result <= 0) {
            CHECK_CONTAINS(rows[i].name, printed, rows[i].expected);
            CHECK_TEXT(rows[i].name, o.runtime_dir, "untouched");
            continue;
        }
        say(&o, got);
        CHECK_TEXT(rows[i].name, printed, "");
        CHECK_TEXT(rows[i].name, got, rows[i].expected);
    }
    unlink(FILE_PATH);
    assert_int_equal(chdir("/"), 0);
    assert_int_equal(rmdir(folder), 0);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_rows) };

    return RUN_TESTS(tests);
}
