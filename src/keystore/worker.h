/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * A thread beside the loop, for what waits for the disk or computes long: one piece of work at a time. What
 * it works on is its own until the loop is told that it is done.
 */

#include <stdbool.h>
#include <systemd/sd-event.h>

#include "basic/macro.h"

struct worker;

/* Called from the loop when the work is done. The next may be started in it. */
typedef void (*worker_done)(void *data);

/* 0 or -errno. */
int worker_new(sd_event *event, worker_done done, void *data, struct worker **ret);

/* Waits until the work is done; `done` is not called any more. */
struct worker *worker_free(struct worker *w);
DEFINE_CLEANUP(struct worker *, worker_free)

/* Nothing may be under way. */
void worker_start(struct worker *w, void (*work)(void *data), void *data);
