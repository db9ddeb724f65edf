/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/model/edit: one row for every row and error of android.md §3.1 that edit.h speaks of, and
 * for what Waymark adds. Each edit is made on a copy: whatever comes of it, the original model
 * stays as it was, byte for byte.
 */

#include "unit/check.h"

#include <errno.h>
#include <stdio.h>

#include "unit/scene.h"

/* Every row begins with this. */
static const char common[] = "link 2 eth0\nlink 3 eth1\nlink 4 wg0 kind wireguard arphrd 65534\n"
                             "addr eth0 10.0.0.2/24\n";

#define HOST_ETH0 "host-update\n"
#define HOME      "network home interface eth0\n"
#define VPN       "network vpn type vpn interface wg0\n"
#define CONFIG    "network conf origin config interface eth1\nassign uid:5 none origin config\n"
#define CHANGE_IT "change it there, then `waymark reload`"

/* clang-format off */
static const struct {
    const char *name, *setup, *line;
    int error;
    const char *says; /* a part of the reason, or of the dump of the model that comes of it */
} rows[] = {
    /* createPhysical, createVirtual */
    { "add", "", "network home type physical", 0, "network 100 'home' physical command" },
    { "add, netId 100", "", "network home netid 100", 0, "network 100 'home'" },
    { "add, netId 65535", "", "network home netid 65535", 0, "network 65535 'home'" },
    { "add, netId 1 (OEM)", "", "network home netid 1", 0, "network 1 'home' physical" },
    { "add, netId 50 (OEM)", "", "network home netid 50", 0, "network 50 'home' physical" },
    { "add, netId 0", "", "network home netid 0", -EINVAL, "netId 0 is out of range" },
    { "add, netId 51 (dummy)", "", "network home netid 51", -EINVAL, "netId 51 is out of range" },
    { "add, netId 52 (unreachable)", "", "network home netid 52", -EINVAL,
      "1 to 50 or 100 to 65535" },
    { "add, netId 99 (local)", "", "network home netid 99", -EINVAL, "netId 99 is out of range" },
    { "add, netId 65536", "", "network home netid 65536", -EINVAL, "out of range" },
    { "add, netId 2^32-1", "", "network home netid 4294967295", -EINVAL, "out of range" },
    { "add a VPN, netId 50", "", "network v type vpn netid 50", -EINVAL,
      "a vpn network's is 100 to 65535" },
    { "add a VPN", "", "network v type vpn secure exclude-local", 0,
      "'v' vpn command permission none secure exclude-local" },
    { "add, name taken", HOME, "network home", -EEXIST, "a network 'home' already: netId 100" },
    { "add, netId taken", HOME, "network other netid 100", -EEXIST,
      "netId 100 is that of network 'home'" },
    { "add a VPN, netId taken", HOME, "network v type vpn netid 100", -EEXIST,
      "that of network 'home'" },
    { "add, empty name", "", "network - type physical", -EINVAL, "is no network name" },
    { "add, reserved name", "", "network none", -EINVAL, "a word with a meaning" },
    { "add, reserved name", "", "network system", -EINVAL, "a word with a meaning" },
    { "add, odd name", "", "network a/b", -EINVAL, "is no network name" },
    { "add a VPN that demands a permission", "", "network v type vpn permission system", -EINVAL,
      "only a physical network" },
    { "add, permission", "", "network home permission system", 0, "permission system" },
    { "add, type of the interface", "", "network v interface wg0", 0, "'v' vpn" },
    { "add, type of the interface", "", "network v interface eth0", 0, "'v' physical" },
    { "add, type said", "", "network v type physical interface wg0", 0, "'v' physical" },
    { "add local", "", "network lan type local", 0, "network 99 'lan' local" },
    { "add local twice", "network lan type local\n", "network lan2 type local", -EEXIST,
      "netId 99 is that of" },
    { "add local, netId 100", "", "network lan type local netid 100", -EINVAL,
      "a local network's is 99" },
    { "add unreachable", "", "network no type unreachable", 0, "network 52 'no' unreachable" },
    { "add unreachable with an interface", "", "network no type unreachable interface eth0",
      -EINVAL, "it has no interfaces" },
    { "add, no such interface", "", "network home interface eth9", -ESRCH, "no interface 'eth9'" },
    { "add, no such interface, configured", "", "network home origin config interface eth9", 0,
      "interface 'eth9'" },
    { "add, interface elsewhere", HOME, "network other interface eth0", -EBUSY,
      "in network 'home': `waymark network detach home eth0` first" },
    { "add, interface of a host network", HOST_ETH0, "network home interface eth0", 0,
      "network 101 'home'" },
    { "add, name of a host network", HOST_ETH0, "network eth0 interface eth0", 0,
      "network 100 'eth0' physical command" },
    { "add, name of a host network, netId given", HOST_ETH0,
      "network eth0 interface eth0 netid 500", 0, "network 500 'eth0'" },
    { "add local, name of a host network", HOST_ETH0, "network eth0 type local interface eth0",
      0, "network 99 'eth0' local" },
    { "add unreachable, name of a host network", HOST_ETH0, "network eth0 type unreachable", 0,
      "network 52 'eth0' unreachable" },
    { "add, netId of a host network: marks carry it", HOST_ETH0, "network home netid 100", -EEXIST,
      "netId 100 is that of network 'eth0'" },

    /* destroy */
    { "remove", HOME, "remove home", 0, "host-networks 1" },
    { "remove, unknown", "", "remove home", -ENONET,
      "no network 'home': see `waymark network list`" },
    { "remove twice", HOME "remove home\n", "remove home", -ENONET, "no network 'home'" },
    { "remove, host", HOST_ETH0, "remove eth0", -EBUSY, "add it to `ignore =` in waymark.conf" },
    { "remove, configured", CONFIG, "remove conf", -EPERM,
      "'conf' stands in waymark.conf:7: " CHANGE_IT },
    { "remove local, on a host", "network lan type local\n", "remove lan", 0, NULL },
    { "remove local, as on Android", "host-networks no\nnetwork lan type local\n", "remove lan",
      -EINVAL, "is built in" },
    { "remove unreachable, as on Android", "host-networks no\nnetwork no type unreachable\n",
      "remove no", -EINVAL, "is built in" },
    { "remove another, as on Android", "host-networks no\n" HOME, "remove home", 0, NULL },

    /* addInterface, removeInterface */
    { "attach", HOME, "attach home eth1", 0, "  interface 'eth1'" },
    { "attach, unknown network", "", "attach home eth0", -ENONET, "no network 'home'" },
    { "attach, member already", HOME, "attach home eth0", 0, "  interface 'eth0'" },
    { "attach, in another network", HOME VPN, "attach vpn eth0", -EBUSY,
      "`waymark network detach home eth0` first" },
    { "attach, no such interface", HOME, "attach home eth9", -ESRCH, "no interface 'eth9'" },
    { "attach, long name", HOME, "attach home 0123456789abcdef", -ESRCH, "no interface" },
    { "attach, unreachable network", "network no type unreachable\n", "attach no eth0", -EINVAL,
      "it has no interfaces" },
    { "attach, configured network", CONFIG, "attach conf eth0", -EPERM, CHANGE_IT },
    { "attach, of a host network", HOST_ETH0 "network home\n", "attach home eth0", 0,
      "'home' physical command permission none resolver 0,0,0,0 source ''\n  interface 'eth0'" },
    { "attach to a host network", HOST_ETH0, "attach eth0 eth1", 0, "'eth0' physical command" },
    { "attach after the other network went", HOME VPN "remove home\n", "attach vpn eth0", 0,
      "  interface 'eth0'" },
    { "attach after it was detached", HOME VPN "detach home eth0\n", "attach vpn eth0", 0,
      "  interface 'eth0'" },
    { "detach", HOME, "detach home eth0", 0, "'home'" },
    { "detach takes its routes along, and no others'",
      HOME "attach home eth1\nroute home 10.9.0.0/16 dev eth0\nroute home 10.8.0.0/16 dev eth1\n",
      "detach home eth0", 0, "''\n  interface 'eth1'\n  route 10.8.0.0/16 dev eth1\nknown" },
    { "detach, unknown network", "", "detach home eth0", -ENONET, "no network 'home'" },
    { "detach, no member", HOME, "detach home eth1", 0, "  interface 'eth0'" },
    { "detach, no such interface", HOME, "detach home eth9", 0, "  interface 'eth0'" },
    { "detach, one that is gone", HOME "unlink eth0\n", "detach home eth0", 0, "'home'" },
    { "detach, host", HOST_ETH0, "detach eth0 eth0", -EBUSY,
      "attach the interface to another network" },
    { "detach, configured", CONFIG, "detach conf eth1", -EPERM, CHANGE_IT },

    /* setDefault, clearDefault */
    { "default", HOME, "default home", 0, "default 'home'" },
    { "default, the same again", HOME "default home\n", "default home", 0, "default 'home'" },
    { "default, unknown", "", "default home", -ENONET, "no network 'home'" },
    { "default, a VPN", VPN, "default vpn", -EINVAL, "only a physical network can be the default" },
    { "default, local", "network lan type local\n", "default lan", -EINVAL,
      "only a physical network" },
    { "default, unreachable", "network no type unreachable\n", "default no", -EINVAL,
      "only a physical network" },
    { "default, cleared", HOME "default home\n", "default system", 0, "default ''" },
    { "default, cleared twice", "", "default system", 0, "default ''" },
    { "default, one of the host", HOST_ETH0, "default eth0", 0, "default 'eth0'" },
    { "the default becomes a VPN", HOME "default home\n", "set home type vpn", -EINVAL, "default" },
    { "the default comes back as a VPN", HOME "default home\nremove home\n",
      "network home type vpn", -EINVAL, "default" },
    { "the default comes back", HOME "default home\nremove home\n", "network home", 0,
      "default 'home'" },

    /* setNetworkPermission and other properties */
    { "set permission", HOME, "set home permission network", 0, "permission network" },
    { "set permission, unknown", "", "set home permission network", -ENONET, "no network 'home'" },
    { "set permission of a VPN", VPN, "set vpn permission system", -EINVAL,
      "only a physical one can demand" },
    { "set permission none of a VPN", VPN, "set vpn permission none", 0, NULL },
    { "set, configured", CONFIG, "set conf permission system", -EPERM, CHANGE_IT },
    { "set, host", HOST_ETH0, "set eth0 permission system", 0,
      "'eth0' physical command permission system" },
    { "set nothing", HOME, "set home", 0, "'home'" },
    { "set netId, the same", HOME, "set home netid 100", 0, "network 100 'home'" },
    { "set netId, another", HOME, "set home netid 101", -EINVAL, "is 100 and stays so" },
    { "set interfaces", HOME, "set home interface eth1", -EINVAL,
      "waymark network attach|detach home IF" },
    { "set type", HOME, "set home type vpn", 0, "network 100 'home' vpn" },
    { "set type, local", HOME, "set home type local", -EINVAL, "a local network's is 99" },
    { "set type of an OEM network", "network home netid 7\n", "set home type vpn", -EINVAL,
      "out of range" },
    { "set type of one that demands a permission", "network home permission system\n",
      "set home type vpn", -EINVAL, "only a physical one" },
    { "set type and permission", "network home permission system\n",
      "set home type vpn permission none", 0, "'home' vpn" },
    { "set dns", "network home dns 1.1.1.1 dns 1.1.1.2\n", "set home dns ::1 dns 9.9.9.9", 0,
      "  dns ::1\n  dns 9.9.9.9\n" },
    { "set domains", "network home domain a domain b\n", "set home domain c", 0,
      "source ''\n  domain 'c'\n" },
    { "set secure", VPN, "set vpn secure exclude-local", 0, "secure exclude-local" },
    { "set bypassable", "network v type vpn secure\n", "set v bypassable", 0,
      "'v' vpn command permission none resolver" },
    { "set fall-through", VPN, "set vpn fall-through", 0, " fall-through resolver" },
    { "set lockdown", "network v type vpn fall-through lockdown\n", "set v no-fall-through", 0,
      "permission none lockdown resolver" },
    { "set outside", "network v type vpn outside 10.0.0.0/8\n",
      "set v outside 192.168.0.0/16 outside fe80::/10 outside 192.168.0.0/16", 0,
      "source ''\n  outside 192.168.0.0/16\n  outside fe80::/10\n" },
    { "set lockdown, no VPN", HOME, "set home lockdown", -EINVAL, "only a VPN falls through" },
    { "set outside, no VPN", HOME, "set home outside 10.0.0.0/8", -EINVAL, "only a VPN falls" },
    { "set type, with outside", "network v type vpn outside 10.0.0.0/8\n",
      "set v type physical", -EINVAL, "network 'v' is of type physical: only a VPN falls" },
    { "add, falls through, no VPN", "", "network home type physical fall-through", -EINVAL,
      "only a VPN falls through, has a lockdown or destinations outside" },
    { "set resolver", HOME, "set home resolver 1800,25,8,64", 0, "resolver 1800,25,8,64" },

    /* addUsers, removeUsers */
    { "users", VPN, "users vpn 5 1000-1999", 0, "  users 5\n  users 1000-1999\n" },
    { "users, unknown", "", "users vpn 5", -ENONET, "no network 'vpn'" },
    { "users, physical", HOME, "users home 5", -EINVAL, "only a VPN captures users" },
    { "users, twice: counted", VPN "users vpn 5\n", "users vpn 5", 0, "  users 5\n  users 5\n" },
    { "users, configured", "network v origin config type vpn\n", "users v 5", -EPERM, CHANGE_IT },
    { "users-remove", VPN "users vpn 5 6\n", "users-remove vpn 5", 0,
      "interface 'wg0'\n  users 6\n" },
    { "users-remove, one of two", VPN "users vpn 5 5\n", "users-remove vpn 5", 0,
      "interface 'wg0'\n  users 5\n" },
    { "users-remove, unknown", "", "users-remove vpn 5", -ENONET, "no network 'vpn'" },
    { "users-remove, physical", HOME, "users-remove home 5", -EINVAL, "only a VPN" },
    { "users-remove, missing", VPN "users vpn 5\n", "users-remove vpn 6", -ENOENT,
      "no user range 6" },
    { "users-remove, a part of a range", VPN "users vpn 5-9\n", "users-remove vpn 5", -ENOENT,
      "no user range 5" },
    { "users-remove, more than there is", VPN "users vpn 5\n", "users-remove vpn 5 5", -ENOENT,
      "no user range 5" },

    /* addRoute, removeRoute */
    { "route", HOME, "route home 10.9.0.0/16 via 10.0.0.1", 0,
      "  route 10.9.0.0/16 via 10.0.0.1 dev eth0\n" },
    { "route again", HOME "route home 10.9.0.0/16\n", "route home 10.9.0.0/16 dev eth0", 0,
      "interface 'eth0'\n  route 10.9.0.0/16 dev eth0\nknown" },
    { "route, unknown network", "", "route home 10.9.0.0/16", -ENONET, "no network 'home'" },
    { "route, interface in no network", HOME, "route home 10.9.0.0/16 dev eth1", -ENODEV,
      "in no network" },
    { "route, interface in another", HOME VPN, "route home 10.9.0.0/16 dev wg0", -ENOENT,
      "is in network 'vpn', not in 'home'" },
    { "route, interface gone", HOME "unlink eth0\n", "route home 10.9.0.0/16", -ENODEV, "is gone" },
    { "route, two interfaces", HOME "attach home eth1\n", "route home 10.9.0.0/16", -ENODEV,
      "has 2 interfaces: say which" },
    { "route, no interface", "network home\n", "route home 10.9.0.0/16", -ENODEV,
      "has 0 interfaces" },
    { "route, configured", CONFIG, "route conf 10.9.0.0/16", -EPERM, CHANGE_IT },
    { "route, host", HOST_ETH0, "route eth0 10.9.0.0/16", 0, "'eth0' physical command" },
    { "route, unreachable", HOME, "route home ::/0 unreachable", 0,
      "  route ::/0 unreachable dev eth0" },
    { "route-remove", HOME "route home 10.9.0.0/16\n", "route-remove home 10.9.0.0/16", 0, NULL },
    { "route-remove, missing", HOME, "route-remove home 10.9.0.0/16", -ESRCH,
      "no such route of its own" },
    { "route-remove, another mtu", HOME "route home 10.9.0.0/16\n",
      "route-remove home 10.9.0.0/16 mtu 1400", -ESRCH, "no such route" },
    { "route-remove, unknown network", "", "route-remove home 10.9.0.0/16", -ENONET,
      "no network 'home'" },
    { "route-remove, interface in another", HOME VPN, "route-remove home 10.9.0.0/16 dev wg0",
      -ENOENT, "is in network 'vpn'" },

    /* the legacy routes of requestRouteToHost */
    { "legacy", HOME, "legacy system 1.2.3.4 via 10.0.0.1 dev eth0", 0,
      "legacy 1 1.2.3.4/32 via 10.0.0.1 dev eth0" },
    { "legacy again", HOME "legacy system 1.2.3.4 dev eth0\n", "legacy system 1.2.3.4 dev eth0",
      0, "''\nnetwork 100" },
    { "legacy, of the other kind", HOME "legacy system 1.2.3.4 dev eth0\n",
      "legacy network 1.2.3.4 dev eth0", 0,
        "legacy 1 1.2.3.4/32 dev eth0\nlegacy 0 1.2.3.4/32 dev eth0\n" },
    { "legacy, interface in no network", "", "legacy system 1.2.3.4 dev eth0", -ENODEV,
      "in no network" },
    { "legacy, interface gone", HOME "unlink eth0\n", "legacy system 1.2.3.4 dev eth0", -ENODEV,
      "is gone" },
    { "legacy-remove", HOME "legacy system 1.2.3.4 dev eth0\n",
      "legacy-remove system 1.2.3.4 dev eth0", 0, NULL },
    { "legacy-remove, missing", HOME, "legacy-remove system 1.2.3.4 dev eth0", -ESRCH,
      "no such legacy route" },
    { "legacy-remove, of the other kind", HOME "legacy system 1.2.3.4 dev eth0\n",
      "legacy-remove network 1.2.3.4 dev eth0", -ESRCH, "no such legacy route" },

    /* assignments */
    { "assign", HOME, "assign uid:1000 home", 0, "assign uid:1000 home require command" },
    { "assign, prefer", HOME, "assign user:alice home prefer uids 1000", 0,
      "assign user:alice home prefer command at '':0 1000" },
    { "assign none", "", "assign group:kids none", 0, "assign group:kids - require" },
    { "assign none, prefer", "", "assign uid:5 none prefer", -EINVAL, "it cannot be a preference" },
    { "assign default", "", "assign uid:5 default", 0, "assign uid:5 default prefer command" },
    { "assign default, prefer", "", "assign uid:5 default prefer", 0,
      "assign uid:5 default prefer command" },
    { "assign, unknown network", "", "assign uid:5 home", -ENONET, "no network 'home'" },
    { "assign, a network that was there", HOME "remove home\n", "assign uid:5 home", 0,
      "assign uid:5 home" },
    { "assign, a host network that is gone", HOST_ETH0 "unlink eth0\nhost-update\n",
      "assign uid:5 eth0", 0, "assign uid:5 eth0" },
    { "assign, replaced", HOME VPN "assign uid:5 home\n", "assign uid:5 vpn prefer", 0,
      "assign uid:5 vpn prefer command at '':0\nknown" },
    { "assign, configured", CONFIG, "assign uid:5 none", -EPERM,
      "assigned in waymark.conf:9: " CHANGE_IT },
    { "assign, cgroup", "", "assign cgroup:/a none", -EOPNOTSUPP, "cgroup selectors need" },
    { "assign, unit", "", "assign unit:a.service none", -EOPNOTSUPP, "unit selectors need" },
    { "assign, exe", "", "assign exe:/bin/a none", -EOPNOTSUPP, "exe selectors need" },
    { "unassign", "assign uid:5 none\n", "unassign uid:5", 0, NULL },
    { "unassign, missing", "", "unassign uid:5", -ENOENT, "see `waymark assignments`" },
    { "unassign, a part", "assign uid:5-9 none\n", "unassign uid:5", -ENOENT,
      "nothing is assigned" },
    { "unassign, configured", CONFIG, "unassign uid:5", -EPERM, "stands in waymark.conf:9" },
};
/* clang-format on */

static void check_row(size_t i)
{
    _cleanup_strbuf_ struct strbuf before = STRBUF_INIT, after = STRBUF_INIT, edited = STRBUF_INIT;
    _cleanup_scene_ struct scene s;
    struct why why = { 0 };
    struct model *original;
    int r;

    scene_init(&s);
    scene_run(&s, common);
    scene_run(&s, rows[i].setup);
    original = s.m;
    dump_model(original, &before);
    s.m = model_copy(original);
    r = scene_line(&s, rows[i].line, &why);
    dump_model(s.m, &edited);
    model_free(s.m);
    s.m = original;

    CHECK_INT(rows[i].name, r, rows[i].error);
    dump_model(original, &after);
    CHECK_TEXT(rows[i].name, strbuf_text(&after), strbuf_text(&before));
    if (r < 0) {
        CHECK_INT(rows[i].name, why.error, r);
        CHECK_CONTAINS(rows[i].name, why.text, rows[i].says);
    } else
        CHECK_CONTAINS(rows[i].name, strbuf_text(&edited), rows[i].says);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        check_row(i);
    CHECK_END();
}

/* A removed thing is gone: rows cannot see what is not there. */
static void test_removed(void **state)
{
    static const char *const removals[][2] = {
        { HOME "remove home\n", "network 100" },
        { HOME "detach home eth0\n", "interface" },
        { HOME "route home 10.9.0.0/16\nroute-remove home 10.9.0.0/16\n", "route" },
        { HOME "legacy system 1.2.3.4 dev eth0\nlegacy-remove system 1.2.3.4 dev eth0\n",
          "legacy" },
        { "assign uid:5 none\nunassign uid:5\n", "assign" },
        { VPN "users vpn 5\nusers-remove vpn 5\n", "users" },
        { HOST_ETH0 "network home interface eth0\n", "'eth0' physical host" },
        { "protect 5 yes\nprotect 5 no\n", "protect" },
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(removals); i++) {
        _cleanup_strbuf_ struct strbuf b = STRBUF_INIT;
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, common);
        scene_run(&s, removals[i][0]);
        dump_model(s.m, &b);
        if (strstr(strbuf_text(&b), removals[i][1]))
            CHECK_TEXT(removals[i][0], strbuf_text(&b), "(nothing of that)");
    }
    CHECK_END();
}

/* Too many DNS servers and domains: edit.h's -E2BIG, by the setters that a request goes through. */
static void test_too_many(void **state)
{
    struct network *draft = network_new(), *many = network_new();
    _cleanup_scene_ struct scene s;
    struct why why = { 0 };
    char text[8];

    (void)state;
    scene_init(&s);
    scene_run(&s, "network home\n");
    for (unsigned i = 0; i < NETWORK_DNS_MAX; i++)
        CHECK_INT("room",
                  network_add_dns(draft, &(struct ip_addr){ AF_INET, { 0 }, { 9, (uint8_t)i } }),
                  0);
    CHECK_INT("twice", network_add_dns(draft, &(struct ip_addr){ AF_INET, { 0 }, { 9, 0 } }), 0);
    CHECK_INT("dns", network_add_dns(draft, &(struct ip_addr){ AF_INET, { 0 }, { 8 } }), -E2BIG);
    for (unsigned i = 0; i < NETWORK_DOMAINS_MAX; i++) {
        snprintf(text, sizeof(text), "d%u", i);
        CHECK_INT("room", network_add_domain(draft, text), 0);
    }
    CHECK_INT("twice", network_add_domain(draft, "d1"), 0);
    CHECK_INT("domains", network_add_domain(draft, "more"), -E2BIG);

    /* drafts that were not made by the setters: D-Bus fills arrays by itself */
    many->dns = calloc(9, sizeof(*many->dns));
    for (many->n_dns = 0; many->n_dns < 9; many->n_dns++)
        many->dns[many->n_dns] = (struct ip_addr){ AF_INET, { 0 }, { 9, (uint8_t)many->n_dns } };
    CHECK_INT("set", edit_set_network(s.m, "home", ORIGIN_COMMAND, many, FIELD_DNS, &why), -E2BIG);
    network_unref(draft);
    network_unref(many);
    CHECK_END();
}

static void test_type_of_link(void **state)
{
    static const struct {
        const char *link;
        enum network_type type;
    } links[] = {
        { "link 9 x", NETWORK_PHYSICAL },
        { "link 9 x kind veth", NETWORK_PHYSICAL },
        { "link 9 x kind tun", NETWORK_PHYSICAL }, /* Ethernet: a tap */
        { "link 9 x kind tun arphrd 65534", NETWORK_VPN },
        { "link 9 x kind wireguard arphrd 65534", NETWORK_VPN },
        { "link 9 x arphrd 512", NETWORK_VPN },        /* ppp */
        { "link 9 x arphrd 65534", NETWORK_PHYSICAL }, /* a modem */
        { "link 9 x kind wwan arphrd 65534", NETWORK_PHYSICAL },
        { "link 9 x kind gre arphrd 778", NETWORK_VPN },
        { "link 9 x kind ip6gre arphrd 823", NETWORK_VPN },
        { "link 9 x kind xfrm arphrd 65534", NETWORK_VPN },
        { "link 9 x arphrd 519", NETWORK_PHYSICAL }, /* raw IP: a modem */
        { "link 9 x arphrd 772", NETWORK_PHYSICAL }, /* loopback */
    };

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(links); i++) {
        _cleanup_scene_ struct scene s;

        scene_init(&s);
        scene_run(&s, links[i].link);
        CHECK_INT(links[i].link, network_type_of_link(scene_link(&s, "x")), links[i].type);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_removed),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_type_of_link),
    };

    return RUN_TESTS(tests);
}
