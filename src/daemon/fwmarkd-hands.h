/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who writes the marks: the last step of a request, in threads of its own.
 *
 * setsockopt() takes the socket's lock, and so does whoever sends by the socket while the kernel copies
 * what he sends. Memory can be made to take as long as he likes for that (a file of a file system in
 * user space, mapped), and the wait for the lock ends by no signal. The daemon's one loop must not
 * wait with it. So the loop does everything that nobody can delay, and hands over what is left: set
 * the mark, answer, close.
 *
 *  - One user has two threads at most, so that what he stops are these.
 *  - When both have been at one job for 100 ms, he is *stalling*: he is told -EBUSY, whatever he
 *    asks for, until one of them comes back.
 *  - 64 threads in all, made when there is a job and nobody idle. Those that find nothing to do for
 *    some seconds end, but for the first.
 *  - 512 jobs wait at most, 128 of one user. When there is no room the loop waits, 20 ms at most:
 *    more is coming in than goes out.
 *
 * A thread knows its job and nothing else of the daemon: no model, no log. Closing is limited as in
 * fwmarkd.c, by a timer of each thread: SIGALRM must have a handler.
 */

#include <stdint.h>

struct fwmarkd_hands;

struct fwmarkd_job {
    int client, socket; /* closed when it is done */
    uint32_t uid;
    uint32_t mark;
};

/* 0, -ENOMEM, or what pthread_create() says, negative. */
int fwmarkd_hands_new(struct fwmarkd_hands **ret);

/*
 * Ends it. What waits is closed without an answer; a thread that is stalled ends when it can. NULL is
 * fine.
 */
void fwmarkd_hands_free(struct fwmarkd_hands *h);

/* 0, and both descriptors are taken over; -EBUSY: the user is stalling, or there is no room. */
int fwmarkd_hands_take(struct fwmarkd_hands *h, const struct fwmarkd_job *job);
