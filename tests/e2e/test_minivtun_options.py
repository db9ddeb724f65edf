# SPDX-License-Identifier: LGPL-2.1-or-later
"""The command line of waymark-minivtun, what it says, and what becomes of the process."""

import contextlib
import itertools
import json
import os
import pathlib
import signal
import subprocess
import time

import pytest

from harness import WAIT, Namespace, check_sanitizers, wait_for
from minivtun_fixture import (FAR, IN_FAR, IN_FAR6, IN_NEAR, MINIVTUN, PASSWORD, PORT, Engine, Wire, endpoint,
                              listening, reaches)
from minivtun_peer import ECHO_REQ, Codec, Server, Tun
from netd_fixture import sanitized

NOBODY = 65534
CLEAR = "without a password (-e) everything is sent in clear, and everybody may take part\n"
WEAK = ("minivtun's encryption hides contents from who only listens, and no more: it can be replayed and tampered "
        "with. Carry nothing that is not protected by itself (TLS, SSH)\n")


@pytest.fixture
def wire():
    w = Wire()
    yield w
    w.close()


def run(*words):
    """(exit status, what it says) where there is no network at all."""
    namespace = Namespace()
    try:
        done = namespace.run([MINIVTUN, *words], check=False, timeout=WAIT)
    finally:
        namespace.close()
    check_sanitizers(done.stderr)
    return done.returncode, done.stderr


def process(engine, key):
    """A line of /proc/PID/status."""
    text = pathlib.Path(f"/proc/{engine.process.pid}/status").read_text()
    return text.split(f"\n{key}:")[1].split("\n")[0].split()


# Usage

R, L = ("-r", "a:1"), ("-l", "0.0.0.0:1")
WRONG = [
    ((), "neither -r HOST:PORT (client) nor -l ADDR:PORT (server): see --help"),
    ((*L, *R), "both -l and -r: it is a server or a client"),
    (("-r", "a"), "'a' has no port: write it as HOST:PORT or [IPv6]:PORT"),
    (("-r", "a:0"), "'0' is no port, that is 1 to 65535"),
    (("-r", "a:70000"), "'70000' is no port, that is 1 to 65535"),
    (("-r", "a:9-3"), "'9-3' is no range of ports: write it as FIRST-LAST"),
    (("-r", "fe80::1:5"), "'fe80::1:5': write an IPv6 address in brackets, [ADDRESS]:PORT"),
    (("-r", ":5"), "':5' names no host: write it as HOST:PORT"),
    ((*R, "-a", "x"), "'x' is no inner address: write it as 10.7.0.2/24 or 10.7.0.2/10.7.0.1"),
    ((*R, "-a", "10.0.0.1/33"),
     "'10.0.0.1/33' is no inner address: write it as 10.7.0.2/24 or 10.7.0.2/10.7.0.1"),
    ((*R, "-A", "fd00::1/129"), "'fd00::1/129' is no inner IPv6 address: write it as fd00::2/64"),
    ((*R, "-n", "0123456789abcdef"),
     "'0123456789abcdef' is no name of an interface (1 to 15 bytes, no '/')"),
    ((*R, "-m", "10"), "'10' is no MTU, that is 68 to 8168"),
    ((*R, "-A", "fd00::1/64", "-m", "1279"), "IPv6 (-A) needs an MTU of 1280 or more, not 1279"),
    ((*R, "-Q", "0"), "'0' is no queue length, that is 1 to 1000000"),
    ((*R, "-t", "rot13"), "'rot13' is no cipher of minivtun: use one of aes-128, aes-256, des, desx, rc4"),
    ((*R, "--key-file", "/nonexistent"),
     "cannot read the password from '/nonexistent': No such file or directory"),
    ((*R, "--key-file", "/dev/null"), "the first line of '/dev/null' is empty: it is to be the password"),
    ((*R, "-v", "x"), "'x' is no network: write it as 10.1.0.0/16 or fd00::/64"),
    ((*R, "-v", "10.0.0.0/8=10.1.1.1"), "-v NET=GATEWAY is for servers (-l): a client has one way"),
    ((*L, "-v", "10.0.0.0/8=::1"), "'::1' is no gateway: it is the inner address of a client"),
    ((*R, "-K", "0"), "'0' is no keepalive interval, that is 1 to 315360000"),
    ((*R, "-R", "1x"), "'1x' is no reconnect timeout, that is 1 to 315360000"),
    ((*R, "-S", "-1"), "'-1' is no interval of health, that is 1 to 315360000"),
    ((*R, "-B", "0"), "'0' is no number of buckets, that is 1 to 1000"),
    ((*R, "-P", "101"), "'101' is no drop rate in percent, that is 0 to 100"),
    ((*R, "-X", "a"), "'a' is no round-trip time in milliseconds, that is 0 to 3600000"),
    ((*R, "-x", ""), "'' is no number of seconds, that is 0 to 315360000"),
    ((*R, "--log-level", "loud"),
     "'loud' is no log level: use err, warning, notice, info or debug"),
    ((*R, "extra"), "it takes options only: 'extra'"),
    ((*R, "--waymark", ""), "--waymark needs the VPN's name"),
    ((*L, "--waymark", "x"), "--waymark is for clients (-r)"),
    ((*R, "-E", "--waymark", "x", "-a", "10.0.0.1/8"),
     "--waymark and -E: a VPN carries IP packets, no frames"),
    ((*R, "--waymark", "x"), "--waymark needs an inner address (-a, -A)"),
]


@pytest.mark.parametrize("words, message", WRONG, ids=lambda value: " ".join(value) if isinstance(
    value, tuple) else "")
def test_wrong_usage(words, message):
    assert run(*words) == (2, message + "\n")


@pytest.mark.parametrize("words", [("-Z",), ("--nonsense",), ("-l",), ("--daemon=yes", *R)])
def test_unknown_options(words):
    code, said = run(*words)
    assert code == 2
    assert said.startswith(f"{MINIVTUN}: ")


def test_help_and_version():
    for word in ("--help", "-h", "--version"):
        done = subprocess.run([MINIVTUN, word], capture_output=True, text=True, check=True)
        assert done.stdout.startswith("waymark-minivtun " if word == "--version" else "Usage: waymark-minivtun ")
        assert done.stderr == ""
        assert not [line for line in done.stdout.splitlines() if line != line.rstrip()]


# What cannot be had


def test_a_name_that_cannot_be_resolved():
    code, said = run("-r", "nosuch.example:1", "-n", "x0", "-e", "x")
    assert code == 1
    head, warning, *rest = said.splitlines(keepends=True)
    assert (head, warning) == ("client of nosuch.example, interface x0\n", WEAK)
    assert rest[-1].startswith("cannot resolve 'nosuch.example': ")
    assert rest[-1].endswith(" (-w waits until it can be)\n")


@pytest.mark.parametrize("words, message", [
    (("-H", "/nonexistent/x"), "cannot write the health file '/nonexistent/x': No such file or directory"),
    (("-p", "/nonexistent/x"), "cannot write '/nonexistent/x': No such file or directory"),
    (("--user", "nosuchuser"), "there is no user 'nosuchuser' (--user)")])
def test_what_cannot_be_had(words, message):
    code, said = run("-r", "127.0.0.1:1", "-n", "x0", "-a", "10.0.0.1/8", *words)
    assert code == 1
    assert said.splitlines()[-1] == message


def test_a_port_and_an_interface_that_are_taken(wire):
    wire.server()
    other = wire.far.run([MINIVTUN, "-l", endpoint(FAR), "-n", "srv1"], check=False, timeout=WAIT)
    assert other.returncode == 1
    assert endpoint(FAR) in other.stderr and "Address already in use" in other.stderr
    other = wire.far.run([MINIVTUN, "-l", endpoint(FAR, 1415), "-n", "srv0"], check=False, timeout=WAIT)
    assert other.returncode == 1
    assert "srv0" in other.stderr.splitlines()[-1] and "busy" in other.stderr.splitlines()[-1]


@pytest.mark.parametrize("password, warning", [("", CLEAR), (PASSWORD, WEAK)])
def test_it_warns_once_what_the_protocol_is_worth(wire, password, warning):
    wire.server(password=password)
    client = wire.client("-K", "1", "-R", "2", password=password)
    with listening(wire.far, IN_FAR):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR))
    assert client.log.count(warning) == 1
    assert PASSWORD not in client.log


# The interface


def test_the_interface(wire):
    wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    wire.client("-v", "10.9.0.0/16", "-v", "fd09::/32")
    link = json.loads(wire.near.run(["ip", "-j", "link", "show", "cli0"]).stdout)[0]
    assert (link["mtu"], link["txqlen"]) == (1300, 1500)
    assert wire.near.show("route show 10.9.0.0/16") == ["10.9.0.0/16 dev cli0 proto static scope link"]
    assert any("fd09::/32 dev cli0" in line for line in wire.near.show("-6 route show"))


def test_mtu_and_queue(wire):
    wire.server("-m", "1400", "-Q", "77")
    link = json.loads(wire.far.run(["ip", "-j", "link", "show", "srv0"]).stdout)[0]
    assert (link["mtu"], link["txqlen"]) == (1400, 77)


def test_point_to_point(wire):
    engine = wire.keep(Engine(wire.far, "-l", endpoint(FAR), "-n", "srv0", "-a", f"{IN_FAR}/{IN_NEAR}"))
    wait_for("the address", lambda: engine.ended() or wire.far.show("-o addr show dev srv0 up"))
    assert any(f"inet {IN_FAR} peer {IN_NEAR}/32" in line for line in wire.far.show("-o addr show dev srv0"))


def test_a_name_from_the_kernel(wire):
    names = ["-l", endpoint(FAR, 1415)], ["-l", endpoint(FAR, 1416)]
    for words in names:
        engine = wire.keep(Engine(wire.far, *words))
        wait_for("it to stand", lambda e=engine: e.ended() or "server on" in e.log)
        assert not engine.ended()
    for name in ("mv0", "mv1"):
        wait_for(name, lambda n=name: wire.far.show(f"link show {n} up"))


# The process


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_when_it_is_told_to(wire, how):
    server = wire.server()
    assert server.stop(how) == 0
    assert not wire.far.show("link show srv0")


def test_the_sandbox(wire):
    wire.server()
    client = wire.client("-K", "1")
    with listening(wire.far, IN_FAR):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR))
    for engine in wire.open:
        assert process(engine, "Uid") == [str(NOBODY)] * 4
        assert process(engine, "Gid") == [str(NOBODY)] * 4
        assert process(engine, "Groups") == []
        assert process(engine, "CapEff") == process(engine, "CapPrm") == ["0" * 16]
        if not sanitized():  # sanitizers want calls that nobody else does
            assert process(engine, "NoNewPrivs") == ["1"]
            assert process(engine, "Seccomp") == ["2"]
    command = pathlib.Path(f"/proc/{client.process.pid}/cmdline").read_bytes()
    assert PASSWORD.encode() not in command


def test_another_user(wire):
    wire.server("--user", "daemon")
    assert process(wire.open[0], "Uid") == ["1"] * 4


def test_no_sandbox(wire):
    wire.server("--no-sandbox")
    assert process(wire.open[0], "Uid") == ["0"] * 4
    assert process(wire.open[0], "Seccomp") == ["0"]


def test_exit_after(wire):
    since = time.monotonic()
    client = wire.client("-x", "3")
    wait_for("its end", client.ended)
    assert time.monotonic() - since >= 3
    assert client.process.returncode == 0
    assert "ending: the time of -x has passed\n" in client.log
    assert not wire.near.show("link show cli0")


def test_in_the_background(wire, tmp_path):
    pidfile = tmp_path / "pid"
    words = ["-l", endpoint(FAR), "-n", "srv0", "-a", f"{IN_FAR}/24", "-A", f"{IN_FAR6}/64", "-e", PASSWORD]
    done = wire.far.run([MINIVTUN, *words, "-d", "-p", pidfile], timeout=WAIT)
    pid = int(pidfile.read_text())
    try:
        assert done.returncode == 0
        assert wire.far.show("link show srv0 up")  # all is set up when the first process ends
        assert os.getsid(pid) != os.getsid(0)
        wire.client()
        with listening(wire.far, IN_FAR):
            wait_for("a way", lambda: reaches(wire.near, IN_FAR))
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for("its end", lambda: not wire.far.show("link show srv0"))


def test_in_the_background_but_it_cannot(wire, tmp_path):
    wire.server()
    done = wire.far.run([MINIVTUN, "-l", endpoint(FAR), "-n", "srv1", "-d", "-p", tmp_path / "pid"],
                        check=False, timeout=WAIT)
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert not wire.far.show("link show srv1")


def test_key_file(wire, tmp_path):
    key = tmp_path / "key"
    key.write_text(PASSWORD + "\nand a comment\n")
    key.chmod(0o600)
    wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD), Tun(wire.far, "tun0", f"{IN_FAR}/24")))
    client = wire.client("--key-file", str(key), password="")
    with listening(wire.far, IN_FAR):
        wait_for("a way", lambda: reaches(wire.near, IN_FAR))
    assert CLEAR not in client.log and WEAK in client.log


# Health


def health(path):
    with contextlib.suppress(FileNotFoundError):
        lines = path.read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if line)
    return {}


def healthy(path, **wanted):
    return all(health(path).get(key) == value for key, value in wanted.items())


def test_the_health_file(wire, tmp_path):
    path = tmp_path / "health"
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    wire.client("-K", "1", "-S", "2", "-R", "4", "-H", str(path))
    wait_for("it to be up", lambda: healthy(path, state="up", drop="0", server=f"{FAR}:{PORT}"))
    said = wait_for("a bucket", lambda: int((now := health(path))["received"]) >= 3 and now)
    assert list(said) == ["state", "sent", "received", "drop", "rtt", "server"]
    assert 0 < float(said["rtt"]) < 1000
    assert int(said["sent"]) >= int(said["received"])
    server.answers = False
    wait_for("it to be down", lambda: health(path)["state"] != "up")
    server.answers = True
    wait_for("it to be up again", lambda: healthy(path, state="up"))


def test_loss_is_counted(wire, tmp_path):
    path = tmp_path / "health"
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    turns = itertools.cycle([True, False])
    server.answers = lambda: next(turns)
    wire.client("-K", "1", "-S", "2", "-R", "60", "-H", str(path))
    wait_for("half of them", lambda: 30 <= int(health(path).get("drop", 0)) <= 70)
    assert len({m.address for m in server.all(ECHO_REQ)}) == 1  # which by default is nothing to worry about


def test_too_much_loss_is_too_much(wire):
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    turns = itertools.cycle([True, False, False])
    server.answers = lambda: next(turns)
    wire.client("-K", "1", "-S", "2", "-B", "2", "-R", "600", "-P", "30")
    wait_for("a new port", lambda: len({m.address for m in server.all(ECHO_REQ)}) > 1)


@pytest.mark.parametrize("most, moves", [("100", True), ("5000", False)])
def test_too_slow_is_too_slow(wire, most, moves):
    server = wire.keep(Server(wire.far, (FAR, PORT), Codec(PASSWORD)))
    server.slow = 0.3
    wire.client("-K", "1", "-S", "2", "-B", "2", "-R", "600", "-X", most)
    if moves:
        wait_for("a new port", lambda: len({m.address for m in server.all(ECHO_REQ)}) > 1)
    else:
        wait_for("ten rounds", lambda: len(server.all(ECHO_REQ)) >= 10)
        assert len({m.address for m in server.all(ECHO_REQ)}) == 1
