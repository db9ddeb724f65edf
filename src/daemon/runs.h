/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * What `waymark run` runs: cgroups that are assigned to a network for as long as there are processes in
 * them. Bus calls come in by run-bus.c, which says who may; here is what then holds.
 *
 * A run is an assignment of ORIGIN_RUN, `cgroup:` with `require`, whose directory is called
 * waymark-run-UID-…; that name makes it come first (decide/app.h). Systemd made the directory, or we did
 * (apply/run-cgroup.h), and then we remove it. The kernel tells when the last process is gone.
 *
 * Runs are not in the state file: they last no longer than the boot. A daemon that starts finds them by
 * <runtime-dir>/runs/NAME, a line of words:
 *
 *     run ID NETWORK|none PATH
 *
 * with the cgroup's id, for there may be another one at that path by now. Meanwhile the kernel's
 * programs hold them (docs/bpf.md, "Life").
 */

#include "daemon/manager.h"
#include "observe/cgroups.h"
#include "plan/socket-facts.h"

enum {
    RUNS_PER_UID_MAX = 1024,
    RUNS_LEVELS_MAX = 31, /* what is deeper is not held (bpf/maps.h) */
};

/* Finds those that an earlier daemon left, and puts them into m->model. 0 or -errno. */
int runs_new(struct manager *m, struct runs **ret);
void runs_free(struct runs *r);

/* From now on, what ends is cleared away; also what has ended meanwhile. 0 or -errno. */
int runs_start(struct runs *r);

/* Can anything be run here? 0, or a negative errno with what keeps it from being held. */
int runs_check(const struct runs *r, struct why *why);

const struct cgroups *runs_cgroups(const struct runs *r);

/* Facts for decide/run.h, as of now. 0 or -ENOMEM. Valid until the next change of the model. */
int runs_facts(struct runs *r, const struct socket_facts **ret);

/* A path for a new cgroup of ours; the caller frees it. NULL: no memory. */
char *runs_new_path(const struct runs *r, uint32_t uid);

/* Where such cgroups are. */
const char *runs_folder(const struct runs *r);

/* Do the programs see what is made in this cgroup? */
bool runs_sees(const struct runs *r, const char *path);

/*
 * Assigns the cgroup at `path` to the network (NULL = none) and applies it: on return the first socket()
 * there is held. Its directory has the name of a run. Errors of manager_change(), and:
 *
 *   -EINVAL  its path has more than RUNS_LEVELS_MAX levels, or letters that not every message can have
 *   -EUSERS  this uid has RUNS_PER_UID_MAX of them
 *   -EBUSY   it is assigned already
 */
int runs_add(struct runs *r, const char *path, const char *network, struct why *why);

/* The caller has put processes into it; is there one still? Else it ends, and -ESRCH. */
int runs_confirm(struct runs *r, const char *path);
/* It has come to nothing. */
void runs_cancel(struct runs *r, const char *path);
