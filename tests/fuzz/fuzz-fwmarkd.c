/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A request of the socket-marking protocol. What must hold:
 *  - only four lengths are requests, and which command may have which;
 *  - the fields are the bytes, where they stand in Android's structs;
 *  - a scope is only found in an IPv6 link-local destination.
 */

#include <errno.h>

#include "basic/macro.h"
#include "fuzz/fuzz.h"
#include "wire/fwmarkd.h"

static uint32_t word_at(const uint8_t *data, size_t offset)
{
    uint32_t value;

    memcpy(&value, data + offset, sizeof(value));
    return value;
}

static bool may_have_destination(int32_t id)
{
    return id == FWMARKD_ON_CONNECT || id == FWMARKD_ON_CONNECT_COMPLETE ||
           (id >= FWMARKD_ON_SENDMMSG && id <= FWMARKD_ON_SENDTO);
}

static void check_scope(const uint8_t *info, uint32_t scope)
{
    uint16_t family;

    memcpy(&family, info + 8, sizeof(family));
    MUST(scope == 0 || (family == 10 && info[16] == 0xfe && (info[17] & 0xc0) == 0x80));
    MUST(scope == 0 || scope == word_at(info, 32));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fwmarkd_request request;
    bool full = size == 16 || size == 52, info = size == 48 || size == 52;
    int r = fwmarkd_parse(data, size, &request);
    int32_t id;

    if (r < 0) {
        MUST(r == -EBADMSG);
        id = size >= 4 ? (int32_t)word_at(data, 0) : 0;
        MUST((size != 12 && !full && !info) || id == FWMARKD_ON_CONNECT_COMPLETE ||
             (info && !may_have_destination(id)));
        return 0;
    }
    MUST(size == 12 || full || info);
    MUST(request.id == (int32_t)word_at(data, 0));
    MUST(request.netid == word_at(data, 4) && request.uid == word_at(data, 8));
    MUST(request.traffic_ctrl_info == (full ? word_at(data, 12) : 0));
    MUST(!info || may_have_destination(request.id));
    MUST(info || (request.id != FWMARKD_ON_CONNECT_COMPLETE && request.scope == 0));
    if (info)
        check_scope(data + size - FWMARKD_INFO_SIZE, request.scope);
    MUST(fwmarkd_id_to_string(request.id)[0] != '\0');
    (void)fwmarkd_needs_socket(request.id);
    return 0;
}
