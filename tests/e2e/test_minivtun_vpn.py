# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark-minivtun --waymark: how it ends, how it lives without the daemon, and where it asks for names.

That it carries its user's traffic, and nothing else does: test_minivtun_waymark.py.
"""

import contextlib
import os
import signal
import socket
import struct

import pytest

from harness import WAIT, Capture, wait_for
from library import environment
from minivtun_fixture import IN_FAR, IN_NEAR, PASSWORD, PORT, Engine, endpoint
from toy_fixture import OUTSIDE, USER, consent, leaks

NAME, REVOKED, ICMP = "mini", 3, 1


class Client(Engine):
    """As the user, who has nothing but consent."""

    def __init__(self, daemon, host=OUTSIDE, **more):
        super().__init__(daemon.machine, "-r", endpoint(host), "-a", f"{IN_NEAR}/24", "-e", PASSWORD,
                         "-K", "1", "-R", "3", "--waymark", NAME, uid=USER, env=environment(daemon), **more)

    def says(self, text, times=1):
        wait_for(f"'{text}'", lambda: self.log.count(text) >= times or self.ended(), WAIT * 2)
        assert self.log.count(text) >= times, self.log


@pytest.fixture(name="server")
def far_end(machine):
    engine = Engine(machine.router, "-l", endpoint(OUTSIDE), "-n", "srv0", "-a", f"{IN_FAR}/24", "-e", PASSWORD)
    try:
        wait_for("the server", lambda: engine.ended() or engine.stands("srv0"))
        yield engine
    finally:
        engine.close()


@pytest.fixture(name="client")
def near_end(daemon, server):  # pylint: disable=unused-argument
    consent(daemon)
    with contextlib.closing(Client(daemon)) as client:
        client.says("connecting -> up")
        yield client


def vpn(daemon):
    return {v["name"]: v for v in daemon.json("vpn", "list")["vpns"]}.get(NAME)


def test_told_to_end_it_lets_the_user_go(machine, daemon, client):
    assert machine.source(USER, seconds=WAIT) == IN_NEAR
    assert client.stop() == 0
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"
    assert vpn(daemon) is None


def test_revoked_it_ends_and_says_so(machine, daemon, client):
    daemon.ok("vpn", "consent", "--revoke", f"uid:{USER}")
    assert client.process.wait(timeout=WAIT) == REVOKED
    assert "the VPN has been taken away: " in client.log
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"


def test_it_finds_the_daemon_again(machine, daemon, client):
    daemon.kill()
    client.says("waymarkd is gone; the VPN goes on")
    assert machine.source(USER, seconds=WAIT) == IN_NEAR
    daemon.start()
    client.says("waymarkd is back")
    assert client.stop() == 0
    assert vpn(daemon) is None
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"


# The server's name is asked for beside the tunnel.

def serve_names(name, address):
    """A DNS server of one name with one IPv4 address."""
    wanted = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((OUTSIDE, 53))
        while True:
            query, who = sock.recvfrom(512)
            question = query[12:12 + len(wanted) + 4]
            known = question[:-4].lower() == wanted
            hit = known and question[-4:-2] == b"\0\1"
            answer = struct.pack(">HHHIH", 0xc00c, 1, 1, 0, 4) + socket.inet_aton(address) if hit else b""
            flags = 0x8580 if known else 0x8583
            sock.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, int(hit), 0, 0) + question + answer, who)


@pytest.fixture(name="names")
def name_server(machine, tmp_path):
    """An /etc that leads to a DNS server on the router, which knows vpn.test."""
    (tmp_path / "etc").mkdir(mode=0o755)
    (tmp_path / "etc/resolv.conf").write_text(f"nameserver {OUTSIDE}\n")
    (tmp_path / "etc/nsswitch.conf").write_text("hosts: files dns\n")
    call = machine.router.start_call(serve_names, "vpn.test", OUTSIDE, seconds=WAIT * 6)
    wait_for("the DNS server", lambda: machine.router.run(["ss", "-Hlun", "sport = 53"]).stdout)
    yield tmp_path / "etc"
    os.kill(call.pid, signal.SIGKILL)
    os.waitpid(call.pid, 0)
    os.close(call.fd)


def test_the_name_is_asked_for_beside_the_tunnel(machine, daemon, server, names):
    """When the server is silent it is asked for again, though all that the user sends is in the tunnel."""
    consent(daemon)
    with contextlib.closing(Client(daemon, "vpn.test", etc=names)) as client:
        client.says("connecting -> up")
        capture = Capture(machine)
        try:
            server.process.send_signal(signal.SIGSTOP)
            try:
                client.says("up -> resolving: the server does not answer")
                client.says("resolving -> connecting", times=2)
                assert machine.source(USER, seconds=1) != "10.0.0.2"
            finally:
                server.process.send_signal(signal.SIGCONT)
            client.says("connecting -> up", times=2)
            assert machine.source(USER, seconds=WAIT) == IN_NEAR
            # the kernel's own: what came for the socket of before is not wanted any more
            assert [p for p in leaks(capture) if (p[2], p[3]) != (OUTSIDE, ICMP)] == []
        finally:
            capture.close()
