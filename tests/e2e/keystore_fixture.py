# SPDX-License-Identifier: LGPL-2.1-or-later
"""waymark-keystored with folders of its own, and the users that speak to it."""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import tempfile

import keystore_client
from harness import TESTS, WAIT, WAYMARKD, Call, check_sanitizers, die_with, wait_for
from keystore_client import NO_ERROR, Person, answer, messages, request, talk

KEYSTORED = str(pathlib.Path(WAYMARKD).with_name("waymark-keystored"))
SYSTEM, VPN, WIFI, ROOT = 1000, 1016, 1010, 0
APP, STRANGER, READER = 10001, 10002, 10003
USER = "nobody"  # whom the program becomes
# passwords are cheap to try, and tried at once
CHEAP = ("--argon2-memory", "64", "--retry-delay", "0")
PASSWORD = b"correct horse \x00\xff battery"


def sanitized():
    return b"__asan_init" in pathlib.Path(KEYSTORED).read_bytes()


class Here:
    """Where harness.Call runs its functions: nowhere else."""

    @staticmethod
    def enter():
        pass


def call(function, *args, uid=0, seconds=WAIT):
    """What function(*args) returns in a process of that user."""
    return Call(Here, function, args, uid, seconds).result()


class Keystore:
    """One that runs, or has run: its state stays until close()."""

    def __init__(self, *options, user=USER, copy=None, wrap=(), env=None):
        self.options, self.user, self.wrap = options, user, list(wrap)
        self.env = os.environ | (env or {})
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="waymark-test-"))
        self.folder.chmod(0o755)
        self.runtime, self.state_dir = self.folder / "run", self.folder / "state"
        self.path = str(self.runtime / "keystore")
        self.process, self.people = None, {}
        if copy:
            copy_state(copy, self.state_dir)

    # The program.

    def command(self):
        return [KEYSTORED, "--runtime-dir", str(self.runtime), "--state-dir", str(self.state_dir),
                "--system-uid", str(SYSTEM), "--vpn-uid", str(VPN), "--wifi-uid", str(WIFI),
                *(["--user", self.user] if self.user else []), *self.options]

    def spawn(self, wrap=None):
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                (self.wrap if wrap is None else list(wrap)) + self.command(), stdout=log, stderr=log,
                env=self.env, preexec_fn=lambda: die_with(TESTS))
        return self

    def start(self, wrap=None):
        self.spawn(wrap)
        wait_for("waymark-keystored", lambda: self.ended() or self.answers())
        assert not self.ended(), self.log
        return self

    def answers(self):
        try:
            return self.ask(SYSTEM, "t") in (b"\1", b"\2", b"\3")
        except (FileNotFoundError, ConnectionRefusedError, PermissionError):  # not bound, listening, open to all
            return False

    def ended(self):
        return self.process.poll() is not None

    def stop(self, how=signal.SIGTERM):
        if self.process and not self.ended():
            self.process.send_signal(how)
            self.process.wait(timeout=WAIT)
        if self.process:
            assert self.process.returncode in (0, -signal.SIGKILL), (self.process.returncode, self.log[-4000:])
            check_sanitizers(self.log)
        return self

    def kill(self):
        return self.stop(signal.SIGKILL)

    def restart(self):
        return self.stop().start()

    def close(self):
        try:
            self.stop()
        finally:
            if self.process and not self.ended():
                self.process.kill()
                self.process.wait()
            for person in self.people.values():
                person.close()
            shutil.rmtree(self.folder)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @property
    def log(self):
        path = self.folder / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def pid(self):
        return self.process.pid

    def lines(self):
        """The log's lines of requests, from "uid:" on."""
        return re.findall(r"uid: -?\d+ action: .*", self.log)

    def open_files(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def status(self, field):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(text.split(field + ":")[1].split()[0])

    # Asking.

    def connect(self, uid):
        if uid not in self.people:
            self.people[uid] = Person(uid)
        return self.people[uid].connect(self.path)

    def say(self, uid, data, end=True):
        """The whole answer to these bytes."""
        return talk(self.connect(uid), data, end)

    def ask(self, uid, code, *parameters):
        return self.say(uid, request(code, *parameters))

    def code(self, uid, code, *parameters):
        """Of an answer that is one byte."""
        (number,) = self.ask(uid, code, *parameters)
        return number

    def ok(self, uid, code, *parameters):
        assert self.code(uid, code, *parameters) == NO_ERROR

    def get(self, uid, key):
        """The value, or the number that was answered instead."""
        data = self.ask(uid, "g", key)
        if data[0] != NO_ERROR:
            (number,) = data
            return number
        (value,) = messages(data)
        assert data == answer(NO_ERROR, value)
        return value

    def saw(self, uid, prefix=b""):
        data = self.ask(uid, "s", prefix)
        assert data[0] == NO_ERROR
        return sorted(messages(data))

    @property
    def state(self):
        return self.code(SYSTEM, "t")

    # On disk, as docs/keystore.md has it.

    def value_file(self, uid, key):
        return self.state_dir / "values" / f"{uid}_{key.hex()}"

    def grants_file(self, uid, key):
        return self.state_dir / "grants" / f"{uid}_{key.hex()}"

    @property
    def master_key_file(self):
        return self.state_dir / "masterkey"


def copy_state(source, target):
    """With owners."""
    subprocess.run(["cp", "-a", str(source), str(target)], check=True)


def opened(*options, **more):
    """A new one, with PASSWORD."""
    keystore = Keystore(*options, **more)
    try:
        keystore.start()
        keystore.ok(SYSTEM, "p", b"", PASSWORD)
    except BaseException:
        keystore.close()
        raise
    return keystore


def crowd(path, count, data, ready, go):
    """To be run as another user: so many connections that have sent that, until told to go on."""
    clients = [keystore_client.connect(path) for _ in range(count)]
    for client in clients:
        keystore_client.send(client, data)
    os.write(ready, b"x")
    os.read(go, 1)
    return len(clients)
