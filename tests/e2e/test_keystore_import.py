# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark keystore import`: old Android stores, made here, become keys of the real keystore."""

import pytest

from android_store import AndroidStore, file_name
from keystore_cli import Accounts, Terminal, waymark
from keystore_fixture import APP, CHEAP, ROOT, STRANGER, SYSTEM, VPN, WIFI, Keystore

PASSWORD = b"old password"
MAPS = ("--map", f"1000={SYSTEM}", "--map", f"10023={APP}")


@pytest.fixture(name="keystore")
def make_keystore():
    with Keystore(*CHEAP) as keystore:
        keystore.start()
        keystore.ok(SYSTEM, "p", b"", b"new password")
        yield keystore


@pytest.fixture(name="old")
def make_old(tmp_path):
    return AndroidStore(tmp_path / "old").put(1000, b"USRPKEY_work", b"a private key").put(
        10023, b"psk", b"secret")


@pytest.fixture(name="run")
def make_run(keystore, old):
    def run(*args, uid=ROOT, given=PASSWORD, **options):
        return waymark(keystore.runtime, uid, "import", old.folder, *args, given=given, **options)
    return run


def results(done):
    return {key["key"]: key["result"] for key in done.json["keys"]}


@pytest.mark.parametrize("derivation", [
    {"salted": True}, {"salted": False, "iterations": 1024}, {"salted": False, "iterations": 8192}])
def test_each_derivation(keystore, tmp_path, derivation):
    old = AndroidStore(tmp_path / "old", **derivation).put(10023, b"psk", b"secret")
    done = waymark(keystore.runtime, ROOT, "import", old.folder, *MAPS, given=PASSWORD + b"\n")
    assert (done.code, done.err) == (0, "")
    assert done.out == ("OLD UID  UID    RESULT    KEY\n"
                        "10023    10001  imported  psk\n"
                        "1 of 1 keys imported\n")
    assert keystore.get(APP, b"psk") == b"secret"


def test_each_value_is_its_new_owners(keystore, run):
    assert run(*MAPS).code == 0
    assert keystore.get(VPN, b"USRPKEY_work") == b"a private key", "the system's, by its reader"
    assert keystore.get(APP, b"psk") == b"secret"
    assert keystore.saw(SYSTEM) == [b"USRPKEY_work"] and keystore.saw(APP) == [b"psk"]
    assert keystore.saw(STRANGER) == []


def test_keys_and_values_of_all_kinds(keystore, old, run):
    values = {b"": b"", b"\xfdasterkey": b"\x00", bytes(range(120)): bytes(range(256)),
              bytes(range(136, 256)): b"v" * 32768, b"a/b c\xff": b"x" * 11, b"block": b"x" * 12}
    for key, value in values.items():
        old.put(10023, key, value, info=b"info" if len(value) % 2 else b"")
    done = run(*MAPS)
    assert done.code == 0, done.out
    assert {key: keystore.get(APP, key) for key in values} == values
    assert len(keystore.saw(APP)) == len(values) + 1


def test_the_systems_keys_are_the_systems_by_default(keystore, run, tmp_path):
    done = run("--map", "10023=none", "--json", enter=Accounts(tmp_path, SYSTEM).enter)
    assert (done.code, done.json["imported"]) == (0, 1)
    assert results(done) == {"USRPKEY_work": "imported", "psk": "left out"}
    assert keystore.get(VPN, b"USRPKEY_work") == b"a private key" and keystore.saw(APP) == []


def test_a_wrong_password(keystore, run):
    done = run(*MAPS, given=b"wrong\n")
    assert (done.code, done.out) == (4, "")
    assert done.err == ("waymark: the password of the old store is wrong, or its master key is damaged: "
                        "nothing was imported\n")
    assert run(*MAPS, given=b"").code == 2
    assert keystore.saw(APP) == []


def test_a_person_is_asked_for_the_password(keystore, old):
    with Terminal(keystore.runtime, ROOT, "import", old.folder, *MAPS) as at:
        at.sees("Password of the old store: ")
        assert at.hides()
        at.types(PASSWORD.decode() + "\n")
        assert at.ends() == 0 and PASSWORD.decode() not in at.out
    assert keystore.get(APP, b"psk") == b"secret"


# All or nothing.

def test_who_is_not_mapped_stops_all(keystore, run):
    done = run("--map", f"1000={SYSTEM}")
    assert (done.code, done.err) == (4, "")
    assert done.out.splitlines() == [
        "OLD UID  UID   RESULT              KEY",
        "1000     1000  not imported        USRPKEY_work",
        "10023    -     whose is it? --map  psk",
        "0 of 2 keys imported",
        "all or nothing: say whose they are with --map UID=USER (or UID=none), replace what is here with "
        "--force, or import the rest with --partial"]
    assert keystore.saw(SYSTEM) == []


def test_the_rest_when_that_was_said(keystore, run):
    done = run("--map", f"1000={SYSTEM}", "--partial", "--json")
    assert (done.code, done.json["imported"]) == (4, 1)
    assert results(done) == {"USRPKEY_work": "imported", "psk": "whose is it? --map"}
    assert keystore.saw(SYSTEM) == [b"USRPKEY_work"]


DAMAGES = {
    "torn, or no blob": lambda data: data[:-1],
    "not what was encrypted": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    "larger than any value": lambda data: data * 1000,
    "written by a later Android (Jelly Bean)": lambda data: b"\2" + data[1:],
}


@pytest.mark.parametrize("why", DAMAGES)
def test_damage_stops_all(keystore, old, run, why):
    path = old.folder / file_name(10023, b"psk")
    path.write_bytes(DAMAGES[why](path.read_bytes()))
    done = run(*MAPS, "--json")
    assert (done.code, done.json["imported"]) == (4, 0)
    assert results(done) == {"USRPKEY_work": "not imported", "psk": why}
    assert keystore.saw(SYSTEM) == []
    done = run(*MAPS, "--json", "--partial")
    assert (done.code, done.json["imported"]) == (4, 1)
    assert keystore.saw(SYSTEM) == [b"USRPKEY_work"] and keystore.saw(APP) == []


def test_files_that_were_exchanged_for_others(keystore, old, run):
    """Android's format does not bind a value to its name; one of another store is found out."""
    AndroidStore(old.folder.with_name("other")).put(10023, b"psk", b"other")
    data = (old.folder.with_name("other") / file_name(10023, b"psk")).read_bytes()
    old.write(file_name(10023, b"psk"), data)
    assert results(run(*MAPS, "--json"))["psk"] == "not what was encrypted"


def test_what_is_here_already(keystore, run):
    keystore.ok(APP, "i", b"psk", b"mine")
    done = run(*MAPS, "--json")
    assert (done.code, results(done)["psk"]) == (4, "is here already")
    assert keystore.get(APP, b"psk") == b"mine" and keystore.saw(SYSTEM) == []
    assert run(*MAPS, "--force").code == 0
    assert keystore.get(APP, b"psk") == b"secret"
    assert run(*MAPS, "--partial").code == 4, "all are here now"


def test_two_owners_that_become_one(keystore, old, run):
    old.put(10024, b"psk", b"another")
    done = run(*MAPS, "--map", f"10024={APP}", "--json")
    assert done.code == 4 and [key["result"] for key in done.json["keys"]] == [
        "not imported", "not imported", "two of this name"]
    assert keystore.saw(APP) == []


def test_a_quota_that_is_reached_half_way(tmp_path):
    old = AndroidStore(tmp_path / "old")
    for i in range(5):
        old.put(10023, b"key%d" % i, b"x")
    with Keystore(*CHEAP, "--quota-keys", "3") as keystore:
        keystore.start()
        keystore.ok(SYSTEM, "p", b"", b"new")
        done = waymark(keystore.runtime, ROOT, "import", old.folder, *MAPS, given=PASSWORD)
        assert (done.code, done.out) == (4, "")
        assert done.err.startswith("waymark: nothing was imported: the keystore could not (a full disk, ")
        assert keystore.saw(APP) == []


# Whose may they become?

@pytest.mark.parametrize("uid", [VPN, WIFI, ROOT])
def test_who_may_only_get_cannot_be_an_owner(keystore, run, uid):
    done = run("--map", "1000=none", "--map", f"10023={uid}")
    assert (done.code, done.out) == (4, "")
    assert f"uid {uid} may not store keys, only get them: map uid 10023 to somebody else" in done.err


def test_a_user_imports_his_own(keystore, old, run):
    old.folder.parent.parent.chmod(0o755)
    for folder in old.folder.parents:
        folder.chmod(folder.stat().st_mode | 0o011)
    old.folder.chmod(0o755)
    done = run("--map", "1000=none", "--map", f"10023={APP}", uid=APP)
    assert done.code == 0, done.err
    assert keystore.get(APP, b"psk") == b"secret"
    done = run("--map", "1000=none", "--map", f"10023={STRANGER}", uid=APP)
    assert done.code == 4 and f"only root may act for uid {STRANGER}" in done.err


def test_a_locked_keystore(keystore, run):
    keystore.ok(SYSTEM, "l")
    done = run(*MAPS)
    assert (done.code, done.out) == (4, "") and "the keystore is locked" in done.err


def test_nobody_is_there(keystore, run):
    keystore.kill()
    assert run(*MAPS).code == 8


# Folders that are none.

def test_other_files_are_left_alone(keystore, old, run):
    old.write("README", b"").write("10023_not\tencoded", b"").write(".nomedia", b"")
    (old.folder / "10023_link").symlink_to("/dev/zero")
    (old.folder / "10023_folder").mkdir()
    (old.folder / file_name(10023, b"k" * 121)).write_bytes(b"")
    before = sorted(path.name for path in old.folder.iterdir())
    done = run(*MAPS, "--json")
    assert done.code == 0
    assert sorted(done.json["ignored"]) == sorted([
        ".nomedia", "10023_" + "k" * 121, "10023_folder", "10023_link", "10023_not\tencoded", "README"])
    assert "ignored: README is no key's file" in run(*MAPS, "--force").out
    assert sorted(path.name for path in old.folder.iterdir()) == before
    assert len(keystore.saw(APP)) == 1


def test_an_empty_store(keystore, tmp_path):
    done = waymark(keystore.runtime, ROOT, "import", AndroidStore(tmp_path / "old").folder,
                   given=PASSWORD)
    assert (done.code, done.out) == (0, "0 of 0 keys imported\n")


@pytest.mark.parametrize("master, code, said", [
    (None, 10, "there is no .masterkey in"), (b"", 4, "is damaged: torn, or no blob"),
    (b"\2" + bytes(99), 4, "is damaged: written by a later Android"),
    (bytes(20 + 48), 4, "the password of the old store is wrong, or its master key is damaged"),
], ids=["none", "empty", "newer", "of zeros"])
def test_a_master_key_that_is_none(keystore, old, run, master, code, said):
    (old.folder / ".masterkey").unlink()
    if master is not None:
        old.write(".masterkey", master)
    done = run(*MAPS)
    assert (done.code, done.out) == (code, "") and said in done.err


def test_no_folder(keystore, tmp_path):
    done = waymark(keystore.runtime, ROOT, "import", tmp_path / "none", given=PASSWORD)
    assert done.code == 10 and "No such file or directory" in done.err


@pytest.mark.parametrize("value, said", [
    ("10023", "maps nothing"), ("app=10023", "is no uid of the old store"), ("=5", "is no uid"),
    ("4294967296=5", "is no uid"), ("10023=nosuch", "there is no user 'nosuch'"),
])
def test_maps_that_are_none(run, value, said):
    done = run("--map", value)
    assert done.code == (10 if "user" in said else 2) and said in done.err


def test_maps_that_contradict_each_other(run):
    done = run("--map", f"10023={APP}", "--map", "10023=none")
    assert done.code == 2 and "--map is given twice for the same: uid 10023" in done.err
