/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The loader of apply/bpf.h on a line: one command in, one answer out ("ok …" or "error N TEXT").
 * test_bpf.py speaks with it; main() says what it understands.
 */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>

#include "apply/bpf.h"
#include "basic/fd.h"

enum { WORDS_MAX = 16 };

struct tool {
    struct bpf *bpf;
    char *words[WORDS_MAX + 1]; /* the rest is "" */
    struct why why;
    char fs[256];
    char answer[65536];
};

static uint32_t number(const struct tool *t, int i)
{
    return (uint32_t)strtoul(t->words[i], NULL, 0);
}

static struct uid_range range(const struct tool *t, int i)
{
    struct uid_range r = { 0 };

    if (uid_range_parse(t->words[i], 10, &r) < 0)
        abort();
    return r;
}

/* STRENGTH NETID FLAGS APP */
static struct socket_policy policy(const struct tool *t, int i)
{
    return (struct socket_policy){ .strength = (uint8_t)number(t, i),
                                   .netid = number(t, i + 1),
                                   .flags = (uint8_t)number(t, i + 2),
                                   .app = number(t, i + 3) };
}

/* The pinned map of that name, an fd or -1. */
static int open_map(const struct tool *t, const char *name)
{
    char path[512];
    glob_t found;
    int fd = -1;

    snprintf(path, sizeof(path), "%s/waymark/*/*/%s", t->fs, name);
    if (glob(path, 0, NULL, &found) == 0)
        fd = bpf_obj_get(found.gl_pathv[0]);
    globfree(&found);
    return fd;
}

static int do_probe(struct tool *t)
{
    return bpf_probe(t->words[1], t->words[2], &t->why);
}

static int do_mount(struct tool *t)
{
    return bpf_mount_fs(t->words[1], &t->why);
}

static int do_open(struct tool *t)
{
    struct bpf *b;
    int r = bpf_open(t->words[1], t->words[2], &b, &t->why);

    if (r < 0)
        return r;
    bpf_close(t->bpf);
    t->bpf = b;
    (void)str_set(t->fs, sizeof(t->fs), t->words[2]);
    snprintf(t->answer, sizeof(t->answer), "%s", bpf_has_past(b) ? "past" : "new");
    return 0;
}

static int do_remove(struct tool *t)
{
    uint64_t cookie;
    int r = bpf_netns_cookie(&cookie);

    return r < 0 ? r : bpf_remove(t->words[1], cookie, &t->why);
}

static int do_cookie(struct tool *t)
{
    uint64_t cookie;
    int r = bpf_netns_cookie(&cookie);

    if (r == 0)
        snprintf(t->answer, sizeof(t->answer), "%" PRIu64, cookie);
    return r;
}

/* ENABLED MARK_ALL DEFAULT FIRST_APPLICATION_UID */
static int do_commit(struct tool *t)
{
    struct bpf_settings s = { .enabled = number(t, 1),
                              .mark_all = number(t, 2),
                              .default_netid = number(t, 3),
                              .first_application_uid = number(t, 4) };

    return bpf_commit(t->bpf, &s, &t->why);
}

/* LO-HI policy: adds; LO-HI alone: takes away */
static int do_uid(struct tool *t)
{
    struct bpf_range item = { .uid = range(t, 1), .policy = policy(t, 2) };
    bool add = t->words[2][0];

    return bpf_change_ranges(t->bpf, BPF_UIDS, &item, add ? 0 : 1, &item, add ? 1 : 0, &t->why);
}

/* LO-HI NETID FLAGS */
static int do_vpn(struct tool *t)
{
    struct bpf_range item = { .uid = range(t, 1),
                              .vpn = { .netid = number(t, 2), .flags = number(t, 3) } };

    return bpf_change_ranges(t->bpf, BPF_VPNS, NULL, 0, &item, 1, &t->why);
}

static int do_cgroup(struct tool *t)
{
    struct socket_policy p = policy(t, 2);
    uint64_t id;
    int r = bpf_cgroup_id(t->words[1], &id, &t->why);

    return r < 0 ? r : bpf_put(t->bpf, BPF_CGROUPS, &id, t->words[2][0] ? &p : NULL, &t->why);
}

static int do_exe(struct tool *t)
{
    _cleanup_fd_ int fd = open(t->words[1], O_PATH | O_CLOEXEC);
    struct socket_policy p = policy(t, 2);
    struct map_executable key;
    int r = fd < 0 ? -errno : bpf_identify(t->bpf, fd, &key, &t->why);

    if (r < 0)
        return r;
    snprintf(t->answer, sizeof(t->answer), "%" PRIu64 " %" PRIu64, key.dev, key.ino);
    return bpf_put(t->bpf, BPF_EXECUTABLES, &key, t->words[2][0] ? &p : NULL, &t->why);
}

/* NETID FLAGS PERMISSION */
static int do_network(struct tool *t)
{
    struct map_network n = { .flags = number(t, 2), .permission = number(t, 3) };
    uint32_t netid = number(t, 1);

    return bpf_put(t->bpf, BPF_NETWORKS, &netid, &n, &t->why);
}

/* NETID IFINDEX: the network has it */
static int do_port(struct tool *t)
{
    struct map_port port = { .netid = number(t, 1), .ifindex = number(t, 2) };
    const uint8_t yes = 1;
    int r = bpf_put(t->bpf, BPF_PORTS, &port, &yes, &t->why);

    return r < 0 ? r : bpf_put(t->bpf, BPF_INTERFACES, &port.ifindex, &port.netid, &t->why);
}

/* UID PERMISSION PROTECTABLE */
static int do_user(struct tool *t)
{
    struct map_user user = { .has_permission = 1,
                             .permission = (uint8_t)number(t, 2),
                             .protectable = (uint8_t)number(t, 3) };
    uint32_t uid = number(t, 1);

    return bpf_put(t->bpf, BPF_USERS, &uid, &user, &t->why);
}

/* Makes the table of networks those that are named, all alike. */
static int do_networks(struct tool *t)
{
    uint32_t keys[WORDS_MAX];
    struct map_network values[WORDS_MAX] = { { 0 } };
    size_t n = 0;

    for (int i = 1; t->words[i][0]; i++)
        keys[n++] = number(t, i);
    return bpf_sync(t->bpf, BPF_NETWORKS, keys, values, n, &t->why);
}

static int do_fill(struct tool *t)
{
    return bpf_fill(t->bpf, &t->why);
}

static int do_stats(struct tool *t)
{
    _cleanup_free_ struct bpf_stats *all = NULL;
    size_t n = 0, at = 0;
    int r = bpf_read_stats(t->bpf, &all, &n, &t->why);

    for (size_t i = 0; i < n && r == 0; i++)
        at += (size_t)snprintf(t->answer + at, sizeof(t->answer) - at,
                               "%" PRIu64 ",%u,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%" PRIu64
                               ",%" PRIu64 ",%" PRIu64 ",%" PRIu64 " ",
                               all[i].key.app, all[i].key.netid, all[i].sum.packets_out,
                               all[i].sum.bytes_out, all[i].sum.packets_in, all[i].sum.bytes_in,
                               all[i].sum.drops[0], all[i].sum.drops[1], all[i].sum.drops[2]);
    return r;
}

static double now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e3 + (double)ts.tv_nsec / 1e6;
}

/* N FIRST policy: every other uid from FIRST on; how long that takes, one change, and its end. In ms. */
static int do_many(struct tool *t)
{
    size_t n = number(t, 1);
    _cleanup_free_ struct bpf_range *all = calloc(n, sizeof(*all));
    double start = now(), loaded, changed;
    struct bpf_settings s = { .enabled = true, .first_application_uid = 1000 };
    int r;

    for (size_t i = 0; all && i < n; i++) {
        uint32_t uid = number(t, 2) + 2 * (uint32_t)i;
        all[i] = (struct bpf_range){ .uid = { uid, uid }, .policy = policy(t, 3) };
    }
    r = all ? bpf_change_ranges(t->bpf, BPF_UIDS, &all[0], 0, all, n, &t->why) : -ENOMEM;
    loaded = now();
    if (r == 0) {
        struct bpf_range other = all[n / 2];

        other.policy.netid++;
        r = bpf_change_ranges(t->bpf, BPF_UIDS, &all[n / 2], 1, &other, 1, &t->why);
        if (r == 0)
            r = bpf_commit(t->bpf, &s, &t->why);
        all[n / 2] = other;
    }
    changed = now();
    if (r == 0)
        r = bpf_change_ranges(t->bpf, BPF_UIDS, all, n, NULL, 0, &t->why);
    snprintf(t->answer, sizeof(t->answer), "%.1f %.3f %.1f", loaded - start, changed - loaded,
             now() - changed);
    return r;
}

/* Its keys, where they are numbers. */
static int do_keys(struct tool *t)
{
    _cleanup_fd_ int fd = open_map(t, t->words[1]);
    uint32_t key;
    size_t at = 0;
    int r;

    for (r = bpf_map_get_next_key(fd, NULL, &key); r == 0; r = bpf_map_get_next_key(fd, &key, &key))
        at += (size_t)snprintf(t->answer + at, sizeof(t->answer) - at, "%s%u", at ? " " : "", key);
    return r == -ENOENT ? 0 : r;
}

enum { CHURN_FIRST = 1000, CHURN_UIDS = 512 };

/* Cuts CHURN_UIDS uids, all of them assigned, into ranges anew. */
static size_t cut(struct bpf_range *ranges)
{
    uint32_t at = CHURN_FIRST, end = CHURN_FIRST + CHURN_UIDS;
    size_t n = 0;

    while (at < end) {
        uint32_t hi = at + (uint32_t)random() % 100;

        hi = MIN(hi, end - 1);
        ranges[n++] = (struct bpf_range){ .uid = { at, hi },
                                          .policy = { .strength = SOCKET_REQUIRE,
                                                      .netid = 100 + (uint32_t)random() % 5 } };
        at = hi + 1;
    }
    return n;
}

/* Looks uids up until told to stop; ends with 1 when one was missing. */
_noreturn_ static void watch(int map, volatile unsigned *looks, const volatile bool *stop)
{
    while (!*stop || *looks == 0) {
        uint32_t uid = htonl(CHURN_FIRST + (uint32_t)random() % CHURN_UIDS);
        struct map_uid_prefix key = { .length = 32 };
        struct socket_policy p;

        memcpy(key.uid, &uid, sizeof(key.uid));
        if (bpf_map_lookup_elem(map, &key, &p) < 0 || p.netid < 100)
            _exit(1);
        ++*looks;
    }
    _exit(0);
}

/* N: ranges change N times while another process looks. Answers how often it did, and if one was bare. */
static int do_churn(struct tool *t)
{
    struct shared {
        unsigned looks;
        bool stop;
    } *shared =
        mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct bpf_range ranges[2][CHURN_UIDS];
    _cleanup_fd_ int fd = open_map(t, "uids");
    size_t n[2] = { 0, cut(ranges[1]) };
    int r = bpf_change_ranges(t->bpf, BPF_UIDS, ranges[0], 0, ranges[1], n[1], &t->why), status;
    pid_t pid = r == 0 ? fork() : -1;

    if (pid == 0)
        watch(fd, &shared->looks, &shared->stop);
    for (unsigned i = 0; (i < number(t, 1) || shared->looks < 2000) && r == 0; i++) {
        n[i % 2] = cut(ranges[i % 2]);
        r = bpf_change_ranges(t->bpf, BPF_UIDS, ranges[(i + 1) % 2], n[(i + 1) % 2], ranges[i % 2],
                              n[i % 2], &t->why);
        if (waitpid(pid, &status, WNOHANG) == pid)
            return why_set(&t->why, -EIO, "a uid had no policy");
    }
    shared->stop = true;
    if (pid > 0 && waitpid(pid, &status, 0) < 0)
        return -errno;
    snprintf(t->answer, sizeof(t->answer), "%u %d", shared->looks, status != 0);
    return r;
}

static const struct {
    const char *name;
    int (*run)(struct tool *t);
    bool needs_open;
} commands[] = {
    { "probe", do_probe, false },    { "mount", do_mount, false },
    { "open", do_open, false },      { "remove", do_remove, false },
    { "cookie", do_cookie, false },  { "commit", do_commit, true },
    { "uid", do_uid, true },         { "vpn", do_vpn, true },
    { "cgroup", do_cgroup, true },   { "exe", do_exe, true },
    { "network", do_network, true }, { "port", do_port, true },
    { "user", do_user, true },       { "networks", do_networks, true },
    { "fill", do_fill, true },       { "stats", do_stats, true },
    { "many", do_many, true },       { "keys", do_keys, true },
    { "churn", do_churn, true },
};

static int run(struct tool *t)
{
    for (size_t i = 0; i < ELEMENTSOF(commands); i++)
        if (streq(commands[i].name, t->words[0]))
            return commands[i].needs_open && !t->bpf ? -EBADF : commands[i].run(t);
    return why_set(&t->why, -EINVAL, "no command '%s'", t->words[0]);
}

static void split(struct tool *t, char *line)
{
    char *rest = line, *word;
    int n = 0;

    line[strcspn(line, "\n")] = '\0';
    while (n < WORDS_MAX && (word = strsep(&rest, " ")))
        t->words[n++] = word;
    while (n <= WORDS_MAX)
        t->words[n++] = (char *)"";
}

int main(void)
{
    _cleanup_free_ struct tool *t = calloc(1, sizeof(*t));
    _cleanup_free_ char *line = NULL;
    size_t size = 0;

    while (t && getline(&line, &size, stdin) > 0) {
        int r;

        split(t, line);
        t->why = (struct why){ 0 };
        t->answer[0] = '\0';
        r = run(t);
        if (r < 0)
            printf("error %d %s\n", -r, why_text(&t->why, r));
        else
            printf("ok %s\n", t->answer);
        (void)fflush(stdout);
    }
    if (t)
        bpf_close(t->bpf);
    return 0;
}
