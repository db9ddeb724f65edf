/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Following the kernel: events, dumps, restoring what others delete. */

#include "daemon/manager.h"

/* Puts the event sources for kernel events on the loop. 0 or -errno. */
int reconcile_start(struct manager *m);

/*
 * Reads events that are there, dumps what became stale, applies what follows. Does nothing when
 * nothing changed. A failure to apply is noted (degraded) and tried again by the loop; returned is
 * only what keeps a request from being judged: facts that could not be read.
 */
int reconcile_now(struct manager *m, struct why *why);

/* Its two halves. The first one: 1 when something is to be applied, 0, or -errno as above. */
int reconcile_look(struct manager *m, struct why *why);
void reconcile_settle(struct manager *m);

/*
 * May what the first half has found be applied together with a request? Then it was only facts that
 * changed: nothing that was tampered with, and nothing that failed before.
 */
bool reconcile_may_wait(const struct manager *m);

/* What was to be applied could not be: noted once, tried again with growing patience. */
void reconcile_failed(struct manager *m, int error, const struct why *why);

/* After an attempt: sees to it that what is left to do, or to be tried again, will be. */
void reconcile_follow_up(struct manager *m);

/* Forgets what is known of the kernel, so that all of it is looked at again. */
void reconcile_forget(struct manager *m);

/* The same of the programs' maps alone: they will be written anew. */
void reconcile_forget_maps(struct manager *m);

/* The same of the guard alone: it will be made anew. */
void reconcile_forget_guard(struct manager *m);
