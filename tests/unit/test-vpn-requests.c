/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/model/edit-vpn: requests about VPNs, and what nobody may do to what follows from them. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "decide/edit-vpn.h"
#include "decide/vpn-conflict.h"
#include "decide/vpn.h"
#include "unit/scene.h"

#define UP "establish v 1000 wmtun0 address 10.0.0.2/24 "
#define V  "vpn v service owner uid:1000\n"
#define A  "address 10.0.0.2/24"

/* clang-format off */
static const struct {
    const char *scene, *line;
    int result;
    const char *why;
} requests[] = {
    { "", "vpn none service", -EINVAL, "a word with a meaning" },
    { "", "vpn a/b service", -EINVAL, "is no network name" },
    { V, "vpn v service", -EEXIST, "there is a VPN 'v' already" },
    { "network v\n", "vpn v service", -EEXIST, "there is a network 'v' already" },
    { "host-update\n", "vpn eth0 service", -EEXIST, "there is a network 'eth0' already" },
    { "host-update\n", "vpn eth0 adopted interface eth0", 0, "" },
    { "host-update\n", "establish eth0 1000 wmtun0 " A, -EEXIST, "there is a network 'eth0'" },
    { "network x\nassign uid:2000 x\nremove x\n", "establish x 1000 wmtun0 " A, -EEXIST,
      "apps are assigned to 'x' already" },
    { "network x\nassign uid:2000 x\nremove x\n", "establish x 0 wmtun0 " A, 0, "" },
    { "network v\ndefault v\nremove v\n", "vpn v service", -EINVAL, "is the default" },
    { "", "vpn v service app uid:1 except uid:2", -EINVAL, "say which apps, or which not" },
    { "", "vpn v service owner group:staff", -EINVAL, "the owner of a VPN is a uid:N" },
    { "", "vpn v service owner uid:1-2", -EINVAL, "the owner of a VPN is a uid:N" },
    { "", "vpn v service interface wg0", -EINVAL, "is a service: interface, addresses" },
    { "", "vpn v service dns 10.0.0.1", -EINVAL, "is a service: interface, addresses" },
    { "", "vpn v service fall-through", -EINVAL, "its program's routes say" },
    { "", "vpn v service lockdown", -EINVAL, "takes to know whose" },
    { "", "vpn v service owner exe:/usr/bin/ovpn always-on", -EINVAL, "takes to know whose" },
    { "", "vpn v service owner exe:/usr/bin/ovpn always-on everyone", 0, "" },
    { "", "vpn v adopted", -EINVAL, "to adopt a VPN takes its interface" },
    { "", "vpn v adopted interface wg0 owner uid:5", -EINVAL, "it has no owner and no engine" },
    { "", "vpn v adopted interface wg0 engine x.service", -EINVAL, "no owner and no engine" },
    { "", "vpn v adopted interface wg0 lockdown", -EINVAL, "takes to know whose" },
    { "", "vpn v adopted interface wg0 fall-through", -EINVAL, "takes routes" },
    { "", "vpn v adopted interface wg0 fall-through exclude 10.0.0.0/8", -EINVAL, "takes routes" },
    { "network x interface wg0\n", "vpn v adopted interface wg0", -EBUSY,
      "interface 'wg0' is in network 'x'" },
    { "vpn v adopted interface wg0\n", "vpn w adopted interface wg0", -EBUSY,
      "interface 'wg0' is VPN 'v''s" },
    { "network x\nassign uid:5 x\n", "vpn v adopted interface wg0 app uid:5", -EBUSY,
      "uid:5 is assigned to x" },
    { "network x\nassign uid:5 none\n", "vpn v adopted interface wg0 app uid:5", -EBUSY,
      "uid:5 is assigned to none" },
    { "network x\nassign uid:5 x\n", "vpn v adopted interface wg0 app uid:4-6", 0, "" },
    { "network x\nassign uid:5 x\n", "vpn v service app uid:5", 0, "" },
    { "vpn v adopted interface wg0 app uid:5-9\n", "establish w 9 wmtun0 " A, -EBUSY,
      "uid:9 is VPN 'v''s" },
    { "vpn v adopted interface wg0 app uid:5-9\n", "establish w 10 wmtun0 " A, 0, "" },
    { "vpn v adopted interface wg0 everyone\n", "establish w 10 wmtun0 " A, -EBUSY,
      "uid:10 is VPN 'v''s" },
    { "vpn v adopted interface wg0 everyone exempt uid:10\n", "establish w 10 wmtun0 " A, 0, "" },
    { "vpn v adopted interface wg0 everyone except uid:5-20\n", "establish w 10 wmtun0 " A, 0, "" },
    { "vpn v adopted interface wg0 everyone except uid:5-20\n", "establish w 21 wmtun0 " A, -EBUSY,
      "uid:21 is VPN 'v''s" },
    { "vpn v adopted interface wg0 everyone except uid:5-20 lockdown\n",
      "establish w 10 wmtun0 " A, -EBUSY, "uid:10 is VPN 'v''s" },
    { "vpn v adopted interface wg0 app exe:/bin/a\n", "vpn w service app exe:/bin/a lockdown",
      -EBUSY, "exe:/bin/a is VPN 'v''s" },
    { "vpn v adopted interface wg0 app exe:/bin/a\n", "vpn w service app exe:/bin/b lockdown", 0,
      "" },
    { "vpn v adopted interface wg0 app cgroup:/a\n", "vpn w service app cgroup:/a/b/c lockdown",
      -EBUSY, "cgroup:/a/b/c is VPN 'v''s" },
    { "vpn v adopted interface wg0 app cgroup:/a/b\n", "vpn w service app cgroup:/a lockdown",
      -EBUSY, "cgroup:/a/b is VPN 'v''s" },
    { "vpn v adopted interface wg0 app cgroup:/a\n", "vpn w service app cgroup:/ab lockdown", 0,
      "" },
    { "vpn v adopted interface wg0 app cgroup:/\n", "vpn w service app cgroup:/ab lockdown", -EBUSY,
      "cgroup:/ab is" },
    { "vpn v adopted interface wg0 app user:bob\n", "vpn w service app user:bob lockdown", -EBUSY,
      "user:bob is VPN 'v''s" },
    { "vpn v adopted interface wg0 app user:bob\nassign user:bob none origin config uids 5\n",
      "vpn w service app uid:5 lockdown", -EBUSY, "uid:5 is VPN 'v''s" },
    { "vpn v service app uid:5\n", "vpn w service app uid:5 lockdown", 0, "" },

    { V, "vpn-set x lockdown", -ENONET, "there is no VPN 'x'" },
    { "vpn v service app uid:5 origin config\n", "vpn-set v lockdown", -EPERM,
      "VPN 'v' stands in waymark.conf" },
    { V, "vpn-set v app uid:1 except uid:2", -EINVAL, "say which apps, or which not" },
    { V, "vpn-set v interface wg0", -EINVAL, "is a service" },
    { V, "vpn-set v address 10.0.0.1", -EINVAL, "is a service" },
    { V, "vpn-set v lockdown exempt uid:5 lan link-local engine x.service", 0, "" },
    { V "establish v 1000 wmtun0 " A "\n", "vpn-set v lockdown", 0, "" },
    { "vpn v service app uid:5\n", "vpn-set v no-lockdown", 0, "" },
    { "network x\nassign uid:5 x\n" V, "vpn-set v app uid:5 lockdown", -EBUSY, "is assigned to x" },
    { "establish v 1000 wmtun0 " A "\n", "vpn-set v lockdown", 0, "" },
    { "", "vpn-remove v", -ENONET, "there is no VPN 'v'" },
    { "vpn v service app uid:5 origin config\n", "vpn-remove v", -EPERM, "stands in waymark.conf" },

    { V, "establish v 1001 wmtun0 " A, -EPERM, "VPN 'v' is another user's" },
    { V, "establish v 0 wmtun0 " A, 0, "" },
    { "vpn v service owner user:al owner-is 1001\n", "establish v 1001 wmtun0 " A, 0, "" },
    { "vpn v service owner user:al\n", "establish v 1001 wmtun0 " A, -EPERM, "another user's" },
    { "vpn v service owner exe:/usr/bin/ovpn\n", "establish v 1001 wmtun0 " A, 0, "" },
    { "establish v 1000 wmtun0 " A "\n", "establish v 1001 wmtun1 " A, -EPERM, "another user's" },
    { "vpn v service\nestablish v 1000 wmtun0 " A "\n", "establish v 1001 wmtun1 " A, -EPERM,
      "another user's" },
    { "establish v 1000 wmtun0 " A "\n", "establish v 1000 wmtun1 " A, 0, "" },
    { "establish v 1000 wmtun0 " A "\n", "establish w 2000 wmtun0 " A, -EBUSY,
      "interface 'wmtun0' is VPN 'v''s" },
    { "vpn v adopted interface wg0\n", "establish v 1000 wmtun0 " A, -EINVAL, "is adopted" },
    { "", "establish v 1000 wmtun0", -EINVAL, "at least one address" },
    { "", "establish v 1000 0123456789abcdef " A, -EINVAL, "is no interface name" },
    { "", "establish v 1000 wmtun0 " A " allow uid:1000", 0, "" },
    { "", "establish v 1000 wmtun0 " A " disallow cgroup:/user.slice/user-1000.slice/x", 0, "" },
    { "", "establish v 1000 wmtun0 " A " disallow cgroup:/user.slice/user-1000.slice", 0, "" },
    { "", "establish v 1000 wmtun0 " A " allow cgroup:/user.slice/user-1000.slice/x", -EPERM,
      "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " disallow cgroup:/user.slice/user-1000.slicex", -EPERM,
      "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " allow uid:1000-1001", -EPERM, "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " allow exe:/usr/bin/firefox", -EPERM,
      "exe:/usr/bin/firefox may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " disallow exe:/usr/bin/zoom", -EPERM,
      "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " allow group:staff", -EPERM, "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " allow unit:a.service", -EPERM, "may be others' apps" },
    { "", "establish v 1000 wmtun0 " A " allow user:al", -EPERM, "may be others' apps" },
    { "vpn v service owner user:al owner-is 1000\n",
      "establish v 1000 wmtun0 " A " allow user:al", 0, "" },
    { "", "establish v 1000 wmtun0 everyone " A " allow exe:/usr/bin/firefox", 0, "" },
    { "vpn v service app uid:7\n", "establish v 1000 wmtun0 " A " allow exe:/usr/bin/firefox", 0,
      "" },

    { "", "configure v " A, -ENONET, "there is no VPN 'v'" },
    { V, "configure v " A, -ENOTCONN, "VPN 'v' is not established" },
    { "vpn v adopted interface wg0\n", "configure v " A, -ENOTCONN, "is not established" },
    { "establish v 1000 wmtun0 " A "\n", "configure v", -EINVAL, "at least one address" },
    { "establish v 1000 wmtun0 " A "\n", "configure v address 10.0.0.3 underlying eth0", 0, "" },
    { "establish v 1000 wmtun0 " A "\n", "configure v " A " allow uid:2", -EPERM, "others' apps" },

    { "", "vpn-down v", -ENONET, "there is no VPN 'v'" },
    { "", "vpn-up v", -ENONET, "there is no VPN 'v'" },
    { "", "vpn-lost v", -ENONET, "there is no VPN 'v'" },
    { V, "vpn-lost v", 0, "" },
    { "vpn v service app uid:5 origin config\n", "vpn-down v", 0, "" },
    { "vpn v adopted interface wg0 app uid:5\nvpn-down v\nnetwork x\nassign uid:5 x\n", "vpn-up v",
      -EBUSY, "uid:5 is assigned to x" },
    { V, "vpn-prepare v 1001", -EPERM, "another user's" },
    { V, "vpn-prepare v 1000", 0, "" },
    { V, "vpn-prepare w 1000", 0, "" },

    { "", "consent group:staff", -EINVAL, "consent is given to" },
    { "", "consent cgroup:/a", -EINVAL, "consent is given to" },
    { "", "consent-revoke uid:5", -ESRCH, "nothing was consented to uid:5" },
    { "consent uid:5\n", "consent-revoke uid:5", 0, "" },

    /* what follows from a VPN is changed with it */
    { V "vpn-update\n", "remove v", -EBUSY, "network v belongs to VPN 'v': see `waymark vpn`" },
    { V "vpn-update\n", "set v dns 1.1.1.1", -EBUSY, "network v belongs to VPN 'v'" },
    { V "vpn-update\n", "attach v eth0", -EBUSY, "network v belongs to VPN 'v'" },
    { V "vpn-update\n", "users v 5", -EBUSY, "network v belongs to VPN 'v'" },
    { V "vpn-update\n", "network v", -EEXIST, "there is a network 'v' already" },
    { "vpn v adopted interface wg0\nvpn-update\n", "route v 10.0.0.0/8", -EBUSY, "belongs to VPN" },
    { "vpn v adopted interface wg0\nvpn-update\n", "detach v wg0", -EBUSY, "belongs to VPN" },
    { "vpn v adopted interface wg0\nvpn-update\n", "network x interface wg0", -EBUSY,
      "interface wg0 belongs to VPN 'v'" },
    { "vpn v adopted interface wg0\nvpn-update\nnetwork x\n", "attach x wg0", -EBUSY,
      "interface wg0 belongs to VPN 'v'" },
    { "vpn v adopted interface wg0 app uid:5\nvpn-update\n", "unassign uid:5", -EBUSY,
      "uid:5 belongs to VPN 'v': see `waymark vpn`" },
    { "vpn v adopted interface wg0 app uid:5\nvpn-update\nnetwork x\n", "assign uid:5 x", -EBUSY,
      "uid:5 belongs to VPN 'v'" },
    { "vpn v adopted interface wg0 everyone exempt uid:5\nvpn-update\n", "unassign uid:5", -EBUSY,
      "uid:5 belongs to VPN 'v'" },
    { "vpn v adopted interface wg0 everyone\nvpn-update\nnetwork x\n", "assign uid:5 x", 0, "" },
    { V "vpn-update\n", "assign uid:5 v", 0, "" },
};
/* clang-format on */

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(requests); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        struct why why = { 0 };
        struct scene s;

        scene_follow(&s, requests[i].scene, &b);
        CHECK_INT(requests[i].line, scene_line(&s, requests[i].line, &why), requests[i].result);
        CHECK_CONTAINS(requests[i].line, why.text, requests[i].why);
        CHECK_INT(requests[i].line, why.error, requests[i].result);
        scene_done(&s);
    }
    CHECK_END();
}

static void test_selectors_of_the_back_end(void **state)
{
    static const char *const lines[] = {
        "vpn v adopted interface wg0 app exe:/bin/a",
        "vpn v service except unit:a.service",
        "vpn v service exempt cgroup:/a",
        "establish v 1000 wmtun0 everyone address 10.0.0.2 allow exe:/bin/a",
        "establish v 1000 wmtun0 everyone address 10.0.0.2 disallow exe:/bin/a",
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(lines); i++) {
        _cleanup_scene_ struct scene s;
        struct why why = { 0 };

        scene_init(&s);
        CHECK_INT(lines[i], scene_line(&s, lines[i], &why), -EOPNOTSUPP);
        CHECK_CONTAINS(lines[i], why.text, "need the `maps` back-end");
    }
    CHECK_END();
}

/* Who may protect sockets, as far as plans go; and nothing of it is written down. */
static void test_protectable(void **state)
{
    static const struct {
        const char *scene;
        uint32_t uid;
        bool can;
    } rows[] = {
        { "", 1000, false },
        { UP "\n", 1000, true },
        { UP "\nvpn-lost v\n", 1000, true },
        { UP "\nvpn-down v\n", 1000, false },
        { "vpn v service owner uid:1000\n", 1000, true },
        { "vpn v service owner exe:/usr/bin/ovpn\n", 1000, false },
        { "vpn v service owner exe:/usr/bin/ovpn\nvpn-prepare v 1000\n", 1000, true },
        { "vpn v adopted interface wg0 app uid:1000\n", 1000, false },
        { UP "\n", UID_INVALID, false },
    };
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    struct scene s;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        scene_follow(&s, rows[i].scene, &b);
        CHECK_INT(rows[i].scene, model_can_protect(s.m, rows[i].uid), rows[i].can);
        CHECK(rows[i].scene, !model_is_protectable(s.m, rows[i].uid));
        scene_done(&s);
    }
    scene_follow(&s, UP "\nprotect 5 yes\nprotect 1000 yes\nprotect 2000 yes\n", &b);
    CHECK_INT("5", model_next_protectable(s.m, 0), 5);
    CHECK_INT("1000", model_next_protectable(s.m, 6), 1000);
    CHECK_INT("2000", model_next_protectable(s.m, 1001), 2000);
    CHECK_INT("none", model_next_protectable(s.m, 2001), UID_INVALID);
    scene_done(&s);
    CHECK_END();
}

static void test_consent(void **state)
{
    _cleanup_scene_ struct scene s;
    const struct vpn_consent *c;

    (void)state;
    scene_init(&s);
    CHECK("nobody", !model_consent(s.m, 1000, "/usr/bin/ovpn"));
    scene_run(&s, "consent uid:1000\nconsent exe:/usr/bin/ovpn everyone\nconsent user:al\n");
    c = model_consent(s.m, 1000, NULL);
    CHECK("himself", c && !c->everyone);
    c = model_consent(s.m, 1000, "/usr/bin/ovpn");
    CHECK("the program's is for more", c && c->everyone);
    CHECK("another user", !model_consent(s.m, 1001, "/usr/bin/other"));
    CHECK("who is not known", !model_consent(s.m, UID_INVALID, NULL));
    for (size_t i = 0; i < s.m->n_consents; i++)
        if (s.m->consents[i].who.kind == SELECTOR_USER)
            s.m->consents[i].uid = 1001;
    CHECK("by name", model_consent(s.m, 1001, NULL) != NULL);
    scene_run(&s, "consent user:al everyone\n");
    c = model_consent(s.m, 1001, NULL);
    CHECK("who he is stays known", c && c->everyone);
    scene_run(&s, "consent-revoke uid:1000\n");
    CHECK("no more", !model_consent(s.m, 1000, NULL));
    CHECK_INT("two are left", s.m->n_consents, 2);
    CHECK_END();
}

/* Whose apps are in the way. */
static void test_other(void **state)
{
    _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
    const char *other = "?";
    struct vpn *v;
    struct scene s;

    (void)state;
    scene_follow(&s, UP "\nnetwork x\nassign uid:7 x\nvpn w service app uid:1000\n", &b);
    v = vpn_copy(model_vpn(s.m, "w"));
    v->lockdown = true;
    CHECK_INT("another VPN's", vpn_check_apps(s.m, v, &other, NULL), -EBUSY);
    CHECK_TEXT("another VPN's", other, "v");
    selector_list_done(&v->allowed);
    CHECK_INT("add", selector_list_add(&v->allowed, "uid:7", NULL), 0);
    CHECK_INT("the administrator's", vpn_check_apps(s.m, v, &other, NULL), -EBUSY);
    CHECK("the administrator's", !other);
    vpn_unref(v);
    scene_done(&s);
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests),    cmocka_unit_test(test_selectors_of_the_back_end),
        cmocka_unit_test(test_protectable), cmocka_unit_test(test_consent),
        cmocka_unit_test(test_other),
    };

    return RUN_TESTS(tests);
}
