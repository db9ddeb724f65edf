/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * Sends one packet in each of many ways, and says what became of it.
 *
 * What tests/e2e/matrix.py runs as the app: no test can tell where packets go without somebody who
 * sends them exactly so. A case is a line of words on stdin,
 *
 *     ID KIND WHO ADDRESS PORT PATIENCE OPTION VALUE [OPTION VALUE]…
 *
 * and one of JSON on stdout, written when the case is over. The socket is made first of all, in the
 * main thread, in a thread or in a child of its own (WHO); then its options are set; it connects
 * (where the kind does), sends, and waits PATIENCE ms for the answer. What is sent carries the ID,
 * or the TCP port does. Steps are errnos; -1: it did not come to that; one that fails is the last.
 *
 * With -DPROBE_LIBWAYMARK sockets come from wm_socket(), and the option `network` is there.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/icmp6.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/ip_icmp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef PROBE_LIBWAYMARK
#include "waymark.h"
#endif

#define ELEMENTSOF(x) (sizeof(x) / sizeof((x)[0]))

enum { WORD_SIZE = 64, OPTIONS_MAX = 3, TOKEN_SIZE = 32, ANSWER_SIZE = 2048, PACKET_SIZE = 128 };

/* All who wait in vain together wait this long: where nothing answers, the first few show it. */
enum { PATIENCE_IN_ALL = 15000 };

struct kind {
    const char *name;
    int type;
    int protocol4, protocol6;
    bool connects;
    bool is_echo; /* what is sent is an ICMP echo request, its payload the token */
};

static const struct kind kinds[] = {
    { "tcp", SOCK_STREAM, 0, 0, true, false },
    { "mptcp", SOCK_STREAM, IPPROTO_MPTCP, IPPROTO_MPTCP, true, false },
    { "udplite", SOCK_DGRAM, IPPROTO_UDPLITE, IPPROTO_UDPLITE, false, false },
    { "udp-connected", SOCK_DGRAM, 0, 0, true, false },
    { "udp-unconnected", SOCK_DGRAM, 0, 0, false, false },
    { "ping", SOCK_DGRAM, IPPROTO_ICMP, IPPROTO_ICMPV6, false, true },
    { "raw", SOCK_RAW, IPPROTO_ICMP, IPPROTO_ICMPV6, false, true },
    { "hdrincl", SOCK_RAW, IPPROTO_RAW, IPPROTO_RAW, false, true }, /* with a header of its own */
};

struct option {
    char name[WORD_SIZE];
    char value[WORD_SIZE];
};

union address {
    struct sockaddr any;
    struct sockaddr_in four;
    struct sockaddr_in6 six;
};

struct test_case {
    unsigned id;
    const struct kind *kind;
    char who[WORD_SIZE];
    union address to;
    socklen_t to_size;
    int patience; /* ms */
    struct option options[OPTIONS_MAX];
    size_t n_options;
};

struct outcome {
    int socket, option, connect, send, answer; /* errno; -1 = not reached */
    int64_t mark_made, mark_sent;              /* SO_MARK at first and at last; -1 = not reached */
    char source[INET6_ADDRSTRLEN];             /* the socket's own address in the end */
    int waited;                                /* ms, in vain */
};

/* What sendmsg() is told besides; alignment as CMSG_DATA wants it. */
struct ancillary {
    _Alignas(struct cmsghdr) char data[CMSG_SPACE(sizeof(struct in6_pktinfo))];
    size_t size;
    int flags;
};

/* --- options: each says how it is set on a socket that was just made, or sent along ----------- */

/* To raw sockets they are IPv6 addresses like others. */
static bool is_mapped(const struct test_case *c)
{
    return c->kind->type != SOCK_RAW && c->to.any.sa_family == AF_INET6 &&
           IN6_IS_ADDR_V4MAPPED(&c->to.six.sin6_addr);
}

static int set(int fd, int level, int name, const void *value, size_t size)
{
    return setsockopt(fd, level, name, value, (socklen_t)size) < 0 ? errno : 0;
}

static int set_device(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    (void)c;
    (void)a;
    return set(fd, SOL_SOCKET, SO_BINDTODEVICE, value, strlen(value) + 1);
}

static void put_ancillary(struct ancillary *a, int level, int type, const void *data, size_t size)
{
    struct msghdr msg = { .msg_control = a->data, .msg_controllen = CMSG_SPACE(size) };
    struct cmsghdr *cmsg = CMSG_FIRSTHDR(&msg);

    *cmsg = (struct cmsghdr){ .cmsg_level = level, .cmsg_type = type, .cmsg_len = CMSG_LEN(size) };
    memcpy(CMSG_DATA(cmsg), data, size);
    a->size = msg.msg_controllen;
}

static int set_ip_pktinfo(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    struct in_pktinfo info = { .ipi_ifindex = atoi(value) };

    (void)c;
    (void)fd;
    put_ancillary(a, IPPROTO_IP, IP_PKTINFO, &info, sizeof(info));
    return 0;
}

/* TCP has no messages that could carry it: there it is said once for all that the socket sends. */
static int set_ipv6_pktinfo(const struct test_case *c, const char *value, int fd,
                            struct ancillary *a)
{
    struct in6_pktinfo info = { .ipi6_ifindex = (unsigned)atoi(value) };

    if (c->kind->type == SOCK_STREAM)
        return set(fd, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    if (is_mapped(c))
        memset(info.ipi6_addr.s6_addr + 10, 0xff, 2);
    put_ancillary(a, IPPROTO_IPV6, IPV6_PKTINFO, &info, sizeof(info));
    return 0;
}

/* The index is in network byte order. A socket for mapped addresses has the IPv4 option, too. */
static int set_unicast_if(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    uint32_t ifindex = htonl((uint32_t)atoi(value));
    int r = 0;

    (void)a;
    if (c->to.any.sa_family == AF_INET6)
        r = set(fd, IPPROTO_IPV6, IPV6_UNICAST_IF, &ifindex, sizeof(ifindex));
    if (r == 0 && (c->to.any.sa_family == AF_INET || is_mapped(c)))
        r = set(fd, IPPROTO_IP, IP_UNICAST_IF, &ifindex, sizeof(ifindex));
    return r;
}

static int set_dontroute(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    int on = 1;

    (void)value;
    if (c->kind->type == SOCK_STREAM)
        return set(fd, SOL_SOCKET, SO_DONTROUTE, &on, sizeof(on));
    a->flags |= MSG_DONTROUTE;
    return 0;
}

static int set_mark(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    uint32_t mark = (uint32_t)strtoul(value, NULL, 0);

    (void)c;
    (void)a;
    return set(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark));
}

#ifdef PROBE_LIBWAYMARK
static int set_network(const struct test_case *c, const char *value, int fd, struct ancillary *a)
{
    wm_network_t network = wm_network_from_netid((uint32_t)strtoul(value, NULL, 0));

    (void)c;
    (void)a;
    return wm_setsocknetwork(network, fd) < 0 ? errno : 0;
}
#endif

static const struct {
    const char *name;
    int (*set)(const struct test_case *c, const char *value, int fd, struct ancillary *a);
} options[] = {
    { "device", set_device },
    { "ip-pktinfo", set_ip_pktinfo },
    { "ipv6-pktinfo", set_ipv6_pktinfo },
    { "unicast-if", set_unicast_if },
    { "dontroute", set_dontroute },
    { "mark", set_mark },
#ifdef PROBE_LIBWAYMARK
    { "network", set_network },
#endif
};

static int set_option(const struct test_case *c, const struct option *o, int fd,
                      struct ancillary *a)
{
    for (size_t i = 0; i < ELEMENTSOF(options); i++)
        if (strcmp(options[i].name, o->name) == 0)
            return options[i].set(c, o->value, fd, a);
    return ENOPROTOOPT;
}

static int set_options(const struct test_case *c, int fd, struct ancillary *a)
{
    int r = 0;

    for (size_t i = 0; i < c->n_options && r == 0; i++)
        r = set_option(c, &c->options[i], fd, a);
    return r;
}

/* --- the packet ------------------------------------------------------------------------------- */

static uint16_t internet_checksum(const uint8_t *data, size_t n)
{
    uint32_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += (uint32_t)data[i] << (i % 2 ? 0 : 8);
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return htons((uint16_t)~sum);
}

static void token(const struct test_case *c, char text[static TOKEN_SIZE])
{
    (void)snprintf(text, TOKEN_SIZE, "<waymark %u>", c->id);
}

/* The header of a packet of n bytes in all. The kernel adds what IPv4's lacks, the source too. */
static void put_header(const struct test_case *c, size_t n, uint8_t *data)
{
    struct iphdr four = { .version = 4,
                          .ihl = sizeof(four) / 4,
                          .ttl = IPDEFTTL,
                          .protocol = IPPROTO_ICMP,
                          .daddr = c->to.four.sin_addr.s_addr };
    struct ip6_hdr six = { .ip6_flow = htonl(6U << 28),
                           .ip6_plen = htons((uint16_t)(n - sizeof(six))),
                           .ip6_nxt = IPPROTO_ICMPV6,
                           .ip6_hlim = IPDEFTTL,
                           .ip6_dst = c->to.six.sin6_addr };

    if (c->to.any.sa_family == AF_INET6)
        memcpy(data, &six, sizeof(six));
    else
        memcpy(data, &four, sizeof(four));
}

static void put_echo(const struct test_case *c, uint8_t *data, size_t n)
{
    struct icmphdr echo = { .type = ICMP_ECHO }; /* ICMPv6 has the same fields */

    if (c->to.any.sa_family == AF_INET6)
        echo.type = ICMP6_ECHO_REQUEST; /* and the kernel writes the checksum */
    echo.un.echo.id = htons((uint16_t)getpid());
    memcpy(data, &echo, sizeof(echo));
    echo.checksum = internet_checksum(data, n);
    memcpy(data, &echo, sizeof(echo));
}

/* Its size. */
static size_t packet(const struct test_case *c, uint8_t data[static PACKET_SIZE])
{
    bool own_header = c->kind->protocol4 == IPPROTO_RAW, six = c->to.any.sa_family == AF_INET6;
    size_t header = own_header ? six ? sizeof(struct ip6_hdr) : sizeof(struct iphdr) : 0;
    size_t at = header + (c->kind->is_echo ? sizeof(struct icmphdr) : 0);
    char text[TOKEN_SIZE];

    token(c, text);
    memcpy(data + at, text, strlen(text));
    at += strlen(text);
    if (c->kind->is_echo)
        put_echo(c, data + header, at - header);
    if (own_header)
        put_header(c, at, data);
    return at;
}

/* --- the steps: errno, or 0 ------------------------------------------------------------------- */

static int64_t now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * INT64_C(1000) + t.tv_nsec / 1000000;
}

/* ETIMEDOUT after `patience` ms. */
static int wait_until(int fd, short events, int64_t deadline)
{
    struct pollfd p = { .fd = fd, .events = events };
    int64_t left = deadline - now();
    int n;

    do
        n = poll(&p, 1, left > 0 ? (int)left : 0);
    while (n < 0 && errno == EINTR);
    return n < 0 ? errno : n == 0 ? ETIMEDOUT : 0;
}

static int step_connect(const struct test_case *c, int fd, int64_t deadline)
{
    int error = 0, r;
    socklen_t n = sizeof(error);

    if (connect(fd, &c->to.any, c->to_size) == 0)
        return 0;
    if (errno != EINPROGRESS)
        return errno;
    r = wait_until(fd, POLLOUT, deadline);
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &n) < 0)
        return errno;
    return r ? r : error;
}

static int step_send(const struct test_case *c, int fd, struct ancillary *a)
{
    uint8_t data[PACKET_SIZE];
    struct iovec iov = { .iov_base = data, .iov_len = packet(c, data) };
    struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
    union address to = c->to;

    if (!c->kind->connects) {
        if (c->kind->type == SOCK_RAW && to.any.sa_family == AF_INET6)
            to.six.sin6_port = 0; /* there it is the protocol */
        msg.msg_name = &to;
        msg.msg_namelen = c->to_size;
    }
    if (a->size) {
        msg.msg_control = a->data;
        msg.msg_controllen = a->size;
    }
    return sendmsg(fd, &msg, a->flags) < 0 ? errno : 0;
}

/* A TCP server speaks first; all others send the token back. Raw sockets get everything. */
static bool is_answer(const struct test_case *c, const char *data, size_t n)
{
    size_t at = c->to.any.sa_family == AF_INET ? sizeof(struct iphdr) : 0;
    int reply = c->to.any.sa_family == AF_INET ? ICMP_ECHOREPLY : ICMP6_ECHO_REPLY;
    char text[TOKEN_SIZE];

    if (c->kind->type == SOCK_STREAM)
        return n > 0;
    token(c, text);
    return memmem(data, n, text, strlen(text)) &&
           (c->kind->type != SOCK_RAW || (n > at && (uint8_t)data[at] == reply));
}

static int step_answer(const struct test_case *c, int fd, int64_t deadline)
{
    char data[ANSWER_SIZE];
    int r;

    while ((r = wait_until(fd, POLLIN, deadline)) == 0) {
        ssize_t n = recv(fd, data, sizeof(data), 0);

        if (n < 0 && errno != EAGAIN)
            return errno;
        if (n > 0 && is_answer(c, data, (size_t)n))
            return 0;
        if (n == 0 && c->kind->type == SOCK_STREAM)
            return ECONNRESET;
    }
    return r;
}

static int make_socket(int domain, int type, int protocol)
{
#ifdef PROBE_LIBWAYMARK
    return wm_socket(domain, type, protocol);
#else
    return socket(domain, type, protocol);
#endif
}

static int64_t get_mark(int fd)
{
    uint32_t mark;
    socklen_t n = sizeof(mark);

    return getsockopt(fd, SOL_SOCKET, SO_MARK, &mark, &n) < 0 ? -1 : (int64_t)mark;
}

static void get_source(int fd, char text[static INET6_ADDRSTRLEN])
{
    union address own = { .any.sa_family = AF_UNSPEC };
    socklen_t n = sizeof(own);

    if (getsockname(fd, &own.any, &n) < 0)
        return;
    if (own.any.sa_family == AF_INET)
        (void)inet_ntop(AF_INET, &own.four.sin_addr, text, INET6_ADDRSTRLEN);
    if (own.any.sa_family == AF_INET6)
        (void)inet_ntop(AF_INET6, &own.six.sin6_addr, text, INET6_ADDRSTRLEN);
}

static void walk_steps(const struct test_case *c, int fd, struct outcome *o)
{
    struct ancillary a = { .size = 0 };
    int64_t begin = now(), deadline = begin + c->patience;

    o->option = set_options(c, fd, &a);
    if (o->option != 0)
        return;
    if (c->kind->connects) {
        o->connect = step_connect(c, fd, deadline);
        o->waited = o->connect == ETIMEDOUT ? (int)(now() - begin) : 0;
        if (o->connect != 0)
            return;
    }
    o->send = step_send(c, fd, &a);
    if (o->send != 0)
        return;
    o->answer = step_answer(c, fd, deadline);
    o->waited = o->answer == ETIMEDOUT ? (int)(now() - begin) : 0;
}

static struct outcome run(const struct test_case *c)
{
    bool six = c->to.any.sa_family == AF_INET6;
    int fd = make_socket(six ? AF_INET6 : AF_INET, c->kind->type | SOCK_NONBLOCK | SOCK_CLOEXEC,
                         six ? c->kind->protocol6 : c->kind->protocol4);
    struct outcome o = { .socket = fd < 0 ? errno : 0,
                         .option = -1,
                         .connect = -1,
                         .send = -1,
                         .answer = -1,
                         .mark_made = -1,
                         .mark_sent = -1 };

    if (fd < 0)
        return o;
    o.mark_made = get_mark(fd);
    walk_steps(c, fd, &o);
    o.mark_sent = get_mark(fd);
    get_source(fd, o.source);
    (void)close(fd);
    return o;
}

/* --- who does it ------------------------------------------------------------------------------ */

struct errand {
    const struct test_case *c;
    struct outcome o;
};

static void *run_errand(void *arg)
{
    struct errand *e = arg;

    e->o = run(e->c);
    return NULL;
}

static int run_in_thread(struct errand *e)
{
    pthread_t thread;
    int r = pthread_create(&thread, NULL, run_errand, e);

    return r ? r : pthread_join(thread, NULL);
}

static int run_in_child(struct errand *e)
{
    int pipefd[2], r = 0;
    ssize_t n;
    pid_t pid;

    if (pipe(pipefd) < 0)
        return errno;
    pid = fork();
    if (pid == 0) {
        (void)run_errand(e);
        _exit(write(pipefd[1], &e->o, sizeof(e->o)) == (ssize_t)sizeof(e->o) ? 0 : 1);
    }
    (void)close(pipefd[1]);
    n = read(pipefd[0], &e->o, sizeof(e->o));
    if (pid < 0 || n != (ssize_t)sizeof(e->o))
        r = EIO;
    (void)close(pipefd[0]);
    (void)waitpid(pid, NULL, 0);
    return r;
}

static int run_here(struct errand *e)
{
    (void)run_errand(e);
    return 0;
}

static const struct {
    const char *name;
    int (*run)(struct errand *e);
} performers[] = {
    { "main", run_here },
    { "thread", run_in_thread },
    { "child", run_in_child },
};

/* --- lines ------------------------------------------------------------------------------------ */

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < ELEMENTSOF(kinds); i++)
        if (strcmp(kinds[i].name, name) == 0)
            return &kinds[i];
    return NULL;
}

static bool read_address(const char *text, unsigned port, struct test_case *c)
{
    if (inet_pton(AF_INET, text, &c->to.four.sin_addr) == 1) {
        c->to.four.sin_family = AF_INET;
        c->to.four.sin_port = htons((uint16_t)port);
        c->to_size = sizeof(c->to.four);
        return true;
    }
    if (inet_pton(AF_INET6, text, &c->to.six.sin6_addr) != 1)
        return false;
    c->to.six.sin6_family = AF_INET6;
    c->to.six.sin6_port = htons((uint16_t)port);
    c->to_size = sizeof(c->to.six);
    return true;
}

static bool read_case(const char *line, struct test_case *ret_case)
{
    struct test_case c = { .id = 0 };
    char kind[WORD_SIZE], address[WORD_SIZE];
    unsigned port;
    int used;

    if (sscanf(line, "%u %63s %63s %63s %u %d%n", &c.id, kind, c.who, address, &port, &c.patience,
               &used) != 6)
        return false;
    for (line += used; c.n_options < OPTIONS_MAX; line += used) {
        struct option *o = &c.options[c.n_options];

        if (sscanf(line, "%63s %63s%n", o->name, o->value, &used) != 2)
            break;
        c.n_options++;
    }
    c.kind = find_kind(kind);
    if (!c.kind || !read_address(address, port, &c))
        return false;
    *ret_case = c;
    return true;
}

static bool perform(struct errand *e)
{
    for (size_t i = 0; i < ELEMENTSOF(performers); i++)
        if (strcmp(performers[i].name, e->c->who) == 0)
            return performers[i].run(e) == 0;
    return false;
}

static void print(const struct test_case *c, const struct outcome *o)
{
    printf("{\"id\":%u,\"socket\":%d,\"option\":%d,\"connect\":%d,\"send\":%d,\"answer\":%d,"
           "\"mark_made\":%" PRId64 ",\"mark_sent\":%" PRId64 ",\"source\":\"%s\"}\n",
           c->id, o->socket, o->option, o->connect, o->send, o->answer, o->mark_made, o->mark_sent,
           o->source);
    (void)fflush(stdout);
}

int main(void)
{
    int patience = PATIENCE_IN_ALL;
    char line[512];

    while (fgets(line, sizeof(line), stdin)) {
        struct test_case c;
        struct errand e = { .c = &c };

        if (!read_case(line, &c)) {
            (void)fprintf(stderr, "probe: not a case: %s", line);
            return 2;
        }
        if (c.patience > patience)
            c.patience = patience;
        if (!perform(&e)) {
            (void)fprintf(stderr, "probe: cannot be done: %s", line);
            return 1;
        }
        patience -= e.o.waited;
        print(&c, &e.o);
    }
    return 0;
}
