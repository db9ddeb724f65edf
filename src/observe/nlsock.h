/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A netlink socket: requests, acknowledgements, dumps, events. The transport of observe/ and
 * apply/; it knows nothing of what the messages say.
 *
 * Requests block until the kernel has answered, which it does within the system call; a receive
 * timeout of 5 s turns a broken kernel into -ETIMEDOUT instead of a daemon that hangs.
 */

#include <libmnl/libmnl.h>
#include <stdint.h>

#include "basic/why.h"

struct nlsock {
    int fd;          /* -1 = closed */
    uint32_t portid; /* ours, as events carry it in nlmsg_pid */
    uint32_t seq;
};

#define NLSOCK_INIT ((struct nlsock){ .fd = -1 })

/* `protocol` NETLINK_ROUTE or NETLINK_NETFILTER. 0 or -errno. */
int nlsock_open(struct nlsock *s, int protocol);
void nlsock_close(struct nlsock *s);
#define _cleanup_nlsock_ _cleanup_(nlsock_close)

/* Joins a multicast group (RTNLGRP_*, NFNLGRP_*) and makes the socket non-blocking. */
int nlsock_join(struct nlsock *s, const unsigned *groups, size_t n);

/* Called per message of an answer or event; a negative return ends the reading and is handed on. */
typedef int (*nlsock_message)(void *data, const struct nlmsghdr *nlh);

/*
 * Sends a request with NLM_F_ACK and waits for the answer. 0, or the kernel's negative errno; what
 * the kernel said in words (NETLINK_EXT_ACK) goes to *why. `answer` (may be NULL) sees the messages
 * that are not the acknowledgement. Stamps the sequence number into the request.
 */
int nlsock_request(struct nlsock *s, struct nlmsghdr *nlh, nlsock_message answer, void *data,
                   struct why *why);

/*
 * Sends an NLM_F_DUMP request. -EINTR when the kernel's tables changed meanwhile: dump again. Another
 * negative errno, also one with which the kernel ended the dump early: what was told is not all.
 */
int nlsock_dump(struct nlsock *s, struct nlmsghdr *nlh, nlsock_message message, void *data);

/*
 * Sends `size` bytes of messages at once, an nftables batch whose opening message has the sequence
 * number `first`, and waits until the one with `last` is acknowledged or the whole is refused. The
 * first error of any of them is returned.
 */
int nlsock_batch(struct nlsock *s, const void *messages, size_t size, uint32_t first, uint32_t last,
                 struct why *why);

/* Hands out what is there, without waiting. 0; -ENOBUFS when events were lost; another -errno. */
int nlsock_events(struct nlsock *s, nlsock_message message, void *data);
