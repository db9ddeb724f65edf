# SPDX-License-Identifier: LGPL-2.1-or-later
"""Packets that the program of a VPN makes up. What it writes into its descriptor arrives at the machine like
what comes by a cable; but it is a user's, and is for the VPN's own addresses. Each attack is shown to work
for a VPN that the administrator lets forward, first."""

import contextlib
import socket
import struct

import pytest

from dbus_peer import DBusError
from harness import SERVER4, SERVER6, Capture, in_namespace
from vpn_fixture import (ADDRESS, OTHER, OWNER, App, add, change, consented_app,
                         machine_of_either_kind, udp, variants, vpns)

ADDRESS6, LINK_LOCAL = "fd99::2", "fe80::99"
HOST4, HOST6 = "10.0.0.2", "fd00::2"  # of eth0
STRANGER4, STRANGER6 = "10.0.0.1", "fd00::1"  # who is on that link
GROUP4, GROUP6 = "239.1.2.3", "ff05::1234"
PORT = 9100
BOTH = {"Addresses": [ADDRESS, ADDRESS6, LINK_LOCAL], "Routes": ["0.0.0.0/0", "::/0"]}


def checksum(data):
    data += bytes(len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def packet(source, destination, protocol, body):
    if ":" in source:
        return struct.pack("!IHBB", 6 << 28, len(body), protocol, 255) + \
            socket.inet_pton(socket.AF_INET6, source) + \
            socket.inet_pton(socket.AF_INET6, destination) + body
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + body


def pseudo(source, destination, protocol, length):
    family = socket.AF_INET6 if ":" in source else socket.AF_INET
    return socket.inet_pton(family, source) + socket.inet_pton(family, destination) + \
        struct.pack("!II", length, protocol)


def datagram(source, destination, text):
    body = struct.pack("!HHHH", 1234, PORT, 8 + len(text), 0) + text
    total = checksum(pseudo(source, destination, 17, len(body)) + body)
    return packet(source, destination, 17, body[:6] + struct.pack("!H", total) + body[8:])


def router_advertisement():
    """Who hears it has a default route by whoever said so."""
    source, destination = "fe80::1", "ff02::1"
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0)
    total = checksum(pseudo(source, destination, 58, len(body)) + body)
    return packet(source, destination, 58, body[:2] + struct.pack("!H", total) + body[4:])


ATTACKS = {
    "host4": datagram(STRANGER4, HOST4, b"host4"),
    "host6": datagram(STRANGER6, HOST6, b"host6"),
    "all6": datagram("fe80::1", "ff02::1", b"all6"),
    "group4": datagram(STRANGER4, GROUP4, b"group4"),
    "group6": datagram(STRANGER6, GROUP6, b"group6"),
    "broadcast": datagram(STRANGER4, "255.255.255.255", b"broadcast"),
}
ENDS = [datagram("192.0.2.9", ADDRESS, b"end"), datagram("2001:db8:9::9", ADDRESS6, b"end"),
        datagram("fe80::1", LINK_LOCAL, b"end")]


def interface(daemon):
    return vpns(daemon)["work"]["Interfaces"][0]


def listen(name):
    """A service of somebody else's, on all addresses and in groups."""
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    sock.bind(("::", PORT))
    index = socket.if_nametoindex(name)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
                    socket.inet_pton(socket.AF_INET6, GROUP6) + struct.pack("@I", index))
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                    socket.inet_aton(GROUP4) + bytes(4) + struct.pack("@i", index))
    sock.settimeout(60)
    return sock


def heard(machine, daemon, app):
    """Which of the attacks arrive. What is for the VPN's own addresses always does, and comes behind them."""
    with in_namespace(machine, lambda: listen(interface(daemon))) as sock:
        app.inject(*ATTACKS.values(), *ENDS)
        texts, ends = set(), 0
        while ends < len(ENDS):
            text = sock.recv(100).decode()
            ends += text == "end"
            texts.add(text)
    return texts - {"end"}


FORWARDED = [(datagram("10.99.0.77", SERVER4, b"out"), "eth0", SERVER4),
             (datagram("fd99::77", SERVER6, b"out"), "eth0", SERVER6),
             (datagram(STRANGER4, "10.0.1.1", b"across"), "eth1", "10.0.1.1"),
             (datagram(STRANGER6, "fd00:1::1", b"across"), "eth1", "fd00:1::1")]


def forwarded(machine, daemon, app):
    """Which of these leave by another interface."""
    with contextlib.closing(Capture(machine)) as capture:
        app.inject(*[packet for packet, _, _ in FORWARDED])
        heard(machine, daemon, app)  # by then they have been looked at
        found = {p[::2] for p in capture.packets()}
    return [destination for _, device, destination in FORWARDED if (device, destination) in found]


@pytest.fixture
def router(machine):
    """A machine that forwards, as one with containers does."""
    machine.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"])
    for i in range(2):  # known, so that what is forwarded leaves at once
        for address in (f"10.0.{i}.1", f"fd00:{i}::1"):
            machine.ip(f"neigh replace {address} lladdr 02:00:00:00:00:01 dev eth{i}")
    return machine


def test_what_its_program_makes_up_is_for_its_own_addresses(router, daemon, app):
    app.establish("work", **BOTH)
    assert heard(router, daemon, app) == set()
    assert forwarded(router, daemon, app) == []
    app.establish("work", **BOTH)
    app.call("AddAddress", "ss", "work", "10.99.0.3")
    assert heard(router, daemon, app) == set() and forwarded(router, daemon, app) == []
    daemon.kill()
    attack = [*ATTACKS.values(), *[packet for packet, _, _ in FORWARDED]]
    with in_namespace(router, lambda: listen("eth0")) as sock, \
            contextlib.closing(Capture(router)) as capture:
        app.inject(*attack, datagram(STRANGER4, "10.99.0.3", b"end"))
        assert sock.recv(100) == b"end", "while the daemon is away, too"
        assert {p[2] for p in capture.packets()}.isdisjoint(d for _, _, d in FORWARDED)
    daemon.start()
    assert heard(router, daemon, app) == set()


def test_the_administrator_may_let_it_forward(router, daemon, app):
    add(daemon, "work", Owner=f"uid:{OWNER}", Forward=True)
    app.establish("work", **BOTH)
    assert vpns(daemon)["work"]["Forward"]
    assert heard(router, daemon, app) == set(ATTACKS)
    assert forwarded(router, daemon, app) == [destination for _, _, destination in FORWARDED]
    change(daemon, "SetVpn", "sa{sv}", "work", variants({"Forward": False}))
    assert heard(router, daemon, app) == set() and forwarded(router, daemon, app) == []


def test_roots_own_vpn_is_a_network_like_others(router, daemon):
    with App(daemon, uid=0) as app:
        app.establish("work", **BOTH)
        assert heard(router, daemon, app) == set(ATTACKS)
        assert forwarded(router, daemon, app) == [destination for _, _, destination in FORWARDED]


@pytest.mark.parametrize("uid", [OWNER, 0])
def test_nobody_becomes_a_router_by_saying_so(machine, daemon, app, uid):
    """A router advertisement from the tunnel would pull the default route of everybody over."""
    with App(daemon, uid=uid) as other:
        other.establish("work", **BOTH)
        other.inject(router_advertisement())
        heard(machine, daemon, other)
        assert "wmtun" not in " ".join(machine.show("-6 route show table main"))
        assert udp(machine, OTHER, server=SERVER6) == "fd00::2"


def test_what_was_handed_over_is_held_still(router, daemon, app):
    """The old descriptors are its program's."""
    app.establish("work", **BOTH)
    app.establish("work", keep=True, **BOTH)
    assert heard(router, daemon, app) == set()


def test_forwarding_is_for_service_vpns(daemon):
    with pytest.raises(DBusError, match="nothing of it is held back"):
        add(daemon, "wg", Kind="adopted", Interfaces=["wg0"], Forward=True)
