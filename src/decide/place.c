/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "decide/place.h"

#include <string.h>

#include "basic/macro.h"

uint64_t place_name(const char *name, size_t n)
{
    uint64_t hash = place_name_begin();

    for (size_t at = 0; at < n; at += PLACE_WORD) {
        uint64_t word = 0;

        memcpy(&word, name + at, MIN(n - at, (size_t)PLACE_WORD));
        hash = place_mix(hash, word);
    }
    return n > 0 ? place_name_end(hash) : 0;
}
