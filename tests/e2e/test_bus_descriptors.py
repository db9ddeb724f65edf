# SPDX-License-Identifier: LGPL-2.1-or-later
"""Descriptors that come over D-Bus. Whoever may talk to the daemon may send it any, also a socket with
SO_LINGER whose last descriptor this is: close() then waits for its data to be sent, minutes if he likes.
The daemon does not wait with it."""

import array
import contextlib
import signal
import socket
import struct
import time

import pytest

from broker_fixture import Broker
from dbus_peer import CALL, MANAGER, PATH, connect, message
from harness import Accounts, Instance, wait_for

MALLORY = 5001
PATIENCE = 15  # seconds, of the minute that each of the sockets would take
GET = {"path": PATH, "interface": MANAGER, "member": "GetNetwork"}
WHOLE = message(CALL, 9, GET, "s", "eth0")
BYTES = {
    "a call": WHOLE,
    "half a call": WHOLE[:-20],
    "a call that is not authenticated": WHOLE,
    "no call": b"\xff" * 64,
    "a byte": b"l",
}


class Lingering:
    """Sockets that close() waits a minute for: with data that nobody reads."""

    def __init__(self, n=4):
        self.ours, self.theirs = [], []
        with socket.create_server(("127.0.0.1", 0)) as server:
            for _ in range(n):
                sock = socket.create_connection(server.getsockname())
                self.ours.append(sock)
                self.theirs.append(server.accept()[0])
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
                sock.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    while True:
                        sock.send(bytes(65536))

    def leave(self):
        """Those in messages are the last ones, then; closing ours does not wait."""
        for sock in self.ours:
            sock.close()
        self.ours = []

    def close(self):
        for sock in self.ours:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
        for sock in self.ours + self.theirs:
            sock.close()


def send_with(sock, data, fds):
    sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                           array.array("i", [fd.fileno() for fd in fds]))])


def greet(path, uid, negotiate=True):
    sock = connect(path, uid)
    sock.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
    assert sock.recv(1000).startswith(b"OK ")
    if negotiate:
        sock.sendall(b"NEGOTIATE_UNIX_FD\r\n")
        sock.recv(1000)
    sock.sendall(b"BEGIN\r\n")
    return sock


def receive_until(sock, what):
    data = b""
    while what not in data:
        more = sock.recv(65536)
        assert more, f"hung up after {data}"
        data += more
    return data


def is_served_soon(daemon):
    since = time.monotonic()
    daemon.ok("default", uid=5002)
    assert time.monotonic() - since < PATIENCE


@pytest.mark.parametrize("kind", BYTES)
def test_on_our_own_socket(daemon, kind):
    """They come while the daemon looks elsewhere; then their sender is gone."""
    daemon.ok("default")
    files = daemon.idle_files()
    lingering = Lingering()
    sock = connect(daemon.socket, MALLORY) if "not" in kind else greet(daemon.socket, MALLORY)
    wait_for("it to be accepted", lambda: daemon.open_files() > files)
    daemon.process.send_signal(signal.SIGSTOP)
    send_with(sock, BYTES[kind], lingering.ours)
    lingering.leave()
    sock.close()
    daemon.process.send_signal(signal.SIGCONT)
    is_served_soon(daemon)
    wait_for("all to be closed", lambda: daemon.open_files() <= files)
    lingering.close()


def test_before_they_are_accepted(daemon):
    """Also those that find no place, and those who only ask whose name @waymarkd is."""
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            stack.enter_context(connect(daemon.socket, MALLORY))
        daemon.ok("default")
        lingering = [stack.enter_context(contextlib.closing(Lingering(2))) for _ in range(6)]
        daemon.process.send_signal(signal.SIGSTOP)
        for left in lingering[:3]:
            with connect(daemon.socket, MALLORY) as sock:
                send_with(sock, b"x", left.ours)
            left.leave()
        for left in lingering[3:]:
            daemon.machine.call(ask_for_name, [sock.fileno() for sock in left.ours], uid=MALLORY)
            left.leave()
        daemon.process.send_signal(signal.SIGCONT)
        is_served_soon(daemon)


def ask_for_name(fds):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect("\0waymarkd")
        socket.send_fds(sock, [b"x"], fds)


def test_the_end_of_the_daemon_waits_for_nobody(daemon):
    """What is in its sockets goes with it."""
    with contextlib.closing(Lingering()) as lingering:
        sock = connect(daemon.socket, MALLORY)
        daemon.ok("default")
        daemon.process.send_signal(signal.SIGSTOP)
        for there in (sock, connect(daemon.socket, 5002)):
            send_with(there, b"x", lingering.ours)
            there.close()
        lingering.leave()
        since = time.monotonic()
        daemon.process.send_signal(signal.SIGTERM)
        daemon.process.send_signal(signal.SIGCONT)
        daemon.process.wait(PATIENCE)
        assert time.monotonic() - since < PATIENCE


@pytest.fixture(name="broker")
def make_broker(machine):
    """A daemon on a system bus."""
    daemon = Instance(machine)
    accounts = Accounts(daemon)
    accounts.write({"mallory": (MALLORY, MALLORY)})
    broker = Broker(accounts)
    daemon.env = broker.env
    try:
        daemon.start()
        broker.wait_owner()
        yield daemon, broker
    finally:
        broker.close()
        daemon.close()


def test_the_broker_is_not_to_forward_any(broker):
    """It would, to who has agreed to get some. (Were they the last ones, it would itself wait for them.)"""
    daemon, broker = broker
    with contextlib.closing(greet(broker.path, MALLORY)) as sock, \
            contextlib.closing(Lingering(1)) as lingering:
        hello = {"path": "/org/freedesktop/DBus", "interface": "org.freedesktop.DBus",
                 "member": "Hello", "destination": "org.freedesktop.DBus"}
        sock.settimeout(PATIENCE)
        sock.sendall(message(CALL, 1, hello))
        # while it reads what ends with BEGIN it takes no descriptors, and hangs up on who lost some
        receive_until(sock, b"NameAcquired")
        fields = GET | {"destination": "org.waymark1", "unix_fds": 1}
        send_with(sock, message(CALL, 2, fields, "s", "eth0"), lingering.ours)
        answer = receive_until(sock, b"org.freedesktop.DBus.Error.NotSupported")
        assert b"/org/waymark1/network/" not in answer
        is_served_soon(daemon)
