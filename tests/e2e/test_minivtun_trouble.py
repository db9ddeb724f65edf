# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens around waymark-minivtun: cables, addresses, routes and interfaces that change under it."""

import socket

import pytest

from harness import in_namespace, wait_for
from minivtun_fixture import (FAR, IN_FAR, IN_FAR6, IN_NEAR, NEAR, PASSWORD, PORT, Engine, Wire,
                              endpoint, listening, reaches, there_and_back)
from minivtun_peer import ECHO_REQ, Client, Codec, Server, packed

THIRD, IN_THIRD = "192.0.2.3", "10.7.0.3"


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def wait_for_a_way(wire, address=IN_FAR):
    with listening(wire.far, address, 7001):
        wait_for("a way", lambda: reaches(wire.near, address, 7001))


def test_a_cable_is_pulled_and_plugged_in(wire):
    wire.server("-R", "600")
    client = wire.client("-K", "1", "-R", "3")
    wait_for_a_way(wire)
    wire.far.ip("link set wire down")
    with listening(wire.far, IN_FAR):
        assert not reaches(wire.near, IN_FAR)
    wire.far.ip("link set wire up")
    wait_for_a_way(wire)
    assert not client.ended()


def test_the_way_to_the_server_is_gone_for_a_while(wire):
    """Each send is an error then."""
    wire.server("-R", "600")
    client = wire.client("-K", "1", "-R", "3")
    wait_for_a_way(wire)
    wire.near.ip("link set wire down")
    with listening(wire.far, IN_FAR):
        assert not reaches(wire.near, IN_FAR)
    wire.near.ip("link set wire up")
    wait_for_a_way(wire)
    assert not client.ended()


@pytest.mark.parametrize("speaks", [True, False])
def test_the_clients_address_changes(wire, speaks):
    """Who has sent from an address that is gone takes another one, with or without traffic."""
    wire.server("-R", "600")
    wire.client("-K", "1", "-R", "3")
    wait_for_a_way(wire)
    wire.near.ip(f"addr del {NEAR}/24 dev wire", f"addr replace {THIRD}/24 dev wire")
    if speaks:
        wait_for_a_way(wire)
    else:
        with listening(wire.near, IN_NEAR, 7002):
            wait_for("a way to it", lambda: reaches(wire.far, IN_NEAR, 7002))


@pytest.mark.parametrize("side", ["near", "far"])
def test_the_tunnel_is_deleted_from_outside(wire, side):
    """There is nothing to live for; it says so, and somebody may start it again."""
    engines = {"far": wire.server(), "near": wire.client("-K", "1")}
    wait_for_a_way(wire)
    name = "srv0" if side == "far" else "cli0"
    getattr(wire, side).ip(f"link del {name}")
    wait_for("its end", engines[side].ended)
    assert engines[side].process.returncode == 1
    assert engines[side].log.splitlines()[-1].startswith(f"the interface '{name}' is gone")


def test_the_tunnel_is_set_down_and_up(wire):
    wire.server()
    client = wire.client("-K", "1")
    wait_for_a_way(wire)
    wire.near.ip("link set cli0 down")
    with listening(wire.far, IN_FAR):
        assert not reaches(wire.near, IN_FAR)
    wire.near.ip("link set cli0 up", "-6 addr replace fd07::2/64 dev cli0 nodad")
    wait_for_a_way(wire)
    assert not client.ended()


@pytest.mark.parametrize("options", [[], ["--no-offload"], ["--no-batch"]], ids=" ".join)
def test_a_path_that_is_narrower_than_the_wire(wire, options):
    """A router far away takes 1000 bytes only; datagrams go in fragments."""
    wire.near.ip(f"route add {FAR}/32 dev wire src {NEAR} mtu 1000")
    wire.server(*options)
    wire.client(*options)
    wait_for_a_way(wire)
    for address in (IN_FAR, IN_FAR6):
        with listening(wire.far, address):
            assert wire.near.call(there_and_back, address, 1000000)


def test_a_wire_that_becomes_narrower(wire):
    """While it is in use; nobody has told the tunnel."""
    wire.server()
    wire.client()
    wait_for_a_way(wire)
    for side in (wire.near, wire.far):
        side.ip("link set wire mtu 1280")
    with listening(wire.far, IN_FAR):
        assert wire.near.call(there_and_back, IN_FAR, 1000000)


@pytest.mark.parametrize("asked", ["192.0.2.4", "2001:db8:2::4"])
def test_an_answer_comes_from_the_address_that_was_asked(wire, asked):
    """Also where that is not the one that the machine would take by itself: a client hears no other."""
    wire.far.ip("addr add 2001:db8:2::4/64 dev wire nodad preferred_lft 0")
    words = ["-l", f"[::]:{PORT}", "-n", "srv0", "-a", f"{IN_FAR}/24", "-A", f"{IN_FAR6}/64", "-e", PASSWORD]
    server = wire.keep(Engine(wire.far, *words))
    wait_for("the engine", lambda: server.ended() or server.stands("srv0"))
    wire.client("-K", "1", address=asked)
    wait_for_a_way(wire)
    for address in (IN_FAR, IN_FAR6):
        with listening(wire.far, address):
            assert wire.near.call(there_and_back, address, 1000000)


def test_clients_reach_each_other(wire):
    """When the server's machine forwards: the packets go there and back through the same tunnel."""
    wire.server()
    wire.far.run(["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.send_redirects=0",
                  "net.ipv4.conf.srv0.send_redirects=0"])
    wire.client()
    third = wire.keep(Client(wire.near, (FAR, PORT), Codec(PASSWORD), (IN_THIRD,), keepalive=0.5))
    third.ask()
    with in_namespace(wire.near, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as sock:
        def told():
            sock.sendto(b"neighbour", (IN_THIRD, 9))
            return any(b"neighbour" in m.body for m in third.seen)

        wait_for("the neighbour", told)


@pytest.mark.parametrize("password", ["x" * 500, "pässwörd €", " with blanks ", "-e"])
def test_odd_passwords(wire, password):
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(password)))
    client = wire.keep(Engine(wire.near, "-r", endpoint(FAR), "-n", "cli0", "-a", f"{IN_NEAR}/24",
                              f"--key={password}", "-K", "1"))
    message = server.wait(ECHO_REQ)
    assert message.body[:4] == packed(IN_NEAR)
    assert not client.ended()


def test_a_link_local_server(wire):
    link_local = wire.far.show("-6 -o addr show dev wire scope link")[0].split()[3].split("/")[0]
    server = wire.keep(Engine(wire.far, "-l", f"[::]:{PORT}", "-n", "srv0", "-a", f"{IN_FAR}/24", "-e", PASSWORD))
    wait_for("the engine", lambda: server.ended() or server.stands("srv0"))
    wire.client("-K", "1", address=f"{link_local}%wire", inner=(IN_NEAR,))
    wait_for_a_way(wire)
