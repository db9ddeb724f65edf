/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* `waymark keystore`: asking, and what answers mean. keystore.h says why root asks as somebody else. */

#include <errno.h>
#include <pwd.h>
#include <unistd.h>

#include "basic/parse.h"
#include "cli/keystore.h"

/* Who asks. */

int keystore_find_user(struct cli *c, const char *word, uid_t *ret)
{
    const char *name = startswith(word, "uid:") ? word + STRLEN("uid:") : word;
    const struct passwd *pw = getpwnam(name);

    if (pw)
        *ret = pw->pw_uid;
    else if (parse_u32(name, (uid_t)-2, ret) < 0)
        return why_set(&c->why, -ENOENT, "there is no user '%.60s': use a name or a uid", word);
    return 0;
}

int keystore_check_self(struct cli *c, uid_t uid)
{
    if (uid == geteuid() || geteuid() == 0)
        return 0;
    c->code = EXIT_FAILED;
    return why_set(&c->why, -EPERM, "you are uid %u, and only root may act for uid %u: use sudo",
                   geteuid(), uid);
}

int keystore_find_self(struct cli *c, enum keystore_action action, uid_t *ret)
{
    const char *word = arguments_value(&c->args, OPTION_AS);
    const struct passwd *system = NULL;
    int r;

    *ret = geteuid();
    if (word) {
        r = keystore_find_user(c, word, ret);
        return r < 0 ? r : keystore_check_self(c, *ret);
    }
    if (*ret == 0 && action != KEYSTORE_GET)
        system = getpwnam(KEYSTORE_SYSTEM_USER);
    if (system)
        *ret = system->pw_uid;
    return 0;
}

/* What answers mean. */

static bool is_managing(enum keystore_action action)
{
    switch (action) {
    case KEYSTORE_RESET:
    case KEYSTORE_PASSWORD:
    case KEYSTORE_LOCK:
    case KEYSTORE_UNLOCK:
        return true;
    default:
        return false;
    }
}

static int not_allowed(struct cli *c, const struct keystore_question *q)
{
    if (q->action == KEYSTORE_GET)
        return why_set(&c->why, -EACCES,
                       "uid %u manages the keystore, and may not get keys: its VPNs do that",
                       q->uid);
    if (q->uid == 0)
        return why_set(
            &c->why, -EACCES,
            "root may only get keys: name with --as the user to act for (there is no user "
            "'%s', who manages the keystore)",
            KEYSTORE_SYSTEM_USER);
    if (is_managing(q->action))
        return why_set(
            &c->why, -EACCES,
            "uid %u may not do this: the keystore is managed by the user '%s', and by root in "
            "that name: use sudo",
            q->uid, KEYSTORE_SYSTEM_USER);
    return why_set(&c->why, -EACCES, "uid %u may only get keys, as the users of VPNs", q->uid);
}

static int not_found(struct cli *c, const struct keystore_question *q)
{
    switch (q->action) {
    case KEYSTORE_GET:
        return why_set(
            &c->why, -ENOENT,
            "there is no key '%.120s' that uid %u may read: its owner can let it with `waymark "
            "keystore grant`",
            q->key, q->uid);
    case KEYSTORE_UNGRANT:
        return why_set(&c->why, -ENOENT,
                       "the key '%.120s' of uid %u is not granted to '%.60s', or is not there",
                       q->key, q->uid, q->reader);
    default:
        return why_set(&c->why, -ENOENT, "uid %u has no key '%.120s': see `waymark keystore list`",
                       q->uid, q->key ? q->key : "");
    }
}

static int wrong_password(struct cli *c, unsigned tries)
{
    if (tries == 1)
        return why_set(
            &c->why, -EKEYREJECTED,
            "wrong password: 1 try is left, and if that is wrong, too, the keystore wipes "
            "everything");
    return why_set(&c->why, -EKEYREJECTED,
                   "wrong password: %u tries are left before the keystore wipes everything", tries);
}

/* Of who was asked for a password, it had one: it is gone, and all else. */
static int not_initialized(struct cli *c, const struct keystore_question *q)
{
    if (q->action == KEYSTORE_UNLOCK || q->action == KEYSTORE_PASSWORD)
        return why_set(
            &c->why, -ENODATA,
            "the password was wrong once too often, and the keystore has wiped everything: "
            "begin anew with `waymark keystore password`");
    return why_set(&c->why, -ENODATA,
                   "the keystore has no password yet: set one with `waymark keystore password`");
}

static int refused(struct cli *c, const struct keystore_question *q, uint8_t answer)
{
    switch (keystore_answer_error(answer)) {
    case -ENOKEY:
        return why_set(&c->why, -ENOKEY,
                       "the keystore is locked: unlock it with `waymark keystore unlock`");
    case -ENODATA:
        return not_initialized(c, q);
    case -EACCES:
        return not_allowed(c, q);
    case -ENOENT:
        return not_found(c, q);
    case -EKEYREJECTED:
        return wrong_password(c, keystore_answer_tries(answer));
    case -EBADMSG:
        if (q->key)
            return why_set(&c->why, -EBADMSG,
                           "the stored value of '%.120s' is damaged: put it again, or remove it",
                           q->key);
        return why_set(
            &c->why, -EBADMSG,
            "the keystore's master key is damaged: bring its file back from a backup, or "
            "begin anew with `waymark keystore reset`");
    case -EIO:
        return why_set(&c->why, -EIO,
                       "the keystore could not (a full disk, a quota, no password to check): see "
                       "`journalctl -u waymark-keystored`");
    default:
        return why_set(
            &c->why, keystore_answer_error(answer),
            "the keystore did not take the question (answer %u: %s): are it and this program "
            "of the same version?",
            answer, keystore_answer_to_string(answer));
    }
}

static int not_asked(struct cli *c, const char *path, int error)
{
    switch (error) {
    case -ECONNREFUSED:
        return why_set(&c->why, error,
                       "waymark-keystored is not running (nobody listens on %.200s): start it with "
                       "`systemctl start waymark-keystored`",
                       path);
    case -ECONNRESET:
        return why_set(&c->why, error,
                       "waymark-keystored closed the connection (%.200s): see `systemctl status "
                       "waymark-keystored`",
                       path);
    case -ETIMEDOUT:
        return why_set(&c->why, error,
                       "waymark-keystored did not answer in time (%.200s): see `systemctl status "
                       "waymark-keystored`, or wait longer with --timeout",
                       path);
    case -EMSGSIZE:
        return why_set(&c->why, error,
                       "too long: a key has at most %d bytes, a value or password %d",
                       KEYSTORE_KEY_MAX, KEYSTORE_VALUE_MAX);
    case -EPROTO:
        return why_set(&c->why, error, "what answers at %.200s is no keystore", path);
    default:
        return why_set(&c->why, error, "cannot talk to waymark-keystored (%.200s): %s", path,
                       strerror(-error));
    }
}

/* Asking. */

/* As who asks, for as long as that takes: who connects is who the keystore sees. */
static int ask_as(uid_t uid, const char *path, usec_t timeout, const struct keystore_question *q,
                  struct keystore_reply *ret)
{
    uid_t self = geteuid();
    int r;

    if (uid != self && seteuid(uid) < 0)
        return -errno;
    r = keystore_client_ask(path, timeout, q->action, q->parameters, q->n, ret);
    if (uid != self && seteuid(self) < 0)
        return -errno;
    return r;
}

int keystore_ask(struct cli *c, const struct keystore_question *q, struct keystore_reply *ret)
{
    _cleanup_reply_ struct keystore_reply unwanted = { 0 };
    struct keystore_reply *reply = ret ? ret : &unwanted;
    _cleanup_free_ char *path = cli_runtime_path(c, "keystore");
    int r = path ? ask_as(q->uid, path, c->timeout, q, reply) : -ENOMEM;

    if (r < 0)
        return path ? not_asked(c, path, r) : r;
    return reply->answer == KEYSTORE_NO_ERROR ? 0 : refused(c, q, reply->answer);
}

/* Names that may be any bytes. */

/* How long a character of UTF-8 is by its first byte, and what that contributes; 0: it is none. */
static size_t begin_character(uint8_t byte, uint32_t *ret)
{
    static const struct {
        uint8_t mask, first;
    } lengths[] = { { 0x80, 0 }, { 0xe0, 0xc0 }, { 0xf0, 0xe0 }, { 0xf8, 0xf0 } };

    for (size_t i = 0; i < ELEMENTSOF(lengths); i++)
        if ((byte & lengths[i].mask) == lengths[i].first) {
            *ret = byte & (uint8_t)~lengths[i].mask;
            return i + 1;
        }
    return 0;
}

/* Controls (C0 and C1), what says in which direction to read, what ends lines, what nobody sees. */
static bool is_harmful(uint32_t character)
{
    static const struct {
        uint32_t first, last;
    } ranges[] = {
        { 0x00, 0x1f },     { 0x7f, 0x9f },     { 0xad, 0xad },       { 0x61c, 0x61c },
        { 0x200b, 0x200f }, { 0x2028, 0x202e }, { 0x2060, 0x206f },   { 0xd800, 0xdfff },
        { 0xfeff, 0xfeff }, { 0xfff9, 0xfffb }, { 0xe0000, 0xe007f },
    };

    for (size_t i = 0; i < ELEMENTSOF(ranges); i++)
        if (character >= ranges[i].first && character <= ranges[i].last)
            return true;
    return character > 0x10ffff;
}

size_t keystore_shown(const uint8_t *bytes, size_t size)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    uint32_t character = 0;
    size_t n = begin_character(bytes[0], &character);

    if (n == 0 || n > size)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((bytes[i] & 0xc0) != 0x80)
            return 0;
        character = character << 6 | (bytes[i] & 0x3f);
    }
    return character < least[n] || is_harmful(character) ? 0 : n;
}

/* What can be shown is itself, but for the backslash; else a byte is \xNN. */
static void print_name(struct strbuf *b, const uint8_t *bytes, size_t size)
{
    size_t n;

    for (size_t i = 0; i < size; i += MAX(n, (size_t)1)) {
        n = keystore_shown(bytes + i, size - i);
        if (bytes[i] == '\\')
            strbuf_add(b, "\\\\");
        else if (n == 0)
            strbuf_add(b, "\\x%02x", bytes[i]);
        for (size_t k = 0; bytes[i] != '\\' && k < n; k++)
            strbuf_add_char(b, (char)bytes[i + k]);
    }
}

int keystore_put_name(json_t *object, const void *name, size_t size)
{
    _cleanup_free_ char *base64 = keystore_base64(name, size);
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r;

    print_name(&text, name, size);
    if (text.failed || !base64)
        return -ENOMEM;
    r = json_put(object, "key", json_string(strbuf_text(&text)));
    return r < 0 ? r : json_put(object, "key_bytes", json_string(base64));
}

char *keystore_base64(const void *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const uint8_t *bytes = data;
    char *text = malloc((size + 2) / 3 * 4 + 1), *to = text;

    for (size_t i = 0; text && i < size; i += 3) {
        size_t n = MIN(size - i, 3U);
        uint32_t group = (uint32_t)bytes[i] << 16 | (n > 1 ? (uint32_t)bytes[i + 1] << 8 : 0) |
                         (n > 2 ? bytes[i + 2] : 0);

        for (size_t d = 0; d < 4; d++)
            *to++ = d <= n ? digits[group >> (18 - 6 * d) & 0x3f] : '=';
    }
    if (text)
        *to = '\0';
    return text;
}
