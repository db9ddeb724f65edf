# SPDX-License-Identifier: LGPL-2.1-or-later
"""The netd socket's life, and its clients: many, silent, greedy, slow, broken."""

import ast
import contextlib
import grp
import os
import resource
import select
import signal
import socket
import stat
import threading
import time

import pytest

# pylint: disable=unused-import
from netd_fixture import (BUSY, EXISTS, INVALID, MAC0, MAC1, NO_NET, OK, Client, Daemon, Links,
                          check, client, cpu_seconds, daemon, namespace)
from harness import WAIT, wait_for

DNS_OK = "200 {} Resolver command succeeded"


@contextlib.contextmanager
def started(*options, config=""):
    """A daemon of its own."""
    ns = Links()
    ns.add_link("eth0", MAC0, "10.0.0.2/24")
    ns.add_link("eth1", MAC1)
    d = Daemon(ns, *options, config=config)
    try:
        yield d.start()
    finally:
        d.close()
        ns.close()


def test_socket_file(daemon):
    info = os.stat(daemon.netd)
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o660
    try:
        assert info.st_gid == grp.getgrnam("waymark").gr_gid
    except KeyError:
        assert info.st_gid == 0


def test_stale_socket_and_restart():
    """Killed, the daemon leaves its socket; the next one replaces it and knows what was made."""
    with started("--no-host-networks") as d:
        with Client(d) as c:
            check(c, [
                ("network create 100 SYSTEM", OK),
                ("network create oem3", OK),
                ("network create 102 vpn 1 0", OK),
                ("network interface add 100 eth0", OK),
                ("network route add 100 eth0 2001:db8::1/32 unreachable", OK),
                ("network route legacy 20000 add 100 eth0 10.9.0.0/16 10.0.0.1", OK),
                ("network users add 102 0-4294967294", OK),
                ("network permission user set SYSTEM 4294967294", OK),
                ("network protect allow 4294967294", OK),
                ('resolver setnetdns 100 "a_b.c. x" 192.0.2.1 --params "0 0 0 0"', DNS_OK),
                ("network default set 100", OK),
            ])
        d.kill()
        assert os.path.exists(d.netd)
        d.start()
        with Client(d) as c:
            check(c, [
                ("network create 100", "400 {} createPhysicalNetwork() failed " + EXISTS),
                ("network create 4", "400 {} createPhysicalNetwork() failed " + EXISTS),
                ("network users remove 102 0-4294967294", OK),
                ("network route remove 100 eth0 2001:db8::/32 unreachable", OK),
                ("network route legacy 20000 remove 100 eth0 10.9.0.0/16 10.0.0.1", OK),
                ("network default clear", OK),
                ("network destroy 100", OK),
            ])
        d.stop()
        assert not os.path.exists(d.netd)


def test_what_the_configuration_fixed():
    """EPERM, which Android has not: it stands in a file, and is changed there."""
    config = "[waymark]\ndefault = home\n[network home]\nnetid = 100\ninterface = eth0\n"
    denied = "(Operation not permitted)"
    with started("--no-host-networks", config=config) as d, Client(d) as c:
        check(c, [
            ("network default set 100", OK),
            ("network default clear", "400 {} setDefaultNetwork() failed " + denied),
            ("network create 101", OK),
            ("network default set 101", "400 {} setDefaultNetwork() failed " + denied),
            ("network default set 200", "400 {} setDefaultNetwork() failed " + NO_NET),
            ("network destroy 100", "400 {} destroyNetwork() failed " + denied),
            ("network interface add 100 eth1", "400 {} addInterfaceToNetwork() failed " + denied),
            ("network route add 100 eth0 10.9.0.0/16", "400 {} addRoute() failed " + denied),
            ("network permission network set SYSTEM 100",
             "400 {} setPermissionForNetworks() failed " + denied),
            ("resolver setnetdns 100 a 192.0.2.1",
             "500 {} Wrong number of or invalid arguments to resolver setnetdns"),
            ("resolver clearnetdns 100", "400 {} Resolver command failed " + denied),
            ("resolver flushnet 100", DNS_OK),
        ])


def test_host_networks():
    """Interfaces of the machine are networks already; one that is asked for changes hands."""
    with started() as d, Client(d) as c:
        check(c, [
            ("network create 100", "400 {} createPhysicalNetwork() failed " + EXISTS),
            ("network destroy 100", "400 {} destroyNetwork() failed " + BUSY),
            ("network interface remove 100 eth0",
             "400 {} removeInterfaceFromNetwork() failed " + BUSY),
            ("network destroy 99", "400 {} destroyNetwork() failed " + INVALID),
            ("network destroy 52", "400 {} destroyNetwork() failed " + INVALID),
            ("network interface add 52 eth0", "400 {} addInterfaceToNetwork() failed " + INVALID),
            ("network interface add 99 eth0", "400 {} addInterfaceToNetwork() failed " + NO_NET),
            ("resolver setnetdns 100 a 192.0.2.1", DNS_OK),
            ("network route add 100 eth0 10.9.0.0/16 10.0.0.1", OK),
            ("network interface remove 100 eth0", OK),
            ("network destroy 100", OK),
            ("network create 500", OK),
            ("network interface add 500 eth0", OK),
            ("network destroy 500", OK),
        ])


# --- Clients that mean no good -----------------------------------------------------------------


@contextlib.contextmanager
def connected(daemon, n):
    """So many clients at once, and nobody else."""
    assert daemon.has_clients(0)
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Client(daemon)) for _ in range(n)]
    assert daemon.has_clients(0)


def still_fine(daemon, rounds=20):
    """The worst time that a well-behaved client waits for an answer, in seconds."""
    worst = 0.0
    with Client(daemon) as c:
        for i in range(rounds):
            start = time.monotonic()
            assert c.ask(f"{i} network destroy 60000") == [
                f"400 {i} destroyNetwork() failed {NO_NET}".encode() + b"\0"]
            worst = max(worst, time.monotonic() - start)
    return worst


class Flood:
    """A process that sends the same bytes over and over on each of its connections, one per heap,
    and, unless told not to, reads what comes back."""

    def __init__(self, daemon, heaps, read=True):
        self.result, result = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self.go(daemon, heaps, read, result)
            finally:
                os._exit(0)
        os.close(result)

    def go(self, daemon, heaps, read, result):
        connections, answers, poll = {}, [0] * len(heaps), select.poll()
        signal.signal(signal.SIGTERM, lambda *_: (os.write(result, repr(answers).encode()),
                                                  os._exit(0)))
        for i, heap in enumerate(heaps):
            s = socket.socket(socket.AF_UNIX)
            s.connect(daemon.netd)
            s.setblocking(False)
            connections[s.fileno()] = [i, s, heap, heap]
            poll.register(s, select.POLLOUT | (select.POLLIN if read else 0))
        while connections:
            for fd, events in poll.poll():
                i, s, heap, left = connections[fd]
                try:
                    if events & select.POLLIN:
                        answers[i] += s.recv(65536).count(b"\0")
                    if events & select.POLLOUT:
                        connections[fd][3] = left[s.send(left):] or heap
                    gone = events & (select.POLLHUP | select.POLLERR)
                except BlockingIOError:
                    continue
                except OSError:
                    gone = True
                if gone:
                    poll.unregister(s)
                    del connections[fd]

    def is_alive(self):
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None

    def stop(self):
        """The number of answers on each connection."""
        os.kill(self.pid, signal.SIGTERM)
        with os.fdopen(self.result) as f:
            answers = f.read()
        os.waitpid(self.pid, 0)
        return ast.literal_eval(answers or "[]")


FLOODS = {
    "nothing": b"\0" * 4096,
    "unknown": b"1 x\0" * 1000,
    "one-mebibyte-of-x": b"x" * (1 << 20),
    "list": b"1 interface list\0" * 200,
    "faults": b"1 network users add 100 x\0" * 200,
    "create-and-destroy": b"1 network create 60001\x002 network destroy 60001\0" * 100,
}


@pytest.mark.parametrize("kind", FLOODS)
def test_flood(daemon, kind):
    flood = Flood(daemon, [FLOODS[kind]] * 16)
    assert daemon.has_clients(16)
    worst = still_fine(daemon, 100)
    answers = sum(flood.stop())
    print(f"{kind}: {answers} answers to the flood, worst wait {worst * 1000:.1f} ms")
    assert worst < 2.0
    assert kind == "one-mebibyte-of-x" or answers > 0
    # what the flood left behind is over soon
    assert daemon.has_clients(0)
    with Client(daemon) as c:
        c.ask("0 network destroy 60001")


def test_turns(daemon):
    """Eight clients have 39 costly requests each in the daemon's buffers, a ninth has one: it waits
    for one of each of them, not for all that is there."""
    heap = b"1 network create 60001\0" b"2 network destroy 60001\0" * 19
    with connected(daemon, 9) as (polite, *greedy):
        assert daemon.has_clients(9)
        daemon.process.send_signal(signal.SIGSTOP)
        for c in greedy:
            c.send(heap)
        polite.send(b"3 x\0")
        daemon.process.send_signal(signal.SIGCONT)
        before = 0
        while not select.select([polite.socket], [], [], 0)[0]:
            for s in select.select([c.socket for c in greedy] + [polite.socket], [], [])[0]:
                before += s.recv(65536).count(b"\0") if s is not polite.socket else 0
        assert polite.read() == b"500 3 Command not recognized\0"
        assert before <= 8 * 39 / 2
    with Client(daemon) as c:
        c.ask("0 network destroy 60001")


def test_floods_share_evenly(daemon):
    """Who sends requests in larger heaps gets no larger share."""
    flood = Flood(daemon, [b"1 x\0" * n for n in (1, 1, 250, 2500)])
    time.sleep(2.0)  # a span to measure in, not something to wait for
    shares = flood.stop()
    print(f"answers: {shares}")
    assert max(shares) < 10 * min(shares)
    assert daemon.has_clients(0)


def test_partial_writes(daemon):
    request = b"7 network destroy 60000\0"
    answer = b"400 7 destroyNetwork() failed " + NO_NET.encode() + b"\0"
    with connected(daemon, len(request) - 1) as halves:
        for i, c in enumerate(halves, 1):
            c.send(request[:i])
        assert still_fine(daemon) < 2.0
        for i, c in enumerate(halves, 1):
            c.send(request[i:])
            assert c.answer() == [answer]


def test_silent_clients_and_places(daemon):
    """64 places; the 65th is shown the door; a place that gets free is free."""
    with connected(daemon, 63) as silent:
        assert daemon.has_clients(63)
        assert still_fine(daemon) < 2.0
        assert daemon.has_clients(63)
        with Client(daemon) as last:
            assert last.ask("1 x") == [b"500 1 Command not recognized\0"]
            for _ in range(10):
                with Client(daemon) as more:
                    assert more.read() is None
            silent[7].close()
            assert daemon.has_clients(63)
            with Client(daemon) as more:
                assert more.ask("2 x") == [b"500 2 Command not recognized\0"]


def test_oversized(daemon):
    with Client(daemon) as c:
        for i in range(3):
            c.send(f"{i} x\0".encode() + b"y" * (1 << 20))
            assert c.answer() == [f"500 {i} Command not recognized\0".encode()]
            assert c.answer() == [f"500 {i} Command too large for buffer\0".encode()]
            assert still_fine(daemon, 3) < 2.0
            c.send(b"\0")
        assert c.ask("9 x") == [b"500 9 Command not recognized\0"]


def test_full_of_nuls(daemon):
    count = 100_000
    with Client(daemon) as c:
        start = time.monotonic()
        writer = threading.Thread(target=c.send, args=(b"\0" * count,))
        writer.start()
        for _ in range(count):
            assert c.read() == b"500 0 Command not recognized\0"
        print(f"{count / (time.monotonic() - start):.0f} requests per second")
        writer.join()


def test_slow_reader_of_answers(daemon):
    """Who does not read answers gets no further requests run, and costs nothing."""
    before = daemon.memory()
    slow = Flood(daemon, [b"1 x\0" * 1000] * 16, read=False)
    assert daemon.has_clients(16)
    assert still_fine(daemon, 200) < 2.0
    assert daemon.memory() - before < 4 << 20
    assert daemon.has_clients(16)
    slow.stop()
    assert daemon.has_clients(0)


def test_slow_reader_gets_all_answers(daemon):
    count = 50_000
    data, sent = b"".join(b"%d x\0" % i for i in range(count)), 0
    with Client(daemon) as c:
        c.socket.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while sent < len(data):
                sent += c.socket.send(data[sent:sent + 65536])
        assert sent < len(data), "nothing more goes in until something is read"
        c.socket.settimeout(WAIT)
        writer = threading.Thread(target=c.send, args=(data[sent:],))
        writer.start()
        for i in range(count):
            assert c.read() == b"500 %d Command not recognized\0" % i
        writer.join()


def test_slow_readers_of_broadcasts(daemon, namespace):
    """Who does not read broadcasts is dropped; who does gets all of them."""
    batch = "".join(f"addr add 192.0.2.{i}/32 dev eth2\naddr del 192.0.2.{i}/32 dev eth2\n"
                    for i in range(1, 255))
    last = b"614 Address removed 192.0.2.254/32 eth2 128 0\0"
    told, rounds, most = 0, 0, 0
    with connected(daemon, 9) as (quick, *_):
        assert daemon.has_clients(9)
        before = daemon.memory()
        while daemon.clients() > 1 and rounds < 200:
            quick.broadcasts.clear()
            namespace.run(["ip", "-batch", "-"], input=batch)
            messages = [m for m in quick.told(until=last) if m.startswith(b"614")]
            assert len(messages) == 2 * 254
            told += len(messages)
            rounds += 1
            most = max(most, daemon.memory() - before)
        assert daemon.has_clients(1)
    print(f"{told} broadcasts until the slow ones were dropped, {most >> 10} KiB more at most")
    assert most < 16 << 20


def test_late_reader_of_broadcasts(daemon, namespace):
    """Who reads late, but not too late, gets all of them in their order; who closes is gone."""
    count = 5000
    batch = "".join(f"addr add 192.0.2.1/32 dev eth2 metric {i}\naddr del 192.0.2.1/32 dev eth2\n"
                    for i in range(count // 2))
    with connected(daemon, 3) as (late, quick, leaving):
        assert daemon.has_clients(3)
        namespace.run(["ip", "-batch", "-"], input=batch)
        last = b"614 Address updated 192.0.2.2/32 eth2 128 0\0"
        namespace.ip("addr add 192.0.2.2/32 dev eth2", "addr del 192.0.2.2/32 dev eth2")
        expected = quick.told(until=last)
        assert len(expected) == count + 1
        leaving.close()
        assert daemon.has_clients(2)
        assert late.told(until=last) == expected


def test_half_closed(daemon):
    """`printf … | nc -N`: shut down for writing, then read."""
    with Client(daemon) as c:
        c.send(b"1 x\0" * 500 + b"2 network destroy 6")
        c.socket.shutdown(socket.SHUT_WR)
        for _ in range(500):
            assert c.read() == b"500 1 Command not recognized\0"
        assert c.read() is None


def test_sent_and_gone(daemon, client):
    """What was sent before the client went away is done."""
    with Client(daemon) as c:
        c.send(b"1 x\0" * 200 + b"2 network create 103\0")
    wait_for("the network", lambda: client.ask("1 network interface remove 103 eth0")
             == [b"200 1 success\0"])


def test_much_sent_and_gone(daemon, client):
    """But not without end: its place is needed."""
    with Client(daemon) as c:
        c.socket.setblocking(False)
        try:
            while True:
                c.socket.send(b"\0" * 4096)
        except BlockingIOError:
            pass
    assert daemon.has_clients(1)
    assert client.ask("1 x") == [b"500 1 Command not recognized\0"]


def test_connecting_without_end(daemon):
    assert daemon.has_clients(0)
    files = daemon.idle_files()
    for _ in range(1500):
        s = socket.socket(socket.AF_UNIX)
        s.connect(daemon.netd)
        s.close()
    assert still_fine(daemon, 5) < 5.0
    assert daemon.has_clients(0)
    assert daemon.open_files() <= files + 2


def test_reset_in_the_middle(daemon):
    """Closing with unread answers."""
    for _ in range(50):
        with Client(daemon) as c:
            c.send(b"1 interface list\0" * 20)
            c.read()
    assert still_fine(daemon) < 2.0
    assert daemon.has_clients(0)


def test_no_more_files(daemon):
    """The daemon can open nothing: who waits to be accepted costs little and comes in later."""
    pid = daemon.process.pid
    assert daemon.has_clients(0)
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    with Client(daemon) as before:
        assert before.ask("1 x") == [b"500 1 Command not recognized\0"]
        highest = max(int(fd) for fd in os.listdir(f"/proc/{pid}/fd"))
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (highest + 1, limits[1]))
        with contextlib.ExitStack() as stack:
            waiting = [stack.enter_context(Client(daemon)) for _ in range(20)]
            start = cpu_seconds(daemon)
            time.sleep(1.0)  # a span to measure in
            assert cpu_seconds(daemon) - start < 0.5
            assert before.ask("2 x") == [b"500 2 Command not recognized\0"]
            resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
            for c in waiting:
                assert c.ask("3 x") == [b"500 3 Command not recognized\0"]
    assert daemon.has_clients(0)
    assert daemon.log.count("cannot accept a client") < 20


def test_stops_with_clients():
    with started("--no-host-networks") as d, Client(d) as c:
        assert c.ask("1 x") == [b"500 1 Command not recognized\0"]
        d.stop()
        assert c.read() is None
