/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/outside, and how model/guard looks things up in it: rows by hand with the numbers of the steps,
 * then random networks whose answer is compared with an oracle that asks every prefix.
 */

#include "unit/check.h"

#include <stdio.h>

#include "basic/array.h"
#include "plan/outside.h"
#include "property/random.h"

enum { ROUNDS = 3000, PROBES = 200 };

enum flag { FALLS = 1, LOCKDOWN = 2 };

/* clang-format off */
static const struct {
    int step;
    const char *name;
    unsigned flags;
    const char *outside, *routes, *routed; /* lists; a route may be "throw P", "unreachable P" */
    const char *address;
    bool is_outside;
} rows[] = {
    { 5, "nothing said", 0, "", "", "", "198.51.100.1", false },
    { 5, "falls through", FALLS, "", "", "", "198.51.100.1", true },
    { 5, "falls through, IPv6", FALLS, "", "10.0.0.0/8", "", "2001:db8::1", true },
    { 5, "lockdown", FALLS | LOCKDOWN, "", "", "", "198.51.100.1", false },
    { 2, "a default route", FALLS, "", "0.0.0.0/0", "", "198.51.100.1", false },
    { 5, "a default route of the other family", FALLS, "", "0.0.0.0/0", "", "2001:db8::1", true },
    { 2, "unreachable", FALLS, "", "unreachable ::/0", "", "2001:db8::1", false },
    { 2, "split tunnel, inside", FALLS, "", "10.0.0.0/8", "", "10.1.2.3", false },
    { 5, "split tunnel, outside", FALLS, "", "10.0.0.0/8", "", "11.1.2.3", true },
    { 3, "excluded", FALLS, "", "0.0.0.0/0, throw 10.0.0.0/8", "", "10.1.2.3", true },
    { 2, "beside what is excluded", FALLS, "", "0.0.0.0/0, throw 10.0.0.0/8", "", "9.255.255.255", false },
    { 2, "inside again", FALLS, "", "0.0.0.0/0, throw 10.0.0.0/8, 10.1.0.0/16", "", "10.1.2.3", false },
    { 3, "beside what is inside again", FALLS, "", "0.0.0.0/0, throw 10.0.0.0/8, 10.1.0.0/16", "", "10.2.0.0", true },
    { 3, "excluded, not falling through", 0, "", "0.0.0.0/0, throw 10.0.0.0/8", "", "10.1.2.3", false },
    { 3, "excluded, lockdown", FALLS | LOCKDOWN, "", "0.0.0.0/0, throw 10.0.0.0/8", "", "10.1.2.3", false },
    { 2, "inside comes before excluded", FALLS, "", "throw 10.0.0.0/8, 10.0.0.0/8", "", "10.1.2.3", false },
    { 5, "a default that is excluded", FALLS, "", "throw 0.0.0.0/0", "", "198.51.100.1", true },
    { 2, "a default that is excluded stands behind", FALLS, "", "throw 0.0.0.0/0, 0.0.0.0/0", "", "198.51.100.1", false },
    { 4, "a default that is excluded stands behind copies", FALLS, "", "throw 0.0.0.0/0", "0.0.0.0/0", "198.51.100.1", false },
    { 1, "LAN", 0, "192.168.0.0/16", "0.0.0.0/0", "", "192.168.1.1", true },
    { 1, "LAN, lockdown", LOCKDOWN, "192.168.0.0/16", "0.0.0.0/0", "", "192.168.1.1", true },
    { 2, "beside the LAN", LOCKDOWN, "192.168.0.0/16", "0.0.0.0/0", "", "192.169.0.0", false },
    { 1, "LAN before a route that is as long", 0, "192.168.0.0/16", "192.168.0.0/16", "", "192.168.1.1", true },
    { 2, "a longer route in the LAN", 0, "192.168.0.0/16", "192.168.7.0/24", "", "192.168.7.255", false },
    { 3, "excluded in the LAN, lockdown", LOCKDOWN, "192.168.0.0/16", "throw 192.168.7.0/24", "", "192.168.7.1", false },
    { 1, "one address", 0, "fe80::1", "", "", "fe80::1", true },
    { 1, "beside one address", 0, "fe80::1", "", "", "fe80::2", false },
    { 1, "everything", LOCKDOWN, "0.0.0.0/0", "", "", "255.255.255.255", true },
    { 4, "copied from the host", FALLS, "", "", "10.8.0.0/24", "10.8.0.1", false },
    { 3, "excluded before a copy", FALLS, "", "throw 10.8.0.0/24", "10.8.0.0/24", "10.8.0.1", true },
};
/* clang-format on */

typedef void (*each_word)(void *data, const char *word);

static void split(const char *list, each_word each, void *data)
{
    char text[256], *save = NULL;

    assert_true(str_set(text, sizeof(text), list));
    for (char *w = strtok_r(text, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        while (*w == ' ')
            w++;
        each(data, w);
    }
}

static struct ip_prefix prefix_of(const char *text)
{
    struct ip_prefix p;

    assert_int_equal(ip_prefix_parse(text, &p), 0);
    return p;
}

static void on_outside(void *data, const char *word)
{
    struct why why = { 0 };

    assert_int_equal(network_read_outside(data, word, &why), 0);
}

static void on_route(void *data, const char *word)
{
    static const char *const kinds[ROUTE_KIND_MAX] = { "", "unreachable ", "throw " };
    struct route_spec route = { 0 };

    for (int i = ROUTE_KIND_MAX - 1; i >= 0; i--)
        if (startswith(word, kinds[i])) {
            route.kind = (enum route_kind)i;
            route.dst = prefix_of(word + strlen(kinds[i]));
            break;
        }
    assert_int_equal(network_add_route(data, &route), 0);
}

struct prefixes {
    struct ip_prefix *items;
    size_t n, cap;
};

static void on_routed(void *data, const char *word)
{
    struct prefixes *p = data;

    assert_int_equal(ARRAY_PUSH(p->items, p->n, p->cap, prefix_of(word)), 0);
}

/* A guard that knows what is outside of the network, and holds user 5 to it. */
static struct guard *guard_of(const struct network *n, const struct prefixes *routed)
{
    struct outside_list list = { 0 };
    struct guard *g = guard_new();

    assert_non_null(g);
    assert_int_equal(outside_build(n, routed->items, routed->n, &list), 0);
    for (size_t i = 0; i < list.n; i++)
        assert_int_equal(guard_add_outside(g, &list.items[i]), 0);
    free(list.items);
    assert_int_equal(guard_add_chain(g, n->netid, false), 0);
    assert_int_equal(guard_add_entry(g, (struct uid_range){ 5, 5 }, n->netid), 0);
    guard_sort(g);
    return g;
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_(network_unrefp) struct network *n = network_new();
        _cleanup_(guard_unrefp) struct guard *g = NULL;
        struct prefixes routed = { 0 };
        struct ip_addr address;

        assert_non_null(n);
        n->netid = 100;
        n->type = NETWORK_VPN;
        n->fall_through = rows[i].flags & FALLS;
        n->lockdown = rows[i].flags & LOCKDOWN;
        split(rows[i].outside, on_outside, n);
        split(rows[i].routes, on_route, n);
        split(rows[i].routed, on_routed, &routed);
        assert_int_equal(ip_addr_parse(rows[i].address, &address), 0);
        g = guard_of(n, &routed);
        CHECK_INT(rows[i].name, guard_is_outside(g, 100, &address), rows[i].is_outside);
        CHECK_INT(rows[i].name, guard_is_outside(g, 100 | GUARD_EXEMPT, &address),
                  rows[i].is_outside);
        CHECK_INT(rows[i].name, guard_judge(g, 5, 0, 3, &address),
                  rows[i].is_outside ? GUARD_OUTSIDE : GUARD_DROP);
        CHECK_INT(rows[i].name, guard_is_outside(g, 101, &address), false);
        CHECK_INT(rows[i].name, guard_is_outside(g, 100, NULL), false);
        CHECK_INT(rows[i].name, outside_possible(n),
                  *rows[i].outside || (rows[i].flags & (FALLS | LOCKDOWN)) == FALLS);
        free(routed.items);
    }
    CHECK_END();
}

/* Other types have no such thing. */
static void test_types(void **state)
{
    (void)state;
    for (int type = 0; type < NETWORK_TYPE_MAX; type++) {
        _cleanup_(network_unrefp) struct network *n = network_new();

        assert_non_null(n);
        n->type = (enum network_type)type;
        CHECK_INT("nothing", outside_possible(n), false);
        n->fall_through = true;
        CHECK_INT("VPN alone", outside_possible(n), type == NETWORK_VPN);
    }
    CHECK_END();
}

/* Few bits vary, so that prefixes meet: the first byte's last two, the second's first two, the last. */
static struct ip_addr any_address(struct rng *g)
{
    uint8_t bytes[16] = { 0 };
    int family = family_at(rng_below(g, 2));
    unsigned n = ip_family_bits(family) / 8;

    bytes[0] = (uint8_t)rng_below(g, 4);
    bytes[1] = (uint8_t)(rng_below(g, 4) << 6);
    bytes[n - 1] = (uint8_t)(rng_below(g, 3) * 127);
    return ip_addr_make(family, bytes, n);
}

static struct ip_prefix any_prefix(struct rng *g)
{
    static const unsigned lengths[] = { 0, 6, 7, 8, 9, 10, 24, 25, 31, 32, 64, 127, 128 };
    struct ip_addr a = any_address(g);
    unsigned len = lengths[rng_below(g, ELEMENTSOF(lengths))];

    return ip_prefix_make(&a, MIN(len, ip_family_bits(a.family)));
}

static struct network *any_network(struct rng *g, struct prefixes *routed)
{
    struct network *n = network_new();

    assert_non_null(n);
    n->netid = 100;
    n->type = NETWORK_VPN;
    n->fall_through = rng_one_in(g, 2);
    n->lockdown = rng_one_in(g, 4);
    for (uint32_t i = rng_below(g, 4); i > 0; i--) {
        struct ip_prefix p = any_prefix(g);

        assert_int_equal(network_add_outside(n, &p), 0);
    }
    for (uint32_t i = rng_below(g, 8); i > 0; i--) {
        struct route_spec route = { .kind = (enum route_kind)rng_below(g, ROUTE_KIND_MAX),
                                    .dst = any_prefix(g) };

        (void)network_add_route(n, &route);
    }
    for (uint32_t i = rng_below(g, 4); i > 0; i--)
        assert_int_equal(ARRAY_PUSH(routed->items, routed->n, routed->cap, any_prefix(g)), 0);
    return n;
}

/* The longest so far, of equal ones the first step. */
struct best {
    int len, step;
    bool outside;
};

static void consider(struct best *b, const struct ip_prefix *p, const struct ip_addr *a, int step,
                     bool outside)
{
    if (!ip_prefix_contains(p, a) || (int)p->len < b->len || (p->len == b->len && step > b->step))
        return;
    *b = (struct best){ p->len, step, outside };
}

static bool expected(const struct network *n, const struct prefixes *routed,
                     const struct ip_addr *a)
{
    bool falls = n->fall_through && !n->lockdown;
    struct best best = { .len = 0, .step = 5, .outside = falls };

    for (size_t i = 0; i < n->n_outside; i++)
        consider(&best, &n->outside[i], a, 1, true);
    for (size_t i = 0; i < n->n_routes; i++) {
        const struct route_spec *r = &n->routes[i];

        if (r->kind != ROUTE_THROW)
            consider(&best, &r->dst, a, 2, false);
        else if (r->dst.len > 0)
            consider(&best, &r->dst, a, 3, falls);
    }
    for (size_t i = 0; i < routed->n; i++)
        consider(&best, &routed->items[i], a, 4, false);
    return best.outside;
}

/* Each entry says the opposite of the one around it; the defaults are there. */
static void check_form(const struct guard *g)
{
    CHECK("both families", g->n_outside >= 2);
    for (size_t i = 0; i < g->n_outside; i++) {
        const struct guard_outside *o = &g->outside[i], *around = NULL;

        for (size_t j = 0; j < i; j++)
            if (ip_prefix_contains(&g->outside[j].prefix, &o->prefix.addr))
                around = &g->outside[j];
        CHECK("sorted", i == 0 || ip_prefix_compare(&o[-1].prefix, &o->prefix) < 0);
        CHECK_INT("a default has nothing around it", !around, o->prefix.len == 0);
        CHECK("the opposite", !around || around->outside != o->outside);
    }
}

static void test_random(void **state)
{
    struct rng g = { .state = 0x0075 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct prefixes routed = { 0 };
        _cleanup_(network_unrefp) struct network *n = any_network(&g, &routed);
        _cleanup_(guard_unrefp) struct guard *guard = guard_of(n, &routed);

        check_form(guard);
        for (unsigned i = 0; i < PROBES; i++) {
            struct ip_addr a = any_address(&g);

            CHECK_INT("outside", guard_is_outside(guard, 100, &a), expected(n, &routed, &a));
        }
        free(routed.items);
    }
    CHECK_END();
}

/* Changes, entry by entry. */

enum { NETIDS = 3 };

/* A sorted list of networks 100…; some are not in it. */
static struct guard *any_list(struct rng *g)
{
    struct guard *list = guard_new();

    assert_non_null(list);
    for (uint32_t netid = 100; netid < 100 + NETIDS; netid++) {
        struct prefixes routed = { 0 };
        _cleanup_(network_unrefp) struct network *n = any_network(g, &routed);
        struct outside_list one = { 0 };

        n->netid = netid;
        if (!rng_one_in(g, 4))
            assert_int_equal(outside_build(n, routed.items, routed.n, &one), 0);
        for (size_t i = 0; i < one.n; i++)
            assert_int_equal(guard_add_outside(list, &one.items[i]), 0);
        free(one.items);
        free(routed.items);
    }
    guard_sort(list);
    return list;
}

struct walk {
    struct rng *g;
    const struct guard *from, *to;
    struct guard *now;
    enum outside_step step;
};

static bool has(const struct guard *g, uint32_t netid)
{
    const struct guard_outside *items;

    return guard_outside_of(g, netid, &items) > 0;
}

/* What it is at some moment: as before or after; between the steps outside in both or not at all. */
static void check_moment(const struct walk *w, bool between)
{
    uint32_t netid = 100 + rng_below(w->g, NETIDS);
    struct ip_addr a = any_address(w->g);
    bool from = guard_is_outside(w->from, netid, &a), to = guard_is_outside(w->to, netid, &a);
    bool now = guard_is_outside(w->now, netid, &a);

    if (from == to && has(w->from, netid) && has(w->to, netid))
        CHECK_INT("never otherwise", now, from);
    if (has(w->from, netid) && has(w->to, netid) && (between || w->step == OUTSIDE_CLOSE))
        CHECK("opened when all else is done", !now || from);
    if (between && has(w->from, netid) && has(w->to, netid))
        CHECK("closed before all else", !now || to);
}

static int on_change(void *data, const struct guard_outside *key, int before, int after)
{
    struct walk *w = data;
    size_t i = 0;

    while (i < w->now->n_outside && guard_outside_compare(&w->now->outside[i], key) != 0)
        i++;
    CHECK_INT("what was there", before,
              i < w->now->n_outside ? (int)w->now->outside[i].outside : -1);
    CHECK("a change", before != after);
    if (before < 0) {
        struct guard_outside new = *key;

        new.outside = (uint32_t)after;
        assert_int_equal(guard_add_outside(w->now, &new), 0);
    } else if (after < 0)
        w->now->outside[i] = w->now->outside[--w->now->n_outside];
    else
        w->now->outside[i].outside = (uint32_t)after;
    guard_sort(w->now);
    for (unsigned n = 0; n < 8; n++)
        check_moment(w, false);
    return 0;
}

static void test_changes(void **state)
{
    struct rng g = { .state = 0xc4a9 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        _cleanup_(guard_unrefp) struct guard *from = any_list(&g), *to = any_list(&g);
        _cleanup_(guard_unrefp) struct guard *now = guard_overlay(from, from);
        struct outside_changes changes = { 0 };
        struct walk w = { .g = &g, .from = from, .to = to, .now = now };

        assert_non_null(now);
        assert_int_equal(
            outside_compare(from->outside, from->n_outside, to->outside, to->n_outside, &changes),
            0);
        for (unsigned s = 0; s <= OUTSIDE_DROP; s++) {
            w.step = (enum outside_step)s;
            assert_int_equal(outside_walk(&changes, w.step, on_change, &w), 0);
            for (unsigned n = 0; s == OUTSIDE_CLOSE && n < 8; n++)
                check_moment(&w, true);
        }
        CHECK_INT("all of it", now->n_outside, to->n_outside);
        CHECK("the new one",
              mem_equal(now->outside, to->outside, now->n_outside * sizeof(*now->outside)));
        free(changes.items);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_changes),
    };

    return RUN_TESTS(tests);
}
