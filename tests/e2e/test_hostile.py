# SPDX-License-Identifier: LGPL-2.1-or-later
"""Clients that mean no good: whatever they do, others are served quickly, the daemon costs little, and
it ends when it is told to. Those of the netd socket by themselves are in test_netd_clients.py."""

import contextlib
import os
import resource
import select
import signal
import socket
import struct
import threading
import time

import pytest

from dbus_peer import (CALL, FILES_PER_PEER, MANAGER, PATH, DBusError, Peer, Variant, connect,
                       message)
from harness import Instance, Machine, our_rules, wait_for
from netd_fixture import connections, cpu_seconds, sanitized

MALLORY, EVE = 3001, 3002
SLOW = 4 if sanitized() else 1  # what a sanitized daemon takes longer


@pytest.fixture
def daemon():
    machine = Machine()
    instance = Instance(machine)
    try:
        yield instance.start()
    finally:
        instance.close()
        machine.close()


def worst_wait(daemon, rounds=10):
    """How long somebody else waits for an answer on each of the sockets, at worst, in seconds."""
    worst = 0.0
    for _ in range(rounds):
        start = time.monotonic()
        with Peer(daemon.socket, EVE) as peer:
            assert peer.get("Off") is False
        with socket.socket(socket.AF_UNIX) as netd:
            netd.settimeout(20)
            netd.connect(f"{daemon.runtime}/netd")
            netd.sendall(b"1 x\0")
            assert netd.recv(100) == b"500 1 Command not recognized\0"
        worst = max(worst, time.monotonic() - start)
    return worst


def files_without_clients(daemon):
    """What the daemon has open when nobody is connected any more."""
    wait_for("everybody to go", lambda: not connections(daemon.socket)
             and not connections(f"{daemon.runtime}/netd"))
    return daemon.idle_files()  # its own come and go, too


def ends(daemon):
    """On SIGTERM, within about a second."""
    start = time.monotonic()
    daemon.stop()
    assert time.monotonic() - start < 5 * SLOW
    assert daemon.process.returncode == 0


# Bytes that a client sends before it says nothing more.

HELLO = b"\0AUTH EXTERNAL " + str(MALLORY).encode().hex().encode() + b"\r\n"
WHOLE = message(CALL, 1, {"path": PATH, "interface": MANAGER, "member": "Verify"})
HUGE = struct.pack("<cBBBIII", b"l", CALL, 0, 1, 1 << 26, 1, 0)
BYTES = {
    "nothing": b"",
    "a NUL": b"\0",
    "half of the greeting": HELLO[:9],
    "the greeting": HELLO,
    "the greeting, and no call": HELLO + b"BEGIN\r\n",
    "half of a call": HELLO + b"BEGIN\r\n" + WHOLE[:30],
    "all of a call but one byte": HELLO + b"BEGIN\r\n" + WHOLE[:-1],
    "the head of a message of 64 MiB": HELLO + b"BEGIN\r\n" + HUGE,
    "garbage": bytes(range(256)) * 16,
    "garbage for a greeting": b"\0" + b"GET / HTTP/1.1\r\n" * 100,
    "garbage for a call": HELLO + b"BEGIN\r\n" + bytes(range(255, -1, -1)) * 16,
    "a line without an end": b"\0AUTH " + b"x" * 100000,
    "another's name": b"\0AUTH EXTERNAL 30\r\nBEGIN\r\n" + WHOLE,
    "lengths that lie": HELLO + b"BEGIN\r\n" + WHOLE[:12] + b"\xff\xff\xff\x7f" + WHOLE[16:],
}


@pytest.mark.parametrize("kind", BYTES)
def test_who_says_something_and_then_nothing(daemon, kind):
    """32 of them, on each of the sockets."""
    with contextlib.ExitStack() as stack:
        for _ in range(32):
            for path, uid in ((daemon.socket, MALLORY), (f"{daemon.runtime}/netd", 0)):
                sock = stack.enter_context(connect(path, uid))
                sock.setblocking(False)
                with contextlib.suppress(OSError):
                    sock.send(BYTES[kind])
        assert worst_wait(daemon) < 2 * SLOW
        before = cpu_seconds(daemon)
        assert worst_wait(daemon, 3) < 2 * SLOW
        assert cpu_seconds(daemon) - before < 0.5 * SLOW
        ends(daemon)


def test_they_all_go_again(daemon):
    """Nothing is kept of who is gone, or was sent away."""
    worst_wait(daemon)
    files = files_without_clients(daemon)
    for data in BYTES.values():
        for path, uid in ((daemon.socket, MALLORY), (f"{daemon.runtime}/netd", 0)):
            with connect(path, uid) as sock, contextlib.suppress(OSError):
                sock.setblocking(False)
                sock.send(data)
    assert files_without_clients(daemon) == files


def test_places_per_user(daemon):
    """32 for each user; what one takes, no other misses; root always finds a place."""
    with contextlib.ExitStack() as stack:
        peers = [stack.enter_context(Peer(daemon.socket, MALLORY)) for _ in range(32)]
        for _ in range(5):
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                Peer(daemon.socket, MALLORY)
        assert all(peer.get("Off") is False for peer in peers)
        result = daemon("status", uid=MALLORY)
        assert result.code == 8 and "closed the connection" in result.err
        assert daemon("status", uid=EVE).code == daemon("status").code == 0
        peers[5].close()
        wait_for("a place", lambda: daemon("status", uid=MALLORY).code == 0)
        # many users together
        for uid in range(5001, 5009):
            for _ in range(32):
                with contextlib.suppress(OSError):
                    stack.enter_context(connect(daemon.socket, uid))
        for _ in range(30):
            root = stack.enter_context(Peer(daemon.socket))
            assert root.get("Off") is False
        assert daemon("status").code == 0


# Calls in any number.

class Flooder(threading.Thread):
    """Sends the same calls again and again on some connections; reads the answers, or does not."""

    def __init__(self, daemon, data, n=8, read=True):
        super().__init__(daemon=True)
        self.data, self.read, self.stopping = data, read, False
        self.socks = []
        for _ in range(n):
            peer = Peer(daemon.socket, MALLORY)
            peer.sock.setblocking(False)
            self.socks.append(peer.sock)
        self.dropped = 0
        self.start()

    def run(self):
        left = {sock: b"" for sock in self.socks}
        while not self.stopping and left:
            for sock in list(left):
                try:
                    if self.read:
                        with contextlib.suppress(BlockingIOError):
                            sock.recv(1 << 20)
                    data = left[sock] or self.data
                    left[sock] = data[sock.send(data):]
                except BlockingIOError:
                    pass
                except OSError:
                    del left[sock]
                    self.dropped += 1
            time.sleep(0)

    def close(self):
        self.stopping = True
        self.join()
        for sock in self.socks:
            sock.close()


def call(member, signature="", *args, interface=MANAGER):
    return message(CALL, 7, {"path": PATH, "interface": interface, "member": member}, signature,
                   *args)


CALLS = {
    "ping": call("Ping", interface="org.freedesktop.DBus.Peer"),
    "all objects": call("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager"),
    "introspection": call("Introspect", interface="org.freedesktop.DBus.Introspectable"),
    "explain": call("Explain", "a{sv}", {"Destination": Variant("s", "198.51.100.7")}),
    "verify": call("Verify"),
    "doctor": call("Doctor"),
    "denied": call("Reload"),
    "unknown": call("Nope"),
    "a mebibyte": call("GetNetwork", "s", "x" * (1 << 20)),
}


def memory(daemon):
    """Resident, in bytes."""
    with open(f"/proc/{daemon.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.parametrize("kind", CALLS)
def test_who_asks_without_end(daemon, kind):
    flood = Flooder(daemon, CALLS[kind] * (100 if len(CALLS[kind]) < 1000 else 1))
    try:
        assert worst_wait(daemon) < 1.0 * SLOW
        if not sanitized():
            assert memory(daemon) < 64 << 20
    finally:
        flood.close()
    assert worst_wait(daemon, 3) < 1.0 * SLOW
    ends(daemon)


@pytest.mark.parametrize("kind", ["all objects", "introspection"])
def test_who_asks_and_does_not_read(daemon, kind):
    """Is dropped before the answers fill the memory."""
    flood = Flooder(daemon, CALLS[kind] * 100, read=False)
    try:
        wait_for("them to be dropped", lambda: flood.dropped == 8)
        assert worst_wait(daemon) < 1.0 * SLOW
        if not sanitized():
            assert memory(daemon) < 32 << 20
    finally:
        flood.close()


def test_a_monitor_that_never_reads(daemon):
    """Is dropped in the end; the others hear everything, and in order."""
    files = files_without_clients(daemon)
    with Peer(daemon.socket, MALLORY) as deaf, Peer(daemon.socket, EVE) as listener, \
            Peer(daemon.socket) as root:
        assert deaf.get("Off") is False
        before, heard, told = memory(daemon), [], 0
        everybody = files + 3 * FILES_PER_PEER
        # more than that at times: the daemon's own, when it looks for old sockets
        while daemon.open_files() > everybody - FILES_PER_PEER and told < 20000:
            for i in range(200):
                serial = root.send("Assign", "sss", "uid:5", ("eth0", "eth1")[i % 2], "require")
                root.wait(serial)
            told += 200
            root.signals.clear()
            heard += [args[1] for _, member, args in listener.take_signals()
                      if member == "Event" and args[0] == "assigned"]
        wait_for("all of it to be closed",
                 lambda: daemon.open_files() == everybody - FILES_PER_PEER)
        if not sanitized():
            assert memory(daemon) - before < 16 << 20
        assert len(heard) == told
        assert heard[1:3] == ["uid:5 to eth1 (require)", "uid:5 to eth0 (require)"]
        assert listener.get("Off") is False


def test_ten_thousand_changes(daemon):
    """As fast as they can be asked for, fifty on their way: each is answered in turn, and the last one
    holds."""
    machine = daemon.machine
    count = 10_000 // (4 if sanitized() else 1)
    with Peer(daemon.socket, timeout=120) as peer:
        before, window = memory(daemon), threading.Semaphore(50)

        def send():
            for i in range(count // 2):
                window.acquire()
                window.acquire()
                peer.send("Assign", "sss", f"uid:{6000 + i % 7}", ("eth0", "eth1")[i % 2], "require")
                peer.send("Unassign", "s", f"uid:{6000 + i % 7}")

        writer = threading.Thread(target=send)
        writer.start()
        start, answers, worst = time.monotonic(), 0, 0.0
        while answers < count:
            _, fields, _ = peer.receive(time.monotonic() + 60)
            if "reply_serial" in fields:
                answers += 1
                window.release()
                assert fields["reply_serial"] == answers and "error" not in fields
                if answers % 1000 == 0:
                    worst = max(worst, worst_wait(daemon, 1))
        writer.join()
        took = time.monotonic() - start
        print(f"{count / took:.0f} changes per second, worst wait {worst * 1000:.0f} ms")
        assert worst < 1.0 * SLOW
        assert peer.get("AssignmentCount") == 0
        if not sanitized():
            assert memory(daemon) - before < 8 << 20
    assert not [r for r in our_rules(machine) if "uidrange 600" in r]
    assert daemon.json("verify")["verification"]["proved"]


# File descriptors.

def test_descriptors_are_not_taken(daemon):
    """A thousand could be pinned by who sends them with half of a message: they are refused."""
    read, write = os.pipe()
    worst_wait(daemon)
    files = files_without_clients(daemon)
    for before in (b"", HELLO, HELLO + b"NEGOTIATE_UNIX_FD\r\n", HELLO + b"BEGIN\r\n",
                   HELLO + b"BEGIN\r\n" + WHOLE[:-20]):
        socks = [connect(daemon.socket, MALLORY) for _ in range(8)]
        for sock in socks:
            with contextlib.suppress(OSError):
                if before:
                    sock.sendall(before)
                for _ in range(4):
                    socket.send_fds(sock, [b"A"], [read] * 250)
        worst_wait(daemon, 3)
        assert daemon.open_files() <= files + 9 * FILES_PER_PEER + 1
        for sock in socks:
            sock.close()
        assert files_without_clients(daemon) == files
    os.close(read)
    os.close(write)
    ends(daemon)


def test_no_descriptor_is_left(daemon):
    """The daemon can open nothing: who is there is served, who comes is not, and it does not spin."""
    pid = daemon.process.pid
    with Peer(daemon.socket, EVE) as before, Peer(daemon.socket) as root:
        root.call("Assign", "sss", "uid:5", "eth1", "require")
        worst_wait(daemon, 1)
        limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        limit = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd")) + 10
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
        with contextlib.ExitStack() as stack:
            greedy = [stack.enter_context(connect(daemon.socket, MALLORY)) for _ in range(32)]
            wait_for("the last place", lambda: daemon.open_files() > limit - FILES_PER_PEER)
            cpu, start = cpu_seconds(daemon), time.monotonic()
            while time.monotonic() - start < 1.0:  # a span to measure in, not something to wait for
                assert before.get("Off") is False
            # some thousand answers in this second; the rest is what waiting in vain costs
            assert cpu_seconds(daemon) - cpu < 0.95
            for peer, call_, args in ((before, "Verify", ()), (before, "Doctor", ()),
                                      (root, "Assign", ("sss", "uid:6", "none", "require"))):
                with contextlib.suppress(DBusError):
                    peer.call(call_, *args)
            cpu = cpu_seconds(daemon)
            time.sleep(1.0)  # the same
            assert cpu_seconds(daemon) - cpu < 0.2 * SLOW, "idle"
            assert not daemon.ended()
            for sock in greedy:
                sock.close()
            wait_for("room", lambda: daemon("status").code == 0)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        root.call("Assign", "sss", "uid:6", "none", "require")
        assert before.call("Verify")[0]["Proved"] and before.call("Doctor")[0]
    assert worst_wait(daemon) < 2 * SLOW
    assert daemon.log.count("\n") < 200


# What the daemon leaves behind when it is killed in the middle.

def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(child) for child in f.read().split()]


def held_by(pid):
    """What a process has open; None when it is gone."""
    try:
        return [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
    except FileNotFoundError:
        return None


def has_ended(pid):
    """Also when nobody has asked for its exit code yet."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def stopped_verification(daemon, peer):
    """The process of a verification that was stopped in the middle of its work, when it has let go
    of all that is the daemon's. It is quick: one of some tries comes in time."""
    if not daemon.assignments():
        daemon.config.write_text("[assignments]\n" + "".join(
            f"assign = uid:{uid} {('eth0', 'eth1')[uid // 2 % 2]}\n"
            for uid in range(10000, 12000, 2)))
        daemon.ok("reload")
    while True:
        serial, child, held = peer.send("Verify"), None, None
        while not select.select([peer.sock], [], [], 0)[0]:
            child = child or next(iter(children(daemon.process.pid)), None)
            held = child and held_by(child)
            if held and len(held) <= 4:
                break
        if not held:
            peer.wait(serial)
            continue
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGSTOP)
        try:
            peer.call("Verify")
        except DBusError as error:
            assert (error.name, error.text) == (
                "System.Error.EBUSY", "you wait for a verification already: one at a time")
            assert not [what for what in held if what.startswith(("socket", "anon"))], held
            return child


def test_killed_during_a_verification(daemon):
    """The child that proves holds nothing, and ends with the daemon: the next one can start."""
    with Peer(daemon.socket, EVE) as peer:
        child = stopped_verification(daemon, peer)
        assert worst_wait(daemon) < 2 * SLOW, "others do not wait for it"
        daemon.kill()
    wait_for("its end", lambda: has_ended(child))
    daemon.start()
    assert daemon.json("verify")["verification"]["proved"]


def test_a_verification_that_hangs_keeps_nobody_from_ending(daemon):
    with Peer(daemon.socket, EVE) as peer:
        child = stopped_verification(daemon, peer)
        ends(daemon)
    wait_for("its end", lambda: has_ended(child))
