# SPDX-License-Identifier: LGPL-2.1-or-later
"""libwaymark, by a program that uses it (programs/client.c), against the real daemon."""

import re
import signal
import subprocess

import pytest

from harness import PORT, ROOT, SERVER4, SERVER6, Instance, Machine, wait_for
from library import (EXAMPLE, EXPLICIT, LIBRARY, PERMISSION_SYSTEM, PRELOAD, PROGRAMS, PROTECTED,
                     client, output, pages, sanitizers, start)

USER, OTHER = 3001, 3002
ROOTS = EXPLICIT | PROTECTED | PERMISSION_SYSTEM  # what root's choice has beside the netId


@pytest.fixture(scope="module", name="world")
def make_world():
    """A machine and a daemon for all tests that leave them as they were."""
    machine = Machine()
    machine.ip("link add lab0 type veth peer name lab1")  # down: no networks by themselves
    daemon = Instance(machine, "--backend", "rules")
    try:
        yield daemon.start()
    finally:
        daemon.close()
        machine.close()


@pytest.fixture(name="ids")
def netids(world):
    return {name: network["netid"] for name, network in world.networks().items()}


def header():
    return (ROOT / "include/waymark.h").read_text(encoding="utf-8")


def declared():
    return set(re.findall(r"^[a-z].*?\b(wm_[a-z_]+)\(", header(), re.M))


def exported(library):
    out = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True,
                         text=True).stdout
    return {line.split()[2] for line in out.splitlines()}


# What is promised.

@pytest.mark.parametrize("compiler, standard", [
    ("gcc", "c99"), ("gcc", "c17"), ("clang", "c99"), ("g++", "c++11"), ("g++", "c++20"),
    ("clang++", "c++11")])
def test_the_header_stands_alone(compiler, standard, tmp_path):
    source = tmp_path / ("main.cc" if "+" in compiler else "main.c")
    source.write_text("#include <waymark.h>\n"
                      "int main(void) { return wm_network_from_netid(0) == WM_NETWORK_NONE; }\n",
                      encoding="utf-8")
    warnings = ["-Wall", "-Wextra", "-Wshadow", "-Wundef", "-pedantic-errors", "-Werror"]
    subprocess.run([compiler, f"-std={standard}", *warnings, "-I", ROOT / "include", source,
                    "-o", tmp_path / "main", LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}"]
                   + (["-fsanitize=address,undefined"] if sanitizers() else []),
                   check=True)


def test_the_library_exports_what_the_header_declares():
    newer = {"WAYMARK_1": "wm_vpn_", "WAYMARK_2": "wm_keystore_"}
    versions = {version: {n for n in declared() if n.startswith(prefix)}
                for version, prefix in newer.items()}
    versions["WAYMARK_0"] = declared().difference(*versions.values())
    assert exported(LIBRARY) == versions.keys() | {
        f"{name}@@{version}" for version, names in versions.items() for name in names}
    assert {version: len(names) for version, names in versions.items()} == {
        "WAYMARK_0": 18, "WAYMARK_1": 38, "WAYMARK_2": 15}


def test_the_preload_library_exports_the_functions_that_it_replaces():
    hooks = {"socket", "listen", "accept", "accept4", "connect", "sendto", "sendmsg", "sendmmsg"}
    assert exported(PRELOAD) == hooks | {"waymark_preload_choice_0"}


def test_every_function_has_a_page_and_a_word_in_the_header():
    pages = {path.name.removesuffix(".3.scd"): path.read_text(encoding="utf-8")
             for path in (ROOT / "man").glob("*.3.scd")}
    build = (ROOT / "man/meson.build").read_text(encoding="utf-8")
    for name in declared():
        assert name in pages or f"'{name}'" in build, name
        assert any(f"{name}(" in text for text in pages.values()), name


def test_constants_are_in_the_pages():
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "man").glob("*.3.scd"))
    names = set(re.findall(r"\bWM_[A-Z_]+", header())) - {"WM_HAS"}
    for name in names - {"WM_NETWORK_"}:
        assert name in text or f"_{name.split('_', 2)[2]}" in text, name


# One socket.

@pytest.mark.parametrize("uid, flags", [(0, ROOTS), (USER, EXPLICIT)])
@pytest.mark.parametrize("kind", ["udp", "tcp"])
def test_a_socket_is_put_on_a_network(world, ids, uid, flags, kind):
    on = ids["eth1"]
    lines = client(world, f"type {kind} socket setsock {on} mark getsock setsock 0 getsock",
                   uid=uid)
    assert lines == [lines[0], "ok", hex(flags | on), str(on), "ok", "0"]


def test_packets_leave_by_that_network(world, ids):
    for kind in ("udp", "tcp"):
        for name, source in (("eth0", "fd00::2"), ("eth1", "fd00:1::2")):
            lines = client(world, f"type {kind} socket setsock {ids[name]} ask {SERVER6} {PORT}",
                           uid=USER)
            assert lines[1:] == ["ok", source]
        lines = client(world, f"type {kind} socket setsock {ids['eth1']} "
                       f"ask ::ffff:{SERVER4} {PORT}", uid=USER)
        assert lines[1:] == ["ok", "10.0.1.2"]


def test_what_is_no_socket_of_ours_is_refused(world, ids):
    on = ids["eth1"]
    assert client(world, f"no-descriptor setsock {on} getsock protect for-user 0") == ["EBADF"] * 4
    assert client(world, f"file setsock {on} getsock protect") == ["ENOTSOCK"] * 3
    assert client(world, f"unix setsock {on} getsock protect") == ["0"] + ["EAFNOSUPPORT"] * 3


def test_what_is_no_network_is_refused(world):
    lines = client(world, "socket setsock bad setsock none setsock 9999 setsock 70000 mark")
    assert lines[1:5] == ["EINVAL", "EINVAL", "ENONET", "EINVAL"]
    assert lines[5] == lines[0], "the mark is as before"


def test_protect(world):
    mark, done, after = client(world, "socket protect mark")
    assert (done, int(after, 16)) == ("ok", int(mark, 16) | PROTECTED)
    assert client(world, "socket protect mark", uid=USER) == ["0", "EPERM", "0"]


def test_select_for_user(world, ids):
    world.ok("assign", f"uid:{OTHER}", "eth1")
    try:
        lines = client(world, f"socket for-user {OTHER} getsock")
        assert lines[1:] == ["ok", str(ids["eth1"])]
        assert client(world, f"socket for-user {OTHER}", uid=USER)[1] == "EPERM"
    finally:
        world.ok("unassign", f"uid:{OTHER}")


def test_query_user_access(world, ids):
    on, other = ids["eth1"], ids["eth0"]
    assert client(world, f"query {USER} {on} query {USER} 9999 query {USER} bad query {USER} none") \
        == ["ok", "ENONET", "EINVAL", "EINVAL"]
    assert client(world, f"query {USER} {on}", uid=USER) == ["EPERM"]
    world.ok("assign", f"uid:{OTHER}", "eth1")
    try:
        assert client(world, f"query {OTHER} {on} query {OTHER} {other}") == ["ok", "EPERM"]
    finally:
        world.ok("unassign", f"uid:{OTHER}")


# The process.

def test_the_process_has_a_network(world, ids):
    on = ids["eth1"]
    lines = client(world, f"get set {on} get socket socket4 type tcp socket set 0 get socket",
                   uid=USER)
    assert lines == ["0", "ok", str(on), *[hex(EXPLICIT | on)] * 3, "ok", "0", "0"]


def test_the_choice_is_tried(world):
    lines = client(world, "set bad set 9999 set-flag 0 get", uid=USER)
    assert lines == ["EINVAL", "ENONET", "EINVAL", "0"]


def test_no_networking(world, ids):
    assert client(world, "set none get socket socket4 unix set 0 socket", uid=USER) == \
        ["ok", "none", "EPERM", "EPERM", "0", "ok", "0"]
    assert client(world, f"set {ids['eth1']} set none fork get socket", uid=USER)[-1] == "EPERM"


def test_children_inherit_and_programs_do_not(world, ids):
    on = ids["eth1"]
    assert client(world, f"set {on} fork get socket fork get", uid=USER) == \
        ["ok", str(on), hex(EXPLICIT | on), str(on)]
    assert client(world, f"set {on} exec get environment", uid=USER) == ["ok", "0", "-"]


def test_programs_do_when_asked_for(world, ids):
    on, other = ids["eth1"], ids["eth0"]
    assert client(world, f"set-exec {on} exec get socket fork exec get", uid=USER) == \
        ["ok", str(on), hex(EXPLICIT | on), str(on)]
    assert client(world, "set-exec none exec get socket", uid=USER) == ["ok", "none", "EPERM"]
    assert client(world, f"set-exec {on} set-exec 0 environment exec get", uid=USER) == \
        ["ok", "ok", "-", "0"]
    # another choice that is only this process's leaves the one for programs
    assert client(world, f"set-exec {on} set {other} get exec get", uid=USER) == \
        ["ok", "ok", str(other), str(on)]
    assert client(world, "set-exec 9999 get environment", uid=USER) == ["ENONET", "0", "-"]


def test_the_environment_chooses(world, ids):
    on = ids["eth1"]
    for value in (on, "eth1"):
        assert client(world, "get socket", uid=USER, network=value) == [str(on),
                                                                        hex(EXPLICIT | on)]
    assert client(world, "get socket unix", network="none") == ["none", "EPERM", "0"]
    assert client(world, "get socket", uid=USER, network="") == ["0", "0"]
    assert client(world, "get socket", uid=USER, network="0") == ["0", "0"]
    for wrong in ("nosuch", "x" * 64, "x" * 5000, "eth1 ", "\u00e9", "70000"):
        assert client(world, "get socket unix", network=wrong) == ["ENONET", "ENONET", "0"], wrong
    assert client(world, "socket get", network=9999) == ["ENONET", "9999"]
    # a choice that can be made replaces one that cannot
    assert client(world, f"get set {on} get", uid=USER, network="nosuch") == ["ENONET", "ok",
                                                                              str(on)]


def test_an_assignment_is_stronger(world, ids):
    """It holds the app; what the process chose gives way, and choosing another is refused."""
    on, other = ids["eth1"], ids["eth0"]
    world.ok("assign", f"uid:{OTHER}", "eth1")
    try:
        lines = client(world, f"socket getsock setsock {other} setsock {on} set {other} get",
                       uid=OTHER)
        assert lines == [hex(EXPLICIT | on), str(on), "EPERM", "ok", "EPERM", "0"]
        assert client(world, f"get socket ask {SERVER6} {PORT}", uid=OTHER, network=other) == \
            [str(other), hex(EXPLICIT | on), "fd00:1::2"]
    finally:
        world.ok("unassign", f"uid:{OTHER}")


def test_a_preference_is_the_apps_own_default(world, ids):
    world.ok("assign", f"uid:{OTHER}", "eth1", "--prefer")
    try:
        assert client(world, f"socket setsock {ids['eth0']} getsock", uid=OTHER) == \
            [hex(ids["eth1"]), "ok", str(ids["eth0"])]
        assert client(world, "socket", uid=OTHER, network="eth0") == [hex(EXPLICIT | ids["eth0"])]
    finally:
        world.ok("unassign", f"uid:{OTHER}")


def test_a_network_that_needs_a_permission(world):
    world.ok("network", "add", "special", "--interface", "lab0", "--permission", "system")
    on = world.networks()["special"]["netid"]
    try:
        assert client(world, f"socket setsock {on} set {on}", uid=USER) == ["0", "EACCES", "EACCES"]
        assert client(world, f"set {on} get") == ["ok", str(on)]
    finally:
        world.ok("network", "remove", "special")
    assert client(world, "socket", network=on) == ["ENONET"], "what is gone is not replaced"


def test_threads(world, ids):
    assert client(world, f"race {ids['eth0']} {ids['eth1']}", uid=USER) == ["0 wrong"]


def test_errno_stays_on_success_and_null_is_refused(world):
    assert client(world, "errno null") == ["ELIBBAD", "8 refused"]


# Networks.

def test_names(world, ids):
    assert client(world, "by-name eth0 by-name eth1 by-name nosuch by-name none") == \
        [str(ids["eth0"]), str(ids["eth1"]), "ENONET", "ENONET"]


def test_the_list(world, ids):
    world.ok("network", "add", "tunnel", "--type", "vpn", "--interface", "lab0", "--dns",
             "192.0.2.1", "--domain", "example", "--netid", "900")
    try:
        words = client(world, "list", uid=USER)[0].split()
    finally:
        world.ok("network", "remove", "tunnel")
    assert words[0] == str(len(ids) + 1) and len(words) == len(ids) + 2
    networks = {word.split(":", 1)[0]: word.split(":", 1)[1] for word in words[1:]}
    # netId, type, state, permission, flags, whether `domains` is known, lists
    assert networks["eth1"] == f"{ids['eth1']}:1:1:1:0:1:eth1"
    netid, kind, state, permission, flags, *rest = networks["tunnel"].split(":")
    assert (netid, kind, state, permission) == ("900", "2", "2", "1")
    assert int(flags) & ~2 == 0
    assert rest == ["1", "lab0", "192.0.2.1", "example"]
    numbers = [int(word.split(":")[1]) for word in words[1:]]
    assert numbers == sorted(numbers)


def test_the_monitor(world):
    with start(world, PROGRAMS / "client", "watch", "dispatch", uid=USER) as process:
        try:
            assert process.stdout.readline() == "ok\n"
            world.ok("network", "add", "lab", "--interface", "lab0", "--netid", "901")
            world.ok("network", "set", "lab", "--dns", "192.0.2.1")
            world.ok("default", "eth1")
            world.ok("default", "system")
            world.ok("network", "remove", "lab")
            lines = []
            while "removed 901\n" not in lines:
                lines.append(process.stdout.readline())
                assert lines[-1], lines
        finally:
            process.kill()
    for line in ("added 901\n", "changed 901\n", "default 0\n"):
        assert line in lines, lines
    assert lines.index("added 901\n") < lines.index("changed 901\n")


def test_the_example(world):
    with pages(world.machine, 8101, 2):
        for name, source in (("eth0", "10.0.0.2"), ("eth1", "10.0.1.2")):
            assert output(world, EXAMPLE, name, SERVER4, 8101, uid=USER).split()[-1] == source
    with start(world, EXAMPLE, "nosuch", SERVER4, PORT) as process:
        assert "Machine is not on the network" in process.communicate()[1]  # ENONET's words
    assert process.returncode == 1


# Nobody answers.

EVERYTHING = ("socket socket4 set 100 by-name eth1 list watch plain setsock 100 protect "
              "for-user 0 query 0 100")


@pytest.mark.rules
def test_without_a_daemon_it_fails_closed(machine, daemon):
    daemon.kill()
    lines = client(daemon, EVERYTHING + " getsock get set 0 set none unix")
    assert lines == ["ECONNREFUSED"] * 6 + ["0"] + ["ECONNREFUSED"] * 4 + ["0", "0", "ok", "ok",
                                                                         "0"]
    assert client(daemon, "socket get", network="eth1") == ["ECONNREFUSED"] * 2
    away = str(daemon.folder / "nothing")
    assert client(daemon, "socket by-name eth1", WAYMARK_RUNTIME_DIR=away) == ["ECONNREFUSED"] * 2
    lines = client(daemon, EVERYTHING, WAYMARK_RUNTIME_DIR="/" + "x" * 200)
    assert lines == ["ENAMETOOLONG"] * 6 + ["0"] + ["ENAMETOOLONG"] * 4
    daemon.start()
    assert client(daemon, "socket") == [hex(PERMISSION_SYSTEM)]


def test_a_daemon_that_hangs_is_waited_for_no_longer_than_said(machine, daemon):
    clients = [start(daemon, PROGRAMS / "client", *words.split())
               for words in ("get watch dispatch", "get")]
    assert clients[0].stdout.readline() == "0\n"
    assert clients[0].stdout.readline() == "ok\n"
    daemon.process.send_signal(signal.SIGSTOP)
    try:
        clients += [start(daemon, PROGRAMS / "client", *words)
                    for words in (["socket"], ["by-name", "eth1"], ["list"])]
        outs = [process.communicate(timeout=30)[0] for process in clients[1:]]
    finally:
        daemon.process.send_signal(signal.SIGCONT)
    assert outs == ["0\n", "ETIMEDOUT\n", "ETIMEDOUT\n", "ETIMEDOUT\n"]
    daemon.stop()
    assert clients[0].communicate(timeout=30)[0] == "ECONNRESET\n", "the monitor's daemon is gone"


def test_many_at_once_get_their_answer(machine, daemon):
    """A user has 32 connections to the bus, and 64 to fwmarkd that have not sent yet."""
    processes = [start(daemon, PROGRAMS / "client", "get", "socket", uid=USER, network="eth1")
                 for _ in range(80)]
    on = daemon.networks()["eth1"]["netid"]
    outs = {process.communicate(timeout=60)[0] for process in processes}
    assert outs == {f"{on}\n{EXPLICIT | on:#x}\n"}
    wait_for("the daemon", daemon.answers)
