# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of Android's socket-marking protocol, written from its description alone."""

import array
import contextlib
import errno
import socket
import struct

from harness import WAIT
from netd_fixture import MAC0, MAC1, Links
from netd_fixture import Daemon as NetdDaemon

(ON_ACCEPT, ON_CONNECT, SELECT_NETWORK, PROTECT_FROM_VPN, SELECT_FOR_USER, QUERY_USER_ACCESS,
 ON_CONNECT_COMPLETE, TAG_SOCKET, UNTAG_SOCKET, SET_COUNTERSET, DELETE_TAGDATA, ON_SENDMMSG,
 ON_SENDMSG, ON_SENDTO) = range(14)

SO_MARK = 36
EXPLICIT, PROTECTED = 0x10000, 0x20000
NETWORK, SYSTEM = 0x40000, 0xC0000
SENDS = (ON_SENDMMSG, ON_SENDMSG, ON_SENDTO)


def command(number, netid=0, uid=0, info=0, size=16):
    """FwmarkCommand; 12 bytes of it are Android 5's."""
    return struct.pack("=iIII", number, netid, uid, info)[:size]


def destination(address, scope=0, error=0, latency=0):
    """FwmarkConnectInfo."""
    if ":" in address:
        sockaddr = (struct.pack("=HHI", socket.AF_INET6, socket.htons(80), 0) +
                    socket.inet_pton(socket.AF_INET6, address) + struct.pack("=I", scope))
    else:
        sockaddr = (struct.pack("=HH", socket.AF_INET, socket.htons(80)) +
                    socket.inet_aton(address) + bytes(8))
    return struct.pack("=iI", error, latency) + sockaddr.ljust(28, b"\0")


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)  # waits while the backlog is full
    sock.settimeout(WAIT)
    return sock


def send(sock, data, fds=()):
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights)


def answer(sock):
    """What the server says before it closes: exactly four bytes; the errno's name, or 0."""
    data = b""
    with contextlib.suppress(ConnectionResetError):  # it closed with bytes of ours unread
        while chunk := sock.recv(64):
            data += chunk
    assert len(data) == 4, data
    (value,) = struct.unpack("=i", data)
    return errno.errorcode[-value] if value else 0


def ask(path, data, fds=()):
    with connect(path) as sock:
        send(sock, data, fds)
        return answer(sock)


def ask_all(path, requests):
    """To be run under another uid: the answers to many."""
    return [ask(path, data, fds) for data, fds in requests]


def get_mark(sock):
    return sock.getsockopt(socket.SOL_SOCKET, SO_MARK) & 0xFFFFFFFF


def marked(mark=0, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0):
    """A socket with this mark. Whoever may not set it inherits it from who may."""
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.SOL_SOCKET, SO_MARK, struct.pack("=I", mark))
    return sock


class Daemon(NetdDaemon):
    """waymarkd, as far as its fwmarkd socket goes."""

    @property
    def path(self):
        return f"{self.runtime}/fwmarkd"

    def ask_as(self, uid, data, fds=()):
        return self.machine.call(ask, self.path, data, fds, uid=uid)


@contextlib.contextmanager
def links():
    ns = Links()
    ns.add_link("eth0", MAC0, "10.0.0.2/24", "fd00::2/64")
    ns.add_link("eth1", MAC1, "10.0.1.2/24")
    ns.add_link("eth2", "02:00:00:00:00:12", "10.0.2.2/24")
    ns.ip("tuntap add tun0 mode tun", "tuntap add tun1 mode tun", "link set tun0 up",
          "link set tun1 up")
    try:
        yield ns
    finally:
        ns.close()


@contextlib.contextmanager
def started(*options):
    """A daemon in a namespace of its own."""
    with links() as ns:
        d = Daemon(ns, *options)
        try:
            yield d.start()
        finally:
            d.close()
