# SPDX-License-Identifier: LGPL-2.1-or-later
"""Crashes, faults, and others who touch what is ours: nothing leaks, nothing of others changes."""

import os
import signal
import socket
import subprocess
import time

import pytest

from harness import (PORT, SERVER4, SERVER6, WAIT, Capture, Instance, Machine, Monitor,
                     foreign_state, nft_table, our_rules, wait_for)

ALICE, BOB, CAROL = 3001, 3002, 3003


class Connection:
    """A TCP connection that a user holds open."""

    def __init__(self, machine, uid):
        self.ours, theirs = socket.socketpair()
        self.ours.settimeout(WAIT)
        self.process = machine.start_call(self._hold, theirs, uid=uid, seconds=300)
        theirs.close()

    @staticmethod
    def _hold(control):
        sock = socket.create_connection((SERVER4, PORT), timeout=WAIT)
        sock.recv(100)
        while control.recv(1) == b"p":
            sock.sendall(b"ping")
            control.send(b"k" if sock.recv(100) else b"x")

    def is_alive(self):
        self.ours.send(b"p")
        return self.ours.recv(1) == b"k"

    def close(self):
        self.ours.send(b"q")
        self.process.result()
        self.ours.close()


def kill_at_netlink_request(daemon, number, *command):
    """Runs `waymark COMMAND…`; the daemon dies as it makes its n-th netlink request. Did it?"""
    tracer = subprocess.Popen(
        ["strace", "-q", "-p", str(daemon.process.pid), "-e", "trace=sendto", "-o", "/dev/null",
         "-e", f"inject=sendto:signal=SIGKILL:when={number}"], stderr=subprocess.DEVNULL)
    wait_for("strace", lambda: tracer_of(daemon.process.pid) == tracer.pid)
    client = daemon.popen("--timeout", str(int(WAIT)), *command)
    client.communicate()
    if client.returncode == 0:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        return False
    daemon.process.wait(timeout=WAIT)
    tracer.wait()
    assert daemon.process.returncode == -signal.SIGKILL
    return True


def tracer_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("TracerPid")).split()[1])


CHANGES = [
    ("assign", f"uid:{BOB}", "eth1"),
    ("assign", f"uid:{ALICE}-{BOB}", "eth0"),
    ("default", "eth1"),
]


@pytest.mark.parametrize("change", CHANGES, ids=["new", "overlapping", "default"])
def test_killed_at_every_netlink_request(machine, change):
    """The uid that is bound before and after never leaks; a restart converges; nothing is lost."""
    machine.ip("rule add prio 5210 fwmark 0x80000/0xff0000 lookup 52",
               "route add 10.9.0.0/16 dev eth0 table 52")
    before = foreign_state(machine)
    connection = Connection(machine, CAROL)
    capture = Capture(machine)
    kills = 0
    for number in range(1, 60):
        daemon = Instance(machine).start()
        try:
            daemon.ok("assign", f"uid:{ALICE}", "eth1")
            died = kill_at_netlink_request(daemon, number, *change)
            capture.packets()
            # without a daemon: what was assigned before goes on
            assert machine.source(ALICE) == "10.0.1.2"
            machine.source(ALICE, device="eth0", kind="udp", seconds=0.05)
            machine.source(ALICE, SERVER6, device="eth0", kind="udp", seconds=0.05)
            assert not [p for p in capture.packets()
                        if p[0] == "eth0" and p[2] in (SERVER4, SERVER6)]
            assert connection.is_alive()
            if died:
                kills += 1
                daemon.start()
            assert daemon.json("verify")["verification"]["proved"]
            assert daemon.json("doctor")["findings"][0]["level"] == "ok"
            assert machine.source(ALICE) == "10.0.1.2"
            assert connection.is_alive()
            assert foreign_state(machine) == before
        finally:
            daemon.close()
        assert our_rules(machine) == [], "panic-off leaves nothing"
        if not died:
            break
    capture.close()
    connection.close()
    assert not died and kills >= 5, f"killed {kills} times"
    assert foreign_state(machine) == before


def test_assignments_hold_without_a_daemon_and_a_restart_changes_nothing(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "none")
    rules, routes = our_rules(machine), machine.show("route show table all proto 119")
    daemon.kill()
    assert machine.source(ALICE) == "10.0.1.2"
    assert machine.source(BOB) == "EACCES"
    monitor = Monitor(machine, "rule", "route")
    daemon.start()
    assert daemon.assignments()[f"uid:{ALICE}"]["state"] == "active"
    assert monitor.mark() == [], "adopted: nothing was deleted, nothing added"
    monitor.close()
    assert our_rules(machine) == rules
    assert machine.show("route show table all proto 119") == routes


def test_what_changed_while_no_daemon_ran_is_put_right(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.kill()
    machine.ip("rule del prio 8000", "rule add prio 8000 uidrange 9-9 lookup 1009 protocol 119",
               "route add 10.77.0.0/16 dev eth0 table 1009 protocol 119")
    machine.run(["nft", "delete", "table", "inet", "waymark"])
    daemon.start()
    assert machine.source(ALICE) == "10.0.1.2"
    assert not [r for r in our_rules(machine) if "uidrange 9-9" in r]
    assert machine.show("route show table 1009") == []
    assert "guard" in nft_table(machine)


def test_rules_that_others_delete_come_back(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    wanted = our_rules(machine), our_rules(machine, "-6")
    machine.run(["sh", "-c", "ip rule flush; ip -6 rule flush; "
                 "ip rule add prio 32766 lookup main; ip -6 rule add prio 32766 lookup main"])
    wait_for("our rules", lambda: (our_rules(machine), our_rules(machine, "-6")) == wanted)
    assert machine.source(ALICE) == "10.0.1.2"
    wait_for("the message", lambda: "somebody deleted" in daemon.log)


def test_routes_that_others_delete_come_back(machine, daemon):
    table = machine.ifindex("eth1") + 1000
    wanted = machine.show(f"route show table {table}")
    assert wanted
    machine.ip(f"route flush table {table}")
    wait_for("our routes", lambda: machine.show(f"route show table {table}") == wanted)


@pytest.mark.rules
@pytest.mark.parametrize("command", ["flush ruleset", "delete table inet waymark",
                                     "flush chain inet waymark guard_postrouting",
                                     "delete element inet waymark guard { 3001 }"])
def test_the_guard_comes_back(machine, daemon, command):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    wanted = guard_parts(machine)
    assert any("3001 : goto" in part for part in wanted)
    machine.run(["nft"] + command.split())
    wait_for("the guard", lambda: guard_parts(machine) == wanted)


def guard_parts(machine):
    """Its maps and chains, in no order: the kernel tells them in that of their making."""
    return sorted(part.strip("\n}") for part in nft_table(machine).split("\n\n"))


def test_restoring_is_rate_limited(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    start = time.monotonic()
    while time.monotonic() < start + 3:
        machine.run(["ip", "rule", "del", "prio", "9000"], check=False)
    assert daemon("default").code == 0, "a fight does not keep the daemon from its work"
    told = daemon.log.count("somebody deleted")
    assert told <= 10 + (time.monotonic() - start) + 1
    wait_for("the rule", lambda: any(r.startswith("9000:") for r in our_rules(machine)))


def test_one_daemon_per_network_namespace(machine, daemon):
    second = Instance(machine).spawn()
    assert second.process.wait(timeout=WAIT) == 1
    assert "another waymarkd runs in this network namespace" in second.log
    second.process = None
    other = Machine()
    third = Instance(other).start()
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert third.assignments() == {}
    assert our_rules(other) and not [r for r in our_rules(other) if "uidrange 3001" in r]
    third.close()
    other.close()
    second.close()


def test_panic_off_and_on_again(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    before = foreign_state(machine)
    rules = our_rules(machine)
    daemon.ok("panic-off")
    assert our_rules(machine) == our_rules(machine, "-6") == []
    assert machine.show("route show table all proto 119") == []
    assert nft_table(machine) == ""
    assert sysctls(machine) == ["0", "0", "0"]
    assert machine.source(ALICE) == "10.0.0.2", "plain networking"
    assert foreign_state(machine) == before
    # it stays off: whatever happens, and whoever restarts
    machine.ip("link set eth1 down", "link set eth1 up")
    daemon.kill()
    daemon.start()
    assert our_rules(machine) == []
    assert daemon.assignments()[f"uid:{ALICE}"]["network"] == "none", "nothing is forgotten"
    machine.ip("addr add 10.0.1.3/24 dev eth1", "route add default via 10.0.1.1 metric 101",
               "addr add fd00:1::2/64 dev eth1 nodad")
    daemon.ok("reload")
    wait_for("the rules", lambda: [r for r in our_rules(machine) if "3001" in r]
             == [r for r in rules if "3001" in r])
    assert machine.source(ALICE) == "EACCES"
    assert sysctls(machine) == ["1", "1", "1"]


def sysctls(machine):
    return [machine.run(["cat", f"/proc/sys/net/{name}"]).stdout.strip()
            for name in ("ipv4/fwmark_reflect", "ipv6/fwmark_reflect", "ipv4/tcp_fwmark_accept")]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_panic_off_without_a_daemon_that_answers(machine, daemon, how):
    daemon.ok("assign", f"uid:{ALICE}", "none")
    daemon.process.send_signal(how)
    if how == signal.SIGKILL:
        daemon.process.wait()
    assert daemon("panic-off").code == 0
    assert our_rules(machine) == our_rules(machine, "-6") == [] and nft_table(machine) == ""
    assert machine.source(ALICE) == "10.0.0.2"
    if how == signal.SIGSTOP:
        daemon.process.send_signal(signal.SIGCONT)
        wait_for("its answer", lambda: daemon("default").code == 0)
        machine.ip("addr add 10.0.1.9/24 dev eth1")
        wait_for("the event", lambda: daemon("status").code == 0)
        assert our_rules(machine) == [], "a daemon that wakes up does not put it back"


def test_panic_off_of_what_a_crash_left_half_done(machine):
    """Rules of ours in any number, of no plan; one of them twice; only in one family."""
    for i in range(50):
        machine.ip(f"rule add prio {8000 + i} uidrange {i}-{i} lookup {1000 + i} protocol 119")
    machine.ip("rule add prio 9000 prohibit uidrange 5-5 protocol 119",
               "-6 rule add prio 9000 prohibit uidrange 6-6 protocol 119",
               "route add 10.50.0.0/16 dev eth0 table 1077 protocol 119",
               "-6 route add unreachable fd50::/16 table 1077 protocol 119",
               "rule add prio 77 lookup 77")
    before = foreign_state(machine)
    daemon = Instance(machine)
    machine.run(daemon.command("--panic-off"))
    assert our_rules(machine) == our_rules(machine, "-6") == []
    assert machine.show("route show table all proto 119") == []
    assert foreign_state(machine) == before
    daemon.close()


def test_state_survives_a_restart(machine, daemon):
    daemon.ok("network", "add", "work", "--interface", "eth1", "--dns", "10.0.1.53", "--domain",
              "corp.example", "--permission", "network")
    daemon.ok("route", "add", "work", "10.99.0.0/16", "via", "10.0.1.1", "mtu", "1400")
    daemon.ok("assign", f"uid:{ALICE}-{BOB}", "work", "--prefer")
    daemon.ok("default", "eth0")
    before = daemon.json("status")
    daemon.stop()
    daemon.start()
    assert daemon.json("status") == before
    assert "10.99.0.0/16 via 10.0.1.1 dev eth1 table" in " ".join(
        machine.show("route show table all proto 119"))


def test_a_damaged_state_file_is_not_guessed_at(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.stop()
    text = daemon.state_file.read_text()
    daemon.state_file.write_text(text.replace("assign uid:3001", "asssign uid:3001"))
    assert daemon.spawn().process.wait(timeout=WAIT) == 1
    assert "'asssign' is no kind of line" in daemon.log and "line " in daemon.log
    assert machine.source(ALICE) == "10.0.1.2", "what is in the kernel stays"
    daemon.state_file.write_text(text + "assign uid:1 eth0 requi")  # cut off by a crash
    daemon.start()
    assert set(daemon.assignments()) == {f"uid:{ALICE}"}


def test_a_full_disk_refuses_the_change_and_keeps_the_rest(machine):
    daemon = Instance(machine)
    state = daemon.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(state)], check=True)
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        rules = our_rules(machine)
        with open(state / "filler", "wb") as filler:
            try:
                filler.write(b"x" * 65536)
                filler.flush()
            except OSError:
                pass
        refused = None
        for uid in range(4000, 4400):
            refused = daemon("assign", f"uid:{uid}", "eth1")
            if refused.code:
                break
            rules = our_rules(machine)
        assert refused.code == 4 and "No space left on device" in refused.err
        assert our_rules(machine) == rules, "all or nothing"
        os.unlink(state / "filler")
        daemon.ok("assign", "uid:5000", "eth1")
        daemon.kill()
        daemon.start()
        assert "uid:5000" in daemon.assignments()
    finally:
        daemon.stop()
        subprocess.run(["umount", str(state)], check=True)
        daemon.close()


def test_signals_and_exit_codes(machine):
    daemon = Instance(machine).start()
    daemon.stop(signal.SIGINT)
    assert daemon.process.returncode == 0
    assert not os.path.exists(daemon.socket)
    daemon.start()
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("the reload", lambda: "the configuration was read again" in daemon.log)
    daemon.close()
