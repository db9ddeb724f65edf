/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/* Changes of the model, all or nothing: see daemon/manager.h for the loop they are part of. */

#include "daemon/manager.h"

/* Edits a copy of the model. 0, or a negative errno with the reason; the copy is then dropped. */
typedef int (*manager_edit)(struct model *m, const struct kernel *k, void *data, struct why *why);

/*
 * A request. The facts are brought up to date first. Then: edit, plan, diff, apply, write to the
 * state file, commit, tell the listeners. On any failure kernel, file and model are as before, and
 * the reason is in *why. `edit` NULL changes nothing by itself (but follows the facts). A route that
 * the kernel refuses is a failure when this request is the first to ask for it; else it is left out
 * until it can be had (daemon/refusals.h).
 */
int manager_change(struct manager *m, manager_edit edit, void *data, struct why *why);

/*
 * The same without looking at the facts first, and for no one request: for reconcile.c, the start and
 * the configuration. No route makes it fail.
 */
int manager_settle(struct manager *m, manager_edit edit, void *data, struct why *why);
