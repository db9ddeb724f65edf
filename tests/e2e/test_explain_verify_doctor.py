# SPDX-License-Identifier: LGPL-2.1-or-later
"""explain, verify and doctor on a machine whose rules, routes and sysctls others have changed: what
they say is what the kernel does, and what they advise is right."""

import os
import re
import signal
import socket
import struct
import subprocess

import pytest

from dbus_peer import Peer
from harness import (SERVER4, SERVER6, Instance, Machine, ask_server, our_rules, wait_for)
from test_robustness import tracer_of

pytestmark = pytest.mark.rules  # whose words and verdicts these are

ALICE, BOB, CAROL, NOBODY = 3001, 3002, 3003, 65534
SO_MARK = 36


@pytest.fixture(scope="module")
def house():
    machine = Machine()
    daemon = Instance(machine)
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        daemon.ok("assign", f"uid:{BOB}", "none")
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


@pytest.fixture
def foreign_to():
    """Runs `ip … add …` on a machine; the opposite is done when the test is over."""
    done = []

    def add(machine, *lines):
        for line in lines:
            machine.ip(line)
            done.append((machine, line.replace(" add ", " del ", 1)))

    yield add
    for machine, line in reversed(done):
        machine.ip(line)


@pytest.fixture
def foreign(house, foreign_to):
    return lambda *lines: foreign_to(house[0], *lines)


def explained(daemon, *args):
    e = daemon.json("explain", *args)["explanation"]
    assert e["kernel_agrees"], e["kernel"]
    return e


# Explain.

# What stands before the destination, and what of the answer.
QUESTIONS = [
    (["--uid", ALICE], {"uid": ALICE, "selector": f"uid:{ALICE}", "assigned": "eth1",
                        "strength": "require", "error": 0, "interface": "eth1", "network": "eth1",
                        "guard": "allowed", "type": "unicast"}),
    (["--uid", BOB], {"assigned": "none", "error": 13, "error_text": "Permission denied"}),
    (["--uid", CAROL], {"selector": "", "interface": "eth0", "table": 254, "guard": "unassigned"}),
    (["--user", "nobody"], {"uid": NOBODY, "interface": "eth0"}),
    (["--uid", ALICE, "--dev", "eth1"], {"device": "eth1", "interface": "eth1", "error": 0}),
    (["--uid", ALICE, "--dev", "eth0"], {"device": "eth0"}),
    (["--uid", BOB, "--dev", "eth0"], {"device": "eth0"}),
    (["--uid", CAROL, "--dev", "eth1"], {"interface": "eth1", "error": 0}),
    (["--uid", CAROL, "--mark", "0x30065"], {"mark": 0x30065, "interface": "eth1"}),
    (["--uid", CAROL, "--mark", "196709"], {"mark": 0x30065, "interface": "eth1"}),
    (["--uid", CAROL, "--mark", "0xfff00000"], {"mark": 0xFFF00000, "interface": "eth0"}),
    (["--uid", ALICE, "--mark", "0x30064"], {"assigned": "eth1"}),
    ([], {"uid": 0}),
]


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
@pytest.mark.parametrize("args,expected", QUESTIONS,
                         ids=[" ".join(map(str, q[0])) or "nothing" for q in QUESTIONS])
def test_questions(house, args, expected, server):
    """Each in both families, as text and as JSON; and what is said is what happens."""
    machine, daemon = house
    args = [*map(str, args), server]
    e = explained(daemon, *args)
    assert {key: e[key] for key in expected} == expected
    text = daemon.ok("explain", *args).out
    assert f"uid {e['uid']}" in text.splitlines()[0] and "kernel:     agrees: " in text
    for step in e["steps"]:
        assert re.search(rf"^{step['priority']} +{step['name']} .*{re.escape(step['rule'])}", text,
                         re.MULTILINE)
    if e["error"] == 0:
        assert f"by {e['interface']}" in text and f"from {e['source']}" in text
    else:
        assert f"refused, {e['error_text']}" in text
    seen = machine.call(ask_marked, server, e["device"], e["mark"], e["uid"])
    if e["error"]:
        assert seen != e.get("source") and not seen[0].isdigit()
    else:
        assert seen == e["source"]


def ask_marked(server, device, mark, uid):
    """What the server sees of a socket that this user opens; a helper of his gives it the mark."""
    original = socket.socket.__init__

    def marked(self, *args, **kwargs):
        os.seteuid(uid)
        original(self, *args, **kwargs)
        os.seteuid(0)
        self.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("I", mark))

    socket.socket.__init__ = marked
    return ask_server(server, device, "tcp", 1.0)


@pytest.mark.parametrize("source,interface", [("10.0.0.2", "eth0"), ("10.0.1.2", "eth0")])
def test_a_source_address(house, source, interface):
    _, daemon = house
    e = explained(daemon, "--uid", str(CAROL), "--from", source, SERVER4)
    assert (e["from"], e["source"], e["interface"]) == (source, source, interface)


@pytest.mark.parametrize("destination,expected", [
    ("127.0.0.1", {"type": "local", "guard": "loopback"}), ("::1", {"type": "local"}),
    ("10.0.1.2", {"type": "local"}), ("224.0.0.1", {"type": "multicast"}),
    ("10.0.0.255", {"type": "broadcast"}), ("10.0.1.77", {"type": "unicast", "gateway": ""}),
    ("fd00:1::77", {"interface": "eth1"}), ("255.255.255.255", {"type": "broadcast"})])
def test_destinations_of_every_kind(house, destination, expected):
    _, daemon = house
    e = explained(daemon, "--uid", str(ALICE if destination == "127.0.0.1" else CAROL), destination)
    assert {key: e[key] for key in expected} == expected


def test_rules_and_routes_of_others_are_taken_into_account(house, foreign):
    machine, daemon = house
    foreign(f"rule add prio 50 to {SERVER4} lookup 52", f"rule add prio 60 uidrange {CAROL}-{CAROL} "
            "unreachable", f"-6 rule add prio 70 to {SERVER6} goto 32766",
            f"route add {SERVER4} via 10.0.1.1 dev eth1 table 52")
    e = explained(daemon, "--uid", str(CAROL), SERVER4)
    assert (e["interface"], e["table"], e["network"]) == ("eth1", 52, "eth1")
    assert machine.source(CAROL) == "10.0.1.2"
    step, = [s for s in e["steps"] if s["priority"] == 50]
    assert step == {"priority": 50, "name": "", "rule": f"from all to {SERVER4}/32 lookup 52",
                    "match": "matches", "outcome": "route",
                    "route": f"{SERVER4}/32 via 10.0.1.1 dev eth1 table 52"}
    e = explained(daemon, "--uid", str(CAROL), "192.0.2.1")
    assert (e["error"], e["error_text"]) == (101, "Network is unreachable")
    assert "made unreachable by rule 60" in daemon.ok("explain", "--uid", str(CAROL),
                                                      "192.0.2.1").out
    e = explained(daemon, "--uid", str(ALICE), SERVER6)
    assert [s["outcome"] for s in e["steps"] if s["priority"] == 70] == ["goto"]
    assert e["error"] and machine.source(ALICE, SERVER6) not in ("fd00::2", "fd00:1::2")


# Verify.

def leak(daemon):
    """The counterexample, as text and as JSON; both say the same."""
    result = daemon("--json", "verify")
    verification = result.json["verification"]
    assert result.code == 4 and not verification["proved"]
    e = verification["counterexample"]
    assert e["error"] == 0 and e["kernel_agrees"] and e["interface"] != e["assigned"]
    text = daemon("verify")
    assert (text.code, text.err) == (4, "")
    first, _, _, *rest = text.out.splitlines()
    assert first == "LEAK: an app can leave by a network it must not use"
    # it is printed as explain prints it: asked the same, that says the same
    question = ["--uid", str(e["uid"]), "--mark", hex(e["mark"])]
    question += ["--dev", e["device"]] if e["device"] else []
    asked = daemon.ok("explain", *question, e["destination"]).out
    assert rest == asked.splitlines()
    return e


@pytest.fixture(scope="module")
def unguarded():
    """A daemon on a kernel without nftables: rules alone hold, so others' rules can leak."""
    machine = Machine()
    daemon = Instance(machine)
    daemon.has_nftables = False
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


# What others do, and a packet of ALICE's that is led astray by it: (destination, mark).
LEAKS = {
    "a rule for all": (["rule add prio 100 lookup main"], SERVER4, 0),
    "a rule for the user": ([f"rule add prio 7000 uidrange {ALICE}-{ALICE} lookup main"], SERVER4, 0),
    "IPv6": (["-6 rule add prio 7000 lookup main"], SERVER6, 0),
    "a destination": ([f"rule add prio 7000 to {SERVER4} lookup main"], SERVER4, 0),
    "a table": (["rule add prio 7000 lookup 52",
                 f"route add {SERVER4} via 10.0.0.1 dev eth0 table 52"], SERVER4, 0),
    "a mark": (["rule add prio 7000 fwmark 0x80000000/0x80000000 lookup main"], SERVER4, 0x80000000),
    "goto": (["rule add prio 100 goto 32766"], SERVER4, 0),
    "a route": (["route add 203.0.113.0/24 via 10.0.0.1 dev eth0 table {eth1}"], "203.0.113.7", 0),
    "a range": (["rule add prio 100 uidrange 3000-3100 lookup main"], SERVER4, 0),
}


def of_others(machine, kind):
    return [line.format(eth1=1000 + machine.ifindex("eth1")) for line in LEAKS[kind][0]]


@pytest.mark.parametrize("kind", LEAKS)
def test_without_the_guard_others_can_make_a_leak(unguarded, foreign_to, kind):
    """It is found, and shown with the packet that leaves."""
    machine, daemon = unguarded
    _, destination, mark = LEAKS[kind]
    question = ["--uid", str(ALICE), "--mark", str(mark), destination]
    assert explained(daemon, *question).get("interface") != "eth0"
    foreign_to(machine, *of_others(machine, kind))
    e = explained(daemon, *question)
    assert (e["interface"], e["assigned"], e["error"], e["guard"]) == ("eth0", "eth1", 0, "absent")
    assert "guard:      there is none (no nftables, or panic-off)" in daemon.ok("explain", *question).out
    leak(daemon)
    if destination == SERVER4:
        assert machine.call(ask_marked, SERVER4, "", mark, ALICE) == "10.0.0.2", "it is real"


def test_the_counterexample_names_the_rule(unguarded, foreign_to):
    machine, daemon = unguarded
    foreign_to(machine, "rule add prio 100 lookup main")
    e = leak(daemon)
    assert (e["uid"], e["interface"], e["type"]) == (ALICE, "eth0", "unicast")
    assert [(s["priority"], s["name"], s["outcome"]) for s in e["steps"]] \
        == [(0, "", "no route"), (100, "", "route")]


@pytest.mark.parametrize("kind", LEAKS)
def test_with_the_guard_the_same_is_no_leak(house, foreign, kind):
    """The app is blocked instead; verify counts what the guard alone refuses, explain says so."""
    machine, daemon = house
    _, destination, mark = LEAKS[kind]
    before = daemon.json("verify")["verification"]["guard_only"]
    foreign(*of_others(machine, kind))
    verification = daemon.json("verify")["verification"]
    assert verification["proved"] and verification["guard_only"] > before
    question = ["--uid", str(ALICE), "--mark", str(mark), destination]
    e = explained(daemon, *question)
    assert (e["guard"], e["error"]) == ("drop", 1)
    assert "dropped by the guard at eth0" in daemon.ok("explain", *question).out
    if destination == SERVER4:
        assert machine.call(ask_marked, SERVER4, "", mark, ALICE) in ("EPERM", "timeout")


HARMLESS = ["rule add prio 100 iif eth0 lookup main", "rule add prio 32700 lookup main",
            "rule add prio 100 uidrange 5000-5010 lookup main", "rule add prio 100 lookup 77",
            f"rule add prio 100 uidrange {ALICE}-{ALICE} prohibit"]


@pytest.mark.parametrize("line", HARMLESS)
def test_rules_that_do_no_harm(house, foreign, line):
    """They add nothing that only the guard would stop."""
    _, daemon = house
    before = daemon.json("verify")["verification"]
    foreign(line)
    after = daemon.json("verify")["verification"]
    assert after["proved"] and after["guard_only"] <= before["guard_only"]


# Doctor.

def findings(daemon, check, *levels):
    """Those of a check; what is printed for people is the same, and what is bad has a remedy."""
    found = daemon("--json", "doctor").json["findings"]
    lines = daemon("doctor").out.splitlines()
    for f in found:
        assert f"{f['level']:8} {f['check']:15} {f['text']}" in lines
        if f["remedy"]:
            assert f"{'':24}   → {f['remedy']}" in lines
        assert f["remedy"] or f["level"] in ("ok", "info"), f
    levels = levels or ("info", "warning", "error")
    return [f for f in found if f["check"] == check and f["level"] in levels]


def test_a_healthy_machine(house):
    _, daemon = house
    found = daemon.json("doctor")["findings"]
    assert {f["level"] for f in found} <= {"ok", "info"}, found
    assert [f["check"] for f in found[:2]] == ["state", "kernel"]


ROWS = [
    ("rules", "warning", ["rule add prio 100 lookup 77"],
     'IPv4 rule 100 of another program comes before ours: "from all lookup 77"', "ip -4 rule del"),
    ("rules", "warning", ["-6 rule add prio 7999 to 2001:db8::/32 lookup 77"],
     "IPv6 rule 7999 of another program comes before ours", "ip -6 rule del prio 7999"),
    ("rules", "info", ["rule add prio 15000 lookup 77"],
     "IPv4 rule 15000 of another program stands among ours", ""),
    ("marks", "warning", ["rule add prio 32700 fwmark 0x80000/0xff0000 lookup 77"],
     "IPv4 rule 32700 of another program looks at mark bits that are ours (0x80000/0xff0000)",
     "bits 21 to 31"),
    ("tables", "warning", ["route add 203.0.113.0/24 dev eth0 table {eth1}"],
     "another program has routes in table {eth1}, which is that of one of our networks",
     "ip -4 route show table {eth1}"),
]


@pytest.mark.parametrize("check,level,lines,text,remedy", ROWS, ids=[" ".join(r[2]) for r in ROWS])
def test_rules_marks_and_tables_of_others(house, foreign, check, level, lines, text, remedy):
    machine, daemon = house
    table = {"eth1": 1000 + machine.ifindex("eth1")}
    assert findings(daemon, check) == []
    foreign(*(line.format(**table) for line in lines))
    found, = findings(daemon, check)
    assert found["level"] == level
    assert text.format(**table) in found["text"] and remedy.format(**table) in found["remedy"]


@pytest.mark.parametrize("line", [
    "rule add prio 100 iif eth0 lookup 77", "rule add prio 32700 lookup 77",
    "rule add prio 32700 fwmark 0x80000000/0x80000000 lookup 77",
    "route add 203.0.113.0/24 dev eth0 table 77", "route add 203.0.113.0/24 dev eth0 table 900000"])
def test_what_others_may_do(house, foreign, line):
    _, daemon = house
    foreign(line)
    assert {f["level"] for f in daemon.json("doctor")["findings"]} <= {"ok", "info"}
    assert not findings(daemon, "rules") and not findings(daemon, "tables")


@pytest.mark.parametrize("statement,bits", [
    ("meta mark set 0x1234", "0x1fffff"), ("meta mark set meta mark & 0xffff0000 | 0x7", "0xffff"),
    ("meta mark set meta mark | 0x40000", "0x40000"), ("meta mark set 0x80000000", "0x1fffff"),
    ("meta mark set meta mark | 0x80000000", None), ("ct mark set 0x1234", None)])
def test_nftables_that_set_our_mark_bits(house, statement, bits):
    machine, daemon = house
    machine.run(["nft", "add table ip other; add chain ip other out { type route hook output "
                 f"priority 0; }}; add rule ip other out oifname nosuch {statement}"])
    try:
        found = findings(daemon, "marks")
        assert len(found) == (bits is not None), found
        if bits:
            assert found[0]["level"] == "warning"
            assert f"nftables table ip other, chain out sets mark bits that are ours ({bits} of 0x1fffff)" \
                in found[0]["text"]
    finally:
        machine.run(["nft", "delete", "table", "ip", "other"])


def sysctl(machine, name, value):
    machine.run(["sysctl", "-qw", f"{name}={value}"])


@pytest.mark.parametrize("scope", ["all", "eth1"])
def test_strict_rp_filter(house, scope):
    machine, daemon = house
    name = f"net.ipv4.conf.{scope}.rp_filter"
    before = machine.run(["sysctl", "-n", name]).stdout.strip()
    sysctl(machine, name, 1)
    try:
        found = findings(daemon, "rp_filter")
        assert ["eth0", "eth1"][scope == "eth1":] == [f["text"].split()[3].rstrip(":")
                                                      for f in found]
        assert found[-1]["remedy"] == "sysctl -w net.ipv4.conf.eth1.rp_filter=2"
        for f in found:  # what is advised helps
            machine.run(f["remedy"].split())
        assert findings(daemon, "rp_filter") == []
    finally:
        sysctl(machine, name, before)
        for device in ("eth0", "eth1"):
            sysctl(machine, f"net.ipv4.conf.{device}.rp_filter", 0)


def test_sysctls_that_somebody_turned_off(house):
    machine, daemon = house
    sysctl(machine, "net.ipv4.fwmark_reflect", 0)
    found, = findings(daemon, "sysctls")
    assert found["text"].startswith("sysctl net/ipv4/fwmark_reflect was turned off")
    machine.run(re.match(r"sysctl -w \S+", found["remedy"])[0].split())
    assert findings(daemon, "sysctls") == []
    sysctl(machine, "net.ipv4.fwmark_reflect", 0)
    daemon.ok("reload")
    assert findings(daemon, "sysctls") == [], "the other remedy helps, too"


@pytest.fixture
def another(machine):
    """A daemon that has not started yet."""
    daemon = Instance(machine)
    try:
        yield daemon
    finally:
        daemon.close()


def test_missing_sysctls(machine, another):
    another.private("/proc/sys/net/ipv4")
    another.start()
    found = findings(another, "sysctls")
    assert {f["level"] for f in found} == {"warning"}
    assert [re.search(r"no sysctl (\S+):", f["text"])[1] for f in found] \
        == ["net/ipv4/fwmark_reflect", "net/ipv4/tcp_fwmark_accept"]
    another.ok("assign", f"uid:{ALICE}", "eth1")
    assert machine.source(ALICE) == "10.0.1.2", "the main job is done without"


def test_no_nftables(machine, another):
    another.has_nftables = False
    another.start()
    found, = findings(another, "kernel", "error")
    assert "the kernel has no nftables" in found["text"] and "modprobe" in found["remedy"]
    assert another("doctor").code == another("--json", "doctor").code == 4
    assert another.json("status")["status"]["guard"] is False
    another.ok("assign", f"uid:{ALICE}", "eth1")
    assert machine.source(ALICE) == "10.0.1.2"


NETWORKD = [
    ({}, True), ({"etc/systemd/networkd.conf": "[Network]\n"}, True),
    ({"etc/systemd/networkd.conf": "[Network]\nManageForeignRoutingPolicyRules=no\n"}, False),
    ({"etc/systemd/networkd.conf.d/waymark.conf":
      "[Network]\nManageForeignRoutingPolicyRules=false\n"}, False),
    ({"etc/systemd/networkd.conf": "[Network]\nManageForeignRoutingPolicyRules=no\n",
      "run/systemd/networkd.conf.d/a.conf": "[Network]\nManageForeignRoutingPolicyRules=yes\n"},
     True),
    ({"run/systemd/networkd.conf.d/a.conf": "[Network]\nManageForeignRoutingPolicyRules=yes\n",
      "etc/systemd/networkd.conf.d/b.conf": "[Network]\nManageForeignRoutingPolicyRules=0\n"}, False),
    ({"etc/systemd/networkd.conf": "[DHCP]\nManageForeignRoutingPolicyRules=no\n"}, True),
]


@pytest.mark.parametrize("files,deletes", NETWORKD, ids=[str(list(f)) for f, _ in NETWORKD])
def test_networkd(another, files, deletes):
    folders = {"etc": another.private("/etc"), "run": another.private("/run")}
    another.start()
    assert not findings(another, "networkd", "ok", "warning"), "it does not run here"
    for path, text in ({"run/systemd/netif/state": ""} | files).items():
        top, rest = path.split("/", 1)
        file = folders[top] / rest
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    found, = findings(another, "networkd", "ok", "warning")
    assert found["level"] == ("warning" if deletes else "ok")
    assert ("ManageForeignRoutingPolicyRules=no" in found["remedy"]) == deletes


def test_networkmanager(machine, another):
    run = another.private("/run")
    machine.ip("tuntap add tun7 mode tun", "link set tun7 up", "addr add 10.7.0.1/24 dev tun7")
    another.start()
    state = run / f"NetworkManager/devices/{machine.ifindex('tun7')}"
    state.parent.mkdir(parents=True)
    for text, adopted in (("[device]\nmanaged=true\n", True),
                          ("[device]\nmanaged=true\nnm-owned=1\n", False),
                          ("[device]\nmanaged=false\n", False)):
        state.write_text(text)
        found = findings(another, "NetworkManager")
        assert len(found) == adopted
        if adopted:
            assert "NetworkManager manages tun7, which it did not make" in found[0]["text"]
            assert "unmanaged-devices=interface-name:tun7" in found[0]["remedy"]


def test_off(house):
    _, daemon = house
    daemon.ok("panic-off")
    found, = findings(daemon, "state")
    assert (found["level"], found["remedy"]) == ("warning", "waymark reload")
    daemon.ok("reload")
    assert findings(daemon, "state") == []


def test_degraded(machine, another):
    """The kernel refuses everything for a while: said by status, doctor, monitor and the bus; it is
    tried again until it works."""
    another.start()
    another.ok("assign", f"uid:{ALICE}", "eth1")
    pid = another.process.pid
    with Peer(another.socket) as peer:
        tracer = subprocess.Popen(
            ["strace", "-q", "-p", str(pid), "-e", "trace=sendto", "-o", "/dev/null", "-e",
             "inject=sendto:error=ENOBUFS"], stderr=subprocess.DEVNULL)
        try:
            wait_for("strace", lambda: tracer_of(pid) == tracer.pid)
            machine.ip("addr add 10.0.1.9/24 dev eth1")
            why = wait_for("it to be degraded", lambda: peer.get("Degraded"))
            assert "No buffer space available" in why
            assert machine.source(ALICE) == "10.0.1.2", "what stands, stands"
        finally:
            tracer.send_signal(signal.SIGINT)
            tracer.wait()
        wait_for("it to recover", lambda: peer.get("Degraded") == "")
        signals = peer.take_signals()
        told = [args[1]["Degraded"] for _, member, args in signals
                if member == "PropertiesChanged" and "Degraded" in args[1]]
        assert why in told and told[-1] == "" and told[0] != ""
        kinds = [args[0] for _, member, args in signals if member == "Event"]
        assert "degraded" in kinds and "recovered" in kinds
    assert findings(another, "state") == []
    assert "10.0.1.9" in "".join(machine.show("addr show dev eth1"))
    assert another.json("verify")["verification"]["proved"]


# Without a daemon, and without being root.

def test_without_a_daemon(machine, another):
    sysctl(machine, "net.ipv4.conf.eth0.rp_filter", 1)
    machine.ip("rule add prio 100 lookup 77")
    result = another("doctor")
    assert (result.code, result.err) == (0, "")
    assert re.search("^info +state +waymarkd does not run here", result.out, re.MULTILINE)
    assert re.search("^warning +rules +IPv4 rule 100 of another", result.out, re.MULTILINE)
    assert re.search("^warning +rp_filter +strict rp_filter on eth0", result.out, re.MULTILINE)
    assert "-> sysctl -w net.ipv4.conf.eth0.rp_filter=2" in result.out


def test_as_a_user_without_a_daemon(machine, another):
    result = another("doctor", uid=NOBODY)
    assert (result.code, result.out) == (4, "")
    assert result.err == ("waymarkd: cannot examine this machine: Operation not permitted: run it as "
                          "root\n")
    machine.ip("rule add prio 9000 uidrange 5-5 prohibit protocol 119")
    result = another("panic-off", uid=NOBODY)
    assert result.code == 4
    assert result.err == (
        "waymark: waymarkd is not running: panic-off goes on without it\n"
        "panic-off: Operation not permitted: run it as root\n"
        "waymark: panic-off failed: waymarkd says why above\n")
    assert our_rules(machine)


def test_as_a_user_with_a_daemon(house):
    """Everybody may ask; who may not change is told what to do."""
    machine, daemon = house
    assert daemon("doctor", uid=NOBODY).out == daemon("doctor").out
    assert daemon("verify", uid=NOBODY).code == 0
    result = daemon("panic-off", uid=NOBODY)
    assert result.code == 4 and "use sudo" in result.err
    assert our_rules(machine)
