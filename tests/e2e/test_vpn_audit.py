# SPDX-License-Identifier: LGPL-2.1-or-later
"""What auditors of VPNs try, one class of attack each: an app that is held to a VPN, a hostile
network around the machine. First each attack is shown to work on a machine that holds nobody."""

import contextlib
import os
import socket
import struct

import pytest

from harness import SERVER4, SERVER6, Capture, Instance, in_namespace, nft_table, wait_for
from tun_fixture import Tun

ALICE, BOB = 3001, 3002
TUNNEL4, TUNNEL6 = "10.8.0.2", "fd08::2"
GATEWAY4 = "10.0.0.1"  # of eth0, on its link
ETH_P_ARP, ETH_P_ALL = 0x0806, 0x0003


@pytest.fixture
def tun(machine):
    with contextlib.closing(Tun(machine)) as one:
        machine.ip("route add default dev tun0 table 4000", "-6 route add default dev tun0 table 4000")
        yield one


@pytest.fixture
def vpn(daemon, tun):
    """Everything of alice's goes through the tunnel."""
    daemon.ok("network", "add", "work", "--type", "vpn", "--interface", "tun0")
    daemon.ok("route", "add", "work", "default", "dev", "tun0")
    daemon.ok("route", "add", "work", "::/0", "dev", "tun0")
    daemon.ok("assign", f"uid:{ALICE}", "work")
    return tun


def send(destination, port, device=None):
    """A datagram, and one more from a socket that asks for nothing by connect(2)."""
    family = socket.AF_INET6 if ":" in destination else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        with contextlib.suppress(OSError):
            sock.sendto(b"unconnected", (destination, port))
        with contextlib.suppress(OSError):
            sock.connect((destination, port))
            sock.send(b"connected")


def leaks(machine, *args, uid):
    """What left by a physical interface, to that destination, when this user sent."""
    with contextlib.closing(Capture(machine)) as capture:
        machine.call(send, *args, uid=uid)
        return [p for p in capture.packets() if p[0].startswith("eth") and p[2] == args[0]]


def prove(machine, *args):
    """Of a user who is not held both datagrams are seen; not before the neighbour's address is known."""
    with contextlib.closing(Capture(machine)) as capture:
        machine.call(send, *args, uid=BOB)
        seen = []

        def both():
            seen.extend(p for p in capture.packets() if p[0].startswith("eth") and p[2] == args[0])
            return len(seen) >= 2

        wait_for("what is sent by who is not held", both)


# More specific routes from a DHCP server on the uplink (TunnelVision, CVE-2024-3661).

@pytest.mark.parametrize("server, route, via", [
    (SERVER4, "198.51.100.0/25", "10.0.0.1"), (SERVER4, "198.51.100.1/32", "10.0.0.1"),
    (SERVER6, "2001:db8:1::/64", "fd00::1")])
def test_more_specific_routes_of_the_uplink(machine, vpn, server, route, via):
    family = "-6 " if ":" in route else ""
    machine.ip(f"{family}route add {route} via {via} dev eth0")
    prove(machine, server, 9)
    assert leaks(machine, server, 9, uid=ALICE) == []
    wait_for("it to come out of the tunnel", lambda: server in {p[1] for p in vpn.packets()})


def test_routes_of_the_uplink_that_come_later(machine, vpn):
    """Also to the very network of the tunnel, and while a socket is connected."""
    def stay(control_route):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect((SERVER4, 9))
            sock.send(b"before")
            control_route()
            for _ in range(20):
                with contextlib.suppress(OSError):
                    sock.send(b"after")

    with contextlib.closing(Capture(machine)) as capture:
        machine.call(stay, lambda: machine.ip("route add 198.51.100.0/28 via 10.0.0.1 dev eth0"),
                     uid=0)
        machine.call(stay, lambda: None, uid=ALICE)
        wait_for("root's", lambda: SERVER4 in {p[2] for p in capture.packets() if p[0] == "eth0"})
    wait_for("alice's", vpn.packets)


# DNS to a gateway on the local network, which routes of the machine know better than the tunnel.

@pytest.mark.parametrize("port", [53, 853, 5353])
def test_dns_to_the_gateway_of_the_local_network(machine, vpn, port):
    prove(machine, GATEWAY4, port)
    assert leaks(machine, GATEWAY4, port, uid=ALICE) == []
    assert leaks(machine, "fd00::1", port, uid=ALICE) == []


# A program that asks for the physical interface.

@pytest.mark.parametrize("server", [SERVER4, SERVER6, GATEWAY4])
def test_bound_to_a_physical_interface(machine, vpn, server):
    prove(machine, server, 9, "eth0")
    assert leaks(machine, server, 9, "eth0", uid=ALICE) == []


def multicast(group, port):
    family = socket.AF_INET6 if ":" in group else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if family == socket.AF_INET:
            address = socket.inet_aton("10.0.0.2")
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, address)
        else:
            index = socket.if_nametoindex("eth0")
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
        with contextlib.suppress(OSError):
            sock.sendto(b"who is there?", (group, port))


@pytest.mark.parametrize("group", ["224.0.0.251", "239.255.255.250", "ff02::fb"])
def test_multicast_by_a_physical_interface(machine, vpn, group):
    for uid, leaked in ((BOB, True), (ALICE, False)):
        with contextlib.closing(Capture(machine)) as capture:
            machine.call(multicast, group, 5353, uid=uid)
            found = [p for p in capture.packets() if p[0] == "eth0" and p[2] == group
                     and p[3] == socket.IPPROTO_UDP]
            assert bool(found) == leaked, (uid, found)


# Packets for the tunnel's address that come in by another interface (CVE-2019-14899): who is next to
# the machine finds out that address, and then the connections that go through the tunnel.

def ipv4(source, destination, protocol, payload):
    header = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(payload), 1, 0, 64, protocol, 0,
                         socket.inet_aton(source), socket.inet_aton(destination))
    return header[:10] + struct.pack("!H", checksum(header)) + header[12:] + payload


def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Neighbour:
    """Somebody on the link of eth0, who may send what he likes."""

    def __init__(self, machine):
        self.machine = machine
        self.sock = in_namespace(machine.router, self._open)
        self.mac = self._mac_of_eth0()

    @staticmethod
    def _open():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        sock.bind(("up0", ETH_P_ALL))
        sock.setblocking(False)
        return sock

    def _mac_of_eth0(self):
        line = [t for t in self.machine.show("link show eth0") if "link/ether" in t][0]
        return bytes.fromhex(line.split()[1].replace(":", ""))

    @property
    def own_mac(self):
        return self.sock.getsockname()[4]

    def send_ipv4(self, packet):
        self.sock.send(self.mac + self.own_mac + b"\x08\x00" + packet)

    def ask_arp(self, address):
        body = struct.pack("!HHBBH6s4s6s4s", 1, 0x0800, 6, 4, 1, self.own_mac,
                           socket.inet_aton(GATEWAY4), bytes(6), socket.inet_aton(address))
        self.sock.send(b"\xff" * 6 + self.own_mac + b"\x08\x06" + body)

    def ask_ndp(self, address):
        target = socket.inet_pton(socket.AF_INET6, address)
        source = socket.inet_pton(socket.AF_INET6, "fd00::1")
        body = struct.pack("!BBHI16sBB6s", 135, 0, 0, 0, target, 1, 1, self.own_mac)
        pseudo = source + target + struct.pack("!II", len(body), 58)
        body = body[:2] + struct.pack("!H", checksum(pseudo + body)) + body[4:]
        header = struct.pack("!IHBB16s16s", 6 << 28, len(body), 58, 255, source, target)
        self.sock.send(self.mac + self.own_mac + b"\x86\xdd" + header + body)

    def heard(self, match):
        """Frames of the machine's since the last call for which match(frame) holds."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self.sock.recv(65536)
                if frame[6:12] == self.mac and match(frame):
                    found.append(frame)
        return found

    def close(self):
        self.sock.close()


@pytest.fixture
def neighbour(machine):
    with contextlib.closing(Neighbour(machine)) as one:
        yield one


def from_tunnel(frame):
    """An IPv4 packet with the tunnel's address as its source."""
    return frame[12:14] == b"\x08\x00" and frame[26:30] == socket.inet_aton(TUNNEL4)


def is_arp_answer(frame):
    return frame[12:14] == b"\x08\x06" and frame[20:22] == b"\0\2" and \
        frame[28:32] == socket.inet_aton(TUNNEL4)


def is_ndp_answer(frame):
    return frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] == 136


def probe(port=9999):
    """A SYN to a closed port: a reset tells that the address is the machine's."""
    syn = struct.pack("!HHIIBBHHH", 4444, port, 1, 0, 0x50, 2, 1024, 0, 0)
    pseudo = socket.inet_aton(GATEWAY4) + socket.inet_aton(TUNNEL4) + struct.pack("!HH", 6, len(syn))
    syn = syn[:16] + struct.pack("!H", checksum(pseudo + syn)) + syn[18:]
    return ipv4(GATEWAY4, TUNNEL4, 6, syn)


def echo():
    body = struct.pack("!BBHHH", 8, 0, 0, 1, 1)
    return ipv4(GATEWAY4, TUNNEL4, 1, body[:2] + struct.pack("!H", checksum(body)) + body[4:])


def both_ask(machine, neighbour, ask, match):
    """Is the neighbour answered? A ping to the address of eth0 itself tells when it was looked at."""
    neighbour.heard(lambda frame: False)
    ask()
    body = struct.pack("!BBHHH", 8, 0, 0, 7, 7)
    neighbour.send_ipv4(ipv4(GATEWAY4, "10.0.0.2", 1,
                             body[:2] + struct.pack("!H", checksum(body)) + body[4:]))
    seen = []

    def answered():
        seen.extend(neighbour.heard(lambda frame: True))
        return any(f[12:14] == b"\x08\x00" and f[26:30] == socket.inet_aton("10.0.0.2") for f in seen)

    wait_for("the machine to have looked", answered)
    return any(match(frame) for frame in seen)


ATTACKS = {
    "syn": (lambda n: n.send_ipv4(probe()), from_tunnel),
    "ping": (lambda n: n.send_ipv4(echo()), from_tunnel),
    "arp": (lambda n: n.ask_arp(TUNNEL4), is_arp_answer),
}


def test_the_address_of_the_tunnel_is_nobodys_business(machine, tun, neighbour):
    """A tunnel that Waymark finds is a VPN by itself."""
    machine.router.ip(f"neigh replace 10.0.0.2 lladdr {neighbour.mac.hex(':')} dev up0")
    for ask, match in ATTACKS.values():
        assert both_ask(machine, neighbour, lambda a=ask: a(neighbour), match), "Linux answers"
    daemon = Instance(machine).start()
    try:
        for kind, (ask, match) in ATTACKS.items():
            assert not both_ask(machine, neighbour, lambda a=ask: a(neighbour), match), kind
        connect_to_itself(machine)
        machine.ip("addr add 10.8.0.9/32 dev tun0")  # another address of it, later
        wait_for("it to be known", lambda: "10.8.0.9" in nft_table(machine))
        machine.ip(f"addr add {TUNNEL4}/32 dev eth0")  # it may be on both
        wait_for("both to have it", lambda: both_ask(
            machine, neighbour, lambda: ATTACKS["ping"][0](neighbour), from_tunnel))
        machine.ip(f"addr del {TUNNEL4}/32 dev eth0")
        wait_for("one to have it", lambda: not both_ask(
            machine, neighbour, lambda: ATTACKS["ping"][0](neighbour), from_tunnel))
        daemon.kill().start()
        for kind, (ask, match) in ATTACKS.items():
            assert not both_ask(machine, neighbour, lambda a=ask: a(neighbour), match), kind
        machine.run(["nft", "delete", "table", "arp", "waymark"])  # somebody else does
        wait_for("it to be back", lambda: machine.run(
            ["nft", "list", "table", "arp", "waymark"], check=False).returncode == 0)
        daemon.ok("panic-off")
        assert "waymark" not in machine.run(["nft", "list", "tables"]).stdout
        for ask, match in ATTACKS.values():
            assert both_ask(machine, neighbour, lambda a=ask: a(neighbour), match), "as before"
    finally:
        daemon.close()


def test_a_kernel_without_tables_of_arp(machine, tun, neighbour):
    """It refuses the first batch of nftables, which asks for them: all but ARP holds."""
    machine.router.ip(f"neigh replace 10.0.0.2 lladdr {neighbour.mac.hex(':')} dev up0")
    daemon = Instance(machine)
    # LeakSanitizer does not work in a process that is traced
    daemon.env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    try:
        daemon.start(wrap=["strace", "-D", "-q", "-o", "/dev/null", "-e", "trace=sendto", "-e",
                           "inject=sendto:error=EOPNOTSUPP:when=1"])
        assert "nftables has no tables of ARP" in daemon.log
        finding, = [f for f in daemon.json("doctor")["findings"] if "ARP" in f["text"]]
        assert finding["level"] == "warning" and "CONFIG_NF_TABLES_ARP" in finding["remedy"]
        machine.ip("addr add 10.8.0.9/32 dev tun0")  # what changes later is not refused for it
        wait_for("it to be known", lambda: "10.8.0.9" in nft_table(machine))
        assert "table arp" not in machine.run(["nft", "list", "tables"]).stdout
        for kind, (ask, match) in ATTACKS.items():
            assert both_ask(machine, neighbour, lambda a=ask: a(neighbour), match) == (kind == "arp"), kind
        assert not daemon.json("status")["status"]["degraded"]
    finally:
        daemon.close()


def connect_to_itself(machine):
    """The machine's own programs do reach its address."""
    def connect():
        with socket.create_server((TUNNEL4, 8123)):
            socket.create_connection((TUNNEL4, 8123), timeout=60).close()

    in_namespace(machine, connect)


def test_ndp_for_the_address_of_the_tunnel(machine, vpn, neighbour):
    """IPv6 answers only for addresses of the interface that is asked."""
    assert not both_ask(machine, neighbour, lambda: neighbour.ask_ndp(TUNNEL6), is_ndp_answer)
