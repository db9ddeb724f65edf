# SPDX-License-Identifier: LGPL-2.1-or-later
"""explain of a process, an executable, a unit, a cgroup: what is said is what its sockets do."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import subprocess
import tempfile

import pytest

from bpf_fixture import cgroup2
from harness import PORT, SERVER4, SERVER6, Instance, Machine
from maps_fixture import BoundMachine
from test_traffic import ask_netd

ALICE, BOB, CAROL, DAVE = 3001, 3002, 3003, 3004
SOURCES = {"eth0": ("10.0.0.2", "fd00::2"), "eth1": ("10.0.1.2", "fd00:1::2")}

# Asked for (server, device or null), a process says (mark, the source that the server sees, or errno).
APP = f"""
import errno, json, socket, sys
print("ready", flush=True)
for line in sys.stdin:
    server, device = json.loads(line)
    s = socket.socket(socket.AF_INET6 if ":" in server else socket.AF_INET, socket.SOCK_DGRAM)
    s.settimeout(20)
    try:
        if device:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        s.connect((server, {PORT}))
        s.send(b"x")
        got = s.recv(200).split()[0].decode()
    except OSError as e:
        got = errno.errorcode[e.errno]
    print(json.dumps([s.getsockopt(socket.SOL_SOCKET, socket.SO_MARK), got]), flush=True)
"""


class App:
    """A process that opens sockets when asked to, and the selectors by which it is known."""

    def __init__(self, machine, uid, program="/usr/bin/python3", place=""):
        self.uid, self.exe = uid, os.path.realpath(program)
        machine.below(place) if place else None
        self.process = machine.popen([str(program), "-I", "-c", APP], uid=uid, text=True,
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        machine.place = machine.cgroup
        assert self.process.stdout.readline() == "ready\n"
        self.pid = self.process.pid
        self.cgroup = next(line[3:].strip() for line in pathlib.Path(
            f"/proc/{self.pid}/cgroup").read_text().splitlines() if line.startswith("0::"))

    def ask(self, server=SERVER4, device=None):
        self.process.stdin.write(json.dumps([server, device]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(20) == 0
        self.process.stdout.close()


class House:
    """A machine with an app for each kind of selector."""

    def __init__(self):
        with contextlib.ExitStack() as stack:
            self.folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="waymark-exe-"))
            os.chmod(self.folder, 0o755)
            program = pathlib.Path(self.folder) / "app"
            shutil.copy(os.path.realpath("/usr/bin/python3"), program)
            self.machine = BoundMachine()
            stack.callback(self.machine.close)
            self.daemon = Instance(self.machine, *self.machine.options())
            stack.callback(self.daemon.close)
            self.daemon.start()
            self.unit = f"waymark-test-{os.getpid()}.service"
            self.apps = {
                "uid": App(self.machine, ALICE),
                "cgroup": App(self.machine, BOB, place="apps"),
                "unit": App(self.machine, CAROL, place=self.unit),
                "exe": App(self.machine, DAVE, program),
                "exe of root": App(self.machine, 0, program),
            }
            for app in self.apps.values():
                stack.callback(app.close)
            self.selectors = {
                "uid": f"uid:{ALICE}", "cgroup": f"cgroup:{self.apps['cgroup'].cgroup}",
                "unit": f"unit:{self.unit}", "exe": f"exe:{program}",
                "exe of root": f"exe:{program}",
            }
            self.program = program
            self.close = stack.pop_all().close

    def explain(self, *args):
        return self.daemon.json("explain", *args)["explanation"]

    def forget(self):
        for selector in self.daemon.assignments():
            self.daemon.ok("unassign", selector)
        self.daemon.ok("default", "system")


@pytest.fixture(name="shared", scope="module")
def shared_house():
    house = House()
    yield house
    house.close()


@pytest.fixture
def house(shared):
    yield shared
    shared.forget()


def check(house, name, selector, step, server):
    """What is said of the process is what it does; and it is told of by its properties alone, too."""
    app = house.apps[name]
    said = house.explain("--pid", str(app.pid), server)
    assert (said["selector"], said["step"]) == (selector, step)
    assert (said["pid"], said["uid"], said["cgroup"], said["exe"]) == (
        app.pid, app.uid, app.cgroup, app.exe)
    assert said["kernel_agrees"], said["kernel"]
    mark, got = app.ask(server)
    assert said["mark"] == mark and said["decision"][-1]["mark"] == mark
    if said["error"]:
        assert errno.errorcode[said["error"]] == got
    else:
        assert SOURCES[said["interface"]][":" in server] == got
    for args in (("--uid", str(app.uid), "--cgroup", app.cgroup, "--exe", app.exe),
                 ("--uid", str(app.uid), "--unit", house.unit, "--exe", app.exe)):
        if name == "unit" or "--unit" not in args:
            other = house.explain(*args, server)
            assert {k: v for k, v in said.items() if k != "pid"} == other
    alone = house.explain("--pid", str(app.pid))
    assert {k: alone[k] for k in ("selector", "step", "mark", "decision", "others")} == {
        k: said[k] for k in ("selector", "step", "mark", "decision", "others")}
    return said, alone


STRENGTHS = {"require": ["eth1"], "prefer": ["eth1", "--prefer"], "none": ["none"],
             "prefer absent": ["away", "--prefer"], "require absent": ["away"]}
STEPS = {"uid": "uid", "cgroup": "cgroup", "unit": "cgroup", "exe": "exe", "exe of root": "exe"}


@pytest.mark.parametrize("default", ["system", "eth0", "eth1"])
@pytest.mark.parametrize("strength", STRENGTHS)
def test_mark_and_verdict_are_those_of_a_real_socket(house, default, strength):
    if "away" not in house.daemon.networks():
        house.daemon.ok("network", "add", "away")
    house.daemon.ok("default", default)
    for selector in set(house.selectors.values()):
        house.daemon.ok("assign", selector, *STRENGTHS[strength])
    for name, selector in house.selectors.items():
        for server in (SERVER4, SERVER6):
            said, alone = check(house, name, selector, STEPS[name], server)
            held = strength != "prefer" and strength != "prefer absent"
            assert alone["guard"] == ("held" if held else "unassigned")
            assert alone["ports"] == (["eth1"] if strength == "require" else [])
            assert bool(said["error"]) == (strength in ("none", "require absent"))


@pytest.mark.parametrize("default", ["system", "eth0"])
def test_the_unassigned(house, default):
    house.daemon.ok("default", default)
    for name in house.apps:
        for server in (SERVER4, SERVER6):
            said, alone = check(house, name, "", "none", server)
            assert said["others"] == [] and alone["guard"] == "unassigned"


@pytest.mark.parametrize("secure", [0, 1])
def test_users_of_a_vpn(house, secure):
    """A VPN goes by the uid; who prefers another network is its user all the same."""
    for line in (f"network create 150 vpn 1 {secure}", "network interface add 150 eth1",
                 f"network users add 150 {ALICE} {DAVE}"):
        assert b"200 1 success" in ask_netd(house.daemon, line), line
    vpn, = [name for name, n in house.daemon.networks().items() if n["netid"] == 150]
    try:
        check(house, "uid", "", "none", SERVER4)
        check(house, "exe", "", "none", SERVER4)
        for name in ("uid", "exe"):
            selector = house.selectors[name]
            for network in (["eth0", "--prefer"], [vpn, "--prefer"], ["eth0"], [vpn]):
                house.daemon.ok("assign", selector, *network)
                check(house, name, selector, STEPS[name], SERVER4)
        house.daemon.ok("default", "eth0")
        check(house, "cgroup", "", "none", SERVER4)
    finally:
        house.daemon.ok("network", "remove", vpn)


def test_a_bound_device_is_what_the_guard_judges(house):
    house.daemon.ok("assign", house.selectors["exe"], "eth1")
    app = house.apps["exe"]
    for device in ("eth0", "eth1"):
        said = house.explain("--pid", str(app.pid), "--dev", device, SERVER4)
        mark, got = app.ask(SERVER4, device)
        assert said["mark"] == mark
        assert said["guard"] == {"eth0": "drop", "eth1": "allowed"}[device]
        assert got == {"eth0": "EPERM", "eth1": "10.0.1.2"}[device]
        assert bool(said["error"]) == (device == "eth0")


def test_who_lost_and_why(house):
    app, unit = house.apps["unit"], house.selectors["unit"]
    slice_ = f"cgroup:/{house.machine.cgroup.relative_to(cgroup2())}"
    exe = f"exe:{app.exe}"
    for selector, network in ((unit, "eth1"), (f"cgroup:{app.cgroup}", "none"), (slice_, "eth0"),
                              (f"uid:{CAROL}", "eth0"), (f"uid:{CAROL}-{DAVE}", "eth1"),
                              (f"uid:{DAVE}", "none")):
        house.daemon.ok("assign", selector, network)
    said, _ = check(house, "unit", f"cgroup:{app.cgroup}", "cgroup", SERVER4)
    others = {o["selector"]: (o["step"], o["why"]) for o in said["others"]}
    assert list(others) == [unit, slice_, f"uid:{CAROL}", f"uid:{CAROL}-{DAVE}"]
    assert "stricter" in others[unit][1] and "nearer" in others[slice_][1]
    assert "order" in others[f"uid:{CAROL}"][1] and others[f"uid:{CAROL}"][0] == "uid"
    house.daemon.ok("assign", exe, "eth1", "--prefer")
    said, _ = check(house, "unit", exe, "exe", SERVER4)
    assert "order" in said["others"][0]["why"]
    text = house.daemon.ok("explain", "--pid", str(app.pid)).out.splitlines()
    assert text[0] == f"process {app.pid}, uid {CAROL}, cgroup {app.cgroup}, {app.exe}"
    assert text[1] == f"assignment: {exe} to eth1 (prefer)"
    assert text[2].startswith(f"            not cgroup:{app.cgroup} is blocked: the order is")
    for selector in (f"cgroup:{app.cgroup}", unit, slice_, exe):
        house.daemon.ok("unassign", selector)
    said, _ = check(house, "unit", f"uid:{CAROL}", "uid", SERVER4)
    assert "closer" in said["others"][0]["why"]


def test_what_does_not_run_yet(house):
    house.daemon.ok("assign", "unit:waymark-nobody.service", "eth1")
    said = house.explain("--unit", "waymark-nobody.service", "--uid", str(ALICE), SERVER4)
    assert said["absent"] and said["cgroup"] == "/system.slice/waymark-nobody.service"
    assert (said["selector"], said["interface"]) == ("unit:waymark-nobody.service", "eth1")
    assert (said["guard"], said["error"]) == ("allowed", 0)
    assert "does not run" in house.daemon.ok("explain", "--unit", "waymark-nobody.service").out


def test_the_executable_of_others_is_not_told(house):
    app = house.apps["exe"]
    for uid, told in ((0, True), (DAVE, True), (ALICE, False)):
        said = house.daemon.json("explain", "--pid", str(app.pid), uid=uid)["explanation"]
        assert ("exe" in said) == told and said["uid"] == DAVE


@pytest.mark.parametrize("args,code,message", [
    ([], 2, "explain what?"),
    (["--pid", "1", "--exe", "/bin/sh"], 2, "--pid says by itself"),
    (["--unit", "a.service", "--cgroup", "/x"], 2, "only one of --unit and --cgroup"),
    (["--uid", "1", "--dev", "eth0"], 2, "name its destination"),
    (["--exe", "/no/such/program"], 10, "there is no program"),
    (["--unit", "nonsense"], 4, "unit"),
    (["--cgroup", "relative"], 4, "start with"),
    (["--pid", "4194300"], 10, "there is no process"),
])
def test_questions_that_make_no_sense(house, args, code, message):
    result = house.daemon("explain", *args)
    assert (result.code, result.out) == (code, "") and message in result.err


def test_rules_know_users_alone():
    machine = Machine()
    daemon = Instance(machine, "--backend", "rules")
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        with machine.popen(["sleep", "1000"], uid=ALICE) as process:
            said = daemon.json("explain", "--pid", str(process.pid), SERVER4)["explanation"]
            text = daemon.ok("explain", "--pid", str(process.pid)).out
            process.kill()
        assert (said["selector"], said["interface"], said["backend"]) == (
            f"uid:{ALICE}", "eth1", "rules")
        assert "decision" not in said and said["mark_reason"] == ""
        assert "the back-end rules knows users alone" in text
    finally:
        daemon.close()
        machine.close()
