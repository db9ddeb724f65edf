/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who is at the other end of a unix socket: the process that connected it, as far as selectors ask.
 *
 * The kernel keeps that process with the connection, and gives a pidfd for it (SO_PEERPIDFD, Linux 6.5).
 * What is read from /proc by its number belongs to that process, if the process is there still when all
 * was read. It is what the process is *then*: who connects and executes another program is that
 * program, as for the sockets that it makes from then on. Of threads in cgroups of their own the
 * process's counts.
 *
 * Older kernels tell the number alone, and pidfd_open(2) opens whoever has it by now: somebody else, if
 * the process ended within the moment since it connected and its number was given away. The socket is
 * then judged by that other process; the guard judges what the socket sends by who made it, all the same.
 *
 * Files in /proc may make who reads them wait: for locks that others hold, for a file server.
 */

#include "decide/app.h"
#include "observe/exe.h"

/* What is wanted, and what is known. */
enum peer_fact {
    PEER_EXE = 1 << 0,
    PEER_CGROUP = 1 << 1,
};

struct peer {
    unsigned known; /* enum peer_fact */
    struct exe_id exe;
    struct app_place exe_place;
    char *cgroup; /* "/a/b"; NULL = none that we can name: no cgroup2, or outside of our root */
};

/*
 * 0; -ESRCH: it is gone, or in a process namespace that we do not see; -EACCES: its executable is not
 * for us to see (CAP_SYS_PTRACE); -EMFILE, -ENFILE, -ENOMEM. *ret is to be released with peer_done().
 */
int peer_read(int connection, unsigned wanted, struct peer *ret);
/* The process alone, as a pidfd that the caller closes: whoever had connected, there or gone. As above. */
int peer_open_pidfd(int connection, int *ret);
void peer_done(struct peer *p);
#define _cleanup_peer_ _cleanup_(peer_done)
