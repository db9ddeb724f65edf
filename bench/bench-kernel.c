/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * What the kernel takes, in a network namespace of its own (needs root):
 *
 *   apply    a model of 100 networks and 200 assignments, from nothing and one change of it
 *   rules    the kernel's own cost per policy rule: a UDP socket() + connect() + close(), and the
 *            installation of the rules, for growing numbers of rules that do not match; ratios to the
 *            run with none
 *   guard    a UDP socket() + connect() + send() + close() with a guard of growing size and no rules
 *
 * Each in a namespace of its own.
 */

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "apply/applier.h"
#include "apply/nft.h"
#include "basic/clock.h"
#include "decide/host.h"
#include "model/edit.h"
#include "plan/ops.h"
#include "property/netns.h"

enum { NETWORKS = 100, ASSIGNMENTS = 200, CONNECTS = 20000, ROUNDS = 5 };

static void fail(const char *what, const struct why *why)
{
    fprintf(stderr, "bench: %s: %s\n", what, why_text(why, -EIO));
    exit(1);
}

static void make_links(unsigned n)
{
    struct strbuf b = STRBUF_INIT;

    for (unsigned i = 0; i < n; i++)
        strbuf_add(&b,
                   "link add up%u type veth peer name px%u\nlink set up%u up\nlink set px%u up\n"
                   "addr add 10.%u.%u.2/24 dev up%u\n"
                   "route add default via 10.%u.%u.1 dev up%u metric %u\n",
                   i, i, i, i, 100 + i / 250, i % 250, i, 100 + i / 250, i % 250, i, i + 100);
    netns_ip(strbuf_text(&b), false);
    strbuf_done(&b);
}

static struct model *make_model(const struct kernel *k)
{
    struct model *m = model_new();

    m->host_networks = true;
    if (host_update(m, k) < 0)
        fail("cannot make the host's networks", NULL);
    for (unsigned i = 0; i < ASSIGNMENTS; i++) {
        char name[16];
        struct assignment a = {
            .selector = { .kind = SELECTOR_UID, .uid = { 20000 + 2 * i, 20000 + 2 * i } },
            .origin = ORIGIN_COMMAND,
        };
        struct why why = { 0 };

        snprintf(name, sizeof(name), "up%u", i % NETWORKS);
        a.network = rstr_new(name);
        if (edit_assign(m, &a, &why) < 0)
            fail("cannot assign", &why);
    }
    return m;
}

static struct plan *make_plan(const struct model *m, const struct kernel *k, const struct plan *old)
{
    struct plan_input input = { .model = m, .kernel = k, .generation = 1, .guard = true };
    struct plan *p;

    if (plan_build(&input, old, &p) < 0)
        fail("cannot plan", NULL);
    return p;
}

static double apply_ms(struct applier *a, const struct plan *from, const struct plan *to,
                       size_t *ret_ops)
{
    struct ops ops = { 0 };
    struct why why = { 0 };
    usec_t start = clock_monotonic();

    if (plan_diff(from, to, NULL, &ops) < 0 ||
        transaction_run(&ops, applier_apply, a, NULL, &why) < 0)
        fail("cannot apply", &why);
    *ret_ops = ops.n;
    ops_done(&ops);
    return (double)(clock_monotonic() - start) / 1000.0;
}

static void bench_apply(struct observer *o, struct applier *a)
{
    _cleanup_kernel_ struct kernel k = { 0 };
    struct assignment change = {
        .selector = { .kind = SELECTOR_UID, .uid = { 20100, 20100 } },
        .network = rstr_new("up7"),
        .origin = ORIGIN_COMMAND,
    };
    struct plan *empty = plan_new_empty(), *p, *q;
    struct model *m, *next;
    size_t ops;
    double ms;

    netns_snapshot(o, &k);
    m = make_model(&k);
    p = make_plan(m, &k, NULL);
    ms = apply_ms(a, empty, p, &ops);
    printf("| %d networks, %d assignments, from nothing | %zu | %.1f |\n", NETWORKS, ASSIGNMENTS,
           ops, ms);
    next = model_copy(m);
    if (edit_assign(next, &change, NULL) < 0)
        fail("cannot assign", NULL);
    q = make_plan(next, &k, p);
    ms = apply_ms(a, p, q, &ops);
    printf("| one of them changed | %zu | %.2f |\n", ops, ms);
    ms = apply_ms(a, q, empty, &ops);
    printf("| all taken away | %zu | %.1f |\n", ops, ms);
    plan_unref(p);
    plan_unref(q);
    plan_unref(empty);
    model_free(m);
    model_free(next);
}

/* One round: µs per UDP socket() + connect() (+ send()) + close(). */
static double connect_round(unsigned n, bool send_one)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
    usec_t start = clock_monotonic();

    (void)inet_pton(AF_INET, "10.100.0.1", &to.sin_addr);
    for (unsigned i = 0; i < n; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
            (send_one && send(fd, "x", 1, 0) != 1))
            fail("cannot send", NULL);
        (void)close(fd);
    }
    return (double)(clock_monotonic() - start) / n;
}

static int compare_doubles(const void *x, const void *y)
{
    const double *a = x, *b = y;
    return CMP(*a, *b);
}

static double connect_usec(bool send_one)
{
    double rounds[ROUNDS];

    (void)connect_round(CONNECTS / 10, send_one); /* warm */
    for (int i = 0; i < ROUNDS; i++)
        rounds[i] = connect_round(CONNECTS / 4, send_one);
    qsort(rounds, ROUNDS, sizeof(rounds[0]), compare_doubles);
    return rounds[ROUNDS / 2];
}

static void add_rules(struct applier *a, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        struct op op = { .kind = OP_RULE_ADD,
                         .rule = { .priority = 8000,
                                   .uid = { 100000 + 2 * i, 100000 + 2 * i },
                                   .table = 1002,
                                   .action = 1,
                                   .families = 1,
                                   .iif = "lo" } };
        struct why why = { 0 };

        if (applier_apply(a, &op, &why) < 0)
            fail("cannot add a rule", &why);
    }
}

static void bench_rules(struct observer *o, struct applier *a)
{
    static const unsigned counts[] = { 0, 3, 10, 30, 100, 300, 1000, 3000, 10000 };
    double bare = 0;
    unsigned there = 0;

    (void)o;
    for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
        unsigned n = counts[i];
        usec_t start = clock_monotonic();
        double install, us;

        add_rules(a, there, n);
        install = (double)(clock_monotonic() - start) / MAX(n - there, 1U);
        there = n;
        us = connect_usec(false);
        if (i == 0)
            bare = us;
        printf("| %u | %.1f | %.2f | %.1f |\n", n, us, us / bare, n ? install : 0.0);
    }
}

static void bench_guard(struct observer *o, struct applier *a)
{
    static const unsigned counts[] = { 0, 10, 100, 1000, 10000, 100000 };
    struct guard *stands = NULL;
    double bare = 0;

    (void)o;
    for (size_t i = 0; i < ELEMENTSOF(counts); i++) {
        struct guard *g = guard_new();
        struct why why = { 0 };
        unsigned commits = 0;
        usec_t start;
        double us, ms;

        for (unsigned j = 0; j < counts[i]; j++)
            if (guard_add_entry(g, (struct uid_range){ 100000 + 2 * j, 100000 + 2 * j }, 0) < 0)
                fail("no memory", NULL);
        guard_sort(g);
        start = clock_monotonic();
        if (nft_apply_guard(&a->nft, stands, g, a->has_arp, &commits, &why) < 0)
            fail("cannot apply the guard", &why);
        ms = (double)(clock_monotonic() - start) / 1000.0;
        us = connect_usec(true);
        if (i == 0)
            bare = us;
        printf("| %u | %.1f | %.2f | %.1f |\n", counts[i], us, us / bare, ms);
        guard_unref(stands);
        stands = g;
    }
    guard_unref(stands);
}

/* Runs one bench in a child with a namespace and sockets of its own. */
static void in_namespace(unsigned links, void (*bench)(struct observer *o, struct applier *a))
{
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    int status;
    pid_t child;

    (void)fflush(stdout);
    child = fork();
    if (child > 0) {
        if (waitpid(child, &status, 0) < 0 || status != 0)
            exit(1);
        return;
    }
    netns_enter(0);
    make_links(links);
    netns_ip("link set up0 arp off\n", false); /* packets leave at once */
    if (observer_open(&o) < 0 || applier_open(&a) < 0 || !a.has_guard)
        fail("cannot open netlink sockets", NULL);
    bench(&o, &a);
    (void)fflush(stdout);
    _exit(0);
}

int main(void)
{
    printf("| applied to the kernel | ops | ms |\n|---|---|---|\n");
    in_namespace(NETWORKS, bench_apply);
    printf("\n| rules that do not match | connect, µs | ÷ none | installing one, µs |\n"
           "|---|---|---|---|\n");
    in_namespace(1, bench_rules);
    printf("\n| guard entries | connect and send, µs | ÷ none | installing the difference, ms |\n"
           "|---|---|---|---|\n");
    in_namespace(1, bench_guard);
    return 0;
}
