/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What may take long, in threads of its own.
 *
 *   HAND_WRITE  the last step of a request: set the mark, answer, close. setsockopt() takes the
 *               socket's lock, and so does whoever sends by the socket while the kernel copies what he
 *               sends. Memory can be made to take as long as he likes for that (a file of a file system
 *               in user space, mapped), and the wait for the lock ends by no signal.
 *   HAND_LOOK   who the client's process is, where that matters (observe/peer.h). It takes locks of
 *               the kernel's that others hold, and reads tables that he can make long. The request then
 *               comes back to the loop, which alone knows the model: fwmarkd_hands_next().
 *
 * The daemon's one loop must not wait for either. It does everything that nobody can delay.
 *
 *  - One user has two threads at most, so that what he stops are these.
 *  - When both have been at one job for 100 ms, he is *stalling*: he is told -EBUSY, whatever he
 *    asks for, until one of them comes back.
 *  - 64 threads in all, made when there is a job and nobody idle. Those that find nothing to do for
 *    some seconds end, but for the first.
 *  - 512 jobs wait at most, 128 of one user. When there is no room the loop waits, 20 ms at most:
 *    more is coming in than goes out.
 *
 * A thread knows its job and nothing else of the daemon: no model, no log. Closing is limited as
 * basic/linger.h has it, by a timer of each thread.
 */

#include "daemon/fwmarkd-answer.h"

struct fwmarkd_hands;

enum fwmarkd_task { HAND_WRITE, HAND_LOOK };

struct fwmarkd_job {
    enum fwmarkd_task task;
    int client;
    uint32_t uid;
    struct fwmarkd_message message; /* WRITE: its first socket */
    uint32_t mark;                  /* WRITE */
    unsigned wanted;                /* LOOK: enum peer_fact */
};

/* What a LOOK has found. All of it is the receiver's: the connection, the sockets, the peer. */
struct fwmarkd_found {
    struct fwmarkd_job job;
    int error; /* 0 or a negative errno of peer_read(): then `peer` is empty */
    struct peer peer;
};

/* 0, -ENOMEM, or what pthread_create() says, negative. */
int fwmarkd_hands_new(struct fwmarkd_hands **ret);

/*
 * Ends it. What waits is closed without an answer; a thread that is stalled ends when it can. NULL is
 * fine.
 */
void fwmarkd_hands_free(struct fwmarkd_hands *h);

/* 0, and all descriptors are taken over; -EBUSY: the user is stalling, or there is no room. */
int fwmarkd_hands_take(struct fwmarkd_hands *h, const struct fwmarkd_job *job);

/* Readable when fwmarkd_hands_next() is due. */
int fwmarkd_hands_fd(const struct fwmarkd_hands *h);
/* The next request whose client was looked up. False: there is none (any more). */
bool fwmarkd_hands_next(struct fwmarkd_hands *h, struct fwmarkd_found *ret);
