/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What is left to the program once all is set up, and before the first byte of others is read: to be
 * nobody, to read what name resolution needs, and the system calls of its loop. In stages, each of
 * which a kernel may not have; then the next one stands alone:
 *
 *   user      groups, gid, uid of `user`; root becomes `nobody`; who is not root stays
 *   landlock  reads below /etc and where resolv.conf leads to; nothing else is opened
 *   seccomp   the list in sandbox.c; another call fails with EPERM
 *
 * None of it can be taken back (no_new_privs).
 */

#include "basic/why.h"

/* The first stage. `user` NULL: as above. 0; -ESRCH: no such user; or -errno: with the reason. */
int sandbox_become(const char *user, struct why *why);

/* The others. 0 or -errno with the reason. */
int sandbox_enter(struct why *why);
