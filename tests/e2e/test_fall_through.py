# SPDX-License-Identifier: LGPL-2.1-or-later
"""What is outside of a VPN, on the wire: a split tunnel, excluded routes, the LAN, lockdown; by both back-ends.

Each case is a destination and where a packet to it may be seen: in the tunnel, on an uplink, nowhere. The
same packets of a user who is not assigned prove that the captures see what there is to see.
"""

import contextlib
import errno
import os
import pathlib
import socket
import tempfile
import time

import pytest

from harness import PORT, SERVER4, SERVER6, WAIT, Capture, Instance, Machine, wait_for
from maps_fixture import BoundMachine
from tun_fixture import Tun

USER, OTHER, EXCEPTED = 3001, 3002, 3003
UPLINKS = ("eth0", "eth1")
DISCARD = 9

INSIDE4, INSIDE6 = "10.77.1.1", "2001:db8:77::1"


def send(destinations, device=None):
    """One datagram to each, from a new socket; "sent", or the errno's name."""
    results = []
    for destination in destinations:
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        with socket.socket(family, socket.SOCK_DGRAM) as sock:
            try:
                if device:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                sock.sendto(b"fall through", (destination, DISCARD))
                results.append("sent")
            except OSError as error:
                results.append(errno.errorcode[error.errno])
    return results


def flood(destinations, until):
    """Datagrams to all of them, from sockets that stay and from new ones, until the file is there."""
    kept = {}
    count = 0
    while not pathlib.Path(until).exists():
        for destination in destinations:
            family = socket.AF_INET6 if ":" in destination else socket.AF_INET
            kept.setdefault(destination, socket.socket(family, socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                kept[destination].sendto(b"flood", (destination, DISCARD))
            send([destination])
            count += 1
        time.sleep(0.001)
    return count


class World:
    """A machine, its tunnel, its daemon, and what is seen where."""

    def __init__(self, backend):
        self.backend = backend
        self.machine = BoundMachine() if backend == "maps" else Machine()
        options = [] if backend == "maps" else ["--backend", "rules"]
        self.daemon = Instance(self.machine, *options)
        self.tun = Tun(self.machine)
        self.folder = tempfile.TemporaryDirectory(prefix="waymark-fall-")
        pathlib.Path(self.folder.name).chmod(0o755)
        self.stop_file = f"{self.folder.name}/stop"
        self.capture = None
        self.senders = []

    def start(self, *options, routes=("10.77.0.0/16", "2001:db8:77::/48")):
        """The network `vpn`, which USER requires; EXCEPTED would, and is excepted."""
        self.daemon.start()
        self.daemon.ok("network", "add", "vpn", "--type", "vpn", "--interface", "tun0", *options)
        for route in routes:
            self.daemon.ok("route", "add", "vpn", *route.split())
        self.daemon.ok("assign", f"uid:{USER}", "vpn")
        self.capture = Capture(self.machine)
        return self

    def set(self, *options):
        self.daemon.ok("network", "set", "vpn", *options)

    def vanish(self):
        """The tunnel is deleted from outside."""
        self.machine.ip("link del tun0")
        self.tun.close()

    def in_tunnel(self):
        return self.tun.packets() if self.tun.fd >= 0 else []

    def clear(self):
        self.in_tunnel()
        self.capture.packets()

    def seen(self, destinations):
        """Where packets to each have left since the last call: a set of interfaces."""
        found = {destination: set() for destination in destinations}
        for _, destination, _ in self.in_tunnel():
            if destination in found:
                found[destination].add("tun0")
        for name, _, destination, _ in self.capture.packets():
            if destination in found and name in UPLINKS:
                found[destination].add(name)
        return found

    def where(self, destinations, uid=USER, device=None):
        """The same for one datagram to each: the interface, or the error that the sender got."""
        self.clear()
        results = self.machine.call(send, destinations, device, uid=uid)
        wanted = [d for d, result in zip(destinations, results) if result == "sent"]
        found = {}

        def arrived():
            for destination, names in self.seen(destinations).items():
                found.setdefault(destination, set()).update(names)
            return all(found[destination] for destination in wanted)

        with contextlib.suppress(AssertionError):
            wait_for("the packets", arrived, seconds=3)
        return {d: "+".join(sorted(found[d])) or result for d, result in zip(destinations, results)}

    def check(self, expected, uid=USER, device=None):
        """The detector first: all of it is seen when somebody else sends it."""
        for destination, where in self.where(list(expected), uid=OTHER).items():
            assert where in UPLINKS, (destination, where)
        assert self.where(list(expected), uid=uid, device=device) == expected
        assert self.daemon("verify").code == 0

    @contextlib.contextmanager
    def flooding(self, destinations):
        """Somebody sends meanwhile; all have been seen to be on their way when it begins."""
        pathlib.Path(self.stop_file).unlink(missing_ok=True)
        self.clear()
        call = self.machine.start_call(flood, list(destinations), self.stop_file, uid=USER,
                                       seconds=5 * WAIT)
        try:
            yield
        finally:
            pathlib.Path(self.stop_file).touch()
            assert call.result() > 0

    def wait_seen(self, expected):
        """Until packets to each have been seen where they are to be now; all that was seen meanwhile."""
        everything = {destination: set() for destination in expected}

        def complete():
            for destination, names in self.seen(expected).items():
                everything[destination] |= names
            return all(where <= everything[destination] for destination, where in expected.items())

        wait_for(f"packets: {expected}", complete)
        return everything

    def close(self):
        self.daemon.close()
        if self.capture:
            self.capture.close()
        self.tun.close()
        self.machine.close()
        self.folder.cleanup()


@pytest.fixture(params=["rules", "maps"])
def world(request):
    made = World(request.param)
    try:
        yield made
    finally:
        made.close()


def test_a_split_tunnel(world):
    world.start("--fall-through")
    world.check({INSIDE4: "tun0", INSIDE6: "tun0", SERVER4: "eth0", SERVER6: "eth0"})
    world.daemon.ok("default", "eth1")
    world.check({INSIDE4: "tun0", INSIDE6: "tun0", SERVER4: "eth1", SERVER6: "eth1"})
    world.set("--fall-through", "no")
    world.check({INSIDE4: "tun0", INSIDE6: "tun0", SERVER4: "EACCES", SERVER6: "EACCES"})


def test_excluded_in_included_and_back(world):
    world.start("--fall-through", routes=(
        "0.0.0.0/0", "198.51.0.0/16 throw", "198.51.100.128/25",
        "::/0", "2001:db8::/32 throw", "2001:db8:77::/48"))
    expected = {"192.0.2.1": "tun0", SERVER4: "eth0", "198.51.100.129": "tun0",
                "2001:db9::1": "tun0", SERVER6: "eth0", INSIDE6: "tun0"}
    world.check(expected)

    # lockdown: what is excluded is not outside
    world.set("--lockdown")
    world.check(expected | {SERVER4: "EACCES", SERVER6: "EACCES"})


def test_the_lan(world):
    """An own route is a network's own matter, unless it is longer than what is outside."""
    world.start("--lockdown", "--outside", "10.0.0.0/16", "--outside", "fd00::/32",
                routes=("0.0.0.0/0", "10.0.1.0/24", "::/0"))
    expected = {"10.0.0.1": "eth0", "10.0.1.1": "tun0", SERVER4: "tun0",
                "fd00::1": "eth0", SERVER6: "tun0"}
    world.check(expected)

    world.vanish()
    world.daemon.wait_state("vpn", "absent")
    world.check(expected | {"10.0.1.1": "EACCES", SERVER4: "EACCES", SERVER6: "EACCES"})


@pytest.mark.parametrize("daemon", ["alive", "dead"])
def test_bound_to_a_device(world, daemon):
    """Whatever interface is asked for, nothing leaves to where the VPN leads."""
    world.start("--fall-through")
    for state in ("there", "gone"):
        if daemon == "dead":
            world.daemon.kill()
        for device in UPLINKS:
            found = world.where([INSIDE4, INSIDE6, SERVER4, SERVER6], device=device)
            for inside in (INSIDE4, INSIDE6):
                assert not set(found[inside].split("+")) & set(UPLINKS), (state, device)
            assert found[SERVER4] == found[SERVER6] == device, (state, device)
            other = world.where([INSIDE4, INSIDE6], uid=OTHER, device=device)
            assert set(other.values()) == {device}
        if state == "there":
            world.vanish()


@pytest.mark.parametrize("daemon", ["alive", "dead"])
def test_the_tunnel_vanishes(world, daemon):
    """While traffic flows, and while nobody could do anything about it."""
    world.start("--fall-through")
    if daemon == "dead":
        world.daemon.kill()
    with world.flooding([INSIDE4, INSIDE6, SERVER4, SERVER6]):
        flowing = {INSIDE4: {"tun0"}, INSIDE6: {"tun0"}, SERVER4: {"eth0"}, SERVER6: {"eth0"}}
        assert world.wait_seen(flowing) == flowing
        world.vanish()
        if daemon == "alive":
            world.daemon.wait_state("vpn", "absent")
        for _ in range(3):  # what still flows is seen, so what does not would be
            after = world.wait_seen({INSIDE4: set(), INSIDE6: set(), SERVER4: {"eth0"},
                                     SERVER6: {"eth0"}})
            assert not after[INSIDE4] & set(UPLINKS)
            assert not after[INSIDE6] & set(UPLINKS)


def test_prefixes_change_while_traffic_flows(world):
    """What is inside before and after never leaves; what is outside before and after always may."""
    inside, first, second, outside = INSIDE4, "10.78.1.1", "10.79.1.1", SERVER4
    world.start("--fall-through")
    world.daemon.ok("route", "add", "vpn", "10.78.0.0/16")
    with world.flooding([inside, first, second, outside]):
        assert world.wait_seen({inside: {"tun0"}, first: {"tun0"}, second: {"eth0"},
                                outside: {"eth0"}})
        for _ in range(5):
            world.daemon.ok("route", "add", "vpn", "10.79.0.0/16")
            world.daemon.ok("route", "remove", "vpn", "10.78.0.0/16")
            seen = world.wait_seen({inside: {"tun0"}, first: {"eth0"}, second: {"tun0"},
                                    outside: {"eth0"}})
            assert seen[inside] == {"tun0"}
            assert seen[outside] == {"eth0"}
            seen = world.wait_seen({inside: {"tun0"}, first: {"eth0"}, second: {"tun0"},
                                    outside: {"eth0"}})
            assert seen == {inside: {"tun0"}, first: {"eth0"}, second: {"tun0"}, outside: {"eth0"}}
            world.daemon.ok("route", "add", "vpn", "10.78.0.0/16")
            world.daemon.ok("route", "remove", "vpn", "10.79.0.0/16")
            seen = world.wait_seen({inside: {"tun0"}, first: {"tun0"}, second: {"eth0"},
                                    outside: {"eth0"}})
            assert seen[inside] == {"tun0"}
        world.set("--fall-through", "no", "--outside", "10.77.1.0/24")
        assert world.wait_seen({inside: {"eth0"}, first: {"tun0"}})


def test_the_next_daemon(world):
    """What stands is taken over as it is, and goes on to be changed from there."""
    world.start("--fall-through", "--outside", "10.77.3.0/24")
    expected = {INSIDE4: "tun0", "10.77.3.1": "eth0", INSIDE6: "tun0", SERVER4: "eth0"}
    with world.flooding([INSIDE4, SERVER4]):
        world.daemon.kill()
        world.daemon.start()
        seen = world.wait_seen({INSIDE4: {"tun0"}, SERVER4: {"eth0"}})
        assert seen == {INSIDE4: {"tun0"}, SERVER4: {"eth0"}}
    world.check(expected)
    world.daemon.kill()
    world.vanish()
    world.daemon.start()
    world.check(expected | {INSIDE4: "EACCES", INSIDE6: "EACCES"})


def test_excepted(world):
    """Assigned to `default`: as if nothing were, in the midst of those who are."""
    world.start()
    world.daemon.ok("assign", f"uid:{USER}-{USER + 9}", "none")
    assert set(world.where([SERVER4, INSIDE4], uid=EXCEPTED).values()) <= {"EACCES", "EPERM"}
    world.daemon.ok("assign", f"uid:{EXCEPTED}", "default")
    assert world.where([SERVER4, INSIDE4], uid=EXCEPTED) == {SERVER4: "eth0", INSIDE4: "eth0"}
    assert world.daemon.assignments()[f"uid:{EXCEPTED}"]["state"] == "active"
    assert world.daemon("verify").code == 0
    world.daemon.ok("unassign", f"uid:{EXCEPTED}")
    assert set(world.where([SERVER4, INSIDE4], uid=EXCEPTED).values()) <= {"EACCES", "EPERM"}


def test_explain(world):
    world.start("--fall-through")
    text = world.daemon.ok("explain", "--uid", str(USER), SERVER4).out
    assert "OUTSIDE" in text and "by eth0" in text
    assert "lets it out: its network does not lead there" in text
    text = world.daemon.ok("explain", "--uid", str(USER), INSIDE4).out
    assert "by tun0" in text
    world.vanish()
    world.daemon.wait_state("vpn", "absent")
    text = world.daemon("explain", "--uid", str(USER), INSIDE4).out
    assert "Permission denied" in text and "OUTSIDE_FENCE" in text


def receive(address, seconds, ready):
    """A datagram to a port of ours, within that time; or None. It is told when one may be sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, 7777))
        os.write(ready, b"x")
        sock.settimeout(seconds)
        with contextlib.suppress(TimeoutError):
            return sock.recvfrom(100)[1][0]
    return None


def test_lockdown_lets_nothing_in():
    """The back-end maps: what comes in by another interface is dropped, but for what is outside."""
    world = World("maps").start("--lockdown", "--outside", "10.0.0.0/24")
    try:
        def listen(source, seconds):
            ready, is_ready = os.pipe()
            call = world.machine.start_call(receive, "10.0.0.2", seconds, is_ready, uid=USER)
            os.close(is_ready)
            assert os.read(ready, 1) == b"x"
            os.close(ready)
            for _ in range(10):
                world.machine.router.call(send_from, source, "10.0.0.2")
            return call.result()

        def heard(source, seconds=WAIT):
            while True:
                # half a second after a change old sockets are looked for again: bound to eth0, it is one
                with contextlib.suppress(ConnectionAbortedError):
                    return listen(source, seconds)

        assert heard("10.0.0.1") == "10.0.0.1"
        assert heard(SERVER4, seconds=3.0) is None
        world.set("--lockdown", "no")
        assert heard(SERVER4) == SERVER4
    finally:
        world.close()


def send_from(source, destination):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((source, 0))
        sock.sendto(b"in", (destination, 7777))


def talk(address, steps, count):
    """What becomes of one connection at each step: a file that appears."""
    outcomes = []
    with socket.create_connection((address, PORT), timeout=WAIT) as sock:
        sock.recv(200)
        for number in range(count):
            wait_for("the step", pathlib.Path(f"{steps}.{number}").exists)
            try:
                sock.sendall(b"still there?\n")
                outcomes.append("lives" if sock.recv(200) else "closed")
            except OSError as error:
                outcomes.append(errno.errorcode[error.errno])
            pathlib.Path(f"{steps}.{number}.done").touch()
    return outcomes


def test_old_connections(world):
    """One to the outside lives on when its app is assigned; it ends when the VPN comes to lead there."""
    world.start("--fall-through")
    world.daemon.ok("unassign", f"uid:{USER}")
    steps = f"{world.folder.name}/talk"
    pathlib.Path(world.folder.name).chmod(0o777)
    call = world.machine.start_call(talk, SERVER4, steps, 3, uid=USER, seconds=5 * WAIT)

    def step(number):
        pathlib.Path(f"{steps}.{number}").touch()
        wait_for("the answer", pathlib.Path(f"{steps}.{number}.done").exists)

    step(0)
    world.daemon.ok("assign", f"uid:{USER}", "vpn")
    step(1)
    world.daemon.ok("route", "add", "vpn", "198.51.100.0/24")
    step(2)
    assert call.result() == ["lives", "lives", "ECONNABORTED"]
