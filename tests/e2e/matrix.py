# SPDX-License-Identifier: LGPL-2.1-or-later
"""The end-to-end matrix: apps that send in every way there is, and where their packets went.

    strength (who is assigned how) × kind × family × who in the program × option × program

One machine with uplinks eth0, the default, and eth1, to which apps are assigned; four apps at once:
one that nobody has assigned, who shows that the captures see each way of sending on the wire that
it asks for, and one for each strength. programs/probe.c sends, each packet with its own number;
a capture on every interface of the machine tells by that number where it left.

What carries the decision (PATHS) and what an app is known by (SELECTORS) are rows of tables; a test
takes a pair of them:

    with Matrix(PATHS["rules"], SELECTORS["uid"]) as matrix:
        rows = matrix.run(CASES)
        assert not complaints(rows), report(complaints(rows))
"""

import contextlib
import errno
import itertools
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
from dataclasses import dataclass, field, replace

from harness import (
    PORT, SERVER4, SERVER6, WAIT, Capture, Instance, Machine, cgroup2, check_sanitizers, wait_for)
from library import EXPLICIT, LIBRARY, PROGRAMS, environment
from maps_fixture import BoundMachine

OPTIONAL = {"mptcp": (socket.SOCK_STREAM, 262), "udplite": (socket.SOCK_DGRAM, 136)}  # in a kernel
STREAMS = ("tcp", "mptcp")
DATAGRAMS = ("udp-connected", "udp-unconnected", "udplite", "ping", "raw", "hdrincl")
RAW = ("raw", "hdrincl")
KINDS = STREAMS + DATAGRAMS
FAMILIES = ("4", "6", "mapped")
PERFORMERS = ("main", "thread", "child")
STRENGTHS = ("unassigned", "require", "prefer", "none")
BLOCKED = "blocked"
REFUSED = "refused"  # by the kernel, whoever asks
FIRST_PORT, PORTS = 20000, 40000
PATIENCE = 5000  # ms for an answer that is expected
STEPS = ("socket", "option", "connect", "send", "answer")


def kernel_lacks(kind):
    """Was it built without?"""
    if kind in OPTIONAL:
        try:
            socket.socket(socket.AF_INET, *OPTIONAL[kind]).close()
        except OSError as error:
            assert error.errno == errno.EPROTONOSUPPORT
            return True
    return False


MISSING = {kind for kind in KINDS if kernel_lacks(kind)}


# --- cases ---------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Option:
    """A way to ask for a wire.

    insists   ignored; nothing: the destination is that wire's own router; wish: by a mark, which
              an assignment overrules; api: by libwaymark, which refuses what an assignment forbids;
              wire: whatever the routes say; link: the destination has to be on that wire
    """

    name: str
    insists: str = "nothing"
    kinds: tuple = KINDS
    families: tuple = FAMILIES
    near: bool = False  # to the router's address on that wire, not to the server
    privileged: bool = False
    program: str = None  # the only one that has it
    for_all: bool = True  # not only for the main thread


OPTIONS = (
    Option("device", "wire"),
    Option("ip-pktinfo", "wire", kinds=DATAGRAMS, families=("4", "mapped")),
    Option("ipv6-pktinfo", "wire", kinds=("tcp", *DATAGRAMS), families=("6", "mapped")),
    Option("unicast-if", "wire", kinds=("tcp", *DATAGRAMS), for_all=False),
    Option("dontroute", "link", near=True),
    NEAR := Option("near", near=True, for_all=False),
    Option("mark", "wish", privileged=True, for_all=False),
    Option("network", "api", program="probe-libwaymark"),
)
PLAIN = Option("plain", "ignored")


@dataclass(frozen=True)
class Case:
    kind: str
    family: str
    who: str
    option: Option = PLAIN
    wire: int = None  # that the option asks for

    @property
    def privileged(self):
        """Wants CAP_NET_RAW."""
        return self.kind in RAW or self.option.privileged

    @property
    def on_wire(self):
        """4 or 6: what leaves. To raw sockets a mapped address is an IPv6 address like others."""
        return 6 if self.family == "6" or self.is_raw_mapped else 4

    @property
    def is_raw_mapped(self):
        return self.family == "mapped" and self.kind in RAW

    @property
    def refused(self):
        """The kernel has no such sockets, or they want no such address: nothing is ever sent."""
        return self.kind in MISSING or (self.family, self.kind) == ("mapped", "ping")

    @property
    def connect(self):
        """The same without what comes when it sends."""
        if self.option.near:
            return replace(self, option=NEAR)
        return replace(self, option=PLAIN, wire=None)

    def address(self):
        near = self.option.near
        if self.family == "6":
            return f"fd00:{self.wire}::1" if near else SERVER6
        four = f"10.0.{self.wire}.1" if near else SERVER4
        return f"::ffff:{four}" if self.family == "mapped" else four

    def __str__(self):
        wire = "" if self.wire is None else f" eth{self.wire}"
        return f"{self.kind:15} {self.family:6} {self.who:6} {self.option.name}{wire}"


def all_cases():
    """Threads and children do without some options: what comes after the socket was made does not
    depend on who has made it."""
    for kind, family, who in itertools.product(KINDS, FAMILIES, PERFORMERS):
        yield Case(kind, family, who)
        for option, wire in itertools.product(OPTIONS, (0, 1)):
            if (kind in option.kinds and family in option.families
                    and (who == "main" or option.for_all)):
                yield Case(kind, family, who, option, wire)


CASES = tuple(all_cases())


# --- what has to come of them --------------------------------------------------------------------

# by how much the case insists on eth0, and by strength: where its packets go
ASKED_FOR_ETH0 = {
    #           unassigned, require, prefer, none
    "ignored": (0, 1, 1, BLOCKED),
    "nothing": (0, 1, 1, BLOCKED),
    "wish":    (0, 1, 0, BLOCKED),
    "link":    (0, BLOCKED, 0, BLOCKED),
    "wire":    (0, BLOCKED, 0, BLOCKED),
    "api":     (0, BLOCKED, 0, BLOCKED),
}
ASKED_FOR_ETH1 = (1, 1, 1, BLOCKED)
SOURCES = {4: ("10.0.0.2", "10.0.1.2"), 6: ("fd00::2", "fd00:1::2")}


def insistence(case, strength, path):
    """Option.insists, as it is for this kind of socket; or "ignored"."""
    name = case.option.name
    if case.is_raw_mapped and (case.option.near or name == "ip-pktinfo"):
        return "ignored"  # what leaves is IPv6
    if name == "dontroute" and (case.on_wire == 6 or case.kind == "mptcp"):
        return "nothing"  # they know neither MSG_DONTROUTE nor SO_DONTROUTE
    if name in ("ipv6-pktinfo", "unicast-if") and case.kind in STREAMS:
        return "ignored"
    if (name, case.kind, case.on_wire) == ("ipv6-pktinfo", "udp-connected", 6):
        return "wish"  # a route by another interface is taken, too, once there is a source address
    if (name == "mark" and path.by_marks and case.kind not in (*STREAMS, "udp-connected")
            and strength in ("require", "none")):
        return "wire"  # nobody puts the mark right in time: the guard drops
    return case.option.insists


def expected(case, strength, path, families):
    """A wire, BLOCKED or REFUSED; families: what eth1 has of 4 and 6."""
    if case.refused:
        return REFUSED
    if case.kind == "mptcp" and path.by_marks and strength in ("require", "none"):
        return BLOCKED  # its connections are made by the kernel: nobody marks them
    insists = insistence(case, strength, path)
    if case.wire == 1 and insists != "ignored":
        wanted = ASKED_FOR_ETH1[STRENGTHS.index(strength)]
    else:
        wanted = ASKED_FOR_ETH0[insists][STRENGTHS.index(strength)]
    if wanted != 1 or case.on_wire in families:
        return wanted
    # who has selected a network is refused what its table does not know (docs/rules.md, 32000)
    refused = insists == "wire" or case.option.name in ("mark", "network")
    return BLOCKED if strength == "require" or refused else 0


@dataclass
class Row:
    """A case that was done: by whom, and what came of it."""

    number: int
    case: Case
    strength: str
    program: str
    families: tuple  # that eth1 has
    wanted: object  # of expected()
    connected: object  # the same of case.connect
    mark: object = None  # what the network bits of SO_MARK have to be; None = not looked at
    loud: bool = True  # a blocked app is told so at once: by the rules
    result: dict = None  # of the probe: errnos
    packets: set = field(default_factory=set)  # (interface, source address)

    @property
    def error(self):
        """The errno of the step that failed; 0: none did."""
        return next((self.result[step] for step in STEPS if self.result[step] > 0), 0)

    @property
    def strays(self):
        """A connected socket sends this one packet by another wire than it is connected by."""
        return (self.case.kind == "udp-connected" and self.wanted != self.connected
                and self.case.option.name in ("ip-pktinfo", "ipv6-pktinfo", "dontroute"))

    @property
    def source(self):
        """The address it comes from: once connected, a socket has one, which only IPv4's packet
        information overrules."""
        if self.case.kind == "hdrincl" and self.case.on_wire == 6:
            return "::"  # as programs/probe.c wrote it
        kept = self.strays and (self.case.on_wire == 6 or self.case.option.near)
        return SOURCES[self.case.on_wire][self.connected if kept else self.wanted]

    @property
    def answered(self):
        """Nobody answers UDP-Lite, hdrincl (which cannot receive), IPv6 to mapped addresses. And
        what comes from another address than the socket is connected from, is answered to that."""
        nobody = self.case.kind in ("udplite", "hdrincl") or self.case.is_raw_mapped
        connected = SOURCES[self.case.on_wire][self.connected] if self.strays else self.source
        return not nobody and self.source == connected

    @property
    def forbidden(self):
        """It selects a network that its assignment is not for."""
        return (self.case.option.insists == "api"
                and (self.strength == "none" or (self.strength, self.case.wire) == ("require", 0)))

    def line(self):
        """For programs/probe.c, but for the options' values."""
        patience = PATIENCE if self.wanted in (0, 1) and self.answered else 0
        return (f"{self.number} {self.case.kind} {self.case.who} {self.case.address()} "
                f"{FIRST_PORT + self.number} {patience}")

    def complaint(self):
        """What is wrong with it; None: nothing."""
        wires = {interface for interface, _ in self.packets}
        if self.result is None:
            return "the probe says nothing"
        if self.wanted in (0, 1):
            return self._complaint_of_one_that_passes(wires)
        if wires:
            return f"{self._word(wires)}: {self.wanted}, and left by {', '.join(sorted(wires))}"
        if self.error == 0:
            return f"{self.wanted}, and nothing tells the app"
        if self.wanted == BLOCKED and self.result["socket"] == 0 and self.forbidden:
            return None if self.result["option"] == errno.EPERM else "libwaymark does not refuse"
        silent = self.result["option"] <= 0 and self.error in (errno.ETIMEDOUT, errno.EPERM)
        if silent and self.wanted == BLOCKED and self.loud:
            return "held by the guard alone: the rules let it pass"
        return self._complaint_about_mark()

    def _word(self, wires):
        """Only who is held can leak."""
        allowed = {"require": {"eth1"}, "none": set()}.get(self.strength, wires)
        return "LEAKED" if wires - allowed else "WRONG"

    def _complaint_of_one_that_passes(self, wires):
        right = f"eth{self.wanted}"
        if wires - {right}:
            return f"{self._word(wires)}: left by {', '.join(sorted(wires))}, not by {right} alone"
        if not wires:
            return f"did not leave by {right}"
        if self.packets != {(right, self.source)}:
            return f"left with a source address that is not {self.source}"
        if self.error and (self.answered or self.error != errno.ETIMEDOUT):
            return "left as it should, and failed"
        return self._complaint_about_mark()

    def _complaint_about_mark(self):
        chosen = self.case.option.name in ("mark", "network")
        for when in ("mark_made",) if chosen else ("mark_made", "mark_sent"):
            mark = self.result[when]
            if self.mark is not None and mark >= 0 and mark & 0x1FFFF != self.mark:
                return f"{when} is {mark:#x}, not {self.mark:#x}"
        return None

    def __str__(self):
        result = self.result or dict.fromkeys((*STEPS, "mark_made", "mark_sent"), -1)
        steps = " ".join(f"{step}={errno.errorcode.get(result[step], 'ok')}" for step in STEPS
                         if result[step] >= 0)
        packets = " ".join(f"{interface}:{source}" for interface, source in sorted(self.packets))
        return (f"{self.number:6} {self.strength:10} {self.program:16} {str(self.case):44} "
                f"eth1={self.families} wanted={self.wanted} seen=[{packets}] {steps} "
                f"marks={result['mark_made']:#x},{result['mark_sent']:#x}")


def complaints(rows):
    return [row for row in rows if row.complaint()]


def report(rows):
    """A table, the worst first."""
    rows = sorted(rows, key=lambda row: ("LEAKED" not in row.complaint(), row.number))
    return "\n".join([f"{len(rows)} cases are not as they should be:",
                      *(f"{row} → {row.complaint()}" for row in rows)])


# --- who sends -----------------------------------------------------------------------------------

class App:
    """Processes that a selector means, and no others: by their user."""

    def __init__(self, number, folder, cgroup):
        del cgroup  # only those that are known by it stand in one of their own
        self.uid = 3001 + number
        self.folder = folder
        self.selectors = [f"uid:{self.uid}"]

    def program(self, name):
        return PROGRAMS / name

    def enter(self):
        """In the child, still as root."""

    def close(self):
        pass


class CgroupApp(App):
    """By its cgroup."""

    def __init__(self, number, folder, cgroup):
        super().__init__(number, folder, cgroup)
        self.path = cgroup / self.name(f"waymark-test-{os.getpid()}-{number}")
        self.path.mkdir()
        self.selectors = [f"cgroup:/{self.path.relative_to(cgroup2())}"]

    def name(self, stem):
        return stem

    def enter(self):
        (self.path / "cgroup.procs").write_text("0")

    def close(self):
        wait_for("the cgroup to be empty", lambda: not (self.path / "cgroup.procs").read_text())
        self.path.rmdir()


class UnitApp(CgroupApp):
    """By its systemd unit, which is a cgroup of that name."""

    def __init__(self, number, folder, cgroup):
        super().__init__(number, folder, cgroup)
        self.selectors = [f"unit:{self.path.name}"]

    def name(self, stem):
        return f"{stem}.service"


class ExeApp(App):
    """By its executable: copies of the programs."""

    def __init__(self, number, folder, cgroup):
        super().__init__(number, folder, cgroup)
        self.copies = folder / f"app-{number}"
        self.copies.mkdir(mode=0o755)
        self.selectors = []

    def program(self, name):
        copy = self.copies / name
        if not copy.exists():
            shutil.copy(PROGRAMS / name, copy)
            self.selectors.append(f"exe:{copy}")
        return copy


SELECTORS = {"uid": App, "cgroup": CgroupApp, "unit": UnitApp, "exe": ExeApp}


# --- what carries the decision -------------------------------------------------------------------

@dataclass(frozen=True)
class Path:
    """A back-end, and how programs come to it.

    by_marks  rules look at marks alone, not at uids
    marks     the programs whose sockets are marked when they are made
    misses    the programs that it cannot see, and why their packets go right all the same
    """

    name: str
    selectors: tuple
    programs: tuple
    maps: bool = False  # the daemon's back-end
    preload: bool = False
    by_marks: bool = False
    marks: tuple = ()
    misses: dict = field(default_factory=dict, hash=False)

    @property
    def asks(self):
        """Nothing is sent when there is nobody to ask: the libraries fail closed."""
        return self.preload or "probe-libwaymark" in self.programs


PATHS = {path.name: path for path in (
    Path("rules", ("uid",), ("probe", "probe-static")),
    Path("maps", ("uid", "cgroup", "unit", "exe"), ("probe", "probe-static"),
         maps=True, by_marks=True, marks=("probe", "probe-static")),
    Path("preload", ("uid",), ("probe", "probe-static"), preload=True, marks=("probe",),
         misses={"probe-static": "nothing is loaded into it: rules and guard hold it, unmarked"}),
    Path("libwaymark", ("uid",), ("probe-libwaymark",), marks=("probe-libwaymark",)),
    # Both at once: a program made for Android's way, on a kernel that can mark.
    Path("maps-preload", ("uid", "cgroup", "unit", "exe"), ("probe",), maps=True, by_marks=True,
         preload=True, marks=("probe",)),
    Path("maps-libwaymark", ("uid", "cgroup", "unit", "exe"), ("probe-libwaymark",), maps=True,
         by_marks=True, marks=("probe-libwaymark",)),
)}


# --- the machine ---------------------------------------------------------------------------------

class Sightings(Capture):
    """Which numbers were seen leaving by which interfaces."""

    token = re.compile(rb"<waymark (\d+)>")

    def look(self):
        """[(number or None, interface, source address, protocol)] since the last call."""
        found = []
        while True:
            try:
                data, (name, _, pkttype, *_) = self.sock.recvfrom(65536)
            except BlockingIOError:
                self._check_that_none_was_missed()
                return found
            if pkttype == 4 and data:  # PACKET_OUTGOING
                found.append((self._number(data), name, *self._header(data)))

    def _check_that_none_was_missed(self):
        statistics = self.sock.getsockopt(263, 6, 8)  # SOL_PACKET, PACKET_STATISTICS
        assert statistics[4:] == bytes(4), "the capture has lost packets"

    @staticmethod
    def _header(data):
        if data[0] >> 4 == 4:
            return socket.inet_ntoa(data[12:16]), data[9]
        if data[0] >> 4 == 6:
            return socket.inet_ntop(socket.AF_INET6, data[8:24]), data[6]
        return "", 0

    def _number(self, data):
        found = self.token.search(data)
        if found:
            return int(found[1])
        at = (data[0] & 15) * 4 if data[0] >> 4 == 4 else 40
        if self._header(data)[1] != socket.IPPROTO_TCP or len(data) < at + 4:
            return None
        number = int.from_bytes(data[at + 2:at + 4], "big") - FIRST_PORT
        return number if 0 < number < PORTS else None


class Matrix:
    """The machine, its daemon and the apps, one for each strength, all assigned."""

    def __init__(self, path, app_type):
        self.path = path
        self.families = (4, 6)
        self.numbers = itertools.count(1)
        self.machine = BoundMachine() if path.maps else Machine()
        self.daemon = Instance(self.machine, *self.machine.options())
        self.apps = {strength: app_type(i, self.daemon.folder,
                                        self.machine.cgroup if path.maps else cgroup2())
                     for i, strength in enumerate(STRENGTHS)}
        self._prepare_kernel()

    def __enter__(self):
        try:
            self.daemon.start()
            for strength, app in self.apps.items():
                self._assign(strength, app)
            self.networks = self.daemon.networks()
            self.indexes = {name: self.machine.ifindex(name) for name in self.networks}
            # a copy of a program does not find the libraries of the build by itself
            self.environment = environment(self.daemon, preload=self.path.preload,
                                           LD_LIBRARY_PATH=str(LIBRARY.parent))
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        with contextlib.ExitStack() as stack:
            for thing in (self.machine, self.daemon, *self.apps.values()):
                stack.callback(thing.close)

    def take_ipv6(self):
        """From now on eth1 has only IPv4."""
        table = 1000 + self.machine.ifindex("eth1")
        self.machine.ip("-6 route del default dev eth1", "-6 addr flush dev eth1 scope global")
        wait_for("the routes to go", lambda: not [
            line for line in self.machine.show(f"-6 route show table {table}")
            if not line.startswith(("fe80:", "ff00:", "multicast"))])
        self.families = (4,)

    def take_carrier(self):
        """From now on eth1 is down."""
        self.machine.router.ip("link set up1 down")
        self.daemon.wait_state("eth1", "down")
        self.families = ()

    def _prepare_kernel(self):
        """Ping sockets for all; neighbours that are known, so that a packet leaves within the call
        that sends it; and a server that listens on all ports, so that each case has one."""
        machine, router = self.machine, self.machine.router
        machine.run(["sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647"])
        for i in (0, 1):
            link, = json.loads(router.run(["ip", "-j", "link", "show", f"up{i}"]).stdout)
            for address in (f"10.0.{i}.1", SERVER4, f"fd00:{i}::1", SERVER6):
                machine.ip(f"neigh replace {address} lladdr {link['address']} dev eth{i} "
                           "nud permanent")
        ports = f"{FIRST_PORT}-{FIRST_PORT + PORTS - 1}"
        router.run(["nft", "add table inet matrix; "
                    "add chain inet matrix in { type nat hook prerouting priority -100; }; "
                    + "".join(f"add rule inet matrix in meta nfproto {family} {protocol} dport "
                              f"{ports} dnat {ip} to {address}:{PORT}; "
                              for protocol in ("tcp", "udp")
                              for family, ip, address in (("ipv4", "ip", SERVER4),
                                                          ("ipv6", "ip6", f"[{SERVER6}]")))])

    def _assign(self, strength, app):
        for name in self.path.programs:
            app.program(name)  # it knows its executables from then on
        network = {"require": ["eth1"], "prefer": ["eth1", "--prefer"], "none": ["none"]}
        for selector in app.selectors:
            if strength in network:
                self.daemon.ok("assign", selector, *network[strength])

    def _options(self, case):
        """What stands behind a line for programs/probe.c."""
        if case.option.name in ("plain", "near"):
            return ""
        name = f"eth{case.wire}"
        netid = self.networks[name]["netid"]
        value = {"device": name, "dontroute": "-", "mark": hex(EXPLICIT | netid),
                 "network": netid}.get(case.option.name, self.indexes[name])
        return f" {case.option.name} {value}"

    def _mark(self, strength, program):
        """What a socket is marked with when it is made, as far as it tells the network."""
        if program in self.path.misses:
            return 0
        if program not in self.path.marks:
            return None
        netid = self.networks["eth1"]["netid"]
        return {"unassigned": 0, "require": EXPLICIT | netid, "prefer": netid,
                "none": EXPLICIT | 52}[strength]

    def _start(self, app, program, rows):
        """The program with its cases, as that app; with CAP_NET_RAW when they want it."""
        command, uid = [str(app.program(program))], app.uid
        if rows[0].case.privileged:
            command = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups",
                       "--inh-caps=+net_raw", "--ambient-caps=+net_raw", *command]
            uid = 0

        def enter():
            self.machine.enter()
            app.enter()

        with tempfile.TemporaryFile("w+") as lines:
            lines.writelines(f"{row.line()}{self._options(row.case)}\n" for row in rows)
            lines.seek(0)
            return self.machine.popen(
                command, uid=uid, enter=enter, stdin=lines, stdout=subprocess.PIPE,
                stderr=subprocess.PIPE, text=True, env=self.environment)

    def _row(self, case, strength, program):
        def wanted(case):
            return expected(case, strength, self.path, self.families)

        insists = insistence(case, strength, self.path)
        return Row(next(self.numbers), case, strength, program, self.families,
                   wanted(case), wanted(case.connect), self._mark(strength, program),
                   loud=insists not in ("wire", "link"))

    def run(self, cases, strengths=STRENGTHS, programs=None):
        """Every case by every app of these strengths, as each of these programs: rows."""
        rows = [self._row(case, strength, program)
                for program in programs or self.path.programs
                for strength in strengths for case in cases
                if case.option.program in (None, program)
                and (case.who == "main" or program != "probe-static")]
        assert rows[-1].number < PORTS, "too many for one machine: each wants a port of its own"
        batches = {}
        for row in rows:
            batches.setdefault((row.strength, row.program, row.case.privileged), []).append(row)
        with contextlib.ExitStack() as stack:
            sightings = stack.enter_context(contextlib.closing(Sightings(self.machine)))
            processes = []
            for (strength, program, _), batch in batches.items():
                process = self._start(self.apps[strength], program, batch)
                stack.enter_context(process)
                stack.callback(process.kill)
                processes.append(process)
            self._collect(processes, {row.number: row for row in rows}, sightings)
        return rows

    def _collect(self, processes, by_number, sightings):
        for process in processes:
            out, err = process.communicate(timeout=3 * WAIT)
            check_sanitizers(err)
            assert (process.returncode, err) == (0, ""), (process.args, err)
            for line in out.splitlines():
                result = json.loads(line)
                by_number[result["id"]].result = result
        # what the kernel still says for closed connections has to be seen, too
        wait_for("the connections' ends", lambda: not self.machine.router.run(
            ["ss", "-Htn", "state", "connected", "exclude", "time-wait"]).stdout)
        for number, interface, source, protocol in sightings.look():
            if number in by_number:
                by_number[number].packets.add((interface, source))
            if number is None:  # the kernel's own: ARP, MLD (behind options), neighbour discovery
                assert protocol in (0, socket.IPPROTO_ICMPV6), (interface, source, protocol)
