/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Going into the background (-d), late: who started it waits until all is set up, sees what went wrong on
 * its terminal, and has its exit status. In the foreground all of this does nothing.
 */

struct background {
    int ready;   /* a byte in here lets who waits go; -1: nobody waits */
    int journal; /* where standard error goes then; or /dev/null */
    int null;
};

#define BACKGROUND_NONE ((struct background){ -1, -1, -1 })

/* Returns in the background only. 0 or -errno. */
int background_start(struct background *b);

/* All is set up: leaves the terminal. */
void background_ready(struct background *b);
