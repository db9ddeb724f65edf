/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Lines of words, both ways: the words of a line that is accepted come back from the line that is
 * written of them; so do any bytes, cut into words at their NULs.
 */

#include "basic/strbuf.h"
#include "fuzz/fuzz.h"
#include "wire/words.h"

enum { WORDS_MAX = 16 };

static void join(const char *const *words, size_t n, struct strbuf *b)
{
    for (size_t i = 0; i < n; i++)
        words_add(b, words[i]);
    MUST(!b->failed);
}

static void check_same(const char *const *a, size_t n_a, char *line)
{
    const char *words[WORDS_MAX];
    size_t n;

    MUST(words_split(line, words, WORDS_MAX, &n) == 0 && n == n_a);
    for (size_t i = 0; i < n; i++)
        MUST(streq(a[i], words[i]));
}

/* The line → words → a line → the same words. */
static void from_line(char *line)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    const char *words[WORDS_MAX];
    size_t n = 0;

    if (words_split(line, words, WORDS_MAX, &n) < 0 || n == 0)
        return;
    MUST(n <= WORDS_MAX);
    join(words, n, &b);
    MUST(!strchr(b.data, '\n'));
    check_same(words, n, b.data);
}

/* Any bytes as words, with NULs between them → a line → the same words. */
static void from_words(char *bytes, size_t size)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    const char *words[WORDS_MAX], *end = bytes + size;
    size_t n = 0;

    for (const char *p = bytes; p <= end && n < WORDS_MAX; p += strlen(p) + 1)
        words[n++] = p;
    join(words, n, &b);
    check_same(words, n, b.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *line = fuzz_text(data, size), *bytes = malloc(size + 1);

    MUST(bytes);
    memcpy(bytes, data, size);
    bytes[size] = '\0';
    from_line(line);
    from_words(bytes, size);
    return 0;
}
