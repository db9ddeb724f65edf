/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Which file an executable is, as the kernel's programs see it: the device of its superblock and its
 * inode's number.
 *
 * What stat(2) says is the same on most file systems, and not on those that hand out devices of their
 * own: btrfs has one per subvolume, overlayfs one per layer. There the superblock's device is looked up
 * in mountinfo. What cannot be had from outside the kernel is the inode number where stat(2) makes
 * that up as well: overlayfs over several file systems without `xino`. And of two files on one btrfs,
 * in two subvolumes, the numbers may be the same; then either is taken for the other.
 *
 * A file belongs to a mount namespace only by its path: a container's /usr/bin/curl is another file
 * than the machine's, unless both come from one.
 */

#include <stdint.h>

struct exe_id {
    uint64_t dev, ino; /* dev as makedev(3) has it; ino 0: no file */
};

/*
 * The file at `path`, links followed. `pid` is the process in whose mount namespace it is (for paths
 * like /proc/PID/exe), 0 for ours. 0; -ENOEXEC: not a regular file; -errno of statx(2).
 */
int exe_identify(const char *path, uint32_t pid, struct exe_id *ret);

/* The same of a directory, for executables that are known by their place; else -ENOTDIR. */
int exe_identify_directory(const char *path, uint32_t pid, struct exe_id *ret);
