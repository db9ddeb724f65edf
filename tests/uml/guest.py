# SPDX-License-Identifier: LGPL-2.1-or-later
"""What happens to waymarkd and to packets on the kernel of uml.py. Runs there, in one process, for
forks are dear; prints what it saw, a line of JSON for each thing. test_uml.py judges.

This kernel's own network namespace is the machine: eth0, the default, and eth1 lead to a router in
another namespace, behind which the end-to-end tests' server tells whom it sees.
"""

import contextlib
import ctypes
import errno
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

# pylint: disable=wrong-import-position
from harness import (PORT, SERVER4, SERVER6, WAYMARK, WAYMARKD, Capture, EchoServer, Namespace,
                     checked, libc, wait_for)

MAPPED = f"::ffff:{SERVER4}"
KINDS = ("tcp", "udp", "sendto", "ping", "raw")
SERVERS = {"IPv4": SERVER4, "IPv6": SERVER6, "mapped": MAPPED}
USERS = {"require": 3001, "prefer": 3002, "none": 3003, "nothing": 3004}
ECHO = {socket.AF_INET: 8, socket.AF_INET6: 128}  # ICMP, ICMPv6
SYS_SETRESUID, SYS_SETFSUID, SYS_BPF = 117, 122, 321

NETWORK = """
link set lo up
link add eth0 type veth peer name up0 address 02:00:00:00:00:01 netns {router}
link add eth1 type veth peer name up1 address 02:00:00:00:01:01 netns {router}
link set eth0 up
link set eth1 up
addr add 10.0.0.2/24 broadcast + dev eth0
addr add 10.0.1.2/24 broadcast + dev eth1
addr add fd00:0::2/64 dev eth0 nodad
addr add fd00:1::2/64 dev eth1 nodad
neigh add 10.0.0.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
neigh add 10.0.1.1 lladdr 02:00:00:00:01:01 dev eth1 nud permanent
neigh add fd00:0::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent
neigh add fd00:1::1 lladdr 02:00:00:00:01:01 dev eth1 nud permanent
"""  # neighbours that are known, so that what leaves does so before send() returns
ROUTER = """
addr add {SERVER4}/32 dev lo
addr add {SERVER6}/128 dev lo
addr add 10.0.0.1/24 dev up0
addr add 10.0.1.1/24 dev up1
addr add fd00:0::1/64 dev up0 nodad
addr add fd00:1::1/64 dev up1 nodad
link set up0 up
link set up1 up
"""
ROUTES = """
route add default via 10.0.0.1 dev eth0 metric 100
route add default via 10.0.1.1 dev eth1 metric 101
route add ::/0 via fd00:0::1 dev eth0 metric 100
route add ::/0 via fd00:1::1 dev eth1 metric 101
"""


def say(**what):
    print(json.dumps(what), flush=True)


class Here(Namespace):
    """The namespace in which all this runs."""

    def __init__(self):  # pylint: disable=super-init-not-called
        pass

    def enter(self):
        pass


def batch(text, namespace=None):
    subprocess.run(["ip", "-batch", "-"], input=text, text=True, check=True,
                   preexec_fn=namespace.enter if namespace else None)


def make_network():
    router = Namespace()
    batch(NETWORK.format(router=router.path))
    batch(ROUTER.format(SERVER4=SERVER4, SERVER6=SERVER6), router)
    batch(ROUTES)
    pathlib.Path("/proc/sys/net/ipv4/ping_group_range").write_text("0 2147483647", encoding="ascii")
    return router, EchoServer(router)


# What a user does.

@contextlib.contextmanager
def as_user(uid, kind):
    """This thread alone; the server's stay as they are. Who may open raw sockets keeps his
    capabilities, the others have none."""
    def become(number):
        if kind == "raw":
            libc.syscall(SYS_SETFSUID, number)
        else:
            checked(libc.syscall(SYS_SETRESUID, -1, number, -1))

    become(uid)
    try:
        yield
    finally:
        become(0)


def make_socket(kind, family):
    icmp = socket.IPPROTO_ICMP if family == socket.AF_INET else socket.IPPROTO_ICMPV6
    kind, protocol = {"tcp": (socket.SOCK_STREAM, 0), "ping": (socket.SOCK_DGRAM, icmp),
                      "raw": (socket.SOCK_RAW, icmp)}.get(kind, (socket.SOCK_DGRAM, 0))
    sock = socket.socket(family, kind, protocol)
    sock.settimeout(10)
    if kind == socket.SOCK_STREAM:  # nothing is to leave after close()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return sock


def echo_request(family):
    message = struct.pack("!BBHHH", ECHO[family], 0, 0, 77, 1)
    total = sum(struct.unpack("!4H", message))
    return message[:2] + struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF) + message[4:]


def talk(sock, kind, server):
    """The address that the server sees; of pings, that they were answered."""
    if kind in ("tcp", "udp"):
        sock.connect((server, PORT))
    if kind == "udp":
        sock.send(b"x")
    if kind == "sendto":
        sock.sendto(b"x", (server, PORT))
    if kind not in ("ping", "raw"):
        return sock.recv(200).split()[0].decode()
    sock.sendto(echo_request(sock.family), (server, 0))
    if kind == "raw" and server == MAPPED:
        return "sent"  # as IPv6, to that very address: nobody has it
    answer = 0 if sock.family == socket.AF_INET else 129
    while True:  # raw sockets see everything, IPv4's with the header
        data = sock.recv(2000)
        if kind == "raw" and sock.family == socket.AF_INET:
            data = data[(data[0] & 15) * 4:]
        if data[0] == answer:
            return "answered"


def attempt(uid, kind, server):
    """What talk() returns, or the errno's name."""
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with as_user(uid, kind):
        try:
            with make_socket(kind, family) as sock:
                return talk(sock, kind, server)
        except TimeoutError:
            return "timeout"
        except OSError as error:
            return errno.errorcode[error.errno]


def left(capture, destinations, answer):
    """[interface, source] of what has left to there; if anything should have, wait for it."""
    found = []

    def look():
        found.extend(p for p in capture.packets() if p[2] in destinations)
        return found or answer.startswith("E")

    wait_for("a packet", look)
    return sorted({p[:2] for p in found})


def matrix(phase, capture):
    for user, uid in USERS.items():
        for kind in KINDS:
            for family, server in SERVERS.items():
                capture.packets()
                answer = attempt(uid, kind, server)
                say(what="matrix", phase=phase, user=user, kind=kind, family=family, answer=answer,
                    left=left(capture, SERVERS.values(), answer))


# What rules alone do not hold.

def packet_info(sock, address, index):
    """An interface that is asked for with the datagram."""
    if sock.family == socket.AF_INET6:
        level, kind, info = socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, struct.pack("16xI", index)
    else:
        level, kind, info = socket.IPPROTO_IP, 8, struct.pack("i8x", index)  # IP_PKTINFO
    sock.sendmsg([b"x"], [(level, kind, info)], 0, (address, PORT))


def bound(sock, address, index):
    device = socket.if_indextoname(index).encode()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device)
    sock.sendto(b"x", (address, PORT))


def cast(sock, address, index):
    """Broadcast, multicast."""
    if sock.family == socket.AF_INET6:
        sock.sendto(b"x", (address, PORT, 0, index))
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, struct.pack("8xi", index))
    sock.sendto(b"x", (address, PORT))


WAYS_AROUND = {
    "SO_BINDTODEVICE, IPv4": (bound, SERVER4), "SO_BINDTODEVICE, IPv6": (bound, SERVER6),
    "IP_PKTINFO": (packet_info, SERVER4), "IPV6_PKTINFO": (packet_info, SERVER6),
    "broadcast": (cast, "10.0.0.255"), "IPv4 multicast": (cast, "239.9.9.9"),
    "IPv6 multicast": (cast, "ff02::fb"),
}


def ways_around(capture):
    """Out by eth0, for users that may not use it."""
    index = socket.if_nametoindex("eth0")
    for user in ("require", "none"):
        for way, (send, address) in WAYS_AROUND.items():
            capture.packets()
            with as_user(USERS[user], "sendto"), make_socket(
                    "sendto", socket.AF_INET6 if ":" in address else socket.AF_INET) as sock:
                try:
                    send(sock, address, index)
                    answer = "sent"
                except OSError as error:
                    answer = errno.errorcode[error.errno]
            say(what="around", user=user, way=way, answer=answer,
                left=left(capture, [address], answer))


# What the kernel has.

def can_destroy_sockets():
    """Asks for the end of a socket that is not there: the errno tells whether that can be asked."""
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, 0xFFF) \
        + struct.pack("!HH", 1, 2) + b"\x7f\0\0\x01" + bytes(12) + b"\x7f\0\0\x01" + bytes(12) \
        + bytes(4) + b"\xff" * 8
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 4) as sock:  # NETLINK_SOCK_DIAG
        sock.send(struct.pack("=IHHII", 16 + len(request), 21, 5, 1, 0) + request)  # SOCK_DESTROY
        code, = struct.unpack_from("=i", sock.recv(4096), 16)
    return errno.errorcode[-code]


def can_make_a_tun():
    with open("/dev/net/tun", "r+b", buffering=0) as tun:
        fcntl.ioctl(tun, 0x400454CA, struct.pack("16sH22x", b"probe0", 0x1001))  # TUNSETIFF
        return True


def bpf(command, attributes):
    attributes = attributes.ljust(128, b"\0")
    fd = libc.syscall(SYS_BPF, command, attributes, len(attributes))
    checked(fd)
    return fd


def can_bpf(program_type, attach_type, returns=1):
    """Load, link to the root cgroup, pin."""
    code = struct.pack("=BBhi", 0xB7, 0, 0, returns) + struct.pack("=BBhi", 0x95, 0, 0, 0)
    code, licence = ctypes.create_string_buffer(code), ctypes.create_string_buffer(b"GPL")
    pin = ctypes.create_string_buffer(f"/sys/fs/bpf/probe-{attach_type}".encode())
    try:
        program = bpf(5, struct.pack("=IIQQ", program_type, 2, ctypes.addressof(code),
                                     ctypes.addressof(licence)) + bytes(44)
                      + struct.pack("=I", attach_type))  # BPF_PROG_LOAD
        group = os.open("/sys/fs/cgroup", os.O_RDONLY)
        link = bpf(28, struct.pack("=IIII", program, group, attach_type, 0))  # BPF_LINK_CREATE
        bpf(6, struct.pack("=QI", ctypes.addressof(pin), link))  # BPF_OBJ_PIN
        os.unlink(pin.value)
        for fd in (link, group, program):
            os.close(fd)
        return True
    except OSError as error:
        return errno.errorcode[error.errno]


def nft_families():
    def can(family):
        result = subprocess.run(["nft", "add", "table", family, "probe"], capture_output=True,
                                check=False)
        if result.returncode == 0:
            subprocess.run(["nft", "delete", "table", family, "probe"], check=True)
        return result.returncode == 0

    return [family for family in ("ip", "ip6", "inet", "arp", "bridge", "netdev") if can(family)]


def look_at_the_kernel():
    sysctls = ("net/ipv4/fwmark_reflect", "net/ipv6/fwmark_reflect", "net/ipv4/tcp_fwmark_accept")
    with socket.socket() as sock:
        cookie = len(sock.getsockopt(socket.SOL_SOCKET, 71, 8))  # SO_NETNS_COOKIE
    say(what="kernel", release=os.uname().release, tun=can_make_a_tun(),
        btf=os.path.exists("/sys/kernel/btf/vmlinux"), sock_destroy=can_destroy_sockets(),
        netns_cookie=cookie == 8, sysctls=[name for name in sysctls
                                           if os.path.exists(f"/proc/sys/{name}")],
        cgroup_bpf={name: can_bpf(*numbers) for name, numbers in {
            "sock_create": (9, 2), "connect4": (18, 10), "connect6": (18, 11),
            "sendmsg4": (18, 14), "sendmsg6": (18, 15), "egress": (8, 1), "ingress": (8, 0),
        }.items()},
        bpf_jit=os.path.exists("/proc/sys/net/core/bpf_jit_enable"))


# The daemon.

class Daemon:
    def __init__(self):
        self.folder = pathlib.Path("/run/waymark-test")
        (self.folder / "etc").mkdir(parents=True)
        (self.folder / "etc/waymark.conf").touch()
        self.env = os.environ | {"WAYMARK_RUNTIME_DIR": str(self.folder)}
        self.process = None

    def start(self, *options):
        self.folder.joinpath("log").touch()
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [WAYMARKD, "--runtime-dir", str(self.folder), "--state-dir",
                 str(self.folder / "state"), "--config", str(self.folder / "etc"), *options],
                stdout=log, stderr=log)
        wait_for("waymarkd", lambda: self.process.poll() is not None or self("default")[0] == 0)

    def kill(self):
        """The exit code; its last words."""
        self.process.send_signal(signal.SIGKILL)
        code = self.process.wait()
        log = (self.folder / "log").read_text(encoding="utf-8")
        (self.folder / "log").unlink()
        say(what="daemon", code=code, log=log)

    def __call__(self, *args):
        result = subprocess.run([WAYMARK, *args], env=self.env, text=True, check=False,
                                capture_output=True)
        return result.returncode, result.stdout, result.stderr

    def tell(self, name, *args):
        code, out, err = self("--json", *args)
        say(what=name, code=code, err=err, **(json.loads(out) if out else {}))

    def wait_state(self, state):
        def stands():
            return json.loads(self("--json", "network", "show", "eth1")[1])["network"]["state"]

        wait_for(f"eth1 to be {state}", lambda: stands() == state)


def rules():
    return [subprocess.run(["ip", family, "rule"], text=True, check=True,
                           capture_output=True).stdout.splitlines() for family in ("-4", "-6")]


def explain(daemon):
    for user, uid in USERS.items():
        for server in (SERVER4, SERVER6):
            for device in ((), ("--dev", "eth0")):
                code, out, err = daemon("--json", "explain", "--uid", str(uid), *device, server)
                e = json.loads(out)["explanation"] if out else {}
                say(what="explain", user=user, server=server, device=bool(device), code=code,
                    err=err, **{key: e.get(key) for key in ("kernel_agrees", "kernel", "error",
                                                            "interface", "guard")})


def connect(user, kind, server):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    with as_user(USERS[user], kind):
        sock = make_socket(kind, family)
        sock.connect((server, PORT))
    if kind == "tcp":
        sock.recv(200)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)  # nothing is owed any more
    return sock


def is_alive(sock):
    sock.sendall(b"still there?")
    return sock.recv(200) == b"more\n"


def connect_all():
    return {(user, kind, family): connect(user, kind, SERVERS[family])
            for user in ("require", "none") for kind in ("tcp", "udp") for family in SERVERS}


def flow(packet):
    """Where an IP packet of TCP or UDP comes from: [address, port]."""
    if packet[0] >> 4 == 4:
        address, ports = socket.inet_ntop(socket.AF_INET, packet[12:16]), (packet[0] & 15) * 4
    else:
        address, ports = socket.inet_ntop(socket.AF_INET6, packet[8:24]), 40
    return address, struct.unpack_from("!H", packet, ports)[0]


def raw_packets(capture):
    """(interface, bytes) of the IP packets that have left."""
    with contextlib.suppress(BlockingIOError):
        while True:
            packet, (interface, ethertype, pkttype, *_) = capture.sock.recvfrom(65536)
            if pkttype == 4 and ethertype in (0x0800, 0x86DD):  # PACKET_OUTGOING
                yield interface, packet


def sent_by(port, capture):
    """Of what has left since the connections were made: [interface, source] of those of one."""
    return sorted({(interface, flow(packet)[0]) for interface, packet in capture
                   if flow(packet)[1] == port})


def use_old(connections, capture):
    """What was open before the assignments; the kernel cannot destroy it. Told apart by their
    ports, for TCP sends again when it likes."""
    answers = {}
    for (user, kind, family), sock in connections.items():
        with as_user(USERS[user], kind):
            try:
                sock.send(b"x")
                answers[user, kind, family] = "sent"
            except OSError as error:
                answers[user, kind, family] = errno.errorcode[error.errno]
    packets = list(raw_packets(capture))
    for (user, kind, family), sock in connections.items():
        say(what="old", user=user, kind=kind, family=family, answer=answers[user, kind, family],
            left=sent_by(sock.getsockname()[1], packets))
        sock.close()


def assign(daemon):
    for user, network in (("require", "eth1"), ("prefer", "eth1"), ("none", "none")):
        prefer = ["--prefer"] if user == "prefer" else []
        daemon.tell("assign", "assign", f"uid:{USERS[user]}", network, *prefer)


def try_assignments(capture, daemon):
    matrix("unassigned", capture)
    daemon.start()
    matrix("unassigned, with waymarkd", capture)
    assign(daemon)
    matrix("assigned", capture)
    ways_around(capture)
    for question in ("doctor", "verify", "status"):
        daemon.tell(question, question)
    explain(daemon)


def try_death(capture, daemon):
    connection, before = connect("require", "tcp", SERVER4), rules()
    daemon.kill()
    matrix("killed", capture)
    killed = rules()
    daemon.start()
    say(what="rules", before=before, killed=killed, adopted=rules(), alive=is_alive(connection))
    connection.close()
    matrix("adopted", capture)


def try_pulling_the_plug(router, capture, daemon):
    batch("link set up1 down\n", router)
    daemon.wait_state("down")
    matrix("pulled", capture)
    batch("link set up1 up\naddr add fd00:1::1/64 dev up1 nodad\n", router)  # it forgot that one
    daemon.wait_state("up")
    matrix("plugged", capture)


def try_maps(capture, daemon):
    """Asked for, and not to be had; meanwhile there is an nf_tables, but only for bridges."""
    say(what="nft", when="before", families=nft_families())
    subprocess.run([sys.executable, str(HERE / "init.py"), "--insert", "nf_tables"], check=True)
    say(what="nft", when="after", families=nft_families())
    daemon.kill()
    daemon.start("--backend", "maps")
    daemon.tell("doctor, maps", "doctor")
    daemon.tell("exe", "assign", f"exe:{os.path.realpath(sys.executable)}", "eth1")
    matrix("maps asked for", capture)


def main():
    look_at_the_kernel()
    router, server = make_network()
    capture, daemon = Capture(Here()), Daemon()
    try_assignments(capture, daemon)
    try_death(capture, daemon)
    try_pulling_the_plug(router, capture, daemon)
    try_maps(capture, daemon)
    daemon.tell("off", "panic-off")
    say(what="end", rules=rules(), bpffs=os.listdir("/sys/fs/bpf"))
    matrix("off", capture)
    connections = connect_all()
    capture.packets()
    daemon.tell("on", "reload")
    use_old(connections, capture)  # last, for it has consequences
    daemon.kill()
    server.close()


if __name__ == "__main__":
    main()
