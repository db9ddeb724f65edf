/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/conf.h"

#include <errno.h>

struct conf_parser {
    conf_handler handler;
    void *data;
    char section[CONF_LINE_MAX + 1];
    const char *argument; /* into section */
    unsigned line;
};

static char *trim(char *s)
{
    size_t n;

    s += strspn(s, " \t\r");
    n = strlen(s);
    while (n > 0 && strchr(" \t\r", s[n - 1]))
        s[--n] = '\0';
    return s;
}

static int parse_section(struct conf_parser *p, char *text, struct why *why)
{
    size_t n = strlen(text);
    char *argument;

    if (text[n - 1] != ']')
        return why_set(why, -EINVAL, "a section needs a ']' at its end: [network NAME]");
    text[n - 1] = '\0';
    text = trim(text + 1);
    if (*text == '\0')
        return why_set(why, -EINVAL, "the section has no name");

    memcpy(p->section, text, strlen(text) + 1);
    argument = p->section + strcspn(p->section, " \t");
    if (*argument != '\0')
        *argument++ = '\0';
    p->argument = argument + strspn(argument, " \t");

    struct conf_line line = {
        .line = p->line,
        .section = p->section,
        .argument = p->argument,
    };
    return p->handler(p->data, &line, why);
}

static int parse_key(struct conf_parser *p, char *text, struct why *why)
{
    char *equals = strchr(text, '=');

    if (!equals)
        return why_set(why, -EINVAL, "'%.60s' is neither a [section] nor a key = value", text);
    *equals = '\0';

    struct conf_line line = {
        .line = p->line,
        .section = p->section,
        .argument = p->argument,
        .key = trim(text),
        .value = trim(equals + 1),
    };
    if (line.key[0] == '\0')
        return why_set(why, -EINVAL, "there is no key before the '='");
    return p->handler(p->data, &line, why);
}

static int parse_line(struct conf_parser *p, const char *start, size_t size, struct why *why)
{
    char text[CONF_LINE_MAX + 1], *s;

    if (size > CONF_LINE_MAX)
        return why_set(why, -EINVAL, "the line is longer than %d bytes", CONF_LINE_MAX);
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)start[i];

        if ((c < ' ' && c != '\t' && c != '\r') || c == 0x7f)
            return why_set(why, -EINVAL, "the line has a control character (0x%02x)", c);
    }
    memcpy(text, start, size);
    text[size] = '\0';
    s = trim(text);
    if (*s == '\0' || *s == '#' || *s == ';')
        return 0;
    return *s == '[' ? parse_section(p, s, why) : parse_key(p, s, why);
}

int conf_parse(const char *text, size_t size, conf_handler handler, void *data, unsigned *ret_line,
               struct why *why)
{
    struct conf_parser p = { .handler = handler, .data = data };
    const char *end = text + size;

    p.argument = p.section;
    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        int r;

        p.line++;
        r = parse_line(&p, text, (size_t)(stop - text), why);
        if (r < 0) {
            *ret_line = p.line;
            return r;
        }
        text = newline ? newline + 1 : end;
    }
    return 0;
}
