# SPDX-License-Identifier: LGPL-2.1-or-later
"""`waymark apps`: what each app has sent and got, by network, and what was dropped and why."""

import socket

from harness import PORT, SERVER4, SERVER6, WAIT, Instance, wait_for
from maps_fixture import machine, program

ALICE, BOB, CAROL = 3001, 3002, 3003
UDP4, UDP6 = 28, 48  # headers


def send(count, size=100, server=SERVER4, device=None):
    """Datagrams to a port that nobody answers from; how many the kernel took."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    taken = 0
    with socket.socket(family, socket.SOCK_DGRAM) as sock:
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode())
        for _ in range(count):
            try:
                sock.sendto(bytes(size), (server, 9))
                taken += 1
            except OSError:
                pass
    return taken


def listed(daemon, selector):
    """What is said of an app; its counters by network."""
    doc = daemon.json("apps")
    assert doc["counted"] is True and doc["reason"] == ""
    app, = [a for a in doc["apps"] if a["selector"] == selector]
    return app | {"counters": {c["network"]: c for c in app["counters"]}}


def counters(daemon, selector):
    return listed(daemon, selector)["counters"]


def test_packets_and_bytes_that_go_out(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    app = listed(daemon, f"uid:{ALICE}")
    assert (app["network"], app["strength"], app["counters"]) == ("eth1", "require", {})
    assert machine.call(send, 7, uid=ALICE) == 7
    assert machine.call(send, 3, 50, SERVER6, uid=ALICE) == 3
    netid = daemon.networks()["eth1"]["netid"]
    seen = counters(daemon, f"uid:{ALICE}")["eth1"]
    seen = dict(seen, packets_in=0, bytes_in=0)  # ICMP errors may come back
    assert seen == {"network": "eth1", "netid": netid, "packets_out": 10,
                    "bytes_out": 7 * (100 + UDP4) + 3 * (50 + UDP6), "packets_in": 0,
                    "bytes_in": 0, "drops": {}}


def test_packets_that_come_in(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1", "--prefer")

    def talk():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(WAIT)
            sock.connect((SERVER4, PORT))
            sock.send(b"x")
            return len(sock.recv(99))

    size = machine.call(talk, uid=ALICE)
    seen = counters(daemon, f"uid:{ALICE}")["eth1"]
    assert (seen["packets_out"], seen["bytes_out"]) == (1, 1 + UDP4)
    assert (seen["packets_in"], seen["bytes_in"]) == (1, size + UDP4)
    assert machine.source(ALICE) == "10.0.1.2"
    assert counters(daemon, f"uid:{ALICE}")["eth1"]["bytes_in"] > size + UDP4


def test_drops_and_why(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "none")
    assert machine.call(send, 4, 100, SERVER4, "eth0", uid=ALICE) == 0
    assert machine.call(send, 5, 100, SERVER4, "eth0", uid=BOB) == 0
    assert counters(daemon, f"uid:{ALICE}")["eth0"]["drops"] == {"interface": 4}
    assert counters(daemon, f"uid:{BOB}")["eth0"]["drops"] == {"none": 5}
    assert counters(daemon, f"uid:{BOB}")["eth0"]["packets_out"] == 0
    text = daemon.ok("apps").out
    assert "4 by another interface" in text and "5 has no network" in text


def test_neighbours_on_one_network_are_apps_of_their_own(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "eth1")
    daemon.ok("assign", f"uid:{ALICE}-{CAROL}", "eth1")
    rules = len(machine.run(["ip", "rule"]).stdout.splitlines())
    for uid, count in ((ALICE, 2), (BOB, 3), (CAROL, 4)):
        assert machine.call(send, count, uid=uid) == count
    for selector, count in ((f"uid:{ALICE}", 2), (f"uid:{BOB}", 3), (f"uid:{ALICE}-{CAROL}", 4)):
        assert counters(daemon, selector)["eth1"]["packets_out"] == count
    daemon.ok("unassign", f"uid:{BOB}")
    assert len(machine.run(["ip", "rule"]).stdout.splitlines()) == rules
    assert machine.call(send, 1, uid=BOB) == 1
    assert counters(daemon, f"uid:{ALICE}-{CAROL}")["eth1"]["packets_out"] == 5


def test_programs_and_cgroups(machine, daemon, program):
    code = f"import socket; socket.socket(2, 2).sendto(b'x', ('{SERVER4}', 9))"
    cgroup = machine.below("apps")
    daemon.ok("assign", f"cgroup:{cgroup}", "eth1")
    daemon.ok("assign", f"exe:{program}", "eth1", "--prefer")
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    for command in ([program], [program], ["/usr/bin/python3"]):
        with machine.popen([*command, "-I", "-c", code], uid=ALICE) as process:
            assert process.wait(WAIT) == 0
    assert counters(daemon, f"exe:{program}")["eth1"]["packets_out"] == 2
    assert counters(daemon, f"cgroup:{cgroup}")["eth1"]["packets_out"] == 1
    assert counters(daemon, f"uid:{ALICE}") == {}


def test_who_prefers_a_network_that_is_away_is_counted_where_he_is(machine, daemon):
    daemon.ok("network", "add", "work")
    daemon.ok("assign", f"uid:{ALICE}", "work", "--prefer")
    assert machine.call(send, 2, uid=ALICE) == 2
    assert counters(daemon, f"uid:{ALICE}")["eth0"]["packets_out"] == 2


def test_a_change_of_network_keeps_what_was_counted(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    machine.call(send, 2, uid=ALICE)
    daemon.ok("assign", f"uid:{ALICE}", "eth0")
    machine.call(send, 3, uid=ALICE)
    seen = counters(daemon, f"uid:{ALICE}")
    assert (seen["eth1"]["packets_out"], seen["eth0"]["packets_out"]) == (2, 3)
    rows = [line.split()[3:5] for line in daemon.ok("apps").out.splitlines()]
    assert ["eth0", "3"] in rows and ["eth1", "2"] in rows


def test_counters_go_on_without_the_daemon_and_after_it(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    daemon.ok("assign", f"uid:{BOB}", "eth1")
    for uid in (ALICE, BOB):
        machine.call(send, 2, uid=uid)
    daemon.kill()
    machine.call(send, 3, uid=ALICE)
    daemon.start()
    machine.call(send, 4, uid=ALICE)
    assert counters(daemon, f"uid:{ALICE}")["eth1"]["packets_out"] == 9
    assert counters(daemon, f"uid:{BOB}")["eth1"]["packets_out"] == 2


def test_counters_go_with_the_assignment(machine, daemon):
    for uid in (ALICE, BOB):
        daemon.ok("assign", f"uid:{uid}", "eth1")
        machine.call(send, 2, uid=uid)
    daemon.ok("unassign", f"uid:{ALICE}")
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert counters(daemon, f"uid:{ALICE}") == {}
    assert counters(daemon, f"uid:{BOB}")["eth1"]["packets_out"] == 2
    daemon.stop()
    text = daemon.state_file.read_text()
    daemon.state_file.write_text("".join(
        line for line in text.splitlines(True) if str(BOB) not in line))
    daemon.start()
    daemon.ok("assign", f"uid:{BOB}", "eth1")
    assert counters(daemon, f"uid:{BOB}") == {}


def test_everybody_may_look(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    assert daemon.ok("apps", uid=CAROL).out.splitlines()[0].split()[:3] == [
        "SELECTOR", "NETWORK", "STRENGTH"]
    daemon.ok("unassign", f"uid:{ALICE}")
    assert daemon.ok("apps").out == "no assignments\n"


def test_rules_count_nobody_and_say_so(machine):
    daemon = Instance(machine, "--backend", "rules", "--bpffs", machine.bpffs)
    try:
        daemon.start()
        daemon.ok("assign", f"uid:{ALICE}", "eth1")
        doc = daemon.json("apps")
        assert doc["counted"] is False and "back-end maps" in doc["reason"]
        assert doc["apps"] == [
            {"selector": f"uid:{ALICE}", "network": "eth1", "strength": "require"}]
        assert daemon.ok("apps").out == f"not counted: {doc['reason']}\n"
    finally:
        daemon.close()


def test_off_counts_nobody_and_says_so(machine, daemon):
    daemon.ok("assign", f"uid:{ALICE}", "eth1")
    machine.call(send, 2, uid=ALICE)
    daemon.ok("panic-off")
    assert "off" in daemon.json("apps")["reason"]
    daemon.ok("reload")
    wait_for("a packet that counts", lambda: machine.call(send, 1, uid=ALICE) and
             counters(daemon, f"uid:{ALICE}")["eth1"]["packets_out"] > 0)
