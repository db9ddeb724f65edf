/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * fwmarkd: <runtime-dir>/fwmarkd, Android's socket-marking protocol, byte for byte (android.md §1).
 *
 * A program sends a socket of its own and says what it is about to do with it; the daemon gives the
 * socket its mark and answers with four bytes. One request per connection: after the answer the
 * daemon closes. wire/fwmarkd.h has the bytes, daemon/fwmarkd-answer.h what is checked and done; here
 * is the serving. docs/fwmarkd.md tells users.
 *
 * The socket has mode 0666, not Android's 0660 of the group inet: which network a socket is on is the
 * kernel's to enforce, by rules and guard; here everybody may ask for his own sockets, and the answer
 * rests on who he is (SO_PEERCRED, of when he connected). Who could not ask would go unmarked.
 *
 * Nobody waits for somebody who does not send:
 *
 *  - A request that has come before its connection is accepted is answered at once, without memory,
 *    timer or event source of its own. That is the usual case.
 *  - Else the connection gets one of 512 places, 64 per user, all in one epoll instance. Beyond that
 *    the oldest (of that user; of all) has to go: it is told -EBUSY. So however many sit there and say
 *    nothing, who connects now and sends is served.
 *  - A place is had for two seconds; then it is told -ETIMEDOUT. One timer, for all.
 *  - Each turn of the loop takes 64 connections or 2 ms, whichever ends first.
 *
 * Nor for somebody who makes the kernel wait: marks are written by threads (daemon/fwmarkd-hands.h).
 *
 * Who asks is a user, and where exe:, cgroup: or unit: selectors are assigned, a process: the one that
 * connected, as it is when its request is read (observe/peer.h; threads do that, too). The decision is then
 * the one that the programs at the cgroup come to for a socket of that process. Who cannot be told is
 * refused (-EREMOTEIO). Where no such assignment exists nothing is looked up, and nothing more is paid.
 *
 * Closing what others may have left to us may wait, too, and is limited: basic/linger.h.
 */

#include "daemon/manager.h"

struct fwmarkd;

/*
 * Listens, and registers with the manager. 0, or a negative errno, which is logged. `m` must
 * outlive it. A socket file that a dead daemon left is replaced.
 */
int fwmarkd_new(struct manager *m, struct fwmarkd **ret);

/* Drops all clients and unlinks the socket. NULL is fine. */
void fwmarkd_free(struct fwmarkd *f);
