# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark-minivtun --waymark: the VPN of an ordinary user, over a server on the other side of the uplinks."""

import contextlib
import pathlib
import signal

import pytest

from harness import SERVER4, SERVER6, Capture, wait_for
from library import environment
from minivtun_fixture import IN_FAR, IN_NEAR, PASSWORD, PORT, Engine, endpoint
from toy_fixture import OTHER, OUTSIDE, USER, consent, leaks

NAME = "office"


class Client(Engine):
    """Ours, as the user, who has nothing but consent."""

    def __init__(self, daemon, *words):
        self.daemon = daemon
        super().__init__(daemon.machine, "-r", endpoint(OUTSIDE), "-a", f"{IN_NEAR}/24", "-e", PASSWORD,
                         "-K", "1", "-R", "3", "--waymark", NAME, *words, uid=USER, env=environment(daemon))

    def wait_state(self, *states):
        wait_for(f"the VPN to be {states}", lambda: vpn(self.daemon).get("state") in states)


def vpn(daemon):
    return {v["name"]: v for v in daemon.json("vpn", "list")["vpns"]}.get(NAME, {})


@pytest.fixture(name="open_engines")
def opened():
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.fixture(name="server")
def far_end(machine, open_engines):
    return start_server(machine, open_engines)


def start_server(machine, open_engines):
    """On the router, which knows clients from all uplinks."""
    server = Engine(machine.router, "-l", f"0.0.0.0:{PORT}", "-n", "srv0", "-a", f"{IN_FAR}/24", "-e", PASSWORD)
    open_engines.callback(server.close)
    wait_for("the server", lambda: server.ended() or server.stands("srv0"))
    assert not server.ended(), server.log
    return server


def start_client(daemon, open_engines, *words):
    client = Client(daemon, *words)
    open_engines.callback(client.close)
    wait_for("the VPN", lambda: client.ended() or vpn(daemon).get("state") == "up")
    assert not client.ended(), client.log
    return client


@pytest.fixture(name="client")
def near_end(daemon, server, open_engines):  # pylint: disable=unused-argument
    consent(daemon)
    return start_client(daemon, open_engines)


def through(machine):
    """The user's connections come out of the tunnel."""
    return machine.source(USER) == IN_NEAR


def test_without_consent(machine, daemon, server):  # pylint: disable=unused-argument
    client = Client(daemon)
    try:
        wait_for("its end", client.ended)
        assert client.process.returncode == 1
        assert client.log.splitlines()[-1].startswith(f"cannot be the VPN '{NAME}': ")
    finally:
        client.close()


def test_one_users_traffic_goes_through_it(machine, daemon, client):
    capture = Capture(machine)
    wait_for("a way", lambda: through(machine))
    assert machine.source(USER, kind="sendto") == IN_NEAR
    assert machine.source(USER, SERVER6) != "fd00::2"  # the tunnel has no IPv6
    assert not leaks(capture)
    capture.close()
    assert machine.source(OTHER) == "10.0.0.2"
    status = pathlib.Path(f"/proc/{client.process.pid}/status").read_text()
    assert f"\nUid:\t{USER}\t{USER}" in status and "\nCapEff:\t0000000000000000\n" in status
    client.stop()
    wait_for("the VPN to end", lambda: machine.source(USER) == "10.0.0.2")


def test_its_own_datagrams_do_not_go_through_it(machine, daemon, client):
    """The client is of the very user whose traffic the tunnel takes; its socket is protected."""
    wait_for("a way", lambda: through(machine))
    capture = Capture(machine)
    wait_for("keepalives", lambda: any(to == OUTSIDE for _, _, to, _ in capture.packets()))
    capture.close()
    assert vpn(daemon)["state"] == "up"
    assert not client.ended()


def test_killed_it_leaves_its_user_blocked(machine, daemon, client, open_engines):
    wait_for("a way", lambda: through(machine))
    client.stop(signal.SIGKILL)
    client.wait_state("blocked")
    capture = Capture(machine)
    assert machine.source(USER) == "EACCES"
    assert machine.source(USER, device="eth0") in ("EACCES", "timeout", "ENETUNREACH", "EPERM")
    # the kernel tells the server (by ICMP) that nobody listens where it still sends to
    assert not [p for p in leaks(capture) if p[2:] != (OUTSIDE, 1)]
    capture.close()
    assert machine.source(OTHER) == "10.0.0.2"
    start_client(daemon, open_engines)
    wait_for("a way", lambda: through(machine))


def test_the_server_is_killed(machine, daemon, server, client, open_engines):
    """Nothing leaves by another way meanwhile; and when it is back, so is the tunnel."""
    wait_for("a way", lambda: through(machine))
    server.stop(signal.SIGKILL)
    capture = Capture(machine)
    assert machine.source(USER, seconds=1) == "timeout"
    client.wait_state("connecting", "failed")
    assert machine.source(USER, seconds=1) == "timeout"
    assert not leaks(capture)
    capture.close()
    assert machine.source(OTHER) == "10.0.0.2"
    wait_for("its interface to go", lambda: not machine.router.show("link show srv0"))
    start_server(machine, open_engines)
    wait_for("a way", lambda: through(machine))
    client.wait_state("up")


def test_the_uplink_changes(machine, daemon, client):  # pylint: disable=unused-argument
    """The client roams: its next datagrams come by the other uplink."""
    wait_for("a way", lambda: through(machine))
    machine.ip(f"route add {OUTSIDE}/32 via 10.0.1.1 dev eth1 metric 500")
    capture = Capture(machine)
    machine.ip("link set eth0 down")
    wait_for("a way", lambda: through(machine))
    assert not [p for p in leaks(capture) if p[2] == SERVER4]
    capture.close()


def test_the_daemon_is_restarted(machine, daemon, client):
    wait_for("a way", lambda: through(machine))
    capture = Capture(machine)
    daemon.kill()
    assert through(machine)
    daemon.start()
    client.wait_state("up")
    assert through(machine)
    assert not leaks(capture)
    capture.close()
    assert not client.ended()
