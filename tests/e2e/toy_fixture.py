# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/toyvpn.c, as the tests run it: a client on a machine with two uplinks, and a server on the
router behind them, each with a waymarkd of its own."""

import contextlib
import select
import signal
import socket
import struct
import subprocess
import time

import pytest

from harness import PORT, SERVER4, WAIT, Instance, check_sanitizers, wait_for
from library import BUILD, environment

USER, OTHER = 3001, 3002
TOY, UDP = 5555, 17
INSIDE, OUTSIDE = "10.9.0.1", "10.0.0.1"  # the server: in the tunnel, and on the way there


class Toy:
    """The program. Its standard output is read; what it complains of is `err` when it has ended."""

    def __init__(self, daemon, *words, uid=USER):
        self.process = daemon.machine.popen(
            [str(w) for w in (BUILD / "examples/toyvpn", *words)], uid=uid, enter=daemon.enter,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment(daemon))
        self.err = ""

    def up(self):
        """Until it is; the interface."""
        line = self.process.stdout.readline()
        assert line.endswith(" is up\n"), line + self.process.stderr.read()
        return line.split()[0]

    def end(self, how=signal.SIGTERM):
        """Its exit code."""
        if how:
            self.process.send_signal(how)
        _, self.err = self.process.communicate(timeout=WAIT)
        check_sanitizers(self.err)
        return self.process.returncode

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@contextlib.contextmanager
def toy(daemon, *words, **options):
    program = Toy(daemon, *words, **options)
    try:
        yield program
    finally:
        program.close()


def consent(daemon, uid=USER):
    daemon.ok("vpn", "consent", f"uid:{uid}")


@pytest.fixture(name="remote")
def other_machine(machine):
    """The daemon of the server, with the server on it."""
    machine.router.ip("route add default dev up0")  # a machine that is on the internet
    instance = Instance(machine.router)
    try:
        instance.start()
        # its client asks for other addresses of that machine, too
        instance.ok("vpn", "add", "toy", "--owner", f"uid:{USER}", "--forward")
        with toy(instance, "server", "toy", INSIDE, TOY) as server:
            server.up()
            yield instance
    finally:
        instance.close()


def vpn(daemon):
    """What is shown of it; None: it is not there."""
    return {v["name"]: v for v in daemon.json("vpn", "list")["vpns"]}.get("toy")


def ping(address):
    """One ping of this user's, without any privilege."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP) as sock:
        sock.settimeout(WAIT)
        sock.sendto(b"\x08\0\0\0\0\0\0\1toy", (address, 0))
        return sock.recvfrom(200)[1][0]


def bulk(address, size):
    """What comes back, in bytes, of a stream to a server that returns it."""
    with socket.create_connection((address, PORT + 1), timeout=WAIT) as sock:
        sent = received = 0
        while received < size:
            if sent < size:
                sent += sock.send(b"x" * min(65536, size - sent))
            received += len(sock.recv(65536))
        return received


def serve_bulk():
    with socket.create_server((SERVER4, PORT + 1)) as server:
        peer, _ = server.accept()
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data)


def leaks(capture):
    """What left by an uplink and is neither the tunnel's nor the kernel's own (MLD, router solicitation)."""
    return [(name, source, to, protocol) for name, source, to, protocol in capture.packets()
            if name.startswith("eth") and (to, protocol) != (OUTSIDE, UDP)
            and not (source.startswith("fe80:") and to in ("ff02::2", "ff02::16"))]


def stream(address, stop):
    """Writes to a server that returns it, as fast as it goes, until `stop` can be read. How many bytes
    came back, the longest time without one, in s, and how many segments were sent again."""
    with socket.create_connection((address, PORT + 1), timeout=WAIT) as sock:
        sock.setblocking(False)
        sent = received = 0
        gap, last = 0.0, time.monotonic()
        while received < sent or not select.select([stop], [], [], 0)[0]:
            full = sent - received > 1 << 20 or select.select([stop], [], [], 0)[0]
            readable, writable, _ = select.select([sock], [] if full else [sock], [], WAIT)
            assert readable or writable, "the stream is stuck"
            if writable:
                sent += sock.send(b"x" * 65536)
            if readable:
                received += len(sock.recv(65536))
                now = time.monotonic()
                gap, last = max(gap, now - last), now
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
        return received, gap, struct.unpack_from("I", info, 100)[0]  # tcpi_total_retrans


@contextlib.contextmanager
def streaming(machine, uid=USER):
    """A stream of this user's through the tunnel, there and back. The list gets its result."""
    server = machine.router.start_call(serve_bulk, seconds=WAIT * 20)
    wait_for("the server",
             lambda: machine.router.run(["ss", "-Hltn", f"sport = {PORT + 1}"]).stdout)
    ours, theirs = socket.socketpair()
    result = []
    with theirs, ours:
        client = machine.start_call(stream, SERVER4, theirs, uid=uid, seconds=WAIT * 20)
        wait_for("the stream", lambda: "bytes_received:" in machine.router.run(
            ["ss", "-Htin", f"sport = {PORT + 1}"]).stdout)
        yield result
        ours.send(b".")
        result.extend(client.result())
    server.result()
