# SPDX-License-Identifier: LGPL-2.1-or-later
"""The fwmarkd socket's clients: many, silent, slow, broken, dead."""

import collections
import contextlib
import ctypes
import fcntl
import mmap
import os
import resource
import select
import signal
import socket
import struct
import threading
import time

import pytest

from fwmarkd_client import (EXPLICIT, ON_CONNECT, ON_CONNECT_COMPLETE, QUERY_USER_ACCESS,
                            SELECT_NETWORK, answer, ask, command, connect, destination, get_mark,
                            marked, send, started)
from harness import WAIT, checked, libc, wait_for
from netd_fixture import OK, Client, check

IDLE, IDLE_USERS, PER_USER = 10000, 4, 64


@pytest.fixture(scope="module")
def daemon():
    """With one network, the default, and nothing else."""
    with started("--no-host-networks") as d:
        with Client(d) as c:
            check(c, [("network create 100", OK), ("network interface add 100 eth0", OK),
                      ("network default set 100", OK)])
        d.has_clients(0)  # of netd
        d.files = d.idle_files()
        yield d


def connecting(path):
    """What any program does all day."""
    with marked_none() as sock:
        return ask(path, command(ON_CONNECT), [sock.fileno()]), get_mark(sock)


def marked_none():
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)


def is_served(d, uid=30000):
    assert d.machine.call(connecting, d.path, uid=uid) == (0, 100)


def lets_go(d):
    """Everything that clients brought is closed again."""
    wait_for(f"{d.files} open files", lambda: d.open_files() == d.files)


def test_end_without_request(daemon):
    with connect(daemon.path) as c:
        c.shutdown(socket.SHUT_WR)
        assert answer(c) == "ESHUTDOWN"


def test_byte_by_byte(daemon):
    """What the first read gives is the request (§1.2: exactly one sendmsg)."""
    with connect(daemon.path) as c, marked() as sock:
        send(c, command(ON_CONNECT)[:1], [sock.fileno()])
        assert answer(c) == "EBADMSG"
        with pytest.raises(OSError):
            for byte in command(ON_CONNECT)[1:] * 2:
                c.send(bytes([byte]))
        assert get_mark(sock) == 0


def test_destination_sent_apart(daemon):
    """The second half comes too late, as on Android."""
    with connect(daemon.path) as c, marked() as sock:
        send(c, command(ON_CONNECT_COMPLETE), [sock.fileno()])
        assert answer(c) == "EBADMSG"
    assert ask(daemon.path, command(ON_CONNECT_COMPLETE) + destination("10.0.0.1")) == "EBADF"


def test_silent(daemon):
    """Two seconds, then it is told and closed; its place is free again."""
    since = time.monotonic()
    with connect(daemon.path) as c:
        assert answer(c) == "ETIMEDOUT"
    assert time.monotonic() - since > 1.9
    lets_go(daemon)


def test_slow(daemon):
    with connect(daemon.path) as c, marked() as sock:
        time.sleep(0.2)
        send(c, command(ON_CONNECT), [sock.fileno()])
        assert answer(c) == 0


def hold_idle(path, n, ready, go):
    """Connects so often and says nothing, until told to go on. What the daemon then has said."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (n + 100, n + 100))
    idle = []
    for _ in range(n):
        idle.append(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
        idle[-1].connect(path)
        idle[-1].settimeout(WAIT)
    os.write(ready, b"x")
    os.read(go, 1)
    return collections.Counter(answer(c) for c in idle)


def test_idle(daemon):
    """10 000 connections that say nothing, of four users: everybody is served, these users too."""
    ready, is_ready = os.pipe()
    go, let_go = os.pipe()
    since = time.monotonic()
    calls = [daemon.machine.start_call(hold_idle, daemon.path, IDLE // IDLE_USERS, is_ready, go,
                                       uid=31000 + i, seconds=5 * WAIT) for i in range(IDLE_USERS)]
    for i in range(10):  # while they come
        is_served(daemon)
        is_served(daemon, 31000 + i % IDLE_USERS)
    for _ in calls:
        os.read(ready, 1)
    assert daemon.open_files() <= daemon.files + IDLE_USERS * PER_USER + 8
    for i in range(IDLE_USERS):
        is_served(daemon)
        is_served(daemon, 31000 + i)
    os.write(let_go, b"x" * len(calls))
    told = sum((call.result() for call in calls), collections.Counter())
    assert set(told) <= {"EBUSY", "ETIMEDOUT"} and told.total() == IDLE
    # all places may be given up so every two seconds, and once more in the end
    assert told["ETIMEDOUT"] <= IDLE_USERS * PER_USER * ((time.monotonic() - since) // 2 + 1)
    for fd in (ready, is_ready, go, let_go):
        os.close(fd)
    lets_go(daemon)


def crowd(path, ready, go):
    with contextlib.ExitStack() as stack:
        for _ in range(PER_USER):
            stack.enter_context(connect(path))
        os.write(ready, b"x")
        os.read(go, 1)


def test_every_place_taken(daemon):
    """Ten users with all the places that a user may have are more than there are."""
    ready, is_ready = os.pipe()
    go, let_go = os.pipe()
    calls = [daemon.machine.start_call(crowd, daemon.path, is_ready, go, uid=32000 + i)
             for i in range(10)]
    for _ in calls:
        os.read(ready, 1)
    assert daemon.open_files() <= daemon.files + 520
    is_served(daemon)
    os.write(let_go, b"x" * len(calls))
    for call in calls:
        call.result()
    for fd in (ready, is_ready, go, let_go):
        os.close(fd)
    lets_go(daemon)


def test_oldest_goes(daemon):
    """Who has 64 places and wants another loses the first."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(daemon.path)) for _ in range(PER_USER + 1)]
        assert answer(clients[0]) == "EBUSY"
        send(clients[1], command(QUERY_USER_ACCESS, 100, 0))
        assert answer(clients[1]) == 0
        send(clients[-1], command(QUERY_USER_ACCESS, 100, 0))
        assert answer(clients[-1]) == 0


def test_closed_peers(daemon):
    with marked() as sock:
        for i in range(300):
            with connect(daemon.path) as c:
                if i % 3:
                    send(c, command(SELECT_NETWORK, 100)[:16 if i % 3 == 1 else 5], [sock.fileno()])
        is_served(daemon)
        lets_go(daemon)
        wait_for("the mark", lambda: get_mark(sock) & EXPLICIT)  # asked for, so it was done


def test_descriptors_are_closed(daemon):
    """However many came, and with whatever request."""
    with marked() as sock:
        for n in (1, 2, 3, 253):
            for data in (command(ON_CONNECT), command(99), b"x", command(QUERY_USER_ACCESS, 100, 0)):
                ask(daemon.path, data, [sock.fileno()] * n)
    lets_go(daemon)


@contextlib.contextmanager
def room_for_files(d, n):
    """The daemon can open so many more."""
    limits = resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE)
    taken = {int(fd) for fd in os.listdir(f"/proc/{d.process.pid}/fd")}
    limit = next(limit for limit in range(limits[0])
                 if len(set(range(limit)) - taken) == n and limit not in taken)
    resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, (limit, limits[1]))
    try:
        yield
    finally:
        resource.prlimit(d.process.pid, resource.RLIMIT_NOFILE, limits)


def test_no_file_can_be_opened(daemon):
    """The connection takes the last one, or all but one: a socket that was lost is not one that was not
    sent, and of two that came one may not pass for all."""
    lets_go(daemon)
    with marked() as sock:
        with room_for_files(daemon, 1):
            assert ask(daemon.path, command(ON_CONNECT), [sock.fileno()]) == "EMFILE"
            assert ask(daemon.path, command(QUERY_USER_ACCESS, 100, 0)) == 0
            with connect(daemon.path) as client:
                time.sleep(0.2)
                send(client, command(QUERY_USER_ACCESS, 100, 0))
                assert answer(client) == 0, "nobody else is there who wants its place"
        with room_for_files(daemon, 2):
            assert ask(daemon.path, command(ON_CONNECT), [sock.fileno()] * 2) == "EMFILE"
            assert get_mark(sock) == 0
            assert ask(daemon.path, command(ON_CONNECT), [sock.fileno()]) == 0
        with room_for_files(daemon, 0), connect(daemon.path) as client:
            send(client, command(ON_CONNECT), [sock.fileno()])
            assert not select.select([client], [], [], 0.3)[0]  # waits for better times
        is_served(daemon)
    lets_go(daemon)


def test_more_than_the_request_is_thrown_away(daemon):
    """With its descriptors, also where closing those would wait for their data."""
    request = command(SELECT_NETWORK, 100)
    with socket.create_server(("127.0.0.1", 0)) as server, marked() as sock, \
            connect(daemon.path) as client:
        lingering = socket.create_connection(server.getsockname())
        peer = server.accept()[0]
        lingering.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
        lingering.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                lingering.send(bytes(65536))
        daemon.process.send_signal(signal.SIGSTOP)
        send(client, request, [sock.fileno()])
        send(client, b"more", [lingering.fileno()])
        lingering.close()
        daemon.process.send_signal(signal.SIGCONT)
        with contextlib.suppress(ConnectionResetError):
            assert answer(client) == 0
        wait_for("the mark", lambda: get_mark(sock) & EXPLICIT)
        lets_go(daemon)
        peer.close()


def leave_lingering(path, n):
    """Sends sockets that close() would wait a minute for, and dies."""
    peers = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        for i in range(n):
            sock = socket.create_connection(server.getsockname())
            peers.append(server.accept())  # and never read from
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
            sock.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    sock.send(bytes(65536))
            data = command(ON_CONNECT) if i % 3 == 0 else command(99) if i % 3 == 1 else b"x"
            send(connect(path), data, [sock.fileno()] * (1 + i % 2))


def test_lingering_sockets_of_the_dead(daemon):
    """The daemon has their last descriptors, in its hands or unread; closing them does not wait."""
    daemon.process.send_signal(signal.SIGSTOP)
    daemon.machine.call(leave_lingering, daemon.path, 24)
    since = time.monotonic()
    daemon.process.send_signal(signal.SIGCONT)
    is_served(daemon)
    lets_go(daemon)
    assert time.monotonic() - since < WAIT  # instead of 24 minutes


class SlowMemory:
    """A page that the kernel cannot read until it is told to: any user's file system could do so."""

    def __init__(self):
        self.page = mmap.mmap(-1, mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self.page))
        number = {"x86_64": 323, "aarch64": 282}[os.uname().machine]  # of userfaultfd(2)
        self.fd = checked_fd(libc.syscall(number, os.O_CLOEXEC))
        fcntl.ioctl(self.fd, 0xC018AA3F, struct.pack("QQQ", 0xAA, 0, 0))  # UFFDIO_API
        fcntl.ioctl(self.fd, 0xC020AA00,  # UFFDIO_REGISTER
                    struct.pack("QQQQ", self.address, mmap.PAGESIZE, 1, 0))

    def come(self):
        fcntl.ioctl(self.fd, 0xC020AA04,  # UFFDIO_ZEROPAGE
                    bytearray(struct.pack("QQQQ", self.address, mmap.PAGESIZE, 0, 0)))


def checked_fd(fd):
    checked(fd)
    return fd


def is_in_setsockopt(thread):
    with open(f"/proc/self/task/{thread.native_id}/syscall", encoding="ascii") as f:
        return f.read().split()[0] == {"x86_64": "54", "aarch64": "208"}[os.uname().machine]


def until_refused(path, sock):
    """Asks again and again, also while nothing is answered; the first refusal, which is for all of them."""
    with contextlib.ExitStack() as stack:
        asked = []

        def refused():
            asked.append(stack.enter_context(connect(path)))
            send(asked[-1], command(ON_CONNECT), [sock.fileno()])
            for client in select.select(asked, [], [], 0.1)[0]:
                asked.remove(client)
                if told := answer(client):
                    return told
            return None

        return wait_for("it to be seen that this user stalls", refused)


def stall(path, ready, go):
    """Sends a socket whose lock a thread of ours holds. What this user is told meanwhile, and then."""
    memory = SlowMemory()
    program = struct.pack("HxxxxxxP", 1, memory.address)
    with marked() as sock, marked() as other:
        os.setresuid(33000, 33000, 33000)
        checked(libc.prctl(4, 1, 0, 0, 0))  # PR_SET_DUMPABLE: /proc/self stays ours
        holder = threading.Thread(target=libc.setsockopt, args=(
            sock.fileno(), socket.SOL_SOCKET, 26, program, len(program)))  # SO_ATTACH_FILTER
        holder.start()
        wait_for("the lock", lambda: is_in_setsockopt(holder))
        time.sleep(0.1)
        clients = [connect(path) for _ in range(3)]
        for c in clients:
            send(c, command(ON_CONNECT), [sock.fileno()])
        told = [until_refused(path, other)]
        os.write(ready, b"x")
        os.read(go, 1)
        memory.come()
        told += [answer(c) for c in clients]
        told.append(ask(path, command(ON_CONNECT), [other.fileno()]))
        holder.join()
        return told


def test_locked_socket(daemon):
    """Who makes the kernel wait with his socket's lock held stops himself alone."""
    ready, is_ready = os.pipe()
    go, let_go = os.pipe()
    call = daemon.machine.start_call(stall, daemon.path, is_ready, go)
    assert select.select([ready], [], [], WAIT)[0]
    for i in range(10):
        is_served(daemon, 34000 + i)
    assert daemon.ok("default")
    os.write(let_go, b"x")
    first, *told, last = call.result()
    assert (first, last) == ("EBUSY", 0)
    # two were in the middle of it; the third waited behind them until the user was seen to stall
    assert sorted(told, key=str) == [0, 0, "EBUSY"]
    for fd in (ready, is_ready, go, let_go):
        os.close(fd)
    lets_go(daemon)


def test_many_at_once(daemon):
    """Each of a batch gets its own answer."""
    with contextlib.ExitStack() as stack:
        daemon.process.send_signal(signal.SIGSTOP)
        clients = [stack.enter_context(connect(daemon.path)) for _ in range(500)]
        sockets = [stack.enter_context(marked()) for _ in clients]
        for i, (c, sock) in enumerate(zip(clients, sockets)):
            send(c, command(SELECT_NETWORK, 100 + i % 2), [sock.fileno()])
        daemon.process.send_signal(signal.SIGCONT)
        for i, (c, sock) in enumerate(zip(clients, sockets)):
            assert answer(c) == ("ENONET" if i % 2 else 0)
            assert (get_mark(sock) & 0xFFFF) == (0 if i % 2 else 100)


def test_restart():
    """Killed, the daemon leaves its socket; the next one replaces it, and removes it in the end."""
    with started("--no-host-networks") as d:
        with Client(d) as c:
            check(c, [("network create 100", OK), ("network default set 100", OK)])
        is_served(d)
        d.kill()
        assert os.path.exists(d.path)
        with pytest.raises(ConnectionRefusedError):
            connect(d.path)
        d.start()
        is_served(d)
        d.stop()
        assert not os.path.exists(d.path)
