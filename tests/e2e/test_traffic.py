# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job: users' traffic goes over the network that was assigned to them.

The detector (a server that tells which address it sees; a capture on every interface) is proven
first, with nothing assigned.
"""

import socket
import struct

import pytest

from harness import PORT, SERVER4, SERVER6, WAIT, Capture, Instance, Machine, wait_for

ALICE, BOB, CAROL, DAVE = 3001, 3002, 3003, 3004
KINDS = ("tcp", "udp", "sendto")


def test_the_detector_sees_where_packets_go(machine):
    assert machine.source(ALICE) == "10.0.0.2"
    assert machine.source(ALICE, SERVER6) == "fd00::2"
    assert machine.source(ALICE, device="eth1") == "10.0.1.2"
    capture = Capture(machine)
    machine.source(ALICE, device="eth1", kind="udp")
    assert ("eth1", "10.0.1.2", SERVER4, 17) in capture.packets()
    capture.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("server,source", [(SERVER4, "10.0.1.2"), (SERVER6, "fd00:1::2")])
def test_require(machine, daemon, kind, server, source):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert machine.source(ALICE, server, kind=kind) == source
    assert machine.source(BOB, server, kind=kind) in ("10.0.0.2", "fd00::2")
    daemon.ok("unassign", f"uid:{ALICE}")
    assert machine.source(ALICE, server, kind=kind) in ("10.0.0.2", "fd00::2")


@pytest.mark.parametrize("server", [SERVER4, SERVER6])
def test_three_users_three_networks_and_one_blocked(server):
    machine = Machine(uplinks=3)
    daemon = Instance(machine).start()
    try:
        for uid, network in ((ALICE, "eth0"), (BOB, "eth1"), (CAROL, "eth2"), (DAVE, "none")):
            daemon.ok("assign", f"uid:{uid}", network)
        sources = [machine.source(uid, server) for uid in (ALICE, BOB, CAROL, DAVE)]
        if server == SERVER4:
            assert sources == ["10.0.0.2", "10.0.1.2", "10.0.2.2", "EACCES"]
        else:
            assert sources == ["fd00::2", "fd00:1::2", "fd00:2::2", "EACCES"]
        assert daemon.json("verify")["verification"]["proved"]
    finally:
        daemon.close()
        machine.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_pulled_uplink_blocks_and_comes_back(machine, daemon, kind):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    capture = Capture(machine)
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    assert machine.source(ALICE, kind=kind) == "EACCES"
    assert machine.source(ALICE, SERVER6, kind=kind) == "EACCES"
    assert daemon.assignments()[f"uid:{ALICE}"]["state"] == "blocked"
    assert not [p for p in capture.packets() if p[2] in (SERVER4, SERVER6)]
    capture.close()
    machine.router.ip("link set up1 up")
    daemon.wait_state("eth1", "up")
    wait_for("the way", lambda: machine.source(ALICE, kind=kind) == "10.0.1.2")


def test_ipv6_is_blocked_on_a_network_that_has_only_ipv4():
    machine = Machine(uplinks=1)
    machine.add_uplink(1, "eth1", six=False)
    daemon = Instance(machine).start()
    try:
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        assert machine.source(ALICE) == "10.0.1.2"
        assert machine.source(ALICE, SERVER6) == "EACCES"
        assert machine.source(BOB, SERVER6) == "fd00::2"
        daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")
        assert machine.source(ALICE) == "10.0.1.2"
        assert machine.source(ALICE, SERVER6) == "fd00::2", "preferred: else the default"
    finally:
        daemon.close()
        machine.close()


def test_prefer_falls_back_and_may_be_bypassed(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")
    assert machine.source(ALICE) == "10.0.1.2"
    assert machine.source(ALICE, device="eth0") == "10.0.0.2"
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    assert machine.source(ALICE) == "10.0.0.2"
    assert daemon.assignments()[f"uid:{ALICE}"]["state"] == "fallback"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("network", ["eth1", "none"])
def test_a_bound_device_is_no_way_out(machine, daemon, kind, network):
    daemon.ok("assign", f"uid:{ALICE}", network)
    capture = Capture(machine)
    for server in (SERVER4, SERVER6):
        machine.source(ALICE, server, device="eth0", kind=kind, seconds=0.3)
    assert not [p for p in capture.packets() if p[0] == "eth0" and p[2] in (SERVER4, SERVER6)]
    capture.close()


def multicast_and_broadcast():
    four = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    four.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    six = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    for index, subnet in ((socket.if_nametoindex("eth0"), 0), (socket.if_nametoindex("eth1"), 1)):
        mreqn = struct.pack("4s4si", b"\0" * 4, b"\0" * 4, index)
        four.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
        for address in ("239.9.9.9", "224.0.0.251", f"10.0.{subnet}.255", "255.255.255.255"):
            try:
                four.sendto(b"x", (address, PORT))
            except OSError:
                pass
        try:
            six.sendto(b"x", ("ff02::fb", PORT, 0, index))
        except OSError:
            pass


def test_multicast_and_broadcast_stay_on_the_network(machine, daemon):
    capture = Capture(machine)
    machine.call(multicast_and_broadcast, uid=ALICE)
    assert {p[0] for p in capture.packets()} >= {"eth0", "eth1"}, "the detector sees them"
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    machine.call(multicast_and_broadcast, uid=ALICE)
    assert {p[0] for p in capture.packets() if p[3] == 17} == {"eth1"}
    capture.close()


def test_the_default_network(machine, daemon):
    daemon.ok("default", "eth1")
    assert machine.source(BOB) == "10.0.1.2"
    assert machine.source(BOB, SERVER6) == "fd00:1::2"
    assert machine.source(BOB, device="eth0") == "10.0.0.2", "an interface that is asked for"
    machine.router.ip("link set up1 down")
    daemon.wait_state("eth1", "down")
    assert machine.source(BOB) == "ENETUNREACH", "Android's way: no other network is taken"
    daemon.ok("default", "system")
    assert machine.source(BOB) == "10.0.0.2"


def test_loopback_and_own_addresses_work_for_the_blocked(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "none")

    def talk_to_myself(address):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with socket.create_server((address, 0), family=family) as server:
            client = socket.create_connection(server.getsockname()[:2], timeout=WAIT)
            peer, _ = server.accept()
            peer.sendall(b"hello")
            return client.recv(10)

    for address in ("127.0.0.1", "::1", "10.0.0.2", "fd00:1::2"):
        assert machine.call(talk_to_myself, address, uid=ALICE) == b"hello"


def serve_once(port, seconds=WAIT):
    with socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True) as server:
        server.settimeout(seconds)
        peer, _ = server.accept()
        mark = peer.getsockopt(socket.SOL_SOCKET, 36)  # SO_MARK
        peer.sendall(b"served")
        # The client closes first. Had we done so, the kernel would send the last ACK for us, from
        # TIME_WAIT: an answer without a socket, which fwmark_reflect sends back where the FIN came from.
        peer.settimeout(seconds)
        assert peer.recv(1) == b""
        return mark


def test_answers_go_back_where_the_question_came_from(machine, daemon):
    """android.md §7, assertions 46 and 47: a server on the second uplink; a closed port there."""
    daemon.ok("default", "eth0")  # so that, unmarked, the answer would leave by eth0
    netid = daemon.networks()["eth1"]["netid"]

    def ask(port):
        # from an address that only the way by eth1 leads back to… from the default's point of view
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.bind((SERVER4, 0))
        sock.settimeout(10)
        try:
            sock.connect(("10.0.1.2", port))
            return sock.recv(10)
        except ConnectionRefusedError:
            return b"refused"
        except TimeoutError:
            return b"timeout"

    capture = Capture(machine)
    assert machine.router.call(ask, 9) == b"refused"
    assert {p[0] for p in capture.packets() if p[2] == SERVER4} == {"eth1"}

    server = machine.start_call(serve_once, 8100)
    wait_for("the server", lambda: machine.router.call(ask, 8100) == b"served")
    mark = server.result()
    assert mark & 0xFFFFF == netid | 0x30000, hex(mark)
    assert {p[0] for p in capture.packets() if p[2] == SERVER4} == {"eth1"}
    capture.close()


def ask_netd(daemon, request):
    with socket.socket(socket.AF_UNIX) as netd:
        netd.connect(f"{daemon.runtime}/netd")
        netd.sendall(f"1 {request}\0".encode())
        return netd.recv(1000)


@pytest.mark.rules
def test_a_connection_from_outside_is_no_way_past_a_vpn(machine, daemon):
    """An accepted socket inherits the mark of the packet that came in, protected bit and all. That is no
    transport of a VPN's, also not of those who may protect sockets: what they answer is dropped."""
    daemon.ok("network", "add", "work", "--type", "vpn", "--interface", "eth1")

    def ask(seconds=WAIT):
        with socket.create_connection(("10.0.0.2", 8100), timeout=seconds) as sock:
            return sock.recv(10)

    def answers_left_by():
        """The interfaces by which the neighbour on eth0 is answered by alice's server."""
        server = machine.start_call(serve_once, 8100, uid=ALICE)
        wait_for("the server", lambda: machine.run(["ss", "-Hltn", "sport = 8100"]).stdout)
        capture = Capture(machine)
        assert machine.router.call(ask) == b"served"
        server.result()
        left = {p[0] for p in capture.packets() if p[1:3] == ("10.0.0.2", "10.0.0.1")}
        capture.close()
        return left

    assert answers_left_by() == {"eth0"}
    daemon.ok("assign", f"uid:{ALICE}", "work")
    assert answers_left_by() == {"eth1"}
    assert b"200 1 success" in ask_netd(daemon, f"network protect allow {ALICE}")
    server = machine.start_call(serve_once, 8100, 5, uid=ALICE)
    wait_for("the server", lambda: machine.run(["ss", "-Hltn", "sport = 8100"]).stdout)
    with pytest.raises(TimeoutError):
        machine.router.call(ask, 3)
    with pytest.raises(TimeoutError):
        server.result()


def test_explain_agrees_with_what_happens(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "none")
    for uid in (ALICE, BOB, CAROL):
        for server in (SERVER4, SERVER6):
            explained = daemon.json("explain", "--uid", str(uid), server)["explanation"]
            seen = machine.source(uid, server)
            assert explained["kernel_agrees"]
            if explained["error"] == 0:
                assert seen == explained["source"]
            else:
                assert seen == "EACCES" and explained["error"] == 13


def test_a_connection_that_was_open_keeps_working_when_others_change(machine, daemon):
    """Adding and removing assignments of others breaks no connection."""

    def hold(read, write):
        sock = socket.create_connection((SERVER4, PORT), timeout=WAIT)
        lines = [sock.recv(100)]
        while True:
            command = read.recv(1)
            if command == b"q":
                return lines
            sock.sendall(b"ping")
            lines.append(sock.recv(100))
            write.send(b"k")

    ours, theirs = socket.socketpair()
    process = machine.start_call(hold, theirs, theirs, uid=CAROL)
    theirs.close()
    for i in range(10):
        daemon.ok("assign", f"uid:{ALICE}", ("eth0", "eth1", "none")[i % 3])
        ours.send(b"p")
        assert ours.recv(1) == b"k"
    ours.send(b"q")
    assert len(process.result()) == 11
