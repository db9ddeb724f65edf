# SPDX-License-Identifier: LGPL-2.1-or-later
"""Handover by libwaymark (programs/vpn-client.c, `carry`): a VPN replaces its interface while its apps
send, and no stream breaks, nothing leaves beside the tunnel. The other end is examples/toyvpn.c."""

import subprocess

import pytest

from harness import SERVER4, WAIT, Capture, check_sanitizers, wait_for
from library import PROGRAMS, environment
from toy_fixture import (OTHER, OUTSIDE, TOY, USER, consent, leaks, other_machine, streaming,
                         vpn)

DESCRIPTION = "new toy address 10.9.0.2 24 route 0.0.0.0 0 mtu 1400"


class Program:
    """vpn-client, in the machine of a daemon."""

    def __init__(self, daemon, words, uid=USER):
        self.process = daemon.machine.popen(
            [PROGRAMS / "vpn-client", *words.split()], uid=uid, enter=daemon.enter, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment(daemon))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def lines(self, n):
        """The next n."""
        return [self.process.stdout.readline().rstrip("\n") for _ in range(n)]

    def end(self):
        """What else it says after it may go on and end."""
        out, err = self.process.communicate("\n", timeout=WAIT)
        check_sanitizers(err)
        assert (self.process.returncode, err) == (0, "")
        return out.splitlines()


@pytest.fixture(name="ready")
def may_be_a_vpn(daemon, remote):  # pylint: disable=unused-argument
    consent(daemon)
    return daemon


def interfaces(machine):
    return [line for line in machine.show("-br link show") if line.startswith("wmtun")]


def hand_over(daemon, n):
    """n times, under a stream of the user's: what came of the stream."""
    machine = daemon.machine
    words = f"{DESCRIPTION} prepare 0 transport {OUTSIDE} {TOY} establish carry {n}"
    with Program(daemon, words) as program:
        assert program.lines(7) == ["ok"] * 7
        netid = daemon.networks()["toy"]["netid"]
        with streaming(machine) as result:
            done, failed, _ = map(int, program.lines(1)[0].split())
            assert (done, failed) == (n, 0)
            assert len(interfaces(machine)) == 1, "the old ones are gone"
        assert daemon.networks()["toy"]["netid"] == netid
        assert machine.source(USER, seconds=WAIT) == "10.9.0.2"
        assert program.end() == ["ok"]
    return result


def test_a_stream_survives_a_handover(ready):
    capture = Capture(ready.machine)
    try:
        received, gap, again = hand_over(ready, 1)
        print(f"{received} bytes, longest silence {gap * 1000:.1f} ms, {again} segments sent again")
        assert received > 0
        assert leaks(capture) == []
    finally:
        capture.close()


def test_a_stream_survives_a_thousand(ready):
    capture = Capture(ready.machine)
    try:
        received, gap, again = hand_over(ready, 1000)
        print(f"{received} bytes, longest silence {gap * 1000:.1f} ms, {again} segments sent again")
        assert leaks(capture) == []
        assert ready.machine.source(OTHER, seconds=WAIT) == "10.0.0.2"
        assert leaks(capture), "the capture sees what leaves"
    finally:
        capture.close()


def test_the_daemon_has_nothing_left_of_them(ready):
    files = ready.open_files()
    hand_over(ready, 50)
    wait_for("the daemon to close all", lambda: ready.open_files() <= files)
    wait_for("the interface to go", lambda: not interfaces(ready.machine))
    wait_for("the VPN to be lost", lambda: vpn(ready)["state"] == "blocked")  # it did not say goodbye


def test_one_that_fails_leaves_the_old_one(ready):
    """What the daemon refuses, and what the library does, of the second description."""
    words = (f"{DESCRIPTION} prepare 0 transport {OUTSIDE} {TOY} establish mtu 60 establish error "
             "mtu 1400 interface fds carry 0")
    with Program(ready, words) as program:
        *_, refused, sentence, mtu, interface, fds = program.lines(13)
        assert (refused, mtu, fds) == ("EINVAL", "ok", "1")
        assert "60" in sentence
        assert [line.split()[0] for line in interfaces(ready.machine)] == [interface]
        assert ready.machine.source(USER, seconds=WAIT) == "10.9.0.2"
        program.end()


def test_what_it_may_ask_for(ready):
    """Addresses and underlying networks of a VPN that stands, and what is not there."""
    netid = ready.networks()["eth0"]["netid"]
    words = (f"{DESCRIPTION} establish add 10.9.0.7 24 remove 10.9.0.7 24 remove 10.9.0.8 24 "
             f"set-underlying {netid} set-underlying 9999 set-underlying - report 0 dialling stdin "
             "disconnect add 10.9.0.7 24 dispatch")
    with Program(ready, words) as program:
        assert program.lines(12) == \
            ["ok"] * 5 + ["ok", "ok", "EADDRNOTAVAIL", "ok", "ENONET", "ok", "ok"]
        shown = vpn(ready)
        assert (shown["state"], shown["reason"]) == ("connecting", "dialling")
        answers = program.end()
    assert answers == ["ok", "ok", "ENOTCONN", "ok"], "by choice: nobody is told that it was revoked"
    assert vpn(ready) is None


def test_a_child_of_it_is_not_the_vpn(ready):
    """It may neither protect sockets nor speak for it; its end ends nothing."""
    with Program(ready, f"{DESCRIPTION} protect prepare 0 protect establish stdin") as program:
        assert program.lines(8) == ["ok"] * 4 + ["EPERM", "ok", "ok", "ok"]
        assert program.process.poll() is None
        program.end()
    with Program(ready, f"{DESCRIPTION} prepare 0 establish fork protect add 10.9.0.7 24 free "
                 "protect") as program:
        assert program.end() == ["ok"] * 6 + ["EPERM", "ECHILD", "ok", "EPERM"]


def test_queues_and_blocking(ready):
    with Program(ready, f"{DESCRIPTION} queues 4 blocking 1 establish fds blocking 0 queues 1 "
                 "offloads 1 establish fds") as program:
        assert program.end()[6:] == ["ok", "4 blocking", "ok", "ok", "ok", "ok", "1"]


def test_revoked_and_told_why(ready):
    machine = ready.machine
    with Program(ready, f"{DESCRIPTION} establish watch protect") as program:
        assert program.lines(5) == ["ok"] * 5
        wait_for("the VPN", lambda: machine.source(USER) != "10.0.0.2")
        ready.ok("vpn", "down", "toy")
        said, *rest = program.end()
    assert said.startswith("revoked wmtun") and ": " in said
    assert rest == ["ok", "EPERM"]
    assert machine.source(USER, SERVER4, seconds=WAIT) == "10.0.0.2"
