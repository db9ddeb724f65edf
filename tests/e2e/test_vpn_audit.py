# SPDX-License-Identifier: LGPL-2.1-or-later
"""What auditors of VPNs try, one class of attack each: an app that is held to a VPN, a hostile
network around the machine. First each attack is shown to work on a machine that holds nobody."""

import contextlib
import socket

import pytest

from harness import SERVER4, SERVER6, Capture, wait_for
from tun_fixture import Tun

ALICE, BOB = 3001, 3002
GATEWAY4 = "10.0.0.1"  # of eth0, on its link


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


# More specific routes from a DHCP server on the uplink (TunnelVision, CVE-2024-3661).

@pytest.mark.parametrize("server, route, via", [
    (SERVER4, "198.51.100.0/25", "10.0.0.1"), (SERVER4, "198.51.100.1/32", "10.0.0.1"),
    (SERVER6, "2001:db8:1::/64", "fd00::1")])
def test_more_specific_routes_of_the_uplink(machine, vpn, server, route, via):
    family = "-6 " if ":" in route else ""
    machine.ip(f"{family}route add {route} via {via} dev eth0")
    assert leaks(machine, server, 9, uid=BOB), "the route is used by who is not held"
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
        assert SERVER4 in {p[2] for p in capture.packets() if p[0] == "eth0"}, "root's"
    assert vpn.packets()


# DNS to a gateway on the local network, which routes of the machine know better than the tunnel.

@pytest.mark.parametrize("port", [53, 853, 5353])
def test_dns_to_the_gateway_of_the_local_network(machine, vpn, port):
    assert leaks(machine, GATEWAY4, port, uid=BOB)
    assert leaks(machine, GATEWAY4, port, uid=ALICE) == []
    assert leaks(machine, "fd00::1", port, uid=ALICE) == []


# A program that asks for the physical interface.

@pytest.mark.parametrize("server", [SERVER4, SERVER6, GATEWAY4])
def test_bound_to_a_physical_interface(machine, vpn, server):
    assert leaks(machine, server, 9, "eth0", uid=BOB)
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
