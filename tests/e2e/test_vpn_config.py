# SPDX-License-Identifier: LGPL-2.1-or-later
"""VPNs of the configuration: what follows from them, whom they hold, what survives the daemon and what
a command may not change of it. The interface here is eth1, which somebody else makes and takes away."""

import pytest

from harness import Accounts, Instance, Machine, our_rules, wait_for
from test_config import configure

ALICE, BOB, CAROL = 3001, 3002, 3003
UPLINK, TUNNEL = "10.0.0.2", "10.0.1.2"
# An uplink for a tunnel: its routes come from the host. BLOCKED: how the back-ends say no.
BLOCKED = ("EACCES", "EPERM", "ENETUNREACH", "EHOSTUNREACH", "timeout")
WORK = f"[vpn work]\ninterface = eth1\napps = uid:{ALICE}\n"


@pytest.fixture
def place():
    machine = Machine()
    daemon = Instance(machine, config=WORK)
    try:
        daemon.start()
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


def reload(daemon, text):
    configure(daemon, text)
    daemon.ok("reload")


def state(machine, daemon):
    return our_rules(machine), our_rules(machine, "-6"), daemon.networks(), daemon.assignments()


def test_its_network_and_its_apps(place):
    machine, daemon = place
    network = daemon.networks()["work"]
    assert (network["type"], network["origin"], network["interfaces"]) == ("vpn", "vpn", ["eth1"])
    assignment = daemon.assignments()[f"uid:{ALICE}"]
    assert (assignment["network"], assignment["strength"], assignment["origin"]) == \
        ("work", "require", "vpn")
    assert "eth1" not in daemon.networks()  # it was the host's, and is the VPN's
    assert (machine.source(ALICE), machine.source(BOB)) == (TUNNEL, UPLINK)


def test_what_follows_is_not_changed_by_itself(place):
    machine, daemon = place
    before = state(machine, daemon)
    for command, what in ((("network", "remove", "work"), "network work"),
                          (("network", "set", "work", "--dns", "10.0.0.1"), "network work"),
                          (("network", "detach", "work", "eth1"), "network work"),
                          (("network", "add", "x", "--interface", "eth1"), "interface eth1"),
                          (("unassign", f"uid:{ALICE}"), f"uid:{ALICE}"),
                          (("assign", f"uid:{ALICE}", "eth0"), f"uid:{ALICE}"),
                          (("assign", f"uid:{ALICE}", "default"), f"uid:{ALICE}")):
        result = daemon(*command)
        assert (result.code, result.err) == \
            (4, f"waymark: {what} belongs to VPN 'work': see `waymark vpn`\n"), command
    assert state(machine, daemon) == before


def test_who_is_excepted_and_exempt(place):
    machine, daemon = place
    reload(daemon, f"[vpn work]\ninterface = eth1\neveryone = yes\nexcept = uid:{BOB}\n"
                   f"exempt = uid:{CAROL}\n")
    assert [machine.source(uid) for uid in (0, ALICE, BOB, CAROL)] == \
        [UPLINK, TUNNEL, UPLINK, UPLINK]
    reload(daemon, f"[vpn work]\ninterface = eth1\neveryone = yes\nexcept = uid:{BOB}\n"
                   f"exempt = uid:{CAROL}\nlockdown = yes\n")
    assert [machine.source(uid) for uid in (0, ALICE, CAROL)] == [UPLINK, TUNNEL, UPLINK]
    assert machine.source(BOB) in BLOCKED


def test_held_while_its_interface_is_gone(place):
    """Also without lockdown: it was not taken down. Then it comes back, as another one of the name."""
    machine, daemon = place
    machine.ip("link del eth1")
    daemon.wait_state("work", "absent")
    assert machine.source(ALICE) in BLOCKED
    assert machine.source(BOB) == UPLINK
    machine.add_uplink(1, "eth1")
    daemon.wait_state("work", "up")
    wait_for("its routes", lambda: machine.source(ALICE) == TUNNEL)  # those of the host, which come later


def test_the_daemon_dies_and_comes_back(place):
    machine, daemon = place
    reload(daemon, WORK + "lockdown = yes\nlan = 192.168.0.0/16\n")
    before = state(machine, daemon)
    daemon.kill()
    assert (our_rules(machine), our_rules(machine, "-6")) == before[:2]
    assert (machine.source(ALICE), machine.source(BOB)) == (TUNNEL, UPLINK)
    daemon.start()
    assert state(machine, daemon) == before


def test_taken_out_of_the_file_it_is_gone(place):
    machine, daemon = place
    netid = daemon.networks()["work"]["netid"]
    reload(daemon, "")
    daemon.wait_state("work", None)
    assert machine.source(ALICE) == UPLINK
    assert f"uid:{ALICE}" not in daemon.assignments()
    wait_for("eth1 to be the host's again", lambda: "eth1" in daemon.networks())
    reload(daemon, WORK)
    assert daemon.networks()["work"]["netid"] == netid
    assert machine.source(ALICE) == TUNNEL


def test_a_service_holds_before_its_program_comes(place):
    """Boot with lockdown: nobody has established anything yet."""
    machine, daemon = place
    reload(daemon, f"[vpn work]\nowner = uid:{ALICE}\nlockdown = yes\n")
    assert machine.source(ALICE) in BLOCKED
    assert machine.source(BOB) == UPLINK
    daemon.kill()
    assert machine.source(ALICE) in BLOCKED
    daemon.start()
    assert machine.source(ALICE) in BLOCKED


def test_an_owner_by_name():
    machine = Machine()
    daemon = Instance(machine, config="[vpn work]\nowner = user:alice\nlockdown = yes\n")
    accounts = Accounts(daemon)
    accounts.write({"alice": (ALICE, ALICE)})
    try:
        daemon.start()
        assert daemon.assignments()[f"uid:{ALICE}"]["network"] == "work"
        assert machine.source(ALICE) in BLOCKED
        accounts.write({"alice": (BOB, BOB)})
        daemon.ok("reload")
        assert machine.source(BOB) in BLOCKED
        assert machine.source(ALICE) == UPLINK
    finally:
        daemon.close()
        machine.close()


def test_the_file_wins_over_an_assignment_by_command_but_not_over_its_own(place):
    machine, daemon = place
    daemon.ok("assign", f"uid:{BOB}", "none")
    reload(daemon, f"[vpn work]\ninterface = eth1\napps = uid:{ALICE}, uid:{BOB}\n"
                   f"[assignments]\nassign = uid:{ALICE} none\n")
    assert daemon.assignments()[f"uid:{ALICE}"]["origin"] == "config"
    assert daemon.assignments()[f"uid:{BOB}"]["origin"] == "command"
    assert machine.source(ALICE) in BLOCKED and machine.source(BOB) in BLOCKED
    daemon.ok("unassign", f"uid:{BOB}")
    assert machine.source(BOB) == TUNNEL
