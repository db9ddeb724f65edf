# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `maps` back-end, and what the daemon has not heard of yet: a file that has taken another one's
place, a cgroup or a unit that has just been made. Their first socket is held, also when no daemon is
there to read an event.
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import tempfile
import time

import pytest

from bpf_fixture import bpf, cgroup2
from harness import SERVER4, SERVER6, WAIT, WAYMARKD, Capture, wait_for
from maps_fixture import machine

BURST = pathlib.Path(WAYMARKD).parents[1] / "tests/e2e/programs/burst"
OBJ_GET, MAP_GET_NEXT_KEY = 7, 4
MANY = 10000


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix="waymark-names-") as path:
        os.chmod(path, 0o755)
        yield pathlib.Path(path)


@pytest.fixture
def program(folder):
    """An executable of the test's own."""
    return pathlib.Path(shutil.copy(BURST, folder / "app"))


@pytest.fixture
def capture(machine):
    found = Capture(machine)
    yield found
    found.close()


def replace(program):
    """As an upgrade does it."""
    shutil.copy(BURST, f"{program}.new")
    os.rename(f"{program}.new", program)


def left_by(packets):
    """How many packets went to the servers, by interface and protocol; a handshake's count once."""
    found = {}
    for name, _, to, protocol in packets:
        if to in (SERVER4, SERVER6) and protocol in (6, 17):
            found[name, protocol] = found.get((name, protocol), 0) + 1
    return found


def first_acts(machine, capture, program):
    """By which interfaces the first packets of a new process leave."""
    capture.packets()
    machine.run([program, "first", SERVER4, SERVER6], check=False)
    return {name for name, _ in left_by(capture.packets())}


def burst(machine, capture, *words):
    """What `burst WORDS…` prints, and what left meanwhile."""
    packets = []
    with machine.popen([BURST, *map(str, words), SERVER4, SERVER6], stdout=subprocess.PIPE,
                       text=True) as process:
        while process.poll() is None:
            packets += capture.packets()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        good, bad = (int(word) for word in process.stdout.read().split())
    return good, bad, left_by(packets + capture.packets())


@contextlib.contextmanager
def stopped(daemon):
    """A daemon that reads no event."""
    daemon.process.send_signal(signal.SIGSTOP)
    wait_for("the daemon to stop", lambda: pathlib.Path(
        f"/proc/{daemon.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T")
    try:
        yield
    finally:
        daemon.process.send_signal(signal.SIGCONT)


def n_entries(machine, table):
    """How many a table of the programs has."""
    path, = pathlib.Path(machine.bpffs).rglob(table)
    text = os.fsencode(path) + b"\0"
    buffer = ctypes.create_string_buffer(text)
    address = ctypes.addressof(buffer)
    fd, _ = bpf(OBJ_GET, struct.pack("<QII", address, 0, 0))
    keys = [ctypes.create_string_buffer(64) for _ in range(2)]
    n, key = 0, 0
    try:
        while True:
            into = ctypes.addressof(keys[n % 2])
            bpf(MAP_GET_NEXT_KEY, struct.pack("<IIQQ", fd, 0, key, into))
            n, key = n + 1, into
    except FileNotFoundError:
        return n
    finally:
        os.close(fd)


def nothing_is_left(machine):
    return not any(n_entries(machine, table)
                   for table in ("executables", "places", "cgroups", "paths"))


# What the issue asks for.

def test_ten_thousand_short_processes(machine, daemon, program, capture):
    daemon.ok("assign", f"exe:{program}", "eth1")
    good, bad, left = burst(machine, capture, "run", MANY, program)
    assert (good, bad) == (MANY, 0)
    assert {name for name, _ in left} == {"eth1"} and left["eth1", 17] == MANY


def test_ten_thousand_of_a_file_that_is_always_a_new_one(machine, daemon, program, capture):
    daemon.ok("assign", f"exe:{program}", "eth1")
    with machine.popen([BURST, "replace", program, BURST]) as upgrade:
        try:
            good, bad, left = burst(machine, capture, "run", MANY, program)
        finally:
            assert upgrade.poll() is None, "it goes on as long as they run"
            upgrade.kill()
    assert (good, bad) == (MANY, 0)
    assert {name for name, _ in left} == {"eth1"} and left["eth1", 17] == MANY
    daemon.ok("unassign", f"exe:{program}")
    assert nothing_is_left(machine)
    assert first_acts(machine, capture, program) == {"eth0"}


def test_a_unit_that_is_always_a_new_one(machine, daemon, capture):
    daemon.ok("assign", "unit:waymark-names.service", "eth1")
    good, bad, left = burst(machine, capture, "cgroups", 500,
                            machine.cgroup / "waymark-names.service", BURST)
    assert (good, bad) == (500, 0)
    assert {name for name, _ in left} == {"eth1"} and left["eth1", 17] == 500


# With nobody there to read events.

@contextlib.contextmanager
def deaf(daemon, how):
    if how == "killed":
        daemon.kill()
        yield
        daemon.start()
    else:
        with stopped(daemon):
            yield
        assert daemon.answers()


WAYS = pytest.mark.parametrize("how", ["stopped", "killed"])


@WAYS
@pytest.mark.parametrize("network", ["eth1", "none"])
def test_a_file_that_is_replaced(machine, daemon, program, capture, how, network):
    other = shutil.copy(BURST, program.with_name("other"))
    daemon.ok("assign", f"exe:{program}", network)
    held = set() if network == "none" else {network}
    with deaf(daemon, how):
        for _ in range(3):
            replace(program)
            assert first_acts(machine, capture, program) == held
        os.unlink(program)
        shutil.copy(BURST, program)
        assert first_acts(machine, capture, program) == held
        assert first_acts(machine, capture, other) == {"eth0"}, "of the same directory"
    assert first_acts(machine, capture, program) == held
    daemon.ok("unassign", f"exe:{program}")
    assert nothing_is_left(machine)
    assert first_acts(machine, capture, program) == {"eth0"}


@WAYS
def test_a_file_that_was_not_there(machine, daemon, folder, capture, how):
    """Not under that name, nor under the one that it is a link to."""
    (folder / "link").symlink_to(folder / ("longer" * 40))
    daemon.ok("assign", f"exe:{folder}/later", "eth1")
    daemon.ok("assign", f"exe:{folder}/link", "none")
    with deaf(daemon, how):
        shutil.copy(BURST, folder / "later")
        shutil.copy(BURST, folder / ("longer" * 40))
        assert first_acts(machine, capture, folder / "later") == {"eth1"}
        assert first_acts(machine, capture, folder / "link") == set()
        os.rename(folder / ("longer" * 40), folder / "link")
        assert first_acts(machine, capture, folder / "link") == set(), "a file instead of the link"
    assert first_acts(machine, capture, folder / "later") == {"eth1"}
    assert first_acts(machine, capture, folder / "link") == set()


@pytest.mark.parametrize("what", ["exe", "cgroup"])
def test_names_of_all_lengths(machine, daemon, folder, capture, what):
    """Programs in the kernel read them by words of eight bytes."""
    above = folder if what == "exe" else pathlib.Path(
        "/" + str(machine.cgroup.relative_to(cgroup2())))
    names = [("é" + "abcdefghij" * 26).encode()[:n].decode() for n in (*range(2, 26), 254, 255)]
    for name in names:
        daemon.ok("assign", f"{what}:{above}/{name}", "eth1")
    daemon.ok("assign", f"{what}:{above}/{names[9]}x", "none")
    source = shutil.copy(BURST, folder)
    with stopped(daemon):
        for name in names:
            if what == "exe":
                os.link(source, folder / name)
            else:
                machine.below(name)
            program = folder / name if what == "exe" else BURST
            assert first_acts(machine, capture, program) == {"eth1"}, name


SENDER = ("import socket, sys, time\n"
          "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
          "while True:\n"
          "    try: s.sendto(b'x', (sys.argv[1], 9))\n"
          "    except OSError: pass\n"
          "    time.sleep(0.005)\n")


def upgrade(program):
    shutil.copy(program, f"{program}.new")
    os.rename(f"{program}.new", program)


def test_who_began_before_the_upgrades_stays_held(machine, daemon, folder, capture):
    """It runs a file that the daemon has never seen at that place; its socket knows where it was."""
    program = pathlib.Path(shutil.copy(os.path.realpath("/usr/bin/python3"), folder / "python"))
    daemon.ok("assign", f"exe:{program}", "eth1")
    with contextlib.ExitStack() as stack:
        with stopped(daemon):
            upgrade(program)
            process = stack.enter_context(machine.popen([program, "-I", "-c", SENDER, SERVER4]))
            stack.callback(process.kill)
            wait_for("its packets", lambda: ("eth1", 17) in left_by(capture.packets()))
            upgrade(program)
            upgrade(program)
        daemon.ok("assign", "uid:4711", "none")  # a new generation: all are judged anew
        capture.packets()
        wait_for("more", lambda: alone(capture, "eth1"))
        daemon.ok("assign", f"exe:{program}", "none")
        daemon.ok("unassign", "uid:4711")
        capture.packets()
        time.sleep(0.2)
        assert not left_by(capture.packets())
        daemon.ok("unassign", f"exe:{program}")
        assert nothing_is_left(machine)


def alone(capture, name):
    found = {n for n, _ in left_by(capture.packets())}
    assert found <= {name}
    return found


@WAYS
def test_a_cgroup_that_was_not_there(machine, daemon, capture, how):
    """Nor what it is in."""
    path = "/" + str((machine.cgroup / "some/deep/later").relative_to(cgroup2()))
    daemon.ok("assign", f"cgroup:{path}", "eth1")
    daemon.ok("assign", f"cgroup:{path}/inner", "none")
    with deaf(daemon, how):
        for below, names in (("some", {"eth0"}), ("some/deep", {"eth0"}),
                             ("some/deep/later", {"eth1"}), ("some/deep/later/more", {"eth1"}),
                             ("some/deep/later/inner", set()), ("some/deep/inner", {"eth0"})):
            machine.below(below)
            assert first_acts(machine, capture, BURST) == names, below
    machine.below("some/deep/later")
    assert first_acts(machine, capture, BURST) == {"eth1"}
    daemon.ok("unassign", f"cgroup:{path}")
    assert first_acts(machine, capture, BURST) == {"eth0"}
    machine.below("some/deep/later/inner")
    assert first_acts(machine, capture, BURST) == set()
    daemon.ok("unassign", f"cgroup:{path}/inner")
    assert nothing_is_left(machine)


@WAYS
def test_a_unit_that_was_not_there(machine, daemon, capture, how):
    """Units are where systemd makes them, and nowhere else: what others call so is none."""
    daemon.ok("assign", "unit:names.service", "eth1")
    with deaf(daemon, how):
        for below, names in (("names.service", {"eth1"}), ("a.slice", {"eth0"}),
                             ("a.slice/_names.service", {"eth1"}), ("box.service", {"eth0"}),
                             ("box.service/names.service", {"eth0"}), ("user@7.service", {"eth0"}),
                             ("user@7.service/app.slice", {"eth0"}),
                             ("user@7.service/app.slice/names.service", {"eth1"}),
                             ("user@7.service/init.scope", {"eth0"}),
                             ("user@7.service/init.scope/names.service", {"eth0"})):
            machine.below(below)
            assert first_acts(machine, capture, BURST) == names, below
    machine.below("names.service")
    assert first_acts(machine, capture, BURST) == {"eth1"}
    daemon.ok("unassign", "unit:names.service")
    assert nothing_is_left(machine)
    assert first_acts(machine, capture, BURST) == {"eth0"}


def test_a_file_that_is_moved_to_the_place_of_another(machine, daemon, program, capture):
    """It was on a network, and is in the place of one that is blocked; and the other way round."""
    other = pathlib.Path(shutil.copy(BURST, program.with_name("other")))
    daemon.ok("assign", f"exe:{program}", "none")
    daemon.ok("assign", f"exe:{other}", "eth1")
    with stopped(daemon):
        os.link(program, f"{program}.old")
        os.rename(other, program)
        assert first_acts(machine, capture, program) == set()
        os.rename(f"{program}.old", other)
        assert first_acts(machine, capture, other) == set()
    wait_for("the daemon to know", lambda: first_acts(machine, capture, other) == {"eth1"})
    assert first_acts(machine, capture, program) == set()


def selector_of(daemon, program):
    """Of the assignment that the daemon finds for it now."""
    return daemon.json("explain", "--exe", str(program))["explanation"].get("selector")


def test_a_file_that_is_mounted_over(machine, daemon, program, capture):
    """That is no event of a directory; whose place the file below it keeps."""
    other = shutil.copy(BURST, program.with_name("other"))
    daemon.ok("assign", f"exe:{program}", "eth1")
    subprocess.run(["mount", "--bind", other, program], check=True)
    try:
        wait_for("the other file", lambda: first_acts(machine, capture, program) == {"eth1"})
    finally:
        subprocess.run(["umount", program], check=True)
    # to run it would be to keep it: what runs a file that was assigned is held until it ends
    wait_for("it to be itself again", lambda: not selector_of(daemon, other))
    assert first_acts(machine, capture, other) == {"eth0"}
    assert first_acts(machine, capture, program) == {"eth1"}


def test_the_root(machine, daemon, capture):
    daemon.ok("assign", "unit:-.slice", "eth1")
    assert first_acts(machine, capture, BURST) == {"eth1"}
    daemon.ok("assign", "cgroup:/", "none")
    assert first_acts(machine, capture, BURST) == set()


# Nothing is left behind.

def test_unassigned_before_the_daemon_knew(machine, daemon, program, capture):
    path = "/" + str((machine.cgroup / "later").relative_to(cgroup2()))
    daemon.ok("assign", f"exe:{program}", "none")
    daemon.ok("assign", f"cgroup:{path}", "none")
    with stopped(daemon):
        replace(program)
        assert first_acts(machine, capture, program) == set()
        machine.below("later")
        assert first_acts(machine, capture, BURST) == set()
        requests = [daemon.popen("unassign", s) for s in (f"exe:{program}", f"cgroup:{path}")]
    for request in requests:
        with request:
            request.communicate(timeout=WAIT)
        assert request.returncode == 0
    assert nothing_is_left(machine)
    assert first_acts(machine, capture, program) == {"eth0"}


def test_another_network_before_the_daemon_knew(machine, daemon, program, capture):
    daemon.ok("assign", f"exe:{program}", "none")
    with stopped(daemon):
        replace(program)
        assert first_acts(machine, capture, program) == set()
    daemon.ok("assign", f"exe:{program}", "eth1")
    assert first_acts(machine, capture, program) == {"eth1"}
    daemon.ok("assign", f"exe:{program}", "eth1", "--prefer")
    with stopped(daemon):
        replace(program)
        assert first_acts(machine, capture, program) == {"eth1"}


def test_what_was_unassigned_while_nobody_ran(machine, daemon, program, capture):
    daemon.ok("assign", f"exe:{program}", "none")
    daemon.ok("assign", "unit:names.service", "none")
    daemon.stop()
    replace(program)
    machine.below("names.service")
    assert first_acts(machine, capture, BURST) == set()
    daemon.state_file.write_text("".join(
        line for line in daemon.state_file.read_text().splitlines(True)
        if "exe" not in line and "unit" not in line))
    daemon.start()
    assert not daemon.assignments()
    assert nothing_is_left(machine)
    assert first_acts(machine, capture, program) == {"eth0"}
