/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/options.h"

#include <errno.h>
#include <getopt.h>
#include <pwd.h>
#include <stdio.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "wire/conf.h"

#define CONFIG_DEFAULT "/etc/waymark/keystore.conf"

enum {
    CONFIG_MAX = 1 << 20,
    TIMEOUT_MAX = 3600,
    DELAY_MAX_MS = 3600000,
};

enum { SYSTEM, VPN, WIFI };

typedef int (*option_setter)(struct options *o, const char *value, struct why *why);

struct option_row {
    const char *name;  /* on the command line; NULL: in the file only */
    const char *key;   /* in the file; NULL: on the command line only */
    const char *value; /* NULL: takes none */
    option_setter set;
    const char *help;
};

static int set_number(const char *value, uint32_t min, uint32_t max, const char *what,
                      uint32_t *ret, struct why *why)
{
    if (parse_u32(value, max, ret) < 0 || *ret < min)
        return why_set(why, -EINVAL, "'%s' is no %s, that is %u to %u", value, what, min, max);
    return 0;
}

static int set_string(char **string, const char *value, struct why *why)
{
    char *copy = strdup(value);

    if (!copy)
        return why_set(why, -ENOMEM, "out of memory");
    free(*string);
    *string = copy;
    return 0;
}

static int set_runtime_dir(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->runtime_dir = value;
    return 0;
}

static int set_state_dir(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->state_dir = value;
    return 0;
}

static int set_config(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->config = value;
    return 0;
}

static int set_user(struct options *o, const char *value, struct why *why)
{
    (void)why;
    o->user = value;
    return 0;
}

/* A user's name, a uid, or "" or "none" for nobody. */
static int set_name(struct options *o, int who, const char *value, struct why *why)
{
    uint32_t uid;

    if (value[0] >= '0' && value[0] <= '9' && parse_u32(value, UINT32_MAX - 1, &uid) < 0)
        return why_set(why, -EINVAL, "'%s' is no uid, that is 0 to %u", value, UINT32_MAX - 1);
    return set_string(&o->names[who], value, why);
}

static int set_system(struct options *o, const char *value, struct why *why)
{
    return set_name(o, SYSTEM, value, why);
}

static int set_vpn(struct options *o, const char *value, struct why *why)
{
    return set_name(o, VPN, value, why);
}

static int set_wifi(struct options *o, const char *value, struct why *why)
{
    return set_name(o, WIFI, value, why);
}

static int set_key_file(struct options *o, const char *value, struct why *why)
{
    return set_string(&o->key_file, value, why);
}

static int set_wipe(struct options *o, const char *value, struct why *why)
{
    static const char *const words[] = { "no", "yes" };
    int word = parse_word(words, ELEMENTSOF(words), value);

    if (word < 0)
        return why_set(why, -EINVAL, "'%s' is neither yes nor no", value);
    o->store.wipe = word;
    return 0;
}

static int set_no_wipe(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->store.wipe = false;
    return 0;
}

static int set_retry_delay(struct options *o, const char *value, struct why *why)
{
    uint32_t ms = 0;
    int r = set_number(value, 0, DELAY_MAX_MS, "delay in milliseconds", &ms, why);

    if (r == 0)
        o->store.retry_delay = ms * USEC_PER_MSEC;
    return r;
}

static int set_quota_keys(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, 0, UINT32_MAX, "number of keys", &n, why);

    if (r == 0)
        o->store.quota_keys = n;
    return r;
}

static int set_quota_bytes(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, 0, UINT32_MAX, "number of bytes", &n, why);

    if (r == 0)
        o->store.quota_bytes = n;
    return r;
}

static int set_total_keys(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, 0, UINT32_MAX, "number of keys", &n, why);

    if (r == 0)
        o->store.total_keys = n;
    return r;
}

static int set_total_bytes(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, 0, UINT32_MAX, "number of bytes", &n, why);

    if (r == 0)
        o->store.total_bytes = n;
    return r;
}

static int set_argon2_memory(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, STORE_ARGON2_MEMORY_MIN, STORE_ARGON2_MEMORY_MAX, "memory in KiB", &n,
                       why);

    if (r == 0)
        o->store.argon2_memory = n;
    return r;
}

static int set_argon2_passes(struct options *o, const char *value, struct why *why)
{
    uint32_t n = 0;
    int r = set_number(value, 1, STORE_ARGON2_PASSES_MAX, "number of passes", &n, why);

    if (r == 0)
        o->store.argon2_passes = n;
    return r;
}

static int set_timeout(struct options *o, const char *value, struct why *why)
{
    uint32_t seconds = 0;
    int r = set_number(value, 1, TIMEOUT_MAX, "number of seconds", &seconds, why);

    if (r == 0)
        o->timeout = seconds * USEC_PER_SEC;
    return r;
}

static int set_no_sandbox(struct options *o, const char *value, struct why *why)
{
    (void)value, (void)why;
    o->sandbox = false;
    return 0;
}

static int set_log_level(struct options *o, const char *value, struct why *why)
{
    if (log_level_from_string(value, &o->log_level) < 0)
        return why_set(why, -EINVAL,
                       "'%s' is no log level: use err, warning, notice, info or debug", value);
    return 0;
}

/* clang-format off */
static const struct option_row rows[] = {
    { "runtime-dir", NULL, "DIR", set_runtime_dir, "where the socket is made (default /run/waymark)" },
    { "state-dir", NULL, "DIR", set_state_dir, "the secrets (default /var/lib/waymark-keystore)" },
    { "config", NULL, "FILE", set_config, "read that (default " CONFIG_DEFAULT ", if it is there)" },
    { "system-uid", "system", "UID", set_system, "who may all but get (default: the user waymark)" },
    { "vpn-uid", "vpn", "UID", set_vpn, "who may get what is system's (default: the user waymark-vpn)" },
    { "wifi-uid", "wifi", "UID", set_wifi, "the same (default: nobody)" },
    { "key-file", "key-file", "FILE", set_key_file, "opens the store at start (default: the credential keystore.key, if there is)" },
    { NULL, "wipe", NULL, set_wipe, NULL },
    { "no-wipe", NULL, NULL, set_no_wipe, "do not wipe the store after the last wrong password" },
    { "retry-delay", "retry-delay", "MS", set_retry_delay, "after a wrong password; doubles (default 250)" },
    { "quota-keys", "quota-keys", "NUMBER", set_quota_keys, "of each user (default 1024)" },
    { "quota-bytes", "quota-bytes", "BYTES", set_quota_bytes, "in values of each user (default 4194304)" },
    { "total-keys", "total-keys", "NUMBER", set_total_keys, "of all users (default 65536)" },
    { "total-bytes", "total-bytes", "BYTES", set_total_bytes, "in values of all users (default 268435456)" },
    { "argon2-memory", "argon2-memory", "KIB", set_argon2_memory, "what trying a password costs (default 65536)" },
    { "argon2-passes", "argon2-passes", "NUMBER", set_argon2_passes, "the same (default 3)" },
    { "timeout", "timeout", "SECONDS", set_timeout, "for a client to say what he wants (default 30)" },
    { "user", NULL, "USER", set_user, "whom to be once all is set up (default, for root: waymark-keystore)" },
    { "no-sandbox", NULL, NULL, set_no_sandbox, "stay whom it was started as, with all system calls" },
    { "log-level", "log-level", "LEVEL", set_log_level, "err, warning, notice, info (default) or debug" },
};
/* clang-format on */

enum {
    FIRST_OPTION = 256, /* + number of the row */
    OPTION_VERSION = FIRST_OPTION + ELEMENTSOF(rows),
};

static int help(void)
{
    printf("Usage: waymark-keystored [OPTION]…\n"
           "Keeps secrets, each for the user who stored it and for whom he grants it to.\n\n");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        const struct option_row *o = &rows[i];
        char left[64];

        if (!o->name)
            continue;
        snprintf(left, sizeof(left), "--%s%s%s", o->name, o->value ? " " : "",
                 o->value ? o->value : "");
        printf("  %-24s %s\n", left, o->help);
    }
    printf("  --version\n  --help\n\nSee waymark-keystored(8).\n");
    return 0;
}

/* The configuration. */

static int take_line(void *data, const struct conf_line *line, struct why *why)
{
    if (!streq(line->section, "keystore") || line->argument[0] != '\0')
        return why_set(why, -EINVAL, "there is no section [%s%s%s] here: use [keystore]",
                       line->section, line->argument[0] ? " " : "", line->argument);
    if (!line->key)
        return 0;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].key && streq(rows[i].key, line->key))
            return rows[i].set(data, line->value, why);
    return why_set(why, -EINVAL, "section [keystore] has no key '%s'", line->key);
}

static int read_config(struct options *o, struct why *why)
{
    const char *path = o->config ? o->config : CONFIG_DEFAULT;
    _cleanup_free_ char *text = NULL;
    unsigned line = 0;
    size_t size;
    int r = fd_read_file(path, CONFIG_MAX, &text, &size);

    if (r == -ENOENT && !o->config)
        return 0;
    if (r < 0)
        return why_set(why, r, "cannot read %s: %s", path, strerror(-r));
    r = conf_parse(text, size, take_line, o, &line, why);
    return r < 0 ? why_prefix(why, "%s:%u", path, line) : 0;
}

/* The command line. */

/* What is said last is what counts, as if it were set in turn. */
static int collect(int argc, char **argv, const char *given[static ELEMENTSOF(rows)],
                   struct why *why)
{
    struct option longs[ELEMENTSOF(rows) + 3];
    size_t n = 0;
    int c;

    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (rows[i].name)
            longs[n++] =
                (struct option){ rows[i].name, rows[i].value ? required_argument : no_argument,
                                 NULL, (int)(FIRST_OPTION + i) };
    longs[n++] = (struct option){ "version", no_argument, NULL, OPTION_VERSION };
    longs[n++] = (struct option){ "help", no_argument, NULL, 'h' };
    longs[n] = (struct option){ 0 };
    while ((c = getopt_long(argc, argv, "h", longs, NULL)) >= 0) {
        if (c == 'h')
            return help();
        if (c == OPTION_VERSION) {
            printf("waymark-keystored %s\n", WAYMARK_VERSION);
            return 0;
        }
        if (c < FIRST_OPTION)
            return -EINVAL; /* getopt has said why */
        given[c - FIRST_OPTION] = optarg ? optarg : "";
    }
    if (optind < argc)
        return why_set(why, -EINVAL, "it takes options only: '%s'", argv[optind]);
    return 1;
}

static int take(int argc, char **argv, struct options *o, struct why *why)
{
    const char *given[ELEMENTSOF(rows)] = { NULL };
    int r = collect(argc, argv, given, why);

    if (r <= 0)
        return r;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        if (given[i] && rows[i].set == set_config)
            o->config = given[i];
    r = read_config(o, why);
    for (size_t i = 0; r == 0 && i < ELEMENTSOF(rows); i++)
        if (given[i])
            r = rows[i].set(o, given[i], why);
    return r < 0 ? r : 1;
}

int options_parse(int argc, char **argv, struct options *ret)
{
    _cleanup_options_ struct options o = {
        .runtime_dir = "/run/waymark",
        .state_dir = "/var/lib/waymark-keystore",
        .names = { [SYSTEM] = strdup("waymark"), [VPN] = strdup("waymark-vpn") },
        .store = STORE_SETTINGS_DEFAULT,
        .timeout = 30 * USEC_PER_SEC,
        .sandbox = true,
        .log_level = LOG_INFO,
    };
    struct why why = { 0 };
    int r = take(argc, argv, &o, &why);

    if (r < 0) {
        if (why.error < 0)
            log_error("%s", why.text);
        return -EINVAL;
    }
    if (r == 0)
        return 0;
    log_set_max_level(o.log_level);
    *ret = o;
    o = (struct options){ 0 };
    return 1;
}

void options_done(struct options *o)
{
    for (size_t i = 0; i < ELEMENTSOF(o->names); i++)
        free(o->names[i]);
    free(o->key_file);
    *o = (struct options){ 0 };
}

static uid_t find_uid(const char *name, const char *what)
{
    const struct passwd *pw;
    uint32_t uid;

    if (!name || streq(name, "") || streq(name, "none"))
        return POLICY_NOBODY;
    if (parse_u32(name, UINT32_MAX - 1, &uid) == 0)
        return uid;
    pw = getpwnam(name);
    if (pw)
        return pw->pw_uid;
    log_warning("there is no user '%s': nobody is %s", name, what);
    return POLICY_NOBODY;
}

struct policy options_policy(const struct options *o)
{
    return (struct policy){
        .system = find_uid(o->names[SYSTEM], "system"),
        .vpn = find_uid(o->names[VPN], "vpn"),
        .wifi = find_uid(o->names[WIFI], "wifi"),
    };
}
