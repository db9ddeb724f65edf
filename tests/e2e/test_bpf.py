# SPDX-License-Identifier: LGPL-2.1-or-later
"""The BPF programs at a cgroup: marks, the guard, and what outlives whom.

The machine's networks: 100 has eth0 (the main table's default), 101 has eth1. No waymarkd runs, so there
are no rules: what holds a packet here is the guard alone.
"""

import errno
import os
import shutil
import socket
import struct
import subprocess
import time

import pytest

from bpf_fixture import (
    APPLICATION, EXEMPT, EXPLICIT, FIRST, INET_EGRESS, LOCKDOWN, NONE, PREFER, PROTECTABLE,
    PROTECTED, REQUIRE, SENDER, SYSTEM, UNREACHABLE, USABLE, VPN, Place, Refused, attach_foreign,
    attached, inside,
)
from harness import PORT, SERVER4, SERVER6, Capture, Namespace, in_namespace, wait_for

SO_MARK, IPPROTO_MPTCP = 36, 262
ALICE, BOB = 20001, 20002
HELD = 100 | EXPLICIT

KINDS = {
    "tcp4": (socket.AF_INET, socket.SOCK_STREAM, 0),
    "udp4": (socket.AF_INET, socket.SOCK_DGRAM, 0),
    "ping4": (socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_ICMP),
    "raw4": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
    "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, 0),
    "udp6": (socket.AF_INET6, socket.SOCK_DGRAM, 0),
    "ping6": (socket.AF_INET6, socket.SOCK_DGRAM, socket.IPPROTO_ICMPV6),
    "raw6": (socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6),
}


def mark(sock):
    return sock.getsockopt(socket.SOL_SOCKET, SO_MARK)


def new_mark(kind="udp4"):
    with socket.socket(*KINDS[kind]) as sock:
        return mark(sock)


def allow_pings(machine):
    machine.run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"])


@pytest.fixture
def place():
    p = Place()
    yield p
    p.close()


@pytest.fixture
def tool(place, machine):
    """The programs, enabled, with the networks; nothing assigned."""
    allow_pings(machine)
    t = place.tool(machine)
    assert t.open() == "new"
    for i in (0, 1):
        t("network", 100 + i, USABLE, 0)
        t("port", 100 + i, machine.ifindex(f"eth{i}"))
    t.commit()
    return t


@pytest.fixture
def capture(machine):
    c = Capture(machine)
    yield c
    c.close()


def test_the_kernel_is_probed(place, machine):
    t = place.tool(machine)
    t("probe", place.cgroup, place.fs)
    with pytest.raises(Refused, match="cgroup2 at /proc, a bpffs at /proc"):
        t("probe", "/proc", "/proc")
    with pytest.raises(Refused, match="no bpffs: mount -t bpf bpf /proc"):
        t("open", place.cgroup, "/proc")
    with pytest.raises(Refused, match="is no cgroup of version 2"):
        t("open", "/proc", place.fs)
    assert place.pins() == []


def test_sockets_begin_on_their_network(place, machine, tool):
    def marks(uid=0, cgroup=None):
        kinds = [k for k in KINDS if not (uid and "raw" in k)]
        run = inside(cgroup or place.cgroup, lambda: {new_mark(k) for k in kinds}, uid)
        return machine.call(run)

    assert marks() == {0}
    tool("cgroup", place.cgroup, REQUIRE, 100, 0, 0)
    tool.commit()
    assert marks() == {HELD | SYSTEM}
    assert marks(ALICE) == {HELD}
    assert marks(cgroup=place.cgroup.parent) == {0}
    tool("cgroup", place.cgroup, PREFER, 101, 0, 0)
    tool.commit()
    assert marks() == {101 | SYSTEM}
    tool("cgroup", place.cgroup, NONE, 0, 0, 0)
    tool.commit()
    assert marks() == {UNREACHABLE | EXPLICIT | SYSTEM}
    tool("cgroup", place.cgroup, REQUIRE, 104, 0, 0)  # there is no such network
    tool.commit()
    assert marks() == {UNREACHABLE | EXPLICIT | SYSTEM}
    tool("cgroup", place.cgroup, REQUIRE, 100, EXEMPT, 0)
    tool.commit()
    assert marks() == {0}
    tool("cgroup", place.cgroup)
    tool.commit()
    assert marks() == {0}


def test_ranges_of_uids(place, machine, tool):
    def here(uid):
        return machine.call(inside(place.cgroup, new_mark, uid))

    tool("uid", "20001-20007", REQUIRE, 100, 0, 0)
    tool("uid", "20008-20008", PREFER, 101, 0, 0)
    tool.commit()
    assert [here(u) for u in (20000, 20001, 20004, 20007, 20008, 20009)] == [
        0, HELD, HELD, HELD, 101, 0]
    tool("uid", "20001-20007")
    tool.commit()
    assert [here(u) for u in (20001, 20007, 20008)] == [0, 0, 101]


def test_precedence(place, machine, tool):
    """A run of its own, then the executable, then the nearest cgroup, then the uid."""
    inner = place.child("inner")
    (inner / "innermost").mkdir()
    program = place.fs.with_name(place.fs.name + "-program")
    shutil.copy(SENDER, program)
    try:
        def here():
            run = inside(inner / "innermost", lambda: subprocess.check_output([program]), ALICE)
            return int(machine.call(run)) & 0xFFFF

        expected = []
        for netid, words in enumerate([("uid", f"{ALICE}-{ALICE}"), ("cgroup", place.cgroup),
                                       ("cgroup", inner), ("exe", program)], 110):
            tool("network", netid, USABLE, 0)
            tool(*words, REQUIRE, netid, 0, 0)
            tool.commit()
            expected.append(here())
        assert expected == [110, 111, 112, 113]
        tool("cgroup", place.cgroup, REQUIRE, 111, FIRST, 0)
        tool.commit()
        assert here() == 111
        tool("cgroup", place.cgroup)
        tool("exe", program)
        tool.commit()
        assert here() == 112
    finally:
        program.unlink()


def connect_mark(kind, address, first=None):
    """The mark after connect(), or sendto(), whatever became of it."""
    family, what, protocol = KINDS[kind.removesuffix("sendto")]
    with socket.socket(family, what, protocol) as sock:
        sock.setblocking(False)
        if first is not None:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, first)
        try:
            if kind.endswith("sendto"):
                sock.sendto(b"x", address)
            else:
                sock.connect(address)
        except OSError:
            pass
        return mark(sock)


WAYS = (("tcp4", SERVER4), ("udp4", SERVER4), ("udp4sendto", SERVER4), ("tcp6", SERVER6),
        ("udp6", SERVER6), ("udp6sendto", SERVER6), ("tcp6", "::ffff:" + SERVER4),
        ("udp6", "::ffff:" + SERVER4), ("udp6sendto", "::ffff:" + SERVER4))


def test_connect_marks(place, machine, tool):
    def marks(first=None, uid=0):
        run = inside(place.cgroup,
                     lambda: {connect_mark(kind, (to, PORT), first) for kind, to in WAYS}, uid)
        return machine.call(run)

    assert marks() == {0}  # nobody asked for anything
    assert marks(first=0x4000_0000) == {0x4000_0000}
    tool.commit(mark_all=1)
    assert marks() == {SYSTEM}
    tool.commit(default=100)
    assert marks() == {100 | SYSTEM}
    assert marks(uid=ALICE) == {100}
    assert marks(first=0x4000_0000) == {0x4000_0000 | 100 | SYSTEM}  # not our bit
    assert marks(first=101 | EXPLICIT) == {101 | EXPLICIT | SYSTEM}  # chosen by API
    tool("cgroup", place.cgroup, PREFER, 101, 0, 0)
    tool.commit(default=100)
    assert marks() == {101 | SYSTEM}
    assert marks(first=100 | EXPLICIT) == {100 | EXPLICIT | SYSTEM}
    tool("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    tool.commit(default=100)
    assert marks(first=100 | EXPLICIT) == {101 | EXPLICIT | SYSTEM}
    tool("cgroup", place.cgroup)
    tool("network", 102, USABLE | VPN, 0)
    tool("vpn", f"{ALICE}-{ALICE}", 102, USABLE | VPN)
    tool.commit(default=100)
    assert marks(uid=ALICE) == {102}
    assert marks(uid=BOB) == {100}
    tool.commit(enabled=0)
    assert marks() == {0}


def test_the_scope_of_a_link_local_destination(place, machine, tool):
    tool.commit(default=100)
    scope = machine.ifindex("eth1")
    for kind in ("tcp6", "udp6", "udp6sendto"):
        here = inside(place.cgroup, connect_mark)
        assert machine.call(here, kind, ("fe80::1", PORT, 0, scope)) == 101 | SYSTEM
        assert machine.call(here, kind, ("fe80::1", PORT, 0, 1)) & 0xFFFF == 0  # lo is of none


# The guard. Each way out is tried by somebody whom nothing holds first.

def send_every_way(device, ifindex):
    """Tries to get packets out through that device, in all ways that go round routing rules."""
    def attempt(family, what, protocol, way):
        with socket.socket(family, what, protocol) as sock:
            sock.setblocking(False)
            six = family == socket.AF_INET6
            to = (SERVER6 if six else SERVER4, PORT)
            data = b"\x80\0\0\0\0\0\0\0" if six else b"\x08\0\xf7\xff\0\0\0\0"
            try:
                way(sock, six, to, data, what)
            except OSError:
                pass

    def bound(sock, six, to, data, what):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if what == socket.SOCK_STREAM:
            sock.connect(to)
        else:
            sock.sendto(data, to if what == socket.SOCK_DGRAM else (to[0], 0))

    def pktinfo(sock, six, to, data, what):
        if what == socket.SOCK_STREAM:
            return
        info = struct.pack("16si", b"", ifindex) if six else struct.pack("i4s4s", ifindex, b"", b"")
        level, kind = (socket.IPPROTO_IPV6, 50) if six else (socket.IPPROTO_IP, 8)
        sock.sendmsg([data], [(level, kind, info)], 0,
                     to if what == socket.SOCK_DGRAM else (to[0], 0))

    def dontroute(sock, six, to, data, what):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if what != socket.SOCK_STREAM:
            sock.sendto(data, socket.MSG_DONTROUTE,
                        to if what == socket.SOCK_DGRAM else (to[0], 0))

    def multicast(sock, six, to, data, what):
        if what == socket.SOCK_STREAM:
            return
        if six:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, ifindex)
        else:
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF,
                            struct.pack("4s4si", b"", b"", ifindex))
        group = "ff02::1234" if six else "239.1.2.3"
        sock.sendto(data, (group, PORT if what == socket.SOCK_DGRAM else 0))

    for kind in KINDS.values():
        for way in (bound, pktinfo, dontroute, multicast):
            attempt(*kind, way)


def ours(packets, device):
    """What was sent by send_every_way(), not the kernel's own discovery and reports."""
    mine = (SERVER4, SERVER6, "239.1.2.3", "ff02::1234")
    return [p for p in packets if p[0] == device and p[2] in mine]


@pytest.mark.parametrize("held", ["cgroup", "uid"])
@pytest.mark.parametrize("strength", [REQUIRE, NONE])
def test_nothing_leaves_by_another_interface(place, machine, tool, capture, held, strength):
    # nobody answers: the kernel's reset for a connection of before would be seen, too
    machine.ip(*(f"neigh replace {gateway} lladdr 02:00:00:00:00:01 dev eth{i}"
                 for i in (0, 1) for gateway in (f"10.0.{i}.1", f"fd00:{i}::1")))
    machine.run(["ip", "neigh", "replace", SERVER4, "lladdr", "02:00:00:00:00:01", "dev", "eth1"])
    machine.run(["ip", "neigh", "replace", SERVER6, "lladdr", "02:00:00:00:00:01", "dev", "eth1"])

    def send(device):
        machine.call(inside(place.cgroup, send_every_way), device, machine.ifindex(device))
        return ours(capture.packets(), device)

    proof = send("eth1")
    protocols = {p[3] for p in proof}
    assert protocols >= {1, 6, 17, 58} and len(proof) >= 12, proof
    if held == "cgroup":
        tool("cgroup", place.cgroup, strength, 100, 0, 7)
    else:
        tool("uid", "0-0", strength, 100, 0, 7)
    tool.commit()
    assert send("eth1") == []
    assert sum(sum(row[4:]) for row in tool.stats(7).values()) >= 12
    if strength == REQUIRE:
        assert {p[3] for p in send("eth0")} >= {1, 6, 17, 58}
        assert tool.stats(7)[100][0] >= 12
    else:
        assert send("eth0") == []


def ask_local(family, address):
    with socket.socket(family) as server, socket.socket(family) as client:
        server.bind((address, 0))
        server.listen()
        client.settimeout(10)
        client.connect(server.getsockname())
        peer, _ = server.accept()
        with peer:
            peer.sendall(b"hello")
            return client.recv(5)


def test_the_machine_itself_is_always_reached(place, machine, tool):
    tool("cgroup", place.cgroup, NONE, 0, 0, 0)
    tool.commit()
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET, "10.0.1.2"),
                            (socket.AF_INET6, "::1"), (socket.AF_INET6, "fd00:1::2"),
                            (socket.AF_INET6, "::ffff:127.0.0.1")):
        assert machine.call(inside(place.cgroup, ask_local), family, address) == b"hello"


class Held:
    """A process in the cgroup that keeps its sockets open, and sends when it is told."""

    def __init__(self, machine, cgroup, kinds):
        self.here, there = socket.socketpair()
        self.call = machine.start_call(inside(cgroup, self.run), there, kinds)
        there.close()
        assert self.here.recv(1) == b"."

    def run(self, control, kinds):
        self.here.close()
        sockets = []
        for kind in kinds:
            sock = socket.socket(*KINDS[kind])
            sock.connect((SERVER6 if kind.endswith("6") else SERVER4, PORT))
            sockets.append(sock)
        control.sendall(b".")
        while control.recv(1):
            for sock in sockets:
                try:
                    sock.send(b"\x08\0\xf7\xff\0\0\0\0")
                except OSError:
                    pass
            control.sendall(b".")

    def send(self, capture):
        """By which devices it got out."""
        capture.packets()
        self.here.sendall(b"s")
        assert self.here.recv(1) == b"."
        return sorted((p[0], p[3]) for p in capture.packets() if p[2] in (SERVER4, SERVER6))

    def close(self):
        self.here.close()
        self.call.result()


OLD = ("udp4", "ping4", "raw4", "udp6")  # none of which can be destroyed, but UDP


def test_a_change_holds_for_sockets_that_exist(place, machine, tool, capture):
    held = Held(machine, place.cgroup, OLD)
    everything = held.send(capture)
    assert everything == [("eth0", 1), ("eth0", 1), ("eth0", 17), ("eth0", 17)]
    tool("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    tool.commit()
    assert held.send(capture) == []
    tool("cgroup", place.cgroup, REQUIRE, 100, 0, 0)
    tool.commit()
    assert held.send(capture) == everything
    held.close()


def test_sockets_older_than_the_programs(place, machine, capture):
    allow_pings(machine)
    held = Held(machine, place.cgroup, OLD)
    everything = held.send(capture)
    t = place.tool(machine)
    t.open()
    t.commit()
    assert held.send(capture) == everything
    t("exe", os.path.realpath("/proc/self/exe"), REQUIRE, 101, 0, 0)
    t.commit()  # which program made them, nobody saw: it looks for them
    assert held.send(capture) == []
    t("exe", os.path.realpath("/proc/self/exe"))
    t("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    t.commit()
    assert held.send(capture) == []
    t("cgroup", place.cgroup)
    t.commit()
    assert held.send(capture) == everything
    held.close()


def test_accepted_sockets_are_their_listeners(place, machine, tool, capture):
    """By executable: nothing else tells whose an accepted socket is."""
    tool("exe", os.path.realpath("/proc/self/exe"), REQUIRE, 100, 0, 0)
    tool.commit()
    control, there = socket.socketpair()

    def serve():
        control.close()
        with socket.create_server(("0.0.0.0", 7000)) as server:
            there.sendall(b".")
            peer, _ = server.accept()
        while there.recv(1):
            peer.send(b"answer")
            there.sendall(b".")

    call = machine.start_call(inside(place.cgroup, serve))
    there.close()
    assert control.recv(1) == b"."
    client = in_namespace(machine.router, lambda: socket.create_connection(("10.0.0.2", 7000), 10))
    control.sendall(b"s")
    assert control.recv(1) == b"." and client.recv(100) == b"answer"
    tool("exe", os.path.realpath("/proc/self/exe"), REQUIRE, 101, 0, 0)
    tool.commit()
    capture.packets()
    control.sendall(b"s")
    assert control.recv(1) == b"."
    time.sleep(0.3)  # it would try again
    assert not [p for p in capture.packets() if p[3] == 6]
    tool("exe", os.path.realpath("/proc/self/exe"))
    tool.commit()
    client.settimeout(20)
    assert client.recv(100) == b"answer"  # sent again, and held no more
    client.close()
    control.close()
    call.result()


def test_a_held_app_gets_no_mptcp(place, machine, tool):
    def try_it():
        try:
            socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_MPTCP).close()
        except OSError as error:
            return error.errno
        return 0

    before = machine.call(inside(place.cgroup, try_it))
    if before == errno.EPROTONOSUPPORT:
        pytest.skip("a kernel without MPTCP")
    assert before == 0
    tool("cgroup", place.cgroup, REQUIRE, 100, 0, 0)
    tool.commit()
    assert machine.call(inside(place.cgroup, try_it)) == errno.EPROTONOSUPPORT


@pytest.mark.parametrize("how", ["user", "policy"])
def test_the_transport_of_a_vpn(place, machine, tool, how):
    """Who may protect sockets gets protected ones out of the VPN that it requires."""
    def reach(first):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.setsockopt(socket.SOL_SOCKET, SO_MARK, first)
            sock.settimeout(10)
            try:
                sock.sendto(b"x", (SERVER4, PORT))
                return sock.recv(100).split()[0]
            except PermissionError:
                return "held"

    def here(first):
        return machine.call(inside(place.cgroup, reach), first)

    tool("network", 102, USABLE | VPN, 0)
    tool("cgroup", place.cgroup, REQUIRE, 102, 0, 0)
    tool.commit()
    assert here(0) == "held"
    assert here(PROTECTED) == "held"  # anybody can come by that bit
    if how == "user":
        tool("user", 0, 3, 1)
    else:
        tool("cgroup", place.cgroup, REQUIRE, 102, PROTECTABLE, 0)
    tool.commit()
    assert here(0) == "held"
    assert here(PROTECTED) == b"10.0.0.2"
    tool("network", 102, USABLE, 0)
    tool.commit()
    assert here(PROTECTED) == "held"


def test_lockdown_looks_at_what_comes_in(place, machine, tool):
    control, there = socket.socketpair()

    def receive():
        control.close()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.bind(("0.0.0.0", 7001))
            there.sendall(b".")
            while True:
                data = sock.recv(100)
                there.sendall(data)
                if data == b"end":
                    return

    call = machine.start_call(inside(place.cgroup, receive))
    there.close()
    assert control.recv(1) == b"."
    sender = in_namespace(machine.router, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))

    def arrives(text, i):
        sender.sendto(text, (f"10.0.{i}.2", 7001))

    arrives(b"1", 1)
    assert control.recv(9) == b"1"
    tool("cgroup", place.cgroup, REQUIRE, 100, 0, 7)
    tool.commit()
    arrives(b"2", 1)  # a guard alone looks at what leaves
    assert control.recv(9) == b"2"
    tool("cgroup", place.cgroup, REQUIRE, 100, LOCKDOWN, 7)
    tool.commit()
    arrives(b"3", 1)
    arrives(b"4", 0)
    assert control.recv(9) == b"4"
    assert tool.stats(7)[101][6] == 1  # dropped on the way in
    assert tool.stats(7)[100][2] == 1
    arrives(b"end", 0)
    call.result()
    sender.close()
    control.close()


# Who outlives whom.

def test_other_namespaces_are_left_alone(place, machine, tool, capture):
    tool("cgroup", place.cgroup, NONE, 0, 0, 0)
    tool.commit(default=100)
    assert machine.call(inside(place.cgroup, new_mark)) != 0
    other = Namespace()
    other.ip("link add veth0 type veth peer name veth1", "addr add 10.9.9.1/24 dev veth0",
             "link set veth0 up", "link set veth1 up",
             "neigh replace 10.9.9.2 lladdr 02:00:00:00:00:01 dev veth0")
    watch = Capture(other)

    def send():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.connect(("10.9.9.2", PORT))
            sock.send(b"x")
            return mark(sock)

    assert other.call(inside(place.cgroup, send)) == 0
    assert [p for p in watch.packets() if p[2] == "10.9.9.2"]
    watch.close()

    # and it can have its own, at the same cgroup
    theirs = place.tool(other)
    theirs.open()
    theirs("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    theirs("network", 101, USABLE, 0)
    theirs.commit()
    assert other.call(inside(place.cgroup, new_mark)) == 101 | EXPLICIT | SYSTEM
    assert machine.call(inside(place.cgroup, new_mark)) & 0xFFFF == UNREACHABLE
    theirs("remove", place.fs)
    assert other.call(inside(place.cgroup, new_mark)) == 0
    assert machine.call(inside(place.cgroup, new_mark)) & 0xFFFF == UNREACHABLE
    other.close()


def test_other_programs_stay(place, machine):
    foreign = attach_foreign(place.cgroup)
    t = place.tool(machine)
    t.open()
    later = attach_foreign(place.cgroup)
    t("cgroup", place.cgroup, NONE, 0, 0, 0)
    t.commit()
    assert attached(place.cgroup) == 3
    assert machine.call(inside(place.cgroup, new_mark)) & 0xFFFF == UNREACHABLE
    t("remove", place.fs)
    assert attached(place.cgroup) == 2
    os.close(foreign)
    os.close(later)


def test_nothing_is_left_after_removal(place, machine, tool):
    assert attached(place.cgroup) == 1 and attached(place.cgroup, INET_EGRESS) == 1
    other = place.tool(machine)  # needs nothing of the one that loaded them, which still runs
    other("remove", place.fs)
    assert place.pins() == []
    assert attached(place.cgroup) == 0 and attached(place.cgroup, INET_EGRESS) == 0
    other("remove", place.fs)  # nothing there: nothing to do


def test_the_loader_dies_and_another_adopts(place, machine, tool, capture):
    tool("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    tool.commit()
    held = Held(machine, place.cgroup, ("udp4",))
    pins = place.pins()
    tool.kill()
    assert machine.call(inside(place.cgroup, new_mark), "tcp4") == 101 | EXPLICIT | SYSTEM
    assert held.send(capture) == []

    t = place.tool(machine)
    assert t.open() == "past"
    assert place.pins() == pins and attached(place.cgroup) == 1
    assert held.send(capture) == []
    t("cgroup", place.cgroup, REQUIRE, 100, 0, 0)
    t.commit()
    assert held.send(capture) == [("eth0", 17)]
    held.close()


def sets(place):
    return [p for p in place.pins() if p.count("/") == 3]


def test_other_programs_of_ours_are_replaced_on_their_maps(place, machine, tool, capture):
    """As after an upgrade; the sockets' records stay, too."""
    tool("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    tool.commit()
    held = Held(machine, place.cgroup, ("udp4",))
    old, = sets(place)
    tool.kill()
    place.shell(f"mv {old} {os.path.dirname(old)}/0123456789abcdef-0")
    t = place.tool(machine)
    assert t.open() == "past"
    assert sets(place) == [old]
    assert attached(place.cgroup) == 1
    assert held.send(capture) == []
    assert machine.call(inside(place.cgroup, new_mark), "tcp4") == 101 | EXPLICIT | SYSTEM
    held.close()


def test_another_layout_stays_until_ours_enforces(place, machine, tool):
    """Maps that cannot be taken over hold until there are others; what is half made goes."""
    tool("cgroup", place.cgroup, NONE, 0, 0, 0)
    tool.commit()
    old, = sets(place)
    folder = os.path.dirname(old)
    tool.kill()
    place.shell(f"rm {old}/config; mv {old} {folder}/0123456789abcdef-0; mkdir {folder}/0-0")
    t = place.tool(machine)
    assert t.open() == "new"
    assert len(sets(place)) == 3 and attached(place.cgroup) == 2
    assert machine.call(inside(place.cgroup, new_mark), "tcp4") & 0xFFFF == UNREACHABLE
    t("network", 101, USABLE, 0)
    t("cgroup", place.cgroup, REQUIRE, 101, 0, 0)
    t.commit()
    assert sets(place) == [old] and attached(place.cgroup) == 1
    assert machine.call(inside(place.cgroup, new_mark), "tcp4") == 101 | EXPLICIT | SYSTEM


def test_a_set_that_somebody_damaged(place, machine, tool):
    tool("cgroup", place.cgroup, NONE, 0, 0, 0)
    tool.commit()
    old, = sets(place)
    place.shell(f"rm {old}/link_connect4 {old}/prog_fill")
    t = place.tool(machine)
    assert t.open() == "past"
    new, = sets(place)
    assert new != old and attached(place.cgroup) == 1
    t("fill")
    assert machine.call(inside(place.cgroup, new_mark), "tcp4") & 0xFFFF == UNREACHABLE


def test_three_capabilities_are_enough(place, machine):
    wrap = ["setpriv", "--bounding-set", "-all,+bpf,+perfmon,+net_admin",
            "--inh-caps", "-all,+bpf,+perfmon,+net_admin"]
    t = place.tool(machine, wrap)
    t("probe", place.cgroup, place.fs)
    assert t.open() == "new"
    t("exe", "/bin/true", NONE, 0, 0, 0)
    t.commit()
    t("fill")
    t("remove", place.fs)


def test_without_capabilities_it_says_so(place, machine):
    t = place.tool(machine, ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all"])
    with pytest.raises(Refused, match="CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN are needed"):
        t("probe", place.cgroup, place.fs)


def test_tables_are_made_whole(tool):
    tool("networks", 100, 101, 105, 106)
    tool("networks", 101, 107)
    assert sorted(tool("keys", "networks").split()) == ["101", "107"]


def test_how_the_kernel_knows_a_file(place, tool):
    dev, ino = (int(n) for n in tool("exe", SENDER, PREFER, 0, 0, 0).split())
    st = os.stat(SENDER)
    assert ino == st.st_ino
    assert dev == os.major(st.st_dev) << 20 | os.minor(st.st_dev)


def test_a_uid_is_never_without_its_policy_while_ranges_change(tool):
    looks, bad = (int(n) for n in tool("churn", 3000).split())
    assert bad == 0 and looks > 1000


def test_a_hundred_thousand_selectors(tool):
    loaded, changed, unloaded = (float(ms) for ms in tool("many", 100000, 100000, REQUIRE, 100, 0, 0)
                                 .split())
    print(f"100000 uids: loaded in {loaded} ms, one changed in {changed} ms, gone in {unloaded} ms")
