/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/words.h"

#include <errno.h>

/* As many candidates as a person reads, and a sentence has room for (basic/why.h). */
enum { CANDIDATES_SIZE = 200 };

/* Did the name at i come before? */
static bool is_repeated(const char *const *names, size_t i)
{
    for (size_t j = 0; j < i; j++)
        if (streq(names[j], names[i]))
            return true;
    return false;
}

ssize_t words_resolve(const char *word, const char *const *names, size_t n,
                      struct strbuf *candidates)
{
    ssize_t found = -ENOENT;
    size_t matches = 0;

    for (size_t i = 0; i < n; i++)
        if (streq(names[i], word))
            return (ssize_t)i;
    if (*word == '\0')
        return -ENOENT;
    for (size_t i = 0; i < n; i++) {
        if (!startswith(names[i], word) || is_repeated(names, i))
            continue;
        if (candidates->size > CANDIDATES_SIZE) {
            strbuf_add(candidates, ", …");
            break;
        }
        strbuf_add(candidates, "%s%s", matches++ > 0 ? ", " : "", names[i]);
        found = (ssize_t)i;
    }
    return matches > 1 ? -ENOTUNIQ : found;
}
