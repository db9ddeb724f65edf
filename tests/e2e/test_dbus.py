# SPDX-License-Identifier: LGPL-2.1-or-later
"""The D-Bus objects: what they offer is what docs/dbus.md says, every method does its work or says
what is wrong and changes nothing, and every change is told. Who may is in test_dbus_auth.py."""

import re
import socket
import xml.etree.ElementTree as ET

import pytest

from dbus_peer import (CALL, ERROR, MANAGER, NETWORK, PATH, PROPERTIES, RETURN, SIGNAL, VPN,
                       VPN_SERVICE, DBusError, Peer, Variant, message)
from harness import ROOT, Instance, Machine, foreign_state, nft_table, our_rules, wait_for

pytestmark = pytest.mark.rules  # whose words and verdicts these are

ALICE = 3001
INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"
TOP = {MANAGER, VPN_SERVICE}  # of /org/waymark1
ADOPTED = {"Kind": Variant("s", "adopted"), "Interfaces": Variant("as", ["wg9"]),
           "Allowed": Variant("as", ["uid:77"])}
STANDARD = {"org.freedesktop.DBus.Peer", INTROSPECTABLE, PROPERTIES}
INVALID = "org.freedesktop.DBus.Error.InvalidArgs"


# The documentation, and what the daemon says of itself.

def cells(line):
    return [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def arguments(cell):
    """[(type, name)] of `s` name, `a{sv}` options."""
    return re.findall(r"`([^`]+)` (\w+)", cell)


def documented():
    """{interface: {"property"|"method"|"signal": {name: row}}} of docs/dbus.md."""
    found, interface, kind = {}, None, None
    for line in (ROOT / "docs/dbus.md").read_text().splitlines():
        heading = re.match(r"#+ (?:Interface (\S+))?", line)
        if heading:
            interface = heading[1]
        if not line.startswith("|"):
            kind = None
        elif interface and kind is None:
            kind = cells(line)[0]
        elif interface and not line.startswith("|--"):
            name, *rest = cells(line)
            rows = found.setdefault(interface, {}).setdefault(kind, {})
            assert name.strip("`") not in rows, name
            rows[name.strip("`")] = rest
    return found


def introspected(peer, path):
    """{interface: element}, and the names of the nodes below."""
    text, = peer.call("Introspect", interface=INTROSPECTABLE, path=path)
    root = ET.fromstring(text)
    return ({i.get("name"): i for i in root.findall("interface")},
            [n.get("name") for n in root.findall("node")])


DOCUMENTED = documented()
CHANGING = {name for name, row in DOCUMENTED[MANAGER]["method"].items() if "**change**" in row[2]}


@pytest.fixture(scope="module")
def house():
    machine = Machine()
    daemon = Instance(machine)
    try:
        yield machine, daemon.start()
    finally:
        daemon.close()
        machine.close()


@pytest.fixture
def peer(house):
    _, daemon = house
    with Peer(daemon.socket) as p:
        yield p
        tidy(daemon)


def tidy(daemon):
    """Nothing is left of what a test made."""
    if daemon.config.read_text():
        daemon.config.write_text("")
    daemon.ok("reload")
    with Peer(daemon.socket) as p:
        for name in [i[VPN]["Name"] for i in p.managed().values() if VPN in i]:
            p.call("RemoveVpn", "s", name, interface=VPN_SERVICE)
    for selector in daemon.assignments():
        daemon.ok("unassign", selector)
    daemon.ok("default", "system")
    for name, network in daemon.networks().items():
        if network["origin"] != "host":
            daemon.ok("network", "remove", name)
    for name in ("eth0", "eth1"):
        assert daemon.networks()[name]["origin"] == "host"


def test_the_documentation_is_read_right():
    assert set(DOCUMENTED) == {MANAGER, NETWORK, VPN_SERVICE, VPN}
    assert len(DOCUMENTED[MANAGER]["method"]) >= 17 and len(CHANGING) >= 12
    assert arguments(DOCUMENTED[MANAGER]["method"]["AddRoute"][0]) == [("s", "name"), ("s", "route")]


def path_of(peer, interface):
    """An object that has it, beside the one at the top."""
    if interface in TOP:
        return PATH
    if interface == NETWORK:
        return peer.network("eth1")
    return peer.call("AddVpn", "sa{sv}", "v1", ADOPTED, interface=VPN_SERVICE)[0]


@pytest.mark.parametrize("interface", [MANAGER, NETWORK, VPN_SERVICE, VPN])
def test_introspection_is_what_is_documented(peer, interface):
    path = path_of(peer, interface)
    interfaces, _ = introspected(peer, path)
    assert set(interfaces) - {OBJECT_MANAGER} == STANDARD | (TOP if path == PATH else {interface})
    assert (OBJECT_MANAGER in interfaces) == (path == PATH)
    element, rows = interfaces[interface], DOCUMENTED[interface]

    properties = {p.get("name"): p for p in element.findall("property")}
    assert set(properties) == set(rows.get("property", {}))
    for name, (kind, text) in rows.get("property", {}).items():
        found = properties[name]
        notes = {a.get("name"): a.get("value") for a in found.findall("annotation")}
        changes = notes.get("org.freedesktop.DBus.Property.EmitsChangedSignal", "true")
        assert (f"`{found.get('type')}`", found.get("access")) == (kind, "read"), name
        assert changes == ("const" if "constant" in text else "true"), name

    methods = {m.get("name"): m for m in element.findall("method")}
    assert set(methods) == set(rows.get("method", {}))
    for name, (takes, gives, _) in rows.get("method", {}).items():
        for direction, cell in (("in", takes), ("out", gives)):
            args = [(a.get("type"), a.get("name")) for a in methods[name].findall("arg")
                    if a.get("direction") == direction]
            assert args == arguments(cell), (name, direction)

    signals = {s.get("name"): s for s in element.findall("signal")}
    assert set(signals) == set(rows.get("signal", {}))
    for name, (takes, _) in rows.get("signal", {}).items():
        assert [(a.get("type"), a.get("name")) for a in signals[name].findall("arg")] \
            == arguments(takes)


def test_every_object_can_be_found_and_there_are_no_others(peer):
    path_of(peer, VPN)
    found, todo = {}, ["/"]
    while todo:
        path = todo.pop()
        interfaces, nodes = introspected(peer, path)
        assert path not in found
        found[path] = set(interfaces) - STANDARD - {OBJECT_MANAGER}
        todo += [f"{path.rstrip('/')}/{node}" for node in nodes]
    managed = peer.managed()
    networks = {path: i for path, i in managed.items() if NETWORK in i}
    vpns = {path: i for path, i in managed.items() if VPN in i}
    assert {path for path, i in found.items() if i == {NETWORK}} == set(networks)
    assert {path for path, i in found.items() if i == {VPN}} == set(vpns) != set()
    assert [path for path, i in found.items() if i == TOP] == [PATH]
    assert not any(i - TOP - {NETWORK, VPN} for i in found.values())
    for path, interfaces in networks.items():
        assert interfaces[NETWORK] == peer.get_all(NETWORK, path)
        assert path == f"{PATH}/network/{interfaces[NETWORK]['NetId']}"
    for path, interfaces in vpns.items():
        assert interfaces[VPN] == peer.get_all(VPN, path)
        assert interfaces[VPN]["Name"] == peer.get("Name", NETWORK, path.replace("vpn", "network"))


def test_properties(peer, house):
    _, daemon = house
    manager = peer.get_all()
    assert set(manager) == set(DOCUMENTED[MANAGER]["property"])
    assert manager["DefaultNetwork"] == "system" and manager["HostNetworks"] is True
    assert (manager["Off"], manager["Degraded"], manager["Backend"]) == (False, "", "rules")
    eth1 = peer.get_all(NETWORK, peer.network("eth1"))
    assert set(eth1) == set(DOCUMENTED[NETWORK]["property"])
    assert (eth1["Name"], eth1["Type"], eth1["Origin"], eth1["State"], eth1["Interfaces"]) \
        == ("eth1", "physical", "host", "up", ["eth1"])
    for interface, path in ((MANAGER, PATH), (NETWORK, peer.network("eth1"))):
        for name, value in peer.get_all(interface, path).items():
            assert peer.get(name, interface, path) == value
            with pytest.raises(DBusError) as error:
                peer.call("Set", "ssv", interface, name, Variant("s", "x"), interface=PROPERTIES,
                          path=path)
            assert error.value.name == "org.freedesktop.DBus.Error.PropertyReadOnly"
    assert daemon.json("status")["status"]["version"] == manager["Version"]


# Every method with arguments that are right.

def test_networks(peer, house):
    machine, _ = house
    options = {"NetId": Variant("u", 700), "Type": Variant("s", "vpn"),
               "Interfaces": Variant("as", ["eth0"]), "Dns": Variant("as", ["192.0.2.1", "::2"]),
               "Domains": Variant("as", ["corp.example"]), "Secure": Variant("b", False),
               "ExcludeLocal": Variant("b", True)}
    path, = peer.call("AddNetwork", "sa{sv}", "work", options)
    assert path == f"{PATH}/network/700" == peer.network("work")
    found = peer.get_all(NETWORK, path)
    assert {key: found[key] for key in options} == {key: v[1] for key, v in options.items()}
    assert (found["Name"], found["Origin"], found["State"]) == ("work", "command", "up")

    peer.call("SetNetwork", "sa{sv}", "work", {"Dns": Variant("as", []), "Secure": Variant("b", 1)})
    peer.call("Set", "a{sv}", {"Domains": Variant("as", ["a.example", "b.example"])},
              interface=NETWORK, path=path)
    found = peer.get_all(NETWORK, path)
    assert (found["Dns"], found["Secure"], found["Domains"]) \
        == ([], True, ["a.example", "b.example"])

    for attach, detach, more, interface in (
            ("Attach", "Detach", ("work",), MANAGER), ("Attach", "Detach", (), NETWORK)):
        target = path if interface == NETWORK else PATH
        signature = "s" * (len(more) + 1)
        for _ in range(2):  # what is so already is a success
            peer.call(attach, signature, *more, "eth1", interface=interface, path=target)
        assert peer.get("Interfaces", NETWORK, path) == ["eth0", "eth1"]
        for route in ("10.9.0.0/16 via 10.0.1.1 dev eth1 mtu 1400",
                      "10.8.0.0/16 unreachable dev eth1"):
            for _ in range(2):
                peer.call("AddRoute", signature, *more, route, interface=interface, path=target)
            assert route in peer.get("Routes", NETWORK, path)
            peer.call("RemoveRoute", signature, *more, route, interface=interface, path=target)
            assert peer.get("Routes", NETWORK, path) == []
        for _ in range(2):
            peer.call(detach, signature, *more, "eth1", interface=interface, path=target)
        assert peer.get("Interfaces", NETWORK, path) == ["eth0"]

    peer.call("Remove", interface=NETWORK, path=path)
    assert path not in peer.managed()
    peer.call("AddNetwork", "sa{sv}", "work", {})
    peer.call("RemoveNetwork", "s", "work")
    assert sorted(n[NETWORK]["Name"] for n in peer.managed().values()) == ["eth0", "eth1"]
    assert not [r for r in our_rules(machine) if "0x102bc/" in r], "netId 700"


def test_assignments_and_the_default(peer, house):
    machine, _ = house
    assert peer.call("ListAssignments") == [[]]
    peer.call("Assign", "sss", f"uid:{ALICE}", "eth1", "require")
    peer.call("Assign", "sss", "uid:4000-4999", "none", "require")
    assert peer.call("ListAssignments")[0] == [
        (f"uid:{ALICE}", "eth1", "require", "active", "command", "", [str(ALICE)]),
        ("uid:4000-4999", "none", "require", "blocked", "command", "", ["4000-4999"])]
    assert peer.get("AssignmentCount") == 2
    assert machine.source(ALICE) == "10.0.1.2"
    peer.call("Assign", "sss", f"uid:{ALICE}", "eth0", "prefer")
    assert peer.call("ListAssignments")[0][0][1:4] == ("eth0", "prefer", "active")
    peer.call("Unassign", "s", f"uid:{ALICE}")
    peer.call("Unassign", "s", "uid:4000-4999")
    assert peer.call("ListAssignments") == [[]]

    peer.call("SetDefault", "s", "eth1")
    eth1 = peer.network("eth1")
    assert (peer.get("DefaultNetwork"), peer.get("Default", NETWORK, eth1)) == ("eth1", True)
    assert machine.source(ALICE) == "10.0.1.2"
    peer.call("SetDefault", "s", "system")
    assert (peer.get("DefaultNetwork"), peer.get("Default", NETWORK, eth1)) == ("system", False)


def signature_text():
    """{word: what docs/dbus.md gives as its type} of the tables of Explain and Verify."""
    text = (ROOT / "docs/dbus.md").read_text()
    types = {}
    for line in text[text.index("**Explain.**"):text.index("**Verify.**")].splitlines():
        if line.startswith("| `"):
            names, kinds, _ = cells(line)
            kinds = re.findall(r"`([^`]+)`", kinds)
            for i, name in enumerate(re.findall(r"`(\w+)`", names)):
                types[name] = kinds[min(i, len(kinds) - 1)]
    return types


PYTHON = {"u": int, "i": int, "t": int, "s": str, "b": bool, "a(usssss)": list, "a(usbss)": list,
          "a(sssss)": list, "as": list}
# These are there for other questions, or with another back-end: test_explain_apps.py.
OTHERS = {"Pid", "Cgroup", "Exe", "Absent", "MarkNetwork", "Decision", "Ports"}


def test_explain_answers_what_is_documented(peer):
    peer.call("Assign", "sss", f"uid:{ALICE}", "eth1", "require")
    question = {"Destination": Variant("s", "198.51.100.7"), "Uid": Variant("u", ALICE),
                "Mark": Variant("u", 0x10000000), "Source": Variant("s", "10.0.1.2")}
    answer, = peer.call("Explain", "a{sv}", question)
    types = signature_text()
    assert set(answer) == set(types) - OTHERS and OTHERS < set(types)
    for key, value in answer.items():
        assert type(value) is PYTHON[types[key]], key
    assert (answer["Selector"], answer["Assigned"], answer["Interface"], answer["Gateway"]) \
        == (f"uid:{ALICE}", "eth1", "eth1", "10.0.1.1")
    assert answer["KernelAgrees"] and answer["Guard"] == "allowed"
    alone, = peer.call("Explain", "a{sv}", {"Uid": Variant("u", ALICE)})
    assert (alone["Guard"], alone["Ports"], alone["Step"]) == ("held", ["eth1"], "uid")
    assert "Error" not in alone and alone["Destination"] == ""
    for extra in ({"User": Variant("s", "root")}, {"Pid": Variant("u", 1)}):
        answer, = peer.call("Explain", "a{sv}", {"Destination": Variant("s", "::1")} | extra)
        assert answer["Uid"] == 0
    answer, = peer.call("Explain", "a{sv}", {"Destination": Variant("s", "198.51.100.7"),
                                             "Uid": Variant("u", ALICE),
                                             "Device": Variant("s", "eth0")})
    assert answer["Device"] == "eth0" and answer["Error"] > 0


def test_verify_doctor_reload_and_panic_off(peer, house):
    machine, _ = house
    text = (ROOT / "docs/dbus.md").read_text()
    always = re.split(r"when there\s+is a leak", text[text.index("**Verify.**"):])[0]
    keys = dict(re.findall(r"`(\w+)` `(\w)`", always))
    result, = peer.call("Verify")
    assert {k: PYTHON[v] for k, v in keys.items()} == {k: type(v) for k, v in result.items()}
    assert result["Proved"] is True
    findings, = peer.call("Doctor")
    assert {level for _, level, _, _ in findings} <= {"ok", "info", "warning", "error"}
    assert our_rules(machine)
    peer.call("PanicOff")
    assert peer.get("Off") is True and our_rules(machine) == []
    peer.call("Reload")
    assert peer.get("Off") is False and our_rules(machine)


# And with arguments that are not.

ANYTHING = {"s": "x", "a{sv}": {}, "b": True, "as": []}


def all_methods():
    for interface, parts in DOCUMENTED.items():
        for name, (takes, _, _) in parts.get("method", {}).items():
            yield interface, name, [kind for kind, _ in arguments(takes)]


def everything(machine, peer, daemon):
    """All that a call could change."""
    return (peer.get_all(), peer.managed(), peer.call("ListAssignments"), our_rules(machine),
            our_rules(machine, "-6"), machine.show("route show table all proto 119"),
            machine.show("-6 route show table all proto 119"), nft_table(machine),
            foreign_state(machine), daemon.state_file.read_bytes())


@pytest.fixture
def unchanged(peer, house):
    """A peer whose calls have no effect."""
    machine, daemon = house
    peer.call("Assign", "sss", f"uid:{ALICE}", "eth1", "require")
    before = everything(machine, peer, daemon)
    yield peer
    assert everything(machine, peer, daemon) == before


@pytest.mark.parametrize("interface,name,kinds", list(all_methods()),
                         ids=[f"{i.rsplit('.', 1)[1]}.{n}" for i, n, _ in all_methods()])
def test_arguments_of_other_types(unchanged, interface, name, kinds):
    path = path_of(unchanged, interface)
    signature = "".join(kinds)
    wrong = [("u", [5]), (signature + "s", [*(ANYTHING[k] for k in kinds), "x"])]
    if kinds:
        wrong += [("", []), ("o" + "".join(kinds[1:]), ["/", *(ANYTHING[k] for k in kinds[1:])]),
                  (f"({signature})", [[ANYTHING[k] for k in kinds]])]
    for other, args in wrong:
        with pytest.raises(DBusError) as error:
            unchanged.call(name, other, *args, interface=interface, path=path)
        assert error.value.name == INVALID
        assert f"'{other}'" in error.value.text and f"expecting '{signature}'" in error.value.text


BROKEN = {"a NUL in it": b"\5\0\0\0e\0th1\0", "no UTF-8": b"\4\0\0\0et\xff1\0\0\0\0",
          "longer than the message": b"\xff\0\0\0eth1\0", "no end": b"\4\0\0\0eth1x",
          "cut off": b"\4\0"}


@pytest.mark.parametrize("damage", BROKEN)
def test_texts_that_are_none(unchanged, house, damage):
    """The method says so, or the connection ends, as the specification wants it; nothing else."""
    _, daemon = house
    for interface, name, kinds in all_methods():
        if not kinds or kinds[0] != "s":
            continue
        path = path_of(unchanged, interface)
        body = BROKEN[damage] + b"\0" * (-len(BROKEN[damage]) % 4) + b"\4\0\0\0eth1\0\0\0\0" * 3
        with Peer(daemon.socket) as p, pytest.raises((DBusError, ConnectionResetError)) as error:
            p.call(name, "".join(kinds), *[ANYTHING[k] for k in kinds], interface=interface,
                   path=path, body=body)
        if error.type is DBusError:
            assert (error.value.name, error.value.text) == (
                INVALID, "an argument is malformed: text is UTF-8 without NUL bytes"), name


LONG = "x" * (1 << 20)
ENONET, EEXIST, ESRCH, EBUSY = (f"System.Error.{e}" for e in ("ENONET", "EEXIST", "ESRCH", "EBUSY"))
ENOENT, ENODEV, ENOTSUP = (f"System.Error.{e}" for e in ("ENOENT", "ENODEV", "EOPNOTSUPP"))
NO_SUCH = "there is no network 'nosuch': see `waymark network list`"


def add(**options):
    return "AddNetwork", "sa{sv}", "n1", {key: Variant(*value) for key, value in options.items()}


def ask(**keys):
    keys = {"Destination": ("s", "198.51.100.7")} | keys
    return "Explain", "a{sv}", {key: Variant(*value) for key, value in keys.items() if value}


# (call, error, what its text says)
WRONG = [
    (("AddNetwork", "sa{sv}", "", {}), INVALID, "name"),
    (("AddNetwork", "sa{sv}", "none", {}), INVALID, "none"),
    (("AddNetwork", "sa{sv}", "a/b", {}), INVALID, "a/b"),
    (("AddNetwork", "sa{sv}", LONG, {}), INVALID, "a network's name has 1 to 64 characters"),
    (add(NetId=("u", 100)), EEXIST, "100"),
    (add(NetId=("u", 0)), INVALID, "netId 0"),
    (add(NetId=("u", 51)), INVALID, "netId 51"),
    (add(NetId=("u", 65536)), INVALID, "netId 65536"),
    (add(NetId=("u", 2**32 - 1)), INVALID, "netId 4294967295"),
    (add(NetId=("s", "500")), INVALID, "option 'NetId' is of another type"),
    (add(NetId=("t", 500)), INVALID, "option 'NetId' is of another type"),
    (add(Type=("s", "wifi")), INVALID, "'wifi' is no type: use physical, vpn, local or unreachable"),
    (add(Type=("s", LONG)), INVALID, "is no type"),
    (add(Interfaces=("as", ["a" * 16])), INVALID, "is no interface name (1 to 15 bytes)"),
    (add(Interfaces=("as", [""])), INVALID, "'' is no interface name"),
    (add(Interfaces=("s", "eth1")), INVALID, "option 'Interfaces' is of another type"),
    (add(Interfaces=("au", [1])), INVALID, "option 'Interfaces' is of another type"),
    (add(Dns=("as", ["192.0.2.256"])), INVALID, "'192.0.2.256' is no address of a DNS server"),
    (add(Dns=("as", [f"192.0.2.{i}" for i in range(250)])), "System.Error.E2BIG", "more than 4"),
    (add(Domains=("as", ["a b"])), INVALID, "a b"),
    (add(Domains=("as", [LONG])), INVALID, "domain"),
    (add(Permission=("s", "root")), INVALID, "use none, network or system"),
    (add(Secure=("u", 1)), INVALID, "option 'Secure' is of another type"),
    (add(Colour=("s", "red")), INVALID, "a network has no option 'Colour'"),
    (("AddNetwork", "sa{sv}", "n1", [("NetId", Variant("u", 700))] * 2), INVALID, "given twice"),
    (("SetNetwork", "sa{sv}", "nosuch", {}), ENONET, NO_SUCH),
    (("SetNetwork", "sa{sv}", "eth1", {"NetId": Variant("u", 700)}), INVALID, "netId"),
    (("SetNetwork", "sa{sv}", LONG, {}), ENONET, "there is no network 'xxx"),
    (("RemoveNetwork", "s", "nosuch"), ENONET, NO_SUCH),
    (("RemoveNetwork", "s", "eth1"), EBUSY, "ignore ="),
    (("RemoveNetwork", "s", ""), ENONET, "''"),
    (("GetNetwork", "s", "nosuch"), ENONET, NO_SUCH),
    (("GetNetwork", "s", LONG), ENONET, "see `waymark network list`"),
    (("Attach", "ss", "nosuch", "eth1"), ENONET, NO_SUCH),
    (("Attach", "ss", "eth1", "nosuch"), ESRCH, "there is no interface 'nosuch': see `ip link`"),
    (("Attach", "ss", "eth1", LONG), ESRCH, "there is no interface 'xxx"),
    (("Attach", "ss", "eth1", ""), ESRCH, "''"),
    (("Detach", "ss", "nosuch", "eth1"), ENONET, NO_SUCH),
    (("AddRoute", "ss", "nosuch", "default"), ENONET, NO_SUCH),
    (("AddRoute", "ss", "eth1", ""), INVALID, "route"),
    (("AddRoute", "ss", "eth1", "default via nowhere"), INVALID, "nowhere"),
    (("AddRoute", "ss", "eth1", "default via fd00:9::1"), "System.Error.EHOSTUNREACH",
     'the kernel refused "route add ::/0 via fd00:9::1 dev eth1 '),
    (("AddRoute", "ss", "eth1", "default mtu 0"), INVALID, "0"),
    (("AddRoute", "ss", "eth1", "10.9.0.0/33"), INVALID, "10.9.0.0/33"),
    (("AddRoute", "ss", "eth1", "default dev nosuch"), ENODEV, "nosuch"),
    (("AddRoute", "ss", "eth1", LONG), INVALID, "the route is longer than 255 bytes"),
    (("RemoveRoute", "ss", "eth1", "10.9.0.0/16"), ESRCH, "has no such route of its own"),
    (("SetDefault", "s", "nosuch"), ENONET, NO_SUCH),
    (("SetDefault", "s", ""), ENONET, "''"),
    (("SetDefault", "s", LONG), ENONET, "see `waymark network list`"),
    (("Assign", "sss", "uid:5", "nosuch", "require"), ENONET, NO_SUCH),
    (("Assign", "sss", "uid:5", "eth1", "gladly"), INVALID,
     "'gladly' is no strength: use require or prefer"),
    (("Assign", "sss", "uid:9-5", "eth1", "require"), INVALID, "9-5"),
    (("Assign", "sss", "uid:4294967295", "eth1", "require"), INVALID, "4294967295"),
    (("Assign", "sss", "alice", "eth1", "require"), INVALID, "'alice' is no selector: use uid:N"),
    (("Assign", "sss", LONG, "eth1", "require"), INVALID, "is no selector"),
    (("Assign", "sss", "user:" + LONG, "eth1", "require"), INVALID, "user"),
    (("Assign", "sss", "user:nosuchuser", "eth1", "require"), ENOENT,
     "there is no user 'nosuchuser': see `getent passwd`"),
    (("Assign", "sss", "group:nosuchgroup", "eth1", "require"), ENOENT, "see `getent group`"),
    (("Assign", "sss", "exe:/bin/true", "eth1", "require"), ENOTSUP, "back-end"),
    (("Assign", "sss", "uid:5", LONG, "require"), ENONET, "see `waymark network list`"),
    (("Unassign", "s", "uid:5"), ENOENT, "uid:5"),
    (("Unassign", "s", ""), INVALID, "'' is no selector"),
    (("Run", "sb", "eth1", True), ENOTSUP, "back-end `rules` knows users only"),
    (ask(Destination=None), INVALID, "Explain needs a Destination"),
    (ask(Destination=("s", "dns.example")), INVALID, "use a literal, names are not looked up"),
    (ask(Destination=("u", 5)), INVALID, "a value is not of the type that docs/dbus.md gives"),
    (ask(Uid=("u", 2**32 - 1)), INVALID, "4294967295 is no uid"),
    (ask(Uid=("i", 5)), INVALID, "a value is not of the type"),
    (ask(User=("s", "nosuchuser")), ENOENT, "there is no user 'nosuchuser'"),
    (ask(User=("s", LONG)), ENOENT, "there is no user 'xxx"),
    (ask(Pid=("u", 2**31 - 1)), ESRCH, "there is no process 2147483647"),
    (ask(Uid=("u", 5), User=("s", "root")), INVALID, "only one of Uid, User and Pid"),
    (ask(Pid=("u", 1), User=("s", "root")), INVALID, "only one of Uid, User and Pid"),
    (ask(Pid=("u", 0)), ESRCH, "there is no process 0"),
    (ask(Pid=("u", 1), Exe=("s", "/bin/sh")), INVALID, "a Pid says by itself"),
    (ask(Unit=("s", "a.service"), Cgroup=("s", "/a")), INVALID, "only one of Cgroup and Unit"),
    (ask(Unit=("s", LONG)), INVALID, "unit"),
    (ask(Cgroup=("s", "a/../b")), INVALID, "does not start with '/'"),
    (ask(Exe=("s", "/bin/")), INVALID, "ends with '/'"),
    (ask(Destination=None, Uid=("u", 5), Device=("s", "eth0")), INVALID, "needs a Destination with"),
    (ask(Source=("s", "::1")), INVALID, "of different families"),
    (ask(Device=("s", "nosuch")), ENODEV, "there is no interface 'nosuch': see `ip link`"),
    (ask(Colour=("s", "red")), INVALID, "Explain has no key 'Colour'"),
    (("Explain", "a{sv}", [("Mark", Variant("u", 1))] * 2), INVALID, "key 'Mark' is given twice"),
]


@pytest.mark.parametrize("call,name,text", WRONG,
                         ids=[re.sub(r"x{9,}", "xxx", repr(row[0]))[:70] for row in WRONG])
def test_values_that_are_wrong(unchanged, call, name, text):
    with pytest.raises(DBusError) as error:
        unchanged.call(*call)
    assert error.value.name == name, error.value.text
    assert text in error.value.text
    assert len(error.value.text) < 600
    # the object of a network says the same
    member, signature, *args = call
    alias = {"SetNetwork": "Set"}.get(member, member)
    if alias in DOCUMENTED[NETWORK]["method"] and args[0] == "eth1":
        with pytest.raises(DBusError) as other:
            unchanged.call(alias, signature[1:], *args[1:], interface=NETWORK,
                           path=unchanged.network("eth1"))
        assert (other.value.name, other.value.text) == (name, error.value.text)


def test_every_method_with_arguments_has_a_wrong_one():
    with_arguments = {name for interface, name, kinds in all_methods()
                      if interface == MANAGER and kinds}
    assert with_arguments - {"Detach"} <= {row[0][0] for row in WRONG}


@pytest.mark.parametrize("path", [
    "/", "/org", "/org/waymark1/network", "/org/waymark1/network/9999",
    "/org/waymark1/network/0100", "/org/waymark1/network/4294967396", "/org/waymark1/network/eth1",
    "/org/waymark1/network/100/x", "/org/waymark2"])
def test_objects_that_are_not_there(unchanged, path):
    for call, interface in ((("Remove",), NETWORK), (("GetAll", "s", NETWORK), PROPERTIES)):
        with pytest.raises(DBusError) as error:
            unchanged.call(*call, interface=interface, path=path)
        assert error.value.name.startswith("org.freedesktop.DBus.Error.Unknown")


@pytest.mark.parametrize("path", ["", "org", "/org/", "//", "/org/waymark1/network/eth1.5", b"/\xff"])
def test_paths_that_are_none(unchanged, path):
    """sd-bus passes such a message over, as it should be; what comes after it is heard."""
    unchanged.send("Remove", interface=NETWORK, path=path)
    assert unchanged.get("Off") is False


def test_methods_and_interfaces_that_are_not_there(unchanged):
    for member, interface in (("Nope", MANAGER), ("Remove", MANAGER), ("GetNetwork", NETWORK),
                              ("GetNetwork", "org.waymark2.Manager")):
        with pytest.raises(DBusError) as error:
            unchanged.call(member, interface=interface)
        assert error.value.name.startswith("org.freedesktop.DBus.Error.Unknown")


# What is told.

def changes(signals, path, interface):
    """{property: value} of all PropertiesChanged; none is only invalidated."""
    found = {}
    for where, member, args in signals:
        if (where, member) == (path, "PropertiesChanged") and args[0] == interface:
            assert args[2] == []
            found |= args[1]
    return found


def told(peer, act, path, interface):
    """Which properties a change tells; what is told is what is so."""
    peer.take_signals()
    act()
    found = changes(peer.take_signals(), path, interface)
    for name, value in found.items():
        assert peer.get(name, interface, path) == value, name
    return set(found)


def test_networks_that_come_and_go_are_told(peer, house):
    machine, _ = house
    peer.take_signals()
    path, = peer.call("AddNetwork", "sa{sv}", "n1", {"NetId": Variant("u", 700)})
    added = [s for s in peer.take_signals() if s[1] == "InterfacesAdded"]
    assert [(where, args[0], set(args[1]) - STANDARD) for where, _, args in added] \
        == [(PATH, path, {NETWORK})]
    assert added[0][2][1][NETWORK] == peer.get_all(NETWORK, path) == peer.managed()[path][NETWORK]
    peer.call("RemoveNetwork", "s", "n1")
    removed = [s for s in peer.take_signals() if s[1] == "InterfacesRemoved"]
    assert [(where, args[0], set(args[1]) - STANDARD) for where, _, args in removed] \
        == [(PATH, path, {NETWORK})]
    assert path not in peer.managed()

    machine.add_uplink(7, "eth7")
    wait_for("eth7", lambda: any(n[NETWORK]["Name"] == "eth7" for n in peer.managed().values()))
    path = peer.network("eth7")
    machine.ip("link del eth7")
    wait_for("its end", lambda: path not in peer.managed())
    members = [(m, a[0]) for _, m, a in peer.take_signals() if m.startswith("Interfaces")]
    assert members == [("InterfacesAdded", path), ("InterfacesRemoved", path)]


def test_a_network_in_the_place_of_another_is_another(peer, house):
    """The same netId, another name: who knew the old one must not take the new one for it."""
    _, daemon = house
    daemon.config.write_text("[network a]\nnetid = 700\n")
    peer.call("Reload")
    peer.take_signals()
    daemon.config.write_text("[network b]\nnetid = 700\n")
    peer.call("Reload")
    path = f"{PATH}/network/700"
    assert [(m, a[0]) for _, m, a in peer.take_signals() if m.startswith("Interfaces")] \
        == [("InterfacesRemoved", path), ("InterfacesAdded", path)]
    assert peer.get("Name", NETWORK, path) == "b"


def test_all_properties_of_networks_that_change_tell_it(peer, house):
    machine, daemon = house
    path, = peer.call("AddNetwork", "sa{sv}", "n1", {"Type": Variant("s", "vpn")})

    def set_to(**options):
        peer.call("SetNetwork", "sa{sv}", "n1", {k: Variant(*v) for k, v in options.items()})

    def configure(text):
        daemon.config.write_text(text)
        peer.call("Reload")

    def settle(command, key, value):
        machine.ip(command)
        wait_for(key, lambda: peer.get(key, NETWORK, path) == value)

    def users(verb):
        daemon_text(daemon, f"network users {verb} {netid} 5000-5999")

    netid = peer.get("NetId", NETWORK, path)
    steps = [
        (lambda: set_to(Dns=("as", ["192.0.2.1"])), {"Dns"}),
        (lambda: set_to(Dns=("as", ["192.0.2.1"])), set()),
        (lambda: set_to(Domains=("as", ["a.example"])), {"Domains"}),
        (lambda: set_to(Secure=("b", False), ExcludeLocal=("b", True)), {"Secure", "ExcludeLocal"}),
        (lambda: set_to(FallThrough=("b", True), Lockdown=("b", True),
                        Outside=("as", ["10.0.0.0/8", "fe80::/10"])),
         {"FallThrough", "Lockdown", "Outside"}),
        (lambda: set_to(FallThrough=("b", False), Lockdown=("b", False), Outside=("as", [])),
         {"FallThrough", "Lockdown", "Outside"}),
        (lambda: users("add"), {"Users"}),
        (lambda: users("remove"), {"Users"}),
        (lambda: peer.call("Attach", "ss", "n1", "eth1"), {"Interfaces", "State"}),
        (lambda: peer.call("AddRoute", "ss", "n1", "10.9.0.0/16 dev eth1"), {"Routes"}),
        (lambda: settle("link set eth1 down", "State", "down"), {"State"}),
        (lambda: settle("link set eth1 up", "State", "up"), {"State"}),
        (lambda: peer.call("RemoveRoute", "ss", "n1", "10.9.0.0/16 dev eth1"), {"Routes"}),
        (lambda: set_to(Type=("s", "physical")), {"Type"}),
        (lambda: set_to(Permission=("s", "system")), {"Permission"}),
        (lambda: peer.call("SetDefault", "s", "n1"), {"Default"}),
        (lambda: peer.call("SetDefault", "s", "system"), {"Default"}),
        (lambda: configure(f"[network n1]\nnetid = {netid}\ninterface = eth1\n"),
         {"Origin", "Source", "Dns", "Domains", "Permission", "ExcludeLocal"}),
    ]
    seen = set()
    for i, (act, expected) in enumerate(steps):
        found = told(peer, act, path, NETWORK)
        # what has no meaning for a type may be told with it
        assert found - {"Secure"} == expected - {"Secure"}, i
        seen |= found
    machine.ip("-6 addr add fd00:1::2/64 dev eth1 nodad",
               "route add default via 10.0.1.1 dev eth1 metric 101",
               "-6 route add default via fd00:1::1 dev eth1 metric 101")
    changing = {name for name, (_, text) in DOCUMENTED[NETWORK]["property"].items()
                if "constant" not in text}
    assert seen == changing


def daemon_text(daemon, line):
    """A command of the netd socket: what only that can change."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(f"{daemon.runtime}/netd")
        s.sendall(f"1 {line}\0".encode())
        assert s.recv(4096).startswith(b"200 "), line


def test_all_properties_of_the_manager_that_change_tell_it(peer, house):
    machine, daemon = house
    steps = [
        (lambda: peer.call("Assign", "sss", "uid:5", "eth1", "require"), {"AssignmentCount"}),
        (lambda: peer.call("Assign", "sss", "uid:5", "none", "require"), set()),
        (lambda: peer.call("Unassign", "s", "uid:5"), {"AssignmentCount"}),
        (lambda: peer.call("SetDefault", "s", "eth1"), {"DefaultNetwork"}),
        (lambda: peer.call("SetDefault", "s", "eth1"), set()),
        (lambda: peer.call("SetDefault", "s", "system"), {"DefaultNetwork"}),
        (lambda: peer.call("PanicOff"), {"Off"}),
        (lambda: peer.call("Reload"), {"Off"}),
    ]
    seen = set()
    for i, (act, expected) in enumerate(steps):
        found = told(peer, act, PATH, MANAGER)
        assert found == expected, i
        seen |= found
    # Degraded takes a kernel that says no: test_degraded
    changing = {name for name, (_, text) in DOCUMENTED[MANAGER]["property"].items()
                if "constant" not in text}
    assert seen == changing - {"Degraded"}


def test_events(peer, house):
    """Every kind that is documented, as far as a healthy daemon has it to tell."""
    machine, daemon = house
    peer.take_signals()
    peer.call("AddNetwork", "sa{sv}", "n1", {})
    peer.call("SetNetwork", "sa{sv}", "n1", {"Dns": Variant("as", ["192.0.2.1"])})
    peer.call("Attach", "ss", "n1", "eth1")
    peer.call("SetDefault", "s", "eth0")
    peer.call("Assign", "sss", "uid:5", "n1", "prefer")
    peer.call("Unassign", "s", "uid:5")
    peer.call("Detach", "ss", "n1", "eth1")
    peer.call("RemoveNetwork", "s", "n1")
    peer.call("PanicOff")
    peer.call("Reload")
    machine.ip("link add veth7 type veth peer name veth8", "addr add 192.0.2.7/32 dev veth7",
               "link del veth7")
    machine.ip("rule del prio " + our_rules(machine)[0].split(":")[0])
    kinds = re.search(r"Kinds: ([^|]*)", DOCUMENTED[MANAGER]["signal"]["Event"][1])
    documented_kinds = set(re.findall(r"`([\w-]+)`", kinds[1]))
    seen = {}

    def restored():
        for path, member, args in peer.take_signals():
            if member == "Event":
                assert path == PATH
                seen.setdefault(args[0], []).append(args[1])
        return "restored" in seen and "interface" in seen

    wait_for("the rule", restored)
    assert set(seen) == documented_kinds - {"rejected", "degraded", "recovered", "vpn-state",
                                           "vpn-revoked"}
    assert seen["network-changed"][0] == "n1: Dns"
    assert "uid:5 to n1 (prefer)" in seen["assigned"]
    assert "n1 is up" in seen["network-state"]


def test_messages_of_other_kinds_are_no_calls(unchanged):
    """Signals, and answers that nobody asked for; a call that has no member."""
    for kind, fields in ((SIGNAL, {"path": PATH, "interface": MANAGER, "member": "PanicOff"}),
                         (RETURN, {"reply_serial": 1}),
                         (ERROR, {"reply_serial": 77, "error": "a.b"})):
        unchanged.sock.sendall(message(kind, 9, fields))
        assert unchanged.get("Off") is False
    unchanged.sock.sendall(message(CALL, 9, {"path": PATH, "interface": MANAGER}))
    assert unchanged.get("Off") is False
