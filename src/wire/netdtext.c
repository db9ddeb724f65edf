/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/netdtext.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "basic/parse.h"
#include "basic/uidrange.h"

/* NetworkController of the original: oem1 is the second OEM netId, not the first. */
enum { LOCAL_NET_ID = 99, MIN_OEM_ID = 1, NUM_OEM_IDS = 50 };

char *netdtext_room(struct netdtext_stream *s, size_t *ret_size)
{
    size_t n = s->end - s->start;

    memmove(s->data, s->data + s->start, n);
    s->start = 0;
    s->end = n;
    *ret_size = sizeof(s->data) - n;
    return s->data + n;
}

void netdtext_filled(struct netdtext_stream *s, size_t n)
{
    assert(n <= sizeof(s->data) - s->end);
    s->end += n;
}

/* One past the next NUL, or 0 when there is none. */
static size_t find_end(const struct netdtext_stream *s)
{
    const char *nul = memchr(s->data + s->start, '\0', s->end - s->start);

    return nul ? (size_t)(nul - s->data) + 1 : 0;
}

/* True when the buffer is full with the beginning of one request. */
static bool is_too_large(const struct netdtext_stream *s)
{
    return s->end - s->start == sizeof(s->data);
}

enum netdtext_found netdtext_next(struct netdtext_stream *s, const char **ret)
{
    size_t end = find_end(s);

    if (s->skipping) {
        s->start = end ? end : s->end;
        if (!end)
            return NETDTEXT_NOTHING;
        s->skipping = false;
        end = find_end(s);
    }
    if (end) {
        *ret = s->data + s->start;
        s->start = end;
        return NETDTEXT_REQUEST;
    }
    if (!is_too_large(s))
        return NETDTEXT_NOTHING;
    s->start = s->end = 0;
    s->skipping = true;
    return NETDTEXT_TOO_LARGE;
}

bool netdtext_pending(const struct netdtext_stream *s)
{
    size_t end = find_end(s);

    if (!s->skipping)
        return end > 0 || is_too_large(s);
    /* behind what is skipped stands less than a buffer: only a NUL makes a request of it */
    return end > 0 && memchr(s->data + end, '\0', s->end - end);
}

const char *netdtext_fault_text(enum netdtext_fault fault)
{
    static const char *const texts[NETDTEXT_FAULT_MAX] = {
        [NETDTEXT_FINE] = "",
        [NETDTEXT_BAD_SEQUENCE] = "Invalid sequence number",
        [NETDTEXT_BAD_ESCAPE] = "Unsupported escape sequence",
        [NETDTEXT_BAD_QUOTES] = "Unclosed quotes error",
        [NETDTEXT_TOO_LONG] = "Command too long",
    };

    return texts[fault];
}

struct tokenizer {
    struct netdtext_command *command;
    int *seq;
    size_t token; /* where in command->text the one that is being read begins */
    size_t end;   /* and ends */
    bool has_seq, quoted, escaped;
};

static enum netdtext_fault add_char(struct tokenizer *t, char c)
{
    if (t->end + 1 >= sizeof(t->command->text)) /* a NUL must fit behind it */
        return NETDTEXT_TOO_LONG;
    t->command->text[t->end++] = c;
    return NETDTEXT_FINE;
}

static enum netdtext_fault end_argument(struct tokenizer *t)
{
    struct netdtext_command *c = t->command;

    if (c->argc == NETDTEXT_ARGS_MAX || t->end >= sizeof(c->text))
        return NETDTEXT_TOO_LONG;
    c->text[t->end++] = '\0';
    c->argv[c->argc++] = c->text + t->token;
    t->token = t->end;
    return NETDTEXT_FINE;
}

static enum netdtext_fault end_sequence(struct tokenizer *t)
{
    char *text = t->command->text, *end;
    long value;

    text[t->end] = '\0';
    value = strtol(text, &end, 0);
    if (*end != '\0')
        return NETDTEXT_BAD_SEQUENCE;
    *t->seq = (int)value;
    t->has_seq = true;
    t->end = 0; /* its place is free for the arguments */
    return NETDTEXT_FINE;
}

static enum netdtext_fault take_char(struct tokenizer *t, char c)
{
    if (t->escaped) {
        t->escaped = false;
        return c == '"' || c == '\\' ? add_char(t, c) : NETDTEXT_BAD_ESCAPE;
    }
    if (c == '\\') {
        t->escaped = true;
        return NETDTEXT_FINE;
    }
    if (c == '"') {
        t->quoted = !t->quoted;
        return NETDTEXT_FINE;
    }
    if (c != ' ' || t->quoted)
        return add_char(t, c);
    return t->has_seq ? end_argument(t) : end_sequence(t);
}

enum netdtext_fault netdtext_parse(const char *request, int *seq, struct netdtext_command *command)
{
    struct tokenizer t = { .command = command, .seq = seq };
    enum netdtext_fault fault = NETDTEXT_FINE;

    command->argc = 0;
    for (const char *p = request; fault == NETDTEXT_FINE && *p; p++)
        fault = take_char(&t, *p);
    if (fault == NETDTEXT_FINE)
        fault = end_argument(&t);
    if (fault == NETDTEXT_FINE && t.quoted)
        fault = NETDTEXT_BAD_QUOTES;
    return fault;
}

void netdtext_reply(struct strbuf *b, enum netdtext_code code, int seq, const char *text, int error)
{
    strbuf_add(b, "%d %d %s", code, seq, text);
    if (error < 0)
        strbuf_add(b, " (%s)", strerror(-error));
    strbuf_add_char(b, '\0');
}

void netdtext_broadcast(struct strbuf *b, enum netdtext_code code, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    strbuf_add(b, "%d %s", code, text);
    strbuf_add_char(b, '\0');
}

static uint32_t saturate(unsigned long v)
{
    return v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

uint32_t netdtext_number(const char *word)
{
    return saturate(strtoul(word, NULL, 0));
}

uint32_t netdtext_netid(const char *word)
{
    uint32_t n;

    if (streq(word, "local"))
        return LOCAL_NET_ID;
    if (!startswith(word, "oem"))
        return netdtext_number(word);
    n = netdtext_number(word + STRLEN("oem"));
    return n >= 1 && n <= NUM_OEM_IDS ? MIN_OEM_ID + n : 0;
}

int netdtext_uid(const char *word, uint32_t *ret)
{
    char *end;
    uint32_t uid = saturate(strtoul(word, &end, 0));

    if (word[0] == '\0' || *end != '\0' || uid == UID_INVALID)
        return -EINVAL;
    *ret = uid;
    return 0;
}

static int parse_destination(const char *word, struct ip_prefix *ret)
{
    char text[IP_TEXT_MAX];
    struct ip_prefix prefix;
    struct ip_addr addr;
    uint32_t len;
    char *slash;

    if (!str_set(text, sizeof(text), word))
        return -EINVAL;
    slash = strchr(text, '/');
    if (!slash)
        return -EINVAL;
    *slash = '\0';
    if (ip_addr_parse(text, &addr) < 0 ||
        parse_u32(slash + 1, ip_family_bits(addr.family), &len) < 0)
        return -EINVAL;
    prefix = ip_prefix_make(&addr, len);
    if (addr.family == AF_INET && !ip_addr_equal(&prefix.addr, &addr))
        return -EINVAL;
    *ret = prefix;
    return 0;
}

int netdtext_route(const char *interface, const char *destination, const char *nexthop,
                   struct route_spec *ret)
{
    const char *words[5] = { NULL, "dev", interface };
    struct ip_prefix prefix;
    char text[IP_TEXT_MAX];
    size_t n = 3;

    if (parse_destination(destination, &prefix) < 0)
        return -EINVAL;
    words[0] = ip_prefix_format(&prefix, text);
    if (nexthop && !streq(nexthop, "unreachable") && !streq(nexthop, "throw"))
        words[n++] = "via";
    if (nexthop)
        words[n++] = nexthop;
    return route_spec_parse(words, n, ret, NULL);
}

int netdtext_params(const char *word, struct netdtext_params *ret)
{
    static const uint32_t max[] = { UINT16_MAX, UINT8_MAX, UINT8_MAX, UINT8_MAX };
    char text[32], *save = NULL;
    uint32_t v[ELEMENTSOF(max)];
    size_t n = 0;

    if (!str_set(text, sizeof(text), word))
        return -EINVAL;
    for (char *p = strtok_r(text, " \t", &save); p; p = strtok_r(NULL, " \t", &save)) {
        if (n == ELEMENTSOF(max) || parse_u32(p, max[n], &v[n]) < 0)
            return -EINVAL;
        n++;
    }
    if (n < ELEMENTSOF(max))
        return -EINVAL;
    *ret = (struct netdtext_params){
        .sample_validity = (uint16_t)v[0],
        .success_threshold = (uint8_t)v[1],
        .min_samples = (uint8_t)v[2],
        .max_samples = (uint8_t)v[3],
    };
    return 0;
}
