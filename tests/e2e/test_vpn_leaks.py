# SPDX-License-Identifier: LGPL-2.1-or-later
"""The leak matrix: everything that an app without privileges can send, in everything that can happen to
its VPN, with both back-ends. Every frame on every physical interface is looked at; in each test the
detector has first seen each kind of packet, from the same app without a VPN."""

import contextlib
import socket
import struct
import time

import pytest

from harness import Capture, Instance, wait_for
from library import sanitizers
from vpn_fixture import (App, OTHER, OWNER, Sender, add, change, full, machine_of_either_kind, variants,
                         vpns, wait_vpn)

NONCE, TCP_PORT = b"leak-matrix-", 7777
OUTSIDE4, OUTSIDE6 = "198.51.100.77", "2001:db8:1::77"
GATEWAY4, GATEWAY6 = "10.0.0.1", "fd00::1"
NEIGHBOUR = "10.99.0.7"  # on the tunnel's own network, to the eye of a program
ADDRESSES = {"Addresses": ["10.99.0.2/24", "fd99::2/64"], "Routes": ["0.0.0.0/0", "::/0"]}
HANDOVERS = 100 if sanitizers() else 1000
ETH_P_ARP = 0x0806


def no_option(_):
    pass


def by_eth1(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth1")


def multicast4(sock):
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("10.0.1.2"))


def multicast6(sock):
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("eth1"))


def broadcast(sock):
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)


def from_eth1(sock):
    sock.bind(("10.0.1.2", 0))


# Datagrams: (name, where to, port, what the socket asks for first).
DATAGRAMS = (
    ("udp4", OUTSIDE4, 9, no_option),
    ("udp6", OUTSIDE6, 9, no_option),
    ("dns4", OUTSIDE4, 53, no_option),
    ("dns-gateway4", GATEWAY4, 53, no_option),
    ("dns-gateway6", GATEWAY6, 53, no_option),
    ("dot-gateway4", GATEWAY4, 853, no_option),
    ("device4", OUTSIDE4, 9, by_eth1),
    ("device6", OUTSIDE6, 9, by_eth1),
    ("source4", OUTSIDE4, 9, from_eth1),
    ("mdns4", "224.0.0.251", 5353, multicast4),
    ("ssdp4", "239.255.255.250", 1900, multicast4),
    ("mdns6", "ff02::fb", 5353, multicast6),
    ("broadcast4", "255.255.255.255", 67, broadcast),
    ("subnet4", "10.0.0.255", 9, broadcast),
)
STREAMS = (("tcp4", OUTSIDE4), ("tcp6", OUTSIDE6))
KINDS = {name for name, *_ in DATAGRAMS} | {name for name, _ in STREAMS} | {"ping4"}


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


class Everything(Sender):
    """An app that sends all of that, over and over, by sockets that it has had from the start and by new
    ones; each datagram says which kind it is."""

    def __init__(self, machine, uid=OWNER):
        machine.run(["sysctl", "-qw", f"net.ipv4.ping_group_range={uid} {uid}"])
        super().__init__(machine, uid)

    def _run(self, _device):
        old = [self._socket(address, option) for _, address, _, option in DATAGRAMS]
        while True:
            for sock, row in zip(old, DATAGRAMS):
                self._send(sock, row)
            for row in DATAGRAMS:
                with self._socket(row[1], row[3]) as sock:
                    self._send(sock, row)
            self._connect()
            self._ping()
            self._neighbour()
            self.rounds[:] = struct.pack("Q", self.count() + 1)
            time.sleep(0.002)

    @staticmethod
    def _socket(address, option):
        sock = socket.socket(family_of(address), socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        with contextlib.suppress(OSError):
            option(sock)
        return sock

    @staticmethod
    def _send(sock, row):
        name, address, port, _ = row
        with contextlib.suppress(OSError):
            sock.sendto(NONCE + name.encode() + b".", (address, port))

    @staticmethod
    def _connect():
        for _, address in STREAMS:
            with socket.socket(family_of(address), socket.SOCK_STREAM) as sock:
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.connect((address, TCP_PORT))
                # without this, it would go on by itself when it is closed
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    @staticmethod
    def _ping():
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
            sock.setblocking(False)
            sock.sendto(b"\x08\0\0\0\0\0\0\1" + NONCE + b"ping4.", (OUTSIDE4, 0))

    @staticmethod
    def _neighbour():
        with contextlib.suppress(OSError), \
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.sendto(NONCE + b"neighbour.", (NEIGHBOUR, 9))


class Wire(Capture):
    """Whole frames that leave by uplinks: which kinds there were."""

    def kinds(self):
        found = set()
        while True:
            try:
                data, (name, protocol, pkttype, *_) = self.sock.recvfrom(65536)
            except BlockingIOError:
                return found
            if pkttype == 4 and name.startswith("eth"):  # PACKET_OUTGOING
                found |= self._kind(data, protocol)

    @staticmethod
    def _kind(data, protocol):
        if protocol == ETH_P_ARP:
            asked = socket.inet_ntoa(data[24:28])
            return {f"arp {asked}"} if asked.startswith("10.99.") else set()
        at = data.find(NONCE)
        if at >= 0 and data[9 if data[0] >> 4 == 4 else 6] not in (1, 58):
            return {data[at + len(NONCE):data.index(b".", at)].decode()}
        if at >= 0:  # the kernel's own errors quote what they are about: these are no echoes
            four = data[0] >> 4 == 4
            return {"ping4"} if four and data[20] == 8 else set()
        if data[0] >> 4 == 4 and data[9] == 6 and data[22:24] == struct.pack("!H", TCP_PORT):
            return {"tcp4"}
        if data[0] >> 4 == 6 and data[6] == 6 and data[42:44] == struct.pack("!H", TCP_PORT):
            return {"tcp6"}
        return set()


class Matrix:
    def __init__(self, machine):
        self.sender, self.wire = Everything(machine), Wire(machine)

    def leaks(self):
        """Since the last call, until now."""
        self.sender.settle()
        return self.wire.kinds()

    def prove(self):
        """Each kind leaves, when nobody holds the app."""
        seen = set()

        def all_seen():
            seen.update(self.leaks())
            return KINDS <= seen

        wait_for(f"each kind (not yet {KINDS - seen})", all_seen)

    def close(self):
        self.sender.close()
        self.wire.close()


@pytest.fixture(autouse=True)
def known_neighbours(machine):
    """They are not asked for, which would be the kernel's doing, not the app's."""
    for i in range(2):
        machine.ip(f"neigh replace 10.0.{i}.1 lladdr 02:00:00:00:00:0{i + 1} dev eth{i}")


@pytest.fixture
def world(machine, daemon):
    """The app, proven to be seen; then its VPN with lockdown, up, by a program of somebody else's."""
    matrix = Matrix(machine)
    try:
        matrix.prove()
        add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lockdown=True)
        matrix.leaks()
        assert matrix.leaks() == set(), "before it was ever there"
        with App(daemon, OTHER) as app:
            app.establish("work", **ADDRESSES)
            app.serve()
            assert vpns(daemon)["work"]["State"] == "up"
            yield matrix, app
        if "work" in vpns(daemon):
            assert matrix.leaks() == set(), "its program is gone"
    finally:
        matrix.close()


def without_lockdown(daemon):
    change(daemon, "SetVpn", "sa{sv}", "work", variants({"Lockdown": False}))


def steady(machine, daemon, app):
    assert machine.source(uid=OWNER, kind="udp") == "x", "it goes through the tunnel"
    seen = set()

    def both_families():
        seen.update(p[1] for p in app.packets())
        return seen >= {OUTSIDE4, OUTSIDE6}

    wait_for("packets of both families", both_families)


def handovers(_machine, _daemon, app):
    app.time_establish("work", HANDOVERS, **ADDRESSES)


def few_handovers(_machine, _daemon, app):
    app.time_establish("work", HANDOVERS // 10, **ADDRESSES)


def handovers_of_other_shapes(_machine, _daemon, app):
    for i in range(HANDOVERS // 10):
        app.establish("work", **(full(), ADDRESSES, full(Mtu=1280))[i % 3])


def engine_killed(_machine, daemon, app):
    app.kill()
    wait_vpn(daemon, "work", "blocked")


def daemon_killed(_machine, daemon, app):
    daemon.kill()
    app.packets()
    daemon.start()
    assert vpns(daemon)["work"]["State"] == "up"


def both_killed(_machine, daemon, app):
    app.kill()
    daemon.kill()
    daemon.start()
    wait_vpn(daemon, "work", "blocked")


def deleted(machine, daemon, _app):
    machine.ip(f"link del {vpns(daemon)['work']['Interfaces'][0]}")
    wait_vpn(daemon, "work", "blocked")


def deleted_while_the_daemon_is_dead(machine, daemon, app):
    interface = vpns(daemon)["work"]["Interfaces"][0]
    daemon.kill()
    machine.ip(f"link del {interface}")
    app.packets()
    daemon.start()
    wait_vpn(daemon, "work", "blocked")


def uplink_switched(machine, daemon, _app):
    machine.ip("link set eth0 down")
    daemon.wait_state("eth0", None)
    machine.ip("link set eth0 up", "route add default via 10.0.0.1 dev eth0 metric 100")
    daemon.wait_state("eth0", "up")


def routes_injected(machine, _daemon, _app):
    machine.ip("route add 198.51.100.64/26 via 10.0.0.1 dev eth0",
               "-6 route add 2001:db8:1::/112 via fd00::1 dev eth0")


def revoked(_machine, daemon, app):
    change(daemon, "Down", "s", "work")
    assert app.wait_revoked("work")


def disconnected(_machine, _daemon, app):
    app.call("Disconnect", "s", "work")


def restarted(_machine, daemon, app):
    daemon.stop()
    app.packets()
    daemon.start()
    assert vpns(daemon)["work"]["State"] == "up"


def apps_changed(_machine, daemon, _app):
    for i in range(10):
        more = [f"uid:{OTHER + 1}"] if i % 2 else []
        change(daemon, "SetVpn", "sa{sv}", "work", variants({"Allowed": [f"uid:{OWNER}", *more]}))


EVENTS = (steady, handovers, handovers_of_other_shapes, engine_killed, daemon_killed, both_killed,
          deleted, deleted_while_the_daemon_is_dead, uplink_switched, routes_injected, revoked,
          disconnected, restarted, apps_changed)
# What somebody does on purpose sets apps free where no lockdown holds them.
ON_PURPOSE = (revoked, disconnected)
SECURE = [few_handovers if e is handovers else e for e in EVENTS if e not in ON_PURPOSE]


@pytest.mark.parametrize("event", EVENTS, ids=lambda f: f.__name__)
def test_nothing_leaves_under_lockdown(machine, daemon, world, event):
    matrix, app = world
    event(machine, daemon, app)
    assert matrix.leaks() == set()


@pytest.mark.parametrize("event", SECURE, ids=lambda f: f.__name__)
def test_nothing_leaves_a_secure_vpn(machine, daemon, world, event):
    """It takes everything, so nothing falls through."""
    matrix, app = world
    without_lockdown(daemon)
    assert matrix.leaks() == set()
    event(machine, daemon, app)
    assert matrix.leaks() == set()
    change(daemon, "RemoveVpn", "s", "work")
    matrix.prove()


def test_at_boot_before_its_program_starts(machine):
    """Daemon and app come up again, nobody knows when the engine will."""
    daemon = Instance(machine, config=f"[vpn work]\nowner = uid:{OTHER}\napps = uid:{OWNER}\n"
                                      "lockdown = yes\n")
    matrix = Matrix(machine)
    try:
        matrix.prove()
        daemon.start()
        matrix.leaks()
        daemon.stop()
        assert matrix.leaks() == set()
        daemon.start()
        assert matrix.leaks() == set()
        with App(daemon, OTHER) as app:
            app.establish("work", **ADDRESSES)
            app.serve()
            assert matrix.leaks() == set()
    finally:
        matrix.close()
        daemon.close()
