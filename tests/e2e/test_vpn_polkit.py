# SPDX-License-Identifier: LGPL-2.1-or-later
"""Consent by polkit: asked for when a program says so, remembered when it says yes. And what of the VPN
service is not for the system bus."""

import pwd

import pytest

from broker_fixture import Broker, FakePolkit, Polkit
from dbus_peer import VPN_SERVICE, DBusError, Variant
from harness import Accounts, Instance
from vpn_fixture import App, admin, full, vpns

DENIED = "org.freedesktop.DBus.Error.AccessDenied"
DAEMON, BIN = 1, 2  # users that every Debian has, for the real polkit
RULE = """
polkit.addRule(function(action, subject) {
    if (action.id == "org.waymark1.vpn" && subject.user == "daemon") return polkit.Result.YES;
    if (action.id == "org.waymark1.vpn") return polkit.Result.NO;
    return polkit.Result.NOT_HANDLED;
});
"""


@pytest.fixture(name="broker")
def make_broker(machine):
    """Of a daemon that has its name on it."""
    daemon = Instance(machine)
    accounts = Accounts(daemon)
    accounts.write({"daemon": (DAEMON, 1), "bin": (BIN, 2), "nobody": (65534, 65534),
                    "polkitd": (pwd.getpwnam("polkitd").pw_uid, 65534)})
    broker = Broker(accounts)
    daemon.env = broker.env
    try:
        broker.daemon = daemon.start()
        broker.wait_owner()
        yield broker
    finally:
        broker.close()
        daemon.close()


def consents(daemon):
    with admin(daemon) as peer:
        return peer.call("ListConsents", interface=VPN_SERVICE)[0]


def refused(app, *args, **options):
    with pytest.raises(DBusError) as error:
        app.prepare(*args, **options)
    assert error.value.name == DENIED


def test_a_yes_of_polkit_is_a_consent(broker):
    polkit = Polkit(broker, RULE)
    try:
        with App(broker.daemon, DAEMON) as app, App(broker.daemon, BIN) as other:
            assert app.prepare("work") is False  # nobody was asked
            assert app.prepare("work", Interactive=True) is True
            assert consents(broker.daemon) == [(f"uid:{DAEMON}", False)]
            refused(app, "work", Interactive=True, Everyone=True)
            refused(other, "mine", Interactive=True)
            assert other.prepare("mine") is False
            polkit.close()
            assert app.prepare("work", Interactive=True) is True
            app.establish("work", **full())
            assert vpns(broker.daemon)["work"]["State"] == "up"
    finally:
        polkit.close()


@pytest.mark.parametrize("everyone", [False, True])
def test_what_polkit_is_asked(broker, everyone):
    """With the user's process as the subject, and that somebody may be asked for a password."""
    polkit = FakePolkit(broker)
    try:
        with App(broker.daemon, DAEMON) as app:
            pid = app.pid
            app.send("prepare", "work", Interactive=True, Everyone=everyone)
            _, _, subject, action, flags = polkit.wait_asked()
            assert action == ("org.waymark1.vpn-everyone" if everyone else "org.waymark1.vpn")
            assert (subject[0], subject[1]["pid"], flags) == ("unix-process", pid, 1)
            polkit.answer(1, True)
            assert app.receive() is True
            assert consents(broker.daemon) == [(f"uid:{DAEMON}", everyone)]
    finally:
        polkit.close()


def test_what_is_not_for_the_system_bus(broker):
    """There nobody can say which process calls, nor hand it descriptors."""
    calls = [("Prepare", "sa{sv}", "work", {}), ("Establish", "sa{sv}", "work", {}),
             ("Disconnect", "s", "work"), ("AddAddress", "ss", "work", "10.0.0.1/32"),
             ("RemoveAddress", "ss", "work", "10.0.0.1/32"),
             ("SetUnderlying", "sbas", "work", True, []),
             ("ReportState", "sss", "work", "failed", "")]
    with broker.peer() as peer:
        for call in calls:
            with pytest.raises(DBusError) as error:
                peer.call(*call, interface=VPN_SERVICE)
            assert error.value.name == "System.Error.EOPNOTSUPP"
            assert "system bus" in error.value.text
        peer.call("Consent", "sb", "uid:7", False, interface=VPN_SERVICE)
        peer.call("AddVpn", "sa{sv}", "work", {"Owner": Variant("s", "uid:7")},
                  interface=VPN_SERVICE)
        peer.call("Down", "s", "work", interface=VPN_SERVICE)
    assert vpns(broker.daemon)["work"]["State"] == "down"
