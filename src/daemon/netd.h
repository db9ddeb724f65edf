/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The netd socket: <runtime-dir>/netd, Android's text protocol, byte for byte (android.md §4), for
 * ndc and for what was written to talk to netd.
 *
 * A stream socket, mode 0660, of the group `waymark` where that exists: who may connect may do
 * everything, as on Android. wire/netdtext.h has the protocol, daemon/netd-commands.h the commands;
 * here is the serving.
 *
 *   readable → the client's buffer (1 KiB) → one request → answer → the client's queue → writable
 *   kernel event → broadcast → every client's queue
 *
 * No client can take what others need:
 *
 *  - Time. One request is run per client and turn of the loop. While a client has more of them in
 *    its buffer, nothing is read from it, and a deferred source gives it the next turn; sd-event
 *    serves what waits in the order in which it began to wait, so that a client with one request
 *    waits for one request of each of the others at most.
 *  - Memory. No request of a client is run before the answers to all its others are in its socket.
 *    So what stands in its queue are broadcasts and one answer; when that gets more than 256 KiB,
 *    it is dropped.
 *  - Places. There are 64; who comes then is accepted and closed at once, one per turn.
 *
 * Requests that were sent before the client closed its end are run, as netd does, but no more than
 * 16 KiB of them: its place is needed. A client that only shut down its writing side gets all its
 * answers.
 *
 * Broadcasts (§4.5): 600 Iface…, 614 Address…, 616 Route…. Events tell what is now; what changed is
 * found by comparing with what was told last (struct known_link). The kernel drops events when they
 * come too fast, so after each look at the facts the two are compared again: a client may hear of a
 * change late, or not of two that cancel each other out, but what it heard last is true.
 */

#include "daemon/manager.h"

struct netd;

/*
 * Listens, and registers with the manager. 0, or a negative errno, which is logged. `m` must
 * outlive it. A socket file that a dead daemon left is replaced.
 */
int netd_new(struct manager *m, struct netd **ret);

/* Drops all clients and unlinks the socket. NULL is fine. */
void netd_free(struct netd *n);
