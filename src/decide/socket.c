/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/socket.h"

#include <stddef.h>

#include "decide/door.h"
#include "decide/socket-reason.h"

const char *socket_reason_to_string(uint32_t reason)
{
    static const char *const sentences[SOCKET_REASON_MAX] = {
        [SOCKET_REASON_HELD] = "the app is assigned to this network and may use no other",
        [SOCKET_REASON_BLOCKED] =
            "the app is blocked: it is assigned to `none`, or its network is not there",
        [SOCKET_REASON_HELD_SELECT] =
            "refused: the app is assigned to a network and may not choose another",
        [SOCKET_REASON_HELD_PROTECT] =
            "refused: the app is held by its assignment, which protecting a socket cannot end",
        [SOCKET_REASON_CHOSEN] = "the process chose this network",
        [SOCKET_REASON_UNMARKED] = "nothing was chosen yet: the mark stays",
        [SOCKET_REASON_PREFERRED] = "the app prefers this network",
        [SOCKET_REASON_INCOMING] = "the connection came in by this network",
        [SOCKET_REASON_EXPLICIT] = "this network was chosen for the socket before",
        [SOCKET_REASON_SCOPE] = "the destination is a link-local address of this network",
        [SOCKET_REASON_PROXY] = "the socket is protected, and acts for a user of this VPN",
        [SOCKET_REASON_PROTECTED] = "the socket is protected from VPNs",
        [SOCKET_REASON_VPN] = "this VPN has the app's user",
        [SOCKET_REASON_DEFAULT] = "the default network",
        [SOCKET_REASON_RESET] = "the choice was taken back",
        [SOCKET_REASON_NO_ACCESS] = "refused: the user may not use this network",
        [SOCKET_REASON_SELECTED] = "this network was chosen for the socket",
        [SOCKET_REASON_NO_PROTECT] = "refused: the user may not protect sockets",
        [SOCKET_REASON_NO_SYSTEM] = "refused: only SYSTEM may choose for another user",
        [SOCKET_REASON_FOR_USER] = "the network of that user was chosen for the socket",
        [SOCKET_REASON_UNKNOWN] = "refused: there is no such command",
    };

    return reason < SOCKET_REASON_MAX ? sentences[reason] : "for a reason that is not known";
}

unsigned socket_reason_step(uint32_t command, uint32_t reason)
{
    static const uint8_t steps[SOCKET_COMMAND_MAX][SOCKET_REASON_MAX] = {
        [SOCKET_CREATE] = { [SOCKET_REASON_CHOSEN] = 2,
                            [SOCKET_REASON_NO_ACCESS] = 2,
                            [SOCKET_REASON_UNMARKED] = 3,
                            [SOCKET_REASON_PREFERRED] = 4 },
        [SOCKET_ACCEPT] = { [SOCKET_REASON_INCOMING] = 5 },
        [SOCKET_CONNECT] = { [SOCKET_REASON_EXPLICIT] = 6,
                             [SOCKET_REASON_SCOPE] = 7,
                             [SOCKET_REASON_PROXY] = 8,
                             [SOCKET_REASON_PROTECTED] = 9,
                             [SOCKET_REASON_VPN] = 10,
                             [SOCKET_REASON_PREFERRED] = 10,
                             [SOCKET_REASON_DEFAULT] = 10 },
        [SOCKET_SELECT] = { [SOCKET_REASON_RESET] = 11,
                            [SOCKET_REASON_NO_ACCESS] = 12,
                            [SOCKET_REASON_SELECTED] = 13 },
        [SOCKET_PROTECT] = { [SOCKET_REASON_NO_PROTECT] = 14, [SOCKET_REASON_PROTECTED] = 16 },
        [SOCKET_SELECT_FOR_USER] = { [SOCKET_REASON_NO_SYSTEM] = 17,
                                     [SOCKET_REASON_FOR_USER] = 18 },
    };

    if (command >= SOCKET_COMMAND_MAX || reason >= SOCKET_REASON_MAX)
        return 0;
    return reason <= SOCKET_REASON_HELD_PROTECT ? 1 : steps[command][reason];
}

const char *door_drop_to_string(uint32_t verdict)
{
    static const char *const words[DOOR_VERDICT_MAX] = {
        [DOOR_DROP_NONE] = "none",
        [DOOR_DROP_INTERFACE] = "interface",
        [DOOR_DROP_INCOMING] = "incoming",
    };

    return verdict < DOOR_VERDICT_MAX ? words[verdict] : NULL;
}
