/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `waymark keystore`: each command is one question, or two. Values are not in the document that other
 * commands print, nor in stdio's buffers: they go from where they came to where they are wanted, and are
 * wiped.
 */

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "basic/fd.h"
#include "cli/commands.h"
#include "cli/keystore.h"
#include "cli/secret.h"

/* A question about the command's KEY, if it has one. */
static int begin(struct cli *c, enum keystore_action action, struct keystore_question *ret)
{
    const char *key = cli_word(c, 0);
    struct keystore_question q = { .action = action, .key = key };
    int r = keystore_find_self(c, action, &q.uid);

    if (key)
        q.parameters[q.n++] = keystore_text(key);
    if (r == 0)
        *ret = q;
    return r;
}

/* A question that has no parameters, or these. */
static int tell(struct cli *c, enum keystore_action action)
{
    struct keystore_question q = { 0 };
    int r = begin(c, action, &q);

    return r < 0 ? r : keystore_ask(c, &q, NULL);
}

/* How it is. */

/* 0 and the state, whichever it is. */
static int get_state(struct cli *c, uint8_t *ret)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    struct keystore_question q = { .action = KEYSTORE_TEST };
    int r = keystore_find_self(c, q.action, &q.uid);

    if (r == 0)
        r = keystore_ask(c, &q, &reply);
    if (r < 0 && r != -ENOKEY && r != -ENODATA)
        return r;
    c->why = (struct why){ 0 }; /* a state is no refusal here */
    *ret = reply.answer;
    return 0;
}

int run_keystore_test(struct cli *c)
{
    static const char *const states[] = {
        [KEYSTORE_NO_ERROR] = "unlocked",
        [KEYSTORE_LOCKED] = "locked",
        [KEYSTORE_UNINITIALIZED] = "uninitialized",
    };
    uint8_t state = 0;
    int r = get_state(c, &state);

    if (r < 0)
        return r;
    if (state != KEYSTORE_NO_ERROR)
        c->code = EXIT_FAILED;
    return json_put(c->doc, "state", json_string(states[state]));
}

void print_keystore_test(struct cli *c)
{
    const char *state = json_text(c->doc, "state");

    cli_print(c, style_of_word(state), "%s", state);
    cli_print(c, STYLE_PLAIN, "\n");
}

/* Values. */

/* What a terminal can show without being told to do something else. */
static bool is_text(const struct keystore_blob *value)
{
    const uint8_t *bytes = value->data;

    for (size_t i = 0, n; i < value->size; i += n) {
        n = keystore_shown(bytes + i, value->size - i);
        if (n == 0 && bytes[i] != '\t' && bytes[i] != '\n')
            return false;
        n = MAX(n, (size_t)1);
    }
    return true;
}

static int write_out(struct cli *c, const void *data, size_t size)
{
    int r = fd_write_all(STDOUT_FILENO, data, size);

    return r < 0 ? why_set(&c->why, r, "cannot write the output: %s", strerror(-r)) : 0;
}

/* Raw bytes; a person gets a line. */
static int write_value(struct cli *c, const struct keystore_blob *value)
{
    const char *end = value->size > 0 ? (const char *)value->data + value->size - 1 : "";
    bool terminal = isatty(STDOUT_FILENO);
    int r;

    if (terminal && !is_text(value) && !arguments_have(&c->args, OPTION_FORCE)) {
        c->code = EXIT_FAILED;
        return why_set(
            &c->why, -EINVAL,
            "the value is no text that a terminal can show: write it to a file (> FILE), "
            "or say --force");
    }
    r = write_out(c, value->data, value->size);
    if (r == 0 && terminal && *end != '\n')
        r = write_out(c, "\n", 1);
    return r;
}

/* Not by way of jansson, which would keep copies. */
static int write_value_as_json(struct cli *c, const struct keystore_blob *value)
{
    char *base64 = keystore_base64(value->data, value->size);
    int r = json_put(c->doc, "key", json_string(cli_word(c, 0)));
    _cleanup_free_ char *head = r == 0 ? json_dumps(c->doc, JSON_COMPACT) : NULL;

    r = head && base64 ? 0 : -ENOMEM;
    if (r == 0)
        r = write_out(c, head, strlen(head) - STRLEN("}"));
    if (r == 0)
        r = write_out(c, ",\"value_bytes\":\"", STRLEN(",\"value_bytes\":\""));
    if (r == 0)
        r = write_out(c, base64, strlen(base64));
    if (r == 0)
        r = write_out(c, "\"}\n", STRLEN("\"}\n"));
    if (base64)
        explicit_bzero(base64, strlen(base64));
    free(base64);
    return r;
}

int run_keystore_get(struct cli *c)
{
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    const uint8_t *rest;
    struct keystore_blob value = { 0 };
    struct keystore_question q = { 0 };
    int r = begin(c, KEYSTORE_GET, &q);

    if (r == 0)
        r = keystore_ask(c, &q, &reply);
    if (r < 0)
        return r;
    rest = reply.bytes;
    if (keystore_message_next(&rest, &reply.size, &value) != 1 || reply.size > 0)
        return why_set(&c->why, -EPROTO, "the keystore's answer is no value");
    r = c->json ? write_value_as_json(c, &value) : write_value(c, &value);
    if (r == 0)
        cli_no_document(c);
    return r;
}

static int too_long(struct cli *c, const char *what)
{
    c->code = EXIT_FAILED;
    return why_set(&c->why, -EMSGSIZE, "the %s on standard input has more than %d bytes", what,
                   KEYSTORE_VALUE_MAX);
}

static int not_read(struct cli *c, int error, const char *what)
{
    if (error == -EMSGSIZE)
        return too_long(c, what);
    return why_set(&c->why, error, "cannot read the %s from standard input: %s", what,
                   strerror(-error));
}

/* All of standard input, every byte of it; of a person twice the same line. */
static int read_value(struct cli *c, struct secret *ret)
{
    int r;

    if (isatty(STDIN_FILENO))
        return secret_ask_twice("Value", KEYSTORE_VALUE_MAX, ret, &c->why);
    r = secret_read(STDIN_FILENO, KEYSTORE_VALUE_MAX, ret);
    return r < 0 ? not_read(c, r, "value") : 0;
}

int run_keystore_put(struct cli *c)
{
    _cleanup_secret_ struct secret value = { 0 };
    struct keystore_question q = { 0 };
    int r = begin(c, KEYSTORE_INSERT, &q);

    if (r == 0)
        r = read_value(c, &value);
    if (r < 0)
        return r;
    q.parameters[q.n++] = (struct keystore_blob){ value.data, value.size };
    return keystore_ask(c, &q, NULL);
}

/* As on Android, the keystore does not say whether there was anything to delete; a person wants to know. */
int run_keystore_rm(struct cli *c)
{
    int r = tell(c, KEYSTORE_EXIST);

    return r < 0 ? r : tell(c, KEYSTORE_DELETE);
}

/* Lists. */

static int compare_keys(const void *a, const void *b)
{
    const struct keystore_key *x = a, *y = b;
    int order = memcmp(x->bytes, y->bytes, MIN(x->size, y->size));

    return order ? order : CMP(x->size, y->size);
}

/* What is answered is the rest of a name. */
static int take_name(const struct keystore_blob *prefix, const struct keystore_blob *rest,
                     struct keystore_key *ret)
{
    struct keystore_key key = { .size = (uint8_t)prefix->size };

    if (rest->size > KEYSTORE_KEY_MAX - prefix->size)
        return -EPROTO;
    memcpy(key.bytes, prefix->data, prefix->size);
    memcpy(key.bytes + prefix->size, rest->data, rest->size);
    key.size = (uint8_t)(prefix->size + rest->size);
    *ret = key;
    return 0;
}

static int take_names(const struct keystore_reply *reply, const struct keystore_blob *prefix,
                      struct keystore_key *keys, size_t *ret_n)
{
    const uint8_t *bytes = reply->bytes;
    size_t left = reply->size, n = 0;
    struct keystore_blob rest;
    int r;

    while ((r = keystore_message_next(&bytes, &left, &rest)) > 0 &&
           take_name(prefix, &rest, &keys[n]) == 0)
        n++;
    if (r != 0)
        return -EPROTO;
    qsort(keys, n, sizeof(*keys), compare_keys);
    *ret_n = n;
    return 0;
}

static int put_keys(struct cli *c, const struct keystore_key *keys, size_t n)
{
    json_t *list = json_array();
    int r = json_put(c->doc, "keys", list); /* borrowed from here on */

    for (size_t i = 0; r == 0 && i < n; i++) {
        json_t *key = json_object();

        r = key ? keystore_put_name(key, keys[i].bytes, keys[i].size) : -ENOMEM;
        if (json_array_append_new(list, key) < 0)
            r = -ENOMEM;
    }
    return r;
}

int run_keystore_list(struct cli *c)
{
    const struct keystore_blob prefix = keystore_text(cli_word(c, 0) ? cli_word(c, 0) : "");
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    _cleanup_free_ struct keystore_key *keys = NULL;
    struct keystore_question q = { .action = KEYSTORE_SAW, .parameters = { prefix }, .n = 1 };
    size_t n = 0;
    int r = keystore_find_self(c, q.action, &q.uid);

    if (r == 0)
        r = keystore_ask(c, &q, &reply);
    if (r < 0)
        return r;
    keys = calloc(reply.size / KEYSTORE_LENGTH_SIZE + 1, sizeof(*keys));
    if (!keys)
        return -ENOMEM;
    r = take_names(&reply, &prefix, keys, &n);
    return r < 0 ? why_set(&c->why, r, "the keystore's answer is no list") : put_keys(c, keys, n);
}

void print_keystore_list(struct cli *c)
{
    const json_t *keys = json_object_get(c->doc, "keys");

    for (size_t i = 0; i < json_array_size(keys); i++)
        cli_print(c, STYLE_PLAIN, "%s\n", json_text(json_array_get(keys, i), "key"));
}

/* Grants. */

static int tell_of_reader(struct cli *c, enum keystore_action action)
{
    struct keystore_question q = { 0 };
    char digits[KEYSTORE_UID_MAX + 1];
    uid_t reader = 0;
    int r = begin(c, action, &q);

    if (r == 0)
        r = keystore_find_user(c, cli_word(c, 1), &reader);
    if (r < 0)
        return r;
    snprintf(digits, sizeof(digits), "%u", reader);
    q.parameters[q.n++] = keystore_text(digits);
    q.reader = cli_word(c, 1);
    return keystore_ask(c, &q, NULL);
}

int run_keystore_grant(struct cli *c)
{
    return tell_of_reader(c, KEYSTORE_GRANT);
}

int run_keystore_ungrant(struct cli *c)
{
    return tell_of_reader(c, KEYSTORE_UNGRANT);
}

/* The whole. */

/* What is locked is locked. */
int run_keystore_lock(struct cli *c)
{
    int r = tell(c, KEYSTORE_LOCK);

    return r == -ENOKEY ? 0 : r;
}

/* The first line of standard input, or what a person types. */
static int read_password(struct cli *c, const char *prompt, struct secret *ret)
{
    int r;

    if (isatty(STDIN_FILENO))
        return secret_ask(prompt, KEYSTORE_VALUE_MAX, ret, &c->why);
    r = secret_read_line(STDIN_FILENO, KEYSTORE_VALUE_MAX, ret);
    if (r < 0)
        return not_read(c, r, "password");
    return r > 0 ? 0 : cli_usage(c, "there is no password on standard input: it is the first line");
}

/* Nobody is asked for a password that is not needed, and a wrong one is not told from none by guessing. */
int run_keystore_unlock(struct cli *c)
{
    _cleanup_secret_ struct secret password = { 0 };
    struct keystore_question q = { .action = KEYSTORE_UNLOCK, .n = 1 };
    uint8_t state = 0;
    int r = get_state(c, &state);

    if (r < 0 || state == KEYSTORE_NO_ERROR)
        return r;
    if (state == KEYSTORE_UNINITIALIZED)
        return tell(c, KEYSTORE_TEST); /* which says so */
    r = keystore_find_self(c, q.action, &q.uid);
    if (r == 0)
        r = read_password(c, "Password of the keystore", &password);
    if (r < 0)
        return r;
    q.parameters[0] = (struct keystore_blob){ password.data, password.size };
    return keystore_ask(c, &q, NULL);
}

/* Two lines: old and new. One: new, for a keystore that has none yet. */
static int read_passwords(struct cli *c, struct secret *old, struct secret *new)
{
    int r = read_password(c, "", old);

    if (r == 0)
        r = secret_read_line(STDIN_FILENO, KEYSTORE_VALUE_MAX, new);
    if (r < 0)
        return c->why.error ? r : not_read(c, r, "password");
    if (r == 0) {
        *new = *old;
        *old = (struct secret){ 0 };
    }
    return 0;
}

static int ask_for_passwords(struct cli *c, struct secret *old, struct secret *new)
{
    uint8_t state = 0;
    int r = get_state(c, &state);

    if (r == 0 && state != KEYSTORE_UNINITIALIZED)
        r = secret_ask("Present password of the keystore", KEYSTORE_VALUE_MAX, old, &c->why);
    if (r == 0)
        r = secret_ask_twice("New password", KEYSTORE_VALUE_MAX, new, &c->why);
    return r;
}

int run_keystore_password(struct cli *c)
{
    _cleanup_secret_ struct secret old = { 0 }, new = { 0 };
    struct keystore_question q = { .action = KEYSTORE_PASSWORD, .n = 2 };
    int r = keystore_find_self(c, q.action, &q.uid);

    if (r == 0)
        r = isatty(STDIN_FILENO) ? ask_for_passwords(c, &old, &new) : read_passwords(c, &old, &new);
    if (r < 0)
        return r;
    q.parameters[0] = (struct keystore_blob){ old.data, old.size };
    q.parameters[1] = (struct keystore_blob){ new.data, new.size };
    return keystore_ask(c, &q, NULL);
}

static int confirm(struct cli *c)
{
    _cleanup_secret_ struct secret answer = { 0 };

    if (arguments_have(&c->args, OPTION_FORCE))
        return 0;
    if (!isatty(STDIN_FILENO))
        return cli_usage(c, "reset wipes all keys of all users: if that is meant, say --force");
    fputs("Wipe all keys of all users, and the password? (yes/no) ", stderr);
    if (secret_read_line(STDIN_FILENO, KEYSTORE_VALUE_MAX, &answer) > 0 &&
        streq((const char *)answer.data, "yes"))
        return 0;
    return why_set(&c->why, -ECANCELED, "nothing was wiped");
}

int run_keystore_reset(struct cli *c)
{
    int r = confirm(c);

    return r < 0 ? r : tell(c, KEYSTORE_RESET);
}
