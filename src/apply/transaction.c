/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/transaction.h"

#include <errno.h>

/* Undoes ops[0 … n-1], except those that did nothing and the one that has no inverse. */
static int undo(const struct ops *ops, size_t n, apply_function apply, void *data)
{
    int first_error = 0;

    while (n-- > 0) {
        const struct op *op = &ops->items[n];
        struct op inverse;
        int r;

        if (op->skipped || !op_has_inverse(op))
            continue;
        inverse = op_inverse(op);
        r = apply(data, &inverse, NULL);
        if (r < 0 && first_error == 0)
            first_error = r;
    }
    return first_error;
}

int transaction_run(const struct ops *ops, apply_function apply, void *data,
                    struct transaction_result *ret, struct why *why)
{
    struct transaction_result result = { .failed = ops->n };
    int r = 0;

    for (size_t i = 0; r >= 0 && i < ops->n; i++) {
        r = apply(data, &ops->items[i], why);
        ops->items[i].skipped = r > 0;
        if (r < 0) {
            result.failed = i;
            result.undo_failed = undo(ops, i, apply, data) < 0;
        }
    }
    if (ret)
        *ret = result;
    return MIN(r, 0);
}

int transaction_undo(const struct ops *ops, apply_function apply, void *data)
{
    return undo(ops, ops->n, apply, data);
}
