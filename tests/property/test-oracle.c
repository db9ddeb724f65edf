/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The kernel as oracle: random models are applied to a real kernel, beside random rules and routes
 * of others; then random packets are asked of the simulator and of RTM_GETROUTE. Both must agree on
 * every one. Arguments: [models [packets per model [seed]]].
 */

#include <errno.h>
#include <stdio.h>

#include "apply/applier.h"
#include "basic/log.h"
#include "property/netns.h"
#include "property/random.h"

/* What others may have put there: it must be looked up as the kernel does, not only survive. */
static const char *const foreign_rules[] = {
    "rule add prio 100 from 10.0.1.2 lookup 200",
    "rule add prio 150 to 10.0.2.0/24 lookup 201",
    "rule add prio 160 fwmark 0xca6c lookup main",
    "rule add prio 170 not fwmark 0x1234 lookup 200 suppress_prefixlength 0",
    "rule add prio 180 oif eth1 lookup 201",
    "rule add prio 190 uidrange 995-1003 goto 12500",
    "rule add prio 12500 nop",
    "rule add prio 200 uidrange 1001-1001 blackhole",
    "rule add prio 7000 fwmark 0x10000/0x30000 prohibit",
    "rule add prio 21500 lookup main suppress_prefixlength 0",
    "rule add prio 31500 uidrange 1000-1010 unreachable",
    "rule add prio 5000 ipproto tcp lookup 201",
    "rule add prio 5001 ipproto udp uidrange 1005-1006 lookup 201",
    "rule add prio 5002 tos 0x10 lookup 201",
    "rule add prio 5003 dport 53 lookup 201",
    "-6 rule add prio 100 from fd00:1::2 lookup 200",
    "-6 rule add prio 150 to fd00:2::/64 lookup 201",
    "-6 rule add prio 160 not uidrange 990-1000 lookup 201",
    "-6 rule add prio 180 oif eth1 lookup 201",
    "-6 rule add prio 190 uidrange 995-1003 goto 12500",
    "-6 rule add prio 12500 nop",
    "-6 rule add prio 7000 fwmark 0x10000/0x30000 prohibit",
    "-6 rule add prio 7001 lookup 200 suppress_prefixlength 16",
    "-6 rule add prio 31500 uidrange 1000-1010 blackhole",
};

static const char *const foreign_routes[] = {
    "route add default via 10.0.1.1 table 200",
    "route add 10.0.2.0/24 dev eth2 table 200",
    "route add 8.0.0.0/8 via 10.0.0.7 table 200 tos 0x10",
    "route add prohibit 10.0.3.0/24 table 200",
    "route add throw 198.51.100.0/24 table 200",
    "route add unreachable default table 201 metric 9",
    "route add 10.0.2.128/25 dev eth1 table 201",
    "route add default dev eth2 table 201 scope link metric 5",
    "route add blackhole 10.50.1.0/24",
    "route add 10.50.0.0/16 via 10.0.2.9 metric 3",
    "-6 route add default via fd00:1::1 table 200",
    "-6 route add fd00:2::/64 dev eth2 table 200 metric 5",
    "-6 route add fd00:2::/64 dev eth1 table 200 metric 4",
    "-6 route add default from fd00:1::/64 dev eth1 table 201",
    "-6 route add default dev eth2 table 201",
    "-6 route add unreachable fd50::/16 table 201",
    "-6 route add throw 2001:db8::/32 table 201",
    "-6 route add prohibit fd50:1::/32",
    "-6 route add 2001:db8::/48 dev eth2 metric 7",
    "-6 route add 2001:db8::/48 dev eth0 metric 8",
};

static void add_foreign(struct rng *g)
{
    struct strbuf b = STRBUF_INIT;

    for (size_t i = 0; i < ELEMENTSOF(foreign_rules); i++)
        if (rng_one_in(g, 6))
            strbuf_add(&b, "%s\n", foreign_rules[i]);
    for (size_t i = 0; i < ELEMENTSOF(foreign_routes); i++)
        if (rng_one_in(g, 2))
            strbuf_add(&b, "%s\n", foreign_routes[i]);
    netns_ip(strbuf_text(&b), true);
    strbuf_done(&b);
}

/* Everything but what netns_enter() made. Rules of the kernel and ours are not others'. */
static void remove_foreign(const struct kernel *k)
{
    struct strbuf b = STRBUF_INIT;

    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < k->n_rules[f]; i++) {
            const struct rtnl_rule *rule = &k->rules[f][i];
            if (rule->protocol != RTPROT_WAYMARK && rule->protocol != RTPROT_KERNEL)
                strbuf_add(&b, "%s rule del prio %u\n", f ? "-6" : "-4", rule->priority);
        }
    for (unsigned f = 0; f < 2; f++)
        strbuf_add(&b,
                   "%1$s route flush table 200\n%1$s route flush table 201\n"
                   "%1$s route flush table main proto boot metric 3\n",
                   f ? "-6" : "-4");
    strbuf_add(&b, "route del blackhole 10.50.1.0/24\nroute del 10.50.0.0/16 metric 3\n"
                   "-6 route del prohibit fd50:1::/32\n-6 route del 2001:db8::/48 metric 7\n"
                   "-6 route del 2001:db8::/48 metric 8\n");
    netns_ip(strbuf_text(&b), true);
    strbuf_done(&b);
}

static void trace(void *data, const struct sim_step *step)
{
    struct strbuf *b = data;

    strbuf_add(b, "  %5u ", step->rule->priority);
    rtnl_rule_print(step->rule, b);
    strbuf_add(b, "  [%s; %s]", sim_mismatch_to_string(step->mismatch),
               sim_outcome_to_string(step->outcome));
    if (step->route) {
        strbuf_add(b, "  ");
        plan_route_print(step->route, NULL, b);
    }
    strbuf_add(b, "\n");
}

static void report(const struct kernel *k, const struct rtnl_flow *flow,
                   const struct sim_result *sim, const struct kernel_answer *answer)
{
    struct strbuf b = STRBUF_INIT;
    char dst[IP_TEXT_MAX], src[IP_TEXT_MAX], gw[IP_TEXT_MAX];

    printf("DISAGREE: dst %s src %s uid %u mark 0x%x oif %d\n", ip_addr_format(&flow->dst, dst),
           ip_addr_format(&flow->src, src), flow->uid, flow->mark, flow->oif);
    printf("  simulator: error %d type %u oif %d table %u gw %s src %s%s\n", sim->error, sim->type,
           sim->oif, sim->table, ip_addr_format(&sim->gateway, gw), ip_addr_format(&sim->src, src),
           sim->uncertain ? " (uncertain)" : "");
    printf("  kernel:    error %d type %u oif %d table %u gw %s src %s\n", answer->error,
           answer->type, answer->oif, answer->table, ip_addr_format(&answer->gateway, gw),
           ip_addr_format(&answer->src, src));
    (void)simulate(k, flow, trace, &b);
    fputs(strbuf_text(&b), stdout);
    strbuf_done(&b);
}

struct totals {
    unsigned long models, packets, uncertain, refused, disagree, rules;
};

static void ask_packets(struct rng *g, struct observer *o, const struct kernel *k,
                        const struct model *m, unsigned n, struct totals *t)
{
    for (unsigned i = 0; i < n; i++) {
        struct rtnl_flow flow = random_flow(g, k, m);
        struct sim_result sim = simulate(k, &flow, NULL, NULL);
        struct kernel_answer answer;

        if (observer_getroute(o, &flow, &answer) < 0)
            abort();
        t->packets++;
        t->refused += answer.error < 0;
        t->uncertain += sim.uncertain;
        if (sim.uncertain || sim_agrees(&flow, &sim, &answer))
            continue;
        if (t->disagree++ < 5)
            report(k, &flow, &sim, &answer);
    }
}

static void one_model(struct rng *g, struct observer *o, struct applier *a, unsigned packets,
                      struct totals *t)
{
    _cleanup_kernel_ struct kernel facts = { 0 }, applied = { 0 }, after = { 0 };
    _cleanup_(model_freep) struct model *m = NULL;
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *wanted = NULL, *empty = plan_new_empty();
    _cleanup_ops_ struct ops ops = { 0 }, back = { 0 };
    int sysctls[SYSCTL_MAX] = { -1, -1, -1 };
    struct transaction_result result;
    struct why why = { 0 };

    if (rng_one_in(g, 2))
        add_foreign(g);
    netns_snapshot(o, &facts);
    m = random_model(g, &facts);
    wanted = plan_of(m, &facts, false, NULL);
    if (plan_diff(empty, wanted, NULL, &ops) < 0)
        abort();
    if (transaction_run(&ops, applier_apply, a, &result, &why) < 0) {
        /* a random route may be one that the kernel refuses: all is undone. A rule never is. */
        if (ops.items[result.failed].kind != OP_ROUTE_ADD || result.undo_failed) {
            log_error("%s", why.text);
            abort();
        }
        netns_snapshot(o, &after);
        remove_foreign(&after);
        return;
    }
    netns_snapshot(o, &applied);
    t->models++;
    t->rules += applied.n_rules[0] + applied.n_rules[1];
    ask_packets(g, o, &applied, m, packets, t);

    if (plan_from_kernel(&applied, sysctls, &stands, NULL) < 0 ||
        plan_diff(stands, empty, NULL, &back) < 0 ||
        transaction_run(&back, applier_apply, a, NULL, &why) < 0) {
        log_error("cannot take a model away: %s", why.text);
        abort();
    }
    remove_foreign(&applied);
}

int main(int argc, char **argv)
{
    unsigned models = argc > 1 ? (unsigned)atoi(argv[1]) : 2000;
    unsigned packets = argc > 2 ? (unsigned)atoi(argv[2]) : 40;
    struct rng g = { .state = argc > 3 ? strtoull(argv[3], NULL, 0) : 0x5eed };
    struct observer o = OBSERVER_INIT;
    struct applier a = APPLIER_INIT;
    struct totals t = { 0 };

    netns_enter(4);
    if (observer_open(&o) < 0 || applier_open(&a) < 0)
        return 1;
    for (unsigned tries = 0; t.models < models && tries < 2 * models + 100; tries++)
        one_model(&g, &o, &a, packets, &t);
    printf("oracle: %lu models (%.0f rules each), %lu packets, %lu refused, %lu uncertain, "
           "%lu disagreements\n",
           t.models, t.models ? (double)t.rules / (double)t.models : 0.0, t.packets, t.refused,
           t.uncertain, t.disagree);
    observer_close(&o);
    applier_close(&a);
    return t.disagree == 0 && t.models >= models ? 0 : 1;
}
