# SPDX-License-Identifier: LGPL-2.1-or-later
"""The broadcasts of the netd socket, android.md §4.5."""

import contextlib
import signal

import pytest

# pylint: disable=unused-import
from netd_fixture import OK, SETUP, Client, check, client, daemon, namespace



def broadcasts(client, namespace, lines, last):
    """What is told while `ip` does its lines, up to `last`, as text."""
    client.broadcasts.clear()
    namespace.ip(*lines)
    told = client.told(until=last.encode() + b"\0")
    assert told and told[-1] == last.encode() + b"\0", told
    return [message[:-1].decode() for message in told]


def only(messages, code, words=""):
    return [m for m in messages if m.startswith(f"{code} ") and words in m]


def test_links(client, namespace):
    told = broadcasts(client, namespace, ["link add b0 type veth peer name b1"],
                      "600 Iface added b0")
    assert only(told, 600) == ["600 Iface added b1", "600 Iface added b0"]

    told = broadcasts(client, namespace, ["link set b0 up"], "600 Iface changed b0 up")
    assert only(told, 600) == ["600 Iface changed b0 up"]

    # the carrier comes with the other end
    told = broadcasts(client, namespace, ["link set b1 up"], "600 Iface linkstate b0 up")
    assert sorted(only(told, 600)) == ["600 Iface changed b1 up", "600 Iface linkstate b0 up",
                                       "600 Iface linkstate b1 up"]

    told = broadcasts(client, namespace, ["link set b1 down"], "600 Iface linkstate b0 down")
    assert sorted(only(told, 600)) == ["600 Iface changed b1 down", "600 Iface linkstate b0 down",
                                       "600 Iface linkstate b1 down"]

    # what changes nothing that is told is not told
    told = broadcasts(client, namespace, ["link set b0 mtu 1400", "link set b0 promisc on",
                                          "link set b0 down"], "600 Iface changed b0 down")
    assert only(told, 600) == ["600 Iface changed b0 down"]

    told = broadcasts(client, namespace, ["link set b0 name c0"], "600 Iface added c0")
    assert only(told, 600) == ["600 Iface removed b0", "600 Iface added c0"]

    told = broadcasts(client, namespace, ["link del c0"], "600 Iface removed b1")
    assert sorted(only(told, 600)) == ["600 Iface removed b1", "600 Iface removed c0"]


ADDRESSES = [
    # behind `ip addr add`, text
    ("192.0.2.1/24", "192.0.2.1/24 eth2 128 0"),
    ("192.0.2.2/32 scope link", "192.0.2.2/32 eth2 128 253"),
    ("192.0.2.3/24 scope host", "192.0.2.3/24 eth2 128 254"),
    ("192.0.2.4/24 noprefixroute", "192.0.2.4/24 eth2 128 0"),
    ("2001:db8::1/64 nodad", "2001:db8::1/64 eth2 130 0"),
    ("fe80::1/64 nodad", "fe80::1/64 eth2 130 253"),
]


@pytest.mark.parametrize("address,text", ADDRESSES, ids=[a for a, _ in ADDRESSES])
def test_addresses(client, namespace, address, text):
    plain = address.split()[0]
    told = broadcasts(client, namespace, [f"addr add {address} dev eth2"],
                      f"614 Address updated {text}")
    assert only(told, 614, " eth2 ") == [f"614 Address updated {text}"]
    told = broadcasts(client, namespace, [f"addr del {plain} dev eth2"],
                      f"614 Address removed {text}")
    assert only(told, 614, " eth2 ") == [f"614 Address removed {text}"]


ROUTES = [
    # behind `ip route add`, text
    ("-4", "198.51.100.0/24 dev eth0", "198.51.100.0/24 dev eth0"),
    ("-4", "198.51.100.0/24 via 10.0.0.1", "198.51.100.0/24 via 10.0.0.1 dev eth0"),
    ("-4", "default via 10.0.0.1", "0.0.0.0/0 via 10.0.0.1 dev eth0"),
    ("-4", "198.51.100.7 via 10.0.1.1", "198.51.100.7/32 via 10.0.1.1 dev eth1"),
    ("-6", "2001:db8:1::/48 dev eth0", "2001:db8:1::/48 dev eth0"),
    ("-6", "default via fd00::1", "::/0 via fd00::1 dev eth0"),
]


@pytest.mark.parametrize("family,route,text", ROUTES, ids=[r[1] for r in ROUTES])
def test_routes(client, namespace, family, route, text):
    for do, what in (("add", "updated"), ("del", "removed")):
        told = broadcasts(client, namespace, [f"{family} route {do} {route}"],
                          f"616 Route {what} {text}")
        assert only(told, 616) == [f"616 Route {what} {text}"]


def test_no_other_routes(client, namespace):
    """Other tables, other types, and our own are nobody's business."""
    lines = [
        "route add 198.51.100.0/24 dev eth0 table 77",
        "route add unreachable 198.51.100.0/24",
        "route add 198.51.101.0/24 dev eth0 proto 119",
        "route add 198.51.102.0/24 dev eth0",
    ]
    told = broadcasts(client, namespace, lines, "616 Route updated 198.51.102.0/24 dev eth0")
    assert only(told, 616) == ["616 Route updated 198.51.102.0/24 dev eth0"]
    namespace.ip("route del 198.51.102.0/24", "route del unreachable 198.51.100.0/24",
                 "route flush table 77")
    client.broadcasts.clear()
    check(client, [("network route add 100 eth0 10.9.0.0/16", OK)], SETUP)
    namespace.ip("addr add 192.0.2.9/32 dev eth2")
    told = client.told(until=b"614 Address updated 192.0.2.9/32 eth2 128 0\0")
    assert not [m for m in told if b"10.9.0.0" in m]
    namespace.ip("addr del 192.0.2.9/32 dev eth2")


def test_to_everybody(client, daemon, namespace):
    with contextlib.ExitStack() as stack:
        everybody = [client] + [stack.enter_context(Client(daemon)) for _ in range(20)]
        assert daemon.has_clients(len(everybody))
        for line, text in (("link add d0 type veth peer name d1", b"600 Iface added d0\0"),
                           ("link del d0", b"600 Iface removed d0\0")):
            namespace.ip(line)
            for c in everybody:
                assert text in c.told(until=text)


def drops(daemon):
    """Messages that the kernel could not deliver to a netlink socket of the daemon."""
    with open(f"/proc/{daemon.process.pid}/net/netlink", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return sum(int(row[rows[0].index("Drops")]) for row in rows[1:])


def test_lost_events(client, daemon, namespace):
    """The socket for events overflows: what was told last is nevertheless what is."""
    namespace.ip("link add l0 type veth peer name l1", "link add l2 type veth peer name l3")
    client.told(until=b"600 Iface added l2\0")
    client.broadcasts.clear()
    before = drops(daemon)

    daemon.process.send_signal(signal.SIGSTOP)
    batch = "".join(f"link set eth2 mtu {mtu}\n" for mtu in range(1000, 1500)) * 20
    namespace.run(["ip", "-batch", "-"], input=batch)
    namespace.ip("link add l4 type veth peer name l5", "link del l0", "link set l2 name l6",
                 "link set l3 up")
    daemon.process.send_signal(signal.SIGCONT)

    assert client.ask("1 network default clear") == [b"200 1 success\0"]  # looks at the facts
    assert drops(daemon) > before
    namespace.ip("addr add 192.0.2.9/32 dev eth2", "addr del 192.0.2.9/32 dev eth2")
    last = b"614 Address removed 192.0.2.9/32 eth2 128 0\0"
    told = [m[4:-1] for m in client.told(until=last) if not m.startswith(b"614")]
    assert sorted(told) == [b"Iface added l4", b"Iface added l5", b"Iface added l6",
                            b"Iface changed l3 up", b"Iface removed l0", b"Iface removed l1",
                            b"Iface removed l2"]
    namespace.ip("link del l3", "link del l4", "link set eth2 mtu 1500")
