# SPDX-License-Identifier: LGPL-2.1-or-later
"""Who goes while something is done for him, and what the daemon keeps of him: run with a sanitized
build, these tests find what is used after it was freed."""

import contextlib
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time

import pytest

from dbus_peer import CALL, MANAGER, PATH, PROPERTIES, Peer, Variant, connect, message
from harness import WAIT, Instance, in_namespace, nft_table, our_rules, wait_for
from netd_fixture import sanitized
from test_robustness import tracer_of

EVE = 3002
PAIR = "addr add 10.99.0.1/32 dev lo\naddr del 10.99.0.1/32 dev lo\n"


def is_dropped(peer):
    """Seen without reading anything."""
    poll = select.poll()
    poll.register(peer.sock, 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


class Events:
    """Of addresses, as many as one likes: every peer is told of each."""

    def __init__(self, machine, daemon):
        self.ip = machine.popen(["ip", "-batch", "-"], stdin=subprocess.PIPE, text=True)
        self.heard = Peer(daemon.socket, EVE)
        self.heard.get("Off")

    def make(self, pairs):
        """Two each. They have been told when this returns."""
        self.ip.stdin.write(PAIR * pairs)
        self.ip.stdin.flush()
        while pairs > 0:
            self.heard.call("Doctor")
            pairs -= sum(args[-1] == "10.99.0.1/32 removed from lo"
                         for _, _, args in self.heard.take_signals())

    def make_slowly(self, pairs):
        for _ in range(pairs):
            self.ip.stdin.write(PAIR)
            self.ip.stdin.flush()
            time.sleep(0.002)  # a pace, nothing to wait for
        self.heard.take_signals()

    def close(self):
        self.heard.close()
        self.ip.stdin.close()
        self.ip.wait()


@pytest.fixture
def events(machine, daemon):
    e = Events(machine, daemon)
    yield e
    e.close()


@pytest.fixture
def places(daemon, events):
    """How many pairs of events a peer may leave unread, about."""
    with Peer(daemon.socket) as deaf:
        assert deaf.get("Off") is False
        pairs = 0
        while not is_dropped(deaf):
            events.make(50)
            pairs += 50
    return pairs - 60


def nearly_full(daemon, stack, n):
    peers = [stack.enter_context(Peer(daemon.socket)) for _ in range(n)]
    assert all(peer.get("Off") is False for peer in peers)
    return peers


@pytest.mark.parametrize("member", ["Verify", "Doctor", "Reload"])
def test_who_is_dropped_in_the_middle_of_its_call(daemon, events, places, member):
    """What has just happened is told before the call is answered: it is one event too many for who
    called. In some of these rounds that comes to pass."""
    for _ in range(4):
        with contextlib.ExitStack() as stack:
            deaf, = nearly_full(daemon, stack, 1)
            events.make(places)
            assert not is_dropped(deaf)
            with contextlib.suppress(OSError):  # it may be dropped already
                for _ in range(60):
                    deaf.send(member)
            while not is_dropped(deaf) and not daemon.ended():
                events.make_slowly(5)
    assert daemon("status").code == 0


def test_who_is_dropped_while_others_are_answered(daemon, events, places):
    """A verification answers many; what is told meanwhile has them dropped."""
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            deaf = nearly_full(daemon, stack, 20)
            events.make(places)
            for peer in deaf * 40:
                with contextlib.suppress(OSError):
                    peer.send("Verify")
            while not all(map(is_dropped, deaf)) and not daemon.ended():
                events.make_slowly(5)
    assert daemon.json("verify")["verification"]["proved"]


# The state file, when the disk fails.

@contextlib.contextmanager
def faults(daemon, *rules):
    """The daemon's system calls fail as strace(1) is told."""
    options = [word for rule in rules for word in ("-e", f"inject={rule}")]
    calls = ",".join(rule.split(":")[0] for rule in rules)
    tracer = subprocess.Popen(["strace", "-f", "-q", "-p", str(daemon.process.pid), "-e",
                               f"trace={calls}", "-o", "/dev/null", *options],
                              stderr=subprocess.DEVNULL)
    wait_for("strace", lambda: tracer_of(daemon.process.pid) == tracer.pid)
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()


def set_domains(daemon, i):
    """A change that takes two kilobytes of the journal."""
    return daemon("network", "set", "n1", *(word for j in range(6) for word in
                                            ("--domain", ".".join([f"{i}-{j}" + "x" * 50] * 4))))


FAULTS = {
    "the folder cannot be synced": ["fsync:error=EIO:when=2+"],
    "the file cannot be synced": ["fsync:error=EIO"],
    "it cannot be renamed": ["rename:error=EIO", "renameat:error=EIO", "renameat2:error=EIO"],
    "a torn commit cannot be taken back": ["fdatasync:error=EIO:when=20+",
                                           "ftruncate:error=EIO"],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_was_refused_is_not_kept_and_what_was_not_is(daemon, fault):
    daemon.ok("network", "add", "n1")
    with faults(daemon, *FAULTS[fault]):
        for i in range(100):
            before = daemon.networks()["n1"]["domains"]
            refused = set_domains(daemon, i)
            if refused.code:
                break
        assert refused.code == 4 and "Input/output error" in refused.err
        assert daemon.networks()["n1"]["domains"] == before
    daemon.ok("assign", "uid:5", "none")
    daemon.kill()
    daemon.start()
    assert daemon.networks()["n1"]["domains"] == before
    assert set(daemon.assignments()) == {"uid:5"}


# Panic-off, when not all goes well.

def off(daemon):
    with Peer(daemon.socket) as peer:
        return peer.get("Off")


def test_panic_off_that_cannot_be_written_down(machine):
    """It holds while this daemon runs, and that is what is said."""
    daemon = Instance(machine)
    os.mkdir(daemon.runtime)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "none", daemon.runtime], check=True)
    try:
        daemon.start()
        daemon.ok("assign", "uid:5", "none")
        subprocess.run(["mount", "-o", "remount,ro", daemon.runtime], check=True)
        result = daemon("panic-off")
        assert result.code == 4
        assert ("nothing of waymark is left in the kernel, but only until this waymarkd ends: "
                f"cannot write {daemon.runtime}/panic-off: Read-only file system") in result.err
        machine.ip("addr add 10.99.0.1/32 dev lo", "link set eth1 down", "link set eth1 up")
        for _ in range(3):
            daemon.ok("doctor")
            assert our_rules(machine) == [] and nft_table(machine) == ""
        assert off(daemon)
        # another one does not know, and says so
        other = machine.run(daemon.command("--panic-off"), check=False)
        assert other.returncode == 1
        assert "a waymarkd that runs or starts will put it back" in other.stderr
        daemon.ok("reload")
        assert our_rules(machine) != []
        subprocess.run(["mount", "-o", "remount,rw", daemon.runtime], check=True)
        daemon.ok("panic-off")
        subprocess.run(["mount", "-o", "remount,ro", daemon.runtime], check=True)
        result = daemon("reload")
        assert result.code == 4 and f"cannot remove {daemon.runtime}/panic-off" in result.err
        assert our_rules(machine) == [] and off(daemon)
        subprocess.run(["mount", "-o", "remount,rw", daemon.runtime], check=True)
        daemon.ok("reload")
        assert our_rules(machine) != []
        daemon.stop()
    finally:
        daemon.stop()
        subprocess.run(["umount", daemon.runtime], check=True)
        daemon.close()


def panic_off_with(machine, daemon, *rules):
    options = [word for rule in rules for word in ("-e", f"inject={rule}")]
    calls = ",".join(rule.split(":")[0] for rule in rules)
    return machine.run(["strace", "-f", "-o", "/dev/null", "-e", f"trace={calls}", *options,
                        *daemon.command("--panic-off")], check=False,
                       env=os.environ | {"ASAN_OPTIONS": "detect_leaks=0"})  # which traces, too


def sysctls(machine):
    return [machine.run(["cat", f"/proc/sys/net/{name}"]).stdout.strip()
            for name in ("ipv4/fwmark_reflect", "ipv6/fwmark_reflect", "ipv4/tcp_fwmark_accept")]


@pytest.mark.parametrize("number", range(1, 40, 3))
def test_panic_off_goes_on_with_the_rest(machine, daemon, number):
    """One netlink request fails, whichever: what can be deleted is, and the rest is named."""
    daemon.ok("assign", "uid:5", "none")
    daemon.kill()
    result = panic_off_with(machine, daemon, f"sendto:error=EIO:when={number}")
    rest = our_rules(machine) + our_rules(machine, "-6") + \
        machine.show("route show table all proto 119") + nft_table(machine).splitlines()
    assert (result.returncode == 0) == (rest == []), (result.stderr, rest)
    assert sysctls(machine) == ["0", "0", "0"] or result.returncode == 1


def test_panic_off_while_others_change_everything(machine, daemon):
    """No dump is whole; what is told in them is deleted all the same."""
    daemon.ok("assign", "uid:5", "none")
    daemon.kill()
    script = ("while :; do ip rule add prio 100 lookup 77; ip rule del prio 100; "
              "ip route add 10.9.0.0/16 dev lo; ip route del 10.9.0.0/16; done")
    with machine.popen(["sh", "-c", script], stderr=subprocess.DEVNULL,
                       start_new_session=True) as busy:
        try:
            machine.run(daemon.command("--panic-off"), check=False)
            assert our_rules(machine) == our_rules(machine, "-6") == []
        finally:
            os.killpg(busy.pid, signal.SIGKILL)
    assert nft_table(machine) == "" and sysctls(machine) == ["0", "0", "0"]


# Starting and reloading.

HOLDERS = {
    "bound": "s = socket.socket(socket.AF_UNIX); s.bind(name)",
    "listening": "s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen()",
    "full": ("s = socket.socket(socket.AF_UNIX); s.bind(name); s.listen(0); "
             "c = socket.socket(socket.AF_UNIX); c.connect(name)"),
    "datagrams": "s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(name)",
}


@pytest.mark.parametrize("how", HOLDERS)
def test_nobody_keeps_the_daemon_from_starting(machine, how):
    """Any user may take the name that keeps two daemons apart."""
    script = f"import socket, sys; name = '\\0waymarkd'; {HOLDERS[how]}; print(1); sys.stdin.read()"
    with machine.popen([sys.executable, "-c", script], uid=65534, stdin=subprocess.PIPE,
                       stdout=subprocess.PIPE) as holder:
        holder.stdout.read(1)
        daemon = Instance(machine).start()
        # a name for datagrams is another one than ours
        assert ("has the name @waymarkd" in daemon.log) == (how != "datagrams")
        daemon.close()
        holder.stdin.close()


def test_another_daemon_is_seen_however_many_ask(machine, daemon):
    """Those who have connected, and went, take no room from who comes later."""
    for _ in range(100):
        with contextlib.suppress(BlockingIOError):
            in_namespace(machine, knock)
    second = Instance(machine).spawn()
    assert second.process.wait(timeout=WAIT) == 1
    assert "another waymarkd runs in this network namespace" in second.log
    second.process = None
    second.close()


def knock():
    with socket.socket(socket.AF_UNIX) as sock:
        sock.setblocking(False)
        sock.connect("\0waymarkd")


@pytest.mark.parametrize("what", ["etc", "etc/waymark.conf", "etc/conf.d"])
def test_a_configuration_that_is_gone_is_no_empty_one(machine, what):
    daemon = Instance(machine, config="[assignments]\nassign = uid:5 none\n")
    drop_ins = daemon.folder / "etc/conf.d"
    drop_ins.mkdir()
    (drop_ins / "1.conf").write_text("[assignments]\nassign = uid:6 none\n")
    daemon.start()
    rules = our_rules(machine)
    path = daemon.folder / what
    path.rename(daemon.folder / "moved")
    result = daemon("reload")
    assert result.code != 0
    assert f"there is no {path}: put it back; an empty one takes out what stood in it" in result.err
    assert our_rules(machine) == rules and set(daemon.assignments()) == {"uid:5", "uid:6"}
    daemon.process.send_signal(signal.SIGHUP)
    wait_for("the message", lambda: f"not reloaded: there is no {path}" in daemon.log)
    (daemon.folder / "moved").rename(path)
    daemon.ok("reload")
    (drop_ins / "1.conf").unlink()
    daemon.ok("reload")
    assert set(daemon.assignments()) == {"uid:5"}, "a file of conf.d may go"
    daemon.config.write_text("")
    daemon.ok("reload")
    assert daemon.assignments() == {}
    daemon.close()


def test_a_configuration_that_is_named_has_to_be_there(machine):
    daemon = Instance(machine)
    daemon.config.unlink()
    daemon.config.parent.rmdir()
    daemon.spawn()
    assert daemon.process.wait(timeout=WAIT) == 1
    assert f"there is no {daemon.config.parent}: put it back" in daemon.log
    daemon.process = None
    daemon.close()


def test_the_type_does_not_depend_on_when_the_interface_came(machine):
    """Without `type =` it is that of the interface, before and after a reload or a restart."""
    daemon = Instance(machine, config="[network n1]\ninterface = tun5\n[assignments]\n"
                      "assign = uid:5 n1\n")
    daemon.start()
    assert daemon.networks()["n1"]["state"] == "absent"
    assert machine.source(5) == "EACCES"
    machine.ip("tuntap add tun5 mode tun", "link set tun5 up", "addr add 10.8.0.2/24 dev tun5")
    wait_for("its type", lambda: daemon.networks()["n1"]["type"] == "vpn")
    for again in (lambda: daemon.ok("reload"), lambda: daemon.stop().start(),
                  lambda: machine.ip("link del tun5"), lambda: daemon.ok("reload")):
        again()
        shown = daemon.networks()["n1"]
        assert (shown["type"], shown["secure"]) == ("vpn", True)
        assert machine.source(5) != "10.0.0.2"
    machine.ip("link add tun5 type veth peer name t5")
    wait_for("its type", lambda: daemon.networks()["n1"]["type"] == "physical")
    daemon.close()


@pytest.mark.parametrize("key, kind", [("secure = no", "vpn"), ("exclude-local = yes", "vpn"),
                                       ("permission = network", "physical"),
                                       ("netid = 7", "physical")])
def test_a_key_that_says_the_type(machine, key, kind):
    daemon = Instance(machine, config=f"[network n1]\ninterface = tun5\n{key}\n")
    daemon.start()
    assert daemon.networks()["n1"]["type"] == kind
    machine.ip("tuntap add tun5 mode tun", "link set tun5 up")
    wait_for("it", lambda: daemon.networks()["n1"]["state"] != "absent")
    daemon.ok("reload")
    assert daemon.networks()["n1"]["type"] == kind
    daemon.close()


# What is said.

@pytest.mark.parametrize("source", [None, "::ffff:10.0.1.2"])
def test_explain_of_an_ipv4_mapped_destination(daemon, source):
    """As the kernel has it: the socket is an IPv6 one, what it sends is IPv4."""
    daemon.ok("assign", "uid:5", "eth1")
    question = {"Uid": Variant("u", 5), "Destination": Variant("s", "::ffff:198.51.100.7")}
    question |= {"Source": Variant("s", source)} if source else {}
    with Peer(daemon.socket) as peer:
        answer, = peer.call("Explain", "a{sv}", question)
    assert (answer["Interface"], answer["Destination"]) == ("eth1", "198.51.100.7")
    assert answer["KernelAgrees"]


def test_one_flush_of_nftables_is_one_deletion(machine, daemon):
    for uid in range(10, 30, 2):
        daemon.ok("assign", f"uid:{uid}", "eth1")
    machine.run(["nft", "flush", "ruleset"])
    wait_for("the table", lambda: "chain guard_postrouting" in nft_table(machine))
    wait_for("the message", lambda: "somebody deleted" in daemon.log)
    assert "somebody deleted 1 of our rules" in daemon.log


def test_panic_off_while_degraded_recovers_nothing(machine, daemon):
    daemon.ok("assign", "uid:5", "none")
    while True:
        before = len(daemon.log)
        with faults(daemon, "sendto:error=EIO"):
            machine.run(["ip", "rule", "del", "prio", "9000"], check=False)
            wait_for("the failure", lambda start=before: "degraded" in daemon.log[start:])
        daemon.ok("panic-off")
        if "applied again" not in daemon.log[before:]:
            break
        daemon.ok("reload")  # its next try came first
    machine.ip("link set eth1 down", "link set eth1 up")
    daemon.ok("doctor")
    assert our_rules(machine) == []
    assert "applied again" not in daemon.log[before:]


# Memory.

def memory(daemon):
    """Resident, in bytes."""
    with open(f"/proc/{daemon.process.pid}/statm", encoding="ascii") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


LARGE = struct.pack("<cBBBIII", b"l", CALL, 0, 1, 120 << 20, 1, 0)
SMALL = message(CALL, 1, {"path": PATH, "interface": MANAGER, "member": "GetNetwork"}, "s", "x")
SAID = {
    "a large message": LARGE,
    "behind a good one": SMALL + LARGE,
    "behind a bad one": SMALL[:1] + b"\x09" + SMALL[2:] + LARGE,
    "behind one without a body": struct.pack("<cBBBIII", b"l", CALL, 0, 1, 0, 1, 0) + LARGE,
    "in the other byte order": struct.pack(">cBBBIII", b"B", CALL, 0, 1, 120 << 20, 1, 0),
    "a large array of fields": struct.pack("<cBBBIII", b"l", CALL, 0, 1, 0, 1, 60 << 20),
}


@pytest.mark.parametrize("said", SAID)
def test_large_messages_of_unprivileged_users_are_not_kept(daemon, said):
    before = memory(daemon)
    peers = [Peer(daemon.socket, EVE) for _ in range(4)]
    sent = 0
    for peer in peers:
        peer.sock.settimeout(WAIT)
        with contextlib.suppress(ConnectionError):
            peer.sock.sendall(SAID[said])
            for _ in range(480):
                peer.sock.sendall(b"x" * (1 << 18))
                sent += 1 << 18
        wait_for("it to be dropped", lambda peer=peer: is_dropped(peer))
        peer.close()
    assert sent < 8 << 20
    if not sanitized():
        assert memory(daemon) - before < 8 << 20
    assert daemon("status", uid=EVE).code == 0


@pytest.mark.parametrize("lines", [b"AUTH\r\n" * 10000, b"x" * 100000,
                                   b"BEGIN\r\n" * 3 + LARGE + b"x" * 100000])
def test_an_authentication_without_end(daemon, lines):
    with connect(daemon.socket, EVE) as sock, contextlib.suppress(ConnectionError):
        sock.settimeout(WAIT)
        sock.sendall(b"\0" + lines)
        while sock.recv(1 << 16):
            pass
    assert daemon("status", uid=EVE).code == 0


def test_messages_in_pieces(daemon):
    """However a client cuts what it says."""
    greeting = b"\0AUTH EXTERNAL " + str(EVE).encode().hex().encode() + b"\r\nBEGIN\r\n"
    said = greeting + b"".join(message(CALL, i, {"path": PATH, "interface": PROPERTIES,
                                                 "member": "Get"}, "ss", MANAGER, "Off")
                               for i in range(1, 9))
    for size in (1, 2, 3, 7, 15, 16, 17, 100, len(greeting), len(greeting) + 5, len(said)):
        with connect(daemon.socket, EVE) as sock:
            sock.settimeout(WAIT)
            for at in range(0, len(said), size):
                sock.sendall(said[at:at + size])
            data = b""
            while data.count(b"l\2\1\1") < 8:
                data += sock.recv(1 << 16)
