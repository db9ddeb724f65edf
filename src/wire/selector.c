/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/selector.h"

#include <errno.h>
#include <stdbool.h>

#include "basic/hash.h"
#include "basic/parse.h"

static const char *const kind_names[SELECTOR_KIND_MAX] = {
    [SELECTOR_UID] = "uid",       [SELECTOR_USER] = "user", [SELECTOR_GROUP] = "group",
    [SELECTOR_CGROUP] = "cgroup", [SELECTOR_UNIT] = "unit", [SELECTOR_EXE] = "exe",
};

const char *selector_kind_to_string(enum selector_kind kind)
{
    return kind_names[kind];
}

/* Each check returns what is wrong with a value, or NULL. */
static const char *check_text(const char *v)
{
    if (*v == '\0')
        return "the value is empty";
    if (strlen(v) > 4096)
        return "the value is longer than 4096 bytes";
    for (const char *p = v; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return "the value has a control character";
    return NULL;
}

static const char *check_name(const char *v)
{
    if (strlen(v) > 255)
        return "the name is longer than 255 bytes";
    return strpbrk(v, " :/") ? "the name has a space, ':' or '/'" : NULL;
}

static const char *check_path(const char *v)
{
    size_t n = strlen(v);

    if (v[0] != '/')
        return "the path does not start with '/'";
    if (strstr(v, "/../") || (n >= 3 && streq(v + n - 3, "/..")))
        return "the path has a '..' in it";
    return NULL;
}

static const char *check_exe(const char *v)
{
    const char *last = strrchr(v, '/');

    if (last && (streq(last, "/") || streq(last, "/.")))
        return "the path ends with '/': give the executable file itself";
    return check_path(v);
}

/* Takes empty and "." parts out of an absolute path: so one file has one text, links apart. */
static void normalize_path(char *path)
{
    const char *from = path;
    char *to = path;

    while (*from) {
        size_t n = 1 + strcspn(from + 1, "/"); /* with the '/' in front */

        if (n > 2 || (n == 2 && from[1] != '.')) {
            memmove(to, from, n);
            to += n;
        }
        from += n;
    }
    if (to == path)
        to++; /* the root */
    *to = '\0';
}

static const char *check_unit(const char *v)
{
    static const char *const suffixes[] = { ".service", ".scope",  ".slice", ".socket",
                                            ".mount",   ".target", ".timer", ".path" };
    const char *dot = strrchr(v, '.');

    if (strpbrk(v, " /"))
        return "the unit name has a space or '/'";
    if (!dot || dot == v || parse_word(suffixes, ELEMENTSOF(suffixes), dot) < 0)
        return "the unit name needs its suffix, such as .service or .scope";
    return NULL;
}

static const char *(*const kind_checks[SELECTOR_KIND_MAX])(const char *) = {
    [SELECTOR_USER] = check_name, [SELECTOR_GROUP] = check_name, [SELECTOR_CGROUP] = check_path,
    [SELECTOR_UNIT] = check_unit, [SELECTOR_EXE] = check_exe,
};

int selector_parse(const char *s, struct selector *ret, struct why *why)
{
    struct selector selector = { 0 };
    const char *colon = strchr(s, ':');
    size_t n = colon ? (size_t)(colon - s) : 0;
    char word[16] = "";
    int kind = -EINVAL;

    if (colon && n < sizeof(word)) {
        memcpy(word, s, n);
        kind = parse_word(kind_names, ELEMENTSOF(kind_names), word);
    }
    if (kind < 0)
        return why_set(why, -EINVAL,
                       "'%.80s' is no selector: use uid:N, uid:N-M, user:NAME, group:NAME, "
                       "cgroup:/PATH, unit:NAME or exe:/PATH",
                       s);

    const char *value = colon + 1;
    selector.kind = (enum selector_kind)kind;
    if (kind == SELECTOR_UID) {
        if (uid_range_parse(value, 10, &selector.uid) < 0)
            return why_set(why, -EINVAL,
                           "'%.80s' is no uid or range: use uid:N or uid:N-M with "
                           "0 <= N <= M <= %u",
                           s, UID_MAX);
    } else {
        const char *wrong = check_text(value);
        if (!wrong)
            wrong = kind_checks[kind](value);
        if (wrong)
            return why_set(why, -EINVAL, "'%.80s' is no %s selector: %s", s, kind_names[kind],
                           wrong);
        selector.text = rstr_new(value);
        if (!selector.text)
            return -ENOMEM;
        if (kind == SELECTOR_CGROUP || kind == SELECTOR_EXE)
            normalize_path(selector.text->s);
    }
    *ret = selector;
    return 0;
}

int selector_check_supported(const struct selector *s, bool maps, struct why *why)
{
    if (maps || s->kind == SELECTOR_UID || s->kind == SELECTOR_USER || s->kind == SELECTOR_GROUP)
        return 0;
    return why_set(why, -EOPNOTSUPP,
                   "%s selectors need the `maps` back-end, which is not in use (see `waymark "
                   "doctor`): use uid:, user: or group:",
                   kind_names[s->kind]);
}

void selector_done(struct selector *s)
{
    rstr_unref(TAKE_PTR(s->text));
}

void selector_print(const struct selector *s, struct strbuf *b)
{
    char range[UID_RANGE_TEXT_MAX];

    strbuf_add(b, "%s:%s", kind_names[s->kind],
               s->kind == SELECTOR_UID ? uid_range_format(&s->uid, range) : rstr_text(s->text));
}

int selector_compare(const struct selector *a, const struct selector *b)
{
    int c = CMP(a->kind, b->kind);

    if (c == 0)
        c = uid_range_compare(&a->uid, &b->uid);
    return c ? c : strcmp(rstr_text(a->text), rstr_text(b->text));
}

uint64_t selector_number(const struct selector *s)
{
    const char *text = s->kind == SELECTOR_UID ? NULL : rstr_text(s->text);
    uint64_t number = text ? hash_bytes64(text, strlen(text), s->kind)
                           : hash_bytes64(&s->uid, sizeof(s->uid), s->kind);

    return number ? number : 1;
}
