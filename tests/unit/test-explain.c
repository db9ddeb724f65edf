/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/plan/explain: what decides for one app and one destination, and whether the kernel agrees. */

#include "unit/check.h"

#include <errno.h>

#include "plan/explain.h"
#include "unit/scene.h"

static const char machine[] =
    "link 2 eth0\nlink 3 eth1\naddr eth0 10.0.0.2/24\naddr eth1 10.0.1.2/24\n"
    "iproute 0.0.0.0/0 via 10.0.1.1 dev eth1\n"
    "network home interface eth0\nroute home default via 10.0.0.1\n"
    "network other interface eth1\n"
    "assign uid:1000 home\nassign uid:1001 none\nassign user:a other uids 1002\n";

/* clang-format off */
static const struct {
    const char *packet;
    const char *selector; /* of the assignment; NULL: none */
    int error;
    enum guard_verdict guard;
    const char *network; /* NULL: none */
    uint32_t last; /* priority of the last rule that was looked at */
} rows[] = {
    { "8.8.8.8 uid 1000", "uid:1000", 0, GUARD_PORT, "home", 8000 },
    { "8.8.8.8 uid 1000 oif eth1", "uid:1000", -EPERM, GUARD_DROP, "other", 9000 },
    { "8.8.8.8 uid 1001", "uid:1001", -EACCES, GUARD_UNASSIGNED, NULL, 9000 },
    { "8.8.8.8 uid 1002", "user:a", 0, GUARD_PORT, "other", 8000 },
    { "8.8.8.8 uid 7", NULL, 0, GUARD_UNASSIGNED, "other", 32766 },
    { "10.0.0.2 uid 1000", "uid:1000", 0, GUARD_LOOPBACK, NULL, 0 },
    { "2001:db8::1 uid 7", NULL, -ENETUNREACH, GUARD_UNASSIGNED, NULL, 32766 },
};
/* clang-format on */

static void build(struct scene *s)
{
    struct plan *p;

    scene_init(s);
    scene_run(s, machine);
    p = scene_plan(s, true, NULL);
    scene_apply(s, p);
    plan_unref(p);
}

static void test_explain(void **state)
{
    struct scene s;

    (void)state;
    build(&s);
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct rtnl_flow flow = scene_packet(&s, rows[i].packet);
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_explanation_ struct explanation e = { 0 };

        explain(s.m, &s.k, &flow, &e);
        if (e.assignment)
            selector_print(&e.assignment->selector, &b);
        CHECK_TEXT(rows[i].packet, strbuf_text(&b), rows[i].selector ? rows[i].selector : "");
        CHECK_INT(rows[i].packet, e.error, rows[i].error);
        CHECK_TEXT(rows[i].packet, guard_verdict_to_string(e.guard),
                   guard_verdict_to_string(rows[i].guard));
        CHECK_TEXT(rows[i].packet, e.network ? e.network->name : "",
                   rows[i].network ? rows[i].network : "");
        CHECK(rows[i].packet, e.n_steps > 0 && !e.out_of_memory && !e.asked);
        if (e.n_steps > 0)
            CHECK_INT(rows[i].packet, e.steps[e.n_steps - 1].rule.priority, rows[i].last);
        CHECK(rows[i].packet, e.result.rule == NULL && e.result.route == NULL);
    }
    scene_done(&s);
    CHECK_END();
}

/* Rules that ask for a protocol, port or tos: what they do to other packets than the one asked. */
static void test_otherwise(void **state)
{
    static const struct {
        const char *scene, *packet;
        const char *others; /* PRIORITY PACKETS: OUTCOME; … */
    } others[] = {
        { "", "8.8.8.8 uid 7", "" },
        { "iprule4 100 ipproto 6 lookup 9\n", "8.8.8.8 uid 7", "100 ipproto tcp: eth0; " },
        { "iprule4 100 ipproto 6 lookup 9\n", "2001:db8::1 uid 7", "" },
        { "iprule4 100 ipproto 6 uidrange 8 lookup 9\n", "8.8.8.8 uid 7", "" },
        { "iprule4 100 ipproto 6 lookup 10\n", "8.8.8.8 uid 7", "100 ipproto tcp: the same; " },
        { "iprule4 100 ipproto 17 lookup 9\n", "8.8.8.8 uid 7", "100 all but ipproto udp: eth1; " },
        { "iprule4 100 not ipproto 6 lookup 9\n", "8.8.8.8 uid 7", "100 ipproto tcp: eth1; " },
        { "iprule4 100 ipproto 17 dport 53 prohibit\n", "8.8.8.8 uid 7",
          "100 ipproto udp dport 53: error 13; " },
        { "iprule4 100 tos 0x10 sport 5-9 lookup 9\n", "8.8.8.8 uid 7",
          "100 tos 0x10 sport 5-9: eth0; " },
        { "iprule4 100 ipproto 47 goto 200\niprule4 200 ipproto 47 lookup 9\n", "8.8.8.8 uid 7",
          "100 ipproto 47: eth0; 200 ipproto 47: eth0; " },
        { "iprule4 100 dport 53 lookup 11\n", "8.8.8.8 uid 1000", "100 dport 53: error 1; " },
        { "iprule4 9500 dport 53 lookup 9\n", "8.8.8.8 uid 1000", "" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(others); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_explanation_ struct explanation e = { 0 };
        struct rtnl_flow flow;
        struct scene s;

        build(&s);
        scene_run(&s, "iproute 0.0.0.0/0 via 10.0.0.1 dev eth0 table 9\n"
                      "iproute 0.0.0.0/0 via 10.0.1.1 dev eth1 table 11\n");
        scene_run(&s, others[i].scene);
        flow = scene_packet(&s, others[i].packet);
        explain(s.m, &s.k, &flow, &e);
        for (size_t j = 0; j < e.n_steps; j++) {
            const struct explain_other *o = &e.steps[j].other;

            if (!e.steps[j].narrow)
                continue;
            strbuf_add(&b, "%u %s", e.steps[j].rule.priority, o->all_but ? "all but " : "");
            rtnl_rule_print_packet(&e.steps[j].rule, &b);
            if (!o->differs)
                strbuf_add(&b, ": the same; ");
            else if (o->error)
                strbuf_add(&b, ": error %d; ", -o->error);
            else
                strbuf_add(&b, ": %s; ", kernel_link(&s.k, o->oif)->name);
        }
        CHECK_TEXT(others[i].scene, strbuf_text(&b), others[i].others);
        scene_done(&s);
    }
    CHECK_END();
}

/* One thing in the kernel's answer is another. */
static void test_compare(void **state)
{
    static const char *const names[] = { "the same", "error",   "type",  "oif",
                                         "table",    "gateway", "source" };
    struct scene s;
    struct rtnl_flow flow;

    (void)state;
    build(&s);
    flow = scene_packet(&s, "8.8.8.8 uid 1000");
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        _cleanup_explanation_ struct explanation e = { 0 };
        struct kernel_answer a;

        explain(s.m, &s.k, &flow, &e);
        a = (struct kernel_answer){ e.result.error, e.result.type,    e.result.table,
                                    e.result.oif,   e.result.gateway, e.result.src };
        a.error -= i == 1;
        a.type = i == 2 ? RTN_LOCAL : a.type;
        a.oif += i == 3;
        a.table += i == 4;
        a.gateway.bytes[3] += i == 5;
        a.src.bytes[3] += i == 6;
        explain_compare(&e, &a);
        CHECK(names[i], e.asked);
        CHECK_INT(names[i], e.agrees, i == 0);
    }
    scene_done(&s);
    CHECK_END();
}

/* What may differ: everything behind an error, IPv6's choice of a source, IPv4's cached types. */
static void test_agrees(void **state)
{
    struct rtnl_flow four = { .dst = { .family = AF_INET } },
                     six = { .dst = { .family = AF_INET6 } };
    struct rtnl_flow bound = { .dst = { .family = AF_INET }, .src = { .family = AF_INET } };
    struct sim_result sim = { .type = RTN_UNICAST, .src = { .family = AF_INET } };
    struct kernel_answer a = { .type = RTN_UNICAST };

    (void)state;
    CHECK("IPv4, another source", !sim_agrees(&four, &sim, &a));
    CHECK("IPv4, a source that was given", sim_agrees(&bound, &sim, &a));
    CHECK("IPv6, another source", sim_agrees(&six, &sim, &a));
    a.type = RTN_MULTICAST;
    CHECK("IPv4, a cached type", sim_agrees(&bound, &sim, &a));
    CHECK("IPv6 caches no types", !sim_agrees(&six, &sim, &a));
    a = (struct kernel_answer){ .error = -EACCES, .oif = 7, .table = 9 };
    CHECK("an error", !sim_agrees(&bound, &sim, &a));
    sim.error = -EACCES;
    CHECK("the same error", sim_agrees(&bound, &sim, &a));
    CHECK_END();
}

static void test_rule_print(void **state)
{
    /* clang-format off */
    static const struct {
        const char *rule, *printed;
    } rules[] = {
        { "lookup main", "from all lookup main" },
        { "lookup local", "from all lookup local" },
        { "lookup default", "from all lookup default" },
        { "lookup 1002", "from all lookup 1002" },
        { "from 10.0.0.0/8 to 8.8.8.8 prohibit", "from 10.0.0.0/8 to 8.8.8.8/32 prohibit" },
        { "not fwmark 0x7 unreachable", "not from all fwmark 0x7 unreachable" },
        { "fwmark 0x7/0xf blackhole", "from all fwmark 0x7/0xf blackhole" },
        { "fwmark 0/0xf nop", "from all fwmark 0x0/0xf nop" },
        { "iif lo oif eth0 uidrange 5 goto 300", "from all iif lo oif eth0 uidrange 5-5 goto 300" },
        { "tos 0x10 l3mdev lookup 9", "from all tos 0x10 l3mdev lookup 9" },
        { "ipproto 17 sport 5 dport 53-99 lookup 9",
          "from all ipproto 17 sport 5 dport 53-99 lookup 9" },
        { "other lookup main suppress 0", "from all (more) lookup main suppress_prefixlength 0" },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rules); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, line = STRBUF_INIT;
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        strbuf_add(&line, "iprule4 100 %s", rules[i].rule);
        scene_run(&s, strbuf_text(&line));
        rtnl_rule_print(&s.k.rules[0][1], &b);
        CHECK_TEXT(rules[i].rule, strbuf_text(&b), rules[i].printed);
        s.k.rules[0][1].action = 99;
        rtnl_rule_print(&s.k.rules[0][1], &b);
        CHECK_CONTAINS(rules[i].rule, strbuf_text(&b), "action 99");
    }
    CHECK_END();
}

/* Routes are shown as `ip route` does: what makes two of them differ can be seen. */
static void test_route_print(void **state)
{
    /* clang-format off */
    static const struct {
        const char *route, *printed;
    } routes[] = {
        { "10.9.0.0/16 dev eth0", "10.9.0.0/16 dev eth0 table main" },
        { "10.9.0.0/16 via 10.0.0.1 dev eth0 table 9 metric 5 src 10.0.0.2 mtu 1400 onlink",
          "10.9.0.0/16 via 10.0.0.1 dev eth0 table 9 src 10.0.0.2 metric 5 mtu 1400 onlink" },
        { "unreach 10.9.0.0/16", "unreachable 10.9.0.0/16 table main" },
        { "prohibit 10.9.0.0/16", "prohibit 10.9.0.0/16 table main" },
        { "blackhole 10.9.0.0/16", "blackhole 10.9.0.0/16 table main" },
        { "throw 10.9.0.0/16", "throw 10.9.0.0/16 table main" },
        { "fd00::/8 from fd01::/16 dev eth0 metric 7",
          "fd00::/8 from fd01::/16 dev eth0 table main metric 7" },
        { "10.9.0.0/16 dev eth0 tos 0x10", "tos 0x10" },
        { "fd00::/8 dev eth0 pref high", "pref high" },
        { "fd00::/8 dev eth0 pref low", "pref low" },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(routes); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, line = STRBUF_INIT;
        const struct rtnl_route *found;
        struct scene s;
        size_t n;

        scene_init(&s);
        strbuf_add(&line, "link 2 eth0\niproute %s", routes[i].route);
        scene_run(&s, strbuf_text(&line));
        n = kernel_table(&s.k, strchr(routes[i].route, ':') ? AF_INET6 : AF_INET, 254, &found);
        if (n == 0)
            n = kernel_table(&s.k, AF_INET, 9, &found);
        CHECK_INT(routes[i].route, n, 1);
        plan_route_print(found, &s.k, &b);
        CHECK_CONTAINS(routes[i].route, strbuf_text(&b), routes[i].printed);
        scene_done(&s);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_explain),    cmocka_unit_test(test_otherwise),
        cmocka_unit_test(test_compare),    cmocka_unit_test(test_agrees),
        cmocka_unit_test(test_rule_print), cmocka_unit_test(test_route_print),
    };

    return RUN_TESTS(tests);
}
