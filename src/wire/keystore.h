/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The protocol of Android's keystore (2.3 to 4.1), bytes <-> structs. No I/O, and nothing is copied:
 * parameters are where the request's bytes are.
 *
 *   request   u8 code, then per parameter: u16 length (big endian), as many bytes; then end of file
 *   answer    u8 code; behind 1 (no error) for `get` one message, u16 length and as many bytes, for
 *             `saw` one per name; then end of file
 *
 * A request's end is the end of the file (shutdown()), so that who is cut off has asked for nothing.
 * All bytes are valid in keys, values and passwords, and each may be empty.
 *
 * `password` has two parameters, old and new; Android 4 sends one, which stands for both.
 * `grant` and `ungrant` are ours: a key, and the reader's uid in decimal.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "basic/macro.h"

enum {
    KEYSTORE_KEY_MAX = 120,
    KEYSTORE_VALUE_MAX = 32768, /* of passwords, too */
    KEYSTORE_UID_MAX = 10,      /* digits */
    KEYSTORE_PARAMETERS_MAX = 2,
    KEYSTORE_LENGTH_SIZE = 2, /* what stands before a parameter or a message */
    KEYSTORE_REQUEST_MAX =
        1 + KEYSTORE_PARAMETERS_MAX * (KEYSTORE_LENGTH_SIZE + KEYSTORE_VALUE_MAX),
};

enum keystore_answer {
    KEYSTORE_NO_ERROR = 1, /* the first three are the states, too: unlocked, … */
    KEYSTORE_LOCKED = 2,
    KEYSTORE_UNINITIALIZED = 3,
    KEYSTORE_SYSTEM_ERROR = 4,
    KEYSTORE_PROTOCOL_ERROR = 5,
    KEYSTORE_PERMISSION_DENIED = 6,
    KEYSTORE_KEY_NOT_FOUND = 7,
    KEYSTORE_VALUE_CORRUPTED = 8,
    KEYSTORE_UNDEFINED_ACTION = 9,
    KEYSTORE_WRONG_PASSWORD = 10, /* + the tries that are left, 3 to 0 */
    KEYSTORE_TRIES = 4,
    KEYSTORE_ANSWER_MAX = KEYSTORE_WRONG_PASSWORD + KEYSTORE_TRIES,
};

enum keystore_action {
    KEYSTORE_TEST,
    KEYSTORE_GET,
    KEYSTORE_INSERT,
    KEYSTORE_DELETE,
    KEYSTORE_EXIST,
    KEYSTORE_SAW,
    KEYSTORE_RESET,
    KEYSTORE_PASSWORD,
    KEYSTORE_LOCK,
    KEYSTORE_UNLOCK,
    KEYSTORE_ZERO,
    KEYSTORE_GRANT,
    KEYSTORE_UNGRANT,
    KEYSTORE_ACTION_MAX,
};

enum keystore_parameter {
    KEYSTORE_NONE,
    KEYSTORE_KEY, /* or the beginning of one */
    KEYSTORE_VALUE,
    KEYSTORE_UID,
};

struct keystore_action_row {
    char code;
    const char *name;
    uint8_t state; /* in which it can be asked for; 0: in any */
    uint8_t n_parameters, n_required;
    uint8_t parameters[KEYSTORE_PARAMETERS_MAX]; /* enum keystore_parameter */
};

struct keystore_key {
    uint8_t size; /* KEYSTORE_KEY_MAX at most */
    uint8_t bytes[KEYSTORE_KEY_MAX];
};

static inline bool keystore_key_equal(const struct keystore_key *a, const struct keystore_key *b)
{
    return a->size == b->size && mem_equal(a->bytes, b->bytes, a->size);
}

/* Never NULL. */
const struct keystore_action_row *keystore_action_row(enum keystore_action action);

/* The action with this code, or -EINVAL. */
int keystore_action_of(uint8_t code);

/* "no error", …; "answer" for one that is not known. */
const char *keystore_answer_to_string(uint8_t answer);

/*
 * Reading a request as it comes. Whoever has the bytes feeds them, in order, as many as there are;
 * what is known then stands in the struct, which holds no bytes. {0} is one that has read nothing.
 */
struct keystore_span {
    size_t offset; /* in the request */
    size_t size;
};

struct keystore_reader {
    size_t size;   /* bytes that were fed */
    bool has_code; /* the first byte has come */
    bool known;    /* …and is the code of `action` */
    uint8_t code;
    bool wrong; /* a parameter is too long or no uid, or something stands behind the last one */
    uint8_t action;
    uint8_t n; /* parameters that are whole */
    struct keystore_span
        spans[KEYSTORE_PARAMETERS_MAX]; /* the first n are; the next is announced */
    uint32_t uid;                       /* of KEYSTORE_UID, once it is whole */
    /* the reader's own */
    uint8_t length_bytes;
    size_t left;
};

/* Nothing more is looked at once the request is wrong, or its action is not known. */
void keystore_reader_feed(struct keystore_reader *r, const uint8_t *bytes, size_t n);

/* Would it be a request if it ended here? */
bool keystore_reader_may_end(const struct keystore_reader *r);

/*
 * How long the request is at least, by what was announced; never more than KEYSTORE_REQUEST_MAX + 1.
 */
size_t keystore_reader_needs(const struct keystore_reader *r);

/* What a client has to say. */
struct keystore_blob {
    const void *data;
    size_t size;
};

/*
 * Writes a request of n parameters. Its size; -EMSGSIZE: a parameter is longer than the action has it;
 * -EINVAL: another number of parameters; -ENOBUFS: `max` is too small (KEYSTORE_REQUEST_MAX is not).
 */
int keystore_request_write(enum keystore_action action, const struct keystore_blob *parameters,
                           size_t n, uint8_t *buffer, size_t max);

/*
 * Takes the next message off what came behind an answer's code: *bytes, *size move behind it. 1; 0: there
 * is none any more; -EBADMSG: it is cut off.
 */
int keystore_message_next(const uint8_t **bytes, size_t *size, struct keystore_blob *ret);
