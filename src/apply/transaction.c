/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/transaction.h"

#include <errno.h>

/* Undoes ops[0 … n-1], except where `skipped` says that nothing was done. */
static int undo(const struct ops *ops, size_t n, const bool *skipped, apply_function apply,
                void *data)
{
    int first_error = 0;

    while (n-- > 0) {
        struct op inverse = op_inverse(&ops->items[n]);
        int r;

        if (skipped && skipped[n])
            continue;
        r = apply(data, &inverse, NULL);
        if (r < 0 && first_error == 0)
            first_error = r;
    }
    return first_error;
}

int transaction_run(const struct ops *ops, apply_function apply, void *data,
                    struct transaction_result *ret, struct why *why)
{
    _cleanup_free_ bool *skipped = calloc(ops->n + 1, sizeof(*skipped));
    struct transaction_result result = { .failed = ops->n };
    int r = 0;

    if (!skipped)
        return -ENOMEM;
    for (size_t i = 0; r >= 0 && i < ops->n; i++) {
        r = apply(data, &ops->items[i], why);
        skipped[i] = r > 0;
        if (r < 0) {
            result.failed = i;
            result.undo_failed = undo(ops, i, skipped, apply, data) < 0;
        }
    }
    if (ret)
        *ret = result;
    return MIN(r, 0);
}

int transaction_undo(const struct ops *ops, apply_function apply, void *data)
{
    return undo(ops, ops->n, NULL, apply, data);
}
