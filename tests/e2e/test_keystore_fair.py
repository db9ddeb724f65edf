# SPDX-License-Identifier: LGPL-2.1-or-later
"""The keystore served fairly: among many, slow, silent, greedy, guessing and mad clients.

How quick exactly is measured by bench/bench-keystore; here, that everybody is answered.
"""

import contextlib
import os
import random
import re
import socket
import statistics
import threading
import time

import pytest

from harness import WAIT, Call, wait_for
from keystore_client import answer, connect, everything, message, messages, request, send, talk
from keystore_fixture import (APP, CHEAP, PASSWORD, READER, ROOT, STRANGER, SYSTEM, VPN, WIFI, Here, call, crowd,
                              opened, sanitized)

IDLE, SLOW, CROWDS = 10000, 1000, 10
PATIENCE = ("--timeout", "600")
ROUND = 4000 if sanitized() else 20000  # of five that make 100 000
MEMORY = 8 << 10  # KiB that it may grow by


@pytest.fixture
def store():
    with opened(*CHEAP, *PATIENCE) as k:
        k.ok(APP, "i", b"key", b"value")
        k.ok(APP, "x", b"key", b"%d" % VPN)
        yield k


def is_served(k, uid=APP):
    assert k.get(uid, b"key") == b"value"


def gets(path, count):
    """Seconds that each took."""
    times = []
    for _ in range(count):
        since = time.monotonic()
        with connect(path) as sock:
            assert talk(sock, request("g", b"key")) == answer(1, b"value")
        times.append(time.monotonic() - since)
    return times


class Crowds:
    """Users that each hold connections, which have sent something, or nothing."""

    def __init__(self, k, rows):
        """rows: (uid, how many, what they have sent)"""
        ready, is_ready = os.pipe()
        go, self.let_go = os.pipe()
        self.calls = [Call(Here, crowd, (k.path, count, data, is_ready, go), uid, WAIT * 4)
                      for uid, count, data in rows]
        for fd in (is_ready, go):
            os.close(fd)
        for _ in rows:
            assert os.read(ready, 1), "one of them could not connect"
        os.close(ready)

    def close(self):
        os.write(self.let_go, b"x" * len(self.calls))
        os.close(self.let_go)
        for each in self.calls:
            each.result()


def test_ten_thousand_idle_and_a_thousand_slow(store):
    base = store.open_files()
    alone = call(gets, store.path, 200, uid=APP)
    rows = [(20000 + i, IDLE // CROWDS, b"") for i in range(CROWDS)]
    rows += [(30000 + i, SLOW // CROWDS, request("i", b"k", b"v" * 1000)[:500]) for i in range(CROWDS)]
    with contextlib.closing(Crowds(store, rows)):
        # all of them are held, and nobody is turned away
        wait_for("all to be there", lambda: store.open_files() >= base + IDLE + SLOW)
        crowded = call(gets, store.path, 200, uid=APP)
        assert call(gets, store.path, 50, uid=VPN)
        store.ok(STRANGER, "i", b"k", b"v")
        store.ok(SYSTEM, "p", PASSWORD, PASSWORD)
        # an order of magnitude, and the room that a busy machine wants
        assert statistics.median(crowded) < 20 * statistics.median(alone) + 0.05
    wait_for("all to be gone", lambda: store.open_files() <= base)
    is_served(store)


def test_slow_ones_are_heard_to_the_end(store):
    """A byte now and then, of many at once; in between everybody else is served."""
    clients = [(store.connect(APP), request("i", b"slow %d" % i, b"v%d" % i)) for i in range(20)]
    for at in range(max(len(data) for _, data in clients)):
        for sock, data in clients:
            send(sock, data[at:at + 1])
        is_served(store)
        is_served(store, VPN)
    for sock, _ in clients:
        sock.shutdown(socket.SHUT_WR)
        assert everything(sock) == b"\1"
        sock.close()
    for i in range(20):
        assert store.get(APP, b"slow %d" % i) == b"v%d" % i


def test_a_byte_a_second(store):
    """Delays nobody: the others are through long before it has said anything."""
    data = request("g", b"key")
    with store.connect(APP) as slow:
        for byte in data:
            slow.send(bytes([byte]))
            assert max(call(gets, store.path, 20, uid=APP)) < 5
            time.sleep(1 / len(data))
        slow.shutdown(socket.SHUT_WR)
        assert everything(slow) == answer(1, b"value")


@pytest.mark.parametrize("begun", [b"", b"g", b"g\0", b"g\0\3ke", request("g", b"key"), b"i\0\1k\x80\0" + bytes(1000)],
                         ids=["nothing", "code", "length", "key", "no end", "value"])
def test_time_is_up(begun):
    """Who has not said what he wants is told so; what he keeps saying does not prolong it."""
    with opened(*CHEAP, "--timeout", "1") as k:
        k.ok(APP, "i", b"key", b"value")
        base = k.open_files()
        since = time.monotonic()
        with k.connect(APP) as sock:
            send(sock, begun)
            ended = threading.Event()

            def go_on():
                while not ended.wait(0.2):
                    with contextlib.suppress(OSError):
                        if begun.startswith(b"i"):
                            sock.send(b"x")

            thread = threading.Thread(target=go_on)
            thread.start()
            try:
                assert everything(sock) == b"\5"
            finally:
                ended.set()
                thread.join()
        assert 0.9 < time.monotonic() - since
        wait_for("its place to be free", lambda: k.open_files() <= base)
        is_served(k)


def test_a_request_that_runs_is_not_timed():
    """Waiting for the delay after wrong passwords takes longer than a client may take."""
    with opened("--argon2-memory", "64", "--retry-delay", "3000", "--timeout", "1") as k:
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        since = time.monotonic()
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 12
        assert time.monotonic() - since > 2


def names_in_the_folder(k, uid, n):
    """Names are enough for `saw`; 120 bytes each."""
    owner = os.stat(k.state_dir / "values")
    for i in range(n):
        path = k.value_file(uid, b"%06d" % i + b"n" * 114)
        path.touch(0o600)
        os.chown(path, owner.st_uid, owner.st_gid)


def test_a_big_answer_that_is_not_read(store):
    """More than a socket holds: it waits for its reader, and nobody for it."""
    store.stop()
    names_in_the_folder(store, STRANGER, 5000)
    store.start()
    store.ok(SYSTEM, "u", PASSWORD)
    stalled = [store.connect(STRANGER) for _ in range(20)]
    for sock in stalled:
        send(sock, request("s", b""))
        sock.shutdown(socket.SHUT_WR)
    for _ in range(20):
        is_served(store)
        is_served(store, VPN)
    store.ok(APP, "i", b"new", b"value")
    # some go without reading, some read a little, and go; some read all, slowly
    for sock in stalled[:5]:
        sock.close()
    for sock in stalled[5:10]:
        sock.recv(1000)
        sock.close()
    for sock in stalled[10:]:
        data = b""
        while chunk := sock.recv(40000):
            data += chunk
            is_served(store)
        assert data[0] == 1 and len(messages(data)) == 5000
        sock.close()


def test_a_reader_that_never_reads_is_let_go():
    with opened(*CHEAP, "--timeout", "1") as k:
        k.ok(APP, "i", b"key", b"value")
        k.stop()
        names_in_the_folder(k, STRANGER, 5000)
        k.start()
        k.ok(SYSTEM, "u", PASSWORD)
        base = k.open_files()
        with k.connect(STRANGER) as sock:
            send(sock, request("s", b""))
            sock.shutdown(socket.SHUT_WR)
            wait_for("its place to be free", lambda: k.open_files() <= base)
        is_served(k)


def test_no_place_left():
    """Of the user with most connections the longest idle goes; others get in."""
    with opened(*CHEAP, *PATIENCE, wrap=["prlimit", "--nofile=128:128"]) as k:
        k.ok(APP, "i", b"key", b"value")
        base = k.open_files()
        small = [k.connect(STRANGER) for _ in range(5)]
        assert call(hold_and_tell, k.path, 400, 250, uid=20000) < 400
        greedy = Crowds(k, [(20000, 400, b"")])
        for _ in range(10):
            is_served(k)
        greedy.close()
        for sock in small:  # these were there before, and still are
            assert talk(sock, request("t")) == b"\1"
        wait_for("all to be gone", lambda: k.open_files() <= base)


def hold_and_tell(path, count, enough):
    """How many of so many connections were closed by the other end; it waits until that are enough."""
    held, closed = [], set()
    for _ in range(count):
        held.append(connect(path))
        held[-1].setblocking(False)

    def look():
        for sock in set(held) - closed:
            with contextlib.suppress(BlockingIOError):
                assert sock.recv(10) in (b"", b"\4")
                closed.add(sock)
        return len(closed) >= enough

    wait_for("connections to be closed", look)
    return len(closed)


# Passwords


def test_passwords_are_delayed_and_nobody_else_is():
    with opened("--argon2-memory", "64", "--retry-delay", "1500") as k:
        k.ok(APP, "i", b"key", b"value")
        begun = time.monotonic()
        assert [k.code(SYSTEM, "p", b"wrong", b"new") for _ in range(2)] == [13, 12]
        assert time.monotonic() - begun >= 1.5
        # the next one waits twice as long; meanwhile everybody is served
        with k.connect(SYSTEM) as guessing:
            since = time.monotonic()
            send(guessing, request("p", PASSWORD, PASSWORD))
            guessing.shutdown(socket.SHUT_WR)
            assert len(call(gets, k.path, 50, uid=APP)) == 50
            assert k.state == 1 and k.code(SYSTEM, "e", b"x") == 7
            k.ok(APP, "i", b"written", b"meanwhile")
            guessing.setblocking(False)
            if time.monotonic() - since < 2:
                with pytest.raises(BlockingIOError):
                    guessing.recv(1)
            guessing.settimeout(WAIT)
            assert everything(guessing) == b"\1"  # and a right one waits, too
            assert time.monotonic() - begun >= 1.5 + 3
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13  # the right one has ended the wait


def test_the_delay_outlives_a_restart():
    with opened("--argon2-memory", "64", "--retry-delay", "1500") as k:
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13
        k.kill()
        since = time.monotonic()
        k.start()
        assert k.code(SYSTEM, "u", b"wrong") == 12
        assert time.monotonic() - since >= 1.5


def test_guesses_at_once():
    """Many at a time are no more guesses than one after the other."""
    with opened("--argon2-memory", "64", "--retry-delay", "10", "--no-wipe") as k:
        k.ok(SYSTEM, "l")
        clients = [k.connect(SYSTEM) for _ in range(6)]
        since = time.monotonic()
        for sock in clients:
            send(sock, request("u", b"wrong"))
            sock.shutdown(socket.SHUT_WR)
        told = sorted((everything(sock) for sock in clients), reverse=True)
        assert told == [b"\x0d", b"\x0c", b"\x0b", b"\x0a", b"\x0a", b"\x0a"]
        assert time.monotonic() - since > 1
        for sock in clients:
            sock.close()
        k.ok(SYSTEM, "u", PASSWORD)


def test_no_wipe():
    with opened(*CHEAP, "--no-wipe") as k:
        k.ok(APP, "i", b"key", b"value")
        k.ok(SYSTEM, "l")
        assert [k.code(SYSTEM, "u", b"wrong") for _ in range(7)] == [13, 12, 11, 10, 10, 10, 10]
        k.restart()
        assert k.code(SYSTEM, "u", b"wrong") == 10
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)
        assert k.code(SYSTEM, "p", b"wrong", b"new") == 13


def test_work_for_a_password_delays_nobody():
    """The real cost, most of a second."""
    with opened("--argon2-memory", str(64 << 10), "--retry-delay", "0", *PATIENCE) as k:
        k.ok(APP, "i", b"key", b"value")
        with k.connect(SYSTEM) as working:
            send(working, request("p", PASSWORD, PASSWORD))
            working.shutdown(socket.SHUT_WR)
            assert len(call(gets, k.path, 20, uid=APP)) == 20
            assert everything(working) == b"\1"


# Quotas


def test_quota_of_keys():
    with opened(*CHEAP, "--quota-keys", "5") as k:
        for i in range(5):
            k.ok(APP, "i", b"%d" % i, b"")
        assert k.code(APP, "i", b"5", b"") == 4
        assert re.search("quota", k.log)
        k.ok(APP, "i", b"4", b"written over")
        k.ok(STRANGER, "i", b"5", b"")  # each has his own
        k.ok(APP, "d", b"0")
        k.ok(APP, "i", b"5", b"")
        assert k.code(APP, "i", b"6", b"") == 4
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.code(APP, "i", b"6", b"") == 4
        assert len(k.saw(APP)) == 5


def test_quota_of_bytes():
    with opened(*CHEAP, "--quota-bytes", "100000") as k:
        for i in range(3):
            k.ok(APP, "i", b"%d" % i, bytes(30000))
        assert k.code(APP, "i", b"3", bytes(30000)) == 4
        assert k.get(APP, b"3") == 7 and re.search("quota", k.log)
        k.ok(APP, "i", b"2", bytes(100))
        k.ok(APP, "i", b"3", bytes(30000))
        assert k.code(APP, "i", b"2", bytes(30000)) == 4
        assert k.get(APP, b"2") == bytes(100)  # what was there stays
        k.ok(STRANGER, "i", b"0", bytes(30000))
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        assert k.code(APP, "i", b"2", bytes(30000)) == 4


def test_quota_among_many_at_once():
    """Asked for before the others are written."""
    with opened(*CHEAP, "--quota-keys", "10") as k:
        clients = [k.connect(APP) for _ in range(40)]
        for i, sock in enumerate(clients):
            send(sock, request("i", b"%d" % i, b"v"))
        for sock in clients:
            sock.shutdown(socket.SHUT_WR)
        told = [everything(sock) for sock in clients]
        assert sorted(told) == [b"\1"] * 10 + [b"\4"] * 30
        assert len(k.saw(APP)) == 10
        for sock in clients:
            sock.close()


def test_the_last_writer_wins(store):
    """Many write one key at once: each is answered, and one of them is there, whole."""
    values = [bytes([i]) * 20000 for i in range(30)]
    clients = [store.connect(APP) for _ in values]
    for sock, value in zip(clients, values):
        send(sock, request("i", b"contended", value))
    for sock in clients:
        sock.shutdown(socket.SHUT_WR)
    for sock in clients:
        assert everything(sock) == b"\1"
        sock.close()
    assert store.get(APP, b"contended") in values


# The mad


CODES = b"tgidesrpluzxy"


def mad_request(rng, spared):
    """Random bytes; or what is nearly a request."""
    kind = rng.randrange(4)
    if kind == 0:
        data = rng.randbytes(rng.randrange(1, 40))
    else:
        data = bytes([rng.choice(CODES)])
        for _ in range(rng.randrange(4)):
            data += message(rng.choice([b"", b"key", b"%d_key" % APP, b"10002", rng.randbytes(rng.randrange(130))]))
        if kind == 2:
            data = data[:rng.randrange(1, len(data) + 1)]
        elif kind == 3:
            at = rng.randrange(len(data))
            data = data[:at] + rng.randbytes(1) + data[at + 1:]
    return data if data[0] not in spared else b"t" + data[1:]


def storm(path, seed, count, spared):
    """How often each code was answered. Every second one does not wait for what it is told."""
    rng, told = random.Random(seed), {}
    for i in range(count):
        with connect(path) as sock:
            send(sock, mad_request(rng, spared))
            if i % 16 == 0:
                continue
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
            data = everything(sock)
            assert data and 1 <= data[0] <= 13, data
            told[data[0]] = told.get(data[0], 0) + 1
    return told


@pytest.mark.parametrize("uid, spared", [(STRANGER, b""), (VPN, b""), (ROOT, b""), (WIFI, b""), (SYSTEM, b"rplu")])
def test_mad_clients(uid, spared):
    """100 000 in all. Who asks decently meanwhile, and after, is served; nothing grows."""
    with opened(*CHEAP, "--quota-keys", "50", "--no-wipe") as k:
        k.ok(APP, "i", b"key", b"value")
        base = k.open_files()
        call(storm, k.path, 1, ROUND // 10, spared, uid=uid, seconds=WAIT * 5)
        before = k.status("VmRSS")
        going = Call(Here, storm, (k.path, 2, ROUND - ROUND // 10, spared), uid, WAIT * 5)
        for _ in range(20):
            is_served(k)
            time.sleep(0.02)
        told = going.result()
        assert {5, 9} <= set(told) and (6 in told or uid == STRANGER or uid == SYSTEM), told
        assert k.state == 1
        is_served(k)
        wait_for("all to be gone", lambda: k.open_files() <= base)
        if not sanitized():
            assert k.status("VmRSS") - before < MEMORY
        k.restart()
        k.ok(SYSTEM, "u", PASSWORD)
        is_served(k)
        assert not k.get(READER, b"key") == b"value"
