# SPDX-License-Identifier: LGPL-2.1-or-later
"""Much through waymark-minivtun: with and without its offloads, and over links that lose, repeat and
reorder. What comes out is compared byte by byte; how fast is not asked here (bench/bench-minivtun is for that).
"""

import collections
import contextlib
import heapq
import random
import selectors
import socket
import struct
import threading
import time

import pytest

from harness import WAIT, in_namespace, wait_for
from minivtun_fixture import (FAR, IN_FAR, IN_FAR6, IN_NEAR, IN_NEAR6, PASSWORD, PORT, Wire, listening,
                              reaches, there_and_back)
from minivtun_peer import (IPDATA, SO_RCVBUFFORCE, SO_SNDBUFFORCE, Client, Codec, Server, Tun, packet_of,
                           payload_of)
from netd_fixture import sanitized

SIZE = 2000000 if sanitized() else 20000000
UDP_SEGMENT = 103
PLAIN = ["--no-offload", "--no-batch"]
MODES = {"offloads": [], "no-offload": PLAIN[:1], "no-batch": PLAIN[1:], "neither": PLAIN}


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def pair(wire, near=(), far=(), **more):
    """Both ends ours, and a way through."""
    server = wire.server(*far, **more)
    client = wire.client(*near, **more)
    with listening(wire.far, IN_FAR, 7001):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR, 7001))
    return client, server


def both_ways(wire, size, streams=1):
    """That many bytes to each side and back, in both families, some at the same time."""
    for client, server, address in ((wire.near, wire.far, IN_FAR), (wire.far, wire.near, IN_NEAR),
                                    (wire.near, wire.far, IN_FAR6)):
        with listening(server, address):
            calls = [client.start_call(there_and_back, address, size // streams, 7000, i, seconds=WAIT * 10)
                     for i in range(streams)]
            assert all([call.result() for call in calls])


@pytest.mark.parametrize("near, far", [(mode, mode) for mode in MODES] + [
    ("offloads", "neither"), ("neither", "offloads"), ("no-offload", "no-batch")])
def test_bulk(wire, near, far):
    pair(wire, MODES[near], MODES[far])
    both_ways(wire, SIZE if near == far else SIZE // 10)


@pytest.mark.parametrize("mode", ["offloads", "neither"])
def test_eight_streams(wire, mode):
    pair(wire, MODES[mode], MODES[mode])
    both_ways(wire, SIZE // 2, streams=8)


@pytest.mark.parametrize("options", [["-m", "1280"], ["-m", "1411"], ["-m", "1500"], ["-m", "4000"],
                                     ["-m", "8100"], ["-E"], ["-t", "aes-256"]],
                         ids=" ".join)
def test_bulk_in_other_sizes(wire, options):
    """What is segmented has its odd ends; a datagram larger than the wire's 1500 is in fragments."""
    pair(wire, options, options)
    both_ways(wire, SIZE // 10)


@pytest.mark.parametrize("cipher", ["", "aes-128", "rc4", "des"])
@pytest.mark.parametrize("ours", ["client", "server"])
def test_bulk_with_the_other_implementation(wire, ours, cipher):
    """It has no offloads: each packet has to be complete, its checksum among the rest."""
    codec = Codec(PASSWORD if cipher else "", cipher or "aes-128")
    more = {"password": PASSWORD if cipher else ""}
    options = ["-t", cipher] if cipher else []
    if ours == "client":
        wire.keep(Server(wire.far, (FAR, PORT), codec, Tun(wire.far, "tun0", f"{IN_FAR}/24", f"{IN_FAR6}/64")))
        wire.client(*options, **more)
    else:
        wire.server(*options, **more)
        wire.keep(Client(wire.near, (FAR, PORT), codec, (IN_NEAR, IN_NEAR6),
                         Tun(wire.near, "tun0", f"{IN_NEAR}/24", f"{IN_NEAR6}/64")))
    with listening(wire.far, IN_FAR, 7001):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR, 7001))
    both_ways(wire, 500000)


# Datagrams


def send_all(address, payloads, segment=0):
    """All to port 9; segment: many at once, which the kernel leaves to who sends them in the end."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 4 << 20)
        if segment:
            sock.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, segment)
            each = 60000 // segment
            payloads = [b"".join(payloads[i:i + each]) for i in range(0, len(payloads), each)]
        for payload in payloads:
            sock.sendto(payload, (address, 9))


@contextlib.contextmanager
def hearing(namespace, address):
    """The payloads that come to port 9, as a list that grows."""
    def listen():
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        sock.bind((address, 9))
        sock.settimeout(0.1)
        return sock

    def read():
        while not stopping:
            with contextlib.suppress(TimeoutError):
                heard.append(sock.recv(65536))

    sock, heard, stopping = in_namespace(namespace, listen), [], []
    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield heard
    finally:
        stopping.append(True)
        thread.join(timeout=5)
        sock.close()


def numbered(count, size, seed=1):
    generator = random.Random(seed)
    return [struct.pack(">I", i) + generator.randbytes(size - 4) for i in range(count)]


def numbers_of(payloads):
    """Their numbers: so a failed comparison can be read."""
    return [int.from_bytes(p[:4], "big") for p in payloads]


@pytest.mark.parametrize("address", [IN_FAR, IN_FAR6])
@pytest.mark.parametrize("mode", ["offloads", "neither"])
def test_datagrams_that_the_kernel_segments_late(wire, mode, address):
    """UDP_SEGMENT by the user inside, of equal datagrams and a shorter last one."""
    pair(wire, MODES[mode], MODES[mode])
    payloads = numbered(25, 1000)
    payloads[-1] = payloads[-1][:700]
    with hearing(wire.far, address) as heard:
        for _ in range(4):
            wire.near.call(send_all, address, payloads, 1000)
        wait_for("all to arrive", lambda: len(heard) == 100)
        assert heard == payloads * 4


@pytest.mark.parametrize("address", [IN_FAR, IN_FAR6])
@pytest.mark.parametrize("mode", ["offloads", "neither"])
def test_datagrams_of_all_sizes(wire, mode, address):
    """The largest are in fragments inside the tunnel; the smallest are empty."""
    pair(wire, MODES[mode], MODES[mode])
    payloads = [bytes([i & 0xFF]) * size for i, size in enumerate(
        [0, 1, 2, 3, 16, 20, 21, 1000, 1200, 1231, 1232, 1233, 1251, 1252, 1253, 1272, 1273, 2600, 9000, 60000])]
    with hearing(wire.far, address) as heard:
        for i, payload in enumerate(payloads):
            wire.near.call(send_all, address, [payload])
            wait_for(f"{len(payload)} bytes", lambda n=i: len(heard) > n)
        assert heard == payloads


# Bad links


class Link:
    """Between a client and a server, as a server for the one and a client for the other: what it does to
    each datagram depends on the seed, and on how many came before it, alone."""

    def __init__(self, namespace, listen, server, seed, lose=0.0, repeat=0.0, delay=0.0, span=8, codec=None):
        self.random = {side: random.Random(f"{seed} {side}") for side in ("there", "back")}
        self.lose, self.repeat, self.delay, self.span = lose, repeat, delay, span
        self.server, self.codec, self.client = server, codec, None
        self.late = {side: [] for side in ("there", "back")}  # (when it goes, n, datagram)
        self.heard = {"there": 0.0, "back": 0.0}  # when, last
        self.count = collections.Counter()
        self.passed = []  # payloads on the way there, when there is a codec
        self.sockets = {side: in_namespace(namespace, lambda a=a: self._open(a))
                        for side, a in (("there", listen), ("back", ("0.0.0.0", 0)))}
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @staticmethod
    def _open(address):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        sock.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE, 16 << 20)
        sock.bind(address)
        return sock

    def _run(self):
        selector = selectors.DefaultSelector()
        for side, sock in self.sockets.items():
            selector.register(sock, selectors.EVENT_READ, side)
        while not self.stopping:
            for key, _ in selector.select(0.02):
                self._read(key.data, key.fileobj)
            for side in self.late:  # nothing follows that would push them out
                if time.monotonic() - self.heard[side] > 0.05:
                    self._release(side, float("inf"))
        selector.close()

    def _read(self, side, sock):
        for _ in range(64):
            try:
                datagram, address = sock.recvfrom(9000)
            except OSError:
                return
            if side == "there":
                self.client = address
            self.count[side] += 1
            self.heard[side] = time.monotonic()
            self._fate(side, datagram)

    def _fate(self, side, datagram):
        """Lost, sent, sent twice, or sent after some that come later."""
        lost, again, later, how_much = (self.random[side].random() for _ in range(4))
        now = self.count[side]
        if lost < self.lose:
            self.count["lost"] += 1
        elif later < self.delay:
            heapq.heappush(self.late[side], (now + 1 + int(how_much * self.span), now, datagram))
            self.count["late"] += 1
        else:
            self._send(side, datagram)
            if again < self.repeat:
                self._send(side, datagram)
                self.count["repeated"] += 1
        self._release(side, now)

    def _release(self, side, now):
        while self.late[side] and self.late[side][0][0] <= now:
            self._send(side, heapq.heappop(self.late[side])[2])

    def _send(self, side, datagram):
        if side == "there" and self.codec:
            self._note(self.codec.unpack(datagram))
        to, sock = (self.server, "back") if side == "there" else (self.client, "there")
        with contextlib.suppress(OSError):
            if to:
                self.sockets[sock].sendto(datagram, to)

    def _note(self, message):
        packet = packet_of(message.body) if message and message.opcode == IPDATA else None
        if packet and packet[0] >> 4 == 4 and packet[9] == 17:
            self.passed.append(payload_of(packet))

    def close(self):
        self.stopping = True
        self.thread.join(timeout=5)
        for sock in self.sockets.values():
            sock.close()


def bad_pair(wire, options=(), password=PASSWORD, **badness):
    """Ours at both ends, a link between them."""
    link = wire.keep(Link(wire.far, (FAR, 1500), (FAR, PORT), **badness))
    wire.server(*options, password=password)
    wire.client(*options, port=1500, password=password)
    with listening(wire.far, IN_FAR, 7001):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR, 7001))
    return link


BAD = {"lossy": {"lose": 0.02}, "repeating": {"repeat": 0.2}, "reordering": {"delay": 0.1},
       "all of it": {"lose": 0.01, "repeat": 0.05, "delay": 0.05, "span": 20}}


@pytest.mark.parametrize("mode", ["offloads", "neither"])
@pytest.mark.parametrize("kind", BAD)
def test_tcp_over_a_bad_link(wire, kind, mode):
    link = bad_pair(wire, MODES[mode], seed=7, **BAD[kind])
    with listening(wire.far, IN_FAR):
        assert wire.near.call(there_and_back, IN_FAR, 1000000, seconds=WAIT * 5)
    for what, option in (("lost", "lose"), ("repeated", "repeat"), ("late", "delay")):
        assert bool(link.count[what]) == bool(BAD[kind].get(option)), link.count


@pytest.mark.parametrize("mode", ["offloads", "neither"])
@pytest.mark.parametrize("kind", BAD)
def test_the_tunnel_adds_nothing_to_what_the_link_does(wire, kind, mode):
    """What the link let pass arrives, as often, in that order, and intact."""
    link = bad_pair(wire, MODES[mode], password="", seed=11, codec=Codec(), **BAD[kind])
    payloads = numbered(1500, 200)
    sender = in_namespace(wire.near, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender, hearing(wire.far, IN_FAR) as heard:
        link.passed.clear()
        for i in range(0, len(payloads), 100):  # no queue on the way is to overflow
            sent = link.count["there"]
            for payload in payloads[i:i + 100]:  # of one stream: among several, order is nobody's
                sender.sendto(payload, (IN_FAR, 9))
            wait_for("the link to have them", lambda n=sent: link.count["there"] >= n + 100)
        wait_for("what passed to arrive", lambda: len(heard) >= len(link.passed) >= 1000
                 and not link.late["there"] and time.monotonic() - link.heard["there"] > 0.2)
        passed = [p for p in link.passed if len(p) == 200]
        assert numbers_of(heard) == numbers_of(passed) and heard == passed
    assert heard != payloads and set(heard) <= set(payloads)  # as bad as it should be, and no worse


def test_keepalives_get_lost(wire):
    """A tunnel that is still heard now and then is not dead."""
    link = bad_pair(wire, ["-K", "1", "-R", "20"], seed=3, lose=0.3)
    first = link.client
    count = link.count["there"]
    wait_for("ten rounds", lambda: link.count["there"] > count + 10)
    assert link.client == first
    assert link.count["lost"] > 3
