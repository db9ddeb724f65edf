/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What the programs at the cgroup cost, against the same calls in a cgroup without them.
 *
 * All variants run in turn, many rounds, in one process that goes from one cgroup to the other. A figure
 * is the median over the rounds of (variant / bare, of the same round): whatever slows the machine
 * down for a while slows both.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "apply/maps.h"
#include "basic/fd.h"
#include "basic/macro.h"

enum { ROUNDS = 61, CALLS = 1000, BATCH = 100, BARE = 0, VARIANTS = 4, PORT = 9000 };
enum { STREAM_ROUNDS = 61, STREAM_BYTES = 48 << 20, DATAGRAMS = 10000 };
static const size_t selectors[VARIANTS] = { 0, 0, 1000, 100000 }; /* the first is bare */

#define MUST(x)                                               \
    do {                                                      \
        if ((x) < 0) {                                        \
            (void)fprintf(stderr, "bench-bpf: %s: %m\n", #x); \
            _exit(1);                                         \
        }                                                     \
    } while (0)

/* Each variant has a cgroup and maps of its own, loaded once: nothing is torn down while it is measured. */
struct bench {
    char cgroups[VARIANTS][256];
    char fs[VARIANTS][64];
    int listeners[VARIANTS];
};

/* Of this thread: what others do on the machine is not to count. */
static double cpu_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int compare(const void *a, const void *b)
{
    return CMP(*(const double *)a, *(const double *)b);
}

static double median(double *values, size_t n)
{
    qsort(values, n, sizeof(*values), compare);
    return values[n / 2];
}

static void join(const struct bench *b, int variant)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/cgroup.procs", b->cgroups[variant]);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "0", 1));
    MUST(close(fd));
}

static int listen_on(in_port_t port)
{
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons(port),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    MUST(fd);
    MUST(bind(fd, (struct sockaddr *)&to, sizeof(to)));
    MUST(listen(fd, 2 * BATCH));
    return fd;
}

/* Microseconds of one socket() + connect() + close(). */
static double connect_once(const struct bench *b, int variant, int type)
{
    const struct linger reset = { .l_onoff = 1 };
    struct sockaddr_in to = { .sin_family = AF_INET,
                              .sin_port = htons((in_port_t)(PORT + variant)),
                              .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    double spent = 0;

    for (int done = 0; done < CALLS; done += BATCH) {
        double start = cpu_now();
        int fd;

        for (int i = 0; i < BATCH; i++) {
            fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
            if (type == SOCK_STREAM) /* no TIME_WAIT: ports would run out */
                MUST(setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)));
            MUST(connect(fd, (struct sockaddr *)&to, sizeof(to)));
            (void)close(fd);
        }
        spent += cpu_now() - start;
        while ((fd = accept(b->listeners[variant], NULL, NULL)) >= 0)
            (void)close(fd);
    }
    return spent / CALLS * 1e6;
}

static void die(const char *what, const struct why *why, int r)
{
    (void)fprintf(stderr, "bench-bpf: %s: %s\n", what, why_text(why, r));
    _exit(1);
}

static int put_network(struct bpf *b, struct why *why)
{
    struct map_network network = { .flags = SOCKET_NETWORK_USABLE };
    struct map_port port = { .netid = 100, .ifindex = 2 };
    const uint8_t yes = 1;
    int r = bpf_put(b, BPF_NETWORKS, &port.netid, &network, why);

    if (r == 0)
        r = bpf_put(b, BPF_PORTS, &port, &yes, why);
    return r < 0 ? r : bpf_put(b, BPF_INTERFACES, &port.ifindex, &port.netid, why);
}

/* The directory that we are in has other programs that are assigned. */
static int load_places(struct bpf *b, const struct socket_policy *policies, size_t n,
                       struct why *why)
{
    _cleanup_free_ struct map_place *places = calloc(n + 1, sizeof(*places));
    struct map_executable directory;
    char path[PATH_MAX] = { 0 };
    struct stat st;

    MUST(readlink("/proc/self/exe", path, sizeof(path) - 1));
    *strrchr(path, '/') = '\0';
    MUST(stat(path, &st));
    directory = bpf_executable(st.st_dev, st.st_ino);
    for (size_t i = 0; i < n; i++)
        places[i] = (struct map_place){ directory.dev, directory.ino, i };
    return bpf_sync(b, BPF_PLACES, places, policies, n, why);
}

static int load_paths(struct bpf *b, const struct socket_policy *policies, size_t n,
                      struct why *why)
{
    _cleanup_free_ struct map_path *paths = calloc(n + 1, sizeof(*paths));

    for (size_t i = 0; i < n; i++)
        paths[i] = (struct map_path){ .parent = i ? PLACE_TOP : 1,
                                      .name = i,
                                      .kind = i ? PLACE_CGROUP : PLACE_ROOT };
    return bpf_sync(b, BPF_PATHS, paths, policies, n, why);
}

/*
 * n selectors: 98 % uids, 1 % cgroups, 1 % executables. Ours is a uid, the rest do not match.
 */
static int load_selectors(struct bpf *b, size_t n, struct why *why)
{
    struct bpf_settings settings = { .enabled = true, .first_application_uid = 10000 };
    struct socket_policy policy = { .netid = 100, .strength = SOCKET_REQUIRE, .app = 1 };
    size_t few = n / 100, n_uids = n - 2 * few;
    _cleanup_free_ uint64_t *cgroups = calloc(few + 1, sizeof(*cgroups));
    _cleanup_free_ struct map_executable *files = calloc(few + 1, sizeof(*files));
    _cleanup_free_ struct socket_policy *policies = calloc(few + 1, sizeof(*policies));
    _cleanup_free_ struct bpf_range *ranges = calloc(n_uids + 1, sizeof(*ranges));
    int r;

    for (size_t i = 0; i < n_uids; i++)
        ranges[i] =
            (struct bpf_range){ .uid = { 2 * (uint32_t)i, 2 * (uint32_t)i }, .policy = policy };
    for (size_t i = 0; i < few; i++) {
        cgroups[i] = UINT64_C(1) << 40 | i;
        files[i] = (struct map_executable){ .dev = 1, .ino = UINT64_C(1) << 40 | i };
        policies[i] = policy;
    }
    r = bpf_change_ranges(b, BPF_UIDS, ranges, 0, ranges, n_uids, why);
    if (r == 0)
        r = bpf_sync(b, BPF_CGROUPS, cgroups, policies, few, why);
    if (r == 0)
        r = bpf_sync(b, BPF_EXECUTABLES, files, policies, few, why);
    if (r == 0)
        r = load_places(b, policies, few, why);
    if (r == 0)
        r = load_paths(b, policies, few, why);
    return r < 0 ? r : bpf_commit(b, &settings, why);
}

static void bench_connect(const struct bench *b, int type, const char *name)
{
    static double spent[VARIANTS][ROUNDS], ratio[VARIANTS][ROUNDS];

    for (int round = 0; round < ROUNDS; round++) {
        for (int k = 0; k < VARIANTS; k++) {
            int v = (k + round) % VARIANTS; /* none is always the first */

            join(b, v);
            spent[v][round] = connect_once(b, v, type);
        }
        for (int v = 0; v < VARIANTS; v++)
            ratio[v][round] = spent[v][round] / spent[0][round];
    }
    for (int v = 0; v < VARIANTS; v++) {
        double us = median(spent[v], ROUNDS), times = median(ratio[v], ROUNDS);

        if (v == 0)
            printf("| %s, bare | %.2f | 1.00 |\n", name, us);
        else
            printf("| %s, %zu selectors | %.2f | %.2f |\n", name, selectors[v], us, times);
    }
}

/* Takes in all that comes. */
_noreturn_ static void far_end(int ready)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(PORT) };
    int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;
    static char buf[1 << 20];

    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)));
    MUST(bind(fd, (struct sockaddr *)&at, sizeof(at)));
    MUST(listen(fd, 10));
    MUST(write(ready, ".", 1));
    for (;;) {
        int peer = accept(fd, NULL, NULL);

        while (read(peer, buf, sizeof(buf)) > 0)
            ;
        MUST(write(peer, ".", 1));
        (void)close(peer);
    }
}

/* Its namespace has the peer of our eth0. */
static pid_t start_far_end(void)
{
    int to[2], from[2];
    char command[512], c;
    pid_t pid;

    MUST(pipe(to));
    MUST(pipe(from));
    pid = fork();
    MUST(pid);
    if (pid == 0) {
        MUST(prctl(PR_SET_PDEATHSIG, SIGKILL));
        MUST(unshare(CLONE_NEWNET));
        MUST(write(from[1], ".", 1));
        MUST(read(to[0], &c, 1));
        far_end(from[1]);
    }
    MUST(read(from[0], &c, 1));
    snprintf(command, sizeof(command),
             "ip link set lo up && ip link add eth0 type veth peer name up0 netns %d && "
             "ip addr add 10.0.0.2/24 dev eth0 && ip link set eth0 up && "
             "nsenter --net=/proc/%d/ns/net sh -c "
             "'ip addr add 10.0.0.1/24 dev up0 && ip link set up0 up && ip link set lo up'",
             pid, pid);
    if (system(command) != 0) /* NOLINT(cert-env33-c): a command of ours */
        _exit(1);
    MUST(write(to[1], ".", 1));
    MUST(read(from[0], &c, 1));
    return pid;
}

static const struct sockaddr_in *far_address(void)
{
    static struct sockaddr_in to = { .sin_family = AF_INET };

    to.sin_port = htons(PORT);
    to.sin_addr.s_addr = htonl(0x0a000001);
    return &to;
}

/* Bytes a second. */
static double stream(void)
{
    static char buf[1 << 17];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    double start;
    char c;

    MUST(fd);
    MUST(connect(fd, (const struct sockaddr *)far_address(), sizeof(struct sockaddr_in)));
    start = now();
    for (size_t sent = 0; sent < STREAM_BYTES;) {
        ssize_t n = write(fd, buf, sizeof(buf));

        MUST(n);
        sent += (size_t)n;
    }
    MUST(shutdown(fd, SHUT_WR));
    MUST(read(fd, &c, 1));
    (void)close(fd);
    return STREAM_BYTES / (now() - start);
}

/* Small datagrams a second: the worst that there is for a program that sees each packet. */
static double datagrams(void)
{
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = *far_address();
    double start;

    to.sin_port = htons(PORT + 1);
    MUST(fd);
    MUST(connect(fd, (struct sockaddr *)&to, sizeof(to)));
    start = cpu_now();
    for (int i = 0; i < DATAGRAMS; i++)
        (void)send(fd, "x", 1, 0); /* nobody listens: now and then that is said */
    double rate = DATAGRAMS / (cpu_now() - start);
    (void)close(fd);
    return rate;
}

static void bench_rate(const struct bench *b, double (*run)(void), const char *name, double unit)
{
    static double rate[2][STREAM_ROUNDS], ratio[STREAM_ROUNDS];

    for (int round = 0; round < STREAM_ROUNDS; round++) {
        for (int k = 0; k < 2; k++) {
            int v = (k + round) % 2;

            join(b, v ? VARIANTS - 1 : 0);
            rate[v][round] = run();
        }
        ratio[round] = rate[1][round] / rate[0][round];
    }
    printf("| %s, bare | %.2f | 1.00 |\n", name, median(rate[0], STREAM_ROUNDS) / unit);
    printf("| %s, guarded | %.2f | %.3f |\n", name, median(rate[1], STREAM_ROUNDS) / unit,
           median(ratio, STREAM_ROUNDS));
}

static void find_cgroup2(char path[static 256])
{
    _cleanup_file_ FILE *f = fopen("/proc/mounts", "re");
    char line[512], where[256], kind[64];

    while (f && fgets(line, sizeof(line), f))
        if (sscanf(line, "%*s %255s %63s", where, kind) == 2 && streq(kind, "cgroup2")) {
            memcpy(path, where, sizeof(where));
            return;
        }
    (void)fprintf(stderr, "bench-bpf: no cgroup2 is mounted\n");
    _exit(1);
}

static void setup_programs(const char *cgroup, char fs[static 64], size_t n)
{
    _cleanup_bpf_ struct bpf *bpf = NULL;
    struct why why = { 0 };
    int r;

    snprintf(fs, 64, "/tmp/waymark-bench-XXXXXX");
    r = mkdtemp(fs) ? bpf_mount_fs(fs, &why) : -errno;
    if (r == 0)
        r = bpf_open(cgroup, fs, &bpf, &why);
    if (r == 0)
        r = put_network(bpf, &why);
    if (r == 0)
        r = load_selectors(bpf, n, &why);
    if (r < 0)
        die("setup", &why, r);
}

static void setup_variant(struct bench *b, int v, const char *top)
{
    snprintf(b->cgroups[v], sizeof(b->cgroups[v]), "%.200s/waymark-bench-%d-%d", top, getpid(), v);
    MUST(mkdir(b->cgroups[v], 0755));
    if (v != BARE)
        setup_programs(b->cgroups[v], b->fs[v], selectors[v]);
    join(b, v);
    b->listeners[v] = listen_on((in_port_t)(PORT + v));
}

/* Users who require one network each, every second uid; one of them another network than the rest. */
static struct guard *make_guard(size_t n, size_t other)
{
    struct guard *g = guard_new();
    int r = g ? 0 : -ENOMEM;

    for (uint32_t netid = 100; r == 0 && netid <= 101; netid++) {
        struct guard_network network = { .netid = netid, .flags = SOCKET_NETWORK_USABLE };

        r = guard_add_network(g, &network);
        if (r == 0)
            r = guard_add_chain(g, netid, false);
        if (r == 0)
            r = guard_add_port(g, netid, (int)netid);
    }
    for (uint32_t i = 0; r == 0 && i < n; i++)
        r = guard_add_entry(g, (struct uid_range){ 2 * i, 2 * i }, i == other ? 101 : 100);
    if (r < 0)
        die("guard", &(struct why){ 0 }, r);
    guard_sort(g);
    return g;
}

static double apply_ms(struct bpf *bpf, const struct guard *from, const struct guard *to)
{
    struct why why = { 0 };
    double start = now();
    int r = maps_apply_guard(bpf, from, to, &why);

    if (r < 0)
        die("apply", &why, r);
    return (now() - start) * 1e3;
}

/* From guards, as the daemon does it, to maps: the difference is found, written, and committed. */
static void bench_change(const struct bench *b)
{
    enum { MANY = 100000, LAST = VARIANTS - 1 };
    _cleanup_(guard_unrefp) struct guard *none = make_guard(0, 0);
    _cleanup_(guard_unrefp) struct guard *one = make_guard(MANY, MANY);
    _cleanup_(guard_unrefp) struct guard *other = make_guard(MANY, MANY / 2);
    double changed[ROUNDS], loaded;
    struct why why = { 0 };
    struct bpf *bpf;
    int r = bpf_open(b->cgroups[LAST], b->fs[LAST], &bpf, &why);

    if (r < 0)
        die("open", &why, r);
    (void)apply_ms(bpf, NULL, none);
    loaded = apply_ms(bpf, none, one);
    for (int i = 0; i < ROUNDS; i++)
        changed[i] = apply_ms(bpf, i % 2 ? other : one, i % 2 ? one : other);
    printf("\n| 100 000 uids in the maps | ms |\n|---|---|\n| loaded | %.1f |\n", loaded);
    printf("| one changed, with its commit | %.2f |\n", median(changed, ROUNDS));
    printf("| all gone | %.1f |\n", apply_ms(bpf, other, none));
    bpf_close(bpf);
}

static void teardown(struct bench *b, const char *top)
{
    char path[300];

    snprintf(path, sizeof(path), "%s/cgroup.procs", top);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    MUST(fd);
    MUST(write(fd, "0", 1));
    MUST(close(fd));
    for (int v = 0; v < VARIANTS; v++) {
        if (v != BARE) {
            (void)umount(b->fs[v]);
            (void)rmdir(b->fs[v]);
        }
        MUST(rmdir(b->cgroups[v]));
    }
}

int main(void)
{
    struct bench b = { .listeners = { 0 } };
    char top[256];
    pid_t far;

    find_cgroup2(top);
    MUST(unshare(CLONE_NEWNET));
    far = start_far_end();
    MUST(unshare(CLONE_NEWNS));
    MUST(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL));
    for (int v = 0; v < VARIANTS; v++)
        setup_variant(&b, v, top);
    printf("| socket() + connect() + close() on loopback | µs | times bare |\n|---|---|---|\n");
    bench_connect(&b, SOCK_STREAM, "TCP");
    bench_connect(&b, SOCK_DGRAM, "UDP");
    printf("\n| through a veth, 100 000 selectors | rate | of bare |\n|---|---|---|\n");
    bench_rate(&b, stream, "TCP stream (GB/s)", 1e9);
    bench_rate(&b, datagrams, "UDP datagrams of 1 byte (million/s)", 1e6);
    bench_change(&b);
    (void)kill(far, SIGKILL);
    (void)waitpid(far, NULL, 0);
    teardown(&b, top);
    return 0;
}
