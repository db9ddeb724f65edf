/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * A program that knows nothing of Waymark, linked dynamically and statically.
 *
 *   plain KIND ADDRESS PORT [main|thread|fork]
 *
 * opens a socket of that kind, sends something there and prints "MARK OUTCOME": the socket's mark,
 * in hexadecimal (- when there is no socket), and what the server says it has seen, `sent` where no
 * server answers, or the errno.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/icmp6.h>
#include <netinet/ip_icmp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct target {
    struct sockaddr_storage addr;
    socklen_t len;
};

static ssize_t send_connected(int fd, const struct target *to, const void *data, size_t n)
{
    if (connect(fd, (const struct sockaddr *)&to->addr, to->len) < 0)
        return -1;
    return send(fd, data, n, MSG_NOSIGNAL);
}

static ssize_t send_to(int fd, const struct target *to, const void *data, size_t n)
{
    return sendto(fd, data, n, 0, (const struct sockaddr *)&to->addr, to->len);
}

static ssize_t send_fast(int fd, const struct target *to, const void *data, size_t n)
{
    return sendto(fd, data, n, MSG_FASTOPEN, (const struct sockaddr *)&to->addr, to->len);
}

static ssize_t send_message(int fd, const struct target *to, const void *data, size_t n)
{
    struct iovec iov = { (void *)data, n };
    struct msghdr msg = {
        .msg_name = (void *)&to->addr, .msg_namelen = to->len, .msg_iov = &iov, .msg_iovlen = 1
    };

    return sendmsg(fd, &msg, 0);
}

static ssize_t send_messages(int fd, const struct target *to, const void *data, size_t n)
{
    struct iovec iov = { (void *)data, n };
    struct mmsghdr msgs[1] = { { .msg_hdr = { .msg_name = (void *)&to->addr,
                                              .msg_namelen = to->len,
                                              .msg_iov = &iov,
                                              .msg_iovlen = 1 } } };

    return sendmmsg(fd, msgs, 1, 0);
}

struct kind {
    const char *name;
    int type;
    bool icmp, answered;
    ssize_t (*send)(int fd, const struct target *to, const void *data, size_t n);
};

static const struct kind kinds[] = {
    { "tcp", SOCK_STREAM, false, true, send_connected },
    { "fastopen", SOCK_STREAM, false, true, send_fast },
    { "udp", SOCK_DGRAM, false, true, send_connected },
    { "sendto", SOCK_DGRAM, false, true, send_to },
    { "sendmsg", SOCK_DGRAM, false, true, send_message },
    { "sendmmsg", SOCK_DGRAM, false, true, send_messages },
    { "ping", SOCK_DGRAM, true, false, send_to },
    { "raw", SOCK_RAW, true, false, send_to },
};

static ssize_t send_something(const struct kind *kind, int fd, const struct target *to)
{
    struct icmphdr echo = { .type = ICMP_ECHO, .checksum = 0xfff7 }; /* ~0x0008 */
    struct icmp6_hdr echo6 = { .icmp6_type = ICMP6_ECHO_REQUEST };

    if (!kind->icmp)
        return kind->send(fd, to, "x", 1);
    if (to->addr.ss_family == AF_INET6)
        return kind->send(fd, to, &echo6, sizeof(echo6));
    return kind->send(fd, to, &echo, sizeof(echo));
}

static int run(const struct kind *kind, const struct target *to)
{
    const struct timeval patience = { .tv_sec = 3 };
    int family = to->addr.ss_family;
    int protocol = !kind->icmp ? 0 : family == AF_INET6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
    int fd = socket(family, kind->type | SOCK_CLOEXEC, protocol);
    char outcome[200] = "sent", marked[32] = "-";
    socklen_t n = sizeof(unsigned);
    bool good = fd >= 0;
    unsigned mark;

    if (good)
        (void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    good = good && send_something(kind, fd, to) >= 0;
    if (good && kind->answered)
        good = recv(fd, outcome, sizeof(outcome) - 1, 0) > 0;
    if (!good)
        (void)snprintf(outcome, sizeof(outcome), "%s", strerrorname_np(errno));
    if (fd >= 0 && getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &n) == 0)
        (void)snprintf(marked, sizeof(marked), "%#x", mark);
    outcome[strcspn(outcome, " \n")] = '\0';
    printf("%s %s\n", marked, outcome);
    if (fd >= 0)
        (void)close(fd);
    return 0;
}

struct job {
    const struct kind *kind;
    const struct target *to;
};

static void *run_job(void *data)
{
    const struct job *job = data;

    (void)run(job->kind, job->to);
    return NULL;
}

static int run_in_thread(const struct kind *kind, const struct target *to)
{
    struct job job = { kind, to };
    pthread_t thread;

    if (pthread_create(&thread, NULL, run_job, &job) != 0)
        return 1;
    return pthread_join(thread, NULL);
}

static int run_in_child(const struct kind *kind, const struct target *to)
{
    int status = 1;
    pid_t pid = fork();

    if (pid == 0)
        return run(kind, to);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0 ? 0 : 1;
}

static bool parse_target(const char *address, const char *port, struct target *to)
{
    struct sockaddr_in *in = (struct sockaddr_in *)&to->addr;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)&to->addr;
    in_port_t number = htons((in_port_t)strtoul(port, NULL, 10));

    *to = (struct target){ .len = sizeof(*in) };
    if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
        in->sin_family = AF_INET;
        in->sin_port = number;
        return true;
    }
    to->len = sizeof(*in6);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = number;
    return inet_pton(AF_INET6, address, &in6->sin6_addr) == 1;
}

int main(int argc, char **argv)
{
    const char *mode = argc > 4 ? argv[4] : "main";
    struct target to;

    for (size_t i = 0; argc > 3 && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, argv[1]) != 0 || !parse_target(argv[2], argv[3], &to))
            continue;
        if (strcmp(mode, "thread") == 0)
            return run_in_thread(&kinds[i], &to);
        return strcmp(mode, "fork") == 0 ? run_in_child(&kinds[i], &to) : run(&kinds[i], &to);
    }
    (void)fprintf(stderr, "usage: plain KIND ADDRESS PORT [main|thread|fork]\n");
    return 2;
}
