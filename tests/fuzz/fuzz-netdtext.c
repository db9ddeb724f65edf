/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Android's text protocol: the stream in pieces, its requests, their arguments and values.
 *
 * The first byte of the input says how large the pieces are. What must hold:
 *  - how the stream is cut into pieces changes nothing in what is found in it;
 *  - netdtext_pending() foretells netdtext_next();
 *  - a request is shorter than the buffer, its arguments are inside it, 1 to 26 of them;
 *  - arguments that are quoted and parsed again are the same.
 */

#include "basic/uidrange.h"
#include "fuzz/fuzz.h"
#include "wire/netdtext.h"

/* What was found in a stream, boiled down to a number. */
struct digest {
    uint64_t hash;
    int seq;
};

static void mix(struct digest *d, const void *bytes, size_t n)
{
    const uint8_t *p = bytes;

    for (size_t i = 0; i < n; i++)
        d->hash = (d->hash ^ p[i]) * 0x100000001b3ULL;
}

static void quote(const struct netdtext_command *c, struct strbuf *b)
{
    strbuf_add(b, "7");
    for (size_t i = 0; i < c->argc; i++) {
        strbuf_add(b, " \"");
        for (const char *p = c->argv[i]; *p; p++) {
            if (*p == '"' || *p == '\\')
                strbuf_add_char(b, '\\');
            strbuf_add_char(b, *p);
        }
        strbuf_add_char(b, '"');
    }
}

static void check_quoted(const struct netdtext_command *c)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct netdtext_command again;
    int seq = 0;

    quote(c, &b);
    MUST(netdtext_parse(strbuf_text(&b), &seq, &again) == NETDTEXT_FINE && seq == 7);
    MUST(again.argc == c->argc);
    for (size_t i = 0; i < c->argc; i++)
        MUST(streq(again.argv[i], c->argv[i]));
}

/* Every reader of a value sees every argument. */
static void read_values(const struct netdtext_command *c)
{
    for (size_t i = 0; i < c->argc; i++) {
        struct netdtext_params params;
        struct route_spec route;
        uint32_t uid, netid = netdtext_netid(c->argv[i]);

        MUST(!startswith(c->argv[i], "oem") || netid == 0 || (netid >= 2 && netid <= 51));
        MUST(netdtext_uid(c->argv[i], &uid) < 0 || uid <= UID_MAX);
        (void)netdtext_params(c->argv[i], &params);
        if (netdtext_route("eth0", c->argv[i], i + 1 < c->argc ? c->argv[i + 1] : NULL, &route) < 0)
            continue;

        /* what is accepted can be written down and read again */
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct route_spec again;

        route_spec_print(&route, &b);
        MUST(route_spec_parse_line(strbuf_text(&b), &again, NULL) == 0);
        MUST(route_spec_compare(&route, &again) == 0);
    }
}

/* `closely`: all that follows from it; not every time, it is the dear part. */
static void take_request(struct digest *d, const char *request, bool closely)
{
    struct netdtext_command command;
    enum netdtext_fault fault;

    MUST(strlen(request) < NETDTEXT_REQUEST_MAX);
    fault = netdtext_parse(request, &d->seq, &command);
    MUST(fault < NETDTEXT_FAULT_MAX);
    mix(d, &fault, sizeof(fault));
    mix(d, &d->seq, sizeof(d->seq));
    if (fault != NETDTEXT_FINE)
        return;
    MUST(command.argc >= 1 && command.argc <= NETDTEXT_ARGS_MAX);
    for (size_t i = 0; i < command.argc; i++) {
        const char *end = command.argv[i] + strlen(command.argv[i]);

        MUST(command.argv[i] >= command.text && end < command.text + sizeof(command.text));
        mix(d, command.argv[i], (size_t)(end - command.argv[i]) + 1);
    }
    if (!closely)
        return;
    check_quoted(&command);
    read_values(&command);
}

static struct digest read_stream(const uint8_t *data, size_t size, size_t piece, bool closely)
{
    struct digest d = { .hash = 0xcbf29ce484222325ULL };
    struct netdtext_stream s = { 0 };

    while (size > 0) {
        enum netdtext_found found;
        const char *request;
        size_t room, n;
        char *to = netdtext_room(&s, &room);

        MUST(room > 0);
        n = MIN(MIN(room, piece), size);
        memcpy(to, data, n);
        netdtext_filled(&s, n);
        data += n;
        size -= n;
        do {
            bool pending = netdtext_pending(&s);

            found = netdtext_next(&s, &request);
            MUST(pending == (found != NETDTEXT_NOTHING));
            mix(&d, found == NETDTEXT_TOO_LARGE ? "!" : "", found == NETDTEXT_TOO_LARGE);
            if (found == NETDTEXT_REQUEST)
                take_request(&d, request, closely);
        } while (found != NETDTEXT_NOTHING);
    }
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct digest whole, pieces;

    if (size == 0)
        return 0;
    whole = read_stream(data + 1, size - 1, NETDTEXT_REQUEST_MAX, true);
    pieces = read_stream(data + 1, size - 1, (size_t)data[0] + 1, false);
    MUST(whole.hash == pieces.hash && whole.seq == pieces.seq);
    return 0;
}
