# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark keystore …` with the real keystore: what it says, asks and exits with; and with a fake one where
the real one would have to be broken."""

import base64
import os
import signal
import time

import pytest

from keystore_cli import Accounts, Terminal, waymark
from keystore_fake import FakeKeystore
from keystore_fixture import APP, CHEAP, ROOT, STRANGER, SYSTEM, VPN, Keystore
from test_cli import compare_with_golden

PASSWORD = b"correct horse"


@pytest.fixture(name="keystore")
def make_keystore():
    """Unlocked, with a password that can be typed."""
    with Keystore(*CHEAP) as keystore:
        keystore.start()
        keystore.ok(SYSTEM, "p", b"", PASSWORD)
        yield keystore


@pytest.fixture(name="run")
def make_run(keystore):
    return lambda uid, *args, **options: waymark(keystore.runtime, uid, *args, **options)


# What people see.

SCENE = [
    (SYSTEM, "test", b""), (SYSTEM, "unlock", b"x\n"), (APP, "put psk", b"secret"),
    (SYSTEM, "password", b"one\n"), (SYSTEM, "test", b""), (SYSTEM, "", b""),
    (APP, "put psk", b"secret"), (APP, "get psk", b""), (APP, "get psk --json", b""),
    (APP, "list", b""), (APP, "list --json", b""), (APP, "list nosuch", b""),
    (VPN, "get psk", b""), (APP, f"grant psk {VPN}", b""), (VPN, "get psk", b""),
    (VPN, "list", b""), (APP, f"ungrant psk {VPN}", b""), (APP, f"ungrant psk {VPN}", b""),
    (APP, "grant nosuch root", b""), (APP, "grant psk nosuch", b""),
    (APP, "rm psk", b""), (APP, "rm psk", b""), (APP, "rm psk --json", b""), (APP, "get psk", b""),
    (APP, "lock", b""), (SYSTEM, "lock", b""), (SYSTEM, "lock", b""), (APP, "test --json", b""),
    (APP, "put psk", b"secret"), (APP, "get psk", b""),
    (SYSTEM, "unlock", b""), (SYSTEM, "unlock", b"wrong\n"), (SYSTEM, "unlock", b"one"),
    (SYSTEM, "unlock", b""), (SYSTEM, "password", b"wrong\ntwo\n"), (SYSTEM, "password", b"one\ntwo\n"),
    (SYSTEM, "lock", b""), (SYSTEM, "unlock", b"two\nmore\n"),
    (SYSTEM, "reset", b"yes\n"), (SYSTEM, "reset --force", b""), (SYSTEM, "test", b""),
    (SYSTEM, "password", b"old\nnew\n"), (SYSTEM, "lock", b""),
    *[(SYSTEM, "unlock", b"wrong\n")] * 5, (SYSTEM, "test", b""),
    (APP, f"test --as {SYSTEM}", b""), (ROOT, "test", b""), (ROOT, "get psk", b""),
    (APP, "get", b""), (APP, "get a b", b""), (APP, "put a b", b""), (APP, "list --force", b""),
    (APP, "bogus", b""), (APP, "get " + "k" * 121, b""), (ROOT, "list --as nosuch", b""),
]


def test_golden():
    with Keystore(*CHEAP) as keystore:
        keystore.start()
        out = []
        for uid, args, given in SCENE:
            done = waymark(keystore.runtime, uid, *args.split(), given=given)
            out += [f"uid {uid} $ waymark keystore {args}".rstrip()]
            out += [f"< {line}" for line in given.decode().splitlines()]
            out += done.out.splitlines() + [f"! {line}" for line in done.err.splitlines()]
            out += [f"[{done.code}]", ""]
    text = "\n".join(out).replace(str(keystore.folder), "DIR")
    compare_with_golden("keystore", text)


# Values.

def test_values_are_bytes(run):
    everything = bytes(range(256)) + b"\n"
    assert run(APP, "put", "k", given=everything).code == 0
    assert run(APP, "get", "k").raw == everything
    assert base64.b64decode(run(APP, "get", "k", "--json").json["value_bytes"]) == everything
    assert run(APP, "put", "k").code == 0
    assert run(APP, "get", "k").raw == b""
    assert run(APP, "get", "k", "--json").json == {"waymark": 1, "key": "k", "value_bytes": ""}


def test_base64_of_any_length(run):
    for n in range(1, 7):
        run(APP, "put", "k", given=b"\xfb\xff\xbf"[:n] * n)
        value = run(APP, "get", "k", "--json").json["value_bytes"]
        assert base64.b64decode(value, validate=True) == b"\xfb\xff\xbf"[:n] * n


def test_the_longest_value(run):
    assert run(APP, "put", "k", given=b"v" * 32768).code == 0
    assert run(APP, "get", "k").raw == b"v" * 32768
    done = run(APP, "put", "k", given=b"v" * 32769)
    assert (done.code, done.err) == (
        4, "waymark: the value on standard input has more than 32768 bytes\n")
    assert run(APP, "get", "k").raw == b"v" * 32768


def test_a_key_may_be_called_almost_anything(keystore, run):
    for key in ("", "a b", "ä/../\n", "--", "100%"):
        assert run(APP, "put", "--", key, given=b"x").code == 0
        assert run(APP, "get", "--", key).raw == b"x"
    keystore.ok(APP, "i", b"\xfdaster\\key\x00", b"x")
    keys = run(APP, "list", "--json").json["keys"]
    assert [key["key"] for key in keys] == ["", "--", "100%", "a b", "ä/../\\x0a",
                                            "\\xfdaster\\\\key\\x00"]
    assert base64.b64decode(keys[-1]["key_bytes"]) == b"\xfdaster\\key\x00"
    assert run(APP, "list").out.splitlines() == [key["key"] for key in keys]
    assert run(APP, "list", "a").out == "a b\n"


def test_output_that_cannot_be_written(run, keystore):
    run(APP, "put", "k", given=b"secret")
    with Terminal(keystore.runtime, APP, "get", "k", stdout=os.open("/dev/full", os.O_WRONLY)) as at:
        assert at.ends() == 4
        assert "cannot write the output: No space left on device" in at.out


# Who asks.

def test_root_acts_for_others(run):
    assert run(ROOT, "put", "k", "--as", APP, given=b"x").code == 0
    assert run(APP, "get", "k").raw == b"x"
    assert run(ROOT, "get", "k", "--as", APP).raw == b"x"
    assert run(ROOT, "list", "--as", f"uid:{APP}").out == "k\n"
    assert run(ROOT, "list", "--as", STRANGER).out == ""
    assert run(ROOT, "get", "k").code == 10, "root itself has the system's names"
    assert run(APP, "list", "--as", APP).out == "k\n"
    refused = run(APP, "list", "--as", STRANGER)
    assert (refused.code, refused.out) == (4, "")
    assert f"only root may act for uid {STRANGER}" in refused.err


def test_root_is_the_system_user_where_there_is_one(run, tmp_path):
    enter = Accounts(tmp_path, SYSTEM).enter
    assert run(ROOT, "put", "k", given=b"x", enter=enter).code == 0
    assert run(ROOT, "list", enter=enter).out == "k\n"
    assert run(SYSTEM, "list").out == "k\n"
    assert run(ROOT, "get", "k", enter=enter).raw == b"x", "as root, who looks up as the system"
    refused = run(ROOT, "get", "k", "--as", "waymark", enter=enter)
    assert (refused.code, refused.err) == (4, f"waymark: uid {SYSTEM} manages the keystore, and may not get "
                                           "keys: its VPNs do that\n")
    assert run(ROOT, "lock", enter=enter).code == 0
    assert run(ROOT, "test", enter=enter).out == "locked\n"
    assert run(ROOT, "unlock", enter=enter, given=PASSWORD).code == 0
    assert run(ROOT, "reset", "--force", enter=enter).code == 0
    assert "there is no user 'waymark'" not in run(ROOT, "list", enter=enter).err


def test_root_without_a_system_user_is_told(run):
    done = run(ROOT, "lock")
    assert (done.code, done.err) == (4, "waymark: root may only get keys: name with --as the user to act "
                                     "for (there is no user 'waymark', who manages the keystore)\n")


# At a terminal.

def test_a_person_is_asked_for_a_value_twice(keystore, run):
    with Terminal(keystore.runtime, APP, "put", "k") as at:
        at.sees("Value: ")
        assert at.hides()
        at.types("s3cret\n").sees("The same again: ")
        assert at.hides()
        assert at.types("s3cret\n").ends() == 0
        assert not at.hides(), "the terminal is as it was"
        assert "s3cret" not in at.out
    assert run(APP, "get", "k").raw == b"s3cret", "without the line's end"
    with Terminal(keystore.runtime, APP, "put", "k") as at:
        at.sees("Value: ").types("one\n").sees("again: ").types("two\n")
        assert at.ends() == 4 and "the two are not the same" in at.out
    assert run(APP, "get", "k").raw == b"s3cret"


def test_a_person_changes_the_password(keystore, run):
    with Terminal(keystore.runtime, SYSTEM, "password") as at:
        at.sees("Present password of the keystore: ").types("wrong\n")
        at.sees("New password: ").types("new\n").sees("again: ").types("new\n")
        assert at.ends() == 4 and "wrong password: 4 tries are left" in at.out
    with Terminal(keystore.runtime, SYSTEM, "password") as at:
        at.sees("Present password of the keystore: ").types(PASSWORD.decode() + "\n")
        at.sees("New password: ").types("new\n").sees("again: ").types("new\n")
        assert at.ends() == 0
    assert run(SYSTEM, "lock").code == 0
    with Terminal(keystore.runtime, SYSTEM, "unlock") as at:
        at.sees("Password of the keystore: ").types("new\n")
        assert at.ends() == 0
    with Terminal(keystore.runtime, SYSTEM, "unlock") as at:
        assert at.ends() == 0 and at.out == "", "nobody is asked for what is not needed"
    assert run(SYSTEM, "reset", "--force").code == 0
    with Terminal(keystore.runtime, SYSTEM, "unlock") as at:
        assert at.ends() == 4 and "has no password yet" in at.out
    with Terminal(keystore.runtime, SYSTEM, "password") as at:
        at.sees("New password: ").types("first\n").sees("again: ").types("first\n")
        assert at.ends() == 0 and "Present" not in at.out


def test_a_person_is_asked_before_all_is_wiped(keystore, run):
    for answer, code, state in (("no", 4, "unlocked"), ("", 4, "unlocked"), ("yes", 0, "uninitialized")):
        with Terminal(keystore.runtime, SYSTEM, "reset") as at:
            at.sees("Wipe all keys of all users, and the password? (yes/no) ").types(answer + "\n")
            assert at.ends() == code
        assert run(SYSTEM, "test").out == state + "\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_who_is_interrupted_leaves_the_terminal_as_it_was(keystore, number):
    with Terminal(keystore.runtime, APP, "put", "k") as at:
        at.sees("Value: ")
        assert at.hides()
        at.process.send_signal(number)
        assert at.ends() == -number
        assert not at.hides()


def test_who_was_stopped_is_asked_again(keystore, run):
    """Here nobody is there who would continue it, so the kernel does not stop it in the first place."""
    with Terminal(keystore.runtime, APP, "put", "k") as at:
        at.sees("Value: ").types("half")
        at.process.send_signal(signal.SIGTSTP)
        at.sees("Value: \r\nValue: ")
        assert at.hides()
        at.types("whole\n").sees("again: ").types("whole\n")
        assert at.ends() == 0
    assert run(APP, "get", "k").raw == b"whole"


def test_end_of_file_is_no_answer(keystore):
    with Terminal(keystore.runtime, APP, "put", "k") as at:
        at.sees("Value: ").types("\x04")
        assert at.ends() == 4 and "nothing was entered, and nothing was done" in at.out


def test_a_value_at_a_terminal(keystore, run):
    run(APP, "put", "text", given="schlüssel".encode())
    run(APP, "put", "line", given=b"a line\n")
    run(APP, "put", "bytes", given=b"\x1b[31m\x00")
    for key, seen in (("text", "schlüssel\r\n"), ("line", "a line\r\n")):
        with Terminal(keystore.runtime, APP, "get", key) as at:
            assert at.ends() == 0 and at.out == seen
    with Terminal(keystore.runtime, APP, "get", "bytes") as at:
        assert at.ends() == 4
        assert "the value is no text that a terminal can show" in at.out and "\x1b" not in at.out
    with Terminal(keystore.runtime, APP, "get", "bytes", "--force") as at:
        assert at.ends() == 0 and "\x1b[31m" in at.out


# Nobody, or nobody sensible, answers.

def test_nobody_is_there(tmp_path):
    tmp_path.chmod(0o755)
    for args in ("test", "get k", "put k", "list", "rm k", "reset --force", "unlock", "lock"):
        done = waymark(tmp_path, ROOT, *args.split(), given=b"x")
        assert (done.code, done.out) == (8, "")
        assert done.err == (f"waymark: waymark-keystored is not running (nobody listens on {tmp_path}/"
                            "keystore): start it with `systemctl start waymark-keystored`\n")
    done = waymark(tmp_path, ROOT, "--json", "test")
    assert (done.code, done.json["error"]["errno"]) == (8, "ECONNREFUSED")


@pytest.mark.parametrize("answer, code, said", [
    (b"\x04", 4, "see `journalctl -u waymark-keystored`"),
    (b"\x05", 4, "answer 5: protocol error"), (b"\x09", 4, "answer 9: undefined action"),
    (b"\x08", 4, "the stored value of 'k' is damaged"), (b"\x00", 4, "is no keystore"),
    (b"\x01", 4, "the keystore's answer is no value"), (None, 8, "closed the connection"),
])
def test_each_answer_has_its_sentence(tmp_path, answer, code, said):
    with FakeKeystore(tmp_path, {"g": answer}):
        done = waymark(tmp_path, ROOT, "get", "k")
    assert done.code == code and said in done.err and done.raw == b""


@pytest.mark.parametrize("answers, args, said", [
    ({"t": b"\x02", "u": b"\x0a"}, ["unlock"], "1 try is left, and if that is wrong, too"),
    ({"t": b"\x02", "u": b"\x03"}, ["unlock"], "the keystore has wiped everything: begin anew"),
    ({"t": b"\x02", "u": b"\x08"}, ["unlock"], "master key is damaged"),
    ({"s": b"\x01\x00"}, ["list"], "the keystore's answer is no list"),
    ({"s": b"\x01\x00\x79" + b"k" * 121}, ["list"], "the keystore's answer is no list"),
])
def test_more_sentences(tmp_path, answers, args, said):
    with FakeKeystore(tmp_path, answers):
        done = waymark(tmp_path, ROOT, *args, given=b"password\n")
    assert done.code == 4 and said in done.err


def test_patience_has_an_end(keystore):
    """Also with one that hangs; --timeout says when."""
    keystore.process.send_signal(signal.SIGSTOP)
    try:
        start = time.monotonic()
        done = waymark(keystore.runtime, APP, "test", "--timeout", "1")
        assert done.code == 3 and "did not answer in time" in done.err
        assert time.monotonic() - start >= 1
    finally:
        keystore.process.send_signal(signal.SIGCONT)


def test_no_secret_on_the_command_line(keystore):
    """Of a value and a password, no word says so: what stands behind KEY is refused."""
    done = waymark(keystore.runtime, APP, "put", "k", "value")
    assert done.code == 2 and "is too much" in done.err
    done = waymark(keystore.runtime, SYSTEM, "unlock", "password")
    assert done.code == 2 and "is too much" in done.err
