# SPDX-License-Identifier: LGPL-2.1-or-later
"""Engines: programs that the daemon starts for VPNs, and again when they end. The engine is the toy of
examples/, the server is there; on these machines no systemd runs, so commands are started by the daemon."""

import contextlib
import os
import pathlib
import signal
import time

import pytest

from harness import SERVER4, Capture, Instance, wait_for
from library import BUILD
from toy_fixture import INSIDE, OUTSIDE, TOY, USER, leaks, other_machine, ping, vpn
from vpn_fixture import vpns

OTHER = 3002
PROFILE = """[vpn toy]
owner = uid:{user}
engine = {command}
{more}
"""


@pytest.fixture
def instance(machine, remote):  # pylint: disable=unused-argument
    machine.run(["sysctl", "-qw", f"net.ipv4.ping_group_range={USER} {USER}"])
    daemon = Instance(machine)
    try:
        yield daemon
    finally:
        daemon.stop()
        engine = engine_of(daemon)
        if engine:  # it outlives its daemon
            with contextlib.suppress(ProcessLookupError):
                os.kill(engine, signal.SIGKILL)
        daemon.close()


def configure(daemon, more="always-on = yes", command=None):
    command = command or f"{BUILD}/examples/toyvpn client toy 10.9.0.2 {OUTSIDE} {TOY}"
    daemon.config.write_text(PROFILE.format(user=USER, command=command, more=more))


def engine_of(daemon):
    """Its process, by the daemon's note; None: there is none."""
    with contextlib.suppress(FileNotFoundError):
        word, pid, _ = (pathlib.Path(daemon.runtime) / "engines/toy").read_text().split()
        assert word == "engine"
        return int(pid)
    return None


def wait_up(daemon, before=-1):
    """Until it is, and has been established after `before`; since when, 0: a daemon before knew."""
    def shown():
        found = vpns(daemon).get("toy", {"State": None})
        return found["State"] == "up" and found["Since"] > before and found

    return wait_for("the VPN to be up", shown)["Since"]


def uid_of(pid):
    lines = pathlib.Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split()[0]: line.split()[1:] for line in lines if line}


def test_an_always_on_vpn_comes_by_itself(machine, instance):
    configure(instance)
    instance.start()
    wait_up(instance)
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    status = uid_of(engine_of(instance))
    assert set(status["Uid:"]) == {str(USER)} and int(status["CapEff:"][0], 16) == 0
    assert status.get("Groups:") == [], "none of the daemon's"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_one_that_ends_is_started_again(machine, instance, how):
    configure(instance)
    instance.start()
    before = wait_up(instance)
    first = engine_of(instance)
    capture = Capture(machine)
    os.kill(first, how)
    wait_for("another one", lambda: engine_of(instance) not in (None, first))
    assert machine.source(USER, seconds=0.1) not in ("10.0.0.2", "10.0.1.2")
    wait_up(instance, before)
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    assert leaks(capture) == []
    capture.close()


def test_one_that_cannot_start_blocks_and_is_tried_ever_more_seldom(machine, instance):
    configure(instance, command="/bin/false")
    instance.start()
    time.sleep(4)
    tries = instance.log.count("the engine of VPN 'toy' is started")
    assert 2 <= tries <= 5, "after 0, 1, 3, 7 s"
    assert machine.source(USER, seconds=0.3) not in ("10.0.0.2", "10.0.1.2")
    assert machine.source(OTHER) == "10.0.0.2"
    assert vpn(instance)["state"] == "blocked"


def test_down_ends_it_and_up_starts_it(machine, instance):
    configure(instance, more="")
    instance.start()
    instance.ok("vpn", "up", "toy")
    assert vpn(instance)["state"] == "up"
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    instance.ok("vpn", "down", "toy")
    wait_for("its end", lambda: engine_of(instance) is None)
    assert machine.source(USER) == "10.0.0.2"
    instance.ok("vpn", "up", "toy")
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE


def test_there_is_never_a_second_one(machine, instance):
    """The daemon is killed and started: the engine that runs is the engine."""
    configure(instance)
    instance.start()
    wait_up(instance)
    first = engine_of(instance)
    capture = Capture(machine)
    instance.kill()
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    instance.start()
    before = wait_up(instance)
    time.sleep(1.5)
    assert engine_of(instance) == first
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    os.kill(first, signal.SIGKILL)
    wait_for("another one", lambda: engine_of(instance) not in (None, first))
    wait_up(instance, before)
    assert leaks(capture) == []
    capture.close()


def test_both_are_killed(machine, instance):
    configure(instance)
    instance.start()
    before = wait_up(instance)
    capture = Capture(machine)
    os.kill(engine_of(instance), signal.SIGKILL)
    instance.kill()
    assert machine.source(USER, seconds=0.3) not in ("10.0.0.2", "10.0.1.2")
    instance.start()
    wait_up(instance, before)
    assert machine.call(ping, INSIDE, uid=USER) == INSIDE
    assert leaks(capture) == []
    capture.close()


@pytest.mark.parametrize("engine, text", [
    ("waymark-x.socket", "is no engine"), ("toyvpn client", "is no engine"),
    ("x/y.service", "is no engine")])
def test_what_is_no_engine(instance, engine, text):
    configure(instance)
    instance.start()
    configure(instance, command=engine)
    result = instance("reload")
    assert result.code == 4 and text in result.err and "waymark.conf:3" in result.err


def test_a_profile_that_goes_takes_its_engine_along(machine, instance):
    configure(instance)
    instance.start()
    wait_up(instance)
    instance.config.write_text("")
    instance.ok("reload")
    wait_for("its end", lambda: engine_of(instance) is None)
    wait_for("alice to be free", lambda: machine.source(USER, server=SERVER4) == "10.0.0.2")


def test_one_that_is_not_always_on_waits_for_up(machine, instance):
    configure(instance, more="")
    instance.start()
    assert vpn(instance)["state"] == "down"
    assert machine.source(USER) == "10.0.0.2"
    time.sleep(0.5)
    assert engine_of(instance) is None
