/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* What can be done without a running daemon: waymarkd does it, in a mode that does not stay. */

#include "cli/cli.h"

/*
 * Runs `waymarkd OPTION --runtime-dir DIR`, with our standard streams, and waits for it. It is
 * looked for in ../sbin of the folder of this program, in that folder, in $PATH, /usr/sbin and
 * /usr/local/sbin. 0: it ran, and *ret_success says whether it was content. -errno with a sentence:
 * it could not be run (-ENOEXEC: there is none), and c->code is EXIT_FAILED.
 */
int offline_run(struct cli *c, const char *option, bool *ret_success);
