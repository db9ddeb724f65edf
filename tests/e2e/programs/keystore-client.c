/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A program with secrets: does what its arguments say, one after the other, and prints one line for each:
 * `ok`, a value, or the errno. Keys, values and passwords are hexadecimal; "-" is NULL, of size 0.
 *
 *   keystore-client put 61 00ff get 61 list - grant 61 1016
 */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <waymark.h>

enum { BYTES_MAX = 1 << 17 };

struct bytes {
    unsigned char *data; /* NULL: "-" */
    size_t size;
};

struct script {
    char **words;            /* what is left */
    struct bytes buffers[2]; /* of the parameters of one function */
};

static const char *word(struct script *s)
{
    return *s->words ? *s->words++ : "-";
}

/* The next word, as parameter number i. */
static struct bytes bytes(struct script *s, int i)
{
    const char *hex = word(s);
    struct bytes b = s->buffers[i];
    unsigned byte;

    b.size = 0;
    if (strcmp(hex, "-") == 0)
        b.data = NULL;
    for (; b.data && b.size < BYTES_MAX && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        b.data[b.size++] = (unsigned char)byte;
    return b;
}

static void print_hex(const void *data, size_t size)
{
    const unsigned char *b = data;

    for (size_t i = 0; i < size; i++)
        printf("%02x", b[i]);
}

static void say(int result)
{
    printf("%s\n", result < 0 ? strerrorname_np(errno) : "ok");
}

static void say_tries(int result, const unsigned *tries)
{
    if (result < 0 && errno == EKEYREJECTED)
        printf("EKEYREJECTED %u\n", *tries);
    else
        say(result);
}

static void do_state(struct script *s)
{
    uint32_t state;

    (void)s;
    if (wm_keystore_get_state(&state) < 0)
        say(-1);
    else
        printf("%u\n", state);
}

static void do_empty(struct script *s)
{
    int empty;

    (void)s;
    if (wm_keystore_is_empty(&empty) < 0)
        say(-1);
    else
        puts(empty ? "empty" : "not empty");
}

static void do_get(struct script *s)
{
    struct bytes key = bytes(s, 0);
    void *value = NULL;
    size_t size = 0;

    if (wm_keystore_get(key.data, key.size, &value, &size) < 0) {
        say(-1);
        return;
    }
    printf("=");
    print_hex(value, size);
    puts(((char *)value)[size] ? " and no NUL" : "");
    wm_keystore_free(value, size);
}

static void do_put(struct script *s)
{
    struct bytes key = bytes(s, 0), value = bytes(s, 1);

    say(wm_keystore_put(key.data, key.size, value.data, value.size));
}

static void do_delete(struct script *s)
{
    struct bytes key = bytes(s, 0);

    say(wm_keystore_delete(key.data, key.size));
}

static void do_exists(struct script *s)
{
    struct bytes key = bytes(s, 0);

    say(wm_keystore_exists(key.data, key.size));
}

static void do_list(struct script *s)
{
    struct bytes prefix = bytes(s, 0);
    struct wm_keystore_key *keys = NULL;
    size_t n = 0;

    if (wm_keystore_list(prefix.data, prefix.size, &keys, &n) < 0) {
        say(-1);
        return;
    }
    printf("%zu:", n);
    for (struct wm_keystore_key *k = keys; k->name; k++) {
        printf(" ");
        print_hex(k->name, k->size + 1);
    }
    puts(keys[n].name ? " and no end" : "");
    wm_keystore_keys_free(keys);
}

static void do_grant(struct script *s)
{
    struct bytes key = bytes(s, 0);

    say(wm_keystore_grant(key.data, key.size, (uid_t)strtoul(word(s), NULL, 0)));
}

static void do_ungrant(struct script *s)
{
    struct bytes key = bytes(s, 0);

    say(wm_keystore_ungrant(key.data, key.size, (uid_t)strtoul(word(s), NULL, 0)));
}

static void do_lock(struct script *s)
{
    (void)s;
    say(wm_keystore_lock());
}

static void do_unlock(struct script *s)
{
    struct bytes password = bytes(s, 0);
    unsigned tries = 0;

    say_tries(wm_keystore_unlock(password.data, password.size, &tries), &tries);
}

static void do_password(struct script *s)
{
    struct bytes old = bytes(s, 0), new = bytes(s, 1);
    unsigned tries = 0;

    say_tries(wm_keystore_set_password(old.data, old.size, new.data, new.size, &tries), &tries);
}

static void do_reset(struct script *s)
{
    (void)s;
    say(wm_keystore_reset());
}

/* Each must refuse, and none may crash. */
static void do_null(struct script *s)
{
    struct wm_keystore_key *keys;
    void *value;
    size_t n;
    int refused = 0;

    (void)s;
    refused += wm_keystore_get_state(NULL) < 0 && errno == EINVAL;
    refused += wm_keystore_is_empty(NULL) < 0 && errno == EINVAL;
    refused += wm_keystore_get("a", 1, NULL, &n) < 0 && errno == EINVAL;
    refused += wm_keystore_get("a", 1, &value, NULL) < 0 && errno == EINVAL;
    refused += wm_keystore_get(NULL, 1, &value, &n) < 0 && errno == EINVAL;
    refused += wm_keystore_put("a", 1, NULL, 1) < 0 && errno == EINVAL;
    refused += wm_keystore_delete(NULL, 1) < 0 && errno == EINVAL;
    refused += wm_keystore_exists(NULL, 1) < 0 && errno == EINVAL;
    refused += wm_keystore_list("", 0, NULL, &n) < 0 && errno == EINVAL;
    refused += wm_keystore_list("", 0, &keys, NULL) < 0 && errno == EINVAL;
    refused += wm_keystore_grant(NULL, 1, 0) < 0 && errno == EINVAL;
    refused += wm_keystore_grant("a", 1, (uid_t)-1) < 0 && errno == EINVAL;
    refused += wm_keystore_unlock(NULL, 1, NULL) < 0 && errno == EINVAL;
    refused += wm_keystore_set_password("", 0, NULL, 1, NULL) < 0 && errno == EINVAL;
    wm_keystore_free(NULL, 0);
    wm_keystore_keys_free(NULL);
    printf("%d refused\n", refused);
}

/* errno stays on success. */
static void do_errno(struct script *s)
{
    struct wm_keystore_key *keys = NULL;
    void *value = NULL;
    uint32_t state;
    size_t n = 0;
    int r;

    (void)s;
    errno = ELIBBAD;
    r = wm_keystore_get_state(&state) | wm_keystore_put("errno", 5, "x", 1) |
        wm_keystore_get("errno", 5, &value, &n);
    wm_keystore_free(value, n);
    r |= wm_keystore_list("err", 3, &keys, &n) | wm_keystore_delete("errno", 5);
    wm_keystore_keys_free(keys);
    puts(r == 0 ? strerrorname_np(errno) : "failed");
}

static const struct {
    const char *name;
    void (*run)(struct script *s);
} functions[] = {
    { "state", do_state }, { "empty", do_empty },   { "get", do_get },
    { "put", do_put },     { "delete", do_delete }, { "exists", do_exists },
    { "list", do_list },   { "grant", do_grant },   { "ungrant", do_ungrant },
    { "lock", do_lock },   { "unlock", do_unlock }, { "password", do_password },
    { "reset", do_reset }, { "null", do_null },     { "errno", do_errno },
};

static int run(struct script *s, const char *name)
{
    for (size_t i = 0; i < sizeof(functions) / sizeof(functions[0]); i++)
        if (strcmp(functions[i].name, name) == 0) {
            functions[i].run(s);
            return 0;
        }
    fprintf(stderr, "keystore-client: what is '%s'?\n", name);
    return 2;
}

int main(int argc, char **argv)
{
    struct script s = { .words = argv + (argc > 0) };
    int code = 0;

    for (int i = 0; i < 2; i++) {
        s.buffers[i].data = malloc(BYTES_MAX);
        if (!s.buffers[i].data)
            return 1;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (code == 0 && *s.words)
        code = run(&s, word(&s));
    free(s.buffers[0].data);
    free(s.buffers[1].data);
    return code;
}
