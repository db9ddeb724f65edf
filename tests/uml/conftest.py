# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests on another kernel use the programs of the end-to-end tests."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))


def pytest_collection_modifyitems():
    if os.geteuid() != 0:
        pytest.exit("the tests on another kernel need root: for namespaces around it", returncode=2)
