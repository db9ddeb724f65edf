/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A request of the keystore. What must hold:
 *  - it is read the same in one piece and byte by byte;
 *  - a parameter is within the request, and no longer than its action has it;
 *  - what is announced is not more than there can be, and more than what is there until it may end;
 *  - what is read can be written, to the same bytes.
 * Its bytes are an answer's messages, too: each is within what is there, and they cover it.
 */

#include <errno.h>

#include "basic/macro.h"
#include "fuzz/fuzz.h"
#include "wire/keystore.h"

static void check_rewritten(const uint8_t *data, const struct keystore_reader *r)
{
    static uint8_t bytes[KEYSTORE_REQUEST_MAX];
    struct keystore_blob parameters[KEYSTORE_PARAMETERS_MAX];
    int n;

    for (size_t i = 0; i < r->n; i++)
        parameters[i] = (struct keystore_blob){ data + r->spans[i].offset, r->spans[i].size };
    n = keystore_request_write(r->action, parameters, r->n, bytes, sizeof(bytes));
    MUST(n >= 0 && (size_t)n == r->size && mem_equal(bytes, data, r->size));
}

static void check_messages(const uint8_t *data, size_t size)
{
    const uint8_t *at = data;
    struct keystore_blob message;
    size_t left = size;
    int r;

    while ((r = keystore_message_next(&at, &left, &message)) > 0) {
        MUST((const uint8_t *)message.data + message.size == at);
        MUST(at + left == data + size);
    }
    MUST(r == 0 ? left == 0 : r == -EBADMSG && left > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct keystore_reader whole = { 0 }, pieces = { 0 };

    keystore_reader_feed(&whole, data, size);
    for (size_t i = 0; i < size; i++) {
        keystore_reader_feed(&pieces, data + i, 1);
        MUST(keystore_reader_needs(&pieces) <= KEYSTORE_REQUEST_MAX + 1);
        MUST(pieces.wrong || !pieces.known || keystore_reader_may_end(&pieces) ||
             keystore_reader_needs(&pieces) > i + 1);
    }
    MUST(memcmp(&whole, &pieces, sizeof(whole)) == 0);
    MUST(whole.has_code == (size > 0) && whole.size <= size);
    MUST(whole.wrong || !whole.known || whole.size == size);
    for (size_t i = 0; i < whole.n; i++)
        MUST(whole.spans[i].offset + whole.spans[i].size <= whole.size &&
             whole.spans[i].size <= KEYSTORE_VALUE_MAX);
    if (keystore_reader_may_end(&whole))
        check_rewritten(data, &whole);
    check_messages(data, size);
    return 0;
}
