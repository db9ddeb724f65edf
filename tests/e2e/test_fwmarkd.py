# SPDX-License-Identifier: LGPL-2.1-or-later
"""Android's socket-marking protocol (android.md §1.2–§1.6), row by row, as on Android and on a host."""

import contextlib
import os
import socket
import stat

import pytest

# pylint: disable=unused-import
from fwmarkd_client import (DELETE_TAGDATA, EXPLICIT, NETWORK, ON_ACCEPT, ON_CONNECT,
                            ON_CONNECT_COMPLETE, PROTECT_FROM_VPN, PROTECTED, QUERY_USER_ACCESS,
                            SELECT_FOR_USER, SELECT_NETWORK, SENDS, SET_COUNTERSET, SYSTEM,
                            TAG_SOCKET, UNTAG_SOCKET, answer, ask, ask_all, command, connect,
                            destination, get_mark, marked, started)
from netd_fixture import OK, Client, check

APP, NET_APP, SYS_APP, DEMOTED, VPN_APP = 24000, 22000, 22001, 1001, 23000
IN_SECURE, IN_SECURE_VPN_APP, IN_BYPASSABLE = 20000, 20001, 21000
REQUIRES, BLOCKED, PREFERS, REQUIRES_GONE, REQUIRES_NETWORK = 25000, 25001, 25002, 25003, 25004
REQUIRES_VPN, REQUIRES_VPN_APP, PREFERS_IN_SECURE = 25005, 25006, 20002
FOREIGN = 0xABE00000  # bits of others; 0x100000 is Android's, for billing, and nobody's to change

NETWORKS = (
    "network create 100",
    "network create 101 NETWORK",
    "network create 102 SYSTEM",
    "network create 103",
    "network create 200 vpn 1 1",
    "network create 201 vpn 1 0",
    "network interface add 100 eth0",
    "network interface add 101 eth1",
    "network interface add 103 eth2",
    "network interface add 200 tun0",
    "network interface add 201 tun1",
    "network users add 200 20000-20009",
    "network users add 201 21000-21009 20005",
    "network default set 100",
    f"network permission user set NETWORK {NET_APP}",
    f"network permission user set SYSTEM {SYS_APP}",
    f"network permission user clear {DEMOTED}",
    f"network protect allow {VPN_APP} {IN_SECURE_VPN_APP} {REQUIRES_VPN_APP}",
)

ASSIGNMENTS = (
    (REQUIRES, "net103"), (BLOCKED, "none"), (PREFERS, "net103", "--prefer"),
    (REQUIRES_GONE, "net109"), (REQUIRES_NETWORK, "net101"), (REQUIRES_VPN, "net200"),
    (REQUIRES_VPN_APP, "net200"), (PREFERS_IN_SECURE, "net103", "--prefer"),
)


@pytest.fixture(scope="module")
def android():
    """A daemon with networks of every kind, made as on Android, and users of every kind."""
    with started("--no-host-networks") as d:
        with Client(d) as c:
            check(c, [], setup=NETWORKS)
            check(c, [("network create 109", OK)])
            for uid, *words in ASSIGNMENTS:
                d.ok("assign", f"uid:{uid}", *words)
            check(c, [("network destroy 109", OK)])
        yield d


def check_rows(d, rows):
    """Rows of (uid, mark before, request, answer, mark after); by uid, one process each."""
    failed = []
    for uid in {row[0] for row in rows}:
        mine = [row for row in rows if row[0] == uid]
        with contextlib.ExitStack() as stack:
            sockets = [stack.enter_context(marked(row[1])) for row in mine]
            requests = [(row[2], [s.fileno()]) for row, s in zip(mine, sockets)]
            answers = d.machine.call(ask_all, d.path, requests, uid=uid)
            for row, sock, result in zip(mine, sockets, answers):
                if (result, get_mark(sock)) != (row[3], row[4]):
                    failed.append(f"uid {uid}, {row[2].hex()}, mark {row[1]:#x}: expected {row[3]}, "
                                  f"{row[4]:#x}; got {result}, {get_mark(sock):#x}")
    assert not failed, "\n".join(failed)


def same(uid, mark, request, result):
    """A row that leaves the mark alone."""
    return (uid, mark, request, result, mark)


def test_socket_file(android):
    info = os.stat(android.path)
    assert stat.S_ISSOCK(info.st_mode) and stat.S_IMODE(info.st_mode) == 0o666


def test_typical_marks(android):
    """§1.1."""
    connecting = command(ON_CONNECT)
    check_rows(android, [
        (APP, 0, connecting, 0, 100),
        (IN_SECURE, 0, connecting, 0, 100),
        (IN_BYPASSABLE, 0, connecting, 0, 201),
        (APP, 0, command(SELECT_NETWORK, 100), 0, EXPLICIT | 100),
        (NET_APP, 0, command(SELECT_NETWORK, 100), 0, EXPLICIT | NETWORK | 100),
        (0, 0, command(SELECT_NETWORK, 100), 0, EXPLICIT | PROTECTED | SYSTEM | 100),
        (0, 0, connecting, 0, SYSTEM | 100),
        (VPN_APP, 0, command(PROTECT_FROM_VPN), 0, PROTECTED),
        (VPN_APP, PROTECTED, connecting, 0, PROTECTED | 100),
        (APP, PROTECTED | EXPLICIT | 100, command(ON_ACCEPT), 0, PROTECTED | EXPLICIT | 100),
    ])


@pytest.mark.parametrize("kept", [0, FOREIGN, FOREIGN | 0x100000])
def test_commands(android, kept):
    """§1.5, row by row, and bits that are not ours are kept."""
    rows = [
        # ON_ACCEPT: permission := permission OR C
        (APP, 103 | EXPLICIT | PROTECTED | NETWORK, command(ON_ACCEPT), 0,
         103 | EXPLICIT | PROTECTED | NETWORK),
        (NET_APP, 103, command(ON_ACCEPT), 0, 103 | NETWORK),
        (SYS_APP, 9 | NETWORK, command(ON_ACCEPT), 0, 9 | SYSTEM),
        # ON_CONNECT, explicit: permission := C
        (APP, 103 | EXPLICIT | SYSTEM, command(ON_CONNECT), 0, 103 | EXPLICIT),
        (NET_APP, 103 | EXPLICIT | PROTECTED, command(ON_CONNECT), 0,
         103 | EXPLICIT | PROTECTED | NETWORK),
        (APP, 999 | EXPLICIT, command(ON_CONNECT), 0, 999 | EXPLICIT),
        # neither: evaluated again
        (APP, 103 | SYSTEM, command(ON_CONNECT), 0, 100),
        (IN_BYPASSABLE, 103, command(ON_CONNECT), 0, 201),
        (IN_SECURE, 200, command(ON_CONNECT), 0, 100),
        # protected: stays on a VPN, else the default
        (APP, 201 | PROTECTED, command(ON_CONNECT), 0, 201 | PROTECTED),
        (APP, 103 | PROTECTED, command(ON_CONNECT), 0, 100 | PROTECTED),
        (IN_BYPASSABLE, PROTECTED, command(ON_CONNECT), 0, 100 | PROTECTED),
        (NET_APP, 999 | PROTECTED, command(ON_CONNECT), 0, 100 | PROTECTED | NETWORK),
        # ON_CONNECT_COMPLETE: permission := C
        (APP, 103 | SYSTEM, command(ON_CONNECT_COMPLETE) + destination("10.0.0.1", error=111), 0, 103),
        (NET_APP, 103 | EXPLICIT | PROTECTED,
         command(ON_CONNECT_COMPLETE) + destination("10.0.0.1"), 0,
         103 | EXPLICIT | PROTECTED | NETWORK),
        (IN_BYPASSABLE, 0, command(ON_CONNECT_COMPLETE, size=12) + destination("fe80::1", 2), 0, 0),
        # SELECT_NETWORK
        (SYS_APP, 103 | EXPLICIT | PROTECTED | SYSTEM, command(SELECT_NETWORK), 0, 0),
        same(APP, 103 | EXPLICIT, command(SELECT_NETWORK, 101), "EACCES"),
        same(APP, 103 | EXPLICIT, command(SELECT_NETWORK, 999), "ENONET"),
        same(APP, 103, command(SELECT_NETWORK, 0x10064), "ENONET"),
        same(APP, 103, command(SELECT_NETWORK, 0x80000064), "ENONET"),
        (APP, 100 | PROTECTED | SYSTEM, command(SELECT_NETWORK, 103), 0, 103 | EXPLICIT),
        (VPN_APP, 100, command(SELECT_NETWORK, 103), 0, 103 | EXPLICIT | PROTECTED),
        # PROTECT_FROM_VPN
        same(APP, 103, command(PROTECT_FROM_VPN), "EPERM"),
        (VPN_APP, 201, command(PROTECT_FROM_VPN), 0, 100 | PROTECTED),
        (VPN_APP, 201 | EXPLICIT, command(PROTECT_FROM_VPN), 0, 201 | EXPLICIT | PROTECTED),
        (VPN_APP, 103 | NETWORK, command(PROTECT_FROM_VPN), 0, 103 | PROTECTED | NETWORK),
        (SYS_APP, 103 | NETWORK, command(PROTECT_FROM_VPN), 0, 103 | PROTECTED | SYSTEM),
        # SELECT_FOR_USER
        same(APP, 103, command(SELECT_FOR_USER, uid=APP), "EPERM"),
        same(NET_APP, 103, command(SELECT_FOR_USER, uid=APP), "EPERM"),
        (SYS_APP, 103, command(SELECT_FOR_USER, uid=APP), 0, 100 | PROTECTED | SYSTEM),
        (0, 103 | EXPLICIT, command(SELECT_FOR_USER, uid=IN_SECURE), 0,
         200 | EXPLICIT | PROTECTED | SYSTEM),
        (0, 0, command(SELECT_FOR_USER, uid=IN_BYPASSABLE), 0, 201 | PROTECTED | SYSTEM),
        (0, 0, command(SELECT_FOR_USER, uid=20005), 0, 200 | PROTECTED | SYSTEM),  # lowest netId
        (0, 0, command(SELECT_FOR_USER, uid=PREFERS), 0, 103 | PROTECTED | SYSTEM),
        (0, 0, command(SELECT_FOR_USER, uid=BLOCKED), 0, 52 | PROTECTED | SYSTEM),
        (0, 0, command(SELECT_FOR_USER, uid=0xFFFFFFFF), 0, 100 | PROTECTED | SYSTEM),
        # there is no tag engine
        same(APP, 103 | SYSTEM, command(TAG_SOCKET, uid=0xFFFFFFFF, info=7), "ENOTSUP"),
        same(0, 103, command(UNTAG_SOCKET), "ENOTSUP"),
        # not known
        same(0, 103, command(14), "EPROTO"),
        same(APP, 103 | EXPLICIT, command(-1, size=12), "EPROTO"),
    ]
    # ON_SEND…: nothing
    for number in SENDS:
        rows += [same(APP, 103 | SYSTEM, command(number), 0),
                 same(REQUIRES, 0, command(number) + destination("10.0.0.1"), 0)]
    check_rows(android, [(uid, before | kept, data, result, after | kept)
                         for uid, before, data, result, after in rows])


def test_destinations(android):
    """Android 14's first row of ON_CONNECT: a link-local destination names the interface."""
    index = {name: android.machine.ifindex(name) for name in ("lo", "eth1", "eth2", "tun0")}

    def to(address, scope, size=16):
        return command(ON_CONNECT, size=size) + destination(address, scope)

    check_rows(android, [
        (APP, 0, to("fe80::1", index["eth1"]), 0, 101),
        (APP, 103 | PROTECTED, to("fe80::1", index["eth2"], 12), 0, 103 | PROTECTED),
        (IN_BYPASSABLE, 0, to("febf::1", index["eth2"]), 0, 103),
        (NET_APP, 100, to("fe80::1", index["tun0"]), 0, 200 | NETWORK),
        (APP, 100, to("fe80::1", index["lo"]), 0, 0),
        (APP, 100, to("fe80::1", 9999), 0, 0),
        (APP, 100, to("fe80::1", 0xFFFFFFFF), 0, 0),
        (APP, 103 | EXPLICIT, to("fe80::1", index["eth1"]), 0, 103 | EXPLICIT),
        (APP, 0, to("fe80::1", 0), 0, 100),
        (APP, 0, to("2001:db8::1", index["eth1"]), 0, 100),
        (APP, 0, to("ff02::1", index["eth1"]), 0, 100),
        (APP, 0, to("10.0.0.1", 0, 12), 0, 100),
        (REQUIRES, 0, to("fe80::1", index["eth1"]), 0, 103 | EXPLICIT),
    ])


def test_access(android):
    """§1.6 checkUserNetworkAccess, by its row; asked by SELECT, and for others by QUERY."""
    rows = [
        (1, APP, 0, "ENONET"), (1, 0, 999, "ENONET"),
        (2, 0xFFFFFFFF, 100, "EREMOTEIO"),
        (3, 0, 102, 0), (3, 9999, 102, 0), (3, SYS_APP, 200, 0), (3, DEMOTED, 102, "EACCES"),
        (4, IN_SECURE, 200, 0), (4, APP, 200, "EPERM"), (4, IN_BYPASSABLE, 201, 0),
        (4, IN_BYPASSABLE, 200, "EPERM"), (4, VPN_APP, 201, "EPERM"),
        (5, IN_SECURE, 100, "EPERM"), (5, IN_SECURE_VPN_APP, 100, 0), (5, IN_BYPASSABLE, 100, 0),
        (6, PREFERS, 103, 0),
        (7, APP, 52, "EPERM"), (7, BLOCKED, 52, 0),
        (9, APP, 100, 0), (9, APP, 99, 0), (9, APP, 101, "EACCES"), (9, NET_APP, 101, 0),
        (9, NET_APP, 102, "EACCES"),
        (0, REQUIRES, 103, 0), (0, REQUIRES, 100, "EPERM"), (0, REQUIRES_GONE, 100, "EPERM"),
        (0, REQUIRES_NETWORK, 101, 0),  # assigned: its own permission does not count
    ]
    for size in (12, 16):
        for number, uid, netid, result in rows:
            query = command(QUERY_USER_ACCESS, netid, uid, size=size)
            assert ask(android.path, query) == result, (number, uid, netid)
    query = command(QUERY_USER_ACCESS, 100, APP)
    for uid, result in ((SYS_APP, 0), (NET_APP, "EPERM"), (APP, "EPERM"), (DEMOTED, "EPERM"),
                        (1000, 0)):
        assert android.ask_as(uid, query) == result, uid

    selected = [(uid, netid, result) for _, uid, netid, result in rows
                if netid and uid != 0xFFFFFFFF and not isinstance(result, int)]
    check_rows(android, [same(uid, 0, command(SELECT_NETWORK, netid), result)
                         for uid, netid, result in selected])


def test_assigned(android):
    """What decide/socket.h adds to Android's tables."""
    held = 103 | EXPLICIT
    rows = []
    for number in (ON_ACCEPT, ON_CONNECT, SELECT_NETWORK):  # SELECT 0 is a reset
        rows += [
            (REQUIRES, 0, command(number), 0, held),
            (REQUIRES, 100 | EXPLICIT | PROTECTED | SYSTEM, command(number), 0, held),
            (BLOCKED, 100, command(number), 0, 52 | EXPLICIT),
            (REQUIRES_GONE, 100, command(number), 0, 52 | EXPLICIT),
            (REQUIRES_NETWORK, 0, command(number), 0, 101 | EXPLICIT),
            (REQUIRES_VPN, 0, command(number), 0, 200 | EXPLICIT),
        ]
    complete = command(ON_CONNECT_COMPLETE) + destination("10.0.0.1")
    check_rows(android, rows + [
        (REQUIRES, FOREIGN | 0x100000, command(ON_CONNECT), 0, held | FOREIGN | 0x100000),
        (REQUIRES, 0, command(SELECT_NETWORK, 103), 0, held),
        same(REQUIRES, 0, command(SELECT_NETWORK, 100), "EPERM"),
        same(BLOCKED, 0, command(SELECT_NETWORK, 100), "EPERM"),
        same(REQUIRES, 0, command(PROTECT_FROM_VPN), "EPERM"),
        same(REQUIRES, 0, command(SELECT_FOR_USER, uid=APP), "EPERM"),
        (REQUIRES_NETWORK, 101 | NETWORK, complete, 0, 101 | EXPLICIT),
        # the VPN's own transport
        (REQUIRES_VPN_APP, 0, command(ON_CONNECT), 0, 200 | EXPLICIT),
        (REQUIRES_VPN_APP, 0, command(PROTECT_FROM_VPN), 0, PROTECTED),
        (REQUIRES_VPN_APP, PROTECTED, command(ON_CONNECT), 0, 100 | PROTECTED),
        # prefer
        (PREFERS, 0, command(ON_CONNECT), 0, 103),
        (PREFERS, 0, command(SELECT_NETWORK, 100), 0, 100 | EXPLICIT),
        (PREFERS, 100 | EXPLICIT, command(ON_CONNECT), 0, 100 | EXPLICIT),
        (PREFERS_IN_SECURE, 0, command(ON_CONNECT), 0, 103),
    ])


def test_assignments_change(android):
    """The next request knows."""
    with marked() as sock:
        def mark():
            assert android.ask_as(26000, command(ON_CONNECT), [sock.fileno()]) == 0
            return get_mark(sock)

        assert mark() == 100
        android.ok("assign", "uid:26000-26009", "net103")
        assert mark() == 103 | EXPLICIT
        android.ok("assign", "uid:26000", "none")
        assert mark() == 52 | EXPLICIT
        android.ok("unassign", "uid:26000")
        assert mark() == 103 | EXPLICIT
        android.ok("unassign", "uid:26000-26009")
        assert mark() == 103 | EXPLICIT  # chosen, as far as the mark tells
        assert android.ask_as(26000, command(SELECT_NETWORK), [sock.fileno()]) == 0
        assert mark() == 100


def test_lengths(android):
    """§1.4 step 3: 12 and 16 bytes, 48 and 52 with a destination; by command."""
    info = destination("10.0.0.1")
    with marked() as sock:
        fds = [sock.fileno()]
        for number in (*range(15), -1, 0x7FFFFFFF):
            may = number in (ON_CONNECT, *SENDS)
            must = number == ON_CONNECT_COMPLETE
            for size in (12, 16):
                bare = ask(android.path, command(number, size=size), fds)
                full = ask(android.path, command(number, size=size) + info, fds)
                assert (bare == "EBADMSG") == must, (number, size, bare)
                assert (full == "EBADMSG") == (not may and not must), (number, size, full)
            for size in (1, 4, 11, 13, 15, 17, 20, 36, 47, 49, 51, 53, 64, 4096):
                data = (command(number) + info).ljust(size, b"\0")[:size]
                assert ask(android.path, data, fds) == "EBADMSG", (number, size)


def test_order(android):
    """§1.4: what is wrong first is what is told."""
    with marked() as good, contextlib.ExitStack() as stack:
        pipe = os.pipe()
        stack.callback(lambda: [os.close(fd) for fd in pipe])
        unix = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        netlink = stack.enter_context(socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
        packet = stack.enter_context(socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM))
        file = stack.enter_context(open("/dev/null", encoding="ascii"))
        six = stack.enter_context(marked(family=socket.AF_INET6, kind=socket.SOCK_STREAM))
        raw = stack.enter_context(marked(kind=socket.SOCK_RAW, protocol=socket.IPPROTO_ICMP))
        path_only = os.open("/", os.O_PATH)
        stack.callback(os.close, path_only)
        cases = [
            ([], "EBADF"), ([good] * 2, "EBADF"), ([good, unix], "EBADF"), ([good] * 3, "EBADF"),
            ([good] * 253, "EBADF"), ([pipe[0]], "ENOTSOCK"), ([file], "ENOTSOCK"),
            ([path_only], "EBADF"), ([unix], "EAFNOSUPPORT"), ([netlink], "EAFNOSUPPORT"),
            ([packet], "EAFNOSUPPORT"),
        ]
        for number in (ON_ACCEPT, ON_CONNECT, SELECT_NETWORK, PROTECT_FROM_VPN, SELECT_FOR_USER,
                       TAG_SOCKET, UNTAG_SOCKET, *SENDS, 14, -1):
            for fds, result in cases:
                numbers = [fd if isinstance(fd, int) else fd.fileno() for fd in fds]
                assert ask(android.path, command(number), numbers) == result, (number, result)
                assert ask(android.path, command(number)[:5], numbers) == "EBADMSG"
        for sock in (six, raw, good):
            assert ask(android.path, command(ON_CONNECT), [sock.fileno()]) == 0
            assert get_mark(sock) == SYSTEM | 100
        # those that take no socket take any number
        for fds in ([], [good.fileno()], [pipe[0]] * 9):
            assert ask(android.path, command(QUERY_USER_ACCESS, 100, APP), fds) == 0
            for number in (SET_COUNTERSET, DELETE_TAGDATA):
                assert ask(android.path, command(number), fds) == "ENOTSUP"


def test_one_reply_then_close(android):
    with marked() as sock, connect(android.path) as c:
        c.sendmsg([command(SELECT_NETWORK, 100)],
                  [(socket.SOL_SOCKET, socket.SCM_RIGHTS, sock.fileno().to_bytes(4, "little"))])
        assert answer(c) == 0  # and the end of the stream
        with pytest.raises(OSError):
            for _ in range(2):
                c.send(command(SELECT_NETWORK, 103))
        assert get_mark(sock) == 100 | EXPLICIT | PROTECTED | SYSTEM


def test_host():
    """On a host only root is SYSTEM, and the default is the machine's own: no network."""
    with started() as d:
        netid = {n["name"]: n["netid"] for n in d.json("network", "list")["networks"]}
        eth0, eth2 = netid["eth0"], netid["eth2"]
        d.ok("assign", "uid:3000", "eth2")
        d.ok("assign", "uid:3001", "none")
        d.ok("assign", "uid:3002", "eth2", "--prefer")
        check_rows(d, [
            (0, 0, command(ON_CONNECT), 0, SYSTEM),
            (1000, 0, command(ON_CONNECT), 0, 0),
            (1000, 0, command(SELECT_NETWORK, eth0), 0, eth0 | EXPLICIT),
            (0, 0, command(SELECT_NETWORK, eth0), 0, eth0 | EXPLICIT | PROTECTED | SYSTEM),
            same(1000, 0, command(SELECT_NETWORK, 52), "ENONET"),
            same(1000, 0, command(PROTECT_FROM_VPN), "EPERM"),
            same(1000, 0, command(SELECT_FOR_USER, uid=0), "EPERM"),
            (1016, 0, command(ON_CONNECT), 0, 0),
            (3000, 0, command(ON_CONNECT), 0, eth2 | EXPLICIT),
            (3001, 0, command(ON_CONNECT), 0, 52 | EXPLICIT),
            (3002, 0, command(ON_CONNECT), 0, eth2),
        ])
        assert d.ask_as(1000, command(QUERY_USER_ACCESS, eth0, 0)) == "EPERM"
        d.ok("default", "eth2")
        check_rows(d, [(1000, 0, command(ON_CONNECT), 0, eth2)])
