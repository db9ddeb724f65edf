/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * How the program shuts itself in, before the first byte of others is read. In stages, in this order.
 * Where memory cannot be locked, or a kernel has no landlock, a warning says so and the others stand; all
 * else that fails ends the program, which has to be told (--no-sandbox) to go on without.
 *
 *   memory    all of it locked, so that nothing is swapped; no core dump; nobody but root may look into
 *             the process (not dumpable)
 *   user      groups, gid and uid of `user`
 *   capabilities  none, also none to be had; but the one to lock memory, where a limit asks for it
 *   landlock  below the state folder: files are read, written, made and removed. Nothing else is opened
 *   seccomp   the calls of a program that serves a socket and writes files; no memory is made executable
 *
 * None of it can be taken back (no_new_privs).
 */

#include <stdbool.h>
#include <sys/types.h>

#include "basic/why.h"

/* Of a user that is to be. */
struct sandbox_user {
    bool known;
    uid_t uid;
    gid_t gid;
};

/*
 * Whom to become: nobody else (`known` false) where we are not root, or already that user; with a warning
 * where there is no such user and `required` is false. 0; -ESRCH with the reason.
 */
int sandbox_find_user(const char *name, bool required, struct sandbox_user *ret, struct why *why);

/* Is all memory locked from now on, also as that user? */
bool sandbox_lock_memory(const struct sandbox_user *user);

/* 0 or -errno with the reason. */
int sandbox_become(const struct sandbox_user *user, struct why *why);

/* The last three stages. For the threads that are made later, too. 0 or -errno with the reason. */
int sandbox_enter(int state_dir, struct why *why);
