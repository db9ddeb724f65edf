# SPDX-License-Identifier: LGPL-2.1-or-later
"""Something that listens where waymarkd would: to see what `waymark` makes of a daemon that hangs
up, keeps silent, or answers what the real one answers only once in a blue moon."""

import os
import pathlib
import socket
import struct
import threading

METHOD_RETURN, ERROR = 2, 3
FIELD_MEMBER, FIELD_ERROR_NAME, FIELD_REPLY_SERIAL, FIELD_SIGNATURE = 3, 4, 5, 8
ALIGNMENT = {"y": 1, "g": 1, "v": 1, "n": 2, "q": 2, "b": 4, "i": 4, "u": 4, "s": 4, "o": 4, "a": 4,
             "x": 8, "t": 8, "d": 8, "(": 8, "{": 8}
FORMATS = {"y": "<B", "b": "<I", "n": "<h", "q": "<H", "i": "<i", "u": "<I", "x": "<q", "t": "<Q",
           "d": "<d"}


def first_type(signature):
    """The first complete type of a signature."""
    if signature[0] == "a":
        return "a" + first_type(signature[1:])
    if signature[0] not in "({":
        return signature[0]
    depth = 0
    for i, c in enumerate(signature):
        depth += (c in "({") - (c in ")}")
        if depth == 0:
            return signature[: i + 1]
    raise ValueError(signature)


def split_types(signature):
    types = []
    while signature:
        types.append(first_type(signature))
        signature = signature[len(types[-1]):]
    return types


class Body(bytearray):
    """D-Bus marshalling. Variants are pairs (signature, value)."""

    def align(self, n):
        self.extend(b"\0" * (-len(self) % n))

    def put(self, kind, value):
        self.align(ALIGNMENT[kind[0]])
        if kind in FORMATS:
            self.extend(struct.pack(FORMATS[kind], value))
        elif kind in "so":
            text = value.encode()
            self.extend(struct.pack("<I", len(text)) + text + b"\0")
        elif kind == "g":
            self.extend(bytes([len(value)]) + value.encode() + b"\0")
        elif kind == "v":
            self.put("g", value[0])
            self.put(*value)
        elif kind[0] == "a":
            self.put_array(kind[1:], value.items() if isinstance(value, dict) else value)
        else:
            for member, item in zip(split_types(kind[1:-1]), value):
                self.put(member, item)
        return self

    def put_array(self, kind, items):
        at = len(self)
        self.extend(b"\0\0\0\0")
        self.align(ALIGNMENT[kind[0]])
        start = len(self)
        for item in items:
            self.put(kind, item)
        self[at:at + 4] = struct.pack("<I", len(self) - start)


def message(kind, serial, fields, signature="", values=()):
    body, header = Body(), Body()
    for member, value in zip(split_types(signature), values):
        body.put(member, value)
    if signature:
        fields = fields | {FIELD_SIGNATURE: ("g", signature)}
    header.extend(struct.pack("<cBBBII", b"l", kind, 1, 1, len(body), serial))
    header.put("a(yv)", list(fields.items()))
    header.align(8)
    return bytes(header + body)


def member_of(header):
    """The method that a message calls: its header field 3, a string behind its signature."""
    at = header.index(bytes([FIELD_MEMBER, 1]) + b"s\0") + 4
    size, = struct.unpack_from("<I", header, at)
    return header[at + 4:at + 4 + size].decode()


class FakeDaemon(threading.Thread):
    """`serve(daemon, connection)` is called for each connection, one after the other."""

    def __init__(self, path, serve):
        super().__init__(daemon=True)
        os.makedirs(pathlib.Path(path).parent, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen(8)
        self.serve = serve
        self.kept = []  # connections that stay open
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            try:
                self.serve(self, connection)
            except OSError:
                pass
            if connection not in self.kept:
                connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.join()
        for connection in self.kept:
            connection.close()


def answering(answers):
    """A `serve` for methods by name: (signature, value, …), or a D-Bus error's (name, text)."""

    def authenticate(stream):
        lines = iter(stream.readline, b"BEGIN\r\n")
        said = b"".join(lines)
        return b"DATA\r\nOK " + b"0" * 32 + b"\r\n" + b"AGREE_UNIX_FD\r\n" * (b"NEGOTIATE" in said)

    def serve(_, connection):
        stream = connection.makefile("rb")
        connection.sendall(authenticate(stream))
        while len(start := stream.read(16)) == 16:
            size, serial, fields = struct.unpack_from("<III", start, 4)
            header = stream.read(fields + -fields % 8)
            stream.read(size)
            signature, *values = answers[member_of(header)]
            reply = {FIELD_REPLY_SERIAL: ("u", serial)}
            if "." in signature:
                reply[FIELD_ERROR_NAME] = ("s", signature)
                connection.sendall(message(ERROR, 1, reply, "s", values))
            else:
                connection.sendall(message(METHOD_RETURN, 1, reply, signature, values))

    return serve
