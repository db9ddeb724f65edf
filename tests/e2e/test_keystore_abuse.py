# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an attacker, an accident or a careless administrator does to a store and to an import."""

import contextlib
import os
import pathlib
import re
import tempfile

import pytest

from android_store import AndroidStore
from harness import wait_for
from keystore_cli import Terminal, waymark
from keystore_client import answer, everything, request, send
from keystore_fake import FakeKeystore
from keystore_fixture import APP, CHEAP, PASSWORD, READER, ROOT, STRANGER, SYSTEM, Keystore, opened

MINUTE = ("--argon2-memory", "64", "--retry-delay", "60000")


@pytest.fixture
def store():
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"good", b"value")
        yield k


# Locking


def test_lock_waits_for_no_password():
    """Wrong ones, each of which is to wait for a minute."""
    with opened(*MINUTE, "--no-wipe") as k, contextlib.ExitStack() as open_sockets:
        k.ok(APP, "i", b"a", b"value")
        assert k.code(SYSTEM, "p", b"wrong", b"x") == 13
        for _ in range(40):
            sock = open_sockets.enter_context(k.connect(SYSTEM))
            send(sock, request("p", b"wrong", b"x"))
            sock.shutdown(1)
        k.ok(SYSTEM, "l")
        assert (k.state, k.get(APP, b"a")) == (2, 2)
        k.ok(SYSTEM, "r")
        assert k.state == 3


def test_lock_passes_what_waits(store):
    """Each of those that wait is stored, or told that the store is locked."""
    with contextlib.ExitStack() as open_sockets:
        socks = []
        for i in range(200):
            socks.append(open_sockets.enter_context(store.connect(APP + i % 20)))
            send(socks[-1], request("i", b"k%d" % i, b"v" * 1000))
            socks[-1].shutdown(1)
        store.ok(SYSTEM, "l")
        assert store.state == 2
        answers = [everything(sock)[0] for sock in socks]
    assert set(answers) <= {1, 2}
    store.ok(SYSTEM, "u", PASSWORD)
    for i, code in enumerate(answers):
        assert store.get(APP + i % 20, b"k%d" % i) == (b"v" * 1000 if code == 1 else 7)


def test_a_password_that_waits_does_not_unlock_again():
    with opened(*MINUTE) as k:
        k.ok(APP, "i", b"a", b"value")
        slow = k.connect(SYSTEM)
        with slow:
            send(slow, request("p", PASSWORD, PASSWORD))
            slow.shutdown(1)
            k.ok(SYSTEM, "l")
            everything(slow)
        assert (k.state, k.get(APP, b"a")) == (2, 2)


# Locked memory


def secrets_in_memory(keystore):
    """How many of the mappings that are not dumped are locked, and how many are not."""
    text = pathlib.Path(f"/proc/{keystore.pid}/smaps").read_text(encoding="ascii")
    found = [flags.split() for head, flags in
             re.findall(r"^[0-9a-f]+-[0-9a-f]+ (rw\S*) .*?^VmFlags: (.*?)$", text, re.M | re.S)]
    found = [flags for flags in found if "dd" in flags and "rd" in flags and "wr" in flags]
    return sum("lo" in flags for flags in found), sum("lo" not in flags for flags in found)


def mappings(keystore):
    return len(pathlib.Path(f"/proc/{keystore.pid}/maps").read_text(encoding="ascii").splitlines())


def test_half_requests_use_up_no_locked_memory(store):
    """Nor mappings; so that the store can be locked, and what unlocks it is locked in memory."""
    store.ok(SYSTEM, "l")
    before = mappings(store), secrets_in_memory(store)
    with contextlib.ExitStack() as open_sockets:
        for _ in range(400):
            send(open_sockets.enter_context(store.connect(APP)), b"e\0")
        wait_for("all to be there", lambda: store.open_files() > 400)
        assert mappings(store) < before[0] + 50
        store.ok(SYSTEM, "u", PASSWORD)
        assert store.get(APP, b"good") == b"value"
        locked, unlocked = secrets_in_memory(store)
        assert unlocked <= before[1][1] and locked >= before[1][0]
        store.ok(SYSTEM, "l")
        assert store.state == 2


# Guessing


def test_the_longest_delay_is_kept_over_a_restart():
    with opened("--argon2-memory", "64", "--retry-delay", "0", "--no-wipe") as k:
        for tries in (13, 12, 11, 10, 10):
            assert k.code(SYSTEM, "p", b"wrong", b"x") == tries
        k.options = (*MINUTE, "--no-wipe")
        k.restart()
        sock = k.connect(SYSTEM)
        with sock:
            send(sock, request("u", PASSWORD))
            sock.shutdown(1)
            assert (k.state, k.get(APP, b"x")) == (2, 2)


# Files


@pytest.mark.parametrize("place", ["values", "grants"])
def test_a_folder_where_a_file_would_be(store, place):
    for name in (f"{STRANGER}_6b", f"{APP}_{b'other'.hex()}"):
        (store.state_dir / place / name).mkdir()
        os.chown(store.state_dir / place / name, 65534, 65534)
    store.restart()
    store.ok(SYSTEM, "u", PASSWORD)
    assert store.get(APP, b"good") == b"value" and store.get(STRANGER, b"k") == 7
    assert store.code(APP, "i", b"other", b"x") == (4 if place == "values" else 1)
    store.ok(SYSTEM, "r")
    assert store.state == 3
    store.restart()
    assert store.state == 3


def test_a_store_that_root_has_made():
    """Later somebody thinks of a user for it."""
    with opened(*CHEAP, "--no-sandbox", user=None) as k:
        k.ok(APP, "i", b"a", b"value")
        k.ok(APP, "x", b"a", b"%d" % READER)
        assert k.value_file(APP, b"a").stat().st_uid == 0
        foreign = k.state_dir / "values" / "link"
        foreign.symlink_to("/etc/hostname")
        outside = k.folder / "outside"
        outside.write_text("root's")
        os.link(outside, k.state_dir / "values" / "1_61")
        k.options, k.user = CHEAP, "nobody"
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.get(APP, b"a") == k.get(READER, b"a") == b"value"
        k.ok(APP, "i", b"a", b"new")
        for path in (k.master_key_file, k.value_file(APP, b"a"), k.grants_file(APP, b"a"), k.state_dir):
            assert path.stat().st_uid == 65534
        assert outside.stat().st_uid == os.stat("/etc/hostname").st_uid == 0


def test_a_key_file_that_everybody_reads(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    path.chmod(0o644)
    with Keystore(*CHEAP, "--key-file", str(path)).start() as k:
        assert f"others may read or change the key file {path}" in k.log
        path.chmod(0o600)
        k.stop()
        (k.folder / "log").unlink()
        k.start()
        assert "others may" not in k.log and k.state == 1


def test_a_lost_master_key(tmp_path):
    """A key file makes no other, which would open nothing of what is there."""
    path = tmp_path / "key"
    path.write_bytes(os.urandom(32))
    with Keystore(*CHEAP, "--key-file", str(path)).start() as k:
        k.ok(APP, "i", b"a", b"value")
        k.stop()
        backup = k.master_key_file.rename(k.folder / "backup")
        k.start()
        assert k.state == 3 and "'masterkey' is missing" in k.log
        k.stop()
        backup.rename(k.master_key_file)
        k.start()
        assert k.get(APP, b"a") == b"value"


def test_quotas_of_all_users():
    """Who has many uids has no more for that."""
    with opened(*CHEAP, "--total-keys", "5", "--total-bytes", "1000") as k:
        for uid in range(APP, APP + 5):
            k.ok(uid, "i", b"k", b"v")
        assert k.code(APP + 5, "i", b"k", b"") == 4
        assert "total-keys" in k.log
        k.ok(APP, "i", b"k", b"v" * 996)
        assert k.code(APP + 1, "i", b"k", b"vv") == 4
        assert "total-bytes" in k.log
        k.ok(APP, "d", b"k")
        k.ok(APP + 1, "i", b"k", b"vv")


# Import: somebody stores a key of his own meanwhile.


class Racing(FakeKeystore):
    """Has `k1` not, and `k2` only when it is asked for it again; what is got is `value`."""

    def __init__(self, runtime, value):
        super().__init__(runtime, {"t": b"\1", "i": b"\1", "d": b"\1", "g": answer(1, value)})

    def _answer(self, peer):
        data = b""
        while more := peer.recv(65536):
            data += more
        if data == request("e", b"k2") and data in self.asked:
            self.answers["e"] = b"\1"
        elif data[:1] == b"e":
            self.answers["e"] = b"\7"
        if data:
            self.asked.append(data)
            peer.sendall(self.answers[data[:1].decode()])


@pytest.fixture
def old(tmp_path):
    return AndroidStore(tmp_path / "old").put(10023, b"k1", b"one").put(10023, b"k2", b"two")


@pytest.fixture(name="runtime")
def make_runtime():
    """That the users may enter."""
    with tempfile.TemporaryDirectory(prefix="waymark-test-") as folder:
        os.chmod(folder, 0o755)
        yield pathlib.Path(folder) / "run"


def run_import(runtime, old, *options):
    return waymark(runtime, ROOT, "import", old.folder, "--map", f"10023={APP}", *options,
                   given=b"old password")


@pytest.mark.parametrize("value, removed", [(b"one", True), (b"his own", False)])
def test_import_leaves_what_was_stored_meanwhile(runtime, old, value, removed):
    with Racing(runtime, value) as keystore:
        done = run_import(runtime, old)
        assert done.code == 4
        assert request("i", b"k1", b"one") in keystore.asked
        assert request("i", b"k2", b"two") not in keystore.asked, "it would be written over"
        assert (request("d", b"k1") in keystore.asked) == removed
        assert request("d", b"k2") not in keystore.asked
        said = "nothing was imported" if removed else "1 keys are left where they are"
        assert said in done.err and "meanwhile" in done.err


def test_partial_import_goes_on(runtime, old):
    old.put(10023, b"k3", b"three")
    with Racing(runtime, b"") as keystore:
        done = run_import(runtime, old, "--partial", "--json")
        assert done.code == 4 and done.json["imported"] == 2
        assert [key["result"] for key in done.json["keys"]] == ["imported", "is here already", "imported"]
        assert request("i", b"k2", b"two") not in keystore.asked


def test_import_takes_back_the_systems(tmp_path):
    """Which the system itself cannot get: root does."""
    old = AndroidStore(tmp_path / "old")
    for i in range(5):
        old.put(1000, b"key%d" % i, b"x%d" % i)
    with opened(*CHEAP, "--quota-keys", "3") as k:
        done = waymark(k.runtime, ROOT, "import", old.folder, "--map", f"1000={SYSTEM}", given=b"old password")
        assert done.code != 0 and "nothing was imported" in done.err
        assert k.saw(SYSTEM) == []


# Terminals


HARMFUL = [b"\x9b31m", "\u009b31m".encode(), "\u202etxt".encode(), "\u2028".encode(), b"\xed\xa0\x80", b"\xc0\x9b"]


@pytest.mark.parametrize("value", HARMFUL)
def test_what_a_terminal_would_obey(store, value):
    store.ok(APP, "i", b"key", b"a" + value)
    with Terminal(store.runtime, APP, "get", "key") as at:
        assert at.ends() == 4
        assert "no text that a terminal can show" in at.out
    store.ok(APP, "i", b"name" + value, b"")
    done = waymark(store.runtime, APP, "list", "name")
    escaped = "".join(f"\\x{byte:02x}" if byte > 0x7f else chr(byte) for byte in value)
    assert done.raw == f"name{escaped}\n".encode()


def test_text_is_shown(store):
    for text in ("schlüssel", "鍵", "🔑", "a b", "ключ"):
        store.ok(APP, "i", text.encode(), text.encode())
        with Terminal(store.runtime, APP, "get", text) as at:
            assert at.ends() == 0 and at.out == text + "\r\n"
        assert text in waymark(store.runtime, APP, "list").out


def test_names_of_ignored_files(store, tmp_path):
    old = AndroidStore(tmp_path / "old").write("evil\x1b]0;pwned\x07\u009b31m", b"")
    done = waymark(store.runtime, ROOT, "import", old.folder, given=b"old password")
    assert done.code == 0 and "\x1b" not in done.out and "\u009b" not in done.out
    assert "ignored: evil?]0;pwned??31m is no key's file" in done.out
