# SPDX-License-Identifier: LGPL-2.1-or-later
"""The configuration: what every key does, that a reload touches what changed and nothing else, and
how it gets on with commands. What may be wrong with it is in test_config_errors.py."""

import signal
import socket
import time

import pytest

from harness import (WAIT, Instance, Machine, Monitor, Namespace, foreign_state, nft_table,
                     our_rules, wait_for)
from test_robustness import Connection

ALICE, BOB, CAROL = 3001, 3002, 3003


@pytest.fixture(scope="module")
def house():
    """A machine and a daemon; tests write the configuration and reload."""
    machine = Machine()
    daemon = Instance(machine)
    try:
        daemon.start()
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


@pytest.fixture
def clean(house):
    """The same, and an empty configuration again when the test is over."""
    machine, daemon = house
    yield house
    configure(daemon, "")
    for file in drop_ins(daemon).glob("*"):
        file.rmdir() if file.is_dir() else file.unlink()
    daemon.ok("reload")
    for name, network in daemon.networks().items():
        if network["origin"] == "command":
            daemon.ok("network", "remove", name)
    for selector in daemon.assignments():
        daemon.ok("unassign", selector)
    daemon.ok("default", "system")
    assert sorted(daemon.networks()) == ["eth0", "eth1"]


@pytest.fixture(scope="module")
def hermit():
    """A namespace without interfaces, for daemons that are not to start."""
    namespace = Namespace()
    yield namespace
    namespace.close()


def drop_ins(daemon):
    folder = daemon.config.parent / "conf.d"
    folder.mkdir(exist_ok=True)
    return folder


def configure(daemon, text, **files):
    """Writes waymark.conf, and conf.d/NAME.conf for name=text."""
    daemon.config.write_bytes(text if isinstance(text, bytes) else text.encode())
    for name, content in files.items():
        (drop_ins(daemon) / f"{name}.conf").write_text(content)


def state_of(machine, daemon):
    """All that a reload could change."""
    return (our_rules(machine), our_rules(machine, "-6"), nft_table(machine), daemon.networks(),
            daemon.assignments(), daemon.json("default"), foreign_state(machine))


# What the keys do.

NETWORK_KEYS = [
    ("", {"type": "physical", "interfaces": ["n1"], "dns": [], "state": "absent"}),
    ("netid = 4711", {"netid": 4711}),
    ("netid=1", {"netid": 1}),
    ("netid = 65535", {"netid": 65535}),
    ("type = vpn", {"type": "vpn", "secure": True}),
    ("type = vpn\nsecure = no\nexclude-local = on",
     {"type": "vpn", "secure": False, "exclude_local": True}),
    ("type = unreachable", {"type": "unreachable", "netid": 52, "interfaces": [],
                            "state": "unreachable"}),
    ("type = local", {"type": "local", "netid": 99}),
    ("interface = x1", {"interfaces": ["x1"]}),
    ("interface = x1, x2\nInterface".split("\n", maxsplit=1)[0] + "\ninterface =x3  x1",
     {"interfaces": ["x1", "x2", "x3"]}),
    ("interface = eth1", {"interfaces": ["eth1"], "state": "up"}),
    ("dns = 192.0.2.1, 2001:db8::1\ndns=192.0.2.1 192.0.2.2",
     {"dns": ["192.0.2.1", "2001:db8::1", "192.0.2.2"]}),
    ("domain = example.org\ndomain = a.example b.example",
     {"domains": ["example.org", "a.example", "b.example"]}),
    ("permission = system", {"permission": "system"}),
    ("route = 192.0.2.0/24\nroute = default via 10.0.0.1 dev n1 mtu 1400\n"
     "route = 2001:db8::/32 unreachable",
     {"routes": ["0.0.0.0/0 via 10.0.0.1 dev n1 mtu 1400", "192.0.2.0/24 dev n1",
                 "2001:db8::/32 unreachable dev n1"]}),
]


@pytest.mark.parametrize("lines,expected", NETWORK_KEYS, ids=[repr(k[0])[:60] for k in NETWORK_KEYS])
def test_the_keys_of_a_network(clean, lines, expected):
    _, daemon = clean
    configure(daemon, f"[network n1]\n{lines}\n")
    daemon.ok("reload")
    network = daemon.networks()["n1"]
    assert network["origin"] == "config"
    network["routes"].sort()
    assert {key: network[key] for key in expected} == expected


@pytest.mark.parametrize("word", ["yes", "true", "on", "1", "no", "false", "off", "0"])
def test_words_for_yes_and_no(clean, word):
    _, daemon = clean
    configure(daemon, f"[network n1]\ntype = vpn\nsecure = {word}\n")
    daemon.ok("reload")
    assert daemon.networks()["n1"]["secure"] == (word in ("yes", "true", "on", "1"))


def test_assignments_work_and_say_where_they_stand(clean):
    machine, daemon = clean
    configure(daemon, f"[assignments]\nassign = uid:{ALICE} eth1\n; a remark\n"
                      f"  assign=uid:{BOB}\tnone  require \r\n# another\nassign = uid:{CAROL} eth1 "
                      "prefer\nassign = uid:4000-4010 eth1 --prefer")
    daemon.ok("reload")
    found = {s: (a["network"], a["strength"], a["state"], a["origin"], a["source"])
             for s, a in daemon.assignments().items()}
    file = str(daemon.config)
    assert found == {f"uid:{ALICE}": ("eth1", "require", "active", "config", f"{file}:2"),
                     f"uid:{BOB}": ("none", "require", "blocked", "config", f"{file}:4"),
                     f"uid:{CAROL}": ("eth1", "prefer", "active", "config", f"{file}:6"),
                     "uid:4000-4010": ("eth1", "prefer", "active", "config", f"{file}:7")}
    assert [machine.source(u) for u in (ALICE, BOB, CAROL)] == ["10.0.1.2", "EACCES", "10.0.1.2"]


def test_default_and_its_absence(clean):
    machine, daemon = clean
    configure(daemon, "[waymark]\ndefault = eth1\n")
    daemon.ok("reload")
    assert daemon.json("default")["default_network"] == "eth1"
    assert machine.source(BOB) == "10.0.1.2"
    configure(daemon, "")
    daemon.ok("reload")
    assert daemon.json("default")["default_network"] == "system"
    assert machine.source(BOB) == "10.0.0.2"


@pytest.mark.parametrize("level,lines", [("err", False), ("info", True), ("debug", True)])
def test_log_level(hermit, level, lines):
    daemon = Instance(hermit, config=f"[waymark]\nlog-level = {level}\n")
    try:
        daemon.start()
        assert ("ready:" in daemon.log) == lines
    finally:
        daemon.close()


def logs_debug_messages(daemon):
    before = len(daemon.log)
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(f"{daemon.runtime}/netd")
        sock.sendall(b"0 network destroy 4711\0")
        sock.recv(1000)
    return "netd: " in daemon.log[before:]


@pytest.mark.parametrize("option, key, debug", [
    (None, None, False), (None, "debug", True), ("debug", "info", True), ("debug", None, True),
    ("info", "debug", False)])
def test_the_log_level_of_the_command_line_counts_more(hermit, option, key, debug):
    daemon = Instance(hermit, config=f"[waymark]\nlog-level = {key}\n" if key else "")
    try:
        daemon.start(*(["--log-level", option] if option else []))
        daemon.ok("reload")
        assert logs_debug_messages(daemon) == debug
        configure(daemon, "")
        daemon.ok("reload")
        assert logs_debug_messages(daemon) == (option == "debug")
    finally:
        daemon.close()


def test_the_network_and_its_section_bring_their_own_interface_back(clean):
    """A network's netId is its own from reload to reload, also while it is not configured."""
    _, daemon = clean
    configure(daemon, "[network n1]\n")
    daemon.ok("reload")
    netid = daemon.networks()["n1"]["netid"]
    configure(daemon, "[network n0]\n")
    daemon.ok("reload")
    configure(daemon, "[network n0]\n[network n1]\n")
    daemon.ok("reload")
    assert daemon.networks()["n1"]["netid"] == netid


def test_text_that_is_odd_but_right(clean):
    _, daemon = clean
    for text in ("[waymark]\r\ndefault = eth1\r\n", "[waymark]\ndefault = eth1", " [ waymark ] \n"
                 "\t default\t=\teth1 ", "[waymark]\ndefault = system\n[assignments]\n[waymark]\n"
                 "default=eth1", "; größe\n#\xff\n[waymark]\ndefault = eth1\n", "\n" * 100000
                 + "[waymark]\ndefault = eth1", "#" * 4095 + "\n[waymark]\ndefault = eth1"):
        configure(daemon, "")
        daemon.ok("reload")
        configure(daemon, text.encode("latin-1"))
        daemon.ok("reload")
        assert daemon.json("default")["default_network"] == "eth1", text[:80]


# Files.


def test_drop_ins_are_read_in_order_and_others_are_not(clean):
    _, daemon = clean
    configure(daemon, "[waymark]\ndefault = eth0\n", b="[waymark]\ndefault = eth1\n",
              a="[waymark]\ndefault = system\n")
    folder = drop_ins(daemon)
    for name in ("c.conf~", ".d.conf", "e.conf.dpkg-new", "f"):
        (folder / name).write_text("rubbish")
    daemon.ok("reload")
    assert daemon.json("default")["default_network"] == "eth1"
    configure(daemon, "", c="[waymark]\ndefault = eth0\n")
    daemon.ok("reload")
    assert daemon.json("default")["default_network"] == "eth0"


def test_without_files_everything_is_as_if_they_were_empty(hermit):
    """What goes while the daemon runs is in test_lifetime.py."""
    daemon = Instance(hermit)
    try:
        daemon.config.unlink()
        assert daemon.start().networks() == {}
        daemon.ok("reload")
    finally:
        daemon.close()


def test_the_configuration_may_be_one_file(hermit):
    daemon = Instance(hermit)
    file = daemon.folder / "one"
    file.write_text("[network n1]\n")
    try:
        daemon.start("--config", str(file))
        assert daemon.networks()["n1"]["source"].startswith(str(file))
    finally:
        daemon.close()


# Reloading.


def test_sighup_reloads_and_says_what_is_wrong(clean):
    machine, daemon = clean
    configure(daemon, f"[assignments]\nassign = uid:{ALICE} eth1\n")
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("the assignment", lambda: f"uid:{ALICE}" in daemon.assignments())
    assert machine.source(ALICE) == "10.0.1.2"
    before = state_of(machine, daemon)
    configure(daemon, "[waymark]\nbad = 1\n")
    daemon.process.send_signal(signal.SIGHUP)
    said = f"not reloaded: {daemon.config}:2: section [waymark] has no key 'bad': see " \
           "waymark.conf(5)"
    wait_for("the message", lambda: said in daemon.log)
    assert state_of(machine, daemon) == before


def test_a_reload_touches_only_the_rules_of_what_changed(clean):
    machine, daemon = clean
    uids = list(range(5000, 5200, 2))
    text = "[assignments]\n" + "".join(f"assign = uid:{u} eth{u // 2 % 2}\n" for u in uids)
    configure(daemon, text)
    daemon.ok("reload")
    others = [Connection(machine, u) for u in (5001, 5048, 5050, 5052)]
    monitor = Monitor(machine, "rule")
    try:
        daemon.ok("reload")
        assert monitor.mark() == [], "nothing changed"
        assert "uid:5050 eth1" in text
        configure(daemon, text.replace("uid:5050 eth1", "uid:5050 eth0"))
        daemon.ok("reload")
        events = monitor.mark()
        if not machine.cgroup:  # else no rule is for a user
            assert {e.startswith("Deleted ") for e in events} == {True, False}
        assert all("uidrange 5050-5050" in e for e in events), events
        assert [c.is_alive() for c in others if c is not others[2]] == [True] * 3
        assert machine.source(5050) == "10.0.0.2"
    finally:
        monitor.close()
        for connection in others:
            connection.close()


@pytest.mark.rules
def test_what_the_back_end_cannot_hold_is_no_reason_to_hold_nothing(machine):
    daemon = Instance(machine, config="[assignments]\nassign = uid:3001 eth1\n"
                                      "assign = exe:/bin/sh none\nassign = unit:x.service none\n")
    try:
        daemon.start()
        warning = (f"{daemon.config}:4: unit selectors need the `maps` back-end, which is not in use "
                   "(see `waymark doctor`): use uid:, user: or group:; 2 such assignments hold nobody")
        assert warning in daemon.log
        assert machine.source(ALICE) == "10.0.1.2"
        assert {s: a["state"] for s, a in daemon.assignments().items()} == {
            "uid:3001": "active", "exe:/bin/sh": "waiting", "unit:x.service": "waiting"}
        assert "2 assignments of programs, cgroups or units hold nobody" in daemon("doctor").out
        daemon.ok("reload")
    finally:
        daemon.close()


# Configuration and commands.


def test_the_configuration_wins_over_commands_and_says_so(clean):
    machine, daemon = clean
    daemon.ok("network", "add", "lan", "--interface", "eth1", "--dns", "192.0.2.1")
    daemon.ok("assign", f"uid:{ALICE}", "none")
    daemon.ok("default", "eth0")
    configure(daemon, "[waymark]\ndefault = lan\n[network lan]\ninterface = eth1\n[assignments]\n"
                      f"assign = uid:{ALICE} lan\n")
    daemon.ok("reload")
    assert f"{daemon.config}:3: network 'lan' takes the place of the one made by command" \
        in daemon.log
    network = daemon.networks()["lan"]
    assert (network["origin"], network["dns"]) == ("config", [])
    assert daemon.assignments()[f"uid:{ALICE}"]["origin"] == "config"
    assert daemon.json("default")["default_network"] == "lan"
    assert machine.source(ALICE) == machine.source(BOB) == "10.0.1.2"
    configure(daemon, "")
    daemon.ok("reload")
    for _ in range(2):
        assert daemon.assignments() == {}, "what was replaced does not come back"
        assert sorted(daemon.networks()) == ["eth0", "eth1"]
        assert daemon.json("default")["default_network"] == "system"
        daemon.stop().start()


CONFIGURED = "[network lan]\ninterface = eth1\n[assignments]\nassign = uid:3001 lan\n" \
             "assign = uid:3002-3003 none\n[waymark]\ndefault = {default}\n"
REFUSED = [
    (["assign", "uid:3001", "none"], "that selector is assigned in {file}:4: change it there, then "
                                     "`waymark reload`"),
    (["unassign", "uid:3002-3003"], "the assignment of uid:3002-3003 stands in {file}:5: change "
                                    "it there, then `waymark reload`"),
    (["default", "eth0"], "default network 'lan' stands in {file}:7: change it there, then "
                          "`waymark reload`"),
    (["default", "system"], "default network 'lan' stands in {file}:7: change it there, then "
                            "`waymark reload`"),
    *((command, "network 'lan' stands in {file}: change it there, then `waymark reload`")
      for command in (["network", "set", "lan", "--dns", "192.0.2.1"], ["network", "remove", "lan"],
                      ["network", "attach", "lan", "eth0"], ["network", "detach", "lan", "eth1"],
                      ["route", "add", "lan", "default"], ["route", "remove", "lan", "default"])),
]


@pytest.mark.parametrize("command,message", REFUSED, ids=[" ".join(r[0]) for r in REFUSED])
def test_a_command_on_what_is_configured_is_refused_with_where_it_stands(clean, command, message):
    machine, daemon = clean
    configure(daemon, CONFIGURED.format(default="lan"))
    daemon.ok("reload")
    before = state_of(machine, daemon)
    result = daemon(*command)
    assert (result.code, result.err) \
        == (4, f"waymark: {message.format(file=daemon.config)}\n")
    assert state_of(machine, daemon) == before


def test_an_interface_of_a_configured_network_is_not_to_be_detached_by_command(clean):
    """That would be refused, too: so it must not be what the message advises."""
    _, daemon = clean
    configure(daemon, "[network lan]\ninterface = eth1\n")
    daemon.ok("reload")
    daemon.ok("network", "add", "other")
    result = daemon("network", "attach", "other", "eth1")
    assert result.code == 4 and str(daemon.config) in result.err and "detach" not in result.err


def test_a_default_of_system_in_the_configuration_holds_too(clean):
    _, daemon = clean
    configure(daemon, "[waymark]\ndefault = system\n")
    daemon.ok("reload")
    result = daemon("default", "eth0")
    assert (result.code, result.err) \
        == (4, f"waymark: default network 'system' stands in {daemon.config}:2: change it there, "
               "then `waymark reload`\n")


def test_other_assignments_and_networks_by_command_stay(clean):
    _, daemon = clean
    daemon.ok("network", "add", "lan", "--interface", "eth1")
    daemon.ok("assign", f"uid:{ALICE}", "lan")
    configure(daemon, f"[assignments]\nassign = uid:{BOB} lan\n")
    daemon.ok("reload")
    assert {s: a["origin"] for s, a in daemon.assignments().items()} \
        == {f"uid:{ALICE}": "command", f"uid:{BOB}": "config"}
    assert daemon.networks()["lan"]["origin"] == "command"


def test_a_netid_that_a_command_has_taken(clean):
    """One rule for both: it neither reloads nor starts."""
    _, daemon = clean
    daemon.ok("network", "add", "lan", "--netid", "777")
    configure(daemon, "[network n1]\nnetid = 777\n")
    said = f"{daemon.config}:1: netId 777 is that of network 'lan'"
    assert daemon("reload").err == f"waymark: {said}\n"
    daemon.stop().spawn()
    assert daemon.process.wait(timeout=WAIT) == 1 and said in daemon.log.splitlines()
    configure(daemon, "")
    daemon.start()


def test_a_netid_that_a_host_network_has(clean):
    """While it runs, the host's keeps it, since sockets carry it in their marks; a start gives it to
    whom the configuration says."""
    _, daemon = clean
    netid = daemon.networks()["eth1"]["netid"]
    configure(daemon, f"[network n1]\nnetid = {netid}\n")
    result = daemon("reload")
    assert result.err == f"waymark: {daemon.config}:1: netId {netid} is that of network 'eth1'\n"
    daemon.stop().start()
    networks = daemon.networks()
    assert networks["n1"]["netid"] == netid != networks["eth1"]["netid"]
    daemon.ok("reload")


# The default network is physical, however it came about.


@pytest.mark.parametrize("order", ["configured first", "reload", "start"])
def test_a_vpn_of_the_host_is_refused_as_default(machine, order):
    daemon = Instance(machine, config="[waymark]\ndefault = tun0\n" * (order != "reload"))
    tun = "tuntap add mode tun name tun0", "link set tun0 up", "addr add 10.8.0.2/24 dev tun0"
    try:
        if order != "configured first":
            machine.ip(*tun)
        daemon.spawn()
        wait_for("start or end", lambda: daemon.ended() or daemon.answers())
        said = f"{daemon.config}:2: the default network must be physical, 'tun0' is of type vpn"
        if order == "start":
            assert daemon.ended() and said in daemon.log
            daemon.process = None
            return
        if order == "reload":
            configure(daemon, "[waymark]\ndefault = tun0\n")
            assert daemon("reload").err == f"waymark: {said}\n"
        else:
            machine.ip(*tun)
            daemon.json("explain", "127.0.0.1")
        assert not [n for n in daemon.networks().values() if n["default"] and n["type"] == "vpn"]
    finally:
        daemon.close()


def test_the_default_network_cannot_be_made_a_vpn(clean):
    _, daemon = clean
    daemon.ok("network", "add", "lan", "--interface", "eth1")
    daemon.ok("default", "lan")
    result = daemon("network", "set", "lan", "--type", "vpn")
    assert result.code == 4 and "default" in result.err, result
    assert daemon.networks()["lan"]["type"] == "physical"


# Many.


@pytest.mark.parametrize("each", [1000, 20])
def test_twenty_thousand_assignments(machine, each):
    """Uids in blocks that go to one network make one rule per block."""
    text = "[assignments]\n" + "".join(
        f"assign = uid:{100000 + i} eth{i // each % 2}\n" for i in range(20000))
    daemon = Instance(machine)
    configure(daemon, "", many=text)
    try:
        times = {}
        for what, action in (("start", daemon.start), ("reload", lambda: daemon.ok("reload"))):
            start = time.monotonic()
            action()
            times[what] = time.monotonic() - start
        configure(daemon, "", many=text.replace("uid:100500 ", "uid:90500 "))
        start = time.monotonic()
        daemon.ok("reload")
        times["reload, one changed"] = time.monotonic() - start
        print({what: f"{seconds:.2f} s" for what, seconds in times.items()})
        assert len(daemon.assignments()) == 20000
        assert [machine.source(u) for u in (100000 + each, 119999, 100000, 90500)] \
            == ["10.0.1.2", "10.0.1.2", "10.0.0.2", f"10.0.{500 // each % 2}.2"]
        assert max(times.values()) < 10
    finally:
        daemon.close()
