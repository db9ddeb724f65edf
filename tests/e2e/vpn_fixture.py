# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs that are VPNs: each a process of its own, with a user of its own, that has a connection to the
daemon and the descriptors it was given. Its tunnel leads to itself: what comes out of it is turned round and
goes in again, so whoever sends a datagram through it gets it back."""

import contextlib
import errno
import mmap
import os
import pathlib
import pickle
import select
import signal
import socket
import struct
import threading
import time
import traceback

import pytest

from dbus_peer import VPN, VPN_SERVICE, DBusError, Peer, Variant
from fwmarkd_client import PROTECT_FROM_VPN, ask, command
from harness import SERVER4, Capture, Machine, die_with, ucred, wait_for
from maps_fixture import BoundMachine

OWNER, OTHER, APP = 5001, 5002, 5003
ADDRESS = "10.99.0.2"

PARAMETERS = {"Session": "s", "Mtu": "u", "Addresses": "as", "Routes": "as", "ExcludeRoutes": "as",
              "Dns": "as", "Domains": "as", "Allowed": "as", "Disallowed": "as", "AllowBypass": "b",
              "AllowFamilies": "as", "Blocking": "b", "Underlying": "as", "Metered": "b",
              "HttpProxy": "s", "Lan": "as", "Queues": "u", "Offloads": "b"}
OPTIONS = PARAMETERS | {"Kind": "s", "Owner": "s", "Exempt": "as", "Lockdown": "b", "AlwaysOn": "b",
                        "Bypass": "b", "Everyone": "b", "FallThrough": "b", "Forward": "b", "Engine": "s",
                        "Interfaces": "as", "Interactive": "b"}


def variants(values):
    return {key: value if isinstance(value, Variant) else Variant(OPTIONS[key], value)
            for key, value in values.items()}


def full(**more):
    """Everything through the tunnel, IPv4 alone: IPv6 then is blocked."""
    return {"Addresses": [f"{ADDRESS}/24"], "Routes": ["0.0.0.0/0"]} | more


def turn_round(packet):
    """The packet as its receiver would send it back; None: there is no need."""
    if packet[0] >> 4 == 4:
        at = (packet[0] & 15) * 4
        turned = packet[:12] + packet[16:20] + packet[12:16] + packet[20:at]
        protocol = packet[9]
    else:
        at, protocol = 40, packet[6]
        turned = packet[:8] + packet[24:40] + packet[8:24]
    if protocol != socket.IPPROTO_UDP:
        return None
    return turned + packet[at + 2:at + 4] + packet[at:at + 2] + packet[at + 4:]


def ends(packet):
    """(source, destination, protocol)"""
    if packet[0] >> 4 == 4:
        return (socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), packet[9])
    return (socket.inet_ntop(socket.AF_INET6, packet[8:24]),
            socket.inet_ntop(socket.AF_INET6, packet[24:40]), packet[6])


class Program:
    """What runs in the process."""

    def __init__(self, runtime):
        self.runtime = runtime
        self.peer, self.fds, self.seen, self.others = None, [], [], []
        self.stopping = False
        self.lock = threading.Lock()

    def connect(self, descriptors=True):
        if self.peer:
            self.peer.close()
        self.peer = Peer(f"{self.runtime}/bus", os.getuid(), descriptors=descriptors)

    def call(self, member, signature="", *args):
        if not self.peer:
            self.connect()
        return self.peer.call(member, signature, *args, interface=VPN_SERVICE)

    def prepare(self, name, **options):
        return self.call("Prepare", "sa{sv}", name, variants(options))[0]

    def establish(self, name, keep=False, **parameters):
        """(path, interface); the descriptors are ours, and those before closed unless `keep`."""
        path, interface, indices = self.call("Establish", "sa{sv}", name, variants(parameters))
        fds, self.peer.fds = self.peer.fds, []
        assert indices == list(range(len(fds))), (indices, fds)
        with self.lock:
            old, self.fds = self.fds, fds
        if keep:
            self.others += old
        else:
            self._close(old)
        return path, interface

    def prepare_many(self, n):
        for i in range(n):
            assert self.prepare(f"vpn{os.getuid()}-{i}")

    def send_unread(self, name, n, **parameters):
        """Calls n times, and reads the answers then: "good", or the errors' names."""
        self.call("ListConsents")
        args = ("Establish", "sa{sv}", name, variants(parameters))
        serials = [self.peer.send(*args, interface=VPN_SERVICE) for _ in range(n)]
        answers = []
        self._await_sleep()
        for serial in serials:
            try:
                self.peer.wait(serial)
                answers.append("good")
            except DBusError as error:
                answers.append(error.name)
        self._close(self.peer.fds)
        self.peer.fds = []
        return answers

    def _await_sleep(self):
        """Until the daemon has had nothing to do for half a second."""
        process = pathlib.Path(f"/proc/{ucred(self.peer.sock)[0]}")
        last, since = None, 0.0

        def is_asleep():
            nonlocal last, since
            ran, *_ = (process / "schedstat").read_text().split()
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            if state != "S" or ran != last:
                last, since = ran, time.monotonic()
            return time.monotonic() - since > 0.5

        wait_for("the daemon to sleep", is_asleep)

    @staticmethod
    def _close(fds):
        for fd in fds:
            os.close(fd)

    def close(self):
        """All descriptors."""
        with self.lock:
            fds, self.fds = self.fds, []
        self._close(fds + self.others)
        self.others = []

    def serve(self, write=True):
        """From now on what comes out of the tunnel is turned round, in the background."""
        threading.Thread(target=self._serve, args=(write,), daemon=True).start()

    def _serve(self, write):
        while not self.stopping:
            with self.lock:
                fds = list(self.fds)
                ready = select.select(fds, [], [], 0)[0] if fds else []
                for fd in ready:
                    self._serve_one(fd, write)
            time.sleep(0 if ready else 0.001)  # others want the lock, too

    def _serve_one(self, fd, write):
        with contextlib.suppress(BlockingIOError, OSError):
            packet = os.read(fd, 65536)
            self.seen.append(ends(packet))
            turned = turn_round(packet) if write else None
            if turned:
                os.write(fd, turned)

    def packets(self):
        """What has come out since the last call."""
        with self.lock:
            seen, self.seen = self.seen, []
        return seen

    def read_old(self):
        """What is left in the descriptors that were kept."""
        found = []
        for fd in self.others:
            with contextlib.suppress(BlockingIOError, OSError):
                while True:
                    found.append(ends(os.read(fd, 65536)))
        return found

    def signals(self):
        return [(member, args) for _, member, args in self.peer.take_signals()
                if member == "Revoked"]

    def wait_revoked(self, name):
        """The reason."""
        def told():
            for fields, args in self.peer.signals:
                if fields["member"] == "Revoked" and args[0] == name:
                    return args[1]
            self.peer.call("Ping", interface="org.freedesktop.DBus.Peer")
            return None

        return wait_for("the signal Revoked", told)

    def protect(self):
        """The answer of fwmarkd for a new socket: 0, or the errno's name."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            return self._protect(sock)

    def _protect(self, sock):
        return ask(f"{self.runtime}/fwmarkd", command(PROTECT_FROM_VPN), [sock.fileno()])

    def ask(self, protected, server=SERVER4):
        """Whom the server sees, by a socket that is protected or not; or the errno's name."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(3)
            if protected:
                assert self._protect(sock) == 0
            try:
                sock.connect((server, 8000))
                sock.send(b"x")
                return sock.recv(100).split()[0].decode()
            except TimeoutError:
                return "timeout"
            except OSError as error:
                return os.strerror(error.errno)

    def in_child(self, method, *args):
        """The same by a child, that shares all of our descriptors."""
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            try:
                result = getattr(self, method)(*args)
            except Exception as error:  # pylint: disable=broad-except
                result = error
            theirs.sendall(pickle.dumps(result))
            os._exit(0)
        theirs.close()
        with ours, ours.makefile("rb") as pipe:
            result = pickle.load(pipe)
        os.waitpid(pid, 0)
        if isinstance(result, Exception):
            raise result
        return result

    def fork_holder(self):
        """A child that holds the descriptors and does nothing; its number."""
        pid = os.fork()
        if pid == 0:
            self.peer.close()
            signal.pause()
            os._exit(0)
        return pid

    def inject(self, *packets):
        """As if they had come through the tunnel."""
        for packet in packets:
            os.write(self.fds[0], packet)

    def ioctl(self, number, value):
        import fcntl
        return fcntl.ioctl(self.fds[0], number, value)

    def write(self, packet):
        """Into the tunnel; the errno's name if that cannot be."""
        try:
            os.write(self.fds[0], packet)
        except OSError as error:
            return errno.errorcode[error.errno]
        return None

    def flags(self):
        import fcntl
        return [fcntl.fcntl(fd, fcntl.F_GETFL) for fd in self.fds]

    def n_open(self):
        """How many descriptors of /dev/net/tun we have."""
        found = 0
        for fd in os.listdir("/proc/self/fd"):
            with contextlib.suppress(OSError):
                found += os.readlink(f"/proc/self/fd/{fd}") == "/dev/net/tun"
        return found

    def time_establish(self, name, n, **parameters):
        """Milliseconds of each of n."""
        times = []
        for _ in range(n):
            old, self.fds = self.fds, []
            before = time.perf_counter()
            self.establish(name, **parameters)
            times.append((time.perf_counter() - before) * 1000)
            self._close(old)  # which takes the kernel its time
        return times


class App:
    """The process; all that Program can is called on it."""

    open = []

    def __init__(self, daemon, uid=OWNER):
        self.sock, theirs = socket.socketpair()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            self.sock.close()
            self._run(daemon, uid, theirs, parent)
        theirs.close()
        self.open.append(self)

    @staticmethod
    def _run(daemon, uid, sock, parent):
        try:
            daemon.machine.enter()
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            die_with(parent)
            program = Program(daemon.runtime)
            with sock.makefile("rb") as pipe:
                while True:
                    method, args, options = pickle.load(pipe)
                    try:
                        result = getattr(program, method)(*args, **options)
                    except DBusError as error:
                        result = DBusError(error.name, error.text)
                    except Exception as error:  # pylint: disable=broad-except
                        result = AssertionError("".join(traceback.format_exception(error)))
                    sock.sendall(pickle.dumps(result))
        finally:
            os._exit(0)

    def send(self, method, *args, **options):
        """Has it begin; receive() then waits for the end."""
        self.sock.sendall(pickle.dumps((method, args, options)))

    def receive(self):
        with self.sock.makefile("rb") as pipe:
            result = pickle.load(pipe)
        if isinstance(result, Exception):
            raise result
        return result

    def __getattr__(self, method):
        if method not in dir(Program):
            raise AttributeError(method)

        def call(*args, **options):
            self.send(method, *args, **options)
            return self.receive()

        return call

    def kill(self):
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            self.sock.close()
            self.open.remove(self)
        self.pid = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()


TARGET4, TARGET6 = "198.51.100.77", "2001:db8:1::77"  # where nobody but Sender sends to


class Sender:
    """An app that sends all the time: by sockets that it has had from the start, by new ones, connected or
    not, and bound to an uplink; to both families."""

    def __init__(self, machine, uid=OWNER, device="eth1"):
        self.rounds = mmap.mmap(-1, 8)
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                machine.enter()
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
                die_with(parent)
                self._run(device)
            finally:
                os._exit(1)
        self.settle()

    def _run(self, device):
        old = self._sockets(device)
        while True:
            for sockets in (old, new := self._sockets(device)):
                for family, sock in sockets:
                    with contextlib.suppress(OSError):
                        sock.sendto(b"leak?", (TARGET6 if family == socket.AF_INET6 else TARGET4, 9))
            for _, sock in new:
                sock.close()
            self.rounds[:] = struct.pack("Q", self.count() + 1)
            time.sleep(0.002)

    @staticmethod
    def _sockets(device):
        found = []
        for family in (socket.AF_INET, socket.AF_INET6):
            for bound in (False, True):
                sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
                if bound:
                    with contextlib.suppress(OSError):
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
                found.append((family, sock))
        return found

    def count(self):
        return struct.unpack("Q", self.rounds[:])[0]

    def settle(self, rounds=3):
        """Until what it sends was begun after this call."""
        start = self.count()
        wait_for("the sender", lambda: self.count() >= start + rounds)

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Watch:
    """What of a Sender's leaves by the uplinks."""

    def __init__(self, machine, sender):
        self.capture, self.sender = Capture(machine), sender

    def leaks(self):
        """Since the last call, until now. (An ICMP error, to what was turned round for a socket that was closed
        meanwhile, is the kernel's.)"""
        self.sender.settle()
        return [p for p in self.capture.packets()
                if p[0].startswith("eth") and p[2] in (TARGET4, TARGET6) and p[3] not in (1, 58)]

    def prove(self):
        """The detector works: there is something to be seen, of both families."""
        wait_for("something that leaves", lambda: {p[2] for p in self.leaks()} == {TARGET4, TARGET6})

    def begin(self):
        """From now on nothing may."""
        self.leaks()

    def close(self):
        self.capture.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def admin(daemon):
    """Root's connection."""
    return Peer(daemon.socket)


def change(daemon, member, signature, *args):
    """By root."""
    with admin(daemon) as peer:
        return peer.call(member, signature, *args, interface=VPN_SERVICE)


def consent(daemon, who=f"uid:{OWNER}", everyone=False):
    change(daemon, "Consent", "sb", who, everyone)


def add(daemon, name, **options):
    return change(daemon, "AddVpn", "sa{sv}", name, variants(options))[0]


def vpns(daemon):
    """By name: all properties, and the path."""
    with admin(daemon) as peer:
        return {p[VPN]["Name"]: p[VPN] | {"path": path} for path, p in peer.managed().items()
                if VPN in p}


def wait_vpn(daemon, name, state):
    """Until it is in that state; None: until it is gone."""
    wait_for(f"VPN {name} to be {state}",
             lambda: vpns(daemon).get(name, {"State": None})["State"] == state)


def interfaces(machine):
    """Those that were handed out, and are still there."""
    return sorted(line.split(": ")[1] for line in machine.show("-o link show") if "wmtun" in line)


def udp(machine, uid, server=SERVER4, **options):
    """'x': it came back through a tunnel; an address: the server saw that; else the errno's name."""
    return machine.source(uid=uid, server=server, kind="udp", **options)


# For test files to import: with both back-ends, and a program whose user was consented to.

@pytest.fixture(name="machine", params=["rules", "maps"])
def machine_of_either_kind(request):
    m = Machine() if request.param == "rules" else BoundMachine()
    yield m
    m.close()


@pytest.fixture(name="app")
def consented_app(daemon):
    consent(daemon)
    with App(daemon) as app:
        yield app
