# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs without any privilege as VPNs: who may be one, for whom, and what they are given. Their life and
death is in test_vpn_life.py. Numbers in the names of tests are those of android.md §7."""

import contextlib
import itertools
import errno
import fcntl
import os
import resource
import struct
import subprocess

import pytest

from dbus_peer import VPN_SERVICE, DBusError, Peer
from harness import SERVER4, SERVER6, Capture, Instance, our_rules, wait_for
from vpn_fixture import (ADDRESS, APP, OTHER, OWNER, App, add, admin, change, consent, full,
                         interfaces, udp, variants, vpns)

DENIED, INVALID = ("org.freedesktop.DBus.Error.AccessDenied",
                   "org.freedesktop.DBus.Error.InvalidArgs")
TUNGETIFF, IFF_VNET_HDR, IFF_MULTI_QUEUE = 0x800454D2, 0x4000, 0x0100


@pytest.fixture(name="app")
def make_app(daemon):
    consent(daemon)
    with App(daemon) as app:
        yield app


@contextlib.contextmanager
def error(name, text=""):
    with pytest.raises(DBusError) as raised:
        yield
    wanted = name if "." in name else f"System.Error.{name}"
    assert raised.value.name == wanted, raised.value
    assert text in raised.value.text, raised.value


def leaked(capture, uid_sources=("10.0.0.2", "10.0.1.2", ADDRESS)):
    """Datagrams to the server that left by an uplink."""
    return [p for p in capture.packets() if p[0].startswith("eth") and p[1] in uid_sources
            and p[2] in (SERVER4, SERVER6)]


def test_from_prepare_to_disconnect(daemon, machine, app):
    """The whole life of one, by a process without any capability."""
    assert udp(machine, OWNER) == "10.0.0.2"
    assert app.prepare("work") is True
    path, interface = app.establish("work", **full(Session="Work", Dns=["10.99.0.1"], Mtu=1400))
    assert path.startswith("/org/waymark1/vpn/") and interface.startswith("wmtun")
    vpn = vpns(daemon)["work"]
    assert (vpn["path"], vpn["Kind"], vpn["Origin"], vpn["OwnerUid"], vpn["State"]) \
        == (path, "service", "runtime", OWNER, "up")
    assert (vpn["Interfaces"], vpn["Session"], vpn["Addresses"], vpn["Routes"], vpn["Dns"],
            vpn["Mtu"]) == ([interface], "Work", [f"{ADDRESS}/24"], ["0.0.0.0/0"], ["10.99.0.1"],
                            1400)
    assert vpn["Since"] > 0
    app.serve()
    assert udp(machine, OTHER) == "10.0.0.2"
    capture = Capture(machine)
    assert udp(machine, OWNER) == "x"
    assert (ADDRESS, SERVER4, 17) in app.packets()
    assert leaked(capture) == []
    app.call("Disconnect", "s", "work")
    assert vpns(daemon) == {}
    assert udp(machine, OWNER) == "10.0.0.2"
    assert [p for p in leaked(capture) if p[1] == ADDRESS] == []
    capture.close()
    assert interfaces(machine) == [interface]  # and can be read, until…
    app.close()
    wait_for("the interface to go", lambda: interfaces(machine) == [])


def test_no_machine_wide_effects(daemon, machine, app):
    """Nothing of it is in tables that are not its network's: no on-link route, no broadcast address, and no
    addresses that nobody asked for."""
    before = [machine.show(f"{f} route show table all") for f in ("-4", "-6")]
    _, interface = app.establish("work", Addresses=["10.99.0.2/1", "fd99::2/8"], Routes=["0.0.0.0/0"])
    four = [line for line in machine.show("-4 route show table all")
            if line not in before[0] and "proto 119" not in line]
    six = [line for line in machine.show("-6 route show table all")
           if line not in before[1] and "proto 119" not in line]
    assert four == [f"local 10.99.0.2 dev {interface} table local proto kernel scope host "
                    "src 10.99.0.2"]
    assert sorted(line.split(" proto")[0] for line in six) == [
        f"local fd99::2 dev {interface} table local",
        f"multicast ff00::/8 dev {interface} table local"]
    assert sorted(line.split()[3] for line in machine.show(f"-o addr show dev {interface}")) \
        == ["10.99.0.2/32", "fd99::2/128"]
    assert interface not in daemon.networks()


@pytest.mark.parametrize("of_all, own", [(0, 0), (1, 2), (2, 0)])
def test_a_strict_reverse_path_filter(machine, app, of_all, own):
    """It would drop the answers; a loose one those of a machine without a default route."""
    machine.run(["sysctl", "-qw", f"net.ipv4.conf.all.rp_filter={of_all}",
                 "net.ipv4.conf.default.rp_filter=0"])
    _, interface = app.establish("work", **full())
    name = f"net.ipv4.conf.{interface}.rp_filter"
    assert machine.run(["sysctl", "-n", name]).stdout == f"{own}\n"


# Consent.

def test_60_prepare_without_and_with_consent(daemon):
    """60: who may not be it is told so; nobody is asked. (Names are not packages: they are nobody's.)"""
    with App(daemon) as app:
        assert app.prepare("work") is False
        with error(DENIED, "you have no consent to make VPNs"):
            app.prepare("work", Interactive=True)
        with error(DENIED, f"waymark vpn consent uid:{OWNER}"):
            app.establish("work", **full())
        assert app.protect() == "EPERM"
        consent(daemon)
        assert app.prepare("work") is True
        assert app.protect() == 0
        assert app.prepare("work", Everyone=True) is False
        with error(DENIED, "for everyone"):
            app.prepare("work", Everyone=True, Interactive=True)
        consent(daemon, everyone=True)
        assert app.prepare("work", Everyone=True) is True
        app.establish("work", **full())
        assert vpns(daemon)["work"]["Everyone"] is True


def test_consents_are_listed_replaced_and_revoked(daemon):
    with admin(daemon) as root, Peer(daemon.socket, OTHER) as other:
        assert other.call("ListConsents", interface=VPN_SERVICE) == [[]]
        consent(daemon, "uid:7")
        consent(daemon, "exe:/usr/bin/vpn", True)
        consent(daemon, "uid:7", True)
        assert other.call("ListConsents", interface=VPN_SERVICE) \
            == [[("uid:7", True), ("exe:/usr/bin/vpn", True)]]
        for who, name in (("cgroup:/a", INVALID), ("x", INVALID)):
            with error(name):
                root.call("Consent", "sb", who, False, interface=VPN_SERVICE)
        with error("ESRCH"):
            root.call("RevokeConsent", "s", "uid:8", interface=VPN_SERVICE)
        for member, args in (("Consent", ("sb", "uid:5002", True)), ("RevokeConsent", ("s", "uid:7"))):
            with error(DENIED):
                other.call(member, *args, interface=VPN_SERVICE)
        root.call("RevokeConsent", "s", "uid:7", interface=VPN_SERVICE)
    daemon.stop()
    daemon.start()
    with admin(daemon) as root:
        assert root.call("ListConsents", interface=VPN_SERVICE) == [[("exe:/usr/bin/vpn", True)]]


def test_a_program_is_consented_to_by_its_file(daemon):
    """Not by its name."""
    consent(daemon, f"exe:{os.path.realpath('/proc/self/exe')}")
    with App(daemon, OTHER) as app:
        assert app.prepare("work") is True
    consent(daemon, "exe:/usr/bin/true")
    change(daemon, "RevokeConsent", "s", f"exe:{os.path.realpath('/proc/self/exe')}")
    with App(daemon, OTHER) as app:
        assert app.prepare("work") is False


def test_root_needs_no_consent(daemon, machine):
    with App(daemon, uid=0) as app:
        assert app.prepare("work", Everyone=True) is True
        app.establish("work", **full(Allowed=[f"uid:{APP}"]))
        app.serve()
        assert udp(machine, APP) == "x"
        assert udp(machine, OTHER) == "10.0.0.2"


def test_revoking_the_consent_ends_the_vpn(daemon, machine, app):
    """The interface is down before anybody is told, and the right to protect is gone."""
    _, interface = app.establish("work", **full())
    app.serve()
    change(daemon, "RevokeConsent", "s", f"uid:{OWNER}")
    assert app.wait_revoked("work") == "the consent was revoked"
    assert "UP" not in machine.show(f"link show {interface}")[0].split("<")[1].split(">")[0].split(",")
    assert vpns(daemon) == {}
    assert app.protect() == "EPERM"
    assert udp(machine, OWNER) == "10.0.0.2"
    with error(DENIED):
        app.establish("work", **full())


def test_only_its_process_is_the_vpn(daemon, app):
    """39: neither another program of the user nor a child that has all of its descriptors may protect or
    change anything."""
    assert app.protect() == "EPERM"
    app.prepare("work")
    assert app.protect() == 0
    app.establish("work", **full())
    assert app.in_child("protect") == "EPERM"
    with App(daemon) as same, App(daemon, OTHER) as other:
        assert same.protect() == "EPERM" and other.protect() == "EPERM"
        for call in (("Disconnect", "s", "work"), ("AddAddress", "ss", "work", "10.99.0.3/32"),
                     ("SetUnderlying", "sbas", "work", True, []),
                     ("ReportState", "sss", "work", "failed", "")):
            with error("EPERM"):
                same.call(*call)
            with error("EPERM"):
                other.call(*call)
        consent(daemon, f"uid:{OTHER}")
        with error("EPERM", f"is user {OWNER}'s"):
            other.prepare("work")
    assert vpns(daemon)["work"]["State"] == "up"


def test_39_protected_sockets_leave_by_the_default_network(daemon, machine, app):
    """39: those of its process, and no others of its user; before and after it is established."""
    app.prepare("work")
    assert app.ask(True) == "10.0.0.2"
    app.establish("work", **full())
    app.serve()
    assert app.ask(True) == "10.0.0.2"
    assert app.ask(False) == "x"
    assert udp(machine, OWNER) == "x"


# For whom.

def test_102_only_the_users_own_apps(daemon, machine, app):
    """102: what may be somebody else's takes consent for everyone."""
    for selector in (f"uid:{OTHER}", f"uid:{OWNER}-{OTHER}", "uid:0"):
        for key in ("Allowed", "Disallowed"):
            with error("EPERM"):
                app.establish("work", **full(**{key: [selector]}))
    app.establish("work", **full(Allowed=[f"uid:{OWNER}"]))
    app.serve()
    assert udp(machine, OWNER) == "x" and udp(machine, OTHER) == "10.0.0.2"
    assert interfaces(machine) == vpns(daemon)["work"]["Interfaces"]


def test_78_apps_that_are_disallowed_are_not_on_it(daemon, machine):
    """78: nor is any packet of theirs."""
    consent(daemon, everyone=True)
    with App(daemon) as app:
        app.prepare("work", Everyone=True)
        app.establish("work", **full(Disallowed=[f"uid:{APP}"]))
        app.serve()
        assert udp(machine, OTHER) == "x"
        app.packets()
        assert udp(machine, APP) == "10.0.0.2"
        assert udp(machine, 0) == "10.0.0.2"
        assert [p for p in app.packets() if p[1] == SERVER4] == []


def test_two_at_the_same_time(daemon, machine):
    """With apps of their own each; what Android cannot."""
    for uid in (OWNER, OTHER):
        consent(daemon, f"uid:{uid}")
    with App(daemon) as one, App(daemon, OTHER) as two:
        one.establish("one", **full())
        two.establish("two", **full(Addresses=["10.98.0.2/24"]))
        one.serve()
        two.serve()
        assert udp(machine, OWNER) == "x" and udp(machine, OTHER) == "x"
        assert (ADDRESS, SERVER4, 17) in one.packets()
        assert ("10.98.0.2", SERVER4, 17) in two.packets()
        assert len({vpn["path"] for vpn in vpns(daemon).values()}) == 2
        two.kill()
        assert udp(machine, OWNER) == "x"


def test_another_one_of_the_same_user_takes_its_apps(daemon, machine, app):
    """Make before break: the incumbent is told when the new one stands."""
    _, first = app.establish("one", **full())
    with App(daemon) as two:
        two.establish("two", **full(Addresses=["10.98.0.2/24"]))
        two.serve()
        assert app.wait_revoked("one") == "VPN 'two' has its apps now"
        assert list(vpns(daemon)) == ["two"]
        assert udp(machine, OWNER) == "x"
        assert "UP" not in machine.show(f"link show {first}")[0].split(">")[0].split("<")[1].split(",")


def test_who_does_not_give_way(daemon, machine, app):
    """Another user's, and one under lockdown."""
    consent(daemon, f"uid:{OTHER}", everyone=True)
    app.establish("one", **full())
    app.serve()
    with App(daemon, OTHER) as other:
        other.prepare("two", Everyone=True)
        with error("EBUSY", "one"):
            other.establish("two", **full(Addresses=["10.98.0.2/24"]))
        assert len(interfaces(machine)) == 1 and other.n_open() == 0
        assert udp(machine, OWNER) == "x"
        assert list(vpns(daemon)) == ["one"]
        change(daemon, "SetVpn", "sa{sv}", "one", variants({"Lockdown": True}))
        with App(daemon, 0) as root:
            with error("EBUSY"):
                root.establish("three", **full(Addresses=["10.98.0.2/24"],
                                               Allowed=[f"uid:{OWNER}"]))
        assert udp(machine, OWNER) == "x"


def test_root_s_takes_them(daemon, machine, app):
    app.establish("one", **full())
    with App(daemon, 0) as root:
        root.establish("two", **full(Addresses=["10.98.0.2/24"], Allowed=[f"uid:{OWNER}"]))
        root.serve()
        app.wait_revoked("one")
        assert udp(machine, OWNER) == "x"


def test_a_profile_says_whose_it_is(daemon, machine):
    add(daemon, "work", Owner=f"uid:{OWNER}", Allowed=[f"uid:{APP}"])
    with App(daemon, OTHER) as other, App(daemon) as app:
        consent(daemon, f"uid:{OTHER}", everyone=True)
        with error("EPERM", f"is uid:{OWNER}'s"):
            other.prepare("work")
        assert app.prepare("work") is True  # that is its consent
        app.establish("work", **full(Allowed=["uid:1"]))  # the administrator's list counts
        app.serve()
        assert udp(machine, APP) == "x" and udp(machine, OWNER) == "10.0.0.2"
        assert vpns(daemon)["work"]["Allowed"] == [f"uid:{APP}"]
        app.call("Disconnect", "s", "work")
        assert vpns(daemon)["work"]["State"] == "down"
        assert udp(machine, APP) == "10.0.0.2"


# Parameters.

def test_what_is_not_asked_for_is_blocked(machine, app):
    """A family without address, route, DNS server or allowFamily; a destination under a route that is there."""
    app.establish("work", **full(Routes=["198.51.100.0/24"]))
    app.serve()
    assert udp(machine, OWNER) == "x"
    assert udp(machine, OWNER, SERVER6) in ("EHOSTUNREACH", "ENETUNREACH", "EACCES", "EPERM")
    app.establish("work", **full(Routes=["198.51.100.0/24"], AllowFamilies=["inet6"]))
    assert udp(machine, OWNER, SERVER6) == "fd00:0::2".replace(":0::", "::") or \
        udp(machine, OWNER, SERVER6).startswith("fd00:")


def test_79_excluded_routes(machine, app):
    """79: the longest prefix holds."""
    app.establish("work", **full(ExcludeRoutes=["198.51.100.0/24"]))
    app.serve()
    assert udp(machine, OWNER) == "10.0.0.2"
    app.establish("work", **full(Routes=["0.0.0.0/0", "198.51.100.1/32"],
                                 ExcludeRoutes=["198.51.100.0/24"]))
    assert udp(machine, OWNER) == "x"


def test_82_bypassable_and_secure(machine, app):
    """82: of a bypassable VPN its apps may choose the uplink, of a secure one not."""
    app.establish("work", **full(AllowBypass=True))
    app.serve()
    assert udp(machine, OWNER) == "x"
    assert udp(machine, OWNER, device="eth1") == "10.0.1.2"
    app.establish("work", **full())
    capture = Capture(machine)
    assert udp(machine, OWNER, device="eth1") in ("EPERM", "EACCES", "ENETUNREACH", "EHOSTUNREACH")
    assert leaked(capture) == []
    capture.close()


def test_80_metered_is_what_was_said(daemon, app):
    """80: nothing else is known of it: networks here have no meter."""
    for value, text in ((True, "yes"), (False, "no")):
        app.establish("work", **full(Metered=value))
        assert vpns(daemon)["work"]["Metered"] == text
    app.establish("work", **full())
    assert vpns(daemon)["work"]["Metered"] == "default"


def test_74_the_proxy_is_told(daemon, app):
    app.establish("work", **full(HttpProxy="proxy.example:3128"))
    assert vpns(daemon)["work"]["HttpProxy"] == "proxy.example:3128"


def test_descriptors_as_they_were_asked_for(machine, app):
    _, interface = app.establish("work", **full())
    assert [bool(flags & os.O_NONBLOCK) for flags in app.flags()] == [True]
    app.establish("work", **full(Blocking=True))
    assert [bool(flags & os.O_NONBLOCK) for flags in app.flags()] == [False]
    _, interface = app.establish("work", **full(Queues=4, Offloads=True, Mtu=9000))
    assert len(app.flags()) == 4
    name, flags = struct.unpack("16sH", app.ioctl(TUNGETIFF, bytes(40))[:18])
    assert name.rstrip(b"\0").decode() == interface
    assert flags & IFF_VNET_HDR and flags & IFF_MULTI_QUEUE
    shown = machine.show(f"-d link show {interface}")
    assert "mtu 9000" in shown[0]
    assert app.n_open() == 4


def test_a_queue_is_not_for_others(daemon, machine, app):
    """/dev/net/tun is open to everybody, but nobody gets a share of its packets."""
    _, interface = app.establish("work", **full(Queues=2))

    assert machine.call(attach_queue, interface, 0) == "attached"  # the detector
    for uid in (OTHER, OWNER):
        assert machine.call(attach_queue, interface, uid) == "EPERM"
    assert vpns(daemon)["work"]["State"] == "up"


def attach_queue(interface, uid):
    """As a user of a machine on which the device is everybody's, as on Debian."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    os.setresuid(uid, uid, uid)
    request = struct.pack("16sH22x", interface.encode(), 0x0001 | 0x1000 | IFF_MULTI_QUEUE)
    try:
        fcntl.ioctl(fd, 0x400454CA, request)  # TUNSETIFF
        return "attached"
    except OSError as problem:
        return errno.errorcode[problem.errno]
    finally:
        os.close(fd)


@pytest.mark.parametrize("parameters,text", [
    ({}, "address"), ({"Addresses": ["127.0.0.1/8"]}, "127.0.0.1"),
    ({"Addresses": ["0.0.0.0/0"]}, "0.0.0.0"), ({"Addresses": ["10.0.0.2/33"]}, "10.0.0.2/33"),
    ({"Addresses": ["x"]}, "x"), (full(Mtu=0), "MTU"), (full(Mtu=67), "MTU"),
    (full(Routes=["10.0.0.1/8"]), "10.0.0.1/8"), (full(Routes=["127.0.0.0/8"]), "127"),
    (full(Dns=["127.0.0.53"]), "127.0.0.53"), (full(AllowFamilies=["ipx"]), "ipx"),
    (full(Queues=0), "1"), (full(Queues=17), "16"), (full(Allowed=["x"]), "x"),
    (full(HttpProxy="x"), "x"), (full(Session="s" * 129), "128"),
], ids=str)
def test_parameters_that_are_none(daemon, machine, app, parameters, text):
    """And nothing was."""
    app.prepare("work")
    with error(INVALID, text):
        app.establish("work", **parameters)
    assert interfaces(machine) == [] and vpns(daemon) == {} and app.n_open() == 0


def test_allowed_and_disallowed_at_once(machine, app):
    with error("EPERM"):
        app.establish("work", **full(Allowed=[f"uid:{OWNER}"], Disallowed=[f"uid:{OWNER}"]))
    assert interfaces(machine) == []


def test_names_that_are_taken(daemon, machine, app):
    with error("EEXIST", "eth1"):
        app.prepare("eth1")
    with error(INVALID):
        app.prepare("a/b")
    add(daemon, "wg", Kind="adopted", Interfaces=["wg0"], Allowed=["uid:7"])
    with error(INVALID, "adopted"):
        app.prepare("wg")
    assert interfaces(machine) == []


def test_who_wants_no_descriptors_gets_none(machine, app):
    app.connect(descriptors=False)
    with error("EOPNOTSUPP", "NEGOTIATE_UNIX_FD"):
        app.establish("work", **full())
    assert interfaces(machine) == []


# While it is established.

def test_addresses_come_and_go(daemon, machine, app):
    _, interface = app.establish("work", **full())
    app.call("AddAddress", "ss", "work", "fd99::2/64")
    assert vpns(daemon)["work"]["Addresses"] == [f"{ADDRESS}/24", "fd99::2/64"]
    assert "fd99::2/128" in " ".join(machine.show(f"-o addr show dev {interface}"))
    for bad in ("127.0.0.1/8", "x"):
        with error(INVALID):
            app.call("AddAddress", "ss", "work", bad)
    with error("EADDRNOTAVAIL"):
        app.call("RemoveAddress", "ss", "work", "10.99.0.77/24")
    app.call("RemoveAddress", "ss", "work", f"{ADDRESS}/24")
    with error(INVALID, "address"):
        app.call("RemoveAddress", "ss", "work", "fd99::2/64")
    assert vpns(daemon)["work"]["Addresses"] == ["fd99::2/64"]
    assert ADDRESS not in " ".join(machine.show(f"-o addr show dev {interface}"))
    assert vpns(daemon)["work"]["Interfaces"] == [interface]


def test_67_underlying_networks(daemon, app):
    """67: what there is to say of them."""
    app.establish("work", **full())
    assert vpns(daemon)["work"]["Underlying"] == ["default"]
    for by_default, names in ((False, ["eth0", "eth1"]), (False, []), (True, ["default"])):
        app.call("SetUnderlying", "sbas", "work", by_default, [] if by_default else names)
        assert vpns(daemon)["work"]["Underlying"] == names
    with error(INVALID):
        app.call("SetUnderlying", "sbas", "work", True, ["eth0"])
    app.establish("work", **full(Underlying=["eth1"]))
    assert vpns(daemon)["work"]["Underlying"] == ["eth1"]


def test_62_its_program_says_how_it_is(daemon, app):
    """62: that is what a desktop's notification is made of."""
    with App(daemon, OTHER) as watcher:
        watcher.connect()
        app.establish("work", **full())
        for state, shown in (("connecting", "connecting"), ("failed", "failed"),
                             ("connected", "up")):
            app.call("ReportState", "sss", "work", state, "so it is")
            vpn = vpns(daemon)["work"]
            assert (vpn["State"], vpn["Reason"]) == (shown, "so it is")
        with error(INVALID):
            app.call("ReportState", "sss", "work", "happy", "")
    app.call("Disconnect", "s", "work")
    with error("ENONET"):
        app.call("AddAddress", "ss", "work", "10.99.0.3/32")


# Failures: at each step, with the one that stands already.

@contextlib.contextmanager
def few_files(daemon, spare):
    """The daemon may open so many files more than it has."""
    limit = resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE)
    daemon.idle_files()
    used = {int(fd) for fd in os.listdir(f"/proc/{daemon.process.pid}/fd")}
    free = (n for n in itertools.count() if n not in used)
    n = next(itertools.islice(free, spare, None))  # the first number that it may not have
    resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, (n, limit[1]))
    try:
        yield
    finally:
        resource.prlimit(daemon.process.pid, resource.RLIMIT_NOFILE, limit)


@contextlib.contextmanager
def assigned(daemon):
    """The administrator has assigned an app by himself."""
    daemon.ok("assign", f"uid:{OTHER}", "eth1")
    yield
    daemon.ok("unassign", f"uid:{OTHER}")


WRONG = {"Addresses": ["ff02::5/128"]}  # that the kernel does not take, if nobody did before
FAILURES = {
    "no file for the first queue": (lambda d: few_files(d, 0), {}),
    "no file for the fourth queue": (lambda d: few_files(d, 3), {"Queues": 8}),
    "an address": (lambda d: contextlib.nullcontext(), WRONG),
    "an app of the administrator's": (assigned, {"Allowed": [f"uid:{OWNER}", f"uid:{OTHER}"]}),
}


@pytest.mark.parametrize("failure", FAILURES)
def test_failures_at_each_step_of_establish(daemon, machine, failure):
    """The VPN that stands keeps working; no interface, rule or descriptor is left."""
    consent(daemon, everyone=True)
    how, parameters = FAILURES[failure]
    with App(daemon) as app:
        app.prepare("work", Everyone=True)
        first = full(Allowed=[f"uid:{OWNER}"])
        app.establish("work", **first)
        app.serve()
        assert udp(machine, OWNER) == "x"
        def now():
            return (interfaces(machine), our_rules(machine), our_rules(machine, "-6"), vpns(daemon),
                    machine.show("route show table all"), daemon.open_files())

        now()
        before = wait_for("the same thing twice", lambda: (a := now()) == now() and a)
        with how(daemon), pytest.raises(DBusError):
            app.establish("work", **(first | parameters))
        wait_for("all to be as before", lambda: before == now())
        assert app.n_open() == 1
        assert udp(machine, OWNER) == "x"
        app.establish("work", **first)
        assert udp(machine, OWNER) == "x"


def test_a_state_file_that_cannot_be_written(machine):
    """It is the last step: the new interface is in the kernel's tables already."""
    daemon = Instance(machine)
    state = daemon.folder / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(state)], check=True)
    try:
        daemon.start()
        consent(daemon)
        with App(daemon) as app:
            app.establish("work", **full())
            app.serve()
            with open(state / "filler", "wb") as filler, contextlib.suppress(OSError):
                filler.write(b"x" * 65536)
                filler.flush()
            with error("ENOSPC"):
                for _ in range(200):
                    _, interface = app.establish("work", **full())
            assert vpns(daemon)["work"]["Interfaces"] == [interface] == interfaces(machine)
            assert app.n_open() == 1
            assert udp(machine, OWNER) == "x"
            os.unlink(state / "filler")
            app.establish("work", **full())
            assert udp(machine, OWNER) == "x"
    finally:
        daemon.stop()
        subprocess.run(["umount", str(state)], check=True)
        daemon.close()


def test_without_a_tun_device(daemon, machine):
    daemon.stop()
    daemon.private("/dev/net")
    daemon.start()
    consent(daemon)
    with App(daemon) as app:
        with error("ENODEV", "/dev/net/tun"):
            app.establish("work", **full())
    assert interfaces(machine) == [] and vpns(daemon) == {}


def test_one_user_cannot_have_them_all(daemon, app):
    for i in range(64):
        app.prepare(f"v{i}")
    with error("EUSERS"):
        app.prepare("v64")


def test_events_are_told_in_their_order(daemon, machine, app):
    """The interface goes, and the VPN is blocked for it; not the other way round."""
    told = []

    def hear(peer):
        told.extend(args for _, member, args in peer.take_signals() if member == "Event")
        return ["vpn-state", "work is blocked"] in told

    with admin(daemon) as peer:
        app.establish("work", **full())
        name, = interfaces(machine)
        machine.ip(f"link del {name}")
        wait_for("it to be blocked", lambda: hear(peer))
    order = [told.index(event) for event in (["interface", f"{name} up"], ["vpn-state", "work is up"],
                                             ["interface", f"{name} removed"],
                                             ["vpn-state", "work is blocked"])]
    assert order == sorted(order), told
