# SPDX-License-Identifier: LGPL-2.1-or-later
"""`user:` and `group:`: an assignment is to a name, and holds for whoever has it now. The daemon has
a passwd and a group file of its own, which change as useradd, usermod and vi change them."""

import pytest

from harness import Accounts, Instance, Machine, our_rules, wait_for

ALICE, BOB, CAROL = 3001, 3002, 3003
STAFF = 4242
USERS = {"alice": (ALICE, 100), "bob": (BOB, 100), "carol": (CAROL, STAFF)}
GROUPS = {"users": (100, []), "staff": (STAFF, ["bob"])}


@pytest.fixture(scope="module")
def machine():
    m = Machine()
    yield m
    m.close()


@pytest.fixture
def accounts(machine):
    """Those of the daemon, which has not started yet."""
    daemon = Instance(machine)
    accounts = Accounts(daemon)
    accounts.daemon = daemon
    try:
        yield accounts
    finally:
        daemon.close()


def assignment(daemon, selector):
    a = daemon.assignments()[selector]
    return a["state"], a["uids"]


def wait_assignment(daemon, selector, state, *uids):
    wait_for(f"{selector} to be {state} for {uids}",
             lambda: assignment(daemon, selector) == (state, list(uids)))


def sources(machine):
    return [machine.source(uid) for uid in (ALICE, BOB, CAROL)]


def test_names_are_those_of_now(machine, accounts):
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "user:alice", "eth1")
    daemon.ok("assign", "group:staff", "none")
    assert assignment(daemon, "user:alice") == ("active", ["3001"])
    assert assignment(daemon, "group:staff") == ("blocked", ["3002-3003"])
    assert sources(machine) == ["10.0.1.2", "EACCES", "EACCES"]
    for name, uid in (("alice", ALICE), ("carol", CAROL)):
        e = daemon.json("explain", "--user", name, "198.51.100.7")["explanation"]
        assert e["uid"] == uid and e["selector"]


@pytest.mark.parametrize("how", ["renamed over", "written in place"])
def test_names_that_appear_later(machine, accounts, how):
    """As configured for a machine whose users come from an image, or are made by a package."""
    daemon = accounts.daemon
    daemon.config.write_text("[assignments]\nassign = user:alice eth1\nassign = group:staff none\n")
    daemon.start()
    for text in ("there is no user 'alice'", "there is no group 'staff'"):
        assert f"an assignment waits: {text}" in daemon.log
    for selector in ("user:alice", "group:staff"):
        assert assignment(daemon, selector) == ("waiting", [])
        finding, = [f for f in daemon.json("doctor")["findings"]
                    if f["check"] == "assignments" and selector in f["text"]]
        assert finding["level"] == "warning"
        assert finding["remedy"] == f"create it, or waymark unassign {selector}"
    assert sources(machine) == ["10.0.0.2"] * 3
    assert daemon.json("verify")["verification"]["proved"]

    if how == "renamed over":
        accounts.write(USERS, GROUPS)
    else:
        with open(accounts.folder / "group", "a", encoding="ascii") as f:
            f.write("users:x:100:\nstaff:x:4242:bob\n")
        with open(accounts.folder / "passwd", "a", encoding="ascii") as f:
            f.write("".join(f"{n}:x:{u}:{g}::/:/bin/sh\n" for n, (u, g) in USERS.items()))
    wait_assignment(daemon, "user:alice", "active", "3001")
    wait_assignment(daemon, "group:staff", "blocked", "3002-3003")
    assert sources(machine) == ["10.0.1.2", "EACCES", "EACCES"]
    assert not [f for f in daemon.json("doctor")["findings"] if f["check"] == "assignments"]


def test_names_that_change_hands_and_go(machine, accounts):
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "user:alice", "eth1")
    accounts.write(USERS | {"alice": (3100, 100)}, GROUPS)  # usermod -u
    wait_assignment(daemon, "user:alice", "active", "3100")
    assert (machine.source(3100), machine.source(ALICE)) == ("10.0.1.2", "10.0.0.2")

    accounts.write({"alicia": (3100, 100)}, GROUPS)  # usermod -l
    wait_assignment(daemon, "user:alice", "waiting")
    assert machine.source(3100) == "10.0.0.2"
    assert not [r for r in our_rules(machine) if "3100" in r]

    accounts.write({"alice": (BOB, 100)}, GROUPS)  # userdel bob; another alice gets his uid
    wait_assignment(daemon, "user:alice", "active", "3002")
    assert machine.source(BOB) == "10.0.1.2"
    accounts.write({}, {})
    wait_assignment(daemon, "user:alice", "waiting")
    daemon.ok("unassign", "user:alice")
    assert daemon.assignments() == {}


def test_members_of_a_group(machine, accounts):
    """Those in its list, those who have it as their primary one; not one that has no account."""
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "group:staff", "eth1")
    for users, members, uids in (
            (USERS, ["bob", "nosuchuser"], ["3002-3003"]),
            (USERS, ["alice", "bob"], ["3001-3003"]),
            (USERS, ["bob", "bob", "carol"], ["3002-3003"]),
            (USERS | {"carol": (CAROL, 100)}, ["alice", "carol"], ["3001", "3003"]),
            (USERS | {"carol": (CAROL, 100)}, [], [])):
        accounts.write(users, GROUPS | {"staff": (STAFF, members)})
        # a group that is there but empty binds nobody
        wait_for(str(uids), lambda: assignment(daemon, "group:staff")[1] == uids)
    assert daemon.json("verify")["verification"]["proved"]


def test_a_user_before_a_group_before_nobody(machine, accounts):
    """The closer selector holds, whatever comes and goes around it."""
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "group:staff", "none")
    daemon.ok("assign", "user:bob", "eth1")
    assert [machine.source(u) for u in (BOB, CAROL)] == ["10.0.1.2", "EACCES"]
    accounts.write({"carol": (CAROL, STAFF)}, GROUPS)
    wait_assignment(daemon, "user:bob", "waiting")
    assert [machine.source(u) for u in (BOB, CAROL)] == ["10.0.0.2", "EACCES"]
    accounts.write(USERS, GROUPS)
    wait_assignment(daemon, "user:bob", "active", "3002")
    assert [machine.source(u) for u in (BOB, CAROL)] == ["10.0.1.2", "EACCES"]


def test_what_changed_while_no_daemon_ran(machine, accounts):
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "user:alice", "eth1")
    daemon.ok("assign", "user:bob", "eth1")
    daemon.stop()
    assert machine.source(ALICE) == "10.0.1.2"
    accounts.write({"alice": (3100, 100)}, GROUPS)
    daemon.start()
    assert assignment(daemon, "user:alice") == ("active", ["3100"])
    assert assignment(daemon, "user:bob") == ("waiting", [])
    assert [machine.source(u) for u in (3100, ALICE, BOB)] == ["10.0.1.2", "10.0.0.2", "10.0.0.2"]


def test_a_database_that_is_away_unbinds_nobody(machine, accounts):
    """In the moment in which some tool has moved passwd away, the app stays where it must be."""
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "user:alice", "eth1")
    daemon.ok("assign", "group:staff", "none")
    (accounts.folder / "passwd").rename(accounts.folder / "passwd.old")
    daemon.ok("reload")
    assert assignment(daemon, "user:alice") == ("active", ["3001"])
    assert assignment(daemon, "group:staff") == ("blocked", ["3002-3003"])
    assert sources(machine) == ["10.0.1.2", "EACCES", "EACCES"]
    result = daemon("assign", "user:bob", "eth1")
    assert (result.code, result.err) \
        == (4, "waymark: cannot look up user 'bob': the user database cannot be read: is what `grep "
            "-E 'passwd|group' /etc/nsswitch.conf` names there?\n")
    (accounts.folder / "passwd.old").rename(accounts.folder / "passwd")
    daemon.ok("assign", "user:bob", "eth1")
    assert assignment(daemon, "user:bob") == ("active", ["3002"])


def test_a_group_of_thousands(machine, accounts):
    """Longer than any buffer that one would guess; ranges are joined."""
    users = {f"member-of-a-large-group-{i}": (10000 + i + i // 1000, 100) for i in range(4000)}
    accounts.write(users, {"large": (STAFF, list(users))})
    daemon = accounts.daemon.start()
    daemon.ok("assign", "group:large", "eth1")
    assert assignment(daemon, "group:large") == (
        "active", ["10000-10999", "11001-12000", "12002-13001", "13003-14002"])
    assert [machine.source(u) for u in (10999, 11000, 14002)] == ["10.0.1.2", "10.0.0.2",
                                                                  "10.0.1.2"]


@pytest.mark.rules
def test_many_changes_at_once_end_with_the_last(machine, accounts):
    accounts.write(USERS, GROUPS)
    daemon = accounts.daemon.start()
    daemon.ok("assign", "user:alice", "eth1")
    for i in range(200):
        accounts.write({"alice": (20000 + i, 100)}, GROUPS)
    wait_assignment(daemon, "user:alice", "active", "20199")
    assert machine.source(20199) == "10.0.1.2"
    assert len([r for r in our_rules(machine) if "uidrange 20" in r]) == 2


@pytest.mark.parametrize("selector,code,text", [
    ("user:nosuchuser", 10, "there is no user 'nosuchuser': see `getent passwd`"),
    ("group:nosuchgroup", 10, "there is no group 'nosuchgroup': see `getent group`"),
    ("user:", 4, "user:"),
    ("user:" + "x" * 300, 4, "user"),
])
def test_commands_want_a_name_that_is_there(accounts, selector, code, text):
    daemon = accounts.daemon.start()
    result = daemon("assign", selector, "eth1")
    assert result.code == code and text in result.err
    assert daemon.assignments() == {}
