# SPDX-License-Identifier: LGPL-2.1-or-later
"""Of what AOSP's tests assert of VPNs (android.md §7, whose numbers are in the names), what is nowhere else:
which apps it is the default for, and from where they hear. The table is in docs/vpn-service.md."""

import socket
import time

import pytest

from harness import SERVER6, Accounts, Instance, wait_for
from vpn_fixture import (ADDRESS, APP, OTHER, OWNER, App, add, consent, consented_app, full,
                         machine_of_either_kind, udp, vpns)

BOTH = {"Addresses": [f"{ADDRESS}/24", "fd99::2/64"], "Routes": ["0.0.0.0/0", "::/0"]}


def test_66_one_that_carries_nothing_is_the_default_for_its_apps_alone(machine, daemon, app):
    """Nobody knows yet whether it leads anywhere, and its packets are answered by no one; also when
    there is no other network left."""
    app.establish("work", **BOTH)
    app.serve(write=False)
    assert udp(machine, OWNER, seconds=0.3) == "timeout"
    assert udp(machine, OTHER) == "10.0.0.2"
    for i in range(2):
        machine.ip(f"link set eth{i} down")
        daemon.wait_state(f"eth{i}", None)
    assert udp(machine, OWNER, seconds=0.3) == "timeout"
    wait_for("its packets", lambda: (ADDRESS, "198.51.100.1", 17) in app.packets())
    for server in ("198.51.100.1", SERVER6):
        assert udp(machine, OTHER, server) in ("ENETUNREACH", "EHOSTUNREACH")


@pytest.mark.parametrize("apps, on_it", [
    ({}, {OWNER, APP}), ({"Allowed": [f"uid:{OWNER}"]}, {OWNER}), ({"Allowed": [f"uid:{APP}"]}, {APP}),
    ({"Disallowed": [f"uid:{APP}"]}, {OWNER}), ({"Disallowed": [f"uid:{OWNER}"]}, {APP})])
def test_69_its_own_user_is_on_it_unless_its_apps_leave_him_out(machine, daemon, apps, on_it):
    """And `explain` says the same; a handover with other apps changes both."""
    def agreed(interface):
        for uid in (OWNER, APP):
            e = daemon.json("explain", "--uid", str(uid), "198.51.100.1")["explanation"]
            assert (e["interface"] == interface) == (uid in on_it), (uid, e)
            assert udp(machine, uid) == ("x" if uid in on_it else "10.0.0.2")

    consent(daemon, everyone=True)
    with App(daemon) as app:
        app.prepare("work", Everyone=True)
        app.serve()
        agreed(app.establish("work", **full(**apps))[1])
        app.establish("work", **full(Allowed=[f"uid:{OTHER}"]))
        assert udp(machine, OWNER) == udp(machine, APP) == "10.0.0.2"
        agreed(app.establish("work", **full(**apps))[1])


def test_70_who_comes_into_a_group_and_goes(machine):
    """Of restricted profiles Linux has none; but whom a `group:` means may change like they do. Under
    lockdown he is blocked from then on, and on the VPN once it is up."""
    daemon = Instance(machine)
    accounts, users = Accounts(daemon), {"alice": (OWNER, 100), "bob": (APP, 100)}

    def members(*names):
        accounts.write(users, {"users": (100, []), "staff": (4242, list(names))})

    def wait_free(uid, free):
        wait_for(f"{uid} to be {'free' if free else 'held'}",
                 lambda: (udp(machine, uid) == "10.0.0.2") == free)

    try:
        members("alice")
        daemon.start()
        add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=["group:staff"], Lockdown=True)
        wait_free(OWNER, False)
        assert udp(machine, APP) == "10.0.0.2"
        members("alice", "bob")
        wait_free(APP, False)
        with App(daemon, OTHER) as app:
            app.establish("work", **full())
            app.serve()
            assert udp(machine, OWNER) == udp(machine, APP) == "x"
            members("bob")
            wait_free(OWNER, True)
            assert udp(machine, APP) == "x"
        wait_for("the VPN to be blocked", lambda: vpns(daemon)["work"]["State"] == "blocked")
        assert udp(machine, APP) not in ("x", "10.0.0.2", "10.0.1.2")
        members()
        wait_free(APP, True)
    finally:
        daemon.close()


def hear(port):
    """All that is said to a port until the end."""
    heard = set()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("0.0.0.0", port))
        while (text := sock.recv(100)) != b"end":
            heard.add(text)
    return heard


def say(port, to="10.0.0.2", text=b"hello"):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.sendto(text, (to, port))


@pytest.mark.parametrize("machine", ["maps"], indirect=True)  # with rules: docs/rules.md
@pytest.mark.parametrize("lockdown, parameters, hears", [
    (False, full(), True), (False, full(AllowBypass=True), True),
    (False, full(Routes=["10.8.0.0/16"]), True), (True, full(), False), (True, BOTH, False),
    (True, full(Routes=["10.8.0.0/16"]), False)])
def test_71_from_other_interfaces_its_apps_hear_nothing_under_lockdown(
        machine, daemon, lockdown, parameters, hears):
    """Android filters where everything is routed into the VPN; here it is lockdown that says so, whatever
    the routes. Its program and all others hear as ever."""
    add(daemon, "work", Owner=f"uid:{OTHER}", Allowed=[f"uid:{OWNER}"], Lockdown=lockdown, Bypass=True)
    with App(daemon, OTHER) as app:
        app.establish("work", **parameters)
        calls = {uid: machine.start_call(hear, 9000 + uid, uid=uid) for uid in (OWNER, OTHER, APP)}
        wait_for("all to listen", lambda: len(machine.run(["ss", "-Hlun"]).stdout.splitlines()) == 3)
        for _ in range(10):
            for uid in calls:
                machine.router.call(say, 9000 + uid)
            time.sleep(0.05)
        for uid in calls:
            machine.call(say, 9000 + uid, "127.0.0.1", b"end")
        heard = {uid: call.result() for uid, call in calls.items()}
    assert heard == {OWNER: {b"hello"} if hears else set(), OTHER: {b"hello"}, APP: {b"hello"}}
