/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The load of bench-minivtun.
 *
 *   bench-minivtun-load tcp|udp receive ADDRESS STREAMS
 *       "ready"; then, when all streams have ended, "BYTES SECONDS" (tcp) or "PACKETS SECONDS" (udp)
 *   bench-minivtun-load tcp|udp send ADDRESS STREAMS SECONDS
 *       as fast as it goes; udp: packets of 64 bytes, the IPv4 and UDP headers counted
 *
 * A datagram of one byte ends the udp; the time is that between the first and the last that came.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PORT = 5201, STREAMS = 64, BUFFER = 1 << 18, PAYLOAD = 64 - 28, BATCH = 64, ENDS = 50 };

static uint8_t buffer[BUFFER];

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static struct sockaddr_in address_of(const char *text)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(PORT) };

    (void)inet_pton(AF_INET, text, &address.sin_addr);
    return address;
}

static int make_socket(int type, const struct sockaddr_in *local)
{
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), on = 1, size = 16 << 20;

    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
        return -1;
    if (type == SOCK_DGRAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size));
    if (local && bind(fd, (const struct sockaddr *)local, sizeof(*local)) < 0)
        return -1;
    return fd;
}

static int ready(void)
{
    return puts("ready") < 0 || fflush(stdout) != 0;
}

static int receive_tcp(const struct sockaddr_in *local, int n)
{
    struct pollfd streams[STREAMS];
    uint64_t bytes = 0;
    double first = 0, last = 0;
    int fd = make_socket(SOCK_STREAM, local), open = n;

    if (fd < 0 || listen(fd, STREAMS) < 0 || ready())
        return fail("listen");
    for (int i = 0; i < n; i++) {
        streams[i] = (struct pollfd){ .fd = accept(fd, NULL, NULL), .events = POLLIN };
        first = i == 0 ? now() : first;
    }
    while (open > 0 && poll(streams, (nfds_t)n, -1) > 0) {
        for (int i = 0; i < n; i++) {
            ssize_t got = streams[i].revents ? read(streams[i].fd, buffer, sizeof(buffer)) : 0;

            if (streams[i].revents && got <= 0) {
                streams[i].fd = -1; /* poll(2) skips it */
                open--;
            }
            bytes += got > 0 ? (uint64_t)got : 0;
        }
        last = now();
    }
    return printf("%llu %f\n", (unsigned long long)bytes, last - first) < 0;
}

static int send_tcp(const struct sockaddr_in *to, int n, double seconds)
{
    struct pollfd streams[STREAMS];
    double end;

    for (int i = 0; i < n; i++) {
        int fd = make_socket(SOCK_STREAM, NULL);

        if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
            return fail("connect");
        streams[i] = (struct pollfd){ .fd = fd, .events = POLLOUT };
    }
    end = now() + seconds;
    while (now() < end && poll(streams, (nfds_t)n, 1000) >= 0) {
        for (int i = 0; i < n; i++)
            if (streams[i].revents)
                (void)send(streams[i].fd, buffer, sizeof(buffer), MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    return 0;
}

/* As many as there are of one kind: its messages share the buffer. */
static unsigned prepare(struct mmsghdr *messages, struct iovec *parts, size_t length)
{
    memset(messages, 0, BATCH * sizeof(*messages));
    for (unsigned i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){ .iov_base = buffer, .iov_len = length };
        messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
    }
    return BATCH;
}

static int receive_udp(const struct sockaddr_in *local)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    uint64_t packets = 0;
    double first = 0, last = 0;
    bool over = false;
    int fd = make_socket(SOCK_DGRAM, local);

    if (fd < 0 || ready())
        return fail("bind");
    while (!over) {
        int n = recvmmsg(fd, messages, prepare(messages, parts, PAYLOAD), MSG_WAITFORONE, NULL);
        unsigned more = 0;

        if (n < 0)
            return fail("recvmmsg");
        for (int i = 0; i < n; i++) {
            more += messages[i].msg_len == PAYLOAD;
            over = over || messages[i].msg_len == 1;
        }
        first = packets == 0 && more ? now() : first;
        last = more ? now() : last;
        packets += more;
    }
    return printf("%llu %f\n", (unsigned long long)packets, last - first) < 0;
}

static int send_udp(const struct sockaddr_in *to, double seconds)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    struct timespec pause = { .tv_nsec = 20 * 1000 * 1000 };
    unsigned n = prepare(messages, parts, PAYLOAD);
    double end = now() + seconds;
    int fd = make_socket(SOCK_DGRAM, NULL);

    if (fd < 0 || connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        return fail("connect");
    while (now() < end)
        (void)sendmmsg(fd, messages, n, 0);
    for (int i = 0; i < ENDS; i++) { /* one is enough; some may get lost */
        nanosleep(&pause, NULL);
        if (send(fd, buffer, 1, 0) < 0 && errno == ECONNREFUSED)
            break;
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 5)
        return 2;
    bool tcp = strcmp(argv[1], "tcp") == 0;
    struct sockaddr_in address = address_of(argv[3]);
    int n = (int)strtol(argv[4], NULL, 10);

    if (n < 1 || n > STREAMS)
        return 2;
    if (strcmp(argv[2], "receive") == 0)
        return tcp ? receive_tcp(&address, n) : receive_udp(&address);
    if (argc < 6)
        return 2;
    return tcp ? send_tcp(&address, n, strtod(argv[5], NULL))
               : send_udp(&address, strtod(argv[5], NULL));
}
