/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Android's text protocol, the one that ndc speaks (android.md §4.1): bytes of a stream to
 * requests, requests to arguments, answers to bytes. No I/O, no memory but the caller's.
 *
 * A request is text that ends in a NUL:
 *
 *   12 network create 100 "SYSTEM"\0
 *   |  |                        `- quotes hold spaces, and may begin anywhere in an argument
 *   |  `- the command's word, argument 0
 *   `- the sequence number, which comes back in every line of the answer
 *
 * Answers and broadcasts are lines that end in a NUL, too:
 *
 *   <code> <sequence number> <text>\0     110… more lines come; 200… done; 400… failed; 500… syntax
 *   <code> <text>\0                       600… to everybody, unasked
 *
 * Exactness goes before beauty here, since others' parsers read it. What follows from the original:
 *
 *  - The sequence number is over with the first space that is in no quotes; only then is it read. A
 *    request without such a space has none: its text is argument 0, and the answer bears the number
 *    of the request before. It is read as strtol() with base 0 reads it, so an empty one is 0.
 *  - Every space ends an argument: two in a row make an empty one, one at the end makes an empty
 *    last one.
 *  - A backslash is special inside and outside quotes; at the very end it stands for nothing.
 *  - The original reads into a buffer of 1024 bytes and takes what one read() gave for whole
 *    requests. Here a request may come in any pieces; but one that fills the buffer without a NUL
 *    is refused there as it is here, and what is left of it, up to the next NUL, is skipped.
 *
 * Numbers: the original reads most of them with strtoul() of base 0 and never looks at what stands
 * behind. netdtext_number() does the same, so that "100x" is 100 and "x" is 0.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/strbuf.h"
#include "wire/routespec.h"

enum {
    NETDTEXT_REQUEST_MAX = 1024, /* CMD_BUF_SIZE of Android 7: a request with its NUL, in bytes */
    NETDTEXT_ARGS_MAX = 26,      /* CMD_ARGS_MAX */
};

/* ResponseCode (android.md §4.2, §4.5); only those that are sent. */
enum netdtext_code {
    NETDTEXT_INTERFACE_LIST = 110,
    NETDTEXT_OKAY = 200,
    NETDTEXT_INTERFACE_GETCFG = 213,
    NETDTEXT_FAILED = 400,
    NETDTEXT_SYNTAX = 500,
    NETDTEXT_INTERFACE_CHANGE = 600,
    NETDTEXT_ADDRESS_CHANGE = 614,
    NETDTEXT_ROUTE_CHANGE = 616,
};

/* What arrived and is not used up. Zeroed = empty. */
struct netdtext_stream {
    size_t start, end; /* data[start … end-1] */
    bool skipping;     /* inside a request that was too large */
    char data[NETDTEXT_REQUEST_MAX];
};

enum netdtext_found {
    NETDTEXT_NOTHING,   /* more bytes are needed */
    NETDTEXT_REQUEST,   /* *ret is one request, NUL-terminated */
    NETDTEXT_TOO_LARGE, /* one began that does not fit: answer it, the rest is skipped */
};

/*
 * Where the next bytes from the socket go, and how many fit: at least 1 after netdtext_next() found
 * nothing. Ends the life of the request that was found last.
 */
char *netdtext_room(struct netdtext_stream *s, size_t *ret_size);

/* That `n` bytes were put there. */
void netdtext_filled(struct netdtext_stream *s, size_t n);

/* Takes the next request; *ret is set for NETDTEXT_REQUEST only and lives until netdtext_room(). */
enum netdtext_found netdtext_next(struct netdtext_stream *s, const char **ret);

/* True when netdtext_next() would find something without more bytes. */
bool netdtext_pending(const struct netdtext_stream *s);

/* What can be wrong with a request. */
enum netdtext_fault {
    NETDTEXT_FINE,
    NETDTEXT_BAD_SEQUENCE,
    NETDTEXT_BAD_ESCAPE,
    NETDTEXT_BAD_QUOTES,
    NETDTEXT_TOO_LONG,
    NETDTEXT_FAULT_MAX,
};

/* The text of the 500 that answers it, as the original has it. */
const char *netdtext_fault_text(enum netdtext_fault fault);

/* A request's arguments; they point into `text`, so it is not to be copied. */
struct netdtext_command {
    size_t argc;
    const char *argv[NETDTEXT_ARGS_MAX];
    char text[NETDTEXT_REQUEST_MAX];
};

/*
 * Splits a request into *command, which has at least argument 0 then; after a fault its content is
 * undefined. *seq is the last sequence number that was seen on the connection and becomes this
 * request's as soon as that is read, so also when there is a fault behind it.
 */
enum netdtext_fault netdtext_parse(const char *request, int *seq, struct netdtext_command *command);

/*
 * Appends a line of an answer, NUL included. `error` 0 or a negative errno; then " (<strerror>)"
 * stands behind the text.
 */
void netdtext_reply(struct strbuf *b, enum netdtext_code code, int seq, const char *text,
                    int error);

/* Appends a line to everybody, NUL included. */
void netdtext_broadcast(struct strbuf *b, enum netdtext_code code, const char *format, ...)
    _printf_(3, 4);

/*
 * strtoul() of base 0, what stands behind is ignored; no number is 0. What does not fit into 32
 * bits is UINT32_MAX, which is neither a netId nor a uid, where 64-bit Android would take its low
 * half.
 */
uint32_t netdtext_number(const char *word);

/* A netId (android.md §4.3): a number, `local`, or `oem1` … `oem50`; 0 for any other oem. */
uint32_t netdtext_netid(const char *word);

/* A uid that is a number from end to end, base 0. 0; -EINVAL, also for 0xffffffff. */
int netdtext_uid(const char *word, uint32_t *ret);

/*
 * The route of `network route`. `nexthop` is an address, "unreachable", "throw", or NULL for
 * on-link. 0 or -EINVAL: the destination is no ADDRESS/LENGTH (parsePrefix() wants the length, and
 * knows no `default`), the nexthop is none or of the other family, the interface cannot be one.
 *
 * Bits beyond the prefix length are the kernel's affair in the original. Linux refuses an IPv4
 * route with them (EINVAL) and clears them in an IPv6 one; so does this.
 */
int netdtext_route(const char *interface, const char *destination, const char *nexthop,
                   struct route_spec *ret);

/* `resolver setnetdns --params`. */
struct netdtext_params {
    uint16_t sample_validity;  /* seconds */
    uint8_t success_threshold; /* per cent */
    uint8_t min_samples, max_samples;
};

/* Four decimal numbers with white space between, each in its field's range. 0 or -EINVAL. */
int netdtext_params(const char *word, struct netdtext_params *ret);
