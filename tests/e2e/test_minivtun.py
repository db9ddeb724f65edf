# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark-minivtun against an implementation that is not ours: each message, each cipher, both sides.

The detector comes first: the other implementation (minivtun_peer.py) against the openssl program, and
its two sides against each other.
"""

import contextlib
import hashlib
import ipaddress
import os
import signal
import socket
import subprocess
import time

import pytest

from harness import in_namespace, wait_for
from minivtun_fixture import (FAR, FAR6, IN_FAR, IN_FAR6, IN_NEAR, IN_NEAR6, NEAR, PASSWORD, PORT, Engine, Wire,
                              listening, reaches, there_and_back)
from minivtun_peer import (CIPHERS, DATA, DISCONNECT, ECHO, ECHO_ACK, ECHO_REQ, ETH_P_IP, HEADER,
                           IPDATA, Client, Codec, Echo, Server, Tun, data_body, packed, packet_of,
                           payload_of, udp_packet)

# As keys of the openssl program: its cipher, the bytes of key and of IV
OPENSSL = {"aes-128": ("aes-128-cbc", 16, 16), "aes-256": ("aes-256-cbc", 32, 16),
           "des": ("des-cbc", 8, 8), "desx": ("desx-cbc", 24, 8), "rc4": ("rc4", 16, 0)}
INNER = [(IN_FAR, IN_NEAR), (IN_FAR6, IN_NEAR6)]


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def python_server(wire, codec, address=FAR, inner=True, **more):
    tun = Tun(wire.far, "tun0", f"{IN_FAR}/24", f"{IN_FAR6}/64", tap=more.get("tap", False)) \
        if inner else None
    return wire.keep(Server(wire.far, (address, PORT), codec, tun, **more))


def python_client(wire, codec, address=FAR, inner=True, **more):
    tun = Tun(wire.near, "tun0", f"{IN_NEAR}/24", f"{IN_NEAR6}/64", tap=more.get("tap", False)) \
        if inner else None
    more = {"virtual": (IN_NEAR, IN_NEAR6)} | more
    return wire.keep(Client(wire.near, (address, PORT), codec, tun=tun, **more))


def passes(wire, size=200000):
    """Bytes go through the tunnel and come back, in both families."""
    for far, _ in INNER:
        with listening(wire.far, far):
            wait_for("a way", lambda address=far: reaches(wire.near, address))
            assert wire.near.call(there_and_back, far, size)


# The detector


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_peer_encrypts_as_openssl_does(cipher):
    name, key, iv = OPENSSL[cipher]
    secret = (hashlib.md5(PASSWORD.encode()).digest() * 2)[:key]
    text = bytes(range(64))
    command = ["openssl", "enc", "-" + name, "-nopad", "-K", secret.hex(), "-provider", "legacy",
               "-provider", "default"]
    command += ["-iv", (bytes.fromhex("abcdef1234567890") * 2)[:iv].hex()] if iv else []
    out = subprocess.run(command, input=text, capture_output=True, check=True).stdout
    codec = Codec(PASSWORD, cipher)
    assert codec.seal(text) == out
    assert codec.cipher.open(out) == text


def test_the_format_byte_by_byte():
    assert Codec().pack(ECHO_REQ, 0x1234, ECHO.pack(packed("10.7.0.2"), packed("fd07::2"), 7)).hex() == (
        "00" "00" "1234" + "00" * 16 + "0a070002" "fd070000000000000000000000000002" "00000007")
    assert Codec().pack(IPDATA, 1, data_body(b"\x45" + bytes(19))).hex() == (
        "01" "00" "0001" + "00" * 16 + "0800" "0014" "45" + "00" * 19)
    md5 = hashlib.md5(b"x").digest()
    sealed = Codec("x", "aes-256").pack(IPDATA, 0, b"abc")
    assert len(sealed) == 32
    assert Codec("x", "aes-256").cipher.open(sealed) == HEADER.pack(1, 0, 0, md5) + b"abc" + bytes(9)
    assert Codec("y", "aes-256").unpack(sealed) is None


@pytest.mark.parametrize("cipher", CIPHERS)
def test_the_peers_understand_each_other(wire, cipher):
    python_server(wire, Codec(PASSWORD, cipher))
    python_client(wire, Codec(PASSWORD, cipher))
    passes(wire, size=20000)


# Every cipher, every family


@pytest.mark.parametrize("cipher", [None, *CIPHERS])
def test_our_client(wire, cipher):
    password = PASSWORD if cipher else ""
    python_server(wire, Codec(password, cipher or "aes-128"))
    wire.client(*(["-t", cipher] if cipher else []), password=password)
    passes(wire)


@pytest.mark.parametrize("cipher", [None, *CIPHERS])
def test_our_server(wire, cipher):
    password = PASSWORD if cipher else ""
    wire.server(*(["-t", cipher] if cipher else []), password=password)
    python_client(wire, Codec(password, cipher or "aes-128"))
    passes(wire)


def test_aes_128_is_what_is_meant_without_a_word(wire):
    python_server(wire, Codec(PASSWORD, "aes-128"))
    wire.client()
    passes(wire, 2000)


def test_outer_ipv6(wire):
    python_server(wire, Codec(PASSWORD), FAR6)
    wire.client(address=FAR6)
    passes(wire)


def test_outer_ipv6_our_server(wire):
    wire.server(address=FAR6)
    python_client(wire, Codec(PASSWORD), FAR6)
    passes(wire)


@pytest.mark.parametrize("address", [FAR, FAR6])
def test_our_client_and_our_server(wire, address):
    wire.server(address=address)
    wire.client(address=address)
    passes(wire, 3000000)


def test_inner_ipv4_alone(wire):
    server = python_server(wire, Codec(PASSWORD))
    wire.client(inner=(IN_NEAR,))
    assert Echo(*ECHO.unpack(server.wait(ECHO_REQ).body[:24])).ip6 == bytes(16)
    with listening(wire.far, IN_FAR):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR))


@pytest.mark.parametrize("ours", ["client", "server"])
def test_tap(wire, ours):
    """Whole Ethernet frames, ARP and neighbour discovery among them."""
    if ours == "client":
        server = python_server(wire, Codec(PASSWORD), tap=True)
        wire.client("-E")
        passes(wire)
        mac = wire.near.show("-o link show cli0")[0].split("link/ether ")[1].split()[0]
        echo = server.wait(ECHO_REQ).body
        assert echo[:6] == bytes.fromhex(mac.replace(":", ""))
    else:
        wire.server("-E")
        python_client(wire, Codec(PASSWORD), tap=True)
        passes(wire)


# The messages of our client


def test_the_first_message_is_an_echo_request(wire):
    server = python_server(wire, Codec(PASSWORD), inner=False)
    wire.client("-K", "1")
    first = server.wait(ECHO_REQ)
    assert server.seen[0] == first
    assert Echo(*ECHO.unpack(first.body[:24]))[:2] == (packed(IN_NEAR), packed(IN_NEAR6))
    assert len(first.body) - 24 == -(20 + 24) % 16  # padding, no more
    assert not any(first.body[24:])
    wait_for("some more", lambda: len(server.all(ECHO_REQ)) >= 6)
    echoes = server.all(ECHO_REQ)
    assert len({ECHO.unpack(e.body[:24])[2] for e in echoes}) == len(echoes)  # ids are not used twice
    assert 0.5 < (echoes[-1].time - echoes[1].time) / (len(echoes) - 2)  # one may be seen late
    assert len({e.address for e in echoes}) == 1
    assert not server.refused


def test_the_sequence_goes_up_by_one_and_starts_anywhere(wire):
    starts = set()
    for _ in range(3):
        server = Server(wire.far, (FAR, PORT), Codec(PASSWORD))
        client = wire.client("-K", "1")
        wait_for("some messages", lambda s=server: len(s.seen) >= 4)
        numbers = [m.seq for m in list(server.seen)]
        assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(numbers))]
        starts.add(numbers[0])
        client.stop()
        server.close()
    assert len(starts) > 1


def test_a_server_that_is_not_there_at_first(wire):
    wire.client("-K", "1", "-R", "2")
    time.sleep(1)  # refused, by ICMP
    python_server(wire, Codec(PASSWORD))
    passes(wire, 2000)


def test_a_dead_server_is_asked_from_a_new_port(wire):
    server = python_server(wire, Codec(PASSWORD))
    wire.client("-K", "1", "-R", "3")
    passes(wire, 2000)
    answered = server.all(ECHO_REQ)[-1]
    server.answers = False
    moved = server.wait(ECHO_REQ, lambda m: m.address != answered.address, answered.time)
    assert moved.time - answered.time > 1.5  # not before its time
    server.answers = True
    passes(wire, 2000)


def test_an_answer_to_another_question_does_not_count(wire):
    server = python_server(wire, Codec(PASSWORD), inner=False)
    server.wrong_id = True
    wire.client("-K", "1", "-R", "3")
    wait_for("a new port", lambda: len({m.address for m in server.all(ECHO_REQ)}) > 1)


def test_answers_keep_it_where_it_is(wire):
    """The opposite of the two above."""
    server = python_server(wire, Codec(PASSWORD), inner=False)
    wire.client("-K", "1", "-R", "6")
    wait_for("more rounds than that", lambda: len(server.all(ECHO_REQ)) >= 9)
    assert len({m.address for m in server.all(ECHO_REQ)}) == 1


def test_another_password_goes_unheard(wire):
    server = python_server(wire, Codec("another one"), inner=False)
    wire.client("-K", "1")
    wait_for("some datagrams", lambda: len(server.refused) >= 2)
    assert not server.seen
    wire.server(password=PASSWORD, address="192.0.2.4")
    stranger = wire.keep(Client(wire.near, ("192.0.2.4", PORT), Codec("another one"), (IN_NEAR,),
                                keepalive=0.05))
    friend = wire.keep(Client(wire.near, ("192.0.2.4", PORT), Codec(PASSWORD), ("10.7.0.3",)))
    friend.ask()
    wait_for("many attempts", lambda: stranger.seq > 20)
    friend.ask()
    assert not stranger.seen and not stranger.refused


def test_a_range_of_ports(wire):
    servers = [wire.keep(Server(wire.far, (FAR, port), Codec(PASSWORD))) for port in (2000, 2001, 2002)]
    wire.client("-K", "1", port="2000-2002")
    wait_for("one of them", lambda: any(s.seen for s in servers))


def test_server_restarts(wire):
    """It has no state that clients would miss."""
    first = wire.server("-K", "1")
    wire.client("-K", "1", "-R", "4")
    passes(wire, 2000)
    first.stop(signal.SIGKILL)
    wait_for("its interface to go", lambda: not wire.far.show("link show srv0"))
    wire.server("-K", "1")
    passes(wire, 2000)


# The tables of our server


def bystander(wire, *virtual, source=None, address=FAR):
    return wire.keep(Client(wire.near, (address, PORT), Codec(PASSWORD), virtual, source=source,
                            keepalive=0))


def speak(wire, to, payload):
    """A UDP packet from the server's machine into its tunnel."""
    def send():
        with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(payload, (to, 9))

    wire.far.call(send)


def hears(wire, client, to, payload=b"are you there?"):
    """What is sent there arrives at this client; asked more than once, for it is UDP."""
    tries = iter(range(10**6))

    def arrived():
        text = payload + b" %d." % next(tries)
        speak(wire, to, text)
        time.sleep(0.02)
        return any(payload in m.body for m in client.all(IPDATA))

    wait_for(f"{to} to be told", arrived)


def test_an_echo_is_answered_with_itself(wire):
    wire.server()
    client = bystander(wire, IN_NEAR, IN_NEAR6)
    answer = client.ask()
    assert answer.body[:20] == packed(IN_NEAR) + packed(IN_NEAR6)
    assert not any(answer.body[24:])
    assert answer.address == (FAR, PORT)
    assert not client.refused


def test_the_servers_sequence_goes_up_by_one(wire):
    wire.server()
    client = bystander(wire, IN_NEAR)
    for _ in range(5):
        client.ask()
    numbers = [m.seq for m in client.seen]
    assert numbers == [(numbers[0] + i) & 0xFFFF for i in range(len(numbers))]


@pytest.mark.parametrize("virtual", [IN_NEAR, IN_NEAR6])
def test_an_echo_binds_the_virtual_address(wire, virtual):
    wire.server()
    client, other = bystander(wire, virtual), bystander(wire, "10.7.0.9", "fd07::9")
    client.ask()
    other.ask()
    hears(wire, client, virtual)
    assert not [m for m in other.all(IPDATA) if b"are you there" in m.body]


@pytest.mark.parametrize("far, near", INNER)
def test_a_packet_binds_it_without_an_echo(wire, far, near):
    wire.server()
    client = bystander(wire)
    with in_namespace(wire.far, lambda: socket.socket(
            socket.AF_INET6 if ":" in far else socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((far, 9))
        sock.settimeout(20)
        client.say(udp_packet(near, far, b"hello"))
        data, source = sock.recvfrom(100)
        assert data == b"hello" and source[:2] == (near, 9)
        sock.sendto(b"welcome", source)
    assert payload_of(packet_of(client.wait_payload(b"welcome").body)) == b"welcome"


@pytest.mark.parametrize("by", ["echo", "packet"])
def test_roaming(wire, by):
    """Another port, then another address: what is for the client comes to where it was heard last."""
    wire.server()
    client = bystander(wire, IN_NEAR)
    for source in (None, "192.0.2.3", NEAR):
        client.move(source)
        if by == "echo":
            client.ask()
        else:
            client.say(udp_packet(IN_NEAR, IN_FAR, b"here I am"))
        hears(wire, client, IN_NEAR, f"at {source}".encode())


@pytest.mark.parametrize("virtual", ["224.0.0.1", "255.255.255.255", "127.0.0.1", "0.0.0.0",
                                     "ff02::1", "::1", "::"])
def test_what_is_no_unicast_address_is_not_bound(wire, virtual):
    wire.server("-v", f"{ipaddress.ip_address(virtual).version == 6 and '2000::/3' or '11.0.0.0/8'}")
    client = bystander(wire, virtual)
    client.ask()
    client.say(udp_packet(virtual, IN_FAR6 if ":" in virtual else IN_FAR, b"x"))
    other = bystander(wire, IN_NEAR)
    other.ask()
    hears(wire, other, IN_NEAR)
    for to in ("224.0.0.1", "ff02::1"):
        with contextlib.suppress(OSError):
            wire.far.call(multicast, to)
    hears(wire, other, IN_NEAR, b"after it")
    assert not client.all(IPDATA)


def multicast(to):
    """Out of the tunnel of the server's machine."""
    six = ":" in to
    with socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"srv0\0")
        sock.sendto(b"everybody", (to, 9))


def test_routes_behind_a_client(wire):
    """-v net/len=gateway: the packets for a network go to the client with the gateway's address."""
    wire.server("-v", "10.8.0.0/16=10.7.0.2", "-v", "10.8.1.0/24=10.7.0.3",
                "-v", "fd08::/32=fd07::2", "-v", "fd08:0:1::/48=fd07::3")
    # whoever wants a packet in the tunnel sends it there
    for prefix in ("10.8.0.0/16", "fd08::/32"):
        wire.far.run(["ip", "route", "replace", prefix, "dev", "srv0"])
    second = bystander(wire, "10.7.0.2", "fd07::2")
    third = bystander(wire, "10.7.0.3", "fd07::3")
    second.ask()
    third.ask()
    hears(wire, second, "10.8.2.1", b"for the wide")
    hears(wire, second, "fd08:0:2::1", b"for the wide six")
    # added last, so it is the first in the list
    hears(wire, third, "10.8.1.1", b"for the narrow")
    hears(wire, third, "fd08:0:1::1", b"for the narrow six")
    assert not [m for m in third.all(IPDATA) if b"wide" in m.body]
    assert not [m for m in second.all(IPDATA) if b"narrow" in m.body]


def test_the_route_added_last_wins_also_over_a_longer_one(wire):
    wire.server("-v", "10.8.1.0/24=10.7.0.3", "-v", "10.8.0.0/16=10.7.0.2")
    wire.far.run(["ip", "route", "replace", "10.8.0.0/16", "dev", "srv0"])
    second, third = bystander(wire, "10.7.0.2"), bystander(wire, "10.7.0.3")
    second.ask()
    third.ask()
    hears(wire, second, "10.8.1.1")
    assert not third.all(IPDATA)


def test_who_is_idle_is_forgotten(wire):
    wire.server("-R", "4")
    idle, busy = bystander(wire, IN_NEAR), bystander(wire, "10.7.0.3")
    busy.keepalive, busy.next = 0.5, 0.0
    idle.ask()
    busy.ask()
    hears(wire, idle, IN_NEAR)

    def forgotten():
        busy.hello()  # is what keeps it
        count = len(idle.all(IPDATA))
        for i in range(3):
            speak(wire, IN_NEAR, b"still there? %d" % i)
        hears(wire, busy, "10.7.0.3", b"marker %d." % time.monotonic_ns())
        return len(idle.all(IPDATA)) == count

    wait_for("the idle one to be forgotten", forgotten)
    idle.ask()
    hears(wire, idle, IN_NEAR, b"welcome back")


# Datagrams that are not as they should be


def refusals():
    """(why, the plain message behind the header): IPDATA that has to be dropped."""
    good = udp_packet(IN_NEAR, IN_FAR, b"must not arrive")
    six = udp_packet(IN_NEAR6, IN_FAR6, b"must not arrive")
    yield "a length that is greater than what came", DATA.pack(ETH_P_IP, len(good) + 40) + good
    yield "a length that is less than a header", DATA.pack(ETH_P_IP, 19) + good
    yield "less than an IPv6 header", DATA.pack(0x86DD, 39) + six
    yield "an unknown protocol", DATA.pack(0x0806, len(good)) + good
    yield "protocol 0, but no TAP", DATA.pack(0, len(good)) + good
    yield "no packet", DATA.pack(ETH_P_IP, 0)
    yield "half a header", b"\x08\x00"
    yield "nothing", b""


@pytest.mark.parametrize("password", ["", PASSWORD])
def test_what_has_to_be_dropped_is_dropped(wire, password):
    codec = Codec(password)
    wire.server(password=password)
    client = wire.keep(Client(wire.near, (FAR, PORT), codec, (IN_NEAR,), keepalive=0))
    client.ask()
    with in_namespace(wire.far, lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) as sock:
        sock.bind(("::", 9))
        sock.settimeout(20)
        for _, body in refusals():
            client.send_to(client.server, IPDATA, body)
        packet = udp_packet(IN_NEAR, IN_FAR, b"must not arrive")
        wrong = codec.pack(IPDATA, 1, data_body(packet), auth=bytes(15) + b"\1")
        for datagram in (wrong, b"", b"x", wrong[:16], codec.pack(IPDATA, 1)[:19],
                         codec.pack(DISCONNECT, 1), codec.pack(DISCONNECT, 1, bytes(24)),
                         codec.pack(9, 1, bytes(24)), codec.pack(ECHO_ACK, 1, bytes(24)),
                         codec.pack(ECHO_REQ, 1, b"\1\2\3")):
            client.sock.sendto(datagram, client.server)
        count = len(client.seen)
        client.say(udp_packet(IN_NEAR, IN_FAR, b"the last one"))
        assert sock.recv(100) == b"the last one"
        sock.setblocking(False)
        with pytest.raises(BlockingIOError):
            sock.recv(100)
    client.ask()
    assert not client.refused
    assert {m.opcode for m in client.seen[count:]} <= {ECHO_ACK}
    hears(wire, client, IN_NEAR)


def test_padding_behind_the_packet_is_ignored(wire):
    wire.server(password="")
    client = wire.keep(Client(wire.near, (FAR, PORT), Codec(""), (IN_NEAR,), keepalive=0))
    client.ask()
    with in_namespace(wire.far, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((IN_FAR, 9))
        sock.settimeout(20)
        client.send_to(client.server, IPDATA, data_body(udp_packet(IN_NEAR, IN_FAR, b"x")) + b"rubbish")
        assert sock.recv(100) == b"x"


def test_big_packets(wire):
    """Up to a datagram of 8192 bytes; the wire's fragments are the kernel's business."""
    server = wire.server("-m", "8100", password="")
    client = wire.keep(Client(wire.near, (FAR, PORT), Codec(""), (IN_NEAR,), keepalive=0))
    client.ask()
    with in_namespace(wire.far, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        sock.bind((IN_FAR, 9))
        sock.settimeout(20)
        big = os.urandom(8192 - 24 - 28)
        client.say(udp_packet(IN_NEAR, IN_FAR, big))
        assert sock.recv(9000) == big
        # and one byte more than anybody can take
        client.say(udp_packet(IN_NEAR, IN_FAR, big + b"x"))
        client.say(udp_packet(IN_NEAR, IN_FAR, b"after it"))
        assert sock.recv(9000) == b"after it"
    speak(wire, IN_NEAR, big[:8072])
    assert client.wait_payload(big[:8072])
    assert not server.ended()


@pytest.mark.parametrize("where", ["[::]:1414", ":1414", "0.0.0.0:1414"])
def test_a_server_that_listens_everywhere(wire, where):
    """Clients of both families, told to each other; what answers has the address that was asked."""
    words = ["-l", where, "-n", "srv0", "-a", f"{IN_FAR}/24", "-A", f"{IN_FAR6}/64", "-e", PASSWORD]
    server = wire.keep(Engine(wire.far, *words))
    wait_for("the engine", lambda: server.ended() or server.stands("srv0"))
    first = bystander(wire, "10.7.0.2")
    assert first.ask().address == (FAR, PORT)
    hears(wire, first, "10.7.0.2")
    if where != "0.0.0.0:1414":
        second = bystander(wire, "10.7.0.3", address=FAR6)
        assert second.ask().address[:2] == (FAR6, PORT)
        hears(wire, second, "10.7.0.3")
