# SPDX-License-Identifier: LGPL-2.1-or-later
"""Rules and routes of others that ask for more than an address: a protocol, a port, a tos, a choice
among next hops. explain answers for UDP without ports and says so where that matters; verify proves
nothing that depends on a choice it cannot see."""

import socket

import pytest

from harness import PORT, SERVER4, SERVER6, Instance, Machine

ALICE, CAROL = 3001, 3003
ETH0, ETH1 = "10.0.0.2", "10.0.1.2"


@pytest.fixture(scope="module")
def house():
    machine = Machine()
    daemon = Instance(machine)
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        machine.ip(f"route add {SERVER4} via 10.0.1.1 dev eth1 table 52",
                   f"-6 route add {SERVER6} via fd00:1::1 dev eth1 table 52",
                   f"route add {SERVER4} via 10.0.0.1 dev eth0 table 53")
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


@pytest.fixture
def foreign():
    """Runs `ip … add …`; the opposite is done when the test is over."""
    done = []

    def add(machine, *lines):
        for line in lines:
            machine.ip(line)
            done.append((machine, line.replace(" add ", " del ", 1)))

    yield add
    for machine, line in reversed(done):
        machine.ip(line)


def explained(daemon, uid, server=SERVER4):
    """What is said of UDP, and of others; the text says the same as the JSON."""
    e = daemon.json("explain", "--uid", str(uid), server)["explanation"]
    assert e["kernel_agrees"], e["kernel"]
    text = daemon.ok("explain", "--uid", str(uid), server).out
    notes = [line for line in text.splitlines() if line.startswith("note:       this is for UDP")]
    assert len(notes) == len(e["otherwise"])
    for note, other in zip(notes, e["otherwise"]):
        end = f"rule {other['priority']} asks for {other['packets']}, which come to the same"
        if other["differs"]:
            how = f"refused, {other['error_text']}" if other["error_text"] else f"by {other['interface']}"
            end = f"rule {other['priority']} decides otherwise for {other['packets']}: {how}"
        assert note == f"note:       this is for UDP without ports; {end}"
    return e


def other(packets, interface="", error="", differs=True):
    return {"priority": 5000, "packets": packets, "differs": differs, "error_text": error,
            "interface": interface}


# The rule; the interface of UDP without ports; what else is said; where TCP and UDP to PORT go.
RULES = [
    ("ipproto tcp lookup 52", "eth0", other("ipproto tcp", "eth1"), ETH1, ETH0),
    ("ipproto udp lookup 52", "eth1", other("all but ipproto udp", "eth0"), ETH0, ETH1),
    ("not ipproto tcp lookup 52", "eth1", other("ipproto tcp", "eth0"), ETH0, ETH1),
    (f"dport {PORT} lookup 52", "eth0", other(f"dport {PORT}", "eth1"), ETH1, ETH1),
    (f"ipproto tcp dport {PORT} lookup 52", "eth0", other(f"ipproto tcp dport {PORT}", "eth1"),
     ETH1, ETH0),
    ("dport 1-9 lookup 52", "eth0", other("dport 1-9", "eth1"), ETH0, ETH0),
    ("tos 0x10 lookup 52", "eth0", other("tos 0x10", "eth1"), ETH0, ETH0),
    ("ipproto tcp prohibit", "eth0", other("ipproto tcp", error="Permission denied"), "EACCES", ETH0),
    ("ipproto tcp lookup 77", "eth0", other("ipproto tcp", "eth0", differs=False), ETH0, ETH0),
    (f"ipproto tcp uidrange {ALICE}-{ALICE} lookup 52", "eth0", None, ETH0, ETH0),
    ("ipproto tcp to 198.18.0.0/15 lookup 52", "eth0", None, ETH0, ETH0),
]


@pytest.mark.parametrize("rule,interface,others,tcp,udp", RULES, ids=[r[0] for r in RULES])
def test_what_is_said_is_what_happens(house, foreign, rule, interface, others, tcp, udp):
    machine, daemon = house
    assert explained(daemon, CAROL)["otherwise"] == []
    foreign(machine, f"rule add prio 5000 {rule}")
    e = explained(daemon, CAROL)
    assert (e["interface"], e["otherwise"]) == (interface, [others] if others else [])
    assert machine.source(CAROL, kind="tcp") == tcp
    assert machine.source(CAROL, kind="udp") == udp


def test_six(house, foreign):
    machine, daemon = house
    foreign(machine, "-6 rule add prio 5000 ipproto tcp lookup 52")
    assert explained(daemon, CAROL)["otherwise"] == []
    e = explained(daemon, CAROL, SERVER6)
    assert (e["interface"], e["otherwise"]) == ("eth0", [other("ipproto tcp", "eth1")])
    assert machine.source(CAROL, SERVER6) == "fd00:1::2"
    assert machine.source(CAROL, SERVER6, kind="udp") == "fd00::2"


def test_who_is_held(house, foreign):
    """A rule behind ours is not asked; one in front is stopped by the guard."""
    machine, daemon = house
    foreign(machine, "rule add prio 9500 ipproto tcp lookup 53")
    assert explained(daemon, ALICE)["otherwise"] == []
    foreign(machine, "rule add prio 5000 ipproto tcp lookup 53")
    e = explained(daemon, ALICE)
    assert (e["interface"], e["error"]) == ("eth1", 0)
    assert e["otherwise"] == [other("ipproto tcp", error="Operation not permitted")]
    assert machine.source(ALICE, kind="udp") == ETH1
    assert machine.source(ALICE, kind="tcp", seconds=1.0) in ("EPERM", "timeout")
    assert daemon.json("verify")["verification"]["proved"]


# Verify. The guard holds in these, so what the rules alone would let out is counted.

def guard_only(daemon):
    v = daemon.json("verify")["verification"]
    assert v["proved"] and (v["incomplete"], v["reason"]) == (False, "")
    return v["guard_only"]


def send(server, tos):
    """The source address that the kernel chooses, or the error."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
        sock.connect((server, PORT))
        try:
            sock.send(b"x")
        except PermissionError:
            return "EPERM"
        return sock.getsockname()[0]


def test_every_next_hop_counts(house, foreign):
    """The first is allowed; who is hashed to the second is stopped by the guard."""
    machine, daemon = house
    before = guard_only(daemon)
    foreign(machine, "rule add prio 5000 lookup 54", "route add default table 54 "
            "nexthop via 10.0.1.1 dev eth1 nexthop via 10.0.0.1 dev eth0")
    assert guard_only(daemon) > before
    seen = {machine.call(send, f"203.0.113.{i}", 0, uid=ALICE) for i in range(1, 33)}
    assert seen == {ETH1, "EPERM"}


def test_a_route_for_a_tos(house, foreign):
    machine, daemon = house
    before = guard_only(daemon)
    table = 1000 + machine.ifindex("eth1")
    foreign(machine, f"route add 203.0.113.0/24 via 10.0.0.1 dev eth0 tos 0x10 table {table}")
    assert guard_only(daemon) > before
    assert machine.call(send, "203.0.113.7", 0, uid=ALICE) == ETH1
    assert machine.call(send, "203.0.113.7", 0x10, uid=ALICE) == "EPERM"


@pytest.mark.rules
def test_more_next_hops_than_are_read():
    """Without the guard, and with no other interface up that a leak could take."""
    machine = Machine()
    machine.ip("link set eth1 down")
    daemon = Instance(machine)
    daemon.has_nftables = False
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth0")
        assert daemon.json("verify")["verification"]["proved"]
        machine.ip("route add default table 54" + 70 * " nexthop via 10.0.0.1 dev eth0",
                   "rule add prio 5000 lookup 54")
        v = daemon("--json", "verify").json["verification"]
        assert (v["proved"], v["incomplete"]) == (False, True) and "counterexample" not in v
        assert "more next hops than were read" in v["reason"]
        text = daemon("verify")
        assert text.code == 4 and text.out.startswith(f"not proved: {v['reason']}\n")
    finally:
        daemon.close()
        machine.close()
