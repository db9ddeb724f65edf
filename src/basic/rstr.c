/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "basic/rstr.h"

struct rstr *rstr_new(const char *s)
{
    size_t n = strlen(s);
    struct rstr *r = malloc(sizeof(*r) + n + 1);

    if (!r)
        return NULL;
    r->refs = 1;
    memcpy(r->s, s, n + 1);
    return r;
}

void rstr_free(struct rstr *r)
{
    free(r);
}
