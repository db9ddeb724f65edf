/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "unit/capture.h"

#include <stdio.h>
#include <unistd.h>

#include "unit/check.h"

void capture_begin(struct capture *ret)
{
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    ret->end = ends[0];
    (void)fflush(stdout);
    for (int i = 0; i < 2; i++) {
        ret->saved[i] = dup(STDOUT_FILENO + i);
        assert_int_equal(dup2(ends[1], STDOUT_FILENO + i), STDOUT_FILENO + i);
    }
    close(ends[1]);
}

void capture_end(struct capture *c, char *text, size_t size)
{
    ssize_t n;

    (void)fflush(stdout);
    for (int i = 0; i < 2; i++) {
        dup2(c->saved[i], STDOUT_FILENO + i);
        close(c->saved[i]);
    }
    n = read(c->end, text, size - 1);
    close(c->end);
    text[MAX(n, 0)] = '\0';
}

int capture_argv(const char *program, const char *const *words,
                 char *argv[static CAPTURE_ARGV_MAX + 1])
{
    static char memory[4096];
    size_t used = 0;
    int argc = 0;

    for (const char *word = program; word; word = words[argc - 1]) {
        size_t n = strlen(word) + 1;

        assert_true(argc < CAPTURE_ARGV_MAX && used + n <= sizeof(memory));
        argv[argc++] = memcpy(memory + used, word, n);
        used += n;
    }
    argv[argc] = NULL;
    return argc;
}
