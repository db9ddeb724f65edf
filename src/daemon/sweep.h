/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Sweeps old sockets away after a change (plan/old-sockets.h says which, apply/sockets.h how).
 *
 * When the change is committed, and half a second later again, for what was half-open or under way
 * then. Not before it, as Android does: a change is all or nothing, and a connection that was
 * destroyed for one that then failed does not come back. What it would bring, a reset that still
 * leaves by the old network, the kernel makes up for: the peer's next packet is answered with one.
 *
 * In between, rules and guard hold what the sockets send: nothing here keeps a packet from anywhere,
 * so that a kernel without SOCK_DESTROY, or a failure, is told and no more.
 */

#include "daemon/manager.h"

/* NULL when out of memory. A kernel that cannot destroy sockets is told of in the log. */
struct sweeper *sweeper_new(const struct manager *m);
void sweeper_free(struct sweeper *s);

/* What the programs' maps were found to hold, before anything is changed by this daemon. */
void sweep_note_maps(struct manager *m, struct guard *maps);

/* The plan that stands is that of `after`; m->model is still the one before. */
void sweep_after_change(struct manager *m, const struct model *after);

/* Something is about to change: what is to be looked for again is looked for now. */
void sweep_before_change(struct manager *m);
