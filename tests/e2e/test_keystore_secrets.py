# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the keystore's secrets are not: in its memory once it is locked, in files, logs, core dumps, swap.

The detector reads all of the process's memory, also what the process itself may not touch; it is shown
first that it finds what is there.
"""

import array
import base64
import contextlib
import ctypes
import itertools
import os
import pathlib
import random
import re
import resource
import signal
import subprocess

import pytest

import keystore_sodium as sodium
from harness import libc, wait_for
from keystore_client import everything, request
from keystore_fixture import APP, CHEAP, PASSWORD, READER, ROOT, SYSTEM, VPN, Keystore, call, opened, sanitized

KEY = b"the-key's-name"
VALUE = random.Random(5).randbytes(700)  # that stands nowhere else
NEEDLE = 24  # so many bytes in a row are it
NOBODY = 65534
PAGE = os.sysconf("SC_PAGE_SIZE")
SHADOW = 1 << 32  # what is larger are the sanitizers' tables, which have no room for bytes of ours
PTRACE_ATTACH, PTRACE_DETACH = 16, 17
# the sanitizers' library is bound as it is called, and all registers are saved on the stack for that
ENV = {"LD_BIND_NOW": "1"} if sanitized() else {}


def mappings(pid):
    """(begin, end, rights, name)"""
    for line in pathlib.Path(f"/proc/{pid}/maps").read_text().splitlines():
        area, rights, _, _, _, *name = line.split(maxsplit=5)
        begin, end = (int(x, 16) for x in area.split("-"))
        yield begin, end, rights, name[0] if name else ""


def search(pid, *needles):
    """Where any 24 bytes of them are that stand at its beginning, middle or end: {needle's number: [address]}."""
    found = {}
    pieces = [(i, needle[at:at + NEEDLE]) for i, needle in enumerate(needles)
              for at in sorted({0, max(0, len(needle) // 2 - NEEDLE // 2), max(0, len(needle) - NEEDLE)})]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory, \
            open(f"/proc/{pid}/pagemap", "rb", buffering=0) as pagemap:
        for begin, end, _, name in mappings(pid):
            if end - begin > SHADOW or name in ("[vvar]", "[vsyscall]", "[vvar_vclock]"):
                continue
            for start, data in present(memory, pagemap, begin, end):
                for i, piece in pieces:
                    at = data.find(piece)
                    if at >= 0:
                        found.setdefault(i, []).append(start + at)
    return found


def present(memory, pagemap, begin, end):
    """(address, bytes) of runs of pages that are there."""
    entries = array.array("Q", os.pread(pagemap.fileno(), (end - begin) // PAGE * 8, begin // PAGE * 8))
    at = 0
    for is_there, run in itertools.groupby(entries, lambda entry: entry >> 62 != 0):  # in memory, or in swap
        size = len(list(run)) * PAGE
        if is_there:
            with contextlib.suppress(OSError):
                yield begin + at, os.pread(memory.fileno(), size, begin + at)
        at += size


def keys_of(k, password=PASSWORD):
    """(master key, what it is sealed with), as one who has the password gets it from the file."""
    master, outer = sodium.master_key(k.master_key_file.read_bytes(), password)
    assert master
    assert sodium.value(k.value_file(APP, KEY).read_bytes(), master, APP, KEY) == VALUE
    return master, outer


@pytest.fixture
def store():
    with opened(*CHEAP, env=ENV) as k:
        k.ok(APP, "i", KEY, VALUE)
        yield k


def test_another_reads_the_files(store):
    """The format is as documented, and bound to owner and name."""
    master, _ = keys_of(store)
    data = store.value_file(APP, KEY).read_bytes()
    assert sodium.value(data, master, READER, KEY) is None
    assert sodium.value(data, master, APP, KEY + b"x") is None
    assert sodium.master_key(store.master_key_file.read_bytes(), PASSWORD + b"x")[0] is None
    store.ok(APP, "i", KEY, VALUE)
    assert store.value_file(APP, KEY).read_bytes()[8:32] != data[8:32], "the same nonce twice"


def test_the_detector_detects(store):
    """What has come and was not yet asked for is there; and the master key."""
    master, _ = keys_of(store)
    for uid, data, what in ((APP, request("i", b"k", VALUE)[:-1], VALUE),
                            (SYSTEM, request("p", PASSWORD, b"new")[:-1], PASSWORD)):
        with store.connect(uid) as sock:
            sock.sendall(data)
            wait_for("it to be there", lambda w=what: search(store.pid, w))
        wait_for("it to be gone", lambda w=what: not search(store.pid, w))
    assert search(store.pid, master), "an unlocked store has no key"


def test_nothing_in_memory_while_it_is_open(store):
    """But the master key: values and passwords go when they have been answered."""
    _, outer = keys_of(store)
    for uid in (APP, VPN):
        store.ok(APP, "x", KEY, b"%d" % VPN)
        assert store.get(uid, KEY) == VALUE
    assert store.code(SYSTEM, "p", b"a wrong one, never to be seen", b"new") == 13
    store.ok(SYSTEM, "p", PASSWORD, PASSWORD)
    outer_now = keys_of(store)[1]
    is_found_nowhere(store, VALUE, PASSWORD, outer, outer_now, b"a wrong one, never to be seen")


def is_found_nowhere(k, *needles):
    """When the turn in which it was answered is over, that is, at once."""
    found = {}

    def is_clean():
        found.clear()
        found.update(search(k.pid, *needles))
        return not found

    try:
        wait_for("memory to be clean", is_clean, 10)
    except AssertionError:
        places = {i: [(hex(a), next(m for m in mappings(k.pid) if m[0] <= a < m[1])) for a in addresses]
                  for i, addresses in found.items()}
        raise AssertionError(f"found: {places}") from None


@pytest.mark.parametrize("way", ["lock", "lock after use", "wiped", "reset", "locked again"])
def test_nothing_in_memory_when_it_is_locked(way):
    # wrong passwords may have the whole cost here, too: their memory is looked at
    with opened("--argon2-memory", "4096", "--retry-delay", "0", env=ENV) as k:
        k.ok(APP, "i", KEY, VALUE)
        master, outer = keys_of(k)
        new, expected = PASSWORD, 2
        if way == "lock":
            k.ok(SYSTEM, "l")
        elif way == "lock after use":
            k.ok(APP, "x", KEY, b"%d" % ROOT)
            assert k.get(APP, KEY) == k.get(ROOT, KEY) == VALUE
            new = b"the new password that was set"
            k.ok(SYSTEM, "p", PASSWORD, new)
            slow = k.connect(APP)  # and whoever is in the middle of it
            slow.sendall(request("i", b"more", VALUE)[:-3])
            k.ok(SYSTEM, "l")
            slow.close()
            assert k.get(APP, KEY) == 2
        elif way == "wiped":
            assert [k.code(SYSTEM, "p", b"wrong" * 20, b"new" * 20) for _ in range(5)] == [13, 12, 11, 10, 3]
            expected = 3
        elif way == "reset":
            k.ok(SYSTEM, "r")
            expected = 3
        elif way == "locked again":
            k.ok(SYSTEM, "l")
            assert k.code(SYSTEM, "u", b"wrong" * 20) == 13
            k.ok(SYSTEM, "u", PASSWORD)
            k.ok(SYSTEM, "l")
        assert k.state == expected
        needles = [VALUE, PASSWORD, new, master, outer, b"wrong" * 20, b"new" * 20]
        is_found_nowhere(k, *needles)


def test_nothing_in_memory_after_a_key_file(tmp_path):
    secret = os.urandom(100)
    path = tmp_path / "key"
    path.write_bytes(secret)
    with Keystore(*CHEAP, "--key-file", str(path), env=ENV).start() as k:
        k.ok(APP, "i", KEY, VALUE)
        k.ok(SYSTEM, "p", b"", PASSWORD)
        master, outer = keys_of(k)
        assert search(k.pid, master)
        k.ok(SYSTEM, "l")
        is_found_nowhere(k, VALUE, PASSWORD, master, outer)
        k.restart()
        assert k.state == 1 and search(k.pid, master)
        k.ok(SYSTEM, "l")
        is_found_nowhere(k, VALUE, master, secret)


def test_the_master_keys_memory(store):
    """Is locked (no swap) and kept out of dumps."""
    master, _ = keys_of(store)
    (places,) = search(store.pid, master).values()
    for address in places:
        flags = flags_of(store.pid, address)
        assert "dd" in flags or "LimitMEMLOCK" not in store.log, flags  # there are no dumps in any case
        assert "lo" in flags or sanitized(), flags  # whose mlock() does nothing


def flags_of(pid, address):
    """Of the mapping, as proc(5) abbreviates them."""
    here = False
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        area = re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line)
        if area:
            here = int(area[1], 16) <= address < int(area[2], 16)
        elif here and line.startswith("VmFlags:"):
            return line.split()[1:]
    raise AssertionError("no such memory")


def may_lock_all():
    """Does this machine let root lift the limit?"""
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (OSError, ValueError):
        return False
    return True


@pytest.mark.skipif(sanitized(), reason="the sanitizers' tables cannot be locked")
def test_all_memory_is_locked(store):
    """Nothing of what it may write can be swapped: also of what it takes later. Else it says so."""
    assert ("LimitMEMLOCK" in store.log) != call(may_lock_all)
    if "LimitMEMLOCK" in store.log:
        return
    store.ok(SYSTEM, "p", PASSWORD, PASSWORD)
    for i in range(20):
        store.ok(APP, "i", b"%d" % i, bytes(32768))
    for begin, end, rights, name in mappings(store.pid):
        if "w" in rights:
            assert "lo" in flags_of(store.pid, begin), (hex(begin), end - begin, rights, name)


def test_nobody_may_look(store):
    """No core, no tracing by its own user, nothing to read in /proc."""
    limits = pathlib.Path(f"/proc/{store.pid}/limits").read_text()
    assert re.search(r"Max core file size +0 +0 ", limits)
    assert os.stat(f"/proc/{store.pid}/mem").st_uid == 0  # not its own user's: it is not dumpable
    assert int(re.search(r"NoNewPrivs:\s+(\d)", status_text(store))[1]) == 1 or sanitized()
    uids = re.search(r"Uid:\s+(\d+)\s+(\d+)\s+(\d+)", status_text(store)).groups()
    assert set(uids) == {str(NOBODY)}
    assert re.search(r"CapEff:\s+0+$", status_text(store), re.M)
    with sleeping() as other:  # shows that its user may do so, unless it is forbidden
        assert call(look_at, other, uid=NOBODY) == ("traced", "read")
    assert call(look_at, store.pid, uid=NOBODY) == ("EPERM", "EACCES")


def status_text(k):
    return pathlib.Path(f"/proc/{k.pid}/status").read_text()


@contextlib.contextmanager
def sleeping():
    """Another program of the same user."""
    with subprocess.Popen(["sleep", "600"], user=NOBODY, group=NOBODY, extra_groups=[]) as process:
        yield process.pid
        process.kill()


def look_at(pid):
    import errno

    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    traced, read = "traced", "read"
    if libc.ptrace(PTRACE_ATTACH, pid, None, None) < 0:
        traced = errno.errorcode[ctypes.get_errno()]
    else:
        os.waitpid(pid, 0x40000000)  # __WALL
        libc.ptrace(PTRACE_DETACH, pid, None, None)
    try:
        with open(f"/proc/{pid}/mem", "rb"):
            pass
    except OSError as error:
        read = errno.errorcode[error.errno]
    return traced, read


def test_no_core():
    """Although whoever has started it would have one."""
    with opened(*CHEAP, wrap=["prlimit", "--core=unlimited"]) as k:
        k.process.send_signal(signal.SIGQUIT)
        _, status = os.waitpid(k.pid, 0)
        k.process = None
        assert os.WTERMSIG(status) == signal.SIGQUIT and not os.WCOREDUMP(status)


def test_nothing_in_the_log():
    """Neither names nor values nor passwords, in no spelling; also when it is told to say all."""
    with opened(*CHEAP, env={"WAYMARK_LOG_LEVEL": "debug", "SYSTEMD_LOG_LEVEL": "debug"}) as k:
        k.ok(APP, "i", KEY, VALUE)
        k.ok(APP, "x", KEY, b"%d" % VPN)
        assert k.get(VPN, KEY) == VALUE and k.get(VPN, b"%d_%s" % (APP, KEY)) == VALUE
        assert k.code(SYSTEM, "p", b"never told to anybody", b"new") == 13
        assert k.say(APP, request("i", KEY, VALUE) + b"x") == b"\5"
        os.truncate(k.value_file(APP, KEY), 10)
        assert k.get(APP, KEY) == 8
        k.ok(APP, "y", KEY, b"%d" % VPN)
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.get(APP, KEY) == 8
        k.ok(APP, "d", KEY)
        k.ok(SYSTEM, "l")
        k.stop()
        log = k.log.encode(errors="replace")
        for secret in (KEY, VALUE[:30], PASSWORD, b"never told to anybody"):
            for spelling in (secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:-3],
                             repr(secret)[2:-1].encode()):
                assert spelling not in log
        assert k.lines()


def test_nothing_on_the_command_line_or_in_the_environment(store):
    for name in ("cmdline", "environ", "comm"):
        data = pathlib.Path(f"/proc/{store.pid}/{name}").read_bytes()
        assert PASSWORD not in data and VALUE not in data and KEY not in data


def test_what_it_may_open(store):
    """Only what it was born with: its folder, its socket, its log; nothing of the machine's."""
    for link in pathlib.Path(f"/proc/{store.pid}/fd").iterdir():
        target = os.readlink(link)
        assert target.startswith((str(store.folder), "socket:", "anon_inode:", "/dev/null", "pipe:")), target


def test_an_answer_that_nobody_reads(store):
    """Is not kept."""
    for _ in range(20):
        with store.connect(APP) as sock:
            sock.sendall(request("g", KEY))
            sock.shutdown(1)
    with store.connect(APP) as sock:
        sock.sendall(request("g", KEY))
        sock.shutdown(1)
        assert VALUE in everything(sock)
    is_found_nowhere(store, VALUE)
