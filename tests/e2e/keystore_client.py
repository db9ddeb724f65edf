# SPDX-License-Identifier: LGPL-2.1-or-later
"""A client of Android's keystore protocol, written from its description alone.

A request is a code, then each parameter behind its length (16 bits, big-endian), then end of file; an
answer is the same. Who asks is who has connected (SO_PEERCRED): a Person is a process of that user, which
connects and hands the socket over.
"""

import contextlib
import os
import signal
import socket
import struct

from harness import WAIT, die_with

(NO_ERROR, LOCKED, UNINITIALIZED, SYSTEM_ERROR, PROTOCOL_ERROR, PERMISSION_DENIED, KEY_NOT_FOUND,
 VALUE_CORRUPTED, UNDEFINED_ACTION, WRONG_PASSWORD) = range(1, 11)  # 10 to 13: tries that are left

KEY_MAX, VALUE_MAX = 120, 32768
PASSWORD_MAX = VALUE_MAX


def message(data):
    return struct.pack(">H", len(data)) + data


def request(code, *parameters):
    return code.encode("latin-1") + b"".join(map(message, parameters))


def answer(code, *messages):
    """What the server is to say: all bytes of it."""
    return bytes([code]) + b"".join(map(message, messages))


def messages(data):
    """What stands behind the code of an answer."""
    found, at = [], 1
    while at < len(data):
        (size,) = struct.unpack_from(">H", data, at)
        found.append(data[at + 2:at + 2 + size])
        assert len(found[-1]) == size, "an answer that ends too early"
        at += 2 + size
    return found


def everything(sock):
    """What the server says until it closes. It may have closed with bytes of ours unread."""
    data = b""
    with contextlib.suppress(ConnectionResetError):
        while chunk := sock.recv(1 << 16):
            data += chunk
    return data


def connect(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    sock.connect(path)  # waits while the backlog is full
    sock.settimeout(WAIT)
    return sock


def send(sock, data):
    """As much as the server wants to have: it may know its answer before, and close."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        sock.sendall(data)


def talk(sock, data, end=True):
    """Sends that, and with `end` the end of file; the whole answer."""
    with sock:
        send(sock, data)
        if end:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_WR)
        return everything(sock)


def ask(path, code, *parameters):
    return talk(connect(path), request(code, *parameters))


class Person:
    """A user's process; socket() is one that it has connected."""

    def __init__(self, uid):
        self.uid = uid
        self.here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                self._live(there, parent)
            finally:
                os._exit(1)
        there.close()

    def _live(self, sock, parent):
        for number in sorted(int(name) for name in os.listdir("/proc/self/fd")):
            if number > 2 and number != sock.fileno():
                with contextlib.suppress(OSError):
                    os.close(number)  # else a socket that the tests close would stay open here
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.setgroups([])
        os.setresgid(self.uid, self.uid, self.uid)
        os.setresuid(self.uid, self.uid, self.uid)
        die_with(parent)
        while path := sock.recv(4096):
            try:
                with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
                    client.connect(path)
                    socket.send_fds(sock, [b"\0"], [client.fileno()])
            except OSError as error:
                sock.send(bytes([error.errno]))
        os._exit(0)

    def connect(self, path):
        self.here.send(os.fsencode(path))
        data, fds, _, _ = socket.recv_fds(self.here, 1, 1)
        if data != b"\0":
            raise OSError(data[0], os.strerror(data[0]))
        sock = socket.socket(fileno=fds[0])
        sock.settimeout(WAIT)
        return sock

    def close(self):
        self.here.close()
        os.waitpid(self.pid, 0)
