# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark run` where systemd makes the cgroups: scopes of the system's manager and of a user's."""

import contextlib
import re

import pytest

from box import BUILD
from harness import PORT, SERVER4, wait_for

ALICE, BOB = 2001, 2002
ETH0, ETH1 = "10.0.0.2", "10.0.1.2"
PLAIN = f"{BUILD}/tests/e2e/programs/plain-static tcp {SERVER4} {PORT}"


@pytest.fixture(scope="module")
def box(box):  # pylint: disable=redefined-outer-name
    """Alice has a user manager, as after logging in; bob has none."""
    for name, uid in (("alice", ALICE), ("bob", BOB)):
        box.ok(f"useradd --uid {uid} --no-create-home --home-dir / {name}")
    box.ok(f"systemctl start user@{ALICE}")
    wait_for("her bus", lambda: box(f"test -S /run/user/{ALICE}/bus").code == 0)
    return box


@pytest.fixture(autouse=True)
def nothing_assigned(box):
    yield
    for selector in re.findall(r'"selector":"([^"]*)"', box.ok("waymark --json assignments")):
        box(f"waymark unassign {selector}")


def run(box, options, command=PLAIN, user=None):
    runtime = f"XDG_RUNTIME_DIR=/run/user/{ALICE}" if user == "alice" else "A=B"
    return box(f"env {runtime} waymark run {options} {command}", user)


def scopes(box):
    found = re.findall(r'"cgroup:([^"]*)"', box.ok("waymark --json assignments"))
    return [path for path in found if "waymark-run-" in path]


@pytest.mark.parametrize("user, place", [
    (None, "/system.slice/waymark-run-0-"),
    ("alice", f"/user.slice/user-{ALICE}.slice/user@{ALICE}.service/app.slice/waymark-run-{ALICE}-"),
])
@pytest.mark.parametrize("options", ["eth1", "--scope systemd eth1"])
def test_it_is_a_scope(box, user, place, options):
    result = run(box, options, "grep 0:: /proc/self/cgroup", user)
    assert result.code == 0 and re.search(f"{place}[0-9a-f]{{16}}.scope\n", result.out), result
    result = run(box, options, user=user)
    assert result.out.split()[1] == ETH1, result
    wait_for("the end", lambda: not scopes(box))


@pytest.mark.parametrize("user", [None, "alice"])
def test_none(box, user):
    assert run(box, "none", user=user).out.split()[1] == "EACCES"


@pytest.mark.parametrize("user", [None, "alice"])
def test_it_is_itself(box, user):
    assert run(box, "eth1", "sh -c 'exit 42'", user).code == 42
    assert run(box, "eth1", "/nonexistent", user).code == 127
    assert run(box, "nowhere", "true", user).code == 10
    assert run(box, "eth1", "sh -c 'kill -TERM $$'", user).code == -15
    wait_for("the end", lambda: not scopes(box))


def test_a_restart_of_the_daemon(box):
    with contextlib.ExitStack() as stack:
        script = (f"cd /run/user/{ALICE}; exec >/dev/null 2>&1; (echo $$ >pid; while ! test -e go; "
                  f"do sleep 0.1; done; {PLAIN} >out; exec sleep 1000) &")
        assert run(box, "eth1", f"sh -c '{script}'", "alice").code == 0
        stack.callback(box, f"systemctl --machine {ALICE}@ --user stop waymark-run-*.scope")
        wait_for("the run", lambda: len(scopes(box)) == 1)
        before = box.show("MainPID")
        box.ok("systemctl kill --signal KILL waymark")
        wait_for("another daemon", lambda: box.show("MainPID") not in ("0", before) and
                 box("waymark status").code == 0)
        assert len(scopes(box)) == 1
        box.ok(f"touch /run/user/{ALICE}/go")
        out = wait_for("its answer", lambda: box(f"cat /run/user/{ALICE}/out").out)
        assert out.split()[1] == ETH1
    wait_for("the end", lambda: not scopes(box))


def test_who_is_held_stays_held(box):
    box.ok(f"waymark assign uid:{ALICE} eth0")
    result = run(box, "eth1", user="alice")
    assert result.code == 4 and "`waymark run` is no way out" in result.err
    assert run(box, "eth0", user="alice").out.split()[1] == ETH0


def test_a_user_without_a_manager_is_told_what_to_do(box):
    """The daemon's sandbox has the cgroups read-only: they are systemd's here."""
    result = run(box, "eth1", user="bob")
    assert (result.code, result.out) == (4, "") and "--scope systemd" in result.err, result
    result = run(box, "--scope systemd eth1", user="bob")
    assert (result.code, result.out) == (4, "") and "user manager cannot be reached" in result.err
