/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/policy: the segments that the sweep finds, against precedence_decide() asked for every
 * single uid of a small space; captures against the list of VPNs.
 */

#include "unit/check.h"

#include <stdio.h>

#include "decide/precedence.h"
#include "plan/policy.h"
#include "property/random.h"
#include "unit/scene.h"

enum { SPACE = 64, ROUNDS = 4000 };

/* Uids 0 … 54, one for the many in the middle, and the topmost eight. */
static uint32_t uid_at(unsigned i)
{
    return i < SPACE - 9 ? i : i == SPACE - 9 ? UID_MAX / 2 : UID_MAX - (SPACE - 1 - i);
}

/* Where ranges begin and end: not in the middle, so that one uid there stands for all. */
static unsigned index_below(struct rng *g)
{
    unsigned i = rng_below(g, SPACE - 1);

    return i < SPACE - 9 ? i : i + 1;
}

static const char networks[] =
    "network phys interface eth0\nnetwork local type local interface eth1\n"
    "network secure type vpn secure interface eth2\n"
    "network bypass type vpn interface eth3\n"
    "network down type vpn secure\nnetwork dead type unreachable\n"
    "network gone\nremove gone\n";
static const char *const names[] = { "phys", "local", "secure", "bypass", "down",
                                     "dead", "gone",  "none",   "default" };

static void add_assignment(struct rng *g, struct scene *s)
{
    unsigned a = index_below(g), b = rng_one_in(g, 3) ? a : index_below(g);
    uint32_t lo = uid_at(MIN(a, b)), hi = uid_at(MAX(a, b));
    const char *name = names[rng_below(g, ELEMENTSOF(names))];
    bool prefer = !streq(name, "none") && rng_one_in(g, 2);
    char line[256];

    if (rng_one_in(g, 4)) {
        uint32_t other = uid_at(index_below(g));

        snprintf(line, sizeof(line), "assign %s:x%u %s %s uids %u-%u %u",
                 rng_one_in(g, 2) ? "user" : "group", rng_below(g, 9), name,
                 prefer ? "prefer" : "require", lo, hi, other);
    } else
        snprintf(line, sizeof(line), "assign uid:%u-%u %s %s", lo, hi, name,
                 prefer ? "prefer" : "require");
    scene_run(s, line);
}

/* What the assignment that holds wants for one uid: a verdict, or -1 for none. */
static int expected_verdict(const struct scene *s, const struct targets *t, uint32_t uid,
                            ssize_t *ret_target)
{
    const struct assignment *a = precedence_decide(s->m->assignments, uid);
    ssize_t target = a && a->network ? targets_find(t, a->network->s) : -1;
    bool usable = target >= 0 && (t->items[target].n_ports > 0 ||
                                  t->items[target].network->type == NETWORK_UNREACHABLE);

    *ret_target = target < 0 ? -1 : target;
    if (!a)
        return -1;
    if (a->strength == STRENGTH_PREFER)
        return usable ? VERDICT_PREFER : -1;
    return usable ? VERDICT_REQUIRE : VERDICT_REFUSE;
}

static bool is_hold(int verdict)
{
    return verdict == VERDICT_REQUIRE || verdict == VERDICT_REFUSE;
}

/* Protected sockets are exempt where a VPN is required of a uid that may protect them. */
static bool expected_exempt(const struct scene *s, const struct targets *t, uint32_t uid,
                            int verdict, ssize_t target)
{
    return is_hold(verdict) && target >= 0 && t->items[target].network->type == NETWORK_VPN &&
           model_can_protect(s->m, uid);
}

static void check_form(const char *row, const struct segments *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct segment *a = i > 0 ? &s->items[i - 1] : NULL, *b = &s->items[i];

        CHECK(row, b->uid.lo <= b->uid.hi && b->uid.hi <= UID_MAX);
        if (!a)
            continue;
        CHECK(row, a->uid.hi < b->uid.lo);
        CHECK(row, a->uid.hi + 1 < b->uid.lo || a->target != b->target ||
                       a->verdict != b->verdict || a->exempt != b->exempt);
    }
}

static void check_segments(const struct scene *s, const struct targets *t, const struct policy *p)
{
    bool preferred[16] = { false };

    check_form("segments", &p->segments);
    check_form("fences", &p->fences);
    for (unsigned i = 0; i < SPACE; i++) {
        const struct segment *seg = segments_find(&p->segments, uid_at(i));
        const struct segment *fence = segments_find(&p->fences, uid_at(i));
        ssize_t target;
        int verdict = expected_verdict(s, t, uid_at(i), &target);
        bool exempt = expected_exempt(s, t, uid_at(i), verdict, target);

        CHECK_INT("verdict", seg ? (int)seg->verdict : -1, verdict);
        if (seg) {
            CHECK_INT("target", seg->target, target);
            CHECK_INT("exempt", seg->exempt, exempt);
        }
        CHECK_INT("fence", fence ? (int)fence->verdict : -1, is_hold(verdict) ? VERDICT_FENCE : -1);
        if (fence)
            CHECK_INT("exempt from the fence", fence->exempt, exempt);
        if (verdict == VERDICT_PREFER)
            preferred[target] = true;
    }
    for (size_t i = 0; i < t->n; i++)
        CHECK_INT("preferred", p->preferred[i], preferred[i]);
}

/* policy_holds(): the assignments that decide for at least one uid of all. */
static void check_holds(const struct scene *s)
{
    const struct assignments *all = s->m->assignments;
    bool holds[64] = { false }, expected[64] = { false };

    assert_true(all->n < ELEMENTSOF(holds));
    CHECK_INT("holds", policy_holds(all, holds), 0);
    for (unsigned i = 0; i < SPACE; i++) {
        const struct assignment *a = precedence_decide(all, uid_at(i));

        if (a)
            expected[a - all->items] = true;
    }
    for (size_t i = 0; i < all->n; i++)
        CHECK_INT("holds", holds[i], expected[i]);
}

/* policy_build_apps(): the same, with whose each segment is; joined only where it is one assignment's. */
static void check_apps(const struct scene *s, const struct targets *t)
{
    const struct assignments *all = s->m->assignments;
    _cleanup_policy_ struct policy p = { 0 };

    assert_int_equal(policy_build_apps(s->m, t, &p), 0);
    for (unsigned i = 0; i < SPACE; i++) {
        const struct assignment *a = precedence_decide(all, uid_at(i));
        const struct segment *seg = segments_find(&p.segments, uid_at(i));
        bool falls_back = a && a->strength == STRENGTH_PREFER &&
                          !targets_is_usable(t, targets_find(t, a->network->s));

        CHECK_INT("a segment for each that is assigned", !seg, !a);
        if (!seg || !a)
            continue;
        CHECK("app", seg->app == selector_number(&a->selector));
        CHECK_INT("prefer", seg->verdict == VERDICT_PREFER, a->strength == STRENGTH_PREFER);
        CHECK_INT("to nowhere", seg->verdict == VERDICT_PREFER && seg->target < 0, falls_back);
    }
}

static void test_random_segments(void **state)
{
    struct rng g = { .state = 0x5e9 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        _cleanup_(targets_unrefp) struct targets *t = NULL;
        _cleanup_policy_ struct policy p = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, "link 2 eth0\nlink 3 eth1\nlink 4 eth2\nlink 5 eth3\n");
        scene_run(&s, networks);
        for (uint32_t n = rng_below(&g, 24); n > 0; n--)
            add_assignment(&g, &s);
        for (uint32_t n = rng_below(&g, 8); n > 0; n--)
            assert_int_equal(model_set_protectable(s.m, uid_at(index_below(&g)), true), 0);
        assert_int_equal(targets_build(s.m, &s.k, &t), 0);
        assert_int_equal(policy_build(s.m, t, &p), 0);
        check_segments(&s, t, &p);
        check_holds(&s);
        check_apps(&s, t);
    }
    CHECK_END();
}

/* Captures. */

static bool in_users(const struct network *n, uint32_t uid)
{
    for (size_t i = 0; i < n->n_users; i++)
        if (uid_range_contains(&n->users[i], uid))
            return true;
    return false;
}

/* The VPN of this kind that has the uid: the lowest netId; -1 = none. */
static int expected_capture(const struct targets *t, const struct policy *p, uint32_t uid,
                            bool secure)
{
    const struct segment *s = segments_find(&p->segments, uid);

    /* a preference for a VPN takes the uid out of all bypassable ones */
    if (!secure && s && s->verdict == VERDICT_PREFER &&
        t->items[s->target].network->type == NETWORK_VPN)
        return -1;
    for (size_t i = 0; i < t->n; i++) {
        const struct network *n = t->items[i].network;

        if (n->type == NETWORK_VPN && n->secure == secure && in_users(n, uid))
            return (int)i;
    }
    return -1;
}

static void check_captures(const struct targets *t, const struct policy *p)
{
    for (size_t i = 1; i < p->captures.n; i++)
        CHECK("by uid", p->captures.items[i - 1].uid.lo <= p->captures.items[i].uid.lo);
    for (unsigned i = 0; i < SPACE; i++) {
        int found[2] = { -1, -1 };

        for (size_t j = 0; j < p->captures.n; j++) {
            const struct segment *s = &p->captures.items[j];
            bool secure = t->items[s->target].network->secure;

            if (!uid_range_contains(&s->uid, uid_at(i)))
                continue;
            CHECK_INT("only once", found[secure], -1);
            CHECK_INT("verdict", s->verdict, VERDICT_CAPTURE);
            found[secure] = s->target;
        }
        CHECK_INT("secure", found[true], expected_capture(t, p, uid_at(i), true));
        CHECK_INT("bypassable", found[false], expected_capture(t, p, uid_at(i), false));
    }
}

static void add_users(struct rng *g, struct scene *s, const char *name)
{
    unsigned a = index_below(g), b = rng_one_in(g, 3) ? a : index_below(g);
    char line[128];

    snprintf(line, sizeof(line), "users %s %u-%u", name, uid_at(MIN(a, b)), uid_at(MAX(a, b)));
    scene_run(s, line);
}

static void test_random_captures(void **state)
{
    static const char *const vpns[] = { "secure", "bypass", "down", "more" };
    struct rng g = { .state = 0xca97 };

    (void)state;
    for (unsigned round = 0; round < ROUNDS; round++) {
        _cleanup_(targets_unrefp) struct targets *t = NULL;
        _cleanup_policy_ struct policy p = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, "link 2 eth0\nlink 3 eth1\nlink 4 eth2\nlink 5 eth3\n");
        scene_run(&s, networks);
        scene_run(&s, "network more type vpn\n");
        for (uint32_t n = rng_below(&g, 10); n > 0; n--)
            add_users(&g, &s, vpns[rng_below(&g, ELEMENTSOF(vpns))]);
        for (uint32_t n = rng_below(&g, 4); n > 0; n--)
            add_assignment(&g, &s);
        assert_int_equal(targets_build(s.m, &s.k, &t), 0);
        assert_int_equal(policy_build(s.m, t, &p), 0);
        check_captures(t, &p);
    }
    CHECK_END();
}

/* Ends of ranges, joined and not, in the order of the list. */
/* clang-format off */
static const struct {
    const char *name, *scene, *segments;
} rows[] = {
    { "none", "", "" },
    { "one", "assign uid:5 phys\n", "5-5:require" },
    { "all", "assign uid:0-4294967294 phys\n", "0-4294967294:require" },
    { "joined: the same network", "assign uid:5 phys\nassign uid:6-9 phys\n", "5-9:require" },
    { "not joined: another strength", "assign uid:5 phys\nassign uid:6-9 phys prefer\n",
      "5-5:require 6-9:prefer" },
    { "not joined: a gap", "assign uid:5 phys\nassign uid:7 phys\n", "5-5:require 7-7:require" },
    { "joined: both refused", "assign uid:5 none\nassign uid:6 gone\n", "5-6:refuse" },
    { "a hole", "assign uid:0-9 phys\nassign uid:4 none\n", "0-3:require 4-4:refuse 5-9:require" },
    { "a hole at the end", "assign uid:0-9 phys\nassign uid:9 none\n", "0-8:require 9-9:refuse" },
    { "a hole that says the same", "assign uid:0-9 phys\nassign uid:4 phys\n", "0-9:require" },
    { "a preference for what is down is none", "assign uid:0-9 phys\nassign uid:4 down prefer\n",
      "0-3:require 5-9:require" },
    { "the last uid", "assign uid:4294967294 phys\nassign uid:4294967290-4294967294 none\n",
      "4294967290-4294967293:refuse 4294967294-4294967294:require" },
    { "three deep", "assign uid:0-30 phys\nassign uid:5-20 none\nassign uid:10-12 dead\n",
      "0-4:require 5-9:refuse 10-12:require 13-20:refuse 21-30:require" },
    { "crossing: the narrower one wins", "assign uid:0-9 phys\nassign uid:5-12 none\n",
      "0-4:require 5-12:refuse" },
    { "a group across", "assign group:g none uids 2 4-6\nassign uid:0-4 phys\n",
      "0-1:require 2-2:refuse 3-3:require 4-6:refuse" },
};
/* clang-format on */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_(targets_unrefp) struct targets *t = NULL;
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_policy_ struct policy p = { 0 };
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, "link 2 eth0\nlink 3 eth1\nlink 4 eth2\nlink 5 eth3\n");
        scene_run(&s, networks);
        scene_run(&s, rows[i].scene);
        assert_int_equal(targets_build(s.m, &s.k, &t), 0);
        assert_int_equal(policy_build(s.m, t, &p), 0);
        for (size_t j = 0; j < p.segments.n; j++)
            strbuf_add(&b, "%s%u-%u:%s", j ? " " : "", p.segments.items[j].uid.lo,
                       p.segments.items[j].uid.hi, verdict_to_string(p.segments.items[j].verdict));
        CHECK_TEXT(rows[i].name, strbuf_text(&b), rows[i].segments);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_random_segments),
        cmocka_unit_test(test_random_captures),
    };

    return RUN_TESTS(tests);
}
