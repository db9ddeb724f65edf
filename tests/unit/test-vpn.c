/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/decide/vpn, src/model/vpn-apps: what follows from a VPN; rows by the step of decide/vpn.h that they
 * show, and named tests by the assertion of android.md §7. And how VPNs come back out of the state file.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/store-records.h"
#include "daemon/store.h"
#include "decide/edit-vpn.h"
#include "decide/vpn.h"
#include "unit/scene.h"

#define UP "establish v 1000 wmtun0 address 10.0.0.2/24 "

/* clang-format off */
static const struct {
    int step;
    const char *name, *scene, *has, *has_not;
} steps[] = {
    { 1, "a network, also while it is down", "vpn v service owner uid:1000\n",
      "network 100 'v' vpn vpn permission none secure resolver", "assign" },
    { 1, "bypassable", UP "bypass\n", "'v' vpn vpn permission none fall-through resolver", NULL },
    { 1, "secure", UP "\n", "'v' vpn vpn permission none secure fall-through resolver", NULL },
    { 1, "lockdown makes it secure",
      "vpn v service owner uid:1000 bypass lockdown\n" UP "bypass\n",
      "'v' vpn vpn permission none secure lockdown resolver", NULL },
    { 1, "the administrator did not allow to bypass it",
      "vpn v service owner uid:1000\n" UP "bypass\n", "secure fall-through", NULL },
    { 1, "the administrator allowed to bypass it",
      "vpn v service owner uid:1000 bypass\n" UP "bypass\n", "permission none fall-through", NULL },
    { 1, "adopted", "vpn v adopted interface wg0\n",
      "'v' vpn vpn permission none secure resolver 0,0,0,0 source ''\n  interface 'wg0'\n", "route" },
    { 1, "adopted, falls through",
      "vpn v adopted interface wg0 fall-through route 10.0.0.0/8\n", "secure fall-through", NULL },
    { 1, "adopted, falls through, lockdown",
      "vpn v adopted interface wg0 everyone lockdown fall-through route 10.0.0.0/8\n",
      "secure lockdown resolver", NULL },
    { 1, "gone with its VPN", UP "\nvpn-update\nvpn-remove v\n", "known 'v' 100", "network 100" },
    { 1, "the same netId when it comes back",
      UP "\nvpn-update\nvpn-remove v\nvpn-update\nnetwork x\n" UP "\n", "network 100 'v'", NULL },
    { 1, "host network of the name", "host-update\nvpn wg0 adopted interface wg0\n",
      "'wg0' vpn vpn", "'wg0' vpn host" },

    { 2, "interface and routes", UP "route 0.0.0.0/0 exclude 192.168.0.0/16\n",
      "  interface 'wmtun0'\n  route 0.0.0.0/0 dev wmtun0\n"
      "  route 192.168.0.0/16 throw dev wmtun0\n  route 10.0.0.2/32 dev wmtun0\n"
      "  route ::/0 unreachable dev wmtun0\n", NULL },
    { 2, "IPv4 is the one that is not known", "establish v 1000 wmtun0 address fd00::2/64\n",
      "  route fd00::2/128 dev wmtun0\n  route 0.0.0.0/0 unreachable dev wmtun0\n", NULL },
    { 2, "the family was let through", UP "family inet6\n", "wmtun0", "unreachable" },
    { 2, "its own address is excluded", UP "exclude 10.0.0.2/32\n",
      "route 10.0.0.2/32 throw", "route 10.0.0.2/32 dev" },
    { 2, "the default of a blocked family is excluded", UP "exclude ::/0\n",
      "route ::/0 throw", "unreachable" },
    { 2, "DNS", UP "dns 10.0.0.53 domain office.example\n",
      "  dns 10.0.0.53\n  domain 'office.example'\n", NULL },
    { 2, "not while it is down", "vpn v service owner uid:1000\n" UP
      "route 0.0.0.0/0 dns 10.0.0.53\nvpn-down v\n", "secure resolver 0,0,0,0 source ''\nknown",
      "fall-through" },
    { 2, "lost: what is its own stays so", UP "route 10.0.0.0/8 dns 10.0.0.53\nvpn-lost v\n",
      "secure fall-through resolver 0,0,0,0 source ''\n  route 10.0.0.0/8\n"
      "  route 10.0.0.2/32\n  route ::/0 unreachable\nassign", "wmtun0" },
    { 2, "lost, bypassable: down", UP "bypass\nvpn-update\nvpn-lost v\n", "known 'v'", "network 100" },
    { 2, "adopted: its routes are its own", "vpn v adopted interface wg0 dns 10.0.0.53\n",
      "  route ::/0 unreachable dev wg0\n  dns 10.0.0.53\n", NULL },
    { 2, "LAN: link-local", UP "lan link-local\n", "  outside 169.254.0.0/16\n"
      "  outside 224.0.0.0/24\n  outside fe80::/10\n  outside ff02::/16\n", NULL },
    { 2, "LAN: prefixes", UP "lan 192.168.1.0/24\n", "  outside 192.168.1.0/24\n", NULL },
    { 2, "LAN: the administrator's comes first",
      "vpn v service owner uid:1000 lan 10.7.0.0/16\n" UP "lan 192.168.1.0/24\n",
      "  outside 10.7.0.0/16\n", "192.168.1.0/24\nassign" },
    { 2, "LAN: under lockdown only the administrator's",
      "vpn v service owner uid:1000 lockdown\n" UP "lan 192.168.1.0/24\n", "lockdown", "outside" },
    { 2, "LAN: the administrator's under lockdown",
      "vpn v service owner uid:1000 lockdown lan link-local\n", "  outside fe80::/10\n", NULL },
    { 2, "an interface that is another network's",
      "vpn v adopted interface wg0\nnetwork x interface wg0\n",
      "network 101 'v' vpn vpn permission none secure resolver 0,0,0,0 source ''\nknown", NULL },
    { 2, "handover", UP "\nvpn-update\nestablish v 1000 wmtun1 address 10.0.0.2/24\n",
      "network 100 'v' vpn vpn permission none secure fall-through resolver 0,0,0,0 source ''\n"
      "  interface 'wmtun1'\n", "'wmtun0'" },

    { 3, "not before it is established", "vpn v service owner uid:1000\n", "'v'", "assign" },
    { 3, "established", UP "\n", "assign uid:1000 v require vpn", NULL },
    { 3, "bypassable", UP "bypass\n", "assign uid:1000 v prefer vpn", NULL },
    { 3, "down", "vpn v service owner uid:1000\n" UP "\nvpn-update\nvpn-down v\n", "'v'", "assign" },
    { 3, "disconnected: nobody's any more", UP "\nvpn-update\nvpn-down v\n", "known", "assign" },
    { 3, "lockdown: before", "vpn v service owner uid:1000 lockdown\n",
      "assign uid:1000 v require vpn", NULL },
    { 3, "lockdown: down", "vpn v service owner uid:1000 lockdown\n" UP "\nvpn-down v\n",
      "assign uid:1000 v require vpn", NULL },
    { 3, "always-on: before", "vpn v service owner uid:1000 always-on\n",
      "assign uid:1000 v require vpn", "fall-through" },
    { 3, "always-on, bypassable, up", "vpn v service owner uid:1000 always-on bypass\n" UP
      "bypass\n", "assign uid:1000 v prefer vpn", NULL },
    { 3, "always-on, bypassable, down: it is waited for",
      "vpn v service owner uid:1000 always-on bypass\n" UP "bypass\nvpn-down v\n",
      "assign uid:1000 v require vpn", "fall-through" },
    { 3, "always-on: the program's apps, also while it is down",
      "vpn v service owner uid:1000 everyone always-on\n" UP "allow uid:7\nvpn-down v\n",
      "assign uid:7 v require vpn", "uid:1-" },
    { 3, "lost", UP "\nvpn-lost v\n", "assign uid:1000 v require vpn", NULL },
    { 3, "lost, then taken down", UP "\nvpn-update\nvpn-lost v\nvpn-update\nvpn-down v\n", "known",
      "assign" },
    { 3, "adopted", "vpn v adopted interface wg0 app uid:5\n", "assign uid:5 v require vpn", NULL },
    { 3, "adopted, down", "vpn v adopted interface wg0 app uid:5\nvpn-down v\n", "'v'", "assign" },
    { 3, "adopted, down, lockdown", "vpn v adopted interface wg0 app uid:5 lockdown\nvpn-down v\n",
      "assign uid:5 v require vpn", "interface" },
    { 3, "adopted, up again", "vpn v adopted interface wg0 app uid:5\nvpn-down v\nvpn-up v\n",
      "assign uid:5 v require vpn", NULL },
    { 3, "adopted, bypassable", "vpn v adopted interface wg0 app uid:5 bypass\n",
      "assign uid:5 v prefer vpn", NULL },

    { 4, "the user's own", UP "\n", "assign uid:1000 v", "uid:1-" },
    { 4, "everybody's", "establish v 1000 wmtun0 everyone address 10.0.0.2/24\n",
      "assign uid:1-4294967294 v require", NULL },
    { 4, "the program's list", "establish v 1000 wmtun0 everyone address 10.0.0.2/24 "
      "allow exe:/usr/bin/firefox allow user:bob\n",
      "assign user:bob v require vpn at '':0\nassign exe:/usr/bin/firefox v require", "uid:1-" },
    { 4, "the administrator's list wins", "vpn v service app uid:7\n" UP "allow uid:1000\n",
      "assign uid:7 v", "uid:1000" },
    { 4, "his list of who not, too", "vpn v service everyone except uid:7\n" UP "allow uid:1000\n",
      "assign uid:1-4294967294 v require vpn at '':0\nassign uid:7 default prefer vpn", "uid:1000 " },
    { 4, "his user, while nobody has established it", "vpn v service owner user:al owner-is 1001 "
      "lockdown\n", "assign uid:1001 v require", NULL },
    { 4, "a user who is not known", "vpn v service owner user:al lockdown\n", "'v'", "assign" },
    { 4, "adopted, nobody's", "vpn v adopted interface wg0\n", "'v'", "assign" },
    { 4, "adopted, everybody's", "vpn v adopted interface wg0 everyone\n",
      "assign uid:1-4294967294 v", NULL },
    { 4, "lockdown: whom the program leaves out has nothing",
      "vpn v service owner uid:1000 everyone lockdown\n" UP "allow exe:/bin/a\n",
      "assign uid:1-4294967294 - require vpn at '':0\nassign exe:/bin/a v require", NULL },
    { 4, "lockdown: the administrator's list is his",
      "vpn v service owner uid:1000 app exe:/bin/a lockdown\n" UP "\n", "assign exe:/bin/a v",
      "assign uid" },
    { 4, "lockdown: all that it may be for",
      "vpn v service owner uid:1000 lockdown\n" UP "allow uid:1000\n",
      "assign uid:1000 v require", " - " },

    { 5, "disallowed", "establish v 1000 wmtun0 everyone address 10.0.0.2/24 "
      "disallow exe:/usr/bin/zoom\n", "assign exe:/usr/bin/zoom default prefer vpn", NULL },
    { 5, "disallowed, lockdown", "vpn v service everyone except exe:/usr/bin/zoom lockdown\n",
      "assign exe:/usr/bin/zoom - require vpn", NULL },
    { 5, "exempt", "vpn v adopted interface wg0 everyone exempt uid:5\n",
      "assign uid:5 default prefer vpn", NULL },
    { 5, "exempt, lockdown", "vpn v adopted interface wg0 everyone exempt uid:5 lockdown\n",
      "assign uid:5 default prefer vpn", NULL },
    { 5, "exempt and disallowed", "vpn v service everyone except uid:5 exempt uid:5 lockdown\n",
      "assign uid:5 default prefer vpn", NULL },
    { 5, "exempt and allowed", "vpn v service app uid:5 app uid:6 exempt uid:5 lockdown\n",
      "assign uid:5 default prefer vpn at '':0\nassign uid:6 v", NULL },

    { 6, "somebody else's assignment",
      "network x\nvpn v adopted interface wg0 app uid:5 app uid:6\nassign uid:5 x\n",
      "assign uid:5 x require command at '':0\nassign uid:6 v require vpn", NULL },
    { 6, "what was unassigned is its own again", "network x\nassign uid:5 x\n"
      "vpn v adopted interface wg0 app uid:6 exempt uid:5\nvpn-update\nunassign uid:5\n",
      "assign uid:5 default prefer vpn", NULL },
    { 6, "an exemption that is somebody's assignment", "network x\nassign uid:5 x\n"
      "vpn v adopted interface wg0 everyone exempt uid:5\n", "assign uid:5 x require command", NULL },
    { 6, "two VPNs of the configuration and a command",
      "vpn b adopted interface wg0 exempt uid:5 origin config\nvpn a service app uid:5 lockdown\n",
      "assign uid:5 a require vpn", NULL },
};
/* clang-format on */

static void test_steps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, cut = STRBUF_INIT;
        const char *vpns;
        struct scene s;

        scene_follow(&s, steps[i].scene, &b);
        vpns = strstr(strbuf_text(&b), "\nvpn '"); /* what follows, not what it follows from */
        strbuf_add_bytes(&cut, b.data, vpns ? (size_t)(vpns - b.data) + 1 : b.size);
        strbuf_add_char(&cut, '\0');
        CHECK_CONTAINS(steps[i].name, cut.data, steps[i].has);
        CHECK(steps[i].name, !steps[i].has_not || !strstr(cut.data, steps[i].has_not));
        scene_done(&s);
    }
    CHECK_END();
}

/* The second time nothing changes: neither a network's object nor the table. */
static void test_idempotent(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct model *copy;
        struct scene s;

        scene_follow(&s, steps[i].scene, &b);
        copy = model_copy(s.m);
        CHECK_INT(steps[i].name, vpn_update(s.m), 0);
        CHECK(steps[i].name, copy->assignments == s.m->assignments &&
                                 copy->n_networks == s.m->n_networks &&
                                 mem_equal(copy->networks, s.m->networks,
                                           copy->n_networks * sizeof(struct network *)));
        model_free(copy);
        scene_done(&s);
    }
    CHECK_END();
}

/* The assignments of ORIGIN_VPN, by which the assertions of android.md §7 are told. */
static const char *apps(struct scene *s, struct strbuf *b)
{
    strbuf_clear(b);
    assert_int_equal(vpn_update(s->m), 0);
    for (size_t i = 0; i < s->m->assignments->n; i++) {
        const struct assignment *a = &s->m->assignments->items[i];

        if (a->origin != ORIGIN_VPN)
            continue;
        selector_print(&a->selector, b);
        strbuf_add(b, " %s\n", assignment_target(a));
    }
    return strbuf_text(b);
}

/* 55: whole user; with an allow-list exactly those; a deny-list produces the gaps. */
static void test_55_ranges(void **state)
{
    static const struct {
        const char *lists, *apps;
    } rows[] = {
        { "", "uid:1-4294967294 v\n" },
        { "allow uid:1000 allow uid:1001 allow uid:1005", "uid:1000 v\nuid:1001 v\nuid:1005 v\n" },
        { "disallow uid:1000", "uid:1-4294967294 v\nuid:1000 default\n" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, line = STRBUF_INIT;
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        strbuf_add(&line, "establish v 1000 wmtun0 everyone address 10.0.0.2 %s", rows[i].lists);
        CHECK_INT(rows[i].lists, scene_line(&s, strbuf_text(&line), NULL), 0);
        CHECK_TEXT(rows[i].lists, apps(&s, &b), rows[i].apps);
    }
    CHECK_END();
}

/* 57: saying it twice is saying it once; each transition is exactly inverse. */
static void test_57_lockdown_is_inverse(void **state)
{
    _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, held = STRBUF_INIT, after = STRBUF_INIT;
    const struct assignments *table;
    struct scene s;

    (void)state;
    scene_follow(&s, "vpn v service owner uid:1000 except uid:7\n", &before);
    CHECK_TEXT("before", apps(&s, &held), "");
    scene_run(&s, "vpn-set v lockdown\n");
    CHECK_TEXT("on", apps(&s, &held), "uid:7 none\nuid:1000 v\n");
    table = s.m->assignments;
    scene_run(&s, "vpn-set v lockdown\n");
    CHECK_TEXT("on again", apps(&s, &held), "uid:7 none\nuid:1000 v\n");
    CHECK("nothing was touched", table == s.m->assignments);
    scene_run(&s, "vpn-set v no-lockdown\n");
    CHECK_TEXT("off", apps(&s, &held), "");
    dump_model(s.m, &after);
    CHECK_TEXT("as before", strbuf_text(&after), strbuf_text(&before));
    scene_done(&s);
    CHECK_END();
}

/* 58: lockdown leaves out uid 0 and who is exempt; another owner swaps the old set for the new. */
static void test_58_lockdown_ranges(void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct scene s;

    (void)state;
    scene_follow(&s, "vpn v service everyone lockdown exempt exe:/usr/bin/dialer\n", &b);
    CHECK_TEXT("all but root", apps(&s, &b), "uid:1-4294967294 v\nexe:/usr/bin/dialer default\n");
    scene_run(&s, "vpn-set v no-everyone owner uid:1000\n");
    CHECK_TEXT("one user", apps(&s, &b), "uid:1000 v\nexe:/usr/bin/dialer default\n");
    scene_run(&s, "vpn-set v owner uid:1001\n");
    CHECK_TEXT("another one", apps(&s, &b), "uid:1001 v\nexe:/usr/bin/dialer default\n");
    scene_done(&s);
    CHECK_END();
}

/* 59: a changed list of exempt apps touches those alone: the others' entries are as they were. */
static void test_59_only_what_changed(void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct assignments *before;
    struct assignments_walk w = { 0 };
    const struct assignment *o, *n;
    size_t same = 0, changed = 0;
    struct scene s;

    (void)state;
    scene_follow(&s, "vpn v service everyone lockdown exempt uid:5 exempt uid:6\n", &b);
    before = assignments_ref(s.m->assignments);
    scene_run(&s, "vpn-set v exempt uid:6 exempt uid:7\n");
    CHECK_TEXT("after", apps(&s, &b), "uid:1-4294967294 v\nuid:6 default\nuid:7 default\n");
    w.a = before;
    w.b = s.m->assignments;
    while (assignments_next(&w, &o, &n)) {
        same += o && n && assignment_equal(o, n);
        changed += !o || !n;
    }
    CHECK_INT("the others", same, 2);
    CHECK_INT("5 and 7", changed, 2);
    assignments_unref(before);
    scene_done(&s);
    CHECK_END();
}

/* 79, what is derived: excluded destinations are thrown, those inside of them are routes again. */
static void test_79_excluded_routes(void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct scene s;

    (void)state;
    scene_follow(
        &s, UP "route 0.0.0.0/0 exclude 10.0.0.0/8 route 10.1.0.0/16 exclude 10.1.2.0/24\n", &b);
    CHECK_CONTAINS("79", strbuf_text(&b),
                   "  route 0.0.0.0/0 dev wmtun0\n  route 10.0.0.0/8 throw dev wmtun0\n"
                   "  route 10.1.0.0/16 dev wmtun0\n  route 10.1.2.0/24 throw dev wmtun0\n");
    CHECK_CONTAINS("79", strbuf_text(&b), "secure fall-through");
    scene_done(&s);
    CHECK_END();
}

/* 102: whose consent is for himself has no other user's apps, whatever his program asks for. */
static void test_102_other_users_are_never_included(void **state)
{
    static const char *const wants[] = {
        "allow uid:1001",    "allow uid:0-4294967294",     "allow user:bob",
        "disallow uid:1001", "allow exe:/usr/bin/firefox", "disallow unit:a.service"
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(wants); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, line = STRBUF_INIT;
        struct scene s;

        scene_follow(&s, UP "\n", &b);
        CHECK_TEXT(wants[i], apps(&s, &b), "uid:1000 v\n");
        strbuf_add(&line, UP "%s", wants[i]);
        CHECK_INT(wants[i], scene_line(&s, strbuf_text(&line), NULL), -EPERM);
        scene_done(&s);
    }
    CHECK_END();
}

static size_t count_derived(const struct model *m)
{
    size_t n = 0;

    for (size_t i = 0; i < m->n_networks; i++)
        n += m->networks[i]->origin == ORIGIN_VPN;
    for (size_t i = 0; i < m->assignments->n; i++)
        n += m->assignments->items[i].origin == ORIGIN_VPN;
    return n;
}

/* Every step and every word of a VPN comes back out of the state file; nothing that is derived is in it. */
static void check_round_trip(const char *name, const struct model *m)
{
    _cleanup_strbuf_ struct strbuf lines = STRBUF_INIT, before = STRBUF_INIT, after = STRBUF_INIT;
    _cleanup_(model_freep) struct model *empty = model_new(), *back = model_new();
    struct why why = { 0 };
    size_t committed;

    strbuf_add(&lines, "waymark-state 1\nboot x\n");
    store_records_diff(empty, m, &lines);
    strbuf_add(&lines, "end\n");
    CHECK(name, !strstr(lines.data, " vpn\n") && !strstr(lines.data, " vpn vpn"));
    CHECK_INT(name, store_parse(lines.data, "x", back, &committed, &why), 0);
    CHECK_TEXT(name, why.text, "");
    dump_vpns(m, &before);
    dump_vpns(back, &after);
    CHECK_TEXT(name, strbuf_text(&after), strbuf_text(&before));
    CHECK_INT(name, vpn_update(back), 0);
    CHECK_INT(name, count_derived(back), count_derived(m));
}

static void test_round_trip(void **state)
{
    static const char all[] =
        "vpn a adopted interface wg0 app uid:5 app exe:/usr/bin/a\\b exempt user:al lockdown "
        "bypass "
        "address 10.0.0.2/24 route 10.0.0.0/8 exclude 10.1.0.0/16 dns 10.0.0.53 domain x.y "
        "lan 10.2.0.0/16 lan 10.3.0.0/16 fall-through\nvpn-down a\n"
        "vpn b service owner user:bob owner-is 1001 except uid:7 always-on lan link-local "
        "engine /usr/bin/engine\nvpn e service everyone\n"
        "establish c 1002 wmtun3 address 10.0.0.2/24 address fd00::2/64 mtu 1400 session Work "
        "allow uid:1002 family inet underlying eth0 lan link-local bypass\n"
        "establish d 1003 wmtun4 address 10.0.0.2/24\nvpn-lost d\n"
        "consent uid:5 everyone\nconsent exe:/usr/bin/ovpn\n";
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct scene s;

    (void)state;
    scene_follow(&s, all, &b);
    check_round_trip("all", s.m);
    scene_done(&s);
    for (size_t i = 0; i < ELEMENTSOF(steps); i++) {
        if (strstr(steps[i].scene, "origin config"))
            continue;
        scene_follow(&s, steps[i].scene, &b);
        check_round_trip(steps[i].name, s.m);
        scene_done(&s);
    }
    CHECK_END();
}

/* Of the configuration's only how they are; and after a reboot none of that. */
static void test_other_boot(void **state)
{
    static const char *const boots[] = { "x", "y" };
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct scene s;

    (void)state;
    scene_follow(&s,
                 "vpn a adopted interface wg0 app uid:5 origin config lockdown\n"
                 "vpn b service owner uid:1001 lockdown\nestablish b 1001 wmtun1 address 10.0.0.2\n"
                 "vpn c adopted interface eth0 app uid:6\nvpn-down c\n" UP "\nvpn-down a\n"
                 "consent uid:7\n",
                 &b);
    for (size_t i = 0; i < ELEMENTSOF(boots); i++) {
        _cleanup_strbuf_ struct strbuf lines = STRBUF_INIT;
        _cleanup_(model_freep) struct model *empty = model_new(), *m = model_new();
        bool same = i == 0;
        const struct vpn *v;
        size_t committed;

        strbuf_add(&lines, "waymark-state 1\nboot x\n");
        store_records_diff(empty, s.m, &lines);
        strbuf_add(&lines, "end\n");
        CHECK_INT(boots[i], store_parse(lines.data, boots[i], m, &committed, NULL), 0);
        CHECK_INT("by a program", model_vpn(m, "v") != NULL, same);
        v = model_vpn(m, "a");
        CHECK_INT("configuration", v != NULL, same);
        CHECK("configuration", !v || (v->down && v->allowed.n == 0 && v->n_interfaces == 0));
        v = model_vpn(m, "b");
        CHECK("profile", v && v->lockdown && v->established == same &&
                             (v->n_interfaces > 0) == same && (v->config != NULL) == same &&
                             (v->owner_uid == 1001) == same);
        v = model_vpn(m, "c");
        CHECK("adopted", v && v->down == same && v->n_interfaces == 1);
        CHECK_INT("consent", m->n_consents, 1);
    }
    scene_done(&s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steps),
        cmocka_unit_test(test_idempotent),
        cmocka_unit_test(test_55_ranges),
        cmocka_unit_test(test_57_lockdown_is_inverse),
        cmocka_unit_test(test_58_lockdown_ranges),
        cmocka_unit_test(test_59_only_what_changed),
        cmocka_unit_test(test_79_excluded_routes),
        cmocka_unit_test(test_102_other_users_are_never_included),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_other_boot),
    };

    return RUN_TESTS(tests);
}
