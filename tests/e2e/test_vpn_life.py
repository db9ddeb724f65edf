# SPDX-License-Identifier: LGPL-2.1-or-later
"""How VPNs live and die, and that nothing of their apps leaves by another way meanwhile: with both
back-ends, every packet on the uplinks looked at, the detector proven first. Who may be a VPN, and what it
is given, is in test_vpn_service.py. Numbers in the names of tests are those of android.md §7."""

import contextlib
import os
import select
import signal
import socket
import time

import pytest

from dbus_peer import DBusError
from harness import SERVER4, WAIT, Capture, Instance, our_rules, wait_for
from vpn_fixture import (ADDRESS, APP, OTHER, OWNER, TARGET4, App, Sender, Watch, add, change,
                         consent, consented_app, full, interfaces, machine_of_either_kind, udp,
                         variants, vpns, wait_vpn)

BOTH = {"Addresses": [f"{ADDRESS}/24", "fd99::2/64"], "Routes": ["0.0.0.0/0", "::/0"]}
TUNSETPERSIST = 0x400454CB


@contextlib.contextmanager
def watched(machine, uid=OWNER):
    """A sender, and a proven detector of what it lets out."""
    with Sender(machine, uid) as sender, Watch(machine, sender) as watch:
        watch.prove()
        yield watch


def test_73_from_start_to_end(machine, daemon, app):
    """73: sockets that were open before, too. Steady state, a hundred handovers, and the end."""
    with watched(machine) as watch:
        app.serve()
        app.establish("work", **BOTH)
        watch.begin()
        assert udp(machine, OWNER) == "x"
        for i in range(100):
            app.establish("work", **(BOTH if i % 2 else full()))
        assert watch.leaks() == []
        path = vpns(daemon)["work"]["path"]
        app.establish("work", **BOTH)
        assert vpns(daemon)["work"]["path"] == path
        assert udp(machine, OWNER) == "x"
        assert watch.leaks() == []
        app.call("Disconnect", "s", "work")
        watch.prove()


def test_72_what_is_sent_during_a_handover_is_in_one_of_the_two(machine, daemon, app):
    """72: ways open before others close, and both descriptors can be read. Each datagram comes back by the one
    interface or stays in the other; none is refused."""
    app.establish("work", **full())
    call = machine.start_call(send_many, 400, uid=OWNER)
    for _ in range(10):
        app.establish("work", keep=True, **full())
    sent, errors = call.result()
    assert errors == []
    app.serve(write=False)
    found = []

    def all_of_them():
        found.extend(p for p in app.packets() + app.read_old() if p[1] == TARGET4)
        return len(found) >= sent

    wait_for("all of them", all_of_them)
    assert len(interfaces(machine)) == 11
    app.close()
    wait_for("the interfaces to go", lambda: interfaces(machine) == [])
    wait_for("the VPN to go", lambda: vpns(daemon) == {})


def send_many(n):
    errors = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for i in range(n):
            try:
                sock.sendto(b"%d" % i, (TARGET4, 9))
            except OSError as error:
                errors.append(error.errno)
            time.sleep(0.001)
    return n, errors


def test_63_a_handover_is_one_session(daemon, app):
    """63: the same object, network, and owner; nobody is told that it ended."""
    path, one = app.establish("work", **full())
    since = vpns(daemon)["work"]["Since"]
    assert app.establish("work", **full(Mtu=1300))[0] == path
    vpn = vpns(daemon)["work"]
    assert (vpn["Mtu"], vpn["State"], vpn["Since"]) == (1300, "up", since)
    assert vpn["Interfaces"] != [one]
    assert app.signals() == []


def test_76_77_connections_that_were_open(machine, daemon, app):
    """76, 77: those of covered apps end, those that its program has protected go on, as do others'."""
    app.prepare("work")
    ours, theirs = socket.socketpair()
    with ours, theirs:
        covered, other = (machine.start_call(hold_connection, theirs, uid=uid) for uid in (OWNER, OTHER))
        wait_for("two connections",
                 lambda: len(machine.run(["ss", "-tnH", "dst", SERVER4]).stdout.splitlines()) == 2)
        app.establish("work", **full())
        assert covered.result() == "ended"
        ours.send(b".")
        assert other.result() == "lives"


def hold_connection(told):
    """Until it ends, or until we are told; then it is asked whether it lives."""
    with socket.create_connection((SERVER4, 8000), timeout=WAIT) as sock:
        try:
            assert sock.recv(100)
            if sock not in select.select([sock, told], [], [], WAIT)[0]:
                sock.send(b"x")
            return "lives" if sock.recv(100) == b"more\n" else "ended"
        except ConnectionError:
            return "ended"


# Deaths.

def test_its_program_is_killed(machine, daemon, app):
    """Its apps are blocked, also beyond a restart of the daemon, until it is there again, or taken down."""
    app.establish("work", **BOTH)
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        app.kill()
        wait_vpn(daemon, "work", "blocked")
        assert interfaces(machine) == []
        assert udp(machine, OWNER) not in ("x", "10.0.0.2", "10.0.1.2")
        assert udp(machine, OTHER) == "10.0.0.2"
        daemon.stop()
        daemon.start()
        assert vpns(daemon)["work"]["State"] == "blocked"
        assert watch.leaks() == []
        with App(daemon) as again:
            assert again.prepare("work") and again.ask(True) == "10.0.0.2"
            again.establish("work", **BOTH)
            again.serve()
            assert udp(machine, OWNER) == "x"
            assert watch.leaks() == []
            again.kill()
            wait_vpn(daemon, "work", "blocked")
        assert watch.leaks() == []
        change(daemon, "Down", "s", "work")
        assert vpns(daemon) == {}
        watch.prove()


def test_one_that_may_be_bypassed_blocks_nobody(machine, daemon, app):
    app.establish("work", **full(AllowBypass=True))
    app.kill()
    wait_for("its apps to be free", lambda: udp(machine, OWNER) == "10.0.0.2")
    wait_for("it to be down", lambda: vpns(daemon).get("work", {"State": "down"})["State"] == "down")


def test_the_daemon_is_killed(machine, daemon, app):
    """Nothing is lost meanwhile; the next one takes it over, and its process tells that it is there."""
    _, interface = app.establish("work", **BOTH)
    app.serve()
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        daemon.kill()
        assert udp(machine, OWNER) == "x"
        call = machine.start_call(send_many, 300, uid=OWNER)
        daemon.start()
        assert call.result() == (300, [])
        vpn = vpns(daemon)["work"]
        assert (vpn["State"], vpn["Interfaces"]) == ("up", [interface])
        assert watch.leaks() == []
        app.connect()
        with pytest.raises(DBusError):
            app.call("AddAddress", "ss", "work", "10.99.0.3/32")
        assert app.prepare("work") is True
        app.call("AddAddress", "ss", "work", "10.99.0.3/32")
        assert vpns(daemon)["work"]["State"] == "up" and app.protect() == 0
        _, second = app.establish("work", **BOTH)
        assert second != interface and udp(machine, OWNER) == "x"
        assert watch.leaks() == []


def test_both_are_killed(machine, daemon, app):
    """What nobody saw counts as a death."""
    app.establish("work", **BOTH)
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        daemon.kill()
        app.kill()
        wait_for("the interface to go", lambda: interfaces(machine) == [])
        assert watch.leaks() == []
        daemon.start()
        wait_vpn(daemon, "work", "blocked")
        assert watch.leaks() == []


def test_the_interface_is_deleted_from_outside(machine, daemon, app):
    """Not what its program wanted: its apps stay blocked, and it may establish it again at once."""
    _, interface = app.establish("work", **BOTH)
    app.serve()
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        machine.ip(f"link del {interface}")
        wait_vpn(daemon, "work", "blocked")
        time.sleep(1.2)
        assert vpns(daemon)["work"]["State"] == "blocked"
        assert watch.leaks() == []
        app.establish("work", **BOTH)
        assert udp(machine, OWNER) == "x"
        assert watch.leaks() == []


def test_its_program_closes_it(machine, daemon, app):
    """That is a choice, as Disconnect is."""
    app.establish("work", **full())
    app.close()
    wait_for("the VPN to go", lambda: vpns(daemon) == {})
    assert udp(machine, OWNER) == "10.0.0.2"
    assert app.signals() == [] and app.protect() == 0
    app.establish("work", **full())
    assert vpns(daemon)["work"]["State"] == "up"


def test_a_child_goes_on_with_it(machine, daemon, app):
    """Its descriptors, but not its rights; a new process of the user takes it over."""
    _, interface = app.establish("work", **full())
    child = app.fork_holder()
    app.kill()
    time.sleep(1.2)
    assert vpns(daemon)["work"]["State"] == "up"
    with App(daemon) as again:
        assert again.prepare("work") is True
        again.call("AddAddress", "ss", "work", "10.99.0.3/32")
        _, second = again.establish("work", **full())
        assert vpns(daemon)["work"]["Interfaces"] == [second] != [interface]
        os.kill(child, signal.SIGKILL)
        wait_for("the first one to go", lambda: interfaces(machine) == [second])


def test_another_process_of_the_user_takes_it_over(daemon, app):
    """A new version of the program: the old one is told."""
    app.establish("work", **full())
    with App(daemon) as again:
        again.prepare("work")
        again.establish("work", **full())
        assert app.wait_revoked("work") == "another process took it over"
        assert app.write(b"E" + bytes(19)) == "EIO", "its interface is down, without delay"
        assert again.signals() == []
        assert app.protect() == "EPERM" and again.protect() == 0
        assert vpns(daemon)["work"]["State"] == "up"


def test_an_interface_that_was_made_persistent(machine, daemon, app):
    """Who has a descriptor may do that; it goes with its program all the same."""
    app.establish("work", **full())
    app.ioctl(TUNSETPERSIST, 1)
    app.kill()
    wait_for("the interface to go", lambda: interfaces(machine) == [])
    wait_vpn(daemon, "work", "blocked")


# What the administrator says.

def test_68_lockdown(machine, daemon):
    """68: blocked while it is down, also by choice; its program is not, and nobody else."""
    add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lockdown=True)
    assert vpns(daemon)["work"]["State"] == "blocked"
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        with App(daemon, OTHER) as app:
            assert app.prepare("work") and app.ask(True) == "10.0.0.2"
            assert udp(machine, OWNER) not in ("x", "10.0.0.2", "10.0.1.2")
            app.serve()
            app.establish("work", **full(ExcludeRoutes=["198.51.100.0/24"], AllowBypass=True))
            assert vpns(daemon)["work"]["State"] == "up"
            assert udp(machine, OWNER) not in ("10.0.0.2", "10.0.1.2")
            app.establish("work", **BOTH)
            assert udp(machine, OWNER) == "x"
            change(daemon, "Down", "s", "work")
            assert app.wait_revoked("work") == "it was taken down"
            assert vpns(daemon)["work"]["State"] == "blocked"
            assert udp(machine, OWNER) not in ("x", "10.0.0.2", "10.0.1.2")
            change(daemon, "Up", "s", "work")
            assert app.prepare("work")
            app.establish("work", **BOTH)
            app.call("Disconnect", "s", "work")
        assert watch.leaks() == []
        change(daemon, "SetVpn", "sa{sv}", "work", variants({"Lockdown": False}))
        watch.prove()
        change(daemon, "SetVpn", "sa{sv}", "work", variants({"Lockdown": True}))
        watch.begin()
        assert watch.leaks() == []
        change(daemon, "RemoveVpn", "s", "work")
        watch.prove()


@pytest.mark.parametrize("machine", ["maps"], indirect=True)  # with rules: docs/rules.md
def test_81_under_lockdown_nothing_comes_in_by_another_way(machine, daemon):
    """81: packets of others, too, to a port that it has open."""
    add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lockdown=True)
    call = machine.start_call(hear, 9999, uid=OWNER)
    free = machine.start_call(hear, 9998, uid=APP)
    wait_for("both to listen", lambda: len(machine.run(["ss", "-Hlun"]).stdout.splitlines()) == 2)
    for _ in range(10):
        machine.router.call(say, 9999)
        machine.router.call(say, 9998)
        time.sleep(0.1)
    for port in (9999, 9998):
        machine.call(say, port, "127.0.0.1", b"end")
    assert free.result() == {b"hello"}
    assert call.result() == set()


def hear(port):
    """All that is said until the end."""
    heard = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        while (text := sock.recv(100)) != b"end":
            heard.add(text)
    return heard


def say(port, to="10.0.0.2", text=b"hello"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(text, (to, port))


def test_61_boot_with_lockdown_before_its_program_starts(machine):
    """61: from the configuration, which survives everything."""
    daemon = Instance(machine, config=f"[vpn work]\nowner = uid:{OTHER}\napps = uid:{OWNER}\n"
                                      "lockdown = yes\n")
    try:
        with watched(machine) as watch:
            daemon.start()
            watch.begin()
            assert vpns(daemon)["work"]["Origin"] == "config"
            with App(daemon, OTHER) as app:
                app.establish("work", **BOTH)
                app.serve()
                assert udp(machine, OWNER) == "x"
                daemon.stop()
                daemon.start()
                assert udp(machine, OWNER) == "x"
                assert vpns(daemon)["work"]["State"] == "up"
            wait_vpn(daemon, "work", "blocked")
            assert watch.leaks() == []
    finally:
        daemon.close()


def test_an_uplink_goes_and_another_comes(machine, daemon, app):
    """The VPN stays; its transport moves; its apps see nothing of it."""
    app.prepare("work")
    app.establish("work", **BOTH)
    app.serve()
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        machine.ip("link set eth0 down")
        wait_for("the other one", lambda: app.ask(True) == "10.0.1.2")
        assert udp(machine, OWNER) == "x"
        machine.ip("link set eth0 up", "route add default via 10.0.0.1 dev eth0 metric 100")
        wait_for("the first one", lambda: app.ask(True) == "10.0.0.2")
        assert udp(machine, OWNER) == "x"
        assert watch.leaks() == []


def test_routes_that_the_uplink_injects(machine, daemon, app):
    """TunnelVision: more specific ones than the VPN's, by DHCP, say."""
    app.establish("work", **BOTH)
    app.serve()
    with Sender(machine) as sender, Watch(machine, sender) as watch:
        watch.begin()
        machine.ip("route add 198.51.100.0/24 via 10.0.0.1 dev eth0",
                   "route add 198.51.100.77/32 via 10.0.1.1 dev eth1",
                   "-6 route add 2001:db8:1::77/128 via fd00:0::1 dev eth0")
        assert udp(machine, OTHER) == "10.0.0.2"
        assert udp(machine, OWNER) == "x"
        assert watch.leaks() == []


# Adopted ones.

def test_adopted_with_lockdown(machine, daemon):
    """By its name: also when it is gone, and when it comes back as another one."""
    with watched(machine) as watch:
        machine.ip("link add wg0 type veth peer name wg1", "addr add 10.97.0.2/24 dev wg0",
                   "link set wg0 arp off up", "link set wg1 up")
        add(daemon, "work", Kind="adopted", Interfaces=["wg0"], Allowed=[f"uid:{OWNER}"],
            Lockdown=True, Addresses=["10.97.0.2/24"], Routes=["0.0.0.0/0"])
        watch.begin()
        wait_vpn(daemon, "work", "up")
        before = machine.ifindex("wg0")
        leaves_by(machine, "wg0", watch)
        machine.ip("link del wg0")
        wait_vpn(daemon, "work", "blocked")
        assert watch.leaks() == []
        daemon.kill()
        machine.ip("link add wg0 type veth peer name wg1", "addr add 10.97.0.2/24 dev wg0",
                   "link set wg0 arp off up", "link set wg1 up")
        daemon.start()
        wait_vpn(daemon, "work", "up")
        assert machine.ifindex("wg0") != before
        leaves_by(machine, "wg0", watch)
        change(daemon, "Down", "s", "work")
        assert vpns(daemon)["work"]["State"] == "blocked"
        assert watch.leaks() == []
        change(daemon, "Up", "s", "work")
        wait_vpn(daemon, "work", "up")
        change(daemon, "RemoveVpn", "s", "work")
        watch.prove()


def leaves_by(machine, name, watch):
    """The sender's datagrams leave by this interface."""
    capture = Capture(machine)
    watch.sender.settle()
    wait_for(f"something on {name}", lambda: any(p[0] == name and p[2] == TARGET4
                                                 for p in capture.packets()))
    capture.close()


def test_adopted_without_lockdown(machine, daemon):
    machine.ip("link add wg0 type veth peer name wg1", "addr add 10.97.0.2/24 dev wg0",
               "link set wg0 arp off up", "link set wg1 up")
    add(daemon, "work", Kind="adopted", Interfaces=["wg0"], Allowed=[f"uid:{OWNER}"],
        Addresses=["10.97.0.2/24"], Routes=["0.0.0.0/0"])
    wait_vpn(daemon, "work", "up")
    assert udp(machine, OWNER) not in ("10.0.0.2", "10.0.1.2")
    change(daemon, "Down", "s", "work")
    assert vpns(daemon)["work"]["State"] == "down"
    assert udp(machine, OWNER) == "10.0.0.2"


def test_nothing_is_left_after_panic_off(machine, daemon, app):
    app.establish("work", **BOTH)
    daemon.ok("panic-off")
    assert our_rules(machine) == [] and udp(machine, OWNER) == "10.0.0.2"
    daemon.ok("reload")
    app.serve()
    assert udp(machine, OWNER) == "x"
