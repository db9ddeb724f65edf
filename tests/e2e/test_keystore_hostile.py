# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who means harm to the keystore's server: holds up the lock, the loop, the log; keeps secrets in it; guesses by
hanging up; puts another in its place. One test for each way that was found open."""

import contextlib
import os
import pathlib
import re
import socket
import subprocess

import pytest

from harness import WAIT, wait_for
from keystore_client import connect, everything, request, send, talk
from keystore_fixture import (APP, CHEAP, PASSWORD, STRANGER, SYSTEM, Keystore, call, opened, sanitized)
from test_keystore_fair import PATIENCE, Crowds, is_served
from test_keystore_secrets import is_found_nowhere, search

LONG = ("--argon2-memory", "64", "--retry-delay", "3600000", "--no-wipe")
HALF = b"half a secret, of which the rest never comes, " * 3


def asked(k, uid, *words):
    """A connection that has asked, and waits for the answer."""
    sock = k.connect(uid)
    send(sock, request(*words))
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)
    return sock


def answered(sock):
    with sock:
        return everything(sock)


@pytest.mark.parametrize("way, state", [("l", 2), ("r", 3)])
def test_lock_passes_passwords_that_wait(way, state):
    """The next is looked at in an hour; who locks does not wait for it, and none of them opens the store then."""
    with opened(*LONG, *PATIENCE) as k:
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        guesses = [asked(k, SYSTEM, "p", PASSWORD, b"new") for _ in range(40)]
        k.ok(APP, "i", b"key", b"value")  # nobody else waits either
        k.ok(SYSTEM, way)
        told = [answered(sock) for sock in guesses]
        assert set(told) == {b"\4", bytes([state])}  # too many; and those that waited
        assert k.state == state


def test_lock_passes_what_many_write():
    """Of many uids, as any user of the machine may have; and the work for a password, which takes seconds here."""
    with opened(*CHEAP, *PATIENCE) as k:
        k.options = (*PATIENCE, "--argon2-memory", "65536", "--argon2-passes", "60")
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        works = asked(k, SYSTEM, "p", PASSWORD, PASSWORD)
        wait_for("its work", lambda: k.code(SYSTEM, "t") == 1 and k.status("VmSize") > 60000)
        writers = [asked(k, 50000 + i % 20, "i", b"%d" % i, b"value") for i in range(100)]
        k.ok(SYSTEM, "l")
        assert k.state == 2
        assert {answered(sock) for sock in writers} == {b"\2"}  # nothing of it was done before
        answered(works)
        assert k.state == 2


@pytest.mark.skipif(sanitized(), reason="leaks cannot be looked for under strace")
def test_the_loop_goes_on_between_answers():
    """What waits and is done at once is not answered all in one turn: the calls between two looks at who has come."""
    with opened(*CHEAP, *PATIENCE) as k:
        k.ok(APP, "i", b"key", b"value")
        k.stop()
        trace = k.folder / "trace"
        k.start(wrap=["strace", "-f", "-o", str(trace), "-e", "trace=epoll_wait,epoll_pwait,epoll_pwait2,sendmsg"])
        wait_for("the store to be open", lambda: k.code(SYSTEM, "u", PASSWORD) == 1)
        socks = [asked(k, APP, "i", b"%d" % i, b"v") for i in range(100)]
        socks += [asked(k, APP, "d", b"not there") for _ in range(1500)]
        assert {answered(sock) for sock in socks} == {b"\1"}
        pid = trace.read_text().split()[0]
        subprocess.run(["kill", pid], check=True)
        k.process.wait(timeout=WAIT)
        most = n = 0
        for line in trace.read_text().splitlines():
            if line.startswith(pid):
                n = 0 if "epoll" in line else n + 1
                most = max(most, n)
        assert 0 < most <= 3 * 64, most


def test_half_requests_take_no_locked_memory():
    """Where not all memory may be locked, they use up neither that nor the number of mappings."""
    with opened(*CHEAP, *PATIENCE,
                wrap=["prlimit", "--memlock=65536:65536", "setpriv", "--bounding-set=-ipc_lock,-sys_resource"]) as k:
        def maps():
            return len(pathlib.Path(f"/proc/{k.pid}/maps").read_text().splitlines())

        before, locked = maps(), k.status("VmLck")
        with contextlib.closing(Crowds(k, [(20000, 800, request("i", b"key", b"value")[:2])])):
            assert maps() < before + 100
            assert k.status("VmLck") <= locked + 64
            k.ok(SYSTEM, "l")
            k.ok(SYSTEM, "u", PASSWORD)


def test_limits_are_raised():
    with opened(*CHEAP, wrap=["prlimit", "--nofile=100:2000"]) as k:
        limits = pathlib.Path(f"/proc/{k.pid}/limits").read_text()
        assert re.search(r"Max open files +2000 +2000 ", limits)


@pytest.mark.parametrize("way, state", [("l", 2), ("r", 3)])
def test_no_half_secret_stays(way, state):
    """Who is in the middle of it when the store is locked, is told so; what he has sent is gone."""
    with opened(*CHEAP, *PATIENCE) as k:
        value = request("i", b"k", HALF)[:-1]
        password = request("p", HALF[::-1], b"new")[:-1]
        name = request("e", b"name")[:-1]
        with k.connect(APP) as inserts, k.connect(SYSTEM) as sets, k.connect(STRANGER) as asks:
            for sock, data in ((inserts, value), (sets, password), (asks, name)):
                send(sock, data)
            wait_for("them to be there", lambda: search(k.pid, HALF) and search(k.pid, HALF[::-1]))
            k.ok(SYSTEM, way)
            assert everything(inserts) == everything(sets) == bytes([state])
            is_found_nowhere(k, HALF, HALF[::-1])
            assert talk(asks, b"e") == b"\7"  # that needs no state


def test_no_half_secret_of_many_stays():
    with opened(*CHEAP, *PATIENCE) as k:
        rows = [(20000 + i, 200, request("i", b"k", HALF)[:-1]) for i in range(3)]
        with contextlib.closing(Crowds(k, rows)):
            wait_for("them to be there", lambda: search(k.pid, HALF))
            k.ok(SYSTEM, "l")
            is_found_nowhere(k, HALF)


def test_who_has_hung_up_has_not_guessed():
    """Those who wait for their turn and go are no tries: they do not wipe the store."""
    with opened("--argon2-memory", "64", "--retry-delay", "1000") as k:
        k.ok(APP, "i", b"key", b"value")
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        for _ in range(4):
            asked(k, SYSTEM, "p", b"wrong", b"new").close()
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 12  # the half-close alone is no hanging up
        is_served(k)


def test_what_is_said_after_the_answer():
    """Is not listened to for ever."""
    with opened(*CHEAP, *PATIENCE) as k:
        with k.connect(APP) as sock:
            send(sock, b"?")
            sent = 0
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                while sent < 64 << 20:
                    sent += sock.send(bytes(1 << 16))
            assert sent < 16 << 20
        assert k.state == 1


def refused(k, what):
    k.spawn()
    wait_for("it to end", k.ended)
    assert k.process.returncode == 1
    k.process = None
    assert re.search(what, k.log), k.log


def test_a_folder_of_something_else():
    k = Keystore()
    try:
        k.state_dir.mkdir(0o755)
        (k.state_dir / "data").write_text("x")
        refused(k, "other files")
        assert k.state_dir.stat().st_mode & 0o777 == 0o755 and k.state_dir.stat().st_uid == 0
        assert [p.name for p in k.state_dir.iterdir()] == ["data"]
        (k.state_dir / "values").mkdir(0o700)  # a store's, now
        k.start()
        assert (k.state_dir / "data").stat().st_uid == 0
        k.kill()
        (k.state_dir / "data").unlink()
        k.state_dir.chmod(0o777)
        refused(k, "others may write")
        k.state_dir.chmod(0o755)
        (k.state_dir / "lost+found").mkdir()
        k.start()
        assert "others may read" in k.log
        assert k.state_dir.stat().st_mode & 0o777 == 0o755
    finally:
        k.close()


def test_a_folder_that_is_not_given_away():
    """Stays whose it is, and what else is in it stays, too: it may be the folder of the socket."""
    k = Keystore(*CHEAP, user=None)
    try:
        k.state_dir.mkdir(0o755)
        (k.state_dir / "data").write_text("x")
        k.start()
        assert "other files" in k.log
        assert k.code(SYSTEM, "p", b"", b"password") == 1 and k.code(SYSTEM, "r") == 1
        assert (k.state_dir / "data").read_text() == "x"
    finally:
        k.close()


def test_a_living_ones_socket_is_not_taken():
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"key", b"value")
        other = Keystore()
        try:
            other.runtime, other.path = k.runtime, k.path
            refused(other, "another process serves")
        finally:
            other.close()
        is_served(k)
        k.kill()
        assert os.path.exists(k.path)
        k.start()  # a dead one's is
        assert os.stat(k.path).st_mode & 0o777 == 0o666


def test_a_log_that_nobody_reads():
    """Lines are dropped, requests are not; and how many is told when somebody reads again."""
    with opened(*CHEAP) as k:
        k.ok(APP, "i", b"key", b"value")
        k.stop()
        reads, writes = os.pipe()
        k.process = subprocess.Popen(k.command(), stderr=writes)
        os.close(writes)
        wait_for("waymark-keystored", k.answers)
        assert call(ask_often, k.path, 3000, uid=APP) == 3000
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)
        os.set_blocking(reads, False)
        with contextlib.suppress(BlockingIOError):
            while os.read(reads, 1 << 16):
                pass
        assert k.state == 1
        text = os.read(reads, 1 << 16).decode()
        assert re.search(r"\d{3,} lines of the log were dropped here\n", text), text
        os.close(reads)


def ask_often(path, count):
    return sum(talk(connect(path), b"t") in (b"\1", b"\2") for _ in range(count))


@pytest.mark.skipif(sanitized(), reason="is not shut in")
def test_root_has_no_capabilities():
    """Where there is nobody to become."""
    with opened(*CHEAP, user="root") as k:
        status = pathlib.Path(f"/proc/{k.pid}/status").read_text()
        effective = int(re.search(r"CapEff:\s+(\w+)", status)[1], 16)
        assert effective & ~(1 << 14) == 0  # that to lock memory, where a limit asks for it
        for name in ("Prm", "Bnd", "Amb", "Inh"):
            assert int(re.search(rf"Cap{name}:\s+(\w+)", status)[1], 16) & ~effective == 0
        k.ok(APP, "i", b"key", b"value")
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)


@pytest.mark.skipif(sanitized(), reason="is not shut in")
def test_without_seccomp_it_does_not_start():
    """Nor by mistake: who wants that says so."""
    k = Keystore(*CHEAP, wrap=["strace", "-f", "-o", "/dev/null", "-e", "inject=seccomp:error=EINVAL"])
    try:
        refused(k, "seccomp.*--no-sandbox")
    finally:
        k.close()
    with Keystore(*CHEAP, "--no-sandbox", wrap=k.wrap).start() as k:
        assert k.state == 3
        pid = int(pathlib.Path(f"/proc/{k.pid}/task/{k.pid}/children").read_text().split()[0])
        os.kill(pid, 15)
        k.process.wait(timeout=WAIT)
        k.process = None
