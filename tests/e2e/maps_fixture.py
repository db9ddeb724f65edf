# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine for `waymarkd --backend maps`: with a cgroup and a bpffs of the test's own."""

import itertools
import os
import pathlib
import subprocess
import tempfile

from bpf_fixture import cgroup2
from harness import TESTS, Machine, wait_for

numbers = itertools.count()


class BoundMachine(Machine):
    """Its processes are in a cgroup of its own, or in one below that. Units may be there, too."""

    def __init__(self):
        self.cgroup = self.place = cgroup2() / f"waymark-maps-{os.getpid()}-{next(numbers)}.slice"
        self.cgroup.mkdir()
        self.bpffs = tempfile.mkdtemp(prefix="waymark-bpf-")
        super().__init__()

    def enter(self):
        if os.getpid() != TESTS:
            (self.place / "cgroup.procs").write_text("0")
        super().enter()

    def below(self, name):
        """From now on processes begin in this cgroup below."""
        self.place = self.cgroup / name
        self.place.mkdir(exist_ok=True)
        return "/" + str(self.place.relative_to(cgroup2()))

    def options(self):
        return ["--backend", "maps", "--cgroup", str(self.cgroup), "--bpffs", self.bpffs]

    def pins(self):
        return [p for p in pathlib.Path(self.bpffs).rglob("*") if p.suffix != ".debug"]

    def close(self):
        super().close()
        subprocess.run(["umount", self.bpffs], check=False, capture_output=True)
        os.rmdir(self.bpffs)
        folders = [p for p in self.cgroup.rglob("*") if p.is_dir()]
        for folder in [*sorted(folders, reverse=True), self.cgroup]:
            wait_for(f"{folder} to be empty", lambda f=folder: not (f / "cgroup.procs").read_text())
            folder.rmdir()
