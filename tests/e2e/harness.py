# SPDX-License-Identifier: LGPL-2.1-or-later
"""What end-to-end tests are made of: network namespaces, a machine with uplinks, a waymarkd in it.

Everything lasts as long as its object and leaves nothing behind. WAYMARKD and WAYMARK say which
programs are tested; those of build/src are the default.
"""

import concurrent.futures
import contextlib
import ctypes
import errno
import itertools
import json
import os
import pathlib
import pickle
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass

ROOT = pathlib.Path(__file__).resolve().parents[2]
WAYMARKD = os.environ.get("WAYMARKD", str(ROOT / "build/src/waymarkd"))
BACKEND = os.environ.get("WAYMARK_BACKEND", "rules")  # of daemons that are not told another one
WAYMARK = os.environ.get("WAYMARK", str(pathlib.Path(WAYMARKD).with_name("waymark")))
CLONE_NEWNET = 0x40000000
CLONE_NEWNS = 0x00020000
MS_BIND, MS_REC, MS_PRIVATE = 0x1000, 0x4000, 0x40000
PR_SET_PDEATHSIG = 1
WAIT = 60.0  # patience, not a measure: a sanitized daemon on a busy machine is slow

SERVER4, SERVER6, PORT = "198.51.100.1", "2001:db8:1::1", 8000

libc = ctypes.CDLL(None, use_errno=True)
TESTS = os.getpid()


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def die_with(parent):
    """From now on this process ends with the one that has made it, however that ends."""
    checked(libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
    if os.getppid() != parent:
        os._exit(1)


def wait_for(what, condition, seconds=WAIT):
    """Until the condition is true; what it returned then."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.01)


def cgroup2():
    for line in pathlib.Path("/proc/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return pathlib.Path(where)
    raise AssertionError("no cgroup2 is mounted")


class Namespace:
    """A network namespace. Nothing in the file system holds it."""

    open = set()  # those that nobody has closed yet
    numbers = itertools.count()
    cgroup = place = bpffs = None
    bound_by_default = False

    def __init__(self):
        self.open.add(self)
        holder = subprocess.Popen(
            ["sleep", "infinity"], preexec_fn=lambda: checked(libc.unshare(CLONE_NEWNET))
        )
        self.fd = os.open(f"/proc/{holder.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        holder.kill()
        holder.wait()
        self.path = f"/proc/{os.getpid()}/fd/{self.fd}"  # as `ip … netns` takes it
        # an address that is first tentative and then not is told twice
        self.run(["sysctl", "-qw", "net.ipv6.conf.all.accept_dad=0",
                  "net.ipv6.conf.default.accept_dad=0"])
        self.ip("link set lo up")

    def bind(self):
        """Gives it a cgroup and a bpffs of its own: from now on its processes are in that cgroup, or in
        one below, and `waymarkd --backend maps` may be had. Units may be there, too."""
        number = next(self.numbers)
        self.cgroup = self.place = cgroup2() / f"waymark-maps-{os.getpid()}-{number}.slice"
        self.cgroup.mkdir()
        self.bpffs = tempfile.mkdtemp(prefix="waymark-bpf-")
        checked(libc.mount(b"waymark-test", os.fsencode(self.bpffs), b"bpf", 0, b"mode=700"))

    def below(self, name):
        """From now on processes begin in this cgroup below."""
        self.place = self.cgroup / name
        self.place.mkdir(exist_ok=True)
        return "/" + str(self.place.relative_to(cgroup2()))

    def options(self):
        """Of a daemon, for its back-end."""
        if self.cgroup is None:
            return ["--backend", "rules"]
        return ["--backend", "maps", "--cgroup", str(self.cgroup), "--bpffs", self.bpffs]

    def unbind(self):
        subprocess.run(["umount", self.bpffs], check=False, capture_output=True)
        os.rmdir(self.bpffs)
        folders = [p for p in self.cgroup.rglob("*") if p.is_dir()]
        for folder in [*sorted(folders, reverse=True), self.cgroup]:
            wait_for(f"{folder} to be empty", lambda f=folder: not (f / "cgroup.procs").read_text())
            folder.rmdir()

    def enter(self):
        if self.place and os.getpid() != TESTS:
            (self.place / "cgroup.procs").write_text("0")
        checked(libc.setns(self.fd, CLONE_NEWNET))

    def popen(self, command, uid=0, enter=None, **options):
        """Runs a command here, as that user; `enter` may take it further than enter()."""
        def prepare():
            (enter or self.enter)()
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)

        return subprocess.Popen(command, preexec_fn=prepare, **options)

    def run(self, command, **options):
        options = {"check": True, "capture_output": True, "text": True} | options
        return subprocess.run(command, preexec_fn=self.enter, **options)

    def ip(self, *lines):
        """Each line is what stands behind `ip`."""
        for line in lines:
            self.run(["ip"] + line.split())

    def show(self, line):
        """The lines of `ip …`, blanks folded; none when it fails."""
        out = self.run(["ip"] + line.split(), check=False).stdout
        return [" ".join(text.split()) for text in out.splitlines()]

    def ifindex(self, name):
        return json.loads(self.run(["ip", "-j", "link", "show", name]).stdout)[0]["ifindex"]

    def start_call(self, function, *args, uid=0, seconds=WAIT):
        """Starts function(*args) in a process in this namespace, as that user."""
        return Call(self, function, args, uid, seconds)

    def call(self, function, *args, uid=0, seconds=WAIT):
        """What function(*args) in such a process returns or raises."""
        return self.start_call(function, *args, uid=uid, seconds=seconds).result()

    def close(self):
        self.open.discard(self)
        os.close(self.fd)
        if self.cgroup:
            self.unbind()


class Call:
    """A function that runs in a process of its own. Only one thread may fork: a child keeps what
    another thread has just opened, and who waits for that to be closed waits for ever."""

    def __init__(self, namespace, function, args, uid, seconds):
        self.fd, write = os.pipe()
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                signal.signal(signal.SIGALRM, signal.SIG_DFL)  # the tests' own is for their timeout
                signal.alarm(int(seconds) + 5)
                self._run(namespace, function, args, uid, parent, write)
            finally:
                os._exit(1)  # or it would go on as another one that runs tests
        os.close(write)

    @staticmethod
    def _run(namespace, function, args, uid, parent, write):
        try:
            namespace.enter()
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            die_with(parent)  # here, for another uid would undo it
            result = (True, function(*args))
        except BaseException as error:  # pylint: disable=broad-except
            result = (False, error)
        with os.fdopen(write, "wb") as pipe:
            pipe.write(pickle.dumps(result))
        os._exit(0)

    def result(self):
        """What the function returns or raises."""
        with os.fdopen(self.fd, "rb") as pipe:
            data = pipe.read()
        os.waitpid(self.pid, 0)
        assert data, "the process died"
        good, value = pickle.loads(data)
        if good:
            return value
        raise value


class EchoServer:
    """In a namespace: tells every TCP and UDP client of SERVER4 and SERVER6 the address it sees."""

    def __init__(self, namespace):
        self.sockets = in_namespace(namespace, self._listen)
        self.stopping = False
        self.threads = [threading.Thread(target=serve, args=(sock,), daemon=True)
                        for serve, sock in zip((self._tcp, self._tcp, self._udp, self._udp),
                                               self.sockets)]
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _listen():
        pairs = ((SERVER4, socket.AF_INET), (SERVER6, socket.AF_INET6))
        tcp = [socket.create_server((address, PORT), family=family) for address, family in pairs]
        udp = [socket.socket(family, socket.SOCK_DGRAM) for _, family in pairs]
        for sock, (address, _) in zip(udp, pairs):
            sock.bind((address, PORT))
        return tcp + udp

    def _tcp(self, sock):
        while not self.stopping:
            try:
                peer, address = sock.accept()
            except OSError:
                return
            threading.Thread(target=self._talk, args=(peer, address), daemon=True).start()

    @staticmethod
    def _talk(peer, address):
        with peer, contextlib.suppress(OSError):
            peer.sendall(address[0].encode() + b"\n")
            while peer.recv(4096):
                peer.sendall(b"more\n")

    def _udp(self, sock):
        while not self.stopping:
            with contextlib.suppress(OSError):
                data, address = sock.recvfrom(2048)
                if address:
                    sock.sendto(address[0].encode() + b" " + data, address)

    def close(self):
        self.stopping = True
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self.threads:
            thread.join(timeout=2)
        for sock in self.sockets:
            sock.close()


def in_namespace(namespace, function):
    """function() in a thread that has gone there: a socket belongs where it was made."""
    def go():
        namespace.enter()
        return function()

    with concurrent.futures.ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(go).result()


class Machine(Namespace):
    """A machine with uplinks eth0, eth1, … to one router, behind which SERVER4 and SERVER6 answer.

    Uplink i: 10.0.i.2/24 and fd00:i::2/64, router .1; the default route of eth0 is the best one.
    """

    def __init__(self, uplinks=2, six=True):
        super().__init__()
        self.router = Namespace()
        self.router.ip(f"addr add {SERVER4}/32 dev lo", f"addr add {SERVER6}/128 dev lo")
        for i in range(uplinks):
            self.add_uplink(i, f"eth{i}", six=six)
        self.server = EchoServer(self.router)

    def add_uplink(self, i, name, six=True, metric=None):
        metric = 100 + i if metric is None else metric
        self.ip(f"link add {name} type veth peer name up{i} netns {self.router.path}")
        self.router.ip(f"addr add 10.0.{i}.1/24 dev up{i}",
                       f"addr add fd00:{i}::1/64 dev up{i} nodad", f"link set up{i} up")
        self.ip(f"link set {name} up", f"addr add 10.0.{i}.2/24 dev {name}",
                f"route add default via 10.0.{i}.1 dev {name} metric {metric}")
        if six:
            self.ip(f"addr add fd00:{i}::2/64 dev {name} nodad",
                    f"-6 route add default via fd00:{i}::1 dev {name} metric {metric}")
        # the kernel's own doings end here: what changes later, somebody changed
        wait_for("the link-local address", lambda: self.show(f"-6 route show fe80::/64 dev {name}"))

    def close(self):
        self.server.close()
        self.router.close()
        super().close()

    # What a user sees.

    def source(self, uid=0, server=SERVER4, device=None, kind="tcp", seconds=3.0):
        """Which address the server sees when this user connects; or the errno's name."""
        return self.call(ask_server, server, device, kind, seconds, uid=uid)


def ask_server(server, device, kind, seconds):
    family = socket.AF_INET6 if ":" in server else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM)
    sock.settimeout(seconds)
    try:
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        if kind == "sendto":
            sock.sendto(b"x", (server, PORT))
            return sock.recv(200).split()[0].decode()
        sock.connect((server, PORT))
        if kind == "udp":
            sock.send(b"x")
        return sock.recv(200).split()[0].decode()
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode[error.errno]


class Capture:
    """Every packet that leaves an interface of a namespace while the object is open."""

    def __init__(self, namespace):
        self.sock = in_namespace(namespace, self._open)

    @staticmethod
    def _open():
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(3))
        sock.setsockopt(socket.SOL_SOCKET, 33, 16 << 20)  # SO_RCVBUFFORCE
        sock.setblocking(False)
        return sock

    def packets(self):
        """(interface, source, destination, protocol) of the IP packets since the last call."""
        found = []
        while True:
            try:
                data, (name, _, pkttype, *_) = self.sock.recvfrom(65536)
            except BlockingIOError:
                return found
            if pkttype != 4 or not data:  # PACKET_OUTGOING
                continue
            if data[0] >> 4 == 4 and len(data) >= 20:
                found.append((name, socket.inet_ntoa(data[12:16]), socket.inet_ntoa(data[16:20]),
                              data[9]))
            elif data[0] >> 4 == 6 and len(data) >= 40:
                found.append((name, socket.inet_ntop(socket.AF_INET6, data[8:24]),
                              socket.inet_ntop(socket.AF_INET6, data[24:40]), data[6]))

    def close(self):
        self.sock.close()


def check_sanitizers(text):
    """Whatever AddressSanitizer, LeakSanitizer or UBSan says fails the test."""
    for complaint in ("Sanitizer:", "runtime error:"):
        assert complaint not in text, text[-8000:]


def refuse_nftables():
    """From now on this process lives on a kernel without nftables: a filter refuses its sockets."""
    number = {"x86_64": 41, "aarch64": 198}[os.uname().machine]  # of socket(2)
    load, equal, answer = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
    refused, allowed = 0x00050000 | errno.EPROTONOSUPPORT, 0x7FFF0000  # SECCOMP_RET_…
    program = b"".join(struct.pack("HBBI", *row) for row in (
        (load, 0, 0, 0), (equal, 0, 5, number),  # seccomp_data: number, architecture, …,
        (load, 0, 0, 16), (equal, 0, 3, socket.AF_NETLINK),  # arguments from 16 on
        (load, 0, 0, 32), (equal, 0, 1, 12), (answer, 0, 0, refused),  # NETLINK_NETFILTER
        (answer, 0, 0, allowed)))
    rows = ctypes.create_string_buffer(program, len(program))
    fprog = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(rows))
    checked(libc.prctl(38, 1, 0, 0, 0))  # PR_SET_NO_NEW_PRIVS
    checked(libc.prctl(22, 2, fprog))  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER


@dataclass
class Result:
    code: int
    out: str
    err: str

    @property
    def json(self):
        return json.loads(self.out)


class Instance:
    """One waymarkd with folders of its own; users other than root can reach its socket.

    Calling it runs `waymark ARGS…`.
    """

    open = set()  # those that nobody has closed yet

    def __init__(self, machine, *options, config="", wrap=()):
        self.open.add(self)
        self.machine = machine
        self.options = options
        self.backend = [] if "--backend" in options else self.choose_backend()
        self.wrap = list(wrap)
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="waymark-test-"))
        self.folder.chmod(0o755)
        self.runtime = str(self.folder / "run")
        self.config = self.folder / "etc/waymark.conf"
        self.config.parent.mkdir()
        self.config.write_text(config)
        self.process = None
        self.env = {}
        self.mounts = {}
        self.has_nftables = True

    def choose_backend(self):
        """What the tests have, unless the machine is bound for a test of its own."""
        if BACKEND == "maps" and not self.machine.cgroup:
            self.machine.bind()
            self.machine.bound_by_default = True
        if BACKEND == "rules" and self.machine.bound_by_default:
            return ["--backend", "rules"]
        return self.machine.options()

    def private(self, path):
        """A folder, empty at first, that the daemon and its clients see in place of this one."""
        if path not in self.mounts:
            self.mounts[path] = self.folder / "root" / path.lstrip("/")
            self.mounts[path].mkdir(parents=True)
        return self.mounts[path]

    def enter(self):
        """To the machine, and to the mounts that private() asked for."""
        self.machine.enter()
        if not self.mounts:
            return
        checked(libc.unshare(CLONE_NEWNS))
        checked(libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
        for target, source in self.mounts.items():
            checked(libc.mount(os.fsencode(source), os.fsencode(target), None, MS_BIND, None))

    def enter_for_life(self):
        """The same, for a process that must not outlive the tests, whatever ends them."""
        self.enter()
        die_with(TESTS)
        if not self.has_nftables:
            refuse_nftables()

    @property
    def socket(self):
        return f"{self.runtime}/bus"

    @property
    def state_file(self):
        return self.folder / "state/state"

    @property
    def log(self):
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""

    def command(self, *options):
        backend = [] if "--backend" in options else self.backend
        return [WAYMARKD, "--runtime-dir", self.runtime, "--state-dir", str(self.folder / "state"),
                "--config", str(self.config.parent), *backend, *options]

    def spawn(self, *options, wrap=None):
        """Starts the daemon without waiting for anything."""
        wrap = self.wrap if wrap is None else list(wrap)
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                wrap + self.command(*self.options, *options), preexec_fn=self.enter_for_life,
                stdout=log, stderr=log, env=os.environ | self.env)
        return self

    def start(self, *options, wrap=None):
        self.spawn(*options, wrap=wrap)
        wait_for("waymarkd", lambda: self.ended() or self.answers())
        assert not self.ended(), self.log
        return self

    def answers(self):
        return os.path.exists(self.socket) and self("default").code == 0

    def open_files(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def idle_files(self):
        """How many files it has open when the clients of before are gone."""
        seen = []

        def is_steady():
            seen.append(self.open_files())
            return len(seen) > 20 and len(set(seen[-20:])) == 1 and not self.has_dead_clients()

        wait_for("clients to be gone", is_steady)
        return seen[-1]

    def has_dead_clients(self):
        """Some have come and gone, and it has not seen that yet."""
        lines = [line.split() for line in self.machine.run(["ss", "-xHa"]).stdout.splitlines()
                 if f" {self.runtime}/" in line]
        return any(peer == "0" if state == "ESTAB" else int(waiting) > 0
                   for _, state, waiting, *_, peer in lines)

    def ended(self):
        return self.process.poll() is not None

    def stop(self, how=signal.SIGTERM):
        if self.process and not self.ended():
            self.process.send_signal(how)
            self.process.wait(timeout=WAIT)
            self.check_end()
        return self

    def kill(self):
        return self.stop(signal.SIGKILL)

    def check_end(self):
        """A daemon that has ended did so because it was asked to, and had nothing to complain of."""
        code = self.process.returncode if self.process else 0
        assert code in (0, -signal.SIGKILL, -signal.SIGTERM), (code, self.log[-4000:])
        check_sanitizers(self.log)

    def close(self):
        """Ends the daemon, and takes out of the kernel what it left there on purpose."""
        if self.process and not self.ended():
            self.process.send_signal(signal.SIGCONT)
        try:
            self.stop()
            self.check_end()
            if self.machine in Namespace.open:  # else it is gone, with all that was in it
                off = self.machine.run(self.command("--panic-off"), check=False)
                check_sanitizers(off.stdout + off.stderr)
        finally:
            if self.process and not self.ended():
                self.process.kill()
                self.process.wait()
            shutil.rmtree(self.folder)
            self.open.discard(self)

    def popen(self, *args, uid=0, **options):
        """waymark ARGS… in the machine, as that user."""
        env = {"PATH": os.environ["PATH"], "WAYMARK_RUNTIME_DIR": self.runtime}
        env |= {k: v for k, v in os.environ.items() if "SAN_OPTIONS" in k}
        options["env"] = env | options.pop("env", {})
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
        return self.machine.popen([WAYMARK, *args], uid=uid, enter=self.enter, **options)

    def __call__(self, *args, **options):
        with self.popen(*args, **options) as process:
            out, err = process.communicate(timeout=WAIT * 3)
        check_sanitizers(err or "")
        return Result(process.returncode, out, err)

    def ok(self, *args, **options):
        result = self(*args, **options)
        assert result.code == 0, result.err or result.out[-500:]
        assert result.err == ""
        return result

    def json(self, *args, **options):
        return self.ok("--json", *args, **options).json

    # Shorthands.

    def networks(self):
        """By name."""
        return {n["name"]: n for n in self.json("network", "list")["networks"]}

    def assignments(self):
        """By selector."""
        return {a["selector"]: a for a in self.json("assignments")["assignments"]}

    def wait_state(self, name, state):
        """Until a network is in that state; None: until it is gone."""
        wait_for(f"{name} to be {state}",
                 lambda: self.networks().get(name, {"state": None})["state"] == state)


class Accounts:
    """Users and groups that only this daemon knows, in an /etc of its own."""

    def __init__(self, instance):
        self.folder = instance.private("/etc")
        (self.folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\n")
        self.write()

    def write(self, users=(), groups=()):
        """users: {name: (uid, gid)}; groups: {name: (gid, [member, …])}. Besides those of root.
        As passwd(5)'s tools do it: a new file takes the place of the old one."""
        users = {"root": (0, 0)} | dict(users)
        groups = {"root": (0, [])} | dict(groups)
        self._replace("group", "".join(f"{name}:x:{gid}:{','.join(members)}\n"
                                       for name, (gid, members) in groups.items()))
        self._replace("passwd", "".join(f"{name}:x:{uid}:{gid}::/:/bin/sh\n"
                                        for name, (uid, gid) in users.items()))

    def _replace(self, name, text):
        (self.folder / f"{name}+").write_text(text)
        (self.folder / f"{name}+").rename(self.folder / name)


class Monitor:
    """What `ip monitor OBJECTS` says between two marks of our own; `rule` is among the objects."""

    def __init__(self, machine, *objects):
        self.machine = machine
        self.marks = 0
        self.data = b""
        self.process = machine.popen(["stdbuf", "-oL", "ip", "monitor", *objects],
                                     stdout=subprocess.PIPE)
        os.set_blocking(self.process.stdout.fileno(), False)
        self.mark()

    def mark(self):
        """The lines until now. A rule of ours that comes and goes tells when now is; `ip monitor`
        may not listen yet when the first one does."""
        self.marks += 1
        mark = f"to 192.0.2.{self.marks} "

        def seen():
            self.machine.ip(f"rule add {mark} prio 40000", f"rule del {mark} prio 40000")
            with contextlib.suppress(BlockingIOError):
                while chunk := os.read(self.process.stdout.fileno(), 1 << 16):
                    self.data += chunk
            return mark.encode() in self.data

        wait_for("the mark", seen)
        *lines, rest = self.data.decode().split("\n")
        self.data = rest.encode()
        return [" ".join(line.split()) for line in lines if "to 192.0.2." not in line]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()


def our_rules(machine, family="-4"):
    return [line for line in machine.show(f"{family} rule show") if "proto 119" in line]


def foreign_state(machine):
    """Rules, routes and nftables tables of others, as text: must never change."""
    rules = [line for f in ("-4", "-6") for line in machine.show(f"{f} rule show")
             if "proto 119" not in line]
    routes = [line for f in ("-4", "-6") for line in machine.show(f"{f} route show table all")
              if "proto 119" not in line]
    tables = machine.run(["nft", "list", "ruleset"]).stdout
    return rules, routes, re.sub(r"^table (inet|arp) waymark {\n.*?^}\n", "", tables, flags=re.M | re.S)


def nft_table(machine):
    return machine.run(["nft", "list", "table", "inet", "waymark"], check=False).stdout


def ucred(sock):
    return struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
