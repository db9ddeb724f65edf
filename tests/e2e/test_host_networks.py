# SPDX-License-Identifier: LGPL-2.1-or-later
"""The machine's interfaces as networks: which ones are, what they keep, how they follow."""

import fcntl
import os
import signal
import struct

import pytest

from harness import (SERVER4, Instance, Machine, Namespace, foreign_state, in_namespace, our_rules,
                     wait_for)

ALICE = 3001


def now(daemon):
    """The networks, after the daemon has seen all that happened until now: a question about the
    kernel's state brings it up to date first."""
    daemon.json("explain", "127.0.0.1")
    return daemon.networks()


def quiet_state(machine):
    """What is not ours, once the kernel itself has done with new addresses."""
    wait_for("DAD", lambda: "tentative" not in " ".join(machine.show("-6 addr show")))
    return foreign_state(machine)


def attach_tun(namespace, name, flags):
    """Makes a tun or tap and plays the program behind it: while the fd is open, it has carrier."""
    def open_tun():
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        fcntl.ioctl(fd, 0x400454CA, struct.pack("16sH22x", name.encode(), flags))  # TUNSETIFF
        return fd

    return in_namespace(namespace, open_tun)


@pytest.fixture(scope="module")
def house():
    """A machine and a daemon for the tests that put back what they change."""
    machine = Machine()
    daemon = Instance(machine)
    try:
        daemon.start()
        yield machine, daemon
    finally:
        daemon.close()
        machine.close()


@pytest.fixture
def port(house):
    """An interface `lan` that is up and has no address; it goes with the test."""
    machine, daemon = house
    machine.ip("link add lan type veth peer name lanp",
               "link set lanp up", "link set lan addrgenmode none up")
    wait_for("carrier", lambda: "LOWER_UP" in machine.show("link show lan")[0])
    yield house
    machine.run(["ip", "link", "del", "lan"], check=False)
    wait_for("lan to go", lambda: "lan" not in daemon.networks())


# Which interfaces are networks.


def test_the_uplinks_are_networks_at_start_and_nothing_of_others_changes(machine):
    before = quiet_state(machine)
    daemon = Instance(machine)
    try:
        networks = daemon.start().networks()
        assert sorted(networks) == ["eth0", "eth1"]
        for name, network in networks.items():
            assert (network["type"], network["origin"], network["state"], network["interfaces"]) \
                == ("physical", "host", "up", [name])
        assert our_rules(machine) and our_rules(machine, "-6")
        assert foreign_state(machine) == before
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        assert foreign_state(machine) == before
    finally:
        daemon.close()
    assert foreign_state(machine) == before
    assert our_rules(machine) == our_rules(machine, "-6") == []


@pytest.mark.parametrize("address", ["10.9.0.1/24", "fd09::1/64", "10.9.0.1/32", "10.9.0.1 peer "
                                     "10.9.0.2/32", "169.254.7.7/16"])
def test_a_global_address_makes_a_network_and_its_loss_ends_it(port, address):
    machine, daemon = port
    assert "lan" not in now(daemon)
    machine.ip(f"addr add {address} dev lan nodad")
    daemon.wait_state("lan", "up")
    netid = daemon.networks()["lan"]["netid"]
    machine.ip("addr flush dev lan")
    daemon.wait_state("lan", None)
    machine.ip(f"addr add {address} dev lan nodad")
    daemon.wait_state("lan", "up")
    assert daemon.networks()["lan"]["netid"] == netid


def test_it_goes_with_its_last_global_address_only(port):
    machine, daemon = port
    addresses = ["10.9.0.1/24", "10.9.1.1/24", "fd09::1/64", "fd09::2/64"]
    machine.ip(*(f"addr add {a} dev lan nodad" for a in addresses))
    machine.ip("addr add fe80::9/64 dev lan nodad")
    daemon.wait_state("lan", "up")
    for address in addresses:
        assert "lan" in now(daemon), address
        machine.ip(f"addr del {address} dev lan")
    assert "lan" not in now(daemon)


NOT_NETWORKS = {
    "no address": [],
    "IPv6 link-local only": ["addr add fe80::9/64 dev lan nodad"],
    "IPv4 scope link": ["addr add 169.254.9.9/16 dev lan scope link"],
    "IPv4 scope host": ["addr add 10.9.0.1/32 dev lan scope host"],
    "down": ["addr add 10.9.0.1/24 dev lan", "link set lan down"],
    "a bridge's port": ["addr add 10.9.0.1/24 dev lan", "link add br0 type bridge",
                        "link set lan master br0"],
}


@pytest.mark.parametrize("lines", NOT_NETWORKS.values(), ids=NOT_NETWORKS)
def test_these_are_no_networks(port, lines):
    machine, daemon = port
    try:
        machine.ip(*lines)
        assert "lan" not in now(daemon)
        # and the same interface is one without the obstacle: the test can fail
        machine.ip("link set lan up", "link set lan nomaster", "addr replace 10.9.0.9/24 dev lan")
        daemon.wait_state("lan", "up")
    finally:
        machine.run(["ip", "link", "del", "br0"], check=False)


@pytest.mark.parametrize("name", ["docker0", "docker_gwbridge", "br-0a1b2c", "veth3f9a", "virbr0",
                                  "none", "system", "-x", "a^b", "größe"])
def test_interfaces_of_these_names_are_no_networks(house, name):
    machine, daemon = house
    machine.run(["ip", "link", "add", "name", name, "type", "bridge"])
    try:
        machine.run(["ip", "addr", "add", "10.9.0.1/24", "dev", name])
        machine.run(["ip", "link", "set", "dev", name, "up"])
        assert sorted(now(daemon)) == ["eth0", "eth1"]
        machine.run(["ip", "link", "set", "dev", name, "down"])
        machine.run(["ip", "link", "set", "dev", name, "name", "sound", "up"])
        name = "sound"
        wait_for("the sound name", lambda: "sound" in daemon.networks())
    finally:
        machine.run(["ip", "link", "del", "dev", name])


@pytest.mark.parametrize("ignore,networks", [
    (None, ["br0", "eth0", "eth1"]),
    ("ignore = eth1", ["br-1", "br0", "docker0", "eth0"]),
    ("ignore = e*1, br?0 docker[0-9]\nignore=br0", ["br-1", "eth0"]),
    ("ignore =", ["br-1", "br0", "docker0", "eth0", "eth1"]),
    ("ignore = *", []),
])
def test_ignored_interfaces(machine, ignore, networks):
    """Also: what is ignored instead replaces the defaults; loopback is never a network."""
    machine.ip("addr add 10.99.0.1/32 dev lo", "addr add fd99::1/128 dev lo")
    for i, name in enumerate(("br0", "br-1", "docker0")):
        machine.ip(f"link add {name} type bridge", f"addr add 10.9.{i}.1/24 dev {name}",
                   f"link set {name} up")
    daemon = Instance(machine, config=f"[waymark]\n{ignore or ''}\n")
    try:
        assert sorted(daemon.start().networks()) == networks
    finally:
        daemon.close()


def test_an_address_counts_when_duplicate_detection_is_done_with_it(port):
    machine, daemon = port
    conf = "/proc/sys/net/ipv6/conf/lan/"
    machine.run(["sh", "-c", f"echo 100 > {conf}dad_transmits; echo 0 > {conf}accept_dad"])
    machine.run(["sh", "-c", f"echo 1 > {conf}accept_dad"])
    machine.ip("addr add fd09::1/64 dev lan")
    assert "tentative" in " ".join(machine.show("-6 addr show dev lan"))
    assert "lan" not in now(daemon)
    machine.ip("addr del fd09::1/64 dev lan")
    machine.run(["sh", "-c", f"echo 1 > {conf}dad_transmits"])
    machine.ip("addr add fd09::1/64 dev lan")
    daemon.wait_state("lan", "up")
    assert "tentative" not in " ".join(machine.show("-6 addr show dev lan"))


def test_an_address_that_failed_duplicate_detection_does_not_count(port):
    machine, daemon = port
    machine.ip("link set lanp addrgenmode none", "link set lanp down")
    other = Namespace()
    try:
        machine.ip(f"link set lanp netns {other.path}")
        other.ip("link set lanp up", "addr add fd09::1/64 dev lanp nodad")
        machine.run(["sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/lan/accept_dad"])
        machine.ip("addr add fd09::1/64 dev lan")
        wait_for("DAD to fail", lambda: "dadfailed" in " ".join(machine.show("-6 addr show lan")))
        assert "lan" not in now(daemon)
        other.ip("addr del fd09::1/64 dev lanp")
        machine.ip("addr del fd09::1/64 dev lan", "addr add fd09::1/64 dev lan")
        daemon.wait_state("lan", "up")
    finally:
        other.close()


@pytest.mark.parametrize("mode,kind,address", [("tun", "vpn", "10.8.0.2/24"),
                                               ("tun", "vpn", "fd08::2/64"),
                                               ("tap", "physical", "10.8.0.2/24")])
def test_a_tun_is_a_vpn_and_a_tap_is_not(house, mode, kind, address):
    machine, daemon = house
    machine.ip(f"tuntap add mode {mode} name vpn0", "link set vpn0 up",
               f"addr add {address} dev vpn0 nodad")
    fd = None
    try:
        daemon.wait_state("vpn0", "down")  # nobody holds the other end
        assert daemon.networks()["vpn0"]["type"] == kind
        fd = attach_tun(machine, "vpn0", 0x1001 if mode == "tun" else 0x1002)
        daemon.wait_state("vpn0", "up")
        netid = daemon.networks()["vpn0"]["netid"]
        os.close(fd)
        fd = None
        daemon.wait_state("vpn0", "down")
        assert daemon.networks()["vpn0"]["netid"] == netid
    finally:
        if fd is not None:
            os.close(fd)
        machine.ip("link del vpn0")
        daemon.wait_state("vpn0", None)


def test_a_name_that_comes_back_as_another_type_is_a_network_of_that_type(house):
    machine, daemon = house
    machine.ip("link add x0 type bridge", "link set x0 up", "addr add 10.9.0.1/24 dev x0")
    wait_for("x0", lambda: "x0" in daemon.networks())
    netid = daemon.networks()["x0"]["netid"]
    machine.ip("link del x0", "tuntap add mode tun name x0", "link set x0 up",
               "addr add 10.9.0.1/24 dev x0")
    try:
        wait_for("the other type", lambda: now(daemon)["x0"]["type"] == "vpn")
        assert daemon.networks()["x0"]["netid"] == netid
    finally:
        machine.ip("link del x0")
        daemon.wait_state("x0", None)


def test_sixty_interfaces_at_once(machine):
    names = [f"p{i}" for i in range(60)]
    batch = "".join(f"link add {n} type bridge\naddr add 10.{100 + i}.0.1/24 dev {n}\n"
                    f"link set {n} up\n" for i, n in enumerate(names))
    before = quiet_state(machine)
    daemon = Instance(machine)
    try:
        daemon.start()
        machine.run(["ip", "-batch", "-"], input=batch)
        wait_for("60 networks", lambda: set(names) <= set(daemon.networks()))
        networks = daemon.networks()
        assert len({n["netid"] for n in networks.values()}) == 62
        machine.run(["ip", "-batch", "-"], input="".join(f"link del {n}\n" for n in names))
        wait_for("them to go", lambda: sorted(daemon.networks()) == ["eth0", "eth1"])
        machine.run(["ip", "-batch", "-"], input=batch)
        wait_for("60 networks", lambda: set(names) <= set(daemon.networks()))
        assert {n: v["netid"] for n, v in daemon.networks().items()} \
            == {n: v["netid"] for n, v in networks.items()}
        machine.run(["ip", "-batch", "-"], input="".join(f"link del {n}\n" for n in names))
        assert quiet_state(machine) == before
    finally:
        daemon.close()


# What a network keeps.


def table_of(machine, name):
    return 1000 + machine.ifindex(name)


def test_the_netid_stays_across_restarts_and_new_links_of_the_same_name(machine, daemon):
    netids = {n: v["netid"] for n, v in daemon.networks().items()}
    old = table_of(machine, "eth1")
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.stop()
    machine.ip("link del eth1", "link add filler type bridge")
    daemon.start()
    assert "eth1" not in daemon.networks()
    assert machine.source(ALICE) == "EACCES"
    machine.ip("link del filler")
    machine.add_uplink(1, "eth1")
    daemon.wait_state("eth1", "up")
    assert {n: v["netid"] for n, v in daemon.networks().items()} == netids
    new = table_of(machine, "eth1")
    assert new != old
    assert machine.source(ALICE) == "10.0.1.2"
    assert not machine.show(f"route show table {old}")
    assert not [r for r in our_rules(machine) if f"lookup {old} " in r]
    assert [r for r in our_rules(machine) if f"lookup {new} " in r]


def test_a_renamed_interface_is_another_network(machine, daemon):
    netid = daemon.networks()["eth1"]["netid"]
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    before = foreign_state(machine)[0]
    machine.ip("link set eth1 down", "link set eth1 name lan1", "link set lan1 up",
               "route add default via 10.0.1.1 dev lan1 metric 101")
    daemon.wait_state("lan1", "up")
    daemon.wait_state("eth1", None)
    for family in ("-4", "-6"):
        rules = our_rules(machine, family)
        assert not [r for r in rules if "oif eth1 " in r]
        assert [r for r in rules if "oif lan1 " in r]
    assert foreign_state(machine)[0] == before
    assert machine.source(ALICE) == "EACCES", "required was the network eth1"
    assert daemon.networks()["lan1"]["netid"] != netid
    machine.ip("link set lan1 down", "link set lan1 name eth1", "link set eth1 up",
               "route add default via 10.0.1.1 dev eth1 metric 101")
    daemon.wait_state("eth1", "up")
    assert daemon.networks()["eth1"]["netid"] == netid
    wait_for("the way", lambda: machine.source(ALICE) == "10.0.1.2")


def test_names_that_are_swapped_while_nobody_looks(machine, daemon):
    """Two interfaces trade names between two looks: tables and rules must follow the names."""
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.process.send_signal(signal.SIGSTOP)
    machine.ip("link set eth0 down", "link set eth1 down", "link set eth0 name tmp0",
               "link set eth1 name eth0", "link set tmp0 name eth1", "link set eth0 up",
               "link set eth1 up", "route add default via 10.0.0.1 dev eth1",
               "route add default via 10.0.1.1 dev eth0 metric 9")
    daemon.process.send_signal(signal.SIGCONT)
    wait_for("both", lambda: all(n["state"] == "up" for n in now(daemon).values()))
    wait_for("the way", lambda: machine.source(ALICE) == "10.0.0.2")
    assert daemon.json("verify")["verification"]["proved"]


def test_without_carrier_the_rules_are_gone_until_it_returns(machine, daemon):
    table = table_of(machine, "eth1")
    netid = daemon.networks()["eth1"]["netid"]
    rules = {f: our_rules(machine, f) for f in ("-4", "-6")}
    assert [r for r in rules["-4"] if f"lookup {table} " in r]
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    for family in ("-4", "-6"):
        assert not [r for r in our_rules(machine, family)
                    if f"lookup {table} " in r or "oif eth1 " in r]
    machine.router.ip("link set up1 up")
    daemon.wait_state("eth1", "up")
    wait_for("the rules", lambda: {f: our_rules(machine, f) for f in ("-4", "-6")} == rules)
    assert daemon.networks()["eth1"]["netid"] == netid


# What commands do to host networks.


def test_a_network_by_command_takes_the_interface_over_and_gives_it_back(machine, daemon):
    netid = daemon.networks()["eth1"]["netid"]
    daemon.ok("network", "add", "lan", "--interface", "eth1")
    networks = daemon.networks()
    assert sorted(networks) == ["eth0", "lan"]
    assert networks["lan"]["netid"] != netid and networks["lan"]["state"] == "up"
    daemon.ok("assign", f"uid:{ALICE}", "lan")
    assert machine.source(ALICE) == "10.0.1.2"
    daemon.ok("assign", f"uid:{ALICE}", "eth1")  # known, though not there now
    assert machine.source(ALICE) == "EACCES"
    daemon.ok("network", "remove", "lan")
    networks = daemon.networks()
    assert sorted(networks) == ["eth0", "eth1"]
    assert (networks["eth1"]["netid"], networks["eth1"]["origin"]) == (netid, "host")
    assert machine.source(ALICE) == "10.0.1.2"


def test_an_attached_interface_is_no_host_network_until_it_is_detached(machine, daemon):
    netids = {n: v["netid"] for n, v in daemon.networks().items()}
    daemon.ok("network", "add", "both", "--interface", "eth0")
    daemon.ok("network", "attach", "both", "eth1")
    assert sorted(daemon.networks()) == ["both"]
    daemon.ok("network", "detach", "both", "eth1")
    daemon.ok("network", "detach", "both", "eth0")
    networks = daemon.networks()
    assert networks.pop("both")["state"] == "empty"
    assert {n: v["netid"] for n, v in networks.items()} == netids


@pytest.mark.parametrize("restart", [False, True])
def test_a_host_network_that_is_set_keeps_its_netid_and_what_was_set(machine, daemon, restart):
    netid = daemon.networks()["eth0"]["netid"]
    daemon.ok("network", "set", "eth0", "--dns", "192.0.2.53", "--dns", "2001:db8::53",
              "--domain", "example.org")
    if restart:
        daemon.kill().start()
    network = daemon.networks()["eth0"]
    assert (network["netid"], network["origin"], network["dns"], network["domains"]) \
        == (netid, "command", ["192.0.2.53", "2001:db8::53"], ["example.org"])
    machine.ip("addr flush dev eth0")
    assert now(daemon)["eth0"]["netid"] == netid, "it was made by command now"
    daemon.ok("network", "remove", "eth0")
    machine.ip("addr add 10.0.0.2/24 dev eth0")
    assert now(daemon)["eth0"]["netid"] == netid


@pytest.mark.parametrize("command,text", [
    (("remove", "eth0"), "network 'eth0' is interface eth0 of this machine: to leave it out, add "
                         "it to `ignore =` in waymark.conf"),
    (("detach", "eth0", "eth0"), "network 'eth0' is interface eth0 of this machine: attach the "
                                 "interface to another network, or add it to `ignore =` in "
                                 "waymark.conf"),
])
def test_taking_a_host_network_away_is_refused_with_what_to_do(house, command, text):
    machine, daemon = house
    rules = our_rules(machine)
    result = daemon("network", *command)
    assert (result.code, result.err) == (4, f"waymark: {text}\n")
    assert our_rules(machine) == rules and "eth0" in daemon.networks()


def test_a_required_network_that_is_not_there_yet_blocks_until_it_comes(machine, daemon):
    machine.ip("link set eth1 down")
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert machine.source(ALICE, SERVER4) == "EACCES"
    machine.ip("link set eth1 up", "route add default via 10.0.1.1 dev eth1 metric 101")
    wait_for("the way", lambda: machine.source(ALICE) == "10.0.1.2")
