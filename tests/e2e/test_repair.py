# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the daemon does when something cannot be had: a route that the kernel refuses, a user
database that is away, a dump that lies. The rest goes on, nothing leaks, nothing spins."""

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

from harness import (SERVER4, Accounts, Capture, Instance, nft_table, our_rules, wait_for)

ALICE, BOB = 3001, 3002
USERS, GROUPS = {"alice": (ALICE, 100), "bob": (BOB, 100)}, {"users": (100, [])}


@pytest.fixture
def instance(machine):
    """A daemon that has not started yet."""
    instance = Instance(machine)
    try:
        yield instance
    finally:
        instance.close()


def rejected(daemon):
    return [line for line in daemon.log.splitlines() if "rejected:" in line]


def findings(daemon, check):
    return [f for f in daemon.json("doctor")["findings"] if f["check"] == check]


def table_of(machine, name, family="-4"):
    return machine.show(f"{family} route show table {machine.ifindex(name) + 1000}")


def cpu_seconds(daemon):
    with open(f"/proc/{daemon.process.pid}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def assert_idle(daemon):
    """It comes to rest: for 2 s it says nothing and does nothing."""
    def is_idle():
        log, before = daemon.log, cpu_seconds(daemon)
        time.sleep(2)
        return cpu_seconds(daemon) - before <= 0.05 and daemon.log == log

    wait_for("it to be idle", is_idle, seconds=10)


# Routes that the kernel refuses.

HOME_AND_WORK = """[network home]
interface = eth0

[network work]
interface = eth1
route = default via 10.0.1.1

[assignments]
assign = uid:3001 work
assign = uid:3002 home
"""


def test_a_configured_route_that_cannot_be_had_yet(machine, instance):
    """As at boot: eth1 is up, DHCP has not answered yet."""
    machine.ip("-4 addr flush dev eth1")
    instance.config.write_text(HOME_AND_WORK)
    daemon = instance.start()
    assert machine.source(ALICE) in ("EACCES", "ENETUNREACH"), "fenced in"
    assert machine.source(ALICE, device="eth0", kind="udp", seconds=0.2) != "10.0.0.2"
    assert machine.source(BOB) == "10.0.0.2"
    assert daemon.json("status")["status"]["degraded"] == ""
    told = rejected(daemon)
    assert len(told) == 1 and "0.0.0.0/0 via 10.0.1.1 dev eth1" in told[0]
    assert "Network is unreachable" in told[0] or "Nexthop has invalid gateway" in told[0]
    waits, = [f for f in findings(daemon, "routes") if "10.0.1.1" in f["text"]]
    assert waits["level"] == "warning"
    assert_idle(daemon)

    daemon.ok("assign", "uid:3003", "none")  # another request is none of its business
    machine.run(["nft", "flush", "ruleset"])
    wait_for("the guard", lambda: "guard" in nft_table(machine))
    daemon.ok("reload")
    assert len(rejected(daemon)) == 1, "told once"

    machine.ip("addr add 10.0.1.2/24 dev eth1")
    wait_for("the route", lambda: any("default via 10.0.1.1" in r
                                      for r in table_of(machine, "eth1")))
    assert machine.source(ALICE) == "10.0.1.2"
    assert findings(daemon, "routes") == []


def test_a_commanded_route_is_refused_with_the_request(machine, daemon):
    daemon.ok("network", "add", "work", "--interface", "eth1")
    rules, routes = our_rules(machine), table_of(machine, "eth1")
    result = daemon("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1")
    assert result.code == 4
    assert "10.9.0.0/16 via 10.77.0.1 dev eth1" in result.err
    assert (our_rules(machine), table_of(machine, "eth1")) == (rules, routes)
    assert daemon.networks()["work"]["routes"] == []
    assert rejected(daemon) == []
    again = daemon("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1")
    assert (again.code, again.err) == (4, result.err)
    machine.ip("addr add 10.77.0.2/24 dev eth1")
    daemon.ok("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1")
    assert any("10.9.0.0/16 via 10.77.0.1" in r for r in table_of(machine, "eth1"))


def wait_for_no_copy(machine, prefix, family="-4"):
    """As long as the copy is there, the kernel finds a gateway by it."""
    wait_for(f"no {prefix}", lambda: not any(r.startswith(prefix)
                                             for r in table_of(machine, "eth1", family)))


@pytest.mark.rules
def test_a_commanded_route_that_is_lost_later(machine, daemon):
    """The network, the rest of its routes, and what others ask for stay as they are."""
    machine.ip("addr add 10.77.0.2/24 dev eth1")
    daemon.ok("network", "add", "work", "--interface", "eth1")
    daemon.ok("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1")
    daemon.ok("assign", f"uid:{ALICE}", "work")
    machine.ip("addr del 10.77.0.2/24 dev eth1")
    wait_for_no_copy(machine, "10.77.0.0/24")
    machine.ip(f"route del 10.9.0.0/16 table {machine.ifindex('eth1') + 1000}")
    wait_for("the notice", lambda: len(rejected(daemon)) == 1)
    assert machine.source(ALICE) == "10.0.1.2"
    daemon.ok("assign", f"uid:{BOB}", "none")
    machine.run(["nft", "delete", "table", "inet", "waymark"])
    wait_for("the guard", lambda: "3002" in nft_table(machine))
    assert_idle(daemon)
    daemon.kill()
    daemon.start()
    assert daemon.json("status")["status"]["degraded"] == ""
    assert machine.source(ALICE) == "10.0.1.2" and machine.source(BOB) == "EACCES"
    # who asks for it once more hears that it cannot be had
    daemon.ok("route", "remove", "work", "10.9.0.0/16", "via", "10.77.0.1")
    assert daemon("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1").code == 4
    machine.ip("addr add 10.77.0.2/24 dev eth1")
    daemon.ok("route", "add", "work", "10.9.0.0/16", "via", "10.77.0.1")


def test_a_host_route_that_cannot_be_copied(machine, daemon):
    """A default route whose gateway lost its prefix stays in the main table; nobody can add it."""
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    machine.ip("-6 route del fd00:1::/64 dev eth1")
    wait_for_no_copy(machine, "fd00:1::/64", "-6")
    table = machine.ifindex("eth1") + 1000
    machine.ip(f"-6 route del default table {table}", "link set eth1 mtu 1400")
    wait_for("the notice", lambda: rejected(daemon))
    assert_idle(daemon)
    assert len(rejected(daemon)) == 1 and "::/0 via fd00:1::1 dev eth1" in rejected(daemon)[0]
    for i in range(5):  # facts of another interface, and of this one: it is tried, not told
        machine.ip(f"addr add 10.0.0.{40 + i}/24 dev eth0", f"addr add 10.0.1.{40 + i}/24 dev eth1")
    assert_idle(daemon)
    assert len(rejected(daemon)) == 1
    machine.ip("-6 route add fd00:1::/64 dev eth1")
    wait_for("the route", lambda: any("default via fd00:1::1" in r
                                      for r in table_of(machine, "eth1", "-6")))


def test_hundreds_of_refused_routes(machine, instance):
    """They are told in a few lines, keep nothing else, and cost nothing."""
    routes = "".join(f"route = 10.{i // 200 + 100}.{i % 200}.0/24 via 10.88.0.1\n"
                     for i in range(600))
    instance.config.write_text("[network work]\ninterface = eth1\n" + routes
                               + "[assignments]\nassign = uid:3001 work\n")
    daemon = instance.start()
    assert machine.source(ALICE) == "10.0.1.2"
    assert 1 <= len(rejected(daemon)) <= 20
    daemon.ok("assign", f"uid:{BOB}", "none")
    assert_idle(daemon)
    machine.ip("addr add 10.88.0.2/24 dev eth1")
    wait_for("the routes", lambda: sum("10.88.0.1" in r for r in table_of(machine, "eth1")) == 600)


# The guard across a failure.

class Sender:
    """A user who sends out of one device for as long as the object is open."""

    def __init__(self, machine, uid, device, pause=0.001):
        self.stop, other = socket.socketpair()
        self.process = machine.start_call(self._send, other, device, pause, uid=uid, seconds=300)
        other.close()

    @staticmethod
    def _send(control, device, pause):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        control.settimeout(pause)
        while True:
            with contextlib.suppress(OSError):
                sock.sendto(b"x", (SERVER4, 9))
            try:
                control.recv(1)
                return
            except (TimeoutError, BlockingIOError):
                pass

    def close(self):
        self.stop.send(b"x")
        self.process.result()
        self.stop.close()


def test_no_packet_slips_through_while_the_guard_is_replaced(machine, daemon):
    """Each new daemon makes the table anew; a packet may be under way at that very instant."""
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    sender, capture = Sender(machine, ALICE, "eth0", pause=0), Capture(machine)
    for _ in range(60):
        daemon.kill().start()
    sender.close()
    assert not [p for p in capture.packets() if p[0] == "eth0" and p[2] == SERVER4]
    assert "waymark_next" not in machine.run(["nft", "list", "tables"]).stdout
    capture.close()


def test_a_failure_after_a_restart_leaves_the_guard(machine, daemon):
    """A new daemon does not know the guard that stands; what it takes back is not that one."""
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    sender, capture = Sender(machine, ALICE, "eth0"), Capture(machine)
    # LeakSanitizer does not work in a process that is traced
    daemon.env["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"
    failed = 0
    for number in range(1, 20):
        daemon.kill()
        for rule in ("-4 rule del prio 16000", "-6 rule del prio 17000") * 2:  # so there is work
            machine.run(["ip", *rule.split()], check=False)
        start = len(daemon.log)
        capture.packets()
        daemon.spawn(wrap=["strace", "-D", "-q", "-o", "/dev/null", "-e", "trace=sendto", "-e",
                           f"inject=sendto:error=ENOBUFS:when={number}"])
        wait_for("waymarkd", lambda: daemon.ended() or daemon.answers())
        if daemon.ended():  # it could not even look: nothing was done
            assert "cannot read the kernel's state" in daemon.log[start:]
            daemon.process = None
        else:
            wait_for("its recovery", lambda: not daemon.json("status")["status"]["degraded"])
            assert "inet waymark" in nft_table(machine)
        assert not [p for p in capture.packets() if p[0] == "eth0" and p[2] == SERVER4], number
        failed += "No buffer space" in daemon.log[start:]
    assert failed >= 3
    sender.close()
    capture.close()


@pytest.mark.rules
def test_the_guard_that_somebody_deletes_right_behind_its_commit(machine, daemon):
    """… with so many other changes that the events are lost: nothing but the count of commits tells.
    The daemon is slow to ask for that."""
    daemon.ok("assign", f"uid:{BOB}", "eth1")
    flood = "add table inet other\nadd set inet other s { type ipv4_addr; }\n" + "".join(
        f"add element inet other s {{ {', '.join(f'10.{i}.{j}.{k}' for k in range(250))} }}\n"
        for i in range(3) for j in range(60))
    tracer = subprocess.Popen(
        ["strace", "-q", "-p", str(daemon.process.pid), "-e", "trace=sendto", "-o", "/dev/null",
         "-e", "inject=sendto:delay_exit=1000000:when=2"], stderr=subprocess.DEVNULL)
    wait_for("strace", lambda: tracer_of(daemon.process.pid) == tracer.pid)
    client = daemon.popen("assign", f"uid:{ALICE}", "eth1")
    wait_for("the commit", lambda: "3001" in nft_table(machine))
    machine.run(["nft", "delete", "table", "inet", "waymark"])
    machine.run(["nft", "-f", "-"], input=flood)
    client.communicate()
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    assert client.returncode == 0
    wait_for("the guard", lambda: "3001" in nft_table(machine) and "3002" in nft_table(machine))


def tracer_of(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        return int(next(line for line in status if line.startswith("TracerPid")).split()[1])


# The user database.

def use_nss(accounts, line):
    (accounts.folder / "nsswitch.conf").write_text(f"passwd: {line}\ngroup: {line}\n")


AWAY = ["nosuchservice [UNAVAIL=return]", "nosuchservice", "nosuchservice [!SUCCESS=return] files"]


@pytest.mark.parametrize("line", AWAY)
def test_a_user_database_that_is_away(machine, instance, line):
    """The uids of last time hold: through a reload, a restart, and a new configuration."""
    accounts = Accounts(instance)
    accounts.write(USERS, GROUPS)
    config = "[assignments]\nassign = user:alice none\nassign = group:users none\n"
    instance.config.write_text(config)
    daemon = instance.start()
    daemon.ok("assign", "user:bob", "eth1")

    def held():
        assert machine.source(ALICE) == "EACCES"
        assert machine.source(BOB) == "10.0.1.2"
        return [daemon.assignments()[s]["uids"] for s in ("user:alice", "user:bob", "group:users")]

    assert held() == [["3001"], ["3002"], ["3001-3002"]]
    use_nss(accounts, line)
    daemon.ok("reload")
    assert held() == [["3001"], ["3002"], ["3001-3002"]]
    found = findings(daemon, "assignments")
    assert len(found) == 3 and all("cannot be asked" in f["text"] for f in found)
    daemon.kill()
    daemon.start()
    assert held() == [["3001"], ["3002"], ["3001-3002"]]
    assert len(findings(daemon, "assignments")) == 3
    instance.config.write_text(config + "assign = user:nosuchuser none\n")
    daemon.ok("reload")
    assert held() == [["3001"], ["3002"], ["3001-3002"]]
    assert_idle(daemon)
    daemon.stop()
    daemon.start()
    assert held() == [["3001"], ["3002"], ["3001-3002"]]

    use_nss(accounts, "files")
    accounts.write({"bob": (BOB, 100)}, GROUPS)  # it is back, and says that alice has gone
    wait_for("alice to be free", lambda: machine.source(ALICE) == "10.0.0.2")
    assert daemon.assignments()["user:alice"]["state"] == "waiting"
    texts = [f["text"] for f in findings(daemon, "assignments")]
    assert len(texts) == 2 and all("no such user" in t for t in texts)


def test_a_change_of_users_that_cannot_be_applied_at_once(machine, instance):
    accounts = Accounts(instance)
    accounts.write(USERS, GROUPS)
    daemon = instance.start()
    daemon.ok("assign", "user:alice", "eth1")
    tracer = subprocess.Popen(
        ["strace", "-q", "-p", str(daemon.process.pid), "-e", "trace=sendto", "-o", "/dev/null",
         "-e", "inject=sendto:error=ENOBUFS:when=1+"], stderr=subprocess.DEVNULL)
    wait_for("strace", lambda: tracer_of(daemon.process.pid) == tracer.pid)
    accounts.write(USERS | {"alice": (3100, 100)}, GROUPS)
    wait_for("the failure", lambda: "No buffer space" in daemon.log)
    tracer.send_signal(signal.SIGINT)
    tracer.wait()
    wait_for("the new uid", lambda: machine.source(3100) == "10.0.1.2")
    assert machine.source(ALICE) == "10.0.0.2"


def test_more_changes_in_etc_than_inotify_holds(machine, instance):
    accounts = Accounts(instance)
    accounts.write(USERS, GROUPS)
    daemon = instance.start()
    daemon.ok("assign", "user:alice", "eth1")
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as limit:
        n = int(limit.read())
    daemon.process.send_signal(signal.SIGSTOP)
    for i in range(n + 10):
        with open(accounts.folder / f"f{i % 2}", "w", encoding="ascii"):
            pass
    accounts.write(USERS | {"alice": (3100, 100)}, GROUPS)
    daemon.process.send_signal(signal.SIGCONT)
    wait_for("the new uid", lambda: machine.source(3100) == "10.0.1.2")


# Dumps that lie.

@pytest.mark.rules
def test_a_rule_is_not_taken_for_its_own_copy(machine, instance):
    """While others add and delete rules, the kernel tells some of ours twice."""
    instance.config.write_text("[assignments]\n" + "".join(
        f"assign = uid:{10000 + 2 * i} {'eth0' if i % 2 else 'eth1'}\n" for i in range(1500)))
    daemon = instance.start()
    wanted = our_rules(machine)
    monitor = machine.popen(["ip", "monitor", "rule"], stdout=subprocess.PIPE, text=True)
    stop = threading.Event()
    batch = "rule add pref 5 lookup 5\nrule del pref 5\n" * 500

    def disturb():
        while not stop.is_set():
            subprocess.run(["ip", "-batch", "-"], input=batch, text=True, check=True,
                           preexec_fn=machine.enter)

    thread = threading.Thread(target=disturb)
    thread.start()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        assert daemon("assign", "uid:5000", "none").code == 0
        assert daemon("unassign", "uid:5000").code == 0
    stop.set()
    thread.join()
    monitor.terminate()
    lost = [line for line in monitor.communicate()[0].splitlines()
            if line.startswith("Deleted") and "proto 119" in line and "5000-5000" not in line]
    assert lost == []
    wait_for("the rules", lambda: our_rules(machine) == wanted)
    assert "degraded" not in daemon.log
