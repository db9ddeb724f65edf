/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What it costs a program to ask fwmarkd: connect to a unix socket, pass a socket, wait for the
 * answer.
 *
 *   bench-fwmarkd PATH
 *
 * Beside it, in the same run, the classic pattern with nothing behind it: a server of a few lines that
 * takes the descriptor, answers 0 and closes. Two Markdown tables: what a connection costs (a TCP
 * socket on loopback that is made, asked about, connected and closed), the same without asking being
 * 1.00; and the question alone, by one client and by several at a time, the classic pattern being 1.00.
 *
 * Everything runs on one CPU, the clients, too: what is told per second is what a machine of one core
 * does in all. Each request changes the mark, as it does for a new socket. To be run as root.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "basic/clock.h"
#include "basic/macro.h"
#include "wire/fwmarkd.h"

enum { REQUESTS = 8000, CONNECTIONS = 4096, BATCH = 64, ROUNDS = 9, CROWD = 8 };

static void fail(const char *what)
{
    fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
    exit(1);
}

union control {
    struct cmsghdr header; /* for its alignment */
    char bytes[CMSG_SPACE(sizeof(int))];
};

static int32_t ask(const struct sockaddr_un *addr, int id, int fd)
{
    int32_t command[4] = { id }, answer = -EBADMSG;
    union control control = {
        .header = { .cmsg_level = SOL_SOCKET,
                    .cmsg_type = SCM_RIGHTS,
                    .cmsg_len = CMSG_LEN(sizeof(int)) },
    };
    struct iovec iov = { command, sizeof(command) };
    struct msghdr msg = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
    };
    int client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
    if (client < 0 || connect(client, (const struct sockaddr *)addr, sizeof(*addr)) < 0)
        fail("connect");
    if (sendmsg(client, &msg, MSG_NOSIGNAL) < 0 ||
        recv(client, &answer, sizeof(answer), MSG_WAITALL) != sizeof(answer))
        fail("ask");
    (void)close(client);
    return answer;
}

/* The classic pattern's server: for ever. */
_noreturn_ static void serve(int listener)
{
    for (;;) {
        int32_t command[4], answer = 0;
        union control control;
        struct iovec iov = { command, sizeof(command) };
        struct msghdr msg = { .msg_iov = &iov,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
        int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC), fd;

        if (client < 0 || recvmsg(client, &msg, MSG_CMSG_CLOEXEC) < 0)
            fail("serve");
        memcpy(&fd, CMSG_DATA(&control.header), sizeof(fd));
        (void)send(client, &answer, sizeof(answer), MSG_NOSIGNAL);
        (void)close(fd);
        (void)close(client);
    }
}

static pid_t start_server(const struct sockaddr_un *addr)
{
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pid_t pid;

    if (listener < 0 || bind(listener, (const struct sockaddr *)addr, sizeof(*addr)) < 0 ||
        listen(listener, 128) < 0)
        fail("listen");
    pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0)
        serve(listener);
    (void)close(listener);
    return pid;
}

/* So many requests, one after the other. Each undoes what the one before did to the mark. */
static void run(const struct sockaddr_un *addr, unsigned n)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        fail("socket");
    for (unsigned i = 0; i < n; i++)
        if (ask(addr, i % 2 ? FWMARKD_SELECT_NETWORK : FWMARKD_ON_CONNECT, fd) != 0)
            fail("the answer is an error");
    (void)close(fd);
}

/* Microseconds per request, `clients` of them at a time. */
static double measure(const struct sockaddr_un *addr, unsigned clients)
{
    usec_t since = clock_monotonic();
    int status;

    if (clients == 1) {
        run(addr, REQUESTS);
        return (double)(clock_monotonic() - since) / REQUESTS;
    }
    for (unsigned i = 0; i < clients; i++) {
        pid_t pid = fork();

        if (pid < 0)
            fail("fork");
        if (pid == 0) {
            run(addr, REQUESTS / clients);
            _exit(0);
        }
    }
    for (unsigned i = 0; i < clients; i++)
        if (wait(&status) < 0 || status != 0)
            fail("a client");
    return (double)(clock_monotonic() - since) / REQUESTS;
}

static int compare(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return CMP(*a, *b);
}

static void row(const char *what, double usec, double classic)
{
    printf("| %s | %.1f µs | %.0f | %.2f |\n", what, usec, 1e6 / usec, usec / classic);
}

/* Rounds of both in turn, so that what disturbs one disturbs the other. */
static void compare_servers(const struct sockaddr_un *fwmarkd, const struct sockaddr_un *classic,
                            unsigned clients)
{
    double ours[ROUNDS], theirs[ROUNDS];
    char what[64];

    for (unsigned i = 0; i < ROUNDS; i++) {
        theirs[i] = measure(classic, clients);
        ours[i] = measure(fwmarkd, clients);
    }
    qsort(ours, ROUNDS, sizeof(*ours), compare);
    qsort(theirs, ROUNDS, sizeof(*theirs), compare);
    snprintf(what, sizeof(what), "classic pattern, %u client%s at a time", clients,
             clients == 1 ? "" : "s");
    row(what, theirs[ROUNDS / 2], theirs[ROUNDS / 2]);
    snprintf(what, sizeof(what), "fwmarkd, %u client%s at a time", clients,
             clients == 1 ? "" : "s");
    row(what, ours[ROUNDS / 2], theirs[ROUNDS / 2]);
}

/* On loopback, at a port that the kernel chooses; does not wait. */
static int listen_on_loopback(struct sockaddr_in *ret)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    socklen_t size = sizeof(*ret);

    *ret = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (fd < 0 || bind(fd, (struct sockaddr *)ret, size) < 0 || listen(fd, 2 * BATCH) < 0 ||
        getsockname(fd, (struct sockaddr *)ret, &size) < 0)
        fail("listen on loopback");
    return fd;
}

/* One socket() + connect() + close(), and the question between the first two, if there is a server. */
static void connect_once(const struct sockaddr_un *server, const struct sockaddr_in *to)
{
    const struct linger reset = { .l_onoff = 1 }; /* no TIME_WAIT, which would pile up */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)) < 0)
        fail("socket");
    if (server && ask(server, FWMARKD_ON_CONNECT, fd) != 0)
        fail("the answer is an error");
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        fail("connect on loopback");
    (void)close(fd);
}

/* Microseconds each; what the other end does meanwhile is not counted. */
static double measure_connections(const struct sockaddr_un *server, int listener,
                                  const struct sockaddr_in *to)
{
    usec_t spent = 0;

    for (unsigned n = 0; n < CONNECTIONS; n += BATCH) {
        usec_t since = clock_monotonic();
        int peer;

        for (unsigned i = 0; i < BATCH; i++)
            connect_once(server, to);
        spent += clock_monotonic() - since;
        while ((peer = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0)
            (void)close(peer);
    }
    return (double)spent / CONNECTIONS;
}

static void compare_connections(const struct sockaddr_un *fwmarkd,
                                const struct sockaddr_un *classic)
{
    const struct {
        const char *what;
        const struct sockaddr_un *server;
    } ways[] = {
        { "bare", NULL },
        { "with the classic pattern", classic },
        { "with fwmarkd", fwmarkd },
    };
    double usec[ELEMENTSOF(ways)][ROUNDS];
    struct sockaddr_in to;
    int listener = listen_on_loopback(&to);

    for (unsigned i = 0; i < ROUNDS; i++)
        for (size_t w = 0; w < ELEMENTSOF(ways); w++)
            usec[w][i] = measure_connections(ways[w].server, listener, &to);
    (void)close(listener);
    printf("| TCP socket() + connect() + close() on loopback | each | per second | ratio |\n"
           "|---|---|---|---|\n");
    for (size_t w = 0; w < ELEMENTSOF(ways); w++) {
        qsort(usec[w], ROUNDS, sizeof(**usec), compare);
        row(ways[w].what, usec[w][ROUNDS / 2], usec[0][ROUNDS / 2]);
    }
}

int main(int argc, char **argv)
{
    struct sockaddr_un fwmarkd = { .sun_family = AF_UNIX }, classic = { .sun_family = AF_UNIX };
    cpu_set_t one;
    pid_t server;

    if (argc != 2 || !str_set(fwmarkd.sun_path, sizeof(fwmarkd.sun_path), argv[1])) {
        fprintf(stderr, "usage: bench-fwmarkd PATH\n");
        return 2;
    }
    /* in the abstract space, which is tidied by itself */
    snprintf(classic.sun_path + 1, sizeof(classic.sun_path) - 1, "bench-fwmarkd-%d", getpid());
    CPU_ZERO(&one);
    CPU_SET(0, &one);
    if (sched_setaffinity(0, sizeof(one), &one) < 0)
        fail("cannot stay on one CPU");
    server = start_server(&classic);
    compare_connections(&fwmarkd, &classic);
    printf("\n| the question alone | each | per second | ratio |\n|---|---|---|---|\n");
    (void)fflush(stdout); /* children would print it again */
    compare_servers(&fwmarkd, &classic, 1);
    compare_servers(&fwmarkd, &classic, CROWD);
    (void)kill(server, SIGKILL);
    (void)waitpid(server, NULL, 0);
    return 0;
}
