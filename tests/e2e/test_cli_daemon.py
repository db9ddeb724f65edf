# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark(1) and the daemon as a whole: one that does not run, does not answer or talks nonsense;
doctor, monitor and panic-off, with a daemon and without."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading

import pytest

from cli_fixture import machine, stopped, waymark
from fake_daemon import FakeDaemon, answering
from harness import WAIT, WAYMARK

NOBODY = 65534
NO_DAEMON = ("waymarkd is not running ({}): start it with `systemctl start waymark` or "
             "`sudo waymarkd`")


def every_command(waymark):
    """One way to use each command that asks the daemon."""
    samples = {"NAME": "eth0", "IF": "eth1", "DST": "default", "SELECTOR": "uid:1",
               "NAME|none": "eth0", "NAME|none|default": "eth0", "DEST": "198.51.100.7",
               "FILE": "wg0.conf"}
    options = {"network set": ["--dns", "10.0.0.1"], "vpn set": ["--lockdown"]}
    for line in waymark.ok("help", "--words").out.splitlines():
        kind, *fields = line.split("\t")
        if kind == "command" and fields[0].split()[0] not in ("help", "panic-off", "doctor", "keystore"):
            args = [samples[a] for a in re.sub(r" ?\[.*\]", "", fields[1]).split()]
            yield [*fields[0].split(), *args, *options.get(fields[0], [])]


def test_no_daemon(stopped):
    message = NO_DAEMON.format(f"no {stopped.socket}")
    commands = list(every_command(stopped))
    assert len(commands) == 30
    for args in commands:
        result = stopped(*args)
        assert (result.code, result.out, result.err) == (8, "", f"waymark: {message}\n"), args
        result = stopped("--json", *args)
        error = {"errno": "ECONNREFUSED", "message": message}
        assert (result.code, result.json) == (8, {"waymark": 1, "error": error}), args


def test_a_socket_that_nobody_listens_on(stopped):
    os.mkdir(stopped.runtime)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(stopped.socket)
    result = stopped("status")
    message = NO_DAEMON.format(f"nobody listens on {stopped.socket}")
    assert (result.code, result.err) == (8, f"waymark: {message}\n")


def test_a_socket_that_cannot_be_reached(stopped):
    assert stopped("--runtime-dir", "/proc/version", "status").code == 8
    result = stopped("--runtime-dir", "/" + "x" * 200, "status")
    assert result.code == 4 and "longer than a socket's name may be" in result.err
    os.mkdir(stopped.runtime, 0o700)
    result = stopped("status", uid=NOBODY)
    assert (result.code, result.err) == (
        4, f"waymark: cannot connect to waymarkd at {stopped.socket}: Permission denied\n")


def test_runtime_dir(waymark):
    other = {"WAYMARK_RUNTIME_DIR": "/nonexistent"}
    assert waymark("status", env=other).code == 8
    assert waymark("status", "--runtime-dir", waymark.runtime, env=other).code == 0
    unset = waymark("default", env={"WAYMARK_RUNTIME_DIR": ""})
    assert unset.code == 0 or "/run/waymark/bus" in unset.err


def test_a_daemon_that_hangs_up(stopped):
    with FakeDaemon(stopped.socket, lambda _, c: c.close()):
        result = stopped("status")
    assert result.code == 8
    assert result.err.startswith(f"waymark: waymarkd closed the connection ({stopped.socket}): ")


def test_a_daemon_that_never_answers(stopped):
    with FakeDaemon(stopped.socket, lambda self, c: self.kept.append(c)):
        result = stopped("--timeout", "1", "status")
    assert result.code == 3
    assert result.err.startswith(f"waymark: waymarkd did not answer in time ({stopped.socket}): ")


def test_a_daemon_that_talks_nonsense(stopped):
    def serve(_, connection):
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    with FakeDaemon(stopped.socket, serve):
        assert stopped("status").code in (4, 8)


def test_a_daemon_whose_backlog_is_full(stopped):
    os.mkdir(stopped.runtime)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(stopped.socket)
        listener.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for s in waiting:
            s.setblocking(False)
            s.connect_ex(stopped.socket)
        assert stopped("--timeout", "1", "status").code == 3
        for s in waiting:
            s.close()


def test_a_daemon_that_is_stopped(waymark):
    waymark.process.send_signal(signal.SIGSTOP)
    for args in (["status"], ["assign", "uid:1", "eth1"], ["doctor"], ["monitor"]):
        result = waymark("--timeout", "1", *args)
        assert result.code == 3
        assert "did not answer in time" in result.err
    result = waymark("--json", "--timeout", "1", "status")
    assert (result.code, result.json["error"]["errno"]) == (3, "ETIMEDOUT")
    waymark.process.send_signal(signal.SIGCONT)
    assert waymark("status").code == 0


# Doctor, with and without the daemon.

def test_doctor(waymark):
    findings = waymark.json("doctor")["findings"]
    assert {f["level"] for f in findings} <= {"ok", "info", "warning", "error"}
    expected = ""
    for f in findings:
        expected += f"{f['level']:8} {f['check']:15} {f['text']}\n"
        expected += f"{'':24}   → {f['remedy']}\n" if f["remedy"] else ""
    result = waymark("doctor")
    assert result.out == expected
    assert result.code == (4 if any(f["level"] == "error" for f in findings) else 0)


def test_doctor_without_a_daemon(stopped):
    result = stopped("doctor")
    assert "waymarkd does not run here" in result.out
    assert result.code == (4 if re.search("^error", result.out, re.MULTILINE) else 0)
    result = stopped("doctor", "--json")
    assert (result.code, result.json["error"]["errno"]) == (8, "ECONNREFUSED")
    assert "leave --json away" in result.err


# Answers that the real daemon gives only once in a blue moon.

FLOW = {
    "Uid": ("u", 1000), "Mark": ("u", 0x30064), "Device": ("s", "eth0"), "From": ("s", "10.0.0.2"),
    "Destination": ("s", "198.51.100.7"), "Selector": ("s", "uid:1000"), "Assigned": ("s", "eth1"),
    "Strength": ("s", "require"), "Error": ("i", 0), "ErrorText": ("s", ""),
    "Guard": ("s", "allowed"), "Shortcut": ("b", 1), "Uncertain": ("b", 1),
    "Interface": ("s", "eth0"), "Network": ("s", ""), "Type": ("s", "multicast"),
    "Table": ("u", 0), "Gateway": ("s", ""), "Source": ("s", ""),
    "Kernel": ("s", "unicast dev eth1 table 254"), "KernelAgrees": ("b", 0),
    "Steps": ("a(usssss)", [(100, "", "from all goto 5", "matches", "goto", "")]),
}
VERIFIED = {"Proved": ("b", 0), "Incomplete": ("b", 0), "Segments": ("u", 1), "Groups": ("u", 1),
            "Cases": ("t", 2**40), "GuardOnly": ("t", 0), "Milliseconds": ("t", 5)}


def ask_fake(stopped, answers, *args):
    with FakeDaemon(stopped.socket, answering(answers)):
        return stopped(*args)


def test_the_fake_daemon_itself(stopped):
    result = ask_fake(stopped, {"Get": ("v", ("s", "eth1"))}, "default")
    assert (result.code, result.out, result.err) == (0, "eth1\n", "")


@pytest.mark.parametrize("signature, value, expected", [
    ("y", 255, 255), ("b", 1, True), ("n", -2, -2), ("q", 65535, 65535), ("i", -3, -3),
    ("u", 2**32 - 1, 2**32 - 1), ("x", -2**63, -2**63), ("t", 2**63 - 1, 2**63 - 1),
    ("t", 2**64 - 1, 2**63 - 1), ("d", 1.5, 1.5), ("s", "a\"ü", "a\"ü"), ("o", "/a", "/a"),
    ("g", "a{sv}", "a{sv}"), ("as", [], []), ("as", ["a", "b"], ["a", "b"]),
    ("a(ib)", [(1, 0)], [[1, False]]), ("v", ("v", ("u", 1)), 1),
    ("a{sv}", {"TwoWords": ("aau", [[1], []]), "NetId": ("u", 5)},
     {"two_words": [[1], []], "netid": 5}),
])
def test_types_as_json(stopped, signature, value, expected):
    result = ask_fake(stopped, {"Get": ("v", (signature, value))}, "--json", "default")
    assert result.json == {"waymark": 1, "default_network": expected}
    assert type(result.json["default_network"]) is type(expected)


def test_a_type_that_json_cannot_say(stopped):
    result = ask_fake(stopped, {"Get": ("v", ("a{us}", {1: "a"}))}, "--json", "default")
    assert (result.code, result.json["error"]["errno"]) == (4, "EBADMSG")


def test_no_networks(stopped):
    answers = {"GetManagedObjects": ("a{oa{sa{sv}}}", {})}
    assert ask_fake(stopped, answers, "network", "list").out == "no networks\n"


def test_many_candidates(stopped):
    objects = {f"/org/waymark1/network/{i}": {"org.waymark1.Network": {
        "NetId": ("u", i), "Name": ("s", f"office-{i}")}} for i in range(1000, 3000)}
    answers = {"GetManagedObjects": ("a{oa{sa{sv}}}", objects)}
    result = ask_fake(stopped, answers, "network", "show", "office")
    assert result.code == 2
    assert "network 'office' could be one of office-1000, office-1001, " in result.err
    assert result.err.endswith(", …: write more of it\n")


@pytest.mark.parametrize("shortcut, reason", [(0, "no rule has a route"),
                                              (1, "the rules were not asked")])
def test_explain_when_nothing_decides(stopped, shortcut, reason):
    dull = {k: v for k, v in FLOW.items() if k not in ("Kernel", "KernelAgrees", "Interface")}
    dull |= {"Error": ("i", 101), "ErrorText": ("s", "Network is unreachable"),
             "Shortcut": ("b", shortcut), "Steps": ("a(usssss)", [])}
    lines = ask_fake(stopped, {"Explain": ("a{sv}", dull)}, "explain", "::1").out.splitlines()
    assert lines[0].endswith(f": refused, Network is unreachable ({reason})")
    assert lines[1:6] == ["assignment: uid:1000 to eth1 (require)", "", "route:      none",
                          "guard:      not reached", "kernel:     was not asked"]


def test_explain_when_the_kernel_disagrees(stopped):
    result = ask_fake(stopped, {"Explain": ("a{sv}", FLOW)}, "explain", "198.51.100.7")
    assert result.code == 0
    assert result.out == """\
uid 1000 with mark 0x30064 bound to eth0 from 10.0.0.2 → 198.51.100.7: by eth0 (in no network), \
multicast
assignment: uid:1000 to eth1 (require)

PRIO  NAME  RULE             RESULT
100         from all goto 5  goto

route:      multicast dev eth0
guard:      lets it out: the interface is of the assigned network
kernel:     DISAGREES: unicast dev eth1 table 254
            What is said above is not what happens: please report this, with \
`waymark explain --json`, `ip rule` and `ip route show table all`
note:       the kernel does not ask the rules here, or overrides them \
(IPv4 with a device, or multicast)
note:       not everything that matters here is known \
(several next hops, or attributes unknown to waymark)
"""


@pytest.mark.parametrize("interface,hint", [
    ("eth0", ""), ("eth2", "By eth2, if the notes below apply:\n")])
def test_verify_finds_a_leak(stopped, interface, hint):
    """It may be another next hop, or kind of packet, than the explanation is about."""
    leak = VERIFIED | {"Interface": ("s", interface), "Counterexample": ("a{sv}", FLOW)}
    result = ask_fake(stopped, {"Verify": ("a{sv}", leak)}, "verify")
    assert result.code == 4 and result.err == ""
    assert result.out.startswith(
        "LEAK: an app can leave by a network it must not use\n"
        "1099511627776 cases, of 1 ranges of uids in 1 groups; 0 are refused by the guard alone; "
        "5 ms\n"
        f"\n{hint}uid 1000 with mark ")


def test_verify_json_of_a_leak(stopped):
    leak = VERIFIED | {"Counterexample": ("a{sv}", FLOW)}
    result = ask_fake(stopped, {"Verify": ("a{sv}", leak)}, "verify", "--json")
    assert result.code == 4
    counterexample = result.json["verification"]["counterexample"]
    assert counterexample["kernel_agrees"] is False
    assert counterexample["steps"] == [{"priority": 100, "name": "", "rule": "from all goto 5",
                                        "match": "matches", "outcome": "goto", "route": ""}]


def test_verify_that_is_incomplete(stopped):
    answers = {"Verify": ("a{sv}", VERIFIED | {"Incomplete": ("b", 1), "Reason": ("s", "a VRF")})}
    result = ask_fake(stopped, answers, "verify")
    assert result.code == 4
    assert result.out.startswith("not proved: a VRF\n")


def test_doctor_finds_an_error(stopped):
    findings = [("kernel", "ok", "Linux", ""), ("state", "error", "is amiss", "waymark reload")]
    answers = {"Doctor": ("a(ssss)", findings)}
    result = ask_fake(stopped, answers, "doctor")
    assert result.code == 4 and result.err == ""
    assert result.out == ("ok       kernel          Linux\n"
                          "error    state           is amiss\n"
                          "                           → waymark reload\n")


def test_doctor_json_of_an_error(stopped):
    findings = [("state", "error", "is amiss", "waymark reload")]
    result = ask_fake(stopped, {"Doctor": ("a(ssss)", findings)}, "--json", "doctor")
    assert result.code == 4
    assert result.json == {"waymark": 1, "findings": [
        {"check": "state", "level": "error", "text": "is amiss", "remedy": "waymark reload"}]}


STATUS = {"Version": ("s", "1"), "DefaultNetwork": ("s", "gone"), "Off": ("b", 0),
          "Degraded": ("s", "the kernel says no"), "Guard": ("b", 0)}


def test_status_of_a_daemon_in_trouble(stopped):
    odd = {"NetId": ("u", 100), "Name": ("s", "a\033[31m"), "State": ("s", "absent"),
           "Interfaces": ("as", ["ü0", "\u009b"])}
    answers = {
        "GetAll": ("a{sv}", STATUS),
        "ListAssignments": ("a(ssssssas)", []),
        "GetManagedObjects": ("a{oa{sa{sv}}}", {
            "/org/waymark1": {"org.freedesktop.DBus.ObjectManager": {}},
            "/org/waymark1/network/100": {"org.waymark1.Network": odd, "org.waymark1.New": {}}}),
    }
    result = ask_fake(stopped, answers, "status")
    assert result.code == 0
    assert result.out == """\
waymarkd 1: degraded: the kernel says no, no guard at the interfaces: see `waymark doctor`
default network: gone (absent)

NETID  NAME    TYPE  STATE   INTERFACES  DNS
100    a?[31m  -     absent  ü0,?        -

no assignments
"""


@pytest.mark.parametrize("answer", [
    ("a(ss)", [("uid:1", "eth0")]),
    ("a(sssssssas)", [("uid:1", "eth0", "", "", "", "", "", [])]),
    ("u", 5),
    ("",),
])
def test_an_answer_of_another_version(stopped, answer):
    result = ask_fake(stopped, {"ListAssignments": answer}, "assignments", "--json")
    assert (result.code, result.json["error"]["errno"]) == (4, "EBADMSG")
    assert "is it of another version?" in result.err


@pytest.mark.parametrize("name, code, errno", [
    ("System.Error.ENONET", 10, "ENONET"),
    ("org.freedesktop.DBus.Error.FileNotFound", 10, "ENOENT"),
    ("org.freedesktop.DBus.Error.AccessDenied", 4, "EACCES"),
    ("org.freedesktop.DBus.Error.InvalidArgs", 4, "EINVAL"),
    ("org.freedesktop.DBus.Error.UnknownMethod", 4, "EBADR"),
    ("com.example.Odd", 4, "EIO"),
])
def test_errors_of_the_bus(stopped, name, code, errno):
    result = ask_fake(stopped, {"Reload": (name, "that will not do")}, "--json", "reload")
    assert result.code == code
    assert result.err == "waymark: that will not do\n"
    assert result.json["error"] == {"errno": errno, "message": "that will not do"}


def test_an_error_without_a_sentence(stopped):
    result = ask_fake(stopped, {"Reload": ("System.Error.EBUSY", "")}, "reload")
    assert (result.code, result.err) == (4, "waymark: Device or resource busy\n")


# Monitor.

def read_until(process, pattern):
    lines = []
    while not lines or not re.search(pattern, lines[-1]):
        lines.append(process.stdout.readline())
        assert lines[-1], lines
    return lines


def listening(waymark, *args):
    """A monitor that was seen to hear something."""
    process = waymark.popen("monitor", *args)
    heard = threading.Event()

    def make_noise():
        while not heard.wait(0.05):
            waymark("reload")

    noise = threading.Thread(target=make_noise)
    noise.start()
    try:
        read_until(process, "reloaded")
    finally:
        heard.set()
        noise.join()
    return process


def test_monitor(waymark):
    process = listening(waymark)
    waymark.ok("assign", "uid:1", "eth1")
    waymark.ok("default", "eth0")
    waymark.ok("network", "add", "x", "--netid", "300", "--type", "vpn")
    lines = read_until(process, "network-added")
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z "
    assert all(re.match(stamp, line) for line in lines)
    texts = [re.sub(stamp, "", line) for line in lines if "reload" not in line]
    assert texts == ["assigned         uid:1 to eth1 (require)\n",
                     "network-changed  eth0: Default\n", "default          eth0\n",
                     "network-added    x (300, vpn)\n"]
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WAIT)
    assert process.returncode == -signal.SIGINT


def test_monitor_json(waymark):
    process = listening(waymark, "--json")
    waymark.ok("assign", "uid:1", "none")
    waymark.ok("unassign", "uid:1")
    events = [json.loads(line) for line in read_until(process, "unassigned")]
    for event in events:
        assert list(event) == ["time", "kind", "text"]
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", event["time"])
    assert [(e["kind"], e["text"]) for e in events[-2:]] == [
        ("assigned", "uid:1 to none (require)"), ("unassigned", "uid:1")]

    waymark.stop()
    out, err = process.communicate(timeout=WAIT)
    assert process.returncode == 8
    assert json.loads(out.splitlines()[-1])["error"]["errno"] == "ECONNRESET"
    assert err.startswith("waymark: waymarkd closed the connection")


def test_monitor_on_a_full_disk(waymark):
    with open("/dev/full", "w", encoding="ascii") as full:
        process = waymark.popen("monitor", stdout=full)
        while process.poll() is None:
            waymark.ok("reload")
        _, err = process.communicate(timeout=WAIT)
    assert process.returncode == 4
    assert err == "waymark: cannot write the output: No space left on device\n"


# Panic-off.

def rules_of_ours(waymark):
    rules = waymark.machine.run(["ip", "-d", "rule"]).stdout
    return [line for line in rules.splitlines() if re.match(r"(8|9)000:", line)]


def test_panic_off(waymark):
    waymark.ok("assign", "uid:1000", "eth1")
    assert len(rules_of_ours(waymark)) == 2
    result = waymark.ok("panic-off")
    assert "waymark reload" in result.out
    assert rules_of_ours(waymark) == []
    assert waymark.json("status")["status"]["off"] is True
    assert "off: " in waymark.ok("status").out
    waymark.ok("reload")
    assert len(rules_of_ours(waymark)) == 2


@pytest.mark.parametrize("how, said", [
    (signal.SIGKILL, "is not running"),
    (signal.SIGSTOP, "does not answer"),
])
def test_panic_off_without_an_answer(waymark, how, said):
    waymark.ok("assign", "uid:1000", "eth1")
    waymark.process.send_signal(how)
    if how == signal.SIGKILL:
        waymark.process.wait()
    assert len(rules_of_ours(waymark)) == 2
    result = waymark("panic-off")
    assert (result.code, result.out) == (0, "")
    assert f"waymark: waymarkd {said}: panic-off goes on without it\n" in result.err
    assert rules_of_ours(waymark) == []

    result = waymark("--json", "--timeout", "1", "panic-off")
    assert (result.code, result.json) == (0, {"waymark": 1})


def test_panic_off_fails(waymark):
    waymark.ok("assign", "uid:1000", "eth1")
    waymark.stop(signal.SIGKILL)
    result = waymark("--json", "panic-off", uid=NOBODY)
    assert result.code == 4
    assert result.json["error"]["errno"] == "EIO"
    assert "panic-off failed: waymarkd says why above" in result.err
    assert len(rules_of_ours(waymark)) == 2


@pytest.mark.parametrize("place, searched", [
    ("sbin", ""), ("bin", ""), ("elsewhere", "relative:{}/elsewhere"), (None, "")])
def test_where_waymarkd_is_looked_for(stopped, place, searched):
    (stopped.folder / "bin").mkdir()
    program = shutil.copy(WAYMARK, stopped.folder / "bin/waymark")
    if place:
        (stopped.folder / place).mkdir(exist_ok=True)
        stand_in = stopped.folder / place / "waymarkd"
        stand_in.write_text('#!/bin/sh\necho "$0 $*"\n')
        stand_in.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
    result = subprocess.run(
        [program, "--runtime-dir", stopped.runtime, "doctor"], capture_output=True, text=True,
        check=False, env=env | {"PATH": searched.format(stopped.folder)})
    if place:
        assert result.stdout.endswith(
            f"{place}/waymarkd --doctor --runtime-dir {stopped.runtime}\n")
        assert (result.returncode, result.stderr) == (0, "")
    elif not any(os.path.exists(f"{d}/waymarkd") for d in ("/usr/sbin", "/usr/local/sbin")):
        assert result.returncode == 4
        assert "the program waymarkd was not found" in result.stderr


def test_waymarkd_that_cannot_be_run(stopped):
    (stopped.folder / "bin").mkdir()
    program = shutil.copy(WAYMARK, stopped.folder / "bin/waymark")
    (stopped.folder / "bin/waymarkd").write_text("no program\n")
    (stopped.folder / "bin/waymarkd").chmod(0o755)
    result = subprocess.run([program, "--runtime-dir", stopped.runtime, "--json", "panic-off"],
                            capture_output=True, text=True, check=False)
    assert result.returncode == 4
    assert json.loads(result.stdout)["error"]["errno"] == "ENOEXEC"
    assert result.stderr.endswith("/bin/waymarkd: Exec format error\n")
