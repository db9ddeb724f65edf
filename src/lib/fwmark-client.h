/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The client's half of the fwmarkd protocol (android.md §1.2, §1.3), byte for byte.
 *
 * One connection, one message with one descriptor, one answer of four bytes: 0 or a negative errno.
 * Unlike Android's client this one fails closed: when the daemon cannot be asked, that is the answer.
 *
 * May be called wherever socket(2) may: in the child of a fork(), by a thread that others want to
 * cancel (it is not cancelled meanwhile), in a signal handler. errno stays as it is.
 */

#include <netinet/in.h>
#include <stdint.h>
#include <sys/socket.h>

#include "basic/clock.h"

/* How long an answer may take. */
#define FWMARK_PATIENCE (5 * USEC_PER_SEC)

/* Ours in a socket's mark (android.md §1.1). */
enum {
    FWMARK_NETID_MASK = 0x0000ffff,
    FWMARK_EXPLICIT = 0x00010000,
    FWMARK_ALL = 0x001fffff,
};

/* A netId, as a number: 0 is none. */
enum { FWMARK_NETID_MAX = 65535 };

enum fwmark_command_id {
    FWMARK_ON_ACCEPT = 0,
    FWMARK_ON_CONNECT = 1,
    FWMARK_SELECT_NETWORK = 2,
    FWMARK_PROTECT_FROM_VPN = 3,
    FWMARK_SELECT_FOR_USER = 4,
    FWMARK_QUERY_USER_ACCESS = 5, /* the one without a descriptor */
    FWMARK_ON_CONNECT_COMPLETE = 6,
};

/* FwmarkCommand; host byte order. */
struct fwmark_command {
    int32_t id; /* enum fwmark_command_id */
    uint32_t netid;
    uint32_t uid;
    uint32_t traffic_ctrl_info;
};

/* FwmarkConnectInfo, behind the command when there is a destination. */
struct fwmark_connect_info {
    int32_t error;       /* ON_CONNECT_COMPLETE: errno of connect(), 0 = none */
    uint32_t latency_ms; /* …and how long it took */
    union {
        struct sockaddr sa;
        struct sockaddr_in in;
        struct sockaddr_in6 in6;
    } destination;
};

/*
 * Asks the daemon that listens on `path`. `info` may be NULL; fd -1: none is sent. The answer, or one
 * of the errors of unix-socket.h; -EBADMSG when the answer is none.
 */
int fwmark_client_ask(const char *path, const struct fwmark_command *command,
                      const struct fwmark_connect_info *info, int fd);
