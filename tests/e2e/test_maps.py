# SPDX-License-Identifier: LGPL-2.1-or-later
"""The `maps` back-end: programs at a cgroup carry the apps instead of rules per user.

What holds for users holds here, too: the tests of test_traffic.py run once more, on a machine whose
processes are in a cgroup of the test's own. The others are about what rules cannot do.
"""

import contextlib
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import time

import pytest

from harness import PORT, SERVER4, SERVER6, WAIT, Capture, Instance, cgroup2, wait_for
from maps_fixture import machine, program
# pylint: disable=unused-import
from test_traffic import (ALICE, BOB, KINDS, ask_netd, multicast_and_broadcast, serve_once,
                          test_a_bound_device_is_no_way_out,
                          test_a_connection_that_was_open_keeps_working_when_others_change,
                          test_a_pulled_uplink_blocks_and_comes_back,
                          test_answers_go_back_where_the_question_came_from,
                          test_explain_agrees_with_what_happens,
                          test_loopback_and_own_addresses_work_for_the_blocked,
                          test_multicast_and_broadcast_stay_on_the_network,
                          test_prefer_falls_back_and_may_be_bypassed, test_require,
                          test_the_default_network)

def source_of(server=SERVER4):
    """A program that prints the address that the server sees, or the error's name; for python -c."""
    return ("import errno, socket, sys\n"
            f"try: print(socket.create_connection(('{server}', {PORT}), {WAIT}).recv(99).split()[0].decode())\n"
            "except OSError as e: print(errno.errorcode.get(e.errno, str(e)))\n")


def run_program(machine, program, uid=0, server=SERVER4):
    with machine.popen([program, "-I", "-c", source_of(server)], uid=uid, text=True,
                       stdout=subprocess.PIPE) as process:
        return process.communicate(timeout=WAIT)[0].strip()


@contextlib.contextmanager
def running(machine, command):
    """Alice's, until the end of the block."""
    with machine.popen(command, uid=ALICE) as process:
        try:
            yield
        finally:
            process.kill()


def rules(machine):
    return machine.run(["ip", "rule"]).stdout.splitlines()


# What rules per user do, without them.

def test_the_number_of_rules_depends_on_networks_alone(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    few = len(rules(machine))
    for uid in range(5000, 5020, 2):
        daemon.ok("assign", f"uid:{uid}", "eth1")
    assert len(rules(machine)) == few and not [r for r in rules(machine) if "uidrange 5" in r]
    assert machine.source(5008) == "10.0.1.2" and machine.source(5009) == "10.0.0.2"
    assert daemon.json("verify")["verification"]["proved"]


@pytest.mark.parametrize("server,blocked", [(SERVER4, "EACCES"), (SERVER6, "EACCES")])
def test_none(machine, daemon, server, blocked):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    assert machine.source(ALICE, server) == blocked
    assert machine.source(ALICE, server, kind="sendto") == blocked


def test_a_network_that_is_removed_blocks_and_comes_back(machine, daemon):
    daemon.ok("network", "add", "work", "--interface", "eth1")
    daemon.ok("assign", f"uid:{ALICE}", "work")
    assert machine.source(ALICE) == "10.0.1.2"
    daemon.ok("network", "remove", "work")
    assert machine.source(ALICE) == "EACCES"
    daemon.ok("network", "add", "work", "--interface", "eth1")
    assert machine.source(ALICE) == "10.0.1.2"


def test_explain_tells_the_mark_that_sockets_have(machine, daemon):
    def mark():
        with socket.create_connection((SERVER4, PORT), timeout=WAIT) as sock:
            return sock.getsockopt(socket.SOL_SOCKET, socket.SO_MARK)

    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "eth1", "--prefer")
    for uid in (ALICE, BOB):
        explained = daemon.json("explain", "--uid", str(uid), SERVER4)["explanation"]
        assert explained["mark"] == machine.call(mark, uid=uid)
        assert "network" in explained["mark_reason"]


def test_a_connection_from_outside_is_no_way_past_a_vpn(machine, daemon):
    """What a listening socket accepts has its mark, and so its network: also where the program may
    protect sockets, for it has not protected this one."""
    daemon.ok("network", "add", "work", "--type", "vpn", "--interface", "eth1")

    def ask():
        with socket.create_connection(("10.0.0.2", 8100), timeout=WAIT) as sock:
            return sock.recv(10)

    def answers_left_by():
        server = machine.start_call(serve_once, 8100, uid=ALICE)
        wait_for("the server", lambda: machine.run(["ss", "-Hltn", "sport = 8100"]).stdout)
        capture = Capture(machine)
        assert machine.router.call(ask) == b"served"
        server.result()
        left = {p[0] for p in capture.packets() if p[1:3] == ("10.0.0.2", "10.0.0.1")}
        capture.close()
        return left

    assert answers_left_by() == {"eth0"}
    daemon.ok("assign", f"uid:{ALICE}", "work")
    assert answers_left_by() == {"eth1"}
    assert b"200 1 success" in ask_netd(daemon, f"network protect allow {ALICE}")
    assert answers_left_by() == {"eth1"}


# Executables and cgroups.

@pytest.mark.parametrize("server,source", [(SERVER4, "10.0.1.2"), (SERVER6, "fd00:1::2")])
def test_an_executable_is_on_its_network(machine, daemon, program, server, source):
    assert run_program(machine, program, ALICE, server) in ("10.0.0.2", "fd00::2")
    daemon.ok("assign", f"exe:{program}", "eth1")
    assert run_program(machine, program, ALICE, server) == source
    assert run_program(machine, program, 0, server) == source
    assert machine.source(ALICE, server) in ("10.0.0.2", "fd00::2"), "other programs of the user"
    daemon.ok("assign", f"exe:{program}", "none")
    assert run_program(machine, program, ALICE, server) == "EACCES"
    daemon.ok("unassign", f"exe:{program}")
    assert run_program(machine, program, ALICE, server) in ("10.0.0.2", "fd00::2")


def test_a_program_that_is_replaced_by_an_upgrade_is_followed(machine, daemon, program):
    daemon.ok("assign", f"exe:{program}", "eth1")
    shutil.copy(program, f"{program}.new")
    os.rename(f"{program}.new", program)
    wait_for("the new file", lambda: run_program(machine, program) == "10.0.1.2")
    os.unlink(program)
    time.sleep(0.1)
    shutil.copy(os.path.realpath("/usr/bin/python3"), program)
    wait_for("the newest file", lambda: run_program(machine, program) == "10.0.1.2")


def test_programs_that_change_places_are_what_they_are_now(machine, daemon, program):
    """Also while one runs that was begun at the other place."""
    other = pathlib.Path(shutil.copy(program, program.with_name("other")))
    daemon.ok("assign", f"exe:{program}", "none")
    daemon.ok("assign", f"exe:{other}", "eth1")
    with running(machine, [program, "-I", "-c", "import time; time.sleep(100)"]):
        os.rename(program, f"{program}.old")
        os.rename(other, program)
        os.rename(f"{program}.old", other)
        wait_for("the change", lambda: run_program(machine, other) == "10.0.1.2")
        assert run_program(machine, program) == "EACCES"


def test_the_nearest_cgroup_holds(machine, daemon):
    outer = machine.below("outer")
    inner = machine.below("outer/inner")
    daemon.ok("assign", f"cgroup:{outer}", "eth1")
    assert machine.source(ALICE) == "10.0.1.2"
    daemon.ok("assign", f"cgroup:{inner}", "none")
    assert machine.source(ALICE) == "EACCES"
    machine.below("outer/inner/deep")
    assert machine.source(ALICE) == "EACCES", "what is below is inside"
    machine.below("outer")
    assert machine.source(ALICE) == "10.0.1.2"
    machine.below("other")
    assert machine.source(ALICE) == "10.0.0.2"


def test_a_cgroup_that_comes_later_is_known_when_it_comes(machine, daemon):
    path = "/" + str((machine.cgroup / "later").relative_to(cgroup2()))
    daemon.ok("assign", f"cgroup:{path}", "eth1")
    machine.below("later")
    wait_for("the cgroup to be known", lambda: machine.source(ALICE) == "10.0.1.2")


def test_precedence_executable_before_cgroup_before_user(machine, daemon, program):
    cgroup = machine.below("apps")
    daemon.ok("assign", f"uid:{ALICE}", "none")
    assert run_program(machine, program, ALICE) == "EACCES"
    daemon.ok("assign", f"cgroup:{cgroup}", "eth0")
    assert run_program(machine, program, ALICE) == "10.0.0.2"
    daemon.ok("assign", f"exe:{program}", "eth1")
    assert run_program(machine, program, ALICE) == "10.0.1.2"


@pytest.mark.parametrize("kind", KINDS)
def test_an_executable_gets_out_by_no_other_interface(machine, daemon, kind):
    daemon.ok("assign", f"exe:{os.path.realpath(sys.executable)}", "eth1")
    capture = Capture(machine)
    for server in (SERVER4, SERVER6):
        machine.source(ALICE, server, device="eth0", kind=kind, seconds=0.3)
    machine.call(multicast_and_broadcast, uid=ALICE)
    assert not [p for p in capture.packets() if p[0] == "eth0" and p[3] in (6, 17)]
    capture.close()


def test_a_socket_that_was_open_before_the_assignment_is_held(machine, daemon, program):
    """Unconnected, so that nothing but the guard knows it."""
    code = ("import socket, sys, time\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "while True:\n"
            "    try: s.sendto(b'x', (sys.argv[1], 9))\n"
            "    except OSError: pass\n"
            "    time.sleep(0.01)\n")
    capture = Capture(machine)
    with running(machine, [program, "-I", "-c", code, SERVER4]):
        wait_for("its packets", lambda: [p for p in capture.packets() if p[0] == "eth0"])
        daemon.ok("assign", f"exe:{program}", "none")
        capture.packets()
        time.sleep(0.3)
        assert not [p for p in capture.packets() if p[2] == SERVER4]
    capture.close()


# Without the daemon, and after it.

def test_killed_all_of_it_goes_on_and_a_restart_adopts(machine, daemon, program):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"exe:{program}", "none")
    pins = machine.pins()
    daemon.kill()
    assert machine.source(ALICE) == "10.0.1.2" and run_program(machine, program) == "EACCES"
    daemon.start()
    assert machine.source(ALICE) == "10.0.1.2" and run_program(machine, program) == "EACCES"
    assert machine.pins() == pins, "the same programs and maps"
    daemon.ok("unassign", f"uid:{ALICE}")
    assert machine.source(ALICE) == "10.0.0.2"


def test_what_was_unassigned_while_nobody_ran_is_forgotten(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    daemon.ok("assign", f"uid:{BOB}", "eth1")
    daemon.stop()
    text = daemon.state_file.read_text()
    daemon.state_file.write_text("".join(
        line for line in text.splitlines(True) if str(ALICE) not in line))
    daemon.start()
    assert machine.source(ALICE) == "10.0.0.2" and machine.source(BOB) == "10.0.1.2"


def test_from_one_back_end_to_the_other_without_a_gap(machine):
    """A sender that is held to eth1 never leaves by eth0, whichever back-end takes over."""
    code = ("import socket, sys, time\n"
            "while True:\n"
            "    for family, to in ((socket.AF_INET, sys.argv[1]), (socket.AF_INET6, sys.argv[2])):\n"
            "        with socket.socket(family, socket.SOCK_DGRAM) as s:\n"
            "            try: s.sendto(b'x', (to, 9))\n"
            "            except OSError: pass\n")
    ways = {"maps": machine.options(), "rules": ["--backend", "rules", "--bpffs", machine.bpffs]}
    daemon = Instance(machine, *ways["rules"]).start()
    try:
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        capture = Capture(machine)
        with running(machine, ["/usr/bin/python3", "-I", "-c", code, SERVER4, SERVER6]):
            for backend in ("maps", "rules", "maps", "rules"):
                daemon.stop()
                daemon.options = ways[backend]
                daemon.start()
                assert bool(machine.pins()) == (backend == "maps")
                assert bool([r for r in rules(machine) if f"uidrange {ALICE}" in r]) == (
                    backend == "rules")
                wait_for("packets", lambda: "eth1" in seen(capture))
        assert "eth0" not in seen(capture)
        capture.close()
    finally:
        daemon.close()


def seen(capture):
    """The interfaces by which the servers were sent something; eth0 is a failure at once."""
    found = {p[0] for p in capture.packets() if p[2] in (SERVER4, SERVER6)}
    assert "eth0" not in found
    return found


def test_panic_off_takes_it_out_and_reload_puts_it_back(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    assert machine.pins()
    daemon.ok("panic-off")
    assert not machine.pins() and machine.source(ALICE) == "10.0.0.2"
    daemon.ok("reload")
    assert machine.pins() and machine.source(ALICE) == "EACCES"


def test_panic_off_without_a_daemon(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    daemon.kill()
    machine.run(daemon.command("--panic-off", "--bpffs", machine.bpffs))
    assert not machine.pins() and machine.source(ALICE) == "10.0.0.2"


def test_programs_that_cannot_be_taken_over_go_on_holding(machine, daemon, program):
    """… what rules could not hold: the daemon does not start, until it is told to do without."""
    daemon.ok("assign", f"exe:{program}", "eth1")
    daemon.kill()
    powerless = ["setpriv", "--bounding-set=-all,+net_admin,+chown", "--inh-caps=-all", "--"]
    daemon.spawn(wrap=powerless)
    wait_for("its end", daemon.ended)
    assert daemon.process.returncode == 1
    assert "rules cannot hold the 1 assignments of programs, cgroups and units" in daemon.log
    assert run_program(machine, program) == "10.0.1.2"
    daemon.process = None
    daemon.start("--backend", "rules", "--bpffs", machine.bpffs)
    assert run_program(machine, program) == "10.0.0.2" and machine.pins() == []
    daemon.kill()
    daemon.start(wrap=powerless)  # nothing of an earlier run is there: rules hold what they can
    assert daemon.json("status")["status"]["backend"] == "rules"


def test_without_cgroup2_it_falls_back_to_rules_and_says_so(machine):
    daemon = Instance(machine, "--backend", "maps", "--cgroup", "/nowhere", "--bpffs", machine.bpffs)
    try:
        daemon.start()
        assert "back-end maps cannot be had, so it is rules: " in daemon.log
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        assert machine.source(ALICE) == "10.0.1.2"
        assert daemon("assign", "exe:/bin/true", "eth1").code == 4
        assert re.search("maps back-end cannot be had, so .*/nowhere", daemon("doctor").out)
    finally:
        daemon.close()


def test_doctor_tells_of_assignments_that_hold_nobody(machine, daemon):
    assert "back-end for assignments: maps" in daemon("doctor").out
    daemon.ok("assign", "exe:/bin/true", "eth1")
    daemon.stop()
    daemon.options = ["--backend", "rules", "--bpffs", machine.bpffs]
    daemon.start()
    assert "1 assignments of programs, cgroups or units hold nobody" in daemon("doctor").out
