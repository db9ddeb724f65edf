/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Who a process is, as far as selectors ask. What is read belongs to one process: it was there from
 * the first to the last byte of it (pidfd_open(2)), its number has not gone to another meanwhile.
 * Whether it is the one that the *caller* means, who got the number earlier, only the caller can know.
 *
 * The executable of other users' processes can be seen with CAP_SYS_PTRACE only; without, it is unknown.
 */

#include "decide/app.h"
#include "observe/cgroups.h"
#include "observe/exe.h"

struct process {
    uint32_t pid;
    uint32_t uid;       /* file system uid: the one that its sockets get */
    char *cgroup;       /* "/a/b"; NULL = unknown: no cgroup2, or outside of our root */
    uint64_t cgroup_id; /* 0 = unknown */
    char *exe;          /* path in its own mount namespace; NULL = unknown, or a kernel thread */
    struct exe_id exe_id;
    struct app_place exe_place;
    bool exe_deleted; /* the file is no longer at that path: replaced, or removed */
    bool patient;     /* who reads it may wait for file systems of the process's */
};

/*
 * It waits for no file system that others than root have mounted. 0; -ESRCH: there is no such process (or it is
 * a thread), -EAGAIN: it would have to, reason in *why; -ENOMEM.
 */
int process_read(const struct cgroups *c, uint32_t pid, struct process *ret, struct why *why);
void process_done(struct process *p);

/*
 * When it began, in clock ticks since the boot (field 22 of /proc/PID/stat), which tells it from a later
 * one with the same number. 0: it is not there.
 */
uint64_t process_start_time(uint32_t pid);

/*
 * The executable alone, of p->pid; whose process that is, the caller has made sure. 0; -EACCES: not for us
 * to see; -ESRCH: there is none; -ENOMEM.
 */
int process_read_exe(struct process *p);

/* Which file that is, alone (its place is not looked for, on which it may have to be waited). 0, -ESRCH. */
int process_identify_exe(uint32_t pid, struct exe_id *ret);

/*
 * The file that it executes, to be compared with what this said of it before, and with nothing else: the device
 * may be a made-up one (observe/exe.h). It waits for nobody. 0, -ESRCH.
 */
int process_identify_file(uint32_t pid, struct exe_id *ret);

/* The place of the executable at this absolute path, there or not. */
struct app_place process_exe_place(const char *path);
#define _cleanup_process_ _cleanup_(process_done)
