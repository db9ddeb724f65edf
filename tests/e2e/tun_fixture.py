# SPDX-License-Identifier: LGPL-2.1-or-later
"""A tunnel interface whose other end is the test: what an app sends by it can be read here."""

import contextlib
import fcntl
import os
import socket
import struct

from harness import in_namespace

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000


class Tun:
    """tun NAME in a namespace, up, with these addresses; gone when it is closed."""

    def __init__(self, namespace, name="tun0", addresses=("10.8.0.2/24", "fd08::2/64")):
        self.namespace, self.name = namespace, name
        self.fd = in_namespace(namespace, self._open)
        namespace.ip(f"link set {name} up addrgenmode none",
                     *(f"addr add {address} dev {name} nodad" if ":" in address else
                       f"addr add {address} dev {name}" for address in addresses))

    def _open(self):
        fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", self.name.encode(), IFF_TUN | IFF_NO_PI))
        return fd

    def packets(self):
        """(source, destination, protocol) of what was sent by it since the last call."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data = os.read(self.fd, 65536)
                if data[0] >> 4 == 4:
                    found.append((socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20]),
                                  data[9]))
                else:
                    found.append((socket.inet_ntop(socket.AF_INET6, data[8:24]),
                                  socket.inet_ntop(socket.AF_INET6, data[24:40]), data[6]))
        return found

    def close(self):
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = -1
