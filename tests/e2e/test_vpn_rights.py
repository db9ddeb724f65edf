# SPDX-License-Identifier: LGPL-2.1-or-later
"""What a user's program cannot do by being a VPN: get its user out of where somebody holds him, have what is
others', stay when it is told to go. Each was possible once."""

import contextlib
import os
import socket
import sys
import threading

import pytest

from dbus_peer import VPN_SERVICE, DBusError, Peer, Variant
from harness import SERVER4, Capture, in_namespace, wait_for
from vpn_fixture import (APP, OTHER, OWNER, App, add, change, consent, consented_app, full,
                         interfaces, machine_of_either_kind, udp, variants, vpns)

TUNSETPERSIST = 0x400454CB
HELD = ["assign uid:5000-5006 none", "assign uid:5000-5006 eth1", "lockdown for everyone"]


def hold(daemon, how):
    if how.startswith("assign"):
        daemon.ok(*how.split())
    else:
        add(daemon, "corp", Owner=f"uid:{APP}", Everyone=True, Lockdown=True, AlwaysOn=True)


@pytest.mark.parametrize("how", HELD)
@pytest.mark.parametrize("apps", [{}, {"Disallowed": [f"uid:{OWNER}"]}, {"Allowed": [f"uid:{OWNER}"]}],
                         ids=str)
def test_consent_for_himself_frees_nobody(machine, daemon, app, how, apps):
    """His uid is closer than any range; were it enough, his password would undo what root said."""
    hold(daemon, how)
    before = udp(machine, OWNER)
    with pytest.raises(DBusError):
        app.establish("mine", **full(**apps))
    assert udp(machine, OWNER) == before and before not in ("10.0.0.2", "x")
    assert "mine" not in vpns(daemon)


@pytest.mark.parametrize("how", HELD[:2])
def test_who_comes_to_be_held_later_is_held(machine, daemon, app, how):
    app.serve()
    app.establish("mine", **full())
    assert udp(machine, OWNER) == "x"
    hold(daemon, how)
    assert udp(machine, OWNER) not in ("x", "10.0.0.2")


def test_who_is_held_by_another_vpn_does_not_get_past_it(daemon, app):
    """By protecting his sockets, as the program of a VPN of his that has nothing to do with it."""
    add(daemon, "office", Owner=f"uid:{OWNER}", Allowed=["uid:5999"])
    assert app.prepare("office") and app.ask(True) == "10.0.0.2"
    add(daemon, "corp", Owner=f"uid:{APP}", Everyone=True, Lockdown=True, AlwaysOn=True)
    assert app.protect() != 0


def test_a_name_in_common_is_no_more_than_that(machine, daemon, app):
    """The administrator's VPN of that name is not the one that is there."""
    app.serve()
    app.establish("work", **full())
    daemon.config.write_text("[vpn work]\nowner = exe:/usr/bin/sleep\neveryone = yes\n")
    daemon.ok("reload")
    assert vpns(daemon)["work"]["State"] != "up"
    assert udp(machine, OTHER) == "10.0.0.2"
    daemon.config.write_text(f"[vpn work]\nowner = uid:{OTHER}\neveryone = yes\n")
    daemon.ok("reload")
    assert udp(machine, APP) == "10.0.0.2" and vpns(daemon)["work"]["State"] != "up"


def test_another_owner_is_another_owner(machine, daemon, app):
    consent(daemon, everyone=True)
    add(daemon, "work", Allowed=[f"uid:{OTHER}"])
    app.serve()
    app.establish("work", **full())
    assert udp(machine, OTHER) == "x"
    change(daemon, "SetVpn", "sa{sv}", "work", variants({"Owner": f"uid:{APP}"}))
    assert vpns(daemon)["work"]["State"] != "up" and udp(machine, OTHER) == "10.0.0.2"
    assert app.wait_revoked("work")


@pytest.mark.parametrize("restarted", [False, True])
def test_what_stands_by_consent_falls_with_it(machine, daemon, restarted):
    add(daemon, "work", Allowed=[f"uid:{OTHER}"])
    consent(daemon, everyone=True)
    with App(daemon) as app:
        app.serve()
        app.establish("work", **full())
        if restarted:
            daemon.kill().start()
        assert udp(machine, OTHER) == "x"
        change(daemon, "RevokeConsent", "s", f"uid:{OWNER}")
        assert vpns(daemon)["work"]["State"] != "up" and udp(machine, OTHER) == "10.0.0.2"


def test_nobody_else_is_put_on_it(machine, daemon, app):
    """Its name may be one that the administrator takes for something else."""
    app.serve()
    app.establish("usb0", **full())
    result = daemon("assign", f"uid:{OTHER}", "usb0")
    assert result.code == 4 and "was made by a program of uid" in result.err
    assert udp(machine, OTHER) == "10.0.0.2"


def test_everyone_is_not_root(machine, daemon):
    consent(daemon, everyone=True)
    with App(daemon) as app:
        assert app.prepare("work", Everyone=True)
        for apps in ({"Allowed": ["uid:0"]}, {"Allowed": ["uid:0-5"]}, {"Disallowed": ["uid:0"]}):
            with pytest.raises(DBusError, match="uid:0 is root"):
                app.establish("work", **full(**apps))
    assert udp(machine, 0) == "10.0.0.2"


def is_copied(machine, *routes):
    """Are these in the table of eth0, too?"""
    table = machine.ifindex("eth0") + 1000
    lines = [line for f in ("-4", "-6") for line in machine.show(f"{f} route show table {table}")]
    return set(routes) <= {line.split()[0] for line in lines}


@pytest.mark.parametrize("address, text", [
    (SERVER4, "is not a private address"), ("2001:db8:1::1", "is not a private address"),
    ("10.0.0.1", "is on another network"), ("fd00::1", "is on another network"),
    ("10.20.0.53", "is on another network"), ("10.77.0.5", "is on another network"),
    ("fd77::5", "is on another network")])
def test_an_address_that_is_somebody_elses(machine, daemon, app, address, text):
    """Addresses of interfaces come before all rules: he would be that server, to everybody."""
    daemon.ok("network", "set", "eth1", "--dns", "10.20.0.53")
    machine.ip("route add 10.77.0.0/16 via 10.0.0.1", "-6 route add fd77::/32 via fd00::1")
    wait_for("the daemon to have seen them", lambda: is_copied(machine, "10.77.0.0/16", "fd77::/32"))
    with pytest.raises(DBusError, match=text):
        app.establish("work", **full(Addresses=["10.99.0.2/24", address]))
    app.establish("work", **full())
    with pytest.raises(DBusError, match=text):
        app.call("AddAddress", "ss", "work", address)
    assert udp(machine, OTHER) == "10.0.0.2"
    app.call("AddAddress", "ss", "work", "100.64.3.4/32")


def test_a_reason_is_short_and_whole(daemon, app):
    assert app.prepare("work")
    app.establish("work", **full())
    with pytest.raises(DBusError, match="127 bytes at most"):
        app.call("ReportState", "sss", "work", "failed", "a" * 126 + "é")
    app.call("ReportState", "sss", "work", "failed", "a" * 125 + "é")
    assert daemon.json("vpn", "list")["vpns"]


def test_an_error_that_is_cut_is_answered(daemon):
    """D-Bus takes no part of a character."""
    for name in ("a" * 59 + "é", "é" * 50, "€" * 30):
        with pytest.raises(DBusError, match="a VPN has no option"):
            change(daemon, "AddVpn", "sa{sv}", "work", {name: Variant("b", True)})


# A socket that was accepted has the mark of what came in, protected among it: no transport by that.

def serve(ready):
    with socket.create_server(("10.0.0.2", 8200)) as server:
        ready()
        peer, _ = server.accept()
        with peer:
            sent = 0
            peer.settimeout(0.1)
            with contextlib.suppress(OSError):
                for _ in range(40):
                    peer.send(b"LEAK")
                    sent += 1
                    with contextlib.suppress(TimeoutError):
                        if not peer.recv(10):
                            break
            return sent


class Wire(Capture):
    def leaks(self):
        found = 0
        while True:
            try:
                data, (name, _, kind, *_) = self.sock.recvfrom(65536)
            except BlockingIOError:
                return found
            found += kind == 4 and name.startswith("eth") and b"LEAK" in data


def test_a_connection_that_came_in_before_is_held(machine, daemon, app):
    """Its user owns the VPN; his old server goes on writing to whom it had from the LAN."""
    call = machine.start_call(serve, lambda: None, uid=OWNER)
    client = None

    def connect():
        nonlocal client
        client = in_namespace(machine.router, lambda: socket.socket())
        return client.connect_ex(("10.0.0.2", 8200)) == 0

    wait_for("the server", connect)
    with client, contextlib.closing(Wire(machine)) as wire:
        wait_for("it to be seen while nobody is held", wire.leaks)
        app.establish("work", **full())
        wire.leaks()
        stop = threading.Event()
        stop.wait(1.0)
        assert wire.leaks() == 0
    call.result()


# Who asks is the process that connected, as the program that it was then.

def test_a_connection_is_one_processs(daemon, app):
    assert app.prepare("work")
    app.establish("work", **full())
    for _ in range(2):  # by the child, and then it is nobody's
        with pytest.raises(DBusError, match="another process has written to this connection"):
            app.in_child("call", "Disconnect", "s", "work")
    with pytest.raises(DBusError, match="another process has written to this connection"):
        app.call("Disconnect", "s", "work")
    assert vpns(daemon)["work"]["State"] == "up"
    app.connect()
    app.call("Disconnect", "s", "work")


CAT = "/usr/bin/cat"


def test_exe_is_what_connected(machine, daemon):
    """`exe:` is the program at the other end. One who executes it when he is connected is not meant: what it writes
    and reads may be his."""
    consent(daemon, who=f"exe:{CAT}")
    assert machine.call(ask_through_cat, daemon.socket, uid=OWNER) is False
    consent(daemon, who=f"exe:{os.path.realpath(sys.executable)}")
    assert machine.call(ask_through_cat, daemon.socket, uid=OWNER) is False
    with App(daemon) as app:
        assert app.prepare("work")


def executes(pid, path):
    try:
        return os.readlink(f"/proc/{pid}/exe") == path
    except PermissionError:  # as long as it is what has changed its uid
        return False


def ask_through_cat(path):
    """By the connection of a process that executes cat then, which copies to it what we say."""
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        peer = Peer(path, OWNER)
        peer.call("Ping", interface="org.freedesktop.DBus.Peer")
        socket.send_fds(theirs, [b"."], [peer.sock.fileno()])
        os.dup2(theirs.fileno(), 0)
        os.dup2(peer.sock.fileno(), 1)
        os.execv(CAT, ["cat"])
    theirs.close()
    fds = socket.recv_fds(ours, 1, 1)[1]
    wait_for("cat", lambda: executes(pid, CAT))
    peer = Peer(path, OWNER)
    with socket.socket(fileno=fds[0]) as connection:
        peer.sock.close()
        peer.sock, peer.serial = ours, 100
        serial = peer.send("Prepare", "sa{sv}", "work", {}, interface=VPN_SERVICE)
        connection.settimeout(60)
        peer.sock = connection
        try:
            return peer.wait(serial)[0]
        finally:
            ours.close()
            os.waitpid(pid, 0)


# What one user can make of the machine.

def test_descriptors_that_nobody_reads_are_not_sent(machine, daemon, app):
    """The kernel counts those that are on their way as ours."""
    answers = app.send_unread("work", 50, **full(Queues=16))
    assert answers[:20] == ["good"] * 20 and answers.count("good") <= 32
    assert set(answers) == {"good", "System.Error.EAGAIN"}
    app.signals()  # now it has read all
    app.establish("work", **full(Queues=16))
    assert len(interfaces(machine)) <= 18


def test_persistent_interfaces_are_not_piled_up(machine, daemon, app):
    for _ in range(20):
        app.establish("work", keep=True, **full())
        app.ioctl(TUNSETPERSIST, 1)
    assert len(interfaces(machine)) <= 17
    app.call("Disconnect", "s", "work")
    app.close()
    wait_for("them to be gone", lambda: not interfaces(machine))


def test_what_a_daemon_left_the_next_one_finds(machine, daemon, app):
    app.establish("work", **full())
    app.ioctl(TUNSETPERSIST, 1)
    app.establish("work", **full())
    name = vpns(daemon)["work"]["Interfaces"][0]
    wait_for("the old one to be down",
             lambda: "\n".join(machine.show("link show up")).count(": wmtun") == 1)
    daemon.kill()
    assert len(interfaces(machine)) == 2
    daemon.start()
    wait_for("the other one to be gone", lambda: interfaces(machine) == [name])


def test_routes_are_bounded(daemon, app):
    """All users wait while they are made."""
    def routes(n):
        return full(Routes=[f"10.{i >> 8}.{i & 255}.0/24" for i in range(n)])

    with pytest.raises(DBusError, match="more than the 1024"):
        app.establish("work", **routes(1025))
    app.establish("work", **routes(1000))
    app.establish("work", **routes(1024))
    with pytest.raises(DBusError, match="1025 routes"):
        app.establish("home", **full())
    app.call("Disconnect", "s", "work")
    add(daemon, "office", Owner=f"uid:{OWNER}")
    app.establish("office", **routes(1025))


def test_there_is_room_for_root(daemon):
    consent(daemon, who="uid:6000-6020")
    with contextlib.ExitStack() as stack:
        for i in range(15):
            stack.enter_context(App(daemon, uid=6000 + i)).prepare_many(64)
        with pytest.raises(DBusError, match="all users together"):
            stack.enter_context(App(daemon, uid=6020)).prepare("mine")
        assert stack.enter_context(App(daemon, uid=0)).prepare("roots")
