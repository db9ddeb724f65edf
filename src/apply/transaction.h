/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * All or nothing: a list of ops is done, or, when one fails, undone. What an op found to be so
 * already is left so. One op cannot be undone: the one that replaces a guard nobody knows
 * (op_has_inverse()); after it the guard is the stricter one of before and after together.
 *
 * The list is in an order in which every prefix is free of leaks (plan/ops.h). Undoing walks the
 * done part backwards with the inverse ops, which passes through the same states, so the way back
 * is as safe as the way there.
 */

#include "plan/ops.h"

/*
 * Does one op. 0 = done; 1 = there was nothing to do (what was to be deleted is gone already), and
 * so nothing to undo; a negative errno with the reason = not done.
 */
typedef int (*apply_function)(void *data, const struct op *op, struct why *why);

struct transaction_result {
    size_t failed;    /* index of the op that failed; ops->n when none did */
    bool undo_failed; /* some inverse failed, too: what stands is unknown */
};

/*
 * 0, or the error of the op that failed, everything undone. `ret` may be NULL. Notes in the ops what
 * was skipped.
 */
int transaction_run(const struct ops *ops, apply_function apply, void *data,
                    struct transaction_result *ret, struct why *why);

/* Undoes ops that transaction_run() did, the last one first. 0, or the first error (it goes on). */
int transaction_undo(const struct ops *ops, apply_function apply, void *data);
