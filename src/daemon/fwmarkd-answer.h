/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * One request to fwmarkd: received, checked in the order of android.md §1.4, decided.
 *
 *    1  recvmsg() fails                          its errno; -EMFILE: it lost descriptors
 *    2  end of the stream before any byte        -ESHUTDOWN
 *    3  a length that this command has not       -EBADMSG
 *    4  QUERY_USER_ACCESS                        -EPERM when the caller lacks SYSTEM, else the answer
 *       SET_COUNTERSET, DELETE_TAGDATA           -EOPNOTSUPP
 *    5  not exactly one descriptor               -EBADF
 *    6  no socket                                -ENOTSOCK, or what getsockopt() says
 *    7  neither AF_INET nor AF_INET6             -EAFNOSUPPORT
 *    8  its mark cannot be read                  errno
 *    9  the command                              decide/socket.h
 *       TAG_SOCKET, UNTAG_SOCKET                 -EOPNOTSUPP
 *   10  no such command                          -EPROTO
 *   11  its mark cannot be written               errno: daemon/fwmarkd-hands.h
 *
 * Step 9 needs to know who asks: by his uid, and where processes are assigned (exe:, cgroup:, unit:),
 * by his process. That is not found out before it is needed, nor here: reading /proc may take a while.
 *
 * Nothing is tagged here, that is, there is no accounting by tag. Commands that ask for it are told so,
 * instead of 0: who asked would take figures that do not exist for zeros.
 */

#include "observe/peer.h"
#include "plan/socket-facts.h"
#include "wire/fwmarkd.h"

/* So many descriptors are taken: two are as good as any number that is not one. */
enum { FWMARKD_SOCKETS_MAX = 2 };

/* What a client sent. */
struct fwmarkd_message {
    unsigned char bytes[FWMARKD_REQUEST_MAX + 1]; /* one more: a request that is longer is none */
    size_t size;
    int sockets[FWMARKD_SOCKETS_MAX];
    size_t n_sockets;
};

/*
 * Receives, without waiting. 0, then fwmarkd_message_done() is due; -EAGAIN: nothing is there yet;
 * another negative errno is the answer.
 */
int fwmarkd_receive(int client, struct fwmarkd_message *ret);
/* Closes what came, but for what was taken out. */
void fwmarkd_message_done(struct fwmarkd_message *m);

/* Who asks. */
struct fwmarkd_client {
    uint32_t uid;
    bool is_vpn;                      /* his process is a VPN's program (daemon/vpn-service.h) */
    unsigned known;                   /* enum peer_fact: of his process */
    const struct assignment *process; /* by what is known; NULL = none holds */
};

struct fwmarkd_verdict {
    int32_t answer;   /* 0 or a negative errno; not final while one of these is set: */
    unsigned unknown; /* enum peer_fact: to be judged again when that is known, too */
    bool write;       /* the mark, to the socket */
    uint32_t mark;
};

/* Steps 2 to 10 for what this client sent. */
struct fwmarkd_verdict fwmarkd_judge(const struct socket_facts *facts,
                                     const struct fwmarkd_client *client,
                                     const struct fwmarkd_message *m);
