/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A request of Android's socket-marking protocol (android.md §1.2–§1.4), bytes to struct. No I/O: the
 * descriptor that comes beside the bytes is the reader's.
 *
 * Everything is in the host's byte order. A command, and behind it a destination where it may have one:
 *
 *   FwmarkCommand, 16 bytes                     FwmarkConnectInfo, 36 bytes
 *   0  int32   id                               0  int32   error       errno of connect()
 *   4  uint32  netId                            4  uint32  latencyMs   how long that took
 *   8  uint32  uid                              8  union   sockaddr, sockaddr_in, sockaddr_in6
 *  12  uint32  trafficCtrlInfo                 36
 *  16
 *
 * Android 5 to 7 have no trafficCtrlInfo: there a command is 12 bytes. Which of the two a client sends
 * its length tells: 12 or 16 without, 48 or 52 with a destination; no other length is a request.
 *
 *   never a destination   all but the following, commands that are not known among them
 *   with or without       ON_CONNECT (with it from Android 14 on), ON_SENDMMSG, ON_SENDMSG, ON_SENDTO
 *   always                ON_CONNECT_COMPLETE
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    FWMARKD_COMMAND_SIZE = 16,
    FWMARKD_COMMAND_SIZE_OLD = 12,
    FWMARKD_INFO_SIZE = 36,
    FWMARKD_REQUEST_MAX = FWMARKD_COMMAND_SIZE + FWMARKD_INFO_SIZE,
};

/* As of Android 11; 9 and 10 went with 14. */
enum fwmarkd_id {
    FWMARKD_ON_ACCEPT = 0,
    FWMARKD_ON_CONNECT = 1,
    FWMARKD_SELECT_NETWORK = 2,
    FWMARKD_PROTECT_FROM_VPN = 3,
    FWMARKD_SELECT_FOR_USER = 4,
    FWMARKD_QUERY_USER_ACCESS = 5,
    FWMARKD_ON_CONNECT_COMPLETE = 6,
    FWMARKD_TAG_SOCKET = 7,
    FWMARKD_UNTAG_SOCKET = 8,
    FWMARKD_SET_COUNTERSET = 9,
    FWMARKD_DELETE_TAGDATA = 10,
    FWMARKD_ON_SENDMMSG = 11,
    FWMARKD_ON_SENDMSG = 12,
    FWMARKD_ON_SENDTO = 13,
    FWMARKD_ID_MAX,
};

struct fwmarkd_request {
    int32_t id; /* enum fwmarkd_id, or one that is not known */
    uint32_t netid;
    uint32_t uid;
    uint32_t traffic_ctrl_info; /* 0 where it was not sent */
    uint32_t scope;             /* interface of an IPv6 link-local destination; 0 = it is none */
};

/* 0, or -EBADMSG: no command has this length, or not this command. */
int fwmarkd_parse(const void *bytes, size_t size, struct fwmarkd_request *ret);

/* "ON_ACCEPT", …; "command" for one that is not known. */
const char *fwmarkd_id_to_string(int32_t id);

/* Must a request of this kind come with a socket? */
bool fwmarkd_needs_socket(int32_t id);
