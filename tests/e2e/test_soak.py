# SPDX-License-Identifier: LGPL-2.1-or-later
"""A minute of mixed traffic, while the daemon is killed again and again: what the programs at the cgroup
hold, they hold without it.

Every app sends to addresses of its own, so that a capture tells whose a packet is. Each also asks for
the wrong interface all the time, by SO_BINDTODEVICE.
"""

import collections
import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time

import pytest

from harness import PORT, Capture, EchoServer, Instance, in_namespace, wait_for
from maps_fixture import machine
from pinned import Table, port

SECONDS = 60
PAUSE = 3.0  # between two kills, and as long is nobody there
FREE, ALICE, BOB, CAROL, DAVE = range(3001, 3006)
TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
SYN, FIN, RST = 2, 1, 4

SENDER = """
import contextlib, json, select, socket, sys, time
four, six, port = sys.argv[1], sys.argv[2], int(sys.argv[3])

def make(family, kind, protocol=0, device=None):
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(0.5)
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
    return sock

def tcp(family, to, device):
    with make(family, socket.SOCK_STREAM, 0, device) as s:
        s.connect((to, port))
        s.recv(100)
        s.sendall(bytes(65536))
        s.recv(100)

def connected(family, to, device):
    with make(family, socket.SOCK_DGRAM, 0, device) as s:
        s.connect((to, port))
        s.send(b'x' * 500)
        s.recv(600)

def ping(family, to, device):
    six = family == socket.AF_INET6
    with make(family, socket.SOCK_DGRAM, 58 if six else 1, device) as s:
        s.sendto(bytes([128 if six else 8, 0, 0, 0, 0, 0, 0, 1]), (to, 0))
        s.recv(100)

unconnected = {}
def sendto(family, to, device):
    s = unconnected.get((family, device)) or make(family, socket.SOCK_DGRAM, 0, device)
    unconnected[family, device] = s
    s.sendto(b'x' * 500, (to, port))
    s.recv(600)

def connect_for_long():
    with contextlib.suppress(OSError):
        s = socket.create_connection((four, port), 60)
        s.recv(100)
        return s

done, long = {}, connect_for_long()
while not select.select([sys.stdin], [], [], 0.005)[0]:
    for way in (tcp, connected, sendto, ping):
        for device in (None, sys.argv[4]):
            for family, to in ((socket.AF_INET, four), (socket.AF_INET6, six)):
                with contextlib.suppress(OSError):
                    way(family, to, device)
                    name = f"{way.__name__} {'4' if family == socket.AF_INET else '6'}"
                    done[name] = done.get(name, 0) + 1
    try:
        if long:
            long.sendall(b'more')
            long.recv(100)
    except OSError:
        long = None
print(json.dumps({"done": done, "long": bool(long)}))
"""


class Servers(EchoServer):
    """At several addresses."""

    def __init__(self, namespace, addresses):  # pylint: disable=super-init-not-called
        self.stopping = False
        self.sockets, self.threads = [], []
        for address in addresses:
            tcp, udp = in_namespace(namespace, lambda a=address: self._listen_at(a))
            for serve, sock in ((self._tcp, tcp), (self._udp, udp)):
                self.sockets.append(sock)
                self.threads.append(threading.Thread(target=serve, args=(sock,), daemon=True))
                self.threads[-1].start()

    @staticmethod
    def _listen_at(address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((address, PORT))
        return socket.create_server((address, PORT), family=family, backlog=512), udp


class App:
    """Who sends, and by which interface alone (None: by none). Who is not held may use others, too."""

    def __init__(self, number, name, uid, interface, held=True, program=None, place=None):
        self.name, self.uid, self.interface, self.held = name, uid, interface, held
        self.program, self.place = program, place
        self.four, self.six = f"198.51.100.{10 + number}", f"2001:db8:1::{10 + number}"
        self.process = None

    def start(self, machine):
        if self.place:
            machine.place = self.place
        other = "eth1" if self.interface == "eth0" else "eth0"
        self.process = machine.popen(
            [self.program or "/usr/bin/python3", "-I", "-c", SENDER, self.four, self.six, str(PORT),
             other], uid=self.uid, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        machine.place = machine.cgroup

    def finish(self):
        out, _ = self.process.communicate(timeout=60)
        assert self.process.returncode == 0
        return json.loads(out)

    def close(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.communicate()


def is_the_kernels_own(data, protocol):
    """A reset or a bare acknowledgement: sent for connections that no program has any more, too."""
    if protocol != TCP:
        return False
    start = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
    end = int.from_bytes(data[2:4], "big") if data[0] >> 4 == 4 else (
        40 + int.from_bytes(data[4:6], "big"))
    flags, payload = data[start + 13], end - start - (data[start + 12] >> 4) * 4
    return bool(flags & RST) or (payload <= 0 and not flags & (SYN | FIN))


class Judge:
    """Counts what every app sent, by interface and protocol; what should not be is a leak."""

    def __init__(self, machine, apps):
        self.capture = Capture(machine)
        self.apps = {address: app for app in apps for address in (app.four, app.six)}
        self.seen = collections.Counter()
        self.leaks = collections.Counter()
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while not self.stopping:
            if not self._read():
                time.sleep(0.005)

    def _read(self):
        try:
            data, (name, _, kind, *_) = self.capture.sock.recvfrom(65536)
        except BlockingIOError:
            return False
        if kind != 4 or not data or data[0] >> 4 not in (4, 6):  # PACKET_OUTGOING; ARP
            return True
        four = data[0] >> 4 == 4
        family = socket.AF_INET if four else socket.AF_INET6
        app = self.apps.get(socket.inet_ntop(family, data[16:20] if four else data[24:40]))
        protocol = data[9] if four else data[6]
        if app and name == app.interface:
            self.seen[app.name, protocol, 4 if four else 6] += 1
        elif app and app.held and not is_the_kernels_own(data, protocol):
            self.leaks[app.name, name, protocol, 4 if four else 6] += 1
        return True

    def of(self, app):
        return sum(n for (name, *_), n in self.seen.items() if name == app.name)

    def lost(self):
        """Packets that the capture had no room for."""
        packets, drops = (int.from_bytes(self.capture.sock.getsockopt(263, 6, 8)[i:i + 4], "little")
                          for i in (0, 4))
        return drops if packets else None

    def close(self):
        self.stopping = True
        self.thread.join()
        self.capture.close()


@pytest.fixture
def apps(machine):
    with tempfile.TemporaryDirectory(prefix="waymark-exe-") as folder:
        os.chmod(folder, 0o755)
        program = pathlib.Path(folder) / "app"
        shutil.copy(os.path.realpath("/usr/bin/python3"), program)
        machine.below("apps")
        machine.below("apps/one")
        all_apps = [App(0, "free", FREE, "eth0", held=False), App(1, "uid", ALICE, "eth1"),
                    App(2, "exe", BOB, "eth1", program=program),
                    App(3, "cgroup", CAROL, "eth1", place=machine.place),
                    App(4, "none", DAVE, None)]
        machine.place = machine.cgroup
        machine.run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 100000"])
        for app in all_apps:
            machine.router.ip(f"addr add {app.four}/32 dev lo", f"addr add {app.six}/128 dev lo")
        servers = Servers(machine.router, [a for app in all_apps for a in (app.four, app.six)])
        try:
            yield {app.name: app for app in all_apps}
        finally:
            for app in all_apps:
                app.close()
            servers.close()


@contextlib.contextmanager
def broken(machine, netid):
    """Meanwhile the guard lets who is on this network out by eth0, too."""
    key = port(netid, machine.ifindex("eth0"))
    with Table(machine, "ports") as table:
        table.put(key, b"\1")
        yield
        table.drop(key)


def selectors(machine, apps):
    cgroup = str(apps["cgroup"].place.parent).removeprefix(str(machine.cgroup.parent))
    return {f"uid:{ALICE}": "eth1", f"exe:{apps['exe'].program}": "eth1",
            f"cgroup:{cgroup}": "eth1", f"uid:{DAVE}": "none"}


def test_killed_while_all_send(machine, apps):
    daemon = Instance(machine, *machine.options())
    judge = Judge(machine, apps.values())
    try:
        daemon.start()
        assigned = selectors(machine, apps)
        for selector, network in assigned.items():
            daemon.ok("assign", selector, network)
        for app in apps.values():
            app.start(machine)
        for app in apps.values():
            if app.interface:
                wait_for(f"packets of {app.name}", lambda a=app: judge.of(a) > 50)
        assert not judge.leaks

        # it sees a leak, of every app that is held to eth1
        with broken(machine, daemon.networks()["eth1"]["netid"]):
            wait_for("leaks", lambda: {k[0] for k in judge.leaks} >= {"uid", "exe", "cgroup"})
        time.sleep(1)  # what was under way
        judge.leaks.clear()

        pins, kills, end = machine.pins(), 0, time.monotonic() + SECONDS
        while time.monotonic() < end:
            daemon.stop(signal.SIGKILL)
            kills += 1
            without = {app.name: judge.of(app) for app in apps.values()}
            time.sleep(PAUSE)
            for app in apps.values():
                if app.interface:
                    wait_for(f"packets of {app.name}, with no daemon",
                             lambda a=app: judge.of(a) > without[a.name])
            assert not judge.leaks
            daemon.start()
            assert machine.pins() == pins, "the same programs and maps"
            assert {s: a["network"] or "none" for s, a in daemon.assignments().items()} == assigned
            time.sleep(PAUSE)
            assert not judge.leaks
        results = {app.name: app.finish() for app in apps.values()}
        assert kills >= 3 and not judge.leaks and judge.lost() == 0
        check(apps, judge, results, daemon)
    finally:
        judge.close()
        for app in apps.values():
            app.close()
        daemon.close()


def check(apps, judge, results, daemon):
    """It was mixed traffic, and the restarts were no event to it."""
    for app in apps.values():
        if not app.interface:
            assert results[app.name] == {"done": {}, "long": False}
            continue
        for protocol, family in ((TCP, 4), (TCP, 6), (UDP, 4), (UDP, 6), (ICMP, 4), (ICMP6, 6)):
            assert judge.seen[app.name, protocol, family] > 10
        assert len(results[app.name]["done"]) == 8 and min(results[app.name]["done"].values()) > 5
        assert results[app.name]["long"], "a connection that lasts all the time"
    assert "destroyed" not in daemon.log and "degraded" not in daemon.log
