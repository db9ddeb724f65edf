/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Programs, files and cgroups that have just come to be, each with a socket as its first act.
 *
 *   burst first ADDRESS4 ADDRESS6
 *       a datagram to the one, a connection to the other, where nobody listens
 *   burst run N PROGRAM ADDRESS4 ADDRESS6
 *       N times `PROGRAM first …`, one after the other
 *   burst replace PROGRAM OTHER
 *       puts copies of OTHER in the place of PROGRAM, one after the other, until it is killed
 *   burst cgroups N FOLDER PROGRAM ADDRESS4 ADDRESS6
 *       N times: makes that cgroup, runs `PROGRAM first …` in it, removes it
 *
 * Prints "GOOD BAD": of how many neither call was refused, and of how many one was.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { DISCARD = 9 };

static bool send_datagram(const char *address)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(DISCARD) };
    int fd = socket(AF_INET, SOCK_DGRAM, 0);

    (void)inet_pton(AF_INET, address, &to.sin_addr);
    return fd >= 0 && sendto(fd, "x", 1, 0, (struct sockaddr *)&to, sizeof(to)) == 1;
}

static bool open_connection(const char *address)
{
    struct sockaddr_in6 to = { .sin6_family = AF_INET6, .sin6_port = htons(DISCARD) };
    int fd = socket(AF_INET6, SOCK_STREAM, 0);

    (void)inet_pton(AF_INET6, address, &to.sin6_addr);
    return fd >= 0 &&
           (connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0 || errno == ECONNREFUSED);
}

static int first(char **argv)
{
    bool datagram = send_datagram(argv[2]), connection = open_connection(argv[3]);

    return datagram && connection ? 0 : 1;
}

/* `folder`: the cgroup to begin in, or NULL. True: it ended well. */
static bool run_one(char **argv, const char *folder)
{
    char *child[] = { argv[0], "first", argv[1], argv[2], NULL };
    char procs[4096];
    int status = 1, fd;
    pid_t pid;

    (void)snprintf(procs, sizeof(procs), "%s/cgroup.procs", folder ? folder : "");
    pid = folder ? fork() : vfork(); /* a vfork()ed child must do nothing but exec */
    if (pid == 0 && folder) {
        fd = open(procs, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, "0", 1) != 1)
            _exit(3);
    }
    if (pid == 0) {
        (void)execv(argv[0], child);
        _exit(2);
    }
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

static int run(unsigned long n, char **argv, const char *folder)
{
    unsigned long good = 0;

    for (unsigned long i = 0; i < n; i++) {
        if (folder && mkdir(folder, 0755) < 0)
            return 1;
        good += run_one(argv, folder);
        while (folder && rmdir(folder) < 0)
            if (errno != EBUSY)
                return 1;
    }
    printf("%lu %lu\n", good, n - good);
    return 0;
}

static int replace(const char *program, const char *other)
{
    char fresh[4096];

    (void)snprintf(fresh, sizeof(fresh), "%s.new", program);
    for (;;) {
        int from = open(other, O_RDONLY | O_CLOEXEC);
        int to = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0755);

        if (from < 0 || to < 0)
            return 1;
        while (sendfile(to, from, NULL, 1 << 20) > 0)
            ;
        (void)close(from);
        (void)close(to);
        if (rename(fresh, program) < 0)
            return 1;
    }
}

int main(int argc, char **argv)
{
    const char *what = argc > 3 ? argv[1] : "";

    if (strcmp(what, "first") == 0)
        return first(argv);
    if (strcmp(what, "replace") == 0)
        return replace(argv[2], argv[3]);
    if (strcmp(what, "run") == 0 && argc == 6)
        return run(strtoul(argv[2], NULL, 10), argv + 3, NULL);
    if (strcmp(what, "cgroups") == 0 && argc == 7)
        return run(strtoul(argv[2], NULL, 10), argv + 4, argv[3]);
    (void)fprintf(stderr, "usage: burst first|run|replace|cgroups …\n");
    return 2;
}
