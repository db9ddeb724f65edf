/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/model/kernel: the kernel's state as data, and src/plan/targets,
  which joins it with a model. */

#include "unit/check.h"

#include <errno.h>

#include "plan/targets.h"
#include "property/random.h"
#include "unit/scene.h"

static void test_links(void **state)
{
    static const int ifindexes[] = { 7, 2, INT32_MAX, 4, 3 };
    _cleanup_kernel_ struct kernel k = { 0 };

    (void)state;
    CHECK("empty", !kernel_link(&k, 1) && !kernel_link_by_name(&k, "lo"));
    for (size_t i = 0; i < ELEMENTSOF(ifindexes); i++) {
        struct rtnl_link link = { .ifindex = ifindexes[i], .name = { (char)('a' + i) } };
        CHECK_INT("add", kernel_add_link(&k, &link), 0);
    }
    CHECK_INT("sort", kernel_sort(&k), 0);
    for (size_t i = 0; i < ELEMENTSOF(ifindexes); i++) {
        const char name[2] = { (char)('a' + i) };
        const struct rtnl_link *link = kernel_link(&k, ifindexes[i]);

        CHECK_TEXT("by index", link ? link->name : "missing", name);
        CHECK("by name", kernel_link_by_name(&k, name) == link);
    }
    CHECK("none", !kernel_link(&k, 5) && !kernel_link(&k, 0) && !kernel_link(&k, -1));
    CHECK_END();
}

/* Sorted by table; within one, the kernel's order stays, however many and however mixed. */
static void test_routes(void **state)
{
    static const uint32_t tables[] = { 0, 97, 254, 255, 1003, UINT32_MAX };
    struct rng g = { .state = 0x4e1 };

    (void)state;
    for (size_t n = 0; n < 200; n++) {
        _cleanup_kernel_ struct kernel k = { 0 };
        size_t seen = 0;

        for (uint32_t i = 0; i < n; i++) {
            struct rtnl_route r = { .family = AF_INET,
                                    .priority = i,
                                    .table = tables[rng_below(&g, ELEMENTSOF(tables))] };
            CHECK_INT("add", kernel_add_route(&k, &r), 0);
        }
        CHECK_INT("sort", kernel_sort(&k), 0);
        for (size_t t = 0; t < ELEMENTSOF(tables); t++) {
            const struct rtnl_route *routes = NULL;
            size_t m = kernel_table(&k, AF_INET, tables[t], &routes);

            for (size_t i = 0; i < m; i++)
                CHECK("its table, in order",
                      routes[i].table == tables[t] &&
                          (i == 0 || routes[i - 1].priority < routes[i].priority));
            seen += m;
            CHECK_INT("other family", kernel_table(&k, AF_INET6, tables[t], &routes), 0);
        }
        CHECK_INT("all", seen, n);
    }
    CHECK_END();
}

static void test_copy(void **state)
{
    _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT;
    _cleanup_kernel_ struct kernel copy = { 0 };
    struct scene s;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "guard entry 5-9 100\nguard chain 100\nguard port 100 eth0\n");
    dump_kernel(&s.k, &before);
    CHECK_INT("copy", kernel_copy(&s.k, &copy), 0);
    CHECK("the guard is shared", copy.guard == s.k.guard && copy.guard->refs == 2);
    scene_done(&s);
    dump_kernel(&copy, &after);
    CHECK_TEXT("the copy is its own", strbuf_text(&after), strbuf_text(&before));
    CHECK_INT("links", copy.n_links, 5);
    CHECK_INT("addresses", copy.n_addrs, 10);
    CHECK_INT("the copy can grow", kernel_add_link(&copy, &(struct rtnl_link){ .ifindex = 9 }), 0);
    CHECK_END();
}

static void test_has_addr(void **state)
{
    static const struct {
        const char *addr;
        bool has;
    } rows[] = {
        { "10.0.0.2", true },    { "10.0.0.3", false },
        { "10.0.0.255", false }, { "127.0.0.1", true },
        { "127.9.9.9", true },   { "fd00::2", true },
        { "fd00::", false },     { "::1", true },
        { "10.7.7.7", true }, /* a whole local prefix */
    };
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_machine(&s);
    scene_run(&s, "iproute local 10.7.0.0/16 dev lo table local\n");
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct ip_addr a;

        assert_int_equal(ip_addr_parse(rows[i].addr, &a), 0);
        CHECK_INT(rows[i].addr, kernel_has_addr(&s.k, &a), rows[i].has);
    }
    CHECK_END();
}

/* Targets. */

/* clang-format off */
static const struct {
    const char *name, *scene;
    const char *targets; /* NAME:PORT,PORT… */
    ssize_t default_index;
    bool named, android;
} target_rows[] = {
    { "none", "", "", -1, false, false },
    { "one", "network home interface eth0\n", "home:eth0", -1, false, false },
    { "two ports", "network home interface eth1 interface eth0\n", "home:eth1,eth0", -1, false,
      false },
    { "by netId",
      "network b netid 200 interface eth0\nnetwork a netid 300\nnetwork c netid 100\n",
        "c: b:eth0 a:", -1, false, false },
    { "down", "link 9 x down\nnetwork home interface x interface eth0\n", "home:eth0", -1, false,
      false },
    { "no carrier", "link 9 x nocarrier\nnetwork home interface x\n", "home:", -1, false, false },
    { "down, as on Android", "host-networks no\nlink 9 x down\nnetwork home interface x\n",
      "home:x", -1, false, true },
    { "gone", "network home interface eth0\nunlink eth0\n", "home:", -1, false, false },
    { "default", "network a\nnetwork b\ndefault b\n", "a: b:", 1, true, false },
    { "default that is gone", "network a\ndefault a\nremove a\n", "", -1, true, false },
    { "local", "network l type local\n", "l:", -1, false, true },
};
/* clang-format on */

static void test_targets(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(target_rows); i++) {
        const char *row = target_rows[i].name;
        _cleanup_(targets_unrefp) struct targets *t = NULL, *again = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_scene_ struct scene s;

        scene_machine(&s);
        scene_run(&s, target_rows[i].scene);
        assert_int_equal(targets_build(s.m, &s.k, &t), 0);
        assert_int_equal(targets_build(s.m, &s.k, &again), 0);
        for (size_t j = 0; j < t->n; j++) {
            strbuf_add(&b, "%s%s:", j ? " " : "", t->items[j].network->name);
            for (size_t p = 0; p < t->items[j].n_ports; p++)
                strbuf_add(&b, "%s%s", p ? "," : "", target_ports(t, j)[p].name);
            CHECK_INT(row, targets_find(t, t->items[j].network->name), j);
        }
        CHECK_TEXT(row, strbuf_text(&b), target_rows[i].targets);
        CHECK_INT(row, t->default_index, target_rows[i].default_index);
        CHECK_INT(row, t->default_named, target_rows[i].named);
        CHECK_INT(row, t->android_tables, target_rows[i].android);
        CHECK_INT(row, targets_find(t, "nobody"), -ENOENT);
        CHECK(row, targets_equal(t, again));
    }
    CHECK_END();
}

/* Each of these makes other targets, so that no chunk of an old plan is taken over. */
static void test_targets_unequal(void **state)
{
    static const char *const changes[] = {
        "default home",
        "default system\nlegacy system 1.2.3.4 dev eth0",
        "set home permission system",
        "network more",
        "remove vpn",
        "attach home eth2",
        "unlink eth0",
        "link 9 eth0x\nattach home eth0x",
        "users vpn 5",
        "set home dns 1.1.1.1",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(changes); i++) {
        _cleanup_(targets_unrefp) struct targets *before = NULL, *after = NULL;
        _cleanup_scene_ struct scene s;

        scene_machine(&s);
        scene_run(&s, "network home interface eth0\nnetwork vpn type vpn interface eth1\n");
        assert_int_equal(targets_build(s.m, &s.k, &before), 0);
        scene_run(&s, changes[i]);
        assert_int_equal(targets_build(s.m, &s.k, &after), 0);
        CHECK(changes[i], !targets_equal(before, after) && !targets_equal(after, before));
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_links),   cmocka_unit_test(test_routes),
        cmocka_unit_test(test_copy),    cmocka_unit_test(test_has_addr),
        cmocka_unit_test(test_targets), cmocka_unit_test(test_targets_unequal),
    };

    return RUN_TESTS(tests);
}
