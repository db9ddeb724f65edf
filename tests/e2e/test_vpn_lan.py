# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of the local network an app reaches whose VPN leaves it that: all of it, its DNS server included, but for
what the VPN itself has a longer route to (docs/vpn-service.md). Both back-ends, with and without lockdown."""

import contextlib
import errno
import os
import socket
import time

import pytest

from harness import WAIT, Capture, wait_for
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


SERVICE = ("10.0.0.2", 4444)
SECOND_LOOK = 1.0  # s: half a second after a change the daemon looks for old sockets once more


def serve(n, ready):
    """Answers n datagrams; None, or the error that ends it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(SERVICE)
        sock.settimeout(WAIT)
        os.write(ready, b"x")
        try:
            for _ in range(n):
                sock.sendto(*sock.recvfrom(64))
        except OSError as error:
            return error.errno
    return None


def ask():
    """One of the local network asks the service."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(WAIT)
        sock.sendto(b"who are you?", SERVICE)
        return sock.recv(64)


@pytest.mark.parametrize("lan, error", [([LAN], None), ([], errno.ECONNABORTED)])
def test_a_service_for_the_local_network(machine, daemon, lan, error):
    """It was there before the VPN, and waits at the address of the link: where that is left to the app it goes on."""
    add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lan=lan)
    ready, is_ready = os.pipe()
    service = machine.start_call(serve, 3, is_ready, uid=OWNER)
    os.close(is_ready)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    assert machine.router.call(ask) == b"who are you?"
    with App(daemon, OTHER) as app:
        app.establish("work", **full())
        for _ in range(2 if error is None else 0):
            assert machine.router.call(ask) == b"who are you?"
            time.sleep(SECOND_LOOK)
        assert service.result() == error
