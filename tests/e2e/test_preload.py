# SPDX-License-Identifier: LGPL-2.1-or-later
"""libwaymark-preload.so: programs that know nothing of Waymark, on the network that is theirs.

Marks are read in the program, packets are captured on every interface. What the library cannot
cover is shown to be so.
"""

import contextlib
import itertools
import socket

import pytest

from harness import PORT, SERVER4, SERVER6, WAIT, Capture, Instance, Machine, wait_for
from library import (EXPLICIT, PERMISSION_SYSTEM, PROTECTED, client, output, pages, plain,
                     preloaded, sanitizers, start)

USER, OTHER = 3001, 3002
ROOTS = EXPLICIT | PROTECTED | PERMISSION_SYSTEM
MAPPED = f"::ffff:{SERVER4}"
SOURCES = {SERVER4: "10.0.1.2", SERVER6: "fd00:1::2", MAPPED: "10.0.1.2"}
PYTHON = "/usr/bin/python3"
HEAD = "import os, socket, sys\nSO_MARK = 36\n"


@pytest.fixture(scope="module", name="world")
def make_world():
    machine = Machine()
    for space in (machine, machine.router):
        space.run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"])
    daemon = Instance(machine, "--backend", "rules")
    try:
        yield daemon.start()
    finally:
        daemon.close()
        machine.close()


@pytest.fixture(name="ids")
def netids(world):
    return {name: network["netid"] for name, network in world.networks().items()}


@contextlib.contextmanager
def wire(machine):
    """A function: by which interfaces packets went to the servers since the last time."""
    def quiet():  # what is over has said its last word: nothing in between, but TIME-WAIT
        return not machine.run(["ss", "-Htn", "state", "connected", "exclude", "time-wait"]).stdout

    def left_by():
        wait_for("the end of connections", quiet)
        return {packet[0] for packet in capture.packets() if packet[2] in (SERVER4, SERVER6)}

    wait_for("the end of connections", quiet)
    capture = Capture(machine)
    try:
        yield left_by
    finally:
        capture.close()


@pytest.fixture(name="left_by")
def make_wire(world):
    with wire(world.machine) as left_by:
        yield left_by


def python(daemon, script, *arguments, preload=True, **options):
    """The words that a script of Python's prints."""
    return output(daemon, PYTHON, "-c", HEAD + script, *arguments, preload=preload,
                  **options).split()


# The detector.

@pytest.mark.parametrize("kind", ["tcp", "udp", "sendto", "ping"])
def test_without_the_library_nothing_is_marked(world, left_by, kind):
    mark, outcome = plain(world, kind, SERVER4, PORT, uid=USER, network="eth1", preload=False)
    assert (mark, outcome) == (0, "sent" if kind == "ping" else "10.0.0.2")
    assert left_by() == {"eth0"}


# Chosen by the environment.

WAYS = [(kind, server) for server in (SERVER4, SERVER6, MAPPED)
        for kind in ("tcp", "fastopen", "udp", "sendto", "sendmsg", "sendmmsg", "ping")
        if (kind, server) != ("ping", MAPPED)]  # ICMPv6 has no mapped addresses


@pytest.mark.parametrize("mode", ["main", "thread", "fork"])
@pytest.mark.parametrize("kind, server", WAYS)
def test_the_network_of_the_process(world, ids, left_by, kind, server, mode):
    mark, outcome = plain(world, kind, server, PORT, mode, uid=USER, network="eth1")
    assert mark == EXPLICIT | ids["eth1"]
    assert outcome == ("sent" if kind == "ping" else SOURCES[server])
    assert left_by() == {"eth1"}


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_raw_sockets(world, ids, left_by, server):
    assert plain(world, "raw", server, 0, network=ids["eth1"]) == (ROOTS | ids["eth1"], "sent")
    assert left_by() == {"eth1"}
    assert plain(world, "raw", server, 0, uid=USER, network="eth1") == (None, "EPERM")


@pytest.mark.parametrize("kind", ["tcp", "sendto", "ping"])
def test_no_network(world, left_by, kind):
    assert plain(world, kind, SERVER4, PORT, network="none") == (None, "EPERM")
    assert plain(world, kind, SERVER6, PORT, "fork", uid=USER, network="nosuch") == (None, "ENONET")
    assert plain(world, kind, SERVER4, PORT, network="9999") == (None, "ENONET")
    assert left_by() == set()


# Assigned.

@pytest.fixture(name="assign")
def make_assign(world):
    def assign(*words):
        world.ok("assign", f"uid:{OTHER}", *words)

    yield assign
    world.ok("unassign", f"uid:{OTHER}")


@pytest.mark.parametrize("server", [SERVER4, SERVER6, MAPPED])
@pytest.mark.parametrize("kind", ["tcp", "udp", "sendto", "sendmsg", "sendmmsg"])
def test_the_network_of_the_app(world, ids, assign, left_by, kind, server):
    assign("eth1", "--prefer")
    assert plain(world, kind, server, PORT, uid=OTHER) == (ids["eth1"], SOURCES[server])
    assign("eth1")
    held = (EXPLICIT | ids["eth1"], SOURCES[server])
    assert plain(world, kind, server, PORT, uid=OTHER) == held
    assert plain(world, kind, server, PORT, uid=OTHER, network="eth0") == held, "stronger"
    assert left_by() == {"eth1"}
    assign("none")
    mark, outcome = plain(world, kind, server, PORT, uid=OTHER)
    assert (mark, outcome) == (EXPLICIT | 52, "EACCES")
    assert left_by() == set()


def test_who_is_not_assigned_goes_as_before(world, left_by):
    assert plain(world, "tcp", SERVER4, PORT, uid=USER) == (0, "10.0.0.2")
    assert plain(world, "sendto", SERVER6, PORT) == (PERMISSION_SYSTEM, "fd00::2")
    assert left_by() == {"eth0"}


def test_the_default_network(world, ids):
    world.ok("default", "eth1")
    try:
        for kind in ("tcp", "sendto"):
            assert plain(world, kind, SERVER4, PORT, uid=USER) == (ids["eth1"], "10.0.1.2")
    finally:
        world.ok("default", "system")


# Sockets that come from elsewhere.

MADE_BEFORE = """
if "LD_PRELOAD" not in os.environ:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    os.set_inheritable(sock.fileno(), True)
    os.environ["LD_PRELOAD"] = sys.argv[1]
    os.execv(sys.executable, [sys.executable, "-c", sys.argv[2], *sys.argv[1:],
             str(sock.fileno())])
sock = socket.socket(fileno=int(sys.argv[3]))
print(sock.getsockopt(socket.SOL_SOCKET, SO_MARK))
sock.settimeout(60)
sock.sendto(b"x", ("%s", %d))
print(sock.getsockopt(socket.SOL_SOCKET, SO_MARK), sock.recv(100).split()[0].decode())
""" % (SERVER4, PORT)


def test_a_socket_that_was_made_before_is_marked_when_it_sends(world, ids, assign):
    assign("eth1", "--prefer")
    assert python(world, MADE_BEFORE, preloaded(), HEAD + MADE_BEFORE, preload=False, uid=OTHER,
                  ASAN_OPTIONS="detect_leaks=0") == ["0", str(ids["eth1"]), "10.0.1.2"]


SERVE = """
server = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6,
                              dualstack_ipv6=True)
print(server.getsockopt(socket.SOL_SOCKET, SO_MARK), flush=True)
server.settimeout(60)
peer, _ = server.accept()
print(peer.getsockopt(socket.SOL_SOCKET, SO_MARK))
peer.sendall(b"served")
"""


def ask(port):
    with socket.create_connection(("10.0.1.2", port), timeout=WAIT, source_address=(SERVER4, 0)) as s:
        return s.recv(10)


@pytest.mark.parametrize("uid, permission", [(0, PERMISSION_SYSTEM), (USER, 0)])
def test_a_server_answers_where_the_question_came_from(world, ids, left_by, uid, permission):
    """With a default network that is another one: the listening socket must not keep its mark."""
    world.ok("default", "eth0")
    try:
        with start(world, PYTHON, "-c", HEAD + SERVE, 8300,
                   uid=uid, preload=True) as process:
            assert process.stdout.readline() == "0\n"
            assert world.machine.router.call(ask, 8300) == b"served"
            out, err = process.communicate(timeout=WAIT)
        assert (int(out), err) == (ids["eth1"] | EXPLICIT | PROTECTED | permission, "")
        assert left_by() == {"eth1"}
    finally:
        world.ok("default", "system")


def test_a_server_of_a_chosen_network_stays_on_it(world, ids):
    with start(world, PYTHON, "-c", HEAD + SERVE, 8301,
               uid=USER, preload=True, network="eth1") as process:
        assert process.stdout.readline() == f"{EXPLICIT | ids['eth1']}\n"
        assert world.machine.router.call(ask, 8301) == b"served"
        out, err = process.communicate(timeout=WAIT)
    assert (int(out), err) == (EXPLICIT | ids["eth1"], "")


# What programs expect of the C library.

ERRNOS = """
import errno
name = lambda n: errno.errorcode.get(n, str(n))
sock = socket.socket()
print(name(sock.connect_ex(("127.0.0.1", 1))))
sock = socket.socket()
sock.setblocking(False)
print(name(sock.connect_ex(("%s", %d))))
print(name(socket.socket(type=socket.SOCK_DGRAM).connect_ex(("255.255.255.255", 1))))
try:
    socket.socket(socket.AF_INET, socket.SOCK_STREAM, 255)
except OSError as error:
    print(name(error.errno))
left, right = socket.socketpair()
left.sendmsg([b"x"])
print(right.recv(1).decode())
datagrams = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
datagrams.bind("\\0waymark-preload-test-" + str(os.getpid()))
datagrams.sendto(b"y", datagrams.getsockname())
print(datagrams.recv(1).decode())
with socket.create_server(("127.0.0.1", 0)) as server:
    client = socket.create_connection(server.getsockname())
    peer, _ = server.accept()
    peer.sendall(b"z")
    print(client.recv(1).decode())
""" % (SERVER4, PORT)


def test_errors_and_other_families_are_as_without(world):
    assert python(world, ERRNOS, uid=USER) == python(world, ERRNOS, uid=USER, preload=False) == \
        ["ECONNREFUSED", "EINPROGRESS", "EACCES", "EPROTONOSUPPORT", "x", "y", "z"]


NOTHING = """
import ctypes, errno
libc = ctypes.CDLL(None, use_errno=True)
sock = socket.socket(type=socket.SOCK_DGRAM)
for name, arguments in (("sendmsg", (None, 0)), ("sendmmsg", (None, 1, 0)), ("connect", (None, 0)),
                        ("connect", (None, 16)), ("sendto", (None, 1, 0, None, 0)),
                        ("accept", (None, None)), ("sendmmsg", (None, 0, 0))):
    result = getattr(libc, name)(sock.fileno(), *arguments)
    print(name, errno.errorcode[ctypes.get_errno()] if result < 0 else result)
"""


def test_pointers_to_nothing_are_the_kernels_to_judge(world):
    told = python(world, NOTHING, uid=USER)
    assert told == python(world, NOTHING, uid=USER, preload=False) and told[:2] == ["sendmsg", "EFAULT"]


ASK = """
sock = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print(sock.recv(100).split()[0].decode())
"""


def fetch(daemon, **options):
    with pages(daemon.machine, 8302, 1):
        return output(daemon, "curl", "-sS", "--max-time", str(WAIT), f"http://{SERVER4}:8302/",
                      **options)


def connect(daemon, **options):
    return python(daemon, ASK, SERVER4, PORT, **options)[0]


# libasan alone, preloaded into Debian's curl, makes that hang in setlocale()
@pytest.mark.parametrize("program", [connect] if sanitizers() else [connect, fetch])
@pytest.mark.parametrize("name, source", [("eth0", "10.0.0.2"), ("eth1", "10.0.1.2")])
def test_curl_and_python(world, left_by, program, name, source):
    assert program(world, uid=USER, network=name, preload=True) == source
    assert left_by() == {name}


# Together with libwaymark.

def test_the_two_libraries_have_one_choice(world, ids):
    on, other = ids["eth1"], ids["eth0"]
    assert client(world, f"plain set {on} plain socket fork plain set 0 plain", uid=USER,
                  preload=True) == ["0", "ok", *[hex(EXPLICIT | on)] * 3, "ok", "0"]
    assert client(world, f"set-exec {on} exec plain get set {other} plain set none plain unix",
                  uid=USER, preload=True) == \
        ["ok", hex(EXPLICIT | on), str(on), "ok", hex(EXPLICIT | other), "ok", "EPERM", "0"]
    assert client(world, f"get plain set {on} plain", uid=USER, preload=True, network="nosuch") == \
        ["ENONET", "ENONET", "ok", hex(EXPLICIT | on)], "a bad choice does not bar a good one"
    assert client(world, f"race {on} {other}", uid=USER, preload=True) == ["0 wrong"]


# Nobody answers, or nobody is to be asked.

@pytest.mark.rules
def test_it_fails_closed(machine, daemon):
    ways = itertools.product((0, USER, OTHER), ("tcp", "udp", "sendto", "sendmsg", "sendmmsg"),
                             (SERVER4, SERVER6))
    daemon.ok("assign", f"uid:{OTHER}", "eth1")
    daemon.kill()
    with wire(machine) as left_by:
        for uid, kind, server in ways:
            assert plain(daemon, kind, server, PORT, uid=uid) == (None, "ECONNREFUSED")
        assert left_by() == set()
    assert plain(daemon, "tcp", SERVER4, PORT, uid=OTHER, preload=False) == (0, "10.0.1.2"), \
        "the rules by uid are there all the same"


HELD = """
sock = socket.socket()
datagrams = socket.socket(type=socket.SOCK_DGRAM)
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
before = len(os.listdir("/proc/self/fd"))
print(flush=True)
sys.stdin.readline()
to = ("%s", %d)
for what in (lambda: sock.connect(to), lambda: datagrams.sendto(b"x", to),
             lambda: datagrams.sendmsg([b"x"], [], 0, to), server.accept):
    try:
        print(what())
    except OSError as error:
        print(os.strerror(error.errno).replace(" ", "-"))
print(len(os.listdir("/proc/self/fd")) - before)
""" % (SERVER4, PORT)


def test_sockets_that_are_there_fail_closed_too(machine, daemon):
    process = start(daemon, PYTHON, "-c", HEAD + HELD, uid=USER, preload=True)
    assert process.stdout.readline() == "\n"
    daemon.kill()
    capture = Capture(machine)
    out, err = process.communicate("go\n", timeout=WAIT)
    assert (out.split(), err) == (["Connection-refused"] * 4 + ["0"], "")
    assert not [packet for packet in capture.packets() if packet[2] == SERVER4]
    capture.close()


def test_only_root_may_go_without(world, ids):
    off = {"WAYMARK_NO_FWMARK_CLIENT": "1"}
    assert plain(world, "tcp", SERVER4, PORT, network="eth1", **off) == (0, "10.0.0.2")
    assert plain(world, "tcp", SERVER4, PORT, uid=USER, network="eth1", **off) == \
        (EXPLICIT | ids["eth1"], "10.0.1.2")


# The limits.

@pytest.mark.parametrize("kind", ["tcp", "sendto"])
def test_a_static_program_is_not_covered(world, assign, left_by, kind):
    """Only what is enforced by uid holds it."""
    options = {"program": "plain-static", "network": "eth1"}
    assert plain(world, kind, SERVER4, PORT, uid=USER, **options) == (0, "10.0.0.2")
    assign("eth1")
    left_by()
    assert plain(world, kind, SERVER4, PORT, uid=OTHER, **options) == (0, "10.0.1.2")
    assert left_by() == {"eth1"}
