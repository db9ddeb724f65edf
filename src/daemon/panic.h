/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * panic-off: everything of ours out of the kernel, whatever state it and we are in.
 *
 * It needs no daemon, no model, no configuration: rules and routes carry our protocol number, the
 * nftables table our name. What fails is passed over and tried again; what is left in the end is
 * said. The sysctls go back to what they were before we came (noted in the runtime folder), or, where
 * that is not known, to the kernel's default, 0.
 *
 * A mark in the runtime folder keeps a running daemon, and one that starts, from putting it all back:
 * until `waymark reload`, or the next boot.
 */

#include "daemon/manager.h"

/* 0 when nothing of ours is left; else a negative errno, with what is. `o` and `a` are open. */
int panic_run(const struct manager_options *options, struct observer *o, struct applier *a,
              struct why *why);

/* Leaves the mark. 0 or a negative errno with the reason; then the daemon that is off has to know. */
int panic_mark(const struct manager_options *options, struct why *why);

/* For `waymarkd --panic-off`: with sockets of its own. Returns an exit code; prints what it did. */
int panic_main(const struct manager_options *options);

/* Notes the sysctls as they are before we change them, unless they are noted already. */
int panic_note_sysctls(const struct manager_options *options, struct applier *a);

/* Notes where programs and maps are kept: panic-off may be asked by who was not told. */
int panic_note_bpffs(const struct manager_options *options);
