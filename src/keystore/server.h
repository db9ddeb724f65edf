/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The serving: <runtime-dir>/keystore, many clients, one thread.
 *
 * A connection is one request. Those whose request is there already are answered when they are accepted;
 * the others are watched by one epoll instance of ours, as in daemon/fwmarkd.c: an event source of sd-event
 * for each would cost an allocation, a hash entry and two heap insertions, per request.
 *
 * Nobody waits for somebody else:
 *
 *  - Each turn of the loop takes 64 connections or 2 ms, whichever ends first, and of each what is there,
 *    which is one request at most.
 *  - A request that is not whole in time is answered 5. The time that the store takes does not count;
 *    for the answer there is as much time again.
 *  - When there are as many connections as there are descriptors for (some are the store's), the user with the
 *    most connections loses the one that has been idle longest; the same when all that was kept of unfinished
 *    requests and answers is more than BYTES_MAX, of the user with the most bytes.
 *  - Requests that write are given to the store RUNNING_MAX of a user, RUNNING_ALL_MAX of all at a time: who
 *    sends thousands has them done one after the other, and others' come in between, of each user one.
 *  - Passwords are given to it one at a time, and after the delay, so that those who have hung up are not
 *    looked at. Few may wait. Nothing holds up who locks or resets the store.
 *  - After an answer 128 KiB more are read, not all that somebody has to say.
 *
 * When the store is locked or wiped, requests that need it open, and passwords, are answered where they are: of
 * nobody a secret is kept.
 *
 * Who asks is said by the kernel (SO_PEERCRED), as he was when he connected. The socket has mode 0666.
 */

#include <systemd/sd-event.h>

#include "basic/why.h"
#include "keystore/policy.h"
#include "keystore/store.h"

struct server;

struct server_settings {
    struct policy policy;
    usec_t timeout; /* for a request, and for an answer */
};

/*
 * Serves what comes by `fd`, which remains the caller's. `event` is to outlive it.
 *
 * The end has three steps: server_stop() answers 4 to all but those whose requests the store has;
 * store_free() answers these; server_free().
 */
int server_new(sd_event *event, struct store *store, int fd, const struct server_settings *settings,
               struct server **ret, struct why *why);
void server_stop(struct server *s);
struct server *server_free(struct server *s);
DEFINE_CLEANUP(struct server *, server_free)
