/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The load of bench-keystore.
 *
 *   bench-keystore-load get PATH KEY COUNT CLIENTS
 *       asks for the key's value, so many clients at a time, each one request after the other:
 *       "SECONDS MEDIAN P99 WORST", the last three in microseconds per request
 *   bench-keystore-load hold PATH IDLE SLOW
 *       connections that say nothing, and such that say a byte a second of a long request; "ready" when
 *       all have been accepted; until its standard input ends
 *   bench-keystore-load serve PATH SIZE
 *       a server of a few lines, which answers whatever it is asked with SIZE bytes: what connecting,
 *       asking and closing cost by themselves. "ready"; until it is killed
 */

#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { BUFFER = 1 << 16, KEY_MAX = 120, BACKLOG = 4096 };

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "bench-keystore-load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static struct sockaddr_un address_of(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };

    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        fail(path);
    }
    memcpy(address.sun_path, path, strlen(path));
    return address;
}

static int connected(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0)
        fail("connect");
    return fd;
}

static void ready(void)
{
    if (puts("ready") < 0 || fflush(stdout) != 0)
        exit(1);
}

/* code, length, key; its size */
static size_t write_request(uint8_t *out, char code, const char *key)
{
    size_t size = strlen(key);

    if (size > KEY_MAX) {
        errno = EMSGSIZE;
        fail(key);
    }
    out[0] = (uint8_t)code;
    out[1] = 0;
    out[2] = (uint8_t)size;
    memcpy(out + 3, key, size);
    return 3 + size;
}

static void get_once(const struct sockaddr_un *address, const uint8_t *request, size_t size)
{
    static uint8_t answer[BUFFER];
    int fd = connected(address);
    ssize_t n, total = 0;

    if (send(fd, request, size, MSG_NOSIGNAL) != (ssize_t)size || shutdown(fd, SHUT_WR) < 0)
        fail("ask");
    while ((n = recv(fd, answer + total, sizeof(answer) - (size_t)total, 0)) > 0)
        total += n;
    if (n < 0 || total < 3 || answer[0] != 1) {
        fprintf(stderr, "bench-keystore-load: the answer is %d\n", total > 0 ? answer[0] : -1);
        exit(1);
    }
    (void)close(fd);
}

static int compare(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return (*a > *b) - (*a < *b);
}

static int get(const char *path, const char *key, size_t count, size_t clients)
{
    struct sockaddr_un address = address_of(path);
    uint8_t request[3 + KEY_MAX];
    size_t size = write_request(request, 'g', key), each = count / clients;
    double *times = mmap(NULL, count * sizeof(*times), PROT_READ | PROT_WRITE,
                         MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double since = now();
    int status;

    if (times == MAP_FAILED)
        fail("mmap");
    for (size_t c = 0; c < clients; c++) {
        pid_t pid = fork();

        if (pid < 0)
            fail("fork");
        for (size_t i = 0; pid == 0 && i < each; i++) {
            double begin = now();

            get_once(&address, request, size);
            times[c * each + i] = now() - begin;
        }
        if (pid == 0)
            _exit(0);
    }
    for (size_t c = 0; c < clients; c++)
        if (wait(&status) < 0 || status != 0)
            return 1;
    since = now() - since;
    count = each * clients;
    qsort(times, count, sizeof(*times), compare);
    printf("%.6f %.1f %.1f %.1f\n", since, times[count / 2] * 1e6, times[count * 99 / 100] * 1e6,
           times[count - 1] * 1e6);
    return 0;
}

/* Each says its next byte when its time has come: evenly over the second, not all at once. */
static void say_slowly(const int *slow, size_t n)
{
    struct pollfd end = { .fd = STDIN_FILENO, .events = POLLIN };
    double since = now();
    uint64_t said = 0;

    while (poll(&end, 1, n > 0 ? 1 : -1) == 0)
        for (; n > 0 && (double)said < (now() - since) * (double)n; said++)
            if (send(slow[said % n], "x", 1, MSG_NOSIGNAL) != 1)
                fail("a slow client was turned away");
}

static int hold(const char *path, size_t idle, size_t slow)
{
    struct sockaddr_un address = address_of(path);
    struct rlimit limit;
    uint8_t request[3 + KEY_MAX + 2];
    size_t size = write_request(request, 'i', "slow");
    int *fds = calloc(slow + 1, sizeof(*fds));

    if (!fds || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("begin");
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        fail("RLIMIT_NOFILE");
    request[size++] = 0x80; /* 32768 bytes are to come */
    request[size++] = 0;
    for (size_t i = 0; i < idle; i++)
        (void)connected(&address);
    for (size_t i = 0; i < slow; i++) {
        fds[i] = connected(&address);
        if (send(fds[i], request, size, MSG_NOSIGNAL) != (ssize_t)size)
            fail("send");
    }
    ready();
    say_slowly(fds, slow);
    free(fds);
    return 0;
}

static int serve(const char *path, size_t size)
{
    static uint8_t answer[BUFFER] = { 1 }, request[BUFFER];
    struct sockaddr_un address = address_of(path);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (size > sizeof(answer) || listener < 0 ||
        bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, BACKLOG) < 0)
        fail("listen");
    ready();
    for (;;) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd < 0)
            fail("accept");
        while (recv(fd, request, sizeof(request), 0) > 0)
            ;
        (void)send(fd, answer, size, MSG_NOSIGNAL);
        (void)close(fd);
    }
}

static size_t number(const char *text)
{
    return strtoul(text, NULL, 10);
}

int main(int argc, char **argv)
{
    if (argc == 6 && strcmp(argv[1], "get") == 0 && number(argv[5]) > 0)
        return get(argv[2], argv[3], number(argv[4]), number(argv[5]));
    if (argc == 5 && strcmp(argv[1], "hold") == 0)
        return hold(argv[2], number(argv[3]), number(argv[4]));
    if (argc == 4 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2], number(argv[3]));
    fprintf(stderr, "usage: bench-keystore-load get PATH KEY COUNT CLIENTS\n"
                    "       bench-keystore-load hold PATH IDLE SLOW\n"
                    "       bench-keystore-load serve PATH SIZE\n");
    return 2;
}
