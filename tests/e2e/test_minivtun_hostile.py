# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark-minivtun among those that mean no good, and among very many.

A million datagrams are damaged, 20 ways, from seeds; COUNT of them per test. Who is attacked stays up,
does not grow, tells nobody what is not his, and serves its clients as before.
"""

import resource
import selectors
import socket
import struct
import subprocess
import time

import pytest

from harness import in_namespace, wait_for
from library import PROGRAMS
from minivtun_fixture import (FAR, FAR6, IN_FAR, IN_FAR6, IN_NEAR, IN_NEAR6, NEAR, PASSWORD, PORT, Wire,
                              listening, reaches)
from minivtun_peer import (DISCONNECT, ECHO, ECHO_ACK, ECHO_REQ, IPDATA, Client, Codec, Server, Tun,
                           data_body, packed, packet_of, payload_of, udp_packet)
from netd_fixture import sanitized

STORM = PROGRAMS / "minivtun-storm"
ROUND = 50000 if sanitized() else 200000  # five tests of one round make a million
MEMORY = 8 << 10  # KiB that it may grow by
WAIT = 300
CLIENTS = 1000


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def icmp_echo(source, destination):
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 1, 0, packed(source), packed(destination))
    body = bytes.fromhex("0800f7fd00010001")
    total = sum(struct.unpack(">10H", head))
    total = (total & 0xFFFF) + (total >> 16)
    return head[:10] + struct.pack(">H", ~total & 0xFFFF) + head[12:] + body


def templates(codec, first, tap=False):
    """Messages of every kind, `first` first."""
    echo = ECHO.pack(packed("10.7.0.66"), packed("fd07::66"), 0x12345678)
    packets = [udp_packet("10.7.0.66", IN_FAR, bytes(40)), udp_packet("fd07::66", IN_FAR6, bytes(9)),
               udp_packet("10.7.0.67", IN_NEAR, bytes(1000)), udp_packet("fd07::67", IN_NEAR6, b"x"),
               icmp_echo("10.7.0.66", IN_FAR), icmp_echo(IN_FAR, IN_NEAR),
               tcp_like("10.7.0.66", IN_FAR), tcp_like(IN_FAR, IN_NEAR)]
    if tap:
        packets = [bytes(6) + b"\2\0\0\0\0\1" + b"\x08\0" + p for p in packets]
    bodies = [(ECHO_REQ, echo), (ECHO_ACK, echo), (DISCONNECT, b""), (DISCONNECT, echo)]
    bodies += [(IPDATA, data_body(p, tap)) for p in packets]
    datagrams = [first] + [codec.pack(opcode, i, body) for i, (opcode, body) in enumerate(bodies)]
    return b"".join(struct.pack(">H", len(d)) + d for d in datagrams)


def tcp_like(source, destination):
    """A segment that could be coalesced with the next one."""
    head = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 540, 1, 0x4000, 64, 6, 0, packed(source),
                       packed(destination))
    return head + struct.pack(">HHIIBBHHH", 5, 9, 1, 1, 0x50, 0x10, 1000, 0, 0) + bytes(500)


def storm(namespace, data, target, source, *flags, count=ROUND, seed=1):
    """(sent, answers, wrong ones)."""
    command = [STORM, str(count), str(seed), target[0], str(target[1]), source[0], str(source[1]), *flags]
    done = namespace.run(command, input=data, text=False, check=False, timeout=WAIT)
    assert done.returncode == 0, done
    return tuple(map(int, done.stdout.split()))


def test_the_storm_knows_a_wrong_answer(wire):
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec()))
    first = Codec().pack(ECHO_REQ, 1, ECHO.pack(bytes(4), bytes(16), 1))
    data = templates(Codec(), first)
    sent, answers, wrong = storm(wire.near, data, (FAR, PORT), (NEAR, 0), "clear", count=2000)
    assert sent == 2000 and answers > 30 and not wrong
    assert {m.opcode for m in server.seen} >= {ECHO_REQ, IPDATA, DISCONNECT, ECHO_ACK}
    assert len(server.refused) > 100
    server.wrong_id = True
    assert storm(wire.near, data, (FAR, PORT), (NEAR, 0), "clear", count=500)[2] > 5


@pytest.mark.parametrize("password, tap, address, source", [
    ("", False, FAR, NEAR), (PASSWORD, False, FAR6, "::"), ("", True, FAR, NEAR)])
def test_a_server_in_the_storm(wire, password, tap, address, source):
    codec = Codec(password)
    server = wire.server(*["-E"] * tap, password=password, address=address)
    friend = wire.keep(Client(wire.near, (address, PORT), codec, ("10.7.0.99", "fd07::99"), tap=tap,
                              keepalive=0.2))
    friend.ask()
    first = codec.pack(ECHO_REQ, 1, ECHO.pack(bytes(4), bytes(16), 7))
    data = templates(codec, first, tap)
    flags = () if password else ("clear",)
    # its tables are as large as they become, and all its code has been needed once
    assert storm(wire.near, data, (address, PORT), (source, 0), *flags, count=ROUND // 4)[2] == 0
    before = server.memory()
    sent, answers, wrong = storm(wire.near, data, (address, PORT), (source, 0), *flags, seed=2)
    assert sent == ROUND and answers > ROUND // 64 and not wrong
    assert not server.ended(), server.log
    if not sanitized():
        assert server.memory() - before < MEMORY
    friend.ask()
    # but what a TAP tells to all
    assert all(m.opcode == ECHO_ACK or tap and packet_of(m.body, tap)[0] & 1 for m in friend.seen)
    assert not friend.refused


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_a_client_in_the_storm(wire, password):
    """The one that storms has the server's address: a client hears nobody else."""
    codec = Codec(password)
    tun = Tun(wire.far, "tun0", f"{IN_FAR}/24", f"{IN_FAR6}/64")
    server = Server(wire.far, (FAR, PORT), codec, tun)
    client = wire.client("-K", "1", "-R", "600", password=password)
    with listening(wire.near, IN_NEAR):
        wait_for("a way", lambda: reaches(wire.far, IN_NEAR))
    address = server.wait(ECHO_REQ).address
    server.close()
    data = templates(codec, codec.pack(IPDATA, 1, data_body(icmp_echo(IN_FAR, IN_NEAR))))
    flags = () if password else ("clear",)
    storm(wire.far, data, address, (FAR, PORT), *flags, count=ROUND // 4)
    before = client.memory()
    sent, answers, wrong = storm(wire.far, data, address, (FAR, PORT), *flags, seed=3)
    assert sent == ROUND and answers > ROUND // 64 and not wrong
    assert not client.ended(), client.log
    if not sanitized():
        assert client.memory() - before < MEMORY
    tun = Tun(wire.far, "tun0", f"{IN_FAR}/24", f"{IN_FAR6}/64")
    wire.keep(Server(wire.far, (FAR, PORT), codec, tun))
    with listening(wire.far, IN_FAR):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR))


def test_a_client_hears_nobody_but_its_server(wire):
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    wire.client("-K", "1")
    address = server.wait(ECHO_REQ).address
    with in_namespace(wire.near, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((IN_NEAR, 9))
        sock.settimeout(20)
        # also not the one at another port or address
        for source in ((FAR, 1415), ("192.0.2.4", PORT)):
            stranger = in_namespace(wire.far, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            stranger.bind(source)
            stranger.sendto(server.codec.pack(IPDATA, 1, data_body(
                udp_packet(IN_FAR, IN_NEAR, b"from a stranger"))), (NEAR, address[1]))
            stranger.close()
        server.send_to(address, IPDATA, data_body(udp_packet(IN_FAR, IN_NEAR, b"from the server")))
        assert sock.recv(100) == b"from the server"


# Many


class Crowd:
    """A thousand clients: a socket and a virtual address each, in one thread."""

    def __init__(self, namespace, server, codec, count):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
        self.server, self.codec = server, codec
        self.sockets = in_namespace(namespace, lambda: [
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) for _ in range(count)])
        self.selector = selectors.DefaultSelector()
        for i, sock in enumerate(self.sockets):
            sock.connect(server)
            self.selector.register(sock, selectors.EVENT_READ, i)

    @staticmethod
    def virtual(i):
        return f"10.7.{1 + i // 250}.{1 + i % 250}"

    def listen(self, seconds=0.2):
        """(client, message) of what comes until nothing does."""
        while ready := self.selector.select(seconds):
            for key, _ in ready:
                message = self.codec.unpack(key.fileobj.recv(9000))
                assert message, "no message"
                yield key.data, message

    def everybody(self, opcode, body, has):
        """Each client sends body(i) until has(i, message) of what it got."""
        waiting = set(range(len(self.sockets)))
        deadline = time.monotonic() + WAIT
        while waiting:
            assert time.monotonic() < deadline, f"{len(waiting)} wait in vain"
            for n, i in enumerate(sorted(waiting)):
                self.sockets[i].send(self.codec.pack(opcode, n, body(i)))
                if n % 50 == 49:
                    waiting -= {j for j, message in self.listen(0) if has(j, message)}
            waiting -= {j for j, message in self.listen() if has(j, message)}

    def close(self):
        self.selector.close()
        for sock in self.sockets:
            sock.close()


def test_a_thousand_clients(wire):
    server = wire.server("-R", "600", inner=("10.7.0.1",))
    wire.far.ip("addr add 10.7.0.1/16 dev srv0")
    crowd = wire.keep(Crowd(wire.near, (FAR, PORT), Codec(PASSWORD), CLIENTS))

    def echo(i):
        return ECHO.pack(packed(crowd.virtual(i)), bytes(16), i)

    crowd.everybody(ECHO_REQ, echo, lambda i, m: m.opcode == ECHO_ACK and m.body[:24] == echo(i))
    before = server.memory()

    def is_told(i, message):
        return payload_of(packet_of(message.body)) == b"you are %d" % i

    # each is told its own number, and nobody another one's
    with in_namespace(wire.far, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((IN_FAR, 9))
        told = set()

        def tell():
            for i in set(range(CLIENTS)) - told:
                sock.sendto(b"you are %d" % i, (crowd.virtual(i), 9))
                if i % 50 == 49:
                    hear()
            hear()
            return len(told) == CLIENTS

        def hear():
            for i, message in crowd.listen(0.05):
                if message.opcode == IPDATA:
                    assert is_told(i, message)
                    told.add(i)

        wait_for("all to be told", tell, WAIT)

    # and each is answered what it asks
    with listening_udp(wire.far, IN_FAR):
        def ask(i):
            return data_body(udp_packet(crowd.virtual(i), IN_FAR, b"I am %d" % i, (9, 10)))

        def answer(i, message):
            if message.opcode == ECHO_ACK or is_told(i, message):  # to what was said twice, and late
                return False
            assert message.opcode == IPDATA
            assert payload_of(packet_of(message.body)) == b"I am %d" % i
            return True

        crowd.everybody(IPDATA, ask, answer)
    assert not server.ended()
    if not sanitized():
        assert server.memory() - before < MEMORY


class listening_udp:
    """Sends back what it gets, in a process of its own."""

    def __init__(self, namespace, address):
        self.process = namespace.popen(["/usr/bin/python3", "-c", (
            "import socket\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)\n"
            f"s.bind(('{address}', 10))\n"
            "print('here', flush=True)\n"
            "while True:\n"
            "    s.sendto(*s.recvfrom(9000))\n")], stdout=subprocess.PIPE)

    def __enter__(self):
        assert self.process.stdout.readline() == b"here\n"

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
