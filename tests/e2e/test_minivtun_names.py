# SPDX-License-Identifier: LGPL-2.1-or-later
"""How waymark-minivtun finds its server: by a hosts file, by DNS, again and again."""

import socket
import struct
import threading
import time

import pytest

from harness import in_namespace, wait_for
from minivtun_fixture import FAR, FAR6, PASSWORD, PORT, Engine, Wire, endpoint
from minivtun_peer import ECHO_REQ, Codec, Server, packed

SECOND = "192.0.2.4"


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def server_at(wire, address):
    return wire.keep(Server(wire.far, (address, PORT), Codec(PASSWORD)))


def hosts(folder, **names):
    """An /etc whose only source of names is a file."""
    (folder / "nsswitch.conf").write_text("hosts: files\npasswd: files\ngroup: files\n")
    (folder / "passwd").write_text("root:x:0:0::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n")
    (folder / "group").write_text("root:x:0:\nnogroup:x:65534:\n")
    lines = [f"{address} {name}.example\n" for name, address in names.items()]
    (folder / "hosts+").write_text("".join(lines))
    (folder / "hosts+").rename(folder / "hosts")
    folder.chmod(0o755)
    return folder


@pytest.mark.parametrize("second", ["192.0.2.4", FAR6])
def test_the_name_is_resolved_again(wire, tmp_path, second):
    etc = hosts(tmp_path, server=FAR)
    first = server_at(wire, FAR)
    other = server_at(wire, second)
    wire.client("-K", "1", "-R", "3", address="server.example", etc=etc)
    first.wait(ECHO_REQ)
    hosts(tmp_path, server=second)
    since = time.monotonic()
    wait_for("two more rounds", lambda: len(first.all(ECHO_REQ, since)) >= 2)
    assert not other.seen  # who is answered stays
    first.answers = False
    assert other.wait(ECHO_REQ)


def test_waiting_for_dns(wire, tmp_path):
    etc = hosts(tmp_path, another=FAR)
    hasty = wire.keep(Engine(wire.near, "-r", endpoint("server.example"), "-n", "cli0", "-e", PASSWORD, etc=etc))
    wait_for("its end", hasty.ended)
    assert hasty.process.returncode == 1
    server = server_at(wire, FAR)
    client = wire.client("-w", "-K", "1", "-R", "2", address="server.example", etc=etc)
    time.sleep(1)
    assert not client.ended()
    hosts(tmp_path, server=FAR)
    assert server.wait(ECHO_REQ)


def test_the_second_address_when_the_first_one_does_not_answer(wire, tmp_path):
    etc = hosts(tmp_path, server=FAR)
    (tmp_path / "hosts").write_text(f"{FAR} server.example\n{SECOND} server.example\n")
    servers = [server_at(wire, FAR), server_at(wire, SECOND)]
    for server in servers:
        server.answers = False
    wire.client("-K", "1", "-R", "2", address="server.example", etc=etc)
    wait_for("both to be asked", lambda: all(server.seen for server in servers))


class Names:
    """A DNS server in a namespace: answers with `records`, or not at all."""

    def __init__(self, namespace, address, records):
        self.records, self.answers, self.questions = records, True, []
        self.sock = in_namespace(namespace, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        self.sock.bind((address, 53))
        self.stopping = False
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self):
        while True:
            question, client = self.sock.recvfrom(2048)
            if self.stopping:
                return
            end = question.index(0, 12)
            kind, = struct.unpack_from(">H", question, end + 1)
            name = b".".join(self._labels(question[12:end])).decode().lower()
            self.questions.append((name, kind))
            if self.answers:
                self.sock.sendto(self._answer(question[:end + 5], name, kind), client)

    @staticmethod
    def _labels(data):
        while data:
            yield data[1:1 + data[0]]
            data = data[1 + data[0]:]

    def _answer(self, question, name, kind):
        addresses = [packed(a) for a in self.records.get(name, ())
                     if kind == (28 if ":" in a else 1)]
        flags = 0x8180 | (0 if name in self.records else 3)
        rows = b"".join(struct.pack(">HHHIH", 0xC00C, kind, 1, 1, len(a)) + a for a in addresses)
        return question[:2] + struct.pack(">5H", flags, 1, len(addresses), 0, 0) + question[12:] + rows

    def close(self):
        self.stopping = True
        self.sock.sendto(bytes(20), self.sock.getsockname())  # to itself: there is something to read
        self.thread.join(timeout=5)
        self.sock.close()


def dns(folder, *servers):
    """An /etc that asks these."""
    hosts(folder)
    (folder / "nsswitch.conf").write_text("hosts: files dns\npasswd: files\ngroup: files\n")
    (folder / "resolv.conf").write_text("".join(f"nameserver {s}\n" for s in servers) +
                                        "options timeout:1 attempts:2\n")
    return folder


def test_by_dns_and_by_dns_again(wire, tmp_path):
    names = wire.keep(Names(wire.far, SECOND, {"server.example": [FAR]}))
    first, other = server_at(wire, FAR), server_at(wire, FAR6)
    wire.client("-K", "1", "-R", "3", address="server.example", etc=dns(tmp_path, SECOND))
    first.wait(ECHO_REQ)
    names.records = {"server.example": [FAR6]}
    first.answers = False
    assert other.wait(ECHO_REQ)


def test_a_name_server_that_comes_late(wire, tmp_path):
    """Meanwhile the client can be told to end; and it is not told that the name does not exist."""
    names = wire.keep(Names(wire.far, SECOND, {"server.example": [FAR]}))
    names.answers = False
    server = server_at(wire, FAR)
    etc = dns(tmp_path, SECOND)
    impatient = wire.client("-w", "-K", "1", address="server.example", etc=etc)
    wait_for("a question", lambda: names.questions)
    since = time.monotonic()
    assert impatient.stop() == 0
    assert time.monotonic() - since < 5
    wire.client("-w", "-K", "1", "-R", "3", address="server.example", etc=etc)
    count = len(names.questions)
    wait_for("another question", lambda: len(names.questions) > count)
    names.answers = True
    assert server.wait(ECHO_REQ)


def test_a_dead_tunnel_and_dead_dns(wire, tmp_path):
    """Both come back, and so does the client."""
    names = wire.keep(Names(wire.far, SECOND, {"server.example": [FAR]}))
    server = server_at(wire, FAR)
    wire.client("-K", "1", "-R", "2", address="server.example", etc=dns(tmp_path, SECOND))
    server.wait(ECHO_REQ)
    names.answers = server.answers = False
    count = len(names.questions)
    wait_for("the name to be asked again", lambda: len(names.questions) > count)
    server.answers = names.answers = True
    since = time.monotonic()
    server.wait(ECHO_REQ, since=since)
