# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keystore's files: swapped, renamed, torn, foreign, old; restarts, the key file, reset.

Whatever is found there is answered 8 at most, harms no other key, and never ends the program.
"""

import os
import shutil
import stat

import pytest

from harness import wait_for
from keystore_fixture import (APP, CHEAP, PASSWORD, READER, STRANGER, SYSTEM, VPN, Keystore, copy_state, opened)

KEYS = {(APP, b"a"): b"the app's a", (APP, b"b"): b"the app's b", (STRANGER, b"a"): b"the stranger's a",
        (SYSTEM, b"a"): b"system's a"}
GOOD = (APP, b"good")  # that must always be there


@pytest.fixture
def store():
    with opened(*CHEAP) as k:
        fill(k)
        yield k


def fill(k):
    for (uid, key), value in {**KEYS, GOOD: b"good"}.items():
        k.ok(uid, "i", key, value)


def look(k, uid, key):
    return k.get(VPN if uid == SYSTEM else uid, key)


def is_served(k):
    assert k.get(*GOOD) == b"good"
    k.ok(APP, "i", b"another", b"value")
    k.ok(APP, "d", b"another")


def reopened(k):
    k.restart()
    assert k.state == 2
    k.ok(SYSTEM, "u", PASSWORD)
    return k


def give(path):
    """To the program's user, as if it had made it."""
    owner = os.stat(path.parent)
    os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


# A value's file


@pytest.mark.parametrize("one, other", [((APP, b"a"), (APP, b"b")), ((APP, b"a"), (STRANGER, b"a")),
                                        ((APP, b"b"), (SYSTEM, b"a"))])
@pytest.mark.parametrize("restart", [False, True])
def test_swapped(store, one, other, restart):
    paths = store.value_file(*one), store.value_file(*other)
    spare = paths[0].with_name("spare")
    for source, target in ((paths[0], spare), (paths[1], paths[0]), (spare, paths[1])):
        source.rename(target)
    if restart:
        reopened(store)
    for who, value in KEYS.items():
        assert look(store, *who) == (8 if who in (one, other) else value)
    is_served(store)
    store.ok(*one[:1], "i", one[1], b"new")  # may be written over
    assert look(store, *one) == b"new"


@pytest.mark.parametrize("owner, key", [(APP, b"c"), (STRANGER, b"b"), (SYSTEM, b"b"), (APP, b""), (0, b"b")])
def test_copied_to_another_name(store, owner, key):
    shutil.copy2(store.value_file(APP, b"b"), store.value_file(owner, key))
    give(store.value_file(owner, key))
    reopened(store)
    if owner:
        assert look(store, owner, key) == 8
    assert store.get(APP, b"b") == KEYS[APP, b"b"]
    is_served(store)


def test_cut_at_every_byte(store):
    path = store.value_file(APP, b"a")
    whole = path.read_bytes()
    for size in range(len(whole)):
        os.truncate(path, size)
        assert store.get(APP, b"a") == 8, size
        path.write_bytes(whole)
    with open(path, "ab") as file:
        file.write(b"\0")
    assert store.get(APP, b"a") == 8
    os.truncate(path, 10)
    reopened(store)
    assert store.get(APP, b"a") == 8 and store.code(APP, "e", b"a") == 1
    is_served(store)
    store.ok(APP, "d", b"a")
    assert store.get(APP, b"a") == 7


def test_every_byte_changed(store):
    path = store.value_file(APP, b"a")
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (1, 0x80):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1:])
            assert store.get(APP, b"a") == 8, at
    path.write_bytes(whole)
    assert store.get(APP, b"a") == KEYS[APP, b"a"]
    is_served(store)


def test_an_old_value_put_back(store):
    """Who can write the folder can take a value back to what it was: documented, and so held here."""
    path = store.value_file(APP, b"a")
    old = path.read_bytes()
    store.ok(APP, "i", b"a", b"newer")
    path.write_bytes(old)
    assert store.get(APP, b"a") == KEYS[APP, b"a"]


def test_another_stores_value(store):
    with opened(*CHEAP) as other:
        fill(other)
        shutil.copyfile(other.value_file(APP, b"a"), store.value_file(APP, b"a"))
    assert store.get(APP, b"a") == 8
    is_served(store)


def not_a_file(path, kind):
    path.unlink(missing_ok=True)
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path, 0o600)
    elif kind == "link":
        path.symlink_to("/etc/hostname")
    elif kind == "link to another":
        path.symlink_to(path.with_name(f"{APP}_{b'b'.hex()}"))
    elif kind == "empty":
        path.touch()
    elif kind == "huge":
        path.touch()
        os.truncate(path, 1 << 40)
    elif kind == "nothing":
        return
    give(path)


@pytest.mark.parametrize("kind", ["folder", "pipe", "link", "link to another", "empty", "huge", "nothing"])
def test_no_value_at_all(store, kind):
    not_a_file(store.value_file(APP, b"a"), kind)
    assert store.get(APP, b"a") in (7, 8)
    is_served(store)
    reopened(store)
    assert store.get(APP, b"a") in (7, 8)
    is_served(store)


# What is not the program's


STRANGE = ["README", ".hidden", "10001_", "10001_zz", "10001_6", "10001_6A", "010001_61", "+1_61", "_61", "-1_61",
           "4294967295_61", "4294967296_61", "10001_61.tmp", "10001_" + "61" * 121, "10001 61", "lost+found"]


def test_foreign_names(store):
    """Are told of, and left alone; also by reset."""
    store.ok(APP, "x", b"a", b"%d" % READER)
    made = []
    for folder in ("values", "grants", "."):
        for name in STRANGE:
            path = store.state_dir / folder / (name + ("-x" if name == "10001_" else ""))
            if not path.exists():
                path.write_text("not yours\n")
                give(path)
                made.append(path)
    reopened(store)
    assert store.saw(APP) == [b"a", b"b", b"good"] and store.get(READER, b"a") == KEYS[APP, b"a"]
    assert "not the keystore's" in store.log
    is_served(store)
    store.ok(SYSTEM, "r")
    store.restart()
    assert store.saw(APP) == []
    assert all(path.read_text() == "not yours\n" for path in made)


@pytest.mark.parametrize("text", [b"", b"\n", b"10003", b"10003\n10003\n", b"x\n10003\n", b"\0" * 4096, b"99999999999\n",
                                  b"10003\n" * 100000], ids=range(8))
def test_foreign_grants(store, text):
    """Whatever they hold: what is no grant grants nothing."""
    store.ok(APP, "x", b"a", b"%d" % READER)
    store.grants_file(APP, b"a").write_bytes(text)
    reopened(store)
    assert store.get(READER, b"a") in ((7, KEYS[APP, b"a"]) if b"10003" in text else (7,))
    assert store.get(VPN, b"%d_a" % APP) == 7
    is_served(store)
    assert store.code(APP, "x", b"a", b"%d" % VPN) in (1, 4)


def test_grants_of_a_key_that_is_not_there(store):
    store.ok(APP, "x", b"a", b"%d" % READER)
    shutil.copy2(store.grants_file(APP, b"a"), store.grants_file(APP, b"later"))
    give(store.grants_file(APP, b"later"))
    reopened(store)
    store.ok(APP, "i", b"later", b"secret")
    assert store.get(READER, b"later") == 7
    assert store.code(APP, "y", b"later", b"%d" % READER) == 7


# The master key


@pytest.mark.parametrize("damage", ["empty", "torn", "foreign", "long", "byte", "folder", "link"])
def test_a_broken_master_key(store, damage):
    path = store.master_key_file
    whole = path.read_bytes()
    store.stop()
    if damage in ("folder", "link"):
        path.unlink()
        if damage == "folder":
            path.mkdir()
        else:
            path.symlink_to("/etc/hostname")
    else:
        path.write_bytes({"empty": b"", "torn": whole[:-1], "foreign": b"\x89PNG\r\n" + bytes(200),
                          "long": whole + b"\0", "byte": b"\0" + whole[1:]}[damage])
    store.start()
    assert store.state == 2
    for _ in range(6):  # counts nothing, wipes nothing
        assert store.code(SYSTEM, "u", PASSWORD) == store.code(SYSTEM, "p", PASSWORD, b"new") == 8
    assert (store.state, store.get(*GOOD), store.code(APP, "e", b"a")) == (2, 2, 1)
    assert store.lines()[-1].endswith("retry: 4")
    store.stop()
    if damage == "folder":
        path.rmdir()
    else:
        path.unlink()
    path.write_bytes(whole)
    give(path)
    store.start()
    store.ok(SYSTEM, "u", PASSWORD)
    is_served(store)


def test_every_part_of_the_master_key(store):
    """None may be changed unnoticed, and then it is not the password that is wrong."""
    path = store.master_key_file
    whole = path.read_bytes()
    for at in [*range(16), *range(16, len(whole), 13), len(whole) - 1]:
        store.stop()
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
        store.start()
        assert (store.state, store.code(SYSTEM, "u", PASSWORD), store.state) == (2, 8, 2), at
    store.stop()
    path.write_bytes(whole)
    store.start()
    store.ok(SYSTEM, "u", PASSWORD)
    is_served(store)


def test_another_stores_master_key(store):
    with opened(*CHEAP) as other:
        fill(other)
        other.stop()
        shutil.copyfile(other.master_key_file, store.master_key_file)
    store.restart()
    store.ok(SYSTEM, "u", PASSWORD)
    assert all(look(store, *who) == 8 for who in KEYS)
    store.ok(APP, "i", b"a", b"new")
    assert store.get(APP, b"a") == b"new"


def test_the_master_key_is_gone(store):
    """Nothing can be read any more; but nothing is thrown away."""
    store.stop()
    store.master_key_file.unlink()
    store.start()
    assert store.state == 3 and store.saw(APP) == [b"a", b"b", b"good"]
    store.ok(SYSTEM, "p", b"", b"new")
    assert store.get(APP, b"a") == 8
    store.ok(APP, "i", b"a", b"again")
    assert store.get(APP, b"a") == b"again"
    files = sorted(p.name for p in (store.state_dir / "values").iterdir())
    assert len(files) == len(KEYS) + 1


# Restarts


def test_restarted(store):
    store.ok(APP, "x", b"a", b"%d" % READER)
    names = store.saw(APP)
    for how in (store.stop, store.kill):
        how()
        store.start()
        assert store.state == 2 and store.get(APP, b"a") == 2
        assert store.saw(APP) == names and store.code(APP, "e", b"a") == 1
        store.ok(SYSTEM, "u", PASSWORD)
        for who, value in KEYS.items():
            assert look(store, *who) == value
        assert store.get(READER, b"a") == KEYS[APP, b"a"]


def test_tries_outlive_restarts(store):
    expected = [13, 12, 11, 10]
    for number in expected:
        store.kill() if number % 2 else store.stop()
        store.start()
        assert store.code(SYSTEM, "u", b"wrong") == number
    store.restart()
    assert store.code(SYSTEM, "u", b"wrong") == 3
    store.restart()
    assert store.state == 3 and store.saw(APP) == []


@pytest.mark.parametrize("text", [b"", b"\0\0\0", b"-1\n", b"999999999999\n", b"tries\n" * 1000])
def test_foreign_tries(store, text):
    """However many are left: the right password opens."""
    assert store.code(SYSTEM, "p", b"wrong", b"new") == 13
    (path,) = [p for p in store.state_dir.iterdir() if p.name.startswith("tries")]
    store.stop()
    path.write_bytes(text)
    store.start()
    store.ok(SYSTEM, "u", PASSWORD)
    is_served(store)


def test_nobody_else_reads_the_folder(store):
    store.ok(APP, "x", b"a", b"%d" % READER)
    assert stat.S_IMODE(store.state_dir.stat().st_mode) == 0o700
    owner = store.state_dir.stat().st_uid
    assert owner == 65534  # nobody, whom the program becomes
    for path in store.state_dir.rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0 and path.stat().st_uid == owner, (path, oct(mode))
    everything = b"".join(p.read_bytes() for p in store.state_dir.rglob("*") if p.is_file())
    for value in [*KEYS.values(), PASSWORD]:
        assert value not in everything
    assert stat.S_IMODE(os.stat(store.path).st_mode) == 0o666


def test_two_at_once(store):
    """A second one on the same folder would be the end of both; it says so and ends."""
    other = Keystore(*CHEAP)
    try:
        other.state_dir.symlink_to(store.state_dir)
        other.spawn()
        wait_for("it to end", other.ended)
        assert other.process.returncode not in (0, -11, -6)
        assert str(other.state_dir) in other.log
    finally:
        other.process.returncode = 0
        other.close()
    is_served(store)


def test_what_was_half_written_is_swept(store):
    """Temporary files of one that was killed do not pile up, whatever they are called."""
    before = sorted(p.relative_to(store.state_dir) for p in store.state_dir.rglob("*"))
    for _ in range(3):
        store.ok(APP, "i", b"a", b"x" * 1000)
    assert sorted(p.relative_to(store.state_dir) for p in store.state_dir.rglob("*")) == before


# Reset


def test_reset(store):
    store.ok(APP, "x", b"a", b"%d" % READER)
    store.ok(SYSTEM, "r")
    assert store.state == 3
    assert store.code(SYSTEM, "z") == 7
    assert not [p for p in store.state_dir.rglob("*") if p.is_file() and p.parent.name in ("values", "grants")]
    assert not store.master_key_file.exists()
    store.ok(SYSTEM, "p", b"", PASSWORD)
    assert all(look(store, *who) == 7 for who in KEYS) and store.get(READER, b"a") == 7
    store.ok(APP, "i", b"a", b"new")
    assert store.get(READER, b"a") == 7  # the grant was of the key that is gone


@pytest.mark.parametrize("state", [1, 2, 3])
def test_reset_that_was_begun(store, state):
    """A start that finds it finishes it, also if nobody asks for the state."""
    store.ok(APP, "x", b"a", b"%d" % READER)
    store.stop()
    store.master_key_file.rename(store.master_key_file.with_name("resetting"))
    if state != 1:
        store.value_file(APP, b"a").unlink()
    if state == 3:
        store.grants_file(APP, b"a").unlink()
    store.start()
    assert store.state == 3 and store.saw(APP) == []
    store.stop()
    assert not (store.state_dir / "resetting").exists()
    assert not [p for p in (store.state_dir / "values").iterdir()]
    store.start()
    store.ok(SYSTEM, "p", b"", b"new")
    assert store.get(APP, b"a") == 7


def test_old_values_after_a_reset(store):
    """What was copied away before is not the new store's."""
    copy = store.folder / "copy"
    copy_state(store.state_dir, copy)
    store.ok(SYSTEM, "r")
    store.ok(SYSTEM, "p", b"", PASSWORD)
    fill(store)
    shutil.copyfile(copy / "values" / f"{APP}_61", store.value_file(APP, b"a"))
    assert store.get(APP, b"a") == 8
    is_served(store)


# A key file


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "key"
    path.write_bytes(os.urandom(64))
    path.chmod(0o644)  # pytest's folders are root's alone; the program reads it before it becomes somebody
    return path


def test_a_key_file(key_file):
    """State 1 at start, from the first one on; locked until the next one."""
    with Keystore(*CHEAP, "--key-file", str(key_file)).start() as k:
        assert k.state == 1
        fill(k)
        k.restart()
        assert k.state == 1 and all(look(k, *who) == value for who, value in KEYS.items())
        k.ok(SYSTEM, "l")
        assert k.get(*GOOD) == 2
        for _ in range(6):  # there is no password: nothing is counted
            assert k.code(SYSTEM, "u", b"anything") == 4
        assert k.state == 2
        k.restart()
        assert k.state == 1
        is_served(k)


def test_a_credential(key_file):
    """As systemd gives it."""
    folder = key_file.parent / "credentials"
    folder.mkdir()
    shutil.copy(key_file, folder / "keystore.key")
    with Keystore(*CHEAP, env={"CREDENTIALS_DIRECTORY": str(folder)}).start() as k:
        assert k.state == 1
        fill(k)
        k.restart()
        is_served(k)
        k.options = (*CHEAP, "--key-file", str(key_file))  # the same key, by the other way
        k.env.pop("CREDENTIALS_DIRECTORY")
        k.restart()
        assert k.state == 1
        is_served(k)


def test_a_password_beside_a_key_file(key_file):
    with Keystore(*CHEAP, "--key-file", str(key_file)).start() as k:
        fill(k)
        k.ok(SYSTEM, "p", b"there was none", PASSWORD)
        is_served(k)
        k.ok(SYSTEM, "l")
        assert k.code(SYSTEM, "u", b"wrong") == 13
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        k.restart()
        assert k.state == 1
        k.options = CHEAP  # the key file is gone: the password is left
        k.restart()
        assert k.state == 2
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)


def test_a_key_file_for_a_store_that_has_a_password(store, key_file):
    """The first unlock brings it in."""
    store.options = (*CHEAP, "--key-file", str(key_file))
    store.restart()
    assert store.state == 2
    store.ok(SYSTEM, "u", PASSWORD)
    store.restart()
    assert store.state == 1
    is_served(store)


def test_another_key_file(key_file):
    """Opens nothing, and breaks nothing."""
    with Keystore(*CHEAP, "--key-file", str(key_file)).start() as k:
        fill(k)
        k.ok(SYSTEM, "p", b"", PASSWORD)
        k.stop()
        other = key_file.with_name("other")
        other.write_bytes(os.urandom(64))
        k.options = (*CHEAP, "--key-file", str(other))
        k.start()
        assert k.state == 2 and k.get(*GOOD) == 2
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)


@pytest.mark.parametrize("content", [None, b""])
def test_a_key_file_that_is_none(key_file, content):
    """It says so: an empty key would protect nothing, and look as if it did."""
    key_file.unlink()
    if content is not None:
        key_file.write_bytes(content)
    with Keystore(*CHEAP, "--key-file", str(key_file)) as k:
        k.spawn()
        wait_for("an end, or an answer", lambda: k.ended() or k.answers())
        assert k.ended() and k.process.returncode > 0
        assert str(key_file) in k.log
        k.process = None


def test_reset_with_a_key_file(key_file):
    """The next start makes a new master key: nothing of before is readable."""
    with Keystore(*CHEAP, "--key-file", str(key_file)).start() as k:
        fill(k)
        k.ok(SYSTEM, "r")
        assert k.state == 3
        k.restart()
        assert k.state == 1 and k.saw(APP) == [] and k.get(*GOOD) == 7
