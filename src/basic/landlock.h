/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Landlock: of what may be done with files, only what was allowed; nothing moves from one folder to another.
 * It is what Linux 5.13 knows, on later kernels, too: what these know beyond it, such as truncate() by path
 * or ioctl() on devices, remains, and is for seccomp.
 *
 *   ruleset = landlock_open();  landlock_allow(ruleset, …);  landlock_enter(ruleset);
 *
 * It holds for this thread and those that it makes from then on, and cannot be taken back. It needs
 * no_new_privs.
 */

#include <linux/landlock.h>
#include <stdint.h>

/* A ruleset that allows nothing yet. -ENOSYS or -EOPNOTSUPP: there is no Landlock here, or not for us. */
int landlock_open(void);

/* `access`: LANDLOCK_ACCESS_FS_…, for a file, or for all below a folder. 0 or -errno. */
int landlock_allow(int ruleset, int beneath, uint64_t access);

/* From now on. 0 or -errno. */
int landlock_enter(int ruleset);
