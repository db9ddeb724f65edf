# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keystore's protocol: who may do what in which state, answered byte for byte; and the story that it is for.

The client is keystore_client.py, written from the protocol's description.
"""

import contextlib
import re
import shutil
import socket

import pytest

from keystore_client import (KEY_MAX, PASSWORD_MAX, VALUE_MAX, answer, everything, message, messages,
                             request, talk)
from keystore_fixture import (APP, CHEAP, PASSWORD, READER, ROOT, STRANGER, SYSTEM, VPN, WIFI, Keystore,
                              copy_state, opened)

MINE, OWN, SYSTEMS = b"mine", b"the app's value", b"system's value"
STATES = {1: "open", 2: "locked", 3: "new"}
CLASSES = {"system": SYSTEM, "vpn": VPN, "wifi": WIFI, "root": ROOT, "app": APP, "stranger": STRANGER}


# The table. In states 1 and 2, system and the app have a key "mine" each and have granted it to READER;
# the stranger has nothing. In state 3 nobody has. A row of cells: what is answered in states 1, 2, 3.

NO, UNKNOWN = (6, 6, 6), (9, 9, 9)
STATE, DONE, LISTED, NONE = (1, 2, 3), (1, 1, 1), (answer(1, b"ne"), answer(1, b"ne"), answer(1)), \
    (answer(1), answer(1), answer(1))
HERE, NOWHERE = (1, 1, 7), (7, 7, 7)
HIS, APPS, NOTHING = (answer(1, SYSTEMS), 2, 3), (answer(1, OWN), 2, 3), (7, 2, 3)

TABLE = {
    # code: parameters             system   vpn, wifi, root   an app    who has nothing
    "t": ((),                      STATE,   NO,               STATE,    STATE),
    "g": ((MINE,),                 NO,      HIS,              APPS,     NOTHING),
    "i": ((MINE, b"new"),          STATE,   NO,               STATE,    STATE),
    "d": ((MINE,),                 DONE,    NO,               DONE,     DONE),
    "e": ((MINE,),                 HERE,    NO,               HERE,     NOWHERE),
    "s": ((b"mi",),                LISTED,  NO,               LISTED,   NONE),
    "r": ((),                      DONE,    NO,               NO,       NO),
    "p": ((PASSWORD, b"another"),  DONE,    NO,               NO,       NO),
    "l": ((),                      STATE,   NO,               NO,       NO),
    "u": ((PASSWORD,),             (1, 1, 3), NO,             NO,       NO),
    "z": ((),                      HERE,    NO,               NO,       NO),
    "x": ((MINE, b"10044"),        HERE,    NO,               HERE,     NOWHERE),
    "y": ((MINE, b"%d" % READER),  HERE,    NO,               HERE,     NOWHERE),
    "T": ((),                      UNKNOWN, UNKNOWN,          UNKNOWN,  UNKNOWN),
    "\0": ((),                     UNKNOWN, UNKNOWN,          UNKNOWN,  UNKNOWN),
    "\xff": ((MINE, MINE),         UNKNOWN, UNKNOWN,          UNKNOWN,  UNKNOWN),
}
COLUMNS = {"system": 1, "vpn": 2, "wifi": 2, "root": 2, "app": 3, "stranger": 4}
NEEDS = {"g": 1, "i": 1, "l": 1, "u": 2}
AFTER = {"r": (3, 3, 3), "p": (1, 1, 1), "l": (2, 2, 3), "u": (1, 1, 3)}  # the others leave it as it is


def cells():
    for code, row in TABLE.items():
        for name, column in COLUMNS.items():
            for state in STATES:
                name_of_code = code if code.isascii() and code.isprintable() else f"0x{ord(code):02x}"
                yield pytest.param(code, name, state, row[0], row[column][state - 1],
                                   id=f"{name_of_code}-{name}-{STATES[state]}")


class Scenes:
    """A keystore in each state, as the table has it; made anew when a test has changed it."""

    def __init__(self):
        with opened(*CHEAP) as k:
            for uid, value in ((APP, OWN), (SYSTEM, SYSTEMS)):
                k.ok(uid, "i", MINE, value)
                k.ok(uid, "x", MINE, b"%d" % READER)
            k.stop()
            self.prepared = k.folder.with_name(k.folder.name + "-prepared")
            copy_state(k.state_dir, self.prepared)
        self.now = {}

    def get(self, state):
        if state not in self.now:
            k = self.now[state] = Keystore(*CHEAP, copy=None if state == 3 else self.prepared).start()
            if state == 1:
                k.ok(SYSTEM, "u", PASSWORD)
            assert k.state == state
        return self.now[state]

    def changed(self, state):
        self.now.pop(state).close()

    def close(self):
        for k in self.now.values():
            k.close()
        shutil.rmtree(self.prepared)


@pytest.fixture(scope="module")
def scenes():
    with contextlib.closing(Scenes()) as s:
        yield s


@pytest.fixture(scope="module")
def store():
    """One that is open, for tests that each use keys of their own."""
    with opened(*CHEAP) as k:
        yield k


@pytest.mark.parametrize("code, name, state, parameters, expected", cells())
def test_table(scenes, code, name, state, parameters, expected):
    k, uid = scenes.get(state), CLASSES[name]
    if isinstance(expected, int):
        expected = bytes([expected])
    needs = NEEDS.get(code)
    if expected in (b"\6", b"\x09") or needs not in (None, state):
        # known by its first byte: nobody waits for the rest
        assert k.say(uid, code.encode("latin-1"), end=False) == expected
    assert k.ask(uid, code, *parameters) == expected
    assert k.state == (AFTER[code][state - 1] if code in AFTER and expected[0] not in (6, 9) else state)
    # uid as connected; system's question for the state stands behind it
    assert re.fullmatch(rf"uid: {uid} action: {re.escape(code) if code.isprintable() and code.isascii() else '.*'}"
                        rf" -> {expected[0]} state: {state} -> \d retry: 4", k.lines()[-2])
    if code in "idrplxyu" and expected == b"\1":
        scenes.changed(state)


def test_each_action_that_is_not_one(scenes):
    known = b"tgidesrpluzxy"
    for state in STATES:
        for code in set(range(256)) - set(known):
            for uid in (SYSTEM, VPN, APP):
                assert scenes.get(state).say(uid, bytes([code]), end=False) == b"\x09", (state, code)


# The order of checks: what several things are wrong with is answered by the first; and without more bytes

LONG = b"\xff\xff"


@pytest.mark.parametrize("uid, state, data, expected", [
    (APP, 1, b"?" + LONG, 9),                       # action before parameters
    (VPN, 2, b"?", 9),                              # …before permission and state
    (SYSTEM, 1, b"g" + LONG, 6),                    # permission before parameters
    (VPN, 3, b"i" + LONG, 6),                       # …before state
    (SYSTEM, 3, b"g", 6),
    (APP, 2, b"u" + LONG, 6),
    (APP, 2, b"i" + LONG, 2),                       # state before parameters
    (VPN, 3, b"g" + LONG, 3),
    (SYSTEM, 1, b"u" + LONG, 1),
    (SYSTEM, 2, b"l" + b"x", 2),
    (APP, 1, b"g" + LONG, 5),                       # a parameter before its bytes
    (APP, 1, b"g\0\x79", 5),                        # 121
    (APP, 1, b"i\0\x79", 5),                        # the first before the second
    (APP, 1, b"i" + message(b"k") + b"\x80\x01", 5),  # 32769
    (SYSTEM, 2, b"u\x80\x01", 5),
    (SYSTEM, 1, b"p" + message(b"") + b"\x80\x01", 5),
    (APP, 3, b"e\0\x79", 5),
    (APP, 3, b"s\0\x79", 5),
    (APP, 3, b"d\0\x79", 5),
    (APP, 3, b"x\0\x79", 5),
    (APP, 1, request("g", b"nothing") + b"x", 5),   # end of file before what is asked
    (APP, 3, request("e", MINE) + b"x", 5),
    (APP, 2, request("t") + b"x", 5),
    (SYSTEM, 3, request("z") + b"x", 5),
    (SYSTEM, 1, request("l") + b"x", 5),
    (SYSTEM, 1, request("r") + b"x", 5),
    (SYSTEM, 2, request("u", b"wrong") + b"x", 5),
    (APP, 1, request("i", b"k", b"v") + b"x", 5),
    (APP, 1, request("x", MINE, b"10044") + b"x", 5)])
def test_order_of_checks(scenes, uid, state, data, expected):
    """Without an end of file: what is known is said."""
    k = scenes.get(state)
    assert k.say(uid, data, end=False) == bytes([expected])
    assert k.say(uid, data) == bytes([expected])
    assert (k.state, k.lines()[-1].split("retry: ")[1]) == (state, "4")


@pytest.mark.parametrize("uid, state, data", [
    (APP, 1, request("g", b"mine")), (APP, 1, request("i", b"cut", b"short")), (APP, 3, request("d", b"k")),
    (APP, 2, request("e", b"mine")), (APP, 2, request("s", b"mi")), (APP, 1, request("x", MINE, b"77")),
    (APP, 2, request("y", MINE, b"10003")), (SYSTEM, 2, request("u", PASSWORD))])
def test_who_ends_too_early(scenes, uid, state, data):
    """At every byte."""
    k = scenes.get(state)
    for n in range(1, len(data)):
        assert k.say(uid, data[:n]) == b"\5", n
        with k.connect(uid) as sock:  # and who does not wait for the answer
            sock.sendall(data[:n])
    assert k.state == state
    if state == 1:
        assert k.code(APP, "e", b"cut") == 7


def test_nothing_asked(store):
    assert store.say(APP, b"") == b""
    for _ in range(20):
        store.connect(APP).close()
    assert store.state == 1


def test_byte_by_byte(store):
    store.ok(APP, "i", b"slowly", b"come")
    with store.connect(APP) as sock:
        for byte in request("g", b"slowly"):
            sock.send(bytes([byte]))
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == answer(1, b"come")
    store.ok(APP, "d", b"slowly")


def test_state_is_looked_at_again(scenes):
    """Who has begun while it was open, and ends when it is locked."""
    k = scenes.get(1)
    requests = [request("g", MINE), request("i", b"late", b"value")]
    clients = [k.connect(APP) for _ in requests]
    for client, data in zip(clients, requests):
        client.sendall(data[:-1])
    k.ok(SYSTEM, "l")
    for client, data in zip(clients, requests):
        assert talk(client, data[-1:]) == b"\2"
    assert k.code(APP, "e", b"late") == 7
    scenes.changed(1)


# Limits, and that bytes are bytes


@pytest.mark.parametrize("size", [0, 1, 119, KEY_MAX])
def test_keys_up_to_the_limit(store, size):
    key = bytes(range(256))[256 - size:]
    store.ok(APP, "i", key, b"value")
    assert store.get(APP, key) == b"value"
    assert store.saw(APP) == [key]
    store.ok(APP, "x", key, b"10003")
    store.ok(APP, "y", key, b"10003")
    store.ok(APP, "d", key)
    assert store.saw(APP) == []


@pytest.mark.parametrize("code, more", [("g", ()), ("i", (b"v",)), ("d", ()), ("e", ()), ("s", ()),
                                        ("x", (b"1",)), ("y", (b"1",))])
def test_keys_over_the_limit(store, code, more):
    for size in (KEY_MAX + 1, 255, 256, 65535):
        assert store.ask(APP, code, b"k" * size, *more) == b"\5"


@pytest.mark.parametrize("size", [0, 1, 255, 256, VALUE_MAX - 1, VALUE_MAX])
def test_values_up_to_the_limit(store, size):
    value = bytes(i * 7 & 0xFF for i in range(size))
    store.ok(APP, "i", b"k", value)
    assert store.ask(APP, "g", b"k") == answer(1, value)
    store.ok(APP, "d", b"k")


def test_values_over_the_limit(store):
    store.ok(APP, "i", b"k", b"old")
    for size in (VALUE_MAX + 1, 65535):
        assert store.ask(APP, "i", b"k", bytes(size)) == b"\5"
    assert store.get(APP, b"k") == b"old"
    store.ok(APP, "d", b"k")


@pytest.mark.parametrize("password", [b"", b"\0", bytes(range(256)), b"\xff" * PASSWORD_MAX],
                         ids=["empty", "a zero", "all bytes", "the longest"])
def test_passwords(password):
    with Keystore(*CHEAP).start() as k:
        assert k.ask(SYSTEM, "p", b"what was is not asked", bytes(PASSWORD_MAX + 1)) == b"\5"
        assert k.state == 3
        k.ok(SYSTEM, "p", b"what was is not asked", password)
        k.ok(APP, "i", b"k", b"v")
        k.ok(SYSTEM, "l")
        assert k.code(SYSTEM, "u", password[:-1] if password else b"\0") == 13
        k.ok(SYSTEM, "u", password)
        assert k.get(APP, b"k") == b"v"
        assert k.code(SYSTEM, "p", password + b"\0" if len(password) < PASSWORD_MAX else b"", b"n") == 13
        k.ok(SYSTEM, "p", password, b"n")
        k.ok(SYSTEM, "l")
        assert k.code(SYSTEM, "u", password) == 13
        k.ok(SYSTEM, "p", b"n", b"n2")  # also opens
        assert (k.state, k.get(APP, b"k")) == (1, b"v")


def test_a_password_alone(store):
    """Android 4 sends one: who has it may have the store opened."""
    with Keystore(*CHEAP).start() as k:
        k.ok(SYSTEM, "p", b"one")
        k.ok(SYSTEM, "p", b"one")
        assert k.code(SYSTEM, "p", b"two") == 13
        k.ok(SYSTEM, "l")
        k.ok(SYSTEM, "p", b"one")
        assert k.state == 1
        assert k.say(SYSTEM, b"p") == k.say(SYSTEM, b"p\0") == k.say(SYSTEM, b"p\0\1") == b"\5"
        assert k.say(SYSTEM, request("p", b"one") + b"\0") == b"\5"


NAMES = [b"\xFDasterkey", b".masterkey", b"masterkey", b"../masterkey", b"tries", b".tmp", b"resetting", b"/etc/passwd",
         b"..", b".", b"a/b", b"a\0b", b"\0", b"%s%n", b"10002_key", b"\n", b"\xff" * KEY_MAX, b"\0" * KEY_MAX]


def test_names_of_all_bytes(store):
    for byte in range(256):
        store.ok(APP, "i", bytes([byte]), bytes([byte, 0]))
    for name in NAMES:
        store.ok(APP, "i", name, b"=" + name)
    everyone = sorted({bytes([b]) for b in range(256)} | set(NAMES))
    assert store.saw(APP) == everyone
    for byte in range(256):
        assert store.get(APP, bytes([byte])) == bytes([byte, 0]) if bytes([byte]) not in NAMES else True
        assert store.saw(APP, bytes([byte])) == sorted(n[1:] for n in everyone if n[:1] == bytes([byte]))
    for name in NAMES:
        assert store.get(APP, name) == b"=" + name
        assert store.saw(APP, name) == sorted(n[len(name):] for n in everyone if n.startswith(name))
    for name in everyone:
        store.ok(APP, "d", name)
    assert store.ask(APP, "s", b"") == answer(1)


def test_the_key_that_was_the_master_key():
    """Android encoded this name as ".masterkey"."""
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"other", b"value")
        master = k.master_key_file.read_bytes()
        for uid in (APP, SYSTEM):
            k.ok(uid, "i", b"\xFDasterkey", b"not a master key")
        assert k.get(APP, b"\xFDasterkey") == b"not a master key"
        assert k.master_key_file.read_bytes() == master
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert (k.get(APP, b"other"), k.get(APP, b"\xFDasterkey")) == (b"value", b"not a master key")
        for uid in (APP, SYSTEM):
            k.ok(uid, "d", b"\xFDasterkey")
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.get(APP, b"other") == b"value"


def test_empty_and_not(scenes):
    k = scenes.get(1)
    for uid in (APP, SYSTEM):
        assert k.code(SYSTEM, "z") == 1
        k.ok(uid, "d", MINE)
    assert k.code(SYSTEM, "z") == 7
    scenes.changed(1)


def test_one_has_not_what_another_has(store):
    """The same name, of each."""
    owners = [APP, STRANGER, READER, SYSTEM]
    for uid in owners:
        store.ok(uid, "i", b"key", b"of %d" % uid)
    for uid in owners[:3]:
        assert store.get(uid, b"key") == b"of %d" % uid
    for uid in (VPN, WIFI, ROOT):
        assert store.get(uid, b"key") == b"of %d" % SYSTEM
    store.ok(STRANGER, "d", b"key")
    assert store.get(STRANGER, b"key") == 7 and store.get(APP, b"key") == b"of %d" % APP
    for uid in owners:
        store.ok(uid, "d", b"key")


# Grants


def test_the_story():
    """An app stores a key, and the VPN cannot find it, until the app grants it. Nobody else ever does."""
    with opened(*CHEAP) as k:
        key, value = b"vpn-key", b"pre-shared \0 secret"

        def a_stranger_sees_nothing():
            for name in (key, b"%d_%s" % (APP, key)):
                assert k.get(STRANGER, name) == 7
                assert k.code(STRANGER, "e", name) == 7
            assert k.ask(STRANGER, "s", b"") == answer(1)
            for uid in (STRANGER, SYSTEM):  # who has no such key can neither grant nor take back
                assert k.code(uid, "x", key, b"%d" % STRANGER) == 7
                assert k.code(uid, "y", key, b"%d" % VPN) == 7
            assert k.get(WIFI, key) == 7 and k.get(ROOT, key) == 7

        k.ok(APP, "i", key, value)
        assert k.get(VPN, key) == 7
        a_stranger_sees_nothing()
        k.ok(APP, "x", key, b"%d" % VPN)
        assert k.ask(VPN, "g", key) == answer(1, value)
        assert k.ask(VPN, "g", b"%d_%s" % (APP, key)) == answer(1, value)
        a_stranger_sees_nothing()
        k.ok(APP, "i", b"\xFDasterkey", b"harmless")
        k.ok(APP, "d", b"\xFDasterkey")
        k.ok(APP, "y", key, b"%d" % VPN)
        assert k.get(VPN, key) == 7 and k.get(VPN, b"%d_%s" % (APP, key)) == 7
        a_stranger_sees_nothing()
        assert k.saw(APP) == [key] and k.get(APP, key) == value


def test_own_names_first(store):
    store.ok(APP, "i", b"both", b"the app's")
    store.ok(APP, "x", b"both", b"%d" % READER)
    assert store.get(READER, b"both") == b"the app's"
    store.ok(READER, "i", b"both", b"the reader's")
    assert store.get(READER, b"both") == b"the reader's"
    full = b"%d_both" % APP
    assert store.get(READER, full) == b"the app's"
    store.ok(READER, "i", full, b"the reader's, literally")
    assert store.get(READER, full) == b"the reader's, literally"
    for key in (b"both", full):
        store.ok(READER, "d", key)
    assert store.get(READER, b"both") == store.get(READER, full) == b"the app's"
    store.ok(APP, "d", b"both")


def test_a_vpns_own_names_are_the_systems(store):
    store.ok(APP, "i", b"shared", b"the app's")
    store.ok(APP, "x", b"shared", b"%d" % VPN)
    assert store.get(VPN, b"shared") == b"the app's"
    store.ok(SYSTEM, "i", b"shared", b"the system's")
    assert store.get(VPN, b"shared") == b"the system's"
    assert store.get(VPN, b"%d_shared" % APP) == b"the app's"
    # what is granted to the system is not granted to those who look up as the system
    store.ok(APP, "x", b"shared", b"%d" % SYSTEM)
    assert store.get(WIFI, b"%d_shared" % APP) == store.get(ROOT, b"%d_shared" % APP) == 7
    for uid in (APP, SYSTEM):
        store.ok(uid, "d", b"shared")


def test_two_grants_of_one_name(store):
    """Which of them is meant is not guessed."""
    for uid in (APP, STRANGER):
        store.ok(uid, "i", b"same", b"of %d" % uid)
        store.ok(uid, "x", b"same", b"%d" % READER)
    assert store.get(READER, b"same") == 7
    for uid in (APP, STRANGER):
        assert store.get(READER, b"%d_same" % uid) == b"of %d" % uid
    store.ok(STRANGER, "y", b"same", b"%d" % READER)
    assert store.get(READER, b"same") == b"of %d" % APP
    for uid in (APP, STRANGER):
        store.ok(uid, "d", b"same")
    assert store.get(READER, b"same") == 7


def test_names_that_only_look_like_a_grants(store):
    """`<owner uid>_<key>`, in decimal as it is written, and nothing like it."""
    store.ok(APP, "i", b"k", b"value")
    store.ok(APP, "x", b"k", b"%d" % READER)
    for name in (b"0%d_k", b"+%d_k", b" %d_k", b"%d_", b"%d__k", b"%d", b"%dk", b"%d_k\0", b"-%d_k"):
        assert store.get(READER, name % APP) == 7, name
    assert store.get(READER, b"%d_k" % (APP + (1 << 32))) == 7
    assert store.get(READER, b"_k") == store.get(READER, b"") == 7
    store.ok(APP, "d", b"k")


def test_who_names_an_owner_means_him(store):
    """A stranger's key that is called like another's, with the owner, is not given in its place."""
    full = b"%d_k" % APP
    store.ok(APP, "i", b"k", b"the app's")
    store.ok(APP, "x", b"k", b"%d" % READER)
    store.ok(STRANGER, "i", full, b"the stranger's")
    store.ok(STRANGER, "x", full, b"%d" % READER)
    assert store.get(READER, full) == b"the app's"
    store.ok(APP, "y", b"k", b"%d" % READER)
    assert store.get(READER, full) == 7
    store.ok(APP, "d", b"k")
    assert store.get(READER, full) == 7
    assert store.get(READER, b"%d_%s" % (STRANGER, full)) == b"the stranger's"
    store.ok(STRANGER, "d", full)


def test_a_grant_is_for_get_alone(store):
    store.ok(APP, "i", b"k", b"value")
    store.ok(APP, "x", b"k", b"%d" % READER)
    for name in (b"k", b"%d_k" % APP):
        assert store.code(READER, "e", name) == 7
        store.ok(READER, "d", name)
        assert store.code(READER, "x", name, b"%d" % STRANGER) == 7
        assert store.code(READER, "y", name, b"%d" % READER) == 7
    assert store.saw(READER) == []
    assert store.get(APP, b"k") == store.get(READER, b"k") == b"value"
    store.ok(READER, "i", b"%d_k" % APP, b"his own")
    assert store.get(APP, b"k") == b"value"
    store.ok(READER, "d", b"%d_k" % APP)
    store.ok(APP, "d", b"k")


def test_grants_live_and_die_with_the_key():
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"k", b"one")
        k.ok(APP, "x", b"k", b"%d" % READER)
        k.ok(APP, "x", b"k", b"%d" % READER)  # twice is once
        k.ok(APP, "x", b"k", b"%d" % VPN)
        k.ok(APP, "i", b"k", b"two")
        assert k.get(READER, b"k") == k.get(VPN, b"k") == b"two"
        k.restart()
        assert k.get(READER, b"k") == 2
        k.ok(APP, "y", b"k", b"%d" % VPN)  # also while it is locked
        k.ok(APP, "x", b"k", b"%d" % WIFI)
        k.ok(SYSTEM, "u", PASSWORD)
        assert [k.get(uid, b"k") for uid in (READER, VPN, WIFI)] == [b"two", 7, b"two"]
        k.ok(APP, "y", b"k", b"%d" % READER)
        assert k.code(APP, "y", b"k", b"%d" % READER) == 7
        k.ok(APP, "d", b"k")
        k.ok(APP, "i", b"k", b"three")
        assert [k.get(uid, b"k") for uid in (READER, VPN, WIFI)] == [7, 7, 7]
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert [k.get(uid, b"k") for uid in (READER, VPN, WIFI)] == [7, 7, 7]


@pytest.mark.parametrize("text", [b"", b"-1", b"+1", b" 1", b"1 ", b"1\n", b"1\0", b"0x1", b"1e3", b"one", b"4294967295",
                                  b"4294967296", b"18446744073709551617", b"9" * 100, "١".encode()])
def test_what_is_no_uid(store, text):
    store.ok(APP, "i", b"k", b"v")
    assert store.code(APP, "x", b"k", text) == store.code(APP, "y", b"k", text) == 5
    store.ok(APP, "d", b"k")


def test_what_is_a_uid(store):
    store.ok(APP, "i", b"k", b"v")
    for text in (b"0", b"1", b"65534", b"4294967294"):
        store.ok(APP, "x", b"k", text)
        store.ok(APP, "y", b"k", text)
        assert store.code(APP, "y", b"k", text) == 7
    store.ok(APP, "x", b"k", b"0")
    assert store.get(ROOT, b"k") == b"v"
    store.ok(APP, "d", b"k")


# Tries, and the log


def test_wrong_passwords_and_then_nothing():
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"k", b"v")
        k.ok(SYSTEM, "l")
        assert [k.code(SYSTEM, "u", b"wrong") for _ in range(2)] == [13, 12]
        k.ok(SYSTEM, "u", PASSWORD)
        k.ok(SYSTEM, "l")
        assert [k.code(SYSTEM, "u", b"wrong") for _ in range(2)] == [13, 12]
        assert [k.code(SYSTEM, "p", b"wrong", b"new") for _ in range(2)] == [11, 10]
        assert k.state == 2 and k.saw(APP) == [b"k"]
        assert k.code(SYSTEM, "u", b"wrong") == 3
        assert k.state == 3 and k.saw(APP) == []
        assert re.findall(r"uid: 1000 action: [up] (-> \d+ state: \d -> \d retry: \d)", k.log)[-5:] == [
            "-> 13 state: 2 -> 2 retry: 3", "-> 12 state: 2 -> 2 retry: 2", "-> 11 state: 2 -> 2 retry: 1",
            "-> 10 state: 2 -> 2 retry: 0", "-> 3 state: 2 -> 3 retry: 4"]
        k.ok(SYSTEM, "p", b"", b"again")
        assert k.get(APP, b"k") == 7
        k.ok(SYSTEM, "l")
        assert k.code(SYSTEM, "u", b"wrong") == 13


def test_a_wrong_old_password_while_open():
    with opened(*CHEAP) as k:
        assert [k.code(SYSTEM, "p", b"wrong", b"new") for _ in range(4)] == [13, 12, 11, 10]
        assert k.state == 1
        k.ok(SYSTEM, "p", PASSWORD, PASSWORD)
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        k.ok(APP, "i", b"k", b"v")
        assert [k.code(SYSTEM, "p", b"wrong", b"new") for _ in range(4)] == [12, 11, 10, 3]
        assert k.state == 3 and k.saw(APP) == []


def test_the_line_of_the_field(scenes):
    k = scenes.get(1)
    before = len(k.lines())
    assert k.get(VPN, b"not there") == 7
    assert k.get(VPN, MINE) == SYSTEMS
    assert k.code(VPN, "t") == 6
    assert k.say(APP, b"i\xff\xff") == b"\5"
    k.say(APP, b"")  # asks nothing, and is none
    assert k.lines()[before:] == [
        "uid: 1016 action: g -> 7 state: 1 -> 1 retry: 4", "uid: 1016 action: g -> 1 state: 1 -> 1 retry: 4",
        "uid: 1016 action: t -> 6 state: 1 -> 1 retry: 4", "uid: 10001 action: i -> 5 state: 1 -> 1 retry: 4"]


def test_an_action_cannot_forge_the_log(scenes):
    k = scenes.get(1)
    for code in (b"\n", b"\x1b", b"\0", b"\xff", b"\x7f"):
        assert k.say(APP, code) == b"\x09"
    text = (k.folder / "log").read_bytes()
    assert not set(text) & (set(range(32)) - {10} | {0x7F, 0xFF})
    assert all(b"action: " not in line or b"->" in line for line in text.split(b"\n"))


def test_classes_that_are_not_given():
    """Without --wifi-uid that user is one like all others."""
    with Keystore(*CHEAP) as k:
        words = k.command()
        at = words.index("--wifi-uid")
        k.command = lambda: words[:at] + words[at + 2:]
        k.start()
        assert k.code(WIFI, "t") == 3
        assert k.code(VPN, "t") == 6


def test_who_nobody_told_whom_to_become():
    """As root, on a machine without its user: it says so, and goes on."""
    with opened(*CHEAP, user=None) as k:
        k.ok(APP, "i", b"k", b"v")
        assert k.get(APP, b"k") == b"v"
        assert "waymark-keystore" in k.log


def test_many_answers_are_whole(store):
    names = [b"%03d" % i + b"x" * 100 for i in range(200)]
    for name in names:
        store.ok(APP, "i", name, b"")
    data = store.ask(APP, "s", b"")
    assert sorted(messages(data)) == names and data == answer(1, *messages(data))
    for name in names:
        store.ok(APP, "d", name)
