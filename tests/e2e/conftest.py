# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for all end-to-end tests; what they are made of is in harness.py."""

import os

import pytest

from harness import Instance, Machine


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: they make network namespaces", returncode=2)


@pytest.fixture
def machine():
    """A fresh machine with uplinks eth0 and eth1."""
    m = Machine()
    yield m
    m.close()


@pytest.fixture
def daemon(machine):
    """A daemon that runs on it."""
    instance = Instance(machine)
    try:
        instance.start()
        yield instance
    finally:
        instance.close()
