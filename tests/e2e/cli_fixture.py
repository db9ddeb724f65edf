# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for the tests of waymark(1): machines that last for a module, since most of these tests
ask much and change little."""

import pytest

from harness import Instance, Machine


def words_of(line):
    """As a shell would split it, as far as the tests need it."""
    return [word.strip('"') for word in line.split()]


@pytest.fixture(scope="module")
def machine():
    m = Machine()
    yield m
    m.close()


@pytest.fixture
def stopped(machine):
    """A daemon that was not started."""
    instance = Instance(machine)
    yield instance
    instance.close()


@pytest.fixture
def waymark(stopped):
    return stopped.start()


@pytest.fixture(scope="module")
def unchanged():
    """A daemon for tests that change nothing; on a machine of its own, which has only one."""
    m = Machine()
    instance = Instance(m)
    try:
        yield instance.start()
    finally:
        instance.close()
        m.close()
