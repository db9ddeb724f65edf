/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `waymark keystore import`: the keys of an Android keystore become keys here.
 *
 * All or nothing: everything is read, decrypted and judged before the first key is stored, each as its
 * new owner. What cannot be imported is listed, and then nothing is, unless --partial was said. Where
 * storing fails half way, what was stored is removed again.
 *
 * Others use the keystore meanwhile, and it knows no "only if": so it is asked once more directly before
 * each step. What somebody has stored by then is left to him, be it before we store or before we remove.
 */

#include <errno.h>
#include <unistd.h>

#include "basic/parse.h"
#include "cli/android-store.h"
#include "cli/commands.h"
#include "cli/keystore.h"

enum { ANDROID_SYSTEM_UID = 1000, MAPS_MAX = 64 };

/* Whose the keys of a uid become. */
struct map {
    uint32_t from;
    bool drop; /* "none" */
    uid_t to;
};

struct import {
    struct android_store store;
    struct map maps[MAPS_MAX];
    size_t n_maps;
    const char **results; /* one per entry: what became, or is to become, of it */
};

/* Of an entry that is to be imported until it is. Others say why not. */
static const char ready[] = "not imported", imported[] = "imported", left_out[] = "left out",
                  is_here_already[] = "is here already";

static void import_done(struct import *i)
{
    android_store_done(&i->store);
    free(i->results);
}
#define _cleanup_import_ _cleanup_(import_done)

/* Whose they become. */

static const struct map *find_map(const struct import *i, uint32_t uid)
{
    for (size_t m = 0; m < i->n_maps; m++)
        if (i->maps[m].from == uid)
            return &i->maps[m];
    return NULL;
}

static int read_map(struct cli *c, struct import *i, const char *value)
{
    const char *equals = strchr(value, '=');
    struct map map = { 0 };
    char from[16];
    int r = 0;

    if (!equals || (size_t)(equals - value) >= sizeof(from))
        return cli_usage(c, "'%.60s' maps nothing: use --map UID=USER, or UID=none", value);
    memcpy(from, value, (size_t)(equals - value));
    from[equals - value] = '\0';
    if (parse_u32(from, UINT32_MAX, &map.from) < 0)
        return cli_usage(
            c, "'%.60s' is no uid of the old store: use a number, as in its files' names", from);
    if (find_map(i, map.from) || i->n_maps == MAPS_MAX)
        return cli_usage(c, "--map is given %s: uid %u",
                         i->n_maps == MAPS_MAX ? "too often" : "twice for the same", map.from);
    map.drop = streq(equals + 1, "none");
    if (!map.drop)
        r = keystore_find_user(c, equals + 1, &map.to);
    if (r == 0)
        i->maps[i->n_maps++] = map;
    return r;
}

/* The system's keys are the system's, if nothing else is said. */
static int read_maps(struct cli *c, struct import *i)
{
    struct map system = { .from = ANDROID_SYSTEM_UID };
    int r = 0;

    for (size_t o = 0; r == 0 && o < c->args.n_options; o++)
        if (c->args.options[o].id == OPTION_MAP)
            r = read_map(c, i, c->args.options[o].value);
    if (r < 0 || find_map(i, system.from) || i->n_maps == MAPS_MAX)
        return r;
    if (keystore_find_user(c, KEYSTORE_SYSTEM_USER, &system.to) == 0)
        i->maps[i->n_maps++] = system;
    c->why = (struct why){ 0 };
    return 0;
}

/* Judging. */

static struct keystore_question question(const struct import *i, size_t at,
                                         enum keystore_action action)
{
    const struct android_entry *entry = &i->store.entries[at];
    const struct map *map = find_map(i, entry->uid);

    return (struct keystore_question){
        .uid = map ? map->to : (uid_t)-1,
        .action = action,
        .key = "", /* its name need not be text */
        .parameters = { { entry->key.bytes, entry->key.size } },
        .n = 1,
    };
}

/* Who is to own something must be somebody that may, in a keystore that is unlocked. */
static int check_owner(struct cli *c, const struct map *map)
{
    const struct keystore_question q = { .uid = map->to, .action = KEYSTORE_TEST };
    int r = keystore_check_self(c, map->to);

    if (r == 0)
        r = keystore_ask(c, &q, NULL);
    return r == -EACCES
               ? why_set(&c->why, r,
                         "uid %u may not store keys, only get them: map uid %u to somebody "
                         "else (--map %u=USER)",
                         map->to, map->from, map->from)
               : r;
}

static int check_owners(struct cli *c, const struct import *i)
{
    int r = 0;

    for (size_t m = 0; r == 0 && m < i->n_maps; m++) {
        bool used = false;

        for (size_t at = 0; at < i->store.n; at++)
            used |= i->store.entries[at].uid == i->maps[m].from;
        if (used && !i->maps[m].drop)
            r = check_owner(c, &i->maps[m]);
    }
    return r;
}

/* Two owners that become one may have keys of the same name. */
static bool is_taken_before(const struct import *i, size_t at)
{
    const struct android_entry *entries = i->store.entries;
    const struct map *map = find_map(i, entries[at].uid);

    for (size_t before = 0; before < at; before++) {
        const struct map *other = find_map(i, entries[before].uid);

        if (i->results[before] == ready && other->to == map->to &&
            keystore_key_equal(&entries[before].key, &entries[at].key))
            return true;
    }
    return false;
}

/* Is there such a key here? 1, 0 or an error. */
static int is_here(struct cli *c, const struct import *i, size_t at)
{
    const struct keystore_question q = question(i, at, KEYSTORE_EXIST);
    int r = keystore_ask(c, &q, NULL);

    if (r == -ENOENT)
        c->why = (struct why){ 0 };
    return r == 0 ? 1 : r == -ENOENT ? 0 : r;
}

static int judge(struct cli *c, const struct import *i, size_t at, const char **ret)
{
    const struct android_entry *entry = &i->store.entries[at];
    const struct map *map = find_map(i, entry->uid);
    int r = 0;

    if (map && map->drop)
        *ret = left_out;
    else if (entry->damage)
        *ret = entry->damage;
    else if (!map)
        *ret = "whose is it? --map";
    else if (is_taken_before(i, at))
        *ret = "two of this name";
    else if (!arguments_have(&c->args, OPTION_FORCE) && (r = is_here(c, i, at)) > 0)
        *ret = is_here_already;
    else
        *ret = ready;
    return MIN(r, 0);
}

static bool is_left(const char *result)
{
    return result != ready && result != left_out && result != imported;
}

/* How many there are that cannot be imported, and should be. */
static int judge_all(struct cli *c, struct import *i, size_t *ret_left)
{
    int r = 0;

    i->results = calloc(i->store.n + 1, sizeof(*i->results));
    if (!i->results)
        return -ENOMEM;
    for (size_t at = 0; r == 0 && at < i->store.n; at++) {
        r = judge(c, i, at, &i->results[at]);
        *ret_left += r == 0 && is_left(i->results[at]);
    }
    return r;
}

/* Storing. */

/* The system's own may be had by root (who looks up its names), but not by the system. */
static int get_value(struct cli *c, const struct import *i, size_t at, struct keystore_reply *ret)
{
    struct keystore_question q = question(i, at, KEYSTORE_GET);
    int r = keystore_ask(c, &q, ret);

    if (r != -EACCES || geteuid() != 0)
        return r;
    keystore_reply_done(ret);
    *ret = (struct keystore_reply){ 0 };
    q.uid = 0;
    return keystore_ask(c, &q, ret);
}

/* Is it still what was imported? Where that cannot be known it may be somebody's own. */
static bool is_as_imported(struct cli *c, const struct import *i, size_t at)
{
    const struct secret *imported_value = &i->store.entries[at].content;
    _cleanup_reply_ struct keystore_reply reply = { 0 };
    struct keystore_blob value = { 0 };
    const uint8_t *rest;
    size_t size;

    if (get_value(c, i, at, &reply) < 0)
        return false;
    rest = reply.bytes;
    size = reply.size;
    return keystore_message_next(&rest, &size, &value) == 1 && value.size == imported_value->size &&
           mem_equal(value.data, imported_value->data, value.size);
}

/* How many could not be. */
static size_t take_back_all(struct cli *c, struct import *i, size_t n)
{
    size_t kept = 0;

    for (size_t at = 0; at < n; at++) {
        const struct keystore_question q = question(i, at, KEYSTORE_DELETE);

        if (i->results[at] != imported)
            continue;
        if (is_as_imported(c, i, at) && keystore_ask(c, &q, NULL) == 0)
            i->results[at] = ready;
        else
            kept++;
    }
    return kept;
}

/* What was there before cannot be brought back, and stays as it is now: --force was said. */
static void take_back(struct cli *c, struct import *i, size_t n)
{
    const struct why why = c->why;
    bool force = arguments_have(&c->args, OPTION_FORCE);
    size_t kept = force ? 0 : take_back_all(c, i, n);

    c->why = why;
    if (force)
        (void)why_prefix(&c->why, "the import stopped half way, and can be said again");
    else if (kept > 0)
        (void)why_prefix(&c->why,
                         "the import stopped half way, and %zu keys are left where they are: they "
                         "may have been changed meanwhile",
                         kept);
    else
        (void)why_prefix(&c->why, "nothing was imported");
}

/* Since it was judged, somebody may have stored a key of this name. */
static int check_again(struct cli *c, struct import *i, size_t at)
{
    int r = arguments_have(&c->args, OPTION_FORCE) ? 0 : is_here(c, i, at);

    if (r <= 0)
        return r;
    i->results[at] = is_here_already;
    c->code = EXIT_FAILED;
    if (arguments_have(&c->args, OPTION_PARTIAL))
        return 0;
    return why_set(&c->why, -EEXIST, "uid %u has stored a key of the same name meanwhile",
                   find_map(i, i->store.entries[at].uid)->to);
}

static int store_one(struct cli *c, struct import *i, size_t at)
{
    const struct secret *value = &i->store.entries[at].content;
    struct keystore_question q = question(i, at, KEYSTORE_INSERT);
    int r = check_again(c, i, at);

    if (r < 0 || i->results[at] != ready)
        return r;
    q.parameters[q.n++] = (struct keystore_blob){ value->data, value->size };
    r = keystore_ask(c, &q, NULL);
    if (r == 0)
        i->results[at] = imported;
    return r;
}

static int store_all(struct cli *c, struct import *i)
{
    int r = 0;

    for (size_t at = 0; r == 0 && at < i->store.n; at++) {
        if (i->results[at] != ready)
            continue;
        r = store_one(c, i, at);
        if (r < 0)
            take_back(c, i, at);
    }
    return r;
}

/* Telling. */

static int put_entry(json_t *list, const struct import *i, size_t at)
{
    const struct android_entry *entry = &i->store.entries[at];
    const struct map *map = find_map(i, entry->uid);
    json_t *object = json_object();
    int r = object ? keystore_put_name(object, entry->key.bytes, entry->key.size) : -ENOMEM;

    if (json_array_append_new(list, object) < 0)
        return -ENOMEM;
    if (r == 0)
        r = json_put(object, "old_uid", json_integer(entry->uid));
    if (r == 0 && map && !map->drop)
        r = json_put(object, "uid", json_integer(map->to));
    return r < 0 ? r : json_put(object, "result", json_string(i->results[at]));
}

static int put_results(struct cli *c, const struct import *i)
{
    json_auto_t *unused = json_array();
    json_t *keys = json_array(), *ignored = unused; /* borrowed, once in the document */
    size_t n = 0;
    int r = json_put(c->doc, "keys", keys);

    if (r == 0)
        r = json_put(c->doc, "ignored", TAKE_PTR(unused));
    for (size_t at = 0; r == 0 && at < i->store.n; at++) {
        n += i->results[at] == imported;
        r = put_entry(keys, i, at);
    }
    for (size_t f = 0; r == 0 && f < i->store.n_ignored; f++) {
        json_t *name = json_string(i->store.ignored[f]);

        r = json_array_append_new(ignored, name ? name : json_string("?")) < 0 ? -ENOMEM : 0;
    }
    return r < 0 ? r : json_put(c->doc, "imported", json_integer((json_int_t)n));
}

static int read_old_password(struct cli *c, struct secret *ret)
{
    int r;

    if (isatty(STDIN_FILENO))
        return secret_ask("Password of the old store", KEYSTORE_VALUE_MAX, ret, &c->why);
    r = secret_read_line(STDIN_FILENO, KEYSTORE_VALUE_MAX, ret);
    if (r < 0)
        return why_set(&c->why, r, "cannot read the password from standard input: %s",
                       strerror(-r));
    return r > 0
               ? 0
               : cli_usage(c,
                           "there is no password on standard input: it is the first line, and that "
                           "of the old store");
}

int run_keystore_import(struct cli *c)
{
    _cleanup_import_ struct import i = { 0 };
    _cleanup_secret_ struct secret password = { 0 };
    size_t left = 0;
    int r = read_maps(c, &i);

    if (r == 0)
        r = android_store_read(cli_word(c, 0), &i.store, &c->why);
    if (r == 0)
        r = check_owners(c, &i);
    if (r == 0)
        r = read_old_password(c, &password);
    if (r == 0)
        r = android_store_decrypt(&i.store, &password, &c->why);
    if (r == 0)
        r = judge_all(c, &i, &left);
    if (r == 0 && left > 0)
        c->code = EXIT_FAILED;
    if (r == 0 && (left == 0 || arguments_have(&c->args, OPTION_PARTIAL)))
        r = store_all(c, &i);
    return r < 0 ? r : put_results(c, &i);
}

static const struct column columns[] = {
    { .title = "OLD UID", .key = "old_uid" },
    { .title = "UID", .key = "uid" },
    { .title = "RESULT", .key = "result" },
    { .title = "KEY", .key = "key" },
};

static const struct table results_table = TABLE_OF(columns);

void print_keystore_import(struct cli *c)
{
    const json_t *keys = json_object_get(c->doc, "keys");
    const json_t *ignored = json_object_get(c->doc, "ignored");
    json_int_t n = json_number(c->doc, "imported");

    if (json_array_size(keys) > 0)
        cli_print_table(c, &results_table, keys, SIZE_MAX);
    for (size_t f = 0; f < json_array_size(ignored); f++)
        cli_print(c, STYLE_PLAIN, "ignored: %s is no key's file\n",
                  json_string_value(json_array_get(ignored, f)));
    cli_print(c, STYLE_PLAIN, "%lld of %zu keys imported\n", (long long)n, json_array_size(keys));
    if (c->code != EXIT_OK && !arguments_have(&c->args, OPTION_PARTIAL))
        cli_print(
            c, STYLE_BAD,
            "all or nothing: say whose they are with --map UID=USER (or UID=none), replace what "
            "is here with --force, or import the rest with --partial\n");
}
