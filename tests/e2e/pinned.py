# SPDX-License-Identifier: LGPL-2.1-or-later
"""Pinned maps of the BPF programs, written from outside: as a daemon would that is killed right after,
or to break what holds apps."""

import ctypes
import os
import struct

from bpf_fixture import bpf

OBJ_GET, MAP_UPDATE, MAP_DELETE = 7, 2, 3


class Table:
    """The map of that name, of the one set that a BoundMachine has."""

    def __init__(self, machine, name):
        path, = [p for p in machine.pins() if p.name == name]
        text = ctypes.create_string_buffer(os.fsencode(path))
        self.fd, _ = bpf(OBJ_GET, struct.pack("<QI", ctypes.addressof(text), 0))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self.fd)

    def _write(self, command, key, value=None):
        key = ctypes.create_string_buffer(key, len(key))
        value = value and ctypes.create_string_buffer(value, len(value))
        bpf(command, struct.pack("<IxxxxQQQ", self.fd, ctypes.addressof(key),
                                 ctypes.addressof(value) if value else 0, 0))

    def put(self, key, value):
        self._write(MAP_UPDATE, key, value)

    def drop(self, key):
        self._write(MAP_DELETE, key)


def policy(strength, netid):
    """struct socket_policy"""
    return struct.pack("<IBBHQ", netid, strength, 0, 0, 0)


def prefix(uid, length=32):
    """struct map_uid_prefix"""
    return struct.pack("<I", length) + struct.pack(">I", uid)


def port(netid, ifindex):
    """struct map_port"""
    return struct.pack("<II", netid, ifindex)


def executable(path):
    """struct map_executable"""
    status = os.stat(path)
    return struct.pack("<QQ", os.major(status.st_dev) << 20 | os.minor(status.st_dev),
                       status.st_ino)
