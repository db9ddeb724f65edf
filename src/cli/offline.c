/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "cli/offline.h"

#include <errno.h>
#include <limits.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#define DAEMON "waymarkd"

/* 1 and *ret, the caller's, when there is such a program; 0 when there is none; -ENOMEM. */
static int look_in(const char *folder, const char *below, char **ret)
{
    _cleanup_free_ char *path = NULL;

    if (asprintf(&path, "%s%s/" DAEMON, folder, below) < 0) {
        path = NULL;
        return -ENOMEM;
    }
    if (access(path, X_OK) < 0)
        return 0;
    *ret = TAKE_PTR(path);
    return 1;
}

/* The folder of this program. */
static int look_beside(char **ret)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);
    char *slash;
    int r;

    if (n < 0)
        return 0;
    self[n] = '\0';
    slash = strrchr(self, '/');
    if (!slash)
        return 0;
    *slash = '\0';
    r = look_in(self, "/../sbin", ret);
    return r != 0 ? r : look_in(self, "", ret); /* of the build tree, too */
}

/* Only absolute folders: this is run by root. */
static int look_in_path(char **ret)
{
    const char *path = getenv("PATH");
    _cleanup_free_ char *folders = NULL;
    char *folder, *rest;
    int r = 0;

    if (asprintf(&folders, "%s:/usr/sbin:/usr/local/sbin", path ? path : "") < 0) {
        folders = NULL;
        return -ENOMEM;
    }
    rest = folders;
    while (r == 0 && (folder = strsep(&rest, ":")))
        if (folder[0] == '/')
            r = look_in(folder, "", ret);
    return r;
}

static int run_and_wait(const char *path, char **argv, int *ret_status)
{
    pid_t pid;
    int r = posix_spawn(&pid, path, NULL, NULL, argv, environ);

    if (r != 0)
        return -r;
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int offline_run(struct cli *c, const char *option, bool *ret_success)
{
    char *argv[] = { (char *)DAEMON, (char *)option, (char *)"--runtime-dir",
                     (char *)c->runtime_dir, NULL };
    _cleanup_free_ char *path = NULL;
    int status = 0, r = look_beside(&path);

    c->code = EXIT_FAILED; /* whatever errno says: it is of a program, not of an object of ours */
    if (r == 0)
        r = look_in_path(&path);
    if (r < 0)
        return r;
    if (r == 0)
        return why_set(&c->why, -ENOEXEC,
                       "the program " DAEMON " was not found: not beside waymark, in $PATH, "
                       "/usr/sbin or /usr/local/sbin; run `" DAEMON " %s` from where it is",
                       option);
    r = run_and_wait(path, argv, &status);
    if (r < 0)
        return why_set(&c->why, r, "cannot run %s: %s", path, strerror(-r));
    c->code = EXIT_OK;
    *ret_success = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    return 0;
}
