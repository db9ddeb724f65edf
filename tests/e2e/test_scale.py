# SPDX-License-Identifier: LGPL-2.1-or-later
"""Many networks and many assignments, as a smoke test; the figures are made by bench/, and the time that is given
here only ends what grows as it must not."""

import socket
import time

import pytest

from harness import Instance, Machine, Monitor, our_rules
from netd_fixture import sanitized
from test_robustness import guard_parts

NETWORKS, ASSIGNMENTS = 200, 2000
PATIENCE = 60 * (5 if sanitized() else 1)  # s; each takes a second or two


@pytest.fixture(scope="module")
def large():
    """A machine with 200 more interfaces, of which netd makes networks; 2000 assignments to them."""
    machine = Machine()
    machine.run(["ip", "-batch", "-"], input="".join(
        f"link add x{i} type veth peer name y{i}\nlink set x{i} up\nlink set y{i} up\n"
        f"addr add 10.{100 + i // 100}.{i % 100}.2/24 dev x{i}\n" for i in range(NETWORKS)))
    daemon = Instance(machine, "--no-host-networks")
    try:
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


class Netd:
    def __init__(self, daemon):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(f"{daemon.runtime}/netd")

    def ok(self, *lines):
        """All at once, then all answers."""
        self.sock.sendall(b"".join(f"{i} {line}\0".encode() for i, line in enumerate(lines)))
        data = b""
        while data.count(b"\x00200 ") + data.startswith(b"200 ") < len(lines):
            chunk = self.sock.recv(1 << 16)
            assert chunk and b"\x00400 " not in chunk and b"\x00500 " not in chunk, chunk
            data += chunk


def timed(what, function):
    start = time.monotonic()
    result = function()
    took = time.monotonic() - start
    print(f"{what}: {took:.2f} s")
    assert took < PATIENCE, f"{what} took {took:.2f} s"
    return result


def rules_and_routes(machine):
    return (our_rules(machine), our_rules(machine, "-6"),
            machine.show("route show table all proto 119"))


def handles(machine):
    """Of what stands in nftables: what is made anew has another one."""
    return machine.run(["nft", "-a", "list", "table", "inet", "waymark"]).stdout


def test_many(large):
    machine, daemon = large
    daemon.start()
    netd = Netd(daemon)
    timed(f"{NETWORKS} networks", lambda: netd.ok(*(
        line for i in range(NETWORKS) for line in (
            f"network create {1000 + i}", f"network interface add {1000 + i} x{i}",
            f"network route add {1000 + i} x{i} 10.{100 + i // 100}.{i % 100}.0/24",
            f"network route add {1000 + i} x{i} 0.0.0.0/0 10.{100 + i // 100}.{i % 100}.1"))))
    names = {n["netid"]: n["name"] for n in daemon.json("network", "list")["networks"]}
    assert len(names) == NETWORKS + 2

    daemon.config.write_text("[assignments]\n" + "".join(
        f"assign = uid:{100000 + 2 * i} {names[1000 + i % NETWORKS]}\n" for i in range(ASSIGNMENTS)))
    timed(f"{ASSIGNMENTS} assignments", lambda: daemon.ok("reload"))
    states = {a["state"] for a in daemon.assignments().values()}
    assert states == {"active"} and len(daemon.assignments()) == ASSIGNMENTS
    for i in (0, 777, ASSIGNMENTS - 1):
        e = daemon.json("explain", "--uid", str(100000 + 2 * i), "198.51.100.1")["explanation"]
        assert (e["interface"], e["kernel_agrees"]) == (f"x{i % NETWORKS}", True)

    verification = timed("verify", lambda: daemon.json("verify", "--timeout", "280"))["verification"]
    assert verification["proved"] and verification["segments"] >= ASSIGNMENTS

    before = rules_and_routes(machine), handles(machine)
    monitor = Monitor(machine, "rule")
    try:
        timed("reload of the same", lambda: daemon.ok("reload"))
        assert monitor.mark() == [], "no rule was touched"
        assert (rules_and_routes(machine), handles(machine)) == before, "nor anything else"
        daemon.config.write_text(daemon.config.read_text().replace(
            f"uid:{100000 + 2 * 777} ", f"uid:{100000 + 2 * 777 + 1} "))
        timed("reload with one change", lambda: daemon.ok("reload"))
        assert all("10155" in event for event in monitor.mark())
    finally:
        monitor.close()

    def restart():
        daemon.kill()
        daemon.start()

    before = rules_and_routes(machine), guard_parts(machine)
    timed("restart", restart)
    assert (rules_and_routes(machine), guard_parts(machine)) == before
    timed("unassign all", lambda: (daemon.config.write_text(""), daemon.ok("reload")))
    assert daemon.assignments() == {}
