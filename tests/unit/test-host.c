/* SPDX-License-Identifier: LGPL-2.1-or-later */

/* src/decide/host: which interfaces are networks; rows by the step (decide/host.h) that decides. */

#include "unit/check.h"

#include "decide/host.h"
#include "unit/scene.h"

/* clang-format off */
static const struct {
    enum host_reason step;
    const char *name, *scene, *interface;
} rows[] = {
    { HOST_NETWORK, "ordinary", "link 2 eth0\naddr eth0 10.0.0.2/24\n", "eth0" },
    { HOST_NETWORK, "only IPv6", "link 2 eth0\naddr eth0 fd00::2/64\n", "eth0" },
    { HOST_NETWORK, "site scope counts",
      "link 2 eth0\naddr eth0 fd00::2/64\naddr eth0 fe80::1/64 scope link\n", "eth0" },
    { HOST_NETWORK, "no carrier", "link 2 eth0 nocarrier\naddr eth0 10.0.0.2/24\n", "eth0" },
    { HOST_NETWORK, "a tunnel", "link 2 wg0 kind wireguard arphrd 65534\naddr wg0 10.0.0.2/32\n",
      "wg0" },
    { HOST_NETWORK, "a VLAN", "link 2 eth0.5\naddr eth0.5 10.0.0.2/24\n", "eth0.5" },
    { HOST_NETWORK, "one of two addresses",
      "link 2 eth0\naddr eth0 fd00::2/64 tentative\naddr eth0 10.0.0.2/24\n", "eth0" },
    { HOST_NETWORK, "in a host network already",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nhost-update\n", "eth0" },
    { HOST_NETWORK, "near a pattern",
      "link 2 veth0x\naddr veth0x 10.0.0.2/24\nignore veth? docker*\n", "veth0x" },

    { HOST_NAME, "a word with a meaning", "link 2 default\naddr default 10.0.0.2/24\n", "default" },
    { HOST_NAME, "all", "link 2 all\naddr all 10.0.0.2/24\n", "all" },
    { HOST_NAME, "odd characters", "link 2 a%b\naddr a%b 10.0.0.2/24\n", "a%b" },
    { HOST_NAME, "a dash in front", "link 2 -a\naddr -a 10.0.0.2/24\n", "-a" },
    { HOST_NAME, "before 2", "link 2 a%b\naddr a%b 10.0.0.2/24\nignore a*\n", "a%b" },

    { HOST_IGNORED, "by name", "link 2 eth0\naddr eth0 10.0.0.2/24\nignore eth0\n", "eth0" },
    { HOST_IGNORED, "by pattern",
      "link 2 docker0\naddr docker0 10.0.0.2/24\nignore br-* docker*\n", "docker0" },
    { HOST_IGNORED, "by a set", "link 2 eth7\naddr eth7 10.0.0.2/24\nignore eth[5-9]\n", "eth7" },
    { HOST_IGNORED, "all", "link 2 eth0\naddr eth0 10.0.0.2/24\nignore *\n", "eth0" },
    { HOST_IGNORED, "before 3", "link 2 eth0\nignore eth0\nnetwork home interface eth0\n", "eth0" },
    { HOST_IGNORED, "before 5", "link 2 eth0 down\nignore eth0\n", "eth0" },

    { HOST_CLAIMED, "by command",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nnetwork home interface eth0\n", "eth0" },
    { HOST_CLAIMED, "by the configuration",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nnetwork home origin config interface eth0\n", "eth0" },
    { HOST_CLAIMED, "a host network that was changed",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nhost-update\nset eth0 dns 1.1.1.1\n", "eth0" },
    { HOST_CLAIMED, "before 4", "link 2 eth0 master 9\nnetwork home interface eth0\n", "eth0" },

    { HOST_PORT, "of a bridge", "link 2 eth0 master 9\naddr eth0 10.0.0.2/24\n", "eth0" },
    { HOST_PORT, "before 5", "link 2 eth0 down master 9\n", "eth0" },

    { HOST_DOWN, "down", "link 2 eth0 down\naddr eth0 10.0.0.2/24\n", "eth0" },
    { HOST_DOWN, "before 6", "link 2 eth0 down\n", "eth0" },

    { HOST_NO_ADDRESS, "none", "link 2 eth0\n", "eth0" },
    { HOST_NO_ADDRESS, "link-local", "link 2 eth0\naddr eth0 fe80::1/64 scope link\n", "eth0" },
    { HOST_NO_ADDRESS, "of scope host", "", "lo" },
    { HOST_NO_ADDRESS, "tentative", "link 2 eth0\naddr eth0 fd00::1/64 tentative\n", "eth0" },
    { HOST_NO_ADDRESS, "a duplicate", "link 2 eth0\naddr eth0 fd00::1/64 dadfailed\n", "eth0" },
    { HOST_NO_ADDRESS, "of another interface",
      "link 2 eth0\nlink 3 eth1\naddr eth1 10.0.0.2/24\n", "eth0" },
};
/* clang-format on */

static void test_decide(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++) {
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, rows[i].scene);
        CHECK_TEXT(rows[i].name,
                   host_reason_to_string(host_decide(s.m, &s.k, scene_link(&s, rows[i].interface))),
                   host_reason_to_string(rows[i].step));
    }
    CHECK_END();
}

/* host_update(): `then` happens after a first update; the networks there are in the end. */
/* clang-format off */
static const struct {
    const char *name, *scene, *then, *networks;
} updates[] = {
    { "nothing", "", "", "" },
    { "two", "link 2 eth0\naddr eth0 10.0.0.2/24\nlink 3 eth1\naddr eth1 10.0.1.2/24\n", "",
      "100 eth0 host physical;101 eth1 host physical;" },
    { "a tunnel is a secure VPN", "link 2 wg0 kind wireguard arphrd 65534\naddr wg0 10.0.0.2/32\n", "",
      "100 wg0 host vpn secure;" },
    { "one comes", "link 2 eth0\naddr eth0 10.0.0.2/24\n",
      "link 3 eth1\naddr eth1 10.0.1.2/24\n", "100 eth0 host physical;101 eth1 host physical;" },
    { "one goes", "link 2 eth0\naddr eth0 10.0.0.2/24\nlink 3 eth1\naddr eth1 10.0.1.2/24\n",
      "unlink eth0\n", "101 eth1 host physical;" },
    { "one goes and comes back",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nlink 3 eth1\naddr eth1 10.0.1.2/24\n",
        "unlink eth0\nhost-update\nlink 9 eth0\naddr eth0 10.0.0.2/24\n",
          "100 eth0 host physical;101 eth1 host physical;" },
    { "another comes into its place", "link 2 eth0\naddr eth0 10.0.0.2/24\n",
      "unlink eth0\nhost-update\nlink 2 eth1\naddr eth1 10.0.0.2/24\n", "101 eth1 host physical;" },
    { "its type changes", "link 2 eth0\naddr eth0 10.0.0.2/24\n",
      "unlink eth0\nlink 2 eth0 kind wireguard arphrd 65534\naddr eth0 10.0.0.2/24\n",
        "100 eth0 host vpn secure;" },
    { "it is ignored from now on", "link 2 eth0\naddr eth0 10.0.0.2/24\n", "ignore eth*\n", "" },
    { "it is asked for", "link 2 eth0\naddr eth0 10.0.0.2/24\n", "network home interface eth0\n",
      "101 home command physical;" },
    { "one of its name is there", "link 2 eth0\naddr eth0 10.0.0.2/24\nnetwork eth0\n", "",
      "100 eth0 command physical;" },
    { "what is asked for stays when it is gone",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nnetwork home interface eth0\n", "unlink eth0\n",
        "100 home command physical;" },
    { "what is released becomes one again",
      "link 2 eth0\naddr eth0 10.0.0.2/24\nnetwork home interface eth0\n", "remove home\n",
        "101 eth0 host physical;" },
    { "as on Android", "link 2 eth0\naddr eth0 10.0.0.2/24\nhost-networks no\n", "", "" },
    { "as on Android from now on", "link 2 eth0\naddr eth0 10.0.0.2/24\n", "host-networks no\n",
      "" },
};
/* clang-format on */

static void test_update(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(updates); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, updates[i].scene);
        scene_run(&s, "host-update\n");
        scene_run(&s, updates[i].then);
        scene_run(&s, "host-update\n");
        for (size_t j = 0; j < s.m->n_networks; j++) {
            const struct network *n = s.m->networks[j];

            strbuf_add(&b, "%u %s %s %s%s;", n->netid, n->name, origin_to_string(n->origin),
                       network_type_to_string(n->type), n->secure ? " secure" : "");
        }
        CHECK_TEXT(updates[i].name, strbuf_text(&b), updates[i].networks);
    }
    CHECK_END();
}

/* Networks that stay are the same objects: nothing is planned anew for them. */
static void test_untouched(void **state)
{
    _cleanup_scene_ struct scene s;
    const struct network *eth0;

    (void)state;
    scene_init(&s);
    scene_run(&s, "link 2 eth0\naddr eth0 10.0.0.2/24\nlink 3 eth1\naddr eth1 10.0.1.2/24\n"
                  "host-update\n");
    eth0 = s.m->networks[0];
    scene_run(&s, "unlink eth1\nlink 4 eth2\naddr eth2 10.0.2.2/24\naddr eth0 10.9.9.9/24\n"
                  "host-update\n");
    CHECK("untouched", s.m->networks[0] == eth0);
    CHECK_INT("others come and go", s.m->n_networks, 2);
    CHECK_END();
}

static void test_usable(void **state)
{
    static const struct {
        const char *link;
        bool host, android;
    } links[] = {
        { "link 2 x", true, true },
        { "link 2 x nocarrier", false, true },
        { "link 2 x down", false, true },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, links[i].link);
        CHECK_INT(links[i].link, host_interface_usable(s.m, scene_link(&s, "x")), links[i].host);
        s.m->host_networks = false;
        CHECK_INT(links[i].link, host_interface_usable(s.m, scene_link(&s, "x")), links[i].android);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decide),
        cmocka_unit_test(test_update),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_usable),
    };

    return RUN_TESTS(tests);
}
