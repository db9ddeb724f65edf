/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "wire/fwmarkd.h"

#include <errno.h>
#include <netinet/in.h>

#include "basic/macro.h"

/* How a request lies in memory. */
struct wire_command {
    int32_t id;
    uint32_t netid;
    uint32_t uid;
    uint32_t traffic_ctrl_info;
};

struct wire_info {
    int32_t error;
    uint32_t latency_ms;
    union {
        struct sockaddr any;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } destination;
};

static_assert(sizeof(struct wire_command) == FWMARKD_COMMAND_SIZE, "FwmarkCommand");
static_assert(offsetof(struct wire_command, traffic_ctrl_info) == FWMARKD_COMMAND_SIZE_OLD,
              "FwmarkCommand of Android 5 to 7");
static_assert(sizeof(struct wire_info) == FWMARKD_INFO_SIZE, "FwmarkConnectInfo");

enum destination { DESTINATION_NEVER, DESTINATION_MAY, DESTINATION_MUST };

static const struct {
    const char *name;
    enum destination destination;
    bool no_socket;
} commands[FWMARKD_ID_MAX] = {
    [FWMARKD_ON_ACCEPT] = { .name = "ON_ACCEPT" },
    [FWMARKD_ON_CONNECT] = { .name = "ON_CONNECT", .destination = DESTINATION_MAY },
    [FWMARKD_SELECT_NETWORK] = { .name = "SELECT_NETWORK" },
    [FWMARKD_PROTECT_FROM_VPN] = { .name = "PROTECT_FROM_VPN" },
    [FWMARKD_SELECT_FOR_USER] = { .name = "SELECT_FOR_USER" },
    [FWMARKD_QUERY_USER_ACCESS] = { .name = "QUERY_USER_ACCESS", .no_socket = true },
    [FWMARKD_ON_CONNECT_COMPLETE] = { .name = "ON_CONNECT_COMPLETE",
                                      .destination = DESTINATION_MUST },
    [FWMARKD_TAG_SOCKET] = { .name = "TAG_SOCKET" },
    [FWMARKD_UNTAG_SOCKET] = { .name = "UNTAG_SOCKET" },
    [FWMARKD_SET_COUNTERSET] = { .name = "SET_COUNTERSET", .no_socket = true },
    [FWMARKD_DELETE_TAGDATA] = { .name = "DELETE_TAGDATA", .no_socket = true },
    [FWMARKD_ON_SENDMMSG] = { .name = "ON_SENDMMSG", .destination = DESTINATION_MAY },
    [FWMARKD_ON_SENDMSG] = { .name = "ON_SENDMSG", .destination = DESTINATION_MAY },
    [FWMARKD_ON_SENDTO] = { .name = "ON_SENDTO", .destination = DESTINATION_MAY },
};

static bool is_known(int32_t id)
{
    return id >= 0 && id < FWMARKD_ID_MAX;
}

const char *fwmarkd_id_to_string(int32_t id)
{
    return is_known(id) ? commands[id].name : "command";
}

bool fwmarkd_needs_socket(int32_t id)
{
    return !is_known(id) || !commands[id].no_socket;
}

static uint32_t scope_of(const struct wire_info *info)
{
    const struct sockaddr_in6 *in6 = &info->destination.in6;

    return in6->sin6_family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL(&in6->sin6_addr)
               ? in6->sin6_scope_id
               : 0;
}

int fwmarkd_parse(const void *bytes, size_t size, struct fwmarkd_request *ret)
{
    struct wire_command command = { 0 };
    struct wire_info info = { 0 };
    enum destination destination;
    size_t head = size, tail = 0;

    if (size > FWMARKD_INFO_SIZE) {
        tail = FWMARKD_INFO_SIZE;
        head -= tail;
    }
    if (head != FWMARKD_COMMAND_SIZE && head != FWMARKD_COMMAND_SIZE_OLD)
        return -EBADMSG;
    memcpy(&command, bytes, head);
    memcpy(&info, (const char *)bytes + head, tail);

    destination = is_known(command.id) ? commands[command.id].destination : DESTINATION_NEVER;
    if (tail > 0 ? destination == DESTINATION_NEVER : destination == DESTINATION_MUST)
        return -EBADMSG;
    *ret = (struct fwmarkd_request){
        .id = command.id,
        .netid = command.netid,
        .uid = command.uid,
        .traffic_ctrl_info = command.traffic_ctrl_info,
        .scope = scope_of(&info),
    };
    return 0;
}
