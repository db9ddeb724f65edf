# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of the local network an app reaches whose VPN leaves it that: all of it, its DNS server included, but for
what the VPN itself has a longer route to (docs/vpn-service.md). Both back-ends, with and without lockdown."""

import contextlib
import socket

import pytest

from harness import Capture, wait_for
from vpn_fixture import App, OTHER, OWNER, add, full, machine_of_either_kind

GATEWAY, PRINTER, FAR = "10.0.0.1", "10.0.0.9", "198.51.100.77"
LAN = "10.0.0.0/24"


def send(address, port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock, contextlib.suppress(OSError):
        sock.sendto(b"who is www.example?", (address, port))


def ways(machine, app, address, port):
    """Where a datagram of the app's goes: "eth0", "tunnel"."""
    with contextlib.closing(Capture(machine)) as capture:
        app.packets()
        machine.call(send, address, port, uid=OWNER)
        seen = wait_for("the datagram", lambda: [p for p in capture.packets() if p[2] == address])
        found = {"tunnel" if p[0].startswith("wmtun") else p[0] for p in seen}
        if "tunnel" in found:
            wait_for("it to come out", lambda: address in {p[1] for p in app.packets()})
        return found


@pytest.fixture
def neighbours(machine):
    for address in (GATEWAY, PRINTER):
        machine.ip(f"neigh replace {address} lladdr 02:00:00:00:00:01 dev eth0")


@pytest.mark.parametrize("lockdown", [False, True])
@pytest.mark.parametrize("lan, routes, gateway, printer", [
    ([], [], "tunnel", "tunnel"),
    (["link-local"], [], "tunnel", "tunnel"),
    ([LAN], [], "eth0", "eth0"),
    ([LAN], [f"{GATEWAY}/32"], "tunnel", "eth0"),
    ([PRINTER + "/32"], [], "tunnel", "eth0")])
@pytest.mark.usefixtures("neighbours")
def test_the_local_network_and_its_dns(machine, daemon, lockdown, lan, routes, gateway, printer):
    add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lockdown=lockdown, Lan=lan)
    with App(daemon, OTHER) as app:
        more = full(Dns=["10.99.0.1"])
        app.establish("work", **more | {"Routes": [*more["Routes"], *routes]})
        app.serve(write=False)
        for port in (53, 853, 9):
            assert ways(machine, app, GATEWAY, port) == {gateway}
        assert ways(machine, app, PRINTER, 9) == {printer}
        assert ways(machine, app, FAR, 53) == {"tunnel"}
