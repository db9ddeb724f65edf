/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Talking to the daemon's sockets in few bytes and with one deadline.
 *
 * For code that runs inside other people's programs, also in the child of a fork() of a program with
 * threads: no allocation, no locks, no signal (SIGPIPE), no descriptor that survives exec.
 *
 * Deadlines are of clock_monotonic(). All return 0 or: -ECONNREFUSED nobody listens, or there is no
 * such socket; -ECONNRESET the other end hung up; -ETIMEDOUT; -ENAMETOOLONG; another -errno of the
 * system call.
 */

#include <stdint.h>
#include <sys/socket.h>

#include "basic/clock.h"

/* Connects to `path`. *ret_fd is the caller's to close. */
int unix_socket_open(const char *path, usec_t deadline, int *ret_fd);

/* Sends all of the message, which changes with it: msg_iov is moved over what was sent. */
int unix_socket_send(int fd, struct msghdr *msg, usec_t deadline);

/* Reads what there is, at least one byte and at most `size`: *ret_n; 0 at the end. */
int unix_socket_read_some(int fd, void *data, size_t size, usec_t deadline, size_t *ret_n);

/* Reads exactly `size` bytes. */
int unix_socket_read(int fd, void *data, size_t size, usec_t deadline);
