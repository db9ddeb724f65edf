# SPDX-License-Identifier: LGPL-2.1-or-later
"""What cgroup:, unit: and exe: selectors mean, while cgroups and mounts come and go; who a process is."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess

import pytest

from harness import WAYMARKD, WAIT, checked, libc, wait_for, CLONE_NEWNS, MS_PRIVATE, MS_REC

TOOL = pathlib.Path(WAYMARKD).parents[1] / "tests/selectors-tool"


def cgroup2():
    for line in pathlib.Path("/proc/self/mounts").read_text().splitlines():
        _, point, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(point)
    raise AssertionError("cgroup2 is not mounted")


class Tool:
    """The selectors of a machine; where `enter` says, in another mount namespace."""

    def __init__(self, enter=None):
        self.process = subprocess.Popen([TOOL], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, preexec_fn=enter)

    def ask(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def apps(self, command, result=None):
        """What the selectors mean: ids of cgroups, (dev, inode) of executables."""
        answer = self.ask(command)
        assert answer["result"] >= 0, answer
        assert result is None or answer["result"] == result
        return {name: {tuple(app) if app[0] else app[1] for app in apps}
                for name, apps in answer["apps"].items()}

    def until(self, what):
        """Dispatches until the selectors mean that."""
        apps = None
        while apps != what:
            apps = self.apps("dispatch")  # fails when nothing comes any more

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(WAIT) == 0


@pytest.fixture
def tool():
    t = Tool()
    yield t
    t.close()


@pytest.fixture
def tree():
    """A slice of this test's own, as a service manager would have it."""
    top = cgroup2() / f"waymarktest{os.getpid()}.slice"
    top.mkdir()
    yield top
    for folder, _, _ in os.walk(top, topdown=False):
        wait_for(f"{folder} to be empty", lambda path=folder: removed(path))


def removed(path):
    with contextlib.suppress(OSError):
        os.rmdir(path)
    return not os.path.exists(path)


def number(path):
    """A cgroup's id is its inode."""
    return path.stat().st_ino


@contextlib.contextmanager
def sleeping(cgroup, command=("sleep", "1000")):
    """A process in that cgroup."""
    process = subprocess.Popen(
        command, preexec_fn=lambda: (cgroup / "cgroup.procs").write_text(str(os.getpid())))
    yield process
    process.kill()
    process.wait()


def test_cgroup_comes_and_goes(tool, tree):
    name = f"cgroup:/{tree.name}/a/b"
    assert tool.apps(f"update {name}") == {name: set()}
    (tree / "a").mkdir()
    (tree / "a/b").mkdir()
    tool.until({name: {number(tree / "a/b")}})
    first = number(tree / "a/b")
    (tree / "a/b").rmdir()
    tool.until({name: set()})
    (tree / "a/b").mkdir()
    assert number(tree / "a/b") != first
    tool.until({name: {number(tree / "a/b")}})
    (tree / "a/b").rmdir()
    (tree / "a").rmdir()
    tool.until({name: set()})


def test_root(tool):
    assert tool.apps("update cgroup:/ unit:-.slice") == {
        "cgroup:/": {number(cgroup2())}, "unit:-.slice": {number(cgroup2())}}


def test_units_come_and_go(tool, tree):
    unit, inner = "waymarktest.service", f"{tree.name[:-6]}-inner.slice"
    names = [f"unit:{unit}", f"unit:{inner}", f"unit:{tree.name}"]
    system = tree / unit
    nested = tree / inner / unit
    user = tree / "user@5.service/app.slice" / unit
    system.mkdir()

    def meaning():
        return {names[0]: {number(p) for p in (system, nested, user) if p.exists()},
                names[1]: {number(p) for p in (nested.parent,) if p.exists()},
                names[2]: {number(tree)}}

    assert tool.apps("update " + " ".join(names)) == meaning()
    for path in (nested, user):
        path.mkdir(parents=True)
        tool.until(meaning())
    for path in (system, nested, user):
        path.rmdir()
        tool.until(meaning())
    nested.parent.rmdir()
    tool.until(meaning())
    nested.mkdir(parents=True)
    tool.until(meaning())
    assert tool.apps(f"update {names[2]}") == {names[2]: {number(tree)}}


def test_no_units(tool, tree):
    """Directories of that name where no manager puts a unit: in a container, below a service."""
    unit = "waymarktest.service"
    for folder in ("box.scope/system.slice", "a.service", "plain"):
        (tree / folder / unit).mkdir(parents=True)
    assert tool.apps(f"update unit:{unit}") == {f"unit:{unit}": set()}
    (tree / unit).mkdir()
    tool.until({f"unit:{unit}": {number(tree / unit)}})


def test_escaped_unit(tool, tree):
    (tree / "_cpu.waymarktest.service").mkdir()
    assert tool.apps("update unit:cpu.waymarktest.service") == {
        "unit:cpu.waymarktest.service": {number(tree / "_cpu.waymarktest.service")}}


def test_process(tool, tree, tmp_path):
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    service = tree / "a.service"
    (service / "below").mkdir(parents=True)
    tool.apps(f"update exe:{program} unit:a.service cgroup:/{tree.name} uid:0")
    with sleeping(service / "below", (program, "1000")) as process:
        answer = tool.ask(f"process {process.pid}")
        st = program.stat()
        assert answer == {
            "result": 0, "uid": 0, "cgroup": f"/{tree.name}/a.service/below",
            "cgroup_id": number(service / "below"), "exe": [st.st_dev, st.st_ino],
            "holds": f"exe:{program}", "step": "exe"}
        tool.apps(f"update unit:a.service cgroup:/{tree.name} uid:0")
        answer = tool.ask(f"process {process.pid}")
        assert (answer["holds"], answer["step"]) == ("unit:a.service", "cgroup")
        tool.apps("update uid:0")
        assert tool.ask(f"process {process.pid}")["step"] == "uid"
        gone = process.pid
    assert tool.ask(f"process {gone}")["result"] < 0


def test_upgrade_while_it_runs(tool, tree, tmp_path):
    """The old file means the program as long as somebody runs it, and no longer."""
    program, new = tmp_path / "program", tmp_path / "program.new"
    shutil.copy("/bin/sleep", program)
    name = f"exe:{program}"
    old = (os.stat(program).st_dev, os.stat(program).st_ino)
    assert tool.apps(f"update {name}") == {name: {old}}
    with sleeping(tree, (program, "1000")) as process:
        shutil.copy("/bin/sleep", new)
        new.rename(program)
        now = (os.stat(program).st_dev, os.stat(program).st_ino)
        tool.until({name: {old, now}})
        assert tool.ask(f"process {process.pid}")["holds"] == name
        assert tool.apps("scan", 0) == {name: {old, now}}
    assert tool.apps("scan", 1) == {name: {now}}


def own_mounts():
    checked(libc.unshare(CLONE_NEWNS))
    checked(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))


def test_mounts(tmp_path):
    """One folder at two paths has one watch; what is mounted over one is seen when asked for."""
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()

    def enter():
        own_mounts()
        checked(libc.mount(bytes(tmp_path / "a"), bytes(tmp_path / "b"), None, 0x1000, None))

    tool = Tool(enter)
    names = [f"exe:{tmp_path}/{folder}/x" for folder in "abc"]
    assert tool.apps("update " + " ".join(names)) == dict.fromkeys(names, set())
    shutil.copy("/bin/sleep", tmp_path / "a/x")
    st = os.stat(tmp_path / "a/x")
    there = {(st.st_dev, st.st_ino)}
    tool.until({names[0]: there, names[1]: there, names[2]: set()})
    tool.apps(f"update {names[1]} {names[2]}")  # the watch of the other stays
    (tmp_path / "a/x").unlink()
    tool.until({names[1]: set(), names[2]: set()})
    shutil.copy("/bin/sleep", tmp_path / "a/x")
    st = os.stat(tmp_path / "a/x")
    there = {(st.st_dev, st.st_ino)}
    tool.until({names[1]: there, names[2]: set()})
    subprocess.run(["nsenter", f"--mount=/proc/{tool.process.pid}/ns/mnt", "mount", "--bind",
                    tmp_path / "a", tmp_path / "c"], check=True)
    assert tool.apps("refresh", 1) == {names[1]: there, names[2]: there}
    (tmp_path / "a/x").unlink()
    tool.until({names[1]: set(), names[2]: set()})
    tool.close()
