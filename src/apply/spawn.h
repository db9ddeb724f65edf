/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Programs that are started as somebody else, where no systemd does that (apply/systemd.h).
 *
 * They are children, in a session of their own, with that user's rights, none of the daemon's descriptors
 * (all are O_CLOEXEC) and no way to more privileges. They are not ended with us.
 */

#include <stdint.h>
#include <sys/types.h>

struct spawn {
    const char *command; /* a shell splits it, and becomes the program */
    uint32_t uid;        /* never UID_INVALID, with which one stays who one is */
    gid_t gid;
    const char *const *environment; /* all that it has but PATH; until NULL */
};

enum { SPAWN_ENVIRONMENT_MAX = 8 };

/* What a shell is to do with a command: 0 and a string to be freed, or -ENOMEM. */
int spawn_line(const char *command, char **ret);

/* 0, and the child; or -errno, and there is none. That it cannot become the program shows by its end. */
int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd);
/* Asks it to end (SIGTERM); 0 or -errno. It need not be a child. */
int spawn_stop(int pidfd);
/* Ends a child at once, and waits for that. Closes pidfd. */
void spawn_abort(pid_t pid, int pidfd);
