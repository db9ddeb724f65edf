/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * The kernel as oracle: random models are applied to a real kernel, beside random rules, routes and
 * addresses of others, with links that went down, lost their carrier or were renamed; then random
 * packets are asked of the simulator and of RTM_GETROUTE. Both must agree on every one. Where the
 * simulator says that it is uncertain, a multipath route must be the reason, and the kernel's choice
 * be one of its next hops. Arguments: [models [packets per model [seed]]].
 */

#include <errno.h>
#include <stdio.h>

#include "apply/applier.h"
#include "basic/log.h"
#include "property/coverage.h"
#include "property/random.h"
#include "property/world.h"

enum { MODELS = 2000, LINKS = 4, STRETCHES = 24 /* of models between two events */ };

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

/*
 * Left out, because the simulator is not told enough of them: IPv6 routes by a nexthop object that is
 * a blackhole (to the kernel they refuse whatever interface is asked for); nexthop objects on a link
 * with addresses of several scopes (all their routes share one source, whoever asked first).
 */
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
    "route add 10.51.0.0/16 nexthop via 10.0.1.9 nexthop via 10.0.2.9",
    "route add 198.51.100.0/24 table 200 nexthop via 10.0.1.9 nexthop dev eth2 weight 3",
    "route add 10.52.0.0/16 nexthop via 10.0.1.8 nexthop via 10.0.1.9",
    "nexthop add id 1 via 10.0.1.7 dev eth1",
    "nexthop add id 2 dev eth0",
    "nexthop add id 3 blackhole",
    "nexthop add id 4 group 1/2",
    "route add 10.53.0.0/16 nhid 1",
    "route add 10.54.0.0/16 nhid 2 metric 7",
    "route add 10.55.0.0/16 nhid 3",
    "route add 10.56.0.0/16 nhid 4",
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
    "-6 route add fd51::/16 nexthop via fd00:1::9 nexthop via fd00:2::9",
    "-6 route add fd52::/16 table 200 nexthop via fd00:1::9 nexthop via fd00:2::9",
    "-6 nexthop add id 11 via fd00:1::7 dev eth1",
    "-6 nexthop add id 12 via fd00:2::7 dev eth2",
    "-6 nexthop add id 14 group 11/12",
    "-6 route add fd53::/16 nhid 11",
    "-6 route add fd56::/16 nhid 14",
};

/*
 * A second one of the subnet, one of a smaller and one of another subnet, of other scopes, a peer's.
 * Left out: a peer with a subnet, which is not read (the source of IPv4 goes by it).
 */
static const char *const foreign_addrs[] = {
    "10.0.1.77/24 dev eth1",
    "10.0.1.130/25 dev eth1",
    "192.168.9.1/24 dev eth1",
    "10.57.0.1/16 dev eth2 scope link",
    "10.58.0.1/16 dev eth2 scope host",
    "10.59.0.1 peer 10.59.0.2/32 dev eth3",
    "-6 fd00:1::77/64 dev eth1 nodad",
    "-6 fd57::1/64 dev eth2 nodad",
    "-6 fd59::1 peer fd59::2/128 dev eth3 nodad",
};

/* "addr add …" or "addr del …", in the family that the address says. */
static void add_addr_line(struct strbuf *b, const char *verb, const char *addr)
{
    bool six = startswith(addr, "-6 ");

    strbuf_add(b, "%saddr %s %s\n", six ? "-6 " : "", verb, addr + (six ? 3 : 0));
}

static void add_foreign(struct rng *g)
{
    struct strbuf b = STRBUF_INIT;

    for (size_t i = 0; i < ELEMENTSOF(foreign_addrs); i++)
        if (rng_one_in(g, 4))
            add_addr_line(&b, "add", foreign_addrs[i]);
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
    for (size_t i = 0; i < ELEMENTSOF(foreign_routes); i++) {
        bool six = startswith(foreign_routes[i], "-6 ");
        const char *text = foreign_routes[i] + (six ? 3 : 0);

        if (startswith(text, "route add "))
            strbuf_add(&b, "%sroute del %s\n", six ? "-6 " : "", text + STRLEN("route add "));
    }
    for (size_t i = 0; i < ELEMENTSOF(foreign_addrs); i++)
        add_addr_line(&b, "del", foreign_addrs[i]);
    strbuf_add(&b, "nexthop flush\n");
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
    unsigned long models, packets, uncertain, refused, disagree, rules, skipped;
    unsigned long events[EVENT_MAX];
    struct coverage coverage;
};

struct test {
    struct world world;
    struct observer observer;
    struct applier applier;
    struct totals totals;
};

/* Has the kernel chosen a next hop of the multipath route that the simulator found? */
static bool is_next_hop(const struct kernel *k, const struct sim_result *sim,
                        const struct kernel_answer *answer)
{
    const struct rtnl_route *routes;
    size_t n;

    if (sim->error < 0 || answer->error < 0 || !sim->route || sim->table != answer->table)
        return false;
    n = kernel_table(k, sim->route->family, sim->table, &routes);
    for (size_t i = 0; i < n; i++)
        if (plan_route_compare(&routes[i], sim->route) == 0 && routes[i].oif == answer->oif &&
            ip_addr_equal(&routes[i].gateway, &answer->gateway))
            return true;
    return false;
}

static bool has_multipath(const struct kernel *k)
{
    for (unsigned f = 0; f < 2; f++)
        for (size_t i = 0; i < k->n_routes[f]; i++)
            if (k->routes[f][i].nh_index > 0)
                return true;
    return false;
}

static bool agrees(const struct kernel *k, const struct rtnl_flow *flow,
                   const struct sim_result *sim, const struct kernel_answer *answer)
{
    if (sim_agrees(flow, sim, answer))
        return true;
    return sim->uncertain && is_next_hop(k, sim, answer);
}

static void ask_packets(struct rng *g, struct test *test, const struct kernel *k,
                        const struct model *m, unsigned n)
{
    struct totals *t = &test->totals;
    bool multipath = has_multipath(k);

    for (unsigned i = 0; i < n; i++) {
        struct rtnl_flow flow = random_flow(g, k, m);
        struct sim_result sim = simulate(k, &flow, NULL, NULL);
        struct kernel_answer answer;

        if (observer_getroute(&test->observer, &flow, &answer) < 0)
            abort();
        t->packets++;
        t->refused += answer.error < 0;
        t->uncertain += sim.uncertain;
        if ((!agrees(k, &flow, &sim, &answer) || (sim.uncertain && !multipath)) &&
            t->disagree++ < 5)
            report(k, &flow, &sim, &answer);
    }
}

/* false when the kernel refuses a route; all is undone then. A rule is never refused. */
static bool apply(struct test *test, const struct ops *ops)
{
    struct transaction_result result;
    struct why why = { 0 };

    if (transaction_run(ops, applier_apply, &test->applier, &result, &why) == 0)
        return true;
    if (ops->items[result.failed].kind != OP_ROUTE_ADD || result.undo_failed) {
        log_error("%s", why.text);
        abort();
    }
    return false;
}

static void take_away(struct test *test, const struct kernel *applied)
{
    static const int unknown[SYSCTL_MAX] = { -1, -1, -1 };
    _cleanup_(plan_unrefp) struct plan *stands = NULL, *empty = plan_new_empty();
    _cleanup_ops_ struct ops back = { 0 };

    if (plan_from_kernel(applied, unknown, &stands, NULL) < 0 ||
        plan_diff(stands, empty, NULL, &back) < 0)
        abort();
    if (!apply(test, &back))
        abort();
}

static void one_model(struct rng *g, struct test *test, unsigned packets)
{
    _cleanup_kernel_ struct kernel facts = { 0 }, applied = { 0 };
    _cleanup_(model_freep) struct model *m = NULL;
    _cleanup_(plan_unrefp) struct plan *wanted = NULL, *empty = plan_new_empty();
    _cleanup_ops_ struct ops ops = { 0 };
    struct totals *t = &test->totals;
    bool foreign = rng_one_in(g, 2);

    if (foreign)
        add_foreign(g);
    netns_settled_snapshot(&test->observer, &facts);
    m = random_model(g, &facts);
    wanted = plan_of(m, &facts, CARRIER_RULES, NULL);
    if (plan_diff(empty, wanted, NULL, &ops) < 0)
        abort();
    if (apply(test, &ops)) {
        netns_snapshot(&test->observer, &applied);
        t->models++;
        t->rules += applied.n_rules[0] + applied.n_rules[1];
        coverage_note_model(&t->coverage, m, &applied);
        coverage_note_kernel(&t->coverage, &applied);
        ask_packets(g, test, &applied, m, packets);
        take_away(test, &applied);
    } else
        t->skipped++;
    if (foreign)
        remove_foreign(&facts);
}

/* A stretch of models with the links as they are after an event, or, every other time, after none. */
static void one_stretch(struct rng *g, struct test *test, unsigned i, unsigned models,
                        unsigned packets)
{
    enum event e = i % 2 ? (enum event)(1 + i / 2 % (EVENT_MAX - 1)) : EVENT_NONE;
    unsigned long before = test->totals.models;

    world_do(&test->world, e, rng_below(g, LINKS));
    for (unsigned tries = 0; test->totals.models < before + models && tries < 2 * models; tries++)
        one_model(g, test, packets);
    test->totals.events[e] += test->totals.models - before;
    world_undo(&test->world);
}

static unsigned print_totals(const struct totals *t)
{
    unsigned never = coverage_print_models(&t->coverage) +
                     coverage_print(&t->coverage, "kernels", COVER_LINK_DOWN, COVER_PEER_ADDRESS);

    printf("links:");
    for (enum event e = EVENT_NONE; e < EVENT_MAX; e++) {
        printf("%s %s %lu models", e ? "," : "", event_to_string(e), t->events[e]);
        never += t->events[e] == 0;
    }
    never += t->uncertain == 0;
    printf("\noracle: %lu models (%.0f rules each; %lu skipped: the kernel refused a route), %lu "
           "packets, %lu refused, %lu by multipath, %lu disagreements%s\n",
           t->models, t->models ? (double)t->rules / (double)t->models : 0.0, t->skipped,
           t->packets, t->refused, t->uncertain, t->disagree,
           never ? "; a kind was never seen" : "");
    return never;
}

int main(int argc, char **argv)
{
    unsigned models = argc > 1 ? (unsigned)atoi(argv[1]) : MODELS;
    unsigned packets = argc > 2 ? (unsigned)atoi(argv[2]) : 40;
    struct rng g = { .state = argc > 3 ? strtoull(argv[3], NULL, 0) : 0x5eed };
    struct test test = { .observer = OBSERVER_INIT, .applier = APPLIER_INIT };
    unsigned never;

    world_enter(&test.world, LINKS, false);
    if (observer_open(&test.observer) < 0 || applier_open(&test.applier) < 0)
        return 1;
    for (unsigned i = 0; i < 2 * STRETCHES && test.totals.models < models; i++)
        one_stretch(&g, &test, i, MIN(models / STRETCHES + 1, models - test.totals.models),
                    packets);
    never = print_totals(&test.totals);
    observer_close(&test.observer);
    applier_close(&test.applier);
    return test.totals.disagree == 0 && test.totals.models >= models &&
                   (never == 0 || models < MODELS)
               ? 0
               : 1;
}
