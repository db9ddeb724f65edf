# SPDX-License-Identifier: LGPL-2.1-or-later
"""examples/toyvpn.c between two machines, as an ordinary user: what docs/vpn-service.md promises of it.

The client is a machine with two uplinks; the server is the router behind them. A waymarkd runs on each.
"""

import os
import pathlib
import re
import signal
import subprocess

import pytest

from harness import PORT, ROOT, SERVER4, SERVER6, WAIT, Capture, wait_for
from library import BUILD, LIBRARY, sanitizers
from toy_fixture import (INSIDE, OTHER, OUTSIDE, TOY, UDP, USER, bulk, consent, leaks,
                         other_machine, ping, serve_bulk, toy, vpn)

SOURCE = ROOT / "examples/toyvpn.c"


@pytest.fixture(name="tunnel")
def whole_tunnel(daemon, remote):  # pylint: disable=unused-argument
    consent(daemon)
    with toy(daemon, "client", "toy", "10.9.0.2", OUTSIDE, TOY) as client:
        client.interface = client.up()
        yield client


# The page.

def test_it_is_one_page_and_needs_the_public_header_alone(tmp_path):
    text = SOURCE.read_text(encoding="utf-8")
    assert text.count("\n") < 200
    assert "IT DOES NOT ENCRYPT" in text
    assert set(re.findall(r'#include "(.*)"', text)) == set()
    (tmp_path / "waymark.h").write_bytes((ROOT / "include/waymark.h").read_bytes())
    subprocess.run(["cc", "-std=gnu17", "-Wall", "-Wextra", "-Werror", "-I", tmp_path, SOURCE, "-o",
                    tmp_path / "toyvpn", LIBRARY] +
                   (["-fsanitize=address,undefined"] if sanitizers() else []), check=True)


def test_the_page_about_it_shows_it_as_it_is():
    """Each piece of C in docs/vpn-service.md that is marked as the toy's is in there."""
    page = (ROOT / "docs/vpn-service.md").read_text(encoding="utf-8")
    source = " ".join(SOURCE.read_text(encoding="utf-8").split())
    pieces = re.findall(r"```c\n/\* toyvpn\.c \*/\n(.*?)```", page, re.S)
    assert len(pieces) >= 4
    for piece in pieces:
        assert " ".join(piece.split()) in source, piece


def test_usage():
    done = subprocess.run([BUILD / "examples/toyvpn"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "toyvpn server NAME ADDRESS PORT" in done.stderr


# The tunnel.

def test_what_a_user_sends_goes_through_it(machine, daemon, tunnel):
    machine.run(["sysctl", "-qw", f"net.ipv4.ping_group_range={USER} {USER}"])
    capture = Capture(machine)
    try:
        assert machine.call(ping, INSIDE, uid=USER) == INSIDE
        assert machine.source(USER, INSIDE, seconds=WAIT) == "ECONNREFUSED"  # it listens elsewhere
        assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
        assert machine.source(USER, SERVER6) in ("ENETUNREACH", "EHOSTUNREACH", "EACCES")
        assert leaks(capture) == []
        assert machine.source(OTHER, seconds=WAIT) == "10.0.0.2", "others go as ever"
        assert [p[:3] for p in leaks(capture)][:1] == [("eth0", "10.0.0.2", SERVER4)], \
            "the capture sees what leaves"
    finally:
        capture.close()
    shown = vpn(daemon)
    assert (shown["state"], shown["interfaces"]) == ("up", [tunnel.interface])


def test_a_stream_of_a_megabyte(machine, daemon, tunnel):  # pylint: disable=unused-argument
    server = machine.router.start_call(serve_bulk, seconds=WAIT * 3)
    wait_for("the server",
             lambda: machine.router.run(["ss", "-Hltn", f"sport = {PORT + 1}"]).stdout)
    assert machine.call(bulk, SERVER4, 1 << 20, uid=USER, seconds=WAIT * 3) == 1 << 20
    server.result()


def test_its_way_is_protected(machine, daemon, tunnel):
    """The tunnel's own datagrams do not go into the tunnel, though it is the user's program, too."""
    capture = Capture(machine)
    try:
        assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
        sent = capture.packets()
    finally:
        capture.close()
    assert [p for p in sent if p[0] == "eth0" and p[2] == OUTSIDE and p[3] == UDP]
    assert not [p for p in sent if p[0] == tunnel.interface and p[2] == OUTSIDE]


# Its end.

def test_told_to_end_it_lets_the_user_go(machine, daemon, tunnel):
    assert tunnel.end() == 0 and tunnel.err == ""
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"
    assert vpn(daemon) is None


def test_killed_it_leaves_the_user_blocked(machine, daemon, tunnel):
    tunnel.end(signal.SIGKILL)
    wait_for("the VPN to be lost", lambda: vpn(daemon)["state"] == "blocked")
    capture = Capture(machine)
    try:
        assert machine.source(USER) not in ("10.0.0.2", "10.0.1.2", "timeout")
        assert leaks(capture) == []
    finally:
        capture.close()
    with toy(daemon, "client", "toy", "10.9.0.2", OUTSIDE, TOY) as again:
        again.up()
        assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
        assert again.end() == 0


def test_revoked_it_ends(machine, daemon, tunnel):
    daemon.ok("vpn", "consent", "--revoke", f"uid:{USER}")
    assert tunnel.end(None) == 1
    assert re.fullmatch(r"toyvpn: revoked: .*consent.*\n", tunnel.err)
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"


def test_without_its_interface_it_ends(machine, daemon, tunnel):  # pylint: disable=unused-argument
    machine.ip(f"link del {tunnel.interface}")
    assert tunnel.end(None) == 1


def test_it_outlives_the_daemon(machine, daemon, tunnel):
    daemon.kill()
    assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
    daemon.start()
    assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
    # it looks for the daemon every few seconds; only then may it say goodbye
    wait_for("the toy to be back", lambda: is_connected(daemon, tunnel.process.pid), WAIT * 2)
    assert (tunnel.end(), tunnel.err) == (0, "")
    assert machine.source(USER, seconds=WAIT) == "10.0.0.2"


def is_connected(daemon, pid):
    """Has this process a connection to the daemon's bus?"""
    files = {os.readlink(file) for file in pathlib.Path(f"/proc/{pid}/fd").iterdir()}
    lines = daemon.machine.run(["ss", "-xH", "src", daemon.socket]).stdout.splitlines()
    return any(f"socket:[{line.split()[-1]}]" in files for line in lines)


# Without leave.

def test_without_consent_it_is_refused(machine, daemon):
    with toy(daemon, "client", "toy", "10.9.0.2", OUTSIDE, TOY) as client:
        assert client.end(None) == 1
        assert "consent" in client.err
    assert not [line for line in machine.show("link show") if "wmtun" in line]


def test_without_a_daemon_it_says_so(machine, daemon):  # pylint: disable=unused-argument
    daemon.kill()
    with toy(daemon, "client", "toy", "10.9.0.2", OUTSIDE, TOY) as client:
        assert client.end(None) == 1
        assert "waymarkd is not running" in client.err
    daemon.start()


def test_an_address_that_is_none(machine, daemon):  # pylint: disable=unused-argument
    consent(daemon)
    with toy(daemon, "client", "toy", "127.0.0.1", OUTSIDE, TOY) as client:
        assert client.end(None) == 1
        assert client.err == f"toyvpn: establish: {os.strerror(22)}\n"
