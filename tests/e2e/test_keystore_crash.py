# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keystore killed at every system call, denied every one, and without room on its disk.

What was asked for is done or not, whole, and what was answered holds. strace is attached to one thread
of the running program. First it only writes down which system calls the request makes; then, for each of
these in turn, it kills the program at that call, or has the call fail.
"""

import contextlib
import os
import re
import signal
import subprocess
import tempfile

import pytest

from harness import WAIT, ucred, wait_for
from keystore_client import NO_ERROR
from keystore_fixture import APP, CHEAP, PASSWORD, READER, STRANGER, SYSTEM, Keystore, opened, sanitized

OLD, NEW, NEW_PASSWORD = b"old" * 400, b"new" * 900, b"another"
OTHERS = {(APP, b"other"): b"1", (STRANGER, b"key"): b"2", (SYSTEM, b"key"): b"3"}
# leaks cannot be looked for while somebody traces
ENV = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"} if sanitized() else {}
LOOP, WORKER = 0, 1
WAITS = ("epoll_wait", "epoll_pwait", "epoll_pwait2", "futex")  # for the next request
FILE_CALLS = ("openat", "write", "pwrite64", "fsync", "renameat", "renameat2", "unlinkat", "fdatasync")


class Tamper:
    """While it lasts, a thread's system calls are written down, or tampered with as strace's `inject` has it."""

    def __init__(self, tid, what=None):
        self.out = tempfile.NamedTemporaryFile(prefix="waymark-strace-", mode="r")
        words = ["-e", f"inject={what}"] if what else []
        self.process = subprocess.Popen(["strace", "-y", "-o", self.out.name, "-p", str(tid), *words],
                                        stderr=subprocess.PIPE, text=True)
        line = self.process.stderr.readline()
        assert "attached" in line, line

    def lines(self):
        """(line, call) of those that have begun."""
        self.out.seek(0)
        return re.findall(r"^((\w+)\(.*)", self.out.read(), re.M)

    def calls(self):
        return [call for _, call in self.lines()]

    def __enter__(self):
        return self

    @property
    def hit(self):
        """Was it killed by us?"""
        self.out.seek(0)
        return "killed by SIGKILL" in self.out.read()

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.communicate(timeout=WAIT)


def threads(k):
    """The loop's first."""
    found = sorted(map(int, os.listdir(f"/proc/{k.pid}/task")))
    found.remove(k.pid)
    return [k.pid, *found]


def attempt(k, uid, code, *parameters):
    """The answer's byte; None where there was none."""
    try:
        data = k.ask(uid, code, *parameters)
    except (ConnectionRefusedError, ConnectionResetError, BrokenPipeError):
        return None
    return data[0] if data else None


def started_again(k):
    k.start()
    if k.state == 2:
        assert k.code(SYSTEM, "u", PASSWORD) == 1, k.log[-2000:]


def restored(k):
    """What each round begins with: OLD, granted to READER, PASSWORD."""
    k.ok(APP, "i", b"key", OLD)
    k.ok(APP, "x", b"key", b"%d" % READER)


def check_others(k):
    for (uid, key), value in OTHERS.items():
        assert k.get(0 if uid == SYSTEM else uid, key) == value


def names(k):
    return sorted(str(p.relative_to(k.state_dir)) for p in k.state_dir.rglob("*") if p.is_file())


@pytest.fixture
def store():
    with opened(*CHEAP, env=ENV) as k:
        for (uid, key), value in OTHERS.items():
            k.ok(uid, "i", key, value)
        restored(k)
        yield k


# After a crash. Each: the request, and what must hold then, told whether it was answered that it is done


def check_insert(k, done):
    started_again(k)
    value = k.get(APP, b"key")
    assert value == NEW if done else value in (OLD, NEW)
    assert k.get(READER, b"key") == value


def check_first_insert(k, done):
    started_again(k)
    value = k.get(APP, b"fresh")
    assert value == NEW if done else value in (7, NEW)
    assert k.code(APP, "e", b"fresh") == (7 if value == 7 else 1)
    k.ok(APP, "d", b"fresh")
    assert k.get(APP, b"key") == OLD


def check_delete(k, done):
    started_again(k)
    value = k.get(APP, b"key")
    assert value == 7 if done else value in (OLD, 7)
    if value == 7:
        k.ok(APP, "i", b"key", b"put again")
        assert k.get(READER, b"key") == 7, "a grant has outlived its key"
    else:
        # its grant may be gone already
        assert k.get(READER, b"key") in (OLD, 7)


def check_grant(k, done):
    started_again(k)
    granted = k.get(STRANGER, b"%d_key" % APP)
    assert granted == OLD if done else granted in (OLD, 7)
    assert k.get(READER, b"key") == OLD
    k.code(APP, "y", b"key", b"%d" % STRANGER)


def check_password(k, done):
    k.start()
    assert k.state == 2
    if done or k.code(SYSTEM, "u", PASSWORD) != 1:
        k.ok(SYSTEM, "u", NEW_PASSWORD)
        k.ok(SYSTEM, "l")
        assert k.code(SYSTEM, "u", PASSWORD) in (12, 13), "both passwords open"
        k.ok(SYSTEM, "p", NEW_PASSWORD, PASSWORD)
    assert k.get(APP, b"key") == OLD


def check_reset(k, done):
    k.start()
    assert k.state == 3 if done else k.state in (2, 3)
    if k.state == 3:
        assert k.code(SYSTEM, "z") == 7 and k.saw(APP) == []
        assert not [n for n in names(k) if n.startswith(("values/", "grants/")) or n == "resetting"]
        k.ok(SYSTEM, "p", b"", PASSWORD)
        for (uid, key), value in OTHERS.items():
            k.ok(uid, "i", key, value)
    else:
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.get(APP, b"key") == k.get(READER, b"key") == OLD


ACTIONS = {
    "insert": ((APP, "i", b"key", NEW), check_insert),
    "first insert": ((APP, "i", b"fresh", NEW), check_first_insert),
    "delete": ((APP, "d", b"key"), check_delete),
    "grant": ((APP, "x", b"key", b"%d" % STRANGER), check_grant),
    "password": ((SYSTEM, "p", PASSWORD, NEW_PASSWORD), check_password),
    "reset": ((SYSTEM, "r"), check_reset),
}


def calls_of(k, thread, request):
    """[(call, the how manieth of that name, its line)] that a thread makes for it."""
    with Tamper(threads(k)[thread]) as tamper:
        assert attempt(k, *request) == NO_ERROR
        wait_for("rest", lambda: tamper.calls()[-1:] and tamper.calls()[-1] in WAITS)
        lines = tamper.lines()
    calls = [call for _, call in lines]
    return [(call, calls[:i].count(call) + 1, line) for i, (line, call) in enumerate(lines)]


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("thread", [LOOP, WORKER], ids=["loop", "worker"])
def test_killed_at_every_system_call(store, action, thread):
    request, check = ACTIONS[action]
    expected, killed = names(store), []
    points = calls_of(store, thread, request)
    for call, n, _ in points:
        store.kill()
        check(store, False)
        check_others(store)
        restored(store)
        assert names(store) == expected  # nothing piles up
        with Tamper(threads(store)[thread], f"{call}:signal=KILL:when={n}") as tamper:
            done = attempt(store, *request)
            assert done in (None, NO_ERROR)
            if done is None:
                wait_for("it to be dead", store.ended)
            else:  # it may die yet, of what it does behind the answer
                wait_for("rest", lambda t=tamper: store.ended() or t.calls()[-1:] and t.calls()[-1] in WAITS)
        store.kill()
        killed += [call] if tamper.hit else []
        check(store, done == NO_ERROR)
        restored(store)
    # each was hit; but the loop waits, and reads, once more or less often: as the request comes in
    assert len(killed) >= len(points) // 2, (points, killed)
    if thread == WORKER:
        assert "fsync" in killed and {"renameat", "renameat2", "unlinkat"} & set(killed), killed


@pytest.mark.parametrize("call", ["unlinkat", "fsync", "openat"])
def test_killed_while_it_finishes_a_reset(store, call):
    """At its start, in the middle of a reset that was cut off."""
    store.stop()
    store.master_key_file.rename(store.state_dir / "resetting")
    n = 0
    while True:
        n += 1
        store.spawn(["strace", "-f", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={n}"])
        wait_for("its end, or an answer", lambda: store.ended() or store.answers())
        if not store.ended():
            break
        assert not store.master_key_file.exists()
    with store.connect(SYSTEM) as sock:
        os.kill(ucred(sock)[0], signal.SIGKILL)  # who listens; strace ends with it
    store.process.wait(timeout=WAIT)
    store.process = None
    store.start()
    assert n > 1 and store.state == 3
    store.ok(SYSTEM, "p", b"", PASSWORD)
    assert not [name for name in names(store) if "/" in name]
    assert all(store.code(uid, "e", key) == 7 for uid, key in OTHERS)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("error", ["EIO", "ENOSPC"])
def test_every_file_call_fails(store, action, error):
    """A clear answer, and what was there before is still there; but where the last of all, the folder's
    fsync(), fails, nobody knows."""
    request, check = ACTIONS[action]
    points = [(call, n) for call, n, line in calls_of(store, WORKER, request)
              if call in FILE_CALLS and "eventfd" not in line]
    told = []
    for call, n in points:
        store.kill()
        check(store, False)
        restored(store)
        with Tamper(threads(store)[WORKER], f"{call}:error={error}:when={n}"):
            told.append(attempt(store, *request))
        assert told[-1] in (NO_ERROR, 4) and not store.ended(), (call, n)
        store.kill()
        check(store, told[-1] == NO_ERROR)
        restored(store)
    assert told.count(4) >= 2, (points, told)
    check_others(store)


# No room


@contextlib.contextmanager
def on_a_small_disk(size):
    """A store whose folder is a file system of its own."""
    with Keystore(*CHEAP, "--quota-bytes", str(64 << 20), env=ENV) as k:
        k.state_dir.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "waymark-test", k.state_dir], check=True)
        try:
            yield k
            k.stop()
        finally:
            if k.process and not k.ended():
                k.process.kill()
                k.process.wait()
            subprocess.run(["umount", k.state_dir], check=True)


def fill(k, leave=0):
    with contextlib.suppress(OSError), open(k.state_dir / "filler", "wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    if leave:
        os.truncate(k.state_dir / "filler", max(0, (k.state_dir / "filler").stat().st_size - leave))


@pytest.mark.parametrize("room", [0, 4096, 16384])
def test_disk_full(room):
    with on_a_small_disk("512k") as k:
        k.start()
        k.ok(SYSTEM, "p", b"", PASSWORD)
        restored(k)
        before = names(k)
        fill(k, room)
        big = bytes(range(256)) * 128
        assert k.code(APP, "i", b"key", big) == 4
        assert k.code(APP, "i", b"fresh", big) == 4
        assert k.get(APP, b"key") == k.get(READER, b"key") == OLD and k.get(APP, b"fresh") == 7
        assert re.search("No space left|ENOSPC", k.log)
        assert [n for n in names(k) if n != "filler"] == before
        password = k.code(SYSTEM, "p", PASSWORD, NEW_PASSWORD)
        assert password in (1, 4) if room else password == 4
        k.restart()
        k.ok(SYSTEM, "u", NEW_PASSWORD if password == 1 else PASSWORD)
        assert k.get(APP, b"key") == OLD
        assert k.code(SYSTEM, "p", b"wrong", b"x") == 13  # counted, though there is no room
        k.ok(APP, "d", b"key")  # what makes room can be done
        (k.state_dir / "filler").unlink()
        k.ok(APP, "i", b"key", big)
        assert k.get(APP, b"key") == big


def test_reset_on_a_full_disk():
    with on_a_small_disk("256k") as k:
        k.start()
        k.ok(SYSTEM, "p", b"", PASSWORD)
        restored(k)
        fill(k)
        k.ok(SYSTEM, "r")
        assert k.state == 3 and k.saw(APP) == []
        k.restart()
        assert k.state == 3


def test_a_disk_that_can_only_be_read():
    with on_a_small_disk("256k") as k:
        k.start()
        k.ok(SYSTEM, "p", b"", PASSWORD)
        restored(k)
        subprocess.run(["mount", "-o", "remount,ro", k.state_dir], check=True)
        try:
            assert k.code(APP, "i", b"key", NEW) == k.code(APP, "d", b"key") == k.code(SYSTEM, "r") == 4
            assert k.code(SYSTEM, "p", PASSWORD, NEW_PASSWORD) == 4
            assert k.get(APP, b"key") == k.get(READER, b"key") == OLD and k.state == 1
        finally:
            subprocess.run(["mount", "-o", "remount,rw", k.state_dir], check=True)
        k.ok(APP, "i", b"key", NEW)
