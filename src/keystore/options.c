/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "keystore/options.h"

#include <errno.h>
#include <pwd.h>

#include "basic/fd.h"
#include "basic/log.h"
#include "basic/parse.h"
#include "basic/settings.h"
#include "wire/conf.h"

#define CONFIG_DEFAULT "/etc/waymark/keystore.conf"

enum {
    CONFIG_MAX = 1 << 20,
    TIMEOUT_MAX = 3600,
    DELAY_MAX_MS = 3600000,
};

enum { SYSTEM, VPN, WIFI };

/* A user's name, a uid, or "" or "none" for nobody. */
static int set_user(const struct setting_to *to, void *field, const char *value, struct why *why)
{
    uint32_t uid;

    if (value[0] >= '0' && value[0] <= '9' && parse_u32(value, UINT32_MAX - 1, &uid) < 0)
        return why_set(why, -EINVAL, "'%s' is no uid, that is 0 to %u", value, UINT32_MAX - 1);
    return setting_owned(to, field, value, why);
}

static int read_config(const struct setting_to *to, void *options, const char *path,
                       struct why *why);

/* clang-format off */
static const struct setting rows[] = {
    { 0, "runtime-dir", NULL, "DIR", "where the socket is made (default /run/waymark)",
      SETTING_STRING(struct options, runtime_dir) },
    { 0, "state-dir", NULL, "DIR", "the secrets (default /var/lib/waymark-keystore)",
      SETTING_STRING(struct options, state_dir) },
    { 0, "config", NULL, "FILE", "read that (default " CONFIG_DEFAULT ", if it is there)",
      SETTING_FILE(read_config) },
    { 0, "system-uid", "system", "UID", "who may all but get (default: the user waymark)",
      SETTING(struct options, names[SYSTEM], set_user) },
    { 0, "vpn-uid", "vpn", "UID", "who may get what is system's (default: the user waymark-vpn)",
      SETTING(struct options, names[VPN], set_user) },
    { 0, "wifi-uid", "wifi", "UID", "the same (default: nobody)",
      SETTING(struct options, names[WIFI], set_user) },
    { 0, "key-file", "key-file", "FILE", "opens the store at start (default: the credential keystore.key, if there is)",
      SETTING_STRING(struct options, key_file) },
    { 0, NULL, "wipe", NULL, NULL,
      SETTING_BOOL(struct options, store.wipe) },
    { 0, "no-wipe", NULL, NULL, "do not wipe the store after the last wrong password",
      SETTING_FLAG(struct options, store.wipe, false) },
    { 0, "retry-delay", "retry-delay", "MS", "after a wrong password; doubles (default 250)",
      SETTING_NUMBER(struct options, store.retry_delay, 0, DELAY_MAX_MS, USEC_PER_MSEC, "delay in milliseconds") },
    { 0, "quota-keys", "quota-keys", "NUMBER", "of each user (default 1024)",
      SETTING_NUMBER(struct options, store.quota_keys, 0, UINT32_MAX, 1, "number of keys") },
    { 0, "quota-bytes", "quota-bytes", "BYTES", "in values of each user (default 4194304)",
      SETTING_NUMBER(struct options, store.quota_bytes, 0, UINT32_MAX, 1, "number of bytes") },
    { 0, "total-keys", "total-keys", "NUMBER", "of all users (default 65536)",
      SETTING_NUMBER(struct options, store.total_keys, 0, UINT32_MAX, 1, "number of keys") },
    { 0, "total-bytes", "total-bytes", "BYTES", "in values of all users (default 268435456)",
      SETTING_NUMBER(struct options, store.total_bytes, 0, UINT32_MAX, 1, "number of bytes") },
    { 0, "argon2-memory", "argon2-memory", "KIB", "what trying a password costs (default 65536)",
      SETTING_NUMBER(struct options, store.argon2_memory, STORE_ARGON2_MEMORY_MIN, STORE_ARGON2_MEMORY_MAX, 1, "memory in KiB") },
    { 0, "argon2-passes", "argon2-passes", "NUMBER", "the same (default 3)",
      SETTING_NUMBER(struct options, store.argon2_passes, 1, STORE_ARGON2_PASSES_MAX, 1, "number of passes") },
    { 0, "timeout", "timeout", "SECONDS", "for a client to say what he wants (default 30)",
      SETTING_NUMBER(struct options, timeout, 1, TIMEOUT_MAX, USEC_PER_SEC, "number of seconds") },
    { 0, "user", NULL, "USER", "whom to be once all is set up (default, for root: waymark-keystore)",
      SETTING_STRING(struct options, user) },
    { 0, "no-sandbox", NULL, NULL, "stay whom it was started as, with all system calls",
      SETTING_FLAG(struct options, sandbox, false) },
    { 0, "log-level", "log-level", "LEVEL", "err, warning, notice, info (default) or debug",
      SETTING_LOG_LEVEL(struct options, log_level) },
};
/* clang-format on */

static const struct settings settings = {
    .program = "waymark-keystored",
    .usage = "Usage: waymark-keystored [OPTION]…\n"
             "Keeps secrets, each for the user who stored it and for whom he grants it to.\n\n",
    .end = "\nSee waymark-keystored(8).\n",
    .no_arguments = "it takes options only",
    .rows = rows,
    .n = ELEMENTSOF(rows),
};

static int take_line(void *options, const struct conf_line *line, struct why *why)
{
    int r;

    if (!streq(line->section, "keystore") || line->argument[0] != '\0')
        return why_set(why, -EINVAL, "there is no section [%s%s%s] here: use [keystore]",
                       line->section, line->argument[0] ? " " : "", line->argument);
    if (!line->key)
        return 0;
    r = settings_set_key(&settings, options, line->key, line->value, why);
    if (r == 0)
        return why_set(why, -EINVAL, "section [keystore] has no key '%s'", line->key);
    return MIN(r, 0);
}

static int read_config(const struct setting_to *to, void *options, const char *path,
                       struct why *why)
{
    const char *file = path ? path : CONFIG_DEFAULT;
    _cleanup_free_ char *text = NULL;
    unsigned line = 0;
    size_t size;
    int r = fd_read_file(file, CONFIG_MAX, &text, &size);

    (void)to;
    if (r == -ENOENT && !path)
        return 0;
    if (r < 0)
        return why_set(why, r, "cannot read %s: %s", file, strerror(-r));
    r = conf_parse(text, size, take_line, options, &line, why);
    return r < 0 ? why_prefix(why, "%s:%u", file, line) : 0;
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
    int r = settings_take(&settings, argc, argv, &o);

    if (r <= 0)
        return r;
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
