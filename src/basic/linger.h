/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * close() that does not wait.
 *
 * Who sends us a socket with SO_LINGER and unsent data, and closes his own descriptor, leaves the last
 * one to us, be it in our hands or in a message that we have not read, or read without taking
 * descriptors. Letting go of it then waits for the data to be sent, minutes if he likes: at close(), at
 * recvmsg(), wherever the kernel drops it. A signal ends that wait, and leaves the data to the kernel.
 * So while something is let go that strangers may have left to us, a timer sends one every
 * millisecond.
 *
 * It is one timer for the process, and its signal comes to the main thread: threads block it, or have
 * timers of their own. Begin and end stand in one function, with nothing between
 * them that would mind EINTR.
 */

#include <stdbool.h>

enum { LINGER_USEC = 1000 }; /* how long one close() may wait */

/* Once, before all else: makes the signal arrive, whoever started us. 0 or -errno. */
int linger_prepare(void);

void linger_begin(void);
void linger_end(void);
