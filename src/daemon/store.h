/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The state file: what was made by command, so that it is there after a restart.
 *
 * /var/lib/waymark/state is a journal of lines of words (wire/words.h). A commit appends what changed
 * and a line `end`, and is on disk when store_commit() returns; a commit that a crash cut off (no
 * `end`) does not count. When the journal has grown to twice its size after the last rewriting, it is
 * rewritten whole, in one rename. Things of ORIGIN_RUNTIME are kept while the machine is up: the file
 * carries the boot id.
 *
 *   waymark-state 1
 *   boot ID
 *   known NAME NETID                           the netId that a name has had
 *   network NETID NAME TYPE ORIGIN             replaces that netId and all that was said of it:
 *   property NETID WORD VALUE                  interface, dns, domain, permission, flags, resolver
 *   route NETID ROUTE…
 *   users NETID RANGE
 *   network-remove NETID
 *   assign SELECTOR NETWORK|none STRENGTH ORIGIN
 *   unassign SELECTOR
 *   uids SELECTOR RANGE,…|none                 who a user: or group: selector meant last
 *   default NAME|system
 *   permission UID PERMISSION
 *   protect UID yes|no
 *   legacy yes|no system|network ROUTE…
 *   vpn NAME KIND ORIGIN                       replaces that VPN and all that was said of it; of one
 *                                              of the configuration only how it is
 *   vpn-set NAME WORD VALUE                    the words are in store-vpn.c
 *   vpn-route NAME PREFIX [throw]
 *   vpn-remove NAME
 *   vpn-consent WHO everyone|own|none
 *   end
 *
 * A file with any other line is not guessed at: the daemon does not start, what is in the kernel
 * stays, and the message says which line.
 */

#include <sys/types.h>

#include "model/model.h"

struct store {
    char *path;
    int fd;
    off_t size;      /* of what is committed */
    off_t rewritten; /* size after the last rewriting */
    bool torn;       /* behind `size` is what a failed commit left */
    bool unsynced;   /* a crash may bring back the file before the last rewriting */
};

#define STORE_INIT ((struct store){ .fd = -1 })

/*
 * Opens (or makes) the state file in `folder`, which is made, too (mode 0700), and reads it into
 * `m`. 0, or a negative errno with the reason. A full disk is no error: what was stored is to hold,
 * and commits are refused until there is room.
 */
int store_open(struct store *s, const char *folder, struct model *m, struct why *why);
void store_close(struct store *s);

/* Writes down what is different in `new`. 0, or -errno; then the file is as before. */
int store_commit(struct store *s, const struct model *old, const struct model *new);

/* Reads a journal's text into a model; for store_open() and the fuzzer. `boot` is this boot's id. */
int store_parse(char *text, const char *boot, struct model *m, size_t *ret_committed,
                struct why *why);
