# SPDX-License-Identifier: LGPL-2.1-or-later
"""The networks' tables are copies of the machine's routes, and follow them; the originals are never
touched."""

import os
import subprocess
import time

import pytest

from harness import (SERVER4, SERVER6, WAIT, Instance, Machine, foreign_state, our_rules, wait_for)
from test_host_networks import attach_tun, now, quiet_state

ALICE, BOB = 3001, 3002


def copies(machine, name):
    """What the network's table has, as a set of `ip route` lines without our mark."""
    table = 1000 + machine.ifindex(name)
    lines = [line for f in ("-4", "-6") for line in machine.show(f"{f} route show table {table}")]
    assert all(" proto 119" in line for line in lines), lines
    return {line.replace(" proto 119", "") for line in lines}


@pytest.fixture(scope="module")
def house():
    machine = Machine()
    daemon = Instance(machine)
    try:
        before = quiet_state(machine)
        daemon.start()
        yield machine, daemon
        assert foreign_state(machine) == before
    finally:
        daemon.close()
        machine.close()


def test_the_copies_of_the_uplinks(house):
    machine, _ = house
    assert copies(machine, "eth1") == {
        "default via 10.0.1.1 dev eth1 metric 101",
        "10.0.1.0/24 dev eth1 scope link src 10.0.1.2",
        "default via fd00:1::1 dev eth1 metric 101 pref medium",
        "fd00:1::/64 dev eth1 metric 256 pref medium",
        "fe80::/64 dev eth1 metric 256 pref medium",
    }


# Routes of the machine (what stands behind `ip`), and what they add to each network's table.
COPIED = [
    (["route add 192.0.2.0/24 via 10.0.0.1"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0"]}),
    (["route add 192.0.2.1 dev eth1"], {"eth1": ["192.0.2.1 dev eth1 scope link"]}),
    (["route add 192.0.2.0/24 via 10.0.0.1 metric 7 mtu 1300 src 10.0.0.2"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.2 metric 7 mtu 1300"]}),
    (["route add tos 0x10 192.0.2.0/24 via 10.0.0.1"],
     {"eth0": ["192.0.2.0/24 tos 0x10 via 10.0.0.1 dev eth0"]}),
    (["route add 192.0.2.0/24 via 172.16.9.9 dev eth0 onlink"],
     {"eth0": ["192.0.2.0/24 via 172.16.9.9 dev eth0 onlink"]}),
    (["route add 192.0.2.0/24 via 10.0.0.1 proto dhcp",
      "route add 198.18.0.0/15 via 10.0.0.1 proto bird",
      "route add 198.51.100.9 via 10.0.0.1 proto static"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0", "198.18.0.0/15 via 10.0.0.1 dev eth0",
               "198.51.100.9 via 10.0.0.1 dev eth0"]}),
    (["route add 192.0.2.0/24 via inet6 fd00:1::1 dev eth1"],
     {"eth1": ["192.0.2.0/24 via inet6 fd00:1::1 dev eth1"]}),
    (["route add 192.0.2.0/24 via 10.0.0.1 table 51820", "route add 198.18.0.0/15 dev eth0 table 7"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0", "198.18.0.0/15 dev eth0 scope link"]}),
    # where main has a route to a destination, those of other tables are for whom their rules name
    (["route add default via 10.0.0.9 table 200"], {}),
    (["route add 192.0.2.0/24 via 10.0.0.9 table 100",
      "route add 192.0.2.0/24 via 10.0.0.1 metric 7"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0 metric 7"]}),
    # of several other tables, the same way is one copy, another way gets the next metric
    (["route add 192.0.2.0/24 via 10.0.0.9 table 100", "route add 192.0.2.0/24 via 10.0.0.1 table 200",
      "route add 192.0.2.0/24 via 10.0.0.1 table 300"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.9 dev eth0",
               "192.0.2.0/24 via 10.0.0.1 dev eth0 metric 1"]}),
    # a copy without the encapsulation would send in the open what the host hides
    (["route add 192.0.2.0/24 encap ip id 5 dst 10.0.0.1 dev eth0",
      "-6 route add 2001:db8:9::/48 encap ip6 id 5 dst fd00::1 dev eth0"], {}),
    (["route append default via 10.0.0.9 metric 100", "route append default via 10.0.0.8 metric 101"],
     {"eth0": ["default via 10.0.0.9 dev eth0 metric 101",
               "default via 10.0.0.8 dev eth0 metric 102"]}),
    (["route add 192.0.2.0/24 nexthop via 10.0.0.1 weight 3 nexthop via 10.0.1.1"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0"],
      "eth1": ["192.0.2.0/24 via 10.0.1.1 dev eth1"]}),
    (["route add 192.0.2.0/24 nexthop via 10.0.0.1 nexthop via 10.0.0.9"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0",
               "192.0.2.0/24 via 10.0.0.9 dev eth0 metric 1"]}),
    (["nexthop add id 7 via 10.0.1.1 dev eth1", "route add 192.0.2.0/24 nhid 7"],
     {"eth1": ["192.0.2.0/24 via 10.0.1.1 dev eth1"]}),
    (["nexthop add id 7 via 10.0.1.1 dev eth1", "nexthop add id 8 via 10.0.0.1 dev eth0",
      "nexthop add id 9 group 7/8", "route add 192.0.2.0/24 nhid 9"],
     {"eth0": ["192.0.2.0/24 via 10.0.0.1 dev eth0"],
      "eth1": ["192.0.2.0/24 via 10.0.1.1 dev eth1"]}),
    # not copied: what leads nowhere, what is the kernel's own
    (["route add blackhole 192.0.2.0/24", "route add unreachable 198.18.0.0/15",
      "route add prohibit 198.51.100.9", "route add throw 198.51.100.0/24 table 200",
      "-6 route add blackhole 2001:db8:7::/48", "-6 route add unreachable 2001:db8:8::/48 dev lo",
      "route add local 192.0.2.77 dev eth0 table 200",
      "route add broadcast 192.0.2.78 dev eth0 table 200"], {}),
    (["-6 route add 2001:db8:9::/48 via fd00:1::1 mtu 1400"],
     {"eth1": ["2001:db8:9::/48 via fd00:1::1 dev eth1 metric 1024 mtu 1400 pref medium"]}),
    (["-6 route add default via fe80::1 dev eth0 proto ra metric 50 pref high expires 600",
      "-6 route add 2001:db8:9::/64 dev eth0 proto ra expires 600"],
     {"eth0": ["default via fe80::1 dev eth0 metric 50 pref high",
               "2001:db8:9::/64 dev eth0 metric 1024 pref medium"]}),
    (["-6 route append default via fe80::7 dev eth0 metric 100"],
     {"eth0": ["default via fe80::7 dev eth0 metric 101 pref medium"]}),
    (["-6 route add default from 2001:db8:5::/64 via fd00::1 dev eth0 metric 50"],
     {"eth0": ["default from 2001:db8:5::/64 via fd00::1 dev eth0 metric 50 pref medium"]}),
    (["-6 route add 2001:db8:9::/48 nexthop via fd00::1 nexthop via fd00:1::1"],
     {"eth0": ["2001:db8:9::/48 via fd00::1 dev eth0 metric 1024 pref medium"],
      "eth1": ["2001:db8:9::/48 via fd00:1::1 dev eth1 metric 1024 pref medium"]}),
    (["-6 route add 2001:db8:9::/48 nexthop via fd00::1 nexthop via fd00::9 dev eth0"],
     {"eth0": ["2001:db8:9::/48 via fd00::1 dev eth0 metric 1024 pref medium",
               "2001:db8:9::/48 via fd00::9 dev eth0 metric 1025 pref medium"]}),
    (["addr add 192.0.2.9/24 dev eth0", "addr add 2001:db8:9::9/64 dev eth0 nodad"],
     {"eth0": ["192.0.2.0/24 dev eth0 scope link src 192.0.2.9",
               "2001:db8:9::/64 dev eth0 metric 256 pref medium"]}),
    (["addr add 192.0.2.9/24 dev eth0 metric 44 noprefixroute"], {}),
]
UNDO = {"add": "del", "append": "del"}


def undo(machine, lines):
    for line in reversed(lines):
        words = [UNDO.get(word, word) for word in line.split() if word != "nodad"]
        if words[0] == "nexthop":
            words = words[:4]  # nexthop del id N
        machine.run(["ip", *words], check=False)


@pytest.mark.parametrize("lines,expected", COPIED, ids=[" + ".join(c[0])[:70] for c in COPIED])
@pytest.mark.parametrize("also", [True, False], ids=["live", "at-start"])
def test_copies(house, lines, expected, also):
    """Live: routes are added while the daemon runs. At start: they stood there before it."""
    machine, daemon = house
    before = {name: copies(machine, name) for name in ("eth0", "eth1")}
    wanted = {name: lines | set(expected.get(name, [])) for name, lines in before.items()}
    if not also:
        daemon.stop()
    try:
        machine.ip(*lines)
        if not also:
            daemon.start()
        now(daemon)
        assert {name: copies(machine, name) for name in wanted} == wanted
    finally:
        undo(machine, lines)
    now(daemon)
    assert {name: copies(machine, name) for name in before} == before
    assert daemon.json("status")["status"]["degraded"] == ""


CHANGES = [
    ("route add 192.0.2.0/24 via 10.0.0.1", "192.0.2.0/24 via 10.0.0.1 dev eth0"),
    ("route replace 192.0.2.0/24 via 10.0.0.9", "192.0.2.0/24 via 10.0.0.9 dev eth0"),
    ("route replace 192.0.2.0/24 via 10.0.0.9 mtu 1200",
     "192.0.2.0/24 via 10.0.0.9 dev eth0 mtu 1200"),
    ("route replace 192.0.2.0/24 dev eth0", "192.0.2.0/24 dev eth0 scope link"),
    ("route change 192.0.2.0/24 via 10.0.0.1 src 10.0.0.2",
     "192.0.2.0/24 via 10.0.0.1 dev eth0 src 10.0.0.2"),
    ("route replace 192.0.2.0/24 via 10.0.1.1", None),
    ("route replace unreachable 192.0.2.0/24", None),
    ("route replace 192.0.2.0/24 via 10.0.0.1", "192.0.2.0/24 via 10.0.0.1 dev eth0"),
    ("route del 192.0.2.0/24", None),
    ("-6 route add 2001:db8:9::/48 via fd00::1 dev eth0",
     "2001:db8:9::/48 via fd00::1 dev eth0 metric 1024 pref medium"),
    ("-6 route replace 2001:db8:9::/48 via fd00::9 dev eth0 pref low",
     "2001:db8:9::/48 via fd00::9 dev eth0 metric 1024 pref low"),
    ("-6 route replace 2001:db8:9::/48 dev eth0 proto ra",
     "2001:db8:9::/48 dev eth0 metric 1024 pref medium"),
    ("-6 route del 2001:db8:9::/48", None),
]


def test_copies_follow_every_change(house):
    machine, daemon = house
    before = copies(machine, "eth0")
    for line, expected in CHANGES:
        machine.ip(line)
        now(daemon)
        assert copies(machine, "eth0") - before == ({expected} if expected else set()), line
        assert copies(machine, "eth0") >= before


def test_copies_follow_without_being_asked(house):
    """Nobody asks the daemon for anything: the kernel's own messages are enough."""
    machine, _ = house
    before = copies(machine, "eth0")
    machine.ip("route add 192.0.2.0/24 via 10.0.0.1", "-6 route add 2001:db8:9::/64 via fd00::1")
    wait_for("the copies", lambda: len(copies(machine, "eth0")) == len(before) + 2)
    machine.ip("route del 192.0.2.0/24", "-6 route del 2001:db8:9::/64")
    wait_for("them to go", lambda: copies(machine, "eth0") == before)


def test_a_route_through_a_tunnel_header_is_not_copied_without_it(house):
    """A copy that has lost its encapsulation would send in the clear what was meant to be wrapped:
    it must be the same or not be there."""
    machine, daemon = house
    before = copies(machine, "eth1")
    line = "-6 route add 2001:db8:9::/48 encap seg6 mode encap segs fd00:1::99 dev eth1"
    if machine.run(["ip", *line.split()], check=False).returncode != 0:
        pytest.skip("this kernel has no seg6 routes")
    now(daemon)
    added = copies(machine, "eth1") - before
    machine.ip("-6 route del 2001:db8:9::/48")
    now(daemon)
    assert all("encap seg6" in line for line in added), added


def test_a_foreign_route_in_a_table_of_ours_stays_and_is_no_obstacle(house):
    machine, daemon = house
    table = 1000 + machine.ifindex("eth0")
    machine.ip(f"route add 192.0.2.0/24 via 10.0.0.7 table {table}",
               f"-6 route add 2001:db8:9::/48 via fd00::7 table {table}")
    before = foreign_state(machine)
    now(daemon)
    machine.ip("route add 192.0.2.0/24 via 10.0.0.1", "-6 route add 2001:db8:9::/48 via fd00::1")
    now(daemon)
    try:
        assert daemon.json("status")["status"]["degraded"] == ""
    finally:
        machine.ip("route del 192.0.2.0/24 via 10.0.0.1 table main",
                   "-6 route del 2001:db8:9::/48 via fd00::1 table main")
        now(daemon)
        after = foreign_state(machine)
        machine.run(["ip", "route", "del", "192.0.2.0/24", "via", "10.0.0.7", "table", str(table)],
                    check=False)
        machine.run(["ip", "-6", "route", "del", "2001:db8:9::/48", "via", "fd00::7", "table",
                     str(table)], check=False)
    assert after == before
    daemon.ok("reload")
    assert daemon.json("status")["status"]["degraded"] == ""


# The ways in which VPN programs set things up.


@pytest.mark.parametrize("family,address,server", [("-4", "10.8.0.2/24", SERVER4),
                                                   ("-6", "fd08::2/64", SERVER6)])
def test_wg_quick_beside_us(machine, family, address, server):
    """A full tunnel as wg-quick makes it: a table of its own, `not fwmark`, and main without its
    default route. Who is assigned to an uplink uses it nonetheless, who is assigned to the tunnel
    has it, the others are wg-quick's."""
    daemon = Instance(machine)
    machine.ip("tuntap add mode tun name tun0", "link set tun0 up addrgenmode none",
               f"addr add {address} dev tun0 nodad")
    fd = attach_tun(machine, "tun0", 0x1001)
    try:
        machine.ip(f"{family} route add default dev tun0 table 51820",
                   f"{family} rule add not fwmark 51820 table 51820 prio 32765",
                   f"{family} rule add table main suppress_prefixlength 0 prio 32764")
        before = quiet_state(machine)
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        daemon.ok("assign", f"uid:{BOB}", "tun0")
        assert [c for c in copies(machine, "tun0") if c.startswith("default dev tun0")]
        explained = {u: daemon.json("explain", "--uid", str(u), server)["explanation"]
                     for u in (0, ALICE, BOB)}
        assert {u: e["interface"] for u, e in explained.items()} \
            == {0: "tun0", ALICE: "eth1", BOB: "tun0"}
        assert all(e["kernel_agrees"] for e in explained.values())
        assert machine.source(ALICE, server) == {"-4": "10.0.1.2", "-6": "fd00:1::2"}[family]
        assert machine.source(ALICE, server, kind="udp").startswith(("10.0.1.2", "fd00:1::2"))
        assert daemon.json("verify")["verification"]["proved"]
        os.close(fd)
        fd = None
        daemon.wait_state("tun0", "down")
        assert machine.source(BOB, server) == "EACCES"
        fd = attach_tun(machine, "tun0", 0x1001)
        daemon.wait_state("tun0", "up")
        assert foreign_state(machine)[0] == before[0]
        assert [r for r in before[1] if "51820" in r] == \
            [r for r in foreign_state(machine)[1] if "51820" in r]
    finally:
        if fd is not None:
            os.close(fd)
        daemon.close()


# Many at once.


def batch(machine, lines):
    return machine.popen(["ip", "-force", "-batch", "-"], stdin=subprocess.PIPE,
                         stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True)


def test_a_storm_of_route_changes_settles_and_nobody_has_to_wait(machine, daemon):
    """2000 changes by another process; meanwhile questions and changes are answered in time."""
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    before = {name: copies(machine, name) for name in ("eth0", "eth1")}
    lines = []
    for i in range(500):
        prefix = f"192.{i // 250}.{i % 250}.0/24"
        lines += [f"route add {prefix} via 10.0.0.1", f"route replace {prefix} via 10.0.1.1",
                  f"route replace {prefix} via 10.0.0.9 mtu 1300"]
        lines += [f"route del {prefix}" if i % 2 else f"route replace {prefix} via 10.0.1.9"]
    slowest = 0.0
    with batch(machine, lines) as storm:
        storm.stdin.write("\n".join(lines) + "\n")
        storm.stdin.close()
        asked = 0
        while storm.poll() is None or asked < 6:
            for command in (("status",), ("explain", "--uid", str(ALICE), SERVER4),
                            ("assign", f"uid:{BOB}", ("eth0", "eth1")[asked % 2])):
                start = time.monotonic()
                daemon.ok(*command)
                slowest = max(slowest, time.monotonic() - start)
            asked += 1
    print(f"{asked * 3} calls during the storm, the slowest took {slowest:.3f} s")
    assert slowest < 2.0
    wanted = before["eth1"] | {f"192.{i // 250}.{i % 250}.0/24 via 10.0.1.9 dev eth1"
                               for i in range(0, 500, 2)}
    wait_for("the right state", lambda: copies(machine, "eth1") == wanted)
    assert copies(machine, "eth0") == before["eth0"]
    assert daemon.json("status")["status"]["degraded"] == ""
    assert machine.source(ALICE) == "10.0.1.2"


def test_an_endless_storm_starves_nobody(machine, daemon):
    """Two processes change routes as fast as they can, without a pause, for as long as we ask."""
    flip = "while :; do printf 'route replace 192.0.2.0/24 via 10.0.0.%d\\n' $((RANDOM % 250 + 1));" \
           " done | ip -force -batch -"
    storms = [machine.popen(["bash", "-c", flip], start_new_session=True,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
              for _ in range(2)]
    try:
        for i in range(8):
            for command in (("status",), ("assign", f"uid:{BOB}", ("eth0", "eth1")[i % 2]),
                            ("explain", SERVER4)):
                start = time.monotonic()
                daemon.ok(*command)
                assert time.monotonic() - start < WAIT, command  # starved would be: never
    finally:
        for storm in storms:
            os.killpg(storm.pid, 9)
            storm.wait()
    machine.ip("route replace 192.0.2.0/24 via 10.0.0.251")
    wait_for("the last", lambda: "192.0.2.0/24 via 10.0.0.251 dev eth0" in copies(machine, "eth0"))
    assert our_rules(machine)


def test_a_nexthop_object_that_goes_takes_the_copies_along(house):
    """The kernel drops the IPv4 routes by it without telling of them (nexthop(7))."""
    machine, _ = house
    line = "192.0.2.0/24 via 10.0.1.1 dev eth1"
    machine.ip("nexthop add id 7 via 10.0.1.1 dev eth1", "route add 192.0.2.0/24 nhid 7")
    wait_for("the copy", lambda: line in copies(machine, "eth1"))
    machine.ip("nexthop del id 7")
    wait_for("its end", lambda: line not in copies(machine, "eth1"))
