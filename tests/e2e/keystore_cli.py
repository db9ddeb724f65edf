# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark keystore …` as a user, with standard input from a pipe, or with a person at a terminal."""

import fcntl
import json
import os
import pathlib
import select
import subprocess
import termios
from dataclasses import dataclass

from harness import (CLONE_NEWNS, MS_BIND, MS_PRIVATE, MS_REC, WAIT, WAYMARK, check_sanitizers,
                     checked, die_with, libc, wait_for)

TESTS = os.getpid()


def environment(runtime):
    env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": str(runtime)}
    return env | {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}


@dataclass
class Done:
    code: int
    raw: bytes
    err: str

    @property
    def out(self):
        return self.raw.decode()

    @property
    def json(self):
        return json.loads(self.raw)


def waymark(runtime, uid, *args, given=b"", enter=None):
    """What became of it."""
    def prepare():
        die_with(TESTS)
        if enter:
            enter()
        os.setresuid(uid, uid, uid)

    done = subprocess.run([WAYMARK, "keystore", *map(str, args)], env=environment(runtime),
                          input=given, timeout=WAIT * 3, capture_output=True, check=False,
                          preexec_fn=prepare)
    err = done.stderr.decode()
    check_sanitizers(err)
    return Done(done.returncode, done.stdout, err)


class Accounts:
    """A user database in which `waymark` has that uid; enter() is for a child."""

    def __init__(self, folder, uid):
        self.path = pathlib.Path(folder) / "passwd"
        text = pathlib.Path("/etc/passwd").read_text(encoding="utf-8")
        lines = [line for line in text.splitlines() if not line.startswith("waymark:")]
        lines += [f"waymark:x:{uid}:{uid}::/:/bin/false", ""]
        self.path.write_text("\n".join(lines), encoding="utf-8")

    def enter(self):
        checked(libc.unshare(CLONE_NEWNS))
        checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        checked(libc.mount(os.fsencode(self.path), b"/etc/passwd", None, MS_BIND, None))


class Terminal:
    """A person who runs it at a terminal. `out` is what the person sees."""

    def __init__(self, runtime, uid, *args, stdout=None):
        self.leader, follower = os.openpty()
        self.out = ""

        def prepare():
            die_with(TESTS)
            fcntl.ioctl(follower, termios.TIOCSCTTY, 0)
            os.setresuid(uid, uid, uid)

        os.fchown(follower, uid, -1)
        self.process = subprocess.Popen(
            [WAYMARK, "keystore", *map(str, args)], env=environment(runtime), stdin=follower,
            stdout=follower if stdout is None else stdout, stderr=follower, preexec_fn=prepare,
            start_new_session=True)
        self.follower = follower

    def _read(self):
        self.out += os.read(self.leader, 65536).decode()

    def sees(self, text):
        """Waits for that."""
        def is_there():
            if text not in self.out:
                os.set_blocking(self.leader, False)
                try:
                    self._read()
                except BlockingIOError:
                    pass
            return text in self.out

        wait_for(f"{text!r} on the terminal", is_there)
        return self

    def hides(self):
        """Is what is typed not shown?"""
        return not termios.tcgetattr(self.follower)[3] & termios.ECHO

    def types(self, text):
        os.write(self.leader, text.encode())
        select.select([self.follower], [], [], 0)  # a worker of the kernel's carries it over: now it has
        return self

    def ends(self):
        """The exit code."""
        code = self.process.wait(timeout=WAIT)
        os.set_blocking(self.leader, False)
        try:
            while True:
                self._read()
        except (BlockingIOError, OSError):
            pass
        check_sanitizers(self.out)
        return code

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.leader)
        os.close(self.follower)
