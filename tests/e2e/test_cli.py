# SPDX-License-Identifier: LGPL-2.1-or-later
"""Every command of waymark(1) against the real daemon: what people see (tests/golden/cli, rewritten
with GOLDEN_UPDATE=1), what --json says, the exit codes, and how words are completed."""

import grp
import os
import pwd
import re

import pytest

from cli_fixture import machine, stopped, unchanged, waymark, words_of
from harness import ROOT, Instance

pytestmark = pytest.mark.rules  # whose words and verdicts these are

GOLDEN = ROOT / "tests/golden/cli"
UPDATE = os.environ.get("GOLDEN_UPDATE") == "1"
NOBODY = 65534


# What people see. Each scene has a configuration and the commands to be typed.

CONFIGURED = """
[network office]
netid = 200
interface = eth1
dns = 10.0.1.53, fd00:1::53
domain = office.example
[network wg0]
type = vpn
interface = wg0
[assignments]
assign = uid:1000 office
assign = uid:2000-2999 wg0 prefer
assign = uid:3000 wg0
assign = user:nosuchuser office
assign = uid:4000 none
"""

MANY = "[assignments]\n" + "".join(f"assign = uid:{2 * i} eth0\n" for i in range(500, 523))

SCENES = {
    "status": ("", """
        status
        assign uid:1000 eth1
        default eth1
        status
        default system
    """),
    "configured": (CONFIGURED, """
        status
        assignments
        network list
        network show office
        network show wg0
        network set office --dns 9.9.9.9
        network remove office
        unassign uid:1000
        assign uid:1000 eth0
    """),
    "many": (MANY, """
        status
    """),
    "network": ("", """
        network list
        network show eth1
        network add corp --netid 300 --type physical --interface eth1 --dns 10.0.1.53
        network show corp
        network set corp --dns 10.0.1.54 --dns fd00:1::54 --domain b.example --domain c.example
        network show corp
        network set corp --dns "" --domain "" --permission system
        network show corp
        network detach corp eth1
        network list
        network attach corp eth1
        network set corp --interface eth0
        network set corp --netid 301
        network attach corp eth0
        network remove corp
        network remove corp
        network list
        network add tun --type vpn
        network show tun
        network remove tun
    """),
    "route": ("", """
        route add eth1 10.9.0.0/16 via 10.0.1.1
        route add eth1 2001:db8::/32 via fd00:1::1 dev eth1 mtu 1400
        route add eth1 10.9.9.0/24 unreachable
        route add eth1 10.9.8.0/24 throw
        network show eth1
        route remove eth1 10.9.8.0/24 throw
        route remove eth1 10.9.8.0/24 throw
        route add eth1 10.9.0.0/16 via
        route add eth1 10.9.0.0/16 over 10.0.1.1
        route add eth1 default via 10.0.1.1 dev eth0
        explain --uid 1 --dev eth1 10.9.9.9
        assign uid:1000 eth1
        explain --uid 1000 10.9.9.9
    """),
    "default": ("", """
        default
        default eth1
        default
        explain --uid 1 198.51.100.7
        default system
        default
    """),
    "assign": ("", """
        assignments
        assign uid:1000 eth1
        assign uid:2000-2999 eth0 --prefer
        assign user:root none
        assignments
        assign uid:1000 none
        unassign uid:2000-2999
        unassign uid:2000-2999
        assignments
        assign uid:5 none --prefer
        assign uid:2000-2999 none
        assign uid:2500 default
        assignments
        explain --uid 2500 198.51.100.7
        unassign uid:2500
        unassign uid:2000-2999
        assign user:nosuchuser eth0
        assign unit:x.service eth0
        assign somebody eth0
    """),
    "explain": ("", """
        assign uid:1000 eth1
        assign uid:5 none
        explain --uid 1000 198.51.100.7
        explain --uid 1000 2001:db8::7
        explain --uid 5 198.51.100.7
        explain --uid 7 198.51.100.7
        explain --uid 1000 --dev eth0 198.51.100.7
        explain --uid 7 --mark 0x30065 --from 10.0.1.2 198.51.100.7
        explain --uid 1000 127.0.0.1
        explain --uid 1000 224.0.0.1
        explain --uid 7 --dev eth7 198.51.100.7
        explain --uid 7 dns.example
        assign uid:1000-1999 none
        explain --uid 1000
        explain --uid 5
        explain --uid 7
        explain --uid 7 --exe /bin/sh --unit x.service
        apps
    """),
    "vpn": ("", """
        vpn
        vpn adopt wg0 --name work --apps uid:1000,uid:2000-2009 --lockdown --address 10.9.0.2/24 --route 0.0.0.0/0 --exclude 10.8.0.0/16 --dns 10.9.0.1 --domain corp.example
        vpn list
        vpn show work
        network show work
        assignments
        vpn adopt wg0
        vpn adopt wg1 --name work
        vpn adopt wg1 --apps uid:1000
        network remove work
        unassign uid:1000
        vpn set work --lan link-local,10.7.0.0/16
        vpn set work --lockdown no --apps uid:1000 --apps uid:5 --exclude "" --lan 10.6.0.0/16,10.7.0.0/16
        vpn show work
        vpn up work --wait 0
        vpn down work
        vpn list
        vpn add corp --owner root --everyone --except uid:5 --exempt uid:7 --engine corp.service --bypass
        vpn add home --owner 1000 --lockdown=yes
        vpn add home --owner 1001 --lockdown=yes
        vpn add tool --owner /usr/bin/true --apps unit:x.service
        vpn add bad --apps somebody
        vpn add bad --apps uid:5 --except uid:6
        vpn add bad --lan everything
        vpn adopt wg2 --address 10.9.0.300/24
        vpn adopt an-interface-that-is-too-long
        vpn list
        vpn show corp
        vpn remove work
        vpn remove nosuch
        vpn up nosuch
        vpn down nosuch
        vpn set nosuch --lockdown
        vpn consent
        vpn consent root
        vpn consent 1000 --everyone
        vpn consent /usr/bin/true
        vpn consent
        vpn consent root --everyone
        vpn consent root --revoke
        vpn consent root --revoke
        vpn consent group:root
        vpn consent
    """),
    "verify": ("", """
        verify
        assign uid:1000 eth1
        verify
    """),
    "off": ("", """
        assign uid:1000 eth1
        panic-off
        status
        explain --uid 1000 198.51.100.7
        reload
        status
    """),
    "help": ("", """
        --help
        help
        network --help
        help route
        help network add
        net a --help
        network add --help
        assign --help
        explain -h
        vpn --help
        vpn adopt --help
        help vpn set
        help vpn import
        help vpn consent
        keystore --help
        help keystore get
        help keystore import
        status --help
        --version
    """),
    "usage": ("", """
        nonsense
        assi
        network zap
        network s
        route
        network add
        network add a b
        network list --dns 10.0.0.1
        network set eth0
        network show eth
        network add x --netid many
        network add x --type wrong
        network add x --dns wrong
        network add x --uid 5
        network add none
        network add eth0/1
        status --nonsense
        status --an-option-that-is-longer-than-any-option-could-ever-reasonably-be-expected-to-be
        status --color sometimes
        status --timeout 0
        status --timeout
        status --json=yes
        status -x
        --d 5 status
        explain
        explain --uid 5 --dev eth0
        explain --pid 5 --exe /bin/sh
        explain --unit x.service --cgroup /x
        explain --exe /nonexistent
        explain --uid 5 --pid 5 198.51.100.7
        explain --uid 5 --uid 6 198.51.100.7
        explain --uid me 198.51.100.7
        explain --mark 0xzz 198.51.100.7
        reload now
        help nonsense
    """),
}


def normalised(text, waymark):
    """Without what depends on the kernel, the machine or the version."""
    for i, name in enumerate(("eth0", "eth1")):
        index = waymark.machine.ifindex(name)
        text = re.sub(rf"\b(lookup|table) {1000 + index}\b", rf"\1 {1002 + i}", text)
        text = re.sub(rf"\b(lookup|table) {10**9 + index}\b", rf"\1 {10**9 + 2 + i}", text)
    text = re.sub(r"^(waymarkd?) \d[\w.+~-]*", r"\1 VERSION", text, flags=re.MULTILINE)
    text = re.sub(r"\d+ (cases|ranges|groups;|are refused|ms)", r"N \1", text)
    return text.replace(str(waymark.folder), "DIR")


def transcript(waymark, lines):
    out = []
    for line in lines.strip().splitlines():
        result = waymark(*words_of(line))
        out += [f"$ waymark {line.strip()}", *result.out.splitlines()]
        out += [f"! {text}" for text in result.err.splitlines()]
        out += [f"[{result.code}]", ""]
    return normalised("\n".join(out), waymark)


def compare_with_golden(name, text):
    path = GOLDEN / f"{name}.txt"
    if UPDATE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    assert text == path.read_text()


@pytest.mark.parametrize("name", SCENES)
def test_golden(machine, name):
    config, lines = SCENES[name]
    instance = Instance(machine, config=config)
    try:
        compare_with_golden(name, transcript(instance.start(), lines))
    finally:
        instance.close()


def test_no_line_ends_with_blanks():
    for path in GOLDEN.glob("*.txt"):
        assert not re.search(r"[ \t]+$", path.read_text(), re.MULTILINE), path


# JSON. A shape is a type, a list of one shape, or an object of shapes.

NETWORK = {
    "netid": int, "name": str, "type": str, "origin": str, "source": str, "state": str,
    "interfaces": [str], "routes": [str], "dns": [str], "domains": [str], "permission": str,
    "secure": bool, "exclude_local": bool, "fall_through": bool, "lockdown": bool,
    "outside": [str], "users": [str], "default": bool,
}
ASSIGNMENT = {
    "selector": str, "network": str, "strength": str, "state": str, "origin": str, "source": str,
    "uids": [str],
}
VPN = {
    "netid": int, "name": str, "kind": str, "origin": str, "source": str, "owner": str,
    "owner_uid": int, "state": str, "reason": str, "interfaces": [str], "session": str,
    "addresses": [str], "routes": [str], "exclude_routes": [str], "dns": [str], "domains": [str],
    "mtu": int, "allowed": [str], "disallowed": [str], "exempt": [str], "lockdown": bool,
    "always_on": bool, "bypass": bool, "fall_through": bool, "forward": bool, "lan": [str],
    "everyone": bool, "engine": str, "underlying": [str], "metered": str, "http_proxy": str, "since": int,
}
APP = {"selector": str, "network": str, "strength": str}  # with counters: test_apps.py
STATUS = {
    "version": str, "default_network": str, "off": bool, "degraded": str, "backend": str,
    "guard": bool, "host_networks": bool, "assignment_count": int,
}
STEP = {"priority": int, "name": str, "rule": str, "match": str, "outcome": str, "route": str}
OTHERWISE = {
    "priority": int, "packets": str, "differs": bool, "error_text": str, "interface": str,
}
OTHER = {"selector": str, "network": str, "strength": str, "step": str, "why": str}
REFUSED = {
    "uid": int, "mark": int, "mark_reason": str, "device": str, "destination": str, "from": str,
    "selector": str, "assigned": str, "assigned_state": str, "strength": str, "step": str,
    "others": [OTHER], "backend": str, "error": int, "error_text": str,
    "guard": str, "shortcut": bool, "uncertain": bool, "kernel": str, "kernel_agrees": bool,
    "steps": [STEP], "otherwise": [OTHERWISE],
}
ROUTED = REFUSED | {
    "interface": str, "network": str, "table": int, "type": str, "gateway": str, "source": str,
}
ALONE = {key: REFUSED[key] for key in (
    "uid", "mark", "mark_reason", "device", "destination", "from", "selector", "assigned",
    "assigned_state", "strength", "step", "others", "backend", "guard")} | {"ports": [str]}
VERIFICATION = {
    "proved": bool, "incomplete": bool, "reason": str, "segments": int, "groups": int,
    "cases": int, "guard_only": int, "milliseconds": int,
}
FINDING = {"check": str, "level": str, "text": str, "remedy": str}
DOCUMENTS = {
    "": {"status": STATUS, "networks": [NETWORK], "assignments": [ASSIGNMENT]},
    "status": {"status": STATUS, "networks": [NETWORK], "assignments": [ASSIGNMENT]},
    "network list": {"networks": [NETWORK]},
    "network show eth1": {"network": NETWORK},
    "network add corp --type vpn": {"network": NETWORK},
    "network set corp --dns 10.0.0.1": {},
    "network remove corp": {},
    "network add office --interface eth1": {"network": NETWORK},
    "network detach office eth1": {},
    "network attach office eth1": {},
    "route add eth0 10.9.0.0/16 via 10.0.0.1": {},
    "route remove eth0 10.9.0.0/16 via 10.0.0.1": {},
    "default": {"default_network": str},
    "default eth0": {},
    "default system": {},
    "assign uid:1000 office": {},
    "assign uid:5 none": {},
    "assignments": {"assignments": [ASSIGNMENT]},
    "explain --uid 1000 198.51.100.7": {"explanation": ROUTED},
    "explain --uid 5 198.51.100.7": {"explanation": REFUSED},
    "explain --uid 5": {"explanation": ALONE},
    "vpn adopt wg0 --apps uid:2000": {"vpn": VPN},
    "vpn add service --owner root": {"vpn": VPN},
    "vpn list": {"vpns": [VPN]},
    "vpn show wg0": {"vpn": VPN},
    "vpn set wg0 --lockdown": {},
    "vpn down wg0": {},
    "vpn up wg0 --wait 0": {"vpn": VPN},
    "vpn remove wg0": {},
    "vpn consent root": {},
    "vpn consent": {"consents": [{"who": str, "everyone": bool}]},
    "vpn consent root --revoke": {},
    "apps": {"counted": bool, "reason": str, "apps": [APP]},
    "verify": {"verification": VERIFICATION},
    "doctor": {"findings": [FINDING]},
    "unassign uid:5": {},
    "reload": {},
    "panic-off": {},
    "--version": {"version": str},
}


def check_shape(value, shape, where="document"):
    if isinstance(shape, dict):
        assert isinstance(value, dict), where
        assert set(value) == set(shape), where
        for key, inner in shape.items():
            assert re.fullmatch(r"[a-z]+(_[a-z]+)*", key)
            check_shape(value[key], inner, f"{where}.{key}")
    elif isinstance(shape, list):
        assert isinstance(value, list), where
        for i, item in enumerate(value):
            check_shape(item, shape[0], f"{where}[{i}]")
    else:
        assert type(value) is shape, where  # bool is no int here


def test_json_of_every_command(waymark):
    for line, shape in DOCUMENTS.items():
        result = waymark.ok(*words_of(line), "--json")
        assert result.out.startswith('{"waymark":1'), line
        assert result.out.count("\n") == 1 and result.out.endswith("}\n"), line
        check_shape(result.json, {"waymark": int} | shape, line)


def test_json_values(waymark):
    waymark.ok("assign", "uid:1000", "eth1")
    network, = [n for n in waymark.json("network", "list")["networks"] if n["name"] == "eth1"]
    assert (network["type"], network["state"]) == ("physical", "up")
    assert network["interfaces"] == ["eth1"]
    assert waymark.json("network", "show", "eth1")["network"] == network
    assert waymark.json("assignments")["assignments"] == [{
        "selector": "uid:1000", "network": "eth1", "strength": "require", "state": "active",
        "origin": "command", "source": "", "uids": ["1000"],
    }]
    e = waymark.json("explain", "--uid", "1000", "198.51.100.7")["explanation"]
    assert (e["error"], e["interface"]) == (0, "eth1")
    assert (e["gateway"], e["source"]) == ("10.0.1.1", "10.0.1.2")
    assert e["kernel_agrees"] and e["steps"][-1]["name"] == "REQUIRE_NETWORK"
    assert waymark.json("verify")["verification"]["proved"] is True


def test_assignments_list_the_uids_of_a_group(waymark):
    waymark.ok("assign", "group:nogroup", "eth0")
    assignment, = waymark.json("assignments")["assignments"]
    gid = grp.getgrnam("nogroup").gr_gid
    uids = {str(user.pw_uid) for user in pwd.getpwall() if user.pw_gid == gid}
    assert set(assignment["uids"]) == uids
    line = waymark.ok("assignments").out.splitlines()[1]
    assert line.split() == ["group:nogroup", "eth0", "require", "active",
                            ",".join(assignment["uids"]), "command"]


def test_networks_are_in_order_of_their_netid(waymark):
    for netid in (500, 400, 450):
        waymark.ok("network", "add", f"n{netid}", "--netid", str(netid), "--type", "vpn")
    netids = [n["netid"] for n in waymark.json("network", "list")["networks"]]
    assert netids == sorted(netids) and {400, 450, 500} < set(netids)


def test_the_daemon_knows_the_words_of_the_help(waymark):
    for choice in ("physical", "vpn", "local", "unreachable"):
        waymark.ok("network", "add", f"n-{choice}", "--type", choice)
        assert waymark.json("network", "show", f"n-{choice}")["network"]["type"] == choice
    for choice in ("none", "network", "system"):
        waymark.ok("network", "set", "n-physical", "--permission", choice)
    for value in ("uid:7-9", "user:root", "group:root", "cgroup:/a", "unit:a.service", "exe:/a"):
        result = waymark("assign", value, "eth0")
        assert result.code == 0 or "back-end" in result.err


# Exit codes, and errors as documents.

FAILURES = [
    (2, "EINVAL", "nonsense"),
    (2, "EINVAL", "network show eth"),
    (2, "EINVAL", "status --nonsense"),
    (2, "EINVAL", "explain --uid many 198.51.100.7"),
    (4, "EINVAL", "explain dns.example"),
    (4, "EINVAL", "network add x --type wrong"),
    (4, "EEXIST", "network add eth2 --netid 100 --interface eth1"),
    (4, "EBUSY", "network remove eth0"),
    (4, "EOPNOTSUPP", "assign exe:/bin/true eth0"),
    (10, "ENONET", "network show nosuch"),
    (10, "ENONET", "network remove nosuch"),
    (10, "ENONET", "vpn show nosuch"),
    (10, "ENONET", "vpn up nosuch"),
    (10, "ENONET", "vpn remove nosuch"),
    (10, "ESRCH", "vpn consent root --revoke"),
    (4, "EINVAL", "vpn adopt wg0 --apps somebody"),
    (2, "EINVAL", "vpn set eth0"),
    (10, "ENONET", "default nosuch"),
    (10, "ENONET", "assign uid:1 nosuch"),
    (10, "ENOENT", "unassign uid:1"),
    (10, "ENOENT", "assign user:nosuchuser eth0"),
    (10, "ESRCH", "network attach eth0 eth7"),
    (10, "ESRCH", "route remove eth0 10.9.0.0/16"),
    (10, "ENODEV", "explain --dev eth7 198.51.100.7"),
    (10, "ENODEV", "route add eth0 10.9.0.0/16 dev lo"),
    (10, "ESRCH", "explain --pid 2147483647 198.51.100.7"),
]


@pytest.mark.parametrize("code, errno, line", FAILURES)
def test_failures(unchanged, code, errno, line):
    before = unchanged.json("status")
    plain = unchanged(*words_of(line))
    assert plain.code == code and plain.out == ""
    assert re.fullmatch(r"waymark: .+\n", plain.err)

    result = unchanged("--json", *words_of(line))
    message = result.json["error"]["message"]
    assert result.json == {"waymark": 1, "error": {"errno": errno, "message": message}}
    assert result.code == code
    assert plain.err == result.err == f"waymark: {message}\n"
    assert unchanged.json("status") == before


def test_arguments_that_are_no_text(unchanged):
    for args in (("network", "show", b"\xff"), ("--json", "network", "add", b"\xff")):
        result = unchanged(*args)
        assert (result.code, result.err) == (2, f"waymark: argument {len(args)} is no UTF-8 text\n")


def test_a_full_disk_is_a_failure(unchanged):
    for args in (["status"], ["--json", "status"], ["help"]):
        with open("/dev/full", "w", encoding="ascii") as full:
            result = unchanged(*args, stdout=full)
        assert result.code == 4
        assert result.err == "waymark: cannot write the output: No space left on device\n"


# Words.

def test_words_may_be_shortened(waymark):
    listed = waymark.ok("network", "list").out
    for args in (["net", "l"], ["network"], ["n", "li"], ["--", "n", "l"], ["n"]):
        assert waymark.ok(*args).out == listed
    assert waymark.ok("st").out == waymark.ok().out
    assert waymark.ok("assignm").out == waymark.ok("assignments").out
    assert "could be one of assign, assignments" in waymark("assi").err
    assert waymark("assign").err.startswith("waymark: something is missing: usage: waymark assign ")


def test_options_stand_anywhere(waymark):
    expected = waymark.json("network", "show", "eth1")
    for args in (
        ["network", "show", "eth1", "--json"],
        ["network", "--json", "show", "eth1"],
        ["--js", "network", "show", "--timeout=5", "eth1"],
        ["--timeout", "5", "network", "show", "--json", "--", "eth1"],
    ):
        assert waymark.ok(*args).json == expected
    assert waymark("network", "show", "--", "--json").code == 10


def test_network_names_may_be_shortened(waymark):
    for name in ("office", "office2", "lab", "none-such", "system-x"):
        waymark.ok("network", "add", name, "--type", "vpn")
    assert waymark.json("network", "show", "l")["network"]["name"] == "lab"
    assert waymark.json("network", "show", "office")["network"]["name"] == "office"
    result = waymark("network", "show", "off")
    assert result.code == 2
    assert result.err == (
        "waymark: network 'off' could be one of office, office2: write more of it\n")
    waymark.ok("network", "set", "la", "--dns", "10.0.0.1")
    assert waymark.json("network", "show", "lab")["network"]["dns"] == ["10.0.0.1"]
    assert waymark("network", "show", "").code == 10
    for word in ("none", "system"):
        assert waymark("network", "remove", word).code == 10
    waymark.ok("network", "remove", "la")
    assert waymark("network", "show", "lab").code == 10

    waymark.ok("network", "add", "la", "--type", "vpn")  # a new name is not completed


def test_assign_resolves_names(waymark):
    waymark.ok("assign", "uid:1", "eth1")
    waymark.ok("network", "add", "office", "--type", "vpn")
    waymark.ok("assign", "uid:2", "o")
    waymark.ok("assign", "uid:3", "none")
    assert waymark("assign", "uid:4", "eth").code == 2
    assert waymark("assign", "uid:4", "no").code == 10
    networks = {a["selector"]: a["network"] for a in waymark.json("assignments")["assignments"]}
    assert networks == {"uid:1": "eth1", "uid:2": "office", "uid:3": "none"}


def test_assign_prefers_the_name_of_an_absent_network(waymark):
    """wg0 is not taken for wg01 because it happens to be away."""
    waymark.ok("network", "add", "wg0", "--type", "vpn")
    waymark.ok("network", "add", "wg01", "--type", "vpn")
    waymark.ok("network", "remove", "wg0")
    waymark.ok("assign", "uid:1", "wg0")
    assert waymark.json("assignments")["assignments"][0]["network"] == "wg0"


def test_default_is_system_although_a_network_begins_so(waymark):
    waymark.ok("network", "add", "system2", "--interface", "eth1")
    waymark.ok("default", "system2")
    waymark.ok("default", "system")
    assert waymark.ok("default").out == "system\n"
    waymark.ok("default", "sys")
    assert waymark.ok("default").out == "system2\n"


def test_explain_is_about_the_caller(waymark):
    assert waymark.json("explain", "198.51.100.7")["explanation"]["uid"] == 0
    result = waymark("--json", "explain", "198.51.100.7", uid=NOBODY)
    assert result.json["explanation"]["uid"] == NOBODY
    for args in (["--user", "nobody"], ["--uid", str(NOBODY)]):
        assert waymark.json("explain", *args, "198.51.100.7")["explanation"]["uid"] == NOBODY
    pid = str(os.getpid())
    assert waymark.json("explain", "--pid", pid, "198.51.100.7")["explanation"]["uid"] == 0
    for mark in ("196708", "0x30064"):
        e = waymark.json("explain", "--mark", mark, "198.51.100.7")["explanation"]
        assert e["mark"] == 0x30064


def test_who_may_change(waymark):
    assert waymark("status", uid=NOBODY).code == 0
    result = waymark("assign", "uid:1", "eth1", uid=NOBODY)
    assert result.code == 4
    assert result.err == (
        "waymark: only root and members of group waymark may change networks and assignments: use "
        "sudo, or join the group with `sudo usermod -aG waymark $USER`\n")


# Colours and odd characters.

def test_colour(waymark):
    waymark.ok("assign", "uid:5", "none")
    plain = waymark.ok("status").out
    coloured = waymark.ok("status", "--color", "always").out
    assert "\033" not in plain and re.sub(r"\033\[\d*m", "", coloured) == plain
    assert "\033[32mup\033[0m" in coloured and "\033[31mblocked\033[0m" in coloured
    assert "\033[2m" in waymark.ok("explain", "--uid", "6", "--color=always", "198.51.100.7").out
    assert "\033" not in waymark.ok("status", "--color", "auto").out


def read_all(fd):
    data = b""
    while True:
        try:
            chunk = os.read(fd, 65536)
        except OSError:  # EIO: the other end is closed
            return data.decode()
        data += chunk


@pytest.mark.parametrize("args, env, coloured", [
    ([], {}, True),
    ([], {"NO_COLOR": ""}, True),
    ([], {"NO_COLOR": "1"}, False),
    ([], {"TERM": "dumb"}, False),
    (["--color", "never"], {}, False),
    (["--color", "always"], {"NO_COLOR": "1"}, True),
])
def test_colour_on_a_terminal(unchanged, args, env, coloured):
    leader, follower = os.openpty()
    process = unchanged.popen("status", *args, stdout=follower, env={"TERM": "xterm"} | env)
    os.close(follower)
    out = read_all(leader)
    os.close(leader)
    process.communicate()
    assert process.returncode == 0
    assert ("\033[" in out) == coloured


def test_no_control_character_reaches_the_terminal(waymark):
    result = waymark("network", "show", "a\033[31mb\u009bc")
    assert result.err == "waymark: there is no network 'a?[31mb?c': see `waymark network list`\n"
