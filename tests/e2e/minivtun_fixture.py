# SPDX-License-Identifier: LGPL-2.1-or-later
"""Two namespaces with a wire between them, and waymark-minivtun in one or both.

The wire is 192.0.2.0/24 and 2001:db8:2::/64; the inner networks are 10.7.0.0/24 and fd07::/64. The
server (or who plays it) is always `far` and .1, the client `near` and .2.
"""

import contextlib
import hashlib
import os
import pathlib
import random
import signal
import socket
import tempfile
import threading

from harness import (CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, TESTS, WAIT, WAYMARKD, Namespace,
                     check_sanitizers, checked, die_with, in_namespace, libc, wait_for)

MINIVTUN = pathlib.Path(WAYMARKD).with_name("waymark-minivtun")
PORT = 1414
FAR, NEAR = "192.0.2.1", "192.0.2.2"
FAR6, NEAR6 = "2001:db8:2::1", "2001:db8:2::2"
IN_FAR, IN_NEAR = "10.7.0.1", "10.7.0.2"
IN_FAR6, IN_NEAR6 = "fd07::1", "fd07::2"
PASSWORD = "correct horse"


def endpoint(address, port=PORT):
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Wire:
    """Namespaces near and far."""

    def __init__(self):
        self.near, self.far = Namespace(), Namespace()
        self.near.ip(f"link add wire type veth peer name wire netns {self.far.path}")
        self.near.ip("link set wire up", f"addr add {NEAR}/24 dev wire",
                     "addr add 192.0.2.3/24 dev wire", f"addr add {NEAR6}/64 dev wire nodad")
        self.far.ip("link set wire up", f"addr add {FAR}/24 dev wire",
                    "addr add 192.0.2.4/24 dev wire", f"addr add {FAR6}/64 dev wire nodad")
        self.open = []

    def keep(self, thing):
        """Closes it with the wire."""
        self.open.append(thing)
        return thing

    def server(self, *options, address=FAR, inner=(IN_FAR, IN_FAR6), password=PASSWORD, **more):
        """Ours, when it is ready."""
        where = ["-l", endpoint(address)]
        return self.engine(self.far, "srv0", where, options, inner, password, **more)

    def client(self, *options, address=FAR, port=PORT, inner=(IN_NEAR, IN_NEAR6), password=PASSWORD, **more):
        where = ["-r", endpoint(address, port)]
        return self.engine(self.near, "cli0", where, options, inner, password, **more)

    def engine(self, namespace, tun, where, options, inner, password, **more):
        words = [*where, "-n", tun, "-a", f"{inner[0]}/24"]
        words += ["-A", f"{inner[1]}/64"] if inner[1:] else []
        words += ["-e", password] if password else []
        engine = self.keep(Engine(namespace, *words, *options, **more))
        wait_for("the engine", lambda: engine.ended() or engine.stands(tun))
        assert not engine.ended(), engine.log
        return engine

    def close(self):
        for thing in reversed(self.open):
            thing.close()
        self.near.close()
        self.far.close()


class Engine:
    """A waymark-minivtun that runs. `etc`: files that stand in /etc for it, as a folder."""

    def __init__(self, namespace, *words, etc=None, **options):
        self.namespace, self.words, self.etc = namespace, words, etc
        self.file = tempfile.TemporaryFile("w+b")
        self.process = namespace.popen([MINIVTUN, *words], enter=self._enter, stdout=self.file,
                                       stderr=self.file, **options)

    def _enter(self):
        self.namespace.enter()
        die_with(TESTS)
        if self.etc:
            checked(libc.unshare(CLONE_NEWNS))
            checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
            checked(libc.mount(str(self.etc).encode(), b"/etc", None, MS_BIND, None))

    @property
    def log(self):
        """The position in the file is the process's, too: it stays where that writes."""
        file = self.file.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def stands(self, tun):
        """Its interface is up and has all its addresses, and it serves: its warning of what the protocol is
        worth is the last thing before."""
        if "it can be replayed" not in self.log and "sent in clear" not in self.log:
            return False
        lines = self.namespace.show(f"-o addr show dev {tun} up")
        wanted = [self.words[i + 1].split("/")[0] for i, word in enumerate(self.words)
                  if word in ("-a", "-A")]
        return all(any(f" {address}" in line for line in lines) for address in wanted)

    def ended(self):
        return self.process.poll() is not None

    def memory(self):
        """Resident, in KiB."""
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(text.split("VmRSS:")[1].split()[0])

    def stop(self, how=signal.SIGTERM):
        if not self.ended():
            self.process.send_signal(how)
        return self.process.wait(timeout=WAIT)

    def close(self):
        asked = not self.ended()
        try:
            code = self.stop()
            check_sanitizers(self.log)
            assert not asked or code in (0, -signal.SIGTERM), (code, self.log[-4000:])
        finally:
            if not self.ended():
                self.process.kill()
                self.process.wait()
            self.file.close()


@contextlib.contextmanager
def listening(namespace, address, port=7000):
    """A TCP server that sends back what it gets, bytes in order, until the connection ends."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = in_namespace(namespace, lambda: socket.create_server((address, port), family=family))

    def echo(peer):
        with peer, contextlib.suppress(OSError):
            while data := peer.recv(1 << 16):
                peer.sendall(data)

    def serve():
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=echo, args=(sock.accept()[0],), daemon=True).start()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)
        sock.close()


def there_and_back(address, size, port=7000, seed=1, patience=WAIT):
    """Sends that many bytes to such a server; whether the same ones came back."""
    data = random.Random(seed).randbytes(size)
    with socket.create_connection((address, port), timeout=patience) as sock:
        writer = threading.Thread(target=lambda: (sock.sendall(data), sock.shutdown(socket.SHUT_WR)))
        writer.start()
        seen = hashlib.sha256()
        while chunk := sock.recv(1 << 16):
            seen.update(chunk)
        writer.join()
    return seen.digest() == hashlib.sha256(data).digest()


def reaches(namespace, address, port=7000):
    """Whether a TCP connection and some bytes get through now."""
    with contextlib.suppress(OSError):
        return namespace.call(there_and_back, address, 3000, port, 1, 2.0)
    return False
