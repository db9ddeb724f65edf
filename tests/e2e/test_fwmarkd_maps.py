# SPDX-License-Identifier: LGPL-2.1-or-later
"""fwmarkd beside programs at the cgroup (`maps`): the same answers and marks, and processes are known.

Android's tables are those of test_fwmarkd.py, run once more. The others compare, for one process, what
it is told with what the programs at the cgroup make of its sockets, and with what who is assigned by
his user is told.
"""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

import pytest

from fwmarkd_client import (EXPLICIT, ON_ACCEPT, ON_CONNECT, ON_CONNECT_COMPLETE, ON_SENDTO,
                            PROTECT_FROM_VPN, QUERY_USER_ACCESS, SELECT_FOR_USER,
                            SELECT_NETWORK, Daemon, answer, ask, command, connect,
                            destination, get_mark, links, marked, send)
from harness import PORT, SERVER4, WAIT, Instance, wait_for
from maps_fixture import BoundMachine
from netd_fixture import OK, Client, check
# pylint: disable=unused-import
from test_fwmarkd import (ASSIGNMENTS, NETWORKS, test_access, test_assigned,
                          test_assignments_change, test_commands, test_destinations,
                          test_typical_marks)

APP = 24000
BLOCKED = EXPLICIT | 52


@pytest.fixture(scope="module")
def android():
    """As in test_fwmarkd.py, with the other back-end."""
    with links() as ns:
        ns.bind()
        d = Daemon(ns, "--no-host-networks")
        try:
            d.start()
            with Client(d) as c:
                check(c, [("network create 109", OK)], setup=NETWORKS)
                for uid, *words in ASSIGNMENTS:
                    d.ok("assign", f"uid:{uid}", *words)
                check(c, [("network destroy 109", OK)])
            yield d
        finally:
            d.close()


# A process of its own, that asks.

def ask_and_connect(path, requests):
    """Of each request, with a new socket: the answer; the mark when the socket was made, after the
    answer, and when it has connected (or the errno of that)."""
    told = []
    for data in requests:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            marks = [get_mark(sock)]
            result = ask(path, bytes(data), [] if data[0] == QUERY_USER_ACCESS else [sock.fileno()])
            marks.append(get_mark(sock))
            sock.connect_ex((SERVER4, PORT))
            marks.append(get_mark(sock))
        told.append([result, *marks])
    return told


CLIENT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import test_fwmarkd_maps
print(json.dumps(test_fwmarkd_maps.ask_and_connect(sys.argv[2], json.loads(sys.argv[3]))))
"""
HERE = str(pathlib.Path(__file__).parent)


class World:
    """A machine with the programs, a daemon, and an executable that everybody may run."""

    def __init__(self):
        self.machine = BoundMachine()
        self.daemon = Instance(self.machine)
        self.folder = tempfile.TemporaryDirectory(prefix="waymark-exe-")
        os.chmod(self.folder.name, 0o755)
        self.program = f"{self.folder.name}/app"
        shutil.copy(os.path.realpath("/usr/bin/python3"), self.program)
        self.path = f"{self.daemon.runtime}/fwmarkd"

    def start(self):
        self.daemon.start()
        self.ids = {name: n["netid"] for name, n in self.daemon.networks().items()}
        self.cgroup = self.machine.below("app.service")
        self.machine.below("other")
        self.selectors = {"uid": f"uid:{APP}", "exe": f"exe:{self.program}",
                          "cgroup": f"cgroup:{self.cgroup}", "unit": "unit:app.service"}
        return self

    def close(self):
        self.daemon.close()
        self.machine.close()
        self.folder.cleanup()

    @contextlib.contextmanager
    def assigned(self, kind, strength):
        """Strength is of the words below; the process that is meant begins in the block."""
        words = {"require": ["eth1"], "prefer": ["eth1", "--prefer"], "none": ["none"]}
        if strength in words:
            self.daemon.ok("assign", self.selectors[kind], *words[strength])
        self.machine.below("app.service" if kind in ("cgroup", "unit") else "other")
        try:
            yield
        finally:
            self.machine.below("other")
            if strength in words:
                self.daemon.ok("unassign", self.selectors[kind])

    def popen(self, kind, code, *arguments, uid=APP, **options):
        program = self.program if kind == "exe" else "/usr/bin/python3"
        return self.machine.popen([program, "-c", code, HERE, self.path, *arguments], uid=uid,
                                  stdout=subprocess.PIPE, text=True,
                                  env={"PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"],
                                       "WAYMARKD": os.environ.get("WAYMARKD", "")}, **options)

    def ask(self, kind, requests, uid=APP):
        with self.popen(kind, CLIENT, json.dumps([list(data) for data in requests]),
                        uid=uid) as process:
            out, _ = process.communicate(timeout=WAIT)
        assert process.returncode == 0
        return json.loads(out)


@pytest.fixture(scope="module", name="world")
def make_world():
    world = World()
    try:
        yield world.start()
    finally:
        world.close()


def table(ids):
    """Request: by strength, the answer and the mark after it; None: as it was made."""
    one, other = ids["eth1"], ids["eth0"]
    held, refused = (0, EXPLICIT | one), ("EPERM", None)
    blocked = (0, BLOCKED)
    to = destination(SERVER4)
    rows = {
        #                                   unassigned        require  prefer          none
        command(SELECT_NETWORK, one):    ((0, EXPLICIT | one), held, (0, EXPLICIT | one), refused),
        command(SELECT_NETWORK, other):  ((0, EXPLICIT | other), refused, (0, EXPLICIT | other),
                                          refused),
        command(SELECT_NETWORK):         ((0, 0), held, (0, 0), blocked),
        command(SELECT_NETWORK, 9999):   (("ENONET", None), refused, ("ENONET", None), refused),
        command(PROTECT_FROM_VPN):       (refused,) * 4,
        command(SELECT_FOR_USER, uid=5): (refused,) * 4,
        command(QUERY_USER_ACCESS, one, APP): (refused,) * 4,
        command(ON_CONNECT):             ((0, 0), held, (0, one), blocked),
        command(ON_CONNECT) + to:        ((0, 0), held, (0, one), blocked),
        command(ON_ACCEPT):              ((0, 0), held, (0, one), blocked),
        command(ON_CONNECT_COMPLETE) + to: ((0, 0), held, (0, one), blocked),
        command(ON_SENDTO):              ((0, None),) * 4,
    }
    made = {"unassigned": 0, "require": EXPLICIT | one, "prefer": one, "none": BLOCKED}
    return rows, made


@pytest.mark.parametrize("strength", ["unassigned", "require", "prefer", "none"])
@pytest.mark.parametrize("kind", ["uid", "exe", "cgroup", "unit"])
def test_what_a_process_is_told_and_what_its_sockets_do(world, kind, strength):
    """A row of the table for each command; and connect(), of which nothing is told to the daemon,
    leaves the mark as the answer did."""
    rows, made = table(world.ids)
    at = ["unassigned", "require", "prefer", "none"].index(strength)
    with world.assigned(kind, strength):
        told = world.ask(kind, rows)
    for (data, row), (result, before, after, connected) in zip(rows.items(), told):
        want, mark = row[at]
        assert (result, before) == (want, made[strength]), (data.hex(), row)
        assert after == (before if mark is None else mark), (data.hex(), hex(after))
        # SELECT 0 takes back what is only preferred; who connects then gets it again
        assert connected == (made[strength] if after == 0 else after), (data.hex(), hex(connected))


def test_root_is_told_the_same_whatever_he_is_known_by(world):
    """With all permissions: held he is all the same, and may protect where that leads nowhere."""
    rows, _ = table(world.ids)
    requests = [data for data in rows if data[0] != ON_SENDTO]
    for strength in ("require", "prefer", "none"):
        found = {}
        for kind in ("exe", "cgroup"):
            with world.assigned(kind, strength):
                found[kind] = world.ask(kind, requests, uid=0)
        assert found["exe"] == found["cgroup"]
        by_request = {data: told for data, told in zip(requests, found["exe"])}
        protect, query, choose = (by_request[data][0] for data in (
            command(PROTECT_FROM_VPN), command(QUERY_USER_ACCESS, world.ids["eth1"], APP),
            command(SELECT_FOR_USER, uid=5)))
        assert query == 0, "asked of another user, who is not assigned"
        assert (protect, choose) == {"require": (0, "EPERM"), "prefer": (0, 0),
                                     "none": ("EPERM", "EPERM")}[strength]


def test_precedence_is_that_of_the_programs(world):
    """exe before cgroup before uid: in the answer and in the mark of a new socket."""
    one, other = world.ids["eth1"], world.ids["eth0"]
    daemon, selectors = world.daemon, world.selectors
    requests = [command(SELECT_NETWORK)]
    world.machine.below("app.service")
    try:
        daemon.ok("assign", selectors["uid"], "none")
        assert world.ask("exe", requests)[0][1:3] == [BLOCKED] * 2
        daemon.ok("assign", selectors["cgroup"], "eth0")
        assert world.ask("exe", requests)[0][1:3] == [EXPLICIT | other] * 2
        daemon.ok("assign", selectors["exe"], "eth1")
        assert world.ask("exe", requests)[0][1:3] == [EXPLICIT | one] * 2
        assert world.ask("uid", requests)[0][1:3] == [EXPLICIT | other] * 2, "another program"
        daemon.ok("assign", selectors["exe"], "eth1", "--prefer")
        assert world.ask("exe", requests)[0][1:3] == [one, 0]
    finally:
        for kind in ("uid", "cgroup", "exe"):
            daemon("unassign", selectors[kind])
        world.machine.below("other")


def test_an_executable_that_was_replaced_is_followed(world):
    """The new file and, while it runs, the old one."""
    code = CLIENT.replace("print", "sys.stdin.readline(); print")
    requests = json.dumps([list(command(SELECT_NETWORK, world.ids["eth0"]))])
    with world.assigned("exe", "require"):
        with world.popen("exe", code, requests, stdin=subprocess.PIPE) as old:
            wait_for("it to run", lambda: os.path.samefile(f"/proc/{old.pid}/exe", world.program))
            shutil.copy(world.program, f"{world.program}.new")
            os.rename(f"{world.program}.new", world.program)
            wait_for("the new file", lambda: world.ask(
                "exe", [command(SELECT_NETWORK, world.ids["eth0"])])[0][0] == "EPERM")
            out, _ = old.communicate("go\n", timeout=WAIT)
        assert json.loads(out)[0][0] == "EPERM"


@contextlib.contextmanager
def overlay(*lower):
    """A folder that is an overlay over these; what is written there stays above."""
    with tempfile.TemporaryDirectory(prefix="waymark-overlay-") as folder:
        os.chmod(folder, 0o755)
        upper, work, merged = (pathlib.Path(folder, name) for name in ("upper", "work", "merged"))
        for path in (upper, work, merged):
            path.mkdir(mode=0o755)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={':'.join(lower)},"
                        f"upperdir={upper},workdir={work}", str(merged)], check=True)
        try:
            yield merged
        finally:
            subprocess.run(["umount", str(merged)], check=True)


@pytest.mark.parametrize("copied", [False, True], ids=["lower", "upper"])
def test_an_executable_on_an_overlay(world, copied):
    """There stat(2) names another device than the kernel's programs see."""
    request, plain = command(SELECT_NETWORK, world.ids["eth0"]), world.program
    with overlay(world.folder.name) as folder:
        world.program = str(folder / "app")
        if copied:
            os.utime(world.program)
        try:
            world.daemon.ok("assign", f"exe:{world.program}", "eth1")
            held = ["EPERM"] + [EXPLICIT | world.ids["eth1"]] * 3
            assert world.ask("exe", [request]) == [held]
            assert world.ask("uid", [request])[0][0] == 0
        finally:
            world.daemon("unassign", f"exe:{world.program}")
            world.program = plain


# Who is it?

EXEC = """
import os, socket, sys
sys.path.insert(0, sys.argv[1])
if sys.argv[3] == "connect":
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(sys.argv[2])
    sock.set_inheritable(True)
    os.execv(sys.argv[4], [sys.argv[4], "-c", sys.argv[5], *sys.argv[1:3], str(sock.fileno()),
                           *sys.argv[4:]])
import fwmarkd_client as f
with socket.socket() as sock:
    client = socket.socket(fileno=int(sys.argv[3]))
    client.settimeout(20)
    f.send(client, bytes.fromhex(sys.argv[6]), [sock.fileno()])
    print(f.answer(client))
"""


@pytest.mark.parametrize("before,after,result", [("exe", "uid", "0"), ("uid", "exe", "EPERM")])
def test_who_executes_another_program_is_that_one(world, before, after, result):
    """It connects as one program, and asks as the other, which is what makes its sockets then."""
    programs = {"exe": world.program, "uid": "/usr/bin/python3"}
    with world.assigned("exe", "require"):
        with world.popen(before, EXEC, "connect", programs[after], EXEC,
                         command(SELECT_NETWORK, world.ids["eth0"]).hex()) as process:
            out, _ = process.communicate(timeout=WAIT)
    assert out == f"{result}\n"


def leave_connection(path, passing):
    """Connects, hands the connection over, and ends."""
    with socket.socket(fileno=passing) as way, connect(path) as sock:
        socket.send_fds(way, [b"x"], [sock.fileno()])


def test_who_is_gone_is_nobody(world):
    """His connection is in other hands: whose process that was cannot be told any more."""
    request = command(SELECT_NETWORK, world.ids["eth0"])

    def ask_with_connection_of_the_dead():
        ours, theirs = socket.socketpair()
        world.machine.call(leave_connection, world.path, theirs.fileno())
        _, (fd,), _, _ = socket.recv_fds(ours, 1, 1)
        with ours, theirs, socket.socket(fileno=fd) as sock, marked() as marked_socket:
            sock.settimeout(WAIT)
            send(sock, request, [marked_socket.fileno()])
            return answer(sock), get_mark(marked_socket)

    assert ask_with_connection_of_the_dead()[0] == 0, "nothing is asked of processes"
    with world.assigned("exe", "require"):
        assert ask_with_connection_of_the_dead() == ("EREMOTEIO", 0)


def many(path, netid, n):
    results = set()
    for _ in range(n):
        with socket.socket() as sock:
            results.add((ask(path, command(SELECT_NETWORK, netid), [sock.fileno()]),
                         get_mark(sock) & 0xFFFF))
    return results


def test_each_gets_his_own_answer(world):
    """Held and not held at once, on many connections; and the daemon lets all of it go again."""
    netid, n = world.ids["eth0"], 300
    with world.assigned("cgroup", "require"):
        files = world.daemon.open_files()  # and perhaps the client's that has assigned
        held = [world.machine.start_call(many, world.path, netid, n, uid=uid) for uid in (0, APP)]
        world.machine.below("other")
        free = [world.machine.start_call(many, world.path, netid, n, uid=uid) for uid in (0, APP)]
        for call in held:
            assert call.result() == {("EPERM", world.ids["eth1"])}
        for call in free:
            assert call.result() == {(0, netid)}
        wait_for("all to be closed", lambda: world.daemon.open_files() <= files)
        with contextlib.ExitStack() as stack:  # those that are on their way when the daemon ends
            for _ in range(50):
                client = stack.enter_context(connect(world.path))
                sock = stack.enter_context(marked())
                send(client, command(SELECT_NETWORK, netid), [sock.fileno()])
            world.daemon.stop()
        world.daemon.start()


@contextlib.contextmanager
def small_disk(daemon):
    """The daemon, started anew with nothing stored; what it stores has little room."""
    state = daemon.stop().folder / "state"
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(state)], check=True)
    try:
        yield daemon.start().folder / "state"
    finally:
        daemon.stop()
        subprocess.run(["umount", str(state)], check=True)
        daemon.start()


def fill(path):
    with open(path, "wb", buffering=0) as filler, contextlib.suppress(OSError):
        while filler.write(b"x" * 512):
            pass


def test_a_failed_change_leaves_what_is_known(world):
    """Selectors are looked up for a plan that then is not carried out."""
    request = command(SELECT_NETWORK, world.ids["eth0"])
    with small_disk(world.daemon) as state, world.assigned("exe", "require"):
        fill(state / "filler")
        codes = [world.daemon("assign", f"exe:/bin/{'a' * 3000}{i}", "none").code
                 for i in range(5)]
        assert codes[-1] == 4  # they sort before it: its number is another one in that plan
        assert world.ask("exe", [request])[0][0] == "EPERM"
        assert world.ask("uid", [request])[0][0] == 0
        os.unlink(state / "filler")
