# SPDX-License-Identifier: LGPL-2.1-or-later
"""Sockets that were open when a user's network changed: cut, and only they.

A socket is held by a process of its own user (`Held`), which tells what the kernel says of it; the
other end is the echo server, or a socket of the same process.
"""

import errno
import os
import signal
import socket
import time

import pytest

from harness import PORT, SERVER4, SERVER6, WAIT, Accounts, Instance, in_namespace, wait_for
from test_traffic import ask_netd

ALICE, BOB = 3001, 3002
SO_MARK = 36
MAPPED4 = f"::ffff:{SERVER4}"
AGAIN = 1.0  # seconds after a change in which sockets are looked for a second time


def open_socket(kind, remote, device=None, mark=None):
    """A socket as a program would make it; connected unless the kind is `sendto`."""
    family = socket.AF_INET6 if ":" in remote else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(5)
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    if kind == "sendto":
        sock.sendto(b"x", (remote, PORT))
    else:
        sock.connect((remote, PORT))
    if kind == "udp":
        sock.send(b"x")
    sock.recv(200)
    if mark:  # last, for the cgroup's programs have a say in it when it connects
        sock.setsockopt(socket.SOL_SOCKET, SO_MARK, mark)
    return sock


def state_of(sock):
    """`alive`, or the name of the errno with which it was cut."""
    error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    return errno.errorcode[error] if error else "alive"


class Held:
    """Sockets that a process of this user holds. `make(*args)` makes them, as a list."""

    def __init__(self, machine, uid, make, *args, user_marks=False):
        self.ours, theirs = socket.socketpair()
        self.pid = os.fork()
        if self.pid == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the tests' own is for their timeout
            signal.alarm(300)
            self.ours.close()
            try:
                machine.enter()
                sockets = make(*args) if user_marks else []  # only root may mark them
                for sock in sockets:
                    os.fchown(sock.fileno(), uid, uid)
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                sockets = sockets or make(*args)
                theirs.sendall(b"made")
                self.obey(theirs, sockets)
            except BaseException as error:  # pylint: disable=broad-except
                theirs.sendall(repr(error).encode())
            finally:
                os._exit(0)
        theirs.close()
        self.ours.settimeout(WAIT)
        answer = self.ours.recv(1000)
        assert answer == b"made", answer

    @staticmethod
    def obey(control, sockets):
        while command := control.recv(1):
            if command == b"?":
                control.sendall(" ".join(map(state_of, sockets)).encode())
            elif command == b"w":  # blocked in recv() until something comes of it
                control.sendall(b"waiting")
                try:
                    sockets[0].settimeout(60)
                    sockets[0].recv(100)
                    control.sendall(b"data")
                except OSError as error:
                    control.sendall(errno.errorcode[error.errno].encode())
            elif command == b"e":  # is it of use still?
                sockets[0].sendall(b"ping")
                control.sendall(sockets[0].recv(100))
            elif command == b"c":
                while sockets:
                    sockets.pop().close()
                control.sendall(b"closed")

    def ask(self, command):
        self.ours.sendall(command.encode())
        return self.ours.recv(1000).decode()

    def states(self):
        return self.ask("?").split()

    def is_cut(self):
        """As soon as `waymark` has returned, all are; the error is told once."""
        states = self.states()
        assert set(states) <= {"alive", "ECONNABORTED"}
        return "alive" not in states

    def lives(self):
        return set(self.states()) == {"alive"}

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.ours.close()


@pytest.fixture
def hold(machine):
    """hold(uid, kind, remote, …): one socket to the echo server."""
    held = []

    def make(uid, kind="tcp", remote=SERVER4, user_marks=False, **options):
        held.append(Held(machine, uid, lambda: [open_socket(kind, remote, **options)],
                         user_marks=user_marks))
        return held[-1]

    make.many = lambda uid, function, *args: held.append(
        Held(machine, uid, function, *args)) or held[-1]
    yield make
    for process in held:
        process.close()


def destroyed(daemon):
    """What the daemon said in its log."""
    return [line for line in daemon.log.splitlines() if "old sockets:" in line]


# What is cut.


@pytest.mark.parametrize("kind", ["tcp", "udp", "sendto"])
@pytest.mark.parametrize("remote,source", [(SERVER4, "10.0.1.2"), (SERVER6, "fd00:1::2"),
                                           (MAPPED4, "::ffff:10.0.1.2")])
def test_assigned_and_unassigned(machine, daemon, hold, kind, remote, source):
    alice, bob = hold(ALICE, kind, remote), hold(BOB, kind, remote)
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert alice.is_cut()
    assert machine.source(ALICE, remote, kind=kind) == source.removeprefix("::ffff:")

    alice = hold(ALICE, kind, remote)
    daemon.ok("assign", f"uid:{ALICE}", "eth1")  # said again: no change
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")  # no more strictly
    assert alice.lives()
    daemon.ok("unassign", f"uid:{ALICE}")
    assert alice.is_cut()
    assert bob.lives()
    assert f"uid {ALICE}: 1" in destroyed(daemon)[0] and str(BOB) not in daemon.log


def test_a_download_is_cut_and_goes_on_elsewhere(machine, daemon, hold):
    """Who waits for data wakes up at once, and the next connection has the other address."""
    alice = hold(ALICE)
    assert alice.ask("w") == "waiting"
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert alice.ours.recv(100) == b"ECONNABORTED"
    assert machine.source(ALICE) == "10.0.1.2"


def test_reassigned_blocked_and_where_it_is_already(daemon, hold):
    first = hold(ALICE)
    daemon.ok("assign", f"uid:{ALICE}", "eth0")
    assert first.lives(), "it has eth0's address"
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert first.is_cut()
    second = hold(ALICE)
    daemon.ok("assign", f"uid:{ALICE}", "none")
    assert second.is_cut()


def test_preferred(machine, daemon, hold):
    """The app may bypass: what chose its network itself stays there. Under `require` it may not."""
    plain, bound = hold(ALICE), hold(ALICE, device="eth0")
    marked = hold(ALICE, user_marks=True, mark=daemon.networks()["eth0"]["netid"] | 0x10000)
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")
    assert plain.is_cut() and bound.lives() and marked.lives()
    assert bound.ask("e") == "more\n"
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert bound.is_cut() and marked.is_cut()


def test_what_fell_back_moves_when_the_preferred_network_is_back(machine, daemon, hold):
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")
    on_eth1 = hold(ALICE)
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    fallen_back = hold(ALICE)
    assert on_eth1.lives()
    machine.router.ip("link set up1 up")
    wait_for("the way back", fallen_back.is_cut)
    assert on_eth1.lives()
    wait_for("the way", lambda: machine.source(ALICE) == "10.0.1.2")
    assert on_eth1.ask("e") == "more\n"


def test_a_group(machine):
    daemon = Instance(machine)
    accounts = Accounts(daemon)
    accounts.write({"alice": (ALICE, ALICE), "bob": (BOB, BOB)}, {"staff": (4000, ["bob"])})
    try:
        daemon.start()
        daemon.ok("assign", "group:staff", "eth1")
        alice = Held(machine, ALICE, lambda: [open_socket("tcp", SERVER4)])
        bob = Held(machine, BOB, lambda: [open_socket("tcp", SERVER4)])
        accounts.write({"alice": (ALICE, ALICE), "bob": (BOB, BOB)},
                       {"staff": (4000, ["alice", "bob"])})
        wait_for("alice's", alice.is_cut)
        assert bob.lives()
        accounts.write({"alice": (ALICE, ALICE), "bob": (BOB, BOB)}, {"staff": (4000, ["alice"])})
        wait_for("bob's", bob.is_cut)
        alice.close()
        bob.close()
    finally:
        daemon.close()


@pytest.mark.parametrize("secure", [0, 1])
def test_users_of_a_vpn(machine, daemon, hold, secure):
    netid = 200
    for request in (f"network create {netid} vpn 1 {secure}",
                    f"network interface add {netid} eth1",
                    f"network route add {netid} eth1 0.0.0.0/0 10.0.1.1"):
        assert b"success" in ask_netd(daemon, request)
    assert b"success" in ask_netd(daemon, f"network protect allow {BOB}")
    alice, bob = hold(ALICE), hold(BOB)
    assert b"success" in ask_netd(daemon, f"network users add {netid} {ALICE}-{BOB}")
    assert alice.is_cut() and bob.lives()
    inside = hold(ALICE)
    assert b"success" in ask_netd(daemon, f"network users remove {netid} {ALICE}-{BOB}")
    assert inside.is_cut() and bob.lives()


def test_a_network_that_is_destroyed(daemon, hold):
    daemon.ok("network", "add", "work", "--interface", "eth1")
    netid = daemon.networks()["work"]["netid"]
    daemon.ok("assign", f"uid:{ALICE}", "work")
    alice, bob = hold(ALICE), hold(BOB)
    marked = hold(BOB, user_marks=True, mark=netid | 0x10000)
    incoming = hold(BOB, user_marks=True, mark=netid | 0x30000)
    daemon.ok("network", "remove", "work")
    assert alice.is_cut() and marked.is_cut()
    assert bob.lives() and incoming.lives()


def test_a_permission(daemon, hold):
    """android.md §3.2: who is on the network by a mark that does not hold the permission."""
    netid = daemon.networks()["eth1"]["netid"]
    marks = [0x10000, 0x40000, 0x50000, 0xD0000]
    held = [hold(BOB, kind, remote, user_marks=True, mark=netid | mark)
            for mark in marks for kind, remote in (("tcp", SERVER4), ("udp", SERVER6))]
    other = hold(BOB)
    assert b"success" in ask_netd(
        daemon, f"network permission network set NETWORK {netid}")
    assert [h.is_cut() for h in held] == [True] * 4 + [False] * 4
    assert other.lives()


# What lives.


def both_ends(address, kind, peer=None):
    """Two sockets that talk to each other, and one that waits."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    kind = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    waiting = socket.socket(family, kind)
    waiting.bind((address, 0))
    client = socket.socket(family, kind)
    if peer:
        client.bind((peer, 0))
    if kind == socket.SOCK_STREAM:
        waiting.listen()
        client.connect(waiting.getsockname()[:2])
        return [client, waiting.accept()[0], waiting]
    other = socket.socket(family, kind)
    other.bind((peer or address, 0))
    waiting.connect(other.getsockname()[:2])
    client.connect(other.getsockname()[:2])
    other.connect(client.getsockname()[:2])
    return [client, waiting, other]


INSIDE = (("127.0.0.1", None), ("127.1.2.3", "127.9.9.9"), ("::1", None),
          ("::ffff:127.0.0.1", "::ffff:127.0.0.2"), ("10.0.0.2", None), ("10.0.0.2", "10.0.1.2"),
          ("fd00::2", "fd00:1::2"), ("::ffff:10.0.0.2", "::ffff:10.0.1.2"))


@pytest.mark.parametrize("kind", ["tcp", "udp"])
def test_what_stays_in_the_machine_lives(daemon, hold, kind):
    inside = {pair: hold.many(ALICE, both_ends, pair[0], kind, pair[1]) for pair in INSIDE}
    outside = hold(ALICE)
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert outside.is_cut()
    daemon.ok("assign", f"uid:{ALICE}", "none")
    time.sleep(AGAIN)
    assert not [pair for pair, held in inside.items() if not held.lives()]


def waiting_ones():
    """A listener, and UDP that was bound to an interface without being connected."""
    listener = socket.create_server(("", 0))
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0\0")
    udp.bind(("", 0))
    lonely = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lonely.bind(("127.0.0.1", 0))
    return [listener, udp, lonely]


def test_who_waits_lives(daemon, hold):
    waiting = hold.many(ALICE, waiting_ones)
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert waiting.lives()


def test_a_cable_that_is_pulled(machine, daemon, hold):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    tcp, udp = hold(ALICE), hold(ALICE, "udp")
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    time.sleep(AGAIN)
    machine.router.ip("link set up1 up")
    daemon.wait_state("eth1", "up")
    wait_for("the way", lambda: machine.source(ALICE) == "10.0.1.2")
    assert tcp.lives() and udp.lives()
    assert tcp.ask("e") == "more\n"
    assert not destroyed(daemon)


def test_an_unknown_route_undoes_all(daemon, hold):
    """A request that fails has cut nothing."""
    daemon.ok("network", "add", "work", "--interface", "eth1")
    alice = hold(ALICE)
    assert daemon("assign", f"uid:{ALICE}", "nowhere").code != 0
    assert daemon("route", "add", "work", "172.16.0.0/12", "via", "203.0.113.1").code != 0
    assert alice.lives() and not destroyed(daemon)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart(machine, daemon, hold, how):
    daemon.config.write_text(f"[assignments]\nassign = uid:{BOB} eth1\n")
    daemon.ok("reload")
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")
    daemon.ok("assign", f"uid:{ALICE + 5}", "eth1")
    held = [hold(uid) for uid in (ALICE, ALICE + 5, BOB)]
    time.sleep(AGAIN)
    daemon.stop(how)
    daemon.start()
    time.sleep(AGAIN)
    assert all(h.lives() for h in held)
    assert [h.ask("e") for h in held] == ["more\n"] * 3
    assert not destroyed(daemon)


def test_a_configuration_that_changed_while_the_daemon_was_down(machine, daemon, hold):
    daemon.config.write_text(f"[assignments]\nassign = uid:{ALICE} eth1\n")
    daemon.ok("reload")
    alice, bob = hold(ALICE), hold(BOB)
    daemon.stop()
    daemon.config.write_text(f"[assignments]\nassign = uid:{BOB} eth1\n")
    daemon.start()
    assert alice.is_cut() and bob.is_cut()


def test_panic_off_cuts_nothing_and_reload_what_is_elsewhere(machine, daemon, hold):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    first = hold(ALICE)
    daemon.ok("panic-off")
    assert first.lives()
    second = hold(ALICE)
    daemon.ok("reload")
    assert second.is_cut() and first.lives()


# What is left of programs.


def to_a_full_peer(device):
    """A connection whose peer does not read, with a lot queued."""
    sock = socket.socket()
    if device:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
    sock.settimeout(WAIT)
    sock.connect((SERVER4, 8200))
    sock.setblocking(False)
    try:
        while True:
            sock.send(bytes(65536))
    except BlockingIOError:
        return [sock]


# Linux tells since 6.17 whose a socket is that no program has any more.
TOLD = tuple(map(int, os.uname().release.split(".")[:2])) >= (6, 17)


@pytest.mark.parametrize("device", ["eth0", None] if TOLD else ["eth0"])
def test_what_a_closed_socket_had_queued(machine, daemon, hold, device):
    """Its program has closed it, and what the kernel still sends is the user's all the same."""
    listener = in_namespace(machine.router, lambda: socket.create_server((SERVER4, 8200)))
    alice, bob = hold.many(ALICE, to_a_full_peer, device), hold.many(BOB, to_a_full_peer, None)
    assert alice.ask("c") == bob.ask("c") == "closed"

    def left():
        return len(machine.run(["ss", "-Htn", "state", "fin-wait-1"]).stdout.splitlines())

    assert left() == 2
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    wait_for("one to be left", lambda: left() == 1)
    listener.close()


def sharing():
    """UDP sockets that share a port and the packets to it."""
    sockets = []
    for _ in range(4):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("", 4567))
        sockets.append(sock)
    return sockets


def serving():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", 4568))
    return [sock]


def test_udp_servers(daemon, hold):
    """A server is told once, and goes on; those of a group would not be one any more."""
    group, server = hold.many(ALICE, sharing), hold.many(ALICE, serving)
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert group.lives() and server.is_cut()
    time.sleep(AGAIN)
    assert group.lives() and server.lives(), "the second look is not told of again"
    assert "could not" not in daemon.log


# The tools.


def test_the_doctor(daemon):
    findings = daemon.json("doctor")["findings"]
    assert [f["level"] for f in findings if f["check"] == "sockets"] == ["ok"]
