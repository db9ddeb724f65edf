# SPDX-License-Identifier: LGPL-2.1-or-later
"""That the tests would notice: what a daemon leaves, says or returns when it ends, fails them."""

import os
import signal
import subprocess
import sys
import textwrap

import pytest

import harness
from harness import Instance, Namespace, check_sanitizers, wait_for


@pytest.fixture
def hermit():
    namespace = Namespace()
    yield namespace
    namespace.close()


COMPLAINTS = [
    "==7==ERROR: AddressSanitizer: heap-use-after-free on address 0x1",
    "==7==ERROR: LeakSanitizer: detected memory leaks",
    "../src/a.c:5:3: runtime error: signed integer overflow",
    "SUMMARY: UndefinedBehaviorSanitizer: undefined-behavior a.c:5:3",
]


@pytest.mark.parametrize("text,code", [*((text, 0) for text in COMPLAINTS), ("", 1), ("", 23),
                                       ("", 134)])
def test_a_daemon_that_ends_badly_fails_the_test(hermit, monkeypatch, text, code):
    daemon = Instance(hermit)
    stand_in = daemon.folder / "waymarkd"
    stand_in.write_text(f"#!/bin/sh\ncase $* in *--panic-off*) exit;; esac\n"
                        f"trap 'echo \"{text}\" >&2; exit {code}' TERM\n"
                        "echo ready\nwhile :; do sleep 0.05; done\n")
    stand_in.chmod(0o755)
    monkeypatch.setattr(harness, "WAYMARKD", str(stand_in))
    daemon.spawn()
    wait_for("the stand-in", lambda: "ready" in daemon.log)
    with pytest.raises(AssertionError):
        daemon.close()
    assert not daemon.folder.exists() and daemon not in Instance.open


def test_what_a_healthy_daemon_says_is_no_complaint(hermit):
    daemon = Instance(hermit).start()
    daemon.stop()
    check_sanitizers(daemon.log)
    daemon.close()


def test_nothing_outlives_tests_that_are_killed(tmp_path):
    """The daemon and whoever holds a connection go with pytest, whatever ends it."""
    script = tmp_path / "test_forever.py"
    script.write_text(textwrap.dedent(f"""
        import sys
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from harness import Instance, Namespace
        namespace = Namespace()
        daemon = Instance(namespace).start()
        call = namespace.start_call(lambda: __import__("time").sleep(60))
        print(daemon.folder, daemon.process.pid, call.pid, flush=True)
        call.result()
    """))
    tests = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    folder, *pids = tests.stdout.readline().split()
    tests.send_signal(signal.SIGKILL)
    tests.communicate()
    wait_for("all to go", lambda: not [pid for pid in pids if is_running(pid)])
    subprocess.run(["rm", "-r", folder], check=True)  # of which only the folder is left


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False
