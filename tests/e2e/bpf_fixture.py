# SPDX-License-Identifier: LGPL-2.1-or-later
"""The BPF programs in a cgroup and a bpffs of the test's own, driven through tests/e2e/bpf-tool.c."""

import ctypes
import itertools
import os
import pathlib
import platform
import signal
import struct
import subprocess
import tempfile

from harness import (CLONE_NEWNET, CLONE_NEWNS, MS_PRIVATE, MS_REC, WAYMARKD, cgroup2, checked, libc,
                     wait_for)

TOOL = str(pathlib.Path(WAYMARKD).parents[1] / "tests/bpf-tool")
SENDER = str(pathlib.Path(WAYMARKD).parents[1] / "tests/bpf-sender")

PREFER, REQUIRE, NONE = 1, 2, 3                        # enum socket_strength
FIRST, EXEMPT, LOCKDOWN, PROTECTABLE = 1, 2, 4, 8      # enum socket_policy_flag
VPN, SECURE, USABLE = 1, 2, 8                          # enum socket_network_flag
EXPLICIT, PROTECTED, SYSTEM = 0x10000, 0x20000, 0xC0000
UNREACHABLE = 52
APPLICATION = 10000  # the first uid without permission SYSTEM

numbers = itertools.count()


class Refused(Exception):
    pass


class Tool:
    """A running bpf-tool."""

    def __init__(self, place, namespace, wrap=()):
        def prepare():
            checked(libc.setns(place.mounts, CLONE_NEWNS))
            checked(libc.setns(namespace.fd, CLONE_NEWNET))

        self.place = place
        self.process = subprocess.Popen([*wrap, TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=prepare)

    def __call__(self, *words):
        self.process.stdin.write(" ".join(str(w) for w in words) + "\n")
        self.process.stdin.flush()
        verdict, _, rest = self.process.stdout.readline().rstrip("\n").partition(" ")
        if verdict != "ok":
            raise Refused(rest)
        return rest

    def open(self):
        return self("open", self.place.cgroup, self.place.fs)

    def commit(self, enabled=1, mark_all=0, default=0):
        self("commit", enabled, mark_all, default, APPLICATION)

    def stats(self, app):
        """By netId: (packets out, bytes out, packets in, bytes in, drops by reason)."""
        rows = [tuple(int(n) for n in row.split(",")) for row in self("stats").split()]
        return {row[1]: row[2:] for row in rows if row[0] == app}

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def close(self):
        self.process.stdin.close()
        assert self.process.wait() == 0  # a sanitizer's complaint is another number
        self.process.stdout.close()


class Place:
    """A cgroup and a bpffs. What is pinned lasts until close(), whoever dies."""

    def __init__(self):
        self.cgroup = cgroup2() / f"waymark-test-{os.getpid()}-{next(numbers)}"
        self.cgroup.mkdir()
        self.folder = tempfile.TemporaryDirectory(prefix="waymark-bpf-")
        self.fs = pathlib.Path(self.folder.name)
        self.tools = []
        holder = subprocess.Popen(["sleep", "infinity"], preexec_fn=self._mount)
        self.mounts = os.open(f"/proc/{holder.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        holder.kill()
        holder.wait()

    def _mount(self):
        checked(libc.unshare(CLONE_NEWNS))
        checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        checked(libc.mount(b"bpf", str(self.fs).encode(), b"bpf", 0, None))

    def tool(self, namespace, wrap=()):
        tool = Tool(self, namespace, wrap)
        self.tools.append(tool)
        return tool

    def child(self, name):
        path = self.cgroup / name
        path.mkdir()
        return path

    def shell(self, command):
        """Its output, run where the bpffs can be seen."""
        return subprocess.run(["sh", "-c", command], check=True, text=True, capture_output=True,
                              cwd="/", preexec_fn=lambda: (
                                  checked(libc.setns(self.mounts, CLONE_NEWNS)),
                                  os.chdir(self.fs))).stdout

    def pins(self):
        return sorted(self.shell("find . -mindepth 1 ! -name '*.debug'").split())

    def close(self):
        for tool in self.tools:
            if tool.process.returncode is None:
                tool.close()
        os.close(self.mounts)
        self.folder.cleanup()
        folders = [p for p in self.cgroup.rglob("*") if p.is_dir()]
        for folder in [*sorted(folders, reverse=True), self.cgroup]:
            wait_for(f"{folder} to be empty", lambda f=folder: not (f / "cgroup.procs").read_text())
            folder.rmdir()


def inside(cgroup, function, uid=0):
    """A function that does so as that user in that cgroup: for Namespace.call()."""
    def go(*args):
        (cgroup / "cgroup.procs").write_text("0")
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        return function(*args)

    return go


# Somebody else's programs: bpf(2) by hand, for libbpf's tools are not ours to rely on.

SYS_BPF = {"x86_64": 321, "aarch64": 280}
PROG_LOAD, PROG_ATTACH, PROG_QUERY = 5, 8, 16
CGROUP_SOCK, INET_SOCK_CREATE, INET_EGRESS, ALLOW_MULTI = 9, 2, 1, 2


def bpf(command, attributes):
    buffer = ctypes.create_string_buffer(attributes.ljust(128, b"\0"), 128)
    result = libc.syscall(SYS_BPF[platform.machine()], command, buffer, 128)
    checked(result)
    return result, buffer.raw


def attach_foreign(cgroup):
    """A program that lets every socket pass stands at the cgroup; the fd of the program."""
    code = struct.pack("<BBhi", 0xB7, 0, 0, 1) + struct.pack("<BBhi", 0x95, 0, 0, 0)  # r0 = 1; exit
    text, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack("<IIQQIIQII16sII", CGROUP_SOCK, 2, ctypes.addressof(text),
                             ctypes.addressof(licence), 0, 0, 0, 0, 0, b"foreign", 0,
                             INET_SOCK_CREATE)
    program, _ = bpf(PROG_LOAD, attributes)
    folder = os.open(cgroup, os.O_RDONLY)
    bpf(PROG_ATTACH, struct.pack("<IIII", folder, program, INET_SOCK_CREATE, ALLOW_MULTI))
    os.close(folder)
    return program


def attached(cgroup, kind=INET_SOCK_CREATE):
    """How many programs of this kind stand at the cgroup itself."""
    folder = os.open(cgroup, os.O_RDONLY)
    _, raw = bpf(PROG_QUERY, struct.pack("<IIIIQI", folder, kind, 0, 0, 0, 0))
    os.close(folder)
    return struct.unpack_from("<I", raw, 24)[0]
