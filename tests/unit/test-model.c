/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/model: networks, assignments and models as values. Copies share what did not change, and
 * nothing that is done to one is seen in another.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "unit/scene.h"

static struct network *new_network(uint32_t netid, const char *name)
{
    struct network *n = network_new();

    assert_non_null(n);
    n->netid = netid;
    (void)str_set(n->name, sizeof(n->name), name);
    return n;
}

/* clang-format off */
static const struct {
    const char *name;
    bool good;
} names[] = {
    { "a", true }, { "eth0", true }, { "eth0.100", true }, { "a:b@c_d.e+f-g", true }, { "0", true },
    { "1234567890123456789012345678901234567890123456789012345678901234", true },
    { "12345678901234567890123456789012345678901234567890123456789012345", false },
    { "", false }, { "-a", false }, { "a-", true }, { ".", true }, { "+", true }, { "a b", false },
    { "a/b", false }, { "a\tb", false }, { "a%b", false }, { "\xc3\xa4", false }, { "none", false },
    { "system", false }, { "default", false }, { "all", false }, { "None", true },
    { "nonex", true },
};

static const struct {
    const char *domain;
    bool good;
} domains[] = {
    { "example.org", true }, { "org", true }, { "a-b.c_d.e", true }, { "example.org.", true },
    { "1.2.3.4", true }, { "", false }, { ".", false }, { ".org", false }, { "a..b", false },
    { "a b", false }, { "a/b", false }, { "\xc3\xa4.de", false },
    { "123456789012345678901234567890123456789012345678901234567890123.de", true },
    { "1234567890123456789012345678901234567890123456789012345678901234.de", false },
};
/* clang-format on */

static void test_names(void **state)
{
    char longest[NETWORK_DOMAIN_LEN_MAX + 2] = "";

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(names); i++) {
        struct why why = { 0 };

        CHECK_INT(names[i].name, network_name_check(names[i].name, &why),
                  names[i].good ? 0 : -EINVAL);
        CHECK_INT(names[i].name, why.text[0] != '\0', !names[i].good);
    }
    for (size_t i = 0; i < ELEMENTSOF(domains); i++)
        CHECK_INT(domains[i].domain, network_domain_check(domains[i].domain, NULL),
                  domains[i].good ? 0 : -EINVAL);
    for (size_t i = 0; i < NETWORK_DOMAIN_LEN_MAX; i++)
        longest[i] = i % 2 ? '.' : 'a';
    CHECK_INT("255 bytes", network_domain_check(longest, NULL), 0);
    longest[NETWORK_DOMAIN_LEN_MAX - 1] = 'b';
    longest[NETWORK_DOMAIN_LEN_MAX] = 'b';
    CHECK_INT("256 bytes", network_domain_check(longest, NULL), -EINVAL);
    CHECK_END();
}

/* Every enum's words come back. */
static void test_words(void **state)
{
    static const enum permission permissions[] = { PERMISSION_NONE, PERMISSION_NETWORK,
                                                   PERMISSION_SYSTEM };

    (void)state;
    for (int i = 0; i < NETWORK_TYPE_MAX; i++)
        CHECK_INT("type", network_type_from_string(network_type_to_string(i)), i);
    for (int i = 0; i < ORIGIN_MAX; i++)
        CHECK_INT("origin", origin_from_string(origin_to_string(i)), i);
    for (int i = 0; i < STRENGTH_MAX; i++)
        CHECK_INT("strength", strength_from_string(strength_to_string(i)), i);
    for (size_t i = 0; i < ELEMENTSOF(permissions); i++)
        CHECK_INT("permission", permission_from_string(permission_to_string(permissions[i])),
                  permissions[i]);
    CHECK_INT("type", network_type_from_string("virtual"), -EINVAL);
    CHECK_INT("origin", origin_from_string(""), -EINVAL);
    CHECK_INT("strength", strength_from_string("Require"), -EINVAL);
    CHECK_INT("permission", permission_from_string("root"), -EINVAL);
    CHECK_INT("permission", permission_from_string("2"), -EINVAL);
    CHECK_END();
}

static void fill_network(struct network *n)
{
    struct route_spec route = { .mtu = 1400 };
    struct ip_addr dns;

    assert_int_equal(ip_addr_parse("1.1.1.1", &dns), 0);
    assert_int_equal(ip_prefix_parse("10.0.0.0/8", &route.dst), 0);
    assert_int_equal(network_add_interface(n, "eth0"), 0);
    assert_int_equal(network_add_route(n, &route), 0);
    assert_int_equal(network_add_user(n, (struct uid_range){ 1, 2 }), 0);
    assert_int_equal(network_add_dns(n, &dns), 0);
    assert_int_equal(network_add_domain(n, "a"), 0);
    n->source = rstr_new("file:1");
}

/* Each of these, and of change_lists(), makes a network another one. */
static void change_values(struct network *n, int which)
{
    switch (which) {
    case 0:
        n->netid++;
        break;
    case 1:
        n->name[0] = 'x';
        break;
    case 2:
        n->type = NETWORK_VPN;
        break;
    case 3:
        n->origin = ORIGIN_RUNTIME;
        break;
    case 4:
        n->permission = PERMISSION_SYSTEM;
        break;
    case 5:
        n->secure = true;
        break;
    case 6:
        n->has_dns = true;
        break;
    case 7:
        n->exclude_local = true;
        break;
    case 8:
        n->resolver.max_samples++;
        break;
    case 9:
        n->fall_through = true;
        break;
    case 10:
        n->lockdown = true;
        break;
    default:
        rstr_unref(n->source);
        n->source = NULL;
    }
}

enum { VALUES = 12 };

static void change_lists(struct network *n, int which)
{
    struct route_spec route = { .mtu = 1 };

    assert_int_equal(ip_prefix_parse("11.0.0.0/8", &route.dst), 0);
    switch (which) {
    case 0:
        n->interfaces[0][0] = 'x';
        break;
    case 1:
        assert_int_equal(network_add_interface(n, "eth1"), 0);
        break;
    case 2:
        n->routes[0].mtu++;
        break;
    case 3:
        assert_int_equal(network_add_route(n, &route), 0);
        break;
    case 4:
        n->users[0].hi++;
        break;
    case 5:
        n->dns[0].bytes[3]++;
        break;
    case 6:
        network_clear_domains(n);
        break;
    case 7:
        assert_int_equal(network_add_outside(n, &route.dst), 0);
        break;
    default:
        network_clear_dns(n);
    }
}

static void test_network_copy(void **state)
{
    struct network *a = new_network(100, "home");

    (void)state;
    fill_network(a);
    for (int i = 0; i < VALUES + 9; i++) {
        struct network *b = network_copy(a), *c = network_copy(a);
        char row[16];

        snprintf(row, sizeof(row), "change %d", i);
        CHECK(row, b != a && network_equal(a, b) && network_equal(b, a));
        if (i < VALUES)
            change_values(b, i);
        else
            change_lists(b, i - VALUES);
        CHECK(row, !network_equal(a, b) && !network_equal(b, a));
        CHECK(row, network_equal(a, c));
        network_unref(b);
        network_unref(c);
    }
    CHECK("itself", network_equal(a, a));
    CHECK_INT("domains are shared", a->domains[0]->refs, 1);
    network_unref(a);
    CHECK_END();
}

static void test_network_setters(void **state)
{
    struct route_spec route = { 0 };
    struct network *n = new_network(100, "home");

    (void)state;
    CHECK_INT("interface", network_add_interface(n, "0123456789abcde"), 0);
    CHECK_INT("interface", network_add_interface(n, "0123456789abcde"), -EEXIST);
    CHECK_INT("interface", network_add_interface(n, "0123456789abcdef"), -ENAMETOOLONG);
    CHECK_INT("interface", network_add_interface(n, ""), -ENAMETOOLONG);
    CHECK_INT("interface", network_add_interface(n, "b"), 0);
    CHECK_INT("interface", network_remove_interface(n, "c"), -ENOENT);
    CHECK_INT("interface", network_remove_interface(n, "0123456789abcde"), 0);
    CHECK("interface", network_has_interface(n, "b") && n->n_interfaces == 1);

    CHECK_INT("route", network_add_route(n, &route), 0);
    CHECK_INT("route", network_add_route(n, &route), -EEXIST);
    CHECK_INT("route", network_remove_route(n, &route), 0);
    CHECK_INT("route", network_remove_route(n, &route), -ESRCH);

    for (uint32_t i = 0; i < 3; i++)
        CHECK_INT("users", network_add_user(n, (struct uid_range){ i, 9 }), 0);
    CHECK_INT("users", network_remove_user(n, (struct uid_range){ 1, 9 }), 0);
    CHECK_INT("users", network_remove_user(n, (struct uid_range){ 1, 9 }), -ENOENT);
    CHECK_INT("users", network_remove_user(n, (struct uid_range){ 0, 8 }), -ENOENT);
    CHECK("users", n->n_users == 2 && n->users[0].lo == 0 && n->users[1].lo == 2);
    network_unref(n);
    CHECK_END();
}

static void test_networks_of_model(void **state)
{
    static const uint32_t netids[] = { 500, 100, 65535, 1, 99, 300, 52, 101 };
    struct network *replacement;
    struct model *m = model_new();
    char name[16];

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(netids); i++) {
        snprintf(name, sizeof(name), "n%u", netids[i]);
        CHECK_INT(name, model_put_network(m, new_network(netids[i], name)), 0);
    }
    for (size_t i = 1; i < m->n_networks; i++)
        CHECK("ascending", m->networks[i - 1]->netid < m->networks[i]->netid);
    for (size_t i = 0; i < ELEMENTSOF(netids); i++) {
        snprintf(name, sizeof(name), "n%u", netids[i]);
        CHECK(name, model_network(m, netids[i]) == model_network_by_name(m, name));
        CHECK_INT(name, model_network(m, netids[i])->netid, netids[i]);
    }
    CHECK("none", !model_network(m, 102) && !model_network(m, 0) && !model_network(m, UINT32_MAX));
    CHECK("none", !model_network_by_name(m, "n102") && !model_network_of(m, "eth0"));

    replacement = new_network(300, "new");
    assert_int_equal(network_add_interface(replacement, "eth0"), 0);
    CHECK_INT("replaced", model_put_network(m, replacement), 0);
    CHECK_INT("replaced", m->n_networks, ELEMENTSOF(netids));
    CHECK("replaced", model_network(m, 300) == replacement && !model_network_by_name(m, "n300"));
    CHECK("replaced", model_network_of(m, "eth0") == replacement);
    model_drop_network(m, 300);
    model_drop_network(m, 300);
    CHECK_INT("dropped", m->n_networks, ELEMENTSOF(netids) - 1);
    model_free(m);
    CHECK_END();
}

/* A copy shares; what is done to it is not seen in the original; all goes when both are freed. */
static void test_model_copy(void **state)
{
    _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT, other = STRBUF_INIT;
    _cleanup_scene_ struct scene s;
    struct model *copy;

    (void)state;
    scene_init(&s);
    scene_run(&s, "link 2 eth0\nlink 3 wg0 arphrd 65534\n"
                  "network home interface eth0 domain a\nnetwork vpn type vpn interface wg0\n"
                  "users vpn 1-5\nassign uid:5 home\nassign user:a vpn prefer uids 7\n"
                  "default home\nlegacy system 1.2.3.4 dev eth0\npermission 5 system\n"
                  "protect 6 yes\nignore a* b*\n");
    dump_model(s.m, &before);
    copy = model_copy(s.m);
    dump_model(copy, &after);
    CHECK_TEXT("copy", strbuf_text(&after), strbuf_text(&before));
    CHECK("networks are shared", copy->networks[0] == s.m->networks[0]);
    CHECK_INT("networks are shared", copy->networks[0]->refs, 2);
    CHECK("assignments are shared", copy->assignments == s.m->assignments);
    CHECK("known names are shared", copy->known[0].name == s.m->known[0].name);

    struct model *original = s.m;
    s.m = copy;
    scene_run(&s, "route home 10.9.0.0/16\nassign uid:6 vpn\nunassign uid:5\ndefault system\n"
                  "legacy-remove system 1.2.3.4 dev eth0\npermission 5 none\npermission 4 system\n"
                  "protect 6 no\nprotect 1 yes\nknown zzz 999\nignore c\nremove vpn\n"
                  "network third netid 5\n");
    CHECK("an edited network is another", copy->networks[1] != original->networks[0]);
    CHECK_INT("an edited network is another", original->networks[0]->refs, 1);
    CHECK("edited assignments are others", copy->assignments != original->assignments);
    CHECK_INT("texts are still shared", original->assignments->items[1].selector.text->refs, 2);
    CHECK_INT("sets of uids are still shared", original->assignments->items[1].uids->refs, 2);
    strbuf_clear(&after);
    dump_model(original, &after);
    dump_model(copy, &other);
    CHECK_TEXT("original", strbuf_text(&after), strbuf_text(&before));
    CHECK("copy", !streq(strbuf_text(&other), strbuf_text(&before)));
    model_free(original);
    strbuf_clear(&after);
    dump_model(copy, &after);
    CHECK_TEXT("copy outlives it", strbuf_text(&after), strbuf_text(&other));
    CHECK_END();
}

/* The netId of a name stays, through removals and beside others. */
static void test_netids(void **state)
{
    struct model *m = model_new();

    (void)state;
    CHECK_INT("lowest", model_choose_netid(m, "a"), 100);
    CHECK_INT("know", model_know_netid(m, "b", 100), 0);
    CHECK_INT("not another's", model_choose_netid(m, "a"), 101);
    CHECK_INT("its own", model_choose_netid(m, "b"), 100);
    CHECK_INT("know", model_know_netid(m, "a", 101), 0);
    assert_int_equal(model_put_network(m, new_network(101, "other")), 0);
    CHECK_INT("its own is taken", model_choose_netid(m, "a"), 102);
    model_drop_network(m, 101);
    CHECK_INT("its own is free again", model_choose_netid(m, "a"), 101);
    CHECK_INT("it moved", model_know_netid(m, "a", 200), 0);
    CHECK_INT("it moved", model_choose_netid(m, "a"), 200);
    CHECK_INT("the old one is nobody's", model_choose_netid(m, "c"), 101);
    CHECK_INT("two names", m->n_known, 2);

    CHECK("known", model_knows_name(m, "a") && model_knows_name(m, "b"));
    CHECK("unknown", !model_knows_name(m, "c") && !model_knows_name(m, "other"));
    assert_int_equal(model_put_network(m, new_network(7, "oem")), 0);
    CHECK("known by its network", model_knows_name(m, "oem"));
    model_free(m);
    CHECK_END();
}

/* Names that come and go are remembered up to a bound; what a network has is never forgotten. */
static void test_netids_forgotten(void **state)
{
    struct model *m = model_new();
    char name[16];

    (void)state;
    assert_int_equal(model_put_network(m, new_network(100, "stays")), 0);
    assert_int_equal(model_know_netid(m, "stays", 100), 0);
    for (uint32_t i = 1; i <= KNOWN_NETIDS_MAX; i++) {
        snprintf(name, sizeof(name), "if%u", i);
        assert_int_equal(model_choose_netid(m, name), 100 + i);
        assert_int_equal(model_know_netid(m, name, 100 + i), 0);
    }
    CHECK_INT("bound", m->n_known, KNOWN_NETIDS_MAX);
    CHECK("a network's", model_knows_name(m, "stays"));
    CHECK("the oldest", !model_knows_name(m, "if1") && model_knows_name(m, "if2"));
    CHECK("the newest", model_knows_name(m, name));
    CHECK_INT("the free one", model_choose_netid(m, "new"), 101);
    model_free(m);
    CHECK_END();
}

/* All netIds once used, some by names that are gone: those are given out at the end. */
static void test_netids_exhausted(void **state)
{
    struct model *m = model_new();
    char name[16];

    (void)state;
    assert_int_equal(model_know_netid(m, "gone", 105), 0);
    for (uint32_t id = NETID_MIN; id <= NETID_MAX; id++) {
        snprintf(name, sizeof(name), "n%u", id);
        if (id != 105)
            assert_int_equal(model_put_network(m, new_network(id, name)), 0);
    }
    CHECK_INT("another's old one", model_choose_netid(m, "new"), 105);
    CHECK_INT("its owner's", model_choose_netid(m, "gone"), 105);
    assert_int_equal(model_put_network(m, new_network(105, "x")), 0);
    CHECK_INT("none is left", model_choose_netid(m, "new"), NETID_UNSET);
    CHECK_INT("none is left", model_choose_netid(m, "gone"), NETID_UNSET);
    model_free(m);
    CHECK_END();
}

static void test_intern(void **state)
{
    struct model *m = model_new();
    struct rstr *a, *b;

    (void)state;
    assert_int_equal(model_know_netid(m, "home", 100), 0);
    assert_int_equal(model_know_netid(m, "aaa", 101), 0);
    a = model_intern_name(m, rstr_new("home"));
    b = model_intern_name(m, rstr_new("home"));
    CHECK("one string", a == b && a == m->known[1].name);
    CHECK_INT("counted", a->refs, 3);
    rstr_unref(a);
    rstr_unref(b);
    a = rstr_new("unknown");
    CHECK("unknown: as it is", model_intern_name(m, a) == a && a->refs == 1);
    rstr_unref(a);
    CHECK("NULL", model_intern_name(m, NULL) == NULL);
    model_free(m);
    CHECK_END();
}

static void test_users(void **state)
{
    static const uint32_t uids[] = { 1000, 0, UID_MAX, 5, 1000 };
    struct model *m = model_new();
    enum permission p = PERMISSION_NONE;

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(uids); i++) {
        CHECK_INT("permission", model_set_user_permission(m, uids[i], PERMISSION_SYSTEM), 0);
        CHECK_INT("protect", model_set_protectable(m, uids[i], true), 0);
    }
    CHECK_INT("each once", m->n_permissions, 4);
    CHECK_INT("each once", m->n_protectable, 4);
    for (size_t i = 1; i < 4; i++)
        CHECK("ascending", m->permissions[i - 1].uid < m->permissions[i].uid &&
                               m->protectable[i - 1] < m->protectable[i]);
    CHECK_INT("found", model_user_permission(m, UID_MAX, &p), 0);
    CHECK_INT("found", p, PERMISSION_SYSTEM);
    CHECK_INT("changed", model_set_user_permission(m, 5, PERMISSION_NONE), 0);
    CHECK_INT("changed", model_user_permission(m, 5, &p), 0);
    CHECK_INT("changed", p, PERMISSION_NONE);
    CHECK_INT("missing", model_user_permission(m, 6, &p), -ENOENT);
    CHECK("protect", model_can_protect(m, 1000) && !model_can_protect(m, 1001));
    CHECK_INT("no more", model_set_protectable(m, 1000, false), 0);
    CHECK_INT("no more, twice", model_set_protectable(m, 1000, false), 0);
    CHECK("no more", !model_can_protect(m, 1000) && model_can_protect(m, UID_MAX));
    model_free(m);
    CHECK_END();
}

static void test_default_and_tables(void **state)
{
    _cleanup_scene_ struct scene s;

    (void)state;
    scene_init(&s);
    CHECK("system", model_default(s.m) == NULL);
    CHECK("host", !model_uses_android_tables(s.m));
    scene_run(&s, "link 2 eth0\nnetwork home interface eth0\ndefault home\n");
    CHECK("named", model_default(s.m) == model_network_by_name(s.m, "home"));
    scene_run(&s, "legacy system 1.2.3.4 dev eth0\n");
    CHECK("legacy", model_uses_android_tables(s.m));
    scene_run(&s, "legacy-remove system 1.2.3.4 dev eth0\nremove home\n");
    CHECK("not there", model_default(s.m) == NULL && s.m->default_network);
    CHECK("host again", !model_uses_android_tables(s.m));
    scene_run(&s, "network lan type local\n");
    CHECK("local", model_uses_android_tables(s.m));
    scene_run(&s, "remove lan\nhost-networks no\n");
    CHECK("as on Android", model_uses_android_tables(s.m));
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_network_copy),
        cmocka_unit_test(test_network_setters),
        cmocka_unit_test(test_networks_of_model),
        cmocka_unit_test(test_model_copy),
        cmocka_unit_test(test_netids),
        cmocka_unit_test(test_netids_forgotten),
        cmocka_unit_test(test_netids_exhausted),
        cmocka_unit_test(test_intern),
        cmocka_unit_test(test_users),
        cmocka_unit_test(test_default_and_tables),
    };

    return RUN_TESTS(tests);
}
