# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small D-Bus client: for a peer's socket or a broker's, polite or not.

It knows the types that org.waymark1 uses, lets a test send bytes that no library would, and can
connect as another user: the credentials of a unix socket are those of who connected.
"""

import os
import select
import socket
import struct
import time

PATH, MANAGER, NETWORK = "/org/waymark1", "org.waymark1.Manager", "org.waymark1.Network"
VPN_SERVICE, VPN = "org.waymark1.VpnService", "org.waymark1.Vpn"
PROPERTIES, BUS = "org.freedesktop.DBus.Properties", "org.freedesktop.DBus"
ALIGN = {c: 1 for c in "ygv"} | {"n": 2, "q": 2} | {c: 4 for c in "biusoah"} \
    | {c: 8 for c in "xtd({"}
FIXED = {"y": "B", "b": "I", "n": "h", "q": "H", "i": "i", "u": "I", "x": "q", "t": "Q", "d": "d",
         "h": "I"}
CALL, RETURN, ERROR, SIGNAL = 1, 2, 3, 4
FIELDS = {1: "path", 2: "interface", 3: "member", 4: "error", 5: "reply_serial", 6: "destination",
          7: "sender", 8: "signature", 9: "unix_fds"}
FIELD_TYPES = {1: "o", 2: "s", 3: "s", 4: "s", 5: "u", 6: "s", 7: "s", 8: "g",
               9: "u"}


# What a connection takes of the daemon's: the socket, a copy of it, and the two ends of the pair through
# which sd-bus gets what is sent.
FILES_PER_PEER = 4


class Variant(tuple):
    """(signature, value), where it is to be sent; what is received has no signatures."""

    def __new__(cls, signature, value):
        return tuple.__new__(cls, (signature, value))


class DBusError(Exception):
    def __init__(self, name, text):
        super().__init__(name, text)
        self.name, self.text = name, text


def pad(data, to):
    return data + b"\0" * (-len(data) % to)


def first_type(signature):
    """The first complete type of a signature, and the rest."""
    if signature[0] == "a":
        element, rest = first_type(signature[1:])
        return "a" + element, rest
    depth, end = 0, 0
    while end == 0 or depth > 0:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(signature[end], 0)
        end += 1
    return signature[:end], signature[end:]


def types(signature):
    while signature:
        one, signature = first_type(signature)
        yield one


def put(data, kind, value):
    """data with the value behind it."""
    data = pad(data, ALIGN[kind[0]])
    if kind in FIXED:
        return data + struct.pack("<" + FIXED[kind], value)
    if kind in "sog":
        raw = value if isinstance(value, bytes) else value.encode()
        return data + struct.pack("<B" if kind == "g" else "<I", len(raw)) + raw + b"\0"
    if kind == "v":
        return put(put(data, "g", value[0]), value[0], value[1])
    if kind[0] == "a":
        start = pad(data + b"\0" * 4, ALIGN[kind[1]])
        body = start
        for item in value.items() if isinstance(value, dict) else value:
            body = put(body, kind[1:], item)
        return data + struct.pack("<I", len(body) - len(start)) + body[len(data) + 4:]
    for one, item in zip(types(kind[1:-1]), value):  # a struct or an entry
        data = put(data, one, item)
    return data


def get(data, at, kind):
    """(value, the position behind it)"""
    at += -at % ALIGN[kind[0]]
    if kind in FIXED:
        value = struct.unpack_from("<" + FIXED[kind], data, at)[0]
        return bool(value) if kind == "b" else value, at + struct.calcsize("<" + FIXED[kind])
    if kind in "sog":
        size, skip = (data[at], 1) if kind == "g" else (struct.unpack_from("<I", data, at)[0], 4)
        return data[at + skip:at + skip + size].decode(), at + skip + size + 1
    if kind == "v":
        kind, at = get(data, at, "g")
        return get(data, at, kind)
    values = []
    if kind[0] == "a":
        size = struct.unpack_from("<I", data, at)[0]
        at += 4 + -(at + 4) % ALIGN[kind[1]]
        end = at + size
        while at < end:
            value, at = get(data, at, kind[1:])
            values.append(value)
        return (dict(values) if kind[1] == "{" else values), at
    for one in types(kind[1:-1]):
        value, at = get(data, at, one)
        values.append(value)
    return tuple(values), at


def message(kind, serial, fields, signature="", *args, body=None):
    """The bytes of a message; `body` in place of what the arguments make."""
    if body is None:
        body = b""
        for one, value in zip(types(signature), args, strict=True):
            body = put(body, one, value)
    fields = dict(fields) | ({"signature": signature} if signature else {})
    numbers = {name: number for number, name in FIELDS.items()}
    array = [(numbers[k], Variant(FIELD_TYPES[numbers[k]], v)) for k, v in fields.items()]
    head = struct.pack("<cBBBII", b"l", kind, 0, 1, len(body), serial)
    return pad(put(head, "a(yv)", array), 8) + body


def connect(path, uid=0, gid=None, groups=()):
    """A socket that this user connected. Another than root is played by a child, which hands it
    over and ends."""
    if uid == os.getuid() and gid is None and not groups:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(path)
        return sock
    ours, theirs = socket.socketpair()
    pid = os.fork()
    if pid == 0:
        try:
            os.setgroups(list(groups))
            os.setresgid(*[uid if gid is None else gid] * 3)
            os.setresuid(uid, uid, uid)
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(path)
            socket.send_fds(theirs, [b"x"], [sock.fileno()])
        finally:
            os._exit(0)
    theirs.close()
    with ours:
        _, fds, _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(pid, 0)
    if not fds:
        raise ConnectionRefusedError(path)
    return socket.socket(fileno=fds[0])


class Peer:
    """A connection; `broker` is who is meant there: a bus name, or None without a broker."""

    def __init__(self, path, uid=0, broker=None, timeout=60, descriptors=False, **who):
        self.sock = connect(path, uid, **who)
        self.timeout, self.broker = timeout, broker
        self.data, self.serial, self.signals = b"", 0, []
        self.fds = []  # that came, in the order in which they did; the owner's to take out and close
        self.sock.sendall(b"\0AUTH EXTERNAL " + str(uid).encode().hex().encode() + b"\r\n")
        answer = self._line()
        if not answer.startswith(b"OK "):
            raise DBusError("auth", answer.decode())
        if descriptors:
            self.sock.sendall(b"NEGOTIATE_UNIX_FD\r\n")
            answer = self._line()
            if answer != b"AGREE_UNIX_FD":
                raise DBusError("auth", answer.decode())
        self.sock.sendall(b"BEGIN\r\n")
        if broker:
            self.name = self.call("Hello", interface=BUS, path="/org/freedesktop/DBus", to=BUS)[0]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def _more(self, deadline):
        ready, _, _ = select.select([self.sock], [], [], max(0, deadline - time.monotonic()))
        if not ready:
            raise TimeoutError("no answer")
        data, fds, _, _ = socket.recv_fds(self.sock, 1 << 20, 64)
        self.fds += fds
        if not data:
            raise ConnectionResetError("closed by the other side")
        self.data += data

    def _line(self):
        deadline = time.monotonic() + self.timeout
        while b"\r\n" not in self.data:
            self._more(deadline)
        line, self.data = self.data.split(b"\r\n", 1)
        return line

    def receive(self, deadline):
        """(type, fields, arguments) of the next message; "serial" is among the fields."""
        while True:
            if len(self.data) >= 16:
                size, serial, array = struct.unpack_from("<III", self.data, 4)
                total = 16 + array + -array % 8 + size
                if len(self.data) >= total:
                    break
            self._more(deadline)
        raw, self.data = self.data[:total], self.data[total:]
        fields = {FIELDS.get(k, k): v for k, v in get(raw, 12, "a(yv)")[0]} | {"serial": serial}
        args, at = [], 0
        for one in types(fields.get("signature", "")):
            value, at = get(raw[total - size:], at, one)
            args.append(value)
        return raw[1], fields, args

    def send(self, member, signature="", *args, interface=MANAGER, path=PATH, to=None, body=None):
        """Sends a call and returns its serial."""
        self.serial += 1
        fields = {"path": path, "member": member}
        fields |= {"interface": interface} if interface else {}
        fields |= {"destination": to or self.broker} if self.broker else {}
        self.sock.sendall(message(CALL, self.serial, fields, signature, *args, body=body))
        return self.serial

    def wait(self, serial):
        """What was answered to it; signals that come before are kept."""
        deadline = time.monotonic() + self.timeout
        while True:
            kind, fields, args = self.receive(deadline)
            if kind == SIGNAL:
                self.signals.append((fields, args))
            elif fields.get("reply_serial") == serial:
                if kind == ERROR:
                    raise DBusError(fields["error"], args[0] if args else "")
                return args

    def call(self, *args, **options):
        return self.wait(self.send(*args, **options))

    def get(self, name, interface=MANAGER, path=PATH):
        return self.call("Get", "ss", interface, name, interface=PROPERTIES, path=path)[0]

    def get_all(self, interface=MANAGER, path=PATH):
        return self.call("GetAll", "s", interface, interface=PROPERTIES, path=path)[0]

    def managed(self):
        return self.call("GetManagedObjects", interface="org.freedesktop.DBus.ObjectManager")[0]

    def network(self, name):
        """The object path of a network."""
        return self.call("GetNetwork", "s", name)[0]

    def take_signals(self):
        """(path, member, arguments) of all that were sent until now; a call tells when now is."""
        self.call("Ping", interface="org.freedesktop.DBus.Peer")
        taken, self.signals = self.signals, []
        return [(f["path"], f["member"], args) for f, args in taken]
