# SPDX-License-Identifier: LGPL-2.1-or-later
"""`make demo`: its claims hold, it fails when one does not, and nothing of it stays behind.

It runs on a computer of its own (a mount and a network namespace), so that what it would leave
there can be told from what others do meanwhile. Its orphans become children of this process.
"""

import contextlib
import ctypes
import os
import pathlib
import pty
import re
import select
import signal
import subprocess
import time

import pytest

from harness import ROOT, WAIT, WAYMARKD, checked, wait_for

PR_SET_CHILD_SUBREAPER = 36
SECONDS = 30.0
NOBODY = 65534
BUILD = {"WAYMARK_BUILD": "/mnt/build"}

# What of a computer is compared before and after.
SNAPSHOT = r"""
grep -v ' /tmp/waymark-' /proc/self/mountinfo  # of other tests
find /tmp /run /mnt -xdev | sort
ls -A / /etc /var/lib
md5sum /etc/passwd /etc/group /etc/hosts /etc/nsswitch.conf
ip netns list
ip -o link
for family in -4 -6; do ip $family rule; ip $family route show table all; done
nft list ruleset
"""


class Computer:
    """With nothing in /tmp and /run; the demo is in /mnt, where every user may read it."""

    def __init__(self):
        script = (
            "mount -t tmpfs -o mode=0755 test /mnt && mkdir /mnt/build && "
            f"cp -r '{ROOT}/demo' /mnt/demo && "
            f"mount --bind '{pathlib.Path(WAYMARKD).resolve().parent}' /mnt/build && "
            "mount -t tmpfs -o mode=1777 test /tmp && mount -t tmpfs test /run && "
            "echo ready && exec sleep infinity"
        )
        self.holder = subprocess.Popen(["unshare", "--mount", "--net", "sh", "-c", script],
                                       stdout=subprocess.PIPE, text=True)
        assert self.holder.stdout.readline() == "ready\n"
        self.enter = ["nsenter", f"--mount=/proc/{self.holder.pid}/ns/mnt",
                      f"--net=/proc/{self.holder.pid}/ns/net", "--wd=/"]

    def run(self, *command, **options):
        return subprocess.run([*self.enter, *command], check=False, capture_output=True, text=True,
                              timeout=SECONDS + WAIT, **options)

    def snapshot(self):
        result = self.run("sh", "-c", SNAPSHOT)
        assert result.stderr == ""
        return result.stdout

    def popen(self, *wrap, env=None, **options):
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return subprocess.Popen(
            [*self.enter, *wrap, "/mnt/demo/demo"], start_new_session=True,
            env=os.environ | BUILD | {"TERM": "xterm"} | (env or {}), **options)

    def demo(self, *wrap, **options):
        """Runs it whole."""
        process = self.popen(*wrap, **options)
        out, err = process.communicate(timeout=SECONDS + WAIT)
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()


def children():
    return {int(pid) for task in pathlib.Path("/proc/self/task").iterdir()
            for pid in (task / "children").read_text().split()}


@pytest.fixture
def computer():
    """One on which nothing may be left behind."""
    checked(ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
    c = Computer()
    try:
        mine, before = children(), c.snapshot()
        yield c
        assert children() == mine, "a process is left"
        assert c.snapshot() == before
    finally:
        c.close()


def read_until(process, marker):
    """What it printed, up to the line that has the marker."""
    seen = ""
    while marker not in seen:
        line = process.stdout.readline()
        assert line, f"it ended before {marker!r}: {seen}"
        seen += line
    return seen


def assert_whole(result):
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""
    claims = re.findall(r"^✓ ", result.stdout, re.MULTILINE)
    assert "✗" not in result.stdout and f"All {len(claims)} claims held." in result.stdout


def test_the_whole(computer):
    start = time.monotonic()
    result = computer.demo()
    assert time.monotonic() - start < SECONDS
    assert_whole(result)
    assert "\033" not in result.stdout
    # the steps that issue and README promise
    for text in ("alice$ curl -4 http://whoami.example/\n192.0.2.10\n",
                 "bob$ curl -4 http://whoami.example/\n198.51.100.10\n",
                 "carol$ curl -4 http://whoami.example/\n203.0.113.10\n",
                 "\n* Immediate connect fail for 2001:db8:80::80: Permission denied\n",
                 "\ninternet# ip link set lte down\n", "\nroot# waymark status\nwaymarkd ",
                 "\nroot# waymark explain --user bob ", "\nroot# waymark verify\nproved: "):
        assert text in result.stdout, text


def test_two_at_the_same_time(computer):
    processes = [computer.popen() for _ in range(2)]
    for process in processes:
        out, err = process.communicate(timeout=SECONDS + WAIT)
        assert_whole(subprocess.CompletedProcess([], process.returncode, out, err))


# Interrupted.

MOMENTS = ["Waymark:", "1. Linux alone", "waymarkd &", "user:alice wifi", "carol comes from office",
           "3. No way around", "--interface wifi -m", "echo hello", "ip link set lte down",
           "waymark status", "plugged in", "kill -KILL", "still comes from lte", "waymark verify"]


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c(computer, moment):
    with computer.popen() as process:
        read_until(process, moment)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=WAIT) == -signal.SIGINT
        assert process.stderr.read() == ""


@pytest.mark.parametrize("milliseconds", [0, 4, 8, 15, 25, 40, 70, 120])
def test_ctrl_c_before_there_is_anything_to_see(computer, milliseconds):
    with computer.popen() as process:
        time.sleep(milliseconds / 1000)
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(timeout=WAIT) == -signal.SIGINT


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", MOMENTS[2::5])
def test_signal_to_the_demo_alone(computer, number, moment):
    with computer.popen() as process:
        read_until(process, moment)
        process.send_signal(number)
        assert process.wait(timeout=WAIT) == -number
        assert process.stderr.read() == ""


def no_orphans(mine):
    for pid in children() - mine:
        os.waitpid(pid, os.WNOHANG)
    return children() == mine


def test_killed(computer):
    mine = children()
    with computer.popen() as process:
        read_until(process, "echo hello")
        process.kill()
    wait_for("the rest to end", lambda: no_orphans(mine))


def test_closed_pipe(computer):
    result = computer.run("bash", "-c", "/mnt/demo/demo | head -5; echo ${PIPESTATUS[0]}",
                          env=os.environ | BUILD)
    lines = result.stdout.splitlines()
    assert len(lines) == 6 and lines[0].startswith("Waymark:") and lines[5] == "141"
    assert result.stderr == ""


# The terminal.

def watch(computer, env, until=None):
    """What a terminal gets, whole or until Ctrl-C is typed at that text; and the exit code."""
    terminal, end = pty.openpty()
    process = computer.popen(stdin=end, stdout=end, stderr=end, env=env)
    os.close(end)
    seen, deadline = b"", time.monotonic() + SECONDS + WAIT
    # the end of a terminal is EIO
    with open(terminal, "rb", buffering=0) as stream, contextlib.suppress(OSError):
        while time.monotonic() < deadline:
            if select.select([stream], [], [], 0.1)[0]:
                seen += stream.read(65536)
            if until and until in seen.decode(errors="replace"):
                os.killpg(process.pid, signal.SIGINT)
                until = None
    return seen.decode(), process.wait(timeout=WAIT)


def test_terminal(computer):
    start = time.monotonic()
    seen, code = watch(computer, {"NO_COLOR": ""})
    assert code == 0, seen
    assert time.monotonic() - start < SECONDS
    assert "\033[32m✓" in seen and "\033[1mNETID" in seen
    # every line that turns a colour on turns it off
    assert all(line.count("\033[") == 2 * line.count("\033[0m") for line in seen.splitlines())


@pytest.mark.parametrize("env", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_terminal_without_colors(computer, env):
    seen, code = watch(computer, env, until="user:alice wifi")
    assert "\033" not in seen and code == -signal.SIGINT


# What goes wrong.

def test_without_root(computer):
    result = computer.demo("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
    assert result.returncode == 1 and result.stdout == ""
    assert "needs root: sudo make demo" in result.stderr


def test_without_programs(computer):
    result = computer.demo(env={"WAYMARK_BUILD": "/mnt/nowhere"})
    assert result.returncode == 1 and result.stdout == ""
    assert "/mnt/nowhere: run 'make' first" in result.stderr


@contextlib.contextmanager
def other_program(computer, name, script):
    """A folder in which one of the two programs is another, for WAYMARK_BUILD."""
    make = (f"mkdir /mnt/other && cd /mnt/other && ln -s /mnt/build/waymark* . && rm {name} &&"
            f" cat >{name} && chmod 755 {name}")
    assert computer.run("sh", "-c", make, input="#!/bin/sh\n" + script).returncode == 0
    yield {"WAYMARK_BUILD": "/mnt/other"}
    computer.run("rm", "-r", "/mnt/other")


def test_a_claim_that_does_not_hold(computer):
    script = """
    case "$*" in *user:guest*) exec /mnt/build/waymark assign user:guest lte ;; esac
    exec /mnt/build/waymark "$@"
    """
    with other_program(computer, "waymark", script) as env:
        result = computer.demo(env=env)
    assert result.returncode == 1
    assert "✗ guest is blocked, by the kernel\n  expected: " in result.stdout
    assert re.search(r"^2 of [0-9]+ claims did not hold.$", result.stdout, re.MULTILINE)


def test_a_leak_is_seen(computer):
    """bob is told to be blocked, and is not: the second witness has it."""
    script = """
    case "$*" in *user:bob*) exec /mnt/build/waymark assign user:bob lte --prefer ;; esac
    exec /mnt/build/waymark "$@"
    """
    with other_program(computer, "waymark", script) as env:
        result = computer.demo(env=env)
    assert result.returncode == 1
    assert "✗ not one of his packets went elsewhere\n" in result.stdout


def test_no_daemon(computer):
    with other_program(computer, "waymarkd", "echo out of order >&2; exit 1") as env:
        result = computer.demo(env=env)
    assert result.returncode == 1
    assert result.stderr == "out of order\ndemo: waymarkd did not start\n"
