# SPDX-License-Identifier: LGPL-2.1-or-later
"""libwaymark's keystore (programs/keystore-client.c), with the real one, and with a fake one for answers
that the real one cannot be made to give."""

import os
import pathlib
import subprocess

import pytest

from harness import WAIT, check_sanitizers
from keystore_fake import FakeKeystore
from keystore_fixture import APP, CHEAP, PASSWORD, ROOT, STRANGER, SYSTEM, VPN, opened
from library import PROGRAMS

CLIENT = PROGRAMS / "keystore-client"
UNLOCKED, LOCKED, UNINITIALIZED = "1", "2", "3"


def h(data):
    return (data.encode() if isinstance(data, str) else data).hex()


def run(runtime, uid, *words):
    """What keystore-client prints, line by line."""
    env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": str(runtime)}
    env |= {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
    done = subprocess.run([CLIENT, *" ".join(map(str, words)).split()], env=env, timeout=WAIT * 3,
                          user=uid, capture_output=True, text=True, check=False)
    check_sanitizers(done.stderr)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


@pytest.fixture(scope="module", name="ask")
def make_ask():
    """An unlocked one, to be asked as a user."""
    with opened(*CHEAP) as keystore:
        yield lambda uid, *words: run(keystore.runtime, uid, *words)


@pytest.fixture(name="own")
def make_own():
    """One that a test may lock, wipe and damage."""
    with opened(*CHEAP) as keystore:
        yield keystore


def test_values_are_bytes(ask):
    everything = h(bytes(range(256)))
    key = h(b"\xfdasterkey/../\x00 \xff")
    assert ask(APP, "put", key, everything, "get", key, "exists", key) == ["ok", "=" + everything,
                                                                         "ok"]
    assert ask(APP, "put - - get - put", h("long"), "61" * 32768, "get", h("long")) == [
        "ok", "=", "ok", "=" + "61" * 32768]
    assert ask(APP, "delete", key, "delete", key, "get", key, "exists", key, "delete -",
               "delete", h("long")) == ["ok", "ok", "ENOENT", "ENOENT", "ok", "ok"]


def test_the_longest_key(ask):
    key = "6b" * 120
    assert ask(APP, "put", key, "00 get", key, "list", key, "list", "6b" * 119, "delete", key) == [
        "ok", "=00", f"1: {key}00", f"1: {key}00", "ok"]


def test_what_is_too_long_is_not_sent(ask):
    key, value = "6b" * 121, "61" * 32769
    assert ask(APP, "put", key, "00 get", key, "list", key, "exists", key, "delete", key, "grant",
               key, 5, "put 61", value) == ["EMSGSIZE"] * 7
    assert ask(SYSTEM, "unlock", value, "password -", value) == ["EMSGSIZE"] * 2


def test_lists(ask):
    assert ask(STRANGER, "list -", "list", h("none")) == ["0:", "0:"]
    ask(STRANGER, *(f"put {h(key)} 00" for key in ("a", "a1", "b")), "put 6100ff 00")
    count, *names = ask(STRANGER, "list", h("a"))[0].split()
    assert (count, sorted(names)) == ("3:", ["610000"[:4], "6100ff00", "613100"])
    assert len(ask(STRANGER, "list -")[0].split()) == 5
    assert ask(APP, "list", h("a")) == ["0:"], "others' keys are nobody's business"
    ask(STRANGER, *(f"delete {h(key)}" for key in ("a", "a1", "b")), "delete 6100ff")


def test_the_story(ask):
    key = h("psk")
    assert ask(APP, "put", key, h("secret")) == ["ok"]
    assert ask(VPN, "get", key) == ["ENOENT"]
    assert ask(APP, "grant", key, VPN) == ["ok"]
    assert ask(VPN, "get", key, "get", h(f"{APP}_psk")) == ["=" + h("secret")] * 2
    assert ask(STRANGER, "get", key, "get", h(f"{APP}_psk"), "list -") == ["ENOENT", "ENOENT", "0:"]
    assert ask(APP, "ungrant", key, VPN, "ungrant", key, VPN) == ["ok", "ENOENT"]
    assert ask(VPN, "get", key) == ["ENOENT"]
    assert ask(APP, "grant", h("nosuch"), VPN, "delete", key) == ["ENOENT", "ok"]


def test_who_may_what(ask):
    everything = "state get 61 put 61 00 delete 61 exists 61 list - empty"
    assert ask(APP, everything) == [UNLOCKED, "ENOENT", "ok", "ok", "ENOENT", "0:", "EACCES"]
    assert ask(VPN, everything) == ["EACCES", "ENOENT", *["EACCES"] * 5]
    assert ask(ROOT, everything) == ["EACCES", "ENOENT", *["EACCES"] * 5]
    assert ask(SYSTEM, everything) == [UNLOCKED, "EACCES", "ok", "ok", "ENOENT", "0:", "empty"]
    assert ask(APP, "lock unlock 00 password 00 00 reset") == ["EACCES"] * 4


def test_locked(own):
    key = h("k")
    assert run(own.runtime, APP, "put", key, "00") == ["ok"]
    assert run(own.runtime, SYSTEM, "state lock lock state empty") == [
        UNLOCKED, "ok", "ok", LOCKED, "not empty"]
    assert run(own.runtime, APP, "state get", key, "put", key, "01", "exists", key) == [
        LOCKED, "ENOKEY", "ENOKEY", "ok"]
    assert run(own.runtime, SYSTEM, "unlock", PASSWORD.hex(), "unlock 00", "state") == [
        "ok", "ok", UNLOCKED], "who is in needs no password"
    assert run(own.runtime, APP, "get", key) == ["=00"]


def test_passwords(own):
    new = h("another")
    assert run(own.runtime, SYSTEM, "password", new, new, "password", PASSWORD.hex(), new, "lock",
               "unlock", PASSWORD.hex(), "unlock", new) == ["EKEYREJECTED 4", "ok", "ok",
                                                           "EKEYREJECTED 4", "ok"]


def test_the_last_wrong_password_wipes(own):
    run(own.runtime, APP, "put 61 00")
    assert run(own.runtime, SYSTEM, "lock", *["unlock 00"] * 5, "state", "empty", "unlock 00") == [
        "ok", *(f"EKEYREJECTED {n}" for n in (4, 3, 2, 1)), "ENODATA", UNINITIALIZED, "empty",
        "ENODATA"]
    assert run(own.runtime, APP, "get 61 put 61 00 list -") == ["ENODATA", "ENODATA", "0:"]
    assert run(own.runtime, SYSTEM, "lock password -", h("new"), "state") == ["ENODATA", "ok",
                                                                            UNLOCKED]


def test_reset(own):
    run(own.runtime, APP, "put 61 00")
    assert run(own.runtime, SYSTEM, "reset state empty") == ["ok", UNINITIALIZED, "empty"]


def test_a_damaged_value(own):
    run(own.runtime, APP, "put 61 00")
    path = own.value_file(APP, b"a")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert run(own.runtime, APP, "get 61 exists 61 put 61 01 get 61") == ["EBADMSG", "ok", "ok",
                                                                        "=01"]


def test_null_is_refused_and_errno_stays(ask):
    assert ask(APP, "null errno") == ["14 refused", "ELIBBAD"]


# Nobody, or nobody sensible, answers.

EVERYTHING = ("state empty get 61 put 61 00 delete 61 exists 61 list - grant 61 5 ungrant 61 5 lock "
              "unlock 00 password 00 00 reset")


def test_nobody_is_there(tmp_path, own):
    tmp_path.chmod(0o755)
    assert run(tmp_path, 0, EVERYTHING) == ["ECONNREFUSED"] * 13
    assert run("/" + "x" * 200, 0, EVERYTHING) == ["ENAMETOOLONG"] * 13
    own.kill()
    assert pathlib.Path(own.path).exists()
    assert run(own.runtime, 0, EVERYTHING) == ["ECONNREFUSED"] * 13


@pytest.mark.parametrize("answer, error", [
    (b"\x04", "EIO"), (b"\x05", "EPROTO"), (b"\x06", "EACCES"), (b"\x08", "EBADMSG"),
    (b"\x09", "EOPNOTSUPP"), (b"\x0d", "EKEYREJECTED"), (b"\x0a", "EKEYREJECTED"),
    (b"\x00", "EPROTO"), (b"\x0e", "EPROTO"), (b"\xff", "EPROTO"), (None, "ECONNRESET"),
])
def test_each_answer_has_an_errno(tmp_path, answer, error):
    with FakeKeystore(tmp_path, dict.fromkeys("tzgidesxylupr", answer)):
        lines = run(tmp_path, 0, EVERYTHING)
    assert {line.split()[0] for line in lines} == {error} and len(lines) == 13


@pytest.mark.parametrize("answer", [b"\x01", b"\x01\x00", b"\x01\x00\x05abc", b"\x01\x00\x01a\x00\x00"])
def test_a_value_that_is_none(tmp_path, answer):
    with FakeKeystore(tmp_path, {"g": answer}):
        assert run(tmp_path, 0, "get 61") == ["EPROTO"]


@pytest.mark.parametrize("answer", [b"\x01\x00", b"\x01\x00\x01a\x00", b"\x01\xff\xffabc"])
def test_a_list_that_is_none(tmp_path, answer):
    with FakeKeystore(tmp_path, {"s": answer}):
        assert run(tmp_path, 0, "list -") == ["EPROTO"]


def test_an_answer_that_comes_before_the_question_is_over(tmp_path):
    """A keystore that knows its answer does not read on; the answer is not lost for that."""
    with FakeKeystore(tmp_path, {"i": b"\x06", "p": b"\x0c"}, hasty=True):
        for _ in range(20):
            assert run(tmp_path, 0, "put 61", "61" * 32768, "password", "61" * 32768,
                       "61" * 32768) == ["EACCES", "EKEYREJECTED 3"]


def test_requests_are_androids(tmp_path):
    with FakeKeystore(tmp_path, {}) as fake:
        run(tmp_path, 0, EVERYTHING)
    assert fake.asked == [
        b"t", b"z", b"g\0\1a", b"i\0\1a\0\1\0", b"d\0\1a", b"e\0\1a", b"s\0\0", b"x\0\1a\0\x015",
        b"y\0\1a\0\x015", b"l", b"u\0\1\0", b"p\0\1\0\0\1\0", b"r"]
