# SPDX-License-Identifier: LGPL-2.1-or-later
"""A waymarkd that has nothing but Android's networks, and clients of its netd socket.

Unix sockets by path know no network namespaces, so the clients stay where the tests are; only `ip`
and the daemon run inside.
"""

import functools
import os
import pathlib
import socket
import time

import pytest

from harness import WAIT, WAYMARKD, Instance, Namespace, wait_for

MAC0, MAC1 = "02:00:00:00:00:10", "02:00:00:00:00:11"
NO_NET = "(Machine is not on the network)"
NO_DEV = "(No such device)"
NO_PROC = "(No such process)"
NO_ENT = "(No such file or directory)"
INVALID = "(Invalid argument)"
EXISTS = "(File exists)"
BUSY = "(Device or resource busy)"
OK = "200 {} success"


class Links(Namespace):
    """A namespace with a few interfaces."""

    def add_link(self, name, mac, *addresses):
        """A veth that is up and running, its other end is called <name>p."""
        self.ip(f"link add {name} address {mac} type veth peer name {name}p",
                f"link set {name} up", f"link set {name}p up")
        for address in addresses:
            self.ip(f"addr add {address} dev {name}")


@functools.cache
def sanitized():
    return b"__asan_init" in pathlib.Path(WAYMARKD).read_bytes()


def cpu_seconds(daemon):
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return sum(int(ticks) for ticks in fields[11:13]) / os.sysconf("SC_CLK_TCK")


def connections(path):
    """How many the listener there has accepted and not closed. A connection's two sockets belong to
    the namespace of the one who connected, that is, to ours; the listener's has the path."""
    with open("/proc/net/unix", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return sum(row[5] == "03" and row[7:] == [path] for row in rows[1:])


class Daemon(Instance):
    """waymarkd, as far as its netd socket goes."""

    @property
    def netd(self):
        return f"{self.runtime}/netd"

    def answers(self):
        try:
            with Client(self) as client:
                return client.ask("1 network") == [b"500 1 Missing argument\0"]
        except OSError:
            return False

    def state(self):
        return self.state_file.read_text()

    def clients(self):
        return connections(self.netd)

    def has_clients(self, n):
        """Waits until so many are connected."""
        wait_for(f"{n} clients", lambda: self.clients() == n)
        return True

    def memory(self):
        """Resident, in bytes; 0 for a sanitized daemon, which keeps what it frees."""
        if sanitized():
            return 0
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Client:
    """One connection. Messages are bytes, with the NUL at their end."""

    def __init__(self, daemon):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.buffer = b""
        self.broadcasts = []
        try:
            self.socket.connect(daemon.netd)  # waits while the backlog is full
            self.socket.settimeout(WAIT)
        except OSError:
            self.socket.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data)

    def read(self):
        """The next message of any kind; None at the end of the stream."""
        while b"\0" not in self.buffer:
            data = self.socket.recv(65536)
            if not data:
                assert self.buffer == b"", "the stream ends within a message"
                return None
            self.buffer += data
        message, self.buffer = self.buffer.split(b"\0", 1)
        return message + b"\0"

    def answer(self):
        """What ndc waits for: lines up to the first with a code from 200 to 599."""
        lines = []
        while not lines or not 200 <= int(lines[-1][:3]) < 600:
            message = self.read()
            if message is None:
                raise ConnectionResetError("the daemon closed the connection")
            (self.broadcasts if message[:1] == b"6" else lines).append(message)
        return lines

    def ask(self, request):
        self.send(request.encode() + b"\0")
        return self.answer()

    def told(self, until, seconds=WAIT):
        """Broadcasts so far; waits for the one that is `until`."""
        deadline = time.monotonic() + seconds
        while until not in self.broadcasts:
            left = deadline - time.monotonic()
            if left <= 0:
                break
            self.socket.settimeout(left)
            try:
                self.broadcasts.append(self.read())
            except TimeoutError:
                break
            finally:
                self.socket.settimeout(WAIT)
        return self.broadcasts


@pytest.fixture(scope="module")
def namespace():
    ns = Links()
    ns.add_link("eth0", MAC0, "10.0.0.2/24", "fd00::2/64")
    ns.add_link("eth1", MAC1, "10.0.1.2/24")
    ns.ip("tuntap add tun0 mode tun", "link add eth2 type veth peer name eth2p")
    yield ns
    ns.close()


@pytest.fixture(scope="module")
def daemon(namespace):
    d = Daemon(namespace, "--no-host-networks")
    try:
        yield d.start()
    finally:
        d.close()


@pytest.fixture
def client(daemon):
    """Connected to a daemon that has no networks but the built-in ones, and accepted: what is told from now
    on it hears."""
    with Client(daemon) as c:
        assert c.ask("1 network") == [b"500 1 Missing argument\0"]
        yield c
    with Client(daemon) as c:
        reset(daemon, c)


def reset(daemon, c):
    for line in reversed(legacy_routes(daemon)):
        system, dst, *rest = line
        hop = " " + rest[rest.index("via") + 1] if "via" in rest else ""
        uid, dev = 0 if system == "system" else 20000, rest[rest.index("dev") + 1]
        for netid in (100, 101, 102):
            c.ask(f"0 network route legacy {uid} remove {netid} {dev} {dst}{hop}")
    c.ask("0 network default clear")
    for name in ("eth0", "eth1", "eth2", "lo"):
        c.ask(f"0 network interface remove local {name}")
    for netid in (1, 2, 8, 50, 100, 101, 102, 103, 65535):
        c.ask(f"0 network destroy {netid}")


def legacy_routes(daemon):
    """[system|network, dst, …] of the state file."""
    routes = []
    for line in daemon.state().splitlines():
        words = line.split()
        if words[:2] == ["legacy", "yes"]:
            routes.append(words[2:])
        elif words[:2] == ["legacy", "no"]:
            routes.remove(words[2:])
    return routes


# Two physical networks and a VPN, with an interface each.
SETUP = (
    "network create 100",
    "network create 101",
    "network create 102 vpn 1 1",
    "network interface add 100 eth0",
    "network interface add 101 eth1",
)


def check(client, rows, setup=()):
    """Rows of request and answer, `{}` is the sequence number."""
    for line in setup:
        assert client.ask("1 " + line) == [b"200 1 success\0"], line
    for seq, (request, *answer) in enumerate(rows, 2):
        expected = [text.format(seq).encode() + b"\0" for text in answer]
        assert client.ask(f"{seq} {request}") == expected, request
