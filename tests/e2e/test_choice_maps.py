# SPDX-License-Identifier: LGPL-2.1-or-later
"""A process's choice of a network beside programs at the cgroup (`maps`).

By libwaymark, whose sockets are those of wm_socket(), and under the preload library by whoever makes a
socket: honoured where the process may choose, and not where an assignment holds it, by whatever that knows
it. What follows from that is seen in marks, and on the wire: in the address that a server sees.
"""

import pathlib
import shutil
import tempfile

import pytest

from harness import PORT, SERVER4, SERVER6, Instance
from library import EXPLICIT, LIBRARY, PROGRAMS, output
from maps_fixture import BoundMachine

USER = 3001
HELD = EXPLICIT | 52


class World:
    """A machine, its daemon, and copies of the programs, for executables of our own."""

    def __init__(self):
        self.machine = BoundMachine()
        self.daemon = Instance(self.machine)
        self.folder = tempfile.TemporaryDirectory(prefix="waymark-choice-")
        self.copies = pathlib.Path(self.folder.name)
        self.copies.chmod(0o755)
        for name in ("client", "plain"):
            shutil.copy(PROGRAMS / name, self.copies)

    def start(self):
        self.daemon.start()
        self.ids = {name: n["netid"] for name, n in self.daemon.networks().items()}
        self.selectors = {"uid": [f"uid:{USER}"],
                          "cgroup": [f"cgroup:{self.machine.below('app')}"],
                          "exe": [f"exe:{self.copies / name}" for name in ("client", "plain")]}
        self.machine.below("other")
        return self

    def close(self):
        self.daemon.close()
        self.machine.close()
        self.folder.cleanup()

    def client(self, words, preload=False, **options):
        """The lines of programs/client.c; a copy does not find the libraries of the build."""
        return output(self.daemon, self.copies / "client", *words.split(), uid=USER,
                      preload=preload, LD_LIBRARY_PATH=str(LIBRARY.parent),
                      **options).splitlines()

    def plain(self, *words, **options):
        """The mark and the outcome of programs/plain.c, under the preload library."""
        mark, outcome = output(self.daemon, self.copies / "plain", *words, uid=USER, preload=True,
                               **options).split()
        return None if mark == "-" else int(mark, 16), outcome


@pytest.fixture(scope="module", name="world")
def make_world():
    world = World()
    try:
        yield world.start()
    finally:
        world.close()


@pytest.fixture(name="assign", params=["uid", "cgroup", "exe"])
def make_assign(world, request):
    """A function that assigns what runs from now on, by one kind of selector."""
    selectors = world.selectors[request.param]
    world.machine.below("app" if request.param == "cgroup" else "other")

    def assign(*words):
        for selector in selectors:
            world.daemon.ok("assign", selector, *words)

    yield assign
    world.machine.below("other")
    for selector in selectors:
        world.daemon("unassign", selector)


# libwaymark.

def test_a_choice_is_honoured(world):
    one, other = world.ids["eth1"], world.ids["eth0"]
    for name, sources in (("eth0", ("10.0.0.2", "fd00::2")), ("eth1", ("10.0.1.2", "fd00:1::2"))):
        netid = world.ids[name]
        for server, source in zip((f"::ffff:{SERVER4}", SERVER6), sources):
            assert world.client(f"set {netid} get type tcp socket ask {server} {PORT}") == \
                ["ok", str(netid), hex(EXPLICIT | netid), source]
    assert world.client(f"set {one} socket set {other} socket set 0 socket get") == \
        ["ok", hex(EXPLICIT | one), "ok", hex(EXPLICIT | other), "ok", "0", "0"]
    assert world.client("set none socket socket4 set 9999 get") == \
        ["ok", "EPERM", "EPERM", "ENONET", "none"]


def test_it_is_inherited_survives_what_it_should_and_is_forgotten(world):
    one = world.ids["eth1"]
    on = hex(EXPLICIT | one)
    assert world.client(f"set {one} fork get socket fork socket") == ["ok", str(one), on, on]
    assert world.client(f"set {one} exec get socket") == ["ok", "0", "0"], "only this program's"
    assert world.client(f"set-exec {one} exec get socket fork exec socket") == \
        ["ok", str(one), on, on]
    assert world.client("get socket") == ["0", "0"], "it went with the process"
    assert world.client("get socket", network="eth1") == [str(one), on]


def test_who_prefers_may_choose(world, assign):
    one, other = world.ids["eth1"], world.ids["eth0"]
    assign("eth1", "--prefer")
    assert world.client(f"type tcp socket ask {SERVER6} {PORT}") == [hex(one), "fd00:1::2"]
    assert world.client(f"set {other} type tcp socket ask {SERVER6} {PORT} set 0 socket") == \
        ["ok", hex(EXPLICIT | other), "fd00::2", "ok", hex(one)]


def test_who_is_held_may_not(world, assign):
    one, other = world.ids["eth1"], world.ids["eth0"]
    held = hex(EXPLICIT | one)
    assign("eth1")
    assert world.client(f"set {other} get type tcp socket ask {SERVER6} {PORT}") == \
        ["EPERM", "0", held, "fd00:1::2"]
    assert world.client(f"set {one} socket set 0 socket") == ["ok", held, "ok", held]
    assert world.client(f"type tcp socket setsock {other} mark ask {SERVER6} {PORT}") == \
        [held, "EPERM", held, "fd00:1::2"]
    # a choice that was made before it was held, or by who started it, gives way
    assert world.client(f"get type tcp socket ask {SERVER6} {PORT}", network="eth0") == \
        [str(other), held, "fd00:1::2"]
    assign("none")
    assert world.client(f"set {one} set {other} socket") == ["EPERM", "EPERM", hex(HELD)]
    assert world.client("socket", network="eth0") == [hex(HELD)]


# The preload library.

@pytest.mark.parametrize("kind", ["tcp", "udp", "sendto", "sendmsg", "sendmmsg"])
@pytest.mark.parametrize("mode", ["main", "fork"])
def test_preload(world, kind, mode):
    for name, source in (("eth0", "10.0.0.2"), ("eth1", "10.0.1.2")):
        assert world.plain(kind, SERVER4, PORT, mode, network=name) == \
            (EXPLICIT | world.ids[name], source)
    assert world.plain(kind, SERVER4, PORT, mode, network="none") == (None, "EPERM")
    assert world.plain(kind, SERVER4, PORT, mode, network="nosuch") == (None, "ENONET")
    assert world.plain(kind, SERVER4, PORT, mode) == (0, "10.0.0.2")


@pytest.mark.parametrize("kind", ["tcp", "udp", "sendto"])
def test_preload_of_the_assigned(world, assign, kind):
    one, other = world.ids["eth1"], world.ids["eth0"]
    assign("eth1", "--prefer")
    assert world.plain(kind, SERVER4, PORT) == (one, "10.0.1.2")
    assert world.plain(kind, SERVER4, PORT, network="eth0") == (EXPLICIT | other, "10.0.0.2")
    assign("eth1")
    for choice in ({}, {"network": "eth0"}, {"network": "eth1"}):
        assert world.plain(kind, SERVER4, PORT, **choice) == (EXPLICIT | one, "10.0.1.2")
    assign("none")
    for choice in ({}, {"network": "eth0"}):
        assert world.plain(kind, SERVER4, PORT, **choice) == (HELD, "EACCES")


def test_the_two_libraries_have_one_choice(world):
    one, other = world.ids["eth1"], world.ids["eth0"]
    assert world.client(f"plain set {one} plain socket fork plain set 0 plain", preload=True) == \
        ["0", "ok", *[hex(EXPLICIT | one)] * 3, "ok", "0"]
    assert world.client(f"set-exec {one} exec plain get set {other} plain", preload=True) == \
        ["ok", hex(EXPLICIT | one), str(one), "ok", hex(EXPLICIT | other)]
