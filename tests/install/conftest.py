# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures of the installation tests; they use the machines of the end-to-end tests."""

import os
import pathlib
import sys

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "e2e"))


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        pytest.exit("the installation tests need root: they boot a container", returncode=2)


@pytest.fixture(scope="module")
def host():
    """A machine with uplinks eth0 and eth1, on which a box may boot."""
    from harness import Machine

    m = Machine()
    yield m
    m.close()


@pytest.fixture(scope="module")
def box(host):
    """This Debian, booted by systemd, with waymark installed, enabled and running."""
    from box import Box

    b = Box(host)
    try:
        b.boot()
        b.install()
        b.ok("systemctl enable --now waymark")
        yield b
    finally:
        b.close()
