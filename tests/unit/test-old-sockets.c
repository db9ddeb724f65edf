/* SPDX-License-Identifier: LGPL-2.1-or-later */

/*
 * src/plan/old-sockets: which sockets end after a change; rows by the step (plan/old-sockets.h) that
 * decides. User 1000 is the one to whom things happen.
 */

#include "unit/check.h"

#include <stdio.h>

#include "plan/old-sockets.h"
#include "unit/scene.h"

/* A machine with two uplinks and a VPN's interface, all of them host networks. */
static const char machine[] = "link 2 eth0\naddr eth0 10.0.0.2/24\naddr eth0 fd00::2/64\n"
                              "link 3 eth1\naddr eth1 10.0.1.2/24\naddr eth1 fd00:1::2/64\n"
                              "link 4 tun0 kind tun arphrd 65534\naddr tun0 10.9.0.2/32\n"
                              "host-update\n";

struct row {
    enum old_socket_step step;
    const char *name;
    const char *before, *change; /* lines of a scene, and "pull IF", "plug IF" */
    const char *socket;          /* see parse_socket() */
};

#define ASSIGN  "", "assign uid:1000 eth1\n"
#define ON_ETH0 "tcp 10.0.0.2 198.51.100.1"
#define ON_ETH1 "tcp 10.0.1.2 198.51.100.1"
#define VPN     "network vpn type vpn secure netid 200 interface tun0\n"
#define SPLIT                                                               \
    "network split type vpn secure fall-through netid 201 interface tun0\n" \
    "route split 10.77.0.0/16 dev tun0\n"
#define INSIDE "tcp 10.0.0.2 10.77.0.1"
#define WORK   "network work netid 150 interface eth1\n"
#define TUNNEL "address 10.9.0.2/32 route 10.77.0.0/16 exclude 10.77.1.0/24\n"

/* clang-format off */
static const struct row rows[] = {
    { OLD_SOCKET_NO_TRAFFIC, "listens", ASSIGN, "tcp 0.0.0.0 0.0.0.0 state 10" },
    { OLD_SOCKET_NO_TRAFFIC, "listens on an uplink", ASSIGN, "tcp 10.0.0.2 0.0.0.0 state 10" },
    { OLD_SOCKET_NO_TRAFFIC, "is over", ASSIGN, ON_ETH0 " state 6" },
    { OLD_SOCKET_NO_TRAFFIC, "never was", ASSIGN, ON_ETH0 " state 7" },

    { OLD_SOCKET_LOOPBACK, "127/8", ASSIGN, "tcp 127.0.0.1 127.9.0.2" },
    { OLD_SOCKET_LOOPBACK, "127/8 on one end", ASSIGN, "tcp 10.0.0.2 127.0.0.1" },
    { OLD_SOCKET_LOOPBACK, "::1", ASSIGN, "tcp ::1 ::1" },
    { OLD_SOCKET_LOOPBACK, "mapped", ASSIGN, "tcp ::ffff:127.0.0.1 ::ffff:127.0.0.2" },
    { OLD_SOCKET_LOOPBACK, "mapped, one end", ASSIGN, "tcp ::ffff:10.0.0.2 ::ffff:127.0.0.1" },
    { OLD_SOCKET_LOOPBACK, "UDP that waits on 127.0.0.1", ASSIGN, "udp 127.0.0.1 0.0.0.0 state 7" },
    { OLD_SOCKET_LOOPBACK, "UDP that waits on ::1", ASSIGN, "udp ::1 :: state 7" },
    { OLD_SOCKET_LOOPBACK, "before 4", ASSIGN, "udp 127.0.0.1 127.0.0.1 uid 0" },
    { OLD_SOCKET_MOVED, "127 in the wrong byte (Android)", ASSIGN,
      "tcp ::ffff:10.0.0.2 ::ffff:198.51.100.127" },
    { OLD_SOCKET_MOVED, "not mapped", ASSIGN, "tcp fd00::2 64:ff9b::7f00:1" },

    { OLD_SOCKET_OWN, "to itself", ASSIGN, "tcp 10.0.0.2 10.0.0.2" },
    { OLD_SOCKET_OWN, "from one to the other", ASSIGN, "tcp 10.0.0.2 10.0.1.2" },
    { OLD_SOCKET_OWN, "IPv6", ASSIGN, "udp fd00::2 fd00:1::2" },
    { OLD_SOCKET_OWN, "mapped", ASSIGN, "tcp ::ffff:10.0.0.2 ::ffff:10.0.1.2" },
    { OLD_SOCKET_MOVED, "a neighbour", ASSIGN, "tcp 10.0.0.2 10.0.0.1" },

    { OLD_SOCKET_USELESS, "bound to an interface", ASSIGN, "udp 0.0.0.0 0.0.0.0 state 7 if 2" },
    { OLD_SOCKET_USELESS, "root's", "", "assign uid:0 eth1\n", "udp 0.0.0.0 0.0.0.0 state 7 uid 0" },
    { OLD_SOCKET_USELESS, "root's, connected", "", "assign uid:0 eth1\n",
      "udp 10.0.0.2 198.51.100.1 uid 0" },
    { OLD_SOCKET_MOVED, "bound and connected", ASSIGN, "udp 10.0.0.2 198.51.100.1 if 2" },
    { OLD_SOCKET_MOVED, "not bound", ASSIGN, "udp 0.0.0.0 0.0.0.0 state 7" },
    { OLD_SOCKET_MOVED, "not bound, IPv6", ASSIGN, "udp :: :: state 7" },
    { OLD_SOCKET_MOVED, "TCP, bound", ASSIGN, ON_ETH0 " if 2" },

    { OLD_SOCKET_MARK_GONE, "implicit", WORK, "remove work\n", ON_ETH1 " mark 150" },
    { OLD_SOCKET_MARK_GONE, "explicit", WORK, "remove work\n", ON_ETH1 " mark 0x10096" },
    { OLD_SOCKET_MARK_GONE, "whoever's", WORK, "remove work\n", ON_ETH1 " mark 0x10096 uid 7" },
    { OLD_SOCKET_MARK_GONE, "with bits of others", WORK, "remove work\n",
      ON_ETH1 " mark 0xff210096 uid 7" },
    { OLD_SOCKET_SAME, "came in", WORK, "remove work\n", ON_ETH1 " mark 0x30096 uid 7" },
    { OLD_SOCKET_MARK_GONE, "explicit, of root", WORK, "remove work\n",
      ON_ETH1 " mark 0xd0096 uid 0" },
    { OLD_SOCKET_SAME, "another network's", WORK, "remove work\n", ON_ETH0 " mark 0x10097 uid 7" },
    { OLD_SOCKET_SAME, "the machine's own, which may come back", "",
      "unlink eth1\nhost-update\n", ON_ETH1 " mark 0x10065 uid 7" },

    { OLD_SOCKET_MARK_PERMISSION, "implicit", WORK, "set work permission network\n",
      ON_ETH1 " mark 0x40096 uid 7" },
    { OLD_SOCKET_MARK_PERMISSION, "explicit without", WORK, "set work permission network\n",
      ON_ETH1 " mark 0x10096 uid 7" },
    { OLD_SOCKET_MARK_PERMISSION, "not enough", WORK, "set work permission system\n",
      ON_ETH1 " mark 0x50096 uid 7" },
    { OLD_SOCKET_SAME, "explicit and of it", WORK, "set work permission network\n",
      ON_ETH1 " mark 0x50096 uid 7" },
    { OLD_SOCKET_SAME, "more than it", WORK, "set work permission network\n",
      ON_ETH1 " mark 0xd0096 uid 7" },
    { OLD_SOCKET_SAME, "no mark", WORK, "set work permission network\nassign uid:1000 work\n",
      ON_ETH1 " uid 7" },

    { OLD_SOCKET_OWNERLESS, "bound, with data queued", ASSIGN,
      ON_ETH0 " state 4 uid 0 inode 0 if 2 wqueue 9" },
    { OLD_SOCKET_SAME, "not bound", ASSIGN, ON_ETH0 " state 4 uid 0 inode 0 wqueue 9" },
    { OLD_SOCKET_SAME, "nothing queued", ASSIGN, ON_ETH0 " state 5 uid 0 inode 0 if 2" },
    { OLD_SOCKET_SAME, "root's own", ASSIGN, ON_ETH0 " uid 0 if 2 wqueue 9" },
    { OLD_SOCKET_SAME, "nobody moved", WORK, "set work permission network\n",
      ON_ETH0 " uid 0 inode 0 if 2 wqueue 9" },
    { OLD_SOCKET_MOVED, "known whose it was", ASSIGN, ON_ETH0 " state 4 inode 0 wqueue 9" },

    { OLD_SOCKET_SAME, "another user", ASSIGN, ON_ETH0 " uid 1001" },
    { OLD_SOCKET_SAME, "root, for whom nothing was said", ASSIGN, ON_ETH0 " uid 0" },
    { OLD_SOCKET_SAME, "what holds stands elsewhere now", "assign uid:1000-1009 eth1\n",
      "assign uid:1000 eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "a closer one holds", "assign uid:1000 eth1\n", "assign uid:1000-1009 eth0\n",
      ON_ETH0 },
    { OLD_SOCKET_SAME, "no more strictly", "assign uid:1000 eth1\n", "assign uid:1000 eth1 prefer\n",
      ON_ETH0 },
    { OLD_SOCKET_SAME, "the cable is pulled", "assign uid:1000 eth1\n", "pull eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "and plugged in", "assign uid:1000 eth1\npull eth1\n", "plug eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "the interface is gone", "assign uid:1000 eth1\n",
      "unlink eth1\nhost-update\n", ON_ETH1 },
    { OLD_SOCKET_SAME, "the default", "default eth0\n", "default eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "a VPN captures whom another one holds",
      VPN "assign uid:1000 eth1\n", "users vpn 1000\n", ON_ETH1 },

    { OLD_SOCKET_EXEMPT, "captured", VPN "protect 1000 yes\n", "users vpn 1000\n", ON_ETH0 },
    { OLD_SOCKET_EXEMPT, "assigned", VPN "protect 1000 yes\n", "assign uid:1000 vpn\n", ON_ETH0 },
    { OLD_SOCKET_EXEMPT, "set free", VPN "protect 1000 yes\nusers vpn 1000\n",
      "users-remove vpn 1000\n", "tcp 10.9.0.2 198.51.100.1" },
    { OLD_SOCKET_MOVED, "no VPN", "protect 1000 yes\n", "assign uid:1000 eth1\n", ON_ETH0 },

    { OLD_SOCKET_OUT_OF_ORDER, "preferred", "assign uid:1000 eth1 prefer\n", "pull eth1\n", ON_ETH1 },
    { OLD_SOCKET_OUT_OF_ORDER, "preferred, the interface is gone", "assign uid:1000 eth1 prefer\n",
      "unlink eth1\nhost-update\n", ON_ETH1 },
    { OLD_SOCKET_OUT_OF_ORDER, "a VPN", VPN "users vpn 1000\n", "pull tun0\n",
      "tcp 10.9.0.2 198.51.100.1" },

    { OLD_SOCKET_CHOSEN, "explicit", "", "assign uid:1000 eth1 prefer\n", ON_ETH0 " mark 0x10064" },
    { OLD_SOCKET_CHOSEN, "bound", "", "assign uid:1000 eth1 prefer\n", ON_ETH0 " if 2" },
    { OLD_SOCKET_CHOSEN, "protected", "", "assign uid:1000 eth1 prefer\n", ON_ETH0 " mark 0x20000" },
    { OLD_SOCKET_CHOSEN, "protected from a VPN", VPN, "users vpn 1000\n", ON_ETH0 " mark 0x20064" },
    { OLD_SOCKET_CHOSEN, "explicit, not preferred any more", "assign uid:1000 eth0 prefer\n",
      "unassign uid:1000\n", ON_ETH1 " mark 0x10065" },
    { OLD_SOCKET_MOVED, "explicit for it once was held, not preferred any more",
      "assign uid:1000 eth1 prefer\n", "unassign uid:1000\n", ON_ETH1 " mark 0x10065" },
    { OLD_SOCKET_CHOSEN, "came in, set free", "assign uid:1000 eth0\n", "unassign uid:1000\n",
      ON_ETH0 " mark 0x30064" },
    { OLD_SOCKET_MOVED, "explicit for it was held, set free", "assign uid:1000 eth0\n",
      "unassign uid:1000\n", ON_ETH0 " mark 0x10064" },
    { OLD_SOCKET_MOVED, "implicit", "", "assign uid:1000 eth1 prefer\n", ON_ETH0 " mark 0x64" },
    { OLD_SOCKET_MOVED, "explicit, but no such network", "", "assign uid:1000 eth1 prefer\n",
      ON_ETH0 " mark 0x10300" },
    { OLD_SOCKET_MOVED, "explicit, secure VPN", VPN, "users vpn 1000\n", ON_ETH0 " mark 0x10064" },
    { OLD_SOCKET_MOVED, "bound, secure VPN", VPN, "users vpn 1000\n", ON_ETH0 " if 2" },
    { OLD_SOCKET_MOVED, "protected, but held", ASSIGN, ON_ETH0 " mark 0x30064" },

    { OLD_SOCKET_THERE, "assigned to where it is", ASSIGN, ON_ETH1 },
    { OLD_SOCKET_THERE, "IPv6", ASSIGN, "tcp fd00:1::2 2001:db8::1" },
    { OLD_SOCKET_THERE, "mapped", ASSIGN, "tcp ::ffff:10.0.1.2 ::ffff:198.51.100.1" },
    { OLD_SOCKET_THERE, "bound", ASSIGN, ON_ETH1 " if 3" },
    { OLD_SOCKET_THERE, "link-local", ASSIGN, "tcp fe80::2 fe80::1 if 3" },
    { OLD_SOCKET_THERE, "UDP on its address", ASSIGN, "udp 10.0.1.2 0.0.0.0 state 7" },
    { OLD_SOCKET_THERE, "marked", ASSIGN, ON_ETH1 " mark 0xf0065" },
    { OLD_SOCKET_THERE, "held more strictly", "assign uid:1000 eth1 prefer\n",
      "assign uid:1000 eth1\n", ON_ETH1 },
    { OLD_SOCKET_THERE, "set free, to the default", "default eth0\nassign uid:1000 eth1\n",
      "unassign uid:1000\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "bound elsewhere", ASSIGN, ON_ETH1 " if 2" },
    { OLD_SOCKET_MOVED, "marked for another", ASSIGN, ON_ETH1 " mark 0x64" },

    { OLD_SOCKET_UNPROVEN, "no address", "assign uid:1000 eth1 prefer\npull eth1\n", "plug eth1\n",
      "udp 0.0.0.0 0.0.0.0 state 7" },
    { OLD_SOCKET_UNPROVEN, "an address that is gone", "assign uid:1000 eth1 prefer\npull eth1\n",
      "plug eth1\n", "tcp 10.0.1.77 198.51.100.1" },
    { OLD_SOCKET_UNPROVEN, "the interface is back before its address",
      "assign uid:1000 eth1 prefer\nunlink eth1\nhost-update\n",
      "link 9 eth1\naddr eth1 fd00:1::2/64\nhost-update\n", ON_ETH1 },
    { OLD_SOCKET_THERE, "back, and there", "assign uid:1000 eth1 prefer\npull eth1\n", "plug eth1\n",
      ON_ETH1 },
    { OLD_SOCKET_MOVED, "back, and it fell back meanwhile",
      "assign uid:1000 eth1 prefer\npull eth1\n", "plug eth1\n", ON_ETH0 },

    { OLD_SOCKET_MOVED, "assigned", ASSIGN, ON_ETH0 },
    { OLD_SOCKET_MOVED, "assigned, SYN_SENT", ASSIGN, ON_ETH0 " state 2" },
    { OLD_SOCKET_MOVED, "assigned, IPv6", ASSIGN, "tcp fd00::2 2001:db8::1" },
    { OLD_SOCKET_MOVED, "assigned, UDP", ASSIGN, "udp 10.0.0.2 198.51.100.1" },
    { OLD_SOCKET_MOVED, "reassigned", "assign uid:1000 eth0\n", "assign uid:1000 eth1\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "unassigned", "assign uid:1000 eth1\n", "unassign uid:1000\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "none", "assign uid:1000 eth1\n", "assign uid:1000 none\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "excepted", "assign uid:1000 eth1\n", "assign uid:1000 default\n",
      ON_ETH1 },
    { OLD_SOCKET_MOVED, "excepted, from a range", "assign uid:1000-1999 eth1\n",
      "assign uid:1000 default\n", ON_ETH1 },
    { OLD_SOCKET_THERE, "outside of the VPN", SPLIT, "assign uid:1000 split\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "inside of it", SPLIT, "assign uid:1000 split\n", INSIDE },
    { OLD_SOCKET_THERE, "waits outside of it", SPLIT, "assign uid:1000 split\n",
      "udp 10.0.0.2 0.0.0.0 state 7" },
    { OLD_SOCKET_THERE, "waits outside, mapped", SPLIT, "assign uid:1000 split\n",
      "udp ::ffff:10.0.0.2 :: state 7" },
    { OLD_SOCKET_MOVED, "waits everywhere", SPLIT, "assign uid:1000 split\n",
      "udp 0.0.0.0 0.0.0.0 state 7" },
    { OLD_SOCKET_MOVED, "waits outside, which is no more", SPLIT "assign uid:1000 split\n",
      "set split lockdown\n", "udp 10.0.0.2 0.0.0.0 state 7" },
    { OLD_SOCKET_MOVED, "waits where it does not lead", VPN, "assign uid:1000 vpn\n",
      "udp 10.0.0.2 0.0.0.0 state 7" },
    { OLD_SOCKET_SAME, "outside, and another route came", SPLIT "assign uid:1000 split\n",
      "route split 10.78.0.0/16 dev tun0\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "come inside", SPLIT "assign uid:1000 split\n",
      "route split 198.51.100.0/24 dev tun0\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "lockdown", SPLIT "assign uid:1000 split\n", "set split lockdown\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "falls through no more", SPLIT "assign uid:1000 split\n",
      "set split no-fall-through\n", ON_ETH0 " mark 0x100c9" },
    { OLD_SOCKET_SAME, "it is in the VPN", SPLIT "assign uid:1000 split\n", "set split lockdown\n",
      "tcp 10.9.0.2 10.77.0.1" },
    { OLD_SOCKET_SAME, "inside, and went out of it", SPLIT "assign uid:1000 split\n",
      "route-remove split 10.77.0.0/16 dev tun0\n", "tcp 10.9.0.2 10.77.0.1" },
    { OLD_SOCKET_MOVED, "none, from nothing", "", "assign uid:1000 none\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "a closer one", "assign uid:1000-1009 eth0\n", "assign uid:1000 eth1\n",
      ON_ETH0 },
    { OLD_SOCKET_MOVED, "a group's member", "assign group:staff eth1 uids 1001\n",
      "assign group:staff eth1 uids 1000-1001\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "no member any more", "assign group:staff eth1 uids 1000-1001\n",
      "assign group:staff eth1 uids 1001\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "preferred", "", "assign uid:1000 eth1 prefer\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "held more strictly", "assign uid:1000 eth1 prefer\n",
      "assign uid:1000 eth1\n", ON_ETH0 " if 2" },
    { OLD_SOCKET_MOVED, "captured", VPN, "users vpn 1000-1009\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "captured, bypassable", "network vpn type vpn interface tun0\n",
      "users vpn 1000\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "set free", VPN "users vpn 1000\n", "users-remove vpn 1000\n",
      "tcp 10.9.0.2 198.51.100.1" },
    { OLD_SOCKET_MOVED, "the VPN is removed", VPN "users vpn 1000\n", "remove vpn\n",
      "tcp 10.9.0.2 198.51.100.1" },
    { OLD_SOCKET_MOVED, "the VPN is not bypassable any more",
      "network vpn type vpn interface tun0\nusers vpn 1000\n", "set vpn secure\n",
      ON_ETH0 " mark 0x10064" },
    { OLD_SOCKET_MOVED, "the required network is removed", WORK "assign uid:1000 work\n",
      "remove work\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "the preferred network is removed", WORK "assign uid:1000 work prefer\n",
      "remove work\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "required, not usable", "pull eth1\n", "assign uid:1000 eth1\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "the highest uid", "", "assign uid:4294967294 eth1\n",
      ON_ETH0 " uid 4294967294" },
};

/* Nothing is known but the rules, at a start. */
static const struct row start_rows[] = {
    { OLD_SOCKET_MOVED, "not held by the rules", ASSIGN, ON_ETH0 },
    { OLD_SOCKET_THERE, "not held, but there", ASSIGN, ON_ETH1 },
    { OLD_SOCKET_SAME, "held as before",
      "iprule 8000 uidrange 1000-1001 proto 119 lookup 1003\n"
      "iprule 9000 uidrange 1000-1001 proto 119 prohibit\n",
      "assign uid:1000-1001 eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "held as before, without carrier",
      "iprule 9000 uidrange 1000-1001 proto 119 prohibit\npull eth1\n",
      "assign uid:1000-1001 eth1\n", ON_ETH0 },
    { OLD_SOCKET_SAME, "held by a local network as before",
      "network local netid 99 type local interface eth1\n"
      "iprule 8000 uidrange 1000-1000 proto 119 lookup 97\n"
      "iprule 9000 uidrange 1000-1000 proto 119 prohibit\n",
      "assign uid:1000 local\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "held by another network",
      "iprule 8000 uidrange 1000-1001 proto 119 lookup 1002\n"
      "iprule 9000 uidrange 1000-1001 proto 119 prohibit\n",
      "assign uid:1000-1001 eth1\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "not one any more",
      "iprule 8000 uidrange 1000-1001 proto 119 lookup 1002\n"
      "iprule 9000 uidrange 1000-1001 proto 119 prohibit\n",
      "assign uid:1000-1001 none\n", ON_ETH0 },
    { OLD_SOCKET_MOVED, "held no more",
      "iprule 8000 uidrange 900-1001 proto 119 lookup 1003\n"
      "iprule 9000 uidrange 900-1001 proto 119 prohibit\n",
      "assign uid:900-999 eth1\nassign uid:1001 eth1\n", ON_ETH1 },
    { OLD_SOCKET_SAME, "beside who is held no more",
      "iprule 8000 uidrange 900-1001 proto 119 lookup 1003\n"
      "iprule 9000 uidrange 900-1001 proto 119 prohibit\n",
      "assign uid:900-999 eth1\nassign uid:1001 eth1\n", ON_ETH1 " uid 1001" },
    { OLD_SOCKET_SAME, "preferred", "", "assign uid:1000 eth1 prefer\nassign uid:7 none\n",
      ON_ETH0 },
};
/* clang-format on */

/* clang-format off */
#define EXE1    "assign exe:/1 eth1\n"
#define GROUP5  "assign cgroup:/5 eth1\n"
#define RUN6    "assign cgroup:/waymark-run-6 eth1\n"

/* By more than the uid. "exe:/N" has inode N, "cgroup:/…N" has id N. */
static const struct row app_rows[] = {
    { OLD_SOCKET_MOVED, "an executable", "", EXE1, ON_ETH0 " exe 1" },
    { OLD_SOCKET_MOVED, "an executable, mapped", "", EXE1,
      "tcp ::ffff:10.0.0.2 ::ffff:198.51.100.1 exe 1" },
    { OLD_SOCKET_MOVED, "an executable, UDP", "", EXE1, "udp fd00::2 2001:db8::1 exe 1" },
    { OLD_SOCKET_MOVED, "an executable, by root", "", EXE1, ON_ETH0 " exe 1 uid 0" },
    { OLD_SOCKET_SAME, "another one", "", EXE1, ON_ETH0 " exe 2" },
    { OLD_SOCKET_SAME, "an unknown one", "", EXE1, ON_ETH0 },
    { OLD_SOCKET_THERE, "an executable, there", "", EXE1, ON_ETH1 " exe 1" },
    { OLD_SOCKET_LOOPBACK, "an executable, loopback", "", EXE1,
      "tcp ::ffff:127.0.0.1 ::ffff:127.0.0.2 exe 1" },
    { OLD_SOCKET_MOVED, "no more", EXE1, "unassign exe:/1\n", ON_ETH1 " exe 1" },
    { OLD_SOCKET_MOVED, "another network", EXE1, "assign exe:/1 none\n", ON_ETH1 " exe 1" },
    { OLD_SOCKET_MOVED, "its network is removed", WORK "assign exe:/1 work\n", "remove work\n",
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_OUT_OF_ORDER, "pulled", "assign exe:/1 eth1 prefer\n", "pull eth1\n",
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_CHOSEN, "preferred, bound", "", "assign exe:/1 eth1 prefer\n",
      ON_ETH0 " exe 1 if 2" },
    { OLD_SOCKET_USELESS, "root's UDP", "", GROUP5, "udp 10.0.0.2 198.51.100.1 uid 0 cgroup 5" },
    { OLD_SOCKET_MOVED, "root's UDP, and a program has it", "", GROUP5,
      "udp 10.0.0.2 198.51.100.1 uid 0 cgroup 5 exe 9" },

    { OLD_SOCKET_MOVED, "a cgroup", "", GROUP5, ON_ETH0 " cgroup 5" },
    { OLD_SOCKET_MOVED, "a cgroup's, come inside", SPLIT "assign cgroup:/5 split\n",
      "route split 198.51.100.0/24 dev tun0\n", ON_ETH0 " cgroup 5" },
    { OLD_SOCKET_SAME, "a cgroup's, still outside", SPLIT "assign cgroup:/5 split\n",
      "route split 10.78.0.0/16 dev tun0\n", ON_ETH0 " cgroup 5" },
    { OLD_SOCKET_MOVED, "a cgroup that it is in", "", GROUP5, ON_ETH0 " cgroup 7 cgroup 5 cgroup 1" },
    { OLD_SOCKET_SAME, "another cgroup", "", GROUP5, ON_ETH0 " cgroup 7 cgroup 1" },
    { OLD_SOCKET_SAME, "a nearer one", "assign cgroup:/7 eth0\n", GROUP5,
      ON_ETH0 " cgroup 7 cgroup 5" },
    { OLD_SOCKET_MOVED, "and that was it", "assign cgroup:/7 eth0\n" GROUP5,
      "unassign cgroup:/7\n", ON_ETH0 " cgroup 7 cgroup 5" },

    { OLD_SOCKET_SAME, "its user, but an executable holds it", "assign exe:/1 eth0\n",
      "assign uid:1000 eth1\n", ON_ETH0 " exe 1" },
    { OLD_SOCKET_SAME, "its user, but a cgroup holds it", "assign cgroup:/5 eth0\n",
      "assign uid:1000 eth1\n", ON_ETH0 " cgroup 5" },
    { OLD_SOCKET_MOVED, "its user, and nothing else", "assign exe:/1 eth0\n",
      "assign uid:1000 eth1\n", ON_ETH0 " exe 2" },
    { OLD_SOCKET_SAME, "its cgroup, but an executable holds it", "assign exe:/1 eth0\n", GROUP5,
      ON_ETH0 " exe 1 cgroup 5" },
    { OLD_SOCKET_SAME, "its executable, but a run holds it",
      "assign cgroup:/waymark-run-6 eth0\n", EXE1, ON_ETH0 " exe 1 cgroup 6" },
    { OLD_SOCKET_SAME, "its executable, but a run further out holds it",
      "assign cgroup:/waymark-run-6 eth0\n", EXE1, ON_ETH0 " exe 1 cgroup 5 cgroup 6" },
    { OLD_SOCKET_MOVED, "a run", EXE1, "assign cgroup:/waymark-run-6 eth0\n",
      ON_ETH1 " exe 1 cgroup 6" },
    { OLD_SOCKET_SAME, "from its user to its executable", "assign uid:1000 eth1\n", EXE1,
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_MOVED, "from its executable to its user", "assign uid:1000 eth0\n" EXE1,
      "unassign exe:/1\n", ON_ETH1 " exe 1" },
    { OLD_SOCKET_SAME, "a laxer one for the same file", EXE1, "assign exe:/x/1 eth0 prefer\n",
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_MOVED, "the strictest for the same file", EXE1, "assign exe:/x/1 none\n",
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_SAME, "another user, while an executable is assigned", "assign uid:7 eth1\n", EXE1,
      ON_ETH1 " uid 7" },
};

/* At a start, with what the programs had: `before` is what was in force, and then nobody ran. */
static const struct row stood_rows[] = {
    { OLD_SOCKET_SAME, "nothing", "assign uid:1000 eth1\n" EXE1 GROUP5, "", ON_ETH0 },
    { OLD_SOCKET_SAME, "nothing, for an executable", EXE1, "", ON_ETH0 " exe 1" },
    { OLD_SOCKET_SAME, "a network that is away", WORK "assign uid:1000 work\nremove work\n", "", ON_ETH0 },
    { OLD_SOCKET_SAME, "preferred, and without carrier", "assign uid:1000 eth1 prefer\npull eth1\n",
      "", ON_ETH0 },
    { OLD_SOCKET_SAME, "a VPN, which its program may pass", VPN "protect 1000 yes\n"
      "assign uid:1000 vpn\n", "", ON_ETH0 },
    { OLD_SOCKET_MOVED, "assigned", "assign uid:7 eth1\n", "assign uid:1000 eth1\n", ON_ETH0 },
    { OLD_SOCKET_THERE, "assigned, and there", "", "assign uid:1000 eth1\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "unassigned", "assign uid:900-1100 eth1\n",
      "unassign uid:900-1100\nassign uid:900-999 eth1\n", ON_ETH1 },
    { OLD_SOCKET_SAME, "beside it", "assign uid:900-1100 eth1\n",
      "unassign uid:900-1100\nassign uid:900-999 eth1\n", ON_ETH1 " uid 950" },
    { OLD_SOCKET_MOVED, "reassigned", "assign uid:1000 eth1\n", "assign uid:1000 eth0\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "blocked", "assign uid:1000 eth1\n", "assign uid:1000 none\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "its network is removed", WORK "assign uid:1000 work\n",
      "remove work\nunassign uid:1000\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "preferred no more", "assign uid:1000 eth1 prefer\n", "unassign uid:1000\n",
      ON_ETH1 },
    { OLD_SOCKET_SAME, "no more strictly", "assign uid:1000 eth1\n", "assign uid:1000 eth1 prefer\n",
      ON_ETH1 },
    { OLD_SOCKET_SAME, "preferred, and pulled meanwhile", "assign uid:1000 eth1 prefer\n",
      "pull eth1\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "an executable", "", EXE1, ON_ETH0 " exe 1" },
    { OLD_SOCKET_MOVED, "an executable no more", EXE1, "unassign exe:/1\n", ON_ETH1 " exe 1" },
    { OLD_SOCKET_SAME, "its user, but an executable holds it", EXE1, "assign uid:1000 eth0\n",
      ON_ETH1 " exe 1" },
    { OLD_SOCKET_MOVED, "a cgroup", "", GROUP5, ON_ETH0 " cgroup 7 cgroup 5" },
    { OLD_SOCKET_SAME, "a run before its executable", RUN6, EXE1, ON_ETH1 " exe 1 cgroup 6" },
    { OLD_SOCKET_SAME, "another user", "assign uid:7 eth1\n", EXE1, ON_ETH1 " uid 7" },
};
/* clang-format on */

/*
 * "tcp|udp LOCAL REMOTE [uid N] [mark N] [if N] [inode N] [wqueue N] [cookie N] [state N]
 * [exe N] [cgroup N]…", the cgroup itself first; of user 1000, established, without interface.
 */
struct asked {
    struct inetdiag_socket socket;
    struct old_socket_app app;
    uint64_t cgroups[4];
};

static struct inetdiag_socket parse_socket(const char *text, struct asked *ret)
{
    struct inetdiag_socket s = { .uid = 1000, .inode = 4711, .state = INETDIAG_ESTABLISHED };
    char protocol[8], local[64], remote[64], word[16];
    int at = 0, skip, n = sscanf(text, "%7s %63s %63s%n", protocol, local, remote, &at);
    long long value;

    assert_int_equal(n, 3);
    s.protocol = streq(protocol, "tcp") ? IPPROTO_TCP : IPPROTO_UDP;
    assert_int_equal(ip_addr_parse(local, &s.local), 0);
    assert_int_equal(ip_addr_parse(remote, &s.remote), 0);
    s.family = s.local.family;
    for (; sscanf(text + at, " %15s %lli%n", word, &value, &skip) == 2; at += skip)
        if (streq(word, "uid"))
            s.uid = (uint32_t)value;
        else if (streq(word, "mark"))
            s.mark = (uint32_t)value;
        else if (streq(word, "if"))
            s.ifindex = (int)value;
        else if (streq(word, "inode"))
            s.inode = (uint32_t)value;
        else if (streq(word, "wqueue"))
            s.wqueue = (uint32_t)value;
        else if (streq(word, "cookie"))
            s.cookie = (uint64_t)value;
        else if (streq(word, "state"))
            s.state = (uint8_t)value;
        else if (ret && streq(word, "exe"))
            ret->app.exe_ino = (uint64_t)value;
        else if (ret && streq(word, "cgroup"))
            ret->cgroups[ret->app.n_cgroups++] = (uint64_t)value;
        else
            fail_msg("no word of a socket: %s", word);
    assert_int_equal(text[at], '\0');
    s.has_mark = true;
    return s;
}

/* The lines of a scene, and those about cables. */
static void run(struct scene *s, const char *text)
{
    char line[256], name[IFNAMSIZ];
    size_t n;

    for (; *text; text += n + (text[n] == '\n')) {
        n = strcspn(text, "\n");
        snprintf(line, sizeof(line), "%.*s", (int)n, text);
        if (sscanf(line, "pull %15s", name) != 1 && sscanf(line, "plug %15s", name) != 1) {
            scene_run(s, line);
            continue;
        }
        for (size_t i = 0; i < s->k.n_links; i++)
            if (streq(s->k.links[i].name, name))
                s->k.links[i].flags ^= IFF_RUNNING;
    }
}

static struct targets *make_targets(const struct scene *s)
{
    struct targets *t;

    assert_int_equal(targets_build(s->m, &s->k, &t), 0);
    return t;
}

static struct asked parse_asked(const char *text)
{
    struct asked asked = { .app.exe_dev = 0 };

    asked.socket = parse_socket(text, &asked);
    if (asked.app.exe_ino != 0)
        asked.app.exe_dev = 7;
    return asked;
}

/* What the scene's process selectors mean: the number that is in each. */
static void find_apps(struct scene *s)
{
    s->n_apps = 0;
    for (size_t i = 0; i < s->m->assignments->n; i++) {
        const struct selector *selector = &s->m->assignments->items[i].selector;
        bool exe = selector->kind == SELECTOR_EXE;
        const char *text = rstr_text(selector->text);

        if (selector->kind < SELECTOR_CGROUP)
            continue;
        assert_true(s->n_apps < SCENE_APPS_MAX);
        s->apps[s->n_apps++] =
            (struct plan_app){ .kind = exe ? GUARD_APP_EXE : GUARD_APP_CGROUP,
                               .id = strtoull(text + strcspn(text, "0123456789"), NULL, 10),
                               .dev = exe ? 7 : 0,
                               .assignment = i };
    }
}

/* How a row is looked at. */
enum look { LOOK_FIRST, LOOK_AT_START, LOOK_AT_START_WITH_MAPS, LOOK_AGAIN };

static void check_row(const struct row *row, enum look look)
{
    _cleanup_(targets_unrefp) struct targets *before = NULL, *after = NULL;
    _cleanup_(model_freep) struct model *old = NULL;
    _cleanup_(old_sockets_freep) struct old_sockets *o = NULL;
    _cleanup_(plan_unrefp) struct plan *stood = NULL;
    struct asked asked = parse_asked(row->socket);
    struct inetdiag_socket half_open =
        parse_socket(ON_ETH0 " state 3 uid 0 inode 0 cookie 5", NULL);
    bool start = look == LOOK_AT_START || look == LOOK_AT_START_WITH_MAPS;
    struct plan_app apps[SCENE_APPS_MAX];
    size_t n_apps;
    struct scene s;

    scene_init(&s);
    scene_run(&s, machine);
    s.m->process_selectors = true;
    run(&s, row->before);
    find_apps(&s);
    memcpy(apps, s.apps, sizeof(apps));
    n_apps = s.n_apps;
    stood = scene_plan(&s, true, NULL);
    before = make_targets(&s);
    old = model_copy(s.m);
    assert_non_null(old);
    run(&s, row->change);
    find_apps(&s);
    after = make_targets(&s);
    asked.app.cgroups = asked.cgroups;
    assert_int_equal(old_sockets_build(
                         &(struct old_sockets_input){
                             .before = start ? NULL : old,
                             .after = s.m,
                             .targets_before = start ? NULL : before,
                             .targets_after = after,
                             .kernel = &s.k,
                             .apps_before = start ? NULL : apps,
                             .n_apps_before = start ? 0 : n_apps,
                             .apps_after = s.apps,
                             .n_apps_after = s.n_apps,
                             .stood = look == LOOK_AT_START_WITH_MAPS ? stood->maps : NULL,
                         },
                         &o),
                     0);
    if (o && look == LOOK_AGAIN) {
        CHECK_INT(row->name, old_sockets_judge(o, &half_open, NULL), OLD_SOCKET_SAME);
        old_sockets_look_again(o);
    }
    CHECK_INT(row->name, o ? old_sockets_judge(o, &asked.socket, &asked.app) : OLD_SOCKET_SAME,
              row->step);
    /* what was kept of the first answer gives the same one */
    if (o)
        CHECK_INT(row->name, old_sockets_judge(o, &asked.socket, &asked.app), row->step);
    scene_done(&s);
}

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(rows); i++)
        check_row(&rows[i], LOOK_FIRST);
    CHECK_END();
}

static void test_apps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(app_rows); i++)
        check_row(&app_rows[i], LOOK_FIRST);
    CHECK_END();
}

static void test_start_with_maps(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(stood_rows); i++)
        check_row(&stood_rows[i], LOOK_AT_START_WITH_MAPS);
    CHECK_END();
}

static void test_start(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(start_rows); i++)
        check_row(&start_rows[i], LOOK_AT_START);
    CHECK_END();
}

/* clang-format off */
/* From the second look on; what is half-open at the first one has the cookie 5. */
static const struct row again_rows[] = {
    { OLD_SOCKET_MOVED, "elsewhere", ASSIGN, ON_ETH0 },
    { OLD_SOCKET_UNPROVEN, "not bound: it may be new", ASSIGN, "udp 0.0.0.0 0.0.0.0 state 7" },
    { OLD_SOCKET_UNPROVEN, "set free, to where nobody knows", "assign uid:1000 eth1\n",
      "unassign uid:1000\n", ON_ETH1 },
    { OLD_SOCKET_MOVED, "set free, half-open at first", "assign uid:1000 eth1\n",
      "unassign uid:1000\n", ON_ETH1 " cookie 5" },
    { OLD_SOCKET_THERE, "there, half-open at first", ASSIGN, ON_ETH1 " cookie 5" },
    { OLD_SOCKET_SAME, "half-open again", ASSIGN, ON_ETH0 " state 3 uid 0 inode 0 cookie 5" },
    { OLD_SOCKET_SAME, "another user's, half-open at first", ASSIGN, ON_ETH0 " uid 7 cookie 5" },
    { OLD_SOCKET_SAME, "nobody's", ASSIGN, ON_ETH0 " state 4 uid 0 inode 0 if 2 wqueue 9" },
    { OLD_SOCKET_MARK_GONE, "marked", WORK, "remove work\n", ON_ETH1 " mark 150" },
};
/* clang-format on */

static void test_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(again_rows); i++)
        check_row(&again_rows[i], LOOK_AGAIN);
    CHECK_END();
}

/* No dump of sockets for what moves nobody. */
static void test_nothing_to_look_at(void **state)
{
    /* clang-format off */
    static const struct {
        const char *name, *before, *change;
    } still[] = {
        { "nothing", "assign uid:1000 eth1\n", "" },
        { "the default", "", "default eth1\n" },
        { "DNS", WORK, "set work dns 10.0.1.1\n" },
        { "a route", WORK, "route work 172.16.0.0/12 dev eth1\n" },
        { "a network without users", "", "network new netid 300\n" },
        { "no permission any more", WORK "set work permission network\n", "set work permission none\n" },
        { "who may protect", VPN "users vpn 1000\n", "protect 1000 yes\n" },
        { "a handover", "establish work 1000 tun0 " TUNNEL "vpn-update\n",
          "link 5 tun1 kind tun arphrd 65534\naddr tun1 10.9.0.2/32\nhost-update\n"
          "establish work 1000 tun1 " TUNNEL "vpn-update\n" },
    };
    /* clang-format on */

    (void)state;
    for (size_t i = 0; i < ELEMENTSOF(still); i++) {
        _cleanup_(targets_unrefp) struct targets *before = NULL, *after = NULL;
        _cleanup_(model_freep) struct model *old = NULL;
        struct old_sockets *o = NULL;
        struct scene s;

        scene_init(&s);
        scene_run(&s, machine);
        scene_run(&s, still[i].before);
        before = make_targets(&s);
        old = model_copy(s.m);
        scene_run(&s, still[i].change);
        after = make_targets(&s);
        CHECK_INT(still[i].name,
                  old_sockets_build(&(struct old_sockets_input){ .before = old,
                                                                 .after = s.m,
                                                                 .targets_before = before,
                                                                 .targets_after = after,
                                                                 .kernel = &s.k },
                                    &o),
                  0);
        CHECK(still[i].name, o == NULL);
        old_sockets_free(o);
        scene_done(&s);
    }
    CHECK_END();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),  cmocka_unit_test(test_apps),
        cmocka_unit_test(test_start), cmocka_unit_test(test_start_with_maps),
        cmocka_unit_test(test_again), cmocka_unit_test(test_nothing_to_look_at),
    };

    return RUN_TESTS(tests);
}
