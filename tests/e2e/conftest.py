# SPDX-License-Identifier: LGPL-2.1-or-later
"""Fixtures for all end-to-end tests; what they are made of is in harness.py."""

import contextlib
import os
import signal

import pytest

import harness
from harness import Instance, Machine, Namespace

BACKEND = harness.BACKEND


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """What a test says of rules per user, or of the guard in nftables, is so with that back-end."""
    harness.BACKEND = "rules" if item.get_closest_marker("rules") else BACKEND


def pytest_configure(config):
    """Also who is terminated tidies up. And under nohup or in the background of a script, tests are told of a
    hang-up and of an interrupt as ever."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    config.addinivalue_line("markers", "rules: of the back-end rules alone")


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        pytest.exit("the end-to-end tests need root: they make network namespaces", returncode=2)


@pytest.fixture(scope="session", autouse=True)
def nothing_left_behind(request):
    """What a test forgot, or could not close because it failed, goes when all is over."""
    yield
    forgotten = [*Instance.open, *Namespace.open]
    for thing in forgotten:
        with contextlib.suppress(AssertionError):
            thing.close()
    assert request.session.testsfailed or not forgotten, forgotten


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
