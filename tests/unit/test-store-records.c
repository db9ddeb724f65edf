/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/daemon/store-records: which lines a state file may have, and what they mean. */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "daemon/store.h"
#include "unit/scene.h"

#define PROPERTY "property 100 "
#define VPN      "vpn v service command\n"
#define VPN_SET  "vpn-set v "
#define WORDS16  "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16"

/*
 * Lines that are refused: the file is not guessed at. Each stands behind a good network, 100, with
 * a route, and behind the lines of `before`.
 */
/* clang-format off */
static const struct {
    const char *line, *why, *before;
} bad_lines[] = {
    { "nonsense", "'nonsense' is no kind of line", "" },
    { "End", "'End' is no kind of line", "" },
    { WORDS16, "'1' is no kind of line", "" },
    { WORDS16 " 17", "too many words", "" },
    { "network 100 a", "a 'network' line has 5 to", "" },
    { "network 100 a physical command dns 1.1.1.1", "a 'network' line has 5 to 5", "" },
    { "network 0 a physical command", "'0' is no netId", "" },
    { "network 65536 a physical command", "'65536' is no netId", "" },
    { "network x a physical command", "'x' is no netId", "" },
    { "network 100 a/b physical command", "is no network name", "" },
    { "network 100 none physical command", "a word with a meaning", "" },
    { "network 100 a virtual command", "'virtual' is no network's type", "" },
    { "network 100 a physical nobody", "'nobody' is no origin", "" },
    { "network 100 a physical host", "'host' is no origin", "" },
    { "network 100 a physical config", "'config' is no origin", "" },
    { "property 100 dns", "a 'property' line has 4", "" },
    { "property 101 dns 1.1.1.1", "'101' is no network in this file", "" },
    { "property x dns 1.1.1.1", "'x' is no netId", "" },
    { PROPERTY "dns 1.1.1.1", "'100' is no network in this file", "network-remove 100\n" },
    { PROPERTY "colour red", "'colour' is no property", "" },
    { PROPERTY "dns 1.2.3", "'1.2.3' is no address", "" },
    { PROPERTY "dns 1.1.1.5", "'1.1.1.5' is no server that there is room for",
      PROPERTY "dns 1.1.1.1\n" PROPERTY "dns 1.1.1.2\n" PROPERTY "dns 1.1.1.3\n"
      PROPERTY "dns 1.1.1.4\n" },
    { PROPERTY "domain .", "is no domain name", "" },
    { PROPERTY "domain g", "'g' is no domain that there is room for",
      PROPERTY "domain a\n" PROPERTY "domain b\n" PROPERTY "domain c\n" PROPERTY "domain d\n"
      PROPERTY "domain e\n" PROPERTY "domain f\n" },
    { PROPERTY "interface 0123456789abcdef", "is no interface", "" },
    { PROPERTY "interface e", "'e' is no interface", PROPERTY "interface e\n" },
    { PROPERTY "interface %", "'' is no interface", "" },
    { PROPERTY "permission root", "'root' is no permission", "" },
    { PROPERTY "flags 32", "'32' is no set of flags", "" },
    { PROPERTY "outside 10.0.0.1/8", "'10.0.0.1/8' has bits set beyond", "" },
    { PROPERTY "outside x", "'x' is no prefix", "" },
    { PROPERTY "resolver 1,2,3", "is no resolver setting", "" },
    { PROPERTY "resolver 1,2,3,4,5", "is no resolver setting", "" },
    { PROPERTY "resolver 65536,2,3,4", "is no resolver setting", "" },
    { PROPERTY "resolver 1,256,3,4", "is no resolver setting", "" },
    { PROPERTY "resolver 1,,2,3,4", "is no resolver setting", "" },
    { PROPERTY "resolver 1,2,3,4,", "is no resolver setting", "" },
    { PROPERTY "resolver ,1,2,3,4", "is no resolver setting", "" },
    { "network-remove", "a 'network-remove' line has 2", "" },
    { "vpn v service", "a 'vpn' line has 4 to 4", "" },
    { "vpn a/b service command", "is no network name", "" },
    { "vpn v tunnel command", "'tunnel' is no kind of VPN", "" },
    { "vpn v service host", "'host' is no origin of a VPN", "" },
    { "vpn v service vpn", "'vpn' is no origin of a VPN", "" },
    { "vpn-set v flags 0", "'v' is no VPN in this file", "" },
    { VPN_SET "flags 256", "'256' is no set of flags", VPN },
    { VPN_SET "colour red", "'colour' is no property of a VPN", VPN },
    { VPN_SET "owner bob", "'bob' is no selector", VPN },
    { VPN_SET "uid 4294967295", "'4294967295' is no uid", VPN },
    { VPN_SET "owner-is x", "'x' is no uid", VPN },
    { VPN_SET "app x", "'x' is no selector", VPN },
    { VPN_SET "lan 0.0.0.0/0", "is everything", VPN },
    { VPN_SET "interface %", "'' is no interface name", VPN },
    { VPN_SET "mtu 1400", "'mtu' is no property of a VPN without a configuration", VPN },
    { VPN_SET "config 16", "'16' is no set of flags", VPN },
    { VPN_SET "mtu 5", "5 is no MTU", VPN VPN_SET "config 0\n" },
    { VPN_SET "mtu x", "'x' is no MTU", VPN VPN_SET "config 0\n" },
    { VPN_SET "queues 17", "'17' is no number of queues", VPN VPN_SET "config 0\n" },
    { VPN_SET "metered 3", "'3' is no choice of metered", VPN VPN_SET "config 0\n" },
    { VPN_SET "address 127.0.0.1", "cannot be an address", VPN VPN_SET "config 0\n" },
    { VPN_SET "disallowed uid:5", "cannot be disallowed",
      VPN VPN_SET "config 0\n" VPN_SET "allowed uid:4\n" },
    { "vpn-route v 10.0.0.0/8", "'v' is no VPN with a configuration", VPN },
    { "vpn-route v 10.0.0.1/8", "bits set beyond", VPN VPN_SET "config 0\n" },
    { "vpn-route v 10.0.0.0/8 unreachable", "'unreachable' is no kind of route",
      VPN VPN_SET "config 0\n" },
    { "vpn-remove", "a 'vpn-remove' line has 2", "" },
    { "vpn-consent bob own", "'bob' is no selector", "" },
    { "vpn-consent uid:5 some", "'some' is no consent", "" },
    { "network-remove x", "'x' is no netId", "" },
    { "route 100", "a 'route' line has 3", "" },
    { "route 101 10.0.0.0/8", "'101' is no network in this file", "" },
    { "route 100 10.0.0.1/8", "bits set beyond", "" },
    { "route 100 10.0.0.0/8 dev", "'dev' at the end", "" },
    { "route 100 10.7.0.0/16", "'10.7.0.0/16' is no route that is not there already", "" },
    { "users 100 9-5", "'9-5' is no range of uids", "" },
    { "users 100 4294967295", "is no range of uids", "" },
    { "users 101 5", "'101' is no network in this file", "" },
    { "users 100 5 6", "a 'users' line has 3", "" },
    { "assign uid:5 a require", "a 'assign' line has 5", "" },
    { "assign uid:9-5 a require command", "is no uid or range", "" },
    { "assign uid:5 a/b require command", "is no network name", "" },
    { "assign uid:5 a must command", "'must' is no strength", "" },
    { "assign uid:5 a require nobody", "'nobody' is no", "" },
    { "assign uid:5 a require config", "'config' is no", "" },
    { "assign uid:5 a require host", "'host' is no", "" },
    { "assign uid:5 none prefer command", "'prefer' is no strength of an assignment to none", "" },
    { "assign cgroup:a a require command", "does not start with '/'", "" },
    { "unassign x", "is no selector", "" },
    { "unassign uid:5 uid:6", "a 'unassign' line has 2", "" },
    { "uids user:a", "a 'uids' line has 3", "" },
    { "uids x 5", "is no selector", "" },
    { "uids uid:5 5", "'uid:5' is no user or group", "" },
    { "uids user:a nobody", "'nobody' is no list of uids", "" },
    { "uids user:a 5,", "'5,' is no list of uids", "" },
    { "uids user:a 5,9-6", "'5,9-6' is no list of uids", "" },
    { "default none", "a word with a meaning", "" },
    { "default a b", "a 'default' line has 2", "" },
    { "permission 5 root", "'root' is no uid or permission", "" },
    { "permission 4294967295 none", "'4294967295' is no uid", "" },
    { "permission x none", "'x' is no uid", "" },
    { "protect 5 maybe", "'maybe' is no yes or no", "" },
    { "protect x yes", "'x' is no uid", "" },
    { "legacy yes system", "a 'legacy' line has 4", "" },
    { "legacy maybe system 10.0.0.0/8", "'maybe' is no yes or no", "" },
    { "legacy yes nobody 10.0.0.0/8", "'nobody' is no kind of legacy route", "" },
    { "legacy yes system 10.0.0.0/8 dev", "'dev' at the end", "" },
    { "known a", "a 'known' line has 3", "" },
    { "known none 100", "a word with a meaning", "" },
    { "known a 0", "'0' is no netId", "" },
    { "a  b", "this is no line of words", "" },
    { "known a 100 ", "this is no line of words", "" },
    { " known a 100", "this is no line of words", "" },
    { "known a%zz 100", "this is no line of words", "" },
    { "known a\t100", "this is no line of words", "" },
    { "known a 100\r", "this is no line of words", "" },
};
/* clang-format on */

static unsigned count_lines(const char *text)
{
    unsigned n = 0;

    while ((text = strchr(text, '\n'))) {
        n++;
        text++;
    }
    return n;
}

static void test_bad_lines(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(bad_lines); i++) {
        _cleanup_free_ char *text = NULL;
        struct model *m = model_new();
        struct why why = { 0 };
        char place[32];
        size_t committed;

        assert_true(asprintf(&text,
                             "waymark-state 1\nboot x\nnetwork 100 home physical command\n"
                             "route 100 10.7.0.0/16\n%s%s\nend\n",
                             bad_lines[i].before, bad_lines[i].line) > 0);
        snprintf(place, sizeof(place), "line %u: ", 5 + count_lines(bad_lines[i].before));
        CHECK_INT(bad_lines[i].line, store_parse(text, "x", m, &committed, &why), -EINVAL);
        CHECK_CONTAINS(bad_lines[i].line, why.text, place);
        CHECK_CONTAINS(bad_lines[i].line, why.text, bad_lines[i].why);
        model_free(m);
    }
    CHECK_END();
}

/* Lines are counted through commits, and what is behind the last `end` is not looked at. */
static void test_lines(void **state)
{
    static const struct {
        const char *name, *text;
        const char *why; /* NULL: it loads */
    } texts[] = {
        { "empty commits", "waymark-state 1\nboot x\nend\nend\n\nend\n", NULL },
        { "no commit", "waymark-state 1\nboot x\n", NULL },
        { "garbage behind the last end", "waymark-state 1\nboot x\nend\nnonsense\n", NULL },
        { "no newline behind the last end", "waymark-state 1\nboot x\nnonsense\nend", NULL },
        { "an error in the second commit",
          "waymark-state 1\nboot x\nknown a 100\nend\nknown b 101\nnonsense\nend\n",
          "line 6: 'nonsense'" },
        { "an error in the first line", "waymark-state 1\nboot x\nnonsense\nend\n",
          "line 3: 'nonsense'" },
        { "another version", "waymark-state 2\nboot x\nend\n", "line 1: this is no state file" },
        { "nothing", "", "line 1: this is no state file" },
        { "no boot id", "waymark-state 1\nknown a 100\nend\n", "line 1: this is no state file" },
        { "the boot id is cut off", "waymark-state 1\nboot x", "line 2: the boot id is cut off" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(texts); i++) {
        _cleanup_free_ char *copy = strdup(texts[i].text);
        struct model *m = model_new();
        struct why why = { 0 };
        size_t committed;

        CHECK_INT(texts[i].name, store_parse(copy, "x", m, &committed, &why),
                  texts[i].why ? -EINVAL : 0);
        CHECK_CONTAINS(texts[i].name, why.text, texts[i].why);
        model_free(m);
    }
    CHECK_END();
}

/* Later lines win over earlier ones, in one commit and across. */
static void test_turns(void **state)
{
    static const struct {
        const char *lines, *assignments;
    } turns[] = {
        { "assign uid:5 none require command\nassign uid:5 a require command\nend\n",
          "assign uid:5 a require command at '':0\n" },
        { "assign uid:5 none require command\nend\nunassign uid:5\nend\n", "" },
        { "assign uid:5 default prefer command\nend\n",
          "assign uid:5 default prefer command at '':0\n" },
        { "assign uid:5 none require command\nunassign uid:5\nassign uid:5 a prefer command\nend\n",
          "assign uid:5 a prefer command at '':0\n" },
        { "unassign uid:5\nend\n", "" },
        { "unassign uid:5\nassign uid:5 none require command\nend\n",
          "assign uid:5 - require command at '':0\n" },
        { "assign uid:9 none require command\nassign uid:1 none require command\nend\n",
          "assign uid:1 - require command at '':0\nassign uid:9 - require command at '':0\n" },
        { "uids user:b 5\nuids user:a 3,7-9,4\nend\nuids user:b 6\nuids user:c 1\nend\n"
          "uids user:c none\nuids user:d none\nend\n",
          "last user:a 3-4 7-9\nlast user:b 6\n" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(turns); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT, expected = STRBUF_INIT;
        _cleanup_free_ char *text = NULL;
        struct model *m = model_new();
        size_t committed;

        assert_true(asprintf(&text, "waymark-state 1\nboot x\n%s", turns[i].lines) > 0);
        CHECK_INT(turns[i].lines, store_parse(text, "x", m, &committed, NULL), 0);
        dump_model(m, &b);
        strbuf_add(&expected, "host-networks 0 default '' from ''\n%s", turns[i].assignments);
        CHECK_TEXT(turns[i].lines, strbuf_text(&b), strbuf_text(&expected));
        model_free(m);
    }
    CHECK_END();
}

/* After a reboot what was to last until then is gone. */
static void test_other_boot(void **state)
{
    static const char text[] =
        "waymark-state 1\nboot b00t\nknown run 100\nnetwork 100 run physical runtime\n"
        "network 101 stay physical command\nassign uid:5 run require runtime\n"
        "assign uid:6 run require command\nassign uid:7 stay require runtime\ndefault stay\n"
        "permission 5 system\nprotect 5 yes\nlegacy yes system 10.0.0.0/8 dev eth0\nend\n";
    static const char *const boots[] = { "b00t", "other", "b00", "b00ty", "" };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(boots); i++) {
        _cleanup_free_ char *copy = strdup(text);
        struct model *m = model_new();
        bool same = i == 0;
        size_t committed;

        CHECK_INT(boots[i], store_parse(copy, boots[i], m, &committed, NULL), 0);
        CHECK_INT(boots[i], model_network(m, 100) != NULL, same);
        CHECK(boots[i], model_network(m, 101) && m->default_network && m->n_known == 1);
        CHECK_INT(boots[i], m->assignments->n, same ? 3 : 1);
        CHECK_INT(boots[i], m->n_permissions + m->n_protectable + m->n_legacy, same ? 3 : 0);
        model_free(m);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bad_lines),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_turns),
        cmocka_unit_test(test_other_boot),
    };

    return RUN_TESTS(tests);
}
