/* SPDX-License-Identifier: LGPL-2.1-or-later */
#pragma once

/*
 * Growing arrays: a pointer, a count and a capacity that live in the owner's struct.
 *
 * ARRAY_RESERVE() makes room for `need` elements in all and evaluates to 0 or -ENOMEM; on failure
 * the array is as before. ARRAY_PUSH() appends one value.
 */

#include <stddef.h>

/*
 * Grows *p (element size `size`) so that it holds `need` elements. 0 or -ENOMEM (array unchanged).
 */
int array_reserve(void **p, size_t *capacity, size_t need, size_t size);

/* Makes an exact copy of n elements; *ret is NULL for n == 0. 0 or -ENOMEM. */
int array_copy(void **ret, const void *src, size_t n, size_t size);

#define ARRAY_RESERVE(array, capacity, need) \
    array_reserve((void **)&(array), &(capacity), (need), sizeof((array)[0]))

#define ARRAY_PUSH(array, n, capacity, value)                \
    ({                                                       \
        int push_ = ARRAY_RESERVE(array, capacity, (n) + 1); \
        if (push_ == 0)                                      \
            (array)[(n)++] = (value);                        \
        push_;                                               \
    })
