/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The stream of bench-vpn: one TCP connection, as fast as its window lets it go, or at a rate, as over a link.
 *
 *   bench-vpn-stream listen|connect ADDRESS receive WINDOW
 *       a line "silence END LENGTH" for each time of more than SILENCE µs in which nothing arrived, and at
 *       the end "bytes N". No more than WINDOW bytes are under way.
 *   bench-vpn-stream listen|connect ADDRESS send MILLISECONDS [MBIT/S]
 *       a line "again TIME SEGMENTS" whenever the kernel has sent something once more
 *
 * Who listens says "ready" first. Times are µs of CLOCK_MONOTONIC, the same in all network namespaces.
 */

#include <arpa/inet.h>
#include <inttypes.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 5202, BUFFER = 1 << 16, SILENCE = 500, LOOK_MS = 1 };

static char buffer[BUFFER];

static int64_t now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

/* A connection; -1 and errno. The window has to be known before there is one. */
static int meet(bool listens, const char *text, int window)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };
    const struct sockaddr *a = (const struct sockaddr *)&address;
    int sock = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;

    (void)inet_pton(AF_INET, text, &address.sin_addr);
    if (sock < 0 || (window > 0 &&
                     setsockopt(sock, IPPROTO_TCP, TCP_WINDOW_CLAMP, &window, sizeof(window)) < 0))
        return -1;
    if (!listens)
        return connect(sock, a, sizeof(address)) < 0 ? -1 : sock;
    if (setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        bind(sock, a, sizeof(address)) < 0 || listen(sock, 1) < 0)
        return -1;
    printf("ready\n");
    return accept(sock, NULL, NULL);
}

static int receive(int sock)
{
    int64_t last = now(), at;
    uint64_t bytes = 0;
    ssize_t n;

    while ((n = read(sock, buffer, sizeof(buffer))) > 0) {
        at = now();
        if (at - last > SILENCE)
            printf("silence %" PRId64 " %" PRId64 "\n", at, at - last);
        last = at;
        bytes += (uint64_t)n;
    }
    printf("bytes %" PRIu64 "\n", bytes);
    return n < 0 ? fail("receive") : 0;
}

static uint32_t sent_again(int sock)
{
    struct tcp_info info;
    socklen_t size = sizeof(info);

    memset(&info, 0, sizeof(info));
    return getsockopt(sock, IPPROTO_TCP, TCP_INFO, &info, &size) < 0 ? 0 : info.tcpi_total_retrans;
}

static int send_for(int sock, int64_t milliseconds)
{
    struct pollfd p = { .fd = sock, .events = POLLOUT };
    int64_t end = now() + milliseconds * 1000;
    uint32_t before = 0, again;

    while (now() < end) {
        if (poll(&p, 1, LOOK_MS) > 0 &&
            send(sock, buffer, sizeof(buffer), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
            return fail("send");
        again = sent_again(sock);
        if (again != before)
            printf("again %" PRId64 " %" PRIu32 "\n", now(), again - before);
        before = again;
    }
    return close(sock) < 0 ? fail("close") : 0;
}

int main(int argc, char **argv)
{
    bool receives = argc == 5 && strcmp(argv[3], "receive") == 0;
    long number = argc > 4 ? strtol(argv[4], NULL, 10) : 0;
    unsigned long rate = argc == 6 ? strtoul(argv[5], NULL, 10) * 1000000 / 8 : 0;
    int sock;

    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    if (argc != 5 && argc != 6) {
        (void)fprintf(stderr, "see the head of bench-vpn-stream.c\n");
        return 2;
    }
    sock = meet(strcmp(argv[1], "listen") == 0, argv[2], receives ? (int)number : 0);
    if (sock < 0 ||
        (rate > 0 && setsockopt(sock, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof(rate)) < 0))
        return fail(argv[1]);
    return receives ? receive(sock) : send_for(sock, number);
}
