/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What this process has chosen, and how its sockets come to it.
 *
 * Both libraries hold this: libwaymark, which sets the choice, and the preload library, which obeys
 * it in socket(2). When both are in one program the preload library's choice is the one that counts;
 * libwaymark finds it by its one exported function.
 *
 * The choice is one number that is read and written as a whole. fork(2) copies it, exec forgets it;
 * WAYMARK_NETWORK in the environment starts the next program with it. The environment is read once,
 * before main() where possible: later another thread may be changing it.
 */

#include <stdatomic.h>
#include <stdint.h>

#include "lib/fwmark-client.h"

/* Choices that are no netId. 0: none was made. */
#define PROCESS_DISABLED UINT32_MAX       /* no networking */
#define PROCESS_NAMED    (UINT32_MAX - 1) /* what WAYMARK_NETWORK names; nobody has asked yet */

typedef _Atomic(uint32_t) process_choice;

/*
 * The choice, with a name resolved. 0; -ENONET there is no network of that name; the errors of
 * unix-socket.h.
 */
int process_get(uint32_t *ret_value);
void process_set(uint32_t value);

/* Where the choice is. The preload library's export, for libwaymark; the version is in its name. */
process_choice *waymark_preload_choice_0(void);

/* <runtime>/<name>, as NUL-terminated text in `buf`; -ENAMETOOLONG. */
enum { PROCESS_PATH_MAX = 108 }; /* of sockaddr_un */
int process_path(const char *name, char buf[static PROCESS_PATH_MAX]);

/* fwmark_client_ask() of the daemon that the environment names. */
int process_ask(const struct fwmark_command *command, const struct fwmark_connect_info *info,
                int fd);

/*
 * Marks a socket that was just made: with the choice, else as the app's. -EPERM: PROCESS_DISABLED;
 * else the daemon's answer and the errors of process_get(). On failure nobody may get the socket.
 */
int process_mark_new(int fd);
