# SPDX-License-Identifier: LGPL-2.1-or-later
"""Without systemd, with the unit's capabilities and nothing else: everything works."""

import re

import pytest

from harness import ROOT, SERVER4, SERVER6, Instance, Machine, nft_table, our_rules, wait_for

ALICE, BOB, CAROL = 3001, 3002, 3003


def unit_capabilities():
    unit = (ROOT / "data/waymark.service.in").read_text(encoding="utf-8")
    return re.search(r"^CapabilityBoundingSet=(.*)$", unit, re.M)[1].split()


def bounded():
    sets = "-all," + ",".join("+" + name.removeprefix("CAP_").lower()
                              for name in unit_capabilities())
    return ["setpriv", "--no-new-privs", "--bounding-set", sets, "--inh-caps=-all", "--"]


@pytest.fixture
def machine():
    m = Machine()
    yield m
    m.close()


@pytest.mark.parametrize("backend", ["rules", "maps"])
def test_a_whole_day_with_the_unit_s_capabilities(machine, backend):
    if backend == "maps":
        machine.bind()
    daemon = Instance(machine, wrap=bounded())
    try:
        daemon.start()
        status = dict(line.split(":\t", 1) for line in
                      open(f"/proc/{daemon.process.pid}/status", encoding="utf-8"))
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0xC000081005
        assert daemon.json("status")["status"]["backend"] == backend
        morning(machine, daemon)
        afternoon(machine, daemon)
    finally:
        daemon.close()


def morning(machine, daemon):
    """Networks, routes, assignments: made by command, and by configuration."""
    for user, network in ((ALICE, "eth0"), (BOB, "eth1"), (CAROL, "none")):
        daemon.ok("assign", f"uid:{user}", network)
    assert machine.source(uid=ALICE) == "10.0.0.2"
    assert machine.source(uid=BOB) == "10.0.1.2"
    assert machine.source(uid=BOB, server=SERVER6) == "fd00:1::2"
    assert machine.source(uid=BOB, device="eth0") != "10.0.0.2"
    assert machine.source(uid=CAROL) == "EACCES"

    daemon.ok("network", "add", "office", "--interface", "eth1", "--dns", "10.0.1.1")
    daemon.ok("route", "add", "office", "203.0.113.0/24", "via", "10.0.1.1")
    daemon.config.write_text("[assignments]\nassign = uid:3004 office\n")
    daemon.ok("reload")
    assert machine.source(uid=3004) == "10.0.1.2"
    assert daemon.ok("verify").out.startswith("proved")
    assert daemon.ok("explain", "--uid", "3004", SERVER4).out


def afternoon(machine, daemon):
    """Faults, and the way out."""
    machine.run(["nft", "delete", "table", "inet", "waymark"])
    machine.run(["ip", "rule", "del", "priority", "9000", "uidrange", f"{BOB}-{BOB}"], check=False)
    wait_for("the guard", lambda: ("goto out_" in nft_table(machine)) == (not machine.cgroup)
             and nft_table(machine))
    daemon.kill().start(wrap=bounded())
    assert machine.source(uid=3004) == "10.0.1.2"
    machine.ip("link set eth1 down")
    wait_for("the block", lambda: machine.source(uid=3004) not in ("10.0.0.2", "10.0.1.2"))

    names = ["net.ipv4.tcp_fwmark_accept", "net.ipv4.fwmark_reflect", "net.ipv6.fwmark_reflect"]
    assert machine.run(["sysctl", "-n", *names]).stdout == "1\n1\n1\n"
    daemon.ok("panic-off")
    assert machine.run(["sysctl", "-n", *names]).stdout == "0\n0\n0\n"
    assert our_rules(machine) == [] and nft_table(machine) == ""
    daemon.ok("reload")
    assert our_rules(machine) != []


def test_without_net_admin_it_says_what_it_lacks(machine):
    daemon = Instance(machine)
    try:
        daemon.spawn(wrap=["setpriv", "--bounding-set=-all,+chown", "--"])
        wait_for("its end", daemon.ended)
        assert daemon.process.returncode == 1
        assert "Operation not permitted" in daemon.log
    finally:
        daemon.process = None
        daemon.close()
