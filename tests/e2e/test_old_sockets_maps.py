# SPDX-License-Identifier: LGPL-2.1-or-later
"""Old sockets with the `maps` back-end: what holds for users (test_old_sockets.py runs once more), and
sockets of executables, cgroups and units; and what a start finds in the programs' maps."""

import contextlib
import inspect
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import textwrap
import time

import pytest

import test_old_sockets
from bpf_fixture import NONE, REQUIRE
from harness import PORT, SERVER4, SERVER6, WAIT, Capture, ask_server, wait_for
from maps_fixture import machine
from pinned import Table, executable, policy, prefix
# pylint: disable=unused-import
from test_old_sockets import (
    AGAIN, ALICE, BOB, INSIDE, MAPPED4, Held, both_ends, destroyed, hold, open_socket, state_of,
    test_a_cable_that_is_pulled, test_a_configuration_that_changed_while_the_daemon_was_down,
    test_a_download_is_cut_and_goes_on_elsewhere, test_a_group, test_a_network_that_is_destroyed,
    test_a_permission, test_a_restart, test_an_unknown_route_undoes_all,
    test_assigned_and_unassigned, test_panic_off_cuts_nothing_and_reload_what_is_elsewhere,
    test_preferred, test_reassigned_blocked_and_where_it_is_already, test_the_doctor,
    test_udp_servers, test_users_of_a_vpn, test_what_a_closed_socket_had_queued,
    test_what_fell_back_moves_when_the_preferred_network_is_back,
    test_what_stays_in_the_machine_lives, test_who_waits_lives)
from test_traffic import ask_netd

KINDS = ("tcp", "udp", "sendto")
WAYS = ((SERVER4, "10.0.0.2", "10.0.1.2"), (SERVER6, "fd00::2", "fd00:1::2"),
        (MAPPED4, "::ffff:10.0.0.2", "::ffff:10.0.1.2"))
EVERY = [(kind, remote) for remote, *_ in WAYS for kind in KINDS]
CONNECTED = [way for way in EVERY if way[0] != "sendto"]


def many(ways):
    return [open_socket(kind, remote, **options) for kind, remote, options in ways]


def inside():
    """All pairs of sockets that talk to each other inside of the machine."""
    return [sock for kind in ("tcp", "udp") for near, peer in INSIDE
            for sock in both_ends(near, kind, peer)]


class Run(Held):
    """The same by a program that is executed: so it is another executable. `make` is an expression."""

    def __init__(self, machine, program, uid, make):
        constants = "".join(f"{name} = {getattr(test_old_sockets, name)!r}\n"
                            for name in ("PORT", "SO_MARK", "INSIDE"))
        functions = "".join(map(inspect.getsource, (
            open_socket, state_of, both_ends, many, inside, ask_server)))
        code = ("import errno, socket\n" + constants + functions
                + textwrap.dedent(inspect.getsource(Held.obey)).removeprefix("@staticmethod\n")
                + "control = socket.socket(fileno=3)\n"
                + "try:\n"
                + f"    sockets = {make}\n"
                + "    control.sendall(b'made')\n"
                + "    obey(control, sockets)\n"
                + "except BaseException as error:\n"
                + "    control.sendall(repr(error).encode())\n")
        self.ours, theirs = socket.socketpair()

        def enter():
            machine.enter()
            os.dup2(theirs.fileno(), 3)

        with theirs:
            self.process = machine.popen([program, "-I", "-c", code], uid=uid, enter=enter,
                                         close_fds=False)
        self.ours.settimeout(WAIT)
        answer = self.ours.recv(1000)
        assert answer == b"made", answer

    def close(self):
        self.process.kill()
        self.process.wait()
        self.ours.close()


class App:
    """Something that is matched by more than its user, and another app of the same user."""

    def __init__(self, machine, kind, program):
        self.machine, self.kind, self.program = machine, kind, program
        self.held = []
        self.other_program = f"{program}-other"
        if kind == "exe":
            shutil.copy(program, self.other_program)
            self.selector = f"exe:{program}"
            return
        name = "app" if kind == "cgroup" else f"app-{os.getpid()}.service"
        self.cgroup = machine.below(name)
        machine.below(f"{name}/deep")  # it is in what is below, too
        self.selector = f"cgroup:{self.cgroup}" if kind == "cgroup" else f"unit:{name}"
        self.inner = machine.place
        machine.below("other")
        self.outer = machine.place

    def _begin(self, uid, make, mine):
        if self.kind != "exe":
            self.machine.place = self.inner if mine else self.outer
        program = self.program if mine or self.kind != "exe" else self.other_program
        self.held.append(Run(self.machine, str(program), uid, make))
        return self.held[-1]

    def hold(self, ways=EVERY, uid=ALICE, **options):
        return self._begin(uid, f"many({[(k, r, options) for k, r in ways]!r})", True)

    def inside(self):
        return self._begin(ALICE, "inside()", True)

    def other(self, ways=EVERY, uid=ALICE):
        return self._begin(uid, f"many({[(k, r, {}) for k, r in ways]!r})", False)

    def source(self, remote=SERVER4):
        """Where the app's next connection comes from."""
        if self.kind != "exe":
            self.machine.place = self.inner
        code = ("import errno, socket\n" + f"PORT = {PORT}\n" + inspect.getsource(ask_server)
                + f"print(ask_server({remote!r}, None, 'tcp', {WAIT}))\n")
        with self.machine.popen([self.program, "-I", "-c", code], uid=ALICE, text=True,
                                stdout=subprocess.PIPE) as process:
            return process.communicate(timeout=WAIT)[0].strip()

    def close(self):
        for held in self.held:
            held.close()


@contextlib.contextmanager
def new_app(machine, kind):
    with tempfile.TemporaryDirectory(prefix="waymark-exe-") as folder:
        os.chmod(folder, 0o755)
        program = pathlib.Path(folder) / "app"
        shutil.copy(os.path.realpath("/usr/bin/python3"), program)
        made = App(machine, kind, program)
        try:
            yield made
        finally:
            made.close()


@pytest.fixture(params=["exe", "cgroup", "unit"])
def app(machine, request):
    with new_app(machine, request.param) as made:
        yield made


@pytest.fixture
def program(machine):
    with new_app(machine, "exe") as made:
        yield made


# What is cut, and what lives.


def test_assigned_moved_and_unassigned(daemon, app):
    old, other, at_home = app.hold(), app.other(), app.inside()
    daemon.ok("assign", app.selector, "eth1")
    assert old.is_cut()
    for remote, _, source in WAYS:
        assert app.source(remote) == source.removeprefix("::ffff:")

    moved = app.hold()
    daemon.ok("assign", app.selector, "eth1")  # said again
    daemon.ok("assign", app.selector, "eth1", "--prefer")  # no more strictly
    assert moved.lives()
    daemon.ok("assign", app.selector, "eth0")
    assert moved.is_cut() and app.source() == "10.0.0.2"

    back = app.hold()
    daemon.ok("assign", app.selector, "none")
    assert back.is_cut() and app.source() == "EACCES"
    daemon.ok("unassign", app.selector)
    assert app.source() == "10.0.0.2"
    time.sleep(AGAIN)
    assert other.lives() and at_home.lives()
    assert daemon.json("doctor")["findings"]


def test_a_download_of_an_app_is_cut_and_goes_on_elsewhere(daemon, app):
    download, other = app.hold([("tcp", SERVER4)]), app.other([("tcp", SERVER4)])
    assert download.ask("w") == "waiting"
    daemon.ok("assign", app.selector, "eth1")
    assert download.ours.recv(100) == b"ECONNABORTED"
    assert app.source() == "10.0.1.2"
    assert other.lives() and other.ask("e") == "more\n"


def test_what_an_app_chose_itself_under_prefer(daemon, program):
    plain, bound = program.hold(), program.hold(CONNECTED, device="eth0")
    daemon.ok("assign", program.selector, "eth1", "--prefer")
    assert plain.is_cut() and bound.lives()
    daemon.ok("assign", program.selector, "eth1")
    assert bound.is_cut()


def test_roots_udp_sockets_that_a_program_has(daemon, program):
    """Those of the kernel are root's, too, and live; of these it is known that they are not."""
    udp = [("udp", SERVER4), ("sendto", SERVER6)]
    mine, other = program.hold(udp, uid=0), program.other(udp, uid=0)
    daemon.ok("assign", program.selector, "eth1")
    assert mine.is_cut() and other.lives()


def test_who_may_protect_sockets_lives_for_a_vpn(daemon, program):
    assert b"success" in ask_netd(daemon, f"network protect allow {BOB}")
    daemon.ok("network", "add", "work", "--type", "vpn", "--interface", "eth1")
    alice, bob = program.hold(), program.hold(uid=BOB)
    daemon.ok("assign", program.selector, "work")
    assert alice.is_cut() and bob.lives()


# Precedence.


def test_what_is_said_of_its_user_does_not_cut_an_app_that_is_held(daemon, app):
    daemon.ok("assign", app.selector, "eth1")
    held, other = app.hold(), app.other()
    daemon.ok("assign", f"uid:{ALICE}", "none")
    assert other.is_cut() and held.lives()
    daemon.ok("unassign", f"uid:{ALICE}")
    time.sleep(AGAIN)
    assert held.lives()
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("unassign", app.selector)
    assert held.lives(), "it is on its user's network"


def test_the_nearer_cgroup_and_the_executable(machine, daemon, program):
    outer = machine.below("outer")
    inner = machine.below("outer/inner")
    daemon.ok("assign", f"cgroup:{inner}", "eth1")
    held, other = program.hold(), program.other()
    daemon.ok("assign", f"cgroup:{outer}", "none")
    assert held.lives() and other.lives()
    daemon.ok("assign", program.selector, "eth1")
    daemon.ok("unassign", f"cgroup:{inner}")
    assert held.lives() and other.is_cut()


def test_an_upgrade_cuts_nobody(daemon, program):
    daemon.ok("assign", program.selector, "eth1")
    held = program.hold()
    shutil.copy(program.program, f"{program.program}.new")
    os.rename(f"{program.program}.new", program.program)
    wait_for("the new file", lambda: program.source() == "10.0.1.2")
    time.sleep(AGAIN)
    assert held.lives()
    daemon.ok("assign", program.selector, "eth0")
    assert held.is_cut(), "the old file means the same app"


# A start.


def write_assignments(daemon, *lines):
    daemon.config.write_text("[assignments]\n" + "".join(f"assign = {line}\n" for line in lines))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_cuts_no_app(daemon, app, how):
    daemon.ok("assign", app.selector, "eth1")
    daemon.ok("assign", f"uid:{ALICE}", "eth0", "--prefer")
    held, other = app.hold(), app.other()
    time.sleep(AGAIN)
    daemon.stop(how)
    daemon.start()
    time.sleep(AGAIN)
    assert held.lives() and other.lives() and not destroyed(daemon)
    assert app.source() == "10.0.1.2"


def test_what_was_configured_while_nobody_ran(daemon, app):
    write_assignments(daemon, f"{app.selector} eth1", f"uid:{BOB} eth1")
    daemon.ok("reload")
    held, other, bob = app.hold(), app.other(CONNECTED), app.other(uid=BOB)
    daemon.kill()
    write_assignments(daemon, f"uid:{BOB} eth1", f"uid:{ALICE} eth0")
    daemon.start()
    assert held.is_cut() and bob.lives() and other.lives(), "it was there before it had to be"

    held, other = app.hold(), app.other()
    daemon.kill()
    write_assignments(daemon, f"{app.selector} none", f"uid:{BOB} eth1", f"uid:{ALICE} eth0")
    daemon.start()
    assert held.is_cut() and other.lives() and bob.lives()


# What an earlier run had no time to finish.


def test_an_executable_that_was_written_and_not_committed(machine, daemon, program):
    """Its sockets are found when the next daemon starts, though the table has it already."""
    held = program.hold()
    daemon.kill()
    with Table(machine, "executables") as table:
        table.put(executable(program.program), policy(NONE, 0))
    write_assignments(daemon, f"{program.selector} none")
    capture = Capture(machine)
    daemon.start()
    capture.packets()
    assert program.source() == "EACCES"
    with contextlib.suppress(OSError):
        held.ask("e")
    assert not [p for p in capture.packets() if p[2] in (SERVER4, SERVER6)]
    capture.close()


def test_a_prefix_that_was_written_and_is_of_no_range(machine, daemon):
    """It goes, also where what stands comes to the same without it."""
    daemon.ok("assign", f"uid:{ALICE - 1}-{ALICE + 2}", "eth1")
    netid = daemon.networks()["eth1"]["netid"]
    daemon.kill()
    with Table(machine, "uids") as table:
        table.put(prefix(ALICE), policy(REQUIRE, netid))
    daemon.start()
    assert machine.source(ALICE) == "10.0.1.2"
    daemon.ok("unassign", f"uid:{ALICE - 1}-{ALICE + 2}")
    assert machine.source(ALICE) == "10.0.0.2"


def test_what_no_daemon_writes_is_replaced(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.kill()
    with Table(machine, "uids") as table:
        table.put(prefix(BOB), policy(9, 1))
    daemon.start()
    assert "what waymarkd does not write" in daemon.log
    assert machine.source(ALICE) == "10.0.1.2" and machine.source(BOB) == "10.0.0.2"


SENDER = """
import itertools, socket, sys
for i in itertools.count():
    for family, to in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):
        with socket.socket(family, socket.SOCK_DGRAM) as s:
            try:
                if i % 2: s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, sys.argv[3].encode())
                s.sendto(b'x', (to, 9))
            except OSError: pass
"""


@contextlib.contextmanager
def sending(machine, uid, device):
    """Datagrams without end, each by a new socket; every other one asks for that interface."""
    with machine.popen(["/usr/bin/python3", "-I", "-c", SENDER, SERVER4, SERVER6, device],
                       uid=uid) as process:
        try:
            yield
        finally:
            process.kill()


def starts_until_killed(daemon, number):
    """Does the daemon get as far as answering, when it is to die at its n-th write to a map?"""
    daemon.spawn(wrap=["strace", "-D", "-f", "-q", "-o", "/dev/null", "-e", "trace=bpf",
                       "-e", f"inject=bpf:signal=SIGKILL:when={number}"])
    wait_for("an end", lambda: daemon.ended() or daemon.answers())
    return not daemon.ended()


def test_killed_at_each_step_of_a_start_that_changes_all(machine, daemon):
    """Networks exchange their interfaces and users their networks; none ever sends by the other's."""
    places = {"one": ("eth0", "eth1"), "two": ("eth1", "eth0")}

    def configure(turn):
        daemon.config.write_text(
            "".join(f"[network {name}]\ninterface = {interfaces[turn]}\n"
                    for name, interfaces in places.items())
            + f"[assignments]\nassign = uid:{ALICE} {('one', 'two')[turn]}\n"
              f"assign = uid:{BOB} {('two', 'one')[turn]}\n")

    daemon.env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"  # it is traced
    configure(0)
    daemon.ok("reload")
    assert machine.source(ALICE) == "10.0.0.2" and machine.source(BOB) == "10.0.1.2"
    capture, kills = Capture(machine), 0
    with sending(machine, ALICE, "eth1"):
        for number in range(1, 1000):
            configure(number % 2)
            daemon.kill()
            if starts_until_killed(daemon, number):
                break
            kills += 1
            left = {p[0] for p in capture.packets() if p[2] in (SERVER4, SERVER6) and p[3] == 17}
            assert left <= {"eth0"}, f"at call {number}"
    assert kills > 10
    capture.close()
