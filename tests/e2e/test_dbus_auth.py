# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who may change what: by the credentials of a peer, by those that a real broker vouches for, and
by what polkit says, or does not say. A broker that dies and comes back."""

import pwd
import re
import signal
import time

import pytest

from broker_fixture import WAYMARK, Broker, FakePolkit, Polkit
from dbus_peer import (BUS, FILES_PER_PEER, MANAGER, NETWORK, PATH, VPN_SERVICE, DBusError, Peer,
                       Variant)
from harness import Accounts, Instance, Machine, wait_for
from netd_fixture import connections
from test_dbus import CHANGING, DOCUMENTED, arguments, everything

ALICE, BOB, CAROL, GID = 3001, 3002, 3003, 4242
DENIED = "org.freedesktop.DBus.Error.AccessDenied"
REFUSED = ("only root and members of group waymark may change networks and assignments: use sudo, or "
           "join the group with `sudo usermod -aG waymark $USER`")
DAEMON, BIN, NOBODY = 1, 2, 65534  # users that every Debian has, for the real polkit
USERS = {"alice": (ALICE, 100), "bob": (BOB, 100), "carol": (CAROL, GID), "daemon": (DAEMON, 1),
         "bin": (BIN, 2), "nobody": (NOBODY, 65534),
         "polkitd": (pwd.getpwnam("polkitd").pw_uid, 65534)}
GROUPS = {"waymark": (GID, ["alice"]), "users": (100, [])}


@pytest.fixture(scope="module")
def machine():
    m = Machine()
    yield m
    m.close()


@pytest.fixture
def instance(machine):
    """Not started yet; alice is in group waymark, it is carol's primary one, and bob is not."""
    d = Instance(machine)
    d.accounts = Accounts(d)
    d.accounts.write(USERS, GROUPS)
    try:
        yield d
    finally:
        d.close()


@pytest.fixture
def broker(instance):
    b = Broker(instance.accounts)
    yield b
    b.close()


@pytest.fixture
def on_bus(instance, broker):
    """A daemon that has its name on a broker."""
    instance.env = broker.env
    instance.start()
    broker.wait_owner()
    return instance


ENGINE = ("what is started for a VPN, and as whom, is root's to say: by `sudo waymark vpn`, or in "
          "/etc/waymark")


def assign(peer, uid=5, network="eth1"):
    peer.call("Assign", "sss", f"uid:{uid}", network, "require")


def refused(peer, *call, text=REFUSED, **options):
    with pytest.raises(DBusError) as error:
        peer.call(*call, **options)
    assert (error.value.name, error.value.text) == (DENIED, text)


# By the credentials of who connected.

@pytest.mark.parametrize("who", [
    {"uid": 0}, {"uid": 0, "gid": 65534}, {"uid": ALICE, "gid": 100}, {"uid": CAROL, "gid": 100},
    {"uid": BOB, "gid": GID}, {"uid": BOB, "gid": 100, "groups": [7, GID, 8]},
    {"uid": 9999, "gid": GID}], ids=str)
def test_who_may(instance, who):
    """Root; who has the group, as a primary or as a supplementary one, in the process or in the
    database."""
    instance.start()
    with Peer(instance.socket, **who) as peer:
        assign(peer)
        assert peer.get("AssignmentCount") == 1


def test_what_is_run_is_roots_to_say(instance):
    """Whoever may change networks would be root, else: by a command as root, or by any unit there is."""
    instance.start()
    add = ("AddVpn", "sa{sv}", "work")
    with Peer(instance.socket, ALICE, gid=GID) as alice, Peer(instance.socket) as root:
        for engine in ("/bin/true", "reboot.service"):
            refused(alice, *add, {"Owner": Variant("s", "uid:0"), "Engine": Variant("s", engine)},
                    text=ENGINE, interface=VPN_SERVICE)
        alice.call(*add, {"Owner": Variant("s", "uid:5")}, interface=VPN_SERVICE)
        refused(alice, "SetVpn", "sa{sv}", "work", {"Engine": Variant("s", "/bin/true")}, text=ENGINE,
                interface=VPN_SERVICE)
        root.call("SetVpn", "sa{sv}", "work", {"Engine": Variant("s", "/bin/true")},
                  interface=VPN_SERVICE)
        refused(alice, "SetVpn", "sa{sv}", "work", {"Owner": Variant("s", "uid:0")}, text=ENGINE,
                interface=VPN_SERVICE)
        alice.call("SetVpn", "sa{sv}", "work", {"Lockdown": Variant("b", True)},
                   interface=VPN_SERVICE)
        with pytest.raises(DBusError, match="say a uid:N or user:NAME as its owner"):
            root.call("AddVpn", "sa{sv}", "home", {"Engine": Variant("s", "/bin/true")},
                      interface=VPN_SERVICE)


SAMPLES = {"name": "eth1", "options": {}, "interface": "eth1", "route": "default", "selector": "uid:5",
           "network": "eth1", "strength": "require", "who": "uid:5", "everyone": False}


def calls_that_change():
    for interface, parts in DOCUMENTED.items():
        for name, (takes, _, text) in parts.get("method", {}).items():
            if "**change**" in text:
                yield interface, name, arguments(takes)


def test_who_may_not_change_anything_may_read_everything(machine, instance):
    instance.start()
    with Peer(instance.socket) as root, Peer(instance.socket, BOB, gid=100, groups=[7, 8]) as bob:
        assign(root)
        path = root.network("eth1")
        before = everything(machine, root, instance)
        tried = set()
        for interface, name, args in calls_that_change():
            signature = "".join(kind for kind, _ in args)
            refused(bob, name, signature, *[SAMPLES[word] for _, word in args],
                    interface=interface, path=path if interface == NETWORK else PATH)
            tried.add(name)
        assert tried >= CHANGING
        assert everything(machine, root, instance) == before
        assert everything(machine, bob, instance) == before
        assert bob.network("eth1") == path
        assert bob.get_all(NETWORK, path)["Name"] == "eth1"
        answer, = bob.call("Explain", "a{sv}", {"Destination": Variant("s", "198.51.100.7")})
        assert answer["KernelAgrees"]
        assert bob.call("Verify")[0]["Proved"]
        assert bob.call("Doctor")[0]
        root.call("Unassign", "s", "uid:5")
        assert ["unassigned", "uid:5"] in [args for _, _, args in bob.take_signals()]


def test_the_remedy_that_is_named_works(instance):
    """usermod -aG, and the next connection may; also one of a session that began before."""
    instance.start()
    with Peer(instance.socket, BOB, gid=100) as bob:
        refused(bob, "Reload")
        instance.accounts.write(USERS, GROUPS | {"waymark": (GID, ["alice", "bob"])})
        refused(bob, "Reload")
    with Peer(instance.socket, BOB, gid=100) as bob:
        bob.call("Reload")


def test_without_the_group_only_root_may(instance):
    instance.accounts.write(USERS, {"users": (100, [])})
    instance.start()
    for who in ({"uid": ALICE, "gid": GID}, {"uid": CAROL, "gid": GID}, {"uid": 65534, "gid": 0}):
        with Peer(instance.socket, **who) as peer:
            refused(peer, "Reload")
    with Peer(instance.socket) as root:
        root.call("Reload")


def test_what_a_peer_says_of_itself_does_not_count(instance):
    """The uid in AUTH EXTERNAL and the sender in a message are only claims."""
    from dbus_peer import CALL, connect, message

    instance.start()
    sock = connect(instance.socket, BOB, gid=100)
    sock.sendall(b"\0AUTH EXTERNAL " + b"0".hex().encode() + b"\r\nBEGIN\r\n" + message(
        CALL, 1, {"path": PATH, "interface": MANAGER, "member": "PanicOff", "sender": ":1.0"}))
    sock.settimeout(20)
    data = b""
    while chunk := sock.recv(4096):
        data += chunk
        if b"AccessDenied" in data or b"REJECTED" in data:
            break
    sock.close()
    assert b"AccessDenied" in data or b"REJECTED" in data or data == b""
    with Peer(instance.socket) as root:
        assert root.get("Off") is False


# Over a broker.

def test_the_name_and_the_objects_on_the_system_bus(machine, on_bus, broker):
    with broker.peer() as bus, Peer(on_bus.socket) as private:
        assert bus.managed() == private.managed()
        assert bus.get_all() == private.get_all()
        assign(bus)
        assert private.get("AssignmentCount") == 1
        assert machine.source(5) == "10.0.1.2"
        for rule in (f"type='signal',sender='{WAYMARK}'",):
            bus.call("AddMatch", "s", rule, interface=BUS, path="/org/freedesktop/DBus", to=BUS)
        private.call("Unassign", "s", "uid:5")
        assert bus.get("AssignmentCount") == 0
        events = [args for f, args in bus.signals if f["member"] == "Event"]
        assert ["unassigned", "uid:5"] in events
    assert on_bus.json("default")["default_network"] == "system"


def test_the_broker_vouches_for_the_caller(on_bus, broker):
    for uid, gid, may in ((0, 0, True), (ALICE, 100, True), (CAROL, 100, True), (BOB, 100, False),
                          (BOB, GID, False)):
        with broker.peer(uid, gid=gid) as peer:
            assert peer.get("Off") is False
            if may:
                assign(peer, network="none")
            else:
                refused(peer, "Unassign", "s", "uid:5")


def test_only_root_may_take_the_name(broker):
    for uid, granted in ((BOB, False), (0, True)):
        with broker.peer(uid, broker=BUS, gid=uid) as peer:
            try:
                answer = peer.call("RequestName", "su", WAYMARK, 4, interface=BUS,
                                   path="/org/freedesktop/DBus")
                assert granted and answer == [1]
            except DBusError as error:
                assert not granted and error.name == DENIED


def test_a_name_that_another_has(instance, broker):
    with broker.peer(broker=BUS) as thief:
        thief.call("RequestName", "su", WAYMARK, 4, interface=BUS, path="/org/freedesktop/DBus")
        instance.env = broker.env
        instance.start()
        wait_for("the complaint", lambda: "another program has the name org.waymark1 on the system "
                 "bus: it will be ours when that one gives it up" in instance.log)
        assert instance.json("default")["default_network"] == "system", "it works all the same"
        thief.call("ReleaseName", "s", WAYMARK, interface=BUS, path="/org/freedesktop/DBus")
    with broker.peer() as bus:
        wait_for("the name", lambda: broker.owner(WAYMARK))
        assert bus.get("Off") is False


def test_a_broker_that_comes_later_dies_and_comes_back(machine, instance, broker):
    broker.stop()
    instance.env = broker.env
    instance.start()
    with Peer(instance.socket) as private:
        for round_ in range(2):
            assign(private, 5 + round_)
            broker.start()
            broker.wait_owner()
            with broker.peer() as bus:
                assert bus.get("AssignmentCount") == 1 + round_
                broker.stop()
            wait_for("the daemon to see it",
                     lambda: instance.log.count("the system bus went away") == round_ + 1)
            assert private.get("AssignmentCount") == 1 + round_
    assert [machine.source(uid) for uid in (5, 6)] == ["10.0.1.2"] * 2


def test_a_broker_that_hangs(instance, broker):
    """At the start, and while it runs: nobody else waits for it."""
    broker.process.send_signal(signal.SIGSTOP)
    instance.env = broker.env
    instance.start()
    start = time.monotonic()
    with Peer(instance.socket) as peer:
        assign(peer)
    broker.process.send_signal(signal.SIGCONT)
    broker.wait_owner()
    broker.process.send_signal(signal.SIGSTOP)
    with Peer(instance.socket) as peer:
        assign(peer, 6)
        assert peer.get("AssignmentCount") == 2
    assert time.monotonic() - start < 20, "less than sd-bus waits for an answer"
    instance.stop()
    broker.process.send_signal(signal.SIGCONT)


# By polkit.

RULE = """
polkit.addRule(function(action, subject) {
    if (action.id != "org.waymark1.change") return polkit.Result.NOT_HANDLED;
    if (subject.user == "daemon") return polkit.Result.YES;
    if (subject.user == "bin") return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"""


@pytest.fixture
def polkit(broker):
    p = Polkit(broker, RULE)
    yield p
    p.close()


def through(route, instance, broker, uid):
    """A connection of that user whose process is alive, for polkit looks it up."""
    return broker.peer(uid, gid=uid) if route == "bus" else Peer(instance.socket, uid, gid=uid)


def change_as(machine, route, instance, broker, uid):
    """What that user is told when he asks for a change, from a process that lives."""
    def ask():
        with (Peer(instance.socket, uid) if route == "private" else broker.peer(uid)) as peer:
            try:
                assign(peer, uid)
                return "done"
            except DBusError as error:
                return error.name, error.text

    return machine.call(ask, uid=uid)


@pytest.mark.parametrize("route", ["private", "bus"])
def test_the_real_polkit(machine, on_bus, broker, polkit, route):
    assert change_as(machine, route, on_bus, broker, DAEMON) == "done"
    assert change_as(machine, route, on_bus, broker, BIN) == (DENIED, REFUSED)
    # a password would be needed, and there is no agent to ask for it
    assert change_as(machine, route, on_bus, broker, NOBODY) == (DENIED, REFUSED)
    assert set(on_bus.assignments()) == {f"uid:{DAEMON}"}


def test_a_real_polkit_that_hangs_and_dies(machine, on_bus, broker, polkit):
    polkit.signal(signal.SIGSTOP)
    with broker.peer(DAEMON, gid=DAEMON) as peer:
        serial = peer.send("Assign", "sss", "uid:5", "eth1", "require")
        assert change_as(machine, "private", on_bus, broker, 0) == "done", "others do not wait"
        assert peer.get("AssignmentCount") == 1, "nor do other calls of the same"
        polkit.signal(signal.SIGKILL)
        with pytest.raises(DBusError) as error:
            peer.wait(serial)
        assert (error.value.name, error.value.text) == (DENIED, REFUSED)
    assert set(on_bus.assignments()) == {"uid:0"}
    assert change_as(machine, "bus", on_bus, broker, DAEMON) == (DENIED, REFUSED), "no polkit"


@pytest.fixture
def authority(broker):
    a = FakePolkit(broker)
    yield a
    a.close()


@pytest.mark.parametrize("route", ["private", "bus"])
@pytest.mark.parametrize("yes", [True, False])
def test_what_polkit_is_asked(on_bus, broker, authority, route, yes):
    with through(route, on_bus, broker, BOB) as peer:
        serial = peer.send("Assign", "sss", "uid:5", "eth1", "require")
        _, _, (kind, details), action, flags = authority.wait_asked()
        assert (action, flags) == ("org.waymark1.change", 0)
        if route == "bus":
            assert (kind, details) == ("system-bus-name", {"name": peer.name})
        else:
            assert kind == "unix-process"
            assert details["uid"] == BOB and set(details) == {"pid", "start-time", "uid"}
        assert peer.get("AssignmentCount") == 0
        authority.answer(1, yes)
        if yes:
            assert peer.wait(serial) == []
        else:
            with pytest.raises(DBusError) as error:
                peer.wait(serial)
            assert (error.value.name, error.value.text) == (DENIED, REFUSED)
        assert peer.get("AssignmentCount") == yes


def test_answers_find_their_questions(on_bus, broker, authority):
    """Yes and no in another order than they were asked, and the world has changed meanwhile."""
    with through("private", on_bus, broker, BOB) as bob:
        serials = [bob.send("RemoveNetwork", "s", "n1"),
                   *(bob.send("Assign", "sss", f"uid:{uid}", "n1", "require") for uid in (6, 7))]
        authority.wait_asked(3)
        on_bus.ok("network", "add", "n1")
        authority.answer(3, True)
        assert bob.wait(serials[2]) == []
        on_bus.ok("network", "remove", "n1")
        authority.answer(1, True)
        with pytest.raises(DBusError) as error:
            bob.wait(serials[0])
        assert error.value.name == "System.Error.ENONET"
        authority.answer(2, False)
        with pytest.raises(DBusError) as error:
            bob.wait(serials[1])
        assert error.value.name == DENIED
    assert set(on_bus.assignments()) == {"uid:7"}


def test_a_peer_can_have_eight_questions_waiting(on_bus, broker, authority):
    with through("private", on_bus, broker, BOB) as bob, \
            through("private", on_bus, broker, 9999) as other:
        serials = [bob.send("Assign", "sss", f"uid:{uid}", "eth1", "require")
                   for uid in range(10, 18)]
        authority.wait_asked(8)
        refused(bob, "Reload")
        serial = other.send("Assign", "sss", "uid:5", "eth1", "require")
        authority.wait_asked(9)
        authority.answer(9, True)
        assert other.wait(serial) == []
        authority.answer(1, True)
        assert bob.wait(serials[0]) == []
        bob.send("Assign", "sss", "uid:18", "eth1", "require")
        authority.wait_asked(10)
    # its questions go with it, and answers to them go nowhere
    wait_for("the daemon to see it", lambda: connections(on_bus.socket) == 0)
    for n in (2, 10):
        authority.answer(n, True)
    assert set(on_bus.assignments()) == {"uid:5", "uid:10"}


def test_the_broker_dies_while_polkit_is_asked(on_bus, broker, authority):
    with through("private", on_bus, broker, BOB) as bob:
        serial = bob.send("Assign", "sss", "uid:5", "eth1", "require")
        authority.wait_asked()
        broker.stop()
        with pytest.raises(DBusError) as error:
            bob.wait(serial)
        assert error.value.name == DENIED
        wait_for("the daemon to see it", lambda: "the system bus went away" in on_bus.log)
        assert bob.get("AssignmentCount") == 0
        refused(bob, "Reload")


def test_who_is_dropped_while_polkit_lets_it(on_bus, broker, authority):
    """The change that is let tells so much that the one who asked, and reads nothing, is dropped in
    the middle of it."""
    text = "[assignments]\n" + "".join(f"assign = uid:{u} eth1\n" for u in range(20000, 20100, 2))

    def configure(i):
        on_bus.config.write_text(text if i % 2 else "")

    def fill(peer, rounds):
        """52 signals each."""
        for i in rounds:
            configure(i)
            peer.call("Reload")
            peer.take_signals()

    with Peer(on_bus.socket) as root:
        fill(root, [1, 2])
        wait_for("all others to go", lambda: connections(on_bus.socket) == 1)
        files = on_bus.idle_files()
        with Peer(on_bus.socket, BOB, gid=100):
            rounds = 0
            while rounds == 0 or on_bus.open_files() > files:
                rounds += 1
                fill(root, [rounds])
        fill(root, [2])
        with Peer(on_bus.socket, BOB, gid=100) as deaf:
            fill(root, range(1, rounds))
            assert on_bus.open_files() >= files + FILES_PER_PEER, "it is there still, with little place left"
            configure(rounds)
            deaf.send("Reload")
            authority.wait_asked()
            authority.answer(1, True)
            wait_for("it to be dropped", lambda: on_bus.open_files() == files)
        assert root.get("AssignmentCount") == (50 if rounds % 2 else 0), "but it was done"


def test_the_sentence_of_the_command_line(on_bus):
    result = on_bus("assign", "uid:5", "eth1", uid=BOB)
    assert (result.code, result.err) == (4, f"waymark: {REFUSED}\n")
    assert re.search("usermod -aG", result.err)
