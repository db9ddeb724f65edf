/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/array.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "basic/macro.h"

int array_reserve(void **p, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity)
        return 0;

    size_t want = MAX(need, MAX(*capacity * 2, (size_t)8));
    void *grown = reallocarray(*p, want, size);
    if (!grown)
        return -ENOMEM;

    *p = grown;
    *capacity = want;
    return 0;
}

int array_copy(void **ret, const void *src, size_t n, size_t size)
{
    void *copy = NULL;

    if (n > 0) {
        copy = reallocarray(NULL, n, size);
        if (!copy)
            return -ENOMEM;
        memcpy(copy, src, n * size);
    }
    *ret = copy;
    return 0;
}
