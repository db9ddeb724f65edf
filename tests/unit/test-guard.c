/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/model/guard: sorting, joining, judging and overlaying, against an oracle that knows every
 * uid of a small space by itself.
 */

#include "unit/check.h"

#include <stdio.h>

#include "model/guard.h"
#include "model/mark.h"
#include "property/random.h"

/* Uids 0 … LOW-1 and the HIGH topmost ones stand for all; ports are 1 … PORTS-1. */
enum { LOW = 24, HIGH = 8, SPACE = LOW + HIGH, NETS = 5, PORTS = 6, ROUNDS = 4000 };

static uint32_t uid_at(unsigned i)
{
    return i < LOW ? i : UID_MAX - (SPACE - 1 - i);
}

/* What a guard says, one slot per uid, network, interface. */
struct oracle {
    int64_t netid[SPACE]; /* -1 = no entry */
    int chain[NETS];      /* -1 = none, else exempt_protected */
    bool port[NETS][PORTS];
    int64_t incoming[PORTS]; /* -1 = none */
};

/*
 * A random guard and what it has to mean. Entries are put in in random order. `whole`: each entry
 * has its chain, as the planner makes it (netId 0 has none).
 */
static struct guard *random_guard(struct rng *g, struct oracle *o, bool whole)
{
    struct guard *guard = guard_new();
    unsigned order[SPACE];

    assert_non_null(guard);
    for (unsigned i = 0; i < SPACE; i++) {
        order[i] = i;
        o->netid[i] = rng_one_in(g, 3) ? -1 : (int64_t)rng_below(g, NETS);
        if (i > 0 && rng_one_in(g, 2))
            o->netid[i] = o->netid[i - 1];
    }
    for (unsigned i = SPACE - 1; i > 0; i--) {
        unsigned j = rng_below(g, i + 1), swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
    for (unsigned i = 0; i < SPACE; i++)
        if (o->netid[order[i]] >= 0)
            (void)guard_add_entry(guard, (struct uid_range){ uid_at(order[i]), uid_at(order[i]) },
                                  (uint32_t)o->netid[order[i]]);
    for (uint32_t n = 0; n < NETS; n++) {
        o->chain[n] = n == 0 || (!whole && rng_one_in(g, 4)) ? -1 : (int)rng_below(g, 2);
        for (int p = 0; p < PORTS; p++)
            o->port[n][p] = o->chain[n] >= 0 && p > 0 && rng_one_in(g, 3);
    }
    for (uint32_t n = NETS; n-- > 0;)
        for (int p = PORTS; o->chain[n] >= 0 && p-- > 0;)
            for (uint32_t copies = o->port[n][p] ? 1 + rng_below(g, 2) : 0; copies > 0; copies--)
                (void)guard_add_port(guard, n, p);
    for (uint32_t n = 0; n < NETS; n++)
        if (o->chain[n] >= 0)
            (void)guard_add_chain(guard, n, o->chain[n] != 0);
    for (int p = PORTS; p-- > 0;) {
        o->incoming[p] = rng_one_in(g, 2) ? -1 : (int64_t)rng_u32(g);
        if (o->incoming[p] >= 0)
            (void)guard_add_incoming(guard, p, (uint32_t)o->incoming[p]);
    }
    guard_sort(guard);
    return guard;
}

static enum guard_verdict judge_slowly(const struct oracle *o, unsigned i, uint32_t mark, int port)
{
    int64_t netid = o->netid[i];

    if (netid < 0)
        return GUARD_UNASSIGNED;
    if (port == 1)
        return GUARD_LOOPBACK;
    if (o->chain[netid] == 1 && (mark & MARK_PROTECTED))
        return GUARD_PROTECTED;
    return o->port[netid][port] ? GUARD_PORT : GUARD_DROP;
}

/* Disjoint, ascending, joined; everything sorted and once. */
static void check_form(const struct guard *g)
{
    for (size_t i = 1; i < g->n_entries; i++) {
        const struct guard_entry *a = &g->entries[i - 1], *b = &g->entries[i];

        CHECK("entries are apart", a->uid.hi < b->uid.lo);
        CHECK("entries are joined", a->uid.hi + 1 < b->uid.lo || a->netid != b->netid);
    }
    for (size_t i = 1; i < g->n_chains; i++)
        CHECK("chains ascend", g->chains[i - 1].netid < g->chains[i].netid);
    for (size_t i = 1; i < g->n_ports; i++)
        CHECK("ports ascend", g->ports[i - 1].netid < g->ports[i].netid ||
                                  (g->ports[i - 1].netid == g->ports[i].netid &&
                                   g->ports[i - 1].ifindex < g->ports[i].ifindex));
    for (size_t i = 1; i < g->n_incoming; i++)
        CHECK("marks ascend", g->incoming[i - 1].ifindex < g->incoming[i].ifindex);
}

static void check_judge(const char *row, const struct guard *g, const struct oracle *o)
{
    for (unsigned i = 0; i < SPACE; i++)
        for (int port = 1; port < PORTS; port++)
            for (unsigned protected = 0; protected < 2; protected ++) {
                uint32_t mark = protected ? MARK_PROTECTED | 0x80000064 : 0x64;

                CHECK_INT(row, guard_judge(g, uid_at(i), mark, port, NULL),
                          judge_slowly(o, i, mark, port));
            }
    for (unsigned i = 0; i < SPACE; i++) {
        const struct guard_entry *e = guard_entry(g, uid_at(i));

        CHECK_INT(row, e ? (int64_t)e->netid : -1, o->netid[i]);
    }
    CHECK(row, guard_entry(g, LOW) == NULL && guard_entry(g, UID_MAX / 2) == NULL);
    for (int p = 0; p < PORTS; p++) {
        int64_t mark = -1;

        for (size_t i = 0; i < g->n_incoming; i++)
            if (g->incoming[i].ifindex == p)
                mark = g->incoming[i].mark;
        CHECK_INT(row, mark, o->incoming[p]);
    }
}

static void test_judge(void **state)
{
    struct rng g = { .state = 0x9a4d };

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct oracle o;
        struct guard *guard = random_guard(&g, &o, false);

        check_form(guard);
        check_judge("judge", guard, &o);
        guard_unref(guard);
    }
    CHECK_INT("no guard", guard_judge(NULL, 5, 0, 2, NULL), GUARD_UNASSIGNED);
    CHECK("no guard", guard_chain(NULL, 5) == NULL);
    CHECK_END();
}

/* A network that goes on by another interface, with nobody who was held to another network, keeps the one
 * that it had, if that is nobody's. */
static void hand_over_slowly(const struct oracle *before, const struct oracle *after, unsigned n,
                             struct oracle *ret)
{
    bool gains = false, arrivals = false;

    for (int p = 0; p < PORTS; p++)
        gains |= after->port[n][p] && !before->port[n][p];
    for (unsigned i = 0; i < SPACE; i++)
        arrivals |= after->netid[i] == (int64_t)n && before->netid[i] >= 0 &&
                    before->netid[i] != (int64_t)n;
    for (int p = 0; p < PORTS && gains && !arrivals; p++) {
        bool taken = false;

        for (unsigned m = 0; m < NETS; m++)
            taken |= after->port[m][p];
        if (before->port[n][p] && !taken)
            ret->port[n][p] = true;
    }
}

/* Every entry of after, before's where after has none; chains … `after` winning. */
static void overlay_slowly(const struct oracle *before, const struct oracle *after,
                           struct oracle *ret)
{
    *ret = *after;
    for (unsigned i = 0; i < SPACE; i++)
        if (after->netid[i] < 0)
            ret->netid[i] = before->netid[i];
    for (unsigned n = 0; n < NETS; n++)
        if (after->chain[n] < 0) {
            ret->chain[n] = before->chain[n];
            memcpy(ret->port[n], before->port[n], sizeof(ret->port[n]));
        }
    for (unsigned n = 0; n < NETS; n++)
        if (after->chain[n] >= 0)
            hand_over_slowly(before, after, n, ret);
    for (unsigned p = 0; p < PORTS; p++)
        if (after->incoming[p] < 0)
            ret->incoming[p] = before->incoming[p];
}

static void test_overlay(void **state)
{
    struct rng g = { .state = 0x0e41 };

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct oracle before, after, both;
        struct guard *a = random_guard(&g, &before, false), *b = random_guard(&g, &after, false);
        struct guard *over = guard_overlay(a, b), *again, *alone;

        overlay_slowly(&before, &after, &both);
        check_form(over);
        check_judge("overlay", over, &both);
        again = guard_overlay(a, over);
        CHECK("once is enough", guard_equal(again, over));
        alone = guard_overlay(NULL, b);
        CHECK("over nothing", guard_equal(alone, b));
        guard_unref(alone);
        alone = guard_overlay(b, b);
        CHECK("over itself", guard_equal(alone, b));
        guard_unref(alone);
        guard_unref(again);
        guard_unref(over);
        guard_unref(a);
        guard_unref(b);
    }
    CHECK_END();
}

/*
 * What the overlay is for: while both states count, what the new one drops is dropped already, or passed
 * before for the same network; and who is bound by either is bound.
 */
static void test_overlay_strict(void **state)
{
    struct rng g = { .state = 0x57a1 };

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct oracle before, after;
        struct guard *a = random_guard(&g, &before, true), *b = random_guard(&g, &after, true);
        struct guard *over = guard_overlay(a, b);
        uint32_t uid = uid_at(rng_below(&g, SPACE)), mark = rng_u32(&g);
        int port = 1 + (int)rng_below(&g, PORTS - 1);
        enum guard_verdict was = guard_judge(a, uid, mark, port, NULL);
        enum guard_verdict will = guard_judge(b, uid, mark, port, NULL);
        enum guard_verdict now = guard_judge(over, uid, mark, port, NULL);

        if (will == GUARD_DROP && now == GUARD_PORT)
            CHECK("nothing that both drop", was == GUARD_PORT || was == GUARD_UNASSIGNED);
        else if (will != GUARD_UNASSIGNED)
            CHECK_INT("as the new one says", now, will);
        else
            CHECK_INT("nobody is bound", now == GUARD_UNASSIGNED, was == GUARD_UNASSIGNED);
        guard_unref(over);
        guard_unref(a);
        guard_unref(b);
    }
    CHECK_END();
}

struct piece {
    struct uid_range uid;
    uint32_t netid;
};

/* Rows where ranges meet, by hand. */
static void test_ranges(void **state)
{
    static const struct {
        const char *name;
        struct piece before[3], after[3]; /* up to the first of netid 9 */
        const char *overlay;
    } rows[] = {
        { "nothing", { { .netid = 9 } }, { { .netid = 9 } }, "" },
        { "all cut out",
          { { { 5, 9 }, 1 }, { .netid = 9 } },
          { { { 0, 20 }, 2 }, { .netid = 9 } },
          "0-20:2;" },
        { "the middle cut out",
          { { { 5, 9 }, 1 }, { .netid = 9 } },
          { { { 7, 7 }, 2 }, { .netid = 9 } },
          "5-6:1;7-7:2;8-9:1;" },
        { "both ends cut",
          { { { 5, 9 }, 1 }, { .netid = 9 } },
          { { { 0, 5 }, 2 }, { { 9, 11 }, 2 }, { .netid = 9 } },
          "0-5:2;6-8:1;9-11:2;" },
        { "one cut through two",
          { { { 5, 9 }, 1 }, { { 10, 14 }, 3 }, { .netid = 9 } },
          { { { 8, 11 }, 2 }, { .netid = 9 } },
          "5-7:1;8-11:2;12-14:3;" },
        { "joined again",
          { { { 5, 9 }, 1 }, { .netid = 9 } },
          { { { 7, 7 }, 1 }, { .netid = 9 } },
          "5-9:1;" },
        { "the last uid",
          { { { 5, UID_MAX }, 1 }, { .netid = 9 } },
          { { { UID_MAX, UID_MAX }, 2 }, { .netid = 9 } },
          "5-4294967293:1;4294967294-4294967294:2;" },
        { "up to the last uid",
          { { { 0, UID_MAX }, 1 }, { .netid = 9 } },
          { { { 0, 3 }, 2 }, { { 8, UID_MAX }, 2 }, { .netid = 9 } },
          "0-3:2;4-7:1;8-4294967294:2;" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        struct guard *a = guard_new(), *b = guard_new(), *over;
        char text[256] = "";

        for (size_t j = 0; rows[i].before[j].netid != 9; j++)
            (void)guard_add_entry(a, rows[i].before[j].uid, rows[i].before[j].netid);
        for (size_t j = 0; rows[i].after[j].netid != 9; j++)
            (void)guard_add_entry(b, rows[i].after[j].uid, rows[i].after[j].netid);
        guard_sort(a);
        guard_sort(b);
        over = guard_overlay(a, b);
        for (size_t j = 0; j < over->n_entries; j++)
            snprintf(text + strlen(text), sizeof(text) - strlen(text), "%u-%u:%u;",
                     over->entries[j].uid.lo, over->entries[j].uid.hi, over->entries[j].netid);
        CHECK_TEXT(rows[i].name, text, rows[i].overlay);
        guard_unref(a);
        guard_unref(b);
        guard_unref(over);
    }
    CHECK_END();
}

/* Neighbours of one network stay apart when they are different apps, whatever else becomes of them. */
static void test_apps(void **state)
{
    static const struct guard_entry expected[] = {
        { .uid = { 1, 2 }, .netid = 7, .app = 70 },
        { .uid = { 3, 3 }, .netid = 7, .app = 71 },
        { .uid = { 4, 6 }, .netid = 7, .app = 72 },
        { .uid = { 7, 9 }, .netid = 7, .app = 71 },
    };
    struct guard *before = guard_new(), *after = guard_new(), *over;
    const struct guard_app exe = { .kind = GUARD_APP_EXE, .id = 1, .app = 5 },
                           cgroup = { .kind = GUARD_APP_CGROUP, .id = 1, .app = 6 };

    (void)state;
    CHECK_INT("add", guard_add_entry_of(before, (struct uid_range){ 3, 9 }, 7, 71), 0);
    CHECK_INT("add", guard_add_entry_of(after, (struct uid_range){ 2, 2 }, 7, 70), 0);
    CHECK_INT("add", guard_add_entry_of(after, (struct uid_range){ 4, 6 }, 7, 72), 0);
    CHECK_INT("add", guard_add_entry_of(after, (struct uid_range){ 1, 1 }, 7, 70), 0);
    CHECK_INT("add", guard_add_app(after, &cgroup) | guard_add_app(after, &exe), 0);
    guard_sort(before);
    guard_sort(after);
    over = guard_overlay(before, after);
    CHECK_INT("entries", over->n_entries, ELEMENTSOF(expected));
    CHECK("entries", mem_equal(over->entries, expected, sizeof(expected)));
    CHECK_INT("exe", guard_app_numbered(over, 5)->kind, GUARD_APP_EXE);
    CHECK_INT("cgroup", guard_app_numbered(over, 6)->kind, GUARD_APP_CGROUP);
    CHECK("no such", !guard_app_numbered(over, 70) && !guard_app_numbered(NULL, 5));
    over->entries[0].app++;
    CHECK("not equal", !guard_equal(over, after));
    guard_unref(before);
    guard_unref(after);
    guard_unref(over);
    CHECK_END();
}

static void test_equal(void **state)
{
    struct rng g = { .state = 0xe9a1 };
    struct oracle o;
    struct guard *a = random_guard(&g, &o, false), *empty = guard_new();

    (void)state;
    CHECK("itself", guard_equal(a, a) && guard_equal(NULL, NULL));
    CHECK("none", !guard_equal(a, NULL) && !guard_equal(NULL, a) && !guard_equal(empty, NULL));
    CHECK("empty", guard_equal(empty, empty) && !guard_equal(a, empty));
    for (int i = 0; i < 8; i++) {
        struct guard *b = guard_overlay(a, a);

        CHECK("a copy", guard_equal(a, b));
        switch (i) {
        case 0:
            b->entries[0].netid++;
            break;
        case 1:
            b->entries[0].uid.hi++;
            break;
        case 2:
            b->n_entries--;
            break;
        case 3:
            b->chains[0].exempt_protected = !b->chains[0].exempt_protected;
            break;
        case 4:
            b->ports[0].ifindex++;
            break;
        case 5:
            b->n_ports--;
            break;
        case 6:
            b->incoming[0].mark++;
            break;
        default:
            b->n_chains--;
        }
        CHECK("a change", !guard_equal(a, b));
        guard_unref(b);
    }
    guard_unref(a);
    guard_unref(empty);
    guard_unref(NULL);
    CHECK("NULL", guard_ref(NULL) == NULL);
    for (int v = 0; v < GUARD_VERDICT_MAX; v++)
        CHECK("words", guard_verdict_to_string(v) != NULL);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_judge),          cmocka_unit_test(test_overlay),
        cmocka_unit_test(test_overlay_strict), cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_equal),          cmocka_unit_test(test_apps),
    };

    return RUN_TESTS(tests);
}
