# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark run NETWORK PROGRAM`: in a cgroup of its own, on its network from the first socket on.

Here the daemon makes the cgroups; tests/install/test_run_systemd.py has systemd make them.
"""

import contextlib
import errno
import os
import pathlib
import pty
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile

import pytest

from broker_fixture import Broker, Polkit
from dbus_peer import DBusError, Peer
from harness import (PORT, SERVER4, SERVER6, WAIT, WAYMARK, WAYMARKD, Accounts, Capture, Instance, Namespace,
                     cgroup2, wait_for)
from maps_fixture import machine

ALICE, BOB, DAEMON, BIN = 2001, 2002, 1, 2
ETH0, ETH1 = "10.0.0.2", "10.0.1.2"
PROGRAMS = pathlib.Path(WAYMARKD).parents[1] / "tests/e2e/programs"
MARK = 0x10000 + 101  # explicit, the netId of eth1


def run(daemon, network, *program, **options):
    return daemon("run", network, "--scope", "daemon", "--", *program, **options)


def plain(daemon, network, server=SERVER4, kind="tcp", how="main", program="plain-static", **options):
    """(mark, outcome) of the first socket of a program that is run."""
    result = run(daemon, network, str(PROGRAMS / program), kind, server, str(PORT), how, **options)
    mark, outcome = result.out.split()
    return mark if mark == "-" else int(mark, 16) & 0x1FFFF, outcome


def runs(daemon):
    return [a for a in daemon.assignments().values() if a["origin"] == "run"]


def cgroups(machine):
    return list(machine.cgroup.rglob("waymark*"))


def is_clean(machine, daemon):
    return not runs(daemon) and not cgroups(machine) and not records(daemon)


def records(daemon):
    folder = pathlib.Path(daemon.runtime) / "runs"
    return os.listdir(folder) if folder.exists() else []


@contextlib.contextmanager
def running(daemon, network, *program, **options):
    """Until it has been killed; it is bound by the time the block begins."""
    before = len(runs(daemon))
    with daemon.popen("run", network, "--scope", "daemon", "--", *program, **options) as process:
        try:
            wait_for("the run", lambda: process.poll() is not None or len(runs(daemon)) > before)
            yield process
        finally:
            process.kill()


# On its network.

@pytest.mark.parametrize("program", ["plain", "plain-static"])
@pytest.mark.parametrize("server,source", [(SERVER4, ETH1), (SERVER6, "fd00:1::2")])
@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_the_first_socket_is_on_the_network(machine, daemon, program, server, source, kind):
    capture = Capture(machine)
    assert plain(daemon, "eth1", server, kind, program=program, uid=ALICE) == (MARK, source)
    assert not [p for p in capture.packets() if p[0] == "eth0" and p[2] == server]
    capture.close()
    assert machine.source(ALICE) == ETH0, "others of the same user are where they were"


@pytest.mark.parametrize("how", ["thread", "fork"])
def test_so_are_threads_and_children(daemon, how):
    assert plain(daemon, "eth1", how=how, uid=ALICE) == (MARK, ETH1)


def test_so_are_those_that_lose_their_parent(daemon):
    command = f"(sleep 0.2; {PROGRAMS}/plain-static tcp {SERVER4} {PORT}) & exit 3"
    result = run(daemon, "eth1", "sh", "-c", command, uid=ALICE)
    assert result.code == 3 and result.out.split()[1] == ETH1


def test_none_is_offline(machine, daemon):
    capture = Capture(machine)
    for server in (SERVER4, SERVER6):
        assert plain(daemon, "none", server, uid=ALICE)[1] == "EACCES"
        assert plain(daemon, "none", server, "udp", uid=ALICE)[1] == "EACCES"
    assert not [p for p in capture.packets() if p[2] in (SERVER4, SERVER6)]
    capture.close()


def test_the_other_interface_is_no_way_out(machine, daemon):
    code = ("import socket, sys\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')\n"
            f"s.sendto(b'x', ('{SERVER4}', {PORT}))\n")
    capture = Capture(machine)
    result = run(daemon, "eth1", "/usr/bin/python3", "-I", "-c", code)
    assert result.code == 1 and "Error" in result.err
    assert not [p for p in capture.packets() if p[2] == SERVER4]
    capture.close()


def test_a_run_comes_before_what_is_assigned_to_the_executable(daemon):
    """Whoever starts it is judged, not what he starts: a copy of it would be another executable, too."""
    daemon.ok("assign", f"exe:{PROGRAMS}/plain-static", "none")
    assert plain(daemon, "eth1") == (MARK, ETH1)


@pytest.mark.parametrize("name", ["101", "eth1"])
def test_a_network_by_name_and_netid(daemon, name):
    assert plain(daemon, name)[1] == ETH1


# The program is itself.

def test_exit_code_and_streams(daemon):
    result = run(daemon, "eth1", "sh", "-c", "read line; echo out $line; echo err >&2; exit 42",
                 stdin=subprocess.DEVNULL)
    assert (result.code, result.out, result.err) == (42, "out\n", "err\n")
    with daemon.popen("run", "eth1", "cat", stdin=subprocess.PIPE) as process:
        assert process.communicate("hello", timeout=WAIT)[0] == "hello"
    assert process.returncode == 0


def test_environment_and_folder(daemon):
    result = run(daemon, "eth1", "sh", "-c", "echo $HERE; pwd", env={"HERE": "it is"}, cwd="/usr")
    assert result.out == "it is\n/usr\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_signals_are_the_programs(daemon, number):
    with running(daemon, "eth1", "sleep", "1000", uid=ALICE) as process:
        wait_for("the program", lambda: comm(process.pid) == "sleep")
        process.send_signal(number)
        assert process.wait(timeout=WAIT) == -number


def comm(pid):
    return pathlib.Path(f"/proc/{pid}/comm").read_text().strip()


def test_a_terminal_interrupts_it(daemon):
    here, there = pty.openpty()

    def session():
        os.setsid()
        os.close(os.open(os.ttyname(0), os.O_RDWR))  # the controlling terminal

    command = [WAYMARK, "--runtime-dir", daemon.runtime, "run", "--scope", "daemon", "eth1", "sh", "-c",
               "trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.1; done"]

    def prepare():
        daemon.machine.enter()
        session()

    with subprocess.Popen(command, stdin=there, stdout=there, stderr=there,
                          preexec_fn=prepare) as process:
        os.close(there)
        assert b"ready" in os.read(here, 100)
        os.write(here, b"\x03")
        text = b""
        with contextlib.suppress(OSError):  # EIO: the terminal is gone with the last program
            while data := os.read(here, 100):
                text += data
        assert process.wait(timeout=WAIT) == 5 and b"interrupted" in text
    os.close(here)


def test_its_options_and_arguments_are_its_own(daemon):
    for words in (["run", "eth1", "echo", "--json", "--", "-x", "--help"],
                  ["run", "eth1", "--", "echo", "--json", "--", "-x", "--help"],
                  ["run", "--", "eth1", "echo", "--json", "--", "-x", "--help"]):
        assert daemon.ok(*words).out == "--json -- -x --help\n"
    with daemon.popen("run", "eth1", "printf", "%s", b"\xff", text=False) as process:
        assert process.communicate()[0] == b"\xff"


def test_without_a_program_it_is_the_shell(daemon):
    result = daemon("run", "eth1", env={"SHELL": "/bin/pwd"}, cwd="/usr")
    assert (result.code, result.out) == (0, "/usr\n")
    with daemon.popen("run", "eth1", stdin=subprocess.PIPE) as process:
        assert process.communicate("exit 9\n", timeout=WAIT) == ("", "")
    assert process.returncode == 9


def test_a_program_that_is_not_there(machine, daemon):
    result = run(daemon, "eth1", "/nonexistent")
    assert (result.code, result.err) == (
        127, "waymark: cannot run /nonexistent: No such file or directory\n")
    assert run(daemon, "eth1", "/etc/passwd").code == 126
    wait_for("the end", lambda: is_clean(machine, daemon))


# While it runs, and after.

def test_it_is_listed_and_not_kept(machine, daemon):
    with running(daemon, "eth1", "sleep", "1000", uid=ALICE):
        (row,) = runs(daemon)
        assert (row["network"], row["strength"], row["state"]) == ("eth1", "require", "active")
        assert row["selector"].startswith(
            f"cgroup:/{machine.cgroup.relative_to(cgroup2())}/waymark/waymark-run-{ALICE}-")
        assert "waymark-run" not in daemon.state_file.read_text()
        assert daemon.json("verify")["verification"]["proved"]
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_a_network_that_goes_away_blocks_it(daemon):
    daemon.ok("network", "add", "work", "--interface", "eth1")
    code = ("import socket, sys\n"
            "for line in sys.stdin:\n"
            f"    try: print(socket.create_connection(('{SERVER4}', {PORT}), {WAIT}).recv(99).decode(), end='', flush=True)\n"
            "    except OSError as e: print(e.errno, flush=True)\n")
    with running(daemon, "work", "/usr/bin/python3", "-I", "-c", code, stdin=subprocess.PIPE) as p:
        def ask():
            p.stdin.write("\n")
            p.stdin.flush()
            return p.stdout.readline().strip()

        assert ask() == ETH1
        daemon.ok("network", "remove", "work")
        assert ask() == str(errno.EACCES)
        daemon.ok("network", "add", "work", "--interface", "eth1")
        assert ask() == ETH1


def test_it_goes_on_without_the_daemon_and_is_found_again(machine, daemon):
    command = (f"while read line; do {PROGRAMS}/plain-static tcp {SERVER4} {PORT}; done")
    with running(daemon, "eth1", "sh", "-c", command, uid=ALICE, stdin=subprocess.PIPE) as process:
        def ask():
            process.stdin.write("\n")
            process.stdin.flush()
            return process.stdout.readline().split()[1]

        daemon.kill()
        assert ask() == ETH1
        daemon.start()
        assert ask() == ETH1 and len(runs(daemon)) == 1
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_what_ended_without_the_daemon_is_cleared_away(machine, daemon):
    with running(daemon, "eth1", "sleep", "1000", uid=ALICE):
        daemon.kill()
    assert cgroups(machine) and records(daemon)
    daemon.start()
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_another_cgroup_at_that_path_is_not_taken_for_it(machine, daemon):
    with running(daemon, "none", "sleep", "1000", uid=ALICE):
        folder = cgroup2() / runs(daemon)[0]["selector"].removeprefix("cgroup:/")
        daemon.kill()
    wait_for("no process", lambda: not (folder / "cgroup.procs").read_text())
    folder.rmdir()
    folder.mkdir()
    daemon.start()
    assert not runs(daemon) and not records(daemon)


def test_records_of_nonsense_are_dropped(daemon):
    folder = pathlib.Path(daemon.runtime) / "runs"
    folder.mkdir(exist_ok=True)
    for i, text in enumerate(["", "run", "run x eth1 /a", "run 1 none /waymark-run-0-6 7", "\0" * 99,
                              "run 1 eth1 relative", "run 1 eth1 /", "run 18446744073709551616 e /a"]):
        (folder / f"waymark-run-0-{i}").write_text(text)
    daemon.stop()
    daemon.start()
    assert not runs(daemon) and not records(daemon)


def test_cgroups_that_were_made_below_go_with_it(machine, daemon):
    command = "cg=$(grep 0:: /proc/self/cgroup); mkdir -p $0/${cg#0::/}/a/b $0/${cg#0::/}/c"
    assert run(daemon, "eth1", "sh", "-c", command, str(cgroup2())).code == 0
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_many_at_once(machine, daemon):
    """Each on its own network, and nothing is left."""
    networks = ["eth0", "eth1", "none"]
    processes = [
        daemon.popen("run", networks[i % 3], "--scope", "daemon", "--", str(PROGRAMS / "plain-static"), "udp",
                     SERVER4, str(PORT), uid=ALICE + i % 2) for i in range(50)]
    found = []
    for process in processes:
        with process:
            out, err = process.communicate(timeout=WAIT)
            assert err == ""
            found.append(out.split()[1])
    assert found == [[ETH0, ETH1, "EACCES"][i % 3] for i in range(50)]
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_nobody_has_more_than_1024(machine, daemon):
    """Kept as an earlier daemon would have left them: in chains, so that few processes fill many."""
    daemon.stop()
    folder = pathlib.Path(daemon.runtime) / "runs"
    folder.mkdir(exist_ok=True)
    sleepers = []
    try:
        for chain in range(16):
            place = machine.cgroup
            for level in range(64):
                place = place / f"waymark-run-{ALICE}-{chain:x}x{level:x}"
                place.mkdir()
                (folder / place.name).write_text(
                    f"run {place.stat().st_ino} eth1 /{place.relative_to(cgroup2())}\n")
            sleepers.append(subprocess.Popen(["sleep", "1000"]))
            (place / "cgroup.procs").write_text(str(sleepers[-1].pid))
        daemon.start()
        assert len(runs(daemon)) == 1024
        result = run(daemon, "eth1", "true", uid=ALICE)
        assert result.code == 4 and "has 1024 programs under `waymark run` already" in result.err
        assert run(daemon, "eth1", "true", uid=BOB).code == 0
    finally:
        for sleeper in sleepers:
            sleeper.kill()
            sleeper.wait()
    wait_for("the end", lambda: not runs(daemon))
    assert run(daemon, "eth1", "true", uid=ALICE).code == 0


# Who may not.

def refused(daemon, network, text, code=4, uid=ALICE, **options):
    """Nothing is run, and the sentence says why."""
    result = run(daemon, network, "echo", "it runs", uid=uid, **options)
    assert (result.code, result.out) == (code, ""), result
    assert text in result.err


def test_an_unknown_network(machine, daemon):
    refused(daemon, "nowhere", "there is no network 'nowhere'", code=10)
    assert is_clean(machine, daemon)


def test_no_daemon(daemon):
    daemon.stop()
    refused(daemon, "eth1", "waymarkd is not running", code=8)


def test_a_network_that_is_not_for_everybody(machine, daemon):
    daemon.ok("network", "add", "work", "--interface", "eth1", "--permission", "system")
    refused(daemon, "work", "this network is not for every user")
    assert plain(daemon, "work", uid=0)[1] == ETH1
    daemon.ok("assign", f"uid:{ALICE}", "work", "--prefer")
    assert plain(daemon, "work", uid=ALICE)[1] == ETH1, "it is assigned to her"


def test_who_is_held_stays_held(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    refused(daemon, "eth0", f"uid:{ALICE} is assigned to eth1, and that means you")
    assert plain(daemon, "eth1", uid=ALICE)[1] == ETH1
    assert plain(daemon, "none", uid=ALICE)[1] == "EACCES", "less is always allowed"
    daemon.ok("assign", f"uid:{ALICE}", "none")
    refused(daemon, "eth1", "is assigned to none")
    assert plain(daemon, "eth1", uid=BOB)[1] == ETH1
    daemon.ok("assign", f"uid:{ALICE}", "eth0", "--prefer")
    assert plain(daemon, "eth1", uid=ALICE)[1] == ETH1, "a preference may be bypassed"
    wait_for("the end", lambda: is_clean(machine, daemon))


def test_who_is_held_by_his_cgroup_stays_held(machine, daemon):
    selector = "cgroup:" + machine.below("session.scope")
    daemon.ok("assign", selector, "eth1")
    refused(daemon, "eth0", f"{selector} is assigned to eth1")
    daemon.ok("assign", selector, "none")
    refused(daemon, "eth0", f"{selector} is assigned to none", uid=0)


def test_a_run_takes_nobody_out_of_the_cgroup_that_holds_him(machine, daemon):
    """Not even one that is less: what is run there could run the next."""
    selector = "cgroup:" + machine.below("session.scope")
    inner = [WAYMARK, "--runtime-dir", daemon.runtime, "run", "--scope", "daemon", "eth0", "echo", "it runs"]
    daemon.ok("assign", selector, "eth1")
    for network in ("eth1", "none"):
        result = run(daemon, network, *inner, uid=ALICE)
        assert (result.code, result.out) == (4, ""), result
        assert f"{selector} is assigned to eth1" in result.err and "would take you out" in result.err
    daemon.ok("unassign", selector)
    daemon.ok("assign", "cgroup:/", "eth1")
    assert plain(daemon, "none", uid=ALICE)[1] == "EACCES", "that is the root of the new one, too"


def test_nor_out_of_the_run_that_holds_him(daemon):
    as_alice = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "--"]
    waymark = [WAYMARK, "--runtime-dir", daemon.runtime, "run", "--scope", "daemon"]
    result = run(daemon, "none", *as_alice, *waymark, "none", *waymark, "eth0", "echo", "it runs")
    assert (result.code, result.out) == (4, "") and "is assigned to none" in result.err


def test_moving_away_between_the_connection_and_the_call_is_no_way_out(machine, daemon):
    """As systemd would move him."""
    selector = "cgroup:" + machine.below("session.scope")
    daemon.ok("assign", selector, "none")
    free = machine.cgroup / "waymark-run-0-1.scope"
    free.mkdir()

    def move_and_call():
        with Peer(daemon.socket, 0) as peer:
            (free / "cgroup.procs").write_text("0")
            try:
                return peer.call("Run", "sb", "eth1", False)
            except DBusError as error:
                return error.text


    assert f"{selector} is assigned to none" in machine.call(move_and_call)
    assert not runs(daemon)


ASK = """
import sys
sys.path.insert(0, sys.argv[1])
from dbus_peer import DBusError, Peer
print("ready", flush=True)
sys.stdin.readline()
try:
    with Peer(sys.argv[2], int(sys.argv[3])) as peer:
        print(peer.call("Run", "sb", "work", True))
except DBusError as error:
    print(error.text)
"""


def test_others_folders_mounted_over_ones_own_make_no_program_theirs(machine, daemon):
    """As anybody can in a mount namespace of his own; here root does it for him."""
    daemon.ok("network", "add", "work", "--interface", "eth1", "--permission", "system")
    with tempfile.TemporaryDirectory(prefix="waymark-run-") as path:
        theirs, own = pathlib.Path(path) / "theirs", pathlib.Path(path) / "own"
        os.chmod(path, 0o755)
        for folder, source, mode in (theirs, "/bin/true", 0o700), (own, "/usr/bin/python3", 0o755):
            folder.mkdir(0o711)
            shutil.copy(source, folder / "app")
            os.chmod(folder / "app", mode)
        daemon.ok("assign", f"exe:{theirs}/app", "work")
        code = ("import subprocess, sys\n"
                "with subprocess.Popen(sys.argv[3:], stdin=-1, stdout=-1, text=True) as p:\n"
                "    p.stdout.readline()\n"
                "    subprocess.run(['mount', '--bind', *sys.argv[1:3]], check=True)\n"
                "    print(p.communicate('\\n')[0])\n")
        out = machine.run(["unshare", "-m", "/usr/bin/python3", "-I", "-c", code, str(theirs), str(own),
                           "setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups",
                           str(own / "app"), "-I", "-c", ASK, os.path.dirname(__file__), daemon.socket,
                           str(ALICE)]).stdout
        assert "this network is not for every user" in out and not runs(daemon)


def test_who_has_a_vpn_that_may_not_be_bypassed_keeps_it(machine, daemon):
    daemon.ok("network", "add", "work", "--type", "vpn", "--interface", "eth1")
    netid = daemon.networks()["work"]["netid"]

    def add_users():
        with socket.socket(socket.AF_UNIX) as netd:
            netd.connect(f"{daemon.runtime}/netd")
            netd.sendall(f"1 network users add {netid} {ALICE}\0".encode())
            return netd.recv(1000)

    assert machine.call(add_users).startswith(b"200 ")
    refused(daemon, "eth0", "a VPN that may not be bypassed holds user")
    assert plain(daemon, "work", uid=ALICE)[1] == ETH1
    refused(daemon, "work", "this network is not for every user", uid=BOB)


def test_one_run_within_another(daemon):
    """One's own choice may be changed, that of root not."""
    inner = [WAYMARK, "--runtime-dir", daemon.runtime, "run", "--scope", "daemon", "eth1",
             str(PROGRAMS / "plain-static"), "tcp", SERVER4, str(PORT)]
    result = run(daemon, "none", *inner, uid=ALICE)
    assert result.out.split()[1:] == [ETH1], result
    as_alice = ["setpriv", f"--reuid={ALICE}", f"--regid={ALICE}", "--clear-groups", "--"]
    result = run(daemon, "none", *as_alice, *inner)
    assert (result.code, result.out) == (4, "") and "is assigned to none" in result.err


def test_without_the_programs_nothing_is_run(machine):
    daemon = Instance(machine, "--backend", "rules", "--bpffs", machine.bpffs)
    try:
        daemon.start()
        refused(daemon, "eth1", "back-end `rules` knows users only, it cannot hold what is run")
        refused(daemon, "none", "back-end `rules`", uid=0)
    finally:
        daemon.close()


def test_after_panic_off_nothing_is_run(daemon):
    daemon.ok("panic-off")
    refused(daemon, "eth1", "waymark is off, since `waymark panic-off`")
    daemon.ok("reload")
    assert plain(daemon, "eth1", uid=ALICE)[1] == ETH1


def test_another_network_namespace(daemon):
    elsewhere = Namespace()
    try:
        process = elsewhere.popen([WAYMARK, "--runtime-dir", daemon.runtime, "run", "none", "--scope",
                                   "daemon", "echo", "it runs"], stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True)
        out, err = process.communicate(timeout=WAIT)
        assert (process.returncode, out) == (4, "") and "another network namespace" in err
    finally:
        elsewhere.close()


# The method, as others may call it.

def call_from(machine, daemon, cgroup, uid=ALICE):
    """What Run says to a process of that user in this cgroup."""
    folder = machine.cgroup / cgroup
    folder.mkdir(exist_ok=True)
    os.chown(folder, uid, uid)
    os.chown(folder / "cgroup.procs", uid, uid)
    place, machine.place = machine.place, folder

    def call():
        with Peer(daemon.socket, uid) as peer:
            try:
                path = peer.call("Run", "sb", "eth1", False)[0]
                return path, socket_mark()
            except DBusError as error:
                return error.name, error.text

    try:
        return machine.call(call, uid=uid)
    finally:
        machine.place = place


def socket_mark():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) & 0x1FFFF


def test_a_cgroup_that_systemd_made(machine, daemon):
    name = f"waymark-run-{ALICE}-1.scope"
    path, mark = call_from(machine, daemon, name)
    assert path == f"/{machine.cgroup.relative_to(cgroup2())}/{name}" and mark == MARK
    wait_for("the end", lambda: not runs(daemon) and not records(daemon))
    assert (machine.cgroup / name).exists(), "it is systemd's to remove"


@pytest.mark.parametrize("name", ["waymark-run-2002-1", "waymark-run-0-1", "waymark-run-2001", "waymark-run--1",
                                  "waymark-run-4294969297-1", "a-waymark-run-2001-1", "session.scope"])
def test_cgroups_that_are_none_of_his_runs(machine, daemon, name):
    error, text = call_from(machine, daemon, name)
    assert error.endswith("InvalidArgs") and "which is none for a run" in text
    assert not runs(daemon)


@pytest.mark.parametrize("above,text", [
    ("/".join(f"{i}" for i in range(32)), "deeper than 31 levels"),
    ("\udcff", "not of plain letters"), ("\x1b[2J", "not of plain letters")])
def test_cgroups_that_cannot_be_held_or_told(machine, daemon, above, text):
    """The user owns what is above it, and names that as he likes."""
    (machine.cgroup / above).mkdir(parents=True)
    error, reason = call_from(machine, daemon, f"{above}/waymark-run-{ALICE}-1")
    assert error.endswith("InvalidArgs") and text in reason
    assert not runs(daemon) and not records(daemon)


def test_a_cgroup_outside_of_what_the_programs_see(machine, daemon):
    folder = cgroup2() / f"waymark-test-{os.getpid()}"
    folder.mkdir()
    try:
        place, machine.place = machine.place, folder
        refused_text = call_from(machine, daemon, str(folder / f"waymark-run-{ALICE}-1"))[1]
        machine.place = place
        assert "the programs do not see the cgroup" in refused_text
    finally:
        (folder / f"waymark-run-{ALICE}-1").rmdir()
        folder.rmdir()


def test_a_run_is_not_changed_by_who_is_in_it(machine, daemon):
    folder = machine.cgroup / "waymark-run-0-1.scope"
    folder.mkdir()

    def call_twice():
        (folder / "cgroup.procs").write_text("0")
        with Peer(daemon.socket, 0) as peer:
            peer.call("Run", "sb", "none", False)
            try:
                peer.call("Run", "sb", "eth1", False)
            except DBusError as error:
                return error.name, socket_mark()
            return None

    assert machine.call(call_twice) == ("System.Error.EBUSY", 0x10000 + 52)


# By polkit, and the system bus.

RULE = """
polkit.addRule(function(action, subject) {
    if (action.id != "org.waymark1.run") return polkit.Result.NOT_HANDLED;
    return subject.user == "daemon" ? polkit.Result.YES : polkit.Result.NO;
});
"""


@pytest.fixture
def on_bus(machine):
    instance = Instance(machine, *machine.options())
    accounts = Accounts(instance)
    accounts.write({"daemon": (DAEMON, DAEMON), "bin": (BIN, BIN),
                    "polkitd": (pwd.getpwnam("polkitd").pw_uid, 65534)})
    broker = Broker(accounts)
    try:
        instance.env = broker.env
        instance.start()
        broker.wait_owner()
        yield instance, broker
    finally:
        instance.close()
        broker.close()


def test_polkit_may_let_others(on_bus):
    daemon, broker = on_bus
    daemon.ok("network", "add", "work", "--interface", "eth1", "--permission", "network")
    polkit = Polkit(broker, RULE)
    try:
        assert plain(daemon, "work", uid=DAEMON)[1] == ETH1
        refused(daemon, "work", "this network is not for every user", uid=BIN)
        daemon.ok("assign", f"uid:{DAEMON}", "none")
        refused(daemon, "work", "is assigned to none", uid=DAEMON)
    finally:
        polkit.close()


def test_the_system_bus_has_no_run(on_bus):
    _, broker = on_bus
    with broker.peer(0) as peer, pytest.raises(DBusError) as error:
        peer.call("Run", "sb", "eth1", True)
    assert "Run is not for the system bus" in error.value.text
