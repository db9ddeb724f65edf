# SPDX-License-Identifier: LGPL-2.1-or-later
"""A machine for `waymarkd --backend maps`, whatever back-end the other tests have.

Who imports `machine` has such a one; the `daemon` of conftest.py goes with it.
"""

import os
import pathlib
import shutil
import tempfile

import pytest

from harness import Machine


class BoundMachine(Machine):
    def __init__(self):
        super().__init__()
        self.bind()

    def pins(self):
        return [p for p in pathlib.Path(self.bpffs).rglob("*") if p.suffix != ".debug"]


@pytest.fixture
def machine():
    bound = BoundMachine()
    yield bound
    bound.close()


@pytest.fixture
def program():
    """A copy of the interpreter: an executable of the test's own, which everybody may run."""
    with tempfile.TemporaryDirectory(prefix="waymark-exe-") as folder:
        os.chmod(folder, 0o755)
        path = pathlib.Path(folder) / "app"
        shutil.copy(os.path.realpath("/usr/bin/python3"), path)
        yield path
