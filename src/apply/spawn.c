/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "apply/spawn.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/macro.h"
#include "basic/uidrange.h"

#define SHELL "/bin/sh"

int spawn_line(const char *command, char **ret)
{
    char *line;

    if (asprintf(&line, "exec %s", command) < 0)
        return -ENOMEM;
    *ret = line;
    return 0;
}

/* In the child. */
static _Noreturn void become(const struct spawn *s, char *line)
{
    char *const arguments[] = { (char *)"sh", (char *)"-c", line, NULL };
    char *environment[SPAWN_ENVIRONMENT_MAX + 2];
    sigset_t none;
    size_t n = 0;

    while (n < SPAWN_ENVIRONMENT_MAX && s->environment[n]) {
        environment[n] = (char *)s->environment[n];
        n++;
    }
    environment[n++] = (char *)"PATH=/usr/sbin:/usr/bin:/sbin:/bin";
    environment[n] = NULL;
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)setsid();
    if (s->uid == UID_INVALID || setgroups(0, NULL) < 0 || setresgid(s->gid, s->gid, s->gid) < 0 ||
        setresuid(s->uid, s->uid, s->uid) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        _exit(126);
    execve(SHELL, arguments, environment);
    _exit(127);
}

int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd)
{
    _cleanup_free_ char *line = NULL;
    int pidfd, r = spawn_line(s->command, &line);
    pid_t pid;

    if (r < 0)
        return r;
    pid = fork();
    if (pid == 0)
        become(s, line);
    if (pid < 0)
        return -errno;
    pidfd = pidfd_open(pid, 0);
    if (pidfd < 0) {
        r = -errno;
        spawn_abort(pid, -1);
        return r;
    }
    *ret_pid = pid;
    *ret_pidfd = pidfd;
    return 0;
}

int spawn_stop(int pidfd)
{
    return pidfd_send_signal(pidfd, SIGTERM, NULL, 0) < 0 ? -errno : 0;
}

void spawn_abort(pid_t pid, int pidfd)
{
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    if (pidfd >= 0)
        (void)close(pidfd);
}
