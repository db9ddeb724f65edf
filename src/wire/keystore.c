/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/keystore.h"

#include <errno.h>

/* clang-format off */
static const struct keystore_action_row rows[KEYSTORE_ACTION_MAX] = {
    [KEYSTORE_TEST]     = { 't', "test",     0, 0, 0, { 0 } },
    [KEYSTORE_GET]      = { 'g', "get",      KEYSTORE_NO_ERROR, 1, 1, { KEYSTORE_KEY } },
    [KEYSTORE_INSERT]   = { 'i', "insert",   KEYSTORE_NO_ERROR, 2, 2, { KEYSTORE_KEY, KEYSTORE_VALUE } },
    [KEYSTORE_DELETE]   = { 'd', "delete",   0, 1, 1, { KEYSTORE_KEY } },
    [KEYSTORE_EXIST]    = { 'e', "exist",    0, 1, 1, { KEYSTORE_KEY } },
    [KEYSTORE_SAW]      = { 's', "saw",      0, 1, 1, { KEYSTORE_KEY } },
    [KEYSTORE_RESET]    = { 'r', "reset",    0, 0, 0, { 0 } },
    [KEYSTORE_PASSWORD] = { 'p', "password", 0, 2, 1, { KEYSTORE_VALUE, KEYSTORE_VALUE } },
    [KEYSTORE_LOCK]     = { 'l', "lock",     KEYSTORE_NO_ERROR, 0, 0, { 0 } },
    [KEYSTORE_UNLOCK]   = { 'u', "unlock",   KEYSTORE_LOCKED, 1, 1, { KEYSTORE_VALUE } },
    [KEYSTORE_ZERO]     = { 'z', "zero",     0, 0, 0, { 0 } },
    [KEYSTORE_GRANT]    = { 'x', "grant",    0, 2, 2, { KEYSTORE_KEY, KEYSTORE_UID } },
    [KEYSTORE_UNGRANT]  = { 'y', "ungrant",  0, 2, 2, { KEYSTORE_KEY, KEYSTORE_UID } },
};
/* clang-format on */

static const uint16_t length_max[] = {
    [KEYSTORE_NONE] = 0,
    [KEYSTORE_KEY] = KEYSTORE_KEY_MAX,
    [KEYSTORE_VALUE] = KEYSTORE_VALUE_MAX,
    [KEYSTORE_UID] = KEYSTORE_UID_MAX,
};

static const char *const answers[KEYSTORE_ANSWER_MAX] = {
    [KEYSTORE_NO_ERROR] = "no error",
    [KEYSTORE_LOCKED] = "locked",
    [KEYSTORE_UNINITIALIZED] = "uninitialized",
    [KEYSTORE_SYSTEM_ERROR] = "system error",
    [KEYSTORE_PROTOCOL_ERROR] = "protocol error",
    [KEYSTORE_PERMISSION_DENIED] = "permission denied",
    [KEYSTORE_KEY_NOT_FOUND] = "key not found",
    [KEYSTORE_VALUE_CORRUPTED] = "value corrupted",
    [KEYSTORE_UNDEFINED_ACTION] = "undefined action",
    [KEYSTORE_WRONG_PASSWORD] = "wrong password, and no try is left",
    [KEYSTORE_WRONG_PASSWORD + 1] = "wrong password, 1 try is left",
    [KEYSTORE_WRONG_PASSWORD + 2] = "wrong password, 2 tries are left",
    [KEYSTORE_WRONG_PASSWORD + 3] = "wrong password, 3 tries are left",
};

const struct keystore_action_row *keystore_action_row(enum keystore_action action)
{
    assert(action < KEYSTORE_ACTION_MAX);
    return &rows[action];
}

int keystore_action_of(uint8_t code)
{
    for (int i = 0; i < KEYSTORE_ACTION_MAX; i++)
        if ((uint8_t)rows[i].code == code)
            return i;
    return -EINVAL;
}

const char *keystore_answer_to_string(uint8_t answer)
{
    return answer < KEYSTORE_ANSWER_MAX && answers[answer] ? answers[answer] : "answer";
}

/* Reading. */

static void read_code(struct keystore_reader *r, uint8_t code)
{
    int action = keystore_action_of(code);

    r->has_code = true;
    r->code = code;
    r->known = action >= 0;
    r->action = action >= 0 ? (uint8_t)action : 0;
}

static uint8_t kind_of_next(const struct keystore_reader *r)
{
    return rows[r->action].parameters[r->n];
}

/* A uid that is none, as (uid_t)-1, is no parameter either. */
static void end_parameter(struct keystore_reader *r)
{
    if (kind_of_next(r) == KEYSTORE_UID && (r->spans[r->n].size == 0 || r->uid == UINT32_MAX))
        r->wrong = true;
    else
        r->n++;
    r->length_bytes = 0;
}

static void read_length(struct keystore_reader *r, uint8_t byte)
{
    struct keystore_span *next = &r->spans[r->n];

    next->size = r->length_bytes == 0 ? byte : next->size << 8 | byte;
    if (++r->length_bytes < KEYSTORE_LENGTH_SIZE)
        return;
    next->offset = r->size;
    r->left = next->size;
    r->wrong = next->size > length_max[kind_of_next(r)];
    if (!r->wrong && r->left == 0)
        end_parameter(r);
}

static void read_digit(struct keystore_reader *r, uint8_t byte)
{
    uint64_t uid = (uint64_t)r->uid * 10 + (byte - (unsigned)'0');

    r->wrong = byte < '0' || byte > '9' || uid > UINT32_MAX;
    if (!r->wrong)
        r->uid = (uint32_t)uid;
}

/* The next thing of what is there. How many bytes that were. */
static size_t read_some(struct keystore_reader *r, const uint8_t *bytes, size_t n)
{
    size_t take = 1;

    if (!r->has_code) {
        r->size++;
        read_code(r, bytes[0]);
    } else if (r->n == rows[r->action].n_parameters) {
        r->size++;
        r->wrong = true;
    } else if (r->length_bytes < KEYSTORE_LENGTH_SIZE) {
        r->size++;
        read_length(r, bytes[0]);
    } else {
        take = kind_of_next(r) == KEYSTORE_UID ? 1 : MIN(n, r->left);
        r->size += take;
        r->left -= take;
        if (kind_of_next(r) == KEYSTORE_UID)
            read_digit(r, bytes[0]);
        if (r->left == 0 && !r->wrong)
            end_parameter(r);
    }
    return take;
}

void keystore_reader_feed(struct keystore_reader *r, const uint8_t *bytes, size_t n)
{
    while (n > 0 && !r->wrong && (r->known || !r->has_code)) {
        size_t taken = read_some(r, bytes, n);

        bytes += taken;
        n -= taken;
    }
}

bool keystore_reader_may_end(const struct keystore_reader *r)
{
    return r->known && !r->wrong && r->length_bytes == 0 && r->n >= rows[r->action].n_required;
}

size_t keystore_reader_needs(const struct keystore_reader *r)
{
    size_t n;

    if (!r->known || r->wrong)
        return r->has_code ? r->size : 1;
    if (r->length_bytes == KEYSTORE_LENGTH_SIZE)
        n = r->left;
    else if (r->n < rows[r->action].n_required || r->length_bytes > 0)
        n = KEYSTORE_LENGTH_SIZE - r->length_bytes;
    else
        n = 0;
    return r->size + n;
}

/* Clients. */

static void put_length(uint8_t *bytes, size_t length)
{
    bytes[0] = (uint8_t)(length >> 8);
    bytes[1] = (uint8_t)length;
}

int keystore_request_write(enum keystore_action action, const struct keystore_blob *parameters,
                           size_t n, uint8_t *buffer, size_t max)
{
    const struct keystore_action_row *row = keystore_action_row(action);
    size_t size = 1;

    if (n < row->n_required || n > row->n_parameters)
        return -EINVAL;
    for (size_t i = 0; i < n; i++) {
        if (parameters[i].size > length_max[row->parameters[i]])
            return -EMSGSIZE;
        size += KEYSTORE_LENGTH_SIZE + parameters[i].size;
    }
    if (size > max)
        return -ENOBUFS;
    *buffer++ = (uint8_t)row->code;
    for (size_t i = 0; i < n; i++) {
        put_length(buffer, parameters[i].size);
        buffer += KEYSTORE_LENGTH_SIZE;
        if (parameters[i].size > 0)
            memcpy(buffer, parameters[i].data, parameters[i].size);
        buffer += parameters[i].size;
    }
    return (int)size;
}

int keystore_message_next(const uint8_t **bytes, size_t *size, struct keystore_blob *ret)
{
    size_t length;

    if (*size == 0)
        return 0;
    if (*size < KEYSTORE_LENGTH_SIZE)
        return -EBADMSG;
    length = (size_t)(*bytes)[0] << 8 | (*bytes)[1];
    if (*size - KEYSTORE_LENGTH_SIZE < length)
        return -EBADMSG;
    *ret = (struct keystore_blob){ *bytes + KEYSTORE_LENGTH_SIZE, length };
    *bytes += KEYSTORE_LENGTH_SIZE + length;
    *size -= KEYSTORE_LENGTH_SIZE + length;
    return 1;
}
