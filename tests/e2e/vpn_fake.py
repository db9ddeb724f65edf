# SPDX-License-Identifier: LGPL-2.1-or-later
"""Something that listens where waymarkd would and plays the VPN service: it shows what a client sends,
and answers what the real one answers only once in a blue moon. Descriptors it can send, too."""

import array
import contextlib
import itertools
import socket
import struct
import threading

from dbus_peer import ERROR, FIELDS, RETURN, SIGNAL, get, message, types
from fake_daemon import FakeDaemon

SERVICE = "org.waymark1.VpnService"


def decode(kind, header, body):
    fields = {FIELDS.get(k, k): v for k, v in get(header, 12, "a(yv)")[0]}
    at, args = 0, []
    for one in types(fields.get("signature", "")):
        value, at = get(body, at, one)
        args.append(value)
    return kind, fields, args


class Answer:
    """What is said to a call: values of a signature, with descriptors; or an error's name and text.
    `before` and `after`: signals around it."""

    def __init__(self, signature="", *values, fds=(), before=(), after=()):
        self.signature, self.values, self.fds = signature, values, list(fds)
        self.before, self.after = before, after


def revoked(name, reason):
    fields = {"path": "/org/waymark1", "interface": SERVICE, "member": "Revoked"}
    return message(SIGNAL, 1 << 20, fields, "ss", name, reason)


HANG_UP = object()


class FakeService(FakeDaemon):
    """Answers by methods: an Answer, HANG_UP, or a list of these, one for each call (the last one
    again and again). `calls` are all that came: (method, arguments)."""

    def __init__(self, path, agree=True, **answers):
        self.calls, self.agree = [], agree
        self.answers = {name: self._each(answer) for name, answer in answers.items()}
        self.connections = 0
        super().__init__(path, FakeService._keep)

    @staticmethod
    def _each(answer):
        answers = answer if isinstance(answer, list) else [answer]
        return itertools.chain(answers, itertools.repeat(answers[-1]))

    def _authenticate(self, stream):
        said = b"".join(iter(stream.readline, b"BEGIN\r\n"))
        answer = b"DATA\r\nOK " + b"0" * 32 + b"\r\n"
        if b"NEGOTIATE" in said:
            answer += b"AGREE_UNIX_FD\r\n" if self.agree else b"ERROR no\r\n"
        return answer

    def _keep(self, connection):
        """Several at a time: a VPN keeps its own."""
        self.kept.append(connection)
        self.connections += 1
        threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def hang_up(self):
        """On everybody."""
        for connection in self.kept:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _serve(self, connection):
        with contextlib.suppress(OSError):
            self._talk(connection)

    def _talk(self, connection):
        stream = connection.makefile("rb")
        connection.sendall(self._authenticate(stream))
        while len(start := stream.read(16)) == 16:
            size, serial, array_size = struct.unpack_from("<III", start, 4)
            header = start + stream.read(array_size + -array_size % 8)
            _, fields, args = decode(start[1], header, stream.read(size))
            self.calls.append((fields["member"], args))
            answer = next(self.answers[fields["member"]])
            if answer is HANG_UP:
                connection.shutdown(socket.SHUT_RDWR)
                return
            self._answer(connection, serial, answer)

    @staticmethod
    def _answer(connection, serial, answer):
        fields = {"reply_serial": serial}
        kind, signature, values = RETURN, answer.signature, answer.values
        if "." in signature:
            fields["error"] = signature
            kind, signature = ERROR, "s"
        if answer.fds:
            fields["unix_fds"] = len(answer.fds)
        connection.sendall(b"".join(answer.before))  # descriptors go with the first byte behind it
        data = message(kind, 1, fields, signature, *values)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", answer.fds))]
        connection.sendmsg([data], rights if answer.fds else [])
        connection.sendall(b"".join(answer.after))

    def called(self, method):
        """The arguments of all calls of it."""
        return [args for name, args in self.calls if name == method]


@contextlib.contextmanager
def pipes(n):
    """Descriptors to give away, and what reads when nobody has them any more."""
    pairs = [socket.socketpair() for _ in range(n)]
    try:
        yield [b for _, b in pairs], [a for a, _ in pairs]
    finally:
        for a, b in pairs:
            a.close()
            b.close()


def established(fds, netid=1000, interface="wmtun0", **around):
    """The answer of Establish."""
    return Answer("osah", f"/org/waymark1/vpn/{netid}", interface, list(range(len(fds))),
                  fds=[fd.fileno() for fd in fds], **around)
