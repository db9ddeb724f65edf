/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "engine/minivtun/background.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>
#include <systemd/sd-journal.h>

#include "basic/fd.h"
#include "basic/log.h"

/* The one in the foreground: ends well when the other says that all is set up, else as it does. */
static _noreturn_ void wait_for(pid_t child, int ready)
{
    char byte;
    int status = 0;
    ssize_t n;

    do
        n = read(ready, &byte, 1);
    while (n < 0 && errno == EINTR);
    if (n == 1)
        _exit(EXIT_SUCCESS);
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    _exit(WIFEXITED(status) ? WEXITSTATUS(status) : EXIT_FAILURE);
}

int background_start(struct background *b)
{
    int ends[2];
    pid_t child;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return -errno;
    child = fork();
    if (child < 0) {
        int r = -errno;

        (void)close(ends[0]);
        (void)close(ends[1]);
        return r;
    }
    if (child > 0) {
        (void)close(ends[1]);
        wait_for(child, ends[0]);
    }
    (void)close(ends[0]);
    (void)setsid();
    /* opened now: the sandbox is there when they are needed. No journal: to nowhere */
    b->ready = ends[1];
    b->journal = sd_journal_stream_fd("waymark-minivtun", LOG_INFO, 1);
    b->null = open("/dev/null", O_RDWR | O_CLOEXEC);
    return 0;
}

void background_ready(struct background *b)
{
    if (b->ready < 0)
        return;
    if (b->null >= 0) {
        (void)dup2(b->null, STDIN_FILENO);
        (void)dup2(b->null, STDOUT_FILENO);
        (void)dup2(b->journal >= 0 ? b->journal : b->null, STDERR_FILENO);
        (void)close(b->null);
    }
    if (b->journal >= 0) {
        (void)setenv("JOURNAL_STREAM", "1", 1); /* lines carry their level then: basic/log.h */
        (void)close(b->journal);
    }
    (void)fd_write_all(b->ready, "", 1);
    (void)close(b->ready);
    *b = BACKGROUND_NONE;
}
