/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * The doctor: what the kernel lacks, who is in the way, and what to do about it.
 *
 * A snapshot of the kernel's state is taken, then a table of checks, one function each, judges it, and
 * asks observe/facts.h for what else it needs. Nothing is changed but by probes that leave nothing
 * behind. A finding has a remedy: the command to type or the line to write.
 */

#include "daemon/manager.h"

enum finding_level { FINDING_OK, FINDING_INFO, FINDING_WARNING, FINDING_ERROR, FINDING_LEVEL_MAX };

struct finding {
    const char *check; /* the check's name, a constant */
    enum finding_level level;
    char *text;
    char *remedy; /* "" when there is nothing to do */
};

struct findings {
    struct finding *items;
    size_t n, cap;
};

const char *finding_level_to_string(enum finding_level level);

/*
 * Examines the machine. `m` (may be NULL: no daemon) adds what only the daemon knows. 0 or -errno;
 * release with findings_done().
 */
int doctor_run(const struct manager_options *options, const struct manager *m, struct observer *o,
               struct applier *a, struct findings *ret);
void findings_done(struct findings *f);
#define _cleanup_findings_ _cleanup_(findings_done)

/* For `waymarkd --doctor`: prints the findings. Exit code 0, or 1 when one is an error. */
int doctor_main(const struct manager_options *options);
