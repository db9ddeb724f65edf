/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The same source decides alike, compiled for us and for BPF: sockets' marks, the guard's verdict, the choice
 * among selectors. Random inputs, drawn from few values so that every step is reached.
 *
 *   test-decide-bpf [N [SEED]]
 */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <stdio.h>
#include <sys/mman.h>

#include "property/decide.h"
#include "property/decide.skel.h"
#include "property/random.h"

enum { TRIALS = 1000000 };

struct coverage {
    unsigned long reasons[SOCKET_REASON_MAX], verdicts[DOOR_VERDICT_MAX];
    unsigned long selectors[SOCKET_SELECTOR_MAX];
};

static uint32_t any_netid(struct rng *g)
{
    static const uint32_t few[] = { 0, 0, 1, NETID_UNREACHABLE, 100, 101, 102, NETID_MAX };

    return rng_one_in(g, 50) ? rng_u32(g) : few[rng_below(g, ELEMENTSOF(few))];
}

static uint32_t any_permission(struct rng *g)
{
    static const uint32_t few[] = { PERMISSION_NONE, PERMISSION_NETWORK, PERMISSION_SYSTEM, 2 };

    return rng_one_in(g, 50) ? rng_u32(g) : few[rng_below(g, ELEMENTSOF(few))];
}

static uint32_t any_mark(struct rng *g)
{
    uint32_t mark = any_netid(g) & MARK_NETID_MASK;

    mark |= rng_below(g, 4) * MARK_EXPLICIT;
    mark |= mark_permission(any_permission(g) & 3);
    return rng_one_in(g, 10) ? rng_u32(g) : mark;
}

static uint32_t any_bool(struct rng *g)
{
    return rng_one_in(g, 50) ? rng_u32(g) : rng_below(g, 2);
}

static struct socket_network any_network(struct rng *g)
{
    return (struct socket_network){ .netid = any_netid(g),
                                    .flags = rng_below(g, 32),
                                    .permission = any_permission(g) };
}

static struct socket_question any_question(struct rng *g)
{
    struct socket_question q = {
        .command = rng_one_in(g, 50) ? rng_u32(g) : rng_below(g, SOCKET_COMMAND_MAX),
        .uid = rng_one_in(g, 20) ? UINT32_MAX : rng_u32(g),
        .permission = any_permission(g),
        .protectable = any_bool(g),
        .mark = any_mark(g),
        .strength = rng_one_in(g, 50) ? rng_u32(g) : rng_below(g, SOCKET_NONE + 1),
        .assigned = any_network(g),
        .present = any_network(g),
        .vpn = any_network(g),
        .selected = any_network(g),
        .default_netid = any_netid(g),
        .scoped = any_bool(g),
        .scope_netid = any_netid(g),
        .user_netid = any_netid(g),
    };

    q.select_netid = rng_one_in(g, 4) ? any_netid(g) : q.selected.netid;
    return q;
}

static struct socket_policy any_policy(struct rng *g)
{
    return (struct socket_policy){
        .netid = any_netid(g),
        .strength = (uint8_t)rng_below(g, SOCKET_NONE + 2),
        .flags = (uint8_t)(rng_one_in(g, 2) ? 0 : rng_below(g, 16)),
        .app = rng_u32(g),
    };
}

static void fill(struct rng *g, struct decide_trial *t)
{
    memset(t, 0xa5, sizeof(*t));
    t->question = any_question(g);
    t->policy = any_policy(g);
    t->door_mark = any_mark(g);
    t->incoming = (uint8_t)rng_below(g, 2);
    t->loopback = rng_one_in(g, 8);
    t->protectable = (uint8_t)rng_below(g, 2);
    t->on_vpn = (uint8_t)rng_below(g, 2);
    t->port = (uint8_t)rng_below(g, 2);
    t->outside = (uint8_t)rng_below(g, 2);
    for (size_t i = 0; i < ELEMENTSOF(t->found); i++)
        t->found[i] = any_policy(g);
}

static bool agrees(const struct decide_trial *t, struct coverage *c)
{
    struct socket_answer answer = socket_decide(&t->question);
    enum door_verdict verdict = decide_door(t);
    struct socket_policy chosen;
    enum socket_selector selector = decide_policy(t, &chosen);

    c->reasons[answer.reason]++;
    c->verdicts[verdict]++;
    c->selectors[selector]++;
    return answer.error == t->answer.error && answer.mark == t->answer.mark &&
           answer.reason == t->answer.reason && verdict == t->verdict && selector == t->selector &&
           mem_equal(&chosen, &t->chosen, sizeof(chosen));
}

static void print(const struct decide_trial *t)
{
    struct socket_answer a = socket_decide(&t->question);

    printf("DISAGREE: command %u mark 0x%x strength %u: here %d 0x%x %u, BPF %d 0x%x %u; door %u, "
           "BPF %u; selector BPF %u\n",
           t->question.command, t->question.mark, t->question.strength, a.error, a.mark, a.reason,
           t->answer.error, t->answer.mark, t->answer.reason, (unsigned)decide_door(t), t->verdict,
           t->selector);
}

static unsigned never(const unsigned long *counts, size_t n)
{
    unsigned zeros = 0;

    for (size_t i = 0; i < n; i++)
        zeros += counts[i] == 0;
    return zeros;
}

/* A batch: how many of it disagree. */
static unsigned run(struct rng *g, int program, struct decide_trial *trials, struct coverage *c)
{
    struct bpf_test_run_opts options = { .sz = sizeof(options) };
    unsigned bad = 0;

    for (size_t i = 0; i < DECIDE_BATCH; i++)
        fill(g, &trials[i]);
    if (bpf_prog_test_run_opts(program, &options) < 0 || options.retval != DECIDE_BATCH) {
        perror("cannot run the BPF program");
        return DECIDE_BATCH;
    }
    for (size_t i = 0; i < DECIDE_BATCH; i++)
        if (!agrees(&trials[i], c) && bad++ == 0)
            print(&trials[i]);
    return bad;
}

int main(int argc, char **argv)
{
    unsigned long wanted = argc > 1 ? strtoul(argv[1], NULL, 0) : TRIALS, done = 0, bad = 0;
    struct rng g = { .state = argc > 2 ? strtoull(argv[2], NULL, 0) : 0xb9f };
    struct coverage c = { 0 };
    struct decide_bpf *skel = decide_bpf__open_and_load();
    struct decide_trial *trials;
    unsigned unseen;

    if (!skel)
        return 1;
    trials = mmap(NULL, sizeof(*trials) * DECIDE_BATCH, PROT_READ | PROT_WRITE, MAP_SHARED,
                  bpf_map__fd(skel->maps.trials), 0);
    if (trials == MAP_FAILED)
        return 1;
    for (; done < wanted && bad == 0; done += DECIDE_BATCH)
        bad += run(&g, bpf_program__fd(skel->progs.decide), trials, &c);
    unseen = never(c.reasons, SOCKET_REASON_MAX) + never(c.verdicts, DOOR_VERDICT_MAX) +
             never(c.selectors, SOCKET_SELECTOR_MAX);
    printf("decide-bpf: %lu questions, %lu times BPF decided otherwise%s\n", done, bad,
           unseen ? "; a reason was never seen" : "");
    decide_bpf__destroy(skel);
    return bad > 0 || unseen > 0;
}
