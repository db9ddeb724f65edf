# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark vpn …`: what it asks, waits for and says. What a daemon answers once in a blue moon is
answered by a fake one; the rest is the real thing (and tests/golden/cli/vpn.txt)."""

import os
import re
import time

import pytest

from cli_fixture import machine, stopped, waymark
from fake_daemon import FakeDaemon, answering
from harness import SERVER4, SERVER6, Capture, wait_for

VPN_PATH = "/org/waymark1/vpn/4711"
WORK = {"Name": ("s", "work"), "Kind": ("s", "adopted"), "Origin": ("s", "command"),
        "State": ("s", "up"), "Reason": ("s", ""), "Interfaces": ("as", ["wg0"]),
        "Allowed": ("as", ["uid:1000"]), "Lockdown": ("b", 1)}


def objects(**changed):
    """GetManagedObjects of a daemon with one VPN."""
    vpn = WORK | {key: ("s", value) for key, value in changed.items()}
    return ("a{oa{sa{sv}}}", {VPN_PATH: {"org.waymark1.Vpn": vpn}})


class InTurn(dict):
    """Answers; of a list the next one each time, and the last one for ever."""

    def __getitem__(self, method):
        answer = super().__getitem__(method)
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer


def ask(stopped, answers, *args):
    try:
        with FakeDaemon(stopped.socket, answering(InTurn(answers))):
            return stopped("vpn", *args)
    finally:
        os.unlink(stopped.socket)


# Looking.

def test_no_vpns(stopped):
    nothing = {"GetManagedObjects": ("a{oa{sa{sv}}}", {})}
    assert ask(stopped, nothing, "list").out == "no VPNs\n"
    result = ask(stopped, nothing, "show", "work")
    assert (result.code, result.err) == (
        10, "waymark: there is no VPN 'work': see `waymark vpn list`\n")


def test_the_netid_is_that_of_the_path(stopped):
    vpn, = ask(stopped, {"GetManagedObjects": objects()}, "list", "--json").json["vpns"]
    assert vpn["netid"] == 4711
    assert vpn["lockdown"] is True and vpn["allowed"] == ["uid:1000"]
    assert ask(stopped, {"GetManagedObjects": objects()}, "show", "4711").code == 0
    assert ask(stopped, {"GetManagedObjects": objects()}, "show", "w").code == 0


@pytest.mark.parametrize("properties, hold, apps", [
    ({}, "-", "its owner's"),
    ({"Everyone": ("b", 1)}, "-", "everyone"),
    ({"Everyone": ("b", 1), "Disallowed": ("as", ["uid:5"])}, "-", "everyone but uid:5"),
    ({"Disallowed": ("as", ["uid:5", "uid:6"])}, "-", "its owner's but uid:5,uid:6"),
    ({"Allowed": ("as", [f"uid:{i}" for i in range(5)])}, "-", "uid:0,uid:1,uid:2,… (5)"),
    ({"Lockdown": ("b", 1)}, "lockdown", "its owner's"),
    ({"AlwaysOn": ("b", 1)}, "always-on", "its owner's"),
    ({"Lockdown": ("b", 1), "AlwaysOn": ("b", 1)}, "lockdown,always-on", "its owner's"),
    ({"Bypass": ("b", 1)}, "bypassable", "its owner's"),
])
def test_whom_it_is_for(stopped, properties, hold, apps):
    vpn = {"Name": ("s", "a"), "Kind": ("s", "service"), "State": ("s", "down")} | properties
    answer = ("a{oa{sa{sv}}}", {VPN_PATH: {"org.waymark1.Vpn": vpn}})
    line = ask(stopped, {"GetManagedObjects": answer}, "list").out.splitlines()[1]
    assert re.split("  +", line) == ["4711", "a", "service", "down", "-", "-", hold, apps]


# Waiting.

def test_up_waits_until_it_is_up(stopped):
    answers = {"Up": ("",), "GetManagedObjects": [
        objects(State="down"), objects(State="connecting", Reason="handshake"), objects()]}
    result = ask(stopped, answers, "up", "work")
    assert (result.code, result.out, result.err) == (0, "work: up\n", "")


def test_up_says_why_not(stopped):
    answers = {"Up": ("",), "GetManagedObjects": [
        objects(State="down"), objects(State="connecting"),
        objects(State="failed", Reason="wrong key")]}
    result = ask(stopped, answers, "up", "work")
    assert (result.code, result.out) == (4, "")
    assert result.err == ("waymark: VPN 'work' could not be brought up: it is failed: wrong key; see "
                          "`waymark vpn show work`\n")


def test_up_does_not_wait_for_ever(stopped):
    answers = {"Up": ("",), "GetManagedObjects": objects(
        State="blocked", Reason="interface wg0 does not exist")}
    start = time.monotonic()
    result = ask(stopped, answers, "up", "work", "--wait", "1", "--json")
    assert time.monotonic() - start >= 1
    assert (result.code, result.json["error"]["errno"]) == (3, "ETIMEDOUT")
    assert result.err == ("waymark: VPN 'work' is not up after 1 s: it is blocked: interface wg0 does "
                          "not exist; see `waymark vpn show work`\n")


def test_up_without_waiting(stopped):
    answers = {"Up": ("",), "GetManagedObjects": objects(State="connecting")}
    result = ask(stopped, answers, "up", "work", "--wait", "0")
    assert (result.code, result.out) == (0, "work: connecting\n")


def test_up_of_one_that_goes_away(stopped):
    answers = {"Up": ("",), "GetManagedObjects": [
        objects(State="down"), objects(State="connecting"), ("a{oa{sa{sv}}}", {})]}
    result = ask(stopped, answers, "up", "work")
    assert (result.code, result.out) == (10, "")


@pytest.mark.parametrize("wait", ["-1", "1.5", "soon", "86401", ""])
def test_up_with_a_time_that_is_none(stopped, wait):
    result = ask(stopped, {"GetManagedObjects": objects()}, "up", "work", f"--wait={wait}")
    assert result.code == 2 and "is no time to wait" in result.err


@pytest.mark.parametrize("properties, said", [
    ({"Kind": "adopted"}, "its interface is not there, or not up: wg0"),
    ({"Kind": "service"}, "no program has established it"),
    ({"Kind": "service", "Engine": "openvpn@work.service"}, "its engine has not established it"),
])
def test_up_of_one_that_nobody_speaks_of(stopped, properties, said):
    answers = {"Up": ("",), "GetManagedObjects": objects(State="blocked", **properties)}
    result = ask(stopped, answers, "up", "work", "--wait", "1")
    assert result.code == 3 and f"it is blocked: {said}; see " in result.err


# Consent.

def test_consents(stopped):
    nobody = {"ListConsents": ("a(sb)", [])}
    assert ask(stopped, nobody, "consent").out == (
        "nobody but root and group waymark may be a VPN\n")
    some = {"ListConsents": ("a(sb)", [("user:alice", 0), ("exe:/usr/bin/vpn", 1)])}
    assert ask(stopped, some, "consent").out == ("WHO               EVERYONE\n"
                                                 "user:alice        no\n"
                                                 "exe:/usr/bin/vpn  yes\n")
    assert ask(stopped, some, "consent", "--json").json["consents"] == [
        {"who": "user:alice", "everyone": False}, {"who": "exe:/usr/bin/vpn", "everyone": True}]


@pytest.mark.parametrize("args, said", [
    (["consent", "--revoke"], "whose consent?"),
    (["consent", "--everyone"], "whose consent?"),
    (["consent", "alice", "--revoke", "--everyone"], "leave --everyone away"),
    (["consent", "alice", "--everyone=perhaps"], "'perhaps' is no answer to --everyone"),
    (["consent", "alice", "bob"], "'bob' is too much"),
    (["set", "work"], "nothing to set"),
    (["set", "work", "--lockdown", "--lockdown"], "--lockdown is given twice"),
    (["adopt", "wg0", "--engine", "x"], "--engine is not for this command"),
    (["adopt", "wg0", "--lockdown=maybe"], "'maybe' is no answer to --lockdown"),
    (["import", "wg0.conf", "--name", "../x"], "'../x' is no name for a profile"),
    (["import", "wg0.conf", "--name", ".x"], "is no name for a profile"),
    (["import", "wg0.conf", "--name", ""], "is no name for a profile"),
    (["import", "wg0.conf", "--interface", "a-name-that-is-too-long"], "at most 15 bytes"),
])
def test_usage(stopped, args, said):
    result = ask(stopped, {"GetManagedObjects": objects()}, *args)
    assert result.code == 2 and said in result.err


# The real thing: wg0 is a veth to the router, which answers there, too.

APP, OTHER, NOBODY = 1000, 1001, 65534
REFUSED = {"ENETUNREACH", "EHOSTUNREACH", "EACCES", "EPERM", "EADDRNOTAVAIL", "timeout"}


def make_tunnel(machine, name="wg0"):
    machine.ip(f"link add {name} type veth peer name far0 netns {machine.router.path}")
    machine.router.ip("addr add 10.0.9.1/24 dev far0", "link set far0 up")
    machine.ip(f"addr add 10.0.9.2/24 dev {name}", f"link set {name} up")


def remove_tunnel(machine, name="wg0"):
    machine.ip(f"link del {name}")


@pytest.fixture
def tunnel(machine):
    make_tunnel(machine)
    yield "wg0"
    for name in ("wg0", "wg9"):
        if machine.show(f"link show {name}"):
            remove_tunnel(machine, name)


def state(waymark, name="work"):
    return waymark.json("vpn", "show", name)["vpn"]["state"]


def adopt(waymark, *options, interface="wg0", apps=f"uid:{APP}"):
    return waymark.ok("vpn", "adopt", interface, "--name", "work", "--apps", apps,
                      "--route", "0.0.0.0/0", *options)


def packets_of(machine, action):
    """What left while action() ran and was refused, to where the app wanted to go."""
    capture = Capture(machine)
    try:
        assert action() in REFUSED
        return [p for p in capture.packets() if p[2] in (SERVER4, SERVER6)]
    finally:
        capture.close()


def test_adopted(machine, waymark, tunnel):
    adopt(waymark)
    result = waymark.ok("vpn", "up", "work")
    assert result.out == "work: up\n"
    assert machine.source(uid=APP) == "10.0.9.2"
    assert machine.source(uid=OTHER) == "10.0.0.2"
    assert packets_of(machine, lambda: machine.source(uid=APP, server=SERVER6)) == []
    waymark.ok("vpn", "down", "work")
    assert state(waymark) == "down"
    assert machine.source(uid=APP) == "10.0.0.2"
    waymark.ok("vpn", "up", "work")
    assert machine.source(uid=APP) == "10.0.9.2"
    waymark.ok("vpn", "remove", "work")
    assert machine.source(uid=APP) == "10.0.0.2"
    assert waymark.ok("vpn").out == "no VPNs\n"


def test_lockdown_holds_while_the_interface_is_gone(machine, waymark, tunnel):
    adopt(waymark, "--lockdown")
    waymark.ok("vpn", "up", "work")
    before = machine.ifindex("wg0")
    remove_tunnel(machine)
    wait_for("the VPN to be blocked", lambda: state(waymark) == "blocked")
    for device in (None, "eth0"):
        assert packets_of(machine, lambda d=device: machine.source(uid=APP, device=d)) == []
    waymark.ok("vpn", "down", "work")
    assert packets_of(machine, lambda: machine.source(uid=APP)) == []
    assert machine.source(uid=OTHER) == "10.0.0.2"

    make_tunnel(machine)
    assert machine.ifindex("wg0") != before
    waymark.ok("vpn", "up", "work")
    assert machine.source(uid=APP) == "10.0.9.2"


def test_an_interface_that_is_renamed(machine, waymark, tunnel):
    adopt(waymark, "--lockdown")
    waymark.ok("vpn", "up", "work")
    machine.ip("link set wg0 down", "link set wg0 name wg9", "link set wg9 up")
    wait_for("the VPN to be blocked", lambda: state(waymark) == "blocked")
    assert packets_of(machine, lambda: machine.source(uid=APP)) == []
    machine.ip("link set wg9 down", "link set wg9 name wg0", "link set wg0 up")
    waymark.ok("vpn", "up", "work")
    assert machine.source(uid=APP) == "10.0.9.2"
    waymark.ok("vpn", "set", "work", "--interface", "wg9")
    assert state(waymark) == "blocked"
    machine.ip("link set wg0 down", "link set wg0 name wg9", "link set wg9 up")
    waymark.ok("vpn", "up", "work")
    assert machine.source(uid=APP) == "10.0.9.2"


def test_up_waits_for_the_interface(machine, waymark):
    adopt(waymark, "--lockdown")
    process = waymark.popen("vpn", "up", "work", "--wait", "60")
    wait_for("it to wait", lambda: waymark.socket and process.poll() is None)
    assert packets_of(machine, lambda: machine.source(uid=APP)) == []
    make_tunnel(machine)
    try:
        out, err = process.communicate(timeout=60)
        assert (process.returncode, out, err) == (0, "work: up\n", "")
        assert machine.source(uid=APP) == "10.0.9.2"
    finally:
        remove_tunnel(machine)


def test_adopted_without_a_carrier(machine, waymark):
    """A tun that nobody holds open."""
    machine.ip("tuntap add tun0 mode tun", "link set tun0 up")
    try:
        adopt(waymark, interface="tun0")
        result = waymark("vpn", "up", "work", "--wait", "1")
        assert result.code == 3 and "is not there, or not up: tun0" in result.err
    finally:
        machine.ip("link del tun0")


def test_it_survives_the_daemon(machine, waymark, tunnel):
    adopt(waymark, "--lockdown")
    waymark.ok("vpn", "up", "work")
    waymark.ok("vpn", "consent", "root", "--everyone")
    before = waymark.json("vpn", "show", "work"), waymark.json("vpn", "consent")
    waymark.kill()
    assert machine.source(uid=APP) == "10.0.9.2"
    waymark.start()
    assert (waymark.json("vpn", "show", "work"), waymark.json("vpn", "consent")) == before
    assert machine.source(uid=APP) == "10.0.9.2"


def test_who_may_change(waymark):
    adopt(waymark)
    assert waymark("vpn", "list", uid=NOBODY).code == 0
    for args in (["adopt", "wg1"], ["add", "x", "--owner", "nobody"], ["set", "work", "--lockdown"],
                 ["remove", "work"], ["consent", "nobody"], ["down", "work"], ["up", "work"]):
        result = waymark("vpn", *args, uid=NOBODY)
        assert (result.code, result.out) == (4, ""), args
        assert result.err.startswith("waymark: "), args


# Files of wg-quick.

SECRET = "yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk="
FILE = f"""[Interface]
PrivateKey = {SECRET}
Address = 10.0.9.2/24
DNS = 10.0.9.53, corp.example

[Peer]
PublicKey = xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=
PresharedKey = {SECRET}
AllowedIPs = 0.0.0.0/0
Endpoint = 10.0.0.1:51820
"""
PROFILE = f"""# Made by `waymark vpn import` for the interface wg0 of wg-quick(8).
# Its keys are not here: they stay in wg-quick's own file.
[vpn work]
interface = wg0
address = 10.0.9.2/24
dns = 10.0.9.53
domain = corp.example
route = 0.0.0.0/0
apps = uid:{APP}
lockdown = yes
"""


@pytest.fixture
def file(waymark):
    path = waymark.folder / "wg0.conf"
    path.write_text(FILE)
    path.chmod(0o600)
    return path


def import_file(waymark, file, *options, **how):
    return waymark("vpn", "import", str(file), "--config", str(waymark.config.parent), *options,
                   **how)


def profile(waymark, name="work"):
    return waymark.config.parent / f"conf.d/{name}.conf"


def test_import(machine, waymark, file):
    options = ["--name", "work", "--apps", f"uid:{APP}", "--lockdown"]
    result = import_file(waymark, file, *options)
    assert (result.code, result.err) == (0, "")
    netid = waymark.json("vpn", "show", "work")["vpn"]["netid"]
    assert result.out == (
        f"work: netId {netid}\nwritten: {profile(waymark)}\n"
        "note: wg-quick sends the whole machine by wg0, for a peer's AllowedIPs are everything; with "
        "`Table = off` in its file only the apps of this VPN go there\n")
    assert profile(waymark).read_text() == PROFILE
    assert profile(waymark).stat().st_mode & 0o777 == 0o644
    vpn = waymark.json("vpn", "show", "work")["vpn"]
    assert (vpn["origin"], vpn["kind"], vpn["state"]) == ("config", "adopted", "blocked")
    assert vpn["source"].startswith(str(profile(waymark)))
    assert (vpn["dns"], vpn["domains"]) == (["10.0.9.53"], ["corp.example"])
    assert packets_of(machine, lambda: machine.source(uid=APP)) == []
    make_tunnel(machine)
    try:
        waymark.ok("vpn", "up", "work")
        assert machine.source(uid=APP) == "10.0.9.2"
    finally:
        remove_tunnel(machine)
    assert waymark("vpn", "set", "work", "--lockdown", "no").code == 4
    assert waymark("vpn", "remove", "work").code == 4


def test_import_keeps_no_secret(waymark, file):
    assert import_file(waymark, file).code == 0
    for path in waymark.folder.rglob("*"):
        if path.is_file() and path != file:
            assert SECRET.encode() not in path.read_bytes(), path


def test_import_as_json(waymark, file):
    file.write_text(FILE.replace("[Peer]", "Table = off\nPostUp = true\nPreDown = true\n[Peer]"))
    doc = import_file(waymark, file, "--json").json
    assert set(doc) == {"waymark", "vpn", "file", "notes"}
    assert doc["vpn"]["name"] == "wg0" and doc["file"] == str(profile(waymark, "wg0"))
    assert doc["notes"] == [
        "PostUp, PreDown: wg-quick runs what stands there, waymark does not",
        f"no app is on it: say which with `apps = …` in {doc['file']}, or with --apps"]


def test_import_for_several_interfaces(machine, waymark, file):
    """One VPN, by whichever of them is there."""
    options = ["--apps", f"uid:{APP}", "--lockdown", "--interface", "wg5", "--interface", "wg0"]
    assert import_file(waymark, file, *options).code == 0
    vpn = waymark.json("vpn", "show", "wg5")["vpn"]
    assert (vpn["interfaces"], vpn["state"]) == (["wg5", "wg0"], "blocked")
    make_tunnel(machine)
    try:
        waymark.ok("vpn", "up", "wg5")
        assert machine.source(uid=APP) == "10.0.9.2"
        machine.ip("link set wg0 down", "link set wg0 name wg5", "link set wg5 up")
        wait_for("the other one", lambda: machine.source(uid=APP) == "10.0.9.2")
    finally:
        machine.router.ip("link del far0")


def test_import_does_not_overwrite(waymark, file):
    options = ["--name", "work", "--apps", f"uid:{APP}", "--lockdown"]
    assert import_file(waymark, file, *options).code == 0
    result = import_file(waymark, file, "--name", "work")
    assert (result.code, result.out) == (4, "")
    assert f"{profile(waymark)} is there already: replace it with --force" in result.err
    assert profile(waymark).read_text() == PROFILE
    assert import_file(waymark, file, "--name", "work", "--apps", f"uid:{OTHER}", "--force").code == 0
    assert waymark.json("vpn", "show", "work")["vpn"]["allowed"] == [f"uid:{OTHER}"]


@pytest.mark.parametrize("options, said", [
    (["--apps", "somebody"], "'somebody' is no selector"),
    (["--lan", "everything"], "is no part of the LAN"),
    (["--apps", "uid:5", "--except", "uid:6"], "not both"),
    (["--name", "none"], "none"),
])
def test_what_the_daemon_refuses_is_not_there(waymark, file, options, said):
    result = import_file(waymark, file, *options)
    assert (result.code, result.out) == (4, "") and said in result.err
    assert not profile(waymark).parent.exists()
    assert waymark.ok("vpn").out == "no VPNs\n"
    waymark.ok("reload")


def test_what_the_daemon_refuses_leaves_what_was_there(waymark, file):
    options = ["--name", "work", "--apps", f"uid:{APP}", "--lockdown"]
    assert import_file(waymark, file, *options).code == 0
    assert import_file(waymark, file, "--name", "work", "--apps", "x:y", "--force").code == 4
    assert profile(waymark).read_text() == PROFILE
    waymark.ok("reload")
    assert waymark.json("vpn", "show", "work")["vpn"]["lockdown"] is True


def test_import_into_a_folder_that_the_daemon_does_not_read(waymark, file, tmp_path):
    adopt(waymark, interface="wg1")  # a VPN of that name is not the one of that file
    for name in ("wg0", "work"):
        result = waymark("vpn", "import", str(file), "--config", str(tmp_path), "--name", name)
        assert result.code == 4
        assert f"waymarkd does not read {tmp_path}/conf.d/{name}.conf: say with" in result.err
        assert list(tmp_path.iterdir()) == []


def test_import_is_roots(waymark, file):
    file.chmod(0o644)
    result = import_file(waymark, file, uid=NOBODY)
    assert (result.code, result.out) == (4, "")
    assert "profiles are root's to write" in result.err
    file.chmod(0o600)
    result = import_file(waymark, file, uid=NOBODY)
    assert result.code == 4 and f"cannot read {file}: Permission denied" in result.err


@pytest.mark.parametrize("text, said", [
    (f"[Interface]\n{SECRET}\n", ":2: there is no such key in wg-quick(8)"),
    ("[Interface]\nAddress = 10.0.0.300\n", ":2: '10.0.0.300' is no address"),
    ("client\nremote vpn.example\n", ":1: the line is neither a [section] nor a Key = value"),
    ("", ": there is no section [Interface]: is it a file of wg-quick(8)?"),
])
def test_a_file_that_is_none_of_wg_quick(waymark, file, text, said):
    file.write_text(text)
    result = import_file(waymark, file)
    assert (result.code, result.out, result.err) == (4, "", f"waymark: {file}{said}\n")


def test_files_that_cannot_be_read(waymark):
    result = import_file(waymark, waymark.folder / "wg7.conf")
    assert result.code == 4 and "No such file or directory" in result.err
    result = import_file(waymark, waymark.folder / "work.ovpn")
    assert result.code == 4 and "does not end in .conf" in result.err
    (waymark.folder / "wg8.conf").mkdir()
    assert import_file(waymark, waymark.folder / "wg8.conf").code == 4
