/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * `waymark vpn import`: a file of wg-quick(8) becomes a profile of an adopted VPN.
 *
 * The keys stay where they are: what is written says which interface, which addresses, routes and DNS,
 * and nothing else. wg-quick makes the interface as before, and Waymark takes it up.
 *
 * The profile holds, or it is not there: where the daemon refuses it, the folder is as it was.
 */

#include <errno.h>
#include <stdarg.h>
#include <sys/stat.h>

#include "basic/fd.h"
#include "cli/commands.h"
#include "cli/request.h"
#include "cli/vpn.h"
#include "wire/wgquick.h"

enum { FILE_MAX = 16 << 20, NAME_SIZE_MAX = 64 };

#define CONFIG_DEFAULT "/etc/waymark"

struct import {
    const char *source; /* the file of wg-quick */
    char interface[IFNAMSIZ];
    const char *name; /* of the VPN */
    struct wgquick wg;

    char *folder, *path; /* where the profile goes: …/conf.d, …/conf.d/NAME.conf */
    bool made_folder;
    char *before; /* what was there; NULL = nothing */
    size_t before_size;
};

static void import_done(struct import *i)
{
    wgquick_done(&i->wg);
    free(i->folder);
    free(i->path);
    free(i->before);
}
#define _cleanup_import_ _cleanup_(import_done)

/* Reading. */

static int failed(struct cli *c, int error, const char *what, const char *path)
{
    c->code = EXIT_FAILED;
    return why_set(&c->why, error, "cannot %s %.200s: %s", what, path, strerror(-error));
}

static int read_source(struct cli *c, struct import *i)
{
    _cleanup_free_ char *text = NULL;
    size_t size = 0;
    unsigned line = 0;
    int r = fd_read_file(i->source, FILE_MAX, &text, &size);

    if (r < 0)
        return failed(c, r, "read", i->source);
    r = wgquick_parse(text, size, &i->wg, &line, &c->why);
    explicit_bzero(text, size); /* it had the keys */
    if (r == 0 || !c->why.error)
        return r;
    return line ? why_prefix(&c->why, "%.160s:%u", i->source, line)
                : why_prefix(&c->why, "%.160s", i->source);
}

/* That of the file's name, or those that are given: several make one VPN, whose first is its name. */
static int read_interfaces(struct cli *c, struct import *i)
{
    bool given = false;

    for (size_t j = 0; j < c->args.n_options; j++) {
        const char *interface = c->args.options[j].value;

        if (c->args.options[j].id != OPTION_INTERFACE)
            continue;
        if (strlen(interface) >= IFNAMSIZ)
            return cli_usage(c, "'%.60s' is no interface's name: it has at most %d bytes",
                             interface, IFNAMSIZ - 1);
        if (!given)
            (void)str_set(i->interface, sizeof(i->interface), interface);
        given = true;
    }
    return given ? 0 : wgquick_interface(i->source, i->interface, &c->why);
}

/* What the file, the interface and the VPN are called. A name becomes a file's; the rest the daemon judges. */
static int read_names(struct cli *c, struct import *i)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_.:@+-";
    const char *name = arguments_value(&c->args, OPTION_NAME);
    int r = read_interfaces(c, i);

    if (r < 0)
        return c->code ? r : why_prefix(&c->why, "%.160s", i->source);
    i->name = name ? name : i->interface;
    if (*i->name == '\0' || strlen(i->name) > NAME_SIZE_MAX || strchr(".-", *i->name) ||
        i->name[strspn(i->name, letters)] != '\0')
        return cli_usage(c,
                         "'%.60s' is no name for a profile: use 1 to %d letters, digits and "
                         "_ . : @ + -, the first one no . or -: see --name",
                         i->name, NAME_SIZE_MAX);
    return 0;
}

/* The profile's text. */

/* A value is a line's end at most: nothing that is given may begin another line. */
static int add_line(struct cli *c, struct strbuf *b, const char *key, const char *value)
{
    if (value[strcspn(value, "\n\r")] != '\0')
        return cli_usage(c, "a value for '%s' has several lines", key);
    strbuf_add(b, "%s = %s\n", key, value);
    return 0;
}

static int add_words(struct cli *c, struct strbuf *b, enum option_id id, const char *key)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < c->args.n_options; i++)
        if (c->args.options[i].id == id && *c->args.options[i].value)
            r = add_line(c, b, key, c->args.options[i].value);
    return r;
}

static int add_flag(struct cli *c, struct strbuf *b, enum option_id id, const char *key)
{
    bool value = false;
    int r = request_read_flag(c, id, &value);

    if (r == 0 && arguments_have(&c->args, id))
        strbuf_add(b, "%s = %s\n", key, value ? "yes" : "no");
    return r;
}

/* What of the options stands in the file by the same name. */
static int add_options(struct cli *c, struct strbuf *b)
{
    static const struct {
        enum option_id id;
        int (*add)(struct cli *c, struct strbuf *b, enum option_id id, const char *key);
    } rows[] = {
        { OPTION_APPS, add_words },        { OPTION_EXCEPT, add_words },
        { OPTION_EXEMPT, add_words },      { OPTION_EVERYONE, add_flag },
        { OPTION_LOCKDOWN, add_flag },     { OPTION_BYPASS, add_flag },
        { OPTION_FALL_THROUGH, add_flag }, { OPTION_LAN, add_words },
    };
    int r = 0;

    for (size_t i = 0; r == 0 && i < ELEMENTSOF(rows); i++)
        r = rows[i].add(c, b, rows[i].id, option_rows[rows[i].id].name);
    return r;
}

static int add_interfaces(struct cli *c, const struct import *i, struct strbuf *b)
{
    if (arguments_have(&c->args, OPTION_INTERFACE))
        return add_words(c, b, OPTION_INTERFACE, "interface");
    return add_line(c, b, "interface", i->interface);
}

static void add_file(const struct import *i, struct strbuf *b)
{
    const struct wgquick *w = &i->wg;
    char text[IP_TEXT_MAX];

    for (size_t j = 0; j < w->n_addresses; j++)
        strbuf_add(b, "address = %s/%u\n", ip_addr_format(&w->addresses[j].addr, text),
                   w->addresses[j].len);
    for (size_t j = 0; j < w->n_dns; j++)
        strbuf_add(b, "dns = %s\n", ip_addr_format(&w->dns[j], text));
    for (size_t j = 0; j < w->n_domains; j++)
        strbuf_add(b, "domain = %s\n", w->domains[j]);
    for (size_t j = 0; j < w->n_allowed; j++)
        strbuf_add(b, "route = %s\n", ip_prefix_format(&w->allowed[j], text));
}

static int make_profile(struct cli *c, const struct import *i, struct strbuf *b)
{
    int r;

    strbuf_add(b,
               "# Made by `waymark vpn import` for the interface %s of wg-quick(8).\n"
               "# Its keys are not here: they stay in wg-quick's own file.\n"
               "[vpn %s]\n",
               i->interface, i->name);
    r = add_interfaces(c, i, b);
    add_file(i, b);
    if (r == 0)
        r = add_options(c, b);
    return r == 0 && b->failed ? -ENOMEM : r;
}

/* Writing. */

static int cannot_write(struct cli *c, int error, const struct import *i)
{
    if (error != -EACCES && error != -EPERM && error != -EROFS)
        return failed(c, error, "write", i->path);
    return why_set(
        &c->why, error,
        "cannot write %.200s: %s: profiles are root's to write; use sudo, or `waymark vpn "
        "adopt %s`, which the daemon keeps itself",
        i->path, strerror(-error), i->interface);
}

static int find_place(struct cli *c, struct import *i)
{
    const char *config = arguments_value(&c->args, OPTION_CONFIG);

    if (!config)
        config = CONFIG_DEFAULT;
    if (asprintf(&i->folder, "%s/conf.d", config) < 0) {
        i->folder = NULL;
        return -ENOMEM;
    }
    if (asprintf(&i->path, "%s/%s.conf", i->folder, i->name) < 0) {
        i->path = NULL;
        return -ENOMEM;
    }
    return 0;
}

/* What is there already is kept until the daemon has taken the new one. */
static int read_before(struct cli *c, struct import *i)
{
    int r = fd_read_file(i->path, FILE_MAX, &i->before, &i->before_size);

    if (r == -ENOENT)
        return 0;
    if (r < 0)
        return failed(c, r, "read", i->path);
    if (arguments_have(&c->args, OPTION_FORCE))
        return 0;
    return why_set(&c->why, -EEXIST,
                   "%.200s is there already: replace it with --force, or choose another name with "
                   "--name",
                   i->path);
}

static int write_profile(struct cli *c, struct import *i, const struct strbuf *text)
{
    int r = read_before(c, i);

    if (r < 0)
        return r;
    i->made_folder = mkdir(i->folder, 0755) == 0;
    if (!i->made_folder && errno != EEXIST)
        return cannot_write(c, -errno, i);
    r = fd_replace_file(i->path, strbuf_text(text), text->size, 0644);
    if (r == 0)
        return 0;
    if (i->made_folder)
        (void)rmdir(i->folder);
    return cannot_write(c, r, i);
}

/* The sentence that is there already says why. */
static void take_back(const struct import *i)
{
    if (i->before)
        (void)fd_replace_file(i->path, i->before, i->before_size, 0644);
    else
        (void)unlink(i->path);
    if (i->made_folder)
        (void)rmdir(i->folder);
}

static bool is_same_file(const char *a, const char *b)
{
    struct stat x, y;

    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* Has the daemon read just this file? It may have another folder, with a VPN of that name in it. */
static int check_taken(struct cli *c, const struct import *i)
{
    int r = vpn_put(c, i->name);

    if (r < 0 && r != -ENONET)
        return r;
    if (r == 0 && is_same_file(json_text(json_object_get(c->doc, "vpn"), "source"), i->path))
        return 0;
    return why_set(&c->why, -ENOENT,
                   "waymarkd does not read %.200s: say with --config which folder it was given",
                   i->path);
}

static int reload(struct cli *c, const struct import *i)
{
    int r = cli_change(c, "Reload", "");

    if (r == 0)
        r = check_taken(c, i);
    if (r < 0)
        take_back(i);
    if (r == -ENOENT)
        c->code = EXIT_FAILED;
    return r;
}

/* What wg-quick goes on doing, and what there is left to do. */

static int _printf_(2, 3) note(json_t *notes, const char *format, ...)
{
    char *text;
    va_list ap;
    int r;

    va_start(ap, format);
    r = vasprintf(&text, format, ap);
    va_end(ap);
    if (r < 0)
        return -ENOMEM;
    r = json_array_append_new(notes, json_string(text));
    free(text);
    return r < 0 ? -ENOMEM : 0;
}

static int note_hooks(json_t *notes, const struct import *i)
{
    static const char *const names[] = { "PreUp", "PostUp", "PreDown", "PostDown" };
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;

    for (size_t j = 0; j < ELEMENTSOF(names); j++)
        if (i->wg.hooks & 1U << j)
            strbuf_add(&b, "%s%s", b.size > 0 ? ", " : "", names[j]);
    if (b.size == 0)
        return 0;
    return note(notes, "%s: wg-quick runs what stands there, waymark does not", strbuf_text(&b));
}

static bool is_for_somebody(const struct cli *c)
{
    static const enum option_id options[] = { OPTION_APPS, OPTION_EXCEPT, OPTION_EVERYONE };

    for (size_t j = 0; j < ELEMENTSOF(options); j++)
        if (arguments_have(&c->args, options[j]))
            return true;
    return false;
}

static int put_notes(struct cli *c, const struct import *i)
{
    json_t *notes = json_array();
    int r = json_put(c->doc, "notes", notes); /* borrowed from here on */

    if (r == 0)
        r = note_hooks(notes, i);
    if (r == 0 && i->wg.table == WGQUICK_TABLE_AUTO && wgquick_has_default(&i->wg, AF_UNSPEC))
        r = note(notes,
                 "wg-quick sends the whole machine by %s, for a peer's AllowedIPs are everything; "
                 "with `Table = off` in its file only the apps of this VPN go there",
                 i->interface);
    if (r == 0 && !is_for_somebody(c))
        r = note(notes, "no app is on it: say which with `apps = …` in %s, or with --apps",
                 i->path);
    return r;
}

int run_vpn_import(struct cli *c)
{
    _cleanup_import_ struct import i = { .source = cli_word(c, 0) };
    _cleanup_strbuf_ struct strbuf text = STRBUF_INIT;
    int r = read_names(c, &i);

    if (r == 0)
        r = cli_connect(c);
    if (r == 0)
        r = read_source(c, &i);
    if (r == 0)
        r = find_place(c, &i);
    if (r == 0)
        r = make_profile(c, &i, &text);
    if (r == 0)
        r = write_profile(c, &i, &text);
    if (r == 0)
        r = reload(c, &i);
    if (r == 0)
        r = json_put(c->doc, "file", json_string(i.path));
    return r < 0 ? r : put_notes(c, &i);
}

void print_vpn_import(struct cli *c)
{
    const json_t *notes = json_object_get(c->doc, "notes");

    vpn_print_added(c);
    cli_print(c, STYLE_PLAIN, "written: %s\n", json_text(c->doc, "file"));
    for (size_t i = 0; i < json_array_size(notes); i++)
        cli_print(c, STYLE_PLAIN, "note: %s\n", json_string_value(json_array_get(notes, i)));
}
