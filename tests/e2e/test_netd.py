# SPDX-License-Identifier: LGPL-2.1-or-later
"""The netd socket against android.md §4.1 to §4.4: every row of the grammar and every error in it,
compared byte for byte, and what the kernel and the state file get."""

import socket

import pytest

# pylint: disable=unused-import
from netd_fixture import (BUSY, EXISTS, INVALID, MAC0, MAC1, NO_DEV, NO_ENT, NO_NET, NO_PROC, OK,
                          SETUP, Client, check, client, daemon, namespace)

# --- §4.1 ------------------------------------------------------------------------------------

BIG = b"2 network " + b"x" * 1013
RAW = [
    # what is sent, what comes back with | for NUL
    (b"1 network\0", b"500 1 Missing argument|"),
    (b"1 network\0" b"2 network\0" b"3 x\0",
     b"500 1 Missing argument|500 2 Missing argument|500 3 Command not recognized|"),
    (b"0x10 network\0", b"500 16 Missing argument|"),
    (b"010 network\0", b"500 8 Missing argument|"),
    (b"-3 network\0", b"500 -3 Missing argument|"),
    (b" network\0", b"500 0 Missing argument|"),
    (b"x network\0", b"500 0 Invalid sequence number|"),
    (b"7 network\0x network\0", b"500 7 Missing argument|500 7 Invalid sequence number|"),
    (b"7x network\0", b"500 0 Invalid sequence number|"),
    (b"network create 100\0", b"500 0 Invalid sequence number|"),
    (b"5\0", b"500 0 Command not recognized|"),
    (b"network\0", b"500 0 Missing argument|"),
    (b"7 x\0network\0", b"500 7 Command not recognized|500 7 Missing argument|"),
    (b"\0", b"500 0 Command not recognized|"),
    (b"9 \0", b"500 9 Command not recognized|"),
    (b"9  network\0", b"500 9 Command not recognized|"),
    (b"9 net\"work\"\0", b"500 9 Missing argument|"),
    (b"9 \"network destroy\"\0", b"500 9 Command not recognized|"),
    (b"9 network destroy \"\" \"\"\0", b"500 9 Incorrect number of arguments|"),
    (b"9 network destroy \0", b"400 9 destroyNetwork() failed (Machine is not on the network)|"),
    (b"9 net\\work\0", b"500 9 Unsupported escape sequence|"),
    (b"9 network \"\\\"\\\\\"\0", b"500 9 Unknown argument|"),
    (b"9 network\\\0", b"500 9 Missing argument|"),
    (b"9 network \"create\0", b"500 9 Unclosed quotes error|"),
    (b"9 network" + b" x" * 25 + b"\0", b"500 9 Unknown argument|"),
    (b"9 network" + b" x" * 26 + b"\0", b"500 9 Command too long|"),
    (b"9 Network create\0", b"500 9 Command not recognized|"),
    (b"9 ipfwd status\0", b"500 9 Command not recognized|"),
    (BIG[:1023] + b"\0", b"500 2 Unknown argument|"),
    (BIG + b"x\0" b"3 network\0", b"500 0 Command too large for buffer|500 3 Missing argument|"),
    (b"7 x\0" + BIG + b"x" * 99999 + b"\0" b"8 x\0",
     b"500 7 Command not recognized|500 7 Command too large for buffer|"
     b"500 8 Command not recognized|"),
]


@pytest.mark.parametrize("sent,expected", RAW, ids=[repr(s[:30]) for s, _ in RAW])
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_framing(daemon, sent, expected, piece):
    expected = expected.replace(b"|", b"\0")
    with Client(daemon) as c:
        for at in range(0, len(sent), piece):
            c.send(sent[at : at + piece])
        got = b"".join(c.read() for _ in range(expected.count(b"\0")))
        assert got == expected
        c.socket.shutdown(socket.SHUT_WR)
        assert c.read() is None


# --- §4.3, syntax ----------------------------------------------------------------------------

COUNT = "500 {} Incorrect number of arguments"
MISSING = "500 {} Missing argument"
UNKNOWN = "500 {} Unknown argument"
UNKNOWN_PERMISSION = "500 {} Unknown permission"

SYNTAX = [
    ("network", MISSING),
    ("network x", UNKNOWN),
    ("network ''", UNKNOWN),
    ("network Create 100", UNKNOWN),
    # network route [legacy <uid>] add|remove <netId> <if> <dst/len> [<nexthop>]
    ("network route", COUNT),
    ("network route add 100 eth0", COUNT),
    ("network route legacy 0 add 100 eth0 10.0.0.0/8 10.0.0.1 x", COUNT),
    ("network route replace 100 eth0 10.0.0.0/8", UNKNOWN),
    ("network route legacy 0 replace 100 eth0 10.0.0.0/8", UNKNOWN),
    ("network route legacy add 100 eth0 10.0.0.0/8", UNKNOWN),
    ("network route add 100 eth0 10.0.0.0/8 10.0.0.1 x", COUNT),
    ("network route add 100 eth0 10.0.0.0/8 10.0.0.1 x y", COUNT),
    ("network route legacy 0 add 100 eth0", COUNT),
    ("network route legacy 0 add 100", COUNT),
    ("network route legacy 0 add", COUNT),
    ("network route remove 100 eth0 10.0.0.0/8 10.0.0.1 x", COUNT),
    # network interface add|remove <netId> <if>
    ("network interface", MISSING),
    ("network interface add 100", MISSING),
    ("network interface add 100 eth0 x", MISSING),
    ("network interface list 100 eth0", UNKNOWN),
    # network create <netId> [NETWORK|SYSTEM]
    ("network create", MISSING),
    ("network create 100 NETWORK x", "500 {} Unknown trailing argument(s)"),
    ("network create 100 vpn 1", "500 {} Unknown trailing argument(s)"),
    ("network create 100 vpn 1 1 1", "500 {} Unknown trailing argument(s)"),
    ("network create 100 VPN 1 1", "500 {} Unknown trailing argument(s)"),
    ("network create 100 vpn", UNKNOWN_PERMISSION),
    ("network create 100 network", UNKNOWN_PERMISSION),
    ("network create 100 NONE", UNKNOWN_PERMISSION),
    ('network create 100 ""', UNKNOWN_PERMISSION),
    # network destroy <netId>
    ("network destroy", COUNT),
    ("network destroy 100 101", COUNT),
    # network default set <netId> | clear
    ("network default", MISSING),
    ("network default set", "500 {} Missing netId"),
    ("network default get", UNKNOWN),
    ("network default get 100", UNKNOWN),
    # network permission …
    ("network permission", MISSING),
    ("network permission user set", MISSING),
    ("network permission user clear", MISSING),
    ("network permission user get 1", UNKNOWN),
    ("network permission user set SYSTEM", "500 {} Missing id"),
    ("network permission user set NONE 1", UNKNOWN_PERMISSION),
    ("network permission user set NONE", UNKNOWN_PERMISSION),
    ("network permission group set SYSTEM 1", UNKNOWN),
    ("network permission group set NONE 1", UNKNOWN_PERMISSION),
    ("network permission group set SYSTEM", "500 {} Missing id"),
    ("network permission group clear x", UNKNOWN),
    ("network permission user set SYSTEM x", "500 {} Invalid id"),
    ("network permission user set SYSTEM 10001 x", "500 {} Invalid id"),
    ("network permission user clear 10001x", "500 {} Invalid id"),
    ('network permission user clear ""', "500 {} Invalid id"),
    ("network permission user clear 4294967295", "500 {} Invalid id"),
    ("network permission network set SYSTEM", "500 {} Missing id"),
    ("network permission network set system 100", UNKNOWN_PERMISSION),
    # network users add|remove <netId> <uid[-uid]>…
    ("network users", MISSING),
    ("network users add", MISSING),
    ("network users set 100", UNKNOWN),
    ("network users set 100 x", "500 {} Invalid UIDs"),
    ("network users add 100 x", "500 {} Invalid UIDs"),
    ('network users add 100 ""', "500 {} Invalid UIDs"),
    ("network users add 100 3-1", "500 {} Invalid UIDs"),
    ("network users add 100 1-", "500 {} Invalid UIDs"),
    ("network users add 100 -1", "500 {} Invalid UIDs"),
    ("network users add 100 1-2-3", "500 {} Invalid UIDs"),
    ("network users add 100 5x", "500 {} Invalid UIDs"),
    ("network users add 100 4294967295", "500 {} Invalid UIDs"),
    ("network users add 100 1-4294967295", "500 {} Invalid UIDs"),
    ("network users remove 100 1 2 x", "500 {} Invalid UIDs"),
    # network protect allow|deny <uid>…
    ("network protect", MISSING),
    ("network protect allow", MISSING),
    ("network protect permit 1", UNKNOWN),
    # resolver
    ("resolver", "500 {} Resolver missing arguments"),
    ("resolver x", "500 {} Resolver unknown command"),
    ("resolver flushif eth0", "500 {} Resolver unknown command"),
    ("resolver clearnetdns", "500 {} Wrong number of arguments to resolver clearnetdns"),
    ("resolver clearnetdns 100 x", "500 {} Wrong number of arguments to resolver clearnetdns"),
    ("resolver flushnet", "500 {} Wrong number of arguments to resolver flushnet"),
    ("resolver flushnet 100 x", "500 {} Wrong number of arguments to resolver flushnet"),
    # interface
    ("interface", MISSING),
    ("interface getcfg", MISSING),
    ("interface x", MISSING),
    ("interface x y", "500 {} Unknown interface cmd"),
    ("interface setmtu eth0 1400", "500 {} Unknown interface cmd"),
]


@pytest.mark.parametrize("request_text,answer", SYNTAX, ids=[r for r, _ in SYNTAX])
def test_syntax(client, request_text, answer):
    check(client, [(request_text, answer)])


# --- §4.3, operations ------------------------------------------------------------------------

CREATE = [
    ("100", OK), ("65535", OK), ("0x67", OK), ("1", OK), ("50", OK), ("oem1", OK), ("oem7", OK),
    ("103x", OK), ("100 NETWORK", OK), ("100 SYSTEM", OK),
    ("0", INVALID), ("51", INVALID), ("52", INVALID), ("98", INVALID), ("99", INVALID),
    ("local", INVALID), ("oem50", INVALID), ("oem51", INVALID), ("65536", INVALID),
    ("wlan0", INVALID), ("-1", INVALID), ("4294967396", INVALID), ('""', INVALID),
]


@pytest.mark.parametrize("arguments,result", CREATE, ids=[a for a, _ in CREATE])
def test_create(client, arguments, result):
    failed = "400 {} createPhysicalNetwork() failed "
    check(client, [("network create " + arguments, OK if result is OK else failed + result)])


CREATE_VPN = [
    ("100 vpn 1 1", OK), ("100 vpn 0 0", OK), ("65535 vpn x y", OK),
    ("1 vpn 1 1", INVALID), ("50 vpn 1 1", INVALID), ("99 vpn 1 1", INVALID),
    ("oem1 vpn 1 1", INVALID), ("65536 vpn 1 1", INVALID), ("x vpn 1 1", INVALID),
]


@pytest.mark.parametrize("arguments,result", CREATE_VPN, ids=[a for a, _ in CREATE_VPN])
def test_create_vpn(client, arguments, result):
    failed = "400 {} createVirtualNetwork() failed "
    check(client, [("network create " + arguments, OK if result is OK else failed + result)])


def test_create_twice(client):
    physical = "400 {} createPhysicalNetwork() failed "
    virtual = "400 {} createVirtualNetwork() failed "
    check(client, [
        ("network create 100", OK),
        ("network create 100", physical + EXISTS),
        ("network create 0x64 SYSTEM", physical + EXISTS),
        ("network create 100 vpn 1 1", virtual + EXISTS),
        ("network create 101 vpn 1 1", OK),
        ("network create 101", physical + EXISTS),
        ("network create 100 x", UNKNOWN_PERMISSION),
        ("network destroy 100", OK),
        ("network create 100 vpn 0 1", OK),
    ])


def test_destroy(client):
    failed = "400 {} destroyNetwork() failed "
    check(client, [
        ("network destroy 100", failed + NO_NET),
        ("network destroy x", failed + NO_NET),
        ("network destroy 99", failed + INVALID),
        ("network destroy local", failed + INVALID),
        ("network destroy 52", failed + INVALID),
        ("network create 100", OK),
        ("network destroy 100", OK),
        ("network destroy 100", failed + NO_NET),
    ])


def test_interface(client):
    add = "400 {} addInterfaceToNetwork() failed "
    remove = "400 {} removeInterfaceFromNetwork() failed "
    check(client, [
        ("network interface add 200 eth0", add + NO_NET),
        ("network interface add x eth0", add + NO_NET),
        ("network interface add 100 nosuch0", add + NO_PROC),
        ("network interface add 100 name-of-17-bytes-", add + NO_PROC),
        ('network interface add 100 ""', add + NO_PROC),
        ("network interface add 51 eth2", add + INVALID),
        ("network interface add oem50 eth2", add + INVALID),
        ("network interface add 52 eth2", add + INVALID),
        ("network interface add 101 eth0", add + BUSY),
        ("network interface add 100 eth0", OK),
        ("network interface add 100 eth0", OK),
        ("network interface add local eth2", OK),
        ("network interface add 100 eth2", add + BUSY),
        ("network interface remove 100 eth1", OK),
        ("network interface remove 100 nosuch0", OK),
        ("network interface remove 200 eth0", remove + NO_NET),
        ("network interface remove 51 eth0", remove + INVALID),
        ("network interface remove 52 eth0", remove + INVALID),
        ("network interface remove 100 eth0", OK),
        ("network interface remove 100 eth0", OK),
        ("network interface add 101 eth0", OK),
        ("network destroy 101", OK),
        ("network interface add 100 eth0", OK),
    ], SETUP)


ADD = "400 {} addRoute() failed "
REMOVE = "400 {} removeRoute() failed "
ROUTES = [
    # netId and interface come before what is wrong with the route
    ("route add 200 eth0 10.9.0.0/16", ADD + NO_NET),
    ("route add 200 nosuch0 x", ADD + NO_NET),
    ("route add x eth0 10.9.0.0/16", ADD + NO_NET),
    ("route add 100 eth2 10.9.0.0/16", ADD + NO_DEV),
    ("route add 100 nosuch0 x", ADD + NO_DEV),
    ('route add 100 "" 10.9.0.0/16', ADD + NO_DEV),
    ("route add 100 name-of-17-bytes- 10.9.0.0/16", ADD + NO_DEV),
    ("route add 100 eth1 10.9.0.0/16", ADD + NO_ENT),
    ("route add 100 eth1 x", ADD + NO_ENT),
    ("route add 51 eth0 10.9.0.0/16", ADD + NO_NET),
    # the destination
    ("route add 100 eth0 x", ADD + INVALID),
    ('route add 100 eth0 ""', ADD + INVALID),
    ("route add 100 eth0 default", ADD + INVALID),
    ("route add 100 eth0 10.9.0.0", ADD + INVALID),
    ("route add 100 eth0 10.9.0.0/", ADD + INVALID),
    ("route add 100 eth0 10.9.0.0/33", ADD + INVALID),
    ("route add 100 eth0 10.9.0.1/16", ADD + INVALID),
    ("route add 100 eth0 fd00::/129", ADD + INVALID),
    # the nexthop
    ("route add 100 eth0 10.9.0.0/16 x", ADD + INVALID),
    ('route add 100 eth0 10.9.0.0/16 ""', ADD + INVALID),
    ("route add 100 eth0 10.9.0.0/16 fd00::1", ADD + INVALID),
    ("route add 100 eth0 fd01::/64 10.0.0.1", ADD + INVALID),
    ("route add 100 eth0 10.9.0.0/16 10.0.0.1/32", ADD + INVALID),
    ("route add 100 eth0 10.9.0.0/16 prohibit", ADD + INVALID),
    # the same for removing
    ("route remove 200 eth0 10.9.0.0/16", REMOVE + NO_NET),
    ("route remove 100 eth2 10.9.0.0/16", REMOVE + NO_DEV),
    ("route remove 100 eth1 10.9.0.0/16", REMOVE + NO_ENT),
    ("route remove 100 eth0 x", REMOVE + INVALID),
    ("route remove 100 eth0 10.9.0.0/16 x", REMOVE + INVALID),
    ("route remove 100 eth0 10.9.0.0/16", REMOVE + NO_PROC),
    ("route remove 100 eth0 10.9.0.0/16 unreachable", REMOVE + NO_PROC),
    # and for legacy ones
    ("route legacy 0 add 200 eth0 10.9.0.0/16", ADD + NO_NET),
    ("route legacy 0 add 100 eth2 10.9.0.0/16", ADD + NO_DEV),
    ("route legacy 0 add 100 eth1 10.9.0.0/16", ADD + NO_ENT),
    ("route legacy 0 add 100 eth0 x", ADD + INVALID),
    ("route legacy 0 remove 200 eth0 10.9.0.0/16", REMOVE + NO_NET),
    ("route legacy 0 remove 100 eth1 10.9.0.0/16", REMOVE + NO_ENT),
    ("route legacy 0 remove 100 eth0 10.9.0.0/16", REMOVE + NO_PROC),
    # netd's netId tokens
    ("route add 0x64 eth0 10.9.0.0/16", OK),
    ("route add 0144x eth0 10.9.0.0/16", OK),
]


@pytest.mark.parametrize("request_text,answer", ROUTES, ids=[r for r, _ in ROUTES])
def test_route(client, request_text, answer):
    check(client, [("network " + request_text, answer)], SETUP)


def test_route_interface_gone(client, namespace):
    namespace.add_link("gone0", "02:00:00:00:00:66")
    check(client, [("network interface add 100 gone0", OK)], SETUP)
    namespace.ip("link del gone0")
    check(client, [
        ("network route add 100 gone0 10.9.0.0/16", ADD + NO_DEV),
        ("network route legacy 0 add 100 gone0 10.9.0.0/16", ADD + NO_DEV),
        ("network interface remove 100 gone0", OK),
    ])


# request behind "add", and what `ip route show table` then has
KERNEL_ROUTES = [
    ("100 eth0 10.9.0.0/16", "-4", "eth0", "10.9.0.0/16 dev eth0 proto 119 scope link"),
    ("100 eth0 10.9.0.0/16 10.0.0.1", "-4", "eth0", "10.9.0.0/16 via 10.0.0.1 dev eth0 proto 119"),
    ("100 eth0 0.0.0.0/0 10.0.0.1", "-4", "eth0", "default via 10.0.0.1 dev eth0 proto 119"),
    ("100 eth0 10.9.0.0/16 unreachable", "-4", "eth0", "unreachable 10.9.0.0/16 proto 119"),
    ("100 eth0 10.9.0.0/16 throw", "-4", "eth0", "throw 10.9.0.0/16 proto 119"),
    ("100 eth0 0.0.0.0/0 throw", "-4", "eth0", "throw default proto 119 metric 100000"),
    ("100 eth0 192.0.2.1/32 10.0.0.1", "-4", "eth0", "192.0.2.1 via 10.0.0.1 dev eth0 proto 119"),
    ("100 eth0 fd01::/64", "-6", "eth0", "fd01::/64 dev eth0 proto 119 metric 1024 pref medium"),
    ("100 eth0 fd01::5/64", "-6", "eth0", "fd01::/64 dev eth0 proto 119 metric 1024 pref medium"),
    ("100 eth0 ::/0 fd00::1", "-6", "eth0",
     "default via fd00::1 dev eth0 proto 119 metric 1024 pref medium"),
    ("100 eth0 fd01::/64 unreachable", "-6", "eth0",
     "unreachable fd01::/64 dev lo proto 119 metric 1024 pref medium"),
    ("100 eth0 fd01::/64 throw", "-6", "eth0",
     "throw fd01::/64 dev lo proto 119 metric 1024 pref medium"),
]


@pytest.mark.parametrize("route,family,dev,line", KERNEL_ROUTES, ids=[r[0] for r in KERNEL_ROUTES])
def test_route_in_kernel(client, namespace, route, family, dev, line):
    table = f"{family} route show table {namespace.ifindex(dev) + 1000}"
    check(client, [
        (f"network route add {route}", OK),
        (f"network route add {route}", OK),
    ], SETUP)
    assert line in namespace.show(table)
    check(client, [
        (f"network route remove {route}", OK),
        (f"network route remove {route}", REMOVE + NO_PROC),
    ])
    assert line not in namespace.show(table)


# uid, what it was given, table
LEGACY = [
    (0, None, 99), (1000, None, 99), (9999, None, 99), (10000, None, 98), (20000, None, 98),
    (30001, "set SYSTEM", 99), (30002, "set NETWORK", 98), (5001, "clear", 98),
    (4294967295, None, 98),
]


@pytest.mark.parametrize("uid,permission,table", LEGACY, ids=[str(r[0]) for r in LEGACY])
def test_legacy_route(client, namespace, uid, permission, table):
    setup = SETUP
    if permission:
        setup += (f"network permission user {permission} {uid}",)
    route = "10.9.0.0/16 via 10.0.0.1 dev eth0 proto 119"
    check(client, [
        (f"network route legacy {uid} add 100 eth0 10.9.0.0/16 10.0.0.1", OK),
        (f"network route legacy {uid} add 100 eth0 10.9.0.0/16 10.0.0.1", OK),
    ], setup)
    assert namespace.show(f"route show table {table}") == [route]
    assert namespace.show(f"route show table {197 - table}") == []
    check(client, [
        (f"network route legacy {uid} remove 100 eth0 10.9.0.0/16 10.0.0.1", OK),
        (f"network route legacy {uid} remove 100 eth0 10.9.0.0/16 10.0.0.1", REMOVE + NO_PROC),
    ])
    assert namespace.show(f"route show table {table}") == []


def test_legacy_route_that_the_kernel_refuses(client, namespace):
    check(client, [
        ("network route legacy 0 add 100 eth0 10.9.0.0/16 203.0.113.9",
         ADD + "(Network is unreachable)"),
    ], SETUP)
    assert namespace.show("route show table 99") == []


@pytest.mark.parametrize("legacy", ["", "legacy 0 "])
def test_local_route(client, namespace, legacy):
    check(client, [
        ("network interface add local lo", OK),
        (f"network route {legacy}add local lo 10.9.0.0/16", OK),
    ])
    assert namespace.show("route show table 97") == ["10.9.0.0/16 dev lo proto 119 scope link"]
    check(client, [
        (f"network route {legacy}remove 99 lo 10.9.0.0/16", OK),
        (f"network route {legacy}remove 99 lo 10.9.0.0/16", REMOVE + NO_PROC),
        (f"network route {legacy}add local lo 10.9.0.0/16", OK),
        ("network interface remove local lo", OK),
        ("network interface add local lo", OK),
    ])
    assert namespace.show("route show table 97") == []  # android.md §2.3: flushed, not kept
    check(client, [("network interface remove local lo", OK)])


def test_default(client, namespace):
    failed = "400 {} setDefaultNetwork() failed "
    check(client, [
        ("network default set 200", failed + NO_NET),
        ("network default set 102", failed + INVALID),
        ("network default set local", failed + INVALID),
        ("network default set 52", failed + INVALID),
        ("network default clear", OK),
        ("network default set 100", OK),
        ("network default set 100", OK),
    ], SETUP)
    assert [r for r in namespace.show("rule") if r.startswith("31000:")]
    check(client, [
        ("network default set 101 ignored", OK),
        ("network default clear ignored", OK),
        ("network default clear", OK),
    ])
    assert not [r for r in namespace.show("rule") if r.startswith("31000:")]
    check(client, [
        ("network default set 100", OK),
        ("network default set x", OK),  # netId 0: none
    ])
    assert not [r for r in namespace.show("rule") if r.startswith("31000:")]


def test_destroying_the_default_clears_it(client, namespace):
    check(client, [
        ("network default set 100", OK),
        ("network destroy 100", OK),
        ("network create 100", OK),
        ("network interface add 100 eth0", OK),
    ], SETUP)
    assert not [r for r in namespace.show("rule") if r.startswith("31000:")]


def test_default_on_an_interface_that_is_down(client, namespace):
    """No route can be put on it: neither the ones asked for nor our own."""
    check(client, [
        ("network interface add 100 eth2", OK),
        ("network default set 100", OK),
    ], SETUP[:3])
    assert [r for r in namespace.show("rule") if r.startswith("31000:")]
    assert namespace.show(f"route show table {namespace.ifindex('eth2') + 1_000_000_000}") == []


def properties_of(daemon, netid):
    """[(key, value), …] of a network, as the state file has them: a record of the network, and one
    for each of its properties behind it; the last of them count."""
    found = []
    for words in map(str.split, daemon.state().splitlines()):
        if words[:2] == ["network", str(netid)]:
            found = []
        if words[:2] == ["property", str(netid)]:
            found.append(tuple(words[2:]))
    return found


def permission_of(daemon, netid):
    return dict(properties_of(daemon, netid)).get("permission")


def test_permission_of_networks(client, daemon):
    failed = "400 {} setPermissionForNetworks() failed "
    check(client, [
        ("network permission network set NETWORK 200", failed + NO_NET),
        ("network permission network clear 200", failed + NO_NET),
        ("network permission network set NETWORK x", failed + NO_NET),
        ("network permission network set NETWORK 102", failed + INVALID),
        ("network permission network clear 102", failed + INVALID),
        ("network permission network clear local", failed + INVALID),
        ("network permission network set NETWORK 100 101", OK),
    ], SETUP)
    assert permission_of(daemon, 100) == permission_of(daemon, 101) == "network"
    # in their order; those before the error stay changed, those behind are not reached
    check(client, [("network permission network set SYSTEM 100 102 101", failed + INVALID)])
    assert permission_of(daemon, 100) == "system"
    assert permission_of(daemon, 101) == "network"
    check(client, [("network permission network clear 0x64 101", OK)])
    assert permission_of(daemon, 100) is permission_of(daemon, 101) is None
    check(client, [("network create 103 SYSTEM", OK)])
    assert permission_of(daemon, 103) == "system"


def test_permission_in_kernel(client, namespace):
    """§7.11: the mask of the rules."""
    check(client, [("network permission network set SYSTEM 100", OK)], SETUP)
    rules = namespace.show("rule")
    assert any("fwmark 0xd0064/0xdffff" in r for r in rules), rules
    check(client, [("network permission network clear 100", OK)])
    rules = namespace.show("rule")
    assert any("fwmark 0x10064/0x1ffff" in r for r in rules), rules


def test_permission_of_users(client, daemon):
    check(client, [
        ("network permission user set NETWORK 40001", OK),
        ("network permission user set SYSTEM 0x9c42 40003", OK),
        ("network permission user clear 40001 7", OK),
    ])
    lines = daemon.state().splitlines()
    for line in ("permission 40001 network", "permission 40002 system", "permission 40003 system",
                 "permission 40001 none", "permission 7 none"):
        assert line in lines


def test_users(client, namespace):
    add, remove = "400 {} addUsersToNetwork() failed ", "400 {} removeUsersFromNetwork() failed "
    check(client, [
        ("network users add 200 10000", add + NO_NET),
        ("network users remove 200 10000", remove + NO_NET),
        ("network users add 200", add + NO_NET),
        ("network users add 100 10000", add + INVALID),
        ("network users add 100", add + INVALID),
        ("network users remove 100 10000", remove + INVALID),
        ("network users add local 10000", add + INVALID),
        ("network users add 102", OK),
        ("network users remove 102", OK),
        ("network users remove 102 10000", remove + NO_ENT),
        ("network interface add 102 tun0", OK),
        ("network users add 102 10000-10010 0x4e20 5", OK),
    ], SETUP)
    rules = namespace.show("rule")
    for uids in ("10000-10010", "20000-20000", "5-5"):
        assert any(r.startswith("13000:") and f"uidrange {uids}" in r for r in rules), rules
    check(client, [
        ("network users remove 102 10000-10005", remove + NO_ENT),
        ("network users remove 102 10000-10010 20000 6", remove + NO_ENT),
        ("network users remove 102 5 10000-10010 20000", OK),
        ("network users remove 102 5", remove + NO_ENT),
    ])
    assert not [r for r in namespace.show("rule") if r.startswith("13000:") and "uidrange" in r]


def test_protect(client, daemon):
    check(client, [
        ("network protect allow 50001", OK),
        ("network protect allow 50001 0xc352", OK),
        ("network protect deny 50001", OK),
        ("network protect deny 50001", OK),
        ("network protect allow 4294967295", OK),
        ("network protect allow x", OK),  # uid 0, as netd reads it
        ("network protect deny 0", OK),
    ])
    lines = daemon.state().splitlines()
    assert "protect 50001 yes" in lines and "protect 50002 yes" in lines
    assert "protect 50001 no" in lines


# --- §4.4 ------------------------------------------------------------------------------------

DNS_OK = "200 {} Resolver command succeeded"
DNS_FAILED = "400 {} Resolver command failed "
DNS_BAD = "500 {} Wrong number of or invalid arguments to resolver setnetdns"

SETNETDNS = [
    # behind `resolver setnetdns`, answer, what the state file then has of dns and domain
    ("100 example.org 192.0.2.1", DNS_OK, "192.0.2.1 example.org"),
    ('100 "" 192.0.2.1', DNS_OK, "192.0.2.1"),
    ("100 example.org 192.0.2.1 2001:db8::1", DNS_OK, "192.0.2.1 2001:db8::1 example.org"),
    ('100 "a.example b.example" 192.0.2.1', DNS_OK, "192.0.2.1 a.example b.example"),
    ('100 "  a.example   b.example " 192.0.2.1', DNS_OK, "192.0.2.1 a.example b.example"),
    ('100 "a b a c" 192.0.2.1 192.0.2.1', DNS_OK, "192.0.2.1 a b c"),
    ('100 "a b c d e f g h" 192.0.2.1', DNS_OK, "192.0.2.1 a b c d e f"),
    (f'100 "a {"x" * 60}{".long" * 40} b" 192.0.2.1', DNS_OK, "192.0.2.1 a b"),
    ('100 "a ..b c" 192.0.2.1', DNS_OK, "192.0.2.1 a c"),
    ("100 a 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 192.0.2.5", DNS_OK,
     "192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 a"),
    ('100 a 192.0.2.1 --params "1800 25 8 64"', DNS_OK, "192.0.2.1 a 1800,25,8,64"),
    ('100 a 192.0.2.1 ::1 --params "65535 255 255 255"', DNS_OK,
     "192.0.2.1 ::1 a 65535,255,255,255"),
    ("0x64 a 192.0.2.1", DNS_OK, "192.0.2.1 a"),
    ("100x a 192.0.2.1", DNS_OK, "192.0.2.1 a"),
    ("100", DNS_BAD, None),
    ("100 a", DNS_BAD, None),
    ("100 a x", DNS_BAD, None),
    ('100 a ""', DNS_BAD, None),
    ("100 a ns.example", DNS_BAD, None),
    ("100 a 192.0.2.1/32", DNS_BAD, None),
    ("100 a 192.0.2.1 x", DNS_BAD, None),
    ("100 a 192.0.2.1 192.0.2.2 192.0.2.3 192.0.2.4 x", DNS_BAD, None),
    ('100 a --params "1800 25 8 64"', DNS_BAD, None),
    ('100 a 192.0.2.1 --params "1800 25 8"', DNS_BAD, None),
    ('100 a 192.0.2.1 --params "1800 25 8 64 1"', DNS_BAD, None),
    ('100 a 192.0.2.1 --params "65536 25 8 64"', DNS_BAD, None),
    ('100 a 192.0.2.1 --params "1800 256 8 64"', DNS_BAD, None),
    ('100 a 192.0.2.1 --params ""', DNS_BAD, None),
    ('100 a 192.0.2.1 --params "1800 25 8 64" x', DNS_BAD, None),
    ("100 a 192.0.2.1 --params", DNS_BAD, None),
    ("200 a 192.0.2.1", DNS_BAD, None),
    ("x a 192.0.2.1", DNS_BAD, None),
    ("oem1 a 192.0.2.1", DNS_BAD, None),
]


def dns_of(daemon, netid):
    return " ".join(value for key, value in properties_of(daemon, netid)
                    if key in ("dns", "domain", "resolver"))


@pytest.mark.parametrize("arguments,answer,kept", SETNETDNS, ids=[r[0][:60] for r in SETNETDNS])
def test_setnetdns(client, daemon, arguments, answer, kept):
    before = "198.51.100.1 before.example"
    check(client, [
        ("resolver setnetdns 100 before.example 198.51.100.1", DNS_OK),
        ("resolver setnetdns " + arguments, answer),
    ], SETUP)
    assert dns_of(daemon, 100) == (before if kept is None else kept)


def test_clearnetdns(client, daemon):
    check(client, [
        ("resolver clearnetdns 100", DNS_OK),
        ("resolver setnetdns 100 a 192.0.2.1", DNS_OK),
        ("resolver clearnetdns 0x64", DNS_OK),
        ("resolver clearnetdns 200", DNS_FAILED + NO_NET),
        ("resolver clearnetdns x", DNS_FAILED + NO_NET),
    ], SETUP)
    assert dns_of(daemon, 100) == ""


def test_flushnet(client):
    check(client, [
        ("resolver flushnet 100", DNS_OK),
        ("resolver flushnet 99", DNS_OK),
        ("resolver flushnet local", DNS_FAILED + NO_NET),
        ("resolver flushnet 200", DNS_FAILED + NO_NET),
        ("resolver flushnet x", DNS_FAILED + NO_NET),
    ], SETUP)


def test_interface_list(client, namespace):
    names = [line.split(":")[1].split("@")[0].strip() for line in namespace.show("-o link")]
    lines = [f"110 {{}} {name}" for name in names]
    assert "lo" in names and "tun0" in names
    check(client, [("interface list", *lines, "200 {} Interface list completed")])
    check(client, [("interface list x", *lines, "200 {} Interface list completed")])


def test_interface_getcfg(client, namespace):
    zero = "00:00:00:00:00:00"
    mac = namespace.show("-o link show dev eth2")[0].split("link/ether ")[1].split()[0]
    check(client, [
        ("interface getcfg eth0", f"213 {{}} {MAC0} 10.0.0.2 24 up broadcast running multicast"),
        ("interface getcfg eth1 x", f"213 {{}} {MAC1} 10.0.1.2 24 up broadcast running multicast"),
        ("interface getcfg eth2", f"213 {{}} {mac} 0.0.0.0 0 down broadcast multicast"),
        ("interface getcfg lo", f"213 {{}} {zero} 127.0.0.1 8 up loopback running"),
        ("interface getcfg tun0", f"213 {{}} {zero} 0.0.0.0 0 down point-to-point multicast"),
        ("interface getcfg nosuch0", "400 {} Interface not found (No such device)"),
        ("interface getcfg name-of-17-bytes-", "400 {} Interface not found (No such device)"),
        ('interface getcfg ""', "400 {} Interface not found (No such device)"),
    ])
    # facts are fresh, and the first address counts
    namespace.ip("addr add 192.0.2.7/30 dev eth2", "addr add 192.0.2.77/30 dev eth2")
    check(client, [
        ("interface getcfg eth2", f"213 {{}} {mac} 192.0.2.7 30 down broadcast multicast"),
    ])
    namespace.ip("addr flush dev eth2")
